//! Every dependency comes under a licence that goes with ours (MIT or Apache-2.0).
//!
//! Read from `cargo metadata`, so that it covers exactly what `Cargo.lock` holds for this host.

use std::process::Command;

use serde_json::Value;

/// Licences whose terms are met by keeping the notices.
const ACCEPTED: [&str; 11] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "CC0-1.0",
    "BSL-1.0",
];

/// Whether an SPDX expression can be met by [`ACCEPTED`] alone. `OR` may bind looser than `AND` or be in brackets.
fn accepted(expression: &str) -> bool {
    let whole = expression.replace('/', " OR ");
    let part = |part: &str| part.split(" OR ").any(|one| ACCEPTED.contains(&one.trim().trim_matches(['(', ')'])));
    if whole.contains('(') {
        return whole.split(" AND ").all(part);
    }
    whole.split(" OR ").any(|one| one.split(" AND ").all(|l| ACCEPTED.contains(&l.trim())))
}

#[test]
fn expressions_are_understood() {
    assert!(accepted("MIT/Apache-2.0") && accepted("Unlicense OR MIT") && accepted("Apache-2.0 / MIT"));
    assert!(accepted("(MIT OR Apache-2.0) AND Unicode-3.0") && accepted("MIT OR GPL-3.0 AND Zlib"));
    assert!(!accepted("GPL-2.0") && !accepted("MIT AND GPL-2.0") && !accepted("CDDL-1.0") && !accepted(""));
    assert!(!accepted("(MIT OR Apache-2.0) AND GPL-2.0"));
}

#[test]
fn every_dependency_has_an_accepted_licence() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--locked", "--manifest-path", manifest]);
    command.args(["--filter-platform", &platform]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50, "{} packages", packages.len());
    let licence = |package: &Value| package["license"].as_str().unwrap_or_default().to_owned();
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| !accepted(&licence(package)))
        .map(|package| format!("{}: {:?}", package["name"], licence(package)))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
