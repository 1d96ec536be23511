//! The counters, one by one and all together: overflow to the last instruction, status, interrupts, writes while counting.
//!
//! In the spirit of x86/pmu.c of kvm-unit-tests: its loop over a buffer with ten instructions a round, its events on every
//! counter, its bounds where a model decides.

use super::super::Program;
use super::{Checks, checks};
use iced_x86::code_asm::*;

const GENERAL: u32 = 8;
const VECTOR: u32 = 0x20;
const APIC: u32 = 0xfee0_0000;
/// Both rings, enabled.
const ON: u64 = 0x43_0000;
const INT: u64 = 1 << 20;
const SELECT: u32 = 0x186;
const FULL: u32 = 0x4c1;
const GLOBAL_CTRL: u32 = 0x38f;
const STATUS: u32 = 0x38e;
const RESET: u32 = 0x390;
/// The streamed buffer: 256 KiB at 4 MiB.
const BUFFER: u32 = 0x40_0000;
const ROUNDS: u32 = 4096;
/// What [`put_measure`] counts: MOV, MOV; MOV, ADD, seven NOPs, LOOP a round; MOV, XOR, XOR, WRMSR.
const INSTRUCTIONS: u64 = 2 + 10 * ROUNDS as u64 + 4;
const BRANCHES: u64 = ROUNDS as u64;
/// Name, event and unit mask, least and most.
const EVENTS: [(&str, u64, u64, u64); 7] = [
    ("core cycles", 0x003c, INSTRUCTIONS / 10, 50 * INSTRUCTIONS),
    ("instructions", 0x00c0, INSTRUCTIONS, INSTRUCTIONS),
    ("reference cycles", 0x013c, INSTRUCTIONS / 10, 30 * INSTRUCTIONS),
    ("llc references", 0x4f2e, 1, 5 * BRANCHES / 2),
    ("llc misses", 0x412e, 1, BRANCHES),
    ("branches", 0x00c4, BRANCHES, BRANCHES),
    ("branch misses", 0x00c5, 0, BRANCHES / 10),
];

pub fn write(p: &mut Program) {
    checks(p, body);
}

fn body(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let (mut measure, mut handler, mut start) = (c.p.a.create_label(), c.p.a.create_label(), c.p.a.create_label());
    c.p.a.jmp(start)?;
    put_measure(c.p, &mut measure)?;
    put_handler(c.p, &mut handler)?;
    c.p.a.set_label(&mut start)?;
    c.p.set_gate(VECTOR, handler)?;
    c.p.a.mov(edi, APIC)?;
    c.p.a.mov(dword_ptr(rdi + 0xf0), 0x1ff)?;
    c.p.wrmsr(GLOBAL_CTRL, 0)?;
    each_event_on_each_counter(c, measure)?;
    all_at_once(c, measure)?;
    for n in 0..GENERAL {
        overflow(c, measure, &format!("counter {n}"), (FULL + n, SELECT + n, 0xc0 | ON), u64::from(n), n % 2 != 0)?;
    }
    overflow(c, measure, "fixed counter 0", (0x309, 0x38d, 3), 32, true)?;
    counter_mask(c, measure)?;
    written_while_counting(c, measure)
}

/// MEASURE: GLOBAL_CTRL := RDI, the loop, GLOBAL_CTRL := 0.
fn put_measure(p: &mut Program, measure: &mut CodeLabel) -> Result<(), IcedError> {
    let mut again = p.a.create_label();
    p.a.set_label(measure)?;
    p.a.mov(ecx, GLOBAL_CTRL)?;
    p.a.mov(eax, edi)?;
    p.a.mov(rdx, rdi)?;
    p.a.shr(rdx, 32)?;
    p.a.wrmsr()?;
    p.a.mov(ecx, ROUNDS)?;
    p.a.mov(esi, BUFFER)?;
    p.a.set_label(&mut again)?;
    p.a.mov(rax, qword_ptr(rsi))?;
    p.a.add(rsi, 64)?;
    for _ in 0..7 {
        p.a.nop()?;
    }
    p.a.loop_(again)?;
    p.a.mov(ecx, GLOBAL_CTRL)?;
    p.a.xor(eax, eax)?;
    p.a.xor(edx, edx)?;
    p.a.wrmsr()?;
    p.a.ret()
}

/// The handler counts in RBP.
fn put_handler(p: &mut Program, handler: &mut CodeLabel) -> Result<(), IcedError> {
    p.a.set_label(handler)?;
    p.a.inc(rbp)?;
    p.a.push(rdi)?;
    p.a.mov(edi, APIC)?;
    p.a.mov(dword_ptr(rdi + 0xb0), 0)?;
    p.a.pop(rdi)?;
    p.a.iretq()
}

fn measure_with(c: &mut Checks<'_>, measure: CodeLabel, ctrl: u64) -> Result<(), IcedError> {
    c.p.a.mov(rdi, ctrl)?;
    c.p.a.call(measure)
}

/// R12 := the counter that RDPMC selects.
fn read(c: &mut Checks<'_>, selector: u32) -> Result<(), IcedError> {
    c.p.a.mov(ecx, selector)?;
    c.p.a.rdpmc()?;
    c.p.a.shl(rdx, 32)?;
    c.p.a.mov(r12d, eax)?;
    c.p.a.or(r12, rdx)
}

/// R12 := MSR `msr`.
fn read_msr(c: &mut Checks<'_>, msr: u32) -> Result<(), IcedError> {
    c.p.a.mov(ecx, msr)?;
    c.p.a.rdmsr()?;
    c.p.a.shl(rdx, 32)?;
    c.p.a.mov(r12d, eax)?;
    c.p.a.or(r12, rdx)
}

/// Adds 1 to RBX when R12 is from `least` to `most`.
fn count_within(c: &mut Checks<'_>, least: u64, most: u64) -> Result<(), IcedError> {
    c.p.a.mov(rax, least)?;
    c.p.a.sub(r12, rax)?;
    c.p.a.mov(rax, most - least)?;
    c.p.a.xor(ecx, ecx)?;
    c.p.a.cmp(r12, rax)?;
    c.p.a.setbe(cl)?;
    c.p.a.add(rbx, rcx)
}

fn each_event_on_each_counter(c: &mut Checks<'_>, measure: CodeLabel) -> Result<(), IcedError> {
    for (name, event, least, most) in EVENTS {
        c.p.a.xor(ebx, ebx)?;
        for n in 0..GENERAL {
            c.p.wrmsr(SELECT + n, event | ON)?;
            c.p.wrmsr(FULL + n, 0)?;
            // Every line of the buffer is flushed first, as the test of hypervisors has it for its first line.
            if n == 0 || event & 0xff == 0x2e {
                flush(c)?;
            }
            measure_with(c, measure, 1 << n)?;
            read(c, n)?;
            count_within(c, least, most)?;
            c.p.wrmsr(SELECT + n, 0)?;
        }
        c.p.a.mov(r12, rbx)?;
        c.expect(&format!("{name} on each counter"), GENERAL.into())?;
    }
    Ok(())
}

fn flush(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let mut again = c.p.a.create_label();
    c.p.a.mov(ecx, ROUNDS)?;
    c.p.a.mov(esi, BUFFER)?;
    c.p.a.set_label(&mut again)?;
    c.p.a.clflush(byte_ptr(rsi))?;
    c.p.a.add(rsi, 64)?;
    c.p.a.loop_(again)
}

fn all_at_once(c: &mut Checks<'_>, measure: CodeLabel) -> Result<(), IcedError> {
    for (n, (_, event, ..)) in (0..GENERAL).zip(EVENTS.iter().cycle()) {
        c.p.wrmsr(SELECT + n, event | ON)?;
        c.p.wrmsr(FULL + n, 0)?;
    }
    for n in 0..4 {
        c.p.wrmsr(0x309 + n, 0)?;
    }
    c.p.wrmsr(0x38d, 0x3333)?;
    flush(c)?;
    measure_with(c, measure, 0xf_0000_00ff)?;
    c.p.a.xor(ebx, ebx)?;
    for (n, (_, _, least, most)) in (0..GENERAL).zip(EVENTS.into_iter().cycle()) {
        read(c, n)?;
        count_within(c, least, most)?;
    }
    c.p.a.mov(r12, rbx)?;
    c.expect("all general counters at once", GENERAL.into())?;
    c.p.a.xor(ebx, ebx)?;
    for (n, (least, most)) in (0u32..).zip([
        (INSTRUCTIONS, INSTRUCTIONS),
        (INSTRUCTIONS / 10, 30 * INSTRUCTIONS),
        (INSTRUCTIONS / 10, 30 * INSTRUCTIONS),
        (INSTRUCTIONS, 60 * INSTRUCTIONS),
    ]) {
        read(c, 1 << 30 | n)?;
        count_within(c, least, most)?;
    }
    c.p.a.mov(r12, rbx)?;
    c.expect("all fixed counters at once", 4)?;
    c.p.wrmsr(0x38d, 0)?;
    for n in 0..GENERAL {
        c.p.wrmsr(SELECT + n, 0)?;
    }
    Ok(())
}

/// One short of what it counts: it ends at 1 with its status bit set, and interrupts if it is told to.
fn overflow(
    c: &mut Checks<'_>,
    measure: CodeLabel,
    name: &str,
    (counter, control, on): (u32, u32, u64),
    bit: u64,
    interrupts: bool,
) -> Result<(), IcedError> {
    let asks = if !interrupts {
        0
    } else if bit < 32 {
        INT
    } else {
        8
    };
    c.p.a.mov(edi, APIC)?;
    c.p.a.mov(dword_ptr(rdi + 0x340), VECTOR)?;
    c.p.a.xor(ebp, ebp)?;
    c.p.wrmsr(counter, (1 << 48) - (INSTRUCTIONS - 1))?;
    c.p.wrmsr(control, on | asks)?;
    measure_with(c, measure, 1 << bit)?;
    read_msr(c, counter)?;
    c.expect(&format!("{name} one short ends at 1"), 1)?;
    read_msr(c, STATUS)?;
    c.expect(&format!("{name} has its status bit"), 1 << bit)?;
    // The request is kept though the bit is cleared before interrupts are let in.
    c.p.wrmsr(RESET, 1 << bit)?;
    read_msr(c, STATUS)?;
    c.expect(&format!("{name} has its status bit cleared"), 0)?;
    c.let_in()?;
    c.p.a.mov(r12, rbp)?;
    c.expect(&format!("{name} interrupts {}", if interrupts { "once" } else { "not" }), interrupts.into())?;
    c.p.wrmsr(control, 0)
}

fn counter_mask(c: &mut Checks<'_>, measure: CodeLabel) -> Result<(), IcedError> {
    c.p.wrmsr(SELECT, 0xc0 | ON | 2 << 24)?;
    c.p.wrmsr(FULL, 0)?;
    measure_with(c, measure, 1)?;
    read(c, 0)?;
    c.p.a.xor(ebx, ebx)?;
    count_within(c, 0, INSTRUCTIONS - 1)?;
    c.p.a.mov(r12, rbx)?;
    c.expect("a mask of two counts fewer than all instructions", 1)
}

fn written_while_counting(c: &mut Checks<'_>, measure: CodeLabel) -> Result<(), IcedError> {
    c.p.wrmsr(SELECT, 0xc0 | ON)?;
    c.p.wrmsr(FULL, 0)?;
    c.p.wrmsr(GLOBAL_CTRL, 1)?;
    measure_with(c, measure, 1)?;
    c.p.wrmsr(GLOBAL_CTRL, 1)?;
    c.p.wrmsr(FULL, 0)?;
    c.p.wrmsr(GLOBAL_CTRL, 0)?;
    read(c, 0)?;
    c.expect("zero written while counting: only what stops it is counted", 4)?;
    c.p.wrmsr(GLOBAL_CTRL, 1)?;
    c.p.wrmsr(0xc1, u64::MAX)?;
    c.p.wrmsr(GLOBAL_CTRL, 0)?;
    read_msr(c, STATUS)?;
    c.expect("-1 written while counting overflows", 1)?;
    read(c, 0)?;
    c.expect("and counts on from zero", 3)
}
