//! A file tree in memory, as packages unpack it: what an initramfs is packed from.
//!
//! Debian moved `/bin`, `/sbin`, `/lib` and `/lib64` into `/usr`; packages of both habits occur, so every path is
//! brought to the merged form on entry. Iteration is in path order, which makes the packed archive deterministic.

use std::collections::BTreeMap;

/// Top-level folders that are links into `/usr`.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Where Debian's dynamic loader looks for libraries.
const LIBRARY_FOLDERS: [&str; 3] = ["usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib"];

/// One name in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Folder,
    /// A regular file with its permission bits.
    File {
        /// Permission bits, 0o000 to 0o7777.
        mode: u32,
        /// The content.
        bytes: Vec<u8>,
    },
    /// A symbolic link with its target as written.
    Link(String),
}

/// Paths without a leading slash, in the merged form, each with its node.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// An empty tree with the links of a merged `/usr`.
    pub fn merged_usr() -> Self {
        let mut tree = Self::default();
        for name in MERGED {
            tree.nodes.insert(name.to_owned(), Node::Link(format!("usr/{name}")));
            tree.folder(&format!("usr/{name}"));
        }
        tree
    }

    /// Puts `node` at `path`, with the folders above it; replaces what was there, but never a folder's content.
    pub fn put(&mut self, path: &str, node: Node) {
        let path = merged(path);
        if path.is_empty() || (node == Node::Folder && self.nodes.contains_key(&path)) {
            return;
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        self.nodes.insert(path, node);
    }

    /// Makes a folder and those above it.
    pub fn folder(&mut self, path: &str) {
        let path = merged(path);
        for (at, _) in path.match_indices('/') {
            self.nodes.entry(path[..at].to_owned()).or_insert(Node::Folder);
        }
        self.nodes.entry(path).or_insert(Node::Folder);
    }

    /// A text file of our own that is not executable.
    pub fn text(&mut self, path: &str, text: &str) {
        self.put(path, Node::File { mode: 0o644, bytes: text.as_bytes().to_vec() });
    }

    /// The node at `path`, links not followed.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(&merged(path))
    }

    /// The content of the regular file at `path`, links not followed.
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        match self.get(path)? {
            Node::File { bytes, .. } => Some(bytes),
            _ => None,
        }
    }

    /// Every path with its node, in path order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Copies `path` from `source` with what its links lead to and every shared library it needs; adds what cannot be
    /// found to `missing`.
    pub fn copy_program(&mut self, source: &Tree, path: &str, missing: &mut Vec<String>) {
        let path = merged(path);
        if matches!(self.get(&path), Some(Node::File { .. } | Node::Link(_))) {
            return;
        }
        let Some(node) = source.get(&path) else {
            missing.push(path);
            return;
        };
        self.put(&path, node.clone());
        match node {
            Node::Folder => {}
            Node::Link(target) => self.copy_program(source, &beside(&path, target), missing),
            Node::File { bytes, .. } => {
                for need in needs(bytes) {
                    match find_library(source, &path, &need) {
                        Some(found) => self.copy_program(source, &found, missing),
                        None => missing.push(format!("{need} (for {path})")),
                    }
                }
            }
        }
    }
}

/// Path inside the tree: no leading `/` or `./`, `.` and `..` resolved, `/usr` merged.
pub fn merged(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    if parts.len() > 1 && MERGED.contains(&parts[0]) {
        parts.insert(0, "usr");
    }
    parts.join("/")
}

/// What a link at `path` with `target` leads to.
fn beside(path: &str, target: &str) -> String {
    match path.rsplit_once('/') {
        Some((above, _)) if !target.starts_with('/') => merged(&format!("{above}/{target}")),
        _ => merged(target),
    }
}

/// The loader and the libraries that an ELF file names; nothing for any other file.
fn needs(bytes: &[u8]) -> Vec<String> {
    if !bytes.starts_with(b"\x7fELF") {
        return Vec::new();
    }
    let Ok(elf) = goblin::elf::Elf::parse(bytes) else { return Vec::new() };
    elf.interpreter.into_iter().chain(elf.libraries).map(str::to_owned).collect()
}

fn find_library(source: &Tree, user: &str, name: &str) -> Option<String> {
    if name.contains('/') {
        return source.get(name).map(|_| merged(name));
    }
    let own = user.rsplit_once('/').map(|(above, _)| above);
    own.into_iter()
        .chain(LIBRARY_FOLDERS)
        .map(|folder| format!("{folder}/{name}"))
        .find(|path| source.get(path).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_brought_into_the_merged_usr() {
        assert_eq!(merged("./bin/busybox"), "usr/bin/busybox");
        assert_eq!(merged("/lib/modules/6.1/kernel/x.ko"), "usr/lib/modules/6.1/kernel/x.ko");
        assert_eq!(merged("usr/bin/../lib/a"), "usr/lib/a");
        assert_eq!(merged("bin"), "bin");
        assert_eq!(merged("../../etc//passwd"), "etc/passwd");
    }

    #[test]
    fn a_program_brings_the_links_it_leads_to() {
        let mut source = Tree::merged_usr();
        source.put("bin/real", Node::File { mode: 0o755, bytes: b"#!".to_vec() });
        source.put("usr/bin/name", Node::Link("../bin/real".to_owned()));
        let (mut tree, mut missing) = (Tree::merged_usr(), Vec::new());
        tree.copy_program(&source, "usr/bin/name", &mut missing);
        tree.copy_program(&source, "usr/bin/absent", &mut missing);
        assert_eq!(tree.bytes("usr/bin/real"), Some(&b"#!"[..]));
        assert_eq!(missing, ["usr/bin/absent"]);
    }

    #[test]
    fn a_programs_libraries_come_with_it() {
        let Ok(bytes) = std::fs::read("/proc/self/exe") else { return };
        let mut source = Tree::merged_usr();
        source.put("usr/bin/me", Node::File { mode: 0o755, bytes });
        source.put("usr/lib/x86_64-linux-gnu/libc.so.6", Node::File { mode: 0o644, bytes: Vec::new() });
        let (mut tree, mut missing) = (Tree::merged_usr(), Vec::new());
        tree.copy_program(&source, "usr/bin/me", &mut missing);
        assert!(tree.get("usr/lib/x86_64-linux-gnu/libc.so.6").is_some());
        assert!(missing.iter().any(|m| m.contains("ld-linux")), "{missing:?}");
    }
}
