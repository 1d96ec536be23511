//! The console on a terminal: raw while the guest runs, restored afterwards, Ctrl-A x quits.

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Our end of a pseudo terminal, and the program's.
fn terminal() -> (File, File) {
    let ours: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    (File::from(ours), theirs)
}

fn is_raw(terminal: &File) -> bool {
    let modes = tcgetattr(terminal).unwrap().local_modes;
    !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
}

/// Starts a guest that spins for ever on `terminal`, and waits until the terminal is raw.
fn start(terminal: &File) -> Child {
    let rom = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(rom.path(), [0xeb, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_unhalted"))
        .args(["run", "--no-summary", "--rom"])
        .arg(rom.path())
        .stdin(Stdio::from(terminal.try_clone().unwrap()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(|| is_raw(terminal));
    // The file was read before the terminal was touched.
    drop(rom);
    child
}

fn wait_for(mut what: impl FnMut() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(30), "it did not happen in 30 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn end(mut child: Child) -> (Option<i32>, String) {
    wait_for(|| child.try_wait().unwrap().is_some());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

#[test]
fn ctrl_a_x_quits_and_the_terminal_is_as_before() {
    let (mut ours, theirs) = terminal();
    assert!(!is_raw(&theirs));
    let child = start(&theirs);
    ours.write_all(b"\x01h\x01x").unwrap();
    let (code, said) = end(child);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Ctrl-A x quits") && said.contains("counters so far"), "{said}");
    assert!(!is_raw(&theirs));
}

#[test]
fn a_signal_ends_the_run_and_the_terminal_is_as_before() {
    let (_ours, theirs) = terminal();
    let child = start(&theirs);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let (code, said) = end(child);
    assert_eq!(code, Some(143), "{said}");
    assert!(!is_raw(&theirs));
}
