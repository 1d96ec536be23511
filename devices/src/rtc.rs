//! MC146818: the real-time clock, and 128 bytes of battery-backed memory with it.
//!
//! The clock starts at a date from the configuration and advances in virtual time only. Seconds change at fixed
//! instants, and update-in-progress shows for the 2228 us before each (244 us of warning, 1984 us of update). Nothing
//! ticks: at each access the seconds that passed since the last are carried into the registers.
//!
//! Differs: daylight saving (register B bit 0) is kept and not acted on; the divider knows "runs" (010b) and "held".
//!
//! Source: Motorola MC146818A datasheet (ADI1027), 1988; century in 32h: Intel ICH9 datasheet (316972), section 13.6.

mod calendar;

use crate::lanes;
use calendar::Calendar;
use emu_core::{Cx, Device, Line, Place, Port, Region, Time};

/// 2026-01-01 00:00:00 UTC, the default start, in seconds since 1970.
pub const DEFAULT_START: u64 = 1_767_225_600;

/// The crystal.
const CRYSTAL_HZ: u64 = 32_768;
const SECOND: u64 = 1_000_000_000_000;
/// Update-in-progress goes up this long before the registers change.
const UPDATE: Time = Time::us(244 + 1984);
const CENTURY: usize = 0x32;
const LINE: Line = Line(8);

mod b {
    pub const SET: u8 = 0x80;
    pub const PIE: u8 = 0x40;
    pub const AIE: u8 = 0x20;
    pub const UIE: u8 = 0x10;
    pub const BINARY: u8 = 0x04;
    pub const HOURS_24: u8 = 0x02;
}
mod c {
    pub const IRQF: u8 = 0x80;
    pub const PF: u8 = 0x40;
    pub const AF: u8 = 0x20;
    pub const UF: u8 = 0x10;
}

/// The clock and its memory.
#[derive(Clone, Debug)]
pub struct Rtc {
    index: u8,
    bytes: [u8; 128],
    /// Where in its second the divider stood at power-on, in picoseconds.
    phase: u64,
    /// Up to when the registers and flags are right.
    seen: Time,
    high: bool,
}

impl Rtc {
    /// A clock that shows `start`, in seconds since 1970 (UTC), at power-on.
    pub fn new(start: u64) -> Rtc {
        let mut rtc = Rtc { index: 0, bytes: [0; 128], phase: 0, seen: Time::ZERO, high: false };
        rtc.bytes[0xa] = 0x26;
        rtc.bytes[0xb] = b::HOURS_24;
        rtc.bytes[0xd] = 0x80;
        rtc.show(Calendar::of_unix(start));
        rtc
    }

    /// Sets a byte of battery-backed memory (0Eh to 7Fh), as firmware would have left it.
    pub fn set_nvram(&mut self, at: u8, value: u8) {
        if (0x0e..0x80).contains(&at) {
            self.bytes[usize::from(at)] = value;
        }
    }

    /// Whether the divider runs and updates are not held back.
    fn runs(&self) -> bool {
        self.bytes[0xa] >> 4 & 7 == 2
    }

    fn updates(&self) -> bool {
        self.runs() && self.bytes[0xb] & b::SET == 0
    }

    /// Time on the divider's own scale, on which seconds end at whole seconds.
    fn divider(&self, at: Time) -> Time {
        at + Time::ps(self.phase)
    }

    /// Crystal ticks between periodic interrupts, if there are any.
    fn period(&self) -> Option<u64> {
        match self.bytes[0xa] & 0xf {
            0 => None,
            n @ 1..=2 => Some(1 << (n + 6)),
            n => Some(1 << (n - 1)),
        }
    }

    fn update_in_progress(&self, now: Time) -> bool {
        self.updates() && (self.divider(now) + UPDATE).as_ps() / SECOND != self.divider(now).as_ps() / SECOND
    }

    /// Carries everything up to `now`.
    fn catch_up(&mut self, now: Time) {
        let (from, to) = (self.divider(self.seen), self.divider(now));
        self.seen = now.max(self.seen);
        if !self.runs() || to <= from {
            return;
        }
        if let Some(period) = self.period()
            && to.ticks(CRYSTAL_HZ) / period != from.ticks(CRYSTAL_HZ) / period
        {
            self.bytes[0xc] |= c::PF;
        }
        let seconds = to.as_ps() / SECOND - from.as_ps() / SECOND;
        if seconds > 0 && self.updates() {
            self.advance(seconds);
        }
    }

    fn advance(&mut self, seconds: u64) {
        self.bytes[0xc] |= c::UF;
        let before = self.shown().to_unix();
        // An alarm repeats after a day at the latest.
        if (1..=seconds.min(86_400)).any(|n| self.alarm_matches(Calendar::of_unix(before.saturating_add(n)))) {
            self.bytes[0xc] |= c::AF;
        }
        self.show(Calendar::of_unix(before.saturating_add(seconds)));
    }

    fn alarm_matches(&self, time: Calendar) -> bool {
        let any_or = |byte: u8, value| byte & 0xc0 == 0xc0 || byte == value;
        any_or(self.bytes[1], self.encode(time.second))
            && any_or(self.bytes[3], self.encode(time.minute))
            && any_or(self.bytes[5], self.encode_hour(time.hour))
    }

    fn encode(&self, value: u8) -> u8 {
        if self.bytes[0xb] & b::BINARY != 0 { value } else { ((value / 10) << 4) | (value % 10) }
    }

    fn decode(&self, raw: u8) -> u8 {
        if self.bytes[0xb] & b::BINARY != 0 { raw } else { (raw >> 4) * 10 + (raw & 0xf) }
    }

    fn encode_hour(&self, hour: u8) -> u8 {
        if self.bytes[0xb] & b::HOURS_24 != 0 {
            return self.encode(hour);
        }
        self.encode(if hour.is_multiple_of(12) { 12 } else { hour % 12 }) | if hour >= 12 { 0x80 } else { 0 }
    }

    fn decode_hour(&self, raw: u8) -> u8 {
        if self.bytes[0xb] & b::HOURS_24 != 0 {
            return self.decode(raw);
        }
        self.decode(raw & 0x7f) % 12 + if raw & 0x80 != 0 { 12 } else { 0 }
    }

    /// What the registers say, in whatever format they are; nonsense is brought into range.
    fn shown(&self) -> Calendar {
        let get = |n: usize| self.decode(self.bytes[n]);
        Calendar {
            second: get(0),
            minute: get(2),
            hour: self.decode_hour(self.bytes[4]),
            day: get(7),
            month: get(8),
            year: u32::from(get(CENTURY)) * 100 + u32::from(get(9)),
        }
        .in_range()
    }

    fn show(&mut self, time: Calendar) {
        let values = [
            (0, self.encode(time.second)),
            (2, self.encode(time.minute)),
            (4, self.encode_hour(time.hour)),
            (6, self.encode(time.weekday())),
            (7, self.encode(time.day)),
            (8, self.encode(time.month)),
            (9, self.encode((time.year % 100) as u8)),
            (CENTURY, self.encode((time.year / 100 % 100) as u8)),
        ];
        for (at, value) in values {
            self.bytes[at] = value;
        }
    }

    fn read_register(&mut self, now: Time) -> u8 {
        let index = usize::from(self.index);
        match index {
            0xa => self.bytes[0xa] | if self.update_in_progress(now) { 0x80 } else { 0 },
            0xc => {
                let irqf = if self.interrupts() { c::IRQF } else { 0 };
                std::mem::take(&mut self.bytes[0xc]) | irqf
            }
            _ => self.bytes[index],
        }
    }

    fn write_register(&mut self, value: u8, now: Time) {
        let index = usize::from(self.index);
        match index {
            0xa => {
                let ran = self.runs();
                self.bytes[0xa] = value & 0x7f;
                if self.runs() && !ran {
                    // The first update comes half a second after the divider is let go.
                    let into = now.as_ps() % SECOND;
                    self.phase = (SECOND + SECOND / 2 - into) % SECOND;
                }
            }
            // Setting SET clears UIE.
            0xb => self.bytes[0xb] = if value & b::SET != 0 { value & !b::UIE } else { value },
            0xc | 0xd => {}
            _ => self.bytes[index] = value,
        }
    }

    fn interrupts(&self) -> bool {
        self.bytes[0xb] & self.bytes[0xc] & (c::PF | c::AF | c::UF) != 0
    }

    /// Drives the line and sets the alarm for the next flag that would interrupt.
    fn drive(&mut self, cx: &mut Cx<'_>) {
        let high = self.interrupts();
        if high != self.high {
            self.high = high;
            cx.line(LINE, high);
        }
        let at = self.divider(cx.now);
        let enabled = self.bytes[0xb];
        let periodic = self.period().filter(|_| enabled & b::PIE != 0 && self.runs()).map(|period| {
            let n = at.ticks(CRYSTAL_HZ) / period + 1;
            Time::of_ticks(n * period, CRYSTAL_HZ)
        });
        let update = (enabled & (b::AIE | b::UIE) != 0 && self.updates())
            .then(|| Time::s((at.as_ps() / SECOND).saturating_add(1).min(18_000_000)));
        let next = periodic.into_iter().chain(update).min();
        cx.set_alarm(next.filter(|_| !high).map(|next| next - Time::ps(self.phase)));
    }
}

impl Device for Rtc {
    fn name(&self) -> &'static str {
        "MC146818"
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region::ports(Port(0x70), 2)]
    }

    fn read(&mut self, at: Place, cx: &mut Cx<'_>) -> u64 {
        self.catch_up(cx.now);
        let value = lanes::read(at, |offset| if offset == 1 { self.read_register(cx.now) } else { 0xff });
        self.drive(cx);
        value
    }

    fn write(&mut self, at: Place, value: u64, cx: &mut Cx<'_>) {
        self.catch_up(cx.now);
        lanes::write(at, value, |offset, byte| match offset {
            0 => self.index = byte & 0x7f,
            1 => self.write_register(byte, cx.now),
            _ => {}
        });
        self.drive(cx);
    }

    fn alarm(&mut self, cx: &mut Cx<'_>) {
        self.catch_up(cx.now);
        self.drive(cx);
    }

    fn reset(&mut self, cx: &mut Cx<'_>) {
        // The battery keeps the time and the memory; RESET# clears the interrupt enables and flags.
        self.catch_up(cx.now);
        self.bytes[0xb] &= !(b::PIE | b::AIE | b::UIE);
        self.bytes[0xc] = 0;
        self.index = 0;
        self.drive(cx);
    }
}

#[cfg(test)]
mod tests;
