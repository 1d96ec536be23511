//! Loads, stores, constants, FXCH and FCMOVcc.

use super::stack::index;
use super::stopped;
use crate::fault::Done;
use crate::memory::Access;
use crate::state::Cpu;
use iced_x86::{Instruction, MemorySize, Mnemonic, OpKind};
use softfp::f80;
use softfp::{Env, F80, Rounding, flag};

impl Cpu {
    /// Pushes `v`, unless the stack is full.
    fn x87_push(&mut self, i: &Instruction, v: F80, env: &Env) {
        if self.fpu.is_full() {
            let masked = self.fpu.stack_fault(true);
            if masked {
                self.fpu.push(F80::INDEFINITE);
            }
            self.x87_note(i, !masked);
            return;
        }
        self.x87_finish(i, env);
        // Hardware pushes a denormal also when DE is unmasked.
        if !stopped(env, flag::IE) {
            self.fpu.push(v);
        }
    }
}

/// FLD, FILD. A single or double may raise IE (signaling NaN) and DE; an extended real raises neither.
pub fn load(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    let mut env = cpu.x87_env();
    let v = if i.op_kind(0) == OpKind::Memory {
        let bytes = matches!(i.memory_size(), MemorySize::Float80);
        if bytes { raw(cpu, i).map(F80::from_bytes)? } else { f80::load(&cpu.x87_source(i)?, &mut env) }
    } else {
        let n = index(i, 0);
        if cpu.fpu.is_empty(n) {
            let masked = cpu.fpu.stack_fault(false);
            if masked {
                cpu.fpu.push(F80::INDEFINITE);
            }
            cpu.x87_note(i, !masked);
            return Ok(());
        }
        cpu.fpu.st(n)
    };
    cpu.x87_push(i, v, &env);
    Ok(())
}

fn raw(cpu: &mut Cpu, i: &Instruction) -> Result<[u8; 10], crate::fault::Stop> {
    let at = cpu.address(i, 10, Access::Read)?;
    let mut b = [0; 10];
    cpu.check_alignment(at, 8)?;
    cpu.load_bytes(at, &mut b)?;
    Ok(b)
}

/// FBLD.
pub fn fbld(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    let v = f80::from_bcd(raw(cpu, i)?);
    let env = cpu.x87_env();
    cpu.x87_push(i, v, &env);
    Ok(())
}

/// FLD1 to FLDZ: the internal constants have more bits and are rounded as RC says. Source: SDM vol. 1, 8.3.8; the
/// digits are the numbers' own.
pub fn constant(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    let env = cpu.x87_env();
    // Significand rounded down, whether the nearest is one above, exponent.
    let (significand, nearest_is_up, sign_exponent) = match i.mnemonic() {
        Mnemonic::Fldl2t => (0xd49a_784b_cd1b_8afe, false, 0x4000),
        Mnemonic::Fldl2e => (0xb8aa_3b29_5c17_f0bb, true, 0x3fff),
        Mnemonic::Fldpi => (0xc90f_daa2_2168_c234, true, 0x4000),
        Mnemonic::Fldlg2 => (0x9a20_9a84_fbcf_f798, true, 0x3ffd),
        Mnemonic::Fldln2 => (0xb172_17f7_d1cf_79ab, true, 0x3ffe),
        m => {
            let v = if m == Mnemonic::Fld1 { F80::ONE } else { F80::ZERO };
            cpu.x87_push(i, v, &env);
            return Ok(());
        }
    };
    let up = env.rounding == Rounding::Up || env.rounding == Rounding::Nearest && nearest_is_up;
    cpu.x87_push(i, F80 { significand: significand + u64::from(up), sign_exponent }, &env);
    Ok(())
}

/// FST to FBSTP. To memory, unmasked IE, OE and UE leave memory and stack as they were.
pub fn store(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    let pop = !matches!(i.mnemonic(), Mnemonic::Fst | Mnemonic::Fist);
    if i.op_kind(0) == OpKind::Memory {
        return store_memory(cpu, i, pop);
    }
    let dest = index(i, 0);
    if cpu.fpu.is_empty(0) {
        if i.mnemonic() == Mnemonic::Fstpnce {
            return fstpnce_empty(cpu, i);
        }
        return cpu.x87_underflow(i, dest, pop);
    }
    cpu.fpu.set_st(dest, cpu.fpu.st(0));
    let env = cpu.x87_env();
    cpu.x87_finish(i, &env);
    if pop {
        cpu.fpu.pop();
    }
    Ok(())
}

fn store_memory(cpu: &mut Cpu, i: &Instruction, pop: bool) -> Done {
    let mut env = cpu.x87_env();
    let underflow = cpu.fpu.is_empty(0);
    let v = if underflow { F80::INDEFINITE } else { cpu.fpu.st(0) };
    let (b, bytes) = narrow(i, v, &mut env);
    if underflow {
        env.flags = flag::IE;
    }
    let stop = stopped(&env, flag::IE | flag::OE | flag::UE);
    if stop {
        // Nothing is stored, so nothing was inexact.
        env.flags &= !flag::PE;
    }
    let at = cpu.address(i, bytes as u32, Access::Write)?;
    cpu.check_alignment(at, if bytes == 10 { 8 } else { bytes as u32 })?;
    if !stop {
        cpu.store_bytes(at, b.get(..bytes).unwrap_or_default())?;
    } else {
        // The operand is still checked: a fault comes before the exception is recorded.
        cpu.probe(at, bytes as u32, Access::Write)?;
    }
    if underflow {
        cpu.fpu.stack_fault(false);
        cpu.x87_note(i, stopped(&env, flag::IE));
    } else {
        cpu.x87_finish(i, &env);
    }
    if pop && !stop {
        cpu.fpu.pop();
    }
    Ok(())
}

/// FSTPNCE (D9 D8+i, undocumented) pops an empty register without a stack fault.
fn fstpnce_empty(cpu: &mut Cpu, i: &Instruction) -> Done {
    let env = cpu.x87_env();
    cpu.x87_finish(i, &env);
    cpu.fpu.pop();
    Ok(())
}

/// `v` in the format of the memory operand, and how many bytes that has.
fn narrow(i: &Instruction, v: F80, env: &mut Env) -> ([u8; 10], usize) {
    let rounding = if i.mnemonic() == Mnemonic::Fisttp { Rounding::Zero } else { env.rounding };
    let bits = match i.memory_size() {
        MemorySize::Float32 => return (low(u64::from(f80::to_f32(v, env))), 4),
        MemorySize::Float64 => return (low(f80::to_f64(v, env)), 8),
        MemorySize::Int16 => 16,
        MemorySize::Int32 => 32,
        MemorySize::Int64 => 64,
        MemorySize::Bcd => return (f80::to_bcd(v, env), 10),
        _ => return (v.to_bytes(), 10),
    };
    (low(f80::to_integer(v, bits, rounding, env) as u64), bits as usize / 8)
}

fn low(v: u64) -> [u8; 10] {
    let mut b = [0; 10];
    b[..8].copy_from_slice(&v.to_le_bytes());
    b
}

/// FXCH: an empty register counts as the indefinite, with stack underflow.
pub fn fxch(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    let n = index(i, 1);
    let full = |cpu: &Cpu, n| if cpu.fpu.is_empty(n) { F80::INDEFINITE } else { cpu.fpu.st(n) };
    let (a, b) = (full(cpu, 0), full(cpu, n));
    if cpu.fpu.is_empty(0) || cpu.fpu.is_empty(n) {
        let masked = cpu.fpu.stack_fault(false);
        cpu.x87_note(i, !masked);
        if !masked {
            return Ok(());
        }
    } else {
        let env = cpu.x87_env();
        cpu.x87_finish(i, &env);
    }
    cpu.fpu.set_st(0, b);
    cpu.fpu.set_st(n, a);
    Ok(())
}

/// FCMOVcc: B, E, BE, U (PF) and their negations. Stack underflow does not depend on the condition; C1 stays.
pub fn fcmov(cpu: &mut Cpu, i: &Instruction) -> Done {
    use Mnemonic::*;
    cpu.x87_wait()?;
    let source = index(i, 1);
    if cpu.fpu.is_empty(0) || cpu.fpu.is_empty(source) {
        return cpu.x87_underflow(i, 0, false);
    }
    let condition = match i.mnemonic() {
        Fcmovb => 2,
        Fcmovnb => 3,
        Fcmove => 4,
        Fcmovne => 5,
        Fcmovbe => 6,
        Fcmovnbe => 7,
        Fcmovu => 10,
        _ => 11,
    };
    if cpu.condition(condition) {
        cpu.fpu.set_st(0, cpu.fpu.st(source));
    }
    cpu.x87_note(i, false);
    Ok(())
}
