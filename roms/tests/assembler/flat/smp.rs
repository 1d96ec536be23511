//! INIT, SIPI, SIPI: the other processors start in real mode, count themselves and say who they are.

use super::super::Program;
use super::{Checks, checks};
use iced_x86::code_asm::*;

const APIC: u32 = 0xfee0_0000;
/// Where the others start.
const START: u32 = 0xa000;
/// How many have started, the sum of their APIC numbers, the code segment of the last.
const COUNT: u32 = 0xaf00;
const SUM: u32 = 0xaf04;
const SEGMENT: u32 = 0xaf08;
const INIT_OTHERS: u32 = 0xc_4500;
const START_UP_OTHERS: u32 = 0xc_4600 | START >> 12;
/// Turns that a processor is waited for.
const PATIENCE: u32 = 100_000;

pub fn write(p: &mut Program) {
    checks(p, body);
}

fn body(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let (mut code, mut start) = (c.p.a.create_label(), c.p.a.create_label());
    let other = other().expect("it assembles");
    c.p.a.jmp(start)?;
    c.p.a.set_label(&mut code)?;
    c.p.a.db(&other)?;
    c.p.a.set_label(&mut start)?;
    c.p.a.lea(rsi, ptr(code))?;
    c.p.a.mov(edi, START)?;
    c.p.a.mov(ecx, other.len() as u32)?;
    c.p.a.rep().movsb()?;
    for at in [COUNT, SUM, SEGMENT] {
        c.p.a.mov(dword_ptr(at), 0)?;
    }
    c.p.a.mov(edi, APIC)?;
    for command in [INIT_OTHERS, START_UP_OTHERS, START_UP_OTHERS] {
        c.p.a.mov(dword_ptr(rdi + 0x300), command)?;
    }
    c.fw_cfg(5, 2)?;
    c.p.a.lea(rbp, ptr(r12 - 1))?;
    wait(c)?;
    verdicts(c)
}

/// Waits until RBP have started, then once more, for one too many.
fn wait(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let a = &mut c.p.a;
    let (mut again, mut come) = (a.create_label(), a.create_label());
    a.mov(ecx, PATIENCE)?;
    a.set_label(&mut again)?;
    a.pause()?;
    a.cmp(dword_ptr(COUNT), ebp)?;
    a.je(come)?;
    a.dec(ecx)?;
    a.jnz(again)?;
    a.set_label(&mut come)?;
    a.mov(ecx, PATIENCE / 10)?;
    let mut more = a.create_label();
    a.set_label(&mut more)?;
    a.pause()?;
    a.dec(ecx)?;
    a.jnz(more)
}

fn verdicts(c: &mut Checks<'_>) -> Result<(), IcedError> {
    c.p.a.mov(r12d, dword_ptr(COUNT))?;
    c.p.a.mov(r13, rbp)?;
    c.expect_r13("all other processors started, once each")?;
    // The sum of 0 to n - 1 for n processors.
    c.p.a.lea(r13, ptr(rbp + 1))?;
    c.p.a.imul_2(r13, rbp)?;
    c.p.a.shr(r13, 1)?;
    c.p.a.mov(r12d, dword_ptr(SUM))?;
    c.expect_r13("their APIC numbers are 1 and up")?;
    let mut alone = c.p.a.create_label();
    c.p.a.test(ebp, ebp)?;
    c.p.a.jz(alone)?;
    c.p.a.mov(r12d, dword_ptr(SEGMENT))?;
    c.expect("they start where the vector says", (START >> 4).into())?;
    c.p.a.set_label(&mut alone)
}

/// In real mode: counts, adds up the APIC number, notes CS, halts.
fn other() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    let mut halt = a.create_label();
    a.mov(ax, cs)?;
    a.mov(ds, ax)?;
    a.mov(word_ptr(SEGMENT - START), ax)?;
    a.mov(eax, 1)?;
    a.cpuid()?;
    a.shr(ebx, 24)?;
    a.lock().add(dword_ptr(SUM - START), ebx)?;
    a.lock().inc(dword_ptr(COUNT - START))?;
    a.set_label(&mut halt)?;
    a.cli()?;
    a.hlt()?;
    a.jmp(halt)?;
    a.assemble(0)
}
