//! Tests of one counter.

use super::*;
use crate::catalog::Fact;
use crate::signal::{Signal, Signals};
use cpu_x86::{Counts, Facts};

fn at(kernel: u64, user: u64) -> Counts {
    let facts = |n| Facts { instructions: n, branches: n / 4, conditional: n / 8, ..Facts::default() };
    Counts { kernel: facts(kernel), user: facts(user), cycles: kernel + user, ..Counts::default() }
}

const INSTRUCTIONS: Selection = Selection { formula: Formula::of(Fact::Instructions), os: true, usr: false };

#[test]
fn an_overflow_keeps_the_remainder_and_is_reported_once() {
    let mut c = Counter::default();
    c.set(MASK - 9, (&at(100, 0)).into());
    c.select(Some(INSTRUCTIONS), (&at(100, 0)).into());
    assert_eq!(c.distance(Ring::Kernel), 10);
    assert_eq!(c.distance(Ring::User), u64::MAX);
    assert!(!c.take_overflow((&at(109, 7)).into()));
    assert!(c.take_overflow((&at(113, 7)).into()));
    assert_eq!(c.value((&at(113, 7)).into()), 3);
    assert!(!c.take_overflow((&at(113, 7)).into()));
}

#[test]
fn a_counter_that_stands_still_keeps_its_value() {
    let mut c = Counter::default();
    c.select(Some(INSTRUCTIONS), (&at(0, 0)).into());
    c.select(None, (&at(50, 0)).into());
    assert_eq!(c.value((&at(90, 0)).into()), 50);
    c.select(Some(Selection { usr: true, ..INSTRUCTIONS }), (&at(90, 10)).into());
    assert_eq!(c.value((&at(91, 12)).into()), 53);
}

#[test]
fn slots_come_six_at_a_time() {
    let mut c = Counter::default();
    c.set(MASK - 12, (&at(0, 0)).into());
    c.select(Some(Selection { formula: Formula::of(Fact::Slots), ..INSTRUCTIONS }), (&at(0, 0)).into());
    assert_eq!(c.distance(Ring::Kernel), 3);
    assert!(!c.take_overflow((&at(2, 0)).into()));
    assert!(c.take_overflow((&at(3, 0)).into()));
    assert_eq!(c.value((&at(3, 0)).into()), 5);
}

#[test]
fn only_what_is_observed_while_it_counts_is_counted() {
    let (counts, mut signals) = (at(0, 0), Signals::default());
    signals.kernel[Signal::L1dReplacements] = 1000;
    let mut c = Counter::default();
    let formula = Formula::of(Fact::Seen(Signal::L1dReplacements));
    c.select(Some(Selection { formula, os: true, usr: true }), Now { counts: &counts, signals: Some(&signals) });
    signals.kernel[Signal::L1dReplacements] += 7;
    signals.user[Signal::L1dReplacements] += 20;
    assert_eq!(c.value(Now { counts: &counts, signals: Some(&signals) }), 27);
    // Two lines an instruction at most, as a rule.
    c.set(MASK - 20, Now { counts: &counts, signals: Some(&signals) });
    assert_eq!(c.distance(Ring::User), 11);
}

#[test]
fn what_can_never_happen_has_no_deadline() {
    let mut c = Counter::default();
    c.select(Some(Selection { formula: Formula::NEVER, os: true, usr: true }), (&at(0, 0)).into());
    c.set(MASK, (&at(0, 0)).into());
    assert_eq!(c.distance(Ring::User), u64::MAX);
}

#[test]
fn facts_that_fall_count_nothing() {
    let mut c = Counter::default();
    c.select(Some(INSTRUCTIONS), (&at(100, 0)).into());
    assert_eq!(c.value((&at(40, 0)).into()), 0);
    assert!(!c.take_overflow((&at(40, 0)).into()));
}
