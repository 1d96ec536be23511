//! The cross-phase oracle: a mediated guest under every switching policy against a guest that has a PMU to itself, and
//! host events against what the host really did.
//!
//! Covers E1, E3, E6 to E10 and P1a to P4c. The reference guest below is an independent, much simpler model: no
//! switching, no residency, no host.

use crate::draw::{Draw, SCHEDULES, hold};
use crate::reference::Reference;
use pmu_model::host::attr::{Attr, EventId, Exclude, Target, TaskId};
use pmu_model::host::cell::{Burst, Cell, Happening, Privilege, World};
use pmu_model::host::constraint::{Counter, Counters};
use pmu_model::host::event::Reading;
use pmu_model::host::filter::Permission;
use pmu_model::host::physical::PhysicalCpu;
use pmu_model::host::registers::{EN, INT, MASK, Register, Shape};
use pmu_model::host::switch::{Boundary, Policy};
use pmu_model::host::vpmu::mediated::Mediated;
use pmu_model::host::vpmu::{Mode, Vcpu, Vpmu};

const GUEST: Shape = Shape::THREE_FIXED;
const RINGS: [Privilege; 2] = [Privilege::User, Privilege::Kernel];

/// What happens next. Between steps the guest runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// The guest executes so many instructions, every fourth a branch.
    Guest(Privilege, u64),
    /// An exit: the host's kernel executes so many instructions, and may complete one for the guest.
    Exit(u64, Option<(Privilege, bool)>),
    /// Out of the loop: the host's kernel and user space run, then the vCPU again.
    Leave(u64, u64),
    /// The guest writes.
    Write(Register, u64),
    /// The guest reads, by RDPMC or RDMSR.
    Read(Register, bool),
    /// The guest unmasks its LVTPC.
    Unmask,
    /// A host event is opened (or closed, where it is open).
    Open(usize),
    /// A host event is enabled or disabled.
    Toggle(usize),
    /// The same from the handler of an exit, which then goes on for so many instructions.
    Inside(usize, u64),
}

fn register(draw: &mut Draw) -> Register {
    let counter = draw.of(&[0, 1, 7, 32, 33, 34].map(Counter));
    draw.of(&[
        Register::Count(counter),
        Register::Selector(draw_general(counter)),
        Register::FixedControl,
        Register::GlobalControl,
    ])
}

fn draw_general(counter: Counter) -> u8 {
    counter.0 & 7
}

fn value(draw: &mut Draw, register: Register) -> u64 {
    match register {
        Register::Count(_) => draw.of(&[0, 5, MASK, MASK - 3, MASK - 200]),
        Register::Selector(_) => draw.of(&[0xc0, 0xc4, 0x3c]) | draw.below(4) << 16 | draw.of(&[0, EN, EN, EN | INT]),
        Register::FixedControl => draw.of(&[0, 0x333, 0x001, 0x0b2, 0x9a3]),
        _ => draw.of(&[0, 0x7_0000_00ff, 0x1_0000_0083, 0x6_0000_0001]),
    }
}

pub fn step(draw: &mut Draw) -> Step {
    let ring = draw.of(&RINGS);
    match draw.below(14) {
        0..=3 => Step::Guest(ring, 1 + draw.below(300)),
        4 => Step::Exit(draw.below(100), None),
        5 => Step::Exit(draw.below(100), Some((ring, draw.chance(2)))),
        6 => Step::Leave(draw.below(100), draw.below(100)),
        7..=8 => {
            let register = register(draw);
            Step::Write(register, value(draw, register))
        }
        9 => {
            let register = register(draw);
            Step::Read(draw.of(&[Register::GlobalStatus, register]), draw.chance(2))
        }
        10 => draw.of(&[Step::Unmask, Step::Write(Register::StatusReset, 0x7_0000_00ff)]),
        11 => Step::Open(draw.below(3) as usize),
        12 => Step::Inside(draw.below(3) as usize, draw.below(100)),
        _ => Step::Toggle(draw.below(3) as usize),
    }
}

fn burst(n: u64) -> Burst {
    Burst::of_instructions(n).with(Happening::Branches, n / 4)
}

/// A host event and what it ought to have counted.
#[derive(Clone, Copy)]
struct Watch {
    open: bool,
    enabled: bool,
    expected: u64,
}

const WATCHED: [(Happening, Exclude); 3] = {
    let none = Exclude { user: false, kernel: false, host: false, guest: true, idle: false, hv: false };
    [
        (Happening::Retired, none),
        (Happening::Branches, Exclude { user: true, ..none }),
        (Happening::Cycles, Exclude { kernel: true, ..none }),
    ]
};

/// One CPU, one vCPU, a policy, and what both sides ought to see.
pub struct Run {
    pub cpu: PhysicalCpu,
    pub vcpu: Vcpu,
    reference: Reference,
    watches: [Watch; 3],
    /// Counters that host events ever had.
    hosts: Counters,
    pub loops: u64,
}

impl Run {
    pub fn new(host: Shape, policy: Policy) -> Run {
        Run::on(PhysicalCpu::new(0, host, policy))
    }

    pub fn on(mut cpu: PhysicalCpu) -> Run {
        let mut vcpu = Vcpu::new(TaskId(1), Mode::Mediated, GUEST, Permission::EVERYTHING);
        vcpu.load(&mut cpu);
        vcpu.enter(&mut cpu);
        let watch = Watch { open: false, enabled: false, expected: 0 };
        Run { cpu, vcpu, reference: Reference::new(), watches: [watch; 3], hosts: Counters::NONE, loops: 1 }
    }

    pub fn mediated(&self) -> &Mediated {
        match &self.vcpu.vpmu {
            Vpmu::Mediated(mediated) => mediated,
            _ => panic!("the vCPU is mediated"),
        }
    }

    /// A guest counter's value, wherever it is.
    fn guest_count(&self, counter: Counter) -> u64 {
        let mediated = self.mediated();
        let hardware = mediated.resident.holds(counter);
        if hardware { self.cpu.pmu.peek(Register::Count(counter)) } else { mediated.registers.count(counter) }
    }

    fn guest_is_as_the_reference(&self) {
        for counter in GUEST.counters().iter() {
            assert_eq!(self.guest_count(counter), self.reference.counts[usize::from(counter.0)], "{counter}");
        }
        let mediated = self.mediated();
        let status =
            if mediated.need_load { mediated.registers.status } else { self.cpu.pmu.peek(Register::GlobalStatus) };
        assert_eq!((status, mediated.registers.pmis), (self.reference.status, self.reference.pmis));
    }

    /// E6, E9: while the guest's state is in and the host runs, nothing counts.
    fn host_runs(&mut self, ring: Privilege, n: u64) {
        let mediated = self.mediated();
        let blind = !mediated.need_load;
        if blind {
            assert_eq!(self.cpu.pmu.peek(Register::GlobalControl), 0, "E6");
            assert!(self.cpu.policy.boundary != Boundary::Entry && mediated.whole_loop, "P3: only in a whole loop");
        }
        assert!(!self.cpu.policy.preempt || !blind || !self.cpu.perf.has_host_events(), "P4a: never blind");
        self.hosts = self.cpu.perf.on().fold(self.hosts, |set, (counter, _)| set.or(Counters::only(counter)));
        self.cpu.run_host(ring, &burst(n));
        for (watch, (kind, exclude)) in self.watches.iter_mut().zip(WATCHED) {
            if watch.enabled && !blind && exclude.cells().holds(Cell::new(World::Host, ring)) {
                watch.expected += burst(n)[kind];
            }
        }
        // P3c and E1: guest counters stand still.
        self.guest_is_as_the_reference();
    }

    /// E7, P2c: where the guest is out, what hardware holds is zero or the host's.
    fn nothing_of_the_guest_is_left(&mut self) {
        let mediated = self.mediated();
        if !mediated.need_load {
            return;
        }
        let hosts = self.cpu.perf.on().fold(Counters::NONE, |set, (counter, _)| set.or(Counters::only(counter)));
        self.hosts = self.hosts.or(hosts);
        let mediated = self.mediated();
        assert!(hosts.and(mediated.resident).is_empty(), "a counter has two owners");
        let status = self.cpu.pmu.peek(Register::GlobalStatus);
        assert_eq!(status, 0, "the guest's status is hidden");
        let control = self.cpu.pmu.peek(Register::GlobalControl);
        assert_eq!(control & !hosts.0, 0, "nothing but host events counts");
    }

    fn exit(&mut self, n: u64, emulated: Option<(Privilege, bool)>) {
        self.vcpu.exit(&mut self.cpu);
        self.nothing_of_the_guest_is_left();
        self.host_runs(Privilege::Kernel, n);
        if let Some((ring, branch)) = emulated {
            self.vcpu.emulate(&mut self.cpu, ring, branch);
            self.reference.emulated(ring, branch);
        }
        self.vcpu.enter(&mut self.cpu);
    }

    fn leave(&mut self, kernel: u64, user: u64) {
        self.loops += 1;
        self.vcpu.exit(&mut self.cpu);
        self.vcpu.leave(&mut self.cpu);
        self.nothing_of_the_guest_is_left();
        assert!(self.mediated().need_load && self.mediated().resident.is_empty());
        for counter in self.cpu.pmu.shape().counters().iter() {
            let stale = self.cpu.pmu.peek(Register::Count(counter));
            // What host events counted stays behind in the host's own counters; of the guest nothing does.
            assert!(self.hosts.holds(counter) || stale == 0, "P2c: {counter} still holds {stale}");
        }
        self.host_runs(Privilege::Kernel, kernel);
        self.host_runs(Privilege::User, user);
        self.vcpu.load(&mut self.cpu);
        self.vcpu.enter(&mut self.cpu);
    }

    fn toggle(&mut self, n: usize, open: bool) {
        let id = EventId(n as u32);
        let watch = self.watches[n];
        let attr = Attr::counting(WATCHED[n].0).excluding(WATCHED[n].1);
        let enables = if open { !watch.open } else { watch.open && !watch.enabled };
        self.vcpu.while_in_loop(&mut self.cpu, enables, |perf, pmu| match (open, watch.open, watch.enabled) {
            (true, false, _) => perf.open(pmu, id, attr, Target::Cpu(0), None).unwrap(),
            (true, true, _) => assert_eq!(perf.close(pmu, id).unwrap().count, watch.expected, "final count"),
            (false, true, true) => perf.disable(pmu, id),
            (false, true, false) => perf.enable(pmu, id),
            (false, false, _) => {}
        });
        self.watches[n] = match (open, watch.open) {
            (true, true) => Watch { open: false, enabled: false, expected: 0 },
            (true, false) => Watch { open: true, enabled: true, expected: 0 },
            (false, open) => Watch { enabled: open && !watch.enabled, ..watch },
        };
    }

    pub fn take(&mut self, step: Step) {
        match step {
            Step::Guest(ring, n) => {
                self.vcpu.run(&mut self.cpu, ring, &burst(n));
                self.reference.run(ring, &burst(n));
            }
            Step::Exit(n, emulated) => self.exit(n, emulated),
            Step::Leave(kernel, user) => self.leave(kernel, user),
            Step::Write(register, value) => {
                self.vcpu.write(&mut self.cpu, register, value).unwrap();
                self.reference.write(register, value);
            }
            Step::Read(register, rdpmc) => {
                let value = self.vcpu.read(&mut self.cpu, register, rdpmc).unwrap();
                assert_eq!(value, self.reference.read(register), "{register:?}");
            }
            Step::Unmask => {
                self.vcpu.registers_mut().unwrap().lvtpc_masked = false;
                self.reference.masked = false;
            }
            Step::Open(n) => self.toggle(n, true),
            Step::Toggle(n) => self.toggle(n, false),
            Step::Inside(n, instructions) => {
                self.vcpu.exit(&mut self.cpu);
                self.toggle(n, false);
                self.host_runs(Privilege::Kernel, instructions);
                self.vcpu.enter(&mut self.cpu);
            }
        }
        self.guest_is_as_the_reference();
        self.cpu.perf.advance(10);
    }

    /// Every host event counted what the host did while it could (P3a, P4a), and nothing is to be scaled (E10).
    pub fn finish(mut self) -> PhysicalCpu {
        for n in 0..3 {
            let watch = self.watches[n];
            let id = EventId(n as u32);
            let reading = self.vcpu.while_in_loop(&mut self.cpu, false, |perf, pmu| perf.read(pmu, id));
            assert_eq!(reading.is_some(), watch.open);
            if let Some(Reading::Value { count, enabled, running }) = reading {
                assert_eq!((count, enabled), (watch.expected, running), "host event {n}");
            }
        }
        self.cpu
    }
}

fn run(host: Shape, policy: Policy, steps: &[Step]) -> Run {
    let mut run = Run::new(host, policy);
    steps.iter().for_each(|step| run.take(*step));
    run
}

/// A number that the steps decide, so that a schedule keeps its policy while it shrinks.
fn shape_of(n: u64) -> Shape {
    if n & 1 == 0 { Shape::SAPPHIRE_RAPIDS } else { Shape::THREE_FIXED }
}

#[test]
fn under_every_policy_guest_and_host_see_what_they_did() {
    let policies: Vec<Policy> = Policy::every().collect();
    for (n, policy) in (0..).zip(policies) {
        hold(SCHEDULES / 24 + 1, 40, step, |steps| {
            run(shape_of(n), policy, steps).finish();
            run(shape_of(n + 1), policy, steps).finish();
        });
    }
}

/// P2b: the same schedule under the same policy with and without phase 2.
#[test]
fn selective_switching_never_writes_more() {
    let others: Vec<Policy> = Policy::every().filter(|policy| !policy.selective).collect();
    for policy in others {
        hold(SCHEDULES / 12 + 1, 30, step, |steps| {
            let plain = run(Shape::SAPPHIRE_RAPIDS, policy, steps).finish();
            let selective = run(Shape::SAPPHIRE_RAPIDS, Policy { selective: true, ..policy }, steps).finish();
            assert!(selective.pmu.traffic.wrmsr <= plain.pmu.traffic.wrmsr);
        });
    }
}

fn quiet(draw: &mut Draw) -> Step {
    let ring = draw.of(&RINGS);
    match draw.below(4) {
        0 => Step::Exit(draw.below(100), Some((ring, true))),
        1 => Step::Leave(draw.below(100), draw.below(100)),
        _ => Step::Guest(ring, draw.below(1000)),
    }
}

/// P1a: no access at all, however often the vCPU is scheduled.
#[test]
fn a_guest_that_leaves_its_pmu_alone_costs_no_access_when_switching_is_lazy() {
    let lazy: Vec<Policy> = Policy::every().filter(|policy| policy.lazy).collect();
    hold(SCHEDULES, 30, quiet, |steps| {
        let policy = lazy[steps.len() % lazy.len()];
        let traffic = run(Shape::SAPPHIRE_RAPIDS, policy, steps).finish().pmu.traffic;
        assert_eq!((traffic.accesses(), traffic.vmwrite), (0, 0));
    });
}

fn without_host_events(draw: &mut Draw) -> Step {
    loop {
        let step = step(draw);
        if !matches!(step, Step::Open(_) | Step::Toggle(_) | Step::Inside(..)) {
            return step;
        }
    }
}

/// P3b: while the host has no event, one switch in and one out for each loop.
#[test]
fn a_dynamic_boundary_switches_once_a_loop_while_the_host_has_no_event() {
    for boundary in [Boundary::Dynamic, Boundary::Bitmap] {
        hold(SCHEDULES / 2, 30, without_host_events, |steps| {
            let policy = Policy { boundary, ..Policy::BASELINE };
            let run = run(shape_of(steps.len() as u64), policy, steps);
            let (loops, exits, switches) = (run.loops, run.vcpu.exits, run.cpu.switches);
            assert_eq!((switches.loads, switches.puts), (loops, loops - 1), "whatever the {exits} exits");
            run.finish();
        });
    }
}

/// E8: load and put are the identity on what the guest sees; the baseline pays for both at every entry.
#[test]
fn the_baseline_switches_at_every_entry() {
    hold(SCHEDULES, 30, without_host_events, |steps| {
        let run = run(Shape::SAPPHIRE_RAPIDS, Policy::BASELINE, steps);
        let (exits, switches) = (run.vcpu.exits, run.cpu.switches);
        assert_eq!((switches.loads, switches.puts), (exits + 1, exits));
        run.finish();
    });
}

/// P4b: callbacks in a row, inside a switch point and out of it, put the state once.
#[test]
fn preempting_twice_switches_once() {
    let mut run = Run::new(Shape::SAPPHIRE_RAPIDS, Policy::PREEMPT);
    run.take(Step::Open(0));
    run.take(Step::Open(1));
    assert_eq!(run.cpu.switches.preemptions, 1, "the second finds the boundary at entry, and the guest out");
    run.take(Step::Exit(50, None));
    let host = run.finish();
    assert_eq!(host.perf.find(EventId(0)).map(|event| event.count), Some(50));
}

/// The window that phase 3 documents, to the event: from the opening to the next time out of the loop.
#[test]
fn without_preemption_an_event_waits_for_the_end_of_the_loop() {
    let steps = [Step::Open(0), Step::Exit(70, None), Step::Leave(5, 6), Step::Exit(40, None)];
    let count = |policy| run(Shape::SAPPHIRE_RAPIDS, policy, &steps).finish().perf.find(EventId(0)).unwrap().count;
    assert_eq!(count(Policy::BASELINE), 70 + 11 + 40);
    assert_eq!(count(Policy::PREEMPT), 70 + 11 + 40);
    assert_eq!(count(Policy::DYNAMIC), 11 + 40);
    assert_eq!(count(Policy::BITMAP), 11 + 40);
}
