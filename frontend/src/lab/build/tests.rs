//! Files that make sense and files that do not: the line and the remedy.

use super::*;
use crate::lab::{SHIPPED, json, page, table, trace};
use miette::Diagnostic;
use pmu_model::host::scenario::run;

fn made(text: &str) -> std::result::Result<Scenario, Box<LabError>> {
    build(&File::read("test.toml", text)?, "test.toml", text)
}

const HEAD: &str = "title = \"x\"\nlasts = \"1ms\"\n";

#[test]
fn every_shipped_scenario_runs_and_can_be_shown_in_every_form() {
    for shipped in SHIPPED {
        let file = File::read(shipped.name, shipped.text).unwrap_or_else(|e| panic!("{e:?}"));
        let scenario = build(&file, shipped.name, shipped.text).unwrap_or_else(|e| panic!("{e:?}"));
        let report = run(&scenario);
        assert!(table(&file, &scenario, &report).starts_with(&file.title), "{}", shipped.name);
        let value: serde_json::Value = serde_json::from_str(&json(&file, &scenario, &report)).unwrap();
        assert_eq!(value["end"], report.end);
        let value: serde_json::Value = serde_json::from_str(&trace(&scenario, &report)).unwrap();
        let spans = value["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "X").count();
        assert_eq!(spans, report.spans.len());
        let page = page(&file, &scenario, &report);
        assert!(page.contains("</svg>") && !page.contains("http"), "the page needs nothing else");
    }
    assert!(SHIPPED.len() >= 12);
}

/// Line of the complaint, a word of it and a word of its remedy.
#[test]
fn what_makes_no_sense_is_said_with_line_and_remedy() {
    let cases = [
        ("lasts = \"1ms\"\n", 1, "missing field `title`", "keys"),
        ("title = \"x\"\nlasts = \"soon\"\n", 2, "no time", "10ms"),
        ("title = \"x\"\nlasts = \"1ms\"\npolicy = \"eager\"\n", 3, "no policy \"eager\"", "lazy"),
        ("title = \"x\"\nlasts = \"1ms\"\n\n[[event]]\nname = \"a\"\ncounts = \"cycle\"\n", 6, "no event", "cycles"),
        ("title = \"x\"\nlasts = \"1ms\"\n[[event]]\nname = \"a\"\npined = true\n", 5, "unknown field `pined`", "keys"),
        (
            "title = \"x\"\nlasts = \"1ms\"\n[[then]]\nat = \"1us\"\ndo = \"stop it\"\n",
            5,
            "no guest \"it\"",
            "[[guest]]",
        ),
        (
            "title = \"x\"\nlasts = \"1ms\"\n[[then]]\nat = \"1us\"\ndo = \"dance\"\n",
            5,
            "nothing that happens",
            "migrate",
        ),
        ("title = \"x\"\nlasts = \"1ms\"\n[[cpu]]\ncounters = \"9+4\"\n", 4, "no counters", "8+4"),
        ("title = \"x\"\nlasts =\n", 2, "", "keys"),
    ];
    for (text, line, what, remedy) in cases {
        let error = made(text).unwrap_err();
        assert_eq!(error.line(), line, "{text}");
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.help().unwrap().to_string().contains(remedy), "{:?}", error.help().map(|h| h.to_string()));
    }
}

#[test]
fn a_guest_names_what_it_does() {
    let text = |program: &str| {
        format!("{HEAD}[[guest]]\nname = \"g\"\npmu = \"mediated\"\ncount = [\"cycles\"]\nprogram = [\"{program}\"]\n")
    };
    for good in ["user 1us", "kernel 5cycles", "exit io", "halt 1ms", "read cycles", "aperf", "pmu off", "pmi done"] {
        assert!(made(&text(good)).is_ok(), "{good}");
    }
    for bad in ["", "user", "user fast", "exit window", "read branches", "pmu", "halt"] {
        let error = made(&text(bad)).unwrap_err();
        assert_eq!(error.line(), 7, "{bad}: {error}");
    }
}

#[test]
fn leaders_come_first_and_targets_are_one() {
    let event = |more: &str| format!("{HEAD}[[event]]\nname = \"a\"\ncounts = \"cycles\"\n{more}\n");
    assert!(made(&event("group = \"a\"")).unwrap_err().to_string().contains("leader"));
    assert!(made(&event("cpu = 3")).unwrap_err().to_string().contains("CPU"));
    assert!(made(&event("period = 5\nfrequency = 5")).unwrap_err().to_string().contains("frequency"));
    assert!(made(&event("period = 5")).is_ok());
}
