//! Who ran: counts by address space, and whose that is.
//!
//! The watch is told of every load of CR3 and settles behind it, so the counts of an address space are exact: in user mode
//! they are those of its process. In kernel mode they hold besides what interrupts and threads of the kernel did in it, for
//! these run in whatever address space they find. A Linux guest's own tables say which process it is ([`Linux::owner`]):
//! when an address space is left, and before that at growing distances, for who is dead by then has no name any more.
//!
//! [`Linux::owner`]: super::guest::linux::Linux::owner

use super::guest::kernel::Kernel;
use super::guest::space::{ADDRESS, Space};
use super::meter::{Values, add, minus};
use crate::pc::Glance;
use std::collections::BTreeMap;

/// Instructions in an address space after which its name is asked for first; then at twice that, and so on.
const FIRST_LOOK: u64 = 1 << 14;

/// An address space, and who lived in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Physical address of its page tables: CR3 without its low bits.
    pub root: u64,
    /// Number, where it is known; 0 is the kernel itself.
    pub pid: Option<u32>,
    /// Its last name.
    pub name: Option<String>,
}

impl Process {
    /// As perf writes it: `name-number`, or `cr3-root` of one that is not known.
    pub fn label(&self) -> String {
        match (self.pid, &self.name) {
            (Some(0), Some(name)) => name.clone(),
            (Some(pid), Some(name)) => format!("{name}-{pid}"),
            _ => format!("cr3-{:x}", self.root),
        }
    }
}

/// Counts of one processor, by number of the process.
pub type Cells = BTreeMap<usize, Values>;

/// A processor within an address space.
#[derive(Clone, Debug)]
struct Stay {
    process: usize,
    /// What the processor had counted when it came, and instructions it had retired.
    since: Values,
    from: u64,
    /// So many instructions later its name is asked for.
    ask: u64,
    /// CR3 has been loaded since.
    loaded: bool,
}

/// The account of all processors.
pub struct Processes {
    all: Vec<Process>,
    /// By root: who lives there now.
    latest: BTreeMap<u64, usize>,
    stays: Vec<Stay>,
    cells: Vec<Cells>,
    /// What is known of the guest's kernel.
    pub kernel: Kernel,
}

impl Processes {
    /// Of so many processors, and so many events.
    pub fn new(processors: usize, events: usize) -> Processes {
        let first = Process { root: 0, pid: None, name: None };
        let stay = Stay { process: 0, since: vec![[0; 2]; events], from: 0, ask: FIRST_LOOK, loaded: false };
        Processes {
            all: vec![first],
            latest: BTreeMap::from([(0, 0)]),
            stays: vec![stay; processors],
            cells: vec![Cells::new(); processors],
            kernel: Kernel::default(),
        }
    }

    /// All that have run, in order of their first turn.
    pub fn all(&self) -> &[Process] {
        &self.all
    }

    /// How many more instructions until the next name is asked for.
    pub fn distance(&self, processor: usize, instructions: u64) -> u64 {
        let stay = &self.stays[processor];
        if !self.kernel.is_expected() {
            return u64::MAX;
        }
        stay.from.saturating_add(stay.ask).saturating_sub(instructions)
    }

    /// `processor` loads CR3 now.
    pub fn loaded(&mut self, processor: usize) {
        self.stays[processor].loaded = true;
    }

    /// Is there something to be done for `processor`?
    pub fn is_due(&self, processor: usize, instructions: u64) -> bool {
        self.stays[processor].loaded || self.distance(processor, instructions) == 0
    }

    /// Processor `n` has counted `values`: closes the account of the address space that it has left, and asks for names.
    pub fn look(&mut self, at: &Glance<'_>, n: usize, values: &Values) {
        let cpu = &at.cpus[n];
        let (space, counts) = (Space::of(cpu, at.ram), cpu.counts());
        self.kernel.learn(&space, at.ram);
        let (stayed, root) = (self.all[self.stays[n].process].root, cpu.cr(3).unwrap_or(0) & ADDRESS);
        let left = std::mem::take(&mut self.stays[n].loaded) && root != stayed;
        let owner = self.kernel.linux.as_ref().and_then(|l| l.owner(cpu, &space, stayed, left));
        self.named(n, owner);
        let now = counts.kernel.instructions + counts.user.instructions;
        if left {
            self.cells(n, values);
            let process = self.at_root(root);
            self.stays[n] = Stay { process, since: values.clone(), from: now, ask: FIRST_LOOK, loaded: false };
        } else if self.distance(n, now) == 0 {
            self.stays[n].ask = self.stays[n].ask.saturating_mul(2);
        }
    }

    /// Who lives at `root`, as far as is known.
    fn at_root(&mut self, root: u64) -> usize {
        let next = self.all.len();
        let process = *self.latest.entry(root).or_insert(next);
        if process == next {
            self.all.push(Process { root, pid: None, name: None });
        }
        process
    }

    /// The one with whom processor `n` stays is `owner`. Another number than before: the page tables have a new tenant,
    /// who has been there for all of this stay.
    fn named(&mut self, n: usize, owner: Option<(u32, String)>) {
        let Some((pid, name)) = owner else { return };
        let process = &mut self.all[self.stays[n].process];
        let (pid, name) = (Some(pid), Some(name));
        if process.pid.is_none() || process.pid == pid {
            (process.pid, process.name) = (pid, name);
            return;
        }
        let new = Process { root: process.root, pid, name };
        self.latest.insert(new.root, self.all.len());
        self.stays[n].process = self.all.len();
        self.all.push(new);
    }

    /// All counts of processor `n`, which stands at `values`.
    pub fn cells(&mut self, n: usize, values: &Values) -> Cells {
        let stay = &mut self.stays[n];
        add_to(&mut self.cells[n], stay.process, &minus(values, &stay.since));
        stay.since.clone_from(values);
        self.cells[n].clone()
    }
}

fn add_to(cells: &mut Cells, process: usize, values: &Values) {
    let sum = cells.entry(process).or_insert_with(|| vec![[0; 2]; values.len()]);
    add(sum, values);
}

/// What was counted between two points; nothing is left out but those that did not run.
pub fn between(from: &Cells, to: &Cells) -> Cells {
    let since = |(n, values): (&usize, &Values)| {
        let counted = from.get(n).map_or_else(|| values.clone(), |before| minus(values, before));
        counted.iter().any(|c| *c != [0, 0]).then_some((*n, counted))
    };
    to.iter().filter_map(since).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(pid: u32, name: &str) -> Option<(u32, String)> {
        Some((pid, name.to_owned()))
    }

    #[test]
    fn a_process_keeps_its_number_and_another_number_is_another_process() {
        let mut p = Processes::new(1, 1);
        assert_eq!(p.cells(0, &vec![[10, 5]]), Cells::from([(0, vec![[10, 5]])]));
        p.named(0, None);
        assert_eq!(p.all()[0].label(), "cr3-0");
        p.named(0, owner(7, "sh"));
        p.named(0, owner(7, "true"));
        assert_eq!((p.all().len(), p.all()[0].label().as_str()), (1, "true-7"));
        p.named(0, owner(8, "ls"));
        let before = p.cells[0].clone();
        let after = p.cells(0, &vec![[15, 5]]);
        assert_eq!(after, Cells::from([(0, vec![[10, 5]]), (1, vec![[5, 0]])]), "what was counted stays where it was");
        assert_eq!(between(&before, &after), Cells::from([(1, vec![[5, 0]])]));
        assert_eq!((p.at_root(0), p.at_root(0x1000)), (1, 2), "the root's latest tenant");
        p.named(0, owner(0, "kernel"));
        assert_eq!(p.all()[3].label(), "kernel");
    }

    #[test]
    fn names_are_asked_for_at_growing_distances_of_a_linux_guest_only() {
        let mut p = Processes::new(2, 1);
        assert_eq!(p.distance(0, 5), u64::MAX);
        p.kernel.expect();
        assert_eq!((p.distance(0, 5), p.is_due(0, FIRST_LOOK)), (FIRST_LOOK - 5, true));
        assert!(!p.is_due(1, 5));
        p.loaded(1);
        assert!(p.is_due(1, 5) && !p.is_due(0, 5));
    }
}
