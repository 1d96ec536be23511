//! The guest's PMU, and the vCPU that it belongs to.
//!
//! Four answers to "whose are the counters while a guest runs":
//!
//! | | none | perf-based | mediated | passed through |
//! |---|---|---|---|---|
//! | behind a guest counter | nothing | a pinned host event | the counter of the same number | the same |
//! | guest writes a selector | #GP | exit, event made or changed | exit, filtered, stored | direct |
//! | guest reads a counter | #GP | exit | direct, if both see equal sets | direct |
//! | the host profiles the guest | yes | yes, and competes for counters | no | no |
//! | what the guest's counters miss or have too much | | what the host's scheduler takes away | nothing | the host's own work |
//!
//! A vCPU is a task of the host. Its life is the loop of `switch`: [`Vcpu::load`], then [`Vcpu::enter`] and
//! [`Vcpu::exit`] as often as it takes, then [`Vcpu::leave`].
//!
//! Source: spec/pmu.md 5.1, 5.2, 5.5.

pub mod guest;
pub mod mediated;
pub mod perf_based;

use super::attr::TaskId;
use super::cell::{Burst, Privilege, World};
use super::constraint::{Counter, Counters};
use super::event::Context;
use super::filter::Permission;
use super::perf::Perf;
use super::physical::{PhysicalCpu, Vmcs};
use super::registers::{Pmu, Register, Shape};
use guest::{Fault, GuestRegisters};
use mediated::Mediated;
use perf_based::PerfBased;

/// The ways of giving a guest a PMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It has none: KVM_PMU_CAP_DISABLE, or `enable_pmu=0`.
    None,
    /// Host events stand behind its counters.
    PerfBased,
    /// It gets the hardware while it runs, filtered and switched.
    Mediated,
    /// It gets the hardware.
    PassThrough,
}

/// A guest's PMU.
#[derive(Clone, Debug)]
pub enum Vpmu {
    /// None: every register faults.
    None,
    /// See [`perf_based`].
    PerfBased(Box<PerfBased>),
    /// See [`mediated`].
    Mediated(Box<Mediated>),
    /// Registers are the hardware's; only the interrupt is kept here. Nothing is switched: see [`Vcpu::load`].
    PassThrough(Box<GuestRegisters>),
}

/// A virtual CPU.
#[derive(Clone, Debug)]
pub struct Vcpu {
    /// The host's task that runs it.
    pub task: TaskId,
    /// Its PMU.
    pub vpmu: Vpmu,
    /// The task's events, while it does not run.
    context: Context,
    /// The CPU under it has another PMU than the one that backs its counters: they stand still, and nobody tells.
    pub blind: bool,
    /// Accesses that exit are instructions that the hypervisor completes and counts (spec/pmu.md 5.5.6): so it is for a
    /// guest that is really executed. A stream of facts has no instruction for them.
    pub completes_accesses: bool,
    /// VM exits so far.
    pub exits: u64,
    /// Exits that an access to the PMU caused.
    pub pmu_exits: u64,
}

impl Vcpu {
    /// A vCPU with a PMU of that kind and shape. Perf-based ones have three fixed counters at most, as in KVM, unless
    /// the shape has metrics (the RFC of 2023).
    pub fn new(task: TaskId, mode: Mode, shape: Shape, permission: Permission) -> Vcpu {
        let registers = || GuestRegisters::new(shape, permission.clone());
        let vpmu = match mode {
            Mode::None => Vpmu::None,
            Mode::PerfBased => Vpmu::PerfBased(Box::new(PerfBased::new(task, registers()))),
            Mode::Mediated => Vpmu::Mediated(Box::new(Mediated::new(registers()))),
            Mode::PassThrough => Vpmu::PassThrough(Box::new(registers())),
        };
        Vcpu {
            task,
            vpmu,
            context: Context::default(),
            blind: false,
            completes_accesses: false,
            exits: 0,
            pmu_exits: 0,
        }
    }

    /// The registers kept in software, if there are any.
    pub fn registers(&self) -> Option<&GuestRegisters> {
        match &self.vpmu {
            Vpmu::None => None,
            Vpmu::PerfBased(vpmu) => Some(&vpmu.registers),
            Vpmu::Mediated(vpmu) => Some(&vpmu.registers),
            Vpmu::PassThrough(registers) => Some(registers),
        }
    }

    /// The same, to change them.
    pub fn registers_mut(&mut self) -> Option<&mut GuestRegisters> {
        match &mut self.vpmu {
            Vpmu::None => None,
            Vpmu::PerfBased(vpmu) => Some(&mut vpmu.registers),
            Vpmu::Mediated(vpmu) => Some(&mut vpmu.registers),
            Vpmu::PassThrough(registers) => Some(registers),
        }
    }

    /// The task's events, while it does not run.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The same, to open, close or change events of a task that does not run.
    pub fn context_mut(&mut self) -> &mut Context {
        &mut self.context
    }

    /// The vCPU's task is scheduled in and goes into its loop: point A of `switch`.
    ///
    /// A passed-through PMU belongs to the guest from here on, for good: neither entry nor exit changes it, so it counts
    /// whatever the CPU does. [D: "raw" in spec/pmu.md 5.1 says direct for everything, and nothing of switching.]
    pub fn load(&mut self, cpu: &mut PhysicalCpu) {
        let context = if self.blind { Context::default() } else { std::mem::take(&mut self.context) };
        match &mut self.vpmu {
            Vpmu::PassThrough(_) => cpu.passed_through = true,
            Vpmu::None | Vpmu::PerfBased(_) | Vpmu::Mediated(_) => {
                cpu.perf.task_in(&mut cpu.pmu, self.task, context);
            }
        }
        if let Vpmu::Mediated(vpmu) = &mut self.vpmu {
            vpmu.at_loop(cpu);
        }
    }

    /// VM entry, with point B before it.
    pub fn enter(&mut self, cpu: &mut PhysicalCpu) {
        match &mut self.vpmu {
            Vpmu::Mediated(vpmu) => vpmu.at_entry(cpu),
            Vpmu::PerfBased(vpmu) if !self.blind => vpmu.at_entry(cpu),
            Vpmu::None | Vpmu::PerfBased(_) | Vpmu::PassThrough(_) => {}
        }
        if matches!(self.vpmu, Vpmu::None | Vpmu::PerfBased(_)) {
            let fields = Vmcs { guest: cpu.perf.control(World::Guest), host: cpu.perf.control(World::Host) };
            cpu.set_vmcs(fields);
        }
        cpu.enter();
    }

    /// VM exit, with point C behind it.
    pub fn exit(&mut self, cpu: &mut PhysicalCpu) {
        self.exits += 1;
        let control = cpu.exit();
        if let Vpmu::Mediated(vpmu) = &mut self.vpmu {
            if !vpmu.need_load {
                vpmu.registers.global_control = control;
            }
            vpmu.at_exit(cpu);
        }
    }

    /// Out of the loop, point D; the task is scheduled out.
    pub fn leave(&mut self, cpu: &mut PhysicalCpu) {
        if let Vpmu::Mediated(vpmu) = &mut self.vpmu {
            vpmu.at_leave(cpu);
        }
        if let Some((_, context)) = cpu.perf.task_out(&mut cpu.pmu)
            && !self.blind
        {
            self.context = context;
        }
    }

    /// Out of the loop to user space and its monitor: point D, but the task stays.
    pub fn to_user_space(&mut self, cpu: &mut PhysicalCpu) {
        if let Vpmu::Mediated(vpmu) = &mut self.vpmu {
            vpmu.at_leave(cpu);
        }
    }

    /// Back from user space into the loop: point A.
    pub fn from_user_space(&mut self, cpu: &mut PhysicalCpu) {
        if let Vpmu::Mediated(vpmu) = &mut self.vpmu {
            vpmu.at_loop(cpu);
        }
    }

    /// An exit that is handled without leaving the inner loop, if it may be: the guest's state stays in, and nothing
    /// counts what `work` is. It may not where the exit completes an instruction that an enabled counter counts. Returns
    /// whether it was done. Source: spec/pmu.md 5.5.6.
    pub fn fast_exit(&mut self, cpu: &mut PhysicalCpu, emulates: Option<Privilege>, work: &Burst) -> bool {
        let Vpmu::Mediated(vpmu) = &self.vpmu else { return false };
        let counted = emulates.is_some_and(|ring| !vpmu.registers.counters_of_emulated(ring, true).is_empty());
        if vpmu.need_load || counted {
            return false;
        }
        self.exits += 1;
        let control = cpu.exit();
        cpu.run_host(Privilege::Kernel, work);
        if let Vpmu::Mediated(vpmu) = &mut self.vpmu {
            vpmu.registers.global_control = control;
        }
        cpu.enter();
        true
    }

    /// A counter as the guest would read it now, without reading it. `cpu` is where the vCPU's task runs, if it does.
    pub fn peek(&self, cpu: Option<&PhysicalCpu>, counter: Counter) -> u64 {
        // A blind vCPU's events stay with its task.
        match (&self.vpmu, cpu.filter(|_| !self.blind)) {
            (Vpmu::None, _) => 0,
            (Vpmu::PassThrough(registers), None) => registers.count(counter),
            (Vpmu::PassThrough(_), Some(cpu)) => cpu.pmu.peek(Register::Count(counter)),
            (Vpmu::Mediated(vpmu), Some(cpu)) if vpmu.resident.holds(counter) => cpu.pmu.peek(Register::Count(counter)),
            (Vpmu::Mediated(vpmu), _) => vpmu.registers.count(counter),
            (Vpmu::PerfBased(vpmu), Some(cpu)) => vpmu.peek(|id| cpu.perf.find(id), Some(&cpu.pmu), counter),
            (Vpmu::PerfBased(vpmu), None) => vpmu.peek(|id| self.context.find(id), None, counter),
        }
    }

    /// The guest runs: what it does, and the interrupts of counters that overflow.
    pub fn run(&mut self, cpu: &mut PhysicalCpu, ring: Privilege, burst: &Burst) {
        let asking = cpu.retire(ring, burst);
        self.overflowed(cpu, asking);
    }

    /// Counters overflowed while the guest ran, and ask for an interrupt.
    pub fn overflowed(&mut self, cpu: &mut PhysicalCpu, asking: Counters) {
        if asking.is_empty() {
            return;
        }
        match &mut self.vpmu {
            Vpmu::PassThrough(registers) => registers.interrupt(),
            // The guest's mask is the physical one's: no interrupt, only the status bit.
            Vpmu::Mediated(vpmu) if vpmu.registers.lvtpc_masked => vpmu.registers.pmis_dropped += 1,
            Vpmu::Mediated(_) => {
                self.exit(cpu);
                cpu.serve_exit();
                self.registers_mut().into_iter().for_each(GuestRegisters::interrupt);
                self.enter(cpu);
            }
            Vpmu::None | Vpmu::PerfBased(_) => {
                self.exit(cpu);
                cpu.serve_exit();
                cpu.perf.overflow(&mut cpu.pmu, asking);
                if let Vpmu::PerfBased(vpmu) = &mut self.vpmu {
                    vpmu.after_overflow(cpu);
                }
                self.enter(cpu);
            }
        }
    }

    /// The guest reads a register, by RDMSR or RDPMC.
    ///
    /// # Errors
    /// #GP where the guest has no such register.
    pub fn read(&mut self, cpu: &mut PhysicalCpu, register: Register, rdpmc: bool) -> Result<u64, Fault> {
        let direct = match &mut self.vpmu {
            Vpmu::PassThrough(registers) => {
                return registers.check_read(register).map(|()| cpu.pmu.peek(register));
            }
            Vpmu::Mediated(vpmu) => !vpmu.intercepts(cpu, register, rdpmc),
            Vpmu::None | Vpmu::PerfBased(_) => false,
        };
        self.registers().ok_or(Fault).and_then(|registers| registers.check_read(register))?;
        if direct {
            return Ok(cpu.pmu.peek(register));
        }
        self.pmu_exits += 1;
        self.exit(cpu);
        cpu.serve_exit();
        let value = match &mut self.vpmu {
            Vpmu::PerfBased(vpmu) => vpmu.read(cpu, register),
            Vpmu::Mediated(vpmu) => vpmu.read(cpu, register),
            Vpmu::None | Vpmu::PassThrough(_) => 0,
        };
        self.complete_access(cpu);
        self.enter(cpu);
        Ok(value)
    }

    /// The guest writes a register.
    ///
    /// # Errors
    /// #GP where the guest has no such register, or for a reserved bit: nothing changes.
    pub fn write(&mut self, cpu: &mut PhysicalCpu, register: Register, value: u64) -> Result<(), Fault> {
        self.registers().ok_or(Fault).and_then(|registers| registers.check_write(register, value))?;
        let direct = match &mut self.vpmu {
            Vpmu::PassThrough(registers) => {
                registers.keep(register, value);
                true
            }
            Vpmu::Mediated(vpmu) => !vpmu.intercepts(cpu, register, false),
            Vpmu::None | Vpmu::PerfBased(_) => false,
        };
        if direct {
            cpu.pmu.poke_behind(register, value);
            return Ok(());
        }
        self.pmu_exits += 1;
        self.exit(cpu);
        cpu.serve_exit();
        match &mut self.vpmu {
            Vpmu::PerfBased(vpmu) => vpmu.write(cpu, register, value),
            Vpmu::Mediated(vpmu) => vpmu.write(cpu, register, value),
            Vpmu::None | Vpmu::PassThrough(_) => {}
        }
        self.complete_access(cpu);
        self.enter(cpu);
        Ok(())
    }

    fn complete_access(&mut self, cpu: &mut PhysicalCpu) {
        if self.completes_accesses {
            self.emulate(cpu, Privilege::Kernel, false);
        }
    }

    /// The hypervisor completes an instruction for the guest, in root mode: the guest's counters count it in software.
    pub fn emulate(&mut self, cpu: &mut PhysicalCpu, ring: Privilege, branch: bool) {
        match &mut self.vpmu {
            Vpmu::PerfBased(vpmu) => vpmu.emulate(ring, branch),
            Vpmu::Mediated(vpmu) => vpmu.emulate(cpu, ring, branch),
            Vpmu::None | Vpmu::PassThrough(_) => {}
        }
    }

    /// Something changes perf's state on the CPU while this vCPU is in its loop, by an IPI or from its own exit. In the
    /// guest that is an exit first. `enables`: an event is opened or enabled, which S0's fourth phase hears of.
    pub fn while_in_loop<T>(
        &mut self,
        cpu: &mut PhysicalCpu,
        enables: bool,
        change: impl FnOnce(&mut Perf, &mut Pmu) -> T,
    ) -> T {
        let in_guest = cpu.world == World::Guest;
        if in_guest {
            self.exit(cpu);
        }
        if let Vpmu::Mediated(vpmu) = &mut self.vpmu {
            if enables && cpu.policy.preempt {
                vpmu.preempt(cpu);
            }
            vpmu.guard(cpu);
        }
        let done = change(&mut cpu.perf, &mut cpu.pmu);
        if in_guest {
            self.enter(cpu);
        }
        done
    }

    /// Guest counters that should count and do not, for the host's scheduler took the hardware: invariant E4's report.
    pub fn starved(&self, cpu: &PhysicalCpu) -> Counters {
        match &self.vpmu {
            Vpmu::PerfBased(vpmu) => vpmu.starved(&cpu.perf),
            Vpmu::None | Vpmu::Mediated(_) | Vpmu::PassThrough(_) => Counters::NONE,
        }
    }

    /// Where a guest's counter is in hardware now, if it is.
    pub fn backing(&self, cpu: &PhysicalCpu, counter: Counter) -> Option<Counter> {
        match &self.vpmu {
            Vpmu::None => None,
            Vpmu::PerfBased(vpmu) => vpmu.backing(&cpu.perf, counter),
            Vpmu::Mediated(vpmu) => vpmu.resident.holds(counter).then_some(counter),
            Vpmu::PassThrough(registers) => registers.shape.counters().holds(counter).then_some(counter),
        }
    }
}
