//! Who gets on the PMU: one pass of perf's scheduler, as a pure function.
//!
//! Groups are offered list by list, in strict order: CPU pinned, task pinned, CPU flexible, task flexible. A group gets on
//! as a whole or not at all; those already on may move to other counters to make room, for every addition places
//! everybody anew. The first group of a list that does not fit closes the list for hardware: what comes after waits as
//! well, even if it would fit, so that nobody overtakes. A flexible group that waits asks for rotation; a pinned one
//! fails: its state is ERROR and reading it gives end of file.
//!
//! A consequence that surprises: behind a pinned group that fails, the other pinned groups of that context fail too.
//!
//! Source: spec/pmu.md 5.4; linux v6.12 kernel/events/core.c `merge_sched_in`, `group_can_go_on`, `ctx_resched`.

use super::constraint::{Counter, Counters, MOST, Want, assign};
use std::fmt;

/// The four classes, in the order in which they are scheduled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Opened on a CPU, pinned.
    CpuPinned,
    /// Opened on a task, pinned.
    TaskPinned,
    /// Opened on a CPU, flexible.
    CpuFlexible,
    /// Opened on a task, flexible.
    TaskFlexible,
}

impl Class {
    /// In scheduling order.
    pub const ORDER: [Class; 4] = [Class::CpuPinned, Class::TaskPinned, Class::CpuFlexible, Class::TaskFlexible];

    /// Whether its events want their counters always.
    pub const fn is_pinned(self) -> bool {
        matches!(self, Class::CpuPinned | Class::TaskPinned)
    }

    /// What tables call it.
    pub const fn name(self) -> &'static str {
        match self {
            Class::CpuPinned => "CPU pinned",
            Class::TaskPinned => "task pinned",
            Class::CpuFlexible => "CPU flexible",
            Class::TaskFlexible => "task flexible",
        }
    }
}

/// What becomes of a group in a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is on.
    On,
    /// Flexible, and did not fit: INACTIVE until rotation or another pass.
    Waits,
    /// Pinned, and did not fit: ERROR.
    Fails,
}

/// A pass under way: who is on so far.
#[derive(Clone, Debug)]
pub struct Pass {
    available: Counters,
    wants: [Want; MOST],
    on: usize,
    given: [Counter; MOST],
    can_add_hardware: bool,
}

impl Pass {
    /// A pass over a PMU with nobody on it.
    pub fn new(available: Counters) -> Pass {
        let nobody = Want { counters: Counters::NONE, last: None };
        Pass { available, wants: [nobody; MOST], on: 0, given: [Counter(0); MOST], can_add_hardware: true }
    }

    /// The next list begins: its first group is welcome again.
    pub fn next_list(&mut self) {
        self.can_add_hardware = true;
    }

    /// Offers a group, by what its members want of the hardware: nothing of it for software's events.
    pub fn admit(&mut self, group: impl Iterator<Item = Want>, pinned: bool) -> Verdict {
        let before = self.on;
        let mut fits = true;
        for want in group.filter(|want| !want.counters.is_empty()) {
            fits &= self.on < MOST;
            if self.on < MOST {
                self.wants[self.on] = want;
                self.on += 1;
            }
        }
        if self.on == before && fits {
            return Verdict::On;
        }
        let placed = if fits && self.can_add_hardware { self.place() } else { None };
        match placed {
            Some(given) => {
                self.given = given;
                Verdict::On
            }
            None => {
                self.on = before;
                self.can_add_hardware = false;
                if pinned { Verdict::Fails } else { Verdict::Waits }
            }
        }
    }

    fn place(&self) -> Option<[Counter; MOST]> {
        assign(self.available, &self.wants[..self.on])
    }

    /// The counters given, one for each hardware event admitted, in the order of admission.
    pub fn given(&self) -> &[Counter] {
        &self.given[..self.on]
    }
}

/// A group as the pure function sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its class.
    pub class: Class,
    /// What its hardware members want.
    pub wants: Vec<Want>,
}

/// What a whole pass decides: for each request its verdict and the counters of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// In the order of the requests.
    pub rows: Vec<(Class, Verdict, Vec<Counter>)>,
}

/// One full pass from an empty PMU: (counters, groups in the order of their lists) to (who is on, and where).
pub fn schedule(available: Counters, requests: &[Request]) -> Assignment {
    let mut pass = Pass::new(available);
    let mut verdicts = vec![Verdict::Waits; requests.len()];
    let mut places = vec![0..0; requests.len()];
    for class in Class::ORDER {
        pass.next_list();
        for (n, request) in requests.iter().enumerate().filter(|(_, request)| request.class == class) {
            let before = pass.given().len();
            verdicts[n] = pass.admit(request.wants.iter().copied(), class.is_pinned());
            places[n] = before..pass.given().len();
        }
    }
    let rows = requests.iter().zip(verdicts).zip(places);
    Assignment { rows: rows.map(|((r, verdict), at)| (r.class, verdict, pass.given()[at].to_vec())).collect() }
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (class, verdict, counters)) in self.rows.iter().enumerate() {
            let names: Vec<String> = counters.iter().map(Counter::to_string).collect();
            let text = match verdict {
                Verdict::On if names.is_empty() => "on, without hardware".to_owned(),
                Verdict::On => format!("on {}", names.join(" ")),
                Verdict::Waits => "waits".to_owned(),
                Verdict::Fails => "ERROR".to_owned(),
            };
            writeln!(f, "{n:>3}  {:<13}  {text}", class.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::constraint::counters_for;

    fn request(class: Class, configs: &[u64]) -> Request {
        let wants = configs.iter().map(|c| Want { counters: counters_for(*c), last: None }).collect();
        Request { class, wants }
    }

    #[test]
    fn classes_come_in_their_order_whatever_the_order_of_opening() {
        let one = |class| request(class, &[0x0400]);
        let requests = [Class::TaskFlexible, Class::CpuFlexible, Class::TaskPinned, Class::CpuPinned].map(one);
        let table = schedule(Counters::of(8, 4), &requests).to_string();
        let expected = "  0  task flexible  waits\n  1  CPU flexible   waits\n  2  task pinned    ERROR\n  \
                        3  CPU pinned     on FC3\n";
        assert_eq!(table, expected);
    }

    #[test]
    fn a_group_is_on_as_a_whole_or_not_at_all() {
        let requests = [request(Class::CpuFlexible, &[0xc4, 0xc5]), request(Class::CpuFlexible, &[0xc0, 0x3c, 0xc4])];
        let assignment = schedule(Counters::of(3, 1), &requests);
        assert_eq!(assignment.rows[0], (Class::CpuFlexible, Verdict::On, vec![Counter(0), Counter(1)]));
        assert_eq!(assignment.rows[1], (Class::CpuFlexible, Verdict::Waits, vec![]));
    }

    #[test]
    fn nobody_overtakes_within_a_list_but_software_and_the_next_list() {
        let requests = [
            request(Class::CpuFlexible, &[0xc4, 0xc5]),
            request(Class::CpuFlexible, &[0xc4]),
            request(Class::CpuFlexible, &[]),
            request(Class::TaskFlexible, &[0xc4]),
        ];
        let verdicts: Vec<Verdict> = schedule(Counters::of(1, 0), &requests).rows.iter().map(|row| row.1).collect();
        assert_eq!(verdicts, [Verdict::Waits, Verdict::Waits, Verdict::On, Verdict::On]);
    }

    #[test]
    fn behind_a_pinned_group_that_fails_the_other_pinned_ones_fail() {
        let requests = [
            request(Class::CpuPinned, &[0x0400]),
            request(Class::CpuPinned, &[0x0400]),
            request(Class::CpuPinned, &[0xc4]),
            request(Class::TaskPinned, &[0xc4]),
        ];
        let verdicts: Vec<Verdict> = schedule(Counters::of(8, 4), &requests).rows.iter().map(|row| row.1).collect();
        assert_eq!(verdicts, [Verdict::On, Verdict::Fails, Verdict::Fails, Verdict::On]);
    }

    #[test]
    fn those_on_move_to_make_room() {
        let requests = [request(Class::CpuFlexible, &[0xc4]), request(Class::CpuFlexible, &[0x04a4])];
        let rows = schedule(Counters::of(8, 0), &requests).rows;
        assert_eq!((&rows[0].2[..], &rows[1].2[..]), (&[Counter(1)][..], &[Counter(0)][..]));
    }
}
