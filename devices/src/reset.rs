//! Three ports of the chipset: 80h shows progress, 92h has the fast reset, CF9h resets.
//!
//! Differs: 92h's A20 bit is kept, and the gate it stands for is not there: address bit 20 is never forced to 0.
//!
//! Source: Intel ICH9 datasheet (316972), sections 13.7 (80h, 92h) and 13.7.5 (CF9h).

use crate::lanes;
use emu_core::{Cx, Device, Place, Port, Region, Request};

/// Port 80h, the progress code, and port 92h.
#[derive(Clone, Debug)]
pub struct Post {
    code: u8,
    control: u8,
}

/// Port 92h after reset: A20 on.
const A20: u8 = 2;

impl Default for Post {
    fn default() -> Post {
        Post { code: 0, control: A20 }
    }
}

impl Device for Post {
    fn name(&self) -> &'static str {
        "POST"
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region::ports(Port(0x80), 1), Region::ports(Port(0x92), 1)]
    }

    fn read(&mut self, at: Place, _: &mut Cx<'_>) -> u64 {
        lanes::read(at, |offset| match (at.region, offset) {
            (0, 0) => self.code,
            (1, 0) => self.control,
            _ => 0xff,
        })
    }

    fn write(&mut self, at: Place, value: u64, cx: &mut Cx<'_>) {
        lanes::write(at, value, |offset, byte| match (at.region, offset) {
            (0, 0) => self.code = byte,
            (1, 0) => {
                // Bit 0 resets when it rises.
                if byte & !self.control & 1 != 0 {
                    cx.request(Request::Reset);
                }
                self.control = byte & 3;
            }
            _ => {}
        });
    }

    fn reset(&mut self, _: &mut Cx<'_>) {
        *self = Post { code: self.code, ..Post::default() };
    }
}

/// CF9h, the reset control register: bit 2 rising resets, bits 1 and 3 say how thoroughly.
///
/// It lies inside the host bridge's CF8h doubleword, so the bridge holds it ([`crate::pci::bus`]).
#[derive(Clone, Debug, Default)]
pub struct ResetControl {
    value: u8,
}

impl ResetControl {
    /// What CF9h reads.
    pub fn read(&self) -> u8 {
        self.value
    }

    /// The guest writes CF9h.
    pub fn write(&mut self, byte: u8, cx: &mut Cx<'_>) {
        if byte & !self.value & 4 != 0 {
            cx.request(Request::Reset);
        }
        self.value = byte & 0x0e;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;

    #[test]
    fn port_92_resets_when_its_bit_rises() {
        let mut b = Bench::new(Post::default());
        b.write(1, 0, 1, 2);
        b.write(0, 0, 1, 0xab);
        assert_eq!(b.requests(), []);
        assert_eq!([b.read(0, 0, 1), b.read(1, 0, 1)], [0xab, 2]);
        b.write(1, 0, 1, 1);
        assert_eq!(b.requests(), [Request::Reset]);
    }
}
