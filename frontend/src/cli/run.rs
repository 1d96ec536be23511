//! `unhalted run`: starts a kernel or ROM with the terminal as its serial console.

use super::{Failure, number, status};
use crate::console::{Console, Pace};
use crate::load::Kind;
use crate::pc::{End, Limits, Machine, Setup};
use crate::report;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Start a kernel or ROM.
///
/// QEMU's spellings of these options (-kernel, -initrd, -append, -smp, -m 1024, -no-reboot, -nographic, -serial stdio,
/// -device isa-debug-exit,...) are understood too.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Kernel or ROM: bzImage, ELF with PVH note, vmlinux, multiboot 1, flat ROM
    image: Option<PathBuf>,
    /// The same as IMAGE
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Flat ROM to be placed so that it ends at 4 GiB, of any length
    #[arg(long, value_name = "FILE")]
    rom: Option<PathBuf>,
    /// Initial RAM disk, or the multiboot module
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Kernel command line; several are joined with spaces
    #[arg(long, value_name = "LINE", allow_hyphen_values = true)]
    append: Vec<String>,
    /// Guest memory: 512M, 1G; a plain number is MiB
    #[arg(short, long, default_value = "1G", value_parser = number::memory)]
    memory: u64,
    /// Number of processors
    #[arg(long, visible_alias = "cpus", default_value = "1", value_parser = number::processors)]
    smp: u32,
    /// End after so many instructions or so much guest time: instructions=N, 5Ginsn, 30s; repeatable
    #[arg(long, visible_alias = "timeout", value_name = "LIMIT", value_parser = number::limit)]
    limit: Vec<Limits>,
    /// Let the guest's own decompressor unpack a bzImage
    #[arg(long)]
    no_unpack: bool,
    /// Ticks (2200 a microsecond) that a processor runs before it is the next one's turn
    #[arg(long, default_value = "20000", value_parser = number::count)]
    quantum: u64,
    /// Pace idle guest time to real time
    #[arg(long, value_name = "WHEN", default_value = "auto", default_missing_value = "on", num_args = 0..=1, require_equals = true)]
    realtime: Pace,
    /// End the run when the guest resets the machine
    #[arg(long)]
    no_reboot: bool,
    /// Let a triple fault reset the machine, as on a PC, and not end the run
    #[arg(long)]
    triple_fault_resets: bool,
    /// Print counts and speed at the end, on standard error (the default)
    #[arg(long, overrides_with = "no_summary")]
    summary: bool,
    /// Do not
    #[arg(long)]
    no_summary: bool,
}

const EXAMPLES: &str = "\
Examples:
  unhalted run vmlinuz --initrd initrd.cpio --append 'console=ttyS0' --smp 2
  unhalted run kernel.mb --limit 5Ginsn --no-summary
  unhalted run -kernel bench.pvh -m 256 -no-reboot -nographic
  unhalted run --rom lesson.bin --log debug";

/// Runs the command.
///
/// # Errors
/// Files that cannot be read, images that cannot be started.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let (path, kind) = image_of(args)?;
    let image = read("the image", path)?;
    let initrd = args.initrd.as_deref().map(|p| read("the initrd", p)).transpose()?;
    let mut machine = Machine::build(&Setup {
        ram_bytes: args.memory,
        processors: args.smp,
        quantum: args.quantum,
        image: &image,
        initrd: initrd.as_deref(),
        append: &args.append.join(" "),
        unpack: !args.no_unpack,
        kind,
        limits: args.limit.iter().fold(Limits::NONE, |a, b| Limits {
            instructions: a.instructions.min(b.instructions),
            time: a.time.min(b.time),
        }),
        reboot: !args.no_reboot,
        triple_fault_resets: args.triple_fault_resets,
    })
    .map_err(|source| Failure::Build { path: path.to_owned(), source })?;
    drop((image, initrd));
    let mut console = Console::open(args.realtime)?;
    let start = Instant::now();
    let end = machine.run(&mut console);
    let host = start.elapsed();
    drop(console);
    explain(&machine, &end);
    if args.summary || !args.no_summary {
        eprintln!("\n{}", report::summary(&machine.counts(), host));
    }
    Ok(status::of(&end))
}

fn image_of(args: &Args) -> Result<(&Path, Option<Kind>), Failure> {
    let named = [(&args.image, None), (&args.kernel, None), (&args.rom, Some(Kind::Rom))];
    let mut named = named.into_iter().filter_map(|(path, kind)| path.as_deref().map(|p| (p, kind)));
    let first = named.next().ok_or(Failure::NoImage)?;
    match named.next() {
        Some((b, _)) => Err(Failure::TwoImages { a: first.0.to_owned(), b: b.to_owned() }),
        None => Ok(first),
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|source| Failure::Read { what, path: path.to_owned(), source })
}

/// Says why the run ended, where the exit code alone does not.
fn explain(machine: &Machine, end: &End) {
    match end {
        End::PowerOff | End::Exit(_) => {}
        End::Reset => eprintln!("\nunhalted: the guest reset the machine (--no-reboot)"),
        End::Quit => eprintln!("\nunhalted: quit"),
        End::Signal(n) => eprintln!("\nunhalted: ended by signal {n}"),
        End::Instructions => eprintln!("\nunhalted: the limit on instructions is reached"),
        End::Time => eprintln!("\nunhalted: the limit on guest time is reached"),
        End::Halted => eprintln!("\nunhalted: all processors are halted, and nothing can wake them"),
        End::TripleFault { processor } => {
            eprintln!("\nunhalted: triple fault on vCPU {processor}");
            state(machine, *processor);
        }
        End::Missing { processor, missing } => {
            eprintln!("\nunhalted: vCPU {processor} met an instruction that this program lacks: {missing}");
            state(machine, *processor);
        }
    }
}

/// The registers of a processor, for a report.
fn state(machine: &Machine, processor: usize) {
    if let Some(cpu) = machine.processors().nth(processor) {
        eprintln!("{}", report::registers(cpu));
    }
}
