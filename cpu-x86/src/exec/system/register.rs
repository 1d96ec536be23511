//! MOV with control and debug registers, LMSW, SMSW, CLTS. Source: SDM vol. 2, each; vol. 3B, 18.2.

use crate::debug::dr7;
use crate::fault::{Done, Stop};
use crate::reset::{DR6, DR7};
use crate::state::{Cpu, cr0, cr4};
use iced_x86::{Instruction, OpKind, Register};

/// What a write to DR6 can change: B0 to B3, BD, BS, BT.
const DR6_WRITABLE: u64 = 0xe00f;
/// What a write to DR7 can change: all but bits 10 to 12, 14 and 15.
const DR7_WRITABLE: u64 = 0xffff_23ff;

fn check_cpl0(cpu: &Cpu) -> Done {
    if cpu.cpl == 0 { Ok(()) } else { Err(Stop::gp(0)) }
}

/// MOV r, CRn. CR8 is the local APIC's task priority class.
pub(super) fn mov_from_cr(cpu: &mut Cpu, i: &Instruction) -> Done {
    check_cpl0(cpu)?;
    let n = i.op1_register().number() as u32;
    let v = if n == 8 { cpu.task_priority() } else { cpu.cr(n).ok_or(Stop::UD)? };
    cpu.set_gpr(i.op0_register(), v);
    Ok(())
}

/// MOV CRn, r.
pub(super) fn mov_to_cr(cpu: &mut Cpu, i: &Instruction) -> Done {
    check_cpl0(cpu)?;
    let v = cpu.gpr(i.op1_register());
    match i.op0_register().number() as u32 {
        8 if v > 15 => Err(Stop::gp(0)),
        8 => {
            cpu.set_task_priority(v);
            Ok(())
        }
        n => cpu.set_cr(n, v),
    }
}

/// Number of the debug register that `r` names: DR4 and DR5 are DR6 and DR7 unless CR4.DE. Checks DE, CPL, then GD.
fn debug_register(cpu: &mut Cpu, r: Register) -> Result<usize, Stop> {
    let n = r.number();
    let alias = n == 4 || n == 5;
    if n > 7 || alias && cpu.cr4 & cr4::DE != 0 {
        return Err(Stop::UD);
    }
    check_cpl0(cpu)?;
    if cpu.dr[7] & dr7::GD != 0 {
        return Err(cpu.general_detect());
    }
    Ok(if alias { n + 2 } else { n })
}

/// MOV r, DRn.
pub(super) fn mov_from_dr(cpu: &mut Cpu, i: &Instruction) -> Done {
    let n = debug_register(cpu, i.op1_register())?;
    cpu.set_gpr(i.op0_register(), cpu.dr[n]);
    Ok(())
}

/// MOV DRn, r: #GP(0) for a value of DR6 or DR7 above 32 bits.
pub(super) fn mov_to_dr(cpu: &mut Cpu, i: &Instruction) -> Done {
    let n = debug_register(cpu, i.op0_register())?;
    let v = cpu.gpr(i.op1_register());
    if n >= 6 && v >> 32 != 0 {
        return Err(Stop::gp(0));
    }
    cpu.dr[n] = match n {
        6 => v & DR6_WRITABLE | DR6,
        7 => v & DR7_WRITABLE | DR7,
        _ => v,
    };
    if n == 7 && cpu.data_armed() {
        // No translation is remembered while accesses are watched; those from before would hide them.
        cpu.forget_data();
    }
    Ok(())
}

/// LMSW: PE, MP, EM, TS of CR0; PE can be set, not cleared.
pub(super) fn lmsw(cpu: &mut Cpu, i: &Instruction) -> Done {
    check_cpl0(cpu)?;
    let v = cpu.read(i, 0)?;
    let keep = cpu.cr0 & !(cr0::MP | cr0::EM | cr0::TS);
    cpu.set_cr(0, keep | v & 15)
}

/// SMSW: CR0 cut to the operand; memory gets 16 bits.
pub(super) fn smsw(cpu: &mut Cpu, i: &Instruction) -> Done {
    super::table::check_umip(cpu)?;
    let v = cpu.cr0;
    if i.op_kind(0) == OpKind::Register {
        cpu.set_gpr(i.op0_register(), v);
        return Ok(());
    }
    cpu.write(i, 0, v & 0xffff)
}

/// CLTS: CR0.TS = 0.
pub(super) fn clts(cpu: &mut Cpu, _: &Instruction) -> Done {
    check_cpl0(cpu)?;
    cpu.cr0 &= !cr0::TS;
    Ok(())
}
