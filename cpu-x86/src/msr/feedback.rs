//! IA32_MPERF and IA32_APERF: how long the processor was in C0, at the TSC's frequency and at the core's.
//!
//! Both are functions of the unhalted core cycles, so nothing is counted for them. Source: SDM vol. 3B, 15.2 (hardware
//! feedback), as in spec/pmu.md 4.1.

/// How many TSC ticks go by in how many core cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    ticks: u8,
    cycles: u8,
}

impl Default for Pace {
    /// A tick a cycle.
    fn default() -> Pace {
        Pace::new(1, 1)
    }
}

impl Pace {
    /// `ticks` (not 0) in `cycles` (not 0; 0 is taken as 1).
    pub const fn new(ticks: u8, cycles: u8) -> Pace {
        const fn one(n: u8) -> u8 {
            if n == 0 { 1 } else { n }
        }
        if ticks == cycles { Pace { ticks: 1, cycles: 1 } } else { Pace { ticks: one(ticks), cycles: one(cycles) } }
    }

    /// Ticks in the first `cycles` cycles, rounded down: what is left of a tick is carried to the next cycle. Adding up
    /// the differences between successive values loses nothing.
    pub const fn ticks(self, cycles: u64) -> u64 {
        if self.ticks == self.cycles {
            return cycles;
        }
        (cycles as u128 * self.ticks as u128 / self.cycles as u128) as u64
    }

    /// The least number of cycles in which [`Pace::ticks`] reaches `ticks`; saturates.
    pub const fn cycles(self, ticks: u64) -> u64 {
        if self.ticks == self.cycles {
            return ticks;
        }
        let cycles = (ticks as u128 * self.cycles as u128).div_ceil(self.ticks as u128);
        if cycles > u64::MAX as u128 { u64::MAX } else { cycles as u64 }
    }
}

/// The two registers as they stood when one of them was last written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// IA32_MPERF then.
    pub mperf: u64,
    /// IA32_APERF then.
    pub aperf: u64,
    /// The unhalted core cycles then.
    pub(super) since: u64,
}

impl Feedback {
    /// Both zero after `cycles` unhalted core cycles.
    pub const fn starting(cycles: u64) -> Feedback {
        Feedback { mperf: 0, aperf: 0, since: cycles }
    }

    /// The registers after `cycles` unhalted core cycles. When one of them overflows, both start again from zero.
    pub fn at(self, cycles: u64, pace: Pace) -> Feedback {
        let cycles = cycles.max(self.since);
        let ticks = pace.ticks(cycles).wrapping_sub(pace.ticks(self.since));
        match self.overflow(pace).filter(|&at| at <= cycles) {
            Some(at) => {
                Feedback { mperf: pace.ticks(cycles).wrapping_sub(pace.ticks(at)), aperf: cycles - at, since: cycles }
            }
            None => Feedback {
                mperf: self.mperf.wrapping_add(ticks),
                aperf: self.aperf.wrapping_add(cycles - self.since),
                since: cycles,
            },
        }
    }

    /// After how many cycles the first of them overflows, if ever.
    fn overflow(self, pace: Pace) -> Option<u64> {
        let left = |register: u64| (register != 0).then(|| register.wrapping_neg());
        let aperf = left(self.aperf).and_then(|left| self.since.checked_add(left));
        let mperf = left(self.mperf).and_then(|left| pace.ticks(self.since).checked_add(left));
        [aperf, mperf.map(|ticks| pace.cycles(ticks))].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAME: Pace = Pace::new(22, 22);
    /// 3.3 GHz over a TSC of 2.2 GHz.
    const TURBO: Pace = Pace::new(22, 33);

    #[test]
    fn turbo_makes_two_ticks_of_three_cycles() {
        assert_eq!([0, 1, 2, 3, 4, 3_000_000_000].map(|c| TURBO.ticks(c)), [0, 0, 1, 2, 2, 2_000_000_000]);
        assert_eq!([0, 1, 2, 3].map(|t| TURBO.cycles(t)), [0, 2, 3, 5]);
        assert_eq!((SAME.ticks(u64::MAX), SAME.cycles(u64::MAX)), (u64::MAX, u64::MAX));
    }

    #[test]
    fn registers_count_on_from_what_was_written_each_for_itself() {
        let f = Feedback { mperf: 1000, ..Feedback::default() };
        assert_eq!(f.at(300, SAME), Feedback { mperf: 1300, aperf: 300, since: 300 });
        let f = Feedback { aperf: 7, ..f.at(300, TURBO) };
        assert_eq!((f.mperf, f.at(600, TURBO).mperf, f.at(600, TURBO).aperf), (1200, 1400, 307));
    }

    #[test]
    fn when_one_overflows_both_start_from_zero() {
        let f = Feedback { mperf: u64::MAX - 9, aperf: 500, since: 100 };
        assert_eq!((f.at(109, SAME).mperf, f.at(109, SAME).aperf), (u64::MAX, 509));
        assert_eq!((f.at(110, SAME).mperf, f.at(110, SAME).aperf), (0, 0));
        assert_eq!((f.at(117, SAME).mperf, f.at(117, SAME).aperf), (7, 7));
        let f = Feedback { mperf: 500, aperf: u64::MAX, since: 99 };
        assert_eq!((f.at(103, TURBO).aperf, f.at(103, TURBO).mperf), (3, TURBO.ticks(103) - TURBO.ticks(100)));
    }

    proptest! {
        /// Looking in between changes nothing (D1, D2: no write, no jump), and both advance at their own rates (D4).
        #[test]
        fn looking_in_between_changes_nothing(
            mperf: u64, aperf: u64, steps in prop::collection::vec(0u64..1 << 40, 1..20), ratio in 1u8..=48,
        ) {
            let pace = Pace::new(22, ratio);
            let start = Feedback { mperf, aperf, since: 0 };
            let (mut looked, mut cycles) = (start, 0u64);
            for step in steps {
                cycles += step;
                looked = looked.at(cycles, pace);
                prop_assert_eq!(looked, start.at(cycles, pace));
            }
            let calm = Feedback::default().at(cycles, pace);
            prop_assert_eq!((calm.aperf, calm.mperf), (cycles, (u128::from(cycles) * 22 / u128::from(ratio)) as u64));
        }

        #[test]
        fn the_cycles_of_ticks_are_the_least(ticks in 0u64..1 << 50, ratio in 1u8..=48) {
            let pace = Pace::new(22, ratio);
            let cycles = pace.cycles(ticks);
            prop_assert!(pace.ticks(cycles) >= ticks);
            prop_assert!(cycles == 0 || pace.ticks(cycles - 1) < ticks);
        }
    }
}
