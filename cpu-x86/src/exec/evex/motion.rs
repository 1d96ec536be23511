//! Broadcasts, insertion and extraction of parts, moves between opmasks and vectors.
//!
//! Source: SDM vol. 2, the instruction of that name.

use super::describe::{Formula, Place, Row};
use super::value::W;
use crate::exec::simd::{Form, Kernel, Lane};
use iced_x86::Mnemonic;

/// `b`'s lowest `$t` in every place.
macro_rules! broadcast {
    ($t:ty, $element:literal) => {
        Row::of(Formula::Whole(|_, _, b, _| broadcast::<$t>(b)), $element)
    };
}
/// The bits of an opmask, as all ones and zeros.
macro_rules! spread {
    ($t:ty, $element:literal) => {
        Row::of(
            Formula::Whole(|_, _, b, _| {
                let bits: u64 = b.get(0);
                W::from_fn(|k| if bits >> k & 1 != 0 { <$t>::MAX } else { 0 })
            }),
            $element,
        )
    };
}

/// The row of `m`.
#[rustfmt::skip] // One row a mnemonic.
pub fn row(m: Mnemonic, _: Form) -> Option<Row> {
    use Mnemonic::*;
    Some(match m {
        Vpbroadcastb                     => broadcast!(u8, 1),
        Vpbroadcastw                     => broadcast!(u16, 2),
        Vpbroadcastd | Vbroadcastss      => broadcast!(u32, 4),
        Vpbroadcastq | Vbroadcastsd      => broadcast!(u64, 8),
        Vbroadcastf32x2 | Vbroadcasti32x2 => broadcast!(u64, 4),
        Vbroadcastf32x4 | Vbroadcasti32x4 => broadcast!(u128, 4),
        Vbroadcastf64x2 | Vbroadcasti64x2 => broadcast!(u128, 8),
        Vbroadcastf32x8 | Vbroadcasti32x8 => Row::of(Formula::Whole(|_, _, b, _| W([b.0[0]; 2])), 4),
        Vbroadcastf64x4 | Vbroadcasti64x4 => Row::of(Formula::Whole(|_, _, b, _| W([b.0[0]; 2])), 8),
        Vpbroadcastmb2q => Row::of(Formula::Whole(|_, _, b, _| W::from_fn(|_| u64::from(b.get::<u8>(0)))), 8),
        Vpbroadcastmw2d => Row::of(Formula::Whole(|_, _, b, _| W::from_fn(|_| u32::from(b.get::<u16>(0)))), 4),

        Vinsertf32x4 | Vinserti32x4 => Row::of(Formula::Whole(|_, a, b, e| insert(a, b, 16, e.imm, e.bytes())), 4),
        Vinsertf64x2 | Vinserti64x2 => Row::of(Formula::Whole(|_, a, b, e| insert(a, b, 16, e.imm, e.bytes())), 8),
        Vinsertf32x8 | Vinserti32x8 => Row::of(Formula::Whole(|_, a, b, e| insert(a, b, 32, e.imm, e.bytes())), 4),
        Vinsertf64x4 | Vinserti64x4 => Row::of(Formula::Whole(|_, a, b, e| insert(a, b, 32, e.imm, e.bytes())), 8),
        Vextractf32x4 | Vextracti32x4 => Row::of(Formula::Whole(|_, _, b, e| extract(b, 16, e.imm, source(e.b))), 4),
        Vextractf64x2 | Vextracti64x2 => Row::of(Formula::Whole(|_, _, b, e| extract(b, 16, e.imm, source(e.b))), 8),
        Vextractf32x8 | Vextracti32x8 => Row::of(Formula::Whole(|_, _, b, e| extract(b, 32, e.imm, source(e.b))), 4),
        Vextractf64x4 | Vextracti64x4 => Row::of(Formula::Whole(|_, _, b, e| extract(b, 32, e.imm, source(e.b))), 8),

        Vpmovm2b => spread!(u8, 1),
        Vpmovm2w => spread!(u16, 2),
        Vpmovm2d => spread!(u32, 4),
        Vpmovm2q => spread!(u64, 8),
        // The result of a vector operation in an opmask register is the elements' most significant bits.
        Vpmovb2m => Row::of(Formula::Shared(Kernel::Move), 1),
        Vpmovw2m => Row::of(Formula::Shared(Kernel::Move), 2),
        Vpmovd2m => Row::of(Formula::Shared(Kernel::Move), 4),
        Vpmovq2m => Row::of(Formula::Shared(Kernel::Move), 8),
        _ => return None,
    })
}

/// Is `m` a broadcast?
#[rustfmt::skip] // By kind.
pub fn is_broadcast(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(m, Vpbroadcastb | Vpbroadcastw | Vpbroadcastd | Vpbroadcastq | Vbroadcastss | Vbroadcastsd)
        || matches!(m, Vbroadcastf32x2 | Vbroadcastf32x4 | Vbroadcastf64x2 | Vbroadcastf32x8 | Vbroadcastf64x4)
        || matches!(m, Vbroadcasti32x2 | Vbroadcasti32x4 | Vbroadcasti64x2 | Vbroadcasti32x8 | Vbroadcasti64x4)
}

fn broadcast<T: Lane>(b: &W) -> W {
    let x: T = b.get(0);
    W::from_fn(|_| x)
}

/// Bytes of a register operand.
fn source(p: Place) -> usize {
    if let Place::Vector(_, n) = p { n.into() } else { 64 }
}

/// `a` of `bytes` bytes with the part that `imm` picks replaced by the low `part` bytes of `b`.
fn insert(a: &W, b: &W, part: usize, imm: u8, bytes: usize) -> W {
    let mut r = *a;
    let at = usize::from(imm) % (bytes / part) * part;
    r.set_part(at, part, &b.part(0, part));
    r
}

/// The part of `part` bytes that `imm` picks of `b`, which has `bytes`.
fn extract(b: &W, part: usize, imm: u8, bytes: usize) -> W {
    let mut r = W::ZERO;
    r.set_part(0, part, &b.part(usize::from(imm) % (bytes / part) * part, part));
    r
}
