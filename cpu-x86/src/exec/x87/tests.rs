//! What the comparison with hardware (`tests/x87_native.rs`) cannot show: #NM, #MF, the four environment layouts,
//! the instruction, data and opcode pointers, and the tag helpers.

use super::lookup;
use crate::fault::{Done, Stop};
use crate::state::{Cpu, Seg, Segment};
use emu_core::{Gpa, Ram};
use iced_x86::{Decoder, DecoderOptions};
use softfp::F80;
use std::sync::Arc;

const DATA: u64 = 0x2000;
const CODE: u64 = 0x1_2340;

/// A flat machine in real mode after FNINIT, with EAX pointing at free memory.
fn machine() -> Box<Cpu> {
    let mut cpu = Cpu::new(Arc::new(Ram::new(4 << 20, &[]).unwrap()), 0);
    for s in [Seg::Es, Seg::Cs, Seg::Ss, Seg::Ds] {
        cpu.set_segment(s, Segment { limit: 0xffff_ffff, attr: 0x493, ..Segment::default() });
    }
    cpu.regs[0] = DATA;
    step(&mut cpu, &[0xdb, 0xe3]).unwrap();
    cpu
}

fn step(cpu: &mut Cpu, bytes: &[u8]) -> Done {
    assert!(cpu.ram.write(Gpa(CODE), bytes));
    let i = Decoder::with_ip(32, bytes, CODE, DecoderOptions::NONE).decode();
    cpu.rip = CODE;
    (lookup(&i).expect("an x87 instruction").run)(cpu, &i)
}

fn peek(cpu: &Cpu, at: u64) -> u32 {
    cpu.ram.read_u32(Gpa(at)).unwrap()
}

fn poke(cpu: &Cpu, bytes: &[u8]) {
    assert!(cpu.ram.write(Gpa(DATA), bytes));
}

const FLDZ: &[u8] = &[0xd9, 0xee];
const FLD1: &[u8] = &[0xd9, 0xe8];
const WAIT: &[u8] = &[0x9b];
const FNSTSW_AX: &[u8] = &[0xdf, 0xe0];
const FLDCW: &[u8] = &[0xd9, 0x28];
const FDIV_ST0_ST1: &[u8] = &[0xd8, 0xf1];
const FDIV_M64: &[u8] = &[0x26, 0xdc, 0x30];
const FNSTENV: &[u8] = &[0xd9, 0x30];
const FNSTENV_16: &[u8] = &[0x66, 0xd9, 0x30];
const FLDENV: &[u8] = &[0xd9, 0x20];
const FLDENV_16: &[u8] = &[0x66, 0xd9, 0x20];
const FNSAVE: &[u8] = &[0xdd, 0x30];
const FRSTOR: &[u8] = &[0xdd, 0x20];
const FNCLEX: &[u8] = &[0xdb, 0xe2];

#[test]
fn em_or_ts_raises_nm_and_wait_asks_mp_and_ts() {
    for (cr0, fld, wait) in [
        (0, Ok(()), Ok(())),
        (1 << 1, Ok(()), Ok(())),
        (1 << 2, Err(Stop::NM), Ok(())),
        (1 << 3, Err(Stop::NM), Ok(())),
        (1 << 1 | 1 << 3, Err(Stop::NM), Err(Stop::NM)),
        (1 << 1 | 1 << 2, Err(Stop::NM), Ok(())),
    ] {
        let mut cpu = machine();
        cpu.cr0 |= cr0;
        assert_eq!(step(&mut cpu, FLDZ), fld, "cr0 {cr0:#x}");
        assert_eq!(step(&mut cpu, FNSTSW_AX), fld, "cr0 {cr0:#x}");
        assert_eq!(step(&mut cpu, WAIT), wait, "cr0 {cr0:#x}");
    }
}

/// 1 / 0 with ZE unmasked.
fn with_pending_division() -> Box<Cpu> {
    let mut cpu = machine();
    poke(&cpu, &0x37b_u16.to_le_bytes());
    for code in [FLDCW, FLDZ, FLD1, FDIV_ST0_ST1] {
        step(&mut cpu, code).unwrap();
    }
    cpu
}

#[test]
fn an_unmasked_division_by_zero_is_raised_by_the_next_waiting_instruction_only() {
    let mut cpu = with_pending_division();
    assert_eq!(cpu.fpu.st(0), F80::ONE, "the operand stays");
    step(&mut cpu, FNSTSW_AX).unwrap();
    assert_eq!(cpu.regs[0], DATA & !0xffff | 0xb084);
    cpu.regs[0] = DATA;
    for waiting in [WAIT, FLD1, FLDCW, FRSTOR, FLDENV, &[0xd9, 0xd0]] {
        assert_eq!(step(&mut cpu, waiting), Err(Stop::MF), "{waiting:02x?}");
    }
    step(&mut cpu, FNCLEX).unwrap();
    assert_eq!(cpu.fpu.sw, 0x3000);
    step(&mut cpu, WAIT).unwrap();
}

#[test]
fn unmasking_a_raised_exception_makes_it_pending() {
    let mut cpu = machine();
    for code in [FLDZ, FLD1, FDIV_ST0_ST1] {
        step(&mut cpu, code).unwrap();
    }
    assert_eq!(cpu.fpu.sw, 0x3004);
    poke(&cpu, &0xffff_u16.to_le_bytes());
    step(&mut cpu, FLDCW).unwrap();
    assert_eq!((cpu.fpu.cw, cpu.fpu.sw), (0x1f7f, 0x3004));
    poke(&cpu, &0x0040_u16.to_le_bytes());
    step(&mut cpu, FLDCW).unwrap();
    assert_eq!((cpu.fpu.cw, cpu.fpu.sw), (0x0040, 0xb084));
}

#[test]
fn the_instruction_pointer_is_always_noted_and_operand_and_opcode_with_an_unmasked_exception() {
    let mut cpu = machine();
    step(&mut cpu, FLD1).unwrap();
    poke(&cpu, &[0; 8]);
    step(&mut cpu, FDIV_M64).unwrap();
    assert_eq!((cpu.fpu.ip, cpu.fpu.dp, cpu.fpu.op), (CODE, 0, 0));
    cpu.fpu.initialise();
    cpu.fpu.cw = 0x340;
    step(&mut cpu, FLD1).unwrap();
    step(&mut cpu, FDIV_M64).unwrap();
    assert_eq!((cpu.fpu.ip, cpu.fpu.dp, cpu.fpu.op), (CODE, DATA, 0x430));
    step(&mut cpu, FNCLEX).unwrap();
    assert_eq!((cpu.fpu.ip, cpu.fpu.op), (CODE, 0x430), "a control instruction notes nothing");
}

#[test]
fn the_environment_has_four_layouts() {
    let cases: [(&[u8], bool, [u32; 7]); 4] = [
        (FNSTENV, true, [0xffff_037b, 0xffff_b084, 0xffff_4fff, 0x1_2340, 0x00f1_0000, 0x8765_4321, 0xffff_0000]),
        (FNSTENV, false, [0xffff_037b, 0xffff_b084, 0xffff_4fff, 0xffff_2340, 0x0000_10f1, 0xffff_4321, 0x0876_5000]),
        (FNSTENV_16, true, [0x37b, 0xb084, 0x4fff, 0x2340, 0, 0x4321, 0]),
        (FNSTENV_16, false, [0x37b, 0xb084, 0x4fff, 0x2340, 0x10f1, 0x4321, 0x5000]),
    ];
    for (code, protected, want) in cases {
        let mut cpu = with_pending_division();
        cpu.cr0 |= u64::from(protected);
        cpu.fpu.dp = 0x8765_4321;
        step(&mut cpu, code).unwrap();
        let step_bytes = if code == FNSTENV { 4 } else { 2 };
        let got = std::array::from_fn(|n| {
            let v = peek(&cpu, DATA + n as u64 * step_bytes);
            if step_bytes == 4 { v } else { v & 0xffff }
        });
        assert_eq!(got, want, "{got:08x?} {want:08x?}");
        assert_eq!((cpu.fpu.cw, cpu.fpu.sw), (0x37f, 0x3084 & !0x80), "all masked, nothing pending");
        let load = if code == FNSTENV { FLDENV } else { FLDENV_16 };
        let (ip, op) = (cpu.fpu.ip, cpu.fpu.op);
        cpu.fpu.initialise();
        step(&mut cpu, load).unwrap();
        let narrow = code == FNSTENV_16;
        let ip_kept = if narrow && protected { ip & 0xffff } else { ip & 0xf_ffff };
        assert_eq!((cpu.fpu.cw, cpu.fpu.sw, cpu.fpu.full_tag(), cpu.fpu.ip), (0x37b, 0xb084, 0x4fff, ip_kept));
        assert_eq!(cpu.fpu.op, if narrow && protected { 0 } else { op });
    }
}

#[test]
fn fnsave_and_frstor_carry_the_registers_in_stack_order() {
    let mut cpu = machine();
    for code in [FLDZ, FLD1, &[0xd9, 0xeb]] {
        step(&mut cpu, code).unwrap();
    }
    let before = cpu.fpu;
    step(&mut cpu, FNSAVE).unwrap();
    assert_eq!((cpu.fpu.cw, cpu.fpu.sw, cpu.fpu.tag, cpu.fpu.ip), (0x37f, 0, 0xffff, 0));
    assert_eq!(peek(&cpu, DATA + 8), 0xffff_0000 | 0x43ff, "R7 is zero, R6 one, R5 pi");
    assert_eq!((peek(&cpu, DATA + 28), peek(&cpu, DATA + 32)), (0x2168_c235, 0xc90f_daa2), "ST(0) is pi");
    assert_eq!(peek(&cpu, DATA + 38 + 4), 0x8000_0000, "ST(1) is one");
    cpu.fpu.r = [F80::INDEFINITE; 8];
    step(&mut cpu, FRSTOR).unwrap();
    assert_eq!((cpu.fpu.sw, cpu.fpu.full_tag(), cpu.fpu.r), (before.sw, 0x43ff, before.r));
}

#[test]
fn abridged_tags_lose_only_what_the_registers_tell() {
    let mut cpu = machine();
    cpu.fpu.r = [F80::ZERO, F80::ONE, F80::INDEFINITE, F80::ONE, F80::ZERO, F80::ONE, F80::INDEFINITE, F80::ZERO];
    cpu.fpu.set_abridged_tag(0b0111_0111);
    assert_eq!((cpu.fpu.tag, cpu.fpu.abridged_tag()), (0b11_10_00_01_11_10_00_01, 0b0111_0111));
    for tags in 0..=255 {
        cpu.fpu.set_abridged_tag(tags);
        assert_eq!(cpu.fpu.abridged_tag(), tags);
    }
}

#[test]
fn a_store_that_faults_changes_nothing() {
    let mut cpu = machine();
    step(&mut cpu, FLD1).unwrap();
    cpu.set_segment(Seg::Ds, Segment { limit: DATA as u32 + 8, attr: 0x493, ..Segment::default() });
    let before = cpu.fpu;
    for code in [&[0xdb, 0x38][..], &[0xdf, 0x30], &[0xdd, 0x30], &[0xd9, 0x30]] {
        assert_eq!(step(&mut cpu, code), Err(Stop::gp(0)), "{code:02x?}");
        assert_eq!(cpu.fpu, before);
    }
    step(&mut cpu, &[0xdd, 0x18]).unwrap();
    assert_eq!(cpu.fpu.tag, 0xffff);
}
