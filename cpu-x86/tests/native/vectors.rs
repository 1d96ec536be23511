//! Mismatches as files: shrunk and written (by `hosted/shrink`) to `tests/vectors/`, and run ever after on every host.
//!
//! A file has a line for each cell that is not as in [`State::new`], for the memory and for what the host made of it.

use crate::compare::{self, Masks};
use crate::machine::{End, Machine};
use crate::state::{Case, Memory, Outcome, State, cell, cell_named};
use iced_x86::{Decoder, DecoderOptions, Instruction};

/// The instruction of `c`.
pub fn instruction(c: &Case) -> Instruction {
    Decoder::with_ip(c.bits, &c.bytes, c.state.0[cell::RIP], DecoderOptions::NONE).decode()
}

/// Reads a case and what the host made of it.
pub fn parse(text: &str) -> (Case, Outcome) {
    let number = |v: &str| u64::from_str_radix(v.trim_start_matches("0x"), 16).unwrap_or_else(|_| panic!("{v}"));
    let bytes = |v: &str| (0..v.len() / 2).map(|n| number(&v[2 * n..2 * n + 2]) as u8).collect::<Vec<u8>>();
    let mut c = Case { bits: 0, at: 0, bytes: Vec::new(), state: State::new(), noise: false, patches: Vec::new() };
    let (mut outs, mut wrote) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let part: Vec<&str> = line.split(' ').collect();
        match part[..] {
            ["bits", n] => c.bits = n.parse().unwrap(),
            ["at", at] => c.at = number(at),
            ["bytes", b] => c.bytes = bytes(b),
            ["in", n, v] => c.state.0[cell_named(n).unwrap_or_else(|| panic!("{line}"))] = number(v),
            ["noise"] => c.noise = true,
            ["patch", at, b] => c.patches.push((number(at), bytes(b))),
            ["out", n, v] => outs.push((cell_named(n).unwrap_or_else(|| panic!("{line}")), number(v))),
            ["wrote", at, b] => wrote.push((number(at), bytes(b))),
            _ => panic!("no line of a vector file: {line}"),
        }
    }
    let mut memory = Memory::new(c.noise);
    c.patches.iter().chain(&wrote).for_each(|(at, b)| memory.patch(*at, b));
    let mut state = c.state.clone();
    outs.iter().for_each(|(n, v)| state.0[*n] = *v);
    (c, Outcome { state, memory })
}

/// Runs the vector `text` in the core; the difference from what it says.
pub fn check(machine: &mut Machine, masks: &Masks, text: &str) -> Option<String> {
    let (c, expected) = parse(text);
    let i = instruction(&c);
    let excused = compare::excused(masks, &i, c.bits);
    match machine.run(&c) {
        End::Outcome(ours) => compare::difference(&c, &i, &excused, &ours, &expected),
        End::Missing => Some("the core lacks it".into()),
        End::Endless => Some("it does not end".into()),
    }
}
