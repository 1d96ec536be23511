//! What a logical processor is made of.
//!
//! The hot part (registers, lazy flags, the countdown) comes first and is laid out for the engine; the rest is the
//! architectural state in the SDM's own groups. Source: SDM vol. 1, ch. 3; vol. 3A, ch. 2.

use crate::alu::flag;
pub(crate) use crate::control::{cr0, cr4, efer};
use crate::cpuid::Features;
use crate::door::{Counts, Doors};
use crate::engine::tlb::Context;
use crate::engine::{Engine, Hot, Spaces};
use crate::lapic::Lapic;
use crate::msr::Feedback;
use emu_core::{Ram, Random};
use softfp::F80;
use std::sync::Arc;

/// Segment registers, in encoding order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the mnemonics are the SDM's")]
pub enum Seg {
    Es = 0,
    Cs = 1,
    Ss = 2,
    Ds = 3,
    Fs = 4,
    Gs = 5,
}

/// A segment register with its hidden part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The visible selector.
    pub selector: u16,
    /// Linear base address.
    pub base: u64,
    /// Limit in bytes, granularity applied: the last valid offset (for expand-down: the last invalid one).
    pub limit: u32,
    /// Access rights, bits as in the descriptor's second doubleword shifted right by 8: type 3:0, S 4, DPL 6:5, P 7,
    /// AVL 12, L 13, D/B 14, G 15. Bit 16 set: unusable (a null selector was loaded).
    pub attr: u32,
}

impl Segment {
    /// Attribute bits, in place.
    pub const S: u32 = 1 << 4;
    #[allow(missing_docs, reason = "the mnemonics are the SDM's")]
    pub const P: u32 = 1 << 7;
    #[allow(missing_docs, reason = "the mnemonics are the SDM's")]
    pub const L: u32 = 1 << 13;
    #[allow(missing_docs, reason = "the mnemonics are the SDM's")]
    pub const DB: u32 = 1 << 14;
    #[allow(missing_docs, reason = "the mnemonics are the SDM's")]
    pub const G: u32 = 1 << 15;
    /// A null selector was loaded: any use faults.
    pub const UNUSABLE: u32 = 1 << 16;

    /// Descriptor privilege level.
    pub const fn dpl(&self) -> u8 {
        (self.attr >> 5) as u8 & 3
    }
    /// Type field (4 bits).
    pub const fn kind(&self) -> u8 {
        self.attr as u8 & 15
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Linear base.
    pub base: u64,
    /// Last valid byte offset.
    pub limit: u16,
}

/// A ZMM register; XMM and YMM are its low bytes. Little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct VecReg(pub [u8; 64]);

/// x87 and MMX state. MMi is the significand of physical register i.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fpu {
    /// Physical registers R0 to R7; ST(i) is `r[(top + i) & 7]`.
    pub r: [F80; 8],
    /// Control word.
    pub cw: u16,
    /// Status word; TOP in bits 13:11.
    pub sw: u16,
    /// Full tag word, two bits a physical register (11 = empty).
    pub tag: u16,
    /// Last non-control instruction's address, operand address, opcode and selectors.
    pub ip: u64,
    #[allow(missing_docs, reason = "see ip")]
    pub dp: u64,
    #[allow(missing_docs, reason = "see ip")]
    pub op: u16,
    #[allow(missing_docs, reason = "see ip")]
    pub cs: u16,
    #[allow(missing_docs, reason = "see ip")]
    pub ds: u16,
}

/// MSRs that are plain storage or used by one instruction; named as in the SDM without IA32_.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the SDM's")]
pub struct Msrs {
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub fmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub tsc_aux: u64,
    pub tsc_adjust: u64,
    pub pat: u64,
    pub misc_enable: u64,
    pub spec_ctrl: u64,
    pub xss: u64,
    pub debugctl: u64,
    pub umwait_control: u64,
    pub energy_perf_bias: u64,
    pub mtrr_def_type: u64,
    pub mtrr_fixed: [u64; 11],
    pub mtrr_base: [u64; 10],
    pub mtrr_mask: [u64; 10],
    pub mcg_status: u64,
    pub mc_ctl: [u64; 4],
    pub mc_addr: [u64; 4],
    pub mc_misc: [u64; 4],
    pub feature_control: u64,
    pub bios_sign_id: u64,
    pub misc_features: u64,
    pub perf_ctl: u64,
    pub mc_ctl2: [u64; 4],
    pub mcg_ctl: u64,
    pub power_ctl: u64,
    pub feedback: Feedback,
}

/// Indexes into [`Cpu::regs`] past the sixteen general registers.
pub mod cell {
    /// Always zero: an addressing form without base or index reads it.
    pub const ZERO: usize = 16;
    /// Linear address of the page of the running block (RIP-relative operands).
    pub const PAGE: usize = 17;
    /// Temporaries of an op sequence.
    pub const T0: usize = 18;
    #[allow(missing_docs, reason = "see T0")]
    pub const T1: usize = 19;
    /// The six segment bases, in encoding order: ES, CS, SS, DS, FS, GS.
    pub const SEG_BASE: usize = 24;
    /// How many cells there are.
    pub const COUNT: usize = 32;
}

/// Bits of [`Cpu::inhibit`] and [`Cpu::shadow`]. Source: SDM vol. 3A, 6.8.3; vol. 3C, table 25-3.
pub(crate) mod shadow {
    /// Blocking by STI: of maskable interrupts, and of NMI as Intel's processors do.
    pub const STI: u8 = 1;
    /// Blocking by MOV SS: of interrupts, NMI and debug traps.
    pub const MOV_SS: u8 = 2;
}

/// One logical processor.
#[repr(C)]
pub struct Cpu {
    /// RAX to R15, then the engine's cells (see `cell`).
    pub regs: [u64; cell::COUNT],
    /// Lazy status flags: first operand or result, second operand, and which formula (see `flags`).
    pub(crate) cc_a: u64,
    pub(crate) cc_b: u64,
    pub(crate) cc_op: u32,
    /// CPL.
    pub cpl: u8,
    /// RFLAGS without the status flags (those are lazy): use [`Cpu::flags`] and [`Cpu::set_flags`].
    pub(crate) system_flags: u64,
    /// Offset in CS of the instruction being executed; valid in every function of `exec` and between runs.
    pub rip: u64,
    /// Offset of the instruction after it. A control transfer assigns its target here.
    pub next_rip: u64,

    /// ES, CS, SS, DS, FS, GS. Bases are mirrored in `regs`: change a segment through [`Cpu::set_segment`].
    pub(crate) seg: [Segment; 6],
    /// Local descriptor table register.
    pub ldtr: Segment,
    /// Task register.
    pub tr: Segment,
    #[allow(missing_docs, reason = "the mnemonics are the SDM's")]
    pub gdtr: Table,
    #[allow(missing_docs, reason = "the mnemonics are the SDM's")]
    pub idtr: Table,
    /// CR0 to CR4: write through [`Cpu::set_cr`] only, which tells the engine.
    pub(crate) cr0: u64,
    pub(crate) cr2: u64,
    pub(crate) cr3: u64,
    pub(crate) cr4: u64,
    pub(crate) efer: u64,
    /// The four page-directory-pointer entries of PAE paging, loaded with CR3.
    pub(crate) pdpte: [u64; 4],
    /// XCR0.
    pub xcr0: u64,
    /// PKRU.
    pub pkru: u32,
    /// DR0 to DR7 (4 and 5 unused).
    pub dr: [u64; 8],
    /// MXCSR.
    pub mxcsr: u32,
    /// ZMM0 to ZMM31.
    pub vec: [VecReg; 32],
    /// K0 to K7.
    pub k: [u64; 8],
    /// x87 and MMX.
    pub fpu: Fpu,
    /// Plain MSRs.
    pub msr: Msrs,
    /// APIC number of this processor; 0 is the bootstrap processor.
    pub apic_id: u32,
    /// How many processors the machine has: CPUID's topology leaves tell.
    pub cpu_count: u32,
    /// What it offers besides what it always has: see [`Cpu::offer`].
    pub(crate) features: Features,
    /// The latest clock that a guest has read from its TSC. The board hands it from turn to turn, so that the TSC of a
    /// processor that is behind in its turn never shows less than another has shown.
    pub shown_clock: u64,
    /// The local APIC.
    pub lapic: Lapic,
    /// State of the generator behind RDRAND and RDSEED: a function of the seed and of how often it was asked.
    pub random: Random,
    /// MSRs that were asked for and are not there: each is logged once.
    pub(crate) refused_msrs: Vec<u32>,
    /// What has been retired, up to the last settling; [`Cpu::counts`] is exact at any instruction that may ask.
    pub(crate) settled: Counts,
    /// Is the processor running, halted, or waiting?
    pub activity: Activity,
    /// What the instruction that has just run holds off for the next one: [`shadow`] bits, set by STI and MOV SS.
    pub(crate) inhibit: u8,
    /// What is held off at this boundary: [`shadow`] bits, moved here from `inhibit` by [`Cpu::service`].
    pub(crate) shadow: u8,
    /// The instruction just run takes no single-step trap (MOV SS, and those that clear TF on their way).
    pub(crate) no_step: bool,
    /// The line that MONITOR or UMONITOR watches.
    pub(crate) armed: Option<crate::wait::Armed>,
    /// How MWAIT, UMWAIT or TPAUSE waits, while [`Activity::Halted`].
    pub(crate) wait: Option<crate::wait::Wait>,
    /// An NMI waits.
    pub(crate) nmi_pending: bool,
    /// NMIs wait until the next IRET.
    pub(crate) nmi_blocked: bool,
    /// Debug traps of the instruction just run, as bits of DR6.
    pub(crate) pending_debug: u64,
    /// An INIT signal waits.
    pub(crate) init_pending: bool,
    /// A start-up IPI that came in, with its vector.
    pub(crate) sipi: Option<u8>,
    /// Guest memory.
    pub(crate) ram: Arc<Ram>,
    /// What the handlers use.
    pub(crate) hot: Hot,
    /// The rest of the engine.
    pub(crate) engine: Engine,
    /// Address spaces, the one in force, and their TLB contexts.
    pub(crate) spaces: Spaces,
    pub(crate) space: usize,
    pub(crate) contexts: Vec<Context>,
    /// A context that holds nothing: in force while every access must be checked.
    pub(crate) nothing: Context,
    /// The doors of the current run.
    pub(crate) doors: Option<*mut (dyn Doors + 'static)>,
}

/// What the processor is doing. Source: SDM vol. 3A, 9.3 and vol. 3C, "Guest Non-Register State".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// Executing instructions.
    #[default]
    Active,
    /// In HLT, MWAIT, UMWAIT or TPAUSE: waits for an interrupt, NMI, INIT, or what the latter wait for.
    Halted,
    /// After a triple fault: only INIT, NMI or reset end it.
    Shutdown,
    /// After INIT on an application processor: only a start-up IPI ends it.
    WaitForSipi,
}

impl Cpu {
    /// A processor at power-on over `ram`; `apic_id` 0 is the bootstrap processor, others wait for a start-up IPI.
    pub fn new(ram: Arc<Ram>, apic_id: u32) -> Box<Cpu> {
        let mut cpu = Box::new(Cpu {
            regs: [0; cell::COUNT],
            cc_a: 0,
            cc_b: 0,
            cc_op: crate::flags::class::EXPLICIT * 4,
            cpl: 0,
            system_flags: 0,
            rip: 0,
            next_rip: 0,
            seg: [Segment::default(); 6],
            ldtr: Segment::default(),
            tr: Segment::default(),
            gdtr: Table::default(),
            idtr: Table::default(),
            cr0: 0,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            efer: 0,
            pdpte: [0; 4],
            xcr0: 1,
            pkru: 0,
            dr: [0; 8],
            mxcsr: 0x1f80,
            vec: [VecReg([0; 64]); 32],
            k: [0; 8],
            fpu: Fpu::default(),
            msr: crate::msr::at_power_on(Features::default()),
            apic_id,
            cpu_count: 1,
            features: Features::default(),
            shown_clock: 0,
            lapic: Lapic::new(apic_id),
            random: Random(apic_id.into()),
            refused_msrs: Vec::new(),
            settled: Counts::default(),
            activity: Activity::Active,
            inhibit: 0,
            shadow: 0,
            no_step: false,
            armed: None,
            wait: None,
            nmi_pending: false,
            nmi_blocked: false,
            pending_debug: 0,
            init_pending: false,
            sipi: None,
            ram: Arc::clone(&ram),
            hot: Hot::new(),
            engine: Engine::new(&ram, apic_id),
            spaces: Spaces::new(),
            space: 0,
            contexts: Spaces::contexts(),
            nothing: Context::new(),
            doors: None,
        });
        cpu.power_on();
        cpu
    }

    /// A processor in 64-bit mode at CPL 0 with paging off, so that linear addresses are physical: no hardware gets
    /// there; for tests that execute single instructions.
    #[doc(hidden)]
    pub fn bare_64bit(ram: Arc<Ram>) -> Box<Cpu> {
        let mut cpu = Cpu::new(ram, 0);
        cpu.cr0 = 0x11;
        cpu.efer = 1 << 10 | 1 << 8;
        for s in [Seg::Es, Seg::Cs, Seg::Ss, Seg::Ds, Seg::Fs, Seg::Gs] {
            let attr = if s == Seg::Cs { 0xa09b } else { 0xc093 };
            cpu.set_segment(s, Segment { selector: 8, base: 0, limit: u32::MAX, attr });
        }
        cpu
    }

    /// The status flags and all others: RFLAGS as PUSHF would see it (VM and RF included).
    pub fn flags(&self) -> u64 {
        self.system_flags | self.status_flags() | 2
    }

    /// Sets all of RFLAGS. The caller has applied the privilege rules.
    pub fn set_flags(&mut self, v: u64) {
        self.system_flags = v & !flag::STATUS;
        self.set_status_flags(v);
    }
    /// Sets a segment register with its hidden part; no checks.
    pub fn set_segment(&mut self, s: Seg, to: Segment) {
        self.seg[s as usize] = to;
        self.regs[cell::SEG_BASE + s as usize] = to.base;
    }
    /// Sets the base of FS or GS (WRFSBASE, WRMSR, SWAPGS); the caller has checked that it is canonical.
    pub fn set_base(&mut self, s: Seg, base: u64) {
        self.seg[s as usize].base = base;
        self.regs[cell::SEG_BASE + s as usize] = base;
    }
    /// In IA-32e mode (EFER.LMA)?
    pub fn long_mode(&self) -> bool {
        self.efer & 1 << 10 != 0
    }
    /// Protected mode or more (CR0.PE)?
    pub fn protected(&self) -> bool {
        self.cr0 & 1 != 0
    }
    /// Virtual-8086 mode (RFLAGS.VM)?
    pub fn v86(&self) -> bool {
        self.system_flags & flag::VM != 0
    }
    /// Executing 64-bit code?
    pub fn is_64bit(&self) -> bool {
        self.long_mode() && self.seg[Seg::Cs as usize].attr & Segment::L != 0
    }
    /// Default operand size of the code segment in bits: 16, 32 or 64.
    pub fn code_bits(&self) -> u32 {
        if self.is_64bit() {
            64
        } else if self.seg[Seg::Cs as usize].attr & Segment::DB != 0 {
            32
        } else {
            16
        }
    }
    /// Is a stack push 2, 4 or 8 bytes wide in SP, ESP or RSP? The mask of the stack pointer.
    pub fn stack_mask(&self) -> u64 {
        if self.is_64bit() {
            u64::MAX
        } else if self.seg[Seg::Ss as usize].attr & Segment::DB != 0 {
            0xffff_ffff
        } else {
            0xffff
        }
    }
    /// A segment register.
    pub fn segment(&self, s: Seg) -> &Segment {
        &self.seg[s as usize]
    }
}
