//! MMX, SSE to SSE4.2, AES, PCLMULQDQ, SHA, GFNI, AVX, AVX2, FMA and F16C.
//!
//! What an instruction computes is a [`Kernel`]: a function over operand values ([`V`]), one per mnemonic, the same
//! for MM, XMM and YMM operands and for the legacy and VEX encodings. `describe` turns a decoded instruction into a
//! [`Simd`]: its kernel, and where the operands are. [`Simd::run`] loads them, runs the kernel and writes the result,
//! with the rules all of them share: which state must be enabled, alignment, the upper bits of the register, MXCSR.
//! [`Vector`] is both with the operand's address: an engine decodes it once and keeps it.
//! The few instructions that do not fit (string compares, gathers, masked moves, MXCSR moves) are functions of their
//! own. Source: SDM vol. 2.

mod address;
mod aes;
mod approximate;
mod check;
mod control;
mod convert;
mod describe;
mod dot;
pub(in crate::exec) mod fma;
mod fp;
mod galois;
mod integer;
mod masked;
mod motion;
mod run;
mod sha;
mod shuffle;
mod string;
mod value;

#[cfg(test)]
mod tests;

#[allow(unused_imports, reason = "for the engine and the other groups")]
pub use address::Address;
#[allow(unused_imports, reason = "for the engine and the other groups")]
pub use check::{check_avx, check_mmx, check_sse};
#[allow(unused_imports, reason = "for the engine and the other groups")]
pub use describe::{Kernel, Needs, Place, Simd, describe};
#[allow(unused_imports, reason = "for the engine and the other groups")]
pub use fma::{Real, sign};
#[allow(unused_imports, reason = "for the engine and the other groups")]
pub use value::V;

pub(in crate::exec) use describe::{Form, Per, kernel};
pub use fp::flags;
pub(in crate::exec) use fp::{holds, signals};
pub use run::{env_of, note};
pub(in crate::exec) use run::{raise, settle};
pub(in crate::exec) use value::{Bits, Lane, each, each1};

use super::Meaning;
use super::evex::{self, Evex};
use crate::fault::{Done, Stop};
use crate::state::Cpu;
use iced_x86::{EncodingKind, Instruction, Mnemonic};

/// The meaning of `i`, if it belongs to this group.
///
/// This group also answers for AVX-512, whose meanings are in [`evex`], and for the vector extensions that the processor
/// does not have (XOP, 3DNow!, SSE4A and so on): they raise #UD.
pub fn lookup(i: &Instruction) -> Option<Meaning> {
    if Vector::of(i).is_some() {
        return Meaning::plain(described);
    }
    control::lookup(i)
        .or_else(|| masked::lookup(i))
        .or_else(|| string::lookup(i))
        .or_else(|| evex::lookup(i))
        .or_else(|| absent(i))
}

/// Executes an instruction that is described.
fn described(cpu: &mut Cpu, i: &Instruction) -> Done {
    Vector::of(i).map_or(Err(Stop::Unimplemented), |v| v.run(cpu))
}

/// A vector instruction with all that is needed to run it: for an engine to keep instead of the `Instruction`.
#[derive(Clone, Copy)]
pub enum Vector {
    /// In a legacy or VEX encoding: what it does, and where its memory operand is, if it has one.
    Simd(Simd, Address),
    /// In an EVEX encoding.
    Evex(Evex),
}

impl Vector {
    /// The vector instruction `i`; `None` for what is not described (see [`describe`]).
    pub fn of(i: &Instruction) -> Option<Vector> {
        if i.encoding() == EncodingKind::EVEX {
            return evex::describe(i).map(Vector::Evex);
        }
        describe(i).map(|simd| Vector::Simd(simd, Address::of(i)))
    }

    /// Executes it; `cpu.rip` must be its offset.
    ///
    /// # Errors
    /// What the instruction raises.
    #[inline]
    pub fn run(&self, cpu: &mut Cpu) -> Done {
        let (simd, address) = match self {
            Vector::Simd(simd, address) => (simd, address),
            Vector::Evex(e) => return e.run(cpu),
        };
        simd.check(cpu)?;
        let at = match simd.access() {
            Some(access) => {
                let linear = address.linear(cpu, u32::from(simd.memory_bytes), access);
                linear.map_err(|stop| if simd.is_misaligned(cpu, address) { Stop::gp(0) } else { stop })?
            }
            None => 0,
        };
        simd.run(cpu, at)
    }
}

impl Simd {
    /// Outside 64-bit mode #GP for a misaligned operand goes before #SS for one beyond the limit of the stack segment
    /// (hardware; Bochs does the same).
    #[cold]
    fn is_misaligned(&self, cpu: &Cpu, address: &Address) -> bool {
        self.aligned && !cpu.is_64bit() && address.unchecked(cpu) & (u64::from(self.memory_bytes) - 1) != 0
    }
}

/// #UD for what the processor does not offer.
fn absent(i: &Instruction) -> Option<Meaning> {
    let sse4a = matches!(i.mnemonic(), Mnemonic::Extrq | Mnemonic::Insertq | Mnemonic::Movntss | Mnemonic::Movntsd);
    if sse4a || i.encoding() != EncodingKind::Legacy { Meaning::plain(|_, _| Err(Stop::UD)) } else { None }
}
