//! The books: what was counted in which ring, and where its slots went.

use super::blocks::Block;
use super::facts::{EXECUTES, Fact};
use super::ledger::{Cause, Ledger, Paid, WIDTH};
use super::parameters::Parameters;
use crate::signal::{Signal, Signals, Totals};
use cpu_x86::Ring;

/// What may become of an access; of an instruction's loads the one from farthest away counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    LoadMemory,
    LoadL3,
    LoadL2,
    SplitLoad,
    SplitStore,
    WalkedLoad,
    WalkedStore,
    /// A store that found its line in the L2.
    StoreL2,
    /// A locked access that crosses a line.
    BusLock,
}

/// The signal of each outcome.
const OUTCOMES: [Signal; 9] = [
    Signal::LoadL3Miss,
    Signal::LoadL3Hit,
    Signal::LoadL2Hit,
    Signal::SplitLoads,
    Signal::SplitStores,
    Signal::StlbMissLoads,
    Signal::StlbMissStores,
    Signal::StoreL2Hit,
    Signal::BusLocks,
];

/// What became of the accesses of a block's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    /// One bit for each outcome: did it occur?
    occurred: u16,
    /// For those that did, one bit for each instruction.
    instructions: [u64; OUTCOMES.len()],
}

impl Outcomes {
    /// None.
    #[inline]
    pub fn clear(&mut self) {
        self.occurred = 0;
    }

    /// An access of instruction `n` had `outcome`.
    #[inline]
    pub fn note(&mut self, outcome: Outcome, n: u32) {
        let (kind, bit) = (outcome as usize, 1 << (n & 63));
        let before = if self.occurred >> kind & 1 != 0 { self.instructions[kind] } else { 0 };
        self.instructions[kind] = before | bit;
        self.occurred |= 1 << kind;
    }

    /// Adds those of the first `ran` instructions.
    #[inline]
    pub fn add(&self, ran: u32, t: &mut Totals) {
        let those = u64::MAX.checked_shr(64 - ran).unwrap_or(0);
        let (mut left, mut farther) = (self.occurred, 0);
        while left != 0 {
            let kind = left.trailing_zeros() as usize;
            left &= left - 1;
            let mut mask = self.instructions[kind] & those;
            if kind <= Outcome::LoadL2 as usize {
                (mask, farther) = (mask & !farther, farther | mask);
            }
            t[OUTCOMES[kind]] += u64::from(mask.count_ones());
        }
    }
}

/// A run through a block that is not booked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub number: u32,
    /// Linear address of the first byte.
    pub at: u64,
    pub ring: Ring,
    /// How many instructions retired, when it was cut.
    pub ran: Option<u32>,
    /// How far the ledger is.
    pub entered: u32,
    /// How far fetching is: is the first line fetched, and how many behind it?
    pub started: bool,
    pub line: u8,
    /// The first instruction fuses with the one that retired before it.
    pub fused: bool,
    /// The first instruction that names the stack pointer needs what was pushed before the block.
    pub synchronizes: bool,
    /// Some access has an outcome: they are not all what they are by default.
    pub noted: bool,
    /// Where the access told last ended, of which instruction: an access over two pages comes in two parts.
    pub last: (u64, u32),
}

impl Pending {
    /// What `last` is before an access was told.
    pub const NO_ACCESS: (u64, u32) = (0, u32::MAX);

    /// A run through block `number` at `at`.
    #[inline]
    pub fn new(number: u32, at: u64, ring: Ring) -> Pending {
        Pending {
            number,
            at,
            ring,
            ran: None,
            entered: 0,
            started: false,
            line: 0,
            fused: false,
            synchronizes: false,
            noted: false,
            last: Pending::NO_ACCESS,
        }
    }

    /// Has it had nothing yet, and nothing that its block does not always have?
    #[inline]
    pub fn is_usual(&self) -> bool {
        self.entered == 0 && !self.noted && !self.fused && !self.synchronizes
    }
}

/// A pending run, with what is known of its block.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub block: &'a Block,
    pub facts: &'a [Fact],
    pub pending: &'a Pending,
    pub outcomes: &'a Outcomes,
}

impl Run<'_> {
    /// Slots of instruction `n` this time.
    fn slots(&self, n: u32) -> u32 {
        let extra = self.pending.synchronizes && self.block.names_stack == Some(n);
        let shared = self.pending.fused && n == 0;
        (self.facts[n as usize].uops + u32::from(extra)).saturating_sub(u32::from(shared))
    }

    /// Slots of the instructions from `from` to before `to` this time.
    #[inline]
    pub fn slots_of(&self, from: u32, to: u32) -> u32 {
        let before = |n: u32| self.facts.get(n as usize).map_or(self.block.uops, |f| f.before);
        let extra = self.pending.synchronizes && self.block.names_stack.is_some_and(|n| (from..to).contains(&n));
        let shared = self.pending.fused && from == 0;
        (before(to) - before(from) + u32::from(extra)).saturating_sub(u32::from(shared))
    }
}

/// Totals by ring, and the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Books {
    /// As far as they are folded; what follows from others is set when they are read ([`Books::read`]).
    pub totals: Signals,
    pub ledger: Ledger,
    /// Slots that causes got, by ring.
    paid: [Paid; 2],
    /// Instructions retired, by ring.
    instructions: [u64; 2],
    /// Cycles without an instruction, by ring: the slots of the back end's core.
    idle: [u64; 2],
    /// Micro-ops whose slots were taken in another ring than they retired in: what this one took more.
    moved: [i64; 2],
    pub ring: Ring,
}

fn index(ring: Ring) -> usize {
    match ring {
        Ring::Kernel => 0,
        Ring::User => 1,
    }
}

impl Books {
    pub fn new() -> Books {
        Books {
            totals: Signals::default(),
            ledger: Ledger::default(),
            paid: Default::default(),
            instructions: [0; 2],
            idle: [0; 2],
            moved: [0; 2],
            ring: Ring::Kernel,
        }
    }

    /// All instructions retired.
    pub fn retired(&self) -> u64 {
        self.instructions[0].wrapping_add(self.instructions[1])
    }

    /// So many cycles went by without an instruction.
    pub fn idle(&mut self, cycles: u64) {
        self.idle[index(self.ring)] += cycles;
    }

    /// `ring` runs from now on.
    #[inline]
    pub fn enter(&mut self, ring: Ring) {
        if ring != self.ring {
            self.settle();
            let debt = i64::from(self.ledger.debt);
            self.moved[index(self.ring)] -= debt;
            self.moved[index(ring)] += debt;
            self.ring = ring;
        }
    }

    /// Books that `n` instructions retired of which nothing else is to be said.
    #[inline]
    pub fn retire_plainly(&mut self, n: u32) {
        self.instructions[index(self.ring)] += u64::from(n);
    }

    /// Totals of the ring that runs.
    #[inline]
    pub fn now(&mut self) -> &mut Totals {
        self.totals.of_mut(self.ring)
    }

    /// Books the slots that wait for it.
    #[inline]
    pub fn settle(&mut self) {
        self.ledger.settle(&mut self.paid[index(self.ring)]);
    }

    pub fn claim(&mut self, cause: Cause, cycles: u32, p: &Parameters) {
        self.settle();
        self.ledger.claim(cause, cycles * WIDTH, p.most_owed);
    }

    /// Takes the ledger through the instructions from where it is to before `to`. `decoded`: they come from the legacy
    /// decoder.
    #[inline]
    pub fn advance(&mut self, run: &Run, to: u32, decoded: bool, p: &Parameters) {
        let from = run.pending.entered;
        if from >= to {
            return;
        }
        if decoded {
            return (from..to).for_each(|n| self.step(run, n, decoded, p));
        }
        let mut n = from;
        while n < to {
            let usual = u32::from(run.facts[n as usize].usual).min(to - n);
            if usual > 0 {
                self.ledger.run(usual, run.slots_of(n, n + usual));
                n += usual;
            } else {
                self.step(run, n, decoded, p);
                n += 1;
            }
        }
    }

    fn step(&mut self, run: &Run, n: u32, decoded: bool, p: &Parameters) {
        let (fact, slots) = (&run.facts[n as usize], run.slots(n));
        self.settle();
        if fact.microcode > 0 {
            self.claim(Cause::Sequencer, p.sequencer, p);
        }
        if let Some((cause, cycles)) = fact.stall {
            self.claim(cause, cycles, p);
        }
        if decoded {
            self.now()[Signal::UopsMite] += u64::from(slots.saturating_sub(fact.microcode));
            self.ledger.claim(Cause::Bandwidth, p.decode_slots, p.most_owed);
        }
        self.ledger.step(slots, &mut self.paid[index(self.ring)]);
    }

    /// Books that the first `ran` instructions retired; `counted`: what they count whatever happened is added elsewhere.
    #[inline]
    pub fn retire(&mut self, run: &Run, ran: u32, counted: bool) {
        let totals = self.totals.of_mut(run.pending.ring);
        self.instructions[index(run.pending.ring)] += u64::from(ran);
        if !counted {
            run.facts[..ran as usize].iter().for_each(|f| f.count(1, totals));
        }
        self.retire_differences(run, ran);
    }

    /// Books in what a run's first `ran` instructions were not as always.
    pub fn retire_differences(&mut self, run: &Run, ran: u32) {
        let totals = self.totals.of_mut(run.pending.ring);
        if run.pending.noted && ran > 0 {
            run.outcomes.add(ran, totals);
        }
        let mut add = |s: Signal, n: u64| totals[s] = totals[s].wrapping_add(n);
        if run.pending.fused && ran > 0 {
            add(Signal::MacroFused, 1);
            add(Signal::UopsRetired, 1u64.wrapping_neg());
            add(Signal::UopsExecuted, 1u64.wrapping_neg());
            add(Signal::Executes1, 1u64.wrapping_neg());
        }
        if let Some(n) = run.block.names_stack.filter(|&n| run.pending.synchronizes && n < ran) {
            synchronize(&run.facts[n as usize], totals);
        }
    }

    /// The totals, with what follows from them.
    pub fn read(mut self) -> Signals {
        self.settle();
        for ring in [Ring::Kernel, Ring::User] {
            let waiting = if ring == self.ring { i64::from(self.ledger.debt) } else { 0 };
            let shift = self.moved[index(ring)] - waiting;
            let cycles = self.instructions[index(ring)].wrapping_add(self.idle[index(ring)]);
            let slots = cycles.wrapping_mul(u64::from(WIDTH));
            self.paid[index(ring)].add_to(self.totals.of_mut(ring));
            derive(self.totals.of_mut(ring), shift, slots);
        }
        self.totals
    }
}

/// Books that the stack engine handed its offset over before an instruction.
pub(super) fn synchronize(to: &Fact, t: &mut Totals) {
    let one_more = EXECUTES.get(to.unfused as usize).copied();
    for signal in [Signal::UopsRetired, Signal::UopsHeavy, Signal::UopsExecuted].into_iter().chain(one_more) {
        t[signal] = t[signal].wrapping_add(1);
    }
}

/// Sets what follows: `shift` is how many slots more than its micro-ops the ring took.
fn derive(t: &mut Totals, shift: i64, slots: u64) {
    for signal in [Signal::UopsRetired, Signal::UopsHeavy, Signal::UopsMs] {
        t[signal] = t[signal].saturating_add_signed(shift);
    }
    t[Signal::SlotsHeavy] = t[Signal::UopsHeavy];
    t[Signal::SlotsLight] = t[Signal::UopsRetired].saturating_sub(t[Signal::UopsHeavy]);
    t[Signal::UopsDsb] = t[Signal::UopsRetired].saturating_sub(t[Signal::UopsMs] + t[Signal::UopsMite]);
    let accounts = [
        Signal::SlotsMispredict,
        Signal::SlotsClear,
        Signal::SlotsFetchLatency,
        Signal::SlotsFetchBandwidth,
        Signal::SlotsMemory,
    ];
    let others: u64 = accounts.into_iter().map(|s| t[s]).sum();
    t[Signal::SlotsCore] = slots.saturating_sub(others + t[Signal::UopsRetired]);
    let far = t[Signal::LoadL2Hit] + t[Signal::LoadL3Hit] + t[Signal::LoadL3Miss];
    t[Signal::LoadL1Hit] = t[Signal::Loads].saturating_sub(far);
}
