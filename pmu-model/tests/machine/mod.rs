//! A processor in 64-bit mode with its whole PMU, rings 0 and 3, a local APIC and 80 MiB, set up for machine code by hand.
#![allow(dead_code, reason = "each test uses its part")]

use cpu_x86::{Cpu, Doors, Exit, Features, Long64, PmuDoors, Segment, Table};
use emu_core::{Gpa, Ram};
use pmu_model::uarch::Parameters;
use pmu_model::{Pmu, Profile};
use std::sync::Arc;

const TABLES: u64 = 0x1000;
const GDT: u64 = 0x5000;
const TSS: u64 = 0x6000;
const IDT: u64 = 0x7000;
/// Where ring 0's code begins; ring 3's is wherever it is jumped to.
pub const CODE: u64 = 0x1_0000;
/// Where interrupt handlers are put.
pub const HANDLER: u64 = 0x2_0000;
/// Tops of the stacks.
pub const KERNEL_STACK: u64 = 0x4_0000;
pub const USER_STACK: u64 = 0x5_0000;
/// A counter of interrupts.
pub const TICKS: u64 = 0x6_0000;
/// 64 MiB to touch.
pub const BUFFER: u64 = 0x100_0000;
const RAM_BYTES: u64 = 0x500_0000;
/// The vector of the timer, and that by which ring 3 enters ring 0.
pub const TIMER: u8 = 0x40;
pub const CALL: u8 = 0x80;

/// The doors: only the PMU is behind them.
pub struct Board {
    pub pmu: Pmu,
}

impl Doors for Board {
    fn pmu(&mut self) -> &mut dyn PmuDoors {
        &mut self.pmu
    }
}

/// Machine code of ring 0 and 3.
#[derive(Clone, Debug, Default)]
pub struct Code(pub Vec<u8>);

impl Code {
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Code {
        self.0.extend(bytes);
        self
    }

    /// MOV ECX; MOV EAX; MOV EDX; WRMSR: four instructions.
    pub fn wrmsr(&mut self, msr: u32, v: u64) -> &mut Code {
        for (op, v) in [(0xb9, msr), (0xb8, v as u32), (0xba, (v >> 32) as u32)] {
            self.0.push(op);
            self.0.extend(v.to_le_bytes());
        }
        self.raw(&[0x0f, 0x30])
    }

    /// MOV register (EAX 0, ECX 1, ...), value.
    pub fn mov(&mut self, register: u8, v: u32) -> &mut Code {
        self.0.push(0xb8 + register);
        self.0.extend(v.to_le_bytes());
        self
    }

    /// LOOP to what lies `bytes` before it.
    pub fn loop_back(&mut self, bytes: usize) -> &mut Code {
        self.raw(&[0xe2, (-(bytes as i64) - 2) as u8])
    }

    /// Five PUSHes and IRETQ to what follows, in ring 3 with interrupts on.
    pub fn leave(&mut self) -> &mut Code {
        let to = CODE as u32 + self.0.len() as u32 + 5 * 5 + 2;
        for v in [0x23u32, USER_STACK as u32, 0x202, 0x1b, to] {
            self.0.push(0x68);
            self.0.extend(v.to_le_bytes());
        }
        self.raw(&[0x48, 0xcf])
    }

    /// INT to what follows, in ring 0 with interrupts off: see [`Machine::new`].
    pub fn enter(&mut self) -> &mut Code {
        self.raw(&[0xcd, CALL])
    }
}

/// A machine.
pub struct Machine {
    pub cpu: Box<Cpu>,
    pub board: Board,
    ram: Arc<Ram>,
}

/// PUSH RAX, RCX, RDX; INC; MOV, XOR, XOR, WRMSR (end of interrupt); POPs; IRETQ.
pub const HANDLER_INSTRUCTIONS: u64 = 12;

impl Machine {
    /// A machine that begins with `code`, whose core runs at `ratio` times 100 MHz. The timer's handler counts at [`TICKS`]; INT 80h
    /// goes on in ring 0 behind itself (POP R11; ADD RSP, 32; JMP R11: three instructions).
    pub fn new(code: &Code, ratio: u8) -> Machine {
        let ram = Arc::new(Ram::new(RAM_BYTES, &[]).unwrap());
        let put = |at: u64, bytes: &[u8]| assert!(ram.write(Gpa(at), bytes));
        put(TABLES, &((TABLES + 0x1000) | 7).to_le_bytes());
        put(TABLES + 0x1000, &((TABLES + 0x2000) | 7).to_le_bytes());
        for n in 0..RAM_BYTES >> 21 {
            put(TABLES + 0x2000 + 8 * n, &(n << 21 | 0x87).to_le_bytes());
        }
        let descriptors =
            [0, 0x0020_9b00_0000_0000u64, 0x00cf_9300_0000_ffff, 0x0020_fb00_0000_0000, 0x00cf_f300_0000_ffff];
        descriptors.iter().zip(0..).for_each(|(d, n)| put(GDT + 8 * n, &d.to_le_bytes()));
        put(TSS + 4, &KERNEL_STACK.to_le_bytes());
        for (vector, to, kind) in [(TIMER, HANDLER, 0x8e00u64), (CALL, HANDLER + 0x100, 0xee00)] {
            put(IDT + 16 * u64::from(vector), &(to & 0xffff | 8 << 16 | kind << 32 | to >> 16 << 48).to_le_bytes());
        }
        put(HANDLER, &timer_handler());
        put(HANDLER + 0x100, &[0x41, 0x5b, 0x48, 0x83, 0xc4, 0x20, 0x41, 0xff, 0xe3]);
        put(CODE, &code.0);
        let mut cpu = Cpu::new(ram.clone(), 0);
        cpu.offer(Features { pebs: true, lbr: true, core_ratio: ratio });
        cpu.set_long64(Long64 { cr3: TABLES, gdt: Table { base: GDT, limit: 39 }, code: 8, data: 16 });
        cpu.idtr = Table { base: IDT, limit: 0xfff };
        cpu.tr = Segment { selector: 0x28, base: TSS, limit: 0x67, attr: 0x8b };
        cpu.regs[4] = KERNEL_STACK;
        (cpu.rip, cpu.next_rip) = (CODE, CODE);
        cpu.write_msr(0x1b, 0xfee0_0d00).unwrap();
        cpu.write_msr(0x80f, 0x1ff).unwrap();
        let pmu = Pmu::new(Profile::SAPPHIRE_RAPIDS, &Parameters::SPR);
        Machine { cpu, board: Board { pmu }, ram }
    }

    /// Runs to the HLT with interrupts off, through those that wait for the timer.
    pub fn run(&mut self) {
        loop {
            let exit = self.cpu.run(&mut self.board, u64::MAX / 2);
            assert_eq!(exit, Exit::Halted);
            if self.cpu.flags() & 0x200 == 0 {
                return;
            }
            let wake = self.cpu.next_event().expect("a timer");
            self.cpu.skip_to(wake.max(self.cpu.counts().clock + 1));
        }
    }

    /// RDMSR.
    pub fn read(&mut self, msr: u32) -> u64 {
        self.board.pmu.msr_read(msr, &self.cpu.counts()).unwrap().unwrap()
    }

    /// A word of memory.
    pub fn word(&self, at: u64) -> u64 {
        let mut b = [0; 8];
        assert!(self.ram.read(Gpa(at), &mut b));
        u64::from_le_bytes(b)
    }
}

fn timer_handler() -> Vec<u8> {
    let mut c = Code::default();
    c.raw(&[0x50, 0x51, 0x52, 0x48, 0xff, 0x04, 0x25]).raw(&(TICKS as u32).to_le_bytes());
    c.mov(1, 0x80b).raw(&[0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30, 0x5a, 0x59, 0x58, 0x48, 0xcf]);
    c.0
}
