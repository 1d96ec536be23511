//! A function's interrupts: the MSI-X table with its pending bits, and the INTx pin for drivers without it.
//!
//! Source: PCI Local Bus specification 3.0, section 6.8.2 (MSI-X), and 2.2.6 (INTx).

use emu_core::Cx;

/// Where a function keeps its MSI-X table and pending bits, both in one BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixPlace {
    /// Messages, 1 to 2048.
    pub vectors: u16,
    /// The BAR.
    pub bar: usize,
    /// Offset of the table, 16 bytes a message; a multiple of 8.
    pub table: u32,
    /// Offset of the pending bits; a multiple of 8, behind the table.
    pub pending: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    address: u64,
    data: u32,
    control: u32,
}

/// A message after reset: masked.
const MASKED: Entry = Entry { address: 0, data: 0, control: 1 };

/// The interrupts of one function.
#[derive(Clone, Debug)]
pub struct Signals {
    place: Option<MsixPlace>,
    entries: Vec<Entry>,
    pending: Vec<bool>,
    enabled: bool,
    masked: bool,
    intx: bool,
}

impl Signals {
    /// Interrupts of a function whose table is at `place`.
    pub fn new(place: Option<MsixPlace>) -> Signals {
        let vectors = usize::from(place.map_or(0, |p| p.vectors));
        Signals {
            place,
            entries: vec![MASKED; vectors],
            pending: vec![false; vectors],
            enabled: false,
            masked: false,
            intx: false,
        }
    }

    /// Whether the driver has switched MSI-X on, which takes INTx out of use.
    pub fn msix_enabled(&self) -> bool {
        self.enabled
    }

    /// Drives the INTx pin.
    pub fn set_intx(&mut self, asserted: bool) {
        self.intx = asserted;
    }

    /// Whether the INTx pin is asserted.
    pub fn intx(&self) -> bool {
        self.intx && !self.enabled
    }

    /// The MSI-X capability's enable and function mask bits, as the guest has just set them.
    pub fn set_control(&mut self, enabled: bool, masked: bool, cx: &mut Cx<'_>) {
        (self.enabled, self.masked) = (enabled, masked);
        for n in 0..self.entries.len() {
            self.retry(n, cx);
        }
    }

    /// Sends message `vector`, or remembers it while it is masked. A number the table lacks is dropped.
    pub fn message(&mut self, vector: u16, cx: &mut Cx<'_>) {
        let n = usize::from(vector);
        if let Some(pending) = self.pending.get_mut(n).filter(|_| self.enabled) {
            *pending = true;
            self.retry(n, cx);
        }
    }

    fn retry(&mut self, n: usize, cx: &mut Cx<'_>) {
        let entry = self.entries[n];
        if self.pending[n] && self.enabled && !self.masked && entry.control & 1 == 0 {
            self.pending[n] = false;
            cx.message(entry.address, entry.data);
        }
    }

    /// Where in the table or pending bits `offset` of `bar` lies: (in the table, offset).
    fn place(&self, bar: usize, offset: u64) -> Option<(bool, u64)> {
        let p = self.place.filter(|p| p.bar == bar)?;
        let (table, pending) = (u64::from(p.table), u64::from(p.pending));
        let (table_bytes, pending_bytes) = (16 * u64::from(p.vectors), u64::from(p.vectors).div_ceil(64) * 8);
        if (table..table + table_bytes).contains(&offset) {
            Some((true, offset - table))
        } else if (pending..pending + pending_bytes).contains(&offset) {
            Some((false, offset - pending))
        } else {
            None
        }
    }

    /// Reads the table or the pending bits; `None` when `offset` of `bar` is neither.
    pub fn read(&self, bar: usize, offset: u64) -> Option<u64> {
        let (table, offset) = self.place(bar, offset)?;
        if !table {
            let first = offset as usize / 8 * 64;
            let bits = self.pending.iter().skip(first).take(64).enumerate();
            return Some(bits.fold(0, |all, (n, set)| all | u64::from(*set) << n) >> (8 * (offset & 7)));
        }
        let entry = self.entries.get(offset as usize / 16)?;
        let quad = match offset & 8 {
            0 => entry.address,
            _ => u64::from(entry.data) | u64::from(entry.control) << 32,
        };
        Some(quad >> (8 * (offset & 7)))
    }

    /// Writes the table; false when `offset` of `bar` is neither the table nor the pending bits.
    ///
    /// Accesses are of 4 or 8 bytes, aligned; others are dropped, as the specification leaves them undefined.
    pub fn write(&mut self, bar: usize, offset: u64, bytes: u32, value: u64, cx: &mut Cx<'_>) -> bool {
        let Some((table, offset)) = self.place(bar, offset) else { return false };
        if !table || bytes < 4 || offset % u64::from(bytes) != 0 {
            return true;
        }
        self.write_dword(offset, value as u32, cx);
        if bytes == 8 {
            self.write_dword(offset + 4, (value >> 32) as u32, cx);
        }
        true
    }

    fn write_dword(&mut self, offset: u64, value: u32, cx: &mut Cx<'_>) {
        let n = offset as usize / 16;
        let Some(entry) = self.entries.get_mut(n) else { return };
        match offset & 0xc {
            0x0 => entry.address = entry.address & !0xffff_ffff | u64::from(value & !3),
            0x4 => entry.address = entry.address & 0xffff_ffff | u64::from(value) << 32,
            0x8 => entry.data = value,
            _ => {
                entry.control = value & 1;
                self.retry(n, cx);
            }
        }
    }

    /// Power-on state: everything masked, nothing pending.
    pub fn reset(&mut self) {
        *self = Signals::new(self.place);
    }
}
