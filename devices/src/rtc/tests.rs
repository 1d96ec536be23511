//! The clock's registers, flags and instants.

use super::*;
use crate::bench::Bench;

impl Bench<Rtc> {
    fn get(&mut self, index: u64) -> u64 {
        self.write(0, 0, 1, index);
        self.read(0, 1, 1)
    }
    fn put(&mut self, index: u64, value: u64) {
        self.write(0, 0, 1, index);
        self.write(0, 1, 1, value);
    }
    fn shown(&mut self) -> [u64; 8] {
        [0x32, 9, 8, 7, 6, 4, 2, 0].map(|n| self.get(n))
    }
}

#[test]
fn starts_at_the_configured_date_and_advances_in_virtual_time() {
    let mut b = Bench::new(Rtc::new(DEFAULT_START));
    assert_eq!(b.shown(), [0x20, 0x26, 1, 1, 5, 0, 0, 0]);
    b.until(Time::s(59 * 60 + 59));
    assert_eq!(b.shown(), [0x20, 0x26, 1, 1, 5, 0, 0x59, 0x59]);
    b.until(Time::s(86_400 * 58));
    assert_eq!(b.shown(), [0x20, 0x26, 2, 0x28, 7, 0, 0, 0]);
    assert_eq!([b.get(0xa), b.get(0xb), b.get(0xd)], [0x26, 0x02, 0x80]);
}

#[test]
fn binary_and_twelve_hour_formats() {
    let mut b = Bench::new(Rtc::new(DEFAULT_START));
    b.put(0xb, 0x84);
    for (index, value) in [(0, 58), (2, 59), (4, 0x8b), (7, 31), (8, 12), (9, 99), (0x32, 20)] {
        b.put(index, value);
    }
    b.put(0xb, 0x04);
    b.until(Time::s(1));
    assert_eq!(b.shown()[5..], [0x8b, 59, 59]);
    b.until(Time::s(2));
    assert_eq!(b.shown(), [21, 0, 1, 1, 6, 12, 0, 0], "midnight is 12 AM; 2100-01-01 is a Friday");
}

#[test]
fn set_holds_the_time() {
    let mut b = Bench::new(Rtc::new(DEFAULT_START));
    b.put(0xb, 0x82);
    b.until(Time::s(10));
    assert_eq!(b.get(0), 0);
    b.put(0, 0x30);
    b.put(0xb, 0x02);
    b.until(Time::s(11));
    assert_eq!(b.get(0), 0x31);
}

#[test]
fn update_in_progress_shows_for_2228_microseconds() {
    let mut b = Bench::new(Rtc::new(DEFAULT_START));
    b.until(Time::us(1_000_000 - 2228) - Time::ps(1));
    assert_eq!(b.get(0xa), 0x26);
    b.until(Time::us(1_000_000 - 2228));
    assert_eq!(b.get(0xa), 0xa6);
    b.until(Time::s(1) - Time::ps(1));
    assert_eq!([b.get(0xa), b.get(0)], [0xa6, 0]);
    b.until(Time::s(1));
    assert_eq!([b.get(0xa), b.get(0)], [0x26, 1]);
}

#[test]
fn letting_the_divider_go_updates_half_a_second_later() {
    let mut b = Bench::new(Rtc::new(DEFAULT_START));
    b.until(Time::ms(700));
    b.put(0xa, 0x76);
    b.until(Time::ms(5250));
    assert_eq!(b.get(0), 0);
    b.put(0xa, 0x26);
    b.until(Time::ms(5749));
    assert_eq!(b.get(0), 0);
    b.until(Time::ms(5750));
    assert_eq!(b.get(0), 1);
}

#[test]
fn periodic_interrupts_come_at_the_rate_and_wait_for_register_c() {
    let mut b = Bench::new(Rtc::new(DEFAULT_START));
    b.get(0xc);
    b.put(0xb, 0x42);
    b.drain();
    for n in 1..=5 {
        // Rate 6: 1024 Hz.
        assert_eq!(b.alarm, Some(Time::of_ticks(n * 32, 32_768)));
        b.until(Time::of_ticks(n * 32, 32_768));
        assert_eq!(b.levels(8), [true]);
        assert_eq!(b.get(0xc), 0xc0);
        assert_eq!(b.levels(8), [false]);
        assert_eq!(b.get(0xc), 0);
    }
    b.until(Time::s(1));
    assert_eq!(b.levels(8), [true], "one, until it is read");
}

#[test]
fn update_and_alarm_interrupts() {
    let mut b = Bench::new(Rtc::new(DEFAULT_START));
    b.put(0xa, 0x20);
    b.put(0xb, 0x12);
    b.until(Time::s(1));
    assert_eq!(b.levels(8), [true]);
    assert_eq!(b.get(0xc), 0x90);
    b.put(1, 0x05);
    b.put(3, 0x02);
    b.put(5, 0xff);
    b.put(0xb, 0x22);
    b.drain();
    b.until(Time::s(124));
    assert_eq!(b.levels(8), []);
    b.until(Time::s(125));
    assert_eq!(b.levels(8), [true]);
    assert_eq!(b.get(0xc), 0xb0);
}

#[test]
fn memory_keeps_what_is_written_and_survives_reset() {
    let mut b = Bench::new(Rtc::new(DEFAULT_START));
    b.chip.set_nvram(0x15, 0x80);
    b.put(0x7f, 0x5a);
    b.put(0xb, 0x72);
    b.with(|chip, cx| chip.reset(cx));
    assert_eq!([b.get(0x15), b.get(0x7f), b.get(0xb), b.get(0x8f)], [0x80, 0x5a, 0x02, 0]);
}
