//! 8254: three counters at 1.193182 MHz, and port 61h, which gates the third and shows its output.
//!
//! Nothing is counted: a counter knows the tick at which it was loaded and with what, and its value and output at any
//! later tick follow. Counter 0 drives interrupt line 0, by an alarm at each change of its output; counter 1 is the
//! refresh clock behind bit 4 of port 61h; counter 2 is the speaker's.
//!
//! Source: Intel 8254 datasheet (231164-005), 1993; port 61h: Intel ICH9 datasheet (316972), section 13.7.

mod counter;

use crate::lanes;
use counter::Counter;
use emu_core::{Cx, Device, Line, Place, Port, Region, Time};

/// Ticks per second of all three counters.
pub const PIT_HZ: u64 = 1_193_182;
/// Refresh request every 18 ticks, about 15.09 us.
const REFRESH_TICKS: u64 = 18;

/// The timer.
#[derive(Clone, Debug)]
pub struct Pit {
    counters: [Counter; 3],
    /// Bits 3:0 of port 61h: gate of counter 2, speaker data, and two check enables.
    control: u8,
    /// Level last driven on line 0.
    high: bool,
    /// Tick up to which line 0 is up to date.
    seen: u64,
}

impl Default for Pit {
    fn default() -> Pit {
        let mut counters = [Counter::default(), Counter::default(), Counter::default()];
        counters[2].set_gate(false, 0);
        Pit { counters, control: 0, high: false, seen: 0 }
    }
}

impl Pit {
    /// Brings line 0 up to the present and sets the alarm for its next change.
    fn drive(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.ticks(PIT_HZ);
        let counter = &mut self.counters[0];
        // An alarm rung late may have passed a whole pulse, which must still be one.
        for _ in 0..3 {
            match counter.next_change(self.seen).filter(|at| *at <= now) {
                Some(at) => {
                    self.seen = at;
                    set(&mut self.high, counter.out(at), cx);
                }
                None => break,
            }
        }
        self.seen = now;
        set(&mut self.high, counter.out(now), cx);
        cx.set_alarm(counter.next_change(now).map(|tick| Time::of_ticks(tick, PIT_HZ)));
    }

    fn read_byte(&mut self, region: usize, offset: u64, now: u64) -> u8 {
        match (region, offset) {
            (0, 0..=2) => self.counters[offset as usize].read(now),
            (1, 0) => {
                let refresh = ((now / REFRESH_TICKS) & 1) as u8;
                self.control | refresh << 4 | u8::from(self.counters[2].out(now)) << 5
            }
            _ => 0xff,
        }
    }

    fn write_byte(&mut self, region: usize, offset: u64, value: u8, now: u64) {
        match (region, offset) {
            (0, 0..=2) => self.counters[offset as usize].write(value, now),
            (0, 3) => self.command(value, now),
            (1, 0) => {
                self.control = value & 0xf;
                self.counters[2].set_gate(value & 1 != 0, now);
            }
            _ => {}
        }
    }

    fn command(&mut self, value: u8, now: u64) {
        if value >> 6 < 3 {
            self.counters[usize::from(value >> 6)].command(value, now);
            return;
        }
        for (n, counter) in self.counters.iter_mut().enumerate() {
            if value & 2 << n != 0 {
                counter.read_back(value & 0x20 == 0, value & 0x10 == 0, now);
            }
        }
    }
}

fn set(level: &mut bool, high: bool, cx: &mut Cx<'_>) {
    if *level != high {
        *level = high;
        cx.line(Line(0), high);
    }
}

impl Device for Pit {
    fn name(&self) -> &'static str {
        "8254"
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region::ports(Port(0x40), 4), Region::ports(Port(0x61), 1)]
    }

    fn read(&mut self, at: Place, cx: &mut Cx<'_>) -> u64 {
        let now = cx.now.ticks(PIT_HZ);
        lanes::read(at, |offset| self.read_byte(at.region, offset, now))
    }

    fn write(&mut self, at: Place, value: u64, cx: &mut Cx<'_>) {
        // Changes up to now follow from what was programmed before.
        self.drive(cx);
        let now = cx.now.ticks(PIT_HZ);
        lanes::write(at, value, |offset, byte| self.write_byte(at.region, offset, byte, now));
        self.drive(cx);
    }

    fn alarm(&mut self, cx: &mut Cx<'_>) {
        self.drive(cx);
    }

    fn reset(&mut self, cx: &mut Cx<'_>) {
        *self = Pit { high: self.high, seen: cx.now.ticks(PIT_HZ), ..Pit::default() };
        self.drive(cx);
    }
}

#[cfg(test)]
mod tests;
