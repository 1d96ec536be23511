//! The x87 extended real: 64 significand bits with an explicit leading one, 15 exponent bits.
//!
//! Operations take [`Operand`]s, so that a value from memory keeps its own format's faults (a denormal single is a
//! normal extended real, but raises DE). They return the masked response or, for an unmasked overflow or underflow,
//! the result with its exponent adjusted by 24576; for unmasked IE, DE and ZE the value is meaningless and the caller
//! leaves the destination alone. `Env::rounded_up` is C1. Source: SDM vol. 1, 4.8.3.5 (table 4-7), 8.2, 8.5.

mod arith;
mod convert;
mod elementary;
mod remainder;
mod wide;

pub use arith::{add, div, mul, sqrt, sub};
pub use convert::{
    BCD_INDEFINITE, compare, from_bcd, from_i64, load, round_to_integral, to_bcd, to_f32, to_f64, to_integer,
};
pub use elementary::{atan2, cos, exp2m1, sin, sin_cos, tan, y_log2, y_log2_plus_1};
pub use remainder::{Partial, extract, prem, scale};

use crate::format::{Double, Format, Kind, Num, Single, away, jam128, unpack};
use crate::{Env, F80, Rounding, flag};

/// Precision control, encoded as PC of the x87 control word (01 is reserved and taken as 11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 24 significand bits.
    Single,
    /// 53 significand bits.
    Double,
    /// 64 significand bits.
    #[default]
    Extended,
}

impl Precision {
    /// From the two bits of a PC field (higher bits are ignored).
    pub const fn from_bits(pc: u32) -> Precision {
        match pc & 3 {
            0 => Precision::Single,
            2 => Precision::Double,
            _ => Precision::Extended,
        }
    }
    const fn bits(self) -> u32 {
        match self {
            Precision::Single => 24,
            Precision::Double => 53,
            Precision::Extended => 64,
        }
    }
}

const BIAS: i32 = 16383;
const TOP: u16 = 0x7fff;
const INTEGER: u64 = 1 << 63;
const QUIET: u64 = 1 << 62;
/// Exponent adjustment of unmasked overflow and underflow. Source: SDM vol. 1, 8.5.4 and 8.5.5.
const ADJUST: i32 = 24576;

impl F80 {
    /// QNaN floating-point indefinite.
    pub const INDEFINITE: F80 = F80 { significand: INTEGER | QUIET, sign_exponent: 0xffff };
    /// Plus zero.
    pub const ZERO: F80 = F80 { significand: 0, sign_exponent: 0 };
    /// One.
    pub const ONE: F80 = F80 { significand: INTEGER, sign_exponent: 0x3fff };

    /// From the ten bytes of its memory image.
    pub fn from_bytes(b: [u8; 10]) -> F80 {
        let [s0, s1, s2, s3, s4, s5, s6, s7, e0, e1] = b;
        F80 {
            significand: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            sign_exponent: u16::from_le_bytes([e0, e1]),
        }
    }
    /// The ten bytes of its memory image.
    pub fn to_bytes(self) -> [u8; 10] {
        let mut b = [0; 10];
        b[..8].copy_from_slice(&self.significand.to_le_bytes());
        b[8..].copy_from_slice(&self.sign_exponent.to_le_bytes());
        b
    }
    /// Is the sign bit set?
    pub const fn is_negative(self) -> bool {
        self.sign_exponent & 0x8000 != 0
    }
    /// With the sign bit as given.
    #[must_use]
    pub const fn with_sign(self, negative: bool) -> F80 {
        F80 { sign_exponent: self.sign_exponent & TOP | (negative as u16) << 15, ..self }
    }
    /// Plus or minus zero.
    pub(crate) const fn zero(negative: bool) -> F80 {
        F80::ZERO.with_sign(negative)
    }
    /// Plus or minus infinity.
    pub(crate) const fn infinity(negative: bool) -> F80 {
        F80 { significand: INTEGER, sign_exponent: TOP }.with_sign(negative)
    }
    const fn quieted(self) -> F80 {
        F80 { significand: self.significand | QUIET, ..self }
    }
}

/// What FXAM sees in a register that is not empty. Source: SDM vol. 2, FXAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the SDM's")]
pub enum Class {
    Unsupported,
    NaN,
    Normal,
    Infinity,
    Zero,
    Denormal,
}

/// The class of `v`.
pub fn class(v: F80) -> Class {
    let n = take_apart(v);
    match n.kind {
        Kind::Unsupported => Class::Unsupported,
        Kind::Quiet | Kind::Signaling => Class::NaN,
        Kind::Infinity => Class::Infinity,
        Kind::Zero => Class::Zero,
        Kind::Finite if n.denormal => Class::Denormal,
        Kind::Finite => Class::Normal,
    }
}

/// A source operand: a register, or memory in some format.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    pub(crate) num: Num,
    /// The value as an extended real; signaling NaNs still signal.
    pub(crate) bits: F80,
}

impl From<F80> for Operand {
    #[inline]
    fn from(bits: F80) -> Operand {
        Operand { num: take_apart(bits), bits }
    }
}

impl Operand {
    /// A single in memory.
    pub fn f32(bits: u32) -> Operand {
        widen::<Single>(bits.into())
    }
    /// A double in memory.
    pub fn f64(bits: u64) -> Operand {
        widen::<Double>(bits)
    }
    /// An integer in memory.
    pub fn integer(v: i64) -> Operand {
        Operand::from(from_i64(v))
    }
    fn is_zero(&self) -> bool {
        self.num.is_zero()
    }
    fn is_infinity(&self) -> bool {
        self.num.is_infinity()
    }
    fn negative(&self) -> bool {
        self.num.negative
    }
}

fn take_apart(v: F80) -> Num {
    let negative = v.is_negative();
    let field = v.sign_exponent & TOP;
    let sig = v.significand;
    let mut n = Num { kind: Kind::Finite, negative, denormal: false, exp: i32::from(field) - BIAS, sig };
    if field == 0 {
        if sig == 0 {
            n.kind = Kind::Zero;
        } else {
            // A pseudo-denormal (leading bit set) has the value of field 1, and counts as a denormal operand.
            let up = sig.leading_zeros();
            n.denormal = true;
            n.sig = sig << up;
            n.exp = 1 - BIAS - up as i32;
        }
    } else if sig & INTEGER == 0 {
        n.kind = Kind::Unsupported;
    } else if field == TOP {
        n.kind = match sig {
            INTEGER => Kind::Infinity,
            _ if sig & QUIET != 0 => Kind::Quiet,
            _ => Kind::Signaling,
        };
    }
    n
}

fn widen<F: Format>(bits: u64) -> Operand {
    let num = unpack::<F>(bits, false);
    let (significand, field) = match num.kind {
        Kind::Zero => (0, 0),
        Kind::Finite => (num.sig, (num.exp + BIAS) as u16),
        _ => (INTEGER | (bits & F::FRACTION) << (64 - F::P), TOP),
    };
    Operand { num, bits: F80 { significand, sign_exponent: field }.with_sign(num.negative) }
}

/// The result for operands among which is a NaN or an unsupported encoding, with IE where due. Of two NaNs the quiet
/// one, else the one with the larger significand, else the positive one.
fn nan(a: &Operand, b: &Operand, env: &mut Env) -> Option<F80> {
    let either = |k: Kind| a.num.kind == k || b.num.kind == k;
    if either(Kind::Unsupported) {
        return Some(invalid(env));
    }
    if !a.num.is_nan() && !b.num.is_nan() {
        return None;
    }
    if either(Kind::Signaling) {
        env.flags |= flag::IE;
    }
    let larger = |a: &Operand, b: &Operand| match a.bits.significand.cmp(&b.bits.significand) {
        std::cmp::Ordering::Equal => !a.negative(),
        order => order.is_gt(),
    };
    let first = match (a.num.is_nan(), b.num.is_nan()) {
        (true, true) if a.num.kind == b.num.kind => larger(a, b),
        (true, true) => a.num.kind == Kind::Quiet,
        (is, _) => is,
    };
    Some(if first { a.bits.quieted() } else { b.bits.quieted() })
}

/// The default NaN, with IE.
fn invalid(env: &mut Env) -> F80 {
    env.flags |= flag::IE;
    F80::INDEFINITE
}

/// `v` without all but its upper `p` bits, rounded: what is kept (it may carry to 2^`p`), inexact, rounded up.
fn cut(v: u128, p: u32, negative: bool, rounding: Rounding) -> (u128, bool, bool) {
    let kept = v >> (128 - p);
    let lost = v << p;
    let up = away(rounding, negative, kept & 1 != 0, lost >> 127 != 0, lost << 1 != 0);
    (kept + u128::from(up), lost != 0, up)
}

/// Rounds the non-zero (-1)^`negative` * `v` * 2^(`exp` - 127), the leading bit of `v` at 127.
fn round(negative: bool, exp: i32, v: u128, precision: Precision, env: &mut Env) -> F80 {
    let p = precision.bits();
    let (kept, inexact, up) = cut(v, p, negative, env.rounding);
    let carry = kept >> p != 0;
    let field = exp + BIAS + i32::from(carry);
    let significand = if carry { INTEGER } else { (kept << (64 - p)) as u64 };
    if field < 1 {
        return tiny(negative, exp, v, p, (field, significand, inexact, up), env);
    }
    env.rounded_up = up;
    if inexact {
        env.flags |= flag::PE;
    }
    if field >= i32::from(TOP) {
        return overflow(negative, (field, significand), p, env);
    }
    if exp + BIAS < 1 {
        // Rounded up into the normal range: not tiny, and the significand is what denormalising would give.
        return denormalise(negative, exp, v, p, env);
    }
    F80 { significand, sign_exponent: field as u16 }.with_sign(negative)
}

/// The value at the fixed exponent of denormals, rounded there.
fn denormalise(negative: bool, exp: i32, v: u128, p: u32, env: &mut Env) -> F80 {
    let (kept, inexact, up) = cut(jam128(v, (1 - BIAS - exp) as u32), p, negative, env.rounding);
    env.rounded_up = up;
    if inexact {
        env.flags |= flag::PE;
    }
    let significand = (kept << (64 - p)) as u64;
    F80 { significand, sign_exponent: (significand >> 63) as u16 }.with_sign(negative)
}

/// The result is tiny; `unbounded` is it rounded as if exponents had no bound: field, significand, inexact, up.
fn tiny(negative: bool, exp: i32, v: u128, p: u32, unbounded: (i32, u64, bool, bool), env: &mut Env) -> F80 {
    if env.masks & flag::UE != 0 {
        let before = env.flags;
        env.flags &= !flag::PE;
        let r = denormalise(negative, exp, v, p, env);
        if env.flags & flag::PE != 0 {
            env.flags |= flag::UE;
        }
        env.flags |= before;
        return r;
    }
    let (field, significand, inexact, up) = unbounded;
    env.flags |= flag::UE;
    if inexact {
        env.flags |= flag::PE;
    }
    env.rounded_up = up;
    match field + ADJUST {
        field @ 1.. => F80 { significand, sign_exponent: field as u16 }.with_sign(negative),
        // Only FSCALE can get here, and hardware gives zero in every rounding.
        _ => {
            env.flags |= flag::PE;
            env.rounded_up = false;
            F80::zero(negative)
        }
    }
}

/// The rounded result has exponent `field` or more than fits.
fn overflow(negative: bool, (field, significand): (i32, u64), p: u32, env: &mut Env) -> F80 {
    env.flags |= flag::OE;
    if env.masks & flag::OE == 0 {
        return match field - ADJUST {
            field if field < i32::from(TOP) => F80 { significand, sign_exponent: field as u16 }.with_sign(negative),
            // Only FSCALE can get here, and hardware gives infinity in every rounding.
            _ => {
                env.flags |= flag::PE;
                env.rounded_up = true;
                F80::infinity(negative)
            }
        };
    }
    env.flags |= flag::PE;
    let to_infinity = match env.rounding {
        Rounding::Nearest => true,
        Rounding::Down => negative,
        Rounding::Up => !negative,
        Rounding::Zero => false,
    };
    env.rounded_up = to_infinity;
    if to_infinity {
        return F80::infinity(negative);
    }
    F80 { significand: u64::MAX << (64 - p), sign_exponent: TOP - 1 }.with_sign(negative)
}
