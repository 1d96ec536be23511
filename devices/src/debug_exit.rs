//! Two ports by which test programs end the machine: isa-debug-exit at F4h, and "Shutdown" at 8900h.
//!
//! A value written to F4h ends with status (value * 2) or 1, so a test that writes 0 expects status 1. The word
//! "Shutdown" written byte by byte to 8900h ends with status 0; a wrong byte starts the word anew.
//!
//! Source: QEMU, `hw/misc/debugexit.c`; Bochs, `iodev/unmapped.cc`.

use crate::lanes;
use emu_core::{Cx, Device, Place, Port, Region, Request};

const WORD: &[u8] = b"Shutdown";

/// The two ports.
#[derive(Clone, Debug, Default)]
pub struct DebugExit {
    /// Bytes of the word seen so far.
    matched: usize,
}

impl Device for DebugExit {
    fn name(&self) -> &'static str {
        "isa-debug-exit"
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region::ports(Port(0xf4), 4), Region::ports(Port(0x8900), 1)]
    }

    fn read(&mut self, at: Place, _: &mut Cx<'_>) -> u64 {
        lanes::read(at, |_| if at.region == 0 { 0 } else { 0xff })
    }

    fn write(&mut self, at: Place, value: u64, cx: &mut Cx<'_>) {
        if at.region == 0 {
            cx.request(Request::Exit((value as u8) << 1 | 1));
            return;
        }
        let byte = value as u8;
        self.matched = match WORD.get(self.matched) {
            Some(next) if *next == byte => self.matched + 1,
            _ => usize::from(byte == WORD[0]),
        };
        if self.matched == WORD.len() {
            self.matched = 0;
            cx.request(Request::Exit(0));
        }
    }

    fn reset(&mut self, _: &mut Cx<'_>) {
        self.matched = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;

    #[test]
    fn the_status_is_twice_the_value_and_one() {
        let mut b = Bench::new(DebugExit::default());
        for (value, bytes, status) in [(0, 1, 1), (0, 4, 1), (1, 4, 3), (0x10, 4, 33), (0x80, 1, 1)] {
            b.write(0, 0, bytes, value);
            assert_eq!(b.requests(), [Request::Exit(status)]);
        }
    }

    #[test]
    fn only_the_whole_word_shuts_down() {
        let mut b = Bench::new(DebugExit::default());
        for byte in b"ShutShutdow" {
            b.write(1, 0, 1, u64::from(*byte));
        }
        assert_eq!(b.requests(), []);
        b.write(1, 0, 1, u64::from(b'n'));
        assert_eq!(b.requests(), [Request::Exit(0)]);
    }
}
