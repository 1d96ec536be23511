//! CR0, CR3, CR4 and EFER: which values may be written, and what follows from a write.
//!
//! Source: SDM vol. 3A, 2.5 (control registers), 4.1.2 (paging modes), 4.10.1 (PCIDs), 10.8.5 (IA-32e mode).

use crate::engine::Paging;
use crate::fault::{Done, Stop};
use crate::paging::MAXPHYADDR;
use crate::segment::kind;
use crate::state::{Cpu, Seg, Segment};
use emu_core::Gpa;

/// Bits of CR0.
pub(crate) mod cr0 {
    #![allow(dead_code, reason = "the register's bits, complete")]
    pub const PE: u64 = 1;
    pub const MP: u64 = 1 << 1;
    pub const EM: u64 = 1 << 2;
    pub const TS: u64 = 1 << 3;
    pub const ET: u64 = 1 << 4;
    pub const NE: u64 = 1 << 5;
    pub const WP: u64 = 1 << 16;
    pub const AM: u64 = 1 << 18;
    pub const NW: u64 = 1 << 29;
    pub const CD: u64 = 1 << 30;
    pub const PG: u64 = 1 << 31;
    /// All that exist.
    pub const ALL: u64 = PE | MP | EM | TS | ET | NE | WP | AM | NW | CD | PG;
}

/// Bits of CR4.
pub(crate) mod cr4 {
    #![allow(dead_code, reason = "the register's bits, complete")]
    pub const VME: u64 = 1;
    pub const PVI: u64 = 1 << 1;
    pub const TSD: u64 = 1 << 2;
    pub const DE: u64 = 1 << 3;
    pub const PSE: u64 = 1 << 4;
    pub const PAE: u64 = 1 << 5;
    pub const MCE: u64 = 1 << 6;
    pub const PGE: u64 = 1 << 7;
    pub const PCE: u64 = 1 << 8;
    pub const OSFXSR: u64 = 1 << 9;
    pub const OSXMMEXCPT: u64 = 1 << 10;
    pub const UMIP: u64 = 1 << 11;
    pub const LA57: u64 = 1 << 12;
    pub const FSGSBASE: u64 = 1 << 16;
    pub const PCIDE: u64 = 1 << 17;
    pub const OSXSAVE: u64 = 1 << 18;
    pub const SMEP: u64 = 1 << 20;
    pub const SMAP: u64 = 1 << 21;
    pub const PKE: u64 = 1 << 22;
    /// All that CPUID offers here: no VMXE, SMXE, CET, PKS or UINTR.
    pub const ALL: u64 = 0x1ff | OSFXSR | OSXMMEXCPT | UMIP | LA57 | FSGSBASE | PCIDE | OSXSAVE | SMEP | SMAP | PKE;
    /// Those that change what an address means.
    pub const PAGING: u64 = PSE | PAE | PGE | LA57 | PCIDE | SMEP | SMAP | PKE;
}

/// Bits of IA32_EFER.
pub(crate) mod efer {
    pub const SCE: u64 = 1;
    pub const LME: u64 = 1 << 8;
    pub const LMA: u64 = 1 << 10;
    pub const NXE: u64 = 1 << 11;
}

impl Cpu {
    /// Reads control register `n`; `None` if there is none of that number. CR8 is the local APIC's.
    pub fn cr(&self, n: u32) -> Option<u64> {
        match n {
            0 => Some(self.cr0),
            2 => Some(self.cr2),
            3 => Some(self.cr3),
            4 => Some(self.cr4),
            _ => None,
        }
    }

    /// IA32_EFER.
    pub fn efer(&self) -> u64 {
        self.efer
    }

    /// MOV to CR`n` (0, 2, 3 or 4), privilege already checked.
    ///
    /// # Errors
    /// #GP(0) for reserved bits and forbidden combinations; #UD for another register.
    pub fn set_cr(&mut self, n: u32, v: u64) -> Done {
        match n {
            0 => self.set_cr0(v),
            2 => {
                self.cr2 = v;
                Ok(())
            }
            3 => self.set_cr3(v),
            4 => self.set_cr4(v),
            _ => Err(Stop::UD),
        }
    }

    fn set_cr0(&mut self, v: u64) -> Done {
        if v >> 32 != 0 || v & cr0::PG != 0 && v & cr0::PE == 0 || v & cr0::NW != 0 && v & cr0::CD == 0 {
            return Err(Stop::gp(0));
        }
        let new = v & cr0::ALL | cr0::ET;
        let (old, changed) = (self.cr0, self.cr0 ^ new);
        let mut lma = self.efer & efer::LMA;
        if changed & new & cr0::PG != 0 && self.efer & efer::LME != 0 {
            let tss16 =
                matches!(self.tr.kind(), kind::TSS16 | kind::TSS16_BUSY) && self.tr.attr & Segment::UNUSABLE == 0;
            if self.cr4 & cr4::PAE == 0 || self.segment(Seg::Cs).attr & Segment::L != 0 || tss16 {
                return Err(Stop::gp(0));
            }
            lma = efer::LMA;
        } else if changed & old & cr0::PG != 0 {
            if self.is_64bit() || self.cr4 & cr4::PCIDE != 0 {
                return Err(Stop::gp(0));
            }
            lma = 0;
        }
        if lma == 0 && new & cr0::PG != 0 && changed & (cr0::PG | cr0::CD | cr0::NW) != 0 {
            self.pdpte = self.pdptes(new, self.cr3, self.cr4)?;
        }
        self.cr0 = new;
        self.efer = self.efer & !efer::LMA | lma;
        if changed & (cr0::PG | cr0::WP | cr0::PE | cr0::AM) != 0 {
            self.on_paging_change(Paging::Control);
        }
        Ok(())
    }

    fn set_cr3(&mut self, v: u64) -> Done {
        let pcids = self.cr4 & cr4::PCIDE != 0;
        let keep = pcids && v >> 63 != 0;
        let v = if pcids { v & !(1 << 63) } else { v };
        if self.long_mode() {
            if v >> MAXPHYADDR != 0 {
                return Err(Stop::gp(0));
            }
        } else {
            self.pdpte = self.pdptes(self.cr0, v, self.cr4)?;
        }
        self.cr3 = v;
        self.on_paging_change(Paging::Cr3 { keep });
        self.with_doors(|doors, _| doors.space_loaded());
        Ok(())
    }

    fn set_cr4(&mut self, v: u64) -> Done {
        let (old, changed) = (self.cr4, self.cr4 ^ v);
        let pcide_set = changed & v & cr4::PCIDE != 0;
        let no_pcid = !self.long_mode() || self.cr3 & 0xfff != 0;
        let wrong_levels = self.long_mode() && (v & cr4::PAE == 0 || changed & cr4::LA57 != 0);
        if v & !cr4::ALL != 0 || wrong_levels || pcide_set && no_pcid {
            return Err(Stop::gp(0));
        }
        if !self.long_mode() && changed & (cr4::PAE | cr4::PGE | cr4::PSE | cr4::SMEP) != 0 {
            self.pdpte = self.pdptes(self.cr0, self.cr3, v)?;
        }
        self.cr4 = v;
        if (old ^ v) & cr4::PAGING != 0 {
            self.on_paging_change(Paging::Control);
        }
        Ok(())
    }

    /// The four PDPTE registers as they are to be loaded from `cr3` with PAE paging outside IA-32e mode; as they are
    /// when other paging is (or none). Source: SDM vol. 3A, 4.4.1.
    ///
    /// # Errors
    /// #GP(0): a present entry has a reserved bit set.
    fn pdptes(&self, control0: u64, cr3: u64, control4: u64) -> Result<[u64; 4], Stop> {
        let mut entries = self.pdpte;
        if control0 & cr0::PG == 0 || control4 & cr4::PAE == 0 {
            return Ok(entries);
        }
        let reserved = !0 << MAXPHYADDR | 0x1e6;
        for (n, entry) in entries.iter_mut().enumerate() {
            let at = Gpa((cr3 & 0xffff_ffe0) + 8 * n as u64);
            *entry = self.ram.read_u64(at).unwrap_or(u64::MAX);
            if *entry & 1 != 0 && *entry & reserved != 0 {
                return Err(Stop::gp(0));
            }
        }
        Ok(entries)
    }

    /// Loads CR3 in a task switch.
    ///
    /// # Errors
    /// #TS(`error`): PAE paging is in use and its entries are bad. Source: SDM vol. 3A, 4.4.1.
    pub(crate) fn switch_cr3(&mut self, cr3: u64, error: u32) -> Done {
        self.pdpte = self.pdptes(self.cr0, cr3, self.cr4).map_err(|_| Stop::ts(error))?;
        self.cr3 = cr3;
        self.on_paging_change(Paging::Cr3 { keep: false });
        self.with_doors(|doors, _| doors.space_loaded());
        Ok(())
    }

    /// WRMSR to IA32_EFER, privilege already checked. LMA is read-only and keeps its value.
    ///
    /// # Errors
    /// #GP(0) for reserved bits, or LME changing while paging is on.
    pub fn set_efer(&mut self, v: u64) -> Done {
        let writable = efer::SCE | efer::LME | efer::NXE;
        let changed = self.efer ^ v;
        if v & !(writable | efer::LMA) != 0 || changed & efer::LME != 0 && self.cr0 & cr0::PG != 0 {
            return Err(Stop::gp(0));
        }
        self.efer = v & writable | self.efer & efer::LMA;
        if changed & efer::NXE != 0 {
            self.on_paging_change(Paging::Control);
        }
        Ok(())
    }
}
