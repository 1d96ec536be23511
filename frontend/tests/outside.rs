//! The program's view from outside: what `stat`, `record`, `explain` and `list` print and write, with exact numbers.

mod schema;

use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// Runs the program in `folder` with the words of `line`: status, standard output, standard error.
fn run(folder: &Path, line: &str) -> (i32, String, String) {
    let mut command = Command::cargo_bin("unhalted").unwrap();
    command.current_dir(folder).args(line.split_whitespace()).env_remove("RUST_LOG").env("LC_ALL", "de_DE.UTF-8");
    let out = command.env("NO_COLOR", "1").timeout(std::time::Duration::from_secs(120)).output().unwrap();
    let text = |b: Vec<u8>| String::from_utf8_lossy(&b).into_owned();
    (out.status.code().unwrap_or(-1), text(out.stdout), text(out.stderr))
}

/// Real-mode code at the reset vector: 16 bytes.
#[rustfmt::skip] // one instruction a row
const MARKED: [u8; 16] = [
    0xb8, 0x01, 0x00, // mov ax, 1
    0xba, 0x50, 0x89, // mov dx, 8950h
    0xee,             // out dx, al: region 0 begins
    0x40,             // inc ax
    0x90,             // nop
    0x90,             // nop
    0xb0, 0x00,       // mov al, 0
    0xee,             // out dx, al: it ends
    0xe6, 0xf4,       // out F4h, al
    0x90,
];
/// `jmp $`.
const SPIN: [u8; 16] = [0xeb, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn bench() -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("marked"), MARKED).unwrap();
    std::fs::write(folder.path().join("spin"), SPIN).unwrap();
    folder
}

fn json(folder: &Path, line: &str) -> Value {
    let (_, out, err) = run(folder, &format!("stat {line} --json -o - --no-console"));
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{line}: {e}: {out}{err}"))
}

/// User and kernel counts of `event` on processor 0 in each span.
fn counts(report: &Value, event: &str) -> Vec<(Option<u64>, Option<u64>)> {
    let spans = report["spans"].as_array().unwrap();
    let row = |s: &Value| {
        let rows = s["counts"].as_array().unwrap();
        let row = rows.iter().find(|r| r["event"] == event && r["processor"] == 0).unwrap();
        (row["user"].as_u64(), row["kernel"].as_u64())
    };
    spans.iter().map(row).collect()
}

#[test]
fn a_lesson_counts_from_outside_what_it_counts_within_and_what_is_around() {
    let report = json(bench().path(), "lesson rings -e instructions,instructions:u,r11c4:u,branch-misses");
    // The lesson's own table: 304 user instructions and 100 conditional branches.
    assert_eq!(counts(&report, "instructions")[0].0, Some(304));
    assert_eq!(counts(&report, "instructions:u")[0], (Some(304), None));
    assert_eq!(counts(&report, "r11c4:u")[0], (Some(100), None));
    assert_eq!(report["configuration"]["image"]["bytes"], 4096);
}

#[test]
fn a_marked_region_has_what_lies_between_and_the_instruction_that_ends_it() {
    let report = json(bench().path(), "--rom marked --roi -e instructions");
    // INC, NOP, NOP, MOV and the OUT.
    assert_eq!(counts(&report, "instructions"), [(Some(0), Some(5))]);
    let span = &report["spans"][0];
    assert_eq!((&span["kind"], &span["entered"], &span["open"]), (&"region".into(), &1.into(), &false.into()));
    let (code, _, err) = run(bench().path(), "stat --rom spin --roi --limit 100insn --no-console");
    assert_eq!(code, 121, "{err}");
    assert!(err.contains("marked no region") && err.contains("8950h"), "{err}");
}

/// Real-mode code at the reset vector that loads CR3 twice, which without paging means nothing.
#[rustfmt::skip] // one instruction a row
const SPACES: [u8; 16] = [
    0x66, 0xb8, 0x00, 0x10, 0x00, 0x00, // mov eax, 1000h
    0x0f, 0x22, 0xd8,                   // mov cr3, eax
    0x90,                               // nop
    0x04, 0x00,                         // add al, 0
    0x0f, 0x22, 0xd8,                   // mov cr3, eax: the same again
    0xf4,                               // hlt
];

#[test]
fn counts_by_process_are_divided_behind_the_load_of_cr3_and_add_up() {
    let bench = bench();
    std::fs::write(bench.path().join("spaces"), SPACES).unwrap();
    let report = json(bench.path(), "--rom spaces -e instructions,instructions:u --per-process");
    let processes = report["spans"][0]["processes"].as_array().unwrap();
    let rows: Vec<_> = processes.iter().map(|p| (p["root"].as_u64(), p["counts"][0]["kernel"].as_u64())).collect();
    // The load that leaves an address space is counted in it; a load of the same is no change.
    assert_eq!(rows, [(Some(0), Some(2)), (Some(0x1000), Some(4))]);
    assert!(processes.iter().all(|p| p["pid"].is_null() && p["name"].is_null()));
    assert_eq!(counts(&report, "instructions"), [(Some(0), Some(6))]);
    let (_, csv, _) = run(bench.path(), "stat --rom spaces -e instructions --per-process --csv -o - --no-console");
    assert!(csv.contains(",,,0x1000,all,instructions,INST_RETIRED.ANY_P,0xc0,exact,0,4\n"), "{csv}");
    let (_, table, _) = run(bench.path(), "stat --rom spaces -e instructions --per-process -o - --no-console");
    assert!(table.contains("cr3-1000"), "{table}");
}

#[test]
fn counts_by_process_change_no_count_and_follow_the_schema() {
    let bench = bench();
    let (plain, by) = (json(bench.path(), "lesson rings"), json(bench.path(), "lesson rings --per-process -I 100insn"));
    assert_eq!(plain["spans"][0]["counts"], by["spans"][0]["counts"]);
    let (_, text, _) = run(bench.path(), "stat --schema");
    assert_eq!(schema::check(&serde_json::from_str(&text).unwrap(), &by), Ok(()));
    for span in by["spans"].as_array().unwrap() {
        for (n, all) in span["counts"].as_array().unwrap().iter().enumerate() {
            for ring in ["user", "kernel"] {
                let sum: u64 =
                    span["processes"].as_array().unwrap().iter().filter_map(|p| p["counts"][n][ring].as_u64()).sum();
                assert_eq!(Some(sum), all[ring].as_u64(), "{n} {ring} of {span}");
            }
        }
    }
}

#[test]
fn marks_change_nothing_for_a_guest_that_is_not_watched() {
    let bench = bench();
    let plain = run(bench.path(), "run --rom marked");
    let watched = json(bench.path(), "--rom marked -e instructions");
    assert!(plain.2.contains(" 9 instructions in"), "{}", plain.2);
    assert_eq!(counts(&watched, "instructions"), [(Some(0), Some(9)), (Some(0), Some(5))]);
}

#[test]
fn intervals_of_instructions_are_exact_and_add_up() {
    let report = json(bench().path(), "--rom spin --limit 10_500insn -I 1000insn -e instructions,branches");
    let all = counts(&report, "instructions");
    assert_eq!(all[0], (Some(0), Some(10_500)));
    assert_eq!(all[1..11], [(Some(0), Some(1000)); 10]);
    assert_eq!(all[11..], [(Some(0), Some(500))]);
}

#[test]
fn intervals_of_time_are_exact_on_several_processors() {
    let report = json(bench().path(), "--rom spin --smp 2 --limit 5us -I 1us -e cycles");
    let spans = report["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 6);
    for (n, span) in spans[1..].iter().enumerate() {
        let n = n as u64;
        assert_eq!(span["begin_ticks"].as_u64(), Some(2200 * n));
        assert_eq!(span["end_ticks"].as_u64(), Some(2200 * (n + 1)));
        // The bootstrap processor runs one instruction a tick; the other waits for its start-up message.
        let row = |m: u64| span["counts"].as_array().unwrap().iter().find(|r| r["processor"] == m).unwrap().clone();
        assert_eq!((row(0)["kernel"].as_u64(), row(1)["kernel"].as_u64()), (Some(2200), Some(0)));
    }
}

#[test]
fn a_window_counts_from_one_point_to_the_other_and_ends_the_run_in_order() {
    let bench = bench();
    let report = json(bench.path(), "--rom spin --from 1000insn --to 1234insn -e instructions");
    assert_eq!(counts(&report, "instructions"), [(Some(0), Some(234))]);
    assert_eq!((&report["spans"][0]["kind"], &report["end"]["status"]), (&"window".into(), &0.into()));
    let (code, _, _) = run(bench.path(), "stat --rom spin --from 1us --limit 2us --no-console");
    assert_eq!(code, 124, "a limit of the user's is one");
}

#[test]
fn events_of_the_core_model_are_counted_too_and_change_no_exact_count() {
    let bench = bench();
    let plain = json(bench.path(), "lesson count -e instructions,branches");
    let line =
        "lesson count -e instructions,branches,MEM_INST_RETIRED.ALL_STORES,BR_INST_RETIRED.COND_TAKEN,branch-misses";
    let observed = json(bench.path(), line);
    for event in ["instructions", "branches"] {
        assert_eq!(counts(&plain, event), counts(&observed, event));
    }
    let of = |event| counts(&observed, event)[0].1.unwrap();
    // The counted loop alone takes its branch 999 times; nothing is taken that is no branch.
    let (taken, missed) = (of("BR_INST_RETIRED.COND_TAKEN"), of("branch-misses"));
    assert!((999..of("branches")).contains(&taken), "{taken}");
    assert!((1..of("branches")).contains(&missed), "{missed}");
    assert!(of("MEM_INST_RETIRED.ALL_STORES") > 0);
}

#[test]
fn watching_changes_no_count() {
    let bench = bench();
    let plain = json(bench.path(), "lesson overflow -e instructions,cycles,branches");
    let sliced = json(bench.path(), "lesson overflow -I 7insn -e instructions,cycles,branches");
    assert_eq!(plain["spans"][0]["counts"], sliced["spans"][0]["counts"]);
    assert_eq!(plain["spans"][0]["ticks"], sliced["spans"][0]["ticks"]);
}

#[test]
fn the_json_follows_its_schema_and_what_does_not_is_refused() {
    let bench = bench();
    let (code, text, _) = run(bench.path(), "stat --schema");
    assert_eq!(code, 0);
    let schema: Value = serde_json::from_str(&text).unwrap();
    for line in [
        "lesson rings -e instructions:u,XQ.FULL_CYCLES,cpu/event=0xc4,cmask=1/",
        "--rom marked --roi",
        "--rom spin --limit 3us -I 1us --smp 2",
    ] {
        let mut report = json(bench.path(), line);
        assert_eq!(schema::check(&schema, &report), Ok(()), "{line}");
        schema::check_with_python(&text, &report);
        report["spans"][0]["ticks"] = Value::from(1.5);
        assert!(schema::check(&schema, &report).is_err());
        report["spans"][0]["ticks"] = Value::from(1);
        report["spans"][0]["counts"][0]["validity"] = "sure".into();
        assert!(schema::check(&schema, &report).is_err());
        report["spans"][0]["counts"][0].as_object_mut().unwrap().remove("validity");
        assert!(schema::check(&schema, &report).is_err(), "no number without its worth");
    }
}

#[test]
fn every_row_of_every_form_says_what_it_is_worth() {
    let bench = bench();
    let line = "stat lesson count -e instructions,cycles,XQ.FULL_CYCLES,r11c4:k --no-console -o -";
    for form in ["", "--md", "--csv", "--md --per-vcpu"] {
        let (_, out, err) = run(bench.path(), &format!("{line} {form}"));
        for (event, worth) in [("instructions", "exact"), ("cycles", "modelled"), ("XQ.FULL_CYCLES", "not modelled")] {
            let row = out.lines().find(|l| l.contains(event) && !l.contains(" a cycle") || l.contains(event)).unwrap();
            assert!(row.contains(worth), "{form}: {row}");
        }
        assert!(err.contains("not modelled, so not counted: XQ.FULL_CYCLES"), "{err}");
    }
    let (_, csv, _) = run(bench.path(), &format!("{line} --csv"));
    let columns = csv.lines().next().unwrap().split(',').count();
    assert!(csv.lines().all(|l| l.split(',').count() == columns), "{csv}");
}

#[test]
fn what_is_wrong_with_a_command_is_said_with_a_remedy() {
    let bench = bench();
    for (line, status, words) in [
        ("stat --rom spin -e nonsense", 2, "rUUEE"),
        ("stat --rom spin -e branch_misses", 2, "did you mean branch-misses"),
        ("stat --rom spin -e cycles:x", 2, "no modifier"),
        ("stat --rom spin --from 1s -I 5insn", 2, "both as guest time"),
        ("stat lesson nothing", 2, "there are: count"),
        ("stat --rom spin lesson", 2, "two images"),
        ("stat --rom marked --no-console -o none/such", 121, "name another file"),
        ("record --rom marked -e XQ.FULL_CYCLES", 2, "not modelled"),
        ("record --rom marked -e cycles,branches", 2, "one event at a time"),
        ("record --rom marked -c 0", 2, "1 or more"),
        ("record --rom marked -o none/such --no-console", 121, "name another file"),
        ("explain GLOBAL_CTR", 2, "IA32_PERF_GLOBAL_CTRL"),
        ("list nothing", 2, "possible values"),
    ] {
        let (code, _, err) = run(bench.path(), line);
        assert_eq!(code, status, "{line}: {err}");
        assert!(err.contains(words) && !err.contains("panicked"), "{line}: {err}");
    }
}

#[test]
fn help_has_examples() {
    let bench = bench();
    for command in ["stat", "record", "explain", "list", "lesson"] {
        let (code, out, _) = run(bench.path(), &format!("{command} --help"));
        assert_eq!(code, 0);
        assert!(out.contains("Examples:") && out.contains(&format!("unhalted {command}")), "{out}");
    }
    let (_, out, _) = run(bench.path(), "stat --help");
    assert!(out.contains("The guest notices nothing") && out.contains("8950h"), "{out}");
}
