//! `unhalted record`: samples exactly every nth event and writes what `perf report` reads.

use super::guest::{Guest, Options};
use super::run::explain;
use super::{Failure, number, status};
use crate::console::Console;
use crate::load::elf;
use crate::pc::Machine;
use crate::report::event::{self, Event, EventError};
use crate::report::guest::kallsyms;
use crate::report::{grouped, initrd, perf_data, sampler::Sampler};
use std::collections::BTreeMap;
use std::io::BufWriter;
use std::path::{Component, Path, PathBuf};

/// Files of the guest, by path.
type Files = BTreeMap<String, Vec<u8>>;

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
    /// The file for perf; symbols of the kernel go into FILE.kallsyms, programs into FILE.symfs
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
  perf report -i perf.data --kallsyms perf.data.kallsyms --symfs perf.data.symfs
  perf script -i perf.data --kallsyms perf.data.kallsyms --symfs perf.data.symfs
  flamegraph.pl stacks.txt > stacks.svg

Programs that the guest ran out of its initrd are copied to FILE.symfs, so that perf finds their symbols; an ELF guest
that is no Linux brings its own. Call chains follow frame pointers, in programs that keep them; in a Linux kernel built for
ORC, as Debian's is, they follow its tables. Samples of exact events are exact; those of cycles are what the timing model
makes of them.";

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
    if machine.kind().is_linux() {
        sampler.kernel.expect();
    } else if let Some((path, image)) = guest.program()? {
        sampler.expect_program(&path, &image);
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
    let files = guest.initrd()?.map_or_else(Files::new, |b| initrd::files(&b, &sampler.files()));
    files.iter().for_each(|(path, contents)| sampler.learn_file(path, contents));
    write(args, &event, &machine, &sampler, &files)?;
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

/// The path with `.what` behind it.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(what);
    name.into()
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::Write { what, path, source }
}

/// Writes the files of the initrd that samples fell into, as perf wants them, and says which build ids they have.
fn write_programs(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    for (path, contents) in files {
        // The paths are a guest's: none leads out of the folder.
        let inside: PathBuf = Path::new(path).components().filter(|c| matches!(c, Component::Normal(_))).collect();
        let to = folder.join(inside);
        let parent = to.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(failed("the guest's programs", parent))?;
        std::fs::write(&to, contents).map_err(failed("the guest's programs", &to))?;
    }
    Ok(files.iter().filter_map(|(path, contents)| Some((path.clone(), elf::build_id(contents)?))).collect())
}

fn write(args: &Args, event: &Event, machine: &Machine, sampler: &Sampler, files: &Files) -> Result<(), Failure> {
    let mut with = String::new();
    let build_ids = if files.is_empty() {
        Vec::new()
    } else {
        let folder = beside(&args.output, ".symfs");
        with = format!(" --symfs {}", folder.display());
        write_programs(&folder, files)?
    };
    let file = std::fs::File::create(&args.output).map_err(failed("the samples", &args.output))?;
    let (what, about) = (sampled(args, event), about(args, machine, sampler, build_ids));
    sampler.records.write(&what, &about, &mut BufWriter::new(file)).map_err(failed("the samples", &args.output))?;
    if !sampler.kernel.symbols.is_empty() {
        let path = beside(&args.output, ".kallsyms");
        std::fs::write(&path, kallsyms::text(&sampler.kernel.symbols)).map_err(failed("the symbols", &path))?;
        with = format!(" --kallsyms {}{with}", path.display());
    }
    if let Some(path) = &args.folded {
        std::fs::write(path, sampler.folded()).map_err(failed("the stacks", path))?;
    }
    let samples = grouped(sampler.samples);
    eprintln!("\nunhalted: {samples} samples, every {} {}", grouped(args.period), event.label);
    eprintln!(" perf report -i {}{with}", args.output.display());
    let missing: Vec<String> = sampler.files().into_iter().filter(|f| !files.contains_key(f)).collect();
    if !missing.is_empty() {
        eprintln!(" not in the initrd, so without symbols: {}", missing.join(" "));
    }
    Ok(())
}

fn sampled(args: &Args, event: &Event) -> perf_data::Sampled {
    perf_data::Sampled {
        name: event.label.clone(),
        config: event.encoding.bits(),
        period: args.period,
        exclude_user: !event.user,
        exclude_kernel: !event.kernel,
        chains: args.chains,
    }
}

fn about(args: &Args, machine: &Machine, sampler: &Sampler, build_ids: Vec<(String, Vec<u8>)>) -> perf_data::Machine {
    perf_data::Machine {
        host: "unhalted".to_owned(),
        release: sampler.kernel.release.clone().unwrap_or_else(|| format!("unhalted-{}", env!("CARGO_PKG_VERSION"))),
        processors: args.machine.smp,
        memory_kib: machine.ram().ram_bytes() >> 10,
        command: std::env::args().collect(),
        build_id: sampler.kernel.build_id.clone(),
        build_ids,
    }
}
