//! HPET: a 64-bit counter at 100 MHz with three timers, the first of which may be periodic.
//!
//! As everywhere, nothing counts: the counter follows from virtual time, and an alarm is set for the next match.
//!
//! Differs: in legacy replacement mode timers 0 and 1 drive lines 0 and 8 beside the 8254 and the RTC, which a
//! chipset would cut off; a guest that uses the mode has stopped those.
//!
//! Source: IA-PC HPET specification 1.0a, 2004.

use emu_core::{Cx, Device, Gpa, Line, Place, Region, Time};

/// Where the registers lie.
pub const HPET_BASE: Gpa = Gpa(0xfed0_0000);
/// Femtoseconds per tick: 100 MHz.
const PERIOD_FS: u64 = 10_000_000;
const TICK_PS: u64 = PERIOD_FS / 1000;
/// General capabilities: period, vendor, legacy replacement, 64-bit counter, three timers, revision 1.
pub const CAPABILITIES: u64 = PERIOD_FS << 32 | 0x8086_a201;

const TIMERS: usize = 3;
/// Lines a timer may be routed to: I/O APIC pins 2, 8 and 20 to 23.
const ROUTES: u64 = 0x00f0_0104;

mod timer {
    pub const LEVEL: u64 = 1 << 1;
    pub const ENABLE: u64 = 1 << 2;
    pub const PERIODIC: u64 = 1 << 3;
    pub const PERIODIC_CAPABLE: u64 = 1 << 4;
    pub const WIDE: u64 = 1 << 5;
    pub const SET_VALUE: u64 = 1 << 6;
    pub const NARROW_MODE: u64 = 1 << 8;
    pub const ROUTE: u64 = 0x1f << 9;
    pub const WRITABLE: u64 = LEVEL | ENABLE | NARROW_MODE | ROUTE;
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    config: u64,
    comparator: u64,
    period: u64,
    /// Level last driven, and on which line.
    driven: Option<Line>,
}

impl Timer {
    fn mask(&self) -> u64 {
        if self.config & timer::NARROW_MODE != 0 { 0xffff_ffff } else { u64::MAX }
    }

    /// Ticks from `counter` to the next match: never 0, because a match on the spot has been handled.
    fn until_match(&self, counter: u64) -> u64 {
        match self.comparator.wrapping_sub(counter) & self.mask() {
            0 => self.mask(),
            ticks => ticks,
        }
    }
}

/// The timer block.
#[derive(Clone, Debug)]
pub struct Hpet {
    /// Bit 0 enables the counter, bit 1 legacy replacement.
    config: u64,
    status: u64,
    /// The counter's value at tick `since`.
    counter: u64,
    since: u64,
    timers: [Timer; TIMERS],
}

impl Default for Hpet {
    fn default() -> Hpet {
        let timer = |n| {
            let periodic = if n == 0 { timer::PERIODIC_CAPABLE } else { 0 };
            Timer { config: ROUTES << 32 | timer::WIDE | periodic, comparator: u64::MAX, period: 0, driven: None }
        };
        Hpet { config: 0, status: 0, counter: 0, since: 0, timers: [timer(0), timer(1), timer(2)] }
    }
}

impl Hpet {
    fn enabled(&self) -> bool {
        self.config & 1 != 0
    }

    fn line(&self, n: usize) -> Line {
        match (self.config & 2 != 0, n) {
            (true, 0) => Line(0),
            (true, 1) => Line(8),
            _ => Line((self.timers[n].config >> 9 & 0x1f) as u8),
        }
    }

    /// Moves the counter to the present and fires what it passed.
    fn catch_up(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.as_ps() / TICK_PS;
        let passed = now.saturating_sub(self.since);
        self.since = now;
        if !self.enabled() || passed == 0 {
            return;
        }
        for n in 0..TIMERS {
            let t = self.timers[n];
            let first = t.until_match(self.counter);
            if first > passed {
                continue;
            }
            if t.config & timer::PERIODIC != 0 && t.period != 0 {
                let periods = 1 + (passed - first) / t.period;
                self.timers[n].comparator = t.comparator.wrapping_add(periods.wrapping_mul(t.period)) & t.mask();
            }
            self.fire(n, cx);
        }
        self.counter = self.counter.wrapping_add(passed);
    }

    fn fire(&mut self, n: usize, cx: &mut Cx<'_>) {
        let t = &self.timers[n];
        let level = t.config & timer::LEVEL != 0;
        if level {
            self.status |= 1 << n;
        }
        if t.config & timer::ENABLE != 0 && !level {
            // An edge is made by falling first; the line then stays high, so that an 8259A keeps the request.
            self.lower(n, cx);
            self.raise(n, cx);
        }
    }

    fn raise(&mut self, n: usize, cx: &mut Cx<'_>) {
        let line = self.line(n);
        self.timers[n].driven = Some(line);
        cx.line(line, true);
    }

    fn lower(&mut self, n: usize, cx: &mut Cx<'_>) {
        if let Some(line) = self.timers[n].driven.take() {
            cx.line(line, false);
        }
    }

    /// Drives level-triggered lines and sets the alarm for the next match.
    fn drive(&mut self, cx: &mut Cx<'_>) {
        let mut next = None;
        for n in 0..TIMERS {
            let t = self.timers[n];
            let live = t.config & timer::ENABLE != 0 && self.enabled();
            if !live || t.driven.is_some_and(|line| line != self.line(n)) {
                self.lower(n, cx);
            }
            if t.config & timer::LEVEL != 0 {
                match (live && self.status & 1 << n != 0, self.timers[n].driven) {
                    (true, None) => self.raise(n, cx),
                    (false, Some(_)) => self.lower(n, cx),
                    _ => {}
                }
            }
            if live {
                let tick = self.since.saturating_add(t.until_match(self.counter));
                next = next.into_iter().chain([Time::ps(tick.saturating_mul(TICK_PS))]).min();
            }
        }
        cx.set_alarm(next.filter(|at| *at < Time::NEVER));
    }

    /// The 64-bit register at `offset`, a multiple of 8.
    fn register(&self, offset: u64) -> u64 {
        match offset {
            0x000 => CAPABILITIES,
            0x010 => self.config,
            0x020 => self.status,
            0x0f0 => self.counter,
            0x100..0x160 => {
                let t = &self.timers[(offset as usize - 0x100) / 0x20];
                match offset & 0x1f {
                    0x00 => t.config,
                    0x08 => t.comparator & t.mask(),
                    _ => 0,
                }
            }
            _ => 0,
        }
    }

    fn set_register(&mut self, offset: u64, value: u64, written: u64) {
        match offset {
            0x010 => self.config = value & 3,
            // Status bits are cleared by writing 1.
            0x020 => self.status &= !(value & written),
            0x0f0 if !self.enabled() => self.counter = value,
            0x100..0x160 => {
                let t = &mut self.timers[(offset as usize - 0x100) / 0x20];
                match offset & 0x1f {
                    0x00 => {
                        let periodic = timer::PERIODIC | timer::SET_VALUE;
                        let capable = if t.config & timer::PERIODIC_CAPABLE != 0 { periodic } else { 0 };
                        let writable = timer::WRITABLE | capable;
                        t.config = t.config & !writable | value & writable;
                    }
                    0x08 => set_comparator(t, value),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// A write to the comparator of a periodic timer is the period too, unless SET_VALUE makes it the next match.
fn set_comparator(t: &mut Timer, value: u64) {
    let value = value & t.mask();
    let periodic = t.config & timer::PERIODIC != 0;
    if !periodic || t.config & timer::SET_VALUE != 0 {
        t.comparator = value;
    }
    if periodic {
        t.period = value;
    }
    t.config &= !timer::SET_VALUE;
}

impl Device for Hpet {
    fn name(&self) -> &'static str {
        "HPET"
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region::memory(HPET_BASE, 0x400)]
    }

    fn read(&mut self, at: Place, cx: &mut Cx<'_>) -> u64 {
        self.catch_up(cx);
        let value = self.register(at.offset & !7) >> (8 * (at.offset & 7));
        self.drive(cx);
        value
    }

    fn write(&mut self, at: Place, value: u64, cx: &mut Cx<'_>) {
        self.catch_up(cx);
        let shift = 8 * (at.offset & 7);
        let lanes = if at.bytes >= 8 { u64::MAX } else { (1 << (8 * at.bytes)) - 1 } << shift;
        let old = self.register(at.offset & !7);
        self.set_register(at.offset & !7, old & !lanes | value << shift & lanes, lanes);
        self.drive(cx);
    }

    fn alarm(&mut self, cx: &mut Cx<'_>) {
        self.catch_up(cx);
        self.drive(cx);
    }

    fn reset(&mut self, cx: &mut Cx<'_>) {
        (0..TIMERS).for_each(|n| self.lower(n, cx));
        *self = Hpet { since: cx.now.as_ps() / TICK_PS, ..Hpet::default() };
        self.drive(cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;

    #[test]
    fn the_counter_runs_at_100_mhz_while_enabled() {
        let mut b = Bench::new(Hpet::default());
        assert_eq!(b.read(0, 0, 8), 0x0098_9680_8086_a201);
        b.until(Time::us(5));
        assert_eq!(b.read(0, 0xf0, 8), 0);
        b.write(0, 0x10, 4, 1);
        b.until(Time::us(15));
        assert_eq!(b.read(0, 0xf0, 8), 1000);
        b.write(0, 0x10, 4, 0);
        b.until(Time::us(25));
        assert_eq!(b.read(0, 0xf0, 4), 1000);
        b.write(0, 0xf4, 4, 7);
        assert_eq!(b.read(0, 0xf0, 8), 7 << 32 | 1000);
    }

    #[test]
    fn a_periodic_timer_as_linux_programs_it() {
        let mut b = Bench::new(Hpet::default());
        b.write(0, 0x10, 4, 3);
        b.write(0, 0x100, 4, 0x14c);
        b.write(0, 0x108, 4, 500);
        b.write(0, 0x108, 4, 400);
        assert_eq!(b.alarm, Some(Time::us(5)));
        b.until(Time::us(5));
        assert_eq!(b.levels(0), [true]);
        assert_eq!(b.alarm, Some(Time::us(9)));
        b.until(Time::us(9));
        assert_eq!(b.levels(0), [false, true]);
        b.now = Time::us(40);
        assert_eq!(b.read(0, 0x108, 8), 4100, "late by seven periods: the next is still to come");
    }

    #[test]
    fn a_level_timer_holds_its_line_until_status_is_cleared() {
        let mut b = Bench::new(Hpet::default());
        b.write(0, 0x140, 4, 20 << 9 | 6);
        b.write(0, 0x148, 8, 100);
        b.write(0, 0x10, 4, 1);
        b.until(Time::us(1));
        assert_eq!(b.levels(20), [true]);
        assert_eq!(b.read(0, 0x20, 4), 4);
        b.write(0, 0x20, 4, 4);
        assert_eq!(b.levels(20), [false]);
    }
}
