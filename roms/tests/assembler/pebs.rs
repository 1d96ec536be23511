//! Lesson 15: PEBS: which instruction is sampled, when the buffer's threshold tells, and what a full buffer does.
//!
//! 35 NOPs of a byte and the four instructions of the stop are counted: 39. Counter 0 samples the instruction that
//! overflows: the 10th, 20th, 30th. Counter 1 samples the next one, and starts anew there: the 11th, 22nd, 33rd.

use super::Program;
use super::measure::stop;
use iced_x86::code_asm::*;

/// The debug store, and its buffer.
const AREA: u32 = 0x2_0000;
const BUFFER: u32 = 0x2_1000;
/// Bytes of a basic record.
const RECORD: u32 = 32;
const NOPS: usize = 35;
const PERIOD: u64 = 10;
const MINUS_PERIOD: i32 = -10;

/// One run: the counter, after how many records the buffer tells, and how many it has room for.
struct Run {
    counter: u32,
    threshold: u32,
    room: u32,
}

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    p.print("lesson 15: PEBS\n")?;
    p.wrmsr(0x38f, 0)?;
    p.wrmsr(0x600, AREA.into())?;
    p.wrmsr(0x3f2, 0)?;
    let left = |last: u64| (1 << 48) - PERIOD + 39 - last;
    run(p, &Run { counter: 0, threshold: 2, room: 100 })?;
    report_bytes(p, "counter0.bytes", 3 * RECORD)?;
    report_first(p, "counter0.first", 10 - 1)?;
    p.report_counter("counter0.value", left(30), 0)?;
    p.report_msr("threshold_at_2.status", 1 << 62, 0x38e)?;
    p.wrmsr(0x390, 1 << 62)?;
    run(p, &Run { counter: 1, threshold: 4, room: 100 })?;
    report_bytes(p, "counter1.bytes", 3 * RECORD)?;
    report_first(p, "counter1.first", 11 - 1)?;
    p.report_counter("counter1.value", left(33), 1)?;
    p.report_msr("threshold_at_4.status", 0, 0x38e)?;
    // Room for two: the third is dropped without a sign, and the counter starts anew all the same.
    run(p, &Run { counter: 0, threshold: 4, room: 2 })?;
    report_bytes(p, "room_for_2.bytes", 2 * RECORD)?;
    p.report_msr("room_for_2.status", 0, 0x38e)?;
    p.report_counter("room_for_2.value", left(30), 0)?;
    p.end()
}

fn run(p: &mut Program, r: &Run) -> Result<(), IcedError> {
    for (field, v) in
        [(0x20, BUFFER), (0x28, BUFFER), (0x30, BUFFER + r.room * RECORD), (0x38, BUFFER + r.threshold * RECORD)]
    {
        p.a.mov(qword_ptr(AREA + field), v as i32)?;
    }
    p.a.mov(qword_ptr(AREA + 0x40 + 8 * r.counter), MINUS_PERIOD)?;
    p.wrmsr(0x186 + r.counter, 0x43_00c0)?;
    p.wrmsr(0x4c1 + r.counter, (1 << 48) - PERIOD)?;
    p.wrmsr(0x3f1, 1 << r.counter)?;
    // RBP: where the counted instructions begin.
    let mut begin = p.a.create_label();
    p.a.lea(rbp, ptr(begin))?;
    p.wrmsr(0x38f, 1 << r.counter)?;
    p.a.set_label(&mut begin)?;
    for _ in 0..NOPS {
        p.a.nop()?;
    }
    stop(p)?;
    p.wrmsr(0x3f1, 0)
}

fn report_bytes(p: &mut Program, name: &str, expected: u32) -> Result<(), IcedError> {
    p.a.mov(r12, qword_ptr(AREA + 0x28))?;
    p.a.sub(r12, BUFFER as i32)?;
    p.report_r12(name, expected.into())
}

/// How many instructions lie before the first one sampled.
fn report_first(p: &mut Program, name: &str, expected: u64) -> Result<(), IcedError> {
    p.a.mov(r12, qword_ptr(BUFFER + 8))?;
    p.a.sub(r12, rbp)?;
    p.report_r12(name, expected)
}
