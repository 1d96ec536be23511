//! The PC: processors, board and memory put together, and the loop that runs them.
//!
//! `machine` is the parts list and power-on, `run` the loop, `board` the wiring, `seat` what one processor sees of it,
//! `chips` which chips there are, `clock` how ticks and time relate, `host` what the loop wants from outside,
//! `watch` who looks in from there, `under` the doors of a machine under a hypervisor.

mod board;
mod chips;
mod clock;
mod firmware;
mod host;
mod machine;
mod run;
mod seat;
#[cfg(test)]
mod tests;
mod under;
mod watch;

pub use board::{Board, Mail};
pub use chips::{Chips, Listed};
pub use clock::{TSC_HZ, TSC_MHZ, tick, time};
pub use host::{Host, Idle, Quiet, View};
pub use machine::{BuildError, Machine, Reload, Setup, pmu};
pub use run::{End, Limits, Stretch};
pub use watch::{Glance, MARK_PORT, Unwatched, Watch};

/// The performance monitoring unit of one processor.
pub type Pmu = pmu_model::Pmu;
