//! Every instruction of the identity has a meaning, and every other raises #UD.
//!
//! Encodings are enumerated, not built: all opcodes of all maps with the prefixes that choose among them, in the three
//! code sizes; the first of each of iced's codes stands for it. Which features the identity has is what CPUID says.

use super::lookup;
use crate::fault::{Exception, Stop, vector};
use crate::state::{Cpu, Seg, Segment, cr4};
use emu_core::Ram;
use iced_x86::{Code, CpuidFeature as F, Decoder, DecoderOptions, Instruction, Mnemonic, OpCodeTableKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a feature stands in CPUID: leaf, subleaf, register (EAX, EBX, ECX, EDX), bit.
type Bit = (u32, u32, usize, u32);

const B: usize = 1;
const C: usize = 2;
const D: usize = 3;

/// A feature that CPUID shows.
#[rustfmt::skip] // one feature a row
const SHOWN: &[(F, Bit)] = &[
    (F::FPU, (1, 0, D, 0)), (F::FPU287, (1, 0, D, 0)), (F::FPU387, (1, 0, D, 0)),
    (F::TSC, (1, 0, D, 4)), (F::MSR, (1, 0, D, 5)), (F::CX8, (1, 0, D, 8)), (F::SEP, (1, 0, D, 11)),
    (F::CMOV, (1, 0, D, 15)), (F::CLFSH, (1, 0, D, 19)), (F::MMX, (1, 0, D, 23)), (F::FXSR, (1, 0, D, 24)),
    (F::SSE, (1, 0, D, 25)), (F::SSE2, (1, 0, D, 26)),
    (F::SSE3, (1, 0, C, 0)), (F::PCLMULQDQ, (1, 0, C, 1)), (F::MONITOR, (1, 0, C, 3)), (F::VMX, (1, 0, C, 5)),
    (F::SMX, (1, 0, C, 6)), (F::SSSE3, (1, 0, C, 9)), (F::FMA, (1, 0, C, 12)), (F::CMPXCHG16B, (1, 0, C, 13)),
    (F::SSE4_1, (1, 0, C, 19)), (F::SSE4_2, (1, 0, C, 20)), (F::MOVBE, (1, 0, C, 22)), (F::POPCNT, (1, 0, C, 23)),
    (F::AES, (1, 0, C, 25)), (F::XSAVE, (1, 0, C, 26)), (F::AVX, (1, 0, C, 28)), (F::F16C, (1, 0, C, 29)),
    (F::RDRAND, (1, 0, C, 30)),
    (F::FSGSBASE, (7, 0, B, 0)), (F::SGX1, (7, 0, B, 2)), (F::BMI1, (7, 0, B, 3)), (F::HLE, (7, 0, B, 4)),
    (F::AVX2, (7, 0, B, 5)), (F::BMI2, (7, 0, B, 8)), (F::INVPCID, (7, 0, B, 10)), (F::RTM, (7, 0, B, 11)),
    (F::MPX, (7, 0, B, 14)), (F::AVX512F, (7, 0, B, 16)), (F::AVX512DQ, (7, 0, B, 17)), (F::RDSEED, (7, 0, B, 18)),
    (F::ADX, (7, 0, B, 19)), (F::SMAP, (7, 0, B, 20)), (F::AVX512_IFMA, (7, 0, B, 21)),
    (F::CLFLUSHOPT, (7, 0, B, 23)), (F::CLWB, (7, 0, B, 24)), (F::AVX512PF, (7, 0, B, 26)),
    (F::AVX512ER, (7, 0, B, 27)), (F::AVX512CD, (7, 0, B, 28)), (F::SHA, (7, 0, B, 29)),
    (F::AVX512BW, (7, 0, B, 30)), (F::AVX512VL, (7, 0, B, 31)),
    (F::AVX512_VBMI, (7, 0, C, 1)), (F::PKU, (7, 0, C, 3)), (F::WAITPKG, (7, 0, C, 5)),
    (F::AVX512_VBMI2, (7, 0, C, 6)), (F::CET_SS, (7, 0, C, 7)), (F::GFNI, (7, 0, C, 8)), (F::VAES, (7, 0, C, 9)),
    (F::VPCLMULQDQ, (7, 0, C, 10)), (F::AVX512_VNNI, (7, 0, C, 11)), (F::AVX512_BITALG, (7, 0, C, 12)),
    (F::AVX512_VPOPCNTDQ, (7, 0, C, 14)), (F::RDPID, (7, 0, C, 22)), (F::KL, (7, 0, C, 23)),
    (F::CLDEMOTE, (7, 0, C, 25)), (F::MOVDIRI, (7, 0, C, 27)), (F::MOVDIR64B, (7, 0, C, 28)),
    (F::ENQCMD, (7, 0, C, 29)),
    (F::AVX512_4VNNIW, (7, 0, D, 2)), (F::AVX512_4FMAPS, (7, 0, D, 3)), (F::UINTR, (7, 0, D, 5)),
    (F::AVX512_VP2INTERSECT, (7, 0, D, 8)), (F::SERIALIZE, (7, 0, D, 14)), (F::TSXLDTRK, (7, 0, D, 16)),
    (F::PCONFIG, (7, 0, D, 18)), (F::CET_IBT, (7, 0, D, 20)), (F::AMX_BF16, (7, 0, D, 22)),
    (F::AVX512_FP16, (7, 0, D, 23)), (F::AMX_TILE, (7, 0, D, 24)), (F::AMX_INT8, (7, 0, D, 25)),
    (F::SHA512, (7, 1, 0, 0)), (F::SM3, (7, 1, 0, 1)), (F::SM4, (7, 1, 0, 2)), (F::RAO_INT, (7, 1, 0, 3)),
    (F::AVX_VNNI, (7, 1, 0, 4)), (F::AVX512_BF16, (7, 1, 0, 5)), (F::CMPCCXADD, (7, 1, 0, 7)),
    (F::FRED, (7, 1, 0, 17)), (F::LKGS, (7, 1, 0, 18)), (F::WRMSRNS, (7, 1, 0, 19)), (F::AMX_FP16, (7, 1, 0, 21)),
    (F::HRESET, (7, 1, 0, 22)), (F::AVX_IFMA, (7, 1, 0, 23)), (F::MSRLIST, (7, 1, 0, 27)),
    (F::AVX_VNNI_INT8, (7, 1, D, 4)), (F::AVX_NE_CONVERT, (7, 1, D, 5)), (F::AMX_COMPLEX, (7, 1, D, 8)),
    (F::AVX_VNNI_INT16, (7, 1, D, 10)), (F::PREFETCHITI, (7, 1, D, 14)),
    (F::XSAVEOPT, (0xd, 1, 0, 0)), (F::XSAVEC, (0xd, 1, 0, 1)), (F::XSAVES, (0xd, 1, 0, 3)),
    (F::PTWRITE, (0x14, 0, B, 4)), (F::AESKLE, (0x19, 0, B, 0)), (F::WIDE_KL, (0x19, 0, B, 2)),
    (F::LZCNT, (0x8000_0001, 0, C, 5)), (F::PREFETCHW, (0x8000_0001, 0, C, 8)), (F::XOP, (0x8000_0001, 0, C, 11)),
    (F::FMA4, (0x8000_0001, 0, C, 16)), (F::SVM, (0x8000_0001, 0, C, 2)), (F::SSE4A, (0x8000_0001, 0, C, 6)),
    (F::LWP, (0x8000_0001, 0, C, 15)), (F::TBM, (0x8000_0001, 0, C, 21)), (F::MONITORX, (0x8000_0001, 0, C, 29)),
    (F::SYSCALL, (0x8000_0001, 0, D, 11)), (F::RDTSCP, (0x8000_0001, 0, D, 27)), (F::X64, (0x8000_0001, 0, D, 29)),
    (F::D3NOWEXT, (0x8000_0001, 0, D, 30)), (F::D3NOW, (0x8000_0001, 0, D, 31)),
    (F::CLZERO, (0x8000_0008, 0, B, 0)), (F::INVLPGB, (0x8000_0008, 0, B, 3)), (F::RDPRU, (0x8000_0008, 0, B, 4)),
    (F::MCOMMIT, (0x8000_0008, 0, B, 8)), (F::WBNOINVD, (0x8000_0008, 0, B, 9)),
];

/// What every processor since the 80486 or the Pentium Pro has, shown or not.
const BASE: &[F] =
    &[F::INTEL8086, F::INTEL186, F::INTEL286, F::INTEL386, F::INTEL486, F::CPUID, F::MULTIBYTENOP, F::PAUSE, F::RDPMC];

/// Codes that iced's decoder gives for no bytes, or for a sequence of them (those with a WAIT before).
fn is_no_encoding(code: Code) -> bool {
    use Code::*;
    let with_wait = matches!(
        code,
        Fstenv_m14byte | Fstenv_m28byte | Fstcw_m2byte | Feni | Fdisi | Fclex | Finit | Fsetpm | Fsave_m94byte
    ) || matches!(code, Fsave_m108byte | Fstsw_m2byte | Fstsw_AX);
    let of_amd = matches!(code, Loopne_rel8_16_RCX | Loope_rel8_16_RCX | Loop_rel8_16_RCX | Jrcxz_rel8_16 | Ud0);
    let directive = matches!(code, INVALID | DeclareByte | DeclareWord | DeclareDword | DeclareQword | Zero_bytes);
    with_wait || of_amd || directive
}

/// UD0, UD1, UD2: their meaning is #UD.
fn is_undefined_by_name(i: &Instruction) -> bool {
    matches!(i.mnemonic(), Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2)
}

/// Codes of absent features that stand in the opcode map as reserved NOPs, and do nothing. Source: SDM vol. 2, opcode
/// map, 0F0Dh and 0F18h to 0F1Fh.
fn is_reserved_nop(i: &Instruction) -> bool {
    let o = i.op_code();
    let first = if o.op_code_len() == 2 { o.op_code() >> 8 } else { o.op_code() };
    matches!(first, 0x0d | 0x18..=0x1f) && o.table() == OpCodeTableKind::T0F
}

fn cpu(bits: u32) -> Box<Cpu> {
    let mut c = Cpu::bare_64bit(Arc::new(Ram::new(1 << 20, &[]).unwrap()));
    c.cr4 = cr4::ALL & !(cr4::UMIP | cr4::PCIDE | cr4::DE);
    c.efer |= 1;
    c.xcr0 = crate::save::SUPPORTED;
    if bits != 64 {
        c.efer &= !(1 << 10);
        let attr = 0x809b | if bits == 32 { Segment::DB } else { 0 };
        c.set_segment(Seg::Cs, Segment { attr, ..*c.segment(Seg::Cs) });
    }
    c.regs[..16].fill(0x2000);
    c.fpu.tag = 0;
    // A counter of loops, a leaf of CPUID, a port and a register number that are there.
    (c.regs[0], c.regs[1], c.regs[2]) = (1, 0x10, 0);
    c.msr.sysenter_cs = 8;
    c
}

/// What stands before the opcode: prefixes and maps of legacy encodings, VEX, and in 64-bit code EVEX.
fn starts(bits: u32) -> Vec<Vec<u8>> {
    let mut prefixes: Vec<Vec<u8>> = vec![vec![]];
    for p in [&[0x66][..], &[0xf2], &[0xf3], &[0x67], &[0x66, 0x67], &[0x66, 0xf2], &[0x66, 0xf3]] {
        prefixes.push(p.to_vec());
    }
    if bits == 64 {
        let wide: Vec<_> = prefixes.iter().map(|p| [&p[..], &[0x48]].concat()).collect();
        prefixes.extend(wide);
    }
    let maps: [&[u8]; 4] = [&[], &[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a]];
    let mut starts: Vec<_> = prefixes.iter().flat_map(|p| maps.map(|m| [&p[..], m].concat())).collect();
    // VEX of three bytes: maps 1 to 3, two values of vvvv, W, L, pp. In 16- and 32-bit code C4 wants mod 11, which R and X
    // inverted give.
    for (map, n) in (1..=3).flat_map(|map| (0..16u8).map(move |n| (map, n))) {
        starts.extend([0x78, 0x60].map(|v| vec![0xc4, 0xe0 | map, v | (n & 8) << 4 | n & 7]));
    }
    // EVEX: maps 1 to 3, 5 and 6, W, pp, L'L, without a mask and with K1.
    let evex = [1, 2, 3, 5, 6].into_iter().flat_map(|map| (0..24u8).map(move |n| (map, n)));
    for (map, n) in evex.filter(|_| bits == 64) {
        let (w, pp, length) = ((n & 4) << 5, n & 3, (n >> 3) << 5);
        starts.extend([0, 1].map(|k| vec![0x62, 0xf0 | map, w | 0x7c | pp, length | 8 | k]));
    }
    starts
}

/// The first encoding of each code in `bits`-bit code.
fn enumerate(bits: u32, of: &mut BTreeMap<u32, (u32, Vec<u8>)>) {
    let registers = 0xc0..=0xff;
    let memory = (0..8).flat_map(|r| [r << 3 | 3, r << 3 | 4]);
    let forms: Vec<u8> = registers.chain(memory).collect();
    for start in starts(bits) {
        for (opcode, modrm) in (0..=255).flat_map(|o| forms.iter().map(move |m| (o, *m))) {
            let mut bytes = [0; 15];
            bytes[..start.len()].copy_from_slice(&start);
            bytes[start.len()..start.len() + 5].copy_from_slice(&[opcode, modrm, 0x0b, 0x10, 0x20]);
            let i = Decoder::with_ip(bits, &bytes, 0x1000, DecoderOptions::NONE).decode();
            if !i.is_invalid() {
                of.entry(i.code() as u32).or_insert_with(|| (bits, bytes.to_vec()));
            }
        }
    }
}

#[test]
fn every_instruction_of_the_identity_has_a_meaning_and_every_other_is_undefined() {
    let mut of = BTreeMap::new();
    for bits in [64, 32, 16] {
        enumerate(bits, &mut of);
    }
    let mut wrong = Vec::new();
    let mut offered_codes = 0;
    for code in Code::values() {
        let features = code.cpuid_features();
        let offered = features.iter().all(|f| BASE.contains(f) || shown(*f));
        let Some((bits, bytes)) = of.get(&(code as u32)) else {
            if offered && !is_no_encoding(code) {
                wrong.push(format!("{code:?} was not found"));
            }
            continue;
        };
        offered_codes += usize::from(offered);
        let i = Decoder::with_ip(*bits, bytes, 0x1000, DecoderOptions::NONE).decode();
        let Some(meaning) = lookup(&i) else {
            wrong.push(format!("{code:?} {features:?} has no meaning: offered {offered}"));
            continue;
        };
        let mut c = cpu(*bits);
        (c.rip, c.next_rip) = (0x1000, 0x1000 + i.len() as u64);
        let undefined = (meaning.run)(&mut c, &i) == Err(Stop::Exception(Exception::plain(vector::UD)));
        if undefined == offered && !is_reserved_nop(&i) && !is_undefined_by_name(&i) {
            wrong.push(format!("{code:?} {features:?} {bytes:x?}: offered {offered}, #UD {undefined}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {offered_codes}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(offered_codes >= 3700, "{offered_codes} codes");
}

fn shown(f: F) -> bool {
    let Some((_, (leaf, subleaf, register, bit))) = SHOWN.iter().find(|(g, _)| *g == f) else { return false };
    cpu(64).cpuid(*leaf, *subleaf)[*register] >> bit & 1 != 0
}
