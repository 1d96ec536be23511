//! The walk over codes: tests drawn, run on both sides, counted.

use super::capture::{self, Native};
use super::shrink;
use crate::compare::{self, Masks};
use crate::draw::{self, Wild};
use crate::encode;
use crate::machine::{End, Machine};
use crate::random::Random;
use crate::state::{Case, Outcome, cell};
use iced_x86::{Code, Instruction};

/// Both processors, and the list of masks.
pub struct Bench<'a> {
    pub native: &'a mut Native,
    pub machine: Machine,
    pub masks: Masks,
}

/// What came of one code or of many.
#[derive(Default)]
pub struct Tally {
    pub codes: u64,
    pub tests: u64,
    pub faults: u64,
    pub skipped: u64,
    /// Codes excused whole by the list.
    pub excused: Vec<Code>,
    /// Codes that could not be encoded.
    pub unencoded: Vec<Code>,
    /// Codes that the core lacks.
    pub missing: Vec<Code>,
    /// How many differ, and the first, for each code that does.
    pub differ: Vec<(Code, u64, String)>,
}

impl<'a> Bench<'a> {
    pub fn new(native: &'a mut Native) -> Bench<'a> {
        let machine = Machine::new(&|selector| native.describe(selector));
        Bench { native, machine, masks: Masks::new() }
    }

    /// The difference between the two runs of `c`, if there is one.
    pub fn try_case(&mut self, c: &Case, i: &Instruction) -> Verdict {
        let excused = compare::excused(&self.masks, i, c.bits);
        let ours = match self.machine.run(c) {
            End::Outcome(o) => o,
            End::Missing => return Verdict::Missing,
            End::Endless => return Verdict::Endless,
        };
        let theirs = self.native.run(c);
        if theirs.state.0[cell::VECTOR] == capture::TOO_LONG {
            return Verdict::Endless;
        }
        match compare::difference(c, i, &excused, &ours, &theirs) {
            Some(d) => Verdict::Differ(d, Box::new(theirs)),
            None => Verdict::Same(ours),
        }
    }

    /// `tests` tests of `code` in code of `bits`.
    pub fn try_code(&mut self, code: Code, bits: u32, tests: u64, wild: Wild, random: &mut Random, tally: &mut Tally) {
        let mut probe = Instruction::default();
        probe.set_code(code);
        let excused = compare::excused(&self.masks, &probe, bits);
        if excused.whole {
            tally.excused.push(code);
            return;
        }
        let (mut done, mut tries, mut differ, mut first) = (0, 0, 0, None);
        while done < tests && tries < 200 + tests {
            tries += 1;
            let Some(mut e) = encode::encoding(code, bits, random) else { continue };
            if wild.at_the_end {
                let short = random.below(3).min(e.bytes.len() as u64 - 1);
                e = e.at_the_end(short);
            }
            for _ in 0..16 {
                let mut c = draw::case(&e, wild, random);
                if excused.no_step {
                    c.state.0[cell::FLAGS] &= !0x100;
                }
                if compare::undefined(&c, &e.instruction) || compare::is_canonical_by_base(&c, &e.instruction) {
                    tally.skipped += 1;
                    continue;
                }
                done += 1;
                match self.try_case(&c, &e.instruction) {
                    Verdict::Same(o) => tally.faults += u64::from(o.state.0[cell::RIP] == c.state.0[cell::RIP]),
                    Verdict::Endless => tally.skipped += 1,
                    Verdict::Missing => {
                        tally.missing.push(code);
                        return;
                    }
                    Verdict::Differ(d, _) => {
                        differ += 1;
                        first.get_or_insert((c, d));
                    }
                }
            }
        }
        tally.tests += done;
        if done == 0 {
            tally.unencoded.push(code);
        } else {
            tally.codes += 1;
        }
        if let Some((c, d)) = first {
            let text = shrink::shrunk(self, &c, d);
            tally.differ.push((code, differ, text));
        }
    }
}

/// What came of a test.
pub enum Verdict {
    Same(Box<Outcome>),
    Differ(String, Box<Outcome>),
    Missing,
    /// The core did not come to an end; the host was not asked.
    Endless,
}

impl Tally {
    /// Prints the figures.
    pub fn report(&self, what: &str) {
        println!(
            "{what}: {} codes, {} tests ({} faulted, {} undefined), {} codes differ, {} excused, {} not encoded, {} missing",
            self.codes,
            self.tests,
            self.faults,
            self.skipped,
            self.differ.len(),
            self.excused.len(),
            self.unencoded.len(),
            self.missing.len()
        );
        if !self.missing.is_empty() {
            println!("  missing: {:?}", self.missing);
        }
        if !self.unencoded.is_empty() {
            println!("  not encoded: {:?}", self.unencoded);
        }
    }
    /// # Panics
    /// When a code differs.
    pub fn assert_equal(&self) {
        let text: Vec<String> = self.differ.iter().map(|(c, n, d)| format!("{c:?} ({n}): {d}")).collect();
        assert!(text.is_empty(), "{} codes differ:\n{}", text.len(), text.join("\n"));
    }
}
