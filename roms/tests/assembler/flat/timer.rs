//! The local APIC's timer in its three modes, and NMIs: blocking, pending, unblocking by IRET.
//!
//! In the spirit of x86/apic.c of kvm-unit-tests.

use super::super::Program;
use super::{Checks, checks};
use iced_x86::code_asm::*;

const APIC: u32 = 0xfee0_0000;
const EOI: u32 = 0xb0;
const SPURIOUS: u32 = 0xf0;
const COMMAND: u32 = 0x300;
const LVT: u32 = 0x320;
const INITIAL: u32 = 0x380;
const CURRENT: u32 = 0x390;
const DIVIDE: u32 = 0x3e0;
const VECTOR: u32 = 0x61;
const ONE_SHOT: u32 = VECTOR;
const PERIODIC: u32 = 1 << 17 | VECTOR;
const DEADLINE: u32 = 2 << 17 | VECTOR;
const MASKED: u32 = 1 << 16;
const BY_ONE: u32 = 0xb;
const TSC_DEADLINE: u32 = 0x6e0;
/// Crystal ticks; each is 88 instructions of the timing model that counts one cycle an instruction.
const COUNT: u32 = 2000;
const NMI: u32 = 2;
/// To APIC number 0, physically.
const SEND_NMI: u32 = 0x4400;

pub fn write(p: &mut Program) {
    checks(p, body);
}

/// The timer's handler counts in R14, that of NMIs in RBP.
fn body(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let (mut timer, mut nmi, mut start) = (c.p.a.create_label(), c.p.a.create_label(), c.p.a.create_label());
    c.p.a.jmp(start)?;
    c.p.a.set_label(&mut timer)?;
    c.p.a.inc(r14)?;
    c.p.a.mov(dword_ptr(rdi + EOI), 0)?;
    c.p.a.iretq()?;
    put_nmi_handler(c, &mut nmi)?;
    c.p.a.set_label(&mut start)?;
    c.p.set_gate(VECTOR, timer)?;
    c.p.set_gate(NMI, nmi)?;
    c.p.a.mov(edi, APIC)?;
    c.p.a.mov(dword_ptr(rdi + SPURIOUS), 0x1ff)?;
    c.p.a.mov(dword_ptr(rdi + DIVIDE), BY_ONE)?;
    one_shot(c)?;
    change_mode(c)?;
    deadline(c)?;
    nmis(c)
}

/// The first NMI sends ten more, of which one is remembered until IRET.
fn put_nmi_handler(c: &mut Checks<'_>, nmi: &mut CodeLabel) -> Result<(), IcedError> {
    let a = &mut c.p.a;
    let (mut again, mut last) = (a.create_label(), a.create_label());
    a.set_label(nmi)?;
    a.inc(rbp)?;
    a.cmp(ebp, 1)?;
    a.jne(last)?;
    a.mov(ecx, 10)?;
    a.set_label(&mut again)?;
    a.mov(dword_ptr(rdi + COMMAND), SEND_NMI)?;
    a.dec(ecx)?;
    a.jnz(again)?;
    a.mov(ebx, ebp)?;
    a.set_label(&mut last)?;
    a.iretq()
}

/// Waits until the current count is not above half the initial one (`half`), or is 0.
fn wait(c: &mut Checks<'_>, half: bool) -> Result<(), IcedError> {
    let mut again = c.p.a.create_label();
    c.p.a.set_label(&mut again)?;
    c.p.a.cmp(dword_ptr(rdi + CURRENT), if half { COUNT as i32 / 2 } else { 0 })?;
    c.p.a.ja(again)
}

/// R12 := is the current count above half, above zero, or zero? 2, 1 or 0.
fn thirds(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let a = &mut c.p.a;
    a.mov(edi, APIC)?;
    a.mov(eax, dword_ptr(rdi + CURRENT))?;
    a.xor(r12d, r12d)?;
    a.cmp(eax, COUNT as i32 / 2)?;
    a.seta(r12b)?;
    a.test(eax, eax)?;
    a.setne(al)?;
    a.movzx(eax, al)?;
    a.add(r12d, eax)
}

fn lvt(c: &mut Checks<'_>, v: u32) -> Result<(), IcedError> {
    c.p.a.mov(edi, APIC)?;
    c.p.a.mov(dword_ptr(rdi + LVT), v)
}

fn begin(c: &mut Checks<'_>) -> Result<(), IcedError> {
    c.p.a.mov(edi, APIC)?;
    c.p.a.mov(dword_ptr(rdi + INITIAL), COUNT)
}

fn one_shot(c: &mut Checks<'_>) -> Result<(), IcedError> {
    c.p.a.xor(r14d, r14d)?;
    lvt(c, ONE_SHOT)?;
    begin(c)?;
    c.p.a.sti()?;
    let mut again = c.p.a.create_label();
    c.p.a.set_label(&mut again)?;
    c.p.a.test(r14, r14)?;
    c.p.a.jz(again)?;
    c.p.a.cli()?;
    thirds(c)?;
    c.expect("one-shot: the count ends at zero", 0)?;
    c.p.a.mov(r12, r14)?;
    c.expect("one-shot: one interrupt", 1)?;
    lvt(c, ONE_SHOT | MASKED)?;
    begin(c)?;
    wait(c, false)?;
    c.let_in()?;
    c.p.a.mov(r12, r14)?;
    c.expect("masked: it counts, and does not interrupt", 1)
}

fn change_mode(c: &mut Checks<'_>) -> Result<(), IcedError> {
    lvt(c, ONE_SHOT | MASKED)?;
    begin(c)?;
    wait(c, true)?;
    lvt(c, PERIODIC | MASKED)?;
    thirds(c)?;
    c.expect("to periodic: the count goes on", 1)?;
    c.p.a.mov(r12d, dword_ptr(rdi + INITIAL))?;
    c.expect("to periodic: the initial count stays", COUNT.into())?;
    c.p.a.mov(edi, APIC)?;
    // To the end and over it.
    let mut again = c.p.a.create_label();
    c.p.a.set_label(&mut again)?;
    c.p.a.cmp(dword_ptr(rdi + CURRENT), COUNT as i32 / 2)?;
    c.p.a.jbe(again)?;
    thirds(c)?;
    c.expect("periodic: it begins anew", 2)?;
    c.p.a.mov(edi, APIC)?;
    wait(c, true)?;
    lvt(c, ONE_SHOT | MASKED)?;
    thirds(c)?;
    c.expect("to one-shot: the count goes on", 1)?;
    c.p.a.mov(edi, APIC)?;
    wait(c, false)?;
    lvt(c, PERIODIC | MASKED)?;
    thirds(c)?;
    c.expect("to periodic after the end: it stays at zero", 0)
}

fn deadline(c: &mut Checks<'_>) -> Result<(), IcedError> {
    c.p.a.xor(r14d, r14d)?;
    c.p.wrmsr(TSC_DEADLINE, 1)?;
    c.p.a.mov(ecx, TSC_DEADLINE)?;
    c.p.a.rdmsr()?;
    c.p.a.mov(r12d, eax)?;
    c.expect("deadline: not kept in another mode", 0)?;
    lvt(c, DEADLINE)?;
    c.p.a.sti()?;
    c.p.a.nop()?;
    c.p.a.rdtsc()?;
    c.p.a.mov(ecx, TSC_DEADLINE)?;
    c.p.a.wrmsr()?;
    c.p.a.nop()?;
    c.p.a.cli()?;
    c.p.a.mov(r12, r14)?;
    c.expect("deadline: one that is past interrupts at once", 1)?;
    c.p.a.mov(ecx, TSC_DEADLINE)?;
    c.p.a.rdmsr()?;
    c.p.a.mov(r12d, eax)?;
    c.expect("deadline: zero behind its interrupt", 0)?;
    c.p.wrmsr(TSC_DEADLINE, u64::MAX)?;
    lvt(c, ONE_SHOT)?;
    lvt(c, DEADLINE)?;
    c.p.a.mov(ecx, TSC_DEADLINE)?;
    c.p.a.rdmsr()?;
    c.p.a.mov(r12d, eax)?;
    c.expect("deadline: another mode disarms it", 0)?;
    lvt(c, ONE_SHOT | MASKED)
}

fn nmis(c: &mut Checks<'_>) -> Result<(), IcedError> {
    c.p.a.xor(ebp, ebp)?;
    c.p.a.mov(edi, APIC)?;
    c.p.a.mov(dword_ptr(rdi + COMMAND), SEND_NMI)?;
    c.p.a.nop()?;
    c.p.a.mov(r12d, ebx)?;
    c.expect("an NMI is not interrupted by others", 1)?;
    c.p.a.mov(r12, rbp)?;
    c.expect("one of those is taken behind IRET", 2)
}
