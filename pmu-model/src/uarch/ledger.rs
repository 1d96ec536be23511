//! Where slots go: the slot ledger by rule (timing.md 4.1, `atomic`).
//!
//! An instruction has six slots whatever happens. Its micro-ops take theirs; what is more than six is owed and taken from
//! the instructions behind it. A cause of lost time (a mispredict, a miss) makes a claim, and slots that stay empty from
//! then on are booked to the causes that claim any, slot by slot in turn. Slots that nobody claims belong to the back
//! end's core. All of this goes slot by slot in effect, so it does not matter how the stream is cut into blocks.

use crate::signal::{Signal, Totals};

/// Slots of a cycle, and so of an instruction.
pub(super) const WIDTH: u32 = 6;

/// Why slots stay empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Sequencer,
    Divider,
    Serial,
    Mispredict,
    Clear,
    Resteer,
    UnknownBranch,
    Icache,
    Itlb,
    Bubble,
    Bandwidth,
    Dram,
    L3,
    L2,
    Memory,
    Store,
}

/// The account of each cause, and the part of it.
#[rustfmt::skip] // a table
const BOOKS: [(Signal, Option<Signal>); 16] = [
    (Signal::SlotsFetchLatency,   Some(Signal::SlotsMs)),
    (Signal::SlotsCore,           Some(Signal::SlotsDivider)),
    (Signal::SlotsCore,           Some(Signal::SlotsSerial)),
    (Signal::SlotsMispredict,     None),
    (Signal::SlotsClear,          None),
    (Signal::SlotsFetchLatency,   Some(Signal::SlotsResteer)),
    (Signal::SlotsFetchLatency,   Some(Signal::SlotsUnknownBranch)),
    (Signal::SlotsFetchLatency,   Some(Signal::SlotsIcache)),
    (Signal::SlotsFetchLatency,   Some(Signal::SlotsItlb)),
    (Signal::SlotsFetchLatency,   None),
    (Signal::SlotsFetchBandwidth, None),
    (Signal::SlotsMemory,         Some(Signal::SlotsDram)),
    (Signal::SlotsMemory,         Some(Signal::SlotsL3)),
    (Signal::SlotsMemory,         Some(Signal::SlotsL2)),
    (Signal::SlotsMemory,         None),
    (Signal::SlotsMemory,         Some(Signal::SlotsStore)),
];

/// Claims not met yet, and micro-ops that have retired but for their slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    /// Micro-ops that wait for a slot.
    pub debt: u32,
    /// Which causes claim any.
    claiming: u32,
    /// The cause whose turn it is, or the next one that claims.
    turn: u32,
    claims: [u32; BOOKS.len()],
    /// Slots that stayed empty and are neither taken by the debt nor booked yet: that waits until something depends on
    /// it, because it does not matter in how many steps it is done.
    waiting: u64,
}

/// Slots paid to each cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Paid([u64; BOOKS.len()]);

impl Paid {
    /// Adds them to the accounts.
    pub fn add_to(&self, totals: &mut Totals) {
        for (slots, (account, part)) in self.0.into_iter().zip(BOOKS) {
            for signal in [Some(account), part].into_iter().flatten() {
                totals[signal] += slots;
            }
        }
    }
}

impl Ledger {
    /// `cause` claims `slots`, as far as it is owed not more than `most`. No slots wait.
    pub fn claim(&mut self, cause: Cause, slots: u32, most: u32) {
        debug_assert_eq!(self.waiting, 0, "slots from before the claim are booked before");
        let claim = &mut self.claims[cause as usize];
        *claim += slots.min(most.saturating_sub(*claim));
        self.claiming |= u32::from(*claim > 0) << cause as u32;
    }

    /// So many `instructions` took `uops` slots; none took more than six.
    #[inline]
    pub fn run(&mut self, instructions: u32, uops: u32) {
        self.leave_empty((WIDTH * instructions).saturating_sub(uops));
    }

    /// So many slots stayed empty.
    #[inline]
    pub fn leave_empty(&mut self, slots: u32) {
        self.waiting += u64::from(slots);
    }

    /// Books the slots that wait.
    #[inline]
    pub fn settle(&mut self, paid: &mut Paid) {
        let empty = std::mem::take(&mut self.waiting);
        if empty > 0 && (self.debt > 0 || self.claiming != 0) {
            self.catch_up(u32::try_from(empty).unwrap_or(u32::MAX), paid);
        }
    }

    fn catch_up(&mut self, empty: u32, paid: &mut Paid) {
        let late = self.debt.min(empty);
        self.debt -= late;
        self.pay(empty - late, paid);
    }

    /// One instruction took `uops` slots, however many. No slots wait.
    pub fn step(&mut self, uops: u32, paid: &mut Paid) {
        let wanted = self.debt + uops;
        self.debt = wanted.saturating_sub(WIDTH);
        self.pay(WIDTH.saturating_sub(wanted), paid);
    }

    /// `empty` slots go to the causes that claim any, one to each in turn.
    fn pay(&mut self, empty: u32, paid: &mut Paid) {
        let others = self.claiming & self.claiming.wrapping_sub(1);
        if empty == 0 || self.claiming == 0 {
            return;
        }
        if others == 0 {
            let cause = self.claiming.trailing_zeros();
            self.turn = (cause + 1) % BOOKS.len() as u32;
            self.book(cause, empty.min(self.claims[cause as usize]), paid);
        } else if others.is_power_of_two() {
            self.pay_two(empty, paid);
        } else {
            self.pay_many(empty, paid);
        }
    }

    /// As [`Ledger::pay`] with two claimants.
    fn pay_two(&mut self, empty: u32, paid: &mut Paid) {
        let first = self.next_claimant();
        let second = (self.claiming & !(1 << first)).trailing_zeros();
        let claims = [first, second].map(|cause| self.claims[cause as usize]);
        // Every other slot, and those that the second one leaves.
        let to_first = claims[0].min(empty.div_ceil(2).max(empty.saturating_sub(claims[1])));
        let to_second = claims[1].min(empty - to_first);
        let last = if to_first > to_second { first } else { second };
        self.turn = (last + 1) % BOOKS.len() as u32;
        self.book(first, to_first, paid);
        self.book(second, to_second, paid);
    }

    /// As [`Ledger::pay`] with more than two: rounds in which each gets one, until one has all it claims.
    fn pay_many(&mut self, empty: u32, paid: &mut Paid) {
        let many = self.claiming.count_ones();
        let (rounds, over) = (empty / many, empty % many);
        let least = self.claimants().map(|cause| self.claims[cause as usize]).min().unwrap_or(0);
        let lasts = rounds < least || rounds == least && over == 0;
        let (rounds, over) = if lasts { (rounds, over) } else { (least, 0) };
        for (n, cause) in (0..).zip(self.claimants()) {
            let slots = rounds + u32::from(n < over);
            // The one served last is the last of all, or the last of those who get one more.
            if over == 0 || n + 1 == over {
                self.turn = (cause + 1) % BOOKS.len() as u32;
            }
            self.book(cause, slots, paid);
        }
        self.pay(empty - rounds * many - over, paid);
    }

    /// The cause whose turn it is; one claims.
    fn next_claimant(&self) -> u32 {
        let behind = self.claiming & (u32::MAX << self.turn);
        (if behind != 0 { behind } else { self.claiming }).trailing_zeros()
    }

    /// The causes that claim any, the one whose turn it is first.
    #[inline]
    fn claimants(&self) -> impl Iterator<Item = u32> + use<> {
        let behind = self.claiming & (u32::MAX << self.turn);
        let mut parts = [behind, self.claiming ^ behind];
        std::iter::from_fn(move || {
            let part = if parts[0] != 0 { &mut parts[0] } else { &mut parts[1] };
            let cause = part.trailing_zeros();
            *part &= part.wrapping_sub(1);
            (cause < BOOKS.len() as u32).then_some(cause)
        })
    }

    #[inline]
    fn book(&mut self, cause: u32, slots: u32, paid: &mut Paid) {
        let claim = &mut self.claims[cause as usize];
        *claim -= slots;
        self.claiming &= !(u32::from(*claim == 0) << cause);
        paid.0[cause as usize] += u64::from(slots);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uarch::tests::Random;

    impl Ledger {
        /// One slot goes to the cause whose turn it is, if one claims any.
        fn pay_slot(&mut self, paid: &mut Paid) {
            if self.claiming != 0 {
                let cause = self.next_claimant();
                self.turn = (cause + 1) % BOOKS.len() as u32;
                self.book(cause, 1, paid);
            }
        }
    }

    #[test]
    fn paying_at_once_equals_paying_slot_by_slot() {
        const CAUSES: [Cause; 5] = [Cause::Sequencer, Cause::Serial, Cause::Resteer, Cause::Dram, Cause::Store];
        let mut r = Random(9);
        let (mut whole, mut slots) = (Ledger::default(), Ledger::default());
        let (mut a, mut b) = (Paid::default(), Paid::default());
        let mut by_claimants = [0; 6];
        for n in 0..15_000 {
            for _ in 0..r.below(3) {
                let (cause, n) = (CAUSES[r.below(5) as usize], r.below(40) as u32);
                whole.claim(cause, n, 100);
                slots.claim(cause, n, 100);
            }
            by_claimants[whole.claiming.count_ones() as usize] += 1;
            // Fewer than are claimed, about as many, and more.
            let empty = r.below([10, 24, 60][n / 500 % 3]) as u32;
            // As ten instructions, in one piece or two, that wait to be booked.
            let first = r.below(u64::from(empty) + 1) as u32;
            whole.run(10, 60 - first);
            whole.run(10, 60 - (empty - first));
            whole.settle(&mut a);
            (0..empty).for_each(|_| slots.pay_slot(&mut b));
            assert_eq!(whole, slots);
        }
        assert_eq!(a, b);
        assert!(CAUSES.into_iter().all(|cause| a.0[cause as usize] > 1000), "{a:?}");
        assert!(by_claimants.into_iter().all(|n| n > 500), "{by_claimants:?}");
    }
}
