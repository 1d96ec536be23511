//! Who did it: every happening falls into one of four cells, host or guest, user or kernel.
//!
//! A hardware counter cannot see the cell. It sees the ring (CPL 0 or above: the OS and USR bits of its selector) and
//! whether `IA32_PERF_GLOBAL_CTRL` enables it; that a host event skips the guest, or the reverse, is made by loading
//! another `GLOBAL_CTRL` at VM entry and exit. So the cells are kept here beside the PMU, as the truth that counters are
//! held against: [`Ledger`] is what happened, [`super::registers::Pmu`] what was counted.
//!
//! Source: spec/pmu.md 5.3 and 1.8.4.

use std::ops::{Add, AddAssign, Index, IndexMut, Sub};

/// On which side of VM entry the core is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum World {
    /// VMX root: the hypervisor and everything else that is the host's.
    Host,
    /// VMX non-root.
    Guest,
}

/// What a selector's USR and OS bits tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Privilege {
    /// CPL above 0.
    User,
    /// CPL 0.
    Kernel,
}

/// One of the four cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Host or guest.
    pub world: World,
    /// User or kernel.
    pub privilege: Privilege,
}

impl Cell {
    /// All four, in the order in which tables show them.
    pub const ALL: [Cell; 4] = [
        Cell::new(World::Host, Privilege::User),
        Cell::new(World::Host, Privilege::Kernel),
        Cell::new(World::Guest, Privilege::User),
        Cell::new(World::Guest, Privilege::Kernel),
    ];

    /// The cell of a world and a privilege.
    pub const fn new(world: World, privilege: Privilege) -> Cell {
        Cell { world, privilege }
    }

    /// Its place in [`Cell::ALL`].
    pub const fn index(self) -> usize {
        self.world as usize * 2 + self.privilege as usize
    }

    /// What tables call it.
    pub const fn name(self) -> &'static str {
        ["host user", "host kernel", "guest user", "guest kernel"][self.index()]
    }
}

/// A count in each cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cells(pub [u64; 4]);

impl Cells {
    /// The sum over all cells.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, n| sum.wrapping_add(*n))
    }

    /// The sum over the cells that `selected` names.
    pub fn sum(&self, selected: CellMask) -> u64 {
        let chosen = Cell::ALL.into_iter().filter(|cell| selected.holds(*cell));
        chosen.fold(0, |sum, cell| sum.wrapping_add(self[cell]))
    }

    /// The sum over one world.
    pub fn of(&self, world: World) -> u64 {
        self.sum(CellMask::of(world))
    }
}

impl Index<Cell> for Cells {
    type Output = u64;
    fn index(&self, cell: Cell) -> &u64 {
        &self.0[cell.index()]
    }
}

impl IndexMut<Cell> for Cells {
    fn index_mut(&mut self, cell: Cell) -> &mut u64 {
        &mut self.0[cell.index()]
    }
}

impl Sub for Cells {
    type Output = Cells;
    fn sub(self, before: Cells) -> Cells {
        Cells(std::array::from_fn(|n| self.0[n].wrapping_sub(before.0[n])))
    }
}

/// A set of cells: bit n is cell n of [`Cell::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellMask(pub u8);

impl CellMask {
    /// Nowhere.
    pub const NONE: CellMask = CellMask(0);
    /// Everywhere.
    pub const ALL: CellMask = CellMask(15);

    /// Both cells of a world.
    pub const fn of(world: World) -> CellMask {
        CellMask(3 << (world as u8 * 2))
    }

    /// Whether the cell is in it.
    pub const fn holds(self, cell: Cell) -> bool {
        self.0 >> cell.index() & 1 != 0
    }
}

macro_rules! happenings {
    ($($(#[$doc:meta])* $name:ident = $config:literal, $text:literal;)*) => {
        /// A kind of thing that happens in a core and that a counter can count.
        ///
        /// Encodings (event select in bits 7:0, unit mask in 15:8) are those of Sapphire Rapids; see `catalog`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Happening { $($(#[$doc])* $name,)* }

        impl Happening {
            /// All of them.
            pub const ALL: &[Happening] = &[$(Happening::$name,)*];

            /// Event select and unit mask.
            pub const fn config(self) -> u64 {
                match self { $(Happening::$name => $config,)* }
            }

            /// perf's name where it has one, Intel's otherwise.
            pub const fn name(self) -> &'static str {
                match self { $(Happening::$name => $text,)* }
            }

            /// What an event select and unit mask count; `None` where the abstract core has no such thing.
            pub const fn of_config(config: u64) -> Option<Happening> {
                match config { $($config => Some(Happening::$name),)* _ => None }
            }
        }
    };
}

happenings! {
    /// INST_RETIRED.ANY_P.
    Retired = 0x00c0, "instructions";
    /// CPU_CLK_UNHALTED.THREAD_P.
    Cycles = 0x003c, "cycles";
    /// CPU_CLK_UNHALTED.REF_TSC_P.
    RefCycles = 0x013c, "ref-cycles";
    /// BR_INST_RETIRED.ALL_BRANCHES.
    Branches = 0x00c4, "branches";
    /// BR_MISP_RETIRED.ALL_BRANCHES.
    BranchMisses = 0x00c5, "branch-misses";
    /// LONGEST_LAT_CACHE.MISS.
    CacheMisses = 0x412e, "cache-misses";
    /// TOPDOWN.SLOTS_P.
    Slots = 0x01a4, "slots";
    /// UOPS_RETIRED.SLOTS: slots used by what retired.
    Retiring = 0x02c2, "topdown-retiring";
    /// TOPDOWN.BAD_SPEC_SLOTS.
    BadSpeculation = 0x04a4, "topdown-bad-spec";
    /// IDQ_UOPS_NOT_DELIVERED.CORE: slots the front end left empty.
    FrontEnd = 0x019c, "topdown-fe-bound";
    /// TOPDOWN.BACKEND_BOUND_SLOTS.
    BackEnd = 0x02a4, "topdown-be-bound";
    /// UOPS_RETIRED.HEAVY, a part of retiring.
    Heavy = 0x01c2, "topdown-heavy-ops";
    /// TOPDOWN.BR_MISPREDICT_SLOTS, a part of bad speculation.
    Mispredicted = 0x08a4, "topdown-br-mispredict";
    /// Slots lost to fetch latency, a part of the front end. Differs: a pseudo encoding, for the part has none; only
    /// PERF_METRICS shows it.
    FetchLatency = 0x8600, "topdown-fetch-lat";
    /// TOPDOWN.MEMORY_BOUND_SLOTS, a part of the back end.
    MemoryBound = 0x10a4, "topdown-mem-bound";
}

impl Happening {
    /// What an event of perf's counts: like [`Happening::of_config`], and the pseudo encodings that only fixed counters
    /// and the metrics have.
    pub const fn of_event(config: u64) -> Option<Happening> {
        match config & 0xffff {
            0x0100 => Some(Happening::Retired),
            0x0300 => Some(Happening::RefCycles),
            0x0400 => Some(Happening::Slots),
            0x8000 => Some(Happening::Retiring),
            0x8100 => Some(Happening::BadSpeculation),
            0x8200 => Some(Happening::FrontEnd),
            0x8300 => Some(Happening::BackEnd),
            0x8400 => Some(Happening::Heavy),
            0x8500 => Some(Happening::Mispredicted),
            0x8700 => Some(Happening::MemoryBound),
            other => Happening::of_config(other),
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Happening> {
        Happening::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// How many kinds of happenings there are.
pub const KINDS: usize = Happening::ALL.len();

/// How often each kind happened in a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Burst(pub [u64; KINDS]);

impl Burst {
    /// Instructions that take one cycle of six slots each, all of them used: what the `atomic` timing model makes.
    pub fn of_instructions(n: u64) -> Burst {
        let slots = n.wrapping_mul(6);
        Burst::default()
            .with(Happening::Retired, n)
            .with(Happening::Cycles, n)
            .with(Happening::RefCycles, n)
            .with(Happening::Slots, slots)
            .with(Happening::Retiring, slots)
    }

    /// The same with another number of one kind.
    #[must_use]
    pub fn with(mut self, kind: Happening, n: u64) -> Burst {
        self[kind] = n;
        self
    }
}

impl Index<Happening> for Burst {
    type Output = u64;
    fn index(&self, kind: Happening) -> &u64 {
        &self.0[kind as usize]
    }
}

impl IndexMut<Happening> for Burst {
    fn index_mut(&mut self, kind: Happening) -> &mut u64 {
        &mut self.0[kind as usize]
    }
}

impl Add for Burst {
    type Output = Burst;
    fn add(self, other: Burst) -> Burst {
        Burst(std::array::from_fn(|n| self.0[n].wrapping_add(other.0[n])))
    }
}

impl AddAssign for Burst {
    fn add_assign(&mut self, other: Burst) {
        *self = *self + other;
    }
}

/// The truth: what happened, by kind and cell, whoever counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    cells: [Cells; KINDS],
}

impl Ledger {
    /// Enters a stretch that ran in one cell.
    pub fn enter(&mut self, cell: Cell, burst: &Burst) {
        for (cells, n) in self.cells.iter_mut().zip(burst.0) {
            cells[cell] = cells[cell].wrapping_add(n);
        }
    }

    /// What was entered since `before`.
    #[must_use]
    pub fn since(&self, before: &Ledger) -> Ledger {
        Ledger { cells: std::array::from_fn(|n| self.cells[n] - before.cells[n]) }
    }

    /// One world's part of it.
    #[must_use]
    pub fn only(&self, world: World) -> Ledger {
        let of = |cells: Cells| Cells(std::array::from_fn(|n| if n / 2 == world as usize { cells.0[n] } else { 0 }));
        Ledger { cells: self.cells.map(of) }
    }

    /// Adds another account.
    pub fn add(&mut self, other: &Ledger) {
        for (cells, more) in self.cells.iter_mut().zip(other.cells) {
            Cell::ALL.into_iter().for_each(|cell| cells[cell] = cells[cell].wrapping_add(more[cell]));
        }
    }

    /// The four cells of a kind.
    pub fn of(&self, kind: Happening) -> Cells {
        self.cells[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_finds_its_happening_again() {
        for kind in Happening::ALL {
            assert_eq!(Happening::of_config(kind.config()), Some(*kind));
        }
        assert_eq!(Happening::of_config(0x0001), None);
    }

    #[test]
    fn a_mask_selects_the_cells_of_its_bits() {
        let cells = Cells([1, 10, 100, 1000]);
        assert_eq!(cells.sum(CellMask::ALL), 1111);
        assert_eq!(cells.of(World::Host), 11);
        assert_eq!(cells.of(World::Guest), 1100);
        assert_eq!(cells.sum(CellMask(0b1010)), 1010);
        assert_eq!(cells.sum(CellMask::NONE), 0);
    }

    #[test]
    fn the_ledger_keeps_cells_apart() {
        let mut ledger = Ledger::default();
        for (n, cell) in Cell::ALL.into_iter().enumerate() {
            ledger.enter(cell, &Burst::of_instructions(7 + n as u64));
        }
        assert_eq!(ledger.of(Happening::Retired), Cells([7, 8, 9, 10]));
        assert_eq!(ledger.of(Happening::Slots), Cells([42, 48, 54, 60]));
        assert_eq!(ledger.of(Happening::Branches), Cells::default());
    }
}
