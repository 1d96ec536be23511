//! A vCPU alone on its CPU: the host's side of a real run, with its events and its account.

use super::{Inside, Live, TASK, event_id};
use crate::Now;
use crate::host::admission::{Admission, HostFacts, Refusal, preconditions};
use crate::host::attr::{Attr, OpenError, Target};
use crate::host::cell::{Cells, Happening};
use crate::host::constraint::{Counter, Counters};
use crate::host::event::{Reading, State};
use crate::host::exits::{ExitReason, ExitTable};
use crate::host::filter::Permission;
use crate::host::physical::PhysicalCpu;
use crate::host::registers::{Register, Shape, Traffic};
use crate::host::switch::{Policy, Switches};
use crate::host::vpmu::{Mode, Vcpu, Vpmu};
use thiserror::Error;

/// What the guest is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// How its PMU is made.
    pub mode: Mode,
    /// What its PMU has.
    pub shape: Shape,
    /// What it may count.
    pub permission: Permission,
    /// How a mediated guest's state is switched.
    pub policy: Policy,
}

/// An event of the host, on every CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEvent {
    /// What tables call it.
    pub name: String,
    /// Its attributes.
    pub attr: Attr,
}

/// Why a host cannot be had.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HostError {
    /// The guest's PMU.
    #[error("the vCPU is not created: {0}")]
    Vcpu(#[from] Refusal),
    /// An event.
    #[error("event {name} is not opened: {why}")]
    Event {
        /// Which.
        name: String,
        /// Why.
        why: OpenError,
    },
}

/// An event at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventOutcome {
    /// Its name.
    pub name: String,
    /// What happened, by cell; `None`: it is not modelled.
    pub cells: Option<Cells>,
    /// The sum of the cells that its exclude bits leave.
    pub truth: u64,
    /// What it reads.
    pub reading: Option<Reading>,
    /// Its state.
    pub state: Option<State>,
    /// Samples.
    pub samples: u64,
}

/// A guest's counter that is programmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterOutcome {
    /// Which.
    pub counter: Counter,
    /// What it counts.
    pub encoding: u64,
    /// What the guest reads.
    pub seen: u64,
    /// It stood still for want of hardware at some time.
    pub starved: bool,
}

/// The account of one CPU at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The host's events.
    pub events: Vec<EventOutcome>,
    /// The guest's counters.
    pub counters: Vec<CounterOutcome>,
    /// Exits, by reason.
    pub exits: Vec<(ExitReason, u64)>,
    /// Instructions that the hypervisor completed for the guest.
    pub completed: u64,
    /// Interrupts of the guest's counters.
    pub pmis: u64,
    /// Cycles in which a counter of the guest stood still for want of hardware.
    pub starved_cycles: u64,
    /// How often PMU state changed hands.
    pub switches: Switches,
    /// Accesses to the PMU by the host.
    pub traffic: Traffic,
    /// Instructions of the host, user and kernel.
    pub host_instructions: [u64; 2],
}

/// The host's side of a vCPU.
#[derive(Clone, Debug)]
pub struct Hosted {
    cpu: PhysicalCpu,
    vcpu: Vcpu,
    live: Live,
    events: Vec<HostEvent>,
    observe: bool,
}

/// Legal bits of PERFEVTSEL: all but AnyThread. Source: linux v7.2 arch/x86/kvm/vmx/pmu_intel.c, `reserved_bits`.
const SELECTOR_BITS: u64 = 0xffdf_ffff;

impl Hosted {
    /// A host CPU with its events open, and a guest that has not begun. `tick` is in ticks of the guest's clock.
    ///
    /// # Errors
    /// The guest and the events cannot be had beside each other, or one of them not at all.
    pub fn new(id: u32, guest: &Guest, exits: ExitTable, tick: u64, events: &[HostEvent]) -> Result<Hosted, HostError> {
        let exits = exits.atomic();
        let mut cpu = PhysicalCpu::executed(id, Shape::SAPPHIRE_RAPIDS, guest.policy);
        cpu.exit_work = exits.of(ExitReason::Msr).kernel.burst();
        let mut vcpu = Vcpu::new(TASK, guest.mode, guest.shape, guest.permission.clone());
        vcpu.completes_accesses = true;
        if let Some(registers) = vcpu.registers_mut() {
            registers.selector_bits = SELECTOR_BITS;
        }
        if guest.mode == Mode::PassThrough {
            cpu.passed_through = true;
            cpu.pmu.poke(Register::GlobalControl, Counters::of(guest.shape.general, 0).0);
        }
        let mut admission = Admission::default();
        if guest.mode == Mode::Mediated {
            preconditions(&HostFacts::SAPPHIRE_RAPIDS, guest.shape, true)?;
            admission.create_vm()?;
        }
        for (n, event) in events.iter().enumerate() {
            let passed = guest.mode == Mode::PassThrough;
            let admitted = if passed { Err(OpenError::PassedThrough) } else { admission.open(&event.attr) };
            let opened =
                admitted.and_then(|()| cpu.perf.open(&mut cpu.pmu, event_id(n), event.attr, Target::Cpu(id), None));
            opened.map_err(|why| HostError::Event { name: event.name.clone(), why })?;
        }
        Ok(Hosted { cpu, vcpu, live: Live::new(exits, tick), events: events.to_vec(), observe: false })
    }

    /// A seat for guests of scenarios, whose CPU comes with each stretch: see [`Hosted::swap`].
    pub fn vacant() -> Hosted {
        let cpu = PhysicalCpu::executed(0, Shape::SAPPHIRE_RAPIDS, Policy::BASELINE);
        let vcpu = Vcpu::new(TASK, Mode::None, Shape::THREE_FIXED, Permission::EVERYTHING);
        Hosted { cpu, vcpu, live: Live::new(ExitTable::default(), 0), events: Vec::new(), observe: false }
    }

    /// Changes places: once to bring a CPU, a vCPU and its state in, and once to take them out.
    pub fn swap(&mut self, with: &mut Inside<'_>) {
        std::mem::swap(&mut self.cpu, with.cpu);
        std::mem::swap(&mut self.vcpu, with.vcpu);
        std::mem::swap(&mut self.live, with.live);
    }

    /// Whether the guest is in its loop.
    pub fn is_loaded(&self) -> bool {
        self.live.is_loaded()
    }

    /// What its processor meets outside.
    pub fn inside(&mut self) -> Inside<'_> {
        Inside { cpu: &mut self.cpu, vcpu: &mut self.vcpu, live: &mut self.live }
    }

    /// The user wants the model of the core to observe all that runs.
    pub fn observe_always(&mut self) {
        self.observe = true;
    }

    /// Does anything take the model of the core?
    pub fn wants_structures(&mut self) -> bool {
        self.observe || self.inside().wants_structures()
    }

    /// The guest's PMU goes back to power-on, at `now`.
    pub fn reset(&mut self, now: Now<'_>) {
        let mut inside = self.inside();
        inside.come(now);
        inside.wake();
        let Some(shape) = self.vcpu.registers().map(|registers| registers.shape) else { return };
        let general = Counters::of(shape.general, 0).0;
        let off =
            [(Register::GlobalControl, 0), (Register::FixedControl, 0), (Register::StatusReset, shape.global_bits())];
        let selectors = (0..shape.general as u8).map(|n| (Register::Selector(n), 0));
        let counts = shape.counters().iter().map(|counter| (Register::Count(counter), 0));
        for (register, value) in
            off.into_iter().chain(selectors).chain(counts).chain([(Register::GlobalControl, general)])
        {
            // The values are legal, and the hypervisor's own reset is no access of the guest's that could fault.
            let _ = self.vcpu.write(&mut self.cpu, register, value);
        }
        self.inside().put();
    }

    /// The account up to `now`.
    pub fn outcome(&mut self, now: Now<'_>) -> Outcome {
        self.inside().come(now);
        // The events behind a perf-based guest's counters leave with its task.
        let cpu = (self.live.loaded || !matches!(self.vcpu.vpmu, Vpmu::PerfBased(_))).then_some(&self.cpu);
        let counters = self.live.programmed.iter().map(|counter| CounterOutcome {
            counter,
            encoding: self.vcpu.registers().map_or(0, |registers| registers.config(counter)),
            seen: self.vcpu.peek(cpu, counter),
            starved: self.live.starved.holds(counter),
        });
        let counters: Vec<CounterOutcome> = counters.collect();
        let retired = self.cpu.ledger.of(Happening::Retired);
        Outcome {
            counters,
            events: (0..self.events.len()).map(|n| self.event(n)).collect(),
            exits: ExitReason::ALL.into_iter().zip(self.live.by_reason).filter(|(_, n)| *n != 0).collect(),
            completed: self.live.completed_so_far,
            pmis: self.vcpu.registers().map_or(0, |registers| registers.pmis),
            starved_cycles: self.live.starved_cycles,
            switches: self.cpu.switches,
            traffic: self.cpu.pmu.traffic,
            host_instructions: [retired.0[0], retired.0[1]],
        }
    }

    fn event(&mut self, n: usize) -> EventOutcome {
        let (name, attr) = (self.events[n].name.clone(), self.events[n].attr);
        let encoding = attr.hardware_config().ok().flatten();
        let cells = self.cpu.pmu.as_executed().zip(encoding).and_then(|(executed, encoding)| executed.cells(encoding));
        self.cpu.perf.update(&mut self.cpu.pmu, event_id(n));
        let event = self.cpu.perf.find(event_id(n));
        EventOutcome {
            name,
            cells,
            truth: cells.map_or(0, |cells| cells.sum(attr.exclude.cells())),
            reading: event.map(Reading::of),
            state: event.map(|event| event.state),
            samples: event.map_or(0, |event| event.samples),
        }
    }
}
