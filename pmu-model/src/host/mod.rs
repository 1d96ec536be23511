//! The host's side: who owns a core's PMU, when, and who counted what.
//!
//! One core has one PMU. The host's `perf` wants its counters for events that profile the host, the guest or both; a guest
//! wants them for a PMU of its own. Everything here is about that one argument, and sees registers and counts only:
//! what ran is told in [`cell::Burst`]s, by world and privilege.
//!
//! ```text
//!   cell        the truth: four cells of every happening, host or guest, user or kernel
//!   registers   the PMU of a core as software sees it, each access counted
//!   attr        what perf_event_open is asked; the exclude bits
//!   constraint  which counters an event may sit on, and how several are placed
//!   sched       who gets on, in which order: a pure function      perf    its state: contexts, times, rotation
//!   vpmu/       the guest's PMU: none, perf-based, mediated, passed through
//!   switch      when a mediated guest's state is brought in and out: the policies of S0
//!   filter      what a guest may count        select   on which PMU        aperf   the guest's clock of work
//!   live        a guest that is really executed: what it meets outside
//!   exits       what leaving the guest costs the host             scenario  all of it on a timeline
//! ```
//!
//! The rules are those of Linux; `S0` to `S4` are the discussions that spec/pmu.md chapter 8 lists.

pub mod admission;
pub mod aperf;
pub mod attr;
pub mod cell;
pub mod constraint;
pub mod event;
pub mod exits;
pub mod filter;
pub mod live;
pub mod owners;
pub mod perf;
pub mod physical;
pub mod registers;
pub mod scenario;
pub mod sched;
pub mod select;
pub mod switch;
pub mod vpmu;
