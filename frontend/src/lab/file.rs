//! A scenario file as it is written: TOML, every value with its place.
//!
//! Unknown keys are errors: a misspelt `pinned` would otherwise change the result and say nothing.

use super::error::{Complaint, LabError};
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// A scenario file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// What it shows, in a line.
    pub title: String,
    /// What to look at, and why it is so.
    #[serde(default)]
    pub about: String,
    /// How long it lasts.
    pub lasts: Spanned<String>,
    /// From tick to tick of the host.
    pub tick: Option<Spanned<String>>,
    /// From rotation to rotation.
    pub rotation: Option<Spanned<String>>,
    /// A policy's name, or phases.
    pub policy: Option<Spanned<Names>>,
    /// Core clock in percent of the TSC's.
    pub clock: Option<Spanned<u64>>,
    /// User's part of the host's own work, in percent.
    pub host_user: Option<Spanned<u64>>,
    /// Rates of the host's own work, in a thousand cycles.
    #[serde(default)]
    pub host_rates: BTreeMap<Spanned<String>, u64>,
    /// Costs of exits that differ from the table.
    #[serde(default)]
    pub exit: Vec<Exit>,
    /// CPUs.
    #[serde(default)]
    pub cpu: Vec<Cpu>,
    /// PMUs, where cores differ.
    #[serde(default)]
    pub pmu: Vec<Pmu>,
    /// Host events.
    #[serde(default)]
    pub event: Vec<Event>,
    /// Guests.
    #[serde(default)]
    pub guest: Vec<Guest>,
    /// What happens when.
    #[serde(default)]
    pub then: Vec<Then>,
}

/// One name, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Names {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// A CPU.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// General and fixed counters: "8+4".
    pub counters: Option<Spanned<String>>,
    /// The host has work of its own.
    #[serde(default)]
    pub busy: bool,
    /// While nobody wants it, its idle task polls.
    #[serde(default)]
    pub idle_polls: bool,
    /// How long a guest runs before somebody else may.
    pub slice: Option<Spanned<String>>,
    /// How long the host's own work takes after each slice.
    pub host_turn: Option<Spanned<String>>,
}

/// A PMU of the host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pmu {
    /// Its type in sysfs.
    pub id: Spanned<u32>,
    /// Its name there.
    pub name: String,
    /// Its CPUs.
    pub cpus: Spanned<Vec<u32>>,
    /// General counters.
    #[serde(default = "eight")]
    pub counters: u32,
}

fn eight() -> u32 {
    8
}

/// The cost of an exit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// Its reason.
    pub reason: Spanned<String>,
    /// Kernel's instructions.
    pub instructions: Option<Spanned<u64>>,
    /// Kernel's cycles.
    pub cycles: Option<u64>,
    /// User's instructions.
    pub user_instructions: Option<Spanned<u64>>,
    /// User's cycles.
    pub user_cycles: Option<u64>,
    /// Handled without leaving the inner loop.
    pub fast: Option<bool>,
}

/// A host event.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its name.
    pub name: Spanned<String>,
    /// What it counts, with perf's modifiers: "cycles:kH".
    pub counts: Spanned<String>,
    /// The CPU that it follows.
    pub cpu: Option<Spanned<u32>>,
    /// The guest whose task it follows.
    pub guest: Option<Spanned<String>>,
    /// Pinned.
    #[serde(default)]
    pub pinned: bool,
    /// Opened disabled.
    #[serde(default)]
    pub disabled: bool,
    /// Tasks that its task forks are counted too.
    pub inherit: Option<Spanned<bool>>,
    /// Its group's leader.
    pub group: Option<Spanned<String>>,
    /// Events from sample to sample.
    pub period: Option<Spanned<u64>>,
    /// Samples a second.
    pub frequency: Option<Spanned<u64>>,
    /// When it is opened.
    pub at: Option<Spanned<String>>,
    /// When it is closed.
    pub until: Option<Spanned<String>>,
}

/// A guest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// Its name.
    pub name: Spanned<String>,
    /// How its PMU is made: none, perf-based, mediated, pass-through.
    pub pmu: Spanned<String>,
    /// General and fixed counters that it sees.
    pub counters: Option<Spanned<String>>,
    /// Where it runs.
    #[serde(default)]
    pub cpu: u32,
    /// Its local APIC is user space's.
    #[serde(default)]
    pub apic_in_user_space: bool,
    /// What it counts from the start.
    #[serde(default)]
    pub count: Vec<Spanned<String>>,
    /// What it does, over and over.
    pub program: Option<Spanned<Vec<Spanned<String>>>>,
    /// A kernel or ROM that is really executed.
    pub image: Option<Spanned<String>>,
    /// Its initial RAM disk.
    pub initrd: Option<Spanned<String>>,
    /// Its command line.
    pub append: Option<Spanned<String>>,
    /// Its memory: 64M.
    pub memory: Option<Spanned<String>>,
    /// A lesson that is really executed.
    pub lesson: Option<Spanned<String>>,
    /// Rates in a thousand cycles that differ from the ordinary.
    #[serde(default)]
    pub rates: BTreeMap<Spanned<String>, u64>,
    /// Its event filter.
    pub filter: Option<Spanned<Filter>>,
    /// How it gets APERF and MPERF.
    pub aperf: Option<Spanned<String>>,
    /// Its TSC in percent of the host's.
    pub tsc: Option<Spanned<u64>>,
    /// The PMU that is selected for it.
    pub selects: Option<u32>,
    /// The guest whose task forks this one's, when it starts.
    pub thread_of: Option<Spanned<String>>,
    /// When it starts.
    pub at: Option<Spanned<String>>,
}

/// An event filter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// allow or deny.
    pub action: String,
    /// Events, by name or number.
    #[serde(default)]
    pub events: Vec<String>,
    /// Fixed counters.
    #[serde(default)]
    pub fixed: Vec<u32>,
}

/// Something that happens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Then {
    /// When.
    pub at: Spanned<String>,
    /// What.
    #[serde(rename = "do")]
    pub what: Spanned<String>,
}

impl Guest {
    /// A machine runs in it, and no program of segments.
    pub fn is_executed(&self) -> bool {
        self.image.is_some() || self.lesson.is_some()
    }
}

impl File {
    /// Reads a file's text.
    ///
    /// # Errors
    /// What TOML does not understand, with its place.
    pub fn read(name: &str, text: &str) -> Result<File, Box<LabError>> {
        toml::from_str(text).map_err(|error| {
            let remedy = "the keys and their values are described in the shipped scenarios: unhalted lab --list";
            let complaint =
                Complaint { what: error.message().to_owned(), at: error.span(), remedy: Some(remedy.to_owned()) };
            complaint.in_file(name, text)
        })
    }
}
