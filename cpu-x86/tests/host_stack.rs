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

#[test]
fn a_long_loop_runs_on_a_small_host_stack() {
    let run = || {
        let ram = Arc::new(Ram::new(1 << 20, &[]).unwrap());
        assert!(ram.write(Gpa(CODE), &GUEST.concat()));
        let mut cpu = Cpu::bare_64bit(ram);
        cpu.set_cr(4, 0x620).unwrap();
        (cpu.regs[1], cpu.regs[3], cpu.regs[4], cpu.regs[7]) = (ROUNDS, 1, STACK, DATA);
        cpu.vec[1].0[..8].copy_from_slice(&1.0f64.to_le_bytes());
        cpu.mxcsr = 0x1f80;
        (cpu.rip, cpu.next_rip) = (CODE, CODE);
        let exit = cpu.run(&mut NoDoors, u64::MAX);
        let sum = f64::from_le_bytes(cpu.vec[0].0[..8].try_into().unwrap());
        (exit, cpu.counts().kernel.instructions, cpu.regs[1], cpu.regs[4], sum)
    };
    let thread = std::thread::Builder::new().stack_size(HOST_STACK_BYTES).spawn(run).unwrap();
    let instructions = ROUNDS * PER_ROUND + 1;
    assert!(instructions > 20_000_000);
    assert_eq!(thread.join().unwrap(), (Exit::Halted, instructions, 0, STACK, ROUNDS as f64));
}
