//! The whole PMU samples: PEBS and the unit together, driven by exact counts, at the deadlines that the unit gives and at
//! every instruction; held to the invariants C1 to C3 of spec/pmu.md 7.

mod toy;

use cpu_x86::{Counts, Registers, Ring, Sampled};
use emu_core::Random;
use pmu_model::uarch::Parameters;
use pmu_model::{MASK, Pmu, Profile};
use proptest::prelude::*;

const AREA: u64 = 0x10_0000;
const BUFFER: u64 = 0x10_1000;
const BYTES: u64 = 0x8000;
/// Bytes of a record of the basic group.
const RECORD: u64 = 32;
const OVF_BUFFER: u64 = 1 << 62;

/// Memory of a guest that has nothing else.
#[derive(Clone, PartialEq, Eq)]
struct Guest(Vec<u8>, u64);

/// How far the TSC is ahead of the clock.
const ADJUST: u64 = 1 << 40;

impl Guest {
    fn word(&self, at: u64) -> u64 {
        let at = (at - AREA) as usize;
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }
    fn set(&mut self, at: u64, v: u64) {
        assert!(Sampled::write(self, at, &v.to_le_bytes()));
    }
    fn range(&self, at: u64, bytes: usize) -> Option<std::ops::Range<usize>> {
        let at = usize::try_from(at.checked_sub(AREA)?).ok()?;
        (at + bytes <= self.0.len()).then_some(at..at + bytes)
    }
}

impl Sampled for Guest {
    fn registers(&self) -> Registers {
        Registers::default()
    }
    fn tsc(&self) -> u64 {
        self.1
    }
    fn xmm(&self, _n: usize) -> u128 {
        0
    }
    fn read(&mut self, linear: u64, to: &mut [u8]) -> bool {
        self.range(linear, to.len()).is_some_and(|range| {
            to.copy_from_slice(&self.0[range]);
            true
        })
    }
    fn write(&mut self, linear: u64, from: &[u8]) -> bool {
        self.range(linear, from.len()).is_some_and(|range| {
            self.0[range].copy_from_slice(from);
            true
        })
    }
}

/// A counter that is sampled: its number (general, then fixed), EVENTSEL's event, the period.
#[derive(Clone, Copy, Debug)]
struct Sampling {
    n: usize,
    event: u64,
    period: u64,
}

impl Sampling {
    fn bit(&self) -> u64 {
        if self.n < 8 { 1 << self.n } else { 1 << (32 + self.n - 8) }
    }
    /// After how many events a record is due, again and again: precise events off the two counters with precise
    /// distribution wait for one more.
    fn events_a_record(&self) -> u64 {
        let waits = (self.event == 0xc0 || self.event == 0xc4) && self.n != 0 && self.n < 8;
        self.period + u64::from(waits)
    }
}

struct Machine {
    pmu: Pmu,
    guest: Guest,
    counts: Counts,
    left: u64,
    eager: bool,
    pmis: Vec<u64>,
}

impl Machine {
    /// A machine that samples, its buffer with room for `room` records and a threshold at `threshold`.
    fn new(s: &Sampling, room: u64, threshold: u64, eager: bool) -> Machine {
        let mut m = Machine {
            pmu: Pmu::new(Profile::SAPPHIRE_RAPIDS, &Parameters::SPR),
            guest: Guest(vec![0; (BUFFER + BYTES - AREA) as usize], ADJUST),
            counts: Counts::default(),
            left: 0,
            eager,
            pmis: Vec::new(),
        };
        let reset = s.period.wrapping_neg() & MASK;
        for (at, v) in [(0x20, 0), (0x28, 0), (0x30, room * RECORD), (0x38, threshold * RECORD)] {
            m.guest.set(AREA + at, BUFFER + v);
        }
        m.guest.set(AREA + 0x40 + 8 * s.n as u64, reset);
        m.write(0x38f, 0);
        m.write(0x600, AREA);
        m.write(0x3f1, s.bit());
        let (counter, control) = match s.n {
            n @ 0..8 => (0x4c1 + n as u32, (0x186 + n as u32, s.event | 0x53_0000)),
            n => (0x309 + n as u32 - 8, (0x38d, 0xb << (4 * (n - 8)))),
        };
        m.write(counter, reset);
        m.write(control.0, control.1);
        m.write(0x38f, s.bit());
        m
    }

    fn ask(&mut self) {
        self.guest.1 = self.counts.clock + ADJUST;
        if self.pmu.settle(&self.counts, &mut self.guest) {
            self.pmis.push(self.counts.kernel.instructions);
        }
        self.left = self.pmu.deadline(&self.counts, Ring::Kernel);
        assert!(self.left > 0);
    }

    fn write(&mut self, msr: u32, v: u64) {
        self.pmu.msr_write(msr, v, &self.counts).expect("there").expect("legal");
        self.left = 0;
        self.retire(false);
    }

    fn retire(&mut self, branch: bool) {
        self.counts.kernel.instructions += 1;
        self.counts.kernel.branches += u64::from(branch);
        self.counts.cycles += 1;
        self.counts.clock += 1;
        self.left = self.left.saturating_sub(1);
        if self.left == 0 || self.eager {
            self.ask();
        }
    }

    fn index(&self) -> u64 {
        self.guest.word(AREA + 0x28) - BUFFER
    }

    fn status(&mut self) -> u64 {
        self.pmu.msr_read(0x38e, &self.counts).expect("there").expect("readable")
    }
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let general = (0usize..8, prop_oneof![Just(0xc0u64), Just(0xc4), Just(0x3c)], 1u64..60);
    let general = general.prop_map(|(n, event, period)| Sampling { n, event, period });
    // A fixed counter waits for nothing: counter 0 has precise distribution, and no other counts a precise event.
    let fixed =
        (8usize..11, 1u64..60).prop_map(|(n, period)| Sampling { n, event: [0xc0, 0x3c, 0x13c][n - 8], period });
    prop_oneof![3 => general, 1 => fixed]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_are_one_a_period_until_the_buffer_is_full(
        s in sampling(), room in 1u64..40, threshold in 1u64..40, seed: u64, n in 1u64..800,
    ) {
        let [mut lazy, mut eager] = [false, true].map(|eager| Machine::new(&s, room, threshold, eager));
        let (mut dice, before) = (Random(seed), lazy.counts);
        for _ in 0..n {
            let branch = dice.one_in(3);
            lazy.retire(branch);
            eager.retire(branch);
        }
        let gone = lazy.counts.kernel.instructions - before.kernel.instructions;
        let events = if s.event == 0xc4 { lazy.counts.kernel.branches - before.kernel.branches } else { gone };
        let due = events / s.events_a_record();
        // C1, C2: a record for each, as long as there is room.
        prop_assert_eq!(lazy.index(), due.min(room) * RECORD, "{} events", events);
        // C3: the threshold is signalled once it is reached, by the buffer's bit alone.
        let reached = threshold <= room && due >= threshold;
        let status = lazy.status();
        prop_assert_eq!(status, if reached { OVF_BUFFER } else { 0 });
        prop_assert_eq!(lazy.pmis.len() as u64, if reached { due.min(room) - threshold + 1 } else { 0 });
        // Each is of this counter, and of the instruction where it was due.
        let mut last = 0;
        for at in (0..lazy.index()).step_by(RECORD as usize) {
            prop_assert_eq!(lazy.guest.word(BUFFER + at), RECORD << 48);
            prop_assert_eq!(lazy.guest.word(BUFFER + at + 16), s.bit());
            let tsc = lazy.guest.word(BUFFER + at + 24) - ADJUST;
            prop_assert!(tsc > last && tsc <= lazy.counts.clock);
            last = tsc;
        }
        // A10: bytes, interrupts and registers do not depend on when the unit is asked.
        prop_assert!(lazy.guest.0 == eager.guest.0);
        prop_assert_eq!(&lazy.pmis, &eager.pmis);
        prop_assert_eq!(status, eager.status());
    }
}

#[test]
fn a_counter_that_pebs_leaves_overflows_as_ever() {
    let s = Sampling { n: 2, event: 0xc0, period: 10 };
    let mut m = Machine::new(&s, 10, 5, false);
    (0..11).for_each(|_| m.retire(false));
    assert_eq!((m.index(), m.status()), (RECORD, 0));
    m.write(0x3f1, 0);
    // The WRMSR is the first of the ten.
    (0..9).for_each(|_| m.retire(false));
    assert_eq!((m.index(), m.status(), m.pmis.len()), (RECORD, 1 << 2, 1));
}

#[test]
fn a_debug_store_that_is_not_there_loses_records_and_nothing_else() {
    let s = Sampling { n: 0, event: 0xc0, period: 7 };
    let mut m = Machine::new(&s, 10, 5, false);
    m.write(0x600, 0xffff_8000_0000_0000);
    (0..100).for_each(|_| m.retire(true));
    assert_eq!((m.index(), m.status(), m.pmis.len()), (0, 0, 0));
}
