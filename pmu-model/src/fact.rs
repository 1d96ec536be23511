//! The terms of formulas: what the processor counts exactly, and what the model of the core observes; what each is worth
//! and how often an instruction can cause it.

use crate::catalog::Validity;
use crate::now::Now;
use crate::signal::Signal;
use cpu_x86::Ring;

/// Width of the core's allocation, in slots a cycle. Source: spec/pmu.md 1.11.
pub const SLOTS_PER_CYCLE: u64 = 6;

/// A term of a formula.
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
    /// Unhalted cycles at the rate of the TSC: as many as the core's where both run alike, fewer where the core is faster.
    RefCycles,
    /// Issue slots: six a cycle.
    Slots,
    /// Cycles in C0.1.
    C01,
    /// Cycles in C0.2.
    C02,
    /// What only an observer of what runs can tell.
    Seen(Signal),
}

impl Fact {
    /// How often it has happened in `ring` up to `now`.
    pub fn count(self, now: Now<'_>, ring: Ring) -> u64 {
        match self {
            Fact::Instructions => now.facts(ring).instructions,
            Fact::Branches => now.facts(ring).branches,
            Fact::Conditional => now.facts(ring).conditional,
            Fact::Cycles => now.cycles(ring),
            Fact::RefCycles => now.counts.pace.ticks(now.cycles(ring)),
            Fact::Slots => now.cycles(ring).wrapping_mul(SLOTS_PER_CYCLE),
            Fact::C01 => now.facts(ring).rested[0],
            Fact::C02 => now.facts(ring).rested[1],
            Fact::Seen(signal) => now.signal(signal, ring),
        }
    }

    /// Does it take an observer to know it?
    pub const fn is_observed(self) -> bool {
        matches!(self, Fact::Seen(_))
    }

    /// What a count of it is worth.
    pub const fn validity(self) -> Validity {
        match self {
            Fact::Instructions | Fact::Branches | Fact::Conditional => Validity::Exact,
            Fact::Cycles | Fact::RefCycles | Fact::Slots | Fact::C01 | Fact::C02 => Validity::Modelled,
            Fact::Seen(signal) if is_architectural(signal) => Validity::Exact,
            Fact::Seen(_) => Validity::Modelled,
        }
    }

    /// How often one instruction can cause it.
    pub const fn most(self) -> Most {
        match self {
            Fact::Instructions | Fact::Cycles => Most::always(1),
            Fact::RefCycles | Fact::C01 | Fact::C02 => Most::firm(1),
            Fact::Slots => Most::always(SLOTS_PER_CYCLE),
            Fact::Branches | Fact::Conditional => Most::firm(1),
            Fact::Seen(signal) => most(signal),
        }
    }
}

/// How often one instruction can cause something, which in the default model is how often it can happen in a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// So often.
    pub times: u64,
    /// No instruction causes it more often. Otherwise few do: those of microcode, repeated strings, gathers, XSAVE.
    pub firm: bool,
    /// Every instruction causes it exactly so often.
    pub always: bool,
}

impl Most {
    /// At most `times`.
    pub const fn firm(times: u64) -> Most {
        Most { times, firm: true, always: false }
    }

    /// Exactly `times`.
    pub const fn always(times: u64) -> Most {
        Most { times, firm: true, always: true }
    }

    /// At most `times`, but for few instructions.
    pub const fn mostly(times: u64) -> Most {
        Most { times, firm: false, always: false }
    }
}

/// Does the architecture alone decide how often `signal` happens in a given run of instructions?
const fn is_architectural(signal: Signal) -> bool {
    use Signal::*;
    matches!(
        signal,
        Nops | RepIterations
            | Loads
            | Stores
            | LoadsOrStores
            | LockLoads
            | FpScalarDouble
            | FpScalarSingle
            | Fp128Double
            | Fp128Single
            | Fp256Double
            | Fp256Single
            | Fp512Double
            | Fp512Single
            | IntVector128
            | IntVector256
            | Lfence
            | Pause
            | SoftwarePrefetches
            | ConditionalTaken
            | NearCalls
            | NearReturns
            | NearTaken
            | FarBranches
            | Indirect
            | HardwareInterrupts
            | SplitLoads
            | SplitStores
    )
}

/// How often one instruction can cause `signal`.
///
/// A deadline computed from a bound that an instruction exceeds comes late: the overflow is then seen when the unit is next
/// asked, and what came after it is kept.
#[rustfmt::skip] // a reason a line
const fn most(signal: Signal) -> Most {
    use Signal::*;
    match signal {
        // An instruction is of a class or it is not.
        Executes1 | Executes2 | Executes3 | Executes4 | Nops | MacroFused | Loads | Stores | LoadsOrStores
        | LockLoads | IntVector128 | IntVector256 | IntVectorMul256 | IntVectorVnni128 | IntVectorVnni256 | Lfence
        | Pause | SoftwarePrefetches => Most::firm(1),
        // A branch is of one kind, is predicted once and re-steers once.
        ConditionalTaken | NearCalls | NearReturns | NearTaken | FarBranches | Indirect | MispredictedTaken
        | MispredictedNotTaken | MispredictedIndirect | MispredictedIndirectCall | MispredictedReturn
        | Baclears => Most::firm(1),
        // A load counts once, by the farthest of its lines.
        LoadL1Hit | LoadFillBuffer | LoadL2Hit | LoadL3Hit | LoadL3Miss | SplitLoads | SplitStores | StlbMissLoads
        | StlbMissStores => Most::firm(1),
        // FMA counts two.
        FpScalarDouble | FpScalarSingle | Fp128Double | Fp128Single | Fp256Double | Fp256Single | Fp512Double
        | Fp512Single | FpScalarHalf | FpScalarComplex | Fp128Half | Fp256Half | Fp512Half => Most::firm(2),
        // An iteration each: as many as rCX says.
        RepIterations => Most::mostly(1),
        // Six slots a cycle, and an instruction takes one.
        SlotsLight | SlotsHeavy | SlotsMispredict | SlotsClear | SlotsFetchLatency | SlotsFetchBandwidth | SlotsMemory
        | SlotsCore | SlotsL2 | SlotsL3 | SlotsDram | SlotsStore | SlotsDivider | SlotsSerial | SlotsIcache | SlotsItlb
        | SlotsResteer | SlotsUnknownBranch | SlotsMs => Most::firm(SLOTS_PER_CYCLE),
        // Few micro-ops, but in microcode hundreds.
        UopsRetired | UopsHeavy | UopsMs | UopsExecuted | UopsX87 | UopsDsb | UopsMite => Most::mostly(SLOTS_PER_CYCLE),
        // A read and a write, each across a line or page at worst; more in strings, gathers, XSAVE, task switches.
        MemoryUops | StoreL2Hit | L1dReplacements | L2DataHit | L2DataMiss | L2CodeHit
        | L2CodeMiss | L2RfoHit | L2RfoMiss | L2LinesIn | L2LinesOut | L2LinesDropped | L3DataMiss | L3CodeMiss
        | L3RfoMiss | StreamingWrites | BusLocks | DtlbLoadStlbHit | DtlbLoadWalk4k | DtlbLoadWalk2m
        | DtlbLoadWalk1g | DtlbStoreStlbHit | DtlbStoreWalk4k | DtlbStoreWalk2m | DtlbStoreWalk1g | ItlbStlbHit
        | ItlbWalk4k | ItlbWalk2m | ItlbWalk1g | DsbMisses | AssistsPage => Most::mostly(2),
        // Rare and, as a rule, one at a time.
        // Besides the delivery that follows it, a branch inserts one.
        ClearsMemoryOrdering | ClearsSmc | AssistsFp | HardwareInterrupts | MsSwitches | LbrInserts => Most::mostly(1),
    }
}
