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
    let pack = |negative, exp: i32, v: u64, env: &mut Env| {
        if v == 0 {
            return F80::zero(x.negative);
        }
        let up = v.leading_zeros();
        round(negative, exp - up as i32, u128::from(v << up) << 64, Precision::Extended, env)
    };
    let d = x.exp.wrapping_sub(y.exp);
    if y.is_infinity() || d < -1 || (d == -1 && !nearest) {
        return whole(pack(x.negative, x.exp, x.sig, env));
    }
    if d >= 64 {
        let n = d & 31 | 32;
        let (_, rest) = divide(x.sig, y.sig, n as u32);
        return Partial { incomplete: true, ..whole(pack(x.negative, x.exp - n, rest, env)) };
    }
    let (quotient, rest, exp) = if d < 0 { (0, x.sig, x.exp) } else { truncated(x.sig, y.sig, d as u32, y.exp) };
    let up = nearest && {
        // Twice the remainder against the divisor, at the exponent of the divisor.
        let twice = if d < 0 { u128::from(rest) } else { u128::from(rest) * 2 };
        twice > u128::from(y.sig) || twice == u128::from(y.sig) && quotient & 1 != 0
    };
    let remainder = if !up {
        pack(x.negative, exp, rest, env)
    } else if d < 0 {
        // y - x with x one exponent below: y.sig * 2 - x.sig at that exponent, which is below 2^64.
        pack(!x.negative, exp, (u128::from(y.sig) * 2 - u128::from(rest)) as u64, env)
    } else {
        pack(!x.negative, exp, y.sig - rest, env)
    };
    Partial { remainder, incomplete: false, valid: true, quotient: quotient.wrapping_add(u64::from(up)) as u8 & 7 }
}

fn truncated(x: u64, y: u64, d: u32, exp: i32) -> (u64, u64, i32) {
    let (q, rest) = divide(x, y, d);
    (q, rest, exp)
}

/// Quotient (low 64 bits) and remainder of `x` * 2^`d` by `y`, `d` at most 63.
fn divide(x: u64, y: u64, d: u32) -> (u64, u64) {
    let n = u128::from(x) << d;
    ((n / u128::from(y)) as u64, (n % u128::from(y)) as u64)
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
