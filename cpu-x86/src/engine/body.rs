//! The fast forms, over pre-decoded operands: small instances of the formulas of `alu`, the simplest written out.
//!
//! A body runs one op and returns the next one, or null when a memory operand missed the TLB (then nothing has changed,
//! and the miss is noted for the cold path). Parameters: `W` log2 of the operand's bytes, `FL` whether the flags it
//! writes are live, `AM` the addressing form: 0 base + displacement; 1 to 4 base + (index << AM-1) + displacement; 5
//! base + (index << scale in bits 7:6 of `c`) + displacement.
#![expect(unsafe_code, reason = "the hot path of the interpreter")]

use super::hot::Leave;
use super::op::{Book, Op};
use super::tlb;
use super::watch::Watch;
use crate::alu::{self, Width, flag};
use crate::flags::{class, condition};
use crate::state::Cpu;

/// A fast form.
pub(crate) trait Body {
    /// Runs `op`.
    ///
    /// # Safety
    /// `op` was made by the builder for this body: register numbers are below `cell::COUNT`, the slots it needs follow,
    /// and the block is alive.
    unsafe fn run<Eye: Watch>(cpu: &mut Cpu, op: *const Op) -> *const Op;
}

/// `body! { Name<A, B>(cpu, op) => expression }`: a type with those const parameters that is a [`Body`].
macro_rules! body {
    ($($(#[$doc:meta])* $name:ident $(<$($p:ident),*>)? ($cpu:ident, $op:ident) $code:block)*) => { $(
        $(#[$doc])*
        pub(crate) struct $name$(<$(const $p: usize),*>)?;
        impl$(<$(const $p: usize),*>)? Body for $name$(<$($p),*>)? {
            #[inline(always)]
            unsafe fn run<Eye: Watch>($cpu: &mut Cpu, $op: *const Op) -> *const Op {
                // SAFETY: the contract of Body::run.
                unsafe { $code }
            }
        }
    )* };
}

pub(super) use body;

/// The value, or a return to the cold path.
macro_rules! hit {
    ($e:expr) => {
        match $e {
            Some(v) => v,
            None => return std::ptr::null(),
        }
    };
}

pub(super) use hit;

const WIDTHS: [Width; 4] = [Width::B, Width::W, Width::D, Width::Q];
pub(super) const fn width(w: usize) -> Width {
    WIDTHS[w]
}

#[inline(always)]
pub(super) unsafe fn reg(cpu: &Cpu, r: u8) -> u64 {
    // SAFETY: the builder only makes register numbers below `cell::COUNT`.
    unsafe { *cpu.regs.get_unchecked(r as usize) }
}
#[inline(always)]
pub(super) unsafe fn set(cpu: &mut Cpu, r: u8, v: u64) {
    // SAFETY: as in `reg`.
    unsafe { *cpu.regs.get_unchecked_mut(r as usize) = v }
}
/// Writes a register of width `W`: 32 bits clear the upper half, 8 and 16 keep the rest.
#[inline(always)]
pub(super) unsafe fn put<const W: usize>(cpu: &mut Cpu, r: u8, v: u64) {
    // SAFETY: as in `reg`.
    unsafe {
        match W {
            0 => set(cpu, r, reg(cpu, r) & !0xff | v & 0xff),
            1 => set(cpu, r, reg(cpu, r) & !0xffff | v & 0xffff),
            2 => set(cpu, r, v & 0xffff_ffff),
            _ => set(cpu, r, v),
        }
    }
}
/// The effective address: `b` base, `c` index, `imm` displacement.
#[inline(always)]
pub(super) unsafe fn ea<const AM: usize>(cpu: &Cpu, op: *const Op) -> u64 {
    // SAFETY: as in `reg`.
    unsafe {
        let o = &*op;
        let base = reg(cpu, o.b).wrapping_add(o.imm as i64 as u64);
        match AM {
            0 => base,
            5 => base.wrapping_add(reg(cpu, o.c & 31) << (o.c >> 6)),
            _ => base.wrapping_add(reg(cpu, o.c) << (AM - 1)),
        }
    }
}

/// Host address of `1 << W` bytes at `at`, or `None` and the miss is noted.
#[inline(always)]
pub(crate) unsafe fn host<Eye: Watch, const W: usize, const WRITE: bool>(cpu: &mut Cpu, at: u64) -> Option<*mut u8> {
    // SAFETY: `tlb` points to `tlb::ENTRIES` entries; an entry that hits leads to the whole access.
    unsafe {
        let e = &*cpu.hot.tlb.add(tlb::index(at));
        let tag = if WRITE { e.write } else { e.read };
        if at.wrapping_sub(tag) <= 4096 - (1 << W) {
            if Eye::ON && !cpu.hot.is_recent(at, 1 << W, WRITE) {
                cpu.observe_at(at, e.host_page(), 1 << W, WRITE);
            }
            return Some(at.wrapping_add(e.addend) as *mut u8);
        }
    }
    cpu.hot.miss_at = at;
    cpu.hot.miss_write = WRITE;
    None
}
#[inline(always)]
pub(super) unsafe fn get_host<const W: usize>(p: *const u8) -> u64 {
    // SAFETY: `host` gave the address for this width.
    unsafe {
        match W {
            0 => u64::from(*p),
            1 => u64::from(p.cast::<u16>().read_unaligned()),
            2 => u64::from(p.cast::<u32>().read_unaligned()),
            _ => p.cast::<u64>().read_unaligned(),
        }
    }
}
#[inline(always)]
pub(super) unsafe fn put_host<const W: usize>(p: *mut u8, v: u64) {
    // SAFETY: `host` gave the address for this width.
    unsafe {
        match W {
            0 => *p = v as u8,
            1 => p.cast::<u16>().write_unaligned(v as u16),
            2 => p.cast::<u32>().write_unaligned(v as u32),
            _ => p.cast::<u64>().write_unaligned(v),
        }
    }
}
#[inline(always)]
pub(super) unsafe fn load<Eye: Watch, const W: usize>(cpu: &mut Cpu, at: u64) -> Option<u64> {
    // SAFETY: as in `host`.
    unsafe { host::<Eye, W, false>(cpu, at).map(|p| get_host::<W>(p)) }
}

/// Host addresses of the two quadwords at `at`, which may lie in two pages.
#[inline(always)]
unsafe fn two<Eye: Watch, const WRITE: bool>(cpu: &mut Cpu, at: u64) -> Option<(*mut u8, *mut u8)> {
    // SAFETY: as in `host`.
    unsafe {
        if let Some(low) = host::<Eye, 4, WRITE>(cpu, at) {
            return Some((low, low.add(8)));
        }
        let high = host::<Eye, 3, WRITE>(cpu, at.wrapping_add(8))?;
        Some((host::<Eye, 3, WRITE>(cpu, at)?, high))
    }
}

/// Pushes a quadword.
#[inline(always)]
pub(super) unsafe fn push<Eye: Watch>(cpu: &mut Cpu, v: u64) -> Option<()> {
    // SAFETY: as in `host`; register 4 is rSP.
    unsafe {
        let sp = reg(cpu, 4).wrapping_sub(8);
        let p = host::<Eye, 3, true>(cpu, sp)?;
        put_host::<3>(p, v);
        set(cpu, 4, sp);
        Some(())
    }
}

/// Leaves the value of a later flag evaluation.
#[inline(always)]
pub(super) fn lazy(cpu: &mut Cpu, class: u32, w: usize, a: u64, b: u64) {
    cpu.cc_op = class * 4 + w as u32;
    cpu.cc_a = a;
    cpu.cc_b = b;
}
/// CF, from whatever wrote the flags last: after a sum the result is below an addend, or with a carry not above it.
#[inline(always)]
pub(super) fn carry(cpu: &Cpu) -> u64 {
    match cpu.cc_op >> 2 {
        class::SUB | class::ADD => u64::from(cpu.cc_a < cpu.cc_b),
        class::SBB | class::ADC => u64::from(cpu.cc_a <= cpu.cc_b),
        class::LOGIC => 0,
        class::EXPLICIT => cpu.cc_a & flag::CF,
        _ => cpu.cc_b & flag::CF,
    }
}

/// Numbers of the two-operand operations, in encoding order; TEST added.
pub(crate) mod alu_op {
    pub const ADD: usize = 0;
    pub const OR: usize = 1;
    pub const ADC: usize = 2;
    pub const SBB: usize = 3;
    pub const AND: usize = 4;
    pub const SUB: usize = 5;
    pub const XOR: usize = 6;
    pub const CMP: usize = 7;
    pub const TEST: usize = 8;
}
use alu_op::*;

/// Does operation `O` write its first operand?
const fn writes(o: usize) -> bool {
    o != CMP && o != TEST
}

/// `a O b` with flags left lazily when live.
#[inline(always)]
pub(super) fn operate<const O: usize, const W: usize, const FL: usize>(cpu: &mut Cpu, a: u64, b: u64) -> u64 {
    let w = width(W);
    let (a, b) = (w.zx(a), w.zx(b));
    let live = FL == 1;
    match O {
        ADD => {
            let r = w.zx(a.wrapping_add(b));
            if live {
                lazy(cpu, class::ADD, W, r, b);
            }
            r
        }
        SUB | CMP => {
            if live {
                lazy(cpu, class::SUB, W, a, b);
            }
            w.zx(a.wrapping_sub(b))
        }
        ADC => {
            let c = carry(cpu);
            let r = w.zx(a.wrapping_add(b).wrapping_add(c));
            if live {
                lazy(cpu, class::ADD + 2 * c as u32, W, r, b);
            }
            r
        }
        SBB => {
            let c = carry(cpu);
            if live {
                lazy(cpu, class::SUB + 2 * c as u32, W, a, b);
            }
            w.zx(a.wrapping_sub(b).wrapping_sub(c))
        }
        _ => {
            let r = match O {
                OR => a | b,
                XOR => a ^ b,
                _ => a & b,
            };
            if live {
                cpu.cc_op = class::LOGIC * 4 + W as u32;
                cpu.cc_a = r;
            }
            r
        }
    }
}

/// `a O b` into memory at `at`.
#[inline(always)]
unsafe fn operate_memory<Eye: Watch, const O: usize, const W: usize, const FL: usize>(
    cpu: &mut Cpu,
    at: u64,
    b: u64,
) -> Option<()> {
    // SAFETY: as in `host`.
    unsafe {
        if !writes(O) {
            let a = load::<Eye, W>(cpu, at)?;
            operate::<O, W, FL>(cpu, a, b);
            return Some(());
        }
        let p = host::<Eye, W, true>(cpu, at)?;
        let r = operate::<O, W, FL>(cpu, get_host::<W>(p), b);
        put_host::<W>(p, r);
        Some(())
    }
}

body! {
    /// r = r O r
    AluRr<O, W, FL>(cpu, op) {
        let (a, b) = (reg(cpu, (*op).a), reg(cpu, (*op).b));
        let r = operate::<O, W, FL>(cpu, a, b);
        if writes(O) { put::<W>(cpu, (*op).a, r) }
        op.add(1)
    }
    /// r = r O imm
    AluRi<O, W, FL>(cpu, op) {
        let a = reg(cpu, (*op).a);
        let r = operate::<O, W, FL>(cpu, a, (*op).imm as i64 as u64);
        if writes(O) { put::<W>(cpu, (*op).a, r) }
        op.add(1)
    }
    /// r = r O [m]
    AluRm<O, W, FL, AM>(cpu, op) {
        let b = hit!(load::<Eye, W>(cpu, ea::<AM>(cpu, op)));
        let a = reg(cpu, (*op).a);
        let r = operate::<O, W, FL>(cpu, a, b);
        if writes(O) { put::<W>(cpu, (*op).a, r) }
        op.add(1)
    }
    /// [m] = [m] O r
    AluMr<O, W, FL, AM>(cpu, op) {
        let b = reg(cpu, (*op).a);
        hit!(operate_memory::<Eye, O, W, FL>(cpu, ea::<AM>(cpu, op), b));
        op.add(1)
    }
    /// [m] = [m] O imm8 (in `d`, sign-extended)
    AluMi<O, W, FL, AM>(cpu, op) {
        hit!(operate_memory::<Eye, O, W, FL>(cpu, ea::<AM>(cpu, op), (*op).d as i8 as i64 as u64));
        op.add(1)
    }
    /// [m] = [m] O imm32 (in the next slot)
    AluMi32<O, W, FL, AM>(cpu, op) {
        hit!(operate_memory::<Eye, O, W, FL>(cpu, ea::<AM>(cpu, op), (*op.add(1)).imm as i64 as u64));
        op.add(2)
    }
    MovRr<W>(cpu, op) {
        let v = reg(cpu, (*op).b);
        put::<W>(cpu, (*op).a, v);
        op.add(1)
    }
    MovRi<W>(cpu, op) {
        put::<W>(cpu, (*op).a, (*op).imm as i64 as u64);
        op.add(1)
    }
    MovRi64(cpu, op) {
        set(cpu, (*op).a, (*op.add(1)).h);
        op.add(2)
    }
    /// r = [m]; `X` 0 zero-extends to 64 bits, 1 sign-extends to 32, 2 to 64, 3 keeps the rest of the register
    Load<W, X, AM>(cpu, op) {
        let v = hit!(load::<Eye, W>(cpu, ea::<AM>(cpu, op)));
        extend::<W, X>(cpu, (*op).a, v);
        op.add(1)
    }
    Store<W, AM>(cpu, op) {
        let p = hit!(host::<Eye, W, true>(cpu, ea::<AM>(cpu, op)));
        put_host::<W>(p, reg(cpu, (*op).a));
        op.add(1)
    }
    StoreI<W, AM>(cpu, op) {
        let p = hit!(host::<Eye, W, true>(cpu, ea::<AM>(cpu, op)));
        put_host::<W>(p, (*op).d as i8 as i64 as u64);
        op.add(1)
    }
    StoreI32<W, AM>(cpu, op) {
        let p = hit!(host::<Eye, W, true>(cpu, ea::<AM>(cpu, op)));
        put_host::<W>(p, (*op.add(1)).imm as i64 as u64);
        op.add(2)
    }
    Lea<W, AM>(cpu, op) {
        let v = ea::<AM>(cpu, op);
        put::<W>(cpu, (*op).a, v);
        op.add(1)
    }
    /// r = extended r
    Extend<W, X>(cpu, op) {
        let v = width(W).zx(reg(cpu, (*op).b));
        extend::<W, X>(cpu, (*op).a, v);
        op.add(1)
    }
    /// a = byte 1 of b
    GetHigh(cpu, op) {
        let v = reg(cpu, (*op).b) >> 8 & 0xff;
        set(cpu, (*op).a, v);
        op.add(1)
    }
    /// byte 1 of a = low byte of b
    PutHigh(cpu, op) {
        let v = reg(cpu, (*op).a) & !0xff00 | (reg(cpu, (*op).b) & 0xff) << 8;
        set(cpu, (*op).a, v);
        op.add(1)
    }
    /// Shift or rotate by a constant in `d`, not 0. `O`: the ModRM digit.
    ShiftI<O, W, FL>(cpu, op) {
        let a = width(W).zx(reg(cpu, (*op).a));
        let r = shift::<O, W, FL>(cpu, a, u32::from((*op).d));
        put::<W>(cpu, (*op).a, r);
        op.add(1)
    }
    /// Shift or rotate by CL.
    ShiftC<O, W, FL>(cpu, op) {
        let n = reg(cpu, 1) as u32 & if W == 3 { 63 } else { 31 };
        let a = width(W).zx(reg(cpu, (*op).a));
        let r = if n == 0 { a } else { shift::<O, W, FL>(cpu, a, n) };
        put::<W>(cpu, (*op).a, r);
        op.add(1)
    }
    /// SHLX, SHRX, SARX: a = b shifted by c. `O`: the digit of the plain shift.
    ShiftX<O, W>(cpu, op) {
        let n = reg(cpu, (*op).c) as u32 & if W == 3 { 63 } else { 31 };
        let a = width(W).zx(reg(cpu, (*op).b));
        let r = if n == 0 { a } else { shift::<O, W, 0>(cpu, a, n) };
        put::<W>(cpu, (*op).a, r);
        op.add(1)
    }
    /// RORX: a = b rotated right by d.
    Rorx<W>(cpu, op) {
        let (b, n) = (reg(cpu, (*op).b), u32::from((*op).d));
        let r = if W == 3 { b.rotate_right(n) } else { u64::from((b as u32).rotate_right(n)) };
        set(cpu, (*op).a, r);
        op.add(1)
    }
    /// a = ~b & c
    Andn<W, FL>(cpu, op) {
        let v = !reg(cpu, (*op).b) & reg(cpu, (*op).c);
        let r = width(W).zx(v);
        if FL == 1 { lazy(cpu, class::LOGIC, W, r, 0) }
        set(cpu, (*op).a, r);
        op.add(1)
    }
    /// SHLD/SHRD r, r, imm (`d`, not 0; flags dead). `O`: 0 left, 1 right
    Double<O, W>(cpu, op) {
        let w = width(W);
        let (a, b, n) = (w.zx(reg(cpu, (*op).a)), w.zx(reg(cpu, (*op).b)), u32::from((*op).d));
        let r = if O == 0 { a << n | b >> (w.bits() - n) } else { a >> n | b << (w.bits() - n) };
        put::<W>(cpu, (*op).a, r);
        op.add(1)
    }
    Inc<W, FL>(cpu, op) {
        let r = width(W).zx(reg(cpu, (*op).a).wrapping_add(1));
        if FL == 1 { let c = carry(cpu); lazy(cpu, class::INC, W, r, c) }
        put::<W>(cpu, (*op).a, r);
        op.add(1)
    }
    Dec<W, FL>(cpu, op) {
        let r = width(W).zx(reg(cpu, (*op).a).wrapping_sub(1));
        if FL == 1 { let c = carry(cpu); lazy(cpu, class::DEC, W, r, c) }
        put::<W>(cpu, (*op).a, r);
        op.add(1)
    }
    /// INC (`O` 0) and DEC (1) of memory
    StepM<O, W, FL, AM>(cpu, op) {
        let p = hit!(host::<Eye, W, true>(cpu, ea::<AM>(cpu, op)));
        let a = get_host::<W>(p);
        let r = width(W).zx(if O == 0 { a.wrapping_add(1) } else { a.wrapping_sub(1) });
        if FL == 1 { let c = carry(cpu); lazy(cpu, if O == 0 { class::INC } else { class::DEC }, W, r, c) }
        put_host::<W>(p, r);
        op.add(1)
    }
    Neg<W, FL>(cpu, op) {
        let a = reg(cpu, (*op).a);
        let r = operate::<SUB, W, FL>(cpu, 0, a);
        put::<W>(cpu, (*op).a, r);
        op.add(1)
    }
    Not<W>(cpu, op) {
        let v = !reg(cpu, (*op).a);
        put::<W>(cpu, (*op).a, v);
        op.add(1)
    }
    /// a = a * b
    ImulRr<W, FL>(cpu, op) {
        let (a, b) = (reg(cpu, (*op).a), reg(cpu, (*op).b));
        let r = multiply::<W, FL>(cpu, a, b);
        put::<W>(cpu, (*op).a, r);
        op.add(1)
    }
    /// a = b * imm
    ImulRri<W, FL>(cpu, op) {
        let b = reg(cpu, (*op).b);
        let r = multiply::<W, FL>(cpu, b, (*op).imm as i64 as u64);
        put::<W>(cpu, (*op).a, r);
        op.add(1)
    }
    /// a = a * [m]
    ImulRm<W, FL>(cpu, op) {
        let b = hit!(load::<Eye, W>(cpu, ea::<5>(cpu, op)));
        let a = reg(cpu, (*op).a);
        let r = multiply::<W, FL>(cpu, a, b);
        put::<W>(cpu, (*op).a, r);
        op.add(1)
    }
    /// rDX:rAX = rAX * a, unsigned
    MulR<W, FL>(cpu, op) {
        let b = reg(cpu, (*op).a);
        widening::<W, FL>(cpu, b);
        op.add(1)
    }
    /// rDX:rAX = rAX * [m], unsigned
    MulM<W, FL>(cpu, op) {
        let b = hit!(load::<Eye, W>(cpu, ea::<5>(cpu, op)));
        widening::<W, FL>(cpu, b);
        op.add(1)
    }
    /// c:b... MULX: a (high), b (low) = rDX * c
    Mulx<W>(cpu, op) {
        let w = width(W);
        let p = u128::from(w.zx(reg(cpu, 2))) * u128::from(w.zx(reg(cpu, (*op).c)));
        put::<W>(cpu, (*op).b, p as u64);
        put::<W>(cpu, (*op).a, (p >> w.bits()) as u64);
        op.add(1)
    }
    Bswap<W>(cpu, op) {
        let v = reg(cpu, (*op).a);
        let r = if W == 3 { v.swap_bytes() } else { u64::from((v as u32).swap_bytes()) };
        set(cpu, (*op).a, r);
        op.add(1)
    }
    /// CDQE, CWDE, CBW: rAX = sign-extended lower half. `W` of the result
    Widen<W>(cpu, op) {
        let v = width(W - 1).sx(reg(cpu, 0));
        put::<W>(cpu, 0, v);
        op.add(1)
    }
    /// CQO, CDQ, CWD: rDX = sign of rAX
    Sign<W>(cpu, op) {
        let v = if width(W).sign(reg(cpu, 0)) == 1 { u64::MAX } else { 0 };
        put::<W>(cpu, 2, v);
        op.add(1)
    }
    /// BT r, imm (`d`) or r (`b`, when `d` is FFh): CF only
    BitTest<W>(cpu, op) {
        let n = if (*op).d == 0xff { reg(cpu, (*op).b) } else { u64::from((*op).d) };
        let bit = reg(cpu, (*op).a) >> (n & (u64::from(width(W).bits()) - 1)) & 1;
        let keep = cpu.status_flags() & !flag::CF;
        cpu.set_status_flags(keep | bit);
        op.add(1)
    }
    /// SETcc r8. `P`: see `holds`
    Set<CC, P>(cpu, op) {
        let v = u64::from(holds::<CC, P>(cpu));
        put::<0>(cpu, (*op).a, v);
        op.add(1)
    }
    SetM<CC>(cpu, op) {
        let p = hit!(host::<Eye, 0, true>(cpu, ea::<5>(cpu, op)));
        *p = u8::from(condition(cpu.status_flags(), CC as u8));
        op.add(1)
    }
    Cmov<CC, P, W>(cpu, op) {
        let (a, b) = (reg(cpu, (*op).a), reg(cpu, (*op).b));
        let v = if holds::<CC, P>(cpu) { b } else { a };
        put::<W>(cpu, (*op).a, v);
        op.add(1)
    }
    CmovM<CC, W>(cpu, op) {
        let b = hit!(load::<Eye, W>(cpu, ea::<5>(cpu, op)));
        let v = if condition(cpu.status_flags(), CC as u8) { b } else { reg(cpu, (*op).a) };
        put::<W>(cpu, (*op).a, v);
        op.add(1)
    }
    Push(cpu, op) {
        let v = reg(cpu, (*op).a);
        hit!(push::<Eye>(cpu, v));
        op.add(1)
    }
    PushI(cpu, op) {
        let v = (*op).imm as i64 as u64;
        hit!(push::<Eye>(cpu, v));
        op.add(1)
    }
    Push2(cpu, op) {
        let sp = reg(cpu, 4).wrapping_sub(16);
        let (high, low) = match two::<Eye, true>(cpu, sp) {
            Some((low, high)) => (high, low),
            None => return leave(cpu, Leave::Pair),
        };
        put_host::<3>(high, reg(cpu, (*op).a));
        put_host::<3>(low, reg(cpu, (*op).b));
        set(cpu, 4, sp);
        op.add(1)
    }
    PushM(cpu, op) {
        let v = hit!(load::<Eye, 3>(cpu, ea::<5>(cpu, op)));
        hit!(push::<Eye>(cpu, v));
        op.add(1)
    }
    Pop(cpu, op) {
        let sp = reg(cpu, 4);
        let v = hit!(load::<Eye, 3>(cpu, sp));
        set(cpu, 4, sp.wrapping_add(8));
        set(cpu, (*op).a, v);
        op.add(1)
    }
    Pop2(cpu, op) {
        let sp = reg(cpu, 4);
        let (low, high) = match two::<Eye, false>(cpu, sp) {
            Some(both) => both,
            None => return leave(cpu, Leave::Pair),
        };
        set(cpu, 4, sp.wrapping_add(16));
        set(cpu, (*op).a, get_host::<3>(low));
        set(cpu, (*op).b, get_host::<3>(high));
        op.add(1)
    }
    Leave64(cpu, op) {
        let bp = reg(cpu, 5);
        let v = hit!(load::<Eye, 3>(cpu, bp));
        set(cpu, 4, bp.wrapping_add(8));
        set(cpu, 5, v);
        op.add(1)
    }
    XchgRr<W>(cpu, op) {
        let (a, b) = (reg(cpu, (*op).a), reg(cpu, (*op).b));
        put::<W>(cpu, (*op).a, b);
        put::<W>(cpu, (*op).b, a);
        op.add(1)
    }
    XchgM<W>(cpu, op) {
        let p = hit!(host::<Eye, W, true>(cpu, ea::<5>(cpu, op)));
        let old = get_host::<W>(p);
        put_host::<W>(p, reg(cpu, (*op).a));
        put::<W>(cpu, (*op).a, old);
        op.add(1)
    }
    /// CMPXCHG [m], r with rAX; flags always written
    CmpxchgM<W>(cpu, op) {
        let p = hit!(host::<Eye, W, true>(cpu, ea::<5>(cpu, op)));
        let (old, acc) = (get_host::<W>(p), width(W).zx(reg(cpu, 0)));
        lazy(cpu, class::SUB, W, acc, old);
        if old == acc { put_host::<W>(p, reg(cpu, (*op).a)) } else { put::<W>(cpu, 0, old) }
        op.add(1)
    }
    /// XADD [m], r
    XaddM<W, FL>(cpu, op) {
        let p = hit!(host::<Eye, W, true>(cpu, ea::<5>(cpu, op)));
        let (old, b) = (get_host::<W>(p), reg(cpu, (*op).a));
        let r = operate::<ADD, W, FL>(cpu, old, b);
        put_host::<W>(p, r);
        put::<W>(cpu, (*op).a, old);
        op.add(1)
    }
}

#[inline(always)]
unsafe fn extend<const W: usize, const X: usize>(cpu: &mut Cpu, r: u8, v: u64) {
    // SAFETY: as in `reg`.
    unsafe {
        match X {
            0 => set(cpu, r, v),
            1 => set(cpu, r, width(W).sx(v) & 0xffff_ffff),
            2 => set(cpu, r, width(W).sx(v)),
            _ => put::<W>(cpu, r, v),
        }
    }
}

/// ROL 0, ROR 1, SHL 4, SHR 5, SAR 7 of `a` by `n`, 1 to 63.
#[inline(always)]
fn shift<const O: usize, const W: usize, const FL: usize>(cpu: &mut Cpu, a: u64, n: u32) -> u64 {
    let w = width(W);
    let (r, f) = match O {
        0 => alu::rol(w, a, n),
        1 => alu::ror(w, a, n),
        5 => alu::shr(w, a, n),
        7 => alu::sar(w, a, n),
        _ => alu::shl(w, a, n),
    };
    if FL == 1 {
        if O < 2 {
            cpu.change_status_flags(flag::CF | flag::OF, f);
        } else {
            lazy(cpu, class::SHIFT, W, r, f & (flag::CF | flag::OF));
        }
    }
    r
}

/// `a * b`, signed, low half.
#[inline(always)]
fn multiply<const W: usize, const FL: usize>(cpu: &mut Cpu, a: u64, b: u64) -> u64 {
    let w = width(W);
    if FL == 1 {
        let (r, _, f) = alu::imul(w, w.zx(a), w.zx(b));
        cpu.set_status_flags(f);
        r
    } else {
        w.zx(a.wrapping_mul(b))
    }
}

/// rDX:rAX = rAX * b, unsigned.
#[inline(always)]
unsafe fn widening<const W: usize, const FL: usize>(cpu: &mut Cpu, b: u64) {
    let w = width(W);
    // SAFETY: registers 0 and 2 exist.
    unsafe {
        let (low, high, f) = alu::mul(w, w.zx(reg(cpu, 0)), w.zx(b));
        put::<W>(cpu, 0, low);
        put::<W>(cpu, 2, high);
        if FL == 1 {
            cpu.set_status_flags(f);
        }
    }
}

/// Condition `CC` after a known flag writer: `P` 0 to 3 a subtraction of that width, 4 to 7 a logical operation, 8
/// anything.
#[inline(always)]
pub(super) fn holds<const CC: usize, const P: usize>(cpu: &Cpu) -> bool {
    match P {
        0 => after_sub::<CC, 0>(cpu.cc_a, cpu.cc_b),
        1 => after_sub::<CC, 1>(cpu.cc_a, cpu.cc_b),
        2 => after_sub::<CC, 2>(cpu.cc_a, cpu.cc_b),
        3 => after_sub::<CC, 3>(cpu.cc_a, cpu.cc_b),
        4 => after_logic::<CC, 0>(cpu.cc_a),
        5 => after_logic::<CC, 1>(cpu.cc_a),
        6 => after_logic::<CC, 2>(cpu.cc_a),
        7 => after_logic::<CC, 3>(cpu.cc_a),
        _ => condition_slow(cpu, CC as u8),
    }
}
#[inline(never)]
fn condition_slow(cpu: &Cpu, cc: u8) -> bool {
    condition(cpu.status_flags(), cc)
}
/// Condition `CC` of `a - b`.
#[inline(always)]
pub(super) fn after_sub<const CC: usize, const W: usize>(a: u64, b: u64) -> bool {
    let w = width(W);
    let (a, b) = (w.zx(a), w.zx(b));
    let (sa, sb) = (w.sx(a) as i64, w.sx(b) as i64);
    let r = match CC >> 1 {
        1 => a < b,
        2 => a == b,
        3 => a <= b,
        4 => w.sign(a.wrapping_sub(b)) == 1,
        6 => sa < sb,
        7 => sa <= sb,
        _ => condition(alu::sub(w, a, b, 0).1, CC as u8 & !1),
    };
    r != (CC & 1 == 1)
}
/// Condition `CC` of the flags of logical result `r`.
#[inline(always)]
pub(super) fn after_logic<const CC: usize, const W: usize>(r: u64) -> bool {
    let w = width(W);
    let r = w.zx(r);
    let v = match CC >> 1 {
        0 | 1 => false,
        2 | 3 => r == 0,
        4 | 6 => w.sign(r) == 1,
        5 => (r as u8).count_ones() & 1 == 0,
        _ => (w.sx(r) as i64) <= 0,
    };
    v != (CC & 1 == 1)
}

/// Leaves the handlers: says why, and takes the cold path.
#[inline(always)]
pub(super) fn leave(cpu: &mut Cpu, why: Leave) -> *const Op {
    cpu.hot.leave = why;
    std::ptr::null()
}

/// Leaves for `book`, with these operands. Out of the handlers' way: a call among their lines would cost each of them the
/// saving of registers.
#[inline(always)]
pub(super) fn leave_to(cpu: &mut Cpu, book: Book, from: [*const u8; 2]) -> *const Op {
    (cpu.hot.book, cpu.hot.from) = (book, from);
    leave(cpu, Leave::Book)
}
