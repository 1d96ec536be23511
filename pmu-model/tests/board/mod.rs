//! A processor with its whole PMU, and nothing but a serial port and an exit port.
#![allow(dead_code, reason = "each test uses its part")]

use cpu_x86::{Counts, Cpu, Doors, Exit, PmuDoors, Sampled};
use emu_core::{Gpa, Ram};
use pmu_model::uarch::Parameters;
use pmu_model::{Pmu, Profile};
use std::sync::Arc;

/// COM1 that is always ready, the exit port, and the PMU.
pub struct Board {
    pub pmu: Pmu,
    pub printed: String,
    pub status: Option<u32>,
    /// Instructions retired at each interrupt request.
    pub pmis: Vec<u64>,
    /// COM1's line control: bit 7 turns the data port into the divisor.
    line_control: u32,
}

impl Doors for Board {
    fn port_read(&mut self, port: u16, _bytes: u32, _now: &Counts) -> u32 {
        if port == 0x3fd { 0x60 } else { u32::MAX }
    }
    fn port_write(&mut self, port: u16, _bytes: u32, value: u32, _now: &Counts) {
        match port {
            0x3fb => self.line_control = value,
            0x3f8 if self.line_control & 0x80 == 0 => self.printed.push(char::from(value as u8)),
            0xf4 => self.status = Some(value),
            _ => {}
        }
    }
    fn pmu(&mut self) -> &mut dyn PmuDoors {
        &mut self.pmu
    }
    fn settle(&mut self, now: &Counts, processor: &mut dyn Sampled) -> bool {
        let requested = self.pmu.settle(now, processor);
        if requested {
            self.pmis.push(now.kernel.instructions + now.user.instructions);
        }
        requested
    }
    fn wants_attention(&self) -> bool {
        self.status.is_some()
    }
}

/// How a run goes.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// The processor is left after so many ticks, again and again.
    pub slice: u64,
    pub profile: Profile,
    /// The core observes whatever is programmed.
    pub always: bool,
}

impl Default for How {
    fn default() -> How {
        How { slice: u64::MAX / 2, profile: Profile::default(), always: false }
    }
}

impl Board {
    pub fn new(how: How) -> Board {
        let mut pmu = Pmu::new(how.profile, &Parameters::SPR);
        pmu.observe_always(how.always);
        Board { pmu, printed: String::new(), status: None, pmis: Vec::new(), line_control: 0 }
    }
}

/// Runs an image that ends at 4 GiB until it asks to stop.
pub fn run(image: &[u8], how: How) -> (Board, Counts, Exit) {
    let base = Gpa((1 << 32) - image.len() as u64);
    let ram = Ram::new(1 << 20, &[(base, image)]).expect("it fits");
    let mut cpu = Cpu::new(Arc::new(ram), 0);
    let mut board = Board::new(how);
    let mut until = how.slice;
    loop {
        match cpu.run(&mut board, until) {
            Exit::Time if until < 10_000_000 => until += how.slice,
            Exit::Halted if cpu.next_event().is_some() => {
                let wake = cpu.next_event().unwrap_or(0).max(cpu.counts().clock + 1);
                cpu.skip_to(wake.min(until));
            }
            exit => return (board, cpu.counts(), exit),
        }
    }
}
