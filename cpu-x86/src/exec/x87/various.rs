//! The transcendental functions. Source: SDM vol. 1, 8.3.6, 8.3.7, 8.3.10; vol. 2, their tables.

use crate::fault::{Done, Stop};
use crate::state::Cpu;
use iced_x86::Instruction;

/// FSIN, FCOS, FSINCOS, FPTAN, F2XM1.
pub fn function(cpu: &mut Cpu, _: &Instruction) -> Done {
    cpu.x87_wait()?;
    Err(Stop::Unimplemented)
}

/// FPATAN, FYL2X, FYL2XP1.
pub fn function_of_two(cpu: &mut Cpu, _: &Instruction) -> Done {
    cpu.x87_wait()?;
    Err(Stop::Unimplemented)
}
