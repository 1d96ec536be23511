//! A small generator of schedules that shrinks: steps are drawn from a seed, and a failing schedule loses steps as long
//! as it still fails.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Schedules of each property.
pub const SCHEDULES: u64 = 100_000;

/// Numbers from a seed (xorshift64*, Vigna 2016).
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Draw {
        Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 33) % limit
    }

    pub fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Holds `property` against `count` schedules of up to `longest` steps. A property fails by panicking.
pub fn hold<S: Clone + Debug>(count: u64, longest: u64, step: impl Fn(&mut Draw) -> S, property: impl Fn(&[S])) {
    let mut steps = Vec::new();
    for seed in 1..=count {
        let mut draw = Draw::new(seed);
        steps.clear();
        steps.extend((0..1 + draw.below(longest)).map(|_| step(&mut draw)));
        if catch_unwind(AssertUnwindSafe(|| property(&steps))).is_err() {
            let shortest = shrink(&steps, &property);
            eprintln!("seed {seed}: fails with these {} steps:\n{shortest:#?}", shortest.len());
            property(&shortest);
            panic!("the shortest schedule passed when it was run again: the property is not a function of its steps");
        }
    }
}

/// Drops runs of steps, long ones first, while what remains still fails.
fn shrink<S: Clone>(steps: &[S], property: &impl Fn(&[S])) -> Vec<S> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut shortest = steps.to_vec();
    let mut run = shortest.len().div_ceil(2);
    while run > 0 {
        let mut at = 0;
        while at < shortest.len() {
            let mut shorter = shortest.clone();
            shorter.drain(at..(at + run).min(shortest.len()));
            if catch_unwind(AssertUnwindSafe(|| property(&shorter))).is_err() {
                shortest = shorter;
            } else {
                at += run;
            }
        }
        run /= 2;
    }
    std::panic::set_hook(hook);
    shortest
}

#[test]
fn a_failing_schedule_shrinks_to_what_makes_it_fail() {
    let steps: Vec<u64> = (0..100).collect();
    let fails = |steps: &[u64]| assert!(!(steps.contains(&13) && steps.contains(&77)));
    assert_eq!(shrink(&steps, &fails), [13, 77]);
}
