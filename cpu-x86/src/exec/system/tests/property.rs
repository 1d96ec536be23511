//! Properties: what delivery stores IRET brings back, and descriptors say what was put into them.
use super::*;
use proptest::prelude::*;

/// Flags that a program may have (VM apart).
const PROGRAM_FLAGS: u64 = 0x24_4ed5;

/// What a program can tell of itself.
fn seen(cpu: &Cpu) -> (u64, u64, u64, u8, [u16; 4]) {
    let selectors = [Seg::Cs, Seg::Ss, Seg::Ds, Seg::Es].map(|s| selector(cpu, s));
    (cpu.rip, cpu.regs[4], cpu.flags() & !(1 << 16), cpu.cpl, selectors)
}

/// Delivers `e` and returns from its handler.
fn round_trip(cpu: &mut Cpu, e: Exception, slot: u64, iret: &[u8]) {
    cpu.raise(e);
    assert_eq!(cpu.activity, crate::Activity::Active);
    cpu.regs[4] += if e.error.is_some() { slot } else { 0 };
    run(cpu, iret);
}

fn exception() -> impl Strategy<Value = Exception> {
    (0u8..32, any::<u16>()).prop_map(|(vector, error)| match vector {
        8 | 10..=14 | 17 | 21 => Exception::with(vector, u32::from(error)),
        _ => Exception::plain(vector),
    })
}

proptest! {
    #[test]
    fn iret_undoes_delivery_in_protected_mode(e in exception(), f: u64, at in 0u64..0x10_0000, sp in 0x5000u64..0x6000, user: bool) {
        let mut cpu = if user { protected3() } else { protected() };
        cpu.set_flags(f & PROGRAM_FLAGS & !(1 << 14));
        (cpu.rip, cpu.regs[4]) = (at, sp);
        let before = seen(&cpu);
        round_trip(&mut cpu, e, 4, &[0xcf]);
        if user {
            // The kernel's segments are usable at CPL 3 only if their DPL is; here they are the program's own.
            prop_assert_eq!(cpu.segment(Seg::Ss).dpl(), 3);
        }
        prop_assert_eq!(seen(&cpu), before);
    }

    #[test]
    fn iret_undoes_delivery_in_long_mode(e in exception(), f: u64, at: u64, sp in 0x5000u64..0x6000, mode in 0..3) {
        let mut cpu = if mode == 0 { long() } else { long3() };
        let mut at = ((at << 16) as i64 >> 16) as u64;
        if mode == 2 {
            enter(&mut cpu, CODE3, DATA3, 0);
            at &= 0xffff_ffff;
        }
        cpu.set_flags(f & PROGRAM_FLAGS & !(1 << 14));
        (cpu.rip, cpu.regs[4]) = (at, sp);
        let before = seen(&cpu);
        round_trip(&mut cpu, e, 8, &[0x48, 0xcf]);
        prop_assert_eq!(seen(&cpu), before);
    }

    #[test]
    fn iret_undoes_delivery_in_virtual_8086_and_real_mode(e in exception(), f: u64, at: u16, sp in 0x20u64..0x1000, iopl in 0u64..4) {
        let mut cpu = v86(iopl);
        cpu.set_flags(f & PROGRAM_FLAGS | 1 << 17 | iopl << 12);
        (cpu.rip, cpu.regs[4]) = (u64::from(at), sp);
        let before = seen(&cpu);
        round_trip(&mut cpu, e, 4, &[0xcf]);
        prop_assert_eq!(seen(&cpu), before);
        let mut cpu = real();
        cpu.set_flags(f & PROGRAM_FLAGS & 0xffff);
        (cpu.rip, cpu.regs[4]) = (u64::from(at), 0x6000 + sp);
        let before = seen(&cpu);
        round_trip(&mut cpu, Exception::plain(e.vector), 2, &[0xcf]);
        prop_assert_eq!(seen(&cpu), before);
    }

    #[test]
    fn a_descriptor_holds_what_was_put_into_it(base: u32, limit in 0u64..0x10_0000, rights: u8, high in 0u64..16) {
        let d = Descriptor { raw: descriptor(u64::from(base), limit, u64::from(rights), high), high: 0, at: 0 };
        prop_assert_eq!(d.base(), u64::from(base));
        let bytes = if high & 8 != 0 { limit * 4096 + 4095 } else { limit };
        prop_assert_eq!(u64::from(d.limit()), bytes);
        prop_assert_eq!((d.dpl(), d.kind(), d.is_present()), (rights >> 5 & 3, rights & 15, rights >= 0x80));
        prop_assert_eq!((d.is_system(), d.is_long(), d.is_big()), (rights & 16 == 0, high & 2 != 0, high & 4 != 0));
        prop_assert_eq!(u64::from(d.segment(0).attr & 0xf000) >> 12, high);
    }

    #[test]
    fn popf_of_any_image_obeys_an_independent_rule(image: u32, old: u32, cpl in 0u8..4, wide: bool) {
        let mut cpu = protected();
        cpu.set_flags(u64::from(old) & 0x3c_7fd5);
        cpu.cpl = cpl;
        let old = cpu.flags();
        put(&cpu, cpu.regs[4], 4, u64::from(image));
        run(&mut cpu, if wide { &[0x9d] } else { &[0x66, 0x9d] });
        for bit in 0..32 {
            let from_image = match bit {
                0 | 2 | 4 | 6 | 7 | 8 | 10 | 11 | 14 => true,
                9 => cpl <= (old >> 12 & 3) as u8,
                12 | 13 => cpl == 0,
                18 | 21 => wide,
                _ => false,
            };
            let expected = if from_image { u64::from(image) } else { old } >> bit & 1;
            prop_assert_eq!(cpu.flags() >> bit & 1, expected, "bit {}", bit);
        }
    }

    #[test]
    fn any_system_instruction_over_any_tables_never_panics(
        op in prop::sample::select(OPCODES),
        tail: [u8; 10],
        mode in 0..6,
        regs: [u64; 16],
        tables in prop::collection::vec(any::<u64>(), 48),
        flags: u64,
        cr4: u64,
    ) {
        let mut cpu = match mode {
            0 => real(),
            1 => protected(),
            2 => protected3(),
            3 => v86(3),
            4 => long(),
            _ => long3(),
        };
        for (r, v) in cpu.regs.iter_mut().zip(regs) {
            *r = if v & 1 == 0 { v } else { v & 0xffff };
        }
        for (n, v) in tables.iter().enumerate() {
            // Present, and mostly of type and base that lead somewhere.
            let v = if n % 3 == 0 { *v } else { v & 0x00ff_6f00_0010_ffff | 1 << 47 };
            put(&cpu, [GDT, TSS, IDT][n / 16] + 8 * (n as u64 % 16), 8, v);
        }
        cpu.cr4 |= cr4 & 0x3f;
        cpu.set_flags(cpu.flags() | flags & 0x1c_7fd5);
        let bytes: Vec<u8> = op.iter().chain(&tail).copied().take(15).collect();
        let mut decoder = Decoder::with_ip(cpu.code_bits(), &bytes, 0, DecoderOptions::NONE);
        let i = decoder.decode();
        cpu.next_rip = cpu.rip.wrapping_add(i.len() as u64);
        let Some(meaning) = super::super::lookup(&i) else { return Ok(()) };
        match (meaning.run)(&mut cpu, &i) {
            Ok(()) => cpu.rip = cpu.next_rip,
            Err(Stop::Exception(e)) => cpu.raise(e),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
        prop_assert!(cpu.cpl < 4);
        cpu.after_step(flags & 1 != 0, flags & 2 != 0);
        cpu.service();
    }
}

/// The first bytes of every system instruction, some with the operand size changed.
#[rustfmt::skip]
const OPCODES: &[&[u8]] = &[
    &[0x06], &[0x07], &[0x0e], &[0x16], &[0x17], &[0x1e], &[0x1f], &[0x63], &[0x8c], &[0x8e], &[0x9a], &[0x9c], &[0x9d],
    &[0xc4], &[0xc5], &[0xca], &[0xcb], &[0xcc], &[0xcd], &[0xce], &[0xcf], &[0xea], &[0xf1], &[0xfa], &[0xfb],
    &[0xff, 0x18], &[0xff, 0x28], &[0x0f, 0x00], &[0x0f, 0x01], &[0x0f, 0x02], &[0x0f, 0x03], &[0x0f, 0x05],
    &[0x0f, 0x06], &[0x0f, 0x07], &[0x0f, 0x20], &[0x0f, 0x21], &[0x0f, 0x22], &[0x0f, 0x23], &[0x0f, 0x34],
    &[0x0f, 0x35], &[0x0f, 0xa0], &[0x0f, 0xa1], &[0x0f, 0xb2], &[0x0f, 0xb4], &[0xf3, 0x0f, 0xae],
    &[0x66, 0x9a], &[0x66, 0xca], &[0x66, 0xcf], &[0x66, 0x9d], &[0x66, 0x9c], &[0x66, 0x07], &[0x66, 0x17],
    &[0x48, 0xcf], &[0x48, 0xcb], &[0x48, 0xff, 0x18], &[0x48, 0xff, 0x28], &[0x48, 0x0f, 0x07], &[0x48, 0x0f, 0x35],
];
