//! `unhalted devices`: the chips of the board and where they answer.

use super::Failure;
use crate::pc::Chips;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use emu_core::{Region, Space};

/// List the devices of the machine.
#[derive(Debug, Default, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// None yet.
pub fn run(_: &Args) -> Result<u8, Failure> {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["device", "answers at"]);
    for chip in Chips::new(1, 1 << 30).list() {
        table.add_row([chip.name.to_owned(), chip.regions.iter().map(span).collect::<Vec<_>>().join(", ")]);
    }
    println!("{table}");
    Ok(0)
}

fn span(r: &Region) -> String {
    let last = r.base + r.bytes.max(1) - 1;
    match r.space {
        Space::Port if r.bytes == 1 => format!("port {:X}h", r.base),
        Space::Port => format!("ports {:X}h-{last:X}h", r.base),
        Space::Memory => format!("memory {:X}h-{last:X}h", r.base),
    }
}
