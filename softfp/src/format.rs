//! Interchange formats: taking a bit pattern apart, and rounding an exact value into one.
//!
//! A number in the middle of an operation is a sign, the exponent of its leading bit, and a significand with that bit
//! at position 63; bits lost below are or-ed into bit 0 ("jammed"), which is enough for every rounding as long as the
//! format leaves two bits or more below its own. Source: SDM vol. 1, 4.2.2, 4.8.3, 4.9.1.

use crate::{Env, Rounding, flag};

/// An IEEE 754 binary interchange format; its bit patterns are carried in the low bits of a `u64`.
pub(crate) trait Format {
    /// Significand bits, the hidden one included.
    const P: u32;
    /// Exponent bits.
    const E: u32;

    /// Exponent bias.
    const BIAS: i32 = (1 << (Self::E - 1)) - 1;
    /// The exponent field of infinities and NaNs.
    const TOP: i32 = (1 << Self::E) - 1;
    /// Fraction field.
    const FRACTION: u64 = (1 << (Self::P - 1)) - 1;
    /// Sign bit.
    const SIGN: u64 = 1 << (Self::P - 1 + Self::E);
    /// Most significant fraction bit: set in quiet NaNs.
    const QUIET: u64 = 1 << (Self::P - 2);
    /// Plus infinity.
    const INFINITY: u64 = (Self::TOP as u64) << (Self::P - 1);
    /// QNaN floating-point indefinite.
    const INDEFINITE: u64 = Self::SIGN | Self::INFINITY | Self::QUIET;
}

/// Half precision.
pub(crate) enum Half {}
/// Single precision.
pub(crate) enum Single {}
/// Double precision.
pub(crate) enum Double {}

impl Format for Half {
    const P: u32 = 11;
    const E: u32 = 5;
}
impl Format for Single {
    const P: u32 = 24;
    const E: u32 = 8;
}
impl Format for Double {
    const P: u32 = 53;
    const E: u32 = 11;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Zero,
    Finite,
    Infinity,
    Quiet,
    Signaling,
    /// An encoding that the 80387 and later refuse: unnormals, pseudo-infinities, pseudo-NaNs.
    Unsupported,
}

/// A bit pattern taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Num {
    pub kind: Kind,
    pub negative: bool,
    /// It was a denormal (and DAZ did not make it a zero).
    pub denormal: bool,
    /// Exponent of the leading bit, when finite.
    pub exp: i32,
    /// Significand with its leading bit at 63, when finite.
    pub sig: u64,
}

impl Num {
    pub fn is_nan(&self) -> bool {
        matches!(self.kind, Kind::Quiet | Kind::Signaling)
    }
    pub fn is_zero(&self) -> bool {
        self.kind == Kind::Zero
    }
    pub fn is_infinity(&self) -> bool {
        self.kind == Kind::Infinity
    }
}

/// Takes `bits` apart; `daz` turns denormals into zeros.
#[inline]
pub(crate) fn unpack<F: Format>(bits: u64, daz: bool) -> Num {
    let negative = bits & F::SIGN != 0;
    let field = (bits >> (F::P - 1)) as i32 & F::TOP;
    let fraction = bits & F::FRACTION;
    let mut n = Num { kind: Kind::Finite, negative, denormal: false, exp: field - F::BIAS, sig: 0 };
    if field == F::TOP {
        n.kind = match fraction {
            0 => Kind::Infinity,
            _ if bits & F::QUIET != 0 => Kind::Quiet,
            _ => Kind::Signaling,
        };
    } else if field != 0 {
        n.sig = (fraction | 1 << (F::P - 1)) << (64 - F::P);
    } else if fraction == 0 || daz {
        n.kind = Kind::Zero;
    } else {
        let up = fraction.leading_zeros();
        n.denormal = true;
        n.sig = fraction << up;
        n.exp = 1 - F::BIAS - (up as i32 - (64 - F::P as i32));
    }
    n
}

/// Zero of the given sign.
pub(crate) fn zero<F: Format>(negative: bool) -> u64 {
    if negative { F::SIGN } else { 0 }
}

/// Infinity of the given sign.
pub(crate) fn infinity<F: Format>(negative: bool) -> u64 {
    zero::<F>(negative) | F::INFINITY
}

/// `v >> by`, with what is lost or-ed into bit 0.
#[inline]
pub(crate) fn jam(v: u64, by: u32) -> u64 {
    match by {
        0 => v,
        1..64 => v >> by | u64::from(v << (64 - by) != 0),
        _ => u64::from(v != 0),
    }
}

/// `v >> by`, with what is lost or-ed into bit 0.
#[inline]
pub(crate) fn jam128(v: u128, by: u32) -> u128 {
    match by {
        0 => v,
        1..128 => v >> by | u128::from(v << (128 - by) != 0),
        _ => u128::from(v != 0),
    }
}

/// Would rounding a value with these lost bits (`half`: the first of them, `rest`: any other) go away from zero?
#[inline]
pub(crate) fn away(rounding: Rounding, negative: bool, odd: bool, half: bool, rest: bool) -> bool {
    match rounding {
        Rounding::Nearest => half & (rest | odd),
        Rounding::Down => negative & (half | rest),
        Rounding::Up => !negative & (half | rest),
        Rounding::Zero => false,
    }
}

/// `sig` without its low `cut` bits (1 to 63), rounded: the quotient, whether bits were lost, whether it went up.
#[inline]
fn cut(sig: u64, cut: u32, negative: bool, rounding: Rounding) -> (u64, bool, bool) {
    let kept = sig >> cut;
    let lost = sig << (64 - cut);
    let up = away(rounding, negative, kept & 1 != 0, lost >> 63 != 0, lost << 1 != 0);
    (kept + u64::from(up), lost != 0, up)
}

/// Rounds the non-zero value (-1)^`negative` * `sig` * 2^(`exp` - 63) into `F`, raising OE, UE and PE.
#[inline]
pub(crate) fn round<F: Format>(negative: bool, exp: i32, sig: u64, env: &mut Env) -> u64 {
    let field = exp + F::BIAS;
    if field < 1 {
        return round_tiny::<F>(negative, field, sig, env);
    }
    let (kept, inexact, up) = cut(sig, 64 - F::P, negative, env.rounding);
    env.rounded_up = up;
    // The hidden bit adds one to the field, and so does a carry out of the significand.
    let magnitude = ((field as u64 - 1) << (F::P - 1)).wrapping_add(kept);
    if field >= F::TOP || magnitude >= F::INFINITY {
        return overflow::<F>(negative, inexact, env);
    }
    if inexact {
        env.flags |= flag::PE;
    }
    zero::<F>(negative) | magnitude
}

/// The result is larger than any finite number of `F`.
#[cold]
fn overflow<F: Format>(negative: bool, inexact: bool, env: &mut Env) -> u64 {
    let to_infinity = match env.rounding {
        Rounding::Nearest => true,
        Rounding::Down => negative,
        Rounding::Up => !negative,
        Rounding::Zero => false,
    };
    env.flags |= flag::OE;
    if inexact || env.masks & flag::OE != 0 {
        env.flags |= flag::PE;
    }
    env.rounded_up = to_infinity;
    infinity::<F>(negative) - u64::from(!to_infinity)
}

/// The value lies below the normal range before rounding (`field` < 1).
#[cold]
fn round_tiny<F: Format>(negative: bool, field: i32, sig: u64, env: &mut Env) -> u64 {
    let (unbounded, unbounded_inexact, _) = cut(sig, 64 - F::P, negative, env.rounding);
    let tiny = field < 0 || unbounded >> F::P == 0;
    // Two bits of room: the first lost bit, and the jammed rest.
    let down = (62 - F::P).saturating_add_signed(1 - field);
    let (kept, inexact, up) = cut(jam(sig, down), 2, negative, env.rounding);
    env.rounded_up = up;
    // An unmasked underflow delivers the result with a wider exponent: PE tells of that one.
    let traps = tiny && env.masks & flag::UE == 0;
    if if traps { unbounded_inexact } else { inexact } {
        env.flags |= flag::PE;
    }
    if traps {
        env.flags |= flag::UE;
    } else if tiny && env.ftz {
        env.flags |= flag::UE | flag::PE;
        return zero::<F>(negative);
    } else if tiny && inexact {
        env.flags |= flag::UE;
    }
    zero::<F>(negative) | kept
}
