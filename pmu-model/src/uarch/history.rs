//! The path history: which taken branches led here.
//!
//! On each taken branch the history is shifted by two bits and a footprint of 16 bits, of the branch's and the target's
//! address, is added (timing.md 3.7; not-taken branches leave no trace). Tables are indexed by folds of its newest bits,
//! which are kept up to date by each shift instead of computed.

/// Bits of history kept.
pub(super) const BITS: u32 = 388;
/// A ring of 512 bits.
const WORDS: usize = 8;

/// Folds that follow the history: the newest bits of it, folded into fewer by exclusive or.
pub(super) trait Folds: Default {
    /// The history is shifted: `footprint` comes, and the two bits that `pair` gives by number are where they were.
    fn shift(&mut self, pair: impl Fn(usize) -> u32, footprint: u32);
}

/// The fold of the newest `LENGTH` bits (an even number of at least 16 and at most [`BITS`]) into `WIDTH` (8 to 16) that
/// follows `value` when `footprint` comes and the `oldest` two bits go.
#[inline(always)]
pub(super) fn shifted<const LENGTH: usize, const WIDTH: usize>(value: u32, oldest: u32, footprint: u32) -> u32 {
    let mask = (1 << WIDTH) - 1;
    let turned = (value << 2 | value >> (WIDTH - 2)) & mask;
    // Where the two bits are in the fold when they are driven out of the length.
    let gone = (oldest & 1) << (LENGTH % WIDTH) ^ oldest >> 1 << ((LENGTH + 1) % WIDTH);
    turned ^ gone ^ (footprint & mask) ^ footprint >> WIDTH
}

/// Footprints that can wait: a power of two, and more than what decides the history, because each one drives out the
/// oldest two bits.
const WAITING: usize = 256;
const DECISIVE: usize = BITS as usize / 2;

/// The history. Footprints wait until somebody asks: most branches ask for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// Bit `n` of the history is `(newest + n) % 512`.
    bits: [u64; WORDS],
    newest: usize,
    /// The last footprints, and how many there were.
    waiting: Box<[u16; WAITING]>,
    taken: usize,
    /// How many of them wait.
    behind: usize,
}

impl Path {
    pub fn new() -> Path {
        Path { bits: [0; WORDS], newest: 0, waiting: Box::new([0; WAITING]), taken: 0, behind: 0 }
    }

    /// Takes in a taken branch.
    #[inline]
    pub fn taken(&mut self, from: u64, to: u64) {
        self.waiting[self.taken % WAITING] = footprint(from, to);
        self.taken = self.taken.wrapping_add(1);
        self.behind += 1;
    }

    /// Takes in what waits; `folds`, always the same ones, follow.
    #[inline]
    pub fn catch_up<F: Folds>(&mut self, folds: &mut F) {
        if self.behind > DECISIVE {
            self.behind = DECISIVE;
            self.bits = [0; WORDS];
            *folds = F::default();
        }
        while self.behind > 0 {
            let footprint = self.waiting[self.taken.wrapping_sub(self.behind) % WAITING];
            self.behind -= 1;
            folds.shift(|n| self.pair(n), footprint.into());
            self.shift(footprint.into());
        }
    }

    /// Bits `n` and `n + 1`; `n` is even.
    #[inline]
    fn pair(&self, n: usize) -> u32 {
        let at = (self.newest + n) % (64 * WORDS);
        (self.bits[at / 64] >> (at % 64)) as u32 & 3
    }

    #[inline]
    fn shift(&mut self, footprint: u64) {
        self.newest = self.newest.wrapping_sub(2) % (64 * WORDS);
        let (word, at) = (self.newest / 64, self.newest % 64);
        self.bits[word] = self.bits[word] & !(3 << at) ^ footprint << at;
        if at > 48 {
            self.bits[(word + 1) % WORDS] ^= footprint >> (64 - at);
        }
    }

    /// Computes a fold from the bits.
    #[cfg(test)]
    pub fn folded(&self, length: usize, width: usize) -> u32 {
        let bit = |n: usize| self.pair(n & !1) >> (n & 1) & 1;
        (0..length).fold(0, |v, n| v ^ bit(n) << (n % width))
    }
}

/// Of B[15:0] and T[5:0]. Differs: which bit goes where is ours; the real part's order was not measured.
fn footprint(from: u64, to: u64) -> u16 {
    (from as u16) ^ ((to as u16 & 0x3f) << 5) ^ ((from >> 3) as u16 & 0x1f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Five([u32; 5]);

    impl Folds for Five {
        fn shift(&mut self, pair: impl Fn(usize) -> u32, footprint: u32) {
            let [a, b, c, d, e] = self.0;
            let (short, middle, long) = (pair(30), pair(126), pair(386));
            self.0 = [
                shifted::<32, 11>(a, short, footprint),
                shifted::<128, 11>(b, middle, footprint),
                shifted::<388, 11>(c, long, footprint),
                shifted::<388, 10>(d, long, footprint),
                shifted::<32, 8>(e, short, footprint),
            ];
        }
    }

    fn next(x: &mut u64) -> (u64, u64) {
        *x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*x >> 20, *x >> 40)
    }

    #[test]
    fn folds_that_follow_equal_folds_computed_from_the_bits() {
        let (mut path, mut folds) = (Path::new(), Five::default());
        let mut x = 0x1234_5678_9abc_def1u64;
        for _ in 0..2000 {
            let (from, to) = next(&mut x);
            path.taken(from, to);
            path.catch_up(&mut folds);
            let computed = [(32, 11), (128, 11), (388, 11), (388, 10), (32, 8)].map(|(l, w)| path.folded(l, w));
            assert_eq!(folds.0, computed);
        }
    }

    #[test]
    fn footprints_may_wait_as_long_as_they_like() {
        let (mut at_once, mut lazy) = ((Path::new(), Five::default()), (Path::new(), Five::default()));
        let mut x = 0x9e37_79b9_7f4a_7c15u64;
        for n in 0..20_000u32 {
            let (from, to) = next(&mut x);
            at_once.0.taken(from, to);
            at_once.0.catch_up(&mut at_once.1);
            lazy.0.taken(from, to);
            // Waits for 1 to 700 branches.
            if (x >> 33) % u64::from(1 + n / 20) < 2 {
                lazy.0.catch_up(&mut lazy.1);
                assert_eq!(at_once.1.0, lazy.1.0, "{n}");
            }
        }
    }
}
