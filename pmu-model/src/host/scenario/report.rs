//! What a run of a scenario gives: plain data, for tables, JSON and pictures.

use crate::host::aperf::Residence;
use crate::host::cell::{Cells, Happening, Ledger};
use crate::host::constraint::{Counter, Counters};
use crate::host::event::{Reading, State};
use crate::host::exits::ExitReason;
use crate::host::owners::Span;
use crate::host::registers::Traffic;
use crate::host::switch::Switches;

/// Something that went otherwise than asked, or that one should know, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// In cycles.
    pub at: u64,
    /// In words.
    pub text: String,
}

/// A host event at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventReport {
    /// Its name.
    pub name: String,
    /// What it counts; `None` for software's.
    pub kind: Option<Happening>,
    /// What happened of that while it was enabled, where it looked, in each cell.
    pub cells: Cells,
    /// The sum of the cells that its exclude bits leave: what it ought to have counted.
    pub truth: u64,
    /// What it read last.
    pub reading: Option<Reading>,
    /// Its state.
    pub state: Option<State>,
    /// Samples.
    pub samples: u64,
    /// How often it was throttled.
    pub throttles: u64,
}

/// A counter of a guest at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterReport {
    /// Which.
    pub counter: Counter,
    /// What it was set to count; `None` for nothing that is known here.
    pub kind: Option<Happening>,
    /// What a PMU of the guest's own would hold.
    pub truth: u64,
    /// What the guest reads.
    pub seen: u64,
}

/// APERF and MPERF of a guest at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AperfReport {
    /// As the guest reads it.
    pub aperf: u64,
    /// As the guest reads it.
    pub mperf: u64,
    /// As the guest reads it.
    pub tsc: u64,
    /// MPERF behind the TSC.
    pub drift: u64,
    /// Cycles that reads and switches cost.
    pub cost: u64,
    /// Cycles that each of the guest's registers lost.
    pub lost: u64,
    /// Cycles that each of the host's registers lost.
    pub host_lost: u64,
}

/// A guest at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestReport {
    /// Its name.
    pub name: String,
    /// It was created.
    pub created: bool,
    /// Counters that it programmed.
    pub counters: Vec<CounterReport>,
    /// What it did.
    pub did: Ledger,
    /// PERF_METRICS as it reads it, where it has that, and as a PMU of its own would.
    pub metrics: Option<(u64, u64)>,
    /// Exits by reason; the PMU's accesses are among them.
    pub exits: Vec<(ExitReason, u64)>,
    /// Instructions that the hypervisor completed for it, of a guest that is executed.
    pub completed: u64,
    /// Exits that the PMU caused.
    pub pmu_exits: u64,
    /// Interrupts of its counters.
    pub pmis: u64,
    /// Counters that stood still for want of hardware, at some time.
    pub starved: Counters,
    /// Cycles in which some counter did.
    pub starved_cycles: u64,
    /// Its APERF and MPERF.
    pub aperf: Option<AperfReport>,
}

/// A CPU at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuReport {
    /// Its number.
    pub id: u32,
    /// What happened on it.
    pub did: Ledger,
    /// How often PMU state changed hands.
    pub switches: Switches,
    /// Accesses to the PMU, the host's.
    pub traffic: Traffic,
    /// What these cost, in cycles.
    pub cost: u64,
}

/// Where a vCPU was, from a time to a time, in cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// The guest.
    pub guest: usize,
    /// The CPU that its vCPU is assigned to.
    pub cpu: u32,
    /// Where.
    pub place: Residence,
    /// From this cycle on.
    pub from: u64,
    /// Up to, not including, this one.
    pub to: u64,
}

/// The result of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When it ended, in cycles.
    pub end: u64,
    /// Who owned which counter when.
    pub spans: Vec<Span>,
    /// Where each vCPU was when, from its start on, in the order in which they left.
    pub stays: Vec<Stay>,
    /// The host's events.
    pub events: Vec<EventReport>,
    /// The guests.
    pub guests: Vec<GuestReport>,
    /// The CPUs.
    pub cpus: Vec<CpuReport>,
    /// What went otherwise than asked.
    pub notes: Vec<Note>,
}
