//! The unit's side of PEBS: which counters it samples, and what it must be told about them at an instruction boundary.
//!
//! PEBS itself (its registers, what is armed, the records) is a value beside the unit. At each boundary: [`Unit::settle`],
//! then [`Unit::take_sampled`] says which counters counted and which overflowed; PEBS says which of them a record is due
//! for and what they are reloaded with ([`Unit::reload`]), which ones still wait ([`Unit::await_event`]), and whether its
//! buffer reached the threshold ([`Unit::buffer_is_full`]).

use super::register::{self, COUNTERS, OVF_BUFFER, Register, fixed, select};
use super::{FIXED_COUNTERS, GENERAL, Unit};
use crate::catalog;
use crate::now::Now;

/// Counters at an instruction boundary, by bit of GLOBAL_STATUS; those that PEBS is enabled for only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampled {
    /// Those of [`Unit::await_event`] whose event the instruction that has just retired caused.
    pub counted: u64,
    /// Those that overflowed.
    pub overflowed: u64,
    /// Of the overflowed ones, those of precise events.
    pub precise: u64,
}

/// What the unit keeps for PEBS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sampling {
    /// PEBS_ENABLE.
    pub enabled: u64,
    /// Counters that wait for their next event.
    pub waiting: u64,
    /// Overflowed since it was last told.
    pub overflowed: u64,
}

impl Unit {
    /// A WRMSR to PEBS_ENABLE, which PEBS found legal, enables it for `counters` from the next instruction on.
    pub fn sample(&mut self, counters: u64, now: Now<'_>) {
        self.begin(Register::PebsEnable, counters & COUNTERS, now);
    }

    /// `counters` overflowed earlier and wait for their next event: the unit wants to be asked at each of their events.
    pub fn await_event(&mut self, counters: u64) {
        self.sampling.waiting = counters & self.sampling.enabled;
    }

    /// What happened to counters that PEBS is enabled for. To be asked behind [`Unit::settle`] at the same boundary.
    pub fn take_sampled(&mut self, now: Now<'_>) -> Sampled {
        let overflowed = std::mem::take(&mut self.sampling.overflowed);
        if overflowed | self.sampling.waiting == 0 {
            return Sampled::default();
        }
        let counted = |&bit: &usize| self.sampling.waiting >> bit & 1 != 0 && self.counter(bit).gone(now) != 0;
        let set = |v: u64, bit: usize| v | 1 << bit;
        Sampled {
            counted: bits().filter(counted).fold(0, set),
            overflowed,
            precise: bits().filter(|&bit| overflowed >> bit & 1 != 0 && self.is_precise(bit)).fold(0, set),
        }
    }

    /// The counter at GLOBAL_STATUS bit `bit` starts anew from `value`, cut to its width.
    pub fn reload(&mut self, bit: u32, value: u64, now: Now<'_>) {
        match bit as usize {
            n if n < GENERAL => self.general[n].set(value, now),
            n if (32..32 + FIXED_COUNTERS).contains(&n) => {
                self.fixed[n - 32].set(value, now);
                if n == 32 + FIXED_COUNTERS - 1 {
                    self.metrics.restart(value, now);
                }
            }
            _ => {}
        }
    }

    /// The buffer of PEBS reached its threshold: GLOBAL_STATUS says so, and an interrupt is requested, of which
    /// [`Unit::settle`] tells next.
    pub fn buffer_is_full(&mut self, now: Now<'_>) {
        self.status |= OVF_BUFFER;
        self.request(now);
    }

    /// Which counters have their adaptive bit set: their records hold what PEBS_DATA_CFG says.
    pub fn adaptive(&self) -> u64 {
        bits().filter(|&bit| self.has_adaptive_bit(bit)).fold(0, |v, bit| v | 1 << bit)
    }

    /// Event select and unit mask of the general counter at GLOBAL_STATUS bit `bit`; 0 for the others.
    pub fn event_code(&self, bit: u32) -> u16 {
        self.event_select.get(bit as usize).map_or(0, |&s| s as u16)
    }

    /// Are the LBRs frozen (GLOBAL_STATUS.LBR_FRZ)?
    pub fn lbrs_are_frozen(&self) -> bool {
        self.status & register::LBR_FRZ != 0
    }

    fn has_adaptive_bit(&self, bit: usize) -> bool {
        match bit {
            0..GENERAL => self.event_select[bit] & select::ADAPTIVE != 0,
            _ => self.fixed_ctrl & fixed::ADAPTIVE << (4 * (bit - 32)) != 0,
        }
    }

    /// Of the fixed counters only that of instructions counts a precise event.
    fn is_precise(&self, bit: usize) -> bool {
        match bit {
            0..GENERAL => catalog::programmed(self.event_select[bit], &self.extra).precise,
            _ => bit == 32,
        }
    }
}

/// The bits of all counters.
fn bits() -> impl Iterator<Item = usize> {
    (0..GENERAL).chain(32..32 + FIXED_COUNTERS)
}
