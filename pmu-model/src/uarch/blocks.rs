//! The blocks described: their facts, what a run through counts, and how often they ran since that was last added up.

use super::facts::{Fact, Fusible};
use super::ledger::WIDTH;
use super::predictor::Site;
use super::taken::BranchKind;
use crate::signal::{Signal, Signals, Totals};
use cpu_x86::Ring;
use cpu_x86::monitor::Code;
use iced_x86::{Instruction, InstructionInfoFactory};

/// Most instructions of a block: outcomes are kept in one bit for each.
pub(super) const MOST: usize = 64;

/// A block, without its facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Where its facts begin.
    first: u32,
    /// Where its sums begin, and how many there are.
    sums: (u32, u32),
    /// How many instructions it has.
    pub n: u32,
    /// Their slots.
    pub uops: u32,
    /// Bytes.
    pub bytes: u32,
    /// Offset of its last instruction.
    pub last: u32,
    /// Cache line of its first byte.
    pub line: u64,
    /// How many lines lie behind it.
    pub lines: u8,
    /// First line of the next page.
    pub next_page: Option<u64>,
    /// Must the ledger go through it one by one?
    pub special: bool,
    /// Can most of its runs be booked without a look at single instructions: it is none on its own, within a page, and not
    /// special?
    pub plain: bool,
    /// Its last instruction, when that is a branch.
    pub branch: Option<BranchKind>,
    /// How its last instruction may fuse with what follows.
    pub leaves: Fusible,
    /// Is it a branch that may fuse with what came before the block?
    pub fuses_below: Fusible,
    /// Index of the first instruction that has to do with the stack pointer, if that one names it.
    pub names_stack: Option<u32>,
    /// What the last instruction that has to do with it did.
    pub stack: Option<bool>,
}

/// What a run through a block needs at hand: one line of the host's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub(super) struct Quick {
    /// Runs since the last fold: by ring, and apart those whose branch was taken and is not counted elsewhere.
    runs: [[u32; 2]; 2],
    /// Linear page that `site` is for.
    pub page: u64,
    /// Cache line of its first byte.
    pub line: u64,
    /// Of its branch.
    pub site: Site,
    /// Slots that its instructions leave empty, if it is plain.
    pub idle: u16,
    /// Offset of its first byte in the page.
    pub start: u16,
    /// Offsets from there of its last instruction, and of its end.
    pub last: u16,
    pub bytes: u16,
    pub n: u8,
    /// How many lines lie behind the first.
    pub lines: u8,
    pub branch: Option<BranchKind>,
    /// What the last instruction that has to do with the stack pointer did.
    pub stack: Option<bool>,
    /// Does the first one that has to do with it name it?
    pub names_stack: bool,
    /// Plain, and no instruction behind it fuses with its last one.
    pub plain: bool,
    /// Is it among those that ran?
    listed: bool,
}

impl Quick {
    fn of(block: &Block, start: u64) -> Quick {
        Quick {
            runs: [[0; 2]; 2],
            page: u64::MAX,
            line: block.line,
            site: Site::default(),
            idle: (WIDTH * block.n).saturating_sub(block.uops) as u16,
            start: start as u16 & 0xfff,
            last: block.last as u16,
            bytes: block.bytes as u16,
            n: block.n as u8,
            lines: block.lines,
            branch: block.branch,
            stack: block.stack,
            names_stack: block.names_stack.is_some(),
            plain: block.plain && block.leaves == Fusible::Never,
            listed: false,
        }
    }

    /// As [`Blocks::ran`]; true: it is to be listed.
    #[inline]
    pub fn ran(&mut self, ring: Ring, taken: bool) -> bool {
        self.runs[ring_index(ring)][usize::from(taken)] += 1;
        !std::mem::replace(&mut self.listed, true)
    }

    /// It ran, is listed, and ran so many times more; its branch was taken.
    #[inline]
    pub fn ran_on(&mut self, ring: Ring, times: u32) {
        self.runs[ring_index(ring)][1] += times;
    }
}

/// Runs of a block after which they must be folded: a fold is due every so many blocks at the latest.
pub(super) const MOST_RUNS: u64 = 1 << 31;

/// A signal, and how much a run through the block adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum {
    signal: Signal,
    n: u32,
}

/// Number of the block that stands for a single instruction.
pub(super) const SINGLE: u32 = 0;

/// All blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    blocks: Vec<Block>,
    facts: Vec<Fact>,
    sums: Vec<Sum>,
    quick: Vec<Quick>,
    /// Those that ran since the last fold.
    ran: Vec<u32>,
}

fn ring_index(ring: Ring) -> usize {
    match ring {
        Ring::Kernel => 0,
        Ring::User => 1,
    }
}

impl Blocks {
    pub fn new() -> Blocks {
        let mut blocks =
            Blocks { blocks: Vec::new(), facts: Vec::new(), sums: Vec::new(), quick: Vec::new(), ran: Vec::new() };
        blocks.clear();
        blocks
    }

    /// Forgets all blocks; what they counted must have been folded.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.facts.clear();
        self.sums.clear();
        self.quick.clear();
        self.ran.clear();
        let single = Block {
            first: 0,
            sums: (0, 0),
            n: 1,
            uops: 0,
            bytes: 0,
            last: 0,
            line: 0,
            lines: 0,
            next_page: None,
            special: false,
            plain: false,
            branch: None,
            leaves: Fusible::Never,
            fuses_below: Fusible::Never,
            names_stack: None,
            stack: None,
        };
        self.blocks.push(single);
        self.facts.push(Fact::default());
        self.quick.push(Quick::of(&single, 0));
    }

    pub fn block(&self, number: u32) -> Option<Block> {
        self.peek(number).copied()
    }

    #[inline]
    pub fn peek(&self, number: u32) -> Option<&Block> {
        self.blocks.get(number as usize)
    }

    pub fn facts(&self, b: &Block) -> &[Fact] {
        &self.facts[b.first as usize..(b.first + b.n) as usize]
    }

    /// Takes in a block. Returns its number.
    pub fn describe(&mut self, code: &Code) -> u32 {
        let facts = facts_of(code);
        let mut block = Blocks::outline(code, &facts);
        (block.first, block.sums.0) = (self.facts.len() as u32, self.sums.len() as u32);
        block.plain = !block.special && block.next_page.is_none();
        let mut totals = Totals::default();
        facts.iter().for_each(|f| f.count(1, &mut totals));
        let counted = Signal::ALL.iter().map(|&signal| Sum { signal, n: totals[signal] as u32 });
        self.sums.extend(counted.filter(|sum| sum.n > 0));
        block.sums.1 = self.sums.len() as u32 - block.sums.0;
        self.facts.extend(facts);
        self.quick.push(Quick::of(&block, code.physical.0));
        self.blocks.push(block);
        self.blocks.len() as u32 - 1
    }

    /// Takes in a single instruction, in the place of the last one.
    pub fn single(&mut self, code: &Code) {
        let facts = facts_of(code);
        self.blocks[SINGLE as usize] = Blocks::outline(code, &facts[..1]);
        self.facts[0] = facts[0];
    }

    fn outline(code: &Code, facts: &[Fact]) -> Block {
        let last = facts.last().copied().unwrap_or_default();
        let stack = facts.iter().position(|f| f.stack.is_some());
        Block {
            first: 0,
            sums: (0, 0),
            n: facts.len() as u32,
            uops: facts.iter().map(|f| f.uops).sum(),
            bytes: last.start + last.bytes,
            last: last.start,
            line: code.physical.0 >> 6,
            lines: last.line,
            next_page: code.next_page.map(|page| page.0 >> 6),
            special: facts.iter().any(Fact::is_special),
            plain: false,
            branch: last.branch,
            leaves: last.fusible,
            fuses_below: facts.first().map_or(Fusible::Never, |f| f.fuses_below),
            names_stack: stack.filter(|&n| facts[n].stack == Some(false)).map(|n| n as u32),
            stack: facts.iter().rev().find_map(|f| f.stack),
        }
    }

    #[inline]
    pub fn quick(&mut self, number: u32) -> Option<&mut Quick> {
        self.quick.get_mut(number as usize)
    }

    /// The block ran from its first to its last instruction; `taken`: its branch was, and that is not counted elsewhere.
    #[inline]
    pub fn ran(&mut self, number: u32, ring: Ring, taken: bool) {
        let Some(quick) = self.quick.get_mut(number as usize) else { return };
        if quick.ran(ring, taken) {
            self.list(number);
        }
    }

    /// Block `number` ran for the first time since the last fold.
    #[cold]
    pub fn list(&mut self, number: u32) {
        self.ran.push(number);
    }

    /// Adds up what ran.
    pub fn fold(&mut self, signals: &mut Signals) {
        for number in self.ran.drain(..) {
            let quick = &mut self.quick[number as usize];
            quick.listed = false;
            let runs = std::mem::take(&mut quick.runs);
            let (at, n) = self.blocks[number as usize].sums;
            for ([not, taken], ring) in runs.into_iter().zip([Ring::Kernel, Ring::User]) {
                let (t, times) = (signals.of_mut(ring), u64::from(not) + u64::from(taken));
                if times == 0 {
                    continue;
                }
                let conditional = quick.branch == Some(BranchKind::Conditional);
                t[Signal::NearTaken] += u64::from(taken);
                t[Signal::ConditionalTaken] += if conditional { taken.into() } else { 0 };
                for sum in &self.sums[at as usize..(at + n) as usize] {
                    t[sum.signal] = t[sum.signal].wrapping_add(times * u64::from(sum.n));
                }
            }
        }
    }
}

/// The facts of a block's instructions, with what they do to each other.
fn facts_of(code: &Code) -> Vec<Fact> {
    assert!((1..=MOST).contains(&code.instructions.len()), "a block has 1 to {MOST} instructions");
    let mut info = InstructionInfoFactory::new();
    let first = code.instructions[0].ip();
    let at = code.physical.0 & 0xfff;
    let fact = |i: &Instruction| Fact::of(i, i.ip().wrapping_sub(first) as u32, at, &mut info);
    let mut facts: Vec<Fact> = code.instructions.iter().map(fact).collect();
    let mut pushed = false;
    for n in 0..facts.len() {
        if n > 0 && facts[n].fuses_with(facts[n - 1].fusible) {
            facts[n].fuse();
        }
        // The stack engine hands its offset over with a micro-op of its own.
        if facts[n].stack == Some(false) && pushed {
            facts[n].uops += 1;
            facts[n].unfused += 1;
        }
        pushed = facts[n].stack.unwrap_or(pushed);
    }
    let mut usual = 0;
    for fact in facts.iter_mut().rev() {
        usual = if fact.is_special() { 0 } else { usual + 1 };
        fact.usual = usual;
    }
    let mut before = 0;
    for fact in &mut facts {
        fact.before = before;
        before += fact.uops;
    }
    facts
}
