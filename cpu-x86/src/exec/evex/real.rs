//! Floating-point operations that AVX-512 adds; the operations themselves are `softfp`'s.
//!
//! Source: SDM vol. 2, the instruction of that name.

use super::approximate::{DOUBLE, SINGLE, rcp14, rsqrt14};
use super::describe::{Formula, Row};
use iced_x86::Mnemonic;
use softfp::{f32, f64};

/// A formula over singles.
macro_rules! single {
    (|$c:pat_param, $a:pat_param, $b:pat_param, $imm:pat_param, $env:pat_param| $r:expr) => {
        Row::of(
            Formula::Real(|c, a, b, $imm, $env| {
                let ($c, $a, $b) = (c as u32, a as u32, b as u32);
                u64::from($r)
            }),
            4,
        )
    };
}
/// A formula over doubles.
macro_rules! double {
    (|$c:pat_param, $a:pat_param, $b:pat_param, $imm:pat_param, $env:pat_param| $r:expr) => {
        Row::of(Formula::Real(|$c, $a, $b, $imm, $env| $r), 8)
    };
}

/// The row of `m`.
#[rustfmt::skip] // One row a mnemonic.
pub fn row(m: Mnemonic) -> Option<Row> {
    use Mnemonic::*;
    Some(match m {
        Vgetexpps | Vgetexpss     => single!(|_, _, b, _, env| f32::getexp(b, env)),
        Vgetexppd | Vgetexpsd     => double!(|_, _, b, _, env| f64::getexp(b, env)),
        Vgetmantps | Vgetmantss   => single!(|_, _, b, imm, env| f32::getmant(b, imm, env)),
        Vgetmantpd | Vgetmantsd   => double!(|_, _, b, imm, env| f64::getmant(b, imm, env)),
        Vscalefps | Vscalefss     => single!(|_, a, b, _, env| f32::scalef(a, b, env)),
        Vscalefpd | Vscalefsd     => double!(|_, a, b, _, env| f64::scalef(a, b, env)),
        Vrndscaleps | Vrndscaless => single!(|_, _, b, imm, env| f32::rndscale(b, imm, env)),
        Vrndscalepd | Vrndscalesd => double!(|_, _, b, imm, env| f64::rndscale(b, imm, env)),
        Vreduceps | Vreducess     => single!(|_, _, b, imm, env| f32::reduce(b, imm, env)),
        Vreducepd | Vreducesd     => double!(|_, _, b, imm, env| f64::reduce(b, imm, env)),
        Vrangeps | Vrangess       => single!(|_, a, b, imm, env| f32::range(a, b, imm, env)),
        Vrangepd | Vrangesd       => double!(|_, a, b, imm, env| f64::range(a, b, imm, env)),
        Vfixupimmps | Vfixupimmss => single!(|c, a, b, imm, env| f32::fixupimm(c, a, b, imm, env)),
        Vfixupimmpd | Vfixupimmsd => double!(|c, a, b, imm, env| f64::fixupimm(c, a, b as u32, imm, env)),
        Vrcp14ps | Vrcp14ss       => single!(|_, _, b, _, env| rcp14(SINGLE, b.into(), env.daz, env.ftz) as u32),
        Vrcp14pd | Vrcp14sd       => double!(|_, _, b, _, env| rcp14(DOUBLE, b, env.daz, env.ftz)),
        Vrsqrt14ps | Vrsqrt14ss   => single!(|_, _, b, _, env| rsqrt14(SINGLE, b.into(), env.daz) as u32),
        Vrsqrt14pd | Vrsqrt14sd   => double!(|_, _, b, _, env| rsqrt14(DOUBLE, b, env.daz)),
        // All ones, whose most significant bit goes to the opmask register.
        Vfpclassps | Vfpclassss   => single!(|_, _, b, imm, env| u32::from(f32::is_class(b, imm, env.daz)).wrapping_neg()),
        Vfpclasspd | Vfpclasssd   => double!(|_, _, b, imm, env| u64::from(f64::is_class(b, imm, env.daz)).wrapping_neg()),
        _ => return None,
    })
}

/// Is `m` an approximation, which raises nothing?
pub fn is_approximation(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(m, Vrcp14ps | Vrcp14ss | Vrcp14pd | Vrcp14sd | Vrsqrt14ps | Vrsqrt14ss | Vrsqrt14pd | Vrsqrt14sd)
}
