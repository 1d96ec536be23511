//! A report as JSON: everything that the tables are made of, and each span.

use super::file::File;
use super::owner_name;
use pmu_model::host::cell::{Cell, Cells, Happening, Ledger};
use pmu_model::host::event::Reading;
use pmu_model::host::scenario::{CpuReport, EventReport, GuestReport, Report, Scenario};
use serde_json::{Map, Value, json};

/// The report, indented, with a version of its shape.
pub fn json(file: &File, scenario: &Scenario, report: &Report) -> String {
    let spans = report.spans.iter().map(|span| {
        json!({
            "cpu": span.cpu, "counter": span.counter.to_string(), "owner": owner_name(scenario, span.owner),
            "from": span.from, "to": span.to,
        })
    });
    let value = json!({
        "version": 1,
        "title": file.title,
        "cycles_per_second": scenario.cycles_per_second,
        "end": report.end,
        "events": report.events.iter().map(event).collect::<Vec<_>>(),
        "guests": report.guests.iter().map(guest).collect::<Vec<_>>(),
        "cpus": report.cpus.iter().map(cpu).collect::<Vec<_>>(),
        "spans": spans.collect::<Vec<_>>(),
        "notes": report.notes.iter().map(|note| json!({"at": note.at, "text": note.text})).collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}

fn cells(cells: Cells) -> Value {
    let entry = |cell: Cell| (cell.name().replace(' ', "_"), json!(cells[cell]));
    Value::Object(Cell::ALL.into_iter().map(entry).collect::<Map<String, Value>>())
}

fn ledger(ledger: &Ledger) -> Value {
    let entry = |kind: &Happening| (kind.name().to_owned(), cells(ledger.of(*kind)));
    Value::Object(Happening::ALL.iter().map(entry).collect::<Map<String, Value>>())
}

fn event(event: &EventReport) -> Value {
    let times = match event.reading {
        Some(Reading::Value { enabled, running, .. }) => json!({"enabled": enabled, "running": running}),
        _ => Value::Null,
    };
    json!({
        "name": event.name,
        "counts": event.kind.map(Happening::name),
        "state": super::table::state(event),
        "true": event.truth,
        "counted": event.reading.and_then(Reading::exact),
        "scaled": event.reading.and_then(Reading::scaled),
        "times": times,
        "samples": event.samples,
        "throttled": event.throttles,
        "cells": cells(event.cells),
    })
}

fn guest(guest: &GuestReport) -> Value {
    let counters = guest.counters.iter().map(|counter| {
        json!({
            "counter": counter.counter.to_string(), "counts": counter.kind.map(Happening::name),
            "alone": counter.truth, "seen": counter.seen, "starved": guest.starved.holds(counter.counter),
        })
    });
    let exits = guest.exits.iter().map(|(reason, n)| (reason.name().to_owned(), json!(n)));
    let aperf = guest.aperf.map(|aperf| {
        json!({
            "aperf": aperf.aperf, "mperf": aperf.mperf, "tsc": aperf.tsc, "drift": aperf.drift, "cost": aperf.cost,
            "lost": aperf.lost, "host_lost": aperf.host_lost,
        })
    });
    json!({
        "name": guest.name,
        "created": guest.created,
        "counters": counters.collect::<Vec<_>>(),
        "metrics": guest.metrics.map(|(seen, alone)| json!({"seen": seen, "alone": alone})),
        "exits": Value::Object(exits.collect::<Map<String, Value>>()),
        "pmu_exits": guest.pmu_exits,
        "pmis": guest.pmis,
        "starved_cycles": guest.starved_cycles,
        "aperf": aperf,
        "did": ledger(&guest.did),
    })
}

fn cpu(cpu: &CpuReport) -> Value {
    json!({
        "cpu": cpu.id,
        "loads": cpu.switches.loads,
        "puts": cpu.switches.puts,
        "preemptions": cpu.switches.preemptions,
        "rdmsr": cpu.traffic.rdmsr,
        "wrmsr": cpu.traffic.wrmsr,
        "rdpmc": cpu.traffic.rdpmc,
        "vmcs": cpu.traffic.vmwrite + cpu.traffic.vmread,
        "cycles": cpu.cost,
        "did": ledger(&cpu.did),
    })
}
