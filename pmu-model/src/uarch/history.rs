//! The path history: which taken branches led here.
//!
//! On each taken branch the history is shifted by two bits and a footprint of 16 bits, of the branch's and the target's
//! address, is added (timing.md 3.7; not-taken branches leave no trace). Tables are indexed by folds of its newest bits,
//! which are kept up to date by each shift instead of computed: the folds of all tables of one width share a word.

use std::marker::PhantomData;

/// Bits of history kept.
pub(super) const BITS: usize = 388;

/// Footprints that can wait: a power of two, and more than what decides the history, because each one drives out the
/// oldest two bits.
const WAITING: usize = 256;
const DECISIVE: usize = BITS / 2;

/// Bits of a word that a fold has for itself.
const LANE: usize = 20;

/// How much history the tables of a user see.
pub(super) trait Lengths {
    /// In bits: even, at least 16, at most [`BITS`].
    const BITS: [usize; 3];
}

/// The newest bits of the history, of three lengths, each folded by exclusive or into
/// `WIDTH` bits (8 to 16) that lie in a lane of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Folds<const WIDTH: usize>(u64);

/// `bits` in each lane.
const fn lanes(bits: u64) -> u64 {
    bits | bits << LANE | bits << (2 * LANE)
}

impl<const WIDTH: usize> Folds<WIDTH> {
    /// The fold of length `n`.
    #[inline]
    pub fn of(self, n: usize) -> u32 {
        (self.0 >> (LANE * n)) as u32 & ((1 << WIDTH) - 1)
    }

    /// `footprint` comes, and the two bits that are the oldest of each of `L`'s lengths go.
    #[inline(always)]
    fn shift<L: Lengths>(&mut self, oldest: [u8; 3], footprint: u16) {
        let mut x = self.0;
        for (n, (length, pair)) in L::BITS.into_iter().zip(oldest).enumerate() {
            // Both bits of a pair lie side by side in the fold: no length leaves 1 when divided by `WIDTH`.
            x ^= u64::from(pair) << (LANE * n + (length - 2) % WIDTH);
        }
        let turned = x << 2 & lanes((1 << WIDTH) - 1) | x >> (WIDTH - 2) & lanes(3);
        let footprint = u64::from(footprint);
        self.0 = turned ^ lanes(footprint & ((1 << WIDTH) - 1) ^ footprint >> WIDTH);
    }
}

/// The history as one user of it sees it: folds of three lengths into two widths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View<L, const INDEX: usize, const TAG: usize> {
    /// Bits 15:0 of the history.
    newest: u32,
    /// Pairs of bits that no footprint changes any more; the one behind `newest` is at `shifts`.
    pairs: Box<[u8; 256]>,
    shifts: u8,
    /// How many branches it has seen.
    seen: usize,
    /// Indices, and tags.
    pub folds: (Folds<INDEX>, Folds<TAG>),
    of: PhantomData<L>,
}

impl<L: Lengths, const INDEX: usize, const TAG: usize> View<L, INDEX, TAG> {
    pub fn new() -> View<L, INDEX, TAG> {
        for length in L::BITS {
            assert!((16..=BITS).contains(&length) && length % 2 == 0, "lengths are even, and at most {BITS}");
            assert!(length % INDEX != 1 && length % TAG != 1, "the oldest two bits lie side by side in a fold");
        }
        View {
            of: PhantomData,
            newest: 0,
            pairs: Box::new([0; 256]),
            shifts: 0,
            seen: 0,
            folds: (Folds::default(), Folds::default()),
        }
    }

    /// Takes in what `path` has had since the last time.
    #[inline]
    pub fn catch_up(&mut self, path: &Path) {
        let mut behind = path.taken.wrapping_sub(self.seen);
        self.seen = path.taken;
        if behind > DECISIVE {
            behind = DECISIVE;
            (self.newest, *self.pairs, self.folds) = (0, [0; 256], Default::default());
        }
        while behind > 0 {
            self.shift(path.waiting[path.taken.wrapping_sub(behind) % WAITING]);
            behind -= 1;
        }
    }

    #[inline]
    fn shift(&mut self, footprint: u16) {
        let oldest = L::BITS.map(|length| self.pair(length - 2));
        self.folds.0.shift::<L>(oldest, footprint);
        self.folds.1.shift::<L>(oldest, footprint);
        let newest = self.newest << 2;
        self.shifts = self.shifts.wrapping_add(1);
        self.pairs[usize::from(self.shifts)] = (newest >> 16) as u8;
        self.newest = newest & 0xffff ^ u32::from(footprint);
    }

    /// Bits `n` and `n + 1`; `n` is even.
    #[inline]
    fn pair(&self, n: usize) -> u8 {
        if n < 16 {
            return (self.newest >> n) as u8 & 3;
        }
        self.pairs[usize::from(self.shifts.wrapping_sub(((n - 16) / 2) as u8))]
    }

    /// Computes the folds of the `n`th length from the bits.
    #[cfg(test)]
    fn folded(&self, n: usize) -> (u32, u32) {
        let bit = |k: usize| u32::from(self.pair(k & !1) >> (k & 1) & 1);
        let fold = |width: usize| (0..L::BITS[n]).fold(0, |v, k| v ^ bit(k) << (k % width));
        (fold(INDEX), fold(TAG))
    }
}

/// Footprints of the branches taken last: they wait until a view asks, for most branches ask for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    waiting: Box<[u16; WAITING]>,
    /// How many branches were taken.
    taken: usize,
}

impl Path {
    pub fn new() -> Path {
        Path { waiting: Box::new([0; WAITING]), taken: 0 }
    }

    /// Takes in a taken branch.
    #[inline]
    pub fn taken(&mut self, footprint: u16) {
        self.waiting[self.taken % WAITING] = footprint;
        self.taken = self.taken.wrapping_add(1);
    }
}

/// What a branch at `from` adds, before its target does.
#[inline]
pub(super) fn departure(from: u64) -> u16 {
    (from as u16) ^ ((from >> 3) as u16 & 0x1f)
}

/// The footprint of a branch with `departure` to `to`: of B[15:0] and T[5:0]. Differs: which bit goes where is ours; the
/// real part's order was not measured.
#[inline]
pub(super) fn footprint(departure: u16, to: u64) -> u16 {
    departure ^ ((to as u16 & 0x3f) << 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Long;
    impl Lengths for Long {
        const BITS: [usize; 3] = [32, 128, 388];
    }

    #[derive(Debug, PartialEq)]
    struct Short;
    impl Lengths for Short {
        const BITS: [usize; 3] = [32, 128, 128];
    }

    fn next(x: &mut u64) -> u16 {
        *x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        footprint(departure(*x >> 20), *x >> 40)
    }

    #[test]
    fn folds_that_follow_equal_folds_computed_from_the_bits() {
        let (mut path, mut view) = (Path::new(), View::<Long, 11, 10>::new());
        let mut narrow = View::<Short, 10, 9>::new();
        let mut x = 0x1234_5678_9abc_def1u64;
        for _ in 0..2000 {
            path.taken(next(&mut x));
            view.catch_up(&path);
            narrow.catch_up(&path);
            for n in 0..3 {
                assert_eq!((view.folds.0.of(n), view.folds.1.of(n)), view.folded(n));
                assert_eq!((narrow.folds.0.of(n), narrow.folds.1.of(n)), narrow.folded(n));
            }
        }
    }

    #[test]
    fn the_history_is_the_footprints_each_shifted_by_two_bits_more_than_the_one_after_it() {
        let (mut path, mut view) = (Path::new(), View::<Long, 11, 10>::new());
        let (mut x, mut bits) = (77, [false; BITS]);
        for _ in 0..1000 {
            let footprint = next(&mut x);
            path.taken(footprint);
            bits.copy_within(0..BITS - 2, 2);
            (bits[0], bits[1]) = (false, false);
            (0..16).for_each(|n| bits[n] ^= footprint >> n & 1 != 0);
            view.catch_up(&path);
            let pair = |n: usize| u8::from(bits[n]) | u8::from(bits[n + 1]) << 1;
            assert!((0..BITS).step_by(2).all(|n| view.pair(n) == pair(n)));
        }
    }

    #[test]
    fn footprints_may_wait_as_long_as_they_like() {
        let (mut path, mut x) = (Path::new(), 0x9e37_79b9_7f4a_7c15u64);
        let (mut at_once, mut lazy) = (View::<Long, 11, 10>::new(), View::<Long, 11, 10>::new());
        for n in 0..20_000u32 {
            path.taken(next(&mut x));
            at_once.catch_up(&path);
            // Waits for 1 to 700 branches.
            if u64::from(next(&mut x)) % u64::from(1 + n / 20) < 2 {
                lazy.catch_up(&path);
                assert_eq!(at_once.folds, lazy.folds, "{n}");
            }
        }
    }
}
