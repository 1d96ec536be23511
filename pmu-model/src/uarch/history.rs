//! The path history: which taken branches led here.
//!
//! On each taken branch the history is shifted by two bits and a footprint of 16 bits, of the branch's and the target's
//! address, is added (timing.md 3.7; not-taken branches leave no trace). Tables are indexed by folds of its newest bits,
//! which are kept up to date by each shift instead of computed.

/// Bits of history kept.
pub(super) const BITS: u32 = 388;
/// A ring of 512 bits.
const WORDS: usize = 8;

/// The newest `length` bits of the history, folded into `width` by exclusive or.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fold {
    pub value: u32,
    length: u16,
    width: u8,
    /// Where the two bits that a shift drives out of the `length` are in the fold.
    out: [u8; 2],
}

impl Fold {
    /// Of `length` bits, an even number of at least 16 and at most [`BITS`], into `width`, 8 to 16.
    pub const fn new(length: u32, width: u32) -> Fold {
        let out = [(length % width) as u8, ((length + 1) % width) as u8];
        Fold { value: 0, length: length as u16, width: width as u8, out }
    }

    #[inline]
    fn shift(&mut self, oldest: u32, footprint: u32) {
        let (w, mask) = (self.width, (1 << self.width) - 1);
        let v = (self.value << 2 | self.value >> (w - 2)) & mask;
        let gone = (oldest & 1) << self.out[0] ^ oldest >> 1 << self.out[1];
        self.value = v ^ gone ^ (footprint & mask) ^ footprint >> w;
    }
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
    pub fn catch_up(&mut self, folds: &mut [Fold]) {
        if self.behind > DECISIVE {
            self.behind = DECISIVE;
            self.bits = [0; WORDS];
            folds.iter_mut().for_each(|fold| fold.value = 0);
        }
        while self.behind > 0 {
            let footprint = self.waiting[self.taken.wrapping_sub(self.behind) % WAITING];
            self.behind -= 1;
            // Lengths are even: the two oldest bits are in one word.
            for fold in &mut *folds {
                fold.shift(self.pair(usize::from(fold.length - 2)), footprint.into());
            }
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
    pub fn folded(&self, fold: Fold) -> u32 {
        let bit = |n: u32| self.pair(n as usize & !1) >> (n & 1) & 1;
        (0..u32::from(fold.length)).fold(0, |v, n| v ^ bit(n) << (n % u32::from(fold.width)))
    }
}

/// Of B[15:0] and T[5:0]. Differs: which bit goes where is ours; the real part's order was not measured.
fn footprint(from: u64, to: u64) -> u16 {
    (from as u16) ^ ((to as u16 & 0x3f) << 5) ^ ((from >> 3) as u16 & 0x1f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_that_follow_equal_folds_computed_from_the_bits() {
        let mut path = Path::new();
        let mut folds =
            [Fold::new(32, 11), Fold::new(128, 11), Fold::new(388, 11), Fold::new(388, 10), Fold::new(32, 8)];
        let mut x = 0x1234_5678_9abc_def1u64;
        for _ in 0..2000 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            path.taken(x >> 20, x >> 40);
            path.catch_up(&mut folds);
            for fold in folds {
                assert_eq!(fold.value, path.folded(fold));
            }
        }
    }

    #[test]
    fn footprints_may_wait_as_long_as_they_like() {
        const FOLDS: [Fold; 3] = [Fold::new(32, 11), Fold::new(128, 9), Fold::new(388, 10)];
        let (mut at_once, mut lazy, mut folds) = (Path::new(), Path::new(), [FOLDS; 2]);
        let mut x = 0x9e37_79b9_7f4a_7c15u64;
        for n in 0..20_000u32 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            at_once.taken(x >> 20, x >> 40);
            at_once.catch_up(&mut folds[0]);
            lazy.taken(x >> 20, x >> 40);
            // Waits for 1 to 700 branches.
            if (x >> 33) % u64::from(1 + n / 20) < 2 {
                lazy.catch_up(&mut folds[1]);
                assert_eq!(folds[0].map(|f| f.value), folds[1].map(|f| f.value), "{n}");
            }
        }
    }
}
