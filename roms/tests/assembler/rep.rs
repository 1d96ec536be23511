//! Lesson 5: what is one instruction: a repeated one whatever it repeats, a faulting one when it completes at last.

use super::Program;
use super::boot::PAGE_TABLES;
use super::measure::{INSTRUCTIONS, STOP, program, start, stop};
use iced_x86::code_asm::*;

/// Where the string instructions write.
const BUFFER: u32 = 0xa000;
/// Bit 1 of the page-directory-pointer table's fifth entry decides over this address.
const ABSENT: u64 = 4 << 30;
/// Physical address 0, present, writable, for users, 1 GiB.
const LARGE_PAGE: u32 = 0x87;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    p.print("lesson 5: one instruction\n")?;
    handlers(p)?;
    // One MOV of the count and one REP STOSB, be it of 100 bytes, 1 or none.
    for (name, bytes) in [("rep_100_bytes", 100), ("rep_1_byte", 1), ("rep_0_bytes", 0)] {
        p.a.mov(edi, BUFFER)?;
        program(p, INSTRUCTIONS)?;
        start(p)?;
        p.a.mov(ecx, bytes)?;
        p.a.rep().stosb()?;
        stop(p)?;
        p.report_counter(name, 2 + STOP, 0)?;
    }
    // UD2 never completes: of it there are only the handler's two, ADD and IRETQ.
    program(p, INSTRUCTIONS)?;
    start(p)?;
    p.a.ud2()?;
    stop(p)?;
    p.report_counter("ud2", 2 + STOP, 0)?;
    // INT3 is a trap: it completes, and its handler has one.
    program(p, INSTRUCTIONS)?;
    start(p)?;
    p.a.int3()?;
    stop(p)?;
    p.report_counter("int3", 1 + 1 + STOP, 0)?;
    // The load faults (0), the handler has three, and the load completes at last (1).
    p.a.mov(rsi, ABSENT)?;
    program(p, INSTRUCTIONS)?;
    start(p)?;
    p.a.mov(rbx, qword_ptr(rsi))?;
    stop(p)?;
    p.report_counter("page_fault", 3 + 1 + STOP, 0)?;
    p.end()
}

/// #UD goes on behind the two bytes of UD2, #BP returns, #PF makes the page present.
fn handlers(p: &mut Program) -> Result<(), IcedError> {
    let (mut ud, mut breakpoint, mut pf) = (p.a.create_label(), p.a.create_label(), p.a.create_label());
    let mut behind = p.a.create_label();
    p.a.jmp(behind)?;
    p.a.set_label(&mut ud)?;
    p.a.add(qword_ptr(rsp), 2)?;
    p.a.set_label(&mut breakpoint)?;
    p.a.iretq()?;
    p.a.set_label(&mut pf)?;
    p.a.mov(dword_ptr(PAGE_TABLES + 0x1000 + 8 * 4), LARGE_PAGE)?;
    p.a.add(rsp, 8)?;
    p.a.iretq()?;
    p.a.set_label(&mut behind)?;
    p.set_gate(3, breakpoint)?;
    p.set_gate(6, ud)?;
    p.set_gate(14, pf)
}
