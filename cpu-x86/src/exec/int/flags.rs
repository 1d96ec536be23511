//! LAHF, SAHF, CLC, STC, CMC, CLD, STD, SALC.

use crate::alu::flag::{CF, DF, OF, STATUS};
use crate::fault::Done;
use crate::state::Cpu;
use iced_x86::{Instruction, Mnemonic, Register};

/// Moves between flags and AH or AL, and changes of one flag.
pub fn flags(cpu: &mut Cpu, i: &Instruction) -> Done {
    let f = cpu.status_flags();
    match i.mnemonic() {
        Mnemonic::Lahf => cpu.set_gpr(Register::AH, f & !OF | 2),
        Mnemonic::Sahf => cpu.change_status_flags(STATUS & !OF, cpu.gpr(Register::AH)),
        Mnemonic::Clc => cpu.set_status_flags(f & !CF),
        Mnemonic::Stc => cpu.set_status_flags(f | CF),
        Mnemonic::Cmc => cpu.set_status_flags(f ^ CF),
        Mnemonic::Cld => cpu.system_flags &= !DF,
        Mnemonic::Std => cpu.system_flags |= DF,
        _ => cpu.set_gpr(Register::AL, if f & CF != 0 { 0xff } else { 0 }),
    }
    Ok(())
}
