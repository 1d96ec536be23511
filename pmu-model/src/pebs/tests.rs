//! Tests of PEBS: records byte by byte, the buffer's limits, and the registers.

use super::record::{Facility, Memory, Source};
use super::*;
use crate::lbr::{Branch, BranchKind};
use cpu_x86::{Registers, Ring};

const AREA: u64 = 0xffff_fe00_0000_1000;
const BUFFER: u64 = AREA + 0x1000;

/// A processor with memory from `AREA` on; register n holds 100h + n, XMM n holds n in each byte's place.
struct Fake {
    memory: Vec<u8>,
}

impl Fake {
    fn place(&self, linear: u64, bytes: usize) -> Option<std::ops::Range<usize>> {
        let at = usize::try_from(linear.checked_sub(AREA)?).ok()?;
        let end = at.checked_add(bytes)?;
        (end <= self.memory.len()).then_some(at..end)
    }
    fn new(maximum: u64, threshold: u64) -> Fake {
        let mut f = Fake { memory: vec![0; 0x4000] };
        for (at, v) in [(0x20, BUFFER), (0x28, BUFFER), (0x30, BUFFER + maximum), (0x38, BUFFER + threshold)] {
            f.set(at, v);
        }
        f
    }
    fn set(&mut self, at: u64, v: u64) {
        assert!(self.write(AREA + at, &v.to_le_bytes()));
    }
    fn word(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.memory[at as usize..at as usize + 8].try_into().unwrap())
    }
    /// Words of the buffer.
    fn words(&self, from: u64, bytes: u64) -> Vec<u64> {
        (0..bytes / 8).map(|n| self.word(0x1000 + from + 8 * n)).collect()
    }
    fn index(&self) -> u64 {
        self.word(0x28) - BUFFER
    }
}

impl Sampled for Fake {
    fn registers(&self) -> Registers {
        Registers { flags: 0x246, ip: 0x40_1007, general: std::array::from_fn(|n| 0x100 + n as u64) }
    }
    fn tsc(&self) -> u64 {
        0
    }
    fn xmm(&self, n: usize) -> u128 {
        (n as u128) << 64 | 0xf00 | n as u128
    }
    fn read(&mut self, linear: u64, to: &mut [u8]) -> bool {
        let Some(place) = self.place(linear, to.len()) else { return false };
        to.copy_from_slice(&self.memory[place]);
        true
    }
    fn write(&mut self, linear: u64, from: &[u8]) -> bool {
        let Some(place) = self.place(linear, from.len()) else { return false };
        self.memory[place].copy_from_slice(from);
        true
    }
}

const LOAD: Memory = Memory {
    linear: 0x7fff_0010,
    source: Source::L2,
    facility: Facility::Source,
    stlb_miss: true,
    locked: false,
    data_blocked: false,
    address_blocked: false,
    cache_cycles: 14,
    instruction_cycles: 20,
};
const SAMPLE: Sample = Sample { ip: 0x40_1003, tsc: 0x1234_5678_9abc, memory: Some(LOAD) };

/// Two branches, the newer one mispredicted.
fn lbr() -> Lbr {
    let mut lbr = Lbr::default();
    lbr.msr_write(0x14ce, 0x7f_0007).unwrap().unwrap();
    for (n, kind) in [(1, BranchKind::NearReturn), (2, BranchKind::Conditional)] {
        let (from_ring, to_ring) = (Ring::User, Ring::User);
        let (from, to, next) = (n << 12, n << 16, (n << 12) + 2);
        lbr.record(&Branch { from, to, next, kind, mispredicted: n == 2, cycle: 9 * n, from_ring, to_ring });
    }
    lbr
}

fn pebs(enable: u64, config: u64) -> Pebs {
    let mut pebs = Pebs::default();
    for (msr, v) in [(0x600, AREA), (0x3f1, enable), (0x3f2, config)] {
        pebs.msr_write(msr, v).unwrap().unwrap();
    }
    pebs
}

#[test]
fn a_record_with_all_groups_is_this_word_for_word() {
    let mut cpu = Fake::new(0x1000, 0x200);
    cpu.set(0x40 + 8 * 2, 0xffff_ffff_ff00);
    let written = pebs(4, 0x100_000f).write(4, 4, &SAMPLE, &lbr(), &mut cpu);
    assert_eq!((written.records, written.threshold, cpu.index()), (1, true, 512));
    assert_eq!(written.reloads().collect::<Vec<_>>(), [(2, 0xffff_ffff_ff00)]);
    let mut want = vec![
        // Basic: size 200h and configuration, eventing IP, counters, TSC.
        0x0200_0000_0100_000f,
        0x40_1003,
        4,
        0x1234_5678_9abc,
        // Memory: address, L2 hit with a miss of the STLB, 14 and 20 cycles, no transaction.
        0x7fff_0010,
        0x13,
        0x000e_0000_0014,
        0,
        // Flags, next IP, then AX CX DX BX SP BP SI DI R8 to R15.
        0x246,
        0x40_1007,
    ];
    want.extend(0x100..0x110);
    want.extend((0..16).flat_map(|n| [0xf00 | n, n]));
    // Branches, newest first: mispredicted conditional after 9 cycles, return without one before it.
    want.extend([0x2000, 0x2_0000, 0x9000_0000_0000_0009, 0x1000, 0x1_0000, 5 << 56]);
    assert_eq!(cpu.words(0, 512), want);
}

#[test]
fn without_its_adaptive_bit_a_counter_gets_the_basic_group_alone() {
    let mut cpu = Fake::new(0x1000, 0x20);
    let written = pebs(1 << 32, 0x1f00_000f).write(1 << 32, 0, &SAMPLE, &lbr(), &mut cpu);
    assert_eq!((written.threshold, cpu.index()), (true, 32));
    assert_eq!(cpu.words(0, 40), [0x20 << 48, 0x40_1003, 1 << 32, 0x1234_5678_9abc, 0]);
}

#[test]
fn sizes_are_those_of_kvm_unit_tests() {
    let size = |config| Config(config).bytes();
    assert_eq!([0, 1, 2, 4, 8].map(size), [32, 64, 176, 288, 56]);
    assert_eq!((size(0x1f00_0008), size(0x1f00_000f)), (32 + 768, 32 + 32 + 144 + 256 + 768));
    assert_eq!(size(0xff00_000f), record::MOST_BYTES);
}

#[test]
fn entries_beyond_the_depth_and_disabled_lbrs_are_zero_in_the_record() {
    let mut branches = lbr();
    for enabled in [true, false] {
        let mut cpu = Fake::new(0x2000, 0x2000);
        if !enabled {
            branches.disable();
        }
        pebs(1, 0xff00_0008).write(1, 1, &SAMPLE, &branches, &mut cpu);
        assert_eq!(cpu.index(), 32 + 256 * 24);
        let words = cpu.words(32, 256 * 24);
        assert_eq!(words[0] == 0x2000, enabled);
        assert!(words[if enabled { 6 } else { 0 }..].iter().all(|w| *w == 0));
    }
}

#[test]
fn data_sources_and_latencies_follow_the_facility() {
    let aux = |m: Memory| m.aux();
    assert_eq!(aux(Memory { stlb_miss: false, ..LOAD }), 3);
    assert_eq!(aux(Memory { source: Source::LocalMemory, locked: true, ..LOAD }), 0x3a);
    assert_eq!(aux(Memory { data_blocked: true, address_blocked: true, ..LOAD }), 0xd3);
    let store = Memory { facility: Facility::PreciseStore, ..LOAD };
    assert_eq!((aux(store), aux(Memory { source: Source::L1, ..store })), (0, 1));
    assert_eq!(Memory { cache_cycles: 1 << 20, instruction_cycles: 70_000, ..LOAD }.latency(), 0xffff_0000_ffff);
    let mut cpu = Fake::new(0x1000, 0x1000);
    pebs(1, 1).write(1, 1, &Sample { memory: None, ..SAMPLE }, &lbr(), &mut cpu);
    assert_eq!(cpu.words(32, 32), [0; 4], "no access, no information");
}

#[test]
fn counters_of_one_instruction_share_a_record_unless_one_is_not_adaptive() {
    let mut cpu = Fake::new(0x1000, 0x1000);
    let written = pebs(0xf_0000_00ff, 1).write(0b1011 | 1 << 33, 0b1001, &SAMPLE, &lbr(), &mut cpu);
    assert_eq!((written.records, cpu.index()), (2, 64 + 32));
    assert_eq!(cpu.words(0, 24), [64 << 48 | 1, 0x40_1003, 0b1001]);
    assert_eq!(cpu.words(64, 24), [32 << 48, 0x40_1003, 0b10 | 1 << 33]);
    assert_eq!(written.reloads().map(|(bit, _)| bit).collect::<Vec<_>>(), [0, 1, 3, 33]);
}

#[test]
fn no_room_loses_the_record_without_a_signal_and_reloads_all_the_same() {
    let mut cpu = Fake::new(95, 32);
    cpu.set(0x40, 0xffff_ffff_fff0);
    let p = pebs(1, 1);
    let first = p.write(1, 1, &SAMPLE, &lbr(), &mut cpu);
    assert_eq!((first.records, first.threshold, cpu.index()), (1, true, 64));
    for adaptive in [1, 0] {
        let next = p.write(1, adaptive, &SAMPLE, &lbr(), &mut cpu);
        assert_eq!((next.records, next.threshold, cpu.index()), (0, false, 64));
        assert_eq!(next.reloads().collect::<Vec<_>>(), [(0, 0xffff_ffff_fff0)]);
    }
    cpu.set(0x28, u64::MAX - 8);
    assert_eq!(p.write(1, 0, &SAMPLE, &lbr(), &mut cpu).records, 0, "an index that wraps is no room either");
}

#[test]
fn memory_that_is_not_there_loses_the_record() {
    let mut cpu = Fake::new(0x10_0000, 32);
    let mut p = pebs(1, 0);
    cpu.set(0x28, BUFFER + 0x3000);
    let lost = p.write(1, 0, &SAMPLE, &lbr(), &mut cpu);
    assert_eq!((lost.records, lost.threshold, lost.reload, cpu.index()), (0, false, 1, 0x3000));
    p.msr_write(0x600, 0x1000).unwrap().unwrap();
    assert_eq!(p.write(1, 0, &SAMPLE, &lbr(), &mut cpu), Written::default());
}

#[test]
fn reset_values_of_fixed_counters_stand_behind_the_general_ones_of_the_format() {
    let mut cpu = Fake::new(0x1000, 0x1000);
    cpu.set(0x40 + 8 * 9, 0x99);
    cpu.set(0x40 + 8 * 33, 0x3333);
    for (layout, want) in [(Layout::Format4, 0x99), (Layout::Format5, 0x3333)] {
        let mut p = Pebs::new(layout);
        p.msr_write(0x600, AREA).unwrap().unwrap();
        assert_eq!(p.write(1 << 33, 0, &SAMPLE, &lbr(), &mut cpu).reloads().collect::<Vec<_>>(), [(33, want)]);
    }
}

#[test]
fn precise_counters_are_armed_and_the_others_are_due_at_once() {
    let mut p = pebs(0xf_0000_00ff, 0);
    let counters = 0b111 | 1 << 32 | 1 << 33;
    let precise = 0b011 | 1 << 32;
    assert_eq!(p.overflowed(counters, precise), 0b101 | 1 << 32 | 1 << 33, "all but general 1");
    assert_eq!(p.armed(), 0b10);
    assert_eq!(p.qualifying(0b101), 0, "not its event");
    assert_eq!((p.qualifying(0b110), p.armed()), (0b10, 0));
    assert_eq!(p.qualifying(0b110), 0, "once");
}

#[test]
fn only_enabled_counters_are_its_business_and_disabling_disarms() {
    let mut p = pebs(0b10, 0);
    assert_eq!((p.overflowed(0b1101, 0b1101), p.armed()), (0, 0));
    assert!(p.enabled(1) && !p.enabled(0) && !p.enabled(33) && !p.enabled(70));
    p.overflowed(0b10, 0b10);
    p.msr_write(0x3f1, 0).unwrap().unwrap();
    assert_eq!((p.armed(), p.qualifying(0b10)), (0, 0));
}

#[test]
fn reserved_bits_are_refused_and_change_nothing() {
    for (msr, legal) in [(0x3f1, 0xf_0000_00ff_u64), (0x3f2, 0xff00_000f)] {
        for bit in 0..64 {
            let mut p = pebs(3, 0xf);
            let want = if legal >> bit & 1 != 0 { Ok(()) } else { Err(Refused) };
            assert_eq!(p.msr_write(msr, 1 << bit), Some(want), "{msr:#x} {bit}");
            assert!(want.is_ok() || p == pebs(3, 0xf));
        }
    }
    let mut p = Pebs::default();
    assert_eq!(p.msr_write(0x600, 1 << 56), Some(Err(Refused)));
    assert_eq!(p.msr_write(0x600, u64::MAX << 56), Some(Ok(())));
    assert_eq!((p.msr_read(0x600), p.msr_read(0x3f1), p.msr_read(0x3f3)), (Some(u64::MAX << 56), Some(0), None));
    assert_eq!(p.msr_write(0x3f6, 0), None);
}
