//! Encodings: a code of iced's list with random operands of the kinds it takes, in 16-, 32- or 64-bit code.

use crate::layout::{CODE, CODE_END, DATA, PAGE};
use crate::random::{Corners, Random};
use iced_x86::{Code, Decoder, DecoderOptions, Encoder, Instruction, OpCodeOperandKind, OpKind, Register};

/// An encoding, and where it lies.
pub struct Encoded {
    pub bits: u32,
    pub at: u64,
    pub bytes: Vec<u8>,
    /// Decoded with its linear address as IP, less the base of its segment.
    pub instruction: Instruction,
}

/// What draws need to know of the code they are for.
#[derive(Clone, Copy)]
struct Form {
    bits: u32,
    /// Address size in bytes.
    address: u32,
    /// Offset of the instruction in its segment, and where a direct address finds the data.
    ip: u64,
    data: u64,
    memory: bool,
}

/// Base of the code segment that tests use in code of `bits`, and of the default data segment.
pub const fn bases(bits: u32) -> (u64, u64) {
    if bits == 16 { (0x30_0000, 0x20_0000) } else { (0, 0) }
}

/// A random encoding of `code` in code of `bits`; `None` when the draw cannot be encoded or decodes to another code.
pub fn encoding(code: Code, bits: u32, random: &mut Random) -> Option<Encoded> {
    let mut i = Instruction::default();
    i.set_code(code);
    let op = code.op_code();
    let (code_base, data_base) = bases(bits);
    // Now and then over the end of a page.
    let at = if random.one_in(8) { CODE + PAGE as u64 - random.below(16) } else { CODE + 0x100 + random.below(64) };
    let other = random.one_in(6);
    let address = match (bits, other) {
        (64, false) => 8,
        (64, true) | (32, false) | (16, true) => 4,
        _ => 2,
    };
    let data = DATA + PAGE as u64 - 64 + random.below(128);
    let form = Form { bits, address, ip: at - code_base, data: data - data_base, memory: random.one_in(2) };
    for (n, kind) in op.op_kinds().iter().enumerate() {
        operand(&mut i, n as u32, *kind, form, random)?;
    }
    prefixes(&mut i, random);
    let mut encoder = Encoder::new(bits);
    encoder.encode(&i, form.ip).ok()?;
    let bytes = encoder.take_buffer();
    let instruction = Decoder::with_ip(bits, &bytes, form.ip, DecoderOptions::NONE).decode();
    (instruction.code() == code && instruction.len() == bytes.len()).then_some(Encoded { bits, at, bytes, instruction })
}

impl Encoded {
    /// The same bytes, with `short` of them behind the end of all code.
    pub fn at_the_end(mut self, short: u64) -> Encoded {
        self.at = CODE_END - self.bytes.len() as u64 + short;
        let ip = self.at - bases(self.bits).0;
        self.instruction = Decoder::with_ip(self.bits, &self.bytes, ip, DecoderOptions::NONE).decode();
        self
    }
}

/// REP, LOCK, segment overrides, and the decorations of EVEX.
fn prefixes(i: &mut Instruction, random: &mut Random) {
    let op = i.code().op_code();
    let memory = (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory);
    if op.can_use_rep_prefix() && !random.one_in(4) {
        let repne = op.can_use_repne_prefix() && random.one_in(2);
        i.set_has_rep_prefix(!repne);
        i.set_has_repne_prefix(repne);
    }
    if op.can_use_lock_prefix() && i.op0_kind() == OpKind::Memory && random.one_in(3) {
        i.set_has_lock_prefix(true);
    }
    if random.one_in(8) {
        use Register::{CS, DS, ES, FS, GS, SS};
        i.set_segment_prefix(random.pick(&[ES, CS, SS, DS, FS, GS, FS, GS]));
    }
    if op.can_use_op_mask_register() && (op.require_op_mask_register() || random.one_in(2)) {
        i.set_op_mask(Register::K1 + random.below(7) as u32);
        i.set_zeroing_masking(op.can_use_zeroing_masking() && random.one_in(2) && i.op0_kind() != OpKind::Memory);
    }
    if memory && op.can_broadcast() && random.one_in(3) {
        i.set_is_broadcast(true);
    }
    if !memory && op.can_use_rounding_control() && random.one_in(3) {
        use iced_x86::RoundingControl::{RoundDown, RoundToNearest, RoundTowardZero, RoundUp};
        i.set_rounding_control(random.pick(&[RoundToNearest, RoundDown, RoundUp, RoundTowardZero]));
    } else if !memory && op.can_suppress_all_exceptions() && random.one_in(3) {
        i.set_suppress_all_exceptions(true);
    }
}

/// A class of registers: the first, how many in code of 64 bits, how many elsewhere.
type Class = (Register, u64, u64);

/// The registers that `kind` may be, and whether it may be memory instead.
fn class(kind: OpCodeOperandKind) -> Option<(Class, bool)> {
    use OpCodeOperandKind::*;
    let r = match kind {
        r8_or_mem | r8_reg | r8_opcode => (Register::AL, 20, 8),
        r16_or_mem | r16_reg | r16_rm | r16_opcode => (Register::AX, 16, 8),
        r32_or_mem | r32_reg | r32_rm | r32_opcode | r32_vvvv => (Register::EAX, 16, 8),
        r64_or_mem | r64_reg | r64_rm | r64_opcode | r64_vvvv => (Register::RAX, 16, 8),
        mm_or_mem | mm_reg | mm_rm => (Register::MM0, 8, 8),
        xmm_or_mem | xmm_reg | xmm_rm | xmm_vvvv | xmm_is4 | xmm_is5 => (Register::XMM0, 16, 8),
        ymm_or_mem | ymm_reg | ymm_rm | ymm_vvvv | ymm_is4 | ymm_is5 => (Register::YMM0, 16, 8),
        zmm_or_mem | zmm_reg | zmm_rm | zmm_vvvv => (Register::ZMM0, 32, 8),
        k_or_mem | k_reg | k_rm | k_vvvv => (Register::K0, 8, 8),
        seg_reg => (Register::ES, 6, 6),
        sti_opcode => (Register::ST0, 8, 8),
        cr_reg => (Register::CR0, 16, 8),
        dr_reg => (Register::DR0, 8, 8),
        bnd_reg | bnd_or_mem_mpx => (Register::BND0, 4, 4),
        _ => return Option::None,
    };
    use OpCodeOperandKind as K;
    let memory = matches!(
        kind,
        K::r8_or_mem
            | K::r16_or_mem
            | K::r32_or_mem
            | K::r64_or_mem
            | K::mm_or_mem
            | K::xmm_or_mem
            | K::ymm_or_mem
            | K::zmm_or_mem
            | K::k_or_mem
            | K::bnd_or_mem_mpx
    );
    Some((r, memory))
}

/// The one register that `kind` stands for.
fn fixed(kind: OpCodeOperandKind) -> Option<Register> {
    use OpCodeOperandKind as K;
    Some(match kind {
        K::al => Register::AL,
        K::cl => Register::CL,
        K::ax => Register::AX,
        K::dx => Register::DX,
        K::eax => Register::EAX,
        K::rax => Register::RAX,
        K::es => Register::ES,
        K::cs => Register::CS,
        K::ss => Register::SS,
        K::ds => Register::DS,
        K::fs => Register::FS,
        K::gs => Register::GS,
        K::st0 => Register::ST0,
        _ => return None,
    })
}

fn operand(i: &mut Instruction, n: u32, kind: OpCodeOperandKind, form: Form, random: &mut Random) -> Option<()> {
    if let Some(((first, long, short), or_memory)) = class(kind) {
        if or_memory && form.memory {
            memory(i, n, form, random);
        } else {
            let evex = i.code().op_code().encoding() == iced_x86::EncodingKind::EVEX && first.is_vector_register();
            let many = if form.bits == 64 && evex {
                32
            } else if form.bits == 64 {
                long
            } else {
                short
            };
            i.set_op_kind(n, OpKind::Register);
            i.set_op_register(n, first + random.below(many) as u32);
        }
        return Some(());
    }
    if let Some(r) = fixed(kind) {
        i.set_op_kind(n, OpKind::Register);
        i.set_op_register(n, r);
        return Some(());
    }
    immediate(i, n, kind, random.corner()).or_else(|| place(i, n, kind, form, random))
}

fn immediate(i: &mut Instruction, n: u32, kind: OpCodeOperandKind, v: u64) -> Option<()> {
    use OpCodeOperandKind as K;
    let second = n == 1 && matches!(i.op0_kind(), OpKind::Immediate16 | OpKind::Immediate8);
    let k = match kind {
        K::imm8 | K::imm8_const_1 | K::imm4_m2z if second => OpKind::Immediate8_2nd,
        K::imm8 | K::imm8_const_1 | K::imm4_m2z => OpKind::Immediate8,
        K::imm8sex16 => OpKind::Immediate8to16,
        K::imm8sex32 => OpKind::Immediate8to32,
        K::imm8sex64 => OpKind::Immediate8to64,
        K::imm16 => OpKind::Immediate16,
        K::imm32 => OpKind::Immediate32,
        K::imm32sex64 => OpKind::Immediate32to64,
        K::imm64 => OpKind::Immediate64,
        _ => return None,
    };
    i.set_op_kind(n, k);
    match k {
        _ if kind == K::imm8_const_1 => i.set_immediate8(1),
        OpKind::Immediate8_2nd => i.set_immediate8_2nd(v as u8),
        OpKind::Immediate8 if kind == K::imm4_m2z => i.set_immediate8(v as u8 & 15),
        OpKind::Immediate8 => i.set_immediate8(v as u8),
        OpKind::Immediate16 => i.set_immediate16(v as u16),
        OpKind::Immediate32 => i.set_immediate32(v as u32),
        OpKind::Immediate32to64 => i.set_immediate32to64((v as i32).into()),
        OpKind::Immediate64 => i.set_immediate64(v),
        OpKind::Immediate8to16 => i.set_immediate8to16((v as i8).into()),
        OpKind::Immediate8to32 => i.set_immediate8to32((v as i8).into()),
        _ => i.set_immediate8to64((v as i8).into()),
    }
    Some(())
}

/// Operands that are places: memory in all its forms, and targets.
fn place(i: &mut Instruction, n: u32, kind: OpCodeOperandKind, form: Form, random: &mut Random) -> Option<()> {
    use OpCodeOperandKind as K;
    fn by_address<T>(form: Form, two: T, four: T, eight: T) -> T {
        match form.address {
            2 => two,
            4 => four,
            _ => eight,
        }
    }
    let string = match kind {
        K::seg_rSI => Some(by_address(form, OpKind::MemorySegSI, OpKind::MemorySegESI, OpKind::MemorySegRSI)),
        K::es_rDI => Some(by_address(form, OpKind::MemoryESDI, OpKind::MemoryESEDI, OpKind::MemoryESRDI)),
        K::seg_rDI => Some(by_address(form, OpKind::MemorySegDI, OpKind::MemorySegEDI, OpKind::MemorySegRDI)),
        _ => None,
    };
    if let Some(k) = string {
        i.set_op_kind(n, k);
        return Some(());
    }
    match kind {
        K::mem | K::mem_mib => memory(i, n, form, random),
        K::mem_offs => direct(i, n, form),
        K::mem_vsib32x | K::mem_vsib64x => gather(i, n, Register::XMM0, form, random)?,
        K::mem_vsib32y | K::mem_vsib64y => gather(i, n, Register::YMM0, form, random)?,
        K::mem_vsib32z | K::mem_vsib64z => gather(i, n, Register::ZMM0, form, random)?,
        K::seg_rBX_al => {
            i.set_op_kind(n, OpKind::Memory);
            i.set_memory_base(by_address(form, Register::BX, Register::EBX, Register::RBX));
            i.set_memory_index(Register::AL);
        }
        K::br16_1 | K::br16_2 => {
            i.set_op_kind(n, OpKind::NearBranch16);
            i.set_near_branch16(target(form, random) as u16);
        }
        K::br32_1 | K::br32_4 => {
            i.set_op_kind(n, OpKind::NearBranch32);
            i.set_near_branch32(target(form, random) as u32);
        }
        K::br64_1 | K::br64_4 => {
            i.set_op_kind(n, OpKind::NearBranch64);
            i.set_near_branch64(target(form, random));
        }
        K::farbr2_2 | K::farbr4_2 => {
            let wide = kind == K::farbr4_2;
            i.set_op_kind(n, if wide { OpKind::FarBranch32 } else { OpKind::FarBranch16 });
            let to = target(form, random);
            if wide {
                i.set_far_branch32(to as u32)
            } else {
                i.set_far_branch16(to as u16)
            }
            i.set_far_branch_selector(crate::draw::selector(random));
        }
        _ => return None,
    }
    Some(())
}

/// Somewhere near, with HLT there.
fn target(form: Form, random: &mut Random) -> u64 {
    if random.one_in(2) { form.ip + 0x20 + random.below(0x40) } else { form.ip - 0x20 - random.below(0x40) }
}

fn direct(i: &mut Instruction, n: u32, form: Form) {
    i.set_op_kind(n, OpKind::Memory);
    i.set_memory_displ_size(form.address);
    i.set_memory_displacement64(form.data);
}

/// One of the addressing forms.
fn memory(i: &mut Instruction, n: u32, form: Form, random: &mut Random) {
    if random.one_in(8) {
        direct(i, n, form);
        if form.bits == 64 && random.one_in(2) {
            i.set_memory_displ_size(8);
            i.set_memory_base(if form.address == 4 { Register::EIP } else { Register::RIP });
        }
        return;
    }
    i.set_op_kind(n, OpKind::Memory);
    if form.address == 2 {
        return sixteen(i, random);
    }
    let (first, many) = match (form.address, form.bits) {
        (8, _) => (Register::RAX, 16),
        (_, 64) => (Register::EAX, 16),
        _ => (Register::EAX, 8),
    };
    let base = first + random.below(many) as u32;
    let index = first + random.below(many) as u32;
    i.set_memory_base(base);
    if random.one_in(2) && index.number() != 4 && index != base {
        i.set_memory_index(index);
        i.set_memory_index_scale(1 << random.below(4));
    }
    let displacement = match random.below(3) {
        0 => 0,
        1 => random.next() as i8 as u64,
        _ => (random.next() as i32 >> 2) as u64,
    };
    i.set_memory_displ_size(if displacement == 0 { 0 } else { form.address });
    i.set_memory_displacement64(if form.address == 4 { displacement & 0xffff_ffff } else { displacement });
}

/// A 16-bit addressing form.
fn sixteen(i: &mut Instruction, random: &mut Random) {
    use Register::{BP, BX, DI, None, SI};
    let (base, index) =
        random.pick(&[(BX, SI), (BX, DI), (BP, SI), (BP, DI), (SI, None), (DI, None), (BP, None), (BX, None)]);
    i.set_memory_base(base);
    i.set_memory_index(index);
    i.set_memory_displ_size(2);
    i.set_memory_displacement64(if random.one_in(2) {
        random.next() & 0xffff
    } else {
        random.next() as i8 as u64 & 0xffff
    });
}

/// A vector of indices, in registers that the instruction does not otherwise use.
fn gather(i: &mut Instruction, n: u32, first: Register, form: Form, random: &mut Random) -> Option<()> {
    if form.address == 2 {
        return None;
    }
    memory(i, n, Form { address: if form.address == 8 { 8 } else { 4 }, ..form }, random);
    if i.memory_base() == Register::None || matches!(i.memory_base(), Register::RIP | Register::EIP) {
        i.set_memory_base(if form.address == 8 { Register::RBX } else { Register::EBX });
        i.set_memory_displ_size(0);
        i.set_memory_displacement64(0);
    }
    i.set_memory_index(first + random.below(if form.bits == 64 { 16 } else { 8 }) as u32);
    i.set_memory_index_scale(1);
    Some(())
}
