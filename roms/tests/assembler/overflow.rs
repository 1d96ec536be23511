//! Lesson 3: every 100th user instruction overflows a counter; each overflow interrupts where it happened.
//!
//! The loop has four instructions and follows one of set-up, so that instruction 100 k is always its third, and the
//! interrupt finds RIP at the fourth.

use super::Program;
use super::boot::{KERNEL_CODE, KERNEL_STACK, SYSRET_BASE};
use iced_x86::code_asm::*;

pub const ITERATIONS: u32 = 1000;
pub const PERIOD: u32 = 100;

const VECTOR: u32 = 0x40;
const APIC: u32 = 0xfee0_0000;
/// User instructions, enabled, interrupt on overflow.
const USER_INSTRUCTIONS: u64 = 0x51_00c0;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    let (user, entry, handler) = (p.a.create_label(), p.a.create_label(), p.a.create_label());
    let (mut user, mut entry, mut handler, branch) = (user, entry, handler, p.a.create_label());
    p.print("lesson 3: interrupts on overflow\n")?;
    p.wrmsr(0xc000_0081, u64::from(SYSRET_BASE) << 48 | u64::from(KERNEL_CODE) << 32)?;
    p.wrmsr_address(0xc000_0082, entry)?;
    p.wrmsr(0xc000_0084, 0x200)?;
    p.set_gate(VECTOR, handler)?;
    p.a.mov(edi, APIC)?;
    p.a.mov(dword_ptr(rdi + 0xf0), 0x1ff)?;
    p.a.mov(dword_ptr(rdi + 0x340), VECTOR)?;
    p.wrmsr(0x38f, 0)?;
    p.wrmsr(0xc1, u64::from(PERIOD.wrapping_neg()))?;
    p.wrmsr(0x186, USER_INSTRUCTIONS)?;
    p.wrmsr(0x309, 0)?;
    p.wrmsr(0x38d, 2)?;
    p.a.xor(r12d, r12d)?;
    p.a.xor(r14d, r14d)?;
    p.push_user_frame(user, 0x202)?;
    p.wrmsr(0x38f, 1 << 32 | 1)?;
    p.a.iretq()?;
    user_program(p, &mut user, branch)?;
    interrupt_handler(p, &mut handler, branch)?;
    p.a.set_label(&mut entry)?;
    p.wrmsr(0x38f, 0)?;
    p.a.mov(esp, KERNEL_STACK)?;
    let total = 1 + 4 * u64::from(ITERATIONS) + 1;
    let interrupts = total / u64::from(PERIOD);
    p.report_r12("interrupts", interrupts)?;
    p.a.mov(r12, r14)?;
    p.report_r12("interrupts.at_the_branch", interrupts)?;
    p.report_counter("instructions.user", total, 1 << 30)?;
    p.end()
}

/// In ring 3: 1 + 4 x 1000 + 1 instructions.
fn user_program(p: &mut Program, user: &mut CodeLabel, mut branch: CodeLabel) -> Result<(), IcedError> {
    let mut again = p.a.create_label();
    p.a.set_label(user)?;
    p.a.mov(ebx, ITERATIONS)?;
    p.a.set_label(&mut again)?;
    p.a.inc(r8)?;
    p.a.add(r9, r8)?;
    p.a.dec(ebx)?;
    p.a.set_label(&mut branch)?;
    p.a.jnz(again)?;
    p.a.syscall()
}

/// Counts in R12, and in R14 those that found RIP at the branch. The user program's RAX, RCX, RDX and RDI are free.
fn interrupt_handler(p: &mut Program, handler: &mut CodeLabel, branch: CodeLabel) -> Result<(), IcedError> {
    p.a.set_label(handler)?;
    p.a.inc(r12)?;
    p.a.lea(rcx, ptr(branch))?;
    p.a.xor(eax, eax)?;
    p.a.cmp(rcx, qword_ptr(rsp))?;
    p.a.sete(al)?;
    p.a.add(r14, rax)?;
    p.wrmsr(0x390, 1)?;
    p.wrmsr(0xc1, u64::from(PERIOD.wrapping_neg()))?;
    // The delivery masked the entry.
    p.a.mov(edi, APIC)?;
    p.a.mov(dword_ptr(rdi + 0x340), VECTOR)?;
    p.a.mov(dword_ptr(rdi + 0xb0), 0)?;
    p.a.iretq()
}
