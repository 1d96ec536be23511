//! The package files at hand, and what can be resolved among them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::deb::Deb;
use super::error::{ImageError, host};

/// Package files by package name; of several versions of one, the one whose file name sorts last.
#[derive(Default)]
pub struct Shelf {
    debs: BTreeMap<String, Deb>,
}

impl Shelf {
    /// Opens the package files `paths`.
    ///
    /// # Errors
    /// One is not a package.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<Self, ImageError> {
        let mut debs = BTreeMap::new();
        for path in paths {
            let deb = Deb::open(path)?;
            debs.insert(deb.package.clone(), deb);
        }
        Ok(Self { debs })
    }

    /// Opens every package file in `folder`.
    ///
    /// # Errors
    /// The folder cannot be read, or a file in it that is named like a package is none.
    pub fn of_folder(folder: &Path) -> Result<Self, ImageError> {
        let entries = fs::read_dir(folder).map_err(host("read the folder", folder))?;
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|e| e == "deb"));
        paths.sort();
        Self::of(paths.iter().map(|p| p.as_path()))
    }

    /// The package `name`, or one that provides it.
    pub fn get(&self, name: &str) -> Option<&Deb> {
        self.debs.get(name).or_else(|| self.debs.values().find(|deb| deb.provides.iter().any(|p| p == name)))
    }

    /// The kernel package of a version: its name starts with `prefix` and goes on with a digit, dot or dash after which
    /// `-cloud-amd64` comes.
    pub fn kernel(&self, prefix: &str) -> Option<&Deb> {
        let fits = |name: &str| {
            let rest = name.strip_prefix(prefix).and_then(|r| r.strip_prefix('.'));
            rest.is_some_and(|r| r.ends_with("-cloud-amd64") || r.ends_with("-cloud-amd64-unsigned"))
        };
        self.debs.iter().rev().find(|(name, _)| fits(name)).map(|(_, deb)| deb)
    }

    /// `name` and everything it depends on, as far as `follow` agrees; adds the names of what is not here to `missing`.
    pub fn closure(&self, name: &str, follow: impl Fn(&str) -> bool, missing: &mut BTreeSet<String>) -> Vec<&Deb> {
        let mut found: BTreeMap<&str, &Deb> = BTreeMap::new();
        let mut wanted = vec![name.to_owned()];
        while let Some(name) = wanted.pop() {
            let Some(deb) = self.get(&name) else {
                missing.insert(name);
                continue;
            };
            if found.insert(&deb.package, deb).is_some() {
                continue;
            }
            for need in &deb.depends {
                let met = need.iter().find(|n| self.get(n).is_some());
                wanted.extend(met.or_else(|| need.first()).filter(|n| follow(n)).cloned());
            }
        }
        found.into_values().collect()
    }
}

/// Whether a package is a library that programs are linked with (and not the files of an interpreter).
pub fn is_library(package: &str) -> bool {
    let not = ["-stdlib", "-minimal", "-common", "-base", "-data"];
    (package.starts_with("lib") || package == "zlib1g") && !not.iter().any(|ending| package.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn deb(package: &str, depends: &[&[&str]], provides: &[&str]) -> (String, Deb) {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let deb = Deb {
            path: PathBuf::new(),
            package: package.to_owned(),
            version: String::new(),
            depends: depends.iter().map(|need| owned(need)).collect(),
            provides: owned(provides),
        };
        (package.to_owned(), deb)
    }

    fn shelf() -> Shelf {
        let debs = [
            deb("linux-image-6.1.0-56-cloud-amd64", &[], &[]),
            deb("linux-image-6.12.117+deb12-cloud-amd64", &[], &[]),
            deb("linux-perf", &[&["libdw1"], &["absent", "perl"], &["libgone"]], &[]),
            deb("libdw1", &[&["libc6-virtual"]], &[]),
            deb("libc6", &[], &["libc6-virtual"]),
            deb("perl", &[], &[]),
        ];
        Shelf { debs: debs.into_iter().collect() }
    }

    #[test]
    fn a_closure_follows_alternatives_and_provided_names_and_says_what_is_missing() {
        let (shelf, mut missing) = (shelf(), BTreeSet::new());
        let names: Vec<&str> =
            shelf.closure("linux-perf", |_| true, &mut missing).iter().map(|d| d.package.as_str()).collect();
        assert_eq!(names, ["libc6", "libdw1", "linux-perf", "perl"]);
        assert_eq!(missing.into_iter().collect::<Vec<_>>(), ["libgone"]);
    }

    #[test]
    fn libraries_are_told_from_interpreters() {
        let (shelf, mut missing) = (shelf(), BTreeSet::new());
        let names: Vec<&str> =
            shelf.closure("linux-perf", is_library, &mut missing).iter().map(|d| d.package.as_str()).collect();
        assert_eq!(names, ["libc6", "libdw1", "linux-perf"]);
        assert!(is_library("libpython3.11") && !is_library("libpython3.11-stdlib") && !is_library("perl"));
    }

    #[test]
    fn kernel_6_1_is_not_6_12() {
        let shelf = shelf();
        assert_eq!(shelf.kernel("linux-image-6.1").unwrap().package, "linux-image-6.1.0-56-cloud-amd64");
        assert_eq!(shelf.kernel("linux-image-6.12").unwrap().package, "linux-image-6.12.117+deb12-cloud-amd64");
        assert!(shelf.kernel("linux-image-6").is_none_or(|d| !d.package.contains("amd64-unsigned")));
    }
}
