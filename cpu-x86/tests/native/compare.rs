//! What counts as a difference: everything, but for undefined flags and what the reviewed list of masks excuses.

use crate::state::{Case, Outcome, cell, name};
use iced_x86::{Instruction, RflagsBits};

/// The reviewed list: where makers differ, or the host cannot tell.
pub const MASKS: &str = include_str!("masks.txt");

/// A line of the list: for which mnemonics or codes, in which mode, what is not compared.
pub struct Mask {
    names: Vec<String>,
    bits: Option<u32>,
    what: Vec<String>,
}

/// Reads the list: `names | bits or * | what | reason`, a line each.
pub fn masks() -> Vec<Mask> {
    let lines = MASKS.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
    lines
        .map(|line| {
            let mut part = line.split('|').map(str::trim);
            let mut next = || part.next().unwrap_or_else(|| panic!("four parts: {line}"));
            let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let (names, bits, what, reason) = (list(next()), next(), list(next()), next());
            assert!(!reason.is_empty() && !what.is_empty(), "{line}");
            Mask { names, bits: bits.parse().ok(), what }
        })
        .collect()
}

impl Mask {
    fn covers(&self, i: &Instruction, bits: u32) -> bool {
        let (mnemonic, code) = (format!("{:?}", i.mnemonic()), format!("{:?}", i.code()));
        let named = |n: &String| {
            *n == mnemonic || *n == code || n == "*" || n.strip_suffix('*').is_some_and(|p| mnemonic.starts_with(p))
        };
        self.bits.is_none_or(|b| b == bits) && self.names.iter().any(named)
    }
}

/// What is not compared for one instruction.
#[derive(Default)]
pub struct Excused {
    pub whole: bool,
    flags: u64,
    cells: Vec<(usize, u64)>,
    memory: Option<(u64, u64)>,
    ulp: bool,
    fault: bool,
}

/// What the list and the definition of `i` excuse.
pub fn excused(list: &[Mask], i: &Instruction, bits: u32) -> Excused {
    let mut e = Excused { flags: !(defined(i) | 0x25_4300), ..Excused::default() };
    for what in list.iter().filter(|m| m.covers(i, bits)).flat_map(|m| &m.what) {
        let (key, value) = what.split_once('=').unwrap_or((what, ""));
        let number = |v: &str| u64::from_str_radix(v.trim_start_matches("0x"), 16).unwrap_or_else(|_| panic!("{what}"));
        match key {
            "all" => e.whole = true,
            "flags" => e.flags |= number(value),
            "fault" => e.fault = true,
            "ulp" => e.ulp = true,
            "memory" => {
                let (from, to) = value.split_once('-').unwrap_or_else(|| panic!("{what}"));
                e.memory = Some((number(from), number(to)));
            }
            _ => {
                let n = crate::state::cell_named(key).unwrap_or_else(|| panic!("{what}"));
                e.cells.push((n, if value.is_empty() { !0 } else { number(value) }));
            }
        }
    }
    e
}

/// The status flags that `i` defines.
fn defined(i: &Instruction) -> u64 {
    let u = i.rflags_undefined();
    let bits = [
        (RflagsBits::OF, 11),
        (RflagsBits::SF, 7),
        (RflagsBits::ZF, 6),
        (RflagsBits::AF, 4),
        (RflagsBits::CF, 0),
        (RflagsBits::PF, 2),
    ];
    bits.iter().filter(|(b, _)| u & b != 0).fold(0xcd5, |m, (_, at)| m & !(1 << at))
}

/// Is the whole result undefined? SHLD and SHRD of 16 bits by more than 16 (SDM vol. 2); BSF and BSR of zero are as
/// Intel documents them now: the destination is kept.
pub fn undefined(c: &Case, i: &Instruction) -> bool {
    use iced_x86::{Mnemonic, OpKind};
    let count = if i.op2_kind() == OpKind::Immediate8 { i.immediate8() } else { c.state.0[1] as u8 };
    matches!(i.mnemonic(), Mnemonic::Shld | Mnemonic::Shrd) && i.op1_register().is_gpr16() && count & 31 > 16
}

/// Where two outcomes of `c` differ, but for what is excused.
pub fn difference(c: &Case, e: &Excused, ours: &Outcome, theirs: &Outcome) -> Option<String> {
    use std::fmt::Write;
    let mut out = String::new();
    // In 16- and 32-bit code the upper halves of registers, and the registers that it cannot name, are undefined.
    let narrow = c.bits != 64;
    let far = ours.state.0[cell::SEG + 1] == 0x33;
    if e.fault
        && ours.state.0[cell::VECTOR] == theirs.state.0[cell::VECTOR]
        && ours.state.0[cell::RIP] == c.state.0[cell::RIP]
    {
        return None;
    }
    for n in 0..cell::COUNT {
        let (mut a, mut b) = (ours.state.0[n], theirs.state.0[n]);
        if a == b {
            continue;
        }
        let mut mask = e.cells.iter().filter(|(m, _)| *m == n).fold(!0, |m, (_, not)| m & !not);
        match n {
            cell::FLAGS => mask &= !e.flags,
            0..=15 if narrow && !far => mask &= if n < 8 { 0xffff_ffff } else { 0 },
            cell::FS_BASE | cell::GS_BASE if narrow => mask = 0,
            // The kernel shows faults on its own half as if a page were there. Source: Linux arch/x86/mm/fault.c.
            cell::ERROR if theirs.state.0[cell::CR2] >> 47 != 0 => mask &= !1,
            _ => {}
        }
        (a, b) = (a & mask, b & mask);
        if a != b && !(e.ulp && (cell::ST..cell::K).contains(&n) && near(ours, theirs, n)) {
            let _ = write!(out, " {}: {a:#x}, native {b:#x};", name(n));
        }
    }
    let bytes = ours.memory.differences(&theirs.memory);
    let base = c.patches.iter().map(|p| p.0).find(|_| e.memory.is_some()).unwrap_or(0);
    let masked = |at: u64| e.memory.is_some_and(|(from, to)| (from..to).contains(&at.wrapping_sub(base)));
    for (at, a, b) in bytes.iter().filter(|(at, _, _)| !masked(*at)).take(6) {
        let _ = write!(out, " [{at:#x}]: {a:#x}, native {b:#x};");
    }
    (!out.is_empty()).then_some(out)
}

/// Do the extended reals of cell `n` differ by no more than the last place?
fn near(ours: &Outcome, theirs: &Outcome, n: usize) -> bool {
    let at = cell::ST + (n - cell::ST) / 2 * 2;
    let key = |o: &Outcome| {
        let (significand, rest) = (o.state.0[at], o.state.0[at + 1]);
        let field = i128::from(rest & 0x7fff);
        let magnitude =
            if field == 0 { i128::from(significand) } else { field << 63 | i128::from(significand << 1 >> 1) };
        if rest & 0x8000 != 0 { -magnitude } else { magnitude }
    };
    (key(ours) - key(theirs)).abs() <= 1
}
