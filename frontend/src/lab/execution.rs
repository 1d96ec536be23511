//! Guests of a scenario that are really executed: a machine for each, with one processor, in the scenario's hands.

use super::error::{Complaint, LabError};
use super::file::{File, Guest};
use crate::load::Kind;
use crate::pc::{End, Limits, Machine, Quiet, Setup, Stretch, TSC_MHZ};
use pmu_model::host::constraint::Counter;
use pmu_model::host::live::{Execution, Hosted, Inside, Ran};
use std::path::Path;
use toml::Spanned;

/// Memory of a guest that does not say how much it wants, in bytes.
const MEMORY_BYTES: u64 = 256 << 20;
/// Ticks of a turn: a guest has one processor, so that it only bounds a window.
const QUANTUM: u64 = 20_000;

/// A guest's machine.
struct Executed {
    machine: Machine,
    console: Quiet,
    ended: bool,
}

impl Execution for Executed {
    fn run(&mut self, inside: &mut Inside<'_>, ticks: u64) -> Ran {
        if self.ended {
            return Ran::Halted(None);
        }
        let swapped = |machine: &mut Machine, inside: &mut Inside<'_>| {
            if let Some(host) = machine.host() {
                host.swap(inside);
            }
        };
        swapped(&mut self.machine, inside);
        let stretch = self.machine.stretch(&mut self.console, ticks);
        swapped(&mut self.machine, inside);
        match stretch {
            Stretch::On => Ran::On,
            Stretch::Halted(ticks) => {
                // The window went on behind its HLT.
                let slept = self.machine.clock().saturating_sub(inside.live.clock());
                Ran::Halted(ticks.map(|ticks| ticks.saturating_add(slept)))
            }
            Stretch::Ended(end) => {
                self.ended = true;
                Ran::Ended(words(&end))
            }
        }
    }

    fn alone(&self, counter: Counter) -> u64 {
        let selector = counter.as_fixed().map_or(u32::from(counter.0), |n| 1 << 30 | u32::from(n));
        let views = self.machine.views(0);
        views.iter().find(|view| view.selector == selector).map_or(0, |view| view.value)
    }
}

fn words(end: &End) -> String {
    match end {
        End::PowerOff => "powered off".to_owned(),
        End::Exit(status) => format!("ended with status {status}"),
        End::Reset => "reset itself".to_owned(),
        End::TripleFault { .. } => "triple fault".to_owned(),
        End::Halted => "halted for good".to_owned(),
        End::Missing { missing, .. } => format!("met what this program lacks: {}", missing.what),
        End::Instructions | End::Time | End::Quit | End::Signal(_) => "stopped".to_owned(),
    }
}

/// The machines of the guests that are executed, by place. Paths are relative to `folder`.
///
/// # Errors
/// An image that cannot be read or started, a lesson that is not there: with its line and a remedy.
pub fn machines(
    file: &File,
    name: &str,
    text: &str,
    folder: &Path,
) -> Result<Vec<Option<Box<dyn Execution>>>, Box<LabError>> {
    let one = |guest: &Guest| machine(guest, folder).map_err(|complaint| complaint.in_file(name, text));
    file.guest.iter().map(one).collect()
}

fn machine(guest: &Guest, folder: &Path) -> Result<Option<Box<dyn Execution>>, Complaint> {
    let (image, kind, at) = match (&guest.lesson, &guest.image) {
        (Some(name), _) => (lesson(name)?.to_vec(), Some(Kind::Rom), name.span()),
        (None, Some(path)) => (read(path, folder)?, None, path.span()),
        (None, None) => return Ok(None),
    };
    let initrd = guest.initrd.as_ref().map(|path| read(path, folder)).transpose()?;
    let ram_bytes = guest.memory.as_ref().map_or(Ok(MEMORY_BYTES), |text| {
        let what = |why: String| Complaint::new(why, text.span(), "write memory = \"64M\"");
        crate::cli::memory(text.get_ref()).map_err(what)
    })?;
    let built = Machine::build(&Setup {
        ram_bytes,
        processors: 1,
        core_mhz: TSC_MHZ,
        quantum: QUANTUM,
        image: &image,
        initrd: initrd.as_deref(),
        append: guest.append.as_ref().map_or("", |append| append.get_ref()),
        unpack: true,
        kind,
        limits: Limits::NONE,
        reboot: false,
        triple_fault_resets: false,
    });
    let mut machine = built.map_err(|error| {
        Complaint::new(format!("it cannot be started: {error}"), at, "name a kernel or ROM that unhalted run starts")
    })?;
    machine.put_under(vec![Hosted::vacant()]);
    Ok(Some(Box::new(Executed { machine, console: Quiet::default(), ended: false })))
}

fn lesson(name: &Spanned<String>) -> Result<&'static [u8], Complaint> {
    let lessons = roms::lessons();
    let found = lessons.iter().find(|lesson| lesson.name == name.get_ref());
    let names: Vec<&str> = lessons.iter().map(|lesson| lesson.name).collect();
    let wrong = || {
        let what = format!("there is no lesson \"{}\"", name.get_ref());
        Complaint::new(what, name.span(), format!("there are {}", names.join(", ")))
    };
    found.map(|lesson| lesson.image).ok_or_else(wrong)
}

fn read(path: &Spanned<String>, folder: &Path) -> Result<Vec<u8>, Complaint> {
    let at = folder.join(path.get_ref());
    std::fs::read(&at).map_err(|error| {
        let remedy = "paths are relative to the scenario's file";
        Complaint::new(format!("cannot read {}: {error}", at.display()), path.span(), remedy)
    })
}
