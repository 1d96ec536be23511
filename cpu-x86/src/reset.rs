//! Power-on, INIT and start-up IPI, and the states in which loaders enter a kernel.
//!
//! Source: SDM vol. 3A, table 10-1 (register
//! state following power-up, reset and INIT), 9.4.3 (start-up); vol. 3A, 11.11.2.1 (MTRRs); table 2-2 (MSRs).

use crate::alu::flag;
use crate::engine::Paging;
use crate::lapic::Lapic;
use crate::msr::Feedback;
use crate::state::{Activity, Cpu, Fpu, Seg, Segment, Table, VecReg};
use softfp::F80;

/// EDX after reset: family 6, model 8Fh, stepping 8 (Sapphire Rapids), as CPUID.01H:EAX.
const SIGNATURE: u64 = 0x000806f8;
/// CR0 after reset: CD, NW, ET.
const CR0: u64 = 0x6000_0010;
/// DR6 and DR7 with nothing set in them.
pub(crate) const DR6: u64 = 0xffff_0ff0;
pub(crate) const DR7: u64 = 0x400;

/// Where and how a 64-bit kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Long64 {
    /// CR3: page tables that map at least the code, the stack and what the boot protocol names.
    pub cr3: u64,
    /// GDTR: the table must hold the code segment at `code` and the data segment at `data`.
    pub gdt: Table,
    /// Selector of a 64-bit code segment of privilege 0.
    pub code: u16,
    /// Selector of a flat data segment.
    pub data: u16,
}

/// A flat 4 GiB segment with the type and S, DPL, P, D/B or L bits of `attr`.
const fn flat(selector: u16, attr: u32) -> Segment {
    Segment { selector, base: 0, limit: 0xffff_ffff, attr: attr | Segment::G }
}

impl Cpu {
    /// Puts the processor into its state after power-on or RESET#. The clock and what was counted go on.
    pub fn power_on(&mut self) {
        self.vec = [VecReg([0; 64]); 32];
        self.k = [0; 8];
        // FSW and FTW after power-on: zero, and 5555h (the tag of +0 in each register).
        self.fpu = Fpu { r: [F80::default(); 8], cw: 0x40, sw: 0, tag: 0x5555, ..Fpu::default() };
        self.mxcsr = 0x1f80;
        self.xcr0 = 1;
        self.pkru = 0;
        self.msr = crate::msr::at_power_on(self.features);
        self.msr.feedback = Feedback::starting(self.counts().cycles);
        self.lapic = Lapic::new(self.apic_id);
        self.engine.retired_at_event = u64::MAX;
        self.reset_core(CR0);
        self.activity = if self.apic_id == 0 { Activity::Active } else { Activity::WaitForSipi };
    }

    /// Does what an INIT signal does: x87, SSE, MSRs, MTRRs and the caches' mode are kept. The bootstrap processor goes
    /// on at the reset vector, another waits for a start-up IPI.
    pub fn init(&mut self) {
        let cache_bits = self.cr0 & 0x6000_0000;
        self.lapic.reset();
        self.reset_core(cache_bits | 0x10);
        self.with_doors(|doors, now| doors.pmu().init(now));
        self.activity = if self.apic_id == 0 { Activity::Active } else { Activity::WaitForSipi };
    }

    /// A start-up IPI arrives: a processor that waits for one starts in real mode at `vector` * 4096; no other heeds it.
    pub fn sipi(&mut self, vector: u8) {
        if self.activity != Activity::WaitForSipi {
            return;
        }
        let selector = u16::from(vector) << 8;
        let cs = Segment { selector, base: u64::from(selector) << 4, ..*self.segment(Seg::Cs) };
        self.set_segment(Seg::Cs, cs);
        self.rip = 0;
        self.next_rip = 0;
        self.activity = Activity::Active;
    }

    /// What power-on and INIT have in common.
    fn reset_core(&mut self, cr0: u64) {
        self.regs[..16].fill(0);
        self.regs[2] = SIGNATURE;
        self.set_flags(0);
        self.set_cpl(0);
        self.rip = 0xfff0;
        self.next_rip = 0xfff0;
        for s in [Seg::Es, Seg::Ss, Seg::Ds, Seg::Fs, Seg::Gs] {
            self.set_segment(s, Segment { selector: 0, base: 0, limit: 0xffff, attr: 0x93 });
        }
        self.set_segment(Seg::Cs, Segment { selector: 0xf000, base: 0xffff_0000, limit: 0xffff, attr: 0x93 });
        self.gdtr = Table { base: 0, limit: 0xffff };
        self.idtr = Table { base: 0, limit: 0xffff };
        self.ldtr = Segment { selector: 0, base: 0, limit: 0xffff, attr: 0x82 };
        self.tr = Segment { selector: 0, base: 0, limit: 0xffff, attr: 0x8b };
        self.cr2 = 0;
        self.cr3 = 0;
        self.cr4 = 0;
        self.efer = 0;
        self.cr0 = cr0;
        self.msr.debugctl = 0;
        self.dr = [0, 0, 0, 0, 0, 0, DR6, DR7];
        (self.armed, self.wait) = (None, None);
        self.inhibit = 0;
        self.shadow = 0;
        self.no_step = false;
        self.pending_debug = 0;
        self.nmi_pending = false;
        self.nmi_blocked = false;
        self.init_pending = false;
        self.on_paging_change(Paging::Control);
    }

    /// Enters 32-bit protected mode without paging, in flat segments: the state in which multiboot, PVH and the 32-bit
    /// Linux boot protocol enter a kernel. GDTR is the loader's to set where its protocol asks for one.
    pub fn set_flat32(&mut self, code: u16, data: u16) {
        self.efer = 0;
        self.cr0 = 0x11;
        self.cr4 = 0;
        self.enter_flat(flat(code, 0x9b | Segment::DB), data);
    }

    /// Enters 64-bit mode with paging on: the state in which the 64-bit Linux boot protocol enters a kernel.
    /// Source: Linux Documentation/arch/x86/boot.rst, "64-bit Boot Protocol".
    pub fn set_long64(&mut self, to: Long64) {
        self.efer = 1 << 8 | 1 << 10;
        self.cr0 = 0x8000_0011;
        self.cr4 = 1 << 5;
        self.cr3 = to.cr3;
        self.gdtr = to.gdt;
        self.enter_flat(flat(to.code, 0x9b | Segment::L), to.data);
    }

    fn enter_flat(&mut self, cs: Segment, data: u16) {
        self.set_cpl(0);
        self.set_segment(Seg::Cs, cs);
        for s in [Seg::Es, Seg::Ss, Seg::Ds, Seg::Fs, Seg::Gs] {
            self.set_segment(s, flat(data, 0x93 | Segment::DB));
        }
        self.ldtr = crate::segment::null_segment(0, 0);
        self.tr = Segment { selector: 0, base: 0, limit: 0x67, attr: 0x8b };
        self.set_flags(self.flags() & !(flag::IF | flag::TF | flag::VM | flag::NT));
        self.on_paging_change(Paging::Control);
    }
}
