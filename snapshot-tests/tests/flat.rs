//! The flat test guests: what they print and how they end, with one processor and with two.

use snapshot_tests::run::guest;

#[test]
fn the_flat_guests_pass_with_one_processor() {
    all_pass(1);
}

#[test]
fn the_flat_guests_pass_with_two_processors() {
    all_pass(2);
}

fn all_pass(processors: u32) {
    let mut text = String::new();
    for g in roms::guests() {
        let ended = guest(g, processors);
        text.push_str(&format!("== {}: {}\n{}", g.name, g.title, ended.transcript()));
    }
    insta::assert_snapshot!(format!("flat_{processors}"), text);
    assert!(!text.contains("FAIL"), "{text}");
    assert_eq!(text.matches("exit status 1\n").count(), roms::guests().len(), "{text}");
}
