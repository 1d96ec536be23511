//! An event that was opened: its state, its times, its count; and the context that holds it.
//!
//! `enabled` runs while the state is INACTIVE or better, `running` while it is ACTIVE. What perf prints for an event that
//! shared its counter is `count * enabled / running`, a guess; what it counted is exact. Both are kept apart.
//!
//! Source: spec/pmu.md 5.4; linux v7.2 kernel/events/core.c, include/linux/perf_event.h.

use super::attr::{Attr, EventId, Sample, Target, TaskId};
use super::constraint::{Counter, Counters, Want, counters_of, is_metric};

/// `perf_event_state`, as far as an event that exists can have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A pinned event that did not get its counter. Disabling and enabling it is the only way out.
    Error = -2,
    /// Not enabled.
    Off = -1,
    /// Enabled, not on a counter.
    Inactive = 0,
    /// On a counter, or software's and counting.
    Active = 1,
}

/// Config of the pseudo event by which a perf-based vPMU owns PERF_METRICS. Source: spec/pmu.md 2.7.
pub const VMETRICS: u64 = 0x1100;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number.
    pub id: EventId,
    /// What was asked.
    pub attr: Attr,
    /// Whom it follows.
    pub target: Target,
    /// The leader of its group: itself, if it leads or stands alone.
    pub leader: EventId,
    /// Its state. A sibling's counts only while its leader is enabled.
    pub state: State,
    /// Where it sits.
    pub counter: Option<Counter>,
    /// Where it sat last.
    pub last: Option<Counter>,
    /// Event select and unit mask; `None` for software's.
    pub config: Option<u64>,
    /// Where it may sit.
    pub counters: Counters,
    /// What it counted, up to the last update.
    pub count: u64,
    /// The counter's value at the last update.
    pub previous: u64,
    /// Happenings until the next sample.
    pub left: u64,
    /// Happenings from sample to sample; 0 where it does not sample.
    pub period: u64,
    /// Samples taken.
    pub samples: u64,
    /// Samples in the current tick.
    pub samples_in_tick: u32,
    /// What it had counted at the last tick: for the frequency.
    pub count_at_tick: u64,
    /// Its time on a counter at the last sample: for the frequency.
    pub running_at_sample: u64,
    /// Stopped until the next tick, for it sampled too often.
    pub throttled: bool,
    /// How often that happened.
    pub throttles: u64,
    /// It stands behind a guest's counter: its owner sets the period anew at each overflow.
    pub backs_guest: bool,
    /// Cycles while enabled.
    pub enabled: u64,
    /// Cycles while on a counter.
    pub running: u64,
    /// PERF_METRICS as last saved, for [`VMETRICS`].
    pub metrics: u64,
}

impl Event {
    /// An event as `perf_event_open` makes it. The attribute was checked.
    pub fn new(id: EventId, attr: Attr, target: Target, leader: EventId) -> Event {
        let period = match attr.sample {
            Sample::None => 0,
            Sample::Period(events) => events,
            // Linux begins with 1 and finds the period within a few ticks; so does this.
            Sample::Frequency(_) => 1,
        };
        let config = attr.hardware_config().ok().flatten();
        let vmetrics = config == Some(VMETRICS);
        Event {
            id,
            attr,
            target,
            leader,
            state: if attr.disabled { State::Off } else { State::Inactive },
            counter: None,
            last: None,
            config,
            counters: if vmetrics { Counters::only(Counter(Counter::METRIC)) } else { counters_of(&attr) },
            count: 0,
            previous: 0,
            left: period,
            period,
            samples: 0,
            samples_in_tick: 0,
            count_at_tick: 0,
            running_at_sample: 0,
            throttled: false,
            throttles: 0,
            backs_guest: false,
            enabled: 0,
            running: 0,
            metrics: 0,
        }
    }

    /// What it wants of the hardware.
    pub fn want(&self) -> Want {
        Want { counters: self.counters, last: self.last }
    }

    /// Whether it leads its group.
    pub fn leads(&self) -> bool {
        self.leader == self.id
    }

    /// Whether it is a topdown metric, read as a share of its leader's slots.
    pub fn is_metric(&self) -> bool {
        self.config.is_some_and(is_metric)
    }

    /// Whether it may count on this CPU at all.
    pub fn follows(&self, cpu: u32) -> bool {
        match self.target {
            Target::Cpu(wanted) | Target::Task(_, Some(wanted)) => wanted == cpu,
            Target::Task(_, None) => true,
        }
    }
}

/// What reading an event gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The event is in error: read returns no bytes.
    EndOfFile,
    /// PERF_FORMAT_TOTAL_TIME_ENABLED | _RUNNING.
    Value {
        /// What was counted, exactly.
        count: u64,
        /// Cycles enabled.
        enabled: u64,
        /// Cycles on a counter.
        running: u64,
    },
}

impl Reading {
    /// What reading an event gives that children inherited: the sums. End of file where the first one is in error.
    pub fn of_family<'a>(mut events: impl Iterator<Item = &'a Event>) -> Option<Reading> {
        let first = Reading::of(events.next()?);
        Some(events.fold(first, |sum, child| match sum {
            Reading::EndOfFile => Reading::EndOfFile,
            Reading::Value { count, enabled, running } => Reading::Value {
                count: count.wrapping_add(child.count),
                enabled: enabled.wrapping_add(child.enabled),
                running: running.wrapping_add(child.running),
            },
        }))
    }

    /// What reading an event gives, its count being up to date.
    pub fn of(event: &Event) -> Reading {
        match event.state {
            State::Error => Reading::EndOfFile,
            _ => Reading::Value { count: event.count, enabled: event.enabled, running: event.running },
        }
    }

    /// What perf prints: the count scaled up to the time enabled, rounded down; `None` for "not counted".
    pub fn scaled(self) -> Option<u64> {
        match self {
            Reading::Value { count, enabled, running } if running != 0 => {
                Some((u128::from(count) * u128::from(enabled) / u128::from(running)) as u64)
            }
            _ => None,
        }
    }

    /// What was counted, exactly; nothing at end of file.
    pub fn exact(self) -> Option<u64> {
        match self {
            Reading::Value { count, .. } => Some(count),
            Reading::EndOfFile => None,
        }
    }
}

/// The events of one CPU or of one task, in two lists of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// All of them.
    pub events: Vec<Event>,
    /// Leaders of pinned groups, in scheduling order.
    pub pinned: Vec<EventId>,
    /// Leaders of flexible groups, in scheduling order: rotation moves the first to the end.
    pub flexible: Vec<EventId>,
    /// A flexible group waits.
    pub rotate_necessary: bool,
}

impl Context {
    /// The event of that number.
    pub fn find(&self, id: EventId) -> Option<&Event> {
        self.events.iter().find(|event| event.id == id)
    }

    /// The event of that number.
    pub fn find_mut(&mut self, id: EventId) -> Option<&mut Event> {
        self.events.iter_mut().find(|event| event.id == id)
    }

    /// The members of a group that are enabled, the leader first: it was opened first.
    pub fn members(&self, leader: EventId) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.leader == leader && event.state > State::Off)
    }

    /// Adds an event to its group or, if it leads, to a list.
    pub fn add(&mut self, event: Event) {
        if event.leads() {
            let list = if event.attr.pinned { &mut self.pinned } else { &mut self.flexible };
            list.push(event.id);
        }
        self.events.push(event);
    }

    /// Takes an event out. Siblings whose leader goes lead themselves from then on, in the leader's list.
    pub fn remove(&mut self, id: EventId) -> Option<Event> {
        let at = self.events.iter().position(|event| event.id == id)?;
        let gone = self.events.remove(at);
        let list = if gone.attr.pinned { &mut self.pinned } else { &mut self.flexible };
        list.retain(|leader| *leader != id);
        for event in self.events.iter_mut().filter(|event| event.leader == id) {
            event.leader = event.id;
            list.push(event.id);
        }
        Some(gone)
    }

    /// The events that a task forked now takes along: those that inherit, from zero, in their groups. A group goes along
    /// as its leader does. Source: linux v7.2 kernel/events/core.c `inherit_event`, `inherit_group`.
    #[must_use]
    pub fn inherited(&self, child: TaskId) -> Context {
        let mut context = Context::default();
        let inherits = |event: &&Event| self.find(event.leader).is_some_and(|leader| leader.attr.inherit);
        for event in self.events.iter().filter(inherits) {
            let target = match event.target {
                Target::Task(_, cpu) => Target::Task(child, cpu),
                other => other,
            };
            let mut own = Event::new(event.id, event.attr, target, event.leader);
            own.state = if event.state <= State::Off { event.state } else { State::Inactive };
            context.add(own);
        }
        context
    }

    /// Time passes. Enabled is a group that its leader lets be.
    pub fn advance(&mut self, cycles: u64) {
        for at in 0..self.events.len() {
            let leader = self.events[at].leader;
            let alive = leader == self.events[at].id || self.find(leader).is_some_and(|l| l.state > State::Off);
            let event = &mut self.events[at];
            if event.state >= State::Inactive && alive {
                event.enabled = event.enabled.wrapping_add(cycles);
            }
            if event.state == State::Active {
                event.running = event.running.wrapping_add(cycles);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::cell::Happening;

    fn event(id: u32, leader: u32) -> Event {
        Event::new(EventId(id), Attr::counting(Happening::Cycles), Target::Cpu(0), EventId(leader))
    }

    #[test]
    fn scaling_is_by_times_and_nothing_is_said_of_what_never_ran() {
        let reading = |count, enabled, running| Reading::Value { count, enabled, running };
        assert_eq!(reading(100, 300, 100).scaled(), Some(300));
        assert_eq!(reading(7, 10, 3).scaled(), Some(23));
        assert_eq!(reading(0, 10, 0).scaled(), None);
        assert_eq!(Reading::EndOfFile.scaled(), None);
    }

    #[test]
    fn siblings_stay_when_their_leader_is_closed() {
        let mut context = Context::default();
        for (id, leader) in [(1, 1), (2, 1), (3, 1)] {
            context.add(event(id, leader));
        }
        assert_eq!(context.flexible, [EventId(1)]);
        assert_eq!(context.remove(EventId(1)).map(|e| e.id), Some(EventId(1)));
        assert_eq!(context.flexible, [EventId(2), EventId(3)]);
        assert!(context.events.iter().all(Event::leads));
    }

    #[test]
    fn a_sibling_is_not_enabled_while_its_leader_is_off() {
        let mut context = Context::default();
        context.add(event(1, 1));
        context.add(event(2, 1));
        context.find_mut(EventId(1)).unwrap().state = State::Off;
        context.advance(10);
        context.find_mut(EventId(1)).unwrap().state = State::Inactive;
        context.advance(5);
        assert_eq!(context.events.iter().map(|e| e.enabled).collect::<Vec<_>>(), [5, 5]);
    }
}
