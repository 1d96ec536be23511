//! Fast forms of what AVX and AVX-512 add: broadcasts, comparisons into opmask registers and the instructions on those,
//! masked moves; and the one form that calls any kernel of the vector group on operands found beforehand.
//!
//! Parameter `K` as in `vector`. In an op that writes an opmask register, `a` holds its number, from bit 3 on that of
//! the write mask (0: none), and in bit 6 whether the comparison is inverted.
#![expect(unsafe_code, reason = "the hot path of the interpreter")]

use super::body::{Body, body, ea, get_host, hit, host, leave, reg, set};
use super::hot::Leave;
use super::lanes::{lane_op, lanes, signs};
use super::op::Op;
use super::vector::{clear, piece, pieces, vec, whole};
use super::watch::Watch;
use crate::alu::flag::{CF, OF, SF, ZF};
use crate::alu::{self, Width};
use crate::exec::simd::{V, env_of, note};
use crate::state::Cpu;
use softfp::Env;

/// Numbers of the operations on two opmask registers.
pub(crate) mod mask_op {
    pub const AND: usize = 0;
    pub const ANDN: usize = 1;
    pub const OR: usize = 2;
    pub const XOR: usize = 3;
    pub const XNOR: usize = 4;
    pub const ADD: usize = 5;
    /// The low half of the first above that of the second; the width is the result's.
    pub const UNPACK: usize = 6;
}

/// What `Kernel` calls, by the signature of the function.
pub(crate) mod kernel_op {
    pub const TWO: usize = 0;
    pub const IMM: usize = 1;
    pub const THREE: usize = 2;
    pub const FP: usize = 3;
    pub const FP_IMM: usize = 4;
    pub const FP3: usize = 5;
    pub const FLAGS: usize = 6;
    pub const FP_FLAGS: usize = 7;
}

/// The low `8 << W` bits.
const fn ones(w: usize) -> u64 {
    u64::MAX >> (64 - (8 << w))
}

#[inline(always)]
fn mask(cpu: &mut Cpu, n: u8) -> &mut u64 {
    &mut cpu.k[(n & 7) as usize]
}

/// What a comparison that found `bits` in `lanes` lanes leaves, as `a` of the op says.
#[inline(always)]
fn set_mask(cpu: &mut Cpu, a: u8, bits: u64, lanes: usize) {
    let all = u64::MAX >> (64 - lanes);
    let bits = if a & 0x40 != 0 { bits ^ all } else { bits };
    let picked = if a & 0x38 != 0 { *mask(cpu, a >> 3) } else { all };
    *mask(cpu, a) = bits & picked;
}

/// The signs of operation `O`, whose lanes have `1 << (O & 3)` bytes.
#[inline(always)]
unsafe fn compare<const O: usize, const K: usize>(a: *const u8, b: *const u8) -> u64 {
    let mut bits = 0;
    for k in 0..pieces(K) {
        // SAFETY: both have as many pieces.
        let r = unsafe { lanes::<O>(piece(a, k), piece(b, k)) };
        bits |= match O & 3 {
            0 => signs::<0>(r),
            1 => signs::<1>(r),
            2 => signs::<2>(r),
            _ => signs::<3>(r),
        } << (k * (16 >> (O & 3)));
    }
    bits
}

/// Fills the register at `to` with copies of the low `1 << E` bytes of `v`.
#[inline(always)]
unsafe fn broadcast<const E: usize, const K: usize>(to: *mut u8, v: u64) {
    let v = match E {
        0 => (v & 0xff).wrapping_mul(0x0101_0101_0101_0101),
        1 => (v & 0xffff).wrapping_mul(0x0001_0001_0001_0001),
        2 => (v & 0xffff_ffff).wrapping_mul(0x0000_0001_0000_0001),
        _ => v,
    };
    for k in 0..pieces(K) {
        // SAFETY: `to` is a register.
        unsafe { to.cast::<u128>().add(k).write(u128::from(v) << 64 | u128::from(v)) }
    }
    // SAFETY: as above.
    unsafe { clear::<K>(to) }
}

/// The elements of `1 << E` bytes that `picked` has, as bytes of ones.
#[inline(always)]
fn spread<const E: usize, const K: usize>(picked: u64) -> [u8; 64] {
    let mut r = [0; 64];
    for (k, r) in r.iter_mut().enumerate().take(16 * pieces(K)) {
        *r = 0u8.wrapping_sub((picked >> (k >> E)) as u8 & 1);
    }
    r
}

/// Register `n` as a value of shape `K`; FFh stands for no operand.
#[inline(always)]
unsafe fn value<const K: usize>(cpu: &mut Cpu, n: u8) -> V {
    let mut v = V::ZERO;
    if n != 0xff {
        // SAFETY: a register has 64 bytes.
        unsafe { core::ptr::copy_nonoverlapping(vec(cpu, n), v.0.as_mut_ptr(), 16 * pieces(K)) }
    }
    v
}

/// Writes `v` to register `n`.
#[inline(always)]
unsafe fn give<const K: usize>(cpu: &mut Cpu, n: u8, v: &V) {
    let to = vec(cpu, n);
    // SAFETY: a register has 64 bytes.
    unsafe {
        core::ptr::copy_nonoverlapping(v.0.as_ptr(), to, 16 * pieces(K));
        clear::<K>(to);
    }
}

/// Does signature `s` compute in a floating-point environment?
const fn floats(s: usize) -> bool {
    use kernel_op::*;
    matches!(s, FP | FP_IMM | FP3 | FP_FLAGS)
}

/// The kernel of registers b and c. Not inlined, as those below: kernels are given addresses of locals, and a function
/// whose locals may be known elsewhere cannot go on by a tail call.
#[inline(never)]
unsafe fn kernel_of_registers<const S: usize, const K: usize>(cpu: &mut Cpu, op: *const Op) -> bool {
    // SAFETY: the contract of `kernel`.
    unsafe {
        let (a, b) = (value::<K>(cpu, (*op).b), value::<K>(cpu, (*op).c));
        kernel::<S, K>(cpu, op, &a, &b)
    }
}

/// The kernel of register d and what is at `p`.
#[inline(never)]
unsafe fn kernel_of_memory<const S: usize, const K: usize>(cpu: &mut Cpu, op: *const Op, p: *const u8) -> bool {
    let mut b = V::ZERO;
    // SAFETY: the contract of `kernel`; the caller found memory of this shape at `p`.
    unsafe {
        core::ptr::copy_nonoverlapping(p, b.0.as_mut_ptr(), 16 * pieces(K));
        let a = value::<K>(cpu, (*op).d);
        kernel::<S, K>(cpu, op, &a, &b)
    }
}

/// The kernel of register d and `low`.
#[inline(never)]
unsafe fn kernel_of_low<const S: usize, const K: usize>(cpu: &mut Cpu, op: *const Op, low: u64) -> bool {
    // SAFETY: the contract of `kernel`.
    unsafe {
        let a = value::<K>(cpu, (*op).d);
        kernel::<S, K>(cpu, op, &a, &V::low(low))
    }
}

/// Calls the kernel in the slot behind `op`: its address, then the immediate, the number of elements, and the register
/// of the third operand. False, and nothing is changed: an exception may be unmasked.
#[inline(always)]
unsafe fn kernel<const S: usize, const K: usize>(cpu: &mut Cpu, op: *const Op, a: &V, b: &V) -> bool {
    const MASKED: u32 = 0x1f80;
    if floats(S) && cpu.mxcsr & MASKED != MASKED {
        return false;
    }
    let mut env = env_of(cpu.mxcsr);
    // SAFETY: the builder put there a function of this signature.
    unsafe {
        if S == kernel_op::FLAGS || S == kernel_op::FP_FLAGS {
            let flags = flags_of::<S>(&*op.add(1), a, b, &mut env);
            cpu.set_status_flags(flags);
        } else {
            let third = if S == kernel_op::THREE || S == kernel_op::FP3 { (*op.add(1)).c } else { 0xff };
            let c = value::<K>(cpu, third);
            let r = result_of::<S>(&*op.add(1), a, b, &c, &mut env);
            give::<K>(cpu, (*op).a, &r);
        }
    }
    if floats(S) {
        note(cpu, &env);
    }
    true
}

/// What the kernel that `with` names gives.
#[inline(always)]
unsafe fn result_of<const S: usize>(with: &Op, a: &V, b: &V, c: &V, env: &mut Env) -> V {
    use core::mem::transmute;
    use kernel_op::*;
    let (f, imm, n) = (with.h as usize, with.a, usize::from(with.b));
    // SAFETY: the contract of `kernel`.
    unsafe {
        match S {
            TWO => transmute::<usize, fn(&V, &V) -> V>(f)(a, b),
            IMM => transmute::<usize, fn(&V, &V, u8) -> V>(f)(a, b, imm),
            THREE => transmute::<usize, fn(&V, &V, &V) -> V>(f)(a, b, c),
            FP => transmute::<usize, fn(&V, &V, usize, &mut Env) -> V>(f)(a, b, n, env),
            FP_IMM => transmute::<usize, fn(&V, &V, u8, usize, &mut Env) -> V>(f)(a, b, imm, n, env),
            _ => transmute::<usize, fn(&V, &V, &V, usize, &mut Env) -> V>(f)(a, b, c, n, env),
        }
    }
}

/// The status flags that the kernel that `with` names gives.
#[inline(always)]
unsafe fn flags_of<const S: usize>(with: &Op, a: &V, b: &V, env: &mut Env) -> u64 {
    use core::mem::transmute;
    let f = with.h as usize;
    // SAFETY: the contract of `kernel`.
    unsafe {
        match S {
            kernel_op::FLAGS => transmute::<usize, fn(&V, &V) -> u64>(f)(a, b),
            _ => transmute::<usize, fn(&V, &V, &mut Env) -> u64>(f)(a, b, env),
        }
    }
}

/// PCMPISTRI over bytes with immediate `imm`, whose aggregation is "equal any" or "equal each"; a zero ends either
/// string. Source: SDM vol. 2B, 4.1.
#[inline(always)]
fn string_index(cpu: &mut Cpu, a: u128, b: u128, imm: u8) {
    const ALL: u64 = 0xffff;
    let equal = |x: u128, y: u128| signs::<0>(lanes::<{ lane_op::EQUAL[0] }>(x, y));
    // The bytes before the first zero, as bits.
    let (ends_a, ends_b) = (equal(a, 0), equal(b, 0));
    let before = |ends: u64| (ends & ends.wrapping_neg()).wrapping_sub(1) & ALL;
    let (valid_a, valid_b) = (before(ends_a), before(ends_b));
    let found = if imm & 0xc == 0 {
        let set = a.to_le_bytes();
        let each = set.iter().take(valid_a.count_ones() as usize);
        each.fold(0, |r, x| r | equal(u128::from_le_bytes([*x; 16]), b)) & valid_b
    } else {
        equal(a, b) & valid_a & valid_b | !valid_a & !valid_b & ALL
    };
    let result = match imm >> 4 & 3 {
        1 => !found & ALL,
        3 => found ^ valid_b,
        _ => found,
    };
    let index = match imm & 0x40 {
        _ if result == 0 => 16,
        0 => result.trailing_zeros(),
        _ => result.ilog2(),
    };
    cpu.regs[1] = u64::from(index);
    let when = |flag: u64, set: bool| if set { flag } else { 0 };
    let ended = when(ZF, ends_b != 0) | when(SF, ends_a != 0);
    cpu.set_status_flags(ended | when(CF, result != 0) | when(OF, result & 1 != 0));
}

/// The half of the registers at `a` and `b` that `digit` says, or zero. Bits 1:0: which; 3: zero.
#[inline(always)]
unsafe fn half(a: *const u8, b: *const u8, digit: u8) -> u128 {
    let from = if digit & 2 == 0 { a } else { b };
    // SAFETY: both are registers.
    if digit & 8 == 0 { unsafe { piece(from, usize::from(digit & 1)) } } else { 0 }
}

body! {
    /// A kernel of registers b and c, to a
    KernelRr<S, K>(cpu, op) {
        if !kernel_of_registers::<S, K>(cpu, op) { return leave(cpu, Leave::General) }
        op.add(2)
    }
    /// A kernel of register d and [m], to a
    KernelRm<S, K>(cpu, op) {
        let at = ea::<5>(cpu, op);
        if K == 3 && at & 15 != 0 { return leave(cpu, Leave::General) }
        let p = hit!(whole::<Eye, K, false>(cpu, at));
        if !kernel_of_memory::<S, K>(cpu, op, p) { return leave(cpu, Leave::General) }
        op.add(2)
    }
    /// Likewise with `1 << W` bytes of memory
    KernelLow<S, K, W>(cpu, op) {
        let p = hit!(host::<Eye, W, false>(cpu, ea::<5>(cpu, op)));
        if !kernel_of_low::<S, K>(cpu, op, get_host::<W>(p)) { return leave(cpu, Leave::General) }
        op.add(2)
    }
    /// Comparison of registers b and c into an opmask register
    VMaskRr<O, K>(cpu, op) {
        let (a, b) = (vec(cpu, (*op).b), vec(cpu, (*op).c));
        let bits = compare::<O, K>(a, b);
        set_mask(cpu, (*op).a, bits, (16 * pieces(K)) >> (O & 3));
        op.add(1)
    }
    /// Comparison of register d and [m] into an opmask register
    VMaskRm<O, K>(cpu, op) {
        let p = match whole::<Eye, K, false>(cpu, ea::<5>(cpu, op)) {
            Some(p) => p,
            // What the write mask leaves out may not be there.
            None if (*op).a & 0x38 != 0 => return leave(cpu, Leave::General),
            None => return core::ptr::null(),
        };
        let a = vec(cpu, (*op).d);
        let bits = compare::<O, K>(a, p);
        set_mask(cpu, (*op).a, bits, (16 * pieces(K)) >> (O & 3));
        op.add(1)
    }
    /// VPBROADCAST from a general register
    VSpreadReg<E, K>(cpu, op) {
        let v = reg(cpu, (*op).b);
        broadcast::<E, K>(vec(cpu, (*op).a), v);
        op.add(1)
    }
    /// VPBROADCAST from the low element of a register
    VSpreadLow<E, K>(cpu, op) {
        let v = get_host::<E>(vec(cpu, (*op).b));
        broadcast::<E, K>(vec(cpu, (*op).a), v);
        op.add(1)
    }
    /// VPBROADCAST from memory
    VSpreadMem<E, K>(cpu, op) {
        let p = hit!(host::<Eye, E, false>(cpu, ea::<5>(cpu, op)));
        let v = get_host::<E>(p);
        broadcast::<E, K>(vec(cpu, (*op).a), v);
        op.add(1)
    }
    /// VPERMQ, VPERMPD: quadword n of a is that of c which bits 2n + 1:2n of d say
    VPermute64<K>(cpu, op) {
        let (from, to, imm) = (vec(cpu, (*op).c), vec(cpu, (*op).a), (*op).d);
        let pick = |n: usize| u128::from(get_host::<3>(from.add(8 * usize::from(imm >> (2 * n) & 3))));
        let (low, high) = (pick(1) << 64 | pick(0), pick(3) << 64 | pick(2));
        to.cast::<u128>().write(low);
        to.cast::<u128>().add(1).write(high);
        clear::<K>(to);
        op.add(1)
    }
    /// Each half of a is one of the four of b and c, as a digit of d says, or zero
    VHalves<K>(cpu, op) {
        let (a, b, to) = (vec(cpu, (*op).b), vec(cpu, (*op).c), vec(cpu, (*op).a));
        let (low, high) = (half(a, b, (*op).d & 15), half(a, b, (*op).d >> 4));
        to.cast::<u128>().write(low);
        to.cast::<u128>().add(1).write(high);
        clear::<K>(to);
        op.add(1)
    }
    /// VPTERNLOG a, b, c, with the truth table in d
    VTernary<K>(cpu, op) {
        let (a, b, to) = (vec(cpu, (*op).b), vec(cpu, (*op).c), vec(cpu, (*op).a));
        for k in 0..pieces(K) {
            let (x, y, z) = (piece(to, k), piece(a, k), piece(b, k));
            let mut r = 0;
            for n in (0..8).filter(|n| (*op).d >> n & 1 != 0) {
                let pick = |v: u128, bit: u32| if n & bit != 0 { v } else { !v };
                r |= pick(x, 4) & pick(y, 2) & pick(z, 1);
            }
            to.cast::<u128>().add(k).write(r);
        }
        clear::<K>(to);
        op.add(1)
    }
    /// The sign bits of the lanes of b, to general register a
    VSigns<E, K>(cpu, op) {
        let from = vec(cpu, (*op).b);
        let mut bits = 0;
        for k in 0..pieces(K) {
            bits |= signs::<E>(piece(from, k)) << (k * (16 >> E));
        }
        set(cpu, (*op).a, bits);
        op.add(1)
    }
    /// a = [m] under opmask register d (bits 2:0), zeroing when bit 3 is set
    VLoadMasked<E, K>(cpu, op) {
        let Some(p) = whole::<Eye, K, false>(cpu, ea::<5>(cpu, op)) else { return leave(cpu, Leave::General) };
        let picked = spread::<E, K>(*mask(cpu, (*op).d));
        let (to, keep) = (vec(cpu, (*op).a), (*op).d & 8 == 0);
        for k in 0..pieces(K) {
            let of = piece(picked.as_ptr(), k);
            let old = if keep { piece(to, k) & !of } else { 0 };
            to.cast::<u128>().add(k).write(piece(p, k) & of | old);
        }
        clear::<K>(to);
        op.add(1)
    }
    /// [m] = a under opmask register d
    VStoreMasked<E, K>(cpu, op) {
        let Some(p) = whole::<Eye, K, true>(cpu, ea::<5>(cpu, op)) else { return leave(cpu, Leave::General) };
        let picked = spread::<E, K>(*mask(cpu, (*op).d));
        let from = vec(cpu, (*op).a);
        for k in 0..pieces(K) {
            let of = piece(picked.as_ptr(), k);
            let v = piece(from, k) & of | piece(p, k) & !of;
            p.cast::<u128>().add(k).write_unaligned(v);
        }
        op.add(1)
    }
    /// PCMPISTRI of bytes b with c, the immediate in d: equal any, equal each
    VStringRr(cpu, op) {
        let (a, b) = (piece(vec(cpu, (*op).b), 0), piece(vec(cpu, (*op).c), 0));
        string_index(cpu, a, b, (*op).d);
        op.add(1)
    }
    /// PCMPISTRI of bytes a with [m], likewise
    VStringRm(cpu, op) {
        let p = hit!(host::<Eye, 4, false>(cpu, ea::<5>(cpu, op)));
        let (a, b) = (piece(vec(cpu, (*op).a), 0), piece(p, 0));
        string_index(cpu, a, b, (*op).d);
        op.add(1)
    }
    /// TZCNT r, r
    Tzcnt<W, FL>(cpu, op) {
        let (r, f) = alu::tzcnt(if W == 3 { Width::Q } else { Width::D }, reg(cpu, (*op).b) & ones(W));
        set(cpu, (*op).a, r);
        if FL == 1 { cpu.change_status_flags(CF | ZF, f) }
        op.add(1)
    }
    /// VZEROUPPER of `a` registers: those that the mode has.
    VZeroUpper(cpu, op) {
        for n in 0..(*op).a {
            clear::<4>(vec(cpu, n));
        }
        op.add(1)
    }
    /// KMOV k, r
    KFromReg<W>(cpu, op) {
        let v = reg(cpu, (*op).b) & ones(W);
        *mask(cpu, (*op).a) = v;
        op.add(1)
    }
    /// KMOV r, k
    KToReg<W>(cpu, op) {
        let v = *mask(cpu, (*op).b) & ones(W);
        set(cpu, (*op).a, v);
        op.add(1)
    }
    /// KMOV k, k
    KMov<W>(cpu, op) {
        let v = *mask(cpu, (*op).b) & ones(W);
        *mask(cpu, (*op).a) = v;
        op.add(1)
    }
    /// KNOT
    KNot<W>(cpu, op) {
        let v = !*mask(cpu, (*op).b) & ones(W);
        *mask(cpu, (*op).a) = v;
        op.add(1)
    }
    /// a = b O c; `O` of `mask_op`
    KTwo<O, W>(cpu, op) {
        let (x, y) = (*mask(cpu, (*op).b), *mask(cpu, (*op).c));
        let r = match O {
            mask_op::AND => x & y,
            mask_op::ANDN => !x & y,
            mask_op::OR => x | y,
            mask_op::XOR => x ^ y,
            mask_op::XNOR => !(x ^ y),
            mask_op::ADD => (x & ones(W)).wrapping_add(y & ones(W)),
            _ => x << (4 << W) | y & (ones(W) >> (4 << W)),
        };
        *mask(cpu, (*op).a) = r & ones(W);
        op.add(1)
    }
    /// KORTEST (`T` 0), KTEST (1): ZF and CF, the other status flags are cleared
    KTest<T, W>(cpu, op) {
        let (x, y) = (*mask(cpu, (*op).a) & ones(W), *mask(cpu, (*op).b) & ones(W));
        let (zero, carry) = if T == 0 { (x | y == 0, x | y == ones(W)) } else { (x & y == 0, !x & y == 0) };
        cpu.set_status_flags(if zero { ZF } else { 0 } | if carry { CF } else { 0 });
        op.add(1)
    }
}
