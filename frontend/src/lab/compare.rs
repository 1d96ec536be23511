//! One scenario under several policies, vPMU modes or APERF designs, in one table.

use super::LabError;
use super::table::{difference, plain};
use clap::ValueEnum;
use pmu_model::host::aperf::Design;
use pmu_model::host::event::Reading;
use pmu_model::host::live::Execution;
use pmu_model::host::scenario::{Report, Scenario, run_with};
use pmu_model::host::switch::Policy;
use pmu_model::host::vpmu::Mode;

/// Makes the machines of a scenario's executed guests.
pub type Machines<'a> = dyn Fn() -> Result<Vec<Option<Box<dyn Execution>>>, Box<LabError>> + 'a;

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Along {
    /// The switching policies of S0
    Policies,
    /// The ways of making a guest's PMU
    Modes,
    /// The designs for APERF and MPERF of S4
    Aperf,
}

impl Along {
    /// As `--compare` takes it.
    pub const fn word(self) -> &'static str {
        match self {
            Along::Policies => "policies",
            Along::Modes => "modes",
            Along::Aperf => "aperf",
        }
    }
}

fn variants(scenario: &Scenario, along: Along) -> Vec<(String, Scenario)> {
    let with = |change: &dyn Fn(&mut Scenario)| {
        let mut other = scenario.clone();
        change(&mut other);
        other
    };
    let modes = [Mode::None, Mode::PerfBased, Mode::Mediated, Mode::PassThrough];
    match along {
        Along::Policies => {
            Policy::NAMED.iter().map(|(name, p)| ((*name).to_owned(), with(&|s| s.policy = *p))).collect()
        }
        Along::Modes => {
            let set = |mode| with(&|s| s.guests.iter_mut().for_each(|guest| guest.mode = mode));
            let names = ["none", "perf-based", "mediated", "pass-through"];
            names.iter().zip(modes).map(|(name, mode)| ((*name).to_owned(), set(mode))).collect()
        }
        Along::Aperf => {
            let set = |design| {
                with(&|s| {
                    s.guests.iter_mut().filter_map(|guest| guest.aperf.as_mut()).for_each(|aperf| aperf.0 = design)
                })
            };
            Design::ALL.into_iter().map(|design| (design.name().to_owned(), set(design))).collect()
        }
    }
}

/// Runs the scenario once for each variant and puts the results side by side.
///
/// # Errors
/// The machines of executed guests, made anew for each run, could not be.
pub fn compare(scenario: &Scenario, along: Along, machines: &Machines<'_>) -> Result<String, Box<LabError>> {
    let one = |(name, scenario): (String, Scenario)| Ok((name, run_with(&scenario, machines()?)));
    let runs =
        variants(scenario, along).into_iter().map(one).collect::<Result<Vec<(String, Report)>, Box<LabError>>>()?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: String, value: &dyn Fn(&Report) -> String| {
        rows.push([name].into_iter().chain(runs.iter().map(|(_, report)| value(report))).collect());
    };
    let sum = |of: fn(&pmu_model::host::scenario::CpuReport) -> u64| {
        move |report: &Report| report.cpus.iter().map(of).sum::<u64>().to_string()
    };
    row("switches in".to_owned(), &sum(|cpu| cpu.switches.loads));
    row("preempted".to_owned(), &sum(|cpu| cpu.switches.preemptions));
    row("RDMSR, RDPMC".to_owned(), &sum(|cpu| cpu.traffic.rdmsr + cpu.traffic.rdpmc));
    row("WRMSR".to_owned(), &sum(|cpu| cpu.traffic.wrmsr));
    row("cycles for that".to_owned(), &sum(|cpu| cpu.cost));
    for (n, event) in scenario.events.iter().enumerate() {
        row(format!("event {}", event.name), &|report| event_text(report, n));
    }
    for (g, guest) in scenario.guests.iter().enumerate() {
        row(format!("{}: exits", guest.name), &|report| exits(report, g));
        row(format!("{}: PMU's exits", guest.name), &|report| report.guests[g].pmu_exits.to_string());
        row(format!("{}: worst counter", guest.name), &|report| worst(report, g));
        if guest.aperf.is_some() {
            row(format!("{}: APERF / MPERF", guest.name), &|report| ratio(report, g));
            row(format!("{}: cost of APERF", guest.name), &|report| aperf_cost(report, g));
        }
    }
    let header: Vec<&str> = [""].into_iter().chain(runs.iter().map(|(name, _)| name.as_str())).collect();
    Ok(plain(&header, rows, 1).unwrap_or_default())
}

fn event_text(report: &Report, n: usize) -> String {
    let event = &report.events[n];
    match event.reading.and_then(Reading::scaled) {
        Some(scaled) => difference(scaled, event.truth),
        None if event.reading == Some(Reading::EndOfFile) => "ERROR".to_owned(),
        None if event.reading.is_none() => "refused".to_owned(),
        None => "not counted".to_owned(),
    }
}

fn exits(report: &Report, g: usize) -> String {
    let guest = &report.guests[g];
    if guest.created { guest.exits.iter().map(|(_, n)| n).sum::<u64>().to_string() } else { "refused".to_owned() }
}

/// The counter of a guest that is furthest from what it would be alone.
fn worst(report: &Report, g: usize) -> String {
    let counters = report.guests[g].counters.iter();
    let worst = counters.max_by_key(|counter| counter.seen.abs_diff(counter.truth));
    worst.map_or_else(|| "-".to_owned(), |counter| difference(counter.seen, counter.truth))
}

fn ratio(report: &Report, g: usize) -> String {
    let aperf = report.guests[g].aperf;
    aperf.map_or_else(|| "refused".to_owned(), |a| format!("{:.3}", a.aperf as f64 / a.mperf.max(1) as f64))
}

fn aperf_cost(report: &Report, g: usize) -> String {
    report.guests[g].aperf.map_or_else(|| "-".to_owned(), |aperf| aperf.cost.to_string())
}
