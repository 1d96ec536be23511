//! PERF_METRICS: eight fractions of the slots counted since fixed counter 3 and the metrics were last set.
//!
//! Each bucket of slots is an exact accumulator with fixed counter 3's ring filter; a read makes 255ths of them. The four
//! fields of level 1 sum to 255; those of level 2 are at most their parents.
//!
//! The slots are those of the ledger, which are six a cycle while the model observes. Source: spec/pmu.md 2.1 to 2.5.

use crate::counter::MASK;
use crate::formula::Formula;
use crate::now::Now;
use crate::signal::Signal;
use crate::{Fact, Selection};

/// The fields, from bit 0 on: retiring, bad speculation, front end, back end; heavy operations, branch mispredictions,
/// fetch latency, memory.
pub const FIELDS: usize = 8;
/// How many of them make up all slots; the others are parts of these, in their order.
const LEVEL1: usize = 4;
/// A field that is all slots.
const ALL: u64 = 255;

const BUCKETS: [&[Signal]; FIELDS] = [
    &[Signal::SlotsLight, Signal::SlotsHeavy],
    &[Signal::SlotsMispredict, Signal::SlotsClear],
    &[Signal::SlotsFetchLatency, Signal::SlotsFetchBandwidth],
    &[Signal::SlotsMemory, Signal::SlotsCore],
    &[Signal::SlotsHeavy],
    &[Signal::SlotsMispredict],
    &[Signal::SlotsFetchLatency],
    &[Signal::SlotsMemory],
];

/// The accumulators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Slots in all, and of each field, when anything that decides what is accumulated last changed.
    slots: u64,
    buckets: [u64; FIELDS],
    /// The ledger's totals then.
    since: [u64; FIELDS],
    /// The rings that are accumulated: kernel, user; `None`: nothing is.
    rings: Option<(bool, bool)>,
    /// The value last written, as long as nothing came to it.
    written: Option<u64>,
}

impl Metrics {
    fn totals(&self, now: Now<'_>) -> [u64; FIELDS] {
        let Some((os, usr)) = self.rings else { return [0; FIELDS] };
        BUCKETS.map(|signals| {
            let of = |s: &Signal| Selection { formula: Formula::of(Fact::Seen(*s)), os, usr }.count(now);
            signals.iter().fold(0u64, |n, s| n.wrapping_add(of(s)))
        })
    }

    /// Slots in all and by field, up to `now`.
    pub fn slots(&self, now: Now<'_>) -> (u64, [u64; FIELDS]) {
        let totals = self.totals(now);
        let gone: [u64; FIELDS] = std::array::from_fn(|n| totals[n].wrapping_sub(self.since[n]));
        let slots = gone[..LEVEL1].iter().fold(self.slots, |n, g| n.wrapping_add(*g));
        (slots, std::array::from_fn(|n| self.buckets[n].wrapping_add(gone[n])))
    }

    /// From now on the slots of these rings (kernel, user) are accumulated; `None`: none are.
    pub fn select(&mut self, rings: Option<(bool, bool)>, now: Now<'_>) {
        if rings != self.rings {
            let (slots, buckets) = self.slots(now);
            if slots != self.slots {
                self.written = None;
            }
            (self.slots, self.buckets, self.rings) = (slots, buckets, rings);
            self.since = self.totals(now);
        }
    }

    /// Fixed counter 3 is set to `slots`: there is no fraction of anything until the metrics are set as well.
    pub fn restart(&mut self, slots: u64, now: Now<'_>) {
        let since = { self.totals(now) };
        *self = Metrics { slots: slots & MASK, since, rings: self.rings, ..Metrics::default() };
    }

    /// PERF_METRICS is set: so many 255ths of the slots there are now.
    pub fn load(&mut self, v: u64, now: Now<'_>) {
        let fields = v.to_le_bytes().map(u64::from);
        let (slots, _) = self.slots(now);
        let mut buckets = fields.map(|f| part(f, slots, ALL));
        if fields[..LEVEL1].iter().sum::<u64>() == ALL {
            buckets[..LEVEL1].copy_from_slice(&apportion(slots, [fields[0], fields[1], fields[2], fields[3]]));
        }
        *self = Metrics { slots, buckets, since: self.totals(now), rings: self.rings, written: Some(v) };
    }

    /// PERF_METRICS.
    pub fn value(&self, now: Now<'_>) -> u64 {
        let (slots, b) = self.slots(now);
        if let Some(v) = self.written.filter(|_| slots == self.slots) {
            return v;
        }
        if slots == 0 {
            return 0;
        }
        let mut fields: [u64; FIELDS] = b.map(|n| part(n, ALL, slots).min(ALL));
        if b[..LEVEL1].iter().fold(0u64, |n, b| n.wrapping_add(*b)) == slots {
            fields[..LEVEL1].copy_from_slice(&apportion(ALL, [b[0], b[1], b[2], b[3]]));
        }
        for n in LEVEL1..FIELDS {
            fields[n] = fields[n].min(fields[n - LEVEL1]);
        }
        u64::from_le_bytes(fields.map(|f| f as u8))
    }
}

/// `a` x `b` / `of`, rounded down; 0 where `of` is.
fn part(a: u64, b: u64, of: u64) -> u64 {
    (u128::from(a) * u128::from(b)).checked_div(u128::from(of)).unwrap_or(0) as u64
}

/// `whole` divided as `weights` are, which are not all 0: each share is rounded down, and what is left goes one by one to
/// the largest remainders, the earlier of equal ones first.
fn apportion(whole: u64, weights: [u64; LEVEL1]) -> [u64; LEVEL1] {
    let sum = weights.iter().fold(0u128, |n, w| n + u128::from(*w));
    let product = |n: usize| u128::from(whole) * u128::from(weights[n]);
    let mut shares: [u64; LEVEL1] = std::array::from_fn(|n| product(n).checked_div(sum).unwrap_or(0) as u64);
    let mut order: [usize; LEVEL1] = std::array::from_fn(|n| n);
    order.sort_by_key(|&n| std::cmp::Reverse(product(n).checked_rem(sum).unwrap_or(0)));
    let left = whole.saturating_sub(shares.iter().sum());
    order.iter().take(left as usize).for_each(|&n| shares[n] += 1);
    shares
}

#[cfg(test)]
mod tests;
