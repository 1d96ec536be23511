//! Taken branches, for those who record them.

use cpu_x86::Ring;

/// What kind of branch it is: the numbers are those of the LBR's branch type field. Source: SDM vol. 3, table 19-5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BranchKind {
    /// Jcc, LOOPcc, JrCXZ.
    Conditional = 0,
    /// Near indirect JMP.
    IndirectJump = 1,
    /// Near relative JMP.
    Jump = 2,
    /// Near indirect CALL.
    IndirectCall = 3,
    /// Near relative CALL.
    Call = 4,
    /// Near RET.
    Return = 5,
    /// Far branches, interrupts, exceptions.
    Other = 8,
}

/// A branch that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Linear address of the instruction; of the one interrupted for a delivery.
    pub from: u64,
    /// Linear address of the target.
    pub to: u64,
    /// Which kind.
    pub kind: BranchKind,
    /// Was it mispredicted?
    pub mispredicted: bool,
    /// Core cycles since the branch taken before it.
    pub cycles: u64,
    /// Who ran before it.
    pub before: Ring,
    /// Who ran after it.
    pub after: Ring,
}

/// How many branches wait for who takes them.
const ROOM: usize = 16;

/// Branches that nobody took yet; when there is no room the oldest is forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Queue {
    on: bool,
    branches: Vec<Branch>,
    /// A far branch whose ring after it is not known yet.
    far: Option<Branch>,
    /// Cycles at the branch taken last.
    last: u64,
}

impl Queue {
    pub fn switch(&mut self, on: bool) {
        *self = Queue { on, last: self.last, ..Queue::default() };
        if on {
            self.branches.reserve_exact(ROOM);
        }
    }

    #[inline]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// A branch was taken when `now` cycles had passed; `cycles` of it is set here.
    pub fn taken(&mut self, branch: Branch, now: u64) {
        self.arrived(branch.before);
        let branch = Branch { cycles: now.wrapping_sub(self.last), ..branch };
        self.last = now;
        if branch.kind == BranchKind::Other {
            self.far = Some(branch);
        } else {
            self.push(branch);
        }
    }

    /// Control arrived in `ring`.
    pub fn arrived(&mut self, ring: Ring) {
        if let Some(far) = self.far.take() {
            self.push(Branch { after: ring, ..far });
        }
    }

    fn push(&mut self, branch: Branch) {
        if self.branches.len() == ROOM {
            self.branches.remove(0);
        }
        self.branches.push(branch);
    }

    pub fn next(&mut self) -> Option<Branch> {
        (!self.branches.is_empty()).then(|| self.branches.remove(0))
    }
}
