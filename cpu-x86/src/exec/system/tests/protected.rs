//! Delivery and return in 32-bit protected mode.
use super::*;
use crate::state::Activity;
use crate::vector;

#[test]
fn a_fault_at_the_same_privilege_pushes_flags_cs_eip_and_the_error_code() {
    let mut cpu = protected();
    cpu.set_flags(0x4301);
    cpu.raise(Exception::with(vector::GP, 0x1234));
    assert_eq!((cpu.rip, cpu.regs[4], cpu.flags()), (0x1_000d, 0x6fe0, 3));
    assert_eq!(slots(&cpu, 0x6fe0, 4, 4), [0x1234, CODE, 8, 0x1_4303]);
    assert_eq!(get(&cpu, GDT + 8 + 5, 1), 0x9b, "accessed");
}

#[test]
fn a_trap_gate_keeps_if_and_a_trap_pushes_rf_as_it_was() {
    let mut cpu = protected();
    put(&cpu, IDT + 3 * 8, 8, gate(CODE0, 0x2222, 0x8f, 0));
    cpu.set_flags(0x300);
    run(&mut cpu, &[0xcc]);
    assert_eq!((cpu.rip, cpu.flags()), (0x2222, 0x202));
    assert_eq!(slots(&cpu, 0x6fe4, 4, 3), [CODE + 1, 8, 0x302]);
}

#[test]
fn a_fault_from_user_code_switches_to_the_stack_of_the_tss() {
    let mut cpu = protected3();
    cpu.set_flags(0x202);
    cpu.raise(Exception::page(0xdead_b000, 6));
    assert_eq!((cpu.rip, cpu.cpl, cpu.regs[4], cpu.cr2), (0x1_000e, 0, 0x7000 - 24, 0xdead_b000));
    assert_eq!((selector(&cpu, Seg::Cs), selector(&cpu, Seg::Ss)), (CODE0, DATA0));
    assert_eq!(slots(&cpu, 0x7000 - 24, 4, 6), [6, CODE, 0x1b, 0x1_0202, 0x6000, 0x23]);
    cpu.regs[4] += 4;
    run(&mut cpu, &[0xcf]);
    assert_eq!((cpu.rip, cpu.cpl, cpu.regs[4], cpu.flags()), (CODE, 3, 0x6000, 0x1_0202));
    assert_eq!((selector(&cpu, Seg::Cs), selector(&cpu, Seg::Ss)), (CODE3, DATA3));
}

#[test]
fn a_16_bit_gate_pushes_words_and_cuts_its_offset() {
    let mut cpu = protected3();
    put(&cpu, IDT + 6 * 8, 8, gate(CODE0, 0xffff_4567, 0x86, 0));
    cpu.raise(Exception::plain(vector::UD));
    assert_eq!((cpu.rip, cpu.regs[4]), (0x4567, 0x7000 - 10));
    assert_eq!(slots(&cpu, 0x7000 - 10, 2, 5), [CODE, 0x1b, 2, 0x6000, 0x23]);
}

#[test]
fn a_16_bit_tss_gives_words() {
    let mut cpu = protected3();
    cpu.tr.attr = 0x83;
    put(&cpu, TSS + 2, 2, 0x5800);
    put(&cpu, TSS + 4, 2, u64::from(DATA0));
    cpu.raise(Exception::plain(vector::UD));
    assert_eq!(cpu.regs[4], 0x5800 - 20);
}

#[test]
fn software_interrupts_need_the_gates_dpl_and_name_it_without_ext() {
    let mut cpu = protected3();
    assert_eq!(step(&mut cpu, &[0xcd, 0x80]), gp(0x402));
    put(&cpu, IDT + 0x80 * 8, 8, gate(CODE0, 0x9000, 0x6e | 0x80, 0));
    assert_eq!(step(&mut cpu, &[0xcd, 0x80]), Ok(()));
    assert_eq!((cpu.rip, cpu.cpl), (0x9000, 0));
    assert_eq!(slots(&cpu, 0x7000 - 20, 4, 5), [CODE + 2, 0x1b, 2, 0x6000, 0x23]);
}

#[test]
fn gate_faults_carry_the_right_codes() {
    let mut cpu = protected();
    let int = [0xcd, 0x40];
    put(&cpu, IDT + 0x40 * 8, 8, gate(CODE0, 0, 0x0e, 0));
    assert_eq!(step(&mut cpu, &int), np(0x202));
    put(&cpu, IDT + 0x40 * 8, 8, gate(CODE0, 0, 0x8c, 0));
    assert_eq!(step(&mut cpu, &int), gp(0x202));
    put(&cpu, IDT + 0x40 * 8, 8, gate(2, 0, 0x8e, 0));
    assert_eq!(step(&mut cpu, &int), gp(0));
    put(&cpu, IDT + 0x40 * 8, 8, gate(0x200, 0, 0x8e, 0));
    assert_eq!(step(&mut cpu, &int), gp(0x200));
    put(&cpu, IDT + 0x40 * 8, 8, gate(DATA0, 0, 0x8e, 0));
    assert_eq!(step(&mut cpu, &int), gp(0x10));
    put(&cpu, IDT + 0x40 * 8, 8, gate(CODE3, 0, 0x8e, 0));
    assert_eq!(step(&mut cpu, &int), gp(0x18));
    cpu.idtr.limit = 0x40 * 8 + 6;
    assert_eq!(step(&mut cpu, &int), gp(0x202));
    assert_eq!(cpu.regs[4], 0x6ff0, "nothing was pushed");
}

#[test]
fn inner_stack_faults_are_ts_and_ss_with_the_new_selector() {
    let int = [0xcd, 0x80];
    let fresh = || {
        let cpu = protected3();
        put(&cpu, IDT + 0x80 * 8, 8, gate(CODE0, 0x9000, 0xee, 0));
        cpu
    };
    for (new_ss, fault) in [(0, ts(0)), (0x11, ts(0x10)), (0x20, ts(0x20)), (0x80, ts(0x80)), (0x78, ss(0x78))] {
        let mut cpu = fresh();
        put(&cpu, TSS + 8, 2, new_ss);
        assert_eq!(step(&mut cpu, &int), fault, "{new_ss:#x}");
    }
    let mut cpu = fresh();
    put(&cpu, GDT + 0x10, 8, descriptor(0, 0xfffff, 0x12, 0xc));
    assert_eq!(step(&mut cpu, &int), ss(0x10));
    let mut cpu = fresh();
    put(&cpu, TSS + 8, 2, u64::from(SMALL));
    put(&cpu, TSS + 4, 4, 0x10);
    assert_eq!(step(&mut cpu, &int), ss(0x48));
    let mut cpu = fresh();
    cpu.tr.limit = 8;
    assert_eq!(step(&mut cpu, &int), ts(0x28));
    assert_eq!((cpu.cpl, cpu.regs[4]), (3, 0x6000));
}

#[test]
fn a_handlers_fault_has_ext_set_and_contributory_pairs_double_fault() {
    let mut cpu = protected();
    put(&cpu, IDT + 6 * 8, 8, 0);
    cpu.raise(Exception::plain(vector::UD));
    assert_eq!((cpu.rip, get(&cpu, cpu.regs[4], 4)), (0x1_000d, 6 * 8 + 3), "#UD is benign: #GP follows");
    let mut cpu = protected();
    put(&cpu, IDT + 13 * 8, 8, gate(CODE0, 0, 0x0e, 0));
    cpu.raise(Exception::with(vector::GP, 0x18));
    assert_eq!((cpu.rip, slots(&cpu, cpu.regs[4], 4, 4)), (0x1_0008, vec![0, CODE, 8, 0x1_0002]));
    let mut cpu = protected();
    put(&cpu, IDT + 14 * 8, 8, gate(CODE0, 0, 0x0e, 0));
    cpu.raise(Exception::page(0x4444, 0));
    assert_eq!((cpu.rip, cpu.cr2), (0x1_0008, 0x4444));
    let mut cpu = protected();
    put(&cpu, IDT + 13 * 8, 8, gate(CODE0, 0, 0x0e, 0));
    put(&cpu, IDT + 8 * 8, 8, gate(CODE0, 0, 0x0e, 0));
    cpu.raise(Exception::with(vector::GP, 0x18));
    assert_eq!((cpu.activity, cpu.rip, cpu.regs[4]), (Activity::Shutdown, CODE, 0x6ff0));
}

#[test]
fn a_shut_down_processor_heeds_only_nmi_and_init() {
    let mut cpu = protected();
    cpu.activity = Activity::Shutdown;
    cpu.set_flags(0x200);
    cpu.set_intr(true);
    assert!(!cpu.service());
    cpu.raise_nmi();
    assert!(cpu.service());
    assert_eq!((cpu.activity, cpu.rip), (Activity::Active, 0x1_0002));
}

#[test]
fn an_external_interrupt_waits_for_if_and_for_one_instruction_after_sti() {
    let mut cpu = protected();
    cpu.set_intr(true);
    assert!(!cpu.service());
    run(&mut cpu, &[0xfb]);
    assert!(!cpu.service());
    assert!(cpu.stepwise());
    run(&mut cpu, &[0x06]);
    cpu.after_step(false, false);
    assert!(cpu.service());
    assert_eq!((cpu.rip, cpu.flags()), (0x1_00ff, 2));
    assert_eq!(slots(&cpu, cpu.regs[4], 4, 3), [CODE + 2, 8, 0x202]);
    assert!(!cpu.service(), "IF is clear in the handler");
}

#[test]
fn sti_when_interrupts_are_already_enabled_casts_no_shadow() {
    let mut cpu = protected();
    cpu.set_flags(0x200);
    cpu.set_intr(true);
    run(&mut cpu, &[0xfb]);
    assert!(cpu.service());
}

#[test]
fn mov_ss_holds_off_nmi_and_sti_does_not() {
    let mut cpu = protected();
    cpu.raise_nmi();
    cpu.regs[0] = u64::from(DATA0);
    run(&mut cpu, &[0x8e, 0xd0]);
    assert!(!cpu.service());
    run(&mut cpu, &[0x06]);
    assert!(cpu.service());
    assert_eq!(cpu.rip, 0x1_0002);
    cpu.raise_nmi();
    assert!(!cpu.service(), "blocked until IRET");
    run(&mut cpu, &[0xcf]);
    assert_eq!(cpu.rip, CODE + 3);
    assert!(cpu.service());
}

#[test]
fn an_interrupt_ends_a_halt_even_in_the_shadow_of_sti() {
    let mut cpu = protected();
    run(&mut cpu, &[0xfb]);
    cpu.activity = Activity::Halted;
    assert!(!cpu.service());
    cpu.set_intr(true);
    assert!(cpu.service());
    assert_eq!((cpu.activity, cpu.rip), (Activity::Active, 0x1_00ff));
}

#[test]
fn iret_refuses_inner_privilege_and_bad_stacks() {
    let frame = |cpu: &mut Cpu, v: [u64; 5]| {
        cpu.regs[4] = 0x6f00;
        v.iter().zip(0..).for_each(|(&v, n)| put(cpu, 0x6f00 + 4 * n, 4, v));
    };
    let mut cpu = protected3();
    frame(&mut cpu, [0x9000, 8, 2, 0, 0]);
    assert_eq!(step(&mut cpu, &[0xcf]), gp(8));
    let mut cpu = protected();
    let cases = [
        ([0x9000, 0, 2, 0, 0], gp(0)),
        ([0x9000, 0x10, 2, 0, 0], gp(0x10)),
        ([0x9000, 0x1b, 2, 0x6000, 0], gp(0)),
        ([0x9000, 0x1b, 2, 0x6000, 0x20], gp(0x20)),
        ([0x9000, 0x1b, 2, 0x6000, 0x13], gp(0x10)),
        ([0x9000, 0x19, 2, 0x6000, 0x23], gp(0x18)),
    ];
    for (v, fault) in cases {
        frame(&mut cpu, v);
        assert_eq!(step(&mut cpu, &[0xcf]), fault, "{v:x?}");
        assert_eq!((cpu.regs[4], cpu.cpl, cpu.flags()), (0x6f00, 0, 2));
    }
}

#[test]
fn iret_outward_drops_segments_that_user_code_may_not_use() {
    let mut cpu = protected();
    cpu.set_segment(Seg::Fs, Segment { selector: DATA3, ..*cpu.segment(Seg::Ds) });
    cpu.load_segment(Seg::Fs, DATA3).unwrap();
    for (v, n) in [0x9000, 0x1b, 0x3002, 0x6000, 0x23].into_iter().zip(0..) {
        put(&cpu, 0x6ff0 + 4 * n, 4, v);
    }
    run(&mut cpu, &[0xcf]);
    assert_eq!((cpu.cpl, selector(&cpu, Seg::Ds), selector(&cpu, Seg::Fs)), (3, 0, DATA3));
    assert_eq!(cpu.segment(Seg::Ds).attr & Segment::UNUSABLE, Segment::UNUSABLE);
}

#[test]
fn user_iret_changes_neither_iopl_nor_if() {
    let mut cpu = protected3();
    cpu.set_flags(0x202);
    for (v, n) in [0x9000, 0x1b, 0x24_3dd5].into_iter().zip(0..) {
        put(&cpu, 0x6000 + 4 * n, 4, v);
    }
    run(&mut cpu, &[0xcf]);
    assert_eq!((cpu.flags(), cpu.regs[4]), (0x24_0fd7, 0x600c));
}
