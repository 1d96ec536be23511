//! Fast forms of floating point: scalar, packed and fused.
//!
//! The host's result is taken where `softfp` says that it is the same bit for bit and MXCSR hides nothing; else `softfp`
//! computes, which cannot fault as long as every exception is masked. Where one is not, the instruction leaves for the
//! general path. Parameter `K` as in `vector`; 2 stands for the lowest element alone, in a VEX or EVEX encoding.
#![expect(unsafe_code, reason = "the hot path of the interpreter")]

use super::body::{Body, body, ea, get_host, hit, host, leave, leave_to, put_host, reg, set};
use super::hot::Leave;
use super::op::Op;
use super::vector::{clear, misaligned, piece, pieces, vec, whole};
use super::watch::Watch;
use crate::exec::simd::{Real, env_of, flags, note, sign};
use crate::state::Cpu;
use softfp::{Env, f32, f64};
use std::cmp::Ordering;

/// MXCSR's masks.
const MASKED: u32 = 0x1f80;

/// Does MXCSR hide nothing from a fast result: rounding to nearest, all masked, PE already set? DAZ and FTZ change
/// nothing, because neither denormal operands nor tiny results are fast.
#[inline(always)]
fn quiet(cpu: &Cpu) -> bool {
    cpu.mxcsr & 0x7fa0 == MASKED | 0x20
}

/// Numbers of the operations.
pub(crate) mod fp_op {
    pub const ADD: usize = 0;
    pub const MUL: usize = 1;
    pub const SUB: usize = 2;
    pub const DIV: usize = 3;
    pub const SQRT: usize = 4;
}
use fp_op::*;

/// The fast result of operation `O` on elements of `1 << W` bytes.
#[inline(always)]
fn fast<const O: usize, const W: usize>(a: u64, b: u64) -> Option<u64> {
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

/// The result of operation `O`, whatever it takes.
#[inline(always)]
fn book<const O: usize, const W: usize>(a: u64, b: u64, env: &mut Env) -> u64 {
    if W == 3 {
        return match O {
            ADD => f64::add(a, b, env),
            MUL => f64::mul(a, b, env),
            SUB => f64::sub(a, b, env),
            DIV => f64::div(a, b, env),
            _ => f64::sqrt(b, env),
        };
    }
    let (a, b) = (a as u32, b as u32);
    u64::from(match O {
        ADD => f32::add(a, b, env),
        MUL => f32::mul(a, b, env),
        SUB => f32::sub(a, b, env),
        DIV => f32::div(a, b, env),
        _ => f32::sqrt(b, env),
    })
}

/// Computes with `f` by the book and raises the flags that it met; false, and nothing is done, where an exception may be
/// unmasked.
#[inline(always)]
fn by_the_book(cpu: &mut Cpu, f: impl FnOnce(&mut Cpu, &mut Env)) -> bool {
    let masked = cpu.mxcsr & MASKED == MASKED;
    if masked {
        let mut env = env_of(cpu.mxcsr);
        f(cpu, &mut env);
        note(cpu, &env);
    }
    masked
}

/// The op behind `op`, if it is `done`.
fn behind(op: *const Op, done: bool) -> *const Op {
    if done { op.wrapping_add(1) } else { std::ptr::null() }
}

/// Operation `O` on scalars by the book: the low element of register a = that of the first operand O the second. `K` 3
/// keeps the rest of the register, 4 takes it from the first operand.
unsafe fn soft_scalar<const O: usize, const W: usize, const K: usize>(cpu: &mut Cpu, op: *const Op) -> *const Op {
    let [a, b] = cpu.hot.from;
    // SAFETY: the op left these operands.
    let done = by_the_book(cpu, |cpu, env| unsafe {
        let r = book::<O, W>(get_host::<W>(a), get_host::<W>(b), env);
        let to = vec(cpu, (*op).a);
        if K == 4 {
            put_scalar::<W>(to, a, r);
        } else {
            put_host::<W>(to, r);
        }
    });
    behind(op, done)
}

/// The register at `to` = that at `a` with low element `r`.
#[inline(always)]
unsafe fn put_scalar<const W: usize>(to: *mut u8, a: *const u8, r: u64) {
    // SAFETY: both are registers.
    unsafe {
        to.cast::<u128>().write(piece(a, 0));
        put_host::<W>(to, r);
        clear::<4>(to);
    }
}

/// Operation `O` on the elements of 16 bytes by the host, and whether that is right in a quick environment. (Of an
/// `Option` the compiler makes a choice between values in general registers.)
#[inline(always)]
fn fast_piece<const O: usize, const W: usize>(a: u128, b: u128) -> (u128, bool) {
    #[cfg(target_arch = "x86_64")]
    {
        on_host::fast::<O, W>(a, b)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let r = each_element(W, |n| fast::<O, W>(element::<W>(a, n), element::<W>(b, n)));
        (r.unwrap_or(0), r.is_some())
    }
}

/// Element `n`, of `1 << W` bytes.
#[inline(always)]
fn element<const W: usize>(v: u128, n: usize) -> u64 {
    (v >> (n * (8 << W))) as u64 & u64::MAX >> (64 - (8 << W))
}

/// 16 bytes of elements `f(n)`, of `1 << w` bytes each.
#[inline(always)]
fn each_element(w: usize, f: impl Fn(usize) -> Option<u64>) -> Option<u128> {
    let mut r = 0;
    for n in 0..16 >> w {
        r |= u128::from(f(n)?) << (n * (8 << w));
    }
    Some(r)
}

/// [`fast_piece`] by instructions of the host's SSE2. What is fast is written as comparisons of magnitudes: `softfp`'s
/// rules, on all elements at a time.
#[cfg(target_arch = "x86_64")]
mod on_host {
    use super::fp_op::*;
    use core::arch::x86_64::*;
    use core::mem::transmute;

    /// The rules for one width of elements.
    macro_rules! rules {
        ($name:ident, $fused:ident, $fma:ident, $v:ty, $t:ty, $all:literal, $set:ident, $zero:ident, $and:ident, $or:ident, $xor:ident, $andnot:ident, $ge:ident,
            $lt:ident, $eq:ident, $signs:ident, $add:ident, $mul:ident, $sub:ident, $div:ident, $sqrt:ident) => {
            #[inline(always)]
            pub fn $name<const O: usize>(a: u128, b: u128) -> (u128, bool) {
                // SAFETY: both types are 16 bytes of which every pattern is a value; SSE2 is part of the target.
                unsafe {
                    let (a, b) = (transmute::<u128, $v>(a), transmute::<u128, $v>(b));
                    let magnitude = |v| $andnot($set(-0.0), v);
                    let (least, infinity) = ($set(<$t>::MIN_POSITIVE), $set(<$t>::INFINITY));
                    // A zero, or at or above the least normal number; not a NaN.
                    let plain = |v| $or($ge(magnitude(v), least), $eq(v, $zero()));
                    let (r, right) = match O {
                        ADD | SUB => {
                            let r = if O == ADD { $add(a, b) } else { $sub(a, b) };
                            (r, $and($and(plain(a), plain(b)), plain(r)))
                        }
                        MUL | DIV => {
                            let r = if O == MUL { $mul(a, b) } else { $div(a, b) };
                            let normal = $ge(magnitude(r), $set(2.0 * <$t>::MIN_POSITIVE));
                            let mut nil = $eq(a, $zero());
                            if O == MUL {
                                nil = $or(nil, $eq(b, $zero()));
                            }
                            (r, $and($and(plain(a), plain(b)), $or(normal, nil)))
                        }
                        // A negative operand gives a NaN.
                        _ => ($sqrt(b), plain(b)),
                    };
                    let right = $and(right, $lt(magnitude(r), infinity));
                    (transmute::<$v, u128>(r), $signs(right) == $all)
                }
            }

            /// `x` * `y` + `z`, the signs of the product and of `z` changed where the flags say so.
            #[inline]
            #[target_feature(enable = "fma")]
            pub fn $fused(x: u128, y: u128, z: u128, product: bool, addend: bool) -> Option<u128> {
                // SAFETY: as above, and the host has FMA.
                unsafe {
                    let flip = |v: u128, change: bool| {
                        $xor(transmute::<u128, $v>(v), if change { $set(-0.0) } else { $zero() })
                    };
                    let (x, y, z) = (flip(x, product), transmute::<u128, $v>(y), flip(z, addend));
                    let magnitude = |v| $andnot($set(-0.0), v);
                    let plain = |v| $or($ge(magnitude(v), $set(<$t>::MIN_POSITIVE)), $eq(v, $zero()));
                    let r = $fma(x, y, z);
                    let normal = $ge(magnitude(r), $set(2.0 * <$t>::MIN_POSITIVE));
                    let nil = $or($eq(x, $zero()), $eq(y, $zero()));
                    let right = $and($and(plain(x), plain(y)), $and(plain(z), $or(normal, nil)));
                    let right = $and(right, $lt(magnitude(r), $set(<$t>::INFINITY)));
                    ($signs(right) == $all).then(|| transmute::<$v, u128>(r))
                }
            }
        };
    }
    rules! {
        doubles, fused_doubles, _mm_fmadd_pd, __m128d, f64, 3, _mm_set1_pd, _mm_setzero_pd, _mm_and_pd, _mm_or_pd, _mm_xor_pd, _mm_andnot_pd, _mm_cmpge_pd,
        _mm_cmplt_pd, _mm_cmpeq_pd, _mm_movemask_pd, _mm_add_pd, _mm_mul_pd, _mm_sub_pd, _mm_div_pd, _mm_sqrt_pd
    }
    rules! {
        singles, fused_singles, _mm_fmadd_ps, __m128, f32, 15, _mm_set1_ps, _mm_setzero_ps, _mm_and_ps, _mm_or_ps, _mm_xor_ps, _mm_andnot_ps, _mm_cmpge_ps,
        _mm_cmplt_ps, _mm_cmpeq_ps, _mm_movemask_ps, _mm_add_ps, _mm_mul_ps, _mm_sub_ps, _mm_div_ps, _mm_sqrt_ps
    }

    #[inline(always)]
    pub fn fast<const O: usize, const W: usize>(a: u128, b: u128) -> (u128, bool) {
        if W == 3 { doubles::<O>(a, b) } else { singles::<O>(a, b) }
    }
}

/// Packed operation `O`: the register at `to` = `a` O `b`; false, and nothing is changed, when the host cannot tell.
#[inline(always)]
unsafe fn packed<const O: usize, const W: usize, const K: usize>(to: *mut u8, a: *const u8, b: *const u8) -> bool {
    let (mut r, mut right) = ([0; 4], true);
    for (k, r) in r.iter_mut().enumerate().take(pieces(K)) {
        // SAFETY: both have as many pieces.
        let (v, is_right) = unsafe { fast_piece::<O, W>(piece(a, k), piece(b, k)) };
        right &= is_right;
        *r = v;
    }
    if right {
        // SAFETY: `to` is a register.
        unsafe { put_pieces::<K>(to, &r) }
    }
    right
}

/// What an op of packed floating point that its form left is done by.
unsafe fn soft_op<const O: usize, const W: usize, const K: usize>(cpu: &mut Cpu, op: *const Op) -> *const Op {
    let [a, b] = cpu.hot.from;
    // SAFETY: the op left these operands.
    let done = unsafe { soft_packed::<O, W>(cpu, (*op).a, a, b, K) };
    behind(op, done)
}

/// Horizontal operation `O` (HADDPD and its like): register `to` = neighbours O each other, in each 16 bytes those of `a`
/// and then those of `b`; false, and nothing is changed: an exception may be unmasked. Not inlined, for its operands are
/// put in order in memory.
#[inline(never)]
unsafe fn horizontal<const O: usize, const W: usize, const K: usize>(
    cpu: &mut Cpu,
    to: u8,
    a: *const u8,
    b: *const u8,
) -> bool {
    let (mut even, mut odd) = ([0u128; 2], [0u128; 2]);
    for k in 0..pieces(K) {
        // SAFETY: both have as many pieces.
        let both = unsafe { [piece(a, k), piece(b, k)] };
        let pick = |first: usize| {
            let halves = both.map(|v| {
                let lanes = (first..16 >> W).step_by(2).enumerate();
                lanes.fold(0, |r, (at, n)| r | element::<W>(v, n) << (at * (8 << W)))
            });
            u128::from(halves[1]) << 64 | u128::from(halves[0])
        };
        (even[k], odd[k]) = (pick(0), pick(1));
    }
    let (even, odd) = (even.as_ptr().cast(), odd.as_ptr().cast());
    // SAFETY: the operands are of this shape.
    unsafe { quiet(cpu) && packed::<O, W, K>(vec(cpu, to), even, odd) || soft_packed::<O, W>(cpu, to, even, odd, K) }
}

/// Writes the register at `to`.
#[inline(always)]
unsafe fn put_pieces<const K: usize>(to: *mut u8, r: &[u128; 4]) {
    for (k, r) in r.iter().enumerate().take(pieces(K)) {
        // SAFETY: a register has four pieces.
        unsafe { to.cast::<u128>().add(k).write(*r) }
    }
    // SAFETY: `to` is a register.
    unsafe { clear::<K>(to) }
}

/// Clears what shape `k` clears of the register at `to`.
unsafe fn clear_above(to: *mut u8, k: usize) {
    let kept = if k == 3 { 64 } else { 16 * pieces(k) };
    // SAFETY: a register has 64 bytes.
    unsafe { to.add(kept).write_bytes(0, 64 - kept) }
}

/// Packed operation `O` by the book: register `to` = `a` O `b`; false, and nothing is changed: an exception may be
/// unmasked.
#[cold]
#[inline(never)]
unsafe fn soft_packed<const O: usize, const W: usize>(
    cpu: &mut Cpu,
    to: u8,
    a: *const u8,
    b: *const u8,
    k: usize,
) -> bool {
    by_the_book(cpu, |cpu, env| {
        let to = vec(cpu, to);
        for at in (0..(16 * pieces(k)) >> W).map(|n| n << W) {
            // SAFETY: all have as many elements; an element of `a` and `b` is read before that of `to` is written.
            unsafe {
                let r = book::<O, W>(get_host::<W>(a.add(at)), get_host::<W>(b.add(at)), env);
                put_host::<W>(to.add(at), r);
            }
        }
        // SAFETY: `to` is a register.
        unsafe { clear_above(to, k) }
    })
}

/// Register `to` = `x` * `y` + `z`, of which `signs` are changed first; false, and nothing is changed: an exception may
/// be unmasked. Not inlined: whether the host has the instruction is found out when it runs. An operand each: of a
/// handler that passed them in memory the next handler could not be a tail call.
#[inline(never)]
unsafe fn fused<const W: usize, const K: usize>(
    cpu: &mut Cpu,
    to: u8,
    x: *const u8,
    y: *const u8,
    z: *const u8,
    signs: u8,
) -> bool {
    let (place, from) = (vec(cpu, to), [x, y, z]);
    // SAFETY: the operands are those of this function.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("fma") {
            let right = quiet(cpu) && fused_in_hardware::<W, K>(place, from, signs);
            return right || soft_fused::<W>(cpu, to, from, signs, K);
        }
        quiet(cpu) && each_piece::<W, K>(place, from, |[x, y, z]| fused_piece::<W>(x, y, z, signs))
            || soft_fused::<W>(cpu, to, from, signs, K)
    }
}

/// [`fused`] by the host's instruction, where its result is right for every element; else false, and nothing is changed.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "fma")]
unsafe fn fused_in_hardware<const W: usize, const K: usize>(to: *mut u8, from: [*const u8; 3], signs: u8) -> bool {
    let (product, addend) = (signs & sign::PRODUCT != 0, signs & sign::ADDEND != 0);
    // SAFETY: the caller's contract.
    unsafe {
        each_piece::<W, K>(to, from, |[x, y, z]| {
            if W == 3 {
                on_host::fused_doubles(x, y, z, product, addend)
            } else {
                on_host::fused_singles(x, y, z, product, addend)
            }
        })
    }
}

/// The product and sum of the elements of 16 bytes, where the host's library is right in a quick environment.
#[inline(always)]
fn fused_piece<const W: usize>(x: u128, y: u128, z: u128, signs: u8) -> Option<u128> {
    let flip = |with: u8| if signs & with != 0 { 1u64 << ((8 << W) - 1) } else { 0 };
    let (product, addend) = (flip(sign::PRODUCT), flip(sign::ADDEND));
    each_element(W, |n| {
        let (x, y, z) = (element::<W>(x, n) ^ product, element::<W>(y, n), element::<W>(z, n) ^ addend);
        if W == 3 { f64::fast_fma(x, y, z) } else { f32::fast_fma(x as u32, y as u32, z as u32).map(u64::from) }
    })
}

/// The register at `to` = `f` of the pieces of the sources; false, and nothing is changed, when it gives none for one.
#[inline(always)]
unsafe fn each_piece<const W: usize, const K: usize>(
    to: *mut u8,
    [x, y, z]: [*const u8; 3],
    f: impl Fn([u128; 3]) -> Option<u128>,
) -> bool {
    // SAFETY: `to` is a register, the others are registers or memory of shape `K`.
    unsafe {
        if K == 2 {
            let low = |p| u128::from(get_host::<W>(p));
            let Some(r) = f([low(x), low(y), low(z)]) else { return false };
            put_host::<W>(to, r as u64);
            clear::<4>(to);
            return true;
        }
        let mut r = [0; 4];
        for (k, r) in r.iter_mut().enumerate().take(pieces(K)) {
            let Some(v) = f([piece(x, k), piece(y, k), piece(z, k)]) else { return false };
            *r = v;
        }
        put_pieces::<K>(to, &r);
    }
    true
}

/// [`fused`] by the book.
#[cold]
#[inline(never)]
unsafe fn soft_fused<const W: usize>(cpu: &mut Cpu, to: u8, [x, y, z]: [*const u8; 3], signs: u8, k: usize) -> bool {
    let (product, addend) = (signs & sign::PRODUCT != 0, signs & sign::ADDEND != 0);
    let many = if k == 2 { 1 } else { (16 * pieces(k)) >> W };
    by_the_book(cpu, |cpu, env| {
        let to = vec(cpu, to);
        for at in (0..many).map(|n| n << W) {
            // SAFETY: all have as many elements; an element of the sources is read before that of `to` is written.
            unsafe {
                let (x, y, z) = (get_host::<W>(x.add(at)), get_host::<W>(y.add(at)), get_host::<W>(z.add(at)));
                let r = if W == 3 {
                    x.negated(product).fma(y, z.negated(addend), env)
                } else {
                    let (x, y, z) = (x as u32, y as u32, z as u32);
                    u64::from(x.negated(product).fma(y, z.negated(addend), env))
                };
                put_host::<W>(to.add(at), r);
            }
        }
        // SAFETY: `to` is a register.
        unsafe { clear_above(to, k.max(4)) }
    })
}

/// The host's own numbers, beside softfp's modules of those names.
type HostDouble = core::primitive::f64;
type HostSingle = core::primitive::f32;

/// How the elements at these addresses compare, where that leaves no trace in MXCSR.
#[inline(always)]
unsafe fn relation<const W: usize>([a, b]: [*const u8; 2]) -> Option<Ordering> {
    // SAFETY: the operands are registers or memory of this width.
    let (a, b) = unsafe { (get_host::<W>(a), get_host::<W>(b)) };
    if W == 3 { f64::fast_compare(a, b) } else { f32::fast_compare(a as u32, b as u32) }
}

/// A comparison that its form left.
unsafe fn soft_compare<const S: usize, const W: usize>(cpu: &mut Cpu, op: *const Op) -> *const Op {
    let [a, b] = cpu.hot.from;
    // SAFETY: the op left these operands.
    let (a, b) = unsafe { (get_host::<W>(a), get_host::<W>(b)) };
    let done = by_the_book(cpu, |cpu, env| {
        let relation =
            if W == 3 { f64::compare(a, b, S == 1, env) } else { f32::compare(a as u32, b as u32, S == 1, env) };
        cpu.set_status_flags(flags(relation));
    });
    behind(op, done)
}

body! {
    /// Scalar floating point, register source
    FpRr<O, W>(cpu, op) {
        let (p, from) = (vec(cpu, (*op).a), vec(cpu, (*op).b));
        match fast::<O, W>(get_host::<W>(p), get_host::<W>(from)) {
            Some(r) if quiet(cpu) => put_host::<W>(p, r),
            _ => return leave_to(cpu, soft_scalar::<O, W, 3>, [p, from]),
        }
        op.add(1)
    }
    /// Scalar floating point, memory source
    FpRm<O, W, AM>(cpu, op) {
        let from = hit!(host::<Eye, W, false>(cpu, ea::<AM>(cpu, op)));
        let p = vec(cpu, (*op).a);
        match fast::<O, W>(get_host::<W>(p), get_host::<W>(from)) {
            Some(r) if quiet(cpu) => put_host::<W>(p, r),
            _ => return leave_to(cpu, soft_scalar::<O, W, 3>, [p, from]),
        }
        op.add(1)
    }
    /// Scalar floating point of three operands: a = b with the low element b O c
    Fp3Rr<O, W>(cpu, op) {
        let (a, b) = (vec(cpu, (*op).b), vec(cpu, (*op).c));
        match fast::<O, W>(get_host::<W>(a), get_host::<W>(b)) {
            Some(r) if quiet(cpu) => put_scalar::<W>(vec(cpu, (*op).a), a, r),
            _ => return leave_to(cpu, soft_scalar::<O, W, 4>, [a, b]),
        }
        op.add(1)
    }
    /// Likewise: a = d with the low element d O [m]
    Fp3Rm<O, W>(cpu, op) {
        let b = hit!(host::<Eye, W, false>(cpu, ea::<5>(cpu, op)));
        let a = vec(cpu, (*op).d);
        match fast::<O, W>(get_host::<W>(a), get_host::<W>(b)) {
            Some(r) if quiet(cpu) => put_scalar::<W>(vec(cpu, (*op).a), a, r),
            _ => return leave_to(cpu, soft_scalar::<O, W, 4>, [a, b]),
        }
        op.add(1)
    }
    /// Packed floating point: a = b O c
    FpPackedRr<O, W, K>(cpu, op) {
        let (a, b) = (vec(cpu, (*op).b), vec(cpu, (*op).c));
        if !quiet(cpu) || !packed::<O, W, K>(vec(cpu, (*op).a), a, b) {
            return leave_to(cpu, soft_op::<O, W, K>, [a, b]);
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
            return leave_to(cpu, soft_op::<O, W, K>, [a, b]);
        }
        op.add(1)
    }
    /// Horizontal floating point: a = neighbours in b and c
    FpAcrossRr<O, W, K>(cpu, op) {
        let (a, b) = (vec(cpu, (*op).b), vec(cpu, (*op).c));
        if !horizontal::<O, W, K>(cpu, (*op).a, a, b) { return leave(cpu, Leave::General) }
        op.add(1)
    }
    /// Product and sum: a = b * c + d, with signs as imm says
    FpFusedRr<W, K>(cpu, op) {
        let (x, y, z) = (vec(cpu, (*op).b), vec(cpu, (*op).c), vec(cpu, (*op).d));
        if !fused::<W, K>(cpu, (*op).a, x, y, z, (*op).imm as u8) { return leave(cpu, Leave::General) }
        op.add(1)
    }
    /// Likewise of a, d and [m], in the order that a of the next slot says: 1, 2, 3 are the digits of the mnemonic's
    /// first. Signs in its b
    FpFusedRm<W, K>(cpu, op) {
        let at = ea::<5>(cpu, op);
        let m = hit!(fused_operand::<Eye, W, K>(cpu, at)).cast_const();
        let (one, two) = (vec(cpu, (*op).a).cast_const(), vec(cpu, (*op).d).cast_const());
        let (x, y, z) = match (*op.add(1)).a {
            1 => (one, m, two),
            2 => (two, one, m),
            _ => (two, m, one),
        };
        if !fused::<W, K>(cpu, (*op).a, x, y, z, (*op.add(1)).b) { return leave(cpu, Leave::General) }
        op.add(2)
    }
    /// COMISS, COMISD, UCOMISS and UCOMISD of a and b; `S` 1: quiet NaNs signal
    FpCompareRr<S, W>(cpu, op) {
        let from = [vec(cpu, (*op).a).cast_const(), vec(cpu, (*op).b).cast_const()];
        let Some(relation) = relation::<W>(from) else { return leave_to(cpu, soft_compare::<S, W>, from) };
        cpu.set_status_flags(flags(Some(relation)));
        op.add(1)
    }
    /// Likewise of a and [m]
    FpCompareRm<S, W>(cpu, op) {
        let m = hit!(host::<Eye, W, false>(cpu, ea::<5>(cpu, op)));
        let from = [vec(cpu, (*op).a).cast_const(), m.cast_const()];
        let Some(relation) = relation::<W>(from) else { return leave_to(cpu, soft_compare::<S, W>, from) };
        cpu.set_status_flags(flags(Some(relation)));
        op.add(1)
    }
    /// CVTTSD2SI (`W` 3), CVTTSS2SI (2) of a register, to `T` 2: 32 bits, 3: 64 bits
    FpTruncate<W, T>(cpu, op) {
        let b = get_host::<W>(vec(cpu, (*op).b));
        let v = if W == 3 { HostDouble::from_bits(b) } else { HostDouble::from(HostSingle::from_bits(b as u32)) };
        let limit = if T == 3 { 9_223_372_036_854_775_808.0 } else { 2_147_483_648.0 };
        // -2^31 and -2^63, which fit, go the other way too.
        if !quiet(cpu) || v.abs() >= limit || v.is_nan() { return leave(cpu, Leave::General) }
        set(cpu, (*op).a, if T == 3 { v as i64 as u64 } else { u64::from(v as i32 as u32) });
        op.add(1)
    }
    /// CVTSI2SD of a register; exact for 32 bits, and for 64 when it fits in 53
    FpFromInt<W>(cpu, op) {
        let v = reg(cpu, (*op).b);
        let v = if W == 3 { v as i64 } else { i64::from(v as u32 as i32) };
        if W == 3 && v.unsigned_abs() >> 53 != 0 { return leave(cpu, Leave::General) }
        put_host::<3>(vec(cpu, (*op).a), (v as HostDouble).to_bits());
        op.add(1)
    }
}

/// Host address of the memory operand of shape `K`, 2 included.
#[inline(always)]
unsafe fn fused_operand<Eye: Watch, const W: usize, const K: usize>(cpu: &mut Cpu, at: u64) -> Option<*mut u8> {
    // SAFETY: as in `host`.
    unsafe { if K == 2 { host::<Eye, W, false>(cpu, at) } else { whole::<Eye, K, false>(cpu, at) } }
}
