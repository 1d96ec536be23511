//! One counter: a view over what has been counted.
//!
//! It keeps its value at the last change of anything that decides what it counts, and the formula's value then; reading
//! computes. So counting costs nothing, and is exact at every instruction.

use crate::formula::Formula;
use crate::now::Now;
use cpu_x86::Ring;

/// Width of every counter, in bits.
pub const WIDTH: u32 = 48;
/// All ones in that width.
pub const MASK: u64 = (1 << WIDTH) - 1;

/// What a counter counts while it is enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// What.
    pub formula: Formula,
    /// In CPL 0 to 2.
    pub os: bool,
    /// In CPL 3.
    pub usr: bool,
}

impl Selection {
    /// How often it has happened up to `now`.
    pub fn count(&self, now: Now<'_>) -> u64 {
        let of = |ring, counts| if counts { self.formula.count(now, ring) } else { 0 };
        of(Ring::Kernel, self.os).wrapping_add(of(Ring::User, self.usr))
    }

    /// Does it count in `ring`?
    pub fn counts_in(&self, ring: Ring) -> bool {
        if ring == Ring::User { self.usr } else { self.os }
    }
}

/// A counter's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Its value when it was last changed.
    base: u64,
    /// The formula's value then.
    since: u64,
    /// What it counts; `None` while it stands still.
    counting: Option<Selection>,
    /// How much was left to count before it overflows when it was last looked at or changed.
    left: u64,
}

impl Counter {
    /// How far it has counted since it was last changed. What falls (facts of another processor, say) counts nothing.
    pub(crate) fn gone(&self, now: Now<'_>) -> u64 {
        let gone = self.counting.map_or(0, |s| s.count(now).wrapping_sub(self.since));
        if gone >> 63 == 0 { gone } else { 0 }
    }

    /// Its value.
    pub fn value(&self, now: Now<'_>) -> u64 {
        self.base.wrapping_add(self.gone(now)) & MASK
    }

    /// What it counts now.
    pub fn selection(&self) -> Option<&Selection> {
        self.counting.as_ref()
    }

    /// Gives it a value.
    pub fn set(&mut self, v: u64, now: Now<'_>) {
        self.base = v & MASK;
        self.since = self.counting.map_or(0, |s| s.count(now));
        self.left = MASK + 1 - self.base;
    }

    /// From now on it counts `what`.
    pub fn select(&mut self, what: Option<Selection>, now: Now<'_>) {
        if what != self.counting {
            let v = self.value(now);
            self.counting = what;
            self.set(v, now);
        }
    }

    /// Has it overflowed since it was last asked? It keeps what came after.
    pub fn take_overflow(&mut self, now: Now<'_>) -> bool {
        if self.counting.is_none() {
            return false;
        }
        let reached = self.base.saturating_add(self.gone(now));
        self.left = (MASK + 1).saturating_sub(reached);
        if reached > MASK {
            self.set(self.value(now), now);
        }
        reached > MASK
    }

    /// How many instructions may retire in `ring` before it overflows, at least, from where it was last asked for overflow
    /// or changed; where an instruction can exceed what it causes as a rule ([`crate::catalog::Most`]), as a rule.
    pub fn distance(&self, ring: Ring) -> u64 {
        self.distance_to(self.left, ring)
    }

    /// How many instructions may retire in `ring` before it has counted `left` more, at least.
    pub(crate) fn distance_to(&self, left: u64, ring: Ring) -> u64 {
        match &self.counting {
            Some(s) if s.counts_in(ring) && s.formula.most().times != 0 => left.div_ceil(s.formula.most().times).max(1),
            _ => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests;
