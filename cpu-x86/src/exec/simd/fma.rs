//! Fused multiply-add.
//!
//! Source: SDM vol. 2, VFMADD132PS and its neighbours; vol. 1, 14.5.1 (which NaN is returned).

use super::describe::{Kernel, Per};
use super::fp::{ONE, PD, PS};
use super::value::{Lane, V};
use iced_x86::Mnemonic;
use softfp::{Env, f16, f32, f64};

/// Product plus addend; the bits say what is negated first.
pub(in crate::exec) const ADD: u8 = 0;
pub(in crate::exec) const SUB: u8 = ADDEND;
pub(in crate::exec) const NEGATED_ADD: u8 = PRODUCT;
pub(in crate::exec) const NEGATED_SUB: u8 = PRODUCT | ADDEND;

/// What is negated first.
pub mod sign {
    /// The product.
    pub const PRODUCT: u8 = 1;
    /// What is added to it.
    pub const ADDEND: u8 = 2;
}
use sign::{ADDEND, PRODUCT};

/// The kernel of `m`: order of the operands, what is done in even elements, and in odd ones.
#[rustfmt::skip] // One row a mnemonic.
pub fn kernel(m: Mnemonic) -> Option<(Kernel, Per)> {
    use Mnemonic::*;
    Some(match m {
        Vfmadd132ps    => (Kernel::Fp3(fused::<u32, 132, ADD, ADD>), PS),
        Vfmadd132pd    => (Kernel::Fp3(fused::<u64, 132, ADD, ADD>), PD),
        Vfmadd132ss    => (Kernel::Fp3(fused::<u32, 132, ADD, ADD>), ONE),
        Vfmadd132sd    => (Kernel::Fp3(fused::<u64, 132, ADD, ADD>), ONE),
        Vfmadd213ps    => (Kernel::Fp3(fused::<u32, 213, ADD, ADD>), PS),
        Vfmadd213pd    => (Kernel::Fp3(fused::<u64, 213, ADD, ADD>), PD),
        Vfmadd213ss    => (Kernel::Fp3(fused::<u32, 213, ADD, ADD>), ONE),
        Vfmadd213sd    => (Kernel::Fp3(fused::<u64, 213, ADD, ADD>), ONE),
        Vfmadd231ps    => (Kernel::Fp3(fused::<u32, 231, ADD, ADD>), PS),
        Vfmadd231pd    => (Kernel::Fp3(fused::<u64, 231, ADD, ADD>), PD),
        Vfmadd231ss    => (Kernel::Fp3(fused::<u32, 231, ADD, ADD>), ONE),
        Vfmadd231sd    => (Kernel::Fp3(fused::<u64, 231, ADD, ADD>), ONE),
        Vfmsub132ps    => (Kernel::Fp3(fused::<u32, 132, SUB, SUB>), PS),
        Vfmsub132pd    => (Kernel::Fp3(fused::<u64, 132, SUB, SUB>), PD),
        Vfmsub132ss    => (Kernel::Fp3(fused::<u32, 132, SUB, SUB>), ONE),
        Vfmsub132sd    => (Kernel::Fp3(fused::<u64, 132, SUB, SUB>), ONE),
        Vfmsub213ps    => (Kernel::Fp3(fused::<u32, 213, SUB, SUB>), PS),
        Vfmsub213pd    => (Kernel::Fp3(fused::<u64, 213, SUB, SUB>), PD),
        Vfmsub213ss    => (Kernel::Fp3(fused::<u32, 213, SUB, SUB>), ONE),
        Vfmsub213sd    => (Kernel::Fp3(fused::<u64, 213, SUB, SUB>), ONE),
        Vfmsub231ps    => (Kernel::Fp3(fused::<u32, 231, SUB, SUB>), PS),
        Vfmsub231pd    => (Kernel::Fp3(fused::<u64, 231, SUB, SUB>), PD),
        Vfmsub231ss    => (Kernel::Fp3(fused::<u32, 231, SUB, SUB>), ONE),
        Vfmsub231sd    => (Kernel::Fp3(fused::<u64, 231, SUB, SUB>), ONE),
        Vfnmadd132ps   => (Kernel::Fp3(fused::<u32, 132, NEGATED_ADD, NEGATED_ADD>), PS),
        Vfnmadd132pd   => (Kernel::Fp3(fused::<u64, 132, NEGATED_ADD, NEGATED_ADD>), PD),
        Vfnmadd132ss   => (Kernel::Fp3(fused::<u32, 132, NEGATED_ADD, NEGATED_ADD>), ONE),
        Vfnmadd132sd   => (Kernel::Fp3(fused::<u64, 132, NEGATED_ADD, NEGATED_ADD>), ONE),
        Vfnmadd213ps   => (Kernel::Fp3(fused::<u32, 213, NEGATED_ADD, NEGATED_ADD>), PS),
        Vfnmadd213pd   => (Kernel::Fp3(fused::<u64, 213, NEGATED_ADD, NEGATED_ADD>), PD),
        Vfnmadd213ss   => (Kernel::Fp3(fused::<u32, 213, NEGATED_ADD, NEGATED_ADD>), ONE),
        Vfnmadd213sd   => (Kernel::Fp3(fused::<u64, 213, NEGATED_ADD, NEGATED_ADD>), ONE),
        Vfnmadd231ps   => (Kernel::Fp3(fused::<u32, 231, NEGATED_ADD, NEGATED_ADD>), PS),
        Vfnmadd231pd   => (Kernel::Fp3(fused::<u64, 231, NEGATED_ADD, NEGATED_ADD>), PD),
        Vfnmadd231ss   => (Kernel::Fp3(fused::<u32, 231, NEGATED_ADD, NEGATED_ADD>), ONE),
        Vfnmadd231sd   => (Kernel::Fp3(fused::<u64, 231, NEGATED_ADD, NEGATED_ADD>), ONE),
        Vfnmsub132ps   => (Kernel::Fp3(fused::<u32, 132, NEGATED_SUB, NEGATED_SUB>), PS),
        Vfnmsub132pd   => (Kernel::Fp3(fused::<u64, 132, NEGATED_SUB, NEGATED_SUB>), PD),
        Vfnmsub132ss   => (Kernel::Fp3(fused::<u32, 132, NEGATED_SUB, NEGATED_SUB>), ONE),
        Vfnmsub132sd   => (Kernel::Fp3(fused::<u64, 132, NEGATED_SUB, NEGATED_SUB>), ONE),
        Vfnmsub213ps   => (Kernel::Fp3(fused::<u32, 213, NEGATED_SUB, NEGATED_SUB>), PS),
        Vfnmsub213pd   => (Kernel::Fp3(fused::<u64, 213, NEGATED_SUB, NEGATED_SUB>), PD),
        Vfnmsub213ss   => (Kernel::Fp3(fused::<u32, 213, NEGATED_SUB, NEGATED_SUB>), ONE),
        Vfnmsub213sd   => (Kernel::Fp3(fused::<u64, 213, NEGATED_SUB, NEGATED_SUB>), ONE),
        Vfnmsub231ps   => (Kernel::Fp3(fused::<u32, 231, NEGATED_SUB, NEGATED_SUB>), PS),
        Vfnmsub231pd   => (Kernel::Fp3(fused::<u64, 231, NEGATED_SUB, NEGATED_SUB>), PD),
        Vfnmsub231ss   => (Kernel::Fp3(fused::<u32, 231, NEGATED_SUB, NEGATED_SUB>), ONE),
        Vfnmsub231sd   => (Kernel::Fp3(fused::<u64, 231, NEGATED_SUB, NEGATED_SUB>), ONE),
        Vfmaddsub132ps => (Kernel::Fp3(fused::<u32, 132, SUB, ADD>), PS),
        Vfmaddsub132pd => (Kernel::Fp3(fused::<u64, 132, SUB, ADD>), PD),
        Vfmaddsub213ps => (Kernel::Fp3(fused::<u32, 213, SUB, ADD>), PS),
        Vfmaddsub213pd => (Kernel::Fp3(fused::<u64, 213, SUB, ADD>), PD),
        Vfmaddsub231ps => (Kernel::Fp3(fused::<u32, 231, SUB, ADD>), PS),
        Vfmaddsub231pd => (Kernel::Fp3(fused::<u64, 231, SUB, ADD>), PD),
        Vfmsubadd132ps => (Kernel::Fp3(fused::<u32, 132, ADD, SUB>), PS),
        Vfmsubadd132pd => (Kernel::Fp3(fused::<u64, 132, ADD, SUB>), PD),
        Vfmsubadd213ps => (Kernel::Fp3(fused::<u32, 213, ADD, SUB>), PS),
        Vfmsubadd213pd => (Kernel::Fp3(fused::<u64, 213, ADD, SUB>), PD),
        Vfmsubadd231ps => (Kernel::Fp3(fused::<u32, 231, ADD, SUB>), PS),
        Vfmsubadd231pd => (Kernel::Fp3(fused::<u64, 231, ADD, SUB>), PD),
        _ => return None,
    })
}

/// What a fused product and sum is made of.
pub trait Real: Lane {
    /// With the sign changed if `negate`, unless it is a NaN.
    fn negated(self, negate: bool) -> Self;
    /// The product of the first two plus the third.
    fn fma(self, y: Self, z: Self, env: &mut Env) -> Self;
}

macro_rules! real {
    ($lane:ty, $infinity:literal, $fma:path) => {
        impl Real for $lane {
            #[inline(always)]
            fn negated(self, negate: bool) -> $lane {
                self ^ <$lane>::from(negate && self & (<$lane>::MAX >> 1) <= $infinity) << (<$lane>::BITS - 1)
            }
            #[inline(always)]
            fn fma(self, y: $lane, z: $lane, env: &mut Env) -> $lane {
                $fma(self, y, z, env)
            }
        }
    };
}
real!(u16, 0x7c00, f16::fma);
real!(u32, 0x7f80_0000, f32::fma);
real!(u64, 0x7ff0_0000_0000_0000, f64::fma);

/// The factors and the addend are in the order that the digits of the mnemonic say: `c` is operand 1, `a` 2, `b` 3.
pub(in crate::exec) fn fused<T: Real, const ORDER: u16, const EVEN: u8, const ODD: u8>(
    a: &V,
    b: &V,
    c: &V,
    n: usize,
    env: &mut Env,
) -> V {
    let mut r = *c;
    for k in 0..n {
        let what = if k & 1 == 0 { EVEN } else { ODD };
        let (a, b, c): (T, T, T) = (a.get(k), b.get(k), c.get(k));
        let (x, y, z) = match ORDER {
            132 => (c, b, a),
            213 => (a, c, b),
            _ => (a, b, c),
        };
        r.put(k, x.negated(what & PRODUCT != 0).fma(y, z.negated(what & ADDEND != 0), env));
    }
    r
}
