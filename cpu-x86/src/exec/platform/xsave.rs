//! FXSAVE, FXRSTOR and the XSAVE family.
//!
//! Source: SDM vol. 1, 13.7 to 13.12; vol. 2.

use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::save::{
    AVX, AVX_BYTES, AVX_OFFSET, Image, LEGACY_BYTES, MXCSR_INITIAL, SSE, SUPERVISOR, X87, standard_bytes,
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

    /// Stores the components `which` of `a` at `to`; MXCSR if `mxcsr`. The area was probed.
    fn store_components(&mut self, to: u64, a: &Image, which: u64, mxcsr: bool) -> Done {
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
        if which & AVX != 0 {
            put(AVX_OFFSET as usize, 16 * registers)?;
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
    c.probe(at, bytes, Access::Write)?;
    let old = c.load(at.wrapping_add(XSTATE_BV as u64), 8)?;
    let (a, in_use) = (c.image(is_wide(i)), c.in_use());
    let which = if skip_initial { rfbm & in_use } else { rfbm };
    c.store_components(at, &a, which, rfbm & (SSE | AVX) != 0)?;
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
    let bytes = standard_bytes(rfbm);
    let at = c.area(i, bytes, 64, Access::Write)?;
    c.probe(at, bytes, Access::Write)?;
    let mxcsr_in_use = if c.mxcsr != MXCSR_INITIAL { SSE } else { 0 };
    let (a, which) = (c.image(is_wide(i)), rfbm & (c.in_use() | mxcsr_in_use));
    c.store_components(at, &a, which, which & SSE != 0)?;
    c.store(at.wrapping_add(XSTATE_BV as u64), 8, which)?;
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
    let (rfbm, enabled) = (c.requested(supervisor), c.xcr0);
    let at = c.area(i, LEGACY_BYTES + 64, 64, Access::Read)?;
    let mut a = Image::empty();
    c.load_bytes(at, &mut a.0[..AVX_OFFSET as usize])?;
    let (present, format) = (a.u64(XSTATE_BV), a.u64(XCOMP_BV));
    let compacted = format & COMPACTED != 0;
    let rest = a.0[XCOMP_BV + 8..AVX_OFFSET as usize].iter();
    let legal = if compacted {
        format & !(enabled | COMPACTED) == 0 && present & !format == 0 && rest.copied().all(|b| b == 0)
    } else {
        !supervisor && format == 0 && present & !enabled == 0 && rest.take(8).copied().all(|b| b == 0)
    };
    if !legal {
        return Err(Stop::gp(0));
    }
    if rfbm & present & AVX != 0 {
        let from = at.wrapping_add(u64::from(AVX_OFFSET));
        c.load_bytes(from, &mut a.0[AVX_OFFSET as usize..(AVX_OFFSET + AVX_BYTES) as usize])?;
    }
    let mxcsr = if compacted {
        (rfbm & SSE != 0).then(|| if present & SSE != 0 { a.mxcsr() } else { Ok(MXCSR_INITIAL) }).transpose()?
    } else {
        (rfbm & (SSE | AVX) != 0).then(|| a.mxcsr()).transpose()?
    };
    c.mxcsr = mxcsr.unwrap_or(c.mxcsr);
    let from = |component: u64| (present & component != 0).then_some(&a);
    if rfbm & X87 != 0 {
        c.set_x87(from(X87), is_wide(i));
    }
    if rfbm & SSE != 0 {
        c.set_sse(from(SSE));
    }
    if rfbm & AVX != 0 {
        c.set_avx(from(AVX));
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
