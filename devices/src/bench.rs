//! The test bench: one chip between probes, with memory, an alarm and a clock, and no board.

use emu_core::{Cx, Device, Effect, Gpa, Line, Place, Ram, Random, Request, Time};

/// A chip under test and everything it may reach.
pub struct Bench<D> {
    pub chip: D,
    pub now: Time,
    pub ram: Ram,
    pub alarm: Option<Time>,
    pub effects: Vec<Effect>,
}

impl<D: Device> Bench<D> {
    pub fn new(chip: D) -> Bench<D> {
        let ram = Ram::new(1 << 20, &[]).unwrap();
        Bench { chip, now: Time::ZERO, ram, alarm: None, effects: Vec::new() }
    }

    /// Calls the chip with doors at the present time.
    pub fn with<T>(&mut self, call: impl FnOnce(&mut D, &mut Cx<'_>) -> T) -> T {
        let mut cx = Cx::new(self.now, &self.ram, &mut self.alarm, &mut self.effects);
        call(&mut self.chip, &mut cx)
    }

    pub fn read(&mut self, region: usize, offset: u64, bytes: u32) -> u64 {
        let value = self.with(|chip, cx| chip.read(Place { region, offset, bytes }, cx));
        if bytes >= 8 { value } else { value & ((1 << (8 * bytes)) - 1) }
    }

    pub fn write(&mut self, region: usize, offset: u64, bytes: u32, value: u64) {
        self.with(|chip, cx| chip.write(Place { region, offset, bytes }, value, cx));
    }

    pub fn input(&mut self, bytes: &[u8]) -> usize {
        self.with(|chip, cx| chip.input(bytes, cx))
    }

    /// Goes to `to`, ringing every alarm that comes due on the way at its exact time.
    pub fn until(&mut self, to: Time) {
        let mut rings = 0;
        while let Some(at) = self.alarm.filter(|at| *at <= to) {
            self.now = self.now.max(at);
            self.alarm = None;
            self.with(|chip, cx| chip.alarm(cx));
            rings += 1;
            assert!(rings < 2_000_000, "alarms never end");
        }
        self.now = to;
    }

    /// Takes the effects so far.
    pub fn drain(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What was sent to the host so far; leaves nothing.
    pub fn output(&mut self) -> Vec<u8> {
        let of = |e| if let Effect::Output(bytes) = e { bytes } else { Vec::new() };
        self.drain().into_iter().flat_map(of).collect()
    }

    /// The levels that line `n` was driven to; leaves no effects.
    pub fn levels(&mut self, n: u8) -> Vec<bool> {
        let of = |e| if let Effect::Line(Line(l), high) = e { (l == n).then_some(high) } else { None };
        self.drain().into_iter().filter_map(of).collect()
    }

    /// What was asked of the machine; leaves no effects.
    pub fn requests(&mut self) -> Vec<Request> {
        let of = |e| if let Effect::Request(r) = e { Some(r) } else { None };
        self.drain().into_iter().filter_map(of).collect()
    }

    /// The messages sent, as (address, data); leaves no effects.
    pub fn messages(&mut self) -> Vec<(u64, u32)> {
        let of = |e| if let Effect::Message { address, data } = e { Some((address, data)) } else { None };
        self.drain().into_iter().filter_map(of).collect()
    }

    /// Fills guest memory.
    pub fn poke(&mut self, at: u64, bytes: &[u8]) {
        assert!(self.ram.write(Gpa(at), bytes));
    }

    /// Copies guest memory.
    pub fn peek(&self, at: u64, bytes: usize) -> Vec<u8> {
        let mut to = vec![0; bytes];
        assert!(self.ram.read(Gpa(at), &mut to));
        to
    }
}

/// Pokes `chip` at random for `steps` accesses: any width, any value, any time; nothing may panic or hang.
pub fn abuse<D: Device>(chip: D, seed: u64, steps: u32) {
    let mut bench = Bench::new(chip);
    let mut dice = Random(seed);
    let regions = bench.chip.regions();
    for _ in 0..steps {
        let region = dice.below(regions.len() as u64) as usize;
        let bytes = 1 << dice.below(4);
        let reach = if dice.below(2) == 0 { regions[region].bytes.min(256) } else { regions[region].bytes };
        let offset = dice.below(reach);
        match dice.below(16) {
            0..=5 => drop(bench.read(region, offset, bytes)),
            6..=11 => {
                let value = dice.next() >> dice.below(64);
                bench.write(region, offset, bytes, value);
            }
            12 => drop(bench.input(&[1, 2, 3, 4, 5])),
            13 => bench.now = bench.now + Time::ps(dice.next() >> (24 + dice.below(36))),
            14 => {
                // An alarm may come late: exactness is the chip's business, not the board's.
                if let Some(at) = bench.alarm {
                    bench.now = bench.now.max(at) + Time::ns(dice.below(100));
                    bench.alarm = None;
                    bench.with(|chip, cx| chip.alarm(cx));
                }
            }
            _ if dice.below(64) == 0 => bench.with(|chip, cx| chip.reset(cx)),
            _ => {}
        }
        bench.effects.clear();
    }
}
