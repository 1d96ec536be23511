//! Lesson 7: overflow, GLOBAL_STATUS and the three registers around it.

use super::Program;
use super::measure::{INSTRUCTIONS, STOP, program, report_faults, skip_general_protection, start, stop};
use iced_x86::code_asm::*;

const STATUS: u32 = 0x38e;
const RESET: u32 = 0x390;
const SET: u32 = 0x391;
const IN_USE: u32 = 0x392;
/// Interrupt on overflow.
const INT: u64 = 1 << 20;
const WIDTH: u32 = 48;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    p.print("lesson 7: overflow and status\n")?;
    skip_general_protection(p)?;
    // Two short of 2^48, with six NOPs and the four of the stop: it passes 0 and keeps counting.
    program(p, INSTRUCTIONS)?;
    p.wrmsr(0x4c1, (1 << WIDTH) - 2)?;
    start(p)?;
    for _ in 0..6 {
        p.a.nop()?;
    }
    stop(p)?;
    p.report_counter("counter", 6 + STOP - 2, 0)?;
    p.report_msr("status", 1, STATUS)?;
    // It stays until it is cleared, bit by bit: counter 3's bit leaves counter 0's alone.
    p.wrmsr(RESET, 1 << 3)?;
    p.report_msr("status.other_bit_reset", 1, STATUS)?;
    p.wrmsr(RESET, 1)?;
    p.report_msr("status.reset", 0, STATUS)?;
    // What one writes to SET appears, and reads as 0 there.
    p.wrmsr(SET, 1 << 33 | 1 << 7)?;
    p.report_msr("status.set", 1 << 33 | 1 << 7, STATUS)?;
    p.report_msr("set.reads", 0, SET)?;
    // STATUS and INUSE are read-only, and bit 8 is no counter's.
    for (register, v) in [(STATUS, 0), (IN_USE, 0), (RESET, 1 << 8), (SET, 1 << 8)] {
        p.wrmsr(register, v)?;
    }
    report_faults(p, "refused", 4)?;
    // Counter 0 has an event, fixed counter 1 a ring, and an interrupt is asked for.
    p.wrmsr(0x186, INSTRUCTIONS | INT)?;
    p.wrmsr(0x38d, 1 << 4)?;
    p.report_msr("in_use", 1 << 63 | 1 << 33 | 1, IN_USE)?;
    p.end()
}
