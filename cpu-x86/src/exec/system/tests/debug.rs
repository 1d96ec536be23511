//! Debug registers, breakpoints and single stepping.
use super::*;

#[test]
fn single_stepping_traps_after_each_instruction_but_mov_ss() {
    let mut cpu = protected();
    cpu.set_flags(0x100);
    assert!(cpu.stepwise());
    run(&mut cpu, &[0x06]);
    cpu.after_step(true, false);
    assert!(cpu.service());
    assert_eq!((cpu.rip, cpu.dr[6], cpu.flags()), (0x1_0001, 0xffff_4ff0, 2));
    assert_eq!(slots(&cpu, cpu.regs[4], 4, 3), [CODE + 1, 8, 0x102]);
    run(&mut cpu, &[0xcf]);
    cpu.after_step(false, false);
    assert!(!cpu.service(), "IRET loads TF, the next instruction traps");
    cpu.regs[0] = u64::from(DATA0);
    run(&mut cpu, &[0x8e, 0xd0]);
    cpu.after_step(true, false);
    assert!(!cpu.service());
    run(&mut cpu, &[0x06]);
    cpu.after_step(true, false);
    assert!(cpu.service());
    assert_eq!(get(&cpu, cpu.regs[4], 4), CODE + 4);
}

#[test]
fn int_n_does_not_trap_and_syscall_only_if_fmask_keeps_tf() {
    let mut cpu = protected();
    cpu.set_flags(0x100);
    run(&mut cpu, &[0xcd, 0x40]);
    cpu.after_step(true, false);
    assert!(!cpu.service());
    for (fmask, traps) in [(0x100, false), (0, true)] {
        let mut cpu = long3();
        (cpu.msr.star, cpu.msr.fmask, cpu.msr.lstar) = (0x68 << 32, fmask, 0xa000);
        cpu.set_flags(0x100);
        run(&mut cpu, &[0x0f, 0x05]);
        cpu.after_step(true, false);
        assert_eq!(cpu.service(), traps);
    }
}

#[test]
fn rf_lasts_one_instruction_and_suppresses_instruction_breakpoints() {
    let mut cpu = protected();
    cpu.dr[0] = CODE;
    cpu.dr[7] = 0x402;
    assert_eq!(cpu.fetch_breakpoint(CODE), Some(1));
    assert_eq!(cpu.fetch_breakpoint(CODE + 1), None);
    cpu.raise_breakpoint(1);
    assert_eq!((cpu.rip, cpu.dr[6], get(&cpu, cpu.regs[4], 4)), (0x1_0001, 0xffff_0ff1, CODE));
    put(&cpu, cpu.regs[4] + 8, 4, 0x1_0002);
    run(&mut cpu, &[0xcf]);
    assert!(cpu.stepwise());
    assert_eq!(cpu.fetch_breakpoint(CODE), None);
    run(&mut cpu, &[0x06]);
    cpu.after_step(false, true);
    assert_eq!(cpu.flags(), 2);
}

#[test]
fn data_and_port_breakpoints_meet_their_ranges() {
    let mut cpu = protected();
    cpu.dr[1] = 0x1002;
    cpu.dr[7] = 0x400 | 1 << 2 | 0b0111 << 20;
    assert!(cpu.data_armed() && cpu.stepwise());
    assert_eq!(cpu.data_breakpoint(0x1002, 1, false), 2);
    assert_eq!(cpu.data_breakpoint(0x1000, 4, false), 2);
    assert_eq!(cpu.data_breakpoint(0x1000, 2, true), 0);
    assert_eq!(cpu.data_breakpoint(0x1003, 8, true), 2);
    assert_eq!(cpu.data_breakpoint(0x1004, 8, true), 0);
    cpu.dr[7] = 0x400 | 1 << 2 | 0b1001 << 20;
    assert_eq!((cpu.data_breakpoint(0x1007, 1, true), cpu.data_breakpoint(0x1007, 1, false)), (2, 0));
    cpu.dr[1] = 0x60;
    cpu.dr[7] = 0x400 | 1 << 2 | 0b0010 << 20;
    assert_eq!(cpu.port_breakpoint(0x60, 1), 0, "needs CR4.DE");
    cpu.cr4 |= 8;
    assert_eq!((cpu.port_breakpoint(0x60, 1), cpu.port_breakpoint(0x5f, 2), cpu.port_breakpoint(0x61, 1)), (2, 2, 0));
}

#[test]
fn mov_dr_keeps_fixed_bits_and_checks_in_order() {
    let mut cpu = protected();
    cpu.regs[0] = 0xffff_ffff;
    run(&mut cpu, &[0x0f, 0x23, 0xf0]);
    run(&mut cpu, &[0x0f, 0x21, 0xf3]);
    assert_eq!(cpu.regs[3], 0xffff_eff0 | 0xf);
    cpu.regs[0] = 0xffff_dfff;
    run(&mut cpu, &[0x0f, 0x23, 0xf8]);
    assert_eq!(cpu.dr[7], 0xffff_07ff);
    cpu.regs[0] = 0;
    run(&mut cpu, &[0x0f, 0x23, 0xe8]);
    assert_eq!(cpu.dr[7], 0x400, "DR5 is DR7");
    cpu.cr4 |= 8;
    assert_eq!(step(&mut cpu, &[0x0f, 0x23, 0xe8]), ud());
    cpu.dr[6] = 0xffff_0ff0;
    cpu.dr[7] = 0x2400;
    run(&mut cpu, &[0x0f, 0x21, 0xc0]);
    assert_eq!((cpu.rip, cpu.dr[6], cpu.dr[7]), (0x1_0001, 0xffff_2ff0, 0x400));
    assert_eq!(get(&cpu, cpu.regs[4] + 8, 4), 0x1_0002, "a fault: RF is set");
    assert_eq!(step(&mut protected3(), &[0x0f, 0x21, 0xc0]), gp(0));
    let mut cpu = long();
    cpu.regs[0] = 1 << 32;
    assert_eq!(step(&mut cpu, &[0x0f, 0x23, 0xf8]), gp(0));
    run(&mut cpu, &[0x0f, 0x23, 0xc0]);
    assert_eq!(cpu.dr[0], 1 << 32);
}

#[test]
fn icebp_delivers_debug_exceptions_past_the_gates_dpl() {
    let mut cpu = protected3();
    run(&mut cpu, &[0xf1]);
    assert_eq!((cpu.rip, cpu.cpl, cpu.dr[6]), (0x1_0001, 0, 0xffff_0ff0));
    assert_eq!(get(&cpu, cpu.regs[4], 4), CODE + 1);
}

#[test]
fn a_data_breakpoint_traps_after_the_access_and_a_fault_forgets_it() {
    let mut cpu = protected();
    cpu.dr[2] = 0x6fe8;
    cpu.dr[7] = 0x400 | 1 << 5 | 0b1101 << 24;
    run(&mut cpu, &[0x06]);
    cpu.after_step(false, false);
    assert!(!cpu.service());
    run(&mut cpu, &[0x06]);
    cpu.after_step(false, false);
    assert!(cpu.service());
    assert_eq!((cpu.rip, cpu.dr[6], get(&cpu, cpu.regs[4], 4)), (0x1_0001, 0xffff_0ff4, CODE + 2));
    cpu.pending_debug = 4;
    cpu.raise(Exception::plain(crate::vector::UD));
    assert_eq!(cpu.pending_debug, 0);
}
