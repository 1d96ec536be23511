//! FXSAVE, FXRSTOR and the XSAVE family.
//!
//! Source: SDM vol. 1, 13.7 to 13.12; vol. 2.

use crate::door::Refused;
use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::save::{
    AVX, EXTENDED, Image, LBR, LBR_BYTES, LBR_COMPONENT, LEGACY_BYTES, MXCSR_INITIAL, SSE, SUPERVISOR, X87,
    compacted_bytes, components, lbr_offset, standard_bytes,
};
use crate::state::{Cpu, cr0, cr4};
use iced_x86::{Instruction, Mnemonic};

const XSTATE_BV: usize = LEGACY_BYTES as usize;
const XCOMP_BV: usize = XSTATE_BV + 8;
const COMPACTED: u64 = 1 << 63;

/// REX.W form: 64-bit instruction and data pointers.
fn is_wide(i: &Instruction) -> bool {
    use Mnemonic::{Fxrstor64, Fxsave64, Xrstor64, Xrstors64, Xsave64, Xsavec64, Xsaveopt64, Xsaves64};
    matches!(i.mnemonic(), Fxsave64 | Fxrstor64 | Xsave64 | Xsavec64 | Xsaveopt64 | Xsaves64 | Xrstor64 | Xrstors64)
}

impl Cpu {
    /// Linear address of an area of `bytes`, aligned.
    fn area(&mut self, i: &Instruction, bytes: u32, alignment: u64, access: Access) -> Result<u64, Stop> {
        let at = self.address(i, bytes, access)?;
        if at % alignment != 0 { Err(Stop::gp(0)) } else { Ok(at) }
    }

    fn check_xsave(&self, supervisor: bool) -> Done {
        if self.cr4 & cr4::OSXSAVE == 0 {
            Err(Stop::UD)
        } else if supervisor && self.cpl != 0 {
            Err(Stop::gp(0))
        } else if self.cr0 & cr0::TS != 0 {
            Err(Stop::NM)
        } else {
            Ok(())
        }
    }

    /// The requested-feature bitmap: EDX:EAX and what is enabled.
    fn requested(&self, supervisor: bool) -> u64 {
        let asked = self.regs[2] << 32 | self.regs[0] & 0xffff_ffff;
        asked & (self.xcr0 | if supervisor { self.msr.xss & SUPERVISOR } else { 0 })
    }

    /// Would storing component 15 to the compacted area at `to` fault? Its bit, if it is asked for and not in its initial
    /// configuration.
    ///
    /// # Errors
    /// What storing raises.
    fn probe_lbr(&mut self, to: u64, rfbm: u64) -> Result<u64, Stop> {
        if rfbm & LBR == 0 {
            return Ok(0);
        }
        self.probe(to.wrapping_add(lbr_offset(rfbm).into()), LBR_BYTES, Access::Write)?;
        Ok(if self.with_doors(|doors, _| doors.pmu().component_in_use(LBR_COMPONENT)) { LBR } else { 0 })
    }

    /// Stores component 15 to the compacted area at `to`, which was probed, if `which` has it.
    fn store_lbr(&mut self, to: u64, rfbm: u64, which: u64) -> Done {
        if which & LBR == 0 {
            return Ok(());
        }
        let mut records = [0; LBR_BYTES as usize];
        self.with_doors(|doors, _| doors.pmu().component_save(LBR_COMPONENT, &mut records));
        self.store_bytes(to.wrapping_add(lbr_offset(rfbm).into()), &records)
    }

    /// Loads component 15, if it is asked for, from the compacted area at `at`, or its initial configuration.
    ///
    /// # Errors
    /// #GP(0): the doors refuse it. What reading raises.
    fn restore_lbr(&mut self, rfbm: u64, at: u64, present: u64, format: u64) -> Done {
        if rfbm & LBR == 0 {
            return Ok(());
        }
        let mut records = [0; LBR_BYTES as usize];
        let there = present & LBR != 0;
        if there {
            self.load_bytes(at.wrapping_add(lbr_offset(format).into()), &mut records)?;
        }
        let from = there.then_some(&records[..]);
        self.with_doors(|doors, _| doors.pmu().component_restore(LBR_COMPONENT, from)).map_err(|Refused| Stop::gp(0))
    }

    /// Would storing to the area at `to` fault: legacy region, header, and the extended components of `which`?
    fn probe_area(&mut self, to: u64, which: u64, format: Option<u64>) -> Done {
        self.probe(to, EXTENDED, Access::Write)?;
        for (c, offset) in components(which, format) {
            self.probe(to.wrapping_add(offset.into()), c.bytes, Access::Write)?;
        }
        Ok(())
    }

    /// Stores the components `which` of the state at `to`, compacted to those in `format` if given; MXCSR if `mxcsr`.
    /// The area was probed.
    fn store_components(&mut self, to: u64, wide: bool, which: u64, format: Option<u64>, mxcsr: bool) -> Done {
        let mut a = self.image(wide);
        self.put_extended(&mut a, which);
        for (c, offset) in components(which, format) {
            let (at, bytes) = (c.offset as usize, self.component_bytes(&c) as usize);
            self.store_bytes(to.wrapping_add(offset.into()), &a.0[at..at + bytes])?;
        }
        let registers = self.vector_registers();
        let mut put = |at: usize, bytes: usize| self.store_bytes(to.wrapping_add(at as u64), &a.0[at..at + bytes]);
        if which & X87 != 0 {
            put(0, 24)?;
            put(32, 128)?;
        }
        if mxcsr {
            put(24, 8)?;
        }
        if which & SSE != 0 {
            put(160, 16 * registers)?;
        }
        Ok(())
    }
}

/// FXSAVE, FXSAVE64: x87 state, MXCSR and XMM registers.
pub fn fxsave(c: &mut Cpu, i: &Instruction) -> Done {
    if c.cr0 & (cr0::EM | cr0::TS) != 0 {
        return Err(Stop::NM);
    }
    let at = c.area(i, LEGACY_BYTES, 16, Access::Write)?;
    let a = c.image(is_wide(i));
    let bytes = 160 + 16 * c.vector_registers();
    c.probe(at, LEGACY_BYTES, Access::Write)?;
    c.store_bytes(at, &a.0[..bytes])
}

/// FXRSTOR, FXRSTOR64.
pub fn fxrstor(c: &mut Cpu, i: &Instruction) -> Done {
    if c.cr0 & (cr0::EM | cr0::TS) != 0 {
        return Err(Stop::NM);
    }
    let at = c.area(i, LEGACY_BYTES, 16, Access::Read)?;
    let mut a = Image::empty();
    c.load_bytes(at, &mut a.0[..LEGACY_BYTES as usize])?;
    let mxcsr = a.mxcsr()?;
    c.mxcsr = mxcsr;
    c.set_x87(Some(&a), is_wide(i));
    c.set_sse(Some(&a));
    Ok(())
}

/// XSAVE and XSAVEOPT (which skips components in their initial configuration), standard format.
fn save_standard(c: &mut Cpu, i: &Instruction, skip_initial: bool) -> Done {
    c.check_xsave(false)?;
    let rfbm = c.requested(false);
    let bytes = standard_bytes(rfbm);
    let at = c.area(i, bytes, 64, Access::Write)?;
    // The header is written too: a page that is not there faults as one to be written.
    c.probe_area(at, rfbm, None)?;
    let old = c.load(at.wrapping_add(XSTATE_BV as u64), 8)?;
    let in_use = c.in_use();
    let which = if skip_initial { rfbm & in_use } else { rfbm };
    c.store_components(at, is_wide(i), which, None, rfbm & (SSE | AVX) != 0)?;
    c.store(at.wrapping_add(XSTATE_BV as u64), 8, old & !rfbm | in_use & rfbm)
}

/// XSAVE.
pub fn xsave(c: &mut Cpu, i: &Instruction) -> Done {
    save_standard(c, i, false)
}

/// XSAVEOPT.
pub fn xsaveopt(c: &mut Cpu, i: &Instruction) -> Done {
    save_standard(c, i, true)
}

/// XSAVEC and XSAVES: compacted format, components in use only. MXCSR belongs to SSE.
fn save_compacted(c: &mut Cpu, i: &Instruction, supervisor: bool) -> Done {
    c.check_xsave(supervisor)?;
    let rfbm = c.requested(supervisor);
    let bytes = compacted_bytes(rfbm);
    let at = c.area(i, bytes, 64, Access::Write)?;
    c.probe_area(at, rfbm, Some(rfbm))?;
    let records = c.probe_lbr(at, rfbm)?;
    let mxcsr_in_use = if c.mxcsr != MXCSR_INITIAL { SSE } else { 0 };
    let which = rfbm & (c.in_use() | mxcsr_in_use);
    c.store_components(at, is_wide(i), which, Some(rfbm), which & SSE != 0)?;
    c.store_lbr(at, rfbm, records)?;
    c.store(at.wrapping_add(XSTATE_BV as u64), 8, which | records)?;
    c.store(at.wrapping_add(XCOMP_BV as u64), 8, rfbm | COMPACTED)
}

/// XSAVEC.
pub fn xsavec(c: &mut Cpu, i: &Instruction) -> Done {
    save_compacted(c, i, false)
}

/// XSAVES.
pub fn xsaves(c: &mut Cpu, i: &Instruction) -> Done {
    save_compacted(c, i, true)
}

/// XRSTOR and XRSTORS: either format (XRSTORS: compacted only); what is requested but not in the area is initialised.
fn restore(c: &mut Cpu, i: &Instruction, supervisor: bool) -> Done {
    c.check_xsave(supervisor)?;
    let (rfbm, enabled) = (c.requested(supervisor), c.xcr0 | if supervisor { c.msr.xss } else { 0 });
    let at = c.area(i, EXTENDED, 64, Access::Read)?;
    let mut a = Image::empty();
    c.load_bytes(at, &mut a.0[..EXTENDED as usize])?;
    let (present, format) = (a.u64(XSTATE_BV), a.u64(XCOMP_BV));
    let compacted = format & COMPACTED != 0;
    let rest = a.0[XCOMP_BV + 8..EXTENDED as usize].iter();
    let legal = if compacted {
        format & !(enabled | COMPACTED) == 0 && present & !format == 0 && rest.copied().all(|b| b == 0)
    } else {
        !supervisor && format == 0 && present & !enabled == 0 && rest.take(8).copied().all(|b| b == 0)
    };
    if !legal {
        return Err(Stop::gp(0));
    }
    for (part, offset) in components(rfbm & present, compacted.then_some(format)) {
        let (from, bytes) = (part.offset as usize, c.component_bytes(&part) as usize);
        c.load_bytes(at.wrapping_add(offset.into()), &mut a.0[from..from + bytes])?;
    }
    let mxcsr = if compacted {
        (rfbm & SSE != 0).then(|| if present & SSE != 0 { a.mxcsr() } else { Ok(MXCSR_INITIAL) }).transpose()?
    } else {
        (rfbm & (SSE | AVX) != 0).then(|| a.mxcsr()).transpose()?
    };
    c.restore_lbr(rfbm, at, present, format)?;
    c.mxcsr = mxcsr.unwrap_or(c.mxcsr);
    let from = |component: u64| (present & component != 0).then_some(&a);
    if rfbm & X87 != 0 {
        c.set_x87(from(X87), is_wide(i));
    }
    if rfbm & SSE != 0 {
        c.set_sse(from(SSE));
    }
    for (part, _) in components(rfbm, None) {
        c.set_extended(&part, from(part.bit));
    }
    Ok(())
}

/// XRSTOR.
pub fn xrstor(c: &mut Cpu, i: &Instruction) -> Done {
    restore(c, i, false)
}

/// XRSTORS.
pub fn xrstors(c: &mut Cpu, i: &Instruction) -> Done {
    restore(c, i, true)
}
