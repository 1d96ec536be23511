//! A cache's tags: sets in true LRU order, most recent first.

use super::parameters::Geometry;

/// The line was written.
pub(super) const DIRTY: u32 = 1;
/// The line was made by streaming stores: nothing fetched it, nothing writes it back.
pub(super) const STREAMED: u32 = 2;
const FLAGS: u32 = 3;

/// What a look-up found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The set's most recent line: nothing moved.
    First,
    /// Another one, which is the most recent now.
    Moved,
    Not,
}

/// Tags. An entry is `(line + 1) << 2` and two flags; zero is no line. Lines beyond 2^30 (64 GiB) share tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cache {
    sets: u64,
    ways: usize,
    tags: Box<[u32]>,
}

/// A line that went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub line: u64,
    pub flags: u32,
}

fn key(line: u64) -> u32 {
    (line as u32).wrapping_add(1) << 2
}

fn gone(entry: u32) -> Option<Gone> {
    (entry > FLAGS).then(|| Gone { line: u64::from((entry >> 2) - 1), flags: entry & FLAGS })
}

impl Cache {
    pub fn new(g: Geometry) -> Cache {
        Cache { sets: u64::from(g.sets), ways: g.ways as usize, tags: vec![0; (g.sets * g.ways) as usize].into() }
    }

    fn set(&mut self, line: u64) -> &mut [u32] {
        let set = if self.sets.is_power_of_two() { line & (self.sets - 1) } else { line % self.sets } as usize;
        &mut self.tags[set * self.ways..(set + 1) * self.ways]
    }

    /// Looks for `line`, makes it the most recent, and adds `flags` to it.
    #[inline]
    pub fn touch(&mut self, line: u64, flags: u32) -> Found {
        let (set, key) = (self.set(line), key(line));
        if set[0] & !FLAGS == key {
            set[0] |= flags;
            return Found::First;
        }
        let Some(way) = set.iter().position(|e| e & !FLAGS == key) else { return Found::Not };
        set[..=way].rotate_right(1);
        set[0] |= flags;
        Found::Moved
    }

    /// Adds `flags` to `line` where it is, if it is there.
    pub fn mark(&mut self, line: u64, flags: u32) -> bool {
        let (set, key) = (self.set(line), key(line));
        let entry = set.iter_mut().find(|e| **e & !FLAGS == key);
        entry.map(|e| *e |= flags).is_some()
    }

    /// Puts `line`, which is not there, in the first place; the last one of its set goes.
    pub fn fill(&mut self, line: u64, flags: u32) -> Option<Gone> {
        let set = self.set(line);
        set.rotate_right(1);
        let last = std::mem::replace(&mut set[0], key(line) | flags);
        gone(last)
    }

    /// Takes `line` out.
    pub fn remove(&mut self, line: u64) -> Option<Gone> {
        let (set, key) = (self.set(line), key(line));
        let way = set.iter().position(|e| e & !FLAGS == key)?;
        let entry = std::mem::replace(&mut set[way], 0);
        set[way..].rotate_left(1);
        gone(entry)
    }

    pub fn clear(&mut self) {
        self.tags.fill(0);
    }
}
