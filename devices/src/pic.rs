//! 8259A pair: sixteen interrupt inputs, the second chip cascaded into input 2 of the first.
//!
//! The board drives the inputs by [`Pic::set_line`], asks [`Pic::intr`] whether the processor is interrupted, and
//! takes the vector by [`Pic::acknowledge`]. Each input is edge or level triggered as ELCR says (4D0h, 4D1h); as on
//! PC chipsets, ELCR takes the place of ICW1's LTIM bit.
//!
//! Source: Intel 8259A datasheet (231468-003), 1988; ELCR: Intel ICH9 datasheet (316972), section 13.4.

use crate::lanes;
use emu_core::{Cx, Device, Place, Port, Region};

/// Which of the two ports ICW2..ICW4 are still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Initialising {
    Done,
    Icw2,
    Icw3,
    Icw4,
}

/// One 8259A.
#[derive(Clone, Debug)]
struct Chip {
    /// Input levels.
    lines: u8,
    /// Edges seen whose line is still high.
    edges: u8,
    /// In-service register.
    isr: u8,
    /// Mask register.
    imr: u8,
    /// Inputs that are level triggered.
    elcr: u8,
    /// Vector base, a multiple of 8.
    base: u8,
    /// The input of lowest priority: 7 unless rotated.
    lowest: u8,
    initialising: Initialising,
    /// ICW1 said that ICW4 follows.
    wants_icw4: bool,
    single: bool,
    auto_eoi: bool,
    rotate_on_auto_eoi: bool,
    special_mask: bool,
    fully_nested: bool,
    read_isr: bool,
    poll: bool,
    master: bool,
}

/// Input of the first chip that the second drives.
const CASCADE: u8 = 2;

impl Chip {
    fn new(master: bool) -> Chip {
        Chip {
            lines: 0,
            edges: 0,
            isr: 0,
            imr: 0,
            elcr: 0,
            base: 0,
            lowest: 7,
            initialising: Initialising::Done,
            wants_icw4: false,
            single: false,
            auto_eoi: false,
            rotate_on_auto_eoi: false,
            special_mask: false,
            fully_nested: false,
            read_isr: false,
            poll: false,
            master,
        }
    }

    /// The interrupt request register.
    fn irr(&self) -> u8 {
        self.edges | self.lines & self.elcr | if self.master { self.lines & 1 << CASCADE } else { 0 }
    }

    fn set_line(&mut self, n: u8, high: bool) {
        let bit = 1u8 << (n & 7);
        if !high {
            // The request goes with its line: what was not acknowledged in time is a spurious interrupt.
            self.lines &= !bit;
            self.edges &= !bit;
        } else if self.lines & bit == 0 {
            self.lines |= bit;
            let cascade = self.master && n == CASCADE;
            self.edges |= if cascade { 0 } else { bit & !self.elcr };
        }
    }

    /// The bit of highest priority in `bits`, as (rank, input): rank 0 is the highest.
    fn highest(&self, bits: u8) -> Option<(u8, u8)> {
        let first = (self.lowest + 1) & 7;
        let rank = bits.rotate_right(u32::from(first)).trailing_zeros() as u8;
        (rank < 8).then_some((rank, (rank + first) & 7))
    }

    /// The input that interrupts now: requested, not masked, and above everything in service.
    fn pending(&self) -> Option<u8> {
        let (rank, n) = self.highest(self.irr() & !self.imr)?;
        let mut serving = self.isr;
        if self.special_mask {
            serving &= !self.imr;
        }
        if self.master && self.fully_nested {
            serving &= !(1 << CASCADE);
        }
        let free = self.highest(serving).is_none_or(|(busy, _)| rank < busy);
        (free && self.initialising == Initialising::Done).then_some(n)
    }

    /// The processor takes input `n`.
    fn take(&mut self, n: u8) {
        let bit = 1u8 << n;
        self.edges &= !bit;
        if self.auto_eoi {
            if self.rotate_on_auto_eoi {
                self.lowest = n;
            }
        } else {
            self.isr |= bit;
        }
    }

    fn end(&mut self, n: u8, rotate: bool) {
        self.isr &= !(1 << n);
        if rotate {
            self.lowest = n;
        }
    }

    /// OCW2: end of interrupt and rotation.
    fn ocw2(&mut self, value: u8) {
        let n = value & 7;
        let unmasked = if self.special_mask { self.isr & !self.imr } else { self.isr };
        let serving = self.highest(unmasked).map(|(_, n)| n);
        match value >> 5 {
            0b000 => self.rotate_on_auto_eoi = false,
            0b100 => self.rotate_on_auto_eoi = true,
            0b001 | 0b101 => {
                if let Some(serving) = serving {
                    self.end(serving, value & 0x80 != 0);
                }
            }
            0b011 | 0b111 => self.end(n, value & 0x80 != 0),
            0b110 => self.lowest = n,
            _ => {}
        }
    }

    fn icw1(&mut self, value: u8) {
        *self = Chip {
            lines: self.lines,
            elcr: self.elcr,
            base: self.base,
            initialising: Initialising::Icw2,
            wants_icw4: value & 1 != 0,
            single: value & 2 != 0,
            ..Chip::new(self.master)
        };
    }

    fn write_command(&mut self, value: u8) {
        if value & 0x10 != 0 {
            self.icw1(value);
        } else if value & 0x08 != 0 {
            if value & 0x40 != 0 {
                self.special_mask = value & 0x20 != 0;
            }
            self.poll = value & 4 != 0;
            if value & 2 != 0 {
                self.read_isr = value & 1 != 0;
            }
        } else {
            self.ocw2(value);
        }
    }

    fn write_data(&mut self, value: u8) {
        let last = if self.wants_icw4 { Initialising::Icw4 } else { Initialising::Done };
        match self.initialising {
            Initialising::Done => self.imr = value,
            Initialising::Icw2 => {
                self.base = value & 0xf8;
                self.initialising = if self.single { last } else { Initialising::Icw3 };
            }
            // The wiring of the cascade is the board's; what the guest says of it changes nothing.
            Initialising::Icw3 => self.initialising = last,
            Initialising::Icw4 => {
                self.auto_eoi = value & 2 != 0;
                self.fully_nested = value & 0x10 != 0;
                self.initialising = Initialising::Done;
            }
        }
    }
}

/// The pair.
#[derive(Clone, Debug)]
pub struct Pic {
    chips: [Chip; 2],
}

impl Default for Pic {
    fn default() -> Pic {
        Pic { chips: [Chip::new(true), Chip::new(false)] }
    }
}

impl Pic {
    /// Drives input `n` (0 to 15; 2 is the cascade, and ignored with all others).
    pub fn set_line(&mut self, n: u8, high: bool) {
        match n {
            CASCADE | 16.. => return,
            0..=7 => self.chips[0].set_line(n, high),
            8..=15 => self.chips[1].set_line(n - 8, high),
        }
        self.cascade();
    }

    /// Whether the INTR pin asks for an interrupt.
    pub fn intr(&self) -> bool {
        self.chips[0].pending().is_some()
    }

    /// The processor's acknowledge cycle: takes the interrupt and gives its vector.
    ///
    /// A request that has gone meanwhile gives the vector of input 7 (of the chip that lost it) with nothing in
    /// service: a spurious interrupt.
    pub fn acknowledge(&mut self) -> u8 {
        let [master, slave] = &mut self.chips;
        let n = master.pending();
        let vector = match n {
            None => master.base | 7,
            Some(CASCADE) => {
                let inner = slave.pending();
                if let Some(inner) = inner {
                    slave.take(inner);
                }
                slave.base | inner.unwrap_or(7)
            }
            Some(n) => master.base | n,
        };
        if let Some(n) = n {
            master.take(n);
        }
        self.cascade();
        vector
    }

    /// The second chip's INT drives input 2 of the first.
    fn cascade(&mut self) {
        let int = self.chips[1].pending().is_some();
        self.chips[0].set_line(CASCADE, int);
    }

    /// A poll command makes the next read an acknowledge of this chip.
    fn polled(&mut self, which: usize) -> u8 {
        let chip = &mut self.chips[which];
        chip.poll = false;
        let n = chip.pending();
        if let Some(n) = n {
            chip.take(n);
        }
        self.cascade();
        n.map_or(0, |n| 0x80 | n)
    }

    fn read_byte(&mut self, region: usize, offset: u64) -> u8 {
        let which = region & 1;
        match (region, offset) {
            (0 | 1, 0 | 1) if self.chips[which].poll => self.polled(which),
            (0 | 1, 0) if self.chips[which].read_isr => self.chips[which].isr,
            (0 | 1, 0) => self.chips[which].irr(),
            (0 | 1, 1) => self.chips[which].imr,
            (2, 0) => self.chips[0].elcr,
            (2, 1) => self.chips[1].elcr,
            _ => 0xff,
        }
    }

    fn write_byte(&mut self, region: usize, offset: u64, value: u8) {
        match (region, offset) {
            (0 | 1, 0) => self.chips[region & 1].write_command(value),
            (0 | 1, 1) => self.chips[region & 1].write_data(value),
            // The timer, the keyboard, the cascade, the clock and the coprocessor are always edge triggered.
            (2, 0) => self.chips[0].elcr = value & 0xf8,
            (2, 1) => self.chips[1].elcr = value & 0xde,
            _ => {}
        }
        self.cascade();
    }
}

impl Device for Pic {
    fn name(&self) -> &'static str {
        "8259A"
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region::ports(Port(0x20), 2), Region::ports(Port(0xa0), 2), Region::ports(Port(0x4d0), 2)]
    }

    fn read(&mut self, at: Place, _: &mut Cx<'_>) -> u64 {
        lanes::read(at, |offset| self.read_byte(at.region, offset))
    }

    fn write(&mut self, at: Place, value: u64, _: &mut Cx<'_>) {
        lanes::write(at, value, |offset, byte| self.write_byte(at.region, offset, byte));
    }

    fn reset(&mut self, _: &mut Cx<'_>) {
        // The inputs go low too: a board that resets its chips hears from each what it drives afterwards.
        *self = Pic::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;

    /// Both chips as Linux sets them up: vectors 30h and 38h, everything unmasked.
    fn set_up() -> Bench<Pic> {
        let mut b = Bench::new(Pic::default());
        for (region, values) in [(0, [0x11, 0x30, 4, 1, 0]), (1, [0x11, 0x38, 2, 1, 0])] {
            b.write(region, 0, 1, values[0]);
            for value in &values[1..] {
                b.write(region, 1, 1, *value);
            }
        }
        b
    }

    #[test]
    fn lower_inputs_come_first_and_wait_for_the_end_of_higher_ones() {
        let mut b = set_up();
        b.chip.set_line(4, true);
        b.chip.set_line(3, true);
        assert!(b.chip.intr());
        assert_eq!(b.chip.acknowledge(), 0x33);
        assert!(!b.chip.intr(), "input 4 waits");
        b.chip.set_line(0, true);
        assert_eq!(b.chip.acknowledge(), 0x30, "input 0 nests");
        b.write(0, 0, 1, 0x0b);
        assert_eq!(b.read(0, 0, 1), 0x09);
        b.write(0, 0, 1, 0x0a);
        assert_eq!(b.read(0, 0, 1), 0x10);
        b.write(0, 0, 1, 0x20);
        assert!(!b.chip.intr());
        b.write(0, 0, 1, 0x63);
        assert_eq!(b.chip.acknowledge(), 0x34);
    }

    #[test]
    fn the_second_chip_comes_through_input_two() {
        let mut b = set_up();
        b.chip.set_line(8, true);
        b.chip.set_line(14, true);
        assert_eq!(b.chip.acknowledge(), 0x38);
        assert!(!b.chip.intr());
        b.write(1, 0, 1, 0x20);
        assert!(!b.chip.intr(), "the first chip still serves input 2");
        b.write(0, 0, 1, 0x62);
        assert_eq!(b.chip.acknowledge(), 0x3e);
    }

    #[test]
    fn an_edge_interrupts_once_and_a_level_again_until_it_falls() {
        let mut b = set_up();
        b.write(2, 0, 2, 0xffff);
        assert_eq!(b.read(2, 0, 2), 0xdef8);
        b.chip.set_line(5, true);
        assert_eq!(b.chip.acknowledge(), 0x35);
        b.write(0, 0, 1, 0x20);
        assert_eq!(b.chip.acknowledge(), 0x35, "level: still high");
        b.chip.set_line(5, false);
        b.write(0, 0, 1, 0x20);
        assert!(!b.chip.intr());
        b.chip.set_line(1, true);
        assert_eq!(b.chip.acknowledge(), 0x31);
        b.write(0, 0, 1, 0x20);
        assert!(!b.chip.intr(), "edge: high is not enough");
    }

    #[test]
    fn a_request_that_goes_before_the_acknowledge_is_spurious() {
        let mut b = set_up();
        b.chip.set_line(4, true);
        b.chip.set_line(4, false);
        assert!(!b.chip.intr());
        assert_eq!(b.chip.acknowledge(), 0x37);
        b.write(0, 0, 1, 0x0b);
        assert_eq!(b.read(0, 0, 1), 0, "nothing in service");
    }

    #[test]
    fn masks_and_special_mask_mode() {
        let mut b = set_up();
        b.write(0, 1, 1, 0x10);
        b.chip.set_line(4, true);
        assert!(!b.chip.intr());
        b.write(0, 1, 1, 0);
        assert_eq!(b.chip.acknowledge(), 0x34);
        b.chip.set_line(6, true);
        assert!(!b.chip.intr());
        b.write(0, 1, 1, 0x10);
        b.write(0, 0, 1, 0x68);
        assert!(b.chip.intr(), "special mask mode lets lower inputs in while 4 is masked");
        assert_eq!(b.chip.acknowledge(), 0x36);
    }

    #[test]
    fn rotation_makes_the_served_input_the_lowest() {
        let mut b = set_up();
        b.chip.set_line(4, true);
        assert_eq!(b.chip.acknowledge(), 0x34);
        b.write(0, 0, 1, 0xa0);
        b.chip.set_line(3, true);
        b.chip.set_line(5, true);
        assert_eq!(b.chip.acknowledge(), 0x35);
        b.write(0, 0, 1, 0x20);
        assert_eq!(b.chip.acknowledge(), 0x33);
        b.write(0, 0, 1, 0xc7);
        b.write(0, 0, 1, 0x20);
        b.chip.set_line(0, true);
        b.chip.set_line(7, true);
        assert_eq!(b.chip.acknowledge(), 0x30);
    }

    #[test]
    fn automatic_end_and_poll() {
        let mut b = Bench::new(Pic::default());
        b.write(0, 0, 1, 0x13);
        b.write(0, 1, 1, 0x20);
        b.write(0, 1, 1, 0x03);
        b.chip.set_line(1, true);
        assert_eq!(b.chip.acknowledge(), 0x21);
        b.write(0, 0, 1, 0x0b);
        assert_eq!(b.read(0, 0, 1), 0);
        b.chip.set_line(6, true);
        b.write(0, 0, 1, 0x0c);
        assert_eq!(b.read(0, 0, 1), 0x86);
        b.write(0, 0, 1, 0x0c);
        assert_eq!(b.read(0, 0, 1), 0);
    }
}
