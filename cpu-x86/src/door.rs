//! The doors: all that a processor can reach outside itself, given to it for the length of a run.

use crate::monitor::Monitor;
use emu_core::Gpa;

/// CPUID leaf by which a program of any ring marks a point; it answers as any leaf beyond the highest.
pub const MARK_LEAF: u32 = 0x524f_4900;

/// Who was running when something was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// CPL 0, 1 or 2 (what Linux and the PMU call kernel).
    Kernel,
    /// CPL 3.
    User,
}

/// Things counted exactly, per ring. They wrap never: 64 bits last centuries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Instructions retired.
    pub instructions: u64,
    /// Branch instructions retired (near and far jumps, calls, returns, conditional or not; interrupt returns).
    pub branches: u64,
    /// Conditional branches retired, taken or not.
    pub conditional: u64,
}

/// All that one logical processor has retired since reset, and its clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In CPL 0 to 2.
    pub kernel: Facts,
    /// In CPL 3.
    pub user: Facts,
    /// Unhalted core cycles: in the default model one an instruction.
    pub cycles: u64,
    /// Those in CPL 3 beyond one for each of its instructions: of repeated string instructions that are not done.
    pub user_waits: u64,
    /// TSC ticks since power-on, before any write or offset; goes on through HLT.
    pub clock: u64,
}

/// A door said no: the instruction raises #GP(0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// The integer registers between two instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// RFLAGS.
    pub flags: u64,
    /// Linear address of the next instruction.
    pub ip: u64,
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub general: [u64; 16],
}

/// The processor, as a PMU that samples sees it between two instructions.
pub trait Sampled {
    /// The integer registers.
    fn registers(&self) -> Registers;
    /// XMM register `n` (below 16).
    fn xmm(&self, n: usize) -> u128;
    /// Reads memory at a linear address with supervisor privilege; false: not there, nothing was read.
    fn read(&mut self, linear: u64, to: &mut [u8]) -> bool;
    /// Writes memory at a linear address with supervisor privilege; false: not there, nothing was written.
    fn write(&mut self, linear: u64, from: &[u8]) -> bool;
}

/// What lies outside the processor. `now` is the processor's own count at the instruction that asks, that instruction
/// not included.
pub trait Doors {
    /// Reads device memory; all ones where nobody answers. `bytes` is 1, 2, 4 or 8.
    fn memory_read(&mut self, at: Gpa, bytes: u32, now: &Counts) -> u64;
    /// Writes device memory.
    fn memory_write(&mut self, at: Gpa, bytes: u32, value: u64, now: &Counts);
    /// IN. `bytes` is 1, 2 or 4.
    fn port_read(&mut self, port: u16, bytes: u32, now: &Counts) -> u32;
    /// OUT.
    fn port_write(&mut self, port: u16, bytes: u32, value: u32, now: &Counts);
    /// RDMSR of an MSR that the processor itself does not have: the PMU's. `None`: not an MSR at all.
    fn msr_read(&mut self, msr: u32, now: &Counts) -> Option<Result<u64, Refused>>;
    /// WRMSR, likewise.
    fn msr_write(&mut self, msr: u32, value: u64, now: &Counts) -> Option<Result<(), Refused>>;
    /// RDPMC with selector `ecx` (privilege was checked).
    fn rdpmc(&mut self, ecx: u32, now: &Counts) -> Result<u64, Refused>;
    /// CPUID leaves that the PMU defines (0Ah, 1Ch, 23h…): `None` leaves them zero.
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> Option<[u32; 4]>;
    /// Is supervisor state component `n` of the XSAVE family, whose registers are behind the doors, out of its initial
    /// configuration?
    fn component_in_use(&mut self, n: u32) -> bool {
        let _ = n;
        false
    }
    /// XSAVES: writes component `n` to `to`, which has its size. Only asked when it is in use.
    fn component_save(&mut self, n: u32, to: &mut [u8]) {
        let _ = n;
        to.fill(0);
    }
    /// XRSTORS: loads component `n` from `from`, or its initial configuration.
    ///
    /// # Errors
    /// The image is not legal, or the component is unknown; then nothing has changed.
    fn component_restore(&mut self, n: u32, from: Option<&[u8]>, now: &Counts) -> Result<(), Refused> {
        let _ = (n, now);
        if from.is_none() { Ok(()) } else { Err(Refused) }
    }
    /// The local APIC sends an inter-processor interrupt: the board delivers it (also to this processor) after the
    /// instruction. `icr` is the 64-bit interrupt command register in x2APIC layout.
    fn send_ipi(&mut self, icr: u64);
    /// The local APIC signals end of a level-triggered interrupt to the IOAPICs.
    fn end_of_interrupt(&mut self, vector: u8);
    /// The 8259A pair is asked for the vector of the interrupt it requests (INTA cycle).
    fn acknowledge_pic(&mut self) -> u8;
    /// How many more instructions may retire in `ring` before [`Doors::pmu_settle`] must be called: a lower bound of
    /// the distance to the next counter overflow. `u64::MAX` when no counter can overflow.
    fn pmu_deadline(&mut self, now: &Counts, ring: Ring) -> u64;
    /// The processor stands at an instruction boundary with exactly `now` retired. True: the PMU requests an
    /// interrupt (PMI), which the local APIC delivers through LVTPC.
    fn pmu_settle(&mut self, now: &Counts, processor: &mut dyn Sampled) -> bool;
    /// Who wants to be told what runs, if anyone. Asked whenever the run loop looks around.
    fn monitor(&mut self) -> Option<&mut dyn Monitor> {
        None
    }
    /// CPUID leaf [`MARK_LEAF`] is asked for with `value` in ECX: the guest marks a point for who looks on from outside.
    fn marked(&mut self, _value: u32) {}
    /// Does the board want the processor to leave its run at the next instruction boundary (a line changed, a
    /// message is waiting, the machine is to stop)? Asked after every access to a device or the PMU.
    fn wants_attention(&self) -> bool;
}

/// Doors with nothing behind them: memory reads all ones, ports likewise, every foreign MSR is unknown. For tests and
/// for programs that bring no board.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDoors;

impl Doors for NoDoors {
    fn memory_read(&mut self, _at: Gpa, _bytes: u32, _now: &Counts) -> u64 {
        u64::MAX
    }
    fn memory_write(&mut self, _at: Gpa, _bytes: u32, _value: u64, _now: &Counts) {}
    fn port_read(&mut self, _port: u16, _bytes: u32, _now: &Counts) -> u32 {
        u32::MAX
    }
    fn port_write(&mut self, _port: u16, _bytes: u32, _value: u32, _now: &Counts) {}
    fn msr_read(&mut self, _msr: u32, _now: &Counts) -> Option<Result<u64, Refused>> {
        None
    }
    fn msr_write(&mut self, _msr: u32, _value: u64, _now: &Counts) -> Option<Result<(), Refused>> {
        None
    }
    fn rdpmc(&mut self, _ecx: u32, _now: &Counts) -> Result<u64, Refused> {
        Err(Refused)
    }
    fn cpuid(&mut self, _leaf: u32, _subleaf: u32) -> Option<[u32; 4]> {
        None
    }
    fn send_ipi(&mut self, _icr: u64) {}
    fn end_of_interrupt(&mut self, _vector: u8) {}
    fn acknowledge_pic(&mut self) -> u8 {
        0xff
    }
    fn pmu_deadline(&mut self, _now: &Counts, _ring: Ring) -> u64 {
        u64::MAX
    }
    fn pmu_settle(&mut self, _now: &Counts, _processor: &mut dyn Sampled) -> bool {
        false
    }
    fn wants_attention(&self) -> bool {
        false
    }
}
