//! virtio-rng: an entropy source whose bytes follow from a seed, so that runs repeat.
//!
//! Source: VIRTIO specification 1.2, section 5.4; the generator is [`Random`].

use super::{Broken, Model, Queue};
use emu_core::{Cx, Random};

/// Bytes given for one request at most; a driver asks again for more.
const MOST_BYTES: usize = 64 << 10;

/// The entropy source.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: u64,
    state: Random,
}

impl Rng {
    /// A source whose bytes follow from `seed`.
    pub fn new(seed: u64) -> Rng {
        Rng { seed, state: Random(seed) }
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| self.state.next().to_le_bytes()).collect();
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
        self.state = Random(self.seed);
    }
}
