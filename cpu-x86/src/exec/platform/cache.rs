//! Cache control and direct stores. Caches hold nothing here that memory does not: control checks, and tells a monitor.
//!
//! Source: SDM vol. 2 (CLFLUSH, CLWB, CLDEMOTE, WBINVD, MOVDIRI, MOVDIR64B).

use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::monitor::Happening;
use crate::state::{Cpu, Seg};
use iced_x86::{Instruction, Mnemonic};

/// WBINVD, WBNOINVD, INVD.
pub fn wbinvd(c: &mut Cpu, _: &Instruction) -> Done {
    c.require_ring_0()?;
    c.happened(Happening::FlushLines);
    Ok(())
}

/// CLFLUSH, CLFLUSHOPT, CLWB: fault as a byte load does.
pub fn clflush(c: &mut Cpu, i: &Instruction) -> Done {
    let at = c.address(i, 1, Access::Read)?;
    c.probe(at, 1, Access::Read)?;
    if i.mnemonic() != Mnemonic::Clwb {
        c.flushed(at);
    }
    Ok(())
}

/// CLDEMOTE: a hint that faults never.
pub fn cldemote(_: &mut Cpu, _: &Instruction) -> Done {
    Ok(())
}

/// MOVDIRI: a store of 4 or 8 bytes.
pub fn movdiri(c: &mut Cpu, i: &Instruction) -> Done {
    let v = c.gpr(i.op1_register());
    c.write(i, 0, v)
}

/// MOVDIR64B: 64 bytes from memory to ES:[register], 64-byte aligned.
pub fn movdir64b(c: &mut Cpu, i: &Instruction) -> Done {
    let from = c.address(i, 64, Access::Read)?;
    let to = c.linear(Seg::Es, c.gpr(i.op0_register()), 64, Access::Write)?;
    if to % 64 != 0 {
        return Err(Stop::gp(0));
    }
    let mut b = [0; 64];
    c.load_bytes(from, &mut b)?;
    c.store_bytes(to, &b)
}
