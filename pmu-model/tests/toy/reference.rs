//! A unit that counts eagerly, written from spec/pmu.md 1.5 to 1.8 alone: it knows instructions and no totals.

use super::{Branch, Step};
use cpu_x86::Ring;

const MASK: u64 = (1 << 48) - 1;
const CTR_FRZ: u64 = 1 << 59;
const LBR_FRZ: u64 = 1 << 58;

/// Events that the reference knows: code, may a counter mask be applied to it.
pub const CODES: [(u64, bool); 24] = [
    (0x00c0, true),
    (0x003c, true),
    (0x013c, true),
    (0x01a4, true),
    (0x02c0, true),
    (0x00c4, true),
    (0x11c4, true),
    (0x01c4, true),
    (0x10c4, true),
    (0x02c4, true),
    (0x08c4, true),
    (0x20c4, true),
    (0x40c4, true),
    (0x80c4, true),
    (0x00c5, true),
    (0x11c5, true),
    (0x81d0, true),
    (0x82d0, true),
    (0x83d0, true),
    (0x08d1, true),
    (0x02a4, false),
    (0x04a4, false),
    (0x10a4, false),
    (0x02c2, false),
];

/// How often `step` causes the event of a code; one that is not known never happens.
fn occurrences(code: u64, step: &Step) -> u64 {
    use Branch::*;
    let is = |kinds: &[Branch]| step.branch.is_some_and(|b| kinds.contains(&b));
    let s = step.slots;
    match code {
        0x00c0 | 0x003c | 0x013c => 1,
        0x01a4 => 6,
        0x02c0 => u64::from(step.nop),
        0x00c4 => u64::from(step.branch.is_some()),
        0x11c4 => u64::from(is(&[Taken, NotTaken])),
        0x01c4 => u64::from(is(&[Taken])),
        0x10c4 => u64::from(is(&[NotTaken])),
        0x02c4 => u64::from(is(&[Call, IndirectCall])),
        0x08c4 => u64::from(is(&[Return])),
        0x20c4 => u64::from(is(&[Taken, Jump, Call, Return, IndirectJump, IndirectCall])),
        0x40c4 => u64::from(is(&[Far])),
        0x80c4 => u64::from(is(&[IndirectJump, IndirectCall])),
        0x00c5 => u64::from(step.mispredicted),
        0x11c5 => u64::from(step.mispredicted && step.is_conditional()),
        0x81d0 => u64::from(step.load.is_some()),
        0x82d0 => u64::from(step.store),
        0x83d0 => u64::from(step.load.is_some() || step.store),
        0x08d1 => u64::from(step.load.is_some_and(|source| source >= 2)),
        0x02a4 => s[6] + s[7],
        0x04a4 => s[2] + s[3],
        0x10a4 => s[6],
        0x02c2 => s[0] + s[1],
        _ => 0,
    }
}

/// What a counter with EVENTSEL value `select` adds for `step`.
fn added(select: u64, step: &Step) -> u64 {
    let n = occurrences(select & 0xffff, step);
    let (cmask, inv) = (select >> 24 & 0xff, select >> 23 & 1 != 0);
    if cmask == 0 { n } else { u64::from((n >= cmask) != inv) }
}

/// The reference. No events with E, and no extra registers.
#[derive(Clone, Debug)]
pub struct Reference {
    pub counters: [u64; 12],
    pub select: [u64; 8],
    pub fixed_ctrl: u64,
    pub global_ctrl: u64,
    pub status: u64,
    pub debugctl: u64,
    pub pmis: u64,
    /// Slots accumulated with PERF_METRICS: in all, and by field.
    pub slots: u64,
    pub fields: [u64; 8],
}

impl Default for Reference {
    fn default() -> Reference {
        Reference {
            counters: [0; 12],
            select: [0; 8],
            fixed_ctrl: 0,
            global_ctrl: 0xff,
            status: 0,
            debugctl: 0,
            pmis: 0,
            slots: 0,
            fields: [0; 8],
        }
    }
}

/// The bit of counter `n` in GLOBAL_CTRL: general ones, then fixed ones.
fn bit(n: usize) -> u64 {
    if n < 8 { 1 << n } else { 1 << (32 + n - 8) }
}

impl Reference {
    fn counts(&self, n: usize, ring: Ring) -> bool {
        let user = ring == Ring::User;
        let enabled = if n < 8 {
            self.select[n] >> 22 & 1 != 0 && self.select[n] >> if user { 16 } else { 17 } & 1 != 0
        } else {
            self.fixed_ctrl >> (4 * (n - 8)) >> u32::from(user) & 1 != 0
        };
        enabled && self.global_ctrl & bit(n) != 0
    }

    /// An instruction that writes no register of the unit retires.
    pub fn retire(&mut self, step: &Step) {
        self.count(step, self.status & CTR_FRZ != 0, None);
    }

    /// An instruction retires, which began while the counters were `frozen` or not; `written`: a counter that it sets to a
    /// value, and which does not count it.
    fn count(&mut self, step: &Step, frozen: bool, written: Option<(usize, u64)>) {
        let mut interrupts = false;
        let counting: Vec<bool> = (0..12).map(|n| !frozen && self.counts(n, step.ring)).collect();
        if counting[11] && self.global_ctrl >> 48 & 1 != 0 {
            self.slots += 6;
            let s = step.slots;
            let fields = [s[0] + s[1], s[2] + s[3], s[4] + s[5], s[6] + s[7], s[1], s[2], s[4], s[6]];
            self.fields.iter_mut().zip(fields).for_each(|(f, n)| *f += n);
        }
        for n in 0..12 {
            let (select, int) = match n {
                0..8 => (self.select[n], self.select[n] >> 20 & 1 != 0),
                _ => ([0xc0, 0x3c, 0x13c, 0x1a4][n - 8], self.fixed_ctrl >> (4 * (n - 8) + 3) & 1 != 0),
            };
            if let Some((_, value)) = written.filter(|w| w.0 == n) {
                self.counters[n] = value & MASK;
            } else if counting[n] {
                self.counters[n] += added(select, step);
            }
            if self.counters[n] > MASK {
                self.counters[n] &= MASK;
                self.status |= bit(n) | if n == 11 { self.global_ctrl & 1 << 48 } else { 0 };
                interrupts |= int;
            }
        }
        if interrupts {
            self.pmis += 1;
            self.status |= if self.debugctl >> 12 & 1 != 0 { CTR_FRZ } else { 0 };
            self.status |= if self.debugctl >> 11 & 1 != 0 { LBR_FRZ } else { 0 };
        }
    }

    /// A WRMSR that is legal retires.
    pub fn write(&mut self, msr: u32, v: u64) {
        let frozen = self.status & CTR_FRZ != 0;
        let counter = match msr {
            0xc1..0xc9 => Some((msr as usize - 0xc1, v as u32 as i32 as u64)),
            0x4c1..0x4c9 => Some((msr as usize - 0x4c1, v)),
            0x309..0x30d => Some((msr as usize - 0x309 + 8, v)),
            _ => None,
        };
        match msr {
            0x390 => self.status &= !v,
            0x391 => self.status |= v,
            _ => {}
        }
        self.count(&Step::serial(), frozen, counter);
        if let Some((11, v)) = counter {
            (self.slots, self.fields) = (v & MASK, [0; 8]);
        }
        match msr {
            0x186..0x18e => self.select[msr as usize - 0x186] = v,
            0x38d => self.fixed_ctrl = v,
            0x38f => self.global_ctrl = v,
            0x1d9 => self.debugctl = v,
            _ => {}
        }
    }

    /// RDMSR.
    pub fn read(&self, msr: u32) -> u64 {
        match msr {
            0xc1..0xc9 => self.counters[msr as usize - 0xc1],
            0x4c1..0x4c9 => self.counters[msr as usize - 0x4c1],
            0x309..0x30d => self.counters[msr as usize - 0x309 + 8],
            0x186..0x18e => self.select[msr as usize - 0x186],
            0x38d => self.fixed_ctrl,
            0x38e => self.status,
            0x38f => self.global_ctrl,
            0x392 => self.in_use(),
            _ => 0,
        }
    }

    fn in_use(&self) -> u64 {
        let general = (0..8).filter(|&n| self.select[n] & 0xff != 0).map(bit).sum::<u64>();
        let fixed = (0..4).filter(|n| self.fixed_ctrl >> (4 * n) & 3 != 0).map(|n| bit(n + 8)).sum::<u64>();
        let interrupts = self.select.iter().any(|s| s >> 20 & 1 != 0) || self.fixed_ctrl & 0x8888 != 0;
        general | fixed | u64::from(interrupts) << 63
    }
}
