//! The front end: lines and pages it fetches from, and who decodes (timing.md 3.6).
//!
//! Looked at when the line or the page changes, instruction by instruction, as they retire: what faulted may have been
//! cut off before or after it accessed memory, and the processor does not always say. So a line is fetched after what its
//! first instruction accesses. A line comes from the decoded stream buffer if
//! that holds it, else from the legacy decoder, which puts it there. What the L1I loses the buffer loses.

use super::Core;
use super::blocks::Block;
use super::books::{Pending, Run};
use super::cache::{Cache, Found};
use super::hierarchy::{Level, Request};
use super::ledger::Cause;
use super::parameters::Parameters;
use super::tlb::{self, Source, Tlbs};
use crate::signal::Signal;
use cpu_x86::monitor::{Translate, Walked};

/// No line, no page.
const NONE: u64 = u64::MAX;

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Front {
    line: u64,
    page: u64,
    /// Does the line come from the legacy decoder?
    decodes: bool,
    buffer: Cache,
    /// Lines that are the most recent ones of their sets in L1I and buffer, by the sets that both tell apart: to go to one of
    /// them changes nothing else.
    recent: Box<[u64]>,
    /// Pages and their translations, by the lowest bits of their numbers: see [`cpu_x86::monitor::Step::Page`].
    walks: Box<[(u64, Walked); 64]>,
    /// The translation of the page that the block entered last runs into, if it does.
    next: Walked,
}

impl Front {
    pub fn new(p: &Parameters) -> Front {
        let sets = p.l1i.sets.min(p.dsb.sets) as usize;
        Front {
            line: NONE,
            page: NONE,
            decodes: false,
            buffer: Cache::new(p.dsb),
            recent: vec![NONE; sets].into(),
            walks: Box::new([(NONE, Walked::default()); 64]),
            next: Walked::default(),
        }
    }

    /// Instructions come from the page of linear address `at` now, if that changes nothing else.
    #[inline]
    pub fn turns_to(&mut self, at: u64, tlbs: &Tlbs) -> bool {
        let turns = at >> 12 == self.page || tlbs.fetches_quietly(at);
        if turns {
            self.page = at >> 12;
        }
        turns
    }

    /// Instructions come from `line` now, and from the buffer, if that changes nothing else.
    #[inline]
    pub fn moves_to(&mut self, line: u64) -> bool {
        if line == self.line {
            return !self.decodes;
        }
        let set = line as usize & (self.recent.len() - 1);
        let moves = self.recent.get(set) == Some(&line);
        if moves {
            (self.line, self.decodes) = (line, false);
        }
        moves
    }

    /// As [`Front::moves_to`] through so many `lines` behind `line`, which is that of the linear address `at`. False: it has
    /// come to one of them at most, and may be asked again.
    #[inline]
    pub fn passes(&mut self, at: u64, line: u64, lines: u8, tlbs: &Tlbs) -> bool {
        self.turns_to(at, tlbs)
            && self.moves_to(line)
            && (lines == 0 || (1..=u64::from(lines)).all(|n| self.moves_to(line + n)))
    }

    /// `line` is the most recent one of its sets.
    fn notice(&mut self, line: u64) {
        let set = line as usize & (self.recent.len() - 1);
        self.recent[set] = line;
    }

    /// No line of its sets is known to be the most recent one.
    fn forget_line(&mut self, line: u64) {
        let set = line as usize & (self.recent.len() - 1);
        self.recent[set] = NONE;
    }

    /// Without what only saves time.
    #[cfg(test)]
    pub fn hushed(mut self) -> Front {
        self.recent.fill(NONE);
        self
    }

    pub fn decodes(&self) -> bool {
        self.decodes
    }

    /// A block at `at` may be fetched soon, or the instruction before it fault: asks for the translations it would need.
    #[inline]
    pub fn look_ahead(&mut self, at: u64, next_page: bool, tlbs: &Tlbs, translate: &mut dyn Translate) {
        let page = at >> 12;
        let turns = self.turns_to(at, tlbs);
        let walk = &mut self.walks[page as usize & 63];
        if !turns || walk.0 != page {
            *walk = (page, translate.walked(at));
        }
        if next_page {
            self.next = translate.walked((at | 0xfff).wrapping_add(1));
        }
    }

    /// Translations changed: the next page is looked up even if it is this one.
    pub fn forget_page(&mut self) {
        self.page = NONE;
    }

    /// A branch was taken: a line that was being decoded is in the buffer when it is come back to.
    #[inline]
    pub fn turn(&mut self) {
        if self.decodes {
            self.line = NONE;
        }
    }

    /// A line left the caches.
    pub fn flush_line(&mut self, line: u64) {
        self.buffer.remove(line);
        self.forget_line(line);
        if self.line == line {
            self.line = NONE;
        }
    }

    /// All lines did.
    pub fn flush(&mut self) {
        self.buffer.clear();
        self.recent.fill(NONE);
        self.line = NONE;
    }
}

impl Core {
    /// Instructions come from linear page `page` now, translated so.
    #[inline]
    fn fetch_page(&mut self, page: u64, walked: Walked) {
        if page != self.front.page {
            self.front.page = page;
            self.translate_fetch(page << 12, walked);
        }
    }

    fn translate_fetch(&mut self, linear: u64, walked: Walked) {
        match self.tlbs.fetch(linear, || walked) {
            Source::First | Source::Nothing => {}
            Source::Second => {
                self.books.now()[Signal::ItlbStlbHit] += 1;
                self.books.claim(Cause::Itlb, self.p.stlb_cycles, &self.p);
            }
            Source::Walk { size, reads } => {
                let by_size = [Signal::ItlbWalk4k, Signal::ItlbWalk2m, Signal::ItlbWalk1g];
                self.books.now()[by_size[usize::from(size)]] += 1;
                let mut cycles = self.p.stlb_cycles;
                // Differs: these reads go around the L1D, whose contents the processor may rely on.
                for entry in tlb::read(&walked, reads) {
                    let totals = self.books.totals.of_mut(self.books.ring);
                    cycles += self.p.latency[self.caches.beyond(entry >> 6, Request::Walk, totals) as usize];
                }
                self.books.claim(Cause::Itlb, cycles, &self.p);
            }
        }
    }

    /// Instructions come from physical line `line` now.
    #[inline]
    fn fetch_line(&mut self, line: u64) {
        if line != self.front.line {
            self.front.line = line;
            self.change_line(line);
        }
    }

    fn change_line(&mut self, line: u64) {
        let totals = self.books.totals.of_mut(self.books.ring);
        let (level, gone) = self.caches.code(line, totals);
        if let Some(gone) = gone {
            self.front.buffer.remove(gone);
        }
        if level != Level::L1 {
            let cycles = self.p.latency[level as usize].saturating_sub(self.p.run_ahead);
            self.books.claim(Cause::Icache, cycles, &self.p);
        }
        self.front.decodes = level != Level::L1 || self.front.buffer.touch(line, 0) == Found::Not;
        if self.front.decodes {
            self.books.now()[Signal::DsbMisses] += 1;
            self.front.buffer.remove(line);
            self.front.buffer.fill(line, 0);
        }
        self.front.notice(line);
    }

    /// Fetches the line of a block's first byte, which is at `at`.
    #[inline]
    pub(super) fn fetch_first(&mut self, at: u64, line: u64) {
        self.fetch_page(at >> 12, self.front.walks[(at >> 12) as usize & 63].1);
        self.fetch_line(line);
    }

    /// Translations are about to change, by an instruction of the pending run: it was fetched.
    pub(super) fn fetch_pending(&mut self) {
        let Some(p) = self.pending.filter(|p| !p.started && p.ran != Some(0)) else { return };
        if let Some(block) = self.blocks.block(p.number) {
            self.fetch_first(p.at, block.line);
            self.pending = Some(Pending { started: true, ..p });
        }
    }

    /// Fetches the lines of the pending run up to the one `lines` behind its block's `first` if they are in L1I and
    /// decoded stream buffer, as the line before them is: then it does not matter which instruction comes first in them.
    /// False: one is not; it was not fetched.
    #[inline]
    pub(super) fn hold_lines(&mut self, first: u64, lines: u8) -> bool {
        let Some(p) = &mut self.pending else { return true };
        p.started = true;
        while p.line < lines {
            let line = first + u64::from(p.line) + 1;
            if self.front.line != line {
                let held = self.caches.has_code(line) && self.front.buffer.touch(line, 0) != Found::Not;
                self.front.forget_line(line);
                if !held {
                    return false;
                }
                self.front.notice(line);
            }
            self.front.line = line;
            p.line += 1;
        }
        true
    }

    /// Fetches what the first `to` instructions of the pending run lie in.
    #[inline]
    pub(super) fn fetch_to(&mut self, p: &mut Pending, block: &Block, to: u32) {
        if to == 0 {
            return;
        }
        if !p.started {
            p.started = true;
            self.fetch_first(p.at, block.line);
        }
        if block.lines > 0 {
            self.fetch_lines(p, block, to);
        }
    }

    fn fetch_lines(&mut self, p: &mut Pending, block: &Block, to: u32) {
        let last = self.blocks.facts(block)[to as usize - 1].line;
        while p.line < last {
            // What comes before the first instruction that has a part in the next line.
            let before = self.blocks.facts(block)[..to as usize].partition_point(|f| f.line <= p.line) as u32;
            self.advance(p, block, before);
            p.line += 1;
            let next = (block.line & 63) + u64::from(p.line);
            match block.next_page {
                Some(page) if next >= 64 => {
                    self.fetch_page((p.at >> 12).wrapping_add(1), self.front.next);
                    self.fetch_line(page + next - 64);
                }
                _ => self.fetch_line(block.line + u64::from(p.line)),
            }
        }
    }

    /// Takes the ledger through the pending run up to before instruction `to`.
    pub(super) fn advance(&mut self, p: &mut Pending, block: &Block, to: u32) {
        let run = Run { block, facts: self.blocks.facts(block), pending: p, outcomes: &self.outcomes };
        self.books.advance(&run, to, self.front.decodes, &self.p);
        p.entered = p.entered.max(to);
    }
}
