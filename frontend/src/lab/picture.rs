//! Who owned which counter when, drawn: a row for each vCPU and one for each counter, time to the right, a colour for each
//! owner.

use super::trace::place as place_name;
use super::{owner_name, table};
use pmu_model::host::aperf::Residence;
use pmu_model::host::constraint::Counter;
use pmu_model::host::owners::{Owner, Span};
use pmu_model::host::scenario::{Report, Scenario};
use std::fmt::Write;

const WIDTH: f64 = 1000.0;
const ROW: f64 = 22.0;
const LEFT: f64 = 90.0;

const COLOURS: [&str; 10] =
    ["#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#eeca3b", "#b279a2", "#ff9da6", "#9d755d", "#bab0ac"];

/// The picture as SVG that needs nothing else.
pub fn picture(scenario: &Scenario, report: &Report) -> String {
    let rows = rows(&report.spans);
    let owners = owners(scenario, &report.spans);
    let legend = legend(&owners);
    let vcpus = ROW * (legend.lines + 1) as f64;
    let top = vcpus + ROW * scenario.guests.len() as f64;
    let height = top + ROW * (rows.len() as f64 + 1.5);
    let mut svg = stays(scenario, report, vcpus);
    for (n, (cpu, counter)) in rows.iter().enumerate() {
        let y = top + ROW * n as f64;
        let _ = writeln!(svg, "<text x=\"0\" y=\"{:.0}\">cpu {cpu} {counter}</text>", y + 15.0);
        let here = report.spans.iter().filter(|span| (span.cpu, span.counter) == (*cpu, *counter));
        for (owner, from, to) in drawn(here.map(|span| (span.owner, span.from, span.to)), report.end) {
            let colour = owners.iter().position(|known| *known == group(scenario, owner)).unwrap_or(0) % COLOURS.len();
            let (x, width) = (LEFT + from * WIDTH, ((to - from) * WIDTH).max(0.3));
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{:.0}\" width=\"{width:.1}\" height=\"{:.0}\" fill=\"{}\"><title>{}</title></rect>",
                y + 2.0,
                ROW - 4.0,
                COLOURS[colour],
                escaped(&owner_name(scenario, owner))
            );
        }
    }
    let axis = axis(report.end, height - ROW / 2.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1130 {height:.0}\" \
         style=\"font: 11px monospace; background: #fff\">\n{}{svg}{axis}\n</svg>\n",
        legend.svg
    )
}

/// A row for each vCPU: dark in the guest, lighter while the host works for it, and nothing while it is elsewhere.
fn stays(scenario: &Scenario, report: &Report, top: f64) -> String {
    let mut svg = String::new();
    for (g, guest) in scenario.guests.iter().enumerate() {
        let y = top + ROW * g as f64;
        let _ = writeln!(svg, "<text x=\"0\" y=\"{:.0}\">{}</text>", y + 15.0, escaped(&guest.name));
        for (place, colour) in [(Residence::Root, "#aaa"), (Residence::Guest, "#444")] {
            let here = report.stays.iter().filter(|stay| stay.guest == g && stay.place == place);
            for (_, from, to) in drawn(here.map(|stay| (Owner::Guest(g, 0), stay.from, stay.to)), report.end) {
                let (x, width) = (LEFT + from * WIDTH, ((to - from) * WIDTH).max(0.3));
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{:.0}\" width=\"{width:.1}\" height=\"10\" fill=\"{colour}\"><title>{}</title></rect>",
                    y + 6.0,
                    place_name(place)
                );
            }
        }
    }
    svg
}

/// Owners with their colours, and on how many lines.
struct Legend {
    svg: String,
    lines: usize,
}

/// As many owners on a line as there is room for, a letter being seven wide.
fn legend(owners: &[String]) -> Legend {
    let (mut svg, mut x, mut line) = (String::new(), 0.0, 0);
    for (n, name) in owners.iter().enumerate() {
        let wide = 30.0 + 7.0 * name.chars().count() as f64;
        if x + wide > LEFT + WIDTH {
            (x, line) = (0.0, line + 1);
        }
        let y = ROW * line as f64;
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.0}\" y=\"{:.0}\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            y + 5.0,
            COLOURS[n % COLOURS.len()],
            x + 17.0,
            y + 15.0,
            escaped(name)
        );
        x += wide;
    }
    Legend { svg, lines: line + 1 }
}

/// Eleven times below the rows.
fn axis(end: u64, y: f64) -> String {
    let label = |n: u64| {
        let x = LEFT + WIDTH * n as f64 / 10.0;
        format!("<text x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"middle\">{}</text>", table::milliseconds(end / 10 * n))
    };
    (0..=10).map(label).collect::<Vec<_>>().join("\n")
}

fn rows(spans: &[Span]) -> Vec<(u32, Counter)> {
    let mut rows: Vec<(u32, Counter)> = spans.iter().map(|span| (span.cpu, span.counter)).collect();
    rows.sort();
    rows.dedup();
    rows
}

/// What shares a colour: an event, or all counters of a guest.
fn group(scenario: &Scenario, owner: Owner) -> String {
    match owner {
        Owner::Event(_) => owner_name(scenario, owner),
        Owner::Guest(g, _) => scenario.guests.get(g).map_or_else(String::new, |guest| guest.name.clone()),
    }
}

fn owners(scenario: &Scenario, spans: &[Span]) -> Vec<String> {
    let mut owners: Vec<String> = Vec::new();
    for span in spans {
        let name = group(scenario, span.owner);
        if !owners.contains(&name) {
            owners.push(name);
        }
    }
    owners
}

/// Spans as parts of the whole. Spans of one owner that are nearer than the eye can see are drawn as one.
fn drawn(spans: impl Iterator<Item = (Owner, u64, u64)>, end: u64) -> Vec<(Owner, f64, f64)> {
    let part = |cycles: u64| cycles as f64 / end.max(1) as f64;
    let mut drawn: Vec<(Owner, f64, f64)> = Vec::new();
    for (owner, from, to) in spans {
        let (from, to) = (part(from), part(to));
        match drawn.last_mut().filter(|last| last.0 == owner && from - last.2 < 0.001) {
            Some(last) => last.2 = to,
            None => drawn.push((owner, from, to)),
        }
    }
    drawn
}

/// Text between tags.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
