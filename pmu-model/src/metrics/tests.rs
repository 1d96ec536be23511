//! Tests of PERF_METRICS: rounding, and the order of writes.

use super::*;
use crate::signal::Signals;
use cpu_x86::Counts;

/// A ledger: light, heavy, mispredict, clear, fetch latency, fetch bandwidth, memory, core.
fn ledger(n: [u64; 8]) -> Signals {
    use Signal::*;
    let mut signals = Signals::default();
    let names = [
        SlotsLight,
        SlotsHeavy,
        SlotsMispredict,
        SlotsClear,
        SlotsFetchLatency,
        SlotsFetchBandwidth,
        SlotsMemory,
        SlotsCore,
    ];
    names.into_iter().zip(n).for_each(|(s, n)| signals.user[s] = n);
    signals
}

const USER: Option<(bool, bool)> = Some((false, true));

fn after(n: [u64; 8]) -> u64 {
    let counts = Counts::default();
    let mut m = Metrics::default();
    m.select(USER, Now { counts: &counts, signals: Some(&ledger([0; 8])) });
    m.value(Now { counts: &counts, signals: Some(&ledger(n)) })
}

fn fields(v: u64) -> [u8; 8] {
    v.to_le_bytes()
}

#[test]
fn fields_are_255ths_of_the_slots() {
    assert_eq!(after([0; 8]), 0);
    assert_eq!(fields(after([255, 0, 0, 0, 0, 0, 0, 0])), [255, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(fields(after([40, 11, 20, 31, 30, 21, 100, 2])), [51, 51, 51, 102, 11, 20, 30, 100]);
}

#[test]
fn what_rounding_leaves_goes_to_the_largest_remainders() {
    // 63.75 each: three units are left, for the first three.
    assert_eq!(fields(after([1, 0, 1, 0, 1, 0, 1, 0]))[..4], [64, 64, 64, 63]);
    // 85 each of three; 36.43, 72.86 and 145.7: two units, for the two largest remainders.
    assert_eq!(fields(after([1, 0, 1, 0, 1, 0, 0, 0]))[..4], [85, 85, 85, 0]);
    assert_eq!(fields(after([1, 0, 2, 0, 4, 0, 0, 0]))[..4], [36, 73, 146, 0]);
}

#[test]
fn a_part_is_at_most_its_whole() {
    // 127.5 each: the last unit goes to the first, and the part of the second is cut to it.
    assert_eq!(fields(after([0, 1, 1, 0, 0, 0, 0, 0])), [128, 127, 0, 0, 127, 127, 0, 0]);
}

#[test]
fn writing_slots_then_metrics_restores_them() {
    let counts = Counts::default();
    let (zero, later) = (ledger([0; 8]), ledger([6, 0, 0, 0, 0, 0, 0, 0]));
    let now = Now { counts: &counts, signals: Some(&zero) };
    for (slots, v) in [(600u64, 0x0a14_1e28_3c40_5f24u64), (7, 0x0102_0304_3f40_4040), (1 << 47, 0x0000_0000_0000_00ff)]
    {
        let mut m = Metrics::default();
        m.select(USER, now);
        m.restart(slots, now);
        assert_eq!(m.value(now), 0, "slots alone are no metrics");
        m.load(v, now);
        assert_eq!(m.value(now), v);
        // With six more slots that retire the four still make up all.
        let sum: u64 =
            fields(m.value(Now { counts: &counts, signals: Some(&later) }))[..4].iter().map(|f| u64::from(*f)).sum();
        assert_eq!(sum, 255, "{slots}");
        m.restart(0, now);
        assert_eq!(m.value(now), 0);
    }
}

#[test]
fn metrics_before_slots_are_lost() {
    let (counts, zero) = (Counts::default(), ledger([0; 8]));
    let now = Now { counts: &counts, signals: Some(&zero) };
    let mut m = Metrics::default();
    m.load(0x3f40_4040, now);
    m.restart(600, now);
    assert_eq!(m.value(now), 0);
}

#[test]
fn standing_still_keeps_the_fields() {
    let counts = Counts::default();
    let [a, b, c] = [[0; 8], [60, 0, 0, 0, 60, 0, 0, 0], [600, 0, 0, 0, 60, 0, 0, 0]].map(ledger);
    let [a, b, c] = [&a, &b, &c].map(|s| Now { counts: &counts, signals: Some(s) });
    let mut m = Metrics::default();
    m.select(USER, a);
    m.select(None, b);
    assert_eq!(fields(m.value(c)), [128, 0, 127, 0, 0, 0, 127, 0]);
    m.select(USER, c);
    assert_eq!(fields(m.value(c)), [128, 0, 127, 0, 0, 0, 127, 0]);
    m.select(Some((true, false)), c);
    assert_eq!(m.slots(c).0, 120);
}
