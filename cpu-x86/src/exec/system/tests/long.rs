//! Delivery, IRETQ, SYSCALL and their kin in 64-bit mode.
use super::*;
use crate::state::Activity;
use crate::vector;

#[test]
fn a_user_fault_pushes_six_quadwords_on_rsp0_and_nulls_ss() {
    let mut cpu = long3();
    cpu.set_flags(0x202);
    cpu.raise(Exception::page(0xffff_8000_0000_1000, 7));
    assert_eq!((cpu.rip, cpu.cpl, cpu.regs[4], cpu.cr2), (0x1_000e, 0, 0x7000 - 48, 0xffff_8000_0000_1000));
    assert_eq!(slots(&cpu, 0x7000 - 48, 8, 6), [7, CODE, 0x73, 0x1_0202, 0x6008, 0x23]);
    assert_eq!((selector(&cpu, Seg::Cs), selector(&cpu, Seg::Ss)), (CODE64, 0));
    assert_ne!(cpu.segment(Seg::Ss).attr & Segment::UNUSABLE, 0);
    cpu.regs[4] += 8;
    run(&mut cpu, &[0x48, 0xcf]);
    assert_eq!((cpu.rip, cpu.cpl, cpu.regs[4], cpu.flags()), (CODE, 3, 0x6008, 0x1_0202));
    assert_eq!((selector(&cpu, Seg::Cs), selector(&cpu, Seg::Ss)), (CODE64_3, DATA3));
}

#[test]
fn a_kernel_interrupt_aligns_the_stack_to_sixteen_and_keeps_ss() {
    let mut cpu = long();
    cpu.set_flags(0x202);
    cpu.set_intr(true);
    assert!(cpu.service());
    assert_eq!((cpu.rip, cpu.regs[4]), (0x1_00ff, 0x6ff0 - 40));
    assert_eq!(slots(&cpu, 0x6ff0 - 40, 8, 5), [CODE, 0x68, 0x202, 0x6ff8, 0x10]);
    assert_eq!(selector(&cpu, Seg::Ss), DATA0);
    run(&mut cpu, &[0x48, 0xcf]);
    assert_eq!((cpu.rip, cpu.regs[4], cpu.flags()), (CODE, 0x6ff8, 0x202));
}

#[test]
fn an_ist_entry_is_used_at_any_privilege() {
    for mut cpu in [long(), long3()] {
        put(&cpu, IDT + 8 * 16, 8, gate(CODE64, 0x1_0008, 0x8e, 1));
        cpu.raise(Exception::with(vector::DF, 0));
        assert_eq!((cpu.regs[4], cpu.cpl), (0x6800 - 48, 0));
    }
}

#[test]
fn a_64_bit_handler_address_uses_all_of_the_gate() {
    let mut cpu = long();
    put(&cpu, IDT + 0x30 * 16 + 8, 8, 0xffff_ffff);
    put(&cpu, IDT + 0x30 * 16, 8, gate(CODE64, 0x8123_4567, 0x8e, 0));
    run(&mut cpu, &[0xcd, 0x30]);
    assert_eq!(cpu.rip, 0xffff_ffff_8123_4567);
}

#[test]
fn faults_of_64_bit_delivery() {
    let mut cpu = long3();
    let int = [0xcd, 0x30];
    let set = |cpu: &Cpu, low: u64, high: u64| {
        put(cpu, IDT + 0x30 * 16, 8, low);
        put(cpu, IDT + 0x30 * 16 + 8, 8, high);
    };
    set(&cpu, gate(CODE64, 0x9000, 0xe6, 0), 0);
    assert_eq!(step(&mut cpu, &int), gp(0x182), "no 16-bit gates");
    set(&cpu, gate(0, 0, 0xe5, 0), 0);
    assert_eq!(step(&mut cpu, &int), gp(0x182), "no task gates");
    set(&cpu, gate(CODE0, 0x9000, 0xee, 0), 0);
    assert_eq!(step(&mut cpu, &int), gp(8), "only 64-bit code");
    set(&cpu, gate(CODE64, 0x9000, 0xee, 0), 0x8000);
    assert_eq!(step(&mut cpu, &int), gp(0), "canonical target");
    set(&cpu, gate(CODE64, 0x9000, 0xee, 0), 0);
    put(&cpu, TSS + 4, 8, 0x8000_0000_0000);
    assert_eq!(step(&mut cpu, &int), ss(0), "canonical stack");
    cpu.tr.limit = 10;
    assert_eq!(step(&mut cpu, &int), ts(0x28));
    cpu.idtr.limit = 0x30e;
    assert_eq!(step(&mut cpu, &int), gp(0x182));
}

#[test]
fn a_triple_fault_shuts_down_and_changes_nothing() {
    let mut cpu = long();
    cpu.idtr.limit = 0;
    cpu.raise(Exception::plain(vector::UD));
    assert_eq!((cpu.activity, cpu.rip, cpu.regs[4]), (Activity::Shutdown, CODE, 0x6ff8));
}

#[test]
fn iretq_checks_canonical_addresses_and_null_stacks() {
    let mut cpu = long();
    let frame = |cpu: &mut Cpu, v: [u64; 5]| {
        cpu.regs[4] = 0x6f00;
        v.iter().zip(0..).for_each(|(&v, n)| put(cpu, 0x6f00 + 8 * n, 8, v));
    };
    frame(&mut cpu, [0x8000_0000_0000, 0x73, 2, 0x6000, 0x23]);
    assert_eq!(step(&mut cpu, &[0x48, 0xcf]), gp(0));
    frame(&mut cpu, [0x9000, 0x73, 2, 0x6000, 3]);
    assert_eq!(step(&mut cpu, &[0x48, 0xcf]), gp(0), "CPL 3 needs a stack");
    frame(&mut cpu, [0x9000, 0x68, 2, 0x1234_5678_9abc, 0]);
    assert_eq!(step(&mut cpu, &[0x48, 0xcf]), Ok(()));
    assert_eq!((cpu.regs[4], selector(&cpu, Seg::Ss)), (0x1234_5678_9abc, 0));
    frame(&mut cpu, [0x9000, 0x68, 0x4002, 0x7000, 0]);
    cpu.set_flags(0x4000);
    assert_eq!(step(&mut cpu, &[0x48, 0xcf]), gp(0), "NT");
}

#[test]
fn iretq_to_compatibility_mode_and_the_fault_back() {
    let mut cpu = long();
    cpu.regs[4] = 0x6f00;
    for (v, n) in [0x9000, 0x1b, 0x202, 0x5000, 0x23].into_iter().zip(0..) {
        put(&cpu, 0x6f00 + 8 * n, 8, v);
    }
    run(&mut cpu, &[0x48, 0xcf]);
    assert_eq!((cpu.code_bits(), cpu.rip, cpu.regs[4], cpu.cpl), (32, 0x9000, 0x5000, 3));
    assert_eq!(step(&mut cpu, &[0x0f, 0x05]), ud(), "SYSCALL in compatibility mode (Intel)");
    cpu.raise(Exception::plain(vector::UD));
    assert_eq!((cpu.code_bits(), cpu.rip, cpu.regs[4]), (64, 0x1_0006, 0x7000 - 40));
    assert_eq!(slots(&cpu, 0x7000 - 40, 8, 5), [0x9000, 0x1b, 0x1_0202, 0x5000, 0x23]);
}

#[test]
fn syscall_and_sysret_make_the_round_trip() {
    let mut cpu = long3();
    cpu.msr.star = 0x60 << 48 | 0x68 << 32;
    cpu.msr.lstar = 0xffff_ffff_8100_0000;
    cpu.msr.fmask = 0x4_7700;
    cpu.set_flags(0x4_0a47);
    run(&mut cpu, &[0x0f, 0x05]);
    assert_eq!((cpu.rip, cpu.regs[1], cpu.regs[11], cpu.flags()), (0xffff_ffff_8100_0000, CODE + 2, 0x4_0a47, 0x847));
    let cs = Segment { selector: 0x68, base: 0, limit: 0xffff_ffff, attr: 0xa09b };
    let ss = Segment { selector: 0x70, base: 0, limit: 0xffff_ffff, attr: 0xc093 };
    assert_eq!((*cpu.segment(Seg::Cs), *cpu.segment(Seg::Ss), cpu.cpl), (cs, ss, 0));
    cpu.rip = CODE;
    cpu.regs[11] = 0xffff_ffff_ffff_ffff;
    run(&mut cpu, &[0x48, 0x0f, 0x07]);
    let cs = Segment { selector: 0x73, base: 0, limit: 0xffff_ffff, attr: 0xa0fb };
    let ss = Segment { selector: 0x6b, base: 0, limit: 0xffff_ffff, attr: 0xc0f3 };
    assert_eq!((*cpu.segment(Seg::Cs), *cpu.segment(Seg::Ss), cpu.cpl), (cs, ss, 3));
    assert_eq!((cpu.rip, cpu.flags()), (CODE + 2, 0x3c_7fd7));
}

#[test]
fn sysret_faults_at_cpl_0_on_a_non_canonical_rcx_and_has_a_32_bit_form() {
    let mut cpu = long();
    cpu.msr.star = 0x60 << 48;
    cpu.regs[1] = 0x8000_0000_0000;
    assert_eq!(step(&mut cpu, &[0x48, 0x0f, 0x07]), gp(0));
    assert_eq!(cpu.cpl, 0);
    cpu.regs[1] = 0x1_2345_6789;
    run(&mut cpu, &[0x0f, 0x07]);
    assert_eq!((cpu.rip, cpu.code_bits(), selector(&cpu, Seg::Cs), cpu.cpl), (0x2345_6789, 32, 0x63, 3));
    let mut cpu = long3();
    assert_eq!(step(&mut cpu, &[0x48, 0x0f, 0x07]), gp(0));
    cpu.efer &= !1;
    assert_eq!(step(&mut cpu, &[0x0f, 0x05]), ud());
    assert_eq!(step(&mut cpu, &[0x48, 0x0f, 0x07]), ud());
}

#[test]
fn sysenter_and_sysexit_in_both_sizes() {
    let mut cpu = long3();
    cpu.set_flags(0x202);
    assert_eq!(step(&mut cpu, &[0x0f, 0x34]), gp(0));
    cpu.msr.sysenter_cs = 0x68;
    cpu.msr.sysenter_esp = 0xffff_8000_0000_7000;
    cpu.msr.sysenter_eip = 0xffff_8000_0000_9000;
    run(&mut cpu, &[0x0f, 0x34]);
    assert_eq!((cpu.rip, cpu.regs[4], cpu.flags(), cpu.cpl), (0xffff_8000_0000_9000, 0xffff_8000_0000_7000, 2, 0));
    assert_eq!((selector(&cpu, Seg::Cs), selector(&cpu, Seg::Ss), cpu.code_bits()), (0x68, 0x70, 64));
    (cpu.regs[1], cpu.regs[2]) = (0x1_0000_5000, 0x1_0000_6000);
    run(&mut cpu, &[0x48, 0x0f, 0x35]);
    assert_eq!((cpu.rip, cpu.regs[4], cpu.cpl, cpu.code_bits()), (0x1_0000_6000, 0x1_0000_5000, 3, 64));
    assert_eq!((selector(&cpu, Seg::Cs), selector(&cpu, Seg::Ss)), (0x8b, 0x93));
    assert_eq!(step(&mut cpu, &[0x0f, 0x35]), gp(0));
    enter(&mut cpu, CODE64, DATA0, 0x7000);
    (cpu.regs[1], cpu.regs[2]) = (0x1_0000_5000, 0x1_0000_6000);
    run(&mut cpu, &[0x0f, 0x35]);
    assert_eq!((cpu.rip, cpu.regs[4], cpu.code_bits(), selector(&cpu, Seg::Cs)), (0x6000, 0x5000, 32, 0x7b));
}

#[test]
fn swapgs_and_the_base_instructions() {
    let mut cpu = long();
    cpu.set_base(Seg::Gs, 0x1111);
    cpu.msr.kernel_gs_base = 0xffff_8880_0000_0000;
    run(&mut cpu, &[0x0f, 0x01, 0xf8]);
    assert_eq!((cpu.segment(Seg::Gs).base, cpu.msr.kernel_gs_base), (0xffff_8880_0000_0000, 0x1111));
    let rdgsbase = [0xf3, 0x48, 0x0f, 0xae, 0xc8];
    assert_eq!(step(&mut cpu, &rdgsbase), ud());
    cpu.cr4 |= 1 << 16;
    run(&mut cpu, &rdgsbase);
    assert_eq!(cpu.regs[0], 0xffff_8880_0000_0000);
    run(&mut cpu, &[0xf3, 0x0f, 0xae, 0xd0]);
    assert_eq!(cpu.segment(Seg::Fs).base, 0, "WRFSBASE EAX");
    cpu.regs[0] = 1 << 56;
    assert_eq!(step(&mut cpu, &[0xf3, 0x48, 0x0f, 0xae, 0xd0]), gp(0), "57 bits whatever the paging mode");
    let mut cpu = long3();
    assert_eq!(step(&mut cpu, &[0x0f, 0x01, 0xf8]), gp(0));
}

#[test]
fn far_call_through_a_64_bit_gate_switches_to_rsp0() {
    let mut cpu = long3();
    put(&cpu, GDT + u64::from(GATE), 8, gate(CODE64, 0x5678, 0xec, 0));
    put(&cpu, GDT + u64::from(GATE) + 8, 8, 0xffff_8000);
    put(&cpu, 0x900, 4, 0);
    put(&cpu, 0x904, 2, u64::from(GATE | 3));
    cpu.regs[0] = 0x900;
    run(&mut cpu, &[0xff, 0x18]);
    assert_eq!((cpu.rip, cpu.cpl, cpu.regs[4]), (0xffff_8000_0000_5678, 0, 0x7000 - 32));
    assert_eq!(slots(&cpu, 0x7000 - 32, 8, 4), [CODE + 2, 0x73, 0x6008, 0x23]);
    cpu.rip = CODE;
    run(&mut cpu, &[0x48, 0xcb]);
    assert_eq!((cpu.rip, cpu.cpl, cpu.regs[4], selector(&cpu, Seg::Ss)), (CODE + 2, 3, 0x6008, DATA3));
}

#[test]
fn compatibility_mode_code_reaches_tables_and_stacks_above_4_gib() {
    let mut cpu = long3();
    enter(&mut cpu, CODE3, DATA3, 0x5000);
    (cpu.gdtr.base, cpu.idtr.base, cpu.tr.base) = (HIGH + GDT, HIGH + IDT, HIGH + TSS);
    put(&cpu, TSS + 4, 8, HIGH + 0x7000);
    cpu.raise(Exception::page(0x1234, 4));
    assert_eq!((cpu.rip, cpu.cpl, cpu.regs[4], cpu.activity), (0x1_000e, 0, HIGH + 0x7000 - 48, Activity::Active));
    assert_eq!(slots(&cpu, 0x7000 - 48, 8, 6), [4, CODE, 0x1b, 0x1_0002, 0x5000, 0x23]);
    cpu.regs[4] += 8;
    run(&mut cpu, &[0x48, 0xcf]);
    assert_eq!((cpu.rip, cpu.regs[4], cpu.code_bits()), (CODE, 0x5000, 32));
}

#[test]
fn a_stack_that_is_not_mapped_pushes_nothing_and_double_faults() {
    let mut cpu = long3();
    put(&cpu, TSS + 4, 8, 0x4000_0010);
    put(&cpu, IDT + 8 * 16, 8, gate(CODE64, 0x1_0008, 0x8e, 1));
    cpu.raise(Exception::page(0x9999, 4));
    assert_eq!((cpu.rip, cpu.cr2, cpu.regs[4]), (0x1_0008, 0x4000_0008, 0x6800 - 48));
    assert_eq!(slots(&cpu, 0x6800 - 48, 8, 3), [0, CODE, 0x73], "#DF of the instruction at fault");
}

#[test]
fn iret_outward_nullifies_inner_segments_and_keeps_their_bases() {
    let mut cpu = long();
    cpu.set_segment(Seg::Gs, Segment { selector: DATA0, base: 0x40_0000, limit: u32::MAX, attr: 0xc093 });
    cpu.set_segment(Seg::Fs, Segment { selector: DATA3, base: 0x50_0000, limit: u32::MAX, attr: 0xc0f3 });
    for (n, v) in [0x9000, u64::from(CODE64_3), 0x202, 0x6000, u64::from(DATA3)].into_iter().enumerate() {
        put(&cpu, 0x5000 + 8 * n as u64, 8, v);
    }
    cpu.regs[4] = 0x5000;
    run(&mut cpu, &[0x48, 0xcf]);
    assert_eq!((cpu.rip, cpu.cpl), (0x9000, 3));
    assert_eq!((selector(&cpu, Seg::Gs), cpu.segment(Seg::Gs).base), (0, 0x40_0000));
    assert_eq!((selector(&cpu, Seg::Fs), cpu.segment(Seg::Fs).base), (DATA3, 0x50_0000));
    assert_eq!(cpu.linear(Seg::Gs, 8, 8, crate::Access::Read), Ok(0x40_0008));
}
