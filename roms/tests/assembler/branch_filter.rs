//! Lesson 17: which branches are recorded: IA32_LBR_CTL has a bit for each kind.

use super::Program;
use super::callstack::report_records;
use iced_x86::code_asm::*;

const CTL: u32 = 0x14ce;
const DEPTH: u32 = 0x14cf;
/// Enabled in ring 0.
const ON: u64 = 1 | 1 << 1;
const VECTOR: u32 = 0x21;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    let (mut function, mut handler, mut all, mut over) =
        (p.a.create_label(), p.a.create_label(), p.a.create_label(), p.a.create_label());
    p.print("lesson 17: branch filters\n")?;
    p.set_gate(VECTOR, handler)?;
    p.a.jmp(over)?;
    p.a.set_label(&mut function)?;
    p.a.ret()?;
    p.a.set_label(&mut handler)?;
    p.a.iretq()?;
    p.a.set_label(&mut all)?;
    one_of_each(p, function)?;
    p.a.set_label(&mut over)?;
    // The call of ALL is before the records are enabled: R9 is where it returns to.
    for (name, bits, expected) in [
        ("jcc", 1u64 << 16, 1),
        ("jmp", 1 << 17, 1),
        ("jmp.indirect", 1 << 18, 2),
        ("call", 1 << 19, 1),
        ("call.indirect", 1 << 20, 1),
        ("ret", 1 << 21, 2),
        ("other", 1 << 22, 2),
        ("all", 0x7f << 16, 10),
        ("none", 0, 0),
    ] {
        let mut back = p.a.create_label();
        p.a.lea(r9, ptr(back))?;
        p.wrmsr(DEPTH, 32)?;
        p.a.lea(r8, ptr(all))?;
        p.wrmsr(CTL, ON | bits)?;
        p.a.jmp(r8)?;
        p.a.set_label(&mut back)?;
        report_records(p, name, if bits & 1 << 18 != 0 { expected + 1 } else { expected })?;
    }
    p.end()
}

/// A branch of each kind: JZ taken and JNZ not, JMP, two CALLs, INT; and the indirect JMP back to R9.
fn one_of_each(p: &mut Program, function: CodeLabel) -> Result<(), IcedError> {
    let (mut taken, mut behind, mut indirect) = (p.a.create_label(), p.a.create_label(), p.a.create_label());
    p.a.xor(eax, eax)?;
    p.a.jz(taken)?;
    p.a.nop()?;
    p.a.set_label(&mut taken)?;
    p.a.jnz(behind)?;
    p.a.jmp(behind)?;
    p.a.set_label(&mut behind)?;
    p.a.lea(rax, ptr(indirect))?;
    p.a.jmp(rax)?;
    p.a.set_label(&mut indirect)?;
    p.a.call(function)?;
    p.a.lea(rax, ptr(function))?;
    p.a.call(rax)?;
    p.a.int(VECTOR as i32)?;
    p.a.jmp(r9)
}
