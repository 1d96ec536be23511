//! LBRs and PEBS on a real processor: XSAVES and XRSTORS of component 15 through the doors, and a record of what the
//! registers hold, written by the processor's own means.

use cpu_x86::{Counts, Cpu, Doors, Exit, Facts, Features, PmuDoors, Refused, Ring, Sampled, VecReg};
use emu_core::{Gpa, Ram};
use pmu_model::pebs::record::Sample;
use pmu_model::{Branch, BranchKind, Lbr, Pebs};
use std::sync::Arc;

const CODE: u64 = 0x1_0000;
const AREA: u64 = 0x2_0000;
const LBR: u64 = 1 << 15;

/// Doors with an LBR, and with PEBS that takes one sample when told to.
#[derive(Default)]
struct Board {
    lbr: Lbr,
    pebs: Pebs,
    sample: Option<Sample>,
    device_writes: u32,
    now: Counts,
}

impl Doors for Board {
    fn memory_write(&mut self, _at: Gpa, _bytes: u32, _value: u64, _now: &Counts) {
        self.device_writes += 1;
    }
    fn pmu(&mut self) -> &mut dyn PmuDoors {
        self
    }
}

impl PmuDoors for Board {
    fn msr_read(&mut self, msr: u32, _now: &Counts) -> Option<Result<u64, Refused>> {
        self.lbr.msr_read(msr).or_else(|| self.pebs.msr_read(msr)).map(Ok)
    }
    fn msr_write(&mut self, msr: u32, value: u64, _now: &Counts) -> Option<Result<(), Refused>> {
        self.lbr.msr_write(msr, value).or_else(|| self.pebs.msr_write(msr, value))
    }
    fn cpuid(&mut self, leaf: u32, _subleaf: u32) -> Option<[u32; 4]> {
        (leaf == 0x1c).then_some(pmu_model::lbr::CPUID_1C)
    }
    fn component_in_use(&mut self, n: u32) -> bool {
        n == 15 && self.lbr.in_use()
    }
    fn component_save(&mut self, _n: u32, to: &mut [u8]) {
        to.copy_from_slice(&self.lbr.image());
    }
    fn component_restore(&mut self, _n: u32, from: Option<&[u8]>) -> Result<(), Refused> {
        let image = from.map(|f| f.try_into().map_err(|_| Refused)).transpose()?;
        self.lbr.restore(image)
    }
    fn settle(&mut self, now: &Counts, processor: &mut dyn Sampled) -> bool {
        self.now = *now;
        if let Some(sample) = self.sample.take() {
            self.pebs.write(1, 1, &sample, &self.lbr, processor);
        }
        false
    }
}

/// A processor in 64-bit mode without paging, with LBRs offered and enabled in XSS, that runs `code` and halts.
fn cpu(code: &[u8]) -> Box<Cpu> {
    let ram = Arc::new(Ram::new(1 << 20, &[]).unwrap());
    assert!(ram.write(Gpa(CODE), code) && ram.write(Gpa(CODE + code.len() as u64), &[0xf4]));
    let mut cpu = Cpu::bare_64bit(ram);
    cpu.offer(Features { lbr: true, pebs: true, ..Features::default() });
    cpu.set_cr(4, 1 << 18 | 1 << 9 | 1 << 5).unwrap();
    cpu.msr.xss = LBR;
    (cpu.regs[0], cpu.regs[2], cpu.regs[3]) = (LBR, 0, AREA);
    (cpu.rip, cpu.next_rip) = (CODE, CODE);
    cpu
}

fn memory(cpu: &mut Cpu, at: u64, bytes: usize) -> Vec<u8> {
    let mut b = vec![0; bytes];
    assert!(Sampled::read(cpu, at, &mut b));
    b
}

fn put(cpu: &mut Cpu, at: u64, v: &[u8]) {
    assert!(Sampled::write(cpu, at, v));
}

fn word(cpu: &mut Cpu, at: u64) -> u64 {
    u64::from_le_bytes(memory(cpu, at, 8).try_into().unwrap())
}

fn recorded(n: u64) -> Lbr {
    let mut lbr = Lbr::default();
    lbr.msr_write(0x14ce, 0x7f_0007).unwrap().unwrap();
    for n in 1..=n {
        let (from_ring, to_ring) = (Ring::Kernel, Ring::Kernel);
        let kind = BranchKind::NearRelativeJump;
        lbr.record(&Branch { from: n, to: 2 * n, next: 0, kind, mispredicted: false, cycle: n, from_ring, to_ring });
    }
    lbr
}

/// XSAVES64 [rbx].
const XSAVES: [u8; 4] = [0x48, 0x0f, 0xc7, 0x2b];
/// XRSTORS64 [rbx].
const XRSTORS: [u8; 4] = [0x48, 0x0f, 0xc7, 0x1b];

#[test]
fn xsaves_and_xrstors_move_the_component_as_linux_does_it() {
    let mut board = Board { lbr: recorded(40), ..Board::default() };
    let mut c = cpu(&XSAVES);
    assert_eq!(c.run(&mut board, 1000), Exit::Halted);
    assert_eq!((word(&mut c, AREA + 512), word(&mut c, AREA + 520)), (LBR, 1 << 63 | LBR));
    assert_eq!(memory(&mut c, AREA + 576, 808), recorded(40).image());
    assert_eq!(memory(&mut c, AREA + 576 + 808, 64), [0; 64], "and no byte more");
    let image = memory(&mut c, AREA, 576 + 808);
    let mut c = cpu(&XRSTORS);
    put(&mut c, AREA, &image);
    let mut fresh = Board::default();
    assert_eq!(c.run(&mut fresh, 1000), Exit::Halted);
    assert_eq!((fresh.lbr.image(), fresh.lbr.entry(0).from, fresh.lbr.entry(31).from), (board.lbr.image(), 40, 9));
}

#[test]
fn it_stands_behind_the_user_components_and_is_left_out_when_initial() {
    let mut c = cpu(&XSAVES);
    (c.regs[0], c.xcr0) = (LBR | 7, 7);
    c.vec[3] = VecReg([0x33; 64]);
    let mut board = Board { lbr: recorded(1), ..Board::default() };
    assert_eq!(c.run(&mut board, 1000), Exit::Halted);
    assert_eq!((word(&mut c, AREA + 512) & !1, word(&mut c, AREA + 520)), (LBR | 6, 1 << 63 | LBR | 7));
    assert_eq!(memory(&mut c, AREA + 832, 808), recorded(1).image());
    let mut c = cpu(&XSAVES);
    put(&mut c, AREA + 576, &[0xee; 808]);
    assert_eq!(c.run(&mut Board::default(), 1000), Exit::Halted);
    assert_eq!((word(&mut c, AREA + 512), memory(&mut c, AREA + 576, 808)), (0, vec![0xee; 808]));
}

#[test]
fn xrstors_initialises_what_the_area_lacks_and_refuses_what_is_not_legal() {
    let mut c = cpu(&XRSTORS);
    put(&mut c, AREA + 520, &(1u64 << 63 | LBR).to_le_bytes());
    let mut board = Board { lbr: recorded(3), ..Board::default() };
    assert_eq!(c.run(&mut board, 1000), Exit::Halted);
    assert!(!board.lbr.in_use());
    let mut c = cpu(&XRSTORS);
    for (at, v) in [(512, LBR), (520, 1 << 63 | LBR), (576, 1 << 9), (584, 32)] {
        put(&mut c, AREA + at, &v.to_le_bytes());
    }
    let mut board = Board { lbr: recorded(3), ..Board::default() };
    assert_eq!(c.run(&mut board, 1000), Exit::Shutdown, "#GP without an IDT");
    assert_eq!(board.lbr, recorded(3));
}

#[test]
fn without_its_bit_in_xss_nothing_is_moved() {
    let mut c = cpu(&XSAVES);
    c.msr.xss = 0;
    assert_eq!(c.run(&mut Board { lbr: recorded(3), ..Board::default() }, 1000), Exit::Halted);
    assert_eq!((word(&mut c, AREA + 512), word(&mut c, AREA + 520)), (0, 1 << 63));
}

#[test]
fn lbr_msrs_and_leaf_1c_are_reached_by_instructions() {
    // mov ecx,14ceh; mov eax,7f0007h; xor edx,edx; wrmsr; rdmsr; mov ebx,eax; mov eax,1ch; cpuid
    let code = [
        0xb9, 0xce, 0x14, 0, 0, 0xb8, 7, 0, 0x7f, 0, 0x31, 0xd2, 0x0f, 0x30, 0x0f, 0x32, 0x89, 0xc6, 0xb8, 0x1c, 0, 0,
        0, 0x0f, 0xa2,
    ];
    let mut c = cpu(&code);
    let mut board = Board::default();
    assert_eq!(c.run(&mut board, 1000), Exit::Halted);
    assert_eq!((c.regs[6], c.regs[0], c.regs[3], c.regs[1]), (0x7f_0007, 0x4000_000b, 7, 7));
    assert!(board.lbr.is_enabled());
}

/// Sets up a debug store at `AREA` with a buffer at `buffer`, and takes one sample of `cpu`.
fn sample(c: &mut Cpu, buffer: u64) -> Board {
    let mut board = Board { sample: Some(Sample { ip: 0x77, tsc: 0x55, memory: None }), ..Board::default() };
    for (msr, v) in [(0x600, AREA), (0x3f1, 1), (0x3f2, 6)] {
        board.pebs.msr_write(msr, v).unwrap().unwrap();
    }
    for (at, v) in [(0x20, buffer), (0x28, buffer), (0x30, buffer + 0x1000), (0x38, buffer + 0x1000)] {
        put(c, AREA + at, &v.to_le_bytes());
    }
    assert_eq!(c.run(&mut board, 1000), Exit::Halted);
    board
}

#[test]
fn a_record_holds_what_the_processor_s_registers_hold() {
    let mut c = cpu(&[]);
    for n in 0..16 {
        c.regs[n] = 0x1111_1111_1111_1111 * n as u64;
        c.vec[n] = VecReg(std::array::from_fn(|b| (16 * n + b) as u8));
    }
    c.set_flags(0x8d7);
    let board = sample(&mut c, AREA + 0x1000);
    let record = memory(&mut c, AREA + 0x1000, 32 + 144 + 256);
    let words: Vec<u64> = record.chunks(8).map(|b| u64::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(words[..4], [432 << 48 | 6, 0x77, 1, 0x55]);
    assert_eq!(words[4..6], [0x8d7, CODE]);
    assert!((0..16).all(|n| words[6 + n] == 0x1111_1111_1111_1111 * n as u64));
    assert!((0..256).all(|b| record[176 + b] == b as u8));
    assert_eq!(word(&mut c, AREA + 0x28), AREA + 0x1000 + 432);
    assert_eq!(board.now.kernel, Facts { instructions: 1, ..Facts::default() }, "the record is no instruction: HLT is");
}

#[test]
fn a_buffer_in_device_memory_reaches_no_device() {
    let mut c = cpu(&[]);
    let board = sample(&mut c, 0xd000_0000);
    assert_eq!((board.device_writes, board.sample.is_none()), (0, true));
}
