//! What takes an observer: events over signals, metrics, and what PEBS is told.

use super::*;

const FC3: u64 = 1 << 35;

/// A unit with everything, counters stopped.
fn full() -> Processor {
    let mut p = Processor::of(Profile::SAPPHIRE_RAPIDS);
    p.write(0x38f, 0);
    p
}

#[test]
fn a_wrmsr_is_counted_by_what_was_in_force_before_it_signals_too() {
    let mut p = full();
    p.write(0x186, 0x02c2 | EN_ALL);
    p.write(0x38f, 1);
    p.plain(Ring::Kernel, 10);
    p.plain(Ring::User, 4);
    // The disabling WRMSR is the fifteenth.
    p.write(0x38f, 0);
    p.plain(Ring::Kernel, 10);
    assert_eq!(p.rdpmc(0), Ok(15));
}

#[test]
fn an_observer_is_wanted_as_long_as_a_programmed_event_takes_one() {
    let mut p = full();
    assert!(!p.unit.wants_structures());
    p.write(0x186, 0xc4 | EN_ALL);
    p.write(0x187, 0x81d0 | select::OS);
    assert!(!p.unit.wants_structures(), "branches are exact, and loads are not enabled");
    p.write(0x187, 0x81d0 | EN_ALL);
    assert!(p.unit.wants_structures());
    p.write(0x38f, 0);
    assert!(p.unit.wants_structures(), "also while GLOBAL_CTRL stops everything");
    p.write(0x187, 0x0187 | EN_ALL);
    assert!(!p.unit.wants_structures(), "not for what is not modelled");
    p.on_unit(|unit, now| unit.msr_write(0x38d, 0x3000, now)).unwrap().unwrap();
    assert!(p.unit.wants_structures(), "for the metrics, as soon as the WRMSR is made");
    p.write(0x38d, 0x0333);
    assert!(!p.unit.wants_structures());
}

#[test]
fn signals_overflow_at_the_instruction_that_causes_them() {
    let mut p = full();
    p.write(0x4c1, MASK - 2);
    p.write(0x186, 0x81d0 | EN_ALL | select::INT);
    p.write(0x38f, 1);
    assert_eq!(p.deadline(Ring::Kernel), 3);
    p.causing(Signal::Loads);
    p.plain(Ring::Kernel, 100);
    p.causing(Signal::Loads);
    assert_eq!((p.pmis, p.deadline(Ring::Kernel)), (0, 1));
    p.causing(Signal::Loads);
    assert_eq!((p.pmis, p.rdpmc(0), p.read(0x38e)), (1, Ok(0), 1));
}

#[test]
fn metrics_are_fractions_of_the_slots_since_both_were_cleared() {
    let mut p = full();
    p.write(0x38d, 0x3000);
    p.write(0x38f, FC3 | METRICS);
    p.plain(Ring::User, 10);
    p.signals.user[Signal::SlotsMispredict] += 6;
    p.now.user.instructions += 1;
    p.now.cycles += 1;
    p.write(0x38f, 0);
    // Of 72 slots 11 retire, 55 are the core's, 6 are mispredicted: 38.96, 194.8, 21.25.
    assert_eq!(p.rdpmc(1 << 30 | 3), Ok(72));
    let v = u64::from_le_bytes([39, 21, 0, 195, 0, 21, 0, 0]);
    assert_eq!((p.rdpmc(1 << 29), p.read(0x329)), (Ok(v), v));
    p.write(0x30c, 0);
    assert_eq!((p.read(0x329), p.rdpmc(1 << 30 | 3)), (0, Ok(0)));
}

#[test]
fn metrics_follow_the_ring_filter_of_fixed_counter_3() {
    for (rings, retiring) in [(0x1000, 255), (0x2000, 0)] {
        let mut p = full();
        p.write(0x38d, rings);
        p.write(0x38f, FC3 | METRICS);
        p.signals.kernel[Signal::SlotsLight] += 60;
        p.signals.user[Signal::SlotsMemory] += 60;
        assert_eq!(p.rdpmc(1 << 29).unwrap() & 0xff, retiring);
    }
}

#[test]
fn slots_alone_do_not_depend_on_metrics_and_metrics_freeze_without_their_bit() {
    let mut p = full();
    p.write(0x38d, 0x3000);
    p.write(0x38f, FC3);
    p.plain(Ring::User, 10);
    assert_eq!((p.rdpmc(1 << 30 | 3), p.rdpmc(1 << 29)), (Ok(60), Ok(0)));
    p.write(0x329, 0x3f40_4040);
    p.plain(Ring::User, 10);
    assert_eq!(p.rdpmc(1 << 29), Ok(0x3f40_4040));
    p.write(0x38f, METRICS);
    p.plain(Ring::User, 10);
    assert_eq!((p.rdpmc(1 << 29), p.rdpmc(1 << 30 | 3)), (Ok(0x3f40_4040), Ok(60 + 6 + 60 + 6)));
}

#[test]
fn restoring_slots_then_metrics_brings_both_back() {
    let mut p = full();
    let m = 0x0a14_1e28_3c40_5f24;
    p.write(0x30c, 6_000_000);
    p.write(0x329, m);
    assert_eq!((p.rdpmc(1 << 30 | 3), p.rdpmc(1 << 29)), (Ok(6_000_000), Ok(m)));
    p.write(0x329, m);
    p.write(0x30c, 6_000_000);
    assert_eq!(p.rdpmc(1 << 29), Ok(0));
}

#[test]
fn an_overflow_of_the_slots_says_so_of_the_metrics_too() {
    for (ctrl, status) in [(FC3 | METRICS, FC3 | METRICS), (FC3, FC3)] {
        let mut p = full();
        p.write(0x30c, MASK - 5);
        p.write(0x38d, 0xb000);
        p.write(0x38f, ctrl);
        p.plain(Ring::Kernel, 1);
        assert_eq!((p.pmis, p.read(0x38e)), (1, status));
        p.write(0x390, FC3 | METRICS);
        assert_eq!(p.read(0x38e), 0);
    }
}

#[test]
fn metrics_are_not_there_without_their_capability() {
    let mut p = Processor::default();
    assert_eq!((p.rdpmc(1 << 29), p.try_write(0x329, 0)), (Err(Refused), None));
    assert_eq!(p.try_write(0x38f, METRICS), Some(Err(Refused)));
    let mut p = full();
    assert_eq!((p.rdpmc(1 << 29 | 1), p.rdpmc(1 << 29)), (Err(Refused), Ok(0)));
}

#[test]
fn freezing_the_lbrs_is_told_and_leaves_the_counters_running() {
    let mut p = full();
    p.write(0x1d9, 1 << 11);
    p.write(0xc1, u64::MAX);
    p.write(0x186, 0xc0 | EN_ALL | select::INT);
    p.write(0x38f, 1);
    assert!(!p.unit.lbrs_are_frozen());
    p.plain(Ring::Kernel, 5);
    assert!(p.unit.lbrs_are_frozen());
    assert_eq!((p.rdpmc(0), p.read(0x38e)), (Ok(4), 1 | LBR_FRZ));
    p.write(0x390, LBR_FRZ);
    assert!(!p.unit.lbrs_are_frozen());
}

/// Tells PEBS' side at this boundary.
fn sampled(p: &mut Processor) -> Sampled {
    p.on_unit(Unit::take_sampled)
}

#[test]
fn a_sampled_counter_overflows_to_pebs_and_not_to_the_status() {
    let mut p = full();
    p.write(0xc1, (-3i64) as u64);
    p.write(0x186, 0x81d0 | EN_ALL | select::INT);
    p.on_unit(|unit, now| unit.sample(1, now));
    p.plain(Ring::Kernel, 1);
    assert_eq!(p.read(0x392), 1 << 63 | 1);
    p.write(0x38f, 1);
    (0..3).for_each(|_| p.causing(Signal::Loads));
    assert_eq!(sampled(&mut p), Sampled { counted: 0, overflowed: 1, precise: 1 });
    p.unit.await_event(1);
    assert_eq!((p.pmis, p.deadline(Ring::Kernel)), (0, 1));
    p.plain(Ring::Kernel, 1);
    assert_eq!(sampled(&mut p), Sampled::default());
    p.causing(Signal::Loads);
    assert_eq!(sampled(&mut p), Sampled { counted: 1, overflowed: 0, precise: 0 });
    p.on_unit(|unit, now| unit.reload(0, (-100i64) as u64, now));
    p.unit.await_event(0);
    assert_eq!((p.rdpmc(0), p.deadline(Ring::Kernel)), (Ok(MASK - 99), 100));
    assert_eq!(p.read(0x38e), 0);
}

#[test]
fn a_full_buffer_sets_its_bit_requests_and_freezes() {
    let mut p = full();
    p.write(0x1d9, 1 << 12);
    p.on_unit(Unit::buffer_is_full);
    p.settle();
    assert_eq!((p.pmis, p.read(0x38e)), (1, OVF_BUFFER | CTR_FRZ));
    p.write(0x390, OVF_BUFFER | CTR_FRZ);
    assert_eq!(p.read(0x38e), 0);
}

#[test]
fn counters_without_pebs_overflow_as_ever_beside_those_with_it() {
    let mut p = full();
    p.write(0x309, MASK);
    p.write(0xc2, u64::MAX);
    p.write(0x187, 0xc0 | EN_ALL);
    p.write(0x38d, 0x1_0000_0001);
    p.on_unit(|unit, now| unit.sample(1 << 32, now));
    p.write(0x38f, 1 << 32 | 2);
    assert_eq!(p.unit.adaptive(), 1 << 32);
    p.plain(Ring::Kernel, 1);
    assert_eq!(sampled(&mut p), Sampled { counted: 0, overflowed: 1 << 32, precise: 1 << 32 });
    assert_eq!(p.read(0x38e), 2);
}

#[test]
fn load_latency_is_precise_whatever_the_threshold() {
    // Linux' mem-loads asks for 3, perf mem for 30: no names of Intel's.
    for threshold in [3, 4, 30] {
        let mut p = full();
        p.write(0x3f6, threshold);
        p.write(0xc2, u64::MAX);
        p.write(0x187, 0x01cd | EN_ALL);
        p.on_unit(|unit, now| unit.sample(2, now));
        p.plain(Ring::Kernel, 1);
        p.write(0x38f, 2);
        p.causing(Signal::LoadL1Hit);
        let hit = sampled(&mut p);
        assert_eq!(hit.overflowed, if threshold < 5 { 2 } else { 0 });
        p.causing(Signal::LoadL3Miss);
        let missed = sampled(&mut p);
        assert_eq!(hit.precise | missed.precise, 2, "{threshold}");
    }
}
