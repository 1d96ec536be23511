//! The two things behind the host's registers, one against the other: streams of facts, and the unit of `pmu_model` over
//! what is executed.

use crate::draw::{Draw, hold};
use pmu_model::host::cell::{Burst, Happening, Privilege};
use pmu_model::host::constraint::Counter;
use pmu_model::host::registers::{EN, INT, MASK, Pmu, Register, Shape};

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(Register, u64),
    /// Instructions, of which every fourth is a branch, every twentieth of these mispredicted.
    Retire(Privilege, u64),
    LoadGlobalControl(u64),
}

fn step(draw: &mut Draw) -> Step {
    let counter = draw.of(&[0, 1, 5, 7, 32, 33, 34, 35].map(Counter));
    let ring = draw.of(&[Privilege::User, Privilege::Kernel]);
    let selector =
        draw.of(&[0xc0, 0xc4, 0x3c, 0xc5, 0x01a4, 0x013c]) | draw.below(4) << 16 | draw.of(&[EN, EN, EN | INT, 0]);
    match draw.below(10) {
        0..=3 => Step::Retire(ring, 1 + draw.below(400)),
        4 => Step::Write(Register::Count(counter), draw.of(&[0, 7, MASK, MASK - 100, MASK - 1000])),
        5 => Step::Write(Register::Selector(draw.of(&[0, 1, 5, 7])), selector),
        6 => Step::Write(Register::FixedControl, draw.of(&[0, 0x3333, 0x0b21, 0x9a31, 0xb000])),
        7 => Step::Write(Register::GlobalControl, draw.of(&[0, 0xf_0000_00ff, 0x7_0000_0021, 0x8_0000_0082])),
        8 => Step::Write(draw.of(&[Register::StatusReset, Register::StatusSet]), draw.next() & 0xf_0000_00ff),
        _ => Step::LoadGlobalControl(draw.of(&[0, 0xf_0000_00ff, 0x1_0000_0001])),
    }
}

fn burst(n: u64) -> Burst {
    Burst::of_instructions(n).with(Happening::Branches, n / 4).with(Happening::BranchMisses, n / 80)
}

fn registers() -> impl Iterator<Item = Register> {
    let counters = Shape::SAPPHIRE_RAPIDS.counters().iter().map(Register::Count);
    let others = [Register::FixedControl, Register::GlobalControl, Register::GlobalStatus, Register::InUse];
    counters.chain((0..8).map(Register::Selector)).chain(others)
}

#[test]
fn streams_and_the_executed_unit_are_one_pmu() {
    hold(20_000, 40, step, |steps| {
        let mut pmus = [Pmu::new(Shape::SAPPHIRE_RAPIDS), Pmu::executed(Shape::SAPPHIRE_RAPIDS)];
        for step in steps {
            let asking = pmus.each_mut().map(|pmu| match *step {
                Step::Write(register, value) => {
                    pmu.wrmsr(register, value);
                    None
                }
                Step::Retire(ring, n) => Some(pmu.retire(ring, &burst(n))),
                Step::LoadGlobalControl(value) => {
                    pmu.load_global_control(value);
                    None
                }
            });
            assert_eq!(asking[0].is_some_and(|c| !c.is_empty()), asking[1].is_some_and(|c| !c.is_empty()), "who asks");
            for register in registers() {
                let [streams, executed] = pmus.each_ref().map(|pmu| pmu.peek(register));
                assert_eq!(streams, executed, "{register:?}");
            }
        }
        assert_eq!(pmus[0].traffic, pmus[1].traffic);
    });
}
