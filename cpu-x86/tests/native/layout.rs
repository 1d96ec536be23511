//! Where things lie, on the host and in the core alike: linear addresses below 4 MiB, and the local descriptor table.
//!
//! Between the regions nothing is mapped. Code may be read and executed; the code's last page is followed by nothing, so
//! an instruction can end where memory ends.

/// Two pages that may be written, then one that may only be read.
pub const DATA: u64 = 0x20_2000;
/// Bytes that may be written.
pub const DATA_BYTES: usize = 0x2000;
pub const READ_ONLY: u64 = DATA + DATA_BYTES as u64;
pub const STACK: u64 = 0x28_2000;
pub const STACK_BYTES: usize = 0x1000;
pub const CODE: u64 = 0x30_1000;
pub const CODE_BYTES: usize = 0x2000;
pub const CODE_END: u64 = CODE + CODE_BYTES as u64;
pub const PAGE: usize = 0x1000;

/// A descriptor of the local descriptor table, as modify_ldt takes it.
#[derive(Clone, Copy)]
pub struct Local {
    pub base: u32,
    /// In bytes, or in pages when `flags` has PAGES.
    pub limit: u32,
    pub flags: u32,
}

/// Bits of [`Local::flags`]. Source: Linux arch/x86/include/uapi/asm/ldt.h, `struct user_desc`.
pub mod local {
    pub const BIG: u32 = 1;
    pub const EXPAND_DOWN: u32 = 1 << 1;
    pub const CODE: u32 = 2 << 1;
    pub const READ_OR_EXEC_ONLY: u32 = 1 << 3;
    pub const PAGES: u32 = 1 << 4;
    pub const NOT_PRESENT: u32 = 1 << 5;
    pub const USEABLE: u32 = 1 << 6;
}
use local::{BIG, EXPAND_DOWN, NOT_PRESENT, PAGES, READ_OR_EXEC_ONLY, USEABLE};

/// The selector of entry `n` of [`LDT`].
pub const fn selector(n: usize) -> u16 {
    (n as u16) << 3 | 7
}

pub const CODE_32: usize = 0;
pub const CODE_16: usize = 1;
pub const FLAT: usize = 3;
pub const DATA_16: usize = 4;
pub const STACK_16: usize = 10;

/// The local descriptor table. Bases put the pages above at offsets that 16 bits can express.
#[rustfmt::skip] // a table
pub const LDT: [Local; 16] = [
    Local { base: 0,         limit: 0xf_ffff, flags: local::CODE | BIG | PAGES | USEABLE },
    Local { base: 0x30_0000, limit: 0xffff,   flags: local::CODE | USEABLE },
    Local { base: 0x30_0000, limit: 0x2fff,   flags: local::CODE | BIG | USEABLE },
    Local { base: 0,         limit: 0xf_ffff, flags: BIG | PAGES | USEABLE },
    Local { base: 0x20_0000, limit: 0xffff,   flags: USEABLE },
    Local { base: 0x20_0000, limit: 0x2fff,   flags: BIG | USEABLE },
    Local { base: 0x20_0000, limit: 0x37ff,   flags: USEABLE },
    Local { base: 0x20_0000, limit: 0x2fff,   flags: EXPAND_DOWN | BIG | USEABLE },
    Local { base: 0x20_0000, limit: 0x2fff,   flags: EXPAND_DOWN | USEABLE },
    Local { base: 0x20_0000, limit: 0xffff,   flags: BIG | READ_OR_EXEC_ONLY | USEABLE },
    Local { base: 0x28_0000, limit: 0xffff,   flags: USEABLE },
    Local { base: 0x28_0000, limit: 0x27ff,   flags: BIG | USEABLE },
    Local { base: 0x28_0000, limit: 0x27ff,   flags: EXPAND_DOWN | USEABLE },
    Local { base: 0x20_0000, limit: 0xffff,   flags: local::CODE | READ_OR_EXEC_ONLY | USEABLE },
    Local { base: 0x20_0000, limit: 0xffff,   flags: NOT_PRESENT },
    Local { base: 0x20_0000, limit: 0xf_ffff, flags: local::CODE | BIG | PAGES | USEABLE },
];

/// The eight bytes of a descriptor, as Linux makes them (privilege 3, accessed).
pub fn descriptor(l: Local) -> u64 {
    let has = |bit: u32| u64::from(l.flags & bit != 0);
    let kind = 1 | (1 - has(READ_OR_EXEC_ONLY)) << 1 | u64::from(l.flags >> 1 & 3) << 2;
    let rights = kind | 1 << 4 | 3 << 5 | (1 - has(NOT_PRESENT)) << 7;
    let (base, limit) = (u64::from(l.base), u64::from(l.limit));
    let high = has(USEABLE) << 52 | has(BIG) << 54 | has(PAGES) << 55;
    limit & 0xffff | (base & 0xff_ffff) << 16 | rights << 40 | (limit >> 16) << 48 | high | base >> 24 << 56
}

/// Base of the segment that `selector` names; flat ones of the host's global table have 0.
pub fn base(selector: u16) -> u64 {
    if selector & 4 == 0 { 0 } else { LDT.get(usize::from(selector >> 3)).map_or(0, |l| u64::from(l.base)) }
}
