//! The address map: which device answers an address.

use crate::{Region, Space};

/// Two devices claim the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("device {device} at {:#x} overlaps device {other}", region.base)]
pub struct Overlap {
    /// Who came later.
    pub device: usize,
    /// With what.
    pub region: Region,
    /// Who was there.
    pub other: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    base: u64,
    last: u64,
    device: usize,
    region: usize,
}

/// Disjoint regions of ports and memory, each with the device (by number) and region that answers.
#[derive(Clone, Debug, Default)]
pub struct AddressMap {
    ports: Vec<Entry>,
    memory: Vec<Entry>,
}

impl AddressMap {
    /// Adds `region`, the `index`th of device number `device`.
    ///
    /// # Errors
    /// [`Overlap`] when another region shares an address with it.
    pub fn add(&mut self, device: usize, index: usize, region: Region) -> Result<(), Overlap> {
        let list = match region.space {
            Space::Port => &mut self.ports,
            Space::Memory => &mut self.memory,
        };
        let entry = Entry { base: region.base, last: region.base + region.bytes.max(1) - 1, device, region: index };
        if let Some(other) = list.iter().find(|e| e.base <= entry.last && entry.base <= e.last) {
            return Err(Overlap { device, region, other: other.device });
        }
        let at = list.partition_point(|e| e.base < entry.base);
        list.insert(at, entry);
        Ok(())
    }

    /// Who answers `address`: (device, region, offset into the region).
    pub fn find(&self, space: Space, address: u64) -> Option<(usize, usize, u64)> {
        let list = match space {
            Space::Port => &self.ports,
            Space::Memory => &self.memory,
        };
        let e = list[..list.partition_point(|e| e.base <= address)].last()?;
        (address <= e.last).then(|| (e.device, e.region, address - e.base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gpa, Port};

    #[test]
    fn the_first_and_last_address_belong_to_the_region_and_the_next_does_not() {
        let mut map = AddressMap::default();
        map.add(3, 0, Region::ports(Port(0x3f8), 8)).unwrap();
        map.add(4, 1, Region::memory(Gpa(0xfec0_0000), 0x1000)).unwrap();
        assert_eq!(map.find(Space::Port, 0x3f8), Some((3, 0, 0)));
        assert_eq!(map.find(Space::Port, 0x3ff), Some((3, 0, 7)));
        assert_eq!(map.find(Space::Port, 0x400), None);
        assert_eq!(map.find(Space::Memory, 0xfec0_0fff), Some((4, 1, 0xfff)));
        assert_eq!(map.find(Space::Memory, 0x3f8), None);
        assert!(map.add(5, 0, Region::ports(Port(0x3ff), 2)).is_err());
    }
}
