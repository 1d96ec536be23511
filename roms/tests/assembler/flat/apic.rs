//! The local APIC: interrupts to itself, off and on, xAPIC and x2APIC.

use super::super::Program;
use super::{Checks, checks};
use iced_x86::code_asm::*;

const APIC: u32 = 0xfee0_0000;
const APIC_BASE: u32 = 0x1b;
const ENABLED: u64 = 1 << 11;
const X2APIC: u64 = 1 << 10;
const BOOTSTRAP: u64 = 1 << 8;
const VECTOR: u32 = 0x60;
const GENERAL_PROTECTION: u32 = 13;
/// In the interrupt command register: to itself.
const TO_SELF: u32 = 1 << 18;

pub fn write(p: &mut Program) {
    checks(p, body);
}

fn body(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let (mut handler, mut fault, mut start) = (c.p.a.create_label(), c.p.a.create_label(), c.p.a.create_label());
    c.p.a.jmp(start)?;
    count_and_end(c, &mut handler)?;
    skip_wrmsr(c, &mut fault)?;
    c.p.a.set_label(&mut start)?;
    c.p.set_gate(VECTOR, handler)?;
    c.p.set_gate(GENERAL_PROTECTION, fault)?;
    c.p.a.xor(r14d, r14d)?;
    c.p.a.xor(ebp, ebp)?;
    xapic(c)?;
    off_and_on(c)?;
    x2apic(c)
}

/// Counts in R14 and ends the interrupt, by MSR when R8 says so.
fn count_and_end(c: &mut Checks<'_>, handler: &mut CodeLabel) -> Result<(), IcedError> {
    let mut by_msr = c.p.a.create_label();
    c.p.a.set_label(handler)?;
    c.p.a.inc(r14)?;
    c.p.a.test(r8d, r8d)?;
    c.p.a.jnz(by_msr)?;
    c.p.a.mov(edi, APIC)?;
    c.p.a.mov(dword_ptr(rdi + 0xb0), 0)?;
    c.p.a.iretq()?;
    c.p.a.set_label(&mut by_msr)?;
    c.p.wrmsr(0x80b, 0)?;
    c.p.a.iretq()
}

/// Counts in RBP and goes on behind the WRMSR.
pub(super) fn skip_wrmsr(c: &mut Checks<'_>, fault: &mut CodeLabel) -> Result<(), IcedError> {
    c.p.a.set_label(fault)?;
    c.p.a.inc(rbp)?;
    c.p.a.add(rsp, 8)?;
    c.p.a.add(qword_ptr(rsp), 2)?;
    c.p.a.iretq()
}

fn count(c: &mut Checks<'_>, what: &str, n: u64) -> Result<(), IcedError> {
    c.let_in()?;
    c.p.a.mov(r12, r14)?;
    c.expect(what, n)
}

/// R12 := an MSR.
fn rdmsr(c: &mut Checks<'_>, msr: u32) -> Result<(), IcedError> {
    c.p.a.mov(ecx, msr)?;
    c.p.a.rdmsr()?;
    c.p.a.shl(rdx, 32)?;
    c.p.a.mov(r12d, eax)?;
    c.p.a.or(r12, rdx)
}

fn xapic(c: &mut Checks<'_>) -> Result<(), IcedError> {
    c.p.a.xor(r8d, r8d)?;
    rdmsr(c, APIC_BASE)?;
    c.expect("APIC base: enabled, bootstrap processor", u64::from(APIC) | ENABLED | BOOTSTRAP)?;
    c.p.a.mov(edi, APIC)?;
    c.p.a.mov(dword_ptr(rdi + 0xf0), 0x1ff)?;
    c.p.a.mov(dword_ptr(rdi + 0x300), TO_SELF | VECTOR)?;
    c.p.a.mov(r12d, dword_ptr(rdi + 0x230))?;
    c.expect("it waits in IRR while interrupts are off", 1 << (VECTOR % 32))?;
    count(c, "an interrupt to itself arrives", 1)?;
    c.p.a.mov(edi, APIC)?;
    c.p.a.mov(dword_ptr(rdi + 0x80), VECTOR & 0xf0)?;
    c.p.a.mov(dword_ptr(rdi + 0x300), TO_SELF | VECTOR)?;
    count(c, "the task priority holds it back", 1)?;
    c.p.a.mov(edi, APIC)?;
    c.p.a.mov(dword_ptr(rdi + 0x80), 0)?;
    count(c, "and lets it in again", 2)
}

fn off_and_on(c: &mut Checks<'_>) -> Result<(), IcedError> {
    c.p.wrmsr(APIC_BASE, u64::from(APIC) | BOOTSTRAP)?;
    c.p.a.mov(eax, 1)?;
    c.p.a.cpuid()?;
    c.p.a.mov(r12d, edx)?;
    c.p.a.and(r12d, 1 << 9)?;
    c.expect("CPUID hides a disabled APIC", 0)?;
    c.p.wrmsr(APIC_BASE, u64::from(APIC) | ENABLED | BOOTSTRAP)?;
    c.p.a.mov(edi, APIC)?;
    c.p.a.mov(r12d, dword_ptr(rdi + 0xf0))?;
    c.expect("enabled again, it is as after a reset", 0xff)
}

fn x2apic(c: &mut Checks<'_>) -> Result<(), IcedError> {
    c.p.wrmsr(0x83f, VECTOR.into())?;
    c.p.a.mov(r12, rbp)?;
    c.expect("x2APIC registers are not there in xAPIC mode", 1)?;
    c.p.wrmsr(APIC_BASE, u64::from(APIC) | ENABLED | X2APIC | BOOTSTRAP)?;
    c.p.a.mov(r8d, 1)?;
    rdmsr(c, 0x802)?;
    c.expect("x2APIC number 0", 0)?;
    c.p.wrmsr(0x80f, 0x1ff)?;
    c.p.wrmsr(0x83f, VECTOR.into())?;
    count(c, "SELF IPI arrives", 3)?;
    c.p.wrmsr(0x830, u64::from(TO_SELF | VECTOR))?;
    count(c, "the 64-bit command register sends", 4)?;
    c.p.wrmsr(APIC_BASE, u64::from(APIC) | ENABLED | BOOTSTRAP)?;
    c.p.a.mov(r12, rbp)?;
    c.expect("no way from x2APIC straight to xAPIC", 2)?;
    c.p.wrmsr(APIC_BASE, u64::from(APIC) | BOOTSTRAP)?;
    c.p.wrmsr(APIC_BASE, u64::from(APIC) | ENABLED | BOOTSTRAP)?;
    c.p.a.xor(r8d, r8d)?;
    c.p.a.mov(edi, APIC)?;
    c.p.a.mov(dword_ptr(rdi + 0xf0), 0x1ff)?;
    c.p.a.mov(dword_ptr(rdi + 0x300), TO_SELF | VECTOR)?;
    count(c, "xAPIC again, by way of off", 5)
}
