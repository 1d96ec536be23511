//! Branch prediction: direction, target, return address, and who knows the branch at all (timing.md 3.7).

use super::direction::{self, Direction};
use super::history::{Folds, Path, shifted};
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

    /// Is the branch at `pc` known? It is from now on.
    #[inline]
    fn knows(&mut self, pc: u64) -> bool {
        let tag = ((pc ^ pc >> 31) as u32) | 1 << 31;
        // Branches of one line spread over the sets, and so do those at the same place of consecutive lines.
        let set = ((pc >> 6).wrapping_add((pc & 63).wrapping_mul(37)) as usize & self.mask) * self.ways;
        let set = &mut self.tags[set..set + self.ways];
        if set[0] == tag {
            return true;
        }
        let way = set.iter().position(|t| *t == tag);
        set.copy_within(0..way.unwrap_or(self.ways - 1), 1);
        set[0] = tag;
        way.is_some()
    }
}

const LAST: usize = 2 << 10;
const INDIRECT: usize = 1 << 10;

/// Folds for the index and the tag of each table of targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Views([[u32; 2]; 2]);

impl Folds for Views {
    #[inline]
    fn shift(&mut self, pair: impl Fn(usize) -> u32, footprint: u32) {
        let ([a, b], short, long) = (self.0, pair(30), pair(126));
        self.0 = [
            [shifted::<32, 10>(a[0], short, footprint), shifted::<32, 9>(a[1], short, footprint)],
            [shifted::<128, 10>(b[0], long, footprint), shifted::<128, 9>(b[1], long, footprint)],
        ];
    }
}

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
    /// The path as the directions follow it, and as the targets do: each catches up when it is asked.
    directed: (Path, direction::Views),
    targeted: (Path, Views),
    direction: Direction,
    btb: [Btb; 3],
    /// Last targets of indirect branches, by address.
    last: Box<[u64]>,
    /// By path, short and long.
    targets: [Box<[Target]>; 2],
    returns: Box<[u64]>,
    top: usize,
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
            directed: (Path::new(), direction::Views::default()),
            targeted: (Path::new(), Views::default()),
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

    /// Says how the branch would have been predicted, and learns it.
    pub fn resolve(&mut self, b: &Resolved) -> Verdict {
        let mut v = Verdict::default();
        match b.kind {
            BranchKind::Conditional => {
                let predicted = self.direction.by_filter(b.from, b.taken).unwrap_or_else(|| {
                    let (path, views) = &mut self.directed;
                    path.catch_up(views);
                    self.direction.by_tables(b.from, b.taken, views)
                });
                v.mispredicted = predicted != b.taken;
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
            let known = (0..3).find(|&level| self.btb[level].knows(b.from));
            v.level = known.unwrap_or(2);
            v.unknown = known.is_none() && !v.mispredicted;
            self.directed.0.taken(b.from, b.to);
            self.targeted.0.taken(b.from, b.to);
        }
        v
    }

    fn push(&mut self, behind: u64) {
        self.top = (self.top + 1) % self.returns.len();
        self.returns[self.top] = behind;
    }

    fn pop(&mut self) -> u64 {
        let to = self.returns[self.top];
        self.top = (self.top + self.returns.len() - 1) % self.returns.len();
        to
    }

    /// Predicts the target of the indirect branch at `pc`, and learns that it is `to`.
    fn target(&mut self, pc: u64, to: u64) -> u64 {
        let (path, views) = &mut self.targeted;
        path.catch_up(views);
        let views = *views;
        let last = (pc ^ pc >> 11) as usize & (LAST - 1);
        let place = |t: usize| {
            let [index, tag] = views.0[t];
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
