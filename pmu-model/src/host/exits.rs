//! What leaving the guest costs the host: a table by reason, of what the host then executes.
//!
//! An exit is real work of the host: its instructions, cycles, branches and slots are charged to host cells, kernel and
//! user apart, and whoever counts the host counts them. Some exits complete an instruction for the guest, which the
//! guest's counters have to get in software; some are handled without leaving the inner loop ("fast path"), where the
//! PMU need not be switched.
//!
//! Unverified: the numbers are of the order that is usually quoted for current Intel parts (a round trip of some 1500
//! cycles, ten times as much through user space); measure with a loop of the exit in question and set them.

use super::cell::{Burst, Happening};

/// Why a guest is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitReason {
    /// An interrupt for the host.
    ExternalInterrupt,
    /// HLT.
    Hlt,
    /// A port that user space emulates.
    Io,
    /// RDMSR or WRMSR that is intercepted.
    Msr,
    /// RDPMC that is intercepted.
    Rdpmc,
    /// CPUID.
    Cpuid,
    /// An exception that the monitor takes.
    Exception,
    /// A page that is not mapped, or device memory.
    EptViolation,
    /// The preemption timer: the guest's APIC timer.
    PreemptionTimer,
    /// A performance monitoring interrupt.
    Pmi,
}

impl ExitReason {
    /// All of them.
    pub const ALL: [ExitReason; 10] = [
        ExitReason::ExternalInterrupt,
        ExitReason::Hlt,
        ExitReason::Io,
        ExitReason::Msr,
        ExitReason::Rdpmc,
        ExitReason::Cpuid,
        ExitReason::Exception,
        ExitReason::EptViolation,
        ExitReason::PreemptionTimer,
        ExitReason::Pmi,
    ];

    /// What tables and scenario files call it.
    pub const fn name(self) -> &'static str {
        match self {
            ExitReason::ExternalInterrupt => "interrupt",
            ExitReason::Hlt => "hlt",
            ExitReason::Io => "io",
            ExitReason::Msr => "msr",
            ExitReason::Rdpmc => "rdpmc",
            ExitReason::Cpuid => "cpuid",
            ExitReason::Exception => "exception",
            ExitReason::EptViolation => "ept",
            ExitReason::PreemptionTimer => "timer",
            ExitReason::Pmi => "pmi",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<ExitReason> {
        ExitReason::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// What the host executes on one side of its system call boundary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Instructions.
    pub instructions: u64,
    /// Core cycles.
    pub cycles: u64,
    /// Branches, among the instructions.
    pub branches: u64,
    /// Slots used, at most six a cycle.
    pub slots: u64,
}

impl Work {
    /// The same at the `atomic` level of timing, where each instruction takes one cycle of six slots.
    #[must_use]
    pub const fn atomic(self) -> Work {
        let most = self.instructions.saturating_mul(6);
        Work { cycles: self.instructions, slots: if self.slots < most { self.slots } else { most }, ..self }
    }

    /// The same as happenings. Slots that were not used are the back end's.
    pub fn burst(&self) -> Burst {
        let slots = self.cycles.wrapping_mul(6);
        Burst::default()
            .with(Happening::Retired, self.instructions)
            .with(Happening::Cycles, self.cycles)
            .with(Happening::RefCycles, self.cycles)
            .with(Happening::Branches, self.branches)
            .with(Happening::Slots, slots)
            .with(Happening::Retiring, self.slots.min(slots))
            .with(Happening::BackEnd, slots.saturating_sub(self.slots))
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCost {
    /// In the hypervisor.
    pub kernel: Work,
    /// In the virtual machine monitor's process.
    pub user: Work,
    /// The exit completes an instruction for the guest.
    pub emulates: bool,
    /// Handled without leaving the inner loop.
    pub fast: bool,
}

/// The table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitTable([ExitCost; 10]);

impl ExitTable {
    /// The row of a reason.
    pub fn of(&self, reason: ExitReason) -> ExitCost {
        self.0[reason as usize]
    }

    /// The same at the `atomic` level of timing: for guests that are really executed.
    #[must_use]
    pub fn atomic(self) -> ExitTable {
        ExitTable(self.0.map(|cost| ExitCost { kernel: cost.kernel.atomic(), user: cost.user.atomic(), ..cost }))
    }

    /// Replaces a row.
    pub fn set(&mut self, reason: ExitReason, cost: ExitCost) {
        self.0[reason as usize] = cost;
    }
}

const fn work(instructions: u64, cycles: u64, branches: u64, slots: u64) -> Work {
    Work { instructions, cycles, branches, slots }
}

const NOTHING: Work = work(0, 0, 0, 0);

impl Default for ExitTable {
    #[rustfmt::skip] // a row a line
    fn default() -> ExitTable {
        let row = |kernel, user, emulates, fast| ExitCost { kernel, user, emulates, fast };
        ExitTable([
            row(work(1200, 2400, 240, 1500), NOTHING,                      false, false),
            row(work(1500, 3000, 300, 1800), NOTHING,                      true,  false),
            row(work(2500, 5000, 500, 3000), work(3000, 6000, 600, 3600),  true,  false),
            row(work( 800, 1600, 160, 1000), NOTHING,                      true,  true),
            row(work( 700, 1500, 140,  900), NOTHING,                      true,  false),
            row(work( 600, 1300, 120,  800), NOTHING,                      true,  false),
            row(work(1000, 2000, 200, 1200), NOTHING,                      false, false),
            row(work(2000, 4500, 400, 2600), NOTHING,                      false, false),
            row(work( 500, 1200, 100,  700), NOTHING,                      false, true),
            row(work( 900, 1900, 180, 1100), NOTHING,                      false, false),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_and_a_row_that_makes_sense() {
        let table = ExitTable::default();
        for reason in ExitReason::ALL {
            assert_eq!(ExitReason::from_name(reason.name()), Some(reason));
            let cost = table.of(reason);
            for work in [cost.kernel, cost.user] {
                assert!(work.branches <= work.instructions && work.slots <= 6 * work.cycles);
            }
        }
        assert_eq!(ExitReason::from_name("nmi"), None);
    }

    #[test]
    fn slots_are_conserved() {
        let burst = work(100, 50, 10, 120).burst();
        assert_eq!(burst[Happening::Slots], 300);
        assert_eq!(burst[Happening::Retiring] + burst[Happening::BackEnd], 300);
    }

    #[test]
    fn a_row_can_be_replaced() {
        let mut table = ExitTable::default();
        let cost = ExitCost { fast: true, ..table.of(ExitReason::Io) };
        table.set(ExitReason::Io, cost);
        assert_eq!(table.of(ExitReason::Io), cost);
    }
}
