//! What the processor tells an observer of what it runs: blocks of instructions, accesses to memory, and happenings that
//! are no instruction.
//!
//! A PMU that brings a [`Monitor`] (see [`PmuDoors::monitor`](crate::PmuDoors::monitor)) is told enough to model predictor, caches
//! and TLBs; without one nothing of this costs anything. The order of calls is that of execution:
//!
//! 1. `describe` once for each block decoded; the number it returns names the block from then on.
//! 2. `enter` when control reaches a block. The block entered before it ran to its end, unless `cut` said otherwise, and
//!    its last instruction went to the address now entered. `single` likewise for an instruction run on its own.
//! 3. `access` for each data access of the block entered last, before the access is made.
//!    `pass` stands for many calls of `enter` and `access`: blocks in the ring of the one entered last and in pages that were
//!    entered before, and accesses whose translation is known to change nothing.
//! 4. `settle` when what is pending must be booked because control leaves the blocks: the last block went to `to`.
//! 5. `happened` for all else.

use crate::door::Ring;
use emu_core::Gpa;
use iced_x86::Instruction;

/// A block of instructions, as it was decoded.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    /// Physical address of its first byte.
    pub physical: Gpa,
    /// Physical address of the next page's first byte, when the block runs into it.
    pub next_page: Option<Gpa>,
    /// Its instructions; `ip()` is the offset in the page of the first byte (beyond 4095 in the next page). Only the last
    /// one can be a branch.
    pub instructions: &'a [Instruction],
}

/// A data access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataAccess {
    /// Linear address.
    pub linear: u64,
    /// Physical address of its first byte.
    pub physical: Gpa,
    /// How many bytes; it lies within one page. More than 64 are a run: of each line that it has a part in, that part is an
    /// access.
    pub bytes: u32,
    /// Does it write? A read-modify-write is told as one write.
    pub write: bool,
    /// Which instruction of the block entered last makes it.
    pub instruction: u32,
}

/// Cache sets touched, one bit for each of the 64 sets that bits 11:6 of an address select: their most recently used line
/// is another one now. The processor may leave out calls of [`Monitor::access`] for lines that no call since has taken this
/// place from, and which were written before if this is a write; all ones takes it from all, and so does a happening that
/// changes memory.
pub type Touched = u64;

/// A step of control, or of what it does, that may wait to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Control reaches this block, in the page and the ring entered last.
    Block(u32),
    /// The next block lies in this page (linear address / 4096). Of all pages whose numbers have these lowest six bits it is
    /// the one that [`Monitor::enter`] was called for last, and since then nothing happened that changes memory.
    Page(u64),
    /// The block entered last accesses memory within a line, or two that follow each other, not at either end of a page. An
    /// access to that page (a write, if this is one) was told by [`Monitor::access`], and since then no answer was all ones,
    /// and nothing happened that changes memory ([`Happening::changes_memory`]).
    Access {
        /// Physical address / 64, below 2^46.
        line: u64,
        /// Does it have a part in the next line too?
        splits: bool,
        /// As in [`DataAccess`].
        write: bool,
        /// As in [`DataAccess`], below 64.
        instruction: u8,
    },
}

/// A [`Step`] in a word: bit 63, is it an access; 62, does it write; 61:56 its instruction; 55, does it split; below, the
/// line. Where bit 63 is clear bit 62 says whether it is a page or a block, and the rest which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed(u64);

impl Packed {
    const ACCESS: u64 = 1 << 63;
    const WRITE: u64 = 1 << 62;
    const PAGE: u64 = 1 << 62;
    const INSTRUCTION: u32 = 56;
    const SPLITS: u64 = 1 << 55;
    const LINE: u64 = Packed::SPLITS - 1;

    /// Control reaches block `number`.
    #[inline]
    pub const fn block(number: u32) -> Packed {
        Packed(number as u64)
    }

    /// The next block lies in `page`.
    #[inline]
    pub const fn page(page: u64) -> Packed {
        Packed(Packed::PAGE | page & (Packed::PAGE - 1))
    }

    /// Instruction `instruction` accesses `line`, and the next one too if it `splits`.
    #[inline]
    pub fn access(line: u64, splits: bool, write: bool, instruction: u8) -> Packed {
        let what = if write { Packed::ACCESS | Packed::WRITE } else { Packed::ACCESS };
        let what = if splits { what | Packed::SPLITS } else { what };
        Packed(what | u64::from(instruction & 63) << Packed::INSTRUCTION | line & Packed::LINE)
    }

    /// What it is.
    #[inline]
    pub const fn step(self) -> Step {
        if self.0 & Packed::ACCESS == 0 {
            let page = self.0 & Packed::PAGE != 0;
            return if page { Step::Page(self.0 & !Packed::PAGE) } else { Step::Block(self.0 as u32) };
        }
        let instruction = (self.0 >> Packed::INSTRUCTION & 63) as u8;
        let (write, splits) = (self.0 & Packed::WRITE != 0, self.0 & Packed::SPLITS != 0);
        Step::Access { line: self.0 & Packed::LINE, splits, write, instruction }
    }
}

/// How the processor translates a linear address now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Log2 of the page's size: 12, 21, 22 or 30. 12 without paging.
    pub shift: u8,
    /// How many table entries a walk reads.
    pub levels: u8,
    /// Physical addresses of those entries, from the root on.
    pub entries: [u64; 5],
    /// Is the page global?
    pub global: bool,
}

/// Translations, looked up without any effect.
pub trait Translate {
    /// The translation of `linear`; the default when there is none.
    fn walked(&mut self, linear: u64) -> Walked;
}

/// Something that is no instruction of the guest's, or that an instruction does besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// An exception or interrupt is delivered: control goes from linear address `from` to `to`.
    Delivery {
        /// Where it was.
        from: u64,
        /// The handler.
        to: u64,
        /// Vector.
        vector: u8,
        /// An interrupt from outside (through the local APIC, the 8259A or as NMI).
        external: bool,
        /// CPL of the handler.
        ring: Ring,
    },
    /// CR3 was written: address space `pcid` (0 without CR4.PCIDE) is in force; its translations went, but for global
    /// ones, unless `keep`.
    AddressSpace {
        /// Process-context identifier, 12 bits.
        pcid: u16,
        /// Its translations stay.
        keep: bool,
    },
    /// All translations went, but for global ones unless `global`.
    FlushTlb {
        /// Global ones too.
        global: bool,
    },
    /// The translations of one address space went, but for global ones.
    FlushSpace(u16),
    /// The translation of a linear address went: in the address space in force, and global ones (INVLPG).
    FlushPage(u64),
    /// A line was flushed to memory (CLFLUSH, CLFLUSHOPT); CLWB leaves it clean in place.
    FlushLine(Gpa),
    /// All lines were flushed (WBINVD, INVD).
    FlushLines,
    /// The indirect predictor was flushed (IA32_PRED_CMD).
    FlushPredictor,
    /// A store met decoded code.
    SelfModified,
    /// A walk set an accessed or dirty bit.
    MarkedPage,
    /// Floating point took a denormal operand that DAZ does not hide, or gave a tiny, inexact result that FTZ does not flush.
    Denormal {
        /// Which instruction of the block entered last did.
        instruction: u32,
    },
    /// A repeated string instruction did so many iterations.
    Repeated(u64),
    /// The conditional branch that ends the block entered last was taken, to the next instruction.
    TakenToNext,
    /// So many cycles went by in C0 in which nothing retired.
    Idled(u64),
}

impl Happening {
    /// Does it change translations or cached lines? Then no access may be left out or wait by what was told before.
    pub const fn changes_memory(&self) -> bool {
        use Happening as H;
        match self {
            H::AddressSpace { .. } | H::FlushTlb { .. } | H::FlushSpace(_) | H::FlushPage(_) => true,
            H::FlushLine(_) | H::FlushLines => true,
            H::Delivery { .. } | H::FlushPredictor | H::SelfModified | H::MarkedPage => false,
            H::Denormal { .. } | H::Repeated(_) | H::TakenToNext | H::Idled(_) => false,
        }
    }
}

/// An observer of what the processor runs.
pub trait Monitor {
    /// A block was decoded. Returns its number.
    fn describe(&mut self, code: &Code) -> u32;
    /// All blocks were forgotten: their numbers are void.
    fn forget(&mut self);
    /// Control reaches block `block`, at linear address `at`, in `ring`.
    fn enter(&mut self, block: u32, at: u64, ring: Ring, translate: &mut dyn Translate);
    /// These steps are taken, one after the other. Each block among them, and the one entered before them, lies in one page,
    /// and so do their linear addresses; the ring is that of the last `enter`.
    fn pass(&mut self, steps: &[Packed]);
    /// Control reaches one instruction, in `code`, that is run on its own.
    fn single(&mut self, code: &Code, at: u64, ring: Ring, translate: &mut dyn Translate);
    /// Of the block entered last only the first `ran` instructions retired.
    fn cut(&mut self, ran: u32);
    /// Control has left the blocks and stands at linear address `to`.
    fn settle(&mut self, to: u64);
    /// The instruction of the block entered last accesses memory.
    fn access(&mut self, access: &DataAccess, translate: &mut dyn Translate) -> Touched;
    /// Something else happened.
    fn happened(&mut self, what: Happening);
}
