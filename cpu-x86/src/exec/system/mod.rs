//! To be written.

use super::Meaning;
use iced_x86::Instruction;

/// The meaning of `i`, if it belongs to this group.
pub fn lookup(i: &Instruction) -> Option<Meaning> {
    let _ = i;
    None
}
