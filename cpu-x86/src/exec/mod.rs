//! What instructions mean: one module per group, one file per family of the SDM.
//!
//! A family's `lookup` maps a decoded instruction to its [`Meaning`]. The function reads its operands from the iced
//! `Instruction`, changes no state before its last fallible step, and raises what the SDM says by returning a
//! [`Stop`](crate::Stop). It finds `cpu.rip` at this instruction and `cpu.next_rip` after it; to transfer control it
//! assigns `cpu.next_rip`. Nothing in here names a counter, a cycle or a cache.

use crate::fault::Done;
use crate::state::Cpu;
use iced_x86::Instruction;

/// The function that executes an instruction.
pub type Exec = fn(&mut Cpu, &Instruction) -> Done;

/// What an instruction does, and what the engine must know of it.
#[derive(Clone, Copy)]
pub struct Meaning {
    /// Executes it.
    pub run: Exec,
    /// It must be the last of its block: it transfers control, changes mode, paging, a segment register, IF or TF,
    /// observes time or counters, touches a port or an APIC, serialises, or is a repeated string instruction.
    pub ends_block: bool,
}

impl Meaning {
    /// An ordinary instruction.
    pub const fn plain(run: Exec) -> Option<Meaning> {
        Some(Meaning { run, ends_block: false })
    }
    /// One that ends its block.
    pub const fn ends(run: Exec) -> Option<Meaning> {
        Some(Meaning { run, ends_block: true })
    }
}

/// The meaning of `i`; `None` when this program lacks it.
pub fn lookup(i: &Instruction) -> Option<Meaning> {
    int::lookup(i)
        .or_else(|| simd::lookup(i))
        .or_else(|| x87::lookup(i))
        .or_else(|| system::lookup(i))
        .or_else(|| platform::lookup(i))
        .or_else(|| absent::lookup(i))
}

mod absent;
pub(crate) mod evex;
pub(crate) mod int;
pub(crate) mod platform;
pub use platform::Invalidate;
pub(crate) mod simd;
pub(crate) mod system;
pub(crate) mod x87;

#[cfg(test)]
mod tests;
