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

/// The PMU's events: unit mask and event select, CMASK, INV and E, the value of the register it is qualified by, name,
/// what the count is worth.
pub fn events() -> String {
    let worth = |validity| match validity {
        Validity::Exact => "exact",
        Validity::Modelled => "modelled",
        Validity::NotModelled => "not modelled",
    };
    let mut text = String::new();
    for e in pmu_model::catalog::EVENTS {
        let cmask = if e.when.cmask == 0 { String::new() } else { format!("c{}", e.when.cmask) };
        let (inv, edge) = (if e.when.inv { "i" } else { "" }, if e.when.edge { "e" } else { "" });
        let msr = e.msr.map_or(String::new(), |(number, value)| format!("{number:x}={value:x}"));
        let precise = if e.precise { "P" } else { "" };
        text.push_str(&format!(
            "{:02x}/{:02x} {:5} {:15} {:13x} {:1} {:<40} {:12} {}\n",
            e.event,
            e.umask,
            format!("{cmask}{inv}{edge}"),
            msr,
            e.counters,
            precise,
            e.name,
            worth(e.validity),
            e.text
        ));
    }
    text
}
