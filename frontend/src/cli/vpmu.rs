//! `unhalted run --vpmu`: the machine as a guest of a host that profiles.

use super::Failure;
use crate::lab;
use crate::pc::Machine;
use crate::report::event::{self, EventError};
use clap::ValueEnum;
use pmu_model::host::attr::{Attr, Exclude, Sample};
use pmu_model::host::exits::{ExitReason, ExitTable, Work};
use pmu_model::host::filter::Permission;
use pmu_model::host::live::{Guest, HostEvent, Hosted};
use pmu_model::host::registers::Shape;
use pmu_model::host::switch::Policy;
use pmu_model::host::vpmu::Mode;
use std::path::PathBuf;

/// The host.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "The machine as a guest")]
pub struct Host {
    /// Run it as a guest whose PMU is made so, and print at the end who counted what
    #[arg(long, value_name = "MODE")]
    vpmu: Option<Word>,
    /// Events of the host on each CPU: names of `unhalted list` with u, k, G (guest only), H (host only), D (pinned), and
    /// @N for a sample each N: instructions:uG,cycles:H,branches:D (with --vpmu perf-based if no other is given)
    #[arg(long, value_name = "LIST")]
    host_events: Option<String>,
    /// General and fixed counters of the guest's PMU [default: 8+3; 8+4 passed through]
    #[arg(long, value_name = "N+M")]
    vpmu_counters: Option<String>,
    /// How a mediated guest's state is switched: baseline, lazy, selective, dynamic, bitmap, preempt, all
    #[arg(long, value_name = "POLICY", default_value = "selective")]
    vpmu_policy: String,
    /// Print the host's view each so much guest time as well: 100ms, 2s
    #[arg(long, value_name = "TIME")]
    host_interval: Option<String>,
    /// What an exit costs the host, in instructions of its kernel and of its user space: io=2500+3000; repeatable
    #[arg(long, value_name = "REASON=N[+M]")]
    exit_cost: Vec<String>,
    /// Ticks of the host's timer in a second; 0: none
    #[arg(long, value_name = "N", default_value = "250")]
    host_hz: u64,
    /// Write the host's view at the end as JSON to this file
    #[arg(long, value_name = "FILE")]
    host_json: Option<PathBuf>,
}

/// How the guest's PMU is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Word {
    /// It has none
    None,
    /// Pinned events of the host stand behind its counters
    PerfBased,
    /// It has the counters while it runs
    Mediated,
    /// It has the counters
    PassThrough,
}

impl Word {
    fn mode(self) -> Mode {
        match self {
            Word::None => Mode::None,
            Word::PerfBased => Mode::PerfBased,
            Word::Mediated => Mode::Mediated,
            Word::PassThrough => Mode::PassThrough,
        }
    }
}

fn wrong(what: impl Into<String>, remedy: impl Into<String>) -> Failure {
    Failure::HostOption { what: what.into(), remedy: remedy.into() }
}

impl Host {
    fn mode(&self) -> Option<Mode> {
        let implied = self.host_events.as_ref().map(|_| Mode::PerfBased);
        self.vpmu.map(Word::mode).or(implied)
    }

    /// Ticks from report to report.
    pub fn interval(&self) -> Option<u64> {
        let text = self.host_interval.as_deref().filter(|_| self.mode().is_some())?;
        lab::time(text).ok().filter(|ticks| *ticks != 0)
    }

    /// Puts the machine under the host, if that is asked for.
    ///
    /// # Errors
    /// Words that mean nothing, and events that this host cannot have beside this guest.
    pub fn put_under(&self, machine: &mut Machine) -> Result<(), Failure> {
        let Some(mode) = self.mode() else { return Ok(()) };
        if let Some(text) = &self.host_interval
            && self.interval().is_none()
        {
            return Err(wrong(format!("\"{text}\" is no interval"), "write a time: --host-interval 100ms"));
        }
        let (events, exits, guest) = (self.events()?, self.exits()?, self.guest(mode)?);
        let tick = lab::CYCLES_PER_SECOND.checked_div(self.host_hz).unwrap_or(0);
        let hosts = (0..machine.processors().count() as u32).map(|id| Hosted::new(id, &guest, exits, tick, &events));
        let hosts = hosts.collect::<Result<Vec<Hosted>, _>>()?;
        machine.put_under(hosts);
        Ok(())
    }

    fn guest(&self, mode: Mode) -> Result<Guest, Failure> {
        let whole = if mode == Mode::PassThrough { Shape::SAPPHIRE_RAPIDS } else { Shape::THREE_FIXED };
        let shape = match &self.vpmu_counters {
            None => whole,
            Some(text) => lab::counters(text)
                .ok_or_else(|| wrong(format!("\"{text}\" are no counters"), "at most --vpmu-counters 8+4"))?,
        };
        let policy = Policy::NAMED.iter().find(|(name, _)| *name == self.vpmu_policy).map(|(_, policy)| *policy);
        let names: Vec<&str> = Policy::NAMED.iter().map(|(name, _)| *name).collect();
        let unknown =
            || wrong(format!("there is no policy \"{}\"", self.vpmu_policy), format!("one of {}", names.join(", ")));
        Ok(Guest { mode, shape, permission: Permission::EVERYTHING, policy: policy.ok_or_else(unknown)? })
    }

    fn exits(&self) -> Result<ExitTable, Failure> {
        let mut table = ExitTable::default();
        let reasons: Vec<&str> = ExitReason::ALL.iter().map(|reason| reason.name()).collect();
        for text in &self.exit_cost {
            let bad = || {
                wrong(
                    format!("\"{text}\" is no cost of an exit"),
                    format!("REASON=KERNEL+USER, of {}", reasons.join(", ")),
                )
            };
            let (reason, cost) = text.split_once('=').ok_or_else(bad)?;
            let reason = ExitReason::from_name(reason).ok_or_else(bad)?;
            let (kernel, user) = cost.split_once('+').unwrap_or((cost, "0"));
            let work = |n: &str| {
                let instructions = n.parse::<u32>().map(u64::from).map_err(|_| bad())?;
                Ok::<Work, Failure>(Work {
                    instructions,
                    cycles: instructions,
                    branches: instructions / 5,
                    slots: instructions,
                })
            };
            let row = table.of(reason);
            table.set(reason, pmu_model::host::exits::ExitCost { kernel: work(kernel)?, user: work(user)?, ..row });
        }
        Ok(table)
    }

    fn events(&self) -> Result<Vec<HostEvent>, Failure> {
        let Some(list) = &self.host_events else { return Ok(Vec::new()) };
        event::words(list).iter().map(|text| host_event(text)).collect()
    }

    /// Prints who counted what, and writes it where that was asked for.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn report(&self, machine: &mut Machine) -> Result<(), Failure> {
        if self.mode().is_none() {
            return Ok(());
        }
        eprintln!("\n{}", lab::real::text(machine));
        let Some(path) = &self.host_json else { return Ok(()) };
        let written = std::fs::write(path, lab::real::json(machine));
        written.map_err(|source| Failure::Write { what: "the host's view", path: path.clone(), source })
    }
}

/// An event of the host: name, modifiers, period.
fn host_event(text: &str) -> Result<HostEvent, Failure> {
    let (rest, period) = match text.rsplit_once('@') {
        Some((rest, digits)) => {
            let period = digits.replace('_', "").parse().ok().filter(|n| *n != 0);
            (rest, Some(period.ok_or_else(|| wrong(format!("\"{digits}\" is no period"), "write cycles:H@100000"))?))
        }
        None => (text, None),
    };
    let (name, letters) = match rest.rfind('/').filter(|_| rest.starts_with("cpu/")) {
        Some(at) => (&rest[..=at], rest[at + 1..].trim_start_matches(':')),
        None => rest.split_once(':').unwrap_or((rest, "")),
    };
    let events = event::parse(name)?;
    let [event] = &events[..] else { return Err(EventError::Empty.into()) };
    if !event.is_modelled() {
        return Err(EventError::NotModelled { name: name.to_owned() }.into());
    }
    let exclude = Exclude::from_modifiers(letters)
        .map_err(|letter| wrong(format!("\"{letter}\" is no modifier of {name}"), "u, k, h, G, H, I, D and p"))?;
    let attr = Attr::raw(event.encoding.bits()).excluding(exclude);
    let attr = Attr { pinned: letters.contains('D'), ..attr };
    let sample = period.map_or(Sample::None, Sample::Period);
    Ok(HostEvent { name: text.to_owned(), attr: Attr { sample, ..attr } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_the_host_has_modifiers_and_a_period() {
        let event = host_event("instructions:uGD@1_000").unwrap();
        assert_eq!((event.attr.config, event.attr.pinned, event.attr.sample), (0xc0, true, Sample::Period(1000)));
        assert_eq!(event.attr.exclude.cells().0, 0b0100);
        assert_eq!(host_event("cpu/event=0xc4,umask=0x11/kH").unwrap().attr.exclude.cells().0, 0b0010);
        assert_eq!(host_event("BR_INST_RETIRED.COND").unwrap().attr.config, 0x11c4);
        for bad in ["cycles:z", "cycle", "cycles@0", "cycles@x", "", "cpu/event=0xc4"] {
            assert!(host_event(bad).is_err(), "{bad}");
        }
    }
}
