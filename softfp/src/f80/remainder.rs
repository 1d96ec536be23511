//! FPREM, FPREM1, FSCALE, FXTRACT. Source: SDM vol. 2, their tables and operation sections.

use super::{F80, Operand, Precision, from_i64, invalid, nan, round};
use crate::convert::integer;
use crate::{Env, Rounding, flag};

/// What FPREM and FPREM1 leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The partial remainder.
    pub remainder: F80,
    /// Reduction is incomplete (C2).
    pub incomplete: bool,
    /// Both operands were numbers (else the condition codes keep their values).
    pub valid: bool,
    /// Low three bits of the quotient, when complete.
    pub quotient: u8,
}

/// `a` reduced by `b` by up to 63 exponents; `nearest` for FPREM1 (the quotient is rounded to nearest even), else
/// FPREM (truncated). Source of the step of an incomplete reduction (32 to 63 exponents, a multiple of 32 below):
/// Bochs' fprem.cc; the SDM leaves it to the processor.
pub fn prem(a: &Operand, b: &Operand, nearest: bool, env: &mut Env) -> Partial {
    let whole = |remainder| Partial { remainder, incomplete: false, valid: true, quotient: 0 };
    let odd = |remainder| Partial { valid: false, ..whole(remainder) };
    if let Some(r) = nan(a, b, env) {
        return odd(r);
    }
    let (x, y) = (a.num, b.num);
    if x.is_infinity() || y.is_zero() {
        return odd(invalid(env));
    }
    if env.denormal_operand(x.denormal | y.denormal) || x.is_zero() {
        return whole(a.bits);
    }
    let d = x.exp.wrapping_sub(y.exp);
    if y.is_infinity() || d < -1 {
        return whole(pack(x.negative, (x.exp, u128::from(x.sig)), x.negative, env));
    }
    // From here in units of half the last place of the divisor, so that the nearest quotient may be one for d = -1.
    let divisor = u128::from(y.sig) * 2;
    if d >= 64 {
        let n = d & 31 | 32;
        let rest = (u128::from(x.sig) << n) % u128::from(y.sig);
        return Partial { incomplete: true, ..whole(pack(x.negative, (x.exp - n, rest), x.negative, env)) };
    }
    let scaled = u128::from(x.sig) << (d + 1);
    let (q, rest) = (scaled / divisor, scaled % divisor);
    let up = nearest && (rest * 2 > divisor || rest * 2 == divisor && q & 1 != 0);
    let v = if up { divisor - rest } else { rest };
    let remainder = pack(x.negative ^ up, (y.exp - 1, v), x.negative, env);
    Partial { quotient: (q + u128::from(up)) as u8 & 7, ..whole(remainder) }
}

/// The exact `v` * 2^(`exp` - 63); a zero has sign `zero`.
fn pack(negative: bool, (exp, v): (i32, u128), zero: bool, env: &mut Env) -> F80 {
    if v == 0 {
        return F80::zero(zero);
    }
    let up = v.leading_zeros();
    round(negative, exp + 64 - up as i32, v << up, Precision::Extended, env)
}

/// `a` * 2^trunc(`b`).
pub fn scale(a: &Operand, b: &Operand, env: &mut Env) -> F80 {
    if let Some(r) = nan(a, b, env) {
        return r;
    }
    let (x, y) = (a.num, b.num);
    if y.is_infinity() && (if y.negative { x.is_infinity() } else { x.is_zero() }) {
        return invalid(env);
    }
    if env.denormal_operand(x.denormal | y.denormal) || x.is_zero() || x.is_infinity() {
        return a.bits;
    }
    if y.is_infinity() {
        return if y.negative { F80::zero(x.negative) } else { F80::infinity(x.negative) };
    }
    let by = integer(&y, Rounding::Zero).map_or(0x20000, |v| v.0.min(0x20000)) as i32;
    let by = if y.negative { -by } else { by };
    round(x.negative, x.exp + by, u128::from(x.sig) << 64, Precision::Extended, env)
}

/// Exponent and significand of `a` as two numbers.
pub fn extract(a: &Operand, env: &mut Env) -> (F80, F80) {
    if let Some(r) = nan(a, a, env) {
        return (r, r);
    }
    let x = a.num;
    if x.is_zero() {
        env.flags |= flag::ZE;
        return (F80::infinity(true), a.bits);
    }
    if x.is_infinity() {
        return (F80::infinity(false), a.bits);
    }
    env.denormal_operand(x.denormal);
    (from_i64(x.exp.into()), F80 { significand: x.sig, ..F80::ONE }.with_sign(x.negative))
}
