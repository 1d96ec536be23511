//! CPUID: a Sapphire Rapids (6/8Fh/8) that offers a feature only when this machine has it.
//!
//! That is x86-64-v3 and what the integer, vector and system instructions of that core add, AVX-512 with FP16. Not
//! offered: AMX, CET, PKS, TSX, VMX, SGX, user interrupts, ENQCMD, PCONFIG, bus-lock detection, processor trace; MONITOR
//! and MWAIT only once IA32_MISC_ENABLE turns them on, for firmware left them off. Source: SDM vol. 2A, CPUID; the
//! numbers of the real part from spec/pmu.md 1.2 and Bochs' `cpudb/intel/sapphire_rapids.cc`.

mod features;

use crate::door::MARK_LEAF;
use crate::exec::evex;
use crate::exec::platform::wait::ENABLE_MONITOR;
use crate::msr::{BASE_RATIO, TURBO_DISABLE};
use crate::paging::MAXPHYADDR;
use crate::save;
use crate::state::{Cpu, cr4};
use crate::wait::LINE_BYTES;
pub use features::Features;

/// Family 6, model 8Fh, stepping 8.
const SIGNATURE: u32 = 0x000806f8;
/// Highest basic leaf: the topology leaf 1Fh is there.
const MAX_LEAF: u32 = 0x1f;
const MAX_EXTENDED: u32 = 0x8000_0008;
/// 48 bytes, padded with zeros.
const BRAND: &[u8] = b"Intel(R) Xeon(R) unhalted (Sapphire Rapids)";

/// The bits at these positions.
const fn bits<const N: usize>(positions: [u32; N]) -> u32 {
    let (mut v, mut n) = (0, 0);
    while n < N {
        v |= 1 << positions[n];
        n += 1;
    }
    v
}

/// The bits at these positions, if AVX-512 is offered.
const fn avx512<const N: usize>(positions: [u32; N]) -> u32 {
    if evex::OFFERED { bits(positions) } else { 0 }
}

/// SSE3 PCLMULQDQ SSSE3 FMA CX16 PDCM PCID SSE4.1 SSE4.2 x2APIC MOVBE POPCNT TSC-deadline AES XSAVE AVX F16C RDRAND.
const LEAF_1_ECX: u32 = bits([0, 1, 9, 12, 13, 15, 17, 19, 20, 21, 22, 23, 24, 25, 26, 28, 29, 30]);
const OSXSAVE: u32 = 1 << 27;
/// DTES64 and DS_CPL in ECX, DS in EDX.
const DEBUG_STORE_ECX: u32 = bits([2, 4]);
const DEBUG_STORE_EDX: u32 = 1 << 21;
const ARCH_LBR: u32 = 1 << 19;
/// FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2 SS.
const LEAF_1_EDX: u32 = bits([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 23, 24, 25, 26, 27]);
const APIC: u32 = 1 << 9;
/// More than one logical processor in the package.
const HTT: u32 = 1 << 28;
/// FSGSBASE TSC_ADJUST BMI1 AVX2 FDP_EXCPTN_ONLY SMEP BMI2 ERMS INVPCID (FCS and FDS deprecated) RDSEED ADX SMAP
/// CLFLUSHOPT CLWB SHA; AVX-512 F, DQ, IFMA, CD, BW, VL.
const LEAF_7_EBX: u32 =
    bits([0, 1, 3, 5, 6, 7, 8, 9, 10, 13, 18, 19, 20, 23, 24, 29]) | avx512([16, 17, 21, 28, 30, 31]);
/// UMIP PKU WAITPKG GFNI VAES VPCLMULQDQ LA57 RDPID CLDEMOTE MOVDIRI MOVDIR64B; AVX-512 VBMI, VBMI2, VNNI,
/// BITALG, VPOPCNTDQ.
const LEAF_7_ECX: u32 = bits([2, 3, 5, 8, 9, 10, 16, 22, 25, 27, 28]) | avx512([1, 6, 11, 12, 14]);
const OSPKE: u32 = 1 << 4;
/// FSRM MD_CLEAR SERIALIZE IBRS/IBPB STIBP L1D_FLUSH ARCH_CAPABILITIES SSBD; AVX-512 FP16.
const LEAF_7_EDX: u32 = bits([4, 10, 14, 26, 27, 28, 29, 31]) | avx512([23]);
/// AVX-VNNI, and fast zero-length MOVSB, short STOSB, short CMPSB and SCASB; AVX-512 BF16.
const LEAF_7_1_EAX: u32 = bits([4, 10, 11, 12]) | avx512([5]);
/// IA32_SPEC_CTRL has BHI_DIS_S: Linux then clears no branch history in software at each system call, which newer ones
/// do in spite of BHI_NO.
const BHI_CTRL: u32 = 1 << 4;
/// LAHF LZCNT PREFETCHW.
const EXTENDED_ECX: u32 = bits([0, 5, 8]);
/// NX PDPE1GB RDTSCP LM; SYSCALL (bit 11) shows in 64-bit mode only.
const EXTENDED_EDX: u32 = bits([20, 26, 27, 29]);
const NX: u32 = 1 << 20;
const SYSCALL: u32 = 1 << 11;
const WBNOINVD: u32 = 1 << 9;
const MONITOR: u32 = 1 << 3;

/// Bits of IA32_MISC_ENABLE that change CPUID.
const LIMIT_CPUID: u64 = 1 << 22;
const XD_DISABLE: u64 = 1 << 34;

impl Cpu {
    /// EAX, EBX, ECX and EDX for `leaf` and `subleaf`. Leaves beyond the highest answer as the highest basic one.
    pub fn cpuid(&mut self, leaf: u32, subleaf: u32) -> [u32; 4] {
        if leaf == MARK_LEAF {
            self.with_doors(|doors, _| doors.marked(subleaf));
        }
        let leaf = match leaf {
            0x8000_0000.. if leaf > MAX_EXTENDED => MAX_LEAF,
            MAX_LEAF..0x8000_0000 => MAX_LEAF,
            _ => leaf,
        };
        match leaf {
            0 => {
                let max = if self.msr.misc_enable & LIMIT_CPUID != 0 { 2 } else { MAX_LEAF };
                [max, u32::from_le_bytes(*b"Genu"), u32::from_le_bytes(*b"ntel"), u32::from_le_bytes(*b"ineI")]
            }
            1 => self.identity(),
            2 => [0x00fe_ff01, 0xf0, 0, 0],
            4 => self.cache(subleaf),
            5 => self.monitor_line(),
            6 => [1 << 2 | self.turbo(), 2, 1, 0],
            7 if subleaf == 0 => {
                let ospke = if self.cr4 & cr4::PKE != 0 { OSPKE } else { 0 };
                let records = if self.features.lbr { ARCH_LBR } else { 0 };
                [2, LEAF_7_EBX, LEAF_7_ECX | ospke, LEAF_7_EDX | records]
            }
            7 if subleaf == 1 => [LEAF_7_1_EAX, 0, 0, 0],
            7 if subleaf == 2 => [0, 0, 0, BHI_CTRL],
            0xb | 0x1f => self.topology(subleaf),
            0xd => self.extended_state(subleaf),
            0x15 => [2, 176, 25_000_000, 0],
            0x16 => [2200, 100 * u32::from(self.features.core_ratio.max(BASE_RATIO)), 100, 0],
            0xa | 0x1c => self.with_doors(|doors, _| doors.pmu().cpuid(leaf, subleaf)).unwrap_or_default(),
            0x8000_0000 => [MAX_EXTENDED, 0, 0, 0],
            0x8000_0001 => self.extended_features(),
            0x8000_0002..=0x8000_0004 => brand((leaf & 7) - 2),
            0x8000_0006 => [0, 0, 0x0800_7040, 0],
            0x8000_0007 => [0, 0, 0, 1 << 8],
            0x8000_0008 => [MAXPHYADDR | 57 << 8, WBNOINVD, 0, 0],
            _ => [0; 4],
        }
    }

    fn identity(&self) -> [u32; 4] {
        let siblings = self.cpu_count.next_power_of_two().min(255);
        let ebx = self.apic_id << 24 | siblings << 16 | (64 / 8) << 8;
        let when = |holds: bool, bits: u32| if holds { bits } else { 0 };
        let ecx = LEAF_1_ECX
            | when(self.has_monitor(), MONITOR)
            | when(self.cr4 & cr4::OSXSAVE != 0, OSXSAVE)
            | when(self.features.pebs, DEBUG_STORE_ECX);
        let edx = LEAF_1_EDX & !when(!self.lapic.is_enabled(), APIC)
            | when(self.cpu_count > 1, HTT)
            | when(self.features.pebs, DEBUG_STORE_EDX);
        [SIGNATURE, ebx, ecx, edx]
    }

    /// Leaf 6, EAX bit 1: the core can be, and may be, faster than the TSC.
    fn turbo(&self) -> u32 {
        let there = self.features.core_ratio > BASE_RATIO && self.msr.misc_enable & TURBO_DISABLE == 0;
        u32::from(there) << 1
    }

    /// Are MONITOR and MWAIT there? Firmware left them off.
    fn has_monitor(&self) -> bool {
        self.msr.misc_enable & ENABLE_MONITOR != 0
    }

    /// Leaf 5: a line of 64 bytes, interrupts as break events, C1 with two substates.
    fn monitor_line(&self) -> [u32; 4] {
        if self.has_monitor() { [LINE_BYTES as u32, LINE_BYTES as u32, 3, 0x20] } else { [0; 4] }
    }

    fn extended_features(&self) -> [u32; 4] {
        let hidden = if self.msr.misc_enable & XD_DISABLE != 0 { NX } else { 0 };
        let syscall = if self.is_64bit() { SYSCALL } else { 0 };
        [0, 0, EXTENDED_ECX, EXTENDED_EDX & !hidden | syscall]
    }

    /// Leaf 4: the caches of the real part; the last level is shared by all processors of the machine, each of which
    /// is a core of one thread.
    fn cache(&self, level: u32) -> [u32; 4] {
        let others = self.cpu_count.next_power_of_two() - 1;
        let eax = |level: u32, kind: u32, sharing: u32| {
            others.min(63) << 26 | sharing.min(0xfff) << 14 | 1 << 8 | level << 5 | kind
        };
        match level {
            0 => [eax(1, 1, 0), 0x02c0_003f, 63, 0],
            1 => [eax(1, 2, 0), 0x01c0_003f, 63, 0],
            2 => [eax(2, 3, 0), 0x03c0_003f, 2047, 0],
            3 => [eax(3, 3, others), 0x0380_003f, 0x1_5fff, 4],
            _ => [0; 4],
        }
    }

    /// Leaves 0Bh and 1Fh: one thread a core, all cores in one package.
    fn topology(&self, level: u32) -> [u32; 4] {
        let shift = self.cpu_count.next_power_of_two().trailing_zeros();
        match level {
            0 => [0, 1, 1 << 8, self.apic_id],
            1 => [shift, self.cpu_count, 2 << 8 | 1, self.apic_id],
            _ => [0, 0, level & 0xff, self.apic_id],
        }
    }

    /// Leaf 0Dh: the components of the state, in all forms of XSAVE.
    fn extended_state(&self, subleaf: u32) -> [u32; 4] {
        let xss = self.msr.xss;
        match subleaf {
            0 => [save::SUPPORTED as u32, save::standard_bytes(self.xcr0), save::standard_bytes(save::SUPPORTED), 0],
            // XSAVEOPT, XSAVEC, XGETBV with ECX = 1, XSAVES.
            1 => {
                let records = if xss & save::LBR != 0 { save::LBR_BYTES } else { 0 };
                [0xf, save::compacted_bytes(self.xcr0 | xss) + records, self.supervisor_components() as u32, 0]
            }
            save::LBR_COMPONENT if self.features.lbr => [save::LBR_BYTES, 0, 1, 0],
            n => save::component(n).map_or([0; 4], |c| [c.bytes, c.offset, 0, 0]),
        }
    }
}

/// A third of the brand string.
fn brand(part: u32) -> [u32; 4] {
    std::array::from_fn(|word| {
        let at = part as usize * 16 + word * 4;
        u32::from_le_bytes(std::array::from_fn(|n| BRAND.get(at + n).copied().unwrap_or(0)))
    })
}

#[cfg(test)]
mod tests {
    use crate::Cpu;
    use emu_core::Ram;
    use std::sync::Arc;

    fn cpu(id: u32, count: u32) -> Box<Cpu> {
        let ram = Ram::new(1 << 20, &[]).unwrap();
        let mut cpu = Cpu::new(Arc::new(ram), id);
        cpu.cpu_count = count;
        cpu
    }

    #[test]
    fn the_identity_is_sapphire_rapids_of_intel() {
        let mut c = cpu(0, 1);
        let [max, b, cx, d] = c.cpuid(0, 0);
        let name: Vec<u8> = [b, d, cx].into_iter().flat_map(u32::to_le_bytes).collect();
        assert_eq!((max, &name[..]), (0x1f, &b"GenuineIntel"[..]));
        assert_eq!(c.cpuid(1, 0)[0], 0x806f8);
        let text: Vec<u8> = (2..=4).flat_map(|n| c.cpuid(0x8000_0000 + n, 0)).flat_map(u32::to_le_bytes).collect();
        assert_eq!(&text[..43], b"Intel(R) Xeon(R) unhalted (Sapphire Rapids)");
        assert_eq!(c.cpuid(0x15, 0), [2, 176, 25_000_000, 0]);
    }

    #[test]
    fn what_this_machine_lacks_is_not_offered() {
        let mut c = cpu(0, 1);
        let [_, b, cx, d] = c.cpuid(7, 0);
        assert_eq!(b & (1 << 4 | 1 << 11 | 1 << 26 | 1 << 27), 0, "HLE, RTM, AVX512PF, AVX512ER");
        assert_eq!(cx & (1 << 4 | 1 << 7 | 1 << 24 | 1 << 29 | 1 << 31), 0, "OSPKE, CET, bus lock, ENQCMD, PKS");
        assert_eq!(d & (1 << 19 | 1 << 24), 0, "architectural LBR, AMX");
        assert_eq!(c.cpuid(1, 0)[2] & (1 << 2 | 1 << 3 | 1 << 5 | 1 << 31), 0, "DTES64, MONITOR, VMX, hypervisor");
    }

    #[test]
    fn monitor_and_ospke_follow_their_controls() {
        let mut c = cpu(0, 1);
        assert_eq!(c.cpuid(5, 0), [0; 4]);
        c.write_msr(0x1a0, c.msr.misc_enable | 1 << 18).unwrap();
        assert_eq!((c.cpuid(1, 0)[2] >> 3 & 1, c.cpuid(5, 0)), (1, [64, 64, 3, 0x20]));
        c.cr4 |= 1 << 22;
        assert_eq!(c.cpuid(7, 0)[2] >> 3 & 3, 3);
    }

    #[test]
    fn osxsave_syscall_and_apic_follow_the_state() {
        let mut c = cpu(0, 1);
        assert_eq!(c.cpuid(1, 0)[2] >> 27 & 1, 0);
        c.cr4 |= 1 << 18;
        assert_eq!(c.cpuid(1, 0)[2] >> 27 & 1, 1);
        assert_eq!(c.cpuid(1, 0)[3] >> 9 & 1, 1);
        c.lapic.set_base(0xfee0_0100).unwrap();
        assert_eq!(c.cpuid(1, 0)[3] >> 9 & 1, 0);
        assert_eq!(c.cpuid(0x8000_0001, 0)[3] >> 11 & 1, 0);
    }

    #[test]
    fn topology_counts_processors() {
        for (count, shift) in [(1, 0), (2, 1), (3, 2), (8, 3)] {
            let mut c = cpu(count - 1, count);
            assert_eq!(c.cpuid(0xb, 0), [0, 1, 0x100, count - 1]);
            assert_eq!(c.cpuid(0xb, 1), [shift, count, 0x201, count - 1]);
            assert_eq!(c.cpuid(0x1f, 2), [0, 0, 2, count - 1]);
            assert_eq!(c.cpuid(1, 0)[1], (count - 1) << 24 | 1 << (16 + shift) | 0x800);
            assert_eq!(c.cpuid(4, 3)[0] >> 14 & 0xfff, (1 << shift) - 1);
            assert_eq!(c.cpuid(4, 0)[0] >> 14 & 0xfff, 0);
        }
    }

    #[test]
    fn extended_state_sizes_follow_xcr0() {
        let mut c = cpu(0, 1);
        assert_eq!(c.cpuid(0xd, 0), [0x2e7, 576, 2696, 0]);
        c.xcr0 = 7;
        assert_eq!(c.cpuid(0xd, 0), [0x2e7, 832, 2696, 0]);
        assert_eq!(c.cpuid(0xd, 1), [0xf, 832, 0, 0]);
        assert_eq!(c.cpuid(0xd, 2), [256, 576, 0, 0]);
        c.xcr0 = 0x207;
        assert_eq!(c.cpuid(0xd, 0), [0x2e7, 2696, 2696, 0]);
        assert_eq!(c.cpuid(0xd, 1), [0xf, 840, 0, 0]);
        assert_eq!(c.cpuid(0xd, 9), [8, 2688, 0, 0]);
        c.xcr0 = 0xe7;
        assert_eq!(c.cpuid(0xd, 0), [0x2e7, 2688, 2696, 0]);
        assert_eq!(c.cpuid(0xd, 1), [0xf, 2432, 0, 0]);
        assert_eq!((5..8).map(|n| c.cpuid(0xd, n)[0]).collect::<Vec<_>>(), [64, 512, 1024]);
        assert_eq!((5..8).map(|n| c.cpuid(0xd, n)[1]).collect::<Vec<_>>(), [1088, 1152, 1664]);
    }
}
