//! What the handlers touch besides the registers: the countdown, the TLB in force, and how a run ended.

use super::op::{Block, Book, Link, Op};
use super::tlb::Entry;
use crate::monitor::Packed;

/// Why the handlers returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Nothing happened yet.
    #[default]
    None,
    /// One of two accesses missed the TLB.
    Pair,
    /// A direct branch whose link could not be entered; `taken` says which of its two.
    Link { taken: bool },
    /// An indirect branch to `to`, not in the jump cache.
    Indirect,
    /// An op asks for its instruction to be run the general way, then to leave the block after it.
    General,
    /// An op asks `Hot::book` to do what its fast form did not.
    Book,
    /// An instruction raised or stopped: see `Cpu::stop`.
    Stopped,
    /// The instruction of the op completed, and something must be looked at; `next_rip` holds where to go on.
    Done,
    /// The last instruction of the block completed; `next_rip` holds where to go on.
    Ended,
}

/// An entry of the jump cache: the linear address mixed with the code generation, and the block there.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Jump {
    pub key: u64,
    pub block: *const Block,
}

/// A return address expected, mixed with the code generation, and the link of its call to what follows.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Return {
    pub key: u64,
    pub link: *const Link,
}

/// Entries of the jump cache; a power of two.
pub(crate) const JUMPS: usize = 4096;
/// Entries of the return stack; a power of two.
pub(crate) const RETURNS: usize = 32;

/// The part of the engine's state that handlers use.
#[repr(C)]
pub(crate) struct Hot {
    /// Negative while there is budget: see `op::lane`.
    pub countdown: i64,
    /// Entries of the TLB context in force.
    pub tlb: *const Entry,
    /// Code generation in force, in bits 63:48; a hash of it in 47:12.
    pub generation: u64,
    pub jumps: *const Jump,
    pub return_top: u32,
    /// What a fast access missed on: address, and whether to write.
    pub miss_write: bool,
    pub miss_at: u64,
    pub leave: Leave,
    /// The op that left.
    pub left: *const Op,
    /// Target of an indirect branch.
    pub to: u64,
    /// The link of a return that was expected but not linked yet, or null.
    pub patch: *const Link,
    pub returns: [Return; RETURNS],
    /// Is a monitor told?
    pub watched: bool,
    /// The page of the block entered last, if another one in it need only be logged: no translation, ring or cut came
    /// between.
    pub told: u64,
    /// Steps to be told: blocks are in the page `told`.
    pub log: Log,
    /// For each set of the monitor's cache the line that was touched last: linear address / 64, times 2, plus 1 when it
    /// was written. See [`crate::monitor::Touched`].
    pub recent: [u64; 64],
    /// See [`Leave::Book`]. Here, so that what is in front lies as it did: measured.
    pub book: Book,
    pub from: [*const u8; 2],
    /// The first op of the block entered last, if that is told, or null.
    pub head: *const Op,
    /// Pages whose translation changes nothing, by their lowest bits.
    pub quiet: [Quiet; 64],
    /// Linear addresses of pages in which a block was entered and told at once, by their lowest bits: see
    /// [`crate::monitor::Step::Page`].
    pub pages: [u64; 64],
}

/// Steps taken that the monitor does not know of yet.
#[repr(C)]
pub(crate) struct Log {
    pub len: u32,
    pub steps: [Packed; LOG],
}

/// Most steps that wait to be told.
pub(crate) const LOG: usize = 255;

/// A page of which an access may wait to be told: see [`crate::monitor::Step::Access`].
#[derive(Clone, Copy)]
pub(crate) struct Quiet {
    /// Linear address / 4096, times 2, plus 1 when a write was told.
    page: u64,
    /// Offset in the host mapping / 4096.
    host: u64,
    /// Physical address / 64 of its first line.
    line: u64,
}

impl Quiet {
    /// No page.
    pub const NONE: Quiet = Quiet { page: u64::MAX, host: 0, line: 0 };

    /// The page of linear address `at`, on host page `host` and at guest-physical `physical`, to which an access was told.
    pub fn told(&self, at: u64, host: u64, physical: u64, write: bool) -> Quiet {
        let written = write || self.page == at >> 12 << 1 | 1;
        Quiet { page: at >> 12 << 1 | u64::from(written), host, line: physical >> 12 << 6 }
    }

    /// The physical line of `bytes` at linear address `at`, on host page `host`, if an access to them may wait; and do they
    /// run into the next one?
    #[inline(always)]
    pub fn line(&self, at: u64, host: u64, bytes: u64, write: bool) -> Option<(u64, bool)> {
        let page = at >> 12;
        let same = if write { self.page == page << 1 | 1 } else { self.page >> 1 == page };
        let inside = at & 0xfff != 0 && (at & 0xfff) + bytes < 0x1000 && bytes <= 64;
        (same && self.host == host && inside).then_some((self.line | at >> 6 & 63, (at & 63) + bytes > 64))
    }
}

impl Hot {
    /// Would telling the monitor of this access change nothing?
    #[inline(always)]
    pub fn is_recent(&self, at: u64, bytes: u64, write: bool) -> bool {
        let line = at >> 6;
        let seen = self.recent[(line & 63) as usize];
        let same = if write { seen == line << 1 | 1 } else { seen >> 1 == line };
        same && (at & 63) + bytes <= 64
    }
}

/// Index of linear address `at` in the jump cache.
#[inline(always)]
pub(crate) const fn jump_index(at: u64) -> usize {
    (at ^ at >> 12) as usize & (JUMPS - 1)
}
