//! Lesson 10: FREEZE_PERFMON_ON_PMI stops all counters at the overflow, on the same instruction.

use super::Program;
use super::measure::{INSTRUCTIONS, STOP, program};
use iced_x86::code_asm::*;

const INT: u64 = 1 << 20;
const DEBUGCTL: u32 = 0x1d9;
const FREEZE_PERFMON: u64 = 1 << 12;
const CTR_FRZ: u64 = 1 << 59;
/// Counter 0 and fixed counter 0.
const BOTH: u64 = 1 << 32 | 1;
const PERIOD: u64 = 100;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    let mut again = p.a.create_label();
    p.print("lesson 10: freeze on overflow\n")?;
    p.wrmsr(DEBUGCTL, FREEZE_PERFMON)?;
    program(p, INSTRUCTIONS | INT)?;
    p.wrmsr(0x4c1, (1 << 48) - PERIOD)?;
    p.wrmsr(0x309, 0)?;
    p.wrmsr(0x38d, 3)?;
    p.wrmsr(0x38f, BOTH)?;
    // 1 + 2 x 200 instructions: it is over long before.
    p.a.mov(ebx, 200)?;
    p.a.set_label(&mut again)?;
    p.a.dec(ebx)?;
    p.a.jnz(again)?;
    // The local APIC's entry is masked, so there is no interrupt; the request alone freezes.
    p.report_counter("frozen.general", 0, 0)?;
    p.report_counter("frozen.fixed", PERIOD, 1 << 30)?;
    p.report_msr("status", CTR_FRZ | 1, 0x38e)?;
    p.report_msr("global_ctrl", BOTH, 0x38f)?;
    // Clearing the bit goes on where it stopped: seven NOPs and the four of the stop.
    p.wrmsr(0x390, CTR_FRZ | 1)?;
    for _ in 0..7 {
        p.a.nop()?;
    }
    p.wrmsr(0x38f, 0)?;
    p.report_counter("thawed.general", 7 + STOP, 0)?;
    p.report_counter("thawed.fixed", PERIOD + 7 + STOP, 1 << 30)?;
    p.report_msr("status.after", 0, 0x38e)?;
    p.end()
}
