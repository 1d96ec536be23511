//! Data accesses: translation, caches, and what became of them.

use super::Core;
use super::books::{Outcome, Outcomes, Pending, Run};
use super::facts::Memory;
use super::hierarchy::{Level, Request, Store};
use super::ledger::Cause;
use super::pass::WITHIN;
use super::tlb::{self, Source};
use crate::signal::Signal;
use cpu_x86::monitor::{DataAccess, Touched, Translate, Walked};
use emu_core::Gpa;

/// The last load or store, as PEBS records it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryInfo {
    /// Linear address.
    pub linear: u64,
    /// Where the data was.
    pub level: Level,
    /// Load-to-use latency in core cycles, translation included.
    pub latency: u32,
    /// Did it need a page walk?
    pub stlb_miss: bool,
    /// Was it locked?
    pub locked: bool,
}

impl MemoryInfo {
    /// The low six bits of a PEBS data source: bits 3:0 where the data was, 4 page walk, 5 locked. Source: pmu.md 3.4.
    pub fn data_source(&self) -> u64 {
        let level = match self.level {
            Level::L1 => 1,
            Level::L2 => 3,
            Level::L3 => 4,
            Level::Memory => 0xa,
        };
        level | u64::from(self.stlb_miss) << 4 | u64::from(self.locked) << 5
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Last {
    load: MemoryInfo,
    store: MemoryInfo,
    all: bool,
    /// While all accesses are told: how many instructions will have retired with the one that loaded, and stored, last.
    loaded: u64,
    stored: u64,
}

impl Last {
    /// No instruction beyond the first `retired` made an access: what faulted did not retire.
    pub fn forget_beyond(&mut self, retired: u64) {
        for at in [&mut self.loaded, &mut self.stored] {
            *at = if *at > retired { 0 } else { *at };
        }
    }
}

/// What translating an access took.
#[derive(Clone, Copy, Default)]
struct Translated {
    touched: Touched,
    cycles: u32,
    walked: bool,
}

impl Core {
    /// The last load of an instruction, while all accesses are told.
    pub fn last_load(&self) -> MemoryInfo {
        self.memory.load
    }

    /// The last store of an instruction, while all accesses are told.
    pub fn last_store(&self) -> MemoryInfo {
        self.memory.store
    }

    /// Did the instruction that retired last load, and did it store? Only while all accesses are told.
    pub fn accessed_last(&self) -> (bool, bool) {
        let pending = self.pending.and_then(|p| Some((p, self.blocks.block(p.number)?)));
        let retired = self.books.retired() + pending.map_or(0, |(p, block)| u64::from(p.ran.unwrap_or(block.n)));
        let last = |at: u64| self.memory.all && at != 0 && at == retired;
        (last(self.memory.loaded), last(self.memory.stored))
    }

    /// From the next access told on every answer to one is all ones, or as it was before: a processor that then remembers
    /// no line tells of every access (slow), as [`Core::last_load`] needs. No total depends on it.
    pub fn observe_all(&mut self, all: bool) {
        self.memory.all = all;
    }

    /// An access is made.
    pub(super) fn data(&mut self, a: &DataAccess, translate: &mut dyn Translate) -> Touched {
        let memory = self.reach(a.instruction);
        let t =
            if self.tlbs.is_quiet(a.linear, a.write) { Translated::default() } else { self.translate(a, translate) };
        let touched = if a.bytes > 64 { self.serve_run(a, memory, &t) } else { self.serve(a, memory, &t) };
        if self.memory.all { Touched::MAX } else { touched | t.touched }
    }

    /// The pending run makes this access; its translation changes nothing.
    pub(super) fn pass_access(&mut self, a: &Lines) {
        if !a.splits && self.caches.hits(a.line, a.write) {
            if let Some(p) = self.pending.as_mut().filter(|p| p.ran.is_none()) {
                p.last = (WITHIN, a.instruction);
            }
            return;
        }
        let memory = self.reach(a.instruction);
        let level = self.serve_lines(a, memory.unwrap_or_default());
        if let (Some(memory), Some(p)) = (memory, &mut self.pending) {
            p.last = (WITHIN, a.instruction);
            self.outcomes.note_all(&mut p.noted, a, memory, level, false);
        }
    }

    /// Takes an access, which is no hit of one line in the L1D, through the caches. Returns where it was.
    #[inline]
    pub(super) fn serve_lines(&mut self, a: &Lines, memory: Memory) -> Level {
        let (store, request) = kind(a.write, memory);
        let totals = self.books.totals.of_mut(self.books.ring);
        let level = if a.splits {
            let first = self.caches.data(a.line, store, request, totals).0;
            first.max(self.caches.data(a.line + 1, store, request, totals).0)
        } else {
            self.caches.fetch(a.line, store, request, totals)
        };
        self.charge(level, memory.loads(a.write), 1);
        level
    }

    /// A run is accessed, which is translated so: its parts, line by line.
    fn serve_run(&mut self, a: &DataAccess, memory: Option<Memory>, t: &Translated) -> Touched {
        let part = |done: u32| {
            let linear = a.linear.wrapping_add(done.into());
            let bytes = (64 - (linear & 63) as u32).min(a.bytes - done);
            DataAccess { linear, physical: Gpa(a.physical.0.wrapping_add(done.into())), bytes, ..*a }
        };
        let first = part(0);
        let (mut touched, mut done) = (self.serve(&first, memory, t), first.bytes);
        if self.memory.all {
            while done < a.bytes {
                let next = part(done);
                touched |= self.serve(&next, memory, &Translated::default());
                done += next.bytes;
            }
            return touched;
        }
        // Where the other lines were: it does not matter in which order that is booked.
        let (store, request) = kind(a.write, memory.unwrap_or_default());
        let mut lines = [0; 4];
        while done < a.bytes {
            let next = part(done);
            let totals = self.books.totals.of_mut(self.books.ring);
            let (level, bit) = self.caches.data(next.physical.0 >> 6, store, request, totals);
            lines[level as usize] += 1;
            touched |= bit;
            done += next.bytes;
        }
        let loads = memory.unwrap_or_default().loads(a.write);
        for level in Level::ALL.into_iter().filter(|level| lines[*level as usize] > 0) {
            self.charge(level, loads, lines[level as usize]);
            if let (Some(memory), Some(p)) = (memory, &mut self.pending) {
                // As a last part within a line.
                let end = DataAccess { linear: a.linear.wrapping_add(u64::from(a.bytes) - 1), bytes: 1, ..*a };
                note(p, &mut self.outcomes, &end, memory, level, false);
            }
        }
        touched
    }

    /// An access of an instruction that may retire.
    #[inline]
    fn note_last(&mut self, a: &DataAccess, memory: Memory, info: MemoryInfo) {
        let nth = self.books.retired() + u64::from(a.instruction) + 1;
        if memory.loads(a.write) {
            (self.memory.load, self.memory.loaded) = (info, nth);
        }
        if a.write {
            (self.memory.store, self.memory.stored) = (info, nth);
        }
    }

    /// Instruction `n` of the pending run is reached: what comes before it is fetched and has had its slots. Returns how
    /// the instruction accesses memory, if it may retire: after a cut an access belongs to none that does.
    #[inline]
    pub(super) fn reach(&mut self, n: u32) -> Option<Memory> {
        let p = self.pending.as_ref()?;
        let block = self.blocks.peek(p.number)?;
        let facts = self.blocks.facts(block);
        if p.ran.is_some() || n >= block.n {
            return self.reach_in_full(n);
        }
        let memory = facts[n as usize].memory;
        if n > p.entered {
            let (first, line) = (block.line, facts[n as usize - 1].line);
            if !block.plain || !self.supplied(first, line) {
                return self.reach_in_full(n);
            }
            self.enter_instruction(n);
        }
        Some(memory)
    }

    /// What comes before instruction `n` of the pending run, which is plain and fetched so far, has had its slots.
    #[inline]
    fn enter_instruction(&mut self, n: u32) {
        let Some(p) = &mut self.pending else { return };
        let Some(block) = self.blocks.peek(p.number) else { return };
        let run = Run { block, facts: self.blocks.facts(block), pending: p, outcomes: &self.outcomes };
        self.books.ledger.run(n - p.entered, run.slots_of(p.entered, n));
        p.entered = n;
    }

    #[inline(never)]
    fn reach_in_full(&mut self, n: u32) -> Option<Memory> {
        let (mut p, block) = self.taken_out()?;
        let until = n.min(p.ran.unwrap_or(block.n));
        self.fetch_to(&mut p, &block, until);
        self.advance(&mut p, &block, until);
        let open = p.ran.is_none() && n < block.n;
        self.pending = Some(p);
        open.then(|| self.blocks.facts(&block)[n as usize].memory)
    }

    /// For a happening in the middle of a block: the ledger goes to the instruction that accessed memory last.
    pub(super) fn advance_to_access(&mut self) {
        let Some((mut p, block)) = self.taken_out() else { return };
        if p.ran.is_none() && p.last.1 < block.n {
            let until = p.last.1;
            self.advance(&mut p, &block, until);
        }
        self.pending = Some(p);
    }

    /// Takes an access that is translated so through the caches, and notes what became of it. Returns the sets it touched.
    #[inline]
    fn serve(&mut self, a: &DataAccess, memory: Option<Memory>, t: &Translated) -> Touched {
        let loads = memory.unwrap_or_default().loads(a.write);
        let (store, request) = kind(a.write, memory.unwrap_or_default());
        let (first, last) = (a.physical.0 >> 6, a.physical.0.wrapping_add(u64::from(a.bytes.max(1)) - 1) >> 6);
        let totals = self.books.totals.of_mut(self.books.ring);
        let (mut level, mut touched) = self.caches.data(first, store, request, totals);
        if last != first {
            let (second, bit) = self.caches.data(last, store, request, totals);
            (level, touched) = (level.max(second), touched | bit);
        }
        if t.cycles > 0 {
            self.books.claim(Cause::Memory, t.cycles, &self.p);
        }
        self.charge(level, loads, 1);
        if let Some(memory) = memory {
            if self.memory.all {
                let latency = self.p.latency[level as usize] + t.cycles;
                let locked = memory.locked;
                let info = MemoryInfo { linear: a.linear, level, latency, stlb_miss: t.walked, locked };
                self.note_last(a, memory, info);
            }
            if let Some(p) = &mut self.pending {
                note(p, &mut self.outcomes, a, memory, level, t.walked);
            }
        }
        touched
    }

    /// Claims what waiting for `n` lines from `level` costs.
    fn charge(&mut self, level: Level, loads: bool, n: u32) {
        let cause = match level {
            Level::L1 => return,
            Level::L2 => Cause::L2,
            Level::L3 => Cause::L3,
            Level::Memory => Cause::Dram,
        };
        let [of_store, of_load] = self.waits[level as usize];
        if loads {
            self.books.claim(cause, of_load * n, &self.p);
        } else {
            self.books.claim(Cause::Store, of_store * n, &self.p);
        }
    }

    fn translate(&mut self, a: &DataAccess, translate: &mut dyn Translate) -> Translated {
        let mut walked = Walked::default();
        let (source, cleared) = self.tlbs.data(a.linear, a.write, || {
            walked = translate.walked(a.linear);
            walked
        });
        let mut t = Translated { touched: if cleared { Touched::MAX } else { 0 }, ..Translated::default() };
        match source {
            Source::First | Source::Nothing => {}
            Source::Second => {
                let signal = if a.write { Signal::DtlbStoreStlbHit } else { Signal::DtlbLoadStlbHit };
                self.books.now()[signal] += 1;
                t.cycles = self.p.stlb_cycles;
            }
            Source::Walk { size, reads } => {
                let loads = [Signal::DtlbLoadWalk4k, Signal::DtlbLoadWalk2m, Signal::DtlbLoadWalk1g];
                let stores = [Signal::DtlbStoreWalk4k, Signal::DtlbStoreWalk2m, Signal::DtlbStoreWalk1g];
                let by_size = if a.write { stores } else { loads };
                self.books.now()[by_size[usize::from(size)]] += 1;
                (t.cycles, t.walked) = (self.p.stlb_cycles, true);
                for entry in tlb::read(&walked, reads) {
                    let totals = self.books.totals.of_mut(self.books.ring);
                    let (level, bit) = self.caches.data(entry >> 6, Store::No, Request::Walk, totals);
                    t.cycles += self.p.latency[level as usize];
                    t.touched |= bit;
                }
            }
        }
        t
    }
}

/// An access within a page, by an instruction of the pending run.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    /// Physical address / 64.
    pub line: u64,
    /// It has a part in the next line too.
    pub splits: bool,
    pub write: bool,
    pub instruction: u32,
}

/// How an access goes to the caches.
#[inline]
fn kind(write: bool, memory: Memory) -> (Store, Request) {
    match (write, memory.streams) {
        (false, _) => (Store::No, Request::Data),
        (true, false) => (Store::Yes, Request::Ownership),
        (true, true) => (Store::Streaming, Request::Ownership),
    }
}

/// Notes what became of an access of an instruction that may retire.
#[inline]
fn note(p: &mut Pending, o: &mut Outcomes, a: &DataAccess, memory: Memory, level: Level, walked: bool) {
    let second_part = p.last == (a.linear, a.instruction) && a.linear & 0xfff == 0 && !memory.repeats;
    let splits = second_part || (a.linear & 63) + u64::from(a.bytes) > 64;
    p.last = (a.linear.wrapping_add(u64::from(a.bytes)), a.instruction);
    let lines = Lines { line: a.physical.0 >> 6, splits, write: a.write, instruction: a.instruction };
    o.note_all(&mut p.noted, &lines, memory, level, walked);
}

impl Outcomes {
    /// Notes what became of an access; `noted`: is there anything noted?
    #[inline]
    pub(super) fn note_all(&mut self, noted: &mut bool, a: &Lines, memory: Memory, level: Level, walked: bool) {
        if level == Level::L1 && !walked && !a.splits {
            return;
        }
        if !*noted {
            *noted = true;
            self.clear();
        }
        let (n, loads) = (a.instruction, memory.loads(a.write));
        match level {
            Level::L1 => {}
            Level::L2 if loads => self.note(Outcome::LoadL2, n),
            Level::L3 if loads => self.note(Outcome::LoadL3, n),
            Level::Memory if loads => self.note(Outcome::LoadMemory, n),
            _ => {}
        }
        if a.write && level == Level::L2 {
            self.note(Outcome::StoreL2, n);
        }
        if walked || a.splits {
            self.note_rest(a, memory, walked);
        }
    }

    /// Notes whether an access walked and whether it had parts in two lines.
    fn note_rest(&mut self, a: &Lines, memory: Memory, walked: bool) {
        let loads = memory.loads(a.write);
        let outcomes = [
            (loads && walked, Outcome::WalkedLoad),
            (a.write && walked, Outcome::WalkedStore),
            (loads && a.splits, Outcome::SplitLoad),
            (a.write && a.splits, Outcome::SplitStore),
            (memory.locked && a.splits, Outcome::BusLock),
        ];
        outcomes.iter().filter(|(had, _)| *had).for_each(|(_, outcome)| self.note(*outcome, a.instruction));
    }
}
