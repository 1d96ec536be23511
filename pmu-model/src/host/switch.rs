//! When a mediated guest's state is brought into the PMU and taken out again: the four phases of S0 as one mechanism.
//!
//! Hardware belongs to the host or to the guest whose state is in it. There are four points at which it may change hands:
//!
//! ```text
//!            A            B            C            D
//!   vCPU task ── the loop ── VM entry ~~ guest ~~ VM exit ── the loop again, or out of it
//!
//!   baseline   in at B, out at C                       every exit pays for both
//!   lazy       in only once the guest touched its PMU, or while it counts
//!   selective  in and out with as few writes as keep both sides from seeing the other's values
//!   dynamic    in at A and out at D while no event of the host wants the PMU; baseline otherwise
//!   bitmap     dynamic; and where the host wants some counters, only those and the guest's own are switched
//!   preempt    an event of the host that is enabled while the guest is in throws it out at once
//! ```
//!
//! Each point looks at the state first and does nothing where it is right already, so a point may come twice. Switching
//! runs with `GLOBAL_CTRL` 0 and interrupts off. The phases are independent bits here, for the mechanism is one: which
//! counters are resident in hardware, and whether perf may use the rest.
//!
//! Without `preempt`, dynamic's knowledge from A can go stale: an event enabled inside the loop waits for D. That is the
//! one difference that the oracle (`tests/host_schedules`) allows between a policy and the baseline.
//!
//! Differs from S0, which does not say who guards the counters that `bitmap` leaves resident while the host runs: here
//! whatever makes perf schedule evicts them first ([`Mediated::guard`]).
//!
//! Source: spec/pmu.md 5.5.3 and 5.6.

use super::cell::World;
use super::constraint::{Counter, Counters};
use super::physical::{PhysicalCpu, Vmcs};
use super::registers::Register;
use super::vpmu::mediated::Mediated;

/// Where the boundary between host's and guest's state lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// At VM entry and exit, always.
    Entry,
    /// Around the vCPU's loop while the host has no event, else at entry and exit.
    Dynamic,
    /// The same by counter: those that neither side needs stay.
    Bitmap,
}

/// How states are switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Phase 1.
    pub lazy: bool,
    /// Phase 2.
    pub selective: bool,
    /// Phases 3 and 3.1.
    pub boundary: Boundary,
    /// Phase 4.
    pub preempt: bool,
}

impl Policy {
    /// Phase 0.
    pub const BASELINE: Policy = Policy { lazy: false, selective: false, boundary: Boundary::Entry, preempt: false };
    /// Phase 1 alone.
    pub const LAZY: Policy = Policy { lazy: true, ..Policy::BASELINE };
    /// Phase 2 alone: the writes that Linux 7.2 saves.
    pub const SELECTIVE: Policy = Policy { selective: true, ..Policy::BASELINE };
    /// Phase 3 alone.
    pub const DYNAMIC: Policy = Policy { boundary: Boundary::Dynamic, ..Policy::BASELINE };
    /// Phase 3.1 alone.
    pub const BITMAP: Policy = Policy { boundary: Boundary::Bitmap, ..Policy::BASELINE };
    /// Phases 3 and 4.
    pub const PREEMPT: Policy = Policy { preempt: true, ..Policy::DYNAMIC };
    /// All of them.
    pub const ALL: Policy = Policy { lazy: true, selective: true, boundary: Boundary::Bitmap, preempt: true };

    /// The policies that tables compare, with their names.
    pub const NAMED: [(&str, Policy); 7] = [
        ("baseline", Policy::BASELINE),
        ("lazy", Policy::LAZY),
        ("selective", Policy::SELECTIVE),
        ("dynamic", Policy::DYNAMIC),
        ("bitmap", Policy::BITMAP),
        ("preempt", Policy::PREEMPT),
        ("all", Policy::ALL),
    ];

    /// Every combination of the bits.
    pub fn every() -> impl Iterator<Item = Policy> {
        let boundaries = [Boundary::Entry, Boundary::Dynamic, Boundary::Bitmap];
        (0..24).map(move |n: usize| Policy {
            lazy: n & 1 != 0,
            selective: n & 2 != 0,
            preempt: n & 4 != 0,
            boundary: boundaries[n / 8],
        })
    }
}

/// How often states changed hands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// The guest's state was brought in.
    pub loads: u64,
    /// The host's state was brought back.
    pub puts: u64,
    /// Puts that a host event forced.
    pub preemptions: u64,
}

impl Mediated {
    /// Point A: the vCPU's task runs and enters its loop.
    pub fn at_loop(&mut self, cpu: &mut PhysicalCpu) {
        (self.need_load, self.touched, self.in_loop) = (true, false, true);
        self.host_info = cpu.perf.host_counters();
        self.whole_loop = cpu.policy.boundary != Boundary::Entry && self.host_info.is_empty();
        if self.whole_loop && self.wanted(cpu.policy) {
            self.bring_in(cpu);
        }
    }

    /// Point B: VM entry. The fields of the VMCS are set for it.
    pub fn at_entry(&mut self, cpu: &mut PhysicalCpu) {
        if self.need_load && self.wanted(cpu.policy) {
            self.bring_in(cpu);
        }
        let fields = if self.need_load {
            Vmcs { guest: 0, host: cpu.perf.control(World::Host) }
        } else {
            Vmcs { guest: self.registers.global_control, host: 0 }
        };
        cpu.set_vmcs(fields);
    }

    /// Point C: VM exit happened, and loaded the host's `GLOBAL_CTRL`.
    pub fn at_exit(&mut self, cpu: &mut PhysicalCpu) {
        if !self.need_load && !self.intercepts_global(cpu.pmu.shape()) {
            cpu.pmu.traffic.vmread += 1;
        }
        if !self.need_load && !self.whole_loop {
            let leaves = self.must_leave(cpu);
            self.take_out(cpu, leaves);
        }
    }

    /// Point D: out of the loop.
    pub fn at_leave(&mut self, cpu: &mut PhysicalCpu) {
        self.in_loop = false;
        if !self.need_load {
            self.take_out(cpu, self.resident);
        }
        self.guard(cpu);
    }

    /// Whether the guest's state has to be in for it to run: it counts, or it touched its PMU, or nobody asks.
    fn wanted(&self, policy: Policy) -> bool {
        !policy.lazy || self.touched || !self.registers.counting().is_empty()
    }

    /// Which resident counters the host may not find occupied when the guest leaves.
    fn must_leave(&self, cpu: &PhysicalCpu) -> Counters {
        match cpu.policy.boundary {
            Boundary::Bitmap => self.resident.and(cpu.perf.host_counters().or(self.registers.counting())),
            Boundary::Entry | Boundary::Dynamic => self.resident,
        }
    }

    /// Host events are about to be scheduled while guest counters are resident, though the host owns the PMU.
    pub fn guard(&mut self, cpu: &mut PhysicalCpu) {
        if self.need_load && !self.resident.is_empty() {
            let left = self.resident;
            self.evict(cpu, left);
        }
    }

    /// Phase 4's callback: a host event was enabled on this CPU and wants the PMU now.
    pub fn preempt(&mut self, cpu: &mut PhysicalCpu) {
        if !self.need_load {
            let all = self.resident;
            self.take_out(cpu, all);
            cpu.switches.preemptions += 1;
        }
        self.whole_loop = false;
    }

    /// Host to guest.
    fn bring_in(&mut self, cpu: &mut PhysicalCpu) {
        let selective = cpu.policy.selective;
        cpu.perf.load_guest(&mut cpu.pmu);
        if !selective || cpu.pmu.peek(Register::GlobalControl) != 0 {
            cpu.pmu.wrmsr(Register::GlobalControl, 0);
        }
        // LVTPC: fixed mode, the PMI's own vector, masked as the guest's is.
        cpu.pmu.traffic.wrmsr += 1;
        for counter in self.registers.shape.counters().without(self.resident).iter() {
            self.bring_counter(cpu, counter);
        }
        self.resident = self.registers.shape.counters();
        self.bring_status(cpu);
        let fixed = self.registers.hardware_fixed_control();
        if !selective || fixed != 0 {
            cpu.pmu.wrmsr(Register::FixedControl, fixed);
        }
        self.need_load = false;
        cpu.switches.loads += 1;
    }

    fn bring_counter(&mut self, cpu: &mut PhysicalCpu, counter: Counter) {
        let saved = self.registers.count(counter);
        if !cpu.policy.selective || cpu.pmu.rdpmc(counter) != saved {
            cpu.pmu.wrmsr(Register::Count(counter), saved);
        }
        if counter.is_general() {
            let selector = self.registers.hardware_selector(counter.0);
            if !cpu.policy.selective || selector != 0 {
                cpu.pmu.wrmsr(Register::Selector(counter.0), selector);
            }
        }
        // Writing the slots cleared the metrics, so they come second.
        let metrics = counter == Counter::fixed(3) && self.registers.shape.metrics;
        if metrics && (!cpu.policy.selective || cpu.pmu.rdmsr(Register::Metrics) != self.registers.metrics) {
            cpu.pmu.wrmsr(Register::Metrics, self.registers.metrics);
        }
    }

    fn bring_status(&mut self, cpu: &mut PhysicalCpu) {
        let status = cpu.pmu.rdmsr(Register::GlobalStatus);
        let toggle = status ^ self.registers.status;
        if !cpu.policy.selective || toggle & status != 0 {
            cpu.pmu.wrmsr(Register::StatusReset, toggle & status);
        }
        if !cpu.policy.selective || toggle & self.registers.status != 0 {
            cpu.pmu.wrmsr(Register::StatusSet, toggle & self.registers.status);
        }
    }

    /// Guest to host; `leaves` are the counters that are saved and cleared, the others stay resident.
    fn take_out(&mut self, cpu: &mut PhysicalCpu, leaves: Counters) {
        let selective = cpu.policy.selective;
        self.registers.status = cpu.pmu.rdmsr(Register::GlobalStatus);
        if !selective || self.registers.status != 0 {
            cpu.pmu.wrmsr(Register::StatusReset, self.registers.status);
        }
        if !selective || cpu.pmu.peek(Register::FixedControl) != 0 {
            cpu.pmu.wrmsr(Register::FixedControl, 0);
        }
        self.evict(cpu, leaves);
        // LVTPC: NMI again.
        cpu.pmu.traffic.wrmsr += 1;
        self.need_load = true;
        cpu.perf.put_guest(&mut cpu.pmu);
        cpu.switches.puts += 1;
    }

    /// Saves resident counters and leaves zeros behind, so that the host cannot read them.
    fn evict(&mut self, cpu: &mut PhysicalCpu, leaves: Counters) {
        for counter in leaves.and(self.resident).iter() {
            if counter == Counter::fixed(3) && self.registers.shape.metrics {
                self.registers.metrics = cpu.pmu.rdmsr(Register::Metrics);
            }
            let value = cpu.pmu.rdpmc(counter);
            self.registers.set_count(counter, value);
            if !cpu.policy.selective || value != 0 {
                cpu.pmu.wrmsr(Register::Count(counter), 0);
            }
            if counter.is_general() && (!cpu.policy.selective || cpu.pmu.peek(Register::Selector(counter.0)) != 0) {
                cpu.pmu.wrmsr(Register::Selector(counter.0), 0);
            }
        }
        self.resident = self.resident.without(leaves);
    }
}
