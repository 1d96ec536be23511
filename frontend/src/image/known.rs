//! The package files of the release as they were when this was written: what the error of a host without network lists.
//!
//! Newer versions do as well. Source: Debian's package lists of bookworm and bookworm-security, November 2026.

/// Package name (of a kernel: what it begins with) and file.
#[rustfmt::skip] // a table
const FILES: &[(&str, &str)] = &[
];

/// The libraries that a program of a package needs, by package.
pub fn libraries(package: &str) -> impl Iterator<Item = &'static str> {
    let of_perf = FILES.iter().map(|(name, _)| *name).filter(|name| super::shelf::is_library(name));
    of_perf.filter(move |_| package == "linux-perf")
}

/// The file of package `name`, as far as it is known.
pub fn file(name: &str) -> String {
    let known = FILES.iter().find(|(known, _)| *known == name).map(|(_, file)| (*file).to_owned());
    known.unwrap_or_else(|| format!("{name}_VERSION_amd64.deb"))
}
