//! Writes the images of the lessons and the flat test guests: `cargo run -p roms --example assemble`.

#[path = "../tests/assembler/mod.rs"]
mod assembler;

fn main() -> std::io::Result<()> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/images");
    for (name, image) in assembler::images() {
        std::fs::write(format!("{folder}/{name}.bin"), image)?;
    }
    for (name, image) in assembler::guests() {
        std::fs::write(format!("{folder}/flat/{name}.elf"), image)?;
    }
    Ok(())
}
