//! Intel's ACPI compiler, where it is installed, takes the tables apart and finds nothing wrong.

use devices::acpi::tables::{Config, tables};
use emu_core::Gpa;
use std::path::Path;
use std::process::Command;

/// Runs iasl at `at`: whether it succeeded, and what it said. `None` when it is not installed.
fn iasl(arguments: &[&str], at: &Path) -> Option<(bool, String)> {
    let output = Command::new("iasl").args(arguments).current_dir(at).output().ok()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Some((output.status.success(), said))
}

fn check(config: &Config, at: &Path) {
    std::fs::create_dir_all(at).unwrap();
    for (_, bytes) in &tables(config)[1..] {
        let name = String::from_utf8_lossy(&bytes[..4]).into_owned();
        std::fs::write(at.join(format!("{name}.dat")), bytes).unwrap();
        let Some((ok, said)) = iasl(&["-d", &format!("{name}.dat")], at) else {
            eprintln!("iasl is not installed: the tables were not checked");
            return;
        };
        let bad = ["Error", "Warning", "Invalid", "Incorrect"].iter().any(|word| said.contains(word));
        assert!(ok && !bad, "{name}: {said}");
        if name == "DSDT" {
            let (ok, said) = iasl(&["-p", "again", "DSDT.dsl"], at).unwrap();
            assert!(ok && said.contains(" 0 Errors, 0 Warnings"), "{said}");
        }
    }
}

#[test]
fn iasl_disassembles_every_table_and_compiles_the_dsdt_again() {
    let at = Path::new(env!("CARGO_TARGET_TMPDIR")).join("acpi");
    let all = Config { cpus: 300, wide_timer: true, hpet: true, keyboard: true, high_mmio: Gpa(64 << 30) };
    check(&all, &at.join("all"));
    let least = Config { cpus: 1, wide_timer: false, hpet: false, keyboard: false, high_mmio: Gpa(8 << 30) };
    check(&least, &at.join("least"));
}
