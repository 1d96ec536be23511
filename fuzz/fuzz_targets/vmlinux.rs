//! Any bytes as an ELF64 Linux kernel.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unhalted_fuzz::load::check(Some(frontend::load::Kind::Vmlinux), data));
