//! Loaders: from the bytes of a kernel or ROM to a [`Plan`] of what lies where in memory and how the processor starts.
//!
//! A loader is a total function over bytes: it reads the image and returns a plan or a [`LoadError`], and touches
//! neither memory nor processor. The board carries the plan out at power-on and again at every reset, as firmware
//! would. `detect` says what an image is; one file a format holds its facts and its source.

pub(crate) mod bytes;
mod bzimage;
pub(crate) mod elf;
mod error;
mod layout;
mod multiboot;
mod pvh;
mod rom;
pub(crate) mod unpack;
mod zero_page;

pub use error::LoadError;
pub use layout::{GDT, Span, Use, memory_map};

use emu_core::Gpa;
use std::fmt;

/// What to load and for which machine.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The kernel or ROM image.
    pub image: &'a [u8],
    /// Initial RAM disk, or the multiboot module.
    pub initrd: Option<&'a [u8]>,
    /// Kernel command line.
    pub append: &'a str,
    /// Bytes of RAM: below 3 GiB from address 0, the rest from 4 GiB.
    pub ram_bytes: u64,
    /// ACPI RSDP, 0 when there is none.
    pub rsdp: Gpa,
    /// Spans that are not free RAM: firmware tables, ECAM.
    pub reserved: &'a [Span],
    /// Extract the ELF kernel of a bzImage here and not in the guest.
    pub unpack: bool,
    /// What the user says the image is, `None` to look.
    pub kind: Option<Kind>,
}

/// The kinds of image that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Linux bzImage.
    BzImage,
    /// ELF with a PVH entry note.
    Pvh,
    /// ELF64 Linux kernel without that note.
    Vmlinux,
    /// Multiboot 1.
    Multiboot,
    /// Flat ROM that holds the reset vector.
    Rom,
}

impl Kind {
    /// All of them, in the order they are looked for.
    pub const ALL: [Kind; 5] = [Kind::BzImage, Kind::Pvh, Kind::Multiboot, Kind::Vmlinux, Kind::Rom];

    /// Is it likely a Linux kernel?
    pub fn is_linux(self) -> bool {
        matches!(self, Kind::BzImage | Kind::Pvh | Kind::Vmlinux)
    }

    /// How an image of this kind is recognised, for messages.
    pub fn describe(self) -> &'static str {
        match self {
            Kind::BzImage => "Linux bzImage (\"HdrS\" at 202h): vmlinuz of any distribution",
            Kind::Pvh => "ELF with a PVH note (XEN_ELFNOTE_PHYS32_ENTRY): vmlinux with CONFIG_PVH",
            Kind::Vmlinux => "ELF64 x86-64 Linux vmlinux, entered by the 64-bit boot protocol",
            Kind::Multiboot => "multiboot 1 (1BADB002h in the first 8 KiB): ELF, or flat with load addresses",
            Kind::Rom => "flat ROM of 16 bytes to 16 MiB that ends at 4 GiB (a multiple of 4 KiB, or with --rom)",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::BzImage => "bzImage",
            Kind::Pvh => "PVH",
            Kind::Vmlinux => "vmlinux",
            Kind::Multiboot => "multiboot",
            Kind::Rom => "ROM",
        })
    }
}

/// How the bootstrap processor starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// At the reset vector, FFFFFFF0h in real mode.
    Reset,
    /// In 32-bit protected mode, flat segments, paging off, interrupts off.
    Protected {
        /// Where.
        eip: u32,
        #[allow(missing_docs, reason = "registers")]
        eax: u32,
        #[allow(missing_docs, reason = "registers")]
        ebx: u32,
        #[allow(missing_docs, reason = "registers")]
        esi: u32,
    },
    /// In 64-bit mode, flat segments, the first 4 GiB mapped to themselves, interrupts off.
    Long {
        /// Where.
        rip: u64,
        #[allow(missing_docs, reason = "registers")]
        rsi: u64,
        /// Physical address of the page-map level-4 table.
        cr3: Gpa,
    },
}

/// Bytes to be put at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is, for messages.
    pub what: &'static str,
    /// Where it goes.
    pub at: Gpa,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Bytes of zeros after them that also belong to it (BSS); memory starts as zeros, a reset clears them again.
    pub zeros: u64,
}

impl Piece {
    /// `bytes` at `at`.
    pub fn new(what: &'static str, at: u64, bytes: Vec<u8>) -> Piece {
        Piece { what, at: Gpa(at), bytes, zeros: 0 }
    }
    /// First address after it.
    pub fn end(&self) -> u64 {
        self.at.0.saturating_add(self.bytes.len() as u64).saturating_add(self.zeros)
    }
}

/// What lies where in memory and how the processor starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the image was.
    pub kind: Kind,
    /// What goes into RAM.
    pub pieces: Vec<Piece>,
    /// What is ROM: (base, contents), each of whole pages.
    pub roms: Vec<(Gpa, Vec<u8>)>,
    /// How to start.
    pub entry: Entry,
}

/// Makes the plan for `source`.
///
/// # Errors
/// Whatever makes the image unusable on this machine: see [`LoadError`].
pub fn plan(source: &Source<'_>) -> Result<Plan, LoadError> {
    let kind = match source.kind {
        Some(kind) => kind,
        None => detect(source.image)?,
    };
    tracing::debug!(%kind, bytes = source.image.len(), "loading");
    let plan = match kind {
        Kind::BzImage => bzimage::plan(source),
        Kind::Pvh => pvh::plan(source),
        Kind::Vmlinux => zero_page::plan_vmlinux(source),
        Kind::Multiboot => multiboot::plan(source),
        Kind::Rom => rom::plan(source),
    }?;
    // A ROM is its own firmware: there are no tables to respect.
    let reserved = if kind == Kind::Rom { &[] } else { source.reserved };
    layout::check(&plan.pieces, source.ram_bytes, reserved)?;
    Ok(plan)
}

/// What `image` is.
///
/// # Errors
/// `Unknown` when it is nothing that is accepted; `Truncated` when it is the beginning of something that is.
pub fn detect(image: &[u8]) -> Result<Kind, LoadError> {
    if image.is_empty() {
        return Err(LoadError::Empty);
    }
    if bzimage::is(image) {
        return Ok(Kind::BzImage);
    }
    let elf = image.starts_with(b"\x7fELF");
    if elf && pvh::is(image)? {
        return Ok(Kind::Pvh);
    }
    if multiboot::is(image) {
        return Ok(Kind::Multiboot);
    }
    if elf {
        return zero_page::is_vmlinux(image).map(|()| Kind::Vmlinux);
    }
    if rom::is(image) { Ok(Kind::Rom) } else { Err(LoadError::Unknown { seems: unpack::seems(image) }) }
}

#[cfg(test)]
mod tests;
