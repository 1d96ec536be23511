//! 82093AA: the I/O APIC, 24 pins that become messages to the local APICs.
//!
//! Version 20h, which adds the EOI register to the part's own 11h. A pin's message is what an MSI would write: address
//! FEE00000h with the destination in bits 19:12 and its mode in bit 2, data with the vector, the delivery mode in bits
//! 10:8, and level/trigger in bits 14 and 15. The board drives pins by [`IoApic::set_line`] and passes on the end of
//! each level-triggered interrupt by [`IoApic::end_of_interrupt`].
//!
//! Differs: the polarity bit is kept and otherwise without effect. The board's "high" means "asserted", whatever the
//! voltage that a real board would use for it.
//!
//! Source: Intel 82093AA datasheet (290566-001), 1996; EOI register: Intel ICH9 datasheet (316972), section 13.5.

use emu_core::{Cx, Device, Gpa, Place, Region};

/// Inputs.
pub const PINS: usize = 24;
/// Where the registers lie.
pub const IOAPIC_BASE: Gpa = Gpa(0xfec0_0000);

const VERSION: u32 = 0x20;
const MESSAGE_BASE: u64 = 0xfee0_0000;

mod entry {
    pub const DELIVERY_STATUS: u64 = 1 << 12;
    pub const REMOTE_IRR: u64 = 1 << 14;
    pub const LEVEL: u64 = 1 << 15;
    pub const MASKED: u64 = 1 << 16;
    /// Bits 16:0 and the destination.
    pub const DEFINED: u64 = 0xff00_0000_0001_ffff;
}

/// The I/O APIC.
#[derive(Clone, Debug)]
pub struct IoApic {
    id: u8,
    select: u8,
    pins: [u64; PINS],
    /// Asserted inputs, one bit each.
    lines: u32,
}

impl IoApic {
    /// An I/O APIC that says it is number `id`, with every pin masked.
    pub fn new(id: u8) -> IoApic {
        IoApic { id: id & 0xf, select: 0, pins: [entry::MASKED; PINS], lines: 0 }
    }

    /// Drives pin `n`; pins that do not exist are ignored.
    pub fn set_line(&mut self, n: u8, high: bool, cx: &mut Cx<'_>) {
        let n = usize::from(n);
        if n >= PINS {
            return;
        }
        let bit = 1u32 << n;
        let rose = high && self.lines & bit == 0;
        self.lines = if high { self.lines | bit } else { self.lines & !bit };
        if rose {
            // An edge on a masked pin is lost; a level is seen again when the mask goes.
            self.deliver(n, cx);
        }
    }

    /// A local APIC ended the interrupt of `vector`: level-triggered pins with that vector may interrupt again.
    pub fn end_of_interrupt(&mut self, vector: u8, cx: &mut Cx<'_>) {
        for n in 0..PINS {
            let pin = self.pins[n];
            if pin as u8 == vector && pin & entry::LEVEL != 0 && pin & entry::REMOTE_IRR != 0 {
                self.pins[n] &= !entry::REMOTE_IRR;
                self.retry(n, cx);
            }
        }
    }

    /// Sends pin `n`'s message unless it is masked or, level triggered, still being served.
    fn deliver(&mut self, n: usize, cx: &mut Cx<'_>) {
        let pin = self.pins[n];
        if pin & entry::MASKED != 0 || pin & entry::LEVEL != 0 && pin & entry::REMOTE_IRR != 0 {
            return;
        }
        let level = pin & entry::LEVEL != 0;
        if level {
            self.pins[n] |= entry::REMOTE_IRR;
        }
        let destination = pin >> 56;
        let logical = pin >> 11 & 1;
        // The redirection hint goes with lowest priority, as a processor's own MSI would say it.
        let hint = u64::from(pin >> 8 & 7 == 1);
        let address = MESSAGE_BASE | destination << 12 | hint << 3 | logical << 2;
        let trigger = if level { 0xc000 } else { 0 };
        cx.message(address, (pin & 0x7ff) as u32 | trigger);
    }

    /// A level that is still asserted interrupts anew.
    fn retry(&mut self, n: usize, cx: &mut Cx<'_>) {
        if self.pins[n] & entry::LEVEL != 0 && self.lines & 1 << n != 0 {
            self.deliver(n, cx);
        }
    }

    fn register(&self) -> u32 {
        match self.select {
            0 | 2 => u32::from(self.id) << 24,
            1 => (PINS as u32 - 1) << 16 | VERSION,
            n @ 0x10..0x40 => (self.pins[usize::from(n - 0x10) / 2] >> (32 * u32::from(n & 1))) as u32,
            _ => 0,
        }
    }

    fn set_register(&mut self, value: u32, cx: &mut Cx<'_>) {
        match self.select {
            0 => self.id = (value >> 24) as u8 & 0xf,
            select @ 0x10..0x40 => {
                let n = usize::from(select - 0x10) / 2;
                let old = self.pins[n];
                let new = if select & 1 == 0 {
                    old & 0xffff_ffff_0000_0000 | u64::from(value)
                } else {
                    old & 0xffff_ffff | u64::from(value) << 32
                };
                let read_only = entry::DELIVERY_STATUS | entry::REMOTE_IRR;
                let mut pin = new & entry::DEFINED & !read_only | old & read_only;
                if pin & entry::LEVEL == 0 {
                    // How drivers without the EOI register clear a stuck remote IRR: through edge and back.
                    pin &= !entry::REMOTE_IRR;
                }
                self.pins[n] = pin;
                self.retry(n, cx);
            }
            _ => {}
        }
    }
}

impl Device for IoApic {
    fn name(&self) -> &'static str {
        "82093AA"
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region::memory(IOAPIC_BASE, 0x1000)]
    }

    fn read(&mut self, at: Place, _: &mut Cx<'_>) -> u64 {
        let value = match at.offset & !3 {
            0x00 => u32::from(self.select),
            0x10 => self.register(),
            _ => 0,
        };
        u64::from(value) >> (8 * (at.offset & 3))
    }

    fn write(&mut self, at: Place, value: u64, cx: &mut Cx<'_>) {
        match at.offset {
            0x00 => self.select = value as u8,
            0x10 if at.bytes >= 4 => self.set_register(value as u32, cx),
            0x40 => self.end_of_interrupt(value as u8, cx),
            _ => {}
        }
    }

    fn reset(&mut self, _: &mut Cx<'_>) {
        // The pins go low too, as those of the 8259A pair.
        *self = IoApic::new(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;

    impl Bench<IoApic> {
        fn get(&mut self, register: u64) -> u64 {
            self.write(0, 0, 4, register);
            self.read(0, 0x10, 4)
        }
        fn put(&mut self, register: u64, value: u64) {
            self.write(0, 0, 4, register);
            self.write(0, 0x10, 4, value);
        }
        fn line(&mut self, n: u8, high: bool) {
            self.with(|chip, cx| chip.set_line(n, high, cx));
        }
    }

    #[test]
    fn identity_and_masked_pins_after_reset() {
        let mut b = Bench::new(IoApic::new(2));
        assert_eq!([b.get(0), b.get(1), b.get(2)], [0x0200_0000, 0x0017_0020, 0x0200_0000]);
        b.put(0, 0xff00_0000);
        assert_eq!(b.get(0), 0x0f00_0000);
        assert_eq!([b.get(0x10), b.get(0x3e), b.get(0x3f), b.get(0x40)], [0x10000, 0x10000, 0, 0]);
    }

    #[test]
    fn an_edge_sends_one_message_in_msi_form() {
        let mut b = Bench::new(IoApic::new(0));
        b.put(0x15, 0x0300_0000);
        b.put(0x14, 0x0930);
        b.line(2, true);
        b.line(2, true);
        assert_eq!(b.messages(), [(0xfee0_300c, 0x0130)], "destination 3, logical, lowest priority");
        b.line(2, false);
        b.put(0x14, 0x10030);
        b.line(2, true);
        b.put(0x14, 0x00030);
        assert_eq!(b.messages(), [], "an edge while masked is lost");
    }

    #[test]
    fn a_level_waits_for_its_end_and_comes_again_while_asserted() {
        let mut b = Bench::new(IoApic::new(0));
        b.put(0x22, 0xa051);
        b.line(9, true);
        assert_eq!(b.messages(), [(0xfee0_0000, 0xc051)]);
        assert_eq!(b.get(0x22), 0xe051, "remote IRR");
        b.line(9, false);
        b.line(9, true);
        assert_eq!(b.messages(), []);
        b.write(0, 0x40, 4, 0x52);
        assert_eq!(b.messages(), [], "another vector");
        b.write(0, 0x40, 4, 0x51);
        assert_eq!(b.messages(), [(0xfee0_0000, 0xc051)]);
        b.line(9, false);
        b.with(|chip, cx| chip.end_of_interrupt(0x51, cx));
        assert_eq!(b.messages(), []);
        assert_eq!(b.get(0x22), 0xa051);
    }

    #[test]
    fn unmasking_shows_a_waiting_level_and_going_through_edge_clears_remote_irr() {
        let mut b = Bench::new(IoApic::new(0));
        b.put(0x30, 0x18060);
        b.line(16, true);
        assert_eq!(b.messages(), []);
        b.put(0x30, 0x08060);
        assert_eq!(b.messages(), [(0xfee0_0000, 0xc060)]);
        b.put(0x30, 0x10060);
        assert_eq!(b.get(0x30), 0x10060);
        b.put(0x30, 0x08060);
        assert_eq!(b.messages(), [(0xfee0_0000, 0xc060)]);
    }
}
