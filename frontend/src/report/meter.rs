//! Counting over windows: the whole run, from a point on, intervals, regions that the guest marks.
//!
//! A point in virtual time is the same tick for every processor, and each is looked at when its own clock gets there; a
//! point in instructions is reached when all processors together have retired so many. A region begins and ends behind
//! the instruction that marks it: so the marking instruction at its end is counted, the one at its beginning is not, as
//! with a WRMSR that enables and disables a counter.

use super::event::{Event, Source};
use super::processes::{Cells, Process, Processes, between};
use crate::pc::{Glance, Watch};
use cpu_x86::Ring;
use pmu_model::Now;
use std::collections::BTreeMap;

/// In what windows are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Ticks of the TSC since power-on.
    Ticks,
    /// Instructions retired by all processors.
    Instructions,
}

/// Which windows are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// In what `from` and `every` are given.
    pub unit: Unit,
    /// Where counting begins.
    pub from: u64,
    /// Length of an interval, at least 1.
    pub every: Option<u64>,
}

impl Windows {
    /// The whole run.
    pub const RUN: Windows = Windows { unit: Unit::Ticks, from: 0, every: None };

    /// The `k`th point at which to look.
    fn point(&self, k: usize) -> Option<u64> {
        match (k as u64, self.every) {
            (0, _) => Some(self.from),
            (_, None) => None,
            (k, Some(every)) => Some(every.saturating_mul(k).saturating_add(self.from)),
        }
    }
}

/// User and kernel counts, one pair an event.
pub type Values = Vec<[u64; 2]>;

/// What one processor had counted at a point, and when; by process too, if that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Cut {
    tick: u64,
    values: Values,
    cells: Cells,
}

/// What `processor` has counted.
fn values(events: &[Event], source: &dyn Source, processor: usize) -> Values {
    let both = |e| [Ring::User, Ring::Kernel].map(|ring| source.value(e, ring, processor));
    events.iter().map(both).collect()
}

/// `a` without `b`.
pub fn minus(a: &Values, b: &Values) -> Values {
    a.iter().zip(b).map(|(a, b)| [a[0].wrapping_sub(b[0]), a[1].wrapping_sub(b[1])]).collect()
}

/// Adds `what` to `to`.
pub fn add(to: &mut Values, what: &Values) {
    for (to, n) in to.iter_mut().zip(what) {
        *to = [to[0].wrapping_add(n[0]), to[1].wrapping_add(n[1])];
    }
}

/// A region that has been entered.
#[derive(Clone, Debug, Default)]
struct Region {
    entered: u64,
    /// Where it was entered and not yet left.
    open: Option<Vec<Cut>>,
    /// Counts by processor so far, and by process.
    sums: Vec<Values>,
    cells: Vec<Cells>,
    /// Ticks so far.
    ticks: u64,
}

/// What a span of counting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All of it.
    Run,
    /// From `--from` to the end.
    Window,
    /// The nth interval, from 0.
    Interval(u64),
    /// A region of the guest's.
    Region {
        /// Its number.
        number: u32,
        /// How often it was entered.
        entered: u64,
        /// It was not left before the end of the run.
        open: bool,
    },
}

/// Counts between two points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// What it is.
    pub kind: Kind,
    /// First and last tick; `None` for a region, which has many.
    pub place: Option<(u64, u64)>,
    /// How long, in ticks.
    pub ticks: u64,
    /// By processor, then by event.
    pub counts: Vec<Values>,
    /// The same by process, if that was wanted: those that ran, in order of their first turn.
    pub processes: Vec<(Process, Vec<Values>)>,
}

/// Looks at the machine where the windows begin and end.
pub struct Meter {
    windows: Windows,
    events: Vec<Event>,
    /// By processor, then by point.
    cuts: Vec<Vec<Cut>>,
    /// Instructions of each processor when it was last asked.
    seen: Vec<u64>,
    marks: Vec<u32>,
    regions: BTreeMap<u32, Region>,
    processes: Option<Processes>,
}

impl Meter {
    /// A meter of `events` on a machine of so many processors.
    pub fn new(events: Vec<Event>, windows: Windows, processors: usize) -> Meter {
        Meter {
            windows,
            events,
            cuts: vec![Vec::new(); processors],
            seen: vec![0; processors],
            marks: Vec::new(),
            regions: BTreeMap::new(),
            processes: None,
        }
    }

    /// Counts by process too; of a Linux guest they get their names.
    pub fn by_process(&mut self, is_linux: bool) {
        let processes = self.processes.insert(Processes::new(self.cuts.len(), self.events.len()));
        if is_linux {
            processes.kernel.expect();
        }
    }

    /// The events, in the order of [`Values`].
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What `now` is in the windows' unit, for `processor`.
    fn position(&mut self, processor: usize, now: Now<'_>) -> u64 {
        let now = now.counts;
        self.seen[processor] = now.kernel.instructions + now.user.instructions;
        match self.windows.unit {
            Unit::Ticks => now.clock,
            Unit::Instructions => self.seen.iter().sum(),
        }
    }

    /// How far it is to the next point.
    fn distance(&mut self, processor: usize, now: Now<'_>) -> u64 {
        let position = self.position(processor, now);
        self.windows.point(self.cuts[processor].len()).map_or(u64::MAX, |p| p.saturating_sub(position))
    }

    fn cut_of(&mut self, at: &Glance<'_>, n: usize, tick: u64) -> Cut {
        let values = values(&self.events, at, n);
        let cells = self.processes.as_mut().map_or_else(Cells::new, |p| {
            p.look(at, n, &values);
            p.cells(n, &values)
        });
        Cut { tick, values, cells }
    }

    fn cut(&mut self, at: &Glance<'_>, processor: usize, tick: u64) {
        let cut = self.cut_of(at, processor, tick);
        self.cuts[processor].push(cut);
    }

    /// All processors as they stand.
    fn all(&mut self, at: &Glance<'_>) -> Vec<Cut> {
        (0..at.processors()).map(|n| self.cut_of(at, n, at.cpus[n].counts().clock)).collect()
    }

    /// Is it time to see who runs?
    fn is_process_due(&self, processor: usize, now: Now<'_>) -> bool {
        let instructions = now.counts.kernel.instructions + now.counts.user.instructions;
        self.processes.as_ref().is_some_and(|p| p.is_due(processor, instructions))
    }

    fn marked(&mut self, value: u32, at: &Glance<'_>) {
        let now = self.all(at);
        let region = self.regions.entry(value >> 1).or_default();
        match (value & 1, region.open.take()) {
            (1, None) => {
                region.entered += 1;
                region.open = Some(now);
            }
            // Entered again without an end: it goes on.
            (1, open) => region.open = open,
            (_, Some(begin)) => region.close(at.processor, &begin, &now),
            (_, None) => tracing::warn!(region = value >> 1, "a region ends that has not begun"),
        }
    }

    /// The spans, once the run is over and stands at `end`.
    pub fn finish(mut self, end: &Glance<'_>) -> Vec<Span> {
        let last = self.all(end);
        let reached = self.cuts.iter().map(Vec::len).max().unwrap_or(0).max(1);
        for (cuts, last) in self.cuts.iter_mut().zip(&last) {
            // A processor that was halted passed these points and did nothing since.
            for k in cuts.len()..reached {
                let point = if self.windows.unit == Unit::Ticks { self.windows.point(k) } else { None };
                cuts.push(Cut { tick: point.unwrap_or(last.tick).min(last.tick), ..last.clone() });
            }
            cuts.push(last.clone());
        }
        let whole = if self.windows.from == 0 { Kind::Run } else { Kind::Window };
        let mut spans = vec![self.span(whole, 0, reached)];
        if self.windows.every.is_some() {
            spans.extend((0..reached).map(|k| self.span(Kind::Interval(k as u64), k, k + 1)));
            // What the last point cut off may be nothing at all.
            spans.pop_if(|s| s.ticks == 0 && s.kind != Kind::Interval(0));
        }
        for (number, mut region) in std::mem::take(&mut self.regions) {
            let open = region.open.take();
            if let Some(begin) = &open {
                region.close(end.processor, begin, &last);
            }
            let kind = Kind::Region { number, entered: region.entered, open: open.is_some() };
            let processes = self.by_name(&region.cells);
            spans.push(Span { kind, place: None, ticks: region.ticks, counts: region.sums, processes });
        }
        spans
    }

    /// The counts from point `a` to point `b`.
    fn span(&self, kind: Kind, a: usize, b: usize) -> Span {
        let begin = self.cuts.iter().map(|c| c[a].tick).max().unwrap_or(0);
        let end = self.cuts.iter().map(|c| c[b].tick).max().unwrap_or(0);
        let counts = self.cuts.iter().map(|c| minus(&c[b].values, &c[a].values)).collect();
        let cells: Vec<Cells> = self.cuts.iter().map(|c| between(&c[a].cells, &c[b].cells)).collect();
        let processes = self.by_name(&cells);
        Span { kind, place: Some((begin, end)), ticks: end.saturating_sub(begin), counts, processes }
    }

    /// `cells` of each processor as rows of each process.
    fn by_name(&self, cells: &[Cells]) -> Vec<(Process, Vec<Values>)> {
        let all = self.processes.iter().flat_map(|p| p.all().iter().enumerate());
        let nothing = vec![[0; 2]; self.events.len()];
        let ran = all.filter(|(k, _)| cells.iter().any(|c| c.contains_key(k)));
        ran.map(|(k, p)| (p.clone(), cells.iter().map(|c| c.get(&k).unwrap_or(&nothing).clone()).collect())).collect()
    }
}

impl Region {
    fn close(&mut self, processor: usize, begin: &[Cut], now: &[Cut]) {
        self.sums.resize(now.len(), vec![[0; 2]; now.first().map_or(0, |c| c.values.len())]);
        for ((sum, from), to) in self.sums.iter_mut().zip(begin).zip(now) {
            add(sum, &minus(&to.values, &from.values));
        }
        self.cells.resize(now.len(), Cells::new());
        for ((sums, from), to) in self.cells.iter_mut().zip(begin).zip(now) {
            for (process, counted) in between(&from.cells, &to.cells) {
                add(sums.entry(process).or_insert_with(|| vec![[0; 2]; counted.len()]), &counted);
            }
        }
        self.ticks += now[processor].tick.saturating_sub(begin[processor].tick);
    }
}

impl Watch for Meter {
    fn deadline(&mut self, processor: usize, now: Now<'_>, _: Ring) -> u64 {
        // An instruction takes a tick.
        let instructions = now.counts.kernel.instructions + now.counts.user.instructions;
        let name = self.processes.as_ref().map_or(u64::MAX, |p| p.distance(processor, instructions));
        self.distance(processor, now).min(name)
    }

    fn is_due(&mut self, processor: usize, now: Now<'_>) -> bool {
        self.distance(processor, now) == 0 || !self.marks.is_empty() || self.is_process_due(processor, now)
    }

    fn look(&mut self, at: &Glance<'_>) {
        let (n, now) = (at.processor, at.cpu().counts());
        while self.distance(n, (&now).into()) == 0 {
            match self.windows.unit {
                Unit::Ticks => {
                    let tick = self.windows.point(self.cuts[n].len()).unwrap_or(now.clock);
                    self.cut(at, n, tick);
                }
                Unit::Instructions => {
                    let tick = at.cpus.iter().map(|c| c.counts().clock).max().unwrap_or(0);
                    (0..at.processors()).for_each(|m| self.cut(at, m, tick));
                }
            }
        }
        for value in std::mem::take(&mut self.marks) {
            self.marked(value, at);
        }
        if self.is_process_due(n, (&now).into()) {
            let values = values(&self.events, at, n);
            self.processes.iter_mut().for_each(|p| p.look(at, n, &values));
        }
    }

    fn space_loaded(&mut self, processor: usize) {
        self.processes.iter_mut().for_each(|p| p.loaded(processor));
    }

    fn mark(&mut self, _: usize, value: u32) {
        self.marks.push(value);
    }
}
