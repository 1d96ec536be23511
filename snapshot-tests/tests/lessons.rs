//! What each lesson prints and counts, and that it counts the same however it is sliced.

use snapshot_tests::processor;
use snapshot_tests::run::lesson;

#[test]
fn the_lessons_print_and_count_what_they_did() {
    // Where each number comes from stands beside the lesson's code, in roms/tests/assembler.
    for l in roms::lessons() {
        insta::assert_snapshot!(format!("lesson_{}", l.name), lesson(l, 1000).text());
    }
}

#[test]
fn a_lesson_counts_the_same_twice_and_in_turns_of_any_length() {
    for l in roms::lessons() {
        let first = lesson(l, 1000);
        let registers = processor::registers(first.machine.processors().next().unwrap());
        for quantum in [1, 7, 1000, 1 << 30] {
            let again = lesson(l, quantum);
            assert_eq!(first.text(), again.text(), "{} in turns of {quantum}", l.name);
            let cpu = again.machine.processors().next().unwrap();
            assert_eq!(registers, processor::registers(cpu), "{} in turns of {quantum}", l.name);
        }
    }
}
