//! What may differ between units: what IA32_PERF_CAPABILITIES offers, and rules on which processors and hypervisors differ.

/// A kind of unit: version 5 with 8 general and 4 fixed counters of 48 bits, and the following.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// IA32_PERF_CAPABILITIES. The unit itself acts on bits 13 (full-width writes), 14 (adaptive PEBS: which bits of
    /// EVENTSEL and FIXED_CTR_CTRL are legal) and 15 (PERF_METRICS); the rest is for PEBS and LBR, which are plugged beside it.
    pub capabilities: u64,
    /// Does an event count only on the counters that Intel lists for it? On others it then counts nothing.
    pub constrained: bool,
    /// Do writes of more than 48 bits to fixed counters raise #GP, as the SDM has it? KVM cuts them off.
    pub strict_fixed_writes: bool,
}

impl Profile {
    /// Full-width writes and the bit for SMM, which this machine never enters; no PEBS, LBR or metrics.
    pub const PLAIN: Profile = Profile { capabilities: 0x3000, constrained: false, strict_fixed_writes: false };
    /// What a Sapphire Rapids has: architectural LBR, PEBS format 4 with the adaptive baseline, metrics.
    /// Source: spec/pmu.md 1.2.3.
    pub const SAPPHIRE_RAPIDS: Profile = Profile { capabilities: 0xf4ff, ..Profile::PLAIN };

    pub(super) const fn has_full_width_writes(&self) -> bool {
        self.capabilities >> 13 & 1 != 0
    }
    pub(super) const fn has_adaptive_records(&self) -> bool {
        self.capabilities >> 14 & 1 != 0
    }
    pub(super) const fn has_metrics(&self) -> bool {
        self.capabilities >> 15 & 1 != 0
    }
}

impl Default for Profile {
    fn default() -> Profile {
        Profile::PLAIN
    }
}
