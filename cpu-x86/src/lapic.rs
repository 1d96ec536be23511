//! The local APIC: priorities, local interrupts, inter-processor interrupts and the timer.
//!
//! A value without doors: what a register write sends out comes back as a [`Signal`], and whoever holds the APIC sends
//! it. `clock` is TSC ticks since power-on. Source: SDM vol. 3A, ch. 11 (APIC), 11.12 (x2APIC).

mod message;
mod timer;

pub use message::{Delivery, Message, Shorthand};
pub use timer::{Mode, TICKS_PER_CRYSTAL, Timer};

use crate::door::Refused;

/// Where the registers stand after reset.
pub const DEFAULT_BASE: u64 = 0xfee0_0000;
/// IA32_APIC_BASE bits.
const BSP: u64 = 1 << 8;
const EXTD: u64 = 1 << 10;
const ENABLED: u64 = 1 << 11;
pub(crate) const MODE_X2APIC: u64 = ENABLED | EXTD;
const LVT_MASKED: u32 = 1 << 16;
/// Integrated APIC, 7 LVT entries, no EOI-broadcast suppression.
const VERSION: u32 = 0x0006_0015;

/// Error status bits.
mod error {
    pub const SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
    pub const RECEIVE_ILLEGAL_VECTOR: u32 = 1 << 6;
    pub const ILLEGAL_REGISTER: u32 = 1 << 7;
}

/// Register numbers: the MMIO offset shifted right by 4, and the x2APIC MSR less 800h.
mod reg {
    pub const ID: u32 = 0x02;
    pub const VERSION: u32 = 0x03;
    pub const TPR: u32 = 0x08;
    pub const APR: u32 = 0x09;
    pub const PPR: u32 = 0x0a;
    pub const EOI: u32 = 0x0b;
    pub const RRD: u32 = 0x0c;
    pub const LDR: u32 = 0x0d;
    pub const DFR: u32 = 0x0e;
    pub const SVR: u32 = 0x0f;
    pub const ISR: u32 = 0x10;
    pub const TMR: u32 = 0x18;
    pub const IRR: u32 = 0x20;
    pub const ESR: u32 = 0x28;
    pub const CMCI: u32 = 0x2f;
    pub const ICR: u32 = 0x30;
    pub const ICR_HIGH: u32 = 0x31;
    pub const TIMER: u32 = 0x32;
    pub const ERROR: u32 = 0x37;
    pub const INITIAL: u32 = 0x38;
    pub const CURRENT: u32 = 0x39;
    pub const DIVIDE: u32 = 0x3e;
    pub const SELF_IPI: u32 = 0x3f;
}

/// Entries of the local vector table, in register order from CMCI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lvt {
    Cmci,
    Timer,
    Thermal,
    Performance,
    Lint0,
    Lint1,
    Error,
}
const LVT: [Lvt; 7] = [Lvt::Cmci, Lvt::Timer, Lvt::Thermal, Lvt::Performance, Lvt::Lint0, Lvt::Lint1, Lvt::Error];

impl Lvt {
    fn of(register: u32) -> Option<Lvt> {
        match register {
            reg::CMCI => Some(Lvt::Cmci),
            reg::TIMER..=reg::ERROR => LVT.get((register - reg::TIMER + 1) as usize).copied(),
            _ => None,
        }
    }
    /// Bits software may write.
    const fn writable(self) -> u32 {
        match self {
            Lvt::Timer => 0x7_00ff,
            Lvt::Lint0 | Lvt::Lint1 => 0x1_a7ff,
            Lvt::Error => 0x1_00ff,
            _ => 0x1_07ff,
        }
    }
}

/// What a register write sends out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// An inter-processor interrupt; the ICR in x2APIC layout.
    Ipi(u64),
    /// End of a level-triggered interrupt, for the IOAPICs.
    EndOfInterrupt(u8),
}

/// 256 bits, one a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Vectors([u32; 8]);

impl Vectors {
    fn set(&mut self, v: u8, to: bool) {
        let (word, bit) = (&mut self.0[usize::from(v >> 5)], 1 << (v & 31));
        *word = *word & !bit | if to { bit } else { 0 };
    }
    fn get(&self, v: u8) -> bool {
        self.0[usize::from(v >> 5)] >> (v & 31) & 1 != 0
    }
    fn highest(&self) -> Option<u8> {
        let word = (0..8usize).rev().find(|&n| self.0[n] != 0)?;
        Some((word as u8) << 5 | (31 - self.0[word].leading_zeros() as u8))
    }
}

/// What waits for the processor beside the IRR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// An NMI.
    pub nmi: bool,
    /// An INIT.
    pub init: bool,
    /// A start-up IPI, with its vector.
    pub start_up: Option<u8>,
    /// An ExtINT message; INTA cycles at the 8259A give the vector.
    pub extint: bool,
}

/// A local APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lapic {
    id: u32,
    /// IA32_APIC_BASE.
    base: u64,
    tpr: u8,
    /// xAPIC logical destination, bits 31:24.
    ldr: u32,
    dfr: u32,
    svr: u32,
    isr: Vectors,
    tmr: Vectors,
    irr: Vectors,
    /// ESR as software sees it, and what was found since its last write.
    esr: u32,
    errors: u32,
    /// In x2APIC layout.
    icr: u64,
    lvt: [u32; 7],
    timer: Timer,
    /// Levels of the LINT0 (8259A INTR) and LINT1 (NMI) pins.
    lint: [bool; 2],
    /// What the engine takes at the next boundary.
    pub signals: Signals,
}

impl Lapic {
    /// The APIC of processor `id` at power-on: enabled, in xAPIC mode; number 0 is the bootstrap processor's.
    pub fn new(id: u32) -> Lapic {
        let mut a = Lapic {
            id,
            base: DEFAULT_BASE | ENABLED | if id == 0 { BSP } else { 0 },
            tpr: 0,
            ldr: 0,
            dfr: 0,
            svr: 0,
            isr: Vectors::default(),
            tmr: Vectors::default(),
            irr: Vectors::default(),
            esr: 0,
            errors: 0,
            icr: 0,
            lvt: [0; 7],
            timer: Timer::default(),
            lint: [false; 2],
            signals: Signals::default(),
        };
        a.reset();
        a
    }

    /// INIT: all registers but ID and IA32_APIC_BASE as at power-on. Source: SDM vol. 3A, 11.4.7.3.
    pub fn reset(&mut self) {
        (self.tpr, self.ldr, self.dfr, self.svr) = (0, 0, u32::MAX, 0xff);
        (self.isr, self.tmr, self.irr) = Default::default();
        (self.esr, self.errors, self.icr) = (0, 0, 0);
        self.lvt = [LVT_MASKED; 7];
        self.timer.reset();
    }

    /// As firmware leaves it: software-enabled, the bootstrap processor's LINT0 passes the 8259A pair's interrupts
    /// (virtual wire mode), LINT1 is NMI. Source: MultiProcessor Specification 1.4, 3.6.2.2.
    pub fn set_firmware_state(&mut self) {
        self.svr = 0x1ff;
        self.lvt[Lvt::Lint0 as usize] = if self.base & BSP != 0 { 0x700 } else { LVT_MASKED };
        self.lvt[Lvt::Lint1 as usize] = 0x400;
    }

    /// APIC number.
    pub fn id(&self) -> u32 {
        self.id
    }
    /// IA32_APIC_BASE.
    pub fn base(&self) -> u64 {
        self.base
    }
    /// Physical address of the register page while registers are memory-mapped (xAPIC mode).
    pub fn page(&self) -> Option<u64> {
        (self.base & MODE_X2APIC == ENABLED).then_some(self.base & !0xfff)
    }
    /// Are the registers MSRs?
    pub fn is_x2apic(&self) -> bool {
        self.base & MODE_X2APIC == MODE_X2APIC
    }
    /// Not disabled through IA32_APIC_BASE?
    pub fn is_enabled(&self) -> bool {
        self.base & ENABLED != 0
    }

    /// Writes IA32_APIC_BASE. Source: SDM vol. 3A, 11.12.5 (x2APIC state transitions).
    ///
    /// # Errors
    /// Reserved bits, and transitions that do not exist.
    pub fn set_base(&mut self, to: u64) -> Result<(), Refused> {
        let address = (1 << crate::paging::MAXPHYADDR) - 0x1000;
        let (old, new) = (self.base & MODE_X2APIC, to & MODE_X2APIC);
        let exists = new != EXTD && !(old == MODE_X2APIC && new == ENABLED) && !(old == 0 && new == MODE_X2APIC);
        if to & !(address | MODE_X2APIC | BSP) != 0 || !exists {
            return Err(Refused);
        }
        if old != 0 && new == 0 {
            self.reset();
        }
        self.base = to;
        Ok(())
    }

    /// Task priority register.
    pub fn tpr(&self) -> u8 {
        self.tpr
    }
    /// Writes the task priority register (MOV to CR8 writes its upper half).
    pub fn set_tpr(&mut self, to: u8) {
        self.tpr = to;
    }

    /// Processor priority: the higher of task priority and the class in service.
    pub fn ppr(&self) -> u8 {
        let in_service = self.isr.highest().unwrap_or(0);
        if self.tpr >> 4 >= in_service >> 4 { self.tpr } else { in_service & 0xf0 }
    }

    /// The vector to be interrupted with, if the priorities allow one.
    pub fn pending(&self) -> Option<u8> {
        self.irr.highest().filter(|v| self.is_enabled() && v >> 4 > self.ppr() >> 4)
    }

    /// The processor takes the pending interrupt: its vector, or the spurious one when it has gone away.
    pub fn acknowledge(&mut self) -> u8 {
        let Some(v) = self.pending() else { return self.svr as u8 };
        self.irr.set(v, false);
        self.isr.set(v, true);
        v
    }

    /// Does an interrupt request of the 8259A pair reach the processor?
    pub fn accepts_extint(&self) -> bool {
        let lint0 = self.lvt[Lvt::Lint0 as usize];
        self.signals.extint || self.lint[0] && (!self.is_enabled() || lint0 & (LVT_MASKED | 0x700) == 0x700)
    }

    /// The level of the 8259A pair's INTR output (LINT0).
    pub fn set_lint0(&mut self, level: bool) {
        self.set_lint(0, Lvt::Lint0, level);
    }
    /// The level of the NMI pin (LINT1).
    pub fn set_lint1(&mut self, level: bool) {
        self.set_lint(1, Lvt::Lint1, level);
    }
    fn set_lint(&mut self, n: usize, entry: Lvt, level: bool) {
        let rises = level && !self.lint[n];
        self.lint[n] = level;
        let is_extint = self.lvt[entry as usize] & 0x700 == 0x700;
        if rises && !self.is_enabled() && n == 1 {
            self.signals.nmi = true;
        } else if rises && !is_extint {
            self.local(entry);
        }
    }

    /// Accepts a fixed interrupt into the IRR; vectors below 16 are an error.
    pub fn accept(&mut self, vector: u8, level: bool) {
        if !self.is_enabled() || self.svr & 0x100 == 0 {
            return;
        }
        if vector < 16 {
            return self.error(error::RECEIVE_ILLEGAL_VECTOR);
        }
        self.irr.set(vector, true);
        self.tmr.set(vector, level);
    }

    /// The PMU asks for an interrupt: delivered through LVTPC, which is masked then; dropped when it is masked.
    /// Source: SDM vol. 3A, 11.5.1 (the mask bit is set by the delivery); spec/pmu.md 1.8.5.
    pub fn performance_interrupt(&mut self) {
        if self.is_enabled() && self.lvt[Lvt::Performance as usize] & LVT_MASKED == 0 {
            self.local(Lvt::Performance);
            self.lvt[Lvt::Performance as usize] |= LVT_MASKED;
        }
    }

    /// When the timer raises an interrupt next, as a clock; possibly in the past.
    pub fn next_timer(&self) -> Option<u64> {
        let lvt = self.lvt[Lvt::Timer as usize];
        if lvt & LVT_MASKED != 0 || !self.is_enabled() { None } else { self.timer.due(Mode::of(lvt)) }
    }

    /// Lets the timer go on to `clock`.
    pub fn advance(&mut self, clock: u64) {
        if self.timer.advance(Mode::of(self.lvt[Lvt::Timer as usize]), clock) {
            self.local(Lvt::Timer);
        }
    }

    /// IA32_TSC_DEADLINE.
    pub fn deadline(&mut self, clock: u64) -> u64 {
        self.advance(clock);
        self.timer.deadline()
    }
    /// Writes IA32_TSC_DEADLINE.
    pub fn set_deadline(&mut self, tsc: u64, clock: u64) {
        self.advance(clock);
        self.timer.set_deadline(Mode::of(self.lvt[Lvt::Timer as usize]), tsc);
    }
    /// Tells the timer how far the TSC is ahead of the clock.
    pub fn set_tsc_offset(&mut self, offset: u64) {
        self.timer.set_tsc_offset(offset);
    }

    /// Delivers a local interrupt as its LVT entry says.
    fn local(&mut self, entry: Lvt) {
        let lvt = self.lvt[entry as usize];
        if lvt & LVT_MASKED != 0 {
            return;
        }
        let mode =
            if matches!(entry, Lvt::Timer | Lvt::Error) { Some(Delivery::Fixed) } else { Delivery::of(lvt >> 8) };
        match mode {
            Some(Delivery::StartUp | Delivery::LowestPriority) | None => {}
            Some(mode) => self.receive(mode, lvt as u8, false),
        }
    }

    fn error(&mut self, bits: u32) {
        let again = self.errors & bits == bits;
        self.errors |= bits;
        let lvt = self.lvt[Lvt::Error as usize];
        if !again && lvt & LVT_MASKED == 0 && lvt as u8 >= 16 {
            self.accept(lvt as u8, false);
        }
    }

    fn logical_id(&self) -> u32 {
        if self.is_x2apic() { (self.id >> 4) << 16 | 1 << (self.id & 15) } else { self.ldr }
    }

    /// Reads register `n` (MMIO offset / 16, x2APIC MSR - 800h).
    ///
    /// # Errors
    /// No such register, or not readable in x2APIC mode.
    pub fn read(&mut self, n: u32, clock: u64) -> Result<u64, Refused> {
        self.advance(clock);
        let x2 = self.is_x2apic();
        let word = |v: &Vectors| v.0[(n & 7) as usize];
        Ok(u64::from(match n {
            reg::ID => self.id << if x2 { 0 } else { 24 },
            reg::VERSION => VERSION,
            reg::TPR => u32::from(self.tpr),
            reg::APR | reg::RRD if !x2 => 0,
            reg::PPR => u32::from(self.ppr()),
            reg::EOI if !x2 => 0,
            reg::LDR => self.logical_id(),
            reg::DFR if !x2 => self.dfr,
            reg::SVR => self.svr,
            reg::ISR..reg::TMR => word(&self.isr),
            reg::TMR..reg::IRR => word(&self.tmr),
            reg::IRR..reg::ESR => word(&self.irr),
            reg::ESR => self.esr,
            reg::ICR if x2 => return Ok(self.icr),
            reg::ICR => self.icr as u32,
            reg::ICR_HIGH if !x2 => ((self.icr >> 32) as u32) << 24,
            reg::INITIAL => self.timer.initial(),
            reg::CURRENT => self.timer.current(Mode::of(self.lvt[Lvt::Timer as usize]), clock),
            reg::DIVIDE => self.timer.divide(),
            _ => self.lvt[Lvt::of(n).ok_or(Refused)? as usize],
        }))
    }

    /// Writes register `n`, and says what that sends out.
    ///
    /// # Errors
    /// No such register, not writable, or (in x2APIC mode) reserved bits set.
    pub fn write(&mut self, n: u32, v: u64, clock: u64) -> Result<Option<Signal>, Refused> {
        self.advance(clock);
        let x2 = self.is_x2apic();
        if x2 {
            check_x2apic(n, v)?;
        }
        let low = v as u32;
        match n {
            reg::ID if !x2 => {}
            reg::TPR => self.tpr = low as u8,
            reg::EOI => return Ok(self.end_of_interrupt()),
            reg::LDR if !x2 => self.ldr = low & 0xff00_0000,
            reg::DFR if !x2 => self.dfr = low | 0x0fff_ffff,
            reg::SVR => self.set_svr(low),
            reg::ESR => self.esr = std::mem::take(&mut self.errors),
            reg::ICR => return Ok(self.send(if x2 { v } else { self.icr & !0xffff_ffff | u64::from(low & 0xc_cfff) })),
            reg::ICR_HIGH if !x2 => self.icr = self.icr & 0xffff_ffff | u64::from(low >> 24) << 32,
            reg::INITIAL => self.timer.start(Mode::of(self.lvt[Lvt::Timer as usize]), low, clock),
            reg::DIVIDE => self.timer.set_divide(Mode::of(self.lvt[Lvt::Timer as usize]), low, clock),
            reg::SELF_IPI if x2 => return Ok(self.send_to_self(low as u8)),
            _ => self.set_lvt(Lvt::of(n).ok_or(Refused)?, low),
        }
        Ok(None)
    }

    /// Reads the register page at `offset`; an offset without register reads zero and is an error in ESR.
    pub fn read_page(&mut self, offset: u32, clock: u64) -> u32 {
        let inside = offset & 0xf;
        match self.read(offset >> 4 & 0xff, clock) {
            Ok(v) if inside < 4 => (v >> (8 * inside)) as u32,
            Ok(_) => 0,
            Err(Refused) => {
                self.error(error::ILLEGAL_REGISTER);
                0
            }
        }
    }

    /// Writes the register page at `offset`.
    pub fn write_page(&mut self, offset: u32, v: u32, clock: u64) -> Option<Signal> {
        if offset & 0xf != 0 {
            return None;
        }
        self.write(offset >> 4 & 0xff, u64::from(v), clock).unwrap_or_else(|Refused| {
            self.error(error::ILLEGAL_REGISTER);
            None
        })
    }

    fn end_of_interrupt(&mut self) -> Option<Signal> {
        let v = self.isr.highest()?;
        self.isr.set(v, false);
        self.tmr.get(v).then_some(Signal::EndOfInterrupt(v))
    }

    fn set_svr(&mut self, v: u32) {
        self.svr = v & 0x3ff;
        if self.svr & 0x100 == 0 {
            self.lvt.iter_mut().for_each(|l| *l |= LVT_MASKED);
        }
    }

    fn set_lvt(&mut self, entry: Lvt, v: u32) {
        let disabled = if self.svr & 0x100 == 0 { LVT_MASKED } else { 0 };
        let new = v & entry.writable() | disabled;
        if entry == Lvt::Timer {
            self.timer.change_mode(Mode::of(self.lvt[entry as usize]), Mode::of(new));
        }
        self.lvt[entry as usize] = new;
    }

    fn send(&mut self, icr: u64) -> Option<Signal> {
        self.icr = icr;
        let has_vector = matches!(Delivery::of((icr >> 8) as u32), Some(Delivery::Fixed | Delivery::LowestPriority));
        if has_vector && (icr as u8) < 16 {
            self.error(error::SEND_ILLEGAL_VECTOR);
            return None;
        }
        Some(Signal::Ipi(icr))
    }

    fn send_to_self(&mut self, vector: u8) -> Option<Signal> {
        if vector < 16 {
            self.error(error::SEND_ILLEGAL_VECTOR);
            return None;
        }
        Some(Signal::Ipi(1 << 18 | u64::from(vector)))
    }
}

/// Reserved bits and read-only registers of x2APIC mode. Source: SDM vol. 3A, 11.12.1.2 and .3.
fn check_x2apic(n: u32, v: u64) -> Result<(), Refused> {
    let legal = match n {
        reg::TPR | reg::SELF_IPI => 0xff,
        reg::EOI | reg::ESR => 0,
        reg::SVR => 0x3ff,
        reg::ICR => 0xffff_ffff_000c_cfff,
        reg::INITIAL => 0xffff_ffff,
        reg::DIVIDE => 0xb,
        _ => u64::from(Lvt::of(n).ok_or(Refused)?.writable()) | 0x5000,
    };
    if v & !legal == 0 { Ok(()) } else { Err(Refused) }
}

#[cfg(test)]
mod tests;
