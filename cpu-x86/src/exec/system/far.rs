//! Far JMP, CALL and RET between code segments; gates and tasks are in `gate`. Source: SDM vol. 2, JMP, CALL, RET;
//! vol. 3A, 5.8.

use super::gate;
use super::segment::far_pointer;
use crate::alu::Width;
use crate::fault::{Done, Stop};
use crate::segment::{Descriptor, code, is_null, null_segment, v86_segment};
use crate::stack::Stack;
use crate::state::{Cpu, Seg, Segment};
use iced_x86::{Code, Instruction, OpKind};

/// A far target and the operand size in bytes.
pub(super) struct Target {
    pub selector: u16,
    pub offset: u64,
    pub bytes: u32,
}

/// The far pointer of a JMP or CALL, immediate or in memory.
fn target(cpu: &mut Cpu, i: &Instruction) -> Result<Target, Stop> {
    match i.op0_kind() {
        OpKind::FarBranch16 => {
            Ok(Target { selector: i.far_branch_selector(), offset: u64::from(i.far_branch16()), bytes: 2 })
        }
        OpKind::FarBranch32 => {
            Ok(Target { selector: i.far_branch_selector(), offset: u64::from(i.far_branch32()), bytes: 4 })
        }
        _ => {
            let bytes = match i.code() {
                Code::Jmp_m1616 | Code::Call_m1616 => 2,
                Code::Jmp_m1632 | Code::Call_m1632 => 4,
                _ => 8,
            };
            let (selector, offset) = far_pointer(cpu, i, bytes)?;
            Ok(Target { selector, offset, bytes })
        }
    }
}

/// Is CS loaded without a descriptor?
pub(super) fn is_8086(cpu: &Cpu) -> bool {
    !cpu.protected() || cpu.v86()
}

/// What CS becomes in real or virtual-8086 mode, where `offset` must be within it.
pub(super) fn code_8086(cpu: &Cpu, selector: u16, offset: u64) -> Result<Segment, Stop> {
    let cs = if cpu.v86() { v86_segment(selector) } else { cpu.real_segment(Seg::Cs, selector) };
    if offset > u64::from(cs.limit) { Err(Stop::gp(0)) } else { Ok(cs) }
}

/// The code segment of a direct far JMP or CALL, all but the offset checked.
fn direct(cpu: &Cpu, d: &Descriptor, selector: u16) -> Done {
    let rpl = selector as u8 & 3;
    let privileged = if d.is_conforming() { d.dpl() <= cpu.cpl } else { rpl <= cpu.cpl && d.dpl() == cpu.cpl };
    if !d.is_code() || !privileged || cpu.long_mode() && d.is_long() && d.is_big() {
        return Err(Stop::gp(code(selector, 0)));
    }
    if d.is_present() { Ok(()) } else { Err(Stop::np(code(selector, 0))) }
}

/// JMP far.
pub(super) fn jmp(cpu: &mut Cpu, i: &Instruction) -> Done {
    let to = target(cpu, i)?;
    if is_8086(cpu) {
        let cs = code_8086(cpu, to.selector, to.offset)?;
        cpu.set_segment(Seg::Cs, cs);
        cpu.next_rip = to.offset;
        return Ok(());
    }
    let d = cpu.descriptor(to.selector, 0, Stop::gp)?;
    if d.is_system() {
        return gate::jmp(cpu, &d, to.selector);
    }
    direct(cpu, &d, to.selector)?;
    if !cpu.can_enter(&d, to.offset) {
        return Err(Stop::gp(0));
    }
    cpu.mark_accessed(&d)?;
    cpu.set_code(to.selector, &d, cpu.cpl);
    cpu.next_rip = to.offset;
    Ok(())
}

/// CALL far: pushes CS and the return offset in slots of the operand size.
pub(super) fn call(cpu: &mut Cpu, i: &Instruction) -> Done {
    let to = target(cpu, i)?;
    if is_8086(cpu) {
        let cs = code_8086(cpu, to.selector, to.offset)?;
        push_return(cpu, Stack::current(cpu), to.bytes)?;
        cpu.set_segment(Seg::Cs, cs);
        cpu.next_rip = to.offset;
        return Ok(());
    }
    let d = cpu.descriptor(to.selector, 0, Stop::gp)?;
    if d.is_system() {
        return gate::call(cpu, &d, to.selector);
    }
    direct(cpu, &d, to.selector)?;
    if !cpu.can_enter(&d, to.offset) {
        return Err(Stop::gp(0));
    }
    cpu.mark_accessed(&d)?;
    push_return(cpu, target_stack(cpu, &d), to.bytes)?;
    cpu.set_code(to.selector, &d, cpu.cpl);
    cpu.next_rip = to.offset;
    Ok(())
}

/// The stack in use as code of segment `d` sees it: a CALL between 64-bit and other code pushes on that.
/// Source: Bochs, cpu/call_far.cc, `call_protected` and `call_gate64`; AMD's processors do the same (compared natively).
pub(super) fn target_stack(cpu: &Cpu, d: &Descriptor) -> Stack {
    let (ss, fault) = (*cpu.segment(Seg::Ss), Stop::ss(0));
    if cpu.long_mode() && d.is_long() {
        Stack::new(cpu, ss, cpu.regs[4], u64::MAX, cpu.cpl, fault)
    } else {
        Stack::inner(cpu, ss, cpu.regs[4], cpu.cpl, fault)
    }
}

/// Pushes CS and the offset of the next instruction on `stack`; nothing after this may fail.
pub(super) fn push_return(cpu: &mut Cpu, mut stack: Stack, bytes: u32) -> Done {
    stack.push(bytes, u64::from(cpu.segment(Seg::Cs).selector))?;
    stack.push(bytes, cpu.next_rip)?;
    stack.commit(cpu)?;
    cpu.regs[4] = stack.pointer();
    Ok(())
}

/// RET far: pops the offset, CS and, going outward, the outer stack; then releases its immediate's bytes.
pub(super) fn ret(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (bytes, w) = match i.code() {
        Code::Retfw | Code::Retfw_imm16 => (2, Width::W),
        Code::Retfd | Code::Retfd_imm16 => (4, Width::D),
        _ => (8, Width::Q),
    };
    let release = if i.op_count() == 1 { u64::from(i.immediate16()) } else { 0 };
    let mut stack = Stack::current(cpu);
    let offset = w.zx(stack.pop(cpu, bytes)?);
    let selector = stack.pop(cpu, bytes)? as u16;
    if is_8086(cpu) {
        let cs = code_8086(cpu, selector, offset)?;
        stack.skip(release);
        cpu.regs[4] = stack.pointer();
        cpu.set_segment(Seg::Cs, cs);
        cpu.next_rip = offset;
        return Ok(());
    }
    let d = returned_code(cpu, selector, offset)?;
    let cpl = selector as u8 & 3;
    if cpl == cpu.cpl {
        cpu.mark_accessed(&d)?;
        cpu.set_code(selector, &d, cpl);
        // All of it moves the stack pointer as the code returned to sees it (Bochs, cpu/ret_far.cc; compared natively).
        cpu.set_stack_pointer(cpu.regs[4].wrapping_add(u64::from(2 * bytes) + release));
    } else {
        stack.skip(release);
        let pointer = stack.pop(cpu, bytes)?;
        let ss = stack.pop(cpu, bytes)? as u16;
        let ss = returned_stack(cpu, ss, cpl, &d)?;
        cpu.mark_accessed(&d)?;
        enter_outer(cpu, selector, &d, ss, pointer);
        cpu.set_stack_pointer(cpu.regs[4].wrapping_add(release));
    }
    cpu.next_rip = offset;
    Ok(())
}

/// The code segment that RET or IRET returns to at `offset`.
///
/// # Errors
/// #GP(selector) for anything but code of the right privilege, or an inner one; #NP; #GP(0) for the offset.
pub(super) fn returned_code(cpu: &mut Cpu, selector: u16, offset: u64) -> Result<Descriptor, Stop> {
    let fault = Stop::gp(code(selector, 0));
    let d = cpu.descriptor(selector, 0, Stop::gp)?;
    let rpl = selector as u8 & 3;
    let privileged = if d.is_conforming() { d.dpl() <= rpl } else { d.dpl() == rpl };
    if !d.is_code() || rpl < cpu.cpl || !privileged || cpu.long_mode() && d.is_long() && d.is_big() {
        return Err(fault);
    }
    if !d.is_present() {
        return Err(Stop::np(code(selector, 0)));
    }
    if cpu.long_mode() && d.is_long() && !cpu.canonical(offset) || !cpu.can_enter(&d, offset) {
        return Err(Stop::gp(0));
    }
    Ok(d)
}

/// The stack segment that RET or IRET returns to at privilege `cpl` with code `d`; null is allowed for 64-bit code below
/// privilege 3.
pub(super) fn returned_stack(cpu: &mut Cpu, selector: u16, cpl: u8, d: &Descriptor) -> Result<Segment, Stop> {
    if is_null(selector) && cpu.long_mode() && d.is_long() && cpl != 3 && selector as u8 & 3 == cpl {
        return Ok(null_segment(selector, cpl));
    }
    cpu.checked_stack(selector, cpl, 0, Stop::gp)
}

/// Loads CS, SS and the stack pointer of an outer privilege; data segments that it may not use become null.
pub(super) fn enter_outer(cpu: &mut Cpu, selector: u16, d: &Descriptor, ss: Segment, pointer: u64) {
    let outward = selector as u8 & 3 > cpu.cpl;
    cpu.set_code(selector, d, selector as u8 & 3);
    cpu.set_segment(Seg::Ss, ss);
    cpu.set_stack_pointer(pointer);
    if outward {
        cpu.drop_inner_segments();
    }
}
