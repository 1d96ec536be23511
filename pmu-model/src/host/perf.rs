//! perf on one CPU: its contexts, who is on the PMU now, and every reason to decide that anew.
//!
//! A CPU has its own context and, while a task runs that has events, the task's. Each reason (a task switch, an event
//! enabled, rotation) takes some classes off and offers all that is off again, in order; what that changes is then
//! written to the PMU in one go (`hardware`). Task contexts are values that move in with their task and out again, so a
//! task may run on another CPU next.
//!
//! Source: spec/pmu.md 5.4; linux v7.2 kernel/events/core.c (`ctx_resched`, `perf_rotate_context`,
//! `perf_event_context_sched_in`, `perf_load_guest_context`).

mod hardware;

use super::attr::{Attr, EventId, OpenError, Sample, Target, TaskId, check};
use super::constraint::{Counter, Counters, Want, assign};
use super::event::{Context, Event, Reading, State};
use super::registers::Pmu;
use super::sched::{Class, Pass, Verdict};

/// Source of `kernel.perf_event_max_sample_rate` over HZ: 100000 / 250.
pub const MAX_SAMPLES_PER_TICK: u32 = 400;

/// perf on one CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Perf {
    /// Its CPU.
    pub cpu: u32,
    /// The CPU's events.
    pub context: Context,
    /// The task that runs, and its events.
    pub task: Option<(TaskId, Context)>,
    /// The class lists that are scheduled in, by [`Class`].
    scheduled: [bool; 4],
    /// The events that are on, software's among them, in the order in which they came.
    on: Vec<EventId>,
    /// A mediated guest's state is loaded: no host event may be on.
    guest_loaded: bool,
    /// The idle task runs.
    idle: bool,
    /// The PMU's counters that perf may use.
    available: Counters,
    /// The clock in which time is told: core cycles of a second.
    pub cycles_per_second: u64,
    /// More samples than this in a tick stop an event until the next.
    pub max_samples_per_tick: u32,
}

impl Perf {
    /// perf on a CPU whose PMU has these counters.
    pub fn new(cpu: u32, pmu: &Pmu) -> Perf {
        Perf {
            cpu,
            context: Context::default(),
            task: None,
            scheduled: [true, false, true, false],
            on: Vec::new(),
            guest_loaded: false,
            idle: false,
            available: pmu.shape().assignable(),
            cycles_per_second: 2_200_000_000,
            max_samples_per_tick: MAX_SAMPLES_PER_TICK,
        }
    }

    fn context_of(&self, class: Class) -> Option<&Context> {
        match class {
            Class::CpuPinned | Class::CpuFlexible => Some(&self.context),
            Class::TaskPinned | Class::TaskFlexible => self.task.as_ref().map(|(_, context)| context),
        }
    }

    fn context_of_mut(&mut self, class: Class) -> Option<&mut Context> {
        match class {
            Class::CpuPinned | Class::CpuFlexible => Some(&mut self.context),
            Class::TaskPinned | Class::TaskFlexible => self.task.as_mut().map(|(_, context)| context),
        }
    }

    /// The event of that number, of the CPU or of the task that runs.
    pub fn find(&self, id: EventId) -> Option<&Event> {
        self.context.find(id).or_else(|| self.task.as_ref().and_then(|(_, context)| context.find(id)))
    }

    fn find_mut(&mut self, id: EventId) -> Option<&mut Event> {
        match self.context.find_mut(id) {
            Some(event) => Some(event),
            None => self.task.as_mut().and_then(|(_, context)| context.find_mut(id)),
        }
    }

    fn class_of(&self, event: &Event) -> Class {
        let pinned = self.find(event.leader).is_some_and(|leader| leader.attr.pinned);
        match (event.target, pinned) {
            (Target::Cpu(_), true) => Class::CpuPinned,
            (Target::Cpu(_), false) => Class::CpuFlexible,
            (Target::Task(..), true) => Class::TaskPinned,
            (Target::Task(..), false) => Class::TaskFlexible,
        }
    }

    /// The hardware events that are on, and where.
    pub fn on(&self) -> impl Iterator<Item = (Counter, &Event)> {
        self.on.iter().filter_map(|id| self.find(*id)).filter_map(|event| Some((event.counter?, event)))
    }

    /// Whether some event that stops in the guest is on, or would be if no guest were loaded.
    pub fn has_host_events(&self) -> bool {
        !self.host_counters().is_empty()
    }

    /// The counters that events of the host have, or would have if no guest were loaded: "host_info" of S0.
    pub fn host_counters(&self) -> Counters {
        if !self.guest_loaded {
            return self.on().filter(|(_, event)| event.attr.exclude.guest).fold(Counters::NONE, with_counter);
        }
        let mut pass = Pass::new(self.available);
        for class in Class::ORDER {
            pass.next_list();
            let Some(context) = self.context_of(class) else { continue };
            for leader in list(context, class).iter().filter(|leader| offered(context, **leader, self.cpu)) {
                pass.admit(context.members(*leader).map(Event::want), false);
            }
        }
        pass.given().iter().fold(Counters::NONE, |set, counter| set.or(Counters::only(*counter)))
    }

    /// Opens an event on this CPU or for the task that runs. The number is the caller's, and new.
    ///
    /// # Errors
    /// As `perf_event_open`: see [`OpenError`].
    pub fn open(
        &mut self,
        pmu: &mut Pmu,
        id: EventId,
        attr: Attr,
        target: Target,
        leader: Option<EventId>,
    ) -> Result<(), OpenError> {
        check(&attr)?;
        self.check_group(id, &attr, target, leader)?;
        let event = Event::new(id, attr, target, leader.unwrap_or(id));
        let class = match (target, leader) {
            (_, Some(leader)) => self.find(leader).map_or(Class::CpuFlexible, |l| self.class_of(l)),
            (Target::Cpu(_), None) => {
                if attr.pinned {
                    Class::CpuPinned
                } else {
                    Class::CpuFlexible
                }
            }
            (Target::Task(..), None) => {
                if attr.pinned {
                    Class::TaskPinned
                } else {
                    Class::TaskFlexible
                }
            }
        };
        self.context_of_mut(class).ok_or(OpenError::NothingFollowed)?.add(event);
        if !attr.disabled {
            self.resched(pmu, class);
        }
        Ok(())
    }

    fn check_group(&self, id: EventId, attr: &Attr, target: Target, leader: Option<EventId>) -> Result<(), OpenError> {
        let Some(first) = leader else {
            let metric = Event::new(id, *attr, target, id).is_metric();
            return if metric { Err(OpenError::LoneMetric) } else { Ok(()) };
        };
        let found = self.find(first).filter(|l| l.leads() && l.target == target);
        let leader = found.ok_or(OpenError::BadLeader(first))?;
        if attr.pinned {
            return Err(OpenError::PinnedSibling);
        }
        let event = Event::new(id, *attr, target, first);
        let slots = matches!(leader.config, Some(0x0400 | 0x01a4));
        if event.is_metric() && (!slots || event.period != 0 || leader.period != 0) {
            return Err(OpenError::LoneMetric);
        }
        let context = self.context_of(self.class_of(leader)).ok_or(OpenError::BadLeader(first))?;
        let members = context.events.iter().filter(|member| member.leader == first);
        let hardware = members.chain([&event]).map(Event::want).filter(|want| !want.counters.is_empty());
        let wants: Vec<Want> = hardware.map(|want| Want { last: None, ..want }).collect();
        assign(self.available, &wants).map(|_| ()).ok_or(OpenError::GroupTooLarge)
    }

    /// Closes an event. Returns what it was, its count final. What waited does not get on by itself: only the next
    /// reason to schedule, or rotation, offers it again. The same holds for [`Perf::disable`].
    pub fn close(&mut self, pmu: &mut Pmu, id: EventId) -> Option<Event> {
        let class = self.class_of(self.find(id)?);
        self.off(pmu, |event| event.id == id || event.leader == id);
        self.context_of_mut(class)?.remove(id)
    }

    /// PERF_EVENT_IOC_ENABLE: also what brings an event back from ERROR.
    pub fn enable(&mut self, pmu: &mut Pmu, id: EventId) {
        let Some(event) = self.find_mut(id).filter(|event| event.state <= State::Off) else { return };
        event.state = State::Inactive;
        let event = event.clone();
        let leader_is_on = self.find(event.leader).is_some_and(|leader| leader.state == State::Active);
        if event.leads() || leader_is_on {
            self.resched(pmu, self.class_of(&event));
        }
    }

    /// PERF_EVENT_IOC_DISABLE. A leader takes its group off with it.
    pub fn disable(&mut self, pmu: &mut Pmu, id: EventId) {
        let Some(event) = self.find(id).filter(|event| event.state != State::Off) else { return };
        let leads = event.leads();
        self.off(pmu, |event| event.id == id || (leads && event.leader == id));
        if let Some(event) = self.find_mut(id) {
            event.state = State::Off;
        }
    }

    /// Reads an event, up to now.
    pub fn read(&mut self, pmu: &mut Pmu, id: EventId) -> Option<Reading> {
        self.update(pmu, id);
        self.find(id).map(Reading::of)
    }

    /// Takes lists off and offers again all that is off. A pinned class takes the flexible ones with it.
    fn resched(&mut self, pmu: &mut Pmu, trigger: Class) {
        let off = |class: Class| match trigger {
            Class::CpuPinned => true,
            Class::CpuFlexible => matches!(class, Class::CpuFlexible | Class::TaskFlexible),
            Class::TaskPinned => class != Class::CpuPinned,
            Class::TaskFlexible => class == Class::TaskFlexible,
        };
        Class::ORDER.into_iter().filter(|class| off(*class)).for_each(|class| self.list_out(class));
        self.sched_in(pmu);
    }

    /// The incoming task brings its events. Pinned ones take the counters of the CPU's flexible ones.
    pub fn task_in(&mut self, pmu: &mut Pmu, task: TaskId, context: Context) {
        if !context.pinned.is_empty() {
            self.list_out(Class::CpuFlexible);
        }
        self.task = Some((task, context));
        self.sched_in(pmu);
    }

    /// The task that runs leaves with its events.
    pub fn task_out(&mut self, pmu: &mut Pmu) -> Option<(TaskId, Context)> {
        self.task.as_ref()?;
        self.off(pmu, |event| matches!(event.target, Target::Task(..)));
        self.list_out(Class::TaskPinned);
        self.list_out(Class::TaskFlexible);
        self.task.take()
    }

    /// Whether the multiplexing timer is armed.
    pub fn needs_rotation(&self) -> bool {
        let contexts = [Some(&self.context), self.task.as_ref().map(|(_, context)| context)];
        !self.guest_loaded && contexts.into_iter().flatten().any(|context| context.rotate_necessary)
    }

    /// The multiplexing timer fires. Returns whether anything had to rotate.
    pub fn rotate(&mut self, pmu: &mut Pmu) -> bool {
        let wanted = |context: &Context| context.rotate_necessary && !context.flexible.is_empty();
        let cpu = wanted(&self.context);
        let task = self.task.as_ref().is_some_and(|(_, context)| wanted(context));
        if self.guest_loaded || !(cpu || task) {
            return false;
        }
        self.list_out(Class::TaskFlexible);
        if cpu {
            turn(&mut self.context);
            self.list_out(Class::CpuFlexible);
        }
        if let Some((_, context)) = self.task.as_mut().filter(|_| task) {
            turn(context);
        }
        self.sched_in(pmu);
        true
    }

    /// A mediated guest's state is about to be loaded: every event goes off, and the guest's time begins.
    pub fn load_guest(&mut self, pmu: &mut Pmu) {
        Class::ORDER.into_iter().for_each(|class| self.list_out(class));
        self.guest_loaded = true;
        self.sched_in(pmu);
    }

    /// The guest's state is gone: the events come back.
    pub fn put_guest(&mut self, pmu: &mut Pmu) {
        self.guest_loaded = false;
        self.sched_in(pmu);
    }

    /// Whether a mediated guest is loaded.
    pub fn guest_is_loaded(&self) -> bool {
        self.guest_loaded
    }

    /// Time passes, unless it is the loaded guest's.
    pub fn advance(&mut self, cycles: u64) {
        if !self.guest_loaded {
            self.context.advance(cycles);
            if let Some((_, context)) = &mut self.task {
                context.advance(cycles);
            }
        }
    }

    /// Takes a list off, in the plan only: the PMU keeps counting until the next commit.
    fn list_out(&mut self, class: Class) {
        self.scheduled[class as usize] = false;
        if let Some(context) = self.context_of_mut(class).filter(|_| !class.is_pinned()) {
            context.rotate_necessary = false;
        }
    }

    /// Offers every list that is off, behind those that are on, and makes the PMU so.
    fn sched_in(&mut self, pmu: &mut Pmu) {
        let mut pass = Pass::new(self.available);
        let mut plan: Vec<EventId> = Vec::with_capacity(self.on.len() + 4);
        for id in &self.on {
            let event = self.find(*id).filter(|event| self.scheduled[self.class_of(event) as usize]);
            if event.is_some_and(|event| pass.admit([event.want()].into_iter(), false) == Verdict::On) {
                plan.push(*id);
            }
        }
        for class in Class::ORDER {
            if !self.scheduled[class as usize] && !self.guest_loaded {
                self.list_in(class, &mut pass, &mut plan);
            }
        }
        let given = pass.given().to_vec();
        self.commit(pmu, &plan, &given);
    }

    fn list_in(&mut self, class: Class, pass: &mut Pass, plan: &mut Vec<EventId>) {
        let cpu = self.cpu;
        let Some(context) = self.context_of_mut(class) else { return };
        pass.next_list();
        for n in 0..list(context, class).len() {
            let leader = list(context, class)[n];
            if !offered(context, leader, cpu) {
                continue;
            }
            match pass.admit(context.members(leader).map(Event::want), class.is_pinned()) {
                Verdict::On => plan.extend(context.members(leader).map(|event| event.id)),
                Verdict::Waits => context.rotate_necessary = true,
                Verdict::Fails => fail(context, leader),
            }
        }
        self.scheduled[class as usize] = true;
    }
}

fn with_counter(set: Counters, (counter, _): (Counter, &Event)) -> Counters {
    set.or(Counters::only(counter))
}

fn list(context: &Context, class: Class) -> &[EventId] {
    if class.is_pinned() { &context.pinned } else { &context.flexible }
}

fn offered(context: &Context, leader: EventId, cpu: u32) -> bool {
    context.find(leader).is_some_and(|event| event.state > State::Off && event.follows(cpu))
}

/// A pinned group did not fit.
fn fail(context: &mut Context, leader: EventId) {
    if let Some(event) = context.find_mut(leader) {
        event.state = State::Error;
    }
}

/// Moves the first group that is on, or the first, to the end of the flexible list.
fn turn(context: &mut Context) {
    let active = |leader: &EventId| context.find(*leader).is_some_and(|event| event.state == State::Active);
    let first = context.flexible.iter().position(active).unwrap_or(0);
    let group = context.flexible.remove(first);
    context.flexible.push(group);
    context.rotate_necessary = false;
}
