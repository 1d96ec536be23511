//! Files that make sense and files that do not: the line and the remedy.

use super::*;
use crate::lab::{SHIPPED, json, machines, page, picture, table, trace};
use miette::Diagnostic;
use pmu_model::host::scenario::run_with;
use std::path::Path;

fn made(text: &str) -> std::result::Result<Scenario, Box<LabError>> {
    build(&File::read("test.toml", text)?, "test.toml", text)
}

const HEAD: &str = "title = \"x\"\nlasts = \"1ms\"\n";

#[test]
fn every_shipped_scenario_runs_and_can_be_shown_in_every_form() {
    for shipped in SHIPPED {
        let file = File::read(shipped.name, shipped.text).unwrap_or_else(|e| panic!("{e:?}"));
        let scenario = build(&file, shipped.name, shipped.text).unwrap_or_else(|e| panic!("{e:?}"));
        let machines = machines(&file, shipped.name, shipped.text, Path::new("")).unwrap_or_else(|e| panic!("{e:?}"));
        let report = run_with(&scenario, machines);
        assert!(table(&file, &scenario, &report).starts_with(&file.title), "{}", shipped.name);
        let value: serde_json::Value = serde_json::from_str(&json(&file, &scenario, &report)).unwrap();
        assert_eq!(value["end"], report.end);
        let value: serde_json::Value = serde_json::from_str(&trace(&scenario, &report)).unwrap();
        let spans = value["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "X").count();
        assert_eq!(spans, report.spans.len() + report.stays.len());
        for (g, _) in scenario.guests.iter().enumerate() {
            let mut stays = report.stays.iter().filter(|stay| stay.guest == g);
            assert!(
                stays.try_fold(0, |from, stay| (stay.from >= from).then_some(stay.to)).is_some(),
                "a vCPU is in one place"
            );
        }
        let page = page(&file, &scenario, &report);
        assert!(page.contains("</svg>"));
        let links = page.matches("http").count();
        assert_eq!(links, page.matches("http://www.w3.org/2000/svg").count(), "the page needs nothing else");
        assert!(page.contains(&picture(&scenario, &report)));
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

/// What is wrong, its line behind the head, a word of the complaint and one of the remedy.
#[rustfmt::skip] // a case a row
const CONTRADICTIONS: &[(&str, usize, &str, &str)] = &[
    ("clock = 0\n", 1, "out of range", "from 1"),
    ("host_user = 101\n", 1, "out of range", "to 100"),
    ("tick = 4\n", 1, "expected a string", "shipped"),
    ("nonsense = 1\n", 1, "unknown field `nonsense`", "shipped"),
    ("policy = [\"lazy\", \"eager\"]\n", 1, "no policy \"eager\"", "lazy"),
    ("[host_rates]\nbranches = 1000001\n", 2, "more than", "thousand"),
    ("[host_rates]\nbrunches = 1\n", 2, "brunches", "branches"),
    ("[[exit]]\nreason = \"door\"\n", 2, "no such reason", "hlt"),
    ("[[exit]]\nreason = \"io\"\ninstructions = 5\ncycles = 0\n", 3, "no cycle", "cycles"),
    ("[[cpu]]\nhost_turn = \"1us\"\n", 2, "no slice", "slice"),
    ("[[cpu]]\nslice = \"0us\"\n", 2, "no time", "leave it away"),
    ("[[cpu]]\nbusy = \"yes\"\n", 2, "expected a boolean", "shipped"),
    ("[[pmu]]\nid = 8\nname = \"big\"\ncpus = [1]\n", 4, "no CPU 1", "there are 1"),
    ("[[cpu]]\n[[cpu]]\n[[pmu]]\nid = 8\nname = \"big\"\ncpus = [0]\n", 6, "no PMU", "each CPU"),
    ("[[cpu]]\n[[pmu]]\nid = 8\nname = \"a\"\ncpus = [0]\n[[pmu]]\nid = 8\nname = \"b\"\ncpus = []\n", 7, "id 8", "own"),
    ("[[cpu]]\n[[pmu]]\nid = 8\nname = \"a\"\ncpus = [0]\n[[pmu]]\nid = 9\nname = \"b\"\ncpus = [0]\n", 9, "two PMUs", "has one"),
    ("[[event]]\nname = \"a\"\ncounts = \"cycles\"\n[[event]]\nname = \"a\"\ncounts = \"cycles\"\n", 5, "two events", "own"),
    ("[[event]]\nname = \"\"\ncounts = \"cycles\"\n", 2, "without a name", "name"),
    ("[[event]]\nname = \"a\"\ncounts = \"cycles:z\"\n", 3, "no modifier", "modifiers"),
    ("[[event]]\nname = \"a\"\ncounts = \"cycles\"\nperiod = 0\n", 4, "each 0", "leave it away"),
    ("[[event]]\nname = \"a\"\ncounts = \"cycles\"\nperiod = -3\n", 4, "invalid value", "shipped"),
    ("[[event]]\nname = \"a\"\ncounts = \"cycles\"\nat = \"2ms\"\n", 4, "over by then", "earlier"),
    ("[[event]]\nname = \"a\"\ncounts = \"cycles\"\nat = \"5us\"\nuntil = \"5us\"\n", 5, "before it is opened", "after"),
    ("[[event]]\nname = \"a\"\ncounts = \"cycles\"\ninherit = true\n", 4, "no children", "guest ="),
    ("[[event]]\nname = \"a\"\ncounts = \"cycles\"\ncpu = 0\nguest = \"g\"\n", 2, "a CPU and a guest", "one of"),
    ("[[event]]\nname = \"a\"\ncounts = \"cycles\"\nguest = \"g\"\n", 4, "no guest", "[[guest]]"),
    ("[[guest]]\nname = \"g\"\npmu = \"none\"\n", 2, "does nothing", "lesson"),
    ("[[guest]]\nname = \"g\"\npmu = \"none\"\nprogram = []\n", 4, "empty program", "program ="),
    ("[[guest]]\nname = \"g\"\npmu = \"none\"\nprogram = [\"user 1us\"]\nlesson = \"count\"\n", 5, "two things", "one of"),
    ("[[guest]]\nname = \"g\"\npmu = \"none\"\nprogram = [\"user 1us\"]\ninitrd = \"x\"\n", 5, "belongs to an image", "image"),
    ("[[guest]]\nname = \"g\"\npmu = \"none\"\ncount = [\"cycles\"]\nprogram = [\"user 1us\"]\n", 4, "has no PMU", "pmu"),
    ("[[guest]]\nname = \"g\"\npmu = \"mediated\"\ncount = [\"cycles\"]\nlesson = \"count\"\n", 4, "its own instructions", "leave"),
    ("[[guest]]\nname = \"g\"\npmu = \"mediated\"\nlesson = \"count\"\n[guest.rates]\nbranches = 1\n", 6, "what it executes", "leave"),
    ("[[guest]]\nname = \"g\"\npmu = \"mediated\"\nlesson = \"count\"\n[[then]]\nat = \"1us\"\ndo = \"g: pmu off\"\n", 7, "its instructions do", "leave"),
    ("[[guest]]\nname = \"g\"\npmu = \"half\"\nprogram = [\"user 1us\"]\n", 3, "no vPMU mode", "mediated"),
    ("[[guest]]\nname = \"g\"\npmu = \"none\"\ntsc = 50\nprogram = [\"user 1us\"]\n", 4, "nobody reads", "aperf"),
    ("[[guest]]\nname = \"g\"\npmu = \"none\"\naperf = \"soon\"\nprogram = [\"user 1us\"]\n", 4, "no such design", "intercept"),
    ("[[guest]]\nname = \"g\"\npmu = \"none\"\nthread_of = \"g\"\nprogram = [\"user 1us\"]\n", 4, "forks itself", "another"),
    ("[[guest]]\nname = \"g\"\npmu = \"none\"\ncpu = 1\nprogram = [\"user 1us\"]\n", 2, "no CPU 1", "there are 1"),
    ("[[guest]]\nname = \"g\"\npmu = \"none\"\nat = \"1ms\"\nprogram = [\"user 1us\"]\n", 4, "over by then", "earlier"),
    ("[[guest]]\nname = \"g\"\npmu = \"none\"\nfilter = { action = \"pass\" }\nprogram = [\"user 1us\"]\n", 4, "neither allow nor deny", "deny"),
    ("[[then]]\nat = \"1us\"\ndo = \"open b\"\n", 3, "no event \"b\"", "[[event]]"),
    ("[[then]]\nat = \"1ms\"\ndo = \"open b\"\n", 2, "over by then", "earlier"),
];

#[test]
fn contradictions_are_said_with_line_and_remedy() {
    for (text, line, what, remedy) in CONTRADICTIONS {
        let error = made(&format!("{HEAD}{text}")).err().unwrap_or_else(|| panic!("nothing is wrong with\n{text}"));
        assert_eq!(error.line(), line + 2, "{text}: {error}");
        assert!(error.to_string().contains(what), "{text}: {error}");
        let help = error.help().map(|help| help.to_string()).unwrap_or_default();
        assert!(help.contains(remedy), "{text}: {help}");
    }
}

#[test]
fn what_an_executed_guest_is_made_of_is_looked_for_with_its_line() {
    let error = |more: &str| {
        let text = format!("{HEAD}[[guest]]\nname = \"g\"\npmu = \"none\"\n{more}\n");
        let file = File::read("test.toml", &text).unwrap();
        build(&file, "test.toml", &text).unwrap();
        let Err(error) = machines(&file, "test.toml", &text, Path::new("/nowhere")) else { panic!("{more}") };
        (error.line(), error.to_string(), error.help().unwrap().to_string())
    };
    let (line, what, remedy) = error("lesson = \"dancing\"");
    assert!(line == 6 && what.contains("no lesson") && remedy.contains("rings"), "{what}: {remedy}");
    let (line, what, remedy) = error("image = \"kernel\"");
    assert!(line == 6 && what.contains("/nowhere/kernel") && remedy.contains("relative"), "{what}: {remedy}");
    let (line, what, _) = error("image = \"/dev/null\"\nmemory = \"64M\"");
    assert!(line == 6 && what.contains("cannot be started"), "{what}");
    let (line, what, remedy) = error("image = \"/dev/null\"\nmemory = \"much\"");
    assert!(line == 7 && remedy.contains("64M"), "{what}: {remedy}");
}
