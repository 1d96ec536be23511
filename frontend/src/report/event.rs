//! Events as users write them: Intel's names, perf's names, raw encodings, modifiers; and what each is worth.
//!
//! The catalog is `pmu_model`'s; here are only the other spellings. Source of perf's names: Linux
//! `arch/x86/events/intel/core.c` (generic and cache events of this core) by way of spec/pmu.md 1.10.1 and 1.10.2; of the
//! syntax: `tools/perf/Documentation/perf-list.txt`.

use crate::pc::Glance;
use cpu_x86::Ring;
use pmu_model::catalog::{self, Extra, When};
use pmu_model::{Formula, Now, Validity};

/// Where counts come from: never multiplexed, so any number of events at once.
pub trait Source {
    /// How often `event` has happened on `processor` in `ring` since power-on; 0 for an event that is not modelled.
    fn value(&self, event: &Event, ring: Ring, processor: usize) -> u64;
    /// How many processors there are.
    fn processors(&self) -> usize;
}

impl Source for Glance<'_> {
    fn value(&self, event: &Event, ring: Ring, processor: usize) -> u64 {
        let (counts, signals) = (self.cpus[processor].counts(), Some(&self.signals[processor]));
        event.count(Now { counts: &counts, signals }, ring)
    }
    fn processors(&self) -> usize {
        self.cpus.len()
    }
}

/// An encoding: what PERFEVTSEL holds besides rings and enables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Event select, bits 7:0.
    pub event: u8,
    /// Unit mask, bits 15:8.
    pub umask: u8,
    /// Counter mask, bits 31:24.
    pub cmask: u8,
    /// Bit 23.
    pub inv: bool,
    /// Bit 18.
    pub edge: bool,
}

impl Encoding {
    /// As in PERFEVTSEL.
    pub fn bits(&self) -> u64 {
        let flag = |b: bool, at: u32| u64::from(b) << at;
        u64::from(self.event)
            | u64::from(self.umask) << 8
            | flag(self.edge, 18)
            | flag(self.inv, 23)
            | u64::from(self.cmask) << 24
    }

    /// Out of PERFEVTSEL; bits that select no event are refused.
    fn from_bits(v: u64) -> Option<Encoding> {
        const LEGAL: u64 = 0xff84_ffff;
        let byte = |at: u32| (v >> at) as u8;
        (v & !LEGAL == 0).then_some(Encoding {
            event: byte(0),
            umask: byte(8),
            cmask: byte(24),
            inv: v >> 23 & 1 != 0,
            edge: v >> 18 & 1 != 0,
        })
    }
}

/// An event that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// As it was written, for tables.
    pub label: String,
    /// Intel's name, where the encoding has one.
    pub name: Option<&'static str>,
    /// Its encoding.
    pub encoding: Encoding,
    /// Counted in CPL 3.
    pub user: bool,
    /// Counted in CPL 0 to 2.
    pub kernel: bool,
    /// What the count is worth.
    pub validity: Validity,
    formula: Option<Formula>,
}

impl Event {
    /// How often it has happened in `ring`; 0 where the ring is filtered out.
    pub fn count(&self, now: Now<'_>, ring: Ring) -> u64 {
        self.formula.filter(|_| self.counts_in(ring)).map_or(0, |f| f.count(now, ring))
    }

    /// Is it counted in `ring`?
    pub fn counts_in(&self, ring: Ring) -> bool {
        match ring {
            Ring::User => self.user,
            Ring::Kernel => self.kernel,
        }
    }

    /// The most that one instruction adds, as a rule.
    pub fn most_per_instruction(&self) -> u64 {
        self.formula.map_or(1, |f| f.most().times.max(1))
    }

    /// Does it count anything?
    pub fn is_modelled(&self) -> bool {
        self.formula.is_some()
    }

    /// Does it take the model of the core to count it?
    pub fn is_observed(&self) -> bool {
        self.formula.is_some_and(|f| f.is_observed())
    }

    /// What a general counter would count.
    fn new(label: &str, encoding: Encoding) -> Event {
        let programmed = catalog::programmed(encoding.bits(), &Extra::default());
        let name = programmed.event.filter(|e| e.when == When::of(encoding.bits())).map(|e| e.name);
        let (validity, formula) = (programmed.validity, programmed.formula);
        Event { label: label.to_owned(), name, encoding, user: true, kernel: true, validity, formula }
    }

    /// An event of the catalog.
    fn of(label: &str, e: &'static catalog::Event) -> Event {
        let When { cmask, inv, edge } = e.when;
        let encoding = Encoding { event: e.event, umask: e.umask, cmask, inv, edge };
        let (name, validity, formula) = (Some(e.name), e.validity, e.formula);
        Event { label: label.to_owned(), name, encoding, user: true, kernel: true, validity, formula }
    }
}

/// The word for a validity.
pub fn worth(validity: Validity) -> &'static str {
    match validity {
        Validity::Exact => "exact",
        Validity::Modelled => "modelled",
        Validity::NotModelled => "not modelled",
    }
}

/// perf's names: name, event select, unit mask.
#[rustfmt::skip] // one name a row
pub const PERF_NAMES: &[(&str, u8, u8)] = &[
    ("cycles",                0x3c, 0x00),
    ("cpu-cycles",            0x3c, 0x00),
    ("instructions",          0xc0, 0x00),
    ("ref-cycles",            0x3c, 0x01),
    ("bus-cycles",            0x3c, 0x01),
    ("branches",              0xc4, 0x00),
    ("branch-instructions",   0xc4, 0x00),
    ("branch-misses",         0xc5, 0x00),
    ("cache-references",      0x2e, 0x4f),
    ("cache-misses",          0x2e, 0x41),
    ("slots",                 0xa4, 0x01),
    ("L1-dcache-loads",       0xd0, 0x81),
    ("L1-dcache-load-misses", 0x24, 0xe1),
    ("L1-dcache-stores",      0xd0, 0x82),
    ("L1-icache-load-misses", 0x24, 0xe4),
    ("dTLB-loads",            0xd0, 0x81),
    ("dTLB-load-misses",      0x12, 0x0e),
    ("dTLB-stores",           0xd0, 0x82),
    ("dTLB-store-misses",     0x13, 0x0e),
    ("iTLB-load-misses",      0x11, 0x0e),
];

/// What is wrong with a list of events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// No such name.
    #[error("\"{name}\" is no event")]
    Unknown {
        /// What was written.
        name: String,
        /// Names that resemble it.
        near: Vec<String>,
    },
    /// A modifier other than u, k, p.
    #[error("\"{modifier}\" is no modifier of \"{event}\": u and k choose rings, p changes nothing")]
    Modifier {
        /// The event.
        event: String,
        /// The letter.
        modifier: char,
    },
    /// Neither `rUUEE` nor `cpu/event=…/`.
    #[error("\"{text}\" is no encoding: {why}")]
    Encoding {
        /// What was written.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// It cannot be sampled.
    #[error("{name} is not modelled: there is nothing to sample")]
    NotModelled {
        /// The event.
        name: String,
    },
    /// Nothing to count.
    #[error("an empty list of events")]
    Empty,
}

/// The events of a list: names, `rUUEE`, `cpu/event=0xc4,umask=0x11/`, each with `:u`, `:k` or both rings.
///
/// # Errors
/// The first that is wrong.
pub fn parse(list: &str) -> Result<Vec<Event>, EventError> {
    // Some of the catalog's names hold commas.
    if let Some(event) = named(list.trim(), list.trim()) {
        return Ok(vec![event]);
    }
    let words = words(list);
    let events = words.iter().map(|w| parse_one(w)).collect::<Result<Vec<_>, _>>()?;
    if events.is_empty() { Err(EventError::Empty) } else { Ok(events) }
}

/// Words between commas; those between slashes separate terms. Braces group for scheduling, which is not needed here.
pub fn words(list: &str) -> Vec<String> {
    let (mut words, mut word, mut within) = (Vec::new(), String::new(), false);
    for c in list.chars().filter(|c| !matches!(c, '{' | '}')).chain([',']) {
        within ^= c == '/';
        if c == ',' && !within {
            let done = std::mem::take(&mut word);
            words.extend(Some(done.trim().to_owned()).filter(|w| !w.is_empty()));
        } else {
            word.push(c);
        }
    }
    words.extend(Some(word.trim().to_owned()).filter(|w| !w.is_empty()));
    words
}

fn parse_one(text: &str) -> Result<Event, EventError> {
    if let Some(terms) = text.strip_prefix("cpu/") {
        let (terms, modifiers) = terms.split_once('/').ok_or_else(|| bad(text, "the closing / is missing"))?;
        let mut event = terms_of(text, terms)?;
        event.label = text.to_owned();
        return modified(event, modifiers.trim_start_matches(':'));
    }
    let (name, modifiers) = text.split_once(':').unwrap_or((text, ""));
    let event = match raw(name) {
        Some(bits) => Encoding::from_bits(bits)
            .map(|encoding| Event::new(text, encoding))
            .ok_or_else(|| bad(text, "only event, umask, edge, inv and cmask select an event (PERFEVTSEL bits)"))?,
        None => named(text, name).ok_or_else(|| EventError::Unknown { name: name.to_owned(), near: near(name) })?,
    };
    modified(event, modifiers)
}

fn bad(text: &str, why: &str) -> EventError {
    EventError::Encoding { text: text.to_owned(), why: why.to_owned() }
}

/// `r` and hexadecimal digits.
fn raw(name: &str) -> Option<u64> {
    let digits = name.strip_prefix('r').filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u64::from_str_radix(digits, 16).ok()
}

/// By Intel's name or perf's, in any case; `text` is its label.
fn named(text: &str, name: &str) -> Option<Event> {
    let perf = PERF_NAMES.iter().find(|(n, ..)| n.eq_ignore_ascii_case(name));
    let perf = perf.map(|&(_, event, umask)| Event::new(text, Encoding { event, umask, ..Encoding::default() }));
    perf.or_else(|| catalog::named(name).map(|e| Event::of(text, e)))
}

/// Names that share a word with `name`, for the message.
fn near(name: &str) -> Vec<String> {
    let wanted = name.to_ascii_lowercase();
    let words: Vec<&str> = wanted.split(['.', '_', '-']).filter(|w| w.len() > 2).collect();
    let all = PERF_NAMES.iter().map(|p| p.0).chain(catalog::EVENTS.iter().map(|e| e.name));
    let mut scored: Vec<(usize, &str)> = all
        .map(|n| (words.iter().filter(|w| n.to_ascii_lowercase().contains(**w)).count(), n))
        .filter(|(score, _)| *score > 0)
        .collect();
    scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    scored.into_iter().take(4).map(|(_, n)| n.to_owned()).collect()
}

/// The terms between the slashes of `cpu/…/`.
fn terms_of(text: &str, terms: &str) -> Result<Event, EventError> {
    let (mut code, mut by_name) = (Encoding::default(), None);
    for term in terms.split(',').map(str::trim).filter(|t| !t.is_empty()) {
        let (key, value) = term.split_once('=').unwrap_or((term, "1"));
        let number = match value.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => value.parse().ok(),
        };
        let byte = || number.and_then(|n| u8::try_from(n).ok()).ok_or_else(|| bad(text, &format!("{term}: 0 to 0xff")));
        let flag = || number.map(|n| n != 0).ok_or_else(|| bad(text, &format!("{term}: 0 or 1")));
        match key {
            "event" => code.event = byte()?,
            "umask" => code.umask = byte()?,
            "cmask" => code.cmask = byte()?,
            "inv" => code.inv = flag()?,
            "edge" => code.edge = flag()?,
            "name" => {}
            name => {
                let known = named(text, name).filter(|_| value == "1");
                by_name =
                    Some(known.ok_or_else(|| bad(text, &format!("{key}: event, umask, cmask, inv, edge, name")))?);
            }
        }
    }
    Ok(by_name.unwrap_or_else(|| Event::new(text, code)))
}

fn modified(mut event: Event, modifiers: &str) -> Result<Event, EventError> {
    let (mut user, mut kernel) = (false, false);
    for modifier in modifiers.chars() {
        match modifier {
            'u' => user = true,
            'k' => kernel = true,
            'p' | 'P' => {}
            _ => return Err(EventError::Modifier { event: event.label, modifier }),
        }
    }
    if user || kernel {
        (event.user, event.kernel) = (user, kernel);
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpu_x86::{Counts, Facts};
    use proptest::prelude::*;

    fn one(text: &str) -> Event {
        parse(text).unwrap().remove(0)
    }

    #[test]
    fn one_event_has_many_spellings() {
        let spellings =
            ["branches", "BRANCHES", "BR_INST_RETIRED.ALL_BRANCHES", "r00c4", "rc4", "cpu/event=0xc4,umask=0/"];
        for text in spellings {
            let e = one(text);
            assert_eq!((e.encoding.bits(), e.name), (0xc4, Some("BR_INST_RETIRED.ALL_BRANCHES")), "{text}");
            assert_eq!((e.user, e.kernel, e.validity), (true, true, Validity::Exact), "{text}");
        }
    }

    #[test]
    fn modifiers_choose_rings() {
        assert_eq!((one("instructions:u").user, one("instructions:u").kernel), (true, false));
        assert_eq!((one("r11c4:k").user, one("cpu/event=0xc0/k").kernel), (false, true));
        assert!(one("cycles:ukp").user);
        assert!(matches!(parse("cycles:x"), Err(EventError::Modifier { modifier: 'x', .. })));
    }

    #[test]
    fn commas_within_slashes_separate_terms() {
        let events = parse("{cycles,cpu/event=0xc4,umask=0x11,cmask=1,inv/u},r1c2").unwrap();
        let bits: Vec<u64> = events.iter().map(|e| e.encoding.bits()).collect();
        assert_eq!(bits, [0x3c, 0x0180_11c4, 0x1c2]);
        assert_eq!(events[1].validity, Validity::Modelled, "a counter mask counts cycles");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parse(" , "), Err(EventError::Empty));
        let Err(EventError::Unknown { near, .. }) = parse("branch_instructions") else { panic!() };
        assert_eq!(near[0], "branch-instructions");
        for text in ["r11fffffffff", "cpu/event=0x1c0/", "cpu/event=0xc0", "cpu/colour=3/", "cpu/inv=x/"] {
            assert!(matches!(parse(text), Err(EventError::Encoding { .. })), "{text}");
        }
    }

    #[test]
    fn an_edge_is_not_modelled_and_counts_nothing() {
        let e = one("cpu/event=0xc0,cmask=1,edge/");
        let now = Counts { user: Facts { instructions: 9, ..Facts::default() }, cycles: 9, ..Counts::default() };
        assert_eq!(
            (e.validity, e.count((&now).into(), Ring::User), e.is_modelled()),
            (Validity::NotModelled, 0, false)
        );
    }

    #[test]
    fn a_ring_that_is_filtered_out_counts_nothing() {
        let facts = |n| Facts { instructions: n, branches: n / 2, conditional: n / 4, ..Facts::default() };
        let now = Counts { user: facts(100), kernel: facts(40), cycles: 140, clock: 200, ..Counts::default() };
        let both = |e: &Event| (e.count((&now).into(), Ring::User), e.count((&now).into(), Ring::Kernel));
        assert_eq!(both(&one("instructions")), (100, 40));
        assert_eq!(both(&one("branches:u")), (50, 0));
        assert_eq!(both(&one("slots:k")), (0, 240));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn an_encoding_survives_its_raw_form(bits in any::<u32>()) {
            let bits = u64::from(bits) & 0xff84_ffff;
            prop_assert_eq!(one(&format!("r{bits:x}")).encoding.bits(), bits);
        }
    }
}
