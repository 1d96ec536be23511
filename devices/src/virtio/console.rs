//! virtio-console: one port, hvc0 to Linux; queue 0 receives, queue 1 transmits.
//!
//! Source: VIRTIO specification 1.2, section 5.3.

use super::{Broken, Model, Queue};
use emu_core::{Cx, Gpa};

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
/// Feature: a byte can be written to the configuration before there are queues.
const EMERGENCY_WRITE: u64 = 1 << 2;
/// Bytes of one transmitted chain at most; more makes no sense for a terminal.
const MOST_BYTES: u64 = 1 << 20;

/// The console.
#[derive(Clone, Debug, Default)]
pub struct Console;

impl Model for Console {
    fn name(&self) -> &'static str {
        "virtio-console"
    }

    fn kind(&self) -> u16 {
        3
    }

    fn class(&self) -> u32 {
        0x07_8000
    }

    fn features(&self) -> u64 {
        EMERGENCY_WRITE
    }

    fn queues(&self) -> &'static [u16] {
        &[64, 64]
    }

    fn config(&self, offset: u64) -> u8 {
        // Columns and rows are not offered; one port.
        u8::from(offset == 4)
    }

    fn set_config(&mut self, offset: u64, _: u32, value: u64, cx: &mut Cx<'_>) {
        if offset == 8 {
            cx.output(&[value as u8]);
        }
    }

    fn notify(&mut self, n: usize, queues: &mut [Queue], cx: &mut Cx<'_>) -> Result<(), Broken> {
        if n != TRANSMIT {
            // Room for input; the host offers it again by itself.
            return Ok(());
        }
        let queue = queues.get_mut(TRANSMIT).ok_or(Broken)?;
        while let Some(chain) = queue.pop(cx)? {
            if chain.readable.iter().map(|part| u64::from(part.bytes)).sum::<u64>() > MOST_BYTES {
                return Err(Broken);
            }
            for part in &chain.readable {
                let mut bytes = vec![0; part.bytes as usize];
                if !cx.dma_read(part.at, &mut bytes) {
                    return Err(Broken);
                }
                cx.output(&bytes);
            }
            queue.push(&chain, 0, cx)?;
        }
        Ok(())
    }

    fn input(&mut self, bytes: &[u8], queues: &mut [Queue], cx: &mut Cx<'_>) -> Result<usize, Broken> {
        let queue = queues.get_mut(RECEIVE).ok_or(Broken)?;
        let mut taken = 0;
        while taken < bytes.len() {
            let Some(chain) = queue.pop(cx)? else { break };
            let before = taken;
            for part in &chain.writable {
                let count = (part.bytes as usize).min(bytes.len() - taken);
                if !cx.dma_write(Gpa(part.at.0), &bytes[taken..taken + count]) {
                    return Err(Broken);
                }
                taken += count;
            }
            queue.push(&chain, (taken - before) as u32, cx)?;
        }
        Ok(taken)
    }
}
