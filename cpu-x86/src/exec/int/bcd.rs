//! Decimal adjustments, and BOUND: what 64-bit mode no longer has.

use crate::alu;
use crate::fault::{Done, Exception, Stop, vector};
use crate::memory::Access;
use crate::state::Cpu;
use iced_x86::{Instruction, Mnemonic, Register};

/// DAA, DAS, AAA, AAS, AAM (#DE when the base is 0), AAD; all six flags.
pub fn adjust(cpu: &mut Cpu, i: &Instruction) -> Done {
    use Register::{AL, AX};
    let (f, al, ax) = (cpu.status_flags(), cpu.gpr(AL), cpu.gpr(AX));
    let base = u64::from(i.immediate8());
    let (to, (r, f)) = match i.mnemonic() {
        Mnemonic::Daa => (AL, alu::daa(al, f)),
        Mnemonic::Das => (AL, alu::das(al, f)),
        Mnemonic::Aaa => (AX, alu::aaa(ax, f)),
        Mnemonic::Aas => (AX, alu::aas(ax, f)),
        Mnemonic::Aam => (AX, alu::aam(al, base).ok_or(Stop::DE)?),
        _ => (AX, alu::aad(ax, base)),
    };
    cpu.set_gpr(to, r);
    cpu.set_status_flags(f);
    Ok(())
}

/// #BR unless lower bound <= index <= upper bound, signed.
pub fn bound(cpu: &mut Cpu, i: &Instruction) -> Done {
    let w = cpu.width(i, 0);
    let at = cpu.address(i, 2 * w.bytes(), Access::Read)?;
    let lower = w.sx(cpu.load(at, w.bytes())?) as i64;
    let upper = w.sx(cpu.load(at.wrapping_add(w.bytes().into()), w.bytes())?) as i64;
    let index = w.sx(cpu.gpr(i.op0_register())) as i64;
    if (lower..=upper).contains(&index) { Ok(()) } else { Err(Stop::Exception(Exception::plain(vector::BR))) }
}
