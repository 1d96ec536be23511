//! Branch prediction: direction, target, return address, and who knows the branch at all (timing.md 3.7).

use super::direction::{Direction, Filtered};
use super::history::{History, departure, footprint};
use super::parameters::{Geometry, Parameters};
use super::taken::BranchKind;

/// What became of a branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub mispredicted: bool,
    /// Decode had to re-steer: the branch, rightly predicted or unconditional, is in no target buffer.
    pub unknown: bool,
    /// Which target buffer knew it.
    pub level: usize,
}

impl Verdict {
    /// Does it take time that the branch would not take, were it always so?
    #[inline]
    pub fn is_costly(&self, p: &Parameters) -> bool {
        self.mispredicted || self.unknown || p.bubble[self.level] > 0
    }
}

/// A target buffer: tags of branches, each set in LRU order. Capacity only; targets are the program's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Btb {
    mask: usize,
    ways: usize,
    tags: Box<[u32]>,
}

impl Btb {
    fn new(g: Geometry) -> Btb {
        Btb { mask: g.sets as usize - 1, ways: g.ways as usize, tags: vec![0; (g.sets * g.ways) as usize].into() }
    }

    fn tag(pc: u64) -> u32 {
        ((pc ^ pc >> 31) as u32) | 1 << 31
    }

    /// Where the set of the branch at `pc` begins.
    fn set(&self, pc: u64) -> usize {
        // Branches of one line spread over the sets, and so do those at the same place of consecutive lines.
        ((pc >> 6).wrapping_add((pc & 63).wrapping_mul(37)) as usize & self.mask) * self.ways
    }

    /// Is the branch at `pc` known? It is from now on.
    fn knows(&mut self, pc: u64) -> bool {
        let (tag, set) = (Btb::tag(pc), self.set(pc));
        // Each one takes the place of the next, as far as the branch's own.
        let mut moved = tag;
        self.tags[set..set + self.ways].iter_mut().any(|t| {
            std::mem::swap(t, &mut moved);
            moved == tag
        })
    }
}

const LAST: usize = 2 << 10;
const INDIRECT: usize = 1 << 10;

/// A target of an indirect branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Target {
    tag: u16,
    /// Two bits.
    sure: u8,
    to: u64,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Predictor {
    history: History,
    direction: Direction,
    btb: [Btb; 3],
    /// Last targets of indirect branches, by address.
    last: Box<[u64]>,
    /// By the two shorter histories.
    targets: [Box<[Target]>; 2],
    returns: Box<[u64]>,
    top: usize,
}

/// Where the branch at an address is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Site {
    filter: Filtered,
    departure: u16,
    /// Its place, if it is the most recent one of its set, in the first target buffer.
    first: u16,
    tag: u32,
}

/// A branch that retired.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolved {
    pub kind: BranchKind,
    pub from: u64,
    /// Where control went.
    pub to: u64,
    /// The address behind it.
    pub behind: u64,
    pub taken: bool,
}

impl Predictor {
    pub fn new(p: &Parameters) -> Predictor {
        Predictor {
            history: History::new(),
            direction: Direction::new(),
            btb: p.btb.map(Btb::new),
            last: vec![0; LAST].into(),
            targets: [0, 1].map(|_| vec![Target::default(); INDIRECT].into()),
            returns: vec![0; p.return_stack as usize].into(),
            top: 0,
        }
    }

    /// Forgets where indirect branches went.
    pub fn flush_indirect(&mut self) {
        self.last.fill(0);
        self.targets.iter_mut().for_each(|t| t.fill(Target::default()));
    }

    /// Where the branch at `from` is looked for.
    pub fn site(&self, from: u64) -> Site {
        Site {
            filter: Filtered::of(from),
            departure: departure(from),
            first: self.btb[0].set(from) as u16,
            tag: Btb::tag(from),
        }
    }

    /// Says how the branch, of which `site` is that of its address, would have been predicted, and learns it.
    #[inline(always)]
    pub fn resolve(&mut self, b: &Resolved, site: &Site) -> Verdict {
        let mut v = Verdict::default();
        match b.kind {
            BranchKind::Conditional => {
                let (at, history) = (&site.filter, &mut self.history);
                v.mispredicted = !self.direction.goes_as_ever(at, b.taken)
                    && self.direction.predict(b.from, b.taken, at, history) != b.taken;
            }
            BranchKind::IndirectJump | BranchKind::IndirectCall => v.mispredicted = self.target(b.from, b.to) != b.to,
            BranchKind::Return => v.mispredicted = self.pop() != b.to,
            BranchKind::Jump | BranchKind::Call => {}
            BranchKind::Other => return v,
        }
        // A call of the next instruction only reads the instruction pointer: it does not enter the return stack.
        if matches!(b.kind, BranchKind::Call | BranchKind::IndirectCall) && b.to != b.behind {
            self.push(b.behind);
        }
        if b.taken {
            if self.btb[0].tags.get(usize::from(site.first)) != Some(&site.tag) {
                let known = self.known(b.from);
                v.level = known.unwrap_or(2);
                v.unknown = known.is_none() && !v.mispredicted;
            }
            self.history.taken(footprint(site.departure, b.to));
        }
        v
    }

    /// As [`Predictor::resolve`] for the conditional branch that was resolved last, and is taken to the same place again. Was
    /// it mispredicted?
    #[inline(always)]
    pub fn repeat(&mut self, from: u64, to: u64, site: &Site) -> bool {
        let wrong = !self.direction.goes_as_ever(&site.filter, true)
            && !self.direction.predict(from, true, &site.filter, &mut self.history);
        self.history.taken(footprint(site.departure, to));
        wrong
    }

    /// The nearest target buffer that knows the branch at `from`: all those before it do from now on.
    #[inline(never)]
    fn known(&mut self, from: u64) -> Option<usize> {
        (0..3).find(|&level| self.btb[level].knows(from))
    }

    #[inline]
    fn push(&mut self, behind: u64) {
        self.top = if self.top + 1 < self.returns.len() { self.top + 1 } else { 0 };
        self.returns[self.top] = behind;
    }

    #[inline]
    fn pop(&mut self) -> u64 {
        let to = self.returns[self.top];
        self.top = self.top.checked_sub(1).unwrap_or(self.returns.len() - 1);
        to
    }

    /// Predicts the target of the indirect branch at `pc`, and learns that it is `to`.
    #[inline(never)]
    fn target(&mut self, pc: u64, to: u64) -> u64 {
        self.history.catch_up();
        let last = (pc ^ pc >> 11) as usize & (LAST - 1);
        let place = |t: usize| {
            let (index, tag) = (self.history.index(t), self.history.tag(t));
            let at = (pc as u32 ^ (pc >> 10) as u32 ^ index) as usize & (INDIRECT - 1);
            (at, ((pc >> 2) as u32 ^ tag << 1 ^ index >> 2) as u16 | 0x8000)
        };
        let places = [place(0), place(1)];
        let hit = (0..2).rev().find(|&t| self.targets[t][places[t].0].tag == places[t].1);
        let predicted = hit.map_or(self.last[last], |t| self.targets[t][places[t].0].to);
        if let Some(t) = hit {
            let entry = &mut self.targets[t][places[t].0];
            match (entry.to == to, entry.sure) {
                (true, _) => entry.sure = (entry.sure + 1).min(3),
                (false, 0) => entry.to = to,
                (false, _) => entry.sure -= 1,
            }
        }
        if predicted != to {
            let longer = hit.map_or(0, |t| t + 1);
            for (targets, (at, tag)) in self.targets.iter_mut().zip(places).skip(longer) {
                let entry = &mut targets[at];
                if entry.sure == 0 {
                    *entry = Target { tag, sure: 0, to };
                    break;
                }
                entry.sure -= 1;
            }
        }
        self.last[last] = to;
        predicted
    }
}
