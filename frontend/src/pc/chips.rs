//! The parts list of the board: which chips there are.
//!
//! The interrupt controllers and the serial port are held by name, since the board wires lines, acknowledge cycles and
//! input to them; all others are only devices. A chip's number is its place in the list: the named come first.

use super::firmware::high_mmio;
use devices::pci::PciFunction;
use devices::{
    Console, DebugExit, FwCfg, IoApic, Keyboard, PciBus, Pic, Pit, Pm, Post, Rng, Rtc, TestDevice, Uart, VirtioPci, rtc,
};
use emu_core::{Device, Region};

/// Number of the 8259A pair.
pub const PIC: usize = 0;
/// Number of the I/O APIC.
pub const IOAPIC: usize = 1;
/// Number of the serial port.
pub const SERIAL: usize = 2;
/// Number of the first that is not held by name.
const NAMED: usize = 3;
/// Where the entropy source's bytes come from: the same in every run.
const SEED: u64 = 0x756e_6861_6c74_6564;

/// A chip in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: &'static str,
    /// Where it answers.
    pub regions: Vec<Region>,
}

/// All chips.
pub struct Chips {
    /// The 8259A pair.
    pub pic: Pic,
    /// The I/O APIC.
    pub ioapic: IoApic,
    /// The serial port.
    pub serial: Uart,
    others: Vec<Box<dyn Device>>,
}

impl Chips {
    /// The chips of a machine with so many processors and so much RAM.
    pub fn new(processors: u32, ram_bytes: u64) -> Chips {
        let mut bus = PciBus::new(high_mmio(ram_bytes));
        for function in
            [Box::new(VirtioPci::new(Rng::new(SEED))) as Box<dyn PciFunction>, Box::new(VirtioPci::new(Console))]
        {
            bus.add(function).expect("an empty bus has room for two");
        }
        let others: Vec<Box<dyn Device>> = vec![
            Box::new(Pit::default()),
            Box::new(Rtc::new(rtc::DEFAULT_START)),
            Box::new(Keyboard::default()),
            Box::new(Pm::new(true)),
            Box::new(bus),
            Box::new(Post::default()),
            Box::new(DebugExit::default()),
            Box::new(TestDevice::default()),
            Box::new(FwCfg::new(ram_bytes, processors as u16)),
        ];
        Chips { pic: Pic::default(), ioapic: IoApic::new(0), serial: Uart::com1(), others }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        NAMED + self.others.len()
    }

    /// Chip `n`, below [`Chips::count`].
    pub fn get(&mut self, n: usize) -> &mut dyn Device {
        match n {
            PIC => &mut self.pic,
            IOAPIC => &mut self.ioapic,
            SERIAL => &mut self.serial,
            n => &mut *self.others[n - NAMED],
        }
    }

    /// Names and regions, in order.
    pub fn list(&mut self) -> Vec<Listed> {
        let one = |d: &mut dyn Device| Listed { name: d.name(), regions: d.regions() };
        (0..self.count()).map(|n| one(self.get(n))).collect()
    }
}
