//! Lesson 9: who may read a counter: CR4.PCE decides over RDPMC in ring 3, never in ring 0.

use super::Program;
use super::boot::{KERNEL_CODE, KERNEL_STACK, SYSRET_BASE};
use super::measure::{report_faults, skip_general_protection};
use iced_x86::code_asm::*;

const PCE: i32 = 1 << 8;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    let (mut user, mut entry) = (p.a.create_label(), p.a.create_label());
    p.print("lesson 9: the privilege to read\n")?;
    skip_general_protection(p)?;
    p.wrmsr(0xc000_0081, u64::from(SYSRET_BASE) << 48 | u64::from(KERNEL_CODE) << 32)?;
    p.wrmsr_address(0xc000_0082, entry)?;
    p.wrmsr(0xc000_0084, 0x200)?;
    p.wrmsr(0x38f, 0)?;
    p.wrmsr(0x4c1, 42)?;
    set_pce(p, false)?;
    // Ring 0 needs no leave.
    p.a.mov(ecx, 0)?;
    p.a.rdpmc()?;
    report_faults(p, "ring0.pce0.refused", 0)?;
    // There are counters 0 to 7 and, with bit 30, 0 to 3.
    for selector in [8, 64, 1 << 30 | 4, 1 << 28] {
        p.a.mov(ecx, selector as u32)?;
        p.a.rdpmc()?;
    }
    report_faults(p, "ring0.no_such_counter", 4)?;
    p.push_user_frame(user, 2)?;
    p.a.iretq()?;
    // Ring 3: the first read faults and is skipped; after the first call, which sets PCE, it works.
    p.a.set_label(&mut user)?;
    p.a.xor(ebp, ebp)?;
    for _ in 0..2 {
        p.a.mov(ecx, 0)?;
        p.a.xor(eax, eax)?;
        p.a.rdpmc()?;
        p.a.mov(ebx, eax)?;
        p.a.syscall()?;
        p.a.inc(ebp)?;
    }
    kernel(p, &mut entry)
}

/// The system call: reports what the user's read came to; the second one is the last.
fn kernel(p: &mut Program, entry: &mut CodeLabel) -> Result<(), IcedError> {
    let mut second = p.a.create_label();
    p.a.set_label(entry)?;
    p.a.mov(esp, KERNEL_STACK)?;
    p.a.push(rcx)?;
    p.a.test(ebp, ebp)?;
    p.a.jnz(second)?;
    report_faults(p, "ring3.pce0.refused", 1)?;
    p.a.mov(r12d, ebx)?;
    p.report_r12("ring3.pce0.value", 0)?;
    set_pce(p, true)?;
    p.a.pop(rcx)?;
    p.a.mov(r11d, 2)?;
    p.a.sysretq()?;
    p.a.set_label(&mut second)?;
    report_faults(p, "ring3.pce1.refused", 0)?;
    p.a.mov(r12d, ebx)?;
    p.report_r12("ring3.pce1.value", 42)?;
    p.end()
}

fn set_pce(p: &mut Program, on: bool) -> Result<(), IcedError> {
    p.a.mov(rax, cr4)?;
    if on {
        p.a.or(eax, PCE)?;
    } else {
        p.a.and(eax, !PCE)?;
    }
    p.a.mov(cr4, rax)
}
