//! How an event is computed: a sum of facts, less others, by ring.

use crate::catalog::Validity;
use crate::fact::{Fact, Most, SLOTS_PER_CYCLE};
use crate::now::Now;
use cpu_x86::Ring;

/// Most terms that are added.
const PLUS: usize = 8;
/// Most terms that are taken away.
const MINUS: usize = 3;

/// A formula over facts. Its value never falls while the facts grow as the processor and the model let them grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formula {
    plus: [Option<Fact>; PLUS],
    minus: [Option<Fact>; MINUS],
    /// Of slots, how many cycles they are.
    as_cycles: bool,
    /// The cycles in which it did not happen.
    inverted: bool,
    most: Most,
}

impl Formula {
    /// What never happens.
    pub const NEVER: Formula =
        Formula { plus: [None; PLUS], minus: [None; MINUS], as_cycles: false, inverted: false, most: Most::firm(0) };
    /// All unhalted cycles.
    pub const CYCLES: Formula = Formula::of(Fact::Cycles);

    /// One fact.
    pub const fn of(fact: Fact) -> Formula {
        let mut plus = [None; PLUS];
        plus[0] = Some(fact);
        Formula { plus, most: fact.most(), ..Formula::NEVER }
    }

    /// Where its terms exclude each other: an instruction causes it so often at most.
    pub const fn at_most(self, most: Most) -> Formula {
        Formula { most, ..self }
    }

    /// Slots as cycles: a sixth, rounded down.
    pub const fn as_cycles(self) -> Formula {
        Formula { as_cycles: true, most: Most::firm(1), ..self }
    }

    /// Less these, which are part of it.
    pub const fn less(mut self, facts: &[Fact]) -> Formula {
        let mut n = 0;
        while n < facts.len() {
            self.minus[n] = Some(facts[n]);
            n += 1;
        }
        self.most.always = false;
        self
    }

    /// With one more term.
    pub const fn and(self, fact: Fact) -> Formula {
        let (mut f, most) = (self.also(fact), fact.most());
        f.most = Most { times: f.most.times + most.times, firm: f.most.firm && most.firm, always: false };
        f
    }

    /// With one more term that no instruction causes besides another one.
    pub const fn also(mut self, fact: Fact) -> Formula {
        let mut n = 0;
        while self.plus[n].is_some() {
            n += 1;
        }
        self.plus[n] = Some(fact);
        self
    }

    /// The cycles in which it did not happen; it happens at most once in one.
    pub(crate) const fn inverted(self) -> Formula {
        Formula { inverted: true, most: Most::firm(1), ..self }
    }

    /// How often an instruction can cause it.
    pub const fn most(&self) -> Most {
        self.most
    }

    /// Its value in `ring`.
    pub fn count(&self, now: Now<'_>, ring: Ring) -> u64 {
        let sum = |terms: &[Option<Fact>]| terms.iter().flatten().fold(0u64, |n, f| n.wrapping_add(f.count(now, ring)));
        let mut n = sum(&self.plus).wrapping_sub(sum(&self.minus));
        if self.as_cycles {
            n /= SLOTS_PER_CYCLE;
        }
        if self.inverted { now.cycles(ring).wrapping_sub(n) } else { n }
    }

    /// Does it take an observer to compute it?
    pub fn is_observed(&self) -> bool {
        self.facts().any(Fact::is_observed)
    }

    /// What it can be worth at best: what its facts are.
    pub fn validity(&self) -> Validity {
        let exact = self.facts().all(|f| f.validity() == Validity::Exact);
        if exact && !self.as_cycles && !self.inverted { Validity::Exact } else { Validity::Modelled }
    }

    /// Its terms, added or taken away.
    pub fn facts(&self) -> impl Iterator<Item = Fact> {
        self.plus.into_iter().chain(self.minus).flatten()
    }
}
