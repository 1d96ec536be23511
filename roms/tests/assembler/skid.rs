//! Lesson 21: the overflow is on its instruction; the interrupt comes when the processor takes interrupts.

use super::Program;
use super::measure::{INSTRUCTIONS, program, start};
use iced_x86::code_asm::*;

const VECTOR: u32 = 0x40;
const APIC: u32 = 0xfee0_0000;
const INT: u64 = 1 << 20;
const PERIOD: u64 = 10;
const NOPS: u64 = 30;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    p.print("lesson 21: skid\n")?;
    p.a.mov(edi, APIC)?;
    p.a.mov(dword_ptr(rdi + 0xf0), 0x1ff)?;
    // Interrupts are open: it comes behind the tenth NOP.
    one(p, true)?;
    p.a.mov(r12, r8)?;
    p.report_r12("open.instructions", PERIOD)?;
    // The handler's MOV was counted when it read.
    p.a.mov(r12, rbx)?;
    p.report_r12("open.counter", 1)?;
    // They are closed: it waits, also when its status bit is cleared meanwhile, for STI and the instruction behind it.
    one(p, false)?;
    p.a.mov(r12, r8)?;
    p.report_r12("closed.bytes", NOPS + 17 + 2)?;
    p.a.mov(r12, rbx)?;
    p.report_r12("closed.counter", NOPS + 4 + 2 + 1 - PERIOD)?;
    p.report_msr("closed.status", 0, 0x38e)?;
    p.end()
}

/// Counts 30 NOPs, with interrupts open or closed. R8 := the bytes from the first NOP to where the interrupt was taken,
/// RBX := the counter in the handler.
fn one(p: &mut Program, open: bool) -> Result<(), IcedError> {
    let (mut begin, mut handler) = (p.a.create_label(), p.a.create_label());
    p.set_gate(VECTOR, handler)?;
    p.a.mov(edi, APIC)?;
    p.a.mov(dword_ptr(rdi + 0x340), VECTOR)?;
    program(p, INSTRUCTIONS | INT)?;
    p.wrmsr(0x4c1, (1 << 48) - PERIOD)?;
    p.a.lea(rbp, ptr(begin))?;
    if open {
        p.a.sti()?;
        p.a.nop()?;
    }
    start(p)?;
    p.a.set_label(&mut begin)?;
    for _ in 0..NOPS {
        p.a.nop()?;
    }
    // Three MOVs of five bytes and WRMSR of two.
    p.wrmsr(0x390, 1)?;
    p.a.sti()?;
    p.a.nop()?;
    p.a.set_label(&mut handler)?;
    p.a.mov(ecx, 0)?;
    p.a.rdpmc()?;
    p.a.mov(rbx, rax)?;
    p.a.pop(r8)?;
    p.a.sub(r8, rbp)?;
    p.a.add(rsp, 32)?;
    p.wrmsr(0x38f, 0)?;
    p.wrmsr(0x390, 1)?;
    p.a.mov(edi, APIC)?;
    p.a.mov(dword_ptr(rdi + 0xb0), 0)
}
