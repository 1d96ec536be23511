//! Task switches.
use super::*;
use crate::debug::dr6;

/// Fills the second TSS: a 32-bit task at CPL 0 with EIP 9000h, ESP 5ff0h and registers 100h to 107h.
fn second_task(cpu: &Cpu) {
    put(cpu, TSS_B + 32, 4, 0x9000);
    put(cpu, TSS_B + 36, 4, 0x202);
    for n in 0..8 {
        put(cpu, TSS_B + 40 + 4 * n, 4, 0x100 + n);
    }
    put(cpu, TSS_B + 56, 4, 0x5ff0);
    for (n, s) in [DATA0, CODE0, DATA0, DATA3, 0, DATA0].into_iter().enumerate() {
        put(cpu, TSS_B + 72 + 4 * n as u64, 4, u64::from(s));
    }
    put(cpu, TSS_B + 96, 4, u64::from(LDT));
}

fn call(selector: u16) -> [u8; 7] {
    [0x9a, 0, 0, 0, 0, selector as u8, 0]
}

fn rights(cpu: &Cpu, selector: u16) -> u64 {
    get(cpu, GDT + u64::from(selector) + 5, 1)
}

#[test]
fn call_to_a_tss_nests_and_iret_comes_back() {
    let mut cpu = protected();
    second_task(&cpu);
    cpu.regs[0] = 0xaaaa;
    cpu.set_flags(1);
    run(&mut cpu, &call(SECOND_TSS));
    assert_eq!((cpu.rip, cpu.flags(), cpu.cr0 & 8), (0x9000, 0x4202, 8));
    assert_eq!(cpu.regs[..8], [0x100, 0x101, 0x102, 0x103, 0x5ff0, 0x105, 0x106, 0x107]);
    assert_eq!((cpu.tr.selector, cpu.tr.base, cpu.tr.attr & 15), (SECOND_TSS, TSS_B, 11));
    assert_eq!((selector(&cpu, Seg::Ds), selector(&cpu, Seg::Fs), cpu.ldtr.base), (DATA3, 0, 0x5000));
    assert_eq!(get(&cpu, TSS_B, 2), u64::from(TSS_SELECTOR), "link");
    assert_eq!((rights(&cpu, TSS_SELECTOR), rights(&cpu, SECOND_TSS)), (0x8b, 0xeb), "both busy");
    assert_eq!((get(&cpu, TSS + 32, 4), get(&cpu, TSS + 36, 4), get(&cpu, TSS + 40, 4)), (CODE + 7, 3, 0xaaaa));
    assert_eq!((get(&cpu, TSS + 56, 4), get(&cpu, TSS + 76, 2), get(&cpu, TSS + 80, 2)), (0x6ff0, 8, 0x10));
    run(&mut cpu, &[0xcf]);
    assert_eq!((cpu.rip, cpu.flags(), cpu.regs[0], cpu.tr.selector), (CODE + 7, 3, 0xaaaa, TSS_SELECTOR));
    assert_eq!((rights(&cpu, TSS_SELECTOR), rights(&cpu, SECOND_TSS)), (0x8b, 0xe9));
    assert_eq!(get(&cpu, TSS_B + 36, 4), 0x202, "NT was cleared in the task left by IRET");
}

#[test]
fn jmp_through_a_task_gate_leaves_the_old_task_available() {
    let mut cpu = protected();
    second_task(&cpu);
    run(&mut cpu, &[0xea, 0, 0, 0, 0, TASK_GATE as u8, 0]);
    assert_eq!((cpu.rip, cpu.flags()), (0x9000, 0x202));
    assert_eq!((rights(&cpu, TSS_SELECTOR), rights(&cpu, SECOND_TSS)), (0x89, 0xeb));
}

#[test]
fn an_exception_through_a_task_gate_pushes_its_error_code_on_the_new_stack() {
    let mut cpu = protected();
    second_task(&cpu);
    put(&cpu, IDT + 8 * 8, 8, gate(SECOND_TSS, 0, 0x85, 0));
    cpu.raise(Exception::with(crate::vector::DF, 0));
    assert_eq!((cpu.rip, cpu.regs[4], get(&cpu, 0x5fec, 4)), (0x9000, 0x5fec, 0));
    assert_eq!((get(&cpu, TSS + 32, 4), get(&cpu, TSS + 36, 4)), (CODE, 0x1_0002), "at the fault, RF set");
}

#[test]
fn a_16_bit_task() {
    let mut cpu = protected();
    put(&cpu, GDT + u64::from(SECOND_TSS), 8, descriptor(TSS_B, 0x2b, 0x81, 0));
    put(&cpu, TSS_B + 14, 2, 0x9000);
    put(&cpu, TSS_B + 16, 2, 2);
    put(&cpu, TSS_B + 26, 2, 0x5ff0);
    for (n, s) in [DATA0, CODE0, DATA0, DATA0, 0].into_iter().enumerate() {
        put(&cpu, TSS_B + 34 + 2 * n as u64, 2, u64::from(s));
    }
    run(&mut cpu, &call(SECOND_TSS));
    assert_eq!((cpu.rip, cpu.regs[4], cpu.tr.attr & 15, selector(&cpu, Seg::Gs)), (0x9000, 0x5ff0, 3, 0));
    run(&mut cpu, &[0xcf]);
    assert_eq!((cpu.rip, get(&cpu, TSS_B + 14, 2)), (CODE + 7, 0x9001));
}

#[test]
fn faults_before_the_switch_belong_to_the_old_task() {
    let mut cpu = protected();
    second_task(&cpu);
    let c = call(SECOND_TSS);
    assert_eq!(step(&mut cpu, &call(TSS_SELECTOR)), gp(0x28), "busy");
    put(&cpu, GDT + u64::from(SECOND_TSS), 8, descriptor(TSS_B, 0x66, 0xe9, 0));
    assert_eq!(step(&mut cpu, &c), ts(0x58), "limit");
    put(&cpu, GDT + u64::from(SECOND_TSS), 8, descriptor(TSS_B, 0x67, 0x69, 0));
    assert_eq!(step(&mut cpu, &c), np(0x58));
    cpu.set_flags(0x4000);
    put(&cpu, TSS, 2, u64::from(SECOND_TSS));
    assert_eq!(step(&mut cpu, &[0xcf]), ts(0x58), "the link is not busy");
    assert_eq!((cpu.rip, cpu.tr.selector), (CODE, TSS_SELECTOR));
    let mut cpu = protected3();
    put(&cpu, GDT + u64::from(SECOND_TSS), 8, descriptor(TSS_B, 0x67, 0x89, 0));
    assert_eq!(step(&mut cpu, &c), gp(0x58), "DPL 0");
}

#[test]
fn faults_after_the_switch_belong_to_the_new_task() {
    for (field, value, fault) in [
        (96, DATA0, ts(0x10)),
        (76, 0, ts(0)),
        (76, DATA0, ts(0x10)),
        (80, DATA3, ts(0x20)),
        (84, 0x200, ts(0x200)),
        (84, ABSENT, np(0x78)),
    ] {
        let mut cpu = protected();
        second_task(&cpu);
        put(&cpu, TSS_B + field, 2, u64::from(value));
        assert_eq!(step(&mut cpu, &call(SECOND_TSS)), fault, "{field} {value:#x}");
        assert_eq!((cpu.rip, cpu.tr.selector, cpu.regs[0]), (0x9000, SECOND_TSS, 0x100));
    }
}

#[test]
fn a_task_may_be_a_virtual_8086_one_and_may_trap() {
    let mut cpu = protected();
    second_task(&cpu);
    put(&cpu, TSS_B + 36, 4, 0x2_0202);
    put(&cpu, TSS_B + 76, 2, 0x800);
    put(&cpu, TSS_B + 100, 2, 1);
    run(&mut cpu, &call(SECOND_TSS));
    assert_eq!((cpu.v86(), cpu.cpl, cpu.segment(Seg::Cs).base), (true, 3, 0x8000));
    assert_eq!(cpu.pending_debug, dr6::BT);
    let mut cpu = protected();
    second_task(&cpu);
    put(&cpu, TSS_B + 100, 2, 1);
    cpu.dr[7] = 0x455;
    run(&mut cpu, &call(SECOND_TSS));
    assert!(cpu.service());
    assert_eq!((cpu.rip, cpu.dr[6], cpu.dr[7]), (0x1_0001, 0xffff_8ff0, 0x400));
    assert_eq!(slots(&cpu, cpu.regs[4], 4, 2), [0x9000, 8]);
}

#[test]
fn long_mode_has_no_task_switches() {
    let mut cpu = long();
    put(&cpu, 0x900, 4, 0);
    put(&cpu, 0x904, 2, u64::from(SECOND_TSS));
    cpu.regs[0] = 0x900;
    assert_eq!(step(&mut cpu, &[0xff, 0x18]), gp(0x58));
}
