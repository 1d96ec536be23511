//! Random numbers and the values that find faults: edges of integers, of floating-point formats, of lanes.

pub use emu_core::Random;

/// Values that find faults.
pub trait Corners {
    /// An integer with an edge in it somewhere, or any.
    fn corner(&mut self) -> u64;
    /// The low `bits` (1 to 64) of a fraction: all zeros, all ones, one bit, runs, or anything.
    fn fraction(&mut self, bits: u64) -> u64;
    /// A number of `exponent` and `fraction` bits: corners, neighbours of 1, of the integers' ends, or anything.
    fn float(&mut self, exponent: u64, fraction: u64) -> u64;
    /// As [`Corners::float`], or with an exponent near that of `other`.
    fn float_near(&mut self, exponent: u64, fraction: u64, other: u64) -> u64;
    /// An extended real: significand, and sign with exponent. Unnormals and pseudo-denormals among them.
    fn extended(&mut self) -> (u64, u64);
    /// As [`Corners::extended`], now and then near the exponent `near`, or near that of its reciprocal.
    fn extended_near(&mut self, near: u64) -> (u64, u64);
    /// Eight bytes of lanes of kind `kind` (0 to 8).
    fn lanes(&mut self, kind: u64) -> u64;
    /// Kind of lanes for [`Corners::lanes`].
    fn lane_kind(&mut self) -> u64;
}

impl Corners for Random {
    fn corner(&mut self) -> u64 {
        let bit = 1u64 << self.below(64);
        match self.below(8) {
            0 => self.below(3).wrapping_sub(1),
            1 => bit,
            2 => bit - 1,
            3 => bit.wrapping_neg(),
            4 => self.pick(&[0x80, 0x7f, 0x8000, 0x7fff, 0x8000_0000, 0x7fff_ffff, 1 << 63, !(1 << 63)]),
            5 => self.next() >> self.below(64),
            _ => self.next(),
        }
    }

    fn fraction(&mut self, bits: u64) -> u64 {
        let full = u64::MAX >> (64 - bits);
        full & match self.below(7) {
            0 => 0,
            1 => full,
            2 => 1 << self.below(bits),
            3 => full << self.below(bits),
            4 => full >> self.below(bits),
            5 => (full << self.below(bits)) | 1 << self.below(bits),
            _ => self.next(),
        }
    }

    fn float(&mut self, exponent: u64, fraction: u64) -> u64 {
        let (top, bias) = ((1u64 << exponent) - 1, (1u64 << (exponent - 1)) - 1);
        let field = match self.below(12) {
            0 => 0,
            1 => top,
            2 => 1 + self.below(3),
            3 => top - 1 - self.below(3),
            4 => bias + self.below(8) - 4,
            5 => bias + self.pick(&[7, 8, 14, 15, 16, 23, 24, 31, 32, 52, 63, 64]).min(bias - 2),
            6 => bias / 2 + self.below(3),
            7 => bias + bias / 2 + self.below(3),
            8 => bias + self.below(12),
            _ => self.below(top),
        };
        self.below(2) << (exponent + fraction) | field << fraction | self.fraction(fraction)
    }

    fn float_near(&mut self, exponent: u64, fraction: u64, other: u64) -> u64 {
        if !self.one_in(5) {
            return self.float(exponent, fraction);
        }
        let field = (other >> fraction).wrapping_add(self.below(7)).wrapping_sub(3) & ((1 << exponent) - 1);
        self.below(2) << (exponent + fraction) | field << fraction | self.fraction(fraction)
    }

    fn extended(&mut self) -> (u64, u64) {
        self.extended_near(0x3fff)
    }

    fn extended_near(&mut self, near: u64) -> (u64, u64) {
        let (near, jitter) = (near as i64, self.below(9) as i64 - 4);
        let field = match self.below(16) {
            0 => self.below(3) as i64,
            1 => 0x7fff - self.below(3) as i64,
            2 | 3 => near + jitter,
            4 => near + self.below(130) as i64 - 65,
            5 => 0x3fff + jitter,
            6 => 0x3fff + self.below(70) as i64,
            7 => 0x3fff + [15, 31, 63, 127, 1023, -126, -149, -1022, -1074][self.below(9) as usize] + jitter,
            8 => 0x1fff + jitter,
            9 => 0x5fff + jitter,
            10 => 0x3fff - self.below(70) as i64,
            11 => 0x7fff - near + jitter,
            12 => 0,
            13 => 0x7fff,
            _ => self.below(0x8000) as i64,
        }
        .clamp(0, 0x7fff) as u64;
        let integer = if field == 0 { u64::from(self.one_in(16)) } else { u64::from(!self.one_in(16)) };
        let significand = if field == 0 && self.one_in(3) { 0 } else { integer << 63 | self.fraction(63) };
        (significand, field | self.below(2) << 15)
    }

    fn lanes(&mut self, kind: u64) -> u64 {
        match kind {
            0 | 1 => self.next(),
            2 => u64::from_le_bytes([0; 8].map(|_: u8| self.pick(&[0, 1, 0x7f, 0x80, 0x81, 0xff]))),
            3 => (0..4).fold(0, |r, _| r << 16 | self.pick(&[0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0xff, 0x100])),
            4 | 5 => {
                let high = self.float(8, 23);
                high << 32 | self.float_near(8, 23, high)
            }
            6 => self.float(11, 52),
            7 => (0..4).fold(0, |r, _| r << 16 | self.float(5, 10)),
            _ => u64::from_le_bytes([0; 8].map(|_: u8| self.pick(&[0, 1, 2, 2, 2, 3, 3, 0x83]))),
        }
    }

    fn lane_kind(&mut self) -> u64 {
        self.below(9)
    }
}
