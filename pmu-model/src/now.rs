//! What has been counted up to an instruction boundary: the exact totals and the model's signals, side by side.

use crate::signal::{Signal, Signals};
use cpu_x86::{Counts, Ring};

/// All that has been counted up to an instruction boundary.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    /// What the processor counts exactly, since reset.
    pub counts: &'a Counts,
    /// What the model of the core has observed; `None`: nothing observes, as if all were zero for ever.
    pub signals: Option<&'a Signals>,
}

impl<'a> From<&'a Counts> for Now<'a> {
    fn from(counts: &'a Counts) -> Now<'a> {
        Now { counts, signals: None }
    }
}

impl Now<'_> {
    /// The exact totals of `ring`.
    pub fn facts(&self, ring: Ring) -> &cpu_x86::Facts {
        match ring {
            Ring::Kernel => &self.counts.kernel,
            Ring::User => &self.counts.user,
        }
    }

    /// Unhalted core cycles in `ring`: in the model an instruction takes one, and what is over is the kernel's but for
    /// what user-mode repetitions took.
    pub fn cycles(&self, ring: Ring) -> u64 {
        let user = self.counts.user.instructions.wrapping_add(self.counts.user_waits);
        match ring {
            Ring::User => user,
            Ring::Kernel => self.counts.cycles.saturating_sub(user),
        }
    }

    /// How often `signal` was observed in `ring`.
    pub fn signal(&self, signal: Signal, ring: Ring) -> u64 {
        self.signals.map_or(0, |s| s.of(ring)[signal])
    }
}
