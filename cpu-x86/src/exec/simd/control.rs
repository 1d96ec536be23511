//! MXCSR moves, the instructions that clear the whole register file, and CRC32.
//!
//! Source: SDM vol. 2, LDMXCSR, STMXCSR, EMMS, VZEROUPPER, VZEROALL, CRC32, PREFETCHh; vol. 1, 10.2.3 (MXCSR).

use super::check::{check_avx, check_sse, enter_mmx};
use super::describe::Kernel;
use crate::exec::Meaning;
use crate::fault::{Done, Stop};
use crate::state::Cpu;
use iced_x86::{EncodingKind, Instruction, Mnemonic};

/// MXCSR bits that may be set; MXCSR_MASK in the FXSAVE image.
pub const MXCSR_MASK: u32 = 0xffff;

/// The kernel of `m`.
pub fn kernel(m: Mnemonic) -> Option<Kernel> {
    Some(match m {
        Mnemonic::Vzeroupper => Kernel::Whole(|cpu| clear_vectors(cpu, 16)),
        Mnemonic::Vzeroall => Kernel::Whole(|cpu| clear_vectors(cpu, 0)),
        Mnemonic::Emms => Kernel::Whole(empty_mmx),
        _ => return None,
    })
}

/// EMMS: all registers are empty, and TOP is 0. Source: SDM vol. 3A, table 13-1.
fn empty_mmx(cpu: &mut Cpu) {
    enter_mmx(cpu);
    cpu.fpu.tag = 0xffff;
}

/// The meaning of `i`, if it is here.
pub fn lookup(i: &Instruction) -> Option<Meaning> {
    match i.mnemonic() {
        Mnemonic::Ldmxcsr | Mnemonic::Vldmxcsr => Meaning::plain(ldmxcsr),
        Mnemonic::Stmxcsr | Mnemonic::Vstmxcsr => Meaning::plain(stmxcsr),
        Mnemonic::Crc32 => Meaning::plain(crc32),
        _ => None,
    }
}

/// Clears registers 0 to 15 (0 to 7 outside 64-bit mode) from byte `from` up.
fn clear_vectors(cpu: &mut Cpu, from: usize) {
    let count = if cpu.is_64bit() { 16 } else { 8 };
    for v in &mut cpu.vec[..count] {
        v.0[from..].fill(0);
    }
}

fn check(cpu: &Cpu, i: &Instruction) -> Done {
    if i.encoding() == EncodingKind::VEX { check_avx(cpu) } else { check_sse(cpu) }
}

/// MXCSR := m32; #GP(0) if a reserved bit is set.
fn ldmxcsr(cpu: &mut Cpu, i: &Instruction) -> Done {
    check(cpu, i)?;
    let v = cpu.read(i, 0)? as u32;
    if v & !MXCSR_MASK != 0 {
        return Err(Stop::gp(0));
    }
    cpu.mxcsr = v;
    Ok(())
}

/// m32 := MXCSR.
fn stmxcsr(cpu: &mut Cpu, i: &Instruction) -> Done {
    check(cpu, i)?;
    cpu.write(i, 0, u64::from(cpu.mxcsr))
}

/// dst := CRC of the source added to the low 32 bits of dst; no flags. Polynomial 11EDC6F41h, reflected.
fn crc32(cpu: &mut Cpu, i: &Instruction) -> Done {
    let bytes = cpu.width(i, 1).bytes() as usize;
    let source = cpu.read(i, 1)?.to_le_bytes();
    let crc =
        source[..bytes].iter().fold(cpu.read(i, 0)? as u32, |crc, &x| crc >> 8 ^ CRC32C[usize::from(crc as u8 ^ x)]);
    cpu.write(i, 0, u64::from(crc))
}

/// What one byte adds to the CRC.
const CRC32C: [u32; 256] = {
    let mut t = [0; 256];
    let mut k = 0;
    while k < 256 {
        let (mut crc, mut bit) = (k as u32, 0);
        while bit < 8 {
            crc = crc >> 1 ^ 0x82f6_3b78 & (crc & 1).wrapping_neg();
            bit += 1;
        }
        t[k] = crc;
        k += 1;
    }
    t
};
