//! Every form of every AVX-512 instruction, against the processor that runs the test.
//!
//! As the VEX group's native test, with 32 registers of 64 bytes, opmask registers, masks, zeroing, broadcast,
//! rounding and exceptions suppressed. A host without AVX-512 says so.
#![expect(unsafe_code, reason = "runs generated code and compares with it")]

pub(super) mod build;
mod edge;
pub(in crate::exec) mod values;

use crate::alu::flag;
use crate::exec::lookup;
use crate::fault::{Done, Stop};
use crate::state::{Cpu, Seg, Segment};
use build::{build, wanted};
use emu_core::Random;
use emu_core::{Gpa, Ram};
use iced_x86::{Code, Decoder, DecoderOptions, Encoder, Instruction};
use std::fmt::Write;
use std::sync::Arc;

/// Where the memory operand's page lies for the emulated processor.
pub(super) const GUEST: u64 = 0x1000;
/// Bytes of it that are filled and compared.
const AREA: usize = 512;
/// Offset of the operand in it.
pub(super) const OPERAND: usize = 128;

#[repr(C, align(64))]
#[derive(Clone, PartialEq)]
struct State {
    zmm: [[u8; 64]; 32],
    k: [u64; 8],
    gpr: [u64; 16],
    flags: u64,
    mxcsr: u32,
    pad: [u32; 13],
    memory: [u8; AREA],
}

core::arch::global_asm!(
    ".globl evex_native_run",
    "evex_native_run:",
    "push rbx; push rbp; push r12; push r13; push r14; push r15",
    "push rdi; push rsi; sub rsp, 8; stmxcsr [rsp]",
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "vmovups zmm\\n, [rdi + 64 * \\n]",
    ".endr",
    ".irp n,0,1,2,3,4,5,6,7",
    "kmovq k\\n, [rdi + 2048 + 8 * \\n]",
    ".endr",
    "ldmxcsr [rdi+2248]; push [rdi+2240]; popfq",
    "mov rax,[rdi+2112]; mov rcx,[rdi+2120]; mov rdx,[rdi+2128]; mov rbx,[rdi+2136]; mov rbp,[rdi+2152]",
    "mov rsi,[rdi+2160]; mov r8,[rdi+2176]; mov r9,[rdi+2184]; mov r10,[rdi+2192]; mov r11,[rdi+2200]",
    "mov r12,[rdi+2208]; mov r13,[rdi+2216]; mov r14,[rdi+2224]; mov r15,[rdi+2232]; mov rdi,[rdi+2168]",
    "call [rsp+8]",
    "push rdi; mov rdi,[rsp+24]; pop [rdi+2168]",
    "mov [rdi+2112],rax; mov [rdi+2120],rcx; mov [rdi+2128],rdx; mov [rdi+2136],rbx; mov [rdi+2152],rbp",
    "mov [rdi+2160],rsi; mov [rdi+2176],r8; mov [rdi+2184],r9; mov [rdi+2192],r10; mov [rdi+2200],r11",
    "mov [rdi+2208],r12; mov [rdi+2216],r13; mov [rdi+2224],r14; mov [rdi+2232],r15",
    "pushfq; pop [rdi+2240]; stmxcsr [rdi+2248]; cld",
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "vmovups [rdi + 64 * \\n], zmm\\n",
    ".endr",
    ".irp n,0,1,2,3,4,5,6,7",
    "kmovq [rdi + 2048 + 8 * \\n], k\\n",
    ".endr",
    "vzeroupper; ldmxcsr [rsp]; add rsp, 24",
    "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx; ret",
);

unsafe extern "C" {
    fn evex_native_run(state: *mut State, code: *const u8);
}

/// A random state in which `i` can run.
fn state(i: &Instruction, random: &mut Random) -> State {
    let mut s = State {
        zmm: [[0; 64]; 32],
        k: [0; 8],
        gpr: [0; 16],
        flags: random.next() & flag::STATUS | 2,
        mxcsr: 0x1f80 | random.next() as u32 & 0x3f | (random.below(4) as u32) << 13,
        pad: [0; 13],
        memory: [0; AREA],
    };
    if random.below(4) == 0 {
        s.mxcsr |= random.next() as u32 & 0x8040;
    }
    s.zmm.iter_mut().for_each(|z| values::fill(random, z));
    values::fill(random, &mut s.memory);
    for k in &mut s.k {
        *k = match random.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << random.below(8),
            3 => random.next() & random.next(),
            _ => random.next(),
        };
    }
    for g in &mut s.gpr {
        let mut b = [0; 8];
        values::fill(random, &mut b);
        *g = u64::from_le_bytes(b);
    }
    if i.memory_index().is_vector_register() {
        let bytes = build::index_bytes(i);
        for chunk in s.zmm[i.memory_index().number()].chunks_mut(bytes) {
            let at = random.below(200) as i64 - 100;
            chunk.copy_from_slice(&at.to_le_bytes()[..bytes]);
        }
    }
    s
}

fn emulated(cpu: &mut Cpu, i: &Instruction, s: &State) -> (State, Done) {
    for (v, z) in cpu.vec.iter_mut().zip(&s.zmm) {
        v.0 = *z;
    }
    cpu.k = s.k;
    cpu.regs[..16].copy_from_slice(&s.gpr);
    cpu.regs[3] = GUEST;
    cpu.set_flags(s.flags);
    cpu.mxcsr = s.mxcsr;
    assert!(cpu.ram.write(Gpa(GUEST), &s.memory));
    let done = lookup(i).map_or(Err(Stop::Unimplemented), |meaning| (meaning.run)(cpu, i));
    let mut r = s.clone();
    for (v, z) in cpu.vec.iter().zip(&mut r.zmm) {
        *z = v.0;
    }
    r.k = cpu.k;
    r.gpr.copy_from_slice(&cpu.regs[..16]);
    r.flags = cpu.flags() & flag::STATUS;
    r.mxcsr = cpu.mxcsr;
    assert!(cpu.ram.read(Gpa(GUEST), &mut r.memory));
    (r, done)
}

fn native(code: *const u8, i: &Instruction, s: &State) -> State {
    let mut r = s.clone();
    let area = (&raw mut r.memory) as u64;
    r.gpr[3] = area;
    // SAFETY: the code is one instruction that touches registers and the area inside `r`, then RET; the trampoline
    // keeps what the calling convention asks.
    unsafe { evex_native_run(&raw mut r, code) };
    assert_eq!(r.gpr[3], area, "{:?} changed its base", i.code());
    r.gpr[3] = GUEST;
    r.flags &= flag::STATUS;
    r
}

/// A processor that may run all of it.
pub(super) fn processor() -> Box<Cpu> {
    let mut cpu = Cpu::new(Arc::new(Ram::new(1 << 20, &[]).unwrap()), 0);
    cpu.cr0 = 1;
    cpu.cr4 = 1 << 9 | 1 << 10 | 1 << 18;
    cpu.efer = 1 << 8 | 1 << 10;
    cpu.xcr0 = 0xe7;
    let code = Segment { attr: Segment::P | Segment::S | Segment::L | 11, ..Segment::default() };
    cpu.set_segment(Seg::Cs, code);
    cpu
}

/// SIGFPE, SIGSEGV: the exception was taken. Goes on behind the instruction, which is where RBP says, and clears RBP.
extern "C" fn trapped(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a ucontext to a handler installed with SA_SIGINFO; the trampoline's RBP holds the
    // address of the RET behind the instruction.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] = registers[libc::REG_RBP as usize];
        registers[libc::REG_RBP as usize] = 0;
    }
}

fn catch_traps(signal: libc::c_int) {
    // SAFETY: the handler only writes the context it is given.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = trapped as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(signal, &raw const action, core::ptr::null_mut()), 0);
    }
}

fn hex(b: &[u8]) -> String {
    let word = |c: &[u8]| format!("{:016x}", u64::from_le_bytes(c.try_into().unwrap()));
    b.chunks(8).rev().map(word).collect::<Vec<_>>().join("_")
}

/// What differs, for the report.
fn difference(i: &Instruction, before: &State, ours: &State, theirs: &State) -> String {
    let mut out = String::new();
    for n in 0..32 {
        if ours.zmm[n] != theirs.zmm[n] {
            let _ =
                writeln!(out, "    zmm{n}: ours   {}\n           native {}", hex(&ours.zmm[n]), hex(&theirs.zmm[n]));
        }
    }
    for n in 0..8 {
        if ours.k[n] != theirs.k[n] {
            let _ = writeln!(out, "    k{n}: ours {:x} native {:x}", ours.k[n], theirs.k[n]);
        }
    }
    for n in 0..16 {
        if ours.gpr[n] != theirs.gpr[n] {
            let _ = writeln!(out, "    gpr{n}: ours {:x} native {:x}", ours.gpr[n], theirs.gpr[n]);
        }
    }
    if ours.flags != theirs.flags {
        let _ = writeln!(out, "    flags: ours {:x} native {:x}", ours.flags, theirs.flags);
    }
    if ours.mxcsr != theirs.mxcsr {
        let _ = writeln!(out, "    mxcsr: ours {:x} native {:x}", ours.mxcsr, theirs.mxcsr);
    }
    if ours.memory != theirs.memory {
        let (a, b) = (&ours.memory[OPERAND..OPERAND + 64], &theirs.memory[OPERAND..OPERAND + 64]);
        let _ = writeln!(out, "    memory: ours {} native {}", hex(a), hex(b));
    }
    if !out.is_empty() {
        let _ = writeln!(out, "    before: mxcsr {:x} k {:x?}", before.mxcsr, before.k);
        for n in 0..i.op_count() {
            let r = i.op_register(n);
            if r.is_vector_register() {
                let _ = writeln!(out, "    {r:?} = {}", hex(&before.zmm[r.number()]));
            }
        }
        let _ = writeln!(out, "    [m] = {}", hex(&before.memory[OPERAND..OPERAND + 64]));
    }
    out
}

/// Runs `i` `times` times on both sides; the first difference.
fn compare(exec: *const u8, i: &Instruction, times: u32, unmask: bool, random: &mut Random) -> Option<String> {
    let mut cpu = processor();
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
        let mut what = difference(i, &before, &ours, &theirs);
        if stop != trap {
            let _ = writeln!(what, "    ours {stop:?} native {trap:?} mxcsr {:x}", before.mxcsr);
        }
        if !what.is_empty() {
            return Some(what);
        }
    }
    None
}

/// Compares all codes that `chosen` picks, in `forms` forms, with `compare`, which is given the code's address, the
/// instruction and how often to run it, and says what differs; the number of codes.
fn survey(
    seed: u64,
    forms: u32,
    times: u32,
    chosen: fn(Code) -> bool,
    mut compare: impl FnMut(*const u8, &Instruction, u32, &mut Random) -> Option<String>,
) -> usize {
    let mut page = memmap2::MmapMut::map_anon(4096).unwrap();
    let (mut codes, mut runs, mut wrong) = (0, 0u64, Vec::new());
    for code in Code::values().filter(|&code| wanted(code) && chosen(code)) {
        // Each code has a stream of its own, so that one can be tried alone.
        let mut random = Random(seed ^ (code as u64) << 32);
        let (mut failed, mut tested) = (None, 0);
        for form in 0..forms {
            let Some(built) = build(code, form & 1 != 0, &mut random) else { continue };
            let mut encoder = Encoder::new(64);
            let encoded = encoder.encode(&built, 0);
            assert!(encoded.is_ok(), "{code:?} {encoded:?}");
            let bytes = encoder.take_buffer();
            let i = Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE).decode();
            assert_eq!(i.code(), code, "{bytes:02x?}");
            page[..bytes.len()].copy_from_slice(&bytes);
            page[bytes.len()] = 0xc3;
            let exec = page.make_exec().unwrap();
            let what = compare(exec.as_ptr(), &i, times, &mut random);
            page = exec.make_mut().unwrap();
            tested += 1;
            runs += u64::from(times);
            failed = failed.or(what.map(|what| format!("{code:?} {bytes:02x?}\n{what}")));
        }
        codes += usize::from(tested > 0);
        wrong.extend(failed);
    }
    println!("seed {seed:x}: {codes} codes, {runs} runs, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{} of {codes} codes differ:\n{}", wrong.len(), wrong.join(""));
    codes
}

/// Can this host be compared with?
fn hosted() -> bool {
    let hosted = std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512bw");
    if !hosted {
        println!("not compared: the host has no AVX-512");
    }
    hosted
}

#[test]
fn every_avx512_instruction_agrees_with_the_host() {
    if hosted() {
        let codes =
            survey(0x5eed_0512, 16, 40, |_| true, |exec, i, times, random| compare(exec, i, times, false, random));
        assert!(codes > 1000, "{codes}");
    }
}

#[test]
fn unmasked_exceptions_of_avx512_agree_with_the_host() {
    if hosted() {
        catch_traps(libc::SIGFPE);
        let codes =
            survey(0x5eed_0513, 6, 60, build::raises, |exec, i, times, random| compare(exec, i, times, true, random));
        assert!(codes > 300, "{codes}");
    }
}

#[test]
fn masks_suppress_the_faults_that_the_host_suppresses() {
    if hosted() {
        let mut pages = edge::Pages::new();
        let codes = survey(0x5eed_0514, 6, 60, edge::has_memory, |exec, i, times, random| {
            if build::memory(i) { edge::compare(&mut pages, exec, i, times, random) } else { None }
        });
        assert!(codes > 1000, "{codes}");
    }
}
