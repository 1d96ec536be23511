//! A report as a trace that Perfetto opens: a process for each CPU with a track for each counter, and one with a track for
//! each vCPU, time in microseconds of the scenario's clock.
//!
//! Source: the Trace Event Format (JSON), events "X" and "M", which Perfetto reads.

use super::owner_name;
use pmu_model::host::aperf::Residence;
use pmu_model::host::scenario::{Report, Scenario};
use serde_json::{Value, json};

/// The trace.
pub fn trace(scenario: &Scenario, report: &Report) -> String {
    let microseconds = |cycles: u64| cycles as f64 * 1e6 / scenario.cycles_per_second as f64;
    let name = |what: &str, pid: u32, tid: u8, name: String| json!({"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}});
    let mut events: Vec<Value> = Vec::new();
    let mut tracks: Vec<(u32, u8)> = Vec::new();
    for cpu in &report.cpus {
        events.push(name("process_name", cpu.id, 0, format!("CPU {}", cpu.id)));
    }
    for span in &report.spans {
        let track = (span.cpu, span.counter.0);
        if !tracks.contains(&track) {
            tracks.push(track);
            events.push(name("thread_name", span.cpu, span.counter.0, span.counter.to_string()));
        }
        events.push(json!({
            "ph": "X", "name": owner_name(scenario, span.owner), "pid": span.cpu, "tid": span.counter.0,
            "ts": microseconds(span.from), "dur": microseconds(span.to - span.from),
        }));
    }
    let vcpus = report.cpus.iter().map(|cpu| cpu.id + 1).max().unwrap_or(0);
    events.push(name("process_name", vcpus, 0, "vCPUs".to_owned()));
    for (g, guest) in scenario.guests.iter().enumerate() {
        events.push(name("thread_name", vcpus, g as u8, guest.name.clone()));
    }
    for stay in &report.stays {
        events.push(json!({
            "ph": "X", "name": place(stay.place), "pid": vcpus, "tid": stay.guest, "args": {"cpu": stay.cpu},
            "ts": microseconds(stay.from), "dur": microseconds(stay.to - stay.from),
        }));
    }
    for note in &report.notes {
        events.push(json!({"ph": "i", "s": "g", "name": note.text, "pid": 0, "tid": 0, "ts": microseconds(note.at)}));
    }
    format!("{}\n", json!({"displayTimeUnit": "ns", "traceEvents": events}))
}

/// Where a vCPU is, in words.
pub fn place(residence: Residence) -> &'static str {
    match residence {
        Residence::Guest => "in the guest",
        Residence::Root => "the host works for it",
        Residence::Stolen => "waits, or in user space",
        Residence::Halted => "halted",
    }
}
