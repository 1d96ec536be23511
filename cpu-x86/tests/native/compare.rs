//! What counts as a difference: everything, but for undefined flags and what the reviewed list of masks excuses.

use crate::state::{Case, Outcome, cell, name};
use iced_x86::{Code, Instruction, RflagsBits};
use std::ops::Range;

/// The reviewed list: where makers differ, or the host cannot tell.
pub const MASKS: &str = include_str!("masks.txt");

/// A line of the list: for which mnemonics or codes, in which mode, what is not compared.
pub struct Mask {
    names: Vec<String>,
    bits: Option<u32>,
    what: Vec<String>,
}

/// The list, and which of its lines are for each code.
pub struct Masks {
    lines: Vec<Mask>,
    of: Vec<Vec<usize>>,
}

impl Masks {
    /// Reads the list.
    pub fn new() -> Masks {
        let lines = masks();
        let covering = |c| lines.iter().enumerate().filter(move |(_, m)| m.covers(c)).map(|(n, _)| n).collect();
        let of = Code::values().map(covering).collect();
        Masks { lines, of }
    }
}

/// Reads the list: `names | bits or * | what | reason`, a line each.
fn masks() -> Vec<Mask> {
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
    fn covers(&self, code: Code) -> bool {
        let (mnemonic, code) = (format!("{:?}", code.mnemonic()), format!("{code:?}"));
        let named =
            |n: &String| *n == mnemonic || *n == code || n.strip_suffix('*').is_some_and(|p| mnemonic.starts_with(p));
        self.names.iter().any(named)
    }
}

/// What is not compared for one instruction.
#[derive(Default)]
pub struct Excused {
    pub whole: bool,
    /// TF shall not be set.
    pub no_step: bool,
    flags: u64,
    cells: Vec<(usize, u64)>,
    memory: Vec<(u64, u64)>,
    /// Cells of a mask in a vector register of which, after a fault, only these bits are compared.
    signs: Option<(Range<usize>, u64)>,
    keys: Vec<String>,
}

impl Excused {
    fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|k| k == key)
    }

    fn add(&mut self, what: &str, i: &Instruction) {
        let (key, value) = what.split_once('=').unwrap_or((what, ""));
        let number = |v: &str| u64::from_str_radix(v.trim_start_matches("0x"), 16).unwrap_or_else(|_| panic!("{what}"));
        match key {
            "all" => self.whole = true,
            "signs" if i.op2_register().is_vector_register() => {
                let bits = if i.memory_size().element_size() == 8 { 1 << 63 } else { 0x8000_0000_8000_0000 };
                let at = cell::VEC + 8 * i.op2_register().number();
                self.signs = Some((at..at + i.op2_register().size() / 8, bits));
            }
            "signs" => {}
            "notf" => self.no_step = true,
            "flags" => self.flags |= number(value),
            "order" | "fault" | "mask0" | "ours" | "ulp" | "below" | "slot" => self.keys.push(key.to_owned()),
            "dest" => self.cells.push((i.op0_register().full_register().number(), number(value))),
            "memory" => {
                let (from, to) = value.split_once('-').unwrap_or_else(|| panic!("{what}"));
                self.memory.push((number(from), number(to)));
            }
            _ => {
                let n = crate::state::cell_named(key).unwrap_or_else(|| panic!("{what}"));
                self.cells.push((n, if value.is_empty() { !0 } else { number(value) }));
            }
        }
    }
}

/// What the list and the definition of `i` excuse.
pub fn excused(list: &Masks, i: &Instruction, bits: u32) -> Excused {
    let mut e = Excused { flags: !(defined(i) | 0x25_4300), ..Excused::default() };
    let lines = list.of[i.code() as usize].iter().map(|n| &list.lines[*n]);
    lines.filter(|m| m.bits.is_none_or(|b| b == bits)).flat_map(|m| &m.what).for_each(|what| e.add(what, i));
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

/// Does only the base of FS or GS make the operand's address canonical? AMD asks for a canonical offset too and raises
/// #GP; Intel asks for that of the linear address alone (SDM vol. 1, 3.3.7.1).
pub fn is_canonical_by_base(c: &Case, i: &Instruction) -> bool {
    use iced_x86::{Mnemonic, OpKind, Register};
    if c.bits != 64 || !matches!(i.memory_segment(), Register::FS | Register::GS) {
        return false;
    }
    let Some(linear) = crate::draw::address(c, i) else { return false };
    let base = c.state.0[if i.memory_segment() == Register::FS { cell::FS_BASE } else { cell::GS_BASE }];
    // The register of a bit test goes beyond the operand.
    let bits = matches!(i.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc)
        && i.op1_kind() == OpKind::Register;
    let beyond = if bits {
        let (v, bytes) = (c.state.0[i.op1_register().full_register().number()], i.op1_register().size() as u32);
        let unused = 64 - 8 * bytes;
        ((v << unused) as i64 >> unused >> 3) as u64 & u64::from(bytes).wrapping_neg()
    } else {
        0
    };
    let linear = linear.wrapping_add(beyond);
    let canonical = |at: u64| (at as i64) << 16 >> 16 == at as i64;
    canonical(linear) && !canonical(linear.wrapping_sub(base))
}

/// Did the instruction of `c` fault, rather than what is behind it?
fn faulted(c: &Case, o: &Outcome) -> Option<u64> {
    let same = [cell::RIP, cell::SEG + 1].iter().all(|n| o.state.0[*n] == c.state.0[*n]);
    same.then_some(o.state.0[cell::VECTOR])
}

/// Is the difference between two faults, or between a fault and none, one that the list excuses?
fn fault_excused(c: &Case, e: &Excused, ours: &Outcome, theirs: &Outcome) -> bool {
    const GP: u64 = 13;
    const PF: u64 = 14;
    const SS: u64 = 12;
    const AC: u64 = 17;
    match (faulted(c, ours), faulted(c, theirs)) {
        (Some(a), Some(b)) => {
            let early = |v| matches!(v, PF | AC | SS);
            e.has("fault") || e.has("order") && (early(a) || early(b)) || e.has("ours")
        }
        (Some(GP | PF | AC | SS), None) => e.has("ours"),
        (None, Some(GP | PF | AC | SS)) => e.has("mask0"),
        _ => false,
    }
}

/// Is what `o` left of `c` not compared as a whole: a fault that may differ, memory that may, or a last place?
pub fn is_loose(c: &Case, e: &Excused, o: &Outcome) -> bool {
    let loose = ["order", "fault", "ours", "below"].iter().any(|key| e.has(key));
    faulted(c, o).is_some() && loose || !e.memory.is_empty() || ["ulp", "slot", "mask0"].iter().any(|key| e.has(key))
}

/// The bits of cell `n` to compare.
pub fn compared(c: &Case, e: &Excused, theirs: &Outcome, n: usize) -> u64 {
    let narrow = c.bits != 64;
    let narrowed = narrow || theirs.state.0[cell::SEG + 1] != 0x33;
    let mask = e.cells.iter().filter(|(m, _)| *m == n).fold(!0, |m, (_, not)| m & !not);
    match n {
        cell::FLAGS => mask & !e.flags,
        _ if e.signs.as_ref().is_some_and(|(cells, _)| cells.contains(&n)) && faulted(c, theirs).is_some() => {
            mask & e.signs.as_ref().map_or(!0, |(_, signs)| *signs)
        }
        // In 16- and 32-bit code the upper halves of registers, and the registers that it cannot name, are undefined.
        0..=7 if narrowed => mask & 0xffff_ffff,
        8..=15 if narrowed => 0,
        cell::FS_BASE | cell::GS_BASE if narrow => 0,
        // The kernel shows faults beyond TASK_SIZE_MAX as if a page were there. Source: Linux arch/x86/mm/fault.c.
        cell::ERROR if theirs.state.0[cell::CR2] >= 0x7fff_ffff_f000 => mask & !1,
        _ => mask,
    }
}

/// Where two outcomes of `c` differ, but for what is excused.
pub fn difference(c: &Case, i: &Instruction, e: &Excused, ours: &Outcome, theirs: &Outcome) -> Option<String> {
    use std::fmt::Write;
    if fault_excused(c, e, ours, theirs) {
        return None;
    }
    let mut out = String::new();
    for n in 0..cell::COUNT {
        let (mut a, mut b) = (ours.state.0[n], theirs.state.0[n]);
        if a == b {
            continue;
        }
        let mask = compared(c, e, theirs, n);
        (a, b) = (a & mask, b & mask);
        // The return from the host's kernel makes all null selectors 0 (SDM vol. 2A, IRET).
        let null = (cell::SEG..cell::SEG + 6).contains(&n) && a < 4 && b < 4;
        if a != b && !null && !(e.has("ulp") && (cell::ST..cell::K).contains(&n) && near(ours, theirs, n)) {
            let _ = write!(out, " {}: {a:#x}, native {b:#x};", name(n));
        }
    }
    let bytes = ours.memory.differences(&theirs.memory);
    let base = crate::draw::address(c, i).unwrap_or(0);
    let below = e.has("below") && faulted(c, theirs).is_some();
    let stack = crate::draw::stack(c);
    let masked = |at: u64| {
        let image = e.memory.iter().any(|(from, to)| (*from..*to).contains(&at.wrapping_sub(base)));
        let slot = e.has("slot") && (stack.wrapping_sub(2)..stack).contains(&at);
        // A transfer to code that is not 64-bit uses ESP.
        let under = |sp: u64| (sp.wrapping_sub(64)..sp).contains(&at);
        image || slot || below && (under(stack) || under(stack & 0xffff_ffff))
    };
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
