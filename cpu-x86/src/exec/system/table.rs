//! The descriptor table registers, the task register, and the instructions that look at descriptors: LGDT, LIDT, SGDT,
//! SIDT, LLDT, SLDT, LTR, STR, LAR, LSL, VERR, VERW, ARPL. Source: SDM vol. 2, each.

use crate::alu::flag;
use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::paging::storable;
use crate::segment::{Descriptor, is_null, kind};
use crate::state::{Cpu, Table, cr4};
use iced_x86::{Code, Instruction, Mnemonic, OpKind};

/// With CR4.UMIP the instructions that only store are the kernel's.
pub(super) fn check_umip(cpu: &Cpu) -> Done {
    if cpu.cr4 & cr4::UMIP != 0 && cpu.cpl > 0 { Err(Stop::gp(0)) } else { Ok(()) }
}

fn check_protected(cpu: &Cpu) -> Done {
    if cpu.protected() && !cpu.v86() { Ok(()) } else { Err(Stop::UD) }
}

/// Bytes of the base in a pseudo-descriptor.
fn base_bytes(i: &Instruction) -> u32 {
    if matches!(i.code(), Code::Lgdt_m1664 | Code::Lidt_m1664 | Code::Sgdt_m1664 | Code::Sidt_m1664) { 8 } else { 4 }
}

/// LGDT, LIDT: with a 16-bit operand the base has 24 bits.
pub(super) fn load(cpu: &mut Cpu, i: &Instruction) -> Done {
    if cpu.cpl != 0 {
        return Err(Stop::gp(0));
    }
    let bytes = base_bytes(i);
    let at = cpu.address(i, bytes + 2, Access::Read)?;
    let limit = cpu.load(at, 2)? as u16;
    let mut base = cpu.load(at.wrapping_add(2), bytes)?;
    if matches!(i.code(), Code::Lgdt_m1632_16 | Code::Lidt_m1632_16) {
        base &= 0xff_ffff;
    }
    if !storable(base) {
        return Err(Stop::gp(0));
    }
    let table = if i.mnemonic() == Mnemonic::Lgdt { &mut cpu.gdtr } else { &mut cpu.idtr };
    *table = Table { base, limit };
    Ok(())
}

/// SGDT, SIDT: all 32 bits of the base also with a 16-bit operand.
pub(super) fn store(cpu: &mut Cpu, i: &Instruction) -> Done {
    check_umip(cpu)?;
    let bytes = base_bytes(i);
    let at = cpu.address(i, bytes + 2, Access::Write)?;
    let table = if i.mnemonic() == Mnemonic::Sgdt { cpu.gdtr } else { cpu.idtr };
    let mut image = [0; 10];
    image[..2].copy_from_slice(&table.limit.to_le_bytes());
    image[2..].copy_from_slice(&table.base.to_le_bytes());
    cpu.store_bytes(at, &image[..bytes as usize + 2])
}

/// LLDT.
pub(super) fn lldt(cpu: &mut Cpu, i: &Instruction) -> Done {
    check_protected(cpu)?;
    if cpu.cpl != 0 {
        return Err(Stop::gp(0));
    }
    let selector = selector(cpu, i, 0)?;
    cpu.load_ldtr(selector)
}

/// LTR.
pub(super) fn ltr(cpu: &mut Cpu, i: &Instruction) -> Done {
    check_protected(cpu)?;
    if cpu.cpl != 0 {
        return Err(Stop::gp(0));
    }
    let selector = selector(cpu, i, 0)?;
    cpu.load_tr(selector)
}

/// SLDT, STR: memory gets 16 bits, a wider register the selector zero-extended.
pub(super) fn store_selector(cpu: &mut Cpu, i: &Instruction) -> Done {
    check_protected(cpu)?;
    check_umip(cpu)?;
    let v = if i.mnemonic() == Mnemonic::Sldt { cpu.ldtr.selector } else { cpu.tr.selector };
    cpu.write(i, 0, u64::from(v))
}

/// A selector operand: 16 bits of a register or of memory.
fn selector(cpu: &mut Cpu, i: &Instruction, n: u32) -> Result<u16, Stop> {
    if i.op_kind(n) == OpKind::Register {
        return Ok(cpu.gpr(i.op_register(n)) as u16);
    }
    let at = cpu.address(i, 2, Access::Read)?;
    Ok(cpu.load(at, 2)? as u16)
}

/// The descriptor that `selector` names, if CPL and RPL may see it; nothing about it faults but its page.
fn visible(cpu: &mut Cpu, selector: u16) -> Result<Option<Descriptor>, Stop> {
    if is_null(selector) {
        return Ok(None);
    }
    let d = match cpu.descriptor(selector, 0, Stop::gp) {
        Ok(d) => d,
        Err(Stop::Exception(e)) if e.vector == crate::vector::GP => return Ok(None),
        Err(stop) => return Err(stop),
    };
    let seen = d.is_conforming() || d.dpl() >= cpu.cpl.max(selector as u8 & 3);
    Ok(seen.then_some(d))
}

fn set_zf(cpu: &mut Cpu, on: bool) {
    cpu.change_status_flags(flag::ZF, if on { flag::ZF } else { 0 });
}

/// LAR: DEST = access rights, ZF = 1; ZF = 0 when there is nothing to see.
pub(super) fn lar(cpu: &mut Cpu, i: &Instruction) -> Done {
    look(cpu, i, &[kind::CALL16, kind::TASK, kind::CALL32], |d| d.raw >> 32 & 0x00f0_ff00)
}

/// LSL: DEST = limit in bytes, ZF = 1; ZF = 0 when there is none to see.
pub(super) fn lsl(cpu: &mut Cpu, i: &Instruction) -> Done {
    look(cpu, i, &[], |d| u64::from(d.limit()))
}

/// LAR and LSL: code, data, LDT and TSS descriptors, and the `gates` of these types.
fn look(cpu: &mut Cpu, i: &Instruction, gates: &[u8], of: impl Fn(&Descriptor) -> u64) -> Done {
    check_protected(cpu)?;
    let selector = selector(cpu, i, 1)?;
    let long = cpu.long_mode();
    let valid = |d: &Descriptor| match d.kind() {
        _ if !d.is_system() => true,
        kind::LDT | kind::TSS32 | kind::TSS32_BUSY => true,
        kind::TSS16 | kind::TSS16_BUSY => !long,
        k => gates.contains(&k) && (!long || k == kind::CALL32),
    };
    let found = visible(cpu, selector)?.filter(valid);
    if let Some(d) = found {
        cpu.set_gpr(i.op0_register(), of(&d));
    }
    set_zf(cpu, found.is_some());
    Ok(())
}

/// VERR: ZF = may the segment be read?
pub(super) fn verr(cpu: &mut Cpu, i: &Instruction) -> Done {
    verify(cpu, i, Descriptor::is_readable)
}

/// VERW: ZF = may the segment be written?
pub(super) fn verw(cpu: &mut Cpu, i: &Instruction) -> Done {
    verify(cpu, i, Descriptor::is_writable)
}

fn verify(cpu: &mut Cpu, i: &Instruction, allows: impl Fn(&Descriptor) -> bool) -> Done {
    check_protected(cpu)?;
    let selector = selector(cpu, i, 0)?;
    let found = visible(cpu, selector)?.is_some_and(|d| allows(&d));
    set_zf(cpu, found);
    Ok(())
}

/// ARPL: raises the RPL of the destination to that of the source; ZF = was it raised?
pub(super) fn arpl(cpu: &mut Cpu, i: &Instruction) -> Done {
    check_protected(cpu)?;
    let rpl = cpu.gpr(i.op1_register()) & 3;
    let raised = if i.op_kind(0) == OpKind::Register {
        let r = i.op0_register();
        let v = cpu.gpr(r);
        if v & 3 < rpl {
            cpu.set_gpr(r, v & !3 | rpl);
        }
        v & 3 < rpl
    } else {
        let at = cpu.address(i, 2, Access::Write)?;
        cpu.probe(at, 2, Access::Write)?;
        let v = cpu.load(at, 2)?;
        if v & 3 < rpl {
            cpu.store(at, 2, v & !3 | rpl)?;
        }
        v & 3 < rpl
    };
    set_zf(cpu, raised);
    Ok(())
}
