//! Tests of the unit: the rules and sequences of spec/pmu.md chapter 1, on a processor that only counts.

mod observed;
mod registers;

use super::register::{COUNTERS, OVF_BUFFER};
use super::*;
use crate::signal::{Signal, Signals};
use crate::{MASK, Validity};
use cpu_x86::Facts;

const EN_ALL: u64 = select::EN | select::OS | select::USR;

/// A processor that retires instructions and writes MSRs.
#[derive(Default)]
struct Processor {
    unit: Unit,
    now: Counts,
    pmis: u32,
    /// What an observer sees: every instruction is a micro-op that uses one slot and leaves five to the core.
    signals: Signals,
}

impl Processor {
    fn of(profile: Profile) -> Processor {
        Processor { unit: Unit::new(profile), ..Processor::default() }
    }
    fn now(&self) -> Now<'_> {
        Now { counts: &self.now, signals: Some(&self.signals) }
    }
    fn on_unit<T>(&mut self, f: impl FnOnce(&mut Unit, Now<'_>) -> T) -> T {
        f(&mut self.unit, Now { counts: &self.now, signals: Some(&self.signals) })
    }
    fn retire(&mut self, ring: Ring, facts: Facts) {
        let f = if ring == Ring::User { &mut self.now.user } else { &mut self.now.kernel };
        f.instructions += facts.instructions;
        f.branches += facts.branches;
        f.conditional += facts.conditional;
        self.now.cycles += facts.instructions;
        self.signals.of_mut(ring)[Signal::SlotsLight] += facts.instructions;
        self.signals.of_mut(ring)[Signal::SlotsCore] += 5 * facts.instructions;
        self.settle();
    }
    fn settle(&mut self) {
        self.pmis += u32::from(self.on_unit(|unit, now| unit.settle(now)));
    }
    /// An instruction that causes `signal` once.
    fn causing(&mut self, signal: Signal) {
        self.signals.kernel[signal] += 1;
        self.plain(Ring::Kernel, 1);
    }
    fn deadline(&mut self, ring: Ring) -> u64 {
        self.on_unit(|unit, now| unit.deadline(now, ring))
    }
    fn rdpmc(&mut self, ecx: u32) -> Result<u64, Refused> {
        self.on_unit(|unit, now| unit.rdpmc(ecx, now))
    }
    fn plain(&mut self, ring: Ring, n: u64) {
        self.retire(ring, Facts { instructions: n, ..Facts::default() });
    }
    fn branch(&mut self) {
        self.retire(Ring::Kernel, Facts { instructions: 1, branches: 1, conditional: 1, ..Facts::default() });
    }
    fn try_write(&mut self, msr: u32, v: u64) -> Option<Result<(), Refused>> {
        let done = self.on_unit(|unit, now| unit.msr_write(msr, v, now));
        if done == Some(Ok(())) {
            self.plain(Ring::Kernel, 1);
        }
        done
    }
    fn write(&mut self, msr: u32, v: u64) {
        assert_eq!(self.try_write(msr, v), Some(Ok(())), "{msr:#x}");
    }
    fn read(&mut self, msr: u32) -> u64 {
        let v = self.on_unit(|unit, now| unit.msr_read(msr, now)).expect("a register").expect("readable");
        self.plain(Ring::Kernel, 1);
        v
    }
}

/// kvm-unit-tests' precise loop, as spec/pmu.md 1.9.2 describes it: 10 N + 17 instructions, N + 2 branches.
fn precise_loop(p: &mut Processor, n: u64) {
    p.write(0x38f, COUNTERS);
    p.plain(Ring::Kernel, 4);
    for _ in 0..n {
        p.plain(Ring::Kernel, 9);
        p.branch();
    }
    p.plain(Ring::Kernel, 9);
    for _ in 0..2 {
        p.now.kernel.branches += 1;
    }
    p.plain(Ring::Kernel, 3);
    p.write(0x38f, 0);
}

#[test]
fn the_enabling_wrmsr_is_not_counted_and_the_disabling_one_is() {
    let mut p = Processor::default();
    p.write(0x38f, 0);
    p.write(0x186, 0xc0 | EN_ALL);
    p.write(0x187, 0xc4 | EN_ALL);
    p.write(0x38d, 0x3);
    precise_loop(&mut p, 1000);
    assert_eq!((p.read(0xc1), p.read(0xc2), p.read(0x309)), (10_017, 1_002, 10_017));
}

#[test]
fn a_preset_of_one_less_than_the_count_overflows_to_one() {
    for fixed in [false, true] {
        let mut p = Processor::default();
        let (counter, bit) = if fixed { (0x309, 1 << 32) } else { (0x4c1, 1) };
        p.write(0x38f, 0);
        p.write(0x186, 0xc0 | EN_ALL | select::INT);
        p.write(0x38d, 0xb);
        p.write(counter, (1 - 10_017i64) as u64 & MASK);
        precise_loop(&mut p, 1000);
        assert_eq!((p.read(counter), p.read(0x38e), p.pmis), (1, bit, 1));
        p.write(0x390, bit);
        assert_eq!(p.read(0x38e), 0);
    }
}

#[test]
fn the_pmi_comes_at_the_instruction_that_overflows() {
    let mut p = Processor::default();
    p.write(0xc1, (-100i64) as u64);
    p.write(0x186, 0xc0 | EN_ALL | select::INT);
    assert_eq!(p.deadline(Ring::Kernel), 100);
    p.plain(Ring::Kernel, 60);
    p.plain(Ring::User, 39);
    assert_eq!((p.pmis, p.deadline(Ring::User)), (0, 1));
    p.plain(Ring::User, 1);
    assert_eq!((p.pmis, p.read(0x38e)), (1, 1));
}

#[test]
fn without_int_the_status_bit_is_set_and_nothing_is_requested() {
    let mut p = Processor::default();
    p.write(0xc1, u64::MAX);
    p.write(0x186, 0xc0 | EN_ALL);
    p.plain(Ring::Kernel, 1);
    assert_eq!((p.pmis, p.read(0x38e)), (0, 1));
}

#[test]
fn rings_are_told_apart() {
    let mut p = Processor::default();
    p.write(0x38f, 0);
    p.write(0x186, 0xc0 | select::EN | select::USR);
    p.write(0x187, 0xc0 | select::EN | select::OS);
    p.write(0x188, 0x3c | select::EN | select::USR);
    p.write(0x38f, 0xff);
    p.plain(Ring::User, 30);
    p.plain(Ring::Kernel, 12);
    p.plain(Ring::User, 3);
    p.write(0x38f, 0);
    assert_eq!((p.read(0xc1), p.read(0xc2), p.read(0xc3)), (33, 13, 33));
}

#[test]
fn counter_writes_follow_their_widths() {
    let mut p = Processor::default();
    p.write(0xc1, 0xffff_ffff_0123_4567);
    assert_eq!((p.read(0xc1), p.read(0x4c1)), (0x0123_4567, 0x0123_4567));
    p.write(0x4c1, 0xff01_2345_6789);
    assert_eq!((p.read(0xc1), p.rdpmc(0)), (0xff01_2345_6789, Ok(0xff01_2345_6789)));
    assert_eq!(p.try_write(0x4c1, 1 << 48), Some(Err(Refused)));
    p.write(0xc1, 0xff_8000_0000);
    assert_eq!(p.read(0xc1), 0xffff_8000_0000);
    p.write(0x30a, u64::MAX);
    assert_eq!(p.rdpmc(1 << 30 | 1), Ok(MASK));
}

#[test]
fn rdpmc_knows_general_and_fixed_counters_only() {
    let mut p = Processor::default();
    for (ecx, there) in [(0, true), (7, true), (8, false), (64, false), (1 << 30, true), (1 << 30 | 3, true)] {
        assert_eq!(p.rdpmc(ecx).is_ok(), there, "{ecx:#x}");
    }
    for ecx in [1 << 30 | 4, 1 << 29, 1 << 31, 0x4001_0000] {
        assert_eq!(p.rdpmc(ecx), Err(Refused), "{ecx:#x}");
    }
}

#[test]
fn the_reset_state_is_what_linux_checks() {
    let mut p = Processor::default();
    assert_eq!((p.read(0x38f), p.read(0x38d), p.read(0x186), p.read(0x345)), (0xff, 0, 0, 0x3000));
    let v = p.read(0x4c8);
    p.write(0x4c8, v ^ 0xffff);
    assert_eq!(p.read(0x4c8), v ^ 0xffff);
    assert_eq!(p.unit.cpuid(0xa, 0), Some([0x0830_0805, 0, 0xf, 0x8604]));
    assert_eq!(p.unit.cpuid(0x1c, 0), None);
}

#[test]
fn in_use_tells_what_is_programmed() {
    let mut p = Processor::default();
    p.write(0x187, 0xc4);
    p.write(0x38d, 0x20);
    assert_eq!(p.read(0x392), 1 << 1 | 1 << 33);
    p.write(0x187, 0xc4 | select::INT);
    assert_eq!(p.read(0x392), 1 << 63 | 1 << 1 | 1 << 33);
}

#[test]
fn setting_a_status_bit_requests_nothing() {
    let mut p = Processor::default();
    p.write(0x186, 0xc0 | select::INT);
    p.write(0x391, 1);
    assert_eq!((p.read(0x38e), p.pmis), (1, 0));
}

#[test]
fn freezing_on_a_pmi_stops_all_counters_until_the_bit_is_cleared() {
    let mut p = Processor::default();
    p.write(0x1d9, 1 << 12);
    p.write(0x187, 0xc0 | EN_ALL);
    p.write(0xc1, (-5i64) as u64);
    p.write(0x186, 0xc0 | EN_ALL | select::INT);
    let before = p.rdpmc(1).unwrap();
    p.plain(Ring::Kernel, 5);
    assert_eq!(p.read(0x38e), 1 | CTR_FRZ);
    p.plain(Ring::User, 50);
    assert_eq!((p.rdpmc(1), p.rdpmc(0)), (Ok(before + 5), Ok(0)));
    p.write(0x390, 1 | CTR_FRZ);
    p.plain(Ring::User, 7);
    assert_eq!(p.rdpmc(0), Ok(7));
}

#[test]
fn an_event_that_is_not_modelled_counts_nothing_and_says_so() {
    let mut p = Processor::default();
    p.write(0x186, 0x0187 | EN_ALL);
    p.plain(Ring::Kernel, 1000);
    let view = p.unit.views(p.now())[0];
    assert_eq!((view.value, view.validity, view.counting), (0, Validity::NotModelled, true));
    assert_eq!(view.event, Some("DECODE.LCP"));
    assert_eq!(p.deadline(Ring::Kernel), u64::MAX);
}

#[test]
fn a_running_counter_that_is_written_goes_on_from_there() {
    let mut p = Processor::default();
    p.write(0x186, 0xc0 | EN_ALL);
    p.plain(Ring::Kernel, 500);
    p.write(0xc1, 0);
    p.plain(Ring::Kernel, 3);
    assert_eq!(p.rdpmc(0), Ok(3));
    p.write(0xc1, u64::MAX);
    p.plain(Ring::Kernel, 1);
    assert_eq!(p.read(0x38e), 1);
}

#[test]
fn an_overflow_by_the_instruction_that_clears_the_status_is_not_lost() {
    let mut p = Processor::default();
    p.write(0xc1, (-2i64) as u64);
    p.write(0x186, 0xc0 | EN_ALL | select::INT);
    p.plain(Ring::Kernel, 1);
    p.write(0x390, 1);
    assert_eq!((p.read(0x38e), p.pmis), (1, 1));
    p.write(0x390, 1);
    assert_eq!(p.read(0x38e), 0);
}

#[test]
fn a_second_overflow_requests_again_while_the_bit_is_set() {
    let mut p = Processor::default();
    p.write(0xc1, u64::MAX);
    p.write(0x186, 0xc0 | EN_ALL | select::INT);
    p.plain(Ring::Kernel, 1);
    p.write(0xc1, u64::MAX);
    p.plain(Ring::Kernel, 1);
    assert_eq!((p.read(0x38e), p.pmis), (1, 2));
}

#[test]
fn what_is_written_counts_from_the_next_instruction_on_however_late_the_unit_is_asked() {
    let (mut unit, mut now) = (Unit::default(), Counts::default());
    unit.msr_write(0x186, 0xc0 | EN_ALL, &now).unwrap().unwrap();
    now.kernel.instructions = 8;
    now.cycles = 8;
    assert_eq!(unit.rdpmc(0, &now), Ok(7));
}

#[test]
fn strict_fixed_counters_refuse_what_does_not_fit() {
    let mut p = Processor::of(Profile { strict_fixed_writes: true, ..Profile::PLAIN });
    assert_eq!(p.try_write(0x309, 1 << 48), Some(Err(Refused)));
    p.write(0x309, MASK);
    assert_eq!(p.read(0x309), MASK);
}

#[test]
fn a_constrained_unit_counts_events_on_their_counters_only() {
    for (constrained, n) in [(false, 5), (true, 0)] {
        let mut p = Processor::of(Profile { constrained, ..Profile::PLAIN });
        // BAD_SPEC_SLOTS is for counter 0 alone.
        p.write(0x186, 0x04a4 | EN_ALL);
        p.write(0x187, 0x04a4 | EN_ALL);
        (0..5).for_each(|_| p.causing(Signal::SlotsClear));
        assert_eq!((p.rdpmc(0), p.rdpmc(1)), (Ok(5), Ok(n)));
        let worth = if constrained { Validity::NotModelled } else { Validity::Modelled };
        assert_eq!(p.unit.views(p.now())[1].validity, worth);
    }
}

#[test]
fn a_wrmsr_that_overflows_a_counter_does_so_under_what_was_in_force_before_it() {
    for (before, after, pmis) in [(select::INT, 0, 1), (0, select::INT, 0)] {
        let mut p = Processor::default();
        p.write(0x186, 0xc0 | EN_ALL | before);
        p.write(0xc1, u64::MAX);
        p.write(0x186, 0xc0 | EN_ALL | after);
        assert_eq!((p.pmis, p.rdpmc(0), p.read(0x38e)), (pmis, Ok(0), 1));
    }
}
