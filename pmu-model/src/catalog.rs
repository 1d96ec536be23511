//! The events of Sapphire Rapids by Intel's names: how they are programmed, and what this model makes of them.
//!
//! `table` has a row for each event. What EVENTSEL and the extra registers hold is looked up whole first: rows may share a
//! code and differ by CMASK, INV, E or the value of an extra register. What is not found so is the plain row of its code
//! with CMASK, INV and E applied ([`per_cycle`]), or an off-core or load-latency event by its rule (`qualified`). An encoding
//! that is in no row, or whose row is not modelled, may be programmed and counts nothing.
//!
//! Source: intel/perfmon `SPR/events/sapphirerapids_core.json` V1.39, as listed in spec/pmu.md 1.10.7; formulas from
//! spec/timing.md 4.3.

pub mod qualified;
mod table;

pub use crate::fact::{Fact, Most, SLOTS_PER_CYCLE};
pub use crate::formula::Formula;
pub use table::{EVENTS, FIXED};

use crate::now::Now;
use cpu_x86::Ring;

/// What a count is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// What the real part counts, defined by the architecture alone.
    Exact,
    /// A function of this program's timing model.
    Modelled,
    /// Counts nothing.
    NotModelled,
}

/// In which cycles an event counts, and how: CMASK, INV and E of EVENTSEL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// Counter mask: cycles in which it happened at least so often; 0 counts the happenings.
    pub cmask: u8,
    /// With a counter mask: the cycles in which it did not.
    pub inv: bool,
    /// Only the first of successive such cycles.
    pub edge: bool,
}

impl When {
    /// What EVENTSEL value `select` says. Without a counter mask INV is without meaning, and E takes the cycles in which
    /// the event happened at all.
    pub const fn of(select: u64) -> When {
        let (cmask, edge) = ((select >> 24) as u8, select >> 18 & 1 != 0);
        let inv = cmask != 0 && select >> 23 & 1 != 0;
        When { cmask: if edge && cmask == 0 { 1 } else { cmask }, inv, edge }
    }
}

/// Registers that some events are qualified by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// OFFCORE_RSP_0 and _1 (1A6h, 1A7h).
    pub offcore: [u64; 2],
    /// MSR_PEBS_LD_LAT (3F6h): latency threshold in cycles.
    pub load_latency: u64,
    /// MSR_PEBS_FRONTEND (3F7h).
    pub frontend: u64,
}

impl Extra {
    /// The value of register `msr`.
    pub const fn value(&self, msr: u32) -> u64 {
        match msr {
            qualified::OFFCORE_RSP_0 => self.offcore[0],
            qualified::OFFCORE_RSP_1 => self.offcore[1],
            qualified::LOAD_LATENCY => self.load_latency,
            qualified::FRONTEND => self.frontend,
            _ => 0,
        }
    }
}

/// The general counters, by bit of GLOBAL_CTRL.
pub const ALL_GENERAL: u64 = 0xff;

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Intel's name.
    pub name: &'static str,
    /// Event select, EVENTSEL bits 7:0.
    pub event: u8,
    /// Unit mask, bits 15:8.
    pub umask: u8,
    /// CMASK, INV and E.
    pub when: When,
    /// The register it is qualified by, and the value that makes it this event.
    pub msr: Option<(u32, u64)>,
    /// The counters that can count it, by bit of GLOBAL_CTRL: general ones from 0, fixed ones from 32.
    pub counters: u64,
    /// Can PEBS tell the instruction that caused it?
    pub precise: bool,
    /// How it is computed; `None`: not modelled.
    pub formula: Option<Formula>,
    /// What its count is worth.
    pub validity: Validity,
    /// What it says.
    pub text: &'static str,
}

impl Event {
    /// What EVENTSEL holds for it, without rings and enable.
    pub const fn select(&self) -> u64 {
        let When { cmask, inv, edge } = self.when;
        self.event as u64 | (self.umask as u64) << 8 | (edge as u64) << 18 | (inv as u64) << 23 | (cmask as u64) << 24
    }

    /// What its count is worth.
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// How often it has happened in `ring` up to `now`; `None`: not modelled. Only differences mean anything, while the
    /// signals were observed.
    pub fn count(&self, now: Now<'_>, ring: Ring) -> Option<u64> {
        self.formula.map(|f| f.count(now, ring))
    }

    /// Does a counter take an observer to count it?
    pub fn is_observed(&self) -> bool {
        self.formula.is_some_and(|f| f.is_observed())
    }

    /// Is `self` what EVENTSEL and `extra` ask for, but for CMASK, INV and E?
    fn is_selected_by(&self, select: u64, extra: &Extra) -> bool {
        let code = u64::from(self.event) | u64::from(self.umask) << 8;
        let (code, msr) = match self.msr {
            // The second off-core event has no rows of its own.
            Some((qualified::OFFCORE_RSP_0, v)) if select as u8 == 0x2b => {
                (code + 1, Some((qualified::OFFCORE_RSP_1, v)))
            }
            msr => (code, msr),
        };
        code == select & 0xffff
            && self.counters & ALL_GENERAL != 0
            && msr.is_none_or(|(number, value)| extra.value(number) == value)
    }
}

/// What a general counter counts.
#[derive(Clone, Copy, Debug)]
pub struct Programmed {
    /// The event, when it has a name.
    pub event: Option<&'static Event>,
    /// How it is computed; `None`: it counts nothing.
    pub formula: Option<Formula>,
    /// What its count is worth.
    pub validity: Validity,
    /// Can PEBS tell the instruction that caused it?
    pub precise: bool,
}

/// What EVENTSEL value `select` makes a general counter count while the extra registers hold `extra`.
pub fn programmed(select: u64, extra: &Extra) -> Programmed {
    let when = When::of(select);
    let mut named = EVENTS.iter().filter(|e| e.is_selected_by(select, extra));
    if let Some(e) = named.clone().find(|e| e.when == when) {
        return Programmed { event: Some(e), formula: e.formula, validity: e.validity, precise: e.precise };
    }
    let event = named.find(|e| e.when == When::default());
    let (plain, validity) = match event {
        Some(e) => (e.formula, e.validity),
        None => (qualified::formula(select, extra), Validity::Modelled),
    };
    let formula = plain.and_then(|f| per_cycle(f, when));
    let validity = match formula {
        None => Validity::NotModelled,
        Some(_) if when == When::default() => validity,
        Some(_) => Validity::Modelled,
    };
    let precise = event.map_or(select & 0xffff == qualified::LOAD_LATENCY_EVENT, |e| e.precise);
    Programmed { event, formula, validity, precise }
}

/// The event of a code without CMASK, INV and E that no register qualifies.
pub fn find(event: u8, umask: u8) -> Option<&'static Event> {
    EVENTS.iter().find(|e| {
        (e.event, e.umask, e.when, e.msr) == (event, umask, When::default(), None) && e.counters & ALL_GENERAL != 0
    })
}

/// The event of a name, in any case.
pub fn named(name: &str) -> Option<&'static Event> {
    EVENTS.iter().find(|e| e.name.eq_ignore_ascii_case(name))
}

/// CMASK, INV and E over a formula that has none, in the model of one instruction a cycle: an event happens in a cycle as
/// often as that cycle's instruction causes it. So three cases are exact, and all else cannot be told from totals:
///
/// - it never happens so often: no cycle (an edge neither), and with INV every cycle;
/// - it always does: every cycle, and with INV none;
/// - it happens at most once, and CMASK is 1: as many cycles as it happens, and with INV the others.
///
/// Hence with CMASK = 1 a count is at most the plain one, and together with that under INV it is all cycles. Edges depend
/// on which cycles are neighbours: apart from those that never come only the rows of the table have them.
pub fn per_cycle(formula: Formula, when: When) -> Option<Formula> {
    let (most, cmask) = (formula.most(), u64::from(when.cmask));
    if cmask == 0 {
        return Some(formula);
    }
    let reached = if most.firm && most.times < cmask {
        Formula::NEVER
    } else if most.always {
        Formula::CYCLES
    } else if most.firm && most.times == 1 {
        formula
    } else {
        return None;
    };
    let counted = match (when.inv, reached) {
        (false, f) => f,
        (true, Formula::NEVER) => Formula::CYCLES,
        (true, Formula::CYCLES) => Formula::NEVER,
        (true, f) => f.inverted(),
    };
    (!when.edge || counted == Formula::NEVER).then_some(counted)
}

#[cfg(test)]
mod tests;
