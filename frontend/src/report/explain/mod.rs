//! `unhalted explain` and `unhalted list`: events, registers and bits in words, out of the tables that the machine runs by.
//!
//! Whether a register is there, and what it holds at power-on, is asked of the processor and of the PMU themselves.

pub mod msrs;

use super::event::{self, EventError, PERF_NAMES, worth};
use crate::pc::pmu;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use cpu_x86::Counts;
use msrs::{Access, Field, REGISTERS, Register};
use pmu_model::catalog::{self, EVENTS, FIXED, When};
use pmu_model::{Event, Validity};

/// What is asked for is nothing known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{what}\" is no event, register or bit")]
pub struct Unknown {
    /// What was asked for.
    pub what: String,
    /// Names that resemble it.
    pub near: Vec<String>,
}

fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    table.to_string().lines().map(|l| l.trim_end().to_owned() + "\n").collect()
}

/// Explains an event (any spelling of `unhalted stat -e`), a register (name or number, `=VALUE` to decode one), or a bit
/// (name, or `REGISTER[BIT]`).
///
/// # Errors
/// Nothing of that name.
pub fn explain(what: &str) -> Result<String, Unknown> {
    let what = what.trim();
    let (subject, value) = what.split_once('=').map_or((what, None), |(s, v)| (s.trim(), number(v.trim())));
    let bare = subject.strip_prefix("msr ").unwrap_or(subject).trim();
    if let Some((name, bit)) = bare.strip_suffix(']').and_then(|s| s.split_once('[')) {
        let found = register(name).zip(bit.parse::<u8>().ok()).filter(|(_, bit)| *bit < 64);
        return found.map(|(r, bit)| explain_bit(r, bit)).ok_or_else(|| unknown(what));
    }
    if let Some(found) = register(bare) {
        return Ok(explain_register(found, number(bare), value));
    }
    if let Some((number, name)) = other_register(bare) {
        return Ok(explain_other(number, name, value));
    }
    let bits = fields(bare);
    if !bits.is_empty() {
        return Ok(bits.iter().map(|(r, f)| explain_field(r, f)).collect());
    }
    explain_event(what).ok_or_else(|| unknown(what))
}

fn unknown(what: &str) -> Unknown {
    let near = match event::parse(what) {
        Err(EventError::Unknown { near, .. }) => near,
        _ => Vec::new(),
    };
    let upper = what.to_ascii_uppercase();
    let registers = REGISTERS.iter().map(|r| r.name).filter(|n| upper.len() > 2 && n.contains(&upper));
    Unknown { what: what.to_owned(), near: registers.map(str::to_owned).chain(near).take(5).collect() }
}

/// Decimal, or hexadecimal with 0x or a trailing h.
fn number(text: &str) -> Option<u64> {
    let text = text.replace('_', "");
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16).ok();
    }
    match text.strip_suffix(['h', 'H']) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// By number, or by name with or without its prefix, with a number in place of n.
fn register(text: &str) -> Option<&'static Register> {
    if let Some(n) = number(text) {
        return REGISTERS.iter().find(|r| (u64::from(r.first)..=u64::from(r.last)).contains(&n));
    }
    let wanted = plain(text);
    REGISTERS.iter().find(|r| {
        let count = r.last - r.first;
        plain(r.name) == wanted || count > 0 && (0..=count).any(|n| plain(&numbered(r.name, n)) == wanted)
    })
}

/// A register that has nothing to do with counting, by number or name.
fn other_register(text: &str) -> Option<(u32, &'static str)> {
    if let Some(n) = number(text).and_then(|n| u32::try_from(n).ok()) {
        return cpu_x86::msr::name(n).map(|name| (n, name));
    }
    let wanted = plain(text);
    cpu_x86::msr::rows().find(|(_, _, name)| plain(name) == wanted).map(|(first, _, name)| (first, name))
}

fn explain_other(n: u32, name: &str, value: Option<u64>) -> String {
    let value = value.map_or(String::new(), |v| format!("the value {v:#x} is not decoded: "));
    format!("{name}  MSR {n:#x}; {}\n{value}its fields are not described here (SDM vol. 4)\n", there(n))
}

/// Whether register `n` is there, and with what.
fn there(n: u32) -> String {
    match at_power_on(n) {
        Some(v) => format!("{v:#x} at power-on"),
        None => "it cannot be read at power-on: #GP(0)".to_owned(),
    }
}

fn plain(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("IA32_").or(upper.strip_prefix("MSR_")).map_or(upper.clone(), str::to_owned)
}

/// `IA32_PMCn` and 3: `IA32_PMC3`.
fn numbered(name: &str, n: u32) -> String {
    match name.strip_suffix('n') {
        Some(stem) => format!("{stem}{n}"),
        None => name.replace("_n_", &format!("_{n}_")),
    }
}

/// All fields of that name.
fn fields(name: &str) -> Vec<(&'static Register, &'static Field)> {
    let same = |f: &&Field| f.name.eq_ignore_ascii_case(name);
    REGISTERS.iter().flat_map(|r| r.fields.iter().filter(same).map(move |f| (r, f))).collect()
}

fn place(f: &Field) -> String {
    if f.high == f.low { f.high.to_string() } else { format!("{}:{}", f.high, f.low) }
}

fn numbers(first: u32, last: u32) -> String {
    if first == last { format!("{first:#x}") } else { format!("{first:#x} to {last:#x}") }
}

/// What reading register `n` gives on a machine just switched on; `None`: it is not there.
pub fn at_power_on(n: u32) -> Option<u64> {
    let ram = std::sync::Arc::new(emu_core::Ram::new(1 << 20, &[]).ok()?);
    // A processor keeps DEBUGCTL itself and tells the PMU of it.
    match pmu().msr_read(n, &Counts::default()) {
        Some(value) => value.ok(),
        None => cpu_x86::Cpu::new(ram, 0).read_msr(n).ok(),
    }
}

fn explain_register(r: &Register, n: Option<u64>, value: Option<u64>) -> String {
    let access = match r.access {
        Access::ReadWrite => "read and written",
        Access::ReadOnly => "read only",
        Access::WriteOne => "written with ones, reads as 0",
    };
    let number = n.map_or(r.first, |n| n as u32);
    let there = there(number);
    let mut text = format!("{}  MSR {}, {access}; {there}\n{}\n\n", r.name, numbers(r.first, r.last), r.text);
    let shown = value.or(at_power_on(number)).unwrap_or(0);
    let rows = r.fields.iter().rev().map(|f| {
        let mask = if f.high - f.low == 63 { u64::MAX } else { (1 << (f.high - f.low + 1)) - 1 };
        [place(f), f.name.to_owned(), format!("{:#x}", shown >> f.low & mask), f.text.to_owned()]
    });
    text.push_str(&table(["bits", "field", if value.is_some() { "value" } else { "power-on" }, ""], rows));
    let named = r.fields.iter().fold(0u64, |m, f| m | u64::MAX >> (63 - (f.high - f.low)) << f.low);
    if let Some(v) = value.filter(|v| v & !named != 0) {
        text.push_str(&format!("\nreserved bits are set: {:#x}\n", v & !named));
    }
    text
}

fn explain_bit(r: &Register, bit: u8) -> String {
    match r.fields.iter().find(|f| (f.low..=f.high).contains(&bit)) {
        Some(f) => explain_field(r, f),
        None => format!("bit {bit} of {} (MSR {}) is reserved\n", r.name, numbers(r.first, r.last)),
    }
}

fn explain_field(r: &Register, f: &Field) -> String {
    let bits = if f.high == f.low { "bit" } else { "bits" };
    format!("{}: {bits} {} of {} (MSR {}): {}\n", f.name, place(f), r.name, numbers(r.first, r.last), f.text)
}

fn explain_event(what: &str) -> Option<String> {
    let event = event::parse(what).ok()?.into_iter().next()?;
    let code = event.encoding;
    let known = event.name.and_then(catalog::named);
    let mut text = match known {
        Some(e) => format!("{}: {}\n", e.name, e.text),
        None => format!("event {:#04x}, umask {:#04x}: no name here\n", code.event, code.umask),
    };
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<9} {value}\n"));
    line("encoding", format!("{:#x} in IA32_PERFEVTSELn (perf: r{:x})", code.bits(), code.bits()));
    if let Some((msr, value)) = known.and_then(|e| e.msr) {
        line("with", format!("{value:#x} in MSR {msr:#x}"));
    }
    line("worth", format!("{}: {}", worth(event.validity), meaning(event.validity)));
    if let Some(e) = known {
        line("counters", counters(e.counters));
        let names = perf_names(e);
        if !names.is_empty() {
            line("perf", names.join(", "));
        }
        if let Some(n) = fixed(e) {
            line("fixed", format!("fixed counter {n} ({}) counts the same", FIXED[n].0));
        }
    }
    Some(text)
}

/// perf's names of an event.
fn perf_names(e: &Event) -> Vec<&'static str> {
    let plain = e.when == When::default() && e.msr.is_none() && e.counters & catalog::ALL_GENERAL != 0;
    let same = |p: &&(&str, u8, u8)| plain && (p.1, p.2) == (e.event, e.umask);
    PERF_NAMES.iter().filter(same).map(|p| p.0).collect()
}

/// Which counters a mask as in GLOBAL_CTRL names.
fn counters(mask: u64) -> String {
    let of = |shift: u32, count: u32, kind: &str| {
        let numbers: Vec<String> = (0..count).filter(|n| mask >> (shift + n) & 1 != 0).map(|n| n.to_string()).collect();
        if numbers.is_empty() { None } else { Some(format!("{kind} {}", numbers.join(" "))) }
    };
    of(0, 8, "general").into_iter().chain(of(32, 4, "fixed")).collect::<Vec<_>>().join(", ")
}

/// The fixed counter that counts what a general one does for `e`.
fn fixed(e: &Event) -> Option<usize> {
    let mut facts = e.formula.filter(|_| e.when == When::default())?.facts().collect::<Vec<_>>();
    let fact = facts.pop().filter(|_| facts.is_empty())?;
    FIXED.iter().position(|(_, f)| *f == fact)
}

fn meaning(validity: Validity) -> &'static str {
    match validity {
        Validity::Exact => "what the architecture defines, to the last one",
        Validity::Modelled => "what this program's timing model makes of it",
        Validity::NotModelled => "it may be programmed, and counts nothing",
    }
}

/// The events whose name or text holds `filter`.
pub fn events(filter: &str) -> String {
    let filter = filter.to_ascii_lowercase();
    let chosen = EVENTS.iter().filter(|e| {
        let perf = perf_names(e).iter().any(|n| n.to_lowercase().contains(&filter));
        perf || e.name.to_ascii_lowercase().contains(&filter) || e.text.to_ascii_lowercase().contains(&filter)
    });
    let rows = chosen.map(|e| {
        let extra = e.msr.map_or(String::new(), |(msr, v)| format!(" {msr:x}={v:x}"));
        let raw = format!("r{:04x}{extra}", e.select());
        [e.name.to_owned(), raw, worth(e.validity()).to_owned(), e.text.to_owned(), perf_names(e).join(" ")]
    });
    table(["event", "raw", "worth", "", "perf's names"], rows)
}

/// The registers whose name or text holds `filter`, in order of their numbers: those around the counters in words, the
/// others that the processor has by name.
pub fn registers(filter: &str) -> String {
    let (upper, lower) = (filter.to_ascii_uppercase(), filter.to_ascii_lowercase());
    let described = |first: u32| REGISTERS.iter().any(|r| (r.first..=r.last).contains(&first));
    let others = cpu_x86::msr::rows().filter(|(first, ..)| !described(*first));
    let mut all: Vec<(u32, u32, &str, &str)> = others.map(|(first, last, name)| (first, last, name, "")).collect();
    all.extend(REGISTERS.iter().map(|r| (r.first, r.last, r.name, r.text)));
    all.sort();
    let chosen = all.into_iter().filter(|(.., name, text)| {
        name.to_ascii_uppercase().contains(&upper) || text.to_ascii_lowercase().contains(&lower)
    });
    let rows = chosen.map(|(first, last, name, text)| {
        let there = if at_power_on(first).is_some() { "there" } else { "not there" };
        [numbers(first, last), name.to_owned(), there.to_owned(), text.to_owned()]
    });
    table(["MSR", "name", "", ""], rows)
}

#[cfg(test)]
mod tests;
