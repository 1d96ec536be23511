//! Lesson 14: where the slots went: four buckets that sum to all of them, and the fractions of PERF_METRICS.

use super::Program;
use super::measure::{STOP, stop};
use super::metrics::sum_of_level_1;
use iced_x86::code_asm::*;

const METRICS: u32 = 0x329;
const ROUNDS: u32 = 100;
const ON: u64 = 0x43_0000;
/// Retiring, bad speculation, front end, back end, as events.
const BUCKETS: [u64; 4] = [0x02c2, 0x04a4, 0x019c, 0x02a4];

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    p.print("lesson 14: topdown\n")?;
    p.wrmsr(0x38f, 0)?;
    p.wrmsr(0x38d, 3 << 12)?;
    for (n, event) in (0..).zip(BUCKETS) {
        p.wrmsr(0x186 + n, event | ON)?;
        p.wrmsr(0x4c1 + n, 0)?;
    }
    p.wrmsr(0x30c, 0)?;
    p.wrmsr(METRICS, 0)?;
    p.wrmsr(0x38f, 1 << 48 | 1 << 35 | 0xf)?;
    payload(p)?;
    stop(p)?;
    // MOV, then LOAD, INC, DEC and JNZ.
    let slots = 6 * (1 + 4 * u64::from(ROUNDS) + STOP);
    p.report_counter("slots", slots, 1 << 30 | 3)?;
    p.a.xor(r12d, r12d)?;
    for n in 0..BUCKETS.len() as u32 {
        p.a.mov(ecx, n)?;
        p.a.rdpmc()?;
        p.a.add(r12, rax)?;
    }
    p.report_r12("buckets", slots)?;
    sum_of_level_1(p)?;
    p.report_r12("level1.sum", 255)?;
    parts_of_level_2(p)?;
    p.report_r12("level2.within_parent", 4)?;
    // RDPMC and RDMSR show the same.
    p.a.mov(ecx, 1 << 29)?;
    p.a.rdpmc()?;
    p.a.mov(esi, eax)?;
    p.a.mov(edi, edx)?;
    p.a.mov(ecx, METRICS)?;
    p.a.rdmsr()?;
    p.a.sub(eax, esi)?;
    p.a.sub(edx, edi)?;
    p.a.or(eax, edx)?;
    p.a.mov(r12d, eax)?;
    p.report_r12("rdpmc_less_rdmsr", 0)?;
    p.end()
}

fn payload(p: &mut Program) -> Result<(), IcedError> {
    let mut again = p.a.create_label();
    p.a.mov(ebx, ROUNDS)?;
    p.a.set_label(&mut again)?;
    p.a.mov(rsi, qword_ptr(rsp))?;
    p.a.inc(edi)?;
    p.a.dec(ebx)?;
    p.a.jnz(again)
}

/// R12 := how many fields of level 2 are at most their parents.
fn parts_of_level_2(p: &mut Program) -> Result<(), IcedError> {
    let mut again = p.a.create_label();
    p.a.mov(ecx, METRICS)?;
    p.a.rdmsr()?;
    p.a.xor(r12d, r12d)?;
    p.a.mov(ebx, 4)?;
    p.a.set_label(&mut again)?;
    p.a.xor(ecx, ecx)?;
    p.a.cmp(dl, al)?;
    p.a.setbe(cl)?;
    p.a.add(r12d, ecx)?;
    p.a.shr(eax, 8)?;
    p.a.shr(edx, 8)?;
    p.a.dec(ebx)?;
    p.a.jnz(again)
}
