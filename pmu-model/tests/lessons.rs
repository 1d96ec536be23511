//! The lesson ROMs on a processor with its PMU and nothing but a serial port: every count is as expected.

mod board;

use board::{How, run};
use cpu_x86::Exit;
use pmu_model::Profile;

/// All that a Sapphire Rapids has.
fn full() -> How {
    How { profile: Profile::SAPPHIRE_RAPIDS, ..How::default() }
}

#[test]
fn every_lesson_counts_what_it_expects_observed_or_not() {
    for always in [false, true] {
        let how = How { always, ..full() };
        for lesson in roms::lessons() {
            let (board, _, exit) = run(lesson.image, how);
            assert_eq!((board.status, exit), (Some(0), Exit::Attention), "{}:\n{}", lesson.name, board.printed);
            let reports: Vec<&str> = board.printed.lines().filter(|l| l.starts_with("@@ ")).collect();
            let expected: Vec<String> =
                lesson.expected.iter().map(|(what, n)| format!("@@ what={what} expected={n} counted={n}")).collect();
            assert_eq!(reports, expected, "{}", lesson.name);
        }
    }
}

#[test]
fn what_is_counted_does_not_depend_on_how_the_run_is_cut() {
    for lesson in roms::lessons() {
        for always in [false, true] {
            let (mut whole, counts, _) = run(lesson.image, How { always, ..full() });
            for slice in [1, 7, 1000] {
                let (mut cut, cut_counts, _) = run(lesson.image, How { slice, always, ..full() });
                assert_eq!((&cut.printed, cut_counts), (&whole.printed, counts), "{} by {slice}", lesson.name);
                assert_eq!(cut.pmis, whole.pmis, "{} by {slice}", lesson.name);
                assert!(cut.pmu.signals() == whole.pmu.signals(), "{} by {slice}", lesson.name);
            }
        }
    }
}

#[test]
fn the_overflow_lesson_takes_40_interrupts() {
    let (board, ..) = run(roms::lessons()[2].image, full());
    assert_eq!(board.pmis.len(), 40);
}
