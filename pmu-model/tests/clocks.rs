//! The clocks of a core beside each other: rules D1 to D4 and D10 of spec/pmu.md 4.5 on the processor itself, at the TSC's
//! frequency and above it. What steal, scaling and migration do (D2, D5 to D9) is tested with [`pmu_model::power`].

mod machine;

use machine::{Code, Machine, TIMER};

/// Where the guest leaves what it read.
const READINGS: u64 = 0x7_0000;
/// What a reading holds: TSC, MPERF, APERF, core cycles and reference cycles of fixed counters 1 and 2.
const MSRS: [u32; 5] = [0x10, 0xe7, 0xe8, 0x30a, 0x30b];
/// Instructions from the RDMSR of one register to the same one's of the next reading, but for what lies between readings:
/// MOV RDMSR SHL OR MOV for each.
const READING: u64 = 5 * 5;

/// Reading `n`.
fn reading(c: &mut Code, n: u64) {
    for (at, msr) in (0u64..).zip(MSRS) {
        c.mov(1, msr).raw(&[0x0f, 0x32, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0x48, 0x89, 0x04, 0x25]);
        c.raw(&((READINGS + 40 * n + 8 * at) as u32).to_le_bytes());
    }
}

/// Runs `between`, with readings before and after each of its parts; returns them.
fn readings(ratio: u8, before: &[(u32, u64)], between: &[&[u8]]) -> Vec<[u64; 5]> {
    let mut c = Code::default();
    c.wrmsr(0x38d, 0x330).wrmsr(0x38f, 6 << 32);
    for &(msr, v) in before {
        c.wrmsr(msr, v);
    }
    reading(&mut c, 0);
    for (n, part) in (1..).zip(between) {
        c.raw(part);
        reading(&mut c, n);
    }
    c.raw(&[0xfa, 0xf4]);
    let mut m = Machine::new(&c, ratio);
    m.run();
    (0..=between.len() as u64).map(|n| std::array::from_fn(|at| m.word(READINGS + 40 * n + 8 * at as u64))).collect()
}

fn gone(from: &[u64; 5], to: &[u64; 5]) -> [u64; 5] {
    std::array::from_fn(|n| to[n].wrapping_sub(from[n]))
}

/// MOV ECX, n; LOOP.
fn spin(n: u32) -> Vec<u8> {
    let mut c = Code::default();
    c.mov(1, n).loop_back(0);
    c.0
}

#[test]
fn d1_d4_in_c0_mperf_is_the_tsc_and_aperf_the_core() {
    for ratio in [22u8, 33, 48] {
        let parts = [spin(100_000), spin(1), spin(77_777)];
        let r = readings(ratio, &[], &parts.each_ref().map(Vec::as_slice));
        for (pair, spins) in r.windows(2).zip([100_000u64, 1, 77_777]) {
            let [tsc, mperf, aperf, core, reference] = gone(&pair[0], &pair[1]);
            let cycles = READING + 1 + spins;
            assert_eq!((aperf, core), (cycles, cycles), "a cycle an instruction");
            // Within a tick of what the frequencies say, and of each other.
            let ticks = cycles * 22 / u64::from(ratio);
            assert!(
                [tsc, mperf, reference].iter().all(|t| (ticks..=ticks + 1).contains(t)),
                "{ratio}: {tsc} {mperf} {reference} {ticks}"
            );
        }
    }
}

#[test]
fn at_the_tsc_s_frequency_all_clocks_are_equal() {
    let r = readings(22, &[], &[&spin(1000)]);
    assert_eq!(gone(&r[0], &r[1]), [1001 + READING; 5]);
}

#[test]
fn d3_while_halted_only_the_tsc_goes_on() {
    for ratio in [22, 33] {
        // The timer once, 400 of its 25 MHz: 35,200 ticks of the TSC; STI, HLT, CLI.
        let timer = [(0x83e, 0xb), (0x832, u64::from(TIMER))];
        let mut part = Code::default();
        part.wrmsr(0x838, 400).raw(&[0xfb, 0xf4, 0xfa]);
        let r = readings(ratio, &timer, &[&part.0]);
        let [tsc, mperf, aperf, core, reference] = gone(&r[0], &r[1]);
        // WRMSR with its MOVs, STI HLT CLI, the handler's twelve.
        let cycles = READING + 4 + 3 + 12;
        assert_eq!((aperf, core), (cycles, cycles));
        let ticks = cycles * 22 / u64::from(ratio);
        assert!([mperf, reference].iter().all(|t| (ticks..=ticks + 1).contains(t)), "{mperf} {reference} {ticks}");
        assert!((35_200..35_300).contains(&tsc), "{tsc}");
    }
}

/// RDTSC; ADD EAX, ticks; MOV ECX, state; TPAUSE: ends so many `ticks` after it began.
fn tpause(ticks: u32, state: u32) -> Vec<u8> {
    let mut c = Code::default();
    c.raw(&[0x0f, 0x31, 0x05]).raw(&ticks.to_le_bytes()).mov(1, state).raw(&[0x66, 0x0f, 0xae, 0xf1]);
    c.0
}

#[test]
fn in_c0_1_and_c0_2_all_clocks_go_on_and_the_cycles_are_counted_as_such() {
    let [in_c01, in_c02] = [(50_000, 1), (30_000, 0)].map(|(ticks, state)| tpause(ticks, state));
    // C0.1 and C0.2, and both with PAUSE.
    let events = [(0x186, 0x43_10ec), (0x187, 0x43_20ec), (0x188, 0x43_70ec), (0x38f, 7 | 6 << 32)];
    let r = readings(22, &events, &[&in_c01, &in_c02]);
    assert_eq!(gone(&r[0], &r[1]), [50_000 + READING; 5]);
    assert_eq!(gone(&r[1], &r[2]), [30_000 + READING; 5]);
    let mut c = Code::default();
    for (msr, value) in events {
        c.wrmsr(msr, value);
    }
    c.raw(&in_c01).raw(&in_c02).raw(&[0xf3, 0x90]).raw(&[0xfa, 0xf4]);
    let mut m = Machine::new(&c, 22);
    m.run();
    // The three instructions before TPAUSE and itself take four of the ticks.
    assert_eq!([0xc1, 0xc2, 0xc3].map(|msr| m.read(msr)), [49_996, 29_996, 49_996 + 29_996 + 1]);
}

#[test]
fn an_overflow_ends_the_wait_in_the_very_cycle() {
    // PMI on overflow of the core cycles, as the timer's vector.
    let enabled = [(0x38d, 0x3b0), (0x834, u64::from(TIMER))];
    let mut part = Code::default();
    part.raw(&[0xfb]).wrmsr(0x30a, (1 << 48) - 1000).raw(&tpause(50_000, 0)).raw(&[0xfa]);
    let r = readings(22, &enabled, &[&part.0]);
    let [tsc, mperf, aperf, _, reference] = gone(&r[0], &r[1]);
    // STI and WRMSR with its MOVs, the thousand cycles, the handler's twelve, CLI.
    let cycles = 1 + 4 + 1000 + 12 + 1 + READING;
    assert_eq!([tsc, mperf, aperf, reference], [cycles; 4]);
}

#[test]
fn d10_what_is_written_is_what_is_read() {
    for ratio in [22, 33] {
        let r = readings(ratio, &[(0xe8, 1 << 40), (0xe7, 1 << 50)], &[&spin(10)]);
        // From WRMSR to RDMSR of MPERF: WRMSR, the TSC's five and MOV; of APERF the four of MPERF's WRMSR and its five besides.
        let (mperf, aperf) = (r[0][1] - (1 << 50), r[0][2] - (1 << 40));
        assert_eq!(aperf, 1 + 4 + 5 + 5 + 1);
        assert!((7 * 22 / u64::from(ratio)..=7 * 22 / u64::from(ratio) + 1).contains(&mperf), "{mperf}");
        assert!(r[1][1] > r[0][1] && r[1][2] > r[0][2], "D1");
    }
}

#[test]
fn when_either_overflows_both_start_from_zero() {
    let r = readings(22, &[(0xe7, 500), (0xe8, u64::MAX - 100)], &[&spin(200)]);
    let [_, mperf, aperf, ..] = r[1];
    assert!(r[0][2] > 1 << 63 && aperf < 200 && mperf < 200, "{mperf} {aperf}");
}

#[test]
fn freezing_and_global_control_stop_counters_and_not_mperf_and_aperf() {
    let r = readings(22, &[(0x38f, 0)], &[&spin(500)]);
    assert_eq!(gone(&r[0], &r[1]), [501 + READING, 501 + READING, 501 + READING, 0, 0]);
}
