//! Small programs with known answers: predictor, caches, TLBs (timing.md 6.2, as far as structures go).

use super::{Random, Tables, code, decode, touch};
use crate::signal::{Signal as S, Totals};
use crate::uarch::{Branch, BranchKind, Core, Level, Parameters};
use cpu_x86::monitor::Happening;
use cpu_x86::{Monitor, Ring};
use emu_core::Gpa;

fn core() -> Core {
    Core::new(&Parameters::SPR)
}

fn describe(core: &mut Core, bytes: &[u8], at: u64) -> u32 {
    core.describe(&code(&decode(bytes, at), at))
}

fn enter(core: &mut Core, block: u32, at: u64) {
    core.enter(block, at, Ring::User, &mut Tables);
}

fn user(core: &mut Core) -> Totals {
    core.signals_at(false).user
}

/// How often something was counted.
type Count = Box<dyn Fn(S) -> u64>;

/// What `work` counts when it is done once more, after `warm` times.
fn steady(core: &mut Core, warm: u32, mut work: impl FnMut(&mut Core)) -> Count {
    (0..warm).for_each(|_| work(core));
    let before = user(core);
    work(core);
    let after = user(core);
    Box::new(move |s| after[s] - before[s])
}

/// Mispredicts in a thousand of a branch that goes as `pattern` says, on the second half of 20 000 times.
fn mispredicts(mut pattern: impl FnMut(u64) -> bool) -> u64 {
    let mut core = core();
    let branch = describe(&mut core, &[0x85, 0xc0, 0x74, 0x10], 0x1000);
    let falls = describe(&mut core, &[0x90, 0xeb, 0xf9], 0x1004);
    let taken = describe(&mut core, &[0xeb, 0xea], 0x1014);
    let mut before = 0;
    for n in 0..20_000 {
        enter(&mut core, branch, 0x1000);
        let (block, at) = if pattern(n) { (taken, 0x1014) } else { (falls, 0x1004) };
        enter(&mut core, block, at);
        if n == 10_000 {
            let t = user(&mut core);
            before = t[S::MispredictedTaken] + t[S::MispredictedNotTaken];
        }
    }
    let t = user(&mut core);
    (t[S::MispredictedTaken] + t[S::MispredictedNotTaken] - before) / 10
}

#[test]
fn patterns_are_learnt_and_random_bits_are_not() {
    assert_eq!(mispredicts(|_| true), 0);
    assert_eq!(mispredicts(|_| false), 0);
    assert!(mispredicts(|n| n % 8 == 3) < 10, "{}", mispredicts(|n| n % 8 == 3));
    let mut r = Random(5);
    let bits = r.next();
    let period = mispredicts(|n| bits >> (n % 64) & 1 != 0);
    assert!(period < 10, "{period}");
    let random = mispredicts(|_| r.one_in(2));
    assert!((450..550).contains(&random), "{random}");
}

#[test]
fn a_branch_seen_one_way_only_is_mispredicted_once() {
    let mut core = core();
    let branch = describe(&mut core, &[0x85, 0xc0, 0x74, 0x10], 0x1000);
    (0..5).for_each(|_| enter(&mut core, branch, 0x1000));
    // Each time it went back to itself: taken.
    let t = user(&mut core);
    assert_eq!((t[S::MispredictedTaken], t[S::ConditionalTaken], t[S::NearTaken]), (1, 4, 4));
    core.settle(0x1004);
    let t = user(&mut core);
    assert_eq!((t[S::MispredictedNotTaken], t[S::ConditionalTaken]), (1, 4));
    // The five instructions TEST gave their slots to the five branches behind them.
    assert_eq!((t[S::MacroFused], t[S::UopsRetired]), (5, 5));
}

/// Mispredicted returns of a chain of `depth` calls.
fn returns(depth: u64) -> u64 {
    let mut core = core();
    let at = |n: u64| 0x1_0000 + n * 64;
    let calls: Vec<u32> = (0..depth).map(|n| describe(&mut core, &[0xe8, 0x3b, 0, 0, 0], at(n))).collect();
    let rets: Vec<u32> = (0..depth).map(|n| describe(&mut core, &[0xc3], at(n) + 5)).collect();
    let leaf = describe(&mut core, &[0xc3], at(depth));
    let work = |core: &mut Core| {
        (0..depth).for_each(|n| enter(core, calls[n as usize], at(n)));
        enter(core, leaf, at(depth));
        (1..depth).rev().for_each(|n| enter(core, rets[n as usize], at(n) + 5));
        core.settle(at(0) + 5);
    };
    steady(&mut core, 3, work)(S::MispredictedReturn)
}

#[test]
fn the_return_stack_holds_twenty() {
    assert_eq!([returns(1), returns(19), returns(20)], [0, 0, 0]);
    assert!(returns(21) >= 1 && returns(40) >= 20, "{} {}", returns(21), returns(40));
}

#[test]
fn a_call_of_the_next_instruction_leaves_the_return_stack_alone() {
    let mut core = core();
    let outer = describe(&mut core, &[0xe8, 0x3b, 0, 0, 0], 0x1000);
    let next = describe(&mut core, &[0xe8, 0, 0, 0, 0], 0x1040);
    let ret = describe(&mut core, &[0x58, 0xc3], 0x1045);
    enter(&mut core, outer, 0x1000);
    enter(&mut core, next, 0x1040);
    enter(&mut core, ret, 0x1045);
    core.settle(0x1005);
    assert_eq!(user(&mut core)[S::MispredictedReturn], 0);
}

#[test]
fn an_indirect_branch_is_learnt_by_path_and_forgotten_on_a_barrier() {
    let mut core = core();
    let jump = describe(&mut core, &[0xff, 0xe0], 0x1000);
    let back: Vec<u32> = (0..3).map(|n| describe(&mut core, &[0xeb, 0xfe], 0x2000 + n * 64)).collect();
    let work = |core: &mut Core| {
        for n in [0, 1, 2, 1] {
            enter(core, jump, 0x1000);
            enter(core, back[n as usize], 0x2000 + n * 64);
        }
        core.settle(0x1000);
    };
    let count = steady(&mut core, 60, work);
    assert_eq!((count(S::MispredictedIndirect), count(S::Indirect)), (0, 4));
    core.happened(Happening::FlushPredictor);
    let before = user(&mut core)[S::MispredictedIndirect];
    enter(&mut core, jump, 0x1000);
    core.settle(0x2000);
    assert_eq!(user(&mut core)[S::MispredictedIndirect] - before, 1);
}

/// Jumps, one in each of `n` lines: what they count on the way round.
fn jumps(n: u64) -> Count {
    let mut core = core();
    let at = |n: u64| 0x10_0000 + n * 64;
    let blocks: Vec<u32> = (0..n).map(|n| describe(&mut core, &[0xeb, 0x3e], at(n))).collect();
    steady(&mut core, 2, |core| {
        (0..n).for_each(|n| enter(core, blocks[n as usize], at(n)));
        core.settle(at(0));
    })
}

#[test]
fn branches_beyond_the_target_buffers_are_unknown() {
    let bubbles = |count: &dyn Fn(S) -> u64| {
        let parts = [S::SlotsIcache, S::SlotsItlb, S::SlotsResteer, S::SlotsUnknownBranch, S::SlotsMs];
        count(S::SlotsFetchLatency) - parts.into_iter().map(count).sum::<u64>()
    };
    let within = jumps(128);
    assert_eq!((within(S::Baclears), bubbles(&within), within(S::NearTaken)), (0, 0, 128));
    let beyond = jumps(160);
    assert!(beyond(S::Baclears) == 0 && bubbles(&beyond) > 0);
    assert_eq!(jumps(12_288)(S::Baclears), 0);
    assert!(jumps(12_800)(S::Baclears) > 1000);
}

#[test]
fn the_instruction_cache_holds_512_lines() {
    assert_eq!(jumps(512)(S::L2CodeHit), 0);
    let beyond = jumps(520);
    assert!(beyond(S::L2CodeHit) >= 8 && beyond(S::L2CodeMiss) == 0 && beyond(S::SlotsIcache) > 0);
}

/// Loads one after the other from `n` places that `at` gives: what they count on the way round, and the last latency.
fn loads(n: u64, at: impl Fn(u64) -> u64) -> (Count, u32) {
    let mut core = core();
    core.observe_all(true);
    let block = describe(&mut core, &[0x48, 0x8b, 0x00, 0xeb, 0xfb], 0x1000);
    let count = steady(&mut core, 3, |core| {
        for n in 0..n {
            enter(core, block, 0x1000);
            core.access(&touch(at(n), 8, false, 0), &mut Tables);
        }
        core.settle(0x1000);
    });
    (count, core.last_load().latency)
}

#[test]
fn ninety_seven_pages_miss_the_dtlb_and_ninety_six_do_not() {
    // A line for each page, in another set each time.
    let at = |n: u64| 0x1000_0000 + (n << 12) + ((n & 63) << 6);
    let (within, _) = loads(96, at);
    assert_eq!((within(S::DtlbLoadStlbHit), within(S::Loads)), (0, 96));
    let (beyond, _) = loads(97, at);
    assert!(beyond(S::DtlbLoadStlbHit) >= 1 && beyond(S::DtlbLoadWalk4k) == 0);
    let (second, _) = loads(1500, at);
    assert!(second(S::DtlbLoadStlbHit) > 1300 && second(S::DtlbLoadWalk4k) == 0 && second(S::StlbMissLoads) == 0);
    let (walks, _) = loads(4096, at);
    assert_eq!((walks(S::DtlbLoadWalk4k), walks(S::StlbMissLoads)), (4096, 4096));
}

#[test]
fn large_pages_have_a_tlb_of_their_own() {
    let at = |n: u64| (1 << 40) + (n << 21) + ((n & 63) << 6);
    assert_eq!(loads(32, at).0(S::DtlbLoadStlbHit), 0);
    assert!(loads(40, at).0(S::DtlbLoadStlbHit) > 0);
}

/// Loads from each line of so many bytes, within large pages.
fn chase(bytes: u64) -> (Count, u32) {
    loads(bytes / 64, |n| (1 << 40) + n * 64)
}

#[test]
fn a_working_set_of_49_kib_misses_the_l1d() {
    let (within, latency) = chase(48 << 10);
    assert_eq!((within(S::L1dReplacements), within(S::LoadL1Hit), latency), (0, 768, 5));
    let (beyond, _) = chase(49 << 10);
    assert!(beyond(S::L1dReplacements) >= 16 && beyond(S::LoadL2Hit) == beyond(S::L1dReplacements));
}

#[test]
fn a_chase_is_bound_by_the_level_it_fits_in() {
    for (bytes, latency, level, slots) in [
        (1 << 20, 15, S::LoadL2Hit, S::SlotsL2),
        (3 << 20, 73, S::LoadL3Hit, S::SlotsL3),
        (5 << 20, 242, S::LoadL3Miss, S::SlotsDram),
    ] {
        let (count, told) = chase(bytes);
        assert_eq!((told, count(level)), (latency, bytes / 64));
        let all = 6 * 2 * bytes / 64;
        assert!(count(slots) * 100 > all * 60, "{slots:?}: {} of {all}", count(slots));
        assert!(count(S::SlotsMemory) >= count(slots));
    }
}

#[test]
fn stores_ask_for_ownership_and_are_written_back() {
    let mut core = core();
    let block = describe(&mut core, &[0x48, 0x89, 0x03, 0xeb, 0xfb], 0x1000);
    let count = steady(&mut core, 3, |core| {
        for n in 0..(4u64 << 20) / 64 {
            enter(core, block, 0x1000);
            core.access(&touch((1 << 40) + n * 64, 8, true, 0), &mut Tables);
        }
        core.settle(0x1000);
    });
    let lines = (4 << 20) / 64;
    assert_eq!((count(S::L2RfoMiss), count(S::L3RfoMiss), count(S::L2DataMiss)), (lines, lines, 0));
    assert_eq!((count(S::Stores), count(S::Loads)), (lines, 0));
    assert!(count(S::L2LinesOut) > lines * 9 / 10 && count(S::SlotsStore) > 0);
}

#[test]
fn a_line_that_was_flushed_misses_everywhere() {
    let mut core = core();
    let block = describe(&mut core, &[0x48, 0x8b, 0x00, 0xeb, 0xfb], 0x1000);
    for flush in [false, false, true, false] {
        if flush {
            core.happened(Happening::FlushLine(Gpa(super::physical(0x5000))));
        }
        enter(&mut core, block, 0x1000);
        core.access(&touch(0x5000, 8, false, 0), &mut Tables);
        core.settle(0x1000);
    }
    let t = user(&mut core);
    assert_eq!((t[S::LoadL3Miss], t[S::LoadL1Hit], t[S::L3DataMiss]), (2, 2, 2));
}

#[test]
fn an_access_over_two_pages_is_one_split() {
    let mut core = core();
    // mov rax, [rax]; lock add [rax], rcx
    let block = describe(&mut core, &[0x48, 0x8b, 0x00, 0xf0, 0x48, 0x01, 0x08], 0x1000);
    enter(&mut core, block, 0x1000);
    core.access(&touch(0x5ffd, 3, false, 0), &mut Tables);
    core.access(&touch(0x6000, 5, false, 0), &mut Tables);
    core.access(&touch(0x703c, 8, true, 1), &mut Tables);
    core.settle(0x1007);
    let t = user(&mut core);
    assert_eq!((t[S::SplitLoads], t[S::SplitStores], t[S::BusLocks], t[S::LockLoads]), (2, 1, 1, 1));
    assert_eq!((t[S::Loads], t[S::Stores], t[S::LoadsOrStores], t[S::StlbMissStores]), (2, 1, 2, 1));
}

#[test]
fn a_run_of_lines_is_what_its_parts_are() {
    let mut r = Random(11);
    // rep movsb; fxsave [rax]; rep stosb; add [rax], rcx
    let code = [0xf3, 0xa4, 0x0f, 0xae, 0x00, 0xf3, 0xaa, 0x48, 0x01, 0x08, 0xeb, 0xf3];
    let (mut whole, mut parts, mut all) = (core(), core(), core());
    all.observe_all(true);
    let block = [&mut whole, &mut parts, &mut all].map(|core| describe(core, &code, 0x1000))[0];
    for _ in 0..3000 {
        for core in [&mut whole, &mut parts, &mut all] {
            enter(core, block, 0x1000);
        }
        for n in 0..4 {
            let at = 0x10_0000 + (r.below(3 << 20) & !r.below(2).wrapping_neg());
            let bytes = (65 + r.below(4032)).min(4096 - (at & 0xfff)) as u32;
            let a = touch(at, bytes, r.one_in(2), n);
            let (mut touched, mut done) = (0, 0);
            while done < bytes {
                let part = (64 - ((at + u64::from(done)) & 63) as u32).min(bytes - done);
                touched |= parts.access(&touch(at + u64::from(done), part, a.write, n), &mut Tables);
                done += part;
            }
            assert_eq!(whole.access(&a, &mut Tables), touched);
            all.access(&a, &mut Tables);
        }
    }
    for core in [&mut whole, &mut parts, &mut all] {
        core.settle(0x1000);
    }
    let t = user(&mut parts);
    assert_eq!((&user(&mut whole), &user(&mut all)), (&t, &t));
    assert!(whole.caches == parts.caches && whole.books == parts.books);
    let served = [S::LoadL2Hit, S::LoadL3Hit, S::LoadL3Miss, S::StoreL2Hit, S::StlbMissLoads, S::StlbMissStores];
    assert!(served.iter().all(|s| t[*s] > 50), "{:?}", served.map(|s| t[s]));
}

#[test]
fn what_pebs_records_of_a_load_says_where_its_data_was() {
    let mut core = core();
    let block = describe(&mut core, &[0xf0, 0x48, 0x01, 0x08], 0x1000);
    enter(&mut core, block, 0x1000);
    core.observe_all(true);
    assert_eq!(core.access(&touch(0x5008, 8, true, 0), &mut Tables), u64::MAX, "it wants to hear of all");
    let told = core.last_load();
    assert_eq!((told, told.level, told.data_source()), (core.last_store(), Level::Memory, 0xa | 1 << 4 | 1 << 5));
    assert_eq!(told.linear, 0x5008);
    assert!(told.latency > 242 + 7, "the walk is part of it: {}", told.latency);
    core.access(&touch(0x5010, 8, false, 0), &mut Tables);
    assert_eq!((core.last_load().data_source(), core.last_load().latency), (1 | 1 << 5, 5));
}

#[test]
fn translations_follow_address_spaces() {
    let mut core = core();
    let block = describe(&mut core, &[0x48, 0x8b, 0x00, 0xeb, 0xfb], 0x4000_0000);
    let walks = |core: &mut Core, at: u64| {
        let before = user(core)[S::DtlbLoadWalk4k];
        enter(core, block, 0x4000_0000);
        core.access(&touch(at, 8, false, 0), &mut Tables);
        core.settle(0x4000_0000);
        user(core)[S::DtlbLoadWalk4k] - before
    };
    // 0x4000_0000 and up is global in these tables.
    let (own, global) = (0x5000, 0x4100_0000);
    assert_eq!([walks(&mut core, own), walks(&mut core, own), walks(&mut core, global)], [1, 0, 1]);
    core.happened(Happening::AddressSpace { pcid: 3, keep: true });
    assert_eq!([walks(&mut core, own), walks(&mut core, global)], [1, 0]);
    core.happened(Happening::AddressSpace { pcid: 0, keep: true });
    assert_eq!(walks(&mut core, own), 0);
    core.happened(Happening::FlushSpace(3));
    assert_eq!(walks(&mut core, own), 0);
    core.happened(Happening::FlushPage(0x5fff));
    assert_eq!(walks(&mut core, own), 1);
    core.happened(Happening::FlushTlb { global: false });
    assert_eq!([walks(&mut core, own), walks(&mut core, global)], [1, 0]);
    core.happened(Happening::FlushTlb { global: true });
    assert_eq!([walks(&mut core, own), walks(&mut core, global)], [1, 1]);
    core.happened(Happening::AddressSpace { pcid: 0, keep: false });
    assert_eq!([walks(&mut core, own), walks(&mut core, global)], [1, 0]);
}

#[test]
fn what_happens_besides_is_counted() {
    let mut core = core();
    let block = describe(&mut core, &[0x90], 0x1000);
    enter(&mut core, block, 0x1000);
    core.happened(Happening::SelfModified);
    core.happened(Happening::MarkedPage);
    core.happened(Happening::Repeated(40));
    let delivery = Happening::Delivery { from: 0x1001, to: 0x8000, vector: 32, external: true, ring: Ring::Kernel };
    core.happened(delivery);
    (0..30).for_each(|_| enter(&mut core, block, 0x1000));
    let signals = core.signals_at(false);
    let t = signals.user;
    assert_eq!((t[S::ClearsSmc], t[S::AssistsPage], t[S::RepIterations], t[S::Nops]), (1, 1, 40, 31));
    assert_eq!(signals.kernel[S::HardwareInterrupts], 1);
    assert!(t[S::SlotsClear] > 0 && t[S::SlotsSerial] > 0);
}

#[test]
fn taken_branches_wait_for_who_records_them() {
    let mut core = core();
    let jump = describe(&mut core, &[0x90, 0xeb, 0x10], 0x1000);
    let call = describe(&mut core, &[0x0f, 0x05], 0x2000);
    enter(&mut core, jump, 0x1000);
    core.settle(0x2000);
    assert_eq!(core.next_branch(), None);
    core.record_branches(true);
    enter(&mut core, jump, 0x1000);
    assert_eq!(core.last_ip(), 0x1001);
    enter(&mut core, call, 0x2000);
    core.enter(jump, 0x1000, Ring::Kernel, &mut Tables);
    let (before, after) = (Ring::User, Ring::User);
    let first =
        Branch { from: 0x1001, to: 0x2000, kind: BranchKind::Jump, mispredicted: false, cycles: 4, before, after };
    assert_eq!(core.next_branch(), Some(first));
    let after = Ring::Kernel;
    let far =
        Branch { from: 0x2000, to: 0x1000, kind: BranchKind::Other, mispredicted: false, cycles: 1, before, after };
    assert_eq!(core.next_branch(), Some(far));
    assert_eq!(core.next_branch(), None);
}

#[test]
fn an_instruction_that_faults_retires_nothing_but_moves_the_caches() {
    let mut core = core();
    let block = describe(&mut core, &[0x90, 0x48, 0x8b, 0x00, 0xeb, 0xfb], 0x1000);
    enter(&mut core, block, 0x1000);
    core.access(&touch(0x5000, 8, false, 1), &mut Tables);
    core.cut(1);
    core.settle(0x1001);
    let t = user(&mut core);
    assert_eq!((t[S::Nops], t[S::Loads], t[S::LoadL3Miss], t[S::UopsRetired]), (1, 0, 0, 1));
    assert_eq!((t[S::L3DataMiss], t[S::DtlbLoadWalk4k], core.last_ip()), (1, 1, 0x1000));
}

#[test]
fn cold_code_comes_from_the_decoders_and_warm_code_from_the_buffer() {
    let mut core = core();
    let block = describe(&mut core, &[0x90, 0x90, 0x90, 0xeb, 0xfb], 0x1000);
    let other = describe(&mut core, &[0x90, 0xeb, 0xfb], 0x1080);
    (0..4).for_each(|_| {
        enter(&mut core, block, 0x1000);
        enter(&mut core, other, 0x1080);
    });
    core.settle(0x1000);
    let t = user(&mut core);
    assert_eq!((t[S::UopsMite], t[S::UopsDsb], t[S::UopsMs]), (6, 18, 0));
    assert_eq!((t[S::DsbMisses], t[S::L2CodeHit] + t[S::L2CodeMiss]), (2, 2));
}
