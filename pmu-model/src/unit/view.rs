//! The counters as a listing shows them.

use super::register::{fixed, select};
use super::{FIXED_COUNTERS, Unit};
use crate::catalog::{self, FIXED, Validity};
use crate::now::Now;

/// A counter as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// RDPMC selector.
    pub selector: u32,
    /// The event's name; `None` for an encoding that has none here.
    pub event: Option<&'static str>,
    /// What the count is worth.
    pub validity: Validity,
    /// Does it count (in some ring)?
    pub counting: bool,
    /// Its value.
    pub value: u64,
}

impl Unit {
    /// The counters, general ones first.
    pub fn views<'a>(&self, now: impl Into<Now<'a>>) -> Vec<View> {
        let (mut unit, now) = (self.clone(), now.into());
        unit.catch_up(now);
        unit.views_now(now)
    }

    fn views_now(&self, now: Now<'_>) -> Vec<View> {
        let general = self.general.iter().zip(self.event_select).enumerate().map(|(n, (c, s))| {
            let programmed = catalog::programmed(s, &self.extra);
            View {
                selector: n as u32,
                event: programmed.event.map(|e| e.name),
                validity: if self.formulas[n].is_some() { programmed.validity } else { Validity::NotModelled },
                counting: self.is_enabled(n) && s & select::EN != 0 && s & (select::OS | select::USR) != 0,
                value: c.value(now),
            }
        });
        let fixed = (0..FIXED_COUNTERS).map(|n| View {
            selector: 1 << 30 | n as u32,
            event: Some(FIXED[n].0),
            validity: FIXED[n].1.validity(),
            counting: self.is_enabled(32 + n) && self.fixed_ctrl >> (4 * n) & fixed::RINGS != 0,
            value: self.fixed[n].value(now),
        });
        general.chain(fixed).collect()
    }
}
