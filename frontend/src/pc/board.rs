//! The board: the chips, who answers which address, the interrupt wiring, and what the chips want of the world.
//!
//! Every call into a chip goes through [`Board::call`], which afterwards carries out the effects in order: lines go to
//! the 8259A pair and the IOAPIC, what concerns the processors is put into [`Mail`], which the run loop delivers at the
//! next instruction boundary. Time that a chip sees never goes back: with several processors in one window, one that
//! is behind sees the latest time that any of them has shown to a chip.

use super::chips::{Chips, IOAPIC, PIC, SERIAL};
use cpu_x86::lapic::Message;
use emu_core::{AddressMap, Cx, Device, Effect, Gpa, Line, Overlap, Place, Ram, Request, Space, Time};
use std::sync::Arc;

/// `source` of a message that no processor sent.
pub const FROM_BOARD: u32 = u32::MAX;
/// Interrupt lines: the IOAPIC's pins.
const LINES: usize = 256;

/// What waits for the processors and for the machine as a whole.
#[derive(Debug, Default)]
pub struct Mail {
    /// Interrupt messages with the APIC number of their sender.
    pub messages: Vec<(u32, Message)>,
    /// Guest memory that chips have written.
    pub wrote: Vec<(Gpa, u64)>,
    /// Level of the 8259A pair's INTR output.
    pub intr: bool,
    /// What to do with the machine; the first request stands.
    pub request: Option<Request>,
}

/// The chips and their wiring.
pub struct Board {
    ram: Arc<Ram>,
    chips: Chips,
    map: AddressMap,
    alarms: Vec<Option<Time>>,
    effects: Vec<Effect>,
    /// Which chips hold a line high, a bit a chip.
    drivers: Box<[u64; LINES]>,
    now: Time,
    /// The earliest alarm.
    next_alarm: Time,
    /// When the processors will look at the alarms anyway.
    pub(super) horizon: Time,
    intr_delivered: bool,
    pub(super) mail: Mail,
    /// Output of the serial port and consoles, not yet taken by the host.
    pub(super) output: Vec<u8>,
    /// Who gets the input: the chip that wrote last, at first the serial port.
    console: usize,
}

impl Board {
    /// A board with `chips` over `ram`, at power-on.
    ///
    /// # Errors
    /// [`Overlap`] when two chips answer one address.
    pub fn new(ram: Arc<Ram>, mut chips: Chips) -> Result<Board, Overlap> {
        let mut map = AddressMap::default();
        for n in 0..chips.count() {
            for (index, region) in chips.get(n).regions().into_iter().enumerate() {
                map.add(n, index, region)?;
            }
        }
        let mut board = Board {
            ram,
            alarms: vec![None; chips.count()],
            chips,
            map,
            effects: Vec::new(),
            drivers: Box::new([0; LINES]),
            now: Time::ZERO,
            next_alarm: Time::NEVER,
            horizon: Time::NEVER,
            intr_delivered: false,
            mail: Mail::default(),
            output: Vec::new(),
            console: SERIAL,
        };
        board.reset(Time::ZERO);
        Ok(board)
    }

    /// Resets every chip.
    pub fn reset(&mut self, now: Time) {
        self.drivers.fill(0);
        for n in 0..self.chips.count() {
            self.alarms[n] = None;
            self.call(n, now, |d, cx| d.reset(cx));
        }
        self.mail.messages.clear();
        self.mail.request = None;
    }

    /// The chips, for lists.
    pub fn chips(&mut self) -> &mut Chips {
        &mut self.chips
    }

    /// Calls chip `n` at `now` and carries out what it did.
    fn call<T>(&mut self, n: usize, now: Time, call: impl FnOnce(&mut dyn Device, &mut Cx<'_>) -> T) -> T {
        self.now = self.now.max(now);
        let mut cx = Cx::new(self.now, &self.ram, &mut self.alarms[n], &mut self.effects);
        let answer = call(self.chips.get(n), &mut cx);
        if !self.effects.is_empty() {
            self.settle(n);
        } else if n == PIC {
            // Masks and ends of interrupts change INTR without any other effect.
            self.mail.intr = self.chips.pic.intr();
        }
        self.next_alarm = self.alarms.iter().flatten().min().copied().unwrap_or(Time::NEVER);
        answer
    }

    /// Carries out the effects of chip `n`, and those that they bring about in turn.
    fn settle(&mut self, n: usize) {
        let mut from = n;
        // A line reaches the IOAPIC, which may send a message and nothing more: two rounds at most.
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::Line(line, high) => self.line(from, line, high),
                    Effect::Message { address, data } => {
                        self.mail.messages.extend(Message::from_msi(address, data).map(|m| (FROM_BOARD, m)));
                    }
                    Effect::Wrote(at, bytes) => self.mail.wrote.push((at, bytes)),
                    Effect::Output(bytes) => {
                        self.output.extend(bytes);
                        self.console = from;
                    }
                    Effect::Request(request) => {
                        self.mail.request.get_or_insert(request);
                    }
                }
            }
            from = IOAPIC;
        }
        self.mail.intr = self.chips.pic.intr();
    }

    /// Chip `from` drives `line`: a line is high while anybody drives it. Lines 0 to 15 go to the 8259A pair and the
    /// IOAPIC, where line 0 is wired to pin 2; higher ones to the IOAPIC alone.
    fn line(&mut self, from: usize, line: Line, high: bool) {
        let drivers = &mut self.drivers[usize::from(line.0)];
        let before = *drivers != 0;
        *drivers = *drivers & !(1 << (from & 63)) | u64::from(high) << (from & 63);
        let after = *drivers != 0;
        if before == after {
            return;
        }
        if line.0 < 16 {
            self.chips.pic.set_line(line.0, after);
        }
        let pin = if line.0 == 0 { 2 } else { line.0 };
        let mut cx = Cx::new(self.now, &self.ram, &mut self.alarms[IOAPIC], &mut self.effects);
        self.chips.ioapic.set_line(pin, after, &mut cx);
    }

    /// Does the run loop have something to do before the next instruction?
    pub fn wants_attention(&self) -> bool {
        self.mail.intr != self.intr_delivered
            || self.next_alarm < self.horizon
            || !self.mail.messages.is_empty()
            || !self.mail.wrote.is_empty()
            || self.mail.request.is_some()
    }

    /// The level of INTR when it has changed since it was last asked.
    pub fn take_intr(&mut self) -> Option<bool> {
        let changed = self.mail.intr != self.intr_delivered;
        self.intr_delivered = self.mail.intr;
        changed.then_some(self.intr_delivered)
    }

    /// The earliest alarm, [`Time::NEVER`] when there is none.
    pub fn next_alarm(&self) -> Time {
        self.next_alarm
    }

    /// Rings the alarms that are due at `now`, in the order of their times, then of the chips.
    pub fn ring(&mut self, now: Time) {
        while self.next_alarm <= now {
            let due = self.next_alarm;
            let Some(n) = self.alarms.iter().position(|a| *a == Some(due)) else { return };
            self.alarms[n] = None;
            self.call(n, now, |d, cx| d.alarm(cx));
            // A chip that sets its alarm into the past again is rung at the next tick.
            if self.alarms[n].is_some_and(|a| a <= due) {
                self.alarms[n] = Some(now + Time::ns(1));
                self.next_alarm = self.alarms.iter().flatten().min().copied().unwrap_or(Time::NEVER);
            }
        }
    }

    /// Offers `bytes` to the serial port or console; says how many it took. Nothing is typed before the guest listens.
    pub fn input(&mut self, bytes: &[u8], now: Time) -> usize {
        if self.console == SERIAL && !self.chips.serial.listens() {
            return 0;
        }
        self.call(self.console, now, |d, cx| d.input(bytes, cx)).min(bytes.len())
    }

    /// Reads `bytes` bytes at `address`; all ones where nobody answers. An access that only begins in a region is
    /// made of smaller ones, as a bus of fewer lanes would.
    pub fn read(&mut self, space: Space, address: u64, bytes: u32, now: Time) -> u64 {
        match self.place(space, address, bytes) {
            Found::Whole(n, at) => self.call(n, now, |d, cx| d.read(at, cx)) & mask(bytes),
            Found::Part => {
                let half = bytes / 2;
                let low = self.read(space, address, half, now);
                low | self.read(space, address.wrapping_add(half.into()), half, now) << (8 * half)
            }
            Found::Nobody => {
                tracing::debug!(?space, address = format_args!("{address:#x}"), bytes, "nobody answers a read");
                mask(bytes)
            }
        }
    }

    /// Writes the low `bytes` bytes of `value` at `address`; dropped where nobody answers.
    pub fn write(&mut self, space: Space, address: u64, bytes: u32, value: u64, now: Time) {
        match self.place(space, address, bytes) {
            Found::Whole(n, at) => self.call(n, now, |d, cx| d.write(at, value & mask(bytes), cx)),
            Found::Part => {
                let half = bytes / 2;
                self.write(space, address, half, value, now);
                self.write(space, address.wrapping_add(half.into()), half, value >> (8 * half), now);
            }
            Found::Nobody => {
                tracing::debug!(?space, address = format_args!("{address:#x}"), bytes, value, "nobody answers a write");
            }
        }
    }

    fn place(&self, space: Space, address: u64, bytes: u32) -> Found {
        let last = address.wrapping_add(u64::from(bytes) - 1);
        let (first, last) = (self.map.find(space, address), self.map.find(space, last));
        match (first, last) {
            (Some((n, region, offset)), Some((m, last_region, _))) if n == m && region == last_region => {
                Found::Whole(n, Place { region, offset, bytes })
            }
            (None, None) if bytes <= 4 || self.map.find(space, address.wrapping_add(4)).is_none() => Found::Nobody,
            _ => Found::Part,
        }
    }

    /// End of a level-triggered interrupt, for the IOAPIC.
    pub fn end_of_interrupt(&mut self, vector: u8, now: Time) {
        self.now = self.now.max(now);
        let mut cx = Cx::new(self.now, &self.ram, &mut self.alarms[IOAPIC], &mut self.effects);
        self.chips.ioapic.end_of_interrupt(vector, &mut cx);
        self.settle(IOAPIC);
    }

    /// The 8259A pair's vector (INTA cycles).
    pub fn acknowledge_pic(&mut self) -> u8 {
        let vector = self.chips.pic.acknowledge();
        self.settle(PIC);
        vector
    }
}

/// Who answers an access.
enum Found {
    /// One region holds all of it.
    Whole(usize, Place),
    /// Several, or a region and nobody.
    Part,
    /// Nobody.
    Nobody,
}

const fn mask(bytes: u32) -> u64 {
    if bytes >= 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 }
}
