//! The operations that AVX-512 adds: exponent, significand, scaling, rounding to a fraction, range, fix-up, class.
//!
//! Source: SDM vol. 2C and 2D, VGETEXPPD, VGETMANTPD, VSCALEFPD, VRNDSCALEPD, VREDUCEPD, VRANGEPD, VFIXUPIMMPD,
//! VFPCLASSPD; their tables decide the special operands.

use crate::arith::{add, invalid};
use crate::convert::{integer, order};
use crate::format::{Format, Kind, Num, infinity, round, unpack, zero};
use crate::{Env, Rounding, flag};
use std::cmp::Ordering;

/// 2^`exp` of the given sign, for `exp` in the normal range.
fn power<F: Format>(negative: bool, exp: i32) -> u64 {
    zero::<F>(negative) | ((exp + F::BIAS) as u64) << (F::P - 1)
}

/// The NaN `a` quieted; IE if it signals.
fn quiet<F: Format>(a: u64, n: &Num, env: &mut Env) -> u64 {
    if n.kind == Kind::Signaling {
        env.flags |= flag::IE;
    }
    a | F::QUIET
}

/// The exponent of `a`, as a number.
pub(crate) fn getexp<F: Format>(a: u64, env: &mut Env) -> u64 {
    let n = unpack::<F>(a, env.daz);
    match n.kind {
        Kind::Zero => infinity::<F>(true),
        Kind::Infinity => infinity::<F>(false),
        Kind::Finite => {
            env.denormal_operand(n.denormal);
            let magnitude = u64::from(n.exp.unsigned_abs());
            if magnitude == 0 {
                return 0;
            }
            let up = magnitude.leading_zeros();
            round::<F>(n.exp < 0, 63 - up as i32, magnitude << up, &mut Env::default())
        }
        _ => quiet::<F>(a, &n, env),
    }
}

/// The significand of `a` in the interval that bits 1:0 of `imm` pick; bit 2: without sign, bit 3: a negative operand
/// is invalid.
pub(crate) fn getmant<F: Format>(a: u64, imm: u8, env: &mut Env) -> u64 {
    let n = unpack::<F>(a, env.daz);
    if n.is_nan() {
        return quiet::<F>(a, &n, env);
    }
    let negative = n.negative && imm & 4 == 0;
    if n.is_zero() {
        return power::<F>(negative, 0);
    }
    if n.negative && imm & 8 != 0 {
        return invalid::<F>(env);
    }
    if n.is_infinity() {
        return power::<F>(negative, 0);
    }
    env.denormal_operand(n.denormal);
    let fraction = n.sig << 1 >> (65 - F::P);
    let halved = match imm & 3 {
        0 => false,
        1 => n.exp & 1 != 0,
        2 => true,
        _ => n.sig >> 62 & 1 != 0,
    };
    power::<F>(negative, -i32::from(halved)) | fraction
}

/// `a` times two to the power of the integer at or below `b`.
pub(crate) fn scalef<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    let (x, y) = (unpack::<F>(a, env.daz), unpack::<F>(b, env.daz));
    if x.kind == Kind::Signaling || y.kind == Kind::Signaling {
        env.flags |= flag::IE;
    }
    if x.is_nan() {
        // An infinite exponent decides for a quiet NaN.
        return match (x.kind, y.kind) {
            (Kind::Quiet, Kind::Infinity) if y.negative => 0,
            (Kind::Quiet, Kind::Infinity) => infinity::<F>(false),
            _ => a | F::QUIET,
        };
    }
    if y.is_nan() {
        return b | F::QUIET;
    }
    if x.is_infinity() && y.is_infinity() && y.negative || x.is_zero() && y.is_infinity() && !y.negative {
        return invalid::<F>(env);
    }
    if env.denormal_operand(x.denormal) {
        return a;
    }
    match (x.kind, y.kind) {
        (Kind::Infinity, _) => infinity::<F>(x.negative),
        (Kind::Zero, _) => zero::<F>(x.negative),
        (_, Kind::Infinity) if y.negative => zero::<F>(x.negative),
        (_, Kind::Infinity) => infinity::<F>(x.negative),
        _ => {
            // Beyond this any result is out of range.
            let limit = 4 * F::TOP;
            let by = match integer(&y, Rounding::Down) {
                Some((v, ..)) if v < limit as u64 => v as i32,
                _ => limit,
            };
            round::<F>(x.negative, x.exp + if y.negative { -by } else { by }, x.sig, env)
        }
    }
}

/// The rounding that bits 2:0 of an immediate pick.
fn rounding(imm: u8, env: &Env) -> Rounding {
    if imm & 4 != 0 { env.rounding } else { Rounding::from_bits(imm.into()) }
}

/// `a` rounded to a multiple of 2^-(`imm` bits 7:4), as bits 2:0 say; PE unless bit 3.
pub(crate) fn rndscale<F: Format>(a: u64, imm: u8, env: &mut Env) -> u64 {
    let mut n = unpack::<F>(a, env.daz);
    match n.kind {
        Kind::Zero => return zero::<F>(n.negative),
        Kind::Finite => {}
        Kind::Signaling => return quiet::<F>(a, &n, env),
        _ => return a,
    }
    let scale = i32::from(imm >> 4);
    n.exp += scale;
    if n.exp >= F::P as i32 - 1 {
        return a;
    }
    let Some((v, inexact, _)) = integer(&n, rounding(imm, env)) else { return a };
    if inexact && imm & 8 == 0 {
        env.flags |= flag::PE;
    }
    if v == 0 {
        return zero::<F>(n.negative);
    }
    let up = v.leading_zeros();
    // Exact, but that a half's least multiples are denormal: as they are even with FTZ.
    round::<F>(n.negative, 63 - up as i32 - scale, v << up, &mut Env { masks: flag::ALL, ..Env::default() })
}

/// What [`rndscale`] takes away from `a`.
pub(crate) fn reduce<F: Format>(a: u64, imm: u8, env: &mut Env) -> u64 {
    let n = unpack::<F>(a, env.daz);
    if n.is_nan() {
        return quiet::<F>(a, &n, env);
    }
    if n.is_infinity() {
        return 0;
    }
    let rounding = rounding(imm, env);
    let mut own = Env { rounding, daz: env.daz, ftz: env.ftz, masks: flag::ALL, ..Env::default() };
    let multiple = rndscale::<F>(a, imm | 8, &mut own);
    let rest = add::<F>(a, multiple, true, &mut own);
    if own.flags & flag::PE != 0 && imm & 8 == 0 {
        env.flags |= flag::PE;
    }
    rest
}

/// The lesser, greater, lesser or greater in magnitude of two (`imm` bits 1:0), with a sign as bits 3:2 say.
pub(crate) fn range<F: Format>(a: u64, b: u64, imm: u8, env: &mut Env) -> u64 {
    let (x, y) = (unpack::<F>(a, env.daz), unpack::<F>(b, env.daz));
    if x.kind == Kind::Signaling {
        return quiet::<F>(a, &x, env);
    }
    if y.kind == Kind::Signaling {
        return quiet::<F>(b, &y, env);
    }
    let flat = |bits: u64, n: &Num| if n.is_zero() { zero::<F>(n.negative) } else { bits };
    let (a, b) = (flat(a, &x), flat(b, &y));
    let chosen = match (x.is_nan(), y.is_nan()) {
        (true, false) => b,
        (_, true) => a,
        _ => {
            env.denormal_operand(x.denormal | y.denormal);
            let magnitude = |n: &Num| Num { negative: false, ..*n };
            let by_value = order(&x, &y).then(y.negative.cmp(&x.negative));
            let first = match imm & 3 {
                0 | 1 => by_value,
                _ => order(&magnitude(&x), &magnitude(&y)).then(by_value),
            };
            if (first == Ordering::Greater) == (imm & 1 == 0) { b } else { a }
        }
    };
    let sign = match imm >> 2 & 3 {
        0 => x.negative,
        1 => chosen & F::SIGN != 0,
        2 => false,
        _ => true,
    };
    zero::<F>(sign) | chosen & (F::SIGN - 1)
}

/// What `table` has for the class of `a`: four bits of a response each; `imm` picks what is raised.
pub(crate) fn fixupimm<F: Format>(c: u64, a: u64, table: u32, imm: u8, env: &mut Env) -> u64 {
    let n = unpack::<F>(a, env.daz);
    let a = if n.is_zero() { zero::<F>(n.negative) } else { a };
    let (token, invalid, division) = match n.kind {
        Kind::Quiet => (0, 0, 0),
        Kind::Signaling => (1, 1 << 4, 0),
        Kind::Zero => (2, 1 << 1, 1 << 0),
        _ if a == power::<F>(false, 0) => (3, 1 << 3, 1 << 2),
        Kind::Infinity if n.negative => (4, 1 << 5, 0),
        Kind::Infinity => (5, 1 << 7, 0),
        _ if n.negative => (6, 1 << 6, 0),
        _ => (7, 0, 0),
    };
    if imm & invalid != 0 {
        env.flags |= flag::IE;
    }
    if imm & division != 0 {
        env.flags |= flag::ZE;
    }
    let number = |v: f64| constant::<F>(v);
    match table >> (4 * token) & 15 {
        0 => c,
        1 => a,
        2 => a | F::INFINITY | F::QUIET,
        3 => F::INDEFINITE,
        4 => infinity::<F>(true),
        5 => infinity::<F>(false),
        6 => infinity::<F>(n.negative),
        7 => zero::<F>(true),
        8 => 0,
        9 => number(-1.0),
        10 => number(1.0),
        11 => number(0.5),
        12 => number(90.0),
        13 => number(std::f64::consts::FRAC_PI_2),
        14 => F::INFINITY - 1,
        _ => F::SIGN | (F::INFINITY - 1),
    }
}

/// `v`, to nearest.
fn constant<F: Format>(v: f64) -> u64 {
    crate::convert::convert::<crate::format::Double, F>(v.to_bits(), &mut Env { masks: flag::ALL, ..Env::default() })
}

/// Is `a` in one of the classes that `imm` asks for? Bit 0 quiet NaN, 1 zero, 2 minus zero, 3 infinity, 4 minus
/// infinity, 5 denormal, 6 negative and finite, 7 signaling NaN. Raises nothing.
pub(crate) fn is_class<F: Format>(a: u64, imm: u8, daz: bool) -> bool {
    let n = unpack::<F>(a, daz);
    let class = match n.kind {
        Kind::Quiet => 1,
        Kind::Zero => 2 << u32::from(n.negative),
        Kind::Infinity => 8 << u32::from(n.negative),
        Kind::Signaling => 0x80,
        _ => u8::from(n.denormal) << 5 | u8::from(n.negative) << 6,
    };
    class & imm != 0
}
