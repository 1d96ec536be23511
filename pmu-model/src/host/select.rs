//! Which PMU a VM gets on a host whose cores differ, and whether it gets one at all.
//!
//! A big and a little cluster have a PMU each. A guest counter is backed by one of them; on a core of the other cluster
//! it silently stands still. S3's answer, as it was merged: user space names the PMU, once, for the whole VM, before the
//! VM runs; from then on a vCPU on a core that this PMU does not cover fails to enter, instead of counting nothing.
//!
//! ```text
//!   DEFAULT(p0) ── select(p) ──► SELECTED(p) ── first run of any vCPU ──► FROZEN(p)
//!                                  │   ▲
//!                                  └───┘ select(q), while no filter is set
//! ```
//!
//! x86 today refuses: on a hybrid processor the vPMU is off. The rules are arm64's, usable for P and E cores.
//!
//! Source: spec/pmu.md 5.8 and 5.7 (KVM_PMU_CAP_DISABLE); linux v7.2 arch/arm64/kvm/pmu-emul.c `kvm_arm_pmu_v3_set_pmu`,
//! Documentation/virt/kvm/devices/vcpu.rst 1.4.

use thiserror::Error;

/// A PMU of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPmu {
    /// Its `type` in sysfs.
    pub id: u32,
    /// Its name there.
    pub name: String,
    /// Bit n: CPU n has it. At most 64 CPUs.
    pub cpus: u64,
    /// General counters.
    pub counters: u32,
}

/// Why an attribute of the vPMU is not set.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SelectError {
    /// No PMU has that id, or initialising lacks its interrupt.
    #[error("no such PMU, or no interrupt is configured (ENXIO)")]
    NoDevice,
    /// This vCPU's PMU is initialised.
    #[error("this vCPU's PMU is initialised already (EBUSY)")]
    Initialised,
    /// A vCPU of the VM has run.
    #[error("a vCPU of this VM has run (EBUSY)")]
    HasRun,
    /// A filter refers to the current PMU.
    #[error("an event filter is set for another PMU (EBUSY)")]
    FilterSet,
    /// Out of range, or no PMU was selected.
    #[error("the number of counters is out of range, or no PMU was selected (EINVAL)")]
    Counters,
    /// The VM has no PMU.
    #[error("the VM has no PMU (ENODEV)")]
    NoPmu,
    /// The capability comes too late.
    #[error("vCPUs exist (EINVAL)")]
    VcpusExist,
}

impl SelectError {
    /// The errno.
    pub const fn errno(self) -> i32 {
        match self {
            SelectError::NoDevice => 6,
            SelectError::Initialised | SelectError::HasRun | SelectError::FilterSet => 16,
            SelectError::NoPmu => 19,
            SelectError::Counters | SelectError::VcpusExist => 22,
        }
    }
}

/// KVM_RUN's answer for a vCPU on a core outside the mask: exit reason FAIL_ENTRY, CPU_UNSUPPORTED.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("entry failed: CPU {cpu} has not the PMU that was selected (CPU_UNSUPPORTED)")]
pub struct FailEntry {
    /// The physical CPU.
    pub cpu: u32,
}

/// A range of events that a filter of arm64's kind allows or denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRange {
    /// The first event.
    pub base: u16,
    /// How many, from there.
    pub events: u16,
    /// Allowed or denied.
    pub allow: bool,
}

/// A VM's choice of PMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmPmu {
    pmus: Vec<HostPmu>,
    current: usize,
    selected: bool,
    filter: Vec<EventRange>,
    has_run: bool,
    /// Bit n: vCPU n's PMU is initialised.
    initialised: u64,
    vcpus: u32,
    disabled: bool,
    counters: u32,
}

impl VmPmu {
    /// A VM made while running on `probed`: its PMU is the default. `None` where no PMU covers that CPU.
    pub fn new(pmus: &[HostPmu], probed: u32) -> Option<VmPmu> {
        let current = pmus.iter().position(|pmu| covers(pmu, probed))?;
        Some(VmPmu {
            counters: pmus[current].counters,
            pmus: pmus.to_vec(),
            current,
            selected: false,
            filter: Vec::new(),
            has_run: false,
            initialised: 0,
            vcpus: 0,
            disabled: false,
        })
    }

    /// The PMU in force.
    pub fn pmu(&self) -> &HostPmu {
        &self.pmus[self.current]
    }

    /// General counters that the guest has.
    pub const fn counters(&self) -> u32 {
        self.counters
    }

    /// KVM_PMU_CAP_DISABLE: the VM has no PMU from now on.
    ///
    /// # Errors
    /// EINVAL once a vCPU exists.
    pub const fn disable(&mut self) -> Result<(), SelectError> {
        if self.vcpus != 0 {
            return Err(SelectError::VcpusExist);
        }
        self.disabled = true;
        Ok(())
    }

    /// Whether the guest has a PMU: if not, every register of it faults and CPUID.0AH is user space's to clear.
    pub const fn has_pmu(&self) -> bool {
        !self.disabled
    }

    /// A vCPU is created. Returns its number.
    pub const fn create_vcpu(&mut self) -> u32 {
        self.vcpus += 1;
        self.vcpus - 1
    }

    /// SET_PMU through a vCPU, for the whole VM. The mask of CPUs and the number of counters become that PMU's.
    ///
    /// # Errors
    /// ENODEV without a PMU; EBUSY if this vCPU's is initialised; ENXIO for an unknown id; EBUSY after the first run, or
    /// if a filter is set and this is another PMU than the current one.
    pub fn select(&mut self, vcpu: u32, id: u32) -> Result<(), SelectError> {
        self.changeable(vcpu)?;
        let wanted = self.pmus.iter().position(|pmu| pmu.id == id).ok_or(SelectError::NoDevice)?;
        if self.has_run {
            return Err(SelectError::HasRun);
        }
        if !self.filter.is_empty() && wanted != self.current {
            return Err(SelectError::FilterSet);
        }
        (self.current, self.selected) = (wanted, true);
        self.counters = self.pmus[wanted].counters;
        Ok(())
    }

    const fn changeable(&self, vcpu: u32) -> Result<(), SelectError> {
        if self.disabled {
            Err(SelectError::NoPmu)
        } else if self.initialised >> (vcpu & 63) & 1 != 0 {
            Err(SelectError::Initialised)
        } else {
            Ok(())
        }
    }

    /// SET_NR_COUNTERS through a vCPU.
    ///
    /// # Errors
    /// As [`VmPmu::select`]; EINVAL unless a PMU was selected and has so many.
    pub fn set_counters(&mut self, vcpu: u32, counters: u32) -> Result<(), SelectError> {
        self.changeable(vcpu)?;
        if self.has_run {
            return Err(SelectError::HasRun);
        }
        if !self.selected || counters > self.pmu().counters {
            return Err(SelectError::Counters);
        }
        self.counters = counters;
        Ok(())
    }

    /// FILTER through a vCPU: the first range decides what happens to events in none. It pins the current PMU.
    ///
    /// # Errors
    /// As [`VmPmu::select`].
    pub fn filter(&mut self, vcpu: u32, range: EventRange) -> Result<(), SelectError> {
        self.changeable(vcpu)?;
        if self.has_run {
            return Err(SelectError::HasRun);
        }
        self.filter.push(range);
        Ok(())
    }

    /// Whether an event may be counted.
    pub fn allows(&self, event: u16) -> bool {
        let Some(first) = self.filter.first() else { return true };
        let holds = |range: &&EventRange| event >= range.base && event - range.base < range.events;
        self.filter.iter().rev().find(holds).map_or(!first.allow, |range| range.allow)
    }

    /// INIT through a vCPU.
    ///
    /// # Errors
    /// EBUSY the second time, ENXIO without an interrupt, ENODEV without a PMU.
    pub fn initialise(&mut self, vcpu: u32, interrupt_configured: bool) -> Result<(), SelectError> {
        self.changeable(vcpu)?;
        if !interrupt_configured {
            return Err(SelectError::NoDevice);
        }
        self.initialised |= 1 << (vcpu & 63);
        Ok(())
    }

    /// A vCPU is about to run on a CPU. Returns whether its counters count there: where nothing was selected, they
    /// silently do not on the other cluster.
    ///
    /// # Errors
    /// [`FailEntry`] where a PMU was selected and the CPU has another.
    pub fn run(&mut self, cpu: u32) -> Result<bool, FailEntry> {
        let covered = covers(self.pmu(), cpu);
        if self.selected && !covered {
            return Err(FailEntry { cpu });
        }
        self.has_run = true;
        Ok(covered && !self.disabled)
    }
}

const fn covers(pmu: &HostPmu, cpu: u32) -> bool {
    cpu < 64 && pmu.cpus >> cpu & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm() -> VmPmu {
        let pmu = |id, name: &str, cpus, counters| HostPmu { id, name: name.to_owned(), cpus, counters };
        let mut vm = VmPmu::new(&[pmu(8, "cpu_core", 0b0011, 8), pmu(9, "cpu_atom", 0b1100, 6)], 0).unwrap();
        vm.create_vcpu();
        vm.create_vcpu();
        vm
    }

    /// E15: every row of the table of errors.
    #[test]
    fn the_table_of_errors_is_complete() {
        let mut fresh = vm();
        assert_eq!(fresh.select(0, 7).map_err(SelectError::errno), Err(6));
        assert_eq!(fresh.set_counters(0, 4), Err(SelectError::Counters), "no PMU was selected");
        assert_eq!(fresh.select(0, 9), Ok(()));
        assert_eq!(fresh.set_counters(0, 7).map_err(SelectError::errno), Err(22));
        assert_eq!(fresh.set_counters(1, 4), Ok(()));
        assert_eq!(fresh.select(1, 9).map(|()| fresh.counters()), Ok(6), "selecting resets the number");
        assert_eq!(fresh.initialise(0, false), Err(SelectError::NoDevice));
        assert_eq!(fresh.initialise(0, true), Ok(()));
        assert_eq!(fresh.initialise(0, true).map_err(SelectError::errno), Err(16));
        assert_eq!(fresh.select(0, 8), Err(SelectError::Initialised));
        assert_eq!(fresh.select(1, 8), Ok(()), "the other vCPU may still choose, for all");
        assert_eq!(fresh.pmu().name, "cpu_core");
        fresh.run(0).unwrap();
        assert_eq!(fresh.select(1, 8), Err(SelectError::HasRun), "even the same one");
        assert_eq!(fresh.set_counters(1, 1), Err(SelectError::HasRun));
        assert_eq!(fresh.filter(1, EventRange { base: 0, events: 1, allow: true }), Err(SelectError::HasRun));
        assert_eq!(fresh.disable().map_err(SelectError::errno), Err(22));
    }

    #[test]
    fn a_filter_pins_the_pmu_and_its_first_range_decides_the_rest() {
        let mut vm = vm();
        vm.filter(0, EventRange { base: 0x10, events: 2, allow: true }).unwrap();
        vm.filter(0, EventRange { base: 0x11, events: 1, allow: false }).unwrap();
        assert_eq!([0x0f, 0x10, 0x11, 0x12].map(|event| vm.allows(event)), [false, true, false, false]);
        assert_eq!(vm.select(0, 9), Err(SelectError::FilterSet));
        assert_eq!(vm.select(0, 8), Ok(()), "the same PMU is allowed");
    }

    #[test]
    fn without_a_choice_counters_stop_on_the_other_cluster_and_with_one_the_entry_fails() {
        let mut silent = vm();
        assert_eq!((silent.run(0), silent.run(2)), (Ok(true), Ok(false)));
        let mut chosen = vm();
        chosen.select(0, 8).unwrap();
        assert_eq!((chosen.run(1), chosen.run(2)), (Ok(true), Err(FailEntry { cpu: 2 })));
        assert!(VmPmu::new(&chosen.pmus, 5).is_none());
    }

    #[test]
    fn a_vm_whose_pmu_is_disabled_has_none() {
        let mut vm = VmPmu::new(&vm().pmus, 0).unwrap();
        vm.disable().unwrap();
        vm.create_vcpu();
        assert!(!vm.has_pmu());
        assert_eq!(vm.select(0, 8).map_err(SelectError::errno), Err(19));
        assert_eq!(vm.run(0), Ok(false));
    }
}
