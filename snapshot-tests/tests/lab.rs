//! The laboratory's scenarios: what each prints, and the comparisons that their texts name.

use frontend::lab::{Along, File, SHIPPED, build, compare, machines, shipped, table};
use pmu_model::host::scenario::{Scenario, run_with};
use std::path::Path;

fn made(name: &str) -> (File, Scenario) {
    let text = shipped(name).expect("it ships").text;
    let file = File::read(name, text).expect("it is read");
    let scenario = build(&file, name, text).expect("it is built");
    (file, scenario)
}

#[test]
fn every_scenario_that_ships_prints_the_same() {
    for one in SHIPPED {
        let (file, scenario) = made(one.name);
        let machines = machines(&file, one.name, one.text, Path::new("")).expect("its machines are built");
        insta::assert_snapshot!(one.name, table(&file, &scenario, &run_with(&scenario, machines)));
    }
}

#[test]
fn comparisons_along_policies_modes_and_designs_print_the_same() {
    let policies = ["s0-baseline", "s0-never", "s0-rarely", "s0-boundary", "s0-stale", "s0-bitmap"];
    let cases = policies.iter().map(|name| (*name, Along::Policies));
    for (name, along) in cases.chain([("modes", Along::Modes), ("s4-steal", Along::Aperf), ("s4-scaled", Along::Aperf)])
    {
        insta::assert_snapshot!(format!("{name}-compared"), compare(&made(name).1, along, &|| Ok(Vec::new())).unwrap());
    }
}
