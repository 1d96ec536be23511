//! Lesson 19: what RDPMC reads: the type in bits 31:16 of ECX, the index below.

use super::Program;
use super::measure::{report_faults, skip_general_protection};
use iced_x86::code_asm::*;

const METRICS: u64 = 0x0403_0201_8f10_2040;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    p.print("lesson 19: what RDPMC reads\n")?;
    skip_general_protection(p)?;
    p.wrmsr(0x38f, 0)?;
    p.wrmsr(0x4c8, 77)?;
    p.wrmsr(0x309, 88)?;
    p.wrmsr(0x30c, 2550)?;
    p.wrmsr(0x329, METRICS)?;
    p.report_counter("general.7", 77, 7)?;
    p.report_counter("fixed.0", 88, 1 << 30)?;
    p.report_counter("fixed.3", 2550, 1 << 30 | 3)?;
    p.report_counter("metrics", METRICS, 1 << 29)?;
    // The upper half of RCX is without meaning.
    p.a.mov(rcx, 0xdead_0000_0007u64)?;
    p.a.rdpmc()?;
    p.a.shl(rdx, 32)?;
    p.a.or(rax, rdx)?;
    p.a.mov(r12, rax)?;
    p.report_r12("upper_half_of_rcx", 77)?;
    report_faults(p, "refused.so_far", 0)?;
    // Behind the last general, fixed and metrics register; the fast form of old; types that are none.
    for selector in [8u32, 1 << 30 | 4, 1 << 29 | 1, 1 << 31, 1 << 31 | 7, 3 << 29, 1 << 16] {
        p.a.mov(ecx, selector)?;
        p.a.rdpmc()?;
    }
    report_faults(p, "refused", 7)?;
    p.end()
}
