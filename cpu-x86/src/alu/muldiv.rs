//! Multiplication and division. Source: SDM vol. 2A, MUL, IMUL, DIV, IDIV.

use super::flag::{CF, OF};
use super::{Width, szp};

/// Flags of a product: CF and OF when the upper half matters; the undefined SF, ZF, PF and AF as after a logical
/// operation on the lower half (as Bochs has it).
const fn product(w: Width, low: u64, high: u64, matters: bool) -> (u64, u64, u64) {
    let (low, high) = (w.zx(low), w.zx(high));
    (low, high, szp(w, low) | if matters { CF | OF } else { 0 })
}

/// Unsigned `a * b`: low half, high half, flags.
pub const fn mul(w: Width, a: u64, b: u64) -> (u64, u64, u64) {
    let p = a as u128 * b as u128;
    let high = w.zx((p >> w.bits()) as u64);
    product(w, p as u64, high, high != 0)
}

/// Signed `a * b`: low half, high half, flags.
pub const fn imul(w: Width, a: u64, b: u64) -> (u64, u64, u64) {
    let p = w.sx(a) as i64 as i128 * w.sx(b) as i64 as i128;
    product(w, p as u64, (p >> w.bits()) as u64, w.sx(p as u64) as i64 as i128 != p)
}

/// Unsigned `high:low / d`: quotient and remainder; `None` is #DE.
pub const fn div(w: Width, high: u64, low: u64, d: u64) -> Option<(u64, u64)> {
    if high >= d {
        return None;
    }
    if high == 0 {
        return Some((low / d, low % d));
    }
    let n = (high as u128) << w.bits() | low as u128;
    Some(((n / d as u128) as u64, (n % d as u128) as u64))
}

/// Signed `high:low / d`, rounded towards zero: quotient and remainder; `None` is #DE.
pub const fn idiv(w: Width, high: u64, low: u64, d: u64) -> Option<(u64, u64)> {
    let n = ((high as u128) << w.bits() | low as u128) << (128 - 2 * w.bits());
    let n = n as i128 >> (128 - 2 * w.bits());
    let d = w.sx(d) as i64 as i128;
    if d == 0 {
        return None;
    }
    let (Some(q), Some(r)) = (n.checked_div(d), n.checked_rem(d)) else { return None };
    let cut = w.zx(q as u64);
    if w.sx(cut) as i64 as i128 != q {
        return None;
    }
    Some((cut, w.zx(r as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    const B: Width = Width::B;
    const Q: Width = Width::Q;

    #[test]
    fn byte_products_and_quotients_agree_with_wider_arithmetic() {
        for a in 0..=255u64 {
            for b in 0..=255u64 {
                let (low, high, f) = mul(B, a, b);
                assert_eq!((high << 8 | low, f & CF != 0, f & OF != 0), (a * b, high != 0, high != 0));
                let p = i32::from(a as i8) * i32::from(b as i8);
                let (low, high, f) = imul(B, a, b);
                assert_eq!((high << 8 | low) as u16, p as u16);
                assert_eq!(f & CF != 0, !(-128..=127).contains(&p));
            }
        }
        for n in 0..=0xffffu64 {
            for d in [0, 1, 2, 3, 7, 10, 127, 128, 129, 254, 255u64] {
                let fits = d != 0 && n / d.max(1) <= 255;
                assert_eq!(div(B, n >> 8, n & 255, d), fits.then(|| (n / d, n % d)));
                let (sn, sd) = (i32::from(n as i16), i32::from(d as i8));
                let want = (sd != 0).then(|| (sn / sd, sn % sd)).filter(|(q, _)| (-128..=127).contains(q));
                let want = want.map(|(q, r)| (q as u64 & 255, r as u64 & 255));
                assert_eq!(idiv(B, n >> 8, n & 255, d), want);
            }
        }
    }

    #[test]
    fn wide_division_is_exact_at_its_edges() {
        assert_eq!(div(Q, 1, 0, 2), Some((1 << 63, 0)));
        assert_eq!(div(Q, 2, 0, 2), None);
        assert_eq!(div(Q, u64::MAX - 1, u64::MAX, u64::MAX), Some((u64::MAX, u64::MAX - 1)));
        assert_eq!(idiv(Q, 1 << 63, 0, u64::MAX), None);
        assert_eq!(idiv(Q, u64::MAX, 1 << 63, u64::MAX), None);
        assert_eq!(idiv(Q, u64::MAX, 1 << 63, 1), Some((1 << 63, 0)));
        assert_eq!(idiv(Q, 0, 1 << 63, u64::MAX), Some((1 << 63, 0)));
        assert_eq!(idiv(Q, u64::MAX, (-7i64) as u64, 2), Some(((-3i64) as u64, u64::MAX)));
    }
}
