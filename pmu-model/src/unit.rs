//! The performance monitoring unit of one logical processor: its MSRs, RDPMC, overflow and interrupt requests.
//!
//! An instruction is counted under the settings in force before it executes. A WRMSR sees the counts before itself, so
//! what it writes is kept ([`Written`]) and takes effect behind it, when the unit is next asked: then the exact counts are
//! those of the instruction boundary behind the WRMSR, and the signals those that are there. So that these are of the same
//! boundary, [`Unit::settle`] must be called behind every instruction that wrote.
//!
//! `register` is which registers there are, `profile` what differs between units, `sampling` the seat of PEBS, `view` what
//! a listing shows. Source: spec/pmu.md 1.1 to 1.9 and 2.

mod profile;
mod register;
mod sampling;
mod view;

pub use profile::Profile;
pub use sampling::Sampled;
pub use view::View;

use crate::catalog::{self, Extra, FIXED};
use crate::counter::{Counter, Selection};
use crate::formula::Formula;
use crate::metrics::Metrics;
use crate::now::Now;
use cpu_x86::{Counts, Refused, Ring};
use register::{CTR_FRZ, LBR_FRZ, METRICS, Register, debugctl, fixed, select};
use sampling::Sampling;

/// General-purpose and fixed counters.
pub const GENERAL: usize = 8;
#[allow(missing_docs, reason = "see GENERAL")]
pub const FIXED_COUNTERS: usize = FIXED.len();
/// The fixed counter of slots, which PERF_METRICS goes with.
const SLOTS: usize = 3;

/// The unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    profile: Profile,
    general: [Counter; GENERAL],
    fixed: [Counter; FIXED_COUNTERS],
    metrics: Metrics,
    event_select: [u64; GENERAL],
    /// What PERFEVTSEL and the extra registers make the general counters count.
    formulas: [Option<Formula>; GENERAL],
    fixed_ctrl: u64,
    global_ctrl: u64,
    status: u64,
    extra: Extra,
    /// DEBUGCTL, of which the freeze bits matter.
    debugctl: u64,
    sampling: Sampling,
    /// A PMI was requested and not yet told.
    requested: bool,
    /// What the last WRMSR wrote, as long as it has no effect yet.
    written: Option<Written>,
    /// Does anything that is programmed take an observer?
    observed: bool,
    /// Instructions retired when overflows were last looked for.
    looked: u64,
}

/// A write, and the counts behind the instruction that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    register: Register,
    value: u64,
    then: Counts,
}

impl Default for Unit {
    /// A unit of the default profile at power-on.
    fn default() -> Unit {
        Unit::new(Profile::default())
    }
}

impl Unit {
    /// The unit at power-on: GLOBAL_CTRL enables all general counters, nothing else is set.
    pub fn new(profile: Profile) -> Unit {
        Unit {
            profile,
            general: Default::default(),
            fixed: Default::default(),
            metrics: Metrics::default(),
            event_select: [0; GENERAL],
            formulas: [None; GENERAL],
            fixed_ctrl: 0,
            global_ctrl: (1 << GENERAL) - 1,
            status: 0,
            extra: Extra::default(),
            debugctl: 0,
            sampling: Sampling::default(),
            requested: false,
            written: None,
            observed: false,
            looked: 0,
        }
    }

    /// What kind of unit it is.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// RDMSR; `None`: not a register of the unit.
    pub fn msr_read<'a>(&mut self, number: u32, now: impl Into<Now<'a>>) -> Option<Result<u64, Refused>> {
        let now = now.into();
        Register::of(number, &self.profile)?;
        self.catch_up(now);
        self.look(now);
        self.peek(number, now).map(Ok)
    }

    /// The value of a register, without looking for overflows: they are as of the last time that the unit was asked.
    pub fn peek<'a>(&self, number: u32, now: impl Into<Now<'a>>) -> Option<u64> {
        let now = now.into();
        Some(match Register::of(number, &self.profile)? {
            Register::Pmc { n, .. } => self.general[n].value(now),
            Register::Fixed(n) => self.fixed[n].value(now),
            Register::EventSelect(n) => self.event_select[n],
            Register::Offcore(n) => self.extra.offcore[n],
            Register::LoadLatency => self.extra.load_latency,
            Register::Frontend => self.extra.frontend,
            Register::Debugctl | Register::PebsEnable => return None,
            Register::Metrics => self.metrics.value(now),
            Register::Capabilities => self.profile.capabilities,
            Register::FixedCtrl => self.fixed_ctrl,
            Register::Status => self.status,
            Register::GlobalCtrl => self.global_ctrl,
            Register::StatusReset | Register::StatusSet => 0,
            Register::InUse => self.in_use(),
        })
    }

    /// A register takes a value at once, between two instructions, as VM entry loads it; bits that are not legal are left
    /// out.
    pub fn poke<'a>(&mut self, number: u32, v: u64, now: impl Into<Now<'a>>) {
        let now = now.into();
        let Some(register) = Register::of(number, &self.profile) else { return };
        let Some(legal) = register.legal(&self.profile) else { return };
        self.catch_up(now);
        self.look(now);
        self.written = Some(Written { register, value: v & legal, then: *now.counts });
        self.catch_up(now);
    }

    /// WRMSR, by an instruction in ring 0 that retires unless this refuses; `None`: not a register of the unit.
    pub fn msr_write<'a>(&mut self, number: u32, v: u64, now: impl Into<Now<'a>>) -> Option<Result<(), Refused>> {
        let register = Register::of(number, &self.profile)?;
        match register.legal(&self.profile) {
            Some(legal) if v & !legal == 0 => {
                self.begin(register, v, now.into());
                Some(Ok(()))
            }
            _ => Some(Err(Refused)),
        }
    }

    /// RDPMC; the privilege was checked. The type is in bits 31:16 of ECX.
    ///
    /// # Errors
    /// No such counter.
    pub fn rdpmc<'a>(&mut self, ecx: u32, now: impl Into<Now<'a>>) -> Result<u64, Refused> {
        let (n, now) = ((ecx & 0xffff) as usize, now.into());
        self.catch_up(now);
        match ecx >> 16 {
            0 => self.general.get(n).map(|c| c.value(now)).ok_or(Refused),
            0x4000 => self.fixed.get(n).map(|c| c.value(now)).ok_or(Refused),
            0x2000 if n == 0 && self.profile.has_metrics() => Ok(self.metrics.value(now)),
            _ => Err(Refused),
        }
    }

    /// CPUID leaf 0Ah: version 5, 8 general and 4 fixed counters of 48 bits, events 0 to 7, AnyThread deprecated.
    pub fn cpuid(&self, leaf: u32, _subleaf: u32) -> Option<[u32; 4]> {
        (leaf == 0xa).then_some([0x0830_0805, 0, 0xf, 0x8604])
    }

    /// How many instructions may retire in `ring` before [`Unit::settle`] must be asked; `u64::MAX`: any number. Cheap, and
    /// closest right behind a call of [`Unit::settle`]. Few
    /// instructions cause more than they are taken to ([`catalog::Most`]): what they make overflow is then seen late.
    pub fn deadline<'a>(&mut self, now: impl Into<Now<'a>>, ring: Ring) -> u64 {
        let now = now.into();
        self.catch_up(now);
        if self.requested {
            return 0;
        }
        let overflow = self.counters().map(|c| c.distance(ring)).min().unwrap_or(u64::MAX);
        let waiting = self.sampling.waiting;
        let next = |bit: usize| self.counter(bit).distance_to(1, ring);
        let first = match waiting {
            0 => overflow,
            _ => (0..64).filter(|&bit| waiting >> bit & 1 != 0).map(next).fold(overflow, u64::min),
        };
        match retired(now).saturating_sub(self.looked) {
            _ if first == u64::MAX => u64::MAX,
            since => first.saturating_sub(since).max(1),
        }
    }

    /// The processor stands between two instructions with `now` retired: is a PMI requested?
    pub fn settle<'a>(&mut self, now: impl Into<Now<'a>>) -> bool {
        let now = now.into();
        self.catch_up(now);
        self.look(now);
        std::mem::take(&mut self.requested)
    }

    /// Does any counter that is programmed, or do the metrics, take an observer of what runs? GLOBAL_CTRL and freezing do
    /// not matter here, so that an interrupt handler that stops the counters for a moment does not send the observer away.
    pub fn wants_structures(&self) -> bool {
        self.observed || self.written.is_some_and(|w| self.after(&w).takes_observer())
    }

    /// INIT: counters and their controls go on (SDM vol. 3A, table 10-1); IA32_DEBUGCTL is cleared with the core's.
    pub fn init<'a>(&mut self, now: impl Into<Now<'a>>) {
        self.catch_up(now.into());
        self.debugctl = 0;
    }

    /// The counter at a bit of GLOBAL_STATUS.
    fn counter(&self, bit: usize) -> &Counter {
        if bit < GENERAL { &self.general[bit] } else { &self.fixed[(bit - 32) % FIXED_COUNTERS] }
    }

    fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.general.iter().chain(&self.fixed)
    }

    fn is_enabled(&self, bit: usize) -> bool {
        self.global_ctrl >> bit & 1 != 0 && self.status & CTR_FRZ == 0
    }

    /// A legal write, which takes effect behind the instruction.
    fn begin(&mut self, register: Register, value: u64, now: Now<'_>) {
        self.catch_up(now);
        self.look(now);
        let mut then = *now.counts;
        then.kernel.instructions = then.kernel.instructions.wrapping_add(1);
        then.pass(1);
        self.written = Some(Written { register, value, then });
    }

    /// What was written takes effect: the instruction that wrote it has retired.
    fn catch_up(&mut self, now: Now<'_>) {
        let Some(w) = self.written.take() else { return };
        let then = Now { counts: &w.then, signals: now.signals };
        // What is cleared or set was so before that instruction retired, which may overflow a counter in its turn.
        match w.register {
            Register::StatusReset => self.status &= !w.value,
            Register::StatusSet => self.status |= w.value,
            Register::Pmc { n, full_width: true } => self.general[n].set(w.value, then),
            Register::Pmc { n, full_width: false } => self.general[n].set(w.value as u32 as i32 as u64, then),
            Register::Fixed(n) => {
                self.fixed[n].set(w.value, then);
                if n == SLOTS {
                    self.metrics.restart(w.value, then);
                }
            }
            Register::Metrics => self.metrics.load(w.value, then),
            _ => {}
        }
        self.look(then);
        self.control(&w);
        self.apply(then);
    }

    /// Control registers take what was written.
    fn control(&mut self, w: &Written) {
        match w.register {
            Register::EventSelect(n) => {
                self.event_select[n] = w.value;
                return self.program(n);
            }
            Register::Offcore(n) => self.extra.offcore[n] = w.value,
            Register::LoadLatency => self.extra.load_latency = w.value,
            Register::Frontend => self.extra.frontend = w.value,
            Register::Debugctl => self.debugctl = w.value,
            Register::FixedCtrl => self.fixed_ctrl = w.value,
            Register::GlobalCtrl => self.global_ctrl = w.value,
            Register::PebsEnable => {
                self.sampling.enabled = w.value;
                self.sampling.waiting &= w.value;
            }
            _ => {}
        }
        if matches!(w.register, Register::Offcore(_) | Register::LoadLatency | Register::Frontend) {
            (0..GENERAL).for_each(|n| self.program(n));
        }
    }

    /// Finds out what general counter `n` is to count.
    fn program(&mut self, n: usize) {
        let programmed = catalog::programmed(self.event_select[n], &self.extra);
        let allowed = !self.profile.constrained || programmed.event.is_none_or(|e| e.counters >> n & 1 != 0);
        self.formulas[n] = programmed.formula.filter(|_| allowed);
    }

    /// The unit as its control registers will be.
    fn after(&self, w: &Written) -> Unit {
        let mut unit = self.clone();
        unit.control(w);
        unit
    }

    /// Looks for overflows up to `now`: status bits, and interrupt requests.
    fn look(&mut self, now: Now<'_>) {
        self.looked = retired(now);
        let mut interrupts = false;
        for n in 0..GENERAL {
            if self.general[n].take_overflow(now) {
                interrupts |= self.overflowed(n, self.event_select[n] & select::INT != 0);
            }
        }
        for n in 0..FIXED_COUNTERS {
            if self.fixed[n].take_overflow(now) {
                interrupts |= self.overflowed(32 + n, self.fixed_ctrl >> (4 * n) & fixed::PMI != 0);
                if n == SLOTS && self.global_ctrl & METRICS != 0 {
                    self.status |= METRICS;
                }
            }
        }
        if interrupts {
            self.request(now);
        }
    }

    /// Counter `bit` has overflowed: does that request an interrupt?
    fn overflowed(&mut self, bit: usize, interrupts: bool) -> bool {
        let sampled = self.sampling.enabled >> bit & 1 != 0;
        if sampled {
            self.sampling.overflowed |= 1 << bit;
        } else {
            self.status |= 1 << bit;
        }
        interrupts && !sampled
    }

    /// An interrupt is requested, and freezes what is to be frozen.
    fn request(&mut self, now: Now<'_>) {
        self.requested = true;
        if self.debugctl & debugctl::FREEZE_LBRS != 0 {
            self.status |= LBR_FRZ;
        }
        if self.debugctl & debugctl::FREEZE_PERFMON != 0 {
            self.status |= CTR_FRZ;
            self.apply(now);
        }
    }

    /// Tells every counter what it counts from `now` on.
    fn apply(&mut self, now: Now<'_>) {
        for n in 0..GENERAL {
            let what = if self.is_enabled(n) { self.selected(n) } else { None };
            self.general[n].select(what, now);
        }
        for (n, (_, fact)) in FIXED.into_iter().enumerate() {
            let (os, usr) = self.fixed_rings(n);
            let what = Selection { formula: Formula::of(fact), os, usr };
            self.fixed[n].select((self.is_enabled(32 + n) && (os || usr)).then_some(what), now);
        }
        let (os, usr) = self.fixed_rings(SLOTS);
        let both = self.fixed[SLOTS].selection().is_some() && self.global_ctrl & METRICS != 0;
        self.metrics.select(both.then_some((os, usr)), now);
        self.observed = self.takes_observer();
    }

    /// The rings that fixed counter `n` counts in: kernel, user.
    fn fixed_rings(&self, n: usize) -> (bool, bool) {
        let ctrl = self.fixed_ctrl >> (4 * n);
        (ctrl & 1 != 0, ctrl & 2 != 0)
    }

    /// What PERFEVTSEL makes general counter `n` count.
    fn selected(&self, n: usize) -> Option<Selection> {
        let s = self.event_select[n];
        let (os, usr) = (s & select::OS != 0, s & select::USR != 0);
        let formula = self.formulas[n].filter(|_| s & select::EN != 0 && (os || usr))?;
        Some(Selection { formula, os, usr })
    }

    fn takes_observer(&self) -> bool {
        let metrics = self.profile.has_metrics() && self.fixed_rings(SLOTS) != (false, false);
        metrics || (0..GENERAL).any(|n| self.selected(n).is_some_and(|s| s.formula.is_observed()))
    }

    /// IA32_PERF_GLOBAL_INUSE.
    fn in_use(&self) -> u64 {
        let general = (0..GENERAL).filter(|&n| self.event_select[n] as u8 != 0).fold(0, |v, n| v | 1 << n);
        let fixed = (0..FIXED_COUNTERS).filter(|n| self.fixed_rings(*n) != (false, false));
        let fixed = fixed.fold(0, |v, n| v | 1 << (32 + n));
        let interrupts = self.event_select.iter().any(|s| s & select::INT != 0)
            || (0..FIXED_COUNTERS).any(|n| self.fixed_ctrl >> (4 * n) & fixed::PMI != 0)
            || self.sampling.enabled != 0;
        general | fixed | u64::from(interrupts) << 63
    }
}

/// Instructions retired up to `now`.
fn retired(now: Now<'_>) -> u64 {
    now.counts.kernel.instructions.wrapping_add(now.counts.user.instructions)
}

#[cfg(test)]
mod tests;
