//! Model-specific registers: RDMSR, WRMSR and the time-stamp counter behind some of them.
//!
//! One row a register: numbers, the SDM's name, how it is read and written. What the table lacks is asked of the
//! doors (the PMU's registers); what they do not know either raises #GP(0) and is logged by name.
//! Source: SDM vol. 4, ch. 2; vol. 3A, 11.12 (x2APIC), 12.11 (MTRR), 16.3 (machine check), 18.17 (TSC).

mod feedback;

use crate::cpuid::Features;
use crate::door::Refused;
use crate::fault::Stop;
use crate::monitor::Happening;
use crate::paging::{MAXPHYADDR, storable};
use crate::state::{Cpu, Msrs, Seg};
pub use feedback::{Feedback, Pace};

type Read = fn(&mut Cpu, u32) -> Result<u64, Refused>;
type Write = fn(&mut Cpu, u32, u64) -> Result<(), Refused>;

/// Registers `first` to `last`.
struct Row {
    first: u32,
    last: u32,
    name: &'static str,
    read: Read,
    write: Write,
}

const fn row(first: u32, last: u32, name: &'static str, read: Read, write: Write) -> Row {
    Row { first, last, name, read, write }
}

/// Register `n` that is plain storage with legal bits.
macro_rules! plain {
    ($n:expr, $name:literal, $field:ident, $legal:expr) => {
        row($n, $n, $name, |c, _| Ok(c.msr.$field), |c, _, v| set(&mut c.msr.$field, v, $legal))
    };
}

/// Register `n` that holds a linear address.
macro_rules! address {
    ($n:expr, $name:literal, $field:ident) => {
        row(
            $n,
            $n,
            $name,
            |c, _| Ok(c.msr.$field),
            |c, _, v| {
                c.msr.$field = canonical_only(v)?;
                Ok(())
            },
        )
    };
}

/// Register `n` that reads as `v` and cannot be written.
macro_rules! constant {
    ($n:expr, $name:literal, $v:expr) => {
        row($n, $n, $name, |_, _| Ok($v), |_, _, _| Err(Refused))
    };
}

/// The TSC's frequency in multiples of 100 MHz; CPUID leaf 15h says the same.
pub(crate) const BASE_RATIO: u8 = 22;
const RATIO: u64 = BASE_RATIO as u64;
/// RDCL_NO IBRS_ALL MDS_NO PSCHANGE_MC_NO TAA_NO SBDR_SSDP_NO FBSDP_NO PSDP_NO BHI_NO PBRSB_NO GDS_NO RFDS_NO ITS_NO:
/// an interpreter does not speculate. Source: spec/platform.md; bit numbers from Linux' `msr-index.h`.
const ARCH_CAPABILITIES: u64 = 1 | 1 << 1 | 1 << 5 | 1 << 6 | 1 << 8 | 7 << 13 | 1 << 20 | 1 << 24 | 3 << 26 | 1 << 62;
/// Ten variable ranges, fixed ranges, write combining.
const MTRR_CAP: u64 = 10 | 1 << 8 | 1 << 10;
/// Four banks, MCG_CTL, CMCI. No error is ever signalled.
const MCG_CAP: u64 = 4 | 1 << 8 | 1 << 10;
/// Performance monitoring available; BTS and PEBS unavailable: all read-only.
const MISC_ENABLE_FIXED: u64 = 0x1880;
const PEBS_UNAVAILABLE: u64 = 1 << 12;
/// Turbo is disabled. Differs: the bit is kept and shown in leaf 6, the frequency stays.
pub(crate) const TURBO_DISABLE: u64 = 1 << 38;
const MISC_ENABLE_LEGAL: u64 = 0x44_00c5_0809 | MISC_ENABLE_FIXED;
/// No package C-states; locked, so not writable.
const PKG_CST_CONFIG: u64 = 1 << 15;
/// LBR BTF TR BTS BTINT BTS_OFF_OS BTS_OFF_USR FREEZE_LBRS_ON_PMI FREEZE_PERFMON_ON_PMI FREEZE_WHILE_SMM.
const DEBUGCTL_LEGAL: u64 = 0x5fc3;
const DEBUGCTL: u32 = 0x1d9;
/// Unverified: a revision as recent parts report; compare with a released microcode file.
const MICROCODE_REVISION: u64 = 0x2b00_0643;
const PHYSICAL: u64 = (1 << MAXPHYADDR) - 0x1000;

#[rustfmt::skip] // one register a row
const TABLE: &[Row] = &[
    row(0x10, 0x10, "IA32_TIME_STAMP_COUNTER", |c, _| Ok(c.show_tsc()), |c, _, v| { c.set_tsc(v); Ok(()) }),
    constant!(0x17, "IA32_PLATFORM_ID", 0),
    row(0x1b, 0x1b, "IA32_APIC_BASE", |c, _| Ok(c.lapic.base()), |c, _, v| c.lapic.set_base(v)),
    constant!(0x34, "MSR_SMI_COUNT", 0),
    row(0x35, 0x35, "MSR_CORE_THREAD_COUNT", |c, _| Ok(u64::from(c.cpu_count) * 0x1_0001), |_, _, _| Err(Refused)),
    row(0x3a, 0x3a, "IA32_FEATURE_CONTROL", |c, _| Ok(c.msr.feature_control), |_, _, _| Err(Refused)),
    row(0x3b, 0x3b, "IA32_TSC_ADJUST", |c, _| Ok(c.msr.tsc_adjust), |c, _, v| { c.set_tsc_adjust(v); Ok(()) }),
    // IBRS STIBP SSBD BHI_DIS_S.
    plain!(0x48, "IA32_SPEC_CTRL", spec_ctrl, 0x407),
    row(0x49, 0x49, "IA32_PRED_CMD", |_, _| Err(Refused), |c, _, v| predictor(c, v)),
    row(0x79, 0x79, "IA32_BIOS_UPDT_TRIG", |_, _| Err(Refused), |_, _, _| Ok(())),
    row(0x8b, 0x8b, "IA32_BIOS_SIGN_ID", |_, _| Ok(MICROCODE_REVISION << 32), |_, _, _| Ok(())),
    constant!(0xce, "MSR_PLATFORM_INFO", RATIO << 8 | RATIO << 40),
    // C0.2 disabled, and the most ticks of a wait.
    plain!(0xe1, "IA32_UMWAIT_CONTROL", umwait_control, 0xffff_fffd),
    constant!(0xe2, "MSR_PKG_CST_CONFIG_CONTROL", PKG_CST_CONFIG),
    row(0xe7, 0xe7, "IA32_MPERF", |c, _| Ok(c.feedback().mperf), |c, _, v| { c.msr.feedback = Feedback { mperf: v, ..c.feedback() }; Ok(()) }),
    row(0xe8, 0xe8, "IA32_APERF", |c, _| Ok(c.feedback().aperf), |c, _, v| { c.msr.feedback = Feedback { aperf: v, ..c.feedback() }; Ok(()) }),
    constant!(0xfe, "IA32_MTRRCAP", MTRR_CAP),
    constant!(0x10a, "IA32_ARCH_CAPABILITIES", ARCH_CAPABILITIES),
    row(0x10b, 0x10b, "IA32_FLUSH_CMD", |_, _| Err(Refused), |_, _, v| only(v, 1)),
    plain!(0x140, "MSR_MISC_FEATURES_ENABLES", misc_features, 0),
    plain!(0x174, "IA32_SYSENTER_CS", sysenter_cs, 0xffff_ffff),
    address!(0x175, "IA32_SYSENTER_ESP", sysenter_esp),
    address!(0x176, "IA32_SYSENTER_EIP", sysenter_eip),
    constant!(0x179, "IA32_MCG_CAP", MCG_CAP),
    plain!(0x17a, "IA32_MCG_STATUS", mcg_status, 7),
    plain!(0x17b, "IA32_MCG_CTL", mcg_ctl, u64::MAX),
    row(0x198, 0x198, "IA32_PERF_STATUS", |c, _| Ok(c.core_ratio() << 8), |_, _, _| Err(Refused)),
    plain!(0x199, "IA32_PERF_CTL", perf_ctl, 0x1_0000_ffff),
    row(0x1a0, 0x1a0, "IA32_MISC_ENABLE", |c, _| Ok(c.msr.misc_enable), Cpu::set_misc_enable),
    constant!(0x1a2, "MSR_TEMPERATURE_TARGET", 100 << 16),
    // The model prefetches nothing: all prefetchers are off.
    constant!(0x1a4, "MSR_MISC_FEATURE_CONTROL", 0xf),
    // Bit 8: performance states are the platform's business, so Linux' intel_pstate leaves them alone.
    constant!(0x1aa, "MSR_MISC_PWR_MGMT", 1 << 8),
    row(0x1ad, 0x1ad, "MSR_TURBO_RATIO_LIMIT", |c, _| Ok(c.core_ratio() * 0x0101_0101_0101_0101), |_, _, _| Err(Refused)),
    constant!(0x1ae, "MSR_TURBO_RATIO_LIMIT_CORES", 0x0807_0605_0403_0201),
    plain!(0x1b0, "IA32_ENERGY_PERF_BIAS", energy_perf_bias, 0xf),
    row(DEBUGCTL, DEBUGCTL, "IA32_DEBUGCTL", |c, _| Ok(c.msr.debugctl), Cpu::set_debugctl),
    plain!(0x1fc, "MSR_POWER_CTL", power_ctl, u64::MAX),
    row(0x200, 0x213, "IA32_MTRR_PHYSBASEn, IA32_MTRR_PHYSMASKn", variable_mtrr, set_variable_mtrr),
    row(0x250, 0x250, "IA32_MTRR_FIX64K_00000", fixed_mtrr, set_fixed_mtrr),
    row(0x258, 0x259, "IA32_MTRR_FIX16K_n", fixed_mtrr, set_fixed_mtrr),
    row(0x268, 0x26f, "IA32_MTRR_FIX4K_n", fixed_mtrr, set_fixed_mtrr),
    row(0x277, 0x277, "IA32_PAT", |c, _| Ok(c.msr.pat), |c, _, v| { memory_types(v, true)?; c.msr.pat = v; Ok(()) }),
    row(0x280, 0x283, "IA32_MCi_CTL2", |c, n| Ok(c.msr.mc_ctl2[(n & 3) as usize]), |c, n, v| set(&mut c.msr.mc_ctl2[(n & 3) as usize], v, 0x4000_7fff)),
    row(0x2ff, 0x2ff, "IA32_MTRR_DEF_TYPE", |c, _| Ok(c.msr.mtrr_def_type), |c, _, v| { memory_types(v & 0xff, false)?; set(&mut c.msr.mtrr_def_type, v, 0xcff) }),
    // What turbostat reads of Sapphire Rapids. Deep C-states do not exist, so no time is spent in them. Energy and
    // power limits are not modelled: nothing is ever consumed, and Linux' RAPL drivers take zero for absent.
    constant!(0x3fd, "MSR_CORE_C6_RESIDENCY", 0),
    row(0x400, 0x40f, "IA32_MCi_CTL, _STATUS, _ADDR, _MISC", machine_check, set_machine_check),
    // Units of 1/8 W, 2^-14 J and 2^-10 s; a thermal design power of 300 W.
    constant!(0x601, "MSR_VR_CURRENT_CONFIG", 0),
    constant!(0x606, "MSR_RAPL_POWER_UNIT", 0xa_0e03),
    constant!(0x60a, "MSR_PKGC3_IRTL", 0),
    constant!(0x60b, "MSR_PKGC6_IRTL", 0),
    constant!(0x60c, "MSR_PKGC7_IRTL", 0),
    constant!(0x610, "MSR_PKG_POWER_LIMIT", 0),
    constant!(0x611, "MSR_PKG_ENERGY_STATUS", 0),
    constant!(0x613, "MSR_PKG_PERF_STATUS", 0),
    constant!(0x614, "MSR_PKG_POWER_INFO", 300 * 8),
    constant!(0x618, "MSR_DRAM_POWER_LIMIT", 0),
    constant!(0x619, "MSR_DRAM_ENERGY_STATUS", 0),
    constant!(0x61b, "MSR_DRAM_PERF_STATUS", 0),
    constant!(0x61c, "MSR_DRAM_POWER_INFO", 0),
    // One configuration, the nominal one.
    constant!(0x648, "MSR_CONFIG_TDP_NOMINAL", RATIO),
    constant!(0x649, "MSR_CONFIG_TDP_LEVEL1", 0),
    constant!(0x64a, "MSR_CONFIG_TDP_LEVEL2", 0),
    constant!(0x64b, "MSR_CONFIG_TDP_CONTROL", 0),
    constant!(0x64c, "MSR_TURBO_ACTIVATION_RATIO", 0),
    row(0x6e0, 0x6e0, "IA32_TSC_DEADLINE", |c, _| { let clock = c.counts().clock; Ok(c.lapic.deadline(clock)) }, |c, _, v| { let clock = c.counts().clock; c.lapic.set_deadline(v, clock); Ok(()) }),
    row(0x800, 0x8ff, "IA32_X2APIC_n", Cpu::x2apic_read, Cpu::x2apic_write),
    row(0xda0, 0xda0, "IA32_XSS", |c, _| Ok(c.msr.xss), |c, _, v| { let legal = c.supervisor_components(); set(&mut c.msr.xss, v, legal) }),
    row(0xc000_0080, 0xc000_0080, "IA32_EFER", |c, _| Ok(c.efer), |c, _, v| c.set_efer(v).map_err(|_| Refused)),
    plain!(0xc000_0081, "IA32_STAR", star, u64::MAX),
    address!(0xc000_0082, "IA32_LSTAR", lstar),
    address!(0xc000_0083, "IA32_CSTAR", cstar),
    plain!(0xc000_0084, "IA32_FMASK", fmask, 0xffff_ffff),
    row(0xc000_0100, 0xc000_0100, "IA32_FS_BASE", |c, _| Ok(c.segment(Seg::Fs).base), |c, _, v| { c.set_base(Seg::Fs, canonical_only(v)?); Ok(()) }),
    row(0xc000_0101, 0xc000_0101, "IA32_GS_BASE", |c, _| Ok(c.segment(Seg::Gs).base), |c, _, v| { c.set_base(Seg::Gs, canonical_only(v)?); Ok(()) }),
    address!(0xc000_0102, "IA32_KERNEL_GS_BASE", kernel_gs_base),
    plain!(0xc000_0103, "IA32_TSC_AUX", tsc_aux, 0xffff_ffff),
];

#[rustfmt::skip] // one register a row
const ELSEWHERE: &[(u32, u32, &str)] = &[
    (0x33, 0x33, "MSR_MEMORY_CTRL"), (0x4e, 0x4e, "MSR_PPIN_CTL"), (0x4f, 0x4f, "MSR_PPIN"),
    (0xbd, 0xbd, "IA32_XAPIC_DISABLE_STATUS"), (0xc1, 0xc8, "IA32_PMCn"), (0xcf, 0xcf, "IA32_CORE_CAPABILITIES"),
    (0x122, 0x122, "IA32_TSX_CTRL"),
    (0x123, 0x123, "IA32_MCU_OPT_CTRL"), (0x150, 0x150, "MSR_OC_MAILBOX"), (0x17f, 0x17f, "MSR_ERROR_CONTROL"),
    (0x186, 0x18d, "IA32_PERFEVTSELn"), (0x19a, 0x19a, "IA32_CLOCK_MODULATION"), (0x19b, 0x19b, "IA32_THERM_INTERRUPT"),
    (0x19c, 0x19c, "IA32_THERM_STATUS"), (0x1a6, 0x1a7, "MSR_OFFCORE_RSP_n"),
    (0x1b1, 0x1b1, "IA32_PACKAGE_THERM_STATUS"), (0x1b2, 0x1b2, "IA32_PACKAGE_THERM_INTERRUPT"),
    (0x1c4, 0x1c4, "IA32_XFD"), (0x1c5, 0x1c5, "IA32_XFD_ERR"), (0x1c8, 0x1c8, "MSR_LBR_SELECT"),
    (0x1c9, 0x1c9, "MSR_LASTBRANCH_TOS"), (0x1dd, 0x1e0, "IA32_LER_n"), (0x309, 0x30c, "IA32_FIXED_CTRn"),
    (0x329, 0x329, "IA32_PERF_METRICS"), (0x345, 0x345, "IA32_PERF_CAPABILITIES"), (0x38d, 0x38d, "IA32_FIXED_CTR_CTRL"),
    (0x38e, 0x38e, "IA32_PERF_GLOBAL_STATUS"), (0x38f, 0x38f, "IA32_PERF_GLOBAL_CTRL"),
    (0x390, 0x390, "IA32_PERF_GLOBAL_STATUS_RESET"), (0x391, 0x391, "IA32_PERF_GLOBAL_STATUS_SET"),
    (0x392, 0x392, "IA32_PERF_GLOBAL_INUSE"), (0x3f1, 0x3f1, "IA32_PEBS_ENABLE"), (0x3f2, 0x3f2, "MSR_PEBS_DATA_CFG"),
    (0x3f6, 0x3f6, "MSR_PEBS_LD_LAT"), (0x3f7, 0x3f7, "MSR_PEBS_FRONTEND"), (0x480, 0x493, "IA32_VMX_n"),
    (0x4c1, 0x4c8, "IA32_A_PMCn"), (0x560, 0x571, "IA32_RTIT_n"), (0x600, 0x600, "IA32_DS_AREA"),
    (0x620, 0x621, "MSR_UNCORE_RATIO_n"), (0x639, 0x639, "MSR_PP0_ENERGY_STATUS"),
    (0x641, 0x641, "MSR_PP1_ENERGY_STATUS"), (0x64d, 0x64d, "MSR_PLATFORM_ENERGY_STATUS"),
    (0x6a0, 0x6a8, "IA32_CET_n"), (0x770, 0x777, "IA32_HWP_n"), (0x985, 0x98a, "IA32_UINTR_n"),
    (0xc80, 0xc80, "IA32_DEBUG_INTERFACE"), (0xc81, 0xd8f, "IA32_QOS_n"), (0xd90, 0xd90, "IA32_BNDCFGS"),
    (0x1200, 0x121f, "IA32_LBR_n_INFO"), (0x14ce, 0x14cf, "IA32_LBR_CTL, IA32_LBR_DEPTH"), (0x1500, 0x151f, "IA32_LBR_n_FROM_IP"),
    (0x1600, 0x161f, "IA32_LBR_n_TO_IP"), (0xc001_0000, 0xc001_ffff, "an AMD register"),
];

/// The SDM's name of an MSR, whether this machine has it or not.
pub fn name(msr: u32) -> Option<&'static str> {
    let elsewhere = || ELSEWHERE.iter().find(|e| (e.0..=e.1).contains(&msr)).map(|e| e.2);
    find(msr).map(|r| r.name).or_else(elsewhere)
}

/// The registers of the processor itself: first and last number and the SDM's name, in order.
pub fn rows() -> impl Iterator<Item = (u32, u32, &'static str)> {
    TABLE.iter().map(|r| (r.first, r.last, r.name))
}

fn find(msr: u32) -> Option<&'static Row> {
    let at = TABLE.partition_point(|r| r.last < msr);
    TABLE.get(at).filter(|r| r.first <= msr)
}

/// The registers at power-on.
pub(crate) fn at_power_on(features: Features) -> Msrs {
    Msrs {
        pat: 0x0007_0406_0007_0406,
        misc_enable: 1 | misc_enable_fixed(features),
        // Locked: firmware found nothing to enable.
        feature_control: 1,
        perf_ctl: RATIO << 8,
        mcg_ctl: u64::MAX,
        ..Msrs::default()
    }
}

impl Cpu {
    /// RDMSR.
    ///
    /// # Errors
    /// #GP(0): no such register, or not readable.
    pub fn read_msr(&mut self, msr: u32) -> Result<u64, Stop> {
        let read = match find(msr) {
            Some(row) => Some((row.read)(self, msr)),
            None => self.with_doors(|doors, now| doors.pmu().msr_read(msr, now)),
        };
        read.unwrap_or_else(|| self.refuse(msr, None)).map_err(|Refused| Stop::gp(0))
    }

    /// WRMSR.
    ///
    /// # Errors
    /// #GP(0): no such register, not writable, reserved bits set, or an address that is not canonical.
    pub fn write_msr(&mut self, msr: u32, v: u64) -> Result<(), Stop> {
        // A timer, the TSC or the APIC may have changed: the run loop computes its deadline anew.
        self.engine.look = true;
        let written = match find(msr) {
            Some(row) => Some((row.write)(self, msr, v)),
            None => self.with_doors(|doors, now| doors.pmu().msr_write(msr, v, now)),
        };
        // A monitor may want to hear from now on of accesses that were left out so far.
        self.tell_all();
        written.unwrap_or_else(|| self.refuse(msr, Some(v)).map(|_| ())).map_err(|Refused| Stop::gp(0))
    }

    #[cold]
    fn refuse(&mut self, msr: u32, written: Option<u64>) -> Result<u64, Refused> {
        let name = name(msr).unwrap_or("unknown");
        if self.refused_msrs.contains(&msr) {
            tracing::debug!(
                msr = format_args!("{msr:#x}"),
                name,
                ?written,
                rip = format_args!("{:#x}", self.rip),
                "#GP"
            );
        } else {
            self.refused_msrs.push(msr);
            tracing::info!(
                msr = format_args!("{msr:#x}"),
                name,
                ?written,
                rip = format_args!("{:#x}", self.rip),
                "#GP"
            );
        }
        Err(Refused)
    }

    /// The time-stamp counter.
    pub fn tsc(&self) -> u64 {
        self.counts().clock.wrapping_add(self.msr.tsc_adjust)
    }

    /// The time-stamp counter as a guest reads it: see [`Cpu::shown_clock`].
    pub(crate) fn show_tsc(&mut self) -> u64 {
        self.shown_clock = self.shown_clock.max(self.counts().clock);
        self.shown_clock.wrapping_add(self.msr.tsc_adjust)
    }

    /// Writes the TSC: TSC_ADJUST moves by as much. Source: SDM vol. 3B, 18.17.3.
    fn set_tsc(&mut self, v: u64) {
        let by = v.wrapping_sub(self.tsc());
        self.set_tsc_adjust(self.msr.tsc_adjust.wrapping_add(by));
    }

    fn set_tsc_adjust(&mut self, v: u64) {
        self.msr.tsc_adjust = v;
        self.lapic.set_tsc_offset(v);
    }

    /// Sets what the processor offers, before it runs: as far as what the board has behind the doors works. The MSRs
    /// take their values of power-on.
    pub fn offer(&mut self, features: Features) {
        self.features = features;
        self.msr = at_power_on(features);
        self.settled.pace = self.pace();
    }

    /// What the processor offers.
    pub fn offered(&self) -> Features {
        self.features
    }

    /// IA32_MPERF and IA32_APERF as of now.
    fn feedback(&self) -> Feedback {
        self.msr.feedback.at(self.counts().cycles, self.pace())
    }

    /// How fast the TSC goes beside the core.
    pub fn pace(&self) -> Pace {
        Pace::new(BASE_RATIO, self.features.core_ratio)
    }

    fn core_ratio(&self) -> u64 {
        u64::from(self.features.core_ratio)
    }

    fn set_misc_enable(&mut self, _: u32, v: u64) -> Result<(), Refused> {
        only(v, MISC_ENABLE_LEGAL)?;
        self.msr.misc_enable = v & !MISC_ENABLE_FIXED | misc_enable_fixed(self.features);
        Ok(())
    }

    /// The PMU is told as well: it freezes its counters. With architectural LBRs bit 0 (LBR) reads zero whatever is
    /// written. Source: the architectural LBR specification, as quoted in Xen's commit e904d8ae01a0.
    fn set_debugctl(&mut self, msr: u32, v: u64) -> Result<(), Refused> {
        let absent = u64::from(self.features.lbr);
        only(v, DEBUGCTL_LEGAL)?;
        self.msr.debugctl = v & !absent;
        let _ = self.with_doors(|doors, now| doors.pmu().msr_write(msr, v, now));
        Ok(())
    }

    fn x2apic_read(&mut self, msr: u32) -> Result<u64, Refused> {
        let clock = self.counts().clock;
        if self.lapic.is_x2apic() { self.lapic.read(msr - 0x800, clock) } else { Err(Refused) }
    }

    fn x2apic_write(&mut self, msr: u32, v: u64) -> Result<(), Refused> {
        if !self.lapic.is_x2apic() {
            return Err(Refused);
        }
        let clock = self.counts().clock;
        let signal = self.lapic.write(msr - 0x800, v, clock)?;
        self.send(signal);
        Ok(())
    }

    /// As firmware leaves a processor to an operating system: memory types (uncached from `hole` to 4 GiB, `hole` and
    /// the distance being powers of two) and the local APIC. For boot protocols that skip firmware.
    pub fn set_firmware_state(&mut self, hole: u32) {
        const WRITE_BACK: u64 = 0x0606_0606_0606_0606;
        const WRITE_PROTECTED: u64 = 0x0505_0505_0505_0505;
        self.msr.mtrr_def_type = 0xc06;
        self.msr.mtrr_fixed = [WRITE_PROTECTED; 11];
        self.msr.mtrr_fixed[..3].copy_from_slice(&[WRITE_BACK, WRITE_BACK, 0]);
        let bytes = (1 << 32) - u64::from(hole);
        self.msr.mtrr_base[0] = u64::from(hole);
        self.msr.mtrr_mask[0] = PHYSICAL & !(bytes - 1) | 1 << 11;
        self.lapic.set_firmware_state();
    }
}

/// IBPB: bit 0 flushes the indirect predictor.
fn predictor(c: &mut Cpu, v: u64) -> Result<(), Refused> {
    only(v, 1)?;
    if v == 1 {
        c.happened(Happening::FlushPredictor);
    }
    Ok(())
}

/// The read-only bits of IA32_MISC_ENABLE.
fn misc_enable_fixed(features: Features) -> u64 {
    MISC_ENABLE_FIXED & !if features.pebs { PEBS_UNAVAILABLE } else { 0 }
}

fn only(v: u64, legal: u64) -> Result<(), Refused> {
    if v & !legal == 0 { Ok(()) } else { Err(Refused) }
}

fn set(register: &mut u64, v: u64, legal: u64) -> Result<(), Refused> {
    only(v, legal)?;
    *register = v;
    Ok(())
}

fn canonical_only(v: u64) -> Result<u64, Refused> {
    if storable(v) { Ok(v) } else { Err(Refused) }
}

/// Are all eight bytes memory types: UC, WC, WT, WP, WB, and in the PAT also UC-?
fn memory_types(v: u64, pat: bool) -> Result<(), Refused> {
    let legal = |t: &u8| matches!(t, 0 | 1 | 4 | 5 | 6) || pat && *t == 7;
    if v.to_le_bytes().iter().all(legal) { Ok(()) } else { Err(Refused) }
}

fn variable_mtrr(c: &mut Cpu, msr: u32) -> Result<u64, Refused> {
    let n = (msr - 0x200) as usize / 2;
    Ok(if msr & 1 == 0 { c.msr.mtrr_base[n] } else { c.msr.mtrr_mask[n] })
}

fn set_variable_mtrr(c: &mut Cpu, msr: u32, v: u64) -> Result<(), Refused> {
    let n = (msr - 0x200) as usize / 2;
    if msr & 1 != 0 {
        return set(&mut c.msr.mtrr_mask[n], v, PHYSICAL | 1 << 11);
    }
    memory_types(v & 0xff, false)?;
    set(&mut c.msr.mtrr_base[n], v, PHYSICAL | 0xff)
}

/// Index of a fixed-range register.
const fn fixed(msr: u32) -> usize {
    match msr {
        0x250 => 0,
        0x258 => 1,
        0x259 => 2,
        _ => (msr & 7) as usize + 3,
    }
}

fn fixed_mtrr(c: &mut Cpu, msr: u32) -> Result<u64, Refused> {
    Ok(c.msr.mtrr_fixed[fixed(msr)])
}

fn set_fixed_mtrr(c: &mut Cpu, msr: u32, v: u64) -> Result<(), Refused> {
    memory_types(v, false)?;
    c.msr.mtrr_fixed[fixed(msr)] = v;
    Ok(())
}

/// Banks report no errors of their own; address and miscellaneous registers keep what software stores.
fn machine_check(c: &mut Cpu, msr: u32) -> Result<u64, Refused> {
    let bank = (msr >> 2 & 3) as usize;
    Ok(match msr & 3 {
        0 => c.msr.mc_ctl[bank],
        1 => 0,
        2 => c.msr.mc_addr[bank],
        _ => c.msr.mc_misc[bank],
    })
}

/// A control register takes all zeros or all ones (but for bits 0 and 10, which systems clear for old chipsets), a status
/// register zero.
///
/// Differs: the SDM has address and miscellaneous registers refuse ones; hypervisors, and the tests for them, store them.
fn set_machine_check(c: &mut Cpu, msr: u32, v: u64) -> Result<(), Refused> {
    let bank = (msr >> 2 & 3) as usize;
    match msr & 3 {
        0 if v != 0 && v | 0x401 != u64::MAX => return Err(Refused),
        0 => c.msr.mc_ctl[bank] = v,
        1 => return only(v, 0),
        2 => c.msr.mc_addr[bank] = v,
        _ => c.msr.mc_misc[bank] = v,
    }
    Ok(())
}

#[cfg(test)]
mod tests;
