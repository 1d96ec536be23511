//! A processor's seat under a hypervisor: the same doors, of which some are exits, and the PMU is a vPMU.
//!
//! The processor's own [`Pmu`](super::Pmu) stays beside it. It observes what runs, for both, and it is what the guest's
//! PMU would be if the guest were alone: what the guest writes is written to it too, and its counts are shown beside
//! those that the guest reads.
//!
//! Source: `pmu_model::host::live`, which says what exits and what it costs.

use super::seat::Seat;
use cpu_x86::{Counts, Doors, Monitor, PmuDoors, Refused, Ring, Sampled};
use emu_core::Gpa;
use pmu_model::Now;
use pmu_model::host::exits::ExitReason;
use pmu_model::host::live::Hosted;

/// The doors of a processor under a hypervisor.
pub struct Under<'a> {
    /// The board's.
    pub seat: Seat<'a>,
    /// The host.
    pub host: &'a mut Hosted,
}

impl Under<'_> {
    fn exit(&mut self, reason: ExitReason, now: &Counts) {
        let now = Now { counts: now, signals: Some(self.seat.pmu.told_before()) };
        self.host.inside().exit(reason, true, now);
    }

    /// The model of the core observes while the host's or the guest's counters take it.
    fn observe(&mut self) {
        let wanted = self.host.wants_structures();
        self.seat.pmu.observe_always(wanted);
    }
}

impl Doors for Under<'_> {
    fn memory_read(&mut self, at: Gpa, bytes: u32, now: &Counts) -> u64 {
        self.exit(ExitReason::EptViolation, now);
        self.seat.memory_read(at, bytes, now)
    }
    fn memory_write(&mut self, at: Gpa, bytes: u32, value: u64, now: &Counts) {
        self.exit(ExitReason::EptViolation, now);
        self.seat.memory_write(at, bytes, value, now);
    }
    fn port_read(&mut self, port: u16, bytes: u32, now: &Counts) -> u32 {
        self.exit(ExitReason::Io, now);
        self.seat.port_read(port, bytes, now)
    }
    fn port_write(&mut self, port: u16, bytes: u32, value: u32, now: &Counts) {
        self.exit(ExitReason::Io, now);
        self.seat.port_write(port, bytes, value, now);
    }
    fn send_ipi(&mut self, icr: u64) {
        self.seat.send_ipi(icr);
    }
    fn end_of_interrupt(&mut self, vector: u8) {
        self.seat.end_of_interrupt(vector);
    }
    fn acknowledge_pic(&mut self) -> u8 {
        self.seat.acknowledge_pic()
    }
    fn pmu(&mut self) -> &mut dyn PmuDoors {
        self
    }
    fn marked(&mut self, value: u32) {
        self.seat.marked(value);
    }
    fn space_loaded(&mut self) {
        self.seat.space_loaded();
    }
    fn wants_attention(&self) -> bool {
        self.seat.wants_attention()
    }
}

/// The vPMU, with the PMU that a guest alone would have beside it.
impl PmuDoors for Under<'_> {
    fn msr_read(&mut self, msr: u32, counts: &Counts) -> Option<Result<u64, Refused>> {
        let now = Now { counts, signals: Some(self.seat.pmu.told_before()) };
        self.host.inside().msr_read(msr, now)
    }
    fn msr_write(&mut self, msr: u32, value: u64, counts: &Counts) -> Option<Result<(), Refused>> {
        let now = Now { counts, signals: Some(self.seat.pmu.told_before()) };
        let done = self.host.inside().msr_write(msr, value, now);
        if matches!(done, Some(Ok(()))) {
            let _ = self.seat.pmu.msr_write(msr, value, counts);
        }
        self.observe();
        done
    }
    fn rdpmc(&mut self, ecx: u32, counts: &Counts) -> Result<u64, Refused> {
        let now = Now { counts, signals: Some(self.seat.pmu.told_before()) };
        self.host.inside().rdpmc(ecx, now)
    }
    fn cpuid(&mut self, leaf: u32, _subleaf: u32) -> Option<[u32; 4]> {
        self.host.inside().cpuid(leaf)
    }
    fn init(&mut self, now: &Counts) {
        self.seat.pmu.init(now);
    }
    fn deadline(&mut self, counts: &Counts, ring: Ring) -> u64 {
        let others = self.seat.deadline(counts, ring);
        let now = Now { counts, signals: Some(self.seat.pmu.told()) };
        others.min(self.host.inside().deadline(now, ring))
    }
    fn settle(&mut self, counts: &Counts, processor: &mut dyn Sampled) -> bool {
        // What the PMU of a guest alone would request is nobody's.
        let _ = self.seat.settle(counts, processor);
        let now = Now { counts, signals: Some(self.seat.pmu.told()) };
        let requested = self.host.inside().settle(now);
        self.observe();
        requested
    }
    fn monitor(&mut self) -> Option<&mut dyn Monitor> {
        self.seat.pmu.monitor()
    }
}
