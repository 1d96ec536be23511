//! Paging with five levels and with protection keys; #AC.
use super::*;
use crate::exec::Invalidate;
use crate::{Exit, NoDoors};

/// Page tables of the lowest level used here.
const LEAVES: u64 = TABLES + 0x2000;
/// Where the first pages are mapped by pages of 4 KiB, in user space.
const SMALL_PAGES: u64 = 1 << 39;

/// 64-bit mode with the first 512 pages mapped a second time at [`SMALL_PAGES`], by 4 KiB pages.
fn with_small_pages() -> Box<Cpu> {
    let cpu = long();
    put(&cpu, TABLES + 8, 8, (TABLES + 0x3000) | 7);
    put(&cpu, TABLES + 0x3000, 8, (TABLES + 0x4000) | 7);
    put(&cpu, TABLES + 0x4000, 8, LEAVES | 7);
    for n in 0..256 {
        put(&cpu, LEAVES + 8 * n, 8, n << 12 | 7);
    }
    cpu
}

fn with_keys(pkru: u32) -> Box<Cpu> {
    let mut cpu = with_small_pages();
    cpu.set_cr(4, cpu.cr4 | 1 << 22).unwrap();
    for key in 0..16 {
        put(&cpu, LEAVES + 8 * (16 + key), 8, key << 59 | (16 + key) << 12 | 7);
    }
    cpu.set_pkru(pkru);
    cpu
}

/// The error code of the #PF, if there is one, of a load or a store in the page of `key`.
fn touch(cpu: &mut Cpu, key: u64, write: bool) -> Option<u32> {
    let at = SMALL_PAGES + ((16 + key) << 12) + 8;
    let done = if write { cpu.store(at, 8, 1) } else { cpu.load(at, 8).map(|_| ()) };
    match done {
        Ok(()) => None,
        Err(Stop::Exception(e)) => {
            assert_eq!((e.vector, e.cr2), (crate::vector::PF, Some(at)));
            e.error
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn protection_keys_forbid_data_accesses_to_user_pages() {
    // Key 1: no access; key 2: no writes.
    for (cpl, wp, key, write, want) in [
        (3, true, 1, false, Some(0x25)),
        (3, true, 1, true, Some(0x27)),
        (3, true, 2, false, None),
        (3, true, 2, true, Some(0x27)),
        (0, true, 1, false, Some(0x21)),
        (0, true, 2, true, Some(0x23)),
        (0, false, 2, true, None),
        (0, false, 1, true, Some(0x23)),
        (3, false, 2, true, Some(0x27)),
        (3, true, 15, true, None),
    ] {
        let mut cpu = with_keys(0x24);
        if wp {
            cpu.set_cr(0, cpu.cr0 | 1 << 16).unwrap();
        }
        cpu.set_cpl(cpl);
        assert_eq!(touch(&mut cpu, key, write), want, "cpl {cpl} wp {wp} key {key} write {write}");
        assert_eq!(touch(&mut cpu, key, write), want, "again, by the TLB");
    }
}

#[test]
fn a_key_matters_neither_to_fetches_nor_to_supervisor_pages_nor_without_pke() {
    let mut cpu = with_keys(0xffff_ffff);
    let at = SMALL_PAGES + (17 << 12);
    let who = crate::paging::Who { user: true, may_touch_user: true };
    assert!(cpu.walk(at, crate::Access::Execute, who).is_ok());
    put(&cpu, LEAVES + 8 * 17, 8, 1 << 59 | 17 << 12 | 3);
    assert_eq!(touch(&mut cpu, 1, true), None, "a supervisor page");
    cpu.set_cr(4, cpu.cr4 & !(1 << 22)).unwrap();
    assert_eq!(touch(&mut cpu, 2, true), None);
    cpu.set_cr(4, cpu.cr4 | 1 << 22).unwrap();
    assert_eq!(touch(&mut cpu, 2, true), Some(0x23), "what the TLB held is forgotten");
}

#[test]
fn wrpkru_takes_effect_at_once_and_has_its_checks() {
    let mut cpu = with_keys(0);
    cpu.set_cpl(3);
    assert_eq!(touch(&mut cpu, 3, true), None);
    (cpu.regs[0], cpu.regs[1], cpu.regs[2]) = (0x80, 0, 0);
    run(&mut cpu, &[0x0f, 0x01, 0xef]);
    assert_eq!((cpu.pkru, touch(&mut cpu, 3, true), touch(&mut cpu, 3, false)), (0x80, Some(0x27), None));
    cpu.regs[2] = u64::MAX;
    run(&mut cpu, &[0x0f, 0x01, 0xee]);
    assert_eq!((cpu.regs[0], cpu.regs[2]), (0x80, 0));
    cpu.regs[1] = 1;
    assert_eq!(step(&mut cpu, &[0x0f, 0x01, 0xee]), gp(0));
    assert_eq!(step(&mut cpu, &[0x0f, 0x01, 0xef]), gp(0));
    (cpu.regs[1], cpu.regs[2]) = (1 << 32, 1);
    assert_eq!(step(&mut cpu, &[0x0f, 0x01, 0xef]), gp(0), "EDX");
    cpu.cr4 = 1 << 5;
    assert_eq!(step(&mut cpu, &[0x0f, 0x01, 0xee]), ud());
    assert_eq!(step(&mut cpu, &[0x0f, 0x01, 0xef]), ud());
}

/// 64-bit mode with five levels: the old tables below entries 0 and 511, and below entry 1.
fn five_levels() -> Box<Cpu> {
    let mut cpu = long();
    let top = TABLES + 0x5000;
    for entry in [0, 1, 511] {
        put(&cpu, top + 8 * entry, 8, TABLES | 7);
    }
    cpu.cr4 |= 1 << 12;
    cpu.cr3 = top;
    cpu.on_paging_change(crate::engine::Paging::Control);
    cpu
}

#[test]
fn five_levels_map_57_bits() {
    let mut cpu = five_levels();
    put(&cpu, 0x5010, 8, 0x1122_3344_5566_7788);
    for base in [0, 1 << 48, 0xffff << 48, HIGH & 0xffff_ffff_ffff] {
        assert_eq!(cpu.load(base + 0x5010, 8), Ok(0x1122_3344_5566_7788), "{base:#x}");
    }
    let e = Exception::page(2 << 48, 0);
    assert_eq!(cpu.load(2 << 48, 8), Err(Stop::Exception(e)));
    put(&cpu, TABLES + 0x5000, 8, TABLES | 0x87);
    cpu.invalidate(Invalidate::AllGlobal);
    assert_eq!(cpu.load(0x5010, 8), Err(Stop::Exception(Exception::page(0x5010, 9))), "PS is reserved");
}

#[test]
fn canonical_addresses_have_57_bits_with_five_levels() {
    for (la57, at, reachable) in [
        (false, 0x7fff_ffff_fff8, true),
        (false, 0x8000_0000_0000, false),
        (true, 0x8000_0000_0000, true),
        (true, 0x00ff_ffff_ffff_fff8, true),
        (true, 0x0100_0000_0000_0000, false),
        (true, 0xff00_0000_0000_0000, true),
        (false, 0xff00_0000_0000_0000, false),
    ] {
        let mut cpu = if la57 { five_levels() } else { long() };
        let linear = cpu.linear(Seg::Ds, at, 8, crate::Access::Read);
        assert_eq!(linear, if reachable { Ok(at) } else { Err(Stop::gp(0)) }, "{la57} {at:#x}");
        cpu.regs[0] = at;
        assert_eq!(step(&mut cpu, &[0xff, 0xe0]), if reachable { Ok(()) } else { gp(0) }, "JMP {la57} {at:#x}");
        assert!(cpu.write_msr(0xc000_0082, at).is_ok() || at >> 56 == 1, "an MSR takes 57 bits");
    }
}

#[test]
fn la57_cannot_change_in_ia32e_mode() {
    let mut cpu = five_levels();
    assert_eq!(super::segment::outcome(cpu.set_cr(4, cpu.cr4 & !(1 << 12))), gp(0));
    let mut cpu = long();
    assert_eq!(super::segment::outcome(cpu.set_cr(4, cpu.cr4 | 1 << 12)), gp(0));
    let mut cpu = protected();
    assert_eq!(super::segment::outcome(cpu.set_cr(4, cpu.cr4 | 1 << 12)), Ok(()));
}

#[test]
fn code_runs_above_47_bits() {
    let mut cpu = five_levels();
    let far = 1u64 << 48;
    // mov rax, far + 8100h; jmp rax
    let mut code = vec![0x48, 0xb8];
    code.extend((far + 0x8100).to_le_bytes());
    code.extend([0xff, 0xe0]);
    assert!(cpu.ram.write(Gpa(CODE), &code));
    // lea rbx, [rip]; hlt
    assert!(cpu.ram.write(Gpa(0x8100), &[0x48, 0x8d, 0x1d, 0, 0, 0, 0, 0xf4]));
    assert_eq!(cpu.run(&mut NoDoors, 1000), Exit::Halted);
    assert_eq!((cpu.regs[3], cpu.rip), (far + 0x8107, far + 0x8108));
}

/// A user with alignment checks on: CR0.AM and RFLAGS.AC.
fn checked(mut cpu: Box<Cpu>) -> Box<Cpu> {
    cpu.cr0 |= 1 << 18;
    cpu.set_flags(1 << 18);
    cpu
}

#[test]
fn users_who_ask_for_it_get_alignment_checks() {
    let ac = Err(Exception::with(crate::vector::AC, 0));
    #[rustfmt::skip] // an instruction a row
    let cases: [(&[u8], u64, bool); 16] = [
        (&[0x8a, 0x03], 0x901, false), (&[0x66, 0x8b, 0x03], 0x901, true), (&[0x66, 0x8b, 0x03], 0x902, false),
        (&[0x8b, 0x03], 0x902, true), (&[0x89, 0x03], 0x904, false), (&[0x48, 0x89, 0x03], 0x904, true),
        (&[0x48, 0x01, 0x03], 0x908, false), (&[0x48, 0x01, 0x03], 0x90c, true),
        // MOVSD xmm0, [rbx]; FLD m32, m64; an XMM load that needs no alignment; PUSH; POP; MOVSQ.
        (&[0xf2, 0x0f, 0x10, 0x03], 0x904, true), (&[0xd9, 0x03], 0x902, true), (&[0xdd, 0x03], 0x904, true),
        (&[0x0f, 0x10, 0x03], 0x901, false), (&[0x50], 0x904, true), (&[0x58], 0x904, true),
        (&[0x48, 0xa5], 0x904, true), (&[0xf3, 0x48, 0xa5], 0x904, true),
    ];
    for (code, at, faults) in cases {
        let mut cpu = checked(long3());
        cpu.cr4 |= 1 << 9;
        (cpu.fpu.cw, cpu.fpu.tag) = (0x37f, 0xffff);
        for r in [1, 3, 4, 6, 7] {
            cpu.regs[r] = at;
        }
        let want = if faults { ac } else { Ok(()) };
        assert_eq!(step(&mut cpu, code), want, "{code:02x?} {at:#x}");
        for lacks in 0..3 {
            let mut cpu = checked(long3());
            cpu.cr4 |= 1 << 9;
            (cpu.fpu.cw, cpu.fpu.tag) = (0x37f, 0xffff);
            for r in [1, 3, 4, 6, 7] {
                cpu.regs[r] = at;
            }
            match lacks {
                0 => cpu.cr0 &= !(1 << 18),
                1 => cpu.set_flags(0),
                _ => cpu.set_cpl(0),
            }
            assert_eq!(step(&mut cpu, code), Ok(()), "{code:02x?} {at:#x} {lacks}");
        }
    }
}

#[test]
fn far_calls_check_each_slot_and_system_accesses_are_not_checked() {
    let mut cpu = checked(protected3());
    cpu.regs[4] = 0x5ffe;
    // call 1b:00009000
    assert_eq!(step(&mut cpu, &[0x9a, 0, 0x90, 0, 0, 0x1b, 0]), Err(Exception::with(crate::vector::AC, 0)));
    assert_eq!(cpu.regs[4], 0x5ffe);
    cpu.tr.base = TSS + 1;
    put(&cpu, TSS + 5, 4, 0x7000);
    put(&cpu, TSS + 9, 2, u64::from(DATA0));
    cpu.raise(Exception::plain(6));
    assert_eq!((cpu.rip, cpu.cpl), (0x1_0006, 0), "delivery reads the TSS unaligned");
}
