//! Neither a repetition nor an exception without end holds back the end of a run or a timer.

use cpu_x86::{Cpu, Exit, NoDoors, Seg, Segment, Table};
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
    cpu.cpl = 3;
    assert_eq!(cpu.run(&mut NoDoors, 40_000), Exit::Time);
    assert_eq!(cpu.counts().user_waits, 1 << 16, "cycles of the ring that repeats");
    // Two pieces of 2^20 elements, 2^15 cycles each; nothing has retired.
    assert_eq!((cpu.counts().clock, cpu.counts().cycles, cpu.counts().kernel.instructions), (1 << 16, 1 << 16, 0));
    assert_eq!((cpu.regs[1], cpu.regs[7], cpu.rip), (0xffff_fff0 - (2 << 20), 0x30_0000, 0x1_0000));
}

#[test]
fn time_passes_when_every_handler_faults() {
    let ram = Arc::new(Ram::new(1 << 20, &[]).unwrap());
    let put = |at: u64, v: u64| assert!(ram.write(Gpa(at), &v.to_le_bytes()));
    // A flat code segment; the gate of #UD leads to UD2.
    put(0x808, 0x00cf_9b00_0000_ffff);
    put(0x810, 0x00cf_9300_0000_ffff);
    put(0x1000 + 8 * 6, 0x0000_8e00_0008_2000);
    assert!(ram.write(Gpa(0x2000), &[0x0f, 0x0b]));
    let mut cpu = Cpu::new(ram.clone(), 0);
    cpu.set_flat32(8, 16);
    (cpu.gdtr, cpu.idtr) = (Table { base: 0x800, limit: 0x17 }, Table { base: 0x1000, limit: 0x7ff });
    (cpu.regs[4], cpu.rip, cpu.next_rip) = (0x8_0000, 0x2000, 0x2000);
    assert_eq!(cpu.run(&mut NoDoors, 1000), Exit::Time);
    // The first fault is free, each of the others takes a cycle.
    assert_eq!((cpu.counts().clock, cpu.counts().kernel.instructions), (1000, 0));
    assert_eq!((cpu.rip, cpu.regs[4]), (0x2000, 0x8_0000 - 12 * 1001));
}

#[test]
fn time_passes_when_the_debug_handler_begins_at_a_breakpoint() {
    let ram = Arc::new(Ram::new(1 << 20, &[]).unwrap());
    // In real mode no delivery sets RF: #DB leads to 0:2000h, where an instruction breakpoint is.
    assert!(ram.write(Gpa(4), &0x2000u32.to_le_bytes()));
    let mut cpu = Cpu::new(ram.clone(), 0);
    let real = |base: u64, attr| Segment { selector: (base >> 4) as u16, base, limit: 0xffff, attr };
    cpu.set_segment(Seg::Cs, real(0, 0x9b));
    cpu.set_segment(Seg::Ss, real(0x1_0000, 0x93));
    cpu.idtr = Table { base: 0, limit: 0x3ff };
    cpu.dr[0] = 0x2000;
    cpu.dr[7] = 0x402;
    (cpu.regs[4], cpu.rip, cpu.next_rip) = (0x8000, 0x2000, 0x2000);
    assert_eq!(cpu.run(&mut NoDoors, 1000), Exit::Time);
    assert_eq!((cpu.counts().clock, cpu.counts().kernel.instructions), (1000, 0));
    assert_eq!((cpu.rip, cpu.regs[4]), (0x2000, 0x8000 - 6 * 1001));
}
