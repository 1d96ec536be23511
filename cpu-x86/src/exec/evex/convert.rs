//! Conversions that AVX-512 adds: unsigned and 64-bit integers.
//!
//! Source: SDM vol. 2, the instruction of that name.

use super::describe::{Formula, Row};
use crate::exec::simd::Form;
use iced_x86::Mnemonic;
use softfp::{Rounding, f32, f64};

/// From a single with the rounding in force.
macro_rules! single {
    ($f:path as $t:ty, $element:literal) => {
        Row::converts(
            Formula::Real(|_, _, b, _, env| {
                let rounding = env.rounding;
                $f(b as u32, rounding, env) as $t as u64
            }),
            4,
            $element,
        )
    };
}
/// From a single by truncation.
macro_rules! single_cut {
    ($f:path as $t:ty, $element:literal) => {
        Row::converts(Formula::Real(|_, _, b, _, env| $f(b as u32, Rounding::Zero, env) as $t as u64), 4, $element)
    };
}
/// From a double with the rounding in force.
macro_rules! double {
    ($f:path as $t:ty, $element:literal) => {
        Row::converts(
            Formula::Real(|_, _, b, _, env| {
                let rounding = env.rounding;
                $f(b, rounding, env) as $t as u64
            }),
            8,
            $element,
        )
    };
}
/// From a double by truncation.
macro_rules! double_cut {
    ($f:path as $t:ty, $element:literal) => {
        Row::converts(Formula::Real(|_, _, b, _, env| $f(b, Rounding::Zero, env) as $t as u64), 8, $element)
    };
}
/// From an integer.
macro_rules! integer {
    ($f:path as $t:ty, $source:literal, $element:literal) => {
        Row::converts(Formula::Real(|_, _, b, _, env| u64::from($f(b as $t, env))), $source, $element)
    };
}

/// The row of `m`.
#[rustfmt::skip] // One row a mnemonic.
pub fn row(m: Mnemonic, f: Form) -> Option<Row> {
    use Mnemonic::*;
    Some(match m {
        Vcvtps2udq           => single!(f32::to_u32 as u32, 4),
        Vcvttps2udq          => single_cut!(f32::to_u32 as u32, 4),
        Vcvtps2qq            => single!(f32::to_i64 as i64, 8),
        Vcvttps2qq           => single_cut!(f32::to_i64 as i64, 8),
        Vcvtps2uqq           => single!(f32::to_u64 as u64, 8),
        Vcvttps2uqq          => single_cut!(f32::to_u64 as u64, 8),
        Vcvtpd2udq           => double!(f64::to_u32 as u32, 4),
        Vcvttpd2udq          => double_cut!(f64::to_u32 as u32, 4),
        Vcvtpd2qq            => double!(f64::to_i64 as i64, 8),
        Vcvttpd2qq           => double_cut!(f64::to_i64 as i64, 8),
        Vcvtpd2uqq           => double!(f64::to_u64 as u64, 8),
        Vcvttpd2uqq          => double_cut!(f64::to_u64 as u64, 8),
        Vcvtudq2ps           => integer!(f32::from_u32 as u32, 4, 4),
        Vcvtudq2pd           => integer!(f64::from_u32 as u32, 4, 8),
        Vcvtqq2ps            => integer!(f32::from_i64 as i64, 8, 4),
        Vcvtqq2pd            => integer!(f64::from_i64 as i64, 8, 8),
        Vcvtuqq2ps           => integer!(f32::from_u64 as u64, 8, 4),
        Vcvtuqq2pd           => integer!(f64::from_u64 as u64, 8, 8),
        Vcvtusi2ss if f.wide => integer!(f32::from_u64 as u64, 8, 4),
        Vcvtusi2ss           => integer!(f32::from_u32 as u32, 4, 4),
        Vcvtusi2sd if f.wide => integer!(f64::from_u64 as u64, 8, 8),
        Vcvtusi2sd           => integer!(f64::from_u32 as u32, 4, 8),
        Vcvtss2usi if f.wide => single!(f32::to_u64 as u64, 8),
        Vcvtss2usi           => single!(f32::to_u32 as u32, 8),
        Vcvttss2usi if f.wide => single_cut!(f32::to_u64 as u64, 8),
        Vcvttss2usi          => single_cut!(f32::to_u32 as u32, 8),
        Vcvtsd2usi if f.wide => double!(f64::to_u64 as u64, 8),
        Vcvtsd2usi           => double!(f64::to_u32 as u32, 8),
        Vcvttsd2usi if f.wide => double_cut!(f64::to_u64 as u64, 8),
        Vcvttsd2usi          => double_cut!(f64::to_u32 as u32, 8),
        _ => return None,
    })
}
