//! Flat test guests: multiboot 1 images of the kind that hypervisor unit tests are, ELF32 around 64-bit code.
//!
//! One segment at 1 MiB: ELF header, multiboot header, descriptors, 32-bit start, program. A guest prints a line
//! `PASS: what` or `FAIL: what` for each check, and ends by OUT to port F4h: 0 if all passed, else 1.
//! Source: spec/platform.md, "Flat test images"; Multiboot Specification 0.6.96, 3.1; System V ABI, ch. 4 and 5.

mod apic;
mod debug;
mod devices;
mod msr;
mod paging;
mod pmu;
mod smp;
mod timer;

use super::Program;
use super::boot::{self, CODE_32};
use super::program::assemble_at;
use iced_x86::code_asm::*;

/// Where the segment begins.
const BASE: u32 = 1 << 20;
/// Offsets in file and segment.
const PROGRAM_HEADER: usize = 0x34;
const MULTIBOOT: usize = 0x60;
const GDT: usize = 0x80;
const GDT_POINTER: usize = 0xd0;
const START: usize = 0xe0;
const ENTRY_32: usize = 0x100;
const PROGRAM: usize = 0x200;

/// Writes a guest's checks.
type Write = fn(&mut Program);

/// The guests by name.
pub fn guests() -> Vec<(&'static str, Vec<u8>)> {
    let guest = |write| image(&assemble_at(u64::from(BASE) + PROGRAM as u64, BASE + GDT as u32, write));
    vec![
        ("firmware", guest(devices::firmware as Write)),
        ("testdev", guest(devices::test_device)),
        ("apic", guest(apic::write)),
        ("smp", guest(smp::write)),
        ("debug", guest(debug::write)),
        ("msr", guest(msr::write)),
        ("paging", guest(paging::write)),
        ("timer", guest(timer::write)),
        ("pmu", guest(pmu::write)),
    ]
}

/// The file around the 64-bit program `code`.
fn image(code: &[u8]) -> Vec<u8> {
    let mut image = vec![0; PROGRAM];
    let mut put = |at: usize, end: usize, bytes: &[u8]| {
        assert!(at + bytes.len() <= end, "{at:#x} has {} bytes", bytes.len());
        image[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(0, PROGRAM_HEADER, &elf_header());
    put(PROGRAM_HEADER, MULTIBOOT, &program_header((PROGRAM + code.len()) as u32));
    put(MULTIBOOT, GDT, &[0x1bad_b002, 0, 0u32.wrapping_sub(0x1bad_b002)].map(u32::to_le_bytes).concat());
    put(GDT, GDT_POINTER, &boot::descriptors());
    put(GDT_POINTER, START, &boot::gdt_pointer(BASE + GDT as u32));
    put(START, ENTRY_32, &start().expect("it assembles"));
    let entry = boot::entry_32(u64::from(BASE) + ENTRY_32 as u64, u64::from(BASE) + PROGRAM as u64);
    put(ENTRY_32, PROGRAM, &entry.expect("it assembles"));
    image.extend_from_slice(code);
    image
}

/// ELF32, little-endian, an executable for the 80386 with one program header.
fn elf_header() -> Vec<u8> {
    let mut b = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    b.extend([2u16, 3].map(u16::to_le_bytes).concat());
    b.extend([1, BASE + START as u32, PROGRAM_HEADER as u32, 0, 0].map(u32::to_le_bytes).concat());
    b.extend([52u16, 32, 1, 40, 0, 0].map(u16::to_le_bytes).concat());
    b
}

/// PT_LOAD of the whole file, readable, writable and executable.
fn program_header(bytes: u32) -> Vec<u8> {
    [1, 0, BASE, BASE, bytes, bytes, 7, 0x1000].map(u32::to_le_bytes).concat()
}

/// From the loader's descriptors to our own.
fn start() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(32)?;
    a.cli()?;
    a.cld()?;
    a.lgdt(ptr(BASE + GDT_POINTER as u32))?;
    boot::far_jump(&mut a, CODE_32, u64::from(BASE) + ENTRY_32 as u64)?;
    a.assemble(u64::from(BASE) + START as u64)
}

/// A guest's checks being written. R12 holds what was found, R13 what is expected.
struct Checks<'a> {
    p: &'a mut Program,
    verdict: CodeLabel,
}

/// Writes the checks that `body` makes, the end, and the subroutine that gives verdicts.
fn checks(p: &mut Program, body: fn(&mut Checks<'_>) -> Result<(), IcedError>) {
    let verdict = p.a.create_label();
    let mut c = Checks { p, verdict };
    body(&mut c).expect("it assembles");
    c.p.end().expect("it assembles");
    c.put_verdict().expect("it assembles");
}

impl Checks<'_> {
    /// Checks that R12 is `expected`.
    fn expect(&mut self, what: &str, expected: u64) -> Result<(), IcedError> {
        self.p.a.mov(r13, expected)?;
        self.expect_r13(what)
    }

    /// Checks that R12 is R13.
    fn expect_r13(&mut self, what: &str) -> Result<(), IcedError> {
        self.p.text(&format!("{what}\n"))?;
        self.p.a.call(self.verdict)
    }

    /// Prints `PASS: ` or `FAIL: ` and the text at RSI; R15 remembers a failure.
    fn put_verdict(&mut self) -> Result<(), IcedError> {
        let (mut failed, mut end) = (self.p.a.create_label(), self.p.a.create_label());
        self.p.a.set_label(&mut self.verdict)?;
        self.p.a.push(rsi)?;
        self.p.a.cmp(r12, r13)?;
        self.p.a.jne(failed)?;
        self.p.print("PASS: ")?;
        self.p.a.jmp(end)?;
        self.p.a.set_label(&mut failed)?;
        self.p.a.mov(r15d, 1)?;
        self.p.print("FAIL: ")?;
        self.p.a.set_label(&mut end)?;
        self.p.a.pop(rsi)?;
        self.p.print_rsi()?;
        self.p.a.ret()
    }

    /// R12 := the item of fw_cfg with number `key`, little-endian, `bytes` long.
    fn fw_cfg(&mut self, key: u32, bytes: u32) -> Result<(), IcedError> {
        let a = &mut self.p.a;
        let mut next = a.create_label();
        a.mov(edx, 0x510)?;
        a.mov(eax, key)?;
        a.out(dx, ax)?;
        a.mov(edx, 0x511)?;
        a.xor(r12d, r12d)?;
        a.xor(ecx, ecx)?;
        a.set_label(&mut next)?;
        a.xor(eax, eax)?;
        a.in_(al, dx)?;
        a.shl(rax, cl)?;
        a.or(r12, rax)?;
        a.add(ecx, 8)?;
        a.cmp(ecx, 8 * bytes)?;
        a.jne(next)
    }

    /// Lets waiting interrupts in.
    fn let_in(&mut self) -> Result<(), IcedError> {
        self.p.a.sti()?;
        self.p.a.nop()?;
        self.p.a.nop()?;
        self.p.a.cli()
    }
}
