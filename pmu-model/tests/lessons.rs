//! The lesson ROMs on a processor with this unit and nothing but a serial port: every count is as expected.

use cpu_x86::{Counts, Cpu, Doors, Exit, Refused, Ring, Sampled};
use emu_core::{Gpa, Ram};
use pmu_model::Unit;
use std::sync::Arc;

/// COM1 that is always ready, the exit port, and the unit.
#[derive(Default)]
struct Board {
    unit: Unit,
    printed: String,
    status: Option<u32>,
    pmis: u32,
    /// COM1's line control: bit 7 turns the data port into the divisor.
    line_control: u32,
}

impl Doors for Board {
    fn memory_read(&mut self, _at: Gpa, _bytes: u32, _now: &Counts) -> u64 {
        u64::MAX
    }
    fn memory_write(&mut self, _at: Gpa, _bytes: u32, _value: u64, _now: &Counts) {}
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
    fn msr_read(&mut self, msr: u32, now: &Counts) -> Option<Result<u64, Refused>> {
        self.unit.msr_read(msr, now)
    }
    fn msr_write(&mut self, msr: u32, value: u64, now: &Counts) -> Option<Result<(), Refused>> {
        self.unit.msr_write(msr, value, now)
    }
    fn rdpmc(&mut self, ecx: u32, now: &Counts) -> Result<u64, Refused> {
        self.unit.rdpmc(ecx, now)
    }
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        self.unit.cpuid(leaf, subleaf)
    }
    fn send_ipi(&mut self, _icr: u64) {}
    fn end_of_interrupt(&mut self, _vector: u8) {}
    fn acknowledge_pic(&mut self) -> u8 {
        0xff
    }
    fn pmu_deadline(&mut self, now: &Counts, ring: Ring) -> u64 {
        self.unit.deadline(now, ring)
    }
    fn pmu_settle(&mut self, now: &Counts, _processor: &mut dyn Sampled) -> bool {
        let requested = self.unit.settle(now);
        self.pmis += u32::from(requested);
        requested
    }
    fn wants_attention(&self) -> bool {
        self.status.is_some()
    }
}

fn run(image: &[u8], slice: u64) -> (Board, Counts, Exit) {
    let base = Gpa((1 << 32) - image.len() as u64);
    let ram = Ram::new(1 << 20, &[(base, image)]).expect("it fits");
    let mut cpu = Cpu::new(Arc::new(ram), 0);
    let mut board = Board::default();
    let mut until = slice;
    loop {
        match cpu.run(&mut board, until) {
            Exit::Time if until < 10_000_000 => until += slice,
            Exit::Halted if cpu.next_event().is_some() => {
                let wake = cpu.next_event().unwrap_or(0).max(cpu.counts().clock + 1);
                cpu.skip_to(wake.min(until));
            }
            exit => return (board, cpu.counts(), exit),
        }
    }
}

#[test]
fn every_lesson_counts_what_it_expects() {
    for lesson in roms::lessons() {
        let (board, _, exit) = run(lesson.image, u64::MAX / 2);
        assert_eq!((board.status, exit), (Some(0), Exit::Attention), "{}:\n{}", lesson.name, board.printed);
        let reports: Vec<&str> = board.printed.lines().filter(|l| l.starts_with("@@ ")).collect();
        let expected: Vec<String> =
            lesson.expected.iter().map(|(what, n)| format!("@@ what={what} expected={n} counted={n}")).collect();
        assert_eq!(reports, expected, "{}", lesson.name);
    }
}

#[test]
fn what_is_counted_does_not_depend_on_how_the_run_is_cut() {
    for lesson in roms::lessons() {
        let (whole, counts, _) = run(lesson.image, u64::MAX / 2);
        for slice in [1, 7, 1000] {
            let (cut, cut_counts, _) = run(lesson.image, slice);
            assert_eq!((cut.printed, cut_counts), (whole.printed.clone(), counts), "{} by {slice}", lesson.name);
        }
    }
}

#[test]
fn the_overflow_lesson_takes_40_interrupts() {
    let (board, ..) = run(roms::lessons()[2].image, u64::MAX / 2);
    assert_eq!(board.pmis, 40);
}
