//! The arithmetic below the integer instructions: each formula once, as the SDM's operation section has it.
//!
//! Every function takes operands zero-extended to 64 bits and returns the result, zero-extended, with the status
//! flags it defines. The fast handlers are instances of these with the flags dropped or put off; the lazy flags are
//! these evaluated later. Source: SDM vol. 1, 3.4.3.1; vol. 2.

mod bcd;
mod bits;
mod muldiv;
mod shift;

pub use bcd::{aaa, aad, aam, aas, daa, das};
pub use bits::{bextr, blsi, blsmsk, blsr, bsf, bsr, bzhi, crc32, lzcnt, pdep, pext, popcnt, swap, tzcnt};
pub use muldiv::{div, idiv, imul, mul};
pub use shift::{rcl, rcr, rol, ror, sar, shl, shld, shr, shrd};

/// Status flags of RFLAGS, in place.
pub mod flag {
    #![allow(missing_docs, reason = "the mnemonics are the SDM's")]
    pub const CF: u64 = 1;
    pub const PF: u64 = 4;
    pub const AF: u64 = 16;
    pub const ZF: u64 = 64;
    pub const SF: u64 = 128;
    pub const TF: u64 = 1 << 8;
    pub const IF: u64 = 1 << 9;
    pub const DF: u64 = 1 << 10;
    pub const OF: u64 = 1 << 11;
    pub const IOPL: u64 = 3 << 12;
    pub const NT: u64 = 1 << 14;
    pub const RF: u64 = 1 << 16;
    pub const VM: u64 = 1 << 17;
    pub const AC: u64 = 1 << 18;
    pub const VIF: u64 = 1 << 19;
    pub const VIP: u64 = 1 << 20;
    pub const ID: u64 = 1 << 21;
    /// The six status flags.
    pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
}
use flag::*;

/// Operand width: the discriminant is the log2 of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Width {
    /// 8 bits.
    B = 0,
    /// 16 bits.
    W = 1,
    /// 32 bits.
    D = 2,
    /// 64 bits.
    Q = 3,
}

impl Width {
    /// The width of `bytes` (1, 2, 4, 8), else `None`.
    pub const fn of_bytes(bytes: usize) -> Option<Width> {
        match bytes {
            1 => Some(Width::B),
            2 => Some(Width::W),
            4 => Some(Width::D),
            8 => Some(Width::Q),
            _ => None,
        }
    }
    /// Bytes.
    #[inline(always)]
    pub const fn bytes(self) -> u32 {
        1 << self as u32
    }
    /// Bits.
    #[inline(always)]
    pub const fn bits(self) -> u32 {
        8 << self as u32
    }
    /// All ones in this width.
    #[inline(always)]
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }
    /// `v` cut to this width.
    #[inline(always)]
    pub const fn zx(self, v: u64) -> u64 {
        v & self.mask()
    }
    /// `v` cut to this width and sign-extended to 64 bits.
    #[inline(always)]
    pub const fn sx(self, v: u64) -> u64 {
        let up = 64 - self.bits();
        (((v << up) as i64) >> up) as u64
    }
    /// The sign bit of `v` in this width: 0 or 1.
    #[inline(always)]
    pub const fn sign(self, v: u64) -> u64 {
        (v >> (self.bits() - 1)) & 1
    }
}

/// SF, ZF and PF of `r`, which is cut to `w`.
#[inline(always)]
pub const fn szp(w: Width, r: u64) -> u64 {
    let even = (r as u8).count_ones() & 1 == 0;
    (w.sign(r) << 7) | if r == 0 { ZF } else { 0 } | if even { PF } else { 0 }
}

/// `a + b + carry`; all six flags. `carry` is 0 or 1.
#[inline(always)]
pub const fn add(w: Width, a: u64, b: u64, carry: u64) -> (u64, u64) {
    let r = w.zx(a.wrapping_add(b).wrapping_add(carry));
    let carries = (a & b) | ((a | b) & !r);
    let overflow = w.sign((a ^ r) & (b ^ r));
    (r, w.sign(carries) | ((a ^ b ^ r) & AF) | (overflow << 11) | szp(w, r))
}

/// `a - b - borrow`; all six flags. `borrow` is 0 or 1.
#[inline(always)]
pub const fn sub(w: Width, a: u64, b: u64, borrow: u64) -> (u64, u64) {
    let r = w.zx(a.wrapping_sub(b).wrapping_sub(borrow));
    let borrows = (!a & b) | ((!a | b) & r);
    let overflow = w.sign((a ^ b) & (a ^ r));
    (r, w.sign(borrows) | ((a ^ b ^ r) & AF) | (overflow << 11) | szp(w, r))
}

/// Flags of a logical result: CF, OF and AF are zero (AF is undefined in the SDM).
#[inline(always)]
pub const fn logic(w: Width, r: u64) -> (u64, u64) {
    let r = w.zx(r);
    (r, szp(w, r))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adc_and_sbb_of_all_byte_values_agree_with_wider_arithmetic() {
        for a in 0..=255u64 {
            for b in 0..=255u64 {
                for c in 0..=1u64 {
                    let (r, f) = add(Width::B, a, b, c);
                    assert_eq!(r, (a + b + c) & 255);
                    assert_eq!(f & CF != 0, a + b + c > 255);
                    assert_eq!(f & AF != 0, (a & 15) + (b & 15) + c > 15);
                    let s = a as i8 as i32 + b as i8 as i32 + c as i32;
                    assert_eq!(f & OF != 0, !(-128..=127).contains(&s));
                    let (r, f) = sub(Width::B, a, b, c);
                    assert_eq!(r, a.wrapping_sub(b).wrapping_sub(c) & 255);
                    assert_eq!(f & CF != 0, a < b + c);
                    assert_eq!(f & AF != 0, (a & 15) < (b & 15) + c);
                    let s = a as i8 as i32 - b as i8 as i32 - c as i32;
                    assert_eq!(f & OF != 0, !(-128..=127).contains(&s));
                }
            }
        }
    }
}
