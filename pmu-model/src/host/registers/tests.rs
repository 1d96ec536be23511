//! The registers: enables, overflow, the order in which slots and metrics are restored, and the account of accesses.

use super::*;
use crate::host::cell::Burst;

fn counting(selector: u64) -> Pmu {
    let mut pmu = Pmu::new(Shape::SAPPHIRE_RAPIDS);
    pmu.wrmsr(Register::Selector(0), selector);
    pmu.wrmsr(Register::GlobalControl, 1);
    pmu
}

#[test]
fn a_counter_counts_where_selector_ring_and_global_control_agree() {
    let burst = Burst::of_instructions(10);
    let count = |selector, ring, global| {
        let mut pmu = counting(selector);
        pmu.load_global_control(global);
        pmu.retire(ring, &burst);
        pmu.peek(Register::Count(Counter(0)))
    };
    assert_eq!(count(0xc0 | EN | USR, Privilege::User, 1), 10);
    assert_eq!(count(0xc0 | EN | USR, Privilege::Kernel, 1), 0);
    assert_eq!(count(0xc0 | EN | OS, Privilege::Kernel, 1), 10);
    assert_eq!(count(0xc0 | EN | OS | USR, Privilege::User, 0), 0);
    assert_eq!(count(0xc0 | OS | USR, Privilege::User, 1), 0);
    assert_eq!(count(0x01 | EN | OS | USR, Privilege::User, 1), 0, "no such event");
}

#[test]
fn fixed_counters_have_their_own_rings() {
    let mut pmu = Pmu::new(Shape::SAPPHIRE_RAPIDS);
    pmu.wrmsr(Register::FixedControl, 0x0321);
    pmu.wrmsr(Register::GlobalControl, 7 << 32);
    pmu.retire(Privilege::User, &Burst::of_instructions(5));
    pmu.retire(Privilege::Kernel, &Burst::of_instructions(2));
    let counts = [0, 1, 2].map(|n| pmu.peek(Register::Count(Counter::fixed(n))));
    assert_eq!(counts, [2, 5, 7]);
}

#[test]
fn overflow_keeps_the_remainder_and_sets_the_status_bit() {
    let mut pmu = counting(0xc0 | EN | USR | INT);
    pmu.wrmsr(Register::Count(Counter(0)), MASK - 2);
    assert_eq!(pmu.until_interrupt(Privilege::User)[Happening::Retired], 3);
    assert_eq!(pmu.until_interrupt(Privilege::Kernel)[Happening::Retired], u64::MAX);
    assert_eq!(pmu.retire(Privilege::User, &Burst::of_instructions(5)), Counters(1));
    assert_eq!((pmu.peek(Register::Count(Counter(0))), pmu.peek(Register::GlobalStatus)), (2, 1));
    pmu.wrmsr(Register::StatusReset, 1);
    pmu.wrmsr(Register::StatusSet, 1 << 32);
    assert_eq!(pmu.peek(Register::GlobalStatus), 1 << 32);
}

#[test]
fn without_the_interrupt_bit_only_the_status_tells() {
    let mut pmu = counting(0xc0 | EN | USR);
    pmu.wrmsr(Register::Count(Counter(0)), MASK);
    assert_eq!(pmu.retire(Privilege::User, &Burst::of_instructions(1)), Counters::NONE);
    assert_eq!(pmu.peek(Register::GlobalStatus), 1);
}

#[test]
fn slots_then_metrics_restores_and_the_other_order_loses() {
    let mut pmu = Pmu::new(Shape::SAPPHIRE_RAPIDS);
    pmu.wrmsr(Register::FixedControl, 0x3000);
    pmu.wrmsr(Register::GlobalControl, 1 << 35 | METRICS_BIT);
    let burst = Burst::default().with(Happening::Slots, 1000).with(Happening::Retiring, 500);
    let burst = burst.with(Happening::FrontEnd, 250).with(Happening::BackEnd, 250);
    pmu.retire(Privilege::User, &burst);
    let saved = (pmu.peek(Register::Count(Counter::fixed(3))), pmu.peek(Register::Metrics));
    let fields: Vec<u64> = (0..4).map(|n| saved.1 >> (8 * n) & 0xff).collect();
    assert_eq!((saved.0, fields.iter().sum::<u64>()), (1000, 255));
    assert_eq!(fields, [127, 0, 64, 64]);
    let mut good = pmu.clone();
    good.wrmsr(Register::Count(Counter::fixed(3)), saved.0);
    good.wrmsr(Register::Metrics, saved.1);
    assert_eq!(good.peek(Register::Metrics), saved.1);
    pmu.wrmsr(Register::Metrics, saved.1);
    pmu.wrmsr(Register::Count(Counter::fixed(3)), saved.0);
    assert_eq!(pmu.peek(Register::Metrics), 0);
}

#[test]
fn metrics_need_bit_48() {
    let mut pmu = Pmu::new(Shape::SAPPHIRE_RAPIDS);
    pmu.wrmsr(Register::FixedControl, 0x3000);
    pmu.wrmsr(Register::GlobalControl, 1 << 35);
    pmu.retire(Privilege::User, &Burst::of_instructions(9));
    assert_eq!((pmu.peek(Register::Count(Counter::fixed(3))), pmu.peek(Register::Metrics)), (54, 0));
}

#[test]
fn accesses_are_counted_by_kind_and_cost() {
    let mut pmu = counting(0);
    pmu.rdmsr(Register::GlobalStatus);
    pmu.rdpmc(Counter(1));
    pmu.peek(Register::GlobalStatus);
    let traffic = pmu.traffic;
    assert_eq!((traffic.rdmsr, traffic.wrmsr, traffic.rdpmc, traffic.accesses()), (1, 2, 1, 4));
    assert_eq!(traffic.cycles(&AccessCosts::QUOTED), 80 + 2 * 150 + 40);
}

#[test]
fn what_is_not_there_reads_zero_and_stays_so() {
    let mut pmu = Pmu::new(Shape::THREE_FIXED);
    pmu.wrmsr(Register::Count(Counter::fixed(3)), 5);
    pmu.wrmsr(Register::Count(Counter(9)), 5);
    pmu.wrmsr(Register::Metrics, u64::MAX);
    pmu.wrmsr(Register::Selector(9), u64::MAX);
    pmu.wrmsr(Register::GlobalControl, u64::MAX);
    let read = |r| pmu.peek(r);
    assert_eq!(
        [read(Register::Count(Counter::fixed(3))), read(Register::Metrics), read(Register::Selector(9))],
        [0; 3]
    );
    assert_eq!(read(Register::GlobalControl), 0x7_0000_00ff);
}

#[test]
fn in_use_tells_selectors_fixed_fields_and_interrupts() {
    let mut pmu = counting(0xc0);
    assert_eq!(pmu.peek(Register::InUse), 1);
    pmu.wrmsr(Register::FixedControl, 0x0800 | 0x0020);
    assert_eq!(pmu.peek(Register::InUse), 1 | 1 << 33 | 1 << 63);
}
