//! The PMU of one physical core, as the host's software sees it: registers, and an account of every access to them.
//!
//! Behind the registers is one of two things: `streams`, for scenarios whose guests are streams of facts, and `executed`,
//! the unit of `pmu_model` itself, for guests that are really executed. Perf, the vPMUs and the policies of switching see
//! no difference (`tests/host_schedules/hardware.rs` holds one against the other).
//!
//! Source: spec/pmu.md 1.4 to 1.8 and 2.1 to 2.5.

pub mod executed;
mod streams;

use super::cell::{Burst, Happening, Privilege};
use super::constraint::{Counter, Counters};
use cpu_x86::Ring;
use executed::Executed;
use streams::Streams;

/// Width of every counter, in bits.
pub const WIDTH: u32 = 48;
/// Largest value of a counter.
pub const MASK: u64 = (1 << WIDTH) - 1;
/// `IA32_PERF_GLOBAL_CTRL` and `_STATUS`: the metrics' bit.
pub const METRICS_BIT: u64 = 1 << 48;

/// PERFEVTSEL: user, kernel, interrupt, enable.
pub const USR: u64 = 1 << 16;
/// Count at CPL 0.
pub const OS: u64 = 1 << 17;
/// Ask for an interrupt at overflow.
pub const INT: u64 = 1 << 20;
/// Count at all.
pub const EN: u64 = 1 << 22;
/// What a selector may hold over streams of facts.
pub const SELECTOR_BITS: u64 = 0xffff | USR | OS | INT | EN;
/// Edge, inversion and threshold: the rest of what an event's encoding consists of.
pub const MODIFIERS: u64 = 1 << 18 | 1 << 23 | 0xff << 24;
/// Bits of a selector that say what is counted.
pub const ENCODING: u64 = 0xffff | MODIFIERS;

/// What a PMU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// General counters, at most 8.
    pub general: u32,
    /// Fixed counters, at most 4.
    pub fixed: u32,
    /// PERF_METRICS, beside fixed counter 3.
    pub metrics: bool,
}

impl Shape {
    /// Sapphire Rapids: 8 and 4, with metrics.
    pub const SAPPHIRE_RAPIDS: Shape = Shape { general: 8, fixed: 4, metrics: true };
    /// The same part as KVM can show it whole: no fixed counter 3, so guest and host sets are equal.
    pub const THREE_FIXED: Shape = Shape { general: 8, fixed: 3, metrics: false };

    /// Its counters, without metrics.
    pub const fn counters(self) -> Counters {
        Counters::of(self.general, self.fixed)
    }

    /// Legal bits of `IA32_PERF_GLOBAL_CTRL`.
    pub const fn global_bits(self) -> u64 {
        self.counters().0 | if self.metrics { METRICS_BIT } else { 0 }
    }

    /// Legal bits of `IA32_FIXED_CTR_CTRL` in this model: rings and interrupt.
    pub const fn fixed_bits(self) -> u64 {
        0xbbbb & ((1 << (4 * self.fixed)) - 1)
    }

    /// Counters and metrics, as the scheduler may give them out.
    pub const fn assignable(self) -> Counters {
        Counters(self.counters().0 | if self.metrics { 0xff << Counter::METRIC } else { 0 })
    }

    /// Whether it has a register.
    pub const fn has(self, register: Register) -> bool {
        match register {
            Register::Count(counter) => self.counters().holds(counter),
            Register::Selector(n) => (n as u32) < self.general,
            Register::Metrics => self.metrics,
            _ => true,
        }
    }

    /// Bits of a register that belong to counters it has; all where that is not the question.
    const fn bits(self, register: Register) -> u64 {
        match register {
            Register::Count(_) => MASK,
            Register::FixedControl => self.fixed_bits(),
            Register::GlobalControl | Register::StatusReset | Register::StatusSet => self.global_bits(),
            _ => u64::MAX,
        }
    }
}

/// A register of the PMU, as software addresses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// PERFCTR or FIXED_CTR of a counter.
    Count(Counter),
    /// PERFEVTSEL of a general counter.
    Selector(u8),
    /// IA32_FIXED_CTR_CTRL.
    FixedControl,
    /// IA32_PERF_GLOBAL_CTRL.
    GlobalControl,
    /// IA32_PERF_GLOBAL_STATUS.
    GlobalStatus,
    /// IA32_PERF_GLOBAL_STATUS_RESET.
    StatusReset,
    /// IA32_PERF_GLOBAL_STATUS_SET.
    StatusSet,
    /// IA32_PERF_GLOBAL_INUSE.
    InUse,
    /// PERF_METRICS.
    Metrics,
}

/// How often registers were accessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// RDMSR.
    pub rdmsr: u64,
    /// WRMSR.
    pub wrmsr: u64,
    /// RDPMC.
    pub rdpmc: u64,
    /// Writes to fields of the VMCS.
    pub vmwrite: u64,
    /// Reads of fields of the VMCS.
    pub vmread: u64,
}

impl Traffic {
    /// RDMSR, WRMSR and RDPMC together.
    pub const fn accesses(&self) -> u64 {
        self.rdmsr + self.wrmsr + self.rdpmc
    }

    /// What it costs, in core cycles.
    pub const fn cycles(&self, costs: &AccessCosts) -> u64 {
        self.rdmsr * costs.rdmsr
            + self.wrmsr * costs.wrmsr
            + self.rdpmc * costs.rdpmc
            + (self.vmwrite + self.vmread) * costs.vmcs
    }

    /// What was added since `before`.
    #[must_use]
    pub const fn since(&self, before: &Traffic) -> Traffic {
        Traffic {
            rdmsr: self.rdmsr - before.rdmsr,
            wrmsr: self.wrmsr - before.wrmsr,
            rdpmc: self.rdpmc - before.rdpmc,
            vmwrite: self.vmwrite - before.vmwrite,
            vmread: self.vmread - before.vmread,
        }
    }
}

/// Cycles that an access takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessCosts {
    /// RDMSR.
    pub rdmsr: u64,
    /// WRMSR.
    pub wrmsr: u64,
    /// RDPMC.
    pub rdpmc: u64,
    /// VMREAD or VMWRITE.
    pub vmcs: u64,
}

impl AccessCosts {
    /// RDMSR about 80 cycles (a reviewer's figure in S4, spec/pmu.md 4.5).
    /// Unverified: the other three are of the order that people quote; measure them before arguing from them.
    pub const QUOTED: AccessCosts = AccessCosts { rdmsr: 80, wrmsr: 150, rdpmc: 40, vmcs: 30 };
}

/// What is behind the registers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Behind {
    Streams(Box<Streams>),
    Executed(Box<Executed>),
}

/// The registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pmu {
    shape: Shape,
    behind: Behind,
    /// Accesses so far.
    pub traffic: Traffic,
}

impl Pmu {
    /// Over streams of facts. As after reset, but with nothing enabled globally: an operating system has taken it over.
    pub fn new(shape: Shape) -> Pmu {
        Pmu { shape, behind: Behind::Streams(Box::new(Streams::new(shape))), traffic: Traffic::default() }
    }

    /// The same over what is really executed.
    pub fn executed(shape: Shape) -> Pmu {
        Pmu { shape, behind: Behind::Executed(Box::default()), traffic: Traffic::default() }
    }

    /// What it has.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// RDMSR by the host's software.
    pub fn rdmsr(&mut self, register: Register) -> u64 {
        self.traffic.rdmsr += 1;
        self.peek(register)
    }

    /// RDPMC by the host's software.
    pub fn rdpmc(&mut self, counter: Counter) -> u64 {
        self.traffic.rdpmc += 1;
        self.peek(Register::Count(counter))
    }

    /// WRMSR by the host's software. Bits that do not exist are masked: only guests try them.
    pub fn wrmsr(&mut self, register: Register, value: u64) {
        self.traffic.wrmsr += 1;
        self.poke(register, value);
    }

    /// A value as VM entry and exit load it: no access of software's.
    pub fn load_global_control(&mut self, value: u64) {
        self.poke(Register::GlobalControl, value);
    }

    /// The value of a register, unaccounted: for tests, tables and guests that are not intercepted.
    pub fn peek(&self, register: Register) -> u64 {
        match &self.behind {
            Behind::Streams(streams) => streams.peek(register),
            Behind::Executed(_) if !self.shape.has(register) => 0,
            Behind::Executed(executed) => executed.peek(register),
        }
    }

    /// Writes a register, unaccounted. Bits that are not there are left out.
    pub fn poke(&mut self, register: Register, value: u64) {
        match &mut self.behind {
            Behind::Streams(streams) => streams.poke(register, value),
            Behind::Executed(executed) if self.shape.has(register) => {
                executed.poke(register, value & self.shape.bits(register));
            }
            Behind::Executed(_) => {}
        }
    }

    /// WRMSR of a guest that is not intercepted: the value is in force behind the instruction.
    pub fn poke_behind(&mut self, register: Register, value: u64) {
        match &mut self.behind {
            Behind::Executed(executed) if self.shape.has(register) => {
                executed.poke_behind(register, value & self.shape.bits(register));
            }
            _ => self.poke(register, value),
        }
    }

    /// What of `burst` happened in a ring is counted. Returns the counters that overflowed and ask for an interrupt.
    pub fn retire(&mut self, ring: Privilege, burst: &Burst) -> Counters {
        match &mut self.behind {
            Behind::Streams(streams) => streams.retire(ring, burst),
            Behind::Executed(executed) => executed.host_ran(ring, burst),
        }
    }

    /// The smallest number of happenings of any kind after which a counter overflows that counts in `ring` and asks
    /// for an interrupt, as a limit by kind; `u64::MAX` where none does. Of what is executed, a limit of instructions.
    pub fn until_interrupt(&mut self, ring: Privilege) -> Burst {
        match &mut self.behind {
            Behind::Streams(streams) => streams.until_interrupt(ring),
            Behind::Executed(executed) => {
                let instructions = executed.deadline(if ring == Privilege::User { Ring::User } else { Ring::Kernel });
                Burst([u64::MAX; super::cell::KINDS]).with(Happening::Retired, instructions)
            }
        }
    }

    /// What is executed, where that is behind the registers.
    pub fn as_executed(&mut self) -> Option<&mut Executed> {
        match &mut self.behind {
            Behind::Streams(_) => None,
            Behind::Executed(executed) => Some(executed),
        }
    }
}

#[cfg(test)]
mod tests;
