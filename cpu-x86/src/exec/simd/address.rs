//! The address of a memory operand, decoded once: what `Cpu::offset` computes, without the `Instruction`.

use crate::fault::Stop;
use crate::memory::Access;
use crate::operand::seg_of;
use crate::state::{Cpu, Seg, cell};
use iced_x86::{CodeSize, Instruction, Register};

/// [`Address::base`] of a RIP-relative operand: the offset of the instruction itself.
const RIP: u8 = 0xff;

/// An address: base + (index << shift) + displacement, cut to the address size, in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    displacement: u64,
    /// What the sum is cut to: 16, 32 or 64 bits.
    bits: u8,
    /// Cells of [`Cpu::regs`]; `cell::ZERO` for none.
    base: u8,
    index: u8,
    shift: u8,
    segment: Seg,
}

impl Address {
    /// The address of the memory operand of `i`; meaningless without one.
    pub fn of(i: &Instruction) -> Address {
        let (base, index) = (i.memory_base(), i.memory_index());
        let bits = |r: Register| 8 * r.size() as u8;
        let mut address = Address {
            displacement: i.memory_displacement64(),
            bits: match (base, index.is_gpr()) {
                (Register::None, true) => bits(index),
                (Register::None, false) if i.memory_displ_size() == 2 => 16,
                (Register::None, false) if i.memory_displ_size() == 4 && i.code_size() != CodeSize::Code64 => 32,
                (Register::None, false) => 64,
                _ => bits(base),
            },
            base: if base == Register::None { cell::ZERO as u8 } else { base.number() as u8 & 15 },
            index: if index.is_gpr() { index.number() as u8 & 15 } else { cell::ZERO as u8 },
            shift: i.memory_index_scale().trailing_zeros() as u8,
            segment: seg_of(i.memory_segment()),
        };
        if i.is_ip_rel_memory_operand() {
            address.displacement = i.ip_rel_memory_address().wrapping_sub(i.ip());
            address.base = RIP;
        }
        address
    }

    /// Offset in the segment.
    #[inline]
    pub fn offset(&self, cpu: &Cpu) -> u64 {
        let base = if self.base == RIP { cpu.rip } else { cpu.regs[usize::from(self.base) & 31] };
        let index = cpu.regs[usize::from(self.index) & 31] << (self.shift & 3);
        base.wrapping_add(index).wrapping_add(self.displacement) & u64::MAX >> (64 - self.bits.clamp(1, 64))
    }

    /// Linear address outside 64-bit mode, whatever the segment allows.
    pub(in crate::exec) fn unchecked(&self, cpu: &Cpu) -> u64 {
        cpu.segment(self.segment).base.wrapping_add(self.offset(cpu))
    }

    /// Linear address of `bytes`, `by` bytes behind the operand's start, checked for `access`.
    ///
    /// # Errors
    /// #GP(0) or #SS(0).
    #[inline]
    pub fn behind(&self, cpu: &Cpu, by: u64, bytes: u32, access: Access) -> Result<u64, Stop> {
        let at = self.offset(cpu).wrapping_add(by) & u64::MAX >> (64 - self.bits.clamp(1, 64));
        cpu.linear(self.segment, at, bytes, access)
    }

    /// Linear address of `bytes`, checked for `access` by segmentation or canonicity.
    ///
    /// # Errors
    /// #GP(0) or #SS(0).
    #[inline]
    pub fn linear(&self, cpu: &Cpu, bytes: u32, access: Access) -> Result<u64, Stop> {
        cpu.linear(self.segment, self.offset(cpu), bytes, access)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::processor;
    use super::*;
    use iced_x86::{Decoder, DecoderOptions};

    #[test]
    fn it_agrees_with_the_operand_of_the_instruction_in_every_addressing_form() {
        let mut cpu = processor();
        let mut seed = 1u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed >> 8
        };
        cpu.regs[..16].fill_with(&mut next);
        cpu.rip = 0x1234_5678_9abc;
        let mut forms = 0;
        for modrm in (0..=255u8).filter(|m| m >> 6 != 3) {
            for sib in 0..=255u8 {
                for prefix in [0x40u8, 0x43, 0x67, 0x64] {
                    let bytes = [prefix, 0x0f, 0x10, modrm, sib, 0x85, 0x76, 0x93, 0x21, 0];
                    for bitness in [16, 32, 64] {
                        let i = Decoder::with_ip(bitness, &bytes, 0x123, DecoderOptions::NONE).decode();
                        if i.is_invalid()
                            || i.op_count() != 2
                            || i.memory_displ_size() == 0 && i.memory_base() == Register::None
                        {
                            continue;
                        }
                        cpu.set_segment(Seg::Cs, code_segment(bitness));
                        assert_eq!(Address::of(&i).offset(&cpu), cpu.offset(&i), "{bitness} {bytes:02x?}");
                        forms += 1;
                    }
                }
            }
        }
        assert!(forms > 300_000, "{forms}");
    }

    fn code_segment(bitness: u32) -> crate::state::Segment {
        use crate::state::Segment;
        let attr = match bitness {
            64 => Segment::L,
            32 => Segment::DB,
            _ => 0,
        };
        Segment { attr: attr | Segment::P | Segment::S | 11, ..Segment::default() }
    }
}
