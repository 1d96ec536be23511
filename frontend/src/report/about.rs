//! What was run: everything that a count depends on, for the reports.

use serde::Serialize;
use sha2::{Digest, Sha256};
use std::path::Path;

/// A file that the guest was started from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileAbout {
    /// Its path, as it was given.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256, in hexadecimal digits.
    pub sha256: String,
}

impl FileAbout {
    /// The file at `path` with these contents.
    pub fn of(path: &Path, contents: &[u8]) -> FileAbout {
        let sha256 = Sha256::digest(contents).iter().map(|b| format!("{b:02x}")).collect();
        FileAbout { path: path.display().to_string(), bytes: contents.len() as u64, sha256 }
    }
}

/// The resolved configuration of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct About {
    /// Kernel or ROM.
    pub image: FileAbout,
    /// What that is.
    pub kind: String,
    /// Initial RAM disk or module.
    pub initrd: Option<FileAbout>,
    /// The kernel's command line.
    pub command_line: String,
    /// Bytes of RAM.
    pub memory_bytes: u64,
    /// Number of processors.
    pub processors: u32,
    /// Frequency of the cores in MHz.
    pub core_mhz: u32,
    /// Ticks of a processor's turn.
    pub quantum_ticks: u64,
    /// Registers written before the guest started: number and value, in order.
    pub written: Vec<(u32, u64)>,
    /// Was a bzImage unpacked by the loader?
    pub unpack: bool,
    /// Does a reset start it anew?
    pub reboot: bool,
    /// Is a triple fault a reset?
    pub triple_fault_resets: bool,
    /// Limit on instructions.
    pub limit_instructions: Option<u64>,
    /// Limit on guest time, in nanoseconds.
    pub limit_ns: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_what_sha256sum_prints() {
        let about = FileAbout::of(Path::new("a"), b"abc");
        assert_eq!(about.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!((about.bytes, about.path.as_str()), (3, "a"));
    }
}
