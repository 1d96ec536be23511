//! What is asked of `perf_event_open`: the attributes of an event, and where they let it count.
//!
//! The exclude bits are the host's side of the argument "who counted what". Ring bits go into the selector; the world
//! bits go into two masks of counters from which the two values of `GLOBAL_CTRL` are made (spec/pmu.md 5.2, 5.3):
//!
//! ```text
//!                    exclude_user  exclude_kernel      exclude_host  exclude_guest
//!   host  user            -              x                  -              x         x: the cell stays
//!   host  kernel          x              -                  -              x         -: the bit takes it away
//!   guest user            -              x                  x              -
//!   guest kernel          x              -                  x              -
//! ```
//!
//! Source: spec/pmu.md 5.3, 5.4; linux v7.2 kernel/events/core.c, include/uapi/linux/perf_event.h.

use super::cell::{Cell, CellMask, Happening, Privilege, World};
use thiserror::Error;

/// Number of an event: what a file descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId(pub u32);

/// Number of a task of the host. A vCPU is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskId(pub u32);

/// `attr.type`: whose event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// PERF_TYPE_HARDWARE, 0: generic events by number.
    Hardware,
    /// PERF_TYPE_SOFTWARE, 1: counted by the kernel, needs no counter.
    Software,
    /// PERF_TYPE_RAW, 4: event select and unit mask.
    Raw,
}

/// `attr.sample_period` or `attr.sample_freq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// The event only counts.
    None,
    /// A sample each so many events, at least 1.
    Period(u64),
    /// So many samples a second: the period is adapted.
    Frequency(u64),
}

/// The exclude bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exclude {
    /// CPL above 0, of host and guest.
    pub user: bool,
    /// CPL 0, of host and guest.
    pub kernel: bool,
    /// VMX root.
    pub host: bool,
    /// VMX non-root.
    pub guest: bool,
    /// The idle task: by software, which stops the event there.
    pub idle: bool,
    /// The hypervisor: x86 ignores it.
    pub hv: bool,
}

impl Exclude {
    /// From bits, as an exhaustive test walks them: 0 user, 1 kernel, 2 host, 3 guest.
    pub const fn from_bits(bits: u8) -> Exclude {
        Exclude {
            user: bits & 1 != 0,
            kernel: bits & 2 != 0,
            host: bits & 4 != 0,
            guest: bits & 8 != 0,
            idle: false,
            hv: false,
        }
    }

    /// perf's modifiers (`:u`, `:kH`, ...). Naming a ring takes the others away, and likewise a world.
    ///
    /// # Errors
    /// The letter that is none of `u`, `k`, `h`, `G`, `H`, `I`, `p`, `P`, `D`.
    pub fn from_modifiers(letters: &str) -> Result<Exclude, char> {
        if let Some(unknown) = letters.chars().find(|c| !"ukhGHIpPD".contains(*c)) {
            return Err(unknown);
        }
        let named = |c| letters.contains(c);
        let ring = named('u') || named('k') || named('h');
        let world = named('G') || named('H');
        Ok(Exclude {
            user: ring && !named('u'),
            kernel: ring && !named('k'),
            hv: ring && !named('h'),
            host: world && !named('H'),
            guest: world && !named('G'),
            idle: named('I'),
        })
    }

    /// Where an event with these bits counts.
    pub fn cells(self) -> CellMask {
        let excluded = |cell: Cell| {
            let ring = if cell.privilege == Privilege::User { self.user } else { self.kernel };
            let world = if cell.world == World::Host { self.host } else { self.guest };
            ring || world
        };
        let counted = Cell::ALL.into_iter().filter(|cell| !excluded(*cell));
        CellMask(counted.fold(0, |mask, cell| mask | 1 << cell.index()))
    }
}

/// The attributes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Whose event.
    pub kind: Type,
    /// Which one: a number of `PERF_COUNT_HW_*`, or event select and unit mask.
    pub config: u64,
    /// Whether and how often it samples.
    pub sample: Sample,
    /// Wants its counter always, or fails.
    pub pinned: bool,
    /// Opened without being enabled.
    pub disabled: bool,
    /// Tasks that the task forks from now on are counted too, each by an event of its own that the first one sums up
    /// ([`super::event::Context::inherited`]).
    pub inherit: bool,
    /// Where it does not count.
    pub exclude: Exclude,
    /// `precise_ip`, 0 to 3.
    pub precise: u8,
}

impl Attr {
    /// A counting event for a happening, flexible, enabled, excluding nothing.
    pub const fn counting(kind: Happening) -> Attr {
        Attr::raw(kind.config())
    }

    /// A counting event by event select and unit mask.
    pub const fn raw(config: u64) -> Attr {
        Attr {
            kind: Type::Raw,
            config,
            sample: Sample::None,
            pinned: false,
            disabled: false,
            inherit: false,
            exclude: Exclude { user: false, kernel: false, host: false, guest: false, idle: false, hv: false },
            precise: 0,
        }
    }

    /// The same, pinned.
    #[must_use]
    pub const fn pinned(mut self) -> Attr {
        self.pinned = true;
        self
    }

    /// The same, opened disabled.
    #[must_use]
    pub const fn disabled(mut self) -> Attr {
        self.disabled = true;
        self
    }

    /// The same with these exclude bits.
    #[must_use]
    pub const fn excluding(mut self, exclude: Exclude) -> Attr {
        self.exclude = exclude;
        self
    }

    /// The same, sampling each `events`.
    #[must_use]
    pub const fn each(mut self, events: u64) -> Attr {
        self.sample = Sample::Period(events);
        self
    }

    /// Event select and unit mask that go into a selector; `None` for software's events.
    ///
    /// # Errors
    /// ENOENT for a generic number that has no encoding here. Source of the generic ones: spec/pmu.md 1.10.1.
    pub fn hardware_config(&self) -> Result<Option<u64>, OpenError> {
        match (self.kind, self.config) {
            (Type::Software, _) => Ok(None),
            (Type::Raw, config) => Ok(Some(config)),
            (Type::Hardware, 0) => Ok(Some(Happening::Cycles.config())),
            (Type::Hardware, 1) => Ok(Some(Happening::Retired.config())),
            (Type::Hardware, 3) => Ok(Some(Happening::CacheMisses.config())),
            (Type::Hardware, 4) => Ok(Some(Happening::Branches.config())),
            (Type::Hardware, 5) => Ok(Some(Happening::BranchMisses.config())),
            (Type::Hardware, 9) => Ok(Some(0x0300)),
            (Type::Hardware, _) => Err(OpenError::NoSuchEvent),
        }
    }
}

/// Whom an event follows: `pid` and `cpu` of `perf_event_open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// pid -1, cpu given: everything on that CPU.
    Cpu(u32),
    /// pid given: the task, on any CPU (`None`) or only while on one.
    Task(TaskId, Option<u32>),
}

impl Target {
    /// From the two arguments, -1 for "any".
    ///
    /// # Errors
    /// EINVAL where both are -1: nothing would be followed.
    pub fn from_arguments(pid: i32, cpu: i32) -> Result<Target, OpenError> {
        match (u32::try_from(pid), u32::try_from(cpu)) {
            (Ok(pid), cpu) => Ok(Target::Task(TaskId(pid), cpu.ok())),
            (Err(_), Ok(cpu)) => Ok(Target::Cpu(cpu)),
            (Err(_), Err(_)) => Err(OpenError::NothingFollowed),
        }
    }
}

/// Why an event cannot be opened, each with the errno that Linux returns.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// pid and cpu are both -1.
    #[error("neither a task nor a CPU is followed (EINVAL)")]
    NothingFollowed,
    /// A generic event without an encoding on this part.
    #[error("this PMU has no such event (ENOENT)")]
    NoSuchEvent,
    /// The leader is closed, a sibling itself, or in another context.
    #[error("event {0:?} cannot lead this one (EINVAL)")]
    BadLeader(EventId),
    /// Only a leader may be pinned.
    #[error("only the leader of a group can be pinned (EINVAL)")]
    PinnedSibling,
    /// The group has more members than there are counters for, even on an empty PMU.
    #[error("the group can never be on at once (EINVAL)")]
    GroupTooLarge,
    /// A topdown metric outside a group led by slots, or one that samples.
    #[error("topdown metrics only count, in a group led by slots (EINVAL)")]
    LoneMetric,
    /// A period of 0, or above 2^63 - 1.
    #[error("sample period {0} is out of range (EINVAL)")]
    Period(u64),
    /// `precise_ip` above 3.
    #[error("precise level {0} is above 3 (EINVAL)")]
    Precise(u8),
    /// A mediated VM exists, and the event would count the guest.
    #[error("a VM with a mediated PMU exists: only events with exclude_guest can be opened (EOPNOTSUPP)")]
    MediatedVmExists,
    /// The guest owns the whole PMU.
    #[error("the PMU is passed through to a guest (EBUSY)")]
    PassedThrough,
}

impl OpenError {
    /// The number that `perf_event_open` returns, negated.
    pub const fn errno(self) -> i32 {
        match self {
            OpenError::NoSuchEvent => 2,
            OpenError::PassedThrough => 16,
            OpenError::MediatedVmExists => 95,
            _ => 22,
        }
    }
}

/// Checks what can be checked of an attribute alone.
///
/// # Errors
/// EINVAL for a period or a precise level out of range, ENOENT for a generic event that does not exist.
pub fn check(attr: &Attr) -> Result<(), OpenError> {
    if let Sample::Period(events) | Sample::Frequency(events) = attr.sample
        && (events == 0 || events > i64::MAX as u64)
    {
        return Err(OpenError::Period(events));
    }
    if attr.precise > 3 {
        return Err(OpenError::Precise(attr.precise));
    }
    attr.hardware_config().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixteen_combinations_select_the_cells_of_the_matrix() {
        // Cells in the order host user, host kernel, guest user, guest kernel; row n has exclude bits n.
        let matrix: [u8; 16] = [
            0b1111, 0b1010, 0b0101, 0, // nothing, user, kernel, both
            0b1100, 0b1000, 0b0100, 0, // and host
            0b0011, 0b0010, 0b0001, 0, // and guest
            0, 0, 0, 0, // and both
        ];
        for (bits, cells) in (0..).zip(matrix) {
            assert_eq!(Exclude::from_bits(bits).cells(), CellMask(cells), "exclude bits {bits:04b}");
        }
    }

    #[test]
    fn idle_and_hv_take_no_cell_away() {
        let exclude = Exclude { idle: true, hv: true, ..Exclude::default() };
        assert_eq!(exclude.cells(), CellMask::ALL);
    }

    #[test]
    fn modifiers_mean_what_perf_means() {
        let cells = |letters| Exclude::from_modifiers(letters).unwrap().cells().0;
        assert_eq!(cells(""), 0b1111);
        assert_eq!(cells("u"), 0b0101);
        assert_eq!(cells("k"), 0b1010);
        assert_eq!(cells("G"), 0b1100);
        assert_eq!(cells("H"), 0b0011);
        assert_eq!(cells("uG"), 0b0100);
        assert_eq!(cells("kH"), 0b0010);
        assert_eq!(cells("ukGH"), 0b1111);
        assert_eq!(Exclude::from_modifiers("ux"), Err('x'));
    }

    #[test]
    fn pid_and_cpu_choose_the_context() {
        assert_eq!(Target::from_arguments(5, -1), Ok(Target::Task(TaskId(5), None)));
        assert_eq!(Target::from_arguments(5, 2), Ok(Target::Task(TaskId(5), Some(2))));
        assert_eq!(Target::from_arguments(-1, 2), Ok(Target::Cpu(2)));
        assert_eq!(Target::from_arguments(-1, -1), Err(OpenError::NothingFollowed));
        assert_eq!(OpenError::NothingFollowed.errno(), 22);
    }

    #[test]
    fn attributes_out_of_range_are_refused() {
        let good = Attr::counting(Happening::Cycles);
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(&good.each(0)), Err(OpenError::Period(0)));
        assert_eq!(check(&good.each(1 << 63)), Err(OpenError::Period(1 << 63)));
        assert_eq!(check(&Attr { precise: 4, ..good }), Err(OpenError::Precise(4)));
        let generic = |config| Attr { kind: Type::Hardware, config, ..good };
        assert_eq!(generic(1).hardware_config(), Ok(Some(0xc0)));
        assert_eq!(check(&generic(42)), Err(OpenError::NoSuchEvent));
    }
}
