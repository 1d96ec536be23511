//! virtio-pci, modern only: common configuration, notifications, ISR and device configuration in BAR 0, MSI-X in BAR 1.
//!
//! Differs: the capability that reaches the BARs through configuration space (VIRTIO_PCI_CAP_PCI_CFG) is not there.
//!
//! Source: VIRTIO specification 1.2, sections 4.1 (PCI transport) and 3.1 (initialisation).

use super::{Broken, Model, Queue};
use crate::pci::{Bar, Identity, MsixPlace, PciCx, PciFunction};
use emu_core::Cx;

const VENDOR: u16 = 0x1af4;
/// Device identifiers are this plus the device type.
const DEVICE_BASE: u16 = 0x1040;
const VERSION_1: u64 = 1 << 32;
const NO_VECTOR: u16 = 0xffff;

/// Offsets in BAR 0, a page each.
const ISR: u64 = 0x1000;
const DEVICE: u64 = 0x2000;
const NOTIFY: u64 = 0x3000;
/// Bytes between the notification addresses of two queues.
const NOTIFY_STEP: u32 = 4;

mod status {
    pub const DRIVER_OK: u8 = 4;
    pub const FEATURES_OK: u8 = 8;
    pub const NEEDS_RESET: u8 = 0x40;
}

/// A virtio device on the PCI bus.
pub struct VirtioPci<M> {
    model: M,
    queues: Vec<Queue>,
    status: u8,
    feature_select: u32,
    driver_select: u32,
    driver_features: u64,
    config_vector: u16,
    queue_select: u16,
    isr: u8,
}

impl<M: Model> VirtioPci<M> {
    /// `model` behind the transport.
    pub fn new(model: M) -> VirtioPci<M> {
        let queues = model.queues().iter().map(|most| Queue::new(*most)).collect();
        VirtioPci {
            model,
            queues,
            status: 0,
            feature_select: 0,
            driver_select: 0,
            driver_features: 0,
            config_vector: NO_VECTOR,
            queue_select: 0,
            isr: 0,
        }
    }

    fn vectors(&self) -> u16 {
        self.queues.len() as u16 + 1
    }

    fn features(&self) -> u64 {
        self.model.features() | VERSION_1
    }

    fn live(&self) -> bool {
        self.status & (status::DRIVER_OK | status::NEEDS_RESET) == status::DRIVER_OK
    }

    /// Calls the model, and tells the driver what came of it.
    fn act<T>(
        &mut self,
        cx: &mut PciCx<'_, '_>,
        call: impl FnOnce(&mut M, &mut [Queue], &mut Cx<'_>) -> Result<T, Broken>,
    ) -> Option<T> {
        let result = call(&mut self.model, &mut self.queues, cx.cx);
        for n in 0..self.queues.len() {
            if self.queues[n].take_signal() {
                self.interrupt(1, self.queues[n].vector, cx);
            }
        }
        if result.is_err() {
            self.break_down(cx);
        }
        result.ok()
    }

    fn break_down(&mut self, cx: &mut PciCx<'_, '_>) {
        self.status |= status::NEEDS_RESET;
        if self.status & status::DRIVER_OK != 0 {
            self.interrupt(2, self.config_vector, cx);
        }
    }

    fn interrupt(&mut self, cause: u8, vector: u16, cx: &mut PciCx<'_, '_>) {
        if cx.signals.msix_enabled() {
            if vector != NO_VECTOR {
                cx.message(vector);
            }
        } else {
            self.isr |= cause;
            cx.signals.set_intx(true);
        }
    }

    /// The common configuration as it reads now.
    fn common(&self) -> [u8; 64] {
        let mut c = [0; 64];
        let mut put = |at: usize, bytes: &[u8]| c[at..at + bytes.len()].copy_from_slice(bytes);
        let half = |features: u64, select: u32| match select {
            0 => features as u32,
            1 => (features >> 32) as u32,
            _ => 0,
        };
        put(0x00, &self.feature_select.to_le_bytes());
        put(0x04, &half(self.features(), self.feature_select).to_le_bytes());
        put(0x08, &self.driver_select.to_le_bytes());
        put(0x0c, &half(self.driver_features, self.driver_select).to_le_bytes());
        put(0x10, &self.config_vector.to_le_bytes());
        put(0x12, &(self.queues.len() as u16).to_le_bytes());
        put(0x14, &[self.status, 0]);
        put(0x16, &self.queue_select.to_le_bytes());
        if let Some(q) = self.queues.get(usize::from(self.queue_select)) {
            put(0x18, &q.entries.to_le_bytes());
            put(0x1a, &q.vector.to_le_bytes());
            put(0x1c, &u16::from(q.enabled).to_le_bytes());
            put(0x1e, &self.queue_select.to_le_bytes());
            put(0x20, &q.descriptors.to_le_bytes());
            put(0x28, &q.available.to_le_bytes());
            put(0x30, &q.used.to_le_bytes());
        }
        c
    }

    fn set_common(&mut self, offset: u64, bytes: u32, value: u64, cx: &mut PciCx<'_, '_>) {
        let vector = if value < u64::from(self.vectors()) { value as u16 } else { NO_VECTOR };
        match (offset, bytes) {
            (0x00, 4) => self.feature_select = value as u32,
            (0x08, 4) => self.driver_select = value as u32,
            (0x0c, 4) if self.status & status::FEATURES_OK == 0 => {
                let shift = 32 * self.driver_select.min(2);
                if shift < 64 {
                    self.driver_features =
                        self.driver_features & !(0xffff_ffff << shift) | (value & 0xffff_ffff) << shift;
                }
            }
            (0x10, 2) => self.config_vector = vector,
            (0x14, 1) => self.set_status(value as u8, cx),
            (0x16, 2) => self.queue_select = value as u16,
            (0x1a, 2) => {
                if let Some(q) = self.queues.get_mut(usize::from(self.queue_select)) {
                    q.vector = vector;
                }
            }
            (0x18..0x38, _) => self.set_queue(offset, bytes, value, cx),
            _ => {}
        }
    }

    /// Registers of the selected queue; once enabled it stands until a reset.
    fn set_queue(&mut self, offset: u64, bytes: u32, value: u64, cx: &mut PciCx<'_, '_>) {
        let Some(q) = self.queues.get_mut(usize::from(self.queue_select)).filter(|q| !q.enabled) else { return };
        let set = |field: &mut u64| {
            *field = match (offset & 7, bytes) {
                (0, 8) => value,
                (0, 4) => *field & !0xffff_ffff | value & 0xffff_ffff,
                (4, 4) => *field & 0xffff_ffff | value << 32,
                _ => *field,
            };
        };
        match offset {
            0x18 if bytes == 2 && (value as u16).is_power_of_two() && value as u16 <= q.most => {
                q.entries = value as u16
            }
            0x1c if bytes == 2 && value == 1 => {
                q.enabled = q.is_aligned();
                if !q.enabled {
                    self.break_down(cx);
                }
            }
            0x20..0x28 => set(&mut q.descriptors),
            0x28..0x30 => set(&mut q.available),
            0x30..0x38 => set(&mut q.used),
            _ => {}
        }
    }

    fn set_status(&mut self, value: u8, cx: &mut PciCx<'_, '_>) {
        if value == 0 {
            self.reset();
            cx.signals.set_intx(false);
            return;
        }
        let mut next = value & !status::NEEDS_RESET | self.status & status::NEEDS_RESET;
        let acceptable = self.driver_features & !self.features() == 0 && self.driver_features & VERSION_1 != 0;
        if !acceptable {
            // The driver reads the bit back to learn whether its choice stands.
            next &= !status::FEATURES_OK;
        }
        self.status = next;
    }

    fn notify(&mut self, offset: u64, cx: &mut PciCx<'_, '_>) {
        let n = (offset / u64::from(NOTIFY_STEP)) as usize;
        if self.live() && n < self.queues.len() {
            self.act(cx, |model, queues, cx| model.notify(n, queues, cx));
        }
    }
}

/// A capability that says where a structure lies: its body after the next pointer.
fn capability(kind: u8, offset: u64, bytes: u32, extra: &[u8]) -> (u8, Vec<u8>) {
    let mut body = vec![16 + extra.len() as u8, kind, 0, 0, 0, 0];
    body.extend((offset as u32).to_le_bytes());
    body.extend(bytes.to_le_bytes());
    body.extend(extra);
    (0x09, body)
}

impl<M: Model> PciFunction for VirtioPci<M> {
    fn name(&self) -> &'static str {
        self.model.name()
    }

    fn identity(&self) -> Identity {
        Identity {
            vendor: VENDOR,
            device: DEVICE_BASE + self.model.kind(),
            class: self.model.class(),
            revision: 1,
            subsystem: (VENDOR, 0x1100),
        }
    }

    fn bars(&self) -> Vec<Bar> {
        vec![Bar { index: 0, bytes: 0x4000, wide: false }, Bar { index: 1, bytes: 0x1000, wide: false }]
    }

    fn capabilities(&self) -> Vec<(u8, Vec<u8>)> {
        vec![
            capability(1, 0, 0x1000, &[]),
            capability(2, NOTIFY, 0x1000, &NOTIFY_STEP.to_le_bytes()),
            capability(3, ISR, 0x1000, &[]),
            capability(4, DEVICE, 0x1000, &[]),
        ]
    }

    fn msix(&self) -> Option<MsixPlace> {
        Some(MsixPlace { vectors: self.vectors(), bar: 1, table: 0, pending: 0x800 })
    }

    fn read(&mut self, bar: usize, offset: u64, bytes: u32, cx: &mut PciCx<'_, '_>) -> u64 {
        if bar == 0 && offset == ISR {
            // Reading acknowledges.
            cx.signals.set_intx(false);
            return u64::from(std::mem::take(&mut self.isr));
        }
        let common = self.common();
        (0..u64::from(bytes.min(8))).fold(0, |value, n| {
            let byte = match (bar, offset + n) {
                (0, at @ 0..64) => common[at as usize],
                (0, at @ DEVICE..NOTIFY) => self.model.config(at - DEVICE),
                _ => 0,
            };
            value | u64::from(byte) << (8 * n)
        })
    }

    fn write(&mut self, bar: usize, offset: u64, bytes: u32, value: u64, cx: &mut PciCx<'_, '_>) {
        let value = if bytes >= 8 { value } else { value & ((1 << (8 * bytes)) - 1) };
        match (bar, offset) {
            (0, 0..ISR) => self.set_common(offset, bytes, value, cx),
            (0, DEVICE..NOTIFY) => self.model.set_config(offset - DEVICE, bytes, value, cx.cx),
            (0, NOTIFY..) => self.notify(offset - NOTIFY, cx),
            _ => {}
        }
    }

    fn input(&mut self, bytes: &[u8], cx: &mut PciCx<'_, '_>) -> usize {
        if !self.live() {
            return 0;
        }
        self.act(cx, |model, queues, cx| model.input(bytes, queues, cx)).unwrap_or(0)
    }

    fn reset(&mut self) {
        self.model.reset();
        self.queues = self.model.queues().iter().map(|most| Queue::new(*most)).collect();
        (self.status, self.isr) = (0, 0);
        (self.feature_select, self.driver_select, self.driver_features) = (0, 0, 0);
        (self.config_vector, self.queue_select) = (NO_VECTOR, 0);
    }
}

#[cfg(test)]
mod tests;
