//! Precise event-based sampling: adaptive records of format 4 in the debug store.
//!
//! A counter that PEBS is enabled for sets no status bit when it overflows and requests no interrupt. It is armed
//! instead, and the next instruction that causes its event is sampled: a record is written after that instruction, and
//! the counter starts anew from its reset value. Two counters with precise distribution (general counter 0, fixed counter
//! 0) and all counters of events that are not precise are sampled at the overflow itself.
//!
//! Counters are named by their bits in GLOBAL_STATUS. The unit that owns them calls [`Pebs::overflowed`] and
//! [`Pebs::qualifying`] at each instruction boundary where something may have happened, and [`Pebs::write`] when one of
//! them says that a record is due. Source: SDM vol. 3B, 20.9 (PEBS), as in spec/pmu.md 3.1 to 3.4.

pub mod record;

use crate::ds::{self, Layout};
use crate::lbr::{Lbr, canonical};
use cpu_x86::{Refused, Sampled};
use record::{Config, Sample};

/// What IA32_PERF_CAPABILITIES says of PEBS: trap-like, registers, format 4, adaptive baseline.
pub const CAPABILITIES: u64 = 1 << 6 | 1 << 7 | 4 << 8 | 1 << 14;
/// GLOBAL_STATUS.OvfBuf: the buffer reached its threshold.
pub const OVF_BUFFER: u64 = 1 << 62;
/// The counters with precise distribution: general 0 (precise events) and fixed 0 (instructions).
pub const DISTRIBUTED: u64 = 1 | 1 << 32;
/// Counters that can be enabled: with the baseline, all.
const COUNTERS: u64 = 0xf_0000_00ff;

/// MSR numbers.
mod msr {
    pub const ENABLE: u32 = 0x3f1;
    pub const DATA_CFG: u32 = 0x3f2;
    pub const DS_AREA: u32 = 0x600;
}

/// PEBS of one logical processor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pebs {
    /// IA32_PEBS_ENABLE.
    enable: u64,
    /// MSR_PEBS_DATA_CFG.
    config: u64,
    /// IA32_DS_AREA.
    area: u64,
    /// Counters that overflowed and wait for their event.
    armed: u64,
    layout: Layout,
}

/// What came of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Counters to be set to values of `values`.
    pub reload: u64,
    /// The values, by bit of GLOBAL_STATUS: the eight general counters, then the four fixed ones.
    values: [u64; 12],
    /// The threshold is reached: GLOBAL_STATUS.OvfBuf is to be set and an interrupt requested.
    pub threshold: bool,
    /// How many records were stored.
    pub records: u32,
}

impl Written {
    /// The counters to be set, by bit of GLOBAL_STATUS, with their values (not masked to the counters' width).
    pub fn reloads(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        bits(self.reload).map(|bit| (bit, self.values[value_place(bit)]))
    }
}

impl Pebs {
    /// PEBS with the reset values of fixed counters where `layout` has them.
    pub fn new(layout: Layout) -> Pebs {
        Pebs { layout, ..Pebs::default() }
    }

    /// RDMSR; `None`: not a register of PEBS.
    pub fn msr_read(&self, number: u32) -> Option<u64> {
        match number {
            msr::ENABLE => Some(self.enable),
            msr::DATA_CFG => Some(self.config),
            msr::DS_AREA => Some(self.area),
            _ => None,
        }
    }

    /// WRMSR; `None`: not a register of PEBS. A refused write changes nothing. A counter that is disabled is disarmed.
    pub fn msr_write(&mut self, number: u32, v: u64) -> Option<Result<(), Refused>> {
        let (register, legal) = match number {
            msr::ENABLE => (&mut self.enable, v & !COUNTERS == 0),
            msr::DATA_CFG => (&mut self.config, v & !Config::LEGAL == 0),
            msr::DS_AREA => (&mut self.area, canonical(v)),
            _ => return None,
        };
        if !legal {
            return Some(Err(Refused));
        }
        *register = v;
        self.armed &= self.enable;
        Some(Ok(()))
    }

    /// Is PEBS enabled for the counter at GLOBAL_STATUS bit `bit`?
    pub fn enabled(&self, bit: u32) -> bool {
        bit < 64 && self.enable >> bit & 1 != 0
    }

    /// IA32_PEBS_ENABLE: the counters PEBS is enabled for.
    pub fn enabled_counters(&self) -> u64 {
        self.enable
    }

    /// The counters that wait for their next event: their distance to the next event is what the run may go.
    pub fn armed(&self) -> u64 {
        self.armed
    }

    /// `counters` have just overflowed, of which `precise` count a precise event; those that PEBS is not enabled for are
    /// none of its business. Returns the counters whose sample is the instruction that has just retired.
    pub fn overflowed(&mut self, counters: u64, precise: u64) -> u64 {
        let counters = counters & self.enable;
        let waiting = counters & precise & !DISTRIBUTED;
        self.armed |= waiting;
        counters & !waiting
    }

    /// The instruction that has just retired caused the events of `counters`. Returns the armed ones, whose sample it is.
    /// To be called before [`Pebs::overflowed`] at the same boundary: an instruction that arms does not also qualify.
    pub fn qualifying(&mut self, counters: u64) -> u64 {
        let due = self.armed & counters;
        self.armed &= !due;
        due
    }

    /// Writes what is due for `counters` (those of which `adaptive` have their adaptive bit set share a record, the
    /// others one of the basic group): the processor stands after the sampled instruction. Memory that is not there
    /// loses the record; no room loses it without a signal.
    ///
    /// Unverified: which counters share a record on the real part, and what a page fault does; both need a look at one.
    pub fn write(
        &self,
        counters: u64,
        adaptive: u64,
        sample: &Sample,
        lbr: &Lbr,
        processor: &mut dyn Sampled,
    ) -> Written {
        let mut written = Written::default();
        for (counters, config) in [(counters & adaptive, self.config), (counters & !adaptive, 0)] {
            if counters != 0 {
                self.write_one(counters, Config(config), sample, lbr, processor, &mut written);
            }
        }
        for bit in bits(counters & COUNTERS) {
            if let Some(value) = ds::reset_value(self.area, self.layout, bit, processor) {
                written.reload |= 1 << bit;
                written.values[value_place(bit)] = value;
            }
        }
        written
    }

    fn write_one(
        &self,
        counters: u64,
        config: Config,
        sample: &Sample,
        lbr: &Lbr,
        processor: &mut dyn Sampled,
        written: &mut Written,
    ) {
        let Some(buffer) = ds::buffer(self.area, processor) else { return };
        let Some(after) = buffer.after(config.bytes()) else { return };
        let mut bytes = [0; record::MOST_BYTES];
        let bytes = record::compose(&mut bytes, config, counters, sample, lbr, processor);
        if processor.write(buffer.index, bytes) && ds::set_index(self.area, after.index, processor) {
            written.records += 1;
            written.threshold |= after.is_due();
        }
    }
}

/// The bits that are set, lowest first.
fn bits(mut of: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = of.trailing_zeros();
        of &= of.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}

/// Where the value of a counter stands in [`Written`]: bits 0 to 7, then 32 to 35.
const fn value_place(bit: u32) -> usize {
    if bit < 32 { bit as usize & 7 } else { 8 + (bit as usize & 3) }
}

#[cfg(test)]
mod tests;
