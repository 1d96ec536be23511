//! Decimal adjustment of AL and AX. Source: SDM vol. 2A, AAA to AAS, DAA, DAS.
//!
//! OF, and what else the SDM leaves undefined, is as after a logical operation on AL (as Bochs has it,
//! cpu/bcd.cc, from hardware).

use super::flag::{AF, CF};
use super::{Width, logic};

/// SF, ZF and PF of AL, and what a caller adds.
const fn flags(al: u64, more: u64) -> u64 {
    logic(Width::B, al).1 | more
}

/// DAA: AL and all six flags, from AL and the flags before.
pub const fn daa(al: u64, f: u64) -> (u64, u64) {
    let (mut r, mut more) = (al, 0);
    if al & 15 > 9 || f & AF != 0 {
        r += 6;
        more |= AF;
    }
    if al > 0x99 || f & CF != 0 {
        r += 0x60;
        more |= CF;
    }
    (r & 0xff, flags(r & 0xff, more))
}

/// DAS: AL and all six flags, from AL and the flags before.
pub const fn das(al: u64, f: u64) -> (u64, u64) {
    let (mut r, mut more) = (al, 0);
    if al & 15 > 9 || f & AF != 0 {
        more |= AF | if al < 6 { CF } else { 0 };
        r = r.wrapping_sub(6);
    }
    if al > 0x99 || f & CF != 0 {
        r = r.wrapping_sub(0x60);
        more |= CF;
    }
    (r & 0xff, flags(r & 0xff, more))
}

/// AAA: AX and all six flags, from AX and the flags before.
pub const fn aaa(ax: u64, f: u64) -> (u64, u64) {
    let adjust = ax & 15 > 9 || f & AF != 0;
    let r = if adjust { ax + 0x106 } else { ax } & 0xff0f;
    (r, flags(r & 0xff, if adjust { AF | CF } else { 0 }))
}

/// AAS: AX and all six flags, from AX and the flags before.
pub const fn aas(ax: u64, f: u64) -> (u64, u64) {
    let adjust = ax & 15 > 9 || f & AF != 0;
    let r = if adjust { ax.wrapping_sub(0x106) } else { ax } & 0xff0f;
    (r, flags(r & 0xff, if adjust { AF | CF } else { 0 }))
}

/// AAM: AX and all six flags, from AL and the base; `None` is #DE.
pub const fn aam(al: u64, base: u64) -> Option<(u64, u64)> {
    if base == 0 {
        return None;
    }
    let r = al % base;
    Some(((al / base) << 8 | r, flags(r, 0)))
}

/// AAD: AX and all six flags, from AX and the base.
pub const fn aad(ax: u64, base: u64) -> (u64, u64) {
    let r = ((ax & 0xff) + (ax >> 8 & 0xff) * base) & 0xff;
    (r, flags(r, 0))
}

#[cfg(test)]
mod tests {
    use super::super::{add, sub};
    use super::*;

    /// The SDM's table of examples, and all sums and differences of two-digit decimals.
    #[test]
    fn daa_and_das_adjust_every_sum_and_difference_of_decimals() {
        let bcd = |v: u64| v / 10 * 16 + v % 10;
        for a in 0..100 {
            for b in 0..100 {
                let (al, f) = add(Width::B, bcd(a), bcd(b), 0);
                let (r, f) = daa(al, f);
                assert_eq!((r, f & CF != 0), (bcd((a + b) % 100), a + b > 99));
                let (al, f) = sub(Width::B, bcd(a), bcd(b), 0);
                let (r, f) = das(al, f);
                assert_eq!((r, f & CF != 0), (bcd((a + 100 - b) % 100), a < b));
            }
        }
        assert_eq!(daa(0xae, 0x84).0, 0x14);
        assert_eq!(das(0xee, CF | AF).0, 0x88);
    }

    #[test]
    fn ascii_adjustments_carry_into_ah() {
        assert_eq!(aaa(0x000b, 0), (0x0101, flags(1, AF | CF)));
        assert_eq!(aaa(0x0005, AF), (0x010b, flags(0x0b, AF | CF)));
        assert_eq!(aas(0x02ff, 0), (0x0109, flags(9, AF | CF)));
        assert_eq!(aas(0x0205, 0), (0x0205, flags(5, 0)));
        assert_eq!(aam(63, 10), Some((0x0603, flags(3, 0))));
        assert_eq!(aam(63, 0), None);
        assert_eq!(aad(0x0603, 10), (63, flags(63, 0)));
    }
}
