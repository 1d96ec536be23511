//! The PMU that a guest sees: its registers, which values they take, and its interrupt.
//!
//! The same for every way of virtualising it that keeps registers in software; what differs is where the counts come
//! from. Reserved bits fault before anything changes.
//!
//! Source: spec/pmu.md 1.5 to 1.8, 5.2, 5.5.

use crate::host::cell::{Happening, Privilege};
use crate::host::constraint::{Counter, Counters};
use crate::host::filter::Permission;
use crate::host::registers::{EN, ENCODING, INT, MASK, METRICS_BIT, OS, Register, SELECTOR_BITS, Shape, USR};
use thiserror::Error;

/// #GP(0): the guest accessed what it does not have, or set a reserved bit.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("general protection fault")]
pub struct Fault;

/// The registers as the guest wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestRegisters {
    /// What the guest has.
    pub shape: Shape,
    /// Legal bits of PERFEVTSEL.
    pub selector_bits: u64,
    /// PERFEVTSEL.
    pub selectors: [u64; 8],
    /// General counters, where software keeps them.
    pub general: [u64; 8],
    /// Fixed counters, where software keeps them.
    pub fixed: [u64; 4],
    /// IA32_FIXED_CTR_CTRL.
    pub fixed_control: u64,
    /// IA32_PERF_GLOBAL_CTRL.
    pub global_control: u64,
    /// IA32_PERF_GLOBAL_STATUS.
    pub status: u64,
    /// PERF_METRICS.
    pub metrics: u64,
    /// LVTPC's mask bit.
    pub lvtpc_masked: bool,
    /// Interrupts delivered.
    pub pmis: u64,
    /// Interrupts asked for while LVTPC was masked: dropped.
    pub pmis_dropped: u64,
    /// What the VM's filter lets the guest count.
    pub permission: Permission,
}

impl GuestRegisters {
    /// As after reset: `GLOBAL_CTRL` enables the general counters.
    pub fn new(shape: Shape, permission: Permission) -> GuestRegisters {
        GuestRegisters {
            shape,
            selector_bits: SELECTOR_BITS,
            selectors: [0; 8],
            general: [0; 8],
            fixed: [0; 4],
            fixed_control: 0,
            global_control: Counters::of(shape.general, 0).0,
            status: 0,
            metrics: 0,
            lvtpc_masked: false,
            pmis: 0,
            pmis_dropped: 0,
            permission,
        }
    }

    /// Whether the register exists and takes the value.
    ///
    /// # Errors
    /// #GP for a register or bit that is not there, and for writing what is read-only.
    pub fn check_write(&self, register: Register, value: u64) -> Result<(), Fault> {
        let legal = match register {
            Register::Count(counter) => self.shape.counters().holds(counter) && value <= MASK,
            Register::Selector(n) => u32::from(n) < self.shape.general && value & !self.selector_bits == 0,
            Register::FixedControl => value & !self.shape.fixed_bits() == 0,
            Register::GlobalControl | Register::StatusReset | Register::StatusSet => {
                value & !self.shape.global_bits() == 0
            }
            Register::Metrics => self.shape.metrics,
            Register::GlobalStatus | Register::InUse => false,
        };
        if legal { Ok(()) } else { Err(Fault) }
    }

    /// Whether the register exists.
    ///
    /// # Errors
    /// #GP where it does not.
    pub fn check_read(&self, register: Register) -> Result<(), Fault> {
        let there = match register {
            Register::Count(counter) => self.shape.counters().holds(counter),
            Register::Selector(n) => u32::from(n) < self.shape.general,
            Register::Metrics => self.shape.metrics,
            _ => true,
        };
        if there { Ok(()) } else { Err(Fault) }
    }

    /// A counter's value where software keeps it.
    pub fn count(&self, counter: Counter) -> u64 {
        match counter.as_fixed() {
            Some(n) => self.fixed[usize::from(n & 3)],
            None => self.general[usize::from(counter.0 & 7)],
        }
    }

    /// Sets it.
    pub fn set_count(&mut self, counter: Counter, value: u64) {
        match counter.as_fixed() {
            Some(n) => self.fixed[usize::from(n & 3)] = value & MASK,
            None => self.general[usize::from(counter.0 & 7)] = value & MASK,
        }
    }

    /// What is kept in software of a register; counters by [`GuestRegisters::count`].
    pub fn kept(&self, register: Register) -> u64 {
        match register {
            Register::Count(counter) => self.count(counter),
            Register::Selector(n) => self.selectors[usize::from(n & 7)],
            Register::FixedControl => self.fixed_control,
            Register::GlobalControl => self.global_control,
            Register::GlobalStatus => self.status,
            Register::Metrics => self.metrics,
            Register::InUse | Register::StatusReset | Register::StatusSet => 0,
        }
    }

    /// Keeps a value that was checked.
    pub fn keep(&mut self, register: Register, value: u64) {
        match register {
            Register::Count(counter) => self.set_count(counter, value),
            Register::Selector(n) => self.selectors[usize::from(n & 7)] = value,
            Register::FixedControl => self.fixed_control = value,
            Register::GlobalControl => self.global_control = value,
            Register::StatusReset => self.status &= !value,
            Register::StatusSet => self.status |= value,
            Register::Metrics => self.metrics = value,
            Register::GlobalStatus | Register::InUse => {}
        }
    }

    /// The control field of a fixed counter: kernel, user, (any), interrupt.
    fn field(&self, n: u8) -> u64 {
        self.fixed_control >> (4 * n) & 0xf
    }

    /// Whether its own control lets a counter count, in some ring.
    pub fn locally_enabled(&self, counter: Counter) -> bool {
        match counter.as_fixed() {
            Some(n) => self.field(n) & 3 != 0,
            None => {
                let selector = self.selectors[usize::from(counter.0 & 7)];
                selector & EN != 0 && selector & (OS | USR) != 0
            }
        }
    }

    /// Whether a counter counts: its own control, the global one, and the filter.
    pub fn counts(&self, counter: Counter) -> bool {
        let selector = self.selectors[usize::from(counter.0 & 7)];
        let global = self.global_control & counter.bit() != 0;
        global && self.locally_enabled(counter) && self.permission.allows(counter, selector)
    }

    /// The counters that count.
    pub fn counting(&self) -> Counters {
        let counters = self.shape.counters().iter().filter(|counter| self.counts(*counter));
        counters.fold(Counters::NONE, |set, counter| set.or(Counters::only(counter)))
    }

    /// Rings in which a counter counts, by its own control: (user, kernel).
    pub fn rings(&self, counter: Counter) -> (bool, bool) {
        match counter.as_fixed() {
            Some(n) => (self.field(n) & 2 != 0, self.field(n) & 1 != 0),
            None => {
                let selector = self.selectors[usize::from(counter.0 & 7)];
                (selector & USR != 0, selector & OS != 0)
            }
        }
    }

    /// Whether overflow of a counter interrupts the guest.
    pub fn interrupts(&self, counter: Counter) -> bool {
        match counter.as_fixed() {
            Some(n) => self.field(n) & 8 != 0,
            None => self.selectors[usize::from(counter.0 & 7)] & INT != 0,
        }
    }

    /// The selector that hardware gets: the guest's, disabled where the filter denies.
    pub fn hardware_selector(&self, n: u8) -> u64 {
        let selector = self.selectors[usize::from(n & 7)];
        if self.permission.allows(Counter::general(n), selector) { selector } else { selector & !EN }
    }

    /// The same for IA32_FIXED_CTR_CTRL, field by field.
    pub fn hardware_fixed_control(&self) -> u64 {
        let denied = (0..4).filter(|n| !self.permission.allows(Counter::fixed(*n), 0));
        self.fixed_control & !denied.fold(0, |bits, n| bits | 0xf << (4 * n))
    }

    /// What a counter counts: its event's encoding.
    pub fn config(&self, counter: Counter) -> u64 {
        match counter.as_fixed() {
            Some(n) => [0x0100, 0x003c, 0x0300, 0x0400][usize::from(n & 3)],
            None => self.selectors[usize::from(counter.0 & 7)] & ENCODING,
        }
    }

    /// The hypervisor completed an instruction for the guest: counters of instructions and, if it is one, of branches
    /// count it, in software. Returns those that wrapped. Source: spec/pmu.md 5.5.6.
    pub fn counters_of_emulated(&self, ring: Privilege, branch: bool) -> Counters {
        let counted = |counter: &Counter| {
            let kind = match counter.as_fixed() {
                Some(n) => (n == 0).then_some(Happening::Retired),
                None => Happening::of_config(self.config(*counter)),
            };
            let matches = kind == Some(Happening::Retired) || (branch && kind == Some(Happening::Branches));
            let (user, kernel) = self.rings(*counter);
            matches && self.counts(*counter) && if ring == Privilege::User { user } else { kernel }
        };
        let counters = self.shape.counters().iter().filter(counted);
        counters.fold(Counters::NONE, |set, counter| set.or(Counters::only(counter)))
    }

    /// A counter overflowed: its status bit, and the interrupt if it wants one.
    pub fn overflowed(&mut self, counter: Counter) {
        self.status |= counter.bit();
        let metrics = counter == Counter::fixed(3) && self.global_control & METRICS_BIT != 0;
        self.status |= if metrics { METRICS_BIT } else { 0 };
        if self.interrupts(counter) {
            self.interrupt();
        }
    }

    /// Virtual LVTPC delivery: masks itself; masked, it drops.
    pub fn interrupt(&mut self) {
        if self.lvtpc_masked {
            self.pmis_dropped += 1;
        } else {
            (self.pmis, self.lvtpc_masked) = (self.pmis + 1, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_bits_and_missing_registers_fault() {
        let guest = GuestRegisters::new(Shape::THREE_FIXED, Permission::EVERYTHING);
        let writes = |register, value| guest.check_write(register, value).is_ok();
        for bit in 0..64 {
            assert_eq!(writes(Register::Count(Counter(0)), 1 << bit), bit < 48);
            let selector = bit < 16 || [16, 17, 20, 22].contains(&bit);
            assert_eq!(writes(Register::Selector(7), 1 << bit), selector, "selector bit {bit}");
            assert_eq!(writes(Register::FixedControl, 1 << bit), bit < 12 && bit % 4 != 2, "fixed bit {bit}");
            assert_eq!(writes(Register::GlobalControl, 1 << bit), bit < 8 || (32..35).contains(&bit));
        }
        assert!(!writes(Register::Selector(8), 0) && !writes(Register::Count(Counter::fixed(3)), 0));
        assert!(!writes(Register::GlobalStatus, 0) && !writes(Register::Metrics, 0));
        assert_eq!(guest.check_read(Register::Metrics), Err(Fault));
        assert_eq!(guest.global_control, 0xff);
    }

    #[test]
    fn a_masked_interrupt_is_dropped() {
        let mut guest = GuestRegisters::new(Shape::THREE_FIXED, Permission::EVERYTHING);
        guest.selectors[0] = 0xc0 | EN | USR | INT;
        guest.overflowed(Counter(0));
        guest.overflowed(Counter(0));
        assert_eq!((guest.pmis, guest.pmis_dropped, guest.status), (1, 1, 1));
    }
}
