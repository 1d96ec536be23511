//! Integer instructions against the processor that runs the tests: every code of the subject, in many encodings and
//! states; registers, defined flags and memory must agree.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![expect(unsafe_code, reason = "runs generated machine code")]

#[path = "int_native/encode.rs"]
mod encode;
#[path = "int_native/machine.rs"]
mod machine;

use cpu_x86::{Cpu, Seg, Segment, exec};
use emu_core::{Gpa, Ram};
use encode::Random;
use iced_x86::{Code, ConditionCode, EncodingKind, Instruction, Mnemonic, OpKind, RflagsBits};
use machine::{AT, DATA, Machine, STACK, State, TARGET};
use std::sync::Arc;

const SEED: u64 = 0x1234_2222;
const ENCODINGS: usize = 36;
const STATES: usize = 12;

/// What is compared: Jcc, SETcc, CMOVcc, and these.
#[rustfmt::skip] // a table
const SUBJECT: &[Mnemonic] = {
    use Mnemonic::*;
    &[
        Mov, Movnti, Add, Or, Adc, Sbb, And, Sub, Xor, Cmp, Test, Inc, Dec, Neg, Not, Adcx, Adox, Lea, Push, Pop, Enter,
        Leave, Movzx, Movsx, Movsxd, Cbw, Cwde, Cdqe, Cwd, Cdq, Cqo, Xlatb, Bswap, Movbe, Xchg, Xadd, Cmpxchg,
        Cmpxchg8b, Cmpxchg16b, Shl, Sal, Shr, Sar, Rol, Ror, Rcl, Rcr, Shld, Shrd, Sarx, Shlx, Shrx, Rorx, Mul, Imul,
        Mulx, Div, Idiv, Bt, Bts, Btr, Btc, Bsf, Bsr, Tzcnt, Lzcnt, Popcnt, Andn, Bextr, Bzhi, Pdep, Pext, Blsi, Blsmsk,
        Blsr, Crc32, Jmp, Call, Ret, Jecxz, Jrcxz, Movsb, Movsw, Movsd, Movsq, Stosb, Stosw, Stosd, Stosq, Lodsb, Lodsw,
        Lodsd, Lodsq, Cmpsb, Cmpsw, Cmpsd, Cmpsq, Scasb, Scasw, Scasd, Scasq, Lahf, Sahf, Clc, Stc, Cmc, Cld, Std, Nop,
        Pause, Endbr32, Endbr64, Prefetchw, Prefetchnta, Prefetcht0, Prefetcht1, Prefetcht2, Loop,
    ]
};

/// Far forms, encodings of the 80486's first steppings, those with 66h that Intel's decoders ignore before near branches, and codes of the Knights processors.
#[rustfmt::skip] // a table
const EXCEPT: &[Code] = {
    use Code::*;
    &[
        Jmp_m1616, Jmp_m1632, Jmp_m1664, Call_m1616, Call_m1632, Call_m1664, Jmp_ptr1616, Jmp_ptr1632, Call_ptr1616,
        Call_ptr1632, Retnw, Retnw_imm16, Call_rm16, Jmp_rm16,
        VEX_KNC_Popcnt_r32_r32, VEX_KNC_Popcnt_r64_r64, VEX_KNC_Tzcnt_r32_r32, VEX_KNC_Tzcnt_r64_r64,
        VEX_KNC_Lzcnt_r32_r32, VEX_KNC_Lzcnt_r64_r64, Movsd_xmm_xmmm64, Movsd_xmmm64_xmm, Cmpsd_xmm_xmmm64_imm8,
        Cmpxchg486_rm8_r8, Cmpxchg486_rm16_r16, Cmpxchg486_rm32_r32,
    ]
};

/// What only 32-bit code has.
const SUBJECT_32: &[Mnemonic] = {
    use Mnemonic::*;
    &[Daa, Das, Aaa, Aas, Aam, Aad, Salc, Bound, Pusha, Pushad, Popa, Popad, Jcxz]
};

/// Is `code` compared in code of `bits`?
fn subject(code: Code, bits: u32) -> bool {
    use iced_x86::OpCodeOperandKind::*;
    let o = code.op_code();
    let elsewhere = [seg_reg, cr_reg, dr_reg, tr_reg, es, cs, ss, ds, fs, gs, br16_1, br16_2];
    let conditional = o.encoding() == EncodingKind::Legacy && code.condition_code() != ConditionCode::None;
    o.is_instruction()
        && if bits == 64 { o.mode64() } else { o.mode32() }
        && o.encoding() != EncodingKind::XOP
        && !EXCEPT.contains(&code)
        && !o.op_kinds().iter().any(|k| elsewhere.contains(k))
        && (SUBJECT.contains(&code.mnemonic()) || conditional || bits == 32 && SUBJECT_32.contains(&code.mnemonic()))
}

/// The status flags and DF that `i` defines.
fn defined(i: &Instruction) -> u64 {
    let u = i.rflags_undefined();
    let bits = [
        (RflagsBits::OF, 11),
        (RflagsBits::SF, 7),
        (RflagsBits::ZF, 6),
        (RflagsBits::AF, 4),
        (RflagsBits::CF, 0),
        (RflagsBits::PF, 2),
    ];
    bits.iter().filter(|(b, _)| u & b != 0).fold(0xcd5, |m, (_, at)| m & !(1 << at))
}

/// Is the whole result undefined, and the host's another than ours? SHLD and SHRD of 16 bits by more than 16: AMD's
/// differ from Intel's. REP with ECX 0 is not drawn: see `string::nothing`.
fn undefined(i: &Instruction, s: &State) -> bool {
    let count = if i.op2_kind() == OpKind::Immediate8 { i.immediate8() } else { s.regs[1] as u8 };
    matches!(i.mnemonic(), Mnemonic::Shld | Mnemonic::Shrd) && i.op1_register().is_gpr16() && count & 31 > 16
}

/// Runs `i` on the interpreter; `None` when it faults.
fn interpret(cpu: &mut Cpu, ram: &Ram, i: &Instruction, s: &State) -> Option<State> {
    cpu.regs[..16].copy_from_slice(&s.regs);
    cpu.set_flags(s.flags);
    assert!(ram.write(Gpa(DATA), &s.data) && ram.write(Gpa(STACK), &s.stack));
    cpu.rip = AT;
    cpu.next_rip = AT + i.len() as u64;
    let meaning = exec::lookup(i).unwrap_or_else(|| panic!("{:?} has no meaning", i.code()));
    (meaning.run)(cpu, i).ok()?;
    let mut after = s.clone();
    after.regs.copy_from_slice(&cpu.regs[..16]);
    after.flags = cpu.flags();
    assert!(ram.read(Gpa(DATA), &mut after.data) && ram.read(Gpa(STACK), &mut after.stack));
    after.jumped = cpu.next_rip == TARGET;
    assert!(after.jumped || cpu.next_rip == AT + i.len() as u64, "{:?} went to {:#x}", i.code(), cpu.next_rip);
    Some(after)
}

/// Where two final states differ.
fn difference(ours: &State, native: &State, flags: u64) -> Option<String> {
    let mut out = String::new();
    for n in 0..16 {
        if ours.regs[n] != native.regs[n] {
            out += &format!(" r{n}: {:#x}, native {:#x};", ours.regs[n], native.regs[n]);
        }
    }
    if (ours.flags ^ native.flags) & flags != 0 {
        out += &format!(" flags: {:#x}, native {:#x};", ours.flags & flags, native.flags & flags);
    }
    for (a, b, at) in [(&ours.data, &native.data, DATA), (&ours.stack, &native.stack, STACK)] {
        if let Some(n) = (0..a.len()).find(|n| a[*n] != b[*n]) {
            out += &format!(" [{:#x}]: {:#x}, native {:#x};", at + n as u64, a[n], b[n]);
        }
    }
    if ours.jumped != native.jumped {
        out += &format!(" jumped: {}, native {};", ours.jumped, native.jumped);
    }
    (!out.is_empty()).then_some(out)
}

/// A code's outcome: states compared, states that fault here, and the first difference.
#[derive(Default)]
struct Outcome {
    compared: usize,
    faults: usize,
    differ: usize,
    first: Option<String>,
}

fn try_code(code: Code, bits: u32, native: &mut Machine, cpu: &mut Cpu, ram: &Ram, random: &mut Random) -> Outcome {
    let mut o = Outcome::default();
    let encodings =
        (0..ENCODINGS * 8).filter_map(|_| encode::encoding(code, bits, random)).take(ENCODINGS).collect::<Vec<_>>();
    for (bytes, i) in encodings {
        native.place(bits, &bytes);
        for _ in 0..STATES {
            let s = encode::state(&i, bits, random);
            if undefined(&i, &s) {
                continue;
            }
            let Some(ours) = interpret(cpu, ram, &i, &s) else {
                o.faults += 1;
                continue;
            };
            let theirs = native.run(bits, &s);
            o.compared += 1;
            if let Some(d) = difference(&ours, &theirs, defined(&i)) {
                o.differ += 1;
                o.first.get_or_insert_with(|| format!("{code:?} {bytes:02x?} {:x?} {:#x}:{d}", s.regs, s.flags));
            }
        }
    }
    o
}

/// Compares all codes of code of `bits`.
fn try_all(bits: u32, native: &mut Machine, random: &mut Random) {
    let ram = Arc::new(Ram::new(4 << 20, &[]).unwrap());
    let mut cpu = Cpu::bare_64bit(ram.clone());
    if bits == 32 {
        cpu.set_segment(Seg::Cs, Segment { selector: 8, base: 0, limit: u32::MAX, attr: 0xc09b });
    }
    let (mut codes, mut compared, mut faults, mut bad, mut thin) = (0, 0, 0, Vec::new(), Vec::new());
    for code in Code::values().filter(|c| subject(*c, bits)) {
        let o = try_code(code, bits, native, &mut cpu, &ram, random);
        (codes, compared, faults) = (codes + 1, compared + o.compared, faults + o.faults);
        if let Some(first) = o.first {
            bad.push(format!("{} of {}: {first}", o.differ, o.compared));
        }
        if o.compared < 200 {
            thin.push((code, o.compared));
        }
    }
    println!("{bits} bits, seed {SEED:#x}: {codes} codes, {compared} states compared, {faults} faulted here");
    assert!(bad.is_empty(), "{} codes differ:\n{}", bad.len(), bad.join("\n"));
    assert!(thin.is_empty(), "hardly tried: {thin:?}");
}

#[test]
fn every_integer_code_agrees_with_the_host_processor() {
    let (mut native, mut random) = (Machine::new(), Random(SEED));
    try_all(64, &mut native, &mut random);
    if native.has_32_bit_code() {
        try_all(32, &mut native, &mut random);
    } else {
        println!("32 bits: not compared, the host's kernel has no segment for it");
    }
}
