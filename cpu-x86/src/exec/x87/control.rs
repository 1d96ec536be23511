//! Control: FNINIT, FNCLEX, FLDCW, FNSTCW, FNSTSW, FFREE, FINCSTP, FNOP, WAIT.

use super::stack::index;
use super::status;
use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::state::{Cpu, Fpu};
use iced_x86::{Instruction, Mnemonic, OpKind};

/// Bits of the control word that exist; bit 6 reads as one. Source: SDM vol. 1, 8.1.5; hardware.
const CONTROL: u16 = 0x1f3f;

impl Fpu {
    /// Loads the control word; ES follows the new masks.
    pub(crate) fn set_control(&mut self, v: u16) {
        self.cw = v & CONTROL | 0x40;
        self.summarise();
    }
    /// FNINIT. The registers keep their contents. Source: SDM vol. 2, FINIT.
    pub(crate) fn initialise(&mut self) {
        *self = Fpu { r: self.r, cw: 0x37f, tag: 0xffff, ..Fpu::default() };
    }
}

/// FNINIT.
pub fn fninit(cpu: &mut Cpu, _: &Instruction) -> Done {
    cpu.x87_available()?;
    cpu.fpu.initialise();
    Ok(())
}

/// FNCLEX: clears the flags, SF, ES and B.
pub fn fnclex(cpu: &mut Cpu, _: &Instruction) -> Done {
    cpu.x87_available()?;
    cpu.fpu.sw &= 0x7f00;
    Ok(())
}

/// FNDISI, FNENI, FNSETPM: they did something on the 8087 and 80287.
pub fn nothing(cpu: &mut Cpu, _: &Instruction) -> Done {
    cpu.x87_available()
}

/// FNOP.
pub fn fnop(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    cpu.x87_note(i, false);
    Ok(())
}

/// WAIT: #NM only with both CR0.MP and CR0.TS.
pub fn wait(cpu: &mut Cpu, _: &Instruction) -> Done {
    if cpu.cr0 & 0b1010 == 0b1010 {
        return Err(Stop::NM);
    }
    if cpu.fpu.sw & status::ES != 0 { Err(Stop::MF) } else { Ok(()) }
}

/// FNSTSW AX or m16.
pub fn fnstsw(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_available()?;
    store_word(cpu, i, cpu.fpu.sw)
}

/// FNSTCW.
pub fn fnstcw(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_available()?;
    store_word(cpu, i, cpu.fpu.cw)
}

fn store_word(cpu: &mut Cpu, i: &Instruction, v: u16) -> Done {
    if i.op_kind(0) == OpKind::Register {
        cpu.set_gpr(i.op_register(0), v.into());
        return Ok(());
    }
    let at = cpu.address(i, 2, Access::Write)?;
    cpu.store(at, 2, v.into())
}

/// FLDCW.
pub fn fldcw(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    let at = cpu.address(i, 2, Access::Read)?;
    let v = cpu.load(at, 2)?;
    cpu.fpu.set_control(v as u16);
    Ok(())
}

/// FFREE; FFREEP pops as well.
pub fn ffree(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    cpu.fpu.free(index(i, 0));
    cpu.fpu.sw &= !status::C1;
    if i.mnemonic() == Mnemonic::Ffreep {
        cpu.fpu.pop();
    }
    cpu.x87_note(i, false);
    Ok(())
}

/// FINCSTP, FDECSTP: TOP turns, tags stay; C1 is cleared.
pub fn turn(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    let by = if i.mnemonic() == Mnemonic::Fincstp { 1 } else { 7 };
    cpu.fpu.set_top(cpu.fpu.top() + by);
    cpu.fpu.sw &= !status::C1;
    cpu.x87_note(i, false);
    Ok(())
}
