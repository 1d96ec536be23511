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

#[test]
fn what_faults_finds_the_flags_of_the_instruction_before_it() {
    // `add ah, cl`, something that raises #DE or #XM without a memory operand, `add ah, cl`.
    let add = [0x00, 0xcc];
    let faults: [(&str, u32, &[u8]); 2] =
        [("aam 0", 32, &[0xd4, 0x00]), ("cvttsd2si eax, xmm0", 64, &[0xf2, 0x0f, 0x2c, 0xc0])];
    for (name, bits, fault) in faults {
        let run = |step: u64| {
            let ram = Arc::new(Ram::new(1 << 20, &[]).unwrap());
            assert!(ram.write(Gpa(0x1000), &[&add, fault, &add].concat()));
            let mut cpu = if bits == 64 { Cpu::bare_64bit(ram) } else { Cpu::new(ram, 0) };
            if bits == 32 {
                cpu.set_flat32(8, 16);
            } else {
                cpu.set_cr(4, 0x620).unwrap();
            }
            // The invalid operation of a NaN is not masked.
            cpu.mxcsr = 0x1f00;
            cpu.vec[0].0[..8].copy_from_slice(&f64::NAN.to_le_bytes());
            (cpu.regs[0], cpu.regs[1]) = (0x7f00, 1);
            (cpu.rip, cpu.next_rip) = (0x1000, 0x1000);
            let mut exit = Exit::Time;
            while exit == Exit::Time && cpu.counts().clock < 3 {
                exit = cpu.run(&mut NoDoors, cpu.counts().clock + step);
            }
            (cpu.rip, cpu.flags(), exit)
        };
        assert_eq!((run(1).0, run(1).2), (0x1002, Exit::Shutdown), "{name}");
        assert_eq!(run(1 << 20), run(1), "{name}");
    }
}
