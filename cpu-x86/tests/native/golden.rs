//! What the core does, as a hash for each code: for hosts that cannot be compared with. A run of the comparison has seen
//! the same core agree with hardware.

use crate::codes;
use crate::compare::{self, Masks};
use crate::draw::{self, Wild};
use crate::encode;
use crate::machine::{End, Machine};
use crate::random::Random;
use crate::state::{Case, Outcome};
use iced_x86::{Code, Instruction};
use std::fmt::Write;

const SEED: u64 = 0x601d;
/// Encodings for each code and mode, and states for each.
const ENCODINGS: usize = 2;
const STATES: usize = 4;

/// The descriptors that Linux shows to programs: 32-bit code, data, 64-bit code. Source: Linux
/// arch/x86/include/asm/segment.h.
pub fn linux(selector: u16) -> Option<(u32, u32)> {
    let rights = match selector {
        0x23 => 0xcf_fb00,
        0x2b => 0xcf_f300,
        0x33 => 0xaf_fb00,
        _ => return None,
    };
    Some((rights, u32::MAX))
}

/// A line for each code: its name and the hash of what all its tests leave.
pub fn hashes() -> String {
    let mut machine = Machine::new(&linux);
    let masks = Masks::new();
    let mut out = String::new();
    for code in Code::values() {
        let mut hash = Hash(0xcbf2_9ce4_8422_2325);
        let tests: usize = [64, 32, 16].into_iter().map(|bits| run(&mut machine, &masks, code, bits, &mut hash)).sum();
        if tests > 0 {
            let _ = writeln!(out, "{code:?} {:08x}", hash.0 >> 32);
        }
    }
    out
}

/// Adds what tests of `code` leave; how many there were.
fn run(machine: &mut Machine, masks: &Masks, code: Code, bits: u32, hash: &mut Hash) -> usize {
    let mut probe = Instruction::default();
    probe.set_code(code);
    if !codes::subject(code, bits) || compare::excused(masks, &probe, bits).whole {
        return 0;
    }
    let mut random = Random(SEED ^ (code as u64) << 32 ^ u64::from(bits));
    let encodings: Vec<_> = (0..20).filter_map(|_| encode::encoding(code, bits, &mut random)).take(ENCODINGS).collect();
    let mut tests = 0;
    for e in &encodings {
        for _ in 0..STATES {
            let c = draw::case(e, Wild::ORDINARY, &mut random);
            let excused = compare::excused(masks, &e.instruction, bits);
            if let (false, End::Outcome(o)) = (compare::undefined(&c, &e.instruction), machine.run(&c)) {
                hash.outcome(&c, &excused, &o);
                tests += 1;
            }
        }
    }
    tests
}

/// FNV-1a over words.
struct Hash(u64);

impl Hash {
    fn add(&mut self, v: u64) {
        self.0 = (self.0 ^ v).wrapping_mul(0x100_0000_01b3).rotate_left(29);
    }
    /// All that is compared of `o`.
    fn outcome(&mut self, c: &Case, e: &compare::Excused, o: &Outcome) {
        if compare::is_loose(c, e, o) {
            return;
        }
        for (n, v) in o.state.0.iter().enumerate() {
            let differs = c.state.0.get(n) != Some(v);
            if differs {
                self.add(n as u64);
                self.add(v & compare::compared(c, e, o, n));
            }
        }
        for bytes in [&o.memory.data, &o.memory.stack] {
            bytes.chunks_exact(8).for_each(|b| self.add(u64::from_le_bytes(b.try_into().expect("eight"))));
        }
    }
}
