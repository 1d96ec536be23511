//! MSRs: what they keep, and what they refuse with #GP: reserved bits, addresses that are not canonical, memory types.
//!
//! In the spirit of x86/msr.c and x86/la57.c of kvm-unit-tests.

use super::super::Program;
use super::apic::skip_wrmsr;
use super::{Checks, checks};
use iced_x86::code_asm::*;

const GENERAL_PROTECTION: u32 = 13;
const MISC_ENABLE: u32 = 0x1a0;
/// As firmware leaves it: fast strings, performance monitoring, no BTS; PEBS is there.
const MISC_ENABLE_FIRMWARE: u64 = 0x881;
/// Canonical with 57 bits, not with 48.
const CANONICAL_57: u64 = 0xffaa_aaaa_aaaa_aaaa;
const NOT_CANONICAL: u64 = 0xaaaa_aaaa_aaaa_aaaa;
const ADDRESS: u64 = 0x1234_5678_9abc;

/// Values that are read back as they were written.
#[rustfmt::skip] // one register a row
const KEPT: [(&str, u32, u64); 22] = [
    ("IA32_SYSENTER_CS", 0x174, 0x1234),
    ("IA32_SYSENTER_ESP", 0x175, ADDRESS),
    ("IA32_SYSENTER_EIP", 0x176, ADDRESS),
    ("IA32_MISC_ENABLE", MISC_ENABLE, 0x4_00c5_0889),
    ("IA32_PAT", 0x277, 0x0707_0707),
    ("IA32_FS_BASE", 0xc000_0100, ADDRESS),
    ("IA32_FS_BASE, 57 bits", 0xc000_0100, CANONICAL_57),
    ("IA32_GS_BASE", 0xc000_0101, ADDRESS),
    ("IA32_KERNEL_GS_BASE", 0xc000_0102, ADDRESS),
    ("IA32_KERNEL_GS_BASE, 57 bits", 0xc000_0102, CANONICAL_57),
    ("IA32_LSTAR", 0xc000_0082, ADDRESS),
    ("IA32_LSTAR, 57 bits", 0xc000_0082, CANONICAL_57),
    ("IA32_CSTAR", 0xc000_0083, ADDRESS),
    ("IA32_FMASK", 0xc000_0084, 0xffff_ffff),
    ("IA32_TSC_AUX", 0xc000_0103, 0xffff_ffff),
    ("IA32_UMWAIT_CONTROL", 0xe1, 0x1_86a1),
    ("IA32_MC0_CTL, all ones", 0x400, u64::MAX),
    ("IA32_MC0_CTL, zero", 0x400, 0),
    ("IA32_MC3_ADDR", 0x40e, NOT_CANONICAL),
    ("IA32_MC3_MISC", 0x40f, u64::MAX),
    ("IA32_MTRR_PHYSBASE1", 0x202, 0x1234_5006),
    ("IA32_MTRR_FIX4K_F8000", 0x26f, 0x0605_0401_0006_0504),
];

/// Writes that fault.
#[rustfmt::skip] // one register a row
const REFUSED: [(&str, u32, u64); 20] = [
    ("IA32_FS_BASE, not canonical", 0xc000_0100, NOT_CANONICAL),
    ("IA32_GS_BASE, not canonical", 0xc000_0101, NOT_CANONICAL),
    ("IA32_KERNEL_GS_BASE, not canonical", 0xc000_0102, NOT_CANONICAL),
    ("IA32_LSTAR, not canonical", 0xc000_0082, NOT_CANONICAL),
    ("IA32_SYSENTER_EIP, not canonical", 0x176, NOT_CANONICAL),
    ("IA32_FMASK, upper half", 0xc000_0084, 1 << 32),
    ("IA32_EFER, reserved bit", 0xc000_0080, 0x502),
    ("IA32_EFER, LME while paging", 0xc000_0080, 0),
    ("IA32_PAT, type 2", 0x277, 0x0007_0406_0007_0402),
    ("IA32_MTRR_PHYSBASE0, type 7", 0x200, 7),
    ("IA32_MTRR_PHYSMASK0, reserved bit", 0x201, 0x400),
    ("IA32_MTRR_FIX64K_00000, type 3", 0x250, 3),
    ("IA32_MTRR_DEF_TYPE, type 2", 0x2ff, 0xc02),
    ("IA32_MTRRCAP, read-only", 0xfe, 0),
    ("IA32_MC0_CTL, neither all nor nothing", 0x400, NOT_CANONICAL),
    ("IA32_MC0_STATUS, not zero", 0x401, 1),
    ("IA32_MC4_CTL, no such bank", 0x410, 0),
    ("IA32_APIC_BASE, reserved bit", 0x1b, 0xfee0_0901),
    ("IA32_XSS, no such component", 0xda0, 1 << 63),
    ("no such register", 0x2000, 0),
];

pub fn write(p: &mut Program) {
    checks(p, body);
}

fn body(c: &mut Checks<'_>) -> Result<(), IcedError> {
    let (mut fault, mut start) = (c.p.a.create_label(), c.p.a.create_label());
    c.p.a.jmp(start)?;
    skip_wrmsr(c, &mut fault)?;
    c.p.a.set_label(&mut start)?;
    c.p.set_gate(GENERAL_PROTECTION, fault)?;
    for (name, msr, v) in KEPT {
        c.p.wrmsr(msr, v)?;
        c.p.a.mov(ecx, msr)?;
        c.p.a.rdmsr()?;
        c.p.a.shl(rdx, 32)?;
        c.p.a.mov(r12d, eax)?;
        c.p.a.or(r12, rdx)?;
        c.expect(&format!("{name} keeps what is written"), v)?;
    }
    c.p.wrmsr(MISC_ENABLE, MISC_ENABLE_FIRMWARE)?;
    for (name, msr, v) in REFUSED {
        c.p.a.xor(ebp, ebp)?;
        c.p.wrmsr(msr, v)?;
        c.p.a.mov(r12, rbp)?;
        c.expect(&format!("#GP: {name}"), 1)?;
    }
    Ok(())
}
