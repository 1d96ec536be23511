//! The usual way through blocks: a plain one (no instruction of it needs a look of its own) runs to its end, from lines
//! that the decoded stream buffer supplies. All else goes the general way, which comes to the same.

use super::blocks::MOST_RUNS;
use super::books::{Pending, Run};
use super::facts::Fusible;
use super::ledger::WIDTH;
use super::memory::Lines;
use super::predictor::{Resolved, Verdict};
use super::taken::BranchKind;
use super::{Core, Wake};
use cpu_x86::monitor::{Packed, Step};

/// A run through a plain block of which nothing is unusual but its accesses.
#[derive(Clone, Copy, Default)]
struct Usual {
    number: u32,
    /// Linear address of the first byte.
    at: u64,
    /// How far the ledger is, and how many slots stayed empty so far.
    entered: u32,
    left: u32,
    /// As in [`Pending`].
    line: u8,
    noted: bool,
    last: (u64, u32),
}

/// Where an access ended that did not end with its page.
pub(super) const WITHIN: u64 = 1;

impl Core {
    /// These steps are taken, in the page and the ring entered last.
    pub(super) fn pass_through(&mut self, steps: &[Packed]) {
        let mut ahead = steps;
        while let Some((step, behind)) = ahead.split_first() {
            match step.step() {
                Step::Block(number) => self.pass_to(number),
                Step::Access { line, splits, write, instruction } => {
                    self.pass_access(&Lines { line, splits, write, instruction: instruction.into() });
                }
            }
            ahead = &behind[self.pass_usually(behind)..];
        }
        self.passed(steps.len() as u64);
    }

    /// Control passes to block `number`.
    fn pass_to(&mut self, number: u32) {
        let Some((to, names_stack)) = self.entrance(number) else { return };
        if self.close_quickly(to) {
            let synchronizes = self.wake.pushed && names_stack;
            self.pending = Some(Pending { synchronizes, ..Pending::new(number, to, self.books.ring) });
        } else {
            self.close_in_full(Some(to));
            self.begin(number, to, self.books.ring);
        }
    }

    /// Control passes through `steps`, from the pending run, as long as all goes as usual, or only its accesses do not: through
    /// how many of them. No run among them but the last is ever pending.
    fn pass_usually(&mut self, steps: &[Packed]) -> usize {
        let Some(p) = self.pending.as_ref().filter(|p| p.is_usual() && p.ran.is_none() && !p.started) else { return 0 };
        if self.taken.is_on() {
            return 0;
        }
        let mut run = Usual { number: p.number, at: p.at, last: p.last, ..Usual::default() };
        let (mut passed, mut synchronizes) = (0, false);
        while let Some(step) = steps.get(passed) {
            match step.step() {
                Step::Block(next) => {
                    let Some(block) = self.blocks.quick(run.number) else { break };
                    let (line, lines, idle) = (block.line, block.lines, block.idle);
                    if !block.plain || synchronizes || !self.front.passes(run.at, line, lines) {
                        break;
                    }
                    let Some((to, names_stack)) = self.entrance(next) else { break };
                    self.books.ledger.leave_empty(u32::from(idle) - run.left);
                    if run.noted {
                        self.note_usual(&run);
                    }
                    self.retire_quickly(run.number, run.at, to);
                    synchronizes = self.wake.pushed && names_stack;
                    let repeats = next == run.number && lines == 0 && !synchronizes;
                    run = Usual { number: next, at: to, last: Pending::NO_ACCESS, ..Usual::default() };
                    passed += 1;
                    if repeats {
                        passed += self.pass_again(&mut run, &steps[passed..]);
                    }
                }
                Step::Access { line, splits, write, instruction } => {
                    if !splits && self.caches.hits(line, write) {
                        run.last = (WITHIN, instruction.into());
                    } else {
                        let a = Lines { line, splits, write, instruction: instruction.into() };
                        if synchronizes || !self.miss(&mut run, &a) {
                            break;
                        }
                    }
                    passed += 1;
                }
            }
        }
        if passed > 0 {
            let Usual { number, at, last, entered, line, noted, .. } = run;
            let plain = Pending::new(number, at, self.books.ring);
            self.pending = Some(Pending { synchronizes, last, entered, started: entered > 0, line, noted, ..plain });
        }
        passed
    }

    /// A usual run makes this access, which is no hit of one line in the L1D. False: it is not so usual, and nothing was done.
    #[inline(never)]
    fn miss(&mut self, run: &mut Usual, a: &Lines) -> bool {
        let Some(block) = self.blocks.peek(run.number).filter(|b| b.plain && a.instruction < b.n) else { return false };
        let (facts, n) = (self.blocks.facts(block), a.instruction as usize);
        let memory = facts[n].memory;
        if a.instruction > run.entered {
            let line = facts[n - 1].line;
            if !self.front.passes(run.at, block.line, line) {
                return false;
            }
            let uops = facts[n].before - facts[run.entered as usize].before;
            let left = WIDTH * (a.instruction - run.entered) - uops;
            self.books.ledger.leave_empty(left);
            (run.left, run.entered, run.line) = (run.left + left, a.instruction, line);
        }
        let level = self.serve_lines(a, memory);
        run.last = (WITHIN, a.instruction);
        self.outcomes.note_all(&mut run.noted, a, memory, level, false);
        true
    }

    /// Adds up what became of the accesses of a run that ends.
    fn note_usual(&mut self, run: &Usual) {
        let Some(block) = self.blocks.quick(run.number) else { return };
        self.outcomes.add(block.n.into(), self.books.totals.of_mut(self.books.ring));
    }

    /// Control passes through `steps`, from a run that came from its own block, as long as it comes back to itself and all
    /// goes as usual: through how many of them. What such a run changes beyond counts is the predictor.
    fn pass_again(&mut self, run: &mut Usual, steps: &[Packed]) -> usize {
        let (number, at) = (run.number, run.at);
        let Some(block) = self.blocks.quick(number) else { return 0 };
        if block.branch != Some(BranchKind::Conditional) || self.p.bubble[0] > 0 {
            return 0;
        }
        let (from, behind) = (at.wrapping_add(block.last.into()), at.wrapping_add(block.bytes.into()));
        let (taken, site) = (behind != at, block.site);
        let (mut passed, mut runs, mut mispredicted) = (0, 0, false);
        for step in steps {
            match step.step() {
                Step::Block(next) if next == number && taken => {
                    mispredicted = self.predictor.repeat(from, at, &site);
                    (run.last, runs) = (Pending::NO_ACCESS, runs + 1);
                }
                Step::Access { line, splits: false, write, instruction } if self.caches.hits(line, write) => {
                    run.last = (WITHIN, instruction.into());
                }
                _ => break,
            }
            passed += 1;
            if mispredicted {
                break;
            }
        }
        if let Some(block) = self.blocks.quick(number) {
            block.ran_on(self.books.ring, runs);
            self.books.ledger.leave_empty(u32::from(block.idle) * runs);
            self.books.retire_plainly(u32::from(block.n) * runs);
        }
        if mispredicted {
            self.pay_for(BranchKind::Conditional, true, &Verdict { mispredicted, ..Verdict::default() });
        }
        passed
    }

    /// Where block `number` begins, in the page entered last, and whether it may need what was pushed before it.
    #[inline(always)]
    fn entrance(&mut self, number: u32) -> Option<(u64, bool)> {
        let block = self.blocks.quick(number)?;
        Some((self.page | u64::from(block.start), block.names_stack))
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
        let (mut counts, mut costs) = (false, None);
        if let Some(kind) = block.branch {
            if block.page != at & !0xfff {
                (block.page, block.site) = (at & !0xfff, self.predictor.site(ip));
            }
            let taken = kind != BranchKind::Conditional || to != end;
            counts = taken && kind != BranchKind::Other;
            let verdict = self.predictor.resolve(&Resolved { kind, from: ip, to, behind: end, taken }, &block.site);
            costs = verdict.is_costly(&self.p).then_some((kind, taken, verdict));
        }
        if block.ran(self.books.ring, counts) {
            self.blocks.list(number);
        }
        if let Some((kind, taken, verdict)) = costs {
            self.pay_for(kind, taken, &verdict);
        }
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
