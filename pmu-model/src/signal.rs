//! What the model of the core counts by ring, besides what the processor itself counts exactly: the raw material of
//! events. An event of the catalog is a formula over these.

use cpu_x86::Ring;
use std::ops::{Index, IndexMut};

macro_rules! signals {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A thing counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Signal { $($(#[$doc])* $name,)* }

        impl Signal {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Signal] = &[$(Signal::$name,)*];
        }
    };
}

signals! {
    // Retired instructions by class; a faulting instruction counts nothing.
    /// NOPs of all lengths, ENDBR32 and ENDBR64.
    Nops,
    /// Pairs of a flag writer and the conditional branch behind it that the decoder fuses.
    MacroFused,
    /// Iterations of repeated string instructions.
    RepIterations,
    /// Fused-domain micro-ops retired: slots used.
    UopsRetired,
    /// Of which all but the last of each instruction.
    UopsHeavy,
    /// Of which from the microcode sequencer.
    UopsMs,
    /// Unfused micro-ops executed.
    UopsExecuted,
    /// Of which x87's.
    UopsX87,
    /// Instructions that execute a micro-op, which in the default model are cycles that do.
    Executes1,
    /// At least two.
    Executes2,
    /// At least three.
    Executes3,
    /// At least four.
    Executes4,
    /// Instructions that load.
    Loads,
    /// Instructions that store.
    Stores,
    /// Instructions that load or store.
    LoadsOrStores,
    /// Locked instructions, which load.
    LockLoads,
    /// Load and store micro-ops.
    MemoryUops,
    /// Floating-point operations, of which FMA and dot products count two: scalar, of double precision.
    FpScalarDouble,
    /// Scalar, single precision.
    FpScalarSingle,
    /// Packed in 128 bits, double precision.
    Fp128Double,
    /// Single precision.
    Fp128Single,
    /// In 256 bits, double precision.
    Fp256Double,
    /// Single precision.
    Fp256Single,
    /// In 512 bits, double precision.
    Fp512Double,
    /// Single precision.
    Fp512Single,
    /// Half precision, scalar.
    FpScalarHalf,
    /// One complex number.
    FpScalarComplex,
    /// Packed in 128 bits.
    Fp128Half,
    /// In 256 bits.
    Fp256Half,
    /// In 512 bits.
    Fp512Half,
    /// Integer vector instructions of 128 bits of the add kind.
    IntVector128,
    /// Of 256 bits.
    IntVector256,
    /// Multiplications, of 256 bits.
    IntVectorMul256,
    /// Dot products that are added (VNNI), of 128 bits.
    IntVectorVnni128,
    /// Of 256 bits.
    IntVectorVnni256,
    /// LFENCE.
    Lfence,
    /// PAUSE.
    Pause,
    /// Software prefetches.
    SoftwarePrefetches,

    // Branches retired.
    /// Conditional ones that were taken.
    ConditionalTaken,
    /// Near calls.
    NearCalls,
    /// Near returns.
    NearReturns,
    /// Near branches that were taken.
    NearTaken,
    /// Far branches: far jumps, calls and returns, IRET, SYSCALL, SYSRET, SYSENTER, SYSEXIT, INT n.
    FarBranches,
    /// Near indirect jumps and calls.
    Indirect,
    /// Mispredicted: conditional and taken.
    MispredictedTaken,
    /// Conditional and not taken.
    MispredictedNotTaken,
    /// Near indirect jumps and calls.
    MispredictedIndirect,
    /// Near indirect calls.
    MispredictedIndirectCall,
    /// Near returns.
    MispredictedReturn,
    /// Re-steers at decode: a branch unknown to the BTB.
    Baclears,

    /// Changes of the last branch records, which the LBRs count themselves.
    LbrInserts,

    // Clears, assists, interrupts.
    /// Machine clears by memory ordering.
    ClearsMemoryOrdering,
    /// Machine clears by self-modifying code.
    ClearsSmc,
    /// Floating-point assists.
    AssistsFp,
    /// Accessed and dirty bits set by walks.
    AssistsPage,
    /// Interrupts from outside.
    HardwareInterrupts,

    // Retired loads by where their data came from (the farthest of an instruction's).
    /// L1D.
    LoadL1Hit,
    /// A line already on its way.
    LoadFillBuffer,
    /// L2.
    LoadL2Hit,
    /// L3.
    LoadL3Hit,
    /// Memory.
    LoadL3Miss,
    /// Loads that cross a cache line.
    SplitLoads,
    /// Stores that cross a cache line.
    SplitStores,
    /// Loads that needed a page walk.
    StlbMissLoads,
    /// Stores that needed a page walk.
    StlbMissStores,
    /// Stores that hit the L2.
    StoreL2Hit,

    // Caches.
    /// Lines brought into the L1D.
    L1dReplacements,
    /// Demand reads of data that hit the L2.
    L2DataHit,
    /// That missed it.
    L2DataMiss,
    /// Code reads that hit the L2.
    L2CodeHit,
    /// That missed it.
    L2CodeMiss,
    /// Reads for ownership that hit the L2.
    L2RfoHit,
    /// That missed it.
    L2RfoMiss,
    /// Lines brought into the L2.
    L2LinesIn,
    /// Lines evicted from the L2 and written back.
    L2LinesOut,
    /// Lines evicted from the L2 that were as they had come.
    L2LinesDropped,
    /// Demand reads of data that missed the L3.
    L3DataMiss,
    /// Code reads.
    L3CodeMiss,
    /// Reads for ownership.
    L3RfoMiss,
    /// Streaming (non-temporal) stores sent off-core, in lines.
    StreamingWrites,
    /// Locked accesses that cross a line.
    BusLocks,

    // TLBs.
    /// Loads that missed the first level and hit the second.
    DtlbLoadStlbHit,
    /// Walks for loads, 4 KiB pages.
    DtlbLoadWalk4k,
    /// 2 or 4 MiB pages.
    DtlbLoadWalk2m,
    /// 1 GiB pages.
    DtlbLoadWalk1g,
    /// Stores that missed the first level and hit the second.
    DtlbStoreStlbHit,
    /// Walks for stores, 4 KiB pages.
    DtlbStoreWalk4k,
    /// 2 or 4 MiB pages.
    DtlbStoreWalk2m,
    /// 1 GiB pages.
    DtlbStoreWalk1g,
    /// Fetches that missed the first level and hit the second.
    ItlbStlbHit,
    /// Walks for fetches, 4 KiB pages.
    ItlbWalk4k,
    /// 2 or 4 MiB pages.
    ItlbWalk2m,
    /// 1 GiB pages.
    ItlbWalk1g,

    // Where micro-ops came from.
    /// The decoded stream buffer.
    UopsDsb,
    /// The legacy decoder.
    UopsMite,
    /// Lines that the decoded stream buffer did not hold when fetch came to them.
    DsbMisses,
    /// Switches into the sequencer.
    MsSwitches,

    // The slot ledger: slots, of which a cycle has six; the eight sum to all slots.
    /// Retired micro-ops that are the only or last of their instruction.
    SlotsLight,
    /// The other retired micro-ops.
    SlotsHeavy,
    /// Lost to mispredicted branches.
    SlotsMispredict,
    /// Lost to machine clears.
    SlotsClear,
    /// Lost while the front end delivered nothing.
    SlotsFetchLatency,
    /// Lost while it delivered less than six.
    SlotsFetchBandwidth,
    /// Lost to memory.
    SlotsMemory,
    /// Lost to the rest of the back end.
    SlotsCore,

    // Parts of the ledger, in slots: a sixth of them in cycles.
    /// Of SlotsMemory: loads served by the L2.
    SlotsL2,
    /// By the L3.
    SlotsL3,
    /// By memory.
    SlotsDram,
    /// Stores.
    SlotsStore,
    /// Of SlotsCore: the divider.
    SlotsDivider,
    /// Serialising instructions.
    SlotsSerial,
    /// Of SlotsFetchLatency: the instruction cache.
    SlotsIcache,
    /// The instruction TLB.
    SlotsItlb,
    /// Re-steers after a mispredict or clear.
    SlotsResteer,
    /// Branches unknown to the BTB.
    SlotsUnknownBranch,
    /// Switches to and from the sequencer.
    SlotsMs,
}

/// How many signals there are.
pub const SIGNALS: usize = Signal::ALL.len();

/// Totals of all signals in one ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals([u64; SIGNALS]);

impl Default for Totals {
    fn default() -> Totals {
        Totals([0; SIGNALS])
    }
}

impl Index<Signal> for Totals {
    type Output = u64;
    fn index(&self, s: Signal) -> &u64 {
        &self.0[s as usize]
    }
}

impl IndexMut<Signal> for Totals {
    fn index_mut(&mut self, s: Signal) -> &mut u64 {
        &mut self.0[s as usize]
    }
}

/// Totals by ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// In CPL 0 to 2.
    pub kernel: Totals,
    /// In CPL 3.
    pub user: Totals,
}

impl Signals {
    /// The totals of `ring`.
    pub fn of(&self, ring: Ring) -> &Totals {
        match ring {
            Ring::Kernel => &self.kernel,
            Ring::User => &self.user,
        }
    }

    /// The totals of `ring`, to add to.
    pub fn of_mut(&mut self, ring: Ring) -> &mut Totals {
        match ring {
            Ring::Kernel => &mut self.kernel,
            Ring::User => &mut self.user,
        }
    }
}
