//! Integer operations that AVX-512 adds: wider lanes, rotates, funnel shifts, ternary logic, counts, compares.
//!
//! Source: SDM vol. 2, the instruction of that name.

use super::describe::{Formula, Row};
use super::value::W;
use crate::exec::simd::{Bits, Form, Kernel, Lane, V, each, each1};
use iced_x86::Mnemonic;

/// A formula of two operands that works lane by lane.
macro_rules! lane {
    ($t:ty, $f:expr) => {
        Row::of(Formula::Half(|_, a, b, _| each::<$t, $t>(a, b, |x, y| $f(x, y))), size_of::<$t>() as u8)
    };
}
/// A formula of one operand, likewise.
macro_rules! lane1 {
    ($t:ty, $f:expr) => {
        Row::of(Formula::Half(|_, _, b, _| each1::<$t, $t>(b, |x| $f(x))), size_of::<$t>() as u8)
    };
}
/// A formula of three operands, likewise: the old value of the destination first.
macro_rules! lane3 {
    ($t:ty, $f:expr) => {
        Row::of(
            Formula::Half(|c, a, b, _| V::from_fn(|k| $f(c.get::<$t>(k), a.get::<$t>(k), b.get::<$t>(k)))),
            size_of::<$t>() as u8,
        )
    };
}
/// A formula of two operands and the immediate, likewise.
macro_rules! lane_imm {
    ($t:ty, $f:expr) => {
        Row::of(Formula::Half(|_, a, b, imm| each::<$t, $t>(a, b, |x, y| $f(x, y, imm))), size_of::<$t>() as u8)
    };
}
/// A condition on two elements: all ones where it holds.
macro_rules! test {
    ($t:ty, $f:expr) => {
        lane!($t, |x: $t, y: $t| if $f(x, y) { <$t>::MAX } else { 0 })
    };
}
/// A comparison that the immediate picks: all ones where it holds.
macro_rules! compare {
    ($t:ty, $ones:expr) => {
        lane_imm!($t, |x: $t, y: $t, imm: u8| if compares(imm, x, y) { $ones } else { 0 })
    };
}

/// The row of `m`.
#[rustfmt::skip] // One row a mnemonic.
pub fn row(m: Mnemonic, f: Form) -> Option<Row> {
    use Mnemonic::*;
    Some(match m {
        Vpabsq     => lane1!(i64, i64::wrapping_abs),
        Vpminsq    => lane!(i64, i64::min),
        Vpmaxsq    => lane!(i64, i64::max),
        Vpminuq    => lane!(u64, u64::min),
        Vpmaxuq    => lane!(u64, u64::max),
        Vpmullq    => lane!(u64, u64::wrapping_mul),

        Vpsraq if f.imm => Row::of(Formula::Half(|_, _, b, imm| each1(b, |x: u64| x.sar(imm.into()))), 8),
        Vpsraq     => Row::of(Formula::Count(Kernel::Two(sraq)), 8),
        Vpsravq    => lane!(u64, |x: u64, n: u64| x.sar(n)),
        Vpsllvw    => lane!(u16, |x: u16, n: u16| x.shl(n.into())),
        Vpsrlvw    => lane!(u16, |x: u16, n: u16| x.shr(n.into())),
        Vpsravw    => lane!(u16, |x: u16, n: u16| x.sar(n.into())),
        Vprold     => lane_imm!(u32, |_: u32, x: u32, imm: u8| x.rotate_left(u32::from(imm) & 31)),
        Vprolq     => lane_imm!(u64, |_: u64, x: u64, imm: u8| x.rotate_left(u32::from(imm) & 63)),
        Vprord     => lane_imm!(u32, |_: u32, x: u32, imm: u8| x.rotate_right(u32::from(imm) & 31)),
        Vprorq     => lane_imm!(u64, |_: u64, x: u64, imm: u8| x.rotate_right(u32::from(imm) & 63)),
        Vprolvd    => lane!(u32, |x: u32, n: u32| x.rotate_left(n & 31)),
        Vprolvq    => lane!(u64, |x: u64, n: u64| x.rotate_left(n as u32 & 63)),
        Vprorvd    => lane!(u32, |x: u32, n: u32| x.rotate_right(n & 31)),
        Vprorvq    => lane!(u64, |x: u64, n: u64| x.rotate_right(n as u32 & 63)),

        Vpshldw    => lane_imm!(u16, |x, y, imm: u8| funnel16(x, y, imm.into())),
        Vpshldd    => lane_imm!(u32, |x, y, imm: u8| funnel32(x, y, imm.into())),
        Vpshldq    => lane_imm!(u64, |x, y, imm: u8| funnel64(x, y, imm.into())),
        Vpshrdw    => lane_imm!(u16, |x, y, imm: u8| down16(y, x, imm.into())),
        Vpshrdd    => lane_imm!(u32, |x, y, imm: u8| down32(y, x, imm.into())),
        Vpshrdq    => lane_imm!(u64, |x, y, imm: u8| down64(y, x, imm.into())),
        Vpshldvw   => lane3!(u16, |c, a, b: u16| funnel16(c, a, b.into())),
        Vpshldvd   => lane3!(u32, |c, a, b: u32| funnel32(c, a, b.into())),
        Vpshldvq   => lane3!(u64, |c, a, b: u64| funnel64(c, a, b)),
        Vpshrdvw   => lane3!(u16, |c, a, b: u16| down16(a, c, b.into())),
        Vpshrdvd   => lane3!(u32, |c, a, b: u32| down32(a, c, b.into())),
        Vpshrdvq   => lane3!(u64, |c, a, b: u64| down64(a, c, b)),

        Vpternlogd => Row::of(Formula::Half(ternary), 4),
        Vpternlogq => Row::of(Formula::Half(ternary), 8),
        Vplzcntd   => lane1!(u32, u32::leading_zeros),
        Vplzcntq   => lane1!(u64, |x: u64| u64::from(x.leading_zeros())),
        Vpopcntb   => lane1!(u8, |x: u8| x.count_ones() as u8),
        Vpopcntw   => lane1!(u16, |x: u16| x.count_ones() as u16),
        Vpopcntd   => lane1!(u32, |x: u32| x.count_ones()),
        Vpopcntq   => lane1!(u64, |x: u64| u64::from(x.count_ones())),
        Vpconflictd => Row::of(Formula::Whole(|_, _, b, _| conflicts::<u32>(b)), 4),
        Vpconflictq => Row::of(Formula::Whole(|_, _, b, _| conflicts::<u64>(b)), 8),
        Vpmultishiftqb => Row::of(Formula::Half(|_, a, b, _| multishift(a, b)), 1),
        Vpshufbitqmb => Row::of(Formula::Half(|_, a, b, _| pick_bits(a, b)), 1),
        Vdbpsadbw  => Row::of(Formula::Half(|_, a, b, imm| dbpsadbw(a, b, imm)), 2),

        Vptestmb   => test!(u8, |x, y| x & y != 0),
        Vptestmw   => test!(u16, |x, y| x & y != 0),
        Vptestmd   => test!(u32, |x, y| x & y != 0),
        Vptestmq   => test!(u64, |x, y| x & y != 0),
        Vptestnmb  => test!(u8, |x, y| x & y == 0),
        Vptestnmw  => test!(u16, |x, y| x & y == 0),
        Vptestnmd  => test!(u32, |x, y| x & y == 0),
        Vptestnmq  => test!(u64, |x, y| x & y == 0),
        Vpcmpb     => compare!(i8, -1),
        Vpcmpw     => compare!(i16, -1),
        Vpcmpd     => compare!(i32, -1),
        Vpcmpq     => compare!(i64, -1),
        Vpcmpub    => compare!(u8, u8::MAX),
        Vpcmpuw    => compare!(u16, u16::MAX),
        Vpcmpud    => compare!(u32, u32::MAX),
        Vpcmpuq    => compare!(u64, u64::MAX),

        Vpblendmb | Vpblendmw | Vpblendmd | Vpblendmq | Vblendmps | Vblendmpd => Row::plain(Formula::Shared(Kernel::Move)),
        _ => return None,
    })
}

/// Is `m` a shift of all elements by one count?
pub fn is_shift(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(m, Vpsllw | Vpslld | Vpsllq | Vpsrlw | Vpsrld | Vpsrlq | Vpsraw | Vpsrad | Vpsraq)
}

/// Does the mask pick between the two sources?
pub fn is_blend(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(m, Vpblendmb | Vpblendmw | Vpblendmd | Vpblendmq)
}

/// Arithmetic right, by the low quadword of `b`.
fn sraq(a: &V, b: &V) -> V {
    let count = b.get(0);
    each1(a, |x: u64| x.sar(count))
}

/// `x` above `y`, shifted left; the high half.
fn funnel16(x: u16, y: u16, by: u64) -> u16 {
    ((u32::from(x) << 16 | u32::from(y)) << (by & 15) >> 16) as u16
}
fn funnel32(x: u32, y: u32, by: u64) -> u32 {
    ((u64::from(x) << 32 | u64::from(y)) << (by & 31) >> 32) as u32
}
fn funnel64(x: u64, y: u64, by: u64) -> u64 {
    ((u128::from(x) << 64 | u128::from(y)) << (by & 63) >> 64) as u64
}
/// `x` above `y`, shifted right; the low half.
fn down16(x: u16, y: u16, by: u64) -> u16 {
    ((u32::from(x) << 16 | u32::from(y)) >> (by & 15)) as u16
}
fn down32(x: u32, y: u32, by: u64) -> u32 {
    ((u64::from(x) << 32 | u64::from(y)) >> (by & 31)) as u32
}
fn down64(x: u64, y: u64, by: u64) -> u64 {
    ((u128::from(x) << 64 | u128::from(y)) >> (by & 63)) as u64
}

/// The function of three bits whose truth table is `imm`: bit 2 of its index is `c`'s, bit 1 `a`'s, bit 0 `b`'s.
fn ternary(c: &V, a: &V, b: &V, imm: u8) -> V {
    V::from_fn(|k| {
        let (c, a, b): (u64, u64, u64) = (c.get(k), a.get(k), b.get(k));
        let side = |x: u64, set: bool| if set { x } else { !x };
        (0..8)
            .filter(|n| imm >> n & 1 != 0)
            .fold(0, |r, n| r | side(c, n & 4 != 0) & side(a, n & 2 != 0) & side(b, n & 1 != 0))
    })
}

/// For each lane, which of those below it hold the same.
fn conflicts<T: Lane + PartialEq + TryFrom<u64>>(b: &W) -> W {
    W::from_fn(|k| {
        let same = (0..k).filter(|&n| b.get::<T>(n) == b.get::<T>(k)).fold(0u64, |r, n| r | 1 << n);
        T::try_from(same).unwrap_or_default()
    })
}

/// Eight bits of the quadword of `b`, from where each byte of `a` says, around the end.
fn multishift(a: &V, b: &V) -> V {
    V::from_fn(|k| b.get::<u64>(k / 8).rotate_right(u32::from(a.get::<u8>(k)) & 63) as u8)
}

/// All ones where the bit of the quadword of `a` that the byte of `b` picks is set.
fn pick_bits(a: &V, b: &V) -> V {
    V::from_fn(|k| ((a.get::<u64>(k / 8) >> (b.get::<u8>(k) & 63)) as u8 & 1).wrapping_neg())
}

/// Sums of four absolute differences: blocks of `a` in place, of `b` (its doublewords picked by `imm` in each 128
/// bits) sliding.
fn dbpsadbw(a: &V, b: &V, imm: u8) -> V {
    let picked = V::from_fn(|k| b.get::<u32>(k & !3 | usize::from(imm >> (2 * (k & 3)) & 3)));
    V::from_fn(|k| {
        let (of, from) = (k / 4 * 8 + k / 2 % 2 * 4, k / 4 * 8 + k % 4);
        (0..4).map(|j| u16::from(a.get::<u8>(of + j).abs_diff(picked.get(from + j)))).sum::<u16>()
    })
}

/// EQ, LT, LE, false, NE, NLT, NLE, true.
fn compares<T: PartialOrd>(imm: u8, x: T, y: T) -> bool {
    match imm & 7 {
        0 => x == y,
        1 => x < y,
        2 => x <= y,
        3 => false,
        4 => x != y,
        5 => x >= y,
        6 => x > y,
        _ => true,
    }
}
