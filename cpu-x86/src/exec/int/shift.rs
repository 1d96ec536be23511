//! Shifts and rotates: by 1, imm8 or CL; double; and the BMI2 forms without flags.

use crate::alu::{self, Width, flag};
use crate::fault::Done;
use crate::state::Cpu;
use iced_x86::{Instruction, Mnemonic};

/// The count in operand `n`, masked to 5 bits, or 6 for 64-bit operands.
fn count(cpu: &mut Cpu, i: &Instruction, n: u32, w: Width) -> Result<u32, crate::Stop> {
    let mask = if w == Width::Q { 63 } else { 31 };
    Ok((cpu.read(i, n)? & mask) as u32)
}

/// SHL, SHR, SAR; all six flags, unless the count is 0.
pub fn shift(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (w, m) = (cpu.width(i, 0), i.mnemonic());
    let n = count(cpu, i, 1, w)?;
    let before = cpu.status_flags();
    let f = cpu.modify(i, 0, |_, a| match m {
        _ if n == 0 => (a, before),
        Mnemonic::Shr => alu::shr(w, a, n),
        Mnemonic::Sar => alu::sar(w, a, n),
        _ => alu::shl(w, a, n),
    })?;
    cpu.set_status_flags(f);
    Ok(())
}

/// ROL, ROR, RCL, RCR; CF and OF, unless the count is 0.
pub fn rotate(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (w, m) = (cpu.width(i, 0), i.mnemonic());
    let n = count(cpu, i, 1, w)?;
    let before = cpu.status_flags();
    let cf = before & flag::CF;
    let f = cpu.modify(i, 0, |_, a| match m {
        _ if n == 0 => (a, before),
        Mnemonic::Rol => alu::rol(w, a, n),
        Mnemonic::Ror => alu::ror(w, a, n),
        Mnemonic::Rcl => alu::rcl(w, a, n, cf),
        _ => alu::rcr(w, a, n, cf),
    })?;
    if n != 0 {
        cpu.change_status_flags(flag::CF | flag::OF, f);
    }
    Ok(())
}

/// SHLD, SHRD; all six flags, unless the count is 0.
pub fn double(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (w, m) = (cpu.width(i, 0), i.mnemonic());
    let (b, n) = (cpu.gpr(i.op1_register()), count(cpu, i, 2, w)?);
    let before = cpu.status_flags();
    let f = cpu.modify(i, 0, |_, a| match m {
        _ if n == 0 => (a, before),
        Mnemonic::Shld => alu::shld(w, a, b, n),
        _ => alu::shrd(w, a, b, n),
    })?;
    cpu.set_status_flags(f);
    Ok(())
}

/// SARX, SHLX, SHRX, RORX: no flags.
pub fn flagless(cpu: &mut Cpu, i: &Instruction) -> Done {
    super::need_vex(cpu)?;
    let w = cpu.width(i, 0);
    let a = cpu.read(i, 1)?;
    let n = count(cpu, i, 2, w)?;
    let (r, _) = match i.mnemonic() {
        _ if n == 0 => (a, 0),
        Mnemonic::Sarx => alu::sar(w, a, n),
        Mnemonic::Shlx => alu::shl(w, a, n),
        Mnemonic::Shrx => alu::shr(w, a, n),
        _ => alu::ror(w, a, n),
    };
    cpu.set_gpr(i.op0_register(), r);
    Ok(())
}
