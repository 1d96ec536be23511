//! INVLPG and INVPCID: what is to be forgotten of translations.
//!
//! Source: SDM vol. 2A (INVLPG, INVPCID); vol. 3A, 4.10.4.

use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::operand::seg_of;
use crate::paging::storable;
use crate::state::{Cpu, cr4};
use iced_x86::Instruction;

/// Which cached translations to forget. The engine does it (`Cpu::invalidate`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidate {
    /// Those of the page that holds this linear address, for the current PCID, and global ones.
    Page(u64),
    /// Those of one linear address for one PCID, global ones excepted.
    PageOf {
        /// Process-context identifier.
        pcid: u16,
        /// Linear address.
        at: u64,
    },
    /// All of one PCID, global ones excepted.
    Pcid(u16),
    /// All, global ones included.
    AllGlobal,
    /// All, global ones excepted.
    AllButGlobal,
}

/// INVLPG: forget the page of the operand's address. A non-canonical address is no fault and does nothing; one that is
/// canonical with 57 bits always counts (Linux, arch/x86/kvm/x86.h).
pub fn invlpg(c: &mut Cpu, i: &Instruction) -> Done {
    c.require_ring_0()?;
    let (s, offset) = (seg_of(i.memory_segment()), c.offset(i));
    let base = if c.is_64bit() && !matches!(s, crate::Seg::Fs | crate::Seg::Gs) { 0 } else { c.segment(s).base };
    let at = base.wrapping_add(offset);
    let at = if c.is_64bit() { at } else { at & 0xffff_ffff };
    if storable(at) {
        c.invalidate(Invalidate::Page(at));
    }
    Ok(())
}

/// INVPCID: forget by type (first operand) and descriptor (PCID in bits 11:0, linear address in 127:64).
pub fn invpcid(c: &mut Cpu, i: &Instruction) -> Done {
    c.require_ring_0()?;
    let kind = c.gpr(i.op0_register());
    let from = c.address(i, 16, Access::Read)?;
    let mut b = [0; 16];
    c.load_bytes(from, &mut b)?;
    let v = u128::from_le_bytes(b);
    let (pcid, at) = (v as u64, (v >> 64) as u64);
    let no_such_pcid = pcid >> 12 != 0 || c.cr4 & cr4::PCIDE == 0 && pcid != 0;
    let what = match kind {
        0 if no_such_pcid || !storable(at) => return Err(Stop::gp(0)),
        1 if no_such_pcid => return Err(Stop::gp(0)),
        _ if pcid >> 12 != 0 => return Err(Stop::gp(0)),
        0 => Invalidate::PageOf { pcid: pcid as u16, at },
        1 => Invalidate::Pcid(pcid as u16),
        2 => Invalidate::AllGlobal,
        3 => Invalidate::AllButGlobal,
        _ => return Err(Stop::gp(0)),
    };
    c.invalidate(what);
    Ok(())
}
