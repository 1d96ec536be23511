//! AVX512-FP16: conversions between half precision, the other formats, and integers of 16, 32 and 64 bits.
//!
//! Source: SDM vol. 2, the instruction of that name.

use super::describe::{Formula, Row};
use crate::exec::simd::Form;
use iced_x86::Mnemonic;
use softfp::{Rounding, f16, f32, f64};

/// To a signed integer of so many bits, in elements of so many bytes.
macro_rules! signed {
    ($bits:literal, $element:literal) => {
        Row::converts(
            Formula::Real(|_, _, b, _, env| {
                let rounding = env.rounding;
                f16::to_signed(b as u16, $bits, rounding, env) as u64 & u64::MAX >> (64 - $bits)
            }),
            2,
            $element,
        )
    };
    (cut $bits:literal, $element:literal) => {
        Row::converts(
            Formula::Real(|_, _, b, _, env| {
                f16::to_signed(b as u16, $bits, Rounding::Zero, env) as u64 & u64::MAX >> (64 - $bits)
            }),
            2,
            $element,
        )
    };
}
/// To an unsigned one.
macro_rules! unsigned {
    ($bits:literal, $element:literal) => {
        Row::converts(
            Formula::Real(|_, _, b, _, env| {
                let rounding = env.rounding;
                f16::to_unsigned(b as u16, $bits, rounding, env)
            }),
            2,
            $element,
        )
    };
    (cut $bits:literal, $element:literal) => {
        Row::converts(
            Formula::Real(|_, _, b, _, env| f16::to_unsigned(b as u16, $bits, Rounding::Zero, env)),
            2,
            $element,
        )
    };
}
/// From a signed or unsigned integer.
macro_rules! from {
    ($f:path as $t:ty) => {
        Row::converts(Formula::Real(|_, _, b, _, env| u64::from($f((b as $t).into(), env))), size_of::<$t>() as u8, 2)
    };
}

/// The row of `m`.
#[rustfmt::skip] // One row a mnemonic.
pub fn row(m: Mnemonic, f: Form) -> Option<Row> {
    use Mnemonic::*;
    Some(match m {
        Vcvtph2w              => signed!(16, 2),
        Vcvttph2w             => signed!(cut 16, 2),
        Vcvtph2uw             => unsigned!(16, 2),
        Vcvttph2uw            => unsigned!(cut 16, 2),
        Vcvtph2dq             => signed!(32, 4),
        Vcvttph2dq            => signed!(cut 32, 4),
        Vcvtph2udq            => unsigned!(32, 4),
        Vcvttph2udq           => unsigned!(cut 32, 4),
        Vcvtph2qq             => signed!(64, 8),
        Vcvttph2qq            => signed!(cut 64, 8),
        Vcvtph2uqq            => unsigned!(64, 8),
        Vcvttph2uqq           => unsigned!(cut 64, 8),
        Vcvtsh2si if f.wide   => signed!(64, 8),
        Vcvtsh2si             => signed!(32, 8),
        Vcvttsh2si if f.wide  => signed!(cut 64, 8),
        Vcvttsh2si            => signed!(cut 32, 8),
        Vcvtsh2usi if f.wide  => unsigned!(64, 8),
        Vcvtsh2usi            => unsigned!(32, 8),
        Vcvttsh2usi if f.wide => unsigned!(cut 64, 8),
        Vcvttsh2usi           => unsigned!(cut 32, 8),

        Vcvtw2ph              => from!(f16::from_signed as i16),
        Vcvtuw2ph             => from!(f16::from_unsigned as u16),
        Vcvtdq2ph             => from!(f16::from_signed as i32),
        Vcvtudq2ph            => from!(f16::from_unsigned as u32),
        Vcvtqq2ph             => from!(f16::from_signed as i64),
        Vcvtuqq2ph            => from!(f16::from_unsigned as u64),
        Vcvtsi2sh if f.wide   => from!(f16::from_signed as i64),
        Vcvtsi2sh             => from!(f16::from_signed as i32),
        Vcvtusi2sh if f.wide  => from!(f16::from_unsigned as u64),
        Vcvtusi2sh            => from!(f16::from_unsigned as u32),

        Vcvtph2psx | Vcvtsh2ss => Row::converts(Formula::Real(|_, _, b, _, env| f16::widened_f32(b as u16, env).into()), 2, 4),
        Vcvtph2pd | Vcvtsh2sd  => Row::converts(Formula::Real(|_, _, b, _, env| f16::widened_f64(b as u16, env)), 2, 8),
        Vcvtps2phx | Vcvtss2sh => Row::converts(Formula::Real(|_, _, b, _, env| f32::to_f16(b as u32, env).into()), 4, 2),
        Vcvtpd2ph | Vcvtsd2sh  => Row::converts(Formula::Real(|_, _, b, _, env| f64::to_f16(b, env).into()), 8, 2),
        _ => return None,
    })
}
