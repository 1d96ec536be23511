//! Half precision against an independent formula: the exact value, and the place it has in the table of all halves.
//!
//! Every result and flag in all four roundings: unary operations and narrowing of 16-bit integers exhaustively, binary
//! and ternary ones by samples that favour corners. `HALF_SAMPLES` sets how many.

use emu_core::Random;
use softfp::{Env, Rounding, f16, f32 as single, f64 as double, flag};
use std::cmp::Ordering;

const ROUNDINGS: [Rounding; 4] = [Rounding::Nearest, Rounding::Down, Rounding::Up, Rounding::Zero];
const INFINITY: u16 = 0x7c00;
const INDEFINITE: u16 = 0xfe00;

/// A half, corners among them.
fn half(random: &mut Random) -> u16 {
    const CORNERS: [u16; 16] =
        [0, 1, 2, 0x3ff, 0x400, 0x401, 0x7bff, 0x7bfe, 0x7c00, 0x7c01, 0x7e00, 0x3c00, 0x3bff, 0x3c01, 0x4000, 0x200];
    let v = random.next();
    let sign = (v as u16) & 0x8000;
    match v >> 16 & 7 {
        0 => sign | CORNERS[(v >> 20) as usize & 15],
        1 => sign | (v >> 32) as u16 & 0x3ff,
        2 => sign | (0x3c00 + ((v >> 32) as u16 & 0x7ff)),
        _ => (v >> 32) as u16,
    }
}

fn samples() -> u64 {
    std::env::var("HALF_SAMPLES").map_or(400_000, |n| n.parse().unwrap())
}

fn is_nan(x: u16) -> bool {
    x & 0x7fff > INFINITY
}

fn is_denormal(x: u16) -> bool {
    (1..0x400).contains(&(x & 0x7fff))
}

/// The value of a finite half in units of 2^-48.
fn exact(x: u16) -> i128 {
    let (field, fraction) = (x >> 10 & 31, i128::from(x & 0x3ff));
    let magnitude = if field == 0 { fraction } else { (fraction + 0x400) << (field - 1) } << 24;
    if x & 0x8000 != 0 { -magnitude } else { magnitude }
}

/// The value of a half, infinities included.
fn real(x: u16) -> f64 {
    let magnitude = if x & 0x7fff == INFINITY { f64::INFINITY } else { exact(x & 0x7fff) as f64 / 2f64.powi(48) };
    if x & 0x8000 != 0 { -magnitude } else { magnitude }
}

fn env(rounding: Rounding) -> Env {
    // DAZ and FTZ concern no half.
    Env { rounding, masks: flag::ALL, daz: true, ftz: true, ..Env::default() }
}

/// How a magnitude lies to the bound of two neighbours, and to their middle.
trait Magnitude: Copy {
    /// Against `k` + `half` / 2 in the row of halves, 7C00h standing for 65536.
    fn against(self, k: u16, half: bool) -> Ordering;
    /// Times a power of two.
    fn scaled(self, by: u32) -> Self;
}

/// In units of 2^-49: twice the place of `k`, or the middle of it and the next.
fn place(k: u16, half: bool) -> i128 {
    let at = |k: u16| exact(k);
    if half { at(k) + at(k + 1) } else { 2 * at(k) }
}

impl Magnitude for i128 {
    fn against(self, k: u16, half: bool) -> Ordering {
        (2 * self).cmp(&place(k, half))
    }
    fn scaled(self, by: u32) -> i128 {
        self << by
    }
}

impl Magnitude for f64 {
    fn against(self, k: u16, half: bool) -> Ordering {
        self.partial_cmp(&(place(k, half) as f64 / 2f64.powi(49))).unwrap()
    }
    fn scaled(self, by: u32) -> f64 {
        self * 2f64.powi(by as i32)
    }
}

/// `v` in the row of halves, rounded, and whether that was inexact. Beyond the row: its end.
fn in_row<T: Magnitude>(v: T, negative: bool, rounding: Rounding) -> (u16, bool) {
    let (mut low, mut high) = (0u16, INFINITY);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if v.against(middle, false) == Ordering::Less {
            high = middle;
        } else {
            low = middle;
        }
    }
    if v.against(INFINITY, false) != Ordering::Less {
        return (INFINITY, v.against(INFINITY, false) == Ordering::Greater);
    }
    let up = match rounding {
        Rounding::Nearest => match v.against(low, true) {
            Ordering::Equal => low & 1 != 0,
            order => order == Ordering::Greater,
        },
        Rounding::Down => negative,
        Rounding::Up => !negative,
        Rounding::Zero => false,
    };
    let inexact = v.against(low, false) != Ordering::Equal;
    (low + u16::from(up && inexact), inexact)
}

/// What rounding the magnitude `v` gives, with its flags.
fn rounded<T: Magnitude>(v: T, negative: bool, rounding: Rounding) -> (u16, u8) {
    let sign = u16::from(negative) << 15;
    let (row, inexact) = in_row(v, negative, rounding);
    if row == INFINITY {
        let away =
            matches!((rounding, negative), (Rounding::Nearest, _) | (Rounding::Down, true) | (Rounding::Up, false));
        return (sign | if away { INFINITY } else { INFINITY - 1 }, flag::OE | flag::PE);
    }
    let mut flags = if inexact { flag::PE } else { 0 };
    // Tiny: below the least normal also when rounded as if there were no least exponent.
    if inexact && row <= 0x400 && (row < 0x400 || in_row(v.scaled(14), negative, rounding).0 < 0x3c00) {
        flags |= flag::UE;
    }
    (sign | row, flags)
}

/// The NaN that operands give, with IE when one signals.
fn nan(operands: &[u16]) -> Option<(u16, u8)> {
    let first = operands.iter().find(|x| is_nan(**x))?;
    let signals = operands.iter().any(|x| is_nan(*x) && x & 0x200 == 0);
    Some((first | 0x200, u8::from(signals)))
}

fn denormals(operands: &[u16]) -> u8 {
    if operands.iter().any(|x| is_denormal(*x)) { flag::DE } else { 0 }
}

/// An exact finite result; a zero has the sign `zero`.
fn finite(v: i128, zero: bool, operands: &[u16], rounding: Rounding) -> (u16, u8) {
    if v == 0 {
        return (u16::from(zero) << 15, denormals(operands));
    }
    let (r, flags) = rounded(v.abs(), v < 0, rounding);
    (r, flags | denormals(operands))
}

fn is_infinite(x: u16) -> bool {
    x & 0x7fff == INFINITY
}

/// The sign of a zero sum of terms of these signs.
fn zero_sum(a: bool, b: bool, rounding: Rounding) -> bool {
    if a == b { a } else { rounding == Rounding::Down }
}

fn sum(a: u16, b: u16, rounding: Rounding) -> (u16, u8) {
    if let Some(r) = nan(&[a, b]) {
        return r;
    }
    match (is_infinite(a), is_infinite(b)) {
        (true, true) if a != b => (INDEFINITE, flag::IE),
        (true, _) => (a, denormals(&[b])),
        (_, true) => (b, denormals(&[a])),
        _ => {
            let zero = zero_sum(a & 0x8000 != 0, b & 0x8000 != 0, rounding);
            finite(exact(a) + exact(b), zero, &[a, b], rounding)
        }
    }
}

fn product_and_sum(a: u16, b: u16, c: u16, rounding: Rounding) -> (u16, u8) {
    if let Some(r) = nan(&[a, b, c]) {
        return r;
    }
    let negative = (a ^ b) & 0x8000 != 0;
    let signed = u16::from(negative) << 15 | INFINITY;
    if is_infinite(a) || is_infinite(b) {
        if a << 1 == 0 || b << 1 == 0 || is_infinite(c) && c != signed {
            return (INDEFINITE, flag::IE);
        }
        return (signed, denormals(&[a, b, c]));
    }
    if is_infinite(c) {
        return (c, denormals(&[a, b]));
    }
    // The product of units of 2^-24 is one of 2^-48.
    let v = (exact(a) >> 24) * (exact(b) >> 24) + exact(c);
    let zero =
        if a << 1 == 0 || b << 1 == 0 || v == 0 { zero_sum(negative, c & 0x8000 != 0, rounding) } else { negative };
    finite(v, zero, &[a, b, c], rounding)
}

fn product(a: u16, b: u16, rounding: Rounding) -> (u16, u8) {
    if let Some(r) = nan(&[a, b]) {
        return r;
    }
    let negative = (a ^ b) & 0x8000 != 0;
    match (is_infinite(a) || is_infinite(b), a << 1 == 0 || b << 1 == 0) {
        (true, true) => (INDEFINITE, flag::IE),
        (true, _) => (u16::from(negative) << 15 | INFINITY, denormals(&[a, b])),
        _ => finite((exact(a) >> 24) * (exact(b) >> 24), negative, &[a, b], rounding),
    }
}

fn quotient(a: u16, b: u16, rounding: Rounding) -> (u16, u8) {
    if let Some(r) = nan(&[a, b]) {
        return r;
    }
    let negative = (a ^ b) & 0x8000 != 0;
    let sign = u16::from(negative) << 15;
    match (is_infinite(a), is_infinite(b), a << 1 == 0, b << 1 == 0) {
        (true, true, ..) | (_, _, true, true) => (INDEFINITE, flag::IE),
        (true, ..) => (sign | INFINITY, denormals(&[b])),
        (_, _, _, true) => (sign | INFINITY, flag::ZE),
        (_, true, ..) | (_, _, true, _) => (sign, denormals(&[a, b])),
        _ => {
            // A quotient of two halves that is no half or middle of two differs from it by more than a double shows.
            let (r, flags) = rounded((real(a) / real(b)).abs(), negative, rounding);
            (r, flags | denormals(&[a, b]))
        }
    }
}

fn root(a: u16, rounding: Rounding) -> (u16, u8) {
    if let Some(r) = nan(&[a]) {
        return r;
    }
    match a {
        0 | 0x8000 => (a, 0),
        0x8001.. => (INDEFINITE, flag::IE),
        INFINITY => (a, 0),
        _ => {
            let (r, flags) = rounded(real(a).sqrt(), false, rounding);
            (r, flags | denormals(&[a]))
        }
    }
}

/// `f` in the environment of `rounding`, with its flags.
fn run(rounding: Rounding, f: impl FnOnce(&mut Env) -> u16) -> (u16, u8) {
    let mut e = env(rounding);
    let r = f(&mut e);
    assert!(e.daz && e.ftz, "the controls are the caller's");
    (r, e.flags)
}

#[test]
fn sums_products_and_quotients_are_the_exact_ones_rounded_once() {
    let mut random = Random(1);
    for n in 0..samples() {
        let (a, b, c) = (half(&mut random), half(&mut random), half(&mut random));
        let rounding = ROUNDINGS[n as usize & 3];
        let why = || format!("{a:04x} {b:04x} {c:04x} {rounding:?}");
        assert_eq!(run(rounding, |e| f16::add(a, b, e)), sum(a, b, rounding), "add {}", why());
        assert_eq!(run(rounding, |e| f16::mul(a, b, e)), product(a, b, rounding), "mul {}", why());
        assert_eq!(run(rounding, |e| f16::div(a, b, e)), quotient(a, b, rounding), "div {}", why());
        assert_eq!(run(rounding, |e| f16::fma(a, b, c, e)), product_and_sum(a, b, c, rounding), "fma {}", why());
        if !is_nan(b) {
            assert_eq!(run(rounding, |e| f16::sub(a, b, e)), sum(a, b ^ 0x8000, rounding), "sub {}", why());
        }
    }
}

#[test]
fn comparisons_order_by_value() {
    let mut random = Random(2);
    for _ in 0..samples() {
        let (a, b) = (half(&mut random), half(&mut random));
        let order = if is_nan(a) || is_nan(b) { None } else { real(a).partial_cmp(&real(b)) };
        let signals = [a, b].iter().any(|x| is_nan(*x) && x & 0x200 == 0);
        let denormal = if order.is_some() { denormals(&[a, b]) } else { 0 };
        for signaling in [false, true] {
            let mut e = env(Rounding::Nearest);
            assert_eq!(f16::compare(a, b, signaling, &mut e), order);
            let invalid = signals || signaling && order.is_none();
            assert_eq!(e.flags, u8::from(invalid) | denormal, "{a:04x} {b:04x}");
        }
        let least = if order == Some(Ordering::Less) { a } else { b };
        let most = if order == Some(Ordering::Greater) { a } else { b };
        let flags = u8::from(order.is_none()) | denormal;
        assert_eq!(run(Rounding::Nearest, |e| f16::min(a, b, e)), (least, flags));
        assert_eq!(run(Rounding::Nearest, |e| f16::max(a, b, e)), (most, flags));
    }
}

#[test]
fn roots_exponents_significands_and_classes_of_every_half() {
    for a in 0..=u16::MAX {
        for rounding in ROUNDINGS {
            assert_eq!(run(rounding, |e| f16::sqrt(a, e)), root(a, rounding), "sqrt {a:04x} {rounding:?}");
        }
        let exponent = match a & 0x7fff {
            _ if is_nan(a) => nan(&[a]).unwrap(),
            0 => (0xfc00, 0),
            INFINITY => (INFINITY, 0),
            m => {
                let log = real(m).log2().floor();
                let (r, _) = rounded(log.abs(), log < 0.0, Rounding::Nearest);
                (if log == 0.0 { 0 } else { r }, denormals(&[a]))
            }
        };
        assert_eq!(run(Rounding::Up, |e| f16::getexp(a, e)), exponent, "getexp {a:04x}");
        for imm in 0..16u8 {
            assert_eq!(run(Rounding::Up, |e| f16::getmant(a, imm, e)), significand(a, imm), "getmant {a:04x} {imm}");
        }
        let negative = a & 0x8000 != 0;
        let class = [
            is_nan(a) && a & 0x200 != 0,
            a == 0,
            a == 0x8000,
            a == INFINITY,
            a == 0xfc00,
            is_denormal(a),
            negative && !is_nan(a) && !is_infinite(a) && a != 0x8000,
            is_nan(a) && a & 0x200 == 0,
        ];
        for imm in [0, 1, 2, 4, 8, 16, 32, 64, 128, 255u8] {
            let want = class.iter().enumerate().any(|(bit, holds)| *holds && imm >> bit & 1 != 0);
            assert_eq!(f16::is_class(a, imm), want, "class {a:04x} {imm}");
        }
    }
}

/// VGETMANTPH's result. Source: SDM vol. 2, table of VGETMANTPH.
fn significand(a: u16, imm: u8) -> (u16, u8) {
    if let Some(r) = nan(&[a]) {
        return r;
    }
    let negative = a & 0x8000 != 0;
    let sign = if imm & 4 != 0 { 0 } else { a & 0x8000 };
    if a << 1 == 0 {
        return (sign | 0x3c00, 0);
    }
    if negative && imm & 8 != 0 {
        return (INDEFINITE, flag::IE);
    }
    if is_infinite(a) {
        return (sign | 0x3c00, 0);
    }
    let magnitude = real(a & 0x7fff);
    let exponent = magnitude.log2().floor();
    let one_to_two = magnitude / 2f64.powf(exponent);
    let v = match imm & 3 {
        0 => one_to_two,
        1 => one_to_two / if exponent.rem_euclid(2.0) == 0.0 { 1.0 } else { 2.0 },
        2 => one_to_two / 2.0,
        _ => one_to_two / if one_to_two < 1.5 { 1.0 } else { 2.0 },
    };
    (sign | rounded(v, false, Rounding::Nearest).0, denormals(&[a]))
}

#[test]
fn rounding_to_fractions_and_what_it_takes_away_of_every_half() {
    for a in (0..=u16::MAX).filter(|a| !is_nan(*a)) {
        for scale in [0u8, 1, 3, 7, 10, 15] {
            for (rounding, mode) in ROUNDINGS.into_iter().zip(0u8..) {
                let imm = scale << 4 | mode;
                if is_infinite(a) {
                    assert_eq!(run(Rounding::Nearest, |e| f16::rndscale(a, imm, e)), (a, 0));
                    assert_eq!(run(Rounding::Nearest, |e| f16::reduce(a, imm, e)), (0, 0));
                    continue;
                }
                let by = 2f64.powi(i32::from(scale));
                let v = real(a) * by;
                let whole = match rounding {
                    Rounding::Nearest => v.round_ties_even(),
                    Rounding::Down => v.floor(),
                    Rounding::Up => v.ceil(),
                    Rounding::Zero => v.trunc(),
                } / by;
                let inexact = if whole == real(a) { 0 } else { flag::PE };
                let sign = a & 0x8000;
                let want = if whole == 0.0 { sign } else { rounded(whole.abs(), whole < 0.0, Rounding::Nearest).0 };
                let got = run(Rounding::Up, |e| f16::rndscale(a, imm, e));
                assert_eq!(got, (want, inexact), "rndscale {a:04x} {imm:02x}");
                assert_eq!(run(Rounding::Up, |e| f16::rndscale(a, imm | 8, e)), (want, 0));
                let rest = real(a) - whole;
                let zero = u16::from(rounding == Rounding::Down) << 15;
                let (rest, _) = if rest == 0.0 { (zero, 0) } else { rounded(rest.abs(), rest < 0.0, rounding) };
                let got = run(Rounding::Up, |e| f16::reduce(a, imm, e));
                assert_eq!(got.0, rest, "reduce {a:04x} {imm:02x}");
                assert_eq!(got.1 & !flag::PE, 0, "reduce {a:04x} {imm:02x}");
            }
        }
    }
}

#[test]
fn scaling_multiplies_by_a_power_of_two_and_rounds_once() {
    let mut random = Random(3);
    for n in 0..samples() {
        let (a, b) = (half(&mut random), half(&mut random));
        let rounding = ROUNDINGS[n as usize & 3];
        if is_nan(a) || is_nan(b) || is_infinite(a) || is_infinite(b) || a << 1 == 0 {
            continue;
        }
        let by = real(b).floor().clamp(-200.0, 200.0);
        let v = real(a & 0x7fff) * 2f64.powf(by);
        let (r, flags) = rounded(v, a & 0x8000 != 0, rounding);
        let want = (r, flags | denormals(&[a]));
        assert_eq!(run(rounding, |e| f16::scalef(a, b, e)), want, "{a:04x} {b:04x} {rounding:?}");
    }
}

#[test]
fn integers_become_halves_and_back() {
    for rounding in ROUNDINGS {
        let signed = |v: i64| {
            let want = finite(i128::from(v) << 48, false, &[], rounding);
            assert_eq!(run(rounding, |e| f16::from_signed(v, e)), want, "{v} {rounding:?}");
        };
        (i64::from(i16::MIN)..=i64::from(u16::MAX)).for_each(signed);
        let mut random = Random(4);
        for _ in 0..samples() / 8 {
            let v = random.next() as i64 >> (random.next() & 63);
            signed(v);
            let want = finite(i128::from(v.cast_unsigned()) << 48, false, &[], rounding);
            assert_eq!(run(rounding, |e| f16::from_unsigned(v.cast_unsigned(), e)), want, "{v:#x}");
        }
        for a in 0..=u16::MAX {
            let v = real(a);
            let whole = match rounding {
                Rounding::Nearest => v.round_ties_even(),
                Rounding::Down => v.floor(),
                Rounding::Up => v.ceil(),
                Rounding::Zero => v.trunc(),
            };
            let inexact = if whole == v { 0 } else { flag::PE };
            for bits in [16u32, 32, 64] {
                let fits = !is_nan(a) && whole >= -2f64.powi(bits as i32 - 1) && whole < 2f64.powi(bits as i32 - 1);
                let want = if fits { (whole as i64, inexact) } else { (i64::MIN >> (64 - bits), flag::IE) };
                let mut e = env(Rounding::Nearest);
                assert_eq!((f16::to_signed(a, bits, rounding, &mut e), e.flags), want, "{a:04x} to i{bits}");
                let fits = !is_nan(a) && whole >= 0.0 && whole < 2f64.powi(bits as i32);
                let want = if fits { (whole as u64, inexact) } else { (u64::MAX >> (64 - bits), flag::IE) };
                let mut e = env(Rounding::Nearest);
                assert_eq!((f16::to_unsigned(a, bits, rounding, &mut e), e.flags), want, "{a:04x} to u{bits}");
            }
        }
    }
}

#[test]
fn widening_is_exact_and_tells_of_denormals_where_fp16_does() {
    for a in 0..=u16::MAX {
        let (mut plain, mut telling) = (env(Rounding::Nearest), env(Rounding::Nearest));
        let wide = f16::to_f64(a, &mut plain);
        assert_eq!(f16::widened_f64(a, &mut telling), wide);
        assert_eq!(telling.flags, plain.flags | denormals(&[a]));
        let narrow = f16::widened_f32(a, &mut telling);
        if is_nan(a) {
            let signals = a & 0x200 == 0;
            assert_eq!(plain.flags, u8::from(signals));
            assert_eq!(wide, u64::from(a & 0x8000) << 48 | 0x7ff8 << 48 | u64::from(a & 0x3ff) << 42, "{a:04x}");
            assert_eq!(narrow, u32::from(a & 0x8000) << 16 | 0x7fc0_0000 | u32::from(a & 0x3ff) << 13);
        } else {
            assert_eq!(plain.flags, 0);
            assert_eq!(wide, real(a).to_bits(), "{a:04x}");
            assert_eq!(narrow, (real(a) as f32).to_bits());
        }
    }
}

#[test]
fn narrowing_rounds_once_and_obeys_daz_of_its_source() {
    let mut random = Random(5);
    for n in 0..samples() {
        let rounding = ROUNDINGS[n as usize & 3];
        // Around a half: itself, its neighbours, the middles.
        let near =
            real(half(&mut random)).to_bits().wrapping_add((random.next() as i64 >> (random.next() & 63)) as u64);
        let v = f64::from_bits(if n % 3 == 0 { random.next() } else { near });
        if !v.is_finite() || v == 0.0 || v.is_subnormal() {
            continue;
        }
        let want = rounded(v.abs(), v < 0.0, rounding);
        assert_eq!(run(rounding, |e| double::to_f16(v.to_bits(), e)), want, "{v:e} {rounding:?}");
        let s = v as f32;
        if s.is_normal() {
            let want = rounded(f64::from(s).abs(), s < 0.0, rounding);
            assert_eq!(run(rounding, |e| single::to_f16(s.to_bits(), e)), want, "{s:e} {rounding:?}");
        }
    }
    assert_eq!(run(Rounding::Up, |e| single::to_f16(1, e)), (0, 0), "a denormal single is a zero under DAZ");
    let mut e = Env { daz: false, ..env(Rounding::Up) };
    assert_eq!((single::to_f16(1, &mut e), e.flags), (1, flag::DE | flag::UE | flag::PE));
}
