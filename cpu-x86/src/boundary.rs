//! What waits at an instruction boundary: debug traps, INIT, NMI and interrupts, in the SDM's order.
//!
//! The engine calls [`Cpu::service`] at a boundary where [`Cpu::wants_service`], and while [`Cpu::stepwise`] runs one
//! instruction at a time. Source: SDM vol. 3A, table 6-2, 6.8 and 9.4.3.

use crate::alu::flag;
use crate::debug::dr6;
use crate::fault::{Exception, vector};
use crate::state::{Activity, Cpu, cr4, shadow};

impl Cpu {
    /// At an instruction boundary (`rip` is the next instruction): takes at most one of what waits, in the SDM's order,
    /// and says whether it did. Also ages the shadow of STI and MOV SS: see [`Cpu::stepwise`] for what the engine does
    /// while it lasts. Source: SDM vol. 3A, table 6-2; 6.8.1 to 6.8.3; 9.4.3 (INIT and start-up).
    pub(crate) fn service(&mut self) -> bool {
        if std::mem::take(&mut self.init_pending) {
            self.init();
            return true;
        }
        let startup = self.sipi.take();
        if self.activity == Activity::WaitForSipi {
            if let Some(vector) = startup {
                self.sipi(vector);
            }
            return startup.is_some();
        }
        self.look_at_wait();
        let inhibit = std::mem::take(&mut self.inhibit);
        self.shadow = if self.activity == Activity::Active { inhibit } else { 0 };
        if self.shadow & shadow::MOV_SS == 0 && self.take_debug_traps() || self.shadow == 0 && self.take_nmi() {
            return true;
        }
        self.shadow == 0 && self.activity != Activity::Shutdown && self.take_interrupt()
    }

    /// Must the engine run just one instruction and then call [`Cpu::after_step`] (which also ends RF) and
    /// [`Cpu::service`]? While breakpoints are armed, too: they trap right after the instruction that meets them.
    pub(crate) fn stepwise(&self) -> bool {
        self.system_flags & flag::TF != 0 || self.shadow | self.inhibit != 0 || self.debug_active()
    }

    /// Has [`Cpu::service`] something to do? A masked interrupt is nothing: whatever unmasks it ends its block.
    pub(crate) fn wants_service(&self) -> bool {
        let nmi = self.nmi_pending && !self.nmi_blocked;
        let init = self.init_pending || self.sipi.is_some();
        let step = self.pending_debug != 0 || self.inhibit != 0 || self.wait.is_some();
        nmi || init || step || self.system_flags & flag::IF != 0 && self.interrupt_waits()
    }

    /// Does the local APIC or the 8259A pair request an interrupt?
    pub(crate) fn interrupt_waits(&self) -> bool {
        self.lapic.pending().is_some() || self.lapic.accepts_extint()
    }

    fn take_debug_traps(&mut self) -> bool {
        let bits = std::mem::take(&mut self.pending_debug);
        if bits == 0 || self.activity == Activity::Shutdown {
            return false;
        }
        self.report_debug(bits);
        self.raise(Exception::plain(vector::DB));
        true
    }

    fn take_nmi(&mut self) -> bool {
        if !self.nmi_pending || self.nmi_blocked {
            return false;
        }
        self.nmi_pending = false;
        self.nmi_blocked = true;
        self.deliver_external(vector::NMI);
        true
    }

    fn take_interrupt(&mut self) -> bool {
        if self.system_flags & flag::IF == 0 {
            return false;
        }
        let vector = if self.lapic.pending().is_some() {
            self.lapic.acknowledge()
        } else if self.lapic.accepts_extint() {
            self.lapic.signals.extint = false;
            self.with_doors(|doors, _| doors.acknowledge_pic())
        } else {
            return false;
        };
        self.deliver_external(vector);
        true
    }

    /// Sets the level of the 8259A pair's INTR output, which is wired to LINT0.
    pub fn set_intr(&mut self, high: bool) {
        self.lapic.set_lint0(high);
    }

    /// An NMI arrives; one is remembered while they are blocked.
    pub fn raise_nmi(&mut self) {
        self.nmi_pending = true;
    }

    /// An INIT signal arrives; taken at the next boundary.
    pub fn raise_init(&mut self) {
        self.init_pending = true;
    }

    /// A start-up IPI arrives; taken at the next boundary, if the processor then waits for one.
    pub fn raise_sipi(&mut self, vector: u8) {
        self.sipi = Some(vector);
    }

    /// Do CLI and STI work on VIF where IOPL denies them IF (CR4.VME in virtual-8086 mode, CR4.PVI elsewhere)?
    pub(crate) fn virtual_interrupts(&self) -> bool {
        self.cr4 & if self.v86() { cr4::VME } else { cr4::PVI } != 0
    }

    /// Sets DR6 for the debug exception about to be delivered: B0 to B3 anew, the others are only ever added.
    pub(crate) fn report_debug(&mut self, bits: u64) {
        self.dr[6] = self.dr[6] & !dr6::HITS | bits | crate::reset::DR6;
    }
}

impl Cpu {
    /// CR8: the task priority class.
    pub(crate) fn task_priority(&self) -> u64 {
        u64::from(self.lapic.tpr() >> 4)
    }

    /// Writes CR8.
    pub(crate) fn set_task_priority(&mut self, class: u64) {
        self.lapic.set_tpr((class as u8 & 15) << 4);
        self.engine.look = true;
    }
}
