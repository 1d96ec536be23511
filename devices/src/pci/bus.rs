//! 82G33 (Q35) host bridge and its bus 0: configuration accesses, memory windows, interrupt pins.
//!
//! CF9h, in the middle of the address register, is the reset control register: it is reached by bytes.
//!
//! Configuration goes through CF8h/CFCh (mechanism 1) and through ECAM. An access to one of the two memory windows
//! goes to the function whose BAR decodes it; one that nobody decodes reads all ones. INTx pins that share a line are
//! wired or. BARs are given addresses when a function is added, as firmware would do; the guest may move them.
//!
//! Source: PCI Local Bus specification 3.0, section 3.2.2.3.2; device identity: Intel 3 Series datasheet (316966).

use super::{Bar, ConfigSpace, ECAM_BASE, Identity, LAST_BUS, LOW_MMIO, PciCx, PciFunction, Signals, intx_line};
use crate::acpi::tables::HIGH_MMIO_BYTES;
use crate::reset::ResetControl;
use emu_core::{Cx, Device, Gpa, Line, Place, Port, Region};

/// Slots of a bus.
const SLOTS: usize = 32;
/// What is read where there is no function.
const NOBODY: u64 = u64::MAX;

/// The bridge's own identity.
const BRIDGE: Identity = Identity { vendor: 0x8086, device: 0x29c0, class: 0x06_0000, revision: 0, subsystem: (0, 0) };

struct Slot {
    config: ConfigSpace,
    signals: Signals,
    /// The bridge itself has nothing behind its configuration space.
    function: Option<Box<dyn PciFunction>>,
}

impl Slot {
    /// Calls the function with its doors.
    fn with<T>(
        &mut self,
        cx: &mut Cx<'_>,
        call: impl FnOnce(&mut dyn PciFunction, &mut PciCx<'_, '_>) -> T,
    ) -> Option<T> {
        let function = self.function.as_deref_mut()?;
        Some(call(function, &mut PciCx { cx, signals: &mut self.signals }))
    }
}

/// The root bus; function 0 of each slot, the bridge in slot 0.
pub struct PciBus {
    slots: Vec<Slot>,
    /// CF8h as last written.
    address: u32,
    reset_control: ResetControl,
    high_mmio: Gpa,
    /// Next free byte of each window.
    low_free: u64,
    high_free: u64,
    /// Levels last driven on lines 16 to 23.
    driven: [bool; 8],
}

/// No slot, or no room in a window, is left for a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusFull;

impl PciBus {
    /// A bus with only the bridge, whose window for 64-bit BARs begins at `high_mmio`.
    pub fn new(high_mmio: Gpa) -> PciBus {
        let bridge = Slot { config: ConfigSpace::new(BRIDGE, Vec::new()), signals: Signals::new(None), function: None };
        PciBus {
            slots: vec![bridge],
            address: 0,
            reset_control: ResetControl::default(),
            high_mmio,
            low_free: LOW_MMIO.start().0,
            high_free: high_mmio.0,
            driven: [false; 8],
        }
    }

    /// Plugs `function` into the next slot, and gives its number.
    ///
    /// # Errors
    /// [`BusFull`] when all slots are taken, or its BARs do not fit the windows.
    pub fn add(&mut self, function: Box<dyn PciFunction>) -> Result<u8, BusFull> {
        let slot = self.slots.len();
        if slot >= SLOTS {
            return Err(BusFull);
        }
        let mut config = ConfigSpace::new(function.identity(), function.bars());
        for bar in function.bars() {
            config.set_bar(bar, self.allocate(bar).ok_or(BusFull)?);
        }
        let place = function.msix();
        if let Some(place) = place {
            config.add_msix(place);
        }
        for (id, body) in function.capabilities() {
            config.add_capability(id, &body, &[]);
        }
        config.set_interrupt(intx_line(slot as u8, 0).0);
        self.slots.push(Slot { config, signals: Signals::new(place), function: Some(function) });
        Ok(slot as u8)
    }

    /// What is plugged in: slot and name.
    pub fn functions(&self) -> impl Iterator<Item = (u8, &'static str)> {
        self.slots.iter().enumerate().filter_map(|(n, s)| Some((n as u8, s.function.as_ref()?.name())))
    }

    fn allocate(&mut self, bar: Bar) -> Option<u64> {
        let (free, end) = if bar.wide {
            (&mut self.high_free, self.high_mmio.0.checked_add(HIGH_MMIO_BYTES)?)
        } else {
            (&mut self.low_free, LOW_MMIO.end().0 + 1)
        };
        let at = free.checked_next_multiple_of(bar.bytes)?;
        let after = at.checked_add(bar.bytes).filter(|after| *after <= end)?;
        *free = after;
        Some(at)
    }

    fn config_read(&self, bus: u64, devfn: u64, offset: u64, bytes: u32) -> u64 {
        match self.slots.get((devfn >> 3) as usize) {
            Some(slot) if bus == 0 && devfn & 7 == 0 => slot.config.read(offset, bytes),
            _ => NOBODY,
        }
    }

    fn config_write(&mut self, bus: u64, devfn: u64, at: (u64, u32), value: u64, cx: &mut Cx<'_>) {
        let Some(slot) = self.slots.get_mut((devfn >> 3) as usize).filter(|_| bus == 0 && devfn & 7 == 0) else {
            return;
        };
        let before = slot.config.msix_control();
        slot.config.write(at.0, at.1, value);
        let after = slot.config.msix_control();
        if before != after {
            slot.signals.set_control(after.0, after.1, cx);
        }
    }

    /// CF8h as (bus, device and function, register), if its enable bit is set.
    fn selected(&self) -> Option<(u64, u64, u64)> {
        let a = u64::from(self.address);
        (a >> 31 != 0).then_some((a >> 16 & 0xff, a >> 8 & 0xff, a & 0xfc))
    }

    fn decode(&self, address: u64) -> Option<(usize, usize, u64)> {
        self.slots.iter().enumerate().find_map(|(n, slot)| {
            let (bar, offset) = slot.config.decode(address)?;
            Some((n, bar, offset))
        })
    }

    fn window(&self, region: usize) -> u64 {
        if region == WINDOW_LOW { LOW_MMIO.start().0 } else { self.high_mmio.0 }
    }

    fn memory_read(&mut self, address: u64, bytes: u32, cx: &mut Cx<'_>) -> u64 {
        let Some((n, bar, offset)) = self.decode(address) else { return NOBODY };
        let slot = &mut self.slots[n];
        if let Some(value) = slot.signals.read(bar, offset) {
            return value;
        }
        slot.with(cx, |function, cx| function.read(bar, offset, bytes, cx)).unwrap_or(NOBODY)
    }

    fn memory_write(&mut self, address: u64, bytes: u32, value: u64, cx: &mut Cx<'_>) {
        let Some((n, bar, offset)) = self.decode(address) else { return };
        let slot = &mut self.slots[n];
        if !slot.signals.write(bar, offset, bytes, value, cx) {
            slot.with(cx, |function, cx| function.write(bar, offset, bytes, value, cx));
        }
    }

    /// Drives the lines from the pins that share them.
    fn drive(&mut self, cx: &mut Cx<'_>) {
        let mut levels = [false; 8];
        for (n, slot) in self.slots.iter_mut().enumerate() {
            let asserted = slot.signals.intx();
            slot.config.show_intx(asserted);
            let line = usize::from(intx_line(n as u8, 0).0 - 16);
            levels[line] |= asserted && slot.config.intx_enabled();
        }
        for (n, level) in levels.into_iter().enumerate() {
            if self.driven[n] != level {
                self.driven[n] = level;
                cx.line(Line(16 + n as u8), level);
            }
        }
    }
}

const ADDRESS: usize = 0;
const DATA: usize = 1;
const ECAM: usize = 2;
const WINDOW_LOW: usize = 3;

impl Device for PciBus {
    fn name(&self) -> &'static str {
        "PCI host bridge"
    }

    fn regions(&self) -> Vec<Region> {
        vec![
            // CF8h answers doublewords only; the byte at CF9h is the reset control register.
            Region::ports(Port(0xcf8), 4),
            Region::ports(Port(0xcfc), 4),
            Region::memory(ECAM_BASE, (u64::from(LAST_BUS) + 1) << 20),
            Region::memory(*LOW_MMIO.start(), LOW_MMIO.end().0 - LOW_MMIO.start().0 + 1),
            Region::memory(self.high_mmio, HIGH_MMIO_BYTES),
        ]
    }

    fn read(&mut self, at: Place, cx: &mut Cx<'_>) -> u64 {
        let value = match at.region {
            ADDRESS if at.bytes == 4 => u64::from(self.address),
            ADDRESS if (at.offset, at.bytes) == (1, 1) => u64::from(self.reset_control.read()),
            ADDRESS => NOBODY,
            DATA => match self.selected() {
                Some((bus, devfn, register)) => self.config_read(bus, devfn, register | at.offset & 3, at.bytes),
                None => NOBODY,
            },
            ECAM => self.config_read(at.offset >> 20, at.offset >> 12 & 0xff, at.offset & 0xfff, at.bytes),
            region => self.memory_read(self.window(region).wrapping_add(at.offset), at.bytes, cx),
        };
        self.drive(cx);
        value
    }

    fn write(&mut self, at: Place, value: u64, cx: &mut Cx<'_>) {
        match at.region {
            ADDRESS if at.bytes == 4 => self.address = value as u32,
            ADDRESS if (at.offset, at.bytes) == (1, 1) => self.reset_control.write(value as u8, cx),
            ADDRESS => {}
            DATA => {
                if let Some((bus, devfn, register)) = self.selected() {
                    self.config_write(bus, devfn, (register | at.offset & 3, at.bytes), value, cx);
                }
            }
            ECAM => {
                let devfn = at.offset >> 12 & 0xff;
                self.config_write(at.offset >> 20, devfn, (at.offset & 0xfff, at.bytes), value, cx);
            }
            region => self.memory_write(self.window(region).wrapping_add(at.offset), at.bytes, value, cx),
        }
        self.drive(cx);
    }

    fn input(&mut self, bytes: &[u8], cx: &mut Cx<'_>) -> usize {
        let mut taken = 0;
        for slot in &mut self.slots {
            taken += slot.with(cx, |function, cx| function.input(&bytes[taken..], cx)).unwrap_or(0);
            if taken > 0 {
                break;
            }
        }
        self.drive(cx);
        taken
    }

    fn reset(&mut self, cx: &mut Cx<'_>) {
        self.address = 0;
        self.reset_control = ResetControl::default();
        for slot in &mut self.slots {
            slot.config.reset();
            slot.signals.reset();
            if let Some(function) = &mut slot.function {
                function.reset();
            }
        }
        self.drive(cx);
    }
}

#[cfg(test)]
mod tests;
