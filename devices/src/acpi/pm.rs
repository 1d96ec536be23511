//! ACPI power management: PM1a event and control, the PM timer, and one block of general-purpose events.
//!
//! The machine is in ACPI mode from power-on (the FADT names no SMI command port), so SCI_EN reads 1. Sleep type 5
//! powers off; no other sleep state is offered. The interrupt is SCI, line 9, level triggered.
//!
//! Source: ACPI specification 6.5, section 4.8 (fixed hardware).

use crate::lanes;
use emu_core::{Cx, Device, Line, Place, Port, Region, Request, Time};

/// First of the ports.
pub const PM_BASE: Port = Port(0x600);
/// Offset of PM1a_EVT_BLK: status, then enable, 2 bytes each.
pub const PM1_EVENT: u16 = 0;
/// Offset of PM1a_CNT_BLK, 2 bytes.
pub const PM1_CONTROL: u16 = 4;
/// Offset of PM_TMR_BLK, 4 bytes.
pub const PM_TIMER: u16 = 8;
/// Offset of GPE0_BLK: 8 bytes of status, then 8 of enable.
pub const GPE0: u16 = 0x20;
/// Bytes of GPE0_BLK.
pub const GPE0_BYTES: u8 = 16;
/// SLP_TYP of S5, soft off.
pub const S5: u8 = 5;
/// The PM timer's clock.
pub const PM_TIMER_HZ: u64 = 3_579_545;
/// The system control interrupt.
pub const SCI: Line = Line(9);

mod pm1 {
    pub const TIMER: u16 = 1 << 0;
    pub const POWER_BUTTON: u16 = 1 << 8;
    /// Status bits that exist: timer, bus master, global, power and sleep button, RTC, wake.
    pub const STATUS: u16 = 0x8731;
    /// Enable bits that exist.
    pub const ENABLE: u16 = 0x0721;
    pub const SCI_EN: u16 = 1;
    pub const SLP_EN: u16 = 1 << 13;
}

/// The power management block.
#[derive(Clone, Debug)]
pub struct Pm {
    /// Bits of the timer: 24 or 32.
    timer_bits: u32,
    status: u16,
    enable: u16,
    control: u16,
    gpe_status: [u8; 8],
    gpe_enable: [u8; 8],
    /// Timer ticks up to which the timer's status bit is right.
    seen: u64,
    high: bool,
}

impl Default for Pm {
    fn default() -> Pm {
        Pm::new(false)
    }
}

impl Pm {
    /// A block whose timer has 32 bits (`wide`) or 24.
    pub fn new(wide: bool) -> Pm {
        Pm {
            timer_bits: if wide { 32 } else { 24 },
            status: 0,
            enable: 0,
            control: pm1::SCI_EN,
            gpe_status: [0; 8],
            gpe_enable: [0; 8],
            seen: 0,
            high: false,
        }
    }

    /// The power button was pressed.
    pub fn power_button(&mut self, cx: &mut Cx<'_>) {
        self.status |= pm1::POWER_BUTTON;
        self.drive(cx);
    }

    /// General-purpose event `n` (0 to 63) happened.
    pub fn event(&mut self, n: u8, cx: &mut Cx<'_>) {
        if let Some(byte) = self.gpe_status.get_mut(usize::from(n / 8)) {
            *byte |= 1 << (n % 8);
        }
        self.drive(cx);
    }

    /// Ticks between changes of the timer's highest bit.
    fn half(&self) -> u64 {
        1 << (self.timer_bits - 1)
    }

    /// The timer's status bit is set when its highest bit changes.
    fn catch_up(&mut self, now: Time) {
        let ticks = now.ticks(PM_TIMER_HZ);
        if ticks / self.half() != self.seen / self.half() {
            self.status |= pm1::TIMER;
        }
        self.seen = ticks;
    }

    fn drive(&mut self, cx: &mut Cx<'_>) {
        let events = self.gpe_status.iter().zip(&self.gpe_enable).any(|(status, enable)| status & enable != 0);
        let high = events || self.status & self.enable != 0;
        if high != self.high {
            self.high = high;
            cx.line(SCI, high);
        }
        let next = (cx.now.ticks(PM_TIMER_HZ) / self.half() + 1) * self.half();
        let timed = self.enable & pm1::TIMER != 0 && !high;
        cx.set_alarm(timed.then(|| Time::of_ticks(next, PM_TIMER_HZ)));
    }

    fn byte(&self, offset: u64, now: Time) -> u8 {
        let of = |value: u64, n: u64| (value >> (8 * n)) as u8;
        match offset {
            0..2 => of(self.status.into(), offset),
            2..4 => of(self.enable.into(), offset - 2),
            4..6 => of(self.control.into(), offset - 4),
            8..12 => of(now.ticks(PM_TIMER_HZ) & (self.half() * 2 - 1), offset - 8),
            0x20..0x28 => self.gpe_status[offset as usize - 0x20],
            0x28..0x30 => self.gpe_enable[offset as usize - 0x28],
            0x30.. => 0xff,
            _ => 0,
        }
    }

    fn set_byte(&mut self, offset: u64, byte: u8, cx: &mut Cx<'_>) {
        let merge = |old: u16, n: u64| old & !(0xff << (8 * n)) | u16::from(byte) << (8 * n);
        match offset {
            // Status bits are cleared by writing 1.
            0..2 => self.status &= !(u16::from(byte) << (8 * offset)),
            2..4 => self.enable = merge(self.enable, offset - 2) & pm1::ENABLE,
            4..6 => {
                let control = merge(self.control, offset - 4);
                // SLP_EN is write-only: it acts, and reads 0.
                self.control = control & !pm1::SLP_EN | pm1::SCI_EN;
                if control & pm1::SLP_EN != 0 && control >> 10 & 7 == u16::from(S5) {
                    cx.request(Request::PowerOff);
                }
            }
            0x20..0x28 => self.gpe_status[offset as usize - 0x20] &= !byte,
            0x28..0x30 => self.gpe_enable[offset as usize - 0x28] = byte,
            _ => {}
        }
        self.status &= pm1::STATUS;
    }
}

impl Device for Pm {
    fn name(&self) -> &'static str {
        "ACPI PM"
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region::ports(PM_BASE, 0x30)]
    }

    fn read(&mut self, at: Place, cx: &mut Cx<'_>) -> u64 {
        self.catch_up(cx.now);
        lanes::read(at, |offset| self.byte(offset, cx.now))
    }

    fn write(&mut self, at: Place, value: u64, cx: &mut Cx<'_>) {
        self.catch_up(cx.now);
        lanes::write(at, value, |offset, byte| self.set_byte(offset, byte, cx));
        self.drive(cx);
    }

    fn alarm(&mut self, cx: &mut Cx<'_>) {
        self.catch_up(cx.now);
        self.drive(cx);
    }

    fn reset(&mut self, cx: &mut Cx<'_>) {
        let fresh = Pm::new(self.timer_bits == 32);
        *self = Pm { high: self.high, seen: cx.now.ticks(PM_TIMER_HZ), ..fresh };
        self.drive(cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;

    #[test]
    fn the_timer_counts_virtual_time_in_24_or_32_bits() {
        for (wide, mask) in [(false, 0xff_ffff), (true, 0xffff_ffff)] {
            let mut b = Bench::new(Pm::new(wide));
            b.until(Time::s(10));
            assert_eq!(b.read(0, 8, 4), 35_795_450 & mask);
        }
    }

    #[test]
    fn the_timer_interrupts_when_its_highest_bit_changes() {
        let mut b = Bench::new(Pm::default());
        b.write(0, 2, 2, 1);
        let half = Time::of_ticks(1 << 23, PM_TIMER_HZ);
        assert_eq!(b.alarm, Some(half));
        b.until(half);
        assert_eq!(b.levels(9), [true]);
        assert_eq!(b.read(0, 0, 2), 1);
        b.write(0, 0, 2, 1);
        assert_eq!(b.levels(9), [false]);
        assert_eq!(b.alarm, Some(Time::of_ticks(1 << 24, PM_TIMER_HZ)));
    }

    #[test]
    fn only_sleep_type_5_with_the_enable_bit_powers_off() {
        let mut b = Bench::new(Pm::default());
        assert_eq!(b.read(0, 4, 2), 1, "ACPI mode");
        b.write(0, 4, 2, 5 << 10);
        b.write(0, 4, 2, 1 << 13);
        assert_eq!(b.requests(), []);
        b.write(0, 4, 2, 5 << 10 | 1 << 13);
        assert_eq!(b.requests(), [Request::PowerOff]);
        assert_eq!(b.read(0, 4, 2), 0x1401);
    }

    #[test]
    fn events_drive_sci_while_status_and_enable_meet() {
        let mut b = Bench::new(Pm::default());
        b.with(|chip, cx| chip.power_button(cx));
        b.with(|chip, cx| chip.event(10, cx));
        assert_eq!(b.levels(9), []);
        b.write(0, 2, 2, 0x100);
        assert_eq!(b.levels(9), [true]);
        b.write(0, 0, 2, 0x100);
        assert_eq!(b.levels(9), [false]);
        b.write(0, 0x29, 1, 4);
        assert_eq!(b.levels(9), [true]);
        assert_eq!(b.read(0, 0x20, 4), 0x400);
        b.write(0, 0x21, 1, 4);
        assert_eq!(b.levels(9), [false]);
    }
}
