//! The path history: which taken branches led here.
//!
//! On each taken branch the history is shifted by two bits and a footprint of 16 bits, of the branch's and the target's
//! address, is added (timing.md 3.7; not-taken branches leave no trace). Tables are indexed by folds of its newest bits,
//! which are kept up to date by each shift instead of computed: all folds of a user share a word.

use std::marker::PhantomData;

/// Most bits of history that anyone sees.
const BITS: usize = 388;

/// Footprints that can wait: a power of two, and more than what decides the history, because each one drives out the
/// oldest two bits.
const WAITING: usize = 256;
const DECISIVE: usize = BITS / 2;

/// After so many equal footprints one more changes nothing.
const STEADY: u16 = DECISIVE as u16 + 8;

/// How a user sees the history: its newest bits of several lengths, each folded by exclusive or into two widths.
pub(super) trait Sight {
    /// In bits: even, at least 16, at most [`BITS`].
    const LENGTHS: &[usize];
    /// Bits of a fold that is an index, and of one that is a tag: 8 to 16; all of them together have room in 64.
    const INDEX: usize;
    const TAG: usize;
}

/// Where the `n`th index lies in the word of all folds: the tags lie behind the indices.
const fn index_at<S: Sight>(n: usize) -> usize {
    S::INDEX * n
}

/// Where the `n`th tag does.
const fn tag_at<S: Sight>(n: usize) -> usize {
    S::INDEX * S::LENGTHS.len() + S::TAG * n
}

/// `index` in each lane of an index, `tag` in each lane of a tag.
const fn lanes<S: Sight>(index: u64, tag: u64) -> u64 {
    let (mut word, mut n) = (0, 0);
    while n < S::LENGTHS.len() {
        word |= index << index_at::<S>(n) | tag << tag_at::<S>(n);
        n += 1;
    }
    word
}

/// Bit 0 of the pair that leaves the `n`th length, in its index and its tag.
const fn leaving<S: Sight>(n: usize) -> u64 {
    let at = S::LENGTHS[n] - 2;
    // Both bits of a pair lie side by side.
    assert!(at % S::INDEX + 1 < S::INDEX && at % S::TAG + 1 < S::TAG);
    1 << (index_at::<S>(n) + at % S::INDEX) | 1 << (tag_at::<S>(n) + at % S::TAG)
}

/// The history as one user of it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View<S> {
    folds: u64,
    /// Bits 15:0 of the history.
    newest: u16,
    /// The footprint that came last, and how many equal ones before it.
    last: u16,
    equal: u16,
    /// Pairs of bits that no footprint reaches any more; the one behind `newest` is at `shifts`.
    shifts: u8,
    pairs: Box<[u8; 256]>,
    /// How many branches it has seen.
    seen: usize,
    of: PhantomData<S>,
}

impl<S: Sight> View<S> {
    pub fn new() -> View<S> {
        View { folds: 0, newest: 0, last: 0, equal: 0, shifts: 0, pairs: Box::new([0; 256]), seen: 0, of: PhantomData }
    }

    /// Takes in what `path` has had since the last time.
    #[inline(always)]
    pub fn catch_up(&mut self, path: &Path) {
        let behind = path.taken.wrapping_sub(self.seen).min(DECISIVE);
        self.seen = path.taken;
        for n in (1..=behind).rev() {
            let footprint = path.waiting[path.taken.wrapping_sub(n) % WAITING];
            if footprint != self.last {
                (self.last, self.equal) = (footprint, 0);
            } else if self.equal < STEADY {
                self.equal += 1;
            } else {
                continue;
            }
            self.shift(footprint);
        }
    }

    /// One branch was taken since the last time, and to take it in changes nothing.
    #[inline(always)]
    pub fn is_steady(&self, path: &Path) -> bool {
        path.taken.wrapping_sub(self.seen) == 1
            && self.equal == STEADY
            && path.waiting[path.taken.wrapping_sub(1) % WAITING] == self.last
    }

    /// Takes it in.
    #[inline(always)]
    pub fn stay_steady(&mut self) {
        self.seen = self.seen.wrapping_add(1);
    }

    #[inline(always)]
    fn shift(&mut self, footprint: u16) {
        let mut x = self.folds;
        for (n, length) in S::LENGTHS.iter().enumerate() {
            x ^= u64::from(self.pair(length - 2)) * leaving::<S>(n);
        }
        let (high_index, high_tag) = (x >> (S::INDEX - 2), x >> (S::TAG - 2));
        x = x << 2 & !lanes::<S>(3, 3) | high_index & lanes::<S>(3, 0) | high_tag & lanes::<S>(0, 3);
        let fold = |width: usize| u64::from(footprint & ((1 << width) - 1) ^ footprint >> width);
        self.folds = x ^ (fold(S::INDEX) * lanes::<S>(1, 0)) ^ (fold(S::TAG) * lanes::<S>(0, 1));
        self.shifts = self.shifts.wrapping_add(1);
        self.pairs[usize::from(self.shifts)] = (self.newest >> 14) as u8;
        self.newest = self.newest << 2 ^ footprint;
    }

    /// Bits `n` and `n + 1`; `n` is even.
    #[inline(always)]
    fn pair(&self, n: usize) -> u8 {
        if n < 16 {
            return (self.newest >> n) as u8 & 3;
        }
        self.pairs[usize::from(self.shifts.wrapping_sub(((n - 16) / 2) as u8))]
    }

    /// The `n`th length, folded into an index.
    #[inline(always)]
    pub fn index(&self, n: usize) -> u32 {
        (self.folds >> index_at::<S>(n)) as u32 & ((1 << S::INDEX) - 1)
    }

    /// The `n`th length, folded into a tag.
    #[inline(always)]
    pub fn tag(&self, n: usize) -> u32 {
        (self.folds >> tag_at::<S>(n)) as u32 & ((1 << S::TAG) - 1)
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
    #[inline(always)]
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
#[inline(always)]
pub(super) fn footprint(departure: u16, to: u64) -> u16 {
    departure ^ ((to as u16 & 0x3f) << 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Long;
    impl Sight for Long {
        const LENGTHS: &[usize] = &[32, 128, 388];
        const INDEX: usize = 11;
        const TAG: usize = 10;
    }

    #[derive(Clone, Debug, PartialEq)]
    struct Short;
    impl Sight for Short {
        const LENGTHS: &[usize] = &[32, 128];
        const INDEX: usize = 10;
        const TAG: usize = 9;
    }

    /// The history as timing.md has it: all its bits.
    struct Plain([bool; BITS]);

    impl Plain {
        fn taken(&mut self, footprint: u16) {
            self.0.copy_within(0..BITS - 2, 2);
            (self.0[0], self.0[1]) = (false, false);
            (0..16).for_each(|n| self.0[n] ^= footprint >> n & 1 != 0);
        }

        fn assert_is<S: Sight>(&self, view: &View<S>, when: u32) {
            for (n, length) in S::LENGTHS.iter().enumerate() {
                let fold = |width: usize| {
                    let bits = self.0[..*length].iter().enumerate();
                    bits.fold(0, |v, (n, bit)| v ^ u32::from(*bit) << (n % width))
                };
                assert_eq!((view.index(n), view.tag(n)), (fold(S::INDEX), fold(S::TAG)), "{when}, length {length}");
            }
        }
    }

    fn next(x: &mut u64) -> u16 {
        *x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        footprint(departure(*x >> 20), *x >> 40)
    }

    #[test]
    fn its_folds_are_those_of_its_bits() {
        let (mut path, mut plain, mut x) = (Path::new(), Plain([false; BITS]), 0x1234_5678_9abc_def1u64);
        let (mut long, mut short) = (View::<Long>::new(), View::<Short>::new());
        for n in 0..3000 {
            let footprint = next(&mut x);
            path.taken(footprint);
            plain.taken(footprint);
            long.catch_up(&path);
            short.catch_up(&path);
            plain.assert_is(&long, n);
            plain.assert_is(&short, n);
        }
    }

    #[test]
    fn footprints_may_wait_as_long_as_they_like() {
        let (mut path, mut plain, mut x) = (Path::new(), Plain([false; BITS]), 0x9e37_79b9_7f4a_7c15u64);
        let mut view = View::<Long>::new();
        for n in 0..20_000u32 {
            let footprint = next(&mut x);
            path.taken(footprint);
            plain.taken(footprint);
            // Waits for 1 to 700 branches.
            if u64::from(next(&mut x)) % u64::from(1 + n / 20) < 2 {
                view.catch_up(&path);
                plain.assert_is(&view, n);
            }
        }
    }

    #[test]
    fn equal_footprints_change_nothing_after_a_while() {
        let (mut path, mut plain, mut x) = (Path::new(), Plain([false; BITS]), 0x0123_4567_89ab_cdefu64);
        let (mut view, mut unchanged) = (View::<Long>::new(), 0u32);
        for n in 0..200 {
            // 1 to 600 equal ones, looked at after each, or now and then.
            let (footprint, times) = (next(&mut x), 1 + next(&mut x) % 600);
            let step = if n % 2 == 0 { 1 } else { 1 + next(&mut x) % 300 };
            for m in 0..times {
                path.taken(footprint);
                plain.taken(footprint);
                if m % step == 0 {
                    if view.is_steady(&path) {
                        view.stay_steady();
                        unchanged += 1;
                    }
                    view.catch_up(&path);
                    plain.assert_is(&view, n);
                }
            }
        }
        assert!(unchanged > 1000, "{unchanged}");
    }
}
