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
        [S::FpScalar, S::FpVector, S::IntVector128, S::IntVector256, S::UopsX87].map(|s| t[s])
    };
    assert_eq!(count(&[0xf2, 0x0f, 0x58, 0xc1]), [1, 0, 0, 0, 0], "addsd");
    assert_eq!(count(&[0x0f, 0x59, 0xc1]), [0, 1, 0, 0, 0], "mulps");
    assert_eq!(count(&[0xc4, 0xe2, 0xf1, 0x99, 0xc2]), [2, 0, 0, 0, 0], "vfmadd132sd");
    assert_eq!(count(&[0xc4, 0xe2, 0xf5, 0x98, 0xc2]), [0, 2, 0, 0, 0], "vfmadd132pd");
    assert_eq!(count(&[0x66, 0x0f, 0xfe, 0xc1]), [0, 0, 1, 0, 0], "paddd");
    assert_eq!(count(&[0xc5, 0xf5, 0xfe, 0xc2]), [0, 0, 0, 1, 0], "vpaddd ymm");
    assert_eq!(count(&[0xd8, 0xc1]), [0, 0, 0, 0, 1], "fadd");
    assert_eq!(count(&[0x0f, 0x54, 0xc1]), [0, 0, 0, 0, 0], "andps");
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
