//! From a file to a scenario: names become places, texts numbers, and what makes no sense a complaint with its place.

use super::check;
use super::error::{Complaint, LabError};
use super::file::{self, File, Names};
use super::words::{CYCLES_PER_SECOND, Counting, SEGMENTS, TIMES, config, counters, event, events, segment, time};
use pmu_model::host::aperf::{AperfCosts, Design, UNSCALED};
use pmu_model::host::attr::Sample;
use pmu_model::host::cell::{Happening, Privilege};
use pmu_model::host::exits::{ExitCost, ExitReason, ExitTable, Work};
use pmu_model::host::filter::{Filter, FilterRequest, Permission};
use pmu_model::host::registers::{AccessCosts, Shape};
use pmu_model::host::scenario::{Action, CpuSpec, EventSpec, Follow, GuestSpec, Rates, Scenario, Segment};
use pmu_model::host::select::HostPmu;
use pmu_model::host::switch::{Boundary, Policy};
use pmu_model::host::vpmu::Mode;
use std::collections::BTreeMap;
use toml::Spanned;

type Result<T> = std::result::Result<T, Complaint>;

/// Makes a scenario of a file. `name` and `text` are for errors.
///
/// # Errors
/// A name that nothing has, a number out of range, a word that means nothing: each with its line and a remedy.
pub fn build(file: &File, name: &str, text: &str) -> std::result::Result<Scenario, Box<LabError>> {
    check::check(file).and_then(|()| scenario(file)).map_err(|complaint| complaint.in_file(name, text))
}

fn complain<T>(at: &Spanned<T>, what: impl Into<String>, remedy: impl Into<String>) -> Complaint {
    Complaint::new(what, at.span(), remedy)
}

fn cycles(text: &Spanned<String>) -> Result<u64> {
    time(text.get_ref()).map_err(|what| complain(text, what, TIMES))
}

fn cycles_or(text: Option<&Spanned<String>>, otherwise: u64) -> Result<u64> {
    text.map_or(Ok(otherwise), cycles)
}

fn shape(text: Option<&Spanned<String>>, otherwise: Shape) -> Result<Shape> {
    let Some(text) = text else { return Ok(otherwise) };
    let remedy = "write general and fixed counters, at most 8 and 4: \"8+4\"";
    counters(text.get_ref()).ok_or_else(|| complain(text, format!("\"{}\" are no counters", text.get_ref()), remedy))
}

fn scenario(file: &File) -> Result<Scenario> {
    let executed = file.guest.iter().any(file::Guest::is_executed);
    let mut exits = ExitTable::default();
    file.exit.iter().try_for_each(|exit| set_exit(&mut exits, exit))?;
    let host_rates = rates(&file.host_rates)?;
    let cpus = file.cpu.iter().map(cpu).collect::<Result<Vec<CpuSpec>>>()?;
    let one = CpuSpec { shape: Shape::SAPPHIRE_RAPIDS, busy: false, idle_polls: false, slice: 0, host_turn: 0 };
    let cpus = if cpus.is_empty() { vec![one] } else { cpus };
    let counted = file.guest.iter().map(counting).collect::<Result<Vec<Counting>>>()?;
    let guests = file.guest.iter().zip(&counted).map(|(g, counting)| guest(file, g, counting, cpus.len()));
    let guests = guests.collect::<Result<Vec<GuestSpec>>>()?;
    let events = file.event.iter().enumerate().map(|(n, e)| event_spec(file, n, e, cpus.len()));
    let events = events.collect::<Result<Vec<EventSpec>>>()?;
    Ok(Scenario {
        title: file.title.clone(),
        cycles_per_second: CYCLES_PER_SECOND,
        end: cycles(&file.lasts)?,
        tick: cycles_or(file.tick.as_ref(), 0)?,
        rotation: cycles_or(file.rotation.as_ref(), CYCLES_PER_SECOND / 250)?,
        pmus: file.pmu.iter().map(pmu).collect(),
        policy: file.policy.as_ref().map_or(Ok(Policy::BASELINE), policy)?,
        exits: if executed { exits.atomic() } else { exits },
        access: AccessCosts::QUOTED,
        aperf: AperfCosts::QUOTED,
        core_clock_percent: file.clock.as_ref().map_or(100, |percent| *percent.get_ref()),
        host_rates: [if executed { host_rates.atomic() } else { host_rates }; 2],
        host_user_percent: file.host_user.as_ref().map_or(50, |percent| *percent.get_ref()),
        timeline: timeline(file, &counted, cpus.len())?,
        cpus,
        events,
        guests,
    })
}

fn cpu(cpu: &file::Cpu) -> Result<CpuSpec> {
    Ok(CpuSpec {
        shape: shape(cpu.counters.as_ref(), Shape::SAPPHIRE_RAPIDS)?,
        busy: cpu.busy,
        idle_polls: cpu.idle_polls,
        slice: cycles_or(cpu.slice.as_ref(), 0)?,
        host_turn: cycles_or(cpu.host_turn.as_ref(), 0)?,
    })
}

fn pmu(pmu: &file::Pmu) -> HostPmu {
    let cpus = pmu.cpus.get_ref().iter().filter(|cpu| **cpu < 64).fold(0, |set, cpu| set | 1 << cpu);
    HostPmu { id: *pmu.id.get_ref(), name: pmu.name.clone(), cpus, counters: pmu.counters }
}

/// A policy by name, or the sum of several phases.
fn policy(names: &Spanned<Names>) -> Result<Policy> {
    let list = match names.get_ref() {
        Names::One(name) => std::slice::from_ref(name),
        Names::Several(list) => list,
    };
    list.iter().try_fold(Policy::BASELINE, |sum, name| {
        let found = Policy::NAMED.iter().find(|(known, _)| known == name).map(|(_, policy)| *policy);
        let known: Vec<&str> = Policy::NAMED.iter().map(|(name, _)| *name).collect();
        let remedy = format!("policies are {}; several are added up", known.join(", "));
        let one = found.ok_or_else(|| complain(names, format!("there is no policy \"{name}\""), remedy))?;
        Ok(Policy {
            lazy: sum.lazy | one.lazy,
            selective: sum.selective | one.selective,
            preempt: sum.preempt | one.preempt,
            boundary: if one.boundary == Boundary::Entry { sum.boundary } else { one.boundary },
        })
    })
}

/// The largest rate.
const MOST_IN_A_THOUSAND: u64 = 1_000_000;

fn rates(given: &BTreeMap<Spanned<String>, u64>) -> Result<Rates> {
    let mut rates = Rates::ordinary();
    for (name, rate) in given {
        let kind = Happening::from_name(name.get_ref());
        let kind = kind.ok_or_else(|| complain(name, format!("nothing is called \"{}\"", name.get_ref()), events()))?;
        if *rate > MOST_IN_A_THOUSAND {
            let what = format!("{rate} in a thousand cycles are more than {MOST_IN_A_THOUSAND}");
            return Err(complain(name, what, "rates are in a thousand cycles: a core of six slots has 6000 of them"));
        }
        rates.0[kind as usize] = *rate;
    }
    Ok(rates)
}

fn set_exit(table: &mut ExitTable, exit: &file::Exit) -> Result<()> {
    let names: Vec<&str> = ExitReason::ALL.iter().map(|reason| reason.name()).collect();
    let unknown = || complain(&exit.reason, "there is no such reason", format!("reasons are {}", names.join(", ")));
    let reason = ExitReason::from_name(exit.reason.get_ref()).ok_or_else(unknown)?;
    let cost = table.of(reason);
    let work = |old: Work, instructions: Option<u64>, cycles: Option<u64>| {
        let (instructions, cycles) = (instructions.unwrap_or(old.instructions), cycles.unwrap_or(old.cycles));
        Work { instructions, cycles, branches: instructions / 10, slots: instructions.min(cycles.saturating_mul(6)) }
    };
    let number = |n: &Option<Spanned<u64>>| n.as_ref().map(|n| *n.get_ref());
    let kernel = work(cost.kernel, number(&exit.instructions), exit.cycles);
    let user = work(cost.user, number(&exit.user_instructions), exit.user_cycles);
    table.set(reason, ExitCost { kernel, user, fast: exit.fast.unwrap_or(cost.fast), ..cost });
    Ok(())
}

fn counting(guest: &file::Guest) -> Result<Counting> {
    let mut counting = Counting::new(shape(guest.counters.as_ref(), Shape::THREE_FIXED)?);
    for name in &guest.count {
        counting.add(name.get_ref()).map_err(|what| complain(name, what, events()))?;
    }
    Ok(counting)
}

fn guest(file: &File, guest: &file::Guest, counting: &Counting, cpus: usize) -> Result<GuestSpec> {
    if guest.cpu as usize >= cpus {
        let remedy = format!("there are {cpus} CPUs, from 0");
        return Err(complain(&guest.name, format!("there is no CPU {}", guest.cpu), remedy));
    }
    let word =
        |text: &Spanned<String>| segment(text.get_ref(), counting).map_err(|what| complain(text, what, SEGMENTS));
    let program = guest.program.as_ref().map_or(&[][..], |program| program.get_ref());
    Ok(GuestSpec {
        name: guest.name.get_ref().clone(),
        mode: mode(&guest.pmu)?,
        shape: shape(guest.counters.as_ref(), Shape::THREE_FIXED)?,
        permission: guest.filter.as_ref().map_or(Ok(Permission::EVERYTHING), filter)?,
        cpu: guest.cpu,
        apic_in_kernel: !guest.apic_in_user_space,
        setup: counting.writes(),
        thread_of: guest.thread_of.as_ref().map(|name| guest_place(file, name)).transpose()?,
        executed: guest.is_executed(),
        program: program.iter().map(word).collect::<Result<Vec<Segment>>>()?,
        rates: [rates(&guest.rates)?; 2],
        aperf: guest
            .aperf
            .as_ref()
            .map(|name| aperf(name, guest.tsc.as_ref().map(|percent| *percent.get_ref())))
            .transpose()?,
        selects: guest.selects,
    })
}

fn mode(text: &Spanned<String>) -> Result<Mode> {
    match text.get_ref().as_str() {
        "none" => Ok(Mode::None),
        "perf-based" => Ok(Mode::PerfBased),
        "mediated" => Ok(Mode::Mediated),
        "pass-through" => Ok(Mode::PassThrough),
        other => {
            let remedy = "modes are none, perf-based, mediated and pass-through";
            Err(complain(text, format!("there is no vPMU mode \"{other}\""), remedy))
        }
    }
}

fn aperf(text: &Spanned<String>, percent: Option<u64>) -> Result<(Design, u64)> {
    let names: Vec<&str> = Design::ALL.iter().map(|design| design.name()).collect();
    let design = Design::ALL.into_iter().find(|design| design.name() == text.get_ref());
    let unknown = || complain(text, "there is no such design", format!("designs are {}", names.join(", ")));
    let multiplier = u128::from(UNSCALED) * u128::from(percent.unwrap_or(100)) / 100;
    Ok((design.ok_or_else(unknown)?, u64::try_from(multiplier).unwrap_or(u64::MAX)))
}

fn filter(filter: &Spanned<file::Filter>) -> Result<Permission> {
    let given = filter.get_ref();
    let unknown = |name: &String| complain(filter, format!("there is no event \"{name}\""), events());
    let encode = |name: &String| config(name).ok_or_else(|| unknown(name));
    let request = FilterRequest {
        action: match given.action.as_str() {
            "allow" => 0,
            "deny" => 1,
            _ => return Err(complain(filter, "the action is neither allow nor deny", "action = \"deny\"")),
        },
        fixed_counter_bitmap: given.fixed.iter().filter(|n| **n < 32).fold(0, |bits, n| bits | 1 << n),
        flags: 0,
        events: given.events.iter().map(encode).collect::<Result<Vec<u64>>>()?,
    };
    let filter = Filter::new(&request).map_err(|error| complain(filter, error.to_string(), "see spec/pmu.md 5.7"))?;
    Ok(Permission::filtered(filter))
}

fn event_spec(file: &File, n: usize, given: &file::Event, cpus: usize) -> Result<EventSpec> {
    let mut attr = event(given.counts.get_ref()).map_err(|what| complain(&given.counts, what, events()))?;
    (attr.pinned, attr.disabled, attr.inherit) =
        (given.pinned, given.disabled, given.inherit.as_ref().is_some_and(|i| *i.get_ref()));
    let number = |n: &Spanned<u64>| *n.get_ref();
    attr.sample = match (given.period.as_ref().map(number), given.frequency.as_ref().map(number)) {
        (None, None) => Sample::None,
        (Some(period), None) => Sample::Period(period),
        (None, Some(hertz)) => Sample::Frequency(hertz),
        (Some(_), Some(_)) => {
            return Err(complain(&given.name, "it has a period and a frequency", "give one of the two"));
        }
    };
    let follow = match (&given.cpu, &given.guest) {
        (Some(cpu), None) if (*cpu.get_ref() as usize) < cpus => Follow::Cpu(*cpu.get_ref()),
        (Some(cpu), None) => return Err(complain(cpu, "there is no such CPU", format!("there are {cpus}, from 0"))),
        (None, Some(guest)) => Follow::Guest(guest_place(file, guest)?),
        (None, None) => Follow::Cpu(0),
        (Some(_), Some(_)) => {
            return Err(complain(&given.name, "it follows a CPU and a guest", "give one of cpu and guest"));
        }
    };
    let leader = given.group.as_ref().map(|leader| match event_place(file, leader) {
        Ok(place) if place < n => Ok(place),
        Ok(_) => Err(complain(leader, "a leader comes before its group", "move the leader up")),
        Err(complaint) => Err(complaint),
    });
    Ok(EventSpec { name: given.name.get_ref().clone(), attr, follow, leader: leader.transpose()? })
}

fn place<T>(list: &[T], name: &Spanned<String>, name_of: fn(&T) -> &str, what: &str) -> Result<usize> {
    let names: Vec<&str> = list.iter().map(name_of).collect();
    let found = names.iter().position(|known| known == name.get_ref());
    let wrong = format!("there is no {what} \"{}\"", name.get_ref());
    let remedy = if names.is_empty() { format!("add a [[{what}]]") } else { format!("there are {}", names.join(", ")) };
    found.ok_or_else(|| complain(name, wrong, remedy))
}

fn guest_place(file: &File, name: &Spanned<String>) -> Result<usize> {
    place(&file.guest, name, |guest| guest.name.get_ref(), "guest")
}

fn event_place(file: &File, name: &Spanned<String>) -> Result<usize> {
    place(&file.event, name, |event| event.name.get_ref(), "event")
}

/// Guests start, then events are opened, then what the file says, each at its time; at equal times in this order.
fn timeline(file: &File, counted: &[Counting], cpus: usize) -> Result<Vec<(u64, Action)>> {
    let mut list = Vec::new();
    for (g, guest) in file.guest.iter().enumerate() {
        list.push((cycles_or(guest.at.as_ref(), 0)?, Action::Start(g)));
    }
    for (n, event) in file.event.iter().enumerate() {
        list.push((cycles_or(event.at.as_ref(), 0)?, Action::Open(n)));
        if let Some(until) = &event.until {
            list.push((cycles(until)?, Action::Close(n)));
        }
    }
    for then in &file.then {
        list.push((cycles(&then.at)?, action(file, counted, cpus, &then.what)?));
    }
    list.sort_by_key(|(at, _)| *at);
    Ok(list)
}

const ACTIONS: &str = "write \"start GUEST\", \"stop GUEST\", \"open EVENT\", \"close EVENT\", \"enable EVENT\", \
    \"disable EVENT\", \"move GUEST to CPU\", \"migrate GUEST for TIME\" or \"GUEST: pmu off\" (anything that a guest \
    does, but running)";

fn action(file: &File, counted: &[Counting], cpus: usize, text: &Spanned<String>) -> Result<Action> {
    let named = |name: &str| Spanned::new(text.span(), name.trim().to_owned());
    let wrong = || complain(text, format!("\"{}\" is nothing that happens", text.get_ref()), ACTIONS);
    if let Some((name, what)) = text.get_ref().split_once(':') {
        let g = guest_place(file, &named(name))?;
        return match segment(what.trim(), &counted[g]) {
            Ok(Segment::Run(Privilege::User | Privilege::Kernel, _)) => Err(wrong()),
            Ok(segment) => Ok(Action::Guest(g, segment)),
            Err(what) => Err(complain(text, what, SEGMENTS)),
        };
    }
    let (word, rest) = text.get_ref().split_once(' ').ok_or_else(wrong)?;
    match word {
        "start" => Ok(Action::Start(guest_place(file, &named(rest))?)),
        "stop" => Ok(Action::Stop(guest_place(file, &named(rest))?)),
        "open" => Ok(Action::Open(event_place(file, &named(rest))?)),
        "close" => Ok(Action::Close(event_place(file, &named(rest))?)),
        "enable" => Ok(Action::Enable(event_place(file, &named(rest))?)),
        "disable" => Ok(Action::Disable(event_place(file, &named(rest))?)),
        "move" => {
            let (name, cpu) = rest.split_once(" to ").ok_or_else(wrong)?;
            let cpu: u32 = cpu.trim().parse().map_err(|_| wrong())?;
            let there = (cpu as usize) < cpus;
            let missing = || complain(text, format!("there is no CPU {cpu}"), format!("there are {cpus}, from 0"));
            Ok(Action::Move(guest_place(file, &named(name))?, there.then_some(cpu).ok_or_else(missing)?))
        }
        "migrate" => {
            let (name, pause) = rest.split_once(" for ").ok_or_else(wrong)?;
            Ok(Action::Migrate(guest_place(file, &named(name))?, cycles(&named(pause))?))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests;
