//! Finding and unpacking the ELF kernel inside a bzImage's payload.
//!
//! Source: Linux `Documentation/arch/x86/boot.rst` (payload_offset: the payload is the compressed kernel, recognised by
//! its magic number; its length field includes the four bytes of unpacked length that the build appends for all but
//! gzip); LZ4 "Legacy frame" of the LZ4 frame format; RFC 1952; RFC 8878; the .xz format 1.1.

use super::{Kind, LoadError, bytes};
use std::io::Read;

/// An unpacked kernel is not larger than this: a payload that promises more is refused.
const MOST_BYTES: u64 = 1 << 30;
/// Bytes of a block of the legacy LZ4 frame, unpacked.
const LZ4_BLOCK_BYTES: usize = 8 << 20;

/// Known compressions: magic number, name.
#[rustfmt::skip] // one row a format
const FORMATS: [(&[u8], &str); 8] = [
    (b"\x02\x21\x4c\x18",         "LZ4"),
    (b"\xfd7zXZ\0",               "XZ"),
    (b"\x28\xb5\x2f\xfd",         "ZSTD"),
    (b"\x1f\x8b",                 "gzip"),
    (b"BZh",                      "bzip2"),
    (b"\x5d\0\0",                 "LZMA"),
    (b"\x89LZO\0\x0d\x0a\x1a\x0a", "LZO"),
    (b"\x04\x22\x4d\x18",         "LZ4 frame"),
];

/// Name of the compression that `payload` starts with.
pub fn format(payload: &[u8]) -> Option<&'static str> {
    FORMATS.iter().find(|(magic, _)| payload.starts_with(magic)).map(|(_, name)| *name)
}

/// What a file that cannot be started seems to be, for the message.
pub fn seems(image: &[u8]) -> Option<&'static str> {
    const OTHER: [(usize, &[u8], &str); 7] = [
        (0, b"070701", "a cpio archive, an initrd"),
        (0, b"!<arch>\n", "a Debian package or static library"),
        (0, b"#!", "a script"),
        (0, b"MZ", "a Windows or UEFI program"),
        (0, b"QFI\xfb", "a qcow2 disk image"),
        (0x1fe, b"\x55\xaa", "a disk image or boot sector"),
        (0x8001, b"CD001", "an ISO 9660 image"),
    ];
    let at = |(at, magic, name): &(usize, &[u8], &'static str)| {
        image.get(*at..).is_some_and(|b| b.starts_with(magic)).then_some(*name)
    };
    OTHER.iter().find_map(at).or_else(|| format(image).map(|_| "compressed data"))
}

/// Unpacks `payload`. `None` when its compression is not one we know how to undo.
pub fn unpack(payload: &[u8]) -> Option<Result<Vec<u8>, LoadError>> {
    let how = format(payload)?;
    let unpacked = match how {
        "LZ4" => lz4_legacy(&payload[4..]),
        "XZ" => read_all(lzma_rust2::XzReader::new(payload, false)),
        "ZSTD" => zstd(payload),
        "gzip" => read_all(flate2::bufread::GzDecoder::new(payload)),
        _ => return None,
    };
    Some(unpacked.map_err(|why| LoadError::Unpack { kind: Kind::BzImage, how, why }))
}

fn read_all(from: impl Read) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    from.take(MOST_BYTES + 1).read_to_end(&mut all).map_err(|e| e.to_string())?;
    if all.len() as u64 > MOST_BYTES { Err("it unpacks to more than 1 GiB".to_owned()) } else { Ok(all) }
}

fn zstd(payload: &[u8]) -> Result<Vec<u8>, String> {
    let decoder = ruzstd::decoding::StreamingDecoder::new(payload).map_err(|e| e.to_string())?;
    read_all(decoder)
}

/// Blocks of (packed length, packed bytes) until the payload's trailing length field.
fn lz4_legacy(mut b: &[u8]) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    let mut block = vec![0; LZ4_BLOCK_BYTES];
    // Four bytes remain: the unpacked length that the kernel's build appended.
    while b.len() > 4 {
        let packed_bytes = bytes::u32(b, 0).unwrap_or(0) as usize;
        let packed = b.get(4..4 + packed_bytes).ok_or("a block ends after the payload")?;
        let n = lz4_flex::block::decompress_into(packed, &mut block).map_err(|e| e.to_string())?;
        all.extend_from_slice(&block[..n]);
        if all.len() as u64 > MOST_BYTES {
            return Err("it unpacks to more than 1 GiB".to_owned());
        }
        b = &b[4 + packed_bytes..];
    }
    Ok(all)
}
