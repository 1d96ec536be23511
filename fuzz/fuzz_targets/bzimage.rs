//! Any bytes as a Linux bzImage.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unhalted_fuzz::load::check(Some(frontend::load::Kind::BzImage), data));
