//! Floating-point arithmetic: one row a mnemonic, the operations themselves are `softfp`'s.
//!
//! A scalar instruction is the packed one over one element; the rest of the result is the first source's. Source: SDM
//! vol. 2, the instruction of that name; vol. 1, 4.8.3.5 (NaNs), 11.5 (exceptions).

use super::approximate;
use super::describe::{Kernel, Per};
use super::run::settle;
use super::value::{Lane, V};
use crate::alu::flag::{CF, PF, ZF};
use iced_x86::Mnemonic;
use softfp::{Env, Rounding, f32, f64};
use std::cmp::Ordering;

/// Packed single.
pub const PS: Per = Per::Bytes(4);
/// Packed double.
pub const PD: Per = Per::Bytes(8);
/// Scalar.
pub const ONE: Per = Per::Fixed(1);

/// A kernel of two operands, element by element.
macro_rules! two {
    ($t:ty, $f:expr) => {
        Kernel::Fp(|a, b, n, env| elements(a, n, |k| $f(a.get::<$t>(k), b.get(k), env)))
    };
}
/// A kernel of one operand, likewise.
macro_rules! one {
    ($t:ty, $f:expr) => {
        Kernel::Fp(|a, b, n, env| elements(a, n, |k| $f(b.get::<$t>(k), env)))
    };
}

/// `two` for the lowest element alone: with the index known, the value stays in host registers.
macro_rules! two1 {
    ($t:ty, $f:expr) => {
        Kernel::Fp(|a, b, _, env| a.with(0, $f(a.get::<$t>(0), b.get(0), env)))
    };
}
/// `one`, likewise.
macro_rules! one1 {
    ($t:ty, $f:expr) => {
        Kernel::Fp(|a, b, _, env| a.with(0, $f(b.get::<$t>(0), env)))
    };
}

/// The kernel of `m`.
#[rustfmt::skip] // One row a mnemonic.
pub fn kernel(m: Mnemonic) -> Option<(Kernel, Per)> {
    use Mnemonic::*;
    Some(match m {
        Addps | Vaddps       => (two!(u32, f32::add), PS),
        Addpd | Vaddpd       => (two!(u64, f64::add), PD),
        Addss | Vaddss       => (two1!(u32, f32::add), ONE),
        Addsd | Vaddsd       => (two1!(u64, f64::add), ONE),
        Subps | Vsubps       => (two!(u32, f32::sub), PS),
        Subpd | Vsubpd       => (two!(u64, f64::sub), PD),
        Subss | Vsubss       => (two1!(u32, f32::sub), ONE),
        Subsd | Vsubsd       => (two1!(u64, f64::sub), ONE),
        Mulps | Vmulps       => (two!(u32, f32::mul), PS),
        Mulpd | Vmulpd       => (two!(u64, f64::mul), PD),
        Mulss | Vmulss       => (two1!(u32, f32::mul), ONE),
        Mulsd | Vmulsd       => (two1!(u64, f64::mul), ONE),
        Divps | Vdivps       => (two!(u32, f32::div), PS),
        Divpd | Vdivpd       => (two!(u64, f64::div), PD),
        Divss | Vdivss       => (two1!(u32, f32::div), ONE),
        Divsd | Vdivsd       => (two1!(u64, f64::div), ONE),
        Minps | Vminps       => (two!(u32, f32::min), PS),
        Minpd | Vminpd       => (two!(u64, f64::min), PD),
        Minss | Vminss       => (two1!(u32, f32::min), ONE),
        Minsd | Vminsd       => (two1!(u64, f64::min), ONE),
        Maxps | Vmaxps       => (two!(u32, f32::max), PS),
        Maxpd | Vmaxpd       => (two!(u64, f64::max), PD),
        Maxss | Vmaxss       => (two1!(u32, f32::max), ONE),
        Maxsd | Vmaxsd       => (two1!(u64, f64::max), ONE),
        Sqrtps | Vsqrtps     => (one!(u32, f32::sqrt), PS),
        Sqrtpd | Vsqrtpd     => (one!(u64, f64::sqrt), PD),
        Sqrtss | Vsqrtss     => (one1!(u32, f32::sqrt), ONE),
        Sqrtsd | Vsqrtsd     => (one1!(u64, f64::sqrt), ONE),
        Rcpps | Vrcpps       => (one!(u32, |x, _: &mut Env| approximate::rcp(x)), PS),
        Rcpss | Vrcpss       => (one1!(u32, |x, _: &mut Env| approximate::rcp(x)), ONE),
        Rsqrtps | Vrsqrtps   => (one!(u32, |x, _: &mut Env| approximate::rsqrt(x)), PS),
        Rsqrtss | Vrsqrtss   => (one1!(u32, |x, _: &mut Env| approximate::rsqrt(x)), ONE),
        Roundps | Vroundps   => (Kernel::FpImm(round_single), PS),
        Roundpd | Vroundpd   => (Kernel::FpImm(round_double), PD),
        Roundss | Vroundss   => (Kernel::FpImm(round_single), ONE),
        Roundsd | Vroundsd   => (Kernel::FpImm(round_double), ONE),
        Cmpps                => (Kernel::FpImm(|a, b, imm, n, env| compare_single(a, b, imm & 7, n, env)), PS),
        Vcmpps               => (Kernel::FpImm(compare_single), PS),
        Cmppd                => (Kernel::FpImm(|a, b, imm, n, env| compare_double(a, b, imm & 7, n, env)), PD),
        Vcmppd               => (Kernel::FpImm(compare_double), PD),
        Cmpss                => (Kernel::FpImm(|a, b, imm, n, env| compare_single(a, b, imm & 7, n, env)), ONE),
        Vcmpss               => (Kernel::FpImm(compare_single), ONE),
        Cmpsd                => (Kernel::FpImm(|a, b, imm, n, env| compare_double(a, b, imm & 7, n, env)), ONE),
        Vcmpsd               => (Kernel::FpImm(compare_double), ONE),
        Comiss | Vcomiss     => (Kernel::FpFlags(|a, b, env| flags(f32::compare(a.get(0), b.get(0), true, env))), ONE),
        Comisd | Vcomisd     => (Kernel::FpFlags(|a, b, env| flags(f64::compare(a.get(0), b.get(0), true, env))), ONE),
        Ucomiss | Vucomiss   => (Kernel::FpFlags(|a, b, env| flags(f32::compare(a.get(0), b.get(0), false, env))), ONE),
        Ucomisd | Vucomisd   => (Kernel::FpFlags(|a, b, env| flags(f64::compare(a.get(0), b.get(0), false, env))), ONE),
        Haddps | Vhaddps     => (Kernel::Fp(|a, b, n, env| pairs(a, b, n, 4, |x, y| f32::add(x, y, env))), PS),
        Hsubps | Vhsubps     => (Kernel::Fp(|a, b, n, env| pairs(a, b, n, 4, |x, y| f32::sub(x, y, env))), PS),
        Haddpd | Vhaddpd     => (Kernel::Fp(|a, b, n, env| pairs(a, b, n, 2, |x, y| f64::add(x, y, env))), PD),
        Hsubpd | Vhsubpd     => (Kernel::Fp(|a, b, n, env| pairs(a, b, n, 2, |x, y| f64::sub(x, y, env))), PD),
        Addsubps | Vaddsubps => (Kernel::Fp(addsubps), PS),
        Addsubpd | Vaddsubpd => (Kernel::Fp(addsubpd), PD),
        Dpps | Vdpps         => (Kernel::FpSteps(dpps), PS),
        Dppd | Vdppd         => (Kernel::FpSteps(dppd), PD),
        _ => return None,
    })
}

/// `base` with its first `n` elements replaced.
#[inline(always)]
pub fn elements<T: Lane>(base: &V, n: usize, mut f: impl FnMut(usize) -> T) -> V {
    let mut r = *base;
    for k in 0..n {
        r.put(k, f(k));
    }
    r
}

/// The rounding that bits 2:0 of an immediate pick.
pub fn rounding(imm: u8, env: &Env) -> Rounding {
    if imm & 4 != 0 { env.rounding } else { Rounding::from_bits(imm.into()) }
}

fn round_single(a: &V, b: &V, imm: u8, n: usize, env: &mut Env) -> V {
    let rounding = rounding(imm, env);
    elements(a, n, |k| f32::round_to_integral(b.get(k), rounding, imm & 8 != 0, env))
}

fn round_double(a: &V, b: &V, imm: u8, n: usize, env: &mut Env) -> V {
    let rounding = rounding(imm, env);
    elements(a, n, |k| f64::round_to_integral(b.get(k), rounding, imm & 8 != 0, env))
}

/// The predicates 0 to 15: bit 0 true when less, 1 when equal, 2 when greater, 3 when unordered; bit 4: a quiet NaN
/// is invalid too. 16 to 31 are the same with that inverted. Source: SDM vol. 2A, CMPPD, table 3-1.
const PREDICATES: [u8; 16] =
    [0x02, 0x11, 0x13, 0x08, 0x0d, 0x1e, 0x1c, 0x07, 0x0a, 0x19, 0x1b, 0x00, 0x05, 0x16, 0x14, 0x0f];

/// Does predicate `imm` signal at quiet NaNs?
#[inline(always)]
pub(in crate::exec) fn signals(imm: u8) -> bool {
    (PREDICATES[usize::from(imm & 15)] ^ imm) & 16 != 0
}

/// Is predicate `imm` true of this relation?
#[inline(always)]
pub(in crate::exec) fn holds(imm: u8, relation: Option<Ordering>) -> bool {
    let bit = match relation {
        Some(Ordering::Less) => 1,
        Some(Ordering::Equal) => 2,
        Some(Ordering::Greater) => 4,
        None => 8,
    };
    PREDICATES[usize::from(imm & 15)] & bit != 0
}

fn compare_single(a: &V, b: &V, imm: u8, n: usize, env: &mut Env) -> V {
    elements(a, n, |k| u32::from(holds(imm, f32::compare(a.get(k), b.get(k), signals(imm), env))).wrapping_neg())
}

fn compare_double(a: &V, b: &V, imm: u8, n: usize, env: &mut Env) -> V {
    elements(a, n, |k| u64::from(holds(imm, f64::compare(a.get(k), b.get(k), signals(imm), env))).wrapping_neg())
}

/// The status flags of an ordered or unordered compare.
pub fn flags(relation: Option<Ordering>) -> u64 {
    match relation {
        None => ZF | PF | CF,
        Some(Ordering::Less) => CF,
        Some(Ordering::Equal) => ZF,
        Some(Ordering::Greater) => 0,
    }
}

/// `f` of neighbours, those of `a` in the low half of each `half` elements, those of `b` in the high half.
#[inline(always)]
fn pairs<T: Lane>(a: &V, b: &V, n: usize, half: usize, mut f: impl FnMut(T, T) -> T) -> V {
    elements(&V::ZERO, n, |k| {
        let (base, at) = (k / half * half, k % half);
        let (of, at) = if at < half / 2 { (a, at) } else { (b, at - half / 2) };
        f(of.get(base + 2 * at), of.get(base + 2 * at + 1))
    })
}

/// Subtracts in even elements, adds in odd ones.
fn addsubps(a: &V, b: &V, n: usize, env: &mut Env) -> V {
    elements(a, n, |k| (if k & 1 == 0 { f32::sub } else { f32::add })(a.get(k), b.get(k), env))
}

/// Subtracts in even elements, adds in odd ones.
fn addsubpd(a: &V, b: &V, n: usize, env: &mut Env) -> V {
    elements(a, n, |k| (if k & 1 == 0 { f64::sub } else { f64::add })(a.get(k), b.get(k), env))
}

/// In each half, the sum of the products that bits 7:4 of `imm` select, in the elements that bits 3:0 select.
///
/// An unmasked exception in one step keeps the next from being taken.
fn dpps(a: &V, b: &V, imm: u8, n: usize, env: &mut Env) -> V {
    let product = |k: usize, env: &mut Env| match imm >> (4 + (k & 3)) & 1 {
        0 => 0,
        _ => f32::mul(a.get(k), b.get(k), env),
    };
    let mut earlier = env.flags;
    let mut r = elements(&V::ZERO, n, |k| product(k, env));
    // Neighbours, then what came of them: element 0 of each half gets the sum.
    for (step, count) in [(1, n / 2), (2, n / 4)] {
        if settle(env, earlier) {
            return r;
        }
        earlier = env.flags;
        for k in (0..count).map(|k| 2 * step * k) {
            r.put(k, f32::add(r.get(k), r.get(k + step), env));
        }
    }
    settle(env, earlier);
    elements(&V::ZERO, n, |k| if imm >> (k & 3) & 1 != 0 { r.get(k & !3) } else { 0u32 })
}

/// The sum of the products that bits 5:4 of `imm` select, in the elements that bits 1:0 select.
fn dppd(a: &V, b: &V, imm: u8, _: usize, env: &mut Env) -> V {
    let product = |k: usize, env: &mut Env| match imm >> (4 + k) & 1 {
        0 => 0,
        _ => f64::mul(a.get(k), b.get(k), env),
    };
    let earlier = env.flags;
    let p = [product(0, env), product(1, env)];
    if settle(env, earlier) {
        return V::ZERO;
    }
    let earlier = env.flags;
    let sum = f64::add(p[0], p[1], env);
    settle(env, earlier);
    elements(&V::ZERO, 2, |k| if imm >> k & 1 != 0 { sum } else { 0 })
}
