//! Code pages that two address spaces share, beside pages that they do not: what was linked in one must not be
//! followed in the other.

use cpu_x86::{Cpu, Exit, Long64, NoDoors, Table};
use emu_core::{Gpa, Ram};
use std::sync::Arc;

const ROOTS: [u64; 2] = [0x1000, 0x5000];
/// Pages that differ: linear page, and the memory behind it in each space.
const OWN: [(u64, [u64; 2]); 2] = [(0x11, [0x11, 0x12]), (0x21, [0x21, 0x22])];
const KEEP: u64 = 1 << 63;

fn put(ram: &Ram, at: u64, bytes: &[u8]) {
    assert!(ram.write(Gpa(at), bytes));
}

fn page_tables(ram: &Ram) {
    for (space, root) in ROOTS.into_iter().enumerate() {
        for level in 0..3 {
            put(ram, root + 0x1000 * level, &((root + 0x1000 * (level + 1)) | 3).to_le_bytes());
        }
        for page in 0..64u64 {
            let own = OWN.iter().find(|(linear, _)| *linear == page);
            let memory = own.map_or(page, |(_, memory)| memory[space]);
            put(ram, root + 0x3000 + 8 * page, &(memory << 12 | 3).to_le_bytes());
        }
    }
}

fn machine() -> (Arc<Ram>, Box<Cpu>) {
    let ram = Arc::new(Ram::new(1 << 20, &[]).unwrap());
    page_tables(&ram);
    let mut cpu = Cpu::new(ram.clone(), 0);
    cpu.set_long64(Long64 { cr3: ROOTS[0], gdt: Table { base: 0, limit: 0 }, code: 8, data: 16 });
    (ram, cpu)
}

/// What RAX is after the code at `at` has run to its HLT in each of `spaces` in turn, with PCIDs or without.
fn results(ram_of: impl Fn(&Ram), at: u64, spaces: &[usize], pcid: bool) -> Vec<u64> {
    let (ram, mut cpu) = machine();
    ram_of(&ram);
    if pcid {
        cpu.set_cr(4, 1 << 17 | 1 << 5).unwrap();
    }
    let run = |&space: &usize| {
        let number = if pcid { KEEP | (space as u64 + 1) } else { 0 };
        cpu.set_cr(3, ROOTS[space] | number).unwrap();
        cpu.activity = cpu_x86::Activity::Active;
        (cpu.rip, cpu.regs[0], cpu.regs[4]) = (at, 0, 0x31000);
        let end = cpu.counts().clock + 1000;
        assert_eq!(cpu.run(&mut NoDoors, end), Exit::Halted);
        cpu.regs[0]
    };
    spaces.iter().map(run).collect()
}

const TURNS: [usize; 8] = [0, 0, 1, 0, 1, 1, 0, 0];

fn check(ram_of: impl Fn(&Ram) + Copy, at: u64, want: [u64; 2]) {
    for pcid in [false, true] {
        assert_eq!(results(ram_of, at, &TURNS, pcid), TURNS.map(|s| want[s]), "PCIDs: {pcid}");
    }
}

#[test]
fn a_return_into_the_next_page_goes_where_that_page_is_now() {
    let code = |ram: &Ram| {
        put(ram, 0x10000, &[0xc3]);
        // call 10000h, at the page's end
        put(ram, 0x10ffb, &[0xe8, 0x00, 0xf0, 0xff, 0xff]);
        put(ram, 0x11000, &[0xb8, 1, 0, 0, 0, 0xf4]);
        put(ram, 0x12000, &[0xb8, 2, 0, 0, 0, 0xf4]);
    };
    check(code, 0x10ffb, [1, 2]);
}

#[test]
fn a_return_to_an_instruction_that_ends_in_the_next_page_fetches_its_end_there() {
    let code = |ram: &Ram| {
        put(ram, 0x20000, &[0xc3]);
        // call 20000h; mov eax, imm32, of which two bytes lie in the next page; hlt
        put(ram, 0x20ff8, &[0xe8, 0x03, 0xf0, 0xff, 0xff, 0xb8, 0x34, 0x12]);
        put(ram, 0x21000, &[1, 0, 0xf4]);
        put(ram, 0x22000, &[2, 0, 0xf4]);
    };
    check(code, 0x20ff8, [0x1_1234, 0x2_1234]);
}

#[test]
fn jumps_and_code_that_just_goes_on_into_the_next_page_find_the_page_of_the_space() {
    let code = |ram: &Ram| {
        // jmp 11000h; and, from FFEh on, two NOPs before the page's end
        put(ram, 0x10f00, &[0xe9, 0xfb, 0x00, 0x00, 0x00]);
        put(ram, 0x10ffe, &[0x90, 0x90]);
        put(ram, 0x11000, &[0xb8, 1, 0, 0, 0, 0xf4]);
        put(ram, 0x12000, &[0xb8, 2, 0, 0, 0, 0xf4]);
    };
    check(code, 0x10f00, [1, 2]);
    check(code, 0x10ffe, [1, 2]);
}

#[test]
fn a_hundred_thousand_changes_of_address_space_outlast_the_generations() {
    let (ram, mut cpu) = machine();
    put(&ram, 0x11000, &[0xb8, 1, 0, 0, 0, 0xf4]);
    put(&ram, 0x12000, &[0xb8, 2, 0, 0, 0, 0xf4]);
    put(&ram, 0x30000, &[0xb8, 3, 0, 0, 0, 0xf4]);
    let mut run = |n: u64, at: u64| {
        let space = (n & 1) as usize;
        cpu.set_cr(3, ROOTS[space]).unwrap();
        cpu.activity = cpu_x86::Activity::Active;
        (cpu.rip, cpu.regs[0]) = (at, 0);
        let end = cpu.counts().clock + 1000;
        assert_eq!(cpu.run(&mut NoDoors, end), Exit::Halted);
        let want = if at == 0x30000 { 3 } else { 1 + space as u64 };
        assert_eq!(cpu.regs[0], want, "run {n}");
    };
    // Generations have 16 bits: 65535 runs later a number returns, in the other space.
    for n in 0..100_000 {
        let differs = n % 65_535 == 17;
        run(n, if differs { 0x11000 } else { 0x30000 });
    }
}
