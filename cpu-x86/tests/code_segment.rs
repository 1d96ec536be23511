//! A write through CS faults in protected mode, also where all segments are flat. Source: SDM vol. 3A, 5.5.

use cpu_x86::{Cpu, Exit, NoDoors, Table};
use emu_core::{Gpa, Ram};
use std::sync::Arc;

#[test]
fn a_write_through_the_code_segment_faults_and_a_read_does_not() {
    // mov ecx, cs:[eax]; nop; add cs:[eax], al
    let code = [0x2e, 0x8b, 0x08, 0x90, 0x2e, 0x00, 0x00];
    let ram = Arc::new(Ram::new(1 << 20, &[]).unwrap());
    assert!(ram.write(Gpa(0x1_0000), &code));
    assert!(ram.write(Gpa(0x2_0000), &[7, 0, 0, 0]));
    let mut cpu = Cpu::new(ram.clone(), 0);
    cpu.set_flat32(0x8, 0x10);
    cpu.idtr = Table { base: 0, limit: 0 };
    cpu.regs[0] = 0x2_0000;
    (cpu.rip, cpu.next_rip) = (0x1_0000, 0x1_0000);
    assert_eq!(cpu.run(&mut NoDoors, 100), Exit::Shutdown);
    assert_eq!((cpu.rip, cpu.regs[1], cpu.counts().kernel.instructions), (0x1_0004, 7, 2));
    let mut after = [0; 4];
    assert!(ram.read(Gpa(0x2_0000), &mut after));
    assert_eq!(after, [7, 0, 0, 0]);
}
