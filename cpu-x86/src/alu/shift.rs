//! Shifts and rotates. Counts are masked by the caller (5 bits, or 6 for 64-bit operands) and not 0: a count of 0
//! changes no flag. Source: SDM vol. 2B, RCL/RCR/ROL/ROR, SAL/SAR/SHL/SHR, SHLD, SHRD.
//!
//! OF is defined for a count of 1 only; for others it is what the same formula gives, and the undefined AF is 0. So
//! Bochs (cpu/shift*.cc), whose authors compared with Intel's processors.

use super::{Width, szp};

/// OF of a left shift or rotate: the carry is not the sign.
const fn left_of(w: Width, r: u64, cf: u64) -> u64 {
    (w.sign(r) ^ cf) << 11
}
/// OF of a right shift or rotate: the two upper bits differ.
const fn right_of(w: Width, r: u64) -> u64 {
    w.sign(r ^ r << 1) << 11
}

/// `a << n`; all six flags.
pub const fn shl(w: Width, a: u64, n: u32) -> (u64, u64) {
    let r = w.zx(a << n);
    let cf = if n <= w.bits() { a >> (w.bits() - n) & 1 } else { 0 };
    (r, szp(w, r) | cf | left_of(w, r, cf))
}

/// `a >> n`, unsigned; all six flags.
pub const fn shr(w: Width, a: u64, n: u32) -> (u64, u64) {
    let r = a >> n;
    (r, szp(w, r) | a >> (n - 1) & 1 | right_of(w, r))
}

/// `a >> n`, signed; all six flags, OF is 0.
pub const fn sar(w: Width, a: u64, n: u32) -> (u64, u64) {
    let a = w.sx(a) as i64;
    let r = w.zx((a >> n) as u64);
    (r, szp(w, r) | (a >> (n - 1)) as u64 & 1)
}

/// `a` rotated left; CF and OF.
pub const fn rol(w: Width, a: u64, n: u32) -> (u64, u64) {
    let n = n % w.bits();
    let r = w.zx(a << n | (a >> 1) >> (w.bits() - 1 - n));
    (r, r & 1 | left_of(w, r, r & 1))
}

/// `a` rotated right; CF and OF.
pub const fn ror(w: Width, a: u64, n: u32) -> (u64, u64) {
    let n = n % w.bits();
    let r = w.zx(a >> n | (a << 1) << (w.bits() - 1 - n));
    (r, w.sign(r) | right_of(w, r))
}

/// `cf:a` rotated left by `n` modulo width + 1; CF and OF.
pub const fn rcl(w: Width, a: u64, n: u32, cf: u64) -> (u64, u64) {
    let n = n % (w.bits() + 1);
    let x = (cf as u128) << w.bits() | a as u128;
    let x = x << n | x >> (w.bits() + 1 - n);
    let (r, cf) = (w.zx(x as u64), (x >> w.bits()) as u64 & 1);
    (r, cf | left_of(w, r, cf))
}

/// `cf:a` rotated right by `n` modulo width + 1; CF and OF.
pub const fn rcr(w: Width, a: u64, n: u32, cf: u64) -> (u64, u64) {
    let n = n % (w.bits() + 1);
    let x = (cf as u128) << w.bits() | a as u128;
    let x = x >> n | x << (w.bits() + 1 - n);
    let (r, cf) = (w.zx(x as u64), (x >> w.bits()) as u64 & 1);
    (r, cf | right_of(w, r))
}

/// The upper third of `a:b:a << n`, which is SHLD; all six flags. The SDM leaves the result undefined when `n` exceeds
/// the width (16-bit operands only): there it is what processors since the P6 do (Bochs, cpu/shift16.cc).
pub const fn shld(w: Width, a: u64, b: u64, n: u32) -> (u64, u64) {
    let bits = w.bits();
    let (r, cf) = if n <= bits {
        (if n == bits { b } else { a << n | b >> (bits - n) }, a >> (bits - n) & 1)
    } else {
        (b << (n - bits) | a >> (2 * bits - n), b >> (2 * bits - n) & 1)
    };
    let r = w.zx(r);
    (r, szp(w, r) | cf | left_of(w, r, cf))
}

/// The lower third of `a:b:a >> n`, which is SHRD; all six flags; see [`shld`]. CF is the last bit shifted out.
pub const fn shrd(w: Width, a: u64, b: u64, n: u32) -> (u64, u64) {
    let bits = w.bits();
    let (r, cf) = if n <= bits {
        (if n == bits { b } else { a >> n | b << (bits - n) }, a >> (n - 1) & 1)
    } else {
        (b >> (n - bits) | a << (2 * bits - n), b >> (n - bits - 1) & 1)
    };
    let r = w.zx(r);
    (r, szp(w, r) | cf | right_of(w, r))
}

#[cfg(test)]
mod tests {
    use super::super::flag::{CF, OF};
    use super::*;

    /// One bit at a time, as the SDM's operation sections have it.
    fn step(op: u32, w: Width, a: u64, cf: u64) -> (u64, u64) {
        let (top, low) = (w.sign(a), a & 1);
        let up = w.bits() - 1;
        match op {
            0 => (w.zx(a << 1), top),
            1 => (a >> 1, low),
            2 => (a >> 1 | top << up, low),
            3 => (w.zx(a << 1) | top, top),
            4 => (a >> 1 | low << up, low),
            5 => (w.zx(a << 1) | cf, top),
            _ => (a >> 1 | cf << up, low),
        }
    }

    #[test]
    fn every_count_agrees_with_that_many_single_steps() {
        let mut x = 0x9e37_79b9_7f4a_7c15u64;
        for round in 0..4000u32 {
            x = x.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(round.into());
            for w in [Width::B, Width::W, Width::D, Width::Q] {
                let (a, cf) = (w.zx(x), x >> 63);
                let n = (x >> 32) as u32 & if w == Width::Q { 63 } else { 31 };
                for op in 0..7 {
                    let (mut r, mut c) = (a, cf);
                    for _ in 0..n {
                        (r, c) = step(op, w, r, c);
                    }
                    if n == 0 {
                        continue;
                    }
                    let got = match op {
                        0 => shl(w, a, n),
                        1 => shr(w, a, n),
                        2 => sar(w, a, n),
                        3 => rol(w, a, n),
                        4 => ror(w, a, n),
                        5 => rcl(w, a, n, cf),
                        _ => rcr(w, a, n, cf),
                    };
                    assert_eq!((got.0, got.1 & CF), (r, c), "op {op} {w:?} {a:#x} by {n}, CF {cf}");
                    if n == 1 {
                        assert_eq!(got.1 & OF != 0, w.sign(r) != w.sign(a), "OF of op {op} {w:?} {a:#x}");
                    }
                }
            }
        }
    }

    #[test]
    fn double_shifts_bring_bits_in_from_the_second_operand() {
        assert_eq!(shld(Width::D, 0x8000_0001, 0xc000_0000, 1), (3, CF | OF | szp(Width::D, 3)));
        assert_eq!(shrd(Width::Q, 1, 1, 1), (1 << 63, CF | OF | szp(Width::Q, 1 << 63)));
        assert_eq!(shld(Width::W, 0x1234, 0x5678, 16).0, 0x5678);
        assert_eq!(shld(Width::W, 0x1234, 0x5678, 20).0, 0x6781);
        assert_eq!(shrd(Width::W, 0x1234, 0x5678, 20).0, 0x4567);
    }
}
