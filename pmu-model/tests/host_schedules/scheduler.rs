//! The scheduler against exhaustive matching, and perf's state against its invariants: E12, E13, exact counts through
//! every move from counter to counter.

use crate::draw::{Draw, SCHEDULES, hold};
use pmu_model::host::attr::{Attr, EventId, Target, TaskId};
use pmu_model::host::cell::{Burst, Happening, Privilege};
use pmu_model::host::constraint::{Counter, Counters, Want, assign, counters_for};
use pmu_model::host::event::{Context, Event, Reading, State};
use pmu_model::host::perf::Perf;
use pmu_model::host::registers::{Pmu, Register, Shape};
use pmu_model::host::sched::{Class, Request, Verdict, schedule};

/// One of each set of counters that the part has.
const CONFIGS: [u64; 10] = [0x0100, 0xc0, 0x3c, 0x0300, 0x013c, 0x0400, 0xc4, 0xd1, 0x04a4, 0x412e];

/// Whether there is any way of placing all wants: augmenting paths.
fn matching_exists(available: Counters, wants: &[Want]) -> bool {
    fn augment(n: usize, wants: &[Want], available: Counters, owner: &mut [Option<usize>; 64], seen: &mut u64) -> bool {
        for counter in wants[n].counters.and(available).iter() {
            if *seen & counter.bit() != 0 {
                continue;
            }
            *seen |= counter.bit();
            let at = usize::from(counter.0);
            if owner[at].is_none_or(|other| augment(other, wants, available, owner, seen)) {
                owner[at] = Some(n);
                return true;
            }
        }
        false
    }
    let mut owner = [None; 64];
    (0..wants.len()).all(|n| augment(n, wants, available, &mut owner, &mut 0))
}

#[test]
fn a_place_is_found_for_all_whenever_there_is_one() {
    let step = |draw: &mut Draw| (draw.of(&CONFIGS), draw.chance(2).then(|| Counter(draw.below(8) as u8)));
    for available in [Counters::of(8, 4), Counters::of(4, 3), Counters::of(2, 1), Counters::of(3, 0)] {
        hold(SCHEDULES / 2, 12, step, |steps| {
            let wants: Vec<Want> =
                steps.iter().map(|(config, last)| Want { counters: counters_for(*config), last: *last }).collect();
            let given = assign(available, &wants);
            assert_eq!(given.is_some(), matching_exists(available, &wants));
            let mut taken = Counters::NONE;
            for (want, counter) in wants.iter().zip(given.iter().flatten()) {
                assert!(want.counters.and(available).without(taken).holds(*counter));
                taken = taken.or(Counters::only(*counter));
            }
        });
    }
}

fn request(draw: &mut Draw) -> Request {
    let wants = (0..1 + draw.below(3)).map(|_| Want { counters: counters_for(draw.of(&CONFIGS)), last: None });
    Request { wants: wants.collect(), class: draw.of(&Class::ORDER) }
}

/// E12, and that no class takes anything from one before it.
#[test]
fn a_pass_keeps_the_order_of_classes() {
    hold(SCHEDULES, 8, request, |requests| {
        let all = schedule(Counters::of(4, 4), requests);
        let mut taken = Counters::NONE;
        for (request, (class, verdict, given)) in requests.iter().zip(&all.rows) {
            let refused = if class.is_pinned() { Verdict::Fails } else { Verdict::Waits };
            assert!(*verdict == Verdict::On || *verdict == refused, "E12");
            assert_eq!(given.len(), if *verdict == Verdict::On { request.wants.len() } else { 0 });
            for (want, counter) in request.wants.iter().zip(given) {
                assert!(want.counters.without(taken).holds(*counter));
                taken = taken.or(Counters::only(*counter));
            }
        }
        for last in Class::ORDER {
            let first: Vec<Request> = requests.iter().filter(|r| r.class <= last).cloned().collect();
            let alone: Vec<Verdict> = schedule(Counters::of(4, 4), &first).rows.iter().map(|row| row.1).collect();
            let among: Vec<Verdict> = all.rows.iter().filter(|row| row.0 <= last).map(|row| row.1).collect();
            assert_eq!(alone, among, "with and without what comes after {last:?}");
        }
    });
}

/// What happens to perf next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Open { slot: usize, config: u64, task: bool, pinned: bool, leader: Option<usize>, disabled: bool },
    Close(usize),
    Enable(usize),
    Disable(usize),
    Task,
    Rotate,
    Run(Privilege, u64),
}

fn step(draw: &mut Draw) -> Step {
    let slot = draw.below(8) as usize;
    match draw.below(12) {
        0..=3 => Step::Open {
            slot,
            config: draw.of(&CONFIGS),
            task: draw.chance(2),
            pinned: draw.chance(3),
            leader: draw.chance(3).then_some(draw.below(8) as usize),
            disabled: draw.chance(5),
        },
        4 => Step::Close(slot),
        5 => Step::Enable(slot),
        6 => Step::Disable(slot),
        7 => Step::Task,
        8 => Step::Rotate,
        _ => Step::Run(draw.of(&[Privilege::User, Privilege::Kernel]), draw.below(500)),
    }
}

struct World {
    pmu: Pmu,
    perf: Perf,
    away: Option<Context>,
    expected: [u64; 8],
    running: [u64; 8],
}

fn happening(config: u64) -> Option<Happening> {
    match config {
        0x0100 => Some(Happening::Retired),
        0x0300 => Some(Happening::RefCycles),
        0x0400 => Some(Happening::Slots),
        other => Happening::of_config(other),
    }
}

impl World {
    fn new() -> World {
        let pmu = Pmu::new(Shape { general: 3, fixed: 4, metrics: false });
        let mut perf = Perf::new(0, &pmu);
        let mut pmu = pmu;
        perf.task_in(&mut pmu, TaskId(1), Context::default());
        World { pmu, perf, away: None, expected: [0; 8], running: [0; 8] }
    }

    fn open(&mut self, step: Step) {
        let Step::Open { slot, config, task, pinned, leader, disabled } = step else { return };
        let id = EventId(slot as u32);
        let gone = self.away.as_ref().is_some_and(|context| context.find(id).is_some());
        if gone || self.perf.find(id).is_some() {
            return;
        }
        let attr = Attr { pinned: pinned && leader.is_none(), disabled, ..Attr::raw(config) };
        let target = if task { Target::Task(TaskId(1), None) } else { Target::Cpu(0) };
        let leader = leader.map(|n| EventId(n as u32));
        if self.perf.open(&mut self.pmu, id, attr, target, leader).is_ok() {
            (self.expected[slot], self.running[slot]) = (0, 0);
        }
    }

    fn take(&mut self, step: Step) {
        let id = |slot: usize| EventId(slot as u32);
        match step {
            Step::Open { .. } => self.open(step),
            Step::Close(slot) => drop(self.perf.close(&mut self.pmu, id(slot))),
            Step::Enable(slot) => self.perf.enable(&mut self.pmu, id(slot)),
            Step::Disable(slot) => self.perf.disable(&mut self.pmu, id(slot)),
            Step::Task => match self.away.take() {
                Some(context) => self.perf.task_in(&mut self.pmu, TaskId(1), context),
                None => self.away = self.perf.task_out(&mut self.pmu).map(|(_, context)| context),
            },
            Step::Rotate => drop(self.perf.rotate(&mut self.pmu)),
            Step::Run(ring, n) => self.run(ring, n),
        }
        self.holds();
    }

    fn run(&mut self, ring: Privilege, n: u64) {
        let burst = Burst::of_instructions(n).with(Happening::Branches, n / 3).with(Happening::CacheMisses, n / 7);
        let active: Vec<(usize, u64)> = self
            .perf
            .on()
            .map(|(_, event)| (event.id.0 as usize, happening(event.config.unwrap()).map_or(0, |kind| burst[kind])))
            .collect();
        for (slot, counted) in active {
            self.expected[slot] += counted;
            self.running[slot] += n;
        }
        let asking = self.pmu.retire(ring, &burst);
        assert!(asking.is_empty(), "nothing samples");
        self.perf.advance(n);
    }

    fn holds(&mut self) {
        let mut taken = Counters::NONE;
        for (counter, event) in self.perf.on() {
            assert!(event.counters.without(taken).holds(counter), "{counter} twice, or not allowed");
            assert_eq!(event.state, State::Active);
            taken = taken.or(Counters::only(counter));
        }
        assert_eq!(self.pmu.peek(Register::GlobalControl), taken.0, "what is on is enabled, and nothing else");
        let contexts = [Some(&self.perf.context), self.perf.task.as_ref().map(|(_, context)| context)];
        for context in contexts.into_iter().flatten() {
            context.events.iter().for_each(|event| member_holds(context, event));
        }
    }

    fn finish(mut self) {
        for slot in 0..8 {
            if let Some(Reading::Value { count, running, .. }) = self.perf.read(&mut self.pmu, EventId(slot as u32)) {
                assert_eq!((count, running), (self.expected[slot], self.running[slot]), "event {slot}");
            }
        }
    }
}

fn member_holds(context: &Context, event: &Event) {
    let leader = context.find(event.leader).expect("a leader leads its group");
    if event.leads() && event.attr.pinned {
        assert_ne!(event.state, State::Inactive, "E12: a pinned event is on, off or in error");
    }
    if leader.state == State::Active && event.state > State::Off {
        assert_eq!(event.state, State::Active, "groups are on as a whole");
    }
    if leader.state != State::Active {
        assert_ne!(event.state, State::Active, "groups are off as a whole");
    }
    assert!(event.running <= event.enabled);
}

#[test]
fn perf_keeps_its_invariants_and_counts_exactly_whatever_moves() {
    hold(SCHEDULES, 40, step, |steps| {
        let mut world = World::new();
        steps.iter().for_each(|step| world.take(*step));
        world.finish();
    });
}

/// Fairness, and E13: over whole turns each of n equal groups of which k fit runs k/n of the time, and its scaled count
/// is the true one; anywhere within a turn it is off by the events of one interval at most.
#[test]
fn rotation_is_fair_and_scaling_is_off_by_one_interval_at_most() {
    let step = |draw: &mut Draw| draw.below(1000);
    hold(SCHEDULES, 1, step, |steps| {
        let Some(seed) = steps.first() else { return };
        let (groups, fit) = (2 + seed % 6, 1 + seed / 6 % 3);
        let mut pmu = Pmu::new(Shape { general: fit as u32, fixed: 0, metrics: false });
        let mut perf = Perf::new(0, &pmu);
        for n in 0..groups as u32 {
            perf.open(&mut pmu, EventId(n), Attr::counting(Happening::Branches), Target::Cpu(0), None).unwrap();
        }
        let intervals = groups * (1 + seed / 18 % 3) + seed / 54 % groups;
        let per_interval = 1000;
        for interval in 1..=intervals {
            pmu.retire(Privilege::User, &Burst::default().with(Happening::Branches, per_interval));
            perf.advance(4_000);
            for n in 0..groups as u32 {
                let reading = perf.read(&mut pmu, EventId(n)).unwrap();
                let truth = interval * per_interval;
                if let Some(scaled) = reading.scaled() {
                    assert!(scaled.abs_diff(truth) <= per_interval, "E13: {scaled} for {truth}");
                }
                let Reading::Value { enabled, running, .. } = reading else { panic!("nothing is pinned") };
                assert_eq!(enabled, interval * 4_000);
                if interval % groups == 0 {
                    assert_eq!(running * groups, enabled * fit.min(groups), "a fair share after whole turns");
                }
            }
            assert_eq!(perf.rotate(&mut pmu), groups > fit);
        }
    });
}

/// What happens to the events of E13 next.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// So many cycles go by.
    Pass(u64),
    /// The multiplexing timer.
    Rotate,
    /// An event is opened: what it counts, whether for the task, how many siblings it leads.
    Open(u64, bool, u64),
    /// The event that was opened so many before the last is closed.
    Close(u64),
    /// Another task, without events, runs for so many cycles.
    Away(u64),
}

/// Happenings a cycle of the kinds that E13 counts.
const STEADY: [(Happening, u64); 3] = [(Happening::Branches, 3), (Happening::BranchMisses, 1), (Happening::Retired, 7)];

fn turn(draw: &mut Draw) -> Turn {
    match draw.below(12) {
        0..=4 => Turn::Pass(1 + draw.below(INTERVAL)),
        5..=8 => Turn::Rotate,
        9 => Turn::Open(draw.below(3), draw.chance(3), draw.below(3)),
        10 => Turn::Close(draw.below(4)),
        _ => Turn::Away(1 + draw.below(INTERVAL)),
    }
}

/// The longest stretch between two decisions, in cycles.
const INTERVAL: u64 = 4_000;

struct Steady {
    pmu: Pmu,
    perf: Perf,
    /// Event, happenings a cycle, and what happened while it was enabled.
    open: Vec<(EventId, u64, u64)>,
    next: u32,
}

impl Steady {
    fn pass(&mut self, cycles: u64) {
        let burst = STEADY.iter().fold(Burst::default(), |burst, (kind, rate)| burst.with(*kind, rate * cycles));
        self.perf.advance(cycles);
        self.pmu.retire(Privilege::User, &burst);
        for (id, rate, truth) in &mut self.open {
            // An event of a task that is away is not enabled.
            *truth += if self.perf.find(*id).is_some() { *rate * cycles } else { 0 };
        }
    }

    fn open(&mut self, kind: u64, task: bool, siblings: u64) {
        let target = if task { Target::Task(TaskId(1), None) } else { Target::Cpu(0) };
        let mut leader = None;
        for n in 0..=siblings {
            let (happening, rate) = STEADY[((kind + n) % 3) as usize];
            let id = EventId(self.next);
            // A group that could never be on is refused as perf refuses it.
            if self.perf.open(&mut self.pmu, id, Attr::counting(happening), target, leader).is_ok() {
                self.open.push((id, rate, 0));
                leader = leader.or(Some(id));
            }
            self.next += 1;
        }
    }

    fn away(&mut self, cycles: u64) {
        let Some((task, context)) = self.perf.task_out(&mut self.pmu) else { return };
        self.pass(cycles);
        self.perf.task_in(&mut self.pmu, task, context);
    }

    /// E13 at any moment, whoever is on: what is steady scales to what is true, which is within any bound.
    fn holds(&mut self) {
        for n in 0..self.open.len() {
            let (id, rate, truth) = self.open[n];
            let Some(reading) = self.perf.read(&mut self.pmu, id) else { continue };
            let Reading::Value { count, enabled, running } = reading else { panic!("nothing is pinned") };
            assert!(running <= enabled);
            assert_eq!(count, rate * running, "what is steady is counted as long as it is on");
            assert_eq!(truth, rate * enabled, "and is enabled as long as its context is there");
            if let Some(scaled) = reading.scaled() {
                assert_eq!(scaled, truth, "E13: of a steady event nothing is lost");
            }
        }
    }
}

/// E13 with groups of all sizes, of CPU and task, that come and go in the middle of intervals.
#[test]
fn a_steady_event_scales_to_the_truth_whatever_comes_and_goes_beside_it() {
    hold(SCHEDULES, 60, turn, |turns| {
        let mut pmu = Pmu::new(Shape { general: 2, fixed: 1, metrics: false });
        let mut perf = Perf::new(0, &pmu);
        perf.task_in(&mut pmu, TaskId(1), Context::default());
        let mut steady = Steady { pmu, perf, open: Vec::new(), next: 0 };
        for turn in turns {
            match *turn {
                Turn::Pass(cycles) => steady.pass(cycles),
                Turn::Rotate => drop(steady.perf.rotate(&mut steady.pmu)),
                Turn::Open(kind, task, siblings) => steady.open(kind, task, siblings),
                Turn::Close(back) if (back as usize) < steady.open.len() => {
                    let (id, ..) = steady.open.remove(steady.open.len() - 1 - back as usize);
                    steady.perf.close(&mut steady.pmu, id);
                }
                Turn::Close(_) => {}
                Turn::Away(cycles) => steady.away(cycles),
            }
            steady.holds();
        }
    });
}

/// E13 for an event that is steady over an interval and uneven within it: off by one interval's happenings at most after
/// whole turns.
#[test]
fn an_event_that_is_steady_by_the_interval_is_off_by_one_interval_at_most() {
    hold(
        SCHEDULES / 10,
        12,
        |draw| draw.below(1000),
        |parts| {
            let (groups, fit) = (2 + parts.len() as u64 % 5, 1 + parts.len() as u64 / 5 % 2);
            let mut pmu = Pmu::new(Shape { general: fit as u32, fixed: 0, metrics: false });
            let mut perf = Perf::new(0, &pmu);
            for n in 0..groups as u32 {
                perf.open(&mut pmu, EventId(n), Attr::counting(Happening::Branches), Target::Cpu(0), None).unwrap();
            }
            for interval in 1..=3 * groups {
                // Of 1000 happenings an interval, a part comes in its first cycle and the rest in its last.
                let early = parts[(interval as usize) % parts.len()];
                perf.advance(1);
                pmu.retire(Privilege::User, &Burst::default().with(Happening::Branches, early));
                perf.advance(INTERVAL - 1);
                pmu.retire(Privilege::User, &Burst::default().with(Happening::Branches, 1000 - early));
                for n in 0..groups as u32 {
                    let scaled = perf.read(&mut pmu, EventId(n)).unwrap().scaled();
                    let truth = interval * 1000;
                    assert!(scaled.is_none_or(|scaled| scaled.abs_diff(truth) <= 1000), "E13: {scaled:?} for {truth}");
                }
                perf.rotate(&mut pmu);
            }
        },
    );
}
