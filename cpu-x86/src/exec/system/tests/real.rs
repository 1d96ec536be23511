//! Reset and real mode.
use super::*;
use crate::state::Activity;

#[test]
fn power_on_state_is_that_of_the_sdm() {
    let cpu = bare();
    assert_eq!((cpu.rip, cpu.flags(), cpu.cr0, cpu.regs[2]), (0xfff0, 2, 0x6000_0010, 0x806f8));
    let cs = Segment { selector: 0xf000, base: 0xffff_0000, limit: 0xffff, attr: 0x93 };
    assert_eq!(*cpu.segment(Seg::Cs), cs);
    assert_eq!((cpu.dr[6], cpu.dr[7]), (0xffff_0ff0, 0x400));
    assert_eq!((cpu.fpu.cw, cpu.fpu.sw, cpu.fpu.tag, cpu.mxcsr), (0x40, 0, 0x5555, 0x1f80));
    assert_eq!((cpu.idtr, cpu.gdtr.limit, cpu.code_bits()), (Table { base: 0, limit: 0xffff }, 0xffff, 16));
    assert_eq!((cpu.activity, cpu.msr.pat), (Activity::Active, 0x0007_0406_0007_0406));
}

#[test]
fn init_keeps_vectors_and_cache_bits_and_an_application_processor_waits_for_sipi() {
    let mut cpu = Cpu::new(Arc::new(Ram::new(1 << 20, &[]).unwrap()), 1);
    assert_eq!(cpu.activity, Activity::WaitForSipi);
    cpu.activity = Activity::Active;
    cpu.vec[3].0[0] = 7;
    cpu.cr0 = 0x2000_0011 | 1 << 30;
    cpu.sipi(9);
    assert_eq!(selector(&cpu, Seg::Cs), 0xf000, "an active processor ignores it");
    cpu.raise_init();
    cpu.raise_nmi();
    assert!(cpu.service());
    assert_eq!((cpu.vec[3].0[0], cpu.cr0, cpu.activity), (7, 0x6000_0010, Activity::WaitForSipi));
    assert!(!cpu.service());
    cpu.raise_sipi(0x9a);
    assert!(cpu.service());
    assert_eq!((selector(&cpu, Seg::Cs), cpu.segment(Seg::Cs).base, cpu.rip), (0x9a00, 0x9a000, 0));
    assert_eq!(cpu.activity, Activity::Active);
}

#[test]
fn int_in_real_mode_pushes_three_words_and_clears_if_tf_ac() {
    let mut cpu = real();
    cpu.set_flags(0x40000 | 0x301);
    run(&mut cpu, &[0xcd, 0x21]);
    assert_eq!((selector(&cpu, Seg::Cs), cpu.rip, cpu.regs[4]), (0x100, 0x210, 0x6ffa));
    assert_eq!(slots(&cpu, 0x6ffa, 2, 3), [0x8002, 0, 0x303]);
    assert_eq!(cpu.flags(), 3);
    run(&mut cpu, &[0xcf]);
    assert_eq!((selector(&cpu, Seg::Cs), cpu.rip, cpu.regs[4], cpu.flags()), (0, 0x8002, 0x7000, 0x303));
}

#[test]
fn exceptions_in_real_mode_push_no_error_code_and_point_at_the_instruction() {
    let mut cpu = real();
    cpu.raise(Exception::with(crate::vector::GP, 0));
    assert_eq!((cpu.rip, cpu.regs[4]), (0xd0, 0x6ffa));
    assert_eq!(slots(&cpu, 0x6ffa, 2, 3), [0x8000, 0, 2]);
}

#[test]
fn a_real_mode_push_wraps_in_its_segment() {
    let mut cpu = real();
    cpu.regs[4] = 0xabcd_0002;
    run(&mut cpu, &[0xcd, 0x21]);
    assert_eq!(cpu.regs[4], 0xabcd_fffc);
    assert_eq!((get(&cpu, 0, 2), slots(&cpu, 0xfffc, 2, 2)), (2, vec![0x8002, 0]));
}

#[test]
fn a_stack_of_one_byte_in_real_mode_shuts_down() {
    let mut cpu = real();
    cpu.regs[4] = 1;
    run(&mut cpu, &[0xcd, 0x21]);
    assert_eq!(cpu.activity, Activity::Shutdown);
}

#[test]
fn a_vector_beyond_the_real_mode_table_is_gp_then_df_then_shutdown() {
    let mut cpu = real();
    cpu.idtr.limit = 0x7f;
    assert_eq!(step(&mut cpu, &[0xcd, 0x20]), gp(0x102));
    run(&mut cpu, &[0xcd, 0x20]);
    assert_eq!((cpu.rip, cpu.activity), (0xd0, Activity::Active));
    cpu.idtr.limit = 3;
    cpu.raise(Exception::plain(crate::vector::UD));
    assert_eq!(cpu.activity, Activity::Shutdown);
}

#[test]
fn far_transfers_in_real_mode_keep_limit_and_rights() {
    let mut cpu = real();
    run(&mut cpu, &[0x9a, 0x34, 0x12, 0x00, 0x20]);
    assert_eq!((selector(&cpu, Seg::Cs), cpu.segment(Seg::Cs).base, cpu.rip), (0x2000, 0x20000, 0x1234));
    assert_eq!(slots(&cpu, 0x6ffc, 2, 2), [0x8005, 0]);
    run(&mut cpu, &[0xca, 0x06, 0x00]);
    assert_eq!((selector(&cpu, Seg::Cs), cpu.rip, cpu.regs[4]), (0, 0x8005, 0x7006));
    cpu.rip = CODE;
    assert_eq!(step(&mut cpu, &[0x66, 0xea, 0, 0, 1, 0, 0, 0x20]), gp(0));
    cpu.set_segment(Seg::Ds, Segment { selector: 8, base: 0, limit: 0xffff_ffff, attr: 0xc093 });
    cpu.regs[0] = 0x1234;
    run(&mut cpu, &[0x8e, 0xd8]);
    let unreal = Segment { selector: 0x1234, base: 0x12340, limit: 0xffff_ffff, attr: 0xc093 };
    assert_eq!(*cpu.segment(Seg::Ds), unreal);
}

#[test]
fn loaders_enter_flat_32_bit_and_64_bit_code() {
    let mut cpu = bare();
    cpu.set_flat32(8, 16);
    assert_eq!((cpu.code_bits(), cpu.cr0, cpu.stack_mask()), (32, 0x11, 0xffff_ffff));
    assert_eq!(cpu.linear(Seg::Ds, 0xffff_fffc, 4, crate::Access::Write), Ok(0xffff_fffc));
    assert_eq!(cpu.linear(Seg::Cs, 0x10_0000, 1, crate::Access::Execute), Ok(0x10_0000));
    let gdt = Table { base: 0x500, limit: 31 };
    cpu.set_long64(crate::Long64 { cr3: 0x9000, gdt, code: 0x10, data: 0x18 });
    assert_eq!((cpu.code_bits(), cpu.cr3, cpu.gdtr, cpu.efer), (64, 0x9000, gdt, 0x500));
    assert_eq!((selector(&cpu, Seg::Cs), selector(&cpu, Seg::Ss), cpu.cr0 >> 31, cpu.cr4), (0x10, 0x18, 1, 0x20));
}
