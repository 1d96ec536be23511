//! Where things lie in the guest that misuses the PMU.

/// Page tables, four pages.
pub const TABLES: u64 = 0x1000;
/// The GDT: null, then code and data for rings 0 to 3.
pub const GDT: u64 = 0x5000;
/// The task state segment.
pub const TSS: u64 = 0x6000;
/// The IDT.
pub const IDT: u64 = 0x7000;
/// A stub for each vector, 16 bytes each.
pub const STUBS: u64 = 0x8000;
/// The common part of exceptions.
pub const EXCEPTION: u64 = 0x9000;
/// The common part of interrupts.
pub const INTERRUPT: u64 = 0x9100;
/// The guest's code.
pub const CODE: u64 = 0x1_0000;
/// Where the log begins in memory. It lies where no value of a step leads by chance; so do the stacks.
pub const LOG_PHYSICAL: u64 = 0x2_0000;
/// How many pages of memory from [`LOG_PHYSICAL`] on lie at [`LOG`].
pub const LOG_PAGES: u64 = 10;
/// A byte for each step: 0, 1 or 80h + the vector.
pub const LOG: u64 = 0x1a_5000;
/// How many interrupts were taken.
pub const INTERRUPTS: u64 = LOG + 0x800;
/// Eight bytes for each step that reads.
pub const RESULTS: u64 = LOG + 0x1000;
/// Top of the stack of ring 3 less 1000h x ring: see [`super::code::Code::leave`].
pub const STACK: u64 = LOG + 0x7000;
/// Top of the stack of ring 0.
pub const KERNEL_STACK: u64 = LOG + 0xa000;
/// What loops touch.
pub const DATA: u64 = 0x3_e000;
/// The debug store.
pub const DEBUG_STORE: u64 = 0x4_0000;
/// Its buffer, two pages.
pub const BUFFER: u64 = 0x4_1000;
/// An XSAVE area.
pub const XSAVE: u64 = 0x4_4000;
/// A page that cannot be written.
pub const READ_ONLY: u64 = 0x5_0000;
/// A page that is not there; so is the one behind [`EDGE`].
pub const ABSENT: u64 = 0x5_1000;
/// A page for supervisors.
pub const SUPERVISOR: u64 = 0x5_2000;
/// The last page before one that is not there.
pub const EDGE: u64 = 0x5_3000;
/// A page of no memory: nobody answers there.
pub const DEVICE: u64 = 0x5_5000;
/// Where that is.
pub const DEVICE_PHYSICAL: u64 = 0x1000_0000;
/// The vector by which other rings enter ring 0.
pub const SYSTEM_CALL: u8 = 0x80;

/// Addresses that a value may be.
pub const ADDRESSES: [u64; 24] = [
    DEBUG_STORE,
    DEBUG_STORE + 0x28,
    DEBUG_STORE + 0xfc0,
    DEBUG_STORE + 0xfff,
    BUFFER,
    BUFFER + 0x7ff,
    BUFFER + 0x1ff8,
    READ_ONLY,
    READ_ONLY - 16,
    ABSENT,
    SUPERVISOR,
    EDGE,
    EDGE + 0xfe0,
    EDGE + 0xff8,
    DEVICE,
    DEVICE + 0xff0,
    XSAVE,
    0,
    0x0000_7fff_ffff_fff0,
    0x0000_8000_0000_0000,
    0xffff_8000_0000_0000,
    0x0100_0000_0000_0000,
    u64::MAX,
    u64::MAX - 31,
];

/// Does the debug store lie where it leads, or fails to lead, to nothing of the guest's own?
pub fn is_harmless_store(v: u64) -> bool {
    let there = [DEBUG_STORE, READ_ONLY, ABSENT, EDGE + 0xfe0, EDGE + 0xff8, DEVICE, DEVICE + 0xff0];
    there.contains(&v) || (v as i64) >> 21 != 0
}

/// `v`, or another address if it leads to what the guest is made of.
pub fn tame(v: u64) -> u64 {
    let own = |at: u64| at < DATA || (LOG..KERNEL_STACK + 0x2000).contains(&at) || at.wrapping_add(0x2000) < 0x2000;
    if own(v) || own(v.wrapping_add(16)) { DATA + 8 * (v & 15) } else { v }
}

/// The selector of code or data of `ring`.
pub fn selector(ring: u8, data: bool) -> u16 {
    let ring = u16::from(ring & 3);
    (8 * (1 + 2 * ring + u16::from(data))) | ring
}
