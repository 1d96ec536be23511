//! Single, double and half precision against the processor this runs on: value and flags, in every rounding, with and
//! without DAZ and FTZ, on corner lists and random operands. `SSE_CASES` sets how many
//! random ones a control setting, `SSE_SEED` the seed, which is otherwise fixed; both are printed.

#![cfg(target_arch = "x86_64")]
#![expect(unsafe_code, reason = "the oracle is the processor itself, under a chosen MXCSR")]

#[expect(dead_code, reason = "part of what the native tests of cpu-x86 draw from")]
#[path = "../../cpu-x86/tests/native/random.rs"]
mod random;

use random::{Corners, Random};
use softfp::{Env, Rounding, f16, f32, f64};
use std::arch::asm;
use std::cmp::Ordering;

const SEED: u64 = 0x5eed_0001;

fn asked(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Runs `f` with every control combination as an MXCSR value without flags, all exceptions masked.
fn for_each_mxcsr(mut f: impl FnMut(u32)) {
    for n in 0..16u32 {
        f(0x1f80 | (n & 3) << 13 | (n >> 2 & 1) << 6 | (n >> 3) << 15);
    }
}

macro_rules! oracle {
    ($name:ident, $bits:ident, $text:literal) => {
        #[inline(always)]
        fn $name(a: $bits, b: $bits, c: $bits, mxcsr: u32) -> ($bits, u8) {
            let _ = c;
            let (mut m, old, r): (u32, u32, u64) = (mxcsr, 0x1f80, 0);
            let mut r = r;
            // SAFETY: MXCSR is put back as Rust requires it; all exceptions are masked by the callers.
            unsafe {
                asm!("movq {x}, {a}", "movq {y}, {b}", "movq {z}, {c}", "ldmxcsr [{m}]", $text, "stmxcsr [{m}]", "ldmxcsr [{old}]",
                    "movq {r}, {x}", a = in(reg) u64::from(a), b = in(reg) u64::from(b), c = in(reg) u64::from(c),
                    m = in(reg) &raw mut m, old = in(reg) &raw const old, r = inout(reg) r,
                    x = out(xmm_reg) _, y = out(xmm_reg) _, z = out(xmm_reg) _);
            }
            (r as $bits, m as u8 & 63)
        }
    };
}

macro_rules! checks {
    ($module:ident, $bits:ident, $p:literal, $e:literal, [$(($test:ident, $text:literal, |$a:ident, $b:ident, $c:ident, $env:ident| $ours:expr)),* $(,)?]) => {
        mod $module {
            use super::*;
            $(
                #[test]
                fn $test() {
                    oracle!(native, $bits, $text);
                    println!("seed {:#x}, {} cases a control setting", asked("SSE_SEED", SEED), asked("SSE_CASES", 70_000));
                    let mut random = Random(asked("SSE_SEED", SEED));
                    let check = |$a: $bits, $b: $bits, $c: $bits, mxcsr: u32| {
                        let want = native($a, $b, $c, mxcsr);
                        let mut env = Env::from_mxcsr(mxcsr);
                        let $env = &mut env;
                        let got: $bits = $ours;
                        assert_eq!((got, env.flags), want, "{:#x} {:#x} {:#x} mxcsr {mxcsr:#x}: {got:#x} {:#x}, not {:#x} {:#x}",
                            $a, $b, $c, env.flags, want.0, want.1);
                        // With PE sticky the quick path opens: same bits, same flags.
                        let mut env = Env::from_mxcsr(mxcsr | 32);
                        let $env = &mut env;
                        let got: $bits = $ours;
                        assert_eq!((got, env.flags), (want.0, want.1 | 32), "quick: {:#x} {:#x} {:#x} mxcsr {mxcsr:#x}", $a, $b, $c);
                    };
                    for_each_mxcsr(|mxcsr| {
                        let corners = corners();
                        for &a in &corners {
                            for &b in &corners {
                                check(a, b, corners[random.below(corners.len() as u64) as usize], mxcsr);
                            }
                        }
                        for _ in 0..asked("SSE_CASES", 70_000) {
                            let a = random.float($e, $p - 1);
                            let b = random.float_near($e, $p - 1, a);
                            let c = random.float_near($e, $p - 1, b);
                            check(a as $bits, b as $bits, c as $bits, mxcsr);
                        }
                    });
                }
            )*
            fn corners() -> Vec<$bits> {
                let top: $bits = ((1 << $e) - 1) << ($p - 1);
                let one: $bits = ((1 << ($e - 1)) - 1) << ($p - 1);
                let ulp: $bits = 1 << ($p - 1);
                let list = [0, 1, 2, ulp >> 1, ulp - 1, ulp, ulp + 1, one - 1, one, one + 1, one + (ulp >> 1), one - ulp,
                    one + ulp, one / 2, one + one / 2, top - 1, top - 2, top - ulp, top, top + 1, top + (ulp >> 1), top + ulp - 1];
                list.iter().flat_map(|&v| [v, v | 1 << ($p - 1 + $e)]).collect()
            }
        }
    };
}

fn order_as_flags(o: Option<Ordering>) -> u64 {
    match o {
        None => 0x45,
        Some(Ordering::Less) => 1,
        Some(Ordering::Equal) => 0x40,
        Some(Ordering::Greater) => 0,
    }
}

fn rc(mxcsr: u32) -> Rounding {
    Rounding::from_bits(mxcsr >> 13)
}

checks!(
    single,
    u32,
    24,
    8,
    [
        (add_is_native, "addss {x}, {y}", |a, b, c, env| f32::add(a, b, env)),
        (sub_is_native, "subss {x}, {y}", |a, b, c, env| f32::sub(a, b, env)),
        (mul_is_native, "mulss {x}, {y}", |a, b, c, env| f32::mul(a, b, env)),
        (div_is_native, "divss {x}, {y}", |a, b, c, env| f32::div(a, b, env)),
        (sqrt_is_native, "sqrtss {x}, {x}", |a, b, c, env| f32::sqrt(a, env)),
        (fma_is_native, "vfmadd213ss {x}, {y}, {z}", |a, b, c, env| f32::fma(b, a, c, env)),
        (min_is_native, "minss {x}, {y}", |a, b, c, env| f32::min(a, b, env)),
        (max_is_native, "maxss {x}, {y}", |a, b, c, env| f32::max(a, b, env)),
        (
            quiet_compare_is_native,
            "ucomiss {x}, {y}
        pushfq
        pop {r}
        and {r}, 0x45
        movq {x}, {r}",
            |a, b, c, env| order_as_flags(f32::compare(a, b, false, env)) as u32
        ),
        (
            signaling_compare_is_native,
            "comiss {x}, {y}
        pushfq
        pop {r}
        and {r}, 0x45
        movq {x}, {r}",
            |a, b, c, env| order_as_flags(f32::compare(a, b, true, env)) as u32
        ),
        (rounding_to_integral_is_native, "roundss {x}, {x}, 4", |a, b, c, env| f32::round_to_integral(
            a,
            env.rounding,
            false,
            env
        )),
        (quiet_floor_is_native, "roundss {x}, {x}, 9", |a, b, c, env| f32::round_to_integral(
            a,
            Rounding::Down,
            true,
            env
        )),
        (
            to_i32_is_native,
            "cvtss2si {r:e}, {x}
        movd {x}, {r:e}",
            |a, b, c, env| f32::to_i32(a, env.rounding, env) as u32
        ),
        (
            truncation_to_i32_is_native,
            "cvttss2si {r:e}, {x}
        movd {x}, {r:e}",
            |a, b, c, env| f32::to_i32(a, Rounding::Zero, env) as u32
        ),
        (from_i32_is_native, "cvtsi2ss {x}, {a:e}", |a, b, c, env| f32::from_i32(a as i32, env)),
        (
            from_i64_is_native,
            "mov {r}, {a}
        shl {r}, 32
        or {r}, {b}
        cvtsi2ss {x}, {r}",
            |a, b, c, env| f32::from_i64((u64::from(a) << 32 | u64::from(b)) as i64, env)
        ),
        (
            from_half_is_native,
            "movzx {r:e}, {a:x}
        movd {x}, {r:e}
        vcvtph2ps {x}, {x}",
            |a, b, c, env| f16::to_f32(a as u16, env)
        ),
        (
            to_half_is_native,
            "vcvtps2ph {x}, {x}, 4
        movd {r:e}, {x}
        movzx {r:e}, {r:x}
        movd {x}, {r:e}",
            |a, b, c, env| u32::from(f32::to_f16(a, env))
        ),
    ]
);

checks!(
    double,
    u64,
    53,
    11,
    [
        (add_is_native, "addsd {x}, {y}", |a, b, c, env| f64::add(a, b, env)),
        (sub_is_native, "subsd {x}, {y}", |a, b, c, env| f64::sub(a, b, env)),
        (mul_is_native, "mulsd {x}, {y}", |a, b, c, env| f64::mul(a, b, env)),
        (div_is_native, "divsd {x}, {y}", |a, b, c, env| f64::div(a, b, env)),
        (sqrt_is_native, "sqrtsd {x}, {x}", |a, b, c, env| f64::sqrt(a, env)),
        (fma_is_native, "vfmadd213sd {x}, {y}, {z}", |a, b, c, env| f64::fma(b, a, c, env)),
        (min_is_native, "minsd {x}, {y}", |a, b, c, env| f64::min(a, b, env)),
        (max_is_native, "maxsd {x}, {y}", |a, b, c, env| f64::max(a, b, env)),
        (
            quiet_compare_is_native,
            "ucomisd {x}, {y}
        pushfq
        pop {r}
        and {r}, 0x45
        movq {x}, {r}",
            |a, b, c, env| order_as_flags(f64::compare(a, b, false, env))
        ),
        (
            signaling_compare_is_native,
            "comisd {x}, {y}
        pushfq
        pop {r}
        and {r}, 0x45
        movq {x}, {r}",
            |a, b, c, env| order_as_flags(f64::compare(a, b, true, env))
        ),
        (rounding_to_integral_is_native, "roundsd {x}, {x}, 4", |a, b, c, env| f64::round_to_integral(
            a,
            env.rounding,
            false,
            env
        )),
        (quiet_ceiling_is_native, "roundsd {x}, {x}, 10", |a, b, c, env| f64::round_to_integral(
            a,
            Rounding::Up,
            true,
            env
        )),
        (
            to_i32_is_native,
            "cvtsd2si {r:e}, {x}
        movd {x}, {r:e}",
            |a, b, c, env| u64::from(f64::to_i32(a, env.rounding, env) as u32)
        ),
        (
            to_i64_is_native,
            "cvtsd2si {r}, {x}
        movq {x}, {r}",
            |a, b, c, env| f64::to_i64(a, env.rounding, env) as u64
        ),
        (
            truncation_to_i64_is_native,
            "cvttsd2si {r}, {x}
        movq {x}, {r}",
            |a, b, c, env| f64::to_i64(a, Rounding::Zero, env) as u64
        ),
        (from_i64_is_native, "cvtsi2sd {x}, {a}", |a, b, c, env| f64::from_i64(a as i64, env)),
        (
            to_single_is_native,
            "xorps {y}, {y}
        cvtsd2ss {y}, {x}
        movaps {x}, {y}",
            |a, b, c, env| u64::from(f64::to_f32(a, env))
        ),
        (
            from_single_is_native,
            "xorps {y}, {y}
        cvtss2sd {y}, {x}
        movaps {x}, {y}",
            |a, b, c, env| f32::to_f64(a as u32, env)
        ),
    ]
);

#[test]
fn unsigned_conversions_give_all_ones_when_they_do_not_fit() {
    let cases: [(core::primitive::f64, Rounding, u64, u8); 9] = [
        (0.0, Rounding::Nearest, 0, 0),
        (-0.0, Rounding::Nearest, 0, 0),
        (-0.25, Rounding::Nearest, 0, 32),
        (-0.75, Rounding::Nearest, u64::MAX, 1),
        (-0.75, Rounding::Zero, 0, 32),
        (1.5, Rounding::Nearest, 2, 32),
        (18446744073709549568.0, Rounding::Nearest, 18446744073709549568, 0),
        (18446744073709551616.0, Rounding::Nearest, u64::MAX, 1),
        (core::primitive::f64::NAN, Rounding::Nearest, u64::MAX, 1),
    ];
    for (v, rounding, want, flags) in cases {
        let mut env = Env { masks: 63, ..Env::default() };
        assert_eq!((f64::to_u64(v.to_bits(), rounding, &mut env), env.flags), (want, flags), "{v}");
    }
    let mut env = Env { masks: 63, ..Env::default() };
    assert_eq!((f64::to_u32(4294967295.5_f64.to_bits(), rc(0), &mut env), env.flags), (u32::MAX, 1));
}

#[test]
fn unmasked_underflow_is_raised_by_exact_tiny_results() {
    let mut env = Env { masks: 63 & !16, ..Env::default() };
    let least_normal = core::primitive::f64::MIN_POSITIVE.to_bits();
    let half = 0.5_f64.to_bits();
    assert_eq!(f64::mul(least_normal, half, &mut env), least_normal >> 1);
    assert_eq!(env.flags, 16);
    env = Env { masks: 63, ..Env::default() };
    assert_eq!(f64::mul(least_normal, half, &mut env), least_normal >> 1);
    assert_eq!(env.flags, 0);
}
