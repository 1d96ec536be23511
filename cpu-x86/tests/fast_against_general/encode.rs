//! Encodings of a `Code` with random operands, in 64-bit mode.

use crate::CENTER;
use crate::random::{Corners, Random};
use iced_x86::{Code, Decoder, DecoderOptions, Encoder, Instruction, Mnemonic, OpCodeOperandKind, OpKind, Register};

/// Where the instruction is encoded, and where branches lead: whoever places them anew sets that again.
const AT: u64 = 0x30_0200;
const TARGET: u64 = AT + 0x40;

/// A general register of `bytes`.
fn register(random: &mut Random, bytes: usize) -> Register {
    let (first, many) = match bytes {
        1 => (Register::AL, 20),
        2 => (Register::AX, 16),
        4 => (Register::EAX, 16),
        _ => (Register::RAX, 16),
    };
    Register::values().nth(first as usize + random.below(many) as usize).unwrap()
}

/// Width of the general registers of `kind`, and whether it may be memory instead.
fn register_kind(kind: OpCodeOperandKind) -> Option<(usize, bool)> {
    use OpCodeOperandKind::*;
    Some(match kind {
        r8_or_mem => (1, true),
        r16_or_mem => (2, true),
        r32_or_mem => (4, true),
        r64_or_mem => (8, true),
        r8_reg | r8_opcode => (1, false),
        r16_reg | r16_rm | r16_opcode => (2, false),
        r32_reg | r32_rm | r32_opcode | r32_vvvv => (4, false),
        r64_reg | r64_rm | r64_opcode | r64_vvvv => (8, false),
        _ => return Option::None,
    })
}

/// The register that `kind` stands for.
fn fixed(kind: OpCodeOperandKind) -> Option<Register> {
    use OpCodeOperandKind::*;
    Some(match kind {
        al => Register::AL,
        cl => Register::CL,
        ax => Register::AX,
        eax => Register::EAX,
        rax => Register::RAX,
        _ => return Option::None,
    })
}

fn immediate(kind: OpCodeOperandKind) -> Option<OpKind> {
    use OpCodeOperandKind::*;
    Some(match kind {
        imm8 | imm8_const_1 => OpKind::Immediate8,
        imm8sex16 => OpKind::Immediate8to16,
        imm8sex32 => OpKind::Immediate8to32,
        imm8sex64 => OpKind::Immediate8to64,
        imm16 => OpKind::Immediate16,
        imm32 => OpKind::Immediate32,
        imm32sex64 => OpKind::Immediate32to64,
        imm64 => OpKind::Immediate64,
        _ => return Option::None,
    })
}

/// A random encoding of `code`, decoded as the engine does it (its page offset as IP); `None` when the draw cannot be
/// encoded or decodes to another code.
pub fn encoding(code: Code, random: &mut Random) -> Option<Instruction> {
    let mut i = Instruction::default();
    i.set_code(code);
    let narrow = random.one_in(4);
    for (n, kind) in code.op_code().op_kinds().iter().enumerate() {
        operand(&mut i, n as u32, *kind, narrow, random)?;
    }
    let string = i.is_string_instruction();
    if string && code.op_code().can_use_rep_prefix() && !random.one_in(4) {
        i.set_has_rep_prefix(true);
        if code.op_code().can_use_repne_prefix() && random.one_in(2) {
            i.set_has_rep_prefix(false);
            i.set_has_repne_prefix(true);
        }
    }
    if code.op_code().can_use_lock_prefix() && i.op0_kind() == OpKind::Memory && random.one_in(3) {
        i.set_has_lock_prefix(true);
    }
    let mut encoder = Encoder::new(64);
    encoder.encode(&i, AT).ok()?;
    let bytes = encoder.take_buffer();
    let decoded = Decoder::with_ip(64, &bytes, AT & 0xfff, DecoderOptions::NONE).decode();
    (decoded.code() == code && decoded.len() == bytes.len() && !unwanted(&decoded)).then_some(decoded)
}

/// A register bit index that is also part of its memory operand's address.
fn unwanted(i: &Instruction) -> bool {
    let bt = matches!(i.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc);
    let index = i.op1_register().full_register();
    let shared = [i.memory_base(), i.memory_index()].map(Register::full_register).contains(&index);
    bt && i.op0_kind() == OpKind::Memory && index != Register::None && (shared || index == Register::RSP)
}

fn operand(i: &mut Instruction, n: u32, kind: OpCodeOperandKind, narrow: bool, random: &mut Random) -> Option<()> {
    use OpCodeOperandKind::*;
    if let Some((bytes, or_memory)) = register_kind(kind) {
        if or_memory && random.one_in(2) {
            memory(i, n, narrow, random);
        } else {
            i.set_op_kind(n, OpKind::Register);
            i.set_op_register(n, register(random, bytes));
        }
    } else if let Some(r) = fixed(kind) {
        i.set_op_kind(n, OpKind::Register);
        i.set_op_register(n, r);
    } else if let Some(k) = immediate(kind) {
        set_immediate(i, n, k, kind, random.corner());
    } else {
        match kind {
            mem => memory(i, n, narrow, random),
            mem_offs => {
                i.set_op_kind(n, OpKind::Memory);
                i.set_memory_displ_size(if narrow { 4 } else { 8 });
                i.set_memory_displacement64(CENTER);
            }
            seg_rSI => i.set_op_kind(n, if narrow { OpKind::MemorySegESI } else { OpKind::MemorySegRSI }),
            es_rDI => i.set_op_kind(n, if narrow { OpKind::MemoryESEDI } else { OpKind::MemoryESRDI }),
            seg_rBX_al => {
                i.set_op_kind(n, OpKind::Memory);
                i.set_memory_base(if narrow { Register::EBX } else { Register::RBX });
                i.set_memory_index(Register::AL);
            }
            br32_1 | br32_4 => {
                i.set_op_kind(n, OpKind::NearBranch32);
                i.set_near_branch32(TARGET as u32);
            }
            br64_1 | br64_4 => {
                i.set_op_kind(n, OpKind::NearBranch64);
                i.set_near_branch64(TARGET);
            }
            _ => return Option::None,
        }
    }
    Some(())
}

/// Makes operand `n` an immediate of kind `k` with the low bits of `v`.
fn set_immediate(i: &mut Instruction, n: u32, k: OpKind, kind: OpCodeOperandKind, v: u64) {
    let second = n == 1 && i.op0_kind() == OpKind::Immediate16;
    i.set_op_kind(n, if second { OpKind::Immediate8_2nd } else { k });
    match k {
        _ if kind == OpCodeOperandKind::imm8_const_1 => i.set_immediate8(1),
        _ if second => i.set_immediate8_2nd(v as u8),
        OpKind::Immediate8 => i.set_immediate8(v as u8),
        OpKind::Immediate16 => i.set_immediate16(v as u16),
        OpKind::Immediate32 => i.set_immediate32(v as u32),
        OpKind::Immediate32to64 => i.set_immediate32to64((v as i32).into()),
        OpKind::Immediate64 => i.set_immediate64(v),
        OpKind::Immediate8to16 => i.set_immediate8to16((v as i8).into()),
        OpKind::Immediate8to32 => i.set_immediate8to32((v as i8).into()),
        _ => i.set_immediate8to64((v as i8).into()),
    }
}

/// One of the addressing forms, with 64-bit or (`narrow`) 32-bit address size.
fn memory(i: &mut Instruction, n: u32, narrow: bool, random: &mut Random) {
    i.set_op_kind(n, OpKind::Memory);
    let (bytes, wide) = if narrow { (4, 4) } else { (8, 8) };
    i.set_memory_displ_size(wide);
    if random.one_in(8) {
        i.set_memory_displacement64(CENTER + random.below(64));
        if random.one_in(2) {
            i.set_memory_base(if narrow { Register::EIP } else { Register::RIP });
        }
        return;
    }
    i.set_memory_base(register(random, bytes));
    if random.one_in(2) {
        i.set_memory_displ_size(1);
    }
    let near = i.memory_displ_size() == 1 || i.memory_base().full_register() == Register::RSP;
    let displacement = if near { i64::from(random.next() as i8) } else { i64::from(random.next() as i32 >> 2) };
    let displacement = displacement as u64;
    i.set_memory_displacement64(if narrow { displacement & 0xffff_ffff } else { displacement });
    let index = register(random, bytes);
    if random.one_in(2) && index.full_register() != Register::RSP && index != i.memory_base() {
        if i.memory_base().full_register() == Register::RSP {
            return;
        }
        i.set_memory_index(index);
        i.set_memory_index_scale(1 << random.below(4));
    }
}
