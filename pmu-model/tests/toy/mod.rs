//! A toy processor: instructions drawn at random, which hang together as a real program's and model's do, and what a unit
//! must make of them, counted eagerly, one instruction after the other.
#![allow(dead_code, reason = "each test uses its part")]

pub mod reference;

use cpu_x86::{Counts, Ring};
use emu_core::Random;
use pmu_model::Now;
use pmu_model::signal::{Signal, Signals};

/// What kind of branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    Taken,
    NotTaken,
    Jump,
    Call,
    Return,
    IndirectJump,
    IndirectCall,
    Far,
}

/// An instruction, as it retired.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub ring: Ring,
    pub branch: Option<Branch>,
    pub mispredicted: bool,
    /// Where a load's data came from: L1D, line on its way, L2, L3, memory.
    pub load: Option<usize>,
    pub store: bool,
    pub nop: bool,
    /// Which machine clear.
    pub clear: Option<Signal>,
    /// Light, heavy, mispredict, clear, fetch latency, fetch bandwidth, memory, core: six in all.
    pub slots: [u64; 8],
    /// The part of the memory slots.
    pub memory: Option<Signal>,
    /// Page walk for a load.
    pub walk: Option<Signal>,
}

const BRANCHES: [Branch; 8] = [
    Branch::Taken,
    Branch::NotTaken,
    Branch::Jump,
    Branch::Call,
    Branch::Return,
    Branch::IndirectJump,
    Branch::IndirectCall,
    Branch::Far,
];
const SOURCES: [Signal; 5] =
    [Signal::LoadL1Hit, Signal::LoadFillBuffer, Signal::LoadL2Hit, Signal::LoadL3Hit, Signal::LoadL3Miss];
const LEDGER: [Signal; 8] = [
    Signal::SlotsLight,
    Signal::SlotsHeavy,
    Signal::SlotsMispredict,
    Signal::SlotsClear,
    Signal::SlotsFetchLatency,
    Signal::SlotsFetchBandwidth,
    Signal::SlotsMemory,
    Signal::SlotsCore,
];

impl Step {
    /// An instruction in `ring`.
    pub fn random(dice: &mut Random, ring: Ring) -> Step {
        let branch = dice.one_in(4).then(|| BRANCHES[dice.below(8) as usize]);
        let mispredicted = !matches!(branch, None | Some(Branch::Jump | Branch::Call | Branch::Far)) && dice.one_in(4);
        let clear = dice.one_in(40).then(|| [Signal::ClearsMemoryOrdering, Signal::ClearsSmc][dice.below(2) as usize]);
        let load = dice.one_in(3).then(|| dice.below(5) as usize);
        let mut slots = [1, dice.below(3), 0, 0, 0, 0, 0, 0];
        let lost_to = match () {
            () if mispredicted => 2,
            () if clear.is_some() => 3,
            () => 4 + dice.below(4) as usize,
        };
        slots[lost_to] = 5 - slots[1];
        let memory = [Signal::SlotsL2, Signal::SlotsL3, Signal::SlotsDram, Signal::SlotsStore];
        let memory = (slots[6] != 0 && dice.one_in(2)).then(|| memory[dice.below(4) as usize]);
        let walks = [Signal::DtlbLoadWalk4k, Signal::DtlbLoadWalk2m, Signal::DtlbLoadWalk1g];
        let walk = (load.is_some() && dice.one_in(5)).then(|| walks[dice.below(3) as usize]);
        let (store, nop) = (dice.one_in(5), branch.is_none() && load.is_none() && dice.one_in(6));
        Step { ring, branch, mispredicted, load, store, nop, clear, slots, memory, walk }
    }

    /// A WRMSR, RDMSR or RDPMC in ring 0.
    pub fn serial() -> Step {
        Step {
            ring: Ring::Kernel,
            branch: None,
            mispredicted: false,
            load: None,
            store: false,
            nop: false,
            clear: None,
            slots: [1, 2, 0, 0, 0, 0, 0, 3],
            memory: None,
            walk: None,
        }
    }

    pub fn is_conditional(&self) -> bool {
        matches!(self.branch, Some(Branch::Taken | Branch::NotTaken))
    }

    /// Books it.
    pub fn book(&self, counts: &mut Counts, signals: &mut Signals) {
        let facts = if self.ring == Ring::User { &mut counts.user } else { &mut counts.kernel };
        facts.instructions += 1;
        facts.branches += u64::from(self.branch.is_some());
        facts.conditional += u64::from(self.is_conditional());
        counts.cycles += 1;
        counts.clock += 1;
        let to = signals.of_mut(self.ring);
        let mut add = |s: Signal, n: u64| to[s] += n;
        LEDGER.into_iter().zip(self.slots).for_each(|(s, n)| add(s, n));
        add(Signal::UopsRetired, self.slots[0] + self.slots[1]);
        add(Signal::Nops, u64::from(self.nop));
        add(Signal::Loads, u64::from(self.load.is_some()));
        add(Signal::Stores, u64::from(self.store));
        add(Signal::LoadsOrStores, u64::from(self.load.is_some() || self.store));
        self.load.iter().for_each(|&n| add(SOURCES[n], 1));
        match self.load {
            Some(2) => add(Signal::L2DataHit, 1),
            Some(3..) => add(Signal::L2DataMiss, 1),
            _ => {}
        }
        add(Signal::L3DataMiss, u64::from(self.load == Some(4)));
        self.memory.iter().for_each(|&s| add(s, self.slots[6]));
        self.walk.into_iter().for_each(|s| add(s, 1));
        self.clear.into_iter().for_each(|s| add(s, 1));
        self.branch.iter().for_each(|b| self.book_branch(*b, &mut add));
    }

    fn book_branch(&self, branch: Branch, add: &mut impl FnMut(Signal, u64)) {
        use Branch::*;
        add(Signal::NearTaken, u64::from(!matches!(branch, NotTaken | Far)));
        match branch {
            Taken => add(Signal::ConditionalTaken, 1),
            Call => add(Signal::NearCalls, 1),
            Return => add(Signal::NearReturns, 1),
            IndirectJump => add(Signal::Indirect, 1),
            IndirectCall => {
                add(Signal::NearCalls, 1);
                add(Signal::Indirect, 1);
            }
            Far => add(Signal::FarBranches, 1),
            NotTaken | Jump => {}
        }
        if self.mispredicted {
            match branch {
                Taken => add(Signal::MispredictedTaken, 1),
                NotTaken => add(Signal::MispredictedNotTaken, 1),
                Return => add(Signal::MispredictedReturn, 1),
                IndirectCall => {
                    add(Signal::MispredictedIndirectCall, 1);
                    add(Signal::MispredictedIndirect, 1);
                }
                _ => add(Signal::MispredictedIndirect, 1),
            }
        }
    }
}

/// What has retired.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub counts: Counts,
    pub signals: Signals,
}

impl Totals {
    pub fn now(&self) -> Now<'_> {
        Now { counts: &self.counts, signals: Some(&self.signals) }
    }
    pub fn book(&mut self, step: &Step) {
        step.book(&mut self.counts, &mut self.signals);
    }
    /// `n` random instructions, which change rings now and then.
    pub fn run(&mut self, dice: &mut Random, n: u64) {
        let mut ring = Ring::Kernel;
        for _ in 0..n {
            self.book(&Step::random(dice, ring));
            ring = if dice.one_in(16) { other(ring) } else { ring };
        }
    }
}

pub fn other(ring: Ring) -> Ring {
    if ring == Ring::Kernel { Ring::User } else { Ring::Kernel }
}
