//! Real numbers with 128 significand bits: what the transcendental functions compute in.
//!
//! Operations truncate (an error below 2^-126 of the result each); sums keep lost bits in bit 0, so that one minus
//! next to nothing stays below one.

use crate::format::{Num, jam128};

/// (-1)^`negative` * `sig` * 2^(`exp` - 127), with the leading bit of `sig` at 127; zero has `sig` 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wide {
    pub negative: bool,
    pub exp: i32,
    pub sig: u128,
}

impl Wide {
    pub const ZERO: Wide = Wide { negative: false, exp: 0, sig: 0 };
    pub const ONE: Wide = Wide::new(0, 1 << 127);

    /// A positive constant.
    pub const fn new(exp: i32, sig: u128) -> Wide {
        Wide { negative: false, exp, sig }
    }
    /// `v` * 2^`unit`.
    pub fn scaled(v: u128, unit: i32) -> Wide {
        if v == 0 {
            return Wide::ZERO;
        }
        let up = v.leading_zeros();
        Wide::new(unit + 127 - up as i32, v << up)
    }
    /// The magnitude of a finite number.
    pub fn magnitude(n: &Num) -> Wide {
        Wide::new(n.exp, u128::from(n.sig) << 64)
    }
    pub fn signed(self, negative: bool) -> Wide {
        Wide { negative, ..self }
    }
    pub fn neg(self) -> Wide {
        self.signed(!self.negative)
    }
    /// Times 2^`by`.
    pub fn shift(self, by: i32) -> Wide {
        Wide { exp: self.exp + by, ..self }
    }

    pub fn add(self, o: Wide) -> Wide {
        if self.sig == 0 {
            return o;
        }
        if o.sig == 0 {
            return self;
        }
        let (l, s) = if (self.exp, self.sig) >= (o.exp, o.sig) { (self, o) } else { (o, self) };
        let small = jam128(s.sig >> 1, l.exp.abs_diff(s.exp));
        let large = l.sig >> 1;
        let sum = if l.negative == s.negative { large + small } else { large - small };
        Wide::scaled(sum, l.exp - 126).signed(l.negative)
    }
    pub fn sub(self, o: Wide) -> Wide {
        self.add(o.neg())
    }

    pub fn mul(self, o: Wide) -> Wide {
        let halves = |v: u128| (v >> 64, v & u128::from(u64::MAX));
        let ((a1, a0), (b1, b0)) = (halves(self.sig), halves(o.sig));
        let (middle, low) = (a1 * b0, (a0 * b0) >> 64);
        let (m1, m0) = halves(middle);
        let carried = a0 * b1 + m0 + low;
        let high = a1 * b1 + m1 + (carried >> 64);
        if high == 0 {
            return Wide::ZERO;
        }
        let up = high.leading_zeros();
        let filled = if up == 1 { high << 1 | (carried >> 63 & 1) } else { high };
        let exp = self.exp + o.exp + 1 - up as i32;
        Wide { negative: self.negative ^ o.negative, exp, sig: filled }
    }

    /// Divided by a small whole number, not zero.
    pub fn div_small(self, by: u32) -> Wide {
        let by = u128::from(by);
        let (q, rest) = (self.sig / by, self.sig % by);
        if q == 0 {
            return Wide::ZERO;
        }
        let up = q.leading_zeros();
        let low = (rest << up) / by;
        Wide { exp: self.exp - up as i32, sig: q << up | low, ..self }
    }

    /// Divided by `o`, not zero.
    pub fn div(self, o: Wide) -> Wide {
        if self.sig == 0 {
            return Wide::ZERO;
        }
        let less = self.sig < o.sig;
        // One quotient bit a step; `rest` stays below the divisor, and its lost top bit means that it is not.
        let (mut rest, mut q) = if less { (self.sig, 0u128) } else { (self.sig - o.sig, 1) };
        for _ in 0..127 + u32::from(less) {
            let top = rest >> 127 != 0;
            rest <<= 1;
            q <<= 1;
            if top || rest >= o.sig {
                rest = rest.wrapping_sub(o.sig);
                q |= 1;
            }
        }
        let exp = self.exp - o.exp - i32::from(less);
        Wide { negative: self.negative ^ o.negative, exp, sig: q }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(v: u32) -> Wide {
        Wide::scaled(v.into(), 0)
    }

    #[test]
    fn whole_numbers_add_multiply_and_divide_as_they_should() {
        for a in 1..60u32 {
            for b in 1..60u32 {
                assert_eq!(of(a).add(of(b)), of(a + b));
                assert_eq!(of(a).mul(of(b)), of(a * b));
                assert_eq!(of(a * b).div(of(b)), of(a));
                assert_eq!(of(a * b).div_small(b), of(a));
                let difference = Wide::scaled(a.abs_diff(b).into(), 0);
                assert_eq!(of(a).sub(of(b)).sig, difference.sig);
            }
        }
    }

    #[test]
    fn one_less_next_to_nothing_is_below_one() {
        let r = Wide::ONE.sub(Wide::ONE.shift(-5000));
        assert_eq!((r.exp, r.sig), (-1, u128::MAX - 3));
    }

    #[test]
    fn a_third_times_three_is_one_but_for_the_last_bits() {
        let r = of(1).div(of(3));
        assert_eq!((r.exp, r.sig), (-2, u128::MAX / 3 * 2));
        assert_eq!(of(1).div_small(3).sig >> 4, r.sig >> 4);
    }
}
