//! Lesson 22: TPAUSE waits without leaving C0: MPERF goes on, no instruction retires, and events tell the two states.

use super::Program;
use super::measure::{INSTRUCTIONS, STOP, msr_to};
use iced_x86::code_asm::*;

const MPERF: u32 = 0xe7;
/// Instructions of [`pause`].
const PAUSE: u64 = 5;
const IN_C01: u32 = 10_000;
const IN_C02: u32 = 20_000;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    p.print("lesson 22: waiting in C0\n")?;
    p.wrmsr(0x38f, 0)?;
    // Instructions, cycles in C0.1, cycles in C0.2.
    for (n, select) in (0..).zip([INSTRUCTIONS, 0x43_10ec, 0x43_20ec]) {
        p.wrmsr(0x186 + n, select)?;
        p.wrmsr(0x4c1 + n, 0)?;
    }
    msr_to(p, MPERF, rsi)?;
    p.wrmsr(0x38f, 7)?;
    pause(p, IN_C01, 1)?;
    pause(p, IN_C02, 0)?;
    p.wrmsr(0x38f, 0)?;
    msr_to(p, MPERF, r12)?;
    p.a.sub(r12, rsi)?;
    // RDMSR SHL OR MOV, the four of the start, the two waits, the four of the stop, MOV.
    p.report_r12("mperf", 4 + 4 + u64::from(IN_C01 + IN_C02) + STOP + 1)?;
    p.report_counter("instructions", 2 * PAUSE + STOP, 0)?;
    p.report_counter("cycles.c01", u64::from(IN_C01) - PAUSE, 1)?;
    p.report_counter("cycles.c02", u64::from(IN_C02) - PAUSE, 2)?;
    p.end()
}

/// Waits until so many `ticks` after its RDTSC, in C0.1 if `state` is 1, else in C0.2: RDTSC ADD ADC MOV TPAUSE.
fn pause(p: &mut Program, ticks: u32, state: u32) -> Result<(), IcedError> {
    p.a.rdtsc()?;
    p.a.add(eax, ticks as i32)?;
    p.a.adc(edx, 0)?;
    p.a.mov(ecx, state)?;
    p.a.tpause(ecx)
}
