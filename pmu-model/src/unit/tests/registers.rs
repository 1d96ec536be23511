//! Every bit of every register: what is reserved is refused, and refusing changes nothing.

use super::*;

/// Registers, and the bits of each that are legal: without PEBS and metrics, and what these add. Hand-made from
/// spec/pmu.md 1.5 to 1.8.
#[rustfmt::skip] // a register or a row of them a line
const REGISTERS: [(u32, u32, u64, u64); 16] = [
    (0x0c1, 8, u64::MAX, 0),
    (0x4c1, 8, 0x0000_ffff_ffff_ffff, 0),
    (0x186, 8, 0x0000_0000_ffdf_ffff, 1 << 34),
    (0x1a6, 2, 0x0000_003f_ffff_ffff, 0),
    (0x309, 4, u64::MAX, 0),
    (0x329, 0, 0, u64::MAX),
    (0x345, 1, 0, 0),
    (0x38d, 1, 0x0000_0000_0000_bbbb, 0x0000_1111_0000_0000),
    (0x38e, 1, 0, 0),
    (0x38f, 1, 0x0000_000f_0000_00ff, 1 << 48),
    (0x390, 1, 0xfc80_000f_0000_00ff, 1 << 48),
    (0x391, 1, 0x4c00_000f_0000_00ff, 1 << 48),
    (0x392, 1, 0, 0),
    (0x3f6, 1, 0xffff, 0),
    (0x3f7, 1, 0x7f_ff1f, 0),
    (0x4c9, 0, 0, 0),
];

/// What can be read of the unit.
fn state(p: &mut Processor) -> Vec<u64> {
    let now = Now { counts: &p.now, signals: Some(&p.signals) };
    (0..0x1000).filter_map(|n| p.unit.msr_read(n, now)?.ok()).collect()
}

#[test]
fn every_reserved_bit_of_every_register_is_refused_and_changes_nothing() {
    for (profile, full) in [(Profile::PLAIN, false), (Profile::SAPPHIRE_RAPIDS, true)] {
        let mut p = Processor::of(profile);
        p.write(0x186, 0xc0 | EN_ALL);
        p.write(0x391, 1 << 3);
        for (first, count, legal, more) in REGISTERS {
            let count = if full && first == 0x329 { 1 } else { count };
            let legal = if full { legal | more } else { legal };
            for (n, bit) in (first..first + count).flat_map(|n| (0..64).map(move |bit| (n, bit))) {
                let mut q = Processor { unit: p.unit.clone(), now: p.now, pmis: 0, signals: p.signals.clone() };
                let (before, done) = (state(&mut q), q.try_write(n, 1 << bit));
                if legal >> bit & 1 != 0 {
                    assert_eq!(done, Some(Ok(())), "{n:#x} bit {bit}");
                } else {
                    assert_eq!((done, state(&mut q)), (Some(Err(Refused)), before), "{n:#x} bit {bit}");
                }
            }
        }
    }
}

#[test]
fn registers_that_are_not_there_are_nobodys() {
    let mut p = Processor::default();
    for absent in
        [0xc9, 0x4c9, 0x18e, 0x30d, 0x329, 0x3f1, 0x3f2, 0x600, 0xc0, 0x4c0, 0x185, 0x308, 0x1a8, 0x1a5, 0x393]
    {
        assert_eq!(p.try_write(absent, 0), None, "{absent:#x}");
        assert_eq!(p.unit.msr_read(absent, &p.now), None, "{absent:#x}");
    }
    let mut p = Processor::of(Profile { capabilities: 0, ..Profile::PLAIN });
    assert_eq!((p.try_write(0x4c1, 0), p.read(0x345)), (None, 0));
}

#[test]
fn what_is_written_is_read_back_through_every_alias() {
    let mut p = Processor::of(Profile::SAPPHIRE_RAPIDS);
    for n in 0..8 {
        p.write(0x4c1 + n, 0xff01_2345_6789 ^ u64::from(n));
        let v = 0xff01_2345_6789 ^ u64::from(n);
        assert_eq!((p.read(0xc1 + n), p.read(0x4c1 + n), p.rdpmc(n)), (v, v, Ok(v)));
        p.write(0xc1 + n, 0xff01_2345_6789);
        assert_eq!((p.read(0x4c1 + n), p.rdpmc(n)), (0x2345_6789, Ok(0x2345_6789)));
        p.write(0x186 + n, 0x4_0053_00c4);
        assert_eq!(p.read(0x186 + n), 0x4_0053_00c4);
        p.write(0x186 + n, 0);
    }
    for (n, v) in
        [(0x1a6, 0x3f_bfc0_0001), (0x1a7, 0x1_0001), (0x3f6, 0x1234), (0x3f7, 0x60_0206), (0x38d, 0x1011_0000_b0bb)]
    {
        p.write(n, v);
        assert_eq!(p.read(n), v, "{n:#x}");
    }
    for n in [0x390, 0x391] {
        p.write(n, 1 << 5);
        assert_eq!(p.read(n), 0, "{n:#x}");
    }
}

#[test]
fn counter_writes_of_kvm_unit_tests_do_what_they_expect() {
    // Source: spec/pmu.md 1.7 (`check_gp_counters_write_width`, `check_rdpmc`).
    let mut p = Processor::of(Profile::SAPPHIRE_RAPIDS);
    for n in 0..8 {
        p.write(0xc1 + n, 0xffff_ff01_2345_6789);
        assert_eq!((p.read(0xc1 + n), p.read(0x4c1 + n)), (0x2345_6789, 0x2345_6789));
        p.write(0x4c1 + n, 0x0000_ff01_2345_6789);
        assert_eq!((p.read(0xc1 + n), p.read(0x4c1 + n)), (0xff01_2345_6789, 0xff01_2345_6789));
        assert_eq!(p.try_write(0x4c1 + n, 0xffff_ff01_2345_6789), Some(Err(Refused)));
        assert_eq!(p.rdpmc(n), Ok(0xff01_2345_6789));
        p.write(0xc1 + n, 0xff01_2345_6789);
        assert_eq!(p.rdpmc(n), Ok(0x2345_6789));
        p.write(0xc1 + n, u64::MAX);
        assert_eq!(p.rdpmc(n), Ok(MASK));
    }
    for n in 0..4 {
        p.write(0x309 + n, 0xff01_2345_6789);
        assert_eq!((p.read(0x309 + n), p.rdpmc(1 << 30 | n)), (0xff01_2345_6789, Ok(0xff01_2345_6789)));
    }
    assert_eq!((p.rdpmc(64), p.rdpmc(1 << 31)), (Err(Refused), Err(Refused)));
}

/// Runs of instructions, each with whether a branch follows.
type Payload = &'static [(u64, bool)];

#[test]
fn payloads_of_the_kvm_selftests_count_as_they_expect() {
    // Source: spec/pmu.md 1.9.2: instructions in straight lines, each followed by a branch if it says so.
    #[rustfmt::skip] // straight instructions before the WRMSR that stops, of which branches; counts with it
    let rows: [(Payload, u64, u64); 2] = [
        (&[(1, false), (5, true), (5, true), (5, true), (5, true), (5, true), (5, true), (5, true), (5, true), (5, true), (5, true), (3, false)], 65, 10),
        (&[(3, true), (3, true), (3, true), (3, true), (3, true), (1, false)], 22, 5),
    ];
    for (payload, instructions, branches) in rows {
        let mut p = Processor::default();
        p.write(0x38f, 0);
        p.write(0x186, 0xc0 | EN_ALL);
        p.write(0x187, 0xc4 | EN_ALL);
        p.write(0x38d, 3);
        p.write(0x38f, COUNTERS);
        for &(straight, branch) in payload {
            p.plain(Ring::Kernel, straight);
            if branch {
                p.branch();
            }
        }
        p.write(0x38f, 0);
        p.plain(Ring::Kernel, 50);
        assert_eq!((p.rdpmc(0), p.rdpmc(1), p.rdpmc(1 << 30)), (Ok(instructions), Ok(branches), Ok(instructions)));
    }
}
