//! Bit scans, counts and fields, and CRC32. Source: SDM vol. 2, BSF to BZHI, CRC32, LZCNT, PDEP, PEXT, POPCNT, TZCNT.

use super::flag::{CF, SF, ZF};
use super::{Width, logic, szp};

/// Index of the lowest set bit of `a`, which is not 0; undefined flags as after a logical operation.
pub const fn bsf(w: Width, a: u64) -> (u64, u64) {
    let r = a.trailing_zeros() as u64;
    (r, szp(w, r) & !ZF)
}

/// Index of the highest set bit of `a`, which is not 0; undefined flags as after a logical operation.
pub const fn bsr(w: Width, a: u64) -> (u64, u64) {
    let r = (63 - a.leading_zeros()) as u64;
    (r, szp(w, r) & !ZF)
}

/// CF, if.
const fn carry_if(it: bool) -> u64 {
    if it { CF } else { 0 }
}

/// Flags of a count of zero bits: CF when `a` was 0, ZF when the count is.
const fn count(w: Width, r: u64) -> (u64, u64) {
    (r, carry_if(r == w.bits() as u64) | if r == 0 { ZF } else { 0 })
}

/// Zero bits below the lowest set bit; CF and ZF.
pub const fn tzcnt(w: Width, a: u64) -> (u64, u64) {
    let n = a.trailing_zeros();
    count(w, if n > w.bits() { w.bits() } else { n } as u64)
}

/// Zero bits above the highest set bit; CF and ZF.
pub const fn lzcnt(w: Width, a: u64) -> (u64, u64) {
    count(w, (a.leading_zeros() - (64 - w.bits())) as u64)
}

/// How many bits are set; ZF, and the five others are 0.
pub const fn popcnt(a: u64) -> (u64, u64) {
    (a.count_ones() as u64, if a == 0 { ZF } else { 0 })
}

/// The bytes of `a` in the opposite order. For BSWAP of 16 bits, which is undefined, see its caller.
pub const fn swap(w: Width, a: u64) -> u64 {
    a.swap_bytes() >> (64 - w.bits())
}

/// `control` 15:8 bits of `a` from bit `control` 7:0; ZF, and CF and OF are 0.
pub const fn bextr(w: Width, a: u64, control: u64) -> (u64, u64) {
    let (start, many) = (control & 0xff, control >> 8 & 0xff);
    let r = if start < 64 { a >> start } else { 0 };
    let r = if many < 64 { r & !(u64::MAX << many) } else { r };
    (r, logic(w, r).1 & ZF)
}

/// The lowest set bit of `a`; SF, ZF, CF when there is one, OF is 0.
pub const fn blsi(w: Width, a: u64) -> (u64, u64) {
    let r = w.zx(a & a.wrapping_neg());
    (r, szp(w, r) & (SF | ZF) | carry_if(a != 0))
}

/// All bits up to the lowest set one; SF, CF when there is none, ZF and OF are 0.
pub const fn blsmsk(w: Width, a: u64) -> (u64, u64) {
    let r = w.zx(a ^ a.wrapping_sub(1));
    (r, szp(w, r) & SF | carry_if(a == 0))
}

/// `a` without its lowest set bit; SF, ZF, CF when there is none, OF is 0.
pub const fn blsr(w: Width, a: u64) -> (u64, u64) {
    let r = w.zx(a & a.wrapping_sub(1));
    (r, szp(w, r) & (SF | ZF) | carry_if(a == 0))
}

/// `a` without the bits from `index` 7:0 up; SF, ZF, CF when the index is not below the width, OF is 0.
pub const fn bzhi(w: Width, a: u64, index: u64) -> (u64, u64) {
    let n = index & 0xff;
    let over = n >= w.bits() as u64;
    let r = if over { a } else { a & !(u64::MAX << n) };
    (r, szp(w, r) & (SF | ZF) | carry_if(over))
}

/// Low bits of `a` scattered to the set bits of `mask`.
pub const fn pdep(mut a: u64, mut mask: u64) -> u64 {
    let mut r = 0;
    while mask != 0 {
        let low = mask & mask.wrapping_neg();
        r |= if a & 1 != 0 { low } else { 0 };
        a >>= 1;
        mask ^= low;
    }
    r
}

/// Bits of `a` at the set bits of `mask`, gathered at the bottom.
pub const fn pext(a: u64, mut mask: u64) -> u64 {
    let (mut r, mut at) = (0, 0);
    while mask != 0 {
        let low = mask & mask.wrapping_neg();
        r |= if a & low != 0 { 1 << at } else { 0 };
        at += 1;
        mask ^= low;
    }
    r
}

/// CRC-32C of one byte, the polynomial 11EDC6F41h reflected.
const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let (mut c, mut bit) = (i as u32, 0);
        while bit < 8 {
            c = c >> 1 ^ if c & 1 != 0 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[i] = c;
        i += 1;
    }
    table
};

/// CRC-32C of the `w` bytes of `a`, from the CRC so far.
pub const fn crc32(w: Width, crc: u64, a: u64) -> u64 {
    let (mut c, mut n) = (crc as u32, 0);
    while n < w.bytes() {
        c = c >> 8 ^ CRC32C[((c ^ (a >> (8 * n)) as u32) & 0xff) as usize];
        n += 1;
    }
    c as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use Width::{B, D, Q, W};

    #[test]
    fn counts_and_scans_of_zero_and_one() {
        assert_eq!(tzcnt(W, 0), (16, CF));
        assert_eq!(lzcnt(D, 0), (32, CF));
        assert_eq!(lzcnt(D, 0x8000_0000), (0, ZF));
        assert_eq!(tzcnt(Q, 1), (0, ZF));
        assert_eq!(bsf(W, 0x8000).0, 15);
        assert_eq!(bsr(Q, 1).0, 0);
        assert_eq!(popcnt(0), (0, ZF));
        assert_eq!(swap(W, 0x1234), 0x3412);
        assert_eq!(swap(D, 0x1234_5678), 0x7856_3412);
    }

    #[test]
    fn fields_and_lowest_bits() {
        assert_eq!(bextr(D, 0x1234_5678, 0x0804), (0x67, 0));
        assert_eq!(bextr(Q, u64::MAX, 0xff40), (0, ZF));
        assert_eq!(blsi(D, 0), (0, ZF));
        assert_eq!(blsi(D, 0x8000_0000), (0x8000_0000, CF | SF));
        assert_eq!(blsmsk(D, 0), (0xffff_ffff, CF | SF));
        assert_eq!(blsr(Q, 0), (0, ZF | CF));
        assert_eq!(bzhi(D, 0xffff_ffff, 32), (0xffff_ffff, CF | SF));
        assert_eq!(bzhi(D, 0xffff_ffff, 0), (0, ZF));
    }

    #[test]
    fn pext_undoes_pdep() {
        let mut x = 1u64;
        for _ in 0..1000 {
            x = x.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(12345);
            let (a, mask) = (x.rotate_left(17), x);
            let low = if mask == 0 { 0 } else { u64::MAX >> (64 - mask.count_ones()) };
            assert_eq!(pext(pdep(a, mask), mask), a & low);
            assert_eq!(pdep(a, mask) & !mask, 0);
        }
    }

    /// The check value of CRC-32C: "123456789" gives E3069283h (RFC 3720, B.4 uses the same polynomial).
    #[test]
    fn crc32_of_the_check_string() {
        let c = crc32(Q, 0xffff_ffff, u64::from_le_bytes(*b"12345678"));
        assert_eq!(crc32(B, c, u64::from(b'9')) ^ 0xffff_ffff, 0xe306_9283);
    }
}
