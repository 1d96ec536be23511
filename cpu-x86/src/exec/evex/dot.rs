//! Products that are added up: IFMA and bfloat16 (VNNI is as in the VEX group).
//!
//! Source: SDM vol. 2, VPMADD52LUQ, VPMADD52HUQ, VDPBF16PS, VCVTNEPS2BF16, VCVTNE2PS2BF16.

use super::describe::{Formula, Row};
use super::value::W;
use crate::exec::simd::V;
use iced_x86::Mnemonic;
use softfp::{Env, flag};

/// 52 bits.
const LOW_52: u64 = (1 << 52) - 1;

/// The row of `m`.
#[rustfmt::skip] // One row a mnemonic.
pub fn row(m: Mnemonic) -> Option<Row> {
    use Mnemonic::*;
    Some(match m {
        Vpmadd52luq => Row::of(Formula::Half(|c, a, b, _| product_52(c, a, b, |p| p as u64 & LOW_52)), 8),
        Vpmadd52huq => Row::of(Formula::Half(|c, a, b, _| product_52(c, a, b, |p| (p >> 52) as u64)), 8),
        Vdpbf16ps   => Row::of(Formula::Half(|c, a, b, _| V::from_fn(|k| dot_bf16(c.get(k), a.get(k), b.get(k)))), 4),
        Vcvtneps2bf16  => Row::converts(Formula::Half(|_, _, b, _| V::first::<16, _>(|k| to_bf16(b.get(k)))), 4, 2),
        Vcvtne2ps2bf16 => Row::of(Formula::Whole(|_, a, b, e| {
            let lanes = e.lanes(4);
            W::from_fn(|k| to_bf16(if k < lanes { b.get(k) } else { a.get(k % lanes) }))
        }), 2),
        _ => return None,
    })
}

/// `c` plus a part of the product of 52 bits of each.
fn product_52(c: &V, a: &V, b: &V, part: impl Fn(u128) -> u64) -> V {
    V::from_fn(|k| {
        let p = u128::from(a.get::<u64>(k) & LOW_52) * u128::from(b.get::<u64>(k) & LOW_52);
        c.get::<u64>(k).wrapping_add(part(p))
    })
}

/// To bfloat16, to nearest; denormals become zeros.
fn to_bf16(x: u32) -> u16 {
    let high = (x >> 16) as u16;
    match x >> 23 & 0xff {
        0 => high & 0x8000,
        0xff if x & 0x7f_ffff != 0 => high | 0x40,
        _ => (x.wrapping_add(0x7fff + (x >> 16 & 1)) >> 16) as u16,
    }
}

/// `c` plus two products of bfloat16 values, the high ones first; denormals count as zeros, nothing is raised.
fn dot_bf16(c: u32, a: u32, b: u32) -> u32 {
    let mut env = Env { masks: flag::ALL, daz: true, ftz: true, ..Env::default() };
    let high = softfp::f32::fma(a & 0xffff_0000, b & 0xffff_0000, c, &mut env);
    softfp::f32::fma(a << 16, b << 16, high, &mut env)
}
