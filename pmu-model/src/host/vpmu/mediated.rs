//! The mediated vPMU: while its guest runs, the guest has the counters themselves.
//!
//! Between host and guest the registers change hands (`switch`), with `GLOBAL_CTRL` 0 for as long as anything of the
//! guest's is in and the host runs. Selectors are always intercepted, for the event filter; counters never; the global
//! registers and RDPMC only where guest and host do not have equal sets of counters. A part with four fixed counters
//! that shows three to its guest, as Linux 7.2 does on Sapphire Rapids, is in that last case.
//!
//! Source: spec/pmu.md 5.5; linux v7.2 arch/x86/kvm/pmu.c and vmx/pmu_intel.c.

use super::guest::GuestRegisters;
use crate::host::cell::Privilege;
use crate::host::constraint::{Counter, Counters};
use crate::host::physical::PhysicalCpu;
use crate::host::registers::{MASK, Register, Shape};

/// A mediated guest's PMU, and how far it is in hardware.
#[derive(Clone, Debug)]
pub struct Mediated {
    /// What the guest wrote, and what was saved of its counters.
    pub registers: GuestRegisters,
    /// Counters whose value is in hardware: what is saved of them is stale.
    pub resident: Counters,
    /// The guest does not own the PMU: its state has to be loaded before it counts. Like TIF_NEED_FPU_LOAD.
    pub need_load: bool,
    /// The guest accessed its PMU since its task was scheduled in.
    pub touched: bool,
    /// The counters that host events had at point A: S0's host_info.
    pub host_info: Counters,
    /// The guest's state stays in for the whole loop.
    pub whole_loop: bool,
    /// Between points A and D.
    pub in_loop: bool,
}

impl Mediated {
    /// With nothing in hardware.
    pub fn new(registers: GuestRegisters) -> Mediated {
        Mediated {
            registers,
            resident: Counters::NONE,
            need_load: true,
            touched: false,
            host_info: Counters::NONE,
            whole_loop: false,
            in_loop: false,
        }
    }

    /// Whether the global registers exit: guest and host must have the same counters.
    pub fn intercepts_global(&self, host: Shape) -> bool {
        (self.registers.shape.general, self.registers.shape.fixed) != (host.general, host.fixed)
    }

    /// Whether an access exits, on a PMU of that shape, once the guest's state is in.
    pub fn intercepts_loaded(&self, host: Shape, register: Register, rdpmc: bool) -> bool {
        match register {
            Register::Count(_) if rdpmc => self.intercepts_global(host),
            Register::Count(counter) => !self.registers.shape.counters().holds(counter),
            Register::GlobalControl | Register::GlobalStatus | Register::StatusReset => self.intercepts_global(host),
            Register::Selector(_) | Register::FixedControl | Register::StatusSet | Register::InUse => true,
            // The series of 2026 passes it through to a guest that has it.
            Register::Metrics => !self.registers.shape.metrics,
        }
    }

    /// Whether an access exits now. The first one of a lazily loaded guest does, and is what loads its state.
    pub fn intercepts(&mut self, cpu: &PhysicalCpu, register: Register, rdpmc: bool) -> bool {
        self.touched = true;
        self.need_load || self.intercepts_loaded(cpu.pmu.shape(), register, rdpmc)
    }

    /// RDMSR or RDPMC, after the exit.
    pub fn read(&mut self, cpu: &mut PhysicalCpu, register: Register) -> u64 {
        match register {
            Register::Count(counter) if self.resident.holds(counter) => cpu.pmu.rdpmc(counter),
            Register::GlobalStatus if !self.need_load => cpu.pmu.rdmsr(Register::GlobalStatus),
            Register::Metrics if self.resident.holds(Counter::fixed(3)) => cpu.pmu.rdmsr(Register::Metrics),
            Register::InUse => in_use(&self.registers),
            other => self.registers.kept(other),
        }
    }

    /// WRMSR, after the exit. The value was checked.
    pub fn write(&mut self, cpu: &mut PhysicalCpu, register: Register, value: u64) {
        match register {
            Register::Count(counter) if self.resident.holds(counter) => cpu.pmu.wrmsr(register, value),
            Register::Metrics if self.resident.holds(Counter::fixed(3)) => cpu.pmu.wrmsr(register, value),
            Register::StatusReset | Register::StatusSet if !self.need_load => cpu.pmu.wrmsr(register, value),
            Register::Selector(n) => {
                self.registers.keep(register, value);
                if self.resident.holds(Counter::general(n)) {
                    cpu.pmu.wrmsr(register, self.registers.hardware_selector(n));
                }
            }
            Register::FixedControl => {
                self.registers.keep(register, value);
                if !self.need_load {
                    cpu.pmu.wrmsr(register, self.registers.hardware_fixed_control());
                }
            }
            Register::Count(counter) => {
                self.registers.set_count(counter, value);
                // As in hardware: writing the slots clears the metrics.
                if counter == Counter::fixed(3) {
                    self.registers.metrics = 0;
                }
            }
            other => self.registers.keep(other, value),
        }
    }

    /// An instruction completed for the guest: exactly once, where the counter's value is.
    pub fn emulate(&mut self, cpu: &mut PhysicalCpu, ring: Privilege, branch: bool) {
        for counter in self.registers.counters_of_emulated(ring, branch).iter() {
            let resident = self.resident.holds(counter);
            let value = if resident { cpu.pmu.rdpmc(counter) } else { self.registers.count(counter) };
            let next = value.wrapping_add(1) & MASK;
            if resident {
                cpu.pmu.wrmsr(Register::Count(counter), next);
            } else {
                self.registers.set_count(counter, next);
            }
            if next == 0 {
                self.emulated_overflow(cpu, counter);
            }
        }
    }

    fn emulated_overflow(&mut self, cpu: &mut PhysicalCpu, counter: Counter) {
        if self.need_load {
            self.registers.overflowed(counter);
            return;
        }
        cpu.pmu.wrmsr(Register::StatusSet, counter.bit());
        if self.registers.interrupts(counter) {
            self.registers.interrupt();
        }
    }
}

fn in_use(registers: &GuestRegisters) -> u64 {
    let general = (0..8).filter(|n| registers.selectors[*n] & 0xff != 0).fold(0, |bits, n| bits | 1 << n);
    let fixed = (0..4).filter(|n| registers.fixed_control >> (4 * n) & 3 != 0);
    let fixed = fixed.fold(0, |bits, n| bits | 1 << (u64::from(Counter::FIXED) + n));
    let asks = registers.shape.counters().iter().any(|counter| registers.interrupts(counter));
    general | fixed | if asks { 1 << 63 } else { 0 }
}
