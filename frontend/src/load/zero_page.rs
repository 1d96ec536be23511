//! Linux's zero page (`struct boot_params`), and the 64-bit entry with it.
//!
//! Source: Linux `Documentation/arch/x86/boot.rst` ("The Real-Mode Kernel Header", "64-bit Boot Protocol"),
//! `Documentation/arch/x86/zero-page.rst`, `arch/x86/include/uapi/asm/bootparam.h`.

use super::elf::Executable;
use super::layout::{self, GDT, PAGE_TABLES, ZERO_PAGE, memory_map, place_high};
use super::{Entry, Kind, LoadError, Piece, Plan, Source, bytes};
use emu_core::Gpa;

/// Offsets in the zero page; those from 1F1h on are those of the setup header in the file.
pub mod field {
    #![allow(missing_docs, reason = "the names are boot.rst's")]
    pub const ACPI_RSDP_ADDR: usize = 0x070;
    pub const E820_ENTRIES: usize = 0x1e8;
    pub const SETUP_SECTS: usize = 0x1f1;
    pub const BOOT_FLAG: usize = 0x1fe;
    pub const JUMP_DISTANCE: usize = 0x201;
    pub const HEADER: usize = 0x202;
    pub const VERSION: usize = 0x206;
    pub const TYPE_OF_LOADER: usize = 0x210;
    pub const LOADFLAGS: usize = 0x211;
    pub const CODE32_START: usize = 0x214;
    pub const RAMDISK_IMAGE: usize = 0x218;
    pub const RAMDISK_SIZE: usize = 0x21c;
    pub const CMD_LINE_PTR: usize = 0x228;
    pub const INITRD_ADDR_MAX: usize = 0x22c;
    pub const KERNEL_ALIGNMENT: usize = 0x230;
    pub const XLOADFLAGS: usize = 0x236;
    pub const CMDLINE_SIZE: usize = 0x238;
    pub const PAYLOAD_OFFSET: usize = 0x248;
    pub const PAYLOAD_LENGTH: usize = 0x24c;
    pub const PREF_ADDRESS: usize = 0x258;
    pub const INIT_SIZE: usize = 0x260;
    pub const E820_TABLE: usize = 0x2d0;
}

/// Entries of the E820 table in the zero page.
const E820_MAX: usize = 128;
/// `type_of_loader` of a boot loader without an assigned number.
const LOADER_UNDEFINED: u8 = 0xff;

/// What a Linux kernel needs besides itself.
pub struct Params<'a> {
    /// Setup header to copy to 1F1h: empty for a kernel that comes without.
    pub header: &'a [u8],
    /// First address above the kernel and the memory it needs before it knows its own map.
    pub kernel_end: u64,
    /// Where the protected-mode kernel was put.
    pub code32_start: u64,
    /// Highest address the initrd may have.
    pub initrd_max: u64,
    /// Longest command line.
    pub cmdline_bytes: u64,
    /// 64-bit entry, else the 32-bit one.
    pub long: bool,
}

/// Command line, initrd, zero page, GDT and page tables.
pub fn pieces(source: &Source<'_>, params: &Params<'_>) -> Result<Vec<Piece>, LoadError> {
    let mut page = vec![0; 4096];
    let header_bytes = params.header.len().min(0x290 - field::SETUP_SECTS);
    bytes::put(&mut page, field::SETUP_SECTS, &params.header[..header_bytes]);
    let mut pieces = vec![layout::command_line(source.append, params.cmdline_bytes)?];
    page[field::TYPE_OF_LOADER] = LOADER_UNDEFINED;
    bytes::put(&mut page, field::ACPI_RSDP_ADDR, &source.rsdp.0.to_le_bytes());
    bytes::put(&mut page, field::CODE32_START, &(params.code32_start as u32).to_le_bytes());
    bytes::put(&mut page, field::CMD_LINE_PTR, &(layout::COMMAND_LINE as u32).to_le_bytes());
    if let Some(initrd) = source.initrd {
        let ceiling = params.initrd_max.saturating_add(1).min(layout::HIGH_BASE);
        let bytes = initrd.len() as u64;
        let at = place_high("the initrd", bytes, params.kernel_end, ceiling, source.ram_bytes, source.reserved)?;
        bytes::put(&mut page, field::RAMDISK_IMAGE, &(at as u32).to_le_bytes());
        bytes::put(&mut page, field::RAMDISK_SIZE, &(initrd.len() as u32).to_le_bytes());
        pieces.push(Piece::new("the initrd", at, initrd.to_vec()));
    }
    let map = memory_map(source.ram_bytes, source.reserved);
    page[field::E820_ENTRIES] = map.len().min(E820_MAX) as u8;
    for (n, s) in map.iter().take(E820_MAX).enumerate() {
        let at = field::E820_TABLE + 20 * n;
        bytes::put(&mut page, at, &s.base.to_le_bytes());
        bytes::put(&mut page, at + 8, &s.bytes.to_le_bytes());
        bytes::put(&mut page, at + 16, &(s.kind as u32).to_le_bytes());
    }
    pieces.push(Piece::new("the zero page", ZERO_PAGE, page));
    pieces.push(descriptors(params.long));
    pieces.push(page_tables());
    Ok(pieces)
}

/// The GDT that boot.rst asks for: __BOOT_CS 10h (64-bit or 32-bit code), __BOOT_DS 18h (data).
fn descriptors(long: bool) -> Piece {
    const CODE_64: u64 = 0x00af_9b00_0000_ffff;
    const CODE_32: u64 = 0x00cf_9b00_0000_ffff;
    const DATA: u64 = 0x00cf_9300_0000_ffff;
    let table = [0, 0, if long { CODE_64 } else { CODE_32 }, DATA];
    Piece::new("the GDT", GDT, table.iter().flat_map(|d| d.to_le_bytes()).collect())
}

/// One PML4, one page-directory-pointer table, four directories of 2 MiB pages: the first 4 GiB mapped to themselves.
fn page_tables() -> Piece {
    const TABLE: u64 = 0b11;
    const PAGE_2M: u64 = 0b1000_0011;
    let mut entries = vec![0u64; 512 * 6];
    entries[0] = (PAGE_TABLES + 0x1000) | TABLE;
    for n in 0..4 {
        entries[512 + n] = (PAGE_TABLES + 0x2000 + 0x1000 * n as u64) | TABLE;
    }
    for (n, e) in entries[1024..].iter_mut().enumerate() {
        *e = (n as u64) << 21 | PAGE_2M;
    }
    Piece::new("the page tables", PAGE_TABLES, entries.iter().flat_map(|e| e.to_le_bytes()).collect())
}

/// The 64-bit entry at `rip` with the zero page.
pub fn long_entry(rip: u64) -> Entry {
    Entry::Long { rip, rsi: ZERO_PAGE, cr3: Gpa(PAGE_TABLES) }
}

/// Can this ELF file be a kernel without notes: 64-bit, an executable, loaded at or above 1 MiB but not where user
/// programs link (400000h with a page table of their own is unlikely to be physical, yet kernels exist there: only
/// dynamically linked and relocatable files are refused).
pub fn is_vmlinux(image: &[u8]) -> Result<(), LoadError> {
    use goblin::elf::header::{ET_DYN, ET_EXEC};
    let elf = Executable::parse(image)?;
    let at = elf.base().unwrap_or(0);
    match elf.kind {
        ET_EXEC if elf.wide && at >= 1 << 20 => Ok(()),
        ET_EXEC => Err(LoadError::NotKernel { what: "program", at }),
        ET_DYN => Err(LoadError::NotKernel { what: "shared object or position-independent program", at }),
        _ => Err(LoadError::NotKernel { what: "object or core file", at }),
    }
}

/// The plan for an ELF64 Linux kernel without PVH note.
pub fn plan_vmlinux(source: &Source<'_>) -> Result<Plan, LoadError> {
    is_vmlinux(source.image)?;
    let elf = Executable::parse(source.image)?;
    let mut pieces_of_kernel = elf.pieces(Kind::Vmlinux)?;
    layout::check(&pieces_of_kernel, source.ram_bytes, source.reserved)?;
    let header = synthetic_header();
    let params = Params {
        header: &header,
        kernel_end: pieces_of_kernel.iter().map(Piece::end).max().unwrap_or(0),
        code32_start: elf.base().unwrap_or(0),
        initrd_max: 0x7fff_ffff,
        cmdline_bytes: 2047,
        long: true,
    };
    pieces_of_kernel.extend(pieces(source, &params)?);
    let entry = long_entry(elf.physical_entry());
    Ok(Plan { kind: Kind::Vmlinux, pieces: pieces_of_kernel, roms: Vec::new(), entry })
}

/// A setup header for a kernel that comes without one: boot flag, "HdrS", protocol 2.12, loaded high.
fn synthetic_header() -> Vec<u8> {
    let mut h = vec![0; 0x290 - field::SETUP_SECTS];
    let mut put = |at: usize, v: &[u8]| bytes::put(&mut h, at - field::SETUP_SECTS, v);
    put(field::BOOT_FLAG, &0xaa55u16.to_le_bytes());
    put(field::HEADER, b"HdrS");
    put(field::VERSION, &0x020cu16.to_le_bytes());
    put(field::LOADFLAGS, &[1]);
    put(field::KERNEL_ALIGNMENT, &0x100_0000u32.to_le_bytes());
    h
}
