//! Who may exist beside whom: VMs with a mediated PMU and events that count guests exclude each other.
//!
//! Both want the counters while a guest runs, and nothing could switch between them. So the first vCPU of a mediated VM
//! is refused while such an event exists, and such an event is refused while such a VM exists. Invariant E5 (and E16):
//! the two numbers are never both above zero.
//!
//! Source: spec/pmu.md 5.5.2; linux v7.2 kernel/events/core.c `perf_create_mediated_pmu`, `mediated_pmu_account_event`.

use super::attr::{Attr, OpenError, Type};
use super::registers::Shape;
use thiserror::Error;

/// What a host offers, as far as a mediated vPMU asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Module parameter `enable_pmu`.
    pub enable_pmu: bool,
    /// Module parameter `enable_mediated_pmu`; off by default.
    pub enable_mediated_pmu: bool,
    /// The PMU has the mediated capability: one kind of core only.
    pub hybrid: bool,
    /// Version of architectural performance monitoring.
    pub version: u32,
    /// PERF_CAPABILITIES.FW_WRITES.
    pub full_width_writes: bool,
    /// VM entry and exit load IA32_PERF_GLOBAL_CTRL.
    pub loads_global_control: bool,
    /// VM exit saves it, or the MSR auto-store list can.
    pub saves_global_control: bool,
}

impl HostFacts {
    /// A Sapphire Rapids host with the parameter set.
    pub const SAPPHIRE_RAPIDS: HostFacts = HostFacts {
        enable_pmu: true,
        enable_mediated_pmu: true,
        hybrid: false,
        version: 5,
        full_width_writes: true,
        loads_global_control: true,
        saves_global_control: true,
    };
}

/// Why a VM has no mediated PMU.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// A module parameter is off.
    #[error("the module parameter {0} is off")]
    Parameter(&'static str),
    /// Hybrid processors have no vPMU.
    #[error("the processor has cores of two kinds")]
    Hybrid,
    /// Below version 4 there is no way to set the status.
    #[error("architectural performance monitoring version {0} is below 4: the status could not be restored")]
    Version(u32),
    /// A feature is missing.
    #[error("the processor lacks {0}")]
    Lacks(&'static str),
    /// The local APIC is user space's: the VM runs without a vPMU.
    #[error("the VM's local APIC is not in the kernel")]
    ApicInUserSpace,
    /// Events exist that count guests.
    #[error("{0} events count guests, such as system-wide ones and the NMI watchdog: they need exclude_guest (EBUSY)")]
    EventsCountGuests(u32),
}

/// Whether the host can do it at all.
///
/// # Errors
/// The first precondition that does not hold.
pub const fn preconditions(host: &HostFacts, guest: Shape, apic_in_kernel: bool) -> Result<(), Refusal> {
    match host {
        HostFacts { enable_pmu: false, .. } => Err(Refusal::Parameter("enable_pmu")),
        HostFacts { enable_mediated_pmu: false, .. } => Err(Refusal::Parameter("enable_mediated_pmu")),
        HostFacts { hybrid: true, .. } => Err(Refusal::Hybrid),
        HostFacts { version: 0..=3, .. } => Err(Refusal::Version(host.version)),
        HostFacts { full_width_writes: false, .. } => Err(Refusal::Lacks("full-width counter writes")),
        HostFacts { loads_global_control: false, .. } => Err(Refusal::Lacks("GLOBAL_CTRL at VM entry and exit")),
        HostFacts { saves_global_control: false, .. } => Err(Refusal::Lacks("saving GLOBAL_CTRL at VM exit")),
        _ if !apic_in_kernel => Err(Refusal::ApicInUserSpace),
        _ if guest.general > 8 || guest.fixed > 4 => Err(Refusal::Lacks("so many counters")),
        _ => Ok(()),
    }
}

/// The two numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// `nr_mediated_pmu_vms`.
    pub mediated_vms: u32,
    /// `nr_include_guest_events`: on a PMU that can be mediated, with exclude_guest 0.
    pub include_guest_events: u32,
}

/// Whether an event is among those that count guests.
pub fn includes_guest(attr: &Attr) -> bool {
    attr.kind != Type::Software && !attr.exclude.guest
}

impl Admission {
    /// perf_create_mediated_pmu, at the first vCPU.
    ///
    /// # Errors
    /// EBUSY while events exist that count guests.
    pub fn create_vm(&mut self) -> Result<(), Refusal> {
        if self.include_guest_events != 0 {
            return Err(Refusal::EventsCountGuests(self.include_guest_events));
        }
        self.mediated_vms += 1;
        Ok(())
    }

    /// perf_release_mediated_pmu.
    pub fn release_vm(&mut self) {
        self.mediated_vms = self.mediated_vms.saturating_sub(1);
    }

    /// An event is about to be opened.
    ///
    /// # Errors
    /// EOPNOTSUPP for one that counts guests while a mediated VM exists.
    pub fn open(&mut self, attr: &Attr) -> Result<(), OpenError> {
        if includes_guest(attr) {
            if self.mediated_vms != 0 {
                return Err(OpenError::MediatedVmExists);
            }
            self.include_guest_events += 1;
        }
        Ok(())
    }

    /// An event was closed, or could not be opened after all.
    pub fn close(&mut self, attr: &Attr) {
        if includes_guest(attr) {
            self.include_guest_events = self.include_guest_events.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::attr::Exclude;
    use crate::host::cell::Happening;

    #[test]
    fn each_precondition_is_asked_for() {
        let good = HostFacts::SAPPHIRE_RAPIDS;
        let ask = |host: HostFacts| preconditions(&host, Shape::THREE_FIXED, true);
        assert_eq!(ask(good), Ok(()));
        assert_eq!(ask(HostFacts { enable_pmu: false, ..good }), Err(Refusal::Parameter("enable_pmu")));
        let off = HostFacts { enable_mediated_pmu: false, ..good };
        assert_eq!(ask(off), Err(Refusal::Parameter("enable_mediated_pmu")));
        assert_eq!(ask(HostFacts { hybrid: true, ..good }), Err(Refusal::Hybrid));
        assert_eq!(ask(HostFacts { version: 3, ..good }), Err(Refusal::Version(3)));
        for host in [
            HostFacts { full_width_writes: false, ..good },
            HostFacts { loads_global_control: false, ..good },
            HostFacts { saves_global_control: false, ..good },
        ] {
            assert!(matches!(ask(host), Err(Refusal::Lacks(_))));
        }
        assert_eq!(preconditions(&good, Shape::THREE_FIXED, false), Err(Refusal::ApicInUserSpace));
    }

    #[test]
    fn the_first_comer_wins() {
        let both = Attr::counting(Happening::Cycles);
        let host_only = both.excluding(Exclude { guest: true, ..Exclude::default() });
        let mut admission = Admission::default();
        admission.open(&both).unwrap();
        assert_eq!(admission.create_vm(), Err(Refusal::EventsCountGuests(1)));
        admission.close(&both);
        admission.create_vm().unwrap();
        assert_eq!(admission.open(&both), Err(OpenError::MediatedVmExists));
        assert_eq!(admission.open(&host_only), Ok(()));
        admission.release_vm();
        assert_eq!(admission.open(&both), Ok(()));
    }
}
