//! Virtual-8086 mode: delivery out of it, IRET into it, and what IOPL and VME allow.
use super::*;

#[test]
fn an_exception_pushes_nine_doublewords_and_nulls_the_data_segments() {
    let mut cpu = v86(0);
    cpu.raise(Exception::with(crate::vector::GP, 0));
    assert_eq!((cpu.rip, cpu.cpl, cpu.v86(), cpu.regs[4]), (0x1_000d, 0, false, 0x7000 - 40));
    let frame = [0, 0, 0x800, 0x3_0202, 0x100, 0x600, 0x22, 0x11, 0x33, 0x44];
    assert_eq!(slots(&cpu, 0x7000 - 40, 4, 10), frame);
    for s in [Seg::Ds, Seg::Es, Seg::Fs, Seg::Gs] {
        assert_eq!((selector(&cpu, s), cpu.segment(s).attr & Segment::UNUSABLE), (0, Segment::UNUSABLE));
    }
    cpu.regs[4] += 4;
    run(&mut cpu, &[0xcf]);
    assert_eq!((cpu.rip, cpu.cpl, cpu.v86(), cpu.regs[4], cpu.flags()), (0, 3, true, 0x100, 0x3_0202));
    assert_eq!(
        [Seg::Es, Seg::Cs, Seg::Ss, Seg::Ds, Seg::Fs, Seg::Gs].map(|s| selector(&cpu, s)),
        [0x22, 0x800, 0x600, 0x11, 0x33, 0x44]
    );
    assert_eq!(*cpu.segment(Seg::Gs), Segment { selector: 0x44, base: 0x440, limit: 0xffff, attr: 0xf3 });
}

#[test]
fn a_handler_of_another_privilege_than_0_is_gp() {
    let mut cpu = v86(3);
    put(&cpu, IDT + 0x40 * 8, 8, gate(CONFORMING, 0, 0xee, 0));
    assert_eq!(step(&mut cpu, &[0xcd, 0x40]), gp(0x30));
}

#[test]
fn int_n_needs_iopl_3_and_int3_only_the_gate() {
    let mut cpu = v86(0);
    put(&cpu, IDT + 0x40 * 8, 8, gate(CODE0, 0x9000, 0xee, 0));
    put(&cpu, IDT + 3 * 8, 8, gate(CODE0, 0x9003, 0xee, 0));
    assert_eq!(step(&mut cpu, &[0xcd, 0x40]), gp(0));
    assert_eq!(step(&mut cpu, &[0xcc]), Ok(()));
    assert_eq!((cpu.rip, cpu.regs[4]), (0x9003, 0x7000 - 36));
    let mut cpu = v86(3);
    put(&cpu, IDT + 0x40 * 8, 8, gate(CODE0, 0x9000, 0xee, 0));
    assert_eq!(step(&mut cpu, &[0xcd, 0x40]), Ok(()));
    assert_eq!(get(&cpu, 0x7000 - 36, 4), 2);
}

#[test]
fn vme_redirects_int_n_to_the_programs_own_vectors() {
    for (iopl, pushed, after) in [(0, 0x3202, 0x2_0202), (3, 0x3202, 0x2_3002)] {
        let mut cpu = v86(iopl);
        cpu.cr4 |= 1;
        if iopl == 0 {
            cpu.set_flags(cpu.flags() | 1 << 19);
        }
        put(&cpu, TSS + 102, 2, 0x88);
        put(&cpu, 0x21 * 4, 4, 0x0900_0010);
        assert_eq!(step(&mut cpu, &[0xcd, 0x21]), Ok(()));
        assert_eq!((selector(&cpu, Seg::Cs), cpu.rip, cpu.regs[4], cpu.cpl), (0x900, 0x10, 0xfa, 3));
        assert_eq!(slots(&cpu, 0x60fa, 2, 3), [2, 0x800, pushed], "IOPL {iopl}");
        assert_eq!(cpu.flags(), after);
        put(&cpu, TSS + 0x88 - 32 + 4, 1, 2);
        assert!(step(&mut cpu, &[0xcd, 0x21]).is_err(), "the bitmap says: not redirected");
    }
}

#[test]
fn cli_sti_pushf_popf_iret_with_and_without_vme() {
    for code in [&[0xfa][..], &[0xfb], &[0x9c], &[0x9d], &[0xcf]] {
        assert_eq!(step(&mut v86(0), code), gp(0), "{code:02x?}");
        assert_eq!(step(&mut v86(3), code), Ok(()), "{code:02x?}");
    }
    let mut cpu = v86(0);
    cpu.cr4 |= 1;
    run(&mut cpu, &[0xfb]);
    assert_eq!(cpu.flags(), 0xa_0202);
    run(&mut cpu, &[0x9c]);
    assert_eq!(get(&cpu, 0x60fe, 2), 0x3202, "IF shows VIF, IOPL reads 3");
    run(&mut cpu, &[0xfa]);
    assert_eq!(cpu.flags(), 0x2_0202);
    run(&mut cpu, &[0x9d]);
    assert_eq!(cpu.flags(), 0xa_0202, "POPF sets VIF from IF");
    assert_eq!(step(&mut cpu, &[0x66, 0x9c]), gp(0), "no 32-bit form");
    cpu.set_flags(0x12_0202);
    assert_eq!(step(&mut cpu, &[0xfb]), gp(0), "VIP");
    put(&cpu, 0x6100, 2, 0x200);
    assert_eq!(step(&mut cpu, &[0x9d]), gp(0), "VIP and IF");
    put(&cpu, 0x6100, 2, 0x100);
    assert_eq!(step(&mut cpu, &[0x9d]), gp(0), "TF");
}

#[test]
fn far_transfers_load_8086_segments() {
    let mut cpu = v86(0);
    run(&mut cpu, &[0xea, 0x34, 0x12, 0x00, 0x20]);
    assert_eq!(*cpu.segment(Seg::Cs), Segment { selector: 0x2000, base: 0x20000, limit: 0xffff, attr: 0xf3 });
    assert_eq!((cpu.rip, cpu.cpl), (0x1234, 3));
}
