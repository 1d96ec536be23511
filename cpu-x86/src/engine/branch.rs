//! The fast forms of branches, and how control goes from block to block: by links, by the return stack, by the jump cache.
#![expect(unsafe_code, reason = "the hot path of the interpreter")]

use super::body::alu_op::{ADD, AND, CMP, SUB, TEST};
use super::body::*;
use super::hot::{Hot, Leave, RETURNS, Return, jump_index};
use super::op::{Block, Link, Op};
use super::watch::Watch;
use crate::flags::class;
use crate::paging::canonical_in;
use crate::state::{Cpu, cell};

/// Leaves to the general way, which raises #GP, when an indirect branch has no canonical target.
macro_rules! reachable {
    ($cpu:ident, $to:ident) => {
        if !canonical_in($to, false) && !$cpu.canonical($to) {
            return leave($cpu, Leave::General);
        }
    };
}

/// Enters `block` if the countdown allows; the cost of the block is paid here.
#[inline(always)]
unsafe fn enter(hot: &mut Hot, block: *const Block) -> bool {
    // SAFETY: links, jump cache and return stack hold live blocks or UNLINKED.
    let after = hot.countdown.wrapping_add(unsafe { (*block).packed });
    if after >= 0 {
        return false;
    }
    hot.countdown = after;
    true
}

/// Follows a direct link.
#[inline(always)]
unsafe fn follow<const CROSS: usize>(cpu: &mut Cpu, link: *const Link, taken: bool) -> *const Op {
    // SAFETY: the builder put a link there.
    unsafe {
        let l = &*link;
        let holds = CROSS == 0 || u64::from(l.generation) == cpu.hot.generation >> 48;
        if holds && enter(&mut cpu.hot, l.block) {
            if CROSS == 1 {
                let page = cpu.regs[cell::PAGE].wrapping_add((l.pages as i64 as u64) << 12);
                cpu.regs[cell::PAGE] = page;
            }
            return Block::ops(l.block);
        }
    }
    leave(cpu, Leave::Link { taken })
}

/// Follows the first link of a conditional branch if it is taken, else the second. A host branch decides, so that the
/// host predicts it apart from the jump to the next handler; the marker keeps the compiler from joining the two ways.
#[inline(always)]
unsafe fn decide<const CROSS: usize>(cpu: &mut Cpu, op: *const Op, taken: bool) -> *const Op {
    // SAFETY: as in `follow`.
    unsafe {
        if taken {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            core::arch::asm!("/* taken */", options(nomem, nostack, preserves_flags));
            follow::<CROSS>(cpu, links(op, 0), true)
        } else {
            follow::<CROSS>(cpu, links(op, 1), false)
        }
    }
}

/// Goes to linear address `to` through the jump cache.
#[inline(always)]
unsafe fn jump(cpu: &mut Cpu, to: u64) -> *const Op {
    // SAFETY: `jumps` points to the jump cache.
    unsafe {
        let j = &*cpu.hot.jumps.add(jump_index(to));
        if j.key == to ^ cpu.hot.generation && enter(&mut cpu.hot, j.block) {
            cpu.regs[cell::PAGE] = to & !0xfff;
            return Block::ops(j.block);
        }
    }
    cpu.hot.to = to;
    leave(cpu, Leave::Indirect)
}

/// Pushes a call's return address, `distance` from the page, and remembers it with the link behind the call.
#[inline(always)]
unsafe fn push_return<Eye: Watch>(cpu: &mut Cpu, distance: i32, link: *const Link) -> Option<()> {
    // SAFETY: as in `host`.
    unsafe {
        let back = cpu.regs[cell::PAGE].wrapping_add(distance as i64 as u64);
        push::<Eye>(cpu, back)?;
        let top = cpu.hot.return_top.wrapping_add(1) % RETURNS as u32;
        cpu.hot.return_top = top;
        cpu.hot.returns[top as usize] = Return { key: back ^ cpu.hot.generation, link };
        Some(())
    }
}

#[inline(always)]
unsafe fn links(op: *const Op, n: usize) -> *const Link {
    op.wrapping_add(1 + n).cast()
}

body! {
    /// Jcc on the flags as they stand. Two links follow: taken, not taken.
    Jcc<CC, P, CROSS>(cpu, op) {
        let taken = holds::<CC, P>(cpu);
        decide::<CROSS>(cpu, op, taken)
    }
    /// CMP r, r and Jcc
    CmpJccRr<CC, W, CROSS>(cpu, op) {
        let (a, b) = (reg(cpu, (*op).a), reg(cpu, (*op).b));
        operate::<CMP, W, 1>(cpu, a, b);
        let taken = after_sub::<CC, W>(a, b);
        decide::<CROSS>(cpu, op, taken)
    }
    /// CMP r, imm and Jcc
    CmpJccRi<CC, W, CROSS>(cpu, op) {
        let (a, b) = (reg(cpu, (*op).a), (*op).imm as i64 as u64);
        operate::<CMP, W, 1>(cpu, a, b);
        let taken = after_sub::<CC, W>(a, b);
        decide::<CROSS>(cpu, op, taken)
    }
    /// CMP [m], imm8 (`d`) and Jcc
    CmpJccMi<CC, W, CROSS>(cpu, op) {
        let a = hit!(load::<Eye, W>(cpu, ea::<5>(cpu, op)));
        let b = (*op).d as i8 as i64 as u64;
        operate::<CMP, W, 1>(cpu, a, b);
        let taken = after_sub::<CC, W>(a, b);
        decide::<CROSS>(cpu, op, taken)
    }
    /// CMP r, [m] and Jcc
    CmpJccRm<CC, W, CROSS>(cpu, op) {
        let b = hit!(load::<Eye, W>(cpu, ea::<5>(cpu, op)));
        let a = reg(cpu, (*op).a);
        operate::<CMP, W, 1>(cpu, a, b);
        let taken = after_sub::<CC, W>(a, b);
        decide::<CROSS>(cpu, op, taken)
    }
    /// TEST r, r and Jcc
    TestJccRr<CC, W, CROSS>(cpu, op) {
        let (a, b) = (reg(cpu, (*op).a), reg(cpu, (*op).b));
        let r = operate::<TEST, W, 1>(cpu, a, b);
        let taken = after_logic::<CC, W>(r);
        decide::<CROSS>(cpu, op, taken)
    }
    /// TEST r, imm and Jcc
    TestJccRi<CC, W, CROSS>(cpu, op) {
        let a = reg(cpu, (*op).a);
        let r = operate::<TEST, W, 1>(cpu, a, (*op).imm as i64 as u64);
        let taken = after_logic::<CC, W>(r);
        decide::<CROSS>(cpu, op, taken)
    }
    /// TEST [m], imm8 (`d`) and Jcc
    TestJccMi<CC, W, CROSS>(cpu, op) {
        let a = hit!(load::<Eye, W>(cpu, ea::<5>(cpu, op)));
        let r = operate::<TEST, W, 1>(cpu, a, (*op).d as i8 as i64 as u64);
        let taken = after_logic::<CC, W>(r);
        decide::<CROSS>(cpu, op, taken)
    }
    /// SUB r, r and Jcc
    SubJccRr<CC, W, CROSS>(cpu, op) {
        let (a, b) = (reg(cpu, (*op).a), reg(cpu, (*op).b));
        let r = operate::<SUB, W, 1>(cpu, a, b);
        put::<W>(cpu, (*op).a, r);
        let taken = after_sub::<CC, W>(a, b);
        decide::<CROSS>(cpu, op, taken)
    }
    /// SUB r, imm and Jcc
    SubJccRi<CC, W, CROSS>(cpu, op) {
        let (a, b) = (reg(cpu, (*op).a), (*op).imm as i64 as u64);
        let r = operate::<SUB, W, 1>(cpu, a, b);
        put::<W>(cpu, (*op).a, r);
        let taken = after_sub::<CC, W>(a, b);
        decide::<CROSS>(cpu, op, taken)
    }
    /// ADD r, imm and JZ, JNZ, JS, JNS
    AddJccRi<CC, W, CROSS>(cpu, op) {
        let a = reg(cpu, (*op).a);
        let r = operate::<ADD, W, 1>(cpu, a, (*op).imm as i64 as u64);
        put::<W>(cpu, (*op).a, r);
        let taken = after_logic::<CC, W>(r);
        decide::<CROSS>(cpu, op, taken)
    }
    /// AND r, imm and Jcc
    AndJccRi<CC, W, CROSS>(cpu, op) {
        let a = reg(cpu, (*op).a);
        let r = operate::<AND, W, 1>(cpu, a, (*op).imm as i64 as u64);
        put::<W>(cpu, (*op).a, r);
        let taken = after_logic::<CC, W>(r);
        decide::<CROSS>(cpu, op, taken)
    }
    /// DEC r and JZ, JNZ, JS, JNS
    DecJcc<CC, W, CROSS>(cpu, op) {
        let r = width(W).zx(reg(cpu, (*op).a).wrapping_sub(1));
        let c = carry(cpu);
        lazy(cpu, class::DEC, W, r, c);
        put::<W>(cpu, (*op).a, r);
        let taken = after_logic::<CC, W>(r);
        decide::<CROSS>(cpu, op, taken)
    }
    /// JMP, or the end of a block that just goes on: one link follows.
    Goto<CROSS>(cpu, op) {
        follow::<CROSS>(cpu, links(op, 0), true)
    }
    /// CALL rel in 64-bit mode: `imm` is the return address's distance from the page. Links: target, what follows.
    Call<CROSS>(cpu, op) {
        hit!(push_return::<Eye>(cpu, (*op).imm, links(op, 1)));
        follow::<CROSS>(cpu, links(op, 0), true)
    }
    /// RET in 64-bit mode; `imm` more bytes are dropped.
    Ret(cpu, op) {
        let sp = reg(cpu, 4);
        let to = hit!(load::<Eye, 3>(cpu, sp));
        reachable!(cpu, to);
        set(cpu, 4, sp.wrapping_add(8).wrapping_add((*op).imm as u64));
        let top = cpu.hot.return_top;
        let r = cpu.hot.returns[top as usize % RETURNS];
        cpu.hot.return_top = top.wrapping_sub(1) % RETURNS as u32;
        if r.key == to ^ cpu.hot.generation {
            if enter(&mut cpu.hot, (*r.link).block) {
                cpu.regs[cell::PAGE] = to & !0xfff;
                return Block::ops((*r.link).block);
            }
            if (*r.link).pages == 0 {
                cpu.hot.patch = r.link;
                cpu.hot.to = to;
                return leave(cpu, Leave::Indirect);
            }
        }
        jump(cpu, to)
    }
    JmpR(cpu, op) {
        let to = reg(cpu, (*op).a);
        reachable!(cpu, to);
        jump(cpu, to)
    }
    JmpM(cpu, op) {
        let to = hit!(load::<Eye, 3>(cpu, ea::<5>(cpu, op)));
        reachable!(cpu, to);
        jump(cpu, to)
    }
    /// CALL r; the return address's distance from the page is in the next slot, then its link.
    CallR(cpu, op) {
        let to = reg(cpu, (*op).a);
        reachable!(cpu, to);
        hit!(push_return::<Eye>(cpu, (*op.add(1)).imm, links(op, 1)));
        jump(cpu, to)
    }
    CallM(cpu, op) {
        let to = hit!(load::<Eye, 3>(cpu, ea::<5>(cpu, op)));
        reachable!(cpu, to);
        hit!(push_return::<Eye>(cpu, (*op.add(1)).imm, links(op, 1)));
        jump(cpu, to)
    }
}
