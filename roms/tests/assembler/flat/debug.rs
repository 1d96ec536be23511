//! Debug exceptions: single step, INT1, breakpoints on fetch and on writes, MOV SS; each with exact DR6 and RIP.

use super::super::Program;
use super::{Checks, checks};
use iced_x86::code_asm::*;

/// DR6 with nothing reported, and what is reported.
const DR6_CLEAR: u64 = 0xffff_0ff0;
const GENERAL_DETECT: u64 = 1 << 13;
const SINGLE_STEP: u64 = 1 << 14;
const DEBUGCTL: u32 = 0x1d9;
const TRAP_FLAG: i32 = 1 << 8;
const RESUME_FLAG: i32 = 1 << 16;
/// What the breakpoint on writes watches.
const WATCHED: u32 = 0xb000;

pub fn write(p: &mut Program) {
    checks(p, body);
}

/// The handler leaves DR6 in R14, RIP in RBX and the number of exceptions in RBP.
fn body(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let (mut handler, mut start) = (c.p.a.create_label(), c.p.a.create_label());
    c.p.a.jmp(start)?;
    put_handler(c, &mut handler)?;
    c.p.a.set_label(&mut start)?;
    c.p.set_gate(1, handler)?;
    single_step(c)?;
    int1(c)?;
    fetch(c)?;
    data(c)?;
    stack_switch(c)?;
    held_back(c)?;
    general_detect(c)?;
    repeated(c)?;
    on_branches(c)
}

/// Keeps what is to be checked, clears DR6 and the trap flag, sets the resume flag.
fn put_handler(c: &mut Checks<'_>, handler: &mut CodeLabel) -> Result<(), IcedError> {
    let a = &mut c.p.a;
    a.set_label(handler)?;
    a.mov(r14, dr6)?;
    a.mov(rbx, qword_ptr(rsp))?;
    a.inc(rbp)?;
    a.mov(r11d, DR6_CLEAR as u32)?;
    a.mov(dr6, r11)?;
    a.and(dword_ptr(rsp + 16), !TRAP_FLAG)?;
    a.or(dword_ptr(rsp + 16), RESUME_FLAG)?;
    a.iretq()
}

/// Checks DR6, RIP and that there was one exception.
fn verdicts(c: &mut Checks<'_>, what: &str, reported: u64, rip: CodeLabel) -> Result<(), IcedError> {
    c.p.a.mov(r12, r14)?;
    c.expect(&format!("{what}: DR6"), reported)?;
    c.p.a.mov(r12, rbx)?;
    c.p.a.lea(r13, ptr(rip))?;
    c.expect_r13(&format!("{what}: RIP"))?;
    c.p.a.mov(r12, rbp)?;
    c.expect(&format!("{what}: once"), 1)
}

fn begin(c: &mut Checks<'_>) -> Result<(), IcedError> {
    c.p.a.xor(ebp, ebp)?;
    c.p.a.xor(ebx, ebx)?;
    c.p.a.xor(r14d, r14d)?;
    c.p.a.mov(eax, DR6_CLEAR as u32)?;
    c.p.a.mov(dr6, rax)
}

fn set_trap_flag(c: &mut Checks<'_>) -> Result<(), IcedError> {
    c.p.a.pushfq()?;
    c.p.a.or(dword_ptr(rsp), TRAP_FLAG)?;
    c.p.a.popfq()
}

fn single_step(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let mut behind = c.p.a.create_label();
    begin(c)?;
    set_trap_flag(c)?;
    c.p.a.nop()?;
    c.p.a.set_label(&mut behind)?;
    c.p.a.nop()?;
    verdicts(c, "single step", DR6_CLEAR | SINGLE_STEP, behind)
}

fn int1(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let mut behind = c.p.a.create_label();
    begin(c)?;
    c.p.a.int1()?;
    c.p.a.set_label(&mut behind)?;
    c.p.a.nop()?;
    verdicts(c, "INT1", DR6_CLEAR, behind)
}

fn set_dr7(c: &mut Checks<'_>, v: u32) -> Result<(), IcedError> {
    c.p.a.mov(eax, v)?;
    c.p.a.mov(dr7, rax)
}

fn fetch(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let mut at = c.p.a.create_label();
    begin(c)?;
    c.p.a.lea(rax, ptr(at))?;
    c.p.a.mov(dr0, rax)?;
    set_dr7(c, 0x402)?;
    c.p.a.nop()?;
    c.p.a.set_label(&mut at)?;
    c.p.a.nop()?;
    c.p.a.nop()?;
    set_dr7(c, 0x400)?;
    verdicts(c, "breakpoint on fetch", DR6_CLEAR | 1, at)
}

/// DR1 watches writes of four bytes; a read and a write beside it do not matter.
fn data(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let mut behind = c.p.a.create_label();
    begin(c)?;
    c.p.a.mov(eax, WATCHED)?;
    c.p.a.mov(dr1, rax)?;
    set_dr7(c, 0x00d0_0408)?;
    c.p.a.mov(eax, dword_ptr(WATCHED))?;
    c.p.a.mov(dword_ptr(WATCHED + 4), eax)?;
    c.p.a.mov(byte_ptr(WATCHED + 3), 1)?;
    c.p.a.set_label(&mut behind)?;
    c.p.a.nop()?;
    set_dr7(c, 0x400)?;
    verdicts(c, "breakpoint on write", DR6_CLEAR | 2, behind)
}

/// MOV SS holds the single step back until behind the next instruction.
fn stack_switch(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let mut behind = c.p.a.create_label();
    begin(c)?;
    c.p.a.mov(ecx, ss)?;
    c.p.a.pushfq()?;
    c.p.a.or(dword_ptr(rsp), TRAP_FLAG)?;
    c.p.a.popfq()?;
    c.p.a.mov(ss, ecx)?;
    c.p.a.nop()?;
    c.p.a.set_label(&mut behind)?;
    c.p.a.nop()?;
    verdicts(c, "single step over MOV SS", DR6_CLEAR | SINGLE_STEP, behind)
}

/// What MOV SS holds back comes with the exception of INT1 behind it.
fn held_back(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let mut behind = c.p.a.create_label();
    begin(c)?;
    c.p.a.mov(eax, ss)?;
    c.p.a.mov(dword_ptr(WATCHED), eax)?;
    c.p.a.mov(eax, WATCHED)?;
    c.p.a.mov(dr1, rax)?;
    set_dr7(c, 0x00f0_0408)?;
    c.p.a.mov(ss, dword_ptr(WATCHED))?;
    c.p.a.int1()?;
    c.p.a.set_label(&mut behind)?;
    c.p.a.nop()?;
    set_dr7(c, 0x400)?;
    verdicts(c, "a breakpoint held back, INT1", DR6_CLEAR | 2, behind)
}

/// DR7.GD makes the next access to a debug register fault; the access is made anew behind the handler.
fn general_detect(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let mut at = c.p.a.create_label();
    begin(c)?;
    set_dr7(c, 0x2400)?;
    c.p.a.set_label(&mut at)?;
    c.p.a.mov(rcx, dr0)?;
    // The handler reads DR6 with GD clear.
    verdicts(c, "general detect", DR6_CLEAR | GENERAL_DETECT, at)
}

/// The handler clears the trap flag: the first iteration of three is followed by a trap at the instruction itself.
fn repeated(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let mut at = c.p.a.create_label();
    begin(c)?;
    c.p.a.mov(edi, WATCHED)?;
    c.p.a.mov(ecx, 3)?;
    set_trap_flag(c)?;
    c.p.a.set_label(&mut at)?;
    c.p.a.rep().stosb()?;
    c.p.a.mov(r12d, edi)?;
    c.expect("a repeated instruction goes on behind the trap", u64::from(WATCHED) + 3)?;
    verdicts(c, "single step through REP", DR6_CLEAR | SINGLE_STEP, at)
}

/// IA32_DEBUGCTL.BTF: the trap comes behind the jump that is taken.
fn on_branches(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let mut behind = c.p.a.create_label();
    begin(c)?;
    c.p.wrmsr(DEBUGCTL, 2)?;
    set_trap_flag(c)?;
    c.p.a.xor(eax, eax)?;
    c.p.a.nop()?;
    c.p.a.jnz(behind)?;
    c.p.a.jz(behind)?;
    c.p.a.nop()?;
    c.p.a.set_label(&mut behind)?;
    c.p.a.nop()?;
    verdicts(c, "single step on branches", DR6_CLEAR | SINGLE_STEP, behind)?;
    c.p.a.mov(ecx, DEBUGCTL)?;
    c.p.a.rdmsr()?;
    c.p.a.mov(r12d, eax)?;
    c.expect("the exception clears BTF", 0)
}
