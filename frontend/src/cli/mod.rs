//! What the user types: one file a subcommand, and what they share.
//!
//! `qemu` turns QEMU's spellings into ours before clap sees them, `number` reads quantities with units, `failure` is
//! every way in which a command cannot do its work, with a remedy, and `status` the exit codes.

mod demo;
mod devices;
mod explain;
mod failure;
mod guest;
mod image;
mod lab;
mod lesson;
mod number;
mod qemu;
mod record;
mod run;
mod stat;
mod status;
mod vpmu;

pub use failure::Failure;
pub use number::memory;

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// A full-system x86-64 machine in software with the performance monitoring unit in it.
///
/// Without a subcommand it runs the demonstration: lesson programs whose counters are compared with what the manual
/// lets one expect.
#[derive(Debug, Parser)]
#[command(name = "unhalted", version, after_help = status::TABLE, propagate_version = true)]
struct Cli {
    /// What to log on standard error: a level, or targets with levels ("debug", "frontend=trace,warn")
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a kernel or ROM: bzImage, ELF with PVH note, vmlinux, multiboot, flat ROM
    Run(Box<run::Args>),
    Stat(Box<stat::Args>),
    Record(Box<record::Args>),
    Explain(explain::Explain),
    List(explain::List),
    /// Run the lessons and compare expected with counted (the default)
    Demo(demo::Args),
    /// Run one lesson, or list them
    Lesson(lesson::Args),
    /// Make guest images: Debian's kernel and an initramfs, by package name
    Image(image::Args),
    /// List the devices of the machine and where they answer
    Devices(devices::Args),
    /// Run a scenario of a host with guests: who owned which counter, and who counted what
    Lab(lab::Args),
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let (arguments, notes) = qemu::translate(std::env::args_os().collect::<Vec<OsString>>());
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are not failures; what cannot be written cannot be reported either.
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { status::USAGE } else { 0 });
        }
    };
    let result = start_log(cli.log.as_deref()).and_then(|()| {
        notes.iter().for_each(qemu::Note::log);
        match cli.command {
            None => demo::run(&demo::Args::default()),
            Some(Command::Demo(args)) => demo::run(&args),
            Some(Command::Run(args)) => run::run(&args),
            Some(Command::Stat(args)) => stat::run(&args),
            Some(Command::Record(args)) => record::run(&args),
            Some(Command::Explain(args)) => explain::explain(&args),
            Some(Command::List(args)) => explain::list(&args),
            Some(Command::Lesson(args)) => lesson::run(&args),
            Some(Command::Image(args)) => image::run(&args),
            Some(Command::Devices(args)) => devices::run(&args),
            Some(Command::Lab(args)) => lab::run(&args),
        }
    });
    match result {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            let status = failure.status();
            eprintln!("{:?}", miette::Report::new(failure));
            ExitCode::from(status)
        }
    }
}

/// Logging on standard error: `--log`, else the variable RUST_LOG, else warnings.
fn start_log(filter: Option<&str>) -> Result<(), Failure> {
    let variable = std::env::var("RUST_LOG").ok();
    let text = filter.or(variable.as_deref()).unwrap_or("warn");
    let filter =
        EnvFilter::try_new(text).map_err(|e| Failure::LogFilter { text: text.to_owned(), why: e.to_string() })?;
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(colours).without_time().init();
    Ok(())
}
