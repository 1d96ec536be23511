//! `unhalted demo`, and `unhalted` alone: all lessons, each with its table of expected and counted.

use super::lesson::outcome;
use super::{Failure, status};
use crate::report;

/// Run the lessons and compare expected with counted.
#[derive(Debug, Default, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// The host has no memory for a machine.
pub fn run(_: &Args) -> Result<u8, Failure> {
    println!("unhalted: an x86-64 machine in software that counts every instruction.");
    println!("Each lesson is a program of its own that starts at the reset vector, programs the");
    println!("performance counters, and reports what they counted.\n");
    let (mut instructions, mut seconds, mut different) = (0, 0.0, 0);
    for (n, lesson) in roms::lessons().iter().enumerate() {
        let outcome = outcome(lesson)?;
        println!("{}. {}", n + 1, outcome.text());
        instructions += outcome.instructions;
        seconds += outcome.host.as_secs_f64();
        different += usize::from(!outcome.as_expected());
    }
    println!("{} instructions, every one counted, in {seconds:.3} s.", report::grouped(instructions));
    if different > 0 {
        println!("{different} lesson(s) DIFFER from what was expected.");
        return Ok(status::DIFFERENT);
    }
    println!("Next: unhalted image debian; unhalted run debian   (or: unhalted run YOUR-KERNEL, unhalted --help)");
    Ok(0)
}
