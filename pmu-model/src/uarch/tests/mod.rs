//! Tests of the core: a random program run under every way of telling it, and small ones with known answers.

mod facts;
mod identities;
mod stream;
mod structures;

use super::Core;
use cpu_x86::monitor::{Code, DataAccess, Packed, Translate, Walked};
use emu_core::Gpa;
pub(super) use emu_core::Random;
use iced_x86::{Decoder, DecoderOptions, Instruction};

/// Address spaces as the tests have them: linear addresses from 2^40 on are 2 MiB pages, the others 4 KiB ones.
pub(super) struct Tables;

/// Where linear address `at` lies.
pub(super) fn physical(at: u64) -> u64 {
    at & 0x3_ffff_ffff ^ 0x40_0000
}

impl Translate for Tables {
    fn walked(&mut self, linear: u64) -> Walked {
        let large = linear >> 40 != 0;
        let entry =
            |level: u32| 0x3_0000_0000 + (u64::from(level) << 24) + ((linear >> (12 + 9 * level) << 3) & 0xff_ffff);
        let entries =
            if large { [entry(3), entry(2), entry(1), 0, 0] } else { [entry(3), entry(2), entry(1), entry(0), 0] };
        let (shift, levels) = if large { (21, 3) } else { (12, 4) };
        Walked { shift, levels, entries, global: linear >> 30 & 1 != 0 }
    }
}

/// Decodes all of `bytes`, which lie at linear address `at`.
pub(super) fn decode(bytes: &[u8], at: u64) -> Vec<Instruction> {
    let mut d = Decoder::with_ip(64, bytes, at & 0xfff, DecoderOptions::NONE);
    let mut all = Vec::new();
    while d.can_decode() {
        let i = d.decode();
        assert!(!i.is_invalid(), "{bytes:x?} at {at:#x}");
        all.push(i);
    }
    all
}

/// Describes `instructions`, which lie at linear address `at`.
pub(super) fn code<'a>(instructions: &'a [Instruction], at: u64) -> Code<'a> {
    let bytes: u64 = instructions.iter().map(|i| i.len() as u64).sum();
    let next = (at | 0xfff) + 1;
    let next_page = (at + bytes > next).then(|| Gpa(physical(next)));
    Code { physical: Gpa(physical(at)), next_page, instructions }
}

/// An access at `linear`.
pub(super) fn touch(linear: u64, bytes: u32, write: bool, instruction: u32) -> DataAccess {
    DataAccess { linear, physical: Gpa(physical(linear)), bytes, write, instruction }
}

/// What the processor leaves out, and what it keeps waiting: its side of [`cpu_x86::monitor::Touched`] and of
/// [`cpu_x86::monitor::Step`].
pub(super) struct Filter {
    on: bool,
    recent: [u64; 64],
    /// Pages whose translation changes nothing: linear address / 4096, times 2, plus 1 when written.
    quiet: Vec<u64>,
    pub left_out: u64,
}

impl Filter {
    pub fn new(on: bool) -> Filter {
        Filter { on, recent: [u64::MAX; 64], quiet: Vec::new(), left_out: 0 }
    }

    pub fn forget(&mut self) {
        self.recent = [u64::MAX; 64];
        self.quiet.clear();
    }

    /// May the access be left out? All accesses of these tests have eight bytes; both parts of one over two pages are told.
    pub fn leaves_out(&mut self, a: &DataAccess) -> bool {
        let line = a.linear >> 6;
        let seen = self.recent[(line & 63) as usize];
        let same = if a.write { seen == line << 1 | 1 } else { seen >> 1 == line };
        let left_out = self.on && same && a.bytes == 8 && (a.linear & 63) + 8 <= 64;
        self.left_out += u64::from(left_out);
        left_out
    }

    /// The access as a step, if it may wait.
    pub fn step(&mut self, a: &DataAccess) -> Option<Packed> {
        let page = a.linear >> 12 << 1;
        let quiet = self.quiet.contains(&(page | 1)) || !a.write && self.quiet.contains(&page);
        let (first, end) = (a.linear & 0xfff, (a.linear & 0xfff) + u64::from(a.bytes));
        if !quiet || first == 0 || end == 0x1000 {
            return None;
        }
        for line in first >> 6..=(end - 1) >> 6 {
            self.recent[(line & 63) as usize] = (a.linear >> 12 << 6 | line) << 1 | u64::from(a.write);
        }
        let splits = first >> 6 != (end - 1) >> 6;
        Some(Packed::access(a.physical.0 >> 6, splits, a.write, a.instruction as u8))
    }

    /// Tells of the access at once.
    pub fn tell(&mut self, core: &mut Core, a: &DataAccess) {
        use cpu_x86::Monitor;
        let touched = core.access(a, &mut Tables);
        (0..64).filter(|set| touched >> set & 1 != 0).for_each(|set| self.recent[set] = u64::MAX);
        if touched == u64::MAX {
            self.quiet.clear();
        } else {
            self.quiet.push(a.linear >> 12 << 1 | u64::from(a.write));
        }
        for line in [a.linear >> 6, (a.linear + u64::from(a.bytes) - 1) >> 6] {
            self.recent[(line & 63) as usize] = line << 1 | u64::from(a.write);
        }
    }
}
