//! Shuffles, unpacks, blends, permutes, byte shifts and alignment.
//!
//! Most work on each half of 128 bits alone; the MMX forms on their only 64 bits. Source: SDM vol. 2, the instruction
//! of that name.

use super::describe::{Form, Kernel};
use super::value::{BYTES, Lane, V, each};
use iced_x86::Mnemonic;

/// A kernel of two operands over halves of 16 bytes, or 8 for MM registers.
macro_rules! halves {
    ($form:ident, $f:ident $(::<$t:ty, $high:literal>)?) => {
        if $form.mmx { Kernel::Two($f::<$($t, $high,)? 8>) } else { Kernel::Two($f::<$($t, $high,)? 16>) }
    };
}

/// The kernel of `m`.
#[rustfmt::skip] // One row a mnemonic.
pub fn kernel(m: Mnemonic, f: Form) -> Option<Kernel> {
    use Mnemonic::*;
    Some(match m {
        Punpcklbw | Vpunpcklbw                          => halves!(f, unpack::<u8, false>),
        Punpcklwd | Vpunpcklwd                          => halves!(f, unpack::<u16, false>),
        Punpckldq | Vpunpckldq | Unpcklps | Vunpcklps   => halves!(f, unpack::<u32, false>),
        Punpcklqdq | Vpunpcklqdq | Unpcklpd | Vunpcklpd => Kernel::Two(unpack::<u64, false, 16>),
        Punpckhbw | Vpunpckhbw                          => halves!(f, unpack::<u8, true>),
        Punpckhwd | Vpunpckhwd                          => halves!(f, unpack::<u16, true>),
        Punpckhdq | Vpunpckhdq | Unpckhps | Vunpckhps   => halves!(f, unpack::<u32, true>),
        Punpckhqdq | Vpunpckhqdq | Unpckhpd | Vunpckhpd => Kernel::Two(unpack::<u64, true, 16>),

        Pshufb | Vpshufb if f.ymm                       => Kernel::Two(pshufb::<16, 32>),
        Pshufb | Vpshufb if f.mmx                       => Kernel::Two(pshufb::<8, 8>),
        Pshufb | Vpshufb                                => Kernel::Two(pshufb::<16, 16>),
        Palignr if f.mmx                                => Kernel::Imm(|a, b, imm| V::low(palignr8(a.get(0), b.get(0), imm))),
        Palignr | Vpalignr => Kernel::Imm(|a, b, imm| each(a, b, |x, y| palignr16(x, y, imm))),
        Pshufw                                          => Kernel::Imm(|_, b, imm| V::from_fn(|k| b.get::<u16>(pick4(imm, k)))),
        Pshufd | Vpshufd                                => Kernel::Imm(|_, b, imm| V::from_fn(|k| b.get::<u32>(pick4(imm, k)))),
        Pshuflw | Vpshuflw => Kernel::Imm(|_, b, imm| V::from_fn(|k| b.get::<u16>(if k & 4 == 0 { pick4(imm, k) } else { k }))),
        Pshufhw | Vpshufhw => Kernel::Imm(|_, b, imm| V::from_fn(|k| b.get::<u16>(if k & 4 != 0 { pick4(imm, k) } else { k }))),
        Shufps | Vshufps => Kernel::Imm(|a, b, imm| V::from_fn(|k| (if k & 2 == 0 { a } else { b }).get::<u32>(pick4(imm, k)))),
        Shufpd | Vshufpd => Kernel::Imm(|a, b, imm| V::from_fn(|k| (if k & 1 == 0 { a } else { b }).get::<u64>(pick2(imm, k)))),
        Vpermilps if f.imm => Kernel::Imm(|_, b, imm| V::from_fn(|k| b.get::<u32>(pick4(imm, k)))),
        Vpermilpd if f.imm => Kernel::Imm(|_, b, imm| V::from_fn(|k| b.get::<u64>(pick2(imm, k)))),
        Vpermilps => Kernel::Two(|a, b| V::from_fn(|k| a.get::<u32>(k & !3 | b.get::<u32>(k) as usize & 3))),
        Vpermilpd => Kernel::Two(|a, b| V::from_fn(|k| a.get::<u64>(k & !1 | (b.get::<u64>(k) >> 1) as usize & 1))),
        Vpermd | Vpermps   => Kernel::Two(|a, b| V::from_fn(|k| b.get::<u32>(a.get::<u32>(k) as usize & 7))),
        Vpermq | Vpermpd   => Kernel::Imm(|_, b, imm| V::from_fn(|k| b.get::<u64>(pick4(imm, k)))),
        Vperm2f128 | Vperm2i128 => Kernel::Imm(perm128),

        Blendps | Vblendps | Vpblendd => Kernel::Imm(blend::<u32>),
        Blendpd | Vblendpd            => Kernel::Imm(blend::<u64>),
        Pblendw | Vpblendw            => Kernel::Imm(blend::<u16>),
        Pblendvb | Vpblendvb          => Kernel::Three(blendv::<u8>),
        Blendvps | Vblendvps          => Kernel::Three(blendv::<u32>),
        Blendvpd | Vblendvpd          => Kernel::Three(blendv::<u64>),
        Insertps | Vinsertps if f.memory => Kernel::Imm(|a, b, imm| insertps(a, b.get(0), imm)),
        Insertps | Vinsertps          => Kernel::Imm(|a, b, imm| insertps(a, b.get(usize::from(imm >> 6)), imm)),

        Pslldq | Vpslldq => Kernel::Imm(|_, b, imm| each(b, b, |x: u128, _| if imm < 16 { x << (8 * imm) } else { 0 })),
        Psrldq | Vpsrldq => Kernel::Imm(|_, b, imm| each(b, b, |x: u128, _| if imm < 16 { x >> (8 * imm) } else { 0 })),
        _ => return None,
    })
}

/// The lane that two bits of `imm` pick for lane `k`, of the four it belongs to.
#[inline(always)]
fn pick4(imm: u8, k: usize) -> usize {
    k & !3 | usize::from(imm >> (2 * (k & 3)) & 3)
}

/// The lane that one bit of `imm` picks for lane `k`, of the two it belongs to.
#[inline(always)]
fn pick2(imm: u8, k: usize) -> usize {
    k & !1 | usize::from(imm >> k & 1)
}

/// Interleaves the low or high elements of each `HALF` bytes, those of `a` first.
#[inline(always)]
fn unpack<T: Lane, const HIGH: bool, const HALF: usize>(a: &V, b: &V) -> V {
    let n = HALF / T::BYTES;
    let mut r = V::ZERO;
    for base in (0..BYTES / T::BYTES).step_by(n) {
        let from = base + if HIGH { n / 2 } else { 0 };
        for k in 0..n / 2 {
            r.put::<T>(base + 2 * k, a.get(from + k));
            r.put::<T>(base + 2 * k + 1, b.get(from + k));
        }
    }
    r
}

/// Bytes of `a`, picked by `b` in each `HALF` bytes; zero where bit 7 of the picker is set.
#[inline(always)]
fn pshufb<const HALF: usize, const N: usize>(a: &V, b: &V) -> V {
    V::first::<N, _>(|k| {
        let pick = b.get::<u8>(k);
        if pick & 0x80 != 0 { 0 } else { a.get::<u8>(k & !(HALF - 1) | usize::from(pick) & (HALF - 1)) }
    })
}

/// `x` above `y`, shifted right by `imm` bytes, low half.
#[inline(always)]
fn palignr16(x: u128, y: u128, imm: u8) -> u128 {
    match imm {
        0 => y,
        1..16 => y >> (8 * imm) | x << (128 - 8 * imm),
        16..32 => x >> (8 * (imm - 16)),
        _ => 0,
    }
}

/// `x` above `y`, shifted right by `imm` bytes, low half.
fn palignr8(x: u64, y: u64, imm: u8) -> u64 {
    let both = u128::from(x) << 64 | u128::from(y);
    if imm < 16 { (both >> (8 * imm)) as u64 } else { 0 }
}

/// Elements of `b` where a bit of `imm` is set, else of `a`; sixteen words take the eight bits twice.
#[inline(always)]
fn blend<T: Lane>(a: &V, b: &V, imm: u8) -> V {
    V::from_fn(|k| (if imm >> (k & 7) & 1 != 0 { b } else { a }).get::<T>(k))
}

/// Elements of `b` where the most significant bit of `c`'s is set, else of `a`.
#[inline(always)]
fn blendv<T: Lane>(a: &V, b: &V, c: &V) -> V {
    V::from_fn(|k| (if c.get::<u8>((k + 1) * T::BYTES - 1) & 0x80 != 0 { b } else { a }).get::<T>(k))
}

/// Puts `x` where bits 5:4 of `imm` say, then clears the elements whose bits 3:0 are set.
fn insertps(a: &V, x: u32, imm: u8) -> V {
    let mut r = a.with(usize::from(imm >> 4 & 3), x);
    for k in 0..4 {
        if imm >> k & 1 != 0 {
            r.put(k, 0u32);
        }
    }
    r
}

/// Each half is one of the four of `a` and `b`, or zero.
fn perm128(a: &V, b: &V, imm: u8) -> V {
    V::from_fn(|k| {
        let pick = imm >> (4 * k);
        let half = (if pick & 2 == 0 { a } else { b }).get::<u128>(usize::from(pick & 1));
        if pick & 8 != 0 { 0 } else { half }
    })
}
