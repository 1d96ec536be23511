//! Loading and storing segment and table registers.
use super::*;
use crate::fault::Done;

pub(super) fn outcome(d: Done) -> Result<(), Exception> {
    d.map_err(|s| match s {
        Stop::Exception(e) => e,
        other => panic!("{other:?}"),
    })
}

#[test]
fn data_segments_check_privilege_type_and_presence() {
    let mut cpu = protected();
    let cases = [(0x200, gp(0x200)), (TSS_SELECTOR, gp(0x28)), (0x13, gp(0x10)), (ABSENT, np(0x78)), (0x0d, gp(0xc))];
    for (selector, fault) in cases {
        assert_eq!(outcome(cpu.load_segment(Seg::Ds, selector)), fault, "{selector:#x}");
    }
    for selector in [0, 3, CODE0, DATA0, DATA3, CONFORMING, READ_ONLY] {
        assert_eq!(cpu.load_segment(Seg::Es, selector), Ok(()), "{selector:#x}");
    }
    let mut cpu = protected3();
    assert_eq!(outcome(cpu.load_segment(Seg::Ds, DATA0)), gp(0x10));
    assert_eq!(cpu.load_segment(Seg::Ds, CONFORMING), Ok(()));
    put(&cpu, GDT + 0x30, 8, descriptor(0, 0xfffff, 0x9c, 0xc));
    assert_eq!(outcome(cpu.load_segment(Seg::Ds, CONFORMING)), gp(0x30), "execute-only");
}

#[test]
fn ss_needs_writable_data_of_exactly_its_privilege() {
    let mut cpu = protected();
    let cases =
        [(0, gp(0)), (DATA3, gp(0x20)), (READ_ONLY, gp(0x80)), (CODE0, gp(8)), (ABSENT, ss(0x78)), (0x11, gp(0x10))];
    for (selector, fault) in cases {
        assert_eq!(outcome(cpu.load_segment(Seg::Ss, selector)), fault, "{selector:#x}");
    }
    assert_eq!(cpu.load_segment(Seg::Ss, SMALL), Ok(()));
    assert_eq!(*cpu.segment(Seg::Ss), Segment { selector: SMALL, base: 0x10000, limit: 0xfff, attr: 0x93 });
    assert_eq!(get(&cpu, GDT + u64::from(SMALL) + 5, 1), 0x93, "accessed");
    let mut cpu = long();
    assert_eq!(cpu.load_segment(Seg::Ss, 0), Ok(()), "null at CPL 0 of 64-bit mode");
    let mut cpu = long3();
    assert_eq!(outcome(cpu.load_segment(Seg::Ss, 3)), gp(0));
}

#[test]
fn a_null_selector_clears_the_base_of_fs() {
    let mut cpu = long();
    cpu.set_base(Seg::Fs, 0x1234);
    cpu.regs[0] = 3;
    run(&mut cpu, &[0x8e, 0xe0]);
    assert_eq!(
        (cpu.segment(Seg::Fs).base, selector(&cpu, Seg::Fs), cpu.regs[crate::state::cell::SEG_BASE + 4]),
        (0, 3, 0)
    );
}

#[test]
fn lldt_and_ltr_read_sixteen_bytes_in_long_mode() {
    let mut cpu = long();
    cpu.regs[0] = u64::from(LDT);
    put(&cpu, GDT + u64::from(LDT) + 8, 8, 0xffff_8000);
    run(&mut cpu, &[0x0f, 0x00, 0xd0]);
    assert_eq!((cpu.ldtr.base, cpu.ldtr.limit, cpu.ldtr.selector), (0xffff_8000_0000_5000, 0x1f, LDT));
    put(&cpu, GDT + u64::from(LDT) + 8, 8, 0x100_0000);
    assert_eq!(step(&mut cpu, &[0x0f, 0x00, 0xd0]), gp(0x50), "canonical base");
    cpu.regs[0] = 0x90;
    put(&cpu, GDT + 0x90, 8, descriptor(TSS_B, 0x67, 0xe9, 0));
    put(&cpu, GDT + 0x98, 8, 0xffff_ffff);
    run(&mut cpu, &[0x0f, 0x00, 0xd8]);
    assert_eq!((cpu.tr.base, cpu.tr.attr, cpu.tr.limit), (0xffff_ffff_0000_4000, 0xeb, 0x67));
    assert_eq!(get(&cpu, GDT + 0x95, 1), 0xeb, "busy");
    assert_eq!(step(&mut cpu, &[0x0f, 0x00, 0xd8]), gp(0x90), "already busy");
    cpu.regs[0] = 0;
    assert_eq!(step(&mut cpu, &[0x0f, 0x00, 0xd8]), gp(0));
    run(&mut cpu, &[0x0f, 0x00, 0xd0]);
    assert_ne!(cpu.ldtr.attr & Segment::UNUSABLE, 0);
    assert_eq!(outcome(cpu.load_segment(Seg::Ds, 0x0c)), gp(0xc), "no LDT");
    assert_eq!(step(&mut long3(), &[0x0f, 0x00, 0xd8]), gp(0));
    assert_eq!(step(&mut v86(3), &[0x0f, 0x00, 0xd8]), ud());
    assert_eq!(step(&mut real(), &[0x0f, 0x00, 0xc0]), ud());
}

#[test]
fn segments_load_from_the_ldt() {
    let mut cpu = protected();
    cpu.load_ldtr(LDT).unwrap();
    put(&cpu, 0x5000 + 8, 8, descriptor(0x1234_5678, 0xf, 0x92, 4));
    cpu.load_segment(Seg::Gs, 0x0c).unwrap();
    assert_eq!(*cpu.segment(Seg::Gs), Segment { selector: 0xc, base: 0x1234_5678, limit: 0xf, attr: 0x4093 });
    assert_eq!(outcome(cpu.load_segment(Seg::Gs, 0x24)), gp(0x24), "beyond its limit");
}

#[test]
fn mov_and_push_store_selectors() {
    let mut cpu = protected();
    cpu.regs[0] = u64::MAX;
    run(&mut cpu, &[0x8c, 0xd8]);
    assert_eq!(cpu.regs[0], 0x10, "zero-extended to 32 bits");
    cpu.regs[0] = 0xffff_ffff;
    run(&mut cpu, &[0x66, 0x8c, 0xd8]);
    assert_eq!(cpu.regs[0], 0xffff_0010);
    put(&cpu, 0x6fec, 4, 0xaaaa_aaaa);
    run(&mut cpu, &[0x1e]);
    assert_eq!((get(&cpu, 0x6fec, 4), cpu.regs[4]), (0xaaaa_0010, 0x6fec), "16 of 32 bits are written");
    put(&cpu, 0x6fec, 4, 0x5555_0023);
    run(&mut cpu, &[0x07]);
    assert_eq!((selector(&cpu, Seg::Es), cpu.regs[4]), (DATA3, 0x6ff0));
    run(&mut cpu, &[0x66, 0x1e]);
    assert_eq!((get(&cpu, 0x6fee, 2), cpu.regs[4]), (0x10, 0x6fee));
    let mut cpu = long();
    run(&mut cpu, &[0x0f, 0xa0]);
    assert_eq!((get(&cpu, 0x6ff0, 8), cpu.regs[4]), (0, 0x6ff0));
}

#[test]
fn a_failed_pop_moves_nothing() {
    let mut cpu = protected();
    put(&cpu, 0x6ff0, 4, 0x200);
    assert_eq!(step(&mut cpu, &[0x1f]), gp(0x200));
    assert_eq!((cpu.regs[4], selector(&cpu, Seg::Ds)), (0x6ff0, DATA0));
}

#[test]
fn lss_and_lfs_load_offset_and_selector() {
    let mut cpu = protected();
    put(&cpu, 0x900, 8, 0x0010_1234_5678);
    run(&mut cpu, &[0x0f, 0xb2, 0x25, 0x00, 0x09, 0, 0]);
    assert_eq!((cpu.regs[4], selector(&cpu, Seg::Ss), cpu.inhibit), (0x1234_5678, DATA0, 0));
    put(&cpu, 0x904, 2, 0x200);
    assert_eq!(step(&mut cpu, &[0x0f, 0xb4, 0x05, 0x00, 0x09, 0, 0]), gp(0x200));
    assert_eq!(cpu.regs[0], 0);
}

#[test]
fn table_registers_load_and_store_in_every_size() {
    let mut cpu = protected();
    put(&cpu, 0x900, 8, 0x1234_5678_9abc_def0);
    run(&mut cpu, &[0x0f, 0x01, 0x15, 0x00, 0x09, 0, 0]);
    assert_eq!(cpu.gdtr, Table { base: 0x5678_9abc, limit: 0xdef0 });
    run(&mut cpu, &[0x66, 0x0f, 0x01, 0x1d, 0x00, 0x09, 0, 0]);
    assert_eq!(cpu.idtr, Table { base: 0x78_9abc, limit: 0xdef0 }, "24 bits");
    run(&mut cpu, &[0x0f, 0x01, 0x05, 0x20, 0x09, 0, 0]);
    assert_eq!((get(&cpu, 0x920, 8)), 0x5678_9abc_def0);
    let mut cpu = long();
    put(&cpu, 0x900, 8, 0x0000_1234_5678_0fff);
    put(&cpu, 0x908, 2, 0xfeff);
    cpu.regs[0] = 0x900;
    assert_eq!(step(&mut cpu, &[0x0f, 0x01, 0x10]), gp(0), "canonical base");
    put(&cpu, 0x900, 8, 0x8000_0000_5678_0fff);
    put(&cpu, 0x908, 2, 0xffff);
    run(&mut cpu, &[0x0f, 0x01, 0x10]);
    assert_eq!(cpu.gdtr, Table { base: 0xffff_8000_0000_5678, limit: 0xfff });
    let mut cpu = long3();
    cpu.regs[0] = 0x900;
    assert_eq!(step(&mut cpu, &[0x0f, 0x01, 0x10]), gp(0));
    assert_eq!(step(&mut cpu, &[0x0f, 0x01, 0x00]), Ok(()), "SGDT without UMIP");
    cpu.cr4 |= 1 << 11;
    for code in [[0x0f, 0x01, 0x00], [0x0f, 0x01, 0x08], [0x0f, 0x00, 0xc0], [0x0f, 0x00, 0xc8], [0x0f, 0x01, 0xe0]] {
        assert_eq!(step(&mut cpu, &code), gp(0), "{code:02x?}");
    }
}

#[test]
fn lar_lsl_verr_verw_arpl_only_look() {
    let mut cpu = protected3();
    cpu.regs[1] = u64::from(CODE3);
    run(&mut cpu, &[0x0f, 0x02, 0xc1]);
    assert_eq!((cpu.regs[0], cpu.flags() & 0x40), (0xc0_fa00, 0x40), "not accessed: nothing is loaded");
    run(&mut cpu, &[0x0f, 0x03, 0xc1]);
    assert_eq!(cpu.regs[0], 0xffff_ffff);
    for (selector, readable, writable) in
        [(CODE3, true, false), (DATA3, true, true), (DATA0, false, false), (CONFORMING, true, false), (0, false, false)]
    {
        cpu.regs[0] = u64::from(selector);
        run(&mut cpu, &[0x0f, 0x00, 0xe0]);
        assert_eq!(cpu.flags() & 0x40 != 0, readable, "VERR {selector:#x}");
        run(&mut cpu, &[0x0f, 0x00, 0xe8]);
        assert_eq!(cpu.flags() & 0x40 != 0, writable, "VERW {selector:#x}");
    }
    cpu.regs[1] = u64::from(DATA0);
    cpu.regs[0] = 7;
    run(&mut cpu, &[0x0f, 0x02, 0xc1]);
    assert_eq!((cpu.regs[0], cpu.flags() & 0x40), (7, 0));
    (cpu.regs[0], cpu.regs[1]) = (0x10, 3);
    run(&mut cpu, &[0x63, 0xc8]);
    assert_eq!((cpu.regs[0], cpu.flags() & 0x40), (0x13, 0x40));
    run(&mut cpu, &[0x63, 0xc8]);
    assert_eq!((cpu.regs[0], cpu.flags() & 0x40), (0x13, 0));
    let mut cpu = protected();
    cpu.regs[1] = u64::from(TASK_GATE);
    run(&mut cpu, &[0x0f, 0x02, 0xc1]);
    assert_eq!(cpu.flags() & 0x40, 0x40);
    run(&mut cpu, &[0x0f, 0x03, 0xc1]);
    assert_eq!(cpu.flags() & 0x40, 0, "a gate has no limit");
    assert_eq!(step(&mut real(), &[0x0f, 0x02, 0xc1]), ud());
}
