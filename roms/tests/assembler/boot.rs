//! From the reset vector to long mode: flat segments, an identity map of 4 GiB in four pages.

use super::{BASE, IMAGE_BYTES};
use iced_x86::code_asm::*;
use iced_x86::{Code, Instruction, MemoryOperand, Register};

/// Offsets in the image.
const ENTRY_32: usize = 0xe00;
const GDT_POINTER: usize = 0xf00;
const GDT: usize = 0xf10;
const ENTRY_16: usize = 0xf80;
const RESET_VECTOR: usize = 0xff0;

/// Where things are in RAM.
pub const PAGE_TABLES: u32 = 0x1000;
pub const GDT_IN_RAM: u32 = 0x3000;
pub const TSS: u32 = 0x4000;
pub const IDT: u32 = 0x5000;
pub const KERNEL_STACK: u32 = 0x8000;
pub const USER_STACK: u32 = 0x9000;

/// Selectors; SYSCALL wants code before data, SYSRET a dummy, data, code.
pub const CODE_32: u16 = 0x08;
pub const KERNEL_CODE: u16 = 0x10;
pub const KERNEL_DATA: u16 = 0x18;
pub const SYSRET_BASE: u16 = 0x20 | 3;
pub const USER_DATA: u16 = 0x28 | 3;
pub const USER_CODE: u16 = 0x30 | 3;
pub const TASK: u16 = 0x38;

/// The descriptors; the accessed bits are set, for the first copy is in ROM.
const DESCRIPTORS: [u64; 9] = [
    0,
    0x00cf_9b00_0000_ffff,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
    // The task-state segment: base 4000h, limit 67h, available.
    0x0000_8900_4000_0067,
    0,
];
/// Bytes of the descriptor table.
pub const GDT_BYTES: u32 = 8 * DESCRIPTORS.len() as u32;
/// Linear address of its copy in ROM.
pub const GDT_IN_ROM: u32 = (BASE + GDT as u64) as u32;

/// The image around the 64-bit program `code`, which begins at [`BASE`].
pub fn image(code: &[u8]) -> Vec<u8> {
    assert!(code.len() <= ENTRY_32, "the program has {} bytes", code.len());
    let mut image = vec![0xcc; IMAGE_BYTES];
    let mut put = |at: usize, end: usize, bytes: &[u8]| {
        assert!(at + bytes.len() <= end, "{at:#x} has {} bytes", bytes.len());
        image[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(0, ENTRY_32, code);
    put(ENTRY_32, GDT_POINTER, &entry_32(BASE + ENTRY_32 as u64, BASE).expect("it assembles"));
    put(GDT_POINTER, GDT, &gdt_pointer(GDT_IN_ROM));
    put(GDT, ENTRY_16, &descriptors());
    put(ENTRY_16, RESET_VECTOR, &entry_16().expect("it assembles"));
    put(RESET_VECTOR, IMAGE_BYTES, &reset_vector().expect("it assembles"));
    image
}

/// The descriptor table.
pub fn descriptors() -> Vec<u8> {
    DESCRIPTORS.map(u64::to_le_bytes).concat()
}

/// What LGDT takes for a table at `gdt`.
pub fn gdt_pointer(gdt: u32) -> Vec<u8> {
    let limit = (GDT_BYTES - 1) as u16;
    [&limit.to_le_bytes()[..], &gdt.to_le_bytes()].concat()
}

/// The offset of image byte `at` in the first code segment, whose base is FFFF0000h.
const fn ip(at: usize) -> u64 {
    (BASE + at as u64) & 0xffff
}

fn reset_vector() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    a.jmp(ip(ENTRY_16))?;
    a.assemble(ip(RESET_VECTOR))
}

pub fn far_jump(a: &mut CodeAssembler, selector: u16, to: u64) -> Result<(), IcedError> {
    a.add_instruction(Instruction::with_far_branch(Code::Jmp_ptr1632, selector, to as u32)?)
}

/// Real mode to protected mode.
fn entry_16() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    a.cli()?;
    a.cld()?;
    let pointer = MemoryOperand::new(Register::None, Register::None, 1, ip(GDT_POINTER) as i64, 2, false, Register::CS);
    a.add_instruction(Instruction::with1(Code::Lgdt_m1632, pointer)?)?;
    a.mov(eax, cr0)?;
    a.or(al, 1)?;
    a.mov(cr0, eax)?;
    far_jump(&mut a, CODE_32, BASE + ENTRY_32 as u64)?;
    a.assemble(ip(ENTRY_16))
}

/// Protected mode to long mode: page tables of four 1 GiB pages, open to users; SYSCALL and RDPMC for users too.
/// The code lies at `at` and ends in a jump to `program`.
pub fn entry_32(at: u64, program: u64) -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(32)?;
    a.mov(eax, u32::from(KERNEL_DATA))?;
    for segment in [ds, es, ss] {
        a.mov(segment, eax)?;
    }
    a.mov(esp, KERNEL_STACK)?;
    a.mov(edi, PAGE_TABLES)?;
    a.xor(eax, eax)?;
    a.mov(ecx, (IDT + 0x1000 - PAGE_TABLES) / 4)?;
    a.rep().stosd()?;
    a.mov(dword_ptr(PAGE_TABLES), PAGE_TABLES + 0x1007)?;
    for gib in 0..4u32 {
        a.mov(dword_ptr(PAGE_TABLES + 0x1000 + 8 * gib), gib << 30 | 0x87)?;
    }
    a.mov(eax, 1u32 << 5 | 1 << 8)?;
    a.mov(cr4, eax)?;
    a.mov(eax, PAGE_TABLES)?;
    a.mov(cr3, eax)?;
    a.mov(ecx, 0xc000_0080u32)?;
    a.mov(eax, 0x101)?;
    a.xor(edx, edx)?;
    a.wrmsr()?;
    a.mov(eax, cr0)?;
    a.or(eax, 0x8000_0000u32 as i32)?;
    a.mov(cr0, eax)?;
    far_jump(&mut a, KERNEL_CODE, program)?;
    a.assemble(at)
}
