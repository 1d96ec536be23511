//! Lesson 11: through HLT the time-stamp counter goes on; MPERF and the reference cycles stand still.

use super::Program;
use iced_x86::code_asm::*;

const APIC: u32 = 0xfee0_0000;
const VECTOR: u32 = 0x41;
/// The timer's mode: it fires at the tick in IA32_TSC_DEADLINE.
const TSC_DEADLINE: u32 = 2 << 17;
const WAIT: u32 = 100_000;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    let mut handler = p.a.create_label();
    p.print("lesson 11: clocks\n")?;
    p.set_gate(VECTOR, handler)?;
    p.a.mov(edi, APIC)?;
    p.a.mov(dword_ptr(rdi + 0xf0), 0x1ff)?;
    p.a.mov(dword_ptr(rdi + 0x320), TSC_DEADLINE | VECTOR)?;
    p.wrmsr(0x38f, 0)?;
    p.wrmsr(0x30b, 0)?;
    p.wrmsr(0x38d, 3 << 8)?;
    p.a.rdtsc()?;
    p.a.shl(rdx, 32)?;
    p.a.or(rax, rdx)?;
    p.a.mov(rsi, rax)?;
    p.a.add(rax, WAIT as i32)?;
    p.a.mov(rdx, rax)?;
    p.a.shr(rdx, 32)?;
    p.a.mov(ecx, 0x6e0)?;
    p.a.wrmsr()?;
    p.wrmsr(0x38f, 1 << 34)?;
    p.a.mov(ecx, 0xe7)?;
    p.a.rdmsr()?;
    p.a.shl(rdx, 32)?;
    p.a.or(rax, rdx)?;
    p.a.mov(rdi, rax)?;
    p.a.sti()?;
    p.a.hlt()?;
    // The interrupt is taken at its tick, and RDTSC comes first.
    p.a.set_label(&mut handler)?;
    p.a.rdtsc()?;
    p.a.shl(rdx, 32)?;
    p.a.or(rax, rdx)?;
    p.a.mov(r8, rax)?;
    p.a.mov(ecx, 0xe7)?;
    p.a.rdmsr()?;
    p.a.shl(rdx, 32)?;
    p.a.or(rax, rdx)?;
    p.a.mov(rbx, rax)?;
    p.wrmsr(0x38f, 0)?;
    p.a.mov(r12, r8)?;
    p.a.sub(r12, rsi)?;
    p.report_r12("tsc", u64::from(WAIT))?;
    // From one RDMSR to the other: RDMSR SHL OR MOV STI HLT, then RDTSC SHL OR MOV MOV.
    p.a.mov(r12, rbx)?;
    p.a.sub(r12, rdi)?;
    p.report_r12("mperf", 6 + 5)?;
    // The counter also has the MOV before, and RDMSR SHL OR MOV and the four of the stop behind.
    p.report_counter("reference_cycles", 1 + 11 + 4 + 4, 1 << 30 | 2)?;
    p.end()
}
