//! The PVH entry: an ELF kernel that starts in 32-bit protected mode with EBX at a `hvm_start_info`.
//!
//! Source: Xen, `docs/misc/pvh.pandoc` (register state) and `xen/include/public/arch-x86/hvm/start_info.h` (structures,
//! version 1); `xen/include/public/elfnote.h` (XEN_ELFNOTE_PHYS32_ENTRY = 18).

use super::elf::Executable;
use super::layout::{self, START_INFO, memory_map, place_high};
use super::{Entry, Kind, LoadError, Piece, Plan, Source, bytes};

const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;
const XEN_HVM_START_MAGIC_VALUE: u32 = 0x336e_c578;

/// Does this ELF file have the note?
pub fn is(image: &[u8]) -> Result<bool, LoadError> {
    Ok(entry(&Executable::parse(image)?).is_some())
}

/// The entry point in the note: 4 or 8 bytes, a physical address below 4 GiB.
fn entry(elf: &Executable<'_>) -> Option<u32> {
    let desc = elf.note(b"Xen", XEN_ELFNOTE_PHYS32_ENTRY)?;
    match desc.len() {
        4 => bytes::u32(desc, 0),
        _ => bytes::u64(desc, 0).and_then(|v| u32::try_from(v).ok()),
    }
}

/// The plan for a PVH kernel.
pub fn plan(source: &Source<'_>) -> Result<Plan, LoadError> {
    let elf = Executable::parse(source.image)?;
    let Some(eip) = entry(&elf) else {
        return Err(LoadError::Elf("no note XEN_ELFNOTE_PHYS32_ENTRY".to_owned()));
    };
    let mut pieces = elf.pieces(Kind::Pvh)?;
    let kernel_end = pieces.iter().map(Piece::end).max().unwrap_or(0);
    layout::check(&pieces, source.ram_bytes, source.reserved)?;
    let module = match source.initrd {
        None => None,
        Some(initrd) => {
            let bytes = initrd.len() as u64;
            let at = place_high("the initrd", bytes, kernel_end, layout::HIGH_BASE, source.ram_bytes, source.reserved)?;
            pieces.push(Piece::new("the initrd", at, initrd.to_vec()));
            Some((at, bytes))
        }
    };
    pieces.push(layout::command_line(source.append, layout::COMMAND_LINE_BYTES)?);
    pieces.push(start_info(source, module));
    Ok(Plan {
        kind: Kind::Pvh,
        pieces,
        roms: Vec::new(),
        entry: Entry::Protected { eip, eax: 0, ebx: START_INFO as u32, esi: 0 },
    })
}

/// `hvm_start_info`, then one `hvm_modlist_entry`, then the memory map.
fn start_info(source: &Source<'_>, module: Option<(u64, u64)>) -> Piece {
    let (modules_at, map_at) = (START_INFO + 0x40, START_INFO + 0x60);
    let map = memory_map(source.ram_bytes, source.reserved);
    let mut b = Vec::new();
    b.extend(XEN_HVM_START_MAGIC_VALUE.to_le_bytes());
    b.extend(1u32.to_le_bytes());
    b.extend(0u32.to_le_bytes());
    b.extend(u32::from(module.is_some()).to_le_bytes());
    b.extend((if module.is_some() { modules_at } else { 0 }).to_le_bytes());
    b.extend(layout::COMMAND_LINE.to_le_bytes());
    b.extend(source.rsdp.0.to_le_bytes());
    b.extend(map_at.to_le_bytes());
    b.extend((map.len() as u32).to_le_bytes());
    b.resize(0x40, 0);
    let (at, bytes) = module.unwrap_or((0, 0));
    b.extend(at.to_le_bytes());
    b.extend(bytes.to_le_bytes());
    b.resize(0x60, 0);
    for s in &map {
        b.extend(s.base.to_le_bytes());
        b.extend(s.bytes.to_le_bytes());
        b.extend((s.kind as u32).to_le_bytes());
        b.extend([0; 4]);
    }
    Piece::new("the start info", START_INFO, b)
}
