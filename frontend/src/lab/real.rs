//! Who counted what in a real run: the host's events and the guest's counters, as tables and as JSON.

use super::table::{difference, plain};
use crate::pc::Machine;
use pmu_model::catalog::{self, Extra};
use pmu_model::host::cell::{Cell, Happening};
use pmu_model::host::event::{Reading, State};
use pmu_model::host::live::{CounterOutcome, EventOutcome, Outcome};
use pmu_model::host::registers::AccessCosts;
use serde_json::{Value, json};
use std::fmt::Write;

/// What is shown of one processor.
struct Shown {
    outcome: Outcome,
    /// What the guest's counters would hold if it were alone, in the order of the outcome's.
    alone: Vec<u64>,
}

fn shown(machine: &mut Machine) -> Vec<Shown> {
    let outcomes = machine.outcomes();
    let one = |(n, outcome): (usize, Outcome)| {
        let views = machine.views(n);
        let value = |counter: &CounterOutcome| {
            let selector = counter.counter.as_fixed().map_or(u32::from(counter.counter.0), |n| 1 << 30 | u32::from(n));
            views.iter().find(|view| view.selector == selector).map_or(0, |view| view.value)
        };
        let alone = outcome.counters.iter().map(value).collect();
        Shown { outcome, alone }
    };
    outcomes.into_iter().enumerate().map(one).collect()
}

fn name(encoding: u64) -> String {
    let encoding = Happening::of_event(encoding).filter(|_| encoding <= 0xffff).map_or(encoding, Happening::config);
    let event = catalog::programmed(encoding, &Extra::default()).event;
    event.map_or_else(|| format!("{encoding:#x}"), |event| event.name.to_owned())
}

fn state(event: &EventOutcome) -> &'static str {
    match event.state {
        None => "not opened",
        Some(State::Error) => "ERROR",
        Some(State::Off) => "off",
        Some(State::Inactive) => "waits",
        Some(State::Active) => "on",
    }
}

/// The host's view and the guest's, up to now.
pub fn text(machine: &mut Machine) -> String {
    let all = shown(machine);
    let mut text = String::new();
    let parts = [
        ("Host events: what happened by cell, what was counted of it", events(&all)),
        ("Guest's counters: what they would hold if it were alone, what it reads", counters(&all)),
        ("Exits", exits(&all)),
        ("Switches of PMU state, and the host's accesses to the PMU", switches(&all)),
    ];
    for (heading, part) in parts {
        if let Some(part) = part {
            let _ = write!(text, "{heading}\n{part}\n\n");
        }
    }
    text.trim_end().to_owned()
}

fn events(all: &[Shown]) -> Option<String> {
    let mut rows = Vec::new();
    for (n, shown) in all.iter().enumerate() {
        for event in &shown.outcome.events {
            let cells =
                Cell::ALL.map(|cell| event.cells.map_or_else(|| "-".to_owned(), |cells| cells[cell].to_string()));
            let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
            let on = match event.reading {
                Some(Reading::Value { enabled, running, .. }) if enabled != 0 => {
                    format!("{:.1}%", 100.0 * running as f64 / enabled as f64)
                }
                _ => "-".to_owned(),
            };
            let scaled = event.reading.and_then(Reading::scaled);
            let found = scaled.map_or_else(|| "not counted".to_owned(), |scaled| difference(scaled, event.truth));
            let head = [event.name.clone(), n.to_string(), state(event).to_owned()];
            let tail =
                [number(event.reading.and_then(Reading::exact)), number(scaled), on, event.samples.to_string(), found];
            rows.push(head.into_iter().chain(cells).chain(tail).collect());
        }
    }
    let header = [
        "event",
        "cpu",
        "",
        "host user",
        "host kernel",
        "guest user",
        "guest kernel",
        "counted",
        "scaled",
        "on",
        "samples",
        "scaled - true",
    ];
    plain(&header, rows, 1)
}

fn counters(all: &[Shown]) -> Option<String> {
    let mut rows = Vec::new();
    for (n, shown) in all.iter().enumerate() {
        for (counter, alone) in shown.outcome.counters.iter().zip(&shown.alone) {
            rows.push(vec![
                format!("vCPU {n}"),
                counter.counter.to_string(),
                name(counter.encoding),
                if counter.starved { "stood still for a time".to_owned() } else { String::new() },
                alone.to_string(),
                counter.seen.to_string(),
                difference(counter.seen, *alone),
            ]);
        }
    }
    plain(&["", "counter", "counts", "", "alone", "seen", "seen - alone"], rows, 4)
}

fn exits(all: &[Shown]) -> Option<String> {
    let row = |(n, shown): (usize, &Shown)| {
        let Outcome { exits, completed, pmis, host_instructions, starved_cycles, .. } = &shown.outcome;
        let by_reason: Vec<String> = exits.iter().map(|(reason, n)| format!("{} {n}", reason.name())).collect();
        let numbers = [exits.iter().map(|(_, n)| n).sum(), *completed, *pmis, *starved_cycles];
        let numbers = numbers.into_iter().chain(*host_instructions).map(|n: u64| n.to_string());
        [format!("vCPU {n}"), by_reason.join(", ")].into_iter().chain(numbers).collect()
    };
    let header = ["", "by reason", "all", "completed", "PMIs", "starved cycles", "host user insn", "host kernel insn"];
    plain(&header, all.iter().enumerate().map(row).collect(), 2)
}

fn switches(all: &[Shown]) -> Option<String> {
    let row = |(n, shown): (usize, &Shown)| {
        let Outcome { switches, traffic, .. } = &shown.outcome;
        let numbers = [
            switches.loads,
            switches.puts,
            traffic.rdmsr,
            traffic.wrmsr,
            traffic.rdpmc,
            traffic.vmwrite + traffic.vmread,
            traffic.cycles(&AccessCosts::QUOTED),
        ];
        [n as u64].into_iter().chain(numbers).map(|n| n.to_string()).collect()
    };
    let header = ["cpu", "loads", "puts", "RDMSR", "WRMSR", "RDPMC", "VMCS", "cycles for that"];
    plain(&header, all.iter().enumerate().map(row).collect(), 1)
}

/// The same as JSON, with a version of its shape.
pub fn json(machine: &mut Machine) -> String {
    let cpus: Vec<Value> = shown(machine).iter().map(cpu).collect();
    format!("{:#}\n", json!({"version": 1, "cpus": cpus}))
}

fn cpu(shown: &Shown) -> Value {
    let Outcome { exits, completed, pmis, host_instructions, starved_cycles, switches, traffic, .. } = &shown.outcome;
    let counters = shown.outcome.counters.iter().zip(&shown.alone).map(|(counter, alone)| {
        json!({
            "counter": counter.counter.to_string(), "counts": name(counter.encoding), "alone": alone,
            "seen": counter.seen, "starved": counter.starved,
        })
    });
    let by_reason = exits.iter().map(|(reason, n)| (reason.name().to_owned(), json!(n)));
    json!({
        "events": shown.outcome.events.iter().map(event).collect::<Vec<_>>(),
        "counters": counters.collect::<Vec<_>>(),
        "exits": Value::Object(by_reason.collect()),
        "completed": completed,
        "pmis": pmis,
        "starved_cycles": starved_cycles,
        "host_instructions": {"user": host_instructions[0], "kernel": host_instructions[1]},
        "loads": switches.loads,
        "puts": switches.puts,
        "rdmsr": traffic.rdmsr,
        "wrmsr": traffic.wrmsr,
        "rdpmc": traffic.rdpmc,
        "vmcs": traffic.vmwrite + traffic.vmread,
        "cycles": traffic.cycles(&AccessCosts::QUOTED),
    })
}

fn event(event: &EventOutcome) -> Value {
    let times = match event.reading {
        Some(Reading::Value { enabled, running, .. }) => json!({"enabled": enabled, "running": running}),
        _ => Value::Null,
    };
    let cells = event.cells.map(|cells| {
        let entry = |cell: Cell| (cell.name().replace(' ', "_"), json!(cells[cell]));
        Value::Object(Cell::ALL.into_iter().map(entry).collect())
    });
    json!({
        "name": event.name,
        "state": state(event),
        "cells": cells,
        "true": event.truth,
        "counted": event.reading.and_then(Reading::exact),
        "scaled": event.reading.and_then(Reading::scaled),
        "times": times,
        "samples": event.samples,
    })
}
