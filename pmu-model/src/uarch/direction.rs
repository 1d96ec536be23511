//! Which way a conditional branch goes: a one-sided filter, a bimodal base, and three tables tagged by path history.
//!
//! A branch that went one way only is predicted to go there again and touches nothing else; one not seen yet is predicted
//! not taken. The others are predicted by the longest history that knows them (timing.md 3.7).

use super::history::{self, Lengths};

const FILTER: usize = 16 << 10;
const BASE: usize = 8 << 10;
const TAGGED: usize = 2 << 10;
/// How much history each tagged table sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen;
impl Lengths for Seen {
    const BITS: [usize; 3] = [32, 128, 388];
}
/// No branch has this tag, of 11 bits.
const NO_TAG: u16 = u16::MAX;

/// What a filter entry has seen: bit 0 not taken, bit 1 taken.
const BOTH: u16 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: u16,
    /// Three bits: four and more is taken.
    counter: u8,
    /// Two bits.
    useful: u8,
}

/// Where the filter keeps a branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Filtered {
    index: u16,
    tag: u16,
}

impl Filtered {
    /// The branch at `pc`.
    pub fn of(pc: u64) -> Filtered {
        Filtered {
            index: ((pc ^ pc >> 14) as usize & (FILTER - 1)) as u16,
            tag: ((pc >> 14 ^ pc >> 28 ^ pc >> 42) as u16) << 2,
        }
    }
}

/// The predictor of directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Direction {
    filter: Box<[u16; FILTER]>,
    base: Box<[u8; BASE]>,
    tagged: Box<[[Entry; TAGGED]; 3]>,
    /// Four bits: at eight and more a new entry's prediction is not trusted.
    distrust: u8,
    /// A pseudo-random sequence: which table gets a new entry.
    lfsr: u16,
}

/// The history as the tagged tables see it.
pub(super) type View = history::View<Seen, 11, 10>;

/// Where the tagged tables are looked at.
struct Places([(usize, u16); 3]);

impl Places {
    #[inline]
    fn of(pc: u64, view: &View) -> Places {
        let pc = (pc ^ pc >> 32) as u32;
        let mut places = [(0, 0); 3];
        for (t, place) in places.iter_mut().enumerate() {
            let (index, tag) = (view.folds.0.of(t), view.folds.1.of(t));
            let at = pc ^ pc >> (11 - t) ^ index;
            let tag = (pc ^ pc >> 11 ^ index >> 3 ^ tag << 1) & 0x7ff;
            *place = (at as usize & (TAGGED - 1), tag as u16);
        }
        Places(places)
    }
}

fn step(counter: &mut u8, up: bool, most: u8) {
    *counter = if up { (*counter + 1).min(most) } else { counter.saturating_sub(1) };
}

impl Direction {
    pub fn new() -> Direction {
        let empty = Entry { tag: NO_TAG, counter: 3, useful: 0 };
        Direction {
            filter: Box::new([0; FILTER]),
            base: Box::new([1; BASE]),
            tagged: Box::new([[empty; TAGGED]; 3]),
            distrust: 8,
            lfsr: 0xace1,
        }
    }

    /// Has the branch gone this way and no other before?
    #[inline(always)]
    pub fn goes_as_ever(&self, at: &Filtered, taken: bool) -> bool {
        self.filter[usize::from(at.index) % FILTER] == at.tag | if taken { 2 } else { 1 }
    }

    /// The branch at `pc` was `taken` or not: learns it. Returns what was predicted, unless that is for the tables to say
    /// because it went both ways.
    pub fn by_filter(&mut self, pc: u64, taken: bool, at: &Filtered) -> Option<bool> {
        let tag = at.tag;
        let seen = &mut self.filter[usize::from(at.index) % FILTER];
        let (known, way) = (*seen & !3 == tag, if taken { 2 } else { 1 });
        if known && *seen & 3 == BOTH {
            return None;
        }
        let before = if known { *seen & 3 } else { 0 };
        let predicted = before == 2;
        *seen = tag | before | way;
        if *seen & 3 == BOTH {
            self.base[base_index(pc)] = if before == 2 { 2 } else { 1 };
        }
        Some(predicted)
    }

    /// As [`Direction::by_filter`], for a branch that went both ways.
    pub fn by_tables(&mut self, pc: u64, taken: bool, view: &View) -> bool {
        let places = Places::of(pc, view);
        let hit = |t: usize, all: &[[Entry; TAGGED]; 3]| all[t][places.0[t].0].tag == places.0[t].1;
        let provider = (0..3).rev().find(|&t| hit(t, &self.tagged));
        let base = self.base[base_index(pc)] >= 2;
        let Some(t) = provider else {
            step(&mut self.base[base_index(pc)], taken, 3);
            if base != taken {
                self.allocate(0, &places, taken);
            }
            return base;
        };
        let next = (0..t).rev().find(|&t| hit(t, &self.tagged));
        let other = next.map_or(base, |t| self.tagged[t][places.0[t].0].counter >= 4);
        let entry = &mut self.tagged[t][places.0[t].0];
        let (own, fresh) = (entry.counter >= 4, matches!(entry.counter, 3 | 4) && entry.useful == 0);
        let predicted = if fresh && self.distrust >= 8 { other } else { own };
        if own != other {
            step(&mut entry.useful, own == taken, 3);
            if fresh {
                step(&mut self.distrust, other == taken, 15);
            }
        }
        step(&mut entry.counter, taken, 7);
        if fresh && next.is_none() {
            step(&mut self.base[base_index(pc)], taken, 3);
        }
        if predicted != taken && t < 2 && !(fresh && own == taken) {
            self.allocate(t + 1, &places, taken);
        }
        predicted
    }

    /// Makes an entry in one of the tables from `first` on whose place is useless; ages them when there is none.
    fn allocate(&mut self, first: usize, places: &Places, taken: bool) {
        self.lfsr = self.lfsr >> 1 ^ if self.lfsr & 1 != 0 { 0xb400 } else { 0 };
        // One time in four the shortest table that would do is passed over.
        let passed = usize::from(self.lfsr & 3 == 0 && first < 2);
        let useless = |t: usize, all: &[[Entry; TAGGED]; 3]| all[t][places.0[t].0].useful == 0;
        let found = (first + passed..3).chain(first..first + passed).find(|&t| useless(t, &self.tagged));
        match found {
            Some(t) => {
                let counter = if taken { 4 } else { 3 };
                self.tagged[t][places.0[t].0] = Entry { tag: places.0[t].1, counter, useful: 0 };
            }
            None => (first..3).for_each(|t| step(&mut self.tagged[t][places.0[t].0].useful, false, 3)),
        }
    }
}

fn base_index(pc: u64) -> usize {
    (pc ^ pc >> 13) as usize & (BASE - 1)
}
