//! Carry-less multiplication and the Galois-field instructions.
//!
//! Source: SDM vol. 2, PCLMULQDQ, GF2P8MULB, GF2P8AFFINEQB, GF2P8AFFINEINVQB; the field is GF(2^8) with
//! x^8 + x^4 + x^3 + x + 1, as in FIPS 197.

use super::describe::{Form, Kernel};
use super::value::{V, each};
use iced_x86::Mnemonic;

/// The kernel of `m`.
pub fn kernel(m: Mnemonic, f: Form) -> Option<Kernel> {
    use Mnemonic::*;
    Some(match m {
        Pclmulqdq | Vpclmulqdq => {
            if f.ymm {
                Kernel::Imm(pclmulqdq::<32>)
            } else {
                Kernel::Imm(pclmulqdq::<16>)
            }
        }
        Gf2p8mulb | Vgf2p8mulb => Kernel::Two(|a, b| each(a, b, multiply)),
        Gf2p8affineqb | Vgf2p8affineqb => Kernel::Imm(|a, b, imm| affine(a, b, imm, |x| x)),
        Gf2p8affineinvqb | Vgf2p8affineinvqb => Kernel::Imm(|a, b, imm| affine(a, b, imm, inverse)),
        _ => return None,
    })
}

/// In each half, the carry-less product of the quadwords that bits 0 and 4 of `imm` pick.
fn pclmulqdq<const N: usize>(a: &V, b: &V, imm: u8) -> V {
    V::first::<N, _>(|half| {
        let x: u64 = a.get(2 * half + usize::from(imm & 1));
        let y: u64 = b.get(2 * half + usize::from(imm >> 4 & 1));
        carryless(x, y)
    })
}

/// The product of two polynomials over GF(2), four bits of `y` at a time.
fn carryless(x: u64, y: u64) -> u128 {
    let x = u128::from(x);
    let mut multiples = [0; 16];
    for k in 1..16 {
        multiples[k] = multiples[k / 2] << 1 ^ if k & 1 != 0 { x } else { 0 };
    }
    (0..16).rev().fold(0, |r, k| r << 4 ^ multiples[(y >> (4 * k) & 15) as usize])
}

/// The product in the field.
#[inline(always)]
pub const fn multiply(a: u8, b: u8) -> u8 {
    let (mut r, mut x, mut k) = (0, a, 0);
    while k < 8 {
        r ^= x & (b >> k & 1).wrapping_neg();
        x = x << 1 ^ 0x1b & (x >> 7).wrapping_neg();
        k += 1;
    }
    r
}

/// The inverse in the field (zero's is zero): the 254th power.
pub const fn inverse(a: u8) -> u8 {
    let (mut r, mut square, mut k) = (1, a, 1);
    while k < 8 {
        square = multiply(square, square);
        r = multiply(r, square);
        k += 1;
    }
    r
}

/// Each byte of `a`, after `f`, times the bit matrix in its quadword of `b`, plus `imm`.
fn affine(a: &V, b: &V, imm: u8, f: impl Fn(u8) -> u8) -> V {
    V::from_fn(|k| {
        let x = f(a.get(k));
        // Row 7 - bit of the matrix gives that bit of the result.
        let bit = |n: usize| ((x & b.get::<u8>(k & !7 | (7 - n))).count_ones() as u8 & 1) << n;
        (0..8).map(bit).sum::<u8>() ^ imm
    })
}
