//! The test device of hypervisor unit tests: ports that read back, interrupt lines by port, memory behind MMIO.
//!
//! E0h to E3h hold 32 bits that read back in any width, and again at E8h; E4h would flush a page and does nothing; an
//! OUT to 2000h + n drives line n; FF000000h is 64 KiB of memory that the processor reaches by device access only.
//!
//! Source: QEMU, `hw/misc/pc-testdev.c`.

use crate::lanes;
use emu_core::{Cx, Device, Gpa, Line, Place, Port, Region};

const MEMORY_BYTES: usize = 0x10000;
/// Lines that can be driven: all that the I/O APIC has.
const LINES: u16 = 24;

/// The test device.
#[derive(Clone, Debug)]
pub struct TestDevice {
    data: [u8; 4],
    memory: Vec<u8>,
}

impl Default for TestDevice {
    fn default() -> TestDevice {
        TestDevice { data: [0; 4], memory: vec![0; MEMORY_BYTES] }
    }
}

const DATA: usize = 0;
const DATA_AGAIN: usize = 2;
const LINE: usize = 3;
const MEMORY: usize = 4;

impl TestDevice {
    fn bytes(&mut self, region: usize) -> &mut [u8] {
        match region {
            DATA | DATA_AGAIN => &mut self.data,
            MEMORY => &mut self.memory,
            _ => &mut [],
        }
    }
}

impl Device for TestDevice {
    fn name(&self) -> &'static str {
        "pc-testdev"
    }

    fn regions(&self) -> Vec<Region> {
        vec![
            Region::ports(Port(0xe0), 4),
            Region::ports(Port(0xe4), 4),
            Region::ports(Port(0xe8), 4),
            Region::ports(Port(0x2000), LINES),
            Region::memory(Gpa(0xff00_0000), MEMORY_BYTES as u64),
        ]
    }

    fn read(&mut self, at: Place, _: &mut Cx<'_>) -> u64 {
        let bytes = self.bytes(at.region);
        lanes::read(at, |offset| bytes.get(offset as usize).copied().unwrap_or(0xff))
    }

    fn write(&mut self, at: Place, value: u64, cx: &mut Cx<'_>) {
        if at.region == LINE {
            let lanes = if at.bytes >= 8 { u64::MAX } else { (1 << (8 * at.bytes)) - 1 };
            cx.line(Line(at.offset.min(u64::from(LINES) - 1) as u8), value & lanes != 0);
            return;
        }
        let bytes = self.bytes(at.region);
        lanes::write(at, value, |offset, byte| {
            if let Some(to) = bytes.get_mut(offset as usize) {
                *to = byte;
            }
        });
    }

    fn reset(&mut self, cx: &mut Cx<'_>) {
        *self = TestDevice::default();
        (0..LINES).for_each(|n| cx.line(Line(n as u8), false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;

    #[test]
    fn ports_and_memory_read_back_in_any_width() {
        let mut b = Bench::new(TestDevice::default());
        b.write(0, 0, 4, 0x1234_5678);
        assert_eq!([b.read(0, 0, 4), b.read(0, 0, 2), b.read(0, 0, 1)], [0x1234_5678, 0x5678, 0x78]);
        b.write(0, 2, 1, 0xff);
        assert_eq!([b.read(0, 0, 4), b.read(2, 0, 4)], [0x12ff_5678, 0x12ff_5678]);
        b.write(1, 0, 4, 0x1000);
        b.write(4, 0xfff8, 8, 0x0123_4567_89ab_cdef);
        assert_eq!([b.read(4, 0xfff8, 8), b.read(4, 0xfffb, 1)], [0x0123_4567_89ab_cdef, 0x89]);
    }

    #[test]
    fn lines_follow_the_value_written() {
        let mut b = Bench::new(TestDevice::default());
        b.write(3, 0x0e, 1, 1);
        b.write(3, 0x0e, 4, 0);
        assert_eq!(b.levels(14), [true, false]);
    }
}
