//! Events by rule: those that a register besides EVENTSEL qualifies (off-core requests, load latency), and those whose unit
//! masks add up (floating point).

use super::{Extra, Formula};
use crate::fact::{Fact, Most};
use crate::signal::Signal;

/// MSR_OFFCORE_RSP_0, for event 2Ah/01h.
pub const OFFCORE_RSP_0: u32 = 0x1a6;
/// MSR_OFFCORE_RSP_1, for event 2Bh/01h.
pub const OFFCORE_RSP_1: u32 = 0x1a7;
/// MSR_PEBS_LD_LAT, for event CDh/01h.
pub const LOAD_LATENCY: u32 = 0x3f6;
/// Event select and unit mask of load latency, with any threshold.
pub const LOAD_LATENCY_EVENT: u64 = 0x01cd;
/// MSR_PEBS_FRONTEND, for events C6h/01h, ADh/40h and C2h/04h.
pub const FRONTEND: u32 = 0x3f7;

/// How long a load takes by where its data comes from, in core cycles at 2200 MHz: L1D and L2 by count, L3 33 ns, memory
/// 110 ns. A line that is on its way takes what the L2 takes. Source: spec/timing.md 3.8.
pub const LOAD_CYCLES: [(Signal, u64); 5] = [
    (Signal::LoadL1Hit, 5),
    (Signal::LoadFillBuffer, 15),
    (Signal::LoadL2Hit, 15),
    (Signal::LoadL3Hit, 73),
    (Signal::LoadL3Miss, 242),
];

/// Request types in OFFCORE_RSP that this model has: demand reads of data, reads for ownership, code reads, streaming
/// stores. What of them goes off-core, and what of that the L3 misses. Nothing here tells streaming stores apart by what
/// answered them. Source: spec/pmu.md 1.10.7, end.
const REQUESTS: [(u64, Signal, Option<Signal>); 4] = [
    (1 << 0, Signal::L2DataMiss, Some(Signal::L3DataMiss)),
    (1 << 1, Signal::L2RfoMiss, Some(Signal::L3RfoMiss)),
    (1 << 2, Signal::L2CodeMiss, Some(Signal::L3CodeMiss)),
    (1 << 11, Signal::StreamingWrites, None),
];
const REQUEST_TYPES: u64 = 0xffff;
const ANY_RESPONSE: u64 = 1 << 16;
/// All suppliers, the L3 among them: any response by another name (Linux asks so for writes to the last level).
const ALL_SUPPLIERS: [u64; 2] = [0x3f_bffc_0000, 0x3f_3ffc_0000];
/// Everything but the L3 answered, for reads of data and for reads for ownership.
const L3_MISS: [u64; 2] = [0x3f_bfc0_0000, 0x3f_3fc0_0000];
/// Memory of this socket answered, by any of the ways events ask for it: on a machine of one socket that is all misses.
/// Source: intel/perfmon OCR.*.DRAM, .LOCAL_DRAM and Linux' `spr_hw_cache_extra_regs` (NODE read).
const MEMORY: [u64; 3] = [0x7_3c00_0000, 0x1_0400_0000, 0x1_0c00_0000];
/// Another core's cache answered (hit modified, hit with forward), or another socket's memory: never, on this machine.
const ELSEWHERE: [u64; 3] = [0x10_003c_0000, 0x8_003c_0000, 0x3f_b300_0000];

/// How an event without a row is computed.
pub(super) fn formula(select: u64, extra: &Extra) -> Option<Formula> {
    match select & 0xffff {
        0x012a => offcore(extra.offcore[0]),
        0x012b => offcore(extra.offcore[1]),
        LOAD_LATENCY_EVENT => Some(loads_beyond(extra.load_latency)),
        code @ 0x0100..0x1_0000 if code as u8 == 0xc7 => Some(floating(code)),
        code @ 0x0100..0x2000 if code as u8 == 0xcf => Some(floating(code)),
        _ => None,
    }
}

/// Operations of event C7h by bit of the unit mask, and of CFh. Source: intel/perfmon FP_ARITH_INST_RETIRED, _RETIRED2.
const FLOATING: [Signal; 8] = [
    Signal::FpScalarDouble,
    Signal::FpScalarSingle,
    Signal::Fp128Double,
    Signal::Fp128Single,
    Signal::Fp256Double,
    Signal::Fp256Single,
    Signal::Fp512Double,
    Signal::Fp512Single,
];
const HALVES: [Signal; 5] =
    [Signal::FpScalarHalf, Signal::FpScalarComplex, Signal::Fp128Half, Signal::Fp256Half, Signal::Fp512Half];

/// Floating-point operations of the event and unit mask `code`: an instruction is of one kind.
pub const fn floating(code: u64) -> Formula {
    let signals: &[Signal] = if code & 0xff == 0xcf { &HALVES } else { &FLOATING };
    let (mut f, mut n) = (Formula::NEVER, 0);
    while n < signals.len() {
        if code >> (8 + n) & 1 != 0 {
            f = f.also(Fact::Seen(signals[n]));
        }
        n += 1;
    }
    f.at_most(Most::firm(2))
}

/// Requests that match the value `v` of OFFCORE_RSP; `None`: a response or a request that is not modelled.
pub const fn offcore(v: u64) -> Option<Formula> {
    let response = v & !REQUEST_TYPES;
    let any = v & ANY_RESPONSE != 0 || is_one_of(response, &ALL_SUPPLIERS);
    let misses = is_one_of(response, &L3_MISS) || is_one_of(response, &MEMORY);
    if !(any || misses || is_one_of(response, &ELSEWHERE)) {
        return None;
    }
    let (mut f, mut left, mut n) = (Formula::NEVER, v & REQUEST_TYPES, 0);
    while n < REQUESTS.len() {
        let (bit, all, missed) = REQUESTS[n];
        if left & bit != 0 {
            f = match missed {
                _ if any => f.and(Fact::Seen(all)),
                Some(missed) if misses => f.and(Fact::Seen(missed)),
                None if misses => return None,
                _ => f,
            };
            left &= !bit;
        }
        n += 1;
    }
    if left == 0 { Some(f) } else { None }
}

const fn is_one_of(v: u64, values: &[u64]) -> bool {
    let mut n = 0;
    while n < values.len() {
        if values[n] == v {
            return true;
        }
        n += 1;
    }
    false
}

/// Loads that take more than `threshold` cycles.
pub const fn loads_beyond(threshold: u64) -> Formula {
    let (mut f, mut n) = (Formula::NEVER.at_most(Most::firm(1)), 0);
    while n < LOAD_CYCLES.len() {
        let (signal, cycles) = LOAD_CYCLES[n];
        if cycles > threshold & 0xffff {
            f = f.also(Fact::Seen(signal));
        }
        n += 1;
    }
    f
}
