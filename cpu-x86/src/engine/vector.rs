//! Fast forms of vector instructions: moves, logic, and scalar floating point.
//!
//! Translated only in a mode in which SSE instructions run (CR0, CR4; part of the block's key). Scalar arithmetic takes
//! the host's result where `softfp` says that it is the same bit for bit and MXCSR hides nothing; else the instruction
//! leaves for the general path. Legacy encodings only: bits above 127 of the register stay.
#![expect(unsafe_code, reason = "the hot path of the interpreter")]

use super::body::{Body, body, ea, get_host, hit, host, leave, put_host, reg, set};
use super::hot::Leave;
use super::op::Op;
use super::watch::Watch;
use crate::state::Cpu;
use softfp::{f32, f64};

/// MXCSR with nothing to do but compute: round to nearest, all masked, neither DAZ nor FTZ, PE already set.
const QUIET: u32 = 0x1fa0;

/// Does MXCSR hide nothing from a fast result?
#[inline(always)]
fn quiet(cpu: &Cpu) -> bool {
    cpu.mxcsr & 0xffe0 == QUIET
}

/// Numbers of the scalar operations.
pub(crate) mod fp_op {
    pub const ADD: usize = 0;
    pub const MUL: usize = 1;
    pub const SUB: usize = 2;
    pub const DIV: usize = 3;
    pub const SQRT: usize = 4;
}
use fp_op::*;

/// The fast result of scalar operation `O` on elements of `1 << W` bytes.
#[inline(always)]
fn scalar<const O: usize, const W: usize>(a: u64, b: u64) -> Option<u64> {
    if W == 3 {
        return match O {
            ADD => f64::fast_add(a, b),
            MUL => f64::fast_mul(a, b),
            SUB => f64::fast_sub(a, b),
            DIV => f64::fast_div(a, b),
            _ => f64::fast_sqrt(b),
        };
    }
    let (a, b) = (a as u32, b as u32);
    let r = match O {
        ADD => f32::fast_add(a, b),
        MUL => f32::fast_mul(a, b),
        SUB => f32::fast_sub(a, b),
        DIV => f32::fast_div(a, b),
        _ => f32::fast_sqrt(b),
    };
    r.map(u64::from)
}

/// Address of vector register `n`.
#[inline(always)]
fn vec(cpu: &mut Cpu, n: u8) -> *mut u8 {
    cpu.vec[(n & 31) as usize].0.as_mut_ptr()
}

/// Numbers of the bitwise operations.
pub(crate) mod bit_op {
    pub const AND: usize = 0;
    pub const ANDN: usize = 1;
    pub const OR: usize = 2;
    pub const XOR: usize = 3;
}

#[inline(always)]
fn bitwise<const O: usize>(a: u128, b: u128) -> u128 {
    match O {
        bit_op::AND => a & b,
        bit_op::ANDN => !a & b,
        bit_op::OR => a | b,
        _ => a ^ b,
    }
}

/// Lanes of `a` plus (`S` 0) or minus (1) those of `b`; `W` log2 of a lane's bytes.
#[inline(always)]
fn lanes<const S: usize, const W: usize>(a: u128, b: u128) -> u128 {
    let (mut r, bits) = (0, 8 << W);
    let mask = (1u128 << bits) - 1;
    let mut at = 0;
    while at < 128 {
        let (x, y) = (a >> at & mask, b >> at & mask);
        let v = if S == 0 { x.wrapping_add(y) } else { x.wrapping_sub(y) };
        r |= (v & mask) << at;
        at += bits;
    }
    r
}

body! {
    /// xmm = xmm, whole
    VMov(cpu, op) {
        let v = vec(cpu, (*op).b).cast::<u128>().read();
        vec(cpu, (*op).a).cast::<u128>().write(v);
        op.add(1)
    }
    /// low element of xmm = low element of xmm
    VMovLow<W>(cpu, op) {
        let v = get_host::<W>(vec(cpu, (*op).b));
        put_host::<W>(vec(cpu, (*op).a), v);
        op.add(1)
    }
    /// xmm = zero-extended [m] of `1 << W` bytes
    VLoadLow<W, AM>(cpu, op) {
        let p = hit!(host::<Eye, W, false>(cpu, ea::<AM>(cpu, op)));
        let v = get_host::<W>(p);
        vec(cpu, (*op).a).cast::<u128>().write(v as u128);
        op.add(1)
    }
    /// [m] = low element of xmm
    VStoreLow<W, AM>(cpu, op) {
        let p = hit!(host::<Eye, W, true>(cpu, ea::<AM>(cpu, op)));
        put_host::<W>(p, get_host::<W>(vec(cpu, (*op).a)));
        op.add(1)
    }
    /// xmm = [m], 16 bytes; `AL`: aligned
    VLoad<AL, AM>(cpu, op) {
        let at = ea::<AM>(cpu, op);
        if AL == 1 && at & 15 != 0 { return leave(cpu, Leave::General) }
        let p = hit!(host::<Eye, 4, false>(cpu, at));
        let v = p.cast::<u128>().read_unaligned();
        vec(cpu, (*op).a).cast::<u128>().write(v);
        op.add(1)
    }
    /// [m] = xmm, 16 bytes
    VStore<AL, AM>(cpu, op) {
        let at = ea::<AM>(cpu, op);
        if AL == 1 && at & 15 != 0 { return leave(cpu, Leave::General) }
        let p = hit!(host::<Eye, 4, true>(cpu, at));
        let v = vec(cpu, (*op).a).cast::<u128>().read();
        p.cast::<u128>().write_unaligned(v);
        op.add(1)
    }
    /// xmm half = [m]: MOVLPD, MOVHPD. `H` 1: the high half
    VLoadHalf<H>(cpu, op) {
        let p = hit!(host::<Eye, 3, false>(cpu, ea::<5>(cpu, op)));
        let v = get_host::<3>(p);
        put_host::<3>(vec(cpu, (*op).a).add(8 * H), v);
        op.add(1)
    }
    VStoreHalf<H>(cpu, op) {
        let p = hit!(host::<Eye, 3, true>(cpu, ea::<5>(cpu, op)));
        put_host::<3>(p, get_host::<3>(vec(cpu, (*op).a).add(8 * H)));
        op.add(1)
    }
    /// MOVD, MOVQ xmm, r
    VFromReg<W>(cpu, op) {
        let v = reg(cpu, (*op).b);
        let v = if W == 3 { v } else { v & 0xffff_ffff };
        vec(cpu, (*op).a).cast::<u128>().write(v as u128);
        op.add(1)
    }
    /// MOVD, MOVQ r, xmm
    VToReg<W>(cpu, op) {
        let v = get_host::<W>(vec(cpu, (*op).b));
        set(cpu, (*op).a, v);
        op.add(1)
    }
    VBitRr<O>(cpu, op) {
        let b = vec(cpu, (*op).b).cast::<u128>().read();
        let a = vec(cpu, (*op).a).cast::<u128>();
        a.write(bitwise::<O>(a.read(), b));
        op.add(1)
    }
    VBitRm<O>(cpu, op) {
        let at = ea::<5>(cpu, op);
        if at & 15 != 0 { return leave(cpu, Leave::General) }
        let p = hit!(host::<Eye, 4, false>(cpu, at));
        let b = p.cast::<u128>().read_unaligned();
        let a = vec(cpu, (*op).a).cast::<u128>();
        a.write(bitwise::<O>(a.read(), b));
        op.add(1)
    }
    VSumRr<S, W>(cpu, op) {
        let b = vec(cpu, (*op).b).cast::<u128>().read();
        let a = vec(cpu, (*op).a).cast::<u128>();
        a.write(lanes::<S, W>(a.read(), b));
        op.add(1)
    }
    VSumRm<S, W>(cpu, op) {
        let at = ea::<5>(cpu, op);
        if at & 15 != 0 { return leave(cpu, Leave::General) }
        let p = hit!(host::<Eye, 4, false>(cpu, at));
        let b = p.cast::<u128>().read_unaligned();
        let a = vec(cpu, (*op).a).cast::<u128>();
        a.write(lanes::<S, W>(a.read(), b));
        op.add(1)
    }
    /// Scalar floating point, register source
    FpRr<O, W>(cpu, op) {
        let b = get_host::<W>(vec(cpu, (*op).b));
        let p = vec(cpu, (*op).a);
        match scalar::<O, W>(get_host::<W>(p), b) {
            Some(r) if quiet(cpu) => put_host::<W>(p, r),
            _ => return leave(cpu, Leave::General),
        }
        op.add(1)
    }
    /// Scalar floating point, memory source
    FpRm<O, W, AM>(cpu, op) {
        let m = hit!(host::<Eye, W, false>(cpu, ea::<AM>(cpu, op)));
        let b = get_host::<W>(m);
        let p = vec(cpu, (*op).a);
        match scalar::<O, W>(get_host::<W>(p), b) {
            Some(r) if quiet(cpu) => put_host::<W>(p, r),
            _ => return leave(cpu, Leave::General),
        }
        op.add(1)
    }
    /// Packed double, register source
    FpPackedRr<O>(cpu, op) {
        let (b, a) = (vec(cpu, (*op).b), vec(cpu, (*op).a));
        let low = scalar::<O, 3>(get_host::<3>(a), get_host::<3>(b));
        let high = scalar::<O, 3>(get_host::<3>(a.add(8)), get_host::<3>(b.add(8)));
        match (low, high) {
            (Some(l), Some(h)) if quiet(cpu) => {
                put_host::<3>(a, l);
                put_host::<3>(a.add(8), h);
            }
            _ => return leave(cpu, Leave::General),
        }
        op.add(1)
    }
    /// UNPCKLPD, PUNPCKLQDQ (`H` 0), UNPCKHPD, PUNPCKHQDQ (1)
    VUnpack64<H>(cpu, op) {
        let (b, a) = (vec(cpu, (*op).b), vec(cpu, (*op).a));
        let (x, y) = (get_host::<3>(a.add(8 * H)), get_host::<3>(b.add(8 * H)));
        put_host::<3>(a, x);
        put_host::<3>(a.add(8), y);
        op.add(1)
    }
    /// CVTSI2SD of a register; exact for 32 bits, and for 64 when it fits in 53
    FpFromInt<W>(cpu, op) {
        let v = reg(cpu, (*op).b);
        let v = if W == 3 { v as i64 } else { i64::from(v as u32 as i32) };
        if W == 3 && v.unsigned_abs() >> 53 != 0 { return leave(cpu, Leave::General) }
        put_host::<3>(vec(cpu, (*op).a), (v as f64_host).to_bits());
        op.add(1)
    }
}

#[expect(non_camel_case_types, reason = "the host's double, beside softfp's module of that name")]
type f64_host = core::primitive::f64;
