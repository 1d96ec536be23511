//! The unit, the core's model and the processor together: events of guest programs whose counts are known by hand, and the
//! identities of spec/pmu.md 7 and spec/timing.md 4.4 over real runs.

mod board;

use board::{Board, How, run};
use cpu_x86::{Cpu, Exit, Ring, Table};
use emu_core::{Gpa, Ram};
use pmu_model::signal::{Signal, Signals};
use pmu_model::{Now, Profile, catalog};
use std::sync::Arc;

/// Everything but PEBS and LBRs.
const PROFILE: Profile = Profile { capabilities: 0xb000, constrained: false, strict_fixed_writes: false };

/// WRMSR in 16-bit code: MOV ECX; MOV EAX; MOV EDX; WRMSR.
fn wrmsr(code: &mut Vec<u8>, msr: u32, value: u64) {
    for (op, v) in [(0xb9, msr), (0xb8, value as u32), (0xba, (value >> 32) as u32)] {
        code.extend([0x66, op]);
        code.extend(v.to_le_bytes());
    }
    code.extend([0x0f, 0x30]);
}

/// An image of 64 KiB that programs the PMU, runs `payload` with GLOBAL_CTRL at `ctrl` only there, and stops.
fn image(programming: &[(u32, u64)], ctrl: u64, payload: &[u8]) -> Vec<u8> {
    let mut code = Vec::new();
    wrmsr(&mut code, 0x38f, 0);
    programming.iter().for_each(|&(msr, value)| wrmsr(&mut code, msr, value));
    wrmsr(&mut code, 0x38f, ctrl);
    code.extend(payload);
    wrmsr(&mut code, 0x38f, 0);
    code.extend([0xe6, 0xf4, 0xf4]);
    let mut image = vec![0xf4; 0x1_0000];
    image[..code.len()].copy_from_slice(&code);
    // JMP to the first byte, at the reset vector.
    image[0xfff0..0xfff3].copy_from_slice(&[0xe9, 0x0d, 0x00]);
    image
}

/// Ten times NOP, a load, a store, a read-modify-write; then LOOP. 51 instructions before the four that stop counting.
const PAYLOAD: &[u8] = &[
    0xb9, 10, 0,    // mov cx, 10
    0x90, // nop
    0xa1, 0x00, 0x10, // mov ax, [1000h]
    0xa3, 0x02, 0x10, // mov [1002h], ax
    0x83, 0x06, 0x04, 0x10, 0x01, // add word [1004h], 1
    0xe2, 0xf2, // loop
];

fn values(board: &Board, counts: &cpu_x86::Counts) -> Vec<u64> {
    board.pmu.views(counts).into_iter().map(|v| v.value).collect()
}

/// Programs `selects` in all rings, counts the payload, and reads counters 0 on.
fn counted(selects: &[u64], how: How) -> (Vec<u64>, Board) {
    let programming: Vec<(u32, u64)> = selects.iter().zip(0x186..).map(|(s, msr)| (msr, s | 0x43_0000)).collect();
    let (board, counts, exit) = run(&image(&programming, 0xff, PAYLOAD), how);
    assert_eq!(exit, Exit::Attention);
    (values(&board, &counts), board)
}

#[test]
fn events_of_a_loop_are_counted_as_by_hand() {
    // The WRMSR that stops is counted, and the three MOVs before it.
    let how = How { profile: PROFILE, ..How::default() };
    let (n, _) = counted(&[0x00c0, 0x02c0, 0x81d0, 0x82d0, 0x83d0, 0x01c4, 0x10c4, 0x20c4], how);
    assert_eq!(n[..8], [55, 10, 20, 20, 30, 9, 1, 9]);
    let (n, _) =
        counted(&[0x00c4, 0x11c4, 0x3c, 0x01a4, 0x00c0 | 2 << 24, 0x81d0 | 1 << 24 | 1 << 23, 0x21d0, 0x80c4], how);
    assert_eq!(n[..8], [10, 10, 55, 330, 0, 35, 0, 0]);
}

#[test]
fn a_counter_that_an_evtsel_write_starts_misses_nothing() {
    // GLOBAL_CTRL enables the counter already; the observer comes with the write itself.
    let mut payload = Vec::new();
    wrmsr(&mut payload, 0x187, 0x43_81d0);
    payload.extend(PAYLOAD);
    wrmsr(&mut payload, 0x187, 0);
    for always in [false, true] {
        let (board, counts, _) = run(&image(&[], 0xff, &payload), How { profile: PROFILE, always, ..How::default() });
        assert_eq!(values(&board, &counts)[1], 20);
    }
}

#[test]
fn an_overflow_of_an_observed_event_is_at_its_instruction() {
    // The fifth load is that of the third round: 1 + 2 x 5 + 2 instructions in.
    let programming = [(0x4c1, (1 << 48) - 5), (0x186, 0x53_81d0), (0x187, 0x43_00c0)];
    let image = image(&programming, 0xff, PAYLOAD);
    let before = 1 + 4 * (2 + programming.len() as u64);
    for slice in [u64::MAX / 2, 1, 10] {
        let (board, counts, _) = run(&image, How { profile: PROFILE, slice, ..How::default() });
        assert_eq!(board.pmis, [before + 13]);
        assert_eq!(values(&board, &counts)[..2], [15, 55]);
    }
}

#[test]
fn a_frozen_counter_stands_where_the_overflow_was() {
    let programming =
        [(0x1d9, 1 << 12), (0x4c1, (1 << 48) - 5), (0x186, 0x53_81d0), (0x187, 0x43_00c0), (0x188, 0x43_82d0)];
    let (board, counts, _) = run(&image(&programming, 0xff, PAYLOAD), How { profile: PROFILE, ..How::default() });
    assert_eq!(values(&board, &counts)[..3], [0, 13, 4]);
}

#[test]
fn metrics_of_a_loop_sum_to_255_and_agree_with_the_ledger() {
    let programming = [(0x38d, 0x3000)];
    let image = image(&programming, 1 << 48 | 1 << 35, PAYLOAD);
    let (mut board, counts, _) = run(&image, How { profile: PROFILE, always: true, ..How::default() });
    assert_eq!(values(&board, &counts)[11], 55 * 6);
    let fields = board.pmu.rdpmc(1 << 29, &counts).expect("metrics").to_le_bytes();
    assert_eq!(fields[..4].iter().map(|f| u64::from(*f)).sum::<u64>(), 255, "{fields:?}");
    assert!(fields[0] > 0 && (4..8).all(|n| fields[n] <= fields[n - 4]), "{fields:?}");
}

/// What holds of any run that was observed from its first instruction on.
fn check_identities(name: &str, counts: &cpu_x86::Counts, signals: &Signals) {
    let now = Now { counts, signals: Some(signals) };
    for ring in [Ring::Kernel, Ring::User] {
        let n = |event: &str| catalog::named(event).expect("an event").count(now, ring).expect("modelled");
        let sum = |events: &[&str]| events.iter().map(|e| n(e)).sum::<u64>();
        // I1, I2, B7, B8, B10.
        let slots =
            ["RETIRING", "BAD_SPECULATION", "FRONTEND_BOUND", "BACKEND_BOUND"].map(|m| n(&format!("PERF_METRICS.{m}")));
        assert_eq!(slots.iter().sum::<u64>(), 6 * now.cycles(ring), "{name}: {slots:?}");
        assert_eq!(n("UOPS_RETIRED.SLOTS"), slots[0], "{name}");
        assert!(n("PERF_METRICS.HEAVY_OPERATIONS") <= slots[0] && n("PERF_METRICS.MEMORY_BOUND") <= slots[3], "{name}");
        // I3, I4.
        assert!(n("UOPS_ISSUED.ANY") >= n("UOPS_RETIRED.SLOTS"), "{name}");
        assert_eq!(sum(&["IDQ.DSB_UOPS", "IDQ.MITE_UOPS", "IDQ.MS_UOPS", "LSD.UOPS"]), n("UOPS_ISSUED.ANY"), "{name}");
        // I5, B1: what the processor counts and what the observer counts.
        let branches = ["NEAR_TAKEN", "COND_NTAKEN", "FAR_BRANCH"].map(|k| n(&format!("BR_INST_RETIRED.{k}")));
        assert_eq!(n("BR_INST_RETIRED.ALL_BRANCHES"), branches.iter().sum::<u64>(), "{name} {ring:?}: {branches:?}");
        for kind in ["ALL_BRANCHES", "COND", "COND_TAKEN", "COND_NTAKEN", "NEAR_TAKEN", "INDIRECT"] {
            assert!(n(&format!("BR_MISP_RETIRED.{kind}")) <= n(&format!("BR_INST_RETIRED.{kind}")), "{name} {kind}");
        }
        // I6, B2.
        let loads = sum(&["MEM_LOAD_RETIRED.L1_HIT", "MEM_LOAD_RETIRED.FB_HIT", "MEM_LOAD_RETIRED.L1_MISS"]);
        assert_eq!(n("MEM_INST_RETIRED.ALL_LOADS"), loads, "{name}");
        assert!(
            n("MEM_INST_RETIRED.ANY") <= sum(&["MEM_INST_RETIRED.ALL_LOADS", "MEM_INST_RETIRED.ALL_STORES"]),
            "{name}"
        );
        assert!(n("LONGEST_LAT_CACHE.MISS") <= n("LONGEST_LAT_CACHE.REFERENCE"), "{name}");
        // I8, B6.
        let stalls = [
            "CPU_CLK_UNHALTED.THREAD_P",
            "CYCLE_ACTIVITY.STALLS_TOTAL",
            "EXE_ACTIVITY.BOUND_ON_LOADS",
            "MEMORY_ACTIVITY.STALLS_L1D_MISS",
            "MEMORY_ACTIVITY.STALLS_L2_MISS",
            "MEMORY_ACTIVITY.STALLS_L3_MISS",
        ];
        assert!(stalls.map(n).is_sorted_by(|a, b| a >= b), "{name}: {:?}", stalls.map(n));
    }
}

#[test]
fn the_identities_hold_on_every_lesson() {
    for lesson in roms::lessons() {
        let (mut board, counts, _) = run(lesson.image, How { always: true, ..How::default() });
        let signals = board.pmu.signals();
        check_identities(lesson.name, &counts, &signals);
    }
}

/// A processor in flat 32-bit mode at `at`; its descriptor table lies at 800h.
fn flat(ram: &Arc<Ram>, at: u64) -> Box<Cpu> {
    let descriptors = [0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff].map(u64::to_le_bytes);
    assert!(ram.write(Gpa(0x800), &descriptors.concat()));
    let mut cpu = Cpu::new(ram.clone(), 0);
    cpu.set_flat32(8, 16);
    cpu.gdtr = Table { base: 0x800, limit: 0x17 };
    (cpu.regs[4], cpu.rip, cpu.next_rip) = (0x8_0000, at, at);
    cpu
}

#[test]
fn the_identities_hold_while_every_handler_faults() {
    let ram = Arc::new(Ram::new(1 << 20, &[]).expect("memory"));
    // The gate of #UD leads to UD2.
    assert!(ram.write(Gpa(0x1000 + 8 * 6), &0x0000_8e00_0008_2001u64.to_le_bytes()));
    assert!(ram.write(Gpa(0x2000), &[0x90, 0x0f, 0x0b]));
    for (first, retired) in [(0x2000, 1), (0x2001, 0)] {
        let mut board = Board::new(How { always: true, ..How::default() });
        let mut cpu = flat(&ram, first);
        cpu.idtr = Table { base: 0x1000, limit: 0x7ff };
        assert_eq!(cpu.run(&mut board, 1000), Exit::Time);
        // The NOP takes a cycle, and so does each fault that nothing retired before.
        assert_eq!((cpu.counts().cycles, cpu.counts().kernel.instructions), (1000, retired));
        check_identities("faults", &cpu.counts(), &board.pmu.signals());
    }
}

#[test]
fn denormals_take_assists_where_something_multiplies_or_the_x87_loads() {
    let ram = Arc::new(Ram::new(1 << 20, &[]).expect("memory"));
    let values = [1, 1.5f64.to_bits(), f64::MIN_POSITIVE.to_bits(), 0x9fc0];
    assert!(ram.write(Gpa(0x3000), &values.map(u64::to_le_bytes).concat()));
    #[rustfmt::skip] // a listing
    let code: [&[u8]; 16] = [
        &[0xb8, 0, 6, 0, 0], &[0x0f, 0x22, 0xe0],  // mov eax, 600h; mov cr4, eax
        &[0xf2, 0x0f, 0x10, 0x05, 8, 0x30, 0, 0],  // movsd xmm0, [1.5]
        &[0xf2, 0x0f, 0x10, 0x0d, 16, 0x30, 0, 0], // movsd xmm1, [least normal]
        &[0xf2, 0x0f, 0x58, 0x05, 0, 0x30, 0, 0],  // addsd xmm0, [denormal]: none
        &[0x66, 0x0f, 0x2f, 0x05, 0, 0x30, 0, 0],  // comisd xmm0, [denormal]: none
        &[0xf2, 0x0f, 0x59, 0x05, 0, 0x30, 0, 0],  // mulsd xmm0, [denormal]: an operand
        &[0xf2, 0x0f, 0x59, 0x0d, 16, 0x30, 0, 0], // mulsd xmm1, [least normal]: a tiny result
        &[0xf2, 0x0f, 0x59, 0x0d, 8, 0x30, 0, 0],  // mulsd xmm1, [1.5]: of zero, none
        &[0xdb, 0xe3], &[0xdd, 0x05, 0, 0x30, 0, 0], // fninit; fld qword [denormal]
        &[0x0f, 0xae, 0x15, 24, 0x30, 0, 0],       // ldmxcsr [DAZ and FTZ]
        &[0xf2, 0x0f, 0x10, 0x0d, 16, 0x30, 0, 0], // movsd xmm1, [least normal]
        &[0xf2, 0x0f, 0x59, 0x05, 0, 0x30, 0, 0],  // mulsd xmm0, [denormal]: zero
        &[0xf2, 0x0f, 0x59, 0x0d, 16, 0x30, 0, 0], // mulsd xmm1, [least normal]: flushed
        &[0xf4],
    ];
    assert!(ram.write(Gpa(0x2000), &code.concat()));
    let mut board = Board::new(How { always: true, ..How::default() });
    let mut cpu = flat(&ram, 0x2000);
    assert_eq!(cpu.run(&mut board, 1000), Exit::Halted);
    let (counts, signals) = (cpu.counts(), board.pmu.signals());
    assert_eq!((counts.kernel.instructions, signals.kernel[Signal::AssistsFp]), (16, 3));
    check_identities("assists", &counts, &signals);
}

#[test]
fn the_identities_hold_for_the_loop_and_observing_all_changes_no_count() {
    let selects = [0x00c0, 0x81d0, 0x82d0, 0x01c4];
    let (counted_always, mut board) = counted(&selects, How { profile: PROFILE, always: true, ..How::default() });
    let (counted_when_wanted, _) = counted(&selects, How { profile: PROFILE, ..How::default() });
    assert_eq!(counted_always, counted_when_wanted);
    let signals = board.pmu.signals();
    let programming: Vec<(u32, u64)> = selects.iter().zip(0x186..).map(|(s, msr)| (msr, s | 0x43_0000)).collect();
    let (_, counts, _) =
        run(&image(&programming, 0xff, PAYLOAD), How { profile: PROFILE, always: true, ..How::default() });
    check_identities("loop", &counts, &signals);
    assert_eq!(signals.user, Signals::default().user);
}
