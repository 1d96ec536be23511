//! Runs one emulator and stamps every line it prints with the CPU time its process has used.
//!
//! CPU time and not the wall clock: guests here never wait, and the machine may be shared. It is read by the process'
//! own clock (clock_getcpuclockid(3), nanoseconds), all threads together, when a line arrives.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Which of the process' outputs the guest's serial port is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Serial {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line of the guest with when it came.
#[derive(Clone, Debug)]
pub struct Line {
    /// Without its end.
    pub text: String,
    /// CPU seconds the process had used.
    pub cpu_s: f64,
}

/// Runs `command` until it ends, until `each` answers true to a line, or until `limit`; gives the lines.
///
/// # Errors
/// The program does not start, or the limit passed.
pub fn watch(
    command: &mut Command,
    serial: Serial,
    limit: Duration,
    mut each: impl FnMut(&str, u32) -> bool,
) -> Result<Vec<Line>, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let piped = |is: bool| if is { Stdio::piped() } else { Stdio::null() };
    command.stdin(Stdio::null()).stdout(piped(serial == Serial::Stdout)).stderr(piped(serial == Serial::Stderr));
    let mut child = command.spawn().map_err(|e| format!("{name}: {e}"))?;
    let pipe: Box<dyn Read + Send> = match serial {
        Serial::Stdout => Box::new(child.stdout.take().expect("stdout was asked to be a pipe")),
        Serial::Stderr => Box::new(child.stderr.take().expect("stderr was asked to be a pipe")),
    };
    let (id, (send, lines)) = (child.id(), mpsc::channel());
    thread::spawn(move || stamp(pipe, id, &send));
    let (started, mut seen) = (Instant::now(), Vec::new());
    let result = loop {
        match lines.recv_timeout(limit.saturating_sub(started.elapsed())) {
            Ok(line) => {
                let line: Line = line;
                let done = each(&line.text, id);
                seen.push(line);
                if done {
                    break Ok(seen);
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break Ok(seen),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let tail: Vec<&str> = seen.iter().rev().take(3).map(|line: &Line| line.text.as_str()).collect();
                break Err(format!("{name}: no end after {} s; its last lines, last first: {tail:?}", limit.as_secs()));
            }
        }
    };
    end(&mut child);
    result
}

/// Reads lines and stamps them until the pipe ends or nobody listens.
fn stamp(pipe: impl Read, id: u32, to: &mpsc::Sender<Line>) {
    let clock = clock_getcpuclockid(Pid::from_raw(id.cast_signed())).ok();
    let (mut pipe, mut bytes, mut last) = (BufReader::new(pipe), Vec::new(), 0.0);
    while pipe.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
        // A process that has just ended has no clock any more: the last reading stands.
        if let Some(now) = clock.and_then(|clock| clock_gettime(clock).ok()) {
            last = Duration::from(now).as_secs_f64();
        }
        let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        if to.send(Line { text, cpu_s: last }).is_err() {
            return;
        }
        bytes.clear();
    }
}

/// Gives the process a moment to leave by itself, then ends it.
fn end(child: &mut Child) {
    for _ in 0..20 {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    // It may have ended in between: then there is nothing to kill, and `wait` still collects it.
    child.kill().ok();
    child.wait().ok();
}

/// The middle of `values`, or the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// The geometric mean.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| (values.iter().map(|v| v.ln()).sum::<f64>() / values.len() as f64).exp())
}

/// A figure for a table: three significant digits, or a dash.
pub fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(v) if v >= 100.0 => format!("{v:.0}"),
        Some(v) if v >= 10.0 => format!("{v:.1}"),
        Some(v) => format!("{v:.2}"),
    }
}
