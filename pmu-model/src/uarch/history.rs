//! The path history: which taken branches led here.
//!
//! On each taken branch the history is shifted by two bits and a footprint of 16 bits, of the branch's and the target's
//! address, is added (timing.md 3.7; not-taken branches leave no trace). Tables are indexed by folds of its newest bits,
//! which are kept up to date by each shift instead of computed: all of them share a word.

/// Most bits of history that anyone sees.
const BITS: usize = 388;

/// Its newest bits of several lengths are seen, each folded by exclusive or into an index and into a tag. In bits: even, at
/// least 16, at most [`BITS`]; a fold has 8 to 16, and all of them together have room in 64.
const LENGTHS: [usize; 3] = [32, 128, BITS];
const INDEX: usize = 11;
const TAG: usize = 10;

/// Footprints that can wait: a power of two, and more than what decides the history, because each one drives out the
/// oldest two bits.
const WAITING: usize = 256;
const DECISIVE: usize = BITS / 2;

/// After so many equal footprints one more changes nothing.
const STEADY: u16 = DECISIVE as u16 + 8;

/// Where the `n`th index lies in the word of all folds: the tags lie behind the indices.
const fn index_at(n: usize) -> usize {
    INDEX * n
}

/// Where the `n`th tag does.
const fn tag_at(n: usize) -> usize {
    INDEX * LENGTHS.len() + TAG * n
}

/// `index` in each lane of an index, `tag` in each lane of a tag.
const fn lanes(index: u64, tag: u64) -> u64 {
    let (mut word, mut n) = (0, 0);
    while n < LENGTHS.len() {
        word |= index << index_at(n) | tag << tag_at(n);
        n += 1;
    }
    word
}

/// For each length bit 0 of the pair that leaves it, in its index and its tag.
const LEAVING: [u64; LENGTHS.len()] = {
    let (mut all, mut n) = ([0; LENGTHS.len()], 0);
    while n < LENGTHS.len() {
        let at = LENGTHS[n] - 2;
        // Both bits of a pair lie side by side.
        assert!(at % INDEX + 1 < INDEX && at % TAG + 1 < TAG);
        all[n] = 1 << (index_at(n) + at % INDEX) | 1 << (tag_at(n) + at % TAG);
        n += 1;
    }
    all
};

/// The history. Footprints of the branches taken last wait until someone asks, for most branches ask for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct History {
    waiting: Box<[u16; WAITING]>,
    /// How many branches were taken, and how many of them the folds have seen.
    taken: usize,
    seen: usize,
    folds: u64,
    /// Bits 15:0 of the history.
    newest: u16,
    /// The footprint that was seen last, and how many equal ones before it.
    last: u16,
    equal: u16,
    /// Pairs of bits that no footprint reaches any more; the one behind `newest` is at `shifts`.
    shifts: u8,
    pairs: Box<[u8; 256]>,
}

impl History {
    pub fn new() -> History {
        History {
            waiting: Box::new([0; WAITING]),
            taken: 0,
            seen: 0,
            folds: 0,
            newest: 0,
            last: 0,
            equal: 0,
            shifts: 0,
            pairs: Box::new([0; 256]),
        }
    }

    /// A branch was taken.
    #[inline(always)]
    pub fn taken(&mut self, footprint: u16) {
        self.waiting[self.taken % WAITING] = footprint;
        self.taken = self.taken.wrapping_add(1);
    }

    /// Takes in what waits.
    #[inline(always)]
    pub fn catch_up(&mut self) {
        let behind = self.taken.wrapping_sub(self.seen).min(DECISIVE);
        self.seen = self.taken;
        for n in (1..=behind).rev() {
            let footprint = self.waiting[self.taken.wrapping_sub(n) % WAITING];
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

    /// One footprint waits, and to take it in changes nothing.
    #[inline(always)]
    pub fn is_steady(&self) -> bool {
        self.taken.wrapping_sub(self.seen) == 1
            && self.equal == STEADY
            && self.waiting[self.seen % WAITING] == self.last
    }

    /// Takes it in.
    #[inline(always)]
    pub fn stay_steady(&mut self) {
        self.seen = self.taken;
    }

    #[inline(always)]
    fn shift(&mut self, footprint: u16) {
        let mut x = self.folds;
        for (length, leaving) in LENGTHS.iter().zip(LEAVING) {
            x ^= u64::from(self.pair(length - 2)) * leaving;
        }
        let (high_index, high_tag) = (x >> (INDEX - 2), x >> (TAG - 2));
        x = x << 2 & !lanes(3, 3) | high_index & lanes(3, 0) | high_tag & lanes(0, 3);
        let fold = |width: usize| u64::from(footprint & ((1 << width) - 1) ^ footprint >> width);
        self.folds = x ^ (fold(INDEX) * lanes(1, 0)) ^ (fold(TAG) * lanes(0, 1));
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
        (self.folds >> index_at(n)) as u32 & ((1 << INDEX) - 1)
    }

    /// The `n`th length, folded into a tag.
    #[inline(always)]
    pub fn tag(&self, n: usize) -> u32 {
        (self.folds >> tag_at(n)) as u32 & ((1 << TAG) - 1)
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

    /// The history as timing.md has it: all its bits.
    struct Plain([bool; BITS]);

    impl Plain {
        fn taken(&mut self, footprint: u16) {
            self.0.copy_within(0..BITS - 2, 2);
            (self.0[0], self.0[1]) = (false, false);
            (0..16).for_each(|n| self.0[n] ^= footprint >> n & 1 != 0);
        }

        fn assert_is(&self, history: &History, when: u32) {
            for (n, length) in LENGTHS.iter().enumerate() {
                let fold = |width: usize| {
                    let bits = self.0[..*length].iter().enumerate();
                    bits.fold(0, |v, (n, bit)| v ^ u32::from(*bit) << (n % width))
                };
                assert_eq!((history.index(n), history.tag(n)), (fold(INDEX), fold(TAG)), "{when}, length {length}");
            }
        }
    }

    fn next(x: &mut u64) -> u16 {
        *x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        footprint(departure(*x >> 20), *x >> 40)
    }

    #[test]
    fn its_folds_are_those_of_its_bits() {
        let (mut history, mut plain, mut x) = (History::new(), Plain([false; BITS]), 0x1234_5678_9abc_def1u64);
        for n in 0..3000 {
            let footprint = next(&mut x);
            history.taken(footprint);
            plain.taken(footprint);
            history.catch_up();
            plain.assert_is(&history, n);
        }
    }

    #[test]
    fn footprints_may_wait_as_long_as_they_like() {
        let (mut history, mut plain, mut x) = (History::new(), Plain([false; BITS]), 0x9e37_79b9_7f4a_7c15u64);
        for n in 0..20_000u32 {
            let footprint = next(&mut x);
            history.taken(footprint);
            plain.taken(footprint);
            // Waits for 1 to 700 branches.
            if u64::from(next(&mut x)) % u64::from(1 + n / 20) < 2 {
                history.catch_up();
                plain.assert_is(&history, n);
            }
        }
    }

    #[test]
    fn equal_footprints_change_nothing_after_a_while() {
        let (mut history, mut plain, mut x) = (History::new(), Plain([false; BITS]), 0x0123_4567_89ab_cdefu64);
        let mut unchanged = 0u32;
        for n in 0..200 {
            // 1 to 600 equal ones, looked at after each, or now and then.
            let (footprint, times) = (next(&mut x), 1 + next(&mut x) % 600);
            let step = if n % 2 == 0 { 1 } else { 1 + next(&mut x) % 300 };
            for m in 0..times {
                history.taken(footprint);
                plain.taken(footprint);
                if m % step == 0 {
                    if history.is_steady() {
                        history.stay_steady();
                        unchanged += 1;
                    }
                    history.catch_up();
                    plain.assert_is(&history, n);
                }
            }
        }
        assert!(unchanged > 1000, "{unchanged}");
    }
}
