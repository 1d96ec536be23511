//! The adaptive record: a basic group, and behind it those that MSR_PEBS_DATA_CFG asks for, in a fixed order.
//!
//! Source: SDM vol. 3B, 20.9.2 (adaptive PEBS), as in spec/pmu.md 3.2; the data source encoding from Linux'
//! `arch/x86/events/intel/ds.c`, as in 3.4.

use crate::lbr::{Lbr, MOST};
use cpu_x86::Sampled;

const BASIC_BYTES: usize = 32;
const MEMORY_BYTES: usize = 32;
const GENERAL_BYTES: usize = 144;
const XMM_BYTES: usize = 256;
const LBR_BYTES: usize = 24;
/// Bytes of the largest record: it asks for 256 last branch records.
pub const MOST_BYTES: usize = BASIC_BYTES + MEMORY_BYTES + GENERAL_BYTES + XMM_BYTES + 256 * LBR_BYTES;

/// MSR_PEBS_DATA_CFG.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config(pub u64);

impl Config {
    /// Bits that exist: the four groups, and the number of last branch records less one.
    pub const LEGAL: u64 = 0xff00_000f;

    /// Memory information.
    pub const fn memory(self) -> bool {
        self.0 & 1 != 0
    }
    /// General registers.
    pub const fn general(self) -> bool {
        self.0 & 2 != 0
    }
    /// XMM registers.
    pub const fn xmm(self) -> bool {
        self.0 & 4 != 0
    }
    /// How many last branch records, 0 to 256.
    pub const fn branches(self) -> usize {
        if self.0 & 8 != 0 { (self.0 >> 24 & 0xff) as usize + 1 } else { 0 }
    }

    /// Bytes of a record.
    pub const fn bytes(self) -> usize {
        BASIC_BYTES
            + if self.memory() { MEMORY_BYTES } else { 0 }
            + if self.general() { GENERAL_BYTES } else { 0 }
            + if self.xmm() { XMM_BYTES } else { 0 }
            + self.branches() * LBR_BYTES
    }
}

/// Where data came from: the low four bits of the data source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// Not known, or an uncached L3 miss.
    #[default]
    Unknown = 0,
    /// L1D.
    L1 = 1,
    /// A line already on its way.
    FillBuffer = 2,
    /// L2.
    L2 = 3,
    /// L3, no other core involved.
    L3 = 4,
    /// L3, another core asked and had nothing.
    L3SnoopMiss = 5,
    /// L3, another core had it clean.
    L3SnoopHit = 6,
    /// L3, another core had it modified.
    L3SnoopModified = 7,
    /// This socket's memory.
    LocalMemory = 0xa,
    /// Another socket's memory.
    RemoteMemory = 0xb,
    /// A device.
    Device = 0xe,
    /// Uncached memory.
    Uncached = 0xf,
}

/// How the sampled event tells of the access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Facility {
    /// Loads, and stores of MEM_TRANS_RETIRED.STORE_SAMPLE: the data source with its flags.
    #[default]
    Source,
    /// Stores of the other precise events: whether the L1D had the line, and nothing else.
    PreciseStore,
}

/// The data access of the sampled instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Linear address.
    pub linear: u64,
    /// Where the data came from.
    pub source: Source,
    /// How the event tells of it.
    pub facility: Facility,
    /// The second-level TLB missed.
    pub stlb_miss: bool,
    /// The instruction was locked.
    pub locked: bool,
    /// The load was blocked because a store in flight had not its data yet.
    pub data_blocked: bool,
    /// The load was blocked by a store in flight whose address was not known.
    pub address_blocked: bool,
    /// Cycles until the data was there; saturates at 65535 in the record.
    pub cache_cycles: u64,
    /// Cycles from dispatch to retirement, likewise.
    pub instruction_cycles: u64,
}

impl Memory {
    /// The data source field.
    pub fn aux(&self) -> u64 {
        let flags = u64::from(self.stlb_miss) << 4
            | u64::from(self.locked) << 5
            | u64::from(self.data_blocked) << 6
            | u64::from(self.address_blocked) << 7;
        match self.facility {
            Facility::Source => self.source as u64 | flags,
            Facility::PreciseStore => u64::from(self.source == Source::L1),
        }
    }

    /// The latency field: the cache's in bits 47:32, the instruction's in 15:0.
    pub fn latency(&self) -> u64 {
        self.cache_cycles.min(0xffff) << 32 | self.instruction_cycles.min(0xffff)
    }
}

/// What the processor's registers do not tell of the sampled instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Linear address of the instruction (the eventing IP).
    pub ip: u64,
    /// The TSC after it.
    pub tsc: u64,
    /// Its data access, if it made one; of several, the one that the event is about.
    pub memory: Option<Memory>,
}

/// Writes the record into `to`; the bytes that it takes.
pub(super) fn compose<'a>(
    to: &'a mut [u8; MOST_BYTES],
    config: Config,
    counters: u64,
    sample: &Sample,
    lbr: &Lbr,
    processor: &dyn Sampled,
) -> &'a [u8] {
    let mut at = 0;
    let mut put = |v: u64| {
        to[at..at + 8].copy_from_slice(&v.to_le_bytes());
        at += 8;
    };
    [config.0 | (config.bytes() as u64) << 48, sample.ip, counters, sample.tsc].into_iter().for_each(&mut put);
    if config.memory() {
        let m = sample.memory;
        let group = m.map_or([0; 4], |m| [m.linear, m.aux(), m.latency(), 0]);
        group.into_iter().for_each(&mut put);
    }
    if config.general() {
        let r = processor.registers();
        [r.flags, r.ip].into_iter().chain(r.general).for_each(&mut put);
    }
    if config.xmm() {
        let halves = |v: u128| [v as u64, (v >> 64) as u64];
        (0..16).flat_map(|n| halves(processor.xmm(n))).for_each(&mut put);
    }
    for n in 0..config.branches() {
        let e = if n < MOST && lbr.is_enabled() { lbr.entry(n) } else { Default::default() };
        [e.from, e.to, e.info].into_iter().for_each(&mut put);
    }
    &to[..at]
}
