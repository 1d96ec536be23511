//! IRET, IRETD, IRETQ: back from an interrupt in every mode. Source: SDM vol. 2, IRET; vol. 3A, 6.7.1 (NMI), 6.14.3.

use super::far::{code_8086, enter_outer, returned_code, returned_stack};
use crate::alu::{Width, flag};
use crate::fault::{Done, Stop};
use crate::segment::v86_segment;
use crate::stack::Stack;
use crate::state::{Cpu, Seg, cr4};
use iced_x86::{Instruction, Mnemonic};

/// Flags that IRET loads at any privilege.
const FREE: u64 = flag::STATUS | flag::TF | flag::DF | flag::NT | flag::RF | flag::AC | flag::ID;

/// IRET, IRETD, IRETQ. NMIs are let in again even if it faults.
pub(super) fn iret(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (bytes, w) = match i.mnemonic() {
        Mnemonic::Iret => (2, Width::W),
        Mnemonic::Iretd => (4, Width::D),
        _ => (8, Width::Q),
    };
    cpu.nmi_blocked = false;
    if !cpu.protected() {
        return iret_8086(cpu, bytes, w, FREE | flag::IF | flag::IOPL);
    }
    if cpu.v86() {
        return iret_v86(cpu, bytes, w);
    }
    if cpu.flags() & flag::NT != 0 {
        return if cpu.long_mode() { Err(Stop::gp(0)) } else { cpu.return_to_task() };
    }
    let mut stack = Stack::current(cpu);
    let offset = w.zx(stack.pop(cpu, bytes)?);
    let selector = stack.pop(cpu, bytes)? as u16;
    let flags = stack.pop(cpu, bytes)?;
    if flags & flag::VM != 0 && bytes == 4 && cpu.cpl == 0 && !cpu.long_mode() {
        return enter_v86(cpu, stack, offset, selector, flags);
    }
    iret_protected(cpu, stack, (offset, selector, flags), bytes)
}

/// The flags that IRET with slots of `bytes` at privilege `cpl` makes of `old` and the image.
fn returned_flags(cpu: &Cpu, image: u64, bytes: u32) -> u64 {
    let mut mask = FREE;
    if cpu.cpl <= cpu.iopl() {
        mask |= flag::IF;
    }
    if cpu.cpl == 0 {
        mask |= flag::IOPL | flag::VIF | flag::VIP;
    }
    if bytes == 2 {
        mask &= 0xffff;
    }
    cpu.flags() & !mask | image & mask
}

/// To the same or an outer privilege; from 64-bit code the stack is always popped.
fn iret_protected(cpu: &mut Cpu, mut stack: Stack, to: (u64, u16, u64), bytes: u32) -> Done {
    let (offset, selector, image) = to;
    let d = returned_code(cpu, selector, offset)?;
    let cpl = selector as u8 & 3;
    let flags = returned_flags(cpu, image, bytes);
    if cpl != cpu.cpl || cpu.is_64bit() {
        let pointer = stack.pop(cpu, bytes)?;
        let ss = stack.pop(cpu, bytes)? as u16;
        let ss = returned_stack(cpu, ss, cpl, &d)?;
        cpu.mark_accessed(&d)?;
        enter_outer(cpu, selector, &d, ss, pointer);
    } else {
        cpu.mark_accessed(&d)?;
        cpu.set_code(selector, &d, cpl);
        cpu.set_stack_pointer(cpu.regs[4].wrapping_add(u64::from(3 * bytes)));
    }
    cpu.set_flags(flags);
    cpu.next_rip = offset;
    Ok(())
}

/// From privilege 0 into virtual-8086 mode: pops ESP, SS, ES, DS, FS, GS besides.
fn enter_v86(cpu: &mut Cpu, mut stack: Stack, offset: u64, selector: u16, flags: u64) -> Done {
    if offset > 0xffff {
        return Err(Stop::gp(0));
    }
    let pointer = stack.pop(cpu, 4)?;
    let order = [Seg::Ss, Seg::Es, Seg::Ds, Seg::Fs, Seg::Gs];
    let mut selectors = [0; 5];
    for v in &mut selectors {
        *v = stack.pop(cpu, 4)? as u16;
    }
    let mask = FREE | flag::IF | flag::IOPL | flag::VIF | flag::VIP | flag::VM;
    cpu.set_flags(flags & mask);
    cpu.set_segment(Seg::Cs, v86_segment(selector));
    for (s, v) in order.into_iter().zip(selectors) {
        cpu.set_segment(s, v86_segment(v));
    }
    cpu.regs[4] = pointer;
    cpu.set_cpl(3);
    cpu.next_rip = offset;
    Ok(())
}

/// In real mode, or virtual-8086 mode with IOPL 3: pops IP, CS and the flags in `mask`.
fn iret_8086(cpu: &mut Cpu, bytes: u32, w: Width, mask: u64) -> Done {
    let mut stack = Stack::current(cpu);
    let offset = w.zx(stack.pop(cpu, bytes)?);
    let selector = stack.pop(cpu, bytes)? as u16;
    let image = stack.pop(cpu, bytes)?;
    let cs = code_8086(cpu, selector, offset)?;
    let mask = if bytes == 2 { mask & 0xffff } else { mask };
    cpu.set_flags(cpu.flags() & !mask | image & mask);
    cpu.regs[4] = stack.pointer();
    cpu.set_segment(Seg::Cs, cs);
    cpu.next_rip = offset;
    Ok(())
}

/// In virtual-8086 mode: with IOPL below 3 it needs VME and 16 bits, and then sets VIF for IF.
fn iret_v86(cpu: &mut Cpu, bytes: u32, w: Width) -> Done {
    if cpu.iopl() == 3 {
        return iret_8086(cpu, bytes, w, FREE | flag::IF);
    }
    if cpu.cr4 & cr4::VME == 0 || bytes != 2 {
        return Err(Stop::gp(0));
    }
    let mut stack = Stack::current(cpu);
    let offset = stack.pop(cpu, 2)?;
    let selector = stack.pop(cpu, 2)? as u16;
    let image = stack.pop(cpu, 2)?;
    if image & flag::TF != 0 || image & flag::IF != 0 && cpu.flags() & flag::VIP != 0 {
        return Err(Stop::gp(0));
    }
    let mask = FREE & 0xffff | flag::VIF;
    cpu.set_flags(cpu.flags() & !mask | (image & 0xffff | (image & flag::IF) << 10) & mask);
    cpu.regs[4] = stack.pointer();
    cpu.set_segment(Seg::Cs, v86_segment(selector));
    cpu.next_rip = offset;
    Ok(())
}
