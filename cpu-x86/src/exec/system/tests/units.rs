//! What kernels rely on beyond the other files: gates between widths, tasks entered by users, NMIs, the redirection
//! bitmap's ends, memory type registers.
use super::*;
use crate::vector;

/// A 32-bit task at CPL 0 with EIP 9000h in the second TSS.
fn task(cpu: &Cpu) {
    put(cpu, TSS_B + 32, 4, 0x9000);
    put(cpu, TSS_B + 36, 4, 2);
    put(cpu, TSS_B + 56, 4, 0x5ff0);
    for (n, s) in [DATA0, CODE0, DATA0, DATA0, 0, 0].into_iter().enumerate() {
        put(cpu, TSS_B + 72 + 4 * n as u64, 4, u64::from(s));
    }
}

#[test]
fn a_call_gate_from_compatibility_mode_to_its_own_privilege_pushes_by_rsp() {
    let mut cpu = long();
    enter(&mut cpu, CODE0, SMALL, 0x6000);
    put(&cpu, GDT + u64::from(GATE), 8, gate(CODE64, 0x9000, 0x8c, 0));
    put(&cpu, GDT + u64::from(GATE) + 8, 8, 0);
    // The stack segment, based at 1_0000h and 4 KiB long, says nothing to 64-bit code.
    run(&mut cpu, &[0x9a, 0, 0, 0, 0, GATE as u8, 0]);
    assert_eq!((cpu.code_bits(), cpu.rip, cpu.regs[4]), (64, 0x9000, 0x6000 - 16));
    assert_eq!(slots(&cpu, 0x6000 - 16, 8, 2), [CODE + 7, u64::from(CODE0)]);
}

#[test]
fn a_far_call_between_widths_pushes_on_the_stack_of_its_target() {
    let mut cpu = long();
    put(&cpu, 0x900, 4, 0x9000);
    put(&cpu, 0x904, 2, u64::from(CODE0));
    (cpu.regs[0], cpu.regs[4]) = (0x900, 0x1_0000_6000);
    run(&mut cpu, &[0xff, 0x18]);
    assert_eq!((cpu.code_bits(), cpu.rip, cpu.regs[4]), (32, 0x9000, 0x5ff8));
    assert_eq!(slots(&cpu, 0x5ff8, 4, 2), [CODE + 2, u64::from(CODE64)]);
    let mut cpu = long();
    enter(&mut cpu, CODE0, SMALL, 0x6000);
    run(&mut cpu, &[0x9a, 0, 0x90, 0, 0, CODE64 as u8, 0]);
    assert_eq!((cpu.code_bits(), cpu.rip, cpu.regs[4]), (64, 0x9000, 0x5ff8));
    assert_eq!(slots(&cpu, 0x5ff8, 4, 2), [CODE + 7, u64::from(CODE0)]);
}

#[test]
fn a_user_interrupt_through_a_task_gate_needs_its_dpl_and_comes_back_by_iret() {
    let mut cpu = protected3();
    task(&cpu);
    put(&cpu, IDT + 0x40 * 8, 8, gate(SECOND_TSS, 0, 0x85, 0));
    assert_eq!(step(&mut cpu, &[0xcd, 0x40]), gp(0x40 * 8 + 2), "DPL 0");
    put(&cpu, IDT + 0x40 * 8, 8, gate(SECOND_TSS, 0, 0xe5, 0));
    cpu.regs[0] = 0x1234;
    run(&mut cpu, &[0xcd, 0x40]);
    assert_eq!((cpu.rip, cpu.cpl, cpu.flags() & 0x4000), (0x9000, 0, 0x4000), "NT");
    assert_eq!(step(&mut cpu, &[0xd9, 0xe8]), Err(Exception::plain(vector::NM)), "TS is set by the switch");
    run(&mut cpu, &[0xcf]);
    assert_eq!((cpu.rip, cpu.cpl, cpu.regs[0]), (CODE + 2, 3, 0x1234));
    assert_eq!([Seg::Cs, Seg::Ss].map(|s| selector(&cpu, s)), [CODE3, DATA3]);
}

#[test]
fn a_task_gate_names_an_available_tss_of_the_gdt() {
    let through = |selector: u16| {
        let mut cpu = protected();
        task(&cpu);
        put(&cpu, GDT + u64::from(TASK_GATE), 8, gate(selector, 0, 0xe5, 0));
        step(&mut cpu, &[0x9a, 0, 0, 0, 0, TASK_GATE as u8, 0])
    };
    assert_eq!(through(SECOND_TSS), Ok(()));
    assert_eq!(through(SECOND_TSS | 4), gp(u32::from(SECOND_TSS | 4)), "in the LDT");
    assert_eq!(through(TSS_SELECTOR), gp(u32::from(TSS_SELECTOR)), "busy");
    assert_eq!(through(DATA0), gp(u32::from(DATA0)));
}

#[test]
fn an_iret_that_faults_lets_nmis_in_again() {
    let mut cpu = protected();
    cpu.raise_nmi();
    assert!(cpu.service());
    cpu.raise_nmi();
    assert!(!cpu.service());
    // The frame's CS is no code segment.
    let at = cpu.regs[4];
    put(&cpu, at + 4, 4, u64::from(DATA0));
    assert_eq!(step(&mut cpu, &[0xcf]), gp(u32::from(DATA0)));
    assert!(cpu.service(), "SDM vol. 3A, 6.7.1");
}

#[test]
fn the_redirection_bitmap_lies_within_the_tss_and_is_asked_only_with_vme() {
    let redirected = |vme: bool, iopl: u64, map: u64, limit: u32| {
        let mut cpu = v86(iopl);
        cpu.cr4 |= u64::from(vme);
        cpu.tr.limit = limit;
        put(&cpu, TSS + 102, 2, map);
        put(&cpu, IDT + 0x21 * 8, 8, gate(CODE0, 0x9000, 0xee, 0));
        put(&cpu, 0x21 * 4, 4, 0x0900_0010);
        step(&mut cpu, &[0xcd, 0x21]).map(|()| cpu.v86())
    };
    assert_eq!(redirected(true, 0, 0x88, 0x200), Ok(true));
    assert_eq!(redirected(true, 0, 0x88, 0x88 - 32 + 4), Ok(true), "the byte of vector 21h is the last");
    assert_eq!(redirected(true, 0, 0x88, 0x88 - 32 + 3), Err(Exception::with(vector::GP, 0)));
    assert_eq!(redirected(true, 3, 0x88, 0x200), Ok(true));
    assert_eq!(redirected(false, 3, 0x88, 0x200), Ok(false));
    assert_eq!(redirected(false, 0, 0x88, 0x200), Err(Exception::with(vector::GP, 0)));
}

#[test]
fn iret_into_virtual_8086_mode_wants_ip_of_16_bits_and_only_from_privilege_0() {
    let frame = |cpu: &mut Cpu, ip: u64| {
        for (n, v) in [ip, 0x800, 0x2_0002, 0x100, 0x600, 0x11, 0x22, 0x33, 0x44].into_iter().enumerate() {
            put(cpu, 0x5000 + 4 * n as u64, 4, v);
        }
        cpu.regs[4] = 0x5000;
        step(cpu, &[0xcf])
    };
    assert_eq!(frame(&mut protected(), 0x1_0000), gp(0));
    let mut cpu = protected();
    assert_eq!(frame(&mut cpu, 0x1234), Ok(()));
    assert_eq!((cpu.v86(), cpu.cpl, cpu.rip, cpu.regs[4], cpu.segment(Seg::Gs).base), (true, 3, 0x1234, 0x100, 0x440));
    // At privilege 3 the bit is ignored, and 800h is no selector of code.
    assert_eq!(frame(&mut protected3(), 0x1234), gp(0x800));
}

#[test]
fn memory_type_registers_keep_what_is_a_type_and_refuse_what_is_none() {
    let mut cpu = bare();
    for (msr, good, bad) in [
        (0x200, 0x8000_0006, 0x8000_0002),
        (0x201, 0xf_8000_0800, 1 << 10),
        (0x250, 0x0605_0401_0006_0606, 0x0203_0000_0000_0000),
        (0x26f, 0x0505_0505_0505_0505, 7),
        (0x277, 0x0007_0406_0007_0406, 2),
        (0x2ff, 0xc06, 0xc02),
    ] {
        assert!(cpu.write_msr(msr, good).is_ok(), "{msr:#x}");
        assert!(cpu.write_msr(msr, bad).is_err(), "{msr:#x}");
        assert_eq!(cpu.read_msr(msr), Ok(good), "{msr:#x}");
    }
}
