//! Which machine to start: the options that `run`, `stat` and `record` share, and what they name.

use super::{Failure, number};
use crate::console::Pace;
use crate::image::debian_cached;
use crate::load::Kind;
use crate::pc::{BuildError, Limits, Machine, Setup, TSC_MHZ};
use crate::report::{About, FileAbout};
use roms::Lesson;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// The machine.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Kernel or ROM: bzImage, ELF with PVH note, vmlinux, multiboot 1, flat ROM; or `debian`, the image that
    /// `unhalted image debian` made
    pub image: Option<PathBuf>,
    /// Which kernel of `run debian`
    #[arg(long, value_name = "KERNEL", default_value = super::image::DEFAULT_KERNEL)]
    pub debian: String,
    /// The same as IMAGE
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Flat ROM to be placed so that it ends at 4 GiB, of any length
    #[arg(long, value_name = "FILE")]
    pub rom: Option<PathBuf>,
    /// Initial RAM disk, or the multiboot module
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// Kernel command line; several are joined with spaces
    #[arg(long, value_name = "LINE", allow_hyphen_values = true)]
    pub append: Vec<String>,
    /// Guest memory: 512M, 1G; a plain number is MiB
    #[arg(short, long, default_value = "1G", value_parser = number::memory)]
    pub memory: u64,
    /// Number of processors
    #[arg(long, visible_alias = "cpus", default_value = "1", value_parser = number::processors)]
    pub smp: u32,
    /// End after so many instructions or so much guest time: instructions=N, 5Ginsn, 30s; repeatable
    #[arg(long, visible_alias = "timeout", value_name = "LIMIT", value_parser = number::limit)]
    pub limit: Vec<Limits>,
    /// Let the guest's own decompressor unpack a bzImage
    #[arg(long)]
    pub no_unpack: bool,
    /// Ticks (2200 a microsecond) that a processor runs before it is the next one's turn
    #[arg(long, default_value_t = DEFAULT_QUANTUM, value_parser = number::count)]
    pub quantum: u64,
    /// Frequency of the cores in MHz: a multiple of 100 from 2200, the TSC's, to 4800. A core that is faster than the TSC
    /// does as much more in a tick
    #[arg(long, value_name = "MHZ", default_value_t = TSC_MHZ, value_parser = number::core_mhz)]
    pub core_mhz: u32,
    /// Let the model of the core (predictor, caches, TLBs, slots) observe from the start, not only while a counter takes it
    #[arg(long)]
    pub observe: bool,
    /// Write a register of the PMU on each processor before the guest starts, as firmware could: NUMBER=VALUE, both
    /// hexadecimal (186=4300c0 lets counter 0 count instructions once 38f enables it); repeatable, in order
    #[arg(long, value_name = "MSR", value_parser = number::register)]
    pub wrmsr: Vec<(u32, u64)>,
    /// Pace idle guest time to real time
    #[arg(long, value_name = "WHEN", default_value = "auto", default_missing_value = "on", num_args = 0..=1, require_equals = true)]
    pub realtime: Pace,
    /// End the run when the guest resets the machine
    #[arg(long)]
    pub no_reboot: bool,
    /// Let a triple fault reset the machine, as on a PC, and not end the run
    #[arg(long)]
    pub triple_fault_resets: bool,
}

/// Ticks of a turn: 9 microseconds of guest time.
pub const DEFAULT_QUANTUM: u64 = 20_000;

/// What to start: files or a lesson, and the command line that goes before the user's.
#[derive(Clone, Debug)]
pub struct Guest {
    path: PathBuf,
    kind: Option<Kind>,
    /// An image that is part of the program.
    embedded: Option<&'static [u8]>,
    initrd: Option<PathBuf>,
    append: String,
}

impl Guest {
    /// What the options name: one of IMAGE, --kernel and --rom; the Debian image of the cache; or `lesson` and the name
    /// of one.
    ///
    /// # Errors
    /// Nothing, several things, or something that is not there.
    pub fn of(options: &Options, name: Option<&str>) -> Result<Guest, Failure> {
        let named = [(&options.image, None), (&options.kernel, None), (&options.rom, Some(Kind::Rom))];
        let mut named = named.into_iter().filter_map(|(path, kind)| path.as_ref().map(|p| (p, kind)));
        let (path, kind) = named.next().ok_or(Failure::NoImage)?;
        if let Some((b, _)) = named.next() {
            return Err(Failure::TwoImages { a: path.clone(), b: b.clone() });
        }
        let word = options.image.as_deref().filter(|p| !p.exists());
        if word == Some(Path::new("lesson")) {
            return lesson(name.unwrap_or("")).map(Guest::of_lesson);
        }
        if let Some(b) = name {
            return Err(Failure::TwoImages { a: path.clone(), b: b.into() });
        }
        let guest =
            Guest { path: path.clone(), kind, embedded: None, initrd: options.initrd.clone(), append: String::new() };
        if word != Some(Path::new("debian")) {
            return Ok(guest);
        }
        let Some(made) = debian_cached(&options.debian, None) else {
            return Err(Failure::NoDebian { kernel: options.debian.clone() });
        };
        let initrd = guest.initrd.or(Some(made.initrd));
        Ok(Guest { path: made.kernel, initrd, append: made.append, ..guest })
    }

    fn of_lesson(lesson: &'static Lesson) -> Guest {
        Guest {
            path: format!("lesson {}", lesson.name).into(),
            kind: Some(Kind::Rom),
            embedded: Some(lesson.image),
            initrd: None,
            append: String::new(),
        }
    }

    /// Reads the files and does `what` with the setup that the options describe.
    fn with_setup<T>(
        &self,
        options: &Options,
        what: impl FnOnce(&Setup<'_>) -> Result<T, BuildError>,
    ) -> Result<T, Failure> {
        let image = match self.embedded {
            Some(bytes) => Cow::Borrowed(bytes),
            None => Cow::Owned(read("the image", &self.path)?),
        };
        let initrd = self.initrd.as_deref().map(|p| read("the initrd", p)).transpose()?;
        what(&Setup {
            ram_bytes: options.memory,
            processors: options.smp,
            quantum: options.quantum,
            image: &image,
            initrd: initrd.as_deref(),
            append: &self.command_line(options),
            unpack: !options.no_unpack,
            kind: self.kind,
            core_mhz: options.core_mhz,
            limits: options.limits(),
            reboot: !options.no_reboot,
            triple_fault_resets: options.triple_fault_resets,
        })
        .map_err(|source| Failure::Build { path: self.path.clone(), source })
    }

    fn command_line(&self, options: &Options) -> String {
        let words = std::iter::once(&self.append).chain(&options.append).filter(|w| !w.is_empty());
        words.cloned().collect::<Vec<_>>().join(" ")
    }

    /// Builds the machine; for a reset it reads the files again.
    ///
    /// # Errors
    /// Files that cannot be read, images that cannot be started.
    pub fn machine(&self, options: &Options) -> Result<Machine, Failure> {
        let mut machine = self.with_setup(options, Machine::build)?;
        if options.observe {
            machine.observe_always();
        }
        machine.write_registers(&options.wrmsr).map_err(|number| Failure::Register { number })?;
        let (guest, options) = (self.clone(), options.clone());
        machine.reload_with(Box::new(move || guest.with_setup(&options, Machine::pieces).ok()));
        Ok(machine)
    }

    /// The initrd's contents.
    ///
    /// # Errors
    /// It cannot be read any more.
    pub fn initrd(&self) -> Result<Option<Vec<u8>>, Failure> {
        self.initrd.as_deref().map(|p| read("the initrd", p)).transpose()
    }

    /// Absolute path and contents of the image, where it is a file.
    ///
    /// # Errors
    /// It cannot be read any more.
    pub fn program(&self) -> Result<Option<(String, Vec<u8>)>, Failure> {
        if self.embedded.is_some() {
            return Ok(None);
        }
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        Ok(Some((path.display().to_string(), read("the image", &self.path)?)))
    }

    /// The machine's configuration in full, with hashes of what it was started from.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn about(&self, options: &Options, machine: &Machine) -> Result<About, Failure> {
        let limits = options.limits();
        let command_line = self.command_line(options);
        let mut about = self.with_setup(options, |setup| {
            let initrd = setup.initrd.zip(self.initrd.as_deref()).map(|(b, path)| FileAbout::of(path, b));
            Ok(About {
                image: FileAbout::of(&self.path, setup.image),
                kind: machine.kind().to_string(),
                initrd,
                command_line: command_line.clone(),
                memory_bytes: setup.ram_bytes,
                processors: setup.processors,
                core_mhz: setup.core_mhz,
                quantum_ticks: setup.quantum,
                written: options.wrmsr.clone(),
                unpack: setup.unpack,
                reboot: setup.reboot,
                triple_fault_resets: setup.triple_fault_resets,
                limit_instructions: None,
                limit_ns: None,
            })
        })?;
        about.limit_instructions = Some(limits.instructions).filter(|n| *n != Limits::NONE.instructions);
        about.limit_ns = Some(limits.time).filter(|t| *t != Limits::NONE.time).map(|t| t.as_ns());
        Ok(about)
    }
}

impl Options {
    /// All limits together.
    pub fn limits(&self) -> Limits {
        self.limit.iter().fold(Limits::NONE, |a, b| Limits {
            instructions: a.instructions.min(b.instructions),
            time: a.time.min(b.time),
        })
    }
}

/// The lesson of that name.
///
/// # Errors
/// There is none.
pub fn lesson(name: &str) -> Result<&'static Lesson, Failure> {
    roms::lessons().iter().find(|l| l.name == name).ok_or_else(|| Failure::NoLesson {
        name: name.to_owned(),
        names: roms::lessons().iter().map(|l| l.name.to_owned()).collect(),
    })
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|source| Failure::Read { what, path: path.to_owned(), source })
}
