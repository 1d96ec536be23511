//! A guest cannot grow the host's stack, in any profile: handlers go on by tail calls or in a loop, never by calls that
//! pile up.

use cpu_x86::{Cpu, Exit, NoDoors};
use emu_core::{Gpa, Ram};
use std::sync::Arc;

const HOST_STACK_BYTES: usize = 256 << 10;
const CODE: u64 = 0x1_0000;
const DATA: u64 = 0x2_0000;
const STACK: u64 = 0x3_0000;
/// Times round the guest's loop, and instructions of one round.
const ROUNDS: u64 = 1_100_000;
const PER_ROUND: u64 = 20;
/// Times round the loop of vector instructions.
const VECTOR_ROUNDS: u64 = 50_000;

/// A loop of ALU operations, loads, stores, pushes, calls, returns, conditional jumps and scalar SSE.
#[rustfmt::skip] // one row an instruction
const GUEST: &[&[u8]] = &[
    &[0x48, 0x01, 0xd8],             // again: add rax, rbx
    &[0x48, 0x83, 0xd2, 0x03],       // adc rdx, 3
    &[0x48, 0x8b, 0x37],             // mov rsi, [rdi]
    &[0x48, 0x01, 0xc6],             // add rsi, rax
    &[0x48, 0x89, 0x37],             // mov [rdi], rsi
    &[0x48, 0x01, 0x47, 0x08],       // add [rdi + 8], rax
    &[0x56],                         // push rsi
    &[0xe8, 0x1a, 0x00, 0x00, 0x00], // call function
    &[0x5e],                         // pop rsi
    &[0xf2, 0x0f, 0x58, 0xc1],       // addsd xmm0, xmm1
    &[0xf2, 0x0f, 0x11, 0x47, 0x10], // movsd [rdi + 16], xmm0
    &[0xf2, 0x0f, 0x10, 0x57, 0x10], // movsd xmm2, [rdi + 16]
    &[0x66, 0x0f, 0x2e, 0xd0],       // ucomisd xmm2, xmm0
    &[0x75, 0x04],                   // jnz out
    &[0xff, 0xc9],                   // dec ecx
    &[0x75, 0xcd],                   // jnz again
    &[0xf4],                         // out: hlt
    &[0x48, 0xc1, 0xc0, 0x05],       // function: rol rax, 5
    &[0x48, 0x85, 0xc0],             // test rax, rax
    &[0x0f, 0x94, 0xc3],             // setz bl
    &[0xc3],                         // ret
];

/// Vector instructions: those that the engine calls on operands found beforehand, of every signature, and forms of their own.
#[rustfmt::skip] // one row an instruction
const VECTORS: &[&[u8]] = &[
    &[0x66, 0x0f, 0x38, 0x00, 0xc1],             // pshufb xmm0, xmm1
    &[0x66, 0x0f, 0x3a, 0x0f, 0xc1, 0x04],       // palignr xmm0, xmm1, 4
    &[0x66, 0x0f, 0x3a, 0x0f, 0x07, 0x04],       // palignr xmm0, [rdi], 4
    &[0x0f, 0x51, 0xd9],                         // sqrtps xmm3, xmm1
    &[0xf3, 0x0f, 0x51, 0x1f],                   // sqrtss xmm3, [rdi]
    &[0x0f, 0xc2, 0xe1, 0x01],                   // cmpltps xmm4, xmm1
    &[0x66, 0x0f, 0x3a, 0x09, 0xd9, 0x00],       // roundpd xmm3, xmm1, 0
    &[0x66, 0x0f, 0x38, 0x14, 0xe1],             // blendvps xmm4, xmm1
    &[0x66, 0x0f, 0x38, 0x17, 0xca],             // ptest xmm1, xmm2
    &[0x66, 0x0f, 0x3a, 0x63, 0xca, 0x00],       // pcmpistri xmm1, xmm2, 0
    &[0x66, 0x0f, 0x38, 0xdc, 0xc1],             // aesenc xmm0, xmm1
    &[0x66, 0x0f, 0x38, 0xcf, 0xc1],             // gf2p8mulb xmm0, xmm1
    &[0x0f, 0x38, 0xcb, 0xd9],                   // sha256rnds2 xmm3, xmm1
    &[0xc4, 0xe2, 0x75, 0x00, 0xea],             // vpshufb ymm5, ymm1, ymm2
    &[0xc4, 0xe2, 0x71, 0xb8, 0xf2],             // vfmadd231ps xmm6, xmm1, xmm2
    &[0xc4, 0xe2, 0xf5, 0xb8, 0x37],             // vfmadd231pd ymm6, ymm1, [rdi]
    &[0x62, 0xf3, 0x75, 0x48, 0x25, 0xfa, 0x96], // vpternlogd zmm7, zmm1, zmm2, 96h
    &[0x62, 0xf1, 0x75, 0x48, 0x76, 0xca],       // vpcmpeqd k1, zmm1, zmm2
    &[0x62, 0xf1, 0x7e, 0x49, 0x6f, 0x3f],       // vmovdqu32 zmm7{k1}, [rdi]
    &[0x62, 0xf1, 0x7e, 0x49, 0x7f, 0x7f, 0x01], // vmovdqu32 [rdi + 40h]{k1}, zmm7
    &[0x62, 0xf2, 0x7d, 0x48, 0x7c, 0xf8],       // vpbroadcastd zmm7, eax
    &[0x62, 0xf1, 0x74, 0x49, 0x58, 0xda],       // vaddps zmm3{k1}, zmm1, zmm2
    &[0x62, 0xf2, 0x75, 0x48, 0x36, 0xda],       // vpermd zmm3, zmm1, zmm2
    &[0x62, 0xf5, 0x74, 0x48, 0x58, 0xda],       // vaddph zmm3, zmm1, zmm2
    &[0x66, 0x0f, 0x7c, 0xea],                   // haddpd xmm5, xmm2
    &[0xc5, 0xf7, 0x7c, 0xea],                   // vhaddps ymm5, ymm1, ymm2
    &[0xc5, 0xf5, 0x7d, 0x2f],                   // vhsubpd ymm5, ymm1, [rdi]
    &[0x66, 0x0f, 0x2f, 0xca],                   // comisd xmm1, xmm2
    &[0xc5, 0xf8, 0x2e, 0x0f],                   // vucomiss xmm1, [rdi]
    &[0xf2, 0x48, 0x0f, 0x2c, 0xc1],             // cvttsd2si rax, xmm1
    &[0xf3, 0x0f, 0x2c, 0xc1],                   // cvttss2si eax, xmm1
    &[0xc4, 0xe2, 0xf1, 0xad, 0xf2],             // vfnmadd213sd xmm6, xmm1, xmm2
    &[0xc4, 0xe2, 0x71, 0x9b, 0x37],             // vfmsub132ss xmm6, xmm1, [rdi]
    &[0xc4, 0xe2, 0xf5, 0xa8, 0xf2],             // vfmadd213pd ymm6, ymm1, ymm2
    &[0xc4, 0xe2, 0x71, 0xdf, 0x2f],             // vaesdeclast xmm5, xmm1, [rdi]
    &[0x0f, 0x3a, 0xcc, 0xea, 0x01],             // sha1rnds4 xmm5, xmm2, 1
    &[0x66, 0x0f, 0x3a, 0x44, 0xea, 0x11],       // pclmulqdq xmm5, xmm2, 11h
    &[0x66, 0x0f, 0x70, 0xea, 0x1b],             // pshufd xmm5, xmm2, 1bh
    &[0xc4, 0xe3, 0x75, 0x0f, 0xea, 0x03],       // vpalignr ymm5, ymm1, ymm2, 3
    &[0xc5, 0xf5, 0x67, 0x2f],                   // vpackuswb ymm5, ymm1, [rdi]
    &[0x66, 0x0f, 0xf5, 0x2f],                   // pmaddwd xmm5, [rdi]
    &[0xc5, 0xd5, 0x71, 0xf1, 0x03],             // vpsllw ymm5, ymm1, 3
    &[0xc4, 0xe3, 0xfd, 0x00, 0xe9, 0x4e],       // vpermq ymm5, ymm1, 4eh
    &[0xc4, 0xe3, 0x75, 0x46, 0xea, 0x21],       // vperm2i128 ymm5, ymm1, ymm2, 21h
    &[0xc4, 0xe3, 0x75, 0x38, 0x2f, 0x01],       // vinserti128 ymm5, ymm1, [rdi], 1
    &[0xc4, 0xe3, 0x7d, 0x39, 0xcd, 0x01],       // vextracti128 xmm5, ymm1, 1
    &[0xc5, 0xf5, 0x5e, 0x2f],                   // vdivpd ymm5, ymm1, [rdi]
    &[0xf2, 0x0f, 0x51, 0xea],                   // sqrtsd xmm5, xmm2
    &[0xc5, 0xf2, 0x59, 0x2f],                   // vmulss xmm5, xmm1, [rdi]
    &[0xf2, 0x48, 0x0f, 0x2a, 0xea],             // cvtsi2sd xmm5, rdx
    &[0xc5, 0xf8, 0x98, 0xc9],                   // kortestw k1, k1
    &[0xf3, 0x48, 0x0f, 0xbc, 0xc2],             // tzcnt rax, rdx
];

/// How a run ended: exit, instructions, general registers, the low double of XMM0.
type End = (Exit, u64, Vec<u64>, f64);

/// Runs `code` in 64-bit mode with a small host stack to its HLT.
fn run(code: Vec<u8>) -> End {
    let run = move || {
        let ram = Arc::new(Ram::new(1 << 20, &[]).unwrap());
        assert!(ram.write(Gpa(CODE), &code));
        let mut cpu = Cpu::bare_64bit(ram);
        cpu.set_cr(4, 0x4_0620).unwrap();
        cpu.xcr0 = 0xe7;
        (cpu.regs[1], cpu.regs[3], cpu.regs[4], cpu.regs[7]) = (ROUNDS, 1, STACK, DATA);
        cpu.regs[8] = VECTOR_ROUNDS;
        cpu.vec[1].0[..8].copy_from_slice(&1.0f64.to_le_bytes());
        // PE is set, so that an inexact result is a fast one.
        cpu.mxcsr = 0x1fa0;
        (cpu.rip, cpu.next_rip) = (CODE, CODE);
        let exit = cpu.run(&mut NoDoors, u64::MAX);
        let low = f64::from_le_bytes(cpu.vec[0].0[..8].try_into().unwrap());
        (exit, cpu.counts().kernel.instructions, cpu.regs[..16].to_vec(), low)
    };
    std::thread::Builder::new().stack_size(HOST_STACK_BYTES).spawn(run).unwrap().join().unwrap()
}

#[test]
fn a_long_loop_runs_on_a_small_host_stack() {
    let (exit, counted, regs, sum) = run(GUEST.concat());
    let instructions = ROUNDS * PER_ROUND + 1;
    assert!(instructions > 20_000_000);
    assert_eq!((exit, counted, regs[1], regs[4], sum), (Exit::Halted, instructions, 0, STACK, ROUNDS as f64));
}

#[test]
fn a_loop_of_vector_instructions_runs_on_a_small_host_stack() {
    let mut code = VECTORS.concat();
    code.extend([0x41, 0xff, 0xc8]); // dec r8d
    let back = -(code.len() as i32 + 6);
    code.extend([0x0f, 0x85]); // jnz to the start
    code.extend(back.to_le_bytes());
    code.push(0xf4); // hlt
    let (exit, counted, regs, _) = run(code);
    let instructions = VECTOR_ROUNDS * (VECTORS.len() as u64 + 2) + 1;
    assert_eq!((exit, counted, regs[8]), (Exit::Halted, instructions, 0));
}
