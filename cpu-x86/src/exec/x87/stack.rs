//! The register stack and its tags. Source: SDM vol. 1, 8.1.2 and 8.1.7.
//!
//! Between instructions the tag word tells only empty (11) from not empty (00, 01 or 10); FNSTENV and FNSAVE look at
//! the registers for the rest, as the processor does.

use crate::state::Fpu;
use iced_x86::{Instruction, OpKind};
use softfp::F80;
use softfp::f80::{Class, class};

impl Fpu {
    /// TOP.
    pub(super) fn top(&self) -> usize {
        usize::from(self.sw >> 11 & 7)
    }
    /// Sets TOP to `to` mod 8.
    pub(super) fn set_top(&mut self, to: usize) {
        self.sw = self.sw & !(7 << 11) | (to as u16 & 7) << 11;
    }
    fn physical(&self, n: usize) -> usize {
        (self.top() + n) & 7
    }
    /// Is ST(`n`) empty?
    pub(super) fn is_empty(&self, n: usize) -> bool {
        self.tag >> (2 * self.physical(n)) & 3 == 3
    }
    /// Would a push overflow?
    pub(super) fn is_full(&self) -> bool {
        !self.is_empty(7)
    }
    /// ST(`n`).
    pub(super) fn st(&self, n: usize) -> F80 {
        self.r[self.physical(n)]
    }
    /// Sets ST(`n`), which becomes valid.
    pub(super) fn set_st(&mut self, n: usize, v: F80) {
        let p = self.physical(n);
        self.r[p] = v;
        self.tag &= !(3 << (2 * p));
    }
    /// Marks ST(`n`) empty.
    pub(super) fn free(&mut self, n: usize) {
        self.tag |= 3 << (2 * self.physical(n));
    }
    pub(super) fn push(&mut self, v: F80) {
        self.set_top(self.top() + 7);
        self.set_st(0, v);
    }
    pub(super) fn pop(&mut self) {
        self.free(0);
        self.set_top(self.top() + 1);
    }

    /// The tag word as FNSTENV stores it: 00 valid, 01 zero, 10 special, 11 empty.
    pub fn full_tag(&self) -> u16 {
        (0..8).fold(0, |tags, n| {
            let tag = match class(self.r[n]) {
                _ if self.tag >> (2 * n) & 3 == 3 => 3,
                Class::Normal => 0,
                Class::Zero => 1,
                _ => 2,
            };
            tags | tag << (2 * n)
        })
    }
    /// The tag byte of FXSAVE and XSAVE: one bit a physical register, set when it is not empty.
    pub fn abridged_tag(&self) -> u8 {
        (0..8).fold(0, |tags, n| tags | u8::from(self.tag >> (2 * n) & 3 != 3) << n)
    }
    /// Sets the tag word from the tag byte of FXRSTOR and XRSTOR; the registers are already in place.
    pub fn set_abridged_tag(&mut self, tags: u8) {
        self.tag = (0..8).fold(0, |full, n| full | if tags >> n & 1 != 0 { 0 } else { 3 << (2 * n) });
        self.tag = self.full_tag();
    }
}

/// Stack index of register operand `n`.
pub(super) fn index(i: &Instruction, n: u32) -> usize {
    match i.op_kind(n) {
        OpKind::Register => i.op_register(n).number() & 7,
        _ => 0,
    }
}
