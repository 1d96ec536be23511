//! What a processor offers only when the board behind its doors can keep the promise.

use crate::msr::BASE_RATIO;

/// What the board lets the processor offer, besides what it always has. The default offers nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// PEBS: the doors have its registers, and write records. Leaf 1 says DTES64, DS_CPL and DS, and
    /// IA32_MISC_ENABLE that PEBS is available. Branch trace stores are not: bit 11 stays set.
    pub pebs: bool,
    /// Architectural LBRs: the doors have their registers, leaf 1Ch and state component 15. Leaf 7 says ARCH_LBR, leaf
    /// 0Dh component 15, and IA32_XSS takes bit 15.
    pub lbr: bool,
    /// Frequency of the core in multiples of 100 MHz: 22 is the TSC's, more is turbo. Range 1 to 48.
    pub core_ratio: u8,
}

impl Default for Features {
    fn default() -> Features {
        Features { pebs: false, lbr: false, core_ratio: BASE_RATIO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;
    use emu_core::Ram;
    use std::sync::Arc;

    fn offering(features: Features) -> Box<Cpu> {
        let mut cpu = Cpu::new(Arc::new(Ram::new(1 << 20, &[]).unwrap()), 0);
        cpu.offer(features);
        cpu
    }

    #[test]
    fn pebs_shows_the_debug_store_and_makes_pebs_alone_available() {
        let plain = offering(Features::default()).cpuid(1, 0);
        let mut c = offering(Features { pebs: true, ..Features::default() });
        let [_, _, ecx, edx] = c.cpuid(1, 0);
        assert_eq!((ecx ^ plain[2], edx ^ plain[3]), (1 << 2 | 1 << 4, 1 << 21));
        assert_eq!((ecx >> 15 & 1, c.read_msr(0x1a0)), (1, Ok(0x881)), "PDCM; BTS stays unavailable");
        c.write_msr(0x1a0, 0x4_00c5_0809).unwrap();
        assert_eq!(c.read_msr(0x1a0), Ok(0x4_00c5_0889));
    }

    #[test]
    fn lbr_shows_its_leaf_7_bit_and_its_state_component() {
        let mut c = offering(Features { lbr: true, ..Features::default() });
        assert_eq!(c.cpuid(7, 0)[3] >> 19 & 1, 1);
        assert_eq!((c.cpuid(0xd, 15), c.cpuid(0xd, 1)), ([808, 0, 1, 0], [0xf, 576, 1 << 15, 0]));
        c.write_msr(0xda0, 1 << 15).unwrap();
        c.xcr0 = 7;
        assert_eq!(c.cpuid(0xd, 1), [0xf, 832 + 808, 1 << 15, 0]);
        assert_eq!(c.cpuid(0xd, 0), [0x2e7, 832, 2696, 0], "a supervisor component is none of XCR0's");
        assert!(c.write_msr(0xda0, 1 << 14).is_err());
        c.write_msr(0x1d9, 0x801).unwrap();
        assert_eq!(c.read_msr(0x1d9), Ok(0x800), "DEBUGCTL.LBR reads zero");
        let mut without = offering(Features::default());
        assert_eq!((without.cpuid(0xd, 15), without.cpuid(0x1c, 0)), ([0; 4], [0; 4]));
        assert!(without.write_msr(0xda0, 1 << 15).is_err());
    }

    #[test]
    fn a_faster_core_shows_in_every_place_that_linux_and_turbostat_read() {
        let mut c = offering(Features { core_ratio: 33, ..Features::default() });
        assert_eq!((c.cpuid(6, 0), c.cpuid(0x16, 0)), ([6, 2, 1, 0], [2200, 3300, 100, 0]));
        assert_eq!((c.read_msr(0x1ad), c.read_msr(0xce)), (Ok(0x2121_2121_2121_2121), Ok(22 << 8 | 22 << 40)));
        assert_eq!(c.read_msr(0x198), Ok(33 << 8));
        c.write_msr(0x1a0, 1 | 1 << 38).unwrap();
        assert_eq!(c.cpuid(6, 0)[0], 4, "turbo disabled");
        let mut c = offering(Features::default());
        assert_eq!(
            (c.cpuid(6, 0), c.cpuid(0x15, 0), c.cpuid(0x16, 0)),
            ([4, 2, 1, 0], [2, 176, 25_000_000, 0], [2200, 2200, 100, 0])
        );
        assert_eq!((c.read_msr(0x1ad), c.read_msr(0x198)), (Ok(0x1616_1616_1616_1616), Ok(22 << 8)));
        assert_eq!(u64::from(c.cpuid(0x15, 0)[2]) * 176 / 2, 2_200_000_000);
        assert_eq!(u64::from(c.cpuid(0x15, 0)[1] / c.cpuid(0x15, 0)[0]), crate::lapic::TICKS_PER_CRYSTAL, "25 MHz");
    }

    #[test]
    fn a_reset_keeps_what_is_offered() {
        let mut c = offering(Features { pebs: true, ..Features::default() });
        c.write_msr(0x1a0, 0x1_0000).unwrap();
        c.power_on();
        assert_eq!((c.read_msr(0x1a0), c.offered().pebs), (Ok(0x881), true));
    }
}
