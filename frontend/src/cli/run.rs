//! `unhalted run`: starts a kernel or ROM with the terminal as its serial console.

use super::{Failure, number, status};
use crate::console::{Console, Pace};
use crate::image::debian_cached;
use crate::load::Kind;
use crate::pc::{BuildError, End, Limits, Machine, Setup};
use crate::report;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Start a kernel or ROM.
///
/// QEMU's spellings of these options (-kernel, -initrd, -append, -smp, -m 1024, -no-reboot, -nographic, -serial stdio,
/// -device isa-debug-exit,...) are understood too.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Kernel or ROM: bzImage, ELF with PVH note, vmlinux, multiboot 1, flat ROM; or `debian`, the image that
    /// `unhalted image debian` made
    image: Option<PathBuf>,
    /// Which kernel of `run debian`
    #[arg(long, value_name = "KERNEL", default_value = super::image::DEFAULT_KERNEL)]
    debian: String,
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
    #[arg(long, default_value_t = DEFAULT_QUANTUM, value_parser = number::count)]
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

/// Ticks of a turn: 9 microseconds of guest time.
pub const DEFAULT_QUANTUM: u64 = 20_000;

const EXAMPLES: &str = "\
Examples:
  unhalted run debian
  unhalted run vmlinuz --initrd initrd.cpio --append 'console=ttyS0' --smp 2
  unhalted run kernel.mb --limit 5Ginsn --no-summary
  unhalted run -kernel bench.pvh -m 256 -no-reboot -nographic
  unhalted run --rom lesson.bin --log debug";

/// What to start: files, and the command line that goes before the user's.
struct Guest {
    path: PathBuf,
    kind: Option<Kind>,
    initrd: Option<PathBuf>,
    append: String,
}

/// Runs the command.
///
/// # Errors
/// Files that cannot be read, images that cannot be started.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let guest = guest_of(args)?;
    let mut machine = with_setup(args, &guest, Machine::build)?;
    let again = (args.clone(), guest);
    machine.reload_with(Box::new(move || with_setup(&again.0, &again.1, Machine::pieces).ok()));
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

/// Reads the files and does `what` with the setup that the arguments describe.
fn with_setup<T>(
    args: &Args,
    guest: &Guest,
    what: impl FnOnce(&Setup<'_>) -> Result<T, BuildError>,
) -> Result<T, Failure> {
    let image = read("the image", &guest.path)?;
    let initrd = guest.initrd.as_deref().map(|p| read("the initrd", p)).transpose()?;
    let words = std::iter::once(&guest.append).chain(&args.append).filter(|w| !w.is_empty());
    let limits = args.limit.iter().fold(Limits::NONE, |a, b| Limits {
        instructions: a.instructions.min(b.instructions),
        time: a.time.min(b.time),
    });
    what(&Setup {
        ram_bytes: args.memory,
        processors: args.smp,
        quantum: args.quantum,
        image: &image,
        initrd: initrd.as_deref(),
        append: &words.cloned().collect::<Vec<_>>().join(" "),
        unpack: !args.no_unpack,
        kind: guest.kind,
        limits,
        reboot: !args.no_reboot,
        triple_fault_resets: args.triple_fault_resets,
    })
    .map_err(|source| Failure::Build { path: guest.path.clone(), source })
}

/// What the arguments name: one of IMAGE, --kernel and --rom, or the Debian image of the cache.
fn guest_of(args: &Args) -> Result<Guest, Failure> {
    let named = [(&args.image, None), (&args.kernel, None), (&args.rom, Some(Kind::Rom))];
    let mut named = named.into_iter().filter_map(|(path, kind)| path.as_ref().map(|p| (p, kind)));
    let (path, kind) = named.next().ok_or(Failure::NoImage)?;
    if let Some((b, _)) = named.next() {
        return Err(Failure::TwoImages { a: path.clone(), b: b.clone() });
    }
    if args.image.as_deref() == Some(Path::new("debian")) && !path.exists() {
        let Some(made) = debian_cached(&args.debian, None) else {
            return Err(Failure::NoDebian { kernel: args.debian.clone() });
        };
        let initrd = args.initrd.clone().or(Some(made.initrd));
        return Ok(Guest { path: made.kernel, kind, initrd, append: made.append });
    }
    Ok(Guest { path: path.clone(), kind, initrd: args.initrd.clone(), append: String::new() })
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
            let bytes: Vec<String> = missing.bytes.iter().map(|b| format!("{b:02x}")).collect();
            eprintln!("\nunhalted: vCPU {processor} met what this program lacks: {}", missing.what);
            eprintln!(" at rip {:#x}, linear address {:#x}, bytes {}", missing.rip, missing.linear, bytes.join(" "));
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
