//! Moves that compute nothing but a width or a condition: MOV, MOVZX, CMOVcc, SETcc, LEA, CBW to CQO, XLAT.

use super::cc;
use crate::alu::Width;
use crate::fault::Done;
use crate::state::Cpu;
use iced_x86::{Instruction, Mnemonic, Register};

/// `destination = source`; no flags.
pub fn mov(cpu: &mut Cpu, i: &Instruction) -> Done {
    let v = cpu.read(i, 1)?;
    cpu.write(i, 0, v)
}

/// MOVZX, MOVSX, MOVSXD; no flags.
pub fn extend(cpu: &mut Cpu, i: &Instruction) -> Done {
    let v = cpu.read(i, 1)?;
    let v = if i.mnemonic() == Mnemonic::Movzx { v } else { cpu.width(i, 1).sx(v) };
    cpu.set_gpr(i.op0_register(), v);
    Ok(())
}

/// CMOVcc: the source is read, and a 32-bit destination's upper half cleared, whatever the condition.
pub fn cmov(cpu: &mut Cpu, i: &Instruction) -> Done {
    let v = cpu.read(i, 1)?;
    let to = i.op0_register();
    let v = if cpu.condition(cc(i)) { v } else { cpu.gpr(to) };
    cpu.set_gpr(to, v);
    Ok(())
}

/// SETcc: 1 or 0.
pub fn set(cpu: &mut Cpu, i: &Instruction) -> Done {
    let v = cpu.condition(cc(i)).into();
    cpu.write(i, 0, v)
}

/// The offset, cut to or zero-extended to the destination.
pub fn lea(cpu: &mut Cpu, i: &Instruction) -> Done {
    let v = cpu.offset(i);
    cpu.set_gpr(i.op0_register(), v);
    Ok(())
}

/// CBW, CWDE, CDQE extend the accumulator's lower half within it; CWD, CDQ, CQO fill rDX with its sign.
pub fn convert(cpu: &mut Cpu, i: &Instruction) -> Done {
    use Register::*;
    let rax = cpu.regs[0];
    let (to, v) = match i.mnemonic() {
        Mnemonic::Cbw => (AX, Width::B.sx(rax)),
        Mnemonic::Cwde => (EAX, Width::W.sx(rax)),
        Mnemonic::Cdqe => (RAX, Width::D.sx(rax)),
        Mnemonic::Cwd => (DX, 0u64.wrapping_sub(Width::W.sign(rax))),
        Mnemonic::Cdq => (EDX, 0u64.wrapping_sub(Width::D.sign(rax))),
        _ => (RDX, 0u64.wrapping_sub(Width::Q.sign(rax))),
    };
    cpu.set_gpr(to, v);
    Ok(())
}

/// `AL = [rBX + AL]`.
pub fn xlat(cpu: &mut Cpu, i: &Instruction) -> Done {
    let v = cpu.read(i, 0)?;
    cpu.set_gpr(Register::AL, v);
    Ok(())
}
