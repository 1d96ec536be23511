//! A vector operand of up to 64 bytes as a value: two of the 32 bytes that the VEX group computes with.

use crate::exec::simd::{Lane, V};

/// Bytes of a ZMM register.
pub const BYTES: usize = 64;

/// The value of a vector operand, zero-extended to 64 bytes; the low half first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct W(pub [V; 2]);

impl W {
    /// All zeros.
    pub const ZERO: W = W([V::ZERO; 2]);

    /// From the bytes of a register.
    #[inline(always)]
    pub fn of(bytes: &[u8; BYTES]) -> W {
        let mut w = W::ZERO;
        w.0[0].0.copy_from_slice(&bytes[..32]);
        w.0[1].0.copy_from_slice(&bytes[32..]);
        w
    }
    /// As the bytes of a register.
    #[inline(always)]
    pub fn bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..32].copy_from_slice(&self.0[0].0);
        bytes[32..].copy_from_slice(&self.0[1].0);
        bytes
    }
    /// Lane `k`; taken modulo the number of lanes.
    #[inline(always)]
    pub fn get<T: Lane>(&self, k: usize) -> T {
        self.0[(k * T::BYTES / 32) & 1].get(k)
    }
    /// Writes lane `k`; taken modulo the number of lanes.
    #[inline(always)]
    pub fn put<T: Lane>(&mut self, k: usize, x: T) {
        self.0[(k * T::BYTES / 32) & 1].put(k, x);
    }
    /// Only lane 0 is `x`, the rest is zero.
    #[inline(always)]
    pub fn low<T: Lane>(x: T) -> W {
        W([V::low(x), V::ZERO])
    }
    /// Lane `k` of the result is `f(k)`.
    #[inline(always)]
    pub fn from_fn<T: Lane>(f: impl Fn(usize) -> T) -> W {
        let mut r = W::ZERO;
        for k in 0..BYTES / T::BYTES {
            r.put(k, f(k));
        }
        r
    }
    /// Lane `k` of `bytes` bytes (1, 2, 4 or 8), zero-extended.
    #[inline(always)]
    pub fn element(&self, k: usize, bytes: usize) -> u64 {
        match bytes {
            1 => self.get::<u8>(k).into(),
            2 => self.get::<u16>(k).into(),
            4 => self.get::<u32>(k).into(),
            _ => self.get::<u64>(k),
        }
    }
    /// Writes lane `k` of `bytes` bytes (1, 2, 4 or 8).
    #[inline(always)]
    pub fn set_element(&mut self, k: usize, bytes: usize, x: u64) {
        match bytes {
            1 => self.put(k, x as u8),
            2 => self.put(k, x as u16),
            4 => self.put(k, x as u32),
            _ => self.put(k, x),
        }
    }
    /// `count` bytes from byte `from` on, at the start of a [`V`]; `from` and `count` are multiples of one another
    /// within a half.
    #[inline(always)]
    pub fn part(&self, from: usize, count: usize) -> V {
        let (half, at) = (&self.0[(from / 32) & 1].0, from % 32);
        let mut v = V::ZERO;
        let count = count.min(32 - at);
        v.0[..count].copy_from_slice(&half[at..at + count]);
        v
    }
    /// Puts the first `count` bytes of `v` at byte `to`, as [`W::part`] takes them.
    #[inline(always)]
    pub fn set_part(&mut self, to: usize, count: usize, v: &V) {
        let (half, at) = (&mut self.0[(to / 32) & 1].0, to % 32);
        let count = count.min(32 - at);
        half[at..at + count].copy_from_slice(&v.0[..count]);
    }
}
