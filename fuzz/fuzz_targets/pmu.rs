//! A guest that misuses the PMU: it faults where the manual says so and stops nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    unhalted_fuzz::pmu::check(data);
});
