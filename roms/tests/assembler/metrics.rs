//! Lesson 13: fixed counter 3 and PERF_METRICS are set in one order: slots first.

use super::Program;
use super::measure::{STOP, stop};
use iced_x86::code_asm::*;

const SLOTS: u32 = 0x30c;
const METRICS: u32 = 0x329;
/// Retiring 64, bad speculation 32, front end 16, back end 143: 255 together; parts of them 1 to 4.
const SAVED: u64 = 0x0403_0201_8f10_2040;
const SAVED_SLOTS: u64 = 2550;

pub fn write(p: &mut Program) {
    body(p).expect("it assembles");
}

fn body(p: &mut Program) -> Result<(), IcedError> {
    p.print("lesson 13: slots and metrics\n")?;
    p.wrmsr(0x38f, 0)?;
    p.wrmsr(0x38d, 3 << 12)?;
    // As Linux restores them: slots, then metrics.
    p.wrmsr(SLOTS, SAVED_SLOTS)?;
    p.wrmsr(METRICS, SAVED)?;
    p.report_msr("slots_first.slots", SAVED_SLOTS, SLOTS)?;
    p.report_msr("slots_first.metrics", SAVED, METRICS)?;
    // The other way round: setting the slots takes the metrics away.
    p.wrmsr(METRICS, SAVED)?;
    p.wrmsr(SLOTS, SAVED_SLOTS)?;
    p.report_msr("metrics_first.slots", SAVED_SLOTS, SLOTS)?;
    p.report_msr("metrics_first.metrics", 0, METRICS)?;
    // Without bit 48 of GLOBAL_CTRL the counter counts and the metrics stand still.
    for (name, ctrl, sum) in [("without_bit_48", 1u64 << 35, 0), ("with_bit_48", 1 << 35 | 1 << 48, 255)] {
        p.wrmsr(SLOTS, 0)?;
        p.wrmsr(METRICS, 0)?;
        p.wrmsr(0x38f, ctrl)?;
        for _ in 0..6 {
            p.a.nop()?;
        }
        stop(p)?;
        p.report_msr(&format!("{name}.slots"), 6 * (6 + STOP), SLOTS)?;
        sum_of_level_1(p)?;
        p.report_r12(&format!("{name}.sum"), sum)?;
    }
    p.end()
}

/// R12 := the sum of the four fields of level 1.
pub fn sum_of_level_1(p: &mut Program) -> Result<(), IcedError> {
    let mut again = p.a.create_label();
    p.a.mov(ecx, METRICS)?;
    p.a.rdmsr()?;
    p.a.xor(r12d, r12d)?;
    p.a.mov(ebx, 4)?;
    p.a.set_label(&mut again)?;
    p.a.movzx(ecx, al)?;
    p.a.add(r12d, ecx)?;
    p.a.shr(eax, 8)?;
    p.a.dec(ebx)?;
    p.a.jnz(again)
}
