//! AVX512-FP16 by hand: which operand goes where, elements, masks, exceptions. What is computed of one element is
//! `softfp`'s, and proved there (`softfp/tests/half.rs`). No processor with FP16 was at hand to compare with.

use super::native_tests::{GUEST, OPERAND, processor};
use crate::exec::lookup;
use crate::fault::{Done, Stop};
use crate::state::Cpu;
use emu_core::Gpa;
use iced_x86::{Code, Decoder, DecoderOptions, Encoder, Instruction, OpKind, Register};
use softfp::{Env, f16};

/// `code` with these operands; `None` in place of one: memory at RBX.
fn make(code: Code, operands: &[Option<Register>]) -> Instruction {
    let mut i = Instruction::default();
    i.set_code(code);
    for (n, operand) in operands.iter().enumerate() {
        match operand {
            Some(r) => {
                i.set_op_kind(n as u32, OpKind::Register);
                i.set_op_register(n as u32, *r);
            }
            None => {
                i.set_op_kind(n as u32, OpKind::Memory);
                i.set_memory_base(Register::RBX);
            }
        }
    }
    i
}

/// What its bytes decode to.
fn decoded(i: &Instruction) -> Instruction {
    let mut encoder = Encoder::new(64);
    encoder.encode(i, 0).unwrap();
    Decoder::with_ip(64, &encoder.take_buffer(), 0, DecoderOptions::NONE).decode()
}

/// Executes it.
fn run(cpu: &mut Cpu, i: &Instruction) -> Done {
    let i = decoded(i);
    lookup(&i).map_or(Err(Stop::Unimplemented), |meaning| (meaning.run)(cpu, &i))
}

fn halves(cpu: &Cpu, n: usize) -> [u16; 32] {
    let v = &cpu.vec[n].0;
    std::array::from_fn(|k| u16::from_le_bytes([v[2 * k], v[2 * k + 1]]))
}

fn set_halves(cpu: &mut Cpu, n: usize, of: impl Fn(usize) -> u16) {
    for k in 0..32 {
        cpu.vec[n].0[2 * k..2 * k + 2].copy_from_slice(&of(k).to_le_bytes());
    }
}

/// A small whole number as a half.
fn half(v: i64) -> u16 {
    f16::from_signed(v, &mut Env::default())
}

const X: [Option<Register>; 3] = [Some(Register::XMM0), Some(Register::XMM1), Some(Register::XMM2)];

#[test]
fn operands_of_each_operation_go_where_its_name_says() {
    use Code::*;
    // Destination 2, first source 3, second 5.
    for (code, even, odd) in [
        (EVEX_Vaddph_xmm_k1z_xmm_xmmm128b16, 8, 8),
        (EVEX_Vsubph_xmm_k1z_xmm_xmmm128b16, -2, -2),
        (EVEX_Vmulph_xmm_k1z_xmm_xmmm128b16, 15, 15),
        (EVEX_Vminph_xmm_k1z_xmm_xmmm128b16, 3, 3),
        (EVEX_Vmaxph_xmm_k1z_xmm_xmmm128b16, 5, 5),
        (EVEX_Vscalefph_xmm_k1z_xmm_xmmm128b16, 96, 96),
        (EVEX_Vfmadd132ph_xmm_k1z_xmm_xmmm128b16, 13, 13),
        (EVEX_Vfmadd213ph_xmm_k1z_xmm_xmmm128b16, 11, 11),
        (EVEX_Vfmadd231ph_xmm_k1z_xmm_xmmm128b16, 17, 17),
        (EVEX_Vfmsub132ph_xmm_k1z_xmm_xmmm128b16, 7, 7),
        (EVEX_Vfmsub213ph_xmm_k1z_xmm_xmmm128b16, 1, 1),
        (EVEX_Vfmsub231ph_xmm_k1z_xmm_xmmm128b16, 13, 13),
        (EVEX_Vfnmadd132ph_xmm_k1z_xmm_xmmm128b16, -7, -7),
        (EVEX_Vfnmadd213ph_xmm_k1z_xmm_xmmm128b16, -1, -1),
        (EVEX_Vfnmadd231ph_xmm_k1z_xmm_xmmm128b16, -13, -13),
        (EVEX_Vfnmsub132ph_xmm_k1z_xmm_xmmm128b16, -13, -13),
        (EVEX_Vfnmsub213ph_xmm_k1z_xmm_xmmm128b16, -11, -11),
        (EVEX_Vfnmsub231ph_xmm_k1z_xmm_xmmm128b16, -17, -17),
        (EVEX_Vfmaddsub132ph_xmm_k1z_xmm_xmmm128b16, 7, 13),
        (EVEX_Vfmaddsub213ph_xmm_k1z_xmm_xmmm128b16, 1, 11),
        (EVEX_Vfmaddsub231ph_xmm_k1z_xmm_xmmm128b16, 13, 17),
        (EVEX_Vfmsubadd132ph_xmm_k1z_xmm_xmmm128b16, 13, 7),
        (EVEX_Vfmsubadd213ph_xmm_k1z_xmm_xmmm128b16, 11, 1),
        (EVEX_Vfmsubadd231ph_xmm_k1z_xmm_xmmm128b16, 17, 13),
    ] {
        let mut cpu = processor();
        for (n, v) in [(0, 2), (1, 3), (2, 5)] {
            set_halves(&mut cpu, n, |_| half(v));
        }
        assert_eq!(run(&mut cpu, &make(code, &X)), Ok(()), "{code:?}");
        let r = halves(&cpu, 0);
        let want: Vec<u16> = (0..8).map(|k| half(if k % 2 == 0 { even } else { odd })).collect();
        assert_eq!((&r[..8], &r[8..]), (&want[..], &[0; 24][..]), "{code:?}");
    }
}

#[test]
fn complex_products_are_masked_by_pairs() {
    use Code::*;
    // (1 + 2i), (3 + 4i), and 1 + i in the destination.
    for (code, real, imaginary) in [
        (EVEX_Vfmulcph_xmm_k1z_xmm_xmmm128b32, -5, 10),
        (EVEX_Vfcmulcph_xmm_k1z_xmm_xmmm128b32, 11, 2),
        (EVEX_Vfmaddcph_xmm_k1z_xmm_xmmm128b32, -4, 11),
        (EVEX_Vfcmaddcph_xmm_k1z_xmm_xmmm128b32, 12, 3),
        (EVEX_Vfmulcsh_xmm_k1z_xmm_xmmm32_er, -5, 10),
        (EVEX_Vfcmulcsh_xmm_k1z_xmm_xmmm32_er, 11, 2),
        (EVEX_Vfmaddcsh_xmm_k1z_xmm_xmmm32_er, -4, 11),
        (EVEX_Vfcmaddcsh_xmm_k1z_xmm_xmmm32_er, 12, 3),
    ] {
        let mut cpu = processor();
        set_halves(&mut cpu, 0, |_| half(1));
        set_halves(&mut cpu, 1, |k| half(1 + k as i64 % 2));
        set_halves(&mut cpu, 2, |k| half(3 + k as i64 % 2));
        cpu.k[1] = 0b0101;
        let mut i = make(code, &X);
        i.set_op_mask(Register::K1);
        assert_eq!(run(&mut cpu, &i), Ok(()), "{code:?}");
        let (r, i) = (half(real), half(imaginary));
        let scalar = format!("{code:?}").contains("csh");
        let rest = if scalar {
            [half(1), half(2), half(1), half(2), half(1), half(2)]
        } else {
            [half(1), half(1), r, i, half(1), half(1)]
        };
        assert_eq!(halves(&cpu, 0)[..8], [&[r, i], &rest[..]].concat(), "{code:?}");
    }
    for sources in [[X[1], X[1], X[2]], [X[2], X[1], X[2]]] {
        let same = make(EVEX_Vfmulcph_xmm_k1z_xmm_xmmm128b32, &sources);
        assert!(decoded(&same).is_invalid(), "destination and a source the same: no instruction");
    }
}

#[test]
fn a_complex_product_records_exceptions_and_raises_none() {
    let mut cpu = processor();
    cpu.mxcsr = 0x1f00;
    set_halves(&mut cpu, 1, |_| 0x7c00);
    set_halves(&mut cpu, 2, |_| 0);
    assert_eq!(run(&mut cpu, &make(Code::EVEX_Vfmulcph_xmm_k1z_xmm_xmmm128b32, &X)), Ok(()));
    assert_eq!((cpu.mxcsr, halves(&cpu, 0)[0]), (0x1f01, 0xfe00));
    let mut cpu = processor();
    (cpu.mxcsr, cpu.cr4) = (0x1f00, cpu.cr4 | 1 << 10);
    set_halves(&mut cpu, 1, |_| 0x7c00);
    assert_eq!(run(&mut cpu, &make(Code::EVEX_Vmulph_xmm_k1z_xmm_xmmm128b16, &X)), Err(Stop::XM));
}

#[test]
fn scalars_keep_the_first_source_and_moves_clear_what_they_must() {
    use Code::*;
    let mut cpu = processor();
    set_halves(&mut cpu, 1, |k| half(k as i64 + 1));
    set_halves(&mut cpu, 2, |k| half(k as i64 + 10));
    assert_eq!(run(&mut cpu, &make(EVEX_Vaddsh_xmm_k1z_xmm_xmmm16_er, &X)), Ok(()));
    let (r, first) = (halves(&cpu, 0), halves(&cpu, 1));
    assert_eq!((r[0], &r[1..8], &r[8..]), (half(11), &first[1..8], &[0; 24][..]));
    assert_eq!(run(&mut cpu, &make(EVEX_Vmovsh_xmm_k1z_xmm_xmm, &X)), Ok(()));
    let r = halves(&cpu, 0);
    assert_eq!((r[0], &r[1..8], &r[8..]), (half(10), &first[1..8], &[0; 24][..]));
    cpu.regs[8] = 0x1234_5678_9abc_def0;
    assert_eq!(run(&mut cpu, &make(EVEX_Vmovw_xmm_r32m16, &[X[0], Some(Register::R8D)])), Ok(()));
    assert_eq!((halves(&cpu, 0)[0], &halves(&cpu, 0)[1..]), (0xdef0, &[0; 31][..]));
    assert_eq!(run(&mut cpu, &make(EVEX_Vmovw_r32m16_xmm, &[Some(Register::R8D), X[1]])), Ok(()));
    assert_eq!(cpu.regs[8], u64::from(half(1)));
    cpu.regs[8] = (-3i64).cast_unsigned();
    assert_eq!(run(&mut cpu, &make(EVEX_Vcvtsi2sh_xmm_xmm_rm64_er, &[X[0], X[1], Some(Register::R8)])), Ok(()));
    let r = halves(&cpu, 0);
    assert_eq!((r[0], &r[1..8]), (half(-3), &first[1..8]));
    assert_eq!(run(&mut cpu, &make(EVEX_Vcvttsh2si_r32_xmmm16_sae, &[Some(Register::R8D), X[0]])), Ok(()));
    assert_eq!(cpu.regs[8], 0xffff_fffd);
}

#[test]
fn memory_operands_are_words() {
    use Code::*;
    let mut cpu = processor();
    cpu.regs[3] = GUEST + OPERAND as u64;
    let at = Gpa(cpu.regs[3]);
    assert!(cpu.ram.write(at, &[0xee; 64]));
    set_halves(&mut cpu, 1, |_| half(7));
    assert_eq!(run(&mut cpu, &make(EVEX_Vmovw_r32m16_xmm, &[None, X[1]])), Ok(()));
    let mut b = [0; 4];
    assert!(cpu.ram.read(at, &mut b));
    assert_eq!(b, [half(7).to_le_bytes(), [0xee; 2]].concat()[..]);
    set_halves(&mut cpu, 0, |_| 0x5555);
    assert_eq!(run(&mut cpu, &make(EVEX_Vmovsh_xmm_k1z_m16, &[X[0], None])), Ok(()));
    assert_eq!((halves(&cpu, 0)[0], &halves(&cpu, 0)[1..]), (half(7), &[0; 31][..]));
    let mut i = make(EVEX_Vaddph_xmm_k1z_xmm_xmmm128b16, &[X[0], X[1], None]);
    i.set_is_broadcast(true);
    assert_eq!(run(&mut cpu, &i), Ok(()));
    assert_eq!(halves(&cpu, 0)[..8], [half(14); 8]);
    cpu.k[1] = 0;
    let mut store = make(EVEX_Vmovsh_m16_k1_xmm, &[None, X[0]]);
    store.set_op_mask(Register::K1);
    cpu.regs[3] = 0x7fff_0000_0000;
    assert_eq!(run(&mut cpu, &store), Ok(()), "no element is picked, so nothing is there to fault");
}

#[test]
fn conversions_take_as_many_elements_as_fit() {
    use Code::*;
    let mut cpu = processor();
    for k in 0..8 {
        cpu.vec[1].0[8 * k..8 * k + 8].copy_from_slice(&(k as f64 - 2.5).to_le_bytes());
    }
    let zmm1 = Some(Register::ZMM1);
    assert_eq!(run(&mut cpu, &make(EVEX_Vcvtpd2ph_xmm_k1z_zmmm512b64_er, &[X[0], zmm1])), Ok(()));
    let r = halves(&cpu, 0);
    assert_eq!((r[0], r[7], &r[8..]), (0xc100, 0x4480, &[0; 24][..]));
    cpu.vec[1] = cpu.vec[0];
    let zmm0 = Some(Register::ZMM0);
    assert_eq!(run(&mut cpu, &make(EVEX_Vcvtph2qq_zmm_k1z_xmmm128b16_er, &[zmm0, X[1]])), Ok(()));
    let quadword = |k: usize| i64::from_le_bytes(cpu.vec[0].0[8 * k..8 * k + 8].try_into().unwrap());
    assert_eq!((0..8).map(quadword).collect::<Vec<_>>(), [-2, -2, 0, 0, 2, 2, 4, 4]);
    assert_eq!(run(&mut cpu, &make(EVEX_Vcvttph2uw_xmm_k1z_xmmm128b16, &[X[0], X[1]])), Ok(()));
    assert_eq!(halves(&cpu, 0)[..8], [0xffff, 0xffff, 0, 0, 1, 2, 3, 4]);
    let mut equal = make(EVEX_Vcmpph_kr_k1_xmm_xmmm128b16_imm8, &[Some(Register::K2), X[1], X[1]]);
    equal.set_op_kind(3, OpKind::Immediate8);
    assert_eq!(run(&mut cpu, &equal), Ok(()));
    assert_eq!(cpu.k[2], 0xff, "equal");
}

#[test]
fn approximations_are_exact_for_powers_of_two_and_within_their_error_for_all() {
    let (bound, mut cpu) = (1.0 / 2048.0 + 1.0 / 16384.0, processor());
    let value = |x: u16| f64::from_bits(f16::to_f64(x, &mut Env::default()));
    let mut of = |code: Code, x: u16| {
        set_halves(&mut cpu, 1, |_| x);
        assert_eq!(run(&mut cpu, &make(code, &X[..2])), Ok(()));
        halves(&cpu, 0)[0]
    };
    let (rcp, rsqrt) = (Code::EVEX_Vrcpph_xmm_k1z_xmmm128b16, Code::EVEX_Vrsqrtph_xmm_k1z_xmmm128b16);
    for x in (1..0x7c00u16).step_by(7) {
        let (r, s) = (value(of(rcp, x)), value(of(rsqrt, x)));
        // A denormal result has fewer bits, and the reciprocals of the least denormals are infinite.
        if (6.2e-5..65504.0).contains(&(1.0 / value(x))) {
            assert!((r * value(x) - 1.0).abs() < bound, "1 / {x:04x}");
        }
        assert!((s * value(x).sqrt() - 1.0).abs() < bound, "1 / sqrt {x:04x}");
    }
    for (x, r, s) in [
        (0x3c00, 0x3c00, 0x3c00),
        (0x4400, 0x3400, 0x3800),
        (0xc400, 0xb400, 0xfe00),
        (0x0100, 0x7c00, 0x5c00),
        (0x8100, 0xfc00, 0xfe00),
        (0, 0x7c00, 0x7c00),
        (0x8000, 0xfc00, 0xfc00),
        (0x7c00, 0, 0),
        (0xfc00, 0x8000, 0xfe00),
        (0x7c01, 0x7e01, 0x7e01),
    ] {
        assert_eq!((of(rcp, x), of(rsqrt, x)), (r, s), "{x:04x}");
    }
}
