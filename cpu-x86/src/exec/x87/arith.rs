//! Arithmetic on the stack: FADD to FDIVRP, FSQRT, FRNDINT, FPREM, FSCALE, FXTRACT, FCHS, FABS.

use super::stack::index;
use super::{BEFORE, status, stopped};
use crate::fault::Done;
use crate::state::Cpu;
use iced_x86::{Instruction, Mnemonic, OpKind};
use softfp::F80;
use softfp::f80::{self, Operand, Precision};

type Binary = fn(&Operand, &Operand, Precision, &mut softfp::Env) -> F80;

/// Which operation, with operands exchanged, with a pop?
#[rustfmt::skip]
fn form(m: Mnemonic) -> (Binary, bool, bool) {
    use Mnemonic::*;
    match m {
        Fadd | Fiadd   => (f80::add, false, false),
        Faddp          => (f80::add, false, true),
        Fsub | Fisub   => (f80::sub, false, false),
        Fsubp          => (f80::sub, false, true),
        Fsubr | Fisubr => (f80::sub, true,  false),
        Fsubrp         => (f80::sub, true,  true),
        Fmul | Fimul   => (f80::mul, false, false),
        Fmulp          => (f80::mul, false, true),
        Fdiv | Fidiv   => (f80::div, false, false),
        Fdivp          => (f80::div, false, true),
        Fdivr | Fidivr => (f80::div, true,  false),
        _              => (f80::div, true,  true),
    }
}

/// dest = dest op source, or source op dest.
pub fn arith(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    let (op, reversed, pop) = form(i.mnemonic());
    let memory = i.op_kind(0) == OpKind::Memory;
    let (dest, source) = if memory { (0, 0) } else { (index(i, 0), index(i, 1)) };
    let b = if memory { cpu.x87_source(i)? } else { cpu.fpu.st(source).into() };
    let mut env = cpu.x87_env();
    if cpu.fpu.is_empty(dest) || cpu.fpu.is_empty(source) {
        return cpu.x87_underflow(i, dest, pop);
    }
    let a = Operand::from(cpu.fpu.st(dest));
    let precision = cpu.x87_precision();
    let r = if reversed { op(&b, &a, precision, &mut env) } else { op(&a, &b, precision, &mut env) };
    cpu.x87_finish(i, &env);
    if !stopped(&env, BEFORE) {
        cpu.fpu.set_st(dest, r);
        if pop {
            cpu.fpu.pop();
        }
    }
    Ok(())
}

impl Cpu {
    /// Stack underflow whose masked response is the indefinite in ST(`dest`), and a pop if the instruction has one.
    pub(super) fn x87_underflow(&mut self, i: &Instruction, dest: usize, pop: bool) -> Done {
        let masked = self.fpu.stack_fault(false);
        if masked {
            self.fpu.set_st(dest, F80::INDEFINITE);
            if pop {
                self.fpu.pop();
            }
        }
        self.x87_note(i, !masked);
        Ok(())
    }

    /// An instruction that takes ST(0) and gives two results, the second pushed, met a stack fault.
    pub(super) fn x87_fault_of_two(&mut self, i: &Instruction) -> Done {
        let masked = self.fpu.stack_fault(!self.fpu.is_empty(0));
        if masked {
            self.fpu.set_st(0, F80::INDEFINITE);
            self.fpu.push(F80::INDEFINITE);
        }
        self.x87_note(i, !masked);
        Ok(())
    }
}

/// FSQRT, FRNDINT.
pub fn unary(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    if cpu.fpu.is_empty(0) {
        return cpu.x87_underflow(i, 0, false);
    }
    let (a, precision, mut env) = (cpu.fpu.st(0), cpu.x87_precision(), cpu.x87_env());
    let r = match i.mnemonic() {
        Mnemonic::Fsqrt => f80::sqrt(&a.into(), precision, &mut env),
        _ => f80::round_to_integral(a, &mut env),
    };
    cpu.x87_finish(i, &env);
    if !stopped(&env, BEFORE) {
        cpu.fpu.set_st(0, r);
    }
    Ok(())
}

/// FCHS, FABS: only the sign bit; nothing is raised but stack underflow.
pub fn sign(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    if cpu.fpu.is_empty(0) {
        return cpu.x87_underflow(i, 0, false);
    }
    let a = cpu.fpu.st(0);
    cpu.fpu.set_st(0, a.with_sign(i.mnemonic() == Mnemonic::Fchs && !a.is_negative()));
    let env = cpu.x87_env();
    cpu.x87_finish(i, &env);
    Ok(())
}

/// FPREM, FPREM1: the quotient's bits 2, 1, 0 go to C0, C3, C1; C2 says that the reduction is incomplete.
pub fn prem(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    if cpu.fpu.is_empty(0) || cpu.fpu.is_empty(1) {
        cpu.fpu.sw &= !status::C2;
        return cpu.x87_underflow(i, 0, false);
    }
    let (a, b, mut env) = (cpu.fpu.st(0).into(), cpu.fpu.st(1).into(), cpu.x87_env());
    let r = f80::prem(&a, &b, i.mnemonic() == Mnemonic::Fprem1, &mut env);
    cpu.x87_finish(i, &env);
    if !r.valid || stopped(&env, BEFORE) {
        cpu.fpu.sw &= !status::C2;
        if !stopped(&env, BEFORE) {
            cpu.fpu.set_st(0, r.remainder);
        }
        return Ok(());
    }
    cpu.fpu.sw &= !(status::C0 | status::C1 | status::C2 | status::C3);
    for (bit, condition) in [(4, status::C0), (2, status::C3), (1, status::C1)] {
        if r.quotient & bit != 0 {
            cpu.fpu.sw |= condition;
        }
    }
    if r.incomplete {
        cpu.fpu.sw |= status::C2;
    }
    cpu.fpu.set_st(0, r.remainder);
    Ok(())
}

/// FSCALE.
pub fn scale(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    if cpu.fpu.is_empty(0) || cpu.fpu.is_empty(1) {
        return cpu.x87_underflow(i, 0, false);
    }
    let mut env = cpu.x87_env();
    let r = f80::scale(&cpu.fpu.st(0).into(), &cpu.fpu.st(1).into(), &mut env);
    cpu.x87_finish(i, &env);
    if !stopped(&env, BEFORE) {
        cpu.fpu.set_st(0, r);
    }
    Ok(())
}

/// FXTRACT: the exponent replaces ST(0), the significand is pushed.
pub fn extract(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    if cpu.fpu.is_empty(0) || cpu.fpu.is_full() {
        return cpu.x87_fault_of_two(i);
    }
    let mut env = cpu.x87_env();
    let (exponent, significand) = f80::extract(&cpu.fpu.st(0).into(), &mut env);
    cpu.x87_finish(i, &env);
    if !stopped(&env, BEFORE) {
        cpu.fpu.set_st(0, exponent);
        cpu.fpu.push(significand);
    }
    Ok(())
}
