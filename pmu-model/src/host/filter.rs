//! What a guest may count: the event filter of a VM, and having no PMU at all.
//!
//! A counter whose event is denied reads back what was written to it; it just never counts and never overflows. The
//! filter is asked anew whenever a counter is programmed, and for each instruction that the hypervisor emulates.
//!
//! Differs from the text of the API, as the code does: for fixed counters only the bitmap is consulted, never the events.
//!
//! Source: spec/pmu.md 5.7; linux v7.2 arch/x86/kvm/pmu.c, Documentation/virt/kvm/api.rst 4.120 and 8.35.

use super::constraint::Counter;
use thiserror::Error;

/// Most events of a filter.
pub const MOST_EVENTS: usize = 300;
/// The flag that makes the events masked ones.
pub const MASKED_EVENTS: u32 = 1;

const ENTRY_EXCLUDE: u64 = 1 << 55;
/// Bits of a masked entry that mean something on Intel: event, match, exclude, mask.
const MASKED_BITS: u64 = 0xffff | ENTRY_EXCLUDE | 0xff << 56;

/// `struct kvm_pmu_event_filter` as user space passes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterRequest {
    /// 0: events that match are allowed, all others denied. 1: the reverse.
    pub action: u32,
    /// Bit n stands for fixed counter n.
    pub fixed_counter_bitmap: u32,
    /// 0, or [`MASKED_EVENTS`].
    pub flags: u32,
    /// Entries.
    pub events: Vec<u64>,
}

/// Why a filter is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FilterError {
    /// Neither allow nor deny.
    #[error("action {0} is neither 0 (allow) nor 1 (deny) (EINVAL)")]
    Action(u32),
    /// A flag that does not exist.
    #[error("flags {0:#x} are unknown (EINVAL)")]
    Flags(u32),
    /// A masked entry with bits that mean nothing.
    #[error("masked event {0:#x} has unused bits (EINVAL)")]
    Entry(u64),
    /// More than [`MOST_EVENTS`].
    #[error("{0} events are more than 300 (E2BIG)")]
    TooMany(usize),
}

impl FilterError {
    /// The errno of the ioctl.
    pub const fn errno(self) -> i32 {
        if matches!(self, FilterError::TooMany(_)) { 7 } else { 22 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    event: u8,
    value: u8,
    mask: u8,
    exclude: bool,
}

/// A filter that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    allow: bool,
    fixed: u32,
    entries: Vec<Entry>,
}

impl Filter {
    /// KVM_SET_PMU_EVENT_FILTER.
    ///
    /// # Errors
    /// EINVAL for an unknown action or flag and for unused bits of a masked entry, E2BIG for too many events.
    pub fn new(request: &FilterRequest) -> Result<Filter, FilterError> {
        let masked = request.flags == MASKED_EVENTS;
        if request.action > 1 {
            return Err(FilterError::Action(request.action));
        }
        if request.flags > MASKED_EVENTS {
            return Err(FilterError::Flags(request.flags));
        }
        if request.events.len() > MOST_EVENTS {
            return Err(FilterError::TooMany(request.events.len()));
        }
        let entries = if masked { masked_entries(&request.events)? } else { plain_entries(&request.events) };
        Ok(Filter { allow: request.action == 0, fixed: request.fixed_counter_bitmap, entries })
    }

    /// Whether an event select and unit mask may be counted on a general counter.
    pub fn allows(&self, config: u64) -> bool {
        let (event, umask) = (config as u8, (config >> 8) as u8);
        let matches = |entry: &&Entry| entry.event == event && umask & entry.mask == entry.value;
        let found = |exclude| self.entries.iter().filter(matches).any(|entry| entry.exclude == exclude);
        (found(false) && !found(true)) == self.allow
    }

    /// Whether fixed counter `n` may count.
    pub const fn allows_fixed(&self, n: u8) -> bool {
        (self.fixed >> (n & 31) & 1 != 0) == self.allow
    }
}

fn masked_entries(events: &[u64]) -> Result<Vec<Entry>, FilterError> {
    let entry = |raw: &u64| match raw & !MASKED_BITS {
        0 => Ok(Entry {
            event: *raw as u8,
            value: (*raw >> 8) as u8,
            mask: (*raw >> 56) as u8,
            exclude: raw & ENTRY_EXCLUDE != 0,
        }),
        _ => Err(FilterError::Entry(*raw)),
    };
    events.iter().map(entry).collect()
}

/// Entries with bits beyond event select and unit mask are accepted and never match.
fn plain_entries(events: &[u64]) -> Vec<Entry> {
    let exact = |raw: u64| Entry { event: raw as u8, value: (raw >> 8) as u8, mask: 0xff, exclude: false };
    events.iter().copied().filter(|raw| raw & !0xffff == 0).map(exact).collect()
}

/// What a VM lets its guest count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    filter: Option<Filter>,
}

impl Permission {
    /// Everything: no filter is installed.
    pub const EVERYTHING: Permission = Permission { filter: None };

    /// What a filter lets through.
    pub const fn filtered(filter: Filter) -> Permission {
        Permission { filter: Some(filter) }
    }

    /// Whether a counter may count what its selector says (of a fixed one, nothing is asked of the selector).
    pub fn allows(&self, counter: Counter, selector: u64) -> bool {
        match (&self.filter, counter.as_fixed()) {
            (None, _) => true,
            (Some(filter), Some(n)) => filter.allows_fixed(n),
            (Some(filter), None) => filter.allows(selector & 0xffff),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(action: u32, flags: u32, events: &[u64]) -> Result<Filter, FilterError> {
        Filter::new(&FilterRequest { action, fixed_counter_bitmap: 0b010, flags, events: events.to_vec() })
    }

    #[test]
    fn the_errors_are_those_of_the_interface() {
        assert_eq!(filter(2, 0, &[]).unwrap_err(), FilterError::Action(2));
        assert_eq!(filter(0, 2, &[]).unwrap_err(), FilterError::Flags(2));
        assert_eq!(filter(0, 0, &[0; 300]).map(|_| ()), Ok(()));
        let many = filter(0, 0, &[0; 301]).unwrap_err();
        assert_eq!((many, many.errno()), (FilterError::TooMany(301), 7));
        for bit in 0..64 {
            let used = !(16..55).contains(&bit);
            assert_eq!(filter(0, 1, &[1 << bit]).is_ok(), used, "bit {bit}");
            assert!(filter(0, 0, &[1 << bit]).is_ok());
        }
    }

    #[test]
    fn allow_and_deny_are_each_others_reverse() {
        let allow = filter(0, 0, &[0x00c0, 0x412e]).unwrap();
        let deny = filter(1, 0, &[0x00c0, 0x412e]).unwrap();
        for config in [0x00c0, 0x01c0, 0x412e, 0x4f2e, 0x003c] {
            assert_eq!(allow.allows(config), [0xc0, 0x412e].contains(&config), "{config:#x}");
            assert_ne!(allow.allows(config), deny.allows(config));
        }
        assert_eq!([0, 1, 2].map(|n| allow.allows_fixed(n)), [false, true, false]);
        assert_eq!([0, 1, 2].map(|n| deny.allows_fixed(n)), [true, false, true]);
    }

    #[test]
    fn plain_entries_with_other_bits_never_match() {
        let allow = filter(0, 0, &[0x1_00c0]).unwrap();
        assert!(!allow.allows(0xc0));
    }

    /// Every unit mask of one event against the formula of the specification.
    #[test]
    fn masked_entries_include_and_exclude_by_unit_mask() {
        let entry = |mask: u64, value: u64, exclude: u64| 0xc4 | value << 8 | exclude << 55 | mask << 56;
        let allow = filter(0, 1, &[entry(0xf0, 0x10, 0), entry(0xff, 0x12, 1)]).unwrap();
        for umask in 0..256_u64 {
            let expected = umask & 0xf0 == 0x10 && umask != 0x12;
            assert_eq!(allow.allows(0xc4 | umask << 8), expected, "unit mask {umask:#x}");
            assert!(!allow.allows(0xc5 | umask << 8));
        }
    }
}
