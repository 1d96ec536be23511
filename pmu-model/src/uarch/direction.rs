//! Which way a conditional branch goes: a one-sided filter, a bimodal base, and three tables tagged by path history.
//!
//! A branch that went one way only is predicted to go there again and touches nothing else; one not seen yet is predicted
//! not taken. The others are predicted by the longest history that knows them (timing.md 3.7).

use super::history::History;

const FILTER: usize = 16 << 10;
const BASE: usize = 8 << 10;
const TAGGED: usize = 2 << 10;
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

impl Entry {
    #[inline(always)]
    fn taken(self) -> bool {
        self.counter >= 4
    }

    /// It was made a moment ago, or has been wrong as often as right.
    #[inline(always)]
    fn is_fresh(self) -> bool {
        matches!(self.counter, 3 | 4) && self.useful == 0
    }
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
    /// The question asked last, by address and way, if it was answered right and changed nothing.
    settled: Option<(u64, bool)>,
}

/// Where the tagged tables are looked at.
struct Places([(usize, u16); 3]);

impl Places {
    #[inline(always)]
    fn of(pc: u64, history: &History) -> Places {
        let pc = (pc ^ pc >> 32) as u32;
        Places([0, 1, 2].map(|t| {
            let (index, tag) = (history.index(t), history.tag(t));
            let at = pc ^ pc >> (11 - t) ^ index;
            let tag = (pc ^ pc >> 11 ^ index >> 3 ^ tag << 1) & 0x7ff;
            (at as usize & (TAGGED - 1), tag as u16)
        }))
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
            settled: None,
        }
    }

    /// Has the branch gone this way and no other before?
    #[inline(always)]
    pub fn goes_as_ever(&self, at: &Filtered, taken: bool) -> bool {
        self.filter[usize::from(at.index) % FILTER] == at.tag | if taken { 2 } else { 1 }
    }

    /// Predicts which way the branch at `pc` goes, and learns that it was `taken` or not.
    #[inline(always)]
    pub fn predict(&mut self, pc: u64, taken: bool, at: &Filtered, history: &mut History) -> bool {
        if self.filter[usize::from(at.index) % FILTER] != at.tag | BOTH {
            return self.ask_filter(pc, taken, at);
        }
        if self.settled == Some((pc, taken)) && history.is_steady() {
            history.stay_steady();
            return taken;
        }
        self.ask_tables(pc, taken, history)
    }

    /// As [`Direction::predict`], for a branch that went one way at most.
    #[inline(never)]
    fn ask_filter(&mut self, pc: u64, taken: bool, at: &Filtered) -> bool {
        let seen = &mut self.filter[usize::from(at.index) % FILTER];
        let before = if *seen & !3 == at.tag { *seen & 3 } else { 0 };
        let way = if taken { 2 } else { 1 };
        *seen = at.tag | before | way;
        if before | way == BOTH {
            self.base[base_index(pc)] = before as u8;
            self.settled = None;
        }
        before == 2
    }

    /// As [`Direction::predict`], for a branch that went both ways.
    #[inline(never)]
    fn ask_tables(&mut self, pc: u64, taken: bool, history: &mut History) -> bool {
        history.catch_up();
        let places = Places::of(pc, history);
        let [a, b, c] = places.0;
        let entries = [self.tagged[0][a.0], self.tagged[1][b.0], self.tagged[2][c.0]];
        let base = self.base[base_index(pc)];
        // The longest history that knows it, and what the next one says.
        let (mut own, mut other) = (None, base >= 2);
        for t in 0..3 {
            if entries[t].tag == places.0[t].1 {
                other = own.map_or(other, |own: usize| entries[own].taken());
                own = Some(t);
            }
        }
        // Certain, right, and no surprise to the shorter one: nothing is to be learnt.
        let certain = match own {
            Some(t) => entries[t].counter == if taken { 7 } else { 0 },
            None => base == if taken { 3 } else { 0 },
        };
        if certain && other == taken {
            self.settled = Some((pc, taken));
            return taken;
        }
        self.settled = None;
        match own {
            Some(t) => self.learn(pc, taken, &places, t, other),
            None => self.learn_in_base(pc, taken, &places),
        }
    }

    /// Predicts by the base, which alone knows the branch, and teaches it.
    #[inline]
    fn learn_in_base(&mut self, pc: u64, taken: bool, places: &Places) -> bool {
        let base = &mut self.base[base_index(pc)];
        let predicted = *base >= 2;
        step(base, taken, 3);
        if predicted != taken {
            self.allocate(0, places, taken);
        }
        predicted
    }

    /// Predicts by table `t`, the one of the longest history that knows the branch, and teaches it; the next one says `other`.
    #[inline]
    fn learn(&mut self, pc: u64, taken: bool, places: &Places, t: usize, other: bool) -> bool {
        let is_next = |t: usize| self.tagged[t][places.0[t].0].tag == places.0[t].1;
        let alone = !(0..t).any(is_next);
        let entry = &mut self.tagged[t][places.0[t].0];
        let (own, fresh) = (entry.taken(), entry.is_fresh());
        let predicted = if fresh && self.distrust >= 8 { other } else { own };
        if own != other {
            step(&mut entry.useful, own == taken, 3);
            if fresh {
                step(&mut self.distrust, other == taken, 15);
            }
        }
        step(&mut entry.counter, taken, 7);
        if fresh && alone {
            step(&mut self.base[base_index(pc)], taken, 3);
        }
        if predicted != taken && t < 2 && !(fresh && own == taken) {
            self.allocate(t + 1, places, taken);
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
