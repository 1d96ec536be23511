//! Lesson 6: which instructions are branches, and which of them conditional.

use super::Program;
use iced_x86::code_asm::*;

const EN_ALL: u64 = 0x43_0000;
const ROUNDS: u32 = 10;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    let (mut again, mut over, mut callee) = (p.a.create_label(), p.a.create_label(), p.a.create_label());
    p.print("lesson 6: branches\n")?;
    p.wrmsr(0x38f, 0)?;
    for (n, event) in [0xc0, 0xc4, 0x11c4].into_iter().enumerate() {
        p.wrmsr(0x4c1 + n as u32, 0)?;
        p.wrmsr(0x186 + n as u32, event | EN_ALL)?;
    }
    p.a.lea(rbx, ptr(callee))?;
    p.wrmsr(0x38f, 7)?;
    p.a.mov(ecx, ROUNDS)?;
    p.a.set_label(&mut again)?;
    // Never taken and still a branch.
    p.a.test(ecx, ecx)?;
    p.a.jz(over)?;
    p.a.jrcxz(over)?;
    // Direct and indirect calls, and a return for each.
    p.a.call(callee)?;
    p.a.call(rbx)?;
    p.a.jmp(over)?;
    p.a.set_label(&mut callee)?;
    p.a.ret()?;
    p.a.set_label(&mut over)?;
    // LOOP is conditional: taken nine times of ten.
    p.a.loop_(again)?;
    p.wrmsr(0x38f, 0)?;
    // A round: TEST JZ JRCXZ CALL RET CALL RET JMP LOOP: nine, of which eight branch and three are conditional.
    let n = u64::from(ROUNDS);
    p.report_counter("instructions", 1 + 9 * n + 4, 0)?;
    p.report_counter("branches", 8 * n, 1)?;
    p.report_counter("branches.conditional", 3 * n, 2)?;
    p.end()
}
