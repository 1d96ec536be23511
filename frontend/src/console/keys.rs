//! The keys that are ours: Ctrl-A and what follows it.

const CTRL_A: u8 = 1;

/// What a byte from the terminal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// It is for the guest.
    Guest(u8),
    /// End the run.
    Quit,
    /// Print the keys.
    Help,
    /// Print the counters.
    Counters,
    /// It was the first half of one of ours, or an unknown second half.
    Swallowed,
}

/// Remembers whether Ctrl-A was the last key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys {
    escaped: bool,
}

impl Keys {
    /// The meaning of the next byte.
    pub fn press(&mut self, byte: u8) -> Key {
        if !std::mem::take(&mut self.escaped) {
            self.escaped = byte == CTRL_A;
            return if self.escaped { Key::Swallowed } else { Key::Guest(byte) };
        }
        match byte.to_ascii_lowercase() {
            CTRL_A | b'a' => Key::Guest(CTRL_A),
            b'x' => Key::Quit,
            b'h' | b'?' => Key::Help,
            b'c' => Key::Counters,
            _ => Key::Swallowed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        bytes.iter().map(|b| keys.press(*b)).collect()
    }

    #[test]
    fn ctrl_a_x_quits_and_an_x_alone_is_for_the_guest() {
        assert_eq!(all(b"x\x01x"), [Key::Guest(b'x'), Key::Swallowed, Key::Quit]);
        assert_eq!(all(b"\x01c\x01h"), [Key::Swallowed, Key::Counters, Key::Swallowed, Key::Help]);
    }

    #[test]
    fn ctrl_a_twice_sends_one() {
        assert_eq!(all(b"\x01\x01x"), [Key::Swallowed, Key::Guest(1), Key::Guest(b'x')]);
        assert_eq!(all(b"\x01qx"), [Key::Swallowed, Key::Swallowed, Key::Guest(b'x')]);
    }
}
