//! Writes `perf.data`, the file that `perf report` and `perf script` read: one event, its samples, who ran, what was mapped.
//!
//! Source: Linux `tools/perf/Documentation/perf.data-file-format.txt`, `include/uapi/linux/perf_event.h`.

use std::io::{self, Write};

/// `PERF_CONTEXT_KERNEL`: what follows in a call chain is the kernel's.
const CONTEXT_KERNEL: u64 = -128i64 as u64;
/// `PERF_CONTEXT_USER`: what follows is the user program's.
pub const CONTEXT_USER: u64 = -512i64 as u64;

/// Record types and `misc` bits.
mod record {
    pub const COMM: u32 = 3;
    pub const SAMPLE: u32 = 9;
    pub const MMAP2: u32 = 10;
    pub const KERNEL: u16 = 1;
    pub const USER: u16 = 2;
    /// The build id field holds its length.
    pub const BUILD_ID_SIZE: u16 = 1 << 15;
}

/// IP TID TIME CPU PERIOD IDENTIFIER, and with call chains CALLCHAIN.
const SAMPLE_TYPE: u64 = 1 | 2 | 4 | 0x80 | 0x100 | 1 << 16;
const CALLCHAIN: u64 = 0x20;
/// `perf_event_attr`: 112 bytes, version 5.
const ATTR_BYTES: usize = 112;
const HEADER_BYTES: usize = 104;
/// `attr.type`: a raw encoding.
const RAW: u32 = 4;
/// The one event's identifier.
const ID: u64 = 1;
/// The process to which the kernel's mappings belong.
const KERNEL_PID: u32 = u32::MAX;
const PROT_READ_EXEC: u32 = 5;
const MAP_PRIVATE: u32 = 2;

/// Feature bits, in the order in which they are written.
mod feature {
    pub const BUILD_ID: u32 = 2;
    pub const HOSTNAME: u32 = 3;
    pub const OSRELEASE: u32 = 4;
    pub const ARCH: u32 = 6;
    pub const NRCPUS: u32 = 7;
    pub const CPUDESC: u32 = 8;
    pub const TOTAL_MEM: u32 = 10;
    pub const CMDLINE: u32 = 11;
    pub const EVENT_DESC: u32 = 12;
}

/// What is sampled.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// The event as it was asked for.
    pub name: String,
    /// Its encoding, as in PERFEVTSEL.
    pub config: u64,
    /// Events a sample.
    pub period: u64,
    /// Left out in these rings.
    pub exclude_user: bool,
    #[allow(missing_docs, reason = "see exclude_user")]
    pub exclude_kernel: bool,
    /// Do the samples hold call chains?
    pub chains: bool,
}

/// Where and what the samples were taken of.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Host name, as `perf report --header` shows it.
    pub host: String,
    /// The guest's kernel release, or what else it is.
    pub release: String,
    /// Number of processors.
    pub processors: u32,
    /// KiB of RAM.
    pub memory_kib: u64,
    /// The command, word by word.
    pub command: Vec<String>,
    /// The kernel's build id, when known.
    pub build_id: Option<Vec<u8>>,
    /// Build ids of programs and libraries, by path.
    pub build_ids: Vec<(String, Vec<u8>)>,
}

/// Who ran: process and thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Address of the next instruction.
    pub ip: u64,
    /// Was it in CPL 3?
    pub user: bool,
    /// Who ran.
    pub who: Who,
    /// Nanoseconds of guest time.
    pub time_ns: u64,
    /// Which processor.
    pub processor: u32,
    /// Events that it stands for.
    pub period: u64,
    /// With call chains: callers, innermost first, without the sampled address.
    pub callers: Option<Vec<u64>>,
}

/// The records, in the order in which things happened.
#[derive(Clone, Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
}

fn put32(b: &mut Vec<u8>, v: u32) {
    b.extend(v.to_le_bytes());
}

fn put64(b: &mut Vec<u8>, v: u64) {
    b.extend(v.to_le_bytes());
}

/// Text with its zero byte, padded to a multiple of eight.
fn put_text(b: &mut Vec<u8>, text: &str) {
    b.extend(text.bytes().filter(|c| *c != 0));
    b.push(0);
    b.resize(b.len().next_multiple_of(8), 0);
}

impl Records {
    /// Closes a record: who, when, and the event; then the header in front.
    fn push(&mut self, kind: u32, misc: u16, mut body: Vec<u8>, who: Option<(Who, u64, u32)>) {
        if let Some((who, time_ns, processor)) = who {
            for v in [who.pid, who.tid] {
                put32(&mut body, v);
            }
            put64(&mut body, time_ns);
            put32(&mut body, processor);
            put32(&mut body, 0);
            put64(&mut body, ID);
        }
        put32(&mut self.bytes, kind);
        self.bytes.extend(misc.to_le_bytes());
        self.bytes.extend(((body.len() + 8) as u16).to_le_bytes());
        self.bytes.extend(body);
    }

    /// From `time_ns` on, `who` is called `name`.
    pub fn comm(&mut self, who: Who, name: &str, time_ns: u64, processor: u32) {
        let mut b = Vec::new();
        put32(&mut b, who.pid);
        put32(&mut b, who.tid);
        // The kernel's names have at most 15 characters.
        put_text(&mut b, &name.chars().take(15).collect::<String>());
        self.push(record::COMM, record::USER, b, Some((who, time_ns, processor)));
    }

    /// The kernel's text: `bytes` from `begin`, symbols relative to `_text`.
    pub fn kernel(&mut self, begin: u64, bytes: u64, text: u64) {
        let who = Who { pid: KERNEL_PID, tid: 0 };
        self.map(who, record::KERNEL, [begin, bytes, text], "[kernel.kallsyms]_text", (0, 0));
    }

    /// A module of the kernel: its first address and bytes.
    pub fn module(&mut self, name: &str, [begin, bytes]: [u64; 2]) {
        let who = Who { pid: KERNEL_PID, tid: 0 };
        self.map(who, record::KERNEL, [begin, bytes, 0], &format!("[{name}]"), (0, 0));
    }

    /// `who` has `bytes` of code from `begin`, out of the file at `path` from byte `offset` on.
    pub fn user(&mut self, who: Who, place: [u64; 3], path: &str, when: (u64, u32)) {
        self.map(who, record::USER, place, path, when);
    }

    fn map(&mut self, who: Who, misc: u16, place: [u64; 3], path: &str, (time_ns, processor): (u64, u32)) {
        let mut b = Vec::new();
        put32(&mut b, who.pid);
        put32(&mut b, who.tid);
        for v in place {
            put64(&mut b, v);
        }
        // Device, inode and its generation: not known.
        b.extend([0; 24]);
        put32(&mut b, PROT_READ_EXEC);
        put32(&mut b, MAP_PRIVATE);
        put_text(&mut b, &path.chars().take(4000).collect::<String>());
        self.push(record::MMAP2, misc, b, Some((who, time_ns, processor)));
    }

    /// A sample.
    pub fn sample(&mut self, s: &Sample) {
        let mut b = Vec::new();
        put64(&mut b, ID);
        put64(&mut b, s.ip);
        put32(&mut b, s.who.pid);
        put32(&mut b, s.who.tid);
        put64(&mut b, s.time_ns);
        put32(&mut b, s.processor);
        put32(&mut b, 0);
        put64(&mut b, s.period);
        if let Some(callers) = &s.callers {
            let context = if s.user { CONTEXT_USER } else { CONTEXT_KERNEL };
            put64(&mut b, 2 + callers.len() as u64);
            [context, s.ip].iter().chain(callers).for_each(|v| put64(&mut b, *v));
        }
        self.push(record::SAMPLE, if s.user { record::USER } else { record::KERNEL }, b, None);
    }

    /// Writes the file.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write(&self, what: &Sampled, machine: &Machine, to: &mut dyn Write) -> io::Result<()> {
        let attr = attr(what);
        let features = features(what, machine);
        let ids_at = HEADER_BYTES as u64;
        let attrs_at = ids_at + 8;
        let data_at = attrs_at + ATTR_BYTES as u64 + 16;
        let mut head = b"PERFILE2".to_vec();
        let section = |bytes: u64, at: u64| [at, bytes];
        let words = [
            &[HEADER_BYTES as u64, ATTR_BYTES as u64 + 16][..],
            &section(ATTR_BYTES as u64 + 16, attrs_at),
            &section(self.bytes.len() as u64, data_at),
            &section(0, 0),
            &[features.iter().fold(0, |bits, (bit, _)| bits | 1 << bit), 0, 0, 0],
        ];
        words.concat().into_iter().for_each(|v| put64(&mut head, v));
        put64(&mut head, ID);
        head.extend(attr);
        section(8, ids_at).into_iter().for_each(|v| put64(&mut head, v));
        to.write_all(&head)?;
        to.write_all(&self.bytes)?;
        let mut at = data_at + self.bytes.len() as u64 + 16 * features.len() as u64;
        let mut table = Vec::new();
        for (_, contents) in &features {
            section(contents.len() as u64, at).into_iter().for_each(|v| put64(&mut table, v));
            at += contents.len() as u64;
        }
        to.write_all(&table)?;
        features.iter().try_for_each(|(_, contents)| to.write_all(contents))
    }
}

/// `perf_event_attr`.
fn attr(what: &Sampled) -> Vec<u8> {
    const MMAP_COMM_ID_ALL_MMAP2: u64 = 1 << 8 | 1 << 9 | 1 << 18 | 1 << 23;
    let exclude = u64::from(what.exclude_user) << 4 | u64::from(what.exclude_kernel) << 5;
    let mut b = Vec::new();
    put32(&mut b, RAW);
    put32(&mut b, ATTR_BYTES as u32);
    let sample_type = SAMPLE_TYPE | if what.chains { CALLCHAIN } else { 0 };
    for v in [what.config, what.period, sample_type, 0, MMAP_COMM_ID_ALL_MMAP2 | exclude] {
        put64(&mut b, v);
    }
    b.resize(ATTR_BYTES, 0);
    b
}

/// A string of a feature: its length, then itself padded to 64.
fn string(text: &str) -> Vec<u8> {
    let mut padded = text.bytes().filter(|c| *c != 0).collect::<Vec<_>>();
    padded.resize((padded.len() + 1).next_multiple_of(64), 0);
    [&(padded.len() as u32).to_le_bytes()[..], &padded].concat()
}

/// The features with their bits, in order of the bits.
fn features(what: &Sampled, machine: &Machine) -> Vec<(u32, Vec<u8>)> {
    let word = |v: u32| v.to_le_bytes().to_vec();
    let command = machine.command.iter().map(|w| string(w)).collect::<Vec<_>>().concat();
    let description =
        [word(1), word(ATTR_BYTES as u32), attr(what), word(1), string(&what.name), ID.to_le_bytes().to_vec()].concat();
    let mut all = Vec::new();
    let kernel = machine.build_id.iter().map(|id| build_id(record::KERNEL, "[kernel.kallsyms]", id));
    let programs = machine.build_ids.iter().map(|(path, id)| build_id(record::USER, path, id));
    let ids = kernel.chain(programs).collect::<Vec<_>>().concat();
    if !ids.is_empty() {
        all.push((feature::BUILD_ID, ids));
    }
    all.extend([
        (feature::HOSTNAME, string(&machine.host)),
        (feature::OSRELEASE, string(&machine.release)),
        (feature::ARCH, string("x86_64")),
        (feature::NRCPUS, [word(machine.processors), word(machine.processors)].concat()),
        (feature::CPUDESC, string("unhalted (Sapphire Rapids)")),
        (feature::TOTAL_MEM, machine.memory_kib.to_le_bytes().to_vec()),
        (feature::CMDLINE, [word(machine.command.len() as u32), command].concat()),
        (feature::EVENT_DESC, description),
    ]);
    all
}

/// The build id of a file, or of the kernel, as a record of its own.
fn build_id(misc: u16, path: &str, id: &[u8]) -> Vec<u8> {
    let mut name: Vec<u8> = path.bytes().filter(|c| *c != 0).take(4000).collect();
    name.resize((name.len() + 1).next_multiple_of(64), 0);
    let mut b = Vec::new();
    put32(&mut b, 0);
    b.extend((misc | record::BUILD_ID_SIZE).to_le_bytes());
    b.extend(((8 + 4 + 24 + name.len()) as u16).to_le_bytes());
    put32(&mut b, KERNEL_PID);
    let mut field = id.iter().copied().take(20).collect::<Vec<_>>();
    let length = field.len() as u8;
    field.resize(24, 0);
    field[20] = length;
    b.extend(field);
    b.extend(name);
    b
}
