//! What the scheduler decided, written to the PMU; what the PMU counted, brought back into events.
//!
//! Accesses are made as Linux makes them: the PMU is off while it is changed, a counter is read with RDPMC, and one that
//! nobody moved is not touched. An event's ring bits go into its selector; its world bits into [`Perf::control`], of
//! which the core loads one value at VM entry and the other at VM exit.
//!
//! Source: spec/pmu.md 2.6, 5.2; linux v7.2 arch/x86/events/core.c (`x86_pmu_enable`, `x86_perf_event_set_period`),
//! intel/core.c (`intel_guest_get_msrs`, `intel_update_topdown_event`), kernel/events/core.c (`perf_adjust_period`).

use super::super::cell::World;
use super::super::event::VMETRICS;
use super::super::registers::{EN, ENCODING, INT, MASK, METRICS_BIT, OS, Register, USR};
use super::*;

impl Perf {
    /// `IA32_PERF_GLOBAL_CTRL` as host events want it in a world.
    pub fn control(&self, world: World) -> u64 {
        if self.guest_loaded {
            return 0;
        }
        self.on().fold(0, |bits, (counter, event)| {
            let excluded = if world == World::Host { event.attr.exclude.host } else { event.attr.exclude.guest };
            let bit = if counter.as_metric().is_some() { METRICS_BIT } else { counter.bit() };
            if excluded { bits } else { bits | bit }
        })
    }

    /// Takes events off the PMU and leaves all others where they are.
    pub(super) fn off(&mut self, pmu: &mut Pmu, goes: impl Fn(&Event) -> bool) {
        let stays = |id: &EventId| self.find(*id).is_some_and(|event| !goes(event));
        let plan: Vec<EventId> = self.on.iter().copied().filter(stays).collect();
        let given: Vec<Counter> = plan.iter().filter_map(|id| self.find(*id)?.counter).collect();
        self.commit(pmu, &plan, &given);
    }

    /// Makes it so that `plan` is on, with the counters of `given` for its hardware events, in order.
    pub(super) fn commit(&mut self, pmu: &mut Pmu, plan: &[EventId], given: &[Counter]) {
        let mut given = given.iter().copied();
        let mut place = |id: &EventId| {
            let hardware = self.find(*id).is_some_and(|event| !event.counters.is_empty());
            (*id, if hardware { given.next() } else { None })
        };
        let wanted: Vec<(EventId, Option<Counter>)> = plan.iter().map(&mut place).collect();
        let moved = |(id, counter): &&(EventId, Option<Counter>)| {
            self.find(*id).is_some_and(|event| event.counter != *counter || event.state != State::Active)
        };
        let starting: Vec<(EventId, Option<Counter>)> = wanted.iter().filter(moved).copied().collect();
        let stays = |id: &EventId| plan.contains(id) && !starting.iter().any(|(other, _)| other == id);
        let stopping: Vec<EventId> = self.on.iter().copied().filter(|id| !stays(id)).collect();
        let control = self.control(World::Host);
        if starting.is_empty() && stopping.is_empty() && pmu.peek(Register::GlobalControl) == control {
            return;
        }
        if pmu.peek(Register::GlobalControl) != 0 {
            pmu.wrmsr(Register::GlobalControl, 0);
        }
        let fixed = pmu.peek(Register::FixedControl);
        stopping.iter().for_each(|id| self.stop(pmu, *id));
        self.on = plan.to_vec();
        starting.iter().for_each(|(id, counter)| self.start(pmu, *id, *counter));
        let fixed_now = self.fixed_control();
        if fixed_now != fixed && !self.guest_loaded {
            pmu.wrmsr(Register::FixedControl, fixed_now);
        } else if fixed_now != fixed {
            pmu.wrmsr(Register::FixedControl, 0);
        }
        if self.control(World::Host) != 0 {
            pmu.wrmsr(Register::GlobalControl, self.control(World::Host));
        }
    }

    /// Whether an event that is on counts nothing for now: it was throttled, or the idle task runs and it excludes that.
    fn is_stopped(&self, event: &Event) -> bool {
        event.throttled || (self.idle && event.attr.exclude.idle)
    }

    /// The idle task begins to run or ends: by software, which stops what excludes it and lets it go on.
    pub fn set_idle(&mut self, pmu: &mut Pmu, idle: bool) {
        if std::mem::replace(&mut self.idle, idle) == idle {
            return;
        }
        for at in 0..self.on.len() {
            let id = self.on[at];
            let excludes = |event: &&Event| event.attr.exclude.idle && !event.throttled;
            if let Some(counter) = self.find(id).filter(excludes).and_then(|event| event.counter) {
                self.reselect(pmu, id, counter);
            }
        }
    }

    fn fixed_control(&self) -> u64 {
        self.on().filter(|(_, event)| !self.is_stopped(event)).fold(0, |value, (counter, event)| {
            match counter.as_fixed() {
                Some(n) => value | fixed_field(event) << (4 * n),
                None => value,
            }
        })
    }

    fn start(&mut self, pmu: &mut Pmu, id: EventId, counter: Option<Counter>) {
        let owns_metrics = self.owns_metrics(id);
        let Some(event) = self.find_mut(id) else { return };
        event.state = State::Active;
        // Scheduled in anew, it may have missed the tick that would have let it go on.
        if event.throttled {
            (event.throttled, event.samples_in_tick) = (false, 0);
        }
        (event.counter, event.last) = (counter, counter.or(event.last));
        let Some(counter) = counter else { return };
        if counter.as_metric().is_some() {
            if event.config == Some(VMETRICS) {
                pmu.wrmsr(Register::Metrics, event.metrics);
            }
            return;
        }
        // The slots that a guest's metrics are shares of go on where they stopped.
        let from = if owns_metrics { event.count } else { event.left.wrapping_neg() };
        event.previous = from & MASK;
        pmu.wrmsr(Register::Count(counter), event.previous);
        let selected = selector(event);
        if counter.is_general() && !self.find(id).is_some_and(|event| self.is_stopped(event)) {
            pmu.wrmsr(Register::Selector(counter.0), selected);
        }
    }

    /// Whether a group led by the event reads PERF_METRICS raw, for a guest.
    fn owns_metrics(&self, id: EventId) -> bool {
        let contexts = [Some(&self.context), self.task.as_ref().map(|(_, context)| context)];
        let mut events = contexts.into_iter().flatten().flat_map(|context| &context.events);
        events.any(|event| event.leader == id && event.config == Some(VMETRICS))
    }

    fn stop(&mut self, pmu: &mut Pmu, id: EventId) {
        self.update(pmu, id);
        let Some(event) = self.find_mut(id) else { return };
        if let Some(counter) = event.counter.take()
            && counter.is_general()
        {
            pmu.wrmsr(Register::Selector(counter.0), 0);
        }
        event.state = event.state.min(State::Inactive);
    }

    /// Brings what was counted since the last update into the event.
    pub fn update(&mut self, pmu: &mut Pmu, id: EventId) {
        let Some(event) = self.find(id) else { return };
        let (leader, metric, vmetrics) = (event.leader, event.is_metric(), event.config == Some(VMETRICS));
        let Some(counter) = event.counter else { return };
        if vmetrics {
            let metrics = pmu.rdmsr(Register::Metrics);
            self.change(id, |event| event.metrics = metrics);
        } else if metric || self.leads_metrics(id) {
            self.fold_metrics(pmu, leader);
        } else {
            let now = pmu.rdpmc(counter);
            self.change(id, |event| {
                let counted = now.wrapping_sub(event.previous) & MASK;
                event.count = event.count.wrapping_add(counted);
                event.previous = now;
                // Zero is where it overflows, so what is left is what the counter lacks.
                event.left = if event.period == 0 { 0 } else { now.wrapping_neg() & MASK };
            });
        }
    }

    fn change(&mut self, id: EventId, how: impl FnOnce(&mut Event)) {
        if let Some(event) = self.find_mut(id) {
            how(event);
        }
    }

    fn leads_metrics(&self, id: EventId) -> bool {
        self.on().any(|(_, event)| event.leader == id && event.is_metric())
    }

    /// Slots and metrics are read together, shared out, and both cleared, fixed counter 3 first.
    fn fold_metrics(&mut self, pmu: &mut Pmu, leader: EventId) {
        let Some(counter) = self.find(leader).and_then(|event| event.counter) else { return };
        let now = pmu.rdpmc(counter);
        let previous = self.find(leader).map_or(0, |event| event.previous);
        let slots = now.wrapping_sub(previous) & MASK;
        if slots == 0 {
            return;
        }
        pmu.traffic.rdpmc += 1;
        let metrics = pmu.peek(Register::Metrics);
        for at in 0..self.on.len() {
            self.change(self.on[at], |event| {
                let field = event.counter.and_then(Counter::as_metric).filter(|_| event.leader == leader);
                let share = field.map_or(0, |n| u128::from(slots) * u128::from(metrics >> (8 * n) & 0xff) / 255);
                event.count = event.count.wrapping_add(share as u64);
            });
        }
        self.change(leader, |event| {
            event.count = event.count.wrapping_add(slots);
            event.previous = 0;
        });
        pmu.wrmsr(Register::Count(counter), 0);
        pmu.wrmsr(Register::Metrics, 0);
    }

    /// The PMI's handler: events of the counters that overflowed take their samples and go on.
    pub fn overflow(&mut self, pmu: &mut Pmu, asking: Counters) {
        pmu.traffic.rdmsr += 1;
        let status = pmu.peek(Register::GlobalStatus);
        if status != 0 {
            pmu.wrmsr(Register::StatusReset, status);
        }
        for counter in asking.iter() {
            let id = self.on().find(|(on, _)| *on == counter).map(|(_, event)| event.id);
            if let Some(id) = id {
                self.sample(pmu, id, counter);
            }
        }
    }

    fn sample(&mut self, pmu: &mut Pmu, id: EventId, counter: Counter) {
        let (most, second) = (self.max_samples_per_tick, self.cycles_per_second);
        let now = pmu.rdpmc(counter);
        let Some(event) = self.find_mut(id).filter(|event| event.period != 0) else { return };
        event.count = event.count.wrapping_add(now.wrapping_sub(event.previous) & MASK);
        // Past zero by more than a period, it would have sampled more than once; a guest's counter, or an event with a
        // frequency, would have been given its next period at the first.
        let frequency = matches!(event.attr.sample, Sample::Frequency(_));
        let taken = if event.backs_guest || frequency { 1 } else { 1 + now / event.period };
        if frequency {
            let cycles = event.running.wrapping_sub(event.running_at_sample);
            event.running_at_sample = event.running;
            adapt(event, event.period, cycles, second);
        }
        event.samples = event.samples.wrapping_add(taken);
        event.samples_in_tick = event.samples_in_tick.saturating_add(taken.min(u64::from(u32::MAX)) as u32);
        event.left = event.period - now % event.period;
        event.previous = event.left.wrapping_neg() & MASK;
        pmu.wrmsr(Register::Count(counter), event.previous);
        if event.samples_in_tick > most {
            event.throttled = true;
            event.throttles += 1;
            self.reselect(pmu, id, counter);
        }
    }

    /// Writes an event's selector anew: to zero where it is stopped.
    fn reselect(&mut self, pmu: &mut Pmu, id: EventId, counter: Counter) {
        let Some(event) = self.find(id) else { return };
        if counter.is_general() {
            pmu.wrmsr(Register::Selector(counter.0), if self.is_stopped(event) { 0 } else { selector(event) });
        } else {
            pmu.wrmsr(Register::FixedControl, self.fixed_control());
        }
    }

    /// Another period, from now, for an event that is off and stands behind a guest's counter.
    pub fn set_period(&mut self, id: EventId, period: u64) {
        self.change(id, |event| (event.period, event.left, event.backs_guest) = (period, period, true));
    }

    /// What a guest's pair of slots and metrics goes on from.
    pub fn set_pair(&mut self, leader: EventId, sibling: EventId, slots: u64, metrics: u64) {
        self.change(leader, |event| event.count = slots);
        self.change(sibling, |event| event.metrics = metrics);
    }

    /// A guest's pair as last updated.
    pub fn pair(&self, leader: EventId, sibling: EventId) -> Option<(u64, u64)> {
        Some((self.find(leader)?.count, self.find(sibling)?.metrics))
    }

    /// The timer tick: throttled events go on, and events with a frequency get nearer to their period. `cycles` went by
    /// since the last tick.
    pub fn tick(&mut self, pmu: &mut Pmu, cycles: u64) {
        let second = self.cycles_per_second;
        for at in 0..self.on.len() {
            let id = self.on[at];
            self.change(id, |event| event.samples_in_tick = 0);
            let Some(event) = self.find(id) else { continue };
            let (throttled, counter) = (event.throttled, event.counter);
            if matches!(event.attr.sample, Sample::Frequency(_)) {
                self.update(pmu, id);
                self.change(id, |event| {
                    let counted = event.count.wrapping_sub(event.count_at_tick);
                    event.count_at_tick = event.count;
                    adapt(event, counted, cycles, second);
                });
                self.set_left(pmu, id);
            }
            if let Some(counter) = counter.filter(|_| throttled) {
                self.change(id, |event| event.throttled = false);
                self.reselect(pmu, id, counter);
            }
        }
    }

    /// The counter is set anew where a shorter period leaves less than it still lacks.
    fn set_left(&mut self, pmu: &mut Pmu, id: EventId) {
        let Some(event) = self.find_mut(id) else { return };
        let Some(counter) = event.counter.filter(|_| event.left > event.period) else { return };
        event.left = event.period;
        event.previous = event.left.wrapping_neg() & MASK;
        pmu.wrmsr(Register::Count(counter), event.previous);
    }
}

/// The period moves an eighth of the way to where it would have given the frequency over the last `cycles`, in which
/// the event counted so much.
fn adapt(event: &mut Event, counted: u64, cycles: u64, cycles_per_second: u64) {
    let Sample::Frequency(hertz) = event.attr.sample else { return };
    if cycles == 0 {
        return;
    }
    let wanted = u128::from(counted) * u128::from(cycles_per_second) / (u128::from(hertz) * u128::from(cycles)).max(1);
    let wanted = wanted.clamp(1, u128::from(MASK >> 1)) as i64;
    let step = wanted - event.period as i64;
    let step = if step >= 0 { step + 7 } else { step - 7 } / 8;
    event.period = (event.period as i64 + step).max(1) as u64;
}

fn rings(event: &Event) -> (bool, bool) {
    (!event.attr.exclude.user, !event.attr.exclude.kernel)
}

fn selector(event: &Event) -> u64 {
    let (user, kernel) = rings(event);
    let rings = if user { USR } else { 0 } | if kernel { OS } else { 0 };
    event.config.unwrap_or(0) & ENCODING | rings | EN | if event.period != 0 { INT } else { 0 }
}

fn fixed_field(event: &Event) -> u64 {
    let (user, kernel) = rings(event);
    u64::from(kernel) | u64::from(user) << 1 | u64::from(event.period != 0) << 3
}
