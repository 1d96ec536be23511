//! Lists of what the machine is made of: devices and events.

use emu_core::Space;
use frontend::pc::Chips;
use pmu_model::Validity;

/// The devices of a machine of one processor and 1 GiB, a line a region.
pub fn devices() -> String {
    let mut text = String::new();
    for chip in Chips::new(1, 1 << 30).list() {
        text.push_str(&format!("{}\n", chip.name));
        for r in chip.regions {
            let space = match r.space {
                Space::Port => "ports",
                Space::Memory => "memory",
            };
            text.push_str(&format!("    {space:6} {:x} to {:x}\n", r.base, r.base + r.bytes.max(1) - 1));
        }
    }
    text
}

/// The PMU's events: event select, unit mask, name, what the count is worth.
pub fn events() -> String {
    let worth = |validity| match validity {
        Validity::Exact => "exact",
        Validity::Modelled => "modelled",
        Validity::NotModelled => "not modelled",
    };
    let mut text = String::new();
    for e in pmu_model::catalog::EVENTS {
        text.push_str(&format!(
            "{:02x} {:02x} {:<33} {:12} {}\n",
            e.event,
            e.umask,
            e.name,
            worth(e.validity()),
            e.text
        ));
    }
    for (n, (name, fact)) in pmu_model::catalog::FIXED.iter().enumerate() {
        let worth = if matches!(fact, pmu_model::Fact::Instructions) { "exact" } else { "modelled" };
        text.push_str(&format!("fixed {n} {name:<31} {worth}\n"));
    }
    text
}
