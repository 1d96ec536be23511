//! The instructions on opmask registers.
//!
//! Source: SDM vol. 2A, KADDW to KXORW; they are VEX-encoded.

use super::{check, ones};
use crate::alu::flag::{CF, ZF};
use crate::fault::Done;
use crate::state::Cpu;
use iced_x86::{Instruction, Mnemonic, OpKind};

/// What an opmask instruction does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mov,
    Not,
    Add,
    And,
    Andn,
    Or,
    Xor,
    Xnor,
    /// The low half of the first source above that of the second; the width is the result's.
    Unpack,
    ShiftLeft,
    ShiftRight,
    Ortest,
    Test,
}

/// What `m` does, and on how many bits.
#[rustfmt::skip] // One row a kind.
fn kind(m: Mnemonic) -> Option<(Kind, usize)> {
    use Mnemonic::*;
    Some(match m {
        Kmovb => (Kind::Mov, 8), Kmovw => (Kind::Mov, 16), Kmovd => (Kind::Mov, 32), Kmovq => (Kind::Mov, 64),
        Knotb => (Kind::Not, 8), Knotw => (Kind::Not, 16), Knotd => (Kind::Not, 32), Knotq => (Kind::Not, 64),
        Kaddb => (Kind::Add, 8), Kaddw => (Kind::Add, 16), Kaddd => (Kind::Add, 32), Kaddq => (Kind::Add, 64),
        Kandb => (Kind::And, 8), Kandw => (Kind::And, 16), Kandd => (Kind::And, 32), Kandq => (Kind::And, 64),
        Kandnb => (Kind::Andn, 8), Kandnw => (Kind::Andn, 16), Kandnd => (Kind::Andn, 32), Kandnq => (Kind::Andn, 64),
        Korb => (Kind::Or, 8), Korw => (Kind::Or, 16), Kord => (Kind::Or, 32), Korq => (Kind::Or, 64),
        Kxorb => (Kind::Xor, 8), Kxorw => (Kind::Xor, 16), Kxord => (Kind::Xor, 32), Kxorq => (Kind::Xor, 64),
        Kxnorb => (Kind::Xnor, 8), Kxnorw => (Kind::Xnor, 16), Kxnord => (Kind::Xnor, 32), Kxnorq => (Kind::Xnor, 64),
        Kunpckbw => (Kind::Unpack, 16), Kunpckwd => (Kind::Unpack, 32), Kunpckdq => (Kind::Unpack, 64),
        Kshiftlb => (Kind::ShiftLeft, 8), Kshiftlw => (Kind::ShiftLeft, 16),
        Kshiftld => (Kind::ShiftLeft, 32), Kshiftlq => (Kind::ShiftLeft, 64),
        Kshiftrb => (Kind::ShiftRight, 8), Kshiftrw => (Kind::ShiftRight, 16),
        Kshiftrd => (Kind::ShiftRight, 32), Kshiftrq => (Kind::ShiftRight, 64),
        Kortestb => (Kind::Ortest, 8), Kortestw => (Kind::Ortest, 16), Kortestd => (Kind::Ortest, 32), Kortestq => (Kind::Ortest, 64),
        Ktestb => (Kind::Test, 8), Ktestw => (Kind::Test, 16), Ktestd => (Kind::Test, 32), Ktestq => (Kind::Test, 64),
        _ => return None,
    })
}

/// Is `m` an instruction on opmask registers?
pub fn is_opmask(m: Mnemonic) -> bool {
    kind(m).is_some()
}

/// Executes an opmask instruction.
pub fn run(cpu: &mut Cpu, i: &Instruction) -> Done {
    check(cpu)?;
    let Some((kind, bits)) = kind(i.mnemonic()) else { return Err(crate::Stop::Unimplemented) };
    if kind == Kind::Mov {
        return kmov(cpu, i, bits);
    }
    let k = |n: u32| cpu.k[i.op_register(n).number() & 7] & ones(bits);
    if matches!(kind, Kind::Ortest | Kind::Test) {
        let flags = test(kind, k(0), k(1), ones(bits));
        cpu.set_status_flags(flags);
        return Ok(());
    }
    let r = match kind {
        Kind::Not => !k(1),
        Kind::ShiftLeft => k(1).checked_shl(i.immediate8().into()).unwrap_or(0),
        Kind::ShiftRight => k(1).checked_shr(i.immediate8().into()).unwrap_or(0),
        Kind::Add => k(1).wrapping_add(k(2)),
        Kind::And => k(1) & k(2),
        Kind::Andn => !k(1) & k(2),
        Kind::Or => k(1) | k(2),
        Kind::Xor => k(1) ^ k(2),
        Kind::Xnor => !(k(1) ^ k(2)),
        _ => k(1) << (bits / 2) | k(2) & ones(bits / 2),
    };
    cpu.k[i.op0_register().number() & 7] = r & ones(bits);
    Ok(())
}

/// ZF and CF of a test; the other status flags are cleared.
fn test(kind: Kind, x: u64, y: u64, all: u64) -> u64 {
    let (zero, carry) = if kind == Kind::Ortest { (x | y == 0, x | y == all) } else { (x & y == 0, !x & y == 0) };
    (if zero { ZF } else { 0 }) | if carry { CF } else { 0 }
}

/// KMOV: between opmask registers, from and to general registers and memory, zero-extended.
fn kmov(cpu: &mut Cpu, i: &Instruction, bits: usize) -> Done {
    let opmask = |n: u32| i.op_kind(n) == OpKind::Register && i.op_register(n).is_k();
    let v = if opmask(1) { cpu.k[i.op1_register().number() & 7] } else { cpu.read(i, 1)? } & ones(bits);
    if opmask(0) {
        cpu.k[i.op0_register().number() & 7] = v;
        Ok(())
    } else {
        cpu.write(i, 0, v)
    }
}
