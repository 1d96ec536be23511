//! The stack: PUSH, POP, PUSHA, POPA, ENTER, LEAVE, and the primitives below them.

use crate::alu::Width;
use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::state::{Cpu, Seg};
use iced_x86::{Code, Instruction};

const RSP: usize = 4;
const RBP: usize = 5;

/// Sets the stack pointer: SP keeps what is above it, ESP clears it.
pub(crate) fn set_sp(cpu: &mut Cpu, sp: u64) {
    let mask = cpu.stack_mask();
    let above = if mask == 0xffff { cpu.regs[RSP] & !mask } else { 0 };
    cpu.regs[RSP] = above | sp & mask;
}

/// The offset `down` bytes below the stack pointer (above it, if negative as `u64`).
fn below(cpu: &Cpu, down: u64) -> u64 {
    cpu.regs[RSP].wrapping_sub(down) & cpu.stack_mask()
}

/// Pushes the low `w` of `v`.
///
/// # Errors
/// #SS(0), #PF, #AC; then nothing has changed.
pub(crate) fn push(cpu: &mut Cpu, w: Width, v: u64) -> Done {
    let sp = below(cpu, w.bytes().into());
    let at = cpu.linear(Seg::Ss, sp, w.bytes(), Access::Write)?;
    cpu.store(at, w.bytes(), v)?;
    set_sp(cpu, sp);
    Ok(())
}

/// The value on top of the stack, and the stack pointer when it has been popped.
///
/// # Errors
/// #SS(0), #PF, #AC.
pub(crate) fn peek(cpu: &mut Cpu, w: Width) -> Result<(u64, u64), Stop> {
    let sp = below(cpu, 0);
    let at = cpu.linear(Seg::Ss, sp, w.bytes(), Access::Read)?;
    let v = cpu.load(at, w.bytes())?;
    Ok((v, sp.wrapping_add(w.bytes().into())))
}

/// PUSH of a register (rSP as it was before), memory or immediate.
pub fn push_operand(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (w, v) = (cpu.width(i, 0), cpu.read(i, 0)?);
    push(cpu, w, v)
}

/// POP: a memory operand's address is computed with rSP already incremented.
pub fn pop_operand(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (v, sp) = peek(cpu, cpu.width(i, 0))?;
    let before = cpu.regs[RSP];
    set_sp(cpu, sp);
    cpu.write(i, 0, v).inspect_err(|_| cpu.regs[RSP] = before)
}

/// Width of PUSHA to LEAVE from the code: these have no operand that tells it.
fn width_of(i: &Instruction) -> Width {
    match i.code() {
        Code::Pushaw | Code::Popaw | Code::Leavew | Code::Enterw_imm16_imm8 => Width::W,
        Code::Pushad | Code::Popad | Code::Leaved | Code::Enterd_imm16_imm8 => Width::D,
        _ => Width::Q,
    }
}

/// PUSHA: AX CX DX BX SP (as it was) BP SI DI.
pub fn pusha(cpu: &mut Cpu, i: &Instruction) -> Done {
    let w = width_of(i);
    let mut at = [0; 8];
    for (n, at) in at.iter_mut().enumerate() {
        *at = checked(cpu, w, below(cpu, (n as u64 + 1) * u64::from(w.bytes())), Access::Write)?;
    }
    for (n, at) in at.into_iter().enumerate() {
        cpu.store(at, w.bytes(), w.zx(cpu.regs[n]))?;
    }
    let sp = below(cpu, 8 * u64::from(w.bytes()));
    set_sp(cpu, sp);
    Ok(())
}

/// POPA: DI SI BP (SP skipped) BX DX CX AX.
pub fn popa(cpu: &mut Cpu, i: &Instruction) -> Done {
    let w = width_of(i);
    let mut v = [0; 8];
    for (n, v) in v.iter_mut().enumerate().filter(|(n, _)| *n != RSP) {
        let up = (7 - n as u64) * u64::from(w.bytes());
        let at = cpu.linear(Seg::Ss, below(cpu, up.wrapping_neg()), w.bytes(), Access::Read)?;
        *v = cpu.load(at, w.bytes())?;
    }
    for (n, v) in v.into_iter().enumerate().filter(|(n, _)| *n != RSP) {
        set_width(cpu, w, n, v);
    }
    let sp = below(cpu, (8 * u64::from(w.bytes())).wrapping_neg());
    set_sp(cpu, sp);
    Ok(())
}

/// Writes the low `w` of register number `n`.
fn set_width(cpu: &mut Cpu, w: Width, n: usize, v: u64) {
    cpu.regs[n] = if w == Width::W { cpu.regs[n] & !0xffff | w.zx(v) } else { w.zx(v) };
}

/// ENTER: pushes rBP, copies `levels - 1` frame pointers, pushes the new one, and makes room. All that it reads and
/// writes, and the write at the final stack pointer, is checked first. Source: SDM vol. 2A, ENTER.
pub fn enter(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (w, levels) = (width_of(i), u64::from(i.immediate8_2nd() & 31));
    let bytes = u64::from(w.bytes());
    let sp = below(cpu, (1 + levels) * bytes + u64::from(i.immediate16()));
    checked(cpu, w, sp, Access::Write)?;
    let mut to = [0; 32];
    for (n, to) in (1..).zip(&mut to[..=levels as usize]) {
        *to = checked(cpu, w, below(cpu, n * bytes), Access::Write)?;
    }
    let mut from = [0; 32];
    for n in 1..levels {
        let frame = cpu.regs[RBP].wrapping_sub(n * bytes) & cpu.stack_mask();
        from[n as usize] = checked(cpu, w, frame, Access::Read)?;
    }
    // All of ESP also where only SP moves (hardware; Bochs does the same).
    let frame = cpu.regs[RSP] & !cpu.stack_mask() | below(cpu, bytes);
    for (n, to) in to[..=levels as usize].iter().enumerate() {
        let v = match n as u64 {
            0 => cpu.regs[RBP],
            n if n == levels => frame,
            _ => cpu.load(from[n], w.bytes())?,
        };
        cpu.store(*to, w.bytes(), w.zx(v))?;
    }
    set_width(cpu, w, RBP, frame);
    set_sp(cpu, sp);
    Ok(())
}

/// Linear address of `w` at `offset` in the stack, which allows `access`.
fn checked(cpu: &mut Cpu, w: Width, offset: u64, access: Access) -> Result<u64, Stop> {
    let at = cpu.linear(Seg::Ss, offset, w.bytes(), access)?;
    cpu.check_alignment(at, w.bytes())?;
    cpu.probe(at, w.bytes(), access)?;
    Ok(at)
}

/// LEAVE: rSP = rBP, then POP rBP.
pub fn leave(cpu: &mut Cpu, i: &Instruction) -> Done {
    let w = width_of(i);
    let sp = cpu.regs[RBP] & cpu.stack_mask();
    let at = cpu.linear(Seg::Ss, sp, w.bytes(), Access::Read)?;
    let v = cpu.load(at, w.bytes())?;
    set_sp(cpu, sp.wrapping_add(w.bytes().into()));
    set_width(cpu, w, RBP, v);
    Ok(())
}
