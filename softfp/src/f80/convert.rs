//! Loads, stores, integers, packed decimals and comparisons. Source: SDM vol. 2, FLD, FST, FIST, FBSTP, FRNDINT, FCOM.

use super::{BIAS, F80, INTEGER, Operand, invalid};
use crate::convert::{integer, order, signed};
use crate::format::{Double, Format, Kind, Single, infinity, round, zero};
use crate::{Env, Rounding, flag};
use std::cmp::Ordering;

/// Packed BCD integer indefinite.
pub const BCD_INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];

/// FLD of a single or double: IE on a signaling NaN (quieted), DE on a denormal.
pub fn load(a: &Operand, env: &mut Env) -> F80 {
    if a.num.kind == Kind::Signaling {
        env.flags |= flag::IE;
        return a.bits.quieted();
    }
    env.denormal_operand(a.num.denormal);
    a.bits
}

/// An integer, exactly.
pub fn from_i64(v: i64) -> F80 {
    if v == 0 {
        return F80::ZERO;
    }
    let up = v.unsigned_abs().leading_zeros();
    F80 { significand: v.unsigned_abs() << up, sign_exponent: (BIAS + 63 - up as i32) as u16 }.with_sign(v < 0)
}

/// FST m32. No DE.
pub fn to_f32(a: F80, env: &mut Env) -> u32 {
    narrow::<Single>(a, env) as u32
}

/// FST m64. No DE.
pub fn to_f64(a: F80, env: &mut Env) -> u64 {
    narrow::<Double>(a, env)
}

fn narrow<F: Format>(a: F80, env: &mut Env) -> u64 {
    let n = Operand::from(a).num;
    match n.kind {
        Kind::Zero => zero::<F>(n.negative),
        Kind::Infinity => infinity::<F>(n.negative),
        Kind::Finite => round::<F>(n.negative, n.exp, n.sig, env),
        Kind::Unsupported => crate::arith::invalid::<F>(env),
        Kind::Quiet | Kind::Signaling => {
            if n.kind == Kind::Signaling {
                env.flags |= flag::IE;
            }
            infinity::<F>(n.negative) | F::QUIET | (a.significand & !INTEGER) >> (64 - F::P)
        }
    }
}

/// FIST and FISTTP: a signed integer of `bits` (16, 32, 64), sign-extended.
pub fn to_integer(a: F80, bits: u32, rounding: Rounding, env: &mut Env) -> i64 {
    let n = Operand::from(a).num;
    if n.kind == Kind::Unsupported {
        env.flags |= flag::IE;
        return i64::MIN >> (64 - bits);
    }
    signed(&n, bits, rounding, env)
}

/// FRNDINT.
pub fn round_to_integral(a: F80, env: &mut Env) -> F80 {
    let o = Operand::from(a);
    if let Some(r) = super::nan(&o, &o, env) {
        return r;
    }
    if env.denormal_operand(o.num.denormal) || o.is_zero() || o.is_infinity() || o.num.exp >= 63 {
        return a;
    }
    let Some((v, inexact, up)) = integer(&o.num, env.rounding) else { return a };
    env.rounded_up = up;
    if inexact {
        env.flags |= flag::PE;
    }
    if v == 0 {
        return F80::zero(o.negative());
    }
    let up = v.leading_zeros();
    F80 { significand: v << up, sign_exponent: (BIAS + 63 - up as i32) as u16 }.with_sign(o.negative())
}

/// FCOM and FUCOM: order of `a` and `b`; IE on a signaling NaN or an unsupported encoding, and on any NaN when
/// `signaling`.
pub fn compare(a: &Operand, b: &Operand, signaling: bool, env: &mut Env) -> Option<Ordering> {
    let odd = |o: &Operand| matches!(o.num.kind, Kind::Signaling | Kind::Unsupported);
    if odd(a) || odd(b) {
        env.flags |= flag::IE;
        return None;
    }
    if a.num.is_nan() || b.num.is_nan() {
        if signaling {
            env.flags |= flag::IE;
        }
        return None;
    }
    env.denormal_operand(a.num.denormal | b.num.denormal);
    Some(order(&a.num, &b.num))
}

/// FBLD: 18 decimal digits and a sign. What digits above nine give is undefined in the SDM; here they count as they
/// stand.
pub fn from_bcd(b: [u8; 10]) -> F80 {
    let digits = b[..9].iter().rev().flat_map(|v| [v >> 4, v & 15]);
    let v = digits.fold(0i64, |v, d| v.wrapping_mul(10).wrapping_add(i64::from(d)));
    from_i64(v).with_sign(b[9] & 0x80 != 0)
}

/// FBSTP: the packed decimal, or its indefinite with IE when it does not fit 18 digits.
pub fn to_bcd(a: F80, env: &mut Env) -> [u8; 10] {
    let n = Operand::from(a).num;
    let value = match n.kind {
        Kind::Zero | Kind::Finite => integer(&n, env.rounding),
        _ => None,
    };
    let Some((mut v, inexact, up)) = value.filter(|v| v.0 < 1_000_000_000_000_000_000) else {
        invalid(env);
        return BCD_INDEFINITE;
    };
    env.rounded_up = up;
    if inexact {
        env.flags |= flag::PE;
    }
    let mut b = [0; 10];
    for byte in &mut b[..9] {
        *byte = (v / 10 % 10) as u8 * 16 + (v % 10) as u8;
        v /= 100;
    }
    b[9] = u8::from(n.negative) << 7;
    b
}
