//! The machine as a guest: Debian's `perf stat` and the lessons under every way of making a guest's PMU, while the host
//! profiles.
//!
//! Debian comes by package through `packages`, with perf, out of the cache when it is there; without it and without
//! a package mirror that test says so and passes.

mod packages;

use frontend::image::Image;
use frontend::pc::{End, Limits, Machine, Quiet, Setup, TSC_MHZ};
use pmu_model::host::attr::{Attr, Exclude};
use pmu_model::host::exits::ExitTable;
use pmu_model::host::filter::Permission;
use pmu_model::host::live::{EventOutcome, Guest, HostEvent, Hosted, Outcome};
use pmu_model::host::registers::Shape;
use pmu_model::host::switch::Policy;
use pmu_model::host::vpmu::Mode;
use std::fs;

/// INST_RETIRED.ANY_P, BR_INST_RETIRED.ALL_BRANCHES.
const INSTRUCTIONS: u64 = 0xc0;
const BRANCHES: u64 = 0xc4;

fn event(name: &str, config: u64, modifiers: &str) -> HostEvent {
    let attr = Attr::raw(config).excluding(Exclude::from_modifiers(modifiers).unwrap());
    HostEvent { name: name.to_owned(), attr: Attr { pinned: modifiers.contains('D'), ..attr } }
}

fn guest(mode: Mode, policy: Policy) -> Guest {
    let shape = if mode == Mode::PassThrough { Shape::SAPPHIRE_RAPIDS } else { Shape::THREE_FIXED };
    Guest { mode, shape, permission: Permission::EVERYTHING, policy }
}

/// A run under a host.
struct Run {
    console: String,
    end: End,
    user: u64,
    kernel: u64,
    outcome: Outcome,
}

fn run(setup: &Setup<'_>, guest: &Guest, events: &[HostEvent]) -> Run {
    let mut machine = Machine::build(setup).unwrap();
    // A tick of the host each 4 ms.
    machine.put_under(vec![Hosted::new(0, guest, ExitTable::default(), 8_800_000, events).unwrap()]);
    let mut host = Quiet::default();
    let end = machine.run(&mut host);
    let outcome = machine.outcomes().remove(0);
    let counts = machine.counts()[0];
    let console = String::from_utf8_lossy(&host.written).replace('\r', "");
    Run { console, end, user: counts.user.instructions, kernel: counts.kernel.instructions, outcome }
}

/// Every event of the host that was on all the time counted exactly what its bits let it.
fn hosts_are_exact(run: &Run) {
    for event in &run.outcome.events {
        let counted = event.reading.and_then(|reading| reading.exact());
        assert_eq!(counted, Some(event.truth), "{} {:?}", event.name, event.cells);
    }
}

/// The guest's cells are what its processor retired, less what the hypervisor completed.
fn guest_cells_are_exact(run: &Run, event: &EventOutcome) {
    let cells = event.cells.unwrap().0;
    assert_eq!(cells[2..], [run.user, run.kernel - run.outcome.completed], "{}", event.name);
    assert_eq!(cells[..2], run.outcome.host_instructions, "{}", event.name);
}

// ---- the lessons

fn lesson(name: &str, guest: &Guest, events: &[HostEvent]) -> Run {
    let lesson = roms::lessons().iter().find(|lesson| lesson.name == name).unwrap();
    let setup = Setup {
        ram_bytes: 64 << 20,
        processors: 1,
        core_mhz: TSC_MHZ,
        quantum: 20_000,
        image: lesson.image,
        initrd: None,
        append: "",
        unpack: true,
        kind: Some(frontend::load::Kind::Rom),
        limits: Limits { instructions: 50_000_000, ..Limits::NONE },
        reboot: false,
        triple_fault_resets: false,
    };
    run(&setup, guest, events)
}

/// What a lesson counted of `what`.
fn counted(run: &Run, what: &str) -> u64 {
    let line = run
        .console
        .lines()
        .find(|line| line.contains(&format!("what={what} ")))
        .unwrap_or_else(|| panic!("{}", run.console));
    line.split_once("counted=").unwrap().1.split_whitespace().next().unwrap().parse().unwrap()
}

const WITH_PMU: [Mode; 3] = [Mode::PerfBased, Mode::Mediated, Mode::PassThrough];

#[test]
fn a_guest_counts_its_user_mode_exactly_however_its_pmu_is_made() {
    for mode in WITH_PMU {
        for policy in Policy::NAMED.map(|(_, policy)| policy) {
            let run = lesson("rings", &guest(mode, policy), &[]);
            assert_eq!(counted(&run, "instructions.user"), 304, "{mode:?} {policy:?}");
            assert_eq!(counted(&run, "branches.conditional.user"), 100, "{mode:?} {policy:?}");
            assert_eq!(counted(&run, "branches.conditional.kernel"), 101, "{mode:?} {policy:?}");
        }
    }
}

/// In the kernel the hypervisor completes the WRMSRs: the one that enables is counted, the one that disables is not.
#[test]
fn what_the_hypervisor_completes_is_counted_once() {
    let kernel = |mode| counted(&lesson("rings", &guest(mode, Policy::BASELINE), &[]), "instructions.kernel");
    assert_eq!(WITH_PMU.map(kernel), [307, 307, 307]);
    let whole = |mode| counted(&lesson("count", &guest(mode, Policy::BASELINE), &[]), "instructions");
    assert_eq!(WITH_PMU.map(whole), [3005, 3005, 3005]);
}

#[test]
fn a_counter_that_overflows_interrupts_the_guest_at_the_same_instruction_in_every_mode() {
    for mode in WITH_PMU {
        for policy in [Policy::BASELINE, Policy::LAZY, Policy::ALL] {
            let run = lesson("overflow", &guest(mode, policy), &[]);
            let found = ["interrupts", "interrupts.at_the_branch", "instructions.user"].map(|what| counted(&run, what));
            assert_eq!(found, [40, 40, 4002], "{mode:?} {policy:?}");
            assert_eq!(run.outcome.pmis, 40);
        }
    }
}

#[test]
fn a_guest_without_a_pmu_faults_and_its_host_counts_it_all_the_same() {
    let events = [event("user", INSTRUCTIONS, "uG"), event("kernel", INSTRUCTIONS, "kG")];
    let run = lesson("rings", &guest(Mode::None, Policy::BASELINE), &events);
    assert!(matches!(run.end, End::TripleFault { .. }), "{:?}", run.end);
    hosts_are_exact(&run);
    guest_cells_are_exact(&run, &run.outcome.events[0]);
}

/// E11 with a guest that is really executed, and whose counts are known from running it alone.
#[test]
fn the_sixteen_exclude_combinations_count_the_sums_of_the_cells_of_an_executed_guest() {
    let bare = |name| {
        let run = lesson(name, &guest(Mode::PassThrough, Policy::BASELINE), &[]);
        (run.user, run.kernel)
    };
    let mut found = Vec::new();
    for config in [INSTRUCTIONS, BRANCHES] {
        // Two at a time, so that the host has counters for them beside the guest's.
        for pair in 0..8_u8 {
            let attr = |bits: u8| Attr::raw(config).excluding(Exclude::from_bits(bits));
            let events =
                [2 * pair, 2 * pair + 1].map(|bits| HostEvent { name: format!("{bits:04b}"), attr: attr(bits) });
            let run = lesson("rings", &guest(Mode::PerfBased, Policy::BASELINE), &events);
            if config == INSTRUCTIONS {
                assert_eq!((run.user, run.kernel), bare("rings"));
                guest_cells_are_exact(&run, &run.outcome.events[0]);
            }
            for event in &run.outcome.events {
                let bits = u8::from_str_radix(&event.name, 2).unwrap();
                let cells = event.cells.unwrap();
                assert!(cells.0.iter().all(|n| *n > 0), "something happens in every cell: {cells:?}");
                found.push((event.reading.unwrap().exact().unwrap(), cells.sum(Exclude::from_bits(bits).cells())));
            }
        }
    }
    assert_eq!(found.len(), 32);
    assert!(found.iter().all(|(counted, sum)| counted == sum), "{found:?}");
}

#[test]
fn a_mediated_guest_and_an_event_that_counts_guests_are_refused_beside_each_other() {
    let refused = |mode, modifiers| {
        let events = [event("instructions", INSTRUCTIONS, modifiers)];
        Hosted::new(0, &guest(mode, Policy::BASELINE), ExitTable::default(), 0, &events).err().map(|e| e.to_string())
    };
    assert!(refused(Mode::Mediated, "").unwrap().contains("EOPNOTSUPP"));
    assert!(refused(Mode::PassThrough, "H").unwrap().contains("EBUSY"));
    assert_eq!((refused(Mode::Mediated, "H"), refused(Mode::PerfBased, "")), (None, None));
}

// ---- Debian

/// Turns of the fixed program's loop, and the instructions and branches of all of it: a MOV, the loop, and exit.
const TURNS: u32 = 1_000_000;
const FIXED: u64 = 2 * TURNS as u64 + 4;

/// A static ELF: MOV ECX, TURNS; DEC ECX; JNZ; then exit(0).
fn fixed_program() -> Vec<u8> {
    let turns = TURNS.to_le_bytes();
    let mut code = vec![0xb9];
    code.extend(turns);
    code.extend([0xff, 0xc9, 0x75, 0xfc, 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]);
    let (base, bytes) = (0x40_0000_u64, 120 + code.len() as u64);
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    [base + 120, 64, 0].iter().for_each(|n: &u64| elf.extend(n.to_le_bytes()));
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    [0, base, base, bytes, bytes, 0x1000].iter().for_each(|n: &u64| elf.extend(n.to_le_bytes()));
    elf.extend(code);
    elf
}

/// An entry of a cpio archive, as the kernel reads them behind others. Source: Linux, buffer-format.rst.
fn entry(name: &str, mode: u32, data: &[u8]) -> Vec<u8> {
    let fields = [1, mode, 0, 0, 1, 0, data.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
    let mut bytes = b"070701".to_vec();
    fields.iter().for_each(|n| bytes.extend(format!("{n:08X}").bytes()));
    bytes.extend(name.bytes().chain([0]));
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn debian(image: &Image, guest: &Guest, events: &[HostEvent]) -> Run {
    let (kernel, mut initrd) = (fs::read(&image.kernel).unwrap(), fs::read(&image.initrd).unwrap());
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    initrd.extend(entry("fixed", 0o100_755, &fixed_program()));
    initrd.extend(entry("TRAILER!!!", 0, &[]));
    let command = "perf stat -x, -e instructions:u,branches:u /fixed; perf stat -x, -e instructions:u /fixed";
    let setup = Setup {
        ram_bytes: 512 << 20,
        processors: 1,
        core_mhz: TSC_MHZ,
        quantum: 20_000,
        image: &kernel,
        initrd: Some(&initrd),
        append: &format!("{} quiet run=\"{command}\"", image.append),
        unpack: true,
        kind: None,
        limits: Limits { instructions: 20_000_000_000, ..Limits::NONE },
        reboot: false,
        triple_fault_resets: false,
    };
    let run = run(&setup, guest, events);
    assert!(matches!(run.end, End::PowerOff), "{:?} after:\n{}", run.end, run.console);
    assert!(run.console.contains("@@ DONE 0\n"), "{}", run.console);
    run
}

/// What perf printed of an event, in order.
fn printed(run: &Run, event: &str) -> Vec<String> {
    let lines = run.console.lines().filter(|line| line.contains(&format!(",{event},")));
    lines.map(|line| line.split(',').next().unwrap().to_owned()).collect()
}

/// The fixed program's `perf stat -e instructions:u` in a 6.1 Debian guest is exact under each way of making its PMU,
/// while host events run that count the guest too or do not; or the loss is the one that the mode predicts.
#[test]
fn debian_s_perf_stat_is_exact_under_every_vpmu_or_loses_what_the_mode_says() {
    let Some(image) = packages::debian(&["perf"]) else { return };
    let exact = vec![FIXED.to_string(); 2];
    let profile =
        [event("host", INSTRUCTIONS, "H"), event("all", INSTRUCTIONS, ""), event("guest user", BRANCHES, "uG")];

    // Perf-based: the host's flexible events give way to the guest's pinned ones.
    let shared = debian(&image, &guest(Mode::PerfBased, Policy::BASELINE), &profile);
    assert_eq!(
        (printed(&shared, "instructions:u"), printed(&shared, "branches:u")),
        (exact.clone(), vec![(u64::from(TURNS) + 1).to_string()])
    );
    hosts_are_exact(&shared);
    guest_cells_are_exact(&shared, &shared.outcome.events[1]);
    assert_eq!(shared.outcome.starved_cycles, 0);

    // Perf-based beside a host that pins instructions on every counter that can have them: the guest's stand still.
    let pinned = vec![event("pinned", INSTRUCTIONS, "D"); 9];
    let starved = debian(&image, &guest(Mode::PerfBased, Policy::BASELINE), &pinned);
    assert_eq!(printed(&starved, "instructions:u"), ["0", "0"], "{}", starved.console);
    hosts_are_exact(&starved);
    assert!(starved.outcome.starved_cycles > 2 * FIXED);

    // Mediated: the host's events stop while the guest is in, and the guest has the counters.
    let mediated = debian(&image, &guest(Mode::Mediated, Policy::ALL), &[event("host", INSTRUCTIONS, "H")]);
    assert_eq!(printed(&mediated, "instructions:u"), exact);
    hosts_are_exact(&mediated);
    assert_eq!((mediated.user, mediated.console.clone()), (shared.user, shared.console.clone()), "the same guest");

    // Passed through: the guest counts the host too, which has nothing in user mode between an exec and its exit.
    let passed = debian(&image, &guest(Mode::PassThrough, Policy::BASELINE), &[]);
    assert_eq!(printed(&passed, "instructions:u"), exact);

    // None: perf says so, and the host counts the guest nevertheless.
    let none = debian(&image, &guest(Mode::None, Policy::BASELINE), &[event("guest user", INSTRUCTIONS, "uG")]);
    assert_eq!(printed(&none, "instructions:u"), ["<not supported>", "<not supported>"]);
    hosts_are_exact(&none);
    guest_cells_are_exact(&none, &none.outcome.events[0]);
}
