//! Looking at the machine from outside, at exact points of what it runs.
//!
//! A [`Watch`] says how far a processor may run before it is asked again, as the guest's own PMU does, and is shown the
//! machine between two instructions. Looking changes nothing: a watched run counts what an unwatched one counts.
//!
//! The guest can mark a point: OUT of a value to port [`MARK_PORT`], or, from any ring, CPUID with EAX =
//! [`cpu_x86::MARK_LEAF`] and ECX = the value. An odd value begins region `value >> 1`, an even one ends it. A processor
//! that knows nothing of this answers the leaf as its highest basic one, and a PC drops the OUT.

use cpu_x86::{Cpu, Ring};
use emu_core::Ram;
use pmu_model::Now;
use pmu_model::signal::Signals;

/// Where a guest marks points by OUT. Nobody else answers there.
pub const MARK_PORT: u16 = 0x8950;

/// The machine between two instructions of one of its processors, while the others stand still.
pub struct Glance<'a> {
    /// Whose turn it is.
    pub processor: usize,
    /// All processors.
    pub cpus: &'a [Box<Cpu>],
    /// What the models of their cores have observed.
    pub signals: Vec<Signals>,
    /// Guest memory.
    pub ram: &'a Ram,
}

impl Glance<'_> {
    /// The processor whose turn it is.
    pub fn cpu(&self) -> &Cpu {
        &self.cpus[self.processor]
    }
}

/// Somebody who looks at the machine from outside.
pub trait Watch {
    /// Are signals wanted of [`Watch::deadline`] and [`Watch::is_due`]? A look has them in any case.
    fn takes_signals(&self) -> bool {
        false
    }
    /// How many more instructions may retire on `processor` in `ring` before [`Watch::is_due`] must be asked: a lower
    /// bound. `u64::MAX`: any number.
    fn deadline(&mut self, processor: usize, now: Now<'_>, ring: Ring) -> u64;
    /// `processor` stands between two instructions with `now` retired: is there something to be looked at?
    fn is_due(&mut self, processor: usize, now: Now<'_>) -> bool;
    /// The look that was wanted.
    fn look(&mut self, at: &Glance<'_>);
    /// The instruction that `processor` now executes marks a point; [`Watch::is_due`] is asked behind it.
    fn mark(&mut self, processor: usize, value: u32);
    /// The instruction that `processor` now executes loads CR3; [`Watch::is_due`] is asked behind it.
    fn space_loaded(&mut self, _processor: usize) {}
}

/// Nobody looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn deadline(&mut self, _: usize, _: Now<'_>, _: Ring) -> u64 {
        u64::MAX
    }
    fn is_due(&mut self, _: usize, _: Now<'_>) -> bool {
        false
    }
    fn look(&mut self, _: &Glance<'_>) {}
    fn mark(&mut self, _: usize, _: u32) {}
}
