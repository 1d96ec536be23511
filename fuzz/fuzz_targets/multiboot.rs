//! Any bytes as a multiboot kernel.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unhalted_fuzz::load::check(Some(frontend::load::Kind::Multiboot), data));
