//! Far JMP, CALL and RET in protected mode.
use super::*;

fn far(op: u8, selector: u16, offset: u32) -> [u8; 7] {
    let (o, s) = (offset.to_le_bytes(), selector.to_le_bytes());
    [op, o[0], o[1], o[2], o[3], s[0], s[1]]
}

#[test]
fn a_direct_call_pushes_cs_and_eip_and_ret_comes_back() {
    let mut cpu = protected();
    run(&mut cpu, &far(0x9a, CODE0, 0x1234));
    assert_eq!((cpu.rip, cpu.regs[4]), (0x1234, 0x6fe8));
    assert_eq!(slots(&cpu, 0x6fe8, 4, 2), [CODE + 7, 8]);
    run(&mut cpu, &[0xca, 0x10, 0x00]);
    assert_eq!((cpu.rip, cpu.regs[4], selector(&cpu, Seg::Cs)), (CODE + 7, 0x7000, CODE0));
}

#[test]
fn direct_targets_are_checked() {
    let mut cpu = protected();
    put(&cpu, GDT + 0x78, 8, descriptor(0, 0xffff, 0x1a, 4));
    put(&cpu, GDT + 0x48, 8, descriptor(0, 0xfff, 0x9a, 4));
    let cases = [
        (0, gp(0)),
        (0x300, gp(0x300)),
        (DATA0, gp(0x10)),
        (CODE3, gp(0x18)),
        (0x09, gp(8)),
        (0x78, np(0x78)),
        (LDT, gp(0x50)),
    ];
    for (selector, fault) in cases {
        assert_eq!(step(&mut cpu, &far(0xea, selector, 0)), fault, "{selector:#x}");
        assert_eq!(step(&mut cpu, &far(0x9a, selector, 0)), fault, "{selector:#x}");
    }
    assert_eq!(step(&mut cpu, &far(0xea, 0x48, 0x1000)), gp(0), "limit");
    assert_eq!(step(&mut cpu, &far(0xea, 0x48, 0xfff)), Ok(()));
    let mut cpu = protected3();
    run(&mut cpu, &far(0xea, CONFORMING, 0x9000));
    assert_eq!((selector(&cpu, Seg::Cs), cpu.cpl, cpu.rip), (0x33, 3, 0x9000));
}

#[test]
fn a_call_gate_to_privilege_0_copies_parameters_and_ret_releases_them_on_both_stacks() {
    let mut cpu = protected3();
    put(&cpu, GDT + u64::from(GATE), 8, gate(CODE0, 0x5678, 0xec, 2));
    put(&cpu, 0x6000, 8, 0x2222_2222_1111_1111);
    run(&mut cpu, &far(0x9a, GATE | 3, 0xdead));
    assert_eq!((cpu.rip, cpu.cpl, cpu.regs[4]), (0x5678, 0, 0x7000 - 24));
    assert_eq!(slots(&cpu, 0x7000 - 24, 4, 6), [CODE + 7, 0x1b, 0x1111_1111, 0x2222_2222, 0x6000, 0x23]);
    assert_eq!((selector(&cpu, Seg::Cs), selector(&cpu, Seg::Ss)), (CODE0, DATA0));
    run(&mut cpu, &[0xca, 0x08, 0x00]);
    assert_eq!((cpu.rip, cpu.cpl, cpu.regs[4], selector(&cpu, Seg::Ss)), (CODE + 7, 3, 0x6008, DATA3));
}

#[test]
fn a_16_bit_call_gate_pushes_words() {
    let mut cpu = protected3();
    put(&cpu, GDT + u64::from(GATE), 8, gate(CODE0, 0xffff_5678, 0xe4, 1));
    put(&cpu, 0x6000, 2, 0x1111);
    run(&mut cpu, &far(0x9a, GATE | 3, 0));
    assert_eq!((cpu.rip, cpu.cpl, cpu.regs[4]), (0x5678, 0, 0x7000 - 10));
    assert_eq!(slots(&cpu, 0x7000 - 10, 2, 5), [CODE + 7, 0x1b, 0x1111, 0x6000, 0x23]);
}

#[test]
fn call_gate_faults() {
    let mut cpu = protected3();
    let set = |cpu: &Cpu, raw| put(cpu, GDT + u64::from(GATE), 8, raw);
    let call = far(0x9a, GATE | 3, 0);
    set(&cpu, gate(CODE0, 0x5678, 0x8c, 0));
    assert_eq!(step(&mut cpu, &call), gp(0x38), "gate DPL 0");
    set(&cpu, gate(CODE0, 0x5678, 0x6c, 0));
    assert_eq!(step(&mut cpu, &call), np(0x38));
    set(&cpu, gate(0, 0x5678, 0xec, 0));
    assert_eq!(step(&mut cpu, &call), gp(0));
    set(&cpu, gate(DATA0, 0x5678, 0xec, 0));
    assert_eq!(step(&mut cpu, &call), gp(0x10));
    set(&cpu, gate(CODE0, 0x5678, 0xec, 0));
    assert_eq!(step(&mut cpu, &far(0xea, GATE | 3, 0)), gp(8), "JMP cannot go inward");
    put(&cpu, TSS + 8, 2, u64::from(DATA3));
    assert_eq!(step(&mut cpu, &call), ts(0x20));
    set(&cpu, gate(CODE3, 0x5678, 0xec, 0));
    run(&mut cpu, &far(0xea, GATE | 3, 0));
    assert_eq!((cpu.rip, selector(&cpu, Seg::Cs)), (0x5678, CODE3));
    let mut cpu = long3();
    put(&cpu, GDT + u64::from(GATE), 8, gate(CODE64, 0x5678, 0xe4, 0));
    put(&cpu, 0x904, 2, u64::from(GATE | 3));
    cpu.regs[0] = 0x900;
    assert_eq!(step(&mut cpu, &[0xff, 0x18]), gp(0x38), "no 16-bit gates");
}

#[test]
fn ret_refuses_inner_code_and_missing_stacks() {
    let mut cpu = protected3();
    put(&cpu, 0x6000, 8, 0x0008_0000_9000);
    assert_eq!(step(&mut cpu, &[0xcb]), gp(8));
    let mut cpu = protected();
    cpu.regs[4] = 0x6f00;
    for (v, n) in [0x9000, 0x1b, 0x6000, 0].into_iter().zip(0..) {
        put(&cpu, 0x6f00 + 4 * n, 4, v);
    }
    assert_eq!(step(&mut cpu, &[0xcb]), gp(0));
    put(&cpu, 0x6f0c, 4, 0x23);
    run(&mut cpu, &[0xcb]);
    assert_eq!((cpu.cpl, cpu.regs[4], selector(&cpu, Seg::Ds)), (3, 0x6000, 0), "DS of privilege 0 is dropped");
}

#[test]
fn a_far_jump_enters_and_leaves_64_bit_code() {
    let mut cpu = long();
    put(&cpu, 0x900, 4, 0x9000);
    put(&cpu, 0x904, 2, u64::from(CODE0));
    cpu.regs[0] = 0x900;
    run(&mut cpu, &[0xff, 0x28]);
    assert_eq!((cpu.rip, cpu.code_bits()), (0x9000, 32));
    run(&mut cpu, &far(0xea, CODE64, 0xa000));
    assert_eq!((cpu.rip, cpu.code_bits()), (0xa000, 64));
    put(&cpu, GDT + u64::from(CODE64), 8, descriptor(0, 0xfffff, 0x9a, 0xe));
    put(&cpu, 0x904, 2, u64::from(CODE64));
    assert_eq!(step(&mut cpu, &[0xff, 0x28]), gp(0x68), "L and D");
}
