//! Which counters an event may sit on, and who gets which when several are on at once.
//!
//! A counter's number is its bit in `IA32_PERF_GLOBAL_CTRL`: 0 to 7 general, 32 to 35 fixed, 48 to 55 the topdown metrics
//! (one register, a pseudo counter for each field, as Linux numbers them). Fixed counters are wanted first, for nothing
//! else can use them. Events that are hard to place are placed first: with the sets of this part, which nest once the
//! fixed counters are taken out, that finds a place for all whenever there is one (`tests/host_schedules` holds it
//! against exhaustive matching).
//!
//! Source: spec/pmu.md 1.10.3, 5.4; linux v6.12 arch/x86/events/intel/core.c and events/core.c, `perf_assign_events`.

use super::attr::Attr;
use std::fmt;

/// A counter, by its bit in `IA32_PERF_GLOBAL_CTRL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counter(pub u8);

impl Counter {
    /// The first fixed counter.
    pub const FIXED: u8 = 32;
    /// The first topdown metric.
    pub const METRIC: u8 = 48;

    /// General counter `n`.
    pub const fn general(n: u8) -> Counter {
        Counter(n)
    }

    /// Fixed counter `n`.
    pub const fn fixed(n: u8) -> Counter {
        Counter(Counter::FIXED + n)
    }

    /// Its bit.
    pub const fn bit(self) -> u64 {
        1 << self.0
    }

    /// Whether it is a general counter.
    pub const fn is_general(self) -> bool {
        self.0 < Counter::FIXED
    }

    /// Its number among the fixed ones, if it is one.
    pub const fn as_fixed(self) -> Option<u8> {
        if self.0 >= Counter::FIXED && self.0 < Counter::METRIC { Some(self.0 - Counter::FIXED) } else { None }
    }

    /// Its field of PERF_METRICS, if it is one.
    pub const fn as_metric(self) -> Option<u8> {
        if self.0 >= Counter::METRIC { Some(self.0 - Counter::METRIC) } else { None }
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.as_fixed(), self.as_metric()) {
            (Some(n), _) => write!(f, "FC{n}"),
            (_, Some(n)) => write!(f, "TD{n}"),
            _ => write!(f, "GP{}", self.0),
        }
    }
}

/// A set of counters, as bits of `IA32_PERF_GLOBAL_CTRL`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters(pub u64);

impl Counters {
    /// None.
    pub const NONE: Counters = Counters(0);

    /// The counters of a PMU with so many general (at most 8) and fixed (at most 4) ones, without metrics.
    pub const fn of(general: u32, fixed: u32) -> Counters {
        Counters(((1 << general) - 1) | ((1 << fixed) - 1) << Counter::FIXED)
    }

    /// Only one.
    pub const fn only(counter: Counter) -> Counters {
        Counters(counter.bit())
    }

    /// Whether it is in the set.
    pub const fn holds(self, counter: Counter) -> bool {
        self.0 & counter.bit() != 0
    }

    /// How many.
    pub const fn weight(self) -> u32 {
        self.0.count_ones()
    }

    /// Those in both.
    #[must_use]
    pub const fn and(self, other: Counters) -> Counters {
        Counters(self.0 & other.0)
    }

    /// Those in either.
    #[must_use]
    pub const fn or(self, other: Counters) -> Counters {
        Counters(self.0 | other.0)
    }

    /// Those not in the other.
    #[must_use]
    pub const fn without(self, other: Counters) -> Counters {
        Counters(self.0 & !other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// In ascending order.
    pub fn iter(self) -> impl Iterator<Item = Counter> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let counter = (left != 0).then(|| Counter(left.trailing_zeros() as u8));
            left &= left.wrapping_sub(1);
            counter
        })
    }

    /// The one to take first: fixed before general, the lowest of its kind. Linux does the same.
    fn first(self) -> Option<Counter> {
        let fixed = self.0 >> Counter::FIXED << Counter::FIXED;
        let from = if fixed != 0 { fixed } else { self.0 };
        (from != 0).then(|| Counter(from.trailing_zeros() as u8))
    }
}

const GENERAL: u64 = 0xff;
const LOW_FOUR: u64 = 0x0f;
const FIXED_0: u64 = 1 << 32;

/// The counters on which Linux places an event of Sapphire Rapids, by event select and unit mask.
pub const fn counters_for(config: u64) -> Counters {
    let event = config & 0xff;
    Counters(match config & 0xffff {
        0x0100 => FIXED_0,
        0x00c0 => FIXED_0 | GENERAL,
        0x003c => FIXED_0 << 1 | GENERAL,
        0x0300 => FIXED_0 << 2,
        0x013c => FIXED_0 << 2 | GENERAL,
        0x0400 => FIXED_0 << 3,
        0x8000 | 0x8100 | 0x8200 | 0x8300 | 0x8400 | 0x8500 | 0x8600 | 0x8700 => 1 << (48 + (config >> 8 & 7)),
        0x01a3 | 0x02a3 | 0x08a3 => LOW_FOUR,
        0x04a4 | 0x08a4 | 0x02cd => 1,
        _ => match event {
            0xce => 1,
            0x2e | 0x3c => GENERAL,
            0x01..=0x8f | 0xd0..=0xdf => LOW_FOUR,
            _ => GENERAL,
        },
    })
}

/// The counters on which an event may sit; none for software's.
pub fn counters_of(attr: &Attr) -> Counters {
    let Ok(Some(config)) = attr.hardware_config() else { return Counters::NONE };
    let allowed = counters_for(config);
    // precise_ip 3 wants the counters that can do it: cycles and the like GP0, instructions FC0 (spec/pmu.md 1.10.6).
    let exact = match config & 0xffff {
        0x00c0 => Counters(FIXED_0),
        _ => Counters(1),
    };
    if attr.precise == 3 && !allowed.and(exact).is_empty() { allowed.and(exact) } else { allowed }
}

/// Whether the event is a topdown metric: read through PERF_METRICS beside a slots counter.
pub const fn is_metric(config: u64) -> bool {
    config & 0xff == 0 && config >= 0x8000 && config <= 0x8700
}

/// What an event that wants a counter says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Where it may sit.
    pub counters: Counters,
    /// Where it sat last.
    pub last: Option<Counter>,
}

/// Most events that are on at once: 8 general, 4 fixed, 8 metrics.
pub const MOST: usize = 20;

/// Places all of `wants`, or none: the counter of each, in order.
///
/// Where everybody can have the counter it had last, everybody gets it, so that nothing is reprogrammed for nothing.
pub fn assign(available: Counters, wants: &[Want]) -> Option<[Counter; MOST]> {
    if wants.len() > MOST {
        return None;
    }
    keep(available, wants).or_else(|| place(available, wants))
}

fn keep(available: Counters, wants: &[Want]) -> Option<[Counter; MOST]> {
    let mut given = [Counter(0); MOST];
    let mut free = available;
    for (want, given) in wants.iter().zip(&mut given) {
        *given = want.last.filter(|last| free.and(want.counters).holds(*last))?;
        free = free.without(Counters::only(*given));
    }
    Some(given)
}

fn place(available: Counters, wants: &[Want]) -> Option<[Counter; MOST]> {
    let mut given = [Counter(0); MOST];
    let mut free = available;
    let widest = wants.iter().map(|want| want.counters.weight()).max().unwrap_or(0);
    for weight in 0..=widest {
        for (want, given) in wants.iter().zip(&mut given).filter(|(want, _)| want.counters.weight() == weight) {
            *given = free.and(want.counters).first()?;
            free = free.without(Counters::only(*given));
        }
    }
    Some(given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::cell::Happening;

    fn want(config: u64) -> Want {
        Want { counters: counters_for(config), last: None }
    }

    #[test]
    fn fixed_counters_are_taken_first() {
        let wants = [want(0xc0), want(0x3c), want(0xc0), want(0xc4)];
        let given = assign(Counters::of(8, 4), &wants).unwrap();
        let names: Vec<String> = given[..4].iter().map(Counter::to_string).collect();
        assert_eq!(names, ["FC0", "FC1", "GP1", "GP0"], "the event without a fixed counter chooses first");
    }

    #[test]
    fn what_is_hard_to_place_is_placed_first() {
        let wants = [want(0xc4), want(0x04a4), want(0x412e)];
        let given = assign(Counters::of(8, 4), &wants).unwrap();
        assert_eq!(given[..3], [Counter(1), Counter(0), Counter(2)]);
    }

    #[test]
    fn two_events_for_one_counter_do_not_fit() {
        assert_eq!(assign(Counters::of(8, 4), &[want(0x04a4), want(0x08a4)]), None);
        assert_eq!(assign(Counters::of(8, 3), &[want(0x0400)]), None, "slots need fixed counter 3");
    }

    #[test]
    fn everybody_keeps_its_counter_where_all_can() {
        let stay = |config, last| Want { last: Some(Counter(last)), ..want(config) };
        let given = assign(Counters::of(8, 4), &[stay(0xc4, 5), stay(0xc5, 2)]).unwrap();
        assert_eq!(given[..2], [Counter(5), Counter(2)]);
        let given = assign(Counters::of(8, 4), &[stay(0xc4, 5), want(0xc5)]).unwrap();
        assert_eq!(given[..2], [Counter(0), Counter(1)]);
    }

    #[test]
    fn precise_level_three_has_one_counter() {
        let exact = |kind: Happening| counters_of(&Attr { precise: 3, ..Attr::counting(kind) });
        assert_eq!(exact(Happening::Retired), Counters::only(Counter::fixed(0)));
        assert_eq!(exact(Happening::Cycles), Counters::only(Counter::general(0)));
    }

    #[test]
    fn metrics_have_a_pseudo_counter_each() {
        for n in 0..8u8 {
            let config = 0x8000 + u64::from(n) * 0x100;
            assert!(is_metric(config));
            assert_eq!(counters_for(config), Counters::only(Counter(48 + n)));
        }
        assert!(!is_metric(0x8800) && !is_metric(0x0400) && !is_metric(0x8001));
    }
}
