//! Random schedules of programming, running and reading: the unit, which computes from totals and is asked at its deadlines
//! only, against a reference that counts every instruction; and the invariants A1 to A10 of spec/pmu.md 7.
//!
//! Where the others are: A8 on the processor itself in `fuzz/src/pmu`; B in `events` and `processor`; C1 to C4 in `pebs` and
//! `sampling`, C5 to C7 in `src/lbr/tests` and on programs in `sampled_programs`; D in `clocks`, `src/power` and
//! `src/host/aperf/tests`; E and P in `host_schedules`.

mod toy;

use cpu_x86::Ring;
use emu_core::Random;
use pmu_model::{Profile, Unit};
use proptest::prelude::*;
use toy::reference::{CODES, Reference};
use toy::{Step, Totals, other};

/// Registers that hold state, which every comparison reads.
const STATE: [(u32, u32); 9] =
    [(0x0c1, 8), (0x4c1, 8), (0x186, 8), (0x309, 4), (0x38d, 1), (0x38e, 1), (0x38f, 1), (0x390, 3), (0x3f6, 2)];

/// What happens next.
#[derive(Clone, Debug)]
enum Op {
    /// So many instructions, drawn with this seed.
    Run(u64, u64),
    /// Into the other ring.
    Switch,
    Write(u32, u64),
    Read(u32),
}

/// A toy processor with a unit, and what it should do.
struct Machine {
    unit: Unit,
    reference: Reference,
    totals: Totals,
    ring: Ring,
    pmis: u64,
    /// How many more instructions may retire before the unit is asked.
    left: u64,
    /// Is the unit asked behind every instruction?
    eager: bool,
}

impl Machine {
    fn new(eager: bool) -> Machine {
        let mut machine = Machine {
            unit: Unit::new(Profile::SAPPHIRE_RAPIDS),
            reference: Reference::default(),
            totals: Totals::default(),
            ring: Ring::Kernel,
            pmis: 0,
            left: 0,
            eager,
        };
        machine.ask();
        machine
    }

    fn ask(&mut self) {
        self.pmis += u64::from(self.unit.settle(self.totals.now()));
        self.left = self.unit.deadline(self.totals.now(), self.ring);
        assert!(self.left > 0);
    }

    /// An instruction retires, which the reference knows already.
    fn retired(&mut self, step: &Step, ask: bool) {
        self.totals.book(step);
        self.left -= 1;
        if ask || self.eager || self.left == 0 {
            self.ask();
        }
        assert_eq!(self.pmis, self.reference.pmis, "an interrupt is requested at the instruction that overflows");
    }

    fn run(&mut self, n: u64, seed: u64) {
        let mut dice = Random(seed);
        for _ in 0..n {
            let step = Step::random(&mut dice, self.ring);
            self.reference.retire(&step);
            self.retired(&step, false);
        }
    }

    fn read(&mut self, msr: u32) -> u64 {
        self.unit.msr_read(msr, self.totals.now()).expect("there").expect("readable")
    }

    fn state(&mut self) -> Vec<(u32, u64)> {
        let all = STATE.into_iter().flat_map(|(first, count)| first..first + count);
        all.map(|msr| (msr, self.read(msr))).collect()
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Run(n, seed) => self.run(n, seed),
            Op::Switch => {
                self.ring = other(self.ring);
                self.ask();
            }
            Op::Read(msr) => {
                let v = self.read(msr);
                assert_eq!(v, self.reference.read(msr), "{msr:#x}");
                self.reference.retire(&Step::serial());
                self.retired(&Step::serial(), true);
            }
            Op::Write(msr, v) => {
                let before = self.state();
                match self.unit.msr_write(msr, v, self.totals.now()) {
                    Some(Ok(())) => {
                        self.reference.write(msr, v);
                        self.retired(&Step::serial(), true);
                    }
                    _ => assert_eq!(self.state(), before, "a refused write changes nothing"),
                }
            }
        }
        self.check();
    }

    /// Everything that can be read is as it should be: A1 to A3, A7 by what the reference says.
    fn check(&mut self) {
        for (msr, v) in self.state() {
            if !(0x390..0x392).contains(&msr) && msr < 0x3f6 {
                assert_eq!(v, self.reference.read(msr), "{msr:#x}");
            }
        }
        for n in 0..12 {
            let selector = if n < 8 { n } else { 1 << 30 | (n - 8) };
            let v = self.unit.rdpmc(selector, self.totals.now()).expect("a counter");
            assert!(v < 1 << 48);
            assert_eq!(v, self.reference.counters[n as usize]);
        }
        let v = self.unit.rdpmc(1 << 29, self.totals.now()).expect("metrics");
        assert_eq!(v, self.read(0x329));
        check_metrics(v, &self.reference);
    }
}

/// B9: the four fields of level 1 sum to 255 and each is within a unit of its exact part; the others too, and are at most
/// their parents.
fn check_metrics(v: u64, reference: &Reference) {
    let (fields, slots) = (v.to_le_bytes(), reference.slots);
    if slots == 0 || reference.fields[..4].iter().sum::<u64>() != slots {
        return;
    }
    assert_eq!(fields[..4].iter().map(|f| u64::from(*f)).sum::<u64>(), 255);
    for n in 0..8 {
        let exact = 255.0 * reference.fields[n] as f64 / slots as f64;
        assert!((f64::from(fields[n]) - exact).abs() <= 1.0, "field {n}: {} for {exact}", fields[n]);
        assert!(n < 4 || fields[n] <= fields[n - 4], "field {n}");
    }
}

/// EVENTSEL: mostly what makes sense, now and then anything.
fn select() -> impl Strategy<Value = u64> {
    let sensible = (0..CODES.len(), 0u64..8, 0u64..16, any::<bool>(), prop_oneof![4 => Just(0u64), 1 => 0u64..9]);
    let sensible = sensible.prop_map(|(code, rings, enabled, int, cmask)| {
        let (code, masked) = CODES[code];
        let cmask = if masked || cmask > 6 { cmask } else { 0 };
        let inv = if cmask != 0 { rings >> 2 } else { 0 };
        let enabled = u64::from(enabled != 0);
        code | (rings & 3) << 16 | u64::from(int) << 20 | enabled << 22 | inv << 23 | cmask << 24
    });
    prop_oneof![8 => sensible, 1 => any::<u64>().prop_map(|v| v | 1 << 21)]
}

/// A counter's value, often close to its end.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![6 => (1u64..80).prop_map(|n| (1 << 48) - n), 2 => Just(0), 1 => any::<u64>(), 1 => 0u64..1 << 48]
}

fn write() -> impl Strategy<Value = Op> {
    let control = 0xf_0000_00ffu64 | 1 << 48;
    prop_oneof![
        6 => (0u32..8, select()).prop_map(|(n, v)| Op::Write(0x186 + n, v)),
        3 => (0u32..8, value()).prop_map(|(n, v)| Op::Write(0xc1 + n, v)),
        3 => (0u32..8, value()).prop_map(|(n, v)| Op::Write(0x4c1 + n, v)),
        3 => (0u32..4, value()).prop_map(|(n, v)| Op::Write(0x309 + n, v)),
        3 => any::<u64>().prop_map(|v| Op::Write(0x38d, v & 0xbbbb)),
        4 => any::<u64>().prop_map(move |v| Op::Write(0x38f, v & control)),
        2 => Just(Op::Write(0x38f, control)),
        2 => (0u64..4).prop_map(|v| Op::Write(0x1d9, v << 11)),
        4 => any::<u64>().prop_map(move |v| Op::Write(0x390, v & (control | 3 << 58))),
        1 => any::<u64>().prop_map(move |v| Op::Write(0x391, v & (control | 3 << 58))),
        1 => (0u32..0x1000, any::<u64>())
            .prop_filter("state of the reference", |(n, v)| *v >> 48 & 0xffff != 0 && *n != 0x1d9 && *n != 0x329)
            .prop_map(|(n, v)| Op::Write(n, v)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let registers = prop_oneof![
        (0u32..8).prop_map(|n| 0xc1 + n),
        (0u32..4).prop_map(|n| 0x309 + n),
        Just(0x38e),
        Just(0x392),
        Just(0x38f)
    ];
    prop_oneof![
        6 => write(),
        4 => (1u64..120, any::<u64>()).prop_map(|(n, seed)| Op::Run(n, seed)),
        2 => Just(Op::Switch),
        1 => registers.prop_map(Op::Read),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_unit_counts_what_the_reference_counts(ops in prop::collection::vec(op(), 1..60)) {
        let mut machine = Machine::new(false);
        ops.iter().for_each(|op| machine.apply(op));
    }

    #[test]
    fn what_is_counted_does_not_depend_on_when_the_unit_is_asked(ops in prop::collection::vec(op(), 1..40)) {
        let (mut lazy, mut eager) = (Machine::new(false), Machine::new(true));
        for op in &ops {
            lazy.apply(op);
            eager.apply(op);
            prop_assert_eq!(lazy.state(), eager.state());
            prop_assert_eq!(lazy.pmis, eager.pmis);
        }
    }
}

/// Programs `selects` on the general counters of a fresh unit, of which counter 0 starts at `preset`, runs, and reads all
/// counters and GLOBAL_STATUS.
fn counted(selects: &[u64], preset: u64, seed: u64, n: u64) -> (Vec<u64>, u64) {
    let (mut unit, mut totals) = (Unit::new(Profile::SAPPHIRE_RAPIDS), Totals::default());
    let mut write = |msr, v, totals: &mut Totals| {
        unit.msr_write(msr, v, totals.now()).expect("there").expect("legal");
        totals.book(&Step::serial());
        unit.settle(totals.now());
    };
    write(0x38f, 0, &mut totals);
    write(0x38d, 0x3333, &mut totals);
    write(0x4c1, preset, &mut totals);
    selects.iter().enumerate().for_each(|(n, s)| write(0x186 + n as u32, s | 1 << 22, &mut totals));
    write(0x38f, 0xf_0000_00ff, &mut totals);
    totals.run(&mut Random(seed), n);
    write(0x38f, 0, &mut totals);
    let now = totals.now();
    let general = (0..selects.len() as u32).map(|n| unit.rdpmc(n, now).unwrap()).collect::<Vec<_>>();
    let fixed = (0..4).map(|n| unit.rdpmc(1 << 30 | n, now).unwrap());
    let counters = general.into_iter().chain(fixed).collect();
    (counters, unit.msr_read(0x38e, now).unwrap().unwrap())
}

#[test]
fn rings_partition_every_event_and_its_cycles() {
    // A5, for every row of the table that is modelled and needs no further register.
    for (seed, e) in pmu_model::catalog::EVENTS.iter().enumerate() {
        if e.msr.is_some() || e.counters & 0xff == 0 || e.formula.is_none() {
            continue;
        }
        let (counts, _) =
            counted(&[e.select() | 1 << 16, e.select() | 1 << 17, e.select() | 3 << 16], 0, seed as u64, 500);
        assert_eq!(counts[0] + counts[1], counts[2], "{}", e.name);
    }
}

#[test]
fn fixed_counters_count_what_general_ones_count() {
    // A6.
    for seed in 0..20 {
        let both = 3 << 16;
        let (c, _) = counted(&[0xc0 | both, 0x3c | both, 0x13c | both, 0x1a4 | both], 0, seed, 1000);
        assert_eq!(c[..4], c[4..]);
        assert_eq!((c[0], c[3]), (1001, 6006), "seed {seed}");
    }
}

#[test]
fn nothing_moves_a_counter_that_does_not_count() {
    // A4: EN, GLOBAL_CTRL, CTR_FRZ.
    for (select, global, status) in [(0x3_00c0u64, 0xff, 0), (0x43_00c0, 0xfe, 0), (0x43_00c0, 0xff, 1 << 59)] {
        let (mut unit, mut totals) = (Unit::new(Profile::SAPPHIRE_RAPIDS), Totals::default());
        for (msr, v) in [(0x391, status), (0x38f, global), (0xc1, 77), (0x186, select), (0xc1, 1234)] {
            unit.msr_write(msr, v, totals.now()).unwrap().unwrap();
            totals.book(&Step::serial());
        }
        totals.run(&mut Random(select), 300);
        assert_eq!(unit.rdpmc(0, totals.now()), Ok(1234), "{select:#x} {global:#x} {status:#x}");
    }
}

#[test]
fn a_preset_of_one_less_than_the_count_ends_at_one_for_every_event() {
    // 1.8.5: what a first run counts is N; a second like it, preset to 1 - N, ends at exactly 1 with the bit set.
    for (seed, e) in pmu_model::catalog::EVENTS.iter().enumerate() {
        if e.msr.is_some() || e.counters & 0xff == 0 || !e.formula.is_some_and(|f| f.most().firm) {
            continue;
        }
        let select = e.select() | 3 << 16;
        let (counts, _) = counted(&[select], 0, seed as u64, 400);
        let preset = 1u64.wrapping_sub(counts[0]) & ((1 << 48) - 1);
        let (again, status) = counted(&[select], preset, seed as u64, 400);
        assert_eq!((again[0], status), (1, u64::from(counts[0] > 1)), "{} {}", e.name, counts[0]);
    }
}

#[test]
fn the_reset_values_are_the_architectures() {
    // A9.
    let (mut unit, totals) = (Unit::new(Profile::SAPPHIRE_RAPIDS), Totals::default());
    for (first, count) in STATE {
        for msr in first..first + count {
            let v = unit.msr_read(msr, totals.now()).unwrap().unwrap();
            assert_eq!(v, if msr == 0x38f { 0xff } else { 0 }, "{msr:#x}");
        }
    }
    assert_eq!(unit.msr_read(0x329, totals.now()), Some(Ok(0)));
    assert_eq!(unit.msr_read(0x345, totals.now()), Some(Ok(0xf4ff)));
}
