//! The usual way through blocks: a plain one (no instruction of it needs a look of its own) runs to its end, from lines
//! that the decoded stream buffer supplies. All else goes the general way, which comes to the same.

use super::blocks::MOST_RUNS;
use super::books::{Pending, Run, synchronize};
use super::facts::Fusible;
use super::ledger::WIDTH;
use super::memory::Lines;
use super::predictor::{Resolved, Verdict};
use super::taken::BranchKind;
use super::{Core, Wake};
use cpu_x86::monitor::{Packed, Step};

/// What is not usual of a run that else is: its accesses, and the stack engine's offset.
#[derive(Clone, Copy, Default)]
struct Other {
    /// Is anything?
    is_any: bool,
    /// How far the ledger is, and how many slots stayed empty so far.
    entered: u32,
    left: u32,
    /// As in [`Pending`].
    line: u8,
    noted: bool,
    synchronizes: bool,
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
                Step::Page(page) => self.page = page << 12,
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
        let (mut number, mut at, mut last) = (p.number, p.at, p.last);
        let (mut passed, mut other) = (0, Other::default());
        while let Some(step) = steps.get(passed) {
            match step.step() {
                Step::Block(next) => {
                    let Some(block) = self.blocks.quick(number) else { break };
                    let (line, lines, idle) = (block.line, block.lines, block.idle);
                    if !block.plain || !self.front.passes(at, line, lines, &self.tlbs) {
                        break;
                    }
                    let Some((to, names_stack)) = self.entrance(next) else { break };
                    if other.is_any {
                        self.leave_other(number, idle, std::mem::take(&mut other));
                    } else {
                        self.books.ledger.leave_empty(idle.into());
                    }
                    self.retire_quickly(number, at, to);
                    let repeats = next == number && lines == 0;
                    (number, at, last, passed) = (next, to, Pending::NO_ACCESS, passed + 1);
                    if self.wake.pushed && names_stack {
                        (other.is_any, other.synchronizes) = (true, true);
                    } else if repeats {
                        passed += self.pass_again(number, at, &steps[passed..], &mut last);
                    }
                }
                Step::Page(page) => {
                    self.page = page << 12;
                    passed += 1;
                }
                Step::Access { line, splits, write, instruction } => {
                    if splits || !self.caches.hits(line, write) {
                        let a = Lines { line, splits, write, instruction: instruction.into() };
                        if !self.miss(number, at, &mut other, &a) {
                            break;
                        }
                    }
                    (last, passed) = ((WITHIN, instruction.into()), passed + 1);
                }
            }
        }
        if passed > 0 {
            let Other { entered, line, noted, synchronizes, .. } = other;
            let plain = Pending::new(number, at, self.books.ring);
            self.pending = Some(Pending { synchronizes, last, entered, started: entered > 0, line, noted, ..plain });
        }
        passed
    }

    /// A run at `at` through block `number`, which is usual but for `other`, makes this access, which is no hit of one line in
    /// the L1D. False: more is unusual, and nothing was done.
    #[inline(never)]
    fn miss(&mut self, number: u32, at: u64, other: &mut Other, a: &Lines) -> bool {
        let Some(block) = self.blocks.peek(number).filter(|b| b.plain && a.instruction < b.n) else { return false };
        if other.synchronizes {
            return false;
        }
        let (facts, n) = (self.blocks.facts(block), a.instruction as usize);
        let memory = facts[n].memory;
        if a.instruction > other.entered {
            let line = facts[n - 1].line;
            if !self.front.passes(at, block.line, line, &self.tlbs) {
                return false;
            }
            let uops = facts[n].before - facts[other.entered as usize].before;
            let left = WIDTH * (a.instruction - other.entered) - uops;
            self.books.ledger.leave_empty(left);
            (other.left, other.entered, other.line) = (other.left + left, a.instruction, line);
        }
        other.is_any = true;
        let level = self.serve_lines(a, memory);
        self.outcomes.note_all(&mut other.noted, a, memory, level, false);
        true
    }

    /// Books the rest of a run through block `number`, which leaves `idle` slots empty, and `other`.
    #[inline(never)]
    fn leave_other(&mut self, number: u32, idle: u16, other: Other) {
        let Some(block) = self.blocks.peek(number) else { return };
        let totals = self.books.totals.of_mut(self.books.ring);
        if other.noted {
            self.outcomes.add(block.n, totals);
        }
        if let Some(n) = block.names_stack.filter(|_| other.synchronizes) {
            synchronize(&self.blocks.facts(block)[n as usize], totals);
        }
        let taken = other.left + u32::from(other.synchronizes);
        self.books.ledger.leave_empty(u32::from(idle).saturating_sub(taken));
    }

    /// Control passes through `steps`, from a run that came from its own block, as long as it comes back to itself and all
    /// goes as usual: through how many of them. What such a run changes beyond counts is the predictor.
    fn pass_again(&mut self, number: u32, at: u64, steps: &[Packed], last: &mut (u64, u32)) -> usize {
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
                    (*last, runs) = (Pending::NO_ACCESS, runs + 1);
                }
                Step::Access { line, splits: false, write, instruction } if self.caches.hits(line, write) => {
                    *last = (WITHIN, instruction.into());
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
            if !self.front.turns_to(p.at, &self.tlbs) || !self.front.moves_to(first) {
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
