//! A split virtqueue: the guest's descriptor table, available ring and used ring.
//!
//! The three lie in guest memory and are read anew at each use, through the machine's DMA doors. Every index is
//! checked against the queue's size, a chain may not be longer than the table, and its buffers must be memory.
//!
//! Source: VIRTIO specification 1.2, section 2.7.

use emu_core::{Cx, Gpa};

/// What the driver wrote makes no sense: the device needs a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

mod flag {
    /// Descriptor: the chain goes on.
    pub const NEXT: u16 = 1;
    /// Descriptor: the device writes this buffer.
    pub const WRITE: u16 = 2;
    /// Descriptor: a table of descriptors, which is not offered.
    pub const INDIRECT: u16 = 4;
    /// Available ring: do not interrupt.
    pub const NO_INTERRUPT: u16 = 1;
}

/// A buffer of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where.
    pub at: Gpa,
    /// How long.
    pub bytes: u32,
}

/// A chain of buffers that the driver made available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its first descriptor, which names it in the used ring.
    head: u16,
    /// What the device reads.
    pub readable: Vec<Part>,
    /// What the device writes.
    pub writable: Vec<Part>,
}

/// A queue as the driver has set it up.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Largest size, as the device offers it.
    pub most: u16,
    /// Descriptors: a power of two up to `most`.
    pub entries: u16,
    /// Whether the driver has enabled it.
    pub enabled: bool,
    /// The descriptor table, 16-byte aligned.
    pub descriptors: u64,
    /// The available ring, 2-byte aligned.
    pub available: u64,
    /// The used ring, 4-byte aligned.
    pub used: u64,
    /// MSI-X message, FFFFh for none.
    pub vector: u16,
    next_available: u16,
    next_used: u16,
    /// Something was used since the driver was last told.
    signal: bool,
}

impl Queue {
    /// A queue of at most `most` descriptors, not set up yet.
    pub fn new(most: u16) -> Queue {
        Queue {
            most,
            entries: most,
            enabled: false,
            descriptors: 0,
            available: 0,
            used: 0,
            vector: 0xffff,
            next_available: 0,
            next_used: 0,
            signal: false,
        }
    }

    /// Whether the rings are aligned as they must be.
    pub fn is_aligned(&self) -> bool {
        self.descriptors.is_multiple_of(16) && self.available.is_multiple_of(2) && self.used.is_multiple_of(4)
    }

    /// Takes the next available chain.
    ///
    /// # Errors
    /// [`Broken`] when the ring, the chain or one of its buffers makes no sense.
    pub fn pop(&mut self, cx: &Cx<'_>) -> Result<Option<Chain>, Broken> {
        if !self.enabled {
            return Ok(None);
        }
        let written = read_u16(self.available.wrapping_add(2), cx)?;
        match written.wrapping_sub(self.next_available) {
            0 => return Ok(None),
            waiting if waiting > self.entries => return Err(Broken),
            _ => {}
        }
        let slot = u64::from(self.next_available % self.entries);
        let head = read_u16(self.available.wrapping_add(4 + 2 * slot), cx)?;
        let chain = self.walk(head, cx)?;
        self.next_available = self.next_available.wrapping_add(1);
        Ok(Some(chain))
    }

    fn walk(&self, head: u16, cx: &Cx<'_>) -> Result<Chain, Broken> {
        let mut chain = Chain { head, readable: Vec::new(), writable: Vec::new() };
        let mut index = head;
        for _ in 0..self.entries {
            if index >= self.entries {
                return Err(Broken);
            }
            let mut raw = [0; 16];
            if !cx.dma_read(Gpa(self.descriptors.wrapping_add(16 * u64::from(index))), &mut raw) {
                return Err(Broken);
            }
            let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, f0, f1, n0, n1] = raw;
            let part = Part {
                at: Gpa(u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7])),
                bytes: u32::from_le_bytes([l0, l1, l2, l3]),
            };
            let flags = u16::from_le_bytes([f0, f1]);
            // Buffers to read come before buffers to write.
            if flags & flag::INDIRECT != 0 || flags & flag::WRITE == 0 && !chain.writable.is_empty() {
                return Err(Broken);
            }
            if flags & flag::WRITE != 0 { &mut chain.writable } else { &mut chain.readable }.push(part);
            if flags & flag::NEXT == 0 {
                return Ok(chain);
            }
            index = u16::from_le_bytes([n0, n1]);
        }
        Err(Broken)
    }

    /// Gives `chain` back, with `written` bytes written into it.
    ///
    /// # Errors
    /// [`Broken`] when the used ring is not memory.
    pub fn push(&mut self, chain: &Chain, written: u32, cx: &mut Cx<'_>) -> Result<(), Broken> {
        let slot = u64::from(self.next_used % self.entries);
        let mut element = [0; 8];
        element[..4].copy_from_slice(&u32::from(chain.head).to_le_bytes());
        element[4..].copy_from_slice(&written.to_le_bytes());
        self.next_used = self.next_used.wrapping_add(1);
        let done = cx.dma_write(Gpa(self.used.wrapping_add(4 + 8 * slot)), &element)
            && cx.dma_write(Gpa(self.used.wrapping_add(2)), &self.next_used.to_le_bytes());
        if !done {
            return Err(Broken);
        }
        self.signal |= read_u16(self.available, cx)? & flag::NO_INTERRUPT == 0;
        Ok(())
    }

    /// Whether the driver is to be interrupted for what was used; asking answers once.
    pub fn take_signal(&mut self) -> bool {
        std::mem::take(&mut self.signal)
    }
}

fn read_u16(at: u64, cx: &Cx<'_>) -> Result<u16, Broken> {
    let mut bytes = [0; 2];
    if cx.dma_read(Gpa(at), &mut bytes) { Ok(u16::from_le_bytes(bytes)) } else { Err(Broken) }
}
