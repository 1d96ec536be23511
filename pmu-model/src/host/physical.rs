//! A physical CPU: its PMU, its perf, the side of VM entry it is on, and the truth about what ran on it.
//!
//! Every change of perf's state comes through here while a vCPU may be inside its loop, for the guest's counters may be
//! in the way: they are evicted or preempted first (see `switch`).
//!
//! Source: spec/pmu.md 5.2, 5.5.3, 5.6.

use super::cell::{Burst, Cell, Ledger, Privilege, World};
use super::constraint::Counters;
use super::live::Gone;
use super::perf::Perf;
use super::registers::{Pmu, Shape};
use super::switch::{Policy, Switches};

/// The two fields of a VMCS that decide what counts where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vmcs {
    /// Guest IA32_PERF_GLOBAL_CTRL, loaded at VM entry.
    pub guest: u64,
    /// Host IA32_PERF_GLOBAL_CTRL, loaded at VM exit.
    pub host: u64,
}

/// A CPU of the host.
#[derive(Clone, Debug)]
pub struct PhysicalCpu {
    /// Its number.
    pub id: u32,
    /// Its PMU.
    pub pmu: Pmu,
    /// Its perf.
    pub perf: Perf,
    /// Where it is.
    pub world: World,
    /// What happened on it.
    pub ledger: Ledger,
    /// How a mediated guest's state is switched.
    pub policy: Policy,
    /// How often that was done.
    pub switches: Switches,
    /// What the host's kernel executes when an exit is the PMU's: an intercepted access, or its interrupt.
    pub exit_work: Burst,
    /// A guest owns the PMU for good.
    pub passed_through: bool,
    vmcs: Vmcs,
}

impl PhysicalCpu {
    /// An idle CPU of the host, with nothing programmed, on which streams of facts run.
    pub fn new(id: u32, shape: Shape, policy: Policy) -> PhysicalCpu {
        PhysicalCpu::with(id, Pmu::new(shape), policy)
    }

    /// The same, on which a guest is really executed.
    pub fn executed(id: u32, shape: Shape, policy: Policy) -> PhysicalCpu {
        PhysicalCpu::with(id, Pmu::executed(shape), policy)
    }

    fn with(id: u32, pmu: Pmu, policy: Policy) -> PhysicalCpu {
        PhysicalCpu {
            id,
            perf: Perf::new(id, &pmu),
            pmu,
            world: World::Host,
            ledger: Ledger::default(),
            policy,
            switches: Switches::default(),
            exit_work: Burst::default(),
            passed_through: false,
            vmcs: Vmcs::default(),
        }
    }

    /// Sets the VMCS's fields, writing only what changes.
    pub fn set_vmcs(&mut self, fields: Vmcs) {
        self.pmu.traffic.vmwrite +=
            u64::from(self.vmcs.guest != fields.guest) + u64::from(self.vmcs.host != fields.host);
        self.vmcs = fields;
    }

    /// VM entry: the guest's `GLOBAL_CTRL` is loaded. A PMU that is passed through is left as it is.
    pub fn enter(&mut self) {
        self.world = World::Guest;
        if !self.passed_through {
            self.pmu.load_global_control(self.vmcs.guest);
        }
    }

    /// VM exit: the guest's `GLOBAL_CTRL` is returned (the VMCS saves it), the host's loaded.
    pub fn exit(&mut self) -> u64 {
        self.world = World::Host;
        let guest = self.pmu.peek(super::registers::Register::GlobalControl);
        if !self.passed_through {
            self.pmu.load_global_control(self.vmcs.host);
            self.vmcs.guest = guest;
        }
        guest
    }

    /// Something ran, on the side where the CPU is. Returns the counters that overflowed and ask for an interrupt.
    pub fn retire(&mut self, ring: Privilege, burst: &Burst) -> Counters {
        self.ledger.enter(Cell::new(self.world, ring), burst);
        self.pmu.retire(ring, burst)
    }

    /// A guest that is really executed ran on. Returns the counters that overflowed and ask for an interrupt; on a CPU of
    /// streams nobody is executed.
    pub fn guest_ran(&mut self, gone: &Gone) -> Counters {
        for ring in [Privilege::User, Privilege::Kernel] {
            self.ledger.enter(Cell::new(World::Guest, ring), &gone.burst(ring));
        }
        self.pmu.as_executed().map_or(Counters::NONE, |executed| executed.guest_ran(gone))
    }

    /// The host serves an exit that the PMU caused.
    pub fn serve_exit(&mut self) {
        let work = self.exit_work;
        self.run_host(Privilege::Kernel, &work);
    }

    /// The host itself ran: its own PMIs are handled at once.
    pub fn run_host(&mut self, ring: Privilege, burst: &Burst) {
        let asking = self.retire(ring, burst);
        if !asking.is_empty() && !self.passed_through {
            self.perf.overflow(&mut self.pmu, asking);
        }
    }
}
