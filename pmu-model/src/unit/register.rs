//! The registers of the unit: their numbers, and which bits of them are legal.

use super::profile::Profile;
use super::{FIXED_COUNTERS, GENERAL};
use crate::counter::MASK;

/// The counters, by bit of GLOBAL_CTRL, GLOBAL_STATUS and PEBS_ENABLE.
pub const COUNTERS: u64 = 0xf_0000_00ff;
/// GLOBAL_CTRL and GLOBAL_STATUS: PERF_METRICS.
pub const METRICS: u64 = 1 << 48;
/// GLOBAL_STATUS: the LBRs are frozen.
pub const LBR_FRZ: u64 = 1 << 58;
/// GLOBAL_STATUS: the counters are frozen.
pub const CTR_FRZ: u64 = 1 << 59;
/// GLOBAL_STATUS: the buffer of PEBS has reached its threshold.
pub const OVF_BUFFER: u64 = 1 << 62;
/// Bits of GLOBAL_STATUS that can be cleared besides: trace, LBR_FRZ, CTR_FRZ, ASCI, uncore, buffer, CondChgd.
const RESETTABLE: u64 = 1 << 55 | 0x3f << 58;
/// Bits of GLOBAL_STATUS that can be set besides. Unverified: whether 55, 60 and 61 are legal on the real part.
const SETTABLE: u64 = LBR_FRZ | CTR_FRZ | OVF_BUFFER;

/// PERFEVTSEL bits.
pub mod select {
    pub const USR: u64 = 1 << 16;
    pub const OS: u64 = 1 << 17;
    pub const INT: u64 = 1 << 20;
    pub const EN: u64 = 1 << 22;
    pub const ADAPTIVE: u64 = 1 << 34;
    /// All but AnyThread, transactions, adaptive records and what newer parts have.
    pub const LEGAL: u64 = 0xffdf_ffff;
}

/// FIXED_CTR_CTRL, for counter 0; each next one has its four bits above, and its adaptive bit four above.
pub mod fixed {
    pub const RINGS: u64 = 3;
    pub const PMI: u64 = 8;
    pub const ADAPTIVE: u64 = 1 << 32;
    /// All but AnyThread, for four counters.
    pub const LEGAL: u64 = 0xbbbb;
    pub const LEGAL_ADAPTIVE: u64 = 0x1111 << 32;
}

/// DEBUGCTL bits that are the unit's.
pub mod debugctl {
    pub const FREEZE_LBRS: u64 = 1 << 11;
    pub const FREEZE_PERFMON: u64 = 1 << 12;
}

/// MSR numbers.
pub mod number {
    pub const PMC: u32 = 0xc1;
    pub const EVTSEL: u32 = 0x186;
    pub const OFFCORE: u32 = 0x1a6;
    pub const DEBUGCTL: u32 = 0x1d9;
    pub const FIXED: u32 = 0x309;
    pub const METRICS: u32 = 0x329;
    pub const CAPABILITIES: u32 = 0x345;
    pub const FIXED_CTRL: u32 = 0x38d;
    pub const STATUS: u32 = 0x38e;
    pub const GLOBAL_CTRL: u32 = 0x38f;
    pub const STATUS_RESET: u32 = 0x390;
    pub const STATUS_SET: u32 = 0x391;
    pub const INUSE: u32 = 0x392;
    pub const LD_LAT: u32 = 0x3f6;
    pub const FRONTEND: u32 = 0x3f7;
    pub const A_PMC: u32 = 0x4c1;
}

/// A register of the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// A general counter, by one of its two numbers.
    Pmc {
        n: usize,
        full_width: bool,
    },
    Fixed(usize),
    EventSelect(usize),
    Offcore(usize),
    LoadLatency,
    Frontend,
    Debugctl,
    Metrics,
    Capabilities,
    FixedCtrl,
    Status,
    GlobalCtrl,
    StatusReset,
    StatusSet,
    InUse,
    /// PEBS_ENABLE, which PEBS keeps and tells.
    PebsEnable,
}

impl Register {
    /// The register of MSR `msr`, if a unit of this profile has it.
    pub fn of(msr: u32, profile: &Profile) -> Option<Register> {
        let within = |first: u32, count: usize| msr.checked_sub(first).map(|n| n as usize).filter(|&n| n < count);
        Some(match msr {
            number::DEBUGCTL => Register::Debugctl,
            number::METRICS if profile.has_metrics() => Register::Metrics,
            number::CAPABILITIES => Register::Capabilities,
            number::FIXED_CTRL => Register::FixedCtrl,
            number::STATUS => Register::Status,
            number::GLOBAL_CTRL => Register::GlobalCtrl,
            number::STATUS_RESET => Register::StatusReset,
            number::STATUS_SET => Register::StatusSet,
            number::INUSE => Register::InUse,
            number::LD_LAT => Register::LoadLatency,
            number::FRONTEND => Register::Frontend,
            _ => {
                if let Some(n) = within(number::OFFCORE, 2) {
                    Register::Offcore(n)
                } else if let Some(n) = within(number::PMC, GENERAL) {
                    Register::Pmc { n, full_width: false }
                } else if let Some(n) = within(number::A_PMC, GENERAL).filter(|_| profile.has_full_width_writes()) {
                    Register::Pmc { n, full_width: true }
                } else if let Some(n) = within(number::EVTSEL, GENERAL) {
                    Register::EventSelect(n)
                } else {
                    Register::Fixed(within(number::FIXED, FIXED_COUNTERS)?)
                }
            }
        })
    }

    /// The bits that may be written as 1; `None`: it cannot be written.
    pub fn legal(self, profile: &Profile) -> Option<u64> {
        let adaptive = |bits| if profile.has_adaptive_records() { bits } else { 0 };
        let metrics = if profile.has_metrics() { METRICS } else { 0 };
        Some(match self {
            Register::Pmc { full_width: true, .. } => MASK,
            Register::Fixed(_) if profile.strict_fixed_writes => MASK,
            Register::Pmc { .. } | Register::Fixed(_) | Register::Debugctl | Register::Metrics => u64::MAX,
            Register::EventSelect(_) => select::LEGAL | adaptive(select::ADAPTIVE),
            Register::Offcore(_) => 0x3f_ffff_ffff,
            Register::LoadLatency => 0xffff,
            Register::Frontend => 0x7f_ff1f,
            Register::FixedCtrl => fixed::LEGAL | adaptive(fixed::LEGAL_ADAPTIVE),
            Register::GlobalCtrl => COUNTERS | metrics,
            Register::StatusReset => COUNTERS | metrics | RESETTABLE,
            Register::StatusSet => COUNTERS | metrics | SETTABLE,
            Register::PebsEnable => COUNTERS,
            Register::Capabilities | Register::Status | Register::InUse => return None,
        })
    }
}
