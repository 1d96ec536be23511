//! What is known of instructions before they run, by hand.

use super::decode;
use crate::signal::{Signal as S, Totals};
use crate::uarch::facts::Fact;
use iced_x86::InstructionInfoFactory;

fn fact(bytes: &[u8]) -> Fact {
    let i = decode(bytes, 0x1000);
    assert_eq!(i.len(), 1, "{bytes:x?}");
    Fact::of(&i[0], 0, 0, &mut InstructionInfoFactory::new())
}

/// Slots, executed micro-ops, loads, stores.
fn shape(bytes: &[u8]) -> [u32; 4] {
    let f = fact(bytes);
    [f.uops, f.unfused, f.loads.into(), f.stores.into()]
}

#[test]
fn micro_ops_are_fused_as_the_decoder_does() {
    let rows: [(&str, &[u8], [u32; 4]); 14] = [
        ("mov rax, rcx: eliminated", &[0x48, 0x89, 0xc8], [1, 0, 0, 0]),
        ("nop", &[0x90], [1, 0, 0, 0]),
        ("add rax, rcx", &[0x48, 0x01, 0xc8], [1, 1, 0, 0]),
        ("mov rax, [rbx]", &[0x48, 0x8b, 0x03], [1, 1, 1, 0]),
        ("mov [rbx], rax: address and data", &[0x48, 0x89, 0x03], [1, 2, 0, 1]),
        ("add rax, [rbx]: load and operation", &[0x48, 0x03, 0x03], [1, 2, 1, 0]),
        ("add [rbx], rax", &[0x48, 0x01, 0x03], [2, 4, 1, 1]),
        ("push rax", &[0x50], [1, 2, 0, 1]),
        ("pop rax", &[0x58], [1, 1, 1, 0]),
        ("ret", &[0xc3], [1, 2, 1, 0]),
        ("jmp", &[0xeb, 0x10], [1, 1, 0, 0]),
        ("lea rax, [rbx+8]", &[0x48, 0x8d, 0x43, 0x08], [1, 1, 0, 0]),
        ("imul rax, rcx", &[0x48, 0x0f, 0xaf, 0xc1], [1, 1, 0, 0]),
        ("nop dword [rax]", &[0x0f, 0x1f, 0x00], [1, 0, 0, 0]),
    ];
    for (name, bytes, expected) in rows {
        assert_eq!(shape(bytes), expected, "{name}");
    }
    let executes = |bytes: &[u8]| {
        let mut t = Totals::default();
        fact(bytes).count(3, &mut t);
        [S::Executes1, S::Executes2, S::Executes3, S::Executes4].map(|s| t[s])
    };
    assert_eq!(executes(&[0x90]), [0, 0, 0, 0], "nop");
    assert_eq!(executes(&[0x48, 0x01, 0xc8]), [3, 0, 0, 0], "add rax, rcx");
    assert_eq!(executes(&[0x48, 0x89, 0x03]), [3, 3, 0, 0], "mov [rbx], rax");
    assert_eq!(executes(&[0x48, 0x01, 0x03]), [3, 3, 3, 3], "add [rbx], rax");
    assert_eq!((fact(&[0x0f, 0xa2]).microcode, fact(&[0x0f, 0xa2]).uops), (60, 60), "cpuid");
}

#[test]
fn flag_writers_fuse_with_the_branches_they_may() {
    let branches: [(&str, &[u8]); 4] =
        [("je", &[0x74, 0]), ("jb", &[0x72, 0]), ("js", &[0x78, 0]), ("jrcxz", &[0xe3, 0])];
    let rows: [(&str, &[u8], [bool; 4]); 8] = [
        ("test eax, eax", &[0x85, 0xc0], [true, true, true, false]),
        ("and eax, ecx", &[0x21, 0xc8], [true, true, true, false]),
        ("cmp eax, ecx", &[0x39, 0xc8], [true, true, false, false]),
        ("cmp eax, [rbx]", &[0x3b, 0x03], [true, true, false, false]),
        ("cmp dword [rbx], 1: memory and immediate", &[0x83, 0x3b, 0x01], [false; 4]),
        ("add [rbx], eax: writes memory", &[0x01, 0x03], [false; 4]),
        ("dec eax", &[0xff, 0xc8], [true, false, false, false]),
        ("xor eax, ecx", &[0x31, 0xc8], [false; 4]),
    ];
    for (name, bytes, expected) in rows {
        let first = fact(bytes).fusible;
        assert_eq!(branches.map(|(_, b)| fact(b).fuses_with(first)), expected, "{name} {branches:?}");
    }
}

#[test]
fn floating_point_and_vectors_count_by_kind() {
    let count = |bytes: &[u8]| {
        let mut t = Totals::default();
        fact(bytes).count(1, &mut t);
        let first = S::FpScalarDouble as usize;
        let kinds = S::ALL[first..=S::IntVectorVnni256 as usize].iter().chain(&[S::UopsX87]);
        kinds.filter(|&&s| t[s] != 0).map(|&s| (s, t[s])).collect::<Vec<_>>()
    };
    type Row = (&'static str, &'static [u8], &'static [(S, u64)]);
    let rows: [Row; 30] = [
        ("addsd xmm0, xmm1", &[0xf2, 0x0f, 0x58, 0xc1], &[(S::FpScalarDouble, 1)]),
        ("sqrtss xmm0, xmm1", &[0xf3, 0x0f, 0x51, 0xc1], &[(S::FpScalarSingle, 1)]),
        ("vfmadd132sd xmm0, xmm1, xmm2", &[0xc4, 0xe2, 0xf1, 0x99, 0xc2], &[(S::FpScalarDouble, 2)]),
        ("vrcp14ss xmm0, xmm1, xmm2", &[0x62, 0xf2, 0x75, 0x08, 0x4d, 0xc2], &[(S::FpScalarSingle, 1)]),
        ("vrangesd xmm0, xmm1, xmm2, 0", &[0x62, 0xf3, 0xf5, 0x08, 0x51, 0xc2, 0], &[(S::FpScalarDouble, 1)]),
        ("vrangepd xmm0, xmm1, xmm2, 0", &[0x62, 0xf3, 0xf5, 0x08, 0x50, 0xc2, 0], &[]),
        ("mulps xmm0, xmm1", &[0x0f, 0x59, 0xc1], &[(S::Fp128Single, 1)]),
        ("haddpd xmm0, xmm1", &[0x66, 0x0f, 0x7c, 0xc1], &[(S::Fp128Double, 1)]),
        ("dpps xmm0, xmm1, 0", &[0x66, 0x0f, 0x3a, 0x40, 0xc1, 0], &[(S::Fp128Single, 2)]),
        ("vfmadd132pd ymm0, ymm1, ymm2", &[0xc4, 0xe2, 0xf5, 0x98, 0xc2], &[(S::Fp256Double, 2)]),
        ("vfnmsub231ps ymm0, ymm1, ymm2", &[0xc4, 0xe2, 0x75, 0xbe, 0xc2], &[(S::Fp256Single, 2)]),
        ("vaddsubps ymm0, ymm1, ymm2", &[0xc5, 0xf7, 0xd0, 0xc2], &[(S::Fp256Single, 1)]),
        ("vmulpd zmm0, zmm1, zmm2", &[0x62, 0xf1, 0xf5, 0x48, 0x59, 0xc2], &[(S::Fp512Double, 1)]),
        ("vfmadd231ps zmm0, zmm1, zmm2", &[0x62, 0xf2, 0x75, 0x48, 0xb8, 0xc2], &[(S::Fp512Single, 2)]),
        ("vaddsh xmm0, xmm1, xmm2", &[0x62, 0xf5, 0x76, 0x08, 0x58, 0xc2], &[(S::FpScalarHalf, 1)]),
        ("vfmulcsh xmm0, xmm1, xmm2", &[0x62, 0xf6, 0x76, 0x08, 0xd7, 0xc2], &[(S::FpScalarComplex, 1)]),
        ("vfmaddcsh xmm0, xmm1, xmm2", &[0x62, 0xf6, 0x76, 0x08, 0x57, 0xc2], &[(S::FpScalarComplex, 2)]),
        ("vfcmaddcph xmm0, xmm1, xmm2", &[0x62, 0xf6, 0x77, 0x08, 0x56, 0xc2], &[(S::Fp128Half, 2)]),
        ("vmulph ymm0, ymm1, ymm2", &[0x62, 0xf5, 0x74, 0x28, 0x59, 0xc2], &[(S::Fp256Half, 1)]),
        ("vfmadd132ph zmm0, zmm1, zmm2", &[0x62, 0xf6, 0x75, 0x48, 0x98, 0xc2], &[(S::Fp512Half, 2)]),
        ("paddd xmm0, xmm1", &[0x66, 0x0f, 0xfe, 0xc1], &[(S::IntVector128, 1)]),
        ("vpaddd ymm0, ymm1, ymm2", &[0xc5, 0xf5, 0xfe, 0xc2], &[(S::IntVector256, 1)]),
        ("vpmulld xmm0, xmm1, xmm2", &[0xc4, 0xe2, 0x71, 0x40, 0xc2], &[]),
        ("vpmulld ymm0, ymm1, ymm2", &[0xc4, 0xe2, 0x75, 0x40, 0xc2], &[(S::IntVectorMul256, 1)]),
        ("vpmaddwd ymm0, ymm1, ymm2", &[0xc5, 0xf5, 0xf5, 0xc2], &[(S::IntVectorMul256, 1)]),
        ("vpdpbusd xmm0, xmm1, xmm2", &[0xc4, 0xe2, 0x71, 0x50, 0xc2], &[(S::IntVectorVnni128, 1)]),
        ("vpdpwssds ymm0, ymm1, ymm2", &[0xc4, 0xe2, 0x75, 0x53, 0xc2], &[(S::IntVectorVnni256, 1)]),
        ("fadd st0, st1", &[0xd8, 0xc1], &[(S::UopsX87, 1)]),
        ("andps xmm0, xmm1", &[0x0f, 0x54, 0xc1], &[]),
        ("cvtsi2sd xmm0, rax", &[0xf2, 0x48, 0x0f, 0x2a, 0xc0], &[]),
    ];
    for (name, bytes, expected) in rows {
        assert_eq!(count(bytes), expected, "{name}");
    }
}

#[test]
fn the_stack_engine_hands_over_once() {
    use crate::uarch::tests::code;
    let mut blocks = crate::uarch::blocks::Blocks::new();
    // push rax; push rcx; sub rsp, 8; mov rax, [rsp]; pop rax
    let all = decode(&[0x50, 0x51, 0x48, 0x83, 0xec, 0x08, 0x48, 0x8b, 0x04, 0x24, 0x58], 0x1000);
    let number = blocks.describe(&code(&all, 0x1000));
    let block = blocks.block(number).unwrap();
    assert_eq!(blocks.facts(&block).iter().map(|f| f.uops).collect::<Vec<_>>(), [1, 1, 2, 1, 1]);
    assert_eq!((block.names_stack, block.stack, block.uops), (None, Some(true), 6));
}
