//! FADD, FSUB, FMUL, FDIV, FSQRT. Source: SDM vol. 2, their tables.

use super::{F80, Operand, Precision, invalid, nan, round};
use crate::format::jam128;
use crate::{Env, Rounding, flag};

/// `a + b`.
pub fn add(a: &Operand, b: &Operand, precision: Precision, env: &mut Env) -> F80 {
    sum(a, b, false, precision, env)
}

/// `a - b`.
pub fn sub(a: &Operand, b: &Operand, precision: Precision, env: &mut Env) -> F80 {
    sum(a, b, true, precision, env)
}

fn sum(a: &Operand, b: &Operand, subtract: bool, precision: Precision, env: &mut Env) -> F80 {
    if let Some(r) = nan(a, b, env) {
        return r;
    }
    let (x, mut y) = (a.num, b.num);
    y.negative ^= subtract;
    if x.is_infinity() && y.is_infinity() && x.negative != y.negative {
        return invalid(env);
    }
    if env.denormal_operand(x.denormal | y.denormal) {
        return a.bits;
    }
    if x.is_infinity() || y.is_infinity() {
        return F80::infinity(if x.is_infinity() { x.negative } else { y.negative });
    }
    match (x.is_zero(), y.is_zero()) {
        (true, true) => F80::zero(crate::arith::zero_sum(x.negative, y.negative, env.rounding)),
        (true, _) => round(y.negative, y.exp, u128::from(y.sig) << 64, precision, env),
        (_, true) => round(x.negative, x.exp, u128::from(x.sig) << 64, precision, env),
        _ => {
            let (l, s) = if (x.exp, x.sig) >= (y.exp, y.sig) { (x, y) } else { (y, x) };
            let large = u128::from(l.sig) << 63;
            let small = jam128(u128::from(s.sig) << 63, l.exp.abs_diff(s.exp));
            let total = if x.negative == y.negative { large + small } else { large - small };
            if total == 0 {
                return F80::zero(env.rounding == Rounding::Down);
            }
            let up = total.leading_zeros();
            round(l.negative, l.exp + 1 - up as i32, total << up, precision, env)
        }
    }
}

/// `a * b`.
pub fn mul(a: &Operand, b: &Operand, precision: Precision, env: &mut Env) -> F80 {
    if let Some(r) = nan(a, b, env) {
        return r;
    }
    let (x, y) = (a.num, b.num);
    let negative = x.negative ^ y.negative;
    if x.is_infinity() && y.is_zero() || x.is_zero() && y.is_infinity() {
        return invalid(env);
    }
    if env.denormal_operand(x.denormal | y.denormal) {
        return a.bits;
    }
    if x.is_infinity() || y.is_infinity() {
        return F80::infinity(negative);
    }
    if x.is_zero() || y.is_zero() {
        return F80::zero(negative);
    }
    let p = u128::from(x.sig) * u128::from(y.sig);
    let up = p.leading_zeros();
    round(negative, x.exp + y.exp + 1 - up as i32, p << up, precision, env)
}

/// `a / b`.
pub fn div(a: &Operand, b: &Operand, precision: Precision, env: &mut Env) -> F80 {
    if let Some(r) = nan(a, b, env) {
        return r;
    }
    let (x, y) = (a.num, b.num);
    let negative = x.negative ^ y.negative;
    if x.is_infinity() && y.is_infinity() || x.is_zero() && y.is_zero() {
        return invalid(env);
    }
    if y.is_zero() && !x.is_infinity() {
        env.flags |= flag::ZE;
        return F80::infinity(negative);
    }
    if env.denormal_operand(x.denormal | y.denormal) {
        return a.bits;
    }
    if x.is_infinity() {
        return F80::infinity(negative);
    }
    if x.is_zero() || y.is_infinity() {
        return F80::zero(negative);
    }
    let less = x.sig < y.sig;
    let (n, d) = (u128::from(x.sig) << (63 + u32::from(less)), u128::from(y.sig));
    let q = (n / d) << 64 | below(n % d * 2, d);
    round(negative, x.exp - y.exp - i32::from(less), q, precision, env)
}

/// What a remainder leaves below the last bit kept: `twice` the remainder against its divisor.
fn below(twice: u128, divisor: u128) -> u128 {
    let half = u128::from(twice >= divisor) << 63;
    half | u128::from(twice != 0 && twice != divisor)
}

/// The square root of `a`.
pub fn sqrt(a: &Operand, precision: Precision, env: &mut Env) -> F80 {
    if let Some(r) = nan(a, a, env) {
        return r;
    }
    let x = a.num;
    if x.is_zero() {
        return a.bits;
    }
    if x.negative {
        return invalid(env);
    }
    if env.denormal_operand(x.denormal) {
        return a.bits;
    }
    if x.is_infinity() {
        return a.bits;
    }
    let radicand = u128::from(x.sig) << (63 + (x.exp & 1) as u32);
    let root = radicand.isqrt();
    let rest = radicand - root * root;
    // Halfway to the next root is root^2 + root + 1/4: never met exactly.
    let low = u128::from(rest > root) << 63 | u128::from(rest != 0);
    round(false, x.exp >> 1, root << 64 | low, precision, env)
}
