//! A repetition without end holds back neither the end of a run nor a timer.

use cpu_x86::{Cpu, Exit, NoDoors};
use emu_core::{Gpa, Ram};
use std::sync::Arc;

#[test]
fn time_passes_in_a_repetition_that_never_ends() {
    let ram = Arc::new(Ram::new(1 << 20, &[]).unwrap());
    // rep stosb with ES:EDI, all over the 4 GiB: most of it is no memory.
    assert!(ram.write(Gpa(0x1_0000), &[0x67, 0xf3, 0xaa]));
    let mut cpu = Cpu::bare_64bit(ram);
    (cpu.regs[1], cpu.regs[7]) = (0xffff_fff0, 0x10_0000);
    (cpu.rip, cpu.next_rip) = (0x1_0000, 0x1_0000);
    assert_eq!(cpu.run(&mut NoDoors, 40_000), Exit::Time);
    // Two pieces of 2^20 elements, 2^15 cycles each; nothing has retired.
    assert_eq!((cpu.counts().clock, cpu.counts().cycles, cpu.counts().kernel.instructions), (1 << 16, 1 << 16, 0));
    assert_eq!((cpu.regs[1], cpu.regs[7], cpu.rip), (0xffff_fff0 - (2 << 20), 0x30_0000, 0x1_0000));
}
