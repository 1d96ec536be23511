//! Fast forms of vector instructions: moves, and operations lane by lane.
//!
//! Translated only in a mode in which the instructions of the encoding run (CR0, CR4, XCR0; part of the block's key).
//! Parameter `K` is the shape of the operands: 3 an XMM register whose
//! bits above 127 stay (legacy encodings); 4, 5 and 6 log2 of the bytes, above which the register is cleared.
#![expect(unsafe_code, reason = "the hot path of the interpreter")]

use super::body::{Body, body, ea, get_host, hit, host, leave, leave_to, put_host, reg, set};
use super::hot::Leave;
use super::lanes::lanes;
use super::op::{Book, Op};
use super::watch::{Unwatched, Watch};
use crate::state::Cpu;

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

/// Memory of shape `K` was not found: when that is because it lies in two pages, leaves for `book`. (What a monitor is
/// told of it is the general path's business.)
#[inline(always)]
fn missed_or_across<Eye: Watch, const K: usize>(cpu: &mut Cpu, book: Book) -> *const Op {
    let across = cpu.hot.miss_at & 0xfff > 4096 - 16 * pieces(K) as u64;
    if Eye::ON || !across { std::ptr::null() } else { leave_to(cpu, book, [std::ptr::null(); 2]) }
}

/// Host addresses of the two parts of memory that begins where the last miss was and goes on in the next page, and how
/// many bytes the first has; `None` unless both are in the TLB.
unsafe fn both_pages<const WRITE: bool>(cpu: &mut Cpu) -> Option<(*mut u8, *mut u8, usize)> {
    let at = cpu.hot.miss_at;
    let bytes = 4096 - (at & 0xfff);
    let next = at.wrapping_add(bytes);
    // Outside 64-bit mode addresses wrap.
    if next >> 32 != at >> 32 {
        return None;
    }
    // SAFETY: as in `host`.
    unsafe {
        let low = host::<Unwatched, 0, WRITE>(cpu, at)?;
        Some((low, host::<Unwatched, 0, WRITE>(cpu, next)?, bytes as usize))
    }
}

/// [`VLoad`] of memory in two pages.
unsafe fn load_across<const K: usize>(cpu: &mut Cpu, op: *const Op) -> *const Op {
    // SAFETY: both parts are within their pages, a register has 64 bytes.
    unsafe {
        let Some((low, high, bytes)) = both_pages::<false>(cpu) else { return std::ptr::null() };
        let to = vec(cpu, (*op).a);
        core::ptr::copy_nonoverlapping(low, to, bytes);
        core::ptr::copy_nonoverlapping(high, to.add(bytes), 16 * pieces(K) - bytes);
        clear::<K>(to);
        op.add(1)
    }
}

/// [`VStore`] to memory in two pages.
unsafe fn store_across<const K: usize>(cpu: &mut Cpu, op: *const Op) -> *const Op {
    // SAFETY: as above.
    unsafe {
        let Some((low, high, bytes)) = both_pages::<true>(cpu) else { return std::ptr::null() };
        let from = vec(cpu, (*op).a);
        core::ptr::copy_nonoverlapping(from, low, bytes);
        core::ptr::copy_nonoverlapping(from.add(bytes), high, 16 * pieces(K) - bytes);
        op.add(1)
    }
}

/// Is memory at `at` too little aligned for shape `K`, where the instruction wants it aligned?
#[inline(always)]
pub(super) const fn misaligned(k: usize, at: u64) -> bool {
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
        let Some(p) = whole::<Eye, K, false>(cpu, at) else { return missed_or_across::<Eye, K>(cpu, load_across::<K>) };
        let to = vec(cpu, (*op).a);
        copy::<K>(to, p);
        clear::<K>(to);
        op.add(1)
    }
    /// [m] = register
    VStore<AL, K, AM>(cpu, op) {
        let at = ea::<AM>(cpu, op);
        if AL == 1 && misaligned(K, at) { return leave(cpu, Leave::General) }
        let Some(p) = whole::<Eye, K, true>(cpu, at) else { return missed_or_across::<Eye, K>(cpu, store_across::<K>) };
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
    /// UNPCKLPD, PUNPCKLQDQ (`H` 0), UNPCKHPD, PUNPCKHQDQ (1)
    VUnpack64<H>(cpu, op) {
        let (b, a) = (vec(cpu, (*op).b), vec(cpu, (*op).a));
        let (x, y) = (get_host::<3>(a.add(8 * H)), get_host::<3>(b.add(8 * H)));
        put_host::<3>(a, x);
        put_host::<3>(a.add(8), y);
        op.add(1)
    }
}
