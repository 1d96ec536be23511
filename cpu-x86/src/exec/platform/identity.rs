//! CPUID, MSRs, time-stamp and performance counters, random numbers, HLT, XCR0.
//!
//! Source: SDM vol. 2.

use crate::alu::{Width, flag};
use crate::door::Refused;
use crate::fault::{Done, Stop};
use crate::lapic::Signal;
use crate::save::is_xcr0;
use crate::state::{Activity, Cpu, cr0, cr4};
use iced_x86::{Instruction, Mnemonic};

const RAX: usize = 0;
const RCX: usize = 1;
const RDX: usize = 2;
const RBX: usize = 3;

impl Cpu {
    /// EDX:EAX := `v`, upper halves cleared.
    fn set_edx_eax(&mut self, v: u64) {
        self.regs[RAX] = v & 0xffff_ffff;
        self.regs[RDX] = v >> 32;
    }
    fn edx_eax(&self) -> u64 {
        self.regs[RDX] << 32 | self.regs[RAX] & 0xffff_ffff
    }

    /// Is the instruction barred to this CPL while CR4 bit `allowing` is as it is?
    fn is_barred(&self, barred_by_cr4: bool) -> bool {
        self.cr0 & cr0::PE != 0 && self.cpl != 0 && barred_by_cr4
    }

    /// Sends what a write to the local APIC sends out, and hands what the APIC holds for the processor on.
    pub(crate) fn send(&mut self, signal: Option<Signal>) {
        match signal {
            Some(Signal::Ipi(icr)) => self.with_doors(|doors, _| doors.send_ipi(icr)),
            Some(Signal::EndOfInterrupt(vector)) => self.with_doors(|doors, _| doors.end_of_interrupt(vector)),
            None => {}
        }
    }

    /// Reads the local APIC's register page.
    pub fn apic_read(&mut self, offset: u32) -> u32 {
        let clock = self.counts().clock;
        self.lapic.read_page(offset, clock)
    }

    /// Writes the local APIC's register page (4 bytes).
    pub fn apic_write(&mut self, offset: u32, v: u32) {
        let clock = self.counts().clock;
        let signal = self.lapic.write_page(offset, v, clock);
        self.send(signal);
    }
}

/// CPUID: EAX, EBX, ECX, EDX := leaf EAX, sub-leaf ECX.
pub fn cpuid(c: &mut Cpu, _: &Instruction) -> Done {
    let [a, b, cx, d] = c.cpuid(c.regs[RAX] as u32, c.regs[RCX] as u32);
    for (n, v) in [(RAX, a), (RBX, b), (RCX, cx), (RDX, d)] {
        c.regs[n] = u64::from(v);
    }
    Ok(())
}

/// RDMSR: EDX:EAX := MSR[ECX].
pub fn rdmsr(c: &mut Cpu, _: &Instruction) -> Done {
    c.require_ring_0()?;
    let v = c.read_msr(c.regs[RCX] as u32)?;
    c.set_edx_eax(v);
    Ok(())
}

/// WRMSR: MSR[ECX] := EDX:EAX.
pub fn wrmsr(c: &mut Cpu, _: &Instruction) -> Done {
    c.require_ring_0()?;
    c.write_msr(c.regs[RCX] as u32, c.edx_eax())
}

/// RDTSC: EDX:EAX := TSC.
pub fn rdtsc(c: &mut Cpu, _: &Instruction) -> Done {
    if c.is_barred(c.cr4 & cr4::TSD != 0) {
        return Err(Stop::gp(0));
    }
    let tsc = c.show_tsc();
    c.set_edx_eax(tsc);
    Ok(())
}

/// RDTSCP: as RDTSC, and ECX := IA32_TSC_AUX.
pub fn rdtscp(c: &mut Cpu, i: &Instruction) -> Done {
    rdtsc(c, i)?;
    c.regs[RCX] = c.msr.tsc_aux & 0xffff_ffff;
    Ok(())
}

/// RDPMC: EDX:EAX := the counter that ECX selects.
pub fn rdpmc(c: &mut Cpu, _: &Instruction) -> Done {
    if c.is_barred(c.cr4 & cr4::PCE == 0) {
        return Err(Stop::gp(0));
    }
    let selector = c.regs[RCX] as u32;
    let v = c.with_doors(|doors, now| doors.pmu().rdpmc(selector, now)).map_err(|Refused| Stop::gp(0))?;
    c.set_edx_eax(v);
    Ok(())
}

/// RDPID: register := IA32_TSC_AUX.
pub fn rdpid(c: &mut Cpu, i: &Instruction) -> Done {
    c.set_gpr(i.op0_register(), c.msr.tsc_aux & 0xffff_ffff);
    Ok(())
}

/// RDRAND, RDSEED: register := random; CF = 1, the other status flags 0.
pub fn rdrand(c: &mut Cpu, i: &Instruction) -> Done {
    let r = i.op0_register();
    let w = Width::of_bytes(r.size()).unwrap_or(Width::Q);
    let v = c.random.next();
    c.set_gpr(r, w.zx(v));
    c.set_status_flags(flag::CF);
    Ok(())
}

/// HLT: stop until an interrupt.
pub fn hlt(c: &mut Cpu, _: &Instruction) -> Done {
    c.require_ring_0()?;
    c.activity = Activity::Halted;
    Ok(())
}

/// XGETBV: EDX:EAX := XCR0, or with ECX = 1 the enabled components in use.
pub fn xgetbv(c: &mut Cpu, _: &Instruction) -> Done {
    if c.cr4 & cr4::OSXSAVE == 0 {
        return Err(Stop::UD);
    }
    let v = match c.regs[RCX] as u32 {
        0 => c.xcr0,
        1 => c.xcr0 & c.in_use(),
        _ => return Err(Stop::gp(0)),
    };
    c.set_edx_eax(v);
    Ok(())
}

/// XSETBV: XCR0 := EDX:EAX.
pub fn xsetbv(c: &mut Cpu, _: &Instruction) -> Done {
    if c.cr4 & cr4::OSXSAVE == 0 {
        return Err(Stop::UD);
    }
    c.require_ring_0()?;
    let v = c.edx_eax();
    if c.regs[RCX] as u32 != 0 || !is_xcr0(v) {
        return Err(Stop::gp(0));
    }
    c.xcr0 = v;
    Ok(())
}

/// RDPKRU: EAX := PKRU, EDX := 0; ECX must be 0.
pub fn rdpkru(c: &mut Cpu, _: &Instruction) -> Done {
    if c.cr4 & cr4::PKE == 0 {
        return Err(Stop::UD);
    }
    if c.regs[RCX] as u32 != 0 {
        return Err(Stop::gp(0));
    }
    c.set_edx_eax(c.pkru.into());
    Ok(())
}

/// WRPKRU: PKRU := EAX; ECX and EDX must be 0.
pub fn wrpkru(c: &mut Cpu, _: &Instruction) -> Done {
    if c.cr4 & cr4::PKE == 0 {
        return Err(Stop::UD);
    }
    if c.regs[RCX] as u32 != 0 || c.regs[RDX] as u32 != 0 {
        return Err(Stop::gp(0));
    }
    c.set_pkru(c.regs[RAX] as u32);
    Ok(())
}

/// STAC, CLAC: RFLAGS.AC := 1 or 0. #UD unless CPL is 0.
pub fn stac_clac(c: &mut Cpu, i: &Instruction) -> Done {
    if c.cpl != 0 {
        return Err(Stop::UD);
    }
    let ac = if i.mnemonic() == Mnemonic::Stac { flag::AC } else { 0 };
    c.system_flags = c.system_flags & !flag::AC | ac;
    Ok(())
}
