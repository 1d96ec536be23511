//! `unhalted stat`: runs a machine and counts any number of events from outside.

use super::guest::{Guest, Options};
use super::run::explain;
use super::{Failure, number, status};
use crate::console::Console;
use crate::pc::{End, Limits, Machine, tick};
use crate::report::event::{self, Event};
use crate::report::json::{SCHEMA_TEXT, json};
use crate::report::meter::{Meter, Unit, Windows};
use crate::report::stat::{Report, warning};
use emu_core::Time;
use std::path::{Path, PathBuf};

/// What is counted unless `-e` says otherwise.
const DEFAULT_EVENTS: &str = "cycles,instructions,branches,BR_INST_RETIRED.COND";

/// Run a machine and count events from outside.
///
/// The guest notices nothing, no event takes a counter away from it or from another event, and nothing is scaled up:
/// every event is counted all the time, apart by ring and processor. Each count says what it is worth: exact, modelled,
/// or not modelled.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    machine: Options,
    /// Of `lesson NAME`: which lesson
    name: Option<String>,
    /// Events: Intel's or perf's names, rUUEE, cpu/event=0xc4,umask=0x11/, each with :u or :k; `unhalted list`
    #[arg(short, long = "event", value_name = "EVENTS", default_value = DEFAULT_EVENTS)]
    events: Vec<String>,
    /// Counts for each interval: 100 or 100ms of guest time, or instructions (5Minsn)
    #[arg(short = 'I', long, value_name = "LENGTH", value_parser = number::span)]
    interval: Option<Limits>,
    /// Count from here on: guest time (2s) or instructions of all processors (5Ginsn)
    #[arg(long, value_name = "WHEN", value_parser = number::limit)]
    from: Option<Limits>,
    /// Count up to here, and end the run: guest time or instructions
    #[arg(long, value_name = "WHEN", value_parser = number::limit)]
    to: Option<Limits>,
    /// Only the regions that the guest marks
    #[arg(long)]
    roi: bool,
    /// Rows for each processor
    #[arg(long)]
    per_vcpu: bool,
    /// Rows for each process: number and name where the guest is a Linux, the root of the page tables where not
    #[arg(long)]
    per_process: bool,
    /// JSON that follows the schema which --schema prints
    #[arg(long, short = 'j', conflicts_with_all = ["csv", "md"])]
    json: bool,
    /// Comma-separated values with a header
    #[arg(long, conflicts_with = "md")]
    csv: bool,
    /// Markdown
    #[arg(long)]
    md: bool,
    /// Where the report goes: a file, or - for standard output; else standard error
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave the guest's console out
    #[arg(long)]
    no_console: bool,
    /// Print the schema of --json and do nothing else
    #[arg(long)]
    schema: bool,
}

const EXAMPLES: &str = "\
Examples:
  unhalted stat debian --append 'run=\"gzip -c /bin/busybox | wc -c\"'
  unhalted stat lesson rings -e instructions:u,instructions:k,r11c4
  unhalted stat vmlinuz --initrd initrd.cpio --smp 2 --per-vcpu -I 100 --limit 2s
  unhalted stat debian --per-process --append 'run=\"ls -lR /usr\"'
  unhalted stat debian --from 2s --to 3s --json -o counts.json --no-console
  unhalted stat program.elf --roi

A guest marks a region by OUT of a byte to port 8950h, or in any ring by CPUID with EAX = 524F4900h and ECX = the
value: 2n + 1 begins region n, 2n ends it. In Debian, as root:
  printf '\\1' | dd of=/dev/port bs=1 seek=$((0x8950)); COMMAND; printf '\\0' | dd of=/dev/port bs=1 seek=$((0x8950))
The instruction that ends a region is counted, the one that begins it is not.

With --per-process every load of CR3 divides the counts, so they are exact by address space. The kernel column of a
process holds what interrupts and the kernel's own threads did while its page tables were in force.";

/// Runs the command.
///
/// # Errors
/// Events that are none, files that cannot be read or written, images that cannot be started.
pub fn run(args: &Args) -> Result<u8, Failure> {
    if args.schema {
        print!("{SCHEMA_TEXT}");
        return Ok(0);
    }
    let events = event::parse(&args.events.join(","))?;
    let windows = windows(args)?;
    let mut options = args.machine.clone();
    options.limit.extend(args.to);
    let guest = Guest::of(&options, args.name.as_deref())?;
    let mut machine = guest.machine(&options)?;
    if events.iter().any(Event::is_observed) {
        machine.observe_always();
    }
    let about = guest.about(&options, &machine)?;
    if let Some(text) = warning(&events) {
        tracing::warn!("{text}");
    }
    let mut meter = Meter::new(events.clone(), windows, options.smp as usize);
    if args.per_process {
        meter.by_process(machine.kind().is_linux());
    }
    let end = run_machine(&mut machine, &mut meter, args)?;
    let mut spans = meter.finish(&machine.glance());
    if args.roi {
        spans.remove(0);
    }
    if spans.is_empty() {
        return Err(Failure::NoRegion);
    }
    let status = if args.to.is_some_and(|to| is_end_of(&end, &args.machine, to)) { 0 } else { status::of(&end) };
    let end = (status::word(&end).to_owned(), status);
    let report = Report { about, end, events, spans, per_vcpu: args.per_vcpu, per_process: args.per_process };
    write(args.output.as_deref(), &args.form(&report))?;
    Ok(status)
}

impl Args {
    /// The report in the form that is wanted.
    fn form(&self, report: &Report) -> String {
        match self {
            Args { json: true, .. } => json(report),
            Args { csv: true, .. } => report.csv(),
            Args { md: true, .. } => report.markdown(),
            _ => report.table(),
        }
    }
}

fn run_machine(machine: &mut Machine, meter: &mut Meter, args: &Args) -> Result<End, Failure> {
    let mut console = Console::open(args.machine.realtime)?;
    console.show(!args.no_console);
    let end = machine.run_watched(&mut console, meter);
    drop(console);
    if args.to.is_none() || !matches!(end, End::Time | End::Instructions) {
        explain(machine, &end);
    }
    Ok(end)
}

/// Did the run end because `to` was reached, and no limit of the user's?
fn is_end_of(end: &End, options: &Options, to: Limits) -> bool {
    let limits = options.limits();
    match end {
        End::Time => to.time <= limits.time,
        End::Instructions => to.instructions <= limits.instructions,
        _ => false,
    }
}

/// The windows that the arguments name.
fn windows(args: &Args) -> Result<Windows, Failure> {
    let length = |l: Limits| match l.time {
        Time::NEVER => (Unit::Instructions, l.instructions),
        time => (Unit::Ticks, tick(time).max(1)),
    };
    let (from, every) = (args.from.map(length), args.interval.map(length));
    match (from, every) {
        (Some((a, _)), Some((b, _))) if a != b => Err(Failure::MixedUnits),
        (None, None) => Ok(Windows::RUN),
        _ => {
            let unit = from.or(every).map_or(Unit::Ticks, |w| w.0);
            Ok(Windows { unit, from: from.map_or(0, |w| w.1), every: every.map(|w| w.1) })
        }
    }
}

/// Writes a report where the user wants it.
pub fn write(to: Option<&Path>, text: &str) -> Result<(), Failure> {
    match to {
        None => eprint!("\n{text}"),
        Some(path) if path == Path::new("-") => print!("{text}"),
        Some(path) => std::fs::write(path, text).map_err(|source| Failure::Write {
            what: "the report",
            path: path.to_owned(),
            source,
        })?,
    }
    Ok(())
}
