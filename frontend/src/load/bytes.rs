//! Little-endian numbers in a slice of bytes that may end too early.

/// The `N` bytes at `at`.
pub fn array<const N: usize>(b: &[u8], at: usize) -> Option<[u8; N]> {
    b.get(at..at.checked_add(N)?)?.try_into().ok()
}
/// A byte.
pub fn u8(b: &[u8], at: usize) -> Option<u8> {
    b.get(at).copied()
}
/// A 16-bit number.
pub fn u16(b: &[u8], at: usize) -> Option<u16> {
    array(b, at).map(u16::from_le_bytes)
}
/// A 32-bit number.
pub fn u32(b: &[u8], at: usize) -> Option<u32> {
    array(b, at).map(u32::from_le_bytes)
}
/// A 64-bit number.
pub fn u64(b: &[u8], at: usize) -> Option<u64> {
    array(b, at).map(u64::from_le_bytes)
}
/// Overwrites the bytes at `at` of a structure that is known to hold them.
pub fn put(b: &mut [u8], at: usize, value: &[u8]) {
    b[at..at + value.len()].copy_from_slice(value);
}
