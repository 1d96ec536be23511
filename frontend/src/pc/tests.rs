//! The board and the run loop, driven by programs of a few instructions.

use super::board::Board;
use super::*;
use crate::load::Kind;
use emu_core::{Ram, Request, Space, Time};
use std::sync::Arc;

const MIB: u64 = 1 << 20;

fn board() -> Board {
    Board::new(Arc::new(Ram::new(MIB, &[]).unwrap()), Chips::new(1, MIB)).unwrap()
}

fn setup(image: &[u8]) -> Setup<'_> {
    Setup {
        ram_bytes: 16 * MIB,
        processors: 1,
        quantum: 1000,
        image,
        initrd: None,
        append: "",
        unpack: true,
        kind: None,
        core_mhz: super::TSC_MHZ,
        limits: Limits { instructions: 1_000_000, time: Time::NEVER },
        reboot: true,
        triple_fault_resets: false,
    }
}

fn rom(code: &[u8]) -> Vec<u8> {
    let mut rom = code.to_vec();
    rom.resize(16, 0x90);
    rom
}

/// A flat multiboot image loaded at 10000h, entered at 10060h: real-mode code for another processor comes first.
fn multiboot(other: &[u8], code: &[u8]) -> Vec<u8> {
    let mut image = other.to_vec();
    image.resize(0x20, 0x90);
    let flags = 1u32 << 16;
    for v in [0x1bad_b002, flags, 0u32.wrapping_sub(0x1bad_b002 + flags), 0x1_0020, 0x1_0000, 0, 0, 0x1_0060] {
        image.extend(v.to_le_bytes());
    }
    image.resize(0x60, 0x90);
    image.extend_from_slice(code);
    image
}

/// MOV DWORD [FEE00300h], value: writes the interrupt command register.
fn icr(value: u32) -> Vec<u8> {
    [&[0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe][..], &value.to_le_bytes()].concat()
}

const INIT_OTHERS: u32 = 0xc_4500;
const START_UP_10: u32 = 0xc_4610;

#[test]
fn an_access_across_the_end_of_a_region_is_made_of_bytes() {
    let mut board = board();
    board.write(Space::Port, 0x3ff, 1, 0x5a, Time::ZERO);
    assert_eq!(board.read(Space::Port, 0x3ff, 2, Time::ZERO), 0xff5a);
    assert_eq!(board.read(Space::Port, 0x4444, 4, Time::ZERO), 0xffff_ffff);
    assert_eq!(board.read(Space::Memory, 0x1234_5678_9abc, 8, Time::ZERO), u64::MAX);
    assert_eq!(board.read(Space::Port, 0xffff, 4, Time::ZERO), 0xffff_ffff);
}

#[test]
fn serial_output_waits_on_the_board_and_wants_no_attention() {
    let mut board = board();
    board.write(Space::Port, 0x3f8, 1, u64::from(b'A'), Time::ZERO);
    assert_eq!(board.output, b"A");
    assert!(!board.wants_attention() || board.next_alarm() < Time::NEVER);
}

#[test]
fn a_test_device_asks_for_the_end_and_the_first_request_stands() {
    let mut board = board();
    board.write(Space::Port, 0xf4, 1, 3, Time::ZERO);
    board.write(Space::Port, 0xf4, 1, 4, Time::ZERO);
    assert!(board.wants_attention());
    assert_eq!(board.mail.request, Some(Request::Exit(7)));
}

#[test]
fn an_alarm_that_comes_before_the_horizon_wants_attention() {
    let mut board = board();
    board.horizon = board.next_alarm().min(Time::s(1));
    assert!(!board.wants_attention());
    // PIT channel 0, mode 0, count 1000: 838 us from now.
    for (port, value) in [(0x43, 0x30), (0x40, 0xe8), (0x40, 0x03)] {
        board.write(Space::Port, port, 1, value, Time::ZERO);
    }
    assert!(board.wants_attention());
    assert!(board.next_alarm() > Time::us(837) && board.next_alarm() < Time::us(841), "{}", board.next_alarm());
    board.ring(Time::ms(1));
    assert!(board.next_alarm() > Time::ms(1));
}

#[test]
fn a_limit_of_guest_time_ends_at_its_tick() {
    let image = rom(&[0xeb, 0xfe]);
    let limits = Limits { time: Time::us(10), ..Limits::NONE };
    let mut machine = Machine::build(&Setup { limits, kind: Some(Kind::Rom), ..setup(&image) }).unwrap();
    assert!(matches!(machine.run(&mut Quiet::default()), End::Time));
    let counts = machine.counts()[0];
    assert_eq!((counts.clock, counts.kernel.instructions, counts.user.instructions), (22_000, 22_000, 0));
}

#[test]
fn a_reset_starts_again_and_the_counts_go_on() {
    let image = rom(&[0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe]);
    let limits = Limits { instructions: 21, ..Limits::NONE };
    let mut machine = Machine::build(&Setup { limits, kind: Some(Kind::Rom), ..setup(&image) }).unwrap();
    assert!(matches!(machine.run(&mut Quiet::default()), End::Instructions));
    assert_eq!(machine.counts()[0].kernel.instructions, 21);
    // MOV and OUT, again and again: the 21st instruction is a MOV.
    assert_eq!(machine.processors().next().unwrap().rip, 0xfff2);
}

#[test]
fn another_processor_starts_by_init_and_start_up() {
    // The other one: MOV AL, 7; OUT F4h, AL; JMP $.
    let other = [0xb0, 7, 0xe6, 0xf4, 0xeb, 0xfe];
    let code = [icr(INIT_OTHERS), icr(START_UP_10), vec![0xeb, 0xfe]].concat();
    let image = multiboot(&other, &code);
    for processors in [2, 3] {
        let mut machine = Machine::build(&Setup { processors, ..setup(&image) }).unwrap();
        assert!(matches!(machine.run(&mut Quiet::default()), End::Exit(15)));
        let counts = machine.counts();
        assert_eq!(counts[1].kernel.instructions, 2);
        // The sender's turn ended with each message, so that the other one had started before the last window.
        assert_eq!(counts[0].kernel.instructions, 1002);
    }
}

#[test]
fn a_processor_that_waits_for_its_start_counts_nothing_and_keeps_time() {
    let image = multiboot(&[], &[0xeb, 0xfe]);
    let mut machine = Machine::build(&Setup { processors: 2, ..setup(&image) }).unwrap();
    assert!(matches!(machine.run(&mut Quiet::default()), End::Instructions));
    let counts = machine.counts();
    assert_eq!(counts[1].kernel.instructions, 0);
    assert_eq!(counts[0].kernel.instructions, 1_000_000);
    assert!(counts[0].clock.abs_diff(counts[1].clock) <= 1000);
}

#[test]
fn everybody_halted_with_interrupts_off_is_the_end() {
    let image = multiboot(&[], &[0xfa, 0xf4, 0xeb, 0xfd]);
    for processors in [1, 2] {
        let mut machine = Machine::build(&Setup { processors, ..setup(&image) }).unwrap();
        assert!(matches!(machine.run(&mut Quiet::default()), End::Halted));
        assert_eq!(machine.counts()[0].kernel.instructions, 2);
    }
}

#[test]
fn halted_time_skips_to_the_alarm_and_counts_no_cycles() {
    // PIT mode 0 count FFFFh, unmask IRQ 0 with vector 20h, STI, HLT: the interrupt comes 54.9 ms later and the
    // missing IDT makes a triple fault.
    let out = |port: u8, value: u8| vec![0xb0, value, 0xe6, port];
    let program = [
        out(0x43, 0x30),
        out(0x40, 0xff),
        out(0x40, 0xff),
        out(0x20, 0x11),
        out(0x21, 0x20),
        out(0x21, 4),
        out(0x21, 1),
        out(0x21, 0xfe),
        vec![0xfb, 0xf4, 0xeb, 0xfd],
    ];
    let image = multiboot(&[], &program.concat());
    let mut machine = Machine::build(&setup(&image)).unwrap();
    let end = machine.run(&mut Quiet::default());
    assert!(matches!(end, End::TripleFault { processor: 0 }), "{end:?}");
    let counts = machine.counts()[0];
    assert_eq!((counts.kernel.instructions, counts.cycles), (18, 18));
    let at = time(counts.clock);
    assert!(at > Time::us(54_920) && at < Time::us(54_930), "{at}");
}

#[test]
fn registers_of_the_pmu_written_before_the_start_count_from_the_first_instruction_and_after_a_reset_again() {
    // MOV AL, FEh; OUT 64h, AL resets; again and again.
    let image = rom(&[0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe]);
    for (instructions, since_reset) in [(1, 1), (2, 0), (21, 1)] {
        let limits = Limits { instructions, ..Limits::NONE };
        let mut machine = Machine::build(&Setup { limits, kind: Some(Kind::Rom), ..setup(&image) }).unwrap();
        assert_eq!(machine.write_registers(&[(0x186, 1 << 40)]), Err(0x186), "reserved bits");
        assert_eq!(machine.write_registers(&[(0x1b, 0)]), Err(0x1b), "not the PMU's");
        machine.write_registers(&[(0x186, 0x43_00c0), (0x38f, 1)]).unwrap();
        machine.run(&mut Quiet::default());
        let view = machine.views(0)[0];
        assert_eq!((view.counting, view.value), (true, since_reset), "after {instructions} instructions");
    }
}
