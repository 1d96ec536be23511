//! Random schedules against the host's side: the invariants E1 to E16 and P1a to P4c of spec/pmu.md, each over many
//! schedules that shrink when they fail.
//!
//! Everything is determined by seeds; a failure prints the shortest schedule found and the seed it came from.

#[path = "host_schedules/draw.rs"]
mod draw;
#[path = "host_schedules/hardware.rs"]
mod hardware;
#[path = "host_schedules/policies.rs"]
mod policies;
#[path = "host_schedules/reference.rs"]
mod reference;
#[path = "host_schedules/scenarios.rs"]
mod scenarios;
#[path = "host_schedules/scheduler.rs"]
mod scheduler;
#[path = "host_schedules/split.rs"]
mod split;
