//! The run of a scenario: windows of time between what happens from outside, and in each window CPU after CPU.

mod outside;

use super::guest::Guest;
use super::report::{CpuReport, EventReport, Note, Report, Stay};
use super::{Follow, Scenario, Segment, Stream};
use crate::host::admission::Admission;
use crate::host::aperf::Residence;
use crate::host::attr::{EventId, Target, TaskId};
use crate::host::cell::{Cell, Happening, Ledger, Privilege, World};
use crate::host::constraint::Counter;
use crate::host::event::{Event, Reading};
use crate::host::exits::ExitReason;
use crate::host::live::{Execution, Inside, Ran};
use crate::host::owners::{Owner, Owners};
use crate::host::physical::PhysicalCpu;
use crate::host::registers::Register;
use crate::host::vpmu::Vpmu;

/// A CPU under way.
struct Core {
    cpu: PhysicalCpu,
    now: u64,
    /// The guest whose vCPU has the CPU.
    running: Option<usize>,
    /// Who ran last: the next one is behind it.
    last: usize,
    slice_end: u64,
    host_until: u64,
    settled: Ledger,
    streams: [Stream; 2],
}

/// An event under way.
#[derive(Clone)]
struct EventRun {
    open: bool,
    enabled: bool,
    did: Ledger,
    closed: Option<Event>,
}

struct Run<'a> {
    scenario: &'a Scenario,
    now: u64,
    cores: Vec<Core>,
    guests: Vec<Guest>,
    events: Vec<EventRun>,
    admission: Admission,
    owners: Owners,
    stays: Vec<Stay>,
    /// Where each guest's vCPU is, by its last entry in `stays`.
    staying: Vec<Option<usize>>,
    notes: Vec<Note>,
    /// The machines of guests that are executed, by place.
    machines: Vec<Option<Box<dyn Execution>>>,
}

/// Cycles that an executed guest runs before the scenario looks around again.
const STRETCH: u64 = 50_000;

/// Runs a scenario of streams to its end. Places (of guests, events, CPUs) that do not exist are passed over.
pub fn run(scenario: &Scenario) -> Report {
    run_with(scenario, Vec::new())
}

/// The same with the machines of its executed guests, by place. An executed guest without one does nothing.
pub fn run_with(scenario: &Scenario, machines: Vec<Option<Box<dyn Execution>>>) -> Report {
    let mut run = Run::new(scenario);
    run.machines = machines;
    let mut next_action = 0;
    while run.now < scenario.end {
        while let Some((_, action)) = scenario.timeline.get(next_action).filter(|(at, _)| *at <= run.now) {
            run.act(*action);
            next_action += 1;
        }
        let action = scenario.timeline.get(next_action).map_or(scenario.end, |(at, _)| *at);
        let until = action.min(scenario.end).min(run.next(scenario.tick)).min(run.next(scenario.rotation));
        (0..run.cores.len()).for_each(|c| run.run_until(c, until));
        run.now = until;
        run.timers();
    }
    run.finish()
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario) -> Run<'a> {
        let executed = scenario.guests.iter().any(|guest| guest.executed);
        let core = |(id, spec): (u32, &super::CpuSpec)| {
            let kind = if executed { PhysicalCpu::executed } else { PhysicalCpu::new };
            let mut cpu = kind(id, spec.shape, scenario.policy);
            cpu.perf.cycles_per_second = scenario.cycles_per_second;
            cpu.exit_work = scenario.exits.of(ExitReason::Msr).kernel.burst();
            let streams = scenario.host_rates.map(Stream::new);
            let (running, settled) = (None, Ledger::default());
            Core { cpu, now: 0, running, last: 0, slice_end: 0, host_until: 0, settled, streams }
        };
        let guests = (0..).zip(&scenario.guests);
        let event = EventRun { open: false, enabled: false, did: Ledger::default(), closed: None };
        Run {
            scenario,
            now: 0,
            cores: (0..).zip(&scenario.cpus).map(core).collect(),
            guests: guests.map(|(n, spec)| Guest::new(scenario, spec, TaskId(n))).collect(),
            events: vec![event; scenario.events.len()],
            admission: Admission::default(),
            owners: Owners::default(),
            stays: Vec::new(),
            staying: vec![None; scenario.guests.len()],
            notes: Vec::new(),
            machines: Vec::new(),
        }
    }

    fn note(&mut self, text: String) {
        self.notes.push(Note { at: self.now, text });
    }

    /// The next multiple of a period after now.
    fn next(&self, period: u64) -> u64 {
        self.now.checked_div(period).map_or(u64::MAX, |n| (n + 1).saturating_mul(period))
    }

    /// The tick and the rotation that are due.
    fn timers(&mut self) {
        let due = |period: u64| period != 0 && self.now.is_multiple_of(period);
        let (tick, rotation) = (due(self.scenario.tick), due(self.scenario.rotation));
        for c in 0..self.cores.len() {
            if tick {
                let cycles = self.scenario.tick;
                self.interrupted(c, false, |perf, pmu| perf.tick(pmu, cycles));
            }
            if rotation && self.cores[c].cpu.perf.needs_rotation() {
                self.interrupted(c, false, |perf, pmu| perf.rotate(pmu));
            }
        }
    }

    fn run_until(&mut self, c: usize, until: u64) {
        while self.cores[c].now < until {
            match self.cores[c].running {
                Some(g) => self.guest_step(c, g, until),
                None => match self.pick(c) {
                    Some(g) => self.schedule_in(c, g),
                    None => self.host_step(c, until),
                },
            }
        }
    }

    /// The next guest whose vCPU wants the CPU.
    fn pick(&self, c: usize) -> Option<usize> {
        let core = &self.cores[c];
        let wants = |g: &usize| {
            let guest = &self.guests[*g];
            guest.cpu == c && guest.alive && guest.asleep_until <= core.now
        };
        let count = self.guests.len();
        let order = (1..=count).map(|n| (core.last + n) % count);
        order.filter(wants).take_while(|_| core.now >= core.host_until).next()
    }

    fn schedule_in(&mut self, c: usize, g: usize) {
        self.settle(c);
        let (core, guest) = (&mut self.cores[c], &mut self.guests[g]);
        match guest.vm.as_mut().map_or(Ok(true), |vm| vm.run(core.cpu.id)) {
            Ok(counts) => guest.vcpu.blind = !counts,
            Err(failed) => {
                guest.asleep_until = u64::MAX;
                let text = format!("{}: {failed}", self.scenario.guests[g].name);
                self.notes.push(Note { at: core.now, text });
                return;
            }
        }
        guest.vcpu.load(&mut core.cpu);
        guest.vcpu.enter(&mut core.cpu);
        guest.live.set_loaded(true);
        let slice = self.scenario.cpus[c].slice;
        core.slice_end = if slice == 0 { u64::MAX } else { core.now.saturating_add(slice) };
        (core.running, core.last) = (Some(g), g);
        self.observe(c);
    }

    fn schedule_out(&mut self, c: usize) {
        let Some(g) = self.cores[c].running else { return };
        self.settle(c);
        let (core, guest) = (&mut self.cores[c], &mut self.guests[g]);
        if core.cpu.world == World::Guest {
            guest.vcpu.exit(&mut core.cpu);
        }
        // An executed guest that halted has left by itself.
        if guest.live.is_loaded() {
            guest.vcpu.leave(&mut core.cpu);
            guest.live.set_loaded(false);
        }
        core.running = None;
        self.observe(c);
    }

    /// What happened since the last time goes to the events that were there for it.
    fn settle(&mut self, c: usize) {
        self.settle_as(c, false);
    }

    /// The same; `idle`: the idle task did it.
    fn settle_as(&mut self, c: usize, idle: bool) {
        let core = &mut self.cores[c];
        let did = core.cpu.ledger.since(&core.settled);
        core.settled = core.cpu.ledger;
        let enabled: Vec<bool> = self.events.iter().map(|event| event.open && event.enabled).collect();
        let heirs: &[usize] = core.running.map_or(&[], |g| &self.guests[g].inherited);
        let events = self.events.iter_mut().zip(&self.scenario.events).zip(&enabled).enumerate();
        for (n, ((event, spec), here)) in events.filter(|(_, ((_, spec), _))| !(idle && spec.attr.exclude.idle)) {
            let leads = spec.leader.is_none_or(|leader| enabled.get(leader).copied().unwrap_or(false));
            let follows = match spec.follow {
                Follow::Cpu(cpu) => cpu == core.cpu.id,
                Follow::Guest(g) => core.running == Some(g) || heirs.contains(&n),
            };
            if *here && leads && follows {
                event.did.add(&did);
            }
        }
    }

    /// Writes down who owns which counter from now on.
    fn observe(&mut self, c: usize) {
        let core = &self.cores[c];
        let owner = |event: &Event| match event.id.0 {
            id if id >> 31 != 0 => Owner::Guest((id >> 6 & 0xff_ffff) as usize, (id & 63) as u8),
            id => Owner::Event(id as usize),
        };
        let mut held: Vec<(Counter, Owner)> =
            core.cpu.perf.on().map(|(counter, event)| (counter, owner(event))).collect();
        if let Some(g) = core.running {
            let guests = match &self.guests[g].vcpu.vpmu {
                Vpmu::Mediated(vpmu) => vpmu.resident,
                Vpmu::PassThrough(registers) => registers.shape.counters(),
                Vpmu::None | Vpmu::PerfBased(_) => Default::default(),
            };
            held.extend(guests.iter().map(|counter| (counter, Owner::Guest(g, counter.0))));
        }
        self.owners.observe(core.cpu.id, core.now, &held);
    }

    /// Time passes on a CPU, with its guest in one place.
    fn elapse(&mut self, c: usize, cycles: u64, residence: Residence) {
        self.cores[c].cpu.perf.advance(cycles);
        self.pass(c, cycles, residence);
    }

    /// The same where perf has been told.
    fn pass(&mut self, c: usize, cycles: u64, residence: Residence) {
        let core = &mut self.cores[c];
        let percent = self.scenario.core_clock_percent;
        for (g, guest) in self.guests.iter_mut().enumerate().filter(|(_, guest)| guest.cpu == c && guest.alive) {
            let place = match core.running {
                Some(running) if running == g => residence,
                _ if guest.asleep_until > core.now => Residence::Halted,
                _ => Residence::Stolen,
            };
            guest.pass(place, cycles, percent);
            let to = core.now.saturating_add(cycles);
            let last = self.staying[g].and_then(|n| self.stays.get_mut(n));
            // Another CPU may be ahead by a step when a vCPU leaves it: it is in one place at a time all the same.
            let from = last.as_ref().map_or(core.now, |last| core.now.max(last.to));
            let goes_on = |last: &&mut Stay| (last.cpu, last.place, last.to) == (core.cpu.id, place, from);
            match last.filter(goes_on) {
                Some(last) => last.to = last.to.max(to),
                None if to > from => {
                    self.staying[g] = Some(self.stays.len());
                    self.stays.push(Stay { guest: g, cpu: core.cpu.id, place, from, to });
                }
                None => {}
            }
        }
        core.now = core.now.saturating_add(cycles);
    }

    /// The host's own work, or idleness, until something else is due.
    fn host_step(&mut self, c: usize, until: u64) {
        let core = &self.cores[c];
        let turn = core.host_until > core.now;
        let wakes = self.guests.iter().filter(|guest| guest.cpu == c && guest.alive && guest.asleep_until > core.now);
        let wake = wakes.map(|guest| guest.asleep_until).min().unwrap_or(u64::MAX);
        let end = if turn { core.host_until } else { wake }.min(until);
        let cycles = end - core.now;
        if turn || self.scenario.cpus[c].busy {
            let user = (u128::from(cycles) * u128::from(self.scenario.host_user_percent.min(100)) / 100) as u64;
            self.host_runs(c, Privilege::User, user);
            self.host_runs(c, Privilege::Kernel, cycles - user);
        } else if self.scenario.cpus[c].idle_polls {
            self.idles(c, cycles);
        } else {
            self.elapse(c, cycles, Residence::Stolen);
        }
    }

    /// The idle task polls.
    fn idles(&mut self, c: usize, cycles: u64) {
        self.settle(c);
        let cpu = &mut self.cores[c].cpu;
        cpu.perf.set_idle(&mut cpu.pmu, true);
        self.host_runs(c, Privilege::Kernel, cycles);
        self.settle_as(c, true);
        let cpu = &mut self.cores[c].cpu;
        cpu.perf.set_idle(&mut cpu.pmu, false);
    }

    fn host_runs(&mut self, c: usize, ring: Privilege, cycles: u64) {
        let mut left = cycles;
        while left > 0 {
            let core = &mut self.cores[c];
            let stream = &mut core.streams[ring as usize];
            let part = left.min(stream.cycles_until(&core.cpu.pmu.until_interrupt(ring)));
            let burst = stream.take(part);
            // Time first: an event that samples at the end of the stretch wants to know how long it took.
            self.elapse(c, part, Residence::Stolen);
            self.cores[c].cpu.run_host(ring, &burst);
            left -= part;
        }
    }

    fn guest_step(&mut self, c: usize, g: usize, until: u64) {
        if self.cores[c].now >= self.cores[c].slice_end {
            return self.end_of_slice(c, g);
        }
        let scenario = self.scenario;
        if scenario.guests[g].executed {
            return self.executes(c, g, until);
        }
        if self.guests[g].is_set_up(&scenario.guests[g]) && !self.guests[g].pending.is_empty() {
            let segment = self.guests[g].pending.remove(0);
            return self.moment(c, g, segment);
        }
        let segment = self.guests[g].segment(&scenario.guests[g]);
        if let Segment::Run(ring, cycles) = segment {
            if !self.guest_runs(c, g, ring, cycles, until) {
                return;
            }
        } else {
            self.moment(c, g, segment);
        }
        self.guests[g].next_segment(&scenario.guests[g]);
    }

    /// A stretch of a guest that is executed.
    fn executes(&mut self, c: usize, g: usize, until: u64) {
        let Some(machine) = self.machines.get_mut(g).and_then(Option::as_mut) else {
            return self.ends(c, g, "there is no machine for it");
        };
        let (core, guest) = (&mut self.cores[c], &mut self.guests[g]);
        let room = until.min(core.slice_end).saturating_sub(core.now).clamp(1, STRETCH);
        let before = core.cpu.ledger;
        let mut inside = Inside { cpu: &mut core.cpu, vcpu: &mut guest.vcpu, live: &mut guest.live };
        let ran = machine.run(&mut inside, room);
        guest.executed(&core.cpu.ledger.since(&before));
        let passed = guest.live.take_passed();
        for (cycles, residence) in
            [(passed.guest, Residence::Guest), (passed.root, Residence::Root), (passed.user, Residence::Stolen)]
        {
            self.pass(c, cycles, residence);
        }
        match ran {
            Ran::On => self.observe(c),
            Ran::Halted(ticks) => {
                let wake = ticks.map_or(u64::MAX, |ticks| self.cores[c].now.saturating_add(ticks.max(1)));
                self.guests[g].asleep_until = wake;
                self.schedule_out(c);
            }
            Ran::Ended(why) => self.ends(c, g, &why),
        }
    }

    fn ends(&mut self, c: usize, g: usize, why: &str) {
        let text = format!("{}: {why}", self.scenario.guests[g].name);
        self.notes.push(Note { at: self.cores[c].now, text });
        self.schedule_out(c);
        self.guests[g].asleep_until = u64::MAX;
    }

    fn end_of_slice(&mut self, c: usize, g: usize) {
        let now = self.cores[c].now;
        let others = self.guests.iter().enumerate();
        let wanted = others.filter(|(n, _)| *n != g).any(|(_, o)| o.cpu == c && o.alive && o.asleep_until <= now);
        let turn = self.scenario.cpus[c].host_turn;
        if wanted || turn != 0 {
            self.exit(c, g, ExitReason::ExternalInterrupt);
            self.schedule_out(c);
            self.cores[c].host_until = self.cores[c].now.saturating_add(turn);
        } else {
            self.cores[c].slice_end = now.saturating_add(self.scenario.cpus[c].slice);
        }
    }

    /// A stretch of a segment. Returns whether the segment is done.
    fn guest_runs(&mut self, c: usize, g: usize, ring: Privilege, cycles: u64, until: u64) -> bool {
        let (core, guest) = (&mut self.cores[c], &mut self.guests[g]);
        let left = guest.left.unwrap_or(cycles.max(1));
        let room = until.min(core.slice_end).saturating_sub(core.now);
        let part = left.min(room).min(guest.cycles_until_interrupt(&mut core.cpu, ring)).max(1);
        self.elapse(c, part, Residence::Guest);
        let (core, guest) = (&mut self.cores[c], &mut self.guests[g]);
        let before = host_cycles(&core.cpu);
        guest.run(&mut core.cpu, ring, part);
        let spent = host_cycles(&core.cpu).wrapping_sub(before);
        guest.exits[ExitReason::Pmi as usize] += u64::from(spent != 0);
        guest.left = Some(left - part).filter(|left| *left != 0);
        let done = guest.left.is_none();
        self.elapse(c, spent, Residence::Root);
        done
    }

    /// A segment that takes no time of the guest's own.
    fn moment(&mut self, c: usize, g: usize, segment: Segment) {
        match segment {
            Segment::Run(..) => {}
            Segment::Exit(reason) => self.exit(c, g, reason),
            Segment::Halt(cycles) => {
                self.exit(c, g, ExitReason::Hlt);
                self.guests[g].asleep_until = self.cores[c].now.saturating_add(cycles.max(1));
                self.schedule_out(c);
            }
            Segment::Write(register, value) => {
                let written = self.accessed(c, g, |guest, cpu| guest.write(cpu, register, value));
                if !written {
                    self.fault(c, g, "writing", register);
                }
            }
            Segment::Read(register, rdpmc) => {
                let read = self.accessed(c, g, |guest, cpu| guest.vcpu.read(cpu, register, rdpmc).is_ok());
                if !read {
                    self.fault(c, g, "reading", register);
                }
            }
            Segment::ServePmi => {
                let status = self.guests[g].vcpu.registers().map_or(0, |registers| registers.shape.global_bits());
                self.accessed(c, g, |guest, cpu| guest.write(cpu, Register::StatusReset, status));
                if let Some(registers) = self.guests[g].vcpu.registers_mut() {
                    registers.lvtpc_masked = false;
                }
            }
            Segment::ReadAperf => {
                if let Some((clock, host)) = &mut self.guests[g].clock {
                    clock.read_aperf(host);
                    clock.read_mperf(host);
                }
            }
        }
        self.elapse(c, 1, Residence::Guest);
    }

    fn fault(&mut self, c: usize, g: usize, what: &str, register: Register) {
        let text = format!("{}: #GP {what} {register:?}", self.scenario.guests[g].name);
        self.notes.push(Note { at: self.cores[c].now, text });
    }

    /// The guest accesses its PMU; what the host spends on it passes.
    fn accessed(&mut self, c: usize, g: usize, access: impl FnOnce(&mut Guest, &mut PhysicalCpu) -> bool) -> bool {
        let (core, guest) = (&mut self.cores[c], &mut self.guests[g]);
        let (before, exits) = (host_cycles(&core.cpu), guest.vcpu.pmu_exits);
        let done = access(guest, &mut core.cpu);
        let spent = host_cycles(&core.cpu).wrapping_sub(before);
        guest.exits[ExitReason::Msr as usize] += guest.vcpu.pmu_exits - exits;
        self.elapse(c, spent, Residence::Root);
        self.observe(c);
        done
    }

    /// An exit, by its row of the table, and the entry behind it.
    fn exit(&mut self, c: usize, g: usize, reason: ExitReason) {
        let cost = self.scenario.exits.of(reason);
        let kernel = cost.kernel.burst();
        let emulated = cost.emulates.then_some(Privilege::Kernel);
        let (core, guest) = (&mut self.cores[c], &mut self.guests[g]);
        guest.exits[reason as usize] += 1;
        let user = cost.user.cycles != 0;
        if cost.fast && !user && guest.vcpu.fast_exit(&mut core.cpu, emulated, &kernel) {
            return self.elapse(c, cost.kernel.cycles, Residence::Root);
        }
        guest.vcpu.exit(&mut core.cpu);
        self.observe(c);
        let (core, guest) = (&mut self.cores[c], &mut self.guests[g]);
        core.cpu.run_host(Privilege::Kernel, &kernel);
        if let Some(ring) = emulated {
            guest.emulate(&mut core.cpu, ring);
        }
        self.elapse(c, cost.kernel.cycles, Residence::Root);
        if user {
            self.guests[g].vcpu.to_user_space(&mut self.cores[c].cpu);
            self.observe(c);
            self.cores[c].cpu.run_host(Privilege::User, &cost.user.burst());
            self.elapse(c, cost.user.cycles, Residence::Stolen);
            self.guests[g].vcpu.from_user_space(&mut self.cores[c].cpu);
        }
        self.guests[g].vcpu.enter(&mut self.cores[c].cpu);
        self.observe(c);
    }

    fn finish(mut self) -> Report {
        (0..self.cores.len()).for_each(|c| self.settle(c));
        let end = self.cores.iter().map(|core| core.now).fold(self.now, u64::max);
        let cost = |cpu: &PhysicalCpu| cpu.pmu.traffic.cycles(&self.scenario.access);
        let cpus = self.cores.iter().map(|Core { cpu, .. }| CpuReport {
            id: cpu.id,
            did: cpu.ledger,
            switches: cpu.switches,
            traffic: cpu.pmu.traffic,
            cost: cost(cpu),
        });
        let cpus = cpus.collect();
        let guests = (0..self.guests.len()).map(|g| {
            let core = self.cores.iter().find(|core| core.running == Some(g));
            let machine = self.machines.get(g).and_then(|machine| machine.as_deref());
            self.guests[g].report(&self.scenario.guests[g], core.map(|core| &core.cpu), machine)
        });
        let guests = guests.collect();
        let events = (0..self.events.len()).map(|n| self.event_report(n)).collect();
        Report { end, spans: self.owners.finish(end), stays: self.stays, events, guests, cpus, notes: self.notes }
    }

    fn event_report(&mut self, n: usize) -> EventReport {
        let (spec, did) = (&self.scenario.events[n], self.events[n].did);
        let id = EventId(n as u32);
        for core in &mut self.cores {
            core.cpu.perf.update(&mut core.cpu.pmu, id);
        }
        let on_cpu = self.cores.iter().filter_map(|core| core.cpu.perf.find(id));
        let away = self.guests.iter().filter_map(|guest| guest.vcpu.context().find(id));
        // The one that was opened comes before those that were inherited from it.
        let mut family: Vec<&Event> = self.events[n].closed.iter().chain(on_cpu).chain(away).collect();
        family.sort_by_key(|event| event.target != target_of(spec.follow));
        let event = family.first().copied();
        let kind = spec.attr.hardware_config().ok().flatten().and_then(Happening::of_event);
        let cells = kind.map_or_else(Default::default, |kind| did.of(kind));
        EventReport {
            name: spec.name.clone(),
            kind,
            cells,
            truth: cells.sum(spec.attr.exclude.cells()),
            reading: Reading::of_family(family.iter().copied()),
            state: event.map(|event| event.state),
            samples: event.map_or(0, |event| event.samples),
            throttles: event.map_or(0, |event| event.throttles),
        }
    }
}

/// Whom an event was opened for.
fn target_of(follow: Follow) -> Target {
    match follow {
        Follow::Cpu(cpu) => Target::Cpu(cpu),
        Follow::Guest(g) => Target::Task(TaskId(g as u32), None),
    }
}

/// Cycles of the host on a CPU so far.
fn host_cycles(cpu: &PhysicalCpu) -> u64 {
    let cycles = cpu.ledger.of(Happening::Cycles);
    cycles[Cell::new(World::Host, Privilege::User)].wrapping_add(cycles[Cell::new(World::Host, Privilege::Kernel)])
}
