//! The performance monitoring unit: what is counted, when and by whom.
//!
//! Facts go in, counts come out; nothing here runs instructions. The exact totals of a processor ([`cpu_x86::Counts`]) and
//! the signals of a model of its core ([`signal::Signals`]) make up [`Now`], what has been counted up to an instruction
//! boundary. An event of the [`catalog`] is a [`Formula`] over them; a [`Counter`] is a view over a formula; a [`Unit`] is
//! the registers of one logical processor, with its overflows, interrupt requests and PERF_METRICS ([`Metrics`]). A count
//! says what it is worth ([`Validity`]): exact where the architecture alone defines it, modelled, or nothing.
//!
//! Whoever drives a unit keeps to this:
//!
//! - [`Now`] is that of an instruction boundary: an instruction that reads or writes the unit is not in it yet, and is in
//!   the next one.
//! - [`Unit::settle`] is called behind every instruction that wrote a register of the unit (the write takes effect there),
//!   and no later than [`Unit::deadline`] says: then every overflow is seen at the instruction that causes it.
//! - Signals may start at any time, and only their differences count. [`Unit::wants_structures`] says whether anything that
//!   is programmed takes them at all.
//!
//! # Without a processor
//!
//! ```
//! use cpu_x86::{Counts, Ring};
//! use pmu_model::signal::{Signal, Signals};
//! use pmu_model::{Now, Profile, Unit};
//!
//! let mut unit = Unit::new(Profile::SAPPHIRE_RAPIDS);
//! let (mut counts, mut signals) = (Counts::default(), Signals::default());
//!
//! // Counter 0 counts loads of user programs (D0h/81h) and interrupts at the third one from here.
//! for (msr, value) in [(0x4c1, (1 << 48) - 3), (0x186, 0x0051_81d0)] {
//!     let now = Now { counts: &counts, signals: Some(&signals) };
//!     unit.msr_write(msr, value, now).expect("a register of the unit").expect("a legal value");
//!     // The WRMSR retires.
//!     counts.kernel.instructions += 1;
//!     counts.cycles += 1;
//!     assert!(!unit.settle(Now { counts: &counts, signals: Some(&signals) }));
//! }
//! assert!(unit.wants_structures());
//! assert_eq!(unit.deadline(Now { counts: &counts, signals: Some(&signals) }, Ring::User), 3);
//!
//! // Ten instructions of a user program, of which two load.
//! counts.user.instructions += 10;
//! counts.cycles += 10;
//! signals.user[Signal::Loads] += 2;
//! let now = Now { counts: &counts, signals: Some(&signals) };
//! assert!(!unit.settle(now));
//! assert_eq!(unit.rdpmc(0, now), Ok((1 << 48) - 1));
//!
//! // The third load overflows the counter, and the unit requests an interrupt.
//! counts.user.instructions += 1;
//! counts.cycles += 1;
//! signals.user[Signal::Loads] += 1;
//! let now = Now { counts: &counts, signals: Some(&signals) };
//! assert!(unit.settle(now));
//! assert_eq!((unit.rdpmc(0, now), unit.msr_read(0x38e, now)), (Ok(0), Some(Ok(1))));
//!
//! // All events, without any counter.
//! let loads = pmu_model::catalog::named("MEM_INST_RETIRED.ALL_LOADS").expect("an event");
//! assert_eq!(loads.count(now, Ring::User), Some(3));
//! ```

#![deny(missing_docs)]

pub mod catalog;
mod counter;
pub mod ds;
mod fact;
mod formula;
pub mod host;
pub mod lbr;
mod metrics;
mod now;
pub mod pebs;
mod pmu;
pub mod signal;
pub mod uarch;
mod unit;

pub use catalog::{Event, Fact, Formula, Validity};
pub use counter::{Counter, MASK, Selection, WIDTH};
pub use lbr::{Branch, BranchKind, Lbr};
pub use metrics::Metrics;
pub use now::Now;
pub use pebs::Pebs;
pub use pmu::Pmu;
pub use unit::{FIXED_COUNTERS, GENERAL, Profile, Sampled, Unit, View};
