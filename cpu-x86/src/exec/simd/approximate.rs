//! The approximations RCPPS and RSQRTPS make.
//!
//! Intel's processors take the operand's leading significand bits, put a one behind them for the middle of the
//! interval, and round the exact result to 12 bits; that gives their tables entry by entry (compared with the ones in
//! Bochs' sse_rcp.cc, which were read from hardware). AMD's tables are others. Source: SDM vol. 2, RCPPS, RSQRTPS.
//!
//! Unverified: that Sapphire Rapids still has these tables; to be checked by running the tests' values there.

const SIGN: u32 = 1 << 31;
const INFINITY: u32 = 0xff << 23;
const QUIET: u32 = 1 << 22;
const INDEFINITE: u32 = 0xffc0_0000;

/// 1 / `x` to 12 bits; denormals count as zero, tiny results are zero. Raises nothing.
pub fn rcp(x: u32) -> u32 {
    let (sign, exponent, fraction) = (x & SIGN, x >> 23 & 0xff, x & 0x7f_ffff);
    match exponent {
        0 => sign | INFINITY,
        255 if fraction == 0 => sign,
        255 => x | QUIET,
        253.. => sign,
        _ => {
            // 2 / 1.yyyyyyyyyyy1 in units of 2^-12.
            let divisor = (fraction >> 12) * 2 + 4097;
            let quotient = ((1 << 26) / divisor).div_ceil(2);
            sign | (253 - exponent) << 23 | (quotient - 4096) << 11
        }
    }
}

/// 1 / sqrt(`x`) to 12 bits; denormals count as zero. Raises nothing.
pub fn rsqrt(x: u32) -> u32 {
    let (exponent, fraction) = (x >> 23 & 0xff, x & 0x7f_ffff);
    match exponent {
        0 => x & SIGN | INFINITY,
        255 if fraction != 0 => x | QUIET,
        _ if x & SIGN != 0 => INDEFINITE,
        255 => 0,
        _ => {
            // 2 / sqrt(1.yyyyyyyyyy1, twice that for an even biased exponent) in units of 2^-12.
            let operand = (u64::from(fraction >> 13) * 2 + 2049) << (1 - (exponent & 1));
            let root = ((1u64 << 39) / operand).isqrt().div_ceil(2) as u32;
            ((380 - exponent) / 2) << 23 | (root - 4096) << 11
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rcp_gives_the_entries_of_the_tables_read_from_intel_processors() {
        let entry = |k: u32| (rcp(0x3f80_0000 | k << 12) & 0x7f_ffff) >> 8;
        let known = [(0, 0x7ff0), (16, 0x7df8), (27, 0x7c98), (28, 0x7c80), (1024, 0x2aa0), (1100, 0x2688), (2047, 8)];
        for (k, want) in known {
            assert_eq!(entry(k), want, "entry {k}");
        }
        assert_eq!(rcp(0x3f80_0000), 0x3f7f_f000);
        assert_eq!(rcp(0x4000_0000), 0x3eff_f000);
    }

    #[test]
    fn rsqrt_gives_the_entries_of_the_tables_read_from_intel_processors() {
        let entry = |exponent: u32, k: u32| (rsqrt(exponent << 23 | k << 13) & 0x7f_ffff) >> 8;
        for (k, want) in [(0, 0x34f8), (1, 0x34e0), (2, 0x34d0), (1022, 0x10), (1023, 8)] {
            assert_eq!(entry(128, k), want, "even {k}");
        }
        for (k, want) in [(0, 0x7ff0), (13, 0x7e58), (23, 0x7d20), (1022, 0x3518), (1023, 0x3508)] {
            assert_eq!(entry(127, k), want, "odd {k}");
        }
        assert_eq!(rsqrt(0x3f80_0000), 0x3f7f_f000);
        assert_eq!(rsqrt(0x4080_0000), 0x3eff_f000);
        assert_eq!(rsqrt(0x4000_0000), 0x3f34_f800);
    }

    #[test]
    fn corner_operands_give_what_the_sdm_tables_say() {
        assert_eq!((rcp(0), rcp(SIGN), rcp(1), rcp(SIGN | 1)), (INFINITY, SIGN | INFINITY, INFINITY, SIGN | INFINITY));
        assert_eq!((rcp(INFINITY), rcp(SIGN | INFINITY), rcp(0x7f80_0001)), (0, SIGN, 0x7fc0_0001));
        assert_eq!((rcp(0x7e80_0000), rcp(0x7e00_0000) >> 23), (0, 1));
        assert_eq!((rsqrt(0), rsqrt(SIGN), rsqrt(INFINITY)), (INFINITY, SIGN | INFINITY, 0));
        assert_eq!(
            (rsqrt(0xbf80_0000), rsqrt(SIGN | INFINITY), rsqrt(0xff80_0001)),
            (INDEFINITE, INDEFINITE, 0xffc0_0001)
        );
    }
}
