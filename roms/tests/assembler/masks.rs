//! Lesson 12: counter mask, inversion and edge, on eight counters over the same loop.
//!
//! An instruction takes a cycle in this model, so a cycle holds one instruction, its load or none, and six slots.

use super::Program;
use super::measure::{STOP, stop};
use iced_x86::code_asm::*;

const ROUNDS: u32 = 10;
/// In all rings, enabled.
const ON: u64 = 0x43_0000;
const INV: u64 = 1 << 23;
const EDGE: u64 = 1 << 18;
const INSTRUCTIONS: u64 = 0xc0;
const LOADS: u64 = 0x81d0;
const SLOTS: u64 = 0x01a4;
const PAUSE: u64 = 0x40ec;

/// CMASK.
const fn at_least(n: u64) -> u64 {
    n << 24
}

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    let mut again = p.a.create_label();
    // A MOV, five instructions a round, the four of the stop.
    let (n, rounds) = (1 + 5 * u64::from(ROUNDS) + STOP, u64::from(ROUNDS));
    let rows = [
        ("instructions", INSTRUCTIONS, n),
        ("instructions.cmask1", INSTRUCTIONS | at_least(1), n),
        ("instructions.cmask2", INSTRUCTIONS | at_least(2), 0),
        ("instructions.cmask2.inv", INSTRUCTIONS | at_least(2) | INV, n),
        ("slots.cmask6", SLOTS | at_least(6), n),
        ("loads.cmask1", LOADS | at_least(1), rounds),
        ("loads.cmask1.inv", LOADS | at_least(1) | INV, n - rounds),
        ("pause.cmask1.edge", PAUSE | at_least(1) | EDGE, rounds),
    ];
    p.print("lesson 12: cmask, inv, edge\n")?;
    p.wrmsr(0x38f, 0)?;
    for (counter, (_, select, _)) in (0..).zip(rows) {
        p.wrmsr(0x186 + counter, select | ON)?;
        p.wrmsr(0x4c1 + counter, 0)?;
    }
    p.wrmsr(0x38f, 0xff)?;
    p.a.mov(ebx, ROUNDS)?;
    p.a.set_label(&mut again)?;
    p.a.mov(rsi, qword_ptr(rsp))?;
    p.a.nop()?;
    p.a.pause()?;
    p.a.dec(ebx)?;
    p.a.jnz(again)?;
    stop(p)?;
    for (counter, (name, _, expected)) in (0..).zip(rows) {
        p.report_counter(name, expected, counter)?;
    }
    p.end()
}
