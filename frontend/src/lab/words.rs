//! The small languages inside a scenario's strings: times, counters, events, segments of a guest's program.

use pmu_model::host::attr::{Attr, Exclude};
use pmu_model::host::cell::{Happening, Privilege};
use pmu_model::host::constraint::Counter;
use pmu_model::host::exits::ExitReason;
use pmu_model::host::registers::{EN, INT, METRICS_BIT, OS, Register, Shape, USR};
use pmu_model::host::scenario::Segment;

/// Cycles of a second: the model's clock.
pub const CYCLES_PER_SECOND: u64 = 2_200_000_000;

/// A time: a whole number with ns, us, ms or s, or of cycles. In cycles.
pub fn time(text: &str) -> Result<u64, String> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: u64 = number.trim().replace('_', "").parse().map_err(|_| format!("\"{text}\" is no time"))?;
    let per_second = match unit {
        "ns" => 1_000_000_000,
        "us" => 1_000_000,
        "ms" => 1_000,
        "s" => 1,
        "cycles" => return Ok(number),
        _ => return Err(format!("\"{text}\" is no time")),
    };
    let cycles = u128::from(number) * u128::from(CYCLES_PER_SECOND) / per_second;
    u64::try_from(cycles).map_err(|_| format!("\"{text}\" is too long"))
}

/// What [`time`] takes.
pub const TIMES: &str = "write a whole number with its unit: 10ms, 250us, 40000cycles";

/// Counters: "8+4" are eight general and four fixed ones; with a fourth fixed one come the metrics.
pub fn counters(text: &str) -> Option<Shape> {
    let (general, fixed) = text.split_once('+')?;
    let (general, fixed): (u32, u32) = (general.trim().parse().ok()?, fixed.trim().parse().ok()?);
    (general <= 8 && fixed <= 4).then_some(Shape { general, fixed, metrics: fixed == 4 })
}

/// What an event's name or number stands for, as event select and unit mask. Topdown metrics by their pseudo encodings.
pub fn config(name: &str) -> Option<u64> {
    let metric =
        ["retiring", "bad-spec", "fe-bound", "be-bound", "heavy-ops", "br-mispredict", "fetch-lat", "mem-bound"];
    if let Some(n) = name.strip_prefix("topdown-").and_then(|name| metric.iter().position(|m| *m == name)) {
        return Some(0x8000 + 0x100 * n as u64);
    }
    match name.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().filter(|config| *config <= 0xffff),
        None if name == "slots" => Some(0x0400),
        None => Happening::from_name(name).map(Happening::config),
    }
}

/// An event with perf's modifiers: "cycles:kH".
pub fn event(text: &str) -> Result<Attr, String> {
    let (name, letters) = text.split_once(':').unwrap_or((text, ""));
    let config = config(name).ok_or_else(|| format!("there is no event \"{name}\""))?;
    let exclude = Exclude::from_modifiers(letters).map_err(|letter| format!("there is no modifier \"{letter}\""))?;
    let precise = letters.matches('p').count().min(3) as u8;
    Ok(Attr { precise, ..Attr::raw(config).excluding(exclude) })
}

/// What [`event`] takes.
pub fn events() -> String {
    let names: Vec<&str> = Happening::ALL.iter().map(|kind| kind.name()).collect();
    format!("one of {}, or 0xUUEE; modifiers are u, k, G (guest only), H (host only) and p", names.join(", "))
}

/// What a guest counts, as the writes that set it up. "topdown" is fixed counter 3 with the metrics.
pub struct Counting {
    shape: Shape,
    next: u8,
    fixed: u64,
    global: u64,
    writes: Vec<Segment>,
    /// What each counter counts, by name.
    pub places: Vec<(String, Counter)>,
}

impl Counting {
    pub fn new(shape: Shape) -> Counting {
        Counting { shape, next: 0, fixed: 0, global: 0, writes: Vec::new(), places: Vec::new() }
    }

    /// One more: fixed counters are taken where they count the same.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let (name, letters) = text.split_once(':').unwrap_or((text, ""));
        let rings = (letters.is_empty() || letters.contains('u'), letters.is_empty() || letters.contains('k'));
        let interrupts = letters.contains('i');
        let fixed = ["instructions", "cycles", "ref-cycles", "slots"].iter().position(|n| *n == name);
        let fixed = if name == "topdown" { Some(3) } else { fixed };
        match fixed.filter(|n| (*n as u32) < self.shape.fixed && self.fixed >> (4 * n) & 3 == 0) {
            Some(n) => self.take_fixed(n as u8, name, rings, interrupts),
            None => self.take_general(name, rings, interrupts),
        }
    }

    fn take_fixed(&mut self, n: u8, name: &str, rings: (bool, bool), interrupts: bool) -> Result<(), String> {
        let field = u64::from(rings.1) | u64::from(rings.0) << 1 | u64::from(interrupts) << 3;
        self.fixed |= field << (4 * n);
        self.global |= Counter::fixed(n).bit();
        if name == "topdown" {
            if !self.shape.metrics {
                return Err("this guest has no PERF_METRICS: give it counters = \"8+4\"".to_owned());
            }
            self.global |= METRICS_BIT;
            self.writes.push(Segment::Write(Register::Count(Counter::fixed(3)), 0));
            self.writes.push(Segment::Write(Register::Metrics, 0));
        }
        self.places.push((name.to_owned(), Counter::fixed(n)));
        Ok(())
    }

    fn take_general(&mut self, name: &str, rings: (bool, bool), interrupts: bool) -> Result<(), String> {
        let config = config(name).filter(|config| *config < 0x8000);
        let config = config.ok_or_else(|| format!("a guest cannot count \"{name}\""))?;
        if u32::from(self.next) >= self.shape.general {
            return Err(format!("no counter is left for \"{name}\""));
        }
        let bits = if rings.0 { USR } else { 0 } | if rings.1 { OS } else { 0 } | if interrupts { INT } else { 0 };
        self.writes.push(Segment::Write(Register::Selector(self.next), config | bits | EN));
        self.global |= 1 << self.next;
        self.places.push((name.to_owned(), Counter::general(self.next)));
        self.next += 1;
        Ok(())
    }

    /// The value of GLOBAL_CTRL with everything on.
    pub fn global(&self) -> u64 {
        self.global
    }

    /// The writes, GLOBAL_CTRL last.
    pub fn writes(&self) -> Vec<Segment> {
        let mut writes = self.writes.clone();
        if self.fixed != 0 {
            writes.push(Segment::Write(Register::FixedControl, self.fixed));
        }
        if self.global != 0 {
            writes.push(Segment::Write(Register::GlobalControl, self.global));
        }
        writes
    }
}

/// What [`segment`] takes.
pub const SEGMENTS: &str = "write \"user 40us\", \"kernel 5us\", \"exit io\" (interrupt, hlt, io, msr, rdpmc, cpuid, \
    exception, ept, timer), \"halt 1ms\", \"read cycles\" (a counter that it counts with), \"aperf\", \"pmu on\", \
    \"pmu off\" or \"pmi done\"";

/// A segment of a guest's program.
pub fn segment(text: &str, counting: &Counting) -> Result<Segment, String> {
    let wrong = || format!("\"{text}\" is nothing that a guest does");
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match (word, rest.trim()) {
        ("user", cycles) => Ok(Segment::Run(Privilege::User, time(cycles)?)),
        ("kernel", cycles) => Ok(Segment::Run(Privilege::Kernel, time(cycles)?)),
        ("halt", cycles) => Ok(Segment::Halt(time(cycles)?)),
        ("exit", reason) => ExitReason::from_name(reason).map(Segment::Exit).ok_or_else(wrong),
        ("read", name) => {
            let place = counting.places.iter().find(|(counted, _)| counted == name);
            let read = place.map(|(_, counter)| Segment::Read(Register::Count(*counter), true));
            read.ok_or_else(|| format!("it counts no \"{name}\""))
        }
        ("aperf", "") => Ok(Segment::ReadAperf),
        ("pmu", "on") => Ok(Segment::Write(Register::GlobalControl, counting.global())),
        ("pmu", "off") => Ok(Segment::Write(Register::GlobalControl, 0)),
        ("pmi", "done") => Ok(Segment::ServePmi),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_whole_numbers_with_units() {
        assert_eq!(time("10ms"), Ok(22_000_000));
        assert_eq!(time("5 us"), Ok(11_000));
        assert_eq!(time("1_000cycles"), Ok(1000));
        for bad in ["", "10", "ms", "1.5ms", "-1s", "99999999999999999999s", "9999999999999999s", "3 weeks"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn events_have_names_numbers_and_modifiers() {
        assert_eq!(event("cycles:kH").unwrap().exclude.cells().0, 0b0010);
        assert_eq!(event("0x412e").unwrap().config, 0x412e);
        assert_eq!(event("topdown-mem-bound").unwrap().config, 0x8700);
        assert_eq!(event("cycles:ppp").unwrap().precise, 3);
        for bad in ["", "cycle", "cycles:x", "0x1ffff", "0xg"] {
            assert!(event(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_guest_takes_fixed_counters_first() {
        let mut counting = Counting::new(Shape::THREE_FIXED);
        for name in ["instructions:u", "branches:ki", "instructions", "cycles"] {
            counting.add(name).unwrap();
        }
        let expected = [
            Segment::Write(Register::Selector(0), 0xc4 | OS | INT | EN),
            Segment::Write(Register::Selector(1), 0xc0 | OS | USR | EN),
            Segment::Write(Register::FixedControl, 0x32),
            Segment::Write(Register::GlobalControl, 0x3_0000_0003),
        ];
        assert_eq!(counting.writes(), expected);
        assert!(counting.add("topdown").is_err());
        let read = segment("read branches", &counting);
        assert_eq!(read, Ok(Segment::Read(Register::Count(Counter(0)), true)));
        assert!(segment("read slots", &counting).is_err() && segment("sleep 1ms", &counting).is_err());
    }
}
