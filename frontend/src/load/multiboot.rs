//! Multiboot 1: a header in the first 8 KiB, an ELF or flat image, EBX at an information structure.
//!
//! Source: Multiboot Specification 0.6.96, 3.1 (header), 3.2 (machine state), 3.3 (information).

use super::elf::Executable;
use super::layout::{self, START_INFO, memory_map};
use super::{Entry, Kind, LoadError, Piece, Plan, Source, Use, bytes};

const HEADER_MAGIC: u32 = 0x1bad_b002;
const LOADER_MAGIC: u32 = 0x2bad_b002;
/// The header must lie in the first 8192 bytes, on a four-byte boundary.
const SEARCH_BYTES: usize = 8192;
/// Header flag: load addresses are given (the "a.out kludge").
const ADDRESSES: u32 = 1 << 16;
/// Header flags 0 to 15 that we can satisfy: modules on page boundaries, memory information. Bit 2 asks for a video
/// mode; there is no screen, and we say so by leaving the mode out of the information.
const SATISFIED: u32 = 0b111;

/// Offset of the header in the file.
fn header(image: &[u8]) -> Option<usize> {
    let last = image.len().min(SEARCH_BYTES).checked_sub(12)?;
    (0..=last).step_by(4).find(|&at| {
        let field = |n: usize| bytes::u32(image, at + 4 * n).unwrap_or(0);
        field(0) == HEADER_MAGIC && field(0).wrapping_add(field(1)).wrapping_add(field(2)) == 0
    })
}

/// Does the image have the header?
pub fn is(image: &[u8]) -> bool {
    header(image).is_some()
}

/// The plan for a multiboot kernel.
pub fn plan(source: &Source<'_>) -> Result<Plan, LoadError> {
    let bad = |what, value: u32, why| LoadError::Header { kind: Kind::Multiboot, what, value: value.into(), why };
    let Some(at) = header(source.image) else {
        return Err(bad("the header magic", 0, "there is no multiboot header in the first 8 KiB"));
    };
    let flags = bytes::u32(source.image, at + 4).unwrap_or(0);
    if flags & 0xffff & !SATISFIED != 0 {
        return Err(bad("flags", flags, "it requires features that this loader lacks"));
    }
    let (mut pieces, entry) = if flags & ADDRESSES != 0 { flat(source.image, at)? } else { executable(source.image)? };
    let eip = u32::try_from(entry).map_err(|_| LoadError::Header {
        kind: Kind::Multiboot,
        what: "the entry point",
        value: entry,
        why: "it must lie below 4 GiB",
    })?;
    let kernel_end = pieces.iter().map(Piece::end).max().unwrap_or(0);
    // A kernel that ends beyond 2^62 is refused with the plan: no memory reaches there.
    let module = source.initrd.map(|b| (kernel_end.clamp(1 << 20, 1 << 62).next_multiple_of(4096), b));
    if let Some((at, b)) = module {
        pieces.push(Piece::new("the module", at, b.to_vec()));
    }
    let line = format!("kernel {}", source.append);
    pieces.push(layout::command_line(line.trim_end(), layout::COMMAND_LINE_BYTES)?);
    pieces.push(information(source, module.map(|(at, b)| (at, at + b.len() as u64))));
    let entry = Entry::Protected { eip, eax: LOADER_MAGIC, ebx: START_INFO as u32, esi: 0 };
    Ok(Plan { kind: Kind::Multiboot, pieces, roms: Vec::new(), entry })
}

fn executable(image: &[u8]) -> Result<(Vec<Piece>, u64), LoadError> {
    let elf = Executable::parse(image)?;
    Ok((elf.pieces(Kind::Multiboot)?, elf.physical_entry()))
}

/// An image that says itself where it goes: header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr.
fn flat(image: &[u8], at: usize) -> Result<(Vec<Piece>, u64), LoadError> {
    let truncated =
        |what, end: u64| LoadError::Truncated { kind: Kind::Multiboot, what, end, have: image.len() as u64 };
    let bad = |what, value: u32, why| LoadError::Header { kind: Kind::Multiboot, what, value: value.into(), why };
    let field = |n: usize| bytes::u32(image, at + 12 + 4 * n).ok_or(truncated("the header", at as u64 + 32));
    let (header_addr, load_addr, load_end, bss_end, entry) = (field(0)?, field(1)?, field(2)?, field(3)?, field(4)?);
    let Some(before) = header_addr.checked_sub(load_addr) else {
        return Err(bad("load_addr", load_addr, "it lies above header_addr"));
    };
    let Some(start) = at.checked_sub(before as usize) else {
        return Err(bad("load_addr", load_addr, "the text would start before the file"));
    };
    let loaded = match load_end {
        0 => image.len() - start,
        end => end.checked_sub(load_addr).ok_or(bad("load_end_addr", end, "it lies below load_addr"))? as usize,
    };
    let contents = image.get(start..start + loaded).ok_or(truncated("the text and data", (start + loaded) as u64))?;
    let text_end = u64::from(load_addr) + loaded as u64;
    let zeros = match bss_end {
        0 => 0,
        end => u64::from(end).checked_sub(text_end).ok_or(bad("bss_end_addr", end, "it lies below the data's end"))?,
    };
    let mut piece = Piece::new("the kernel", load_addr.into(), contents.to_vec());
    piece.zeros = zeros;
    Ok((vec![piece], entry.into()))
}

/// The information structure, one module entry at +80h, the memory map at +A0h, strings at +400h.
fn information(source: &Source<'_>, module: Option<(u64, u64)>) -> Piece {
    const FLAGS: u32 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9;
    let (module_at, map_at, name_at) = (START_INFO + 0x80, START_INFO + 0xa0, START_INFO + 0x400);
    let map = memory_map(source.ram_bytes, source.reserved);
    let ram_kib = |base: u64| map.iter().find(|s| s.kind == Use::Ram && s.base == base).map_or(0, |s| s.bytes >> 10);
    let mut b = vec![0; 0x400];
    let mut put = |at: usize, v: u64| bytes::put(&mut b, at, &(v as u32).to_le_bytes());
    put(0, FLAGS.into());
    put(4, ram_kib(0));
    put(8, ram_kib(1 << 20));
    put(16, layout::COMMAND_LINE);
    put(20, module.is_some().into());
    put(24, module_at);
    put(44, map.len() as u64 * 24);
    put(48, map_at);
    put(64, name_at);
    if let Some((start, end)) = module {
        put(0x80, start);
        put(0x84, end);
        put(0x88, name_at + 16);
    }
    for (n, s) in map.iter().take(32).enumerate() {
        let at = 0xa0 + n * 24;
        bytes::put(&mut b, at, &20u32.to_le_bytes());
        bytes::put(&mut b, at + 4, &s.base.to_le_bytes());
        bytes::put(&mut b, at + 12, &s.bytes.to_le_bytes());
        bytes::put(&mut b, at + 20, &(s.kind as u32).to_le_bytes());
    }
    b.extend(b"unhalted\0\0\0\0\0\0\0\0module\0");
    Piece::new("the multiboot information", START_INFO, b)
}
