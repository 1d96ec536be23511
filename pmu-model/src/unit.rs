//! The performance monitoring unit of one logical processor: its MSRs, RDPMC, overflow and interrupt requests.
//!
//! An instruction is counted under the settings in force before it executes. A WRMSR sees the counts before itself, so
//! every write here takes effect one retired instruction later ([`after`]). Source: spec/pmu.md 1.1 to 1.9.

use crate::catalog::{self, FIXED, Validity};
use crate::counter::{Counter, MASK, Selection};
use cpu_x86::{Counts, Refused, Ring};

/// General-purpose and fixed counters.
pub const GENERAL: usize = 8;
#[allow(missing_docs, reason = "see GENERAL")]
pub const FIXED_COUNTERS: usize = FIXED.len();

/// Full-width writes, and a freeze bit for SMM (which this machine never enters). No PEBS, LBR or metrics.
const PERF_CAPABILITIES: u64 = 1 << 13 | 1 << 12;
const COUNTERS: u64 = 0xf_0000_00ff;
/// Bits of GLOBAL_STATUS that can be cleared: counters, trace, LBR_FRZ, CTR_FRZ, ASCI, uncore, buffer, CondChgd.
const STATUS_RESETTABLE: u64 = COUNTERS | 1 << 55 | 0x3f << 58;
/// Bits of GLOBAL_STATUS that can be set: counters, LBR_FRZ, CTR_FRZ, buffer.
const STATUS_SETTABLE: u64 = COUNTERS | 3 << 58 | 1 << 62;
const CTR_FRZ: u64 = 1 << 59;
const DEBUGCTL_FREEZE_PERFMON: u64 = 1 << 12;

/// PERFEVTSEL bits.
mod select {
    pub const USR: u64 = 1 << 16;
    pub const OS: u64 = 1 << 17;
    pub const EDGE: u64 = 1 << 18;
    pub const INT: u64 = 1 << 20;
    pub const EN: u64 = 1 << 22;
    pub const INV: u64 = 1 << 23;
    /// All but AnyThread, transactions, adaptive records and what newer parts have.
    pub const LEGAL: u64 = 0xffdf_ffff;
}

/// MSR numbers.
mod msr {
    pub const PMC: u32 = 0xc1;
    pub const EVTSEL: u32 = 0x186;
    pub const OFFCORE: u32 = 0x1a6;
    pub const DEBUGCTL: u32 = 0x1d9;
    pub const FIXED: u32 = 0x309;
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
#[derive(Clone, Copy)]
enum Register {
    Pmc {
        n: usize,
        full_width: bool,
    },
    Fixed(usize),
    EventSelect(usize),
    /// Which of `extra`, and its legal bits.
    Extra(usize, u64),
    Debugctl,
    Capabilities,
    FixedCtrl,
    Status,
    GlobalCtrl,
    StatusReset,
    StatusSet,
    InUse,
}

impl Register {
    fn of(number: u32) -> Option<Register> {
        let within = |first: u32, count: usize| number.checked_sub(first).map(|n| n as usize).filter(|&n| n < count);
        Some(match number {
            msr::DEBUGCTL => Register::Debugctl,
            msr::CAPABILITIES => Register::Capabilities,
            msr::FIXED_CTRL => Register::FixedCtrl,
            msr::STATUS => Register::Status,
            msr::GLOBAL_CTRL => Register::GlobalCtrl,
            msr::STATUS_RESET => Register::StatusReset,
            msr::STATUS_SET => Register::StatusSet,
            msr::INUSE => Register::InUse,
            msr::LD_LAT => Register::Extra(2, 0xffff),
            msr::FRONTEND => Register::Extra(3, 0x7f_ff1f),
            _ => {
                if let Some(n) = within(msr::OFFCORE, 2) {
                    Register::Extra(n, 0x3f_ffff_ffff)
                } else if let Some(n) = within(msr::PMC, GENERAL) {
                    Register::Pmc { n, full_width: false }
                } else if let Some(n) = within(msr::A_PMC, GENERAL) {
                    Register::Pmc { n, full_width: true }
                } else if let Some(n) = within(msr::EVTSEL, GENERAL) {
                    Register::EventSelect(n)
                } else {
                    Register::Fixed(within(msr::FIXED, FIXED_COUNTERS)?)
                }
            }
        })
    }
}

/// The unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    general: [Counter; GENERAL],
    fixed: [Counter; FIXED_COUNTERS],
    event_select: [u64; GENERAL],
    fixed_ctrl: u64,
    global_ctrl: u64,
    status: u64,
    /// OFFCORE_RSP_0, OFFCORE_RSP_1, LD_LAT, FRONTEND: storage for events not modelled.
    extra: [u64; 4],
    /// DEBUGCTL.FREEZE_PERFMON_ON_PMI.
    freezes: bool,
    /// A PMI was requested and not yet told.
    requested: bool,
}

impl Default for Unit {
    /// The unit at power-on: GLOBAL_CTRL enables all general counters, nothing else is set.
    fn default() -> Unit {
        Unit {
            general: Default::default(),
            fixed: Default::default(),
            event_select: [0; GENERAL],
            fixed_ctrl: 0,
            global_ctrl: (1 << GENERAL) - 1,
            status: 0,
            extra: [0; 4],
            freezes: false,
            requested: false,
        }
    }
}

/// A counter as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// RDPMC selector.
    pub selector: u32,
    /// The event's name; `None` for an encoding that has none here.
    pub event: Option<&'static str>,
    /// What the count is worth.
    pub validity: Validity,
    /// Does it count (in some ring)?
    pub counting: bool,
    /// Its value.
    pub value: u64,
}

impl Unit {
    /// RDMSR; `None`: not a register of the unit.
    pub fn msr_read(&mut self, number: u32, now: &Counts) -> Option<Result<u64, Refused>> {
        self.look(now);
        Some(Ok(match Register::of(number)? {
            Register::Pmc { n, .. } => self.general[n].value(now),
            Register::Fixed(n) => self.fixed[n].value(now),
            Register::EventSelect(n) => self.event_select[n],
            Register::Extra(n, _) => self.extra[n],
            Register::Debugctl => return None,
            Register::Capabilities => PERF_CAPABILITIES,
            Register::FixedCtrl => self.fixed_ctrl,
            Register::Status => self.status,
            Register::GlobalCtrl => self.global_ctrl,
            Register::StatusReset | Register::StatusSet => 0,
            Register::InUse => self.in_use(),
        }))
    }

    /// WRMSR, by an instruction in ring 0 that retires unless this refuses; `None`: not a register of the unit.
    pub fn msr_write(&mut self, number: u32, v: u64, now: &Counts) -> Option<Result<(), Refused>> {
        let register = Register::of(number)?;
        let legal = match register {
            Register::Pmc { full_width: false, .. } | Register::Fixed(_) | Register::Debugctl => u64::MAX,
            Register::Pmc { full_width: true, .. } => MASK,
            Register::EventSelect(_) => select::LEGAL,
            Register::Extra(_, legal) => legal,
            Register::FixedCtrl => 0xbbbb,
            Register::GlobalCtrl => COUNTERS,
            Register::StatusReset => STATUS_RESETTABLE,
            Register::StatusSet => STATUS_SETTABLE,
            Register::Capabilities | Register::Status | Register::InUse => return Some(Err(Refused)),
        };
        if v & !legal != 0 {
            return Some(Err(Refused));
        }
        let now = &after(now);
        self.look(now);
        match register {
            Register::Pmc { n, full_width } => {
                self.general[n].set(if full_width { v } else { v as u32 as i32 as u64 }, now);
            }
            // Differs: the SDM has the upper bits reserved; KVM, like this, ignores them.
            Register::Fixed(n) => self.fixed[n].set(v, now),
            Register::EventSelect(n) => self.event_select[n] = v,
            Register::Extra(n, _) => self.extra[n] = v,
            Register::Debugctl => self.freezes = v & DEBUGCTL_FREEZE_PERFMON != 0,
            Register::FixedCtrl => self.fixed_ctrl = v,
            Register::GlobalCtrl => self.global_ctrl = v,
            Register::StatusReset => self.status &= !v,
            _ => self.status |= v,
        }
        self.apply(now);
        Some(Ok(()))
    }

    /// RDPMC; the privilege was checked. The type is in bits 31:16 of ECX.
    ///
    /// # Errors
    /// No such counter.
    pub fn rdpmc(&mut self, ecx: u32, now: &Counts) -> Result<u64, Refused> {
        let n = (ecx & 0xffff) as usize;
        let counter = match ecx >> 16 {
            0 => self.general.get(n),
            0x4000 => self.fixed.get(n),
            _ => None,
        };
        counter.map(|c| c.value(now)).ok_or(Refused)
    }

    /// CPUID leaf 0Ah: version 5, 8 general and 4 fixed counters of 48 bits, events 0 to 7, AnyThread deprecated.
    pub fn cpuid(&self, leaf: u32, _subleaf: u32) -> Option<[u32; 4]> {
        (leaf == 0xa).then_some([0x0830_0805, 0, 0xf, 0x8604])
    }

    /// How many instructions may retire in `ring` before [`Unit::settle`] must be asked; `u64::MAX`: any number.
    pub fn deadline(&self, now: &Counts, ring: Ring) -> u64 {
        if self.requested {
            return 0;
        }
        self.counters().map(|c| c.distance(now, ring)).min().unwrap_or(u64::MAX)
    }

    /// The processor stands between two instructions with `now` retired: is a PMI requested?
    pub fn settle(&mut self, now: &Counts) -> bool {
        self.look(now);
        std::mem::take(&mut self.requested)
    }

    /// The counters, general ones first.
    pub fn views(&self, now: &Counts) -> Vec<View> {
        let general = self.general.iter().zip(self.event_select).enumerate().map(|(n, (c, s))| {
            let event = catalog::find(s as u8, (s >> 8) as u8);
            View {
                selector: n as u32,
                event: event.map(|e| e.name),
                validity: event.map_or(Validity::NotModelled, catalog::Event::validity),
                counting: self.is_enabled(n) && s & select::EN != 0 && s & (select::OS | select::USR) != 0,
                value: c.value(now),
            }
        });
        let fixed = self.fixed.iter().zip(FIXED).enumerate().map(|(n, (c, (name, fact)))| View {
            selector: 1 << 30 | n as u32,
            event: Some(name),
            validity: if fact == catalog::Fact::Instructions { Validity::Exact } else { Validity::Modelled },
            counting: self.is_enabled(32 + n) && self.fixed_ctrl >> (4 * n) & 3 != 0,
            value: c.value(now),
        });
        general.chain(fixed).collect()
    }

    fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.general.iter().chain(&self.fixed)
    }

    fn is_enabled(&self, bit: usize) -> bool {
        self.global_ctrl >> bit & 1 != 0 && self.status & CTR_FRZ == 0
    }

    /// Looks for overflows up to `now`: status bits, and interrupt requests.
    fn look(&mut self, now: &Counts) {
        let mut interrupts = false;
        for n in 0..GENERAL {
            if self.general[n].take_overflow(now) {
                self.status |= 1 << n;
                interrupts |= self.event_select[n] & select::INT != 0;
            }
        }
        for n in 0..FIXED_COUNTERS {
            if self.fixed[n].take_overflow(now) {
                self.status |= 1 << (32 + n);
                interrupts |= self.fixed_ctrl >> (4 * n) & 8 != 0;
            }
        }
        self.requested |= interrupts;
        if interrupts && self.freezes {
            self.status |= CTR_FRZ;
            self.apply(now);
        }
    }

    /// Tells every counter what it counts from `now` on.
    fn apply(&mut self, now: &Counts) {
        for n in 0..GENERAL {
            let what = if self.is_enabled(n) { selected(self.event_select[n]) } else { None };
            self.general[n].select(what, now);
        }
        for (n, (_, fact)) in FIXED.into_iter().enumerate() {
            let ctrl = self.fixed_ctrl >> (4 * n);
            let (os, usr) = (ctrl & 1 != 0, ctrl & 2 != 0);
            let what = Selection { fact, os, usr, cmask: 0, inv: false };
            self.fixed[n].select((self.is_enabled(32 + n) && (os || usr)).then_some(what), now);
        }
    }

    /// IA32_PERF_GLOBAL_INUSE.
    fn in_use(&self) -> u64 {
        let general = (0..GENERAL).filter(|&n| self.event_select[n] as u8 != 0).fold(0, |v, n| v | 1 << n);
        let fixed =
            (0..FIXED_COUNTERS).filter(|n| self.fixed_ctrl >> (4 * n) & 3 != 0).fold(0, |v, n| v | 1 << (32 + n));
        let interrupts = self.event_select.iter().any(|s| s & select::INT != 0) || self.fixed_ctrl & 0x8888 != 0;
        general | fixed | u64::from(interrupts) << 63
    }
}

/// What PERFEVTSEL value `s` counts; edges are not modelled.
fn selected(s: u64) -> Option<Selection> {
    let (os, usr) = (s & select::OS != 0, s & select::USR != 0);
    if s & select::EN == 0 || s & select::EDGE != 0 || !(os || usr) {
        return None;
    }
    let fact = catalog::find(s as u8, (s >> 8) as u8)?.fact?;
    Some(Selection { fact, os, usr, cmask: (s >> 24) as u8, inv: s & select::INV != 0 })
}

/// The counts once the WRMSR that now executes has retired: one more instruction and cycle in ring 0.
fn after(now: &Counts) -> Counts {
    let mut then = *now;
    then.kernel.instructions += 1;
    then.cycles += 1;
    then
}

#[cfg(test)]
mod tests;
