//! Interrupt messages: what travels between APICs, and whom it reaches.
//!
//! Source: SDM vol. 3A, 11.6 (IPIs), 11.6.2 (destinations), 11.11 (message-signalled interrupts), 11.12.9 (ICR).

use super::Lapic;

/// Delivery mode, bits 10:8 of ICR, LVT, redirection entry and MSI data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// To every destination, with the vector.
    Fixed,
    /// To the one destination of lowest priority.
    LowestPriority,
    /// System management interrupt; this machine has no SMM and ignores it.
    Smi,
    /// Non-maskable interrupt.
    Nmi,
    /// INIT.
    Init,
    /// Start-up IPI; the vector is the page of the start address.
    StartUp,
    /// As if the 8259A pair had asked.
    ExtInt,
}

impl Delivery {
    /// Decodes the three bits; the reserved encoding is `None`.
    pub const fn of(bits: u32) -> Option<Delivery> {
        match bits & 7 {
            0 => Some(Delivery::Fixed),
            1 => Some(Delivery::LowestPriority),
            2 => Some(Delivery::Smi),
            4 => Some(Delivery::Nmi),
            5 => Some(Delivery::Init),
            6 => Some(Delivery::StartUp),
            7 => Some(Delivery::ExtInt),
            _ => None,
        }
    }
}

/// Whom an IPI is for, besides its destination field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shorthand {
    /// The destination field decides.
    #[default]
    None,
    /// The sender.
    Own,
    /// All processors.
    All,
    /// All but the sender.
    Others,
}

/// One interrupt message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// APIC number, or a set of logical ones. As a physical destination FFFFFFFFh reaches everybody, FFh all in xAPIC mode.
    pub destination: u32,
    /// Is `destination` logical?
    pub logical: bool,
    /// Overrides the destination.
    pub shorthand: Shorthand,
    #[allow(missing_docs, reason = "the words are the SDM's")]
    pub mode: Delivery,
    #[allow(missing_docs, reason = "the words are the SDM's")]
    pub vector: u8,
    /// Level-triggered: an end of interrupt is reported back.
    pub level: bool,
}

impl Message {
    /// The message that writing `icr` (x2APIC layout) sends; `None` for the INIT de-assert, which does nothing, and
    /// for the reserved delivery mode.
    pub fn from_icr(icr: u64) -> Option<Message> {
        let mode = Delivery::of((icr >> 8) as u32)?;
        let (asserted, level) = (icr & 1 << 14 != 0, icr & 1 << 15 != 0);
        if mode == Delivery::Init && level && !asserted {
            return None;
        }
        Some(Message {
            destination: (icr >> 32) as u32,
            logical: icr & 1 << 11 != 0,
            shorthand: [Shorthand::None, Shorthand::Own, Shorthand::All, Shorthand::Others][(icr >> 18 & 3) as usize],
            mode,
            vector: icr as u8,
            level: false,
        })
    }

    /// The message of a write of `data` to `address` (FEExxxxxh).
    pub fn from_msi(address: u64, data: u32) -> Option<Message> {
        Some(Message {
            destination: match (address >> 12) as u32 & 0xff {
                0xff if address & 4 == 0 => u32::MAX,
                number => number,
            },
            logical: address & 4 != 0,
            shorthand: Shorthand::None,
            mode: Delivery::of(data >> 8)?,
            vector: data as u8,
            level: data & 1 << 15 != 0,
        })
    }
}

impl Lapic {
    /// Does message `m`, sent by APIC number `source`, reach this APIC?
    ///
    /// An APIC that is disabled by IA32_APIC_BASE receives nothing.
    pub fn is_target(&self, m: &Message, source: u32) -> bool {
        if !self.is_enabled() {
            return false;
        }
        match m.shorthand {
            Shorthand::None => self.matches(m.destination, m.logical),
            Shorthand::Own => self.id == source,
            Shorthand::All => true,
            Shorthand::Others => self.id != source,
        }
    }

    /// Is this APIC meant by `destination`?
    pub fn matches(&self, destination: u32, logical: bool) -> bool {
        if !logical {
            let everybody = destination == u32::MAX || destination == 0xff && !self.is_x2apic();
            return destination == self.id || everybody;
        }
        if self.is_x2apic() {
            let ldr = self.logical_id();
            return destination == u32::MAX || (destination ^ ldr) >> 16 == 0 && destination & ldr & 0xffff != 0;
        }
        let (ours, theirs) = (self.ldr >> 24, destination & 0xff);
        if self.dfr >> 28 == 0xf {
            ours & theirs != 0
        } else {
            let same_cluster = theirs >> 4 == ours >> 4 || theirs >> 4 == 0xf;
            same_cluster && ours & theirs & 0xf != 0
        }
    }

    /// Takes a message that reaches this APIC.
    pub fn receive(&mut self, mode: Delivery, vector: u8, level: bool) {
        match mode {
            Delivery::Fixed | Delivery::LowestPriority => self.accept(vector, level),
            Delivery::Nmi => self.signals.nmi = true,
            Delivery::Init => self.signals.init = true,
            Delivery::StartUp => self.signals.start_up = Some(vector),
            Delivery::ExtInt => self.signals.extint = true,
            Delivery::Smi => tracing::warn!(apic = self.id, "an SMI: this machine has no system management mode"),
        }
    }
}
