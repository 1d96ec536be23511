//! What must hold before a vector instruction touches anything, and the passage from x87 to MMX.
//!
//! Source: SDM vol. 3A, 2.5 (CR0.EM, CR0.TS), 14.1 (CR4.OSFXSR), 14.5 (OSXSAVE, XCR0); vol. 2A, 2.4 (exception
//! classes); vol. 1, 9.5 (MMX and the x87 state).

use crate::fault::{Done, Stop};
use crate::state::Cpu;

const CR0_EM: u64 = 1 << 2;
const CR0_TS: u64 = 1 << 3;
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXSAVE: u64 = 1 << 18;
/// XCR0: SSE and AVX state enabled.
const XCR0_AVX: u64 = 6;
/// x87 status word: an unmasked exception is pending (error summary).
const SW_ES: u16 = 1 << 7;
/// x87 status word: TOP.
const SW_TOP: u16 = 7 << 11;

/// May an SSE instruction run?
///
/// # Errors
/// #UD if CR0.EM is set or CR4.OSFXSR clear; then #NM if CR0.TS is set.
#[inline]
pub fn check_sse(cpu: &Cpu) -> Done {
    if cpu.cr0 & CR0_EM != 0 || cpu.cr4 & CR4_OSFXSR == 0 {
        return Err(Stop::UD);
    }
    not_switched(cpu)
}

/// May a VEX-encoded instruction run?
///
/// # Errors
/// #UD in real or virtual-8086 mode, or if the system has not enabled the AVX state; then #NM if CR0.TS is set.
#[inline]
pub fn check_avx(cpu: &Cpu) -> Done {
    let enabled = cpu.cr4 & CR4_OSXSAVE != 0 && cpu.xcr0 & XCR0_AVX == XCR0_AVX;
    if !enabled || !cpu.protected() || cpu.v86() {
        return Err(Stop::UD);
    }
    not_switched(cpu)
}

/// May an MMX instruction run?
///
/// # Errors
/// #UD if CR0.EM is set; #NM if CR0.TS is set; #MF if an x87 exception is pending.
#[inline]
pub fn check_mmx(cpu: &Cpu) -> Done {
    if cpu.cr0 & CR0_EM != 0 {
        return Err(Stop::UD);
    }
    not_switched(cpu)?;
    // Differs: with CR0.NE clear the exception would leave by FERR# and IRQ 13.
    if cpu.fpu.sw & SW_ES != 0 { Err(Stop::MF) } else { Ok(()) }
}

#[inline]
fn not_switched(cpu: &Cpu) -> Done {
    if cpu.cr0 & CR0_TS != 0 { Err(Stop::NM) } else { Ok(()) }
}

/// What every MMX instruction but EMMS does to the x87 state: TOP is 0 and all registers are valid.
#[inline]
pub fn enter_mmx(cpu: &mut Cpu) {
    cpu.fpu.sw &= !SW_TOP;
    cpu.fpu.tag = 0;
}
