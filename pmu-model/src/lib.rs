//! The performance monitoring unit: what is counted, when and by whom.
//!
//! The processor counts facts ([`cpu_x86::Counts`]); a counter is a view over them. `catalog` names the events,
//! `counter` is one counter, `unit` the registers of one logical processor.

pub mod catalog;
mod counter;
pub mod signal;
pub mod uarch;
mod unit;

pub use catalog::{Event, Fact, Validity};
pub use counter::{Counter, MASK, Selection, WIDTH};
pub use unit::{FIXED_COUNTERS, GENERAL, Unit, View};
