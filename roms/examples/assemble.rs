//! Writes the lesson images: `cargo run -p roms --example assemble`.

#[path = "../tests/assembler/mod.rs"]
mod assembler;

fn main() -> std::io::Result<()> {
    for (name, image) in assembler::images() {
        std::fs::write(format!("{}/images/{name}.bin", env!("CARGO_MANIFEST_DIR")), image)?;
    }
    Ok(())
}
