//! Counts as JSON. The schema is `stat.schema.json` beside this file, and `unhalted stat --schema` prints it; a change
//! that a reader could notice changes the number in [`SCHEMA`].

use super::about::About;
use super::event::{Event, worth};
use super::meter::{Kind, Span, Values};
use super::processes::Process;
use super::stat::Report;
use crate::pc::TSC_HZ;
use serde::Serialize;

/// What the reports say they follow.
pub const SCHEMA: &str = "unhalted-stat-2";
/// The schema itself.
pub const SCHEMA_TEXT: &str = include_str!("stat.schema.json");

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    emulator: Emulator,
    model: Model,
    configuration: &'a About,
    end: End<'a>,
    spans: Vec<SpanOut<'a>>,
}

#[derive(Serialize)]
struct Emulator {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Model {
    processor: &'static str,
    timing: &'static str,
    tsc_hz: u64,
    multiplexed: bool,
}

#[derive(Serialize)]
struct End<'a> {
    reason: &'a str,
    status: u8,
}

#[derive(Serialize)]
struct SpanOut<'a> {
    kind: &'static str,
    number: Option<u64>,
    entered: Option<u64>,
    open: bool,
    begin_ticks: Option<u64>,
    end_ticks: Option<u64>,
    ticks: u64,
    counts: Vec<Count<'a>>,
    processes: Vec<ProcessOut<'a>>,
}

#[derive(Serialize)]
struct ProcessOut<'a> {
    root: u64,
    pid: Option<u32>,
    name: Option<&'a str>,
    counts: Vec<Count<'a>>,
}

#[derive(Serialize)]
struct Count<'a> {
    processor: usize,
    event: &'a str,
    name: Option<&'static str>,
    encoding: u64,
    validity: &'static str,
    user: Option<u64>,
    kernel: Option<u64>,
}

/// The report as a JSON document that ends in a line feed. Rows are by processor always.
pub fn json(report: &Report) -> String {
    let document = Document {
        schema: SCHEMA,
        emulator: Emulator { name: "unhalted", version: env!("CARGO_PKG_VERSION") },
        model: Model { processor: "Sapphire Rapids 06_8FH", timing: "atomic", tsc_hz: TSC_HZ, multiplexed: false },
        configuration: &report.about,
        end: End { reason: &report.end.0, status: report.end.1 },
        spans: report.spans.iter().map(|s| span(report, s)).collect(),
    };
    let text = serde_json::to_string_pretty(&document).expect("plain structures can be written as JSON");
    format!("{text}\n")
}

fn span<'a>(report: &'a Report, s: &'a Span) -> SpanOut<'a> {
    let (kind, number, entered) = s.kind.words();
    SpanOut {
        kind,
        number,
        entered,
        open: matches!(s.kind, Kind::Region { open: true, .. }),
        begin_ticks: s.place.map(|p| p.0),
        end_ticks: s.place.map(|p| p.1),
        ticks: s.ticks,
        counts: counts(report, &s.counts),
        processes: s.processes.iter().map(|(process, values)| process_out(report, process, values)).collect(),
    }
}

fn process_out<'a>(report: &'a Report, process: &'a Process, values: &[Values]) -> ProcessOut<'a> {
    let Process { root, pid, name } = process;
    ProcessOut { root: *root, pid: *pid, name: name.as_deref(), counts: counts(report, values) }
}

/// Rows by processor, then by event.
fn counts<'a>(report: &'a Report, values: &[Values]) -> Vec<Count<'a>> {
    let of_one = |(processor, values): (usize, &Values)| -> Vec<Count<'a>> {
        report.events.iter().zip(values).map(|(event, n)| count(processor, event, *n)).collect()
    };
    values.iter().enumerate().flat_map(of_one).collect()
}

fn count(processor: usize, event: &Event, [user, kernel]: [u64; 2]) -> Count<'_> {
    let counted = event.is_modelled();
    Count {
        processor,
        event: &event.label,
        name: event.name,
        encoding: event.encoding.bits(),
        validity: worth(event.validity),
        user: (counted && event.user).then_some(user),
        kernel: (counted && event.kernel).then_some(kernel),
    }
}
