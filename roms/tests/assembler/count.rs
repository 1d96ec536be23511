//! Lesson 1: a loop of 1000 iterations, counted by a fixed counter and by general ones.

use super::Program;
use iced_x86::code_asm::*;

pub const ITERATIONS: u32 = 1000;

/// Both rings, enabled.
const EN_ALL: u64 = 0x43_0000;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    p.print("lesson 1: counting a loop\n")?;
    p.wrmsr(0x38f, 0)?;
    for (n, event) in [0xc0, 0xc4, 0x11c4].into_iter().enumerate() {
        p.wrmsr(0x4c1 + n as u32, 0)?;
        p.wrmsr(0x186 + n as u32, event | EN_ALL)?;
    }
    p.wrmsr(0x309, 0)?;
    p.wrmsr(0x38d, 3)?;
    // Not counted: the WRMSR that enables. Counted: 1 + 3 x 1000 + 4, the last being the WRMSR that disables.
    p.wrmsr(0x38f, 1 << 32 | 7)?;
    p.a.mov(ebx, ITERATIONS)?;
    let mut again = p.a.create_label();
    p.a.set_label(&mut again)?;
    p.a.add(r8, rbx)?;
    p.a.dec(ebx)?;
    p.a.jnz(again)?;
    p.wrmsr(0x38f, 0)?;
    let n = u64::from(ITERATIONS);
    p.report_counter("instructions.fixed", 3 * n + 5, 1 << 30)?;
    p.report_counter("instructions", 3 * n + 5, 0)?;
    p.report_counter("branches", n, 1)?;
    p.report_msr("branches.conditional", n, 0x4c3)?;
    p.a.mov(r12, r8)?;
    p.report_r12("sum", n * (n + 1) / 2)?;
    p.end()
}
