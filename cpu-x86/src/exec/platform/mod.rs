//! The instructions that make a processor a platform: identity, MSRs, time, random numbers, caches, state images.
//!
//! What this CPU identity does not offer (VMX, SMX, SGX, TSX, processor trace, CET, ENQCMD...) raises #UD here, by name.

mod cache;
mod identity;
mod tlb;
pub(crate) mod wait;
mod xsave;

use super::{Exec, Meaning};
use crate::fault::{Done, Stop};
use crate::state::Cpu;
use iced_x86::{Instruction, Mnemonic};
pub use tlb::Invalidate;

impl Cpu {
    /// # Errors
    /// #GP(0) unless CPL is 0.
    pub(crate) fn require_ring_0(&self) -> Done {
        if self.cpl == 0 { Ok(()) } else { Err(Stop::gp(0)) }
    }
}

/// #UD: the identity lacks it.
fn undefined(_: &mut Cpu, _: &Instruction) -> Done {
    Err(Stop::UD)
}

/// Orders memory: vCPUs interleave at instruction boundaries, so nothing is left to do.
fn fence(_: &mut Cpu, _: &Instruction) -> Done {
    Ok(())
}

/// The meaning of `i`, if it belongs to this group.
pub fn lookup(i: &Instruction) -> Option<Meaning> {
    use Mnemonic as M;
    let run: Exec = match i.mnemonic() {
        M::Cpuid => identity::cpuid,
        M::Rdmsr => identity::rdmsr,
        M::Wrmsr => identity::wrmsr,
        M::Rdtsc => identity::rdtsc,
        M::Rdtscp => identity::rdtscp,
        M::Rdpmc => identity::rdpmc,
        M::Rdpid => identity::rdpid,
        M::Rdrand | M::Rdseed => identity::rdrand,
        M::Hlt => identity::hlt,
        M::Xgetbv => identity::xgetbv,
        M::Xsetbv => identity::xsetbv,
        M::Stac | M::Clac => identity::stac_clac,
        M::Serialize => fence,
        M::Invlpg => tlb::invlpg,
        M::Invpcid => tlb::invpcid,
        M::Wrpkru => identity::wrpkru,
        M::Umwait => wait::umwait,
        M::Tpause => wait::tpause,
        M::Mwait => wait::mwait,
        M::Wbinvd | M::Wbnoinvd | M::Invd => cache::wbinvd,
        M::Fxrstor | M::Fxrstor64 => xsave::fxrstor,
        M::Xrstor | M::Xrstor64 => xsave::xrstor,
        M::Xrstors | M::Xrstors64 => xsave::xrstors,
        _ => return plain(i),
    };
    Meaning::ends(run)
}

/// Those that need not end a block, and those that raise #UD.
fn plain(i: &Instruction) -> Option<Meaning> {
    use Mnemonic as M;
    Meaning::plain(match i.mnemonic() {
        M::Mfence | M::Lfence | M::Sfence => fence,
        M::Clflush | M::Clflushopt | M::Clwb => cache::clflush,
        M::Cldemote => cache::cldemote,
        M::Movdiri => cache::movdiri,
        M::Movdir64b => cache::movdir64b,
        M::Fxsave | M::Fxsave64 => xsave::fxsave,
        M::Xsave | M::Xsave64 => xsave::xsave,
        M::Xsaveopt | M::Xsaveopt64 => xsave::xsaveopt,
        M::Xsavec | M::Xsavec64 => xsave::xsavec,
        M::Xsaves | M::Xsaves64 => xsave::xsaves,
        M::Rdpkru => identity::rdpkru,
        M::Monitor => wait::monitor,
        M::Umonitor => wait::umonitor,
        M::Monitorx | M::Mwaitx => undefined,
        M::Vmcall | M::Vmclear | M::Vmfunc | M::Vmlaunch | M::Vmptrld | M::Vmptrst | M::Vmread => undefined,
        M::Vmresume | M::Vmwrite | M::Vmxoff | M::Vmxon | M::Invept | M::Invvpid => undefined,
        M::Vmrun | M::Vmmcall | M::Vmload | M::Vmsave | M::Stgi | M::Clgi | M::Skinit | M::Invlpga => undefined,
        M::Getsec | M::Rsm | M::Encls | M::Enclu | M::Enclv | M::Pconfig | M::Enqcmd | M::Enqcmds => undefined,
        M::Xbegin | M::Xend | M::Xtest | M::Xabort | M::Xsusldtrk | M::Xresldtrk => undefined,
        M::Ptwrite | M::Hreset | M::Rdpru | M::Clzero | M::Invlpgb => undefined,
        M::Tlbsync | M::Clui | M::Stui | M::Testui | M::Senduipi | M::Uiret => undefined,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
