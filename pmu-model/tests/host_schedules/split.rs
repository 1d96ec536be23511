//! Host and guest: the exclude matrix (E2, E11), the perf-based vPMU with a host that takes its counters (E1, E3, E4),
//! who may exist beside whom (E5, E16), filters (E14), and passing the PMU through.

use crate::draw::{Draw, SCHEDULES, hold};
use crate::policies;
use crate::reference::Reference;
use pmu_model::host::admission::{Admission, includes_guest};
use pmu_model::host::attr::{Attr, EventId, Exclude, Target, TaskId};
use pmu_model::host::cell::{Burst, Cell, Happening, Ledger, Privilege, World};
use pmu_model::host::constraint::Counter;
use pmu_model::host::event::Reading;
use pmu_model::host::filter::{Filter, FilterRequest, Permission};
use pmu_model::host::physical::PhysicalCpu;
use pmu_model::host::registers::{EN, INT, MASK, OS, Register, Shape, USR};
use pmu_model::host::switch::Policy;
use pmu_model::host::vpmu::{Mode, Vcpu};

const RINGS: [Privilege; 2] = [Privilege::User, Privilege::Kernel];

/// A stretch of one cell.
fn stretch(draw: &mut Draw) -> (Cell, u64) {
    (draw.of(&Cell::ALL), draw.below(10_000))
}

fn cpu() -> PhysicalCpu {
    PhysicalCpu::new(0, Shape::SAPPHIRE_RAPIDS, Policy::BASELINE)
}

fn burst(n: u64) -> Burst {
    Burst::of_instructions(n).with(Happening::Branches, n / 4).with(Happening::BranchMisses, n / 40)
}

/// Opens events with exclude bits `from..from + 8` for one happening, and runs the stretches.
fn counts_by_exclude_bits(from: u8, kind: Happening, steps: &[(Cell, u64)]) -> (Vec<u64>, Ledger) {
    let mut cpu = cpu();
    let mut vcpu = Vcpu::new(TaskId(1), Mode::None, Shape::THREE_FIXED, Permission::EVERYTHING);
    vcpu.load(&mut cpu);
    for bits in from..from + 8 {
        let attr = Attr::counting(kind).excluding(Exclude::from_bits(bits));
        cpu.perf.open(&mut cpu.pmu, EventId(bits.into()), attr, Target::Cpu(0), None).unwrap();
    }
    for (cell, n) in steps {
        match cell.world {
            World::Host => cpu.run_host(cell.privilege, &burst(*n)),
            World::Guest => {
                vcpu.enter(&mut cpu);
                vcpu.run(&mut cpu, cell.privilege, &burst(*n));
                vcpu.exit(&mut cpu);
            }
        }
    }
    let mut read = |bits: u8| cpu.perf.read(&mut cpu.pmu, EventId(bits.into())).unwrap().exact().unwrap();
    ((from..from + 8).map(&mut read).collect(), cpu.ledger)
}

/// E11 and E2, on general counters and, of instructions, on a fixed one among them.
#[test]
fn every_combination_of_exclude_bits_counts_the_sum_of_its_cells() {
    hold(SCHEDULES, 12, stretch, |steps| {
        let kinds = [Happening::Branches, Happening::BranchMisses, Happening::Retired, Happening::Cycles];
        let kind = kinds[steps.len() % kinds.len()];
        let (mut counts, ledger) = counts_by_exclude_bits(0, kind, steps);
        counts.extend(counts_by_exclude_bits(8, kind, steps).0);
        for (bits, count) in (0..16).zip(&counts) {
            assert_eq!(*count, ledger.of(kind).sum(Exclude::from_bits(bits).cells()), "exclude bits {bits:04b}");
        }
        assert_eq!(counts[0b0100] + counts[0b1000], counts[0], "E2: guest only and host only make all");
    });
}

/// The perf-based guest: what it does, and a host that pins events beside it.
struct PerfBased {
    cpu: PhysicalCpu,
    vcpu: Vcpu,
    reference: Reference,
    open: [bool; 3],
}

const GUEST: Shape = Shape::THREE_FIXED;

/// Host events that take fixed counters 0 and 1 or a general one, as system-wide profilers and the watchdog do.
fn rival(n: usize) -> Attr {
    let kind = [Happening::Retired, Happening::Cycles, Happening::Branches][n];
    Attr::counting(kind).pinned()
}

impl PerfBased {
    fn new(shape: Shape) -> PerfBased {
        let mut cpu = PhysicalCpu::new(0, shape, Policy::BASELINE);
        let mut vcpu = Vcpu::new(TaskId(1), Mode::PerfBased, GUEST, Permission::EVERYTHING);
        vcpu.load(&mut cpu);
        vcpu.enter(&mut cpu);
        PerfBased { cpu, vcpu, reference: Reference::new(), open: [false; 3] }
    }

    fn host_runs(&mut self, n: u64) {
        RINGS.iter().for_each(|ring| self.cpu.run_host(*ring, &burst(n)));
    }

    fn toggle(&mut self, n: usize) {
        let id = EventId(n as u32);
        let open = self.open[n];
        self.vcpu.while_in_loop(&mut self.cpu, !open, |perf, pmu| {
            if open {
                let _ = perf.close(pmu, id);
            } else {
                perf.open(pmu, id, rival(n), Target::Cpu(0), None).unwrap();
            }
        });
        self.open[n] = !open;
    }

    fn take(&mut self, step: policies::Step) {
        use policies::Step;
        // E4: a counter whose event lost its hardware stands still, and the model says so.
        self.reference.frozen = self.vcpu.starved(&self.cpu).0;
        match step {
            Step::Guest(ring, n) => {
                self.reference.run(ring, &burst(n));
                self.vcpu.run(&mut self.cpu, ring, &burst(n));
            }
            Step::Exit(n, emulated) => {
                self.vcpu.exit(&mut self.cpu);
                self.host_runs(n);
                if let Some((ring, branch)) = emulated {
                    self.vcpu.emulate(&mut self.cpu, ring, branch);
                    // Emulated instructions need no hardware.
                    self.reference.frozen = 0;
                    self.reference.emulated(ring, branch);
                }
                self.vcpu.enter(&mut self.cpu);
            }
            Step::Leave(kernel, user) => {
                self.vcpu.exit(&mut self.cpu);
                self.vcpu.leave(&mut self.cpu);
                self.host_runs(kernel + user);
                self.vcpu.load(&mut self.cpu);
                self.vcpu.enter(&mut self.cpu);
            }
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
            Step::Open(n) | Step::Toggle(n) | Step::Inside(n, _) => self.toggle(n),
        }
    }

    /// E1: guest counters hold what the guest did, E3 and E4 within it.
    fn finish(mut self) {
        for counter in GUEST.counters().iter() {
            let value = self.vcpu.read(&mut self.cpu, Register::Count(counter), true).unwrap();
            assert_eq!(value, self.reference.counts[usize::from(counter.0)], "{counter}");
        }
        let registers = self.vcpu.registers().unwrap();
        assert_eq!((registers.status, registers.pmis), (self.reference.status, self.reference.pmis));
    }
}

#[test]
fn a_perf_based_guest_counts_itself_and_nothing_while_the_host_has_its_counters() {
    for shape in [Shape::SAPPHIRE_RAPIDS, Shape { general: 2, fixed: 3, metrics: false }] {
        hold(SCHEDULES / 2, 40, policies::step, |steps| {
            let mut run = PerfBased::new(shape);
            steps.iter().for_each(|step| run.take(*step));
            run.finish();
        });
    }
}

/// The pinned event that fails, S2's complaint: nobody tells the guest, the model does.
#[test]
fn a_guest_counter_without_hardware_freezes_and_is_reported() {
    let mut run = PerfBased::new(Shape { general: 1, fixed: 0, metrics: false });
    run.toggle(2);
    let selector = Register::Selector(0);
    run.vcpu.write(&mut run.cpu, selector, 0xc4 | USR | OS | EN).unwrap();
    run.vcpu.run(&mut run.cpu, Privilege::User, &burst(400));
    assert_eq!(run.vcpu.starved(&run.cpu).0, 1);
    assert_eq!(run.vcpu.read(&mut run.cpu, Register::Count(Counter(0)), true), Ok(0));
    let own = run.cpu.perf.read(&mut run.cpu.pmu, EventId(2)).unwrap().exact();
    assert_eq!(own, Some(100), "the host's event counts the guest's branches");
    run.toggle(2);
    run.vcpu.write(&mut run.cpu, selector, 0xc4 | USR | EN).unwrap();
    run.vcpu.run(&mut run.cpu, Privilege::User, &burst(400));
    assert_eq!(run.vcpu.starved(&run.cpu).0, 0);
    assert_eq!(run.vcpu.read(&mut run.cpu, Register::Count(Counter(0)), true), Ok(100));
}

/// E5 and E16, with a count kept beside it.
#[test]
fn mediated_vms_and_events_that_count_guests_never_exist_together() {
    let step = |draw: &mut Draw| (draw.below(4), Exclude::from_bits(draw.below(16) as u8));
    hold(SCHEDULES, 40, step, |steps| {
        let mut admission = Admission::default();
        let (mut vms, mut open) = (0_u32, Vec::<Attr>::new());
        for (what, exclude) in steps {
            let attr = Attr::counting(Happening::Cycles).excluding(*exclude);
            let counting_guests = open.iter().filter(|attr| includes_guest(attr)).count();
            match what {
                0 => {
                    let made = admission.create_vm().is_ok();
                    assert_eq!(made, counting_guests == 0);
                    vms += u32::from(made);
                }
                1 if vms > 0 => {
                    admission.release_vm();
                    vms -= 1;
                }
                2 => {
                    let opened = admission.open(&attr).is_ok();
                    assert_eq!(opened, exclude.guest || vms == 0);
                    open.extend(opened.then_some(attr));
                }
                _ => open.pop().iter().for_each(|attr| admission.close(attr)),
            }
            assert!(admission.mediated_vms == 0 || admission.include_guest_events == 0, "E5");
            assert_eq!(admission.mediated_vms, vms);
        }
    });
}

/// E14, under both vPMUs that filter: what is denied reads back and stands still, what is allowed counts.
#[test]
fn a_denied_counter_reads_back_and_never_moves() {
    let step = |draw: &mut Draw| (draw.of(&RINGS), draw.below(500), draw.chance(4));
    for mode in [Mode::Mediated, Mode::PerfBased] {
        hold(SCHEDULES / 2, 12, step, |steps| {
            let request = FilterRequest { action: 1, fixed_counter_bitmap: 1, flags: 0, events: vec![0xc4] };
            let permission = Permission::filtered(Filter::new(&request).unwrap());
            let mut cpu = cpu();
            let mut vcpu = Vcpu::new(TaskId(1), mode, GUEST, permission);
            vcpu.load(&mut cpu);
            vcpu.enter(&mut cpu);
            let selectors = [0xc4 | USR | OS | EN | INT, 0xc5 | USR | OS | EN];
            let start = MASK - 3;
            for (n, selector) in (0..).zip(selectors) {
                vcpu.write(&mut cpu, Register::Count(Counter(n)), if n == 0 { start } else { 0 }).unwrap();
                vcpu.write(&mut cpu, Register::Selector(n), selector).unwrap();
            }
            vcpu.write(&mut cpu, Register::FixedControl, 0x033).unwrap();
            vcpu.write(&mut cpu, Register::GlobalControl, 0x7_0000_00ff).unwrap();
            let mut misses = 0;
            let mut cycles = 0;
            for (ring, n, emulates) in steps {
                vcpu.run(&mut cpu, *ring, &burst(*n));
                (misses, cycles) = (misses + n / 40, cycles + n);
                if *emulates {
                    vcpu.exit(&mut cpu);
                    vcpu.emulate(&mut cpu, *ring, true);
                    vcpu.enter(&mut cpu);
                }
            }
            let mut read = |register| vcpu.read(&mut cpu, register, false).unwrap();
            assert_eq!([0, 1].map(|n| read(Register::Selector(n))), selectors);
            assert_eq!(read(Register::FixedControl), 0x033);
            let counts = [0, 1, 32, 33].map(|n| read(Register::Count(Counter(n))));
            assert_eq!(counts, [start, misses, 0, cycles]);
            assert_eq!((read(Register::GlobalStatus), vcpu.registers().unwrap().pmis), (0, 0));
        });
    }
}

/// What passing through costs: nothing in accesses, and the guest counts the host.
#[test]
fn a_passed_through_pmu_counts_what_the_host_does_too() {
    hold(SCHEDULES, 20, stretch, |steps| {
        let mut cpu = PhysicalCpu::new(0, GUEST, Policy::BASELINE);
        let mut vcpu = Vcpu::new(TaskId(1), Mode::PassThrough, GUEST, Permission::EVERYTHING);
        vcpu.load(&mut cpu);
        vcpu.enter(&mut cpu);
        vcpu.write(&mut cpu, Register::Selector(0), 0xc0 | OS | EN).unwrap();
        vcpu.write(&mut cpu, Register::GlobalControl, 1).unwrap();
        for (cell, n) in steps {
            match cell.world {
                World::Guest => vcpu.run(&mut cpu, cell.privilege, &burst(*n)),
                World::Host => {
                    vcpu.exit(&mut cpu);
                    cpu.run_host(cell.privilege, &burst(*n));
                    vcpu.enter(&mut cpu);
                }
            }
        }
        let retired = cpu.ledger.of(Happening::Retired);
        let kernel = |world| retired[Cell::new(world, Privilege::Kernel)];
        let counted = vcpu.read(&mut cpu, Register::Count(Counter(0)), true).unwrap();
        assert_eq!(counted, kernel(World::Guest) + kernel(World::Host));
        assert_eq!((cpu.pmu.traffic.accesses(), vcpu.pmu_exits), (0, 0));
    });
}

/// S1 in both forms: the guest's metrics are the hardware's, raw, through exits and the vCPU's absence.
#[test]
fn a_guest_reads_the_metrics_that_hardware_would_give_it() {
    let step = |draw: &mut Draw| (draw.below(4), draw.below(600), draw.below(600), draw.below(600));
    for mode in [Mode::Mediated, Mode::PerfBased] {
        hold(SCHEDULES / 4, 12, step, |steps| {
            let mut alone = pmu_model::host::registers::Pmu::new(Shape::SAPPHIRE_RAPIDS);
            let mut cpu = cpu();
            let mut vcpu = Vcpu::new(TaskId(1), mode, Shape::SAPPHIRE_RAPIDS, Permission::EVERYTHING);
            vcpu.load(&mut cpu);
            vcpu.enter(&mut cpu);
            let global = 1 << 35 | 1 << 48;
            let writes = [Register::Count(Counter::fixed(3)), Register::Metrics, Register::FixedControl];
            for (register, value) in writes.into_iter().zip([0, 0, 0x3000]).chain([(Register::GlobalControl, global)]) {
                vcpu.write(&mut cpu, register, value).unwrap();
                alone.poke(register, value);
            }
            for (what, retiring, front, back) in steps {
                let slots = Burst::default().with(Happening::Slots, retiring + front + back);
                let burst = slots.with(Happening::Retiring, *retiring).with(Happening::FrontEnd, *front);
                let burst = burst.with(Happening::BackEnd, *back);
                vcpu.run(&mut cpu, Privilege::User, &burst);
                alone.retire(Privilege::User, &burst);
                if *what == 0 {
                    vcpu.exit(&mut cpu);
                    vcpu.leave(&mut cpu);
                    cpu.run_host(Privilege::Kernel, &burst);
                    vcpu.load(&mut cpu);
                    vcpu.enter(&mut cpu);
                    // What hardware is given back are 255ths, so the truth is put through the same mill.
                    let saved = [Register::Count(Counter::fixed(3)), Register::Metrics].map(|r| alone.peek(r));
                    alone.poke(Register::Count(Counter::fixed(3)), saved[0]);
                    alone.poke(Register::Metrics, saved[1]);
                }
            }
            let slots = vcpu.read(&mut cpu, Register::Count(Counter::fixed(3)), true).unwrap();
            assert_eq!(slots, alone.peek(Register::Count(Counter::fixed(3))));
            assert_eq!(vcpu.read(&mut cpu, Register::Metrics, false).unwrap(), alone.peek(Register::Metrics));
        });
    }
}

#[test]
fn a_guest_without_a_pmu_faults_on_every_register() {
    let mut cpu = cpu();
    let mut vcpu = Vcpu::new(TaskId(1), Mode::None, GUEST, Permission::EVERYTHING);
    vcpu.load(&mut cpu);
    vcpu.enter(&mut cpu);
    for register in [Register::Count(Counter(0)), Register::Selector(0), Register::GlobalControl, Register::Metrics] {
        assert!(vcpu.read(&mut cpu, register, false).is_err());
        assert!(vcpu.write(&mut cpu, register, 0).is_err());
    }
}

/// `perf_event_open` under a guest that owns everything, and the reading of an event in error.
#[test]
fn an_event_in_error_reads_end_of_file_until_it_is_enabled_anew() {
    let mut cpu = PhysicalCpu::new(0, Shape { general: 1, fixed: 0, metrics: false }, Policy::BASELINE);
    for n in [0, 1] {
        let attr = Attr::counting(Happening::Branches).pinned();
        cpu.perf.open(&mut cpu.pmu, EventId(n), attr, Target::Cpu(0), None).unwrap();
    }
    assert_eq!(cpu.perf.read(&mut cpu.pmu, EventId(1)), Some(Reading::EndOfFile));
    let _ = cpu.perf.close(&mut cpu.pmu, EventId(0));
    assert_eq!(cpu.perf.read(&mut cpu.pmu, EventId(1)), Some(Reading::EndOfFile), "nothing brings it back by itself");
    cpu.perf.disable(&mut cpu.pmu, EventId(1));
    cpu.perf.enable(&mut cpu.pmu, EventId(1));
    cpu.run_host(Privilege::User, &burst(40));
    assert_eq!(cpu.perf.read(&mut cpu.pmu, EventId(1)).and_then(Reading::exact), Some(10));
}
