//! IN and OUT, and who may.

use crate::alu::flag;
use crate::fault::{Done, Stop};
use crate::state::Cpu;
use iced_x86::{Instruction, OpKind, Register};

/// Port number in operand `n`: imm8 or DX.
fn port(cpu: &Cpu, i: &Instruction, n: u32) -> u16 {
    if i.op_kind(n) == OpKind::Immediate8 { i.immediate8().into() } else { cpu.gpr(Register::DX) as u16 }
}

/// IN.
pub fn input(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (port, bytes) = (port(cpu, i, 1), cpu.width(i, 0).bytes());
    cpu.check_io(port, bytes)?;
    let v = cpu.port_in(port, bytes);
    cpu.set_gpr(i.op0_register(), v.into());
    Ok(())
}

/// OUT.
pub fn output(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (port, w) = (port(cpu, i, 0), cpu.width(i, 1));
    cpu.check_io(port, w.bytes())?;
    let v = cpu.gpr(i.op1_register());
    cpu.port_out(port, w.bytes(), v as u32);
    Ok(())
}

impl Cpu {
    /// May this program touch `bytes` ports from `port`? By IOPL, else by the I/O permission bitmap of the TSS.
    ///
    /// # Errors
    /// #GP(0); #PF of reading the TSS. Source: SDM vol. 1, 19.5.
    pub fn check_io(&mut self, port: u16, bytes: u32) -> Done {
        let iopl = (self.system_flags & flag::IOPL) >> 12;
        if !self.protected() || u64::from(self.cpl) <= iopl && !self.v86() {
            return Ok(());
        }
        let (base, limit) = (self.tr.base, u64::from(self.tr.limit));
        let wide = matches!(self.tr.kind(), 9 | 11);
        if !wide || limit < 103 {
            return Err(Stop::gp(0));
        }
        let map = self.load_system(base.wrapping_add(102), 2)? + u64::from(port >> 3);
        if map + 1 > limit {
            return Err(Stop::gp(0));
        }
        let bits = self.load_system(base.wrapping_add(map), 2)? >> (port & 7);
        if bits & ((1 << bytes) - 1) != 0 { Err(Stop::gp(0)) } else { Ok(()) }
    }
}
