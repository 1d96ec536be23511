//! PUSHF, POPF, CLI, STI outside virtual-8086 mode.
use super::*;

const ALL: u64 = 0x3f_7fd5;

/// Flags after POPF of `bytes` with `image`, at `cpl` with `iopl` and all other flags clear.
fn popped(cpl: u8, iopl: u64, bytes: usize, image: u64) -> u64 {
    let mut cpu = if cpl == 0 { protected() } else { protected3() };
    cpu.set_flags(iopl << 12);
    put(&cpu, cpu.regs[4], 4, image);
    run(&mut cpu, if bytes == 2 { &[0x66, 0x9d] } else { &[0x9d] });
    cpu.flags()
}

#[test]
fn popf_changes_what_cpl_and_iopl_allow() {
    let rules = [
        (0, 0, 4, 0x24_7fd7),
        (0, 3, 4, 0x24_7fd7),
        (3, 3, 4, 0x24_7fd7),
        (3, 2, 4, 0x24_6dd7),
        (3, 0, 4, 0x24_4dd7),
        (0, 0, 2, 0x7fd7),
        (3, 3, 2, 0x7fd7),
        (3, 0, 2, 0x4dd7),
    ];
    for (cpl, iopl, bytes, after) in rules {
        assert_eq!(popped(cpl, iopl, bytes, ALL), after, "CPL {cpl}, IOPL {iopl}, {bytes} bytes");
    }
    assert_eq!(popped(3, 3, 4, 0), 0x3002);
    assert_eq!(popped(0, 3, 4, 0), 2);
}

#[test]
fn popf_never_touches_vm_vif_vip_and_clears_rf() {
    let mut cpu = protected();
    cpu.set_flags(0x19_0000);
    put(&cpu, cpu.regs[4], 4, 0);
    run(&mut cpu, &[0x9d]);
    assert_eq!(cpu.flags(), 0x18_0002);
}

#[test]
fn pushf_leaves_rf_and_vm_out() {
    let mut cpu = long();
    cpu.set_flags(0x21_0246);
    run(&mut cpu, &[0x9c]);
    assert_eq!((get(&cpu, 0x6ff0, 8), cpu.regs[4]), (0x20_0246, 0x6ff0));
    run(&mut cpu, &[0x66, 0x9c]);
    assert_eq!((get(&cpu, 0x6fee, 2), cpu.regs[4]), (0x246, 0x6fee));
}

#[test]
fn cli_and_sti_need_iopl_or_pvi() {
    let mut cpu = protected3();
    assert_eq!(step(&mut cpu, &[0xfa]), gp(0));
    assert_eq!(step(&mut cpu, &[0xfb]), gp(0));
    cpu.cr4 = 2;
    run(&mut cpu, &[0xfb]);
    assert_eq!(cpu.flags(), 0x8_0002);
    run(&mut cpu, &[0xfa]);
    assert_eq!(cpu.flags(), 2);
    cpu.set_flags(0x10_0000);
    assert_eq!(step(&mut cpu, &[0xfb]), gp(0), "VIP");
    cpu.set_flags(0x3000);
    run(&mut cpu, &[0xfb]);
    assert_eq!(cpu.flags(), 0x3202);
    let mut cpu = protected();
    run(&mut cpu, &[0xfb]);
    run(&mut cpu, &[0xfa]);
    assert_eq!(cpu.flags(), 2);
}

#[test]
fn into_traps_only_with_of() {
    let mut cpu = protected();
    run(&mut cpu, &[0xce]);
    assert_eq!(cpu.rip, CODE + 1);
    cpu.set_flags(0x800);
    run(&mut cpu, &[0xce]);
    assert_eq!((cpu.rip, slots(&cpu, cpu.regs[4], 4, 3)), (0x1_0004, vec![CODE + 2, 8, 0x802]));
}
