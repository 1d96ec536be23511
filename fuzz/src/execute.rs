//! The engine: any bytes run in any mode, once in blocks and once instruction by instruction, and leave the same
//! registers, memory and counts. Nothing panics, whatever the guest does to itself.

use cpu_x86::{Activity, Counts, Cpu, Exit, Long64, NoDoors, Seg, Segment, Table};
use emu_core::{Gpa, Ram, Random};
use std::cell::RefCell;
use std::sync::Arc;

/// All of memory; what lies behind it is nobody's.
const RAM_BYTES: usize = 0x10_0000;
const TABLES: u64 = 0x1000;
const GDT: u64 = 0x800;
/// An interrupt table whose gates lead to a HLT.
const IDT: u64 = 0x1_0000;
const HALT: u64 = 0x7ff;
const CODE: u64 = 0x2_0000;
const DATA: u64 = 0x3_0000;
const STACK: u64 = 0x3_8000;
/// No input runs for longer, in clock ticks.
const MOST: u64 = 600;
/// Bytes of an input before its code: the mode, options, and what the registers grow from.
pub const HEADER: usize = 8;

/// How an input's code starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Real,
    Flat32,
    Long64,
    /// 16-bit code in protected mode.
    Protected16,
}

/// What a run leaves.
#[derive(Debug, PartialEq)]
struct After {
    exit: Exit,
    activity: Activity,
    rip: u64,
    regs: [u64; 16],
    flags: u64,
    tables: [Table; 2],
    control: [Option<u64>; 4],
    xcr0: u64,
    cpl: u8,
    segments: [Segment; 6],
    vec: Vec<[u8; 64]>,
    fpu: [u64; 10],
    mxcsr: u32,
    counts: [u64; 8],
}

/// One machine and the way it runs: `step` ticks at a time.
struct Machine {
    ram: Arc<Ram>,
    cpu: Box<Cpu>,
    step: u64,
}

fn put(memory: &mut [u8], at: u64, bytes: &[u8]) {
    memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
}

/// Identity tables for 384 KiB in pages of 4 KiB, a GDT, an IDT of interrupt gates of 64-bit mode, the code.
fn memory(mode: Mode, options: u8, code: &[u8]) -> Vec<u8> {
    let mut m = vec![0; RAM_BYTES];
    NOISE.with(|noise| put(&mut m, CODE, noise));
    let user = u64::from(options & 2) << 1;
    for (n, next) in [0x2000u64, 0x3000, 0x4000].into_iter().enumerate() {
        put(&mut m, TABLES + 0x1000 * n as u64, &(next | 3 | user).to_le_bytes());
    }
    for page in 0..0x60u64 {
        // The tables themselves too: what a stale TLB still allows after they were overwritten is not defined.
        let writable = if page == 0x31 || page < 5 { 0 } else { 2 };
        let present = u64::from(page != 0x32);
        put(&mut m, 0x4000 + 8 * page, &(page << 12 | present | writable | user).to_le_bytes());
    }
    let flat = |kind: u64| 0x00cf_0000_0000_ffffu64 | kind << 40;
    let small = |kind: u64| 0x0000_0000_0000_ffffu64 | kind << 40;
    let descriptors =
        [0, flat(0x9b) & !(1 << 54) | 1 << 53, flat(0x93), flat(0x9b), small(0x9b), flat(0xf3), flat(0xfb)];
    for (n, d) in descriptors.iter().enumerate() {
        put(&mut m, GDT + 8 * n as u64, &d.to_le_bytes());
    }
    m[HALT as usize] = 0xf4;
    for n in 0..=255u64 {
        let selector = if mode == Mode::Flat32 { 0x18u64 } else { 8 };
        let gate = HALT | selector << 16 | 0x8e00 << 32;
        match mode {
            Mode::Long64 => put(&mut m, IDT + 16 * n, &gate.to_le_bytes()),
            _ => put(&mut m, IDT + 8 * n, &gate.to_le_bytes()),
        }
    }
    let most = (DATA - CODE - 0x1000) as usize;
    put(&mut m, CODE + 0xf80, &code[..code.len().min(most)]);
    m
}

/// A register's value: near the data, small, or noise.
fn register(n: usize, noise: u64) -> u64 {
    let noise = noise.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(n as u32 * 7) ^ n as u64;
    match noise >> 61 {
        0..4 => DATA + 0xf80 + (noise >> 8 & 0xff),
        4 | 5 => noise & 0x1f,
        6 => noise >> 32,
        _ => noise,
    }
}

impl Machine {
    fn new(step: u64) -> Machine {
        let ram = Arc::new(Ram::new(RAM_BYTES as u64, &[]).expect("1 MiB"));
        let cpu = Cpu::new(ram.clone(), 0);
        Machine { ram, cpu, step }
    }

    fn set_up(&mut self, mode: Mode, options: u8, noise: u64, start: &[u8]) {
        let old = self.contents();
        for (n, page) in start.chunks(4096).enumerate().filter(|(n, page)| old[n * 4096..][..4096] != **page) {
            let at = Gpa(n as u64 * 4096);
            assert!(self.ram.write(at, page));
            self.cpu.forget(at, 4096);
        }
        let cpu = &mut *self.cpu;
        cpu.power_on();
        let gdt = Table { base: GDT, limit: 0x37 };
        let mut at = CODE + 0xf80;
        match mode {
            Mode::Real => {
                let data = Segment { selector: (DATA >> 4) as u16, base: DATA, limit: 0xffff, attr: 0x93 };
                for s in [Seg::Es, Seg::Ss, Seg::Ds, Seg::Fs, Seg::Gs] {
                    cpu.set_segment(s, data);
                }
                let code = Segment { selector: (CODE >> 4) as u16, base: CODE, limit: 0xffff, attr: 0x93 };
                cpu.set_segment(Seg::Cs, code);
                at -= CODE;
            }
            Mode::Flat32 => cpu.set_flat32(0x18, 0x10),
            Mode::Protected16 => {
                cpu.set_flat32(0x18, 0x10);
                let code = Segment { selector: 0x20, base: CODE, limit: 0xffff, attr: 0x9b };
                cpu.set_segment(Seg::Cs, code);
                at -= CODE;
            }
            Mode::Long64 => {
                cpu.set_long64(Long64 { cr3: TABLES, gdt, code: 8, data: 0x10 });
                let _ = cpu.set_cr(0, 0x8001_0011);
            }
        }
        cpu.gdtr = gdt;
        if options & 1 == 0 && mode != Mode::Real {
            cpu.idtr = Table { base: IDT, limit: 0xfff };
        }
        if mode != Mode::Real {
            let _ = cpu.set_cr(4, if mode == Mode::Long64 { 0x4_0620 } else { 0x4_0600 });
            cpu.xcr0 = 7;
        }
        for n in 0..16 {
            cpu.regs[n] = register(n, noise);
        }
        if mode != Mode::Long64 {
            cpu.regs.iter_mut().take(16).for_each(|r| *r &= 0xffff_ffff);
        }
        cpu.regs[4] = if mode == Mode::Real { 0x8000 } else { STACK } - (noise & 0x7);
        for (n, v) in cpu.vec.iter_mut().enumerate() {
            v.0[..8].copy_from_slice(&(noise.rotate_right(n as u32) as i32 as f64).to_le_bytes());
        }
        (cpu.random, cpu.shown_clock) = (Random(0), 0);
        cpu.msr.tsc_adjust = cpu.counts().clock.wrapping_neg();
        cpu.set_flags(u64::from(options >> 4) << 4 & 0xd0 | 2);
        cpu.rip = at;
        cpu.next_rip = at;
    }

    fn run(&mut self) -> After {
        let before = self.cpu.counts();
        let end = before.clock + MOST;
        loop {
            let now = self.cpu.counts().clock;
            let exit = self.cpu.run(&mut NoDoors, end.min(now + self.step));
            if exit != Exit::Time || self.cpu.counts().clock >= end {
                return self.outcome(exit, &before);
            }
        }
    }

    fn outcome(&self, exit: Exit, before: &Counts) -> After {
        let c = &self.cpu;
        let list = |x: &Counts| {
            let ring = |f: &cpu_x86::Facts| [f.instructions, f.branches, f.conditional];
            let ([a, b, d], [e, f, g]) = (ring(&x.kernel), ring(&x.user));
            [a, b, d, e, f, g, x.cycles, x.clock]
        };
        let (now, was) = (list(&c.counts()), list(before));
        let mut regs = [0; 16];
        regs.copy_from_slice(&c.regs[..16]);
        let f = &c.fpu;
        let mut fpu = [0; 10];
        for (n, r) in f.r.iter().enumerate() {
            fpu[n] = r.significand.wrapping_mul(31).wrapping_add(r.sign_exponent.into());
        }
        fpu[8] = u64::from(f.cw) | u64::from(f.sw) << 16 | u64::from(f.tag) << 32;
        fpu[9] = f.ip ^ f.dp.rotate_left(32);
        After {
            exit,
            activity: c.activity,
            rip: c.rip,
            regs,
            flags: c.flags(),
            tables: [c.gdtr, c.idtr],
            control: [0, 2, 3, 4].map(|n| c.cr(n)),
            xcr0: c.xcr0,
            cpl: c.cpl,
            segments: [Seg::Es, Seg::Cs, Seg::Ss, Seg::Ds, Seg::Fs, Seg::Gs].map(|s| *c.segment(s)),
            vec: c.vec.iter().map(|v| v.0).collect(),
            fpu,
            mxcsr: c.mxcsr,
            counts: std::array::from_fn(|n| now[n].wrapping_sub(was[n])),
        }
    }

    fn contents(&self) -> Vec<u8> {
        let mut all = vec![0; RAM_BYTES];
        assert!(self.ram.read(Gpa(0), &mut all));
        all
    }
}

thread_local! {
    /// What lies between the code's first page and the stack.
    static NOISE: Vec<u8> =
        (CODE as usize..STACK as usize).map(|n| (n as u8).wrapping_mul(29) ^ (n >> 8) as u8).collect();
    static MACHINES: RefCell<(Machine, Machine)> = RefCell::new((Machine::new(1 << 30), Machine::new(1)));
}

/// Runs `data` both ways.
///
/// # Panics
/// When they differ: that is what the fuzzer looks for.
pub fn check(data: &[u8]) {
    let Some((header, code)) = data.split_first_chunk::<HEADER>() else { return };
    let mode = [Mode::Long64, Mode::Flat32, Mode::Real, Mode::Protected16][usize::from(header[0] & 3)];
    let options = header[1];
    let noise = u64::from_le_bytes(*header) >> 16;
    let start = memory(mode, options, code);
    MACHINES.with_borrow_mut(|(fast, general)| {
        general.set_up(mode, options, noise, &start);
        let want = general.run();
        // Twice: the second run takes the blocks and links that the first made, unless the program changed itself.
        for round in 0..2 {
            fast.set_up(mode, options, noise, &start);
            let got = fast.run();
            assert_eq!(got, want, "{mode:?} round {round} {data:02x?}");
            let (got, want) = (fast.contents(), general.contents());
            if got != want {
                let differs = (0..RAM_BYTES).find(|&n| got[n] != want[n]);
                panic!("{mode:?} round {round}: byte {differs:#x?} {data:02x?}");
            }
        }
    });
}
