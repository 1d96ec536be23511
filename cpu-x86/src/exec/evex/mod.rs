//! AVX-512: the EVEX encodings and the opmask instructions.
//!
//! `describe` turns a decoded instruction into an [`Evex`]: what it computes (a [`Formula`](describe::Formula)), where
//! its operands are, its write mask, broadcast, rounding. What the VEX group ([`simd`](super::simd)) has a kernel for is
//! that kernel over each half of 32 bytes; the other modules here are the operations that AVX-512 adds, a table row a
//! mnemonic. [`Evex::run`] is what all of them share. Opmask instructions, gathers, scatters, compressions and
//! expansions are functions of their own. Source: SDM vol. 1, ch. 15; vol. 2A, 2.7.

mod approximate;
mod convert;
mod describe;
mod dot;
mod half;
mod half_convert;
mod integer;
mod memory;
mod motion;
mod narrow;
mod opmask;
mod permute;
mod real;
mod run;
mod value;

#[cfg(all(test, target_arch = "x86_64"))]
mod half_tests;
#[cfg(all(test, target_arch = "x86_64"))]
pub(super) mod native_tests;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;

pub use describe::{Evex, Formula, Place, describe};

use super::Meaning;
use crate::fault::{Done, Stop};
use crate::state::Cpu;
use iced_x86::{EncodingKind, Instruction};

/// Does CPUID offer AVX-512, and may XCR0 enable it?
pub const OFFERED: bool = true;

const CR0_TS: u64 = 1 << 3;
const CR4_OSXSAVE: u64 = 1 << 18;
/// XCR0: SSE, AVX, opmask and both ZMM states enabled.
const XCR0_AVX512: u64 = 0xe6;

/// The meaning of `i`, if it has a function of its own here: all others are described.
pub fn lookup(i: &Instruction) -> Option<Meaning> {
    if opmask::is_opmask(i.mnemonic()) {
        return Meaning::plain(opmask::run);
    }
    if i.encoding() == EncodingKind::EVEX { memory::lookup(i) } else { None }
}

/// May an AVX-512 instruction run?
///
/// # Errors
/// #UD in real or virtual-8086 mode, or if the system has not enabled the state; then #NM if CR0.TS is set. Source:
/// SDM vol. 1, 15.4; vol. 3A, 2.5.
fn check(cpu: &Cpu) -> Done {
    let enabled = cpu.cr4 & CR4_OSXSAVE != 0 && cpu.xcr0 & XCR0_AVX512 == XCR0_AVX512;
    if !enabled || !cpu.protected() || cpu.v86() {
        return Err(Stop::UD);
    }
    if cpu.cr0 & CR0_TS != 0 { Err(Stop::NM) } else { Ok(()) }
}

/// The low `count` bits.
const fn ones(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

/// The value of vector register `n`.
fn vector(cpu: &Cpu, n: usize) -> value::W {
    value::W::of(&cpu.vec[n & 31].0)
}

/// Writes the low `bytes` of a vector register and clears the rest.
fn set_vector(cpu: &mut Cpu, n: usize, v: &value::W, bytes: usize) {
    let reg = &mut cpu.vec[n & 31].0;
    *reg = v.bytes();
    reg[bytes.min(64)..].fill(0);
}
