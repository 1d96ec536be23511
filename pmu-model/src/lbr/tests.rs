//! Tests of the last branch records: the rules of spec/pmu.md 3.6 and 3.7.

use super::*;
use proptest::prelude::*;

/// Everything: both rings, all kinds.
const ALL: u64 = 0x7f_0007;
/// As Linux asks for a user's call stack: LBREn, USR, call stack, calls and returns.
const STACK: u64 = 1 | 1 << 2 | 1 << 3 | 7 << 19;

const fn branch(kind: BranchKind, from: u64, to: u64, cycle: u64) -> Branch {
    let (from_ring, to_ring) = (Ring::User, Ring::User);
    Branch { from, to, next: from + 5, kind, mispredicted: false, cycle, from_ring, to_ring }
}

const KINDS: [(BranchKind, u32, u64); 8] = [
    (BranchKind::Conditional, 16, 0),
    (BranchKind::NearRelativeJump, 17, 2),
    (BranchKind::NearIndirectJump, 18, 1),
    (BranchKind::NearRelativeCall, 19, 4),
    (BranchKind::NearIndirectCall, 20, 3),
    (BranchKind::NearReturn, 21, 5),
    (BranchKind::Far, 22, 8),
    (BranchKind::Event, 22, 8),
];

fn with(ctl: u64) -> Lbr {
    let mut lbr = Lbr::default();
    lbr.msr_write(0x14ce, ctl).unwrap().unwrap();
    lbr
}

#[test]
fn the_newest_branch_is_entry_0_with_its_kind_cycles_and_misprediction() {
    let mut lbr = with(ALL);
    assert!(lbr.record(&branch(BranchKind::Conditional, 0x1000, 0x2000, 500)));
    let mispredicted = Branch { mispredicted: true, ..branch(BranchKind::NearIndirectCall, 0x2040, 0x3000, 517) };
    assert!(lbr.record(&mispredicted));
    assert!(lbr.record(&branch(BranchKind::NearReturn, 0x3004, 0x2042, 70_000)));
    let read = |msr| lbr.msr_read(msr).unwrap();
    assert_eq!([read(0x1500), read(0x1600), read(0x1200)], [0x3004, 0x2042, 0x1500_0000_0000_ffff]);
    assert_eq!([read(0x1501), read(0x1601), read(0x1201)], [0x2040, 0x3000, 0x9300_0000_0000_0011]);
    assert_eq!([read(0x1502), read(0x1602), read(0x1202)], [0x1000, 0x2000, 0], "the first has no record before it");
    assert_eq!(read(0x1503), 0, "Linux stops reading here");
    assert_eq!((lbr.inserts(Ring::User), lbr.inserts(Ring::Kernel)), (3, 0));
}

#[test]
fn each_kind_has_its_filter_and_its_code() {
    for (kind, bit, code) in KINDS {
        for filter in 16..=22 {
            let mut lbr = with(7 | 1 << filter);
            let recorded = lbr.record(&branch(kind, 0x10, 0x20, 0));
            assert_eq!(recorded, filter == bit, "{kind:?} under bit {filter}");
            assert_eq!(lbr.entry(0).info >> 56, if recorded { code } else { 0 });
        }
    }
}

#[test]
fn the_ring_that_a_branch_leads_to_decides() {
    let cases = [
        (Ring::User, Ring::User),
        (Ring::User, Ring::Kernel),
        (Ring::Kernel, Ring::User),
        (Ring::Kernel, Ring::Kernel),
    ];
    for (from_ring, to_ring) in cases {
        for (rings, ring) in [(2, Ring::Kernel), (4, Ring::User)] {
            let mut lbr = with(1 | rings | 0x7f << 16);
            let recorded = lbr.record(&Branch { from_ring, to_ring, ..branch(BranchKind::Far, 1, 2, 0) });
            assert_eq!(recorded, to_ring == ring);
            assert_eq!(lbr.inserts(from_ring), u64::from(recorded), "it counts where it was executed");
        }
    }
}

#[test]
fn nothing_is_recorded_while_disabled_or_frozen() {
    let mut lbr = with(ALL & !1);
    assert!(!lbr.record(&branch(BranchKind::Far, 1, 2, 0)) && !lbr.is_recording());
    let mut lbr = with(ALL);
    lbr.freeze(true);
    assert!(!lbr.record(&branch(BranchKind::Far, 1, 2, 0)) && !lbr.in_use_entries());
    lbr.freeze(false);
    assert!(lbr.record(&branch(BranchKind::Far, 1, 2, 0)) && lbr.in_use_entries());
}

#[test]
fn a_debug_exception_disables_and_keeps_the_records() {
    let mut lbr = with(ALL);
    lbr.record(&branch(BranchKind::Far, 1, 2, 10));
    lbr.disable();
    assert_eq!((lbr.msr_read(0x14ce), lbr.entry(0).from, lbr.is_enabled()), (Some(ALL & !1), 1, false));
    lbr.msr_write(0x14ce, ALL).unwrap().unwrap();
    lbr.record(&branch(BranchKind::Conditional, 3, 4, 30));
    assert_eq!(lbr.entry(0).info, 0, "no cycles across a time in which it was off");
}

#[test]
fn reserved_bits_depths_and_addresses_are_refused_and_change_nothing() {
    let mut lbr = with(ALL);
    lbr.record(&branch(BranchKind::Far, 1, 2, 0));
    let before = lbr.clone();
    for bit in 0..64 {
        let legal = matches!(bit, 0..=3 | 16..=22);
        assert_eq!(Lbr::default().msr_write(0x14ce, 1 << bit), Some(if legal { Ok(()) } else { Err(Refused) }));
    }
    for depth in (0..70).filter(|d| ![8, 16, 32].contains(d)).chain([1 << 32 | 8]) {
        assert_eq!(lbr.msr_write(0x14cf, depth), Some(Err(Refused)));
    }
    for address in [0x1500, 0x161f, 0x1dd, 0x1de] {
        assert_eq!(lbr.msr_write(address, 1 << 56), Some(Err(Refused)));
    }
    assert_eq!(lbr, before);
    for number in [0x14cd, 0x14d0, 0x1520, 0x1620, 0x1220, 0x14ff, 0x1df, 0x1c9, 0x680] {
        assert_eq!((lbr.msr_read(number), lbr.msr_write(number, 0)), (None, None), "{number:#x}");
    }
}

#[test]
fn entries_are_plain_storage_in_both_of_linux_probes() {
    let mut lbr = Lbr::default();
    for n in (0..32).flat_map(|n| [0x1500 + n, 0x1600 + n]) {
        let old = lbr.msr_read(n).unwrap();
        lbr.msr_write(n, old ^ 0xffff).unwrap().unwrap();
        assert_eq!(lbr.msr_read(n), Some(old ^ 0xffff));
    }
    lbr.msr_write(0x1205, u64::MAX).unwrap().unwrap();
    assert_eq!(lbr.entry(5), Entry { from: 0xffff, to: 0xffff, info: u64::MAX });
}

#[test]
fn a_depth_write_zeroes_all_entries_even_with_the_same_value() {
    for depth in [8, 16, 32] {
        let mut lbr = with(ALL);
        lbr.msr_write(0x14cf, depth).unwrap().unwrap();
        for n in 1..=40 {
            lbr.record(&branch(BranchKind::Conditional, n, n + 1, n));
        }
        assert_eq!((lbr.entry(0).from, lbr.entry(depth as usize - 1).from), (40, 41 - depth));
        assert_eq!(lbr.entry(depth as usize), Entry::default());
        assert_eq!(lbr.msr_read(0x1500 + depth as u32), None, "no register beyond the depth");
        lbr.msr_write(0x14cf, depth).unwrap().unwrap();
        assert!((0..32).all(|n| lbr.entry(n) == Entry::default()));
    }
}

#[test]
fn the_last_event_record_is_the_branch_before_the_event() {
    let mut lbr = with(ALL);
    lbr.record(&branch(BranchKind::NearRelativeJump, 0x100, 0x200, 0));
    lbr.record(&branch(BranchKind::Event, 0x210, 0x9000, 4));
    lbr.record(&branch(BranchKind::Far, 0x9010, 0x210, 9));
    assert_eq!((lbr.msr_read(0x1dd), lbr.msr_read(0x1de)), (Some(0x100), Some(0x200)));
    assert_eq!(lbr.msr_read(0x1e0), Some(2 << 56));
    assert_eq!(lbr.entry(1).from, 0x210);
}

#[test]
fn calls_of_length_zero_and_jumps_leave_the_call_stack_alone() {
    let mut lbr = with(STACK | 0x7f << 16);
    assert!(!lbr.record(&Branch { next: 0x15, to: 0x15, ..branch(BranchKind::NearRelativeCall, 0x10, 0, 0) }));
    assert!(lbr.record(&branch(BranchKind::NearRelativeCall, 0x20, 0x100, 0)));
    assert!(!lbr.record(&branch(BranchKind::Conditional, 0x104, 0x110, 0)));
    assert!(!lbr.record(&branch(BranchKind::Far, 0x110, 0x120, 0)));
    assert_eq!((lbr.entry(0).from, lbr.entry(1).from), (0x20, 0));
    assert!(lbr.record(&branch(BranchKind::NearReturn, 0x130, 0x25, 0)));
    assert!(!lbr.record(&branch(BranchKind::NearReturn, 0x40, 0x9, 0)), "nothing to pop");
    assert_eq!((lbr.entry(0), lbr.inserts(Ring::User)), (Entry::default(), 2));
}

#[test]
fn the_image_is_what_linux_struct_arch_lbr_state_is() {
    let mut lbr = with(ALL);
    lbr.record(&branch(BranchKind::NearRelativeJump, 0x100, 0x200, 0));
    lbr.record(&branch(BranchKind::Event, 0x210, 0x9000, 4));
    let image = lbr.image();
    assert_eq!(image.len(), 808);
    let word = |at: usize| u64::from_le_bytes(image[at..at + 8].try_into().unwrap());
    assert_eq!([word(0), word(8), word(16), word(24), word(32)], [ALL, 32, 0x100, 0x200, 2 << 56]);
    assert_eq!([word(40), word(48), word(56)], [0x210, 0x9000, 0x1800_0000_0000_0004]);
    assert_eq!([word(64), word(72), word(80)], [0x100, 0x200, 2 << 56]);
    assert!(image[88..].iter().all(|&b| b == 0));
}

#[test]
fn restoring_refuses_what_the_registers_would_refuse() {
    let lbr = with(ALL);
    for (at, v) in [(0, 1u64 << 4), (8, 16), (8, 7), (16, 1 << 56), (40, 1 << 63), (48 + 31 * 24, 1 << 56)] {
        let mut image = lbr.image();
        image[at..at + 8].copy_from_slice(&v.to_le_bytes());
        let mut other = lbr.clone();
        assert_eq!(other.restore(Some(&image)), Err(Refused), "{at}");
        assert_eq!(other, lbr);
    }
}

#[test]
fn the_initial_configuration_is_all_zero_but_for_the_depth() {
    let mut lbr = with(ALL);
    lbr.msr_write(0x14cf, 16).unwrap().unwrap();
    lbr.record(&branch(BranchKind::Event, 1, 2, 0));
    assert!(lbr.in_use());
    lbr.restore(None).unwrap();
    assert_eq!((lbr.in_use(), lbr.depth(), lbr.msr_read(0x14ce)), (false, 16, Some(0)));
}

impl Lbr {
    fn in_use_entries(&self) -> bool {
        (0..MOST).any(|n| self.entry(n) != Entry::default())
    }
}

/// A step of a program: a call to a function, a return, or another branch.
#[derive(Clone, Copy, Debug)]
enum Step {
    Call(u64),
    Return,
    Jump(u64),
    ZeroLength,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1u64..1000).prop_map(Step::Call),
        4 => Just(Step::Return),
        2 => (1u64..1000).prop_map(Step::Jump),
        1 => Just(Step::ZeroLength),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    /// C7: of the true chain of calls, the innermost ones stand in the LBR; what it lost to depth stays lost.
    #[test]
    fn the_call_stack_is_the_true_chain(steps in steps(), depth in prop::sample::select(vec![8usize, 16, 32])) {
        let mut lbr = with(STACK);
        lbr.msr_write(0x14cf, depth as u64).unwrap().unwrap();
        let (mut chain, mut lost, mut at) = (Vec::new(), 0, 0x40_0000u64);
        for (cycle, step) in steps.into_iter().enumerate() {
            let cycle = cycle as u64;
            let b = match step {
                Step::Call(f) => {
                    chain.push((at, f << 8));
                    branch(BranchKind::NearRelativeCall, at, f << 8, cycle)
                }
                Step::Return => {
                    let Some((from, _)) = chain.pop() else { continue };
                    branch(BranchKind::NearReturn, at, from + 5, cycle)
                }
                Step::Jump(to) => branch(BranchKind::NearIndirectJump, at, to << 8, cycle),
                Step::ZeroLength => branch(BranchKind::NearRelativeCall, at, at + 5, cycle),
            };
            lbr.record(&b);
            lost = lost.max(chain.len().saturating_sub(depth)).min(chain.len());
            at = b.to + 16;
            let kept = chain.iter().skip(lost).rev().copied();
            let shown = (0..MOST).map(|n| lbr.entry(n)).take_while(|e| e.from != 0).map(|e| (e.from, e.to));
            prop_assert_eq!(shown.collect::<Vec<_>>(), kept.collect::<Vec<_>>());
        }
    }

    /// C5: the records are the newest taken branches, whatever came before and however often it was frozen.
    #[test]
    fn entry_0_is_the_last_branch_before_the_freeze(froms in prop::collection::vec(1u64..1 << 40, 1..200), frozen_after in 0usize..200) {
        let mut lbr = with(ALL);
        for (n, from) in froms.iter().enumerate() {
            lbr.freeze(n >= frozen_after);
            lbr.record(&branch(BranchKind::NearRelativeJump, *from, from + 64, n as u64));
        }
        let recorded = &froms[..froms.len().min(frozen_after)];
        let want: Vec<u64> = recorded.iter().rev().copied().take(MOST).collect();
        let got: Vec<u64> = (0..want.len()).map(|n| lbr.entry(n).from).collect();
        prop_assert_eq!(got, want);
        prop_assert_eq!(lbr.inserts(Ring::User), recorded.len() as u64);
    }

    /// A state image goes out and comes back the same, whatever was recorded.
    #[test]
    fn an_image_restores_what_was_saved(froms in prop::collection::vec(1u64..1 << 47, 0..80), depth in prop::sample::select(vec![8u64, 16, 32])) {
        let mut lbr = with(ALL);
        lbr.msr_write(0x14cf, depth).unwrap().unwrap();
        for (n, from) in froms.iter().enumerate() {
            lbr.record(&branch(if n % 5 == 0 { BranchKind::Event } else { BranchKind::Far }, *from, *from, n as u64));
        }
        let image = lbr.image();
        let mut other = Lbr::default();
        other.msr_write(0x14cf, depth).unwrap().unwrap();
        other.restore(Some(&image)).unwrap();
        prop_assert_eq!(other.image(), image);
        prop_assert_eq!(other.in_use(), lbr.in_use());
    }
}
