//! The assembler of the lesson ROMs, shared by the test that compares the images and the example that writes them.
//!
//! An image is 4 KiB and ends at 4 GiB: the 64-bit program first, then the 32-bit and 16-bit code that reaches it, then
//! the reset vector. Source: SDM vol. 3A, 10.1.4 (first instruction), 10.8.5 (initialising IA-32e mode).

mod boot;
mod count;
mod flat;
mod overflow;
mod program;
mod rings;

pub use program::Program;

/// Bytes of an image.
pub const IMAGE_BYTES: usize = 4096;
/// Where an image begins.
pub const BASE: u64 = (1 << 32) - IMAGE_BYTES as u64;

/// Writes a lesson's program.
type Write = fn(&mut Program);

/// The images by name.
pub fn images() -> Vec<(&'static str, Vec<u8>)> {
    let image = |write| boot::image(&program::assemble(write));
    vec![("count", image(count::write as Write)), ("rings", image(rings::write)), ("overflow", image(overflow::write))]
}

/// The flat test guests by name.
pub fn guests() -> Vec<(&'static str, Vec<u8>)> {
    flat::guests()
}
