//! A flat ROM: it ends at 4 GiB, so that its last 16 bytes hold the reset vector, and shows again below 1 MiB.
//!
//! Source: SDM vol. 3A, 10.1.4 "First Instruction Executed" (FFFFFFF0h); the copy below 1 MiB is the PC's shadow of
//! its system ROM (E0000h to FFFFFh).

use super::{Entry, Kind, LoadError, Piece, Plan, Source};
use emu_core::Gpa;

/// Largest ROM: the addresses below it belong to the interrupt controllers and devices.
const MOST_BYTES: usize = 16 << 20;
/// Bytes of the shadow below 1 MiB.
const SHADOW_BYTES: usize = 128 << 10;
const LEAST_BYTES: usize = 16;

/// Could this be a ROM? Whole pages, and something at the reset vector.
pub fn is(image: &[u8]) -> bool {
    let vector = image.len().checked_sub(LEAST_BYTES).map(|at| &image[at..]);
    image.len().is_multiple_of(4096)
        && image.len() <= MOST_BYTES
        && vector.is_some_and(|v| v.iter().any(|b| !matches!(b, 0 | 0xff)))
}

/// The plan for a ROM.
pub fn plan(source: &Source<'_>) -> Result<Plan, LoadError> {
    let bytes = source.image.len();
    if !(LEAST_BYTES..=MOST_BYTES).contains(&bytes) {
        return Err(LoadError::Header {
            kind: Kind::Rom,
            what: "its length",
            value: bytes as u64,
            why: "a ROM has 10h to 1000000h bytes",
        });
    }
    let mut rom = vec![0xff; bytes.next_multiple_of(4096) - bytes];
    rom.extend_from_slice(source.image);
    let shadow = &rom[rom.len().saturating_sub(SHADOW_BYTES)..];
    let pieces = vec![Piece::new("the ROM's shadow", (1 << 20) - shadow.len() as u64, shadow.to_vec())];
    let base = Gpa((1 << 32) - rom.len() as u64);
    Ok(Plan { kind: Kind::Rom, pieces, roms: vec![(base, rom)], entry: Entry::Reset })
}
