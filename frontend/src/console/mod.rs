//! The terminal as the guest's serial console.
//!
//! A thread reads standard input into a channel, which the run loop drains between windows; output goes to standard
//! output as it comes. On a terminal the input is raw and Ctrl-A is ours (`keys.rs`). A regular file as input is read
//! at once, so that such a run is deterministic; input from a pipe or a terminal arrives when it arrives.

mod keys;
mod terminal;

use crate::pc::{End, Host, Idle, View};
use crossbeam::channel::{Receiver, RecvTimeoutError, TryRecvError, bounded};
use emu_core::Time;
use keys::{Key, Keys};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{IsTerminal, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use terminal::RawMode;

/// What Ctrl-A h prints.
const HELP: &str = "\nunhalted: Ctrl-A x  quit\n          Ctrl-A c  counters so far\n          Ctrl-A h  this help\n          \
                    Ctrl-A Ctrl-A  sends Ctrl-A to the guest\n";
/// How long to sleep at most before looking for signals again.
const NAP: Duration = Duration::from_millis(50);

/// When idle guest time is paced to real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pace {
    /// When standard input is a terminal.
    Auto,
    /// Always.
    On,
    /// Never: a halted guest skips to its next event.
    Off,
}

/// Standard input and output as a [`Host`].
pub struct Console {
    input: Option<Receiver<Vec<u8>>>,
    /// Read and not yet taken by the guest.
    pending: Vec<u8>,
    keys: Option<Keys>,
    signal: Arc<AtomicUsize>,
    paced: bool,
    quit: bool,
    counters: bool,
    shown: bool,
    /// Dropped last: the terminal as it was.
    _terminal: Option<RawMode>,
}

impl Console {
    /// Opens the console: raw mode and the hint on a terminal, the reader thread, the signals.
    ///
    /// # Errors
    /// The host refuses a signal handler or a thread.
    pub fn open(pace: Pace) -> std::io::Result<Console> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_usize(number, signal.clone(), number as usize)?;
        }
        let stdin = std::io::stdin();
        let tty = stdin.is_terminal();
        let terminal = if tty { RawMode::enter() } else { None };
        if terminal.is_some() {
            eprintln!("unhalted: Ctrl-A x quits, Ctrl-A h helps");
        }
        let mut console = Console {
            input: None,
            pending: Vec::new(),
            keys: terminal.is_some().then(Keys::default),
            signal,
            paced: match pace {
                Pace::Auto => tty,
                Pace::On => true,
                Pace::Off => false,
            },
            quit: false,
            counters: false,
            shown: true,
            _terminal: terminal,
        };
        if terminal::is_regular_file(&stdin) {
            stdin.lock().read_to_end(&mut console.pending)?;
        } else {
            console.input = Some(read_in_background()?);
        }
        Ok(console)
    }

    /// Is the guest's output to be shown?
    pub fn show(&mut self, shown: bool) {
        self.shown = shown;
    }

    /// Takes in a chunk of input: on a terminal our keys are picked out of it.
    fn take_in(&mut self, chunk: &[u8]) {
        let Some(keys) = &mut self.keys else {
            self.pending.extend_from_slice(chunk);
            return;
        };
        for &byte in chunk {
            match keys.press(byte) {
                Key::Guest(b) => self.pending.push(b),
                Key::Quit => self.quit = true,
                Key::Help => eprint!("{HELP}"),
                Key::Counters => self.counters = true,
                Key::Swallowed => {}
            }
        }
    }

    fn signalled(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    /// Waits for input up to `limit`; true when some came. A closed input is forgotten.
    fn wait(&mut self, limit: Duration) -> bool {
        let Some(input) = &self.input else {
            std::thread::sleep(limit);
            return false;
        };
        match input.recv_timeout(limit) {
            Ok(chunk) => {
                self.take_in(&chunk);
                true
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => {
                self.input = None;
                false
            }
        }
    }
}

/// Reads standard input on a thread of its own, since reading blocks.
fn read_in_background() -> std::io::Result<Receiver<Vec<u8>>> {
    let (send, receive) = bounded(16);
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut buffer = [0; 4096];
        let mut stdin = std::io::stdin();
        while let Ok(n @ 1..) = stdin.read(&mut buffer) {
            if send.send(buffer[..n].to_vec()).is_err() {
                return;
            }
        }
    })?;
    Ok(receive)
}

impl Host for Console {
    fn output(&mut self, bytes: &[u8]) {
        if !self.shown {
            return;
        }
        let mut out = std::io::stdout().lock();
        // A reader that has gone away does not stop the guest.
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }

    fn input(&mut self) -> &[u8] {
        match self.input.as_ref().map(Receiver::try_recv) {
            Some(Ok(chunk)) => self.take_in(&chunk),
            Some(Err(TryRecvError::Disconnected)) => self.input = None,
            Some(Err(TryRecvError::Empty)) | None => {}
        }
        &self.pending
    }

    fn taken(&mut self, bytes: usize) {
        self.pending.drain(..bytes.min(self.pending.len()));
    }

    fn stop(&mut self, view: &View<'_>) -> Option<End> {
        if std::mem::take(&mut self.counters) {
            eprintln!("\n{}", crate::report::counters(&view.counts()));
        }
        if self.quit {
            return Some(End::Quit);
        }
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            n => Some(End::Signal(n as i32)),
        }
    }

    fn idle(&mut self, until: Option<Time>) -> Idle {
        let end = match until {
            Some(_) if !self.paced => return Idle::Skip,
            None if self.input.is_none() => return Idle::Never,
            Some(span) => Some(Duration::from_nanos(span.as_ns())),
            None => None,
        };
        let start = Instant::now();
        loop {
            let gone = start.elapsed();
            if end.is_some_and(|e| gone >= e) {
                return Idle::Skip;
            }
            let nap = end.map_or(NAP, |e| NAP.min(e - gone));
            if self.wait(nap) || self.signalled() || self.quit {
                let virtual_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                return Idle::Input(Time::ps(virtual_ns.saturating_mul(1000)));
            }
            if end.is_none() && self.input.is_none() {
                return Idle::Never;
            }
        }
    }
}
