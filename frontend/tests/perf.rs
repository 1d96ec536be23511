//! Linux's own perf in Debian's guest, and the same counts from outside: a slice of `suites/perf`, whose script of checks
//! it runs. Without an image and without a package mirror it says so and passes.

mod packages;

use assert_cmd::Command;
use frontend::image::{Image, initramfs, tree::Node, tree::Tree};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// The checks, as `suites/perf/run` runs them.
const CHECKS: &str = include_str!("../../suites/perf/guest.sh");
/// What perf counts of two programs, for a comparison.
const COUNTED: &str = "for c in 'true' 'seq 1 5000'; do set -- $c; \
                       perf stat -x, -o /tmp/n -e instructions:u $c > /dev/null; sed -n \"s/^\\([0-9]*\\),.*/counted $1 \\1/p\" /tmp/n; done";

/// The image's initrd with a script behind it, which the kernel unpacks too.
fn with_script(image: &Image, script: &str, to: &Path) {
    let mut tree = Tree::default();
    tree.put("check.sh", Node::File { mode: 0o755, bytes: script.as_bytes().to_vec() });
    let mut initrd = std::fs::read(&image.initrd).unwrap();
    initramfs::pack(&tree, &mut initrd).unwrap();
    std::fs::write(to, initrd).unwrap();
}

/// Boots the image with `script`, counted from outside: the console and the counts.
fn boot(image: &Image, script: &str, processors: &str) -> (String, Value) {
    let folder = TempDir::new().unwrap();
    let initrd = folder.path().join("initrd");
    with_script(image, script, &initrd);
    let mut command = Command::cargo_bin("unhalted").unwrap();
    command.arg("stat").arg(&image.kernel).arg("--initrd").arg(&initrd).args(["--smp", processors, "-m", "512M"]);
    command.args(["--append", &image.append, "--append", "cryptomgr.notests=1 run=\"sh /check.sh\""]);
    command.args(["-e", "instructions", "--per-process", "--json", "-o"]).arg(folder.path().join("json"));
    let out = command.env_remove("RUST_LOG").timeout(Duration::from_secs(560)).output().unwrap();
    let console = String::from_utf8_lossy(&out.stdout).replace('\r', "");
    assert!(out.status.success(), "{console}{}", String::from_utf8_lossy(&out.stderr));
    let json = std::fs::read_to_string(folder.path().join("json")).unwrap();
    (console, serde_json::from_str(&json).unwrap())
}

/// User instructions of the processes called `name`, all processors together.
fn outside(report: &Value, name: &str) -> Vec<u64> {
    let processes = report["spans"][0]["processes"].as_array().unwrap();
    let of_name = processes.iter().filter(|p| p["name"] == name);
    of_name.map(|p| p["counts"].as_array().unwrap().iter().filter_map(|c| c["user"].as_u64()).sum()).collect()
}

#[test]
fn perf_counts_in_the_guest_what_is_counted_by_process_from_outside() {
    let Some(image) = packages::debian(&["perf"]) else { return };
    for processors in ["1", "2"] {
        let (console, report) = boot(&image, COUNTED, processors);
        let mut compared = 0;
        for line in console.lines().filter_map(|l| l.strip_prefix("counted ")) {
            let (name, inside) = line.split_once(' ').unwrap();
            let inside: u64 = inside.parse().unwrap();
            assert!(inside > 10_000, "{name}: {inside}");
            assert_eq!(outside(&report, name), [inside], "{name} on {processors} processor(s): {console}");
            compared += 1;
        }
        assert_eq!(compared, 2, "{console}");
    }
}

#[test]
fn the_guests_own_perf_passes_a_slice_of_the_acceptance() {
    let Some(image) = packages::debian(&["perf"]) else { return };
    let checks = format!("set -- boot stat ring topdown\n{CHECKS}");
    let (console, _) = boot(&image, &checks, "1");
    let lines = |word: &str| console.lines().filter(|l| l.starts_with(word)).collect::<Vec<_>>();
    assert!(lines("bad ").is_empty() && console.contains("\n== 0 bad\n"), "{console}");
    assert!(lines("ok ").len() >= 24, "{console}");
}
