//! What the fast forms of vector instructions compute from 16 bytes at a time.
//!
//! On x86-64 the host's own instructions do the frequent ones; loops over lanes are the formula of all, and what other
//! hosts run. Measured: of `u128` the compiler makes scalar code of those loops, six times the instructions.
#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "the host's vector instructions take values of their own types")
)]

/// Numbers of the operations on two operands.
pub(crate) mod lane_op {
    pub const AND: usize = 0;
    pub const ANDN: usize = 1;
    pub const OR: usize = 2;
    pub const XOR: usize = 3;
    /// Sums of lanes of 1, 2, 4 and 8 bytes.
    pub const ADD: [usize; 4] = [4, 5, 6, 7];
    pub const SUB: [usize; 4] = [8, 9, 10, 11];
    /// All ones where lanes are equal.
    pub const EQUAL: [usize; 4] = [12, 13, 14, 15];
    pub const MIN_U8: usize = 16;
    pub const MAX_U8: usize = 17;
    /// All ones where the first lane, signed, is the greater.
    pub const ABOVE_I8: usize = 18;
    pub const ABOVE_I32: usize = 19;
    /// All ones where the first lane, unsigned, is less; or less or equal.
    pub const LESS: [usize; 4] = [20, 21, 22, 23];
    pub const NOT_ABOVE: [usize; 4] = [24, 25, 26, 27];
    /// All ones where the lanes have a bit in common.
    pub const MEET: [usize; 4] = [28, 29, 30, 31];
}

/// `f` lane by lane.
macro_rules! each {
    ($t:ty, $a:ident, $b:ident, |$x:ident, $y:ident| $e:expr) => {{
        let (p, q) = ($a.to_le_bytes(), $b.to_le_bytes());
        let mut r = [0u8; 16];
        let (p, q) = (p.as_chunks::<{ size_of::<$t>() }>().0, q.as_chunks::<{ size_of::<$t>() }>().0);
        for (k, to) in r.as_chunks_mut::<{ size_of::<$t>() }>().0.iter_mut().enumerate() {
            let ($x, $y) = (<$t>::from_le_bytes(p[k]), <$t>::from_le_bytes(q[k]));
            let v: $t = $e;
            *to = v.to_le_bytes();
        }
        u128::from_le_bytes(r)
    }};
}

/// All ones or none.
macro_rules! test {
    ($t:ty, $a:ident, $b:ident, |$x:ident, $y:ident| $e:expr) => {
        each!($t, $a, $b, |$x, $y| if $e { !0 } else { 0 })
    };
}

/// Operation `O` of `lane_op` on lanes.
#[inline(always)]
pub(super) fn lanes<const O: usize>(a: u128, b: u128) -> u128 {
    #[cfg(target_arch = "x86_64")]
    if let Some(r) = host::<O>(a, b) {
        return r;
    }
    formula::<O>(a, b)
}

/// [`formula`] by instructions of the host's SSE2, where it has them.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn host<const O: usize>(a: u128, b: u128) -> Option<u128> {
    use core::arch::x86_64::*;
    // SAFETY: both types are 16 bytes of which every pattern is a value; SSE2 is part of the target.
    unsafe {
        let (a, b) = (core::mem::transmute::<u128, __m128i>(a), core::mem::transmute::<u128, __m128i>(b));
        let (zero, ones) = (_mm_setzero_si128(), _mm_set1_epi8(-1));
        let r = match O {
            4 => _mm_add_epi8(a, b),
            5 => _mm_add_epi16(a, b),
            6 => _mm_add_epi32(a, b),
            7 => _mm_add_epi64(a, b),
            8 => _mm_sub_epi8(a, b),
            9 => _mm_sub_epi16(a, b),
            10 => _mm_sub_epi32(a, b),
            11 => _mm_sub_epi64(a, b),
            12 => _mm_cmpeq_epi8(a, b),
            13 => _mm_cmpeq_epi16(a, b),
            14 => _mm_cmpeq_epi32(a, b),
            16 => _mm_min_epu8(a, b),
            17 => _mm_max_epu8(a, b),
            18 => _mm_cmpgt_epi8(a, b),
            19 => _mm_cmpgt_epi32(a, b),
            20 => _mm_xor_si128(_mm_cmpeq_epi8(_mm_max_epu8(a, b), a), ones),
            24 => _mm_cmpeq_epi8(_mm_min_epu8(a, b), a),
            28 => _mm_xor_si128(_mm_cmpeq_epi8(_mm_and_si128(a, b), zero), ones),
            29 => _mm_xor_si128(_mm_cmpeq_epi16(_mm_and_si128(a, b), zero), ones),
            30 => _mm_xor_si128(_mm_cmpeq_epi32(_mm_and_si128(a, b), zero), ones),
            _ => return None,
        };
        Some(core::mem::transmute::<__m128i, u128>(r))
    }
}

/// What operation `O` computes.
#[inline(always)]
fn formula<const O: usize>(a: u128, b: u128) -> u128 {
    match O {
        0 => a & b,
        1 => !a & b,
        2 => a | b,
        3 => a ^ b,
        4 => each!(u8, a, b, |x, y| x.wrapping_add(y)),
        5 => each!(u16, a, b, |x, y| x.wrapping_add(y)),
        6 => each!(u32, a, b, |x, y| x.wrapping_add(y)),
        7 => each!(u64, a, b, |x, y| x.wrapping_add(y)),
        8 => each!(u8, a, b, |x, y| x.wrapping_sub(y)),
        9 => each!(u16, a, b, |x, y| x.wrapping_sub(y)),
        10 => each!(u32, a, b, |x, y| x.wrapping_sub(y)),
        11 => each!(u64, a, b, |x, y| x.wrapping_sub(y)),
        12 => test!(u8, a, b, |x, y| x == y),
        13 => test!(u16, a, b, |x, y| x == y),
        14 => test!(u32, a, b, |x, y| x == y),
        15 => test!(u64, a, b, |x, y| x == y),
        16 => each!(u8, a, b, |x, y| x.min(y)),
        17 => each!(u8, a, b, |x, y| x.max(y)),
        18 => test!(i8, a, b, |x, y| x > y),
        19 => test!(i32, a, b, |x, y| x > y),
        20 => test!(u8, a, b, |x, y| x < y),
        21 => test!(u16, a, b, |x, y| x < y),
        22 => test!(u32, a, b, |x, y| x < y),
        23 => test!(u64, a, b, |x, y| x < y),
        24 => test!(u8, a, b, |x, y| x <= y),
        25 => test!(u16, a, b, |x, y| x <= y),
        26 => test!(u32, a, b, |x, y| x <= y),
        27 => test!(u64, a, b, |x, y| x <= y),
        28 => test!(u8, a, b, |x, y| x & y != 0),
        29 => test!(u16, a, b, |x, y| x & y != 0),
        30 => test!(u32, a, b, |x, y| x & y != 0),
        _ => test!(u64, a, b, |x, y| x & y != 0),
    }
}

/// The sign bits of the lanes of `1 << E` bytes, the lowest lane's in bit 0.
#[inline(always)]
pub(super) fn signs<const E: usize>(v: u128) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::*;
        // SAFETY: both are 16 bytes of which every pattern is a value; SSE2 is part of the target.
        let bits = unsafe {
            let v: __m128i = core::mem::transmute(v);
            match E {
                0 => _mm_movemask_epi8(v),
                1 => _mm_movemask_epi8(_mm_packs_epi16(v, _mm_setzero_si128())),
                2 => _mm_movemask_ps(_mm_castsi128_ps(v)),
                _ => _mm_movemask_pd(_mm_castsi128_pd(v)),
            }
        };
        u64::from(bits.cast_unsigned())
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let bits = 8u32 << E;
        (0..128 / bits).fold(0, |r, k| r | ((v >> (bits * (k + 1) - 1)) as u64 & 1) << k)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lane `k` of `1 << e` bytes.
    fn lane(v: u128, e: usize, k: usize) -> u64 {
        (v >> ((8 << e) * k)) as u64 & u64::MAX >> (64 - (8 << e))
    }

    fn signed(x: u64, e: usize) -> i64 {
        (x << (64 - (8 << e))) as i64 >> (64 - (8 << e))
    }

    /// Operation `O` on lanes of `1 << e` bytes is `f` of each two.
    fn holds<const O: usize>(e: usize, f: impl Fn(u64, u64) -> u64) {
        let mut seed = O as u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed >> 16 ^ seed << 40
        };
        for round in 0..2000u32 {
            let a = u128::from(next()) << 64 | u128::from(next());
            // Equal lanes, and lanes that differ in one bit.
            let b = if round % 2 == 0 { u128::from(next()) << 64 | u128::from(next()) } else { a ^ 1 << (round % 128) };
            let r = lanes::<O>(a, b);
            assert_eq!(r, formula::<O>(a, b), "operation {O} of {a:x} and {b:x} on the host");
            for k in 0..16 >> e {
                let want = f(lane(a, e, k), lane(b, e, k)) & u64::MAX >> (64 - (8 << e));
                assert_eq!(lane(r, e, k), want, "operation {O} of {a:x} and {b:x}, lane {k}");
            }
        }
    }

    #[test]
    fn each_operation_is_its_formula_in_every_lane() {
        let ones = |c: bool| if c { u64::MAX } else { 0 };
        holds::<0>(3, |a, b| a & b);
        holds::<1>(3, |a, b| !a & b);
        holds::<2>(3, |a, b| a | b);
        holds::<3>(3, |a, b| a ^ b);
        holds::<16>(0, u64::min);
        holds::<17>(0, u64::max);
        holds::<18>(0, |a, b| ones(signed(a, 0) > signed(b, 0)));
        holds::<19>(2, |a, b| ones(signed(a, 2) > signed(b, 2)));
        holds::<4>(0, u64::wrapping_add);
        holds::<5>(1, u64::wrapping_add);
        holds::<6>(2, u64::wrapping_add);
        holds::<7>(3, u64::wrapping_add);
        holds::<8>(0, u64::wrapping_sub);
        holds::<9>(1, u64::wrapping_sub);
        holds::<10>(2, u64::wrapping_sub);
        holds::<11>(3, u64::wrapping_sub);
        holds::<12>(0, |a, b| ones(a == b));
        holds::<13>(1, |a, b| ones(a == b));
        holds::<14>(2, |a, b| ones(a == b));
        holds::<15>(3, |a, b| ones(a == b));
        holds::<20>(0, |a, b| ones(a < b));
        holds::<21>(1, |a, b| ones(a < b));
        holds::<22>(2, |a, b| ones(a < b));
        holds::<23>(3, |a, b| ones(a < b));
        holds::<24>(0, |a, b| ones(a <= b));
        holds::<25>(1, |a, b| ones(a <= b));
        holds::<26>(2, |a, b| ones(a <= b));
        holds::<27>(3, |a, b| ones(a <= b));
        holds::<28>(0, |a, b| ones(a & b != 0));
        holds::<29>(1, |a, b| ones(a & b != 0));
        holds::<30>(2, |a, b| ones(a & b != 0));
        holds::<31>(3, |a, b| ones(a & b != 0));
    }

    #[test]
    fn sign_bits_are_collected_lowest_lane_first() {
        let v = 0x8000_0000_0000_0001_0080_8000_ff00_7fffu128;
        assert_eq!(signs::<0>(v), 0b1000_0000_0110_1001);
        assert_eq!(signs::<1>(v), 0b1000_0110);
        assert_eq!(signs::<2>(v), 0b1001);
        assert_eq!(signs::<3>(v), 0b10);
    }
}
