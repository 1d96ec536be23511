//! A guest of a scenario as it runs: where it is in its program, and a PMU of its own beside it, for the truth.

use super::report::{AperfReport, CounterReport, GuestReport};
use super::{GuestSpec, Scenario, Segment, Stream};
use crate::host::aperf::{GuestClock, HostClock, Residence};
use crate::host::attr::TaskId;
use crate::host::cell::{Cell, Happening, Ledger, Privilege, World};
use crate::host::constraint::{Counter, Counters};
use crate::host::exits::ExitReason;
use crate::host::live::{Execution, Live};
use crate::host::physical::PhysicalCpu;
use crate::host::registers::{MASK, Pmu, Register};
use crate::host::select::VmPmu;
use crate::host::vpmu::{Vcpu, Vpmu};

/// A guest under way.
pub struct Guest {
    pub vcpu: Vcpu,
    pub cpu: usize,
    /// Created, and not ended.
    pub alive: bool,
    pub created: bool,
    /// Halted, migrating or not able to enter, until then.
    pub asleep_until: u64,
    /// The next segment; those of the setup come first.
    at: usize,
    /// What is left of the current one, if it was begun.
    pub left: Option<u64>,
    pub streams: [Stream; 2],
    /// The PMU that it would have if it were alone.
    pub alone: Pmu,
    pub did: Ledger,
    pub exits: [u64; 10],
    pub starved: Counters,
    pub starved_cycles: u64,
    pub clock: Option<(GuestClock, HostClock)>,
    pub vm: Option<VmPmu>,
    /// What it is to do as soon as it runs.
    pub pending: Vec<Segment>,
    /// Events that it inherited when it was forked, by place.
    pub inherited: Vec<usize>,
    /// What is kept of it between stretches, where it is executed.
    pub live: Live,
    /// Counters that it ever programmed.
    pub programmed: Counters,
}

/// Legal bits of PERFEVTSEL where everything can be counted: all but AnyThread.
const SELECTOR_BITS: u64 = 0xffdf_ffff;

impl Guest {
    pub fn new(scenario: &Scenario, spec: &GuestSpec, task: TaskId) -> Guest {
        let mut alone = Pmu::new(spec.shape);
        let mut vcpu = Vcpu::new(task, spec.mode, spec.shape, spec.permission.clone());
        vcpu.completes_accesses = spec.executed;
        if let Some(registers) = vcpu.registers_mut().filter(|_| spec.executed) {
            registers.selector_bits = SELECTOR_BITS;
        }
        alone.poke(Register::GlobalControl, Counters::of(spec.shape.general, 0).0);
        Guest {
            vcpu,
            cpu: spec.cpu as usize,
            alive: false,
            created: false,
            asleep_until: 0,
            at: 0,
            left: None,
            streams: spec.rates.map(Stream::new),
            alone,
            did: Ledger::default(),
            exits: [0; 10],
            starved: Counters::NONE,
            starved_cycles: 0,
            clock: clock(scenario, spec),
            vm: VmPmu::new(&scenario.pmus, spec.cpu),
            pending: Vec::new(),
            inherited: Vec::new(),
            live: Live::sharing(scenario.exits),
            programmed: Counters::NONE,
        }
    }

    /// A stretch of an executed guest is over: what it did there, and what it has programmed.
    pub fn executed(&mut self, did: &Ledger) {
        self.did.add(&did.only(World::Guest));
        self.programmed = self.programmed.or(self.live.programmed);
    }

    /// The segment that it is in.
    pub fn segment(&self, spec: &GuestSpec) -> Segment {
        let endless = Segment::Run(Privilege::User, u64::MAX);
        spec.setup.get(self.at).or_else(|| spec.program.get(self.at - spec.setup.len())).copied().unwrap_or(endless)
    }

    /// Whether the setup is done.
    pub fn is_set_up(&self, spec: &GuestSpec) -> bool {
        self.at >= spec.setup.len()
    }

    /// Goes on to the next segment; behind the last of the program comes its first.
    pub fn next_segment(&mut self, spec: &GuestSpec) {
        self.left = None;
        self.at += 1;
        if self.at >= spec.setup.len() + spec.program.len() {
            self.at = spec.setup.len();
        }
    }

    /// Time passes for its clocks.
    pub fn pass(&mut self, residence: Residence, cycles: u64, percent: u64) {
        if let Some((clock, host)) = &mut self.clock {
            // The timeline is in core cycles.
            clock.pass(host, residence, cycles.saturating_mul(100) / percent.max(1));
        }
    }

    /// The guest runs, and so does the PMU that it would have alone.
    pub fn run(&mut self, cpu: &mut PhysicalCpu, ring: Privilege, cycles: u64) {
        let burst = self.streams[ring as usize].take(cycles);
        self.did.enter(Cell::new(World::Guest, ring), &burst);
        self.note_starved(cpu, cycles);
        self.alone.retire(ring, &burst);
        self.vcpu.run(cpu, ring, &burst);
    }

    fn note_starved(&mut self, cpu: &PhysicalCpu, cycles: u64) {
        let blind = self.vcpu.registers().filter(|_| self.vcpu.blind).map(|registers| registers.counting());
        let starved = blind.unwrap_or_else(|| self.vcpu.starved(cpu));
        self.starved = self.starved.or(starved);
        self.starved_cycles += if starved.is_empty() { 0 } else { cycles };
    }

    /// Cycles until one of its counters, wherever it is, interrupts.
    pub fn cycles_until_interrupt(&self, cpu: &mut PhysicalCpu, ring: Privilege) -> u64 {
        self.streams[ring as usize].cycles_until(&cpu.pmu.until_interrupt(ring))
    }

    /// It writes a register of its PMU. Returns whether it could.
    pub fn write(&mut self, cpu: &mut PhysicalCpu, register: Register, value: u64) -> bool {
        let done = self.vcpu.write(cpu, register, value).is_ok();
        if done {
            self.alone.poke(register, self.filtered(register, value));
            self.programmed = self.programmed.or(match register {
                Register::Selector(n) => Counters::only(Counter::general(n)),
                Register::FixedControl => {
                    let used = (0..4).filter(|n| value >> (4 * n) & 3 != 0);
                    Counters(used.fold(0, |bits, n| bits | Counter::fixed(n).bit()))
                }
                _ => Counters::NONE,
            });
        }
        done
    }

    /// Alone, it would be under the same filter.
    fn filtered(&self, register: Register, value: u64) -> u64 {
        let Some(registers) = self.vcpu.registers() else { return value };
        match register {
            Register::Selector(n) => registers.hardware_selector(n),
            Register::FixedControl => registers.hardware_fixed_control(),
            _ => value,
        }
    }

    /// The hypervisor completes an instruction of it.
    pub fn emulate(&mut self, cpu: &mut PhysicalCpu, ring: Privilege) {
        if let Some(registers) = self.vcpu.registers() {
            for counter in registers.counters_of_emulated(ring, false).iter() {
                let next = self.alone.peek(Register::Count(counter)).wrapping_add(1) & MASK;
                self.alone.poke(Register::Count(counter), next);
            }
        }
        self.vcpu.emulate(cpu, ring, false);
    }

    pub fn report(
        &mut self,
        spec: &GuestSpec,
        cpu: Option<&PhysicalCpu>,
        machine: Option<&dyn Execution>,
    ) -> GuestReport {
        let counters = self.programmed.iter().map(|counter| self.counter_report(cpu, machine, counter)).collect();
        let exits = self.exits.into_iter().zip(self.live.by_reason).map(|(n, more)| n + more);
        let exits = ExitReason::ALL.into_iter().zip(exits).filter(|(_, n)| *n != 0).collect();
        GuestReport {
            name: spec.name.clone(),
            created: self.created,
            counters,
            did: self.did,
            metrics: self.metrics(cpu),
            exits,
            pmu_exits: self.vcpu.pmu_exits,
            pmis: self.vcpu.registers().map_or(0, |registers| registers.pmis),
            starved: self.starved.or(self.live.starved),
            starved_cycles: self.starved_cycles + self.live.starved_cycles,
            completed: self.live.completed_so_far,
            aperf: self.aperf_report(),
        }
    }

    fn counter_report(
        &self,
        cpu: Option<&PhysicalCpu>,
        machine: Option<&dyn Execution>,
        counter: Counter,
    ) -> CounterReport {
        let config = self.vcpu.registers().map(|registers| registers.config(counter));
        CounterReport {
            counter,
            kind: config.and_then(Happening::of_event),
            truth: machine.map_or_else(|| self.alone.peek(Register::Count(counter)), |machine| machine.alone(counter)),
            seen: self.vcpu.peek(cpu, counter),
        }
    }

    fn metrics(&self, cpu: Option<&PhysicalCpu>) -> Option<(u64, u64)> {
        let registers = self.vcpu.registers().filter(|registers| registers.shape.metrics)?;
        let seen = match (&self.vcpu.vpmu, cpu) {
            (Vpmu::Mediated(vpmu), Some(cpu)) if vpmu.resident.holds(Counter::fixed(3)) => {
                cpu.pmu.peek(Register::Metrics)
            }
            (Vpmu::PassThrough(_), Some(cpu)) => cpu.pmu.peek(Register::Metrics),
            (Vpmu::PerfBased(vpmu), Some(cpu)) => vpmu.peek_metrics(&cpu.perf, &cpu.pmu),
            _ => registers.metrics,
        };
        Some((seen, self.alone.peek(Register::Metrics)))
    }

    fn aperf_report(&mut self) -> Option<AperfReport> {
        let (clock, host) = self.clock.as_mut()?;
        let cost = clock.cost;
        let (aperf, mperf) = (clock.read_aperf(host), clock.read_mperf(host));
        let (tsc, drift, lost) = (clock.read_tsc(), clock.drift(), clock.lost);
        Some(AperfReport { aperf, mperf, tsc, drift, cost, lost, host_lost: host.lost })
    }
}

/// Its clocks, where the design can be had: `run` says so where it cannot.
fn clock(scenario: &Scenario, spec: &GuestSpec) -> Option<(GuestClock, HostClock)> {
    let (design, multiplier) = spec.aperf?;
    let clock = GuestClock::new(design, multiplier, true, scenario.aperf).ok()?;
    Some((clock, HostClock::new(scenario.core_clock_percent, 100)))
}
