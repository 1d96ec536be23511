//! Exit codes.

use crate::pc::End;

/// A limit on instructions or time was reached.
pub const LIMIT: u8 = 124;
/// The emulator lacks something that the guest needs.
pub const EMULATOR: u8 = 125;
/// The image is not one that can be started, or does not fit.
pub const CANNOT_START: u8 = 126;
/// A file cannot be read.
pub const NOT_FOUND: u8 = 127;
/// A processor had a triple fault.
pub const TRIPLE_FAULT: u8 = 123;
/// All processors are halted for good.
pub const HALTED: u8 = 122;
/// A report could not be made or written after the run.
pub const FAILED: u8 = 121;
/// A lesson's counters differ from what was expected.
pub const DIFFERENT: u8 = 1;
/// Wrong usage, as clap has it.
pub const USAGE: u8 = 2;

/// The table in `--help`.
pub const TABLE: &str = "\
Exit status:
    0  the guest powered off or reset (--no-reboot), or the user quit with Ctrl-A x
    n  the guest's own, through a test device (port F4h: (value << 1) | 1)
    1  a lesson's counters differ from what was expected
    2  wrong usage
  121  a report cannot be made or written
  122  all processors are halted and nothing can wake them
  123  triple fault
  124  --limit or --timeout reached
  125  the emulator lacks an instruction that the guest used
  126  the image cannot be started
  127  a file cannot be read
128+n  ended by signal n of the host";

/// The word for the end of a run.
pub fn word(end: &End) -> &'static str {
    match end {
        End::PowerOff => "power-off",
        End::Reset => "reset",
        End::Exit(_) => "exit",
        End::TripleFault { .. } => "triple-fault",
        End::Halted => "halted",
        End::Instructions => "instructions",
        End::Time => "time",
        End::Missing { .. } => "missing",
        End::Quit => "quit",
        End::Signal(_) => "signal",
    }
}

/// The exit code for the end of a run.
pub fn of(end: &End) -> u8 {
    match end {
        End::PowerOff | End::Reset | End::Quit => 0,
        End::Exit(status) => *status,
        End::TripleFault { .. } => TRIPLE_FAULT,
        End::Halted => HALTED,
        End::Instructions | End::Time => LIMIT,
        End::Missing { .. } => EMULATOR,
        End::Signal(n) => 128u8.saturating_add(u8::try_from(*n).unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_the_code_that_the_table_names() {
        assert_eq!(of(&End::PowerOff), 0);
        assert_eq!(of(&End::Exit(1)), 1);
        assert_eq!(of(&End::TripleFault { processor: 0 }), 123);
        assert_eq!(of(&End::Time), 124);
        assert_eq!(of(&End::Instructions), 124);
        assert_eq!(of(&End::Signal(15)), 143);
        assert_eq!(of(&End::Halted), 122);
        for code in [LIMIT, EMULATOR, CANNOT_START, NOT_FOUND, TRIPLE_FAULT, HALTED, USAGE, FAILED] {
            assert!(TABLE.contains(&format!("{code:>5}  ")), "{code}");
        }
    }
}
