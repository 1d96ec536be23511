//! `unhalted lab` as users type it: the list, a run, a comparison, a page, and a file that makes no sense.

use assert_cmd::Command;
use std::fs;

fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("unhalted").unwrap();
    command.arg("lab").args(arguments);
    command
}

fn output(arguments: &[&str]) -> String {
    let output = lab(arguments).assert().success().get_output().stdout.clone();
    String::from_utf8(output).unwrap()
}

#[test]
fn without_a_scenario_it_lists_those_that_ship() {
    let list = output(&[]);
    assert!(list.lines().count() >= 12, "{list}");
    assert!(list.contains("s2-pinned        S2: host and guest compete for counters\n"), "{list}");
}

#[test]
fn a_shipped_scenario_is_run_shown_and_compared() {
    assert!(output(&["s3-selected"]).contains("CPU_UNSUPPORTED"));
    assert!(output(&["s0-never", "--compare", "policies"]).contains("baseline"));
    assert!(output(&["s0-never", "--show"]).starts_with("title = \"S0, phase 1"));
    assert!(output(&["modes", "--format", "json"]).starts_with("{\n"));
    assert!(output(&["modes", "--format", "perfetto"]).contains("traceEvents"));
}

#[test]
fn a_page_is_written_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    lab(&["modes", "--format", "html", "--output", page.to_str().unwrap()]).assert().success().stdout("");
    assert!(fs::read_to_string(page).unwrap().starts_with("<!doctype html>"));
}

#[test]
fn a_file_that_makes_no_sense_is_shown_with_its_line_and_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    fs::write(&file, "title = \"mine\"\nlasts = \"1ms\"\npolicy = \"eager\"\n").unwrap();
    let assert = lab(&[file.to_str().unwrap()]).assert().code(2);
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(text.contains("line 3") && text.contains("there is no policy \"eager\""), "{text}");
    assert!(text.contains("policy = \"eager\"") && text.contains("baseline, lazy"), "{text}");
    lab(&["nowhere.toml"]).assert().code(127);
}

/// The pages and pictures of the documentation are what the program makes of the scenarios that ship.
#[test]
fn the_documentation_shows_what_the_program_makes() {
    let folder = tempfile::tempdir().unwrap();
    lab(&["--docs", folder.path().to_str().unwrap()]).assert().success();
    let committed = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/lab"));
    let index = fs::read_to_string(committed.join("README.md")).unwrap();
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert!(names.len() >= 2 * 12);
    for name in names {
        let made = fs::read_to_string(folder.path().join(&name)).unwrap();
        let there = fs::read_to_string(committed.join(&name)).unwrap_or_default();
        assert!(
            made == there,
            "docs/lab/{name:?} is not what the program makes: cargo run -p frontend -- lab --docs docs/lab"
        );
        let name = name.to_string_lossy();
        assert!(name.ends_with(".svg") || index.contains(&format!("]({name})")), "{name} is not in docs/lab/README.md");
    }
}
