//! FCOM, FUCOM, FTST, FCOMI and their kin; FXAM. Source: SDM vol. 2, their tables.

use super::stack::index;
use super::{BEFORE, status, stopped};
use crate::alu::flag::{AF, CF, OF, PF, SF, ZF};
use crate::fault::Done;
use crate::state::Cpu;
use iced_x86::{Instruction, Mnemonic, OpKind};
use softfp::F80;
use softfp::f80::{self, Class, Operand};
use std::cmp::Ordering;

const CODES: u16 = status::C0 | status::C2 | status::C3;

/// How many registers are popped.
fn pops(m: Mnemonic) -> usize {
    use Mnemonic::*;
    match m {
        Fcomp | Ficomp | Fucomp | Fcomip | Fucomip => 1,
        Fcompp | Fucompp => 2,
        _ => 0,
    }
}

/// The other operand; `None` when it is an empty register.
fn other(cpu: &mut Cpu, i: &Instruction) -> Result<Option<Operand>, crate::fault::Stop> {
    let n = match i.mnemonic() {
        Mnemonic::Ftst => return Ok(Some(F80::ZERO.into())),
        Mnemonic::Fcompp | Mnemonic::Fucompp => 1,
        _ if i.op_kind(0) == OpKind::Memory => return cpu.x87_source(i).map(Some),
        _ => index(i, 1),
    };
    Ok((!cpu.fpu.is_empty(n)).then(|| cpu.fpu.st(n).into()))
}

/// The order of ST(0) and the other operand, and whether an unmasked exception forbids the pops.
fn order(cpu: &mut Cpu, i: &Instruction) -> Result<(Option<Ordering>, bool), crate::fault::Stop> {
    use Mnemonic::*;
    cpu.x87_wait()?;
    let b = other(cpu, i)?;
    let (Some(b), false) = (b, cpu.fpu.is_empty(0)) else {
        let masked = cpu.fpu.stack_fault(false);
        cpu.x87_note(i, !masked);
        return Ok((None, !masked));
    };
    let signaling = !matches!(i.mnemonic(), Fucom | Fucomp | Fucompp | Fucomi | Fucomip);
    let mut env = cpu.x87_env();
    let order = f80::compare(&cpu.fpu.st(0).into(), &b, signaling, &mut env);
    cpu.x87_finish(i, &env);
    Ok((order, stopped(&env, BEFORE)))
}

/// Greater 000, less 001, equal 100, unordered 111 in C3, C2, C0.
pub fn compare(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (order, stopped) = order(cpu, i)?;
    cpu.fpu.sw &= !CODES;
    cpu.fpu.sw |= match order {
        Some(Ordering::Greater) => 0,
        Some(Ordering::Less) => status::C0,
        Some(Ordering::Equal) => status::C3,
        None => CODES,
    };
    if !stopped {
        (0..pops(i.mnemonic())).for_each(|_| cpu.fpu.pop());
    }
    Ok(())
}

/// The same in ZF, PF, CF; OF, SF and AF are cleared.
pub fn compare_flags(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (order, stopped) = order(cpu, i)?;
    let flags = match order {
        Some(Ordering::Greater) => 0,
        Some(Ordering::Less) => CF,
        Some(Ordering::Equal) => ZF,
        None => ZF | PF | CF,
    };
    cpu.change_status_flags(ZF | PF | CF | OF | SF | AF, flags);
    if !stopped {
        (0..pops(i.mnemonic())).for_each(|_| cpu.fpu.pop());
    }
    Ok(())
}

/// C1 is the sign bit, also of an empty register.
pub fn fxam(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    let v = cpu.fpu.st(0);
    let class = match f80::class(v) {
        _ if cpu.fpu.is_empty(0) => status::C3 | status::C0,
        Class::Unsupported => 0,
        Class::NaN => status::C0,
        Class::Normal => status::C2,
        Class::Infinity => status::C2 | status::C0,
        Class::Zero => status::C3,
        Class::Denormal => status::C3 | status::C2,
    };
    let sign = if v.is_negative() { status::C1 } else { 0 };
    cpu.fpu.sw = cpu.fpu.sw & !(CODES | status::C1) | class | sign;
    cpu.x87_note(i, false);
    Ok(())
}
