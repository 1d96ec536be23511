//! Integer arithmetic on vectors: add, subtract, multiply, compare, minimum, average, shift, logic.
//!
//! The table has one row a mnemonic; legacy and VEX names share it. Source: SDM vol. 2, the instruction of that name.

use super::describe::{Form, Kernel};
use super::value::{BYTES, Bits, Lane, V, each, each1};
use iced_x86::Mnemonic;

/// A kernel of two operands that works lane by lane.
macro_rules! lane {
    ($t:ty, $f:expr) => {
        Kernel::Two(|a, b| each::<$t, $t>(a, b, |x, y| $f(x, y)))
    };
}
/// A kernel of one operand, likewise.
macro_rules! lane1 {
    ($t:ty, $f:expr) => {
        Kernel::Two(|_, b| each1::<$t, $t>(b, |x| $f(x)))
    };
}
/// A kernel for an operand whose halves of 128 bits (64 bits for MM registers) are separate.
macro_rules! halves {
    ($form:ident, $f:ident::<$($t:ty),+>, $g:expr) => {
        if $form.mmx { Kernel::Two(|a, b| $f::<$($t),+, 8>(a, b, $g)) } else { Kernel::Two(|a, b| $f::<$($t),+, 16>(a, b, $g)) }
    };
}
/// A kernel for 32 bytes, or for 16.
macro_rules! sized {
    ($form:ident, $kind:ident, $f:ident) => {
        if $form.ymm { Kernel::$kind($f::<32>) } else { Kernel::$kind($f::<16>) }
    };
}
/// A shift: by the immediate, or by the low quadword of the second operand.
macro_rules! shift {
    ($form:ident, $t:ty, $how:ident) => {
        if $form.imm {
            Kernel::Imm(|_, b, imm| each1(b, |x: $t| x.$how(imm.into())))
        } else {
            Kernel::Two(|a, b| {
                let count = b.get(0);
                each1(a, |x: $t| x.$how(count))
            })
        }
    };
}

/// The kernel of `m`.
#[rustfmt::skip] // One row a mnemonic.
pub fn kernel(m: Mnemonic, f: Form) -> Option<Kernel> {
    use Mnemonic::*;
    Some(match m {
        Paddb | Vpaddb       => lane!(u8, u8::wrapping_add),
        Paddw | Vpaddw       => lane!(u16, u16::wrapping_add),
        Paddd | Vpaddd       => lane!(u32, u32::wrapping_add),
        Paddq | Vpaddq       => lane!(u64, u64::wrapping_add),
        Psubb | Vpsubb       => lane!(u8, u8::wrapping_sub),
        Psubw | Vpsubw       => lane!(u16, u16::wrapping_sub),
        Psubd | Vpsubd       => lane!(u32, u32::wrapping_sub),
        Psubq | Vpsubq       => lane!(u64, u64::wrapping_sub),
        Paddsb | Vpaddsb     => lane!(i8, i8::saturating_add),
        Paddsw | Vpaddsw     => lane!(i16, i16::saturating_add),
        Paddusb | Vpaddusb   => lane!(u8, u8::saturating_add),
        Paddusw | Vpaddusw   => lane!(u16, u16::saturating_add),
        Psubsb | Vpsubsb     => lane!(i8, i8::saturating_sub),
        Psubsw | Vpsubsw     => lane!(i16, i16::saturating_sub),
        Psubusb | Vpsubusb   => lane!(u8, u8::saturating_sub),
        Psubusw | Vpsubusw   => lane!(u16, u16::saturating_sub),

        Pmullw | Vpmullw     => lane!(u16, u16::wrapping_mul),
        Pmulld | Vpmulld     => lane!(u32, u32::wrapping_mul),
        Pmulhw | Vpmulhw     => lane!(i16, |x, y| ((i32::from(x) * i32::from(y)) >> 16) as i16),
        Pmulhuw | Vpmulhuw   => lane!(u16, |x, y| ((u32::from(x) * u32::from(y)) >> 16) as u16),
        Pmulhrsw | Vpmulhrsw => lane!(i16, |x, y| ((((i32::from(x) * i32::from(y)) >> 14) + 1) >> 1) as i16),
        Pmuludq | Vpmuludq   => lane!(u64, |x, y| (x & 0xffff_ffff) * (y & 0xffff_ffff)),
        Pmuldq | Vpmuldq     => lane!(i64, |x, y| i64::from(x as i32) * i64::from(y as i32)),
        Pmaddwd | Vpmaddwd   => lane!(u32, pmaddwd),
        Pmaddubsw | Vpmaddubsw => lane!(u16, pmaddubsw),
        Psadbw | Vpsadbw     => sized!(f, Two, psadbw),

        Pcmpeqb | Vpcmpeqb   => lane!(u8, |x, y| if x == y { u8::MAX } else { 0 }),
        Pcmpeqw | Vpcmpeqw   => lane!(u16, |x, y| if x == y { u16::MAX } else { 0 }),
        Pcmpeqd | Vpcmpeqd   => lane!(u32, |x, y| if x == y { u32::MAX } else { 0 }),
        Pcmpeqq | Vpcmpeqq   => lane!(u64, |x, y| if x == y { u64::MAX } else { 0 }),
        Pcmpgtb | Vpcmpgtb   => lane!(i8, |x, y| if x > y { -1 } else { 0 }),
        Pcmpgtw | Vpcmpgtw   => lane!(i16, |x, y| if x > y { -1 } else { 0 }),
        Pcmpgtd | Vpcmpgtd   => lane!(i32, |x, y| if x > y { -1 } else { 0 }),
        Pcmpgtq | Vpcmpgtq   => lane!(i64, |x, y| if x > y { -1 } else { 0 }),
        Pminub | Vpminub     => lane!(u8, u8::min),
        Pminuw | Vpminuw     => lane!(u16, u16::min),
        Pminud | Vpminud     => lane!(u32, u32::min),
        Pminsb | Vpminsb     => lane!(i8, i8::min),
        Pminsw | Vpminsw     => lane!(i16, i16::min),
        Pminsd | Vpminsd     => lane!(i32, i32::min),
        Pmaxub | Vpmaxub     => lane!(u8, u8::max),
        Pmaxuw | Vpmaxuw     => lane!(u16, u16::max),
        Pmaxud | Vpmaxud     => lane!(u32, u32::max),
        Pmaxsb | Vpmaxsb     => lane!(i8, i8::max),
        Pmaxsw | Vpmaxsw     => lane!(i16, i16::max),
        Pmaxsd | Vpmaxsd     => lane!(i32, i32::max),
        Pavgb | Vpavgb       => lane!(u8, |x, y| (u16::from(x) + u16::from(y)).div_ceil(2) as u8),
        Pavgw | Vpavgw       => lane!(u16, |x, y| (u32::from(x) + u32::from(y)).div_ceil(2) as u16),
        Pabsb | Vpabsb       => lane1!(i8, i8::wrapping_abs),
        Pabsw | Vpabsw       => lane1!(i16, i16::wrapping_abs),
        Pabsd | Vpabsd       => lane1!(i32, i32::wrapping_abs),
        Psignb | Vpsignb     => lane!(i8, |x: i8, y: i8| x.wrapping_mul(y.signum())),
        Psignw | Vpsignw     => lane!(i16, |x: i16, y: i16| x.wrapping_mul(y.signum())),
        Psignd | Vpsignd     => lane!(i32, |x: i32, y: i32| x.wrapping_mul(y.signum())),
        Phminposuw | Vphminposuw => Kernel::Two(phminposuw),

        Phaddw | Vphaddw     => halves!(f, pairs::<u16>, u16::wrapping_add),
        Phaddd | Vphaddd     => halves!(f, pairs::<u32>, u32::wrapping_add),
        Phaddsw | Vphaddsw   => halves!(f, pairs::<i16>, i16::saturating_add),
        Phsubw | Vphsubw     => halves!(f, pairs::<u16>, u16::wrapping_sub),
        Phsubd | Vphsubd     => halves!(f, pairs::<u32>, u32::wrapping_sub),
        Phsubsw | Vphsubsw   => halves!(f, pairs::<i16>, i16::saturating_sub),
        Packsswb | Vpacksswb => halves!(f, pack::<i16, i8>, |x| x.clamp(-128, 127) as i8),
        Packssdw | Vpackssdw => halves!(f, pack::<i32, i16>, |x| x.clamp(-32768, 32767) as i16),
        Packuswb | Vpackuswb => halves!(f, pack::<i16, u8>, |x| x.clamp(0, 255) as u8),
        Packusdw | Vpackusdw => halves!(f, pack::<i32, u16>, |x| x.clamp(0, 65535) as u16),

        Pand | Vpand | Andps | Vandps | Andpd | Vandpd     => lane!(u64, |x, y| x & y),
        Pandn | Vpandn | Andnps | Vandnps | Andnpd | Vandnpd => lane!(u64, |x: u64, y| !x & y),
        Por | Vpor | Orps | Vorps | Orpd | Vorpd           => lane!(u64, |x, y| x | y),
        Pxor | Vpxor | Xorps | Vxorps | Xorpd | Vxorpd     => lane!(u64, |x, y| x ^ y),

        Psllw | Vpsllw       => shift!(f, u16, shl),
        Pslld | Vpslld       => shift!(f, u32, shl),
        Psllq | Vpsllq       => shift!(f, u64, shl),
        Psrlw | Vpsrlw       => shift!(f, u16, shr),
        Psrld | Vpsrld       => shift!(f, u32, shr),
        Psrlq | Vpsrlq       => shift!(f, u64, shr),
        Psraw | Vpsraw       => shift!(f, u16, sar),
        Psrad | Vpsrad       => shift!(f, u32, sar),
        Vpsllvd              => lane!(u32, |x: u32, n: u32| x.shl(n.into())),
        Vpsllvq              => lane!(u64, |x: u64, n: u64| x.shl(n)),
        Vpsrlvd              => lane!(u32, |x: u32, n: u32| x.shr(n.into())),
        Vpsrlvq              => lane!(u64, |x: u64, n: u64| x.shr(n)),
        Vpsravd              => lane!(u32, |x: u32, n: u32| x.sar(n.into())),

        Mpsadbw | Vmpsadbw   => sized!(f, Imm, mpsadbw),
        Ptest | Vptest       => Kernel::Flags(|a, b| test(a, b, u64::MAX)),
        Vtestps              => Kernel::Flags(|a, b| test(a, b, 0x8000_0000_8000_0000)),
        Vtestpd              => Kernel::Flags(|a, b| test(a, b, 1 << 63)),
        _ => return None,
    })
}

/// The sum of the products of two pairs of signed words, modulo 2^32.
fn pmaddwd(x: u32, y: u32) -> u32 {
    let low = i32::from(x as i16) * i32::from(y as i16);
    let high = ((x as i32) >> 16) * ((y as i32) >> 16);
    low.wrapping_add(high).cast_unsigned()
}

/// The sum of the products of two pairs of bytes, unsigned times signed, saturated to a signed word.
fn pmaddubsw(x: u16, y: u16) -> u16 {
    let low = i32::from(x & 0xff) * i32::from(y as i8);
    let high = i32::from(x >> 8) * i32::from((y >> 8) as i8);
    ((low + high).clamp(-32768, 32767) as i16).cast_unsigned()
}

/// In each quadword, the sum of the absolute differences of its eight bytes.
fn psadbw<const N: usize>(a: &V, b: &V) -> V {
    V::first::<N, _>(|q| (0..8).map(|k| u64::from(a.get::<u8>(8 * q + k).abs_diff(b.get(8 * q + k)))).sum::<u64>())
}

/// Eight sums of four absolute differences in each 128 bits: a block of `b` slides over `a`.
fn mpsadbw<const N: usize>(a: &V, b: &V, imm: u8) -> V {
    V::first::<N, _>(|k| {
        let (base, control) = (k / 8 * 16, imm >> (k / 8 * 3));
        let from = base + usize::from(control >> 2 & 1) * 4 + k % 8;
        let block = base + usize::from(control & 3) * 4;
        (0..4).map(|j| u16::from(a.get::<u8>(from + j).abs_diff(b.get(block + j)))).sum::<u16>()
    })
}

/// The smallest of eight words, and the index of its first occurrence.
fn phminposuw(_: &V, b: &V) -> V {
    let (least, at) = (0..8).map(|k| (b.get::<u16>(k), k)).min().unwrap_or_default();
    V::low(u32::from(least) | (at as u32) << 16)
}

/// `f` of neighbours: those of `a` in the low half of each `HALF` bytes, those of `b` in the high half.
#[inline(always)]
fn pairs<T: Lane, const HALF: usize>(a: &V, b: &V, f: impl Fn(T, T) -> T) -> V {
    let n = HALF / T::BYTES;
    V::from_fn(|k| {
        let (base, at) = (k / n * n, k % n);
        let (of, at) = if at < n / 2 { (a, at) } else { (b, at - n / 2) };
        f(of.get(base + 2 * at), of.get(base + 2 * at + 1))
    })
}

/// Narrowed elements: those of `a` in the low half of each `HALF` bytes, those of `b` in the high half.
#[inline(always)]
fn pack<S: Lane, D: Lane, const HALF: usize>(a: &V, b: &V, f: impl Fn(S) -> D) -> V {
    let n = HALF / S::BYTES;
    let mut r = V::ZERO;
    for base in (0..BYTES / S::BYTES).step_by(n) {
        for k in 0..n {
            r.put(2 * base + k, f(a.get(base + k)));
        }
        for k in 0..n {
            r.put(2 * base + n + k, f(b.get(base + k)));
        }
    }
    r
}

/// ZF: no bit of `mask` is set in both; CF: none is set in `b` alone. The others are cleared.
fn test(a: &V, b: &V, mask: u64) -> u64 {
    use crate::alu::flag::{CF, ZF};
    let none = |f: fn(u64, u64) -> u64| (0..4).all(|k| f(a.get(k), b.get(k)) & mask == 0);
    (if none(|x, y| x & y) { ZF } else { 0 }) | if none(|x, y| !x & y) { CF } else { 0 }
}
