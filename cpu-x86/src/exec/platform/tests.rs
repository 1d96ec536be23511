//! Tests of the platform's instructions.

use super::*;
use crate::alu::flag;
use crate::fault::{Exception, vector};
use crate::state::{Activity, Segment, cr0, cr4};
use crate::{Seg, VecReg};
use emu_core::{Gpa, Ram, Random};
use iced_x86::{Decoder, DecoderOptions};
use proptest::prelude::*;
use std::sync::Arc;

const AT: u64 = 0x1000;

/// A processor in 64-bit mode at CPL 0 with RBX = `AT` and all of XSAVE on; memory is flat.
fn cpu() -> Box<Cpu> {
    let mut c = Cpu::new(Arc::new(Ram::new(1 << 20, &[]).unwrap()), 0);
    (c.cr0, c.efer, c.cpl) = (cr0::PE, 1 << 10, 0);
    c.cr4 = cr4::OSXSAVE | cr4::OSFXSR;
    c.set_segment(Seg::Cs, Segment { attr: Segment::L | Segment::P | Segment::S | 0xb, ..Segment::default() });
    (c.xcr0, c.regs[0], c.regs[2], c.regs[3]) = (7, 7, 0, AT);
    (c.fpu.cw, c.fpu.tag) = (0x37f, 0xffff);
    c
}

fn run(c: &mut Cpu, code: &[u8]) -> Done {
    let i = Decoder::with_ip(64, code, 0, DecoderOptions::NONE).decode();
    assert!(!i.is_invalid(), "{code:x?}");
    (lookup(&i).expect("it is of this group").run)(c, &i)
}

fn fill(c: &mut Cpu, seed: u8) {
    for n in 0..16u8 {
        c.vec[usize::from(n)] = VecReg(std::array::from_fn(|b| seed ^ n << 4 ^ b as u8));
    }
    for n in 0..8 {
        c.fpu.r[n].significand = 0x8000_0000_0000_0000 | u64::from(seed) << 8 | n as u64;
        c.fpu.r[n].sign_exponent = 0x3fff + n as u16;
    }
    (c.fpu.sw, c.fpu.cw, c.fpu.tag, c.mxcsr) = (0x2800, 0x27f, 0, 0x1fa0);
    (c.fpu.ip, c.fpu.dp, c.fpu.op) = (0x1234_5678_9abc, 0x4321_0000_1111, 0x5d9);
}

fn put(c: &Cpu, at: u64, v: &[u8]) {
    assert!(c.ram.write(Gpa(at), v));
}

fn bytes(c: &Cpu, at: u64, n: usize) -> Vec<u8> {
    let mut b = vec![0; n];
    assert!(c.ram.read(Gpa(at), &mut b));
    b
}

fn word(c: &Cpu, at: u64) -> u64 {
    c.ram.read_u64(Gpa(at)).unwrap()
}

const FXSAVE: &[u8] = &[0x0f, 0xae, 0x03];
const FXSAVE64: &[u8] = &[0x48, 0x0f, 0xae, 0x03];
const FXRSTOR64: &[u8] = &[0x48, 0x0f, 0xae, 0x0b];
const XSAVE64: &[u8] = &[0x48, 0x0f, 0xae, 0x23];
const XRSTOR64: &[u8] = &[0x48, 0x0f, 0xae, 0x2b];
const XSAVEOPT64: &[u8] = &[0x48, 0x0f, 0xae, 0x33];
const XSAVEC64: &[u8] = &[0x48, 0x0f, 0xc7, 0x23];
const XSAVES64: &[u8] = &[0x48, 0x0f, 0xc7, 0x2b];
const XRSTORS64: &[u8] = &[0x48, 0x0f, 0xc7, 0x1b];

#[test]
fn fxsave_lays_the_area_out_as_the_manual_draws_it() {
    let mut c = cpu();
    fill(&mut c, 0x40);
    put(&c, AT, &[0xee; 512]);
    run(&mut c, FXSAVE64).unwrap();
    let b = bytes(&c, AT, 512);
    assert_eq!(b[..8], [0x7f, 0x02, 0x00, 0x28, 0xff, 0x00, 0xd9, 0x05]);
    assert_eq!((word(&c, AT + 8), word(&c, AT + 16)), (0x1234_5678_9abc, 0x4321_0000_1111));
    assert_eq!(b[24..32], [0xa0, 0x1f, 0, 0, 0xff, 0xff, 0, 0]);
    assert_eq!(word(&c, AT + 32), c.fpu.r[5].significand, "TOP is 5");
    assert_eq!(b[160 + 16 * 15], 0x40 ^ 15 << 4);
    assert!(b[416..].iter().all(|&v| v == 0xee));
    run(&mut c, FXSAVE).unwrap();
    assert_eq!((word(&c, AT + 8), word(&c, AT + 16)), (0x5678_9abc, 0x1111));
}

#[test]
fn fxrstor_refuses_reserved_mxcsr_bits_and_misalignment_before_it_changes_anything() {
    let mut c = cpu();
    fill(&mut c, 1);
    run(&mut c, FXSAVE64).unwrap();
    put(&c, AT + 26, &[1]);
    let (fpu, vec) = (c.fpu, c.vec);
    assert_eq!(run(&mut c, FXRSTOR64), Err(Stop::gp(0)));
    c.regs[3] = AT + 8;
    assert_eq!(run(&mut c, FXRSTOR64), Err(Stop::gp(0)));
    assert!(c.fpu == fpu && c.vec == vec);
    c.cr0 |= cr0::TS;
    assert_eq!(run(&mut c, FXRSTOR64), Err(Stop::NM));
}

#[test]
fn every_saving_form_comes_back_through_its_restoring_form() {
    for (save, restore) in [(XSAVE64, XRSTOR64), (XSAVEOPT64, XRSTOR64), (XSAVEC64, XRSTOR64), (XSAVES64, XRSTORS64)] {
        let mut c = cpu();
        fill(&mut c, 0x77);
        let (fpu, vec) = (c.fpu, c.vec);
        run(&mut c, save).unwrap();
        assert_eq!(word(&c, AT + 512), 7, "{save:x?}");
        fill(&mut c, 0x11);
        c.mxcsr = 0x1f80;
        run(&mut c, restore).unwrap();
        let same = (0..16).all(|n| c.vec[n].0[..32] == vec[n].0[..32]);
        assert!(c.fpu == fpu && c.mxcsr == 0x1fa0 && same, "{save:x?}");
    }
}

#[test]
fn components_in_their_initial_configuration_are_marked_and_come_back_so() {
    let mut c = cpu();
    c.vec[3].0[20] = 1;
    run(&mut c, XSAVEC64).unwrap();
    assert_eq!((word(&c, AT + 512), word(&c, AT + 520)), (4, 1 << 63 | 7));
    c.mxcsr = 0x1fbf;
    run(&mut c, XSAVEC64).unwrap();
    assert_eq!(word(&c, AT + 512), 6, "MXCSR alone keeps SSE in use for XSAVEC");
    c.mxcsr = 0x1f80;
    run(&mut c, XSAVEC64).unwrap();
    fill(&mut c, 9);
    run(&mut c, XRSTOR64).unwrap();
    assert_eq!((c.mxcsr, c.fpu.cw, c.fpu.tag, c.fpu.sw), (0x1f80, 0x37f, 0xffff, 0));
    assert_eq!((c.vec[3].0[20], c.vec[5].0[0], c.vec[5].0[20]), (1, 0, 0));
    run(&mut c, &[0x0f, 0x01, 0xd0]).unwrap();
    assert_eq!(c.regs[0], 7, "XGETBV");
    (c.regs[0], c.regs[1]) = (0, 1);
    run(&mut c, &[0x0f, 0x01, 0xd0]).unwrap();
    assert_eq!(c.regs[0], 4, "XGETBV of what is in use");
}

#[test]
fn only_what_is_requested_is_written_and_marked() {
    let mut c = cpu();
    fill(&mut c, 0x21);
    put(&c, AT, &[0xee; 1024]);
    put(&c, AT + 512, &[0; 64]);
    put(&c, AT + 512, &[1]);
    c.regs[0] = 4;
    run(&mut c, XSAVE64).unwrap();
    assert_eq!(word(&c, AT + 512), 5);
    let b = bytes(&c, AT, 1024);
    assert_eq!((b[0], b[24], b[160], b[576], b[832]), (0xee, 0xa0, 0xee, 0x21 ^ 16, 0xee));
}

#[test]
fn xrstor_checks_the_header() {
    let cases: [(u64, u64, u64, bool); 8] = [
        (7, 0, 0, true),
        (8, 0, 0, false),
        (7, 1, 0, false),
        (7, 0, 1, false),
        (3, 1 << 63 | 7, 0, true),
        (4, 1 << 63 | 3, 0, false),
        (3, 1 << 63 | 15, 0, false),
        (3, 1 << 63 | 7, 1, false),
    ];
    for (present, format, third, legal) in cases {
        let mut c = cpu();
        run(&mut c, XSAVE64).unwrap();
        for (n, v) in [present, format, third].into_iter().enumerate() {
            put(&c, AT + 512 + 8 * n as u64, &v.to_le_bytes());
        }
        let done = run(&mut c, XRSTOR64);
        assert_eq!(done, if legal { Ok(()) } else { Err(Stop::gp(0)) }, "{present:x} {format:x} {third:x}");
        let compacted = legal && format >> 63 != 0;
        assert_eq!(run(&mut c, XRSTORS64), if compacted { Ok(()) } else { Err(Stop::gp(0)) });
    }
}

#[test]
fn xsave_faults_in_the_manuals_order() {
    let mut c = cpu();
    c.cr0 |= cr0::TS;
    assert_eq!(run(&mut c, XSAVE64), Err(Stop::NM));
    c.cr4 = 0;
    assert_eq!(run(&mut c, XSAVE64), Err(Stop::UD));
    let mut c = cpu();
    c.regs[3] = AT + 32;
    assert_eq!(run(&mut c, XSAVE64), Err(Stop::gp(0)));
    c.regs[3] = AT;
    c.cpl = 3;
    assert_eq!(run(&mut c, XSAVES64), Err(Stop::gp(0)));
}

#[test]
fn xsetbv_takes_only_combinations_that_exist() {
    let (good, bad) = ([1, 3, 7, 0xe7, 0x2e7, 0x201], [0, 2, 5, 0xf, 0x27, 0x67, 0xc7, 0xe3, 0x10e7]);
    for (v, legal) in good.map(|v| (v, true)).into_iter().chain(bad.map(|v| (v, false))) {
        let mut c = cpu();
        (c.regs[0], c.regs[1], c.regs[2]) = (v, 0, 0);
        assert_eq!(run(&mut c, &[0x0f, 0x01, 0xd1]).is_ok(), legal, "{v:#x}");
    }
}

#[test]
fn privileged_instructions_are_refused_to_users() {
    let list: [&[u8]; 7] = [
        &[0xf4],
        &[0x0f, 0x32],
        &[0x0f, 0x30],
        &[0x0f, 0x09],
        &[0x0f, 0x08],
        &[0x0f, 0x01, 0x3b],
        &[0x66, 0x0f, 0x38, 0x82, 0x03],
    ];
    for code in list {
        let mut c = cpu();
        c.regs[1] = 0x1b;
        c.cpl = 3;
        assert_eq!(run(&mut c, code), Err(Stop::gp(0)), "{code:x?}");
        c.cpl = 0;
        c.regs[0] = 0;
        let done = run(&mut c, code);
        assert!(done.is_ok() || code == [0x0f, 0x30], "{code:x?}");
    }
    let mut c = cpu();
    run(&mut c, &[0xf4]).unwrap();
    assert_eq!(c.activity, Activity::Halted);
}

#[test]
fn tsd_and_pce_bar_users_only() {
    let mut c = cpu();
    (c.cpl, c.settled.clock, c.msr.tsc_aux) = (3, 0x5_0000_0001, 0x1003);
    c.regs[0] = u64::MAX;
    run(&mut c, &[0x0f, 0x01, 0xf9]).unwrap();
    assert_eq!((c.regs[0], c.regs[2], c.regs[1]), (1, 5, 0x1003));
    c.cr4 |= cr4::TSD;
    assert_eq!(run(&mut c, &[0x0f, 0x31]), Err(Stop::gp(0)));
    c.cpl = 0;
    assert_eq!(run(&mut c, &[0x0f, 0x31]), Ok(()));
    assert_eq!(run(&mut c, &[0x0f, 0x33]), Err(Stop::gp(0)), "no PMU behind no doors");
}

#[test]
fn random_numbers_repeat_with_the_seed_and_set_only_carry() {
    let mut c = cpu();
    c.set_status_flags(flag::STATUS);
    run(&mut c, &[0x48, 0x0f, 0xc7, 0xf0]).unwrap();
    let first = c.regs[0];
    assert_eq!(c.status_flags(), flag::CF);
    run(&mut c, &[0x48, 0x0f, 0xc7, 0xf8]).unwrap();
    assert_ne!(c.regs[0], first);
    c.random = Random(0);
    c.regs[0] = u64::MAX;
    run(&mut c, &[0x66, 0x0f, 0xc7, 0xf0]).unwrap();
    assert_eq!(c.regs[0], u64::MAX << 16 | first & 0xffff);
}

#[test]
fn stac_sets_ac_in_ring_0_and_is_undefined_elsewhere() {
    let mut c = cpu();
    run(&mut c, &[0x0f, 0x01, 0xcb]).unwrap();
    assert_eq!(c.flags() & flag::AC, flag::AC);
    run(&mut c, &[0x0f, 0x01, 0xca]).unwrap();
    assert_eq!(c.flags() & flag::AC, 0);
    c.cpl = 3;
    assert_eq!(run(&mut c, &[0x0f, 0x01, 0xca]), Err(Stop::UD));
}

#[test]
fn what_the_identity_lacks_is_undefined() {
    let list: [&[u8]; 6] = [
        &[0x0f, 0x01, 0xc8],
        &[0x0f, 0x01, 0xc9],
        &[0x0f, 0x01, 0xc1],
        &[0x0f, 0x37],
        &[0x0f, 0xaa],
        &[0xf3, 0x0f, 0xc7, 0xf0],
    ];
    for code in list {
        assert_eq!(run(&mut cpu(), code), Err(Stop::UD), "{code:x?}");
    }
}

#[test]
fn invpcid_checks_its_descriptor() {
    let mut c = cpu();
    let code: &[u8] = &[0x66, 0x0f, 0x38, 0x82, 0x03];
    for (kind, pcid, at, pcide, legal) in [
        (0, 0, 0, false, true),
        (0, 1, 0, false, false),
        (0, 1, 0, true, true),
        (0, 0x1000, 0, true, false),
        (0, 1, 1 << 60, true, false),
        (1, 1, 1 << 60, true, true),
        (2, 0, 0, false, true),
        (3, 0, 0, false, true),
        (4, 0, 0, false, false),
    ] {
        c.cr4 = if pcide { cr4::PCIDE } else { 0 };
        c.regs[0] = kind;
        put(&c, AT, &u64::to_le_bytes(pcid));
        put(&c, AT + 8, &u64::to_le_bytes(at));
        assert_eq!(run(&mut c, code).is_ok(), legal, "{kind} {pcid:x} {at:x} {pcide}");
    }
}

#[test]
fn movdir64b_moves_64_aligned_bytes() {
    let mut c = cpu();
    put(&c, AT + 3, &[0x5a; 64]);
    (c.regs[3], c.regs[0]) = (AT + 3, 0x2000);
    run(&mut c, &[0x66, 0x0f, 0x38, 0xf8, 0x03]).unwrap();
    assert_eq!(bytes(&c, 0x2000, 65)[..64], [0x5a; 64]);
    assert_eq!(bytes(&c, 0x2040, 1), [0]);
    c.regs[0] = 0x2020;
    let gp = Stop::Exception(Exception::with(vector::GP, 0));
    assert_eq!(run(&mut c, &[0x66, 0x0f, 0x38, 0xf8, 0x03]), Err(gp));
}

const TPAUSE: &[u8] = &[0x66, 0x0f, 0xae, 0xf1];
const UMWAIT: &[u8] = &[0xf2, 0x0f, 0xae, 0xf1];
const UMONITOR: &[u8] = &[0xf3, 0x0f, 0xae, 0xf3];

/// Runs `code`, then HLT, from 0; the clock when it halts for good, and whether it waited. `meanwhile` is done each 1000
/// ticks.
fn waits(c: &mut Cpu, code: &[u8], mut meanwhile: impl FnMut(&Cpu)) -> (u64, bool) {
    put(c, 0, code);
    put(c, code.len() as u64, &[0xf4]);
    (c.rip, c.next_rip) = (0, 0);
    let mut waited = false;
    loop {
        let until = c.counts().clock + 1000;
        match (c.run(&mut crate::NoDoors, until), c.is_waiting()) {
            (crate::Exit::Time, _) => {}
            (crate::Exit::Halted, true) => c.skip_to(c.next_event().expect("a deadline").min(until)),
            (exit, _) => {
                assert_eq!(exit, crate::Exit::Halted);
                return (c.counts().clock, waited);
            }
        }
        waited |= c.wait.is_some();
        meanwhile(c);
    }
}

#[test]
fn tpause_waits_for_its_time_or_the_systems_limit_and_says_which() {
    for (until, control, operand, clock, carry, rested) in [
        (5000, 0, 0, 5001, 0, [0, 4999]),
        (5000, 0, 1, 5001, 0, [4999, 0]),
        (5000, 400, 0, 401, flag::CF, [0, 399]),
        (300, 400 | 1, 0, 301, 0, [299, 0]),
        (0, 0, 0, 2, 0, [0, 0]),
        (1 << 40, 400, 0, 401, flag::CF, [0, 399]),
    ] {
        let mut c = cpu();
        c.set_status_flags(flag::STATUS & !flag::CF);
        (c.regs[0], c.regs[2], c.regs[1]) = (until & 0xffff_ffff, until >> 32, operand);
        c.msr.umwait_control = control;
        let (ended, _) = waits(&mut c, TPAUSE, |_| {});
        let counts = c.counts();
        assert_eq!((ended, c.status_flags(), counts.kernel.rested), (clock, carry, rested), "{until} {control}");
        assert_eq!((counts.cycles, counts.kernel.instructions), (clock, 2), "it stays in C0");
    }
    let mut c = cpu();
    c.regs[1] = 2;
    assert_eq!(run(&mut c, TPAUSE), Err(Stop::gp(0)), "reserved bits");
    (c.regs[1], c.cpl, c.cr4) = (1, 3, c.cr4 | cr4::TSD);
    assert_eq!(run(&mut c, TPAUSE), Err(Stop::gp(0)), "TSD");
}

#[test]
fn umwait_ends_with_a_store_to_the_line_and_waits_for_none_that_is_not_watched() {
    let code = [UMONITOR, UMWAIT].concat();
    for (at, ended) in [(AT + 63, 3003), (AT + 64, 9002), (AT - 1, 9002)] {
        let mut c = cpu();
        (c.regs[0], c.regs[2], c.regs[1]) = (9000, 0, 0);
        let mut times = 0;
        let end = waits(&mut c, &code, |c| {
            times += 1;
            if times == 3 {
                put(c, at, &[1]);
            }
        });
        assert!(end.0 <= ended && end.1, "{at:#x}: {end:?}");
        assert_eq!(end.0 < 9000, ended < 9000, "{at:#x}: {end:?}");
    }
    let mut c = cpu();
    (c.regs[0], c.regs[2], c.regs[1]) = (9000, 0, 0);
    assert_eq!(waits(&mut c, UMWAIT, |_| {}), (2, false), "nothing is watched");
    let mut c = cpu();
    c.regs[3] = 1 << 60;
    assert_eq!(run(&mut c, UMONITOR), Err(Stop::gp(0)));
}

#[test]
fn an_interrupt_ends_a_wait_even_while_it_is_masked() {
    let mut c = cpu();
    c.lapic.set_firmware_state();
    (c.regs[0], c.regs[2], c.regs[1]) = (900_000, 0, 0);
    put(&c, 0, &[TPAUSE, &[0xf4]].concat());
    (c.rip, c.next_rip) = (0, 0);
    assert_eq!(c.run(&mut crate::NoDoors, 1000), crate::Exit::Time);
    assert!(c.wait.is_some());
    c.lapic.accept(0x40, false);
    assert_eq!(c.run(&mut crate::NoDoors, 1_000_000), crate::Exit::Halted);
    assert_eq!((c.rip, c.wait), (5, None), "at HLT, which waits on");
}

#[test]
fn monitor_and_mwait_are_there_once_they_are_enabled() {
    let (monitor, mwait): (&[u8], &[u8]) = (&[0x0f, 0x01, 0xc8], &[0x0f, 0x01, 0xc9]);
    let mut c = cpu();
    c.regs[1] = 0;
    assert_eq!(run(&mut c, monitor), Err(Stop::UD));
    assert_eq!(run(&mut c, mwait), Err(Stop::UD));
    c.write_msr(0x1a0, c.msr.misc_enable | 1 << 18).unwrap();
    c.regs[0] = AT;
    let (ended, waited) = waits(&mut c, &[monitor, mwait].concat(), |c| put(c, AT, &[7]));
    assert!(waited && ended < 2000, "{ended}");
    c.cpl = 3;
    assert_eq!(run(&mut c, monitor), Err(Stop::UD), "at CPL 3");
    (c.cpl, c.regs[1]) = (0, 2);
    assert_eq!(run(&mut c, mwait), Err(Stop::gp(0)));
}

#[test]
fn pkru_is_a_component_of_the_state() {
    for (save, restore, at) in
        [(XSAVE64, XRSTOR64, 2688), (XSAVEOPT64, XRSTOR64, 2688), (XSAVEC64, XRSTOR64, 832), (XSAVES64, XRSTORS64, 832)]
    {
        let mut c = cpu();
        (c.xcr0, c.regs[0], c.pkru) = (0x207, 0x207, 0x5555_5554);
        put(&c, AT, &[0xee; 2704]);
        put(&c, AT + 512, &[0; 64]);
        run(&mut c, save).unwrap();
        assert_eq!(word(&c, AT + 512), 0x200, "{save:x?}");
        assert_eq!((word(&c, AT + at), word(&c, AT + at + 8)), (0x5555_5554, 0xeeee_eeee_eeee_eeee));
        c.pkru = 1;
        run(&mut c, restore).unwrap();
        assert_eq!(c.pkru, 0x5555_5554);
        // AVX is not asked for: PKRU moves down in the compacted format.
        (c.regs[0], c.pkru) = (0x201, 3);
        run(&mut c, save).unwrap();
        assert_eq!(word(&c, AT + if at == 832 { 576 } else { at }), 3);
        put(&c, AT + 512, &[0; 8]);
        run(&mut c, restore).unwrap();
        assert_eq!(c.pkru, 0, "initialised");
    }
}

proptest! {
    /// The marks are what the state says, computed here from the registers alone.
    #[test]
    fn xstate_bv_is_requested_and_in_use(x87 in any::<bool>(), sse in any::<bool>(), avx in any::<bool>(), ask in 0u64..8) {
        let mut c = cpu();
        c.fpu.cw = if x87 { 0x27f } else { 0x37f };
        c.vec[15].0[15] = u8::from(sse);
        c.vec[0].0[31] = u8::from(avx);
        c.regs[0] = ask;
        let expected = ask & (u64::from(x87) | u64::from(sse) << 1 | u64::from(avx) << 2);
        for code in [XSAVE64, XSAVEOPT64, XSAVEC64, XSAVES64] {
            put(&c, AT + 512, &[0; 64]);
            prop_assert_eq!(run(&mut c, code), Ok(()));
            prop_assert_eq!(word(&c, AT + 512), expected);
        }
    }
}
