//! A processor's seat on the board: the doors that one vCPU is given for the length of a run.

use super::Pmu;
use super::board::Board;
use super::clock::time;
use super::watch::{MARK_PORT, Watch};
use cpu_x86::lapic::Message;
use cpu_x86::{Counts, Doors, Monitor, Refused, Ring, Sampled};
use emu_core::{Gpa, Space};
use pmu_model::Now;

/// The doors of processor `apic_id`.
pub struct Seat<'a> {
    /// The board.
    pub board: &'a mut Board,
    /// This processor's PMU.
    pub pmu: &'a mut Pmu,
    /// Whose seat it is.
    pub apic_id: u32,
    /// Who looks on.
    pub watch: &'a mut dyn Watch,
    /// Does it want to look now?
    pub due: bool,
}

impl Doors for Seat<'_> {
    fn memory_read(&mut self, at: Gpa, bytes: u32, now: &Counts) -> u64 {
        self.board.read(Space::Memory, at.0, bytes, time(now.clock))
    }
    fn memory_write(&mut self, at: Gpa, bytes: u32, value: u64, now: &Counts) {
        self.board.write(Space::Memory, at.0, bytes, value, time(now.clock));
    }
    fn port_read(&mut self, port: u16, bytes: u32, now: &Counts) -> u32 {
        self.board.read(Space::Port, port.into(), bytes, time(now.clock)) as u32
    }
    fn port_write(&mut self, port: u16, bytes: u32, value: u32, now: &Counts) {
        if port == MARK_PORT {
            return self.watch.mark(self.apic_id as usize, value);
        }
        self.board.write(Space::Port, port.into(), bytes, value.into(), time(now.clock));
    }
    fn msr_read(&mut self, msr: u32, now: &Counts) -> Option<Result<u64, Refused>> {
        self.pmu.msr_read(msr, now)
    }
    fn msr_write(&mut self, msr: u32, value: u64, now: &Counts) -> Option<Result<(), Refused>> {
        self.pmu.msr_write(msr, value, now)
    }
    fn rdpmc(&mut self, ecx: u32, now: &Counts) -> Result<u64, Refused> {
        self.pmu.rdpmc(ecx, now)
    }
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        self.pmu.cpuid(leaf, subleaf)
    }
    fn component_in_use(&mut self, n: u32) -> bool {
        self.pmu.component_in_use(n)
    }
    fn component_save(&mut self, n: u32, to: &mut [u8]) {
        self.pmu.component_save(n, to);
    }
    fn component_restore(&mut self, n: u32, from: Option<&[u8]>, _now: &Counts) -> Result<(), Refused> {
        self.pmu.component_restore(n, from)
    }
    fn init(&mut self, now: &Counts) {
        self.pmu.init(now);
    }
    fn send_ipi(&mut self, icr: u64) {
        self.board.mail.messages.extend(Message::from_icr(icr).map(|m| (self.apic_id, m)));
    }
    fn end_of_interrupt(&mut self, vector: u8) {
        self.board.end_of_interrupt(vector, emu_core::Time::ZERO);
    }
    fn acknowledge_pic(&mut self) -> u8 {
        self.board.acknowledge_pic()
    }
    fn pmu_deadline(&mut self, now: &Counts, ring: Ring) -> u64 {
        let guest = self.pmu.deadline(now, ring);
        let now = Now { counts: now, signals: Some(self.pmu.told()) };
        guest.min(self.watch.deadline(self.apic_id as usize, now, ring))
    }
    fn pmu_settle(&mut self, now: &Counts, processor: &mut dyn Sampled) -> bool {
        let requested = self.pmu.settle(now, processor);
        let now = Now { counts: now, signals: Some(self.pmu.told()) };
        self.due = self.watch.is_due(self.apic_id as usize, now);
        requested
    }
    fn monitor(&mut self) -> Option<&mut dyn Monitor> {
        self.pmu.monitor()
    }
    fn marked(&mut self, value: u32) {
        self.watch.mark(self.apic_id as usize, value);
    }
    fn space_loaded(&mut self) {
        self.watch.space_loaded(self.apic_id as usize);
    }
    fn wants_attention(&self) -> bool {
        self.due || self.board.wants_attention()
    }
}
