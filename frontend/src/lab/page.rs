//! A report as one page that needs nothing else: the timeline drawn, a row for each counter, the tables below.

use super::file::File;
use super::{owner_name, table};
use pmu_model::host::constraint::Counter;
use pmu_model::host::owners::{Owner, Span};
use pmu_model::host::scenario::{Report, Scenario};
use std::fmt::Write;

const WIDTH: f64 = 1000.0;
const ROW: f64 = 22.0;
const LEFT: f64 = 90.0;

const COLOURS: [&str; 10] =
    ["#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#eeca3b", "#b279a2", "#ff9da6", "#9d755d", "#bab0ac"];

/// The page.
pub fn page(file: &File, scenario: &Scenario, report: &Report) -> String {
    let rows = rows(&report.spans);
    let owners = owners(scenario, &report.spans);
    let height = ROW * (rows.len() as f64 + 2.0);
    let mut svg = String::new();
    for (n, (cpu, counter)) in rows.iter().enumerate() {
        let y = ROW * n as f64;
        let _ = writeln!(svg, "<text x=\"0\" y=\"{:.0}\">cpu {cpu} {counter}</text>", y + 15.0);
        let here = report.spans.iter().filter(|span| (span.cpu, span.counter) == (*cpu, *counter));
        for (owner, from, to) in drawn(here, report.end) {
            let name = owner_name(scenario, owner);
            let colour = owners.iter().position(|known| *known == group(scenario, owner)).unwrap_or(0) % COLOURS.len();
            let (x, width) = (LEFT + from * WIDTH, ((to - from) * WIDTH).max(0.3));
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.2}\" y=\"{:.0}\" width=\"{width:.2}\" height=\"{:.0}\" fill=\"{}\"><title>{}</title></rect>",
                y + 2.0,
                ROW - 4.0,
                COLOURS[colour],
                escaped(&name)
            );
        }
    }
    let axis = axis(report.end, height - ROW);
    let legend = owners.iter().enumerate().map(|(n, name)| {
        format!("<span><i style=\"background:{}\"></i>{}</span>", COLOURS[n % COLOURS.len()], escaped(name))
    });
    let legend: String = legend.collect::<Vec<_>>().join("\n");
    let text = escaped(&table::table(file, scenario, report));
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n<style>\n\
         body {{ font: 14px sans-serif; margin: 2em; max-width: 1150px }}\n\
         svg text {{ font: 11px monospace }}\npre {{ font: 12px monospace; overflow-x: auto }}\n\
         i {{ display: inline-block; width: 1em; height: 1em; margin: 0 .4em 0 1em; vertical-align: middle }}\n\
         </style>\n<h1>{title}</h1>\n<p>Who owned which counter; time in milliseconds.</p>\n\
         <p>{legend}</p>\n<svg viewBox=\"0 0 1130 {height:.0}\">\n{svg}{axis}\n</svg>\n<pre>{text}</pre>\n</html>\n",
        title = escaped(&file.title),
    )
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
fn drawn<'a>(spans: impl Iterator<Item = &'a Span>, end: u64) -> Vec<(Owner, f64, f64)> {
    let part = |cycles: u64| cycles as f64 / end.max(1) as f64;
    let mut drawn: Vec<(Owner, f64, f64)> = Vec::new();
    for span in spans {
        let (from, to) = (part(span.from), part(span.to));
        match drawn.last_mut().filter(|last| last.0 == span.owner && from - last.2 < 0.0005) {
            Some(last) => last.2 = to,
            None => drawn.push((span.owner, from, to)),
        }
    }
    drawn
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
