//! What the shorter lessons share: a counter of instructions in both rings, started and stopped by GLOBAL_CTRL.
//!
//! Stopping takes four instructions, all of them counted: three loads and the WRMSR. Starting is not counted.

use super::Program;
use iced_x86::code_asm::*;

/// PERFEVTSEL of instructions retired in both rings, enabled.
pub const INSTRUCTIONS: u64 = 0x43_00c0;
/// Instructions that [`stop`] adds to every count.
pub const STOP: u64 = 4;

/// Counter 0 := 0, to count what `select` says once GLOBAL_CTRL lets it.
pub fn program(p: &mut Program, select: u64) -> Result<(), IcedError> {
    p.wrmsr(0x38f, 0)?;
    p.wrmsr(0x186, select)?;
    p.wrmsr(0x4c1, 0)
}

/// GLOBAL_CTRL := 1: counter 0 counts from the next instruction on.
pub fn start(p: &mut Program) -> Result<(), IcedError> {
    p.wrmsr(0x38f, 1)
}

/// GLOBAL_CTRL := 0.
pub fn stop(p: &mut Program) -> Result<(), IcedError> {
    p.wrmsr(0x38f, 0)
}

/// A handler of #GP(0), which counts in R14 and goes on behind the two bytes of WRMSR, RDMSR or RDPMC that raised it.
pub fn skip_general_protection(p: &mut Program) -> Result<(), IcedError> {
    let (mut handler, mut behind) = (p.a.create_label(), p.a.create_label());
    p.a.jmp(behind)?;
    p.a.set_label(&mut handler)?;
    p.a.inc(r14)?;
    p.a.add(qword_ptr(rsp + 8), 2)?;
    p.a.add(rsp, 8)?;
    p.a.iretq()?;
    p.a.set_label(&mut behind)?;
    p.set_gate(13, handler)?;
    p.a.xor(r14d, r14d)
}

/// Reports R14 and clears it.
pub fn report_faults(p: &mut Program, name: &str, expected: u64) -> Result<(), IcedError> {
    p.a.mov(r12, r14)?;
    p.report_r12(name, expected)?;
    p.a.xor(r14d, r14d)
}

/// `to` := MSR `msr`: MOV RDMSR SHL OR MOV.
pub fn msr_to(p: &mut Program, msr: u32, to: AsmRegister64) -> Result<(), IcedError> {
    p.a.mov(ecx, msr)?;
    p.a.rdmsr()?;
    p.a.shl(rdx, 32)?;
    p.a.or(rax, rdx)?;
    p.a.mov(to, rax)
}
