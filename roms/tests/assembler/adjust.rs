//! Lesson 20: the time-stamp counter is a clock that cannot be set and an offset that can.

use super::Program;
use super::measure::msr_to;
use iced_x86::code_asm::*;

const TSC: u32 = 0x10;
const ADJUST: u32 = 0x3b;
const MPERF: u32 = 0xe7;
const FORWARD: u64 = 1_000_000;
const SET: u64 = 1 << 40;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    p.print("lesson 20: clock and offset\n")?;
    p.report_msr("adjust.at_start", 0, ADJUST)?;
    // From one RDTSC to the next: RDTSC SHL OR MOV, three MOVs and WRMSR.
    tsc_to(p, rsi)?;
    p.wrmsr(ADJUST, FORWARD)?;
    tsc_to(p, r12)?;
    p.a.sub(r12, rsi)?;
    p.report_r12("adjust.moves_tsc", FORWARD + 8)?;
    // MPERF counts the same four, three MOVs, WRMSR and MOV ECX: it has no offset.
    msr_to(p, MPERF, rdi)?;
    p.wrmsr(TSC, SET)?;
    msr_to(p, MPERF, r12)?;
    p.a.sub(r12, rdi)?;
    p.report_r12("mperf.stays", 9)?;
    // The TSC less its offset is the clock: RDTSC SHL OR MOV MOV is what goes by between two readings.
    tsc_to(p, rsi)?;
    msr_to(p, ADJUST, rdi)?;
    p.a.sub(rsi, rdi)?;
    p.wrmsr(TSC, 5)?;
    tsc_to(p, r12)?;
    p.a.mov(r8, r12)?;
    msr_to(p, ADJUST, rdi)?;
    p.a.sub(r12, rdi)?;
    p.a.sub(r12, rsi)?;
    // RDTSC SHL OR MOV, MOV RDMSR SHL OR MOV, SUB, three MOVs and WRMSR.
    p.report_r12("clock.goes_on", 4 + 5 + 1 + 4)?;
    // The WRMSR itself takes a tick.
    p.a.mov(r12, r8)?;
    p.report_r12("tsc.as_set", 5 + 1)?;
    p.end()
}

/// `to` := the TSC: RDTSC SHL OR MOV.
fn tsc_to(p: &mut Program, to: AsmRegister64) -> Result<(), IcedError> {
    p.a.rdtsc()?;
    p.a.shl(rdx, 32)?;
    p.a.or(rax, rdx)?;
    p.a.mov(to, rax)
}
