//! Every form of every vector instruction, against the processor that runs the test.
//!
//! Each code iced knows and the host has is encoded with registers and with a memory operand, run natively on corner
//! and random states through a trampoline, and executed by this crate on the same state: registers, flags, MXCSR and
//! memory must be equal.
#![cfg(target_arch = "x86_64")]
#![expect(unsafe_code, reason = "runs generated code and compares with it")]

use super::describe::Form;
use super::{convert, fma, fp};
use crate::alu::flag;
use crate::exec::evex::native_tests::values::Random;
use crate::exec::lookup;
use crate::fault::{Done, Stop};
use crate::state::{Cpu, Seg, Segment};
use emu_core::{Gpa, Ram};
use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderOptions, Encoder, EncodingKind, Instruction, OpCodeOperandKind, OpKind,
    Register,
};
use std::fmt::Write;
use std::sync::Arc;

/// Where the memory operand's page lies for the emulated processor.
const GUEST: u64 = 0x1000;
/// Bytes of it that are filled and compared.
const AREA: usize = 512;
/// Offset of the operand in it.
const OPERAND: usize = 128;

#[repr(C, align(64))]
#[derive(Clone, PartialEq)]
struct State {
    ymm: [[u8; 32]; 16],
    mm: [u64; 8],
    gpr: [u64; 16],
    flags: u64,
    mxcsr: u32,
    pad: [u32; 13],
    memory: [u8; AREA],
}

core::arch::global_asm!(
    ".globl simd_native_run",
    "simd_native_run:",
    "push rbx; push rbp; push r12; push r13; push r14; push r15",
    "push rdi; push rsi; sub rsp, 8; stmxcsr [rsp]",
    "vmovups ymm0,[rdi]; vmovups ymm1,[rdi+32]; vmovups ymm2,[rdi+64]; vmovups ymm3,[rdi+96]",
    "vmovups ymm4,[rdi+128]; vmovups ymm5,[rdi+160]; vmovups ymm6,[rdi+192]; vmovups ymm7,[rdi+224]",
    "vmovups ymm8,[rdi+256]; vmovups ymm9,[rdi+288]; vmovups ymm10,[rdi+320]; vmovups ymm11,[rdi+352]",
    "vmovups ymm12,[rdi+384]; vmovups ymm13,[rdi+416]; vmovups ymm14,[rdi+448]; vmovups ymm15,[rdi+480]",
    "movq mm0,[rdi+512]; movq mm1,[rdi+520]; movq mm2,[rdi+528]; movq mm3,[rdi+536]",
    "movq mm4,[rdi+544]; movq mm5,[rdi+552]; movq mm6,[rdi+560]; movq mm7,[rdi+568]",
    "ldmxcsr [rdi+712]; push [rdi+704]; popfq",
    "mov rax,[rdi+576]; mov rcx,[rdi+584]; mov rdx,[rdi+592]; mov rbx,[rdi+600]; mov rbp,[rdi+616]",
    "mov rsi,[rdi+624]; mov r8,[rdi+640]; mov r9,[rdi+648]; mov r10,[rdi+656]; mov r11,[rdi+664]",
    "mov r12,[rdi+672]; mov r13,[rdi+680]; mov r14,[rdi+688]; mov r15,[rdi+696]; mov rdi,[rdi+632]",
    "call [rsp+8]",
    "push rdi; mov rdi,[rsp+24]; pop [rdi+632]",
    "mov [rdi+576],rax; mov [rdi+584],rcx; mov [rdi+592],rdx; mov [rdi+600],rbx; mov [rdi+616],rbp",
    "mov [rdi+624],rsi; mov [rdi+640],r8; mov [rdi+648],r9; mov [rdi+656],r10; mov [rdi+664],r11",
    "mov [rdi+672],r12; mov [rdi+680],r13; mov [rdi+688],r14; mov [rdi+696],r15",
    "pushfq; pop [rdi+704]; stmxcsr [rdi+712]; cld",
    "vmovups [rdi],ymm0; vmovups [rdi+32],ymm1; vmovups [rdi+64],ymm2; vmovups [rdi+96],ymm3",
    "vmovups [rdi+128],ymm4; vmovups [rdi+160],ymm5; vmovups [rdi+192],ymm6; vmovups [rdi+224],ymm7",
    "vmovups [rdi+256],ymm8; vmovups [rdi+288],ymm9; vmovups [rdi+320],ymm10; vmovups [rdi+352],ymm11",
    "vmovups [rdi+384],ymm12; vmovups [rdi+416],ymm13; vmovups [rdi+448],ymm14; vmovups [rdi+480],ymm15",
    "movq [rdi+512],mm0; movq [rdi+520],mm1; movq [rdi+528],mm2; movq [rdi+536],mm3",
    "movq [rdi+544],mm4; movq [rdi+552],mm5; movq [rdi+560],mm6; movq [rdi+568],mm7",
    "emms; vzeroupper; ldmxcsr [rsp]; add rsp, 24",
    "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx; ret",
);

unsafe extern "C" {
    fn simd_native_run(state: *mut State, code: *const u8);
}

/// The features tested, and whether the host has them.
fn hosted(f: CpuidFeature) -> bool {
    use CpuidFeature as F;
    match f {
        F::MMX | F::SSE | F::SSE2 => true,
        F::SSE3 => std::is_x86_feature_detected!("sse3"),
        F::SSSE3 => std::is_x86_feature_detected!("ssse3"),
        F::SSE4_1 => std::is_x86_feature_detected!("sse4.1"),
        F::SSE4_2 => std::is_x86_feature_detected!("sse4.2"),
        F::AES => std::is_x86_feature_detected!("aes"),
        F::PCLMULQDQ => std::is_x86_feature_detected!("pclmulqdq"),
        F::SHA => std::is_x86_feature_detected!("sha"),
        F::GFNI => std::is_x86_feature_detected!("gfni"),
        F::VAES => std::is_x86_feature_detected!("vaes"),
        F::VPCLMULQDQ => std::is_x86_feature_detected!("vpclmulqdq"),
        F::AVX => std::is_x86_feature_detected!("avx"),
        F::AVX2 => std::is_x86_feature_detected!("avx2"),
        F::FMA => std::is_x86_feature_detected!("fma"),
        F::F16C => std::is_x86_feature_detected!("f16c"),
        F::AVX_VNNI => std::is_x86_feature_detected!("avxvnni"),
        _ => false,
    }
}

/// An instruction with code `code`, random registers, and a memory operand where it may be one if `memory`.
fn build(code: Code, memory: bool, random: &mut Random) -> Option<Instruction> {
    use OpCodeOperandKind as K;
    let mut i = Instruction::default();
    i.set_code(code);
    let mut numbers = [0u64; 4].map(|_| random.below(16));
    if matches!(i.op_code().op_kinds().get(1), Some(K::mem_vsib32x | K::mem_vsib32y | K::mem_vsib64x | K::mem_vsib64y))
    {
        numbers[1] = (numbers[0] + 1 + random.below(7)) % 16;
        numbers[2] = (numbers[0] + 8 + random.below(8)) % 16;
    }
    let mut has_memory = false;
    for (n, kind) in code.op_code().op_kinds().iter().copied().enumerate() {
        let n32 = n as u32;
        let number = numbers[n.min(3)];
        let (base, count) = match kind {
            K::mm_or_mem | K::mm_reg | K::mm_rm => (Register::MM0, 8),
            K::xmm_or_mem | K::xmm_reg | K::xmm_rm | K::xmm_vvvv | K::xmm_is4 => (Register::XMM0, 16),
            K::ymm_or_mem | K::ymm_reg | K::ymm_rm | K::ymm_vvvv | K::ymm_is4 => (Register::YMM0, 16),
            K::r8_or_mem => (Register::R8L, 8),
            K::r16_or_mem => (Register::R8W, 8),
            K::r32_or_mem | K::r32_reg | K::r32_rm | K::r32_vvvv => (Register::R8D, 8),
            K::r64_or_mem | K::r64_reg | K::r64_rm | K::r64_vvvv => (Register::R8, 8),
            K::imm8 => {
                i.set_op_kind(n32, OpKind::Immediate8);
                i.set_immediate8(random.next() as u8);
                continue;
            }
            K::seg_rDI => {
                i.set_op_kind(n32, OpKind::MemorySegRDI);
                has_memory = true;
                continue;
            }
            K::mem | K::mem_vsib32x | K::mem_vsib64x => (Register::XMM0, 16),
            K::mem_vsib32y | K::mem_vsib64y => (Register::YMM0, 16),
            _ => return None,
        };
        let may = matches!(
            kind,
            K::mm_or_mem | K::xmm_or_mem | K::ymm_or_mem | K::r8_or_mem | K::r16_or_mem | K::r32_or_mem | K::r64_or_mem
        );
        let vsib = matches!(kind, K::mem_vsib32x | K::mem_vsib64x | K::mem_vsib32y | K::mem_vsib64y);
        if kind == K::mem || vsib || may && memory {
            i.set_op_kind(n32, OpKind::Memory);
            i.set_memory_base(Register::RBX);
            i.set_memory_displ_size(8);
            i.set_memory_displacement64(OPERAND as u64);
            if vsib {
                i.set_memory_index(base + number as u32);
                i.set_memory_index_scale(1);
            }
            has_memory = true;
        } else {
            i.set_op_kind(n32, OpKind::Register);
            i.set_op_register(n32, base + (number % count) as u32);
        }
    }
    (has_memory || !memory).then_some(i)
}

/// A random state in which `i` can run.
fn state(i: &Instruction, random: &mut Random) -> State {
    let mut s = State {
        ymm: [[0; 32]; 16],
        mm: [0; 8],
        gpr: [0; 16],
        flags: random.next() & flag::STATUS | 2,
        mxcsr: 0x1f80 | random.next() as u32 & 0x3f | (random.below(4) as u32) << 13,
        pad: [0; 13],
        memory: [0; AREA],
    };
    if random.below(4) == 0 {
        s.mxcsr |= random.next() as u32 & 0x8040;
    }
    s.ymm.iter_mut().for_each(|y| random.fill(y));
    random.fill(&mut s.memory);
    for m in &mut s.mm {
        let mut b = [0; 8];
        random.fill(&mut b);
        *m = u64::from_le_bytes(b);
    }
    for (n, g) in s.gpr.iter_mut().enumerate() {
        let mut b = [0; 8];
        random.fill(&mut b);
        *g = u64::from_le_bytes(b);
        if matches!(n, 0 | 2) && random.below(4) != 0 {
            *g = random.below(36).wrapping_sub(18);
        }
    }
    if i.memory_index().is_vector_register() {
        let index = &mut s.ymm[i.memory_index().number()];
        let bytes = if i
            .op_code()
            .op_kinds()
            .iter()
            .any(|k| matches!(k, OpCodeOperandKind::mem_vsib64x | OpCodeOperandKind::mem_vsib64y))
        {
            8
        } else {
            4
        };
        for chunk in index.chunks_mut(bytes) {
            let at = random.below(200) as i64 - 100;
            chunk.copy_from_slice(&at.to_le_bytes()[..bytes]);
        }
    }
    if matches!(i.mnemonic(), iced_x86::Mnemonic::Ldmxcsr | iced_x86::Mnemonic::Vldmxcsr) {
        let v = random.next() as u32 & 0xffff | 0x1f80;
        s.memory[OPERAND..OPERAND + 4].copy_from_slice(&v.to_le_bytes());
    }
    s
}

fn emulated(cpu: &mut Cpu, i: &Instruction, s: &State) -> (State, Done) {
    for (v, y) in cpu.vec.iter_mut().zip(&s.ymm) {
        v.0 = [0x5a; 64];
        v.0[..32].copy_from_slice(y);
    }
    for (r, m) in cpu.fpu.r.iter_mut().zip(&s.mm) {
        r.significand = *m;
        r.sign_exponent = 0xffff;
    }
    cpu.regs[..16].copy_from_slice(&s.gpr);
    (cpu.regs[3], cpu.regs[7]) = (GUEST, if uses_rdi(i) { GUEST + OPERAND as u64 } else { s.gpr[7] });
    cpu.set_flags(s.flags);
    cpu.mxcsr = s.mxcsr;
    assert!(cpu.ram.write(Gpa(GUEST), &s.memory));
    let done = lookup(i).map_or(Err(Stop::Unimplemented), |meaning| (meaning.run)(cpu, i));
    let mut r = s.clone();
    for (v, y) in cpu.vec.iter().zip(&mut r.ymm) {
        y.copy_from_slice(&v.0[..32]);
    }
    for (x, m) in cpu.fpu.r.iter().zip(&mut r.mm) {
        *m = x.significand;
    }
    r.gpr.copy_from_slice(&cpu.regs[..16]);
    r.flags = cpu.flags() & flag::STATUS;
    r.mxcsr = cpu.mxcsr;
    assert!(cpu.ram.read(Gpa(GUEST), &mut r.memory));
    (r, done)
}

fn uses_rdi(i: &Instruction) -> bool {
    i.op_kind(0) == OpKind::MemorySegRDI
}

fn native(code: *const u8, i: &Instruction, s: &State) -> State {
    let mut r = s.clone();
    let area = (&raw mut r.memory) as u64;
    r.gpr[3] = area;
    if uses_rdi(i) {
        r.gpr[7] = area + OPERAND as u64;
    }
    // SAFETY: the code is one instruction that touches registers and the area inside `r`, then RET; the trampoline
    // keeps what the calling convention asks.
    unsafe { simd_native_run(&raw mut r, code) };
    assert_eq!(r.gpr[3], area, "{:?} changed its base", i.code());
    r.gpr[3] = GUEST;
    if uses_rdi(i) {
        r.gpr[7] = GUEST + OPERAND as u64;
    }
    r.flags &= flag::STATUS;
    r
}

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

/// SIGFPE: the exception was taken. Goes on behind the instruction, which is where RBP says, and clears RBP.
extern "C" fn trapped(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a ucontext to a handler installed with SA_SIGINFO; the trampoline's RBP holds the
    // address of the RET behind the instruction.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] = registers[libc::REG_RBP as usize];
        registers[libc::REG_RBP as usize] = 0;
    }
}

fn catch_traps() {
    // SAFETY: the handler only writes the context it is given and an atomic.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = trapped as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGFPE, &raw const action, core::ptr::null_mut()), 0);
    }
}

/// What differs, for the report.
fn difference(before: &State, ours: &State, theirs: &State) -> String {
    let mut out = String::new();
    for n in 0..16 {
        if ours.ymm[n] != theirs.ymm[n] {
            let hex = |b: &[u8]| {
                b.chunks(8)
                    .rev()
                    .map(|c| format!("{:016x}", u64::from_le_bytes(c.try_into().unwrap())))
                    .collect::<Vec<_>>()
                    .join("_")
            };
            let _ = writeln!(out, "    ymm{n}: ours {}\n        native {}", hex(&ours.ymm[n]), hex(&theirs.ymm[n]));
        }
        if ours.gpr[n] != theirs.gpr[n] {
            let _ = writeln!(out, "    gpr{n}: ours {:x} native {:x}", ours.gpr[n], theirs.gpr[n]);
        }
    }
    for n in 0..8 {
        if ours.mm[n] != theirs.mm[n] {
            let _ = writeln!(out, "    mm{n}: ours {:016x} native {:016x}", ours.mm[n], theirs.mm[n]);
        }
    }
    if ours.flags != theirs.flags {
        let _ = writeln!(out, "    flags: ours {:x} native {:x}", ours.flags, theirs.flags);
    }
    if ours.mxcsr != theirs.mxcsr {
        let _ = writeln!(out, "    mxcsr: before {:x} ours {:x} native {:x}", before.mxcsr, ours.mxcsr, theirs.mxcsr);
    }
    if ours.memory != theirs.memory {
        let _ = writeln!(
            out,
            "    memory: ours {:x?} native {:x?}",
            &ours.memory[OPERAND..OPERAND + 32],
            &theirs.memory[OPERAND..OPERAND + 32]
        );
    }
    out
}

/// Codes that are not compared: the approximations, of which each maker has its own, and the cache control that
/// another group has.
fn excused(code: Code) -> bool {
    use iced_x86::Mnemonic::*;
    let m = code.mnemonic();
    matches!(m, Rcpps | Rcpss | Vrcpps | Vrcpss | Rsqrtps | Rsqrtss | Vrsqrtps | Vrsqrtss)
        || matches!(m, Lfence | Mfence | Sfence | Prefetchnta | Prefetcht0 | Prefetcht1 | Prefetcht2)
}

/// Is `code` one to be compared here?
fn wanted(code: Code) -> bool {
    matches!(code.encoding(), EncodingKind::Legacy | EncodingKind::VEX)
        && code.op_code().mode64()
        && code.cpuid_features().iter().all(|&f| hosted(f))
        && !excused(code)
}

/// Runs `i`, whose `bytes` these are, `times` times on both sides; the first difference.
fn compare(exec: *const u8, i: &Instruction, times: u32, unmask: bool, random: &mut Random) -> Option<String> {
    let mut cpu = processor();
    let mut first = None;
    for _ in 0..times {
        let mut before = state(i, random);
        if unmask {
            before.mxcsr &= random.next() as u32 | !0x1f80;
        }
        before.gpr[5] = exec as u64 + i.len() as u64;
        let mut theirs = native(exec, i, &before);
        let (ours, stop) = emulated(&mut cpu, i, &before);
        let trap = if theirs.gpr[5] == 0 { Err(Stop::XM) } else { Ok(()) };
        theirs.gpr[5] = before.gpr[5];
        let mut what = difference(&before, &ours, &theirs);
        if stop != trap {
            let _ = writeln!(what, "    ours {stop:?} native {trap:?} mxcsr {:x}", before.mxcsr);
        }
        if !what.is_empty() && first.is_none() {
            first = Some(what);
        }
    }
    first
}

/// Compares all codes that `chosen` picks, in `forms` forms with registers and as many with memory.
fn survey(seed: u64, forms: u32, times: u32, unmask: bool, chosen: fn(Code) -> bool) -> u32 {
    let mut page = memmap2::MmapMut::map_anon(4096).unwrap();
    let mut random = Random(seed);
    let (mut codes, mut runs, mut wrong) = (0, 0u64, Vec::new());
    for code in Code::values().filter(|&code| wanted(code) && chosen(code)) {
        let (mut failed, mut tested) = (None, 0);
        for form in 0..2 * forms {
            let Some(built) = build(code, form & 1 != 0, &mut random) else { continue };
            let mut encoder = Encoder::new(64);
            if encoder.encode(&built, 0).is_err() {
                continue;
            }
            let bytes = encoder.take_buffer();
            let i = Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE).decode();
            assert_eq!(i.code(), code);
            page[..bytes.len()].copy_from_slice(&bytes);
            page[bytes.len()] = 0xc3;
            let exec = page.make_exec().unwrap();
            let what = compare(exec.as_ptr(), &i, times, unmask, &mut random);
            page = exec.make_mut().unwrap();
            tested += 1;
            runs += u64::from(times);
            failed = failed.or(what.map(|what| format!("{code:?} {bytes:02x?}\n{what}")));
        }
        codes += u32::from(tested > 0);
        wrong.extend(failed);
    }
    println!("seed {seed:x}: {codes} codes, {runs} runs, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{} of {codes} codes differ:\n{}", wrong.len(), wrong.join(""));
    codes
}

#[test]
fn every_vector_instruction_agrees_with_the_host() {
    assert!(survey(0x5eed_0001, 4, 100, false, |_| true) > 900);
}

#[test]
fn unmasked_exceptions_agree_with_the_host() {
    catch_traps();
    let raises = |code: Code| {
        let mut i = Instruction::default();
        i.set_code(code);
        fp::kernel(i.mnemonic()).is_some() || fma::kernel(i.mnemonic()).is_some() || {
            let form = Form { mmx: false, ymm: false, memory: false, store: false, imm: false, wide: false };
            convert::kernel(i.mnemonic(), form).is_some()
        }
    };
    assert!(survey(0x5eed_0002, 2, 100, true, raises) > 200);
}
