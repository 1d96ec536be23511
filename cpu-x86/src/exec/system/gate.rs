//! Far JMP and CALL through call gates, task gates and task state segments. Source: SDM vol. 3A, 5.8.3 to 5.8.6, 8.3.

use super::far::{push_return, target_stack};
use crate::alu::flag;
use crate::fault::{Done, Stop};
use crate::segment::{Descriptor, code, is_null, kind, null_segment};
use crate::stack::Stack;
use crate::state::{Cpu, Seg, Segment};
use crate::task::Cause;

/// JMP whose selector names the system descriptor `d`.
pub(super) fn jmp(cpu: &mut Cpu, d: &Descriptor, selector: u16) -> Done {
    let Some(gate) = call_gate(cpu, d, selector, Cause::Jump)? else { return Ok(()) };
    let target = gate_target(cpu, &gate)?;
    if !target.is_conforming() && target.dpl() != cpu.cpl {
        return Err(Stop::gp(code(gate.gate_selector(), 0)));
    }
    let to = entry(cpu, &gate, &target)?;
    cpu.mark_accessed(&target)?;
    cpu.set_code(gate.gate_selector(), &target, cpu.cpl);
    cpu.next_rip = to;
    Ok(())
}

/// CALL whose selector names the system descriptor `d`.
pub(super) fn call(cpu: &mut Cpu, d: &Descriptor, selector: u16) -> Done {
    let Some(gate) = call_gate(cpu, d, selector, Cause::Call)? else { return Ok(()) };
    let target = gate_target(cpu, &gate)?;
    let to = entry(cpu, &gate, &target)?;
    let bytes = slot_bytes(cpu, &gate);
    if target.is_conforming() || target.dpl() == cpu.cpl {
        cpu.mark_accessed(&target)?;
        push_return(cpu, target_stack(cpu, &target), bytes)?;
        cpu.set_code(gate.gate_selector(), &target, cpu.cpl);
    } else {
        call_inward(cpu, &gate, &target, bytes)?;
    }
    cpu.next_rip = to;
    Ok(())
}

/// Sorts out system descriptor `d`: a call gate, checked and widened; or a task, which has then been switched to.
fn call_gate(cpu: &mut Cpu, d: &Descriptor, selector: u16, cause: Cause) -> Result<Option<Descriptor>, Stop> {
    let fault = Stop::gp(code(selector, 0));
    let long = cpu.long_mode();
    let privileged = d.dpl() >= cpu.cpl.max(selector as u8 & 3);
    let (back, flags) = (cpu.next_rip, cpu.flags() & !flag::RF);
    match d.kind() {
        kind::CALL32 => {}
        kind::CALL16 | kind::TASK | kind::TSS16 | kind::TSS32 if !long => {}
        _ => return Err(fault),
    }
    if !privileged {
        return Err(fault);
    }
    match d.kind() {
        kind::TSS16 | kind::TSS32 => {
            if selector & 4 != 0 {
                return Err(fault);
            }
            cpu.switch_task(selector, d, cause, 0, back, flags)?;
            Ok(None)
        }
        _ if !d.is_present() => Err(Stop::np(code(selector, 0))),
        kind::TASK => {
            cpu.switch_through(d.gate_selector(), cause, 0, back, flags)?;
            Ok(None)
        }
        _ => cpu.widen(*d, selector, Stop::gp).map(Some),
    }
}

/// The code segment that call gate `gate` leads to.
fn gate_target(cpu: &mut Cpu, gate: &Descriptor) -> Result<Descriptor, Stop> {
    let selector = gate.gate_selector();
    if is_null(selector) {
        return Err(Stop::gp(0));
    }
    let d = cpu.descriptor(selector, 0, Stop::gp)?;
    let wrong_mode = cpu.long_mode() && (!d.is_long() || d.is_big());
    if !d.is_code() || d.dpl() > cpu.cpl || wrong_mode {
        return Err(Stop::gp(code(selector, 0)));
    }
    if d.is_present() { Ok(d) } else { Err(Stop::np(code(selector, 0))) }
}

/// Offset of the entry point, cut for a 16-bit gate.
fn entry(cpu: &Cpu, gate: &Descriptor, target: &Descriptor) -> Result<u64, Stop> {
    let wide = gate.kind() == kind::CALL32;
    let to = if wide { gate.gate_offset() } else { gate.gate_offset() & 0xffff };
    if cpu.can_enter(target, to) { Ok(to) } else { Err(Stop::gp(0)) }
}

/// Bytes that each push through `gate` takes.
fn slot_bytes(cpu: &Cpu, gate: &Descriptor) -> u32 {
    match gate.kind() {
        kind::CALL32 if cpu.long_mode() => 8,
        kind::CALL32 => 4,
        _ => 2,
    }
}

/// CALL to a more privileged segment: onto the stack of its privilege go SS, the stack pointer, the parameters that the
/// gate asks to copy, CS and the return offset.
fn call_inward(cpu: &mut Cpu, gate: &Descriptor, target: &Descriptor, bytes: u32) -> Done {
    let cpl = target.dpl();
    let long = cpu.long_mode();
    let mut stack = if long {
        let pointer = cpu.task_stack64(u64::from(cpl) * 8 + 4, 0)?;
        Stack::new(cpu, Segment::default(), pointer, u64::MAX, cpl, Stop::ss(0))
    } else {
        cpu.inner_stack(cpl, 0)?
    };
    stack.push(bytes, u64::from(cpu.segment(Seg::Ss).selector))?;
    stack.push(bytes, cpu.regs[4])?;
    let count = if long { 0 } else { (gate.raw >> 32 & 31) as usize };
    let mut parameters = [0; 31];
    let mut outer = Stack::current(cpu);
    for v in &mut parameters[..count] {
        *v = outer.pop(cpu, bytes)?;
    }
    for &v in parameters[..count].iter().rev() {
        stack.push(bytes, v)?;
    }
    stack.push(bytes, u64::from(cpu.segment(Seg::Cs).selector))?;
    stack.push(bytes, cpu.next_rip)?;
    cpu.mark_accessed(target)?;
    stack.commit(cpu)?;
    let ss = if long { null_segment(u16::from(cpl), cpl) } else { stack.segment() };
    cpu.set_segment(Seg::Ss, ss);
    cpu.set_code(gate.gate_selector(), target, cpl);
    cpu.regs[4] = stack.pointer();
    Ok(())
}
