//! The extended real on any host: transcendental values to the last bit, arithmetic against the host's doubles, and a
//! table of what the rules say of special values. The comparison with hardware is `cpu-x86/tests/x87_native.rs`.

use softfp::f80::{self, Operand, Precision};
use softfp::{Env, F80, Rounding, flag};

const SEED: u64 = 0x5eed_0080;

type Pair = (u16, u64);

fn v((sign_exponent, significand): Pair) -> F80 {
    F80 { significand, sign_exponent }
}

fn env() -> Env {
    Env { masks: flag::ALL, ..Env::default() }
}

const ONE: Pair = (0x3fff, 0x8000_0000_0000_0000);
const TWO: Pair = (0x4000, 0x8000_0000_0000_0000);
const HALF: Pair = (0x3ffe, 0x8000_0000_0000_0000);
const THREE: Pair = (0x4000, 0xc000_0000_0000_0000);

/// x, and the values nearest to its sine, cosine and tangent (of the processor's pi): mpmath, 300 bits.
#[rustfmt::skip] // a table
const TRIGONOMETRIC: [[Pair; 4]; 5] = [
    [ONE, (0x3ffe, 0xd76aa47848677021), (0x3ffe, 0x8a51407da8345c92), (0x3fff, 0xc75922e5f71d2dc5)],
    [HALF, (0x3ffd, 0xf57743a2582f7f44), (0x3ffe, 0xe0a94032dbea7cee), (0x3ffe, 0x8bda7adf9a3a5219)],
    [THREE, (0x3ffc, 0x9081c36db6aada79), (0xbffe, 0xfd7025f42f2e9308), (0xbffc, 0x91f7b892a5c37866)],
    [(0x4005, 0xc800000000000000), (0xbffe, 0x81a12dbc626dc036), (0x3ffe, 0xdcc0edfb32fefb21), (0xbffe, 0x9653a6b15ae9bd79)],
    [(0xc030, 0xe35fa931a0000000), (0xbffe, 0xdbb7b8f40de0426e), (0xbffe, 0x8360bcba0acc128f), (0x3fff, 0xd6118703d2409693)],
];

#[test]
fn trigonometric_functions_give_the_nearest_value() {
    for [x, s, c, t] in TRIGONOMETRIC {
        let a = Operand::from(v(x));
        assert_eq!(f80::sin(&a, &mut env()), Some(v(s)));
        assert_eq!(f80::cos(&a, &mut env()), Some(v(c)));
        assert_eq!(f80::sin_cos(&a, &mut env()), Some((v(s), v(c))));
        assert_eq!(f80::tan(&a, &mut env()), Some((v(t), F80::ONE)));
    }
    let far = Operand::from(v((0x403e, 0x8000_0000_0000_0000)));
    assert_eq!(f80::sin(&far, &mut env()), None, "2^63 is out of range");
}

/// Operands and the nearest result: mpmath, 300 bits.
#[rustfmt::skip] // a table
const ANGLES: [[Pair; 3]; 6] = [
    [ONE, ONE, (0x3ffe, 0xc90fdaa22168c235)],
    [ONE, TWO, (0x3ffd, 0xed63382b0dda7b45)],
    [(0xc000, 0xc000000000000000), ONE, (0xbfff, 0x9fe0bb5bd42affec)],
    [ONE, (0xc002, 0xa000000000000000), (0x4000, 0xc2aee20168b5af26)],
    [(0x3f9b, 0x8000000000000000), THREE, (0x3f99, 0xaaaaaaaaaaaaaaab)],
    [(0x4045, 0x8000000000000000), (0xbfff, 0x8000000000000000), (0x3fff, 0xc90fdaa22168c235)],
];
#[rustfmt::skip] // a table
const LOGARITHMS: [[Pair; 3]; 4] = [
    [ONE, (0x4002, 0xa000000000000000), (0x4000, 0xd49a784bcd1b8afe)],
    [THREE, (0x3ffe, 0xc000000000000000), (0xbfff, 0x9f5fd8a9063e3491)],
    [(0xbfff, 0x8000000000000000), (0x5388, 0xc000000000000000), (0xc00b, 0x9c4cae00d1cfdeb4)],
    [ONE, (0x3fff, 0x8000000000000001), (0x3fc0, 0xb8aa3b295c17f0bb)],
];
#[rustfmt::skip] // a table
const LOGARITHMS_OF_ONE_MORE: [[Pair; 3]; 3] = [
    [ONE, (0x3ffd, 0x8000000000000000), (0x3ffd, 0xa4d3c25e68dc57f2)],
    [TWO, (0xbffd, 0x8000000000000000), (0xbffe, 0xd47fcb8c0852f0c1)],
    [ONE, (0x3faf, 0x8000000000000000), (0x3faf, 0xb8aa3b295c17f0bc)],
];
#[rustfmt::skip] // a table
const POWERS: [[Pair; 2]; 5] = [
    [HALF, (0x3ffd, 0xd413cccfe7799211)],
    [(0xbffe, 0x8000000000000000), (0xbffd, 0x95f619980c4336f7)],
    [(0x3ffe, 0xc000000000000000), (0x3ffe, 0xae89f995ad3ad5e8)],
    [(0xbffe, 0xe000000000000000), (0xbffd, 0xe8d47c382ae85232)],
    [(0x3fb9, 0x8000000000000000), (0x3fb8, 0xb17217f7d1cf79ac)],
];

#[test]
fn angles_logarithms_and_powers_give_the_nearest_value() {
    let check = |got: F80, e: Env, want: Pair| assert_eq!((got, e.flags), (v(want), flag::PE));
    for [y, x, r] in ANGLES {
        let mut e = env();
        check(f80::atan2(&v(y).into(), &v(x).into(), &mut e), e, r);
    }
    for [y, x, r] in LOGARITHMS {
        let mut e = env();
        check(f80::y_log2(&v(y).into(), &v(x).into(), &mut e), e, r);
    }
    for [y, x, r] in LOGARITHMS_OF_ONE_MORE {
        let mut e = env();
        check(f80::y_log2_plus_1(&v(y).into(), &v(x).into(), &mut e), e, r);
    }
    for [x, r] in POWERS {
        let mut e = env();
        check(f80::exp2m1(&v(x).into(), &mut e), e, r);
    }
}

fn bits(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    *state ^ *state >> 29
}

#[test]
fn double_precision_control_is_the_hosts_double_in_the_normal_range() {
    println!("seed {SEED:#x}");
    let mut state = SEED;
    for _ in 0..200_000 {
        let mut next = || {
            let b = bits(&mut state);
            (b & 0x800f_ffff_ffff_ffff) | (0x3ff - 100 + (b >> 52) % 200) << 52
        };
        let (a, b) = (next(), next());
        let (x, y) = (f64::from_bits(a), f64::from_bits(b));
        let (p, q) = (Operand::f64(a), Operand::f64(b));
        let mut e = env();
        for (got, want) in [
            (f80::add(&p, &q, Precision::Double, &mut e), x + y),
            (f80::sub(&p, &q, Precision::Double, &mut e), x - y),
            (f80::mul(&p, &q, Precision::Double, &mut e), x * y),
            (f80::div(&p, &q, Precision::Double, &mut e), x / y),
            (f80::sqrt(&Operand::f64(a & !(1 << 63)), Precision::Double, &mut e), x.abs().sqrt()),
        ] {
            let mut exact = env();
            assert_eq!((f80::to_f64(got, &mut exact), exact.flags), (want.to_bits(), 0), "{x:e} {y:e}");
        }
    }
}

#[test]
fn of_two_nans_the_quiet_then_the_larger_then_the_positive_one_comes_back() {
    let [small, large, signaling] = [0xc000_0000_0000_0001, 0xc000_0000_0000_0002, 0xa000_0000_0000_0000];
    for (a, b, want, flags) in [
        ((0xffff, small), (0x7fff, large), (0x7fff, large), 0),
        ((0xffff, small), (0x7fff, small), (0x7fff, small), 0),
        ((0x7fff, signaling), (0xffff, small), (0xffff, small), flag::IE),
        ((0x7fff, signaling), ONE, (0x7fff, signaling | 1 << 62), flag::IE),
        ((0x3fff, 1), (0x7fff, large), (0xffff, 0xc000_0000_0000_0000), flag::IE),
    ] {
        for (a, b) in [(a, b), (b, a)] {
            let mut e = env();
            let got = f80::add(&v(a).into(), &v(b).into(), Precision::Extended, &mut e);
            assert_eq!((got, e.flags), (v(want), flags));
        }
    }
}

#[test]
fn unmasked_overflow_and_underflow_adjust_the_exponent() {
    let (huge, tiny) = ((0x7ffe, 1 << 63), (0x0001, 1 << 63));
    let mut e = Env { masks: flag::ALL & !(flag::OE | flag::UE), ..Env::default() };
    let r = f80::mul(&v(huge).into(), &v(huge).into(), Precision::Extended, &mut e);
    assert_eq!((r, e.flags), (v((0x7ffe + 0x3fff - 0x6000, 1 << 63)), flag::OE));
    e.flags = 0;
    let r = f80::mul(&v(tiny).into(), &v(HALF).into(), Precision::Extended, &mut e);
    assert_eq!((r, e.flags), (v((0x6000, 1 << 63)), flag::UE));
}

#[test]
fn packed_decimals_round_and_overflow() {
    let mut digits = [0x78, 0x56, 0x34, 0x12, 0x90, 0x78, 0x56, 0x34, 0x12, 0x80];
    let x = f80::from_bcd(digits);
    assert_eq!(f80::to_integer(x, 64, Rounding::Nearest, &mut env()), -123_456_789_012_345_678);
    assert_eq!(f80::to_bcd(x, &mut env()), digits);
    digits = [0x99; 10];
    digits[9] = 0;
    let most = f80::from_bcd(digits);
    assert_eq!(f80::to_bcd(most, &mut env()), digits);
    let one_more = f80::add(&most.into(), &v(ONE).into(), Precision::Extended, &mut env());
    let mut e = env();
    assert_eq!((f80::to_bcd(one_more, &mut e), e.flags), (f80::BCD_INDEFINITE, flag::IE));
    let mut e = Env { rounding: Rounding::Up, ..env() };
    let half = f80::to_bcd(v(HALF), &mut e);
    assert_eq!((half[0], e.flags, e.rounded_up), (1, flag::PE, true));
}

#[test]
fn an_incomplete_remainder_is_finished_by_repeating() {
    // 2^200 mod 10 is 6, and the quotient is (2^200 - 6) / 10, whose low three bits are 1.
    let (mut x, ten) = (v((0x3fff + 200, 1 << 63)), v((0x4002, 0xa000_0000_0000_0000)));
    for rounds in 1.. {
        let p = f80::prem(&x.into(), &ten.into(), false, &mut env());
        x = p.remainder;
        if !p.incomplete {
            assert_eq!((x, p.quotient, rounds), (v((0x4001, 0xc000_0000_0000_0000)), 1, 4));
            break;
        }
    }
}
