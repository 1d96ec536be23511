//! The bodies of the fuzz targets, as plain functions: `fuzz_targets` hands them to libFuzzer, `cargo test
//! --no-default-features` runs them over the corpus on any toolchain.

pub mod execute;
pub mod load;
pub mod pmu;

#[cfg(test)]
mod tests;
