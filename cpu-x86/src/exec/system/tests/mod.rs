//! The system instructions and delivery on a bare processor: without paging, or with one that maps memory to itself.

mod control;
mod debug;
mod far;
mod flags;
mod guest;
mod long;
mod paging;
mod property;
mod protected;
mod real;
mod segment;
mod task;
mod units;
mod v86;

use crate::fault::{Exception, Stop};
use crate::segment::Descriptor;
use crate::state::{Cpu, Seg, Segment, Table};
use emu_core::{Gpa, Ram};
use iced_x86::{Decoder, DecoderOptions};
use std::sync::Arc;

const GDT: u64 = 0x1000;
const IDT: u64 = 0x2000;
const TSS: u64 = 0x3000;
const TSS_B: u64 = 0x4000;
const CODE: u64 = 0x8000;
/// Page tables of the long-mode machines.
const TABLES: u64 = 0xf_0000;
/// Where they map the first GiB again.
const HIGH: u64 = 0xffff_8000_0000_0000;

const CODE0: u16 = 0x08;
const DATA0: u16 = 0x10;
const CODE3: u16 = 0x1b;
const DATA3: u16 = 0x23;
const TSS_SELECTOR: u16 = 0x28;
const CONFORMING: u16 = 0x30;
const GATE: u16 = 0x38;
const SMALL: u16 = 0x48;
const LDT: u16 = 0x50;
const SECOND_TSS: u16 = 0x58;
const TASK_GATE: u16 = 0x60;
const CODE64: u16 = 0x68;
const CODE64_3: u16 = 0x73;
const ABSENT: u16 = 0x78;
const READ_ONLY: u16 = 0x80;

/// A descriptor: `rights` is P, DPL, S, type; `high` the nibble G, D/B, L, AVL.
fn descriptor(base: u64, limit: u64, rights: u64, high: u64) -> u64 {
    limit & 0xffff
        | (base & 0xff_ffff) << 16
        | rights << 40
        | (limit >> 16 & 15) << 48
        | high << 52
        | (base >> 24 & 0xff) << 56
}

/// A gate to `selector`:`offset`; `extra` is the byte of parameter count or IST.
fn gate(selector: u16, offset: u64, rights: u64, extra: u64) -> u64 {
    offset & 0xffff | u64::from(selector) << 16 | extra << 32 | rights << 40 | (offset >> 16 & 0xffff) << 48
}

fn put(cpu: &Cpu, at: u64, bytes: usize, v: u64) {
    assert!(cpu.ram.write(Gpa(at), &v.to_le_bytes()[..bytes]));
}

fn get(cpu: &Cpu, at: u64, bytes: usize) -> u64 {
    let mut b = [0; 8];
    assert!(cpu.ram.read(Gpa(at), &mut b[..bytes]));
    u64::from_le_bytes(b)
}

/// `n` stack slots of `bytes` from `at` up.
fn slots(cpu: &Cpu, at: u64, bytes: usize, n: u64) -> Vec<u64> {
    (0..n).map(|k| get(cpu, at + k * bytes as u64, bytes)).collect()
}

/// At power-on, but for the local APIC, which firmware has left passing the 8259A pair's interrupts (vector FFh here).
fn bare() -> Box<Cpu> {
    let mut cpu = Cpu::new(Arc::new(Ram::new(1 << 20, &[]).unwrap()), 0);
    cpu.lapic.set_firmware_state();
    cpu
}

/// Real mode at 0000:8000 with stack 0000:7000 and vector n at 0100:n*10h.
fn real() -> Box<Cpu> {
    let mut cpu = bare();
    cpu.set_segment(Seg::Cs, Segment { selector: 0, base: 0, limit: 0xffff, attr: 0x9b });
    cpu.rip = CODE;
    cpu.regs[4] = 0x7000;
    cpu.idtr = Table { base: 0, limit: 0x3ff };
    for n in 0..256 {
        put(&cpu, n * 4, 4, 0x0100_0000 | (n * 0x10));
    }
    cpu
}

fn write_gdt(cpu: &Cpu) {
    let rows = [
        (CODE0, descriptor(0, 0xfffff, 0x9a, 0xc)),
        (DATA0, descriptor(0, 0xfffff, 0x92, 0xc)),
        (CODE3 & !3, descriptor(0, 0xfffff, 0xfa, 0xc)),
        (DATA3 & !3, descriptor(0, 0xfffff, 0xf2, 0xc)),
        (CONFORMING, descriptor(0, 0xfffff, 0x9e, 0xc)),
        (SMALL, descriptor(0x10000, 0xfff, 0x92, 0x0)),
        (LDT, descriptor(0x5000, 0x1f, 0x82, 0)),
        (SECOND_TSS, descriptor(TSS_B, 0x67, 0xe9, 0)),
        (TASK_GATE, gate(SECOND_TSS, 0, 0xe5, 0)),
        (CODE64, descriptor(0, 0xfffff, 0x9a, 0xa)),
        (CODE64_3 & !3, descriptor(0, 0xfffff, 0xfa, 0xa)),
        (ABSENT, descriptor(0, 0xfffff, 0x12, 0xc)),
        (READ_ONLY, descriptor(0, 0xfffff, 0x90, 0xc)),
    ];
    for (selector, raw) in rows {
        put(cpu, GDT + u64::from(selector), 8, raw);
    }
}

/// Loads CS, SS, DS and ES from the GDT for privilege `cpl`.
fn enter(cpu: &mut Cpu, code: u16, data: u16, stack: u64) {
    for (s, selector) in [(Seg::Cs, code), (Seg::Ss, data), (Seg::Ds, data), (Seg::Es, data)] {
        let at = GDT + u64::from(selector & !7);
        let d = Descriptor { raw: get(cpu, at, 8), high: 0, at };
        cpu.set_segment(s, d.segment(selector));
    }
    cpu.cpl = code as u8 & 3;
    cpu.rip = CODE;
    cpu.regs[4] = stack;
}

/// 32-bit protected mode, CPL 0, flat; vector n leads through a 32-bit interrupt gate (DPL 0) to 0008:00010000+n.
fn protected() -> Box<Cpu> {
    let mut cpu = bare();
    cpu.cr0 = 0x11;
    write_gdt(&cpu);
    cpu.gdtr = Table { base: GDT, limit: 0xff };
    cpu.idtr = Table { base: IDT, limit: 0x7ff };
    for n in 0..256 {
        put(&cpu, IDT + n * 8, 8, gate(CODE0, 0x1_0000 + n, 0x8e, 0));
    }
    cpu.tr = Segment { selector: TSS_SELECTOR, base: TSS, limit: 0x200, attr: 0x8b };
    put(&cpu, GDT + u64::from(TSS_SELECTOR), 8, descriptor(TSS, 0x200, 0x8b, 0));
    put(&cpu, TSS + 4, 4, 0x7000);
    put(&cpu, TSS + 8, 2, u64::from(DATA0));
    enter(&mut cpu, CODE0, DATA0, 0x6ff0);
    cpu
}

fn protected3() -> Box<Cpu> {
    let mut cpu = protected();
    enter(&mut cpu, CODE3, DATA3, 0x6000);
    cpu
}

/// 64-bit mode, CPL 0: vector n leads to 0068:00010000+n; RSP0 is 7000h, IST1 is 6800h.
fn long() -> Box<Cpu> {
    let mut cpu = protected();
    cpu.cr0 = 0x8000_0031;
    cpu.cr4 = 1 << 5;
    cpu.efer = 0xd01;
    map(&mut cpu);
    cpu.idtr = Table { base: IDT, limit: 0xfff };
    for n in 0..256 {
        put(&cpu, IDT + n * 16, 8, gate(CODE64, 0x1_0000 + n, 0x8e, 0));
        put(&cpu, IDT + n * 16 + 8, 8, 0);
    }
    put(&cpu, TSS + 4, 8, 0x7000);
    put(&cpu, TSS + 36, 8, 0x6800);
    enter(&mut cpu, CODE64, DATA0, 0x6ff8);
    cpu
}

/// Maps the first GiB at 0 and at HIGH, for user code too.
fn map(cpu: &mut Cpu) {
    put(cpu, TABLES, 8, (TABLES + 0x1000) | 7);
    put(cpu, TABLES + 256 * 8, 8, (TABLES + 0x1000) | 7);
    put(cpu, TABLES + 0x1000, 8, 0x87);
    cpu.cr3 = TABLES;
    cpu.on_paging_change(crate::engine::Paging::Control);
}

fn long3() -> Box<Cpu> {
    let mut cpu = long();
    enter(&mut cpu, CODE64_3, DATA3, 0x6008);
    cpu
}

/// Virtual-8086 mode at 0800:0000, stack 0600:0100, with `iopl`, out of a 32-bit protected mode.
fn v86(iopl: u64) -> Box<Cpu> {
    let mut cpu = protected();
    cpu.set_flags(1 << 17 | iopl << 12 | 1 << 9);
    for (s, selector) in [(Seg::Cs, 0x800), (Seg::Ss, 0x600), (Seg::Ds, 0x11), (Seg::Es, 0x22), (Seg::Fs, 0x33)] {
        cpu.set_segment(s, crate::segment::v86_segment(selector));
    }
    cpu.set_segment(Seg::Gs, crate::segment::v86_segment(0x44));
    cpu.cpl = 3;
    cpu.rip = 0;
    cpu.regs[4] = 0x100;
    cpu
}

/// Executes `code` at the current address; on success the next instruction is current.
fn step(cpu: &mut Cpu, code: &[u8]) -> Result<(), Exception> {
    let mut decoder = Decoder::with_ip(cpu.code_bits(), code, cpu.rip & 0xfff, DecoderOptions::NONE);
    let i = decoder.decode();
    assert!(!i.is_invalid(), "{code:02x?} does not decode");
    cpu.next_rip = cpu.rip + i.len() as u64;
    let meaning = crate::exec::lookup(&i).unwrap_or_else(|| panic!("{:?} has no meaning", i.code()));
    match (meaning.run)(cpu, &i) {
        Ok(()) => {
            cpu.rip = cpu.next_rip;
            Ok(())
        }
        Err(Stop::Exception(e)) => Err(e),
        Err(other) => panic!("{other:?}"),
    }
}

/// Executes `code` as the engine does: an exception is delivered.
fn run(cpu: &mut Cpu, code: &[u8]) {
    if let Err(e) = step(cpu, code) {
        cpu.raise(e);
    }
}

fn gp(error: u32) -> Result<(), Exception> {
    Err(Exception::with(crate::vector::GP, error))
}
fn ts(error: u32) -> Result<(), Exception> {
    Err(Exception::with(crate::vector::TS, error))
}
fn np(error: u32) -> Result<(), Exception> {
    Err(Exception::with(crate::vector::NP, error))
}
fn ss(error: u32) -> Result<(), Exception> {
    Err(Exception::with(crate::vector::SS, error))
}
fn ud() -> Result<(), Exception> {
    Err(Exception::plain(crate::vector::UD))
}
fn selector(cpu: &Cpu, s: Seg) -> u16 {
    cpu.segment(s).selector
}
