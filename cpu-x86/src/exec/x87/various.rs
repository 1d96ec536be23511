//! The transcendental functions. Source: SDM vol. 1, 8.3.6, 8.3.7, 8.3.10; vol. 2, their tables.

use super::{BEFORE, status, stopped};
use crate::fault::Done;
use crate::state::Cpu;
use iced_x86::{Instruction, Mnemonic};
use softfp::f80;

/// FSIN, FCOS, FSINCOS, FPTAN, F2XM1. C2: the argument of a trigonometric one is 2^63 or more, and stays.
pub fn function(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    let m = i.mnemonic();
    let two = matches!(m, Mnemonic::Fsincos | Mnemonic::Fptan);
    if m != Mnemonic::F2xm1 {
        cpu.fpu.sw &= !status::C2;
    }
    if two && (cpu.fpu.is_empty(0) || cpu.fpu.is_full()) {
        return cpu.x87_fault_of_two(i);
    }
    if cpu.fpu.is_empty(0) {
        return cpu.x87_underflow(i, 0, false);
    }
    let (a, mut env) = (cpu.fpu.st(0).into(), cpu.x87_env());
    let result = match m {
        Mnemonic::Fsin => f80::sin(&a, &mut env).map(|v| (v, v)),
        Mnemonic::Fcos => f80::cos(&a, &mut env).map(|v| (v, v)),
        Mnemonic::Fsincos => f80::sin_cos(&a, &mut env),
        Mnemonic::Fptan => f80::tan(&a, &mut env),
        _ => Some(f80::exp2m1(&a, &mut env)).map(|v| (v, v)),
    };
    cpu.x87_finish(i, &env);
    let Some((first, second)) = result else {
        cpu.fpu.sw |= status::C2;
        return Ok(());
    };
    if !stopped(&env, BEFORE) {
        cpu.fpu.set_st(0, first);
        if two {
            cpu.fpu.push(second);
        }
    }
    Ok(())
}

/// FPATAN, FYL2X, FYL2XP1: of ST(1) and ST(0), into ST(1), and a pop.
pub fn function_of_two(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_wait()?;
    if cpu.fpu.is_empty(0) || cpu.fpu.is_empty(1) {
        return cpu.x87_underflow(i, 1, true);
    }
    let (y, x, mut env) = (cpu.fpu.st(1).into(), cpu.fpu.st(0).into(), cpu.x87_env());
    let r = match i.mnemonic() {
        Mnemonic::Fpatan => f80::atan2(&y, &x, &mut env),
        Mnemonic::Fyl2x => f80::y_log2(&y, &x, &mut env),
        _ => f80::y_log2_plus_1(&y, &x, &mut env),
    };
    cpu.x87_finish(i, &env);
    if !stopped(&env, BEFORE) {
        cpu.fpu.set_st(1, r);
        cpu.fpu.pop();
    }
    Ok(())
}
