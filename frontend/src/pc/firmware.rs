//! What firmware would have left in memory and in the chips: the ACPI tables, and where the PCI windows lie.

use crate::load::{Piece, Span, Use};
use devices::acpi::tables::{Config, TABLES_BASE, tables as acpi_tables};
use devices::pci::{ECAM_BASE, LAST_BUS};
use emu_core::Gpa;

/// The window for 64-bit BARs begins at a multiple of this, above all RAM.
const WINDOW_ALIGN: u64 = 64 << 30;
const FOUR_GIB: u64 = 4 << 30;
/// Bytes of ECAM a bus.
const ECAM_BUS_BYTES: u64 = 1 << 20;

/// Tables and the spans that they and the chips take out of RAM.
pub struct Firmware {
    /// Where the RSDP is.
    pub rsdp: Gpa,
    /// What goes into memory.
    pub pieces: Vec<Piece>,
    /// Not free RAM.
    pub reserved: Vec<Span>,
}

/// First byte of the window for 64-bit BARs of a machine with so much RAM.
pub fn high_mmio(ram_bytes: u64) -> Gpa {
    Gpa((FOUR_GIB + ram_bytes).next_multiple_of(WINDOW_ALIGN))
}

/// The tables of a machine with so many processors and so much RAM.
pub fn tables(processors: u32, ram_bytes: u64) -> Firmware {
    let config =
        Config { cpus: processors, wide_timer: true, hpet: false, keyboard: true, high_mmio: high_mmio(ram_bytes) };
    let pieces = acpi_tables(&config).into_iter().map(|(at, b)| Piece::new("an ACPI table", at.0, b)).collect();
    let ecam_bytes = (u64::from(LAST_BUS) + 1) * ECAM_BUS_BYTES;
    let reserved = vec![
        Span { base: TABLES_BASE.0, bytes: (1 << 20) - TABLES_BASE.0, kind: Use::Reserved },
        Span { base: ECAM_BASE.0, bytes: ecam_bytes, kind: Use::Reserved },
    ];
    Firmware { rsdp: TABLES_BASE, pieces, reserved }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_lies_in_the_span_that_is_reserved_for_them() {
        for processors in [1, 2, 64] {
            let f = tables(processors, 1 << 30);
            assert!(f.pieces.iter().all(|p| p.at.0 >= 0xe_0000 && p.end() <= 0x10_0000), "{processors}");
            assert_eq!(&f.pieces.iter().find(|p| p.at == f.rsdp).unwrap().bytes[..8], b"RSD PTR ");
        }
    }

    #[test]
    fn the_window_for_wide_bars_lies_above_all_ram() {
        assert_eq!(high_mmio(1 << 30), Gpa(64 << 30));
        assert_eq!(high_mmio(61 << 30), Gpa(128 << 30));
    }
}
