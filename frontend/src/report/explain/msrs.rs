//! The registers around the performance counters, field by field.
//!
//! Source: spec/pmu.md 1.2.3, 1.4 to 1.8, 3.6, 4; SDM vol. 4, table 2-2, and vol. 3B, ch. 20.

/// How a register may be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and written.
    ReadWrite,
    /// Read only: a write raises #GP.
    ReadOnly,
    /// A 1 written clears or sets a bit elsewhere; it reads as 0.
    WriteOne,
}

/// Bits `high` to `low`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The highest bit.
    pub high: u8,
    /// The lowest.
    pub low: u8,
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub text: &'static str,
}

/// Registers `first` to `last`, alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Number of the first.
    pub first: u32,
    /// Of the last.
    pub last: u32,
    /// Name; `n` stands for which one.
    pub name: &'static str,
    /// How it may be accessed.
    pub access: Access,
    /// What it is.
    pub text: &'static str,
    /// Its fields; bits that none names are reserved.
    pub fields: &'static [Field],
}

const fn field(high: u8, low: u8, name: &'static str, text: &'static str) -> Field {
    Field { high, low, name, text }
}

const fn bit(at: u8, name: &'static str, text: &'static str) -> Field {
    Field { high: at, low: at, name, text }
}

const fn register(
    (first, last): (u32, u32),
    name: &'static str,
    access: Access,
    text: &'static str,
    fields: &'static [Field],
) -> Register {
    Register { first, last, name, access, text, fields }
}

use Access::{ReadOnly, ReadWrite, WriteOne};

const VALUE: &[Field] = &[field(47, 0, "VALUE", "the count, 48 bits")];
const ADDRESS: &[Field] = &[field(63, 0, "ADDRESS", "a canonical linear address")];
const CLOCK: &[Field] = &[field(63, 0, "VALUE", "the count")];

#[rustfmt::skip] // one field a row
const EVENT_SELECT: &[Field] = &[
    field(7, 0,   "EVENT_SELECT", "which event; 0 counts nothing"),
    field(15, 8,  "UMASK",        "which kinds of it"),
    bit(16,       "USR",          "count in CPL 1 to 3"),
    bit(17,       "OS",           "count in CPL 0"),
    bit(18,       "E",            "count rising edges of the condition"),
    bit(19,       "PC",           "pin control: kept, without effect"),
    bit(20,       "INT",          "overflow requests an interrupt through LVTPC"),
    bit(22,       "EN",           "the counter's own enable; GLOBAL_CTRL must let it too"),
    bit(23,       "INV",          "with CMASK: count cycles below it"),
    field(31, 24, "CMASK",        "count cycles with at least so many; 0 counts events"),
    bit(34,       "ADAPTIVE",     "adaptive PEBS records"),
];
#[rustfmt::skip] // one field a row
const FIXED_CONTROL: &[Field] = &[
    bit(0,  "EN0_OS",   "instructions retired: count in CPL 0"),
    bit(1,  "EN0_USR",  "in CPL 1 to 3"),
    bit(3,  "EN0_PMI",  "overflow requests an interrupt"),
    bit(4,  "EN1_OS",   "core cycles: count in CPL 0"),
    bit(5,  "EN1_USR",  "in CPL 1 to 3"),
    bit(7,  "EN1_PMI",  "overflow requests an interrupt"),
    bit(8,  "EN2_OS",   "reference cycles: count in CPL 0"),
    bit(9,  "EN2_USR",  "in CPL 1 to 3"),
    bit(11, "EN2_PMI",  "overflow requests an interrupt"),
    bit(12, "EN3_OS",   "slots: count in CPL 0"),
    bit(13, "EN3_USR",  "in CPL 1 to 3"),
    bit(15, "EN3_PMI",  "overflow requests an interrupt"),
    bit(32, "ADAPTIVE0", "adaptive PEBS records for fixed counter 0"),
    bit(36, "ADAPTIVE1", "for fixed counter 1"),
    bit(40, "ADAPTIVE2", "for fixed counter 2"),
    bit(44, "ADAPTIVE3", "for fixed counter 3"),
];
#[rustfmt::skip] // one field a row
const STATUS: &[Field] = &[
    field(7, 0,   "OVF_PMC",         "bit n: general counter n has overflowed"),
    field(35, 32, "OVF_FIXED_CTR",   "bit n: fixed counter n has overflowed"),
    bit(48,       "OVF_PERF_METRICS", "a metric has overflowed"),
    bit(55,       "TRACE_TOPA_PMI",  "Processor Trace filled an output region"),
    bit(58,       "LBR_FRZ",         "the LBRs stand still until this is cleared"),
    bit(59,       "CTR_FRZ",         "all counters stand still until this is cleared"),
    bit(60,       "ASCI",            "counting was disturbed by SGX; always 0 here"),
    bit(61,       "OVF_UNCORE",      "an uncore counter has overflowed; always 0 here"),
    bit(62,       "OVF_DSBUFFER",    "the PEBS buffer has reached its threshold"),
    bit(63,       "COND_CHGD",       "the unit's state has changed; always 0 here"),
];
#[rustfmt::skip] // one field a row
const GLOBAL_CONTROL: &[Field] = &[
    field(7, 0,   "EN_PMC",          "bit n: general counter n may count"),
    field(35, 32, "EN_FIXED_CTR",    "bit n: fixed counter n may count"),
    bit(48,       "EN_PERF_METRICS", "the topdown metrics may count"),
];
#[rustfmt::skip] // one field a row
const IN_USE: &[Field] = &[
    field(7, 0,   "PMC",       "bit n: PERFEVTSELn selects an event"),
    field(35, 32, "FIXED_CTR", "bit n: fixed counter n counts in some ring"),
    bit(63,       "PMI",       "some counter asks for interrupts"),
];
#[rustfmt::skip] // one field a row
const CAPABILITIES: &[Field] = &[
    field(5, 0,  "LBR_FMT",             "format of legacy LBRs; 3Fh: architectural ones"),
    bit(6,       "PEBS_TRAP",           "records are written after the instruction"),
    bit(7,       "PEBS_ARCH_REG",       "records hold the registers"),
    field(11, 8, "PEBS_FMT",            "format of records; 4: adaptive"),
    bit(12,      "FREEZE_WHILE_SMM",    "DEBUGCTL bit 14 is there"),
    bit(13,      "FW_WRITE",            "the full-width aliases 4C1h... are there"),
    bit(14,      "PEBS_BASELINE",       "adaptive records on all counters"),
    bit(15,      "PERF_METRICS",        "MSR 329h is there"),
    bit(16,      "PEBS_OUTPUT_PT",      "records may go into Processor Trace"),
    bit(17,      "PEBS_TIMING_INFO",    "records hold retire latencies"),
    bit(19,      "RDPMC_METRICS_CLEAR", "reading the metrics may clear them"),
];
#[rustfmt::skip] // one field a row
const DEBUGCTL: &[Field] = &[
    bit(0,  "LBR",                   "legacy LBRs record"),
    bit(1,  "BTF",                   "TF steps by branch"),
    bit(2,  "BUS_LOCK_DETECT",       "bus locks raise #DB"),
    bit(6,  "TR",                    "branch trace messages"),
    bit(7,  "BTS",                   "branch trace store"),
    bit(8,  "BTINT",                 "interrupt when its buffer is full"),
    bit(9,  "BTS_OFF_OS",            "not in CPL 0"),
    bit(10, "BTS_OFF_USR",           "not in CPL 1 to 3"),
    bit(11, "FREEZE_LBRS_ON_PMI",    "the request of an interrupt freezes the LBRs"),
    bit(12, "FREEZE_PERFMON_ON_PMI", "the request of an interrupt freezes all counters"),
    bit(13, "ENABLE_UNCORE_PMI",     "uncore counters may interrupt"),
    bit(14, "FREEZE_WHILE_SMM",      "counters stand still in SMM"),
    bit(15, "RTM",                   "advanced debugging of transactions"),
];
#[rustfmt::skip] // one field a row
const METRICS: &[Field] = &[
    field(7, 0,   "RETIRING",          "255ths of all slots that retired"),
    field(15, 8,  "BAD_SPECULATION",   "lost to bad speculation"),
    field(23, 16, "FRONTEND_BOUND",    "lost to the front end"),
    field(31, 24, "BACKEND_BOUND",     "lost to the back end"),
    field(39, 32, "HEAVY_OPERATIONS",  "of those retired: of instructions of several micro-ops"),
    field(47, 40, "BRANCH_MISPREDICT", "of bad speculation: mispredicted branches"),
    field(55, 48, "FETCH_LATENCY",     "of the front end: fetch latency"),
    field(63, 56, "MEMORY_BOUND",      "of the back end: memory"),
];
#[rustfmt::skip] // one field a row
const PEBS_ENABLE: &[Field] = &[
    field(7, 0,   "PEBS_EN_PMC",   "bit n: general counter n writes records"),
    field(35, 32, "PEBS_EN_FIXED", "bit n: fixed counter n writes records"),
];
#[rustfmt::skip] // one field a row
const PEBS_DATA_CFG: &[Field] = &[
    bit(0,        "MEMORY_INFO", "address, data source, latency"),
    bit(1,        "GPRS",        "general registers"),
    bit(2,        "XMMS",        "XMM registers"),
    bit(3,        "LBRS",        "LBR entries"),
    field(31, 24, "LBR_ENTRIES", "how many, less one"),
];
#[rustfmt::skip] // one field a row
const LBR_CONTROL: &[Field] = &[
    bit(0,  "LBR_EN",     "record"),
    bit(1,  "OS",         "in CPL 0"),
    bit(2,  "USR",        "in CPL 1 to 3"),
    bit(3,  "CALL_STACK", "keep calls that have not returned"),
    bit(16, "JCC",        "conditional branches"),
    bit(17, "NEAR_REL_JMP", "near relative jumps"),
    bit(18, "NEAR_IND_JMP", "near indirect jumps"),
    bit(19, "NEAR_REL_CALL", "near relative calls"),
    bit(20, "NEAR_IND_CALL", "near indirect calls"),
    bit(21, "NEAR_RET",   "near returns"),
    bit(22, "OTHER_BRANCH", "far branches, interrupts, exceptions"),
];
#[rustfmt::skip] // one field a row
const LBR_INFO: &[Field] = &[
    field(15, 0,  "CYC_CNT",       "core cycles since the last record"),
    field(59, 56, "BR_TYPE",       "kind of branch"),
    bit(60,       "CYC_CNT_VALID", "the cycles are known"),
    bit(61,       "TSX_ABORT",     "a transaction was aborted"),
    bit(62,       "IN_TSX",        "within a transaction"),
    bit(63,       "MISPRED",       "mispredicted"),
];
#[rustfmt::skip] // one field a row
const MISC_ENABLE: &[Field] = &[
    bit(0,  "FAST_STRINGS",          "fast string operations"),
    bit(3,  "AUTOMATIC_TCC",         "automatic thermal control"),
    bit(7,  "PERFMON_AVAILABLE",     "the performance counters are there"),
    bit(11, "BTS_UNAVAILABLE",       "branch trace store is not there"),
    bit(12, "PEBS_UNAVAILABLE",      "PEBS is not there"),
    bit(16, "ENHANCED_SPEEDSTEP",    "P-states may be asked for"),
    bit(18, "MONITOR_FSM",           "MONITOR and MWAIT are there"),
    bit(22, "LIMIT_CPUID_MAXVAL",    "CPUID's highest leaf is 2"),
    bit(23, "XTPR_MESSAGE_DISABLE",  "no task-priority messages"),
    bit(34, "XD_BIT_DISABLE",        "no execute-disable bit"),
    bit(38, "TURBO_MODE_DISABLE",    "no turbo"),
];
const PLATFORM_INFO: &[Field] =
    &[field(15, 8, "MAX_NON_TURBO_RATIO", "times 100 MHz"), field(47, 40, "MAX_EFFICIENCY_RATIO", "times 100 MHz")];
const RATIO: &[Field] = &[field(15, 8, "RATIO", "of the core clock, times 100 MHz")];
#[rustfmt::skip] // one field a row
const RATIO_LIMIT: &[Field] = &[
    field(7, 0,   "MAX_RATIO_0", "the highest ratio, times 100 MHz, with as many cores at work as the first byte of 1AEh says"),
    field(15, 8,  "MAX_RATIO_1", "with those of the second"),
    field(23, 16, "MAX_RATIO_2", "of the third"),
    field(31, 24, "MAX_RATIO_3", "of the fourth"),
    field(39, 32, "MAX_RATIO_4", "of the fifth"),
    field(47, 40, "MAX_RATIO_5", "of the sixth"),
    field(55, 48, "MAX_RATIO_6", "of the seventh"),
    field(63, 56, "MAX_RATIO_7", "of the eighth"),
];
#[rustfmt::skip] // one field a row
const LBR_SELECT: &[Field] = &[
    bit(0, "CPL_EQ_0",      "leave out branches that end in CPL 0"),
    bit(1, "CPL_NEQ_0",     "leave out those that end in CPL 1 to 3"),
    bit(2, "SELECT_JCC",    "leave out conditional branches"),
    bit(9, "EN_CALLSTACK",  "keep calls that have not returned"),
];
#[rustfmt::skip] // one field a row
const LVT_PMI: &[Field] = &[
    field(7, 0,  "VECTOR",          "interrupt vector"),
    field(10, 8, "DELIVERY_MODE",   "0 fixed, 2 SMI, 4 NMI (Linux)"),
    bit(12,      "DELIVERY_STATUS", "an interrupt is on its way"),
    bit(16,      "MASK",            "no interrupt; the request for one sets it"),
];

/// The registers, in order of their numbers.
#[rustfmt::skip] // one register a row
pub const REGISTERS: &[Register] = &[
    register((0x10, 0x10),     "IA32_TIME_STAMP_COUNTER", ReadWrite, "ticks at 2200 MHz, also while halted", CLOCK),
    register((0x34, 0x34),     "MSR_SMI_COUNT", ReadOnly, "SMIs taken; none here", &[field(31, 0, "COUNT", "the count")]),
    register((0x3b, 0x3b),     "IA32_TSC_ADJUST", ReadWrite, "what was added to the time-stamp counter", CLOCK),
    register((0x49, 0x49),     "IA32_PRED_CMD", WriteOne, "flushes predictors", &[bit(0, "IBPB", "no indirect branch is predicted by what was learnt before")]),
    register((0xc1, 0xc8),     "IA32_PMCn", ReadWrite, "general counter n; a write takes 32 bits and extends their sign", VALUE),
    register((0xce, 0xce),     "MSR_PLATFORM_INFO", ReadOnly, "frequency ratios", PLATFORM_INFO),
    register((0xe7, 0xe7),     "IA32_MPERF", ReadWrite, "ticks of the TSC while not halted", CLOCK),
    register((0xe8, 0xe8),     "IA32_APERF", ReadWrite, "core cycles while not halted", CLOCK),
    register((0x186, 0x18d),   "IA32_PERFEVTSELn", ReadWrite, "what general counter n counts", EVENT_SELECT),
    register((0x198, 0x198),   "IA32_PERF_STATUS", ReadOnly, "the core clock as it is", RATIO),
    register((0x199, 0x199),   "IA32_PERF_CTL", ReadWrite, "the core clock that is asked for: kept, without effect", &[field(15, 0, "TARGET", "the ratio is in bits 15:8"), bit(32, "IDA_DISENGAGE", "no turbo")]),
    register((0x1a0, 0x1a0),   "IA32_MISC_ENABLE", ReadWrite, "features on and off", MISC_ENABLE),
    register((0x1a6, 0x1a7),   "MSR_OFFCORE_RSP_n", ReadWrite, "which requests OCR events count", &[field(15, 0, "REQUEST", "kinds of request"), bit(16, "ANY_RESPONSE", "whatever answered"), field(37, 17, "RESPONSE", "who answered, and how it was found")]),
    register((0x1ad, 0x1ad),   "MSR_TURBO_RATIO_LIMIT", ReadOnly, "the highest ratios", RATIO_LIMIT),
    register((0x1ae, 0x1ae),   "MSR_TURBO_RATIO_LIMIT_CORES", ReadOnly, "for how many cores the ratios of 1ADh hold, a byte each", &[field(63, 0, "CORES", "a byte for each ratio")]),
    register((0x1c8, 0x1c8),   "MSR_LBR_SELECT", ReadWrite, "what legacy branch records hold: this core has architectural ones, see IA32_LBR_CTL", LBR_SELECT),
    register((0x1c9, 0x1c9),   "MSR_LASTBRANCH_TOS", ReadOnly, "the newest legacy branch record", &[field(4, 0, "TOS", "which one")]),
    register((0x1d9, 0x1d9),   "IA32_DEBUGCTL", ReadWrite, "branch records and freezing", DEBUGCTL),
    register((0x1dd, 0x1dd),   "IA32_LER_FROM_IP", ReadWrite, "where the last branch before an exception or interrupt came from", ADDRESS),
    register((0x1de, 0x1de),   "IA32_LER_TO_IP", ReadWrite, "where it went", ADDRESS),
    register((0x1e0, 0x1e0),   "IA32_LER_INFO", ReadWrite, "about it", LBR_INFO),
    register((0x309, 0x30c),   "IA32_FIXED_CTRn", ReadWrite, "fixed counter n: instructions, core cycles, reference cycles, slots", VALUE),
    register((0x329, 0x329),   "IA32_PERF_METRICS", ReadWrite, "topdown metrics beside the slots of fixed counter 3", METRICS),
    register((0x345, 0x345),   "IA32_PERF_CAPABILITIES", ReadOnly, "what the unit can do", CAPABILITIES),
    register((0x38d, 0x38d),   "IA32_FIXED_CTR_CTRL", ReadWrite, "rings and interrupts of the fixed counters", FIXED_CONTROL),
    register((0x38e, 0x38e),   "IA32_PERF_GLOBAL_STATUS", ReadOnly, "overflows and freezes", STATUS),
    register((0x38f, 0x38f),   "IA32_PERF_GLOBAL_CTRL", ReadWrite, "which counters may count", GLOBAL_CONTROL),
    register((0x390, 0x390),   "IA32_PERF_GLOBAL_STATUS_RESET", WriteOne, "clears bits of GLOBAL_STATUS", STATUS),
    register((0x391, 0x391),   "IA32_PERF_GLOBAL_STATUS_SET", WriteOne, "sets bits of GLOBAL_STATUS, without an interrupt", STATUS),
    register((0x392, 0x392),   "IA32_PERF_GLOBAL_INUSE", ReadOnly, "what is programmed", IN_USE),
    register((0x3f1, 0x3f1),   "IA32_PEBS_ENABLE", ReadWrite, "which counters write PEBS records", PEBS_ENABLE),
    register((0x3f2, 0x3f2),   "MSR_PEBS_DATA_CFG", ReadWrite, "what PEBS records hold", PEBS_DATA_CFG),
    register((0x3f6, 0x3f6),   "MSR_PEBS_LD_LAT", ReadWrite, "latency from which loads are counted", &[field(15, 0, "THRESHOLD", "core cycles")]),
    register((0x3f7, 0x3f7),   "MSR_PEBS_FRONTEND", ReadWrite, "which front-end happenings are counted", &[field(7, 0, "EVENT_SELECT", "what happened"), field(19, 8, "BUBBLE_LENGTH", "cycles"), field(22, 20, "BUBBLE_WIDTH", "micro-ops missing")]),
    register((0x4c1, 0x4c8),   "IA32_A_PMCn", ReadWrite, "general counter n, written in full width", VALUE),
    register((0x600, 0x600),   "IA32_DS_AREA", ReadWrite, "where the debug store is", ADDRESS),
    register((0x680, 0x69f),   "MSR_LASTBRANCH_n_FROM_IP", ReadWrite, "where legacy branch record n came from: see IA32_LBR_n_FROM_IP", ADDRESS),
    register((0x6c0, 0x6df),   "MSR_LASTBRANCH_n_TO_IP", ReadWrite, "where it went", ADDRESS),
    register((0x834, 0x834),   "IA32_X2APIC_LVT_PMI", ReadWrite, "how the counters interrupt; there in x2APIC mode, else at offset 340h of the local APIC's page", LVT_PMI),
    register((0xda0, 0xda0),   "IA32_XSS", ReadWrite, "which supervisor state XSAVES saves", &[bit(15, "LBR", "the architectural branch records")]),
    register((0xdc0, 0xddf),   "MSR_LBR_INFO_n", ReadWrite, "about legacy branch record n", LBR_INFO),
    register((0x1200, 0x121f), "IA32_LBR_n_INFO", ReadWrite, "about branch record n", LBR_INFO),
    register((0x14ce, 0x14ce), "IA32_LBR_CTL", ReadWrite, "what branch records hold", LBR_CONTROL),
    register((0x14cf, 0x14cf), "IA32_LBR_DEPTH", ReadWrite, "how many branch records: 8, 16 or 32", &[field(63, 0, "DEPTH", "records")]),
    register((0x1500, 0x151f), "IA32_LBR_n_FROM_IP", ReadWrite, "where branch record n came from", ADDRESS),
    register((0x1600, 0x161f), "IA32_LBR_n_TO_IP", ReadWrite, "where it went", ADDRESS),
];
