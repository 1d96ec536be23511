//! The registers over streams of facts: bursts of happenings, of which each counter takes what its selector names.
//!
//! It knows what the arguments about the split turn on (enables, rings, global control and status, the metrics beside
//! fixed counter 3) and nothing of inversion, edges and thresholds, whose selector bits are reserved here.
//!
//! Source: spec/pmu.md 1.4 to 1.8 and 2.1 to 2.5.

use super::{EN, INT, MASK, METRICS_BIT, OS, Register, SELECTOR_BITS, Shape, USR};
use crate::host::cell::{Burst, Happening, KINDS, Privilege};
use crate::host::constraint::{Counter, Counters};

/// The eight buckets of PERF_METRICS, in the order of its fields.
const BUCKETS: [Happening; 8] = [
    Happening::Retiring,
    Happening::BadSpeculation,
    Happening::FrontEnd,
    Happening::BackEnd,
    Happening::Heavy,
    Happening::Mispredicted,
    Happening::FetchLatency,
    Happening::MemoryBound,
];

/// What each fixed counter counts.
const FIXED: [Happening; 4] = [Happening::Retired, Happening::Cycles, Happening::RefCycles, Happening::Slots];

/// The registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streams {
    shape: Shape,
    general: [u64; 8],
    selectors: [u64; 8],
    fixed: [u64; 4],
    fixed_control: u64,
    global_control: u64,
    status: u64,
    /// Slots since fixed counter 3 was last written, and what they were spent on: 255 for each, so that a value written
    /// to PERF_METRICS is kept without rounding.
    slots: u64,
    buckets: [u64; 8],
}

impl Streams {
    /// With nothing programmed and nothing enabled.
    pub fn new(shape: Shape) -> Streams {
        Streams {
            shape,
            general: [0; 8],
            selectors: [0; 8],
            fixed: [0; 4],
            fixed_control: 0,
            global_control: 0,
            status: 0,
            slots: 0,
            buckets: [0; 8],
        }
    }

    /// The value of a register.
    pub fn peek(&self, register: Register) -> u64 {
        match register {
            Register::Count(counter) => match counter.as_fixed() {
                _ if !self.shape.counters().holds(counter) => 0,
                Some(n) => self.fixed[usize::from(n)],
                None => self.general[usize::from(counter.0)],
            },
            Register::Selector(n) => self.selectors.get(usize::from(n)).copied().unwrap_or(0),
            Register::FixedControl => self.fixed_control,
            Register::GlobalControl => self.global_control,
            Register::GlobalStatus => self.status,
            Register::StatusReset | Register::StatusSet => 0,
            Register::InUse => self.in_use(),
            Register::Metrics => self.metrics(),
        }
    }

    /// Writes a register.
    pub fn poke(&mut self, register: Register, value: u64) {
        let bits = self.shape.global_bits();
        match register {
            Register::Count(counter) => self.set_count(counter, value & MASK),
            Register::Selector(n) if u32::from(n) < self.shape.general => {
                self.selectors[usize::from(n)] = value & SELECTOR_BITS;
            }
            Register::FixedControl => self.fixed_control = value & self.shape.fixed_bits(),
            Register::GlobalControl => self.global_control = value & bits,
            Register::StatusReset => self.status &= !(value & bits),
            Register::StatusSet => self.status |= value & bits,
            Register::Metrics if self.shape.metrics => self.set_metrics(value),
            Register::Selector(_) | Register::GlobalStatus | Register::InUse | Register::Metrics => {}
        }
    }

    fn set_count(&mut self, counter: Counter, value: u64) {
        if !self.shape.counters().holds(counter) {
            return;
        }
        match counter.as_fixed() {
            Some(n) => self.fixed[usize::from(n)] = value,
            None => self.general[usize::from(counter.0)] = value,
        }
        // Writing the slots clears the metrics, so they are restored in this order: slots, then metrics.
        if counter == Counter::fixed(3) {
            (self.slots, self.buckets) = (value, [0; 8]);
        }
    }

    fn in_use(&self) -> u64 {
        let general = (0..8).filter(|n| self.selectors[*n] & 0xff != 0).fold(0, |bits, n| bits | 1 << n);
        let fixed = (0..4).filter(|n| self.fixed_control >> (4 * n) & 3 != 0);
        let fixed = fixed.fold(0, |bits, n| bits | 1 << (u64::from(Counter::FIXED) + n));
        let asks = self.selectors.iter().any(|s| s & INT != 0) || self.fixed_control & 0x8888 != 0;
        general | fixed | if asks { 1 << 63 } else { 0 }
    }

    /// PERF_METRICS: each field a fraction of 255 of the slots, the first four summing to 255. See spec/pmu.md 2.2.
    fn metrics(&self) -> u64 {
        metrics_of(self.slots, &self.buckets)
    }

    fn set_metrics(&mut self, value: u64) {
        for (n, bucket) in self.buckets.iter_mut().enumerate() {
            *bucket = self.slots.wrapping_mul(value >> (8 * n) & 0xff);
        }
    }

    /// Whether the selector or control field of a counter lets it count in a ring. `GLOBAL_CTRL` is not looked at.
    fn counts_in(&self, counter: Counter, ring: Privilege) -> Option<Happening> {
        match counter.as_fixed() {
            Some(n) => {
                let field = self.fixed_control >> (4 * n);
                let bit = if ring == Privilege::Kernel { 1 } else { 2 };
                (field & bit != 0).then(|| FIXED[usize::from(n & 3)])
            }
            None => {
                let selector = self.selectors[usize::from(counter.0 & 7)];
                let bit = if ring == Privilege::Kernel { OS } else { USR };
                let counts = selector & EN != 0 && selector & bit != 0;
                if counts { Happening::of_config(selector & 0xffff) } else { None }
            }
        }
    }

    /// Whether overflow of a counter asks for an interrupt.
    fn interrupts(&self, counter: Counter) -> bool {
        match counter.as_fixed() {
            Some(n) => self.fixed_control >> (4 * n + 3) & 1 != 0,
            None => self.selectors[usize::from(counter.0 & 7)] & INT != 0,
        }
    }

    /// What of `kinds` happened in a ring is counted. Returns the counters that overflowed and ask for an interrupt.
    pub fn retire(&mut self, ring: Privilege, burst: &Burst) -> Counters {
        let mut asking = Counters::NONE;
        for counter in Counters(self.global_control).and(self.shape.counters()).iter() {
            let Some(kind) = self.counts_in(counter, ring) else { continue };
            if counter == Counter::fixed(3) && self.global_control & METRICS_BIT != 0 {
                self.fill_buckets(burst);
            }
            let before = self.peek(Register::Count(counter));
            let after = before.wrapping_add(burst[kind]);
            self.put_count(counter, after & MASK);
            if after > MASK {
                self.status |= counter.bit();
                let metrics = counter == Counter::fixed(3) && self.global_control & METRICS_BIT != 0;
                self.status |= if metrics { METRICS_BIT } else { 0 };
                asking = if self.interrupts(counter) { asking.or(Counters::only(counter)) } else { asking };
            }
        }
        asking
    }

    /// A counter counted: unlike a write, it leaves the metrics alone.
    fn put_count(&mut self, counter: Counter, value: u64) {
        match counter.as_fixed() {
            Some(n) => self.fixed[usize::from(n & 3)] = value,
            None => self.general[usize::from(counter.0 & 7)] = value,
        }
    }

    fn fill_buckets(&mut self, burst: &Burst) {
        self.slots = self.slots.wrapping_add(burst[Happening::Slots]);
        for (bucket, kind) in self.buckets.iter_mut().zip(BUCKETS) {
            *bucket = bucket.wrapping_add(burst[kind].wrapping_mul(255));
        }
    }

    /// The smallest number of happenings of any kind after which a counter overflows that counts in `ring` and asks
    /// for an interrupt, as a limit by kind; `u64::MAX` where none does.
    pub fn until_interrupt(&self, ring: Privilege) -> Burst {
        let mut limits = Burst([u64::MAX; KINDS]);
        for counter in Counters(self.global_control).and(self.shape.counters()).iter() {
            if let Some(kind) = self.counts_in(counter, ring)
                && self.interrupts(counter)
            {
                limits[kind] = limits[kind].min(MASK + 1 - self.peek(Register::Count(counter)));
            }
        }
        limits
    }
}

/// Eight fields of 255ths: the first four by largest remainder so that they sum to 255, the others within their parents.
/// `buckets` hold 255 for each slot.
fn metrics_of(slots: u64, buckets: &[u64; 8]) -> u64 {
    if slots == 0 {
        return 0;
    }
    let mut fields: [u64; 8] = std::array::from_fn(|n| (buckets[n] / slots).min(255));
    let missing = 255_u64.saturating_sub(fields[..4].iter().sum());
    // More than four are missing only where the buckets were never told of some slots: then there is nothing to give out.
    if missing <= 4 && buckets[..4].iter().any(|b| *b != 0) {
        let mut order = [0, 1, 2, 3];
        order.sort_by_key(|n| (u64::MAX - buckets[*n] % slots, *n));
        order.into_iter().take(missing as usize).for_each(|n| fields[n] += 1);
    }
    (4..8).for_each(|n| fields[n] = fields[n].min(fields[n - 4]));
    (0..8).fold(0, |value, n| value | (fields[n] & 0xff) << (8 * n))
}
