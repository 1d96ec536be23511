//! `unhalted record`: samples exactly every nth event and writes what `perf report` reads.

use super::guest::{Guest, Options};
use super::run::explain;
use super::{Failure, number, status};
use crate::console::Console;
use crate::load::Kind;
use crate::pc::Machine;
use crate::report::event::{self, Event, EventError};
use crate::report::guest::kallsyms;
use crate::report::{grouped, perf_data, sampler::Sampler};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// Run a machine and take a sample at exactly every nth event.
///
/// The guest notices nothing, and its own counters stay its own. Each sample has the address of the next instruction (no
/// skid), ring, processor and guest time; of a Linux guest also process, thread, name and mappings, which are read out of
/// its memory by the kernel's own symbols and BTF. Of other guests the root of the page tables stands for the process.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    machine: Options,
    /// Of `lesson NAME`: which lesson
    name: Option<String>,
    /// What to sample: one event, as for `unhalted stat`
    #[arg(short, long, value_name = "EVENT", default_value = "instructions")]
    event: String,
    /// A sample every so many events, on each processor: 100000, 1M
    #[arg(short = 'c', long = "count", value_name = "PERIOD", default_value = "1M", value_parser = number::count)]
    period: u64,
    /// Call chains too: by frame pointers, and in Linux' kernel by its ORC tables
    #[arg(short = 'g')]
    chains: bool,
    /// The file for perf; symbols of the kernel go into FILE.kallsyms
    #[arg(short, long, value_name = "FILE", default_value = "perf.data")]
    output: PathBuf,
    /// Folded stacks too, a line a stack, for flame graphs
    #[arg(long, value_name = "FILE")]
    folded: Option<PathBuf>,
    /// Leave the guest's console out
    #[arg(long)]
    no_console: bool,
}

const EXAMPLES: &str = "\
Examples:
  unhalted record debian -c 1M -g --append 'run=\"find / -xdev | wc -l\"'
  unhalted record vmlinuz --initrd initrd.cpio -e branches:k -c 100000 --limit 2s
  unhalted record lesson overflow -e instructions:u -c 100 --folded stacks.txt
Then:
  perf report -i perf.data --kallsyms perf.data.kallsyms
  perf script -i perf.data --kallsyms perf.data.kallsyms

Call chains follow frame pointers, in programs that keep them; in a Linux kernel built for ORC, as Debian's is, they follow
its tables. Exact are samples of exact
events; samples of cycles are what the timing model makes of them.";

/// Runs the command.
///
/// # Errors
/// An event that is none or not modelled, files that cannot be read or written, images that cannot be started.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let event = one_event(&args.event)?;
    if args.period == 0 {
        return Err(Failure::NoPeriod);
    }
    let guest = Guest::of(&args.machine, args.name.as_deref())?;
    let mut machine = guest.machine(&args.machine)?;
    let mut sampler = Sampler::new(event.clone(), args.period, args.machine.smp as usize, args.chains);
    if matches!(machine.kind(), Kind::BzImage | Kind::Pvh | Kind::Vmlinux) {
        sampler.expect_linux();
    }
    if event.is_observed() {
        machine.observe_always();
    }
    let mut console = Console::open(args.machine.realtime)?;
    console.show(!args.no_console);
    let end = machine.run_watched(&mut console, &mut sampler);
    drop(console);
    explain(&machine, &end);
    sampler.finish();
    write(args, &event, &machine, &sampler)?;
    Ok(status::of(&end))
}

/// The one event of `text`.
fn one_event(text: &str) -> Result<Event, Failure> {
    let mut events = event::parse(text)?;
    let event = events.swap_remove(0);
    if !events.is_empty() {
        return Err(Failure::ManyEvents);
    }
    if event.is_modelled() { Ok(event) } else { Err(EventError::NotModelled { name: event.label }.into()) }
}

/// The path with `.kallsyms` behind it.
fn symbols_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".kallsyms");
    name.into()
}

fn write(args: &Args, event: &Event, machine: &Machine, sampler: &Sampler) -> Result<(), Failure> {
    let failed = |what: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| Failure::Write { what, path, source }
    };
    let what = perf_data::Sampled {
        name: event.label.clone(),
        config: event.encoding.bits(),
        period: args.period,
        exclude_user: !event.user,
        exclude_kernel: !event.kernel,
        chains: args.chains,
    };
    let about = perf_data::Machine {
        host: "unhalted".to_owned(),
        release: sampler.release.clone().unwrap_or_else(|| format!("unhalted-{}", env!("CARGO_PKG_VERSION"))),
        processors: args.machine.smp,
        memory_kib: machine.ram().ram_bytes() >> 10,
        command: std::env::args().collect(),
        build_id: sampler.build_id.clone(),
    };
    let file = std::fs::File::create(&args.output).map_err(failed("the samples", &args.output))?;
    sampler.records.write(&what, &about, &mut BufWriter::new(file)).map_err(failed("the samples", &args.output))?;
    let mut with = String::new();
    if !sampler.symbols.is_empty() {
        let path = symbols_path(&args.output);
        std::fs::write(&path, kallsyms::text(&sampler.symbols)).map_err(failed("the symbols", &path))?;
        with = format!(" --kallsyms {}", path.display());
    }
    if let Some(path) = &args.folded {
        std::fs::write(path, sampler.folded()).map_err(failed("the stacks", path))?;
    }
    let samples = grouped(sampler.samples);
    eprintln!("\nunhalted: {samples} samples, every {} {}", grouped(args.period), event.label);
    eprintln!(" perf report -i {}{with}", args.output.display());
    if !sampler.files().is_empty() {
        eprintln!(" programs' symbols come from --symfs FOLDER with the guest's files: {}", sampler.files().join(" "));
    }
    Ok(())
}
