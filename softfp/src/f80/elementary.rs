//! FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1.
//!
//! Each is computed to some 110 bits and rounded once: nearer to the true value than the processor's own, which
//! promises one unit in the last place. Arguments of the trigonometric functions are reduced by the processor's pi of
//! 66 bits, exactly. Source: SDM vol. 1, 8.3.7, 8.3.8, 8.3.10; vol. 2, tables of the instructions.

use super::wide::Wide;
use super::{F80, Operand, Precision, invalid, nan, round};
use crate::{Env, flag};

/// Half of the processor's pi, in units of 2^-65. Source: SDM vol. 1, 8.3.8 ("C90FDAA2 2168C234 C").
const HALF_PI_66: u128 = 0x3_243f_6a88_85a3_08d3;
const PI: Wide = Wide::new(1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1);
const LN_2: Wide = Wide::new(-1, 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af);
const LOG2_E: Wide = Wide::new(0, 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e89);
/// atan(n / 8) for n = 1 to 8.
const ATAN: [Wide; 8] = [
    Wide::new(-4, 0xfead_d4d5_617b_6e32_c897_989f_3e88_8ef8),
    Wide::new(-3, 0xfadb_afc9_6406_eb15_6dc7_9ef5_f7a2_17e6),
    Wide::new(-2, 0xb7b0_ca0f_26f7_8473_8aa3_2122_dcfe_4483),
    Wide::new(-2, 0xed63_382b_0dda_7b45_6fe4_45ec_bc3a_8d03),
    Wide::new(-1, 0x8f00_5d5e_f7f5_9f9b_5c83_5e16_65c4_3748),
    Wide::new(-1, 0xa4bc_7d19_34f7_0924_19a8_7f2a_457d_ac9f),
    Wide::new(-1, 0xb805_3e2b_c231_9e73_cb2d_a552_10a4_443d),
    Wide::new(-1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1),
];

/// Rounds an irrational value; it is always inexact.
fn finish(v: Wide, env: &mut Env) -> F80 {
    round(v.negative, v.exp, v.sig | 1, Precision::Extended, env)
}

/// What FSIN, FCOS, FSINCOS and FPTAN leave; `None`: the argument is out of range (C2), nothing changes.
pub type Trigonometric<T> = Option<T>;

enum Argument {
    /// The result whatever the function: a NaN, or an unmasked exception.
    Settled(F80),
    Zero,
    OutOfRange,
    /// Sine and cosine.
    Finite(Wide, Wide),
}

fn argument(a: &Operand, env: &mut Env) -> Argument {
    if let Some(r) = nan(a, a, env) {
        return Argument::Settled(r);
    }
    if a.is_infinity() {
        return Argument::Settled(invalid(env));
    }
    if a.is_zero() {
        return Argument::Zero;
    }
    if a.num.exp >= 63 {
        return Argument::OutOfRange;
    }
    if env.denormal_operand(a.num.denormal) {
        return Argument::Settled(a.bits);
    }
    let x = Wide::magnitude(&a.num);
    let (quadrant, r) = if a.num.exp < -2 { (0, x) } else { reduce(u128::from(a.num.sig) << (a.num.exp + 2)) };
    let (s, c) = (sine(r), cosine(r));
    let (s, c) = match quadrant {
        0 => (s, c),
        1 => (c, s.neg()),
        2 => (s.neg(), c.neg()),
        _ => (c.neg(), s),
    };
    Argument::Finite(if a.negative() { s.neg() } else { s }, c)
}

/// `x` (in units of 2^-65) less the nearest multiple of half pi, and that multiple modulo 4.
fn reduce(x: u128) -> (u8, Wide) {
    let (q, r) = (x / HALF_PI_66, x % HALF_PI_66);
    if r > HALF_PI_66 / 2 {
        ((q as u8).wrapping_add(1) & 3, Wide::scaled(HALF_PI_66 - r, -65).neg())
    } else {
        (q as u8 & 3, Wide::scaled(r, -65))
    }
}

/// sin r = r - r^3/3! + ..., |r| at most pi/4.
fn sine(r: Wide) -> Wide {
    let z = r.mul(r);
    (1..=14u32).rev().fold(Wide::ONE, |v, n| Wide::ONE.sub(z.mul(v).div_small(2 * n * (2 * n + 1)))).mul(r)
}

/// cos r = 1 - r^2/2! + ..., |r| at most pi/4.
fn cosine(r: Wide) -> Wide {
    let z = r.mul(r);
    (1..=14u32).rev().fold(Wide::ONE, |v, n| Wide::ONE.sub(z.mul(v).div_small((2 * n - 1) * 2 * n)))
}

/// FSIN.
pub fn sin(a: &Operand, env: &mut Env) -> Trigonometric<F80> {
    match argument(a, env) {
        Argument::Settled(r) => Some(r),
        Argument::Zero => Some(a.bits),
        Argument::OutOfRange => None,
        Argument::Finite(s, _) => Some(finish(s, env)),
    }
}

/// FCOS.
pub fn cos(a: &Operand, env: &mut Env) -> Trigonometric<F80> {
    match argument(a, env) {
        Argument::Settled(r) => Some(r),
        Argument::Zero => Some(F80::ONE),
        Argument::OutOfRange => None,
        Argument::Finite(_, c) => Some(finish(c, env)),
    }
}

/// FSINCOS: sine and cosine. C1 is the cosine's.
pub fn sin_cos(a: &Operand, env: &mut Env) -> Trigonometric<(F80, F80)> {
    match argument(a, env) {
        Argument::Settled(r) => Some((r, r)),
        Argument::Zero => Some((a.bits, F80::ONE)),
        Argument::OutOfRange => None,
        Argument::Finite(s, c) => {
            let s = finish(s, env);
            Some((s, finish(c, env)))
        }
    }
}

/// FPTAN: the tangent, and what is pushed after it: one, or the NaN again.
pub fn tan(a: &Operand, env: &mut Env) -> Trigonometric<(F80, F80)> {
    match argument(a, env) {
        Argument::Settled(r) => Some((r, r)),
        Argument::Zero => Some((a.bits, F80::ONE)),
        Argument::OutOfRange => None,
        // Next to nothing, and next to one: the tangent lies just above the argument, where the quotient may not.
        Argument::Finite(..) if a.num.exp < -64 => {
            Some((finish(Wide::magnitude(&a.num).signed(a.negative()), env), F80::ONE))
        }
        Argument::Finite(s, c) => Some((finish(s.div(c), env), F80::ONE)),
    }
}

/// atan t for t in (0, 1].
fn arctangent(t: Wide) -> Wide {
    // n = t * 8, rounded.
    let n = if t.exp < -4 { 0 } else { ((t.sig >> (123 - t.exp)) + 1) >> 1 };
    let (u, base) = match n {
        1..=8 => {
            let c = Wide::scaled(n, -3);
            (t.sub(c).div(Wide::ONE.add(t.mul(c))), ATAN[n as usize - 1])
        }
        _ => (t, Wide::ZERO),
    };
    // u - u^3/3 + ..., |u| at most 1/16.
    let z = u.mul(u);
    let series = (0..14u32).rev().fold(Wide::ZERO, |v, n| Wide::ONE.div_small(2 * n + 1).sub(z.mul(v)));
    base.add(u.mul(series))
}

/// FPATAN: the angle of the point (`x`, `y`), `x` in ST(0) and `y` in ST(1).
pub fn atan2(y: &Operand, x: &Operand, env: &mut Env) -> F80 {
    if let Some(r) = nan(y, x, env) {
        return r;
    }
    if env.denormal_operand(y.num.denormal | x.num.denormal) {
        return y.bits;
    }
    let angle = if y.is_infinity() || x.is_infinity() || y.is_zero() || x.is_zero() {
        match special_angle(y, x) {
            Some(v) => v,
            None => return F80::zero(y.negative()),
        }
    } else {
        let (b, a) = (Wide::magnitude(&y.num), Wide::magnitude(&x.num));
        let steep = (b.exp, b.sig) > (a.exp, a.sig);
        let first = arctangent(if steep { a.div(b) } else { b.div(a) });
        let acute = if steep { PI.shift(-1).sub(first) } else { first };
        if x.negative() { PI.sub(acute) } else { acute }
    };
    finish(angle.signed(y.negative()), env)
}

/// The angle on an axis or at infinity; `None` is zero.
fn special_angle(y: &Operand, x: &Operand) -> Option<Wide> {
    let half = PI.shift(-1);
    let quarter = PI.shift(-2);
    match (y.is_infinity(), x.is_infinity()) {
        (true, true) if x.negative() => Some(half.add(quarter)),
        (true, true) => Some(quarter),
        (true, _) => Some(half),
        (_, true) => x.negative().then_some(PI),
        _ if y.is_zero() => x.negative().then_some(PI),
        _ => Some(half),
    }
}

/// e^w - 1 for |w| below 0.4: w + w^2/2! + ...
fn expm1(w: Wide) -> Wide {
    (2..=28u32).rev().fold(Wide::ONE, |v, n| Wide::ONE.add(w.mul(v).div_small(n))).mul(w)
}

/// F2XM1: 2^`a` - 1. Outside -1 to 1 the SDM leaves the result undefined; `a` stays, as on hardware.
pub fn exp2m1(a: &Operand, env: &mut Env) -> F80 {
    if let Some(r) = nan(a, a, env) {
        return r;
    }
    if a.is_zero() || a.is_infinity() {
        return if a.is_infinity() && a.negative() { F80::ONE.with_sign(true) } else { a.bits };
    }
    if env.denormal_operand(a.num.denormal) {
        return a.bits;
    }
    if a.num.exp >= 0 {
        env.flags |= flag::PE;
        let minus_one = a.bits == F80::ONE.with_sign(true);
        return if minus_one { F80 { sign_exponent: 0xbffe, ..F80::ONE } } else { a.bits };
    }
    let x = Wide::magnitude(&a.num).signed(a.negative());
    if a.num.exp < -1 {
        return finish(expm1(x.mul(LN_2)), env);
    }
    // 2^x - 1 from 2^(x -+ 1), whose exponent is a half or less.
    if a.negative() {
        let p = expm1(x.add(Wide::ONE).mul(LN_2));
        return finish(p.sub(Wide::ONE).shift(-1), env);
    }
    let p = expm1(x.sub(Wide::ONE).mul(LN_2));
    finish(p.shift(1).add(Wide::ONE), env)
}

/// log2((1 + s) / (1 - s)) = 2 atanh(s) log2(e), |s| at most 0.172.
fn log2_ratio(s: Wide) -> Wide {
    let z = s.mul(s);
    let series = (0..24u32).rev().fold(Wide::ZERO, |v, n| Wide::ONE.div_small(2 * n + 1).add(z.mul(v)));
    series.mul(s).mul(LOG2_E).shift(1)
}

/// log2 of a positive number.
fn log2(x: Wide) -> Wide {
    // The significand in (sqrt(1/2), sqrt(2)]; 0xb504f333... is sqrt(2) in the upper bits.
    let up = x.sig >> 96 > 0xb504_f333;
    let exp = x.exp + i32::from(up);
    let m = Wide { exp: if up { -1 } else { 0 }, ..x };
    let whole = Wide::scaled(exp.unsigned_abs().into(), 0).signed(exp < 0);
    whole.add(log2_ratio(m.sub(Wide::ONE).div(m.add(Wide::ONE))))
}

/// `y` times a logarithm that is zero or infinite, or by an infinite or zero `y`; the logarithm as sign and kind.
fn special_product(y: &Operand, negative: bool, infinite: bool, zero: bool, env: &mut Env) -> F80 {
    if infinite && y.is_zero() || zero && y.is_infinity() {
        return invalid(env);
    }
    let negative = negative ^ y.negative();
    if infinite || y.is_infinity() { F80::infinity(negative) } else { F80::zero(negative) }
}

/// FYL2X: `y` * log2(`x`), `x` in ST(0) and `y` in ST(1).
pub fn y_log2(y: &Operand, x: &Operand, env: &mut Env) -> F80 {
    if let Some(r) = nan(y, x, env) {
        return r;
    }
    if x.negative() && !x.is_zero() || x.is_zero() && y.is_zero() {
        return invalid(env);
    }
    if x.is_zero() && !y.is_infinity() {
        env.flags |= flag::ZE;
        return F80::infinity(!y.negative());
    }
    let one = x.num.sig == 1 << 63 && x.num.exp == 0 && !x.is_zero() && !x.is_infinity();
    let special = x.is_zero() || x.is_infinity() || y.is_zero() || y.is_infinity() || one;
    let below_one = x.is_zero() || !x.is_infinity() && x.num.exp < 0;
    if one && y.is_infinity() || x.is_infinity() && y.is_zero() {
        return invalid(env);
    }
    if env.denormal_operand(y.num.denormal | x.num.denormal) {
        return y.bits;
    }
    if special {
        return special_product(y, below_one, x.is_zero() || x.is_infinity(), one, env);
    }
    product(y, log2(Wide::magnitude(&x.num)), x.num.sig == 1 << 63, env)
}

/// `y` times a logarithm, rounded; `exact` when the logarithm is a whole number, which hardware calls inexact too.
fn product(y: &Operand, log: Wide, exact: bool, env: &mut Env) -> F80 {
    let r = Wide::magnitude(&y.num).signed(y.negative()).mul(log);
    if exact {
        let r = round(r.negative, r.exp, r.sig, Precision::Extended, env);
        env.flags |= flag::PE | if r.sign_exponent & super::TOP == 0 { flag::UE } else { 0 };
        return r;
    }
    finish(r, env)
}

/// FYL2XP1: `y` * log2(`x` + 1). The SDM defines it for |`x`| below 1 - sqrt(1/2); it is right for all `x` above -1,
/// and finite ones below that come back themselves, as on hardware.
pub fn y_log2_plus_1(y: &Operand, x: &Operand, env: &mut Env) -> F80 {
    if let Some(r) = nan(y, x, env) {
        return r;
    }
    if x.negative() && x.is_infinity() {
        return invalid(env);
    }
    if x.is_zero() && y.is_infinity() || x.is_infinity() && y.is_zero() {
        return invalid(env);
    }
    if env.denormal_operand(y.num.denormal | x.num.denormal) {
        return y.bits;
    }
    if x.is_zero() || x.is_infinity() || y.is_zero() || y.is_infinity() {
        return special_product(y, x.negative(), x.is_infinity(), x.is_zero(), env);
    }
    if x.negative() && x.num.exp >= 0 {
        env.flags |= flag::PE;
        return x.bits;
    }
    let v = Wide::magnitude(&x.num).signed(x.negative());
    let log = if x.num.exp < -2 { log2_ratio(v.div(v.add(Wide::ONE.shift(1)))) } else { log2(v.add(Wide::ONE)) };
    product(y, log, false, env)
}
