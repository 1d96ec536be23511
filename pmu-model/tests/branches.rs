//! Which branches count as taken, and which leave a record. Source: spec/pmu.md 1.9.3 and 3.

mod machine;

use machine::{Code, Machine};

#[test]
fn a_conditional_branch_to_the_next_instruction_is_taken_or_not() {
    // BR_INST_RETIRED.COND_TAKEN, COND_NTAKEN and NEAR_TAKEN.
    let mut c = Code::default();
    // LBRs of conditional branches.
    for (msr, value) in [(0x186, 0x43_01c4), (0x187, 0x43_10c4), (0x188, 0x43_20c4), (0x14ce, 0x1_0003), (0x38f, 7)] {
        c.wrmsr(msr, value);
    }
    // XOR EAX, EAX; JE: taken; JNE: not; CMP EAX, EAX with JE: taken. ECX is 1: LOOP is not taken, JRCXZ behind it is.
    c.raw(&[0x31, 0xc0, 0x74, 0, 0x75, 0, 0x39, 0xc0, 0x74, 0]).mov(1, 1).raw(&[0xe2, 0, 0xe3, 0]);
    c.raw(&[0xfa, 0xf4]);
    let mut m = Machine::new(&c, 22);
    m.run();
    assert_eq!([0xc1, 0xc2, 0xc3].map(|msr| m.read(msr)), [3, 2, 3]);
    // From and to, the last one first: JRCXZ, the two JEs.
    let records = [0, 1, 2].map(|n| (m.read(0x1500 + n), m.read(0x1600 + n)));
    let last = records[0].0;
    assert_eq!(records, [(last, last + 2), (last - 9, last - 7), (last - 15, last - 13)]);
}
