//! 8042: the keyboard controller, a keyboard, and an auxiliary port with nothing in it.
//!
//! Answers come at once. The keyboard answers the commands that drivers probe with, and keys arrive by
//! [`Keyboard::key`] as set 2 codes, translated to set 1 when the command byte says so. What is sent to the empty
//! auxiliary port times out, which tells a driver that no mouse is there. Pulsing bit 0 of the output port resets.
//!
//! Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller", 1988.

use crate::lanes;
use emu_core::{Cx, Device, Line, Place, Port, Region, Request};
use std::collections::VecDeque;

mod status {
    pub const OUTPUT_FULL: u8 = 0x01;
    pub const SYSTEM: u8 = 0x04;
    pub const COMMAND: u8 = 0x08;
    pub const UNLOCKED: u8 = 0x10;
    pub const AUX: u8 = 0x20;
    pub const TIMEOUT: u8 = 0x40;
}
mod ctr {
    pub const KEYBOARD_INT: u8 = 0x01;
    pub const AUX_INT: u8 = 0x02;
    pub const SYSTEM: u8 = 0x04;
    pub const KEYBOARD_OFF: u8 = 0x10;
    pub const AUX_OFF: u8 = 0x20;
    pub const TRANSLATE: u8 = 0x40;
}

/// Bytes that wait at most: a keyboard's own buffer.
const QUEUE_BYTES: usize = 64;

/// A byte for port 60h and the status bits that go with it.
#[derive(Clone, Copy, Debug)]
struct Answer {
    byte: u8,
    status: u8,
}

/// What the next byte written to port 60h is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Keyboard,
    CommandByte,
    OutputPort,
    EchoKeyboard,
    EchoAux,
    Aux,
}

/// The controller with its keyboard.
#[derive(Clone, Debug)]
pub struct Keyboard {
    ctr: u8,
    output_port: u8,
    last_was_command: bool,
    expect: Expect,
    answers: VecDeque<Answer>,
    /// The keyboard command whose argument comes next.
    argument_of: Option<u8>,
    scanning: bool,
    code_set: u8,
    /// Levels last driven on lines 1 and 12.
    high: [bool; 2],
}

impl Default for Keyboard {
    fn default() -> Keyboard {
        Keyboard {
            ctr: ctr::SYSTEM | ctr::TRANSLATE | ctr::KEYBOARD_INT,
            // A20 on, reset inactive.
            output_port: 0x03,
            last_was_command: false,
            expect: Expect::Keyboard,
            answers: VecDeque::new(),
            argument_of: None,
            scanning: true,
            code_set: 2,
            high: [false; 2],
        }
    }
}

impl Keyboard {
    /// Bytes of a key in scan code set 2, as the keyboard sends them; lost while the guest has scanning off.
    pub fn key(&mut self, codes: &[u8], cx: &mut Cx<'_>) {
        if self.scanning && self.ctr & ctr::KEYBOARD_OFF == 0 {
            let mut released = false;
            for code in codes {
                if self.ctr & ctr::TRANSLATE == 0 {
                    self.answer(*code, 0);
                } else if *code == 0xf0 {
                    released = true;
                } else {
                    self.answer(translate(*code) | if released { 0x80 } else { 0 }, 0);
                    released = false;
                }
            }
        }
        self.drive(cx);
    }

    fn answer(&mut self, byte: u8, status: u8) {
        if self.answers.len() < QUEUE_BYTES {
            self.answers.push_back(Answer { byte, status });
        }
    }

    fn status(&self) -> u8 {
        let waiting = self.answers.front().map_or(0, |a| a.status | status::OUTPUT_FULL);
        let command = if self.last_was_command { status::COMMAND } else { 0 };
        waiting | command | self.ctr & status::SYSTEM | status::UNLOCKED
    }

    /// Lines 1 and 12 follow the output buffer.
    fn drive(&mut self, cx: &mut Cx<'_>) {
        let front = self.answers.front();
        let aux = front.is_some_and(|a| a.status & status::AUX != 0);
        let levels =
            [front.is_some() && !aux && self.ctr & ctr::KEYBOARD_INT != 0, aux && self.ctr & ctr::AUX_INT != 0];
        for (n, line) in [Line(1), Line(12)].into_iter().enumerate() {
            if self.high[n] != levels[n] {
                self.high[n] = levels[n];
                cx.line(line, levels[n]);
            }
        }
    }

    fn take(&mut self, cx: &mut Cx<'_>) -> u8 {
        let byte = self.answers.pop_front().map_or(0, |a| a.byte);
        // A byte that follows makes an edge of its own.
        let rest = std::mem::take(&mut self.answers);
        self.drive(cx);
        self.answers = rest;
        byte
    }

    fn command(&mut self, value: u8, cx: &mut Cx<'_>) {
        self.last_was_command = true;
        match value {
            0x20 => self.answer(self.ctr, 0),
            0x60 => self.expect = Expect::CommandByte,
            0xa7 => self.ctr |= ctr::AUX_OFF,
            0xa8 => self.ctr &= !ctr::AUX_OFF,
            // Tests of the auxiliary and the keyboard interface: no error.
            0xa9 | 0xab => self.answer(0, 0),
            0xaa => {
                self.ctr |= ctr::SYSTEM;
                self.answer(0x55, 0);
            }
            0xad => self.ctr |= ctr::KEYBOARD_OFF,
            0xae => self.ctr &= !ctr::KEYBOARD_OFF,
            0xc0 => self.answer(0xbf, 0),
            0xd0 => self.answer(self.output_port, 0),
            0xd1 => self.expect = Expect::OutputPort,
            0xd2 => self.expect = Expect::EchoKeyboard,
            0xd3 => self.expect = Expect::EchoAux,
            0xd4 => self.expect = Expect::Aux,
            0xf0..=0xff if value & 1 == 0 => cx.request(Request::Reset),
            _ => {}
        }
    }

    fn set_output_port(&mut self, value: u8, cx: &mut Cx<'_>) {
        self.output_port = value;
        if value & 1 == 0 {
            cx.request(Request::Reset);
        }
    }

    fn data(&mut self, value: u8, cx: &mut Cx<'_>) {
        self.last_was_command = false;
        match std::mem::replace(&mut self.expect, Expect::Keyboard) {
            Expect::Keyboard => {
                // Sending to the keyboard enables it.
                self.ctr &= !ctr::KEYBOARD_OFF;
                self.tell_keyboard(value);
            }
            Expect::CommandByte => self.ctr = value & 0x7f,
            Expect::OutputPort => self.set_output_port(value, cx),
            Expect::EchoKeyboard => self.answer(value, 0),
            Expect::EchoAux => self.answer(value, status::AUX),
            Expect::Aux => self.answer(0xfe, status::AUX | status::TIMEOUT),
        }
    }

    fn tell_keyboard(&mut self, value: u8) {
        const ACK: u8 = 0xfa;
        if let Some(command) = self.argument_of.take() {
            self.answer(ACK, 0);
            match (command, value) {
                (0xf0, 0) => self.answer(self.code_set, 0),
                (0xf0, 1..=3) => self.code_set = value,
                _ => {}
            }
            return;
        }
        match value {
            0xee => self.answer(0xee, 0),
            0xed | 0xf0 | 0xf3 => {
                self.argument_of = Some(value);
                self.answer(ACK, 0);
            }
            0xf2 => {
                // An MF2 keyboard is AB 83; translation makes the second byte 41.
                let second = if self.ctr & ctr::TRANSLATE != 0 { translate(0x83) } else { 0x83 };
                [ACK, 0xab, second].into_iter().for_each(|byte| self.answer(byte, 0));
            }
            0xf4..=0xf6 => {
                self.scanning = value != 0xf5;
                self.answer(ACK, 0);
            }
            0xff => {
                (self.scanning, self.code_set) = (true, 2);
                self.answer(ACK, 0);
                self.answer(0xaa, 0);
            }
            _ => self.answer(0xfe, 0),
        }
    }
}

/// Set 2 to set 1, as the controller's own table does it.
fn translate(code: u8) -> u8 {
    #[rustfmt::skip] // one row per sixteen codes
    const TABLE: [u8; 0x90] = [
        0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
        0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
        0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
        0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
        0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
        0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
        0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
        0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
        0x80, 0x81, 0x82, 0x41, 0x54, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f,
    ];
    TABLE.get(usize::from(code)).copied().unwrap_or(code)
}

impl Device for Keyboard {
    fn name(&self) -> &'static str {
        "8042"
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region::ports(Port(0x60), 1), Region::ports(Port(0x64), 1)]
    }

    fn read(&mut self, at: Place, cx: &mut Cx<'_>) -> u64 {
        let value = lanes::read(at, |offset| match (at.region, offset) {
            (0, 0) => self.take(cx),
            (1, 0) => self.status(),
            _ => 0xff,
        });
        self.drive(cx);
        value
    }

    fn write(&mut self, at: Place, value: u64, cx: &mut Cx<'_>) {
        lanes::write(at, value, |offset, byte| match (at.region, offset) {
            (0, 0) => self.data(byte, cx),
            (1, 0) => self.command(byte, cx),
            _ => {}
        });
        self.drive(cx);
    }

    fn reset(&mut self, cx: &mut Cx<'_>) {
        *self = Keyboard { high: self.high, ..Keyboard::default() };
        self.drive(cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;

    impl Bench<Keyboard> {
        fn answers(&mut self) -> Vec<u64> {
            let mut all = Vec::new();
            while self.read(1, 0, 1) & 1 != 0 {
                all.push(self.read(0, 0, 1));
            }
            all
        }
        fn command(&mut self, value: u64) -> Vec<u64> {
            self.write(1, 0, 1, value);
            self.answers()
        }
        fn data(&mut self, value: u64) -> Vec<u64> {
            self.write(0, 0, 1, value);
            self.answers()
        }
    }

    #[test]
    fn self_tests_and_command_byte() {
        let mut b = Bench::new(Keyboard::default());
        assert_eq!(b.command(0xaa), [0x55]);
        assert_eq!(b.command(0xab), [0]);
        assert_eq!(b.command(0xa9), [0]);
        b.command(0x60);
        b.data(0x74);
        assert_eq!(b.command(0x20), [0x74]);
        b.command(0xa8);
        assert_eq!(b.command(0x20), [0x54]);
        b.command(0xa7);
        assert_eq!(b.command(0x20), [0x74]);
    }

    #[test]
    fn the_keyboard_resets_and_names_itself() {
        let mut b = Bench::new(Keyboard::default());
        assert_eq!(b.data(0xff), [0xfa, 0xaa]);
        assert_eq!(b.data(0xf2), [0xfa, 0xab, 0x41]);
        assert_eq!(b.data(0xed), [0xfa]);
        assert_eq!(b.data(0x07), [0xfa]);
        b.command(0x60);
        b.data(0x00);
        assert_eq!(b.data(0xf2), [0xfa, 0xab, 0x83]);
        assert_eq!(b.data(0xe1), [0xfe]);
    }

    #[test]
    fn each_byte_interrupts_anew() {
        let mut b = Bench::new(Keyboard::default());
        b.with(|chip, cx| chip.key(&[0x1c, 0xf0, 0x1c], cx));
        assert_eq!(b.levels(1), [true]);
        assert_eq!(b.read(0, 0, 1), 0x1e);
        assert_eq!(b.levels(1), [false, true]);
        assert_eq!(b.read(0, 0, 1), 0x9e);
        assert_eq!(b.levels(1), [false]);
    }

    #[test]
    fn the_auxiliary_port_echoes_and_has_no_device() {
        let mut b = Bench::new(Keyboard::default());
        b.command(0x60);
        b.data(0x47);
        b.command(0xd3);
        b.drain();
        b.write(0, 0, 1, 0x5a);
        assert_eq!(b.read(1, 0, 1) & 0x21, 0x21);
        assert_eq!(b.levels(12), [true]);
        assert_eq!(b.read(0, 0, 1), 0x5a);
        b.command(0xd4);
        b.write(0, 0, 1, 0xff);
        assert_eq!(b.read(1, 0, 1) & 0x61, 0x61);
        assert_eq!(b.read(0, 0, 1), 0xfe);
    }

    #[test]
    fn pulsing_output_bit_zero_resets_the_machine() {
        let mut b = Bench::new(Keyboard::default());
        b.command(0xff);
        assert_eq!(b.requests(), []);
        b.command(0xfe);
        assert_eq!(b.requests(), [Request::Reset]);
        b.command(0xd1);
        b.data(0x02);
        assert_eq!(b.requests(), [Request::Reset]);
    }
}
