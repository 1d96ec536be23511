//! A monitor that keeps what it is told: instructions retired, branches taken, and a small cache fed by the accesses.

use cpu_x86::monitor::{Code, DataAccess, Happening, Monitor, Packed, Step, Touched, Translate};
use cpu_x86::{Doors, PmuDoors, Ring};
use iced_x86::{FlowControl, Instruction};

/// One set: its lines from the most recently used on, each with its dirty bit.
type Set = Vec<(u64, bool)>;
const WAYS: usize = 2;

/// What is compared between runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Instructions retired.
    pub instructions: u64,
    /// Taken branches: (from, to).
    pub taken: Vec<(u64, u64)>,
    /// Faults and interrupts delivered.
    pub deliveries: u64,
    /// Iterations of repeated instructions.
    pub repeated: u64,
    /// Where floating point met denormals.
    pub denormals: Vec<u64>,
    /// Accesses that missed the cache.
    pub misses: u64,
    /// The cache.
    pub sets: Vec<Set>,
}

#[derive(Default)]
struct Described {
    /// Offset of each instruction from the first, and of the end.
    starts: Vec<u64>,
    /// Of its first byte in the page.
    offset: u64,
    branch: bool,
}

/// The monitor.
pub struct Recorder {
    pub told: Told,
    blocks: Vec<Described>,
    /// The block entered last: address, instruction offsets retired, ends in a branch.
    pending: Option<(u64, Vec<u64>, bool)>,
    /// Answers every access with "all sets touched", so that none is left out.
    pub unfiltered: bool,
}

impl Recorder {
    pub fn new(unfiltered: bool) -> Recorder {
        let told = Told { sets: vec![Set::new(); 64], ..Told::default() };
        Recorder { told, blocks: Vec::new(), pending: None, unfiltered }
    }

    fn book(&mut self, to: Option<u64>) {
        let Some((at, starts, branch)) = self.pending.take() else { return };
        self.told.instructions += starts.len() as u64 - 1;
        let end = at.wrapping_add(*starts.last().expect("the end"));
        if let Some(to) = to.filter(|to| branch && *to != end) {
            self.told.taken.push((at.wrapping_add(starts[starts.len() - 2]), to));
        }
    }

    fn touch(&mut self, line: u64, write: bool) {
        let set = &mut self.told.sets[line as usize & 63];
        let place = set.iter().position(|(l, _)| *l == line);
        self.told.misses += u64::from(place.is_none());
        let dirty = place.is_some_and(|n| set.remove(n).1);
        set.insert(0, (line, dirty || write));
        set.truncate(WAYS);
    }
}

fn described(code: &[Instruction]) -> Described {
    let first = code[0].ip();
    let mut starts: Vec<u64> = code.iter().map(|i| i.ip() - first).collect();
    starts.push(code[code.len() - 1].next_ip() - first);
    Described { starts, offset: first & 0xfff, branch: code[code.len() - 1].flow_control() != FlowControl::Next }
}

impl Monitor for Recorder {
    fn describe(&mut self, code: &Code) -> u32 {
        self.blocks.push(described(code.instructions));
        self.blocks.len() as u32 - 1
    }
    fn forget(&mut self) {
        self.blocks.clear();
    }
    fn enter(&mut self, block: u32, at: u64, _ring: Ring, _translate: &mut dyn Translate) {
        self.book(Some(at));
        let d = &self.blocks[block as usize];
        self.pending = Some((at, d.starts.clone(), d.branch));
    }
    fn pass(&mut self, steps: &[Packed]) {
        let mut page = self.pending.as_ref().expect("a block was entered").0 >> 12;
        for step in steps {
            let (_, starts, _) = self.pending.as_ref().expect("a block was entered");
            match step.step() {
                Step::Page(next) => page = next,
                Step::Block(block) => {
                    let at = page << 12 | self.blocks[block as usize].offset;
                    self.book(Some(at));
                    let d = &self.blocks[block as usize];
                    self.pending = Some((at, d.starts.clone(), d.branch));
                }
                Step::Access { line, splits, write, instruction } => {
                    assert!(usize::from(instruction) < starts.len() - 1, "{step:?}");
                    (line..=line + u64::from(splits)).for_each(|line| self.touch(line, write));
                }
            }
        }
    }
    fn single(&mut self, code: &Code, at: u64, _ring: Ring, _translate: &mut dyn Translate) {
        self.book(Some(at));
        let d = described(code.instructions);
        self.pending = Some((at, d.starts, d.branch));
    }
    fn cut(&mut self, ran: u32) {
        let (_, starts, branch) = self.pending.as_mut().expect("a block was entered");
        assert!((ran as usize) < starts.len() - 1, "cut to {ran} of {}", starts.len() - 1);
        starts.truncate(ran as usize + 1);
        *branch = false;
    }
    fn settle(&mut self, to: u64) {
        self.book(Some(to));
    }
    fn access(&mut self, a: &DataAccess, _translate: &mut dyn Translate) -> Touched {
        assert!(a.linear & 4095 == a.physical.0 & 4095 && (a.linear & 4095) + u64::from(a.bytes) <= 4096, "{a:?}");
        let (first, last) = (a.physical.0 >> 6, (a.physical.0 + u64::from(a.bytes) - 1) >> 6);
        (first..=last).for_each(|line| self.touch(line, a.write));
        if self.unfiltered { u64::MAX } else { 1 << (first & 63) | 1 << (last & 63) }
    }
    fn happened(&mut self, what: Happening) {
        match what {
            Happening::Delivery { .. } => self.told.deliveries += 1,
            Happening::Repeated(n) => self.told.repeated += n,
            Happening::Denormal { instruction } => {
                let (at, starts, _) = self.pending.as_ref().expect("a block was entered");
                self.told.denormals.push(at + starts[instruction as usize]);
            }
            _ => {}
        }
    }
}

/// Doors with a recorder behind them, or with nothing.
pub struct Watching(pub Option<Recorder>);

impl Doors for Watching {
    fn pmu(&mut self) -> &mut dyn PmuDoors {
        self
    }
}

impl PmuDoors for Watching {
    fn monitor(&mut self) -> Option<&mut dyn Monitor> {
        self.0.as_mut().map(|r| r as &mut dyn Monitor)
    }
}
