//! The caches, and what goes between them (timing.md 3.8): L1D and L1I, a private L2 that includes neither, and this core's
//! part of the L3, which holds what the L2 let go. There is no prefetching, and a line arrives at once, so a load never
//! finds it on its way (the fill buffers' counts stay zero).

use super::cache::{Cache, DIRTY, Found, STREAMED};
use super::parameters::Parameters;
use crate::signal::{Signal, Totals};

/// Where data came from, the nearest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// L1.
    #[default]
    L1,
    /// L2.
    L2,
    /// L3.
    L3,
    /// Memory.
    Memory,
}

impl Level {
    /// The nearest first.
    pub(super) const ALL: [Level; 4] = [Level::L1, Level::L2, Level::L3, Level::Memory];
}

/// Who asks the L2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Data,
    Ownership,
    Code,
    /// A page walk: counted nowhere, so that a program's own misses stay visible (pmu.md 1.9.4).
    Walk,
}

/// Hit in L2, miss in L2, miss in L3.
fn signals(request: Request) -> Option<[Signal; 3]> {
    match request {
        Request::Data => Some([Signal::L2DataHit, Signal::L2DataMiss, Signal::L3DataMiss]),
        Request::Ownership => Some([Signal::L2RfoHit, Signal::L2RfoMiss, Signal::L3RfoMiss]),
        Request::Code => Some([Signal::L2CodeHit, Signal::L2CodeMiss, Signal::L3CodeMiss]),
        Request::Walk => None,
    }
}

/// The caches of a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    l1d: Cache,
    l1i: Cache,
    l2: Cache,
    l3: Cache,
}

/// How an access to the L1D writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    No,
    Yes,
    /// Streaming. Differs: it makes the line in the L1D, which stands for the write-combining buffer.
    Streaming,
}

/// What an access makes of its line.
#[inline]
fn flags(write: bool) -> u32 {
    if write { DIRTY } else { 0 }
}

/// The bit of the L1D set that holds `line`.
fn set(line: u64) -> u64 {
    1 << (line & 63)
}

impl Hierarchy {
    pub fn new(p: &Parameters) -> Hierarchy {
        Hierarchy { l1d: Cache::new(p.l1d), l1i: Cache::new(p.l1i), l2: Cache::new(p.l2), l3: Cache::new(p.l3) }
    }

    /// Accesses `line` in the L1D. Returns where it was, and the set whose most recent line changed.
    pub fn data(&mut self, line: u64, store: Store, request: Request, t: &mut Totals) -> (Level, u64) {
        match self.l1d.touch(line, flags(store != Store::No)) {
            Found::First => (Level::L1, 0),
            Found::Moved => (Level::L1, set(line)),
            Found::Not => (self.fetch(line, store, request, t), set(line)),
        }
    }

    /// Accesses `line`, which is not in the L1D: it is from now on. Returns where it was.
    pub fn fetch(&mut self, line: u64, store: Store, request: Request, t: &mut Totals) -> Level {
        let (level, flags) = match store {
            Store::Streaming => {
                t[Signal::StreamingWrites] += 1;
                self.l2.remove(line);
                self.l3.remove(line);
                (Level::L1, STREAMED | DIRTY)
            }
            _ => (self.beyond(line, request, t), flags(store != Store::No)),
        };
        t[Signal::L1dReplacements] += 1;
        if let Some(gone) = self.l1d.fill(line, flags)
            && gone.flags == DIRTY
            && !self.l2.mark(gone.line, DIRTY)
        {
            self.fill_l2(gone.line, DIRTY, t);
        }
        level
    }

    /// Accesses `line` in the L1D, if it is there.
    #[inline]
    pub fn hits(&mut self, line: u64, write: bool) -> bool {
        self.l1d.touch(line, flags(write)) != Found::Not
    }

    /// Fetches `line` from the L1I, if it is there.
    #[inline]
    pub fn has_code(&mut self, line: u64) -> bool {
        self.l1i.touch(line, 0) != Found::Not
    }

    /// Fetches `line` into the L1I. Returns where it was, and the line that went.
    pub fn code(&mut self, line: u64, t: &mut Totals) -> (Level, Option<u64>) {
        if self.l1i.touch(line, 0) != Found::Not {
            return (Level::L1, None);
        }
        let level = self.beyond(line, Request::Code, t);
        (level, self.l1i.fill(line, 0).map(|gone| gone.line))
    }

    /// Reads `line` without the L1s.
    pub fn beyond(&mut self, line: u64, request: Request, t: &mut Totals) -> Level {
        let counted = signals(request);
        if self.l2.touch(line, 0) != Found::Not {
            if let Some([hit, ..]) = counted {
                t[hit] += 1;
            }
            return Level::L2;
        }
        let victim = self.l3.remove(line);
        if let Some([_, miss, l3_miss]) = counted {
            t[miss] += 1;
            t[l3_miss] += u64::from(victim.is_none());
        }
        self.fill_l2(line, victim.map_or(0, |v| v.flags), t);
        if victim.is_some() { Level::L3 } else { Level::Memory }
    }

    fn fill_l2(&mut self, line: u64, flags: u32, t: &mut Totals) {
        t[Signal::L2LinesIn] += 1;
        let Some(gone) = self.l2.fill(line, flags) else { return };
        t[if gone.flags & DIRTY != 0 { Signal::L2LinesOut } else { Signal::L2LinesDropped }] += 1;
        self.l3.put(gone.line, gone.flags);
    }

    /// CLFLUSH.
    pub fn flush_line(&mut self, line: u64) {
        for cache in [&mut self.l1d, &mut self.l1i, &mut self.l2, &mut self.l3] {
            cache.remove(line);
        }
    }

    /// WBINVD.
    pub fn flush(&mut self) {
        for cache in [&mut self.l1d, &mut self.l1i, &mut self.l2, &mut self.l3] {
            cache.clear();
        }
    }
}
