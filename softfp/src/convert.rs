//! Comparisons, integers, and conversions between interchange formats.
//!
//! Source: SDM vol. 2, MINPS, MAXPS, UCOMISD, ROUNDPD, CVTPS2DQ, VCVTPS2PH, VCVTPH2PS; vol. 1, 4.8.3.7.

use crate::format::{Format, Half, Kind, Num, away, infinity, round, unpack, zero};
use crate::{Env, Rounding, flag};
use std::cmp::Ordering;

/// Order of two numbers that are no NaNs.
pub(crate) fn order(x: &Num, y: &Num) -> Ordering {
    let magnitude = |n: &Num| match n.kind {
        Kind::Zero => (i32::MIN, 0),
        Kind::Finite => (n.exp, n.sig),
        _ => (i32::MAX, 0),
    };
    let (p, q) = (magnitude(x), magnitude(y));
    match (x.negative, y.negative) {
        _ if x.is_zero() && y.is_zero() => Ordering::Equal,
        (false, false) => p.cmp(&q),
        (true, true) => q.cmp(&p),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

/// Order of `a` and `b`; `None` when unordered. IE on a signaling NaN, and on any NaN when `signaling`.
#[inline]
pub(crate) fn compare<F: Format>(a: u64, b: u64, signaling: bool, env: &mut Env) -> Option<Ordering> {
    let (x, y) = (unpack::<F>(a, env.daz), unpack::<F>(b, env.daz));
    if x.is_nan() || y.is_nan() {
        if signaling || x.kind == Kind::Signaling || y.kind == Kind::Signaling {
            env.flags |= flag::IE;
        }
        return None;
    }
    env.denormal_operand(x.denormal | y.denormal);
    Some(order(&x, &y))
}

/// The lesser (`want` Less) or greater of `a` and `b`; `b` when either is a NaN or both are zeros.
#[inline]
pub(crate) fn extreme<F: Format>(a: u64, b: u64, want: Ordering, env: &mut Env) -> u64 {
    let chosen = if compare::<F>(a, b, true, env) == Some(want) { a } else { b };
    let n = unpack::<F>(chosen, env.daz);
    if n.is_zero() { zero::<F>(n.negative) } else { chosen }
}

/// The integer nearest `n` (finite or zero) in direction `rounding` as magnitude, whether it is inexact, whether it
/// was rounded away from zero; `None` when the magnitude is 2^64 or more.
pub(crate) fn integer(n: &Num, rounding: Rounding) -> Option<(u64, bool, bool)> {
    if n.is_zero() {
        return Some((0, false, false));
    }
    let (kept, half, rest) = match n.exp {
        64.. => return None,
        63 => (n.sig, false, false),
        0..63 => {
            let lost = n.sig << (n.exp + 1);
            (n.sig >> (63 - n.exp), lost >> 63 != 0, lost << 1 != 0)
        }
        -1 => (0, true, n.sig << 1 != 0),
        _ => (0, false, true),
    };
    let up = away(rounding, n.negative, kept & 1 != 0, half, rest);
    Some((kept.checked_add(u64::from(up))?, half | rest, up))
}

/// `a` rounded to an integral value; PE unless `quiet_inexact`.
#[inline]
pub(crate) fn round_to_integral<F: Format>(a: u64, rounding: Rounding, quiet_inexact: bool, env: &mut Env) -> u64 {
    let n = unpack::<F>(a, env.daz);
    match n.kind {
        Kind::Signaling => {
            env.flags |= flag::IE;
            return a | F::QUIET;
        }
        Kind::Zero => return zero::<F>(n.negative),
        Kind::Finite => {}
        _ => return a,
    }
    if n.exp >= F::P as i32 - 1 {
        return a;
    }
    let Some((v, inexact, up)) = integer(&n, rounding) else { return a };
    env.rounded_up = up;
    if inexact && !quiet_inexact {
        env.flags |= flag::PE;
    }
    if v == 0 {
        return zero::<F>(n.negative);
    }
    let up = v.leading_zeros();
    let mut exact = Env::default();
    round::<F>(n.negative, 63 - up as i32, v << up, &mut exact)
}

/// `a` as a signed integer of `bits`, sign-extended; the integer indefinite and IE when it does not fit.
#[inline]
pub(crate) fn to_signed<F: Format>(a: u64, bits: u32, rounding: Rounding, env: &mut Env) -> i64 {
    let n = unpack::<F>(a, env.daz);
    signed(&n, bits, rounding, env)
}

/// As [`to_signed`], of a number taken apart.
pub(crate) fn signed(n: &Num, bits: u32, rounding: Rounding, env: &mut Env) -> i64 {
    let least = i64::MIN >> (64 - bits);
    let limit = least.unsigned_abs();
    let v = if n.is_nan() || n.is_infinity() { None } else { integer(n, rounding) };
    match v {
        Some((v, inexact, up)) if v < limit || (v == limit && n.negative) => {
            env.rounded_up = up;
            if inexact {
                env.flags |= flag::PE;
            }
            if n.negative { (v as i64).wrapping_neg() } else { v as i64 }
        }
        _ => {
            env.flags |= flag::IE;
            least
        }
    }
}

/// `a` as an unsigned integer of `bits`; all ones and IE when it does not fit.
#[inline]
pub(crate) fn to_unsigned<F: Format>(a: u64, bits: u32, rounding: Rounding, env: &mut Env) -> u64 {
    let n = unpack::<F>(a, env.daz);
    let most = u64::MAX >> (64 - bits);
    let v = if n.is_nan() || n.is_infinity() { None } else { integer(&n, rounding) };
    match v {
        Some((v, inexact, _)) if v == 0 || (!n.negative && v <= most) => {
            if inexact {
                env.flags |= flag::PE;
            }
            v
        }
        _ => {
            env.flags |= flag::IE;
            most
        }
    }
}

/// An integer, as sign and magnitude, in `F`.
#[inline]
pub(crate) fn from_integer<F: Format>(negative: bool, magnitude: u64, env: &mut Env) -> u64 {
    if magnitude == 0 {
        return 0;
    }
    let up = magnitude.leading_zeros();
    round::<F>(negative, 63 - up as i32, magnitude << up, env)
}

/// `a` in another format. Half precision neither obeys DAZ nor raises DE as a source, nor obeys FTZ as a target.
#[inline]
pub(crate) fn convert<F: Format, T: Format>(a: u64, env: &mut Env) -> u64 {
    let from_half = F::P == Half::P;
    let n = unpack::<F>(a, env.daz && !from_half);
    match n.kind {
        Kind::Finite => {}
        Kind::Infinity => return infinity::<T>(n.negative),
        Kind::Zero => return zero::<T>(n.negative),
        _ => {
            if n.kind == Kind::Signaling {
                env.flags |= flag::IE;
            }
            let fraction = (a & F::FRACTION) << (64 - F::P);
            return infinity::<T>(n.negative) | T::QUIET | fraction >> (63 - (T::P - 1));
        }
    }
    if env.denormal_operand(n.denormal && !from_half) {
        return zero::<T>(n.negative);
    }
    let ftz = env.ftz;
    env.ftz &= T::P != Half::P;
    let r = round::<T>(n.negative, n.exp, n.sig, env);
    env.ftz = ftz;
    r
}
