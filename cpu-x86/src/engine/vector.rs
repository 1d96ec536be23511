//! Fast forms of vector instructions: moves, operations lane by lane, and floating point.
//!
//! Translated only in a mode in which the instructions of the encoding run (CR0, CR4, XCR0; part of the block's key).
//! Arithmetic takes the host's result where `softfp` says that it is the same bit for bit and MXCSR hides nothing; else
//! the instruction leaves for the general path. Parameter `K` is the shape of the operands: 3 an XMM register whose
//! bits above 127 stay (legacy encodings); 4, 5 and 6 log2 of the bytes, above which the register is cleared.
#![expect(unsafe_code, reason = "the hot path of the interpreter")]

use super::body::{Body, body, ea, get_host, hit, host, leave, put_host, reg, set};
use super::hot::Leave;
use super::lanes::lanes;
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
pub(super) fn vec(cpu: &mut Cpu, n: u8) -> *mut u8 {
    cpu.vec[(n & 31) as usize].0.as_mut_ptr()
}

/// Pieces of 16 bytes in shape `K`.
pub(super) const fn pieces(k: usize) -> usize {
    if k == 3 { 1 } else { 1 << (k - 4) }
}

/// Clears what shape `K` clears of the register at `to`.
#[inline(always)]
pub(super) unsafe fn clear<const K: usize>(to: *mut u8) {
    if K != 3 {
        // SAFETY: a vector register has 64 bytes.
        unsafe { to.add(1 << K).write_bytes(0, 64 - (1 << K)) }
    }
}

/// Host address of memory of shape `K` at `at`, or `None` and the miss is noted.
#[inline(always)]
pub(super) unsafe fn whole<Eye: Watch, const K: usize, const WRITE: bool>(cpu: &mut Cpu, at: u64) -> Option<*mut u8> {
    // SAFETY: as in `host`.
    unsafe {
        match K {
            5 => host::<Eye, 5, WRITE>(cpu, at),
            6 => host::<Eye, 6, WRITE>(cpu, at),
            _ => host::<Eye, 4, WRITE>(cpu, at),
        }
    }
}

/// Piece `k` at `p`.
#[inline(always)]
pub(super) unsafe fn piece(p: *const u8, k: usize) -> u128 {
    // SAFETY: the caller's operand has more than `k` pieces.
    unsafe { p.cast::<u128>().add(k).read_unaligned() }
}

/// Copies all of shape `K`.
#[inline(always)]
unsafe fn copy<const K: usize>(to: *mut u8, from: *const u8) {
    for k in 0..pieces(K) {
        // SAFETY: both have as many pieces.
        unsafe { to.cast::<u128>().add(k).write_unaligned(piece(from, k)) }
    }
}

/// The register at `to` = `lanes` of those at `a` and `b`.
#[inline(always)]
unsafe fn operate<const O: usize, const K: usize>(to: *mut u8, a: *const u8, b: *const u8) {
    for k in 0..pieces(K) {
        // SAFETY: all have as many pieces.
        unsafe { to.cast::<u128>().add(k).write(lanes::<O>(piece(a, k), piece(b, k))) }
    }
    // SAFETY: `to` is a register.
    unsafe { clear::<K>(to) }
}

/// Scalar floating point: the register at `to` = `a` with the low element `a` O `b`; false, and nothing is changed, when
/// the host cannot tell.
#[inline(always)]
unsafe fn scalar_of_three<const O: usize, const W: usize>(to: *mut u8, a: *const u8, b: *const u8) -> bool {
    // SAFETY: `to` and `a` are registers, `b` is one or an element in memory.
    unsafe {
        let Some(r) = scalar::<O, W>(get_host::<W>(a), get_host::<W>(b)) else { return false };
        copy::<4>(to, a);
        put_host::<W>(to, r);
        clear::<4>(to);
    }
    true
}

/// Packed floating point: the register at `to` = `a` O `b`; false, and nothing is changed, when the host cannot tell.
#[inline(always)]
unsafe fn packed<const O: usize, const W: usize, const K: usize>(to: *mut u8, a: *const u8, b: *const u8) -> bool {
    let n = (16 * pieces(K)) >> W;
    let (mut r, mut right) = ([0u64; 16], true);
    for (k, r) in r.iter_mut().enumerate().take(n) {
        // SAFETY: all have as many lanes.
        let v = unsafe { scalar::<O, W>(get_host::<W>(a.add(k << W)), get_host::<W>(b.add(k << W))) };
        right &= v.is_some();
        *r = v.unwrap_or(0);
    }
    if right {
        for (k, r) in r.iter().enumerate().take(n) {
            // SAFETY: as above.
            unsafe { put_host::<W>(to.add(k << W), *r) }
        }
        // SAFETY: `to` is a register.
        unsafe { clear::<K>(to) }
    }
    right
}

/// Is memory at `at` too little aligned for shape `K`, where the instruction wants it aligned?
#[inline(always)]
const fn misaligned(k: usize, at: u64) -> bool {
    at & (16 * pieces(k) as u64 - 1) != 0
}

body! {
    /// register = register, whole
    VMov<K>(cpu, op) {
        let from = vec(cpu, (*op).b);
        let to = vec(cpu, (*op).a);
        copy::<K>(to, from);
        clear::<K>(to);
        op.add(1)
    }
    /// low element of xmm = low element of xmm
    VMovLow<W>(cpu, op) {
        let v = get_host::<W>(vec(cpu, (*op).b));
        put_host::<W>(vec(cpu, (*op).a), v);
        op.add(1)
    }
    /// xmm = zero-extended [m] of `1 << W` bytes
    VLoadLow<W, AM, K>(cpu, op) {
        let p = hit!(host::<Eye, W, false>(cpu, ea::<AM>(cpu, op)));
        let v = get_host::<W>(p);
        let to = vec(cpu, (*op).a);
        to.cast::<u128>().write(v as u128);
        clear::<K>(to);
        op.add(1)
    }
    /// [m] = low element of xmm
    VStoreLow<W, AM>(cpu, op) {
        let p = hit!(host::<Eye, W, true>(cpu, ea::<AM>(cpu, op)));
        put_host::<W>(p, get_host::<W>(vec(cpu, (*op).a)));
        op.add(1)
    }
    /// register = [m]; `AL`: aligned
    VLoad<AL, K, AM>(cpu, op) {
        let at = ea::<AM>(cpu, op);
        if AL == 1 && misaligned(K, at) { return leave(cpu, Leave::General) }
        let p = hit!(whole::<Eye, K, false>(cpu, at));
        let to = vec(cpu, (*op).a);
        copy::<K>(to, p);
        clear::<K>(to);
        op.add(1)
    }
    /// [m] = register
    VStore<AL, K, AM>(cpu, op) {
        let at = ea::<AM>(cpu, op);
        if AL == 1 && misaligned(K, at) { return leave(cpu, Leave::General) }
        let p = hit!(whole::<Eye, K, true>(cpu, at));
        copy::<K>(p, vec(cpu, (*op).a));
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
    VFromReg<W, K>(cpu, op) {
        let v = reg(cpu, (*op).b);
        let v = if W == 3 { v } else { v & 0xffff_ffff };
        let to = vec(cpu, (*op).a);
        to.cast::<u128>().write(v as u128);
        clear::<K>(to);
        op.add(1)
    }
    /// MOVD, MOVQ r, xmm
    VToReg<W>(cpu, op) {
        let v = get_host::<W>(vec(cpu, (*op).b));
        set(cpu, (*op).a, v);
        op.add(1)
    }
    /// a = b O c, lane by lane; `O` of `lane_op`
    VLanesRr<O, K>(cpu, op) {
        let (a, b) = (vec(cpu, (*op).b), vec(cpu, (*op).c));
        operate::<O, K>(vec(cpu, (*op).a), a, b);
        op.add(1)
    }
    /// a = d O [m]
    VLanesRm<O, K>(cpu, op) {
        let at = ea::<5>(cpu, op);
        if K == 3 && misaligned(K, at) { return leave(cpu, Leave::General) }
        let b = hit!(whole::<Eye, K, false>(cpu, at));
        let a = vec(cpu, (*op).d);
        operate::<O, K>(vec(cpu, (*op).a), a, b);
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
    /// Scalar floating point of three operands: a = b with the low element b O c
    Fp3Rr<O, W>(cpu, op) {
        let (a, b) = (vec(cpu, (*op).b), vec(cpu, (*op).c));
        if !quiet(cpu) || !scalar_of_three::<O, W>(vec(cpu, (*op).a), a, b) {
            return leave(cpu, Leave::General);
        }
        op.add(1)
    }
    /// Likewise: a = d with the low element d O [m]
    Fp3Rm<O, W>(cpu, op) {
        let b = hit!(host::<Eye, W, false>(cpu, ea::<5>(cpu, op)));
        let a = vec(cpu, (*op).d);
        if !quiet(cpu) || !scalar_of_three::<O, W>(vec(cpu, (*op).a), a, b) {
            return leave(cpu, Leave::General);
        }
        op.add(1)
    }
    /// Packed floating point: a = b O c
    FpPackedRr<O, W, K>(cpu, op) {
        let (a, b) = (vec(cpu, (*op).b), vec(cpu, (*op).c));
        if !quiet(cpu) || !packed::<O, W, K>(vec(cpu, (*op).a), a, b) {
            return leave(cpu, Leave::General);
        }
        op.add(1)
    }
    /// Packed floating point: a = d O [m]
    FpPackedRm<O, W, K>(cpu, op) {
        let at = ea::<5>(cpu, op);
        if K == 3 && misaligned(K, at) { return leave(cpu, Leave::General) }
        let b = hit!(whole::<Eye, K, false>(cpu, at));
        let a = vec(cpu, (*op).d);
        if !quiet(cpu) || !packed::<O, W, K>(vec(cpu, (*op).a), a, b) {
            return leave(cpu, Leave::General);
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
