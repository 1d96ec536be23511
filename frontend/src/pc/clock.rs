//! Virtual time and the processors' clock: the TSC runs at 2200 MHz, so a tick is 5000/11 picoseconds, exactly.

use emu_core::Time;

/// TSC ticks a second. Source: spec/platform.md (CPUID 15h of the part: 25 MHz * 176 / 2).
pub const TSC_HZ: u64 = 2_200_000_000;

/// The same in MHz: what the cores run at unless told otherwise.
pub const TSC_MHZ: u32 = (TSC_HZ / 1_000_000) as u32;

/// The instant at which tick `n` has happened, rounded up to a picosecond.
pub fn time(tick: u64) -> Time {
    let ps = (u128::from(tick) * 5000).div_ceil(11);
    u64::try_from(ps).map_or(Time::NEVER, Time::ps)
}

/// The first tick whose instant, as [`time`] rounds it, is not before `at`.
pub fn tick(at: Time) -> u64 {
    match at.as_ps().checked_sub(1) {
        None => 0,
        Some(ps) => u64::try_from(u128::from(ps) * 11 / 5000).map_or(u64::MAX, |n| n + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_two_thousand_two_hundred_million_ticks() {
        assert_eq!(tick(Time::s(1)), TSC_HZ);
        assert_eq!(time(TSC_HZ), Time::s(1));
        assert_eq!(time(11), Time::ns(5));
    }

    #[test]
    fn the_tick_of_an_instant_is_never_before_it() {
        for ps in [0, 1, 454, 455, 456, 909, 5000, 123_456_789_012_345] {
            let at = Time::ps(ps);
            assert!(time(tick(at)) >= at, "{ps}");
            assert!(tick(at) == 0 || time(tick(at) - 1) < at, "{ps}");
        }
    }
}
