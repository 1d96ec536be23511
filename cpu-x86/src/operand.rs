//! Operands of a decoded instruction: registers, addresses, memory. For the general path; the engine pre-decodes.
//!
//! An instruction was decoded with its offset in the page as IP, for blocks are kept by physical address: use
//! [`Cpu::rip`], [`Cpu::next_rip`] and the functions here, never `i.ip()` alone.

use crate::alu::Width;
use crate::fault::Stop;
use crate::memory::Access;
use crate::state::{Cpu, Seg};
use iced_x86::{Instruction, OpKind, Register};

/// The segment register `r` names.
pub(crate) fn seg_of(r: Register) -> Seg {
    match r {
        Register::ES => Seg::Es,
        Register::CS => Seg::Cs,
        Register::SS => Seg::Ss,
        Register::FS => Seg::Fs,
        Register::GS => Seg::Gs,
        _ => Seg::Ds,
    }
}

/// `v` cut to the width of address register `r`.
fn cut(r: Register, v: u64) -> u64 {
    match r.size() {
        2 => v & 0xffff,
        4 => v & 0xffff_ffff,
        _ => v,
    }
}

impl Cpu {
    /// Reads general register `r` (any width, AH to BH included), zero-extended.
    pub fn gpr(&self, r: Register) -> u64 {
        let whole = self.regs[r.full_register().number()];
        match r.size() {
            1 if is_high_byte(r) => whole >> 8 & 0xff,
            1 => whole & 0xff,
            2 => whole & 0xffff,
            4 => whole & 0xffff_ffff,
            _ => whole,
        }
    }

    /// Writes general register `r`: 32-bit writes clear the upper half, narrower ones keep the rest.
    pub fn set_gpr(&mut self, r: Register, v: u64) {
        let whole = &mut self.regs[r.full_register().number()];
        *whole = match r.size() {
            1 if is_high_byte(r) => *whole & !0xff00 | (v & 0xff) << 8,
            1 => *whole & !0xff | v & 0xff,
            2 => *whole & !0xffff | v & 0xffff,
            4 => v & 0xffff_ffff,
            _ => v,
        };
    }

    /// Offset of the memory operand in its segment, cut to the address size.
    pub fn offset(&self, i: &Instruction) -> u64 {
        if i.is_ip_rel_memory_operand() {
            let target = i.ip_rel_memory_address().wrapping_sub(i.ip()).wrapping_add(self.rip);
            return if i.memory_base() == Register::EIP { target & 0xffff_ffff } else { target };
        }
        let (base, index) = (i.memory_base(), i.memory_index());
        let mut at = i.memory_displacement64();
        if base != Register::None {
            at = at.wrapping_add(self.gpr(base));
        }
        if index.is_gpr() {
            at = at.wrapping_add(self.gpr(index) << i.memory_index_scale().trailing_zeros());
        }
        match (base, index) {
            (Register::None, Register::None) => match i.memory_displ_size() {
                2 => at & 0xffff,
                4 if self.code_bits() != 64 => at & 0xffff_ffff,
                _ => at,
            },
            (Register::None, r) | (r, _) => cut(r, at),
        }
    }

    /// Linear address of the memory operand, checked for `bytes` of `access` by segmentation (or canonicity).
    ///
    /// # Errors
    /// #GP(0) or #SS(0).
    pub fn address(&self, i: &Instruction, bytes: u32, access: Access) -> Result<u64, Stop> {
        self.linear(seg_of(i.memory_segment()), self.offset(i), bytes, access)
    }

    /// Width of operand `n`: a register's, or the memory operand's.
    pub fn width(&self, i: &Instruction, n: u32) -> Width {
        let bytes = match i.op_kind(n) {
            OpKind::Register => i.op_register(n).size(),
            OpKind::Memory => i.memory_size().size(),
            OpKind::Immediate8 | OpKind::Immediate8_2nd => 1,
            OpKind::Immediate16 | OpKind::Immediate8to16 => 2,
            OpKind::Immediate32 | OpKind::Immediate8to32 => 4,
            _ => 8,
        };
        Width::of_bytes(bytes).unwrap_or(Width::Q)
    }

    /// Reads general operand `n` (register, memory up to 8 bytes, or immediate, sign-extended as encoded then cut).
    ///
    /// # Errors
    /// What reading memory raises.
    pub fn read(&mut self, i: &Instruction, n: u32) -> Result<u64, Stop> {
        match i.op_kind(n) {
            OpKind::Register => Ok(self.gpr(i.op_register(n))),
            OpKind::Memory => {
                let bytes = self.width(i, n).bytes();
                let at = self.address(i, bytes, Access::Read)?;
                self.load(at, bytes)
            }
            _ => Ok(self.width(i, n).zx(i.immediate(n))),
        }
    }

    /// Writes general operand `n` (register or memory).
    ///
    /// # Errors
    /// What writing memory raises; then nothing was written.
    pub fn write(&mut self, i: &Instruction, n: u32, v: u64) -> Result<(), Stop> {
        if i.op_kind(n) == OpKind::Register {
            self.set_gpr(i.op_register(n), v);
            return Ok(());
        }
        let bytes = self.width(i, n).bytes();
        let at = self.address(i, bytes, Access::Write)?;
        self.store(at, bytes, v)
    }

    /// Replaces general operand `n` by `f` of it. For memory, write permission is checked before `f` runs and the
    /// segment is checked for writing; `f` returns the new value and anything else the caller wants.
    ///
    /// # Errors
    /// What reading and writing memory raises; then `f` has not run.
    pub fn modify<T>(&mut self, i: &Instruction, n: u32, f: impl FnOnce(&mut Cpu, u64) -> (u64, T)) -> Result<T, Stop> {
        if i.op_kind(n) == OpKind::Register {
            let r = i.op_register(n);
            let (v, more) = f(self, self.gpr(r));
            self.set_gpr(r, v);
            return Ok(more);
        }
        let bytes = self.width(i, n).bytes();
        let at = self.address(i, bytes, Access::Write)?;
        self.check_alignment(at, bytes)?;
        self.probe(at, bytes, Access::Write)?;
        let old = self.load(at, bytes)?;
        let (v, more) = f(self, old);
        self.store(at, bytes, v)?;
        Ok(more)
    }

    /// Target of a near relative branch, as an offset in CS (not yet cut to the operand size).
    pub fn branch_target(&self, i: &Instruction) -> u64 {
        i.near_branch_target().wrapping_sub(i.ip()).wrapping_add(self.rip)
    }
}

/// AH, CH, DH or BH?
pub(crate) fn is_high_byte(r: Register) -> bool {
    matches!(r, Register::AH | Register::CH | Register::DH | Register::BH)
}
