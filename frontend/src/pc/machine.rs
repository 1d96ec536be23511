//! The machine as a parts list: built from a [`Setup`], powered on, reset.

use super::Pmu;
use super::board::Board;
use super::chips::Chips;
use super::firmware;
use super::run::Limits;
use super::watch::Glance;
use crate::load::{self, Entry, Kind, LoadError, Piece, Plan, Source};
use cpu_x86::{Counts, Cpu, Features, Long64, Table};
use emu_core::{Gpa, Overlap, Ram, RamError, Time};
use pmu_model::host::live::{Hosted, Outcome};
use pmu_model::uarch::Parameters;
use pmu_model::{Now, Profile, View};
use std::sync::Arc;

/// What to build and start.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// Bytes of RAM, a multiple of 4096, at least 1 MiB.
    pub ram_bytes: u64,
    /// Number of processors, 1 to 64.
    pub processors: u32,
    /// Ticks that a processor runs before the next one's turn.
    pub quantum: u64,
    /// Frequency of the cores, in MHz: a multiple of 100 from 2200, the TSC's, to 4800.
    pub core_mhz: u32,
    /// Kernel or ROM.
    pub image: &'a [u8],
    /// Initial RAM disk or module.
    pub initrd: Option<&'a [u8]>,
    /// Kernel command line.
    pub append: &'a str,
    /// Unpack a bzImage here and not in the guest.
    pub unpack: bool,
    /// What the image is, `None` to look.
    pub kind: Option<Kind>,
    /// When to end.
    pub limits: Limits,
    /// Does a reset start the machine anew (else it ends the run)?
    pub reboot: bool,
    /// Is a triple fault a reset, as on a PC's board (else it ends the run)?
    pub triple_fault_resets: bool,
}

/// Why a machine could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Guest memory.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// The image.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Two chips at one address: a mistake in the parts list.
    #[error(transparent)]
    Overlap(#[from] Overlap),
}

/// A PC.
pub struct Machine {
    pub(super) ram: Arc<Ram>,
    pub(super) board: Board,
    pub(super) cpus: Vec<Box<Cpu>>,
    pub(super) pmus: Vec<Pmu>,
    /// The host's side of each processor, where the machine is a guest's: see `under`.
    pub(super) hosts: Vec<Hosted>,
    /// Which processors were found halted with nothing pending, and have heard nothing since.
    pub(super) idle: Vec<bool>,
    /// The latest clock that any processor has read: see [`Cpu::shown_clock`].
    pub(super) shown_clock: u64,
    pub(super) quantum: u64,
    pub(super) limits: Limits,
    pub(super) reboot: bool,
    pub(super) triple_fault_resets: bool,
    plan: Plan,
    /// Registers of the PMU that are written at each start.
    registers: Vec<(u32, u64)>,
    reload: Option<Reload>,
}

/// What the PMU and, because of it, the processor offer.
const PROFILE: Profile = Profile::SAPPHIRE_RAPIDS;
const FEATURES: Features = Features { pebs: true, lbr: true, core_ratio: 22 };

/// Multiples of 100 MHz, as processors count.
fn core_ratio(core_mhz: u32) -> u8 {
    (core_mhz / 100).clamp(22, 48) as u8
}

/// A processor's PMU at power-on.
pub fn pmu() -> Pmu {
    Pmu::new(PROFILE, &Parameters::SPR)
}

/// Brings the bytes of the image again, for a reset; `None` when they cannot be had any more.
pub type Reload = Box<dyn FnMut() -> Option<Vec<Piece>>>;

impl Machine {
    /// Builds the machine and powers it on.
    ///
    /// # Errors
    /// The image cannot be started ([`LoadError`]), or the host has no memory for the guest.
    pub fn build(setup: &Setup<'_>) -> Result<Machine, BuildError> {
        let plan = plan(setup)?;
        let roms: Vec<(Gpa, &[u8])> = plan.roms.iter().map(|(at, b)| (*at, b.as_slice())).collect();
        let ram = Arc::new(Ram::new(setup.ram_bytes, &roms)?);
        let board = Board::new(ram.clone(), Chips::new(setup.processors, setup.ram_bytes))?;
        let mut machine = Machine {
            board,
            cpus: (0..setup.processors).map(|id| processor(&ram, id, setup)).collect(),
            pmus: (0..setup.processors).map(|_| pmu()).collect(),
            hosts: Vec::new(),
            idle: vec![false; setup.processors as usize],
            ram,
            shown_clock: 0,
            quantum: setup.quantum.max(1),
            limits: setup.limits,
            reboot: setup.reboot,
            triple_fault_resets: setup.triple_fault_resets,
            plan,
            registers: Vec::new(),
            reload: None,
        };
        machine.enter();
        Ok(machine)
    }

    /// Drops the bytes of the image, which may be as many as the guest's memory; a reset gets them from `reload`.
    pub fn reload_with(&mut self, reload: Reload) {
        self.plan.pieces = Vec::new();
        self.reload = Some(reload);
    }

    /// Reads the pieces of the image that `setup` names, as [`Machine::build`] does.
    ///
    /// # Errors
    /// As [`Machine::build`].
    pub fn pieces(setup: &Setup<'_>) -> Result<Vec<Piece>, BuildError> {
        Ok(plan(setup)?.pieces)
    }

    /// Puts the machine under a hypervisor, before it has run: `hosts` are one for each processor. The guest has what its
    /// vPMU gives it, and no PEBS and no LBRs.
    pub fn put_under(&mut self, hosts: Vec<Hosted>) {
        for cpu in &mut self.cpus {
            cpu.offer(Features { pebs: false, lbr: false, ..cpu.offered() });
        }
        self.hosts = hosts;
    }

    /// The host's account of each processor, up to now; empty without a hypervisor.
    pub fn outcomes(&mut self) -> Vec<Outcome> {
        let counts: Vec<Counts> = self.counts();
        let seats = counts.iter().zip(&mut self.pmus).zip(&mut self.hosts);
        let outcome = |((counts, pmu), host): ((_, &mut Pmu), &mut Hosted)| {
            host.outcome(Now { counts, signals: Some(&pmu.signals()) })
        };
        seats.map(outcome).collect()
    }

    /// The host's side of the first processor.
    pub fn host(&mut self) -> Option<&mut Hosted> {
        self.hosts.first_mut()
    }

    /// Other limits, for the next run.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What was started.
    pub fn kind(&self) -> Kind {
        self.plan.kind
    }

    /// The chips, for lists.
    pub fn board(&mut self) -> &mut Board {
        &mut self.board
    }

    /// What each processor has retired.
    pub fn counts(&self) -> Vec<Counts> {
        self.cpus.iter().map(|c| c.counts()).collect()
    }

    /// The processors, for listings of their state.
    pub fn processors(&self) -> impl Iterator<Item = &Cpu> {
        self.cpus.iter().map(|c| &**c)
    }

    /// Lets the model of each core observe all that runs, whatever the guest has programmed: what the guest sees and
    /// counts stays the same.
    pub fn observe_always(&mut self) {
        self.pmus.iter_mut().for_each(|pmu| pmu.observe_always(true));
        self.hosts.iter_mut().for_each(Hosted::observe_always);
    }

    /// Writes registers of each processor's PMU before the guest starts, and after each reset.
    ///
    /// # Errors
    /// The number of the first one that is no register of the PMU, or refuses its value.
    pub fn write_registers(&mut self, registers: &[(u32, u64)]) -> Result<(), u32> {
        self.registers = registers.to_vec();
        self.set_registers()
    }

    fn set_registers(&mut self) -> Result<(), u32> {
        for (pmu, cpu) in self.pmus.iter_mut().zip(&self.cpus) {
            // A WRMSR retires after its effect and is not counted by it: as if one had just done so.
            let mut now = cpu.counts();
            now.kernel.instructions = now.kernel.instructions.wrapping_sub(1);
            now.cycles = now.cycles.wrapping_sub(1);
            for (number, value) in &self.registers {
                let Some(Ok(())) = pmu.msr_write(*number, *value, &now) else { return Err(*number) };
            }
        }
        Ok(())
    }

    /// All of it as it stands between two runs.
    pub fn glance(&mut self) -> Glance<'_> {
        self.glance_at(0)
    }

    /// All of it at the turn of `processor`.
    pub(super) fn glance_at(&mut self, processor: usize) -> Glance<'_> {
        let signals = self.pmus.iter_mut().map(|pmu| pmu.told().clone()).collect();
        Glance { processor, cpus: &self.cpus, signals, ram: &self.ram }
    }

    /// The counters of `processor`, general ones first, as its PMU was told last.
    pub fn views(&self, processor: usize) -> Vec<View> {
        self.pmus[processor].views(&self.cpus[processor].counts())
    }

    /// Guest memory.
    pub fn ram(&self) -> &Ram {
        &self.ram
    }

    /// Resets board and processors, puts the image in place again and starts it. Clocks and counts go on. False when
    /// the image is not to be had any more.
    #[must_use]
    pub(super) fn reset(&mut self, now: Time) -> bool {
        tracing::info!(%now, "reset");
        if let Some(reload) = &mut self.reload {
            let Some(pieces) = reload() else { return false };
            self.plan.pieces = pieces;
        }
        self.board.reset(now);
        for cpu in &mut self.cpus {
            cpu.power_on();
            for slot in self.ram.slots() {
                cpu.forget(slot.base, slot.bytes);
            }
        }
        for ((cpu, pmu), host) in self.cpus.iter().zip(&mut self.pmus).zip(&mut self.hosts) {
            let (counts, signals) = (cpu.counts(), pmu.signals());
            host.reset(Now { counts: &counts, signals: Some(&signals) });
        }
        self.pmus.iter_mut().for_each(Pmu::reset);
        self.set_registers().expect("they were taken before");
        self.idle.fill(false);
        self.enter();
        if self.reload.is_some() {
            self.plan.pieces = Vec::new();
        }
        true
    }

    /// Puts the image into memory and the bootstrap processor at its entry.
    fn enter(&mut self) {
        for piece in &self.plan.pieces {
            put(&self.ram, piece);
        }
        let firmware = self.plan.kind != Kind::Rom;
        for cpu in self.cpus.iter_mut().filter(|_| firmware) {
            cpu.set_firmware_state(0xc000_0000);
        }
        start(&mut self.cpus[0], self.plan.entry);
    }
}

/// The image's plan and firmware's tables.
fn plan(setup: &Setup<'_>) -> Result<Plan, LoadError> {
    let firmware = firmware::tables(setup.processors, setup.ram_bytes);
    let mut plan = load::plan(&Source {
        image: setup.image,
        initrd: setup.initrd,
        append: setup.append,
        ram_bytes: setup.ram_bytes,
        rsdp: firmware.rsdp,
        reserved: &firmware.reserved,
        unpack: setup.unpack,
        kind: setup.kind,
    })?;
    if plan.kind != Kind::Rom {
        plan.pieces.extend(firmware.pieces);
    }
    Ok(plan)
}

fn processor(ram: &Arc<Ram>, apic_id: u32, setup: &Setup<'_>) -> Box<Cpu> {
    let mut cpu = Cpu::new(ram.clone(), apic_id);
    cpu.cpu_count = setup.processors;
    cpu.offer(Features { core_ratio: core_ratio(setup.core_mhz), ..FEATURES });
    cpu
}

/// Copies a piece and clears its zeros. The plan was checked against this memory, slot by slot.
fn put(ram: &Ram, piece: &Piece) {
    static ZEROS: [u8; 65536] = [0; 65536];
    let mut done = ram.write(piece.at, &piece.bytes) || piece.bytes.is_empty();
    let mut at = piece.at.0 + piece.bytes.len() as u64;
    while at < piece.end() {
        let bytes = (piece.end() - at).min(ZEROS.len() as u64);
        done &= ram.write(Gpa(at), &ZEROS[..bytes as usize]);
        at += bytes;
    }
    if !done {
        tracing::error!(what = piece.what, at = %piece.at, "not all of it lies in RAM");
    }
}

/// Selectors of the GDT in `load`, as boot.rst names them.
const BOOT_CS: u16 = 0x10;
const BOOT_DS: u16 = 0x18;

fn start(cpu: &mut Cpu, entry: Entry) {
    let gdt = Table { base: load::GDT, limit: 8 * 4 - 1 };
    match entry {
        Entry::Reset => {}
        Entry::Protected { eip, eax, ebx, esi } => {
            cpu.set_flat32(BOOT_CS, BOOT_DS);
            cpu.gdtr = gdt;
            cpu.regs[..16].fill(0);
            (cpu.regs[0], cpu.regs[3], cpu.regs[6]) = (eax.into(), ebx.into(), esi.into());
            cpu.rip = eip.into();
        }
        Entry::Long { rip, rsi, cr3 } => {
            cpu.set_long64(Long64 { cr3: cr3.0, gdt, code: BOOT_CS, data: BOOT_DS });
            cpu.regs[..16].fill(0);
            cpu.regs[6] = rsi;
            cpu.rip = rip;
        }
    }
    cpu.next_rip = cpu.rip;
}
