//! The run loop: settles what was retired, serves what waits at the boundary, and chases blocks in between.
#![expect(unsafe_code, reason = "enters blocks and patches their links")]

use super::hot::Leave;
use super::op::{self, Block, Link, lane};
use super::translate::{Mode, Source, Translated, Vectors, translate};
use super::{FETCHES, calls, drive};
use crate::alu::flag;
use crate::door::{Counts, Doors, Facts, Ring};
use crate::fault::Stop;
use crate::memory::Access;
use crate::paging::Who;
use crate::state::{Activity, Cpu, Seg, Segment, cell, cr0, cr4};
use crate::wait::Wait;
use std::sync::Arc;

/// A counter that may overflow within fewer cycles is near.
const NEAR: u64 = 10_000;

/// XCR0: the states of SSE and AVX; and those of AVX-512 besides.
const XCR0_AVX: u64 = 6;
const XCR0_AVX512: u64 = 0xe6;

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The clock reached the time given.
    Time,
    /// A door wants the board's attention.
    Attention,
    /// Halted, or waiting for a start-up IPI: nothing to do until something arrives.
    Halted,
    /// Triple fault.
    Shutdown,
    /// The guest used something this program lacks.
    Unimplemented(Box<Missing>),
}

/// What the program lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The instruction as text, or what else was wanted.
    pub what: String,
    /// Offset in CS.
    pub rip: u64,
    /// Linear address.
    pub linear: u64,
    /// The instruction's bytes.
    pub bytes: Vec<u8>,
}

/// What came of an attempt to reach a block.
enum Reach {
    Block(*const Block),
    /// The budget ends within the block.
    Short,
}

impl Cpu {
    /// Runs until the clock reaches `until` (in ticks of [`Counts::clock`]) or something needs the board.
    pub fn run(&mut self, doors: &mut dyn Doors, until: u64) -> Exit {
        let doors: *mut dyn Doors = doors;
        // SAFETY: only the lifetime is erased; the pointer is dropped before this function returns.
        self.doors = Some(unsafe { std::mem::transmute::<*mut dyn Doors, *mut (dyn Doors + 'static)>(doors) });
        let exit = self.run_with_doors(until);
        self.tell_waiting();
        self.settle();
        self.doors = None;
        exit
    }

    /// Counts at the instruction being executed, which is the last of its block, not included.
    pub(crate) fn counts_now(&self) -> Counts {
        let mut now = self.settled;
        let mut facts = self.unsettled();
        facts.instructions = facts.instructions.saturating_sub(1);
        add(&mut now, self.engine.ring, facts);
        now
    }

    /// What was retired since the countdown was armed.
    fn unsettled(&self) -> Facts {
        let spent = self.hot.countdown.wrapping_sub(self.engine.armed);
        let mask = (1 << lane::BRANCHES) - 1;
        Facts {
            instructions: (spent >> lane::INSTRUCTIONS) as u64,
            branches: (spent >> lane::BRANCHES) as u64 & mask,
            conditional: spent as u64 & mask,
            ..Facts::default()
        }
    }

    /// Books what was retired under the ring it was retired in.
    pub(super) fn settle(&mut self) {
        let facts = self.unsettled();
        add(&mut self.settled, self.engine.ring, facts);
        // What is left of the budget stays; the lanes below start anew.
        self.engine.armed = self.hot.countdown & !((1 << lane::INSTRUCTIONS) - 1);
        self.hot.countdown = self.engine.armed;
    }

    /// Allows `instructions` (at most `lane::MOST`) to retire before the cold path is taken.
    fn arm(&mut self, instructions: u64) {
        self.engine.armed = -((instructions as i64 + 1) << lane::INSTRUCTIONS);
        self.hot.countdown = self.engine.armed;
        self.engine.ring = self.cpl;
    }

    /// How many instructions of the budget are left.
    fn left(&self) -> u64 {
        ((-self.hot.countdown - 1) >> lane::INSTRUCTIONS) as u64
    }

    /// Time passes in HLT: the clock goes on to `clock`, cycles do not.
    pub fn skip_to(&mut self, clock: u64) {
        self.settled.clock = self.settled.clock.max(clock);
    }

    /// The clock tick at which this processor's own timer comes due, or its wait in MWAIT ends, if there is one.
    pub fn next_event(&self) -> Option<u64> {
        let wait = self.wait.map(|w| w.deadline).filter(|d| *d != u64::MAX);
        self.lapic.next_timer().into_iter().chain(wait).min()
    }

    fn run_with_doors(&mut self, until: u64) -> Exit {
        loop {
            self.settle();
            self.engine.look = false;
            self.look_for_monitor();
            self.lapic.advance(self.settled.clock);
            let counts = self.settled;
            if self.pmu_settle(&counts) {
                self.lapic.performance_interrupt();
            }
            self.take_signals();
            if self.doors_of_run().wants_attention() || !self.engine.notes.wrote.is_empty() {
                return Exit::Attention;
            }
            if self.activity == Activity::Shutdown && !self.wants_service() {
                return Exit::Shutdown;
            }
            if self.activity == Activity::Shutdown {
                self.service();
                if self.activity == Activity::Shutdown {
                    return Exit::Shutdown;
                }
            }
            if self.settled.clock >= until {
                return Exit::Time;
            }
            if (self.wants_service() || self.stepwise()) && self.service() {
                continue;
            }
            if self.activity != Activity::Active {
                if self.rest(until) {
                    continue;
                }
                return Exit::Halted;
            }
            let budget = self.budget(until);
            if budget == 0 {
                continue;
            }
            self.arm(budget);
            let end = if self.stepwise() { self.step_once() } else { self.chase() };
            if let Err(missing) = end {
                return Exit::Unimplemented(missing);
            }
        }
    }

    /// What the local APIC received for the processor itself.
    fn take_signals(&mut self) {
        self.nmi_pending |= std::mem::take(&mut self.lapic.signals.nmi);
        self.init_pending |= std::mem::take(&mut self.lapic.signals.init);
        if let Some(vector) = self.lapic.signals.start_up.take() {
            self.sipi = Some(vector);
        }
    }

    /// Waits within C0, where cycles pass, until the wait's end, the next deadline or `until`. False: it does not wait so.
    fn rest(&mut self, until: u64) -> bool {
        let Some((Wait { deadline, .. }, state)) = self.wait.and_then(|w| Some((w, w.rests?))) else { return false };
        let cycles = self.budget(until.min(deadline));
        let of = if self.cpl == 3 { &mut self.settled.user } else { &mut self.settled.kernel };
        of.rested[state as usize] += cycles;
        self.pass_idly(cycles);
        true
    }

    /// So many unhalted cycles go by in this ring in which nothing retires. What was retired before is settled.
    pub(super) fn pass_idly(&mut self, cycles: u64) {
        self.settled.pass(cycles);
        self.settled.user_waits += if self.cpl == 3 { cycles } else { 0 };
        self.idled(cycles);
    }

    /// Instructions, or cycles without any, until the next deadline.
    fn budget(&mut self, until: u64) -> u64 {
        let clock = self.settled.clock;
        let timer = self.lapic.next_timer().unwrap_or(u64::MAX);
        let (counts, ring) = (self.settled, ring(self.cpl));
        let counter = self.doors_of_run().deadline(&counts, ring);
        // A counter of the other ring may be entered before that. Where its overflow is near, entering the ring looks again;
        // else it waits its time as one of this ring does.
        let other = if ring == Ring::User { Ring::Kernel } else { Ring::User };
        let other = self.doors_of_run().deadline(&counts, other);
        self.engine.counting = other < NEAR;
        let time = (until - clock).min(timer.saturating_sub(clock));
        let cycles = counts.cycles_in(time).min(counter).min(lane::MOST);
        if self.engine.counting { cycles } else { cycles.min(other) }
    }

    /// Runs one instruction with all its debug events.
    fn step_once(&mut self) -> Result<(), Box<Missing>> {
        let at = self.code_address(self.rip);
        if let Some(bits) = self.fetch_breakpoint(at) {
            self.raise_breakpoint(bits);
            return Ok(());
        }
        let (tf, rf) = (self.system_flags & flag::TF != 0, self.system_flags & flag::RF != 0);
        let before = self.unsettled();
        self.select(self.mode().0);
        self.engine.taken_to_next = false;
        let next = self.fetch_instruction().map_or(0, |i| self.rip.wrapping_add(i.len() as u64));
        self.general()?;
        let after = self.unsettled();
        if after.instructions != before.instructions {
            let taken = after.conditional == before.conditional || self.rip != next || self.engine.taken_to_next;
            let branched = after.branches != before.branches && taken;
            self.after_step(tf && (branched || !self.steps_on_branches()), rf);
        } else {
            self.after_iteration(tf);
        }
        Ok(())
    }

    /// The mode that the current state decodes and runs in.
    fn mode(&self) -> Mode {
        let bits = self.code_bits();
        let flat = bits == 64 || bits == 32 && self.protected() && !self.v86() && self.is_flat();
        Mode::new(bits, flat, self.vectors(), self.hot.watched)
    }

    /// Which vector instructions run. Source: SDM vol. 3A, 2.5 and 14.1; vol. 1, 14.3 and 15.2.
    fn vectors(&self) -> Vectors {
        if self.cr0 & (cr0::EM | cr0::TS) != 0 || self.cr4 & cr4::OSFXSR == 0 {
            return Vectors::None;
        }
        let enabled = |state: u64| self.cr4 & cr4::OSXSAVE != 0 && self.xcr0 & state == state;
        if !enabled(XCR0_AVX) || !self.protected() || self.v86() {
            return Vectors::Sse;
        }
        if enabled(XCR0_AVX512) { Vectors::Avx512 } else { Vectors::Avx }
    }

    /// Do CS, DS, ES and SS span all 4 GiB from 0, readable and writable, so that no access needs a segment check?
    fn is_flat(&self) -> bool {
        let whole = |s: Seg| {
            let s = &self.seg[s as usize];
            s.base == 0 && s.limit == u32::MAX && s.attr & Segment::UNUSABLE == 0
        };
        let data = |s: Seg| whole(s) && self.seg[s as usize].kind() & 0xe == 2;
        whole(Seg::Cs)
            && data(Seg::Ds)
            && data(Seg::Es)
            && data(Seg::Ss)
            && self.seg[Seg::Ss as usize].attr & Segment::DB != 0
    }

    /// Puts what blocks need in force. RF ends with the next instruction; without instruction breakpoints nothing can tell
    /// that it ends just before it.
    fn begin(&mut self, mode: Mode) {
        self.system_flags &= !flag::RF;
        self.select(mode.0);
    }

    /// Follows blocks from `rip` until the budget is spent or something must be looked at.
    fn chase(&mut self) -> Result<(), Box<Missing>> {
        loop {
            let mode = self.mode();
            self.begin(mode);
            let at = self.code_address(self.rip);
            let Some(block) = self.enter_cached(at, mode)? else {
                if self.must_look() {
                    return Ok(());
                }
                continue;
            };
            // SAFETY: `reach` gave a live block and paid for it; `select` prepared `hot`.
            unsafe { drive(self, Block::ops(block)) };
            if !self.leave(mode)? {
                return Ok(());
            }
        }
    }

    /// Deals with what the handlers left for. False: back to the boundary.
    fn leave(&mut self, mut mode: Mode) -> Result<bool, Box<Missing>> {
        loop {
            let page = self.regs[cell::PAGE];
            match std::mem::take(&mut self.hot.leave) {
                Leave::Link { taken } => {
                    let (block, _) = self.engine.blocks.owner(self.hot.left);
                    let to = page.wrapping_add(if taken { block.taken } else { block.fall } as i64 as u64);
                    let link = link_of(self.hot.left, taken);
                    let Some(next) = self.enter(to, mode)? else { return Ok(false) };
                    if !self.hot.left.is_null() {
                        self.patch(link, next, page, to);
                    }
                    // SAFETY: as in `chase`.
                    unsafe { drive(self, Block::ops(next)) };
                }
                Leave::Indirect => {
                    let (to, patch) = (self.hot.to, std::mem::replace(&mut self.hot.patch, std::ptr::null()));
                    let Some(next) = self.enter(to, mode)? else { return Ok(false) };
                    self.remember_jump(to, next);
                    if !patch.is_null() && !self.hot.left.is_null() {
                        Cpu::patch_return(patch, next);
                    }
                    // SAFETY: as in `chase`.
                    unsafe { drive(self, Block::ops(next)) };
                }
                Leave::General => {
                    self.give_back(false);
                    self.general()?;
                    return Ok(!self.must_look());
                }
                Leave::Stopped => {
                    let stop = self.engine.stop.take().expect("an instruction stopped");
                    self.give_back(false);
                    self.stopped(stop)?;
                    return Ok(!self.must_look());
                }
                Leave::Done => {
                    self.give_back(true);
                    self.rip = self.next_rip;
                    return Ok(!self.must_look());
                }
                Leave::Ended => {
                    self.rip = self.next_rip;
                    if self.must_look() {
                        return Ok(false);
                    }
                    mode = self.mode();
                    self.begin(mode);
                    let to = self.code_address(self.rip);
                    let Some(next) = self.enter_cached(to, mode)? else { return Ok(false) };
                    // SAFETY: as in `chase`.
                    unsafe { drive(self, Block::ops(next)) };
                }
                Leave::None | Leave::Pair | Leave::Book => return Ok(false),
            }
        }
    }

    /// Reaches linear address `to`: its block, paid for, with the page cell set; `None` when that took the whole way
    /// round (`rip` is set, the caller goes back).
    fn enter(&mut self, to: u64, mode: Mode) -> Result<Option<*const Block>, Box<Missing>> {
        let (base, mask) = self.code_frame();
        self.rip = to.wrapping_sub(base) & mask;
        let to = self.code_address(self.rip);
        match self.reach(to, mode) {
            Ok(Reach::Block(block)) => {
                self.regs[cell::PAGE] = to & !0xfff;
                return Ok(Some(block));
            }
            Ok(Reach::Short) if self.left() > 0 => self.general()?,
            Ok(Reach::Short) => {}
            Err(stop) => self.stopped(stop)?,
        }
        Ok(None)
    }

    /// As `enter`, through the jump cache.
    fn enter_cached(&mut self, to: u64, mode: Mode) -> Result<Option<*const Block>, Box<Missing>> {
        let jump = self.engine.jumps[super::hot::jump_index(to)];
        if jump.key == to ^ self.hot.generation && self.pay(jump.block) {
            self.regs[cell::PAGE] = to & !0xfff;
            return Ok(Some(jump.block));
        }
        let next = self.enter(to, mode)?;
        if let Some(block) = next {
            self.remember_jump(to, block);
        }
        Ok(next)
    }

    /// Takes the cost of `block` from the budget, if it is alive and the budget allows.
    fn pay(&mut self, block: *const Block) -> bool {
        // SAFETY: callers hold live blocks or UNLINKED.
        let after = self.hot.countdown.wrapping_add(unsafe { (*block).packed });
        if after < 0 {
            self.hot.countdown = after;
        }
        after < 0
    }

    /// Finds or makes the block at linear address `at` and pays for it.
    ///
    /// # Errors
    /// What fetching raises.
    fn reach(&mut self, at: u64, mode: Mode) -> Result<Reach, Stop> {
        if self.left() == 0 {
            return Ok(Reach::Short);
        }
        let block = self.block_at(at, mode)?;
        Ok(if self.is_within_code(block, mode) && self.pay(block) { Reach::Block(block) } else { Reach::Short })
    }

    /// Does `block`, which begins at `rip`, end within the limit of CS? The general path raises what is to be raised.
    ///
    /// Differs: a link or a cached jump that was made under another base or limit of CS is not looked at again.
    fn is_within_code(&self, block: *const Block, mode: Mode) -> bool {
        // SAFETY: the caller holds a live block.
        let bytes = u64::from(unsafe { (*block).bytes });
        mode.long() || self.rip.wrapping_add(bytes) <= u64::from(self.seg[Seg::Cs as usize].limit) + 1
    }

    fn block_at(&mut self, at: u64, mode: Mode) -> Result<*const Block, Stop> {
        let page = self.fetch_page(at)?;
        let start = (at & 0xfff) as u16;
        if let Some(block) = self.engine.blocks.find(op::key(page, u32::MAX, start, mode.0)) {
            return Ok(block);
        }
        if self.engine.blocks.is_full() {
            self.forget_all_code();
        }
        let ram = Arc::clone(&self.ram);
        let mut bytes = [0; 4096 + 16];
        let first_page = 4096 - start as usize;
        read_host(&ram, page, start as usize, &mut bytes[..first_page]);
        let mut source = Source { bytes: &bytes[..first_page], first_page, start, mode };
        let (mut draft, page2) = match translate(&source, calls()) {
            Translated::Block(draft) => (draft, u32::MAX),
            Translated::Crosses => {
                let page2 = self.fetch_page(self.wrap_code(at.wrapping_add(first_page as u64)))?;
                if let Some(block) = self.engine.blocks.find(op::key(page, page2, start, mode.0)) {
                    return Ok(block);
                }
                read_host(&ram, page2, 0, &mut bytes[first_page..first_page + 16]);
                source = Source { bytes: &bytes[..first_page + 16], first_page, start, mode };
                match translate(&source, calls()) {
                    Translated::Block(draft) => (draft, page2),
                    Translated::Crosses => return Err(Stop::gp(0)),
                }
            }
        };
        (draft.head.page, draft.head.page2) = (page, page2);
        if mode.watched() {
            self.describe(&draft.head, &mut draft.slots, &draft.code);
        }
        for p in [page, page2] {
            if p != u32::MAX && ram.watchers(p as usize) & self.engine.blocks.me == 0 {
                self.protect(p as usize);
                self.engine.notes.code.push(p as usize);
            }
        }
        Ok(self.engine.blocks.add(draft, &ram))
    }

    pub(super) fn wrap_code(&self, at: u64) -> u64 {
        if self.is_64bit() { at } else { at & 0xffff_ffff }
    }

    /// Host page of the code at linear address `at`.
    ///
    /// # Errors
    /// #PF, #GP for a non-canonical address, `Unimplemented` when it is no memory.
    pub(super) fn fetch_page(&mut self, at: u64) -> Result<u32, Stop> {
        if self.is_64bit() && !self.canonical(at) {
            return Err(Stop::gp(0));
        }
        let key = (at & !0xfff) ^ self.hot.generation;
        let cached = (at >> 12) as usize % FETCHES;
        if self.engine.fetches[cached].0 == key {
            return Ok(self.engine.fetches[cached].1);
        }
        let who = Who { user: self.cpl == 3, may_touch_user: false };
        let translation = self.walk(at, Access::Execute, who)?;
        let Some(slot) = self.ram.slot(translation.at) else { return Err(Stop::Unimplemented) };
        let page = (slot.offset + translation.at.0 - slot.base.0) >> 12;
        self.note_executed(at, translation.global);
        self.engine.fetches[cached] = (key, page as u32);
        Ok(page as u32)
    }

    /// Links `link` to `block`, which is at linear address `to`; the branch is in the page at `page`.
    fn patch(&mut self, link: *const Link, block: *const Block, page: u64, to: u64) {
        let pages = ((to & !0xfff).wrapping_sub(page) as i64) >> 12;
        // SAFETY: `link` follows the op of a live block; the handlers are not running.
        unsafe {
            let crosses = (*block).page2 != u32::MAX;
            let link = link.cast_mut();
            if pages == i64::from((*link).pages) && !(crosses && (*link).pages == 0) {
                (*link).generation = (self.hot.generation >> 48) as u16;
                (*link).block = block;
            }
        }
    }

    /// Links what follows a call to `block`, if the page the call is in says for every address space that it goes there.
    fn patch_return(link: *const Link, block: *const Block) {
        // SAFETY: the return stack holds links of live blocks; the handlers are not running.
        unsafe {
            if (*link).pages == 0 && (*block).page2 == u32::MAX {
                (*link.cast_mut()).block = block;
            }
        }
    }

    /// The block of the op that left did not run to its end: takes back what was paid for the rest. `done`: the
    /// instruction of that op has retired.
    pub(super) fn give_back(&mut self, done: bool) {
        let (block, slot) = self.engine.blocks.owner(self.hot.left);
        let n = block.instruction_of(slot);
        let retired = n + usize::from(done);
        let at = self.regs[cell::PAGE].wrapping_add(block.offset_of(n));
        if retired < block.count as usize {
            // Only the last instruction of a block is a branch.
            let packed = block.cost;
            self.hot.countdown -= packed - ((retired as i64) << lane::INSTRUCTIONS);
            self.tell_cut(retired as u32);
        }
        if !done {
            let (base, mask) = self.code_frame();
            self.rip = at.wrapping_sub(base) & mask;
        }
    }

    /// After an instruction that may have changed anything: must the run loop look? Books a change of ring.
    fn must_look(&mut self) -> bool {
        if self.cpl != self.engine.ring {
            let changed = ring(self.cpl) != ring(self.engine.ring);
            self.settle();
            self.engine.ring = self.cpl;
            if changed && self.engine.counting {
                return true;
            }
        }
        self.engine.look
            || self.activity != Activity::Active
            || self.stepwise()
            || self.left() == 0
            || self.wants_service()
    }
}

/// The link of the direct branch `op` that was (not) taken.
fn link_of(op: *const op::Op, taken: bool) -> *const Link {
    op.wrapping_add(if taken { 1 } else { 2 }).cast()
}

fn ring(cpl: u8) -> Ring {
    if cpl == 3 { Ring::User } else { Ring::Kernel }
}

fn add(counts: &mut Counts, cpl: u8, facts: Facts) {
    let of = if cpl == 3 { &mut counts.user } else { &mut counts.kernel };
    of.instructions += facts.instructions;
    of.branches += facts.branches;
    of.conditional += facts.conditional;
    counts.pass(facts.instructions);
}

/// Copies bytes of host page `page` from `from`.
pub(super) fn read_host(ram: &emu_core::Ram, page: u32, from: usize, to: &mut [u8]) {
    assert!(from + to.len() <= 4096 && (page as u64) < ram.mapped_bytes() >> 12);
    // SAFETY: the page is within the mapping, as asserted.
    unsafe { std::ptr::copy_nonoverlapping(ram.host().add(page as usize * 4096 + from), to.as_mut_ptr(), to.len()) }
}
