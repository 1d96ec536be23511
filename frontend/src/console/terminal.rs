//! Raw mode, and back. Restored when dropped: at the end, on an error, and when a panic unwinds.

use rustix::fs::FileType;
use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::Stdin;

/// Standard input in raw mode until dropped.
pub struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Enters raw mode; `None` when the terminal does not let us. Output processing stays as it is, so that our own
    /// lines look right.
    pub fn enter() -> Option<RawMode> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.input_modes -= InputModes::BRKINT | InputModes::ICRNL | InputModes::INPCK | InputModes::ISTRIP;
        raw.input_modes -= InputModes::IXON | InputModes::INLCR | InputModes::IGNCR;
        raw.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::IEXTEN | LocalModes::ISIG;
        tcsetattr(&stdin, OptionalActions::Now, &raw).ok()?;
        Some(RawMode { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Nothing sensible can be done when the terminal has gone away.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.before);
    }
}

/// Is standard input a file on a disk, or /dev/null: something that ends without waiting?
pub fn is_regular_file(stdin: &Stdin) -> bool {
    rustix::fs::fstat(stdin).is_ok_and(|s| match FileType::from_raw_mode(s.st_mode) {
        FileType::RegularFile => true,
        FileType::CharacterDevice => !std::io::IsTerminal::is_terminal(stdin) && is_null(&s),
        _ => false,
    })
}

fn is_null(s: &rustix::fs::Stat) -> bool {
    rustix::fs::stat("/dev/null").is_ok_and(|null| null.st_rdev == s.st_rdev)
}
