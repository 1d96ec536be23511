//! Text views of the machine for snapshots, written by hand so that a line means what it says, and how a guest is run.
//!
//! `run` starts lessons and flat guests, `processor` writes registers, MSRs and CPUID, `lists` devices and events, `pmu` a
//! PMU with all its counts ([`assert_pmu_snapshot`]).

pub mod lists;
pub mod pmu;
pub mod processor;
pub mod run;

// What `assert_pmu_snapshot` expands to.
#[doc(hidden)]
pub use insta;
