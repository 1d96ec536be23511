//! One counter: a view over what the processor counts.
//!
//! It keeps its value at the last change of anything that decides what it counts, and the fact's count then; reading
//! computes. So counting costs nothing, and is exact at every instruction.

use crate::catalog::{Fact, SLOTS_PER_CYCLE};
use cpu_x86::{Counts, Ring};

/// Width of every counter, in bits.
pub const WIDTH: u32 = 48;
/// All ones in that width.
pub const MASK: u64 = (1 << WIDTH) - 1;

/// What a counter counts while it is enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// What.
    pub fact: Fact,
    /// In CPL 0 to 2.
    pub os: bool,
    /// In CPL 3.
    pub usr: bool,
    /// Counter mask: cycles in which the fact happened at least so often; 0 counts the happenings.
    pub cmask: u8,
    /// With a counter mask: the cycles in which it did not.
    pub inv: bool,
}

impl Selection {
    /// How often it has happened up to `now`.
    pub fn count(&self, now: &Counts) -> u64 {
        let kernel = if self.os { self.count_in(now, Ring::Kernel) } else { 0 };
        let user = if self.usr { self.count_in(now, Ring::User) } else { 0 };
        kernel.wrapping_add(user)
    }

    fn count_in(&self, now: &Counts, ring: Ring) -> u64 {
        let facts = match ring {
            Ring::Kernel => &now.kernel,
            Ring::User => &now.user,
        };
        // Cycles are not split by ring: in the model an instruction takes one, and what is over is the kernel's.
        let cycles = match ring {
            Ring::User => now.user.instructions,
            Ring::Kernel => now.cycles.saturating_sub(now.user.instructions),
        };
        let n = match self.fact {
            Fact::Instructions => facts.instructions,
            Fact::Branches => facts.branches,
            Fact::Conditional => facts.conditional,
            Fact::Cycles | Fact::RefCycles => cycles,
            Fact::Slots => cycles.wrapping_mul(SLOTS_PER_CYCLE),
        };
        if self.cmask == 0 {
            return n;
        }
        let most = self.fact.most_per_cycle();
        let reached = if most < u64::from(self.cmask) { 0 } else { n / most };
        if self.inv { cycles.saturating_sub(reached) } else { reached }
    }

    /// Does it count in `ring`?
    pub fn counts_in(&self, ring: Ring) -> bool {
        if ring == Ring::User { self.usr } else { self.os }
    }

    /// The most that one instruction can add.
    fn most_per_instruction(&self) -> u64 {
        if self.cmask == 0 { self.fact.most_per_cycle() } else { 1 }
    }
}

/// A counter's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Its value when it was last changed.
    base: u64,
    /// What it counts had happened so often then.
    since: u64,
    /// What it counts; `None` while it stands still.
    counting: Option<Selection>,
}

impl Counter {
    fn gone(&self, now: &Counts) -> u64 {
        self.counting.map_or(0, |s| s.count(now).saturating_sub(self.since))
    }

    /// Its value.
    pub fn value(&self, now: &Counts) -> u64 {
        self.base.wrapping_add(self.gone(now)) & MASK
    }

    /// Gives it a value.
    pub fn set(&mut self, v: u64, now: &Counts) {
        self.base = v & MASK;
        self.since = self.counting.map_or(0, |s| s.count(now));
    }

    /// From now on it counts `what`.
    pub fn select(&mut self, what: Option<Selection>, now: &Counts) {
        if what != self.counting {
            let v = self.value(now);
            self.counting = what;
            self.set(v, now);
        }
    }

    /// Has it overflowed since it was last asked? It keeps what came after.
    pub fn take_overflow(&mut self, now: &Counts) -> bool {
        let overflows = self.base.saturating_add(self.gone(now)) > MASK;
        if overflows {
            self.set(self.value(now), now);
        }
        overflows
    }

    /// How many instructions may retire in `ring` before it overflows, at least.
    pub fn distance(&self, now: &Counts, ring: Ring) -> u64 {
        match self.counting {
            Some(s) if s.counts_in(ring) => {
                let left = (MASK + 1).saturating_sub(self.base.saturating_add(self.gone(now)));
                left.div_ceil(s.most_per_instruction())
            }
            _ => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpu_x86::Facts;

    fn at(kernel: u64, user: u64) -> Counts {
        let facts = |n| Facts { instructions: n, branches: n / 4, conditional: n / 8 };
        Counts { kernel: facts(kernel), user: facts(user), cycles: kernel + user, clock: 0 }
    }

    const INSTRUCTIONS: Selection = Selection { fact: Fact::Instructions, os: true, usr: false, cmask: 0, inv: false };

    #[test]
    fn an_overflow_keeps_the_remainder_and_is_reported_once() {
        let mut c = Counter::default();
        c.set(MASK - 9, &at(100, 0));
        c.select(Some(INSTRUCTIONS), &at(100, 0));
        assert_eq!(c.distance(&at(100, 0), Ring::Kernel), 10);
        assert_eq!(c.distance(&at(100, 0), Ring::User), u64::MAX);
        assert!(!c.take_overflow(&at(109, 7)));
        assert!(c.take_overflow(&at(113, 7)));
        assert_eq!(c.value(&at(113, 7)), 3);
        assert!(!c.take_overflow(&at(113, 7)));
    }

    #[test]
    fn a_counter_that_stands_still_keeps_its_value() {
        let mut c = Counter::default();
        c.select(Some(INSTRUCTIONS), &at(0, 0));
        c.select(None, &at(50, 0));
        assert_eq!(c.value(&at(90, 0)), 50);
        c.select(Some(Selection { usr: true, ..INSTRUCTIONS }), &at(90, 10));
        assert_eq!(c.value(&at(91, 12)), 53);
    }

    #[test]
    fn counter_masks_count_cycles() {
        let n = at(80, 16);
        let with = |fact, cmask, inv| Selection { fact, os: true, usr: true, cmask, inv }.count(&n);
        assert_eq!(with(Fact::Instructions, 1, false), 96);
        assert_eq!(with(Fact::Instructions, 2, false), 0);
        assert_eq!(with(Fact::Branches, 1, true), 96 - 24);
        assert_eq!(with(Fact::Instructions, 2, true), 96);
        assert_eq!(
            (with(Fact::Slots, 0, false), with(Fact::Slots, 6, false), with(Fact::Slots, 7, false)),
            (576, 96, 0)
        );
    }

    #[test]
    fn slots_come_six_at_a_time() {
        let mut c = Counter::default();
        c.set(MASK - 12, &at(0, 0));
        c.select(Some(Selection { fact: Fact::Slots, ..INSTRUCTIONS }), &at(0, 0));
        assert_eq!(c.distance(&at(0, 0), Ring::Kernel), 3);
        assert!(!c.take_overflow(&at(2, 0)));
        assert!(c.take_overflow(&at(3, 0)));
        assert_eq!(c.value(&at(3, 0)), 5);
    }
}
