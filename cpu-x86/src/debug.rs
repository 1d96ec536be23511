//! The debug registers: instruction, data and I/O breakpoints, single stepping.
//!
//! The engine asks [`Cpu::stepwise`] whether to run one instruction at a time; it then asks [`Cpu::fetch_breakpoint`]
//! before the instruction and calls [`Cpu::after_step`] once it has retired. Whoever reads or writes memory asks
//! [`Cpu::data_breakpoint`] while [`Cpu::data_armed`], and adds the answer to `pending_debug`.
//! Source: SDM vol. 3B, ch. 18 (debug registers, debug exceptions); vol. 3A, 6.8.3 (RF, MOV SS).

use crate::alu::flag;
use crate::fault::{Exception, Stop, vector};
use crate::state::{Cpu, cr4, shadow};

/// Bits of DR6.
pub(crate) mod dr6 {
    /// B0 to B3: which breakpoints were met.
    pub const HITS: u64 = 15;
    /// A debug register was accessed with DR7.GD set.
    pub const BD: u64 = 1 << 13;
    /// Single step.
    pub const BS: u64 = 1 << 14;
    /// Task switch to a TSS with its T flag set.
    pub const BT: u64 = 1 << 15;
}

/// Bits of DR7.
pub(crate) mod dr7 {
    /// L0, G0 to L3, G3.
    pub const ENABLES: u64 = 0xff;
    /// L0 to L3: cleared by a task switch.
    pub const LOCAL: u64 = 0x55;
    /// General detect.
    pub const GD: u64 = 1 << 13;
}

/// IA32_DEBUGCTL.BTF.
pub(crate) const BTF: u64 = 2;

/// R/W field of a breakpoint.
mod on {
    pub const EXECUTE: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const IO: u64 = 2;
    pub const ACCESS: u64 = 3;
}

impl Cpu {
    /// Is any breakpoint enabled?
    pub(crate) fn debug_active(&self) -> bool {
        self.dr[7] & dr7::ENABLES != 0
    }

    /// R/W and LEN fields of breakpoint `n` if it is enabled.
    fn breakpoint(&self, n: usize) -> Option<(u64, u64)> {
        let fields = self.dr[7] >> (16 + 4 * n);
        (self.dr[7] >> (2 * n) & 3 != 0).then_some((fields & 3, fields >> 2 & 3))
    }

    /// DR6 bits of the breakpoints with an R/W field that `wanted` accepts and a range that meets `bytes` at `at`.
    fn hits(&self, at: u64, bytes: u64, wanted: impl Fn(u64) -> bool) -> u64 {
        let mut bits = 0;
        for n in 0..4 {
            let Some((on, field)) = self.breakpoint(n) else { continue };
            let span = [1, 2, 8, 4][field as usize & 3];
            let first = self.dr[n] & !(span - 1);
            let meets = at.wrapping_sub(first) < span || first.wrapping_sub(at) < bytes;
            if wanted(on) && meets {
                bits |= 1 << n;
            }
        }
        bits
    }

    /// Is a data breakpoint enabled?
    pub(crate) fn data_armed(&self) -> bool {
        self.debug_active() && (0..4).any(|n| self.breakpoint(n).is_some_and(|(on, _)| on & 1 != 0))
    }

    /// DR6 bits of the instruction breakpoints at linear address `at`, where an instruction is about to start; `None`
    /// when there are none or RF suppresses them. The engine then calls [`Cpu::raise_breakpoint`].
    pub(crate) fn fetch_breakpoint(&self, at: u64) -> Option<u64> {
        if !self.debug_active() || self.system_flags & flag::RF != 0 || self.shadow & shadow::MOV_SS != 0 {
            return None;
        }
        let bits = self.hits(at, 1, |on| on == on::EXECUTE);
        (bits != 0).then_some(bits)
    }

    /// Delivers the fault of an instruction breakpoint: the instruction at `rip` has not run.
    pub(crate) fn raise_breakpoint(&mut self, bits: u64) {
        self.report_debug(bits);
        self.raise(Exception::plain(vector::DB));
    }

    /// DR6 bits of the data breakpoints that an access to `bytes` at linear address `at` meets.
    pub(crate) fn data_breakpoint(&self, at: u64, bytes: u64, write: bool) -> u64 {
        self.hits(at, bytes, |on| on == on::ACCESS || write && on == on::WRITE)
    }

    /// DR6 bits of the I/O breakpoints that an access to `bytes` at port `port` meets; needs CR4.DE.
    pub(crate) fn port_breakpoint(&self, port: u16, bytes: u64) -> u64 {
        if self.cr4 & cr4::DE == 0 { 0 } else { self.hits(u64::from(port), bytes, |on| on == on::IO) }
    }

    /// After an instruction that retired while [`Cpu::stepwise`]: ends RF, adds the single-step trap if TF was set when
    /// it began. The traps are delivered by the [`Cpu::service`] that follows.
    pub(crate) fn after_step(&mut self, tf_before: bool, rf_before: bool) {
        if rf_before {
            self.system_flags &= !flag::RF;
        }
        if !std::mem::take(&mut self.no_step) && tf_before {
            self.pending_debug |= dr6::BS;
        }
    }

    /// After an iteration of a repeated string instruction that is to go on (it left RF set), or an instruction that
    /// faulted: single stepping traps after each iteration.
    pub(crate) fn after_iteration(&mut self, tf_before: bool) {
        let goes_on = self.system_flags & flag::RF != 0;
        if tf_before && goes_on && self.pending_debug & dr6::BS == 0 && !self.steps_on_branches() {
            self.pending_debug |= dr6::BS;
        }
    }

    /// IA32_DEBUGCTL.BTF: single stepping traps on taken branches only.
    pub(crate) fn steps_on_branches(&self) -> bool {
        self.msr.debugctl & BTF != 0
    }

    /// A debug register is accessed with DR7.GD set: the fault, with DR6 and RF made ready for it.
    pub(crate) fn general_detect(&mut self) -> Stop {
        self.dr[6] |= dr6::BD;
        self.system_flags |= flag::RF;
        Stop::Exception(Exception::plain(vector::DB))
    }
}
