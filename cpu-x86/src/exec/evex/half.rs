//! AVX512-FP16: arithmetic, comparisons and moves of half precision; the operations themselves are `softfp`'s.
//!
//! Source: SDM vol. 2, the instruction of that name; Intel, AVX512-FP16 architecture specification. The order in which
//! the complex products round is that of SDM's pseudo-code, one rounding for each multiplication or fused one.

use super::approximate::{SINGLE, rcp14, rsqrt14};
use super::describe::{Formula, Row};
use crate::exec::simd::fma::{ADD, NEGATED_ADD, NEGATED_SUB, Real, SUB, fused};
use crate::exec::simd::{Form, Kernel, V, flags, holds, signals};
use iced_x86::Mnemonic;
use softfp::{Env, Rounding, f16, f32};

/// A formula over halves: the old value of the destination, two operands, the immediate.
macro_rules! half {
    (|$c:pat_param, $a:pat_param, $b:pat_param, $imm:pat_param, $env:pat_param| $r:expr) => {
        Row::of(
            Formula::Real(|c, a, b, $imm, $env| {
                let ($c, $a, $b) = (c as u16, a as u16, b as u16);
                u64::from($r)
            }),
            2,
        )
    };
}
/// A fused product and sum: the order of the operands, what is negated in even elements and in odd ones.
macro_rules! fused {
    ($order:literal, $even:ident, $odd:ident) => {
        Row::of(Formula::Shared(Kernel::Fp3(fused::<u16, $order, $even, $odd>)), 2)
    };
}
/// A complex product, plus the old value or not, of the second operand or its conjugate.
macro_rules! complex {
    ($adds:literal, $conjugates:literal) => {
        Row::of(Formula::Real(|c, a, b, _, env| complex::<$adds, $conjugates>(c, a, b, env)), 4)
    };
}

/// The row of `m`.
#[rustfmt::skip] // One row a mnemonic.
pub fn row(m: Mnemonic, f: Form) -> Option<Row> {
    use Mnemonic::*;
    Some(match m {
        Vaddph | Vaddsh           => half!(|_, a, b, _, env| f16::add(a, b, env)),
        Vsubph | Vsubsh           => half!(|_, a, b, _, env| f16::sub(a, b, env)),
        Vmulph | Vmulsh           => half!(|_, a, b, _, env| f16::mul(a, b, env)),
        Vdivph | Vdivsh           => half!(|_, a, b, _, env| f16::div(a, b, env)),
        Vminph | Vminsh           => half!(|_, a, b, _, env| f16::min(a, b, env)),
        Vmaxph | Vmaxsh           => half!(|_, a, b, _, env| f16::max(a, b, env)),
        Vsqrtph | Vsqrtsh         => half!(|_, _, b, _, env| f16::sqrt(b, env)),
        Vgetexpph | Vgetexpsh     => half!(|_, _, b, _, env| f16::getexp(b, env)),
        Vgetmantph | Vgetmantsh   => half!(|_, _, b, imm, env| f16::getmant(b, imm, env)),
        Vscalefph | Vscalefsh     => half!(|_, a, b, _, env| f16::scalef(a, b, env)),
        Vrndscaleph | Vrndscalesh => half!(|_, _, b, imm, env| f16::rndscale(b, imm, env)),
        Vreduceph | Vreducesh     => half!(|_, _, b, imm, env| f16::reduce(b, imm, env)),
        Vrcpph | Vrcpsh           => half!(|_, _, b, _, _| rcp(b)),
        Vrsqrtph | Vrsqrtsh       => half!(|_, _, b, _, _| rsqrt(b)),
        // All ones, whose most significant bit goes to the opmask register.
        Vfpclassph | Vfpclasssh   => half!(|_, _, b, imm, _| ones(f16::is_class(b, imm))),
        Vcmpph | Vcmpsh           => half!(|_, a, b, imm, env| ones(holds(imm, f16::compare(a, b, signals(imm), env)))),
        Vcomish                   => Row::of(Formula::Shared(Kernel::FpFlags(|a, b, env| ordered(a, b, true, env))), 2),
        Vucomish                  => Row::of(Formula::Shared(Kernel::FpFlags(|a, b, env| ordered(a, b, false, env))), 2),

        Vmovsh if f.memory        => Row::of(Formula::Shared(Kernel::Move), 2),
        Vmovsh                    => half!(|_, _, b, _, _| b),
        Vmovw                     => Row::of(Formula::Half(|_, _, b, _| V::low(b.get::<u16>(0))), 2),

        Vfmadd132ph | Vfmadd132sh   => fused!(132, ADD, ADD),
        Vfmadd213ph | Vfmadd213sh   => fused!(213, ADD, ADD),
        Vfmadd231ph | Vfmadd231sh   => fused!(231, ADD, ADD),
        Vfmsub132ph | Vfmsub132sh   => fused!(132, SUB, SUB),
        Vfmsub213ph | Vfmsub213sh   => fused!(213, SUB, SUB),
        Vfmsub231ph | Vfmsub231sh   => fused!(231, SUB, SUB),
        Vfnmadd132ph | Vfnmadd132sh => fused!(132, NEGATED_ADD, NEGATED_ADD),
        Vfnmadd213ph | Vfnmadd213sh => fused!(213, NEGATED_ADD, NEGATED_ADD),
        Vfnmadd231ph | Vfnmadd231sh => fused!(231, NEGATED_ADD, NEGATED_ADD),
        Vfnmsub132ph | Vfnmsub132sh => fused!(132, NEGATED_SUB, NEGATED_SUB),
        Vfnmsub213ph | Vfnmsub213sh => fused!(213, NEGATED_SUB, NEGATED_SUB),
        Vfnmsub231ph | Vfnmsub231sh => fused!(231, NEGATED_SUB, NEGATED_SUB),
        Vfmaddsub132ph              => fused!(132, SUB, ADD),
        Vfmaddsub213ph              => fused!(213, SUB, ADD),
        Vfmaddsub231ph              => fused!(231, SUB, ADD),
        Vfmsubadd132ph              => fused!(132, ADD, SUB),
        Vfmsubadd213ph              => fused!(213, ADD, SUB),
        Vfmsubadd231ph              => fused!(231, ADD, SUB),

        Vfmulcph | Vfmulcsh         => complex!(false, false),
        Vfcmulcph | Vfcmulcsh       => complex!(false, true),
        Vfmaddcph | Vfmaddcsh       => complex!(true, false),
        Vfcmaddcph | Vfcmaddcsh     => complex!(true, true),
        _ => return None,
    })
}

/// Is `m` an approximation, which raises nothing?
pub fn is_approximation(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(m, Vrcpph | Vrcpsh | Vrsqrtph | Vrsqrtsh)
}

/// Is `m` a product of complex numbers? They run as if all exceptions were masked.
pub fn is_complex(m: Mnemonic) -> bool {
    matches!(m, Mnemonic::Vfmulcph | Mnemonic::Vfcmulcph | Mnemonic::Vfmaddcph | Mnemonic::Vfcmaddcph)
        || is_complex_scalar(m)
}

/// Is it one of a single complex number?
pub fn is_complex_scalar(m: Mnemonic) -> bool {
    matches!(m, Mnemonic::Vfmulcsh | Mnemonic::Vfcmulcsh | Mnemonic::Vfmaddcsh | Mnemonic::Vfcmaddcsh)
}

fn ones(holds: bool) -> u16 {
    u16::from(holds).wrapping_neg()
}

fn ordered(a: &V, b: &V, signaling: bool, env: &mut Env) -> u64 {
    flags(f16::compare(a.get(0), b.get(0), signaling, env))
}

/// The real parts are in the low halves.
fn complex<const ADDS: bool, const CONJUGATES: bool>(c: u64, a: u64, b: u64, env: &mut Env) -> u64 {
    let parts = |v: u64| (v as u16, (v >> 16) as u16);
    let ((cr, ci), (ar, ai), (br, bi)) = (parts(c), parts(a), parts(b));
    let (r, i) = if ADDS {
        (f16::fma(ar, br, cr, env), f16::fma(ai, br, ci, env))
    } else {
        (f16::mul(ar, br, env), f16::mul(ai, br, env))
    };
    let r = f16::fma(ai.negated(!CONJUGATES), bi, r, env);
    let i = f16::fma(ar.negated(CONJUGATES), bi, i, env);
    u64::from(r) | u64::from(i) << 16
}

/// Through single precision, to nearest.
fn through_single(x: u16, f: impl FnOnce(u32) -> u32) -> u16 {
    let mut env = Env { masks: softfp::flag::ALL, rounding: Rounding::Nearest, ..Env::default() };
    let wide = f16::to_f32(x, &mut env);
    f32::to_f16(f(wide), &mut env)
}

/// 1 / `x`: that of VRCP14, rounded. Raises nothing.
///
/// Unverified: the SDM gives the error, below 2^-11 + 2^-14, which this has: that of VRCP14 and that of the rounding;
/// to be compared with all 65536 results of a processor.
fn rcp(x: u16) -> u16 {
    through_single(x, |x| rcp14(SINGLE, x.into(), false, false) as u32)
}

/// 1 / sqrt(`x`): that of VRSQRT14, rounded. Raises nothing. Unverified: as [`rcp`].
fn rsqrt(x: u16) -> u16 {
    through_single(x, |x| rsqrt14(SINGLE, x.into(), false) as u32)
}
