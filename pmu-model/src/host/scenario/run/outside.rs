//! What happens to a scenario from outside: guests that start, events that are opened, moves and migrations.

use super::super::guest::Guest;
use super::super::{Action, Follow};
use super::{EventRun, Run};
use crate::host::admission::{HostFacts, preconditions};
use crate::host::aperf::{AperfError, GuestClock};
use crate::host::attr::{EventId, OpenError, Target, TaskId, check};
use crate::host::cell::Ledger;
use crate::host::event::{Context, Event, State};
use crate::host::exits::ExitReason;
use crate::host::perf::Perf;
use crate::host::registers::Pmu;
use crate::host::vpmu::Mode;

impl Run<'_> {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Start(g) if g < self.guests.len() => self.start(g),
            Action::Stop(g) if g < self.guests.len() => self.stop(g),
            Action::Open(n) if n < self.events.len() => self.open(n),
            Action::Close(n) if n < self.events.len() => self.close(n),
            Action::Enable(n) if n < self.events.len() => self.set_enabled(n, true),
            Action::Disable(n) if n < self.events.len() => self.set_enabled(n, false),
            Action::Move(g, cpu) if g < self.guests.len() && (cpu as usize) < self.cores.len() => {
                self.off_its_cpu(g);
                self.guests[g].cpu = cpu as usize;
            }
            Action::Migrate(g, pause) if g < self.guests.len() => self.migrate(g, pause),
            Action::Guest(g, segment) if g < self.guests.len() => self.guests[g].pending.push(segment),
            other => self.note(format!("{other:?} names nothing that exists")),
        }
    }

    /// A guest is created, unless its PMU cannot be.
    fn start(&mut self, g: usize) {
        let (spec, scenario) = (&self.scenario.guests[g], self.scenario);
        let refused = match spec.mode {
            Mode::Mediated => {
                let host = HostFacts { hybrid: scenario.pmus.len() > 1, ..HostFacts::SAPPHIRE_RAPIDS };
                let possible = preconditions(&host, spec.shape, spec.apic_in_kernel);
                possible.and_then(|()| self.admission.create_vm()).err().map(|refusal| refusal.to_string())
            }
            Mode::PassThrough => self.in_the_way(spec.cpu),
            Mode::None | Mode::PerfBased => None,
        };
        if let Some(why) = refused {
            return self.note(format!("{}: the vCPU is not created: {why}", spec.name));
        }
        if let (Some(id), Some(vm)) = (spec.selects, &mut self.guests[g].vm)
            && let Err(error) = vm.select(0, id)
        {
            self.note(format!("{}: PMU {id} is not selected: {error}", spec.name));
        }
        if let Some((design, multiplier)) = spec.aperf
            && let Err(error) = GuestClock::new(design, multiplier, true, scenario.aperf)
        {
            self.note(format!("{}: no APERF and MPERF: {error}", spec.name));
        }
        if let Some(core) = self.cores.get_mut(spec.cpu as usize).filter(|_| spec.mode == Mode::PassThrough) {
            core.cpu.passed_through = true;
        }
        if let Some(parent) = spec.thread_of.filter(|parent| *parent < self.guests.len()) {
            self.inherit(g, parent);
        }
        let guest = &mut self.guests[g];
        (guest.alive, guest.created) = (true, true);
    }

    /// A guest's task was forked by another's: it takes the events along that inherit.
    fn inherit(&mut self, g: usize, parent: usize) {
        let here = self.cores.iter().find(|core| core.running == Some(parent));
        let context = here.and_then(|core| Some(&core.cpu.perf.task.as_ref()?.1));
        let context = context.unwrap_or_else(|| self.guests[parent].vcpu.context());
        let inherited = context.inherited(TaskId(g as u32));
        self.guests[g].inherited = inherited.events.iter().map(|event| event.id.0 as usize).collect();
        *self.guests[g].vcpu.context_mut() = inherited;
    }

    /// Does something with an event that guests inherited, where each of them is.
    fn for_each_child(&mut self, n: usize, change: impl Fn(&mut Perf, &mut Pmu), away: impl Fn(&mut Context)) {
        for g in 0..self.guests.len() {
            if !self.guests[g].inherited.contains(&n) {
                continue;
            }
            match self.cores.iter().position(|core| core.running == Some(g)) {
                Some(c) => self.interrupted(c, false, &change),
                None => away(self.guests[g].vcpu.context_mut()),
            }
        }
    }

    /// Why a CPU's PMU cannot be passed through.
    fn in_the_way(&self, cpu: u32) -> Option<String> {
        let core = self.cores.get(cpu as usize)?;
        let events = core.cpu.perf.context.events.len();
        (events != 0).then(|| format!("{events} host events are open on CPU {cpu}"))
    }

    fn stop(&mut self, g: usize) {
        self.off_its_cpu(g);
        if std::mem::take(&mut self.guests[g].alive) && self.scenario.guests[g].mode == Mode::Mediated {
            self.admission.release_vm();
        }
    }

    fn off_its_cpu(&mut self, g: usize) {
        let c = self.guests[g].cpu;
        if self.cores.get(c).is_some_and(|core| core.running == Some(g)) {
            self.exit(c, g, ExitReason::ExternalInterrupt);
            self.schedule_out(c);
        }
    }

    /// The guest stands still, and its clocks are saved and restored: the TSC is given the pause, APERF and MPERF not.
    fn migrate(&mut self, g: usize, pause: u64) {
        self.off_its_cpu(g);
        let guest = &mut self.guests[g];
        guest.asleep_until = self.now.saturating_add(pause);
        let ticks = pause.saturating_mul(100) / self.scenario.core_clock_percent.max(1);
        let done: Result<(), AperfError> = match &mut guest.clock {
            Some((clock, host)) => {
                let saved = clock.save(host);
                // While it sleeps the virtual TSC goes on by itself: nothing is credited twice.
                clock.restore(&saved, 0)
            }
            None => Ok(()),
        };
        let name = &self.scenario.guests[g].name;
        let text = match done {
            Ok(()) => format!("{name}: migrated, {ticks} ticks without running"),
            Err(error) => format!("{name}: not migrated: {error}"),
        };
        self.note(text);
    }

    /// Something of the host's happens on a CPU: in a guest, that is an exit first, and the host's work.
    pub(super) fn interrupted<T>(
        &mut self,
        c: usize,
        enables: bool,
        change: impl FnOnce(&mut Perf, &mut Pmu) -> T,
    ) -> T {
        self.settle(c);
        let core = &mut self.cores[c];
        let Some(g) = core.running else {
            let done = change(&mut core.cpu.perf, &mut core.cpu.pmu);
            self.observe(c);
            return done;
        };
        let cost = self.scenario.exits.of(ExitReason::ExternalInterrupt).kernel;
        let Guest { vcpu, exits, .. } = &mut self.guests[g];
        exits[ExitReason::ExternalInterrupt as usize] += 1;
        vcpu.exit(&mut core.cpu);
        let done = vcpu.while_in_loop(&mut core.cpu, enables, change);
        self.observe(c);
        let core = &mut self.cores[c];
        core.cpu.run_host(crate::host::cell::Privilege::Kernel, &cost.burst());
        self.elapse(c, cost.cycles, crate::host::aperf::Residence::Root);
        self.guests[g].vcpu.enter(&mut self.cores[c].cpu);
        self.observe(c);
        done
    }

    /// The CPU on which an event's context is now, if it is on one.
    fn place_of(&self, n: usize) -> Option<usize> {
        match self.scenario.events[n].follow {
            Follow::Cpu(cpu) => Some(cpu as usize).filter(|c| *c < self.cores.len()),
            Follow::Guest(g) => self.cores.iter().position(|core| core.running == Some(g)),
        }
    }

    fn open(&mut self, n: usize) {
        let spec = &self.scenario.events[n];
        if self.events[n].open {
            return self.note(format!("{}: is open already", spec.name));
        }
        let (id, leader) = (EventId(n as u32), spec.leader.map(|leader| EventId(leader as u32)));
        let place = self.place_of(n);
        let passed = place.is_some_and(|c| self.cores[c].cpu.passed_through);
        let admitted = if passed { Err(OpenError::PassedThrough) } else { self.admission.open(&spec.attr) };
        let opened = admitted.and_then(|()| {
            let done = match (spec.follow, place) {
                (Follow::Cpu(_), None) => Err(OpenError::NothingFollowed),
                (Follow::Cpu(cpu), Some(c)) => self.open_on(c, n, id, Target::Cpu(cpu), leader),
                (Follow::Guest(g), Some(c)) => self.open_on(c, n, id, Target::Task(TaskId(g as u32), None), leader),
                (Follow::Guest(g), None) => self.open_away(g, n, id, leader),
            };
            done.inspect_err(|_| self.admission.close(&spec.attr))
        });
        match opened {
            Ok(()) => {
                let enabled = !spec.attr.disabled;
                self.events[n] = EventRun { open: true, enabled, did: Ledger::default(), closed: None };
            }
            Err(error) => self.note(format!("{}: not opened: {error}", spec.name)),
        }
    }

    fn open_on(
        &mut self,
        c: usize,
        n: usize,
        id: EventId,
        target: Target,
        leader: Option<EventId>,
    ) -> Result<(), OpenError> {
        let attr = self.scenario.events[n].attr;
        self.interrupted(c, !attr.disabled, |perf, pmu| perf.open(pmu, id, attr, target, leader))
    }

    /// Opens an event for a task that does not run: it is scheduled when the task is.
    fn open_away(&mut self, g: usize, n: usize, id: EventId, leader: Option<EventId>) -> Result<(), OpenError> {
        let attr = self.scenario.events[n].attr;
        check(&attr)?;
        let context = self.guests.get_mut(g).ok_or(OpenError::NothingFollowed)?.vcpu.context_mut();
        if let Some(leader) = leader.filter(|leader| context.find(*leader).is_none_or(|event| !event.leads())) {
            return Err(OpenError::BadLeader(leader));
        }
        context.add(Event::new(id, attr, Target::Task(TaskId(g as u32), None), leader.unwrap_or(id)));
        Ok(())
    }

    fn close(&mut self, n: usize) {
        if !self.events[n].open {
            return self.note(format!("{}: is not open", self.scenario.events[n].name));
        }
        let id = EventId(n as u32);
        let gone = match (self.place_of(n), self.scenario.events[n].follow) {
            (Some(c), _) => self.interrupted(c, false, |perf, pmu| perf.close(pmu, id)),
            (None, Follow::Guest(g)) => self.guests[g].vcpu.context_mut().remove(id),
            (None, Follow::Cpu(_)) => None,
        };
        self.for_each_child(n, |perf, pmu| perf.disable(pmu, id), |context| switch_off(context, id));
        self.admission.close(&self.scenario.events[n].attr);
        let event = &mut self.events[n];
        (event.open, event.closed) = (false, gone);
    }

    fn set_enabled(&mut self, n: usize, enabled: bool) {
        let id = EventId(n as u32);
        match (self.place_of(n), self.scenario.events[n].follow) {
            (Some(c), _) => self.interrupted(c, enabled, |perf, pmu| match enabled {
                true => perf.enable(pmu, id),
                false => perf.disable(pmu, id),
            }),
            (None, Follow::Guest(g)) => {
                let context = self.guests[g].vcpu.context_mut();
                if enabled { switch_on(context, id) } else { switch_off(context, id) }
            }
            (None, Follow::Cpu(_)) => {}
        }
        if enabled {
            self.for_each_child(n, |perf, pmu| perf.enable(pmu, id), |context| switch_on(context, id));
        } else {
            self.for_each_child(n, |perf, pmu| perf.disable(pmu, id), |context| switch_off(context, id));
        }
        self.events[n].enabled = enabled;
    }
}

/// An event of a task that does not run is enabled.
fn switch_on(context: &mut Context, id: EventId) {
    if let Some(event) = context.find_mut(id).filter(|event| event.state <= State::Off) {
        event.state = State::Inactive;
    }
}

/// An event of a task that does not run is disabled.
fn switch_off(context: &mut Context, id: EventId) {
    if let Some(event) = context.find_mut(id) {
        event.state = State::Off;
    }
}
