//! The core's micro-architecture at the `atomic` level of timing.md: what a Sapphire Rapids core would have predicted,
//! cached and translated, and where its slots went, when every instruction takes one cycle.
//!
//! [`Core`] is a [`cpu_x86::Monitor`]: it is told blocks, accesses and happenings, and keeps [`Signals`]. What a block counts
//! whatever happens is added up when totals are read; while it runs, only what can differ is looked at: where its last
//! branch went, lines and pages that are new to the front end, and accesses that the processor does not leave out.
//!
//! Every total is the same however the stream of instructions is cut into blocks, and whether or not accesses are left
//! out under the contract of [`cpu_x86::monitor::Touched`]; only [`Core::last_load`] and [`Core::last_store`] must see all
//! accesses (see [`Core::observe_all`]). Not modelled, and zero: fill-buffer hits, store forwarding, memory
//! ordering, prefetching, the wrong path, other cores' lines.

mod blocks;
mod books;
mod cache;
mod direction;
mod facts;
mod fetch;
mod hierarchy;
mod history;
mod ledger;
mod memory;
mod parameters;
mod pass;
mod predictor;
mod taken;
#[cfg(test)]
mod tests;
mod tlb;
mod uops;

pub use hierarchy::Level;
pub use memory::MemoryInfo;
pub use parameters::{Geometry, Parameters};
pub use taken::{Branch, BranchKind};

use crate::signal::{Signal, Signals};
use blocks::{Block, Blocks, SINGLE};
use books::{Books, Outcomes, Pending, Run};
use cpu_x86::monitor::{Code, DataAccess, Happening, Packed, Touched, Translate};
use cpu_x86::{Monitor, Ring};
use facts::Fusible;
use fetch::Front;
use hierarchy::Hierarchy;
use ledger::Cause;
use predictor::{Predictor, Resolved, Verdict};
use tlb::{Flush, Tlbs};

/// What the instruction that retired last leaves for the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wake {
    /// Its linear address.
    ip: u64,
    /// The address behind it.
    end: u64,
    fusible: Fusible,
    /// The stack engine holds an offset.
    pushed: bool,
}

impl Wake {
    /// After the instruction from `start` to `end` of a run at `at`.
    fn after(at: u64, start: u32, end: u32, fusible: Fusible, pushed: bool) -> Wake {
        Wake { ip: at.wrapping_add(start.into()), end: at.wrapping_add(end.into()), fusible, pushed }
    }
}

/// A core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    p: Parameters,
    /// Cycles that a store, and a load, waits longer for a level than for the L1D.
    waits: [[u32; 2]; 4],
    blocks: Blocks,
    /// Blocks entered since what they count was added up.
    unfolded: u64,
    /// Linear page entered last.
    page: u64,
    pending: Option<Pending>,
    /// Those of the pending run's accesses, when it says so.
    outcomes: Outcomes,
    wake: Wake,
    /// The pending run ended with a conditional branch that was taken to the next instruction.
    taken_to_next: bool,
    books: Books,
    front: Front,
    caches: Hierarchy,
    tlbs: Tlbs,
    predictor: Predictor,
    taken: taken::Queue,
    memory: memory::Last,
}

impl Core {
    /// A core with empty caches that knows no branch.
    ///
    /// # Panics
    /// When `p` breaks the bounds its fields state.
    pub fn new(p: &Parameters) -> Core {
        p.check();
        Core {
            p: *p,
            waits: p.waits(),
            blocks: Blocks::new(),
            unfolded: 0,
            page: 0,
            pending: None,
            outcomes: Outcomes::default(),
            wake: Wake::default(),
            taken_to_next: false,
            books: Books::new(),
            front: Front::new(p),
            caches: Hierarchy::new(p),
            tlbs: Tlbs::new(p),
            predictor: Predictor::new(p),
            taken: taken::Queue::default(),
            memory: memory::Last::default(),
        }
    }

    /// All totals at the instruction boundary where the processor stands: with the block entered last as far as it ran.
    /// `before_last` leaves out that block's last instruction: an RDPMC or RDMSR, which does not count itself.
    pub fn signals_at(&mut self, before_last: bool) -> Signals {
        self.fold();
        self.books.settle();
        let Some((mut p, block)) = self.taken_out() else { return self.books.clone().read() };
        let mut ran = p.ran.unwrap_or(block.n);
        if before_last && p.ran.is_none() {
            ran -= 1;
        }
        self.fetch_to(&mut p, &block, ran);
        self.pending = Some(p);
        let mut books = self.books.clone();
        let run = Run { block: &block, facts: self.blocks.facts(&block), pending: &p, outcomes: &self.outcomes };
        books.advance(&run, ran, self.front.decodes(), &self.p);
        books.retire(&run, ran, false);
        books.read()
    }

    /// Linear address of the instruction that retired last.
    pub fn last_ip(&self) -> u64 {
        let last = self.pending.and_then(|p| {
            let block = self.blocks.block(p.number)?;
            let n = p.ran.unwrap_or(block.n).checked_sub(1)?;
            Some(p.at.wrapping_add(u64::from(self.blocks.facts(&block)[n as usize].start)))
        });
        last.unwrap_or(self.wake.ip)
    }

    /// Books what is pending without saying where its branch went: for when the core stops being told.
    pub fn stop(&mut self) {
        self.close(None);
    }

    /// Keeps taken branches for [`Core::next_branch`], or no more. 16 wait at most, so that whoever wants them all asks
    /// after every call of [`Monitor`]'s: a call adds two at most.
    pub fn record_branches(&mut self, on: bool) {
        self.taken.switch(on);
    }

    /// Are taken branches kept?
    #[inline]
    pub fn records_branches(&self) -> bool {
        self.taken.is_on()
    }

    /// The oldest branch that was not handed out yet.
    pub fn next_branch(&mut self) -> Option<Branch> {
        self.taken.next()
    }

    /// The pending run and its block; the caller puts it back or books it.
    fn taken_out(&mut self) -> Option<(Pending, Block)> {
        let p = self.pending.take()?;
        self.blocks.block(p.number).map(|block| (p, block))
    }

    /// Books the pending run, which went to `to` if that is known.
    #[inline]
    fn close(&mut self, to: Option<u64>) {
        if to.is_some_and(|to| self.close_quickly(to)) {
            self.pending = None;
        } else {
            self.close_in_full(to);
        }
    }

    #[inline(never)]
    fn close_in_full(&mut self, to: Option<u64>) {
        let Some((mut p, block)) = self.taken_out() else { return };
        let ran = p.ran.unwrap_or(block.n);
        self.fetch_to(&mut p, &block, ran);
        let run = Run { block: &block, facts: self.blocks.facts(&block), pending: &p, outcomes: &self.outcomes };
        self.books.advance(&run, ran, self.front.decodes(), &self.p);
        let whole = ran == block.n;
        let counted = whole && p.number != SINGLE;
        self.books.retire(&run, ran, counted);
        if whole {
            let pushed = block.stack.unwrap_or(self.wake.pushed);
            self.wake = Wake::after(p.at, block.last, block.bytes, block.leaves, pushed);
        } else if let Some(last) = run.facts[..ran as usize].last() {
            let stack = run.facts[..ran as usize].iter().rev().find_map(|f| f.stack);
            let pushed = stack.unwrap_or(self.wake.pushed);
            self.wake = Wake::after(p.at, last.start, last.start + last.bytes, last.fusible, pushed);
        }
        if counted {
            self.blocks.ran(p.number, p.ring, false);
        }
        let to_next = std::mem::take(&mut self.taken_to_next);
        if let (Some(kind), Some(to), true) = (block.branch, to, whole) {
            self.resolve(kind, to, to_next);
        }
    }

    /// The branch that retired last went to `to`, which is also where it would not have gone if it is `to_next`.
    fn resolve(&mut self, kind: BranchKind, to: u64, to_next: bool) {
        let Wake { ip: from, end: behind, .. } = self.wake;
        let taken = kind != BranchKind::Conditional || to != behind || to_next;
        let site = self.predictor.site(from);
        let v = self.predictor.resolve(&Resolved { kind, from, to, behind, taken }, &site);
        if taken {
            self.front.turn();
        }
        let totals = self.books.now();
        totals[Signal::NearTaken] += u64::from(taken && kind != BranchKind::Other);
        totals[Signal::ConditionalTaken] += u64::from(taken && kind == BranchKind::Conditional);
        if v.is_costly(&self.p) {
            self.pay_for(kind, taken, &v);
        }
        if taken && self.taken.is_on() {
            let ring = self.books.ring;
            let branch = Branch { from, to, kind, mispredicted: v.mispredicted, cycles: 0, before: ring, after: ring };
            self.taken.taken(branch, self.books.retired());
        }
    }

    /// Books what a branch's being resolved otherwise than it was predicted, or late, costs.
    #[inline(never)]
    fn pay_for(&mut self, kind: BranchKind, taken: bool, v: &Verdict) {
        let totals = self.books.now();
        if v.mispredicted {
            match kind {
                BranchKind::Conditional if taken => totals[Signal::MispredictedTaken] += 1,
                BranchKind::Conditional => totals[Signal::MispredictedNotTaken] += 1,
                BranchKind::Return => totals[Signal::MispredictedReturn] += 1,
                _ => totals[Signal::MispredictedIndirect] += 1,
            }
            totals[Signal::MispredictedIndirectCall] += u64::from(kind == BranchKind::IndirectCall);
            self.books.claim(Cause::Mispredict, self.p.recovery, &self.p);
            self.books.claim(Cause::Resteer, self.p.resteer, &self.p);
        } else if v.unknown {
            totals[Signal::Baclears] += 1;
            self.books.claim(Cause::UnknownBranch, self.p.baclear, &self.p);
        } else if taken && self.p.bubble[v.level] > 0 {
            self.books.claim(Cause::Bubble, self.p.bubble[v.level], &self.p);
        }
    }

    /// Control arrives at block `number`, maybe in another page or ring.
    fn arrive(&mut self, number: u32, at: u64, ring: Ring, translate: &mut dyn Translate) {
        self.page = at & !0xfff;
        self.books.enter(ring);
        if self.taken.is_on() {
            self.taken.arrived(ring);
        }
        if let Some(block) = self.blocks.peek(number) {
            self.front.look_ahead(at, block.next_page.is_some(), &self.tlbs, translate);
        }
        self.begin(number, at, ring);
    }

    /// A run through block `number` begins.
    fn begin(&mut self, number: u32, at: u64, ring: Ring) {
        let Some(block) = self.blocks.peek(number) else { return };
        let first = self.wake.fusible;
        let fused = first != Fusible::Never && first < block.fuses_below && self.wake.end == at;
        let synchronizes = self.wake.pushed && block.names_stack.is_some();
        self.pending = Some(Pending { fused, synchronizes, ..Pending::new(number, at, ring) });
    }

    /// An exception or interrupt was delivered.
    fn deliver(&mut self, from: u64, to: u64, external: bool, ring: Ring) {
        self.close(Some(from));
        let before = self.books.ring;
        if self.taken.is_on() {
            let kind = BranchKind::Other;
            let branch = Branch { from, to, kind, mispredicted: false, cycles: 0, before, after: ring };
            self.taken.taken(branch, self.books.retired());
            self.taken.arrived(ring);
        }
        self.books.totals.of_mut(ring)[Signal::HardwareInterrupts] += u64::from(external);
        self.books.claim(Cause::Serial, self.p.delivery, &self.p);
        self.books.enter(ring);
        (self.wake.fusible, self.wake.pushed) = (Fusible::Never, false);
    }

    fn flush_tlbs(&mut self, flush: Flush) {
        self.fetch_pending();
        self.tlbs.flush(flush);
        self.front.forget_page();
    }

    /// The conditional branch behind which the pending run ends was taken, wherever it leads.
    fn branch_was_taken(&mut self) {
        if let Some(p) = &mut self.pending
            && let Some(block) = self.blocks.peek(p.number)
        {
            // Said so, the run is not taken for a usual one.
            p.ran = Some(block.n);
            self.taken_to_next = true;
        }
    }

    /// A store met decoded code: the pipeline is cleared.
    fn modified(&mut self) {
        self.advance_to_access();
        self.clear(Signal::ClearsSmc);
    }

    /// Instruction `n` of the pending run met denormals: if that takes an assist, the pipeline is cleared for it.
    fn assist(&mut self, n: u32) {
        let assists = self.pending.as_ref().is_some_and(|p| {
            let block = self.blocks.peek(p.number).filter(|b| n < b.n);
            block.is_some_and(|b| self.blocks.facts(b)[n as usize].assists())
        });
        if assists && self.reach(n).is_some() {
            self.clear(Signal::AssistsFp);
            self.books.claim(Cause::Serial, self.p.assist, &self.p);
        }
    }

    /// The pipeline is cleared, for what `counts`.
    fn clear(&mut self, counts: Signal) {
        self.books.now()[counts] += 1;
        self.books.claim(Cause::Clear, self.p.clear, &self.p);
        self.books.claim(Cause::Resteer, self.p.resteer, &self.p);
    }
}

impl Monitor for Core {
    fn describe(&mut self, code: &Code) -> u32 {
        self.blocks.describe(code)
    }

    fn forget(&mut self) {
        self.close(None);
        self.fold();
        self.blocks.clear();
    }

    fn enter(&mut self, block: u32, at: u64, ring: Ring, translate: &mut dyn Translate) {
        self.close(Some(at));
        self.arrive(block, at, ring, translate);
        self.passed(1);
    }

    fn pass(&mut self, steps: &[Packed]) {
        self.pass_through(steps);
    }

    fn single(&mut self, code: &Code, at: u64, ring: Ring, translate: &mut dyn Translate) {
        self.close(Some(at));
        self.blocks.single(code);
        self.arrive(SINGLE, at, ring, translate);
    }

    fn cut(&mut self, ran: u32) {
        let Some((mut p, block)) = self.taken_out() else { return };
        let ran = ran.min(block.n);
        p.ran = Some(ran);
        self.pending = Some(p);
        self.memory.forget_beyond(self.books.retired() + u64::from(ran));
    }

    fn settle(&mut self, to: u64) {
        self.close(Some(to));
    }

    fn access(&mut self, access: &DataAccess, translate: &mut dyn Translate) -> Touched {
        self.data(access, translate)
    }

    fn happened(&mut self, what: Happening) {
        match what {
            Happening::Delivery { from, to, external, ring, .. } => self.deliver(from, to, external, ring),
            Happening::AddressSpace { pcid, keep } => {
                self.fetch_pending();
                self.tlbs.switch(pcid, keep);
                self.front.forget_page();
            }
            Happening::FlushTlb { global } => self.flush_tlbs(Flush::All { global }),
            Happening::FlushSpace(pcid) => self.flush_tlbs(Flush::Space(pcid)),
            Happening::FlushPage(linear) => {
                self.fetch_pending();
                self.tlbs.flush_page(linear);
                self.front.forget_page();
            }
            Happening::FlushLine(at) => {
                self.caches.flush_line(at.0 >> 6);
                self.front.flush_line(at.0 >> 6);
            }
            Happening::FlushLines => {
                self.caches.flush();
                self.front.flush();
            }
            Happening::FlushPredictor => self.predictor.flush_indirect(),
            Happening::SelfModified => self.modified(),
            Happening::Denormal { instruction } => self.assist(instruction),
            Happening::MarkedPage => self.books.now()[Signal::AssistsPage] += 1,
            Happening::TakenToNext => self.branch_was_taken(),
            Happening::Idled(cycles) => self.books.idle(cycles),
            Happening::Repeated(n) => {
                let totals = self.books.now();
                totals[Signal::RepIterations] = totals[Signal::RepIterations].wrapping_add(n);
            }
        }
    }
}
