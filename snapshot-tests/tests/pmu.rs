//! Snapshots of a PMU, driven by hand-written facts.

use cpu_x86::{Counts, Facts};
use pmu_model::signal::{Signal, Signals};
use pmu_model::{Now, Profile, Unit};
use snapshot_tests::{assert_pmu_snapshot, pmu};

/// A user program of 1000 instructions, of which 100 conditional branches (60 taken) and 200 loads; the kernel's 50
/// instructions that went before programmed the unit.
fn program() -> (Unit, Counts, Signals) {
    let mut unit = Unit::new(Profile::SAPPHIRE_RAPIDS);
    let (mut counts, mut signals) = (Counts::default(), Signals::default());
    for (msr, v) in [(0x186, 0x41_11c4), (0x187, 0x41_81d0), (0x38d, 0x3333), (0x38f, 0x1_000f_0000_00ff)] {
        unit.msr_write(msr, v, Now { counts: &counts, signals: Some(&signals) }).expect("there").expect("legal");
        counts.kernel.instructions += 1;
        counts.cycles += 1;
        unit.settle(Now { counts: &counts, signals: Some(&signals) });
    }
    counts.kernel.instructions += 46;
    counts.user = Facts { instructions: 1000, branches: 100, conditional: 100, ..Facts::default() };
    counts.cycles += 1046;
    let user = [
        (Signal::ConditionalTaken, 60),
        (Signal::NearTaken, 60),
        (Signal::Loads, 200),
        (Signal::LoadL1Hit, 190),
        (Signal::LoadL2Hit, 10),
        (Signal::SlotsLight, 1500),
        (Signal::SlotsHeavy, 300),
        (Signal::SlotsMemory, 1200),
        (Signal::SlotsL2, 600),
        (Signal::SlotsCore, 3000),
    ];
    user.into_iter().for_each(|(signal, n)| signals.user[signal] = n);
    (unit, counts, signals)
}

#[test]
fn a_user_program_and_its_kernel() {
    let (unit, counts, signals) = program();
    let now = Now { counts: &counts, signals: Some(&signals) };
    assert_pmu_snapshot!("pmu", unit, now, "program" => "by hand", "branches" => 100);
}

#[test]
fn lines_are_sorted_and_all_but_the_header_end_in_an_integer() {
    let (unit, counts, signals) = program();
    let text =
        pmu::text(&unit, Now { counts: &counts, signals: Some(&signals) }, &[("b", "2".into()), ("a", "1".into())]);
    let (header, lines): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('#'));
    assert_eq!(header[header.len() - 2..], ["# a: 1", "# b: 2"]);
    assert!(lines.len() > 20 && lines.is_sorted(), "{text}");
    for line in lines {
        let (_, n) = line.rsplit_once(" = ").expect("a key and a value");
        assert!(n.parse::<u64>().is_ok_and(|n| n > 0), "{line}");
    }
}
