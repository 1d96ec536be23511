//! FNSTENV, FLDENV, FNSAVE, FRSTOR: the environment in memory, in its four layouts. Source: SDM vol. 1, figures 8-9
//! to 8-12.

use super::status;
use crate::fault::Done;
use crate::memory::Access;
use crate::state::{Cpu, Fpu};
use iced_x86::{Instruction, MemorySize, Mnemonic};
use softfp::{F80, flag};

/// Is the operand size 32 bits (28-byte environment), and how many bytes has the image?
fn shape(i: &Instruction) -> (bool, usize) {
    match i.memory_size() {
        MemorySize::FpuEnv14 => (false, 14),
        MemorySize::FpuEnv28 => (true, 28),
        MemorySize::FpuState94 => (false, 94),
        _ => (true, 108),
    }
}

/// The seven words or doublewords of the environment.
fn fields(fpu: &Fpu, wide: bool, protected: bool) -> [u32; 7] {
    let (ip, dp) = (fpu.ip as u32, fpu.dp as u32);
    let op = u32::from(fpu.op) & 0x7ff;
    let words = [fpu.cw, fpu.sw, fpu.full_tag()].map(|v| u32::from(v) | if wide { 0xffff_0000 } else { 0 });
    let [ip0, ip1, dp0, dp1] = match (wide, protected) {
        (true, true) => [ip, u32::from(fpu.cs) | op << 16, dp, u32::from(fpu.ds) | 0xffff_0000],
        (false, true) => [ip, fpu.cs.into(), dp, fpu.ds.into()],
        (true, false) => {
            [ip & 0xffff | 0xffff_0000, (ip >> 16) << 12 | op, dp & 0xffff | 0xffff_0000, (dp >> 16) << 12]
        }
        (false, false) => [ip, (ip >> 16 & 15) << 12 | op, dp, (dp >> 16 & 15) << 12],
    };
    [words[0], words[1], words[2], ip0, ip1, dp0, dp1]
}

/// FNSTENV: then all exceptions are masked. FNSAVE: then as FNINIT.
pub fn save(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_available()?;
    let (wide, bytes) = shape(i);
    let mut b = [0; 108];
    let step = if wide { 4 } else { 2 };
    let protected = cpu.protected() && !cpu.v86();
    for (to, v) in b.chunks_mut(step).zip(fields(&cpu.fpu, wide, protected)) {
        to.copy_from_slice(&v.to_le_bytes()[..step]);
    }
    for (n, to) in b[7 * step..].chunks_exact_mut(10).enumerate().take(8) {
        to.copy_from_slice(&cpu.fpu.st(n).to_bytes());
    }
    let at = cpu.address(i, bytes as u32, Access::Write)?;
    cpu.check_alignment(at, step as u32)?;
    cpu.store_bytes(at, &b[..bytes])?;
    if i.mnemonic() == Mnemonic::Fnsave {
        cpu.fpu.initialise();
    } else {
        cpu.fpu.cw |= u16::from(flag::ALL);
        cpu.fpu.sw &= !(status::ES | status::B);
    }
    Ok(())
}

/// FLDENV, FRSTOR.
pub fn restore(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    let (wide, bytes) = shape(i);
    let mut b = [0; 108];
    let at = cpu.address(i, bytes as u32, Access::Read)?;
    let step = if wide { 4 } else { 2 };
    cpu.check_alignment(at, step as u32)?;
    cpu.load_bytes(at, &mut b[..bytes])?;
    let mut f = [0; 7];
    for (v, from) in f.iter_mut().zip(b.chunks_exact(step)) {
        *v = from.iter().rev().fold(0u32, |v, &byte| v << 8 | u32::from(byte));
    }
    let protected = cpu.protected() && !cpu.v86();
    let fpu = &mut cpu.fpu;
    fpu.sw = f[1] as u16;
    fpu.set_control(f[0] as u16);
    fpu.tag = f[2] as u16;
    (fpu.cs, fpu.ds) = (0, 0);
    if protected {
        (fpu.ip, fpu.dp) = (f[3].into(), f[5].into());
        if wide {
            fpu.op = (f[4] >> 16) as u16 & 0x7ff;
        }
    } else {
        let whole = |low: u32, high: u32| u64::from(low & 0xffff | (high >> 12 & 0xffff) << 16);
        (fpu.ip, fpu.dp) = (whole(f[3], f[4]), whole(f[5], f[6]));
        fpu.op = f[4] as u16 & 0x7ff;
    }
    if i.mnemonic() == Mnemonic::Frstor {
        for (n, from) in b[7 * step..].chunks_exact(10).enumerate().take(8) {
            let p = (fpu.top() + n) & 7;
            fpu.r[p] = F80::from_bytes(from.try_into().unwrap_or_default());
        }
    }
    Ok(())
}
