//! Any bytes as an image whose kind is looked for.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unhalted_fuzz::load::check(None, data));
