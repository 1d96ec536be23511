//! Configuration, BARs, MSI-X and INTx of a function made for the purpose.

use super::*;
use crate::bench::Bench;
use crate::pci::MsixPlace;

/// 4 KiB of 32-bit BAR 0 with two messages at its end, and 1 MiB of 64-bit BAR 2. Writing BAR 2 at 0 sends a message,
/// at 8 drives INTA#.
struct Probe {
    last: u64,
}

impl PciFunction for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }
    fn identity(&self) -> Identity {
        Identity { vendor: 0x1234, device: 0x5678, class: 0xff_0000, revision: 3, subsystem: (0x1111, 0x2222) }
    }
    fn bars(&self) -> Vec<Bar> {
        vec![Bar { index: 0, bytes: 0x1000, wide: false }, Bar { index: 2, bytes: 1 << 20, wide: true }]
    }
    fn capabilities(&self) -> Vec<(u8, Vec<u8>)> {
        vec![(9, vec![4, 0xab])]
    }
    fn msix(&self) -> Option<MsixPlace> {
        Some(MsixPlace { vectors: 2, bar: 0, table: 0x800, pending: 0xc00 })
    }
    fn read(&mut self, bar: usize, offset: u64, _: u32, _: &mut PciCx<'_, '_>) -> u64 {
        (bar as u64) << 32 | offset
    }
    fn write(&mut self, bar: usize, offset: u64, _: u32, value: u64, cx: &mut PciCx<'_, '_>) {
        self.last = value;
        match (bar, offset) {
            (2, 0) => cx.message(value as u16),
            (2, 8) => cx.signals.set_intx(value != 0),
            _ => {}
        }
    }
    fn reset(&mut self) {
        self.last = 0;
    }
}

const HIGH: u64 = 8 << 30;

fn board() -> Bench<PciBus> {
    let mut bus = PciBus::new(Gpa(HIGH));
    assert_eq!(bus.add(Box::new(Probe { last: 0 })), Ok(1));
    let mut b = Bench::new(bus);
    b.put(0x04, 2, 0x0006);
    b
}

impl Bench<PciBus> {
    fn get(&mut self, register: u64, bytes: u32) -> u64 {
        self.write(ADDRESS, 0, 4, 0x8000_0800 | register & 0xfc);
        self.read(DATA, register & 3, bytes)
    }
    fn put(&mut self, register: u64, bytes: u32, value: u64) {
        self.write(ADDRESS, 0, 4, 0x8000_0800 | register & 0xfc);
        self.write(DATA, register & 3, bytes, value);
    }
}

#[test]
fn both_configuration_mechanisms_show_the_same_functions() {
    let mut b = board();
    assert_eq!(b.get(0, 4), 0x5678_1234);
    assert_eq!(b.get(2, 2), 0x5678);
    assert_eq!(b.get(0x0b, 1), 0xff);
    assert_eq!(b.read(ECAM, 0, 4), 0x29c0_8086);
    assert_eq!(b.read(ECAM, 0x8000, 4), 0x5678_1234);
    assert_eq!(b.read(ECAM, 0x8100, 4), 0, "no extended capabilities");
    assert_eq!(b.read(ECAM, 0x9000, 4), 0xffff_ffff, "function 1");
    assert_eq!(b.read(ECAM, 0x10_0000, 4), 0xffff_ffff, "bus 1");
    b.write(ADDRESS, 0, 4, 0x0000_0800);
    assert_eq!(b.read(DATA, 0, 4), 0xffff_ffff, "not enabled");
    b.write(ADDRESS, 0, 1, 0x80);
    assert_eq!(b.read(ADDRESS, 0, 4), 0x0000_0800, "doublewords only");
}

#[test]
fn bars_have_addresses_sizes_and_can_move() {
    let mut b = board();
    assert_eq!(b.get(0x10, 4), 0xc000_0000);
    assert_eq!([b.get(0x18, 4), b.get(0x1c, 4)], [4, 2]);
    for register in [0x10, 0x18, 0x1c] {
        b.put(register, 4, 0xffff_ffff);
    }
    assert_eq!([b.get(0x10, 4), b.get(0x18, 4), b.get(0x1c, 4)], [0xffff_f000, 0xfff0_0004, 0xffff_ffff]);
    b.put(0x10, 4, 0xc123_4000);
    b.put(0x18, 4, 0x0010_0000);
    b.put(0x1c, 4, 2);
    assert_eq!(b.read(WINDOW_LOW, 0x0123_4010, 4), 0x10);
    assert_eq!(b.read(WINDOW_LOW + 1, 0x0010_0020, 8), 0x2_0000_0020);
    assert_eq!(b.read(WINDOW_LOW, 0, 4), 0xffff_ffff);
    b.put(0x04, 2, 0);
    assert_eq!(b.read(WINDOW_LOW, 0x0123_4010, 4), 0xffff_ffff, "memory decode off");
}

#[test]
fn the_capability_list_reads_msix_then_the_others() {
    let mut b = board();
    assert_eq!(b.get(6, 2) & 0x10, 0x10);
    assert_eq!(b.get(0x34, 1), 0x40);
    assert_eq!([b.get(0x40, 4), b.get(0x44, 4), b.get(0x48, 4)], [0x0001_4c11, 0x800, 0xc00]);
    assert_eq!(b.get(0x4c, 4), 0xab04_0009);
}

#[test]
fn messages_wait_while_masked_and_go_when_they_may() {
    let mut b = board();
    let table = 0x810;
    b.write(WINDOW_LOW, table, 8, 0xfee0_1000);
    b.write(WINDOW_LOW, table + 8, 4, 0x4041);
    b.write(WINDOW_LOW + 1, 0, 4, 1);
    assert_eq!(b.messages(), [], "MSI-X is off");
    b.put(0x42, 2, 0x8000);
    b.write(WINDOW_LOW + 1, 0, 4, 1);
    assert_eq!(b.messages(), []);
    assert_eq!(b.read(WINDOW_LOW, 0xc00, 4), 2);
    b.write(WINDOW_LOW, table + 12, 4, 0);
    assert_eq!(b.messages(), [(0xfee0_1000, 0x4041)]);
    assert_eq!(b.read(WINDOW_LOW, 0xc00, 4), 0);
    b.put(0x42, 2, 0xc000);
    b.write(WINDOW_LOW + 1, 0, 4, 1);
    assert_eq!(b.messages(), []);
    b.put(0x42, 2, 0x8000);
    assert_eq!(b.messages(), [(0xfee0_1000, 0x4041)]);
    b.write(WINDOW_LOW + 1, 0, 4, 2);
    assert_eq!(b.messages(), [], "there is no third message");
    assert_eq!(b.read(WINDOW_LOW, table + 8, 4), 0x4041);
}

#[test]
fn intx_drives_its_line_unless_disabled_or_replaced() {
    let mut b = board();
    b.write(WINDOW_LOW + 1, 8, 4, 1);
    assert_eq!(b.levels(17), [true]);
    assert_eq!(b.get(6, 2) & 8, 8);
    assert_eq!(b.get(0x3c, 2), 0x0111);
    b.put(0x04, 2, 0x0406);
    assert_eq!(b.levels(17), [false]);
    b.put(0x04, 2, 0x0006);
    assert_eq!(b.levels(17), [true]);
    b.put(0x42, 2, 0x8000);
    assert_eq!(b.levels(17), [false]);
}

#[test]
fn cf9_resets_when_its_bit_rises_and_leaves_the_address_alone() {
    let mut b = board();
    b.get(0, 4);
    b.write(ADDRESS, 1, 1, 2);
    assert_eq!(b.requests(), []);
    b.write(ADDRESS, 1, 1, 6);
    b.write(ADDRESS, 1, 1, 6);
    assert_eq!(b.requests(), [emu_core::Request::Reset]);
    assert_eq!([b.read(ADDRESS, 1, 1), b.read(ADDRESS, 0, 4)], [6, 0x8000_0800]);
}

#[test]
fn no_access_sequence_panics() {
    for seed in 0..20 {
        let mut bus = PciBus::new(Gpa(HIGH));
        bus.add(Box::new(Probe { last: 0 })).unwrap();
        crate::bench::abuse(bus, seed, 5_000);
    }
}
