//! A cache's tags: sets in true LRU order, most recent first.

use super::parameters::Geometry;
use wide::u32x8;

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

/// Most ways of a set: its order is a word of that many digits.
pub(super) const MOST_WAYS: usize = 16;

/// The entries of a set, in one cache line of the host. An entry is `(line + 1) << 2` and two flags; zero is no line.
/// Lines beyond 2^30 (64 GiB) share entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
struct Ways([u32; MOST_WAYS]);

impl Ways {
    #[inline]
    fn find(&self, key: u32) -> Option<usize> {
        let [low, high] = self.0.as_chunks().0 else { return None };
        let hits = |half: &[u32; 8]| (u32x8::new(*half) & !FLAGS).simd_eq(u32x8::splat(key)).to_bitmask();
        let hits = hits(low) | hits(high) << 8;
        (hits != 0).then(|| hits.trailing_zeros() as usize)
    }
}

/// The ways of a set by use, most recent first: a hexadecimal digit for each, from the lowest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order(u64);

impl Order {
    const FIRST: Order = Order(0xfedc_ba98_7654_3210);

    #[inline]
    fn way(self, place: usize) -> usize {
        (self.0 >> (4 * place)) as usize & 15
    }

    /// Where `way` is: the lowest digit equal to it.
    #[inline]
    fn place(self, way: usize) -> usize {
        const ONES: u64 = 0x1111_1111_1111_1111;
        let x = self.0 ^ ONES.wrapping_mul(way as u64);
        (x.wrapping_sub(ONES) & !x & ONES << 3).trailing_zeros() as usize / 4
    }

    /// The digit at `place` goes to the front.
    #[inline]
    fn to_front(self, place: usize) -> Order {
        let through = u64::MAX >> (60 - 4 * place);
        let before = through >> 4;
        Order(self.0 & !through | (self.0 & before) << 4 | self.way(place) as u64)
    }

    /// The digit at `place` goes to place `last`, behind it.
    #[inline]
    fn to_place(self, place: usize, last: usize) -> Order {
        let through = u64::MAX >> (60 - 4 * last);
        let before = (1u64 << (4 * place)) - 1;
        let moved = self.0 >> 4 & (through >> 4) & !before;
        Order(self.0 & (before | !through) | moved | (self.way(place) as u64) << (4 * last))
    }
}

/// Tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cache {
    sets: u64,
    /// One less, if it is a power of two: the bits of a line that choose its set.
    mask: Option<u64>,
    ways: usize,
    entries: Box<[Ways]>,
    orders: Box<[Order]>,
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
        let sets = u64::from(g.sets);
        Cache {
            sets,
            mask: sets.is_power_of_two().then(|| sets - 1),
            ways: g.ways as usize,
            entries: vec![Ways([0; MOST_WAYS]); g.sets as usize].into(),
            orders: vec![Order::FIRST; g.sets as usize].into(),
        }
    }

    #[inline]
    fn set(&mut self, line: u64) -> (&mut Ways, &mut Order) {
        let set = self.mask.map_or_else(|| line % self.sets, |mask| line & mask) as usize;
        (&mut self.entries[set], &mut self.orders[set])
    }

    /// Looks for `line`, makes it the most recent, and adds `flags` to it.
    #[inline]
    pub fn touch(&mut self, line: u64, flags: u32) -> Found {
        let (key, (set, order)) = (key(line), self.set(line));
        let first = &mut set.0[order.way(0)];
        if *first & !FLAGS == key {
            *first |= flags;
            return Found::First;
        }
        let Some(way) = set.find(key) else { return Found::Not };
        set.0[way] |= flags;
        *order = order.to_front(order.place(way));
        Found::Moved
    }

    /// Adds `flags` to `line` where it is, if it is there.
    pub fn mark(&mut self, line: u64, flags: u32) -> bool {
        let (key, (set, _)) = (key(line), self.set(line));
        let way = set.find(key);
        way.map(|way| set.0[way] |= flags).is_some()
    }

    /// Puts `line`, which is not there, in the first place; the last one of its set goes.
    #[inline]
    pub fn fill(&mut self, line: u64, flags: u32) -> Option<Gone> {
        let last = self.ways - 1;
        let (key, (set, order)) = (key(line), self.set(line));
        let entry = std::mem::replace(&mut set.0[order.way(last)], key | flags);
        *order = order.to_front(last);
        gone(entry)
    }

    /// Puts `line` in the first place, with `flags` and no others; the last one of its set goes if it is not there yet.
    #[inline]
    pub fn put(&mut self, line: u64, flags: u32) {
        let (key, (set, order)) = (key(line), self.set(line));
        match set.find(key) {
            Some(way) => {
                set.0[way] = key | flags;
                *order = order.to_front(order.place(way));
            }
            None => {
                self.fill(line, flags);
            }
        }
    }

    /// Takes `line` out.
    #[inline]
    pub fn remove(&mut self, line: u64) -> Option<Gone> {
        let last = self.ways - 1;
        let (key, (set, order)) = (key(line), self.set(line));
        let way = set.find(key)?;
        *order = order.to_place(order.place(way), last);
        gone(std::mem::take(&mut set.0[way]))
    }

    pub fn clear(&mut self) {
        self.entries.fill(Ways([0; MOST_WAYS]));
        self.orders.fill(Order::FIRST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uarch::tests::Random;

    #[test]
    fn a_set_does_what_a_list_in_order_of_use_does() {
        for ways in [1, 2, 5, 15, 16] {
            let (mut cache, mut r) = (Cache::new(Geometry::of(3, ways)), Random(u64::from(ways)));
            let mut list: [Vec<(u64, u32)>; 3] = [const { Vec::new() }; 3];
            for _ in 0..20_000 {
                let (line, flags) = (r.below(3 * u64::from(ways) * 2), r.below(4) as u32);
                let set = &mut list[(line % 3) as usize];
                let place = set.iter().position(|e| e.0 == line);
                match (r.below(9), place) {
                    (8, _) => {
                        cache.put(line, flags);
                        if let Some(n) = place {
                            set.remove(n);
                        }
                        set.insert(0, (line, flags));
                        set.truncate(ways as usize);
                    }
                    (0, _) => {
                        let went = place.map(|n| set.remove(n));
                        assert_eq!(cache.remove(line), went.map(|(line, flags)| Gone { line, flags }));
                    }
                    (1, _) => {
                        assert_eq!(cache.mark(line, flags), place.is_some());
                        place.into_iter().for_each(|n| set[n].1 |= flags);
                    }
                    (_, Some(n)) => {
                        assert_eq!(cache.touch(line, flags), if n == 0 { Found::First } else { Found::Moved });
                        let entry = set.remove(n);
                        set.insert(0, (line, entry.1 | flags));
                    }
                    (_, None) => {
                        assert_eq!(cache.touch(line, flags), Found::Not);
                        set.insert(0, (line, flags));
                        let went = (set.len() > ways as usize).then(|| set.pop().unwrap());
                        assert_eq!(cache.fill(line, flags), went.map(|(line, flags)| Gone { line, flags }));
                    }
                }
            }
        }
    }
}
