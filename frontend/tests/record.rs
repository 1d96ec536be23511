//! `unhalted record`: samples stand where they must, and another program reads the file.
//!
//! The records are walked here by the rules of perf.data, and `perf script` is asked where it is installed. The test with
//! Debian's kernel says so and passes where there is no image in the cache.

use assert_cmd::Command;
use frontend::image;
use std::path::Path;
use tempfile::TempDir;

fn record(folder: &Path, line: &[&str]) -> (i32, String) {
    let mut command = Command::cargo_bin("unhalted").unwrap();
    command.current_dir(folder).arg("record").args(line).arg("--no-console").env_remove("RUST_LOG");
    let out = command.env("NO_COLOR", "1").timeout(std::time::Duration::from_secs(560)).output().unwrap();
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stderr).into_owned())
}

/// What perf says of the file with a subcommand; `None` where it is not installed.
fn perf(folder: &Path, line: &[&str]) -> Option<String> {
    let out = std::process::Command::new("perf").args(line).current_dir(folder).env("HOME", folder).output();
    let Ok(out) = out else {
        eprintln!("skipped: perf is not installed");
        return None;
    };
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Some(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// A record: type, misc, body.
type Record = (u32, u16, Vec<u8>);

fn u64_at(b: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(b[at..at + 8].try_into().unwrap())
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(b[at..at + 4].try_into().unwrap())
}

/// The records of a file, which its sections must hold exactly.
fn records(file: &[u8]) -> Vec<Record> {
    assert_eq!(&file[..8], b"PERFILE2");
    assert_eq!((u64_at(file, 8), u64_at(file, 16)), (104, 128), "header and attribute sizes");
    let (mut at, end) = (u64_at(file, 40) as usize, (u64_at(file, 40) + u64_at(file, 48)) as usize);
    let features = u64_at(file, 72).count_ones() as usize;
    let last = end + 16 * (features - 1);
    assert_eq!(u64_at(file, last) + u64_at(file, last + 8), file.len() as u64, "the last feature ends the file");
    let mut all = Vec::new();
    while at < end {
        let size = usize::from(u16::from_le_bytes(file[at + 6..at + 8].try_into().unwrap()));
        assert!(size >= 8 && size % 8 == 0 && at + size <= end, "a record of {size} bytes");
        let misc = u16::from_le_bytes(file[at + 4..at + 6].try_into().unwrap());
        all.push((u32_at(file, at), misc, file[at + 8..at + size].to_vec()));
        at += size;
    }
    all
}

/// Address, process, time, processor, period of the samples, and whether user's.
fn samples(all: &[Record]) -> Vec<(u64, u32, u64, u32, u64, bool)> {
    let samples = all.iter().filter(|r| r.0 == 9);
    samples
        .map(|(_, misc, b)| (u64_at(b, 8), u32_at(b, 16), u64_at(b, 24), u32_at(b, 32), u64_at(b, 40), *misc == 2))
        .collect()
}

#[test]
fn every_hundredth_user_instruction_of_a_loop_is_the_same_one() {
    let folder = TempDir::new().unwrap();
    let line = ["lesson", "overflow", "-e", "instructions:u", "-c", "100", "--folded", "stacks"];
    let (code, err) = record(folder.path(), &line);
    assert_eq!(code, 1, "the lesson's own status: {err}");
    assert!(err.contains("40 samples, every 100 instructions:u"), "{err}");
    let file = std::fs::read(folder.path().join("perf.data")).unwrap();
    // 4002 user instructions; as the lesson's own interrupts do, each finds the JNZ next.
    let found = samples(&records(&file));
    assert_eq!(found.len(), 40);
    let ip = found[0].0;
    assert!(found.iter().all(|s| *s == (ip, 1, s.2, 0, 100, true)), "{found:?}");
    assert!(found.windows(2).all(|w| w[0].2 < w[1].2), "time goes on");
    let stacks = std::fs::read_to_string(folder.path().join("stacks")).unwrap();
    assert_eq!(stacks, format!("cr3-1000;{ip:#x} 40\n"));
    record(folder.path(), &line);
    assert_eq!(std::fs::read(folder.path().join("perf.data")).unwrap(), file, "a run repeats byte for byte");
    if let Some(text) = perf(folder.path(), &["script", "-i", "perf.data", "-F", "comm,pid,cpu,period,event,ip"]) {
        let lines: Vec<&str> = text.lines().filter(|l| !l.is_empty()).collect();
        assert_eq!(lines.len(), 40, "{text}");
        let all = lines.iter().all(|l| {
            let words = ["cr3-1000", " 100 instructions:u:", &format!("{ip:x}")];
            words.iter().all(|w| l.contains(w))
        });
        assert!(all, "{text}");
    }
}

#[test]
fn branches_are_sampled_at_the_branch() {
    let folder = TempDir::new().unwrap();
    record(folder.path(), &["lesson", "overflow", "-e", "branches:u", "-c", "10"]);
    let found = samples(&records(&std::fs::read(folder.path().join("perf.data")).unwrap()));
    // 1000 JNZ, the last not taken, and the SYSCALL: the tenth, twentieth... JNZ leads to the loop's head.
    assert_eq!(found.len(), 100);
    assert!(found[..99].iter().all(|s| s.0 == found[0].0));
    // The 1000th falls through: INC r8, ADD, DEC, JNZ are 3 + 3 + 2 + 2 bytes.
    assert_eq!(found[99].0, found[0].0 + 10);
}

#[test]
fn each_processor_has_a_period_of_its_own() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("spin"), [0xeb, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let (code, _) = record(folder.path(), &["--rom", "spin", "-c", "999", "--limit", "100_000insn", "--smp", "2"]);
    assert_eq!(code, 124);
    let found = samples(&records(&std::fs::read(folder.path().join("perf.data")).unwrap()));
    assert_eq!(found.len(), 100_000 / 999);
    // A jump to itself at the reset vector, at tick 999, 1998...
    for (n, s) in found.iter().enumerate() {
        let ns = 999 * (n as u64 + 1) * 5 / 11;
        assert_eq!((s.0, s.3, s.4, s.5, s.2), (0xffff_fff0, 0, 999, false, ns), "sample {n}");
    }
}

#[test]
fn a_linux_guest_is_sampled_with_its_symbols_tasks_and_files() {
    let Some(image) = image::debian_cached("6.1", None) else {
        return eprintln!("skipped: no Debian image in the cache");
    };
    let folder = TempDir::new().unwrap();
    let run = "gzip -c /bin/busybox | wc -c; dd if=/dev/hwrng bs=4k count=8000 of=/dev/null";
    let append = format!("{} cryptomgr.notests=1 run=\"{run}\"", image.append);
    let (kernel, initrd) = (image.kernel.to_str().unwrap(), image.initrd.to_str().unwrap());
    let line = [kernel, "--initrd", initrd, "-m", "512M", "-c", "1M", "-g", "--append", &append, "--folded", "stacks"];
    let (code, err) = record(folder.path(), &line);
    assert_eq!(code, 0, "{err}");
    let stacks = std::fs::read_to_string(folder.path().join("stacks")).unwrap();
    assert!(stacks.lines().any(|l| l.starts_with("gzip;/usr/bin/busybox+0x")), "{stacks}");
    let whole = |l: &&str| {
        l.contains(";/usr/bin/busybox+0x") && l.contains(";entry_SYSCALL_64_after_hwframe_[k];do_syscall_64_[k];")
    };
    assert!(stacks.lines().any(|l| whole(&l)), "from the program into the kernel: {stacks}");
    assert!(stacks.contains("sha256_update_[k]"), "kernel symbols: {stacks}");
    let symbols = std::fs::read_to_string(folder.path().join("perf.data.kallsyms")).unwrap();
    assert!(symbols.lines().count() > 50_000 && symbols.contains("ffffffff81000000 T _text\n"));
    assert!(symbols.contains("\t[virtio_rng]\n"), "modules too");
    let read =
        ["report", "-i", "perf.data", "--kallsyms", "perf.data.kallsyms", "--stdio", "--header", "--no-children"];
    if let Some(text) = perf(folder.path(), &read) {
        assert!(text.lines().any(|l| l.contains("[virtio_") && l.contains("[k] v")), "modules' symbols: {text}");
        for words in ["os release : 6.1.0-", "hostname : unhalted", "[k] sha256_update", "event 'instructions'"] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(text.lines().any(|l| l.contains("gzip") && l.contains("busybox")), "{text}");
    }
    let program = folder.path().join("perf.data.symfs/usr/bin/busybox");
    assert!(std::fs::read(program).unwrap().starts_with(b"\x7fELF"), "the initrd's programs are at hand");
    if let Some(text) = perf(folder.path(), &["buildid-list", "-i", "perf.data"]) {
        assert!(text.lines().any(|l| l.ends_with(" /usr/bin/busybox")), "{text}");
    }
}
