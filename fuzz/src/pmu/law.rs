//! What a guest may do to the PMU, written a second time from the manual: which values of which registers, and which
//! counters, raise #GP(0).
//!
//! Source: SDM vol. 4, table 2-2 (architectural MSRs); vol. 3B, ch. 20; as in spec/pmu.md 1.3 to 1.9 and 3. Not taken from
//! the model's own tables, which it is to hold to account.

/// MSRs that a misuse is about: the PMU's, those next to them that do not exist, and the clocks.
#[rustfmt::skip] // runs of neighbours
pub const MSRS: [u32; 96] = [
    0xc1, 0xc2, 0xc3, 0xc4, 0xc7, 0xc8, 0xc9, 0x4c1, 0x4c2, 0x4c3, 0x4c8, 0x4c9,
    0x186, 0x187, 0x188, 0x189, 0x18a, 0x18d, 0x18e, 0x309, 0x30a, 0x30b, 0x30c, 0x30d,
    0x329, 0x345, 0x38d, 0x38e, 0x38f, 0x390, 0x391, 0x392, 0x393, 0x1a6, 0x1a7, 0x3f1,
    0x3f2, 0x3f3, 0x3f6, 0x3f7, 0x3f8, 0x600, 0x1d9, 0x1dd, 0x1de, 0x1df, 0x1e0, 0x1c8,
    0x1c9, 0x680, 0x6c0, 0xdc0, 0x40, 0x60, 0x14cd, 0x14ce, 0x14cf, 0x14d0, 0x1200, 0x1207,
    0x1208, 0x120f, 0x1210, 0x121f, 0x1220, 0x1500, 0x1507, 0x1508, 0x150f, 0x1510, 0x151f, 0x1520,
    0x1600, 0x1607, 0x1608, 0x160f, 0x1610, 0x161f, 0x1620, 0x10, 0x3b, 0xe7, 0xe8, 0x34,
    0xce, 0x1ad, 0x394, 0x395, 0x30e, 0x1900, 0x1901, 0x1980, 0x340, 0x3f0, 0x185, 0xc0,
];

/// The state that legality depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// IA32_LBR_DEPTH.
    pub depth: u32,
}

impl Default for State {
    fn default() -> State {
        State { depth: 32 }
    }
}

const COUNTERS: u64 = 0xf_0000_00ff;
const METRICS: u64 = 1 << 48;
/// STATUS_RESET clears these besides: trace, LBR_FRZ, CTR_FRZ, ASCI, uncore, buffer, CondChgd.
const CLEARED: u64 = 1 << 55 | 1 << 58 | 1 << 59 | 1 << 60 | 1 << 61 | 1 << 62 | 1 << 63;
/// STATUS_SET sets these besides: LBR_FRZ, CTR_FRZ, buffer.
const SET: u64 = 1 << 58 | 1 << 59 | 1 << 62;
/// LBR BTF, TR to BTS_OFF_USR, the freezes on PMI and in SMM.
const DEBUGCTL: u64 = 1 | 1 << 1 | 0x7f << 6 | 1 << 14;

/// Is `v` a linear address that a register takes on a processor with 57 bits of it?
const fn canonical(v: u64) -> bool {
    let high = v >> 56;
    high == 0 || high == 0xff
}

/// Bits of a register that may be 1; `None`: no value may be written, or it is not there.
fn legal_bits(msr: u32, state: State) -> Option<u64> {
    Some(match msr {
        0xc1..=0xc8 | 0x309..=0x30c | 0x329 => u64::MAX,
        0x4c1..=0x4c8 => 0xffff_ffff_ffff,
        // Event, umask, USR, OS, E, PC, INT; EN, INV, CMASK; adaptive. Not: AnyThread, transactions, what is newer.
        0x186..=0x18d => 0x1f_ffff | 1 << 22 | 1 << 23 | 0xff << 24 | 1 << 34,
        0x38d => 0xbbbb | 1 << 32 | 1 << 36 | 1 << 40 | 1 << 44,
        0x38f => COUNTERS | METRICS,
        0x390 => COUNTERS | METRICS | CLEARED,
        0x391 => COUNTERS | METRICS | SET,
        0x1a6 | 0x1a7 => 0x3f_ffff_ffff,
        0x3f1 => COUNTERS,
        0x3f2 => 0xf | 0xff << 24,
        0x3f6 => 0xffff,
        0x3f7 => 0x7f_ff1f,
        0x1d9 => DEBUGCTL,
        0x14ce => 0xf | 0x7f << 16,
        0x600 | 0x1dd | 0x1de | 0x1e0 | 0x14cf | 0x10 | 0x3b | 0xe7 | 0xe8 => u64::MAX,
        0x1200..=0x121f | 0x1500..=0x151f | 0x1600..=0x161f if msr & 0xff < state.depth => u64::MAX,
        _ => return None,
    })
}

/// Does WRMSR in ring 0 take `v`? What it takes changes `state`.
pub fn writes(msr: u32, v: u64, state: &mut State) -> bool {
    let Some(legal) = legal_bits(msr, *state) else { return false };
    let takes = v & !legal == 0
        && match msr {
            0x14cf => matches!(v, 8 | 16 | 32),
            0x600 | 0x1dd | 0x1de | 0x1500..=0x151f | 0x1600..=0x161f => canonical(v),
            _ => true,
        };
    if takes && msr == 0x14cf {
        state.depth = v as u32;
    }
    takes
}

/// Does RDMSR in ring 0 answer?
pub fn reads(msr: u32, state: State) -> bool {
    legal_bits(msr, state).is_some() || matches!(msr, 0x345 | 0x38e | 0x392 | 0x34 | 0xce | 0x1ad)
}

/// Bits that a register may show, whatever was written or counted.
pub fn shows(msr: u32, state: State) -> u64 {
    match msr {
        0xc1..=0xc8 | 0x309..=0x30c => 0xffff_ffff_ffff,
        0x38e => COUNTERS | METRICS | SET,
        0x390 | 0x391 | 0x34 => 0,
        0x392 => COUNTERS | 1 << 63,
        0x345 => 0xf4ff,
        _ => legal_bits(msr, state).unwrap_or(u64::MAX),
    }
}

/// Does RDPMC answer for selector `ecx` in ring `cpl`?
pub fn rdpmc(ecx: u32, cpl: u8, pce: bool) -> bool {
    let there = matches!(ecx, 0..=7 | 0x4000_0000..=0x4000_0003 | 0x2000_0000);
    there && (cpl == 0 || pce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_knows_its_registers() {
        let mut s = State::default();
        assert!(writes(0x186, 0x4_ffdf_ffff, &mut s) && !writes(0x186, 1 << 21, &mut s));
        assert!(!writes(0x345, 0xf4ff, &mut s) && reads(0x345, s) && !reads(0xc9, s));
        assert!(reads(0x121f, s) && writes(0x14cf, 8, &mut s) && !reads(0x1208, s) && !writes(0x14cf, 9, &mut s));
        assert!(rdpmc(7, 3, true) && !rdpmc(7, 1, false) && !rdpmc(8, 0, true) && !rdpmc(0x2000_0001, 0, true));
    }
}
