//! Lesson 8: two ways to write a counter, and what each makes of the value.

use super::Program;
use super::measure::{report_faults, skip_general_protection};
use iced_x86::code_asm::*;

const LEGACY: u32 = 0xc1;
const FULL: u32 = 0x4c1;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    p.print("lesson 8: widths\n")?;
    skip_general_protection(p)?;
    p.wrmsr(0x38f, 0)?;
    // The legacy register takes 32 bits, sign-extended to 48; what is above is ignored.
    p.wrmsr(LEGACY, 0xffff_ff01_2345_6789)?;
    p.report_msr("legacy", 0x2345_6789, LEGACY)?;
    p.report_msr("legacy.read_as_full", 0x2345_6789, FULL)?;
    p.wrmsr(LEGACY, 0x8000_0000)?;
    p.report_msr("legacy.sign", 0xffff_8000_0000, FULL)?;
    // The full-width one takes 48 bits, and refuses more.
    p.wrmsr(FULL, 0xff01_2345_6789)?;
    p.report_msr("full.read_as_legacy", 0xff01_2345_6789, LEGACY)?;
    p.report_counter("full.read_by_rdpmc", 0xff01_2345_6789, 0)?;
    p.wrmsr(FULL, 0xffff_ff01_2345_6789)?;
    report_faults(p, "full.refused", 1)?;
    p.report_msr("full.unchanged", 0xff01_2345_6789, FULL)?;
    p.end()
}
