//! Guest programs of our own: the lessons, as flat images that end at 4 GiB.
//!
//! They start at the reset vector, print a line `@@ what=NAME expected=N counted=M` a result on COM1, and end by OUT to
//! port F4h: 0 if every count is as expected, else 1. The flat guests test the machine: see [`guests`]. All are assembled
//! by `tests/assembler` with iced-x86; `cargo run -p roms --example assemble` writes them, a test compares them.

mod lessons;

pub use lessons::lessons;

/// A lesson.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// What it is called on the command line.
    pub name: &'static str,
    /// One line.
    pub title: &'static str,
    /// What it shows, in a few sentences.
    pub text: &'static str,
    /// The image; its last byte is at 4 GiB - 1.
    pub image: &'static [u8],
    /// What it reports, in order: name and number.
    pub expected: &'static [(&'static str, u64)],
}

/// A flat test guest: a multiboot 1 image, ELF32 around 64-bit code, for a machine of 64 MiB.
///
/// It prints a line `PASS: what` or `FAIL: what` for each check and ends by OUT to port F4h: 0 if all passed, else 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guest {
    /// What it is called.
    pub name: &'static str,
    /// What it tests.
    pub title: &'static str,
    /// The ELF file.
    pub image: &'static [u8],
}

/// The flat test guests.
pub const fn guests() -> &'static [Guest] {
    &GUESTS
}

static GUESTS: [Guest; 9] = [
    Guest {
        name: "firmware",
        title: "fw_cfg: memory and processors",
        image: include_bytes!("../images/flat/firmware.elf"),
    },
    Guest {
        name: "testdev",
        title: "the test device: ports, memory, lines through the I/O APIC",
        image: include_bytes!("../images/flat/testdev.elf"),
    },
    Guest {
        name: "apic",
        title: "the local APIC: interrupts to itself, off and on, x2APIC",
        image: include_bytes!("../images/flat/apic.elf"),
    },
    Guest {
        name: "smp",
        title: "INIT, SIPI, SIPI: the other processors start",
        image: include_bytes!("../images/flat/smp.elf"),
    },
    Guest {
        name: "debug",
        title: "debug exceptions with exact DR6 and RIP",
        image: include_bytes!("../images/flat/debug.elf"),
    },
    Guest {
        name: "msr",
        title: "MSRs: what they keep and what they refuse",
        image: include_bytes!("../images/flat/msr.elf"),
    },
    Guest {
        name: "paging",
        title: "protection keys, five levels, canonical addresses",
        image: include_bytes!("../images/flat/paging.elf"),
    },
    Guest {
        name: "timer",
        title: "the local APIC's timer in its modes; NMIs",
        image: include_bytes!("../images/flat/timer.elf"),
    },
    Guest {
        name: "pmu",
        title: "the counters: events, overflow, status, interrupts, writes while counting",
        image: include_bytes!("../images/flat/pmu.elf"),
    },
];
