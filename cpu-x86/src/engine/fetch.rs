//! The bytes of an instruction: how many of them the processor fetches, and what it takes them for.

use super::run::read_host;
use crate::fault::Stop;
use crate::state::{Cpu, Seg};
use iced_x86::{CodeSize, Decoder, DecoderError, DecoderOptions, Instruction, Register};

/// Most bytes of an instruction. Source: SDM vol. 2A, 2.3.11.
const LONGEST: usize = 15;

/// Opcodes that mean nothing in 64-bit code, whatever follows: they are refused before another byte is fetched.
const UNDEFINED_IN_64: [u8; 17] =
    [0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0xce, 0xd4, 0xd5, 0xd6];

/// Opcodes behind 0Fh of which the same is true everywhere.
const UNDEFINED: [u8; 19] =
    [0x04, 0x0a, 0x0c, 0x0e, 0x24, 0x25, 0x26, 0x27, 0x36, 0x37, 0x39, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0xa6, 0xa7, 0xaa];

/// Are `rest`, of which `i` was decoded with `error`, too few bytes to tell what the instruction is?
///
/// Its length is known before it is refused: a group's member without a meaning (FF /7) is #UD only once the displacement
/// has been fetched, whereas the decoder refuses it at once. Source: a Zen 4, asked with each opcode at a page's end.
pub(super) fn is_cut(i: &Instruction, error: DecoderError, bits: u32, rest: &[u8]) -> bool {
    if !i.is_invalid() || rest.len() >= LONGEST {
        return false;
    }
    let opcode = rest.iter().take_while(|b| is_prefix(bits, **b)).count();
    let (refused, modrm) = match rest.get(opcode..) {
        Some([0x0f, second, ..]) => (UNDEFINED.contains(second), opcode + 2),
        Some([first, ..]) => (bits == 64 && UNDEFINED_IN_64.contains(first), opcode + 1),
        _ => (false, opcode + 1),
    };
    !refused && (error == DecoderError::NoMoreBytes || has_longer_sibling(bits, rest, modrm))
}

fn is_prefix(bits: u32, byte: u8) -> bool {
    match byte {
        0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3 => true,
        byte => bits == 64 && byte & 0xf0 == 0x40,
    }
}

/// Would `bytes`, with another number in their ModRM byte, which is at `modrm`, be the start of a longer instruction?
fn has_longer_sibling(bits: u32, bytes: &[u8], modrm: usize) -> bool {
    let mut sibling = bytes.to_vec();
    modrm < bytes.len()
        && (0..8).any(|number| {
            sibling[modrm] = bytes[modrm] & !0x38 | number << 3;
            let mut d = Decoder::new(bits, &sibling, DecoderOptions::NONE);
            let _ = d.decode();
            d.last_error() == DecoderError::NoMoreBytes
        })
}

/// The instruction as the processor takes it: 64-bit code ignores prefixes of ES, CS, SS and DS, and so they do not say
/// either which exception an address that is not canonical raises. Source: SDM vol. 2A, 2.2.1.3; vol. 1, 3.3.7.1.
pub(super) fn as_decoded(mut i: Instruction) -> Instruction {
    let ignored = [Register::ES, Register::CS, Register::SS, Register::DS];
    if i.code_size() == CodeSize::Code64 && ignored.contains(&i.segment_prefix()) {
        i.set_segment_prefix(Register::None);
    }
    i
}

impl Cpu {
    /// The instruction at `rip`, all of it within the limit of CS.
    pub(super) fn fetch_within_code(&mut self) -> Result<Instruction, Stop> {
        let limit = u64::from(self.segment(Seg::Cs).limit);
        if !self.is_64bit() && self.rip > limit {
            return Err(Stop::gp(0));
        }
        let i = self.fetch_instruction()?;
        let end = self.rip.wrapping_add(i.len() as u64);
        if self.is_64bit() || end <= limit + 1 { Ok(i) } else { Err(Stop::gp(0)) }
    }

    /// Are the bytes at `rip`, which are no instruction, the beginning of one of more than 15 bytes? Such a one has a
    /// prefix too many: without the first, the decoder says that the 14 left are too few.
    pub(super) fn is_too_long(&mut self) -> bool {
        let Ok((mut bytes, first)) = self.fetch_first() else { return false };
        if self.fetch_rest(&mut bytes, first).is_err() {
            return false;
        }
        let mut d = Decoder::with_ip(self.code_bits(), &bytes[1..], 0, DecoderOptions::NONE);
        let _ = d.decode();
        d.last_error() == DecoderError::NoMoreBytes
    }

    /// The instruction at `rip`. Its second page is fetched only where it goes on there.
    pub(super) fn fetch_instruction(&mut self) -> Result<Instruction, Stop> {
        let (mut bytes, first) = self.fetch_first()?;
        let (bits, ip) = (self.code_bits(), self.code_address(self.rip) & 0xfff);
        let decode = |b: &[u8]| {
            let mut d = Decoder::with_ip(bits, b, ip, DecoderOptions::NONE);
            (as_decoded(d.decode()), d.last_error())
        };
        let (i, error) = decode(&bytes[..first]);
        if !is_cut(&i, error, bits, &bytes[..first]) {
            return Ok(i);
        }
        self.fetch_rest(&mut bytes, first)?;
        Ok(decode(&bytes).0)
    }

    /// The bytes at `rip` that lie in its page, 15 at most, and how many they are.
    fn fetch_first(&mut self) -> Result<([u8; LONGEST], usize), Stop> {
        let at = self.code_address(self.rip);
        let (page, start, mut bytes) = (self.fetch_page(at)?, (at & 0xfff) as usize, [0; LONGEST]);
        let first = LONGEST.min(4096 - start);
        read_host(&self.ram, page, start, &mut bytes[..first]);
        Ok((bytes, first))
    }

    /// Those behind the `first` ones, if they are not all: in the next page.
    fn fetch_rest(&mut self, bytes: &mut [u8; LONGEST], first: usize) -> Result<(), Stop> {
        if first < LONGEST {
            let at = self.code_address(self.rip).wrapping_add(first as u64);
            let page = self.fetch_page(self.wrap_code(at))?;
            read_host(&self.ram, page, 0, &mut bytes[first..]);
        }
        Ok(())
    }
}
