//! MOV, PUSH and POP with segment registers; LDS, LES, LFS, LGS, LSS. Source: SDM vol. 2, each.

use crate::alu::{Width, flag};
use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::operand::seg_of;
use crate::stack::Stack;
use crate::state::{Cpu, Seg, shadow};
use iced_x86::{Instruction, OpKind, Register};

/// MOV r/m, Sreg: memory gets 16 bits, a wider register the selector zero-extended.
pub(super) fn mov_from(cpu: &mut Cpu, i: &Instruction) -> Done {
    let v = u64::from(cpu.segment(seg_of(i.op1_register())).selector);
    cpu.write(i, 0, v)
}

/// MOV Sreg, r/m16: loading SS holds off interrupts and debug traps for one instruction; CS cannot be loaded.
pub(super) fn mov_to(cpu: &mut Cpu, i: &Instruction) -> Done {
    if i.op0_register() == Register::CS {
        return Err(Stop::UD);
    }
    let v = if i.op_kind(1) == OpKind::Memory {
        let at = cpu.address(i, 2, Access::Read)?;
        cpu.load(at, 2)?
    } else {
        cpu.gpr(i.op1_register())
    };
    let s = seg_of(i.op0_register());
    cpu.load_segment(s, v as u16)?;
    after_load(cpu, s);
    Ok(())
}

/// The shadow of MOV SS and POP SS.
fn after_load(cpu: &mut Cpu, s: Seg) {
    if s == Seg::Ss {
        cpu.inhibit |= shadow::MOV_SS;
        cpu.no_step = cpu.system_flags & flag::TF != 0;
    }
}

/// PUSH Sreg with a slot of `bytes`; a 32-bit slot gets 16 bits, its upper half is left as it was (as recent Intel
/// processors do).
fn push(cpu: &mut Cpu, i: &Instruction, bytes: u32) -> Done {
    let v = u64::from(cpu.segment(seg_of(i.op0_register())).selector);
    let mut stack = Stack::current(cpu);
    if bytes == 4 {
        stack.skip(2u64.wrapping_neg());
        stack.push(2, v)?;
    } else {
        stack.push(bytes, v)?;
    }
    stack.commit(cpu)?;
    cpu.regs[4] = stack.pointer();
    Ok(())
}

/// PUSH Sreg, 16 bits.
pub(super) fn push16(cpu: &mut Cpu, i: &Instruction) -> Done {
    push(cpu, i, 2)
}
/// PUSH Sreg, 32 bits.
pub(super) fn push32(cpu: &mut Cpu, i: &Instruction) -> Done {
    push(cpu, i, 4)
}
/// PUSH FS or GS, 64 bits.
pub(super) fn push64(cpu: &mut Cpu, i: &Instruction) -> Done {
    push(cpu, i, 8)
}

/// POP Sreg from a slot of `bytes`.
fn pop(cpu: &mut Cpu, i: &Instruction, bytes: u32) -> Done {
    let s = seg_of(i.op0_register());
    let mut stack = Stack::current(cpu);
    let v = stack.pop(cpu, bytes)?;
    let to = cpu.checked_segment(s, v as u16)?;
    // The old stack's width decides which bits of the pointer move, also for POP SS.
    cpu.regs[4] = stack.pointer();
    cpu.set_segment(s, to);
    after_load(cpu, s);
    Ok(())
}

/// POP Sreg, 16 bits.
pub(super) fn pop16(cpu: &mut Cpu, i: &Instruction) -> Done {
    pop(cpu, i, 2)
}
/// POP Sreg, 32 bits.
pub(super) fn pop32(cpu: &mut Cpu, i: &Instruction) -> Done {
    pop(cpu, i, 4)
}
/// POP FS or GS, 64 bits.
pub(super) fn pop64(cpu: &mut Cpu, i: &Instruction) -> Done {
    pop(cpu, i, 8)
}

/// LDS, LES, LFS, LGS, LSS: an offset and a selector from memory. LSS casts no shadow.
pub(super) fn load_far_pointer(cpu: &mut Cpu, i: &Instruction) -> Done {
    use iced_x86::Mnemonic as M;
    let s = match i.mnemonic() {
        M::Les => Seg::Es,
        M::Lss => Seg::Ss,
        M::Lfs => Seg::Fs,
        M::Lgs => Seg::Gs,
        _ => Seg::Ds,
    };
    let (selector, offset) = far_pointer(cpu, i, i.op0_register().size() as u32)?;
    let to = cpu.checked_segment(s, selector)?;
    cpu.set_segment(s, to);
    cpu.set_gpr(i.op0_register(), offset);
    Ok(())
}

/// Selector and offset of a far pointer in memory, the offset `bytes` wide.
pub(super) fn far_pointer(cpu: &mut Cpu, i: &Instruction, bytes: u32) -> Result<(u16, u64), Stop> {
    let at = cpu.address(i, bytes + 2, Access::Read)?;
    let w = Width::of_bytes(bytes as usize).unwrap_or(Width::Q);
    let offset = w.zx(cpu.load(at, bytes)?);
    let selector = cpu.load(at.wrapping_add(u64::from(bytes)), 2)?;
    Ok((selector as u16, offset))
}
