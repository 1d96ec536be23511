//! A scenario: CPUs, host events, guests, and what happens when; and its run, whose result is plain data.
//!
//! Guests are streams of facts here: so many of each kind in a thousand cycles, by ring, in a program of segments that
//! repeats. The host executes its own work when no guest runs, and what exits cost it. Time is in core cycles, the same
//! on all CPUs.
//!
//! A guest may also be a machine whose instructions are really executed (`live`). Then every CPU of the scenario counts
//! with the unit of `pmu_model`, and all of it runs at the `atomic` level of timing: the host's own work takes a cycle an
//! instruction as well.
//!
//! Nothing is sampled or rounded: counts are exact, and shown beside the truth. The cost of switching PMU state is added
//! up and reported; it takes no time of the timeline, so that two policies see the same one.
//!
//! Source: spec/pmu.md 5; the rates are the scenario's own.

mod guest;
mod report;
mod run;

pub use report::{AperfReport, CounterReport, CpuReport, EventReport, GuestReport, Note, Report, Stay};
pub use run::{run, run_with};

use super::aperf::{AperfCosts, Design};
use super::attr::Attr;
use super::cell::{Burst, Happening, KINDS, Privilege};
use super::exits::{ExitReason, ExitTable};
use super::filter::Permission;
use super::registers::{AccessCosts, Register, Shape};
use super::select::HostPmu;
use super::switch::Policy;
use super::vpmu::Mode;

/// How often each kind happens in a thousand cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates(pub [u64; KINDS]);

impl Rates {
    /// An ordinary program: 1.5 instructions a cycle, every fifth a branch, of which one in fifty is mispredicted.
    pub fn ordinary() -> Rates {
        let of = |kind: &Happening| match kind {
            Happening::Retired => 1500,
            Happening::Cycles | Happening::RefCycles => 1000,
            Happening::Branches => 300,
            Happening::BranchMisses => 6,
            Happening::CacheMisses => 2,
            Happening::Slots => 6000,
            Happening::Retiring => 1800,
            Happening::BadSpeculation => 400,
            Happening::FrontEnd => 1300,
            Happening::BackEnd => 2500,
            Happening::Heavy => 200,
            Happening::Mispredicted => 300,
            Happening::FetchLatency => 800,
            Happening::MemoryBound => 1500,
        };
        let mut rates = [0; KINDS];
        rates.iter_mut().zip(Happening::ALL).for_each(|(rate, kind)| *rate = of(kind));
        Rates(rates)
    }

    /// The same at the `atomic` level of timing: an instruction takes a cycle of six slots.
    #[must_use]
    pub fn atomic(mut self) -> Rates {
        let fixed = [(Happening::Retired, 1), (Happening::Cycles, 1), (Happening::RefCycles, 1), (Happening::Slots, 6)];
        fixed.into_iter().for_each(|(kind, times)| self.0[kind as usize] = 1000 * times);
        self
    }
}

/// A stream of facts: rates, and what is left over from cycles that did not make a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    rates: Rates,
    rest: [u64; KINDS],
}

impl Stream {
    /// With nothing left over.
    pub const fn new(rates: Rates) -> Stream {
        Stream { rates, rest: [0; KINDS] }
    }

    /// What happens in so many cycles. Cutting a stretch in two changes nothing in the sum.
    pub fn take(&mut self, cycles: u64) -> Burst {
        let mut burst = Burst::default();
        for ((n, rest), rate) in burst.0.iter_mut().zip(&mut self.rest).zip(self.rates.0) {
            let all = u128::from(rate) * u128::from(cycles) + u128::from(*rest);
            (*n, *rest) = ((all / 1000) as u64, (all % 1000) as u64);
        }
        burst
    }

    /// The fewest cycles after which some kind reached its limit, at least one.
    pub fn cycles_until(&self, limits: &Burst) -> u64 {
        let cycles = |n: usize| {
            let (limit, rate) = (limits.0[n], self.rates.0[n]);
            let missing = (u128::from(limit) * 1000).saturating_sub(u128::from(self.rest[n]));
            let reachable = limit != u64::MAX && rate != 0;
            if reachable { missing.div_ceil(u128::from(rate)).min(u128::from(u64::MAX)) as u64 } else { u64::MAX }
        };
        (0..KINDS).map(cycles).min().unwrap_or(u64::MAX).max(1)
    }
}

/// A physical CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuSpec {
    /// Its PMU.
    pub shape: Shape,
    /// The host runs its own work whenever no guest does; else it idles.
    pub busy: bool,
    /// While nobody wants it, its idle task polls: it executes the host's kernel, which events may exclude.
    pub idle_polls: bool,
    /// Cycles that a guest runs before somebody else may.
    pub slice: u64,
    /// Cycles that the host's own work takes after each slice; 0: none.
    pub host_turn: u64,
}

/// Whom an event follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Everything on a CPU.
    Cpu(u32),
    /// The task of a guest's vCPU, by the guest's place.
    Guest(usize),
}

/// A host event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSpec {
    /// What tables call it.
    pub name: String,
    /// Its attributes.
    pub attr: Attr,
    /// Whom it follows.
    pub follow: Follow,
    /// Its group's leader, by place.
    pub leader: Option<usize>,
}

/// A part of a guest's program. Each takes at least one cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// It runs in a ring for so many cycles.
    Run(Privilege, u64),
    /// It exits.
    Exit(ExitReason),
    /// HLT, for so many cycles.
    Halt(u64),
    /// It writes a register of its PMU.
    Write(Register, u64),
    /// It reads one, by RDPMC or RDMSR.
    Read(Register, bool),
    /// It reads APERF and MPERF, as its kernel does at each tick.
    ReadAperf,
    /// It unmasks its LVTPC and clears its status: the end of a PMI's handler.
    ServePmi,
}

/// A guest with one vCPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestSpec {
    /// What tables call it.
    pub name: String,
    /// Its PMU.
    pub mode: Mode,
    /// What its PMU has.
    pub shape: Shape,
    /// Its event filter.
    pub permission: Permission,
    /// Where its vCPU runs.
    pub cpu: u32,
    /// Its vCPU's task was forked by that guest's when it started, by place: events that inherit follow it.
    pub thread_of: Option<usize>,
    /// Its local APIC is the kernel's.
    pub apic_in_kernel: bool,
    /// It is a machine that is really executed: [`run_with`] is given one for it. Setup, program and rates say nothing then.
    pub executed: bool,
    /// What it does once at the start.
    pub setup: Vec<Segment>,
    /// What it does then, over and over.
    pub program: Vec<Segment>,
    /// Rates in user and in kernel mode.
    pub rates: [Rates; 2],
    /// How it reads APERF and MPERF, and the multiplier of its TSC.
    pub aperf: Option<(Design, u64)>,
    /// The host's PMU that user space selected for it.
    pub selects: Option<u32>,
}

/// What happens to a scenario from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A guest is created and starts.
    Start(usize),
    /// A guest ends.
    Stop(usize),
    /// An event is opened.
    Open(usize),
    /// An event is closed.
    Close(usize),
    /// An event is enabled.
    Enable(usize),
    /// An event is disabled.
    Disable(usize),
    /// A guest's vCPU goes to another CPU.
    Move(usize, u32),
    /// A guest is migrated to another host: it stands still for so many cycles.
    Migrate(usize, u64),
    /// A guest does something once, as soon as it runs; what takes time of its own is passed over.
    Guest(usize, Segment),
}

/// A scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// What it shows.
    pub title: String,
    /// Cycles of a second.
    pub cycles_per_second: u64,
    /// When it ends.
    pub end: u64,
    /// Cycles from tick to tick of the host; 0: none.
    pub tick: u64,
    /// Cycles from rotation to rotation; 0: none.
    pub rotation: u64,
    /// The CPUs.
    pub cpus: Vec<CpuSpec>,
    /// The host's PMUs, where it has more than one.
    pub pmus: Vec<HostPmu>,
    /// How a mediated guest's state is switched.
    pub policy: Policy,
    /// What exits cost.
    pub exits: ExitTable,
    /// What accesses cost.
    pub access: AccessCosts,
    /// What APERF's designs cost.
    pub aperf: AperfCosts,
    /// Core cycles in a hundred ticks of the TSC.
    pub core_clock_percent: u64,
    /// Rates of the host's own work in user and in kernel mode.
    pub host_rates: [Rates; 2],
    /// The part of the host's own work that is user's, in percent.
    pub host_user_percent: u64,
    /// Host events.
    pub events: Vec<EventSpec>,
    /// Guests.
    pub guests: Vec<GuestSpec>,
    /// What happens when, sorted by time. At equal times in this order.
    pub timeline: Vec<(u64, Action)>,
}

#[cfg(test)]
mod tests;
