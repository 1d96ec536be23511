//! Any bytes as an ELF kernel with a PVH note.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unhalted_fuzz::load::check(Some(frontend::load::Kind::Pvh), data));
