//! A guest that is really executed: what its processor meets outside, on a CPU of the host.
//!
//! The processor's doors are the exits. Each thing that leaves a guest under VMX comes here, with what the processor has
//! retired by then: the guest's progress is told to the core's PMU first, then the core goes to the host, which does the
//! work that its table says, and back. An access to the PMU goes through the vPMU of the mode.
//!
//! ```text
//!   [`Inside`]  the CPU, the vCPU and this module's state, for the length of a stretch
//!   [`Hosted`]  a vCPU alone on its CPU, for a real run
//! ```
//!
//! The guest does not see the time that its host takes: its TSC is offset by it, so that it executes the same under every
//! mode and every list of host events, but for what it reads from its PMU. The host's clock goes on meanwhile: events are
//! enabled and running for it.
//!
//! An instruction that exits and is completed by the hypervisor is not retired by the core (spec/pmu.md 5.9); it is
//! counted in software, once (5.5.6). An instruction exits once, however often it goes outside: a string of OUTs is one.
//!
//! Not modelled: exits of CPUID, of MSRs other than the PMU's, of the guest's own APIC and its timer (taken to be
//! virtualised by hardware). RDPMC is taken to be the kernel's.

mod access;
pub mod hosted;

pub use hosted::{CounterOutcome, EventOutcome, Guest, HostError, HostEvent, Hosted, Outcome};

use super::attr::{EventId, TaskId};
use super::cell::{Burst, Happening, Privilege, World};
use super::constraint::{Counter, Counters};
use super::exits::{ExitReason, ExitTable};
use super::perf::Perf;
use super::physical::PhysicalCpu;
use super::registers::Pmu;
use super::vpmu::Vcpu;
use crate::catalog::{self, Extra};
use crate::signal::{Signal, Signals};
use crate::{Formula, Now};
use cpu_x86::{Counts, Facts, Ring};

/// What a guest's processor did in a stretch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// What it retired, and its clock's ticks.
    pub counts: Counts,
    /// What was observed; `None`: nothing.
    pub signals: Option<Signals>,
}

fn minus(now: &Facts, before: &Facts) -> Facts {
    Facts {
        instructions: now.instructions.wrapping_sub(before.instructions),
        branches: now.branches.wrapping_sub(before.branches),
        conditional: now.conditional.wrapping_sub(before.conditional),
        rested: [0, 1].map(|n| now.rested[n].wrapping_sub(before.rested[n])),
    }
}

/// The formula of a happening, by its encoding.
fn formula(kind: Happening) -> Option<Formula> {
    match kind {
        Happening::FetchLatency => Some(Formula::of(crate::Fact::Seen(Signal::SlotsFetchLatency))),
        other => catalog::programmed(other.config(), &Extra::default()).formula,
    }
}

impl Gone {
    fn since(now: Now<'_>, before: &Counts, signals_before: &Signals) -> Gone {
        let counts = Counts {
            kernel: minus(&now.counts.kernel, &before.kernel),
            user: minus(&now.counts.user, &before.user),
            cycles: now.counts.cycles.wrapping_sub(before.cycles),
            clock: now.counts.clock.wrapping_sub(before.clock),
            user_waits: now.counts.user_waits.wrapping_sub(before.user_waits),
            pace: now.counts.pace,
        };
        let moved = now.signals.filter(|signals| *signals != signals_before);
        let signals = moved.map(|now| {
            let mut gone = Signals::default();
            for (ring, s) in
                [Ring::Kernel, Ring::User].into_iter().flat_map(|r| Signal::ALL.iter().map(move |s| (r, *s)))
            {
                gone.of_mut(ring)[s] = now.of(ring)[s].wrapping_sub(signals_before.of(ring)[s]);
            }
            gone
        });
        Gone { counts, signals }
    }

    /// Instructions in both rings.
    pub const fn instructions(&self) -> u64 {
        self.counts.kernel.instructions.wrapping_add(self.counts.user.instructions)
    }

    /// As happenings, in a ring.
    pub fn burst(&self, privilege: Privilege) -> Burst {
        let now = Now { counts: &self.counts, signals: self.signals.as_ref() };
        let ring = if privilege == Privilege::User { Ring::User } else { Ring::Kernel };
        let mut burst = Burst::default();
        for kind in Happening::ALL {
            burst[*kind] = formula(*kind).map_or(0, |formula| formula.count(now, ring));
        }
        burst
    }

    /// Instructions that the hypervisor completed are no retirement of the core's: at most so many are taken out. Returns
    /// how many were there.
    fn take_out(&mut self, completed: u64) -> u64 {
        let here = completed.min(self.counts.kernel.instructions);
        self.counts.kernel.instructions -= here;
        self.counts.cycles = self.counts.cycles.saturating_sub(here);
        here
    }
}

/// A guest's machine, in a scenario.
pub trait Execution {
    /// Runs on for so many ticks of the guest's clock, or less. The processor's doors are those of `inside`.
    fn run(&mut self, inside: &mut Inside<'_>, ticks: u64) -> Ran;
    /// A counter as it would be if the guest were alone.
    fn alone(&self, counter: Counter) -> u64;
}

/// How a stretch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It may go on.
    On,
    /// It is in HLT; after so many ticks of its clock something wakes it; `None`: nothing will.
    Halted(Option<u64>),
    /// It has ended, in words.
    Ended(String),
}

/// What is kept of a guest between stretches.
#[derive(Clone, Debug)]
pub struct Live {
    /// What exits cost.
    pub exits: ExitTable,
    /// Ticks of the clock from tick to tick of the host; 0: none.
    pub tick: u64,
    /// Exits so far, by reason.
    pub by_reason: [u64; 10],
    /// Instructions that the hypervisor completed.
    pub completed_so_far: u64,
    /// Counters that the guest ever programmed.
    pub programmed: Counters,
    /// Counters that stood still for want of hardware at some time, and the cycles for which one did.
    pub starved: Counters,
    /// See `starved`.
    pub starved_cycles: u64,
    /// What the vCPU was given and the host did meanwhile, in cycles, since [`Live::take_passed`].
    passed: Passed,
    /// How far the guest had come when the core was last told.
    seen: Counts,
    signals: Signals,
    /// Completed by the hypervisor and not yet in the guest's counts.
    completed: u64,
    /// Instructions retired when the guest exited last.
    exited_at: Option<u64>,
    /// Instructions retired when the guest halted last, HLT included.
    halted_at: Option<u64>,
    /// Its vCPU is in its loop.
    loaded: bool,
    /// Nothing else runs on its CPU: while it is halted, time passes for the host's events.
    has_the_cpu: bool,
    next_tick: u64,
    /// Interrupts of the vPMU that were told.
    pmis: u64,
}

/// Cycles by where they went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// To the guest.
    pub guest: u64,
    /// To the host's kernel, for it.
    pub root: u64,
    /// To its monitor in user space.
    pub user: u64,
}

impl Live {
    /// A guest that has not begun.
    pub fn new(exits: ExitTable, tick: u64) -> Live {
        Live {
            exits,
            tick,
            by_reason: [0; 10],
            completed_so_far: 0,
            programmed: Counters::NONE,
            starved: Counters::NONE,
            starved_cycles: 0,
            passed: Passed::default(),
            seen: Counts::default(),
            signals: Signals::default(),
            completed: 0,
            exited_at: None,
            halted_at: None,
            loaded: false,
            has_the_cpu: true,
            next_tick: tick,
            pmis: 0,
        }
    }

    /// The same for a guest of a scenario, which shares its CPU: whoever runs it schedules it, and keeps the time while it
    /// does not run.
    pub fn sharing(exits: ExitTable) -> Live {
        Live { has_the_cpu: false, ..Live::new(exits, 0) }
    }

    /// The guest's clock when the core was last told.
    pub const fn clock(&self) -> u64 {
        self.seen.clock
    }

    /// Whether its vCPU is in its loop.
    pub fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// Its vCPU was scheduled in or out by somebody else.
    pub fn set_loaded(&mut self, loaded: bool) {
        self.loaded = loaded;
    }

    /// Cycles since this was last asked.
    pub fn take_passed(&mut self) -> Passed {
        std::mem::take(&mut self.passed)
    }
}

/// The guest on its CPU.
pub struct Inside<'a> {
    /// The physical CPU.
    pub cpu: &'a mut PhysicalCpu,
    /// The vCPU.
    pub vcpu: &'a mut Vcpu,
    /// What is kept.
    pub live: &'a mut Live,
}

impl Inside<'_> {
    /// The guest has come to `now`, an instruction boundary.
    pub fn come(&mut self, now: Now<'_>) {
        let mut gone = Gone::since(now, &self.live.seen, &self.live.signals);
        if gone.counts == Counts::default() && gone.signals.is_none() {
            return;
        }
        self.live.seen = *now.counts;
        if let (Some(_), Some(signals)) = (&gone.signals, now.signals) {
            self.live.signals.clone_from(signals);
        }
        // Who shares its CPU keeps the time of its sleep elsewhere; a scenario's core goes as its TSC does.
        let elapsed = if self.live.has_the_cpu { gone.counts.clock } else { gone.counts.cycles };
        let out = gone.take_out(self.live.completed);
        self.live.completed -= out;
        self.cpu.perf.advance(elapsed);
        self.live.passed.guest += elapsed;
        if !self.live.loaded {
            return;
        }
        self.note_starved(gone.counts.cycles);
        let asking = self.cpu.guest_ran(&gone);
        let before = self.vcpu.exits;
        self.vcpu.overflowed(self.cpu, asking);
        self.live.by_reason[ExitReason::Pmi as usize] += self.vcpu.exits - before;
        if self.live.tick != 0 && now.counts.clock >= self.live.next_tick {
            self.host_tick(now.counts.clock);
        }
    }

    fn note_starved(&mut self, cycles: u64) {
        let starved = self.vcpu.starved(self.cpu);
        self.live.starved = self.live.starved.or(starved);
        self.live.starved_cycles += if starved.is_empty() { 0 } else { cycles };
    }

    /// The host's timer tick is due: it interrupts the guest, lets throttled events go on, and rotates.
    fn host_tick(&mut self, clock: u64) {
        let cycles = self.live.tick.saturating_mul(1 + clock.saturating_sub(self.live.next_tick) / self.live.tick);
        self.live.next_tick = self.live.next_tick.saturating_add(cycles);
        self.interrupt(|perf, pmu| {
            perf.tick(pmu, cycles);
            if perf.needs_rotation() {
                perf.rotate(pmu);
            }
        });
    }

    /// The host takes an interrupt on this CPU, and does something with its perf.
    fn interrupt(&mut self, change: impl FnOnce(&mut Perf, &mut Pmu)) {
        self.live.by_reason[ExitReason::ExternalInterrupt as usize] += 1;
        self.vcpu.exit(self.cpu);
        self.vcpu.while_in_loop(self.cpu, false, change);
        let work = self.live.exits.of(ExitReason::ExternalInterrupt).kernel;
        self.kernel_works(&work.burst());
        self.vcpu.enter(self.cpu);
    }

    fn kernel_works(&mut self, work: &Burst) {
        self.cpu.perf.advance(work[Happening::Cycles]);
        self.live.passed.root += work[Happening::Cycles];
        self.cpu.run_host(Privilege::Kernel, work);
    }

    /// An interrupt for the host comes while the guest runs; while it does not, its exit has happened already.
    pub fn interrupted(&mut self, now: Now<'_>) {
        self.come(now);
        if self.live.loaded {
            self.interrupt(|_, _| {});
        }
    }

    /// The instruction at `now` exits. `completes`: the hypervisor or its monitor does it for the guest.
    pub fn exit(&mut self, reason: ExitReason, completes: bool, now: Now<'_>) {
        self.come(now);
        self.wake();
        let at = now.counts.kernel.instructions.wrapping_add(now.counts.user.instructions);
        if self.live.exited_at.replace(at) == Some(at) {
            return;
        }
        self.live.by_reason[reason as usize] += 1;
        let cost = self.live.exits.of(reason);
        let (kernel, emulated) = (cost.kernel.burst(), completes.then_some(Privilege::Kernel));
        self.count_completed(completes);
        let user = cost.user.cycles != 0;
        if cost.fast && !user && self.vcpu.fast_exit(self.cpu, emulated, &kernel) {
            self.cpu.perf.advance(cost.kernel.cycles);
            self.live.passed.root += cost.kernel.cycles;
            return;
        }
        self.vcpu.exit(self.cpu);
        self.kernel_works(&kernel);
        if let Some(ring) = emulated {
            self.vcpu.emulate(self.cpu, ring, false);
        }
        if user {
            self.vcpu.to_user_space(self.cpu);
            self.cpu.perf.advance(cost.user.cycles);
            self.live.passed.user += cost.user.cycles;
            self.cpu.run_host(Privilege::User, &cost.user.burst());
            self.vcpu.from_user_space(self.cpu);
        }
        self.vcpu.enter(self.cpu);
    }

    fn count_completed(&mut self, completes: bool) {
        self.live.completed += u64::from(completes);
        self.live.completed_so_far += u64::from(completes);
    }

    /// The guest is in HLT, which it has retired: its task leaves the CPU.
    pub fn halt(&mut self, now: Now<'_>) {
        let at = now.counts.kernel.instructions.wrapping_add(now.counts.user.instructions);
        if self.live.halted_at.replace(at) == Some(at) || !self.live.loaded {
            // It was scheduled in, and nothing has woken it.
            self.come(now);
            return self.put();
        }
        // HLT is the last instruction that is in its counts.
        self.count_completed(true);
        self.come(now);
        self.live.by_reason[ExitReason::Hlt as usize] += 1;
        self.vcpu.exit(self.cpu);
        self.kernel_works(&self.live.exits.of(ExitReason::Hlt).kernel.burst());
        self.vcpu.emulate(self.cpu, Privilege::Kernel, false);
        self.put();
    }

    /// The vCPU's task leaves the CPU, out of root mode or out of the guest.
    pub fn put(&mut self) {
        if self.live.loaded {
            if self.cpu.world == World::Guest {
                self.vcpu.exit(self.cpu);
            }
            self.vcpu.leave(self.cpu);
            self.live.loaded = false;
        }
    }

    /// The guest is about to run: its task is scheduled in, and the core enters it.
    pub fn wake(&mut self) {
        if !self.live.loaded {
            let (seen, tick) = (self.live.seen.clock, self.live.tick);
            if let Some(missed) =
                seen.saturating_sub(self.live.next_tick).checked_div(tick).filter(|_| seen >= self.live.next_tick)
            {
                // An idle host has no ticks.
                self.live.next_tick = self.live.next_tick.saturating_add((missed + 1).saturating_mul(tick));
            }
            self.vcpu.load(self.cpu);
            self.vcpu.enter(self.cpu);
            self.live.loaded = true;
        }
    }

    /// How many instructions may retire in `ring` before [`Inside::settle`] must be asked.
    pub fn deadline(&mut self, now: Now<'_>, ring: Ring) -> u64 {
        self.come(now);
        self.wake();
        let counter = self.cpu.pmu.as_executed().map_or(u64::MAX, |executed| executed.deadline(ring));
        let tick = self.live.next_tick.saturating_sub(now.counts.clock).max(1);
        counter.min(if self.live.tick == 0 { u64::MAX } else { tick })
    }

    /// The processor stands at an instruction boundary: does the guest's PMU request an interrupt?
    pub fn settle(&mut self, now: Now<'_>) -> bool {
        self.come(now);
        self.requested()
    }

    /// The guest's local APIC masks by itself: the vPMU's own mask stays open.
    fn requested(&mut self) -> bool {
        let Some(registers) = self.vcpu.registers_mut() else { return false };
        registers.lvtpc_masked = false;
        std::mem::replace(&mut self.live.pmis, registers.pmis) != registers.pmis
    }

    /// Does anything that is programmed take a model of the core?
    pub fn wants_structures(&mut self) -> bool {
        self.cpu.pmu.as_executed().is_some_and(|executed| executed.wants_structures())
    }
}

/// The event that a host opens as its `n`th.
const fn event_id(n: usize) -> EventId {
    EventId(n as u32)
}

/// The task of the only vCPU of a CPU.
const TASK: TaskId = TaskId(0);
