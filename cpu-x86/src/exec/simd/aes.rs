//! AES rounds.
//!
//! The S-box and the MixColumns tables are computed from the field's arithmetic. Source: FIPS 197; SDM vol. 2,
//! AESENC and its neighbours; vol. 1, 12.13.

use super::describe::{Form, Kernel};
use super::galois::{inverse, multiply};
use super::value::V;
use iced_x86::Mnemonic;

/// The kernel of `m`.
pub fn kernel(m: Mnemonic, f: Form) -> Option<Kernel> {
    if f.ymm { rounds::<32>(m) } else { rounds::<16>(m) }
}

/// The kernel of `m` for operands of `N` bytes.
fn rounds<const N: usize>(m: Mnemonic) -> Option<Kernel> {
    use Mnemonic::*;
    Some(match m {
        Aesenc | Vaesenc => Kernel::Two(|a, b| columns::<N>(&shift::<N>(a, &SBOX, 5), &MIX, b)),
        Aesenclast | Vaesenclast => Kernel::Two(|a, b| xor(&shift::<N>(a, &SBOX, 5), b)),
        Aesdec | Vaesdec => Kernel::Two(|a, b| columns::<N>(&shift::<N>(a, &INVERSE_SBOX, 13), &INVERSE_MIX, b)),
        Aesdeclast | Vaesdeclast => Kernel::Two(|a, b| xor(&shift::<N>(a, &INVERSE_SBOX, 13), b)),
        Aesimc | Vaesimc => Kernel::Two(|_, b| columns::<N>(b, &INVERSE_MIX, &V::ZERO)),
        Aeskeygenassist | Vaeskeygenassist => Kernel::Imm(keygen),
        _ => return None,
    })
}

/// SubBytes: the field's inverse, then an affine map.
const SBOX: [u8; 256] = {
    let mut t = [0; 256];
    let mut k = 0;
    while k < 256 {
        let x = inverse(k as u8);
        t[k] = x ^ x.rotate_left(1) ^ x.rotate_left(2) ^ x.rotate_left(3) ^ x.rotate_left(4) ^ 0x63;
        k += 1;
    }
    t
};
const INVERSE_SBOX: [u8; 256] = {
    let mut t = [0; 256];
    let mut k = 0;
    while k < 256 {
        t[SBOX[k] as usize] = k as u8;
        k += 1;
    }
    t
};
/// What a byte in row 0 adds to its column; a byte in row n adds this rotated by n bytes.
const MIX: [u32; 256] = mix([2, 1, 1, 3]);
const INVERSE_MIX: [u32; 256] = mix([14, 9, 13, 11]);

const fn mix(by: [u8; 4]) -> [u32; 256] {
    let mut t = [0; 256];
    let mut k = 0;
    while k < 256 {
        let x = k as u8;
        t[k] = u32::from_le_bytes([multiply(x, by[0]), multiply(x, by[1]), multiply(x, by[2]), multiply(x, by[3])]);
        k += 1;
    }
    t
}

/// ShiftRows and SubBytes of both halves: byte k comes from byte `step` * k (mod 16). 5 shifts rows left, 13 right.
#[inline(always)]
fn shift<const N: usize>(a: &V, sbox: &[u8; 256], step: usize) -> V {
    V::first::<N, _>(|k| sbox[usize::from(a.get::<u8>((k & 16) | ((k * step) & 15)))])
}

/// MixColumns, then the round key.
#[inline(always)]
fn columns<const N: usize>(s: &V, table: &[u32; 256], key: &V) -> V {
    V::first::<N, _>(|c| {
        let [x0, x1, x2, x3] = s.get::<u32>(c).to_le_bytes().map(|x| table[usize::from(x)]);
        x0 ^ x1.rotate_left(8) ^ x2.rotate_left(16) ^ x3.rotate_left(24) ^ key.get::<u32>(c)
    })
}

#[inline(always)]
fn xor(a: &V, b: &V) -> V {
    V::from_fn(|k| a.get::<u64>(k) ^ b.get::<u64>(k))
}

/// Of doublewords 1 and 3: SubWord, and RotWord of that plus the round constant.
fn keygen(_: &V, b: &V, imm: u8) -> V {
    let sub = |k: usize| u32::from_le_bytes(b.get::<u32>(k).to_le_bytes().map(|x| SBOX[usize::from(x)]));
    let (x1, x3) = (sub(1), sub(3));
    let rcon = u32::from(imm);
    V::low(x1).with(1, x1.rotate_right(8) ^ rcon).with(2, x3).with(3, x3.rotate_right(8) ^ rcon)
}
