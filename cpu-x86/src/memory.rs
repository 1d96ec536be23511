//! Guest memory as instructions see it: segmentation, then paging, then RAM or a device.

use crate::fault::{Done, Stop};
use crate::state::{Cpu, Seg, Segment};
use emu_core::Gpa;

/// What an access wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Data read.
    Read,
    /// Data write, or read-modify-write.
    Write,
    /// Instruction fetch.
    Execute,
}

/// Is `at` canonical with 48 linear address bits?
pub(crate) const fn canonical(at: u64) -> bool {
    ((at << 16) as i64 >> 16) as u64 == at
}

impl Cpu {
    /// Linear address of `bytes` at `offset` in segment `s`, checked for `access`.
    ///
    /// # Errors
    /// #GP(0), or #SS(0) for the stack segment. Source: SDM vol. 3A, 5.3 to 5.5; vol. 1, 3.3.7.1 (canonical).
    pub fn linear(&self, s: Seg, offset: u64, bytes: u32, access: Access) -> Result<u64, Stop> {
        let seg = self.segment(s);
        let fault = if s == Seg::Ss { Stop::ss(0) } else { Stop::gp(0) };
        let last = u64::from(bytes.max(1) - 1);
        if self.is_64bit() {
            let base = if matches!(s, Seg::Fs | Seg::Gs) { seg.base } else { 0 };
            let at = base.wrapping_add(offset);
            return if canonical(at) && canonical(at.wrapping_add(last)) { Ok(at) } else { Err(fault) };
        }
        if self.protected() && !self.v86() {
            let kind = seg.kind();
            let code = kind & 8 != 0;
            let allowed = match access {
                Access::Read => !code || kind & 2 != 0,
                Access::Write => !code && kind & 2 != 0,
                Access::Execute => code,
            };
            if seg.attr & Segment::UNUSABLE != 0 || !allowed {
                return Err(fault);
            }
        }
        let end = offset.wrapping_add(last);
        let expand_down = seg.kind() & 0xc == 4;
        let inside = if expand_down {
            let top = if seg.attr & Segment::DB != 0 { 0xffff_ffff } else { 0xffff };
            offset > u64::from(seg.limit) && end <= top
        } else {
            end <= u64::from(seg.limit)
        };
        if inside && end >= offset { Ok(seg.base.wrapping_add(offset) & 0xffff_ffff) } else { Err(fault) }
    }

    /// Loads `bytes` (1, 2, 4 or 8) from linear address `at`, zero-extended.
    ///
    /// # Errors
    /// #PF, or #AC when alignment is checked.
    pub fn load(&mut self, at: u64, bytes: u32) -> Result<u64, Stop> {
        let mut b = [0; 8];
        self.load_bytes(at, &mut b[..bytes as usize])?;
        Ok(u64::from_le_bytes(b))
    }

    /// Stores the low `bytes` (1, 2, 4 or 8) of `v` at linear address `at`.
    ///
    /// # Errors
    /// #PF, or #AC when alignment is checked; then nothing was written.
    pub fn store(&mut self, at: u64, bytes: u32, v: u64) -> Done {
        self.store_bytes(at, &v.to_le_bytes()[..bytes as usize])
    }

    /// Loads any number of bytes (vectors, state images).
    ///
    /// # Errors
    /// #PF.
    pub fn load_bytes(&mut self, at: u64, to: &mut [u8]) -> Done {
        let _ = self.ram.read(Gpa(at), to);
        Ok(())
    }

    /// Stores any number of bytes.
    ///
    /// # Errors
    /// #PF; then nothing was written.
    pub fn store_bytes(&mut self, at: u64, from: &[u8]) -> Done {
        let _ = self.ram.write(Gpa(at), from);
        Ok(())
    }

    /// Would `access` to `bytes` at linear address `at` fault? Sets accessed and dirty bits as the access would.
    ///
    /// # Errors
    /// #PF.
    pub fn probe(&mut self, at: u64, bytes: u32, access: Access) -> Done {
        let _ = (at, bytes, access);
        Ok(())
    }

    /// Loads with supervisor privilege whatever the CPL: descriptor tables, task state, DS area.
    ///
    /// # Errors
    /// #PF, with the U bit clear.
    pub fn load_system(&mut self, at: u64, bytes: u32) -> Result<u64, Stop> {
        self.load(at, bytes)
    }

    /// Stores with supervisor privilege whatever the CPL.
    ///
    /// # Errors
    /// #PF, with the U bit clear; then nothing was written.
    pub fn store_system(&mut self, at: u64, bytes: u32, v: u64) -> Done {
        self.store(at, bytes, v)
    }
}

/// What has changed of what linear addresses mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paging {
    /// CR3 was written; `keep` is bit 63 of the value with CR4.PCIDE.
    Cr3 {
        /// Translations of the new PCID stay valid.
        keep: bool,
    },
    /// A bit of CR0, CR4 or EFER that paging depends on.
    Control,
}

// Stubs on the branch of the system instructions: the engine's real ones replace them (MAXPHYADDR is in `paging`).
/// Physical address bits, as CPUID.80000008H:EAX reports them.
pub(crate) const MAXPHYADDR: u32 = 46;

impl Cpu {
    /// Paging structures may mean something else now: drops what was cached of them.
    pub(crate) fn on_paging_change(&mut self, what: Paging) {
        let _ = what;
    }
}
