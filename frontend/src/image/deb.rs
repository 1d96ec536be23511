//! A Debian package file, read in process: an `ar` archive of two compressed tar archives, control and data.
//!
//! Source: deb(5), deb-control(5) of dpkg.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::error::{ImageError, host};
use super::tree::{Node, Tree, merged};

/// A package file and what its control file says.
#[derive(Clone, Debug)]
pub struct Deb {
    /// The file on the host.
    pub path: PathBuf,
    /// Package name.
    pub package: String,
    /// Version as in the control file, with its epoch.
    pub version: String,
    /// Packages it needs; each need is met by any one of its alternatives.
    pub depends: Vec<Vec<String>>,
    /// Other names under which it meets needs.
    pub provides: Vec<String>,
}

impl Deb {
    /// Reads the control file of the package at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or is not a package.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let mut text = None;
        each_file(path, "control.tar", |name, entry| {
            if merged(name) == "control" {
                let mut read = String::new();
                entry.read_to_string(&mut read)?;
                text = Some(read);
            }
            Ok(())
        })?;
        let text = text.ok_or_else(|| unsound(path, "it has no control file"))?;
        let field = |name: &str| field(&text, name);
        let package = field("Package").ok_or_else(|| unsound(path, "its control file names no package"))?;
        let depends = [field("Pre-Depends"), field("Depends")];
        Ok(Self {
            path: path.to_path_buf(),
            package,
            version: field("Version").unwrap_or_default(),
            depends: depends.iter().flatten().flat_map(|value| relations(value)).collect(),
            provides: relations(&field("Provides").unwrap_or_default()).into_iter().flatten().collect(),
        })
    }

    /// Puts every file that `keep` accepts (by its merged path) into `tree`. Device nodes are left out.
    ///
    /// # Errors
    /// The file cannot be read, or its data archive is damaged.
    pub fn unpack(&self, keep: impl Fn(&str) -> bool, tree: &mut Tree) -> Result<(), ImageError> {
        each_file(&self.path, "data.tar", |name, entry| {
            let path = merged(name);
            if !keep(&path) {
                return Ok(());
            }
            let target = entry.link_name()?.map(|t| t.to_string_lossy().into_owned()).unwrap_or_default();
            let kind = entry.header().entry_type();
            if kind.is_dir() {
                tree.folder(&path);
            } else if kind.is_symlink() {
                tree.put(&path, Node::Link(target));
            } else if kind.is_hard_link() {
                if let Some(node) = tree.get(&target).cloned() {
                    tree.put(&path, node);
                }
            } else if kind.is_file() {
                let mode = entry.header().mode()? & 0o7777;
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                tree.put(&path, Node::File { mode, bytes });
            }
            Ok(())
        })
    }
}

type Entry<'a, 'b> = tar::Entry<'a, Box<dyn Read + 'b>>;

/// Calls `visit` with the name of every file in the member archive whose name starts with `member`.
fn each_file(
    path: &Path,
    member: &str,
    mut visit: impl FnMut(&str, &mut Entry<'_, '_>) -> std::io::Result<()>,
) -> Result<(), ImageError> {
    let file = File::open(path).map_err(host("read", path))?;
    let mut outer = ar::Archive::new(BufReader::new(file));
    let damaged = |e: std::io::Error| unsound(path, &e.to_string());
    while let Some(found) = outer.next_entry() {
        let found = found.map_err(damaged)?;
        let name = String::from_utf8_lossy(found.header().identifier()).into_owned();
        let Some(compression) = name.strip_prefix(member) else { continue };
        let mut inner = tar::Archive::new(decompressor(compression, found).map_err(damaged)?);
        for entry in inner.entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            visit(&name, &mut entry).map_err(damaged)?;
        }
        // To the end, where the compression's own check of the content stands.
        std::io::copy(&mut inner.into_inner(), &mut std::io::sink()).map_err(damaged)?;
        return Ok(());
    }
    Err(unsound(path, &format!("it has no member {member}")))
}

/// A reader of the plain bytes behind `from`, by the file name ending that names its compression.
pub fn decompressor<'a>(ending: &str, from: impl Read + 'a) -> std::io::Result<Box<dyn Read + 'a>> {
    Ok(match ending.trim_end_matches('/') {
        "" => Box::new(from),
        ".gz" => Box::new(flate2::read::MultiGzDecoder::new(from)),
        ".xz" => Box::new(lzma_rust2::XzReader::new(BufReader::new(from), true)),
        ".zst" => {
            Box::new(ruzstd::decoding::StreamingDecoder::new(BufReader::new(from)).map_err(std::io::Error::other)?)
        }
        other => return Err(std::io::Error::other(format!("unknown compression {other}"))),
    })
}

fn unsound(path: &Path, problem: &str) -> ImageError {
    ImageError::NotAPackage { path: path.to_path_buf(), problem: problem.to_owned() }
}

/// One field of a control file; continuation lines do not occur in the fields that matter here.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
}

/// `a (>= 1), b | c:any` as `[[a], [b, c]]`.
fn relations(value: &str) -> Vec<Vec<String>> {
    let name = |one: &str| one.trim().split([' ', '(', ':', '[']).next().unwrap_or_default().to_owned();
    let needs = value.split(',').map(|need| need.split('|').map(name).filter(|n| !n.is_empty()).collect());
    needs.filter(|need: &Vec<String>| !need.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_lose_versions_and_architectures_and_keep_alternatives() {
        assert_eq!(
            relations("libc6 (>= 2.34), perl:any, a [amd64] | b (<< 2)"),
            [vec!["libc6".to_owned()], vec!["perl".to_owned()], vec!["a".to_owned(), "b".to_owned()]]
        );
        assert!(relations("").is_empty());
    }

    #[test]
    fn a_file_that_is_no_package_is_named() {
        let path = std::env::temp_dir().join(format!("unhalted-not-a-package-{}.deb", std::process::id()));
        std::fs::write(&path, "hello").unwrap();
        let error = Deb::open(&path).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(error.contains("not a sound Debian package"), "{error}");
    }

    #[test]
    fn an_unknown_compression_is_refused() {
        assert!(decompressor(".br", &b""[..]).is_err());
    }
}
