//! One logical x86-64 processor, as the SDM describes it.
//!
//! `state` is what it is made of, `exec` what its instructions mean, `engine` how they run fast. It knows nothing of
//! counters or boards: both are behind the [`Doors`] it is given for the length of a run.

pub mod alu;
mod boundary;
mod control;
mod cpuid;
mod debug;
mod deliver;
mod door;
mod engine;
pub mod exec;
mod fault;
mod flags;
pub mod lapic;
pub mod memory;
pub mod monitor;
pub mod msr;
mod operand;
mod outside;
mod paging;
mod reset;
mod sampled;
mod save;
mod segment;
mod stack;
mod state;
mod task;
mod wait;

pub use cpuid::Features;
pub use door::{Counts, Doors, Facts, MARK_LEAF, NoDoors, PmuDoors, Refused, Registers, Ring, Sampled};
pub use engine::{Exit, Missing, Notes};
pub use exec::Invalidate;
pub use fault::{Done, Exception, Stop, vector};
pub use memory::Access;
pub use monitor::Monitor;
pub use msr::{Feedback, Pace};
pub use reset::Long64;
pub use state::{Activity, Cpu, Fpu, Msrs, Seg, Segment, Table, VecReg};
