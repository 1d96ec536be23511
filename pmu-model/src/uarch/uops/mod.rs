//! How many micro-ops an instruction is, and what it counts as.
//!
//! `table` was generated on a developer's machine: iced-x86's encoder made one encoding of each code valid in 64-bit mode,
//! with registers and with memory; LLVM 22 disassembled them and `llvm-mca -mcpu=sapphirerapids
//! -instruction-tables=full` gave the micro-ops (7072 of them); a code without an answer (other operand sizes, 16-bit and
//! 32-bit modes) took the least of its mnemonic's. The kinds follow from mnemonics and CPUID features; those of floating
//! point (1 to 4) are not read, `vector` knows them better. NOTICE: the numbers
//! derive from LLVM, Apache License 2.0 with LLVM exceptions. What LLVM has not (microcode) stands in [`overlay`].
//!
//! Rules on top (timing.md 3.3): a load with its operation, and the two halves of a store, are one slot each; a micro-op
//! that is not executed (a move between registers, a NOP) takes its slot; more than four come from the sequencer.

mod table;
mod vector;

use super::ledger::Cause;
use crate::signal::Signal;
use iced_x86::{Instruction, Mnemonic, OpKind};

/// Micro-ops with register operands, with a memory operand, and the kind.
#[derive(Clone, Copy)]
pub(super) struct Class(u8, u8, u8);

/// LLVM has no number.
const UNKNOWN: u8 = 255;
/// More micro-ops than this come from the microcode sequencer.
const MOST_DECODED: u32 = 4;

/// What an instruction's operations count as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Other,
    /// Floating point other than x87's, counted so often.
    Floating(Signal, u8),
    /// Integer vector.
    Integer(Signal),
    X87,
}

/// The micro-ops of an instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Uops {
    /// Slots.
    pub fused: u32,
    /// Executed.
    pub unfused: u32,
    /// Of the slots those filled by the sequencer.
    pub microcode: u32,
    pub kind: Kind,
}

/// The micro-ops of `i`, which makes so many `loads` and `stores`.
pub(super) fn uops(i: &Instruction, loads: u32, stores: u32) -> Uops {
    let Class(registers, memory, kind) = class(i);
    let listed = if names_memory(i) { memory } else { registers };
    let implied = 1 + loads + 2 * stores;
    let mut unfused = if listed == UNKNOWN { implied } else { u32::from(listed) };
    if let Some(given) = overlay(i) {
        unfused = given.0;
    }
    if i.has_rep_prefix() || i.has_repne_prefix() {
        unfused = unfused.max(REPEATED);
    }
    let fused = unfused.saturating_sub(u32::from(loads > 0) + u32::from(stores > 0)).max(1);
    let microcode = if fused > MOST_DECODED { fused } else { 0 };
    Uops { fused, unfused, microcode, kind: kind_of(kind, i) }
}

/// Micro-ops of a repeated string instruction, whatever its count. Unverified: counts on the real part would tell.
const REPEATED: u32 = 20;

fn class(i: &Instruction) -> Class {
    let n = table::CODES.get(i.code() as usize).copied().unwrap_or(0);
    table::CLASSES.get(usize::from(n)).copied().unwrap_or(Class(UNKNOWN, UNKNOWN, 0))
}

/// The table tells integer additions and x87 apart.
fn kind_of(n: u8, i: &Instruction) -> Kind {
    match n {
        5 => Kind::Integer(Signal::IntVector128),
        6 => Kind::Integer(Signal::IntVector256),
        7 => Kind::X87,
        _ => vector::kind(i),
    }
}

/// Micro-ops and stall cycles of what LLVM models no microcode of. Source of the cycles: timing.md 3.3 and 3.10 (measured:
/// fences, PAUSE, CPUID, RDTSC, RDRAND; the rest assumed, and so are all micro-ops).
#[rustfmt::skip] // a table
pub(super) fn overlay(i: &Instruction) -> Option<(u32, u32)> {
    use Mnemonic as M;
    Some(match i.mnemonic() {
        M::Lfence                                        => (2, 12),
        M::Mfence                                        => (6, 38),
        M::Sfence                                        => (3, 6),
        M::Pause                                         => (8, 160),
        M::Cpuid                                         => (60, 123),
        M::Rdtsc | M::Rdtscp                             => (20, 26),
        M::Rdrand | M::Rdseed                            => (25, 970),
        M::Wrmsr                                         => (144, 100),
        M::Rdmsr                                         => (54, 60),
        M::Rdpmc                                         => (35, 30),
        M::Clflush | M::Clflushopt                       => (5, 6),
        M::Invlpg | M::Invpcid                           => (42, 100),
        M::Wbinvd | M::Invd                              => (60, 1000),
        M::Lgdt | M::Lidt | M::Lldt | M::Ltr             => (20, 40),
        M::Xsetbv                                        => (54, 60),
        M::In | M::Out | M::Insb | M::Insw | M::Insd     => (85, 100),
        M::Outsb | M::Outsw | M::Outsd                   => (85, 100),
        M::Syscall | M::Sysretq | M::Sysret              => (20, 30),
        M::Sysenter | M::Sysexit | M::Sysexitq           => (20, 30),
        M::Iretq | M::Iretd | M::Iret                    => (40, 150),
        M::Int | M::Int1 | M::Int3 | M::Into             => (60, 250),
        M::Hlt | M::Mwait                                => (20, 30),
        M::Mov if writes_control(i)                      => (10, 40),
        M::Serialize                                     => (10, 30),
        _ => return None,
    })
}

fn writes_control(i: &Instruction) -> bool {
    let register = i.op0_register();
    register.is_cr() || register.is_dr()
}

/// What the instruction stalls the back end for, and for how many cycles.
pub(super) fn stall(i: &Instruction) -> Option<(Cause, u32)> {
    if let Some((_, cycles)) = overlay(i) {
        return Some((Cause::Serial, cycles));
    }
    let cycles = divides(i);
    if cycles > 0 {
        return Some((Cause::Divider, cycles));
    }
    if i.has_rep_prefix() || i.has_repne_prefix() {
        return Some((Cause::Serial, 35));
    }
    locks(i).then_some((Cause::Memory, 18))
}

/// Is a locked read-modify-write: LOCK, or XCHG with memory.
pub(super) fn locks(i: &Instruction) -> bool {
    names_memory(i) && (i.has_lock_prefix() || i.mnemonic() == Mnemonic::Xchg)
}

fn names_memory(i: &Instruction) -> bool {
    (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory)
}

/// Cycles for which the divider is taken. Source: timing.md 3.3; x87 and packed square roots are assumed.
#[rustfmt::skip] // a table
fn divides(i: &Instruction) -> u32 {
    use Mnemonic as M;
    let wide = i.op0_register().is_ymm();
    match i.mnemonic() {
        M::Div | M::Idiv if i.op0_register().is_gpr64() || i.memory_size().size() == 8 => 10,
        M::Div | M::Idiv                                     => 6,
        M::Divss | M::Divps | M::Vdivss | M::Vdivps          => if wide { 5 } else { 3 },
        M::Divsd | M::Divpd | M::Vdivsd | M::Vdivpd          => if wide { 8 } else { 4 },
        M::Sqrtss | M::Sqrtps | M::Vsqrtss | M::Vsqrtps      => if wide { 6 } else { 3 },
        M::Sqrtsd | M::Sqrtpd | M::Vsqrtsd | M::Vsqrtpd      => if wide { 9 } else { 6 },
        M::Fdiv | M::Fdivr | M::Fdivp | M::Fdivrp | M::Fidiv | M::Fidivr => 8,
        M::Fsqrt                                             => 12,
        _ => 0,
    }
}
