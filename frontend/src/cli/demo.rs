//! `unhalted demo`: placeholder until the lessons are there.
use super::Failure;
/// Run the lessons.
#[derive(Debug, Default, clap::Args)]
pub struct Args {}
/// Runs the command.
///
/// # Errors
/// None yet.
pub fn run(_: &Args) -> Result<u8, Failure> {
    Ok(0)
}
