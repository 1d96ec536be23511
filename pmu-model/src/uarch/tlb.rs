//! TLBs: two levels and the paging-structure caches (timing.md 3.8).
//!
//! The first level replaces by not-recently-used bits: a hit on an entry whose bit is set changes nothing, which is what
//! lets the processor leave such accesses out. When all bits of a set would be set, the others are cleared, and that is
//! told (`cleared`). Differs: a store's translation goes to the load TLB too, uncounted, because a load of a line just
//! stored to may be left out; the second level holds 1 GiB pages as well.

use super::parameters::{Geometry, Parameters};
use cpu_x86::monitor::Walked;

const NO_ENTRY: u64 = u64::MAX;

/// A translation: what is stored is `page << 15 | size << 13 | global << 12 | pcid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// 0: 4 KiB, 1: 2 or 4 MiB, 2: 1 GiB.
    pub size: u8,
    pub global: bool,
}

/// Log2 of bytes, by size. A 4 MiB page is held as two of 2 MiB.
const SHIFTS: [u32; 3] = [12, 21, 30];
const GLOBAL: u64 = 1 << 12;
/// Canonical addresses need 57 bits; the rest repeats bit 56.
const PAGE_BITS: u64 = (1 << 49) - 1;

fn page(linear: u64, size: u8) -> u64 {
    linear >> SHIFTS[usize::from(size)] & PAGE_BITS
}

fn is(entry: u64, page: u64, size: u8, pcid: u16) -> bool {
    entry >> 13 == page << 2 | u64::from(size)
        && (entry & GLOBAL != 0 || entry & 0xfff == u64::from(pcid))
        && entry != NO_ENTRY
}

fn entry(page: u64, m: Mapping, pcid: u16) -> u64 {
    page << 15 | u64::from(m.size) << 13 | if m.global { GLOBAL } else { 0 } | u64::from(pcid & 0xfff)
}

/// What an event takes away.
#[derive(Clone, Copy)]
pub(super) enum Flush {
    All { global: bool },
    Space(u16),
}

impl Flush {
    fn takes(self, e: u64) -> bool {
        match self {
            Flush::All { global } => global || e & GLOBAL == 0,
            Flush::Space(pcid) => e & GLOBAL == 0 && e & 0xfff == u64::from(pcid),
        }
    }
}

/// What a TLB holds at most, so that it need not be looked for elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    /// One bit for each set that holds any entry.
    sets: Box<[u64]>,
    /// One bit for each size that was ever held.
    sizes: u8,
}

impl Held {
    fn new(sets: u32) -> Held {
        Held { sets: vec![0; sets.div_ceil(64) as usize].into(), sizes: 0 }
    }

    #[inline]
    fn has(&self, set: usize, size: u8) -> bool {
        self.sizes >> size & 1 != 0 && self.sets[set / 64] >> (set % 64) & 1 != 0
    }

    #[inline]
    fn note(&mut self, set: usize, size: u8) {
        self.sets[set / 64] |= 1 << (set % 64);
        self.sizes |= 1 << size;
    }

    /// Calls `f` with the sets that hold any entry; it says whether one is left.
    #[inline]
    fn retain(&mut self, mut f: impl FnMut(usize) -> bool) {
        for (n, word) in self.sets.iter_mut().enumerate() {
            let mut ahead = *word;
            while ahead != 0 {
                let bit = ahead & ahead.wrapping_neg();
                if !f(n * 64 + bit.trailing_zeros() as usize) {
                    *word &= !bit;
                }
                ahead &= !bit;
            }
        }
    }
}

/// A first-level TLB.
#[derive(Clone, Debug, PartialEq, Eq)]
struct First {
    mask: usize,
    ways: usize,
    entries: Box<[u64]>,
    used: Box<[u32]>,
    held: Held,
}

impl First {
    fn new(g: Geometry) -> First {
        let n = (g.sets * g.ways) as usize;
        First {
            mask: g.sets as usize - 1,
            ways: g.ways as usize,
            entries: vec![NO_ENTRY; n].into(),
            used: vec![0; g.sets as usize].into(),
            held: Held::new(g.sets),
        }
    }

    #[inline]
    fn find(&self, page: u64, size: u8, pcid: u16) -> Option<(usize, usize)> {
        let set = page as usize & self.mask;
        if !self.held.has(set, size) {
            return None;
        }
        let ways = &self.entries[set * self.ways..(set + 1) * self.ways];
        ways.iter().position(|e| is(*e, page, size, pcid)).map(|way| (set, way))
    }

    /// Marks an entry as used; true: others lost their mark.
    fn mark(&mut self, set: usize, way: usize) -> bool {
        self.used[set] |= 1 << way;
        let full = self.used[set].count_ones() as usize == self.ways;
        if full {
            self.used[set] = 1 << way;
        }
        full && self.ways > 1
    }

    /// Takes in a translation; true: others lost their mark, or one that had it went.
    fn insert(&mut self, page: u64, m: Mapping, pcid: u16) -> bool {
        let set = page as usize & self.mask;
        let ways = &mut self.entries[set * self.ways..(set + 1) * self.ways];
        let free = ways.iter().position(|e| *e == NO_ENTRY);
        let way = free.unwrap_or((!self.used[set]).trailing_zeros() as usize % self.ways);
        ways[way] = entry(page, m, pcid);
        self.held.note(set, m.size);
        self.mark(set, way) || self.ways == 1
    }

    fn flush_page(&mut self, linear: u64, pcid: u16) {
        for size in 0..3 {
            while let Some((set, way)) = self.find(page(linear, size), size, pcid) {
                self.entries[set * self.ways + way] = NO_ENTRY;
                self.used[set] &= !(1 << way);
            }
        }
    }

    fn flush(&mut self, flush: Flush) {
        self.held.retain(|set| {
            let ways = &mut self.entries[set * self.ways..(set + 1) * self.ways];
            let mut left = false;
            for (way, e) in ways.iter_mut().enumerate().filter(|(_, e)| **e != NO_ENTRY) {
                if flush.takes(*e) {
                    *e = NO_ENTRY;
                    self.used[set] &= !(1 << way);
                } else {
                    left = true;
                }
            }
            left
        });
    }
}

/// Sets of `ways` in LRU order, what is free behind: the second level and the paging-structure caches.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ordered {
    mask: usize,
    ways: usize,
    entries: Box<[u64]>,
    held: Held,
}

impl Ordered {
    fn new(g: Geometry) -> Ordered {
        let n = (g.sets * g.ways) as usize;
        let entries = vec![NO_ENTRY; n].into();
        Ordered { mask: g.sets as usize - 1, ways: g.ways as usize, entries, held: Held::new(g.sets) }
    }

    fn set(&mut self, page: u64) -> &mut [u64] {
        let set = page as usize & self.mask;
        &mut self.entries[set * self.ways..(set + 1) * self.ways]
    }

    /// Where in its set an entry is.
    #[inline]
    fn way(&mut self, page: u64, size: u8, pcid: u16) -> Option<usize> {
        if !self.held.has(page as usize & self.mask, size) {
            return None;
        }
        self.set(page).iter().position(|e| is(*e, page, size, pcid))
    }

    fn find(&mut self, page: u64, size: u8, pcid: u16) -> Option<Mapping> {
        let way = self.way(page, size, pcid)?;
        let set = self.set(page);
        let entry = set[way];
        set.copy_within(0..way, 1);
        set[0] = entry;
        Some(Mapping { size, global: set[0] & GLOBAL != 0 })
    }

    fn insert(&mut self, page: u64, m: Mapping, pcid: u16) {
        self.held.note(page as usize & self.mask, m.size);
        let set = self.set(page);
        set.copy_within(0..set.len() - 1, 1);
        set[0] = entry(page, m, pcid);
    }

    fn flush_page(&mut self, linear: u64, pcid: u16) {
        for size in 0..3 {
            let page = page(linear, size);
            while let Some(way) = self.way(page, size, pcid) {
                let set = self.set(page);
                set.copy_within(way + 1.., way);
                set[set.len() - 1] = NO_ENTRY;
            }
        }
    }

    fn flush(&mut self, flush: Flush) {
        self.held.retain(|set| {
            let ways = &mut self.entries[set * self.ways..(set + 1) * self.ways];
            let mut left = 0;
            for way in 0..ways.len() {
                if ways[way] != NO_ENTRY && !flush.takes(ways[way]) {
                    ways[left] = ways[way];
                    left += 1;
                }
            }
            ways[left..].fill(NO_ENTRY);
            left > 0
        });
    }
}

/// Where a translation came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    First,
    Second,
    /// A walk found a page of this size; of its table entries the last so many were read.
    Walk {
        size: u8,
        reads: u8,
    },
    /// There is no paging, or no translation.
    Nothing,
}

/// The last `n` table entries of a walk.
pub(super) fn read(walked: &Walked, n: u8) -> impl Iterator<Item = u64> + use<> {
    let levels = usize::from(walked.levels).min(walked.entries.len());
    walked.entries.into_iter().take(levels).skip(levels.saturating_sub(usize::from(n)))
}

/// Pages whose look-up would change nothing, by their lowest bits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Quiet([u64; 64]);

impl Quiet {
    const NONE: Quiet = Quiet([NO_ENTRY; 64]);

    #[inline]
    fn has(&self, linear: u64) -> bool {
        self.0[(linear >> 12) as usize & 63] == linear >> 12
    }

    #[inline]
    fn note(&mut self, linear: u64) {
        self.0[(linear >> 12) as usize & 63] = linear >> 12;
    }
}

/// All TLBs of a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tlbs {
    loads: [First; 3],
    stores: First,
    fetches: [First; 2],
    second: Ordered,
    /// Pointers to page tables and to page directories.
    structures: [Ordered; 2],
    quiet_loads: Quiet,
    quiet_stores: Quiet,
    quiet_fetches: Quiet,
    pcid: u16,
}

impl Tlbs {
    pub fn new(p: &Parameters) -> Tlbs {
        Tlbs {
            loads: [p.dtlb_4k, p.dtlb_2m, p.dtlb_1g].map(First::new),
            stores: First::new(p.dtlb_store),
            fetches: [p.itlb_4k, p.itlb_2m].map(First::new),
            second: Ordered::new(p.stlb),
            structures: [Ordered::new(Geometry::of(1, 32)), Ordered::new(Geometry::of(1, 4))],
            quiet_loads: Quiet::NONE,
            quiet_stores: Quiet::NONE,
            quiet_fetches: Quiet::NONE,
            pcid: 0,
        }
    }

    /// Would looking up `linear` for data change nothing?
    #[inline]
    pub fn is_quiet(&self, linear: u64, write: bool) -> bool {
        if write { self.quiet_stores.has(linear) } else { self.quiet_loads.has(linear) }
    }

    /// Would looking up `linear` for a fetch change nothing?
    #[inline]
    pub fn fetches_quietly(&self, linear: u64) -> bool {
        self.quiet_fetches.has(linear)
    }

    fn hush(&mut self) {
        (self.quiet_loads, self.quiet_stores) = (Quiet::NONE, Quiet::NONE);
    }

    /// Without what only saves time.
    #[cfg(test)]
    pub fn hushed(mut self) -> Tlbs {
        self.forget_quiet();
        self
    }

    /// Looks up `linear` for data. True: the processor must tell of all lines again.
    pub fn data(&mut self, linear: u64, write: bool, walk: impl FnOnce() -> Walked) -> (Source, bool) {
        let mut cleared = false;
        let loads = (0..3).find_map(|size| {
            let (set, way) = self.loads[usize::from(size)].find(page(linear, size), size, self.pcid)?;
            cleared |= self.loads[usize::from(size)].mark(set, way);
            Some(size)
        });
        let stored = write && {
            let find = |size| self.stores.find(page(linear, size), size, self.pcid);
            (0..3).find_map(find).is_some_and(|(set, way)| {
                cleared |= self.stores.mark(set, way);
                true
            })
        };
        let source = if (write && stored) || (!write && loads.is_some()) {
            self.lend(linear, loads, &mut cleared);
            Source::First
        } else {
            let (source, m) = self.second(linear, walk);
            let Some(m) = m else { return (source, cleared) };
            let at = page(linear, m.size);
            if loads != Some(m.size) {
                cleared |= self.loads[usize::from(m.size)].insert(at, m, self.pcid);
            }
            cleared |= write && self.stores.insert(at, m, self.pcid);
            source
        };
        self.settle(linear, write, cleared);
        (source, cleared)
    }

    /// A store hit its own TLB: the load TLB gets the translation if it has it no more.
    fn lend(&mut self, linear: u64, loads: Option<u8>, cleared: &mut bool) {
        if loads.is_some() {
            return;
        }
        let found = (0..3).find_map(|size| self.stores.find(page(linear, size), size, self.pcid).map(|p| (size, p)));
        if let Some((size, (set, way))) = found {
            let global = self.stores.entries[set * self.stores.ways + way] & GLOBAL != 0;
            *cleared |= self.loads[usize::from(size)].insert(page(linear, size), Mapping { size, global }, self.pcid);
        }
    }

    fn settle(&mut self, linear: u64, write: bool, cleared: bool) {
        if cleared {
            self.hush();
            return;
        }
        self.quiet_loads.note(linear);
        if write {
            self.quiet_stores.note(linear);
        }
    }

    /// Looks up `linear` for a fetch.
    pub fn fetch(&mut self, linear: u64, walk: impl FnOnce() -> Walked) -> Source {
        for size in 0..2u8 {
            let pcid = self.pcid;
            let first = &mut self.fetches[usize::from(size)];
            if let Some((set, way)) = first.find(page(linear, size), size, pcid) {
                let cleared = first.mark(set, way);
                self.settle_fetch(linear, cleared);
                return Source::First;
            }
        }
        let (source, m) = self.second(linear, walk);
        if let Some(m) = m {
            // The large-page TLB holds a 1 GiB page in pieces of 2 MiB.
            let held = Mapping { size: m.size.min(1), ..m };
            let cleared = self.fetches[usize::from(held.size)].insert(page(linear, held.size), held, self.pcid);
            self.settle_fetch(linear, cleared);
        }
        source
    }

    fn settle_fetch(&mut self, linear: u64, cleared: bool) {
        if cleared {
            self.quiet_fetches = Quiet::NONE;
        } else {
            self.quiet_fetches.note(linear);
        }
    }

    fn second(&mut self, linear: u64, walk: impl FnOnce() -> Walked) -> (Source, Option<Mapping>) {
        let pcid = self.pcid;
        let found = (0..3).find_map(|size| self.second.find(page(linear, size), size, pcid));
        if let Some(m) = found {
            return (Source::Second, Some(m));
        }
        let walked = walk();
        let size = match walked.shift {
            12 => 0,
            21 | 22 => 1,
            30 => 2,
            _ => return (Source::Nothing, None),
        };
        let m = Mapping { size, global: walked.global };
        self.second.insert(page(linear, size), m, pcid);
        if walked.levels == 0 {
            return (Source::Nothing, Some(m));
        }
        let reads = self.reads(linear, size, walked.levels);
        (Source::Walk { size, reads }, Some(m))
    }

    /// How many of `levels` table entries a walk reads, the last ones: the caches of pointers to tables save the others.
    fn reads(&mut self, linear: u64, size: u8, levels: u8) -> u8 {
        let pcid = self.pcid;
        let mut reads = levels;
        for (n, structures) in self.structures.iter_mut().enumerate().skip(usize::from(size)).take(2).rev() {
            // Structure 0 saves all but the last entry of a 4 KiB page's walk, structure 1 all but the last two.
            let (key, kind) = (page(linear, n as u8 + 1), Mapping { size: n as u8 + 1, global: false });
            if structures.find(key, kind.size, pcid).is_some() {
                reads = reads.min(n as u8 + 1 - size);
            } else {
                structures.insert(key, kind, pcid);
            }
        }
        reads
    }

    /// Address space `pcid` is in force; true `keep`: its translations stay.
    pub fn switch(&mut self, pcid: u16, keep: bool) {
        self.pcid = pcid & 0xfff;
        self.forget_quiet();
        if !keep {
            self.flush(Flush::Space(self.pcid));
        }
    }

    pub fn flush(&mut self, flush: Flush) {
        self.loads.iter_mut().for_each(|t| t.flush(flush));
        self.fetches.iter_mut().for_each(|t| t.flush(flush));
        self.stores.flush(flush);
        self.second.flush(flush);
        self.forget_structures();
    }

    /// The translation of `linear` in the address space in force goes, and a global one.
    pub fn flush_page(&mut self, linear: u64) {
        let pcid = self.pcid;
        self.loads.iter_mut().for_each(|t| t.flush_page(linear, pcid));
        self.fetches.iter_mut().for_each(|t| t.flush_page(linear, pcid));
        self.stores.flush_page(linear, pcid);
        self.second.flush_page(linear, pcid);
        self.forget_structures();
    }

    fn forget_structures(&mut self) {
        self.structures.iter_mut().for_each(|t| t.flush(Flush::All { global: true }));
        self.forget_quiet();
    }

    fn forget_quiet(&mut self) {
        self.hush();
        self.quiet_fetches = Quiet::NONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uarch::tests::Random;

    /// Any translation of few, and what takes some of them away.
    fn draw(r: &mut Random) -> (u64, Mapping, u16) {
        let m = Mapping { size: r.below(3) as u8, global: r.one_in(4) };
        (r.below(40), m, r.below(3) as u16)
    }

    #[derive(Clone, Copy)]
    enum Goes {
        Those(Flush),
        Page(u64, u16),
    }

    fn flush(r: &mut Random) -> Goes {
        match r.below(6) {
            0 => Goes::Those(Flush::All { global: r.one_in(2) }),
            1 => Goes::Those(Flush::Space(r.below(3) as u16)),
            _ => Goes::Page(r.below(40) << SHIFTS[r.below(3) as usize], r.below(3) as u16),
        }
    }

    /// Does `what` take an entry of `page`, by the letter?
    fn takes(what: Goes, page: u64, m: Mapping, own: u16) -> bool {
        match what {
            Goes::Those(Flush::All { global }) => global || !m.global,
            Goes::Those(Flush::Space(pcid)) => !m.global && own == pcid,
            Goes::Page(linear, pcid) => linear >> SHIFTS[usize::from(m.size)] == page && (m.global || own == pcid),
        }
    }

    #[test]
    fn a_set_in_order_does_what_a_list_does_and_fills_what_is_free() {
        let (mut r, mut tlb) = (Random(5), Ordered::new(Geometry::of(4, 3)));
        let mut lists: [Vec<(u64, Mapping, u16)>; 4] = [const { Vec::new() }; 4];
        let mut flushed = 0;
        for _ in 0..50_000 {
            if r.one_in(8) {
                let what = flush(&mut r);
                match what {
                    Goes::Those(flush) => tlb.flush(flush),
                    Goes::Page(linear, pcid) => tlb.flush_page(linear, pcid),
                }
                for list in &mut lists {
                    flushed += list.len();
                    list.retain(|(page, m, pcid)| !takes(what, *page, *m, *pcid));
                    flushed -= list.len();
                }
                continue;
            }
            let (page, m, pcid) = draw(&mut r);
            let list = &mut lists[page as usize & 3];
            let same = |e: &(u64, Mapping, u16)| e.0 == page && e.1.size == m.size && (e.1.global || e.2 == pcid);
            let place = list.iter().position(same);
            let found = tlb.find(page, m.size, pcid);
            assert_eq!(found, place.map(|n| list[n].1));
            let entry = match place {
                Some(n) => list.remove(n),
                None => {
                    tlb.insert(page, m, pcid);
                    (page, m, pcid)
                }
            };
            list.insert(0, entry);
            list.truncate(3);
        }
        assert!(flushed > 1000, "{flushed}");
    }

    #[test]
    fn a_flush_of_the_first_level_takes_what_it_names_and_nothing_else() {
        let (mut r, mut tlb) = (Random(6), First::new(Geometry::of(4, 3)));
        let held = |tlb: &First| -> Vec<u64> { tlb.entries.iter().copied().filter(|e| *e != NO_ENTRY).collect() };
        let (mut kept, mut taken) = (0, 0);
        for _ in 0..50_000 {
            if r.one_in(8) {
                let what = flush(&mut r);
                let before = held(&tlb);
                match what {
                    Goes::Those(flush) => tlb.flush(flush),
                    Goes::Page(linear, pcid) => tlb.flush_page(linear, pcid),
                }
                let after = held(&tlb);
                let stays = |e: &u64| {
                    let m = Mapping { size: (e >> 13 & 3) as u8, global: e & GLOBAL != 0 };
                    !takes(what, e >> 15, m, (e & 0xfff) as u16)
                };
                assert_eq!(after, before.iter().copied().filter(stays).collect::<Vec<u64>>());
                (kept, taken) = (kept + after.len(), taken + before.len() - after.len());
                continue;
            }
            let (page, m, pcid) = draw(&mut r);
            match tlb.find(page, m.size, pcid) {
                Some((set, way)) => tlb.mark(set, way),
                None => tlb.insert(page, m, pcid),
            };
            assert!(tlb.find(page, m.size, pcid).is_some());
        }
        assert!(kept > 1000 && taken > 1000, "{kept} {taken}");
    }
}
