//! The chips of the board, one per file.
//!
//! Each is an [`emu_core::Device`]: a value that answers its registers and says by effects what it does to the world.
//!
//! - [`acpi`]: the power management block with its timer, and the tables.
//! - [`debug_exit`]: isa-debug-exit and the "Shutdown" port.
//! - [`fwcfg`]: fw_cfg, items for firmware and test programs.
//! - [`hpet`]: HPET, the high precision event timer.
//! - [`i8042`]: 8042, the keyboard controller.
//! - [`ioapic`]: 82093AA, the I/O APIC.
//! - [`pci`]: the PCI host bridge, configuration space and MSI-X.
//! - [`pic`]: 8259A pair, the ISA interrupt controllers.
//! - [`pit`]: 8254, the interval timer, and port 61h.
//! - [`reset`]: ports 80h and 92h, and CF9h for the PCI bus to hold.
//! - [`rtc`]: MC146818, the real-time clock and its memory.
//! - [`testdev`]: pc-testdev, the test device of hypervisor unit tests.
//! - [`uart`]: 16550A, the serial port.
//! - [`virtio`]: virtio over PCI: entropy source and console.

pub mod acpi;
#[cfg(test)]
mod bench;
pub mod debug_exit;
pub mod fwcfg;
pub mod hpet;
pub mod i8042;
pub mod ioapic;
mod lanes;
pub mod pci;
pub mod pic;
pub mod pit;
pub mod reset;
pub mod rtc;
pub mod testdev;
pub mod uart;
pub mod virtio;

pub use acpi::pm::Pm;
pub use debug_exit::DebugExit;
pub use fwcfg::FwCfg;
pub use hpet::Hpet;
pub use i8042::Keyboard;
pub use ioapic::IoApic;
pub use pci::PciBus;
pub use pic::Pic;
pub use pit::Pit;
pub use reset::Post;
pub use rtc::Rtc;
pub use testdev::TestDevice;
pub use uart::Uart;
pub use virtio::{Console, Rng, VirtioPci};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::abuse;

    #[test]
    fn no_register_sequence_makes_a_chip_panic_or_hang() {
        for seed in 0..20 {
            abuse(Uart::com1(), seed, 5_000);
            abuse(Pic::default(), seed, 5_000);
            abuse(Pit::default(), seed, 5_000);
            abuse(IoApic::new(0), seed, 5_000);
            abuse(Rtc::new(rtc::DEFAULT_START), seed, 5_000);
            abuse(Keyboard::default(), seed, 5_000);
            abuse(Post::default(), seed, 5_000);
            abuse(DebugExit::default(), seed, 5_000);
            abuse(Pm::default(), seed, 5_000);
            abuse(FwCfg::new(1 << 30, 2), seed, 5_000);
            abuse(TestDevice::default(), seed, 5_000);
            abuse(Hpet::default(), seed, 5_000);
            abuse(PciBus::new(emu_core::Gpa(4 << 30)), seed, 5_000);
        }
    }
}
