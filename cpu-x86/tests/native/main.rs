//! The core against the processor that runs the tests: every instruction of the model that the host has too, in 64-, 32-
//! and 16-bit code, in registers, flags, memory, vector, error code and CR2.
//!
//! `NATIVE_TESTS` sets the tests for each code, `NATIVE_SEED` the seed, `NATIVE_ONLY` a part of the names of the codes to
//! try (`!EVEX`: those without), `NATIVE_VECTORS` a folder to write shrunk mismatches to, `NATIVE_BYTES` the random
//! encodings in 64-bit code (the other modes have a quarter each), `X87_CASES` the cases of each x87 encoding;
//! `NATIVE_RECORD` writes the vectors and the golden hashes anew; these two are checked on every host, `hosted` is the
//! rest. The figures are printed.
#![cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    expect(dead_code, reason = "what only the comparison with the host uses")
)]

mod codes;
mod compare;
mod draw;
mod encode;
mod golden;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod hosted;
mod layout;
mod machine;
mod random;
mod state;
mod vectors;

/// A folder or file of the tests.
fn file(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

#[test]
fn every_mismatch_that_was_is_none_any_more() {
    let mut files: Vec<_> =
        std::fs::read_dir(file("vectors")).expect("there").map(|f| f.expect("readable").path()).collect();
    files.sort();
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if std::env::var("NATIVE_RECORD").is_ok() {
        hosted::record(&files);
    }
    let mut machine = machine::Machine::new(&golden::linux);
    let masks = compare::Masks::new();
    let mut wrong = Vec::new();
    for f in &files {
        let text = std::fs::read_to_string(f).expect("text");
        wrong.extend(vectors::check(&mut machine, &masks, &text).map(|d| format!("{}: {d}", f.display())));
    }
    println!("{} vectors", files.len());
    assert!(files.len() >= 16 && wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_does_what_it_did_when_it_was_compared() {
    let got = golden::hashes();
    if std::env::var("NATIVE_RECORD").is_ok() {
        std::fs::write(file("native/golden.txt"), &got).expect("writable");
    }
    let want = std::fs::read_to_string(file("native/golden.txt")).expect("there");
    let changed: Vec<&str> = got.lines().zip(want.lines()).filter(|(a, b)| a != b).map(|(a, _)| a).take(20).collect();
    println!("{} codes", got.lines().count());
    assert!(got == want, "compare with a host, then NATIVE_RECORD=1; first: {changed:?}");
}
