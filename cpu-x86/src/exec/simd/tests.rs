//! What a comparison with the host cannot show: faults, control bits, upper halves, the x87 side of MMX, and the
//! manuals' own examples.

use crate::exec::lookup;
use crate::fault::{Done, Stop};
use crate::state::{Cpu, Seg, Segment};
use emu_core::{Gpa, Ram};
use iced_x86::{Decoder, DecoderOptions};
use std::sync::Arc;

/// Where RBX points: aligned to 64 bytes.
const AT: u64 = 0x2000;

/// A processor that may run all of it.
pub(super) fn processor() -> Box<Cpu> {
    let ram = Arc::new(Ram::new(1 << 20, &[]).unwrap());
    let mut cpu = Cpu::new(ram, 0);
    cpu.cr0 = 1;
    cpu.cr4 = 1 << 9 | 1 << 10 | 1 << 18;
    cpu.efer = 1 << 8 | 1 << 10;
    cpu.xcr0 = 7;
    let code = Segment { attr: Segment::P | Segment::S | Segment::L | 11, ..Segment::default() };
    cpu.set_segment(Seg::Cs, code);
    cpu
}

fn run(cpu: &mut Cpu, bytes: &[u8]) -> Done {
    let i = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).decode();
    (lookup(&i).unwrap().run)(cpu, &i)
}

fn ready() -> Box<Cpu> {
    let mut cpu = processor();
    cpu.regs[3] = AT;
    cpu
}

fn set(cpu: &mut Cpu, n: usize, v: u128) {
    cpu.vec[n].0[..16].copy_from_slice(&v.to_le_bytes());
}

fn get(cpu: &Cpu, n: usize) -> u128 {
    u128::from_le_bytes(*cpu.vec[n].0.first_chunk().unwrap())
}

const MOVAPS_LOAD: [u8; 3] = [0x0f, 0x28, 0x03];
const PADDD_LOAD: [u8; 4] = [0x66, 0x0f, 0xfe, 0x03];
const PADDB_MM: [u8; 3] = [0x0f, 0xfc, 0xc1];
const VPXOR: [u8; 4] = [0xc5, 0xf9, 0xef, 0xc1];
const DIVPS: [u8; 3] = [0x0f, 0x5e, 0xc1];

#[test]
fn legacy_sse_operands_of_16_bytes_must_be_aligned_and_vex_ones_need_not_be() {
    let mut cpu = ready();
    cpu.regs[3] = AT + 8;
    assert_eq!(run(&mut cpu, &MOVAPS_LOAD), Err(Stop::gp(0)));
    assert_eq!(run(&mut cpu, &PADDD_LOAD), Err(Stop::gp(0)));
    assert_eq!(run(&mut cpu, &[0x0f, 0x10, 0x03]), Ok(()), "movups");
    assert_eq!(run(&mut cpu, &[0xf2, 0x0f, 0xf0, 0x03]), Ok(()), "lddqu");
    assert_eq!(run(&mut cpu, &[0xf2, 0x0f, 0x58, 0x03]), Ok(()), "addsd");
    assert_eq!(run(&mut cpu, &[0x66, 0x0f, 0x3a, 0x63, 0x03, 0]), Ok(()), "pcmpistri");
    assert_eq!(run(&mut cpu, &[0xc5, 0xf9, 0xfe, 0x03]), Ok(()), "vpaddd");
    cpu.regs[3] = AT + 16;
    assert_eq!(run(&mut cpu, &MOVAPS_LOAD), Ok(()));
    assert_eq!(run(&mut cpu, &[0xc5, 0xfc, 0x28, 0x03]), Err(Stop::gp(0)), "vmovaps ymm");
    assert_eq!(run(&mut cpu, &[0xc5, 0xfc, 0x10, 0x03]), Ok(()), "vmovups ymm");
    assert_eq!(run(&mut cpu, &[0xc5, 0xfd, 0xe7, 0x03]), Err(Stop::gp(0)), "vmovntdq ymm");
}

#[test]
fn a_legacy_write_keeps_the_upper_bits_and_a_vex_write_clears_them_to_bit_511() {
    let mut cpu = ready();
    cpu.vec[0].0 = [0x11; 64];
    assert_eq!(run(&mut cpu, &[0x66, 0x0f, 0xef, 0xc1]), Ok(()));
    assert_eq!(cpu.vec[0].0, [0x11; 64]);
    assert_eq!(run(&mut cpu, &VPXOR), Ok(()));
    assert_eq!(cpu.vec[0].0[..16], [0x11; 16]);
    assert_eq!(cpu.vec[0].0[16..], [0; 48]);
    cpu.vec[0].0 = [0x11; 64];
    assert_eq!(run(&mut cpu, &[0xc5, 0xfd, 0xef, 0xc1]), Ok(()), "vpxor ymm");
    assert_eq!(cpu.vec[0].0[..32], [0x11; 32]);
    assert_eq!(cpu.vec[0].0[32..], [0; 32]);
    (cpu.vec[15].0, cpu.vec[16].0) = ([0x22; 64], [0x33; 64]);
    assert_eq!(run(&mut cpu, &[0xc5, 0xf8, 0x77]), Ok(()), "vzeroupper");
    assert_eq!((&cpu.vec[15].0[..16], &cpu.vec[15].0[16..]), (&[0x22; 16][..], &[0; 48][..]));
    assert_eq!(cpu.vec[16].0, [0x33; 64]);
}

#[test]
fn disabled_state_raises_ud_before_nm_before_mf() {
    type Row = (&'static str, fn(&mut Cpu), [Done; 3]);
    let table: [Row; 9] = [
        ("all on", |_| {}, [Ok(()), Ok(()), Ok(())]),
        ("CR0.EM", |c| c.cr0 |= 4, [Err(Stop::UD), Ok(()), Err(Stop::UD)]),
        ("CR0.TS", |c| c.cr0 |= 8, [Err(Stop::NM), Err(Stop::NM), Err(Stop::NM)]),
        ("CR0.EM and TS", |c| c.cr0 |= 12, [Err(Stop::UD), Err(Stop::NM), Err(Stop::UD)]),
        ("no OSFXSR", |c| c.cr4 &= !(1 << 9), [Err(Stop::UD), Ok(()), Ok(())]),
        ("no OSXSAVE", |c| c.cr4 &= !(1 << 18), [Ok(()), Err(Stop::UD), Ok(())]),
        ("XCR0 without AVX", |c| c.xcr0 = 3, [Ok(()), Err(Stop::UD), Ok(())]),
        ("XCR0 without SSE", |c| c.xcr0 = 5, [Ok(()), Err(Stop::UD), Ok(())]),
        ("x87 exception pending", |c| c.fpu.sw = 0x81, [Ok(()), Ok(()), Err(Stop::MF)]),
    ];
    for (what, change, want) in table {
        let mut cpu = ready();
        change(&mut cpu);
        let got = [run(&mut cpu, &MOVAPS_LOAD), run(&mut cpu, &VPXOR), run(&mut cpu, &PADDB_MM)];
        assert_eq!(got, want, "{what}");
    }
    let mut cpu = ready();
    cpu.cr0 = 0;
    assert_eq!(run(&mut cpu, &VPXOR), Err(Stop::UD), "real mode");
    assert_eq!(run(&mut cpu, &MOVAPS_LOAD), Ok(()), "real mode");
}

#[test]
fn the_check_comes_before_the_address() {
    let mut cpu = ready();
    cpu.regs[3] = 1 << 60;
    assert_eq!(run(&mut cpu, &MOVAPS_LOAD), Err(Stop::gp(0)));
    cpu.cr0 |= 8;
    assert_eq!(run(&mut cpu, &MOVAPS_LOAD), Err(Stop::NM));
}

#[test]
fn mmx_sets_top_tags_and_the_exponent_and_emms_empties() {
    let mut cpu = ready();
    (cpu.fpu.sw, cpu.fpu.tag) = (0x3800 | 0x4700, 0xffff);
    (cpu.fpu.r[0].significand, cpu.fpu.r[1].significand) = (0xff01, 0x0102);
    assert_eq!(run(&mut cpu, &PADDB_MM), Ok(()));
    assert_eq!((cpu.fpu.r[0].significand, cpu.fpu.r[0].sign_exponent), (0x0003, 0xffff));
    assert_eq!(cpu.fpu.r[1].sign_exponent, 0);
    assert_eq!((cpu.fpu.sw, cpu.fpu.tag), (0x4700, 0));
    cpu.fpu.sw = 0x3800;
    assert_eq!(run(&mut cpu, &[0x0f, 0x77]), Ok(()), "emms");
    assert_eq!((cpu.fpu.sw, cpu.fpu.tag), (0, 0xffff), "TOP is 0: SDM vol. 3A, table 13-2");
    assert_eq!(run(&mut cpu, &[0x66, 0x0f, 0x2a, 0x03]), Ok(()), "cvtpi2pd from memory is no MMX instruction");
    assert_eq!(cpu.fpu.tag, 0xffff);
    assert_eq!(run(&mut cpu, &[0x0f, 0x2a, 0x03]), Ok(()), "cvtpi2ps is");
    assert_eq!(cpu.fpu.tag, 0);
}

#[test]
fn an_unmasked_exception_leaves_its_flag_and_no_result() {
    let ones = 0x3f80_0000_3f80_0000_3f80_0000_3f80_0000;
    let mut cpu = ready();
    // 1/1, 1/0, 1/denormal (overflow), 1/3 (inexact): only the flags found before computing are left.
    let divisors = 0x4040_0000_0000_0001_0000_0000_3f80_0000;
    set(&mut cpu, 0, ones);
    set(&mut cpu, 1, divisors);
    cpu.mxcsr = 0x1d80;
    assert_eq!(run(&mut cpu, &DIVPS), Err(Stop::XM));
    assert_eq!((cpu.mxcsr, get(&cpu, 0)), (0x1d80 | 4 | 2, ones));
    cpu.cr4 &= !(1 << 10);
    assert_eq!(run(&mut cpu, &DIVPS), Err(Stop::UD));
    cpu.mxcsr = 0x1f80;
    assert_eq!(run(&mut cpu, &DIVPS), Ok(()));
    assert_eq!(cpu.mxcsr, 0x1f80 | 0x2e);
    assert_eq!(get(&cpu, 0), 0x3eaa_aaab_7f80_0000_7f80_0000_3f80_0000);
    // A flag left from before does not trap when it is unmasked later.
    cpu.mxcsr = 0x1d80 | 4;
    set(&mut cpu, 0, ones);
    set(&mut cpu, 1, ones);
    assert_eq!(run(&mut cpu, &DIVPS), Ok(()));
}

#[test]
fn ldmxcsr_refuses_reserved_bits() {
    let mut cpu = ready();
    assert!(cpu.ram.write(Gpa(AT), &0x1_1f80u32.to_le_bytes()));
    assert_eq!(run(&mut cpu, &[0x0f, 0xae, 0x13]), Err(Stop::gp(0)));
    assert!(cpu.ram.write(Gpa(AT), &0xffbfu32.to_le_bytes()));
    assert_eq!(run(&mut cpu, &[0x0f, 0xae, 0x13]), Ok(()));
    assert_eq!(cpu.mxcsr, 0xffbf);
}

#[test]
fn a_gather_that_faults_keeps_the_elements_before_the_fault() {
    const VPGATHERQQ: [u8; 6] = [0xc4, 0xe2, 0xed, 0x91, 0x04, 0x0b]; // ymm0, [rbx + ymm1], ymm2
    let mut cpu = ready();
    assert!(cpu.ram.write(Gpa(AT), &[0x77; 64]));
    cpu.vec[0].0 = [0x11; 64];
    cpu.vec[2].0[..32].fill(0xff);
    cpu.vec[2].0[0..8].fill(0);
    cpu.vec[1].0[..32].fill(0);
    cpu.vec[1].0[23] = 0x10; // element 2 is not canonical
    assert_eq!(run(&mut cpu, &VPGATHERQQ), Err(Stop::gp(0)));
    assert_eq!(cpu.vec[0].0[..8], [0x11; 8]);
    assert_eq!(cpu.vec[0].0[8..16], [0x77; 8]);
    assert_eq!(cpu.vec[0].0[16..32], [0x11; 16]);
    assert_eq!(cpu.vec[2].0[..16], [0; 16]);
    assert_eq!(cpu.vec[2].0[16..32], [0xff; 16]);
    cpu.vec[1].0[23] = 0;
    assert_eq!(run(&mut cpu, &VPGATHERQQ), Ok(()));
    assert_eq!(cpu.vec[0].0[8..32], [0x77; 24]);
    assert_eq!((cpu.vec[0].0[32], cpu.vec[2].0), (0, [0; 64]));
}

#[test]
fn elements_that_a_mask_leaves_out_do_not_fault() {
    let mut cpu = ready();
    cpu.regs[3] = (1 << 47) - 8; // the last two elements are not canonical
    set(&mut cpu, 1, 0x8000_0000_0000_0000);
    assert_eq!(run(&mut cpu, &[0xc4, 0xe2, 0x71, 0x2c, 0x03]), Ok(()), "vmaskmovps load");
    assert_eq!(run(&mut cpu, &[0xc4, 0xe2, 0x71, 0x2e, 0x03]), Ok(()), "vmaskmovps store");
    set(&mut cpu, 1, 1 << 127);
    assert_eq!(run(&mut cpu, &[0xc4, 0xe2, 0x71, 0x2c, 0x03]), Err(Stop::gp(0)));
    assert_eq!(run(&mut cpu, &[0xc4, 0xe2, 0x71, 0x2e, 0x03]), Err(Stop::gp(0)));
    cpu.regs[7] = 1 << 60;
    set(&mut cpu, 1, 0x7f);
    assert_eq!(run(&mut cpu, &[0x66, 0x0f, 0xf7, 0xc1]), Ok(()), "maskmovdqu");
}

#[test]
fn extensions_that_the_processor_lacks_raise_ud() {
    let mut cpu = ready();
    assert_eq!(run(&mut cpu, &[0x62, 0x01, 0x0c, 0x40, 0x58, 0xf7]), Err(Stop::UD), "evex vaddps zmm");
    assert_eq!(run(&mut cpu, &[0xf2, 0x0f, 0x79, 0xc1]), Err(Stop::UD), "sse4a insertq");
    assert_eq!(run(&mut cpu, &[0xc4, 0xe2, 0x6b, 0x50, 0xc1]), Err(Stop::UD), "avx-vnni-int8 vpdpbssd");
}

#[test]
fn avx_vnni_sums_products_into_doublewords() {
    let mut cpu = ready();
    let (bytes, words) = (0xff_80_7f_01_ff_ff_ff_ff_00_00_00_02_01_02_03_04, 0x8000_8000_7fff_7fff_0001_fffe_8000_7fff);
    for (opcode, old, a, b, want) in [
        (0x50, 1, bytes, 0x7f_80_01_ff_80_80_80_80_7f_7f_7f_80_01_ff_02_fe, 0x00003eff_fffe0200_ffffff00_fffffffe),
        (0x51, 0x8000_0000 << 32, bytes, 0x80 << 32 | 0x7f << 120, 0x00007e81_00000000_80000000_00000000),
        (0x52, 1, words, words, 0x80000000_7ffe0002_00000005_7fff0002),
        (0x53, 1, words, words, 0x7fffffff_7ffe0002_00000005_7fff0002),
    ] {
        set(&mut cpu, 0, old);
        set(&mut cpu, 1, b);
        set(&mut cpu, 2, a);
        assert_eq!(run(&mut cpu, &[0xc4, 0xe2, 0x69, opcode, 0xc1]), Ok(()));
        assert_eq!(get(&cpu, 0), want, "opcode {opcode:x}: {:032x}", get(&cpu, 0));
    }
}

#[test]
fn aes_steps_agree_with_intels_white_paper() {
    let (state, key) = (0x7b5b5465_73745665_63746f72_5d53475d, 0x48692853_68617929_5b477565_726f6e5d);
    let table: [(u8, u128); 4] = [
        (0xdc, 0xa8311c2f_9fdba3c5_8b104b58_ded7e595),
        (0xdd, 0xc7fb881e_938c5964_177ec425_53fdc611),
        (0xde, 0x138ac342_faea2787_b58eb95e_b730392a),
        (0xdf, 0xc5a391ef_6b317f95_d410637b_72a593d0),
    ];
    let mut cpu = ready();
    for (opcode, want) in table {
        set(&mut cpu, 0, state);
        set(&mut cpu, 1, key);
        assert_eq!(run(&mut cpu, &[0x66, 0x0f, 0x38, opcode, 0xc1]), Ok(()));
        assert_eq!(get(&cpu, 0), want, "opcode {opcode:x}");
    }
    set(&mut cpu, 1, 0x3c4fcf09_8815f7ab_a6d2ae28_16157e2b);
    assert_eq!(run(&mut cpu, &[0x66, 0x0f, 0x3a, 0xdf, 0xc1, 1]), Ok(()), "aeskeygenassist");
    assert_eq!(get(&cpu, 0), 0x01eb848b_eb848a01_3424b5e5_24b5e434);
}

#[test]
fn crc32_of_the_check_string_is_e3069283() {
    let mut cpu = ready();
    cpu.regs[0] = 0xffff_ffff;
    for x in *b"123456789" {
        cpu.regs[3] = x.into();
        assert_eq!(run(&mut cpu, &[0xf2, 0x0f, 0x38, 0xf0, 0xc3]), Ok(()));
    }
    assert_eq!(!cpu.regs[0] as u32, 0xe306_9283);
}
