//! Debian's 6.1 cloud kernel on unhalted and on QEMU TCG, in turn: CPU seconds of the boot and of four commands in the
//! guest, and the memory used beyond the guest's.
//!
//! `cargo bench --bench linux -- [--rounds N] [--peers unhalted,qemu] [--kernel 6.12]`; the peer `before` is another build
//! of unhalted, which `--before` names.
//!
//! The guest is `unhalted image debian --with none` (fetched when the cache has none). Boot: from the start of the process
//! to init's marker. Same kernel, initramfs, command line and memory for both.

mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use frontend::image::{self, Image};
use watch::{Line, Serial, figure, geometric_mean, median, watch};

/// What runs in the guest: name, command (no double quotes: it travels in `run="..."`), what it must print.
const COMMANDS: [(&str, &str, &str); 4] = [
    (
        "sha256sum of 64 MB",
        "dd if=/dev/zero bs=1M count=64 2>&- | sha256sum",
        "3b6a07d0d404fab4e23b6d34bc6696a6a312dd92821332385e5af7c01c421351",
    ),
    ("gzip of 5.9 MB", "cat /usr/bin/busybox /usr/bin/busybox /usr/bin/busybox | gzip | wc -c", ""),
    ("shell loop, 20000", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo $i", "20000"),
    ("fork + exec, 200", "i=0; while [ $i -lt 200 ]; do /bb/true; i=$((i+1)); done; echo $i", "200"),
];

const GUEST_MB: u64 = 512;
const LIMIT: Duration = Duration::from_secs(900);

/// Measures a Linux guest.
#[derive(Parser)]
struct Arguments {
    /// Runs on each peer
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Who runs it, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "unhalted,qemu")]
    peers: Vec<String>,
    /// The kernel
    #[arg(long, default_value = "6.1")]
    kernel: String,
    /// Words for the kernel command line
    #[arg(long, default_value = "")]
    append: String,
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

/// Values of the runs, by row, then peer.
type Values = BTreeMap<String, BTreeMap<String, Vec<f64>>>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = image::Options {
        kernel: arguments.kernel.clone(),
        with: Vec::new(),
        offline: None,
        cache: None,
        refresh: false,
    };
    let image = match image::debian(&options, &mut image::bar()) {
        Ok(image) => image,
        Err(error) => {
            eprintln!("no guest: {:?}", miette::Report::new(error));
            return ExitCode::FAILURE;
        }
    };
    let (mut values, mut failures) = (Values::new(), Vec::new());
    for round in 1..=arguments.rounds {
        for peer in &arguments.peers {
            eprintln!("round {round} of {}: {peer}", arguments.rounds);
            if let Err(problem) = run(peer, &image, &arguments, &mut values) {
                failures.push(format!("{peer}: {problem}"));
            }
        }
    }
    print(&arguments.peers, &values);
    failures.iter().for_each(|failure| eprintln!("FAILED {failure}"));
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(peer: &str, image: &Image, arguments: &Arguments, values: &mut Values) -> Result<(), String> {
    let script: Vec<String> = COMMANDS
        .iter()
        .enumerate()
        .map(|(n, (_, text, _))| format!("echo @@ BEGIN {n}; {text}; echo @@ END {n}"))
        .collect();
    let append = format!("{} {} run=\"{}\"", image.append, arguments.append, script.join("; "));
    let mut command = match peer {
        "unhalted" | "before" => {
            let other = arguments.before.as_ref().filter(|_| peer == "before");
            let mut command = Command::new(other.unwrap_or(&arguments.unhalted));
            command.arg("run").arg(&image.kernel).args(["--no-summary", "-m", &format!("{GUEST_MB}M")]);
            command
        }
        "qemu" => {
            let fixed = "-accel tcg -cpu max -machine q35 -nodefaults -no-reboot -display none -serial stdio";
            let mut command = Command::new("qemu-system-x86_64");
            command.args(fixed.split(' ')).args(["-m", &GUEST_MB.to_string(), "-kernel"]).arg(&image.kernel);
            command
        }
        other => return Err(format!("nobody knows the peer {other}")),
    };
    let dashes = if peer == "qemu" { "-" } else { "--" };
    command.arg(format!("{dashes}initrd")).arg(&image.initrd).arg(format!("{dashes}append")).arg(append);
    let mut beyond_mb = None;
    let lines = watch(&mut command, Serial::Stdout, LIMIT, |line, id| {
        if line.contains("@@ UP") {
            beyond_mb = beyond_guest_mb(id);
        }
        line.starts_with("@@ DONE")
    })?;
    let mut enter = |row: &str, value: f64| {
        values.entry(row.to_owned()).or_default().entry(peer.to_owned()).or_default().push(value);
    };
    let linux = lines.iter().find(|line| line.text.contains("Linux version")).map(|line| line.cpu_s);
    let up = lines.iter().find(|line| line.text.contains("@@ UP")).ok_or_else(|| no_marker(&lines))?.cpu_s;
    linux.into_iter().for_each(|cpu_s| enter(ROWS[0], cpu_s));
    enter(ROWS[1], up);
    beyond_mb.into_iter().for_each(|mb| enter(MEMORY, mb));
    for (n, (name, _, expected)) in COMMANDS.iter().enumerate() {
        let at = |mark: &str| lines.iter().position(|line| line.text == format!("@@ {mark} {n}"));
        let (begin, end) = at("BEGIN").zip(at("END")).ok_or_else(|| no_marker(&lines))?;
        if !lines[begin..end].iter().any(|line| line.text.contains(expected)) {
            return Err(format!("{name}: it did not print {expected}"));
        }
        enter(name, lines[end].cpu_s - lines[begin].cpu_s);
    }
    Ok(())
}

fn no_marker(lines: &[Line]) -> String {
    let tail: Vec<&str> = lines.iter().rev().take(3).map(|line| line.text.as_str()).collect();
    format!("a marker is missing; its last lines, last first: {tail:?}")
}

/// Resident memory of a process without that of its mapping as large as the guest's memory (give or take what the host
/// joined to it), in MB.
fn beyond_guest_mb(id: u32) -> Option<f64> {
    let maps = fs::read_to_string(format!("/proc/{id}/smaps")).ok()?;
    let kib = |line: &str, field: &str| line.strip_prefix(field)?.trim().trim_end_matches(" kB").parse::<u64>().ok();
    let guest_kib = GUEST_MB * 1024..(GUEST_MB + 64) * 1024;
    let (mut size_kib, mut beyond_kib) = (0, 0);
    for line in maps.lines() {
        size_kib = kib(line, "Size:").unwrap_or(size_kib);
        if let (Some(rss_kib), true) = (kib(line, "Rss:"), !guest_kib.contains(&size_kib)) {
            beyond_kib += rss_kib;
        }
    }
    Some(beyond_kib as f64 * 1024.0 / 1e6)
}

const ROWS: [&str; 2] = ["start to \"Linux version\"", "start to init's marker"];
const MEMORY: &str = "resident beyond guest RAM, MB";

/// Prints the table.
fn print(peers: &[String], values: &Values) {
    let value = |row: &str, peer: &str| median(values.get(row)?.get(peer)?.clone());
    println!("| CPU seconds | {} | unhalted / qemu, time | speed |", peers.join(" | "));
    println!("|---|{}", "---:|".repeat(peers.len() + 2));
    let rows = ROWS.into_iter().chain(COMMANDS.iter().map(|(name, ..)| *name));
    let mut speeds = Vec::new();
    for row in rows.chain([MEMORY]) {
        let cells: Vec<String> = peers.iter().map(|peer| figure(value(row, peer))).collect();
        let ratio = value(row, "unhalted").zip(value(row, "qemu")).map(|(mine, theirs)| mine / theirs);
        let speed = ratio.filter(|_| row != MEMORY).map(|r| 1.0 / r);
        speeds.extend(speed.filter(|_| COMMANDS.iter().any(|(name, ..)| *name == row)));
        println!("| {row} | {} | {} | {} |", cells.join(" | "), figure(ratio), figure(speed));
    }
    let blank = " | ".repeat(peers.len());
    println!("| **geometric mean of the commands** | {blank} | {} |", figure(geometric_mean(&speeds)));
}
