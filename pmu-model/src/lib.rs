//! The performance monitoring unit: what is counted, when and by whom.
//!
//! The processor counts facts ([`cpu_x86::Counts`]); a counter is a view over them. `catalog` names the events,
//! `counter` is one counter, `unit` the registers of one logical processor.

pub mod catalog;
mod counter;
pub mod ds;
pub mod lbr;
pub mod pebs;
pub mod power;
pub mod signal;
mod unit;

pub use catalog::{Event, Fact, Validity};
pub use counter::{Counter, MASK, Selection, WIDTH};
pub use lbr::{Branch, BranchKind, Lbr};
pub use pebs::Pebs;
pub use unit::{FIXED_COUNTERS, GENERAL, Unit, View};
