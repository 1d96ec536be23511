//! What must hold at every read (timing.md 4.4; pmu.md 7, B): over random streams, and in small by hand.

use super::super::ledger::WIDTH;
use super::stream::{self, Way};
use super::{Random, Tables, code, decode};
use crate::signal::{Signal as S, Totals};
use crate::uarch::{Core, Parameters};
use cpu_x86::{Monitor, Ring};

/// Asserts all identities for the totals of a ring in which so many `instructions` retired; so many of which were
/// branches, and conditional ones.
fn holds(t: &Totals, instructions: u64, branches: u64, conditional: u64) {
    let accounts = [
        S::SlotsLight,
        S::SlotsHeavy,
        S::SlotsMispredict,
        S::SlotsClear,
        S::SlotsFetchLatency,
        S::SlotsFetchBandwidth,
        S::SlotsMemory,
        S::SlotsCore,
    ];
    let sum: u64 = accounts.into_iter().map(|s| t[s]).sum();
    assert_eq!(sum, u64::from(WIDTH) * instructions, "I1: the eight accounts sum to the slots");
    assert_eq!(t[S::SlotsLight] + t[S::SlotsHeavy], t[S::UopsRetired], "I2, B10");
    assert_eq!(t[S::SlotsHeavy], t[S::UopsHeavy], "B8");
    assert_eq!(t[S::UopsDsb] + t[S::UopsMite] + t[S::UopsMs], t[S::UopsRetired], "I4");
    assert!(t[S::Executes1] <= instructions && t[S::Executes2] <= t[S::Executes1], "two are one");
    assert!(t[S::Executes4] <= t[S::Executes3] && t[S::Executes3] <= t[S::Executes2], "four are three");
    let at_least = t[S::Executes1] + t[S::Executes2] + t[S::Executes3] + t[S::Executes4];
    assert!(at_least <= t[S::UopsExecuted], "a micro-op for each of the four, and more");
    let lines = t[S::L2CodeHit] + t[S::L2CodeMiss];
    assert!(lines <= t[S::DsbMisses], "the buffer holds nothing that the L1I lacks");
    let near = t[S::NearCalls] + t[S::NearReturns];
    assert!(conditional + near + t[S::FarBranches] <= branches, "I5, B1: the rest are jumps");
    assert!(t[S::ConditionalTaken] <= conditional && t[S::ConditionalTaken] <= t[S::NearTaken], "I5");
    assert_eq!(t[S::NearTaken] - t[S::ConditionalTaken], branches - conditional - t[S::FarBranches], "I5");
    assert!(t[S::MispredictedTaken] <= t[S::ConditionalTaken], "I5");
    assert!(t[S::MispredictedNotTaken] <= conditional - t[S::ConditionalTaken], "I5");
    assert!(t[S::MispredictedIndirect] <= t[S::Indirect] && t[S::MispredictedReturn] <= t[S::NearReturns], "I5");
    assert!(t[S::MispredictedIndirectCall] <= t[S::MispredictedIndirect], "I5");
    let missed = t[S::LoadL2Hit] + t[S::LoadL3Hit] + t[S::LoadL3Miss];
    assert_eq!(t[S::Loads], t[S::LoadL1Hit] + t[S::LoadFillBuffer] + missed, "I6, B2");
    assert!(t[S::LoadsOrStores] <= t[S::Loads] + t[S::Stores] && t[S::LockLoads] <= t[S::Loads], "B2");
    assert!(t[S::SplitLoads] <= t[S::Loads] && t[S::SplitStores] <= t[S::Stores], "B2");
    assert!(t[S::StlbMissLoads] <= t[S::Loads] && t[S::StlbMissStores] <= t[S::Stores], "B2");
    assert!(t[S::L3DataMiss] <= t[S::L2DataMiss] && t[S::L3RfoMiss] <= t[S::L2RfoMiss], "B5");
    assert!(t[S::L3CodeMiss] <= t[S::L2CodeMiss], "B5");
    let by_level = t[S::SlotsL2] + t[S::SlotsL3] + t[S::SlotsDram] + t[S::SlotsStore];
    assert!(by_level <= t[S::SlotsMemory], "I8, B6");
    assert!(t[S::SlotsDivider] + t[S::SlotsSerial] <= t[S::SlotsCore], "B8");
    let fetch = [S::SlotsIcache, S::SlotsItlb, S::SlotsResteer, S::SlotsUnknownBranch, S::SlotsMs];
    assert!(fetch.into_iter().map(|s| t[s]).sum::<u64>() <= t[S::SlotsFetchLatency], "B8");
}

#[test]
fn the_identities_hold_at_every_read_of_a_random_stream() {
    for seed in 0..4 {
        let mut r = Random(seed + 100);
        let pieces = stream::program(&mut r, 80);
        let steps = stream::trace(&mut r, &pieces, 6000);
        let mut before: Option<[Totals; 2]> = None;
        let mut reads = 0;
        for way in [Way::Blocks, Way::Singles] {
            stream::tell_with(&stream::small(), &pieces, &steps, way, true, &mut |core, retired| {
                let signals = core.signals_at(false);
                for (ring, n) in [Ring::Kernel, Ring::User].into_iter().zip(retired) {
                    holds(signals.of(ring), n.instructions, n.branches, n.conditional);
                    if let Some(before) = &before {
                        let earlier = if ring == Ring::Kernel { &before[0] } else { &before[1] };
                        S::ALL.iter().for_each(|s| assert!(earlier[*s] <= signals.of(ring)[*s], "{s:?} went back"));
                    }
                }
                before = Some([signals.kernel, signals.user]);
                reads += 1;
            });
            before = None;
        }
        assert!(reads > 300, "{reads}");
    }
}

/// Runs `bytes` as one block at 4 KiB, `times` over, each time going back to its beginning, and reads after it.
fn run(bytes: &[u8], times: u32) -> Totals {
    let instructions = decode(bytes, 0x1000);
    let mut core = Core::new(&Parameters::SPR);
    let block = core.describe(&code(&instructions, 0x1000));
    (0..times).for_each(|_| core.enter(block, 0x1000, Ring::User, &mut Tables));
    core.settle(0x1000);
    core.signals_at(false).user
}

#[test]
fn serialising_instructions_cost_the_front_end_and_the_back_end() {
    // mfence; jmp back
    let t = run(&[0x0f, 0xae, 0xf0, 0xeb, 0xfb], 40);
    assert!(t[S::SlotsFetchLatency] > 0 && t[S::SlotsSerial] > 0);
    // The payload of KVM's selftest: mov, 10 x (enter, clflushopt, mfence, mov, leave, loop), mov, xor, mov, wrmsr.
    let payload = [
        0xc8, 0, 0, 0, 0x66, 0x0f, 0xae, 0x3b, 0x0f, 0xae, 0xf0, 0x89, 0xc0, 0xc9, 0xe2, 0xf1, //
    ];
    let t = run(&payload, 10);
    let (front, back) = (t[S::SlotsFetchLatency] + t[S::SlotsFetchBandwidth], t[S::SlotsMemory] + t[S::SlotsCore]);
    assert!(front > 0 && back > 0, "{front} {back}");
    holds(&t, 60, 10, 10);
}

#[test]
fn micro_ops_beyond_six_take_the_slots_of_the_next_instructions() {
    // wrmsr (144 micro-ops, all from the sequencer); then nops.
    let instructions = decode(&[0x0f, 0x30, 0x90, 0x90, 0x90], 0x1000);
    let mut core = Core::new(&Parameters::SPR);
    let block = core.describe(&code(&instructions[..1], 0x1000));
    let nop = core.describe(&code(&instructions[1..2], 0x1002));
    core.enter(block, 0x1000, Ring::Kernel, &mut Tables);
    assert_eq!(core.signals_at(true).kernel, Totals::default());
    assert_eq!(core.signals_at(false).kernel[S::UopsRetired], 6);
    (0..22).for_each(|_| core.enter(nop, 0x1002, Ring::User, &mut Tables));
    let signals = core.signals_at(false);
    assert_eq!(signals.user[S::SlotsHeavy] + signals.user[S::SlotsLight], 6 * 22);
    (0..40).for_each(|_| core.enter(nop, 0x1002, Ring::User, &mut Tables));
    let signals = core.signals_at(false);
    assert_eq!(signals.kernel[S::UopsRetired] + signals.user[S::UopsRetired], 144 + 62);
    assert_eq!(signals.user[S::UopsMs], 138);
}
