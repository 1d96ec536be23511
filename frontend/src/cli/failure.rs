//! Every way in which a command cannot do its work: cause, remedy, exit code.

use super::status;
use crate::image::ImageError;
use crate::lab::LabError;
use crate::load::{Kind, LoadError};
use crate::pc::BuildError;
use crate::report::event::EventError;
use crate::report::explain::Unknown;
use emu_core::RamError;
use miette::Diagnostic;
use pmu_model::host::attr::OpenError;
use pmu_model::host::live::HostError;
use std::fmt::Display;
use std::path::PathBuf;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file cannot be read.
    #[error("cannot read {what} {}", path.display())]
    Read {
        /// What the file was to be.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the host said.
        source: std::io::Error,
    },
    /// A scenario makes no sense.
    #[error(transparent)]
    Lab(#[from] Box<LabError>),
    /// Nothing to run was named.
    #[error("no image to run")]
    NoImage,
    /// Two images were named.
    #[error("two images to run: {} and {}", a.display(), b.display())]
    TwoImages {
        /// One.
        a: PathBuf,
        /// The other.
        b: PathBuf,
    },
    /// The machine could not be built.
    #[error("cannot start {}", path.display())]
    Build {
        /// The image.
        path: PathBuf,
        /// Why.
        source: BuildError,
    },
    /// A guest image cannot be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// `run debian` before `image debian`.
    #[error("there is no Debian image with kernel {kernel} in the cache")]
    NoDebian {
        /// Which kernel.
        kernel: String,
    },
    /// The terminal, a thread or a signal handler was refused.
    #[error("cannot open the console")]
    Console(#[from] std::io::Error),
    /// `--log` is not a filter.
    #[error("\"{text}\" is no log filter: {why}")]
    LogFilter {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// What `-e` names is no list of events.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The host of `--vpmu` and its events cannot be had beside each other.
    #[error(transparent)]
    Host(#[from] HostError),
    /// An option of the host's makes no sense.
    #[error("{what}")]
    HostOption {
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// `explain` of something that is not known.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// `--from` and `--interval` in different units.
    #[error("--from is in instructions and --interval in guest time, or the other way round")]
    MixedUnits,
    /// `record` of several events.
    #[error("one event at a time can be sampled")]
    ManyEvents,
    /// `-c 0`.
    #[error("a sample every 0 events")]
    NoPeriod,
    /// `--roi`, and the guest marked nothing.
    #[error("the guest marked no region")]
    NoRegion,
    /// A file cannot be written.
    #[error("cannot write {what} {}", path.display())]
    Write {
        /// What the file was to be.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the host said.
        source: std::io::Error,
    },
    /// `--wrmsr` of what the PMU does not take.
    #[error("the PMU does not take this value of register {number:#x}, or has no such register")]
    Register {
        /// Its number.
        number: u32,
    },
    /// No such lesson.
    #[error("there is no lesson \"{name}\"")]
    NoLesson {
        /// What was asked for.
        name: String,
        /// What there is.
        names: Vec<String>,
    },
}

impl Failure {
    /// The exit code.
    pub fn status(&self) -> u8 {
        match self {
            Failure::Read { .. } | Failure::NoDebian { .. } => status::NOT_FOUND,
            Failure::Image(_) => status::CANNOT_START,
            Failure::Write { .. } | Failure::NoRegion => status::FAILED,
            Failure::Build { .. } | Failure::Console(_) => status::CANNOT_START,
            Failure::NoImage
            | Failure::TwoImages { .. }
            | Failure::LogFilter { .. }
            | Failure::NoLesson { .. }
            | Failure::Register { .. }
            | Failure::Lab(_)
            | Failure::Event(_)
            | Failure::Host(_)
            | Failure::HostOption { .. }
            | Failure::Unknown(_)
            | Failure::ManyEvents
            | Failure::NoPeriod
            | Failure::MixedUnits => status::USAGE,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Failure::Read { source, path, .. } => Some(match source.kind() {
                std::io::ErrorKind::NotFound => {
                    "check the path; relative paths start at the current directory".to_owned()
                }
                std::io::ErrorKind::PermissionDenied => format!(
                    "make it readable, or copy it: Debian keeps kernels \
                    readable for root only in places (ls -l {})",
                    path.display()
                ),
                std::io::ErrorKind::IsADirectory => "name a file in it".to_owned(),
                _ => return None,
            }),
            Failure::NoImage => {
                Some(format!("name one: unhalted run IMAGE, or --kernel FILE; accepted are\n{}", kinds()))
            }
            Failure::TwoImages { .. } => Some("give one of IMAGE, --kernel and --rom".to_owned()),
            Failure::Build { source, .. } => build_remedy(source),
            Failure::LogFilter { .. } => Some("examples: --log debug, --log frontend=trace,warn".to_owned()),
            Failure::Register { number } => Some(format!("unhalted explain {number:x} shows its bits")),
            Failure::NoLesson { names, .. } => Some(format!("there are: {}", names.join(", "))),
            Failure::NoDebian { kernel } => {
                Some(format!("make it with: unhalted image debian {kernel} (fetches packages by name, once)"))
            }
            Failure::Image(e) => e.help().map(|h| h.to_string()),
            Failure::Lab(e) => e.help().map(|h| h.to_string()),
            Failure::Event(e) => Some(event_remedy(e)),
            Failure::Host(e) => Some(host_remedy(e).to_owned()),
            Failure::HostOption { remedy, .. } => Some(remedy.clone()),
            Failure::MixedUnits => Some("give both as guest time (100ms, 2s) or both as instructions (5Minsn)".to_owned()),
            Failure::Unknown(e) if !e.near.is_empty() => Some(format!("did you mean {}?", e.near.join(" or "))),
            Failure::Unknown(_) => Some("unhalted list events, unhalted list msrs show what there is".to_owned()),
            Failure::ManyEvents => Some("run it once for each: runs repeat count for count".to_owned()),
            Failure::NoPeriod => Some("give 1 or more with -c".to_owned()),
            Failure::NoRegion => Some(
                "a region begins with OUT of 1 to port 8950h or CPUID with EAX = 524F4900h and ECX = 1, and ends with 0: \
                 see unhalted stat --help"
                    .to_owned(),
            ),
            Failure::Write { .. } => Some("name another file, or make its folder".to_owned()),
            Failure::Console(_) => None,
        }
    }
}

impl Diagnostic for Failure {
    fn help<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        self.remedy().map(|r| Box::new(r) as Box<dyn Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        match self {
            Failure::Lab(e) => e.source_code(),
            _ => None,
        }
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        match self {
            Failure::Lab(e) => e.labels(),
            _ => None,
        }
    }
}

/// The accepted kinds, a line each.
fn kinds() -> String {
    Kind::ALL.iter().map(|k| format!("- {}", k.describe())).collect::<Vec<_>>().join("\n")
}

fn event_remedy(e: &EventError) -> String {
    const FORMS: &str =
        "an event is a name of `unhalted list`, rUUEE in hexadecimal digits, or cpu/event=0xc4,umask=0x11/";
    match e {
        EventError::Unknown { near, .. } if !near.is_empty() => {
            format!("did you mean {}? {FORMS}", near.join(" or "))
        }
        EventError::Modifier { .. } => {
            "write instructions:u, instructions:k, or instructions for both rings".to_owned()
        }
        EventError::NotModelled { .. } => "unhalted list shows what is exact or modelled".to_owned(),
        EventError::Unknown { .. } | EventError::Encoding { .. } | EventError::Empty => FORMS.to_owned(),
    }
}

fn host_remedy(e: &HostError) -> &'static str {
    match e {
        HostError::Event { why: OpenError::MediatedVmExists, .. } => {
            "let it count the host alone, as in cycles:H, or take --vpmu perf-based"
        }
        HostError::Event { why: OpenError::PassedThrough, .. } => {
            "whoever passes the PMU through has no counters left: leave --host-events away, or take another --vpmu"
        }
        HostError::Event { .. } => "unhalted list shows the events; modifiers are u, k, G, H and D",
        HostError::Vcpu(_) => "take other --vpmu-counters, at most 8+4",
    }
}

fn build_remedy(e: &BuildError) -> Option<String> {
    match e {
        BuildError::Ram(RamError::Map { .. }) => {
            Some("ask for less with --memory, or free memory on the host".to_owned())
        }
        BuildError::Ram(_) => Some("a ROM must not overlap the RAM: less --memory".to_owned()),
        BuildError::Overlap(_) => None,
        BuildError::Load(e) => load_remedy(e),
    }
}

fn load_remedy(e: &LoadError) -> Option<String> {
    Some(match e {
        LoadError::Unknown { .. } | LoadError::NotKernel { .. } | LoadError::Empty => {
            format!("accepted are\n{}", kinds())
        }
        LoadError::Truncated { .. } | LoadError::Elf(_) => "the file looks damaged: fetch or build it again".to_owned(),
        LoadError::Header { .. } => "this kernel cannot be started as it is; a vmlinux (ELF) of it may".to_owned(),
        LoadError::Machine { .. } => "give a kernel for x86-64 (or i386 multiboot)".to_owned(),
        LoadError::Unpack { .. } => {
            "with --no-unpack the guest unpacks the kernel itself; if that fails too, the file is \
                                     damaged"
                .to_owned()
        }
        LoadError::Memory { end, .. } => format!("give the machine more memory: --memory {}M", (end >> 20) + 64),
        LoadError::Overlap { .. } => "this image wants memory that the loader or the firmware needs".to_owned(),
        LoadError::CommandLine { .. } => "shorten --append".to_owned(),
        LoadError::CommandLineZero => return None,
    })
}
