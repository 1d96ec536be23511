//! The 8254 as its datasheet's figures show it, tick by tick.

use super::*;
use crate::bench::Bench;

impl Bench<Pit> {
    /// Goes to tick `n` of the counters' clock.
    fn tick(&mut self, n: u64) {
        self.until(Time::of_ticks(n, PIT_HZ));
    }

    /// Output and count of counter 2 in mode `command`, tick by tick: (OUT, count).
    fn trace(&mut self, ticks: std::ops::Range<u64>) -> Vec<(bool, u64)> {
        let mut seen = Vec::new();
        for n in ticks {
            self.tick(n);
            self.write(0, 3, 1, 0x80);
            let count = self.read(0, 2, 1) | self.read(0, 2, 1) << 8;
            seen.push((self.read(1, 0, 1) & 0x20 != 0, count));
        }
        seen
    }
}

/// Counter 2 with its gate high, given `command` and `count` at tick 0.
fn counter_two(command: u64, count: u64) -> Bench<Pit> {
    let mut b = Bench::new(Pit::default());
    b.write(1, 0, 1, 1);
    b.write(0, 3, 1, command);
    b.write(0, 2, 1, count & 0xff);
    b.write(0, 2, 1, count >> 8);
    b
}

#[test]
fn mode_0_raises_its_output_n_plus_one_clocks_after_the_write() {
    let mut b = counter_two(0xb0, 3);
    assert_eq!(b.trace(1..6), [(false, 3), (false, 2), (false, 1), (true, 0), (true, 0xffff)]);
}

#[test]
fn mode_0_stops_while_the_gate_is_low() {
    let mut b = counter_two(0xb0, 5);
    b.tick(3);
    b.write(1, 0, 1, 0);
    b.tick(10);
    assert_eq!(b.trace(10..12), [(false, 3), (false, 3)]);
    b.write(1, 0, 1, 1);
    assert_eq!(b.trace(12..15), [(false, 2), (false, 1), (true, 0)]);
}

#[test]
fn mode_1_is_a_pulse_of_n_clocks_from_each_trigger() {
    let mut b = counter_two(0xb2, 3);
    assert_eq!(b.trace(1..2), [(true, 3)], "the gate has not risen since");
    b.write(1, 0, 1, 0);
    b.write(1, 0, 1, 1);
    assert_eq!(b.trace(2..7), [(false, 3), (false, 2), (false, 1), (true, 0), (true, 0xffff)]);
}

#[test]
fn mode_2_is_low_for_the_last_clock_of_each_period() {
    let mut b = counter_two(0xb4, 3);
    assert_eq!(b.trace(1..6), [(true, 3), (true, 2), (false, 1), (true, 3), (true, 2)]);
}

#[test]
fn mode_2_takes_a_new_count_at_the_end_of_the_period() {
    let mut b = counter_two(0xb4, 4);
    b.tick(2);
    b.write(0, 2, 1, 2);
    b.write(0, 2, 1, 0);
    assert_eq!(b.trace(2..9), [(true, 3), (true, 2), (false, 1), (true, 2), (false, 1), (true, 2), (false, 1)]);
}

#[test]
fn mode_3_halves_an_even_count_and_favours_high_in_an_odd_one() {
    let mut b = counter_two(0xb6, 4);
    assert_eq!(b.trace(1..6), [(true, 4), (true, 2), (false, 4), (false, 2), (true, 4)]);
    let mut b = counter_two(0xb6, 5);
    assert_eq!(b.trace(1..7), [(true, 4), (true, 2), (true, 0), (false, 4), (false, 2), (true, 4)]);
}

#[test]
fn mode_3_takes_a_new_count_at_the_end_of_the_half_cycle() {
    let mut b = counter_two(0xb6, 8);
    b.tick(2);
    b.write(0, 2, 1, 4);
    b.write(0, 2, 1, 0);
    let outs: Vec<bool> = b.trace(1..11).iter().map(|(out, _)| *out).collect();
    assert_eq!(outs, [true, true, true, true, false, false, true, true, false, false]);
}

#[test]
fn modes_4_and_5_strobe_low_for_one_clock() {
    let mut b = counter_two(0xb8, 2);
    assert_eq!(b.trace(1..5), [(true, 2), (true, 1), (false, 0), (true, 0xffff)]);
    let mut b = counter_two(0xba, 2);
    b.write(1, 0, 1, 0);
    b.write(1, 0, 1, 1);
    assert_eq!(b.trace(1..5), [(true, 2), (true, 1), (false, 0), (true, 0xffff)]);
}

#[test]
fn counts_in_bcd() {
    let mut b = counter_two(0xb1, 0x1000);
    assert_eq!(b.trace(1..3), [(false, 0x1000), (false, 0x999)]);
    let mut b = counter_two(0xb1, 0);
    assert_eq!(b.trace(1..3), [(false, 0), (false, 0x9999)]);
}

#[test]
fn a_latched_count_stands_until_read_and_a_live_one_moves() {
    let mut b = counter_two(0xb0, 0x1234);
    b.tick(1);
    b.write(0, 3, 1, 0x80);
    b.tick(5);
    b.write(0, 3, 1, 0x80);
    assert_eq!([b.read(0, 2, 1), b.read(0, 2, 1)], [0x34, 0x12]);
    assert_eq!([b.read(0, 2, 1), b.read(0, 2, 1)], [0x30, 0x12]);
}

#[test]
fn read_back_shows_status_before_count() {
    let mut b = counter_two(0xb4, 0x1234);
    b.write(0, 3, 1, 0xc8);
    assert_eq!([b.read(0, 2, 1), b.read(0, 2, 1), b.read(0, 2, 1)], [0xf4, 0x34, 0x12], "not loaded yet");
    b.tick(2);
    b.write(0, 3, 1, 0xe8);
    assert_eq!(b.read(0, 2, 1), 0xb4);
}

#[test]
fn counter_0_interrupts_at_exact_times() {
    let mut b = Bench::new(Pit::default());
    b.write(0, 3, 1, 0x34);
    b.write(0, 0, 1, 0xa9);
    b.write(0, 0, 1, 0x04);
    b.drain();
    // 1193 ticks: low for the last, high again at tick 1 + 1193.
    assert_eq!(b.alarm, Some(Time::of_ticks(1193, PIT_HZ)));
    b.until(Time::of_ticks(1193, PIT_HZ));
    assert_eq!(b.levels(0), [false]);
    b.until(Time::of_ticks(1194, PIT_HZ));
    assert_eq!(b.levels(0), [true]);
    b.until(Time::of_ticks(1 + 1193 * 10, PIT_HZ));
    assert_eq!(b.levels(0).iter().filter(|high| **high).count(), 9);
}

#[test]
fn a_late_alarm_still_makes_an_edge() {
    let mut b = Bench::new(Pit::default());
    b.write(0, 3, 1, 0x14);
    b.write(0, 0, 1, 100);
    b.drain();
    b.now = Time::of_ticks(1050, PIT_HZ);
    b.with(|chip, cx| chip.alarm(cx));
    assert_eq!(b.levels(0), [false, true, false, true]);
}

#[test]
fn port_61_toggles_refresh_every_18_ticks() {
    let mut b = Bench::new(Pit::default());
    b.write(1, 0, 1, 0xff);
    let bits: Vec<u64> = [0, 17, 18, 35, 36].map(|n| (b.tick(n), b.read(1, 0, 1)).1).to_vec();
    assert_eq!(bits, [0x0f, 0x0f, 0x1f, 0x1f, 0x0f]);
}

#[test]
fn the_next_change_is_the_first_tick_whose_output_differs() {
    let mut dice = emu_core::Random(1);
    for round in 0..20_000 {
        let mut c = Counter::default();
        let mut now = dice.below(50);
        // A mode, a count, and a few disturbances: a new count, the gate, some time.
        c.command(0x10 | (dice.below(8) as u8) << 1, now);
        for _ in 0..4 {
            match dice.below(3) {
                0 | 1 => c.write(1 + dice.below(12) as u8, now),
                _ => c.set_gate(dice.below(2) == 0, now),
            }
            now += dice.below(30);
            let _ = c.out(now);
        }
        let level = c.clone().out(now);
        let first = (now + 1..now + 60).find(|tick| c.clone().out(*tick) != level);
        assert_eq!(c.clone().next_change(now), first, "round {round} at {now}: {c:?}");
    }
}

/// The datasheet's counting rules executed one clock at a time: the output of mode `mode` with `count` at each tick
/// after the write, gate high.
fn stepped(mode: u8, count: u32, ticks: usize) -> Vec<bool> {
    let (mut out, mut element, mut outs) = (mode != 0, count, Vec::new());
    let (mut odd_wait, mut fired) = (mode == 3 && count % 2 == 1, false);
    if mode == 3 {
        element = count & !1;
    }
    outs.push(out);
    for _ in 1..ticks {
        match mode {
            0 => {
                element = element.wrapping_sub(1);
                out |= element == 0;
            }
            2 => {
                element = if element == 1 { count } else { element - 1 };
                out = element != 1;
            }
            3 => {
                element = element.saturating_sub(2);
                if element == 0 && !(odd_wait && out && !std::mem::replace(&mut fired, true)) {
                    out = !out;
                    element = count & !1;
                    fired = false;
                }
                odd_wait = count % 2 == 1;
            }
            _ => {
                element = element.wrapping_sub(1);
                out = element != 0 || std::mem::replace(&mut fired, true);
            }
        }
        outs.push(out);
    }
    outs
}

#[test]
fn outputs_follow_from_counting_clock_by_clock() {
    for mode in [0, 2, 3, 4] {
        for count in 2..40 {
            let mut c = Counter::default();
            c.command(0x10 | mode << 1, 0);
            c.write(count, 0);
            let outs: Vec<bool> = (1..200).map(|tick| c.out(tick)).collect();
            assert_eq!(outs, stepped(mode, count.into(), 199), "mode {mode}, count {count}");
        }
    }
}
