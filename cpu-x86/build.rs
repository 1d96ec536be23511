//! Chooses how handlers go on: tail calls where the optimiser is known to make them, else a loop.

fn main() {
    println!("cargo:rustc-check-cfg=cfg(engine_loop)");
    let level = std::env::var("OPT_LEVEL").unwrap_or_default();
    let family = std::env::var("CARGO_CFG_TARGET_FAMILY").unwrap_or_default();
    // The checks of debug builds keep values in memory across the call: no tail call, and the stack overflows.
    let checked = std::env::var("PROFILE").is_ok_and(|p| p == "debug");
    if checked || matches!(level.as_str(), "0" | "1") || family.contains("wasm") {
        println!("cargo:rustc-cfg=engine_loop");
    }
}
