//! The operations on single and double precision, as functions of bit patterns.
//!
//! Each arithmetic operation tries the host's own first: IEEE 754 leaves it no choice when the rounding is to
//! nearest, the operands are normal and the result is normal and not the least one (which may have been rounded up
//! from below: tininess); or operands are zeros, and the result is one that a zero makes exact. What it cannot show is
//! whether it was inexact, so it is used only when PE is already set and masked. Everything else goes through the book.

#![allow(missing_docs, reason = "the operations are named as in IEEE 754; the module describes what they share")]

use crate::format::{Double, Format, Half, Single};
use crate::{Env, Rounding, arith, avx512, convert, flag};
use std::cmp::Ordering;

macro_rules! format {
    ($(#[$doc:meta])* $name:ident, $format:ident, $bits:ident, $host:ident, $to_other:ident, $other:ident, $other_bits:ident, $other_host:ident) => {
        $(#[$doc])*
        pub mod $name {
            use super::*;
            type F = $format;

            /// Below the exponent and fraction fields there is room for the sign: shifting it out leaves order.
            const ONE: $bits = 1 << F::P;

            /// Is the exponent field of `a` in `least`..=TOP - 1?
            #[inline(always)]
            pub(super) const fn normal(a: $bits, least: $bits) -> bool {
                (a << 1).wrapping_sub(least * ONE) < ((F::TOP as $bits) - least) * ONE
            }

            #[inline(always)]
            const fn is_zero(a: $bits) -> bool {
                a << 1 == 0
            }

            #[inline(always)]
            const fn denormal(a: $bits) -> bool {
                (a << 1).wrapping_sub(1) < ONE - 1
            }

            #[inline(always)]
            const fn finite(a: $bits) -> bool {
                a << 1 < (F::TOP as $bits) * ONE
            }

            /// Is `a` a zero or normal?
            #[inline(always)]
            const fn plain(a: $bits) -> bool {
                is_zero(a) | normal(a, 1)
            }

            /// Is `a` normal and below 2^`bits` in magnitude?
            #[inline(always)]
            const fn truncates(a: $bits, bits: $bits) -> bool {
                (a << 1).wrapping_sub(ONE) < ((F::BIAS as $bits) + bits - 1) * ONE
            }

            #[inline(always)]
            fn host(a: $bits) -> $host {
                $host::from_bits(a)
            }

            /// The sum, when the host's own is right in a quick [`Env`].
            #[inline(always)]
            pub fn fast_add(a: $bits, b: $bits) -> Option<$bits> {
                let r = (host(a) + host(b)).to_bits();
                exact_or_normal(a, b, r).then_some(r)
            }
            /// The difference, when the host's own is right in a quick [`Env`].
            #[inline(always)]
            pub fn fast_sub(a: $bits, b: $bits) -> Option<$bits> {
                let r = (host(a) - host(b)).to_bits();
                exact_or_normal(a, b, r).then_some(r)
            }
            /// Is the sum or difference `r` of `a` and `b` right? One below the normal range is exact; it is left out
            /// because FTZ would change it.
            #[inline(always)]
            const fn exact_or_normal(a: $bits, b: $bits, r: $bits) -> bool {
                !denormal(a) & !denormal(b) & !denormal(r) & finite(r)
            }
            /// The product, when the host's own is right in a quick [`Env`].
            #[inline(always)]
            pub fn fast_mul(a: $bits, b: $bits) -> Option<$bits> {
                let r = (host(a) * host(b)).to_bits();
                if denormal(a) | denormal(b) {
                    return None;
                }
                (normal(r, 2) || is_zero(r) & (is_zero(a) | is_zero(b))).then_some(r)
            }
            /// The quotient, when the host's own is right in a quick [`Env`].
            #[inline(always)]
            pub fn fast_div(a: $bits, b: $bits) -> Option<$bits> {
                let r = (host(a) / host(b)).to_bits();
                if denormal(a) | denormal(b) {
                    return None;
                }
                (normal(r, 2) || is_zero(r) & is_zero(a)).then_some(r)
            }
            /// The square root, when the host's own is right in a quick [`Env`].
            #[inline(always)]
            pub fn fast_sqrt(a: $bits) -> Option<$bits> {
                // A normal positive operand: the sign bit counts as part of the exponent field here.
                let normal = a.wrapping_sub(ONE >> 1) < (F::INFINITY as $bits) - (ONE >> 1);
                (normal | is_zero(a)).then(|| host(a).sqrt().to_bits())
            }
            /// The product and sum, when the host's own is right in a quick [`Env`].
            #[inline(always)]
            pub fn fast_fma(a: $bits, b: $bits, c: $bits) -> Option<$bits> {
                if !(plain(a) & plain(b) & plain(c)) {
                    return None;
                }
                let r = host(a).mul_add(host(b), host(c)).to_bits();
                (normal(r, 2) | is_zero(a) | is_zero(b)).then_some(r)
            }

            /// The relation, where it leaves no trace in any [`Env`].
            #[inline(always)]
            pub fn fast_compare(a: $bits, b: $bits) -> Option<Ordering> {
                if plain(a) & plain(b) { host(a).partial_cmp(&host(b)) } else { None }
            }

            #[inline]
            pub fn add(a: $bits, b: $bits, env: &mut Env) -> $bits {
                match fast_add(a, b) {
                    Some(r) if env.is_quick() => r,
                    _ => soft_add(a, b, env),
                }
            }
            #[inline]
            pub fn sub(a: $bits, b: $bits, env: &mut Env) -> $bits {
                match fast_sub(a, b) {
                    Some(r) if env.is_quick() => r,
                    _ => soft_sub(a, b, env),
                }
            }
            #[inline]
            pub fn mul(a: $bits, b: $bits, env: &mut Env) -> $bits {
                match fast_mul(a, b) {
                    Some(r) if env.is_quick() => r,
                    _ => soft_mul(a, b, env),
                }
            }
            #[inline]
            pub fn div(a: $bits, b: $bits, env: &mut Env) -> $bits {
                if env.is_quick() && let Some(r) = fast_div(a, b) {
                    return r;
                }
                soft_div(a, b, env)
            }
            #[inline]
            pub fn sqrt(a: $bits, env: &mut Env) -> $bits {
                if env.is_quick() && let Some(r) = fast_sqrt(a) {
                    return r;
                }
                soft_sqrt(a, env)
            }
            /// `a * b + c`, rounded once.
            #[inline]
            pub fn fma(a: $bits, b: $bits, c: $bits, env: &mut Env) -> $bits {
                if env.is_quick() && let Some(r) = fast_fma(a, b, c) {
                    return r;
                }
                soft_fma(a, b, c, env)
            }

            /// [`add`] without the host.
            #[inline(never)]
            pub fn soft_add(a: $bits, b: $bits, env: &mut Env) -> $bits {
                arith::add::<F>(a.into(), b.into(), false, env) as $bits
            }
            /// [`sub`] without the host.
            #[inline(never)]
            pub fn soft_sub(a: $bits, b: $bits, env: &mut Env) -> $bits {
                arith::add::<F>(a.into(), b.into(), true, env) as $bits
            }
            /// [`mul`] without the host.
            #[inline(never)]
            pub fn soft_mul(a: $bits, b: $bits, env: &mut Env) -> $bits {
                arith::mul::<F>(a.into(), b.into(), env) as $bits
            }
            /// [`div`] without the host.
            #[inline(never)]
            pub fn soft_div(a: $bits, b: $bits, env: &mut Env) -> $bits {
                arith::div::<F>(a.into(), b.into(), env) as $bits
            }
            /// [`sqrt`] without the host.
            #[inline(never)]
            pub fn soft_sqrt(a: $bits, env: &mut Env) -> $bits {
                arith::sqrt::<F>(a.into(), env) as $bits
            }
            /// [`fma`] without the host.
            #[inline(never)]
            pub fn soft_fma(a: $bits, b: $bits, c: $bits, env: &mut Env) -> $bits {
                arith::fma::<F>(a.into(), b.into(), c.into(), env) as $bits
            }

            /// The lesser; `b` when either is a NaN or both are zeros. IE on any NaN.
            #[inline]
            pub fn min(a: $bits, b: $bits, env: &mut Env) -> $bits {
                if normal(a, 1) & normal(b, 1) {
                    return if host(a) < host(b) { a } else { b };
                }
                convert::extreme::<F>(a.into(), b.into(), Ordering::Less, env) as $bits
            }
            /// The greater; `b` when either is a NaN or both are zeros. IE on any NaN.
            #[inline]
            pub fn max(a: $bits, b: $bits, env: &mut Env) -> $bits {
                if normal(a, 1) & normal(b, 1) {
                    return if host(a) > host(b) { a } else { b };
                }
                convert::extreme::<F>(a.into(), b.into(), Ordering::Greater, env) as $bits
            }
            /// `None`: unordered. IE on a signaling NaN, and on any NaN when `signaling`.
            #[inline]
            pub fn compare(a: $bits, b: $bits, signaling: bool, env: &mut Env) -> Option<Ordering> {
                if let Some(relation) = fast_compare(a, b) {
                    return Some(relation);
                }
                convert::compare::<F>(a.into(), b.into(), signaling, env)
            }
            /// Rounds to an integral value; PE unless `quiet_inexact`. DE is never raised.
            #[inline]
            pub fn round_to_integral(a: $bits, rounding: Rounding, quiet_inexact: bool, env: &mut Env) -> $bits {
                convert::round_to_integral::<F>(a.into(), rounding, quiet_inexact, env) as $bits
            }

            /// 8000_0000h and IE when it does not fit.
            #[inline]
            pub fn to_i32(a: $bits, rounding: Rounding, env: &mut Env) -> i32 {
                if rounding == Rounding::Zero && truncates(a, 31) {
                    let v = host(a) as i32;
                    env.flags |= if v as $host == host(a) { 0 } else { flag::PE };
                    return v;
                }
                convert::to_signed::<F>(a.into(), 32, rounding, env) as i32
            }
            /// 8000_0000_0000_0000h and IE when it does not fit.
            #[inline]
            pub fn to_i64(a: $bits, rounding: Rounding, env: &mut Env) -> i64 {
                if rounding == Rounding::Zero && truncates(a, 63) {
                    let v = host(a) as i64;
                    env.flags |= if v as $host == host(a) { 0 } else { flag::PE };
                    return v;
                }
                convert::to_signed::<F>(a.into(), 64, rounding, env)
            }
            /// All ones and IE when it does not fit.
            #[inline]
            pub fn to_u32(a: $bits, rounding: Rounding, env: &mut Env) -> u32 {
                convert::to_unsigned::<F>(a.into(), 32, rounding, env) as u32
            }
            /// All ones and IE when it does not fit.
            #[inline]
            pub fn to_u64(a: $bits, rounding: Rounding, env: &mut Env) -> u64 {
                convert::to_unsigned::<F>(a.into(), 64, rounding, env)
            }
            #[inline]
            pub fn from_i32(v: i32, env: &mut Env) -> $bits {
                if env.is_quick() {
                    return (v as $host).to_bits();
                }
                convert::from_integer::<F>(v < 0, v.unsigned_abs().into(), env) as $bits
            }
            #[inline]
            pub fn from_i64(v: i64, env: &mut Env) -> $bits {
                if env.is_quick() {
                    return (v as $host).to_bits();
                }
                convert::from_integer::<F>(v < 0, v.unsigned_abs(), env) as $bits
            }
            #[inline]
            pub fn from_u32(v: u32, env: &mut Env) -> $bits {
                convert::from_integer::<F>(false, v.into(), env) as $bits
            }
            #[inline]
            pub fn from_u64(v: u64, env: &mut Env) -> $bits {
                convert::from_integer::<F>(false, v, env) as $bits
            }

            /// The exponent, as a number.
            pub fn getexp(a: $bits, env: &mut Env) -> $bits {
                avx512::getexp::<F>(a.into(), env) as $bits
            }
            /// The significand, as VGETMANT's immediate says.
            pub fn getmant(a: $bits, imm: u8, env: &mut Env) -> $bits {
                avx512::getmant::<F>(a.into(), imm, env) as $bits
            }
            /// `a` times two to the power of the integer at or below `b`.
            pub fn scalef(a: $bits, b: $bits, env: &mut Env) -> $bits {
                avx512::scalef::<F>(a.into(), b.into(), env) as $bits
            }
            /// Rounded to a binary fraction, as VRNDSCALE's immediate says.
            pub fn rndscale(a: $bits, imm: u8, env: &mut Env) -> $bits {
                avx512::rndscale::<F>(a.into(), imm, env) as $bits
            }
            /// What [`rndscale`] takes away.
            pub fn reduce(a: $bits, imm: u8, env: &mut Env) -> $bits {
                avx512::reduce::<F>(a.into(), imm, env) as $bits
            }
            /// One of two, as VRANGE's immediate says.
            pub fn range(a: $bits, b: $bits, imm: u8, env: &mut Env) -> $bits {
                avx512::range::<F>(a.into(), b.into(), imm, env) as $bits
            }
            /// What `table` has for the class of `a`, `c` where it says so; VFIXUPIMM's immediate picks the flags.
            pub fn fixupimm(c: $bits, a: $bits, table: u32, imm: u8, env: &mut Env) -> $bits {
                avx512::fixupimm::<F>(c.into(), a.into(), table, imm, env) as $bits
            }
            /// Is it in one of the classes of VFPCLASS's immediate? Raises nothing.
            pub fn is_class(a: $bits, imm: u8, daz: bool) -> bool {
                avx512::is_class::<F>(a.into(), imm, daz)
            }

            /// To the other of single and double precision.
            #[inline]
            pub fn $to_other(a: $bits, env: &mut Env) -> $other_bits {
                let r = (host(a) as $other_host).to_bits();
                let exact = F::P < $other::P;
                if (exact || env.is_quick()) && normal(a, 1) && super::$other_host::normal(r, 2) {
                    return r;
                }
                convert::convert::<F, $other>(a.into(), env) as $other_bits
            }
            /// To half precision; obeys DAZ, not FTZ.
            #[inline]
            pub fn to_f16(a: $bits, env: &mut Env) -> u16 {
                convert::convert::<F, Half>(a.into(), env) as u16
            }
        }
    };
}

format! {
    /// Single precision.
    f32, Single, u32, f32, to_f64, Double, u64, f64
}
format! {
    /// Double precision.
    f64, Double, u64, f64, to_f32, Single, u32, f32
}
