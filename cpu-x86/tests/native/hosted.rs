//! The half of the tests that needs the host: an x86-64 processor under Linux.

mod bytes;
mod capture;
mod shrink;
mod suite;
mod x87;

use crate::codes;
use crate::draw::Wild;
use crate::random::Random;
use iced_x86::Code;
use std::path::PathBuf;
use suite::{Bench, Tally};

/// What the environment asks for.
fn asked(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name}={v}")))
}

fn compare_all(bits: u32, tests: u64, wild: Wild) {
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
    let hosted = |c: &Code| avx512 || !c.cpuid_features().iter().any(|f| codes::avx512(*f));
    let (not, part) = only.strip_prefix('!').map_or((false, &*only), |part| (true, part));
    let wanted = |c: &Code| format!("{c:?}").contains(part) != not;
    for code in Code::values().filter(|c| codes::subject(*c, bits) && hosted(c) && wanted(c)) {
        let mut random = Random(seed ^ (code as u64) << 32 ^ u64::from(bits));
        bench.try_code(code, bits, asked("NATIVE_TESTS", tests), wild, &mut random, &mut tally);
    }
    tally.report(&format!("{bits}-bit code, seed {seed:#x}"));
    tally.assert_equal();
}

#[test]
fn code_of_64_bits_does_what_the_host_does() {
    compare_all(64, 200, Wild::ORDINARY);
}

#[test]
fn code_of_32_bits_does_what_the_host_does() {
    compare_all(32, 200, Wild::ORDINARY);
}

#[test]
fn code_of_16_bits_does_what_the_host_does() {
    compare_all(16, 200, Wild::ORDINARY);
}

#[test]
fn operands_at_the_edges_of_pages_do_what_they_do_on_the_host() {
    [64, 32, 16].into_iter().for_each(|bits| compare_all(bits, 16, Wild::EDGES));
}

#[test]
fn code_at_the_end_of_memory_does_what_it_does_on_the_host() {
    [64, 32, 16].into_iter().for_each(|bits| compare_all(bits, 16, Wild::END));
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
        let share = if bits == 64 { 1 } else { 4 };
        let n = bench.try_bytes(bits, asked("NATIVE_BYTES", 60_000) / share, &mut random);
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

/// Writes into vector files what the host makes of their states.
pub fn record(files: &[PathBuf]) {
    let mut guard = capture::native().expect("a host to record from");
    let native = guard.as_mut().expect("made");
    for f in files {
        let (case, _) = crate::vectors::parse(&std::fs::read_to_string(f).expect("text"));
        std::fs::write(f, shrink::text(&case, &native.run(&case))).expect("writable");
    }
}
