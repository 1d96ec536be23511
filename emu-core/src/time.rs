//! Virtual time: what ran decides it, never the host's clock.

use std::fmt;
use std::ops::{Add, Sub};

/// An instant or a span of virtual time, in picoseconds since power-on (range: 213 days).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The instant of power-on; the empty span.
    pub const ZERO: Time = Time(0);
    /// An instant that is never reached.
    pub const NEVER: Time = Time(u64::MAX);

    /// `n` picoseconds.
    pub const fn ps(n: u64) -> Time {
        Time(n)
    }
    /// `n` nanoseconds.
    pub const fn ns(n: u64) -> Time {
        Time(n * 1_000)
    }
    /// `n` microseconds.
    pub const fn us(n: u64) -> Time {
        Time(n * 1_000_000)
    }
    /// `n` milliseconds.
    pub const fn ms(n: u64) -> Time {
        Time(n * 1_000_000_000)
    }
    /// `n` seconds.
    pub const fn s(n: u64) -> Time {
        Time(n * 1_000_000_000_000)
    }
    /// Whole picoseconds.
    pub const fn as_ps(self) -> u64 {
        self.0
    }
    /// Whole nanoseconds, rounded down.
    pub const fn as_ns(self) -> u64 {
        self.0 / 1_000
    }

    /// How many whole periods of a clock of `hz` fit into this span (rounded down).
    pub const fn ticks(self, hz: u64) -> u64 {
        (self.0 as u128 * hz as u128 / 1_000_000_000_000) as u64
    }

    /// The first instant at which a clock of `hz` that started at zero has made `n` ticks (rounded up).
    pub const fn of_ticks(n: u64, hz: u64) -> Time {
        let ps = (n as u128 * 1_000_000_000_000).div_ceil(hz as u128);
        if ps > u64::MAX as u128 { Time::NEVER } else { Time(ps as u64) }
    }
}

impl Add for Time {
    type Output = Time;
    fn add(self, span: Time) -> Time {
        Time(self.0.saturating_add(span.0))
    }
}

impl Sub for Time {
    type Output = Time;
    fn sub(self, earlier: Time) -> Time {
        Time(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} ms", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_instant_is_the_first_at_which_the_tick_has_happened() {
        for hz in [1_193_182, 3_579_545, 25_000_000, 2_200_000_000] {
            for n in [1, 2, 3, 1000, 123_456_789] {
                let t = Time::of_ticks(n, hz);
                assert_eq!(t.ticks(hz), n);
                assert_eq!(Time::ps(t.as_ps() - 1).ticks(hz), n - 1);
            }
        }
    }
}
