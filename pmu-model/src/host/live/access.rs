//! A guest's accesses to its PMU, by number, as its processor makes them.
//!
//! What a guest sees depends on the mode as it does under KVM: none has no leaf 0AH and no register; perf-based and
//! mediated are version 2, with full-width writes, without PEBS and LBRs; passed through it is the part's own version 5,
//! without PEBS and LBRs here as well.
//!
//! Differs: the registers that refine events (offcore responses, load latency, front end) are the guest's own, where KVM
//! refuses them; no host event uses them.
//!
//! Source: spec/pmu.md 1.1, 5.2, 5.5; linux v7.2 arch/x86/kvm/pmu.c, cpuid.c.

use super::Inside;
use crate::Now;
use crate::host::cell::Happening;
use crate::host::constraint::{Counter, Counters};
use crate::host::exits::ExitReason;
use crate::host::registers::{Register, Shape};
use crate::host::vpmu::Vpmu;
use cpu_x86::Refused;

/// A register by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// The vPMU's; the value is 32 bits, sign-extended.
    Short(Register),
    /// The vPMU's.
    Whole(Register),
    /// IA32_PERF_CAPABILITIES.
    Capabilities,
    /// One that refines events.
    Extra,
    /// DEBUGCTL, which the processor keeps and tells.
    Debugctl,
}

fn named(msr: u32) -> Option<Named> {
    let nth = |first: u32| (msr - first) as u8;
    Some(match msr {
        0xc1..=0xc8 => Named::Short(Register::Count(Counter::general(nth(0xc1)))),
        0x4c1..=0x4c8 => Named::Whole(Register::Count(Counter::general(nth(0x4c1)))),
        0x186..=0x18d => Named::Whole(Register::Selector(nth(0x186))),
        0x309..=0x30c => Named::Whole(Register::Count(Counter::fixed(nth(0x309)))),
        0x329 => Named::Whole(Register::Metrics),
        0x38d => Named::Whole(Register::FixedControl),
        0x38e => Named::Whole(Register::GlobalStatus),
        0x38f => Named::Whole(Register::GlobalControl),
        0x390 => Named::Whole(Register::StatusReset),
        0x391 => Named::Whole(Register::StatusSet),
        0x392 => Named::Whole(Register::InUse),
        0x345 => Named::Capabilities,
        0x1a6 | 0x1a7 | 0x3f6 | 0x3f7 => Named::Extra,
        0x1d9 => Named::Debugctl,
        _ => return None,
    })
}

/// IA32_PERF_CAPABILITIES: full-width writes and, with fixed counter 3, the metrics.
const fn capabilities(shape: Shape) -> u64 {
    0x2000 | if shape.metrics { 0x8000 } else { 0 }
}

impl Inside<'_> {
    fn shape(&self) -> Option<Shape> {
        self.vcpu.registers().map(|registers| registers.shape)
    }

    /// CPUID leaves 0AH and 1CH.
    pub fn cpuid(&self, leaf: u32) -> Option<[u32; 4]> {
        let shape = self.shape().filter(|_| leaf == 0xa)?;
        let (version, present) = match self.vcpu.vpmu {
            Vpmu::PassThrough(_) => (5, (1 << shape.fixed) - 1),
            _ => (2, 0),
        };
        Some([version | shape.general << 8 | 48 << 16 | 8 << 24, 0, present, shape.fixed | 48 << 5 | 1 << 15])
    }

    /// RDMSR; `None`: not a register of the guest's PMU.
    pub fn msr_read(&mut self, msr: u32, now: Now<'_>) -> Option<Result<u64, Refused>> {
        let named = named(msr)?;
        let Some(shape) = self.shape() else { return Some(Err(Refused)) };
        self.come(now);
        self.wake();
        match named {
            Named::Short(register) | Named::Whole(register) => Some(self.read(register, false)),
            Named::Capabilities => Some(Ok(capabilities(shape))),
            Named::Extra => Some(self.cpu.pmu.as_executed().and_then(|e| e.extra_read(msr)).ok_or(Refused)),
            Named::Debugctl => None,
        }
    }

    /// WRMSR; `None`: not a register of the guest's PMU.
    pub fn msr_write(&mut self, msr: u32, value: u64, now: Now<'_>) -> Option<Result<(), Refused>> {
        let named = named(msr)?;
        self.shape().filter(|_| named != Named::Capabilities).map_or(Some(Err(Refused)), |_| {
            self.come(now);
            self.wake();
            match named {
                Named::Short(register) => Some(self.write(register, value as u32 as i32 as u64 & ((1 << 48) - 1))),
                Named::Whole(register) => Some(self.write(register, value)),
                Named::Extra => {
                    Some(self.cpu.pmu.as_executed().and_then(|e| e.extra_write(msr, value)).unwrap_or(Err(Refused)))
                }
                Named::Debugctl | Named::Capabilities => Some(Ok(())),
            }
        })
    }

    /// RDPMC; the privilege was checked.
    ///
    /// # Errors
    /// No such counter.
    pub fn rdpmc(&mut self, ecx: u32, now: Now<'_>) -> Result<u64, Refused> {
        let n = u8::try_from(ecx & 0xffff).map_err(|_| Refused)?;
        let register = match ecx >> 16 {
            0 if n < 8 => Register::Count(Counter::general(n)),
            0x4000 if n < 4 => Register::Count(Counter::fixed(n)),
            0x2000 if n == 0 => Register::Metrics,
            _ => return Err(Refused),
        };
        self.shape().ok_or(Refused)?;
        self.come(now);
        self.wake();
        self.read(register, true)
    }

    fn read(&mut self, register: Register, rdpmc: bool) -> Result<u64, Refused> {
        let exits = self.vcpu.pmu_exits;
        let value = self.vcpu.read(self.cpu, register, rdpmc).map_err(|_| Refused);
        self.accessed(exits, rdpmc);
        value
    }

    fn write(&mut self, register: Register, value: u64) -> Result<(), Refused> {
        let exits = self.vcpu.pmu_exits;
        let done = self.vcpu.write(self.cpu, register, value).map_err(|_| Refused);
        self.accessed(exits, false);
        if let Some(registers) = self.vcpu.registers() {
            let enabled = registers.shape.counters().iter().filter(|counter| registers.locally_enabled(*counter));
            self.live.programmed = enabled.fold(self.live.programmed, |set, counter| set.or(Counters::only(counter)));
        }
        done
    }

    /// What the exits of an access were, if it made any.
    fn accessed(&mut self, exits_before: u64, rdpmc: bool) {
        let exits = self.vcpu.pmu_exits - exits_before;
        let reason = if rdpmc { ExitReason::Rdpmc } else { ExitReason::Msr };
        self.live.by_reason[reason as usize] += exits;
        let cycles = self.cpu.exit_work[Happening::Cycles].wrapping_mul(exits);
        self.cpu.perf.advance(cycles);
        self.live.passed.root += cycles;
        self.count_completed(exits != 0);
    }
}
