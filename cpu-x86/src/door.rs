//! The doors: all that a processor can reach outside itself, given to it for the length of a run.

use crate::monitor::Monitor;
use crate::msr::Pace;
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
    /// Cycles that UMWAIT and TPAUSE waited in C0.1, and in C0.2.
    pub rested: [u64; 2],
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
    /// Those in CPL 3 beyond one for each of its instructions: of repeated string instructions that are not done, and of
    /// waiting in C0.1 and C0.2.
    pub user_waits: u64,
    /// TSC ticks since power-on, before any write or offset; goes on through HLT.
    pub clock: u64,
    /// How many ticks go by in how many cycles.
    pub pace: Pace,
}

impl Counts {
    /// So many unhalted cycles go by, and with them time; what is left of a tick is carried to the next cycle.
    pub fn pass(&mut self, cycles: u64) {
        let before = self.pace.ticks(self.cycles);
        self.cycles = self.cycles.wrapping_add(cycles);
        self.clock = self.clock.wrapping_add(self.pace.ticks(self.cycles).wrapping_sub(before));
    }

    /// In how many unhalted cycles the clock will have gone on by `ticks`; saturates.
    pub fn cycles_in(&self, ticks: u64) -> u64 {
        let then = self.pace.ticks(self.cycles).saturating_add(ticks);
        self.pace.cycles(then).saturating_sub(self.cycles)
    }
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
    /// The time-stamp counter, as RDTSC would read it here.
    fn tsc(&self) -> u64;
    /// XMM register `n` (below 16).
    fn xmm(&self, n: usize) -> u128;
    /// Reads memory at a linear address with supervisor privilege; false: not there, nothing was read.
    fn read(&mut self, linear: u64, to: &mut [u8]) -> bool;
    /// Writes memory at a linear address with supervisor privilege; false: not there, nothing was written.
    fn write(&mut self, linear: u64, from: &[u8]) -> bool;
}

/// A performance monitoring unit, as its processor uses it. `now` is the processor's own count at the instruction that
/// asks, that instruction not included. Where a unit does not say otherwise, it has no MSR, no counter and nothing to wait
/// for.
pub trait PmuDoors {
    /// RDMSR of an MSR that the processor itself does not have. `None`: not one of the PMU's either.
    fn msr_read(&mut self, msr: u32, now: &Counts) -> Option<Result<u64, Refused>> {
        let _ = (msr, now);
        None
    }
    /// WRMSR, likewise.
    fn msr_write(&mut self, msr: u32, value: u64, now: &Counts) -> Option<Result<(), Refused>> {
        let _ = (msr, value, now);
        None
    }
    /// RDPMC with selector `ecx` (privilege was checked).
    fn rdpmc(&mut self, ecx: u32, now: &Counts) -> Result<u64, Refused> {
        let _ = (ecx, now);
        Err(Refused)
    }
    /// CPUID leaves that the PMU defines (0Ah, 1Ch, 23h…): `None` leaves them zero.
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        let _ = (leaf, subleaf);
        None
    }
    /// Is supervisor state component `n` of the XSAVE family, whose registers are the PMU's, out of its initial
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
    fn component_restore(&mut self, n: u32, from: Option<&[u8]>) -> Result<(), Refused> {
        let _ = n;
        if from.is_none() { Ok(()) } else { Err(Refused) }
    }
    /// The processor is initialised by INIT: IA32_DEBUGCTL is zero, and the PMU does what INIT does to it.
    fn init(&mut self, now: &Counts) {
        let _ = now;
    }
    /// How many more instructions may retire in `ring` before [`PmuDoors::settle`] must be called: a lower bound of
    /// the distance to the next counter overflow. `u64::MAX` when no counter can overflow.
    fn deadline(&mut self, now: &Counts, ring: Ring) -> u64 {
        let _ = (now, ring);
        u64::MAX
    }
    /// The processor stands at an instruction boundary with exactly `now` retired. True: an interrupt (PMI) is requested.
    fn settle(&mut self, now: &Counts, processor: &mut dyn Sampled) -> bool {
        let _ = (now, processor);
        false
    }
    /// Who wants to be told what runs, if anyone. Asked whenever the run loop looks around.
    fn monitor(&mut self) -> Option<&mut dyn Monitor> {
        None
    }
}

/// What lies outside the processor. `now` is the processor's own count at the instruction that asks, that instruction
/// not included. Where a board does not say otherwise, there is nothing: memory and ports read all ones, no
/// interrupt is sent or wanted.
pub trait Doors {
    /// Reads device memory; all ones where nobody answers. `bytes` is 1, 2, 4 or 8.
    fn memory_read(&mut self, at: Gpa, bytes: u32, now: &Counts) -> u64 {
        let _ = (at, bytes, now);
        u64::MAX
    }
    /// Writes device memory.
    fn memory_write(&mut self, at: Gpa, bytes: u32, value: u64, now: &Counts) {
        let _ = (at, bytes, value, now);
    }
    /// IN. `bytes` is 1, 2 or 4.
    fn port_read(&mut self, port: u16, bytes: u32, now: &Counts) -> u32 {
        let _ = (port, bytes, now);
        u32::MAX
    }
    /// OUT.
    fn port_write(&mut self, port: u16, bytes: u32, value: u32, now: &Counts) {
        let _ = (port, bytes, value, now);
    }
    /// The local APIC sends an inter-processor interrupt: the board delivers it (also to this processor) after the
    /// instruction. `icr` is the 64-bit interrupt command register in x2APIC layout.
    fn send_ipi(&mut self, icr: u64) {
        let _ = icr;
    }
    /// The local APIC signals end of a level-triggered interrupt to the IOAPICs.
    fn end_of_interrupt(&mut self, vector: u8) {
        let _ = vector;
    }
    /// The 8259A pair is asked for the vector of the interrupt it requests (INTA cycle).
    fn acknowledge_pic(&mut self) -> u8 {
        0xff
    }
    /// The PMU.
    fn pmu(&mut self) -> &mut dyn PmuDoors;
    /// How many more instructions may retire in `ring` before [`Doors::settle`] must be called: what the PMU says, or
    /// less.
    fn deadline(&mut self, now: &Counts, ring: Ring) -> u64 {
        self.pmu().deadline(now, ring)
    }
    /// The processor stands at an instruction boundary with exactly `now` retired: the PMU settles. True: it requests
    /// an interrupt (PMI), which the local APIC delivers through LVTPC.
    fn settle(&mut self, now: &Counts, processor: &mut dyn Sampled) -> bool {
        self.pmu().settle(now, processor)
    }
    /// CPUID leaf [`MARK_LEAF`] is asked for with `value` in ECX: the guest marks a point for who looks on from outside.
    fn marked(&mut self, _value: u32) {}
    /// CR3 was loaded, by MOV or by a task switch: another address space is in force, or the same one anew. Behind the
    /// instruction the run loop looks around.
    fn space_loaded(&mut self) {}
    /// Does the board want the processor to leave its run at the next instruction boundary (a line changed, a
    /// message is waiting, the machine is to stop)? Asked after every access to a device or the PMU.
    fn wants_attention(&self) -> bool {
        false
    }
}

/// Doors with nothing behind them. For tests and for programs that bring no board.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDoors;

impl PmuDoors for NoDoors {}

impl Doors for NoDoors {
    fn pmu(&mut self) -> &mut dyn PmuDoors {
        self
    }
}
