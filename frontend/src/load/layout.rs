//! Where things lie in guest-physical memory: the map given to the guest and the loaders' own places in low memory.
//!
//! Source of the map's shape: ACPI 6.5, 15 "System Address Map Interfaces"; IBM PC conventions below 1 MiB (EBDA at
//! 9FC00h, ROM area from E0000h).

use super::{LoadError, Piece};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// End of the low RAM's range and start of the high one: as `emu_core::Ram` lays memory out.
const LOW_LIMIT: u64 = 3 * GIB;
/// Start of the RAM that did not fit below.
pub const HIGH_BASE: u64 = 4 * GIB;

/// The start info structures of PVH and multiboot.
pub const START_INFO: u64 = 0x6000;
/// The Linux zero page.
pub const ZERO_PAGE: u64 = 0x7000;
/// A GDT for the entry states.
pub const GDT: u64 = 0x8000;
/// Six pages of identity page tables.
pub const PAGE_TABLES: u64 = 0x9000;
/// Command line, up to 64 KiB.
pub const COMMAND_LINE: u64 = 0x2_0000;
/// Longest command line that fits there, zero byte not counted.
pub const COMMAND_LINE_BYTES: u64 = 0xffff;

/// What a span of addresses is, with the numbers of the E820 interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Use {
    /// RAM free for the guest.
    Ram = 1,
    /// Not to be touched.
    Reserved = 2,
    /// ACPI tables.
    Acpi = 3,
    /// ACPI non-volatile storage.
    Nvs = 4,
}

/// A span of guest-physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First address.
    pub base: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// What it is.
    pub kind: Use,
}

impl Span {
    /// First address after it.
    pub fn end(&self) -> u64 {
        self.base.saturating_add(self.bytes)
    }
}

/// End of the RAM below the device hole.
pub fn low_end(ram_bytes: u64) -> u64 {
    ram_bytes.min(LOW_LIMIT)
}

/// The address map of a machine with `ram_bytes` of RAM, `reserved` cut out of it: sorted, disjoint.
pub fn memory_map(ram_bytes: u64, reserved: &[Span]) -> Vec<Span> {
    let ram = |base: u64, end: u64| Span { base, bytes: end.saturating_sub(base), kind: Use::Ram };
    let low = low_end(ram_bytes);
    let mut map = vec![ram(0, 0x9_fc00), ram(MIB, low), ram(HIGH_BASE, HIGH_BASE + ram_bytes.saturating_sub(low))];
    map.push(Span { base: 0x9_fc00, bytes: 0x400, kind: Use::Reserved });
    map.push(Span { base: 0xe_0000, bytes: 0x2_0000, kind: Use::Reserved });
    for cut in reserved.iter().filter(|s| s.bytes != 0) {
        map = map.iter().flat_map(|s| without(s, cut)).collect();
        map.push(*cut);
    }
    map.retain(|s| s.bytes != 0);
    map.sort_by_key(|s| s.base);
    map
}

/// What remains of `span` when `cut` is taken out of it.
fn without(span: &Span, cut: &Span) -> [Span; 2] {
    let part = |base: u64, end: u64| Span { base, bytes: end.saturating_sub(base), kind: span.kind };
    [part(span.base, span.end().min(cut.base.max(span.base))), part(span.base.max(cut.end()), span.end())]
}

/// Highest page-aligned place for `bytes` in low RAM, not below `floor` and ending at or below `ceiling`.
pub fn place_high(
    what: &'static str,
    bytes: u64,
    floor: u64,
    ceiling: u64,
    ram_bytes: u64,
    reserved: &[Span],
) -> Result<u64, LoadError> {
    let floor = floor.max(MIB);
    let map = memory_map(ram_bytes, reserved);
    let free = map.iter().filter(|s| s.kind == Use::Ram && s.base < HIGH_BASE);
    let place = |s: &Span| {
        let at = s.end().min(ceiling).checked_sub(bytes)? & !0xfff;
        (at >= s.base.max(floor)).then_some(at)
    };
    free.filter_map(place).max().ok_or_else(|| LoadError::Memory {
        what,
        end: floor.checked_next_multiple_of(4096).unwrap_or(u64::MAX).saturating_add(bytes),
        limit: low_end(ram_bytes).min(ceiling),
    })
}

/// A command line with its zero byte, as a piece.
pub fn command_line(append: &str, limit: u64) -> Result<Piece, LoadError> {
    let limit = limit.min(COMMAND_LINE_BYTES);
    if append.len() as u64 > limit {
        return Err(LoadError::CommandLine { bytes: append.len() as u64, limit });
    }
    if append.contains('\0') {
        return Err(LoadError::CommandLineZero);
    }
    let mut bytes = append.as_bytes().to_vec();
    bytes.push(0);
    Ok(Piece::new("the command line", COMMAND_LINE, bytes))
}

/// Everything lies in RAM, outside firmware's spans, and nothing on anything else.
pub fn check(pieces: &[Piece], ram_bytes: u64, reserved: &[Span]) -> Result<(), LoadError> {
    let low = low_end(ram_bytes);
    let high = HIGH_BASE + (ram_bytes - low);
    let mut sorted: Vec<(u64, u64, &'static str)> = Vec::new();
    for p in pieces.iter().filter(|p| p.end() > p.at.0) {
        let limit = if p.at.0 >= HIGH_BASE { high } else { low };
        if p.end() > limit {
            return Err(LoadError::Memory { what: p.what, end: p.end(), limit });
        }
        sorted.push((p.at.0, p.end(), p.what));
    }
    let tables = reserved.iter().filter(|s| s.bytes != 0);
    sorted.extend(tables.map(|s| (s.base, s.end(), "the firmware's tables")));
    sorted.sort_unstable();
    match sorted.windows(2).find(|w| w[0].1 > w[1].0) {
        Some(w) => Err(LoadError::Overlap { a: w[0].2, b: w[1].2, at: w[1].0 }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_of_four_gib_has_a_hole_for_devices() {
        let map = memory_map(4 * GIB, &[]);
        let ram: Vec<_> = map.iter().filter(|s| s.kind == Use::Ram).map(|s| (s.base, s.end())).collect();
        assert_eq!(ram, [(0, 0x9_fc00), (MIB, 3 * GIB), (4 * GIB, 5 * GIB)]);
    }

    #[test]
    fn a_reserved_span_is_cut_out_of_ram_and_listed() {
        let cut = Span { base: 0x30_0000, bytes: 0x1_0000, kind: Use::Acpi };
        let map = memory_map(8 * MIB, &[cut]);
        assert!(map.contains(&cut));
        assert!(map.contains(&Span { base: MIB, bytes: 0x20_0000, kind: Use::Ram }));
        assert!(map.contains(&Span { base: 0x31_0000, bytes: 0x4f_0000, kind: Use::Ram }));
        assert!(map.windows(2).all(|w| w[0].end() <= w[1].base), "{map:?}");
    }

    #[test]
    fn a_span_that_covers_the_end_of_ram_shortens_it() {
        let cut = Span { base: 7 * MIB, bytes: 16 * MIB, kind: Use::Reserved };
        let map = memory_map(8 * MIB, &[cut]);
        assert_eq!(map.last(), Some(&cut));
        assert!(map.contains(&Span { base: MIB, bytes: 6 * MIB, kind: Use::Ram }));
    }

    #[test]
    fn the_highest_place_is_below_the_tables_and_the_ceiling() {
        let cut = Span { base: 0x70_0000, bytes: MIB, kind: Use::Acpi };
        assert_eq!(place_high("x", 0x1001, 0, u64::MAX, 8 * MIB, &[cut]), Ok(0x6f_e000));
        assert_eq!(place_high("x", 0x1001, 0, 0x40_0000, 8 * MIB, &[cut]), Ok(0x3f_e000));
        assert!(place_high("x", 0x1001, 0x6f_f000, u64::MAX, 8 * MIB, &[cut]).is_err());
        assert!(place_high("x", u64::MAX, 0, u64::MAX, 8 * MIB, &[cut]).is_err());
        assert!(place_high("x", 1, u64::MAX, u64::MAX, 8 * MIB, &[cut]).is_err());
    }
}
