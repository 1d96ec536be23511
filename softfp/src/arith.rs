//! Arithmetic of the interchange formats, by the book: exact result first, one rounding last.
//!
//! NaN rules are those of SSE: the first operand that is a NaN, quieted, else the negative default. Source: SDM vol. 1,
//! 4.8.3.5 (table 4-7), 4.9.2 (priority), 11.5.2; vol. 1, 14.5.3 for FMA.

use crate::format::{Format, Num, infinity, jam, jam128, round, unpack, zero};
use crate::{Env, Rounding, flag, format::Kind};

/// The NaN that an operation on `operands` returns, if one is a NaN; IE if one signals.
#[inline]
fn nan<F: Format, const N: usize>(operands: [(u64, &Num); N], env: &mut Env) -> Option<u64> {
    let (first, _) = operands.iter().find(|(_, n)| n.is_nan())?;
    if operands.iter().any(|(_, n)| n.kind == Kind::Signaling) {
        env.flags |= flag::IE;
    }
    Some(first | F::QUIET)
}

/// The default NaN, with IE.
#[cold]
pub(crate) fn invalid<F: Format>(env: &mut Env) -> u64 {
    env.flags |= flag::IE;
    F::INDEFINITE
}

/// `a + b`, or `a - b` when `subtract`.
#[inline]
pub(crate) fn add<F: Format>(a: u64, b: u64, subtract: bool, env: &mut Env) -> u64 {
    let (x, mut y) = (unpack::<F>(a, env.daz), unpack::<F>(b, env.daz));
    if let Some(r) = nan::<F, 2>([(a, &x), (b, &y)], env) {
        return r;
    }
    y.negative ^= subtract;
    if x.is_infinity() && y.is_infinity() && x.negative != y.negative {
        return invalid::<F>(env);
    }
    if env.denormal_operand(x.denormal | y.denormal) {
        return a;
    }
    match (x.kind, y.kind) {
        (Kind::Infinity, _) => infinity::<F>(x.negative),
        (_, Kind::Infinity) => infinity::<F>(y.negative),
        (Kind::Zero, Kind::Zero) => zero::<F>(zero_sum(x.negative, y.negative, env.rounding)),
        (Kind::Zero, _) => round::<F>(y.negative, y.exp, y.sig, env),
        (_, Kind::Zero) => round::<F>(x.negative, x.exp, x.sig, env),
        _ => add_finite::<F>(&x, &y, env),
    }
}

/// Sign of a zero sum of terms with these signs: negative if both are, or if they differ and rounding is down.
pub(crate) fn zero_sum(a: bool, b: bool, rounding: Rounding) -> bool {
    if a == b { a } else { rounding == Rounding::Down }
}

#[inline]
fn add_finite<F: Format>(x: &Num, y: &Num, env: &mut Env) -> u64 {
    let (x, y) = if (x.exp, x.sig) >= (y.exp, y.sig) { (x, y) } else { (y, x) };
    let (large, small) = (x.sig >> 1, jam(y.sig >> 1, x.exp.abs_diff(y.exp)));
    let sum = if x.negative == y.negative { large + small } else { large - small };
    if sum == 0 {
        return zero::<F>(env.rounding == Rounding::Down);
    }
    let up = sum.leading_zeros();
    round::<F>(x.negative, x.exp + 1 - up as i32, sum << up, env)
}

/// `a * b`.
#[inline]
pub(crate) fn mul<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    let (x, y) = (unpack::<F>(a, env.daz), unpack::<F>(b, env.daz));
    if let Some(r) = nan::<F, 2>([(a, &x), (b, &y)], env) {
        return r;
    }
    let negative = x.negative ^ y.negative;
    if x.is_infinity() && y.is_zero() || x.is_zero() && y.is_infinity() {
        return invalid::<F>(env);
    }
    if env.denormal_operand(x.denormal | y.denormal) {
        return a;
    }
    if x.is_infinity() || y.is_infinity() {
        return infinity::<F>(negative);
    }
    if x.is_zero() || y.is_zero() {
        return zero::<F>(negative);
    }
    let p = u128::from(x.sig) * u128::from(y.sig);
    let up = p.leading_zeros();
    let p = jam128(p << up, 64) as u64;
    round::<F>(negative, x.exp + y.exp + 1 - up as i32, p, env)
}

/// `a / b`.
#[inline]
pub(crate) fn div<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    let (x, y) = (unpack::<F>(a, env.daz), unpack::<F>(b, env.daz));
    if let Some(r) = nan::<F, 2>([(a, &x), (b, &y)], env) {
        return r;
    }
    let negative = x.negative ^ y.negative;
    if x.is_infinity() && y.is_infinity() || x.is_zero() && y.is_zero() {
        return invalid::<F>(env);
    }
    if y.is_zero() && !x.is_infinity() {
        env.flags |= flag::ZE;
        return infinity::<F>(negative);
    }
    if env.denormal_operand(x.denormal | y.denormal) {
        return a;
    }
    if x.is_infinity() {
        return infinity::<F>(negative);
    }
    if x.is_zero() || y.is_infinity() {
        return zero::<F>(negative);
    }
    // The quotient lies in (2^62, 2^64); its leading bit is at 63 exactly when x.sig >= y.sig.
    let less = x.sig < y.sig;
    let n = u128::from(x.sig) << (63 + u32::from(less));
    let d = u128::from(y.sig);
    let q = (n / d) as u64 | u64::from(n % d != 0);
    round::<F>(negative, x.exp - y.exp - i32::from(less), q, env)
}

/// The square root of `a`.
#[inline]
pub(crate) fn sqrt<F: Format>(a: u64, env: &mut Env) -> u64 {
    let x = unpack::<F>(a, env.daz);
    if let Some(r) = nan::<F, 1>([(a, &x)], env) {
        return r;
    }
    if x.is_zero() {
        return zero::<F>(x.negative);
    }
    if x.negative {
        return invalid::<F>(env);
    }
    if env.denormal_operand(x.denormal) {
        return a;
    }
    if x.is_infinity() {
        return infinity::<F>(false);
    }
    // An even exponent leaves the leading bit at 126 or 127, so that the root's is at 63.
    let radicand = u128::from(x.sig) << (63 + (x.exp & 1) as u32);
    let root = radicand.isqrt() as u64;
    let exact = u128::from(root) * u128::from(root) == radicand;
    round::<F>(false, x.exp >> 1, root | u64::from(!exact), env)
}

/// `a * b + c`, rounded once.
#[inline]
pub(crate) fn fma<F: Format>(a: u64, b: u64, c: u64, env: &mut Env) -> u64 {
    let (x, y, z) = (unpack::<F>(a, env.daz), unpack::<F>(b, env.daz), unpack::<F>(c, env.daz));
    if let Some(r) = nan::<F, 3>([(a, &x), (b, &y), (c, &z)], env) {
        return r;
    }
    let negative = x.negative ^ y.negative;
    let infinite = x.is_infinity() || y.is_infinity();
    let nil = x.is_zero() || y.is_zero();
    if infinite && (nil || z.is_infinity() && z.negative != negative) {
        return invalid::<F>(env);
    }
    if env.denormal_operand(x.denormal | y.denormal | z.denormal) {
        return a;
    }
    if infinite {
        return infinity::<F>(negative);
    }
    match z.kind {
        Kind::Infinity => infinity::<F>(z.negative),
        Kind::Zero if nil => zero::<F>(zero_sum(negative, z.negative, env.rounding)),
        _ if nil => round::<F>(z.negative, z.exp, z.sig, env),
        _ => fma_finite::<F>(&x, &y, &z, env),
    }
}

fn fma_finite<F: Format>(x: &Num, y: &Num, z: &Num, env: &mut Env) -> u64 {
    let p = u128::from(x.sig) * u128::from(y.sig);
    let up = p.leading_zeros();
    let product = (x.negative ^ y.negative, x.exp + y.exp + 1 - up as i32, p << up);
    let term = (z.negative, z.exp, u128::from(z.sig) << 64);
    if z.is_zero() {
        return round::<F>(product.0, product.1, jam128(product.2, 64) as u64, env);
    }
    let (l, s) = if (product.1, product.2) >= (term.1, term.2) { (product, term) } else { (term, product) };
    // At least 21 zero bits below either significand: what an alignment loses lies far below the rounding point.
    let (large, small) = (l.2 >> 1, jam128(s.2 >> 1, l.1.abs_diff(s.1)));
    let sum = if l.0 == s.0 { large + small } else { large - small };
    if sum == 0 {
        return zero::<F>(env.rounding == Rounding::Down);
    }
    let up = sum.leading_zeros();
    round::<F>(l.0, l.1 + 1 - up as i32, jam128(sum << up, 64) as u64, env)
}
