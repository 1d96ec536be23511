//! Any bytes as a ROM.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unhalted_fuzz::load::check(Some(frontend::load::Kind::Rom), data));
