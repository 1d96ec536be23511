//! PEBS in use: a unit of twelve counters made for these tests drives it as the real one has to, through passes like those
//! of kvm-unit-tests' `pmu_pebs`, and through random schedules that hold it to the invariants C1 to C4 of spec/pmu.md 7.

use cpu_x86::{Registers, Sampled};
use pmu_model::pebs::record::{Config, Sample};
use pmu_model::pebs::{OVF_BUFFER, Pebs};
use pmu_model::{Lbr, MASK};
use proptest::prelude::*;

const AREA: u64 = 0x10_0000;
const BUFFER: u64 = 0x11_0000;
const BUFFER_BYTES: u64 = 0x1_0000;
/// General counters 0 to 7, then fixed counters 0 to 3, as bits of GLOBAL_STATUS.
const BITS: [u32; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 32, 33, 34, 35];
const COUNTERS: u64 = 0xf_0000_00ff;
/// Of those in use here: branches, mispredictions, instructions on general counters, and fixed counter 0.
const PRECISE: u64 = 0b1_0011 | 1 << 32;

/// Memory from `AREA` to the buffer's end, and an instruction pointer.
struct Guest {
    memory: Vec<u8>,
    mapped: bool,
    ip: u64,
}

impl Guest {
    fn word(&self, at: u64) -> u64 {
        let at = (at - AREA) as usize;
        u64::from_le_bytes(self.memory[at..at + 8].try_into().unwrap())
    }
    fn set(&mut self, at: u64, v: u64) {
        let at = (at - AREA) as usize;
        self.memory[at..at + 8].copy_from_slice(&v.to_le_bytes());
    }
    fn range(&self, at: u64, bytes: usize) -> Option<std::ops::Range<usize>> {
        let at = usize::try_from(at.checked_sub(AREA)?).ok()?;
        (self.mapped && at + bytes <= self.memory.len()).then_some(at..at + bytes)
    }
}

impl Sampled for Guest {
    fn registers(&self) -> Registers {
        Registers { flags: 2, ip: self.ip, general: [7; 16] }
    }
    fn tsc(&self) -> u64 {
        0
    }
    fn xmm(&self, n: usize) -> u128 {
        n as u128
    }
    fn read(&mut self, linear: u64, to: &mut [u8]) -> bool {
        let Some(range) = self.range(linear, to.len()) else { return false };
        to.copy_from_slice(&self.memory[range]);
        true
    }
    fn write(&mut self, linear: u64, from: &[u8]) -> bool {
        let Some(range) = self.range(linear, from.len()) else { return false };
        self.memory[range].copy_from_slice(from);
        true
    }
}

/// Twelve counters, each of an event of its own.
struct Unit {
    values: [u64; 12],
    enabled: u64,
    adaptive: u64,
    status: u64,
    pmis: u32,
    pebs: Pebs,
    lbr: Lbr,
    guest: Guest,
    /// Which events each instruction so far caused.
    history: Vec<u64>,
}

impl Unit {
    fn new() -> Unit {
        let memory = vec![0; (BUFFER + BUFFER_BYTES - AREA) as usize];
        let guest = Guest { memory, mapped: true, ip: 0 };
        let (pebs, lbr) = (Pebs::default(), Lbr::default());
        let mut unit = Unit {
            values: [0; 12],
            enabled: COUNTERS,
            adaptive: 0,
            status: 0,
            pmis: 0,
            pebs,
            lbr,
            guest,
            history: Vec::new(),
        };
        unit.write(0x600, AREA);
        unit.buffer(BUFFER_BYTES, BUFFER_BYTES);
        unit
    }
    fn write(&mut self, msr: u32, v: u64) {
        self.pebs.msr_write(msr, v).expect("a register").expect("legal");
    }
    fn buffer(&mut self, maximum: u64, threshold: u64) {
        for (at, v) in [(0x20, BUFFER), (0x28, BUFFER), (0x30, BUFFER + maximum), (0x38, BUFFER + threshold)] {
            self.guest.set(AREA + at, v);
        }
    }
    fn period(&mut self, n: usize, period: u64) {
        self.values[n] = period.wrapping_neg() & MASK;
        self.guest.set(AREA + 0x40 + 8 * n as u64, self.values[n]);
    }
    fn index(&self) -> u64 {
        self.guest.word(AREA + 0x28)
    }

    /// An instruction that causes the events of the counters at `events` retires.
    fn retire(&mut self, events: u64) {
        let ip = 0x1000 + 4 * self.history.len() as u64;
        self.history.push(events);
        self.guest.ip = ip + 4;
        let counted = events & self.enabled;
        let mut over = 0;
        for (n, bit) in BITS.into_iter().enumerate().filter(|(_, bit)| counted >> bit & 1 != 0) {
            self.values[n] = (self.values[n] + 1) & MASK;
            over |= u64::from(self.values[n] == 0) << bit;
        }
        let due = self.pebs.qualifying(counted) | self.pebs.overflowed(over, PRECISE);
        self.status |= over & !self.pebs.enabled_counters();
        if due != 0 {
            let sample = Sample { ip, tsc: self.history.len() as u64, memory: None };
            let written = self.pebs.write(due, self.adaptive, &sample, &self.lbr, &mut self.guest);
            for (bit, value) in written.reloads() {
                self.values[BITS.iter().position(|b| *b == bit).unwrap()] = value & MASK;
            }
            self.status |= if written.threshold { OVF_BUFFER } else { 0 };
            self.pmis += u32::from(written.threshold);
        }
    }

    /// The records in the buffer: address, configuration, size, IP, counters.
    fn records(&self) -> Vec<(u64, u64, u64, u64)> {
        let (mut at, mut all) = (BUFFER, Vec::new());
        while at < self.index() {
            let head = self.guest.word(at);
            all.push((head & 0xffff_ffff_ffff, head >> 48, self.guest.word(at + 8), self.guest.word(at + 16)));
            at += head >> 48;
        }
        assert_eq!(at, self.index(), "records end where the index stands");
        all
    }
}

/// The loop of `pmu_pebs`: mostly plain instructions, a branch every tenth, a misprediction every hundredth.
fn workload(unit: &mut Unit, instructions: u64) {
    for n in 0..instructions {
        let every = |k: u64, bits: u64| if n % k == 0 { bits } else { 0 };
        let always = 1 << 4 | 1 << 3 | 1 << 5 | 1 << 32 | 1 << 33 | 1 << 34 | 1 << 35;
        unit.retire(always | every(10, 1) | every(100, 0b10) | every(7, 0b1100_0100));
    }
}

#[test]
fn the_passes_of_pmu_pebs_hold_for_every_configuration() {
    let single = BITS.map(|bit| 1 << bit);
    let groups: Vec<u64> = single.into_iter().chain([0b0101_0101 | 0xf << 32]).collect();
    for start in [0, 0xffff_ffff_fff0, 0xffff_ffff_fffe, 0xffff_ffff_ffff] {
        for config in (0..16u64).map(|c| if c & 8 != 0 { c | 31 << 24 } else { c }) {
            for (adaptive, &counters) in [true, false].into_iter().flat_map(|a| groups.iter().map(move |g| (a, g))) {
                one_pass(start, config, adaptive, counters);
            }
        }
    }
}

fn one_pass(start: u64, config: u64, adaptive: bool, counters: u64) {
    let mut unit = Unit::new();
    let want = if adaptive { config } else { 0 };
    let size = Config(want).bytes() as u64;
    unit.buffer(BUFFER_BYTES, size);
    unit.write(0x3f2, config);
    unit.write(0x3f1, counters);
    unit.enabled = counters;
    unit.adaptive = if adaptive { counters } else { 0 };
    for n in 0..12 {
        unit.values[n] = start;
        unit.guest.set(AREA + 0x40 + 8 * n as u64, start);
    }
    while unit.status & OVF_BUFFER == 0 && unit.history.len() < 5000 {
        workload(&mut unit, 500);
    }
    if unit.status & OVF_BUFFER == 0 {
        assert_eq!(
            (start, unit.index(), unit.guest.word(BUFFER)),
            (0, BUFFER, 0),
            "only a far counter never overflows"
        );
        return;
    }
    assert!(start != 0 && !unit.records().is_empty());
    for (configuration, bytes, ip, applicable) in unit.records() {
        assert_eq!((configuration, bytes), (want, size));
        assert!(applicable & counters != 0 && applicable & !counters == 0);
        assert_eq!(unit.history[(ip as usize - 0x1000) / 4] & applicable, applicable);
    }
    if want & 8 != 0 {
        assert!((BUFFER + size - 768..BUFFER + size).step_by(8).all(|at| unit.guest.word(at) == 0), "LBRs are off");
    }
}

#[test]
fn a_disabled_counter_overflows_the_ordinary_way() {
    let mut unit = Unit::new();
    unit.period(1, 3);
    unit.write(0x3f1, 2);
    (0..3).for_each(|_| unit.retire(2));
    assert_eq!((unit.status, unit.pebs.armed()), (0, 2));
    unit.write(0x3f1, 0);
    unit.retire(2);
    assert_eq!((unit.status, unit.values[1], unit.index()), (0, 1, BUFFER), "the armed sample is gone");
    unit.values[1] = MASK;
    unit.retire(2);
    assert_eq!((unit.status, unit.values[1]), (2, 0));
}

/// What a guest does besides running.
#[derive(Clone, Debug)]
enum Act {
    Run(Vec<u64>),
    Enable(u64),
    Count(u64),
    Config(u64),
    Adaptive(u64),
    /// Takes the records out and clears OvfBuf.
    Drain,
    /// Clears OvfBuf alone.
    Acknowledge,
    Map(bool),
    Buffer(u64, u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let counters = any::<u64>().prop_map(|v| v & COUNTERS);
    let act = prop_oneof![
        8 => prop::collection::vec(counters.clone(), 1..60).prop_map(Act::Run),
        1 => counters.clone().prop_map(Act::Enable),
        1 => counters.clone().prop_map(Act::Count),
        1 => (0u64..16, 0u64..40).prop_map(|(c, n)| Act::Config(c | n << 24)),
        1 => counters.prop_map(Act::Adaptive),
        2 => Just(Act::Drain),
        1 => Just(Act::Acknowledge),
        1 => prop::bool::weighted(0.8).prop_map(Act::Map),
        1 => (0u64..4000, 0u64..5000).prop_map(|(m, t)| Act::Buffer(m, t)),
    ];
    prop::collection::vec(act, 1..60)
}

impl Unit {
    fn act(&mut self, act: Act) {
        match act {
            Act::Run(instructions) => instructions.into_iter().for_each(|events| self.step(events)),
            Act::Enable(v) => self.write(0x3f1, v),
            Act::Count(v) => self.enabled = v,
            Act::Config(v) => self.write(0x3f2, v),
            Act::Adaptive(v) => self.adaptive = v,
            Act::Drain => {
                self.status &= !OVF_BUFFER;
                self.guest.set(AREA + 0x28, BUFFER);
            }
            Act::Acknowledge => self.status &= !OVF_BUFFER,
            Act::Map(mapped) => self.guest.mapped = mapped,
            Act::Buffer(maximum, threshold) => self.buffer(maximum, threshold),
        }
    }

    /// One instruction, with the invariants that hold across each.
    fn step(&mut self, events: u64) {
        let (before, armed, status) = (self.index(), self.pebs.armed(), self.status);
        self.retire(events);
        let (after, maximum) = (self.index(), self.guest.word(AREA + 0x30));
        assert!(after == before || after <= maximum, "C2");
        assert!(self.pebs.armed() & !self.pebs.enabled_counters() == 0);
        let threshold = self.guest.word(AREA + 0x38);
        let set = self.status & OVF_BUFFER != 0;
        assert_eq!(set, status & OVF_BUFFER != 0 || after != before && after >= threshold, "C3");
        if after != before {
            self.check_record(before, armed);
        }
    }

    /// C4: the record written last is of the instruction that has just run, which caused its events.
    fn check_record(&self, at: u64, armed: u64) {
        let (ip, applicable) = (self.guest.word(at + 8), self.guest.word(at + 16));
        let events = self.history[self.history.len() - 1];
        assert_eq!(ip, 0x1000 + 4 * (self.history.len() as u64 - 1));
        assert_eq!(applicable & !events, 0, "each counter's event happened");
        let waits = PRECISE & !(1 | 1 << 32);
        assert_eq!(applicable & waits & !armed, 0, "precise counters were armed before");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// C2, C3, C4 over random schedules of programming and running.
    #[test]
    fn invariants_hold_over_random_schedules(acts in acts(), periods in prop::array::uniform12(1u64..20)) {
        let mut unit = Unit::new();
        (0..12).for_each(|n| unit.period(n, periods[n]));
        acts.into_iter().for_each(|act| unit.act(act));
    }

    /// C1: a counter that is armed has a record every period + 1 events, one that is not every period, and its value is
    /// what is left over.
    #[test]
    fn records_times_period_and_the_remainder_are_the_events(
        instructions in prop::collection::vec(any::<u64>(), 1..800),
        periods in prop::array::uniform12(1u64..40),
    ) {
        let mut unit = Unit::new();
        unit.write(0x3f1, COUNTERS);
        (0..12).for_each(|n| unit.period(n, periods[n]));
        instructions.iter().for_each(|events| unit.retire(events & COUNTERS));
        let records = unit.records();
        for (n, bit) in BITS.into_iter().enumerate() {
            let events = instructions.iter().filter(|i| *i >> bit & 1 != 0).count() as u64;
            let waits = PRECISE >> bit & 1 != 0 && bit % 32 != 0;
            let each = periods[n] + u64::from(waits);
            let found = records.iter().filter(|r| r.3 >> bit & 1 != 0).count() as u64;
            prop_assert_eq!(found, events / each, "counter {}", bit);
            prop_assert_eq!(unit.values[n], (events % each).wrapping_sub(periods[n]) & MASK);
        }
    }

    /// A10: the same schedule gives the same bytes.
    #[test]
    fn the_same_schedule_gives_the_same_bytes(acts in acts()) {
        let run = |acts: Vec<Act>| {
            let mut unit = Unit::new();
            (0..12).for_each(|n| unit.period(n, 3 + n as u64));
            acts.into_iter().for_each(|act| unit.act(act));
            (unit.guest.memory, unit.status, unit.pmis)
        };
        prop_assert!(run(acts.clone()) == run(acts));
    }
}
