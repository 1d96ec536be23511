//! What firmware would have left in memory: the ACPI tables.

use crate::load::{Piece, Span};
use emu_core::Gpa;

/// Tables and the spans that they and the chips take out of RAM.
pub struct Firmware {
    /// Where the RSDP is, 0 when there are no tables.
    pub rsdp: Gpa,
    /// What goes into memory.
    pub pieces: Vec<Piece>,
    /// Not free RAM.
    pub reserved: Vec<Span>,
}

/// The tables of a machine with so many processors and so much RAM.
pub fn tables(_processors: u32, _ram_bytes: u64) -> Firmware {
    Firmware { rsdp: Gpa(0), pieces: Vec::new(), reserved: Vec::new() }
}
