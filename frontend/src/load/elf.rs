//! ELF executables, as far as loading them goes: header, program headers, notes. goblin decodes, nothing is trusted.
//!
//! Source: System V ABI, ch. 5 "Program Loading" (segments, notes).

use super::{Kind, LoadError, Piece, bytes};
use goblin::container::{Container, Ctx, Endian};
use goblin::elf::Elf;
use goblin::elf::header::{EM_386, EM_X86_64, machine_to_str};
use goblin::elf::program_header::{PF_X, PT_LOAD, PT_NOTE, ProgramHeader};
use goblin::elf::sym::{STT_FUNC, STT_NOTYPE};

/// An ELF executable's headers.
pub struct Executable<'a> {
    image: &'a [u8],
    /// ELFCLASS64?
    pub wide: bool,
    /// `e_type`.
    pub kind: u16,
    /// `e_entry`.
    pub entry: u64,
    segments: Vec<ProgramHeader>,
}

impl<'a> Executable<'a> {
    /// Reads the headers of `image`.
    pub fn parse(image: &'a [u8]) -> Result<Executable<'a>, LoadError> {
        let malformed = |e: goblin::error::Error| LoadError::Elf(e.to_string());
        let header = Elf::parse_header(image).map_err(malformed)?;
        let wide = header.e_ident[goblin::elf::header::EI_CLASS] == goblin::elf::header::ELFCLASS64;
        let little = header.endianness().map_err(malformed)?.is_little();
        if !matches!(header.e_machine, EM_386 | EM_X86_64) || !little {
            return Err(LoadError::Machine { found: machine_to_str(header.e_machine).to_owned() });
        }
        let ctx = Ctx::new(if wide { Container::Big } else { Container::Little }, Endian::Little);
        let at = usize::try_from(header.e_phoff).map_err(|e| LoadError::Elf(e.to_string()))?;
        let entry_bytes = if wide { 56 } else { 32 };
        if header.e_phnum != 0 && header.e_phentsize != entry_bytes {
            return Err(LoadError::Elf(format!("program headers of {} bytes", header.e_phentsize)));
        }
        let segments = ProgramHeader::parse(image, at, header.e_phnum.into(), ctx).map_err(malformed)?;
        Ok(Executable { image, wide, kind: header.e_type, entry: header.e_entry, segments })
    }

    fn contents(&self, s: &ProgramHeader, kind: Kind) -> Result<&'a [u8], LoadError> {
        let end = s.p_offset.saturating_add(s.p_filesz);
        let range = usize::try_from(s.p_offset).ok().zip(usize::try_from(end).ok());
        range.and_then(|(from, to)| self.image.get(from..to)).ok_or(LoadError::Truncated {
            kind,
            what: "a segment",
            end,
            have: self.image.len() as u64,
        })
    }

    /// The loadable segments as pieces at their physical addresses.
    pub fn pieces(&self, kind: Kind) -> Result<Vec<Piece>, LoadError> {
        let loaded = self.segments.iter().filter(|s| s.p_type == PT_LOAD && s.p_memsz != 0);
        let pieces = loaded
            .map(|s| {
                let contents = self.contents(s, kind)?;
                let Some(zeros) = s.p_memsz.checked_sub(s.p_filesz) else {
                    return Err(LoadError::Elf(format!(
                        "segment at {:#x} is larger in the file than in memory",
                        s.p_paddr
                    )));
                };
                let what = if s.p_flags & PF_X != 0 { "the kernel's code" } else { "the kernel's data" };
                Ok(Piece { what, at: emu_core::Gpa(s.p_paddr), bytes: contents.to_vec(), zeros })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if pieces.is_empty() { Err(LoadError::Elf("no loadable segment".to_owned())) } else { Ok(pieces) }
    }

    /// Physical address of the first loadable segment.
    pub fn base(&self) -> Option<u64> {
        self.segments.iter().filter(|s| s.p_type == PT_LOAD).map(|s| s.p_paddr).min()
    }

    /// The entry point as a physical address: an entry given as a virtual one is translated by its segment.
    pub fn physical_entry(&self) -> u64 {
        let loads = || self.segments.iter().filter(|s| s.p_type == PT_LOAD);
        let within = |from: u64, s: &ProgramHeader| self.entry.wrapping_sub(from) < s.p_memsz;
        if loads().any(|s| within(s.p_paddr, s)) {
            return self.entry;
        }
        loads()
            .find(|s| within(s.p_vaddr, s))
            .map_or(self.entry, |s| self.entry.wrapping_sub(s.p_vaddr).wrapping_add(s.p_paddr))
    }

    /// The descriptor of the first note with this owner and type.
    pub fn note(&self, owner: &[u8], kind: u32) -> Option<&'a [u8]> {
        let notes = self.segments.iter().filter(|s| s.p_type == PT_NOTE);
        notes.filter_map(|s| self.contents(s, Kind::Pvh).ok()).find_map(|b| find_note(b, owner, kind))
    }
}

/// The GNU build id among notes.
pub(crate) fn build_id_of_notes(notes: &[u8]) -> Option<Vec<u8>> {
    const NT_GNU_BUILD_ID: u32 = 3;
    find_note(notes, b"GNU", NT_GNU_BUILD_ID).map(<[u8]>::to_vec)
}

/// The build id of an ELF file, program or library.
pub(crate) fn build_id(image: &[u8]) -> Option<Vec<u8>> {
    let file = Executable::parse(image).ok()?;
    let notes = file.segments.iter().filter(|s| s.p_type == PT_NOTE);
    notes.filter_map(|s| file.contents(s, Kind::Pvh).ok()).find_map(build_id_of_notes)
}

/// Code of an executable: begin, bytes, offset in the file.
pub(crate) fn code(image: &[u8]) -> Vec<[u64; 3]> {
    let Ok(file) = Executable::parse(image) else { return Vec::new() };
    let code = file.segments.iter().filter(|s| s.p_type == PT_LOAD && s.p_flags & PF_X != 0);
    code.map(|s| [s.p_vaddr, s.p_memsz, s.p_offset]).collect()
}

/// What an executable that is not wholly stripped calls its code.
#[derive(Clone, Debug, Default)]
pub(crate) struct Functions {
    code: Vec<[u64; 3]>,
    /// Address, bytes (0: up to the next), name; in order.
    pub all: Vec<(u64, u64, String)>,
}

impl Functions {
    /// Of `image`: its symbols, or where it is stripped those that it exports.
    pub fn of(image: &[u8]) -> Functions {
        let (code, Ok(file)) = (code(image), Elf::parse(image)) else { return Functions::default() };
        let within = |at: u64| code.iter().any(|[begin, bytes, _]| at.wrapping_sub(*begin) < *bytes);
        let named = |s: goblin::elf::Sym, names: &goblin::strtab::Strtab<'_>| {
            let label = matches!(s.st_type(), STT_FUNC | STT_NOTYPE) && within(s.st_value);
            let name = names.get_at(s.st_name).filter(|n| label && !n.is_empty())?;
            Some((s.st_value, s.st_size, name.to_owned()))
        };
        let mut all: Vec<_> = file.syms.iter().filter_map(|s| named(s, &file.strtab)).collect();
        if all.is_empty() {
            all = file.dynsyms.iter().filter_map(|s| named(s, &file.dynstrtab)).collect();
        }
        all.sort();
        Functions { code, all }
    }

    /// The function at byte `offset` of the file.
    pub fn at(&self, offset: u64) -> Option<&str> {
        let segment = self.code.iter().find(|[_, bytes, from]| offset.wrapping_sub(*from) < *bytes)?;
        let address = offset - segment[2] + segment[0];
        let after = self.all.partition_point(|(begin, ..)| *begin <= address);
        let (begin, bytes, name) = self.all[..after].last()?;
        (*bytes == 0 || address - begin < *bytes).then_some(name)
    }
}

/// Walks a note segment: name size, descriptor size, type, name, descriptor, each padded to four bytes.
fn find_note<'a>(mut b: &'a [u8], owner: &[u8], kind: u32) -> Option<&'a [u8]> {
    loop {
        let name_bytes = bytes::u32(b, 0)? as usize;
        let desc_bytes = bytes::u32(b, 4)? as usize;
        let name = b.get(12..12usize.checked_add(name_bytes)?)?;
        let desc_at = 12 + name_bytes.checked_next_multiple_of(4)?;
        let desc = b.get(desc_at..desc_at.checked_add(desc_bytes)?)?;
        if bytes::u32(b, 8)? == kind && name.strip_suffix(b"\0").unwrap_or(name) == owner {
            return Some(desc);
        }
        b = b.get(desc_at + desc_bytes.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function that is sought below.
    #[inline(never)]
    fn sought_by_its_name() -> usize {
        std::hint::black_box(7)
    }

    #[test]
    fn functions_of_this_very_program_are_found_by_their_place_in_its_file() {
        assert_eq!(sought_by_its_name(), 7);
        let image = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let functions = Functions::of(&image);
        let (address, bytes, name) =
            functions.all.iter().find(|(.., name)| name.contains("sought_by_its_name")).cloned().unwrap();
        let [begin, _, offset] = *functions.code.iter().find(|c| address.wrapping_sub(c[0]) < c[1]).unwrap();
        let at = address - begin + offset;
        assert_eq!((functions.at(at), functions.at(at + bytes - 1)), (Some(name.as_str()), Some(name.as_str())));
        assert_eq!(functions.at(u64::MAX), None);
        assert!(Functions::of(&image[..100]).all.is_empty() && build_id(b"nothing").is_none());
    }
}
