//! The path history: which taken branches led here.
//!
//! On each taken branch the history is shifted by two bits and a footprint of 16 bits, of the branch's and the target's
//! address, is added (timing.md 3.7; not-taken branches leave no trace). Tables are indexed by folds of its newest bits,
//! which are kept up to date by each shift instead of computed.

/// Bits of history kept.
pub(super) const BITS: u32 = 388;
const WORDS: usize = (BITS as usize).div_ceil(64);

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

/// The history, newest bits lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Path([u64; WORDS]);

impl Path {
    /// Takes in a taken branch; `folds` follow.
    #[inline]
    pub fn taken(&mut self, from: u64, to: u64, folds: &mut [Fold]) {
        let footprint = footprint(from, to);
        for fold in folds {
            // Lengths are even: the two oldest bits are in one word.
            let at = usize::from(fold.length - 2);
            fold.shift((self.0[at / 64] >> (at % 64)) as u32 & 3, footprint.into());
        }
        for n in (1..WORDS).rev() {
            self.0[n] = self.0[n] << 2 | self.0[n - 1] >> 62;
        }
        self.0[0] = self.0[0] << 2 ^ u64::from(footprint);
        self.0[WORDS - 1] &= (1 << (BITS % 64)) - 1;
    }

    /// Computes a fold from the bits.
    #[cfg(test)]
    pub fn folded(&self, fold: Fold) -> u32 {
        let bit = |n: u32| (self.0[(n / 64) as usize] >> (n % 64)) as u32 & 1;
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
        let mut path = Path::default();
        let mut folds =
            [Fold::new(32, 11), Fold::new(128, 11), Fold::new(388, 11), Fold::new(388, 10), Fold::new(32, 8)];
        let mut x = 0x1234_5678_9abc_def1u64;
        for _ in 0..2000 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            path.taken(x >> 20, x >> 40, &mut folds);
            for fold in folds {
                assert_eq!(fold.value, path.folded(fold));
            }
        }
    }
}
