//! Permutations across the whole vector.
//!
//! Source: SDM vol. 2, VPERMB, VPERMI2B, VPERMT2B, VALIGND, VSHUFF32X4 and their neighbours.

use super::describe::{Evex, Formula, Row};
use super::value::W;
use crate::exec::simd::{Form, Lane};
use iced_x86::Mnemonic;

/// Elements of `b`, picked by those of `a`.
macro_rules! one {
    ($t:ty) => {
        Row::of(Formula::Whole(|_, a, b, e| pick::<$t>(a, [b, b], e)), size_of::<$t>() as u8)
    };
}
/// Elements of `a` and `b`, picked by those of `c`.
macro_rules! by_first {
    ($t:ty) => {
        Row::of(Formula::Whole(|c, a, b, e| pick::<$t>(c, [a, b], e)), size_of::<$t>() as u8)
    };
}
/// Elements of `c` and `b`, picked by those of `a`.
macro_rules! by_second {
    ($t:ty) => {
        Row::of(Formula::Whole(|c, a, b, e| pick::<$t>(a, [c, b], e)), size_of::<$t>() as u8)
    };
}

/// The row of `m`.
#[rustfmt::skip] // One row a mnemonic.
pub fn row(m: Mnemonic, f: Form) -> Option<Row> {
    use Mnemonic::*;
    Some(match m {
        Vpermb                         => one!(u8),
        Vpermw                         => one!(u16),
        Vpermd | Vpermps               => one!(u32),
        Vpermq | Vpermpd if !f.imm     => one!(u64),
        Vpermi2b                       => by_first!(u8),
        Vpermi2w                       => by_first!(u16),
        Vpermi2d | Vpermi2ps           => by_first!(u32),
        Vpermi2q | Vpermi2pd           => by_first!(u64),
        Vpermt2b                       => by_second!(u8),
        Vpermt2w                       => by_second!(u16),
        Vpermt2d | Vpermt2ps           => by_second!(u32),
        Vpermt2q | Vpermt2pd           => by_second!(u64),
        Valignd                        => Row::of(Formula::Whole(|_, a, b, e| align::<u32>(a, b, e)), 4),
        Valignq                        => Row::of(Formula::Whole(|_, a, b, e| align::<u64>(a, b, e)), 8),
        Vshuff32x4 | Vshufi32x4        => Row::of(Formula::Whole(quarters), 4),
        Vshuff64x2 | Vshufi64x2        => Row::of(Formula::Whole(quarters), 8),
        _ => return None,
    })
}

/// The elements that `index` picks of two vectors, one behind the other.
fn pick<T: Lane>(index: &W, of: [&W; 2], e: &Evex) -> W {
    let lanes = e.lanes(T::BYTES);
    W::from_fn(|k| {
        let at = index.element(k, T::BYTES) as usize;
        of[usize::from(at & lanes != 0)].get::<T>(at & (lanes - 1))
    })
}

/// `a` above `b`, moved down by the immediate's elements.
fn align<T: Lane>(a: &W, b: &W, e: &Evex) -> W {
    let lanes = e.lanes(T::BYTES);
    let by = usize::from(e.imm) & (lanes - 1);
    W::from_fn(|k| if k % lanes + by < lanes { b.get::<T>(k + by) } else { a.get::<T>((k + by) & (lanes - 1)) })
}

/// Parts of 128 bits, the low half of them from `a`, the high half from `b`, as the immediate picks.
fn quarters(_: &W, a: &W, b: &W, e: &Evex) -> W {
    let lanes = e.lanes(16);
    let bits = lanes.trailing_zeros() as usize;
    W::from_fn(|k| {
        let at = usize::from(e.imm >> ((bits * k) & 7)) & (lanes - 1);
        (if k < lanes / 2 { a } else { b }).get::<u128>(at)
    })
}
