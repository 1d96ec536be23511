//! Packs a [`Tree`] as an initramfs: an uncompressed newc cpio archive, which a guest unpacks fastest.
//!
//! Same tree, same bytes: entries in path order, inode numbers counted from 0, owner root, time 0.
//! Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.

use std::io::{self, Cursor, Write};

use cpio::newc::{Builder, ModeFileType};

use super::tree::{Node, Tree};

/// Writes `tree` to `to`.
///
/// # Errors
/// Those of `to`.
pub fn pack(tree: &Tree, to: impl Write) -> io::Result<()> {
    let entries = tree.iter().map(|(path, node)| {
        let (kind, mode, bytes): (_, u32, &[u8]) = match node {
            Node::Folder => (ModeFileType::Directory, 0o755, &[]),
            Node::File { mode, bytes } => (ModeFileType::Regular, *mode, bytes),
            Node::Link(target) => (ModeFileType::Symlink, 0o777, target.as_bytes()),
        };
        (Builder::new(path).mode(mode).set_mode_file_type(kind), Cursor::new(bytes))
    });
    cpio::write_cpio(entries, to)?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_depends_on_the_tree_alone() {
        let (mut a, mut b) = (Tree::merged_usr(), Tree::merged_usr());
        a.text("etc/x", "1");
        a.text("etc/a", "2");
        b.text("etc/a", "2");
        b.text("etc/x", "1");
        let packed = |tree: &Tree| {
            let mut bytes = Vec::new();
            pack(tree, &mut bytes).unwrap();
            bytes
        };
        assert_eq!(packed(&a), packed(&b));
        assert_eq!(&packed(&a)[..6], b"070701");
    }
}
