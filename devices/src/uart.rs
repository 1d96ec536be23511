//! 16550A: the serial port, with FIFOs, every interrupt and loopback.
//!
//! A byte written leaves for the host at once, so the transmitter is always empty; the transmitter-empty interrupt is
//! modelled all the same, because drivers wait for it. Bytes from the host enter the receive FIFO as far as it has
//! room, and the character timeout comes four character times after the last byte moved, at the programmed rate.
//!
//! Source: National Semiconductor PC16550D datasheet, 1995.

use crate::lanes;
use emu_core::{Cx, Device, Line, Place, Port, Region, Time};
use std::collections::VecDeque;

/// Input clock of the baud rate generator; the divisor counts sixteenths of a bit.
const CLOCK_HZ: u64 = 1_843_200;
const FIFO_BYTES: usize = 16;

mod ier {
    pub const ERBFI: u8 = 1;
    pub const ETBEI: u8 = 2;
    pub const ELSI: u8 = 4;
    pub const EDSSI: u8 = 8;
}
mod lcr {
    pub const DLAB: u8 = 0x80;
}
mod mcr {
    pub const DTR: u8 = 1;
    pub const RTS: u8 = 2;
    pub const OUT1: u8 = 4;
    pub const OUT2: u8 = 8;
    pub const LOOP: u8 = 0x10;
}
mod lsr {
    pub const DR: u8 = 1;
    pub const OE: u8 = 2;
    /// Overrun, parity, framing error, break: read clears them.
    pub const ERRORS: u8 = 0x1e;
    /// Transmitter holding register and transmitter empty.
    pub const EMPTY: u8 = 0x60;
}
mod msr {
    pub const CTS: u8 = 0x10;
    pub const DSR: u8 = 0x20;
    pub const RI: u8 = 0x40;
    pub const DCD: u8 = 0x80;
    pub const TERI: u8 = 4;
}

/// A guest that reads the line status so often without sending waits for input.
const POLLS: u8 = 64;

/// A serial port.
#[derive(Clone, Debug)]
pub struct Uart {
    base: Port,
    line: Line,
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    errors: u8,
    msr: u8,
    scratch: u8,
    divisor: u16,
    received: VecDeque<u8>,
    /// The transmitter-empty interrupt waits to be seen.
    thre: bool,
    /// The receive FIFO has sat untouched for four character times.
    stale: bool,
    /// The guest has raised RTS at least once, so lowering it means "wait".
    rts_used: bool,
    /// Reads of the line status since the last byte sent: a guest that polls for input makes many.
    polls: u8,
    high: bool,
}

impl Uart {
    /// The first serial port: 3F8h, IRQ 4.
    pub fn com1() -> Uart {
        Uart::at(Port(0x3f8), Line(4))
    }

    /// A serial port with its registers at `base`, interrupting on `line`.
    pub fn at(base: Port, line: Line) -> Uart {
        Uart {
            base,
            line,
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            errors: 0,
            msr: msr::CTS | msr::DSR | msr::DCD,
            scratch: 0,
            divisor: 12,
            received: VecDeque::with_capacity(FIFO_BYTES),
            thre: false,
            stale: false,
            rts_used: false,
            polls: 0,
            high: false,
        }
    }

    /// Does the guest wait for input, by interrupt or by polling? Bytes that come earlier are lost when its driver
    /// starts and clears the FIFO: whoever has a script to type should wait until then.
    pub fn listens(&self) -> bool {
        self.ier & ier::ERBFI != 0 || self.polls >= POLLS
    }

    fn fifo(&self) -> bool {
        self.fcr & 1 != 0
    }

    /// Bytes the receiver can hold.
    fn capacity(&self) -> usize {
        if self.fifo() { FIFO_BYTES } else { 1 }
    }

    /// Bytes at which received data interrupts.
    fn trigger(&self) -> usize {
        if self.fifo() { [1, 4, 8, 14][usize::from(self.fcr >> 6)] } else { 1 }
    }

    fn lsr(&self) -> u8 {
        lsr::EMPTY | self.errors | if self.received.is_empty() { 0 } else { lsr::DR }
    }

    /// The interrupt of highest priority, as IIR bits 3:0 name it.
    fn cause(&self) -> Option<u8> {
        let enabled = |bit| self.ier & bit != 0;
        if enabled(ier::ELSI) && self.errors != 0 {
            Some(0x6)
        } else if enabled(ier::ERBFI) && self.received.len() >= self.trigger() {
            Some(0x4)
        } else if enabled(ier::ERBFI) && self.stale {
            Some(0xc)
        } else if enabled(ier::ETBEI) && self.thre {
            Some(0x2)
        } else if enabled(ier::EDSSI) && self.msr & 0xf != 0 {
            Some(0x0)
        } else {
            None
        }
    }

    /// Drives the interrupt line; on a PC, OUT2 gates it, and loopback forces OUT2 off at the pin.
    fn drive(&mut self, cx: &mut Cx<'_>) {
        let high = self.cause().is_some() && self.mcr & (mcr::OUT2 | mcr::LOOP) == mcr::OUT2;
        if high != self.high {
            self.high = high;
            cx.line(self.line, high);
        }
    }

    /// Four characters of start, data, parity and stop bits at the programmed rate.
    fn timeout(&self) -> Time {
        let lcr = u64::from(self.lcr);
        let bits = 1 + 5 + (lcr & 3) + (lcr >> 3 & 1) + 1 + (lcr >> 2 & 1);
        Time::of_ticks(4 * bits * 16 * u64::from(self.divisor.max(1)), CLOCK_HZ)
    }

    /// A byte moved into or out of the receiver: the timeout starts anew.
    fn moved(&mut self, cx: &mut Cx<'_>) {
        self.stale = false;
        let wait = self.fifo() && !self.received.is_empty();
        cx.set_alarm(wait.then(|| cx.now + self.timeout()));
    }

    fn receive(&mut self, byte: u8) {
        if self.received.len() < self.capacity() {
            self.received.push_back(byte);
            return;
        }
        self.errors |= lsr::OE;
        if !self.fifo() {
            // The holding register is overwritten; a full FIFO keeps what it has and loses the newcomer.
            self.received.clear();
            self.received.push_back(byte);
        }
    }

    fn transmit(&mut self, byte: u8, cx: &mut Cx<'_>) {
        // The interrupt falls with the write and rises when the byte has left, which is now.
        self.thre = false;
        self.drive(cx);
        if self.mcr & mcr::LOOP != 0 {
            self.receive(byte);
            self.moved(cx);
        } else {
            cx.output(&[byte]);
        }
        self.thre = true;
    }

    /// New modem lines, with the delta bits that follow from the change.
    fn set_modem(&mut self, lines: u8) {
        let changed = (self.msr ^ lines) & 0xf0;
        let delta = (changed >> 4) & !msr::TERI;
        let ring_ended = if self.msr & msr::RI != 0 && lines & msr::RI == 0 { msr::TERI } else { 0 };
        self.msr = lines | (self.msr & 0xf) | delta | ring_ended;
    }

    fn set_mcr(&mut self, value: u8) {
        self.mcr = value & 0x1f;
        self.rts_used |= self.mcr & (mcr::RTS | mcr::LOOP) == mcr::RTS;
        let looped = |pin, line| if self.mcr & pin != 0 { line } else { 0 };
        let lines = if self.mcr & mcr::LOOP != 0 {
            looped(mcr::RTS, msr::CTS)
                | looped(mcr::DTR, msr::DSR)
                | looped(mcr::OUT1, msr::RI)
                | looped(mcr::OUT2, msr::DCD)
        } else {
            msr::CTS | msr::DSR | msr::DCD
        };
        self.set_modem(lines);
    }

    fn set_fcr(&mut self, value: u8, cx: &mut Cx<'_>) {
        // Turning the FIFOs on or off empties them; the other bits count only while they are on.
        if (value ^ self.fcr) & 1 != 0 || value & 3 == 3 {
            self.received.clear();
            self.errors = 0;
            self.moved(cx);
        }
        self.fcr = if value & 1 != 0 { value & 0xc9 } else { 0 };
    }

    fn read_byte(&mut self, offset: u64, cx: &mut Cx<'_>) -> u8 {
        let dlab = self.lcr & lcr::DLAB != 0;
        match offset {
            0 if dlab => self.divisor as u8,
            1 if dlab => (self.divisor >> 8) as u8,
            0 => {
                let byte = self.received.pop_front().unwrap_or(0);
                self.moved(cx);
                byte
            }
            1 => self.ier,
            2 => {
                let cause = self.cause();
                if cause == Some(0x2) {
                    self.thre = false;
                }
                cause.unwrap_or(1) | if self.fifo() { 0xc0 } else { 0 }
            }
            3 => self.lcr,
            4 => self.mcr,
            5 => {
                self.polls = self.polls.saturating_add(1);
                let value = self.lsr();
                self.errors &= !lsr::ERRORS;
                value
            }
            6 => {
                let value = self.msr;
                self.msr &= 0xf0;
                value
            }
            7 => self.scratch,
            _ => 0xff,
        }
    }

    fn write_byte(&mut self, offset: u64, value: u8, cx: &mut Cx<'_>) {
        let dlab = self.lcr & lcr::DLAB != 0;
        match offset {
            0 if dlab => self.divisor = self.divisor & 0xff00 | u16::from(value),
            1 if dlab => self.divisor = self.divisor & 0x00ff | u16::from(value) << 8,
            0 => {
                self.polls = 0;
                self.transmit(value, cx);
            }
            1 => {
                // Enabling the interrupt while the transmitter is empty raises it: drivers start sending so.
                self.thre |= value & !self.ier & ier::ETBEI != 0;
                self.ier = value & 0xf;
            }
            2 => self.set_fcr(value, cx),
            3 => self.lcr = value,
            4 => self.set_mcr(value),
            7 => self.scratch = value,
            _ => {}
        }
    }
}

impl Device for Uart {
    fn name(&self) -> &'static str {
        "16550A"
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region::ports(self.base, 8)]
    }

    fn read(&mut self, at: Place, cx: &mut Cx<'_>) -> u64 {
        let value = lanes::read(at, |offset| self.read_byte(offset, cx));
        self.drive(cx);
        value
    }

    fn write(&mut self, at: Place, value: u64, cx: &mut Cx<'_>) {
        lanes::write(at, value, |offset, byte| self.write_byte(offset, byte, cx));
        self.drive(cx);
    }

    fn alarm(&mut self, cx: &mut Cx<'_>) {
        self.stale = self.fifo() && !self.received.is_empty();
        self.drive(cx);
    }

    fn input(&mut self, bytes: &[u8], cx: &mut Cx<'_>) -> usize {
        let waits = self.mcr & mcr::LOOP != 0 || self.rts_used && self.mcr & mcr::RTS == 0;
        let room = if waits { 0 } else { self.capacity().saturating_sub(self.received.len()) };
        let taken = room.min(bytes.len());
        if taken > 0 {
            self.received.extend(&bytes[..taken]);
            self.moved(cx);
            self.drive(cx);
        }
        taken
    }

    fn reset(&mut self, cx: &mut Cx<'_>) {
        let high = self.high;
        *self = Uart { high, ..Uart::at(self.base, self.line) };
        cx.set_alarm(None);
        self.drive(cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;

    /// A port as Linux leaves it after start-up: 115200 8n1, FIFOs on with trigger 8, OUT2, RTS and DTR on.
    fn open() -> Bench<Uart> {
        let mut b = Bench::new(Uart::com1());
        for (offset, value) in [(3, 0x83), (0, 1), (1, 0), (3, 3), (2, 0x87), (4, 0x0b)] {
            b.write(0, offset, 1, value);
        }
        b.drain();
        b
    }

    #[test]
    fn reset_state_is_an_empty_transmitter_and_no_interrupt() {
        let mut b = Bench::new(Uart::com1());
        let values: Vec<u64> = (1..8).map(|n| b.read(0, n, 1)).collect();
        assert_eq!(values, [0, 0x01, 0, 0, 0x60, 0xb0, 0]);
    }

    #[test]
    fn linux_autodetection_sees_a_16550a() {
        let mut b = Bench::new(Uart::com1());
        b.write(0, 1, 1, 0x0f);
        assert_eq!(b.read(0, 1, 1), 0x0f);
        b.write(0, 1, 1, 0xf0);
        assert_eq!(b.read(0, 1, 1), 0);
        b.write(0, 4, 1, 0x1a);
        assert_eq!(b.read(0, 6, 1) & 0xf0, 0x90, "loopback test of autoconfig()");
        b.write(0, 4, 1, 0);
        b.write(0, 2, 1, 0xa1);
        assert_eq!(b.read(0, 2, 1), 0xc1, "FIFOs work, and there are not 64 bytes of them");
        b.write(0, 2, 1, 0);
        assert_eq!(b.read(0, 2, 1), 0x01);
    }

    #[test]
    fn enabling_the_transmitter_interrupt_raises_it_each_time() {
        let mut b = open();
        for _ in 0..2 {
            b.write(0, 1, 1, 2);
            assert_eq!(b.levels(4), [true]);
            assert_eq!(b.read(0, 2, 1), 0xc2);
            assert_eq!(b.read(0, 2, 1), 0xc1, "reading IIR clears it");
            assert_eq!(b.levels(4), [false]);
            b.write(0, 1, 1, 0);
        }
    }

    #[test]
    fn a_byte_written_leaves_at_once_and_makes_a_new_edge() {
        let mut b = open();
        b.write(0, 1, 1, 2);
        b.drain();
        b.write(0, 0, 1, u64::from(b'x'));
        assert_eq!(
            b.drain(),
            [
                emu_core::Effect::Line(Line(4), false),
                emu_core::Effect::Output(vec![b'x']),
                emu_core::Effect::Line(Line(4), true)
            ]
        );
        assert_eq!(b.read(0, 5, 1), 0x60);
    }

    #[test]
    fn received_data_interrupts_at_the_trigger_or_after_four_characters() {
        let mut b = open();
        b.write(0, 1, 1, 1);
        assert_eq!(b.input(b"abc"), 3);
        assert_eq!(b.levels(4), []);
        // 4 characters of 10 bits at 115200 baud: 347.22 us.
        assert_eq!(b.alarm, Some(Time::of_ticks(40, 115_200)));
        b.until(Time::us(348));
        assert_eq!(b.levels(4), [true]);
        assert_eq!(b.read(0, 2, 1), 0xcc);
        assert_eq!(b.read(0, 0, 1), u64::from(b'a'));
        assert_eq!(b.levels(4), [false], "reading restarts the timeout");
        assert_eq!(b.input(b"defghi"), 6);
        assert_eq!(b.read(0, 2, 1), 0xc4);
        assert_eq!(b.levels(4), [true]);
        b.read(0, 0, 1);
        assert_eq!(b.levels(4), [false], "below the trigger again");
    }

    #[test]
    fn input_is_taken_as_far_as_the_fifo_has_room_and_rts_allows() {
        let mut b = open();
        assert_eq!(b.input(&[7; 40]), 16);
        assert_eq!(b.input(&[7]), 0);
        for _ in 0..16 {
            assert_eq!(b.read(0, 5, 1) & 1, 1);
            assert_eq!(b.read(0, 0, 1), 7);
        }
        assert_eq!(b.read(0, 5, 1), 0x60);
        b.write(0, 4, 1, 0x09);
        assert_eq!(b.input(&[7]), 0, "RTS was lowered");
        let mut fresh = Bench::new(Uart::com1());
        assert_eq!(fresh.input(b"ab"), 1, "a guest that never used RTS, without FIFO");
    }

    #[test]
    fn a_port_listens_when_it_interrupts_on_data_or_is_polled_for_long() {
        let mut b = Bench::new(Uart::com1());
        let listens = |b: &mut Bench<Uart>| b.with(|u, _| u.listens());
        assert!(!listens(&mut b));
        for _ in 0..64 {
            b.read(0, 5, 1);
        }
        assert!(listens(&mut b));
        b.write(0, 0, 1, 65);
        assert!(!listens(&mut b), "it sends");
        b.write(0, 1, 1, 1);
        assert!(listens(&mut b));
    }

    #[test]
    fn loopback_returns_bytes_and_modem_lines_and_keeps_the_irq_off() {
        let mut b = open();
        b.write(0, 1, 1, 0xd);
        b.write(0, 4, 1, 0x1f);
        assert_eq!(b.read(0, 6, 1), 0xf0, "RI rose, which sets no delta");
        b.write(0, 4, 1, 0x12);
        assert_eq!(b.read(0, 6, 1), 0x1e, "DSR and DCD fell, RI ended, CTS stayed");
        for n in 0..17 {
            b.write(0, 0, 1, n);
        }
        assert_eq!(b.read(0, 2, 1), 0xc6);
        assert_eq!(b.read(0, 5, 1), 0x63, "the 17th byte overran");
        assert_eq!(b.read(0, 5, 1), 0x61);
        assert_eq!(b.read(0, 0, 1), 0);
        assert!(b.drain().is_empty(), "nothing reached the host or the line");
    }

    #[test]
    fn the_divisor_hides_behind_dlab() {
        let mut b = open();
        b.write(0, 3, 1, 0x80);
        b.write(0, 0, 2, 0x1234);
        assert_eq!(b.read(0, 0, 2), 0x1234);
        b.write(0, 3, 1, 0);
        assert_eq!(b.read(0, 0, 2), 0);
        b.write(0, 7, 1, 0xa5);
        assert_eq!(b.read(0, 7, 1), 0xa5);
    }
}
