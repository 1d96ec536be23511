//! Near transfers of control: JMP, CALL, RET, Jcc, JCXZ, LOOP.

use super::{cc, stack};
use crate::alu::Width;
use crate::fault::{Done, Stop};
use crate::monitor::Happening;
use crate::state::{Cpu, Seg};
use iced_x86::{Instruction, Mnemonic, OpKind};

/// `to` cut to `w`, if control may go there.
///
/// # Errors
/// #GP(0) beyond the limit of CS, or when not canonical in 64-bit mode.
fn target(cpu: &Cpu, w: Width, to: u64) -> Result<u64, Stop> {
    let to = w.zx(to);
    let reachable = if cpu.is_64bit() { cpu.canonical(to) } else { to <= u64::from(cpu.segment(Seg::Cs).limit) };
    if reachable { Ok(to) } else { Err(Stop::gp(0)) }
}

/// Width and target of operand 0: relative, or a register or memory.
fn operand(cpu: &mut Cpu, i: &Instruction) -> Result<(Width, u64), Stop> {
    let w = match i.op0_kind() {
        OpKind::NearBranch16 => Width::W,
        OpKind::NearBranch32 => Width::D,
        OpKind::NearBranch64 => Width::Q,
        _ => {
            let (w, to) = (cpu.width(i, 0), cpu.read(i, 0)?);
            return Ok((w, target(cpu, w, to)?));
        }
    };
    Ok((w, target(cpu, w, cpu.branch_target(i))?))
}

/// JMP, relative or indirect.
pub fn jmp(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.next_rip = operand(cpu, i)?.1;
    Ok(())
}

/// CALL, relative or indirect: pushes the offset of the next instruction.
pub fn call(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (w, to) = operand(cpu, i)?;
    stack::push(cpu, w, cpu.next_rip)?;
    cpu.next_rip = to;
    Ok(())
}

/// RET: pops the target, then releases imm16 bytes.
pub fn ret(cpu: &mut Cpu, i: &Instruction) -> Done {
    let release = if i.op_count() > 0 { u64::from(i.immediate16()) } else { 0 };
    let w = match i.stack_pointer_increment().wrapping_sub(release as i32) {
        2 => Width::W,
        4 => Width::D,
        _ => Width::Q,
    };
    let (v, sp) = stack::peek(cpu, w)?;
    let to = target(cpu, w, v)?;
    stack::set_sp(cpu, sp.wrapping_add(release));
    cpu.next_rip = to;
    Ok(())
}

/// Jcc.
pub fn jcc(cpu: &mut Cpu, i: &Instruction) -> Done {
    if cpu.condition(cc(i)) { go(cpu, i) } else { Ok(()) }
}

/// Takes a conditional branch. Where it leads to the next instruction nobody can see that, and it is told.
fn go(cpu: &mut Cpu, i: &Instruction) -> Done {
    let behind = cpu.next_rip;
    jmp(cpu, i)?;
    if cpu.next_rip == behind {
        cpu.engine.taken_to_next = true;
        cpu.happened(Happening::TakenToNext);
    }
    Ok(())
}

/// JCXZ goes when the counter is 0; LOOP decrements it and goes when it is not 0 (and ZF is 1, or 0). No flags.
pub fn count(cpu: &mut Cpu, i: &Instruction) -> Done {
    let w = counter(i);
    let cx = w.zx(cpu.regs[1]);
    let left = w.zx(cx.wrapping_sub(1));
    let taken = match i.mnemonic() {
        Mnemonic::Loop => left != 0,
        Mnemonic::Loope | Mnemonic::Loopne => left != 0 && cpu.condition(cc(i)),
        _ => cx == 0,
    };
    if taken {
        go(cpu, i)?;
    }
    if matches!(i.mnemonic(), Mnemonic::Loop | Mnemonic::Loope | Mnemonic::Loopne) {
        let above = if w == Width::W { cpu.regs[1] & !0xffff } else { 0 };
        cpu.regs[1] = above | left;
    }
    Ok(())
}

/// The counter's width: the address size.
fn counter(i: &Instruction) -> Width {
    use iced_x86::Code::*;
    match i.code() {
        Jcxz_rel8_16 | Jcxz_rel8_32 | Loop_rel8_16_CX | Loop_rel8_32_CX | Loope_rel8_16_CX | Loope_rel8_32_CX
        | Loopne_rel8_16_CX | Loopne_rel8_32_CX => Width::W,
        Jrcxz_rel8_16 | Jrcxz_rel8_64 | Loop_rel8_16_RCX | Loop_rel8_64_RCX | Loope_rel8_16_RCX | Loope_rel8_64_RCX
        | Loopne_rel8_16_RCX | Loopne_rel8_64_RCX => Width::Q,
        _ => Width::D,
    }
}
