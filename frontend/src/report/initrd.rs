//! Files of an initrd: so that a profile finds the symbols of the programs that the guest ran.
//!
//! An initrd is any number of cpio archives in a row, each padded with zeros, some of them compressed.
//! Source: Linux `Documentation/driver-api/early-userspace/buffer-format.rst`.

use crate::load::unpack;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

const MAGIC: [&[u8]; 2] = [b"070701", b"070702"];

/// The files at `wanted` (paths as the guest sees them), by path; of several at one path the last, as in the guest.
pub fn files(initrd: &[u8], wanted: &[String]) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut rest = Cow::Borrowed(initrd);
    loop {
        let zeros = rest.iter().take_while(|b| **b == 0).count();
        let archives = &rest[zeros..];
        if MAGIC.iter().any(|m| archives.starts_with(m)) {
            let Some(bytes) = archive(archives, wanted, &mut found) else { return found };
            rest = Cow::Owned(archives[archives.len() - bytes..].to_vec());
        } else {
            match unpack::unpack(archives) {
                Some(Ok(unpacked)) => rest = Cow::Owned(unpacked),
                _ => return found,
            }
        }
    }
}

/// Takes the files of one archive, and says how many bytes follow it.
fn archive(mut b: &[u8], wanted: &[String], found: &mut BTreeMap<String, Vec<u8>>) -> Option<usize> {
    loop {
        let mut entry = cpio::newc::Reader::new(b).ok()?;
        if entry.entry().is_trailer() {
            return Some(entry.finish().ok()?.len());
        }
        let path = format!("/{}", entry.entry().name().trim_start_matches("./").trim_start_matches('/'));
        if wanted.contains(&path) {
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).ok()?;
            // Of hard links only one has the contents.
            if !contents.is_empty() {
                found.insert(path, contents);
            }
        }
        b = entry.finish().ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpio::newc::{Builder, ModeFileType};
    use proptest::prelude::*;
    use std::io::{Cursor, Write};

    fn packed(files: &[(&str, &str)]) -> Vec<u8> {
        let entry = |(path, text): &(&str, &str)| {
            let builder = Builder::new(path).mode(0o755).set_mode_file_type(ModeFileType::Regular);
            (builder, Cursor::new(text.as_bytes().to_vec()))
        };
        cpio::write_cpio(files.iter().map(entry), Vec::new()).unwrap()
    }

    #[test]
    fn files_are_found_in_archives_in_a_row_and_in_a_compressed_one() {
        let mut all = packed(&[("usr/bin/a", "old"), ("./usr/bin/b", "b")]);
        all.resize(all.len().next_multiple_of(512), 0);
        all.extend(packed(&[("usr/bin/a", "new")]));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&packed(&[("/lib/c", "c")])).unwrap();
        all.extend(gzip.finish().unwrap());
        let wanted = ["/usr/bin/a", "/usr/bin/b", "/lib/c", "/none"].map(str::to_owned);
        let found = files(&all, &wanted);
        let text = |path: &str| found.get(path).map(|b| String::from_utf8_lossy(b).into_owned());
        assert_eq!(
            wanted.map(|p| text(&p)),
            ["new", "b", "c"].map(|s| Some(s.to_owned())).into_iter().chain([None]).collect::<Vec<_>>()[..]
        );
    }

    proptest! {
        #[test]
        fn damage_is_no_panic(at in 0usize..400, byte: u8) {
            let mut b = packed(&[("usr/bin/a", "old"), ("b", "b")]);
            let place = at % b.len();
            b[place] = byte;
            let _ = files(&b, &["/b".to_owned()]);
        }
    }
}
