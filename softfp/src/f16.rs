//! The operations on half precision, as functions of bit patterns.
//!
//! Neither DAZ nor FTZ concerns a half: its denormals are operands and results like others, and an operation on them
//! raises DE as elsewhere. Source: Intel, AVX512-FP16 architecture specification, and SDM vol. 2, VCVTPS2PHX ("FP16
//! outputs are not conditionally flushed") and VCVTPH2PS ("MXCSR.DAZ is ignored"). Unverified: for arithmetic only the
//! former says so, and no such processor was at hand; run `softfp/tests/half.rs` on one to see.

#![allow(missing_docs, reason = "the operations are named as in IEEE 754; the module describes what they share")]

use crate::format::{Double, Format, Half, Single};
use crate::{Env, Rounding, arith, avx512, convert, flag};
use std::cmp::Ordering;

/// `f` in an environment without DAZ and FTZ.
fn own<R>(env: &mut Env, f: impl FnOnce(&mut Env) -> R) -> R {
    let mut mine = Env { daz: false, ftz: false, ..*env };
    let r = f(&mut mine);
    *env = Env { daz: env.daz, ftz: env.ftz, ..mine };
    r
}

pub fn add(a: u16, b: u16, env: &mut Env) -> u16 {
    own(env, |env| arith::add::<Half>(a.into(), b.into(), false, env) as u16)
}
pub fn sub(a: u16, b: u16, env: &mut Env) -> u16 {
    own(env, |env| arith::add::<Half>(a.into(), b.into(), true, env) as u16)
}
pub fn mul(a: u16, b: u16, env: &mut Env) -> u16 {
    own(env, |env| arith::mul::<Half>(a.into(), b.into(), env) as u16)
}
pub fn div(a: u16, b: u16, env: &mut Env) -> u16 {
    own(env, |env| arith::div::<Half>(a.into(), b.into(), env) as u16)
}
pub fn sqrt(a: u16, env: &mut Env) -> u16 {
    own(env, |env| arith::sqrt::<Half>(a.into(), env) as u16)
}
/// `a * b + c`, rounded once.
pub fn fma(a: u16, b: u16, c: u16, env: &mut Env) -> u16 {
    own(env, |env| arith::fma::<Half>(a.into(), b.into(), c.into(), env) as u16)
}
/// The lesser; `b` when either is a NaN or both are zeros. IE on any NaN.
pub fn min(a: u16, b: u16, env: &mut Env) -> u16 {
    own(env, |env| convert::extreme::<Half>(a.into(), b.into(), Ordering::Less, env) as u16)
}
/// The greater; `b` when either is a NaN or both are zeros. IE on any NaN.
pub fn max(a: u16, b: u16, env: &mut Env) -> u16 {
    own(env, |env| convert::extreme::<Half>(a.into(), b.into(), Ordering::Greater, env) as u16)
}
/// `None`: unordered. IE on a signaling NaN, and on any NaN when `signaling`.
pub fn compare(a: u16, b: u16, signaling: bool, env: &mut Env) -> Option<Ordering> {
    own(env, |env| convert::compare::<Half>(a.into(), b.into(), signaling, env))
}

/// As a signed integer of `bits` (16, 32 or 64), sign-extended; the least one and IE when it does not fit.
pub fn to_signed(a: u16, bits: u32, rounding: Rounding, env: &mut Env) -> i64 {
    own(env, |env| convert::to_signed::<Half>(a.into(), bits, rounding, env))
}
/// As an unsigned integer of `bits` (16, 32 or 64); all ones and IE when it does not fit.
pub fn to_unsigned(a: u16, bits: u32, rounding: Rounding, env: &mut Env) -> u64 {
    own(env, |env| convert::to_unsigned::<Half>(a.into(), bits, rounding, env))
}
pub fn from_signed(v: i64, env: &mut Env) -> u16 {
    own(env, |env| convert::from_integer::<Half>(v < 0, v.unsigned_abs(), env) as u16)
}
pub fn from_unsigned(v: u64, env: &mut Env) -> u16 {
    own(env, |env| convert::from_integer::<Half>(false, v, env) as u16)
}

/// The exponent, as a number.
pub fn getexp(a: u16, env: &mut Env) -> u16 {
    own(env, |env| avx512::getexp::<Half>(a.into(), env) as u16)
}
/// The significand, as VGETMANT's immediate says.
pub fn getmant(a: u16, imm: u8, env: &mut Env) -> u16 {
    own(env, |env| avx512::getmant::<Half>(a.into(), imm, env) as u16)
}
/// `a` times two to the power of the integer at or below `b`.
pub fn scalef(a: u16, b: u16, env: &mut Env) -> u16 {
    own(env, |env| avx512::scalef::<Half>(a.into(), b.into(), env) as u16)
}
/// Rounded to a binary fraction, as VRNDSCALE's immediate says.
pub fn rndscale(a: u16, imm: u8, env: &mut Env) -> u16 {
    own(env, |env| avx512::rndscale::<Half>(a.into(), imm, env) as u16)
}
/// What [`rndscale`] takes away.
pub fn reduce(a: u16, imm: u8, env: &mut Env) -> u16 {
    own(env, |env| avx512::reduce::<Half>(a.into(), imm, env) as u16)
}
/// Is it in one of the classes of VFPCLASS's immediate? Raises nothing.
pub fn is_class(a: u16, imm: u8) -> bool {
    avx512::is_class::<Half>(a.into(), imm, false)
}

/// Raises DE for a denormal operand.
fn note_denormal(a: u16, env: &mut Env) {
    let magnitude = u64::from(a) & !Half::SIGN;
    if magnitude != 0 && magnitude <= Half::FRACTION {
        env.flags |= flag::DE;
    }
}

/// To single precision, exactly. Neither DAZ nor DE.
#[inline]
pub fn to_f32(a: u16, env: &mut Env) -> u32 {
    convert::convert::<Half, Single>(a.into(), env) as u32
}
/// To double precision, exactly. Neither DAZ nor DE.
#[inline]
pub fn to_f64(a: u16, env: &mut Env) -> u64 {
    convert::convert::<Half, Double>(a.into(), env)
}
/// To single precision, exactly. DE, but no DAZ: the instructions of AVX512-FP16.
pub fn widened_f32(a: u16, env: &mut Env) -> u32 {
    note_denormal(a, env);
    to_f32(a, env)
}
/// To double precision, likewise.
pub fn widened_f64(a: u16, env: &mut Env) -> u64 {
    note_denormal(a, env);
    to_f64(a, env)
}
