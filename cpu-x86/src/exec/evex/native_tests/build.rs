//! Instructions of a given code, with random operands.

use super::OPERAND;
use emu_core::Random;
use iced_x86::{Code, CpuidFeature, EncodingKind, Instruction, OpCodeOperandKind, OpKind, Register, RoundingControl};

/// Has the host feature `f` of AVX-512?
fn has(f: CpuidFeature) -> bool {
    use CpuidFeature as F;
    match f {
        F::AVX512F => std::is_x86_feature_detected!("avx512f"),
        F::AVX512VL => std::is_x86_feature_detected!("avx512vl"),
        F::AVX512BW => std::is_x86_feature_detected!("avx512bw"),
        F::AVX512DQ => std::is_x86_feature_detected!("avx512dq"),
        F::AVX512CD => std::is_x86_feature_detected!("avx512cd"),
        F::AVX512_VBMI => std::is_x86_feature_detected!("avx512vbmi"),
        F::AVX512_VBMI2 => std::is_x86_feature_detected!("avx512vbmi2"),
        F::AVX512_VNNI => std::is_x86_feature_detected!("avx512vnni"),
        F::AVX512_IFMA => std::is_x86_feature_detected!("avx512ifma"),
        F::AVX512_BITALG => std::is_x86_feature_detected!("avx512bitalg"),
        F::AVX512_VPOPCNTDQ => std::is_x86_feature_detected!("avx512vpopcntdq"),
        F::AVX512_BF16 => std::is_x86_feature_detected!("avx512bf16"),
        F::AVX512_FP16 => std::is_x86_feature_detected!("avx512fp16"),
        F::GFNI => std::is_x86_feature_detected!("gfni"),
        F::VAES => std::is_x86_feature_detected!("vaes"),
        F::VPCLMULQDQ => std::is_x86_feature_detected!("vpclmulqdq"),
        _ => false,
    }
}

/// Is `code` one to be compared here?
pub fn wanted(code: Code) -> bool {
    let avx512 = |f: &CpuidFeature| format!("{f:?}").starts_with("AVX512");
    let ours = code.encoding() == EncodingKind::EVEX || code.cpuid_features().iter().any(avx512);
    ours && code.op_code().mode64() && code.cpuid_features().iter().all(|&f| has(f))
}

/// May `code` raise floating-point exceptions?
pub fn raises(code: Code) -> bool {
    let o = code.op_code();
    let name = format!("{:?}", code.mnemonic());
    o.can_suppress_all_exceptions()
        || o.can_use_rounding_control()
        || ["ps", "pd", "ph", "ss", "sd", "sh"].iter().any(|end| name.ends_with(end)) && !name.starts_with("Vmov")
}

/// Has `i` a memory operand?
pub fn memory(i: &Instruction) -> bool {
    (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory)
}

/// Bytes of an element of the index register.
pub fn index_bytes(i: &Instruction) -> usize {
    use OpCodeOperandKind as K;
    let wide = |k: &K| matches!(k, K::mem_vsib64x | K::mem_vsib64y | K::mem_vsib64z);
    if i.op_code().op_kinds().iter().any(wide) { 8 } else { 4 }
}

/// What an operand kind takes as a register, how many of them there are, and whether it may be memory instead.
#[rustfmt::skip] // By class.
fn class(kind: OpCodeOperandKind) -> Option<(Register, u64, bool)> {
    use OpCodeOperandKind as K;
    Some(match kind {
        K::xmm_or_mem => (Register::XMM0, 32, true),
        K::ymm_or_mem => (Register::YMM0, 32, true),
        K::zmm_or_mem => (Register::ZMM0, 32, true),
        K::xmm_reg | K::xmm_rm | K::xmm_vvvv => (Register::XMM0, 32, false),
        K::ymm_reg | K::ymm_rm | K::ymm_vvvv => (Register::YMM0, 32, false),
        K::zmm_reg | K::zmm_rm | K::zmm_vvvv => (Register::ZMM0, 32, false),
        K::k_or_mem => (Register::K0, 8, true),
        K::k_reg | K::k_rm | K::k_vvvv => (Register::K0, 8, false),
        K::r32_or_mem => (Register::R8D, 8, true),
        K::r64_or_mem => (Register::R8, 8, true),
        K::r32_reg | K::r32_rm => (Register::R8D, 8, false),
        K::r64_reg | K::r64_rm => (Register::R8, 8, false),
        K::mem | K::mem_vsib32x | K::mem_vsib64x => (Register::XMM0, 32, true),
        K::mem_vsib32y | K::mem_vsib64y => (Register::YMM0, 32, true),
        K::mem_vsib32z | K::mem_vsib64z => (Register::ZMM0, 32, true),
        _ => return None,
    })
}

/// An instruction with code `code`, random registers, mask, zeroing, broadcast and rounding, and a memory operand where
/// it may have one if `memory`.
pub fn build(code: Code, memory: bool, random: &mut Random) -> Option<Instruction> {
    use OpCodeOperandKind as K;
    let (mut i, o) = (Instruction::default(), code.op_code());
    i.set_code(code);
    let mut numbers = [0u64; 4].map(|_| random.below(32));
    numbers[1] = (numbers[0] + 1 + random.below(30)) % 32;
    let mut has_memory = false;
    for (n, kind) in o.op_kinds().iter().copied().enumerate() {
        let n32 = n as u32;
        if kind == K::imm8 {
            i.set_op_kind(n32, OpKind::Immediate8);
            i.set_immediate8(if random.below(2) == 0 { random.below(40) } else { random.next() } as u8);
            continue;
        }
        let (base, count, may) = class(kind)?;
        let only = matches!(kind, K::mem) || format!("{kind:?}").starts_with("mem_vsib");
        if only || may && memory {
            i.set_op_kind(n32, OpKind::Memory);
            i.set_memory_base(Register::RBX);
            i.set_memory_displ_size(8);
            i.set_memory_displacement64(OPERAND as u64);
            if kind != K::mem && only {
                i.set_memory_index(base + numbers[n] as u32);
                i.set_memory_index_scale(1);
            }
            has_memory = true;
        } else {
            i.set_op_kind(n32, OpKind::Register);
            i.set_op_register(n32, base + (numbers[n.min(3)] % count) as u32);
        }
    }
    if memory && !has_memory {
        return None;
    }
    if code.encoding() == EncodingKind::EVEX {
        decorate(&mut i, has_memory, random);
    }
    Some(i)
}

/// Mask, zeroing, broadcast, rounding.
fn decorate(i: &mut Instruction, memory: bool, random: &mut Random) {
    let o = i.op_code();
    if o.can_use_op_mask_register() && (o.require_op_mask_register() || random.below(4) != 0) {
        i.set_op_mask(Register::K1 + random.below(7) as u32);
        let store = i.op0_kind() == OpKind::Memory;
        i.set_zeroing_masking(o.can_use_zeroing_masking() && !store && random.below(2) == 0);
    }
    if memory {
        i.set_is_broadcast(o.can_broadcast() && random.below(2) == 0);
    } else if o.can_use_rounding_control() && random.below(2) == 0 {
        use RoundingControl::*;
        i.set_rounding_control(random.pick(&[RoundToNearest, RoundDown, RoundUp, RoundTowardZero]));
    } else if o.can_suppress_all_exceptions() && random.below(2) == 0 {
        i.set_suppress_all_exceptions(true);
    }
}
