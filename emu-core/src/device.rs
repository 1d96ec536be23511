//! A device is a value; it reaches the world through the doors in [`Cx`], and holds none of them.
//!
//! The board calls a device when the guest touches one of its regions, when the alarm it set comes due, and when the
//! host has input for it. What the device wants done it says by effects, which the board carries out in order after
//! the call: no device knows another, a processor, a thread or the host's clock.

use crate::{Gpa, Line, Port, Ram, Time};

/// Which address space a region lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// I/O ports.
    Port,
    /// Guest-physical memory.
    Memory,
}

/// A run of addresses that a device answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Ports or memory.
    pub space: Space,
    /// First address.
    pub base: u64,
    /// Length in bytes (ports: how many ports).
    pub bytes: u64,
}

impl Region {
    /// `count` ports from `base`.
    pub const fn ports(base: Port, count: u16) -> Region {
        Region { space: Space::Port, base: base.0 as u64, bytes: count as u64 }
    }
    /// `bytes` of memory from `base`.
    pub const fn memory(base: Gpa, bytes: u64) -> Region {
        Region { space: Space::Memory, base: base.0, bytes }
    }
}

/// Where within its regions a device is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the region in [`Device::regions`].
    pub region: usize,
    /// Bytes (ports) from the region's base.
    pub offset: u64,
    /// Width of the access in bytes: 1, 2, 4 or 8.
    pub bytes: u32,
}

/// What a device may ask of the machine as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Power off (ACPI S5); the program ends with status 0.
    PowerOff,
    /// Reset the machine (CF9h, the reset register, i8042 pulse).
    Reset,
    /// End the program with this exit status (test devices).
    Exit(u8),
}

/// One thing a device did to the world, in the order done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Drives an interrupt line high or low.
    Line(Line, bool),
    /// Writes `data` to the message address: MSI and MSI-X, and the IOAPIC's own messages.
    Message {
        /// FEExxxxxh.
        address: u64,
        /// The message's data.
        data: u32,
    },
    /// Wrote guest memory: the processors must forget code decoded from these bytes.
    Wrote(Gpa, u64),
    /// Bytes for the host: a serial port's or console's output.
    Output(Vec<u8>),
    /// Something for the whole machine.
    Request(Request),
}

/// The doors a device is given for the length of one call.
pub struct Cx<'a> {
    /// Virtual time of this call.
    pub now: Time,
    ram: &'a Ram,
    alarm: &'a mut Option<Time>,
    effects: &'a mut Vec<Effect>,
}

impl<'a> Cx<'a> {
    /// Doors at virtual time `now`; `alarm` is this device's own, `effects` collects what it does.
    pub fn new(now: Time, ram: &'a Ram, alarm: &'a mut Option<Time>, effects: &'a mut Vec<Effect>) -> Cx<'a> {
        Cx { now, ram, alarm, effects }
    }
    /// Drives interrupt line `line`; saying the same level twice is harmless.
    pub fn line(&mut self, line: Line, high: bool) {
        self.effects.push(Effect::Line(line, high));
    }
    /// Sends a message-signalled interrupt.
    pub fn message(&mut self, address: u64, data: u32) {
        self.effects.push(Effect::Message { address, data });
    }
    /// Hands bytes to the host, in order.
    pub fn output(&mut self, bytes: &[u8]) {
        self.effects.push(Effect::Output(bytes.to_vec()));
    }
    /// Asks for something that concerns the whole machine.
    pub fn request(&mut self, request: Request) {
        self.effects.push(Effect::Request(request));
    }
    /// Sets (or, with `None`, clears) the one alarm this device has; [`Device::alarm`] is called at that time or
    /// later, never before.
    pub fn set_alarm(&mut self, at: Option<Time>) {
        *self.alarm = at;
    }
    /// The guest's memory, for reading. To write, use [`Cx::dma_write`].
    pub fn ram(&self) -> &'a Ram {
        self.ram
    }
    /// Copies guest memory out; false when it is not all memory.
    #[must_use]
    pub fn dma_read(&self, at: Gpa, to: &mut [u8]) -> bool {
        self.ram.read(at, to)
    }
    /// Copies into guest memory and tells the processors; false when it is not all RAM.
    #[must_use]
    pub fn dma_write(&mut self, at: Gpa, from: &[u8]) -> bool {
        let done = self.ram.write(at, from);
        if done {
            self.wrote(at, from.len() as u64);
        }
        done
    }
    /// Says that guest memory was written by other means (a virtqueue library).
    pub fn wrote(&mut self, at: Gpa, bytes: u64) {
        self.effects.push(Effect::Wrote(at, bytes));
    }
}

/// A chip on the board. Every method must cope with any value a guest can choose, without panic.
pub trait Device {
    /// The chip's name, for lists and logs: "16550A", "8254".
    fn name(&self) -> &'static str;
    /// The addresses it answers; fixed for its life.
    fn regions(&self) -> Vec<Region>;
    /// The guest reads; unused high bytes of the result are ignored.
    fn read(&mut self, at: Place, cx: &mut Cx<'_>) -> u64;
    /// The guest writes the low `at.bytes` of `value`.
    fn write(&mut self, at: Place, value: u64, cx: &mut Cx<'_>);
    /// The alarm set by [`Cx::set_alarm`] came due (it is cleared before the call).
    fn alarm(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }
    /// Bytes from the host (serial or console input). Returns how many were taken; the rest is offered again later.
    fn input(&mut self, bytes: &[u8], cx: &mut Cx<'_>) -> usize {
        let _ = (bytes, cx);
        0
    }
    /// Power-on state again (machine reset).
    fn reset(&mut self, cx: &mut Cx<'_>);
}
