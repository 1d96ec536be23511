//! The perf-based vPMU: behind each guest counter that counts stands a pinned event of the host.
//!
//! The event follows the vCPU's task, excludes the host, and overflows when the guest's counter would. The host's
//! scheduler decides whether it gets a counter, and which: guest counter 0 may sit on general counter 3 ("cross-mapped"),
//! or on none, and then the guest's counter stands still and nobody tells the guest ([`PerfBased::starved`]).
//!
//! A guest's write only marks its counter; the event is made or changed at the next entry, as KVM_REQ_PMU does it.
//!
//! Topdown as the RFC of 2023 had it: the first write to PERF_METRICS turns fixed counter 3 into a group of slots, pinned,
//! and a pseudo event that owns the metrics register; the value is passed through raw, and the two are put back into
//! hardware as a pair. Not modelled: the interrupt of that pair.
//!
//! Source: spec/pmu.md 5.2 and 2.7; linux v7.2 arch/x86/kvm/pmu.c `reprogram_counter`.

use super::guest::GuestRegisters;
use crate::host::attr::{Attr, EventId, Exclude, Target, TaskId};
use crate::host::cell::Privilege;
use crate::host::constraint::{Counter, Counters};
use crate::host::event::{Event, State, VMETRICS};
use crate::host::perf::Perf;
use crate::host::physical::PhysicalCpu;
use crate::host::registers::{MASK, Pmu, Register};

/// The host's side of one guest counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pmc {
    /// Instructions that the hypervisor completed and that are not in the counter yet.
    emulated: u64,
    /// What its event counted of what is in the counter already.
    taken: u64,
    /// Samples of its event that were seen: overflows.
    seen: u64,
    /// What its event was made for.
    made_for: Option<Attr>,
}

/// A perf-based guest's PMU.
#[derive(Clone, Debug)]
pub struct PerfBased {
    /// What the guest wrote; counters without what their events hold.
    pub registers: GuestRegisters,
    task: TaskId,
    general: [Pmc; 8],
    fixed: [Pmc; 4],
    /// Counters to be looked at before the next entry.
    pending: Counters,
    /// The guest wrote PERF_METRICS: fixed counter 3 is a group.
    metrics_mode: bool,
}

/// The host event that a guest counter of a task has. Numbers above 2^31 are kept for these.
pub const fn event_of(task: TaskId, counter: Counter) -> EventId {
    EventId(0x8000_0000 | task.0 << 6 | counter.0 as u32)
}

const SLOTS: Counter = Counter::fixed(3);
const METRICS: Counter = Counter(Counter::METRIC);

impl PerfBased {
    /// With no event yet.
    pub fn new(task: TaskId, registers: GuestRegisters) -> PerfBased {
        let (general, fixed) = ([Pmc::default(); 8], [Pmc::default(); 4]);
        PerfBased { registers, task, general, fixed, pending: Counters::NONE, metrics_mode: false }
    }

    fn pmc(&mut self, counter: Counter) -> &mut Pmc {
        match counter.as_fixed() {
            Some(n) => &mut self.fixed[usize::from(n & 3)],
            None => &mut self.general[usize::from(counter.0 & 7)],
        }
    }

    fn mark(&mut self, counters: Counters) {
        self.pending = self.pending.or(counters.and(self.registers.shape.counters()));
    }

    /// KVM_REQ_PMU is served: what the guest changed is made so.
    pub fn at_entry(&mut self, cpu: &mut PhysicalCpu) {
        let pending = std::mem::take(&mut self.pending);
        pending.iter().for_each(|counter| self.reprogram(cpu, counter));
    }

    fn reprogram(&mut self, cpu: &mut PhysicalCpu, counter: Counter) {
        let event = event_of(self.task, counter);
        let wrapped = self.pause(cpu, counter);
        if wrapped {
            self.registers.overflowed(counter);
        }
        if !self.registers.counts(counter) {
            return;
        }
        if counter == SLOTS && self.metrics_mode {
            return self.resume_metrics(cpu);
        }
        let attr = self.attr(counter);
        let same = self.pmc(counter).made_for == Some(Attr { sample: attr.sample, ..attr });
        if same && cpu.perf.find(event).is_some() {
            cpu.perf.set_period(event, period_to_overflow(self.registers.count(counter)));
            cpu.perf.enable(&mut cpu.pmu, event);
            return;
        }
        cpu.perf.close(&mut cpu.pmu, event);
        let target = Target::Task(self.task, None);
        // What perf refuses leaves a counter that does not count; the guest is not told.
        let made = cpu.perf.open(&mut cpu.pmu, event, Attr { disabled: true, ..attr }, target, None).is_ok();
        *self.pmc(counter) = Pmc { made_for: made.then_some(attr), ..Pmc::default() };
        cpu.perf.set_period(event, period_to_overflow(self.registers.count(counter)));
        cpu.perf.enable(&mut cpu.pmu, event);
    }

    /// What KVM asks of perf for a counter. The period is set apart, for it changes with the counter.
    fn attr(&self, counter: Counter) -> Attr {
        let (user, kernel) = self.registers.rings(counter);
        let exclude = Exclude { user: !user, kernel: !kernel, host: true, idle: true, ..Exclude::default() };
        Attr::raw(self.registers.config(counter)).pinned().excluding(exclude).each(MASK)
    }

    /// Stops a counter's event and takes what it counted into the counter. Returns whether emulation made it wrap.
    fn pause(&mut self, cpu: &mut PhysicalCpu, counter: Counter) -> bool {
        let event = event_of(self.task, counter);
        cpu.perf.disable(&mut cpu.pmu, event);
        if counter == SLOTS && self.metrics_mode {
            return false;
        }
        let counted = cpu.perf.find(event).map_or(0, |event| event.count);
        let pmc = self.pmc(counter);
        let new = counted.wrapping_sub(pmc.taken);
        let emulated = std::mem::take(&mut pmc.emulated);
        pmc.taken = counted;
        let before = self.registers.count(counter).wrapping_add(new) & MASK;
        self.registers.set_count(counter, before.wrapping_add(emulated));
        before + emulated > MASK
    }

    fn resume_metrics(&mut self, cpu: &mut PhysicalCpu) {
        let (leader, sibling) = (event_of(self.task, SLOTS), event_of(self.task, METRICS));
        if cpu.perf.find(sibling).is_none() {
            cpu.perf.close(&mut cpu.pmu, leader);
            let target = Target::Task(self.task, None);
            let attr = Attr { disabled: true, sample: crate::host::attr::Sample::None, ..self.attr(SLOTS) };
            let vmetrics = Attr { pinned: false, disabled: false, config: VMETRICS, ..attr };
            let made = cpu.perf.open(&mut cpu.pmu, leader, attr, target, None);
            // A group that perf refuses leaves the pair standing still.
            if made.and_then(|()| cpu.perf.open(&mut cpu.pmu, sibling, vmetrics, target, Some(leader))).is_err() {
                return;
            }
            cpu.perf.set_pair(leader, sibling, self.registers.count(SLOTS), self.registers.metrics);
        }
        cpu.perf.enable(&mut cpu.pmu, leader);
    }

    /// The pair's values as they are now, brought into the registers.
    fn read_pair(&mut self, cpu: &mut PhysicalCpu) {
        let (leader, sibling) = (event_of(self.task, SLOTS), event_of(self.task, METRICS));
        cpu.perf.update(&mut cpu.pmu, sibling);
        cpu.perf.update(&mut cpu.pmu, leader);
        if let Some((slots, metrics)) = cpu.perf.pair(leader, sibling) {
            self.registers.set_count(SLOTS, slots);
            self.registers.metrics = metrics;
        }
    }

    /// The guest reads.
    pub fn read(&mut self, cpu: &mut PhysicalCpu, register: Register) -> u64 {
        match register {
            Register::Count(SLOTS) | Register::Metrics if self.metrics_mode => {
                self.read_pair(cpu);
                self.registers.kept(register)
            }
            Register::Count(counter) => {
                let event = event_of(self.task, counter);
                cpu.perf.update(&mut cpu.pmu, event);
                let counted = cpu.perf.find(event).map_or(0, |event| event.count);
                let pmc = *self.pmc(counter);
                let since = counted.wrapping_sub(pmc.taken).wrapping_add(pmc.emulated);
                self.registers.count(counter).wrapping_add(since) & MASK
            }
            other => self.registers.kept(other),
        }
    }

    /// A counter as the guest would read it, its event found by `find` and read from `pmu` while it is on.
    pub fn peek<'a>(&self, find: impl Fn(EventId) -> Option<&'a Event>, pmu: Option<&Pmu>, counter: Counter) -> u64 {
        let event = find(event_of(self.task, counter));
        let live = event.zip(pmu).and_then(|(event, pmu)| {
            Some(pmu.peek(Register::Count(event.counter?)).wrapping_sub(event.previous) & MASK)
        });
        if counter == SLOTS && self.metrics_mode {
            return event.map_or(0, |event| event.count.wrapping_add(live.unwrap_or(0)) & MASK);
        }
        let pmc = match counter.as_fixed() {
            Some(n) => self.fixed[usize::from(n & 3)],
            None => self.general[usize::from(counter.0 & 7)],
        };
        let counted = event.map_or(0, |event| event.count).wrapping_sub(pmc.taken);
        let since = counted.wrapping_add(live.unwrap_or(0)).wrapping_add(pmc.emulated);
        self.registers.count(counter).wrapping_add(since) & MASK
    }

    /// PERF_METRICS as the guest would read it while its vCPU runs.
    pub fn peek_metrics(&self, perf: &Perf, pmu: &Pmu) -> u64 {
        let event = perf.find(event_of(self.task, METRICS));
        let on = event.is_some_and(|event| event.counter.is_some());
        if on { pmu.peek(Register::Metrics) } else { event.map_or(self.registers.metrics, |event| event.metrics) }
    }

    /// The guest writes. The value was checked.
    pub fn write(&mut self, cpu: &mut PhysicalCpu, register: Register, value: u64) {
        match register {
            Register::Count(SLOTS) | Register::Metrics if self.metrics_mode || register == Register::Metrics => {
                self.write_pair(cpu, register, value);
            }
            Register::Count(counter) => {
                self.pause(cpu, counter);
                self.registers.set_count(counter, value);
                self.mark(Counters::only(counter));
            }
            Register::Selector(n) => {
                self.mark(Counters::only(Counter::general(n)));
                self.registers.keep(register, value);
            }
            Register::FixedControl => {
                let changed = self.registers.fixed_control ^ value;
                let counters = (0..4).filter(|n| changed >> (4 * n) & 0xf != 0);
                let bits = counters.fold(0, |bits, n| bits | Counter::fixed(n).bit());
                self.registers.keep(register, value);
                self.mark(Counters(bits));
            }
            Register::GlobalControl => {
                self.mark(Counters(self.registers.global_control ^ value));
                self.registers.keep(register, value);
            }
            other => self.registers.keep(other, value),
        }
    }

    fn write_pair(&mut self, cpu: &mut PhysicalCpu, register: Register, value: u64) {
        if self.metrics_mode {
            cpu.perf.disable(&mut cpu.pmu, event_of(self.task, SLOTS));
            self.read_pair(cpu);
        } else {
            self.pause(cpu, SLOTS);
            self.metrics_mode = true;
        }
        self.registers.keep(register, value);
        if register != Register::Metrics {
            self.registers.metrics = 0;
        }
        let (leader, sibling) = (event_of(self.task, SLOTS), event_of(self.task, METRICS));
        cpu.perf.set_pair(leader, sibling, self.registers.count(SLOTS), self.registers.metrics);
        self.mark(Counters::only(SLOTS));
    }

    /// The host's PMI handler ran: events that took a sample stand for counters that overflowed.
    pub fn after_overflow(&mut self, cpu: &mut PhysicalCpu) {
        for counter in self.registers.shape.counters().iter() {
            let samples = cpu.perf.find(event_of(self.task, counter)).map_or(0, |event| event.samples);
            if samples > self.pmc(counter).seen {
                self.pmc(counter).seen = samples;
                self.registers.overflowed(counter);
                // The next overflow is a whole turn away, not a period.
                self.mark(Counters::only(counter));
            }
        }
    }

    /// An instruction completed for the guest. The counter takes it at the next entry.
    pub fn emulate(&mut self, ring: Privilege, branch: bool) {
        for counter in self.registers.counters_of_emulated(ring, branch).iter() {
            self.pmc(counter).emulated += 1;
            self.mark(Counters::only(counter));
        }
    }

    /// Counters that should count and whose event is not on.
    pub fn starved(&self, perf: &Perf) -> Counters {
        let off = |counter: &Counter| {
            let event = perf.find(event_of(self.task, *counter));
            !self.pending.holds(*counter) && event.is_none_or(|event| event.state != State::Active)
        };
        let counters = self.registers.counting().iter().filter(off);
        counters.fold(Counters::NONE, |set, counter| set.or(Counters::only(counter)))
    }

    /// The hardware counter behind a guest's.
    pub fn backing(&self, perf: &Perf, counter: Counter) -> Option<Counter> {
        perf.find(event_of(self.task, counter))?.counter
    }
}

/// What a counter lacks to its overflow: the whole turn at zero.
const fn period_to_overflow(count: u64) -> u64 {
    MASK + 1 - (count & MASK)
}
