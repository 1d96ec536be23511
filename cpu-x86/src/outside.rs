//! The way out: every use of the doors goes through here, with the counts at the instruction that asks.
#![expect(unsafe_code, reason = "the doors of a run are a raw pointer for its length")]

use crate::door::{Counts, Doors, NoDoors};
use crate::monitor::Monitor;
use crate::state::Cpu;
use emu_core::Gpa;

impl Cpu {
    /// What has been retired: exact at any instruction that asks (that instruction not included), and between runs.
    pub fn counts(&self) -> Counts {
        if self.doors.is_some() { self.counts_now() } else { self.settled }
    }

    /// Calls `f` with the doors of the run (none outside a run) and the counts. The run loop looks afterwards what that
    /// changed.
    pub(crate) fn with_doors<T>(&mut self, f: impl FnOnce(&mut dyn Doors, &Counts) -> T) -> T {
        self.engine.look = true;
        self.tell_waiting();
        let now = self.counts();
        match self.doors {
            // SAFETY: set from an exclusive reference for the length of a run; no other reference to the doors is used
            // meanwhile, and doors cannot reach the processor.
            Some(doors) => f(unsafe { &mut *doors }, &now),
            None => f(&mut NoDoors, &now),
        }
    }

    /// The doors of the run, for the run loop itself.
    pub(crate) fn doors_of_run(&mut self) -> &mut dyn Doors {
        self.tell_waiting();
        // SAFETY: as in `with_doors`; the run loop holds no other reference to them.
        unsafe { &mut *self.doors.expect("within a run") }
    }

    /// The PMU looks at the counts at an instruction boundary. True: it requests an interrupt. What it reads and writes
    /// meanwhile through [`crate::Sampled`] goes to memory alone: doors and monitor are shut, for they are in use.
    pub(crate) fn pmu_settle(&mut self, now: &Counts) -> bool {
        let doors = self.doors.take().expect("within a run");
        let watched = std::mem::replace(&mut self.hot.watched, false);
        // SAFETY: as in `with_doors`; the doors are not part of the processor, which cannot reach them now.
        let requests = unsafe { (*doors).settle(now, self) };
        self.hot.watched = watched;
        self.doors = Some(doors);
        requests
    }

    /// Calls `f` with the monitor of the run, if there is one, which knows by then of all that waited to be told.
    pub(crate) fn with_monitor(&mut self, f: impl FnOnce(&mut dyn Monitor, &mut Cpu)) {
        let waiting = std::mem::take(&mut self.hot.log.len) as usize;
        if let Some(doors) = self.doors {
            // SAFETY: as in `with_doors`; the monitor is part of the doors, not of the processor.
            if let Some(monitor) = unsafe { (*doors).pmu().monitor() } {
                if waiting > 0 {
                    monitor.pass(&self.hot.log.steps[..waiting]);
                }
                f(monitor, self);
            }
        }
    }

    /// Reads a port.
    pub(crate) fn port_in(&mut self, port: u16, bytes: u32) -> u32 {
        self.pending_debug |= self.port_breakpoint(port, u64::from(bytes));
        self.with_doors(|doors, now| doors.port_read(port, bytes, now))
    }

    /// Writes a port.
    pub(crate) fn port_out(&mut self, port: u16, bytes: u32, v: u32) {
        self.pending_debug |= self.port_breakpoint(port, u64::from(bytes));
        self.with_doors(|doors, now| doors.port_write(port, bytes, v, now));
    }

    /// Reads device memory, 1 to 8 bytes: the local APIC's page is the processor's own.
    pub(crate) fn device_read(&mut self, at: Gpa, bytes: u32) -> u64 {
        match self.apic_offset(at) {
            Some(offset) => {
                self.engine.look = true;
                u64::from(self.apic_read(offset))
            }
            None => self.with_doors(|doors, now| doors.memory_read(at, bytes, now)),
        }
    }

    /// Writes device memory.
    pub(crate) fn device_write(&mut self, at: Gpa, bytes: u32, v: u64) {
        match self.apic_offset(at) {
            Some(offset) => {
                self.engine.look = true;
                self.apic_write(offset, v as u32);
            }
            None => self.with_doors(|doors, now| doors.memory_write(at, bytes, v, now)),
        }
    }

    fn apic_offset(&self, at: Gpa) -> Option<u32> {
        let offset = at.0.wrapping_sub(self.lapic.page()?);
        (offset < 4096).then_some(offset as u32)
    }
}
