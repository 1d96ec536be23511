//! Paging: from a linear address to a guest-physical one, with the rights of the page.
//!
//! Source: SDM vol. 3A, ch. 4: 4.3 (32-bit), 4.4 (PAE), 4.5 (4-level and 5-level), 4.6 (access rights), 4.7 (error codes), 4.8
//! (accessed and dirty flags).

use crate::fault::{Exception, Stop};
use crate::memory::Access;
use crate::monitor::{Happening, Walked};
use crate::state::{Cpu, cr0, cr4, efer};
use emu_core::Gpa;

/// Bits of a paging-structure entry.
mod entry {
    pub const P: u64 = 1;
    pub const W: u64 = 2;
    pub const U: u64 = 4;
    pub const A: u64 = 1 << 5;
    pub const D: u64 = 1 << 6;
    pub const PS: u64 = 1 << 7;
    pub const G: u64 = 1 << 8;
    pub const NX: u64 = 1 << 63;
    /// Address bits 51:12.
    pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
}

/// Bits of the #PF error code.
mod error {
    pub const P: u32 = 1;
    pub const W: u32 = 2;
    pub const U: u32 = 4;
    pub const RSVD: u32 = 8;
    pub const I: u32 = 16;
    pub const PK: u32 = 32;
}

/// Physical address bits this processor has (CPUID.80000008H:EAX[7:0]).
pub const MAXPHYADDR: u32 = 46;
/// Bits 62:59 of an entry that maps a page: its protection key.
const KEY_SHIFT: u32 = 59;
const BEYOND: u64 = entry::ADDRESS & !((1 << MAXPHYADDR) - 1);

/// Where a page is, and what may be done with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// The byte asked for.
    pub at: Gpa,
    /// Writes are allowed by every level (CR0.WP is not applied).
    pub writable: bool,
    /// Survives a CR3 write.
    pub global: bool,
    /// The dirty bit is set: a later write need not walk again.
    pub dirty: bool,
    /// log2 of the page's bytes.
    pub shift: u32,
}

/// Who makes an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// CPL 3, and not an implicit supervisor access.
    pub user: bool,
    /// A supervisor that may touch user pages: SMAP off, or RFLAGS.AC set and the access explicit.
    pub may_touch_user: bool,
}

/// Is `at` canonical with 48 linear address bits, or with 57?
pub(crate) const fn canonical_in(at: u64, la57: bool) -> bool {
    let unused = if la57 { 7 } else { 16 };
    ((at << unused) as i64 >> unused) as u64 == at
}

/// Can `at` be the base of a segment or descriptor table, or stand in an MSR? Those take what is canonical with 57 bits
/// whatever the paging mode. Source: Linux, arch/x86/kvm/x86.h (`is_noncanonical_address`), of processors with LA57.
pub(crate) const fn storable(at: u64) -> bool {
    canonical_in(at, true)
}

/// What a protection key forbids.
#[derive(Clone, Copy, Default)]
struct KeyRights {
    access_disabled: bool,
    write_disabled: bool,
}

impl Cpu {
    /// Is 5-level paging on?
    pub(crate) fn la57(&self) -> bool {
        self.cr4 & cr4::LA57 != 0
    }

    /// Is `at` canonical for the paging in use?
    #[inline]
    pub(crate) fn canonical(&self, at: u64) -> bool {
        canonical_in(at, self.la57())
    }

    fn entry_read(&self, at: u64, wide: bool) -> Option<u64> {
        if wide { self.ram.read_u64(Gpa(at)) } else { self.ram.read_u32(Gpa(at)).map(u64::from) }
    }

    fn entry_mark(&mut self, at: u64, wide: bool, value: u64) {
        let bytes = value.to_le_bytes();
        let _ = self.ram.write(Gpa(at), &bytes[..if wide { 8 } else { 4 }]);
    }

    /// Walks the paging structures for `access` to `at` by `who`, checks rights, sets accessed and dirty flags.
    ///
    /// # Errors
    /// #PF.
    pub(crate) fn walk(&mut self, at: u64, access: Access, who: Who) -> Result<Page, Stop> {
        if self.cr0 & cr0::PG == 0 {
            let at = Gpa(at & 0xffff_ffff);
            return Ok(Page { at, writable: true, global: true, dirty: true, shift: 12 });
        }
        let pae = self.cr4 & cr4::PAE != 0;
        let nxe = self.efer & efer::NXE != 0;
        let may_report_fetch = pae && nxe || self.cr4 & cr4::SMEP != 0;
        let fault = |code: u32| {
            let w = if access == Access::Write { error::W } else { 0 };
            let u = if who.user { error::U } else { 0 };
            let fetch = access == Access::Execute && may_report_fetch;
            let i = if fetch { error::I } else { 0 };
            Err(Stop::Exception(Exception::page(at, code | w | u | i)))
        };
        let (mut table, mut shift) = if self.long_mode() {
            (self.cr3 & entry::ADDRESS, if self.la57() { 48 } else { 39 })
        } else if pae {
            let pdpte = self.pdpte[(at >> 30) as usize & 3];
            if pdpte & entry::P == 0 {
                return fault(0);
            }
            (pdpte & entry::ADDRESS, 21)
        } else {
            (self.cr3 & 0xffff_f000, 22)
        };
        let bits = if pae { 9 } else { 10 };
        let wide = pae;
        let (mut rights, mut nx) = (entry::W | entry::U, false);
        loop {
            let slot = table + ((at >> shift) & ((1 << bits) - 1)) * if wide { 8 } else { 4 };
            let Some(e) = self.entry_read(slot, wide) else { return fault(error::P | error::RSVD) };
            if e & entry::P == 0 {
                return fault(0);
            }
            let large = e & entry::PS != 0
                && match shift {
                    30 | 21 => true,
                    22 => self.cr4 & cr4::PSE != 0,
                    _ => false,
                };
            if wide && self.reserved(e, shift, large, nxe) {
                return fault(error::P | error::RSVD);
            }
            rights &= e;
            nx |= wide && nxe && e & entry::NX != 0;
            let leaf = large || shift == 12;
            if !leaf {
                if e & entry::A == 0 {
                    self.entry_mark(slot, wide, e | entry::A);
                }
                table = if wide { e & entry::ADDRESS } else { e & 0xffff_f000 };
                shift -= bits;
                continue;
            }
            let key = self.key_rights(e, access, rights & entry::U != 0);
            let barred = key.access_disabled || access == Access::Write && key.write_disabled && self.obeys_write(who);
            if barred || !self.permitted(access, who, rights, nx) {
                return fault(error::P | if barred { error::PK } else { 0 });
            }
            let marked = e | entry::A | if access == Access::Write { entry::D } else { 0 };
            if marked != e {
                self.entry_mark(slot, wide, marked);
                self.happened(Happening::MarkedPage);
            }
            let inside = at & ((1 << shift) - 1);
            let base = match (wide, shift) {
                (false, 22) => (e & 0xffc0_0000) | (e >> 13 & 0xff) << 32,
                (false, _) => e & 0xffff_f000,
                _ => e & entry::ADDRESS & !((1 << shift) - 1),
            };
            return Ok(Page {
                at: Gpa(base | inside),
                writable: rights & entry::W != 0 && !key.write_disabled,
                global: e & entry::G != 0 && self.cr4 & cr4::PGE != 0,
                dirty: marked & entry::D != 0,
                shift,
            });
        }
    }

    /// The translation of `at` and the entries it goes through, without checks or marks; the default when there is none.
    pub(crate) fn walk_quietly(&self, at: u64) -> Walked {
        let mut walked = Walked { shift: 12, ..Walked::default() };
        if self.cr0 & cr0::PG == 0 {
            return walked;
        }
        let wide = self.cr4 & cr4::PAE != 0;
        let (mut table, mut shift) = if self.long_mode() {
            (self.cr3 & entry::ADDRESS, if self.la57() { 48 } else { 39 })
        } else if wide {
            (self.pdpte[(at >> 30) as usize & 3] & entry::ADDRESS, 21)
        } else {
            (self.cr3 & 0xffff_f000, 22)
        };
        let bits = if wide { 9 } else { 10 };
        loop {
            let slot = table + ((at >> shift) & ((1 << bits) - 1)) * if wide { 8 } else { 4 };
            let e = self.entry_read(slot, wide).unwrap_or(0);
            if e & entry::P == 0 {
                return Walked::default();
            }
            walked.entries[walked.levels as usize] = slot;
            walked.levels += 1;
            let large = e & entry::PS != 0 && (shift == 30 || shift == 21 || shift == 22 && self.cr4 & cr4::PSE != 0);
            if large || shift == 12 {
                walked.shift = shift;
                walked.global = e & entry::G != 0 && self.cr4 & cr4::PGE != 0;
                return walked;
            }
            table = if wide { e & entry::ADDRESS } else { e & 0xffff_f000 };
            shift -= bits;
        }
    }

    /// Are reserved bits set in an 8-byte entry at the level that maps `1 << shift` bytes?
    fn reserved(&self, e: u64, shift: u32, large: bool, nxe: bool) -> bool {
        let mut mask = BEYOND | if nxe { 0 } else { entry::NX };
        if large {
            // Bit 12 is PAT; address bits below the page size must be zero.
            mask |= ((1 << shift) - 1) & entry::ADDRESS & !(1 << 12);
        } else if shift >= 39 {
            mask |= entry::PS;
        }
        if !self.long_mode() {
            mask |= 0x7ff0_0000_0000_0000;
        }
        e & mask != 0
    }

    /// What the protection key of the entry that maps a page forbids for data; keys are those of user pages, in IA-32e
    /// mode with CR4.PKE. The key is remembered: see [`Cpu::set_pkru`]. Source: SDM vol. 3A, 4.6.2.
    fn key_rights(&mut self, e: u64, access: Access, user_page: bool) -> KeyRights {
        if self.cr4 & cr4::PKE == 0 || !self.long_mode() || !user_page || access == Access::Execute {
            return KeyRights::default();
        }
        let key = e >> KEY_SHIFT & 15;
        self.spaces.note_key(key as u32);
        let rights = self.pkru >> (2 * key);
        KeyRights { access_disabled: rights & 1 != 0, write_disabled: rights & 2 != 0 }
    }

    /// Does a page that is not writable stop writes by `who`?
    fn obeys_write(&self, who: Who) -> bool {
        who.user || self.cr0 & cr0::WP != 0
    }

    /// Writes PKRU: translations of pages with the keys that changed are forgotten.
    pub(crate) fn set_pkru(&mut self, v: u32) {
        let changed = self.pkru ^ v;
        self.pkru = v;
        if self.cr4 & cr4::PKE != 0 && self.spaces.uses_keys(changed) {
            self.forget_data();
        }
    }

    /// Access rights of a translation. Source: SDM vol. 3A, 4.6.1.
    fn permitted(&self, access: Access, who: Who, rights: u64, nx: bool) -> bool {
        let user_page = rights & entry::U != 0;
        let writable = rights & entry::W != 0;
        if who.user {
            return user_page
                && match access {
                    Access::Read => true,
                    Access::Write => writable,
                    Access::Execute => !nx,
                };
        }
        match access {
            Access::Execute => !(nx || user_page && self.cr4 & cr4::SMEP != 0),
            _ if user_page && !who.may_touch_user => false,
            Access::Write => writable || self.cr0 & cr0::WP == 0,
            Access::Read => true,
        }
    }
}
