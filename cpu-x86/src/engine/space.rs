//! Address spaces: which TLB context and which code generation is in force, and what makes them void.
//!
//! Links and jump-cache entries that lead to another page hold for one *generation*: the code mappings of the
//! supervisor have one (they are global while Linux runs), and each address space has one for user code. A change that
//! may move executed code starts a new generation; returning to an address space returns to its own.

use super::hot::jump_index;
use super::tlb::{Context, SPACES};
use crate::exec::Invalidate;
use crate::fault::Stop;
use crate::monitor::Happening;
use crate::state::{Cpu, cr0, cr4};
use emu_core::Gpa;

/// What has changed of what linear addresses mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paging {
    /// CR3 was written; `keep` is bit 63 of the value with CR4.PCIDE.
    Cr3 {
        /// Translations of the new PCID stay valid.
        keep: bool,
    },
    /// A bit of CR0, CR4 or EFER that paging depends on.
    Control,
}

/// Generations below 2^15, and what [`key_of`] makes of them: two canonical 48-bit addresses never differ by the keys of
/// two generations.
const LAST_GENERATION: u16 = 0x7fff;

/// What linear addresses are mixed with under `generation`: itself in bits 63:48, and a hash in 47:12, so that no address
/// of 57 bits, nor one that is not canonical, is taken for another by its bits above 47 alone.
fn key_of(generation: u16) -> u64 {
    let hash = u64::from(generation).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 28;
    u64::from(generation) << 48 | hash << 12
}

/// What came of filling the TLB.
pub(super) enum Refill {
    /// The access will hit.
    Done,
    /// Page fault at the address.
    Fault(Stop),
    /// No plain access: a device, a page end crossed, a page that holds code, or checks are on.
    Special,
}

/// Which pages were executed, hashed: a filter without false negatives.
#[derive(Clone)]
struct Executed([u64; 32]);

impl Executed {
    fn bit(at: u64) -> (usize, u64) {
        let h = (at >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53;
        (h as usize / 64, 1 << (h % 64))
    }
    fn add(&mut self, at: u64) {
        let (word, bit) = Executed::bit(at);
        self.0[word] |= bit;
    }
    fn may_hold(&self, at: u64) -> bool {
        let (word, bit) = Executed::bit(at);
        self.0[word] & bit != 0
    }
}

/// Code mappings of one kind: a generation, for one mode, and the pages executed in it.
#[derive(Clone)]
struct Code {
    generation: u16,
    mode: u8,
    executed: Executed,
    non_global: bool,
}

impl Code {
    fn new(generation: u16) -> Code {
        Code { generation, mode: 0xff, executed: Executed([0; 32]), non_global: false }
    }
}

/// All address spaces known.
pub(crate) struct Spaces {
    /// PCID of each, if it holds one.
    pcid: [Option<u16>; SPACES],
    user: Vec<Code>,
    kernel: Code,
    victim: usize,
    last_generation: u16,
    /// The protection keys of the pages that were translated: bit n for key n.
    keys: u16,
}

impl Spaces {
    pub fn new() -> Spaces {
        let user = (0..SPACES).map(|_| Code::new(0)).collect();
        let mut pcid = [None; SPACES];
        pcid[0] = Some(0);
        Spaces { pcid, user, kernel: Code::new(0), victim: 0, last_generation: 0, keys: 0 }
    }

    /// A page with protection key `key` (0 to 15) was translated.
    pub fn note_key(&mut self, key: u32) {
        self.keys |= 1 << (key & 15);
    }

    /// Has a page been translated whose key's rights are among the bits `changed` of PKRU?
    pub fn uses_keys(&self, changed: u32) -> bool {
        (0..16).any(|key| self.keys >> key & 1 != 0 && changed >> (2 * key) & 3 != 0)
    }

    /// All TLB contexts: the supervisor's own, then two for each space.
    pub fn contexts() -> Vec<Context> {
        (0..=2 * SPACES).map(|_| Context::new()).collect()
    }
}

/// Bytes of the largest access that a fast form makes.
const MOST_BYTES: u64 = 64;

impl Cpu {
    fn new_generation(&mut self) -> u16 {
        if self.spaces.last_generation == LAST_GENERATION {
            // Every link and cached jump of the numbers to come must be gone.
            self.forget_all_code();
            self.spaces.last_generation = 0;
            for i in 0..SPACES {
                self.spaces.user[i] = Code::new(0);
            }
            self.spaces.kernel = Code::new(0);
            self.spaces.last_generation = 1;
            return 1;
        }
        self.spaces.last_generation += 1;
        self.spaces.last_generation
    }

    fn renew_user(&mut self, space: usize) {
        // Generation 0 means: none yet, a number is taken when it is needed.
        self.spaces.user[space] = Code::new(0);
    }

    fn renew_kernel(&mut self) {
        self.spaces.kernel = Code::new(0);
    }

    fn flush_space(&mut self, space: usize) {
        self.contexts[2 * space + 1].flush();
        self.contexts[2 * space + 2].flush();
        self.renew_user(space);
    }

    /// Paging structures may mean something else now: drops what was cached of them.
    pub(crate) fn on_paging_change(&mut self, what: Paging) {
        self.engine.look = true;
        let pcid = if self.cr4 & cr4::PCIDE != 0 { (self.cr3 & 0xfff) as u16 } else { 0 };
        self.happened(match what {
            Paging::Cr3 { keep } => Happening::AddressSpace { pcid, keep },
            Paging::Control => Happening::FlushTlb { global: true },
        });
        if self.cr0 & cr0::PG != 0 && self.cr4 & cr4::PAE != 0 && !self.long_mode() {
            let table = self.cr3 & 0xffff_ffe0;
            for n in 0..4 {
                self.pdpte[n] = self.ram.read_u64(Gpa(table + 8 * n as u64)).unwrap_or(0);
            }
        }
        let Paging::Cr3 { keep } = what else {
            for c in &mut self.contexts {
                c.flush();
            }
            self.spaces.pcid = [None; SPACES];
            self.spaces.pcid[0] = Some(pcid);
            self.space = 0;
            (0..SPACES).for_each(|s| self.renew_user(s));
            self.renew_kernel();
            return;
        };
        self.contexts[0].flush_non_global();
        if self.spaces.kernel.non_global {
            self.renew_kernel();
        }
        match self.spaces.pcid.iter().position(|p| *p == Some(pcid)) {
            Some(space) => {
                self.space = space;
                if !keep {
                    self.flush_space(space);
                }
            }
            None => {
                self.space = self.spaces.victim;
                self.spaces.victim = (self.spaces.victim + 1) % SPACES;
                self.spaces.pcid[self.space] = Some(pcid);
                self.flush_space(self.space);
            }
        }
    }

    /// Forgets all translations for data; code stays where it is.
    pub(crate) fn forget_data(&mut self) {
        self.contexts.iter_mut().for_each(Context::flush);
        self.spaces.keys = 0;
    }

    /// INVLPG and INVPCID.
    pub(crate) fn invalidate(&mut self, what: Invalidate) {
        self.happened(match what {
            Invalidate::Page(at) | Invalidate::PageOf { at, .. } => Happening::FlushPage(at),
            Invalidate::Pcid(pcid) => Happening::FlushSpace(pcid),
            Invalidate::AllButGlobal => Happening::FlushTlb { global: false },
            Invalidate::AllGlobal => Happening::FlushTlb { global: true },
        });
        match what {
            Invalidate::Page(at) => {
                for c in &mut self.contexts {
                    c.flush_page(at);
                }
                self.renew_executed(at);
            }
            Invalidate::PageOf { pcid, at } => {
                self.contexts[0].flush_page(at);
                if let Some(space) = self.spaces.pcid.iter().position(|p| *p == Some(pcid)) {
                    self.contexts[2 * space + 1].flush_page(at);
                    self.contexts[2 * space + 2].flush_page(at);
                }
                self.renew_executed(at);
            }
            Invalidate::Pcid(pcid) => {
                if let Some(space) = self.spaces.pcid.iter().position(|p| *p == Some(pcid)) {
                    self.flush_space(space);
                }
                self.contexts[0].flush_non_global();
                if self.spaces.kernel.non_global {
                    self.renew_kernel();
                }
            }
            Invalidate::AllButGlobal | Invalidate::AllGlobal => {
                for c in &mut self.contexts {
                    c.flush();
                }
                (0..SPACES).for_each(|s| self.renew_user(s));
                self.renew_kernel();
            }
        }
        self.engine.look = true;
    }

    fn renew_executed(&mut self, at: u64) {
        for space in 0..SPACES {
            if self.spaces.user[space].executed.may_hold(at) {
                self.renew_user(space);
            }
        }
        if self.spaces.kernel.executed.may_hold(at) {
            self.renew_kernel();
        }
    }

    /// The code mappings in force.
    fn code(&mut self) -> &mut Code {
        if self.cpl == 3 { &mut self.spaces.user[self.space] } else { &mut self.spaces.kernel }
    }

    /// Puts the right TLB context and code generation in force for the current privilege, flags and `mode`.
    pub(super) fn select(&mut self, mode: u8) {
        let code = self.code();
        if code.mode != mode || code.generation == 0 {
            let generation = self.new_generation();
            *self.code() = Code { mode, ..Code::new(generation) };
        }
        self.hot.generation = key_of(self.code().generation);
        self.hot.tlb = if self.checking_data() {
            self.nothing.entries.as_ptr()
        } else {
            let context = self.context_of(self.who());
            self.contexts[context].entries.as_ptr()
        };
        self.hot.jumps = self.engine.jumps.as_ptr();
    }

    /// Must every data access take the general path (alignment checks, data breakpoints)?
    fn checking_data(&self) -> bool {
        self.alignment_checked() || self.watching_data()
    }

    /// Is #AC possible?
    pub(crate) fn alignment_checked(&self) -> bool {
        self.cpl == 3 && self.cr0 & cr0::AM != 0 && self.system_flags & crate::alu::flag::AC != 0
    }

    /// Remembers that the page of linear address `at` is executed under the current generation.
    pub(super) fn note_executed(&mut self, at: u64, global: bool) {
        let code = self.code();
        code.executed.add(at);
        code.non_global |= !global;
    }

    /// Fills the TLB context in force for linear address `at`.
    pub(super) fn refill(&mut self, at: u64, write: bool) -> Refill {
        // Where an access might run beyond the last address there is, the general way tells which exception it raises.
        let end = at.wrapping_add(MOST_BYTES - 1);
        let there = |at| if self.is_64bit() { self.canonical(at) } else { at >> 32 == 0 };
        if self.checking_data() || !there(at) || !there(end) {
            return Refill::Special;
        }
        let who = self.who();
        let context = self.context_of(who);
        let index = super::tlb::index(at);
        let tag = |c: &Context| if write { c.entries[index].write } else { c.entries[index].read };
        if tag(&self.contexts[context]) == at & !0xfff {
            return Refill::Special;
        }
        let access = if write { crate::Access::Write } else { crate::Access::Read };
        match self.place(at, access, who) {
            Ok(_) if tag(&self.contexts[context]) == at & !0xfff => Refill::Done,
            Ok(_) => Refill::Special,
            Err(stop) => Refill::Fault(stop),
        }
    }

    /// Memory that held decoded code was written: bytes of host page `page` from `from`.
    pub(crate) fn wrote_code(&mut self, page: usize, from: usize, bytes: usize) {
        let ram = std::sync::Arc::clone(&self.ram);
        if ram.watchers(page) & self.engine.blocks.me != 0 && self.engine.blocks.wrote(page, from, from + bytes, &ram) {
            self.engine.look = true;
            self.happened(Happening::SelfModified);
        }
        if ram.watchers(page) & !self.engine.blocks.me != 0 {
            self.engine.notes.wrote.push((page, from, from + bytes));
            self.engine.look = true;
        }
    }

    /// Memory was written from outside (a device, a loader): decoded code made of it is dropped.
    pub fn forget(&mut self, at: Gpa, bytes: u64) {
        let ram = std::sync::Arc::clone(&self.ram);
        let last = ram.slots().iter().map(|s| s.base.0 + s.bytes).max().unwrap_or(0);
        let (mut at, end) = (at.0, at.0.saturating_add(bytes).min(last));
        while at < end {
            let next = ((at | 0xfff) + 1).min(end);
            if let Some(slot) = ram.slot(Gpa(at)) {
                let page = ((slot.offset + at - slot.base.0) >> 12) as usize;
                if ram.watchers(page) & self.engine.blocks.me != 0 {
                    let from = (at & 0xfff) as usize;
                    self.engine.blocks.wrote(page, from, from + (next - at) as usize, &ram);
                }
            }
            at = next;
        }
    }

    /// What the other processors must be told of this one's last run; see [`Cpu::hear`].
    pub fn take_notes(&mut self) -> super::Notes {
        std::mem::take(&mut self.engine.notes)
    }

    /// Another processor wrote code or decoded new code: takes account of it before the next run.
    pub fn hear(&mut self, notes: &super::Notes) {
        let ram = std::sync::Arc::clone(&self.ram);
        for &(page, from, to) in &notes.wrote {
            if ram.watchers(page) & self.engine.blocks.me != 0 {
                self.engine.blocks.wrote(page, from, to, &ram);
            }
        }
        for &page in &notes.code {
            self.protect(page);
        }
    }

    /// Host page `page` now holds code: writes to it must take the cold path.
    pub(super) fn protect(&mut self, page: usize) {
        for c in &mut self.contexts {
            c.protect(page);
        }
    }

    /// Drops all decoded code, and all that points to it.
    pub(super) fn forget_all_code(&mut self) {
        let ram = std::sync::Arc::clone(&self.ram);
        self.engine.blocks.clear(&ram);
        if self.doors.is_some() {
            self.with_monitor(|monitor, _| monitor.forget());
        }
        let nowhere = super::Jump { key: u64::MAX, block: &raw const super::UNLINKED };
        self.engine.jumps.fill(nowhere);
        self.hot.returns.fill(super::Return { key: u64::MAX, link: std::ptr::null() });
        // Generations may start anew, and the op that left (whose link waits for its target) is gone.
        self.engine.fetches.fill((u64::MAX, 0));
        self.hot.left = std::ptr::null();
        self.hot.head = std::ptr::null();
    }

    /// Remembers that `block` is at linear address `at` under the current generation.
    pub(super) fn remember_jump(&mut self, at: u64, block: *const super::op::Block) {
        self.engine.jumps[jump_index(at)] = super::Jump { key: at ^ self.hot.generation, block };
    }
}
