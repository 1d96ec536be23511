//! AVX-VNNI: products of adjacent bytes or words, summed into doublewords. Source: SDM vol. 2, VPDPBUSD and neighbours.

use super::describe::Kernel;
use super::value::V;
use iced_x86::Mnemonic;

/// The kernel of `m`: of the sources `a` and `b` and the old destination `c`.
pub fn kernel(m: Mnemonic) -> Option<Kernel> {
    use Mnemonic::*;
    Some(Kernel::Three(match m {
        Vpdpbusd => |a, b, c| sum(c, |k| bytes(a, b, k), i32::wrapping_add),
        Vpdpbusds => |a, b, c| sum(c, |k| bytes(a, b, k), i32::saturating_add),
        Vpdpwssd => |a, b, c| sum(c, |k| words(a, b, k), i32::wrapping_add),
        // The sum of two products may be 2^31, which does not fit.
        Vpdpwssds => |a, b, c| V::from_fn(|k| saturated(c.get(k), a, b, k)),
        _ => return None,
    }))
}

/// Each doubleword of `c` plus what `of` gives.
fn sum(c: &V, of: impl Fn(usize) -> i32, add: fn(i32, i32) -> i32) -> V {
    V::from_fn(|k| add(c.get(k), of(k)).cast_unsigned())
}

/// Unsigned bytes of `a` times signed bytes of `b`, the four products of doubleword `k`.
fn bytes(a: &V, b: &V, k: usize) -> i32 {
    (4 * k..4 * k + 4).map(|n| i32::from(a.get::<u8>(n)) * i32::from(b.get::<i8>(n))).sum()
}

/// Signed words, the two products of doubleword `k`.
fn words(a: &V, b: &V, k: usize) -> i32 {
    let product = |n: usize| i32::from(a.get::<i16>(n)) * i32::from(b.get::<i16>(n));
    product(2 * k).wrapping_add(product(2 * k + 1))
}

/// `c` plus both products of doubleword `k`, saturated once.
fn saturated(c: i32, a: &V, b: &V, k: usize) -> u32 {
    let product = |n: usize| i64::from(a.get::<i16>(n)) * i64::from(b.get::<i16>(n));
    let total = i64::from(c) + product(2 * k) + product(2 * k + 1);
    (total.clamp(i32::MIN.into(), i32::MAX.into()) as i32).cast_unsigned()
}
