//! What is fetched of an instruction at a page's end: all of its length, and nothing behind it. Source: Zen 4, natively.

use cpu_x86::{Cpu, Exit, NoDoors};
use emu_core::{Gpa, Ram};
use std::sync::Arc;

const MEMORY: u64 = 1 << 20;

/// Runs `code`, which ends where memory ends; without an IDT an exception ends in shutdown. `trap`: in single steps.
fn run(code: &[u8], trap: bool) -> Exit {
    run_before(MEMORY, code, trap)
}

/// As [`run`], with code that ends at `end`.
fn run_before(end: u64, code: &[u8], trap: bool) -> Exit {
    let ram = Arc::new(Ram::new(MEMORY, &[]).unwrap());
    let start = end - code.len() as u64;
    assert!(ram.write(Gpa(start), code));
    let mut cpu = Cpu::bare_64bit(ram);
    cpu.set_flags(u64::from(trap) << 8 | 2);
    (cpu.rip, cpu.next_rip) = (start, start);
    cpu.run(&mut NoDoors, 10)
}

#[test]
fn an_undefined_instruction_that_ends_with_the_page_is_undefined() {
    for code in [&[0x0f, 0x04][..], &[0x06], &[0xff, 0x3f], &[0xff, 0x7f, 0], &[0xfe, 0xd7], &[0x0f, 0xba, 0x47, 0, 1]]
    {
        for trap in [false, true] {
            assert_eq!(run(code, trap), Exit::Shutdown, "{code:02x?}, in single steps: {trap}");
        }
    }
}

#[test]
fn the_displacement_of_an_undefined_member_of_a_group_is_fetched_first() {
    for code in
        [&[0xff, 0x7f][..], &[0xff, 0xbf, 0, 0, 0], &[0x66, 0x48, 0xfe, 0x57], &[0x0f, 0xba, 0x47], &[0xc7, 0x4f]]
    {
        for trap in [false, true] {
            let Exit::Unimplemented(missing) = run(code, trap) else {
                panic!("{code:02x?} ran, in single steps: {trap}")
            };
            assert_eq!(missing.what, "code outside memory");
            assert_eq!(run_before(MEMORY - 4096, code, trap), Exit::Shutdown, "{code:02x?} with a page behind");
        }
    }
}
