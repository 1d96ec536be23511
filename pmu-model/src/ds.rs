//! The debug store save area: where PEBS records go, and what counters are reloaded with.
//!
//! All accesses are by linear address with supervisor privilege, in the paging context of the moment. Memory that is not
//! there makes them fail whole. Source: SDM vol. 3B, 18.4.9 (DS save area, 64-bit), as in spec/pmu.md 3.1.

use cpu_x86::Sampled;

/// Bytes of the area's head: four fields for branch traces, four for PEBS.
const HEAD_BYTES: usize = 64;
const PEBS_INDEX: u64 = 0x28;
const RESET: u64 = 0x40;

/// Where the reset values of fixed counters stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// PEBS formats up to 4: behind eight general counters.
    #[default]
    Format4,
    /// Formats 5 and later: behind 32.
    Format5,
}

/// The PEBS half of the area's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Linear address of the first record.
    pub base: u64,
    /// Of the next one.
    pub index: u64,
    /// No record may reach beyond it.
    pub maximum: u64,
    /// When the index reaches it, an interrupt is requested.
    pub threshold: u64,
}

/// Reads the head of the area at `area`; `None`: it is not mapped.
pub fn buffer(area: u64, processor: &mut dyn Sampled) -> Option<Buffer> {
    let mut head = [0; HEAD_BYTES];
    let field = |head: &[u8; HEAD_BYTES], at: usize| u64::from_le_bytes(std::array::from_fn(|n| head[at + n]));
    processor.read(area, &mut head).then(|| Buffer {
        base: field(&head, 0x20),
        index: field(&head, 0x28),
        maximum: field(&head, 0x30),
        threshold: field(&head, 0x38),
    })
}

/// Writes the index of the area's PEBS buffer. False: it cannot be written.
pub fn set_index(area: u64, index: u64, processor: &mut dyn Sampled) -> bool {
    processor.write(area.wrapping_add(PEBS_INDEX), &index.to_le_bytes())
}

/// The value that the counter at GLOBAL_STATUS bit `bit` is reloaded with; `None`: it cannot be read.
pub fn reset_value(area: u64, layout: Layout, bit: u32, processor: &mut dyn Sampled) -> Option<u64> {
    let slot = match (bit, layout) {
        (0..32, _) => bit,
        (_, Layout::Format4) => bit - 32 + 8,
        (_, Layout::Format5) => bit,
    };
    let mut value = [0; 8];
    let at = area.wrapping_add(RESET + 8 * u64::from(slot));
    processor.read(at, &mut value).then(|| u64::from_le_bytes(value))
}

impl Buffer {
    /// Where the buffer stands after a record of `bytes`; `None`: there is no room for it.
    pub fn after(&self, bytes: usize) -> Option<Buffer> {
        let index = self.index.checked_add(bytes as u64).filter(|&end| end <= self.maximum)?;
        Some(Buffer { index, ..*self })
    }

    /// Has the index reached the threshold?
    pub fn is_due(&self) -> bool {
        self.index >= self.threshold
    }
}
