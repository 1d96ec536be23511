//! The table: a row an event, in the groups and the order of spec/pmu.md 1.10.7.
//!
//! `exact` rows are defined by the architecture alone, `model` rows by the model of the core, `none` rows count nothing.
//! Behind a row: `c` CMASK, `inv`, `edge`; `msr` the register and value that select it; `low` counters 0 to 3 only, `on` the
//! counters otherwise; `p` PEBS can sample it precisely.

use super::qualified::{FRONTEND, LOAD_LATENCY, OFFCORE_RSP_0, floating, loads_beyond, offcore};
use super::{ALL_GENERAL, Event, Formula, Validity, When};
use crate::fact::{Fact, Most};
use crate::signal::Signal;
use crate::signal::Signal::*;

/// What the fixed counters count.
pub const FIXED: [(&str, Fact); 4] = [
    ("INST_RETIRED.ANY", Fact::Instructions),
    ("CPU_CLK_UNHALTED.THREAD", Fact::Cycles),
    ("CPU_CLK_UNHALTED.REF_TSC", Fact::RefCycles),
    ("TOPDOWN.SLOTS", Fact::Slots),
];

const fn row(name: &'static str, code: u16, validity: Validity, formula: Option<Formula>, text: &'static str) -> Event {
    let (event, umask, when) = (code as u8, (code >> 8) as u8, When { cmask: 0, inv: false, edge: false });
    Event { name, event, umask, when, msr: None, counters: ALL_GENERAL, precise: false, formula, validity, text }
}

const fn exact(name: &'static str, code: u16, formula: Formula, text: &'static str) -> Event {
    row(name, code, Validity::Exact, Some(formula), text)
}

const fn model(name: &'static str, code: u16, formula: Formula, text: &'static str) -> Event {
    row(name, code, Validity::Modelled, Some(formula), text)
}

const fn none(name: &'static str, code: u16, text: &'static str) -> Event {
    row(name, code, Validity::NotModelled, None, text)
}

impl Event {
    const fn on(self, counters: u64) -> Event {
        Event { counters, ..self }
    }
    const fn low(self) -> Event {
        self.on(0xf)
    }
    const fn p(self) -> Event {
        Event { precise: true, ..self }
    }
    const fn c(self, cmask: u8) -> Event {
        Event { when: When { cmask, ..self.when }, ..self }
    }
    const fn inv(self) -> Event {
        Event { when: When { inv: true, ..self.when }, ..self }
    }
    const fn edge(self) -> Event {
        Event { when: When { edge: true, ..self.when }, ..self }
    }
    const fn msr(self, number: u32, value: u64) -> Event {
        Event { msr: Some((number, value)), ..self }
    }
}

/// A signal.
const fn seen(signal: Signal) -> Formula {
    Formula::of(Fact::Seen(signal))
}

/// A sum of signals.
const fn sum(signals: &[Signal]) -> Formula {
    let (mut f, mut n) = (Formula::NEVER, 0);
    while n < signals.len() {
        f = f.and(Fact::Seen(signals[n]));
        n += 1;
    }
    f
}

/// A sum of signals of which an instruction causes one at most.
const fn one_of(signals: &[Signal]) -> Formula {
    sum(signals).at_most(Most::firm(1))
}

/// A sum of signals of the memory path, of which most instructions cause two at most.
const fn few(signals: &[Signal]) -> Formula {
    sum(signals).at_most(Most::mostly(2))
}

/// Disjoint parts of the ledger, in slots.
const fn slots(signals: &[Signal]) -> Formula {
    sum(signals).at_most(Most::firm(6))
}

/// Disjoint parts of the ledger, in cycles.
const fn cycles(signals: &[Signal]) -> Formula {
    slots(signals).as_cycles()
}

const NEVER: Formula = Formula::NEVER;
/// Cycles in C0.1 and C0.2; and those in which an instruction retires.
const RESTING: Formula = Formula::of(Fact::C01).also(Fact::C02);
const BUSY: Formula = CYCLES.less(&[Fact::C01, Fact::C02]);
const INSTRUCTIONS: Formula = Formula::of(Fact::Instructions);
const BRANCHES: Formula = Formula::of(Fact::Branches);
const CONDITIONAL: Formula = Formula::of(Fact::Conditional);
const CYCLES: Formula = Formula::CYCLES;
const REF_CYCLES: Formula = Formula::of(Fact::RefCycles);
const SLOTS: Formula = Formula::of(Fact::Slots);
const MISPREDICTED: Formula =
    one_of(&[MispredictedTaken, MispredictedNotTaken, MispredictedIndirect, MispredictedReturn]);
const CLEARS: Formula = sum(&[ClearsMemoryOrdering, ClearsSmc, AssistsFp]);
const RECOVERIES: Formula = few(&[
    MispredictedTaken,
    MispredictedNotTaken,
    MispredictedIndirect,
    MispredictedReturn,
    ClearsMemoryOrdering,
    ClearsSmc,
    AssistsFp,
]);
/// No counter mask over these: the ledger books a recovery's slots over the instructions behind it, so for a while fewer
/// cycles are booked than recoveries began.
const RECOVERY_CYCLES: Formula = cycles(&[SlotsMispredict, SlotsClear]).at_most(Most::mostly(1));
const L2_REFERENCES: Formula = few(&[L2DataHit, L2DataMiss, L2CodeHit, L2CodeMiss, L2RfoHit, L2RfoMiss]);
const BEYOND_L2: Formula = few(&[L2DataMiss, L2CodeMiss, L2RfoMiss]);
const BEYOND_L3: Formula = few(&[L3DataMiss, L3CodeMiss, L3RfoMiss]);
const WALKS_LOAD: Formula = few(&[DtlbLoadWalk4k, DtlbLoadWalk2m, DtlbLoadWalk1g]);
const WALKS_STORE: Formula = few(&[DtlbStoreWalk4k, DtlbStoreWalk2m, DtlbStoreWalk1g]);
const WALKS_CODE: Formula = few(&[ItlbWalk4k, ItlbWalk2m, ItlbWalk1g]);
const ITLB_MISSED: Formula = few(&[ItlbStlbHit, ItlbWalk4k, ItlbWalk2m, ItlbWalk1g]);

/// General counter 0 alone, and all but it.
const GP0: u64 = 1;
const NOT_GP0: u64 = 0xfe;
/// The fixed counters, by bit of GLOBAL_CTRL, and the fields of PERF_METRICS, by Linux' pseudo counters.
const FC: u64 = 1 << 32;
const METRIC: u64 = 1 << 48;

/// Events that a response of off-core requests selects.
const fn ocr(name: &'static str, value: u64, text: &'static str) -> Event {
    let formula = offcore(value);
    let validity = if formula.is_some() { Validity::Modelled } else { Validity::NotModelled };
    row(name, 0x012a, validity, formula, text).low().msr(OFFCORE_RSP_0, value)
}

/// Loads that take longer than `cycles`.
const fn latency(name: &'static str, cycles: u64, text: &'static str) -> Event {
    model(name, 0x01cd, loads_beyond(cycles), text).p().on(NOT_GP0).msr(LOAD_LATENCY, cycles)
}

/// Instructions behind a front-end happening that has a signal.
const fn frontend(name: &'static str, value: u64, formula: Formula, text: &'static str) -> Event {
    model(name, 0x01c6, formula, text).p().msr(FRONTEND, value)
}

/// Instructions behind a front-end happening that has none.
const fn frontend_none(name: &'static str, value: u64, text: &'static str) -> Event {
    none(name, 0x01c6, text).p().msr(FRONTEND, value)
}

/// The events.
#[rustfmt::skip] // one event a row
pub static EVENTS: &[Event] = &[
    // Instructions, cycles, slots.
    exact("INST_RETIRED.ANY_P",               0x00c0, INSTRUCTIONS,             "instructions retired").p(),
    exact("INST_RETIRED.ANY",                 0x0100, INSTRUCTIONS,             "instructions retired, by the fixed counter").p().on(FC),
    exact("INST_RETIRED.PREC_DIST",           0x0100, INSTRUCTIONS,             "instructions retired, sampled without shadow").p().on(FC),
    exact("INST_RETIRED.NOP",                 0x02c0, seen(Nops),               "NOPs of any length, ENDBR32 and ENDBR64 retired").p(),
    model("INST_RETIRED.MACRO_FUSED",         0x10c0, seen(MacroFused),         "pairs of a flag writer and a conditional branch that were fused").p(),
    exact("INST_RETIRED.REP_ITERATION",       0x08c0, seen(RepIterations),      "iterations of repeated string instructions").p(),
    model("CPU_CLK_UNHALTED.THREAD",          0x0200, CYCLES,                   "core cycles while not halted, by the fixed counter").on(FC << 1),
    model("CPU_CLK_UNHALTED.THREAD_P",        0x003c, CYCLES,                   "core cycles while not halted"),
    model("CPU_CLK_UNHALTED.REF_TSC",         0x0300, REF_CYCLES,               "TSC-rate cycles while not halted, by the fixed counter").on(FC << 2),
    model("CPU_CLK_UNHALTED.REF_TSC_P",       0x013c, REF_CYCLES,               "TSC-rate cycles while not halted"),
    model("CPU_CLK_UNHALTED.DISTRIBUTED",     0x02ec, CYCLES,                   "core cycles, shared among hardware threads: there is one"),
    model("CPU_CLK_UNHALTED.REF_DISTRIBUTED", 0x083c, REF_CYCLES,               "TSC-rate cycles, shared among hardware threads: there is one"),
    none ("CPU_CLK_UNHALTED.ONE_THREAD_ACTIVE", 0x023c,                         "crystal-rate cycles while the other hardware thread idles"),
    model("CPU_CLK_UNHALTED.C01",             0x10ec, Formula::of(Fact::C01),   "cycles in C0.1 (TPAUSE, UMWAIT)"),
    model("CPU_CLK_UNHALTED.C02",             0x20ec, Formula::of(Fact::C02),   "cycles in C0.2 (TPAUSE, UMWAIT)"),
    model("CPU_CLK_UNHALTED.C0_WAIT",         0x70ec, seen(Pause).also(Fact::C01).also(Fact::C02), "cycles in C0.1, C0.2 or PAUSE"),
    model("CPU_CLK_UNHALTED.PAUSE",           0x40ec, seen(Pause),              "cycles in PAUSE: one each"),
    exact("CPU_CLK_UNHALTED.PAUSE_INST",      0x40ec, seen(Pause),              "PAUSE instructions").c(1).edge(),
    model("TOPDOWN.SLOTS",                    0x0400, SLOTS,                    "issue slots, by the fixed counter").on(FC << 3),
    model("TOPDOWN.SLOTS_P",                  0x01a4, SLOTS,                    "issue slots: six a cycle"),
    model("TOPDOWN.BACKEND_BOUND_SLOTS",      0x02a4, slots(&[SlotsMemory, SlotsCore]), "slots lost to the back end"),
    model("TOPDOWN.BAD_SPEC_SLOTS",           0x04a4, slots(&[SlotsMispredict, SlotsClear]), "slots lost to bad speculation").on(GP0),
    model("TOPDOWN.BR_MISPREDICT_SLOTS",      0x08a4, seen(SlotsMispredict),    "slots lost to mispredicted branches").on(GP0),
    model("TOPDOWN.MEMORY_BOUND_SLOTS",       0x10a4, seen(SlotsMemory),        "slots lost to memory"),
    model("PERF_METRICS.RETIRING",            0x8000, slots(&[SlotsLight, SlotsHeavy]), "slots used, of PERF_METRICS").on(METRIC),
    model("PERF_METRICS.BAD_SPECULATION",     0x8100, slots(&[SlotsMispredict, SlotsClear]), "slots lost to bad speculation, of PERF_METRICS").on(METRIC << 1),
    model("PERF_METRICS.FRONTEND_BOUND",      0x8200, slots(&[SlotsFetchLatency, SlotsFetchBandwidth]), "slots lost to the front end, of PERF_METRICS").on(METRIC << 2),
    model("PERF_METRICS.BACKEND_BOUND",       0x8300, slots(&[SlotsMemory, SlotsCore]), "slots lost to the back end, of PERF_METRICS").on(METRIC << 3),
    model("PERF_METRICS.HEAVY_OPERATIONS",    0x8400, seen(SlotsHeavy),         "slots used by instructions of many micro-ops, of PERF_METRICS").on(METRIC << 4),
    model("PERF_METRICS.BRANCH_MISPREDICTS",  0x8500, seen(SlotsMispredict),    "slots lost to mispredicted branches, of PERF_METRICS").on(METRIC << 5),
    model("PERF_METRICS.FETCH_LATENCY",       0x8600, seen(SlotsFetchLatency),  "slots lost to fetch latency, of PERF_METRICS").on(METRIC << 6),
    model("PERF_METRICS.MEMORY_BOUND",        0x8700, seen(SlotsMemory),        "slots lost to memory, of PERF_METRICS").on(METRIC << 7),
    model("UOPS_RETIRED.SLOTS",               0x02c2, slots(&[SlotsLight, SlotsHeavy]), "slots used by retiring micro-ops"),
    model("UOPS_RETIRED.HEAVY",               0x01c2, seen(SlotsHeavy),         "slots of retiring micro-ops but the last of each instruction"),
    model("UOPS_RETIRED.MS",                  0x04c2, seen(UopsMs),             "micro-ops of the sequencer retired").msr(FRONTEND, 8),
    model("UOPS_RETIRED.MS (cmask 1 edge)",   0x04c2, seen(MsSwitches),         "times the sequencer took over").msr(FRONTEND, 8).c(1).edge(),
    model("UOPS_RETIRED.CYCLES",              0x02c2, BUSY,                     "cycles that retire something: all but those in C0.1 and C0.2").c(1),
    model("UOPS_RETIRED.STALLS",              0x02c2, RESTING,                  "cycles that retire nothing: those in C0.1 and C0.2").c(1).inv(),
    model("UOPS_ISSUED.ANY",                  0x01ae, seen(UopsRetired),        "micro-ops issued: those that retire, no wrong path is modelled"),
    model("UOPS_ISSUED.CYCLES",               0x01ae, BUSY,                     "cycles that issue something: all but those in C0.1 and C0.2").c(1),
    model("UOPS_EXECUTED.THREAD",             0x01b1, seen(UopsExecuted),       "micro-ops executed"),
    model("UOPS_EXECUTED.X87",                0x10b1, seen(UopsX87),            "x87 micro-ops executed"),
    model("UOPS_EXECUTED.CYCLES_GE_1",        0x01b1, seen(Executes1),            "cycles that execute a micro-op").c(1),
    model("UOPS_EXECUTED.STALLS",             0x01b1, seen(Executes1).inverted(), "cycles that execute nothing").c(1).inv(),
    model("UOPS_EXECUTED.CYCLES_GE_2",        0x01b1, seen(Executes2),            "cycles that execute at least 2 micro-ops").c(2),
    model("UOPS_EXECUTED.CYCLES_GE_3",        0x01b1, seen(Executes3),            "cycles that execute at least 3 micro-ops").c(3),
    model("UOPS_EXECUTED.CYCLES_GE_4",        0x01b1, seen(Executes4),            "cycles that execute at least 4 micro-ops").c(4),
    model("UOPS_EXECUTED.CORE",               0x02b1, seen(UopsExecuted),       "micro-ops executed on the core: there is one hardware thread"),
    model("UOPS_EXECUTED.CORE_CYCLES_GE_1",   0x02b1, seen(Executes1),          "cycles in which the core executes a micro-op").c(1),
    model("UOPS_EXECUTED.CORE_CYCLES_GE_2",   0x02b1, seen(Executes2),          "cycles in which the core executes at least 2 micro-ops").c(2),
    model("UOPS_EXECUTED.CORE_CYCLES_GE_3",   0x02b1, seen(Executes3),          "cycles in which the core executes at least 3 micro-ops").c(3),
    model("UOPS_EXECUTED.CORE_CYCLES_GE_4",   0x02b1, seen(Executes4),          "cycles in which the core executes at least 4 micro-ops").c(4),

    // Branches.
    exact("BR_INST_RETIRED.ALL_BRANCHES",     0x00c4, BRANCHES,                 "branches retired").p(),
    model("BR_INST_RETIRED.ALL_BRANCHES_PEBS", 0x04c4, BRANCHES,                "branches retired, by the unit mask that Linux uses for branch loads").p(),
    exact("BR_INST_RETIRED.COND",             0x11c4, CONDITIONAL,              "conditional branches retired").p(),
    exact("BR_INST_RETIRED.COND_TAKEN",       0x01c4, seen(ConditionalTaken),   "conditional branches taken").p(),
    exact("BR_INST_RETIRED.COND_NTAKEN",      0x10c4, CONDITIONAL.less(&[Fact::Seen(ConditionalTaken)]), "conditional branches not taken").p(),
    exact("BR_INST_RETIRED.NEAR_CALL",        0x02c4, seen(NearCalls),          "near calls").p(),
    exact("BR_INST_RETIRED.NEAR_RETURN",      0x08c4, seen(NearReturns),        "near returns").p(),
    exact("BR_INST_RETIRED.NEAR_TAKEN",       0x20c4, seen(NearTaken),          "near branches taken").p(),
    exact("BR_INST_RETIRED.FAR_BRANCH",       0x40c4, seen(FarBranches),        "far branches: far jumps, calls, returns, IRET, system calls and returns, INT n").p(),
    exact("BR_INST_RETIRED.INDIRECT",         0x80c4, seen(Indirect),           "near indirect jumps and calls").p(),
    model("BR_MISP_RETIRED.ALL_BRANCHES",     0x00c5, MISPREDICTED,             "mispredicted branches").p(),
    model("BR_MISP_RETIRED.ALL_BRANCHES_PEBS", 0x04c5, MISPREDICTED,            "mispredicted branches, by the unit mask that Linux uses for branch load misses").p(),
    model("BR_MISP_RETIRED.COND",             0x11c5, one_of(&[MispredictedTaken, MispredictedNotTaken]), "mispredicted conditional branches").p(),
    model("BR_MISP_RETIRED.COND_TAKEN",       0x01c5, seen(MispredictedTaken),  "mispredicted conditional branches that were taken").p(),
    model("BR_MISP_RETIRED.COND_NTAKEN",      0x10c5, seen(MispredictedNotTaken), "mispredicted conditional branches that were not taken").p(),
    model("BR_MISP_RETIRED.INDIRECT",         0x80c5, seen(MispredictedIndirect), "mispredicted near indirect jumps and calls").p(),
    model("BR_MISP_RETIRED.INDIRECT_CALL",    0x02c5, seen(MispredictedIndirectCall), "mispredicted near indirect calls").p(),
    model("BR_MISP_RETIRED.RET",              0x08c5, seen(MispredictedReturn), "mispredicted near returns").p(),
    model("BR_MISP_RETIRED.NEAR_TAKEN",       0x20c5, one_of(&[MispredictedTaken, MispredictedIndirect, MispredictedReturn]), "mispredicted near branches that were taken").p(),
    model("MISC_RETIRED.LBR_INSERTS",         0x20cc, seen(LbrInserts),         "records written to the LBR").p(),

    // Speculation, front end.
    model("INT_MISC.RECOVERY_CYCLES",         0x01ad, RECOVERY_CYCLES,          "cycles of recovery from clears and mispredicted branches"),
    model("INT_MISC.CLEARS_COUNT",            0x01ad, RECOVERIES,               "clears and mispredicted branches").c(1).edge(),
    model("INT_MISC.CLEAR_RESTEER_CYCLES",    0x80ad, cycles(&[SlotsResteer]),  "cycles from a clear until the right path's micro-ops come"),
    model("INT_MISC.UNKNOWN_BRANCH_CYCLES",   0x40ad, cycles(&[SlotsUnknownBranch]), "cycles of re-steers by branches that the BTB did not know").msr(FRONTEND, 7),
    model("INT_MISC.UNKNOWN_BRANCH_CYCLES (cmask 1 edge)", 0x40ad, seen(Baclears), "re-steers by branches that the BTB did not know").msr(FRONTEND, 7).c(1).edge(),
    model("INT_MISC.MBA_STALLS",              0x20ad, NEVER,                    "cycles held up by memory bandwidth allocation: there is none"),
    model("INT_MISC.UOP_DROPPING",            0x10ad, NEVER,                    "slots dropped for other reasons than the front end: none"),
    model("MACHINE_CLEARS.COUNT",             0x01c3, CLEARS,                   "machine clears").c(1).edge(),
    model("MACHINE_CLEARS.MEMORY_ORDERING",   0x02c3, seen(ClearsMemoryOrdering), "machine clears by memory ordering: none, accesses go in order"),
    model("MACHINE_CLEARS.SMC",               0x04c3, seen(ClearsSmc),          "machine clears by self-modifying code"),
    model("BACLEARS.ANY",                     0x0160, seen(Baclears),           "re-steers at decode").low(),
    model("ASSISTS.ANY",                      0x1bc1, sum(&[AssistsFp, AssistsPage]), "assists by microcode"),
    model("ASSISTS.FP",                       0x02c1, seen(AssistsFp),          "assists for denormals, but of additions and comparisons"),
    model("ASSISTS.SSE_AVX_MIX",              0x10c1, NEVER,                    "assists for SSE behind AVX: none, what is above is merged"),
    model("ASSISTS.PAGE_FAULT",               0x08c1, seen(AssistsPage),        "assists that set accessed and dirty bits"),
    model("ICACHE_DATA.STALLS",               0x0480, cycles(&[SlotsIcache]),   "cycles in which fetch waits for a line").low(),
    model("ICACHE_DATA.STALL_PERIODS",        0x0480, few(&[L2CodeHit, L2CodeMiss]), "times that fetch waits for a line").c(1).edge().low(),
    model("ICACHE_TAG.STALLS",                0x0483, cycles(&[SlotsItlb]),     "cycles in which fetch waits for a translation").low(),
    model("IDQ.MITE_UOPS",                    0x0479, seen(UopsMite),           "micro-ops of the legacy decoder").low(),
    none ("IDQ.MITE_CYCLES_ANY",              0x0479,                           "cycles in which the legacy decoder delivers").c(1).low(),
    none ("IDQ.MITE_CYCLES_OK",               0x0479,                           "cycles in which the legacy decoder delivers six").c(6).low(),
    model("IDQ.DSB_UOPS",                     0x0879, seen(UopsDsb),            "micro-ops of the decoded stream buffer").low(),
    none ("IDQ.DSB_CYCLES_ANY",               0x0879,                           "cycles in which the decoded stream buffer delivers").c(1).low(),
    none ("IDQ.DSB_CYCLES_OK",                0x0879,                           "cycles in which the decoded stream buffer delivers six").c(6).low(),
    model("IDQ.MS_UOPS",                      0x2079, seen(UopsMs),             "micro-ops of the sequencer").low(),
    model("IDQ.MS_SWITCHES",                  0x2079, seen(MsSwitches),         "times the sequencer took over").c(1).edge().low(),
    model("IDQ_UOPS_NOT_DELIVERED.CORE",      0x019c, slots(&[SlotsFetchLatency, SlotsFetchBandwidth]), "slots that the front end left empty"),
    model("IDQ_UOPS_NOT_DELIVERED.CYCLES_0_UOPS_DELIV.CORE", 0x019c, cycles(&[SlotsFetchLatency]), "cycles in which the front end delivers nothing").c(6),
    none ("DSB2MITE_SWITCHES.PENALTY_CYCLES", 0x0261,                           "cycles lost by going from the stream buffer to the decoder").low(),
    none ("DECODE.LCP",                       0x0187,                           "cycles lost to length-changing prefixes").low(),
    none ("INST_DECODED.DECODERS",            0x0175,                           "instructions by decoder").low(),
    exact("LSD.UOPS",                         0x01a8, NEVER,                    "micro-ops of the loop stream detector: this part has none"),
    exact("LSD.CYCLES_ACTIVE",                0x01a8, NEVER,                    "cycles in which the loop stream detector delivers: none").c(1),
    exact("LSD.CYCLES_OK",                    0x01a8, NEVER,                    "cycles in which it delivers six: none").c(6),
    frontend("FRONTEND_RETIRED.ANY_DSB_MISS", 0x1, seen(DsbMisses),             "instructions behind a miss of the decoded stream buffer"),
    frontend_none("FRONTEND_RETIRED.DSB_MISS",      0x11,                       "instructions behind a critical miss of the decoded stream buffer"),
    frontend("FRONTEND_RETIRED.L1I_MISS",     0x12, few(&[L2CodeHit, L2CodeMiss]), "instructions behind a miss of the L1I"),
    frontend("FRONTEND_RETIRED.L2_MISS",      0x13, seen(L2CodeMiss),           "instructions behind a code read that missed the L2"),
    frontend("FRONTEND_RETIRED.ITLB_MISS",    0x14, ITLB_MISSED,                "instructions behind a miss of the ITLB"),
    frontend("FRONTEND_RETIRED.STLB_MISS",    0x15, WALKS_CODE,                 "instructions behind a page walk for fetch"),
    frontend("FRONTEND_RETIRED.UNKNOWN_BRANCH", 0x17, seen(Baclears),           "branches that the BTB did not know"),
    frontend("FRONTEND_RETIRED.MS_FLOWS",     0x8, seen(MsSwitches),            "flows of the sequencer"),
    frontend_none("FRONTEND_RETIRED.LATENCY_GE_1",   0x60_0106,                 "instructions behind 1 cycle without delivery"),
    frontend_none("FRONTEND_RETIRED.LATENCY_GE_2",   0x60_0206,                 "behind 2"),
    frontend_none("FRONTEND_RETIRED.LATENCY_GE_4",   0x60_0406,                 "behind 4"),
    frontend_none("FRONTEND_RETIRED.LATENCY_GE_8",   0x60_0806,                 "behind 8"),
    frontend_none("FRONTEND_RETIRED.LATENCY_GE_16",  0x60_1006,                 "behind 16"),
    frontend_none("FRONTEND_RETIRED.LATENCY_GE_32",  0x60_2006,                 "behind 32"),
    frontend_none("FRONTEND_RETIRED.LATENCY_GE_64",  0x60_4006,                 "behind 64"),
    frontend_none("FRONTEND_RETIRED.LATENCY_GE_128", 0x60_8006,                 "behind 128"),
    frontend_none("FRONTEND_RETIRED.LATENCY_GE_256", 0x61_0006,                 "behind 256"),
    frontend_none("FRONTEND_RETIRED.LATENCY_GE_512", 0x62_0006,                 "behind 512"),
    frontend_none("FRONTEND_RETIRED.LATENCY_GE_2_BUBBLES_GE_1", 0x10_0206,      "behind 2 cycles that each lacked a micro-op"),

    // Back end.
    model("RESOURCE_STALLS.SCOREBOARD",       0x02a2, cycles(&[SlotsSerial]),   "cycles lost to serialising instructions"),
    model("RESOURCE_STALLS.SB",               0x08a2, cycles(&[SlotsStore]),    "cycles lost to a full store buffer"),
    none ("RS.EMPTY",                         0x07a5,                           "cycles in which the scheduler is empty"),
    none ("RS.EMPTY_RESOURCE",                0x01a5,                           "cycles in which the scheduler is empty for want of resources"),
    model("EXE_ACTIVITY.BOUND_ON_LOADS",      0x21a6, cycles(&[SlotsMemory]).less(&[Fact::Seen(SlotsStore)]), "cycles lost while a load is under way").c(5),
    model("EXE_ACTIVITY.BOUND_ON_STORES",     0x40a6, cycles(&[SlotsStore]),    "cycles lost to a full store buffer while no load is under way").c(2),
    none ("EXE_ACTIVITY.1_PORTS_UTIL",        0x02a6,                           "cycles that execute one micro-op"),
    none ("EXE_ACTIVITY.2_PORTS_UTIL",        0x04a6,                           "cycles that execute two micro-ops"),
    none ("EXE_ACTIVITY.2_3_PORTS_UTIL",      0x0ca6,                           "cycles that execute two or three micro-ops"),
    none ("EXE_ACTIVITY.3_PORTS_UTIL",        0x08a6,                           "cycles that execute three micro-ops"),
    none ("EXE_ACTIVITY.4_PORTS_UTIL",        0x10a6,                           "cycles that execute four micro-ops"),
    none ("EXE_ACTIVITY.EXE_BOUND_0_PORTS",   0x80a6,                           "cycles that execute nothing though the scheduler is not empty"),
    model("CYCLE_ACTIVITY.STALLS_TOTAL",      0x04a3, cycles(&[SlotsMemory, SlotsCore]), "cycles lost to the back end").c(4),
    none ("CYCLE_ACTIVITY.CYCLES_MEM_ANY",    0x10a3,                           "cycles with a load under way").c(16),
    none ("CYCLE_ACTIVITY.CYCLES_L1D_MISS",   0x08a3,                           "cycles with a load beyond the L1D under way").c(8),
    none ("CYCLE_ACTIVITY.CYCLES_L2_MISS",    0x01a3,                           "cycles with a load beyond the L2 under way").c(1),
    model("CYCLE_ACTIVITY.STALLS_L1D_MISS",   0x0ca3, cycles(&[SlotsL2, SlotsL3, SlotsDram]), "cycles lost to loads that missed the L1D").c(12).low(),
    model("CYCLE_ACTIVITY.STALLS_L2_MISS",    0x05a3, cycles(&[SlotsL3, SlotsDram]), "cycles lost to loads that missed the L2").c(5).low(),
    model("CYCLE_ACTIVITY.STALLS_L3_MISS",    0x06a3, cycles(&[SlotsDram]),     "cycles lost to loads that missed the L3").c(6).low(),
    model("MEMORY_ACTIVITY.STALLS_L1D_MISS",  0x0347, cycles(&[SlotsL2, SlotsL3, SlotsDram]), "cycles lost to demand loads that missed the L1D").c(3).low(),
    model("MEMORY_ACTIVITY.STALLS_L2_MISS",   0x0547, cycles(&[SlotsL3, SlotsDram]), "cycles lost to demand loads that missed the L2").c(5).low(),
    model("MEMORY_ACTIVITY.STALLS_L3_MISS",   0x0947, cycles(&[SlotsDram]),     "cycles lost to demand loads that missed the L3").c(9).low(),
    none ("MEMORY_ACTIVITY.CYCLES_L1D_MISS",  0x0247,                           "cycles with a demand load beyond the L1D").c(2).low(),
    model("ARITH.DIV_ACTIVE",                 0x09b0, cycles(&[SlotsDivider]),  "cycles lost to the divider").c(1),
    none ("ARITH.FPDIV_ACTIVE",               0x01b0,                           "cycles lost to the floating-point divider").c(1),
    none ("ARITH.IDIV_ACTIVE",                0x08b0,                           "cycles lost to the integer divider").c(1),
    exact("FP_ARITH_INST_RETIRED.SCALAR_DOUBLE", 0x01c7, floating(0x01c7),      "scalar operations of double precision, FMA two"),
    exact("FP_ARITH_INST_RETIRED.SCALAR_SINGLE", 0x02c7, floating(0x02c7),      "scalar operations of single precision, FMA two"),
    exact("FP_ARITH_INST_RETIRED.SCALAR",     0x03c7, floating(0x03c7),         "scalar floating-point operations, FMA two"),
    exact("FP_ARITH_INST_RETIRED.128B_PACKED_DOUBLE", 0x04c7, floating(0x04c7), "packed operations of double precision in 128 bits, FMA two"),
    exact("FP_ARITH_INST_RETIRED.128B_PACKED_SINGLE", 0x08c7, floating(0x08c7), "packed operations of single precision in 128 bits, FMA two"),
    exact("FP_ARITH_INST_RETIRED.256B_PACKED_DOUBLE", 0x10c7, floating(0x10c7), "packed operations of double precision in 256 bits, FMA two"),
    exact("FP_ARITH_INST_RETIRED.4_FLOPS",    0x18c7, floating(0x18c7),         "packed operations on four elements, FMA two"),
    exact("FP_ARITH_INST_RETIRED.256B_PACKED_SINGLE", 0x20c7, floating(0x20c7), "packed operations of single precision in 256 bits, FMA two"),
    exact("FP_ARITH_INST_RETIRED.512B_PACKED_DOUBLE", 0x40c7, floating(0x40c7), "packed operations of double precision in 512 bits, FMA two"),
    exact("FP_ARITH_INST_RETIRED.8_FLOPS",    0x60c7, floating(0x60c7),         "packed operations on eight elements, FMA two"),
    exact("FP_ARITH_INST_RETIRED.512B_PACKED_SINGLE", 0x80c7, floating(0x80c7), "packed operations of single precision in 512 bits, FMA two"),
    exact("FP_ARITH_INST_RETIRED.VECTOR",     0xfcc7, floating(0xfcc7),         "packed floating-point operations, FMA two"),
    model("FP_ARITH_INST_RETIRED2.SCALAR_HALF", 0x01cf, floating(0x01cf),       "scalar operations of half precision, FMA two"),
    model("FP_ARITH_INST_RETIRED2.COMPLEX_SCALAR_HALF", 0x02cf, floating(0x02cf), "operations on one complex number of half precision, FMA two"),
    model("FP_ARITH_INST_RETIRED2.SCALAR",    0x03cf, floating(0x03cf),         "scalar operations of half precision, complex ones too, FMA two"),
    model("FP_ARITH_INST_RETIRED2.128B_PACKED_HALF", 0x04cf, floating(0x04cf),  "packed operations of half precision in 128 bits, FMA two"),
    model("FP_ARITH_INST_RETIRED2.256B_PACKED_HALF", 0x08cf, floating(0x08cf),  "packed operations of half precision in 256 bits, FMA two"),
    model("FP_ARITH_INST_RETIRED2.512B_PACKED_HALF", 0x10cf, floating(0x10cf),  "packed operations of half precision in 512 bits, FMA two"),
    model("FP_ARITH_INST_RETIRED2.VECTOR",    0x1ccf, floating(0x1ccf),         "packed operations of half precision, FMA two"),
    exact("INT_VEC_RETIRED.ADD_128",          0x03e7, seen(IntVector128),       "integer vector additions and the like of 128 bits"),
    exact("INT_VEC_RETIRED.ADD_256",          0x0ce7, seen(IntVector256),       "integer vector additions and the like of 256 bits"),
    model("INT_VEC_RETIRED.VNNI_128",         0x10e7, seen(IntVectorVnni128),   "integer dot products that are added, of 128 bits"),
    model("INT_VEC_RETIRED.128BIT",           0x13e7, one_of(&[IntVector128, IntVectorVnni128]), "integer vector additions and dot products of 128 bits"),
    model("INT_VEC_RETIRED.VNNI_256",         0x20e7, seen(IntVectorVnni256),   "integer dot products that are added, of 256 bits"),
    none ("INT_VEC_RETIRED.SHUFFLES",         0x40e7,                           "shuffles of 256 bits"),
    model("INT_VEC_RETIRED.MUL_256",          0x80e7, seen(IntVectorMul256),    "integer vector multiplications of 256 bits"),
    model("INT_VEC_RETIRED.256BIT",           0xace7, one_of(&[IntVector256, IntVectorVnni256, IntVectorMul256]), "integer vector additions, multiplications and dot products of 256 bits"),
    exact("HW_INTERRUPTS.RECEIVED",           0x01cb, seen(HardwareInterrupts), "interrupts from outside"),
    exact("MISC2_RETIRED.LFENCE",             0x20e0, seen(Lfence),             "LFENCE retired"),

    // Memory hierarchy.
    exact("MEM_INST_RETIRED.ALL_LOADS",       0x81d0, seen(Loads),              "instructions that load").p().low(),
    exact("MEM_INST_RETIRED.ALL_STORES",      0x82d0, seen(Stores),             "instructions that store").p().low(),
    exact("MEM_INST_RETIRED.ANY",             0x83d0, seen(LoadsOrStores),      "instructions that load or store").p().low(),
    exact("MEM_INST_RETIRED.LOCK_LOADS",      0x21d0, seen(LockLoads),          "locked instructions").p().low(),
    exact("MEM_INST_RETIRED.SPLIT_LOADS",     0x41d0, seen(SplitLoads),         "loads that cross a cache line").p().low(),
    exact("MEM_INST_RETIRED.SPLIT_STORES",    0x42d0, seen(SplitStores),        "stores that cross a cache line").p().low(),
    model("MEM_INST_RETIRED.STLB_MISS_LOADS", 0x11d0, seen(StlbMissLoads),      "loads that needed a page walk").p().low(),
    model("MEM_INST_RETIRED.STLB_MISS_STORES", 0x12d0, seen(StlbMissStores),    "stores that needed a page walk").p().low(),
    model("MEM_UOP_RETIRED.ANY",              0x03e5, seen(MemoryUops),         "load and store micro-ops retired"),
    model("MEM_LOAD_RETIRED.L1_HIT",          0x01d1, seen(LoadL1Hit),          "loads served by the L1D").p().low(),
    model("MEM_LOAD_RETIRED.L1_MISS",         0x08d1, one_of(&[LoadL2Hit, LoadL3Hit, LoadL3Miss]), "loads that missed the L1D, those of lines on their way excepted").p().low(),
    model("MEM_LOAD_RETIRED.FB_HIT",          0x40d1, seen(LoadFillBuffer),     "loads of a line that is on its way: none, it is there at once").p().low(),
    model("MEM_LOAD_RETIRED.L2_HIT",          0x02d1, seen(LoadL2Hit),          "loads served by the L2").p().low(),
    model("MEM_LOAD_RETIRED.L2_MISS",         0x10d1, one_of(&[LoadL3Hit, LoadL3Miss]), "loads that missed the L2").p().low(),
    model("MEM_LOAD_RETIRED.L3_HIT",          0x04d1, seen(LoadL3Hit),          "loads served by the L3").p().low(),
    model("MEM_LOAD_RETIRED.L3_MISS",         0x20d1, seen(LoadL3Miss),         "loads that missed the L3").p().low(),
    none ("MEM_LOAD_L3_HIT_RETIRED.XSNP_MISS", 0x01d2,                          "loads served by the L3 after a snoop that missed").p().low(),
    none ("MEM_LOAD_L3_HIT_RETIRED.XSNP_NO_FWD", 0x02d2,                        "loads served by the L3 after a snoop that hit a clean line").p().low(),
    none ("MEM_LOAD_L3_HIT_RETIRED.XSNP_FWD", 0x04d2,                           "loads served by another core's cache").p().low(),
    model("MEM_LOAD_L3_HIT_RETIRED.XSNP_NONE", 0x08d2, seen(LoadL3Hit),         "loads served by the L3 without a snoop: no snoops are modelled").p().low(),
    model("MEM_LOAD_L3_MISS_RETIRED.LOCAL_DRAM", 0x01d3, seen(LoadL3Miss),      "loads served by this socket's memory").p().low(),
    model("MEM_LOAD_L3_MISS_RETIRED.REMOTE_DRAM", 0x02d3, NEVER,                "loads served by another socket's memory: there is one socket").p().low(),
    model("MEM_LOAD_L3_MISS_RETIRED.REMOTE_HITM", 0x04d3, NEVER,                "loads served by another socket's modified line: there is one socket").p().low(),
    model("MEM_LOAD_L3_MISS_RETIRED.REMOTE_FWD", 0x08d3, NEVER,                 "loads served by another socket's cache: there is one socket").p().low(),
    model("MEM_LOAD_L3_MISS_RETIRED.REMOTE_PMM", 0x10d3, NEVER,                 "loads served by another socket's persistent memory: there is none").p().low(),
    model("MEM_LOAD_RETIRED.LOCAL_PMM",       0x80d1, NEVER,                    "loads served by persistent memory: there is none").p().low(),
    model("MEM_LOAD_COMPLETED.L1_MISS_ANY",   0xfd43, one_of(&[LoadFillBuffer, LoadL2Hit, LoadL3Hit, LoadL3Miss]), "loads that missed the L1D").low(),
    model("MEM_STORE_RETIRED.L2_HIT",         0x0144, seen(StoreL2Hit),         "stores that hit the L2").low(),
    latency("MEM_TRANS_RETIRED.LOAD_LATENCY_GT_4",   4,                         "loads that take more than 4 cycles"),
    latency("MEM_TRANS_RETIRED.LOAD_LATENCY_GT_8",   8,                         "more than 8"),
    latency("MEM_TRANS_RETIRED.LOAD_LATENCY_GT_16",  16,                        "more than 16"),
    latency("MEM_TRANS_RETIRED.LOAD_LATENCY_GT_32",  32,                        "more than 32"),
    latency("MEM_TRANS_RETIRED.LOAD_LATENCY_GT_64",  64,                        "more than 64"),
    latency("MEM_TRANS_RETIRED.LOAD_LATENCY_GT_128", 128,                       "more than 128"),
    latency("MEM_TRANS_RETIRED.LOAD_LATENCY_GT_256", 256,                       "more than 256"),
    latency("MEM_TRANS_RETIRED.LOAD_LATENCY_GT_512", 512,                       "more than 512"),
    model("MEM_TRANS_RETIRED.STORE_SAMPLE",   0x02cd, seen(Stores),             "stores that may be sampled: all").p().on(GP0),
    none ("LD_BLOCKS.STORE_FORWARD",          0x8203,                           "loads that could not take their data from an older store").low(),
    none ("LD_BLOCKS.ADDRESS_ALIAS",          0x0403,                           "loads held up by a store whose address ends alike").low(),
    none ("LD_BLOCKS.NO_SR",                  0x8803,                           "loads that found no register for a split").low(),
    model("L1D.REPLACEMENT",                  0x0151, seen(L1dReplacements),    "lines brought into the L1D").low(),
    none ("L1D_PEND_MISS.PENDING",            0x0148,                           "demand loads beyond the L1D, summed over cycles").low(),
    none ("L1D_PEND_MISS.PENDING_CYCLES",     0x0148,                           "cycles with a demand load beyond the L1D").c(1).low(),
    none ("L1D_PEND_MISS.FB_FULL",            0x0248,                           "cycles without a free fill buffer").low(),
    none ("L1D_PEND_MISS.L2_STALLS",          0x0448,                           "cycles in which the L1D waits for the L2's queue").low(),
    model("L2_RQSTS.ALL_DEMAND_DATA_RD",      0xe124, few(&[L2DataHit, L2DataMiss]), "demand reads of data in the L2").low(),
    model("L2_RQSTS.DEMAND_DATA_RD_HIT",      0xc124, seen(L2DataHit),          "of which hits").low(),
    model("L2_RQSTS.DEMAND_DATA_RD_MISS",     0x2124, seen(L2DataMiss),         "of which misses").low(),
    model("L2_RQSTS.ALL_CODE_RD",             0xe424, few(&[L2CodeHit, L2CodeMiss]), "code reads in the L2").low(),
    model("L2_RQSTS.CODE_RD_HIT",             0xc424, seen(L2CodeHit),          "of which hits").low(),
    model("L2_RQSTS.CODE_RD_MISS",            0x2424, seen(L2CodeMiss),         "of which misses").low(),
    model("L2_RQSTS.ALL_RFO",                 0xe224, few(&[L2RfoHit, L2RfoMiss]), "reads for ownership in the L2").low(),
    model("L2_RQSTS.RFO_HIT",                 0xc224, seen(L2RfoHit),           "of which hits").low(),
    model("L2_RQSTS.RFO_MISS",                0x2224, seen(L2RfoMiss),          "of which misses").low(),
    model("L2_RQSTS.HIT",                     0xdf24, few(&[L2DataHit, L2CodeHit, L2RfoHit]), "requests that hit the L2").low(),
    model("L2_RQSTS.MISS",                    0x3f24, BEYOND_L2,                "requests that missed the L2").low(),
    model("L2_RQSTS.REFERENCES",              0xff24, L2_REFERENCES,            "requests to the L2").low(),
    model("L2_RQSTS.ALL_DEMAND_MISS",         0x2724, BEYOND_L2,                "demand requests that missed the L2: all are").low(),
    model("L2_RQSTS.ALL_DEMAND_REFERENCES",   0xe724, L2_REFERENCES,            "demand requests to the L2: all are").low(),
    model("L2_LINES_IN.ALL",                  0x1f25, seen(L2LinesIn),          "lines brought into the L2").low(),
    model("L2_LINES_OUT.SILENT",              0x0126, seen(L2LinesDropped),     "lines evicted from the L2 that nothing had written to").low(),
    model("L2_LINES_OUT.NON_SILENT",          0x0226, seen(L2LinesOut),         "lines evicted from the L2 and written back").low(),
    model("LONGEST_LAT_CACHE.REFERENCE",      0x4f2e, BEYOND_L2,                "requests of the core to the L3"),
    model("LONGEST_LAT_CACHE.MISS",           0x412e, BEYOND_L3,                "requests of the core that missed the L3"),
    model("DTLB_LOAD_MISSES.WALK_COMPLETED",  0x0e12, WALKS_LOAD,               "page walks for loads").low(),
    model("DTLB_LOAD_MISSES.WALK_COMPLETED_4K", 0x0212, seen(DtlbLoadWalk4k),   "of which to 4 KiB pages").low(),
    model("DTLB_LOAD_MISSES.WALK_COMPLETED_2M_4M", 0x0412, seen(DtlbLoadWalk2m), "of which to 2 or 4 MiB pages").low(),
    model("DTLB_LOAD_MISSES.WALK_COMPLETED_1G", 0x0812, seen(DtlbLoadWalk1g),   "of which to 1 GiB pages").low(),
    none ("DTLB_LOAD_MISSES.WALK_ACTIVE",     0x1012,                           "cycles with a page walk for a load under way").c(1).low(),
    model("DTLB_LOAD_MISSES.STLB_HIT",        0x2012, seen(DtlbLoadStlbHit),    "loads that missed the DTLB and hit the STLB").low(),
    model("DTLB_LOAD_MISSES.STLB_HIT (cmask 1)", 0x2012, seen(DtlbLoadStlbHit), "cycles with such a load; two of one instruction count twice").c(1).low(),
    model("DTLB_STORE_MISSES.WALK_COMPLETED", 0x0e13, WALKS_STORE,              "page walks for stores").low(),
    model("DTLB_STORE_MISSES.WALK_COMPLETED_4K", 0x0213, seen(DtlbStoreWalk4k), "of which to 4 KiB pages").low(),
    model("DTLB_STORE_MISSES.WALK_COMPLETED_2M_4M", 0x0413, seen(DtlbStoreWalk2m), "of which to 2 or 4 MiB pages").low(),
    model("DTLB_STORE_MISSES.WALK_COMPLETED_1G", 0x0813, seen(DtlbStoreWalk1g), "of which to 1 GiB pages").low(),
    none ("DTLB_STORE_MISSES.WALK_ACTIVE",    0x1013,                           "cycles with a page walk for a store under way").c(1).low(),
    model("DTLB_STORE_MISSES.STLB_HIT",       0x2013, seen(DtlbStoreStlbHit),   "stores that missed the DTLB and hit the STLB").low(),
    model("DTLB_STORE_MISSES.STLB_HIT (cmask 1)", 0x2013, seen(DtlbStoreStlbHit), "cycles with such a store; two of one instruction count twice").c(1).low(),
    model("ITLB_MISSES.WALK_COMPLETED",       0x0e11, WALKS_CODE,               "page walks for fetches").low(),
    model("ITLB_MISSES.WALK_COMPLETED_4K",    0x0211, seen(ItlbWalk4k),         "of which to 4 KiB pages").low(),
    model("ITLB_MISSES.WALK_COMPLETED_2M_4M", 0x0411, seen(ItlbWalk2m),         "of which to 2 or 4 MiB pages").low(),
    none ("ITLB_MISSES.WALK_ACTIVE",          0x1011,                           "cycles with a page walk for a fetch under way").c(1).low(),
    model("ITLB_MISSES.STLB_HIT",             0x2011, seen(ItlbStlbHit),        "fetches that missed the ITLB and hit the STLB").low(),
    model("OFFCORE_REQUESTS.DEMAND_DATA_RD",  0x0121, seen(L2DataMiss),         "demand reads of data sent off-core").low(),
    model("OFFCORE_REQUESTS.DEMAND_CODE_RD",  0x0221, seen(L2CodeMiss),         "code reads sent off-core").low(),
    model("OFFCORE_REQUESTS.DEMAND_RFO",      0x0421, seen(L2RfoMiss),          "reads for ownership sent off-core").low(),
    model("OFFCORE_REQUESTS.L3_MISS_DEMAND_DATA_RD", 0x1021, seen(L3DataMiss),  "demand reads of data that the L3 missed").low(),
    model("OFFCORE_REQUESTS.DATA_RD",         0x0821, seen(L2DataMiss),         "reads of data sent off-core").low(),
    none ("OFFCORE_REQUESTS_OUTSTANDING.CYCLES_WITH_DATA_RD", 0x0820,           "cycles with an off-core read of data under way").c(1).low(),
    none ("OFFCORE_REQUESTS_OUTSTANDING.CYCLES_WITH_DEMAND_RFO", 0x0420,        "cycles with an off-core read for ownership under way").c(1).low(),
    exact("SW_PREFETCH_ACCESS.ANY",           0x0f40, seen(SoftwarePrefetches), "software prefetches").low(),
    model("SQ_MISC.BUS_LOCK",                 0x102c, seen(BusLocks),           "locked accesses that cross a line").low(),
    none ("XQ.FULL_CYCLES",                   0x012d,                           "cycles in which the queue to the uncore is full").c(1).low(),
    ocr("OCR.DEMAND_DATA_RD.ANY_RESPONSE",    0x1_0001,                         "demand reads of data sent off-core"),
    ocr("OCR.DEMAND_DATA_RD.L3_MISS",         0x3f_bfc0_0001,                   "of which not served by the L3"),
    ocr("OCR.DEMAND_DATA_RD.DRAM",            0x7_3c00_0001,                    "of which served by memory"),
    ocr("OCR.DEMAND_DATA_RD.LOCAL_DRAM",      0x1_0400_0001,                    "of which served by this socket's memory"),
    ocr("OCR.DEMAND_RFO.ANY_RESPONSE",        0x3f_3ffc_0002,                   "reads for ownership sent off-core"),
    ocr("OCR.DEMAND_RFO.L3_MISS",             0x3f_3fc0_0002,                   "of which not served by the L3"),
    ocr("OCR.DEMAND_CODE_RD.ANY_RESPONSE",    0x1_0004,                         "code reads sent off-core"),
    ocr("OCR.DEMAND_CODE_RD.L3_MISS",         0x3f_bfc0_0004,                   "of which not served by the L3"),
    ocr("OCR.STREAMING_WR.ANY_RESPONSE",      0x1_0800,                         "streaming stores sent off-core"),
];
