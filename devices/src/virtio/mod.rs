//! virtio over PCI: the modern transport, split queues, an entropy source and a console.
//!
//! - [`queue`]: a split virtqueue over the machine's DMA doors.
//! - [`transport`]: virtio-pci: the registers around any [`Model`].
//! - [`rng`], [`console`]: two models.
//!
//! Everything in a ring is the guest's word and is checked: what makes no sense sets DEVICE_NEEDS_RESET, and nothing
//! more is done for the guest until it resets the device.
//!
//! Source: Virtual I/O Device (VIRTIO) specification 1.2, 2022.

pub mod console;
pub mod queue;
pub mod rng;
pub mod transport;

pub use console::Console;
pub use queue::{Broken, Queue};
pub use rng::Rng;
pub use transport::VirtioPci;

use emu_core::Cx;

/// What is behind the transport: a kind of device.
pub trait Model {
    /// Its name, for lists and logs.
    fn name(&self) -> &'static str;
    /// Its virtio device type.
    fn kind(&self) -> u16;
    /// PCI class, subclass and programming interface.
    fn class(&self) -> u32;
    /// Feature bits that it offers beside VERSION_1.
    fn features(&self) -> u64 {
        0
    }
    /// Largest size of each of its queues: powers of two.
    fn queues(&self) -> &'static [u16];
    /// Reads its configuration, byte by byte.
    fn config(&self, offset: u64) -> u8 {
        let _ = offset;
        0
    }
    /// Writes its configuration.
    fn set_config(&mut self, offset: u64, bytes: u32, value: u64, cx: &mut Cx<'_>) {
        let _ = (offset, bytes, value, cx);
    }
    /// The driver put buffers into queue `n` of `queues`.
    ///
    /// # Errors
    /// [`Broken`] when the ring makes no sense.
    fn notify(&mut self, n: usize, queues: &mut [Queue], cx: &mut Cx<'_>) -> Result<(), Broken>;
    /// Bytes from the host; returns how many were taken.
    ///
    /// # Errors
    /// [`Broken`] when the ring makes no sense.
    fn input(&mut self, bytes: &[u8], queues: &mut [Queue], cx: &mut Cx<'_>) -> Result<usize, Broken> {
        let _ = (bytes, queues, cx);
        Ok(0)
    }
    /// Power-on state again.
    fn reset(&mut self) {}
}
