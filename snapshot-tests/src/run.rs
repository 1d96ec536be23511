//! Runs of lessons and flat guests on a machine of their own.

use cpu_x86::Counts;
use emu_core::Time;
use frontend::load::Kind;
use frontend::pc::{End, Limits, Machine, Quiet, Setup};

/// A machine at its end.
pub struct Ended {
    /// The machine, for listings.
    pub machine: Machine,
    /// Why it ended.
    pub end: End,
    /// What it wrote on COM1.
    pub output: String,
}

impl Ended {
    /// Output, exit status and exact counts.
    pub fn text(&self) -> String {
        format!("{}{}{}", self.output, self.status(), counts(&self.machine.counts()))
    }

    /// Output and exit status.
    pub fn transcript(&self) -> String {
        format!("{}{}", self.output, self.status())
    }

    fn status(&self) -> String {
        match &self.end {
            End::Exit(status) => format!("exit status {status}\n"),
            other => format!("ended by {other:?}\n"),
        }
    }
}

/// The machine for `image`, not yet started.
pub fn machine(image: &[u8], kind: Kind, ram_bytes: u64, processors: u32, quantum: u64) -> Machine {
    let setup = Setup {
        ram_bytes,
        processors,
        quantum,
        image,
        initrd: None,
        append: "",
        unpack: false,
        kind: Some(kind),
        core_mhz: frontend::pc::TSC_MHZ,
        limits: Limits { instructions: 100_000_000, time: Time::s(10) },
        reboot: false,
        triple_fault_resets: false,
    };
    Machine::build(&setup).expect("a small machine is built from an image of our own")
}

/// Runs `machine` to its end.
pub fn run(mut machine: Machine) -> Ended {
    let mut host = Quiet::default();
    let end = machine.run(&mut host);
    Ended { machine, end, output: String::from_utf8_lossy(&host.written).into_owned() }
}

/// Runs a lesson, its processor in turns of `quantum` ticks.
pub fn lesson(lesson: &roms::Lesson, quantum: u64) -> Ended {
    run(machine(lesson.image, Kind::Rom, 16 << 20, 1, quantum))
}

/// Runs a flat guest.
pub fn guest(guest: &roms::Guest, processors: u32) -> Ended {
    run(machine(guest.image, Kind::Multiboot, 64 << 20, processors, 1000))
}

/// Exact counts, a line a figure.
fn counts(all: &[Counts]) -> String {
    let mut text = String::new();
    for (n, c) in all.iter().enumerate() {
        for (ring, facts) in [("kernel", c.kernel), ("user", c.user)] {
            text.push_str(&format!(
                "vCPU {n} {ring}: {} instructions, {} branches, {} conditional\n",
                facts.instructions, facts.branches, facts.conditional
            ));
        }
        text.push_str(&format!("vCPU {n}: {} cycles, {} ticks\n", c.cycles, c.clock));
    }
    text
}
