//! The approximations VRCP14 and VRSQRT14 make: straight lines over 64 intervals of the significand.
//!
//! The numbers of each line are the only ones that give all 1024 results of its interval on the development machine's
//! Zen 4; those of VRCP14 are the ones in Intel's reference implementation (RECIP14.c), and the same machine's results
//! agree with it: both makers have the same tables. Source: SDM vol. 2, VRCP14PS, VRSQRT14PS.

/// Where a format has its fields.
#[derive(Clone, Copy)]
pub struct Format {
    /// Bits of the fraction.
    fraction: u32,
    /// Exponent bias.
    bias: i32,
}

/// Single precision.
pub const SINGLE: Format = Format { fraction: 23, bias: 127 };
/// Double precision.
pub const DOUBLE: Format = Format { fraction: 52, bias: 1023 };

/// Slope, and value in the middle, of 1 / x over each 64th of 1 to 2.
#[rustfmt::skip] // A table.
const RECIPROCAL: [(u32, u32); 64] = [
    (1009, 260119), (977, 256148), (949, 252296), (921, 248558), (893, 244929), (869, 241405), (843, 237981), (821, 234652),
    (797, 231416), (777, 228266), (755, 225202), (735, 222220), (717, 219314), (699, 216485), (681, 213727), (663, 211038),
    (647, 208417), (631, 205859), (617, 203364), (601, 200929), (587, 198551), (573, 196229), (561, 193960), (547, 191743),
    (535, 189576), (523, 187458), (513, 185387), (501, 183360), (491, 181377), (479, 179439), (469, 177540), (459, 175681),
    (451, 173860), (441, 172077), (433, 170330), (423, 168618), (415, 166940), (407, 165295), (399, 163682), (391, 162101),
    (385, 160550), (377, 159027), (369, 157535), (363, 156069), (357, 154631), (349, 153219), (343, 151832), (337, 150470),
    (331, 149133), (325, 147819), (319, 146528), (315, 145260), (309, 144012), (303, 142787), (299, 141582), (293, 140397),
    (289, 139232), (285, 138085), (279, 136959), (275, 135853), (271, 134763), (267, 133689), (263, 132631), (259, 131589),
];

/// Likewise of 1 / sqrt(x), over each 32nd of 1 to 2.
#[rustfmt::skip] // A table.
const ROOT_EVEN: [(u32, u32); 32] = [
    (1001, 520261), (955, 512437), (915, 504953), (877, 497790), (841, 490922), (807, 484331), (775, 478001), (747, 471909),
    (719, 466046), (693, 460397), (669, 454947), (647, 449688), (625, 444606), (603, 439694), (585, 434939), (567, 430335),
    (549, 425875), (533, 421551), (517, 417355), (501, 413284), (487, 409329), (473, 405487), (461, 401748), (449, 398111),
    (437, 394571), (425, 391127), (415, 387770), (403, 384498), (393, 381307), (385, 378194), (375, 375155), (367, 372190),
];

/// Likewise, over each 32nd of 2 to 4.
#[rustfmt::skip] // A table.
const ROOT_ODD: [(u32, u32); 32] = [
    (707, 367881), (675, 362349), (647, 357056), (619, 351992), (595, 347136), (571, 342475), (549, 337997), (527, 333693),
    (509, 329545), (491, 325551), (473, 321697), (457, 317977), (441, 314385), (427, 310910), (413, 307549), (401, 304295),
    (389, 301139), (377, 298079), (365, 295115), (355, 292237), (345, 289439), (335, 286722), (325, 284080), (317, 281508),
    (309, 279006), (301, 276569), (293, 274195), (285, 271882), (279, 269625), (271, 267425), (265, 265276), (259, 263178),
];

/// Bits 15:0 below the leading one of the line at the leading bits of `fraction`: those above bit 10 pick the interval.
fn line(table: &[(u32, u32)], leading: u64, scale: i64) -> u64 {
    let (slope, middle) = table[(leading >> 10) as usize & (table.len() - 1)];
    let from_middle = (leading & 0x3ff) as i64 - 512;
    ((i64::from(middle) * scale - i64::from(slope) * from_middle) >> 9).cast_unsigned() & 0xffff
}

impl Format {
    /// The exponent field of infinities and NaNs.
    const fn top(self) -> i32 {
        2 * self.bias + 1
    }
    const fn sign(self, x: u64) -> u64 {
        x & (self.infinity() + (1 << self.fraction))
    }
    const fn infinity(self) -> u64 {
        (self.top() as u64) << self.fraction
    }
    const fn quiet(self) -> u64 {
        1 << (self.fraction - 1)
    }
    /// Is it a zero, or counts as one?
    const fn is_zero(self, x: u64, daz: bool) -> bool {
        let fraction = x & ((1 << self.fraction) - 1);
        x & self.infinity() == 0 && (daz || fraction == 0)
    }
    /// Exponent field (below 1 for a denormal) and fraction.
    const fn split(self, x: u64) -> (i32, u64) {
        let (field, mask) = ((x >> self.fraction) as i32 & self.top(), (1 << self.fraction) - 1);
        if field != 0 || x & mask == 0 {
            return (field, x & mask);
        }
        let up = (x & mask).leading_zeros() as i32 - (63 - self.fraction as i32);
        (1 - up, (x & mask) << up & mask)
    }
}

/// 1 / `x`; raises nothing.
pub fn rcp14(f: Format, x: u64, daz: bool, ftz: bool) -> u64 {
    let (exponent, fraction) = f.split(x);
    let sign = f.sign(x);
    if exponent == f.top() {
        return if fraction == 0 { sign } else { x | f.quiet() };
    }
    if f.is_zero(x, daz) {
        return sign | f.infinity();
    }
    let (field, result) = match fraction {
        0 => (2 * f.bias - exponent, 0),
        _ => (2 * f.bias - 1 - exponent, line(&RECIPROCAL, fraction >> (f.fraction - 16), 256) << (f.fraction - 16)),
    };
    if field >= f.top() {
        sign | f.infinity()
    } else if field > 0 {
        sign | (field as u64) << f.fraction | result
    } else if ftz {
        sign
    } else {
        sign | (1 << f.fraction | result) >> (1 - field)
    }
}

/// 1 / sqrt(`x`); raises nothing.
pub fn rsqrt14(f: Format, x: u64, daz: bool) -> u64 {
    let (exponent, fraction) = f.split(x);
    let sign = f.sign(x);
    if exponent == f.top() && fraction != 0 {
        return x | f.quiet();
    }
    if f.is_zero(x, daz) {
        return sign | f.infinity();
    }
    if sign != 0 {
        return sign | f.infinity() | f.quiet();
    }
    if exponent == f.top() {
        return 0;
    }
    let (power, leading) = (exponent - f.bias, fraction >> (f.fraction - 15));
    let (field, result) = match (power & 1, fraction) {
        (0, 0) => (f.bias - (power >> 1), 0),
        (0, _) => (f.bias - 1 - (power >> 1), line(&ROOT_EVEN, leading, 128)),
        _ => (f.bias - 1 - (power >> 1), line(&ROOT_ODD, leading, 128)),
    };
    (field as u64) << f.fraction | result << (f.fraction - 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_those_of_the_reference_and_within_its_error() {
        let single = |x: u32| rcp14(SINGLE, x.into(), false, false) as u32;
        for (x, want) in [
            (0, 0x7f80_0000),
            (0x8000_0000, 0xff80_0000),
            (0x20_0000, 0x7f80_0000),
            (0x20_0001, 0x7f7f_fe00),
            (0x40_0000, 0x7f00_0000),
            (0x7e80_0001, 0x7f_ff00),
            (0x7f00_0000, 0x40_0000),
            (0x7f00_0001, 0x3f_ff80),
            (0x7f80_0001, 0x7fc0_0001),
            (0xff80_0000, 0x8000_0000),
            (0x3f80_0000, 0x3f80_0000),
            (0x3f80_0001, 0x3f7f_fe00),
        ] {
            assert_eq!(single(x), want, "rcp14 {x:08x}");
        }
        let root = |x: u32| rsqrt14(SINGLE, x.into(), false) as u32;
        for (x, want) in [
            (1, 0x64b5_0280),
            (0x20_0001, 0x5f7f_fd00),
            (0x4000_0000, 0x3f35_0280),
            (0x3f80_0000, 0x3f80_0000),
            (0x8000_0000, 0xff80_0000),
            (0xbf80_0000, 0xffc0_0000),
            (0x7eff_ffff, 0x1fb5_0480),
            (0x7f80_0000, 0),
        ] {
            assert_eq!(root(x), want, "rsqrt14 {x:08x}");
        }
        for k in 0..1 << 16 {
            let x = f64::from_bits(0x3ff0_0000_0000_0000 + (k << 37 | 0x12_3456));
            let (r, s) = (rcp14(DOUBLE, x.to_bits(), false, false), rsqrt14(DOUBLE, x.to_bits(), false));
            assert!((f64::from_bits(r) * x - 1.0).abs() < 1.0 / 16384.0, "{x}");
            assert!((f64::from_bits(s) * x.sqrt() - 1.0).abs() < 1.0 / 16384.0, "{x}");
        }
    }
}
