//! Guest MIPS of bare-metal guests, on unhalted, on its peers and natively: those of `../shared/bench/guests`, and five of
//! vector instructions in `benches/guests`.
//!
//! `cargo bench --bench guests -- [--rounds N] [--peers unhalted,qemu,bochs,native] [GUEST...]`
//!
//! Of unhalted itself there are `before`, another build that `--before` names, `armed`, with all twelve counters counting,
//! `observed`, with the core model on, and `observed+armed`, with both.
//!
//! Every round runs each guest on each peer in turn, so that a change of the machine's mood meets all of them; the median
//! of the rounds counts. Time is the CPU time of the process between the guest's BEGIN and END markers. The checksums
//! that the guests print must be right. Instruction counts and checksums: `../shared/bench/guests/README.md`; those of the
//! vector guests are unhalted's own, and QEMU's with `-icount` (a REP iteration counts as one instruction).

mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;
use watch::{Line, Serial, figure, geometric_mean, median, watch};

/// Name, instructions, checksum.
#[rustfmt::skip] // a table
const GUESTS: [(&str, u64, &str); 10] = [
    ("sieve",  1_105_530_762, "6862e94c1e2e3069"),
    ("qsort",  1_716_780_917, "43e032493466606d"),
    ("sha256", 1_910_045_481, "90d431363b8f0e44"),
    ("matmul", 1_387_908_314, "2f836b683f1ddcd0"),
    ("chase",  1_619_321_616, "b0dac23ad068e86a"),
    ("nbody",  1_504_244_047, "7d49bcb501dd1306"),
    ("string", 1_244_320_268, "b52008accd361b94"),
    ("vm",     1_468_039_315, "e8b6adfc1f97967c"),
    ("mmu",      613_908_168, "78daf521ec24aa41"),
    ("mixed",    979_461_522, "2abb423e4b922834"),
];

/// Likewise, those of vector instructions; a mean of their own.
#[rustfmt::skip] // a table
const VECTOR: [(&str, u64, &str); 5] = [
    ("nbody_sse2",   523_027_393, "db848183f48b41df"),
    ("nbody_avx2",   280_027_372, "f14b8f6a2677881"),
    ("memcpy",     1_187_807_097, "eff6fd3eaf323292"),
    ("sha_ni",        83_499_744, "90d431363b8f0e44"),
    ("aes_ni",       914_886_099, "bf1a5a6b8e576915"),
];

/// Parts of guests that are worth a row of their own: name as in the PHASE marker, instructions.
#[rustfmt::skip] // a table
const PHASES: [(&str, u64); 10] = [
    ("string.rep-page",  212_380_833),
    ("string.rep-short", 268_895_359),
    ("string.byte-scan", 763_044_076),
    ("mmu.fault",         79_908_103),
    ("mmu.syscall",      300_000_071),
    ("mmu.int80",        156_000_072),
    ("mmu.cr3",           78_000_022),
    ("memcpy.movsb",     332_357_419),
    ("memcpy.sse2",      455_625_968),
    ("memcpy.avx2",      399_820_319),
];

const LIMIT: Duration = Duration::from_secs(600);

/// Measures guest MIPS.
#[derive(Parser)]
struct Arguments {
    /// Guests to run; all when none is named
    guests: Vec<String>,
    /// Runs of each guest on each peer
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Who runs them, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "unhalted,qemu,bochs,native")]
    peers: Vec<String>,
    /// Folder of ../shared/bench/guests
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/bench/guests"))]
    source: PathBuf,
    /// The program measured
    #[arg(long, default_value = env!("CARGO_BIN_EXE_unhalted"))]
    unhalted: PathBuf,
    /// Another build of it, the peer `before`
    #[arg(long)]
    before: Option<PathBuf>,
    /// Cargo passes this
    #[arg(long, hide = true)]
    bench: bool,
}

/// CPU seconds of the runs, by guest or phase, then peer.
type Times = BTreeMap<String, BTreeMap<String, Vec<f64>>>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let built = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let mut peers = arguments.peers.clone();
    if let Err(problem) = make(&arguments, &built, "all") {
        eprintln!("the guests cannot be built: {problem}");
        return ExitCode::FAILURE;
    }
    peers.retain(|peer| can_run(peer, &arguments, &built));
    let chosen = |name: &str| arguments.guests.is_empty() || arguments.guests.iter().any(|g| name.contains(g.as_str()));
    let guests: Vec<_> = GUESTS.iter().chain(&VECTOR).filter(|(name, ..)| chosen(name)).collect();
    let (mut times, mut failures) = (Times::new(), Vec::new());
    for round in 1..=arguments.rounds {
        for (name, _, sum) in &guests {
            for peer in &peers {
                let Some((mut command, serial)) = command(peer, name, &arguments, &built) else { continue };
                eprint!("\rround {round} of {}: {name} on {peer}          ", arguments.rounds);
                let lines = watch(&mut command, serial, LIMIT, |line, _| line.contains("@@ END"));
                if let Err(problem) = lines.and_then(|lines| note(&lines, name, sum, peer, &mut times)) {
                    failures.push(format!("{name} on {peer}: {problem}"));
                }
            }
        }
    }
    eprintln!();
    print(&peers, &times);
    failures.iter().for_each(|failure| eprintln!("FAILED {failure}"));
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Builds the guests of both folders.
fn make(arguments: &Arguments, built: &Path, target: &str) -> Result<(), String> {
    let vector = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/guests"));
    [arguments.source.as_path(), vector].into_iter().try_for_each(|folder| {
        let mut command = Command::new("make");
        command.arg("-s").arg("-C").arg(folder).arg(format!("B={}", built.display()));
        command.arg(format!("SHARED={}", arguments.source.display())).arg(target);
        let output = command.stdout(Stdio::null()).output().map_err(|e| format!("make: {e}"))?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    })
}

/// Whether `peer` is there; says why not.
fn can_run(peer: &str, arguments: &Arguments, built: &Path) -> bool {
    let answers = |program: &str, flag: &str| {
        let mut command = Command::new(program);
        command.arg(flag).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    let problem = match peer {
        "unhalted" | "armed" | "observed" | "observed+armed" => {
            (!arguments.unhalted.exists()).then(|| format!("{} is not built", arguments.unhalted.display()))
        }
        "before" => arguments.before.is_none().then(|| "say which with --before".to_owned()),
        "qemu" => (!answers("qemu-system-x86_64", "--version")).then(|| "install qemu-system-x86".to_owned()),
        "bochs" if !answers("bochs", "--help") => Some("install bochs, bochsbios and bochs-term".to_owned()),
        "bochs" => make(arguments, built, "iso")
            .err()
            .map(|_| "it boots CD images: install grub-pc-bin, grub-common, xorriso and mtools".to_owned()),
        "native" => (!cfg!(target_arch = "x86_64")).then(|| "this machine is no x86-64".to_owned()),
        _ => Some("nobody knows it".to_owned()),
    };
    if let Some(problem) = &problem {
        eprintln!("without {peer}: {problem}");
    }
    problem.is_none()
}

/// Counts with all twelve counters: the general ones count two exact events and six of the core model's in both rings.
/// Where the model does not observe they count eight times instructions, and SLOTS, which takes the model because
/// PERF_METRICS goes with it, is left out. Nothing overflows soon.
fn arm(command: &mut Command, observed: bool) {
    // LLC misses, mispredicted branches, STLB-missing loads, L1D replacements, taken branches, L2 lines in.
    let events = if observed { [0x00c0, 0x00c4, 0x412e, 0x00c5, 0x11d0, 0x0151, 0x20c4, 0x1f25] } else { [0x00c0; 8] };
    for (n, event) in events.into_iter().enumerate() {
        command.arg(format!("--wrmsr={:x}={:x}", 0x186 + n, 0x43_0000 | event));
    }
    let fixed = if observed {
        ["--wrmsr=38d=3333", "--wrmsr=38f=f000000ff"]
    } else {
        ["--wrmsr=38d=333", "--wrmsr=38f=7000000ff"]
    };
    command.args(fixed);
}

/// How `peer` runs the guest `name`; nothing where it cannot (`mmu` natively, the SHA extensions in QEMU 7.2's TCG).
fn command(peer: &str, name: &str, arguments: &Arguments, built: &Path) -> Option<(Command, Serial)> {
    let file = |ending: &str| built.join(format!("{name}.{ending}"));
    let mut command;
    let vector = VECTOR.iter().any(|(known, ..)| *known == name);
    match peer {
        "qemu" if name == "sha_ni" => return None,
        "unhalted" | "before" | "armed" | "observed" | "observed+armed" => {
            let other = arguments.before.as_ref().filter(|_| peer == "before");
            command = Command::new(other.unwrap_or(&arguments.unhalted));
            command.arg("run").arg(file("mb")).arg("--no-summary");
            if peer.starts_with("observed") {
                command.arg("--observe");
            }
            if peer.ends_with("armed") {
                arm(&mut command, peer.starts_with("observed"));
            }
        }
        "qemu" => {
            let fixed =
                "-m 256 -display none -nodefaults -serial stdio -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=4";
            command = Command::new("qemu-system-x86_64");
            command.args(fixed.split(' ')).arg("-kernel").arg(file("mb"));
            if vector {
                command.arg("-cpu").arg("max");
            }
        }
        "bochs" => {
            let (settings, start) = (file("bochsrc"), built.join("bochs-start"));
            let model = if vector { "corei7_icelake_u" } else { "corei7_haswell_4770" };
            fs::write(&settings, bochs_settings(model, &file("iso"), &file("bochs-log"))).ok()?;
            fs::write(&start, "continue\n").ok()?;
            command = Command::new("bochs");
            command.arg("-q").arg("-f").arg(settings).arg("-rc").arg(start);
            return Some((command, Serial::Stderr));
        }
        _ => {
            command = Command::new(file("native"));
            file("native").exists().then_some(())?;
        }
    }
    Some((command, Serial::Stdout))
}

/// Bochs 2.7 as Debian builds it: no window (a frame buffer nobody looks at), its debugger told to go on by `-rc`.
fn bochs_settings(model: &str, image: &Path, log: &Path) -> String {
    format!(
        "display_library: rfb, options=\"timeout=0\"\nmemory: guest=256, host=256\n\
         romimage: file=/usr/share/bochs/BIOS-bochs-latest\nvgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest\n\
         ata0: enabled=true\nata0-master: type=cdrom, path={}, status=inserted\nboot: cdrom\n\
         com1: enabled=true, mode=file, dev=/dev/stderr\n\
         cpu: model={model}, count=1, ips=100000000, ignore_bad_msrs=1\nclock: sync=none, time0=local\n\
         sound: driver=dummy\nspeaker: enabled=0\nlog: {}\npanic: action=fatal\n",
        image.display(),
        log.display()
    )
}

/// Enters a run's times, or says what is wrong with it.
fn note(lines: &[Line], name: &str, sum: &str, peer: &str, times: &mut Times) -> Result<(), String> {
    let mut enter = |what: &str, cpu_s: f64| {
        times.entry(what.to_owned()).or_default().entry(peer.to_owned()).or_default().push(cpu_s);
    };
    let marks = lines.iter().filter_map(|line| Some((line.text.split_once("@@ ")?.1, line.cpu_s)));
    let (mut begun, mut last) = (None, 0.0);
    for (mark, cpu_s) in marks {
        let mut words = mark.split_whitespace();
        match (words.next(), words.next(), begun) {
            (Some("BEGIN"), _, _) => begun = Some(cpu_s),
            (Some("PHASE"), Some(phase), Some(_)) => enter(phase, cpu_s - last),
            (Some("END"), _, Some(start)) => {
                enter(name, cpu_s - start);
                let right = words.any(|word| word.strip_prefix("sum=") == Some(sum));
                return if right { Ok(()) } else { Err(format!("wrong checksum: {mark}")) };
            }
            _ => return Err(format!("unexpected marker: {mark}")),
        }
        last = cpu_s;
    }
    let tail: Vec<&str> = lines.iter().rev().take(3).map(|line| line.text.as_str()).collect();
    Err(format!("no END marker; its last lines, last first: {tail:?}"))
}

/// Prints the table: a row for each guest that ran, a mean under each kind of them, and parts of guests.
fn print(peers: &[String], times: &Times) {
    let speed = |name: &str, count: u64, peer: &str| {
        let cpu_s = median(times.get(name)?.get(peer)?.clone())?;
        Some(count as f64 / cpu_s / 1e6)
    };
    let compared: Vec<&str> = peers.iter().map(String::as_str).filter(|peer| *peer != "unhalted").collect();
    let mine = peers.iter().any(|peer| peer == "unhalted");
    let shown: Vec<String> = peers.iter().map(|peer| format!("{peer} MIPS")).collect();
    let ratios = compared.iter().filter(|_| mine).map(|peer| format!("unhalted / {peer}"));
    let heads: Vec<String> = shown.into_iter().chain(ratios).collect();
    println!("| guest | Minstr | {} |\n|---|{}", heads.join(" | "), "---:|".repeat(heads.len() + 1));
    let row = |name: &str, count: u64| -> Vec<Option<f64>> {
        let speeds = peers.iter().map(|peer| speed(name, count, peer));
        let ratio = |peer: &&str| Some(speed(name, count, "unhalted")? / speed(name, count, peer)?);
        speeds.chain(compared.iter().filter(|_| mine).map(ratio)).collect()
    };
    let line = |name: &str, count: &str, row: &[Option<f64>]| {
        let cells: Vec<String> = row.iter().map(|v| figure(*v)).collect();
        println!("| {name} | {count} | {} |", cells.join(" | "));
    };
    for (kind, guests) in [("geometric mean", &GUESTS[..]), ("geometric mean of vectors", &VECTOR[..])] {
        let ran = guests.iter().filter(|(name, ..)| times.contains_key(*name));
        let rows: Vec<_> = ran.map(|(name, count, _)| (*name, *count, row(name, *count))).collect();
        rows.iter().for_each(|(name, count, row)| line(name, &figure(Some(*count as f64 / 1e6)), row));
        let column = |n: usize| rows.iter().filter_map(|(.., row)| row[n]).collect::<Vec<_>>();
        let means: Vec<Option<f64>> = (0..heads.len()).map(|n| geometric_mean(&column(n))).collect();
        if !rows.is_empty() {
            line(&format!("**{kind}**"), "", &means);
        }
    }
    for (name, count) in PHASES.iter().filter(|(name, _)| times.contains_key(*name)) {
        line(name, &figure(Some(*count as f64 / 1e6)), &row(name, *count));
    }
}
