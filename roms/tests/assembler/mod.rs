//! The assembler of the lesson ROMs, shared by the test that compares the images and the example that writes them.
//!
//! An image is 4 KiB and ends at 4 GiB: the 64-bit program first, then the 32-bit and 16-bit code that reaches it, then
//! the reset vector. Source: SDM vol. 3A, 10.1.4 (first instruction), 10.8.5 (initialising IA-32e mode).

mod adjust;
mod attribution;
mod boot;
mod branch_filter;
mod branches;
mod callstack;
mod clocks;
mod count;
mod flat;
mod freeze;
mod freeze_branches;
mod masks;
mod measure;
mod metrics;
mod overflow;
mod pebs;
mod privilege;
mod program;
mod rep;
mod rings;
mod selectors;
mod skid;
mod status;
mod topdown;
mod waiting;
mod widths;

pub use program::Program;

/// Bytes of an image.
pub const IMAGE_BYTES: usize = 4096;
/// Where an image begins.
pub const BASE: u64 = (1 << 32) - IMAGE_BYTES as u64;

/// Writes a lesson's program.
type Write = fn(&mut Program);

/// The images by name.
pub fn images() -> Vec<(&'static str, Vec<u8>)> {
    const LESSONS: [(&str, Write); 22] = [
        ("count", count::write),
        ("rings", rings::write),
        ("overflow", overflow::write),
        ("attribution", attribution::write),
        ("rep", rep::write),
        ("branches", branches::write),
        ("status", status::write),
        ("widths", widths::write),
        ("privilege", privilege::write),
        ("freeze", freeze::write),
        ("clocks", clocks::write),
        ("masks", masks::write),
        ("metrics", metrics::write),
        ("topdown", topdown::write),
        ("pebs", pebs::write),
        ("callstack", callstack::write),
        ("branch_filter", branch_filter::write),
        ("freeze_branches", freeze_branches::write),
        ("selectors", selectors::write),
        ("adjust", adjust::write),
        ("skid", skid::write),
        ("waiting", waiting::write),
    ];
    LESSONS.into_iter().map(|(name, write)| (name, boot::image(&program::assemble(write)))).collect()
}

/// The flat test guests by name.
pub fn guests() -> Vec<(&'static str, Vec<u8>)> {
    flat::guests()
}
