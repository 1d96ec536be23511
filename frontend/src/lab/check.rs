//! Contradictions in a scenario's file: what can be read, and still cannot be meant.

use super::error::Complaint;
use super::file::{Event, Exit, File, Guest};
use super::words::{TIMES, time};
use std::ops::Range;
use toml::Spanned;

type Result = std::result::Result<(), Complaint>;

fn wrong<T>(at: &Spanned<T>, what: impl Into<String>, remedy: impl Into<String>) -> Result {
    Err(Complaint::new(what, at.span(), remedy))
}

/// Whether the file means something.
///
/// # Errors
/// The first contradiction, with its place and a remedy.
pub fn check(file: &File) -> Result {
    let lasts = cycles(&file.lasts)?;
    if lasts == 0 {
        return wrong(&file.lasts, "it lasts no time", TIMES);
    }
    percent(file.clock.as_ref(), 1, 1000)?;
    percent(file.host_user.as_ref(), 0, 100)?;
    unique(file.guest.iter().map(|guest| &guest.name), "guest")?;
    unique(file.event.iter().map(|event| &event.name), "event")?;
    file.exit.iter().try_for_each(exit)?;
    cpus(file)?;
    pmus(file)?;
    file.event.iter().try_for_each(|one| event(one, lasts))?;
    file.guest.iter().try_for_each(|one| guest(one, lasts))?;
    file.then.iter().try_for_each(|then| {
        within(&then.at, lasts)?;
        on_executed(file, &then.what)
    })
}

fn cycles(text: &Spanned<String>) -> std::result::Result<u64, Complaint> {
    time(text.get_ref()).map_err(|what| Complaint::new(what, text.span(), TIMES))
}

/// What happens at the end or after it never happens.
fn within(at: &Spanned<String>, lasts: u64) -> Result {
    if cycles(at)? < lasts {
        Ok(())
    } else {
        wrong(at, "the scenario is over by then", "make it earlier, or lasts longer")
    }
}

fn percent(value: Option<&Spanned<u64>>, least: u64, most: u64) -> Result {
    match value {
        Some(percent) if !(least..=most).contains(percent.get_ref()) => {
            let what = format!("{} percent are out of range", percent.get_ref());
            wrong(percent, what, format!("write a number from {least} to {most}"))
        }
        _ => Ok(()),
    }
}

fn unique<'a>(names: impl Iterator<Item = &'a Spanned<String>>, what: &str) -> Result {
    let mut seen: Vec<&Spanned<String>> = Vec::new();
    for name in names {
        if name.get_ref().is_empty() {
            return wrong(name, format!("a {what} without a name"), "give it a name");
        }
        if seen.iter().any(|other| other.get_ref() == name.get_ref()) {
            return wrong(name, format!("there are two {what}s \"{}\"", name.get_ref()), "give each a name of its own");
        }
        seen.push(name);
    }
    Ok(())
}

fn exit(exit: &Exit) -> Result {
    for (instructions, cycles) in [(&exit.instructions, exit.cycles), (&exit.user_instructions, exit.user_cycles)] {
        if let (Some(instructions), Some(0)) = (instructions, cycles)
            && *instructions.get_ref() != 0
        {
            return wrong(instructions, "instructions that take no cycle", "give cycles as well, or neither");
        }
    }
    Ok(())
}

fn cpus(file: &File) -> Result {
    for cpu in &file.cpu {
        if let (Some(turn), None) = (&cpu.host_turn, &cpu.slice) {
            return wrong(turn, "the host's turn comes after a slice, and there is no slice", "add slice = \"1ms\"");
        }
        for time in [&cpu.slice, &cpu.host_turn].into_iter().flatten() {
            if cycles(time)? == 0 {
                return wrong(time, "a turn that takes no time", "leave it away: then it never ends");
            }
        }
    }
    Ok(())
}

fn pmus(file: &File) -> Result {
    let count = file.cpu.len().max(1);
    let mut taken = 0_u64;
    let mut ids = Vec::new();
    for pmu in &file.pmu {
        if ids.contains(pmu.id.get_ref()) {
            return wrong(&pmu.id, format!("two PMUs have id {}", pmu.id.get_ref()), "give each an id of its own");
        }
        ids.push(*pmu.id.get_ref());
        for cpu in pmu.cpus.get_ref() {
            if *cpu as usize >= count.min(64) {
                return wrong(&pmu.cpus, format!("there is no CPU {cpu}"), format!("there are {count}, from 0"));
            }
            if taken >> cpu & 1 != 0 {
                return wrong(&pmu.cpus, format!("CPU {cpu} has two PMUs"), "a CPU has one");
            }
            taken |= 1 << cpu;
        }
    }
    match file.pmu.first().filter(|_| taken.count_ones() as usize != count) {
        Some(pmu) => wrong(&pmu.cpus, "some CPU has no PMU", "with [[pmu]] each CPU is in one"),
        None => Ok(()),
    }
}

fn event(event: &Event, lasts: u64) -> Result {
    for number in [&event.period, &event.frequency].into_iter().flatten() {
        if *number.get_ref() == 0 {
            return wrong(number, "a sample each 0 events", "leave it away to count only");
        }
    }
    if let Some(inherit) = event.inherit.as_ref().filter(|i| *i.get_ref() && event.guest.is_none()) {
        return wrong(
            inherit,
            "a CPU has no children",
            "inherit belongs to an event that follows a guest: guest = \"vm\"",
        );
    }
    let from = event.at.as_ref().map_or(Ok(0), cycles)?;
    event.at.as_ref().map_or(Ok(()), |at| within(at, lasts))?;
    match &event.until {
        Some(until) if cycles(until)? <= from => {
            wrong(until, "it is closed before it is opened", "until comes after at")
        }
        Some(until) => within(until, lasts),
        None => Ok(()),
    }
}

fn guest(guest: &Guest, lasts: u64) -> Result {
    guest.at.as_ref().map_or(Ok(()), |at| within(at, lasts))?;
    runs_one_thing(guest)?;
    percent(guest.tsc.as_ref(), 1, 10_000)?;
    if let Some(parent) = guest.thread_of.as_ref().filter(|parent| parent.get_ref() == guest.name.get_ref()) {
        return wrong(parent, "it forks itself", "name another guest");
    }
    if let (Some(tsc), None) = (&guest.tsc, &guest.aperf) {
        return wrong(tsc, "a TSC that nobody reads", "it matters beside aperf: aperf = \"intercept\"");
    }
    if let Some(counted) = guest.count.first().filter(|_| guest.pmu.get_ref() == "none") {
        return wrong(counted, "it counts, and has no PMU", "give it another pmu, or leave count away");
    }
    Ok(())
}

/// A program, an image or a lesson, and what belongs to it.
fn runs_one_thing(guest: &Guest) -> Result {
    let spans: [Option<Range<usize>>; 3] = [
        guest.program.as_ref().map(Spanned::span),
        guest.image.as_ref().map(Spanned::span),
        guest.lesson.as_ref().map(Spanned::span),
    ];
    let mut given = spans.into_iter().flatten();
    let remedy = "give one of program, image and lesson";
    let Some(_) = given.next() else { return wrong(&guest.name, "it does nothing", remedy) };
    if let Some(second) = given.next() {
        return Err(Complaint::new("it does two things at once", second, remedy));
    }
    if let Some(program) = guest.program.as_ref().filter(|program| program.get_ref().is_empty()) {
        return wrong(program, "an empty program", "write what it does: program = [\"user 50us\", \"exit io\"]");
    }
    let files = [&guest.initrd, &guest.append, &guest.memory];
    if let Some(one) = files.into_iter().flatten().next().filter(|_| guest.image.is_none()) {
        return wrong(one, "that belongs to an image", "add image = \"FILE\", or leave it away");
    }
    if !guest.is_executed() {
        return Ok(());
    }
    if let Some(counted) = guest.count.first() {
        return wrong(counted, "it counts what its own instructions program", "leave count away");
    }
    match guest.rates.keys().next() {
        Some(name) => wrong(name, "its rates are what it executes", "leave rates away"),
        None => Ok(()),
    }
}

/// A guest that is executed does what its instructions do.
fn on_executed(file: &File, what: &Spanned<String>) -> Result {
    let Some((name, _)) = what.get_ref().split_once(':') else { return Ok(()) };
    let guest = file.guest.iter().find(|guest| guest.name.get_ref() == name.trim());
    match guest.filter(|guest| guest.is_executed()) {
        Some(_) => wrong(what, format!("{} does what its instructions do", name.trim()), "leave it away"),
        None => Ok(()),
    }
}
