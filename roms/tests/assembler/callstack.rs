//! Lesson 16: last branch records as a list of branches, and as a stack of the calls that have not returned.

use super::Program;
use iced_x86::code_asm::*;

const CTL: u32 = 0x14ce;
const DEPTH: u32 = 0x14cf;
const FROM: u32 = 0x1500;
/// Enabled in ring 0: relative calls and returns.
pub const CALLS: u64 = 1 | 1 << 1 | 1 << 19 | 1 << 21;
const CALL_STACK: u64 = 1 << 3;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    let mut labels: [CodeLabel; 5] = std::array::from_fn(|_| p.a.create_label());
    let [a, b, c, behind, main] = &mut labels;
    p.print("lesson 16: the call stack\n")?;
    // A list: three calls and three returns.
    p.wrmsr(DEPTH, 32)?;
    p.wrmsr(CTL, CALLS)?;
    nested(p, 3)?;
    report_records(p, "list", 6)?;
    // A stack: looked at from the innermost function, and on the way back.
    p.wrmsr(DEPTH, 32)?;
    p.wrmsr(CTL, CALLS | CALL_STACK)?;
    nested(p, 3)?;
    report_records(p, "stack.all_returned", 0)?;
    p.a.jmp(*main)?;
    p.a.set_label(c)?;
    report_records(p, "stack.in_c", 3)?;
    // The newest record is the call of C, five bytes before the RET behind it.
    p.a.lea(rbx, ptr(*behind))?;
    p.a.mov(ecx, FROM)?;
    p.a.rdmsr()?;
    p.a.sub(ebx, eax)?;
    p.a.mov(r12d, ebx)?;
    p.report_r12("stack.newest", 5)?;
    p.wrmsr(CTL, CALLS | CALL_STACK)?;
    p.a.ret()?;
    p.a.set_label(b)?;
    p.a.call(*c)?;
    p.a.set_label(behind)?;
    p.a.ret()?;
    p.a.set_label(a)?;
    p.a.call(*b)?;
    report_records(p, "stack.in_a", 1)?;
    p.wrmsr(CTL, CALLS | CALL_STACK)?;
    p.a.ret()?;
    p.a.set_label(main)?;
    p.wrmsr(CTL, CALLS | CALL_STACK)?;
    p.a.call(*a)?;
    report_records(p, "stack.in_main", 0)?;
    p.end()
}

/// Functions that call each other `depth` deep, and return.
fn nested(p: &mut Program, depth: usize) -> Result<(), IcedError> {
    let mut functions: Vec<CodeLabel> = (0..depth).map(|_| p.a.create_label()).collect();
    let mut over = p.a.create_label();
    p.a.call(functions[0])?;
    p.a.jmp(over)?;
    for n in 0..depth {
        p.a.set_label(&mut functions[n])?;
        if let Some(next) = functions.get(n + 1) {
            p.a.call(*next)?;
        }
        p.a.ret()?;
    }
    p.a.set_label(&mut over)
}

/// Disables the records and reports how many there are: those whose FROM is not 0.
pub fn report_records(p: &mut Program, name: &str, expected: u64) -> Result<(), IcedError> {
    let mut again = p.a.create_label();
    p.wrmsr(CTL, 0)?;
    p.a.xor(r12d, r12d)?;
    p.a.mov(ecx, FROM)?;
    p.a.set_label(&mut again)?;
    p.a.rdmsr()?;
    p.a.xor(ebx, ebx)?;
    p.a.or(eax, edx)?;
    p.a.setnz(bl)?;
    p.a.add(r12d, ebx)?;
    p.a.inc(ecx)?;
    p.a.cmp(ecx, FROM as i32 + 32)?;
    p.a.jb(again)?;
    p.report_r12(name, expected)
}
