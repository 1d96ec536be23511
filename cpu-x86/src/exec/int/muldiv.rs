//! MUL, IMUL, MULX, DIV, IDIV.

use crate::alu::{self, Width};
use crate::fault::{Done, Stop};
use crate::state::Cpu;
use iced_x86::{Instruction, Mnemonic, Register};

/// Writes the double-width accumulator: AX for bytes, else rDX:rAX. The lower half is written last, as MUL of 32 bits
/// clears the upper halves of both registers.
fn set_pair(cpu: &mut Cpu, w: Width, low: u64, high: u64) {
    let (h, l) = pair(w);
    cpu.set_gpr(h, high);
    cpu.set_gpr(l, low);
}

/// The upper and lower register of the double-width accumulator.
fn pair(w: Width) -> (Register, Register) {
    match w {
        Width::B => (Register::AH, Register::AL),
        Width::W => (Register::DX, Register::AX),
        Width::D => (Register::EDX, Register::EAX),
        Width::Q => (Register::RDX, Register::RAX),
    }
}

/// rDX:rAX = rAX * source, unsigned; CF and OF when the upper half is not 0.
pub fn mul(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (w, b) = (cpu.width(i, 0), cpu.read(i, 0)?);
    let (low, high, f) = alu::mul(w, cpu.gpr(pair(w).1), b);
    set_pair(cpu, w, low, high);
    cpu.set_status_flags(f);
    Ok(())
}

/// Signed product in one, two or three operands; CF and OF when the lower half does not hold it.
pub fn imul(cpu: &mut Cpu, i: &Instruction) -> Done {
    let w = cpu.width(i, 0);
    let (a, b) = match i.op_count() {
        1 => (cpu.gpr(pair(w).1), cpu.read(i, 0)?),
        2 => (cpu.gpr(i.op0_register()), cpu.read(i, 1)?),
        _ => (cpu.read(i, 1)?, cpu.read(i, 2)?),
    };
    let (low, high, f) = alu::imul(w, a, b);
    if i.op_count() == 1 {
        set_pair(cpu, w, low, high);
    } else {
        cpu.set_gpr(i.op0_register(), low);
    }
    cpu.set_status_flags(f);
    Ok(())
}

/// high:low = rDX * source, unsigned; no flags. When both destinations are one register, it gets the upper half.
pub fn mulx(cpu: &mut Cpu, i: &Instruction) -> Done {
    super::need_vex(cpu)?;
    let (w, b) = (cpu.width(i, 0), cpu.read(i, 2)?);
    let (low, high, _) = alu::mul(w, cpu.gpr(pair(w).0), b);
    cpu.set_gpr(i.op1_register(), low);
    cpu.set_gpr(i.op0_register(), high);
    Ok(())
}

/// Quotient to rAX (AL), remainder to rDX (AH); #DE; the flags, undefined in the SDM, are kept.
pub fn div(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (w, d) = (cpu.width(i, 0), cpu.read(i, 0)?);
    let (h, l) = pair(w);
    let (high, low) = (cpu.gpr(h), cpu.gpr(l));
    let result = if i.mnemonic() == Mnemonic::Div { alu::div(w, high, low, d) } else { alu::idiv(w, high, low, d) };
    let (q, r) = result.ok_or(Stop::DE)?;
    set_pair(cpu, w, q, r);
    Ok(())
}
