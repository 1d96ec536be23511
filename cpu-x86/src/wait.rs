//! Waiting for a store or a time: what UMONITOR, UMWAIT, TPAUSE, MONITOR and MWAIT leave behind.
//!
//! A monitored line is compared with what it held when it was armed, at each boundary at which a waiting processor is
//! looked at. In UMWAIT and TPAUSE the cycles go by; in MWAIT the clock skips to the deadline as in HLT to a timer.
//!
//! Differs: a store of what the line holds already does not end the wait; its deadline does. MWAIT, which has none, gets
//! one: the architecture lets it end for reasons of its own. Source: SDM vol. 2B (MONITOR, MWAIT), 2D (UMONITOR,
//! UMWAIT, TPAUSE); vol. 3A, 9.10.

use crate::alu::flag;
use crate::fault::Done;
use crate::memory::Access;
use crate::state::{Activity, Cpu};
use emu_core::{Gpa, Ram};

/// Bytes of a monitored line, as CPUID leaf 5 says.
pub(crate) const LINE_BYTES: usize = 64;

/// The line that the monitor hardware watches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Armed {
    at: Gpa,
    held: [u8; LINE_BYTES],
}

impl Armed {
    fn is_touched(&self, ram: &Ram) -> bool {
        line(ram, self.at) != self.held
    }
}

fn line(ram: &Ram, at: Gpa) -> [u8; LINE_BYTES] {
    let mut bytes = [0; LINE_BYTES];
    let _ = ram.read(at, &mut bytes);
    bytes
}

/// In which state within C0 UMWAIT and TPAUSE wait: cycles pass there. Source: spec/pmu.md 4 (C0 rules).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The one that is left sooner.
    C01,
    /// The one that saves more.
    C02,
}

/// How a processor waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// The clock at which it ends.
    pub deadline: u64,
    /// The deadline is the system's limit: reaching it sets CF.
    pub limited: bool,
    /// A store to the armed line ends it.
    pub monitors: bool,
    /// Interrupts end it even while IF bars them.
    pub any_interrupt: bool,
    /// It stays in C0; `None`: MWAIT, which leaves it.
    pub rests: Option<Rest>,
}

impl Cpu {
    /// Arms the monitor for the line at linear address `at`.
    ///
    /// # Errors
    /// #PF, as loading a byte there.
    pub(crate) fn arm_monitor(&mut self, at: u64) -> Done {
        let page = self.walk(at, Access::Read, self.who())?;
        let at = Gpa(page.at.0 & !(LINE_BYTES as u64 - 1));
        self.armed = Some(Armed { at, held: line(&self.ram, at) });
        Ok(())
    }

    /// Is a line armed, and as it was?
    pub(crate) fn monitor_holds(&self) -> bool {
        self.armed.is_some_and(|a| !a.is_touched(&self.ram))
    }

    /// Does it wait in MWAIT? Then it goes on at [`Cpu::next_event`] whatever IF says.
    pub fn is_waiting(&self) -> bool {
        self.wait.is_some_and(|w| w.rests.is_none())
    }

    /// Begins to wait; the instruction that does has retired.
    pub(crate) fn begin_wait(&mut self, wait: Wait) {
        self.wait = Some(wait);
        self.activity = Activity::Halted;
    }

    /// At a boundary: ends the wait when its time has come, its line was written, or an interrupt waits.
    pub(crate) fn look_at_wait(&mut self) {
        let Some(wait) = self.wait else { return };
        let interruptible = wait.any_interrupt || self.system_flags & flag::IF != 0;
        let touched = wait.monitors && !self.monitor_holds();
        let late = self.settled.clock >= wait.deadline;
        let over = touched || late || interruptible && self.interrupt_waits();
        if self.activity == Activity::Halted && !over {
            return;
        }
        if self.activity == Activity::Halted {
            self.activity = Activity::Active;
        }
        if late && wait.limited && !touched {
            self.change_status_flags(flag::CF, flag::CF);
        }
        self.wait = None;
        self.armed = None;
    }
}
