//! The house rules of STYLE.md and the invariants of ARCHITECTURE.md, checked over the source text.
//!
//! Each invariant is an absence: a crate or a folder that does not know something. A check looks at code only (comments
//! and strings are blanked out first), as words: `cache_line` names a cache, `caching` does not. What a rule excepts
//! stands in a list here with its reason.

use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 8] =
    ["emu-core", "softfp", "cpu-x86", "pmu-model", "devices", "roms", "frontend", "snapshot-tests"];

/// Files and folders that may hold unsafe code, each for the reason it states in its own `expect`. Tests that compare
/// with the host processor run machine code, so they are among them.
const UNSAFE: [&str; 7] = [
    "emu-core/src/ram.rs",
    "cpu-x86/src/engine/",
    "cpu-x86/src/memory.rs",
    "cpu-x86/src/outside.rs",
    "cpu-x86/tests/",
    "cpu-x86/src/exec/evex/native_tests",
    "softfp/tests/",
];

/// Words that instruction semantics may hold after all: where, which, why.
const NAMED: [(&str, &str, &str); 2] = [
    ("cpu-x86/src/exec/int/branch.rs", "counter", "LOOP counts in rCX"),
    ("cpu-x86/src/exec/platform/mod.rs", "cache", "WBINVD, CLFLUSH and the like are the manual's cache control"),
];

/// Files that may be longer than [`CODE_LINES`]: path, reason.
const LONG: [(&str, &str); 1] =
    [("cpu-x86/src/engine/body.rs", "a table in effect: every fast form, each a few lines, side by side")];

/// Most lines of code in a file, blank lines and comments not counted.
const CODE_LINES: usize = 600;

/// A source file.
struct Source {
    /// From the workspace's root, with `/`.
    path: String,
    text: String,
    /// The text with comments and the content of strings blanked out, lines kept.
    code: String,
}

impl Source {
    /// The code that is part of the program: without tests.
    fn program(&self) -> &str {
        if self.path.contains("tests/") || self.path.ends_with("tests.rs") {
            return "";
        }
        self.code.find("#[cfg(test)]\nmod tests {").map_or(&self.code, |at| &self.code[..at])
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
            walk(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

/// Every file below the root with one of the endings.
fn files(folders: &[&str], endings: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    folders.iter().for_each(|folder| walk(&root().join(folder), &mut paths));
    paths.sort();
    let read = |path: PathBuf| {
        let short = path.strip_prefix(root()).ok()?.to_string_lossy().replace('\\', "/");
        let short = short.trim_start_matches("./").to_owned();
        let text = endings.iter().any(|e| short.ends_with(e)).then(|| fs::read_to_string(&path).ok())??;
        let code = blanked(&text);
        Some(Source { path: short, text, code })
    };
    paths.into_iter().filter_map(read).collect()
}

fn sources() -> Vec<Source> {
    let all = files(&CRATES, &[".rs"]);
    assert!(all.len() > 20, "the sources were found");
    all
}

/// The file with everything blanked out that the compiler does not run: comments, strings, characters.
fn blanked(text: &str) -> String {
    let b = text.as_bytes();
    let mut code = b.to_vec();
    let mut at = 0;
    while at < b.len() {
        let end = match (b[at], b.get(at + 1)) {
            (b'/', Some(b'/')) => line_end(b, at),
            (b'/', Some(b'*')) => text[at..].find("*/").map_or(b.len(), |n| at + n + 2),
            (b'r', Some(b'"' | b'#')) if at == 0 || !is_word(b[at - 1]) => raw_end(text, at),
            (b'"', _) => quoted_end(b, at),
            (b'\'', Some(b'\\')) => {
                b[at + 2..].iter().skip(1).position(|c| *c == b'\'').map_or(b.len(), |n| at + n + 4)
            }
            (b'\'', _) if b.get(at + 2) == Some(&b'\'') => at + 3,
            _ => at + 1,
        };
        if end > at + 1 {
            code[at..end].iter_mut().filter(|c| **c != b'\n').for_each(|c| *c = b' ');
        }
        at = end;
    }
    String::from_utf8_lossy(&code).into_owned()
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_'
}

fn line_end(b: &[u8], at: usize) -> usize {
    b[at..].iter().position(|c| *c == b'\n').map_or(b.len(), |n| at + n)
}

fn quoted_end(b: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < b.len() && b[end] != b'"' {
        end += if b[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(b.len())
}

fn raw_end(text: &str, at: usize) -> usize {
    let hashes = text[at + 1..].bytes().take_while(|c| *c == b'#').count();
    if text.as_bytes().get(at + 1 + hashes) != Some(&b'"') {
        return at + 1;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    text[at + 2 + hashes..].find(&close).map_or(text.len(), |n| at + 2 + hashes + n + close.len())
}

/// Words of the code with their line numbers: identifiers split at underscores and humps, in lower case.
fn words(code: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for (n, line) in code.lines().enumerate() {
        let mut word = String::new();
        for c in line.chars().chain([' ']) {
            let hump = c.is_ascii_uppercase() && word.ends_with(|l: char| l.is_ascii_lowercase());
            if (!c.is_ascii_alphanumeric() || hump) && !word.is_empty() {
                words.push((n + 1, std::mem::take(&mut word).to_ascii_lowercase()));
            }
            if c.is_ascii_alphanumeric() {
                word.push(c);
            }
        }
    }
    words
}

/// Asserts that no program code below `places` holds one of `banned` as a word.
fn knows_nothing_of(places: &[&str], banned: &[&str]) {
    let mut found = Vec::new();
    for source in sources().iter().filter(|s| places.iter().any(|place| s.path.starts_with(place))) {
        let excepted = |word: &str| NAMED.iter().any(|(path, named, _)| source.path == *path && word == *named);
        let banned = |word: &str| banned.contains(&word) && !excepted(word);
        let named = words(source.program()).into_iter().filter(|(_, word)| banned(word));
        found.extend(named.map(|(line, word)| format!("{}:{line}: {word}", source.path)));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Asserts that no code below `places` holds one of `banned` as it stands.
fn holds_no(places: &[&str], banned: &[&str]) {
    holds_none(places, banned, |source| &source.code);
}

fn holds_none(places: &[&str], banned: &[&str], part: fn(&Source) -> &str) {
    let mut found = Vec::new();
    for source in sources().iter().filter(|s| places.iter().any(|place| s.path.starts_with(place))) {
        for (n, line) in part(source).lines().enumerate() {
            let held = banned.iter().filter(|b| line.contains(**b));
            found.extend(held.map(|b| format!("{}:{}: {b}", source.path, n + 1)));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_is() {
    let without: Vec<String> = sources().into_iter().filter(|s| !s.text.starts_with("//! ")).map(|s| s.path).collect();
    assert!(without.is_empty(), "these open without `//! `: {without:?}");
}

#[test]
fn instruction_semantics_name_no_counter_cycle_cache_or_time() {
    let banned = ["counter", "counters", "cycle", "cycles", "cache", "caches", "time", "picoseconds", "nanoseconds"];
    knows_nothing_of(&["cpu-x86/src/exec/"], &banned);
}

#[test]
fn the_processor_does_not_know_the_pmu_model() {
    holds_no(&["cpu-x86/", "emu-core/", "softfp/"], &["pmu_model", "frontend::"]);
    let manifest = fs::read_to_string(root().join("cpu-x86/Cargo.toml")).unwrap();
    assert!(!manifest.contains("pmu-model"));
}

#[test]
fn emu_core_knows_no_x86_and_no_pmu() {
    holds_no(&["emu-core/src/"], &["cpu_x86", "iced_x86"]);
    knows_nothing_of(&["emu-core/src/"], &["x86", "pmu", "eflags", "rflags", "cr3", "msr"]);
}

#[test]
fn devices_know_no_processor_thread_or_host_clock() {
    let banned =
        ["cpu_x86", "pmu_model", "iced_x86", "std::thread", "std::time", "Instant::", "SystemTime", "Mutex", "Arc<"];
    holds_none(&["devices/src/"], &banned, Source::program);
    let manifest = fs::read_to_string(root().join("devices/Cargo.toml")).unwrap();
    assert!(!manifest.contains("cpu-x86") && !manifest.contains("pmu-model"));
}

#[test]
fn the_modelled_host_sees_registers_and_no_instruction() {
    holds_no(&["pmu-model/src/host/"], &["iced_x86", "Instruction", "cpu_x86::exec"]);
}

#[test]
fn no_iteration_order_of_a_hash_decides_anything() {
    let places = ["cpu-x86/src/", "emu-core/src/", "devices/src/", "pmu-model/src/", "softfp/src/"];
    holds_no(&places, &["HashMap", "HashSet", "RandomState"]);
}

#[test]
fn only_the_frontend_reads_files_the_environment_and_the_host_clock() {
    let places = ["cpu-x86/src/", "emu-core/src/", "devices/src/", "pmu-model/src/", "softfp/src/", "roms/src/"];
    let banned = ["std::env", "env::var", "std::fs", "Instant::now", "SystemTime", "thread::spawn", "static mut"];
    holds_none(&places, &banned, Source::program);
}

#[test]
fn nothing_is_left_to_be_done() {
    holds_no(&CRATES, &["todo!(", "unimplemented!(", "dbg!("]);
    let marks = ["TODO", "FIXME", "XXX"];
    let mine = |source: &Source| source.path.ends_with("tests/tidy.rs");
    for source in sources().iter().filter(|s| !mine(s)) {
        let left = source.text.lines().find(|line| marks.iter().any(|mark| line.contains(mark)));
        assert_eq!(left, None, "{}", source.path);
    }
}

#[test]
fn no_test_is_ignored() {
    holds_no(&CRATES, &["#[ignore"]);
}

#[test]
fn unsafe_code_stands_in_few_files_that_say_why() {
    let mut wrong = Vec::new();
    for source in sources() {
        let has = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|u| source.code.contains(u));
        let listed = UNSAFE.iter().any(|place| source.path.starts_with(place));
        // The files of a test share the attributes of the file that names them.
        let says_why = source.path.contains("tests/") || source.code.contains("expect(unsafe_code");
        if has && !(listed && says_why) {
            wrong.push(source.path);
        }
    }
    assert!(wrong.is_empty(), "unsafe code outside the list, or without its `expect`: {wrong:?}");
}

#[test]
fn files_are_short_enough_to_be_read() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.code.lines().filter(|line| !line.trim().is_empty()).count();
        let excepted = LONG.iter().any(|(path, _)| *path == source.path);
        if (lines > CODE_LINES) != excepted {
            wrong.push(format!("{}: {lines} lines of code, ceiling {CODE_LINES}, excepted: {excepted}", source.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_names_a_package_registry() {
    // Spelt in pieces, so that this file passes its own check.
    let hosts = [
        ["crates.", "io"],
        ["docs.", "rs/"],
        ["deb.", "debian.org"],
        ["pypi.", "org"],
        ["npmjs.", "com"],
        ["static.", "crates"],
    ];
    let hosts: Vec<String> = hosts.iter().map(|h| h.concat()).collect();
    let mut all = files(&CRATES, &[".rs", ".toml", ".md", ".sh", ".snap"]);
    all.extend(files(&[".ci"], &["run", ".sh"]));
    for name in ["README.md", "ARCHITECTURE.md", "STYLE.md", "BENCHMARKS.md", "Cargo.toml"] {
        let text = fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        all.push(Source { path: name.to_owned(), code: String::new(), text });
    }
    for source in all {
        let named = hosts.iter().find(|host| source.text.contains(host.as_str()));
        assert_eq!(named, None, "{}", source.path);
    }
}

#[test]
fn comments_and_strings_are_no_code() {
    let text = "let a = \"HashMap\"; // HashMap\nlet b = r#\"cache \"# + '\\'' + 'x' /* time\n*/ cacheLine<'a> r";
    let code = blanked(text);
    assert_eq!(code.lines().count(), 3);
    assert!(!code.contains("HashMap") && !code.contains("time") && !code.contains('x'), "{code}");
    let found: Vec<String> = words(&code).into_iter().map(|(_, w)| w).collect();
    assert_eq!(found, ["let", "a", "let", "b", "cache", "line", "a", "r"]);
}
