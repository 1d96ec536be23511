//! Floating point as x86 does it, bit for bit, on any host.
//!
//! Values are bit patterns (`u16`, `u32`, `u64`, [`F80`]); an [`Env`] carries the controls in and the exception flags
//! out. Source: SDM vol. 1, ch. 4 (data types, NaN rules), 8 (x87) and 11 (SSE).

mod arith;
mod avx512;
mod binary;
mod convert;
pub mod f16;
pub mod f80;
mod format;

pub use binary::{f32, f64};

/// Rounding control, encoded as in MXCSR.RC and the x87 control word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, ties to even.
    #[default]
    Nearest,
    /// Toward minus infinity.
    Down,
    /// Toward plus infinity.
    Up,
    /// Toward zero.
    Zero,
}

/// Exception flags, bits as in MXCSR and the x87 status word.
pub mod flag {
    /// Invalid operation.
    pub const IE: u8 = 1;
    /// Denormal operand.
    pub const DE: u8 = 2;
    /// Division by zero.
    pub const ZE: u8 = 4;
    /// Overflow.
    pub const OE: u8 = 8;
    /// Underflow.
    pub const UE: u8 = 16;
    /// Inexact (precision).
    pub const PE: u8 = 32;
    /// All six.
    pub const ALL: u8 = 63;
}

/// Controls of an operation, and the flags it raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Env {
    /// Rounding control.
    pub rounding: Rounding,
    /// Flush tiny results to zero (SSE, with underflow masked).
    pub ftz: bool,
    /// Treat denormal operands as zero (SSE).
    pub daz: bool,
    /// Exceptions that are masked, [`flag`] bits; all six in the default environment of a process.
    pub masks: u8,
    /// Flags raised so far, [`flag`] bits; operations only add to them.
    pub flags: u8,
    /// Set by the x87 operations when the result was rounded up (condition code C1).
    pub rounded_up: bool,
}

impl Rounding {
    /// From the two bits of an RC field (higher bits are ignored).
    #[inline]
    pub const fn from_bits(rc: u32) -> Rounding {
        match rc & 3 {
            0 => Rounding::Nearest,
            1 => Rounding::Down,
            2 => Rounding::Up,
            _ => Rounding::Zero,
        }
    }
}

impl Env {
    /// The environment of an SSE instruction under `mxcsr`, its sticky flags included.
    #[inline]
    pub const fn from_mxcsr(mxcsr: u32) -> Env {
        Env {
            rounding: Rounding::from_bits(mxcsr >> 13),
            ftz: mxcsr & 1 << 15 != 0,
            daz: mxcsr & 1 << 6 != 0,
            masks: (mxcsr >> 7) as u8 & flag::ALL,
            flags: mxcsr as u8 & flag::ALL,
            rounded_up: false,
        }
    }

    /// May the `fast_*` forms be tried? Rounding to nearest, and an inexact result would leave no new trace.
    #[inline(always)]
    pub const fn is_quick(&self) -> bool {
        (self.flags & self.masks & flag::PE != 0) & matches!(self.rounding, Rounding::Nearest)
    }

    /// Raises DE when `denormal`; true when it is unmasked, which ends the operation.
    #[inline]
    pub(crate) fn denormal_operand(&mut self, denormal: bool) -> bool {
        if denormal {
            self.flags |= flag::DE;
        }
        denormal && self.masks & flag::DE == 0
    }
}

/// An x87 extended real: sign and biased exponent, and the significand with its explicit integer bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct F80 {
    /// The significand; bit 63 is the integer bit.
    pub significand: u64,
    /// Bit 15 is the sign, bits 14:0 the exponent biased by 16383.
    pub sign_exponent: u16,
}
