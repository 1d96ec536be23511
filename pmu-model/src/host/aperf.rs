//! APERF and MPERF for guests: three designs, what each costs and what each loses.
//!
//! The two registers count while a processor is in C0: MPERF at the rate of the TSC, APERF with the core's clock; only
//! the ratio of their differences means something. For a guest the question is which of its states is C0. S4's answer:
//! leaving C0 is what the guest asks for (HLT); being descheduled is not, so MPERF goes on during steal while APERF,
//! which lives in the register, does not. The guest then sees its frequency fall by the part that was stolen, as a
//! processor with forced idle cycles shows it.
//!
//! | state of the vCPU | virtual MPERF | virtual APERF | the host's |
//! |---|---|---|---|
//! | in the guest | + | + | + |
//! | in root mode for it | + | + | + |
//! | descheduled, or in user space | + | | + |
//! | halted | | | as the host does |
//!
//! Source: spec/pmu.md 4.1, 4.3 to 4.5 (S4; linux v7.2 Documentation/virt/kvm/api.rst 7.13).

use super::registers::AccessCosts;
use thiserror::Error;

/// How the guest gets its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// (a) Reads go to user space.
    UserSpace,
    /// (b) The hypervisor intercepts reads.
    Intercept,
    /// (c) Reads are direct; the registers are switched where the vCPU's task is.
    Switched,
    /// (c') The same at every VM entry and exit.
    SwitchedAtEntry,
    /// What was merged: reads are direct and give the host's values; nothing is switched, writes are refused.
    HostValues,
}

impl Design {
    /// In the order of the discussion.
    pub const ALL: [Design; 5] =
        [Design::UserSpace, Design::Intercept, Design::Switched, Design::SwitchedAtEntry, Design::HostValues];

    /// What tables and scenario files call it.
    pub const fn name(self) -> &'static str {
        match self {
            Design::UserSpace => "user-space",
            Design::Intercept => "intercept",
            Design::Switched => "switched",
            Design::SwitchedAtEntry => "switched-at-entry",
            Design::HostValues => "host-values",
        }
    }

    /// Whether a read stays in the guest.
    pub const fn reads_directly(self) -> bool {
        matches!(self, Design::Switched | Design::SwitchedAtEntry | Design::HostValues)
    }
}

/// Where the vCPU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residence {
    /// In the guest.
    Guest,
    /// In root mode, within KVM_RUN.
    Root,
    /// Not on the CPU, though it would run: steal; or in user space.
    Stolen,
    /// In HLT.
    Halted,
}

/// Why the registers are not offered or not written.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AperfError {
    /// The TSC stops or changes its rate.
    #[error("the host's TSC is not constant and nonstop")]
    UnsteadyTsc,
    /// Hardware does not scale MPERF.
    #[error("the guest's TSC is scaled, which direct reads of MPERF cannot follow")]
    Scaled,
    /// Writes are not supported where the host's values are shown.
    #[error("the guest reads the host's registers and cannot write them")]
    ReadOnly,
    /// A saved state of another version.
    #[error("saved state has version {0}, not 1")]
    Version(u32),
}

/// What a read, a switch and an exit cost, in core cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AperfCosts {
    /// RDMSR and WRMSR.
    pub access: AccessCosts,
    /// A round trip to the hypervisor.
    pub exit: u64,
    /// A round trip to user space.
    pub user_exit: u64,
    /// Cycles that a register misses while it is written.
    pub lost_by_write: u64,
}

impl AperfCosts {
    /// Unverified: of the order usually quoted; see `exits`.
    pub const QUOTED: AperfCosts =
        AperfCosts { access: AccessCosts::QUOTED, exit: 1600, user_exit: 11_000, lost_by_write: 150 };
}

/// The clocks of a physical CPU and its two registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostClock {
    /// Core cycles in `per_ticks` ticks of the TSC.
    pub core_cycles: u64,
    /// See `core_cycles`.
    pub per_ticks: u64,
    /// Core cycles in C0: what APERF would be if nobody ever wrote it.
    pub aperf: u64,
    /// TSC ticks in C0.
    pub mperf: u64,
    /// TSC.
    pub tsc: u64,
    /// What the host's own account of APERF and MPERF lost to switching, in cycles, of each.
    pub lost: u64,
    rest: u64,
}

impl HostClock {
    /// At zero, with a ratio of core clock to TSC. `per_ticks` is at least 1.
    pub const fn new(core_cycles: u64, per_ticks: u64) -> HostClock {
        let per_ticks = if per_ticks == 0 { 1 } else { per_ticks };
        HostClock { core_cycles, per_ticks, aperf: 0, mperf: 0, tsc: 0, lost: 0, rest: 0 }
    }

    /// Ticks pass, in C0 or out of it. Returns the core cycles, 0 out of it.
    pub fn pass(&mut self, ticks: u64, in_c0: bool) -> u64 {
        self.tsc = self.tsc.wrapping_add(ticks);
        if !in_c0 {
            return 0;
        }
        let exact = u128::from(ticks) * u128::from(self.core_cycles) + u128::from(self.rest);
        self.rest = (exact % u128::from(self.per_ticks)) as u64;
        let cycles = (exact / u128::from(self.per_ticks)) as u64;
        self.aperf = self.aperf.wrapping_add(cycles);
        self.mperf = self.mperf.wrapping_add(ticks);
        cycles
    }

    /// Two registers are given other values: what they miss meanwhile, the host's account loses.
    const fn switch(&mut self, costs: &AperfCosts) {
        self.lost = self.lost.wrapping_add(costs.lost_by_write);
    }
}

/// A guest's registers. Times are ticks of the host's TSC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestClock {
    /// How it gets its values.
    pub design: Design,
    /// Multiplier of the TSC, 48 fraction bits.
    pub multiplier: u64,
    costs: AperfCosts,
    aperf: u64,
    mperf: u64,
    /// Ticks in C0 since MPERF was last written, in the host's rate.
    c0_ticks: u64,
    /// The virtual TSC, likewise from ticks.
    tsc_base: u64,
    tsc_ticks: u64,
    /// IA32_TSC_ADJUST: what the guest moved its TSC by.
    tsc_adjust: u64,
    in_c0: bool,
    residence: Residence,
    /// Cycles that its reads and switches cost so far.
    pub cost: u64,
    /// Cycles that each of its registers lost to being written.
    pub lost: u64,
}

/// No scaling.
pub const UNSCALED: u64 = 1 << 48;

/// What migration carries. MPERF is a value of its own: it is not computed from the TSC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedClock {
    /// 1.
    pub version: u32,
    /// Virtual MPERF.
    pub mperf: u64,
    /// Virtual APERF.
    pub aperf: u64,
    /// Virtual TSC, with IA32_TSC_ADJUST in it.
    pub tsc: u64,
    /// IA32_TSC_ADJUST.
    pub tsc_adjust: u64,
    /// Not halted.
    pub in_c0: bool,
    /// Host time at which it was saved, in ticks.
    pub stamp: u64,
}

impl GuestClock {
    /// At zero, descheduled.
    ///
    /// # Errors
    /// [`AperfError::UnsteadyTsc`] on a host without constant and nonstop TSC; [`AperfError::Scaled`] where reads are
    /// direct and the guest's TSC is scaled: MPERF is not.
    pub fn new(design: Design, multiplier: u64, steady_tsc: bool, costs: AperfCosts) -> Result<GuestClock, AperfError> {
        if !steady_tsc {
            return Err(AperfError::UnsteadyTsc);
        }
        if design.reads_directly() && multiplier != UNSCALED {
            return Err(AperfError::Scaled);
        }
        Ok(GuestClock {
            design,
            multiplier,
            costs,
            aperf: 0,
            mperf: 0,
            c0_ticks: 0,
            tsc_base: 0,
            tsc_ticks: 0,
            tsc_adjust: 0,
            in_c0: true,
            residence: Residence::Stolen,
            cost: 0,
            lost: 0,
        })
    }

    fn scaled(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.multiplier)) >> 48) as u64
    }

    /// Time passes with the vCPU in one place. `host` is the CPU under it; it idles while the vCPU is halted.
    pub fn pass(&mut self, host: &mut HostClock, residence: Residence, ticks: u64) {
        self.change_residence(host, residence);
        let cycles = host.pass(ticks, residence != Residence::Halted);
        self.tsc_ticks = self.tsc_ticks.wrapping_add(ticks);
        if residence == Residence::Halted {
            return;
        }
        self.c0_ticks = self.c0_ticks.wrapping_add(ticks);
        let cycles = if matches!(residence, Residence::Guest | Residence::Root) { cycles } else { 0 };
        let (aperf, aperf_wrapped) = self.aperf.overflowing_add(cycles);
        let mperf_wrapped = self.mperf.checked_add(self.scaled(self.c0_ticks)).is_none();
        self.aperf = aperf;
        // When one overflows, both start again from zero, so that the ratio stays one of equal times.
        if aperf_wrapped || mperf_wrapped {
            (self.aperf, self.mperf, self.c0_ticks) = (0, 0, 0);
        }
    }

    /// Switches what the design switches.
    fn change_residence(&mut self, host: &mut HostClock, to: Residence) {
        let loaded = |residence| match self.design {
            Design::Switched => matches!(residence, Residence::Guest | Residence::Root),
            Design::SwitchedAtEntry => residence == Residence::Guest,
            Design::UserSpace | Design::Intercept | Design::HostValues => false,
        };
        if loaded(self.residence) != loaded(to) {
            // Two registers are read and two written, each way.
            self.cost += 2 * self.costs.access.rdmsr + 2 * self.costs.access.wrmsr;
            self.lost += self.costs.lost_by_write;
            host.switch(&self.costs);
        }
        self.in_c0 = to != Residence::Halted;
        self.residence = to;
    }

    /// The guest reads one register. Returns its value; what that costs is added up.
    fn read(&mut self, own: u64, hosts: u64) -> u64 {
        self.cost += match self.design {
            Design::UserSpace => self.costs.user_exit,
            Design::Intercept => self.costs.exit,
            Design::Switched | Design::SwitchedAtEntry | Design::HostValues => self.costs.access.rdmsr,
        };
        if self.design == Design::HostValues { hosts } else { own }
    }

    /// RDMSR of IA32_MPERF in the guest.
    pub fn read_mperf(&mut self, host: &HostClock) -> u64 {
        self.read(self.mperf.wrapping_add(self.scaled(self.c0_ticks)), host.mperf)
    }

    /// RDMSR of IA32_APERF in the guest.
    pub fn read_aperf(&mut self, host: &HostClock) -> u64 {
        self.read(self.aperf, host.aperf)
    }

    /// RDTSC in the guest.
    pub fn read_tsc(&self) -> u64 {
        self.tsc_base.wrapping_add(self.scaled(self.tsc_ticks)).wrapping_add(self.tsc_adjust)
    }

    /// WRMSR of IA32_TIME_STAMP_COUNTER in the guest: TSC_ADJUST moves by as much, MPERF not at all.
    pub fn write_tsc(&mut self, value: u64) {
        self.tsc_adjust = self.tsc_adjust.wrapping_add(value.wrapping_sub(self.read_tsc()));
    }

    /// WRMSR of IA32_MPERF in the guest.
    ///
    /// # Errors
    /// [`AperfError::ReadOnly`] where the guest reads the host's.
    pub fn write_mperf(&mut self, value: u64) -> Result<(), AperfError> {
        self.writable()?;
        (self.mperf, self.c0_ticks) = (value, 0);
        Ok(())
    }

    /// WRMSR of IA32_APERF in the guest.
    ///
    /// # Errors
    /// As [`GuestClock::write_mperf`].
    pub fn write_aperf(&mut self, value: u64) -> Result<(), AperfError> {
        self.writable()?;
        self.aperf = value;
        Ok(())
    }

    fn writable(&self) -> Result<(), AperfError> {
        if self.design == Design::HostValues { Err(AperfError::ReadOnly) } else { Ok(()) }
    }

    /// What migration takes along.
    pub fn save(&self, host: &HostClock) -> SavedClock {
        SavedClock {
            version: 1,
            mperf: self.mperf.wrapping_add(self.scaled(self.c0_ticks)),
            aperf: self.aperf,
            tsc: self.read_tsc(),
            tsc_adjust: self.tsc_adjust,
            in_c0: self.in_c0,
            stamp: host.tsc,
        }
    }

    /// Goes on from a saved state. No time is credited for the pause to MPERF or APERF; the TSC is given `tsc_credit`.
    ///
    /// # Errors
    /// [`AperfError::Version`] for another version than 1.
    pub fn restore(&mut self, saved: &SavedClock, tsc_credit: u64) -> Result<(), AperfError> {
        if saved.version != 1 {
            return Err(AperfError::Version(saved.version));
        }
        (self.mperf, self.c0_ticks, self.aperf) = (saved.mperf, 0, saved.aperf);
        self.tsc_adjust = saved.tsc_adjust;
        (self.tsc_base, self.tsc_ticks) = (saved.tsc.wrapping_sub(saved.tsc_adjust).wrapping_add(tsc_credit), 0);
        self.in_c0 = saved.in_c0;
        Ok(())
    }

    /// How far MPERF lags behind the TSC, in guest ticks: what was spent halted, and what migrations paused.
    pub fn drift(&self) -> u64 {
        self.read_tsc().wrapping_sub(self.mperf.wrapping_add(self.scaled(self.c0_ticks)))
    }
}

/// S4's budget: cycles that each read may cost if an overhead of `parts_per_million` is allowed at `hertz`, with
/// `reads` a tick and `ticks` a second. Zero reads cost nothing: `None`.
pub const fn budget_of_a_read(hertz: u64, parts_per_million: u64, ticks: u64, reads: u64) -> Option<u64> {
    (hertz / 1_000_000 * parts_per_million).checked_div(ticks * reads)
}

#[cfg(test)]
mod tests;
