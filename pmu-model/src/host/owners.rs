//! Who owned which counter when.
//!
//! Source: spec/pmu.md 5 is about nothing else.

use super::constraint::Counter;
use std::fmt;

/// What a counter is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A host event, by its place in the scenario.
    Event(usize),
    /// A guest, by its place in the scenario, and the counter that it believes to use.
    Guest(usize, u8),
}

/// One owner of one counter, from a time to a time, in cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The physical CPU.
    pub cpu: u32,
    /// The counter.
    pub counter: Counter,
    /// Whose it was.
    pub owner: Owner,
    /// From this cycle on.
    pub from: u64,
    /// Up to, not including, this one.
    pub to: u64,
}

/// The record of a CPU's counters. A counter that nobody owns has no span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    closed: Vec<Span>,
    open: Vec<Span>,
}

impl Owners {
    /// What holds from `now` on, as (counter, owner). Spans that end are closed; those of no length vanish.
    pub fn observe(&mut self, cpu: u32, now: u64, held: &[(Counter, Owner)]) {
        let mut at = 0;
        while at < self.open.len() {
            let span = self.open[at];
            if span.cpu != cpu || held.contains(&(span.counter, span.owner)) {
                at += 1;
                continue;
            }
            self.open.swap_remove(at);
            self.close(Span { to: now, ..span });
        }
        for (counter, owner) in held {
            let same = |span: &Span| span.cpu == cpu && span.counter == *counter && span.owner == *owner;
            if !self.open.iter().any(same) {
                self.open.push(Span { cpu, counter: *counter, owner: *owner, from: now, to: now });
            }
        }
    }

    /// A span that begins where the last one of the same owner ended goes on with it.
    fn close(&mut self, span: Span) {
        if span.from == span.to {
            return;
        }
        let recent = self.closed.iter_mut().rev().take(64);
        let same = |s: &&mut Span| (s.cpu, s.counter, s.owner, s.to) == (span.cpu, span.counter, span.owner, span.from);
        match recent.into_iter().find(same) {
            Some(before) => before.to = span.to,
            None => self.closed.push(span),
        }
    }

    /// Everything up to `end`, by CPU, counter and time.
    pub fn finish(mut self, end: u64) -> Vec<Span> {
        let open = std::mem::take(&mut self.open);
        open.into_iter().for_each(|span| self.close(Span { to: end, ..span }));
        self.closed.sort_by_key(|span| (span.cpu, span.counter, span.from));
        self.closed
    }
}

/// The spans as a table: one line each, with `name` for owners.
pub struct Table<'a, F: Fn(Owner) -> String> {
    /// What is shown.
    pub spans: &'a [Span],
    /// What owners are called.
    pub name: F,
}

impl<F: Fn(Owner) -> String> fmt::Display for Table<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>3}  {:<4} {:>14} {:>14}  owner", "cpu", "", "from", "to")?;
        for span in self.spans {
            let counter = span.counter.to_string();
            writeln!(
                f,
                "{:>3}  {counter:<4} {:>14} {:>14}  {}",
                span.cpu,
                span.from,
                span.to,
                (self.name)(span.owner)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_open_close_join_and_print() {
        let (a, b) = ((Counter(0), Owner::Event(0)), (Counter::fixed(1), Owner::Guest(2, 33)));
        let mut owners = Owners::default();
        owners.observe(0, 0, &[a]);
        owners.observe(0, 10, &[a, b]);
        owners.observe(0, 20, &[b]);
        owners.observe(0, 20, &[a, b]);
        owners.observe(1, 25, &[]);
        owners.observe(0, 30, &[]);
        let spans = owners.finish(50);
        let table = Table { spans: &spans, name: |owner| format!("{owner:?}") }.to_string();
        let expected = "cpu                 from             to  owner\n  \
                        0  GP0               0             30  Event(0)\n  \
                        0  FC1              10             30  Guest(2, 33)\n";
        assert_eq!(table, expected);
    }
}
