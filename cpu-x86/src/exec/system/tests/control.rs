//! Control registers and EFER.
use super::*;
use crate::fault::Done;

const GP0: Done = Err(Stop::gp(0));

#[test]
fn cr0_refuses_impossible_combinations() {
    let mut cpu = protected();
    for v in [0x8000_0010, 0x2000_0011, 1 << 32 | 1] {
        assert_eq!(cpu.set_cr(0, v), GP0, "{v:#x}");
    }
    assert_eq!(cpu.set_cr(0, 0xffff_ffff), Ok(()));
    assert_eq!(cpu.cr(0), Some(0xe005_003f));
    assert_eq!(cpu.set_cr(0, 0), Ok(()));
    assert_eq!(cpu.cr(0), Some(0x10));
}

#[test]
fn long_mode_is_entered_by_pg_with_lme_and_pae_and_left_from_compatibility_mode() {
    let mut cpu = protected();
    assert_eq!(cpu.set_efer(0x100), Ok(()));
    assert_eq!(cpu.set_cr(0, 0x8000_0011), GP0, "needs PAE");
    assert_eq!(cpu.set_cr(4, 0x20), Ok(()));
    cpu.tr.attr = 0x83;
    assert_eq!(cpu.set_cr(0, 0x8000_0011), GP0, "16-bit TSS");
    cpu.tr.attr = 0x8b;
    assert_eq!(cpu.set_cr(0, 0x8000_0011), Ok(()));
    assert_eq!((cpu.efer(), cpu.long_mode(), cpu.code_bits()), (0x500, true, 32));
    assert_eq!(cpu.set_efer(0), GP0, "LME with PG");
    assert_eq!(cpu.set_efer(0x901), Ok(()));
    assert_eq!(cpu.efer(), 0xd01, "LMA stays");
    assert_eq!(cpu.set_cr(4, 0), GP0, "PAE");
    enter(&mut cpu, CODE64, DATA0, 0x7000);
    assert_eq!(cpu.set_cr(0, 0x11), GP0, "from 64-bit code");
    enter(&mut cpu, CODE0, DATA0, 0x7000);
    assert_eq!(cpu.set_cr(0, 0x11), Ok(()));
    assert_eq!((cpu.efer(), cpu.set_efer(2)), (0x901, GP0));
}

#[test]
fn pcids_need_long_mode_and_a_clean_cr3() {
    let mut cpu = protected();
    assert_eq!(cpu.set_cr(4, 1 << 17), GP0);
    let mut cpu = long();
    cpu.cr3 = 0x1001;
    assert_eq!(cpu.set_cr(4, 1 << 17 | 0x20), GP0);
    assert_eq!(cpu.set_cr(3, 1 << 63 | 0x1000), GP0);
    assert_eq!(cpu.set_cr(3, 0x1000), Ok(()));
    assert_eq!(cpu.set_cr(4, 1 << 17 | 0x20), Ok(()));
    assert_eq!(cpu.set_cr(3, 1 << 63 | 0x1005), Ok(()));
    assert_eq!(cpu.cr(3), Some(0x1005));
    assert_eq!(cpu.set_cr(3, 1 << 46), GP0);
    enter(&mut cpu, CODE0, DATA0, 0x7000);
    assert_eq!(cpu.set_cr(0, 0x11), GP0, "PCIDE with PG");
}

#[test]
fn cr4_has_the_bits_that_cpuid_offers() {
    let mut cpu = protected();
    assert_eq!(cpu.set_cr(4, 0x0075_1fff & !(1 << 17)), Ok(()));
    for bit in (0..64).filter(|b| (0x77_1fffu64 >> b) & 1 == 0) {
        assert_eq!(cpu.set_cr(4, 1 << bit), GP0, "bit {bit}");
    }
}

#[test]
fn pae_paging_checks_the_four_entries() {
    let mut cpu = protected();
    cpu.set_cr(4, 0x20).unwrap();
    cpu.set_cr(3, 0x9020).unwrap();
    put(&cpu, 0x9028, 8, 0xa001 | 1 << 46);
    assert_eq!(cpu.set_cr(0, 0x8000_0011), GP0);
    put(&cpu, 0x9028, 8, 0xa003);
    assert_eq!(cpu.set_cr(0, 0x8000_0011), GP0, "bit 1");
    put(&cpu, 0x9028, 8, 0xa002);
    put(&cpu, 0x9038, 8, 0xc001);
    assert_eq!(cpu.set_cr(0, 0x8000_0011), Ok(()), "not present");
    assert_eq!(cpu.pdpte, [0, 0xa002, 0, 0xc001]);
    put(&cpu, 0xb000, 8, 0x21);
    assert_eq!(cpu.set_cr(3, 0xb000), GP0);
    assert_eq!((cpu.cr(3), cpu.pdpte[0]), (Some(0x9020), 0));
}

#[test]
fn mov_cr_is_the_kernels_and_lmsw_cannot_clear_pe() {
    let mut cpu = protected();
    cpu.regs[0] = 0x1_0008;
    run(&mut cpu, &[0x0f, 0x22, 0xd8]);
    run(&mut cpu, &[0x0f, 0x20, 0xd9]);
    assert_eq!(cpu.regs[1], 0x1_0008);
    cpu.regs[0] = 0xfffe;
    run(&mut cpu, &[0x0f, 0x01, 0xf0]);
    assert_eq!(cpu.cr0, 0x1f);
    run(&mut cpu, &[0x0f, 0x06]);
    assert_eq!(cpu.cr0, 0x17);
    run(&mut cpu, &[0x0f, 0x01, 0xe1]);
    assert_eq!(cpu.regs[1], 0x17);
    for code in [&[0x0f, 0x22, 0xd8][..], &[0x0f, 0x20, 0xd8], &[0x0f, 0x01, 0xf0], &[0x0f, 0x06]] {
        assert_eq!(step(&mut protected3(), code), gp(0), "{code:02x?}");
        assert_eq!(step(&mut v86(3), code), gp(0), "{code:02x?}");
    }
}
