//! Pre-decoded ops, the blocks they form, and the arena that holds them.
//!
//! A block is laid out as `Block`, then 16-byte slots (ops, and the links and operands that follow some of them), then
//! its side table: for each slot the number of the instruction it belongs to (u8), then for each instruction, and the
//! end, its distance in bytes from the block's start (u16). Blocks are only ever added; when the arena is full, it is
//! emptied wholesale.
#![expect(unsafe_code, reason = "op storage of the interpreter")]

use crate::exec::simd::Vector;
use crate::state::Cpu;
use emu_core::Ram;
use iced_x86::Instruction;
use memmap2::{MmapMut, MmapOptions};
use std::ops::Range;

/// The function that runs an op and, by a tail call, those after it. Returns when an exit op is reached.
#[cfg(target_arch = "x86_64")]
pub(crate) type Handler = unsafe extern "sysv64" fn(*mut Cpu, *const Op) -> *const Op;
/// The function that runs an op and, by a tail call, those after it. Returns when an exit op is reached.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) type Handler = unsafe extern "C" fn(*mut Cpu, *const Op) -> *const Op;

/// Does an op the slow way, its operands at the `from` of `Hot`; gives the next op, or null when its instruction must
/// be run the general way.
pub(crate) type Book = unsafe fn(cpu: &mut Cpu, op: *const Op) -> *const Op;

/// One op: its handler, up to four register numbers or small operands, and an immediate or displacement.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Op {
    /// A [`Handler`], or raw data in the slots that follow an op.
    pub h: u64,
    pub a: u8,
    pub b: u8,
    pub c: u8,
    pub d: u8,
    pub imm: i32,
}

impl Op {
    /// A slot of raw data.
    pub fn raw(low: u64, high: u64) -> Op {
        let [a, b, c, d, ..] = high.to_le_bytes();
        Op { h: low, a, b, c, d, imm: (high >> 32) as i32 }
    }
}

/// Where a direct branch goes: follows the branch's op.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Link {
    /// The block, or [`UNLINKED`].
    pub block: *const Block,
    /// For a target in another page: the code generation (in bits 63:48) for which the link holds.
    pub generation: u16,
    /// For a target in another page: how many pages away.
    pub pages: i32,
}

/// What a block costs at its entry: instructions << 42 | branches << 21 | conditional branches. Added to the countdown,
/// which is negative while there is budget.
pub(crate) mod lane {
    pub const INSTRUCTIONS: u32 = 42;
    pub const BRANCHES: u32 = 21;
    /// Longest budget, in instructions: no lane may overflow.
    pub const MOST: u64 = 1 << 20;
    /// Makes any countdown positive: entering such a block always takes the cold path.
    pub const INVALID: i64 = i64::MAX;
}

/// A run of instructions with one entry.
#[repr(C, align(16))]
pub(crate) struct Block {
    /// See [`lane`]; `INVALID` once its code was overwritten.
    pub packed: i64,
    /// Host page of its first byte.
    pub page: u32,
    /// Host page of its last byte if the block crosses into another page, else `u32::MAX`.
    pub page2: u32,
    /// Next block in the lists of `page` and `page2`, in units of 16 bytes of the arena; 0 ends.
    pub next: u32,
    pub next2: u32,
    /// Distance from the page's start to the target and to what follows, for direct branches.
    pub taken: i32,
    pub fall: i32,
    /// Offset of its first byte in the page, and how many bytes of code it has.
    pub start: u16,
    pub bytes: u16,
    /// Slots of 16 bytes.
    pub slots: u16,
    /// Instructions.
    pub count: u8,
    /// See `Mode`.
    pub mode: u8,
    /// `packed` as it was before its code was overwritten.
    pub cost: i64,
}

/// A block whose entry always fails: what links point to before they are linked.
pub(crate) static UNLINKED: Block = Block {
    packed: lane::INVALID,
    page: u32::MAX,
    page2: u32::MAX,
    next: 0,
    next2: 0,
    taken: 0,
    fall: 0,
    start: 0,
    bytes: 0,
    slots: 0,
    count: 0,
    mode: 0,
    cost: 0,
};

impl Block {
    /// The first op of `block`.
    #[inline(always)]
    pub fn ops(block: *const Block) -> *const Op {
        block.wrapping_add(1).cast()
    }

    fn side(&self) -> *const u8 {
        Block::ops(self).wrapping_add(self.slots as usize).cast()
    }

    /// The instruction that slot `slot` belongs to.
    pub fn instruction_of(&self, slot: usize) -> usize {
        debug_assert!(slot < self.slots as usize);
        // SAFETY: the arena wrote `slots` bytes of side table behind the slots.
        unsafe { *self.side().add(slot) as usize }
    }

    /// Offset in the page of instruction `n`; `n == count` is the end.
    pub fn offset_of(&self, n: usize) -> u64 {
        debug_assert!(n <= self.count as usize);
        let at = self.side().wrapping_add(self.slots as usize + 2 * n);
        // SAFETY: the arena wrote `count + 1` unaligned u16 behind the instruction numbers.
        u64::from(self.start) + u64::from(unsafe { at.cast::<u16>().read_unaligned() })
    }

    /// Does code at bytes `[from, to)` of host page `page` belong to the block?
    fn meets(&self, page: u32, from: usize, to: usize) -> bool {
        let own = self.part(page == self.page);
        from < own.end && own.start < to
    }

    /// Its bytes in its first page, or in its second: none where only the displacement of an undefined instruction is there.
    fn part(&self, first: bool) -> Range<usize> {
        let end = self.start as usize + self.bytes as usize;
        if first { self.start as usize..end.min(4096) } else { 0..end.saturating_sub(4096) }
    }
}

/// Bytes of the arena.
const ARENA: usize = 48 << 20;
/// Entries of the table of blocks; a power of two, more than the arena can hold blocks.
const TABLE: usize = 1 << 19;

/// What the builder hands over: the block's header, its slots, and the side table.
pub(crate) struct Draft {
    pub head: Block,
    pub slots: Vec<Op>,
    /// Instruction number of each slot.
    pub owner: Vec<u8>,
    /// Distances of the instructions, and of the end, from the start.
    pub starts: Vec<u16>,
    /// Vector instructions, each with the slot that is to hold its number.
    pub vectors: Vec<(usize, Vector)>,
    /// The instructions, for who is told of the block.
    pub code: Vec<Instruction>,
}

/// All blocks of one processor.
pub(crate) struct Blocks {
    arena: MmapMut,
    used: usize,
    blocks: usize,
    /// One bit for every 16 bytes of the arena: a block starts here.
    starts: Vec<u64>,
    /// Open addressing: (key, arena position / 16), 0 is free.
    table: Vec<(u64, u32)>,
    /// First block of each host page, and which of its 64 pieces hold code.
    heads: Vec<u32>,
    pieces: Vec<u64>,
    /// Vector instructions that ops name by number.
    pub vectors: Vec<Vector>,
    /// Our bit among the watchers of a page.
    pub me: u32,
}

/// The key of a block: where its bytes are (both pages when it crosses) and how they were decoded.
pub(crate) fn key(page: u32, page2: u32, start: u16, mode: u8) -> u64 {
    let second = if page2 == u32::MAX { 0 } else { u64::from(page2) + 1 };
    (u64::from(page) << 20 | u64::from(start) << 8 | u64::from(mode)) ^ second << 40
}

impl Blocks {
    /// An empty store for memory `ram`, watching pages as bit `me`.
    pub fn new(ram: &Ram, me: u32) -> Blocks {
        let pages = (ram.mapped_bytes() >> 12) as usize;
        Blocks {
            arena: MmapOptions::new().len(ARENA).map_anon().expect("the host has 48 MiB of address space"),
            used: 16,
            blocks: 0,
            starts: vec![0; ARENA / 16 / 64],
            table: vec![(0, 0); TABLE],
            heads: vec![0; pages],
            pieces: vec![0; pages],
            vectors: Vec::new(),
            me,
        }
    }

    fn at(&self, position: u32) -> *const Block {
        self.arena.as_ptr().wrapping_add(position as usize * 16).cast()
    }

    fn hash(key: u64) -> usize {
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 45) as usize & (TABLE - 1)
    }

    /// The block with this key, if it was built and its code still stands.
    pub fn find(&self, key: u64) -> Option<*const Block> {
        let mut i = Blocks::hash(key);
        while self.table[i].1 != 0 {
            if self.table[i].0 == key {
                let block = self.at(self.table[i].1);
                // SAFETY: the table holds positions of blocks in the arena.
                return (unsafe { (*block).packed } != lane::INVALID).then_some(block);
            }
            i = (i + 1) & (TABLE - 1);
        }
        None
    }

    /// Is there no room for another block (of at most 64 instructions)?
    pub fn is_full(&self) -> bool {
        self.used + 16384 > ARENA || self.blocks > TABLE / 4 * 3
    }

    /// Forgets all blocks. Every pointer into the arena is void after this.
    pub fn clear(&mut self, ram: &Ram) {
        for (page, head) in self.heads.iter_mut().enumerate() {
            if std::mem::take(head) != 0 {
                self.pieces[page] = 0;
                ram.watch(page, self.me, false);
            }
        }
        self.table.fill((0, 0));
        self.starts.fill(0);
        self.vectors.clear();
        (self.used, self.blocks) = (16, 0);
    }

    /// Stores a block. The caller has made room, and takes write access to its pages out of the TLBs.
    pub fn add(&mut self, mut draft: Draft, ram: &Ram) -> *const Block {
        for (slot, vector) in &draft.vectors {
            draft.slots[*slot].imm = self.vectors.len() as i32;
            self.vectors.push(*vector);
        }
        let position = (self.used / 16) as u32;
        let pages = [draft.head.page, draft.head.page2];
        draft.head.slots = draft.slots.len() as u16;
        draft.head.next = self.heads[pages[0] as usize];
        for (n, &page) in pages.iter().enumerate().filter(|(_, p)| **p != u32::MAX) {
            let page = page as usize;
            if n == 1 {
                draft.head.next2 = self.heads[page];
            }
            self.heads[page] = position;
            self.pieces[page] |= pieces(draft.head.part(n == 0));
            ram.watch(page, self.me, true);
        }
        let key = key(draft.head.page, draft.head.page2, draft.head.start, draft.head.mode);
        let bytes = size_of::<Block>() + draft.slots.len() * 17 + draft.starts.len() * 2;
        assert!(self.used + bytes <= ARENA, "the caller made room");
        let to = self.arena.as_mut_ptr().wrapping_add(self.used);
        // SAFETY: `bytes` from `to` lie within the arena, above everything used; nothing refers to them.
        unsafe {
            to.cast::<Block>().write(draft.head);
            let ops = to.add(size_of::<Block>());
            std::ptr::copy_nonoverlapping(draft.slots.as_ptr(), ops.cast(), draft.slots.len());
            let side = ops.add(draft.slots.len() * 16);
            std::ptr::copy_nonoverlapping(draft.owner.as_ptr(), side, draft.slots.len());
            let starts = side.add(draft.slots.len());
            std::ptr::copy_nonoverlapping(draft.starts.as_ptr().cast(), starts, draft.starts.len() * 2);
        }
        self.starts[position as usize / 64] |= 1 << (position % 64);
        self.used = (self.used + bytes).next_multiple_of(16);
        let mut i = Blocks::hash(key);
        while self.table[i].1 != 0 && self.table[i].0 != key {
            i = (i + 1) & (TABLE - 1);
        }
        self.blocks += usize::from(self.table[i].1 == 0);
        self.table[i] = (key, position);
        to.cast()
    }

    /// The block that holds op `op`, and the op's slot.
    pub fn owner(&self, op: *const Op) -> (&Block, usize) {
        let position = (op as usize - self.arena.as_ptr() as usize) / 16;
        let (mut word, mut bits) = (position / 64, !0 >> (63 - position % 64));
        while self.starts[word] & bits == 0 {
            (word, bits) = (word - 1, !0);
        }
        let start = word * 64 + 63 - (self.starts[word] & bits).leading_zeros() as usize;
        // SAFETY: a start bit is set only where a block was written, and blocks are never moved.
        let block = unsafe { &*self.at(start as u32) };
        (block, position - start - size_of::<Block>() / 16)
    }

    /// Bytes `[from, to)` of host page `page` were written: voids the blocks whose code they are. True if there were any.
    pub fn wrote(&mut self, page: usize, from: usize, to: usize, ram: &Ram) -> bool {
        if self.pieces[page] & pieces(from..to) == 0 {
            return false;
        }
        let (mut hit, mut kept) = (false, Vec::new());
        let mut position = self.heads[page];
        while position != 0 {
            // SAFETY: the lists hold positions of blocks; no other reference to this block is live.
            let block = unsafe { &mut *self.at(position).cast_mut() };
            let here = position;
            position = if block.page == page as u32 { block.next } else { block.next2 };
            if block.packed == lane::INVALID {
                continue;
            }
            if block.meets(page as u32, from, to) {
                block.packed = lane::INVALID;
                hit = true;
            } else {
                kept.push(here);
            }
        }
        self.relist(page, &kept, ram);
        hit
    }

    fn relist(&mut self, page: usize, kept: &[u32], ram: &Ram) {
        (self.heads[page], self.pieces[page]) = (0, 0);
        for &position in kept.iter().rev() {
            // SAFETY: as in `wrote`.
            let block = unsafe { &mut *self.at(position).cast_mut() };
            let first = block.page == page as u32;
            *if first { &mut block.next } else { &mut block.next2 } = self.heads[page];
            self.heads[page] = position;
            self.pieces[page] |= pieces(block.part(first));
        }
        if kept.is_empty() {
            ram.watch(page, self.me, false);
        }
    }
}

/// The 64-byte pieces of a page that `bytes` touch, one bit each.
fn pieces(bytes: Range<usize>) -> u64 {
    if bytes.is_empty() {
        return 0;
    }
    let (first, last) = (bytes.start / 64, (bytes.end - 1).min(4095) / 64);
    (!0 >> (63 - (last - first))) << first
}
