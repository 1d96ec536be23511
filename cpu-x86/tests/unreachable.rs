//! An indirect branch to a non-canonical address faults itself, also where handlers run it. Source: SDM vol. 2, JMP,
//! CALL, RET: "#GP(0) if the memory address is non-canonical".

use cpu_x86::{Cpu, Exit, NoDoors};
use emu_core::{Gpa, Ram};
use std::sync::Arc;

const CODE: u64 = 0x1_0000;
const STACK: u64 = 0x8000;
const NOWHERE: u64 = 0x987b_5e21_04e7_caad;

/// Runs `code` behind a NOP, with RAX the target, which is also on the stack and at RBX; without an IDT the fault ends
/// in shutdown. What stays is what the branch left of RIP and RSP, and how many instructions retired.
fn fault(code: &[u8]) -> (Exit, u64, u64, u64) {
    let ram = Arc::new(Ram::new(1 << 20, &[]).unwrap());
    assert!(ram.write(Gpa(CODE), &[&[0x90], code].concat()));
    assert!(ram.write(Gpa(STACK), &NOWHERE.to_le_bytes()));
    let mut cpu = Cpu::bare_64bit(ram);
    (cpu.regs[0], cpu.regs[3], cpu.regs[4]) = (NOWHERE, STACK, STACK);
    (cpu.rip, cpu.next_rip) = (CODE, CODE);
    let exit = cpu.run(&mut NoDoors, 1000);
    (exit, cpu.rip, cpu.regs[4], cpu.counts().kernel.instructions)
}

#[test]
fn a_branch_to_nowhere_faults_before_it_retires() {
    for code in [&[0xff, 0xe0][..], &[0xff, 0x23], &[0xff, 0xd0], &[0xff, 0x13], &[0xc3], &[0xc2, 0x10, 0x00]] {
        assert_eq!(fault(code), (Exit::Shutdown, CODE + 1, STACK, 1), "{code:02x?}");
    }
}
