//! The registers at the end of a lesson; MSRs and CPUID of the first processor at power-on.

use cpu_x86::Cpu;
use emu_core::Ram;
use snapshot_tests::{processor, run};
use std::sync::Arc;

fn at_power_on() -> Box<Cpu> {
    Cpu::new(Arc::new(Ram::new(1 << 20, &[]).unwrap()), 0)
}

#[test]
fn registers_at_the_end_of_the_first_lesson() {
    let ended = run::lesson(&roms::lessons()[0], 1000);
    insta::assert_snapshot!("registers", processor::registers(ended.machine.processors().next().unwrap()));
}

#[test]
fn registers_at_power_on() {
    insta::assert_snapshot!("registers_at_power_on", processor::registers(&at_power_on()));
}

#[test]
fn model_specific_registers_at_power_on() {
    insta::assert_snapshot!("msrs", processor::msrs(&mut at_power_on()));
}

#[test]
fn cpuid_of_the_first_processor() {
    insta::assert_snapshot!("cpuid", processor::cpuid(&mut at_power_on()));
}
