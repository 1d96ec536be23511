//! Chips one byte wide on a wider bus: a 16- or 32-bit access becomes one byte access per address, lowest first.

use emu_core::Place;

/// Reads `at.bytes` bytes, each by `byte` from its own offset.
pub fn read(at: Place, mut byte: impl FnMut(u64) -> u8) -> u64 {
    (0..u64::from(at.bytes.min(8))).fold(0, |value, n| value | u64::from(byte(at.offset.wrapping_add(n))) << (8 * n))
}

/// Writes `at.bytes` bytes of `value`, each by `byte` to its own offset.
pub fn write(at: Place, value: u64, mut byte: impl FnMut(u64, u8)) {
    for n in 0..u64::from(at.bytes.min(8)) {
        byte(at.offset.wrapping_add(n), (value >> (8 * n)) as u8);
    }
}
