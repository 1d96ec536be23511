//! The devices of the machine and the events of its PMU.

use snapshot_tests::lists;

#[test]
fn devices_and_where_they_answer() {
    insta::assert_snapshot!("devices", lists::devices());
}

#[test]
fn events_and_what_their_counts_are_worth() {
    insta::assert_snapshot!("events", lists::events());
}
