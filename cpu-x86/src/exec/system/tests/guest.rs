//! Small guests, run by the engine.
use super::*;
use crate::{Activity, Exit, NoDoors};

fn code(cpu: &Cpu, at: u64, bytes: &[u8]) {
    assert!(cpu.ram.write(Gpa(at), bytes));
}

fn until_halt(cpu: &mut Cpu) {
    assert_eq!(cpu.run(&mut NoDoors, 10_000), Exit::Halted);
}

#[test]
fn a_user_program_makes_system_calls_and_dies_of_hlt() {
    let mut cpu = long3();
    cpu.set_flags(0x202);
    (cpu.msr.star, cpu.msr.lstar, cpu.msr.fmask) = (0x60 << 48 | 0x68 << 32, 0x9000, 0x200);
    // mov ebx, 3; again: syscall; dec ebx; jnz again; hlt
    code(&cpu, CODE, &[0xbb, 3, 0, 0, 0, 0x0f, 0x05, 0xff, 0xcb, 0x75, 0xfa, 0xf4]);
    // inc rdx; sysretq
    code(&cpu, 0x9000, &[0x48, 0xff, 0xc2, 0x48, 0x0f, 0x07]);
    // #GP: hlt
    code(&cpu, 0x1_000d, &[0xf4]);
    cpu.regs[2] = 0;
    until_halt(&mut cpu);
    assert_eq!((cpu.regs[2], cpu.cpl, cpu.rip), (3, 0, 0x1_000e));
    assert_eq!(slots(&cpu, cpu.regs[4], 8, 6), [0, CODE + 11, 0x73, 0x1_0246, 0x6008, 0x6b]);
    let counts = cpu.counts();
    assert_eq!((counts.user.instructions, counts.kernel.instructions), (1 + 3 * 3, 3 * 2 + 1));
}

#[test]
fn single_stepping_counts_the_instructions_stepped() {
    let mut cpu = protected();
    // pushf; or dword [esp], 100h; popf; nop; nop; mov ss, eax; nop; pushf; and dword [esp], ~100h; popf; hlt
    code(
        &cpu,
        CODE,
        &[
            0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x90, 0x90, 0x8e, 0xd0, 0x90, 0x9c, 0x81, 0x24, 0x24, 0xff, 0xfe,
            0xff, 0xff,
        ],
    );
    code(&cpu, CODE + 22, &[0x9d, 0xf4]);
    // inc ebx; iret
    code(&cpu, 0x1_0001, &[0x43, 0xcf]);
    cpu.regs[0] = u64::from(DATA0);
    cpu.regs[3] = 0;
    until_halt(&mut cpu);
    // nop, nop, nop (mov ss before it is not stepped), pushf, and, popf
    assert_eq!((cpu.regs[3], cpu.rip, cpu.regs[4]), (6, CODE + 24, 0x6ff0));
}

/// A 32-bit guest at [`CODE`] whose #DB handler keeps DR6 and the number of traps: at 9000h + 8 n, from EBP.
fn traced(code_bytes: &[u8]) -> Box<Cpu> {
    let cpu = protected();
    code(&cpu, CODE, code_bytes);
    // push eax; mov eax, dr6; mov [ebp], eax; mov eax, [esp + 4]; mov [ebp + 4], eax; add ebp, 8; mov eax, 0ffff0ff0h;
    // mov dr6, eax; pop eax; iret
    code(&cpu, 0x1_0001, &[0x50, 0x0f, 0x21, 0xf0, 0x89, 0x45, 0, 0x8b, 0x44, 0x24, 4, 0x89, 0x45, 4, 0x83, 0xc5, 8]);
    code(&cpu, 0x1_0012, &[0xb8, 0xf0, 0x0f, 0xff, 0xff, 0x0f, 0x23, 0xf0, 0x58, 0xcf]);
    let mut cpu = cpu;
    cpu.regs[5] = 0x9000;
    cpu
}

/// DR6 and EIP of each trap.
fn traps(cpu: &Cpu) -> Vec<(u64, u64)> {
    let n = (cpu.regs[5] - 0x9000) / 8;
    (0..n).map(|k| (get(cpu, 0x9000 + 8 * k, 4), get(cpu, 0x9004 + 8 * k, 4))).collect()
}

const STEPPED: u64 = 0xffff_4ff0;
/// pushf; and byte [esp + 1], ~1; popf; hlt
const UNTRACE: [u8; 8] = [0x9c, 0x80, 0x64, 0x24, 1, 0xfe, 0x9d, 0xf4];

#[test]
fn single_stepping_traps_after_each_iteration_of_a_repeated_instruction() {
    // mov ecx, 3; pushf; or byte [esp + 1], 1; popf; rep stosb; pushf; and byte [esp + 1], ~1; popf; hlt
    let mut cpu = traced(&[0xb9, 3, 0, 0, 0, 0x9c, 0x80, 0x4c, 0x24, 1, 1, 0x9d, 0xf3, 0xaa]);
    code(&cpu, CODE + 14, &UNTRACE);
    cpu.regs[7] = 0xa000;
    until_halt(&mut cpu);
    let stepped: Vec<u64> = traps(&cpu).iter().map(|&(dr6, at)| (at - CODE) * u64::from(dr6 == STEPPED)).collect();
    assert_eq!(stepped, [12, 12, 14, 15, 20, 21]);
    assert_eq!((cpu.regs[1], cpu.regs[7]), (0, 0xa003));
}

#[test]
fn a_data_breakpoint_is_met_on_a_page_that_was_used_before() {
    // mov eax, [9800h]; mov eax, 30402h; mov dr7, eax; mov ecx, [9800h]; mov eax, 400h; mov dr7, eax; hlt
    #[rustfmt::skip] // an instruction a row
    let mut cpu = traced(&[
        0xa1, 0, 0x98, 0, 0, 0xb8, 2, 4, 3, 0, 0x0f, 0x23, 0xf8,
        0x8b, 0x0d, 0, 0x98, 0, 0,
        0xb8, 0, 4, 0, 0, 0x0f, 0x23, 0xf8, 0xf4,
    ]);
    cpu.dr[0] = 0x9800;
    until_halt(&mut cpu);
    assert_eq!(traps(&cpu), [(0xffff_0ff1, CODE + 19)]);
}

#[test]
fn a_data_breakpoint_stops_a_repeated_instruction_after_the_iteration_that_meets_it() {
    // mov ecx, 4; rep stosb; hlt
    let mut cpu = traced(&[0xb9, 4, 0, 0, 0, 0xf3, 0xaa, 0xf4]);
    cpu.regs[7] = 0xa000;
    (cpu.dr[0], cpu.dr[7]) = (0xa001, 0x1_0402);
    until_halt(&mut cpu);
    assert_eq!(traps(&cpu), [(0xffff_0ff1, CODE + 5)]);
    assert_eq!(cpu.regs[7], 0xa004);
}

/// Runs `tail`, at CODE + 21, with IA32_DEBUGCTL.BTF and TF set.
fn stepped_on_branches(tail: &[u8]) -> Box<Cpu> {
    // mov ecx, 1d9h; mov eax, 2; xor edx, edx; wrmsr; pushf; or byte [esp + 1], 1; popf
    #[rustfmt::skip] // an instruction a row
    let head = [
        0xb9, 0xd9, 1, 0, 0, 0xb8, 2, 0, 0, 0, 0x31, 0xd2, 0x0f, 0x30,
        0x9c, 0x80, 0x4c, 0x24, 1, 1, 0x9d,
    ];
    let program = [&head, tail].concat();
    let mut cpu = traced(&program);
    code(&cpu, CODE + program.len() as u64, &UNTRACE);
    until_halt(&mut cpu);
    cpu
}

#[test]
fn with_btf_only_taken_branches_trap() {
    // xor eax, eax; jnz +1; jz +1; nop; nop; nop
    let mut cpu = stepped_on_branches(&[0x31, 0xc0, 0x75, 1, 0x74, 1, 0x90, 0x90, 0x90]);
    assert_eq!(traps(&cpu)[..2], [(STEPPED, CODE + 28), (STEPPED, CODE + 29)], "BTF is clear after the trap");
    assert_eq!(cpu.read_msr(0x1d9), Ok(0));
}

#[test]
fn with_btf_a_branch_taken_to_the_next_instruction_traps_and_one_not_taken_does_not() {
    // xor eax, eax; jnz +0; jz +0; nop
    let cpu = stepped_on_branches(&[0x31, 0xc0, 0x75, 0, 0x74, 0, 0x90]);
    assert_eq!(traps(&cpu)[0], (STEPPED, CODE + 27));
}

#[test]
fn what_mov_ss_holds_back_comes_with_the_exception_of_icebp() {
    // mov ss, [9800h]; int1; pushf; and byte [esp + 1], ~1; popf; hlt
    let mut cpu = traced(&[0x8e, 0x15, 0, 0x98, 0, 0, 0xf1]);
    code(&cpu, CODE + 7, &UNTRACE);
    put(&cpu, 0x9800, 2, u64::from(DATA0));
    (cpu.dr[1], cpu.dr[7]) = (0x9800, 0x0070_0408);
    until_halt(&mut cpu);
    assert_eq!(traps(&cpu), [(0xffff_0ff2, CODE + 7)]);
}

#[test]
fn what_mov_ss_holds_back_comes_in_the_handler_of_a_software_interrupt() {
    // mov ss, [9800h]; int 40h; hlt
    let mut cpu = traced(&[0x8e, 0x15, 0, 0x98, 0, 0, 0xcd, 0x40, 0xf4]);
    code(&cpu, 0x1_0040, &[0xcf]);
    put(&cpu, 0x9800, 2, u64::from(DATA0));
    (cpu.dr[1], cpu.dr[7]) = (0x9800, 0x0070_0408);
    until_halt(&mut cpu);
    assert_eq!(traps(&cpu), [(0xffff_0ff2, 0x1_0040)]);
}

#[test]
fn an_nmi_waits_for_the_instruction_after_sti() {
    let mut cpu = protected();
    // sti; hlt; the NMI handler halts
    code(&cpu, CODE, &[0xfb, 0x90, 0x90, 0xf4]);
    code(&cpu, 0x1_0002, &[0xf4]);
    cpu.raise_nmi();
    cpu.inhibit = crate::state::shadow::STI;
    until_halt(&mut cpu);
    assert_eq!(get(&cpu, cpu.regs[4], 4), CODE + 2, "after STI and the instruction behind it");
}

#[test]
fn fetching_beyond_the_limit_of_cs_is_a_general_protection_fault() {
    for (limit, at) in [(0xffff, 0xfffe), (0x8003, 0x8002), (0x8002, 0x8002)] {
        let mut cpu = real();
        cpu.set_segment(Seg::Cs, Segment { limit, ..*cpu.segment(Seg::Cs) });
        // Two NOPs, then one that crosses the limit, or lies beyond it.
        code(&cpu, at - 2, &[0x90, 0x90, 0xb8, 0, 0, 0x90]);
        code(&cpu, 0x1000 + 13 * 16, &[0xf4]);
        cpu.rip = at - 2;
        until_halt(&mut cpu);
        assert_eq!((get(&cpu, cpu.regs[4], 2), cpu.regs[0]), (at, 0), "{limit:#x}");
    }
    let mut cpu = real();
    code(&cpu, 0xffff, &[0x90, 0x90]);
    code(&cpu, 0x1000 + 13 * 16, &[0xf4]);
    cpu.rip = 0xffff;
    until_halt(&mut cpu);
    assert_eq!(get(&cpu, cpu.regs[4], 4), 0, "IP 10000h, pushed as 0000h");
}

#[test]
fn a_transfer_to_an_address_that_is_not_canonical_faults_where_it_stands() {
    // jmp rax; call rax; ret; ret 8; jmp [rbx]; call [rbx]
    for c in [&[0xff, 0xe0][..], &[0xff, 0xd0], &[0xc3], &[0xc2, 8, 0], &[0xff, 0x23], &[0xff, 0x13]] {
        let mut cpu = long();
        code(&cpu, CODE, &[0x90, 0x90]);
        code(&cpu, CODE + 2, c);
        code(&cpu, 0x1_000d, &[0xf4]);
        (cpu.regs[0], cpu.regs[3], cpu.regs[4]) = (1 << 47, 0x9000, 0x6000);
        put(&cpu, 0x9000, 8, 1 << 47);
        put(&cpu, 0x6000, 8, 1 << 47);
        until_halt(&mut cpu);
        assert_eq!(slots(&cpu, cpu.regs[4], 8, 2), [0, CODE + 2], "{c:02x?}");
        assert_eq!(get(&cpu, cpu.regs[4] + 32, 8), 0x6000, "{c:02x?}");
        assert_eq!(cpu.counts().kernel.instructions, 3, "{c:02x?}: NOP, NOP, HLT");
    }
}

#[test]
fn an_instruction_of_more_than_15_bytes_is_a_general_protection_fault() {
    // Prefixes before a NOP, UD2 and an opcode that is none; where they begin; the vector.
    #[rustfmt::skip] // an instruction a row
    let cases: [(usize, &[u8], u64, u64); 6] = [
        (15, &[0x90], CODE, 13), (14, &[0x90, 0xf4], CODE, 13), (14, &[0x0f, 0x0b], CODE, 13),
        (13, &[0x0f, 0x0b], CODE, 6), (12, &[0x0f, 0x04], CODE, 6), (15, &[0x90], 0x8ff8, 13),
    ];
    for (prefixes, rest, at, vector) in cases {
        let mut cpu = protected();
        code(&cpu, at, &[&vec![0x2e; prefixes][..], rest].concat());
        code(&cpu, 0x1_0000 + vector, &[0xf4]);
        code(&cpu, at + 15, &[0xf4]);
        cpu.rip = at;
        until_halt(&mut cpu);
        let expected = if prefixes == 14 && rest[0] == 0x90 { at + 16 } else { 0x1_0001 + vector };
        assert_eq!(cpu.rip, expected, "{prefixes} {rest:x?}");
    }
}

#[test]
fn an_interrupt_between_iterations_pushes_rf() {
    let mut cpu = protected();
    cpu.set_flags(0x302);
    code(&cpu, CODE, &[0xf3, 0xaa, 0xf4]);
    code(&cpu, 0x1_0001, &[0xf4]);
    (cpu.regs[1], cpu.regs[7]) = (2, 0xa000);
    until_halt(&mut cpu);
    assert_eq!(slots(&cpu, cpu.regs[4], 4, 3), [CODE, 8, 0x1_0302]);
}

#[test]
fn a_triple_fault_ends_the_run() {
    let mut cpu = protected();
    cpu.idtr.limit = 0;
    code(&cpu, CODE, &[0x0f, 0x0b]);
    assert_eq!(cpu.run(&mut NoDoors, 10_000), Exit::Shutdown);
    assert_eq!((cpu.activity, cpu.rip), (Activity::Shutdown, CODE));
}

#[test]
fn an_interrupt_request_ends_a_halt_after_sti() {
    let mut cpu = protected();
    // sti; hlt; hlt, and the handler of vector FFh: inc ebx; cli; hlt
    code(&cpu, CODE, &[0xfb, 0xf4, 0xf4]);
    code(&cpu, 0x1_00ff, &[0x43, 0xfa, 0xf4]);
    cpu.regs[3] = 0;
    until_halt(&mut cpu);
    assert_eq!((cpu.rip, cpu.regs[3]), (CODE + 2, 0));
    cpu.set_intr(true);
    until_halt(&mut cpu);
    assert_eq!((cpu.rip, cpu.regs[3], get(&cpu, cpu.regs[4], 4)), (0x1_0102, 1, CODE + 2));
}

#[test]
fn real_mode_enters_protected_and_long_mode() {
    let mut cpu = real();
    cpu.regs[3] = 0;
    write_gdt(&cpu);
    map(&mut cpu);
    put(&cpu, 0x900, 2, 0xff);
    put(&cpu, 0x902, 4, GDT);
    // lgdt [900h]; mov eax, 20h; mov cr4, eax; mov eax, TABLES; mov cr3, eax
    code(&cpu, CODE, &[0x0f, 0x01, 0x16, 0x00, 0x09, 0x66, 0xb8, 0x20, 0, 0, 0, 0x0f, 0x22, 0xe0]);
    code(&cpu, CODE + 14, &[0x66, 0xb8, 0, 0, 0x0f, 0, 0x0f, 0x22, 0xd8]);
    // mov ecx, C0000080h; mov eax, 100h; xor edx, edx; wrmsr; mov eax, 80000001h; mov cr0, eax; jmp CODE64:9000h
    code(&cpu, CODE + 23, &[0x66, 0xb9, 0x80, 0, 0, 0xc0, 0x66, 0xb8, 0, 1, 0, 0, 0x66, 0x31, 0xd2, 0x0f, 0x30]);
    code(&cpu, CODE + 40, &[0x66, 0xb8, 1, 0, 0, 0x80, 0x0f, 0x22, 0xc0, 0xea, 0x00, 0x90, CODE64 as u8, 0]);
    // mov rbx, 123456789abcdef0h; hlt
    code(&cpu, 0x9000, &[0x48, 0xbb, 0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12, 0xf4]);
    until_halt(&mut cpu);
    assert_eq!((cpu.code_bits(), cpu.rip, cpu.regs[3]), (64, 0x900b, 0x1234_5678_9abc_def0));
    assert_eq!((cpu.efer(), cpu.cr(0), selector(&cpu, Seg::Cs)), (0x500, Some(0x8000_0011), CODE64));
}

#[test]
fn two_operands_that_share_a_tlb_entry_do_not_drive_each_other_out_for_ever() {
    let mut cpu = long();
    // push qword [rbx]; call [rbx]; and at 9000h: hlt
    code(&cpu, CODE, &[0xff, 0x33, 0xff, 0x13]);
    code(&cpu, 0x9000, &[0xf4]);
    put(&cpu, 0x6100, 8, 0x9000);
    cpu.regs[3] = HIGH + 0x6100;
    until_halt(&mut cpu);
    assert_eq!((cpu.rip, cpu.regs[4]), (0x9001, 0x6fe8));
    assert_eq!(slots(&cpu, cpu.regs[4], 8, 2), [CODE + 4, 0x9000]);
    assert_eq!(cpu.counts().kernel.instructions, 3);
}
