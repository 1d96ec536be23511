//! How a monitor is told: which block begins, which memory is accessed, what else happens.
//!
//! Handlers exist twice, with and without telling ([`Watch`]); a block is made of the ones or the others (its mode says),
//! so that nothing of this costs anything while no monitor is there. Accesses to a line that was the last touched of its
//! set are not told: [`crate::monitor::Touched`]. What need not be told at once waits in a log: [`crate::monitor::Step`].
#![expect(unsafe_code, reason = "reads the operands of the op that begins a block")]

use super::hot::{LOG, Quiet};
use super::op::{Block, Op};
use super::tlb;
use crate::door::Ring;
use crate::memory::{Access, Place};
use crate::monitor::{Code, DataAccess, Happening, Packed, Translate, Walked};
use crate::state::{Cpu, cell};
use emu_core::Gpa;
use iced_x86::Instruction;
use softfp::flag;

/// Whether handlers tell.
pub(crate) trait Watch {
    const ON: bool;
}
pub(crate) struct Unwatched;
pub(crate) struct Watched;
impl Watch for Unwatched {
    const ON: bool = false;
}
impl Watch for Watched {
    const ON: bool = true;
}

/// No line of any set.
const NONE: u64 = u64::MAX;

/// No page: the next block is told at once. Neither is it the address behind a page's first byte, which stands for blocks
/// of two pages.
const NOWHERE: u64 = 2;

/// Notes which block begins: `op` holds its number, its offset in the page, and whether it runs into the next page.
///
/// # Safety
/// `op` was made by the builder, and its block is alive.
#[inline(always)]
pub(super) unsafe fn enter(cpu: &mut Cpu, op: *const Op) {
    cpu.hot.head = op;
    // SAFETY: the contract.
    let op = unsafe { &*op };
    let (page, n) = (cpu.regs[cell::PAGE], cpu.hot.log.len as usize);
    // A page that is told has its low bits clear: a block of two pages is never logged.
    if page + u64::from(op.c) == cpu.hot.told && n < LOG {
        cpu.hot.log.steps[n] = Packed::block(op.imm as u32);
        cpu.hot.log.len += 1;
        return;
    }
    cpu.enter_page(op.imm as u32, page, u16::from_le_bytes([op.a, op.b]), op.c != 0);
}

fn ring(cpl: u8) -> Ring {
    if cpl == 3 { Ring::User } else { Ring::Kernel }
}

impl Cpu {
    /// Notes which block begins, at `offset` in `page`: at once, or later if that makes no difference.
    #[inline(never)]
    fn enter_page(&mut self, number: u32, page: u64, offset: u16, crosses: bool) {
        let n = self.hot.log.len as usize;
        let goes_on = self.hot.told & 0xfff == 0 && !crosses && n + 2 <= LOG;
        if goes_on && self.hot.pages[(page >> 12) as usize & 63] == page {
            self.hot.log.steps[n] = Packed::page(page >> 12);
            self.hot.log.steps[n + 1] = Packed::block(number);
            self.hot.log.len += 2;
            self.hot.told = page;
        } else {
            self.enter_now(number, page, offset, crosses);
        }
    }

    /// Tells the monitor which block begins, at `offset` in `page`.
    fn enter_now(&mut self, number: u32, page: u64, offset: u16, crosses: bool) {
        let (at, ring) = (page.wrapping_add(offset.into()), ring(self.cpl));
        self.with_monitor(|monitor, cpu| monitor.enter(number, at, ring, cpu));
        self.hot.told = NOWHERE;
        if page & 0xfff == 0 {
            self.hot.pages[(page >> 12) as usize & 63] = page;
            if !crosses {
                self.hot.told = page;
            }
        }
    }

    /// Tells the monitor what waits for it.
    #[inline]
    pub(crate) fn tell_waiting(&mut self) {
        if self.hot.log.len > 0 {
            self.with_monitor(|_, _| {});
        }
    }

    /// The next block is told at once.
    pub(crate) fn tell_next(&mut self) {
        self.hot.told = NOWHERE;
    }

    /// Describes a new block to the monitor and gives its first op the number.
    pub(super) fn describe(&mut self, head: &Block, slots: &mut [Op], code: &[Instruction]) {
        let page = |page: u32| self.physical(u64::from(page) << 12);
        let physical = Gpa(page(head.page).0 + u64::from(head.start));
        let next_page = (head.page2 != u32::MAX).then(|| page(head.page2));
        let code = Code { physical, next_page, instructions: code };
        slots[0].c = u8::from(next_page.is_some());
        self.with_monitor(|monitor, _| slots[0].imm = monitor.describe(&code) as i32);
    }

    /// Guest-physical address of byte `offset` of the host mapping.
    fn physical(&self, offset: u64) -> Gpa {
        let slot = self.ram.slots().iter().find(|s| offset.wrapping_sub(s.offset) < s.bytes);
        Gpa(slot.map_or(offset, |s| s.base.0 + offset - s.offset))
    }

    /// Tells the monitor of an access that lies within a page and whose translation the TLB holds.
    pub(crate) fn observe(&mut self, at: u64, bytes: u64, write: bool) {
        let e = &self.contexts[self.context_of(self.who())].entries[tlb::index(at)];
        self.observe_at(at, e.host_page(), bytes, write);
    }

    /// As [`Cpu::observe`], on host page `host`: at once, or later if that makes no difference.
    #[cold]
    #[inline(never)]
    pub(crate) fn observe_at(&mut self, at: u64, host: u64, bytes: u64, write: bool) {
        let quiet = &self.hot.quiet[(at >> 12) as usize & 63];
        if let Some((line, splits)) = quiet.line(at, host, bytes, write)
            && self.log_access(line, splits, write)
        {
            for line in at >> 6..=(at >> 6) + u64::from(splits) {
                self.hot.recent[(line & 63) as usize] = line << 1 | u64::from(write);
            }
        } else {
            self.observe_now(at, host, bytes, write);
        }
    }

    /// Logs an access to physical line `line`, and the next one if it `splits`, if the log has room, by the op that left, if
    /// that is one of the block entered last.
    #[inline]
    fn log_access(&mut self, line: u64, splits: bool, write: bool) -> bool {
        let (head, n) = (self.hot.head, self.hot.log.len as usize);
        if head.is_null() || n == LOG || self.engine.alone {
            return false;
        }
        // SAFETY: `head` is the first op of a block, behind whose head it lies; it is null once blocks were dropped.
        let block = unsafe { &*head.cast::<Block>().sub(1) };
        let slot = (self.hot.left as usize).wrapping_sub(head as usize) / size_of::<Op>();
        if slot >= block.slots.into() {
            return false;
        }
        self.hot.log.steps[n] = Packed::access(line, splits, write, block.instruction_of(slot) as u8);
        self.hot.log.len += 1;
        true
    }

    #[inline(never)]
    fn observe_now(&mut self, at: u64, host: u64, bytes: u64, write: bool) {
        let physical = self.physical((host << 12) + (at & 0xfff));
        let instruction = self.instruction();
        let access = DataAccess { linear: at, physical, bytes: bytes as u32, write, instruction };
        let mut touched = 0;
        self.with_monitor(|monitor, cpu| touched = monitor.access(&access, cpu));
        if touched == u64::MAX {
            // The monitor wants to hear of the next access, whichever it is.
            return self.tell_all();
        }
        while touched != 0 {
            self.hot.recent[touched.trailing_zeros() as usize] = NONE;
            touched &= touched - 1;
        }
        for line in at >> 6..=(at + bytes - 1) >> 6 {
            self.hot.recent[(line & 63) as usize] = line << 1 | u64::from(write);
        }
        let quiet = &mut self.hot.quiet[(at >> 12) as usize & 63];
        *quiet = quiet.told(at, host, physical.0, write);
    }

    /// Which instruction of the block entered last is under way.
    fn instruction(&self) -> u32 {
        if self.engine.alone {
            0
        } else if self.hot.left.is_null() {
            // No block has run: an event is being delivered behind all that has.
            u32::MAX
        } else {
            let (block, slot) = self.engine.blocks.owner(self.hot.left);
            block.instruction_of(slot) as u32
        }
    }

    /// Tells the monitor if the instruction under way, which raised these `flags` and no fault, met denormals; `ftz`: tiny
    /// results were flushed.
    #[inline]
    pub(crate) fn raised(&mut self, flags: u8, ftz: bool) {
        let tiny = if ftz { 0 } else { flag::UE };
        if flags & (flag::DE | tiny) != 0 && self.hot.watched {
            self.tell_denormal();
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_denormal(&mut self) {
        let instruction = self.instruction();
        self.with_monitor(|monitor, _| monitor.happened(Happening::Denormal { instruction }));
    }

    /// Tells the monitor of an access to plain memory by an instruction's meaning; it may run over lines, not pages.
    #[inline]
    pub(crate) fn observe_host(&mut self, at: u64, page: usize, bytes: usize, write: bool) {
        if !self.hot.watched || bytes == 0 || self.hot.is_recent(at, bytes as u64, write) {
            return;
        }
        self.observe_at(at, page as u64, bytes as u64, write);
    }

    /// Tells the monitor of an access to a run of plain memory within a page.
    #[inline]
    pub(crate) fn observe_run(&mut self, at: u64, bytes: usize, write: bool) {
        if self.hot.watched {
            let e = &self.contexts[self.context_of(self.who())].entries[tlb::index(at)];
            self.observe_host(at, e.host_page() as usize, bytes, write);
        }
    }

    /// Tells the monitor of `n` iterations of a repeated instruction.
    #[inline]
    pub(crate) fn repeated(&mut self, n: u64) {
        if self.hot.watched {
            self.with_monitor(|monitor, _| monitor.happened(Happening::Repeated(n)));
        }
    }

    /// Tells the monitor of `cycles` without an instruction.
    pub(super) fn idled(&mut self, cycles: u64) {
        if self.hot.watched {
            self.with_monitor(|monitor, _| monitor.happened(Happening::Idled(cycles)));
        }
    }

    /// An access runs over a page's end: both its parts are to be told.
    pub(crate) fn tell_parts(&mut self) {
        if self.hot.watched {
            self.hot.recent.fill(NONE);
        }
    }

    /// All accesses are to be told, the next one to each page at once.
    pub(crate) fn tell_all(&mut self) {
        if self.hot.watched {
            self.hot.recent.fill(NONE);
            self.hot.quiet.fill(Quiet::NONE);
        }
    }

    /// Nothing told before may be relied on: accesses and pages are told anew.
    fn tell_anew(&mut self) {
        self.tell_all();
        self.hot.pages.fill(NONE);
    }

    /// Tells the monitor of something else.
    pub(crate) fn happened(&mut self, what: Happening) {
        if self.hot.watched {
            if what.changes_memory() {
                self.tell_anew();
            }
            self.tell_next();
            self.with_monitor(|monitor, _| monitor.happened(what));
        }
    }

    /// Tells the monitor that the line of linear address `at`, which a probe just reached, was flushed.
    pub(crate) fn flushed(&mut self, at: u64) {
        if self.hot.watched
            && let Ok(Place::Host { page, .. }) = self.place(at, Access::Read, self.who())
        {
            let physical = self.physical(((page as u64) << 12) + (at & 0xfff));
            self.happened(Happening::FlushLine(physical));
        }
    }

    /// Tells the monitor that an event was delivered which found the processor at linear address `from`.
    pub(crate) fn delivered(&mut self, from: u64, vector: u8, external: bool) {
        if self.hot.watched {
            let (to, ring) = (self.code_address(self.rip), ring(self.cpl));
            self.tell_next();
            self.with_monitor(|monitor, _| {
                monitor.happened(Happening::Delivery { from, to, vector, external, ring });
            });
        }
    }

    /// Of the block entered last only `ran` instructions retired.
    pub(super) fn tell_cut(&mut self, ran: u32) {
        if self.hot.watched {
            self.tell_next();
            self.with_monitor(|monitor, _| monitor.cut(ran));
        }
    }

    /// The instruction `i`, on host page `page`, is about to run on its own.
    pub(super) fn tell_single(&mut self, i: &Instruction, page: u32) {
        if self.hot.watched {
            let at = self.code_address(self.rip);
            let physical = Gpa(self.physical(u64::from(page) << 12).0 + (at & 0xfff));
            let (ring, instructions) = (ring(self.cpl), [*i]);
            self.tell_next();
            self.with_monitor(|monitor, cpu| {
                let code = Code { physical, next_page: None, instructions: &instructions };
                monitor.single(&code, at, ring, cpu);
            });
        }
    }

    /// Looks whether a monitor is there, and lets it book what is pending if it is.
    pub(super) fn look_for_monitor(&mut self) {
        let there = self.doors_of_run().pmu().monitor().is_some();
        if there && self.hot.watched {
            let to = self.code_address(self.rip);
            self.tell_next();
            self.with_monitor(|monitor, _| monitor.settle(to));
        }
        if there != self.hot.watched {
            self.hot.watched = there;
            self.tell_anew();
            self.tell_next();
        }
    }
}

impl Translate for Cpu {
    fn walked(&mut self, linear: u64) -> Walked {
        self.walk_quietly(linear)
    }
}
