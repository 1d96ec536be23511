//! Conversions between integers and the floating-point formats.
//!
//! Source: SDM vol. 2, the instruction of that name; vol. 1, 4.8.4 (rounding), 14.4.1 (half precision).

use super::describe::{Form, Kernel, Per};
use super::fp::{ONE, PD, PS, elements, rounding};
use super::value::V;
use iced_x86::Mnemonic;
use softfp::{Env, Rounding, f16, f32, f64};

/// Two elements, whatever the operands' width.
const PAIR: Per = Per::Fixed(2);

/// A kernel from elements of `b` to elements of the result, the rest of which is zero.
macro_rules! each {
    ($t:ty, $f:expr) => {
        Kernel::Fp(|_, b, n, env| elements(&V::ZERO, n, |k| $f(b.get::<$t>(k), env)))
    };
}
/// A kernel from elements of `b` to elements of the result, the rest of which is `a`.
macro_rules! into {
    ($t:ty, $f:expr) => {
        Kernel::Fp(|a, b, n, env| elements(a, n, |k| $f(b.get::<$t>(k), env)))
    };
}
/// `each` for the lowest element alone: with the index known, the value stays in host registers.
macro_rules! each1 {
    ($t:ty, $f:expr) => {
        Kernel::Fp(|_, b, _, env| V::low($f(b.get::<$t>(0), env)))
    };
}
/// `into`, likewise.
macro_rules! into1 {
    ($t:ty, $f:expr) => {
        Kernel::Fp(|a, b, _, env| a.with(0, $f(b.get::<$t>(0), env)))
    };
}

/// The kernel of `m`.
#[rustfmt::skip] // One row a mnemonic.
pub fn kernel(m: Mnemonic, f: Form) -> Option<(Kernel, Per)> {
    use Mnemonic::*;
    Some(match m {
        Cvtps2pd | Vcvtps2pd             => (each!(u32, f32::to_f64), PD),
        Cvtpd2ps | Vcvtpd2ps             => (each!(u64, f64::to_f32), PD),
        Cvtss2sd | Vcvtss2sd             => (into1!(u32, f32::to_f64), ONE),
        Cvtsd2ss | Vcvtsd2ss             => (into1!(u64, f64::to_f32), ONE),
        Cvtdq2ps | Vcvtdq2ps             => (each!(i32, f32::from_i32), PS),
        Cvtdq2pd | Vcvtdq2pd | Cvtpi2pd  => (each!(i32, f64::from_i32), PD),
        Cvtpi2ps                         => (into!(i32, f32::from_i32), PAIR),
        Cvtps2dq | Vcvtps2dq             => (each!(u32, round_single), PS),
        Cvttps2dq | Vcvttps2dq           => (each!(u32, cut_single), PS),
        Cvtpd2dq | Vcvtpd2dq | Cvtpd2pi  => (each!(u64, round_double), PD),
        Cvttpd2dq | Vcvttpd2dq | Cvttpd2pi => (each!(u64, cut_double), PD),
        Cvtps2pi                         => (each!(u32, round_single), PAIR),
        Cvttps2pi                        => (each!(u32, cut_single), PAIR),
        Cvtsi2ss | Vcvtsi2ss if f.wide   => (into1!(i64, f32::from_i64), ONE),
        Cvtsi2ss | Vcvtsi2ss             => (into1!(i32, f32::from_i32), ONE),
        Cvtsi2sd | Vcvtsi2sd if f.wide   => (into1!(i64, f64::from_i64), ONE),
        Cvtsi2sd | Vcvtsi2sd             => (into1!(i32, f64::from_i32), ONE),
        Cvtss2si | Vcvtss2si if f.wide   => (each1!(u32, |x, env: &mut Env| f32::to_i64(x, env.rounding, env)), ONE),
        Cvtss2si | Vcvtss2si             => (each1!(u32, round_single), ONE),
        Cvttss2si | Vcvttss2si if f.wide => (each1!(u32, |x, env| f32::to_i64(x, Rounding::Zero, env)), ONE),
        Cvttss2si | Vcvttss2si           => (each1!(u32, cut_single), ONE),
        Cvtsd2si | Vcvtsd2si if f.wide   => (each1!(u64, |x, env: &mut Env| f64::to_i64(x, env.rounding, env)), ONE),
        Cvtsd2si | Vcvtsd2si             => (each1!(u64, round_double), ONE),
        Cvttsd2si | Vcvttsd2si if f.wide => (each1!(u64, |x, env| f64::to_i64(x, Rounding::Zero, env)), ONE),
        Cvttsd2si | Vcvttsd2si           => (each1!(u64, cut_double), ONE),
        Vcvtph2ps                        => (each!(u16, f16::to_f32), PS),
        Vcvtps2ph                        => (Kernel::FpImm(vcvtps2ph), PS),
        _ => return None,
    })
}

fn round_single(x: u32, env: &mut Env) -> i32 {
    f32::to_i32(x, env.rounding, env)
}

fn cut_single(x: u32, env: &mut Env) -> i32 {
    f32::to_i32(x, Rounding::Zero, env)
}

fn round_double(x: u64, env: &mut Env) -> i32 {
    f64::to_i32(x, env.rounding, env)
}

fn cut_double(x: u64, env: &mut Env) -> i32 {
    f64::to_i32(x, Rounding::Zero, env)
}

/// Narrows to half precision with the rounding that the immediate picks.
fn vcvtps2ph(_: &V, b: &V, imm: u8, n: usize, env: &mut Env) -> V {
    env.rounding = rounding(imm, env);
    elements(&V::ZERO, n, |k| f32::to_f16(b.get(k), env))
}
