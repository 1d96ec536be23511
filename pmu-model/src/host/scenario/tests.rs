//! Scenarios whose numbers can be said beforehand: the claims of the discussions.

use super::*;
use crate::host::attr::{Attr, Exclude};
use crate::host::cell::{Cell, Cells, World};
use crate::host::constraint::{Counter, Counters};
use crate::host::event::{Reading, State};
use crate::host::owners::Owner;
use crate::host::registers::{EN, OS, USR};
use crate::host::switch::Boundary;

const HOST_ONLY: Exclude = Exclude { user: false, kernel: false, host: false, guest: true, idle: false, hv: false };

fn counting(user: u64) -> Vec<Segment> {
    vec![
        Segment::Write(Register::Selector(0), 0xc4 | USR | OS | EN),
        Segment::Write(Register::FixedControl, 0x333),
        Segment::Write(Register::GlobalControl, 0x7_0000_00ff),
        Segment::Run(Privilege::User, user),
    ]
}

fn guest(mode: Mode) -> GuestSpec {
    GuestSpec {
        name: "guest".to_owned(),
        mode,
        shape: Shape::THREE_FIXED,
        permission: Permission::EVERYTHING,
        cpu: 0,
        apic_in_kernel: true,
        executed: false,
        thread_of: None,
        setup: Vec::new(),
        program: vec![
            Segment::Run(Privilege::User, 40_000),
            Segment::Run(Privilege::Kernel, 9_000),
            Segment::Exit(ExitReason::EptViolation),
        ],
        rates: [Rates::ordinary(); 2],
        aperf: None,
        selects: None,
    }
}

fn scenario(policy: Policy, guests: Vec<GuestSpec>, events: Vec<EventSpec>) -> Scenario {
    let cpu =
        CpuSpec { shape: Shape::SAPPHIRE_RAPIDS, busy: true, idle_polls: false, slice: 1_000_000, host_turn: 200_000 };
    let starts = (0..guests.len()).map(|g| (0, Action::Start(g)));
    let opens = (0..events.len()).map(|n| (0, Action::Open(n)));
    Scenario {
        title: String::new(),
        cycles_per_second: 2_200_000_000,
        end: 10_000_000,
        tick: 2_200_000,
        rotation: 1_000_000,
        cpus: vec![cpu; 2],
        pmus: Vec::new(),
        policy,
        exits: ExitTable::default(),
        access: AccessCosts::QUOTED,
        aperf: AperfCosts::QUOTED,
        core_clock_percent: 100,
        host_rates: [Rates::ordinary(); 2],
        host_user_percent: 60,
        timeline: starts.chain(opens).collect(),
        events,
        guests,
    }
}

fn event(name: &str, attr: Attr) -> EventSpec {
    EventSpec { name: name.to_owned(), attr, follow: Follow::Cpu(0), leader: None }
}

fn exact(report: &EventReport) -> u64 {
    report.reading.and_then(Reading::exact).unwrap()
}

#[test]
fn cutting_a_stretch_changes_no_sum() {
    let (mut whole, mut parts) = (Stream::new(Rates::ordinary()), Stream::new(Rates::ordinary()));
    let all = whole.take(12_345);
    let sum = [1, 999, 2_000, 345, 9_000].into_iter().fold(Burst::default(), |sum, n| sum + parts.take(n));
    assert_eq!((all, whole), (sum, parts));
    assert_eq!((all[Happening::Retired], all[Happening::Cycles]), (18_517, 12_345));
}

#[test]
fn a_limit_is_reached_with_the_last_cycle_and_not_before() {
    let mut stream = Stream::new(Rates::ordinary());
    stream.take(7);
    let mut limits = Burst([u64::MAX; KINDS]);
    limits[Happening::Branches] = 100;
    let cycles = stream.cycles_until(&limits);
    let mut before = stream;
    assert_eq!(before.take(cycles - 1)[Happening::Branches], 99);
    assert_eq!(stream.take(cycles)[Happening::Branches], 100);
}

#[test]
fn a_guest_reads_its_own_truth_in_every_mode_but_pass_through() {
    for mode in [Mode::PerfBased, Mode::Mediated, Mode::PassThrough] {
        let spec = GuestSpec { setup: counting(1), ..guest(mode) };
        let report = run(&scenario(Policy::BASELINE, vec![spec], Vec::new()));
        let guest = &report.guests[0];
        assert_eq!(guest.counters.len(), 4, "{:?}", report.notes);
        for counter in &guest.counters {
            assert!(counter.truth > 1_000_000, "{counter:?}");
            match mode {
                Mode::PassThrough => assert!(counter.seen > counter.truth, "it counts the host too: {counter:?}"),
                _ => assert_eq!(counter.seen, counter.truth, "{mode:?} {:?}", counter.counter),
            }
        }
        assert_eq!(guest.starved_cycles, 0);
    }
}

#[test]
fn host_events_count_the_truth_while_nobody_takes_their_counters() {
    for mode in [Mode::None, Mode::PerfBased] {
        let spec = GuestSpec { setup: counting(1), ..guest(mode) };
        let attr = Attr::counting(Happening::BranchMisses);
        let events = (0..16).filter(|bits| bits & 3 != 3 && bits & 12 != 12).take(6);
        let events =
            events.map(|bits| event(&format!("{bits:04b}"), attr.excluding(Exclude::from_bits(bits)))).collect();
        let report = run(&scenario(Policy::BASELINE, vec![spec], events));
        for event in &report.events {
            assert!(event.truth > 0 || mode == Mode::None, "{event:?}");
            assert_eq!(exact(event), event.truth, "{mode:?} {}", event.name);
        }
        let did = report.cpus[0].did.of(Happening::BranchMisses);
        assert_eq!(report.events[0].cells, did, "an event that excludes nothing looks everywhere");
        assert!(Cell::ALL.iter().all(|cell| did[*cell] > 0));
    }
}

/// S2: a pinned event of the host takes the guest's fixed counter; the guest's stands still.
#[test]
fn a_pinned_host_event_starves_a_perf_based_guest() {
    let spec = GuestSpec { setup: counting(1), ..guest(Mode::PerfBased) };
    let slots = Attr::counting(Happening::Retired).pinned();
    let events = (0..9).map(|n| event(&format!("watch {n}"), slots)).collect();
    let report = run(&scenario(Policy::BASELINE, vec![spec], events));
    let guest = &report.guests[0];
    assert!(guest.starved.holds(Counter(0)) && guest.starved.holds(Counter::fixed(0)));
    assert!(guest.starved_cycles > 1_000_000);
    for counter in &guest.counters {
        let starved = guest.starved.holds(counter.counter);
        assert_eq!(counter.seen == counter.truth, !starved, "{counter:?}");
    }
    assert!(report.events.iter().all(|event| exact(event) == event.truth));
}

#[test]
fn mediated_guests_and_events_that_count_guests_are_refused_beside_each_other() {
    let events = || vec![event("all", Attr::counting(Happening::Cycles))];
    let first = run(&scenario(Policy::BASELINE, vec![guest(Mode::Mediated)], events()));
    assert_eq!(first.events[0].reading, None);
    assert!(first.notes[0].text.contains("EOPNOTSUPP"), "{:?}", first.notes);
    let mut late = scenario(Policy::BASELINE, vec![guest(Mode::Mediated)], events());
    late.timeline.rotate_left(1);
    let late = run(&late);
    assert!(!late.guests[0].created && late.notes[0].text.contains("EBUSY"), "{:?}", late.notes);
    assert_eq!(exact(&late.events[0]), late.events[0].truth);
}

/// The accesses that each policy makes for a guest that never, rarely and always uses its PMU, in that order of use.
fn accesses(policy: Policy, setup: Vec<Segment>) -> u64 {
    let events = vec![event("host cycles", Attr::counting(Happening::Cycles).excluding(HOST_ONLY))];
    let spec = GuestSpec { setup, ..guest(Mode::Mediated) };
    let report = run(&scenario(policy, vec![spec], events));
    assert_eq!(exact(&report.events[0]), report.events[0].truth, "{policy:?}");
    for counter in &report.guests[0].counters {
        assert_eq!(counter.seen, counter.truth, "{policy:?}");
    }
    report.cpus[0].traffic.accesses()
}

#[test]
fn lazy_switching_saves_everything_for_a_guest_that_never_counts_and_nothing_for_one_that_always_does() {
    let idle = |policy| accesses(policy, Vec::new());
    let busy = |policy| accesses(policy, counting(1));
    assert!(idle(Policy::LAZY) * 10 < idle(Policy::BASELINE));
    assert_eq!(idle(Policy::BASELINE) > 1_000, busy(Policy::BASELINE) > 1_000);
    let (lazy, baseline) = (busy(Policy::LAZY), busy(Policy::BASELINE));
    assert!(lazy.abs_diff(baseline) * 100 < baseline, "{lazy} and {baseline}");
    assert!(busy(Policy::SELECTIVE) < baseline && busy(Policy::BITMAP) < baseline);
    assert!(busy(Policy::ALL) <= busy(Policy::SELECTIVE));
}

#[test]
fn a_dynamic_boundary_pays_by_the_loop_while_the_host_has_no_event() {
    let switches = |boundary| {
        let spec = GuestSpec { setup: counting(1), ..guest(Mode::Mediated) };
        let policy = Policy { boundary, ..Policy::BASELINE };
        run(&scenario(policy, vec![spec], Vec::new())).cpus[0].switches.loads
    };
    assert!(switches(Boundary::Dynamic) * 10 < switches(Boundary::Entry));
}

/// The event created while guest state is loaded: it misses the host's work until the loop ends, unless it preempts.
#[test]
fn an_event_opened_inside_the_loop_misses_what_the_policy_says() {
    let count = |policy| {
        let spec = GuestSpec { setup: counting(1), ..guest(Mode::Mediated) };
        let events = vec![event("late", Attr::counting(Happening::Retired).excluding(HOST_ONLY))];
        let mut scenario = scenario(policy, vec![spec], events);
        scenario.timeline[1].0 = 500_000;
        let report = run(&scenario).events.remove(0);
        (exact(&report), report.truth)
    };
    for policy in [Policy::BASELINE, Policy::LAZY, Policy::SELECTIVE, Policy::PREEMPT, Policy::ALL] {
        let (count, truth) = count(policy);
        assert_eq!(count, truth, "{policy:?}");
    }
    let (dynamic, truth) = count(Policy::DYNAMIC);
    assert!(dynamic < truth && truth - dynamic < truth / 2, "{dynamic} of {truth}");
}

#[test]
fn multiplexed_events_scale_to_about_the_truth() {
    let attr = Attr::counting(Happening::Branches).excluding(HOST_ONLY);
    let events = (0..10).map(|n| event(&format!("branches {n}"), attr)).collect();
    let mut scenario = scenario(Policy::BASELINE, Vec::new(), events);
    scenario.end = 100_000_000;
    for event in run(&scenario).events {
        assert!(exact(&event) < event.truth);
        let scaled = event.reading.and_then(Reading::scaled).unwrap();
        assert!(scaled.abs_diff(event.truth) * 20 < event.truth, "{scaled} of {}", event.truth);
    }
}

#[test]
fn a_group_of_slots_and_metrics_shares_out_the_slots() {
    let attr = |config| Attr::raw(config).excluding(HOST_ONLY);
    let mut events = vec![event("slots", attr(0x0400))];
    for config in [0x8000, 0x8100, 0x8200, 0x8300] {
        events.push(EventSpec { leader: Some(0), ..event(&format!("{config:#x}"), attr(config)) });
    }
    let report = run(&scenario(Policy::BASELINE, Vec::new(), events));
    assert_eq!(exact(&report.events[0]), report.events[0].truth);
    for event in &report.events[1..] {
        assert!(exact(event).abs_diff(event.truth) * 50 < report.events[0].truth, "{event:?}");
    }
}

/// S3: the VM whose counters stop on the other cluster, and the one that refuses to run there.
#[test]
fn on_the_other_cluster_counters_stop_or_the_entry_fails() {
    let pmu = |id, name: &str, cpus| HostPmu { id, name: name.to_owned(), cpus, counters: 8 };
    let moved = |selects| {
        let spec = GuestSpec { setup: counting(1), selects, ..guest(Mode::PerfBased) };
        let mut scenario = scenario(Policy::BASELINE, vec![spec], Vec::new());
        scenario.pmus = vec![pmu(8, "big", 1), pmu(9, "little", 2)];
        scenario.timeline.push((5_000_000, Action::Move(0, 1)));
        run(&scenario)
    };
    let silent = moved(None);
    assert!(silent.guests[0].counters.iter().all(|c| c.seen > 0 && c.seen < c.truth));
    assert!(silent.guests[0].starved_cycles > 3_000_000 && silent.notes.is_empty());
    let refused = moved(Some(8));
    assert!(refused.guests[0].counters.iter().all(|c| c.seen == c.truth));
    assert!(refused.notes[0].text.contains("CPU_UNSUPPORTED"));
    assert_eq!(refused.cpus[1].did.of(Happening::Retired).of(World::Guest), 0);
}

/// S4: HLT, steal and migration.
#[test]
fn mperf_stands_still_in_hlt_and_goes_on_through_steal() {
    let ratio = |program: Vec<Segment>, migrate: bool| {
        let aperf = Some((Design::Switched, 1 << 48));
        let spec = GuestSpec { program, aperf, ..guest(Mode::None) };
        let mut scenario = scenario(Policy::BASELINE, vec![spec], Vec::new());
        scenario.timeline.extend(migrate.then_some((3_000_000, Action::Migrate(0, 1_000_000))));
        run(&scenario).guests[0].aperf.unwrap()
    };
    let spinning = ratio(vec![Segment::Run(Privilege::User, 10_000)], false);
    assert_eq!((spinning.mperf, spinning.drift), (spinning.tsc, 0));
    let live = spinning.aperf as f64 / spinning.mperf as f64;
    assert!((0.82..0.85).contains(&live), "a sixth is the host's: {live}");
    let halting = ratio(vec![Segment::Run(Privilege::User, 100_000), Segment::Halt(300_000)], false);
    assert!(halting.mperf * 2 < halting.tsc && halting.drift == halting.tsc - halting.mperf);
    let migrated = ratio(vec![Segment::Run(Privilege::User, 10_000)], true);
    assert!(migrated.drift >= 990_000, "{migrated:?}");
}

#[test]
fn the_record_of_owners_agrees_with_the_mode() {
    let owners = |mode| {
        let spec = GuestSpec { setup: counting(1), ..guest(mode) };
        let events = vec![event("host", Attr::counting(Happening::Cycles).excluding(HOST_ONLY).pinned())];
        run(&scenario(Policy::BASELINE, vec![spec], events)).spans
    };
    let mediated = owners(Mode::Mediated);
    let held =
        |owner: fn(&Owner) -> bool| mediated.iter().filter(|s| owner(&s.owner)).map(|s| s.to - s.from).sum::<u64>();
    assert!(held(|owner| matches!(owner, Owner::Guest(0, 33))) > 5_000_000);
    for (n, span) in mediated.iter().enumerate() {
        let overlaps = |other: &super::super::owners::Span| {
            other.cpu == span.cpu && other.counter == span.counter && other.from < span.to && span.from < other.to
        };
        assert!(mediated[n + 1..].iter().take(2).all(|other| !overlaps(other)), "{span:?} has company");
    }
    let perf_based = owners(Mode::PerfBased);
    let crossed = |s: &&super::super::owners::Span| matches!(s.owner, Owner::Guest(0, n) if n != s.counter.0);
    assert!(perf_based.iter().any(|s| crossed(&s)), "a guest's counter sits on another of the host's");
    assert!(Counters::of(8, 4).holds(perf_based[0].counter));
}

#[test]
fn a_run_repeats() {
    let spec = GuestSpec { setup: counting(1), ..guest(Mode::Mediated) };
    let events = vec![event("host", Attr::counting(Happening::Cycles).excluding(HOST_ONLY).each(10_000))];
    let scenario = scenario(Policy::ALL, vec![spec], events);
    let first = run(&scenario);
    assert_eq!(first, run(&scenario));
    assert!(first.events[0].samples > 100 && first.events[0].state != Some(State::Error));
    assert_ne!(first.events[0].cells, Cells::default());
}

/// A frequency finds its period within a few samples, and keeps it.
#[test]
fn a_frequency_gives_about_so_many_samples() {
    let attr = Attr { sample: crate::host::attr::Sample::Frequency(20_000), ..Attr::counting(Happening::Branches) };
    let mut scenario = scenario(Policy::BASELINE, Vec::new(), vec![event("often", attr.excluding(HOST_ONLY))]);
    scenario.end = 220_000_000;
    let report = run(&scenario).events.remove(0);
    assert_eq!(exact(&report), report.truth);
    assert!((1_900..2_200).contains(&report.samples), "{} samples in a tenth of a second", report.samples);
}

/// What the host does on the fast path is nobody's: neither the guest's nor the host's counters move.
#[test]
fn work_on_the_fast_path_is_counted_by_nobody() {
    let program = vec![Segment::Run(Privilege::User, 40_000), Segment::Exit(ExitReason::PreemptionTimer)];
    let spec = GuestSpec { setup: counting(1), program, ..guest(Mode::Mediated) };
    let events = vec![event("host", Attr::counting(Happening::Retired).excluding(HOST_ONLY))];
    let report = run(&scenario(Policy::BASELINE, vec![spec], events));
    let exits = report.guests[0].exits.iter().find(|(reason, _)| *reason == ExitReason::PreemptionTimer).unwrap().1;
    let work = ExitTable::default().of(ExitReason::PreemptionTimer).kernel.instructions;
    assert_eq!(report.events[0].truth - exact(&report.events[0]), exits * work);
    assert!(report.guests[0].counters.iter().all(|counter| counter.seen == counter.truth));
}

/// An event that inherits counts what its task's children do, and reads the sum; one that does not counts the parent.
#[test]
fn an_event_that_inherits_follows_the_tasks_that_are_forked_while_it_is_open() {
    let follows = |inherit| EventSpec {
        follow: Follow::Guest(0),
        ..event("task", Attr { inherit, ..Attr::counting(Happening::Branches) })
    };
    let child = |cpu| GuestSpec { thread_of: Some(0), cpu, ..guest(Mode::None) };
    let mut scenario =
        scenario(Policy::BASELINE, vec![guest(Mode::None), child(0), child(1)], vec![follows(true), follows(false)]);
    // The first child is forked before the events are opened, the second one behind.
    scenario.timeline =
        vec![(0, Action::Start(0)), (0, Action::Start(1)), (500_000, Action::Open(0)), (500_000, Action::Open(1))];
    scenario.timeline.extend([
        (2_000_000, Action::Start(2)),
        (6_000_000, Action::Disable(0)),
        (7_000_000, Action::Enable(0)),
    ]);
    let report = run(&scenario);
    let [family, alone] = &report.events[..] else { panic!("two events") };
    assert_eq!((exact(family), exact(alone)), (family.truth, alone.truth));
    assert!(family.truth > alone.truth + 500_000, "the second child counts: {} and {}", family.truth, alone.truth);
    let by_children = report.guests[2].did.of(Happening::Branches).total();
    let off = by_children / 8;
    assert!(family.truth - alone.truth < by_children - off / 2, "and not while it was disabled");
}

/// The idle task is the host's kernel, by software told apart.
#[test]
fn an_event_that_excludes_idle_stops_while_the_idle_task_polls() {
    let all = Attr::counting(Happening::Retired);
    let awake = all.excluding(Exclude { idle: true, ..Exclude::default() });
    for general in [false, true] {
        // With fixed counter 0 taken, one that excludes idle sits on a general counter.
        let first = if general { all.pinned() } else { awake };
        let events = vec![event("first", first), event("awake", awake), event("all", all)];
        let program = vec![Segment::Run(Privilege::User, 40_000), Segment::Halt(60_000)];
        let mut scenario = scenario(Policy::BASELINE, vec![GuestSpec { program, ..guest(Mode::None) }], events);
        scenario.cpus[0] = CpuSpec { busy: false, idle_polls: true, ..scenario.cpus[0] };
        let report = run(&scenario);
        for event in &report.events {
            assert_eq!(exact(event), event.truth, "{}", event.name);
        }
        let (awake, all) = (report.events[1].truth, report.events[2].truth);
        assert!(awake * 2 < all + 1_000_000 && awake > 1_000_000, "{awake} of {all}");
    }
}
