//! A vector operand as a value: 32 bytes, read and written as lanes of any width.
//!
//! An operand narrower than 32 bytes (MM register, XMM register, memory operand) is held zero-extended. The functions
//! here go over all 32 bytes with constant bounds, so that the compiler turns each instance into straight vector code;
//! whoever writes the result back takes as many bytes as the destination has. Little-endian.

/// Bytes of a YMM register, the widest operand there is.
pub const BYTES: usize = 32;

/// The value of a vector operand, zero-extended to 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(32))]
pub struct V(pub [u8; BYTES]);

/// An element type of a vector.
pub trait Lane: Copy + Default {
    /// Bytes of one.
    const BYTES: usize;
    /// Bits of one.
    const BITS: u64;
    /// Lane `k` of `v`; `k` is taken modulo the number of lanes.
    fn of(v: &V, k: usize) -> Self;
    /// Writes lane `k` of `v`; `k` is taken modulo the number of lanes.
    fn set_in(self, v: &mut V, k: usize);
}

/// A lane that can be shifted by any count: at or above the lane's bits, the result is all zeros (or all signs).
pub trait Bits: Lane {
    /// Logical left.
    fn shl(self, count: u64) -> Self;
    /// Logical right.
    fn shr(self, count: u64) -> Self;
    /// Arithmetic right.
    fn sar(self, count: u64) -> Self;
}

macro_rules! lanes {
    ($($t:ty),*) => {$(
        impl Lane for $t {
            const BYTES: usize = size_of::<$t>();
            const BITS: u64 = 8 * Self::BYTES as u64;
            #[inline(always)]
            fn of(v: &V, k: usize) -> Self {
                Self::from_le_bytes(v.0.as_chunks().0[k & (BYTES / Self::BYTES - 1)])
            }
            #[inline(always)]
            fn set_in(self, v: &mut V, k: usize) {
                v.0.as_chunks_mut().0[k & (BYTES / Self::BYTES - 1)] = self.to_le_bytes();
            }
        }
    )*};
}
lanes!(u8, i8, u16, i16, u32, i32, u64, i64, u128);

macro_rules! bits {
    ($($u:ty, $s:ty);*) => {$(
        impl Bits for $u {
            #[inline(always)]
            fn shl(self, count: u64) -> Self {
                if count < <$u as Lane>::BITS { self << count } else { 0 }
            }
            #[inline(always)]
            fn shr(self, count: u64) -> Self {
                if count < <$u as Lane>::BITS { self >> count } else { 0 }
            }
            #[inline(always)]
            fn sar(self, count: u64) -> Self {
                (self.cast_signed() >> count.min(<$u as Lane>::BITS - 1)).cast_unsigned()
            }
        }
    )*};
}
bits!(u16, i16; u32, i32; u64, i64);

impl V {
    /// All zeros.
    pub const ZERO: V = V([0; BYTES]);

    /// Lane `k`.
    #[inline(always)]
    pub fn get<T: Lane>(&self, k: usize) -> T {
        T::of(self, k)
    }
    /// Writes lane `k`.
    #[inline(always)]
    pub fn put<T: Lane>(&mut self, k: usize, x: T) {
        x.set_in(self, k);
    }
    /// Only lane 0 is `x`, the rest is zero.
    #[inline(always)]
    pub fn low<T: Lane>(x: T) -> V {
        let mut r = V::ZERO;
        r.put(0, x);
        r
    }
    /// This value with lane `k` replaced.
    #[inline(always)]
    pub fn with<T: Lane>(mut self, k: usize, x: T) -> V {
        self.put(k, x);
        self
    }
    /// Lane `k` of the result is `f(k)`.
    #[inline(always)]
    pub fn from_fn<T: Lane>(f: impl Fn(usize) -> T) -> V {
        V::first::<BYTES, T>(f)
    }
    /// Lane `k` of the result is `f(k)`, for those in the first `N` bytes; the rest is zero. For what the compiler
    /// cannot turn into vector code, where the bytes of a YMM register that are not wanted cost time.
    #[inline(always)]
    pub fn first<const N: usize, T: Lane>(f: impl Fn(usize) -> T) -> V {
        let mut r = V::ZERO;
        for k in 0..N / T::BYTES {
            r.put(k, f(k));
        }
        r
    }
}

/// Lane by lane: `f(b)`.
#[inline(always)]
pub fn each1<T: Lane, R: Lane>(b: &V, f: impl Fn(T) -> R) -> V {
    V::from_fn(|k| f(b.get(k)))
}

/// Lane by lane: `f(a, b)`.
#[inline(always)]
pub fn each<T: Lane, R: Lane>(a: &V, b: &V, f: impl Fn(T, T) -> R) -> V {
    V::from_fn(|k| f(a.get(k), b.get(k)))
}
