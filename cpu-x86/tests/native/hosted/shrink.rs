//! Mismatches made plain, and written as `vectors` reads them.

use super::suite::{Bench, Verdict};
use crate::state::{Case, Memory, Outcome, State, cell, name};
use crate::vectors::instruction;
use std::fmt::Write;

/// Makes a case that differs as plain as possible, and gives it as text with its difference.
pub fn shrunk(bench: &mut Bench, c: &Case, mut why: String) -> String {
    let i = instruction(c);
    let mut c = c.clone();
    let mut differs = |c: &Case, why: &mut String| match bench.try_case(c, &i) {
        Verdict::Differ(d, theirs) => {
            *why = d;
            Some(theirs)
        }
        _ => None,
    };
    let mut expected = None;
    let plain = State::new();
    let fixed = [cell::RIP, cell::SEG + 1, cell::SEG + 2, 4, cell::CW, cell::SW];
    for n in (0..cell::VECTOR).filter(|n| !fixed.contains(n)).rev() {
        let old = c.state.0[n];
        let always = if n == cell::FLAGS { 0x202 } else { 0 };
        for v in [plain.0[n], 0, 1, old & 0xff, old & 0xffff, old & 0xffff_ffff].map(|v| v | always) {
            if c.state.0[n] == v {
                break;
            }
            let before = std::mem::replace(&mut c.state.0[n], v);
            if let Some(theirs) = differs(&c, &mut why) {
                expected = Some(theirs);
                break;
            }
            c.state.0[n] = before;
        }
    }
    // The first says where the operand is.
    for n in (1..c.patches.len()).rev() {
        let patch = c.patches.remove(n);
        match differs(&c, &mut why) {
            Some(theirs) => expected = Some(theirs),
            None => c.patches.insert(n, patch),
        }
    }
    if std::mem::replace(&mut c.noise, false) && differs(&c, &mut why).is_none() {
        c.noise = true;
    }
    expected = differs(&c, &mut why).or(expected);
    let text = expected.map_or_else(|| "it did not repeat".into(), |theirs| text(&c, &theirs));
    if let (Ok(folder), true) = (std::env::var("NATIVE_VECTORS"), text.contains("bytes")) {
        let at = format!("{folder}/{:?}_{}.txt", i.code(), c.bits);
        std::fs::write(&at, &text).unwrap_or_else(|e| panic!("{at}: {e}"));
    }
    format!("{why}\n{text}")
}

/// The case and what the host made of it.
pub fn text(c: &Case, theirs: &Outcome) -> String {
    let hex = |b: &[u8]| b.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let mut out = format!("# {:?}\nbits {}\nat {:#x}\nbytes {}\n", instruction(c).code(), c.bits, c.at, hex(&c.bytes));
    let plain = State::new();
    for n in (0..cell::VECTOR).filter(|n| c.state.0[*n] != plain.0[*n]) {
        let _ = writeln!(out, "in {} {:#x}", name(n), c.state.0[n]);
    }
    if c.noise {
        out += "noise\n";
    }
    let mut memory = Memory::new(c.noise);
    for (at, bytes) in &c.patches {
        let _ = writeln!(out, "patch {at:#x} {}", hex(bytes));
        memory.patch(*at, bytes);
    }
    for n in (0..cell::COUNT).filter(|n| c.state.0[*n] != theirs.state.0[*n]) {
        let _ = writeln!(out, "out {} {:#x}", name(n), theirs.state.0[n]);
    }
    for (at, _, b) in memory.differences(&theirs.memory) {
        let _ = writeln!(out, "wrote {at:#x} {b:02x}");
    }
    out
}
