//! `unhalted explain` and `unhalted list`: what there is, and what it means.

use super::Failure;
use crate::report::explain;

/// Explain an event, a register or a bit.
#[derive(Debug, clap::Args)]
#[command(after_help = EXPLAIN_EXAMPLES)]
pub struct Explain {
    /// An event in any spelling, an MSR by name or number (=VALUE decodes one), a bit by name or as `MSR[BIT]`
    #[arg(required = true, allow_hyphen_values = true)]
    what: Vec<String>,
}

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  unhalted explain BR_INST_RETIRED.COND
  unhalted explain r11c4
  unhalted explain msr 0x38f
  unhalted explain IA32_PERFEVTSEL0=0x5300c0
  unhalted explain CTR_FRZ
  unhalted explain '0x38e[59]'";

/// List events, registers or lessons.
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
pub struct List {
    /// Which list
    #[arg(default_value = "events")]
    what: Listed,
    /// Only rows with this word
    #[arg(default_value = "")]
    filter: String,
}

const LIST_EXAMPLES: &str = "\
Examples:
  unhalted list
  unhalted list events branch
  unhalted list msrs
  unhalted list lessons";

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Listed {
    /// Events with their encodings, and what each is worth: exact, modelled, not modelled
    Events,
    /// Registers around the counters, and whether this machine has them
    Msrs,
    /// Lessons
    Lessons,
}

/// Runs `explain`.
///
/// # Errors
/// Nothing of that name.
pub fn explain(args: &Explain) -> Result<u8, Failure> {
    print!("{}", explain::explain(&args.what.join(" "))?);
    Ok(0)
}

/// Runs `list`.
///
/// # Errors
/// None yet.
pub fn list(args: &List) -> Result<u8, Failure> {
    match args.what {
        Listed::Events => print!("{}", explain::events(&args.filter)),
        Listed::Msrs => print!("{}", explain::registers(&args.filter)),
        Listed::Lessons => print!("{}", super::lesson::list(&args.filter)),
    }
    Ok(0)
}
