//! AVX-512 by hand, by properties, and that nothing of it is missing.

use super::half;
use super::native_tests::build::build;
use super::native_tests::{GUEST, OPERAND, processor};
use crate::exec::lookup;
use crate::fault::{Done, Stop};
use crate::state::{Cpu, VecReg};
use emu_core::Gpa;
use emu_core::Random;
use iced_x86::{Code, CpuidFeature as F, Decoder, DecoderOptions, Encoder, EncodingKind, Instruction, Register};

/// What of AVX-512 a Sapphire Rapids has.
const OURS: [F; 16] = [
    F::AVX512F,
    F::AVX512VL,
    F::AVX512BW,
    F::AVX512DQ,
    F::AVX512CD,
    F::AVX512_VBMI,
    F::AVX512_VBMI2,
    F::AVX512_VNNI,
    F::AVX512_IFMA,
    F::AVX512_BITALG,
    F::AVX512_VPOPCNTDQ,
    F::AVX512_BF16,
    F::AVX512_FP16,
    F::GFNI,
    F::VAES,
    F::VPCLMULQDQ,
];

fn run(cpu: &mut Cpu, i: &Instruction) -> Done {
    lookup(i).map_or(Err(Stop::Unimplemented), |meaning| (meaning.run)(cpu, i))
}

fn decoded(bytes: &[u8]) -> Instruction {
    let i = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).decode();
    assert!(!i.is_invalid(), "{bytes:x?}");
    i
}

/// A register of doublewords.
fn doublewords(of: [u32; 16]) -> VecReg {
    VecReg(std::array::from_fn(|n| of[n / 4].to_le_bytes()[n % 4]))
}

#[test]
fn every_avx512_code_of_the_identity_has_a_meaning_and_every_other_evex_code_is_undefined() {
    let (mut random, mut cpu, mut found, mut wrong) = (Random(1), processor(), 0, Vec::new());
    cpu.regs[3] = GUEST;
    for code in Code::values() {
        let features = code.cpuid_features();
        let avx512 = features.iter().any(|f| format!("{f:?}").starts_with("AVX512"));
        if code.encoding() != EncodingKind::EVEX && !avx512 || code.encoding() == EncodingKind::MVEX {
            continue;
        }
        let ours = features.iter().all(|f| OURS.contains(f));
        for memory in [false, true] {
            let Some(mut i) = build(code, memory, &mut random) else { continue };
            i.set_op_mask(if i.op_code().require_op_mask_register() { Register::K1 } else { Register::None });
            i.set_zeroing_masking(false);
            let mut encoder = Encoder::new(64);
            encoder.encode(&i, 0).unwrap();
            let i = Decoder::with_ip(64, &encoder.take_buffer(), 0, DecoderOptions::NONE).decode();
            if i.is_invalid() {
                // Registers that must differ do not: FP16's complex products.
                assert!(half::is_complex(code.mnemonic()), "{code:?}");
                continue;
            }
            cpu.vec = [VecReg([0; 64]); 32];
            let done = run(&mut cpu, &i);
            found += usize::from(ours);
            if done != if ours { Ok(()) } else { Err(Stop::UD) } {
                wrong.push(format!("{code:?} {features:?}: {done:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(found > 3200, "{found} forms");
}

#[test]
fn without_its_state_enabled_it_is_undefined_and_with_ts_the_state_is_not_available() {
    let forms: [&[u8]; 3] = [
        &[0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc1], // VADDPS ZMM0, ZMM0, ZMM1
        &[0xc5, 0xf8, 0x90, 0xc9],             // KMOVW K1, K1
        &[0x62, 0xf2, 0x7d, 0x49, 0x8b, 0xc1], // VPCOMPRESSD ZMM1 {K1}, ZMM0
    ];
    for bytes in forms {
        let i = decoded(bytes);
        for missing in [1u64 << 1, 1 << 2, 1 << 5, 1 << 6, 1 << 7] {
            let mut cpu = processor();
            cpu.xcr0 &= !missing;
            assert_eq!(run(&mut cpu, &i), Err(Stop::UD), "{bytes:x?} without {missing:x}");
        }
        let mut cpu = processor();
        cpu.cr4 &= !(1 << 18);
        assert_eq!(run(&mut cpu, &i), Err(Stop::UD));
        let mut cpu = processor();
        cpu.cr0 |= 1 << 3;
        assert_eq!(run(&mut cpu, &i), Err(Stop::NM));
        assert_eq!(run(&mut processor(), &i), Ok(()));
    }
}

#[test]
fn a_mask_merges_or_clears_elements_that_it_does_not_pick() {
    let mut cpu = processor();
    cpu.k[1] = 0xa5a5;
    // VPADDD ZMM0 {K1}, ZMM1, ZMM2, then with {z}.
    for (bytes, kept) in [([0x62, 0xf1, 0x75, 0x49, 0xfe, 0xc2], 7), ([0x62, 0xf1, 0x75, 0xc9, 0xfe, 0xc2], 0)] {
        cpu.vec[0] = doublewords([7; 16]);
        cpu.vec[1] = doublewords(std::array::from_fn(|n| n as u32));
        cpu.vec[2] = doublewords([u32::MAX; 16]);
        assert_eq!(run(&mut cpu, &decoded(&bytes)), Ok(()));
        let want = std::array::from_fn(|n| if 0xa5a5 >> n & 1 != 0 { (n as u32).wrapping_sub(1) } else { kept });
        assert_eq!(cpu.vec[0], doublewords(want));
    }
}

#[test]
fn a_ternary_function_is_its_truth_table() {
    let mut random = Random(7);
    let mut cpu = processor();
    for imm in 0..=255u8 {
        let [c, a, b] = [(); 3].map(|()| random.next());
        for (n, v) in [c, a, b].into_iter().enumerate() {
            cpu.vec[n].0[..8].copy_from_slice(&v.to_le_bytes());
        }
        // VPTERNLOGQ ZMM0, ZMM1, ZMM2, imm
        assert_eq!(run(&mut cpu, &decoded(&[0x62, 0xf3, 0xf5, 0x48, 0x25, 0xc2, imm])), Ok(()));
        let want = (0..64).fold(0u64, |r, n| {
            let index = (c >> n & 1) << 2 | (a >> n & 1) << 1 | b >> n & 1;
            r | u64::from(imm >> index & 1) << n
        });
        assert_eq!(cpu.vec[0].0[..8], want.to_le_bytes(), "{imm:x}");
    }
}

#[test]
fn compressing_to_memory_touches_no_more_than_what_is_picked() {
    let mut cpu = processor();
    cpu.regs[3] = GUEST;
    assert!(cpu.ram.write(Gpa(GUEST), &[0xee; 256]));
    cpu.k[1] = 0b1000_0000_0001_0010;
    cpu.vec[0] = doublewords(std::array::from_fn(|n| 0x100 + n as u32));
    // VPCOMPRESSD [RBX] {K1}, ZMM0
    assert_eq!(run(&mut cpu, &decoded(&[0x62, 0xf2, 0x7d, 0x49, 0x8b, 0x03])), Ok(()));
    let mut b = [0; 16];
    assert!(cpu.ram.read(Gpa(GUEST), &mut b));
    assert_eq!(
        b.as_chunks::<4>().0.iter().map(|d| u32::from_le_bytes(*d)).collect::<Vec<_>>(),
        [0x101, 0x104, 0x10f, 0xeeee_eeee]
    );
}

#[test]
fn opmask_tests_set_zero_and_carry() {
    let mut cpu = processor();
    for (k0, k1, ortest, test) in
        [(0, 0, 0x40, 0x41), (0xff, 0, 1, 0x41), (0xf0, 0x0f, 1, 0x40), (1, 0x103, 0, 0), (0xff, 0x80, 1, 1)]
    {
        (cpu.k[0], cpu.k[1]) = (k0, k1);
        for (opcode, want) in [(0x98, ortest), (0x99, test)] {
            cpu.set_flags(0x8d5 | 2);
            assert_eq!(run(&mut cpu, &decoded(&[0xc5, 0xf9, opcode, 0xc1])), Ok(()));
            assert_eq!(cpu.flags() & 0x8d5, want, "opcode {opcode:x} {k0:x} {k1:x}");
        }
    }
    assert_eq!(OPERAND % 64, 0);
}
