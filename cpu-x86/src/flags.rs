//! Lazy status flags: the last flag writer leaves its class, width and two values, and whoever reads evaluates.

use crate::Cpu;
use crate::alu::{self, Width, flag};

/// What `cc_a` and `cc_b` hold; `cc_op` is class * 4 + width.
pub(crate) mod class {
    /// Minuend and subtrahend.
    pub const SUB: u32 = 0;
    /// Sum and second addend.
    pub const ADD: u32 = 1;
    /// As `SUB`, with a borrow of 1.
    pub const SBB: u32 = 2;
    /// As `ADD`, with a carry of 1.
    pub const ADC: u32 = 3;
    /// Result.
    pub const LOGIC: u32 = 4;
    /// Result, and CF as it was.
    pub const INC: u32 = 5;
    /// Result, and CF as it was.
    pub const DEC: u32 = 6;
    /// Result, and CF and OF in place.
    pub const SHIFT: u32 = 7;
    /// The flags themselves.
    pub const EXPLICIT: u32 = 8;
}

const WIDTHS: [Width; 4] = [Width::B, Width::W, Width::D, Width::Q];

impl Cpu {
    /// The six status flags, in place.
    pub fn status_flags(&self) -> u64 {
        let (a, b) = (self.cc_a, self.cc_b);
        let w = WIDTHS[(self.cc_op & 3) as usize];
        match self.cc_op >> 2 {
            class::SUB => alu::sub(w, a, b, 0).1,
            class::LOGIC => alu::logic(w, a).1,
            class::ADD => alu::add(w, w.zx(a.wrapping_sub(b)), w.zx(b), 0).1,
            class::SBB => alu::sub(w, a, b, 1).1,
            class::ADC => alu::add(w, w.zx(a.wrapping_sub(b).wrapping_sub(1)), w.zx(b), 1).1,
            class::INC => (alu::add(w, w.zx(a.wrapping_sub(1)), 1, 0).1 & !flag::CF) | b,
            class::DEC => (alu::sub(w, w.zx(a.wrapping_add(1)), 1, 0).1 & !flag::CF) | b,
            class::SHIFT => alu::szp(w, w.zx(a)) | b,
            _ => a,
        }
    }

    /// Sets the six status flags from `v`; other bits of `v` are ignored.
    #[inline]
    pub fn set_status_flags(&mut self, v: u64) {
        self.cc_op = class::EXPLICIT * 4;
        self.cc_a = v & flag::STATUS;
    }

    /// Sets those status flags of `v` that are in `mask`, keeps the others.
    pub fn change_status_flags(&mut self, mask: u64, v: u64) {
        let keep = self.status_flags() & !mask;
        self.set_status_flags(keep | (v & mask));
    }

    /// Is condition `cc` true (its encoding in Jcc, SETcc, CMOVcc: 0 O … 15 G)? Source: SDM vol. 1, appendix B.
    pub fn condition(&self, cc: u8) -> bool {
        condition(self.status_flags(), cc)
    }
}

/// Is condition `cc` true of these flags?
pub(crate) const fn condition(f: u64, cc: u8) -> bool {
    use flag::*;
    let less = (f & SF != 0) != (f & OF != 0);
    let r = match cc >> 1 {
        0 => f & OF != 0,
        1 => f & CF != 0,
        2 => f & ZF != 0,
        3 => f & (CF | ZF) != 0,
        4 => f & SF != 0,
        5 => f & PF != 0,
        6 => less,
        _ => f & ZF != 0 || less,
    };
    r != (cc & 1 != 0)
}
