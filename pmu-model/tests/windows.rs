//! Windows whose counts are known to the last one: the loops of spec/pmu.md 1.9.2 and 6.1 from rings 0 and 3, and long ones
//! under a timer.

mod machine;

use machine::{BUFFER, Code, HANDLER_INSTRUCTIONS, Machine, TICKS, TIMER};

/// General counters 0 to 3: instructions of ring 3, of ring 0, branches of both and of ring 3; fixed 0: instructions.
const COUNTERS: [(u32, u64); 5] =
    [(0x186, 0x41_00c0), (0x187, 0x42_00c0), (0x188, 0x43_00c4), (0x189, 0x41_00c4), (0x38d, 3)];
const ALL: u64 = 1 << 32 | 0xf;

/// NOP, as a count of them.
const NOPS: [u8; 7] = [0x90; 7];

fn programmed() -> Code {
    let mut c = Code::default();
    c.wrmsr(0x38f, 0);
    for (msr, v) in COUNTERS {
        c.wrmsr(msr, v);
    }
    c
}

/// What was counted: instructions of ring 3 and of ring 0, branches of both and of ring 3, instructions of both.
fn counted(m: &mut Machine) -> [u64; 5] {
    [0xc1, 0xc2, 0xc3, 0xc4, 0x309].map(|msr| m.read(msr))
}

/// N times MOV, ADD, seven NOPs, LOOP over the buffer at RSI; ECX is set by the caller.
fn stream(c: &mut Code) {
    // MOV RDI, [RSI]; ADD RSI, 64.
    c.raw(&[0x48, 0x8b, 0x3e, 0x48, 0x83, 0xc6, 0x40]).raw(&NOPS).loop_back(14);
}

/// CALL, POP, ADD, JMP over a NOP to the next: five instructions, of which two are branches.
fn indirect_jump(c: &mut Code) {
    // CALL next; POP RAX; ADD RAX, 8; JMP RAX; NOP; NOP.
    c.raw(&[0xe8, 0, 0, 0, 0, 0x58, 0x48, 0x83, 0xc0, 0x08, 0xff, 0xe0, 0x90, 0x90]);
}

/// kvm-unit-tests' precise loop in ring 0: 10 N + 17 instructions, N + 2 branches.
fn precise_loop(n: u32) -> [u64; 5] {
    let mut c = programmed();
    c.wrmsr(0x38f, ALL);
    // MOV, MOV, CLFLUSH, MFENCE.
    c.mov(1, n).mov(6, BUFFER as u32).raw(&[0x0f, 0xae, 0x3e, 0x0f, 0xae, 0xf0]);
    stream(&mut c);
    // MOV, XOR, MOV, WRMSR: IBPB.
    c.mov(0, 1).raw(&[0x31, 0xd2]).mov(1, 0x49).raw(&[0x0f, 0x30]);
    indirect_jump(&mut c);
    // MOV, XOR, XOR, WRMSR.
    c.mov(1, 0x38f).raw(&[0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30, 0xf4]);
    let mut m = Machine::new(&c, 22);
    m.run();
    counted(&mut m)
}

#[test]
fn the_precise_loop_of_kvm_unit_tests_is_10_n_plus_17_instructions_and_n_plus_2_branches() {
    for n in [1, 7, 1000, 1_000_000] {
        let (instructions, branches) = (10 * u64::from(n) + 17, u64::from(n) + 2);
        assert_eq!(precise_loop(n), [0, instructions, branches, 0, instructions], "N = {n}");
    }
}

#[test]
fn the_same_loop_in_ring_3_is_counted_as_exactly() {
    for n in [1, 7, 1000, 1_000_000] {
        let mut c = programmed();
        c.wrmsr(0x38f, ALL).leave();
        c.mov(1, n).mov(6, BUFFER as u32).raw(&[0x0f, 0xae, 0x3e, 0x0f, 0xae, 0xf0]);
        stream(&mut c);
        indirect_jump(&mut c);
        c.enter().wrmsr(0x38f, 0).raw(&[0xf4]);
        let mut m = Machine::new(&c, 22);
        m.run();
        // Ring 3: four, the loop, five, INT. Ring 0: five PUSHes and IRETQ; POP ADD JMP behind INT; the four that stop.
        let n = u64::from(n);
        let (user, kernel) = (4 + 10 * n + 5 + 1, 6 + 3 + 4);
        // Ring 3: LOOPs, CALL, JMP, INT; ring 0: IRETQ, JMP.
        assert_eq!(counted(&mut m), [user, kernel, n + 3 + 2, n + 3, user + kernel], "N = {n}");
    }
}

#[test]
fn the_payload_of_the_counter_selftest_is_65_instructions_and_10_branches() {
    let mut c = programmed();
    c.wrmsr(0x38f, ALL).mov(1, 10);
    // ENTER 0, 0; CLFLUSHOPT [RIP]; MFENCE; MOV EAX, [RSP]; LEAVE; LOOP.
    let body: &[u8] = &[0xc8, 0, 0, 0, 0x66, 0x0f, 0xae, 0x3d, 0, 0, 0, 0, 0x0f, 0xae, 0xf0, 0x8b, 0x04, 0x24, 0xc9];
    c.raw(body).loop_back(body.len());
    c.mov(1, 0x38f).raw(&[0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30, 0xf4]);
    let mut m = Machine::new(&c, 22);
    m.run();
    assert_eq!(counted(&mut m), [0, 65, 10, 0, 65]);
}

/// Ten instructions a round in ring 3 while the timer interrupts every 88,000 ticks.
fn under_a_timer(rounds: u32) -> ([u64; 5], u64) {
    let mut c = programmed();
    // Divide by 1, periodic, 1000 of the timer's 25 MHz.
    c.wrmsr(0x83e, 0xb).wrmsr(0x832, 0x2_0000 | u64::from(TIMER)).wrmsr(0x838, 1000);
    c.wrmsr(0x38f, ALL).leave().mov(1, rounds);
    let body: &[u8] = &[0x48, 0xff, 0xc0, 0x48, 0x01, 0xc3, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90];
    c.raw(body).loop_back(body.len());
    c.enter().wrmsr(0x38f, 0).raw(&[0xf4]);
    let mut m = Machine::new(&c, 22);
    m.run();
    (counted(&mut m), m.word(TICKS))
}

#[test]
fn a_window_of_ten_to_the_ninth_instructions_under_a_timer_is_counted_to_the_last_one() {
    let rounds = 100_000_000;
    let (counted, ticks) = under_a_timer(rounds);
    let user = 1 + 10 * u64::from(rounds) + 1;
    let kernel = 6 + 3 + 4 + HANDLER_INSTRUCTIONS * ticks;
    // IRETQ, LOOPs, INT, JMP; an IRETQ each tick.
    let branches = u64::from(rounds) + 3 + ticks;
    assert_eq!(counted, [user, kernel, branches, u64::from(rounds) + 1, user + kernel]);
    // All of that took a tick of the TSC an instruction.
    assert!(ticks == (user + kernel) / 88_000 || ticks == (user + kernel) / 88_000 + 1, "{ticks}");
}
