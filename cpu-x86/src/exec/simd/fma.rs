//! Fused multiply-add.
//!
//! Source: SDM vol. 2, VFMADD132PS and its neighbours; vol. 1, 14.5.1 (which NaN is returned).

use super::describe::{Kernel, Per};
use super::fp::{ONE, PD, PS};
use super::value::V;
use iced_x86::Mnemonic;
use softfp::{Env, f32, f64};

/// Product plus addend; the bits say what is negated first.
const ADD: u8 = 0;
const SUB: u8 = ADDEND;
const NEGATED_ADD: u8 = PRODUCT;
const NEGATED_SUB: u8 = PRODUCT | ADDEND;
const PRODUCT: u8 = 1;
const ADDEND: u8 = 2;

/// The kernel of `m`: order of the operands, what is done in even elements, and in odd ones.
#[rustfmt::skip] // One row a mnemonic.
pub fn kernel(m: Mnemonic) -> Option<(Kernel, Per)> {
    use Mnemonic::*;
    Some(match m {
        Vfmadd132ps    => (Kernel::Fp3(single::<132, ADD, ADD>), PS),
        Vfmadd132pd    => (Kernel::Fp3(double::<132, ADD, ADD>), PD),
        Vfmadd132ss    => (Kernel::Fp3(single::<132, ADD, ADD>), ONE),
        Vfmadd132sd    => (Kernel::Fp3(double::<132, ADD, ADD>), ONE),
        Vfmadd213ps    => (Kernel::Fp3(single::<213, ADD, ADD>), PS),
        Vfmadd213pd    => (Kernel::Fp3(double::<213, ADD, ADD>), PD),
        Vfmadd213ss    => (Kernel::Fp3(single::<213, ADD, ADD>), ONE),
        Vfmadd213sd    => (Kernel::Fp3(double::<213, ADD, ADD>), ONE),
        Vfmadd231ps    => (Kernel::Fp3(single::<231, ADD, ADD>), PS),
        Vfmadd231pd    => (Kernel::Fp3(double::<231, ADD, ADD>), PD),
        Vfmadd231ss    => (Kernel::Fp3(single::<231, ADD, ADD>), ONE),
        Vfmadd231sd    => (Kernel::Fp3(double::<231, ADD, ADD>), ONE),
        Vfmsub132ps    => (Kernel::Fp3(single::<132, SUB, SUB>), PS),
        Vfmsub132pd    => (Kernel::Fp3(double::<132, SUB, SUB>), PD),
        Vfmsub132ss    => (Kernel::Fp3(single::<132, SUB, SUB>), ONE),
        Vfmsub132sd    => (Kernel::Fp3(double::<132, SUB, SUB>), ONE),
        Vfmsub213ps    => (Kernel::Fp3(single::<213, SUB, SUB>), PS),
        Vfmsub213pd    => (Kernel::Fp3(double::<213, SUB, SUB>), PD),
        Vfmsub213ss    => (Kernel::Fp3(single::<213, SUB, SUB>), ONE),
        Vfmsub213sd    => (Kernel::Fp3(double::<213, SUB, SUB>), ONE),
        Vfmsub231ps    => (Kernel::Fp3(single::<231, SUB, SUB>), PS),
        Vfmsub231pd    => (Kernel::Fp3(double::<231, SUB, SUB>), PD),
        Vfmsub231ss    => (Kernel::Fp3(single::<231, SUB, SUB>), ONE),
        Vfmsub231sd    => (Kernel::Fp3(double::<231, SUB, SUB>), ONE),
        Vfnmadd132ps   => (Kernel::Fp3(single::<132, NEGATED_ADD, NEGATED_ADD>), PS),
        Vfnmadd132pd   => (Kernel::Fp3(double::<132, NEGATED_ADD, NEGATED_ADD>), PD),
        Vfnmadd132ss   => (Kernel::Fp3(single::<132, NEGATED_ADD, NEGATED_ADD>), ONE),
        Vfnmadd132sd   => (Kernel::Fp3(double::<132, NEGATED_ADD, NEGATED_ADD>), ONE),
        Vfnmadd213ps   => (Kernel::Fp3(single::<213, NEGATED_ADD, NEGATED_ADD>), PS),
        Vfnmadd213pd   => (Kernel::Fp3(double::<213, NEGATED_ADD, NEGATED_ADD>), PD),
        Vfnmadd213ss   => (Kernel::Fp3(single::<213, NEGATED_ADD, NEGATED_ADD>), ONE),
        Vfnmadd213sd   => (Kernel::Fp3(double::<213, NEGATED_ADD, NEGATED_ADD>), ONE),
        Vfnmadd231ps   => (Kernel::Fp3(single::<231, NEGATED_ADD, NEGATED_ADD>), PS),
        Vfnmadd231pd   => (Kernel::Fp3(double::<231, NEGATED_ADD, NEGATED_ADD>), PD),
        Vfnmadd231ss   => (Kernel::Fp3(single::<231, NEGATED_ADD, NEGATED_ADD>), ONE),
        Vfnmadd231sd   => (Kernel::Fp3(double::<231, NEGATED_ADD, NEGATED_ADD>), ONE),
        Vfnmsub132ps   => (Kernel::Fp3(single::<132, NEGATED_SUB, NEGATED_SUB>), PS),
        Vfnmsub132pd   => (Kernel::Fp3(double::<132, NEGATED_SUB, NEGATED_SUB>), PD),
        Vfnmsub132ss   => (Kernel::Fp3(single::<132, NEGATED_SUB, NEGATED_SUB>), ONE),
        Vfnmsub132sd   => (Kernel::Fp3(double::<132, NEGATED_SUB, NEGATED_SUB>), ONE),
        Vfnmsub213ps   => (Kernel::Fp3(single::<213, NEGATED_SUB, NEGATED_SUB>), PS),
        Vfnmsub213pd   => (Kernel::Fp3(double::<213, NEGATED_SUB, NEGATED_SUB>), PD),
        Vfnmsub213ss   => (Kernel::Fp3(single::<213, NEGATED_SUB, NEGATED_SUB>), ONE),
        Vfnmsub213sd   => (Kernel::Fp3(double::<213, NEGATED_SUB, NEGATED_SUB>), ONE),
        Vfnmsub231ps   => (Kernel::Fp3(single::<231, NEGATED_SUB, NEGATED_SUB>), PS),
        Vfnmsub231pd   => (Kernel::Fp3(double::<231, NEGATED_SUB, NEGATED_SUB>), PD),
        Vfnmsub231ss   => (Kernel::Fp3(single::<231, NEGATED_SUB, NEGATED_SUB>), ONE),
        Vfnmsub231sd   => (Kernel::Fp3(double::<231, NEGATED_SUB, NEGATED_SUB>), ONE),
        Vfmaddsub132ps => (Kernel::Fp3(single::<132, SUB, ADD>), PS),
        Vfmaddsub132pd => (Kernel::Fp3(double::<132, SUB, ADD>), PD),
        Vfmaddsub213ps => (Kernel::Fp3(single::<213, SUB, ADD>), PS),
        Vfmaddsub213pd => (Kernel::Fp3(double::<213, SUB, ADD>), PD),
        Vfmaddsub231ps => (Kernel::Fp3(single::<231, SUB, ADD>), PS),
        Vfmaddsub231pd => (Kernel::Fp3(double::<231, SUB, ADD>), PD),
        Vfmsubadd132ps => (Kernel::Fp3(single::<132, ADD, SUB>), PS),
        Vfmsubadd132pd => (Kernel::Fp3(double::<132, ADD, SUB>), PD),
        Vfmsubadd213ps => (Kernel::Fp3(single::<213, ADD, SUB>), PS),
        Vfmsubadd213pd => (Kernel::Fp3(double::<213, ADD, SUB>), PD),
        Vfmsubadd231ps => (Kernel::Fp3(single::<231, ADD, SUB>), PS),
        Vfmsubadd231pd => (Kernel::Fp3(double::<231, ADD, SUB>), PD),
        _ => return None,
    })
}

/// The factors and the addend, in the order that the digits of the mnemonic say: `c` is operand 1, `a` 2, `b` 3.
#[inline(always)]
fn order<T>(order: u16, c: T, a: T, b: T) -> (T, T, T) {
    match order {
        132 => (c, b, a),
        213 => (a, c, b),
        _ => (a, b, c),
    }
}

/// `x` with the sign changed, unless it is a NaN.
#[inline(always)]
fn negated_single(x: u32, negate: bool) -> u32 {
    x ^ u32::from(negate && x & 0x7fff_ffff <= 0x7f80_0000) << 31
}

/// `x` with the sign changed, unless it is a NaN.
#[inline(always)]
fn negated_double(x: u64, negate: bool) -> u64 {
    x ^ u64::from(negate && x & (u64::MAX >> 1) <= 0x7ff0_0000_0000_0000) << 63
}

fn single<const ORDER: u16, const EVEN: u8, const ODD: u8>(a: &V, b: &V, c: &V, n: usize, env: &mut Env) -> V {
    let mut r = *c;
    for k in 0..n {
        let what = if k & 1 == 0 { EVEN } else { ODD };
        let (x, y, z) = order::<u32>(ORDER, c.get(k), a.get(k), b.get(k));
        let (x, z) = (negated_single(x, what & PRODUCT != 0), negated_single(z, what & ADDEND != 0));
        r.put(k, f32::fma(x, y, z, env));
    }
    r
}

fn double<const ORDER: u16, const EVEN: u8, const ODD: u8>(a: &V, b: &V, c: &V, n: usize, env: &mut Env) -> V {
    let mut r = *c;
    for k in 0..n {
        let what = if k & 1 == 0 { EVEN } else { ODD };
        let (x, y, z) = order::<u64>(ORDER, c.get(k), a.get(k), b.get(k));
        let (x, z) = (negated_double(x, what & PRODUCT != 0), negated_double(z, what & ADDEND != 0));
        r.put(k, f64::fma(x, y, z, env));
    }
    r
}
