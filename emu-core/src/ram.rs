//! Guest memory: one host mapping, cut into slots at guest-physical addresses.
//!
//! A slot is RAM or ROM. The processor keeps raw pointers into the mapping (its software TLB), so the mapping never
//! moves while a [`Ram`] lives; everything else goes through the bounds-checked accessors here.
#![expect(unsafe_code, reason = "guest memory is shared with the processor by raw pointer")]

use crate::Gpa;
use memmap2::{MmapOptions, MmapRaw};
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a page.
const PAGE: u64 = 4096;
/// End of the RAM below the hole for devices; what does not fit continues at 4 GiB.
const LOW_LIMIT: u64 = 3 << 30;
const HIGH_BASE: u64 = 4 << 30;

/// A run of guest-physical memory backed by the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// First guest-physical address, page aligned.
    pub base: Gpa,
    /// Length in bytes, a multiple of 4096.
    pub bytes: u64,
    /// Where it starts in the host mapping, in bytes.
    pub offset: u64,
    /// False for ROM: guest writes are dropped.
    pub writable: bool,
}

/// Why guest memory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RamError {
    /// The host refused the mapping.
    #[error("cannot map {bytes:#x} bytes of guest memory")]
    Map {
        /// How much was asked for.
        bytes: u64,
        /// What the host said.
        source: std::io::Error,
    },
    /// A ROM's base or length is not a multiple of 4096, or RAM is smaller than 1 MiB.
    #[error("memory of {bytes:#x} bytes at {base} is not made of whole pages, or is too small")]
    Shape {
        /// Where.
        base: Gpa,
        /// How much.
        bytes: u64,
    },
    /// Two slots share an address.
    #[error("memory at {a} overlaps memory at {b}")]
    Overlap {
        /// The first of the two.
        a: Gpa,
        /// The second.
        b: Gpa,
    },
}

/// All guest memory.
pub struct Ram {
    map: MmapRaw,
    slots: Vec<Slot>,
    ram_bytes: u64,
    watchers: Vec<AtomicU32>,
}

impl Ram {
    /// `ram_bytes` of RAM from address 0 (below 3 GiB, the rest from 4 GiB), and the ROMs `(base, contents)`, whose
    /// contents are padded with FFh to whole pages at their end.
    ///
    /// # Errors
    /// `Shape` when a size or a base is not page aligned or RAM is below 1 MiB; `Overlap` when a ROM meets RAM or
    /// another ROM; `Map` when the host has no memory.
    pub fn new(ram_bytes: u64, roms: &[(Gpa, &[u8])]) -> Result<Ram, RamError> {
        if !ram_bytes.is_multiple_of(PAGE) || ram_bytes < 1 << 20 {
            return Err(RamError::Shape { base: Gpa(0), bytes: ram_bytes });
        }
        let low = ram_bytes.min(LOW_LIMIT);
        let mut slots = vec![Slot { base: Gpa(0), bytes: low, offset: 0, writable: true }];
        if ram_bytes > low {
            slots.push(Slot { base: Gpa(HIGH_BASE), bytes: ram_bytes - low, offset: low, writable: true });
        }
        let mut total = ram_bytes;
        for (base, contents) in roms {
            let bytes = (contents.len() as u64).next_multiple_of(PAGE);
            if base.0 % PAGE != 0 || bytes == 0 || base.0.checked_add(bytes).is_none() {
                return Err(RamError::Shape { base: *base, bytes });
            }
            if let Some(other) = slots.iter().find(|s| base.0 < s.base.0 + s.bytes && s.base.0 < base.0 + bytes) {
                return Err(RamError::Overlap { a: other.base, b: *base });
            }
            slots.push(Slot { base: *base, bytes, offset: total, writable: false });
            total += bytes;
        }
        let host_bytes = usize::try_from(total).map_err(|_| RamError::Shape { base: Gpa(0), bytes: total })?;
        let map = MmapOptions::new()
            .len(host_bytes)
            .no_reserve_swap()
            .map_anon()
            .map_err(|source| RamError::Map { bytes: total, source })?
            .into();
        let watchers = (0..host_bytes / PAGE as usize).map(|_| AtomicU32::new(0)).collect();
        let ram = Ram { map, slots, ram_bytes, watchers };
        for ((_, contents), slot) in roms.iter().zip(ram.slots.iter().filter(|s| !s.writable)) {
            let at = slot.offset as usize;
            // SAFETY: the slot was sized from `contents` above and lies within the mapping; nobody else has it yet.
            unsafe {
                let host = ram.host().add(at);
                std::ptr::write_bytes(host, 0xff, slot.bytes as usize);
                std::ptr::copy_nonoverlapping(contents.as_ptr(), host, contents.len());
            }
        }
        Ok(ram)
    }

    /// Bytes of RAM, ROMs not counted.
    pub fn ram_bytes(&self) -> u64 {
        self.ram_bytes
    }

    /// Bytes of the whole host mapping, ROMs included; a multiple of 4096.
    pub fn mapped_bytes(&self) -> u64 {
        self.slots.iter().map(|s| s.bytes).sum()
    }

    /// The slots: RAM first, by address, then the ROMs in the order given.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The slot that holds `at`.
    #[inline]
    pub fn slot(&self, at: Gpa) -> Option<&Slot> {
        self.slots.iter().find(|s| at.0.wrapping_sub(s.base.0) < s.bytes)
    }

    /// First byte of the host mapping. Valid, and never moved, for as long as `self` lives.
    #[inline]
    pub fn host(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    /// Who holds something derived from the contents of host page `page` (offset in the mapping / 4096): one bit a
    /// watcher. A write to a watched page must be told to its watchers.
    #[inline]
    pub fn watchers(&self, page: usize) -> u32 {
        self.watchers[page].load(Ordering::Relaxed)
    }

    /// Adds (`on`) or removes the bits `who` to the watchers of host page `page`.
    pub fn watch(&self, page: usize, who: u32, on: bool) {
        if on {
            self.watchers[page].fetch_or(who, Ordering::Relaxed);
        } else {
            self.watchers[page].fetch_and(!who, Ordering::Relaxed);
        }
    }

    #[inline]
    fn run(&self, at: Gpa, bytes: usize) -> Option<(&Slot, *mut u8)> {
        let slot = self.slot(at)?;
        let into = at.0 - slot.base.0;
        if slot.bytes - into < bytes as u64 {
            return None;
        }
        // SAFETY: `into + bytes` is within the slot, and every slot lies within the mapping.
        Some((slot, unsafe { self.host().add((slot.offset + into) as usize) }))
    }

    /// Copies guest memory from `at` into `to`. False, and nothing copied, unless one slot holds all of it.
    #[must_use]
    pub fn read(&self, at: Gpa, to: &mut [u8]) -> bool {
        let Some((_, host)) = self.run(at, to.len()) else { return false };
        // SAFETY: `run` checked the range; `to` is host memory outside the mapping.
        unsafe { std::ptr::copy_nonoverlapping(host, to.as_mut_ptr(), to.len()) };
        true
    }

    /// Copies `from` into guest RAM at `at`. False, and nothing copied, unless one writable slot holds all of it.
    ///
    /// For loaders, and for devices through [`crate::Cx`], which tells the processors; not for the processor itself.
    #[must_use]
    pub fn write(&self, at: Gpa, from: &[u8]) -> bool {
        match self.run(at, from.len()) {
            Some((slot, host)) if slot.writable => {
                // SAFETY: `run` checked the range; `from` is host memory outside the mapping.
                unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), host, from.len()) };
                true
            }
            _ => false,
        }
    }

    /// A little-endian `u64` at `at`, `None` outside memory.
    #[inline]
    pub fn read_u64(&self, at: Gpa) -> Option<u64> {
        let (_, host) = self.run(at, 8)?;
        // SAFETY: `run` checked the range.
        Some(u64::from_le(unsafe { host.cast::<u64>().read_unaligned() }))
    }

    /// A little-endian `u32` at `at`, `None` outside memory.
    #[inline]
    pub fn read_u32(&self, at: Gpa) -> Option<u32> {
        let (_, host) = self.run(at, 4)?;
        // SAFETY: `run` checked the range.
        Some(u32::from_le(unsafe { host.cast::<u32>().read_unaligned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_above_three_gib_continues_at_four() {
        let ram = Ram::new((3 << 30) + 4096, &[]).unwrap();
        assert!(ram.write(Gpa(4 << 30), &[7; 8]));
        assert_eq!(ram.read_u64(Gpa(4 << 30)), Some(0x0707_0707_0707_0707));
        assert!(!ram.write(Gpa(3 << 30), &[1]));
        assert!(!ram.write(Gpa((4 << 30) + 4095), &[1, 2]));
    }

    #[test]
    fn a_rom_reads_and_drops_writes() {
        let ram = Ram::new(1 << 20, &[(Gpa(0xffff_f000), &[1, 2, 3])]).unwrap();
        let mut b = [0; 4];
        assert!(ram.read(Gpa(0xffff_f000), &mut b));
        assert_eq!(b, [1, 2, 3, 0xff]);
        assert!(!ram.write(Gpa(0xffff_f000), &[0]));
    }

    #[test]
    fn a_rom_over_ram_is_refused() {
        assert!(matches!(Ram::new(1 << 20, &[(Gpa(0), &[0])]), Err(RamError::Overlap { .. })));
    }
}
