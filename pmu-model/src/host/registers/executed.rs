//! The registers over what is really executed: the unit of `pmu_model` itself, of a physical core.
//!
//! What such a core has retired is what its guest executed and what its host did in between, summed. The two are kept
//! apart besides, so that the four cells of any event can be said exactly ([`Executed::cells`]).
//!
//! Of the host's work only what its table names is counted (instructions, branches, cycles, slots), and each of its
//! instructions takes one cycle, as everything does in the `atomic` timing model: user cycles are user instructions there.

use super::Register;
use crate::catalog::{self, Extra};
use crate::host::cell::{Burst, Cell, Cells, Happening, Privilege, World};
use crate::host::constraint::{Counter, Counters};
use crate::host::live::Gone;
use crate::signal::{Signal, Signals};
use crate::{Now, Profile, Unit};
use cpu_x86::{Counts, Facts, Refused, Ring};

/// Sums of what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sums {
    counts: Counts,
    signals: Signals,
}

impl Sums {
    fn now(&self) -> Now<'_> {
        Now { counts: &self.counts, signals: Some(&self.signals) }
    }

    fn facts(&mut self, ring: Ring) -> &mut Facts {
        if ring == Ring::User { &mut self.counts.user } else { &mut self.counts.kernel }
    }

    fn add(&mut self, gone: &Gone) {
        let counts = &gone.counts;
        for (mine, more) in [(&mut self.counts.kernel, counts.kernel), (&mut self.counts.user, counts.user)] {
            mine.instructions = mine.instructions.wrapping_add(more.instructions);
            mine.branches = mine.branches.wrapping_add(more.branches);
            mine.conditional = mine.conditional.wrapping_add(more.conditional);
            mine.rested = [0, 1].map(|n| mine.rested[n].wrapping_add(more.rested[n]));
        }
        self.counts.cycles = self.counts.cycles.wrapping_add(counts.cycles);
        self.counts.user_waits = self.counts.user_waits.wrapping_add(counts.user_waits);
        self.counts.clock = self.counts.clock.wrapping_add(counts.clock);
        self.counts.pace = counts.pace;
        let Some(signals) = &gone.signals else { return };
        for (ring, s) in [Ring::Kernel, Ring::User].into_iter().flat_map(|r| Signal::ALL.iter().map(move |s| (r, *s))) {
            let mine = &mut self.signals.of_mut(ring)[s];
            *mine = mine.wrapping_add(signals.of(ring)[s]);
        }
    }
}

/// The unit of a core, and what the core retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    unit: Unit,
    all: Sums,
    /// By [`World`].
    worlds: [Sums; 2],
}

fn ring(privilege: Privilege) -> Ring {
    if privilege == Privilege::User { Ring::User } else { Ring::Kernel }
}

/// The number of a register's MSR; general counters by their full-width one.
const fn number(register: Register) -> u32 {
    match register {
        Register::Count(counter) => match counter.as_fixed() {
            Some(n) => 0x309 + n as u32,
            None => 0x4c1 + counter.0 as u32,
        },
        Register::Selector(n) => 0x186 + n as u32,
        Register::FixedControl => 0x38d,
        Register::GlobalControl => 0x38f,
        Register::GlobalStatus => 0x38e,
        Register::StatusReset => 0x390,
        Register::StatusSet => 0x391,
        Register::InUse => 0x392,
        Register::Metrics => 0x329,
    }
}

/// What a model of the core would have observed of a host's work: its slots, its mispredicted branches and its misses.
fn told(work: &Burst) -> [(Signal, u64); 11] {
    let part = |whole, part| work[whole].saturating_sub(work[part]);
    [
        (Signal::UopsRetired, work[Happening::Retiring]),
        (Signal::SlotsLight, part(Happening::Retiring, Happening::Heavy)),
        (Signal::SlotsHeavy, work[Happening::Heavy]),
        (Signal::SlotsMispredict, work[Happening::Mispredicted]),
        (Signal::SlotsClear, part(Happening::BadSpeculation, Happening::Mispredicted)),
        (Signal::SlotsFetchLatency, work[Happening::FetchLatency]),
        (Signal::SlotsFetchBandwidth, part(Happening::FrontEnd, Happening::FetchLatency)),
        (Signal::SlotsMemory, work[Happening::MemoryBound]),
        (Signal::SlotsCore, part(Happening::BackEnd, Happening::MemoryBound)),
        (Signal::MispredictedTaken, work[Happening::BranchMisses]),
        (Signal::L3DataMiss, work[Happening::CacheMisses]),
    ]
}

impl Executed {
    /// With nothing enabled: the host's operating system has taken it over.
    pub fn new() -> Executed {
        let mut unit = Unit::new(Profile::SAPPHIRE_RAPIDS);
        unit.poke(number(Register::GlobalControl), 0, &Counts::default());
        let nothing = Sums::default();
        Executed { unit, all: nothing.clone(), worlds: [nothing.clone(), nothing] }
    }

    /// The value of a register.
    pub fn peek(&self, register: Register) -> u64 {
        self.unit.peek(number(register), self.all.now()).unwrap_or(0)
    }

    /// Writes a register, at once.
    pub fn poke(&mut self, register: Register, value: u64) {
        self.unit.poke(number(register), value, self.all.now());
    }

    /// Writes a register by an instruction of the guest, in ring 0: behind it.
    pub fn poke_behind(&mut self, register: Register, value: u64) {
        // Bits that the unit refuses were refused by the guest's own registers before.
        let _ = self.unit.msr_write(number(register), value, self.all.now());
    }

    /// A register that is the guest's alone and refines events: offcore responses, load latency, front end.
    pub fn extra_read(&mut self, msr: u32) -> Option<u64> {
        self.unit.msr_read(msr, self.all.now()).and_then(Result::ok)
    }

    /// The same, written.
    ///
    /// # Errors
    /// A reserved bit.
    pub fn extra_write(&mut self, msr: u32, value: u64) -> Option<Result<(), Refused>> {
        self.unit.msr_write(msr, value, self.all.now())
    }

    /// The guest ran on by so much. Returns the counters that overflowed and ask for an interrupt.
    pub fn guest_ran(&mut self, gone: &Gone) -> Counters {
        for sums in [&mut self.all, &mut self.worlds[World::Guest as usize]] {
            sums.add(gone);
        }
        self.asking()
    }

    /// The host did some work. Returns the counters that overflowed and ask for an interrupt.
    pub fn host_ran(&mut self, privilege: Privilege, work: &Burst) -> Counters {
        for sums in [&mut self.all, &mut self.worlds[World::Host as usize]] {
            let facts = sums.facts(ring(privilege));
            facts.instructions = facts.instructions.wrapping_add(work[Happening::Retired]);
            facts.branches = facts.branches.wrapping_add(work[Happening::Branches]);
            sums.counts.cycles = sums.counts.cycles.wrapping_add(work[Happening::Cycles]);
            sums.counts.clock = sums.counts.clock.wrapping_add(work[Happening::Cycles]);
            let signals = sums.signals.of_mut(ring(privilege));
            told(work).into_iter().for_each(|(s, n)| signals[s] = signals[s].wrapping_add(n));
        }
        self.asking()
    }

    fn asking(&mut self) -> Counters {
        if !self.unit.settle(self.all.now()) {
            return Counters::NONE;
        }
        let status = Counters(self.peek(Register::GlobalStatus)).and(Counters::of(8, 4));
        let asks = |counter: &Counter| match counter.as_fixed() {
            Some(n) => self.peek(Register::FixedControl) >> (4 * n + 3) & 1 != 0,
            None => self.peek(Register::Selector(counter.0)) & super::INT != 0,
        };
        status.iter().filter(asks).fold(Counters::NONE, |set, counter| set.or(Counters::only(counter)))
    }

    /// How many instructions may retire in `ring` from here before the core must be asked: [`Unit::deadline`].
    pub fn deadline(&mut self, ring: Ring) -> u64 {
        self.unit.deadline(self.all.now(), ring)
    }

    /// Does anything that is programmed take a model of the core?
    pub fn wants_structures(&self) -> bool {
        self.unit.wants_structures()
    }

    /// What happened, by cell, of what an event's encoding names; `None` for an event that is not modelled.
    pub fn cells(&self, encoding: u64) -> Option<Cells> {
        let encoding = Happening::of_event(encoding).filter(|_| encoding <= 0xffff).map_or(encoding, Happening::config);
        let formula = catalog::programmed(encoding, &Extra::default()).formula?;
        let mut cells = Cells::default();
        for cell in Cell::ALL {
            cells[cell] = formula.count(self.worlds[cell.world as usize].now(), ring(cell.privilege));
        }
        Some(cells)
    }
}

impl Default for Executed {
    fn default() -> Executed {
        Executed::new()
    }
}
