//! A report as text: who owned what, the four cells, scaled and exact counts side by side, switches and their cost.

use super::file::File;
use super::owner_name;
use super::words::CYCLES_PER_SECOND;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use pmu_model::host::cell::{Cell, Happening, World};
use pmu_model::host::constraint::Counter;
use pmu_model::host::event::{Reading, State};
use pmu_model::host::owners::Owner;
use pmu_model::host::scenario::{AperfReport, EventReport, GuestReport, Report, Scenario};
use std::fmt::Write;

/// The whole report.
pub fn table(file: &File, scenario: &Scenario, report: &Report) -> String {
    let mut text = format!("{}\n", file.title);
    if !file.about.is_empty() {
        let _ = write!(text, "\n{}\n", file.about.trim());
    }
    text.push_str(&tables(scenario, report));
    text
}

/// The tables without what is said before them, each behind an empty line.
pub fn tables(scenario: &Scenario, report: &Report) -> String {
    let mut text = String::new();
    let parts = [
        ("Host events", events(&report.events)),
        ("Their cells: what happened where they looked", cells(&report.events)),
        ("Guests' counters", counters(&report.guests)),
        ("Guests", guests(&report.guests)),
        ("APERF and MPERF", aperf(&report.guests)),
        ("Counters: part of the time that each owner had them", owners(scenario, report)),
        ("CPUs", cpus(report)),
        ("Notes", notes(report)),
    ];
    for (heading, part) in parts {
        if let Some(part) = part {
            let _ = write!(text, "\n{heading}\n{part}\n");
        }
    }
    text
}

/// A table without lines; every column but the first `left` ones to the right.
pub fn plain(header: &[&str], rows: Vec<Vec<String>>, left: usize) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(header.iter().copied());
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    for column in table.column_iter_mut().skip(left) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    Some(table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n"))
}

/// What was counted, against what was to be counted.
pub fn difference(counted: u64, truth: u64) -> String {
    match (counted, truth) {
        (counted, truth) if counted == truth => "exact".to_owned(),
        (_, 0) => format!("+{counted}"),
        (counted, truth) => {
            let part = (counted as f64 - truth as f64) / truth as f64;
            format!("{}{} ({:+.2}%)", if counted > truth { "+" } else { "-" }, counted.abs_diff(truth), 100.0 * part)
        }
    }
}

/// perf's word for a state.
pub fn state(event: &EventReport) -> &'static str {
    match event.state {
        None => "not opened",
        Some(State::Error) => "ERROR",
        Some(State::Off) => "off",
        Some(State::Inactive) => "inactive",
        Some(State::Active) => "active",
    }
}

fn events(events: &[EventReport]) -> Option<String> {
    let row = |event: &EventReport| {
        let exact = event.reading.and_then(Reading::exact);
        let scaled = event.reading.and_then(Reading::scaled);
        let text = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let running = match event.reading {
            Some(Reading::Value { enabled, running, .. }) if enabled != 0 => {
                format!("{:.1}%", 100.0 * running as f64 / enabled as f64)
            }
            Some(Reading::EndOfFile) => "EOF".to_owned(),
            _ => "-".to_owned(),
        };
        let found = match scaled {
            Some(scaled) => difference(scaled, event.truth),
            None => "not counted".to_owned(),
        };
        vec![
            event.name.clone(),
            state(event).to_owned(),
            event.truth.to_string(),
            text(exact),
            text(scaled),
            running,
            event.samples.to_string(),
            found,
        ]
    };
    let header = ["event", "state", "true", "counted", "scaled", "on", "samples", "scaled - true"];
    plain(&header, events.iter().map(row).collect(), 2)
}

fn cells(events: &[EventReport]) -> Option<String> {
    let row = |event: &EventReport| {
        let kind = event.kind.map_or("", Happening::name).to_owned();
        let cells = Cell::ALL.into_iter().map(|cell| event.cells[cell].to_string());
        [event.name.clone(), kind].into_iter().chain(cells).collect()
    };
    let header = ["event", "counts", "host user", "host kernel", "guest user", "guest kernel"];
    plain(&header, events.iter().map(row).collect(), 2)
}

fn counters(guests: &[GuestReport]) -> Option<String> {
    let mut rows = Vec::new();
    for guest in guests {
        for counter in &guest.counters {
            let starved = if guest.starved.holds(counter.counter) { "stood still for a time" } else { "" };
            rows.push(vec![
                guest.name.clone(),
                counter.counter.to_string(),
                counter.kind.map_or("", Happening::name).to_owned(),
                starved.to_owned(),
                counter.truth.to_string(),
                counter.seen.to_string(),
                difference(counter.seen, counter.truth),
            ]);
        }
        if let Some((seen, truth)) = guest.metrics {
            let same = if seen == truth { "exact" } else { "differs" };
            let hex = |value: u64| format!("{value:#018x}");
            let row = ["PERF_METRICS", "topdown", "", &hex(truth), &hex(seen), same];
            rows.push([guest.name.as_str()].into_iter().chain(row).map(str::to_owned).collect());
        }
    }
    plain(&["guest", "counter", "counts", "", "alone", "seen", "seen - alone"], rows, 4)
}

fn guests(guests: &[GuestReport]) -> Option<String> {
    let row = |guest: &GuestReport| {
        let exits: u64 = guest.exits.iter().map(|(_, n)| n).sum();
        let by_reason: Vec<String> = guest.exits.iter().map(|(reason, n)| format!("{} {n}", reason.name())).collect();
        let did = guest.did.of(Happening::Retired).of(World::Guest);
        vec![
            guest.name.clone(),
            if guest.created { by_reason.join(", ") } else { "not created".to_owned() },
            did.to_string(),
            exits.to_string(),
            guest.pmu_exits.to_string(),
            guest.pmis.to_string(),
            milliseconds(guest.starved_cycles),
        ]
    };
    let header = ["guest", "exits by reason", "instructions", "exits", "PMU's", "PMIs", "starved ms"];
    plain(&header, guests.iter().map(row).collect(), 2)
}

fn aperf(guests: &[GuestReport]) -> Option<String> {
    let row = |(guest, aperf): (&GuestReport, AperfReport)| {
        let ratio = aperf.aperf as f64 / (aperf.mperf.max(1)) as f64;
        let numbers = [aperf.aperf, aperf.mperf, aperf.tsc, aperf.drift, aperf.cost, aperf.lost, aperf.host_lost];
        let numbers = numbers.into_iter().map(|n| n.to_string());
        [guest.name.clone(), format!("{ratio:.3}")].into_iter().chain(numbers).collect()
    };
    let rows = guests.iter().filter_map(|guest| Some((guest, guest.aperf?))).map(row).collect();
    let header = ["guest", "ratio", "APERF", "MPERF", "TSC", "TSC - MPERF", "cost", "guest lost", "host lost"];
    plain(&header, rows, 1)
}

fn owners(scenario: &Scenario, report: &Report) -> Option<String> {
    let mut shares: Vec<(u32, Counter, Owner, u64, u64)> = Vec::new();
    for span in &report.spans {
        let same = |s: &&mut (u32, Counter, Owner, u64, u64)| (s.0, s.1, s.2) == (span.cpu, span.counter, span.owner);
        match shares.iter_mut().find(same) {
            Some(share) => (share.3, share.4) = (share.3 + span.to - span.from, share.4 + 1),
            None => shares.push((span.cpu, span.counter, span.owner, span.to - span.from, 1)),
        }
    }
    shares.sort_by_key(|share| (share.0, share.1, share.2));
    let row = |(cpu, counter, owner, cycles, times): &(u32, Counter, Owner, u64, u64)| {
        vec![
            cpu.to_string(),
            counter.to_string(),
            owner_name(scenario, *owner),
            format!("{:.2}%", 100.0 * *cycles as f64 / report.end.max(1) as f64),
            times.to_string(),
        ]
    };
    plain(&["cpu", "counter", "owner", "of the time", "times"], shares.iter().map(row).collect(), 3)
}

fn cpus(report: &Report) -> Option<String> {
    let row = |cpu: &pmu_model::host::scenario::CpuReport| {
        let (traffic, switches) = (cpu.traffic, cpu.switches);
        let numbers = [
            switches.loads,
            switches.puts,
            switches.preemptions,
            traffic.rdmsr,
            traffic.wrmsr,
            traffic.rdpmc,
            traffic.vmwrite + traffic.vmread,
            cpu.cost,
        ];
        [u64::from(cpu.id)].into_iter().chain(numbers).map(|n| n.to_string()).collect()
    };
    let header = ["cpu", "loads", "puts", "preempted", "RDMSR", "WRMSR", "RDPMC", "VMCS", "cycles for that"];
    plain(&header, report.cpus.iter().map(row).collect(), 1)
}

fn notes(report: &Report) -> Option<String> {
    let line = |note: &pmu_model::host::scenario::Note| format!(" {} ms: {}", milliseconds(note.at), note.text);
    let lines: Vec<String> = report.notes.iter().map(line).collect();
    if lines.is_empty() { None } else { Some(lines.join("\n")) }
}

/// Cycles as milliseconds with three decimals.
pub fn milliseconds(cycles: u64) -> String {
    let micros = u128::from(cycles) * 1_000_000 / u128::from(CYCLES_PER_SECOND);
    format!("{}.{:03}", micros / 1000, micros % 1000)
}
