//! `unhalted run`: starts a kernel or ROM with the terminal as its serial console.

use super::guest::{Guest, Options};
use super::{Failure, status, vpmu};
use crate::console::Console;
use crate::pc::{End, Limits, Machine, time};
use crate::report;
use std::time::Instant;

/// Start a kernel or ROM.
///
/// QEMU's spellings of these options (-kernel, -initrd, -append, -smp, -m 1024, -no-reboot, -nographic, -serial stdio,
/// -device isa-debug-exit,...) are understood too.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    machine: Options,
    /// Print counts and speed at the end, on standard error (the default)
    #[arg(long, overrides_with = "no_summary")]
    summary: bool,
    /// Do not
    #[arg(long)]
    no_summary: bool,
    #[command(flatten)]
    host: vpmu::Host,
}

const EXAMPLES: &str = "\
Examples:
  unhalted run debian
  unhalted run vmlinuz --initrd initrd.cpio --append 'console=ttyS0' --smp 2
  unhalted run kernel.mb --limit 5Ginsn --no-summary
  unhalted run -kernel bench.pvh -m 256 -no-reboot -nographic
  unhalted run --rom lesson.bin --log debug
  unhalted run debian --vpmu mediated --host-events instructions:H,cycles:kH";

/// Runs the command.
///
/// # Errors
/// Files that cannot be read, images that cannot be started.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let mut machine = Guest::of(&args.machine, None)?.machine(&args.machine)?;
    args.host.put_under(&mut machine)?;
    if args.machine.observe {
        machine.observe_always();
    }
    let mut console = Console::open(args.machine.realtime)?;
    let start = Instant::now();
    let end = match args.host.interval() {
        None => machine.run(&mut console),
        Some(ticks) => in_intervals(args, &mut machine, &mut console, ticks),
    };
    let host = start.elapsed();
    drop(console);
    explain(&machine, &end);
    args.host.report(&mut machine)?;
    if args.summary || !args.no_summary {
        eprintln!("\n{}", report::summary(&machine.counts(), host));
    }
    Ok(status::of(&end))
}

/// Runs to the end, and prints the host's view each `ticks` of guest time.
fn in_intervals(args: &Args, machine: &mut Machine, console: &mut Console, ticks: u64) -> End {
    let limits = args.machine.limits();
    let mut next = ticks;
    loop {
        machine.limit(Limits { time: time(next).min(limits.time), ..limits });
        match machine.run(console) {
            End::Time if time(next) < limits.time => eprintln!("\n{}", crate::lab::real::text(machine)),
            end => return end,
        }
        next = next.saturating_add(ticks);
    }
}

/// Says why the run ended, where the exit code alone does not.
pub fn explain(machine: &Machine, end: &End) {
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
