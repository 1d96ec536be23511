//! Bit tests, scans, counts and fields; CRC32.

use crate::alu::{self, Width, flag};
use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::operand::seg_of;
use crate::state::Cpu;
use flag::{CF, PF, ZF};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// `a` with bit `n` set (BTS), cleared (BTR), inverted (BTC) or kept (BT).
fn changed(m: Mnemonic, a: u64, n: u64) -> u64 {
    match m {
        Mnemonic::Bts => a | 1 << n,
        Mnemonic::Btr => a & !(1 << n),
        Mnemonic::Btc => a ^ 1 << n,
        _ => a,
    }
}

/// CF = the bit selected; other flags are kept. With a register as index, the memory form reaches beyond its operand.
pub fn bt(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (w, m) = (cpu.width(i, 0), i.mnemonic());
    let index = cpu.read(i, 1)?;
    let n = index & u64::from(w.bits() - 1);
    let a = if i.op0_kind() != OpKind::Memory {
        let a = cpu.gpr(i.op0_register());
        if m != Mnemonic::Bt {
            cpu.set_gpr(i.op0_register(), changed(m, a, n));
        }
        a
    } else if i.op1_kind() != OpKind::Register {
        match m {
            Mnemonic::Bt => cpu.read(i, 0)?,
            _ => cpu.modify(i, 0, |_, a| (changed(m, a, n), a))?,
        }
    } else {
        bit_string(cpu, i, w, index)?
    };
    cpu.change_status_flags(CF, a >> n & 1);
    Ok(())
}

/// The operand of a bit string's width that holds bit `index` (signed) of the string at the memory operand; changed as
/// the instruction says. Source: SDM vol. 1, 3.1.1.9, "Bit(BitBase, BitOffset)".
fn bit_string(cpu: &mut Cpu, i: &Instruction, w: Width, index: u64) -> Result<u64, Stop> {
    let operands = w.sx(index) as i64 >> w.bits().trailing_zeros();
    let away = (operands as u64).wrapping_mul(w.bytes().into());
    let offset = cpu.offset(i).wrapping_add(away) & address_mask(i);
    let m = i.mnemonic();
    let access = if m == Mnemonic::Bt { Access::Read } else { Access::Write };
    let at = cpu.linear(seg_of(i.memory_segment()), offset, w.bytes(), access)?;
    if m == Mnemonic::Bt {
        return cpu.load(at, w.bytes());
    }
    cpu.check_alignment(at, w.bytes())?;
    cpu.probe(at, w.bytes(), Access::Write)?;
    let a = cpu.load(at, w.bytes())?;
    cpu.store(at, w.bytes(), changed(m, a, index & u64::from(w.bits() - 1)))?;
    Ok(a)
}

/// All ones in the width of the memory operand's address.
fn address_mask(i: &Instruction) -> u64 {
    let bytes = match (i.memory_base(), i.memory_index()) {
        (Register::None, Register::None) => i.memory_displ_size() as usize,
        (Register::None, r) | (r, _) => r.size(),
    };
    Width::of_bytes(bytes).unwrap_or(Width::Q).mask()
}

/// BSF, BSR: ZF when the source is 0, and then the destination is kept, whole.
pub fn scan(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (w, a) = (cpu.width(i, 0), cpu.read(i, 1)?);
    if a == 0 {
        cpu.set_status_flags(alu::logic(w, 0).1);
        return Ok(());
    }
    let (r, f) = if i.mnemonic() == Mnemonic::Bsf { alu::bsf(w, a) } else { alu::bsr(w, a) };
    cpu.set_gpr(i.op0_register(), r);
    cpu.set_status_flags(f);
    Ok(())
}

/// TZCNT and LZCNT: CF and ZF, the undefined others are kept; POPCNT: all six.
pub fn count(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (w, a) = (cpu.width(i, 0), cpu.read(i, 1)?);
    let (mask, (r, f)) = match i.mnemonic() {
        Mnemonic::Tzcnt => (CF | ZF, alu::tzcnt(w, a)),
        Mnemonic::Lzcnt => (CF | ZF, alu::lzcnt(w, a)),
        _ => (flag::STATUS, alu::popcnt(a)),
    };
    cpu.set_gpr(i.op0_register(), r);
    cpu.change_status_flags(mask, f);
    Ok(())
}

/// ANDN and BZHI: SF, ZF, CF, OF; BEXTR: ZF, CF, OF; PDEP and PEXT: none. Undefined AF, PF (and SF of BEXTR) are 0, but
/// PF of ANDN is as after AND: the engine's fast form leaves it so.
pub fn field(cpu: &mut Cpu, i: &Instruction) -> Done {
    super::need_vex(cpu)?;
    let w = cpu.width(i, 0);
    let (a, b) = (cpu.read(i, 1)?, cpu.read(i, 2)?);
    let (r, f) = match i.mnemonic() {
        Mnemonic::Andn => with_flags(alu::logic(w, !a & b)),
        Mnemonic::Bextr => with_flags(alu::bextr(w, a, b)),
        Mnemonic::Bzhi => with_flags(alu::bzhi(w, a, b)),
        Mnemonic::Pdep => (alu::pdep(a, b), None),
        _ => (alu::pext(a, b), None),
    };
    cpu.set_gpr(i.op0_register(), r);
    if let Some(f) = f {
        cpu.set_status_flags(f);
    }
    Ok(())
}

fn with_flags((r, f): (u64, u64)) -> (u64, Option<u64>) {
    (r, Some(f))
}

/// BLSI, BLSMSK, BLSR: SF, ZF, CF, OF; the undefined AF is 0, and PF is as after AND, so that the same operands always give
/// the same flags.
pub fn lowest(cpu: &mut Cpu, i: &Instruction) -> Done {
    super::need_vex(cpu)?;
    let (w, a) = (cpu.width(i, 0), cpu.read(i, 1)?);
    let (r, f) = match i.mnemonic() {
        Mnemonic::Blsi => alu::blsi(w, a),
        Mnemonic::Blsmsk => alu::blsmsk(w, a),
        _ => alu::blsr(w, a),
    };
    cpu.set_gpr(i.op0_register(), r);
    cpu.set_status_flags(f | alu::logic(w, r).1 & PF);
    Ok(())
}

/// The destination's lower half is the CRC-32C so far; no flags.
pub fn crc32(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (w, a) = (cpu.width(i, 1), cpu.read(i, 1)?);
    let r = alu::crc32(w, cpu.gpr(i.op0_register()), a);
    cpu.set_gpr(i.op0_register(), r);
    Ok(())
}
