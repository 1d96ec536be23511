//! fw_cfg: items that a guest selects by number at port 510h and reads byte by byte at 511h.
//!
//! Differs: the DMA interface is not there, and the identification says so.
//!
//! Source: QEMU, `docs/specs/fw_cfg.rst`.

use crate::lanes;
use emu_core::{Cx, Device, Place, Port, Region};
use std::collections::BTreeMap;

mod key {
    pub const SIGNATURE: u16 = 0x00;
    pub const ID: u16 = 0x01;
    pub const RAM_BYTES: u16 = 0x03;
    pub const CPUS: u16 = 0x05;
    pub const MOST_CPUS: u16 = 0x0f;
    pub const DIRECTORY: u16 = 0x19;
    pub const FIRST_FILE: u16 = 0x20;
}
/// Bits 13:0 name the item; the others said "write" and "architecture" once.
const KEY_MASK: u16 = 0x3fff;
/// Bytes of a file's name in the directory, its final zero included.
const NAME_BYTES: usize = 56;

/// The items, and which is being read.
#[derive(Clone, Debug)]
pub struct FwCfg {
    items: BTreeMap<u16, Vec<u8>>,
    files: Vec<(String, u16)>,
    selected: u16,
    offset: usize,
}

impl FwCfg {
    /// The items that say how much RAM and how many processors there are.
    pub fn new(ram_bytes: u64, cpus: u16) -> FwCfg {
        let items = BTreeMap::from([
            (key::SIGNATURE, b"QEMU".to_vec()),
            (key::ID, 1_u32.to_le_bytes().to_vec()),
            (key::RAM_BYTES, ram_bytes.to_le_bytes().to_vec()),
            (key::CPUS, cpus.to_le_bytes().to_vec()),
            (key::MOST_CPUS, cpus.to_le_bytes().to_vec()),
        ]);
        let mut cfg = FwCfg { items, files: Vec::new(), selected: 0, offset: 0 };
        cfg.list_files();
        cfg
    }

    /// Adds a file to the directory; a name longer than 55 bytes is cut there.
    pub fn add_file(&mut self, name: &str, contents: Vec<u8>) {
        let key = key::FIRST_FILE + self.files.len() as u16;
        self.items.insert(key, contents);
        self.files.push((name.to_owned(), key));
        self.list_files();
    }

    /// Writes the directory: big-endian count, then size, key and name of each file.
    fn list_files(&mut self) {
        let mut directory = (self.files.len() as u32).to_be_bytes().to_vec();
        for (name, key) in &self.files {
            let bytes = self.items.get(key).map_or(0, Vec::len) as u32;
            directory.extend(bytes.to_be_bytes());
            directory.extend(key.to_be_bytes());
            directory.extend([0, 0]);
            let mut field = [0; NAME_BYTES];
            field.iter_mut().zip(name.bytes().take(NAME_BYTES - 1)).for_each(|(to, from)| *to = from);
            directory.extend(field);
        }
        self.items.insert(key::DIRECTORY, directory);
    }

    /// The next byte of the selected item; zero past its end.
    fn next(&mut self) -> u8 {
        let item = self.items.get(&self.selected).map_or(&[][..], Vec::as_slice);
        let byte = item.get(self.offset).copied();
        self.offset += usize::from(byte.is_some());
        byte.unwrap_or(0)
    }
}

impl Device for FwCfg {
    fn name(&self) -> &'static str {
        "fw_cfg"
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region::ports(Port(0x510), 2)]
    }

    fn read(&mut self, at: Place, _: &mut Cx<'_>) -> u64 {
        lanes::read(at, |offset| if offset == 0 { 0 } else { self.next() })
    }

    fn write(&mut self, at: Place, value: u64, _: &mut Cx<'_>) {
        if at.offset == 0 && at.bytes >= 2 {
            self.selected = value as u16 & KEY_MASK;
            self.offset = 0;
        }
    }

    fn reset(&mut self, _: &mut Cx<'_>) {
        (self.selected, self.offset) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;

    fn item(b: &mut Bench<FwCfg>, key: u64, bytes: usize) -> Vec<u8> {
        b.write(0, 0, 2, key);
        (0..bytes).map(|_| b.read(0, 1, 1) as u8).collect()
    }

    #[test]
    fn items_read_from_their_beginning_after_each_selection() {
        let mut b = Bench::new(FwCfg::new(512 << 20, 4));
        assert_eq!(item(&mut b, 0, 6), b"QEMU\0\0");
        assert_eq!(item(&mut b, 0, 4), b"QEMU");
        assert_eq!(item(&mut b, 1, 4), [1, 0, 0, 0]);
        assert_eq!(item(&mut b, 3, 8), (512_u64 << 20).to_le_bytes());
        assert_eq!(item(&mut b, 5, 2), [4, 0]);
        assert_eq!(item(&mut b, 0x1234, 2), [0, 0]);
    }

    #[test]
    fn the_directory_lists_files() {
        let mut cfg = FwCfg::new(1 << 20, 1);
        cfg.add_file("opt/a", vec![7; 300]);
        cfg.add_file(&"long".repeat(20), vec![8]);
        let mut b = Bench::new(cfg);
        let directory = item(&mut b, 0x19, 4 + 2 * 64);
        assert_eq!(&directory[..12], [0, 0, 0, 2, 0, 0, 1, 44, 0, 0x20, 0, 0]);
        assert_eq!(&directory[12..18], b"opt/a\0");
        assert_eq!(directory[131], 0, "the name is cut and ended");
        assert_eq!(item(&mut b, 0x21, 2), [8, 0]);
    }
}
