//! Tests of the MSR table.

use super::*;
use emu_core::Ram;
use std::sync::Arc;

fn cpu() -> Box<Cpu> {
    Cpu::new(Arc::new(Ram::new(1 << 20, &[]).unwrap()), 0)
}

const GP: Result<(), Stop> = Err(Stop::gp(0));

#[test]
fn the_table_is_sorted_and_its_rows_do_not_overlap() {
    assert!(TABLE.windows(2).all(|w| w[0].last < w[1].first));
    assert!(TABLE.iter().all(|r| r.first <= r.last));
    assert!(ELSEWHERE.iter().all(|e| e.0 <= e.1 && find(e.0).is_none() && find(e.1).is_none()));
}

#[test]
fn names_are_known_for_what_is_there_and_what_is_not() {
    assert_eq!(name(0x1b), Some("IA32_APIC_BASE"));
    assert_eq!(name(0x639), Some("MSR_PP0_ENERGY_STATUS"));
    assert_eq!(name(0x1234_5678), None);
}

#[test]
fn an_unknown_register_is_a_general_protection_fault_and_remembered_once() {
    let mut c = cpu();
    assert_eq!(c.read_msr(0x639), Err(Stop::gp(0)));
    assert_eq!(c.write_msr(0x639, 0), GP);
    assert_eq!(c.refused_msrs, [0x639]);
}

#[test]
fn every_register_reads_back_its_own_value_or_refuses() {
    let mut c = cpu();
    for r in TABLE {
        for n in r.first..=r.last {
            if let Ok(v) = c.read_msr(n) {
                let written = c.write_msr(n, v);
                assert!(written.is_err() || c.read_msr(n) == Ok(v), "{n:#x} {}", r.name);
            }
        }
    }
}

#[test]
fn reserved_bits_and_addresses_that_are_not_canonical_are_refused() {
    let mut c = cpu();
    #[rustfmt::skip] // register, value that is legal, value that is not
    let cases = [
        (0x48, 7, 8), (0x49, 1, 2), (0x10b, 1, 3), (0x1a0, 0x4_00c5_0809, 1 << 1), (0x1d9, 0x4000, 1 << 15),
        (0x175, 0xff80_0000_0000_0000, 1 << 56), (0x277, 0x0007_0406_0007_0406, 0x0002), (0x2ff, 0xc06, 0x1000),
        (0x2ff, 0xc00, 2), (0x200, 6, 7), (0x201, 0x800, 0x400), (0x250, 0x0606, 0x0702), (0xc000_0082, 0, 1 << 63),
        (0xc000_0100, 0x7fff_ffff_ffff, 0x0100_0000_0000_0000), (0xc000_0103, 0xffff_ffff, 1 << 32), (0xda0, 0, 1 << 15),
        (0xe1, 0xffff_fffd, 2), (0x401, 0, 1), (0x400, u64::MAX, 0xaaaa), (0x404, u64::MAX - 1, 1), (0x402, u64::MAX, 0), (0x40f, 0xaaaa, 0), (0xc000_0080, 0x901, 2),
    ];
    for (n, legal, not) in cases {
        assert_eq!(c.write_msr(n, legal), Ok(()), "{n:#x}");
        if !matches!(n, 0x402 | 0x40f) {
            assert_eq!(c.write_msr(n, not), GP, "{n:#x}");
        }
    }
    for constant in [0xce, 0xfe, 0x10a, 0x179, 0x34] {
        assert_eq!(c.write_msr(constant, 0), GP);
    }
}

#[test]
fn misc_enable_keeps_its_read_only_bits() {
    let mut c = cpu();
    c.write_msr(0x1a0, 0x4_00c5_0809).unwrap();
    assert_eq!(c.read_msr(0x1a0), Ok(0x4_00c5_1889));
}

#[test]
fn the_tsc_and_its_adjustment_move_together() {
    let mut c = cpu();
    c.settled.clock = 1000;
    assert_eq!(c.tsc(), 1000);
    c.write_msr(0x10, 5000).unwrap();
    assert_eq!((c.tsc(), c.read_msr(0x3b)), (5000, Ok(4000)));
    c.write_msr(0x3b, 0u64.wrapping_sub(500)).unwrap();
    assert_eq!(c.read_msr(0x10), Ok(500));
    c.settled.clock = 1100;
    assert_eq!(c.tsc(), 600);
}

#[test]
fn aperf_and_mperf_count_unhalted_cycles_from_what_was_written() {
    let mut c = cpu();
    c.settled.cycles = 70;
    c.write_msr(0xe7, 5).unwrap();
    c.settled.cycles = 100;
    c.settled.clock = 9000;
    assert_eq!((c.read_msr(0xe7), c.read_msr(0xe8)), (Ok(35), Ok(100)));
}

#[test]
fn aperf_and_mperf_start_again_together_when_one_overflows() {
    let mut c = cpu();
    c.write_msr(0xe8, u64::MAX - 4).unwrap();
    c.write_msr(0xe7, 1000).unwrap();
    c.settled.cycles = 4;
    assert_eq!((c.read_msr(0xe7), c.read_msr(0xe8)), (Ok(1004), Ok(u64::MAX)));
    c.settled.cycles = 8;
    assert_eq!((c.read_msr(0xe7), c.read_msr(0xe8)), (Ok(3), Ok(3)));
}

#[test]
fn mperf_goes_at_the_tsc_s_pace_and_aperf_at_the_core_s_and_neither_while_halted() {
    let mut c = cpu();
    c.offer(Features { core_ratio: 33, ..Features::default() });
    (c.settled.cycles, c.settled.clock) = (3_300_000, 2_200_000);
    assert_eq!((c.read_msr(0xe7), c.read_msr(0xe8)), (Ok(2_200_000), Ok(3_300_000)));
    c.skip_to(1 << 40);
    assert_eq!((c.read_msr(0xe7), c.read_msr(0xe8)), (Ok(2_200_000), Ok(3_300_000)));
    c.power_on();
    assert_eq!((c.read_msr(0xe7), c.read_msr(0xe8)), (Ok(0), Ok(0)));
}

#[test]
fn tsc_adjust_moves_neither_mperf_nor_what_the_tsc_is_ahead_of() {
    let mut c = cpu();
    (c.settled.cycles, c.settled.clock) = (50, 1000);
    c.write_msr(0x10, 0).unwrap();
    assert_eq!((c.read_msr(0x3b), c.read_msr(0xe7)), (Ok(1000u64.wrapping_neg()), Ok(50)));
    c.write_msr(0x3b, 0).unwrap();
    assert_eq!(c.read_msr(0x10), Ok(1000));
}

#[test]
fn x2apic_registers_are_there_in_x2apic_mode_only() {
    let mut c = cpu();
    assert_eq!(c.read_msr(0x802), Err(Stop::gp(0)));
    c.write_msr(0x1b, 0xfee0_0d00).unwrap();
    assert_eq!((c.read_msr(0x802), c.read_msr(0x80d)), (Ok(0), Ok(1)));
    assert_eq!(c.read_msr(0x80e), Err(Stop::gp(0)), "no DFR");
    assert_eq!(c.write_msr(0x80b, 1), GP);
    assert_eq!(c.write_msr(0x80f, 0x1ff), Ok(()));
}

#[test]
fn firmware_leaves_memory_types_as_linux_expects_them() {
    let mut c = cpu();
    c.set_firmware_state(0xc000_0000);
    assert_eq!(c.read_msr(0x2ff), Ok(0xc06));
    assert_eq!((c.read_msr(0x200), c.read_msr(0x201)), (Ok(0xc000_0000), Ok(0x3fff_c000_0800)));
    assert_eq!((c.read_msr(0x258), c.read_msr(0x259)), (Ok(0x0606_0606_0606_0606), Ok(0)));
    assert!(!c.lapic.accepts_extint());
    c.lapic.set_lint0(true);
    assert!(c.lapic.accepts_extint());
}

/// turbostat 6.1 ends when a register that it expects of the model cannot be read (`get_msr`), so all of these are there.
/// Source: Linux 6.1 `tools/power/x86/turbostat/turbostat.c`, the cases of INTEL_FAM6_SAPPHIRERAPIDS_X.
#[test]
fn what_turbostat_reads_of_this_model_is_there() {
    let mut c = cpu();
    let at_start = [0xce, 0xe2, 0x606, 0x614];
    let to_print = [
        0x1a0, 0x1a2, 0x1a4, 0x1aa, 0x1ad, 0x1ae, 0x1fc, 0x601, 0x60a, 0x60b, 0x60c, 0x610, 0x618, 0x61c, 0x648, 0x649,
        0x64a, 0x64b, 0x64c,
    ];
    let each_turn = [0x10, 0x34, 0xe7, 0xe8, 0x3fd, 0x611, 0x613, 0x619, 0x61b];
    for msr in at_start.into_iter().chain(to_print).chain(each_turn) {
        assert!(c.read_msr(msr).is_ok(), "{msr:#x}");
    }
    assert_eq!(c.read_msr(0xe2), Ok(0x8000), "no package C-states: it reads no residencies of them");
    for absent in [0x3f8, 0x3f9, 0x60d, 0x770, 0x774] {
        assert_eq!(c.read_msr(absent), Err(Stop::gp(0)), "{absent:#x}");
    }
}
