//! The machine: a processor with its PMU, a megabyte, and nothing behind the other doors.

use super::code::{exception, interrupt, stubs};
use super::guest::Guest;
use super::place;
use cpu_x86::{Counts, Cpu, Doors, Exit, Features, Long64, PmuDoors, Segment, Table};
use emu_core::{Gpa, Ram};
use pmu_model::uarch::Parameters;
use pmu_model::{Pmu, Profile};
use std::sync::Arc;

const RAM_BYTES: u64 = 0x10_0000;
/// No guest runs for longer, in clock ticks.
const MOST: u64 = 40_000;
/// PG, WP, NE, ET, MP, PE.
const CR0: u64 = 0x8001_0033;
/// OSXSAVE, OSFXSR, OSXMMEXCPT, PAE.
const CR4: u64 = 0x4_0620;
const PCE: u64 = 1 << 8;

/// The doors: only the PMU is behind them.
struct Board {
    pmu: Pmu,
}

impl Doors for Board {
    fn pmu(&mut self) -> &mut dyn PmuDoors {
        &mut self.pmu
    }
}

/// A machine at the start of a guest.
pub struct Machine {
    ram: Arc<Ram>,
    cpu: Box<Cpu>,
    board: Board,
}

/// What a guest leaves.
pub struct After {
    exit: Exit,
    counts: Counts,
    regs: [u64; 16],
    rip: u64,
    memory: Vec<u8>,
    pmu: Pmu,
    /// A byte for each step, as [`place::LOG`] says.
    pub log: Vec<u8>,
    /// What each step read.
    pub results: Vec<u64>,
}

fn put(ram: &Ram, at: u64, bytes: &[u8]) {
    assert!(ram.write(Gpa(at), bytes), "it lies in memory");
}

/// Identity pages of 4 KiB: those of the guest's own code and tables cannot be written unless it is wild.
fn tables(ram: &Ram, wild: bool) {
    let entry = |at: u64, to: u64| put(ram, at, &to.to_le_bytes());
    for n in 0..3 {
        entry(place::TABLES + 0x1000 * n, (place::TABLES + 0x1000 * (n + 1)) | 7);
    }
    let leaf = place::TABLES + 0x3000;
    for page in 1..RAM_BYTES >> 12 {
        let at = page << 12;
        let flags = match at {
            place::ABSENT | 0x5_4000 => 0,
            place::READ_ONLY => 5,
            place::SUPERVISOR => 3,
            _ if at < place::LOG_PHYSICAL && !wild => 5,
            _ => 7,
        };
        entry(leaf + 8 * page, if at == place::DEVICE { place::DEVICE_PHYSICAL | 7 } else { at | flags });
    }
    for page in 0..place::LOG_PAGES {
        entry(leaf + 8 * ((place::LOG >> 12) + page), (place::LOG_PHYSICAL + (page << 12)) | 7);
        entry(leaf + 8 * ((place::LOG_PHYSICAL >> 12) + page), 0);
    }
}

/// Descriptors, gates, handlers.
fn system(ram: &Ram, guest: &Guest) {
    for ring in 0..4u64 {
        let code = 0x0020_9b00_0000_0000 | ring << 45;
        let data = 0x00cf_9300_0000_ffff | ring << 45;
        put(ram, place::GDT + 8 + 16 * ring, &code.to_le_bytes());
        put(ram, place::GDT + 16 + 16 * ring, &data.to_le_bytes());
    }
    put(ram, place::TSS + 4, &place::KERNEL_STACK.to_le_bytes());
    for vector in 0..256u64 {
        let stub = place::STUBS + 16 * vector;
        let open = matches!(vector as u8, 3 | 0x21 | place::SYSTEM_CALL);
        let kind = if open { 0xee00u64 } else { 0x8e00 };
        put(ram, place::IDT + 16 * vector, &(stub & 0xffff | 8 << 16 | kind << 32 | stub >> 16 << 48).to_le_bytes());
    }
    put(ram, place::STUBS, &stubs());
    put(ram, place::EXCEPTION, &exception());
    put(ram, place::INTERRUPT, &interrupt(guest.handler));
    put(ram, place::CODE, &guest.code);
}

impl Machine {
    /// A machine for `guest`.
    pub fn new(guest: &Guest) -> Machine {
        let ram = Arc::new(Ram::new(RAM_BYTES, &[]).expect("1 MiB"));
        tables(&ram, guest.wild);
        system(&ram, guest);
        let mut cpu = Cpu::new(ram.clone(), 0);
        cpu.offer(Features { pebs: true, lbr: true, ..Features::default() });
        let gdt = Table { base: place::GDT, limit: 71 };
        cpu.set_long64(Long64 { cr3: place::TABLES, gdt, code: 8, data: 16 });
        let _ = cpu.set_cr(0, CR0);
        let _ = cpu.set_cr(4, CR4 | if guest.pce { PCE } else { 0 });
        cpu.idtr = Table { base: place::IDT, limit: 0xfff };
        cpu.tr = Segment { selector: 0x48, base: place::TSS, limit: 0x67, attr: 0x8b };
        cpu.xcr0 = 7;
        cpu.regs[4] = place::KERNEL_STACK;
        (cpu.rip, cpu.next_rip) = (place::CODE, place::CODE);
        // x2APIC, software-enabled.
        for (msr, v) in [(0x1b, 0xfee0_0d00), (0x80f, 0x1ff)] {
            assert!(cpu.write_msr(msr, v).is_ok());
        }
        let mut pmu = Pmu::new(Profile::SAPPHIRE_RAPIDS, &Parameters::SPR);
        pmu.observe_always(guest.always);
        Machine { ram, cpu, board: Board { pmu } }
    }

    /// Runs until the guest halts or its time is over, `step` ticks at a time.
    pub fn run(mut self, step: u64) -> After {
        let exit = loop {
            let clock = self.cpu.counts().clock;
            let exit = self.cpu.run(&mut self.board, MOST.min(clock + step));
            assert!(self.cpu.counts().clock > clock || exit != Exit::Time, "time stands still");
            if exit != Exit::Time || self.cpu.counts().clock >= MOST {
                break exit;
            }
        };
        let mut memory = vec![0; RAM_BYTES as usize];
        assert!(self.ram.read(Gpa(0), &mut memory));
        let at = |physical: u64, n: usize, bytes: usize| &memory[physical as usize..][..n * bytes];
        let results = at(place::LOG_PHYSICAL + 0x1000, 256, 8).chunks(8);
        let results = results.map(|b| u64::from_le_bytes(std::array::from_fn(|n| b[n]))).collect();
        let log = at(place::LOG_PHYSICAL, 256, 1).to_vec();
        let mut regs = [0; 16];
        regs.copy_from_slice(&self.cpu.regs[..16]);
        let counts = self.cpu.counts();
        After { exit, counts, regs, rip: self.cpu.rip, memory, pmu: self.board.pmu, log, results }
    }
}

impl After {
    /// What can be read of the PMU is as it can be: invariants A1, A2 and A7 of spec/pmu.md 7. A guest that is not wild
    /// halts at its end or runs out of time.
    pub fn check_registers(&self, guest: &Guest) {
        let calm = matches!(self.exit, Exit::Time | Exit::Halted);
        assert!(calm || guest.wild, "{:?} {:x?}", self.exit, guest.steps);
        let mut pmu = self.pmu.clone();
        let mut read = |msr: u32| pmu.msr_read(msr, &self.counts).expect("there").expect("readable");
        let (mut in_use, mut interrupts) = (0, read(0x3f1) != 0);
        for n in 0..8 {
            let (legacy, full, select) = (read(0xc1 + n), read(0x4c1 + n), read(0x186 + n));
            assert!(legacy == full && full < 1 << 48);
            in_use |= u64::from(select as u8 != 0) << n;
            interrupts |= select >> 20 & 1 != 0;
        }
        let control = read(0x38d);
        for n in 0..4 {
            assert!(read(0x309 + n) < 1 << 48);
            in_use |= u64::from(control >> (4 * n) & 3 != 0) << (32 + n);
            interrupts |= control >> (4 * n) & 8 != 0;
        }
        assert_eq!(read(0x392), in_use | u64::from(interrupts) << 63);
        let legal = super::law::shows(0x38e, super::law::State::default());
        assert_eq!(read(0x38e) & !legal, 0);
    }

    /// Did both runs end alike, in all that a guest could see?
    pub fn same(&self, other: &After) -> bool {
        self.exit == other.exit
            && self.counts == other.counts
            && (self.regs, self.rip) == (other.regs, other.rip)
            && self.memory == other.memory
            && self.registers() == other.registers()
    }

    fn registers(&self) -> Vec<(u32, u64)> {
        let mut pmu = self.pmu.clone();
        let all = super::law::MSRS.into_iter();
        all.filter_map(|msr| Some((msr, pmu.msr_read(msr, &self.counts)?.ok()?))).collect()
    }

    /// How it ended, to compare by eye.
    pub fn text(&self) -> String {
        let differs = format!("{:?} {:?} rip {:x} {:x?}", self.exit, self.counts, self.rip, self.regs);
        format!(
            "{differs}\n{:x?}\n{:x?}",
            self.registers(),
            self.log.iter().take_while(|l| **l != 0).collect::<Vec<_>>()
        )
    }
}
