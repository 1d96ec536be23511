//! virtio-rng: an entropy source whose bytes follow from a seed, so that runs repeat.
//!
//! Source: VIRTIO specification 1.2, section 5.4; the generator: SplitMix64, Steele, Lea and Flood, OOPSLA 2014.

use super::{Broken, Model, Queue};
use emu_core::Cx;

/// Bytes given for one request at most; a driver asks again for more.
const MOST_BYTES: usize = 64 << 10;

/// The entropy source.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: u64,
    state: u64,
}

impl Rng {
    /// A source whose bytes follow from `seed`.
    pub fn new(seed: u64) -> Rng {
        Rng { seed, state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(count);
        bytes
    }
}

impl Model for Rng {
    fn name(&self) -> &'static str {
        "virtio-rng"
    }

    fn kind(&self) -> u16 {
        4
    }

    fn class(&self) -> u32 {
        0x00_ff00
    }

    fn queues(&self) -> &'static [u16] {
        &[64]
    }

    fn notify(&mut self, n: usize, queues: &mut [Queue], cx: &mut Cx<'_>) -> Result<(), Broken> {
        let queue = queues.get_mut(n).ok_or(Broken)?;
        while let Some(chain) = queue.pop(cx)? {
            let mut written = 0;
            for part in &chain.writable {
                let count = (part.bytes as usize).min(MOST_BYTES - written);
                let bytes = self.bytes(count);
                if !cx.dma_write(part.at, &bytes) {
                    return Err(Broken);
                }
                written += count;
            }
            queue.push(&chain, written as u32, cx)?;
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.state = self.seed;
    }
}
