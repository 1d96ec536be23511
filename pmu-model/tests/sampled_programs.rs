//! Samples and last branches of real programs on a processor with its whole PMU: where they are, and what they hold.

use cpu_x86::{Counts, Cpu, Doors, Exit, Features, PmuDoors, Sampled, Table};
use emu_core::{Gpa, Ram};
use pmu_model::uarch::Parameters;
use pmu_model::{Pmu, Profile};
use std::sync::Arc;

const CODE: u64 = 0x1_0000;
const AREA: u64 = 0x2_0000;
const BUFFER: u64 = 0x3_0000;
const STACK: u64 = 0x8_0000;
const GDT: u64 = 0x9_0000;
const IDT: u64 = 0x9_1000;
const HANDLER: u64 = 0x9_2000;

/// A PMU and nothing else.
struct Board {
    pmu: Pmu,
    pmis: u32,
}

impl Doors for Board {
    fn pmu(&mut self) -> &mut dyn PmuDoors {
        &mut self.pmu
    }
    fn settle(&mut self, now: &Counts, processor: &mut dyn Sampled) -> bool {
        let requests = self.pmu.settle(now, processor);
        self.pmis += u32::from(requests);
        requests
    }
}

/// MOV ECX; MOV EAX; MOV EDX; WRMSR.
fn wrmsr(code: &mut Vec<u8>, msr: u32, v: u64) {
    for (op, v) in [(0xb9, msr), (0xb8, v as u32), (0xba, (v >> 32) as u32)] {
        code.push(op);
        code.extend(v.to_le_bytes());
    }
    code.extend([0x0f, 0x30]);
}

fn put(cpu: &mut Cpu, at: u64, v: u64) {
    assert!(Sampled::write(cpu, at, &v.to_le_bytes()));
}

fn word(cpu: &mut Cpu, at: u64) -> u64 {
    let mut b = [0; 8];
    assert!(Sampled::read(cpu, at, &mut b));
    u64::from_le_bytes(b)
}

/// Programs the PMU, runs `body` with GLOBAL_CTRL at `ctrl`, stops it and halts. Returns where `body` begins.
fn run(
    programming: &[(u32, u64)],
    resets: &[(u64, u64)],
    ctrl: u64,
    body: &[u8],
    threshold: u64,
) -> (Box<Cpu>, Board, u64) {
    let mut code = Vec::new();
    wrmsr(&mut code, 0x38f, 0);
    programming.iter().for_each(|&(msr, v)| wrmsr(&mut code, msr, v));
    wrmsr(&mut code, 0x38f, ctrl);
    let begin = CODE + code.len() as u64;
    code.extend(body);
    wrmsr(&mut code, 0x38f, 0);
    code.push(0xf4);
    let ram = Arc::new(Ram::new(1 << 20, &[]).unwrap());
    assert!(ram.write(Gpa(CODE), &code));
    let mut cpu = Cpu::bare_64bit(ram);
    cpu.offer(Features { pebs: true, lbr: true, ..Features::default() });
    for (at, v) in [(0x20, BUFFER), (0x28, BUFFER), (0x30, BUFFER + 0x4_0000), (0x38, BUFFER + threshold)] {
        put(&mut cpu, AREA + at, v);
    }
    // Exceptions 1, 3 and 6 and vector 20h go to a HLT, through a 64-bit code segment.
    put(&mut cpu, GDT + 0x10, 0x0020_9b00_0000_0000);
    for vector in [1, 3, 6, 0x20] {
        let gate = HANDLER & 0xffff | 0x10 << 16 | 0x8e00 << 32 | (HANDLER >> 16 & 0xffff) << 48;
        put(&mut cpu, IDT + 16 * vector, gate);
    }
    put(&mut cpu, HANDLER, 0xf4);
    (cpu.gdtr, cpu.idtr) = (Table { base: GDT, limit: 0x17 }, Table { base: IDT, limit: 0xfff });
    resets.iter().for_each(|&(slot, v)| put(&mut cpu, AREA + 0x40 + 8 * slot, v));
    (cpu.regs[4], cpu.rip, cpu.next_rip) = (STACK, CODE, CODE);
    let mut board = Board { pmu: Pmu::new(Profile::SAPPHIRE_RAPIDS, &Parameters::SPR), pmis: 0 };
    assert_eq!(cpu.run(&mut board, 1 << 30), Exit::Halted);
    (cpu, board, begin)
}

/// mov ecx, 1000; then inc rbx; dec ecx; jnz, a thousand times.
const LOOP: &[u8] = &[0xb9, 0xe8, 3, 0, 0, 0x48, 0xff, 0xc3, 0xff, 0xc9, 0x75, 0xf9];
const INC: u64 = 5;
const DEC: u64 = 8;
const JNZ: u64 = 10;
/// OS, USR, EN, ADAPTIVE.
const ADAPTIVE: u64 = 1 << 34 | 0x43_0000;
const M: u64 = (1 << 48) - 1;

/// The words of record `n` of `bytes` each.
fn record(cpu: &mut Cpu, n: u64, bytes: u64) -> Vec<u64> {
    (0..bytes / 8).map(|w| word(cpu, BUFFER + n * bytes + 8 * w)).collect()
}

#[test]
fn a_precise_event_is_sampled_at_the_branch_after_the_one_that_overflows() {
    let minus_10 = M - 9;
    let programming = [(0x600, AREA), (0x3f2, 2), (0x187, 0xc4 | ADAPTIVE), (0x4c2, minus_10), (0x3f1, 2)];
    let (mut cpu, mut board, begin) = run(&programming, &[(1, minus_10)], 2, LOOP, 0x4_0000);
    // A thousand branches: ninety times eleven, and ten that overflow once more.
    assert_eq!(word(&mut cpu, AREA + 0x28), BUFFER + 90 * 176);
    for n in 0..90 {
        let r = record(&mut cpu, n, 176);
        let done = 11 * (n + 1);
        assert_eq!(r[..3], [176 << 48 | 2, begin + JNZ, 2], "record {n}");
        // AX CX DX BX behind flags and IP; the branch was taken.
        assert_eq!((r[5], r[7], r[9]), (begin + INC, 1000 - done, done), "record {n}");
    }
    let now = cpu.counts();
    assert_eq!((board.pmu.rdpmc(1, &now), board.pmu.msr_read(0x38e, &now), board.pmis), (Ok(0), Some(Ok(0)), 0));
}

#[test]
fn precise_distribution_samples_the_very_instruction_that_overflows() {
    let minus_100 = M - 99;
    let programming = [(0x600, AREA), (0x3f2, 0), (0x38d, 3 | 1 << 32), (0x309, minus_100), (0x3f1, 1 << 32)];
    let (mut cpu, mut board, begin) = run(&programming, &[(8, minus_100)], 1 << 32, LOOP, 0x4_0000);
    // MOV, three thousand of the loop, and the four that stop counting.
    assert_eq!(word(&mut cpu, AREA + 0x28), BUFFER + 30 * 32);
    for n in 0..30 {
        let instruction = 100 * (n + 1);
        let at = [INC, DEC, JNZ][(instruction as usize - 2) % 3];
        assert_eq!(record(&mut cpu, n, 32)[..3], [32 << 48, begin + at, 1 << 32], "record {n}");
    }
    assert_eq!(board.pmu.rdpmc(1 << 30, &cpu.counts()), Ok(M - 99 + 5));
}

#[test]
fn the_threshold_sets_its_status_bit_and_requests_an_interrupt() {
    let minus_400 = M - 399;
    let programming = [(0x600, AREA), (0x187, 0xc4 | 0x43_0000), (0x4c2, minus_400), (0x3f1, 2)];
    let (mut cpu, mut board, _) = run(&programming, &[(1, 0)], 2, LOOP, 32);
    assert_eq!(word(&mut cpu, AREA + 0x28), BUFFER + 32);
    let now = cpu.counts();
    // Branch 401 was sampled, and the counter went on from zero.
    assert_eq!((board.pmu.msr_read(0x38e, &now), board.pmis), (Some(Ok(1 << 62)), 1));
    assert_eq!(board.pmu.rdpmc(1, &now), Ok(1000 - 401));
}

#[test]
fn the_last_branches_of_a_loop_are_the_last_branches() {
    let (cpu, mut board, begin) = run(&[(0x14ce, 0x7f_0007)], &[], 0, LOOP, 0);
    let now = cpu.counts();
    let mut read = |msr: u32| board.pmu.msr_read(msr, &now).unwrap().unwrap();
    for n in 0..32 {
        assert_eq!((read(0x1500 + n), read(0x1600 + n)), (begin + JNZ, begin + INC), "entry {n}");
        assert_eq!(read(0x1200 + n) >> 56 & 15, 0, "conditional");
    }
}

#[test]
fn the_call_stack_holds_the_calls_that_have_not_returned() {
    // call a; jmp out; a: call b; nop; call b; call c; b: ret; c: call d; d: (out: the rest)
    #[rustfmt::skip] // an instruction a line
    let body = [
        0xe8, 2, 0, 0, 0,    //  0 call 7
        0xeb, 23,            //  5 jmp 30
        0xe8, 11, 0, 0, 0,   //  7 call 23
        0x90,                // 12
        0xe8, 5, 0, 0, 0,    // 13 call 23
        0xe8, 1, 0, 0, 0,    // 18 call 24
        0xc3,                // 23 ret
        0x90,                // 24
        0xe8, 0, 0, 0, 0,    // 25 call 30, the next instruction
    ];
    let (cpu, mut board, begin) = run(&[(0x14ce, 0x38_000f)], &[], 0, &body, 0);
    let now = cpu.counts();
    let mut read = |msr: u32| board.pmu.msr_read(msr, &now).unwrap().unwrap();
    let chain: Vec<_> = (0..3).map(|n| (read(0x1500 + n), read(0x1600 + n))).collect();
    assert_eq!(chain, [(begin + 18, begin + 24), (begin, begin + 7), (0, 0)], "a call of length zero is none");
}

#[test]
fn an_exception_is_an_event_whose_branch_before_it_is_kept_apart() {
    // jmp to the next instruction; ud2
    let (cpu, mut board, begin) = run(&[(0x14ce, 0x7f_0007)], &[], 0, &[0xeb, 0, 0x0f, 0x0b], 0);
    let now = cpu.counts();
    let mut read = |msr: u32| board.pmu.msr_read(msr, &now).unwrap().unwrap();
    assert_eq!((read(0x1500), read(0x1600), read(0x1200) >> 56 & 15), (begin + 2, HANDLER, 8));
    assert_eq!((read(0x1501), read(0x1601)), (begin, begin + 2));
    assert_eq!((read(0x1dd), read(0x1de)), (begin, begin + 2));
}

#[test]
fn a_debug_exception_is_not_recorded_and_ends_recording() {
    // jmp to the next instruction; pushfq; or qword [rsp], 100h; popfq; nop, and the trap behind it
    let body = [0xeb, 0, 0x9c, 0x48, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x90];
    let (cpu, mut board, begin) = run(&[(0x14ce, 0x7f_0007)], &[], 0, &body, 0);
    let now = cpu.counts();
    let mut read = |msr: u32| board.pmu.msr_read(msr, &now).unwrap().unwrap();
    assert_eq!((read(0x14ce), read(0x1500), read(0x1501)), (0x7f_0006, begin, 0));
}

#[test]
fn int_n_and_int3_are_one_record_each_from_the_instruction_to_the_handler() {
    // jmp to the next instruction; int 20h or int3
    for body in [&[0xeb, 0, 0xcd, 0x20][..], &[0xeb, 0, 0xcc]] {
        let (cpu, mut board, begin) = run(&[(0x14ce, 0x7f_0007)], &[], 0, body, 0);
        let now = cpu.counts();
        let mut read = |msr: u32| board.pmu.msr_read(msr, &now).unwrap().unwrap();
        assert_eq!((read(0x1500), read(0x1600), read(0x1200) >> 56 & 15), (begin + 2, HANDLER, 8), "{body:x?}");
        assert_eq!((read(0x1501), read(0x1601), read(0x1502)), (begin, begin + 2, 0), "{body:x?}");
    }
}

#[test]
fn int1_is_a_debug_exception() {
    let (cpu, mut board, begin) = run(&[(0x14ce, 0x7f_0007)], &[], 0, &[0xeb, 0, 0xf1], 0);
    let now = cpu.counts();
    let mut read = |msr: u32| board.pmu.msr_read(msr, &now).unwrap().unwrap();
    assert_eq!((read(0x14ce), read(0x1500), read(0x1501)), (0x7f_0006, begin, 0));
}

#[test]
fn inserts_are_counted_as_an_event() {
    // CCh/20h on counter 0, branches on counter 1. Only taken branches are inserted: all but the last JNZ.
    for (filter, inserts) in [(0x7f_0007, 999), (0x7e_0007, 0)] {
        let programming = [(0x186, 0x43_20cc), (0x187, 0x43_00c4), (0x14ce, filter)];
        let (cpu, mut board, _) = run(&programming, &[], 3, LOOP, 0);
        let now = cpu.counts();
        assert_eq!((board.pmu.rdpmc(0, &now), board.pmu.rdpmc(1, &now)), (Ok(inserts), Ok(1000)), "{filter:#x}");
    }
}

#[test]
fn an_overflow_of_inserts_is_at_the_branch_that_was_recorded() {
    let programming = [(0x14ce, 0x7f_0007), (0x1d9, 1 << 12), (0x186, 0x53_20cc), (0x4c1, M - 9), (0x187, 0x43_00c0)];
    let (cpu, mut board, _) = run(&programming, &[], 3, LOOP, 0);
    let now = cpu.counts();
    // MOV, then ten rounds of three.
    assert_eq!((board.pmu.rdpmc(0, &now), board.pmu.rdpmc(1, &now), board.pmis), (Ok(0), Ok(31), 1));
}

#[test]
fn a_record_has_memory_information_where_the_instruction_accessed_memory_and_the_guest_s_tsc() {
    // mov rax, [rsp]; nop; mov [rsp - 8], rax; nop; inc qword [rsp - 16]; nop
    let body = [0x48, 0x8b, 4, 0x24, 0x90, 0x48, 0x89, 0x44, 0x24, 0xf8, 0x90, 0x48, 0xff, 0x44, 0x24, 0xf0, 0x90];
    let programming = [(0x3b, 1 << 40), (0x600, AREA), (0x3f2, 1), (0x186, 0xc0 | ADAPTIVE), (0x4c1, M), (0x3f1, 1)];
    let (mut cpu, ..) = run(&programming, &[(0, M)], 1, &body.repeat(3), 0x4_0000);
    // Every instruction is sampled: eighteen, and the four that stop.
    assert_eq!(word(&mut cpu, AREA + 0x28), BUFFER + 22 * 64);
    let first = record(&mut cpu, 0, 64)[3];
    assert_eq!(first >> 40, 1);
    for n in 0..22u64 {
        let r = record(&mut cpu, n, 64);
        assert_eq!(r[3], first + n, "a tick each");
        let at = match n {
            18.. => 0,
            _ => [STACK, 0, STACK - 8, 0, STACK - 16, 0][n as usize % 6],
        };
        assert_eq!(r[4], at, "record {n}: {r:x?}");
        assert!(if at == 0 { r[5..8] == [0, 0, 0] } else { r[5] & 15 != 0 && r[6] != 0 }, "record {n}: {r:x?}");
    }
}

#[test]
fn init_disables_last_branch_records_and_keeps_them_and_the_counters() {
    let programming = [(0x1d9, 1 << 11), (0x14ce, 0x7f_0007), (0x186, 0x43_00c0), (0x4c1, 5)];
    let (mut cpu, mut board, begin) = run(&programming, &[], 0, &[0xeb, 0], 0);
    cpu.raise_init();
    let until = cpu.counts().clock + 1;
    let _ = cpu.run(&mut board, until);
    let now = cpu.counts();
    let mut read = |msr: u32| board.pmu.msr_read(msr, &now).unwrap().unwrap();
    assert_eq!((read(0x14ce), read(0x1500), read(0x1600)), (0x7f_0006, begin, begin + 2));
    assert_eq!((read(0x186), read(0xc1)), (0x43_00c0, 5));
}

#[test]
fn an_exception_is_delivered_before_any_block_has_run_while_the_core_observes() {
    // mov rax, [rsp], where no address is canonical, at the head of a block that is longer than the time there is.
    let ram = Arc::new(Ram::new(1 << 20, &[]).unwrap());
    assert!(ram.write(Gpa(CODE), &[0x48, 0x8b, 4, 0x24, 0x90, 0x90, 0x90, 0x90, 0x90, 0xf4]));
    let mut cpu = Cpu::bare_64bit(ram);
    cpu.idtr = Table { base: IDT, limit: 0xfff };
    (cpu.regs[4], cpu.rip, cpu.next_rip) = (1 << 60, CODE, CODE);
    let mut board = Board { pmu: Pmu::new(Profile::SAPPHIRE_RAPIDS, &Parameters::SPR), pmis: 0 };
    board.pmu.observe_always(true);
    assert_eq!(cpu.run(&mut board, 3), Exit::Shutdown, "no gate leads anywhere");
}
