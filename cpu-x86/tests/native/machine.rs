//! The core's side: a processor at CPL 3 under page tables and descriptor tables like the host's, with a gate for every
//! exception; the test ends where a gate's handler halts. Pages that are neighbours in linear memory are none in physical
//! memory, so an access over the end of one must be translated twice.

use crate::layout::{self, CODE, CODE_BYTES, DATA, LDT, PAGE, READ_ONLY, STACK, descriptor, selector};
use crate::state::{Case, Memory, Outcome, State, cell};
use cpu_x86::{Activity, Cpu, Exit, Long64, NoDoors, Seg, Segment, Table};
use emu_core::{Gpa, Ram};
use std::sync::Arc;

/// The first 2 MiB, for the supervisor only: tables, handlers, stack.
const KERNEL: u64 = 0xffff_8000_0000_0000;
const GDT: u64 = 0x1_0000;
const IDT: u64 = 0x1_1000;
const LDT_AT: u64 = 0x1_2000;
const TSS: u64 = 0x1_3000;
/// Sixteen bytes for each vector, beginning with HLT.
const HANDLERS: u64 = 0x1_4000;
const KERNEL_STACK: u64 = 0x1_8000;
/// Selector of the handlers' code segment, where no segment of a host's program is.
const HANDLER_CS: u16 = 0x98;
/// No instruction under test takes as many ticks, but for a string instruction that repeats itself for ever.
const MOST_TICKS: u64 = 20_000;
const SEGS: [Seg; 6] = [Seg::Es, Seg::Cs, Seg::Ss, Seg::Ds, Seg::Fs, Seg::Gs];

/// What a run of the core came to.
pub enum End {
    Outcome(Box<Outcome>),
    /// The core lacks the instruction.
    Missing,
    /// It did not end.
    Endless,
}

/// The core, ready for tests.
pub struct Machine {
    cpu: Box<Cpu>,
    ram: Arc<Ram>,
    placed: Option<(u64, usize)>,
    background: [Memory; 2],
    /// Descriptors of the global table, by selector / 8.
    gdt: [u64; 32],
}

impl Machine {
    /// A machine whose global descriptors are those that `host` shows of its own: access rights and limit by selector.
    pub fn new(host: &dyn Fn(u16) -> Option<(u32, u32)>) -> Machine {
        let ram = Arc::new(Ram::new(4 << 20, &[]).expect("memory"));
        page_tables(&ram);
        let mut gdt = [0; 32];
        for (n, entry) in gdt.iter_mut().enumerate().take(16).skip(1) {
            *entry = host((n as u16) << 3 | 3).map_or(0, |(rights, limit)| global(rights, limit));
        }
        gdt[usize::from(HANDLER_CS >> 3)] = 0x00af_9b00_0000_ffff;
        tables(&ram, &gdt);
        let cpu = Cpu::new(ram.clone(), 0);
        let mut m = Machine { cpu, ram, placed: None, background: [Memory::new(false), Memory::new(true)], gdt };
        m.set_up();
        m
    }

    fn set_up(&mut self) {
        let at = |at| KERNEL + at;
        let cpu = &mut self.cpu;
        let gdt = Table { base: at(GDT), limit: 0xff };
        cpu.set_long64(Long64 { cr3: 0x1000, gdt, code: HANDLER_CS, data: 0 });
        // PAE, OSFXSR, OSXMMEXCPT, UMIP, FSGSBASE, OSXSAVE.
        cpu.set_cr(4, 0x5_0e20).expect("offered");
        cpu.set_cr(0, 0x8005_0033).expect("offered");
        assert!(cpu.set_efer(0xd01).is_ok());
        cpu.xcr0 = 0xe7;
        cpu.idtr = Table { base: at(IDT), limit: 0xfff };
        cpu.ldtr = Segment { selector: 0x50, base: at(LDT_AT), limit: 8 * LDT.len() as u32 - 1, attr: 0x82 };
        cpu.tr = Segment { selector: 0x40, base: at(TSS), limit: 0x67, attr: 0x8b };
        self.write(CODE, &[0xf4; CODE_BYTES]);
        self.write(READ_ONLY, &Memory::new(true).stack);
    }

    /// Writes `bytes` at linear address `at`.
    fn write(&self, at: u64, bytes: &[u8]) {
        for (at, from, to) in pieces(at, bytes.len()) {
            assert!(self.ram.write(frame(at), &bytes[from..to]));
        }
    }

    /// Reads `bytes` at linear address `at`.
    fn read(&self, at: u64, bytes: &mut [u8]) {
        for (at, from, to) in pieces(at, bytes.len()) {
            assert!(self.ram.read(frame(at), &mut bytes[from..to]));
        }
    }

    /// Writes code.
    fn write_code(&mut self, at: u64, bytes: &[u8]) {
        self.write(at, bytes);
        for (at, from, to) in pieces(at, bytes.len()) {
            self.cpu.forget(frame(at), (to - from) as u64);
        }
    }

    fn place(&mut self, at: u64, bytes: &[u8]) {
        if let Some((from, n)) = self.placed.take() {
            self.write_code(from, &vec![0xf4; n]);
        }
        let n = bytes.len().min((layout::CODE_END - at) as usize);
        self.write_code(at, &bytes[..n]);
        self.placed = Some((at, n));
    }

    /// Runs `case`.
    pub fn run(&mut self, case: &Case) -> End {
        let known = self.placed.is_some_and(|(at, n)| {
            let mut now = [0; 16];
            let same = at == case.at && n == case.bytes.len() && n <= 16;
            same && {
                self.read(at, &mut now[..n]);
                now[..n] == case.bytes
            }
        });
        if !known {
            self.place(case.at, &case.bytes);
        }
        let mut memory = self.background[usize::from(case.noise)].clone();
        case.patches.iter().for_each(|(at, bytes)| memory.patch(*at, bytes));
        self.write(DATA, &memory.data);
        self.write(STACK, &memory.stack);
        self.load(&case.state);
        let until = self.cpu.counts().clock + MOST_TICKS;
        match self.cpu.run(&mut NoDoors, until) {
            Exit::Halted => {}
            Exit::Unimplemented(_) => return End::Missing,
            Exit::Time => return End::Endless,
            other => panic!("{other:?} at {:#x}", self.cpu.rip),
        }
        self.read(DATA, &mut memory.data);
        self.read(STACK, &mut memory.stack);
        End::Outcome(Box::new(Outcome { state: self.left(), memory }))
    }

    fn load(&mut self, s: &State) {
        let c = &s.0;
        for (n, seg) in SEGS.into_iter().enumerate() {
            let to = self.segment(c[cell::SEG + n] as u16);
            self.cpu.set_segment(seg, to);
        }
        let cpu = &mut self.cpu;
        for (n, at) in [(4, cell::FS_BASE), (5, cell::GS_BASE)] {
            if c[cell::SEG + n] < 4 {
                cpu.set_base(SEGS[n], c[at]);
            }
        }
        cpu.cpl = 3;
        cpu.regs[..16].copy_from_slice(&c[..16]);
        cpu.set_flags(c[cell::FLAGS] | 2);
        (cpu.rip, cpu.next_rip) = (c[cell::RIP], c[cell::RIP]);
        cpu.activity = Activity::Active;
        cpu.mxcsr = c[cell::MXCSR] as u32;
        (cpu.fpu.cw, cpu.fpu.sw) = (c[cell::CW] as u16, c[cell::SW] as u16);
        cpu.fpu.tag = (0..8).fold(0, |t, n| t | if c[cell::TAG] >> n & 1 != 0 { 0 } else { 3 << (2 * n) });
        for (n, r) in cpu.fpu.r.iter_mut().enumerate() {
            (r.significand, r.sign_exponent) = (c[cell::ST + 2 * n], c[cell::ST + 2 * n + 1] as u16);
        }
        cpu.k.copy_from_slice(&c[cell::K..cell::K + 8]);
        for (v, from) in cpu.vec.iter_mut().zip(c[cell::VEC..].chunks_exact(8)) {
            for (to, from) in v.0.chunks_exact_mut(8).zip(from) {
                to.copy_from_slice(&from.to_le_bytes());
            }
        }
    }

    /// What `selector` loads.
    fn segment(&self, selector: u16) -> Segment {
        let n = usize::from(selector >> 3);
        if selector < 4 {
            return Segment { selector, base: 0, limit: 0, attr: Segment::UNUSABLE };
        }
        let raw = if selector & 4 != 0 { descriptor(LDT[n]) } else { self.gdt[n] };
        let units = (raw & 0xffff | raw >> 32 & 0xf_0000) as u32;
        let limit = if raw & 1 << 55 != 0 { units << 12 | 0xfff } else { units };
        let base = raw >> 16 & 0xff_ffff | raw >> 32 & 0xff00_0000;
        Segment { selector, base, limit, attr: (raw >> 40) as u32 & 0xf0ff }
    }

    /// The state at the exception: the handler's frame has what the delivery pushed.
    fn left(&self) -> State {
        let cpu = &self.cpu;
        let mut s = State([0; cell::COUNT]);
        let c = &mut s.0;
        c[..16].copy_from_slice(&cpu.regs[..16]);
        let vector = (cpu.rip - 1 - KERNEL - HANDLERS) / 16;
        let mut frame = cpu.regs[4] - KERNEL;
        let mut pop = || {
            frame += 8;
            self.ram.read_u64(Gpa(frame - 8)).expect("memory")
        };
        c[cell::VECTOR] = vector;
        c[cell::ERROR] = if matches!(vector, 8 | 10..=14 | 17) { pop() } else { 0 };
        (c[cell::RIP], c[cell::SEG + 1], c[cell::FLAGS]) = (pop(), pop(), pop());
        (c[4], c[cell::SEG + 2]) = (pop(), pop());
        c[cell::CR2] = if vector == 14 { cpu.cr(2).expect("there is one") } else { 0 };
        for n in [0, 3, 4, 5] {
            c[cell::SEG + n] = cpu.segment(SEGS[n]).selector.into();
        }
        (c[cell::FS_BASE], c[cell::GS_BASE]) = (cpu.segment(Seg::Fs).base, cpu.segment(Seg::Gs).base);
        c[cell::MXCSR] = cpu.mxcsr.into();
        (c[cell::CW], c[cell::SW]) = (cpu.fpu.cw.into(), cpu.fpu.sw.into());
        c[cell::TAG] = (0..8).filter(|n| cpu.fpu.tag >> (2 * n) & 3 != 3).fold(0, |t, n| t | 1 << n);
        for (n, r) in cpu.fpu.r.iter().enumerate() {
            (c[cell::ST + 2 * n], c[cell::ST + 2 * n + 1]) = (r.significand, r.sign_exponent.into());
        }
        c[cell::K..cell::K + 8].copy_from_slice(&cpu.k);
        for (v, to) in cpu.vec.iter().zip(c[cell::VEC..].chunks_exact_mut(8)) {
            for (from, to) in v.0.chunks_exact(8).zip(to) {
                *to = u64::from_le_bytes(from.try_into().expect("eight"));
            }
        }
        s
    }
}

/// Where the byte at linear address `at` of the tests' memory is.
fn frame(at: u64) -> Gpa {
    Gpa(at ^ PAGE as u64)
}

/// The parts in single pages of `bytes` from `at` on: address, and from where to where.
fn pieces(at: u64, bytes: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let here = at + from as u64;
        let to = bytes.min(from + PAGE - (here as usize & (PAGE - 1)));
        let piece = (from < bytes).then_some((here, from, to));
        from = to;
        piece
    })
}

/// A descriptor with these access rights (as LAR shows them) and limit in bytes, based at 0.
fn global(rights: u32, limit: u32) -> u64 {
    let units = if rights & 1 << 23 != 0 { limit >> 12 } else { limit };
    u64::from(units & 0xffff) | u64::from(rights & 0xf0ff00) << 32 | u64::from(units >> 16 & 15) << 48
}

fn page_tables(ram: &Ram) {
    let entry = |at: u64, v: u64| assert!(ram.write(Gpa(at), &v.to_le_bytes()));
    const USER: u64 = 5;
    const WRITE: u64 = 2;
    const NX: u64 = 1 << 63;
    // Low addresses: one page table for each of the second and the first 2 MiB.
    entry(0x1000, 0x2007);
    entry(0x2000, 0x3007);
    entry(0x3000, 0x4007);
    entry(0x3008, 0x5007);
    let page = |at: u64, v: u64| entry(0x5000 + (at >> 12 & 511) * 8, frame(at & !0xfff).0 | v);
    for n in 0..2 {
        page(DATA + 0x1000 * n, USER | WRITE | NX);
        page(CODE + 0x1000 * n, USER);
    }
    page(READ_ONLY, USER | NX);
    page(STACK, USER | WRITE | NX);
    // The kernel half.
    entry(0x1000 + 256 * 8, 0x6003);
    entry(0x6000, 0x7003);
    entry(0x7000, 0x83);
}

/// Descriptor tables, task state, handlers.
fn tables(ram: &Ram, gdt: &[u64; 32]) {
    let put = |at: u64, v: u64| assert!(ram.write(Gpa(at), &v.to_le_bytes()));
    for (n, d) in gdt.iter().enumerate() {
        put(GDT + 8 * n as u64, *d);
    }
    for (n, l) in LDT.iter().enumerate() {
        put(LDT_AT + 8 * n as u64, descriptor(*l));
    }
    debug_assert_eq!(selector(0), 7);
    for vector in 0..256u64 {
        // As Linux has it: programs may use the gates of INT3, INTO and the old system call. Source: Linux
        // arch/x86/kernel/idt.c.
        let dpl = if matches!(vector, 3 | 4 | 0x80) { 3 } else { 0 };
        let to = KERNEL + HANDLERS + 16 * vector;
        let low = to & 0xffff | u64::from(HANDLER_CS) << 16 | (0x8e00 | dpl << 13) << 32 | (to >> 16 & 0xffff) << 48;
        put(IDT + 16 * vector, low);
        put(IDT + 16 * vector + 8, to >> 32);
        assert!(ram.write(Gpa(HANDLERS + 16 * vector), &[0xf4]));
    }
    put(TSS + 4, KERNEL + KERNEL_STACK);
    put(TSS + 0x60, 0x68 << 48);
}
