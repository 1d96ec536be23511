//! PUSHF, POPF, CLI, STI. Source: SDM vol. 2, each; vol. 3A, 20.3.2 and 20.4 (VME and PVI).

use crate::alu::flag;
use crate::fault::{Done, Stop};
use crate::stack::Stack;
use crate::state::{Cpu, cr4, shadow};
use iced_x86::{Instruction, Mnemonic};

/// What PUSHF leaves out of the image.
const NOT_PUSHED: u64 = flag::RF | flag::VM;
/// Flags that any program may change.
const FREE: u64 = flag::STATUS | flag::TF | flag::DF | flag::NT | flag::AC | flag::ID;

fn bytes(i: &Instruction) -> u32 {
    match i.mnemonic() {
        Mnemonic::Pushf | Mnemonic::Popf => 2,
        Mnemonic::Pushfd | Mnemonic::Popfd => 4,
        _ => 8,
    }
}

/// Is this virtual-8086 mode with IOPL below 3? With VME a 16-bit form then works on VIF; else #GP(0).
fn virtual_flags(cpu: &Cpu, bytes: u32) -> Result<bool, Stop> {
    if !cpu.v86() || cpu.iopl() == 3 {
        return Ok(false);
    }
    if cpu.cr4 & cr4::VME == 0 || bytes != 2 { Err(Stop::gp(0)) } else { Ok(true) }
}

/// PUSHF, PUSHFD, PUSHFQ: RF and VM read as zero.
pub(super) fn pushf(cpu: &mut Cpu, i: &Instruction) -> Done {
    let bytes = bytes(i);
    let mut image = cpu.flags() & !NOT_PUSHED;
    if virtual_flags(cpu, bytes)? {
        image = image & !flag::IF | flag::IOPL | (image & flag::VIF) >> 10;
    }
    let mut stack = Stack::current(cpu);
    stack.push(bytes, image)?;
    stack.commit(cpu)?;
    cpu.regs[4] = stack.pointer();
    Ok(())
}

/// POPF, POPFD, POPFQ: which flags change depends on CPL, IOPL and mode; RF is cleared by the wider forms.
pub(super) fn popf(cpu: &mut Cpu, i: &Instruction) -> Done {
    let bytes = bytes(i);
    let virtual_if = virtual_flags(cpu, bytes)?;
    let mut stack = Stack::current(cpu);
    let image = stack.pop(cpu, bytes)?;
    let old = cpu.flags();
    let mut mask = FREE;
    let mut new = image;
    if virtual_if {
        if image & flag::TF != 0 || image & flag::IF != 0 && old & flag::VIP != 0 {
            return Err(Stop::gp(0));
        }
        new = image & 0xffff | (image & flag::IF) << 10;
        mask |= flag::VIF;
    } else {
        if cpu.cpl <= cpu.iopl() {
            mask |= flag::IF;
        }
        if cpu.cpl == 0 {
            mask |= flag::IOPL;
        }
        mask &= if bytes == 2 { 0xffff } else { u64::MAX };
    }
    let kept = old & !mask & if bytes == 2 { u64::MAX } else { !flag::RF };
    cpu.regs[4] = stack.pointer();
    cpu.set_flags(kept | new & mask);
    Ok(())
}

/// Which flag CLI and STI change: IF, or VIF with VME or PVI and too little privilege for IF.
fn interrupt_flag(cpu: &Cpu) -> Result<u64, Stop> {
    if cpu.cpl <= cpu.iopl() {
        Ok(flag::IF)
    } else if cpu.cpl == 3 && cpu.virtual_interrupts() {
        Ok(flag::VIF)
    } else {
        Err(Stop::gp(0))
    }
}

/// CLI: IF = 0.
pub(super) fn cli(cpu: &mut Cpu, _: &Instruction) -> Done {
    let f = interrupt_flag(cpu)?;
    cpu.system_flags &= !f;
    Ok(())
}

/// STI: IF = 1; interrupts are taken only after the next instruction. With a virtual interrupt pending, #GP(0).
pub(super) fn sti(cpu: &mut Cpu, _: &Instruction) -> Done {
    let f = interrupt_flag(cpu)?;
    if f == flag::VIF && cpu.system_flags & flag::VIP != 0 {
        return Err(Stop::gp(0));
    }
    if f == flag::IF && cpu.system_flags & flag::IF == 0 {
        cpu.inhibit |= shadow::STI;
    }
    cpu.system_flags |= f;
    Ok(())
}
