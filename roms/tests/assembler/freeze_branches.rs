//! Lesson 18: FREEZE_LBRS_ON_PMI: the last record is the branch that overflowed.

use super::Program;
use super::measure::program;
use iced_x86::code_asm::*;

const DEBUGCTL: u32 = 0x1d9;
const FREEZE_LBRS: u64 = 1 << 11;
const LBR_FRZ: u64 = 1 << 58;
const CTL: u32 = 0x14ce;
const DEPTH: u32 = 0x14cf;
const FROM: u32 = 0x1500;
/// Enabled in ring 0, all kinds.
const ALL: u64 = 0x7f_0003;
/// Branches in both rings, interrupt on overflow.
const BRANCHES: u64 = 0x53_00c4;
const PERIOD: u64 = 10;
const JUMPS: usize = 20;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    p.print("lesson 18: frozen branches\n")?;
    p.wrmsr(DEBUGCTL, FREEZE_LBRS)?;
    p.wrmsr(DEPTH, 32)?;
    program(p, BRANCHES)?;
    p.wrmsr(0x4c1, (1 << 48) - PERIOD)?;
    p.wrmsr(0x38f, 1)?;
    p.wrmsr(CTL, ALL)?;
    jumps(p, JUMPS)?;
    // What follows jumps and calls, but the records are frozen and the counter counts on.
    report_newest(p, "frozen.newest", 2 * (PERIOD - 1))?;
    p.report_msr("frozen.status", LBR_FRZ | 1, 0x38e)?;
    p.report_msr("frozen.enabled", ALL, CTL)?;
    p.wrmsr(0x38f, 0)?;
    p.wrmsr(CTL, 0)?;
    p.wrmsr(0x390, LBR_FRZ | 1)?;
    p.wrmsr(CTL, ALL)?;
    jumps(p, 3)?;
    p.wrmsr(CTL, 0)?;
    report_newest(p, "thawed.newest", 2 * 2)?;
    p.report_msr("thawed.status", 0, 0x38e)?;
    p.end()
}

/// RBP := the first of `n` jumps of two bytes, each to the next.
fn jumps(p: &mut Program, n: usize) -> Result<(), IcedError> {
    let mut next = p.a.create_label();
    p.a.lea(rbp, ptr(next))?;
    for _ in 0..n {
        p.a.set_label(&mut next)?;
        next = p.a.create_label();
        p.a.jmp(next)?;
    }
    p.a.set_label(&mut next)
}

/// How many bytes behind RBP the newest record's branch lies.
fn report_newest(p: &mut Program, name: &str, expected: u64) -> Result<(), IcedError> {
    p.a.mov(ecx, FROM)?;
    p.a.rdmsr()?;
    p.a.sub(eax, ebp)?;
    p.a.mov(r12d, eax)?;
    p.report_r12(name, expected)
}
