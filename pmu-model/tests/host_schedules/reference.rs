//! The guest as it ought to be: a PMU of its own, no host, no switching. Simple enough to be believed.

use pmu_model::host::cell::{Burst, Happening, Privilege};
use pmu_model::host::registers::{EN, INT, MASK, OS, Register, USR};

/// A guest with a PMU of its own.
pub struct Reference {
    pub counts: [u64; 35],
    selectors: [u64; 8],
    fixed: u64,
    global: u64,
    pub status: u64,
    pub masked: bool,
    pub pmis: u64,
    /// Counters that cannot count now, by bit.
    pub frozen: u64,
}

impl Reference {
    pub fn new() -> Reference {
        let (selectors, fixed, global) = ([0; 8], 0, 0xff);
        Reference { counts: [0; 35], selectors, fixed, global, status: 0, masked: false, pmis: 0, frozen: 0 }
    }

    /// What a counter counts of a burst in a ring, and whether it interrupts.
    fn counted(&self, counter: usize, ring: Privilege, burst: &Burst) -> (u64, bool) {
        let (kind, user, kernel, interrupts) = if counter < 8 {
            let s = self.selectors[counter];
            let kind = [(0xc0, Happening::Retired), (0xc4, Happening::Branches), (0x3c, Happening::Cycles)];
            let kind = kind.iter().find(|(config, _)| *config == s & 0xff && s & EN != 0).map(|(_, kind)| *kind);
            (kind, s & USR != 0, s & OS != 0, s & INT != 0)
        } else {
            let field = self.fixed >> (4 * (counter - 32)) & 0xf;
            let kind = [Happening::Retired, Happening::Cycles, Happening::RefCycles][counter - 32];
            (Some(kind), field & 2 != 0, field & 1 != 0, field & 8 != 0)
        };
        let enabled =
            (self.global & !self.frozen) >> counter & 1 != 0 && if ring == Privilege::User { user } else { kernel };
        (kind.filter(|_| enabled).map_or(0, |kind| burst[kind]), interrupts)
    }

    pub fn run(&mut self, ring: Privilege, burst: &Burst) {
        let mut asks = false;
        for counter in (0..8).chain(32..35) {
            let (counted, interrupts) = self.counted(counter, ring, burst);
            let sum = self.counts[counter] + counted;
            self.counts[counter] = sum & MASK;
            if sum > MASK {
                self.status |= 1 << counter;
                asks |= interrupts;
            }
        }
        if asks && !self.masked {
            (self.pmis, self.masked) = (self.pmis + 1, true);
        }
    }

    /// One emulated instruction: cycles do not count it.
    pub fn emulated(&mut self, ring: Privilege, branch: bool) {
        let one = Burst::default().with(Happening::Retired, 1).with(Happening::Branches, u64::from(branch));
        self.run(ring, &one);
    }

    pub fn write(&mut self, register: Register, value: u64) {
        match register {
            Register::Count(c) => self.counts[usize::from(c.0)] = value,
            Register::Selector(n) => self.selectors[usize::from(n)] = value,
            Register::FixedControl => self.fixed = value,
            Register::GlobalControl => self.global = value,
            _ => self.status &= !value,
        }
    }

    pub fn read(&self, register: Register) -> u64 {
        match register {
            Register::Count(c) => self.counts[usize::from(c.0)],
            Register::Selector(n) => self.selectors[usize::from(n)],
            Register::FixedControl => self.fixed,
            Register::GlobalControl => self.global,
            _ => self.status,
        }
    }
}
