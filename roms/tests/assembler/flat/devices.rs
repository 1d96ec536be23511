//! What firmware says about the machine, and the test device with its lines through the I/O APIC.

use super::super::Program;
use super::{Checks, checks};
use iced_x86::code_asm::*;

const APIC: u32 = 0xfee0_0000;
const IOAPIC: u32 = 0xfec0_0000;
const MEMORY: u32 = 0xff00_0000;

const EDGE_PIN: u32 = 5;
const LEVEL_PIN: u32 = 19;
const EDGE_VECTOR: u32 = 0x51;
const LEVEL_VECTOR: u32 = 0x52;
const LEVEL_TRIGGERED: u32 = 1 << 15;
const REMOTE_IRR: u32 = 1 << 14;
const MASKED: u32 = 1 << 16;

/// fw_cfg: signature, memory, processors against CPUID.
pub fn firmware(p: &mut Program) {
    checks(p, |c| {
        c.fw_cfg(0, 4)?;
        c.expect("fw_cfg has its signature", u32::from_le_bytes(*b"QEMU").into())?;
        c.fw_cfg(3, 8)?;
        c.expect("RAM is 64 MiB", 64 << 20)?;
        c.fw_cfg(5, 2)?;
        c.p.a.mov(rbp, r12)?;
        c.fw_cfg(0xf, 2)?;
        c.p.a.mov(r13, rbp)?;
        c.expect_r13("as many processors as there can be")?;
        // CPUID 0Bh, level 1: logical processors in the package.
        c.p.a.mov(eax, 0xb)?;
        c.p.a.mov(ecx, 1)?;
        c.p.a.cpuid()?;
        c.p.a.mov(r12d, ebx)?;
        c.p.a.mov(r13, rbp)?;
        c.expect_r13("CPUID counts the same processors")
    });
}

/// Ports that read back, memory behind MMIO, edge and level lines.
pub fn test_device(p: &mut Program) {
    checks(p, |c| {
        ports(c)?;
        memory(c)?;
        lines(c)
    });
}

fn read_port(c: &mut Checks<'_>, port: u32, bytes: u32) -> Result<(), IcedError> {
    let a = &mut c.p.a;
    a.mov(edx, port)?;
    a.xor(eax, eax)?;
    match bytes {
        1 => a.in_(al, dx)?,
        2 => a.in_(ax, dx)?,
        _ => a.in_(eax, dx)?,
    }
    a.mov(r12, rax)
}

fn ports(c: &mut Checks<'_>) -> Result<(), IcedError> {
    c.p.a.mov(edx, 0xe0)?;
    c.p.a.mov(eax, 0x1234_5678)?;
    c.p.a.out(dx, eax)?;
    read_port(c, 0xe0, 4)?;
    c.expect("32 bits read back", 0x1234_5678)?;
    read_port(c, 0xe0, 2)?;
    c.expect("16 bits read back", 0x5678)?;
    read_port(c, 0xe0, 1)?;
    c.expect("8 bits read back", 0x78)?;
    read_port(c, 0xe3, 1)?;
    c.expect("the fourth byte reads back", 0x12)?;
    c.p.out(0xe1, 0xa5)?;
    read_port(c, 0xe0, 4)?;
    c.expect("a byte is written in place", 0x1234_a578)
}

fn memory(c: &mut Checks<'_>) -> Result<(), IcedError> {
    c.p.a.mov(edi, MEMORY)?;
    c.p.a.mov(rax, 0x0123_4567_89ab_cdefu64)?;
    c.p.a.mov(qword_ptr(rdi + 0xfff8), rax)?;
    c.p.a.mov(byte_ptr(rdi + 0xfffa), 0x77)?;
    c.p.a.mov(r12, qword_ptr(rdi + 0xfff8))?;
    c.expect("memory of a device holds 64 bits", 0x0123_4567_8977_cdef)?;
    c.p.a.mov(edi, MEMORY)?;
    c.p.a.mov(dword_ptr(rdi), 40)?;
    c.p.a.add(dword_ptr(rdi), 2)?;
    c.p.a.mov(r12d, dword_ptr(rdi))?;
    c.expect("memory of a device is read, changed and written", 42)
}

/// Writes the low half of an entry of the I/O APIC.
fn redirect(c: &mut Checks<'_>, pin: u32, entry: u32) -> Result<(), IcedError> {
    let a = &mut c.p.a;
    a.mov(edi, IOAPIC)?;
    a.mov(dword_ptr(rdi), 0x10 + 2 * pin)?;
    a.mov(dword_ptr(rdi + 0x10), entry)
}

/// Raises (1) or lowers (0) a line.
fn line(c: &mut Checks<'_>, pin: u32, level: u32) -> Result<(), IcedError> {
    c.p.out(0x2000 + pin, level)
}

fn lines(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let (mut edge, mut level, mut after) = (c.p.a.create_label(), c.p.a.create_label(), c.p.a.create_label());
    c.p.set_gate(EDGE_VECTOR, edge)?;
    c.p.set_gate(LEVEL_VECTOR, level)?;
    // The lines below 16 reach the 8259A pair as well, which is masked as unit tests do.
    c.p.out(0x21, 0xff)?;
    c.p.out(0xa1, 0xff)?;
    c.p.a.mov(edi, APIC)?;
    c.p.a.mov(dword_ptr(rdi + 0xf0), 0x1ff)?;
    c.p.a.xor(r14d, r14d)?;
    edge_line(c)?;
    c.p.a.xor(r14d, r14d)?;
    level_line(c)?;
    c.p.a.jmp(after)?;
    // Counts, and ends the interrupt.
    c.p.a.set_label(&mut edge)?;
    c.p.a.inc(r14)?;
    c.p.a.mov(edi, APIC)?;
    c.p.a.mov(dword_ptr(rdi + 0xb0), 0)?;
    c.p.a.iretq()?;
    // Counts, keeps the entry as it is in service in RBX, lowers the line on the second time, ends the interrupt.
    let mut keep = c.p.a.create_label();
    c.p.a.set_label(&mut level)?;
    c.p.a.inc(r14)?;
    c.p.a.mov(edi, IOAPIC)?;
    c.p.a.mov(ebx, dword_ptr(rdi + 0x10))?;
    c.p.a.cmp(r14d, 2)?;
    c.p.a.jne(keep)?;
    line(c, LEVEL_PIN, 0)?;
    c.p.a.set_label(&mut keep)?;
    c.p.a.mov(edi, APIC)?;
    c.p.a.mov(dword_ptr(rdi + 0xb0), 0)?;
    c.p.a.iretq()?;
    c.p.a.set_label(&mut after)
}

fn count(c: &mut Checks<'_>, what: &str, n: u64) -> Result<(), IcedError> {
    c.let_in()?;
    c.p.a.mov(r12, r14)?;
    c.expect(what, n)
}

fn edge_line(c: &mut Checks<'_>) -> Result<(), IcedError> {
    redirect(c, EDGE_PIN, MASKED | EDGE_VECTOR)?;
    line(c, EDGE_PIN, 1)?;
    line(c, EDGE_PIN, 0)?;
    count(c, "a masked line does not interrupt", 0)?;
    redirect(c, EDGE_PIN, EDGE_VECTOR)?;
    line(c, EDGE_PIN, 1)?;
    count(c, "an edge interrupts", 1)?;
    count(c, "a high line is no second edge", 1)?;
    line(c, EDGE_PIN, 0)?;
    line(c, EDGE_PIN, 1)?;
    line(c, EDGE_PIN, 0)?;
    count(c, "the next edge interrupts", 2)?;
    redirect(c, EDGE_PIN, MASKED)
}

fn level_line(c: &mut Checks<'_>) -> Result<(), IcedError> {
    redirect(c, LEVEL_PIN, LEVEL_TRIGGERED | LEVEL_VECTOR)?;
    line(c, LEVEL_PIN, 1)?;
    count(c, "a level interrupts until it is low", 2)?;
    c.p.a.mov(r12d, ebx)?;
    c.expect("remote IRR is set in service", (LEVEL_TRIGGERED | REMOTE_IRR | LEVEL_VECTOR).into())?;
    c.p.a.mov(edi, IOAPIC)?;
    c.p.a.mov(r12d, dword_ptr(rdi + 0x10))?;
    c.expect("remote IRR is clear behind the end", (LEVEL_TRIGGERED | LEVEL_VECTOR).into())
}
