//! Tests of the catalog: what a row says holds, and each value of EVENTSEL finds the right one.

use super::*;
use crate::signal::{Signal, Signals};
use cpu_x86::{Counts, Facts};

const C1: u64 = c(1);
const INV: u64 = 1 << 23;
const EDGE: u64 = 1 << 18;

/// CMASK.
const fn c(mask: u64) -> u64 {
    mask << 24
}

fn kernel(instructions: u64, branches: u64, conditional: u64) -> Counts {
    let kernel = Facts { instructions, branches, conditional, ..Facts::default() };
    Counts { kernel, cycles: instructions, ..Counts::default() }
}

fn seen(of: &[(Signal, u64)]) -> Signals {
    let mut signals = Signals::default();
    of.iter().for_each(|&(s, n)| signals.kernel[s] += n);
    signals
}

/// What EVENTSEL value `select` has counted in ring 0.
fn counted(select: u64, extra: &Extra, counts: &Counts, signals: &Signals) -> Option<u64> {
    let now = Now { counts, signals: Some(signals) };
    programmed(select, extra).formula.map(|f| f.count(now, Ring::Kernel))
}

#[test]
fn names_and_ways_to_program_are_unique() {
    for (n, e) in EVENTS.iter().enumerate() {
        let same = |f: &&Event| (f.select(), f.msr, f.counters) == (e.select(), e.msr, e.counters);
        assert!(EVENTS[n + 1..].iter().all(|f| f.name != e.name), "{}", e.name);
        let twin = EVENTS[n + 1..].iter().find(same).map(|f| f.name);
        assert!(twin.is_none() || twin == Some("INST_RETIRED.PREC_DIST"), "{} {twin:?}", e.name);
    }
    assert!(EVENTS.len() >= 160, "{}", EVENTS.len());
}

#[test]
fn a_row_is_worth_what_its_facts_are_worth() {
    for e in EVENTS {
        match e.validity {
            Validity::NotModelled => assert!(e.formula.is_none(), "{}", e.name),
            Validity::Exact => assert_eq!(e.formula.unwrap().validity(), Validity::Exact, "{}", e.name),
            Validity::Modelled => assert!(e.formula.is_some(), "{}", e.name),
        }
        assert!(!e.text.is_empty() && e.text.len() < 90, "{}", e.name);
    }
}

#[test]
fn every_row_finds_itself() {
    for e in EVENTS.iter().filter(|e| e.counters & ALL_GENERAL != 0) {
        let mut extra = Extra::default();
        match e.msr {
            Some((qualified::OFFCORE_RSP_0, v)) => extra.offcore[0] = v,
            Some((qualified::LOAD_LATENCY, v)) => extra.load_latency = v,
            Some((_, v)) => extra.frontend = v,
            None => {}
        }
        assert_eq!(programmed(e.select(), &extra).event.map(|f| f.name), Some(e.name));
        assert_eq!(named(&e.name.to_lowercase()).map(|f| f.name), Some(e.name));
    }
}

#[test]
fn what_no_row_has_counts_nothing() {
    for select in [0x00, 0x0100, 0x0300, 0x0400, 0x8000, 0xffff, 0x00c4 | 0x2 << 8 | 0x1 << 9 | 1 << 10] {
        let p = programmed(select, &Extra::default());
        assert!(p.formula.is_none() && p.validity == Validity::NotModelled, "{select:#x}");
    }
}

#[test]
fn cmask_and_inv_count_cycles_where_totals_tell_them() {
    let (counts, none) = (kernel(96, 24, 12), Signals::default());
    let count = |select| counted(select, &Extra::default(), &counts, &none);
    #[rustfmt::skip] // EVENTSEL, count
    let cases = [
        (0xc0, Some(96)), (0xc0 | C1, Some(96)), (0xc0 | c(2), Some(0)), (0xc0 | c(2) | INV, Some(96)),
        (0xc0 | C1 | INV, Some(0)), (0xc0 | INV, Some(96)),
        (0xc4, Some(24)), (0xc4 | C1, Some(24)), (0xc4 | C1 | INV, Some(72)), (0xc4 | c(2), Some(0)), (0xc4 | c(9) | INV, Some(96)),
        (0x01a4, Some(576)), (0x01a4 | c(6), Some(96)), (0x01a4 | c(7), Some(0)), (0x01a4 | c(6) | INV, Some(0)),
        (0xc0 | EDGE, None), (0xc4 | C1 | EDGE, None), (0xc0 | c(2) | EDGE, Some(0)), (0xc0 | c(2) | EDGE | INV, None),
        (0x08c0 | C1, None), (0x02a4 | C1, None), (0x02a4 | c(7), Some(0)), (0x02a4 | c(7) | INV, Some(96)),
    ];
    for (select, n) in cases {
        assert_eq!(count(select), n, "{select:#x}");
    }
    assert_eq!(programmed(0xc4 | C1, &Extra::default()).validity, Validity::Modelled);
    assert_eq!(programmed(0xc4 | C1, &Extra::default()).event.unwrap().name, "BR_INST_RETIRED.ALL_BRANCHES");
}

#[test]
fn rows_that_differ_by_cmask_inv_and_edge_are_told_apart() {
    use Signal::*;
    let counts = kernel(600, 0, 0);
    let signals = seen(&[
        (Pause, 7),
        (MispredictedTaken, 5),
        (MispredictedReturn, 1),
        (ClearsSmc, 2),
        (SlotsMispredict, 60),
        (SlotsFetchLatency, 121),
        (SlotsFetchBandwidth, 30),
        (MsSwitches, 4),
        (UopsMs, 99),
    ]);
    #[rustfmt::skip] // EVENTSEL, name, count
    let cases = [
        (0x40ec, "CPU_CLK_UNHALTED.PAUSE", 7), (0x40ec | C1 | EDGE, "CPU_CLK_UNHALTED.PAUSE_INST", 7),
        (0x40ec | EDGE, "CPU_CLK_UNHALTED.PAUSE_INST", 7), (0x40ec | EDGE | INV, "CPU_CLK_UNHALTED.PAUSE_INST", 7),
        (0x01ad, "INT_MISC.RECOVERY_CYCLES", 10), (0x01ad | C1 | EDGE, "INT_MISC.CLEARS_COUNT", 8),
        (0x019c, "IDQ_UOPS_NOT_DELIVERED.CORE", 151), (0x019c | c(6), "IDQ_UOPS_NOT_DELIVERED.CYCLES_0_UOPS_DELIV.CORE", 20),
        (0x2079, "IDQ.MS_UOPS", 99), (0x2079 | C1 | EDGE, "IDQ.MS_SWITCHES", 4), (0x01c3 | C1 | EDGE, "MACHINE_CLEARS.COUNT", 2),
        (0x02c2 | C1 | INV, "UOPS_RETIRED.STALLS", 0), (0x02c2 | C1, "UOPS_RETIRED.CYCLES", 600),
    ];
    for (select, name, n) in cases {
        assert_eq!(programmed(select, &Extra::default()).event.unwrap().name, name, "{select:#x}");
        assert_eq!(counted(select, &Extra::default(), &counts, &signals), Some(n), "{name}");
    }
    // Cycles and the others are all cycles, also where a sixth does not come out even.
    let inverted = counted(0x0480 | C1 | INV, &Extra::default(), &counts, &seen(&[(SlotsIcache, 47)]));
    assert_eq!(inverted, Some(600 - 7));
}

#[test]
fn off_core_requests_match_their_register() {
    use Signal::*;
    let signals = seen(&[
        (L2DataMiss, 100),
        (L2RfoMiss, 40),
        (L2CodeMiss, 9),
        (L3DataMiss, 30),
        (L3RfoMiss, 11),
        (L3CodeMiss, 2),
        (StreamingWrites, 5),
    ]);
    #[rustfmt::skip] // OFFCORE_RSP, count
    let cases = [
        (0x1_0001, Some(100)), (0x1_0002, Some(40)), (0x1_0004, Some(9)), (0x1_0800, Some(5)), (0x1_0807, Some(154)),
        (0x3f_bfc0_0001, Some(30)), (0x3f_3fc0_0002, Some(11)), (0x3f_bfc0_0007, Some(43)), (0x3f_bfc0_0800, None),
        (0x3f_3ffc_0002, Some(40)), (0x1_0c00_0001, Some(30)), (0x3f_b300_0001, Some(0)), (0x10_003c_0001, Some(0)),
        (0x8_003c_0001, Some(0)), (0x1, None), (0x1_0008, None), (0x80_0001, None), (0x1_0000, Some(0)), (0, None),
    ];
    for (v, n) in cases {
        let extra = Extra { offcore: [v, 0], ..Extra::default() };
        assert_eq!(counted(0x012a, &extra, &Counts::default(), &signals), n, "{v:#x}");
        let extra = Extra { offcore: [0, v], ..Extra::default() };
        assert_eq!(counted(0x012b, &extra, &Counts::default(), &signals), n, "{v:#x}");
    }
    let extra = Extra { offcore: [0, 0x3f_bfc0_0001], ..Extra::default() };
    assert_eq!(programmed(0x012b, &extra).event.unwrap().name, "OCR.DEMAND_DATA_RD.L3_MISS");
}

#[test]
fn load_latency_counts_loads_beyond_the_threshold() {
    use Signal::*;
    let signals = seen(&[(LoadL1Hit, 1000), (LoadFillBuffer, 200), (LoadL2Hit, 50), (LoadL3Hit, 7), (LoadL3Miss, 2)]);
    for (threshold, n) in [(0, 1259), (4, 1259), (5, 259), (14, 259), (15, 9), (72, 9), (73, 2), (241, 2), (242, 0)] {
        let extra = Extra { load_latency: threshold, ..Extra::default() };
        assert_eq!(counted(0x01cd, &extra, &Counts::default(), &signals), Some(n), "{threshold}");
    }
}

#[test]
fn front_end_events_need_their_register() {
    let signals = seen(&[(Signal::L2CodeHit, 10), (Signal::L2CodeMiss, 3), (Signal::SlotsUnknownBranch, 18)]);
    let at = |select, frontend| counted(select, &Extra { frontend, ..Extra::default() }, &Counts::default(), &signals);
    assert_eq!(
        (at(0x01c6, 0x12), at(0x01c6, 0x13), at(0x01c6, 0), at(0x01c6, 0x60_0206)),
        (Some(13), Some(3), None, None)
    );
    assert_eq!((at(0x40ad, 7), at(0x40ad, 6)), (Some(3), None));
}

#[test]
fn parts_sum_to_their_whole() {
    // Every signal a different power of two: a sum tells its terms.
    let mut signals = Signals::default();
    Signal::ALL.iter().enumerate().for_each(|(n, &s)| signals.kernel[s] = 1 << (n % 50));
    let counts = kernel(1 << 60, 1 << 58, 1 << 57);
    let of = |name: &str| {
        named(name).unwrap().count(Now { counts: &counts, signals: Some(&signals) }, Ring::Kernel).unwrap()
    };
    #[rustfmt::skip] // a whole, its parts
    let sums: [(&str, &[&str]); 12] = [
        ("BR_INST_RETIRED.COND", &["BR_INST_RETIRED.COND_TAKEN", "BR_INST_RETIRED.COND_NTAKEN"]),
        ("BR_MISP_RETIRED.ALL_BRANCHES", &["BR_MISP_RETIRED.COND", "BR_MISP_RETIRED.INDIRECT", "BR_MISP_RETIRED.RET"]),
        ("BR_MISP_RETIRED.ALL_BRANCHES", &["BR_MISP_RETIRED.NEAR_TAKEN", "BR_MISP_RETIRED.COND_NTAKEN"]),
        ("MEM_LOAD_RETIRED.L1_MISS", &["MEM_LOAD_RETIRED.L2_HIT", "MEM_LOAD_RETIRED.L2_MISS"]),
        ("MEM_LOAD_RETIRED.L2_MISS", &["MEM_LOAD_RETIRED.L3_HIT", "MEM_LOAD_RETIRED.L3_MISS"]),
        ("L2_RQSTS.REFERENCES", &["L2_RQSTS.HIT", "L2_RQSTS.MISS"]),
        ("L2_RQSTS.REFERENCES", &["L2_RQSTS.ALL_DEMAND_DATA_RD", "L2_RQSTS.ALL_CODE_RD", "L2_RQSTS.ALL_RFO"]),
        ("L2_RQSTS.ALL_DEMAND_DATA_RD", &["L2_RQSTS.DEMAND_DATA_RD_HIT", "L2_RQSTS.DEMAND_DATA_RD_MISS"]),
        ("DTLB_LOAD_MISSES.WALK_COMPLETED", &["DTLB_LOAD_MISSES.WALK_COMPLETED_4K",
            "DTLB_LOAD_MISSES.WALK_COMPLETED_2M_4M", "DTLB_LOAD_MISSES.WALK_COMPLETED_1G"]),
        ("DTLB_STORE_MISSES.WALK_COMPLETED", &["DTLB_STORE_MISSES.WALK_COMPLETED_4K",
            "DTLB_STORE_MISSES.WALK_COMPLETED_2M_4M", "DTLB_STORE_MISSES.WALK_COMPLETED_1G"]),
        ("INT_MISC.CLEARS_COUNT", &["BR_MISP_RETIRED.ALL_BRANCHES", "MACHINE_CLEARS.COUNT"]),
        ("ASSISTS.ANY", &["ASSISTS.FP", "ASSISTS.PAGE_FAULT"]),
    ];
    for (whole, parts) in sums {
        assert_eq!(of(whole), parts.iter().map(|p| of(p)).sum::<u64>(), "{whole}");
    }
}

#[test]
fn linux_generic_events_are_all_there() {
    // Source: spec/pmu.md 1.10.1 and 1.10.2; but for 0x8203, which Linux only sets beside `mem-loads` and never reads.
    for code in [
        0x003c, 0x00c0, 0x4f2e, 0x412e, 0x00c4, 0x00c5, 0x013c, 0x81d0, 0xe124, 0x82d0, 0xe424, 0x0e12, 0x0e13, 0x0e11,
        0x04c4, 0x04c5, 0x01a4, 0x02a4, 0x02c2, 0x019c, 0x02cd,
    ] {
        assert_ne!(programmed(code, &Extra::default()).validity, Validity::NotModelled, "{code:#x}");
    }
}

#[test]
fn unit_masks_of_floating_point_add_up() {
    use Signal::*;
    let signals = seen(&[
        (FpScalarDouble, 1),
        (FpScalarSingle, 2),
        (Fp128Double, 4),
        (Fp128Single, 8),
        (Fp256Double, 16),
        (Fp256Single, 32),
        (Fp512Double, 64),
        (Fp512Single, 128),
        (FpScalarHalf, 1),
        (FpScalarComplex, 2),
        (Fp128Half, 4),
        (Fp256Half, 8),
        (Fp512Half, 16),
    ]);
    let (counts, extra) = (kernel(1000, 0, 0), Extra::default());
    for umask in 1..=0xff {
        let count = |event| counted(umask << 8 | event, &extra, &counts, &signals);
        assert_eq!(count(0xc7), Some(umask), "{umask:#x}");
        assert_eq!(count(0xcf), (umask < 0x20).then_some(umask), "{umask:#x}");
    }
    assert_eq!(programmed(0x18c7, &extra).event.map(|e| e.name), Some("FP_ARITH_INST_RETIRED.4_FLOPS"));
    assert_eq!(counted(0x00c7, &extra, &counts, &signals), None);
}
