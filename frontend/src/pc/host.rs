//! What the run loop wants from outside the machine: input, a place for output, patience, a reason to stop.

use super::run::End;
use cpu_x86::{Counts, Cpu};
use emu_core::Time;

/// What came of waiting for the next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Virtual time may go on to the event.
    Skip,
    /// Input came first, after this much virtual time.
    Input(Time),
    /// There will never be input: nothing can wake the machine if no event does.
    Never,
}

/// The machine as a host may see it between two windows.
pub struct View<'a> {
    pub(super) cpus: &'a [Box<Cpu>],
}

impl View<'_> {
    /// What each processor has retired.
    pub fn counts(&self) -> Vec<Counts> {
        self.cpus.iter().map(|c| c.counts()).collect()
    }
}

/// The world outside. Everything that is not a function of the guest comes in here.
pub trait Host {
    /// The guest's serial output, in order.
    fn output(&mut self, bytes: &[u8]);
    /// Input for the serial port that has not been taken yet.
    fn input(&mut self) -> &[u8];
    /// The serial port took the first `bytes` of it.
    fn taken(&mut self, bytes: usize);
    /// Should the run end? Asked once a window.
    fn stop(&mut self, view: &View<'_>) -> Option<End>;
    /// All processors are halted and the next event is `until` away (`None`: there is none).
    fn idle(&mut self, until: Option<Time>) -> Idle;
}

/// A host that keeps the output, has the input given at the start, and never stops the run.
#[derive(Clone, Debug, Default)]
pub struct Quiet {
    /// What the guest wrote.
    pub written: Vec<u8>,
    /// What the guest may read.
    pub typed: Vec<u8>,
}

impl Host for Quiet {
    fn output(&mut self, bytes: &[u8]) {
        self.written.extend_from_slice(bytes);
    }
    fn input(&mut self) -> &[u8] {
        &self.typed
    }
    fn taken(&mut self, bytes: usize) {
        self.typed.drain(..bytes.min(self.typed.len()));
    }
    fn stop(&mut self, _view: &View<'_>) -> Option<End> {
        None
    }
    fn idle(&mut self, until: Option<Time>) -> Idle {
        if until.is_some() { Idle::Skip } else { Idle::Never }
    }
}
