//! The events of Sapphire Rapids by Intel's names: their encodings, and what this model makes of them.
//!
//! Encodings: intel/perfmon `SPR/events/sapphirerapids_core.json` V1.39, as listed in spec/pmu.md 1.10.7. An encoding
//! that is not in the table, or that is not modelled, may be programmed and counts nothing.

/// What a count is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// What the real part counts, defined by the architecture alone.
    Exact,
    /// A function of this program's timing model.
    Modelled,
    /// Counts nothing.
    NotModelled,
}

/// What the processor counts, from which an event is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Instructions retired.
    Instructions,
    /// Branch instructions retired.
    Branches,
    /// Conditional branches retired.
    Conditional,
    /// Unhalted core cycles.
    Cycles,
    /// Unhalted cycles at the rate of the TSC: the core's, in the default model.
    RefCycles,
    /// Issue slots: six a cycle.
    Slots,
}

impl Fact {
    /// How often it can happen in one cycle, in the default model of one instruction a cycle.
    pub const fn most_per_cycle(self) -> u64 {
        if matches!(self, Fact::Slots) { SLOTS_PER_CYCLE } else { 1 }
    }
}

/// Width of the core's allocation. Source: spec/pmu.md 1.11.
pub const SLOTS_PER_CYCLE: u64 = 6;

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Intel's name.
    pub name: &'static str,
    /// Event select, PERFEVTSEL bits 7:0.
    pub event: u8,
    /// Unit mask, bits 15:8.
    pub umask: u8,
    /// What it is computed from; `None`: not modelled.
    pub fact: Option<Fact>,
    /// What it says.
    pub text: &'static str,
}

impl Event {
    /// What its count is worth.
    pub const fn validity(&self) -> Validity {
        match self.fact {
            Some(Fact::Instructions | Fact::Branches | Fact::Conditional) => Validity::Exact,
            Some(_) => Validity::Modelled,
            None => Validity::NotModelled,
        }
    }
}

const fn counted(name: &'static str, event: u8, umask: u8, fact: Fact, text: &'static str) -> Event {
    Event { name, event, umask, fact: Some(fact), text }
}

const fn not_yet(name: &'static str, event: u8, umask: u8, text: &'static str) -> Event {
    Event { name, event, umask, fact: None, text }
}

/// The events, in the order of the specification. Names may share an encoding and differ by CMASK, INV or E only:
/// those are left to the reader of EVENTSEL.
#[rustfmt::skip] // one event a row
pub const EVENTS: &[Event] = &[
    counted("INST_RETIRED.ANY_P",               0xc0, 0x00, Fact::Instructions, "instructions retired"),
    not_yet("INST_RETIRED.NOP",                 0xc0, 0x02, "NOPs retired"),
    not_yet("INST_RETIRED.MACRO_FUSED",         0xc0, 0x10, "fused pairs retired"),
    not_yet("INST_RETIRED.REP_ITERATION",       0xc0, 0x08, "iterations of repeated string instructions"),
    counted("CPU_CLK_UNHALTED.THREAD_P",        0x3c, 0x00, Fact::Cycles,       "core cycles while not halted"),
    counted("CPU_CLK_UNHALTED.REF_TSC_P",       0x3c, 0x01, Fact::RefCycles,    "TSC-rate cycles while not halted"),
    counted("CPU_CLK_UNHALTED.REF_DISTRIBUTED", 0x3c, 0x08, Fact::RefCycles,    "the same, shared among hardware threads"),
    counted("CPU_CLK_UNHALTED.DISTRIBUTED",     0xec, 0x02, Fact::Cycles,       "core cycles, shared among hardware threads"),
    not_yet("CPU_CLK_UNHALTED.C01",             0xec, 0x10, "cycles in C0.1"),
    not_yet("CPU_CLK_UNHALTED.C02",             0xec, 0x20, "cycles in C0.2"),
    not_yet("CPU_CLK_UNHALTED.PAUSE",           0xec, 0x40, "cycles in PAUSE"),
    counted("TOPDOWN.SLOTS_P",                  0xa4, 0x01, Fact::Slots,        "issue slots"),
    not_yet("TOPDOWN.BACKEND_BOUND_SLOTS",      0xa4, 0x02, "slots lost to the back end"),
    not_yet("TOPDOWN.BAD_SPEC_SLOTS",           0xa4, 0x04, "slots lost to bad speculation"),
    not_yet("TOPDOWN.BR_MISPREDICT_SLOTS",      0xa4, 0x08, "slots lost to branch mispredictions"),
    not_yet("TOPDOWN.MEMORY_BOUND_SLOTS",       0xa4, 0x10, "slots lost to memory"),
    not_yet("UOPS_RETIRED.HEAVY",               0xc2, 0x01, "micro-ops beyond the first of an instruction"),
    not_yet("UOPS_RETIRED.SLOTS",               0xc2, 0x02, "slots used by retiring micro-ops"),
    not_yet("UOPS_RETIRED.MS",                  0xc2, 0x04, "micro-ops of the sequencer"),
    not_yet("UOPS_ISSUED.ANY",                  0xae, 0x01, "micro-ops issued"),
    not_yet("UOPS_EXECUTED.THREAD",             0xb1, 0x01, "micro-ops executed"),
    counted("BR_INST_RETIRED.ALL_BRANCHES",     0xc4, 0x00, Fact::Branches,     "branches retired"),
    counted("BR_INST_RETIRED.COND",             0xc4, 0x11, Fact::Conditional,  "conditional branches retired"),
    not_yet("BR_INST_RETIRED.COND_TAKEN",       0xc4, 0x01, "taken conditional branches"),
    not_yet("BR_INST_RETIRED.COND_NTAKEN",      0xc4, 0x10, "conditional branches not taken"),
    not_yet("BR_INST_RETIRED.NEAR_CALL",        0xc4, 0x02, "near calls"),
    not_yet("BR_INST_RETIRED.NEAR_RETURN",      0xc4, 0x08, "near returns"),
    not_yet("BR_INST_RETIRED.NEAR_TAKEN",       0xc4, 0x20, "taken near branches"),
    not_yet("BR_INST_RETIRED.FAR_BRANCH",       0xc4, 0x40, "far branches"),
    not_yet("BR_INST_RETIRED.INDIRECT",         0xc4, 0x80, "near indirect branches, returns excepted"),
    not_yet("BR_MISP_RETIRED.ALL_BRANCHES",     0xc5, 0x00, "mispredicted branches"),
    not_yet("BR_MISP_RETIRED.COND",             0xc5, 0x11, "mispredicted conditional branches"),
    not_yet("MISC_RETIRED.LBR_INSERTS",         0xcc, 0x20, "records written to the LBR"),
    not_yet("INT_MISC.RECOVERY_CYCLES",         0xad, 0x01, "cycles of recovery from a clear"),
    not_yet("INT_MISC.UOP_DROPPING",            0xad, 0x10, "slots dropped for other reasons"),
    not_yet("MACHINE_CLEARS.COUNT",             0xc3, 0x01, "machine clears"),
    not_yet("MACHINE_CLEARS.SMC",               0xc3, 0x04, "clears by self-modifying code"),
    not_yet("IDQ_UOPS_NOT_DELIVERED.CORE",      0x9c, 0x01, "slots the front end left empty"),
    not_yet("ICACHE_DATA.STALLS",               0x80, 0x04, "cycles fetch waits for a line"),
    not_yet("ARITH.DIV_ACTIVE",                 0xb0, 0x09, "cycles the divider is busy"),
    not_yet("HW_INTERRUPTS.RECEIVED",           0xcb, 0x01, "hardware interrupts"),
    not_yet("LONGEST_LAT_CACHE.REFERENCE",      0x2e, 0x4f, "last-level cache references"),
    not_yet("LONGEST_LAT_CACHE.MISS",           0x2e, 0x41, "last-level cache misses"),
    not_yet("MEM_INST_RETIRED.ALL_LOADS",       0xd0, 0x81, "instructions that load"),
    not_yet("MEM_INST_RETIRED.ALL_STORES",      0xd0, 0x82, "instructions that store"),
    not_yet("MEM_INST_RETIRED.ANY",             0xd0, 0x83, "instructions that load or store"),
    not_yet("MEM_INST_RETIRED.LOCK_LOADS",      0xd0, 0x21, "locked loads"),
    not_yet("MEM_LOAD_RETIRED.L1_HIT",          0xd1, 0x01, "loads served by the L1D"),
    not_yet("MEM_LOAD_RETIRED.L1_MISS",         0xd1, 0x08, "loads that missed the L1D"),
    not_yet("MEM_LOAD_RETIRED.L2_HIT",          0xd1, 0x02, "loads served by the L2"),
    not_yet("MEM_LOAD_RETIRED.L3_HIT",          0xd1, 0x04, "loads served by the L3"),
    not_yet("MEM_LOAD_RETIRED.L3_MISS",         0xd1, 0x20, "loads that missed the L3"),
    not_yet("DTLB_LOAD_MISSES.WALK_COMPLETED",  0x12, 0x0e, "page walks for loads"),
    not_yet("DTLB_STORE_MISSES.WALK_COMPLETED", 0x13, 0x0e, "page walks for stores"),
    not_yet("ITLB_MISSES.WALK_COMPLETED",       0x11, 0x0e, "page walks for fetches"),
    not_yet("L1D.REPLACEMENT",                  0x51, 0x01, "lines brought into the L1D"),
    not_yet("OCR.READS_TO_CORE",                0x2a, 0x01, "requests that match OFFCORE_RSP_0"),
    not_yet("LD_BLOCKS.STORE_FORWARD",          0x03, 0x82, "loads blocked by a store"),
    not_yet("MEM_TRANS_RETIRED.LOAD_LATENCY",   0xcd, 0x01, "loads beyond a latency"),
    not_yet("MEM_TRANS_RETIRED.STORE_SAMPLE",   0xcd, 0x02, "sampled stores"),
];

/// What the fixed counters count.
pub const FIXED: [(&str, Fact); 4] = [
    ("INST_RETIRED.ANY", Fact::Instructions),
    ("CPU_CLK_UNHALTED.THREAD", Fact::Cycles),
    ("CPU_CLK_UNHALTED.REF_TSC", Fact::RefCycles),
    ("TOPDOWN.SLOTS", Fact::Slots),
];

/// The event of an encoding.
pub fn find(event: u8, umask: u8) -> Option<&'static Event> {
    EVENTS.iter().find(|e| e.event == event && e.umask == umask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_and_names_are_unique() {
        for (n, e) in EVENTS.iter().enumerate() {
            let rest = &EVENTS[n + 1..];
            assert!(rest.iter().all(|f| (f.event, f.umask) != (e.event, e.umask) && f.name != e.name), "{}", e.name);
        }
    }

    #[test]
    fn what_the_architecture_defines_is_exact() {
        assert_eq!(find(0xc0, 0).unwrap().validity(), Validity::Exact);
        assert_eq!(find(0xc4, 0x11).unwrap().fact, Some(Fact::Conditional));
        assert_eq!(find(0x3c, 0).unwrap().validity(), Validity::Modelled);
        assert_eq!(find(0xd0, 0x81).unwrap().validity(), Validity::NotModelled);
        assert!(find(0, 1).is_none());
    }
}
