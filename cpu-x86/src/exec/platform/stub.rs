//! Stands in for functions that other engineers' branches bring; DELETE AT THE MERGE.
//!
//! `counts`, `with_doors`, `invalidate`: the engine. `efer` and `set_efer`: `control.rs`. Tags: the x87 group.

#![expect(unsafe_code, reason = "the doors of a run are a raw pointer until the engine wraps them")]

use super::tlb::Invalidate;
use crate::door::{Counts, Doors, NoDoors};
use crate::fault::{Done, Stop};
use crate::state::{Cpu, Fpu};

impl Cpu {
    /// What has been retired.
    pub fn counts(&self) -> Counts {
        self.settled
    }

    /// Calls `f` with the doors of the run (none outside a run) and the counts.
    pub(crate) fn with_doors<T>(&mut self, f: impl FnOnce(&mut dyn Doors, &Counts) -> T) -> T {
        let now = self.counts();
        match self.doors {
            // SAFETY: set for the length of a run by its caller.
            Some(doors) => f(unsafe { &mut *doors }, &now),
            None => f(&mut NoDoors, &now),
        }
    }

    pub(crate) fn invalidate(&mut self, what: Invalidate) {
        let _ = what;
    }

    /// WRMSR to IA32_EFER.
    ///
    /// # Errors
    /// #GP(0).
    pub fn set_efer(&mut self, v: u64) -> Done {
        if v & !0xd01 != 0 || (v ^ self.efer) & 0x100 != 0 && self.cr0 >> 31 & 1 != 0 {
            return Err(Stop::gp(0));
        }
        self.efer = v & !0x400 | self.efer & 0x400;
        Ok(())
    }
}

impl Fpu {
    pub(crate) fn abridged_tag(&self) -> u8 {
        (0..8).fold(0, |t, n| t | u8::from(self.tag >> (2 * n) & 3 != 3) << n)
    }
    pub(crate) fn set_abridged_tag(&mut self, t: u8) {
        self.tag = (0..8).fold(0, |full, n| full | if t >> n & 1 != 0 { 0 } else { 3 << (2 * n) });
    }
}
