//! Tests of the local APIC.

use super::*;

fn ready(id: u32) -> Lapic {
    let mut a = Lapic::new(id);
    a.write_page(0xf0, 0x1ff, 0);
    a
}

#[test]
fn the_timer_fires_88_tsc_ticks_a_crystal_tick_after_the_start() {
    let mut a = ready(0);
    a.write_page(0x3e0, 0xb, 0);
    a.write_page(0x320, 0x20, 0);
    a.write_page(0x380, 1000, 5);
    assert_eq!(a.next_timer(), Some(5 + 88_000));
    assert_eq!(a.read_page(0x390, 5 + 87), 1000);
    assert_eq!(a.read_page(0x390, 5 + 88), 999);
    a.advance(5 + 87_999);
    assert_eq!(a.pending(), None);
    a.advance(5 + 88_000);
    assert_eq!(a.pending(), Some(0x20));
    assert_eq!((a.next_timer(), a.read_page(0x390, 100_000)), (None, 0));
}

#[test]
fn every_divisor_is_what_the_manual_says() {
    for (code, by) in [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)] {
        let mut a = ready(0);
        a.write_page(0x320, 0x20, 0);
        a.write_page(0x3e0, code, 0);
        a.write_page(0x380, 3, 0);
        assert_eq!(a.next_timer(), Some(3 * by * 88), "divide configuration {code}");
    }
}

#[test]
fn a_periodic_timer_keeps_its_phase_over_missed_periods() {
    let mut a = ready(0);
    a.write_page(0x3e0, 0xb, 0);
    a.write_page(0x320, 0x2_0030, 0);
    a.write_page(0x380, 10, 100);
    a.advance(100 + 880 * 3 + 17);
    assert_eq!(a.next_timer(), Some(100 + 880 * 4));
    assert_eq!(a.pending(), Some(0x30));
}

#[test]
fn the_deadline_timer_compares_the_adjusted_tsc_and_disarms() {
    let mut a = ready(0);
    a.write_page(0x320, 0x4_0040, 0);
    a.set_tsc_offset(1000);
    a.set_deadline(5000, 0);
    assert_eq!(a.next_timer(), Some(4000));
    a.set_tsc_offset(1000u64.wrapping_neg());
    assert_eq!(a.next_timer(), Some(6000));
    a.advance(6000);
    assert_eq!((a.deadline(6000), a.pending()), (0, Some(0x40)));
    a.set_deadline(1, 6000);
    assert_eq!(a.next_timer(), Some(1001));
    a.write_page(0x320, 0x40, 6001);
    assert_eq!(a.next_timer(), None);
}

#[test]
fn a_deadline_before_a_positive_offset_is_due_at_once() {
    let mut a = ready(0);
    a.write_page(0x320, 0x4_0040, 0);
    a.set_tsc_offset(1_000_000);
    a.set_deadline(5, 0);
    assert_eq!(a.next_timer(), Some(0));
}

#[test]
fn priorities_hold_back_what_is_not_higher_than_the_class_in_service() {
    let mut a = ready(0);
    a.accept(0x31, false);
    a.accept(0x42, false);
    assert_eq!(a.acknowledge(), 0x42);
    assert_eq!((a.ppr(), a.pending()), (0x40, None));
    a.accept(0x4f, false);
    assert_eq!(a.pending(), None);
    a.accept(0x50, false);
    assert_eq!(a.acknowledge(), 0x50);
    assert_eq!(a.write_page(0xb0, 0, 0), None);
    assert_eq!(a.pending(), None);
    a.write_page(0xb0, 0, 0);
    assert_eq!(a.acknowledge(), 0x4f);
    a.write_page(0xb0, 0, 0);
    a.set_tsc_offset(0);
    a.set_tpr(0x30);
    assert_eq!(a.pending(), None);
    a.set_tpr(0x2f);
    assert_eq!(a.acknowledge(), 0x31);
    assert_eq!(a.acknowledge(), 0xff, "nothing left: the spurious vector");
}

#[test]
fn only_level_interrupts_report_their_end() {
    let mut a = ready(0);
    a.accept(0x60, true);
    assert_eq!(a.read_page(0x1b0, 0), 1);
    a.acknowledge();
    assert_eq!(a.write_page(0xb0, 0, 0), Some(Signal::EndOfInterrupt(0x60)));
    a.accept(0x60, false);
    a.acknowledge();
    assert_eq!(a.write_page(0xb0, 0, 0), None);
}

#[test]
fn logical_destinations_match_flat_cluster_and_x2apic() {
    let mut a = ready(5);
    a.write_page(0xd0, 0x0200_0000, 0);
    assert!(a.matches(0x02, true) && a.matches(0xff, true) && !a.matches(0x04, true));
    a.write_page(0xe0, 0x0fff_ffff, 0);
    a.write_page(0xd0, 0x2100_0000, 0);
    assert!(a.matches(0x21, true) && a.matches(0xf1, true) && !a.matches(0x31, true) && !a.matches(0x22, true));
    assert!(a.matches(5, false) && a.matches(0xff, false) && !a.matches(4, false));
    a.set_base(DEFAULT_BASE | MODE_X2APIC).unwrap();
    assert_eq!(a.read(reg::LDR, 0), Ok(1 << 5));
    assert!(a.matches(0x20, true) && !a.matches(0x1_0020, true) && a.matches(u32::MAX, true));
}

#[test]
fn base_transitions_are_those_of_the_manual() {
    let (off, x, x2) = (DEFAULT_BASE, DEFAULT_BASE | ENABLED, DEFAULT_BASE | MODE_X2APIC);
    let mut a = Lapic::new(1);
    assert_eq!(a.base(), x);
    assert_eq!(a.set_base(DEFAULT_BASE | EXTD), Err(Refused));
    assert_eq!(a.set_base(x2), Ok(()));
    assert_eq!(a.set_base(x), Err(Refused));
    assert_eq!(a.set_base(off), Ok(()));
    assert_eq!(a.set_base(x2), Err(Refused));
    assert_eq!(a.set_base(x), Ok(()));
    assert_eq!(a.set_base(x | 1), Err(Refused));
    assert_eq!(a.page(), Some(0xfee0_0000));
}

#[test]
fn icr_in_both_forms_sends_the_same_message() {
    let mut a = ready(0);
    a.write_page(0x310, 3 << 24, 0);
    let Some(Signal::Ipi(icr)) = a.write_page(0x300, 0x0000_4500, 0) else { panic!("no IPI") };
    let m = Message::from_icr(icr).unwrap();
    assert_eq!((m.destination, m.mode, m.logical), (3, Delivery::Init, false));
    assert_eq!(Message::from_icr(3 << 32 | 0x8500), None, "INIT de-assert");
    let sipi = Message::from_icr(u64::from(3u32) << 32 | 0x4608).unwrap();
    assert_eq!((sipi.mode, sipi.vector), (Delivery::StartUp, 8));
    assert!(!a.is_target(&sipi, 0) && ready(3).is_target(&sipi, 0));
    let others = Message::from_icr(0xc_40f1).unwrap();
    assert!(!a.is_target(&others, 0) && ready(3).is_target(&others, 0));
    a.set_base(DEFAULT_BASE | MODE_X2APIC | BSP).unwrap();
    assert_eq!(a.write(reg::ICR, 3 << 32 | 0x4500, 0), Ok(Some(Signal::Ipi(3 << 32 | 0x4500))));
    assert_eq!(a.write(reg::ICR, 1 << 20, 0), Err(Refused));
    assert_eq!(a.write(reg::SELF_IPI, 0x55, 0), Ok(Some(Signal::Ipi(0x4_0055))));
}

#[test]
fn a_pmi_masks_its_entry_and_is_dropped_while_masked() {
    let mut a = ready(0);
    a.write_page(0x340, 0x400, 0);
    a.performance_interrupt();
    assert!(std::mem::take(&mut a.signals.nmi));
    assert_eq!(a.read_page(0x340, 0), 0x1_0400);
    a.performance_interrupt();
    assert!(!a.signals.nmi);
    a.write_page(0x340, 0x20, 0);
    a.performance_interrupt();
    assert_eq!((a.pending(), a.read_page(0x340, 0)), (Some(0x20), 0x1_0020));
}

#[test]
fn vectors_below_16_are_errors_on_both_ends() {
    let mut a = ready(0);
    a.write_page(0x370, 0xfe, 0);
    assert_eq!(a.write_page(0x300, 0x4005, 0), None);
    assert_eq!(a.pending(), Some(0xfe));
    a.accept(3, false);
    a.read_page(0x3f0, 0);
    a.write_page(0x280, 0, 0);
    assert_eq!(a.read_page(0x280, 0), 0xe0);
    a.write_page(0x280, 0, 0);
    assert_eq!(a.read_page(0x280, 0), 0);
}

#[test]
fn software_disable_masks_the_table_and_refuses_interrupts() {
    let mut a = ready(0);
    a.write_page(0x350, 0x700, 0);
    a.set_lint0(true);
    assert!(a.accepts_extint());
    a.write_page(0xf0, 0xff, 0);
    assert_eq!(a.read_page(0x350, 0), 0x1_0700);
    assert!(!a.accepts_extint());
    a.accept(0x40, false);
    assert_eq!(a.pending(), None);
    a.write_page(0x350, 0x700, 0);
    assert_eq!(a.read_page(0x350, 0), 0x1_0700);
    a.set_base(DEFAULT_BASE).unwrap();
    assert!(a.accepts_extint(), "without an APIC the pin is INTR itself");
}

#[test]
fn x2apic_registers_refuse_what_the_manual_says() {
    let mut a = ready(2);
    a.set_base(DEFAULT_BASE | MODE_X2APIC).unwrap();
    #[rustfmt::skip] // register, is it readable, a value it takes, a value it refuses
    let cases = [
        (0x02, true, None, 0), (0x03, true, None, 0), (0x08, true, Some(0xff), 0x100), (0x0a, true, None, 0),
        (0x0b, false, Some(0), 1), (0x0d, true, None, 0), (0x0e, false, None, 0), (0x0f, true, Some(0x1ff), 0x1000),
        (0x10, true, None, 0), (0x18, true, None, 0), (0x27, true, None, 0), (0x28, true, Some(0), 1),
        (0x2f, true, Some(0x1_00f2), 1 << 17), (0x30, true, Some(0x4_40f1), 1 << 13), (0x31, false, None, 0),
        (0x32, true, Some(0x4_00ef), 1 << 19), (0x35, true, Some(0x1_a7f0), 1 << 11), (0x37, true, Some(0xfe), 0x100),
        (0x38, true, Some(0xffff_ffff), 1 << 32), (0x39, true, None, 0), (0x3e, true, Some(0xb), 4),
        (0x3f, false, Some(0xff), 0x100), (0x04, false, None, 0), (0x2e, false, None, 0), (0x40, false, None, 0),
    ];
    for (n, readable, legal, illegal) in cases {
        assert_eq!(a.read(n, 0).is_ok(), readable, "{n:#x}");
        if let Some(v) = legal {
            assert!(a.write(n, v, 0).is_ok(), "{n:#x} := {v:#x}");
        }
        assert_eq!(a.write(n, illegal, 0), Err(Refused), "{n:#x} := {illegal:#x}");
    }
}

#[test]
fn who_hears_a_broadcast_depends_on_the_mode() {
    let mut a = ready(2);
    let all = Message { destination: 0xff, logical: false, shorthand: Shorthand::None, ..message() };
    assert!(a.is_target(&all, 0));
    a.set_base(DEFAULT_BASE | MODE_X2APIC).unwrap();
    assert!(!a.is_target(&all, 0), "FFh is a number");
    assert!(a.is_target(&Message { destination: u32::MAX, ..all }, 0));
    let msi = Message::from_msi(0xfeef_f000, 0x41).unwrap();
    assert!(a.is_target(&msi, 0), "a device's FFh is everybody");
    a.set_base(DEFAULT_BASE).unwrap();
    for shorthand in [Shorthand::None, Shorthand::All, Shorthand::Others] {
        assert!(!a.is_target(&Message { destination: u32::MAX, shorthand, ..all }, 0), "disabled");
    }
}

fn message() -> Message {
    Message::from_icr(0x41).unwrap()
}

#[test]
fn the_error_status_shows_what_was_found_before_its_last_write() {
    let mut a = ready(0);
    a.read_page(0x040, 0);
    assert_eq!(a.read_page(0x280, 0), 0, "not written yet");
    a.write_page(0x280, 0, 0);
    assert_eq!((a.read_page(0x280, 0), a.read_page(0x280, 0)), (0x80, 0x80));
    assert_eq!(a.write_page(0x300, 0x4_000f, 0), None);
    a.write_page(0x280, 0, 0);
    assert_eq!(a.read_page(0x280, 0), 0x20, "send illegal vector");
}

#[test]
fn the_timer_keeps_its_count_when_its_mode_changes_between_one_shot_and_periodic() {
    let mut a = ready(0);
    a.write_page(0x3e0, 0xb, 0);
    a.write_page(0x320, 0x1_00ef, 0);
    a.write_page(0x380, 100, 0);
    let at = |crystal: u64| crystal * TICKS_PER_CRYSTAL;
    a.write_page(0x320, 0x3_00ef, at(60));
    assert_eq!(a.read_page(0x390, at(60)), 40);
    assert_eq!(a.read_page(0x390, at(120)), 80, "round once");
    a.write_page(0x320, 0x1_00ef, at(150));
    assert_eq!((a.read_page(0x390, at(150)), a.read_page(0x390, at(250))), (50, 0));
    a.write_page(0x320, 0x3_00ef, at(300));
    assert_eq!((a.read_page(0x390, at(400)), a.read_page(0x380, at(400))), (0, 100), "it stays at zero");
    a.write_page(0x320, 0x4_00ef, at(400));
    a.write_page(0x380, 7, at(400));
    assert_eq!(a.read_page(0x390, at(400)), 0, "no count in deadline mode");
}
