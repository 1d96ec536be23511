//! A driver in miniature against the devices on a bus, and rings that make no sense.

use super::*;
use crate::bench::Bench;
use crate::pci::PciBus;
use crate::virtio::{Console, Rng};
use emu_core::{Effect, Gpa, Random};

const DESC: u64 = 0x1000;
const AVAIL: u64 = 0x2000;
const USED: u64 = 0x3000;
const LOW: usize = 3;

type Board = Bench<PciBus>;

/// `function` in slot 1 with decoding and bus mastering on.
fn board(function: Box<dyn PciFunction>) -> Board {
    let mut bus = PciBus::new(Gpa(8 << 30));
    bus.add(function).unwrap();
    let mut b = Bench::new(bus);
    b.write(2, 0x8004, 2, 6);
    b
}

impl Board {
    fn bar0(&mut self, offset: u64, bytes: u32, value: u64) {
        self.write(LOW, offset, bytes, value);
    }
    fn status(&mut self) -> u64 {
        self.read(LOW, 0x14, 1)
    }
    /// From reset to DRIVER_OK, with queue `n` of 8 descriptors in use.
    fn start(&mut self, n: u64) {
        self.bar0(0x14, 1, 0);
        self.bar0(0x14, 1, 3);
        self.bar0(0x08, 4, 1);
        self.bar0(0x0c, 4, 1);
        self.bar0(0x14, 1, 0xb);
        assert_eq!(self.status(), 0xb);
        self.bar0(0x16, 2, n);
        self.bar0(0x18, 2, 8);
        self.bar0(0x1a, 2, 1);
        for (offset, at) in [(0x20, DESC), (0x28, AVAIL), (0x30, USED)] {
            self.bar0(offset, 4, at);
            self.bar0(offset + 4, 4, 0);
        }
        self.bar0(0x1c, 2, 1);
        self.bar0(0x14, 1, 0xf);
        self.poke(AVAIL, &[0; 64]);
        self.poke(USED, &[0; 128]);
    }
    fn descriptor(&mut self, n: u64, at: u64, bytes: u32, flags: u16, next: u16) {
        let raw = [&at.to_le_bytes()[..], &bytes.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()].concat();
        self.poke(DESC + 16 * n, &raw);
    }
    /// Puts `head` into the available ring as number `index`, and notifies queue `n`.
    fn offer(&mut self, n: u64, index: u16, head: u16) {
        self.poke(AVAIL + 4 + 2 * u64::from(index % 8), &head.to_le_bytes());
        self.poke(AVAIL + 2, &(index + 1).to_le_bytes());
        self.bar0(0x3000 + 4 * n, 2, n);
    }
    fn used(&self) -> (u16, Vec<u8>) {
        let idx = self.peek(USED + 2, 2);
        (u16::from_le_bytes([idx[0], idx[1]]), self.peek(USED + 4, 8))
    }
}

#[test]
fn the_capabilities_lead_to_the_structures_in_bar_0() {
    let mut b = board(Box::new(VirtioPci::new(Rng::new(1))));
    assert_eq!(b.read(2, 0x8000, 4), 0x1044_1af4);
    let mut at = b.read(2, 0x8034, 1);
    let mut found = Vec::new();
    while at != 0 {
        let id = b.read(2, 0x8000 + at, 1);
        if id == 9 {
            found.push((b.read(2, 0x8003 + at, 1), b.read(2, 0x8004 + at, 1), b.read(2, 0x8008 + at, 4)));
        }
        at = b.read(2, 0x8001 + at, 1);
    }
    assert_eq!(found, [(1, 0, 0), (2, 0, 0x3000), (3, 0, 0x1000), (4, 0, 0x2000)]);
}

#[test]
fn features_without_version_1_are_refused() {
    let mut b = board(Box::new(VirtioPci::new(Console)));
    b.bar0(0x00, 4, 1);
    assert_eq!(b.read(LOW, 4, 4), 1);
    b.bar0(0x00, 4, 0);
    assert_eq!(b.read(LOW, 4, 4), 4);
    b.bar0(0x14, 1, 0xb);
    assert_eq!(b.status(), 3);
    b.bar0(0x08, 4, 1);
    b.bar0(0x0c, 4, 1);
    b.bar0(0x08, 4, 0);
    b.bar0(0x0c, 4, 1);
    b.bar0(0x14, 1, 0xb);
    assert_eq!(b.status(), 3, "feature 0 is not offered");
    b.bar0(0x0c, 4, 4);
    b.bar0(0x14, 1, 0xb);
    assert_eq!(b.status(), 0xb);
    assert_eq!([b.read(LOW, 0x12, 2), b.read(LOW, 0x18, 2)], [2, 64]);
}

#[test]
fn entropy_follows_from_the_seed_and_interrupts_by_intx() {
    let mut first = None;
    for _ in 0..2 {
        let mut b = board(Box::new(VirtioPci::new(Rng::new(7))));
        b.start(0);
        b.descriptor(2, 0x8000, 16, 3, 3);
        b.descriptor(3, 0x9000, 5, 2, 0);
        b.drain();
        b.offer(0, 0, 2);
        assert!(b.effects.contains(&Effect::Wrote(Gpa(0x8000), 16)));
        assert_eq!(b.levels(17), [true]);
        assert_eq!(b.used(), (1, vec![2, 0, 0, 0, 21, 0, 0, 0]));
        assert_eq!([b.read(LOW, ISR, 1), b.read(LOW, ISR, 1)], [1, 0]);
        assert_eq!(b.levels(17), [false]);
        let bytes = [b.peek(0x8000, 16), b.peek(0x9000, 6)].concat();
        assert_eq!(bytes[21], 0);
        assert_eq!(*first.get_or_insert(bytes.clone()), bytes);
    }
}

#[test]
fn the_console_carries_bytes_both_ways_and_signals_by_message() {
    let mut b = board(Box::new(VirtioPci::new(Console)));
    b.start(1);
    // Message 1 of the table in BAR 1, at offset 4000h of the window.
    b.write(LOW, 0x4010, 8, 0xfee0_0000);
    b.write(LOW, 0x4018, 4, 0x51);
    b.write(LOW, 0x401c, 4, 0);
    b.write(2, 0x8042, 2, 0x8000);
    b.poke(0x8000, b"hello, hvc0");
    b.descriptor(0, 0x8000, 6, 1, 1);
    b.descriptor(1, 0x8006, 5, 0, 0);
    b.offer(1, 0, 0);
    assert_eq!(b.clone_effects_output(), b"hello, hvc0");
    assert_eq!(b.messages(), [(0xfee0_0000, 0x51)]);
    b.poke(AVAIL, &1u16.to_le_bytes());
    b.offer(1, 1, 0);
    assert_eq!(b.messages(), [], "the driver asked for no interrupt");

    b.start(0);
    assert_eq!(b.input(b"x"), 0, "no buffer yet");
    b.descriptor(0, 0x8000, 4, 2, 0);
    b.offer(0, 0, 0);
    assert_eq!(b.input(b"typed"), 4);
    assert_eq!(b.peek(0x8000, 4), b"type");
    assert_eq!(b.used(), (1, vec![0, 0, 0, 0, 4, 0, 0, 0]));
    b.drain();
    b.bar0(0x2008, 4, u64::from(b'!'));
    assert_eq!(b.output(), b"!");
}

impl Board {
    fn clone_effects_output(&self) -> Vec<u8> {
        let of = |e: &Effect| if let Effect::Output(bytes) = e { bytes.clone() } else { Vec::new() };
        self.effects.iter().flat_map(of).collect()
    }
}

#[test]
fn rings_that_make_no_sense_need_a_reset() {
    type Wreck = fn(&mut Board);
    let wrecks: [(&str, Wreck); 8] = [
        ("a loop", |b| b.descriptor(0, 0x8000, 1, 1, 0)),
        ("a head outside the table", |b| b.poke(AVAIL + 4, &8u16.to_le_bytes())),
        ("a next outside the table", |b| b.descriptor(0, 0x8000, 1, 1, 0xffff)),
        ("an index that ran away", |b| b.poke(AVAIL + 2, &9u16.to_le_bytes())),
        ("a buffer that is not memory", |b| b.descriptor(0, 0xf000_0000, 1, 0, 0)),
        ("a buffer over the end of memory", |b| b.descriptor(0, 0xf_ffff, 2, 0, 0)),
        ("an indirect table", |b| b.descriptor(0, 0x8000, 16, 4, 0)),
        ("a megabyte and more", |b| b.descriptor(0, 0, 0xffff_ffff, 0, 0)),
    ];
    for (name, wreck) in wrecks {
        let mut b = board(Box::new(VirtioPci::new(Console)));
        b.start(1);
        b.descriptor(0, 0x8000, 1, 0, 0);
        b.offer(1, 0, 0);
        assert_eq!(b.status(), 0xf, "sound before {name}");
        b.start(1);
        b.poke(AVAIL + 2, &1u16.to_le_bytes());
        wreck(&mut b);
        b.bar0(0x3004, 2, 1);
        assert_eq!(b.status(), 0x4f, "{name}");
        b.bar0(0x14, 1, 0xf);
        assert_eq!(b.status(), 0x4f, "only a reset clears it");
        b.start(1);
        assert_eq!(b.status(), 0xf);
    }
}

#[test]
fn writable_before_readable_and_misaligned_rings_need_a_reset() {
    let mut b = board(Box::new(VirtioPci::new(Rng::new(0))));
    b.start(0);
    b.descriptor(0, 0x8000, 1, 3, 1);
    b.descriptor(1, 0x8000, 1, 0, 0);
    b.offer(0, 0, 0);
    assert_eq!(b.status(), 0x4f);
    b.bar0(0x14, 1, 0);
    b.bar0(0x16, 2, 0);
    b.bar0(0x20, 4, 0x1008);
    b.bar0(0x1c, 2, 1);
    assert_eq!(b.status(), 0x40);
}

#[test]
fn random_rings_and_registers_never_panic() {
    for seed in 0..300 {
        let mut dice = Random(seed);
        let console = seed % 2 == 0;
        let function: Box<dyn PciFunction> =
            if console { Box::new(VirtioPci::new(Console)) } else { Box::new(VirtioPci::new(Rng::new(seed))) };
        let mut b = board(function);
        let n = u64::from(console);
        for _ in 0..20 {
            b.start(n);
            for d in 0..8 {
                let at = [0x8000, 0xf_fff0, dice.next()][dice.below(3) as usize];
                b.descriptor(d, at, dice.below(0x2000) as u32, dice.below(8) as u16, dice.below(9) as u16);
            }
            for index in 0..8 {
                b.offer(n, index, dice.below(9) as u16);
            }
            b.bar0(dice.below(0x4000), 1 << dice.below(4), dice.next());
            b.input(b"abc");
            b.drain();
        }
    }
    for seed in 0..20 {
        let mut bus = PciBus::new(Gpa(8 << 30));
        bus.add(Box::new(VirtioPci::new(Console))).unwrap();
        bus.add(Box::new(VirtioPci::new(Rng::new(seed)))).unwrap();
        crate::bench::abuse(bus, seed, 5_000);
    }
}
