//! Why an image cannot be started on this machine.

use super::Kind;

/// Why an image cannot be started on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// Nothing that is accepted.
    #[error("not an image of a kind that can be started{}", match seems { Some(s) => format!(" (it looks like {s})"), None => String::new() })]
    Unknown {
        /// What it seems to be instead.
        seems: Option<&'static str>,
    },
    /// Ends before what its headers promise.
    #[error("{kind}: truncated: {what} would end at {end:#x}, the file has {have:#x} bytes")]
    Truncated {
        /// What the image is.
        kind: Kind,
        /// What is cut.
        what: &'static str,
        /// Where that part would end, in bytes from the start of the file.
        end: u64,
        /// How many bytes the file has.
        have: u64,
    },
    /// A header says something impossible or unsupported.
    #[error("{kind}: {what} is {value:#x}, {why}")]
    Header {
        /// What the image is.
        kind: Kind,
        /// Which field.
        what: &'static str,
        /// Its value.
        value: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An ELF file for another machine or of another class.
    #[error("ELF for {found}, this machine is an x86")]
    Machine {
        /// What the file is for.
        found: String,
    },
    /// An ELF file whose tables make no sense.
    #[error("malformed ELF: {0}")]
    Elf(String),
    /// An ELF program that is no kernel.
    #[error("an ELF {what}, not a kernel: no PVH note, no multiboot header, and it loads at {at:#x}")]
    NotKernel {
        /// What it is.
        what: &'static str,
        /// Where its first segment wants to be.
        at: u64,
    },
    /// The compressed payload could not be unpacked.
    #[error("{kind}: cannot unpack the {how} payload: {why}")]
    Unpack {
        /// What the image is.
        kind: Kind,
        /// Name of the compression.
        how: &'static str,
        /// What the decompressor said.
        why: String,
    },
    /// Does not fit into the machine's memory.
    #[error("{what} needs memory up to {end:#x}, the machine has RAM up to {limit:#x}")]
    Memory {
        /// What does not fit.
        what: &'static str,
        /// Where it would end.
        end: u64,
        /// Where RAM ends.
        limit: u64,
    },
    /// Two things want the same memory.
    #[error("{a} and {b} overlap at {at:#x}")]
    Overlap {
        /// One.
        a: &'static str,
        /// The other.
        b: &'static str,
        /// Where.
        at: u64,
    },
    /// Command line too long.
    #[error("the command line has {bytes} bytes, this kernel takes {limit}")]
    CommandLine {
        /// How long it is.
        bytes: u64,
        /// How long it may be.
        limit: u64,
    },
    /// A command line with a zero byte.
    #[error("the command line holds a zero byte")]
    CommandLineZero,
}
