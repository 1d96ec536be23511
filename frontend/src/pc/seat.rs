//! A processor's seat on the board: the doors that one vCPU is given for the length of a run.

use super::Pmu;
use super::board::Board;
use super::clock::time;
use super::watch::{MARK_PORT, Watch};
use cpu_x86::lapic::Message;
use cpu_x86::{Counts, Doors, PmuDoors, Ring, Sampled};
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
    fn send_ipi(&mut self, icr: u64) {
        self.board.mail.messages.extend(Message::from_icr(icr).map(|m| (self.apic_id, m)));
    }
    fn end_of_interrupt(&mut self, vector: u8) {
        self.board.end_of_interrupt(vector, emu_core::Time::ZERO);
    }
    fn acknowledge_pic(&mut self) -> u8 {
        self.board.acknowledge_pic()
    }
    fn pmu(&mut self) -> &mut dyn PmuDoors {
        self.pmu
    }
    fn deadline(&mut self, now: &Counts, ring: Ring) -> u64 {
        let guest = self.pmu.deadline(now, ring);
        let signals = self.watch.takes_signals().then(|| self.pmu.told());
        guest.min(self.watch.deadline(self.apic_id as usize, Now { counts: now, signals }, ring))
    }
    fn settle(&mut self, now: &Counts, processor: &mut dyn Sampled) -> bool {
        let requested = self.pmu.settle(now, processor);
        let signals = self.watch.takes_signals().then(|| self.pmu.told());
        self.due = self.watch.is_due(self.apic_id as usize, Now { counts: now, signals });
        requested
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
