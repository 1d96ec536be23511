//! Lesson 2: a user program makes 101 system calls; user and kernel are counted apart by the ring filter.

use super::Program;
use super::boot::{KERNEL_CODE, KERNEL_STACK, SYSRET_BASE};
use iced_x86::code_asm::*;

pub const CALLS: u32 = 100;

const EN_USR: u64 = 0x41_0000;
const EN_OS: u64 = 0x42_0000;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    let (mut user, mut entry, mut exit) = (p.a.create_label(), p.a.create_label(), p.a.create_label());
    p.print("lesson 2: user and kernel\n")?;
    p.wrmsr(0xc000_0081, u64::from(SYSRET_BASE) << 48 | u64::from(KERNEL_CODE) << 32)?;
    p.wrmsr_address(0xc000_0082, entry)?;
    p.wrmsr(0xc000_0084, 0x200)?;
    p.wrmsr(0x38f, 0)?;
    for (n, event) in [0xc0 | EN_USR, 0xc0 | EN_OS, 0x11c4 | EN_USR, 0x11c4 | EN_OS].into_iter().enumerate() {
        p.wrmsr(0x4c1 + n as u32, 0)?;
        p.wrmsr(0x186 + n as u32, event)?;
    }
    p.wrmsr(0x309, 0)?;
    p.wrmsr(0x38d, 3)?;
    p.push_user_frame(user, 2)?;
    // Kernel, counted: IRETQ; three instructions a call; two and the disabling WRMSR with its three loads at the end.
    p.wrmsr(0x38f, 1 << 32 | 0xf)?;
    p.a.iretq()?;
    user_program(p, &mut user)?;
    p.a.set_label(&mut entry)?;
    p.a.test(ebp, ebp)?;
    p.a.jnz(exit)?;
    p.a.sysretq()?;
    p.a.set_label(&mut exit)?;
    p.wrmsr(0x38f, 0)?;
    p.a.mov(esp, KERNEL_STACK)?;
    let n = u64::from(CALLS);
    let (user_count, kernel_count) = (2 + 3 * n + 2, 1 + 3 * n + 6);
    p.report_counter("instructions.user", user_count, 0)?;
    p.report_counter("instructions.kernel", kernel_count, 1)?;
    p.report_counter("branches.conditional.user", n, 2)?;
    p.report_counter("branches.conditional.kernel", n + 1, 3)?;
    p.report_counter("instructions", user_count + kernel_count, 1 << 30)?;
    p.end()
}

/// In ring 3: 100 calls with EBP 0, and a last one with EBP 1. SYSCALL and SYSRET keep EBP and EBX.
fn user_program(p: &mut Program, user: &mut CodeLabel) -> Result<(), IcedError> {
    let mut again = p.a.create_label();
    p.a.set_label(user)?;
    p.a.xor(ebp, ebp)?;
    p.a.mov(ebx, CALLS)?;
    p.a.set_label(&mut again)?;
    p.a.syscall()?;
    p.a.dec(ebx)?;
    p.a.jnz(again)?;
    p.a.inc(ebp)?;
    p.a.syscall()
}
