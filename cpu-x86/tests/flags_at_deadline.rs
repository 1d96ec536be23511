//! Flags are exact wherever a run may end, also between a flag writer and the one that overwrites it in the next block.

use cpu_x86::{Counts, Cpu, Exit, NoDoors};
use emu_core::{Gpa, Ram};
use std::sync::Arc;

/// `add eax, -8; test eax, eax; jmp` back: found by the random programs of `fuzz/`.
const LOOP: [u8; 7] = [0x83, 0xc0, 0xf8, 0x85, 0xc0, 0xeb, 0xf9];

fn processor() -> Box<Cpu> {
    let ram = Arc::new(Ram::new(1 << 20, &[]).unwrap());
    assert!(ram.write(Gpa(0x1000), &LOOP));
    let mut cpu = Cpu::bare_64bit(ram);
    cpu.rip = 0x1000;
    cpu
}

#[test]
fn a_deadline_behind_any_instruction_finds_the_flags_of_single_steps() {
    for ticks in 1..40 {
        let (mut whole, mut steps) = (processor(), processor());
        assert_eq!(whole.run(&mut NoDoors, ticks), Exit::Time);
        for tick in 1..=ticks {
            assert_eq!(steps.run(&mut NoDoors, tick), Exit::Time);
        }
        assert_eq!(whole.flags(), steps.flags(), "after {ticks}");
        assert_eq!((whole.rip, whole.regs[0]), (steps.rip, steps.regs[0]), "after {ticks}");
        let counts: Counts = whole.counts();
        assert_eq!(counts.kernel.instructions, ticks);
    }
}
