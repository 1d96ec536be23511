//! Kernel stacks by ORC: for every address of the kernel, how its caller's stack pointer and frame pointer are found.
//!
//! Two tables in the kernel's memory: where each entry begins, as a 32-bit offset from the table's own place, in order; and
//! the entries, of six bytes: the offsets of the two pointers, and from what each counts. Source: Linux
//! `Documentation/arch/x86/orc-unwinder.rst`, `arch/x86/include/asm/orc_types.h` (the kinds were renumbered in 6.4),
//! `arch/x86/kernel/unwind_orc.c`, `arch/x86/include/asm/ptrace.h` (registers on the stack).

use super::kallsyms::Symbol;
use super::space::Space;
use crate::load::bytes;

/// No kernel has more entries.
const MOST_ENTRIES: u64 = 1 << 22;
const ENTRY_BYTES: usize = 6;
/// Addresses with this bit are the kernel's.
const KERNEL: u64 = 1 << 63;

/// From what an offset counts.
mod base {
    pub const PREVIOUS_SP: u16 = 1;
    pub const DX: u16 = 2;
    pub const DI: u16 = 3;
    pub const BP: u16 = 4;
    pub const SP: u16 = 5;
    pub const R10: u16 = 6;
    pub const R13: u16 = 7;
    pub const BP_INDIRECT: u16 = 8;
    pub const SP_INDIRECT: u16 = 9;
}

/// Where registers lie in the kernel's `pt_regs`, and the parts that an interrupt itself pushes.
mod saved {
    pub const BP: u64 = 32;
    pub const IP: u64 = 128;
    pub const CS: u64 = 136;
    pub const SP: u64 = 152;
}

/// What lies at a frame's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing more.
    End,
    /// A return address.
    Call,
    /// All registers.
    Registers,
    /// What an interrupt pushes.
    Interrupt,
}

/// The registers that unwinding begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Address of the next instruction.
    pub ip: u64,
    /// RSP.
    pub sp: u64,
    /// RBP.
    pub bp: u64,
    /// RDX, RDI, R10, R13.
    pub others: [u64; 4],
}

/// A stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unwound {
    /// Callers in the kernel, innermost first, without the address it began at.
    pub kernel: Vec<u64>,
    /// Where the kernel was entered from user mode: address and RBP, when the stack leads there.
    pub user: Option<(u64, u64)>,
}

/// The tables of a kernel.
pub struct Orc {
    /// Linear address of the first table.
    at: u64,
    places: Vec<u8>,
    entries: Vec<u8>,
    /// Are kinds numbered as in 6.4 and later?
    late: bool,
}

impl Orc {
    /// The tables in memory; `None` where the kernel has none.
    pub fn find(symbols: &[Symbol], space: &Space<'_>) -> Option<Orc> {
        let address = |name: &str| symbols.iter().find(|s| s.name == name).map(|s| s.address);
        let (at, end) = (address("__start_orc_unwind_ip")?, address("__stop_orc_unwind_ip")?);
        let count = (end.checked_sub(at)? / 4).min(MOST_ENTRIES) as usize;
        let (mut places, mut entries) = (vec![0; 4 * count], vec![0; ENTRY_BYTES * count]);
        let there = space.read(at, &mut places) && space.read(address("__start_orc_unwind")?, &mut entries);
        there.then(|| Orc::new(at, places, entries))
    }

    fn new(at: u64, places: Vec<u8>, entries: Vec<u8>) -> Orc {
        let mut orc = Orc { at, places, entries, late: false };
        // Most entries are calls: kind 0 at first, 2 from 6.4 on.
        let kinds = |kind: u16| (0..orc.entries.len() / ENTRY_BYTES).filter(|n| orc.flags(*n) >> 8 & 3 == kind).count();
        orc.late = kinds(2) > kinds(0);
        orc
    }

    fn flags(&self, n: usize) -> u16 {
        bytes::u16(&self.entries, ENTRY_BYTES * n + 4).unwrap_or(0)
    }

    fn place(&self, n: usize) -> u64 {
        let offset = bytes::u32(&self.places, 4 * n).unwrap_or(0) as i32;
        self.at.wrapping_add(4 * n as u64).wrapping_add(offset as i64 as u64)
    }

    /// The entry for `ip`.
    fn entry(&self, ip: u64) -> Option<Entry> {
        let (mut low, mut high) = (0, self.places.len() / 4);
        while low < high {
            let middle = (low + high) / 2;
            if self.place(middle) <= ip { low = middle + 1 } else { high = middle }
        }
        let n = low.checked_sub(1)?;
        let offset = |k: usize| bytes::u16(&self.entries, ENTRY_BYTES * n + 2 * k).map(|v| i64::from(v as i16));
        let flags = self.flags(n);
        let kind = match (self.late, flags >> 8 & 7) {
            (false, 4..) | (true, 0 | 1 | 5..) => Kind::End,
            (false, 0) | (true, 2) => Kind::Call,
            (false, 1) | (true, 3) => Kind::Registers,
            _ => Kind::Interrupt,
        };
        Some(Entry { sp: (flags & 15, offset(0)?), bp: (flags >> 4 & 15, offset(1)?), kind })
    }

    /// Follows the stack, at most `most` frames.
    pub fn unwind(&self, start: &Start, space: &Space<'_>, most: usize) -> Unwound {
        let mut found = Unwound::default();
        let mut here = *start;
        // Behind a call the return address may belong to the next function already.
        let mut exact = true;
        while found.kernel.len() < most && here.ip & KERNEL != 0 {
            let at = if exact { here.ip } else { here.ip - 1 };
            let Some((entry, next)) = self.entry(at).and_then(|e| e.step(&here, space).map(|next| (e, next))) else {
                break;
            };
            if next.ip & KERNEL == 0 {
                let whole = entry.kind == Kind::Registers && next.ip != 0;
                found.user = whole.then_some((next.ip, next.bp));
                break;
            }
            // A stack grows towards its callers.
            if entry.kind == Kind::Call && entry.sp.0 == base::SP && next.sp <= here.sp {
                break;
            }
            exact = entry.kind != Kind::Call;
            here = next;
            found.kernel.push(here.ip);
        }
        found
    }
}

/// An entry: from what the caller's stack pointer and frame pointer are counted, how far, and what lies there.
#[derive(Clone, Copy, Debug)]
struct Entry {
    sp: (u16, i64),
    bp: (u16, i64),
    kind: Kind,
}

impl Entry {
    /// The caller's registers; `None`: the stack ends.
    fn step(&self, here: &Start, space: &Space<'_>) -> Option<Start> {
        let plus = |v: u64, offset: i64| v.wrapping_add(offset as u64);
        let (of, offset) = self.sp;
        let end = match of {
            base::SP => plus(here.sp, offset),
            base::BP => plus(here.bp, offset),
            base::SP_INDIRECT => plus(space.u64(here.sp)?, offset),
            base::BP_INDIRECT => space.u64(plus(here.bp, offset))?,
            base::DX => here.others[0],
            base::DI => here.others[1],
            base::R10 => here.others[2],
            base::R13 => here.others[3],
            _ => return None,
        };
        if end & KERNEL == 0 {
            return None;
        }
        let bp = match self.bp.0 {
            base::PREVIOUS_SP => space.u64(plus(end, self.bp.1)).unwrap_or(0),
            base::BP => space.u64(plus(here.bp, self.bp.1)).unwrap_or(0),
            _ => here.bp,
        };
        // The other registers are known of the innermost frame only.
        let caller = |ip, sp, bp| Some(Start { ip, sp, bp, others: [0; 4] });
        match self.kind {
            Kind::End => None,
            Kind::Call => caller(space.u64(end.wrapping_sub(8))?, end, bp),
            Kind::Registers => registers(end, space).and_then(|(ip, sp, bp)| caller(ip, sp, bp)),
            Kind::Interrupt => registers(end.wrapping_sub(saved::IP), space).and_then(|(ip, sp, _)| caller(ip, sp, bp)),
        }
    }
}

/// IP, SP and BP of the registers at `at`.
fn registers(at: u64, space: &Space<'_>) -> Option<(u64, u64, u64)> {
    let field = |offset: u64| space.u64(at.wrapping_add(offset));
    field(saved::CS)?;
    Some((field(saved::IP)?, field(saved::SP)?, field(saved::BP).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::super::space::tests::{BASE, put, tables};
    use super::*;

    /// Linear address of the stack: the large page.
    const STACK: u64 = BASE + 0x20_0000;
    const TEXT: u64 = 0xffff_ffff_8100_0000;

    /// Entries at TEXT + 0x100 n.
    fn orc(late: bool, entries: &[(i16, i16, u16, u16, u16)]) -> Orc {
        let at = TEXT + 0x10_0000;
        let (mut places, mut all) = (Vec::new(), Vec::new());
        for (n, (sp, bp, sp_base, bp_base, kind)) in entries.iter().enumerate() {
            let offset = (TEXT + 0x100 * n as u64).wrapping_sub(at + 4 * n as u64) as i32;
            places.extend(offset.to_le_bytes());
            [*sp as u16, *bp as u16, sp_base | bp_base << 4 | kind << 8]
                .iter()
                .for_each(|v| all.extend(v.to_le_bytes()));
        }
        let orc = Orc::new(at, places, all);
        assert_eq!(orc.late, late);
        orc
    }

    #[test]
    fn a_stack_of_calls_leads_through_an_interrupt_to_user_mode() {
        for (late, [call, regs]) in [(false, [0, 1]), (true, [2, 3])] {
            let (ram, cpu) = tables();
            let space = Space::of(&cpu, &ram);
            // A leaf; a function that saved RBP; one that addresses by RBP; the entry code.
            let orc = orc(
                late,
                &[
                    (8, 0, base::SP, 0, call),
                    (32, -16, base::SP, base::PREVIOUS_SP, call),
                    (16, -16, base::BP, base::PREVIOUS_SP, call),
                    (0, 0, base::SP, 0, regs),
                ],
            );
            let physical = |n: u64| 0x20_0000 + n;
            put(&ram, physical(0), TEXT + 0x110);
            // The second one's frame is 32 bytes from 8: saved RBP at 24, return address at 32.
            put(&ram, physical(24), STACK + 0x80);
            put(&ram, physical(32), TEXT + 0x210);
            // By RBP: 16 above it ends the frame.
            put(&ram, physical(0x88), TEXT + 0x300);
            put(&ram, physical(0x80), 0x1234);
            for (offset, v) in
                [(saved::IP, 0x40_1000), (saved::CS, 0x33), (saved::SP, 0x7fff_0000), (saved::BP, 0x7fff_0100)]
            {
                put(&ram, physical(0x90 + offset), v);
            }
            let start = Start { ip: TEXT + 0x20, sp: STACK, bp: 7, others: [0; 4] };
            let found = orc.unwind(&start, &space, 100);
            assert_eq!(found.kernel, [TEXT + 0x110, TEXT + 0x210, TEXT + 0x300], "late: {late}");
            // The third return address is the first byte of the entry code, so it belongs to the function before.
            assert_eq!(found.user, None);
        }
    }

    #[test]
    fn registers_on_the_stack_tell_where_user_mode_was_left() {
        let (ram, cpu) = tables();
        let space = Space::of(&cpu, &ram);
        let calls = (8, 0, base::SP, 0, 0);
        let orc = orc(false, &[calls, calls, (0, 0, base::SP, 0, 1)]);
        put(&ram, 0x20_0000, TEXT + 0x201);
        for (offset, v) in [(saved::IP, 0x40_1000), (saved::CS, 0x33), (saved::SP, 1), (saved::BP, 0x7fff_0100)] {
            put(&ram, 0x20_0008 + offset, v);
        }
        let found = orc.unwind(&Start { ip: TEXT, sp: STACK, ..Start::default() }, &space, 100);
        assert_eq!(found, Unwound { kernel: vec![TEXT + 0x201], user: Some((0x40_1000, 0x7fff_0100)) });
    }

    #[test]
    fn a_stack_that_leads_nowhere_ends() {
        let (ram, cpu) = tables();
        let space = Space::of(&cpu, &ram);
        let orc = orc(false, &[(8, 0, base::SP, 0, 0), (0, 0, 0, 0, 4)]);
        for sp in [0, STACK, STACK + 0x1f_fffc, u64::MAX] {
            let found = orc.unwind(&Start { ip: TEXT, sp, ..Start::default() }, &space, 100);
            assert!(found.kernel.is_empty() && found.user.is_none(), "{sp:#x}: {found:?}");
        }
    }
}
