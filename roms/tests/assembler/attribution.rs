//! Lesson 4: an instruction is counted under the settings in force before it executes.

use super::Program;
use super::measure::{INSTRUCTIONS, STOP, program, start, stop};
use iced_x86::code_asm::*;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    p.print("lesson 4: who counts the WRMSR\n")?;
    // Nothing between: the three loads and the WRMSR that disables.
    program(p, INSTRUCTIONS)?;
    start(p)?;
    stop(p)?;
    p.report_counter("nothing_between", STOP, 0)?;
    // RDPMC does not count itself: only the MOV before it.
    program(p, INSTRUCTIONS)?;
    start(p)?;
    p.a.mov(ecx, 0)?;
    p.a.rdpmc()?;
    p.a.mov(r12, rax)?;
    stop(p)?;
    p.report_r12("read_by_rdpmc", 1)?;
    // MOV, RDPMC, MOV, then four.
    p.report_counter("with_the_rdpmc", 3 + STOP, 0)?;
    // The WRMSR that writes the counter leaves exactly what it writes: its own event was counted before.
    program(p, INSTRUCTIONS)?;
    start(p)?;
    p.wrmsr(0x4c1, 1000)?;
    stop(p)?;
    p.report_counter("written_while_counting", 1000 + STOP, 0)?;
    // The same by the counter's own enable bit: ten NOPs, then three loads and the WRMSR.
    program(p, 0)?;
    start(p)?;
    p.wrmsr(0x186, INSTRUCTIONS)?;
    for _ in 0..10 {
        p.a.nop()?;
    }
    p.wrmsr(0x186, 0)?;
    stop(p)?;
    p.report_counter("by_the_enable_bit", 10 + STOP, 0)?;
    p.end()
}
