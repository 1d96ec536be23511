//! The usual way through blocks: a plain one (no instruction of it needs a look of its own) runs to its end, from lines
//! that the decoded stream buffer supplies. All else goes the general way, which comes to the same.

use super::blocks::MOST_RUNS;
use super::books::{Pending, Run};
use super::facts::Fusible;
use super::predictor::Resolved;
use super::taken::BranchKind;
use super::{Core, Wake};

impl Core {
    /// Control passes through these blocks, in the page and the ring entered last.
    pub(super) fn pass_through(&mut self, numbers: &[u32]) {
        for &number in numbers {
            let Some(next) = self.blocks.quick(number) else { continue };
            let (to, names_stack) = (self.page | u64::from(next.start), next.names_stack);
            if self.close_quickly(to) {
                let synchronizes = self.wake.pushed && names_stack;
                self.pending = Some(Pending { synchronizes, ..Pending::new(number, to, self.books.ring) });
            } else {
                self.close_in_full(Some(to));
                self.begin(number, to, self.books.ring);
            }
        }
        self.passed(numbers.len() as u64);
    }

    /// So many blocks were entered: what they count is added up before a count of runs overflows.
    #[inline]
    pub(super) fn passed(&mut self, blocks: u64) {
        self.unfolded += blocks;
        if self.unfolded > MOST_RUNS {
            self.fold();
        }
    }

    /// Adds up what blocks count.
    pub(super) fn fold(&mut self) {
        self.unfolded = 0;
        self.blocks.fold(&mut self.books.totals);
    }

    /// Books the pending run, which went to `to`; the caller takes it away. False: it did not go the usual way, and it may have been fetched in part.
    #[inline(always)]
    pub(super) fn close_quickly(&mut self, to: u64) -> bool {
        let Some(p) = &self.pending else { return false };
        let (number, at) = (p.number, p.at);
        let Some(block) = self.blocks.quick(number) else { return false };
        let (line, lines) = (block.line, block.lines);
        if !block.plain || p.ran.is_some() || p.fused || self.taken.is_on() || !self.supplied(line, lines) {
            return false;
        }
        if self.pending.as_ref().is_some_and(Pending::is_usual) {
            let Some(block) = self.blocks.quick(number) else { return false };
            self.books.ledger.leave_empty(block.idle.into());
        } else {
            self.book_differences();
        }
        self.retire_quickly(number, at, to);
        true
    }

    /// What the pending run, which ran to its end, has had beyond what its block always has.
    #[inline(never)]
    fn book_differences(&mut self) {
        let Some(p) = &self.pending else { return };
        let Some(block) = self.blocks.peek(p.number) else { return };
        let run = Run { block, facts: self.blocks.facts(block), pending: p, outcomes: &self.outcomes };
        self.books.ledger.run(block.n - p.entered, run.slots_of(p.entered, block.n));
        self.books.retire_differences(&run, block.n);
    }

    /// Block `number` ran at `at`, and went to `to`; its slots are booked.
    #[inline(always)]
    fn retire_quickly(&mut self, number: u32, at: u64, to: u64) {
        let Some(block) = self.blocks.quick(number) else { return };
        self.books.retire_plainly(block.n.into());
        let (ip, end) = (at.wrapping_add(block.last.into()), at.wrapping_add(block.bytes.into()));
        let pushed = block.stack.unwrap_or(self.wake.pushed);
        self.wake = Wake { ip, end, fusible: Fusible::Never, pushed };
        let mut counts = false;
        if let Some(kind) = block.branch {
            if block.page != at & !0xfff {
                (block.page, block.site) = (at & !0xfff, self.predictor.site(ip));
            }
            let taken = kind != BranchKind::Conditional || to != end;
            counts = taken && kind != BranchKind::Other;
            let verdict = self.predictor.resolve(&Resolved { kind, from: ip, to, behind: end, taken }, &block.site);
            if verdict.is_costly(&self.p) {
                self.pay_for(kind, taken, &verdict);
            }
        }
        self.blocks.ran(number, self.books.ring, counts);
    }

    /// Fetches the first line of the pending run, `first`, and so many `lines` behind it, as far as that was not done. False: one
    /// does not come from the decoded stream buffer, and those behind it were not fetched.
    #[inline(always)]
    pub(super) fn supplied(&mut self, first: u64, lines: u8) -> bool {
        let Some(p) = &mut self.pending else { return false };
        if !p.started {
            if !self.front.is_in(p.at) || !self.front.moves_to(first) {
                return self.supplied_slowly(first, lines);
            }
            p.started = true;
        } else if self.front.decodes() {
            return false;
        }
        while p.line < lines {
            if !self.front.moves_to(first + u64::from(p.line) + 1) {
                return self.supplied_slowly(first, lines);
            }
            p.line += 1;
        }
        true
    }

    #[inline(never)]
    fn supplied_slowly(&mut self, first: u64, lines: u8) -> bool {
        if let Some(at) = self.pending.as_ref().filter(|p| !p.started).map(|p| p.at) {
            self.fetch_first(at, first);
        }
        if let Some(p) = &mut self.pending {
            p.started = true;
        }
        !self.front.decodes() && self.hold_lines(first, lines)
    }
}
