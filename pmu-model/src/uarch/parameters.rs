//! Sizes and latencies of a core: a processor model is a value.

use super::cache::MOST_WAYS;

/// A set-associative structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Sets, at least one; a power of two for all but the L3.
    pub sets: u32,
    /// Ways of a set, at least one; at most 32 for TLBs and 16 for caches.
    pub ways: u32,
}

impl Geometry {
    /// So many sets of so many ways.
    pub const fn of(sets: u32, ways: u32) -> Geometry {
        Geometry { sets, ways }
    }
}

/// All of it. Sources are sections of `spec/timing.md`; cycles are core cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// L1 data cache; the monitor's contract fixes 64 sets.
    pub l1d: Geometry,
    /// L1 instruction cache.
    pub l1i: Geometry,
    /// L2.
    pub l2: Geometry,
    /// This core's part of the L3: by default its own slice, and no other core's.
    pub l3: Geometry,
    /// Lines the decoded stream buffer holds. Differs: a line counts as two ways, whatever micro-ops it has.
    pub dsb: Geometry,
    /// First-level TLB for loads, 4 KiB pages.
    pub dtlb_4k: Geometry,
    /// 2 MiB and 4 MiB pages.
    pub dtlb_2m: Geometry,
    /// 1 GiB pages.
    pub dtlb_1g: Geometry,
    /// First-level TLB for stores, all pages.
    pub dtlb_store: Geometry,
    /// First-level TLB for fetches, 4 KiB pages.
    pub itlb_4k: Geometry,
    /// Larger pages.
    pub itlb_2m: Geometry,
    /// Second-level TLB, all pages.
    pub stlb: Geometry,
    /// Branch target buffers, the nearest first.
    pub btb: [Geometry; 3],
    /// Entries of the return stack, at most 64.
    pub return_stack: u32,
    /// Load-to-use cycles of L1, L2, L3 and memory.
    pub latency: [u32; 4],
    /// More cycles when the second-level TLB answers.
    pub stlb_cycles: u32,
    /// Cycles of front-end run-ahead that hide a part of an instruction-cache miss.
    pub run_ahead: u32,
    /// Cycles of recovery after a mispredict (R of 3.9).
    pub recovery: u32,
    /// Cycles of re-steer after one (F of 3.9).
    pub resteer: u32,
    /// Cycles of a machine clear.
    pub clear: u32,
    /// Cycles of a re-steer at decode.
    pub baclear: u32,
    /// Cycles a taken branch costs by the BTB that knows it.
    pub bubble: [u32; 3],
    /// Cycles of a switch into the sequencer.
    pub sequencer: u32,
    /// Slots that legacy decode leaves empty for each instruction.
    pub decode_slots: u32,
    /// Cycles of an assist for denormals.
    pub assist: u32,
    /// Cycles of an interrupt's or exception's delivery.
    pub delivery: u32,
    /// One part in this many of a store's latency is charged: the store buffer hides the rest.
    pub store_share: u32,
    /// Most slots owed to one cause of lost time: what is claimed beyond is forgotten.
    pub most_owed: u32,
}

impl Parameters {
    /// Sapphire Rapids at 2.2 GHz. Sources: 3.6 (front end), 3.7 (branches), 3.8 (memory: L3 33 ns and DRAM 110 ns at that
    /// clock, both assumed), 3.9 and 3.10 (assumed where the section says so); `store_share`, `decode_slots`,
    /// `run_ahead` and `most_owed` are ours.
    pub const SPR: Parameters = Parameters {
        l1d: Geometry::of(64, 12),
        l1i: Geometry::of(64, 8),
        l2: Geometry::of(2048, 16),
        l3: Geometry::of(2048, 15),
        dsb: Geometry::of(64, 4),
        dtlb_4k: Geometry::of(16, 6),
        dtlb_2m: Geometry::of(8, 4),
        dtlb_1g: Geometry::of(1, 8),
        dtlb_store: Geometry::of(1, 16),
        itlb_4k: Geometry::of(32, 8),
        itlb_2m: Geometry::of(8, 4),
        stlb: Geometry::of(256, 8),
        btb: [Geometry::of(32, 4), Geometry::of(1024, 6), Geometry::of(2048, 6)],
        return_stack: 20,
        latency: [5, 15, 73, 242],
        stlb_cycles: 7,
        run_ahead: 5,
        recovery: 5,
        resteer: 12,
        clear: 25,
        baclear: 9,
        bubble: [0, 1, 2],
        sequencer: 3,
        decode_slots: 2,
        assist: 150,
        delivery: 250,
        store_share: 8,
        most_owed: 1536,
    };
}

impl Parameters {
    /// Panics when a bound is broken.
    /// For each level the cycles that a store, and a load, waits for it, beyond those of the L1D.
    pub(super) fn waits(&self) -> [[u32; 2]; 4] {
        self.latency.map(|cycles| {
            let longer = cycles.saturating_sub(self.latency[0]);
            [longer / self.store_share, longer]
        })
    }

    pub(super) fn check(&self) {
        let tlbs = [self.dtlb_4k, self.dtlb_2m, self.dtlb_1g, self.dtlb_store, self.itlb_4k, self.itlb_2m, self.stlb];
        let caches = [self.l1d, self.l1i, self.l2, self.dsb];
        for g in tlbs.into_iter().chain(caches).chain(self.btb) {
            assert!(g.sets.is_power_of_two() && g.ways > 0, "sets are a power of two and ways at least one: {g:?}");
        }
        assert!(tlbs.iter().all(|g| g.ways <= 32), "a TLB has at most 32 ways");
        let all = caches.into_iter().chain([self.l3]);
        assert!(all.into_iter().all(|g| g.ways as usize <= MOST_WAYS), "a cache has at most {MOST_WAYS} ways");
        assert!(self.l1d.sets == 64, "the contract of monitors names 64 sets");
        assert!(self.l3.sets > 0 && self.l3.ways > 0, "the L3 has a line");
        assert!((1..=64).contains(&self.return_stack), "1 to 64 return addresses");
        assert!(self.store_share > 0, "a share is one part in at least one");
    }
}
