//! Random scenarios: whatever runs, moves, halts and samples, guests read their truth and host events theirs, but for what
//! the model says.

use crate::draw::{Draw, hold};
use pmu_model::host::aperf::AperfCosts;
use pmu_model::host::attr::{Attr, Exclude};
use pmu_model::host::cell::{Cell, Happening, Ledger, Privilege, World};
use pmu_model::host::event::Reading;
use pmu_model::host::exits::{ExitReason, ExitTable};
use pmu_model::host::filter::Permission;
use pmu_model::host::registers::{AccessCosts, EN, INT, OS, Register, Shape, USR};
use pmu_model::host::scenario::{Action, CpuSpec, EventSpec, Follow, GuestSpec, Rates, Report, Scenario, Segment, run};
use pmu_model::host::switch::{Boundary, Policy};
use pmu_model::host::vpmu::Mode;

/// A piece of a scenario.
#[derive(Clone, Copy, Debug)]
enum Piece {
    /// Of the program of guest 0 or 1.
    Segment(usize, Segment),
    /// Of the timeline.
    Then(u64, Action),
}

const KINDS: [Happening; 4] = [Happening::Retired, Happening::Branches, Happening::Cycles, Happening::BranchMisses];
const REASONS: [ExitReason; 5] =
    [ExitReason::EptViolation, ExitReason::Io, ExitReason::Cpuid, ExitReason::Hlt, ExitReason::ExternalInterrupt];

fn piece(draw: &mut Draw) -> Piece {
    let guest = draw.below(2) as usize;
    let segment = match draw.below(12) {
        0..=2 => Segment::Run(Privilege::User, 1 + draw.below(30_000)),
        3..=4 => Segment::Run(Privilege::Kernel, 1 + draw.below(9_000)),
        5..=6 => Segment::Exit(draw.of(&REASONS)),
        7 => Segment::Halt(draw.below(40_000)),
        8 => Segment::Write(Register::GlobalControl, draw.of(&[0, 0x7_0000_00ff, 0x7_0000_00ff, 0x1_0000_0001])),
        9 => Segment::Read(Register::Count(pmu_model::host::constraint::Counter(draw.of(&[0, 1, 32]))), true),
        10 => Segment::ServePmi,
        _ => {
            let (event, cpu) = (draw.below(4) as usize, draw.below(2) as u32);
            let action = draw.of(&[
                Action::Move(guest, cpu),
                Action::Enable(event),
                Action::Disable(event),
                Action::Close(event),
                Action::Open(event),
            ]);
            return Piece::Then(draw.below(900_000), action);
        }
    };
    Piece::Segment(guest, segment)
}

fn guest(mode: Mode, place: usize, pieces: &[Piece]) -> GuestSpec {
    let of = |piece: &Piece| match piece {
        Piece::Segment(guest, segment) if *guest == place => Some(*segment),
        _ => None,
    };
    GuestSpec {
        name: format!("guest {place}"),
        mode,
        shape: Shape::THREE_FIXED,
        permission: Permission::EVERYTHING,
        cpu: place as u32,
        apic_in_kernel: true,
        executed: false,
        thread_of: None,
        setup: vec![
            Segment::Write(Register::Selector(0), 0xc4 | USR | EN | INT),
            Segment::Write(Register::Selector(1), 0xc0 | OS | EN),
            Segment::Write(Register::Count(pmu_model::host::constraint::Counter(0)), (1 << 48) - 5_000),
            Segment::Write(Register::FixedControl, 0x333),
            Segment::Write(Register::GlobalControl, 0x7_0000_00ff),
        ],
        program: [Segment::Run(Privilege::User, 7_000)].into_iter().chain(pieces.iter().filter_map(of)).collect(),
        rates: [Rates::ordinary(); 2],
        aperf: None,
        selects: None,
    }
}

fn scenario(mode: Mode, policy: Policy, pieces: &[Piece]) -> Scenario {
    let excludes = [8, 8 | 1, 8 | 2, 8];
    let events = KINDS.iter().zip(excludes).enumerate().map(|(n, (kind, bits))| {
        let attr = Attr::counting(*kind).excluding(Exclude::from_bits(bits));
        let attr = if n == 3 { attr.each(500) } else { attr };
        EventSpec { name: format!("event {n}"), attr, follow: Follow::Cpu(n as u32 / 2), leader: None }
    });
    let starts = [(0, Action::Start(0)), (0, Action::Start(1))];
    let opens = (0..4).map(|n| (0, Action::Open(n)));
    let then = pieces.iter().filter_map(|piece| match piece {
        Piece::Then(at, action) => Some((*at, *action)),
        Piece::Segment(..) => None,
    });
    let mut timeline: Vec<(u64, Action)> = starts.into_iter().chain(opens).chain(then).collect();
    timeline.sort_by_key(|(at, _)| *at);
    let cpu =
        CpuSpec { shape: Shape::SAPPHIRE_RAPIDS, busy: true, idle_polls: false, slice: 100_000, host_turn: 30_000 };
    Scenario {
        title: String::new(),
        cycles_per_second: 2_200_000_000,
        end: 1_000_000,
        tick: 250_000,
        rotation: 200_000,
        cpus: vec![cpu, CpuSpec { shape: Shape { fixed: 3, metrics: false, ..cpu.shape }, ..cpu }],
        pmus: Vec::new(),
        policy,
        exits: ExitTable::default(),
        access: AccessCosts::QUOTED,
        aperf: AperfCosts::QUOTED,
        core_clock_percent: 100,
        host_rates: [Rates::ordinary(); 2],
        host_user_percent: 30,
        events: events.collect(),
        guests: (0..2).map(|n| guest(mode, n, pieces)).collect(),
        timeline,
    }
}

/// What the host did on the fast path, which nobody counts.
fn fast_work(report: &Report) -> u64 {
    let fast = [ExitReason::Cpuid, ExitReason::PreemptionTimer];
    let exits = report.guests.iter().flat_map(|guest| &guest.exits);
    exits.filter(|(reason, _)| fast.contains(reason)).map(|(_, n)| n).sum()
}

fn everybody_has_the_truth(policy: Policy, report: &Report) {
    for guest in &report.guests {
        assert!(guest.created);
        for counter in guest.counters.iter().filter(|counter| !guest.starved.holds(counter.counter)) {
            assert_eq!(counter.seen, counter.truth, "{}: {}", guest.name, counter.counter);
        }
    }
    let stale = policy.boundary != Boundary::Entry && !policy.preempt;
    for event in &report.events {
        if let Some(Reading::Value { count, enabled, running }) = event.reading {
            assert!(count <= event.truth, "{}: {count} of {}", event.name, event.truth);
            if enabled == running && !stale && fast_work(report) == 0 {
                assert_eq!(count, event.truth, "{}", event.name);
            }
        }
    }
    let mut did = Ledger::default();
    report.guests.iter().for_each(|guest| did.add(&guest.did));
    let cpus = report.cpus.iter();
    let cycles = |ledger: &Ledger| ledger.of(Happening::Cycles).of(World::Guest);
    assert_eq!(cycles(&did), cpus.map(|cpu| cycles(&cpu.did)).sum::<u64>(), "the guests' cycles are the CPUs'");
    assert!(report.spans.iter().all(|span| span.from < span.to && span.to <= report.end));
    assert_eq!(did.of(Happening::Cycles)[Cell::ALL[0]], 0);
}

#[test]
fn in_random_scenarios_everybody_counts_the_truth() {
    let policies: Vec<Policy> = Policy::every().collect();
    for mode in [Mode::Mediated, Mode::PerfBased] {
        hold(5_000, 24, piece, |pieces| {
            let policy = policies[pieces.len() % policies.len()];
            everybody_has_the_truth(policy, &run(&scenario(mode, policy, pieces)));
        });
    }
}
