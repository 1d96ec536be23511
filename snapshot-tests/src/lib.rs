//! Text views of the machine for snapshots, written by hand so that a line means what it says, and how a guest is run.
//!
//! `run` starts lessons and flat guests, `processor` writes registers, MSRs and CPUID, `lists` devices and events.

pub mod lists;
pub mod processor;
pub mod run;
