//! What a comparison with the host in 64-bit mode cannot show: other modes, faults, and repetition in parts.

use super::lookup;
use crate::alu::flag;
use crate::fault::{Done, Exception, Stop, vector};
use crate::state::{Cpu, Seg, Segment};
use emu_core::{Gpa, Ram};
use iced_x86::{Decoder, DecoderOptions};
use std::sync::Arc;

/// A processor at CPL 0 in a code segment of `bits`; 16 is real mode. Data segments are flat but for a limit of 64 KiB
/// in real mode; the stack pointer is 8000h.
fn machine(bits: u32) -> (Box<Cpu>, Arc<Ram>) {
    let ram = Arc::new(Ram::new(2 << 20, &[]).unwrap());
    let mut cpu = Cpu::bare_64bit(ram.clone());
    if bits != 64 {
        cpu.efer = 0;
        cpu.cr0 = if bits == 16 { 0x10 } else { 0x11 };
        for s in [Seg::Es, Seg::Cs, Seg::Ss, Seg::Ds, Seg::Fs, Seg::Gs] {
            let (limit, big) = if bits == 16 { (0xffff, 0) } else { (u32::MAX, 0xc000) };
            let attr = big | if s == Seg::Cs { 0x9b } else { 0x93 };
            cpu.set_segment(s, Segment { selector: 8, base: 0, limit, attr });
        }
    }
    cpu.regs[..16].fill(0);
    cpu.regs[4] = 0x8000;
    cpu.tr = Segment::default();
    cpu.rip = 0x1000;
    (cpu, ram)
}

/// Executes one instruction at the current address.
fn step(cpu: &mut Cpu, code: &[u8]) -> Done {
    let i = Decoder::with_ip(cpu.code_bits(), code, cpu.rip & 0xfff, DecoderOptions::NONE).decode();
    assert_eq!(i.len(), code.len(), "{code:02x?}");
    cpu.next_rip = cpu.rip + i.len() as u64;
    let done = (lookup(&i).expect("an instruction of this group").run)(cpu, &i);
    if done.is_ok() {
        cpu.rip = cpu.next_rip;
    }
    done
}

fn word(ram: &Ram, at: u64) -> u64 {
    ram.read_u64(Gpa(at)).unwrap()
}

const GP: Done = Err(Stop::gp(0));
const SS: Done = Err(Stop::ss(0));

/// Repeats with TF set, an element at a time, until the instruction ends.
fn one_by_one(cpu: &mut Cpu, code: &[u8]) -> Done {
    cpu.system_flags |= flag::TF;
    let done = loop {
        match step(cpu, code) {
            Err(Stop::Again) => {}
            done => break done,
        }
    };
    cpu.system_flags &= !flag::TF;
    done
}

#[test]
fn runs_and_single_elements_give_the_same_state_and_the_same_fault() {
    let mut x = 0x2545_f491_4f6c_dd1du64;
    let mut next = |below: u64| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x % below
    };
    let (mut moved, mut faulted) = (0, 0);
    let mut machines = [16, 32, 64].map(|bits| (machine(bits), machine(bits)));
    for round in 0..6000 {
        let bits = [16, 32, 64][round % 3];
        let opcode = [0xa4, 0xaa, 0xa6, 0xae, 0xac][next(5) as usize] | next(2) as u8;
        let mut code = vec![[0xf2, 0xf3][next(2) as usize], opcode];
        if next(4) == 0 {
            code.insert(0, 0x66);
        } else if bits == 64 && next(3) == 0 {
            code.insert(1, 0x48);
        }
        let ((a, ram_a), (b, ram_b)) = &mut machines[round % 3];
        let flat = Segment { limit: a.segment(Seg::Ds).limit, ..*a.segment(Seg::Es) };
        let mut memory = vec![0u8; 0x11000];
        let period = 1 + next(16) as usize;
        (0..memory.len()).for_each(|n| memory[n] = (n % period) as u8);
        for _ in 0..next(3) {
            memory[0x7000 + next(0x2000) as usize] = 0x55;
        }
        let edge = if bits == 16 { 0xffff - next(0x40) } else { 0x7f00 + next(0x200) };
        let (si, di) = (0x7e00 + next(0x400), 0x7e00 + next(0x400));
        let di = [di, si + next(40), si.saturating_sub(next(40)), edge][next(4) as usize];
        let limit = 0x7c00 + next(0x800) as u32;
        let (count, df) = (next(0x600), next(4) == 0);
        for (cpu, ram) in [(&mut *a, &ram_a), (&mut *b, &ram_b)] {
            cpu.rip = 0x1000;
            assert!(ram.write(Gpa(0), &memory));
            (cpu.regs[0], cpu.regs[1], cpu.regs[6], cpu.regs[7]) = (0x0201_0301, count, si, di);
            cpu.set_flags(if df { flag::DF } else { 0 });
            let limited = bits == 32 && limit & 1 != 0;
            cpu.set_segment(Seg::Es, if limited { Segment { limit, ..flat } } else { flat });
        }
        let (done, reference) = (step(a, &code), one_by_one(b, &code));
        assert_eq!(done, reference, "{bits} {code:02x?} from {si:#x} to {di:#x}, {count} times");
        assert_eq!(a.regs, b.regs, "{bits} {code:02x?} from {si:#x} to {di:#x}, {count} times, DF {df}");
        assert_eq!(a.flags(), b.flags());
        let (mut left, mut right) = (vec![0; memory.len()], vec![0; memory.len()]);
        assert!(ram_a.read(Gpa(0), &mut left) && ram_b.read(Gpa(0), &mut right));
        assert!(left == right, "{bits} {code:02x?} from {si:#x} to {di:#x}, {count} times, DF {df}");
        moved += usize::from(left != memory);
        faulted += usize::from(done.is_err());
    }
    assert!(moved > 1000 && faulted > 100, "{moved} {faulted}");
}

#[test]
fn a_repetition_keeps_what_it_did_before_a_fault() {
    let (mut cpu, ram) = machine(32);
    let es = Segment { limit: 0x2fff, ..*cpu.segment(Seg::Es) };
    cpu.set_segment(Seg::Es, es);
    (cpu.regs[0], cpu.regs[1], cpu.regs[7]) = (0x1122_3344, 0x1000, 0x2002);
    assert_eq!(step(&mut cpu, &[0xf3, 0xab]), GP);
    assert_eq!((cpu.regs[1], cpu.regs[7], cpu.rip), (0x1000 - 0x3ff, 0x2ffe, 0x1000));
    assert_eq!(word(&ram, 0x2ffa), 0x1122_3344);
}

#[test]
fn a_repetition_of_none_does_nothing_but_intels_clearing() {
    let (mut cpu, _) = machine(64);
    let all = u64::MAX << 32;
    (cpu.regs[1], cpu.regs[6], cpu.regs[7]) = (all, all | 6, all | 7);
    assert_eq!(step(&mut cpu, &[0x67, 0xf3, 0xa6]), Ok(()));
    assert_eq!((cpu.regs[1], cpu.regs[6], cpu.regs[7]), (0, all | 6, all | 7));
    cpu.regs[1] = all;
    assert_eq!(step(&mut cpu, &[0x67, 0xf3, 0xa4]), Ok(()));
    assert_eq!((cpu.regs[1], cpu.regs[6], cpu.regs[7]), (0, 6, 7));
}

#[test]
fn a_long_repetition_is_resumed() {
    let (mut cpu, _) = machine(64);
    (cpu.regs[1], cpu.regs[7]) = (3 << 20, 0);
    cpu.regs[0] = 7;
    assert_eq!(step(&mut cpu, &[0xf3, 0xac]), Err(Stop::Again));
    assert_eq!((cpu.regs[1], cpu.regs[6]), (2 << 20, 1 << 20));
}

#[test]
fn near_transfers_beyond_the_limit_change_nothing() {
    let (mut cpu, _) = machine(32);
    let cs = Segment { limit: 0x1fff, ..*cpu.segment(Seg::Cs) };
    cpu.set_segment(Seg::Cs, cs);
    cpu.regs[1] = 5;
    cpu.regs[0] = 0x2000;
    let before = cpu.regs;
    for code in [&[0xe9, 0, 0x10, 0, 0][..], &[0xe8, 0, 0x10, 0, 0], &[0xff, 0xe0], &[0xff, 0xd0]] {
        assert_eq!(step(&mut cpu, code), GP, "{code:02x?}");
    }
    cpu.rip = 0x1ff0;
    assert_eq!(step(&mut cpu, &[0xe2, 0x7f]), GP);
    assert_eq!((cpu.regs, cpu.rip), (before, 0x1ff0));
    assert_eq!(step(&mut cpu, &[0xe3, 0x7f]), Ok(()));
    assert_eq!(step(&mut cpu, &[0x0f, 0x84, 0, 0x10, 0, 0]), Ok(()));
    cpu.rip = 0x1000;
    cpu.regs[0] = 0x1fff;
    assert_eq!(step(&mut cpu, &[0xff, 0xe0]), Ok(()));
    assert_eq!(cpu.rip, 0x1fff);
}

#[test]
fn a_target_that_is_not_canonical_faults_in_64_bit_mode() {
    let (mut cpu, ram) = machine(64);
    cpu.regs[0] = 1 << 47;
    assert_eq!(step(&mut cpu, &[0xff, 0xd0]), GP);
    assert!(ram.write(Gpa(0x8000), &(1u64 << 47).to_le_bytes()));
    assert_eq!(step(&mut cpu, &[0xc3]), GP);
    assert_eq!(cpu.regs[4], 0x8000);
    cpu.regs[4] = (1 << 47) + 4;
    assert_eq!(step(&mut cpu, &[0x50]), SS, "the push would cross into the gap");
    cpu.regs[4] = (1 << 47) - 4;
    assert_eq!(step(&mut cpu, &[0x58]), SS);
}

#[test]
fn sixteen_bit_calls_and_jumps_wrap_in_their_segment() {
    let (mut cpu, ram) = machine(16);
    cpu.regs[4] = 0xabcd_0000;
    cpu.rip = 0xfff0;
    assert_eq!(step(&mut cpu, &[0xe8, 0x20, 0x00]), Ok(()));
    assert_eq!((cpu.rip, cpu.regs[4]), (0x13, 0xabcd_fffe));
    assert_eq!(word(&ram, 0xfffe) & 0xffff, 0xfff3);
    assert_eq!(step(&mut cpu, &[0xc2, 0x04, 0x00]), Ok(()));
    assert_eq!((cpu.rip, cpu.regs[4]), (0xfff3, 0xabcd_0004));
    cpu.rip = 0x100;
    assert_eq!(step(&mut cpu, &[0x66, 0xe8, 0, 0, 1, 0]), GP, "EIP beyond 64 KiB");
    cpu.regs[1] = 0x1_0000;
    assert_eq!(step(&mut cpu, &[0xe3, 0x10]), Ok(()));
    assert_eq!(cpu.rip, 0x112, "JCXZ sees CX");
    assert_eq!(step(&mut cpu, &[0x67, 0xe2, 0x10]), Ok(()));
    assert_eq!((cpu.rip, cpu.regs[1]), (0x125, 0xffff), "LOOP with 67h counts ECX");
}

#[test]
fn pusha_and_popa_keep_the_order_and_skip_sp() {
    let (mut cpu, ram) = machine(16);
    (0..8).filter(|n| *n != 4).for_each(|n| cpu.regs[n] = 0x1110 * n as u64 + 0xff00_0000);
    let before = cpu.regs;
    assert_eq!(step(&mut cpu, &[0x60]), Ok(()));
    assert_eq!(cpu.regs[4], 0x7ff0);
    assert_eq!(word(&ram, 0x7ff0), 0x8000_5550_6660_7770);
    assert_eq!(word(&ram, 0x7ff8), 0x0000_1110_2220_3330);
    (0..8).filter(|n| *n != 4).for_each(|n| cpu.regs[n] = 0xff00_0000);
    assert_eq!(step(&mut cpu, &[0x61]), Ok(()));
    assert_eq!(cpu.regs, before);
    cpu.regs[4] = 7;
    assert_eq!(step(&mut cpu, &[0x60]), SS, "a word at FFFFh");
    assert_eq!(cpu.regs[4], 7);
}

#[test]
fn pop_computes_its_address_after_the_increment() {
    let (mut cpu, ram) = machine(32);
    assert!(ram.write(Gpa(0x8000), &0x1234_5678u32.to_le_bytes()));
    assert_eq!(step(&mut cpu, &[0x8f, 0x44, 0x24, 0x0c]), Ok(()));
    assert_eq!((word(&ram, 0x8010) as u32, cpu.regs[4]), (0x1234_5678, 0x8004));
    let ds = Segment { limit: 0xff, ..*cpu.segment(Seg::Ds) };
    cpu.set_segment(Seg::Ds, ds);
    assert_eq!(step(&mut cpu, &[0x8f, 0x05, 0x00, 0x10, 0, 0]), GP);
    assert_eq!(cpu.regs[4], 0x8004);
}

#[test]
fn enter_and_leave_in_16_bit_code_keep_the_upper_halves() {
    let (mut cpu, ram) = machine(16);
    cpu.regs[4] = 0xaaaa_8000;
    cpu.regs[5] = 0xbbbb_9000;
    assert!(ram.write(Gpa(0x8ffe), &[0x34, 0x12]));
    assert_eq!(step(&mut cpu, &[0xc8, 0x10, 0, 2]), Ok(()));
    assert_eq!((cpu.regs[4], cpu.regs[5]), (0xaaaa_7fea, 0xbbbb_7ffe));
    assert_eq!(word(&ram, 0x7ffa) as u32, 0x1234_7ffe);
    assert_eq!(word(&ram, 0x7ffe) & 0xffff, 0x9000);
    assert_eq!(step(&mut cpu, &[0xc9]), Ok(()));
    assert_eq!((cpu.regs[4], cpu.regs[5]), (0xaaaa_8000, 0xbbbb_9000));
}

#[test]
fn vex_is_undefined_outside_protected_mode() {
    let blsr = [0xc4, 0xe2, 0x78, 0xf3, 0xc8];
    assert_eq!(step(&mut machine(16).0, &blsr), Err(Stop::UD));
    assert_eq!(step(&mut machine(32).0, &blsr), Ok(()));
}

#[test]
fn undefined_flags_of_blsr_do_not_depend_on_those_before() {
    for (a, after) in [(0x18_u64, 0), (0x1c, flag::PF), (8, flag::ZF | flag::PF), (0, flag::CF | flag::ZF | flag::PF)] {
        for before in [0, flag::STATUS] {
            let (mut cpu, _) = machine(32);
            cpu.regs[0] = a;
            cpu.set_status_flags(before);
            assert_eq!(step(&mut cpu, &[0xc4, 0xe2, 0x78, 0xf3, 0xc8]), Ok(()));
            assert_eq!((cpu.regs[0], cpu.flags() & flag::STATUS), (a & a.wrapping_sub(1), after), "{a:#x}");
        }
    }
}

#[test]
fn decimal_and_bound_outside_64_bit_mode() {
    let (mut cpu, ram) = machine(32);
    cpu.regs[0] = 0x79;
    assert_eq!(step(&mut cpu, &[0x04, 0x35]), Ok(()));
    assert_eq!(step(&mut cpu, &[0x27]), Ok(()));
    assert_eq!((cpu.regs[0], cpu.flags() & flag::CF), (0x14, 1));
    assert_eq!(step(&mut cpu, &[0xd4, 0]), Err(Stop::DE));
    assert!(ram.write(Gpa(0x100), &[0xfe, 0xff, 0xff, 0xff, 3, 0, 0, 0]));
    for (index, inside) in [(-3i32, false), (-2, true), (3, true), (4, false)] {
        cpu.regs[0] = u64::from(index as u32);
        let want = if inside { Ok(()) } else { Err(Stop::Exception(Exception::plain(vector::BR))) };
        assert_eq!(step(&mut cpu, &[0x62, 0x05, 0, 1, 0, 0]), want, "{index}");
    }
}

#[test]
fn division_errors_change_nothing() {
    let (mut cpu, _) = machine(64);
    (cpu.regs[0], cpu.regs[2], cpu.regs[1]) = (5, 7, 7);
    let before = cpu.regs;
    assert_eq!(step(&mut cpu, &[0x48, 0xf7, 0xf1]), Err(Stop::DE), "the quotient would have 65 bits");
    cpu.regs[1] = 0;
    assert_eq!(step(&mut cpu, &[0xf7, 0xf9]), Err(Stop::DE));
    (cpu.regs[0], cpu.regs[1]) = (0x80, 0xff);
    assert_eq!(step(&mut cpu, &[0xf6, 0xf9]), Ok(()));
    assert_eq!(cpu.regs[0], 0x0080, "80h / -1 is -128");
    cpu.regs[0] = 0xff80;
    assert_eq!(step(&mut cpu, &[0xf6, 0xf9]), Err(Stop::DE), "-128 / -1 is 128");
    assert_eq!(cpu.regs[2], before[2]);
}

#[test]
fn cmpxchg16b_wants_alignment() {
    let (mut cpu, ram) = machine(64);
    (cpu.regs[3], cpu.regs[1], cpu.regs[6]) = (1, 2, 0x4008);
    assert_eq!(step(&mut cpu, &[0x48, 0x0f, 0xc7, 0x0e]), GP);
    cpu.regs[6] = 0x4010;
    assert_eq!(step(&mut cpu, &[0x48, 0x0f, 0xc7, 0x0e]), Ok(()));
    assert_eq!((word(&ram, 0x4010), word(&ram, 0x4018), cpu.flags() & flag::ZF), (1, 2, flag::ZF));
}

#[test]
fn a_bit_offset_reaches_below_and_wraps_with_the_address_size() {
    let (mut cpu, ram) = machine(16);
    cpu.regs[3] = 0x10;
    cpu.regs[0] = 0xff00;
    assert_eq!(step(&mut cpu, &[0x0f, 0xab, 0x07]), Ok(()));
    assert_eq!(word(&ram, 0xfff0) & 0xffff, 1, "256 bits below [BX] wraps in 64 KiB");
    assert_eq!(cpu.flags() & flag::CF, 0);
    assert_eq!(step(&mut cpu, &[0x0f, 0xb3, 0x07]), Ok(()));
    assert_eq!((word(&ram, 0xfff0) & 0xffff, cpu.flags() & flag::CF), (0, 1));
}

#[test]
fn ports_want_iopl_or_the_bitmap() {
    let (mut cpu, ram) = machine(32);
    assert_eq!(step(&mut cpu, &[0xe4, 0x60]), Ok(()));
    assert_eq!(cpu.regs[0] & 0xff, 0xff);
    cpu.cpl = 3;
    assert_eq!(step(&mut cpu, &[0xe4, 0x60]), GP, "no TSS");
    cpu.tr = Segment { selector: 0x18, base: 0x5000, limit: 0x80, attr: 0x8b };
    assert!(ram.write(Gpa(0x5000 + 102), &[0x70, 0]));
    assert_eq!(step(&mut cpu, &[0xe4, 0x60]), Ok(()));
    assert!(ram.write(Gpa(0x5070 + 0x60 / 8), &[2]));
    assert_eq!(step(&mut cpu, &[0xe4, 0x61]), GP);
    assert_eq!(step(&mut cpu, &[0xe5, 0x60]), GP, "one of four is closed");
    assert_eq!(step(&mut cpu, &[0xe4, 0x80]), GP, "beyond the TSS");
    cpu.set_flags(flag::IOPL);
    assert_eq!(step(&mut cpu, &[0xe4, 0x61]), Ok(()));
    cpu.regs[1] = 3;
    cpu.regs[7] = 0x4000;
    assert_eq!(step(&mut cpu, &[0xf3, 0x6d]), Ok(()));
    assert_eq!((cpu.regs[1], cpu.regs[7], word(&ram, 0x4004)), (0, 0x400c, u64::MAX));
}

#[test]
fn no_bytes_in_any_mode_make_an_instruction_panic() {
    let mut x = 0x0bad_5eedu64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    let mut machines = [16, 32, 64].map(machine);
    let (mut ran, mut ok) = (0, 0);
    for round in 0..400_000 {
        let (cpu, _) = &mut machines[round % 3];
        let mut code = [0; 15];
        code.iter_mut().for_each(|b| *b = next() as u8);
        if round % 2 == 0 {
            code[0] = 0x0f;
        }
        cpu.regs[..16]
            .iter_mut()
            .for_each(|r| *r = [next(), next() & 0xffff, next() >> 44, u64::MAX][next() as usize & 3]);
        cpu.set_flags(next() & (flag::STATUS | flag::DF));
        cpu.rip = next() & 0xffff;
        let i = Decoder::with_ip(cpu.code_bits(), &code, cpu.rip & 0xfff, DecoderOptions::NONE).decode();
        let Some(meaning) = (!i.is_invalid()).then(|| lookup(&i)).flatten() else { continue };
        cpu.next_rip = cpu.rip + i.len() as u64;
        let before = cpu.regs;
        let done = (meaning.run)(cpu, &i);
        ran += 1;
        ok += usize::from(done.is_ok());
        if done.is_err() && !i.is_string_instruction() {
            assert_eq!(cpu.regs, before, "{:?} faulted half-done", i.code());
        }
    }
    assert!(ran > 100_000 && ok > 50_000, "{ran} {ok}");
}
