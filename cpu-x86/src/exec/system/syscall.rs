//! SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS and the FS and GS base instructions. Source: SDM vol. 2, each.
//!
//! The fast transfers load no descriptor: CS and SS get fixed, flat contents.

use crate::alu::flag;
use crate::fault::{Done, Stop};
use crate::paging::storable;
use crate::state::{Cpu, Seg, Segment, cr4, efer};
use iced_x86::{Code, Instruction, Mnemonic};

/// Flags that SYSRET loads from R11.
const SYSRET_FLAGS: u64 = 0x3c_7fd7;

/// Loads CS (64-bit or 32-bit code) and SS with flat contents and sets the CPL.
fn set_flat(cpu: &mut Cpu, cs: u16, ss: u16, cpl: u8, long: bool) {
    let dpl = u32::from(cpl) << 5;
    let size = if long { Segment::L } else { Segment::DB };
    let flat = |selector: u16, attr| {
        let selector = selector & 0xfffc | u16::from(cpl);
        Segment { selector, base: 0, limit: 0xffff_ffff, attr: attr | dpl | Segment::P | Segment::S | Segment::G }
    };
    cpu.set_segment(Seg::Cs, flat(cs, 11 | size));
    cpu.set_segment(Seg::Ss, flat(ss, 3 | Segment::DB));
    cpu.set_cpl(cpl);
}

/// SYSCALL: RCX = RIP, R11 = RFLAGS, RFLAGS &= ~IA32_FMASK, RIP = IA32_LSTAR. #UD outside 64-bit mode (Intel).
pub(super) fn syscall(cpu: &mut Cpu, _: &Instruction) -> Done {
    if !cpu.is_64bit() || cpu.efer & efer::SCE == 0 {
        return Err(Stop::UD);
    }
    let flags = cpu.flags();
    cpu.regs[1] = cpu.next_rip;
    cpu.regs[11] = flags & !flag::RF;
    cpu.next_rip = cpu.msr.lstar;
    cpu.set_flags(flags & !(cpu.msr.fmask | flag::RF));
    let selector = (cpu.msr.star >> 32) as u16;
    set_flat(cpu, selector, (selector & 0xfffc).wrapping_add(8), 0, true);
    cpu.no_step = flags & cpu.msr.fmask & flag::TF != 0;
    Ok(())
}

/// SYSRET: back to 64-bit code (REX.W) or 32-bit code at CPL 3, RFLAGS from R11. A non-canonical RCX faults at CPL 0
/// (Intel).
pub(super) fn sysret(cpu: &mut Cpu, i: &Instruction) -> Done {
    if !cpu.is_64bit() || cpu.efer & efer::SCE == 0 {
        return Err(Stop::UD);
    }
    let long = i.code() == Code::Sysretq;
    let to = if long { cpu.regs[1] } else { cpu.regs[1] & 0xffff_ffff };
    if cpu.cpl != 0 || !cpu.canonical(to) {
        return Err(Stop::gp(0));
    }
    cpu.set_flags(cpu.regs[11] & SYSRET_FLAGS);
    let selector = (cpu.msr.star >> 48) as u16;
    let cs = if long { selector.wrapping_add(16) } else { selector };
    set_flat(cpu, cs, selector.wrapping_add(8), 3, long);
    cpu.next_rip = to;
    Ok(())
}

/// SYSENTER: CS, RSP and RIP from the IA32_SYSENTER MSRs; IF and VM are cleared.
pub(super) fn sysenter(cpu: &mut Cpu, _: &Instruction) -> Done {
    let selector = cpu.msr.sysenter_cs as u16;
    if !cpu.protected() || selector & 0xfffc == 0 {
        return Err(Stop::gp(0));
    }
    let long = cpu.long_mode();
    let cut = if long { u64::MAX } else { 0xffff_ffff };
    cpu.set_flags(cpu.flags() & !(flag::VM | flag::IF | flag::RF));
    cpu.regs[4] = cpu.msr.sysenter_esp & cut;
    cpu.next_rip = cpu.msr.sysenter_eip & cut;
    set_flat(cpu, selector, (selector & 0xfffc).wrapping_add(8), 0, long);
    Ok(())
}

/// SYSEXIT: to CPL 3 at RDX with stack RCX, 64-bit (REX.W) or 32-bit code.
pub(super) fn sysexit(cpu: &mut Cpu, i: &Instruction) -> Done {
    let selector = cpu.msr.sysenter_cs as u16;
    if !cpu.protected() || cpu.cpl != 0 || selector & 0xfffc == 0 {
        return Err(Stop::gp(0));
    }
    let long = i.code() == Code::Sysexitq;
    let (stack, to) = (cpu.regs[1], cpu.regs[2]);
    if long && !(cpu.canonical(stack) && cpu.canonical(to)) {
        return Err(Stop::gp(0));
    }
    let cut = if long { u64::MAX } else { 0xffff_ffff };
    cpu.regs[4] = stack & cut;
    cpu.next_rip = to & cut;
    let cs = selector.wrapping_add(if long { 32 } else { 16 });
    set_flat(cpu, cs, (cs & 0xfffc).wrapping_add(8), 3, long);
    Ok(())
}

/// SWAPGS: exchanges GS.base with IA32_KERNEL_GS_BASE.
pub(super) fn swapgs(cpu: &mut Cpu, _: &Instruction) -> Done {
    if !cpu.is_64bit() {
        return Err(Stop::UD);
    }
    if cpu.cpl != 0 {
        return Err(Stop::gp(0));
    }
    let base = cpu.segment(Seg::Gs).base;
    cpu.set_base(Seg::Gs, cpu.msr.kernel_gs_base);
    cpu.msr.kernel_gs_base = base;
    Ok(())
}

fn check_fsgsbase(cpu: &Cpu) -> Done {
    if cpu.is_64bit() && cpu.cr4 & cr4::FSGSBASE != 0 { Ok(()) } else { Err(Stop::UD) }
}

/// RDFSBASE, RDGSBASE.
pub(super) fn rdbase(cpu: &mut Cpu, i: &Instruction) -> Done {
    check_fsgsbase(cpu)?;
    let s = if i.mnemonic() == Mnemonic::Rdfsbase { Seg::Fs } else { Seg::Gs };
    let base = cpu.segment(s).base;
    cpu.set_gpr(i.op0_register(), base);
    Ok(())
}

/// WRFSBASE, WRGSBASE: #GP(0) for a non-canonical base.
pub(super) fn wrbase(cpu: &mut Cpu, i: &Instruction) -> Done {
    check_fsgsbase(cpu)?;
    let s = if i.mnemonic() == Mnemonic::Wrfsbase { Seg::Fs } else { Seg::Gs };
    let base = cpu.gpr(i.op0_register());
    if !storable(base) {
        return Err(Stop::gp(0));
    }
    cpu.set_base(s, base);
    Ok(())
}
