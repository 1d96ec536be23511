//! A function's configuration space: 256 bytes, each with a mask of the bits that the guest may change.
//!
//! Sizing a BAR works by itself: the address bits below its size are not writable, so all ones read back as the size.
//!
//! Source: PCI Local Bus specification 3.0, chapter 6.

use super::msix::MsixPlace;

/// What a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Vendor identifier.
    pub vendor: u16,
    /// Device identifier.
    pub device: u16,
    /// Class, subclass and programming interface: 24 bits.
    pub class: u32,
    /// Revision.
    pub revision: u8,
    /// Subsystem vendor and subsystem.
    pub subsystem: (u16, u16),
}

/// A memory BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// 0 to 5; a 64-bit BAR takes the next one too.
    pub index: usize,
    /// A power of two, 16 or more.
    pub bytes: u64,
    /// 64 bits wide.
    pub wide: bool,
}

/// Offsets in the header.
pub const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const BARS: usize = 0x10;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const INTERRUPT_PIN: usize = 0x3d;
const FIRST_CAPABILITY: usize = 0x40;

/// Command: memory decode.
const MEMORY: u16 = 1 << 1;
/// Command: INTx disable.
const INTX_OFF: u16 = 1 << 10;
/// Command bits that can be set: memory, bus master, parity, SERR, INTx disable.
const COMMAND_WRITABLE: u16 = MEMORY | 1 << 2 | 1 << 6 | 1 << 8 | INTX_OFF;
const MSIX_ID: u8 = 0x11;

/// A configuration space.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: [u8; 256],
    writable: [u8; 256],
    bars: Vec<Bar>,
    /// Where the MSI-X capability lies, if there is one.
    msix: Option<usize>,
    /// End of the capabilities so far, and the byte that points to the next.
    end: usize,
    link: usize,
}

impl ConfigSpace {
    /// A type 0 header for `identity` with `bars`, all at address 0 and with decoding off.
    pub fn new(identity: Identity, bars: Vec<Bar>) -> ConfigSpace {
        let mut c = ConfigSpace {
            bytes: [0; 256],
            writable: [0; 256],
            bars,
            msix: None,
            end: FIRST_CAPABILITY,
            link: CAPABILITIES,
        };
        c.put(0x00, &identity.vendor.to_le_bytes());
        c.put(0x02, &identity.device.to_le_bytes());
        c.put(0x08, &(identity.class << 8 | u32::from(identity.revision)).to_le_bytes());
        c.put(0x2c, &identity.subsystem.0.to_le_bytes());
        c.put(0x2e, &identity.subsystem.1.to_le_bytes());
        c.writable[COMMAND..COMMAND + 2].copy_from_slice(&COMMAND_WRITABLE.to_le_bytes());
        c.writable[INTERRUPT_LINE] = 0xff;
        for bar in c.bars.clone() {
            let at = BARS + 4 * bar.index;
            let mask = !(bar.bytes - 1);
            c.bytes[at] = if bar.wide { 4 } else { 0 };
            let bytes = if bar.wide { 8 } else { 4 };
            c.writable[at..at + bytes].copy_from_slice(&mask.to_le_bytes()[..bytes]);
        }
        c
    }

    /// Adds a capability; `body` follows the next pointer, and `writable` are the bits of it that can be changed.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> usize {
        let at = self.end;
        self.bytes[self.link] = at as u8;
        self.bytes[STATUS] |= 0x10;
        self.put(at, &[id, 0]);
        self.put(at + 2, body);
        self.writable[at + 2..at + 2 + writable.len()].copy_from_slice(writable);
        self.link = at + 1;
        self.end = (at + 2 + body.len()).next_multiple_of(4);
        at
    }

    /// Adds the MSI-X capability.
    pub fn add_msix(&mut self, place: MsixPlace) {
        let mut body = (place.vectors - 1).to_le_bytes().to_vec();
        body.extend((place.table | place.bar as u32).to_le_bytes());
        body.extend((place.pending | place.bar as u32).to_le_bytes());
        self.msix = Some(self.add_capability(MSIX_ID, &body, &[0, 0xc0]));
    }

    /// Says that the function uses INTA#, and which line that is.
    pub fn set_interrupt(&mut self, line: u8) {
        self.bytes[INTERRUPT_PIN] = 1;
        self.bytes[INTERRUPT_LINE] = line;
    }

    /// Whether MSI-X is (enabled, masked as a whole).
    pub fn msix_control(&self) -> (bool, bool) {
        let control = self.msix.map_or(0, |at| self.bytes[at + 3]);
        (control & 0x80 != 0, control & 0x40 != 0)
    }

    /// The BARs.
    pub fn bars(&self) -> &[Bar] {
        &self.bars
    }

    /// Sets a BAR's address, as firmware would.
    pub fn set_bar(&mut self, bar: Bar, address: u64) {
        let low = self.bytes[BARS + 4 * bar.index] & 0xf;
        let bytes = if bar.wide { 8 } else { 4 };
        self.put(BARS + 4 * bar.index, &address.to_le_bytes()[..bytes]);
        self.bytes[BARS + 4 * bar.index] |= low;
    }

    /// Which BAR decodes `address`, and the offset into it.
    pub fn decode(&self, address: u64) -> Option<(usize, u64)> {
        if self.command() & MEMORY == 0 {
            return None;
        }
        self.bars.iter().find_map(|bar| {
            let at = BARS + 4 * bar.index;
            let high = if bar.wide { self.dword(at + 4) } else { 0 };
            let base = u64::from(self.dword(at) & !0xf) | u64::from(high) << 32;
            let offset = address.wrapping_sub(base);
            (base != 0 && offset < bar.bytes).then_some((bar.index, offset))
        })
    }

    /// Whether INTx may drive its line.
    pub fn intx_enabled(&self) -> bool {
        self.command() & INTX_OFF == 0
    }

    /// Shows the interrupt pin's state in the status register.
    pub fn show_intx(&mut self, asserted: bool) {
        self.bytes[STATUS] = self.bytes[STATUS] & !8 | u8::from(asserted) << 3;
    }

    /// Reads `bytes` (1, 2 or 4) bytes; zero beyond the end.
    pub fn read(&self, offset: u64, bytes: u32) -> u64 {
        (0..u64::from(bytes)).fold(0, |value, n| {
            let at = usize::try_from(offset + n).unwrap_or(usize::MAX);
            value | u64::from(self.bytes.get(at).copied().unwrap_or(0)) << (8 * n)
        })
    }

    /// Writes the bits that can be written.
    pub fn write(&mut self, offset: u64, bytes: u32, value: u64) {
        for n in 0..u64::from(bytes) {
            let at = usize::try_from(offset + n).unwrap_or(usize::MAX);
            let byte = (value >> (8 * n)) as u8;
            if let (Some(old), Some(mask)) = (self.bytes.get_mut(at), self.writable.get(at)) {
                *old = *old & !mask | byte & mask;
            }
        }
    }

    /// Everything that the guest switched on is off again; addresses stay, as firmware would set them again.
    pub fn reset(&mut self) {
        self.put(COMMAND, &[0, 0]);
        if let Some(at) = self.msix {
            self.bytes[at + 3] &= !0xc0;
        }
    }

    fn command(&self) -> u16 {
        u16::from_le_bytes([self.bytes[COMMAND], self.bytes[COMMAND + 1]])
    }

    fn dword(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}
