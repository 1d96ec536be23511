//! Any bytes as instructions, in any mode: both paths of the engine do the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unhalted_fuzz::execute::check(data));
