//! The core against the processor that runs the tests: every instruction of the model that the host has too, in 64-, 32-
//! and 16-bit code, in registers, flags, memory, vector, error code and CR2.
//!
//! `NATIVE_TESTS` sets the tests for each code, `NATIVE_SEED` the seed, `NATIVE_ONLY` a part of the names of the codes to
//! try, `NATIVE_VECTORS` a folder to write shrunk mismatches to, `NATIVE_BYTES` the random encodings for each mode;
//! `NATIVE_RECORD` writes the vectors and the golden hashes anew. The figures are printed.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![expect(unsafe_code, reason = "runs generated machine code")]

mod bytes;
mod capture;
mod compare;
mod draw;
mod encode;
mod golden;
mod layout;
mod machine;
mod random;
mod state;
mod suite;
mod vectors;

use draw::Wild;
use iced_x86::Code;
use random::Random;
use suite::{Bench, Tally};

/// What the environment asks for.
fn asked(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name}={v}")))
}

fn compare_all(bits: u32, tests: u64) {
    let Some(mut guard) = capture::native() else {
        println!("not compared: the host's kernel or processor lacks what that needs");
        return;
    };
    let native = guard.as_mut().expect("made");
    let avx512 = native.avx512();
    let mut bench = Bench::new(native);
    let seed = asked("NATIVE_SEED", 0x5eed_0000);
    let only = std::env::var("NATIVE_ONLY").unwrap_or_default();
    let mut tally = Tally::default();
    let hosted = |c: &Code| avx512 || !c.cpuid_features().iter().any(|f| suite::avx512(*f));
    for code in Code::values().filter(|c| suite::subject(*c, bits) && hosted(c) && format!("{c:?}").contains(&only)) {
        let mut random = Random(seed ^ (code as u64) << 32 ^ u64::from(bits));
        bench.try_code(code, bits, asked("NATIVE_TESTS", tests), Wild { edges: 12, modes: 8 }, &mut random, &mut tally);
    }
    tally.report(&format!("{bits}-bit code, seed {seed:#x}"));
    tally.assert_equal();
}

#[test]
fn code_of_64_bits_does_what_the_host_does() {
    compare_all(64, 200);
}

#[test]
fn code_of_32_bits_does_what_the_host_does() {
    compare_all(32, 200);
}

#[test]
fn code_of_16_bits_does_what_the_host_does() {
    compare_all(16, 200);
}

#[test]
fn random_bytes_are_instructions_of_the_same_length_to_both() {
    let Some(mut guard) = capture::native() else {
        println!("not compared: the host's kernel or processor lacks what that needs");
        return;
    };
    let mut bench = Bench::new(guard.as_mut().expect("made"));
    let seed = asked("NATIVE_SEED", 0x5eed_0000);
    let mut wrong = Vec::new();
    for bits in [64, 32, 16] {
        let mut random = Random(seed ^ u64::from(bits));
        let n = bench.try_bytes(bits, asked("NATIVE_BYTES", 60_000), &mut random);
        println!(
            "{bits} bits, seed {seed:#x}: {} encodings, {} valid, {} not, {} of other features, {} excused, {} differ",
            n.encodings,
            n.valid,
            n.invalid,
            n.elsewhere,
            n.excused,
            n.differ.values().map(|d| d.0).sum::<u64>()
        );
        wrong.extend(n.differ.iter().map(|(code, (n, text))| format!("{code} ({n}): {text}")));
    }
    assert!(wrong.is_empty(), "{} codes differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// A folder or file of the tests.
fn file(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

#[test]
fn every_mismatch_that_was_is_none_any_more() {
    let mut files: Vec<_> =
        std::fs::read_dir(file("vectors")).expect("there").map(|f| f.expect("readable").path()).collect();
    files.sort();
    if std::env::var("NATIVE_RECORD").is_ok() {
        let mut guard = capture::native().expect("a host to record from");
        let native = guard.as_mut().expect("made");
        for f in &files {
            let (case, _) = vectors::parse(&std::fs::read_to_string(f).expect("text"));
            std::fs::write(f, vectors::text(&case, &native.run(&case))).expect("writable");
        }
    }
    let mut machine = machine::Machine::new(&golden::linux);
    let mut wrong = Vec::new();
    for f in &files {
        let text = std::fs::read_to_string(f).expect("text");
        wrong.extend(vectors::check(&mut machine, &text).map(|d| format!("{}: {d}", f.display())));
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
