//! PCI: one root bus with its configuration mechanisms, windows and interrupt routing, and the trait of a function.
//!
//! - [`bus`]: the host bridge: CF8h/CFCh, ECAM, the memory windows, dispatch to functions.
//! - [`config`]: a function's configuration space: identity, BARs, capabilities.
//! - [`msix`]: the MSI-X table and the interrupt pin of a function.
//!
//! Source: PCI Local Bus specification 3.0; PCI Express Base specification 5.0, section 7.2.2 (ECAM).

pub mod bus;
pub mod config;
pub mod msix;

pub use bus::PciBus;
pub use config::{Bar, ConfigSpace, Identity};
pub use msix::{MsixPlace, Signals};

use emu_core::{Cx, Gpa, Line};
use std::ops::RangeInclusive;

/// First byte of the memory-mapped configuration space, 1 MiB a bus, above the window.
pub const ECAM_BASE: Gpa = Gpa(0xe000_0000);
/// Last bus number that ECAM reaches.
pub const LAST_BUS: u8 = 255;
/// The window for 32-bit BARs: above the RAM below 3 GiB, below ECAM.
pub const LOW_MMIO: RangeInclusive<Gpa> = Gpa(0xc000_0000)..=Gpa(0xdfff_ffff);

/// The line that INTx pin `pin` (0 for INTA#) of `slot` drives: I/O APIC pins 16 to 23 in turn.
pub fn intx_line(slot: u8, pin: u8) -> Line {
    Line(16 + (slot.wrapping_add(pin) & 7))
}

/// The doors of a function for the length of one call: the machine's, and its own interrupts.
pub struct PciCx<'c, 'a> {
    /// The machine's doors. The alarm in them is the bus's and not for functions.
    pub cx: &'c mut Cx<'a>,
    /// The function's interrupts.
    pub signals: &'c mut Signals,
}

impl PciCx<'_, '_> {
    /// Sends MSI-X message `vector`, or remembers it while masked.
    pub fn message(&mut self, vector: u16) {
        self.signals.message(vector, self.cx);
    }
}

/// A PCI function: what it says of itself, and its BARs' contents.
pub trait PciFunction {
    /// Its name, for lists and logs.
    fn name(&self) -> &'static str;
    /// Vendor, device, class.
    fn identity(&self) -> Identity;
    /// Its BARs.
    fn bars(&self) -> Vec<Bar>;
    /// Capabilities beside MSI-X: identifier, and what follows the next pointer.
    fn capabilities(&self) -> Vec<(u8, Vec<u8>)> {
        Vec::new()
    }
    /// Where its MSI-X table lies, if it has one; accesses there never reach the function.
    fn msix(&self) -> Option<MsixPlace> {
        None
    }
    /// The guest reads BAR `bar`.
    fn read(&mut self, bar: usize, offset: u64, bytes: u32, cx: &mut PciCx<'_, '_>) -> u64;
    /// The guest writes BAR `bar`.
    fn write(&mut self, bar: usize, offset: u64, bytes: u32, value: u64, cx: &mut PciCx<'_, '_>);
    /// Bytes from the host; returns how many were taken.
    fn input(&mut self, bytes: &[u8], cx: &mut PciCx<'_, '_>) -> usize {
        let _ = (bytes, cx);
        0
    }
    /// Power-on state again.
    fn reset(&mut self);
}
