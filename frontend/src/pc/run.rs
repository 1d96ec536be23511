//! The run loop: every processor through the same window of virtual time, one after the other, then the next window.
//!
//! A window is a quantum long and ends early where something is to happen: an alarm of a chip, a limit, or an
//! interrupt message to another processor (which then need not wait for a whole quantum). Within a window the order is
//! by number, so that everything is a function of the image, the setup and the input. A processor that has run ahead
//! of a shortened window waits until time has caught up with it. When all are halted, time skips to the next event.

use super::clock::{tick, time};
use super::host::{Host, Idle, View};
use super::machine::Machine;
use super::seat::Seat;
use super::under::Under;
use super::watch::{Unwatched, Watch};
use cpu_x86::alu::flag;
use cpu_x86::lapic::{Delivery, Message};
use cpu_x86::{Exit, Missing};
use emu_core::{Request, Time};
use pmu_model::Now;

/// One processor alone needs no short turns: its window only bounds how late input and signals are seen.
const ALONE: u64 = 16;

/// When to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Instructions retired by all processors together.
    pub instructions: u64,
    /// Guest time since power-on.
    pub time: Time,
}

impl Limits {
    /// No limits.
    pub const NONE: Limits = Limits { instructions: u64::MAX, time: Time::NEVER };
}

/// Why a run ended.
#[derive(Debug)]
pub enum End {
    /// The guest powered the machine off.
    PowerOff,
    /// The guest reset the machine, and reboots are not wanted.
    Reset,
    /// A test device ended the run with this status.
    Exit(u8),
    /// A processor had a triple fault.
    TripleFault {
        /// Its number.
        processor: usize,
    },
    /// All processors are halted and nothing will ever wake them.
    Halted,
    /// The limit on instructions was reached.
    Instructions,
    /// The limit on guest time was reached.
    Time,
    /// An instruction that this program lacks.
    Missing {
        /// The processor's number.
        processor: usize,
        /// Which instruction, where.
        missing: Box<Missing>,
    },
    /// The user quit at the console.
    Quit,
    /// A signal of the host.
    Signal(i32),
}

/// How a stretch went.
#[derive(Debug)]
pub enum Stretch {
    /// It may go on.
    On,
    /// All processors are halted; after so many ticks something wakes one. `None`: nothing will.
    Halted(Option<u64>),
    /// The run has ended.
    Ended(End),
}

impl Machine {
    /// Runs until something ends it.
    pub fn run(&mut self, host: &mut dyn Host) -> End {
        self.run_watched(host, &mut Unwatched)
    }

    /// As [`Machine::run`], with somebody looking on.
    pub fn run_watched(&mut self, host: &mut dyn Host, watch: &mut dyn Watch) -> End {
        let end = loop {
            if let Some(end) = self.window(host, watch) {
                break end;
            }
        };
        host.output(&std::mem::take(&mut self.board.output));
        end
    }

    /// Runs on for so many ticks, or until all processors are halted: a stretch of a machine that shares a host. A machine
    /// that was halted goes on where something wakes it.
    pub fn stretch(&mut self, host: &mut dyn Host, ticks: u64) -> Stretch {
        let limits = self.limits;
        let until = self.clock().saturating_add(ticks);
        self.limits.time = limits.time.min(time(until));
        let ended = loop {
            match self.window(host, &mut Unwatched) {
                Some(End::Time) if time(self.clock()) < limits.time => break Stretch::On,
                Some(end) => break Stretch::Ended(end),
                None if self.clock() >= until => break Stretch::On,
                None if self.idle.iter().all(|idle| *idle) => break Stretch::Halted(self.next_event()),
                None => {}
            }
        };
        self.limits = limits;
        ended
    }

    /// Ticks from now to what wakes a machine that is halted; `None`: nothing will.
    fn next_event(&self) -> Option<u64> {
        let interruptible = self.cpus.iter().any(|c| c.flags() & flag::IF != 0 || c.is_waiting());
        let timer = self.cpus.iter().filter_map(|c| c.next_event()).min();
        let alarm = self.board.next_alarm();
        let event = timer.into_iter().chain((alarm != Time::NEVER).then(|| tick(alarm))).min();
        event.filter(|_| interruptible).map(|event| event.saturating_sub(self.clock()))
    }

    /// One window of virtual time.
    fn window(&mut self, host: &mut dyn Host, watch: &mut dyn Watch) -> Option<End> {
        if let Some(end) = self.between(host) {
            return Some(end);
        }
        let start = self.clock();
        let mut until = match self.window_end(start) {
            Ok(until) => until,
            Err(end) => return Some(end),
        };
        if self.idle.iter().all(|i| *i) {
            match self.skip(host, start) {
                Ok(skipped) => until = skipped,
                Err(end) => return Some(end),
            }
        }
        for n in 0..self.cpus.len() {
            if let Err(end) = self.turn(n, &mut until, watch) {
                return end;
            }
        }
        self.board.ring(time(self.clock()));
        self.deliver();
        None
    }

    /// Between windows: console and host.
    fn between(&mut self, host: &mut dyn Host) -> Option<End> {
        if !self.board.output.is_empty() {
            host.output(&self.board.output);
            self.board.output.clear();
        }
        self.offer_input(host);
        host.stop(&View { cpus: &self.cpus })
    }

    fn offer_input(&mut self, host: &mut dyn Host) {
        let input = host.input();
        if !input.is_empty() {
            let taken = self.board.input(input, time(self.clock()));
            host.taken(taken);
            self.deliver();
        }
    }

    /// The clock of the processor that is furthest behind: all before it has happened.
    pub fn clock(&self) -> u64 {
        self.cpus.iter().map(|c| c.counts().clock).min().unwrap_or(0)
    }

    /// Where the window that begins at `start` ends, if nothing happens in it.
    fn window_end(&self, start: u64) -> Result<u64, End> {
        let retired: u64 =
            self.cpus.iter().map(|c| c.counts()).map(|c| c.kernel.instructions + c.user.instructions).sum();
        let left = self.limits.instructions.saturating_sub(retired);
        if left == 0 {
            return Err(End::Instructions);
        }
        if time(start) >= self.limits.time {
            return Err(End::Time);
        }
        let processors = self.cpus.len() as u64;
        let quantum = if processors == 1 { self.quantum.saturating_mul(ALONE) } else { self.quantum };
        // In ticks, in which faster cores retire more.
        let share = self.cpus[0].pace().ticks(left.div_euclid(processors)).max(1);
        let event = tick(self.board.next_alarm().min(self.limits.time)).max(start + 1);
        Ok(start.saturating_add(quantum.min(share)).min(event))
    }

    /// Everybody is halted: skips to the next event, and says at which tick that is.
    fn skip(&mut self, host: &mut dyn Host, start: u64) -> Result<u64, End> {
        let timers = self.cpus.iter().filter_map(|c| c.next_event()).min();
        let alarm = self.board.next_alarm();
        let interruptible = self.cpus.iter().any(|c| c.flags() & flag::IF != 0 || c.is_waiting());
        if !interruptible {
            return Err(End::Halted);
        }
        let event = timers.into_iter().chain((alarm != Time::NEVER).then(|| tick(alarm))).min();
        let until = event.map(|e| e.max(start + 1).min(tick(self.limits.time)));
        if !self.board.output.is_empty() {
            host.output(&std::mem::take(&mut self.board.output));
        }
        match host.idle(until.map(|u| time(u) - time(start))) {
            Idle::Skip => until.ok_or(End::Halted),
            Idle::Never => until.ok_or(End::Halted),
            Idle::Input(after) => {
                let now = tick(time(start) + after).max(start + 1);
                Ok(until.map_or(now, |u| u.min(now)))
            }
        }
    }

    /// Runs processor `n` until the clock stands at `until`, which moves back when something is to happen earlier.
    fn turn(&mut self, n: usize, until: &mut u64, watch: &mut dyn Watch) -> Result<(), Option<End>> {
        loop {
            let clock = self.cpus[n].counts().clock;
            if clock >= *until {
                return Ok(());
            }
            self.board.horizon = time(*until).min(self.board.next_alarm());
            let mut seat =
                Seat { board: &mut self.board, pmu: &mut self.pmus[n], apic_id: n as u32, watch, due: false };
            self.cpus[n].shown_clock = self.shown_clock;
            let (exit, due) = match self.hosts.get_mut(n) {
                None => (self.cpus[n].run(&mut seat, *until), seat.due),
                Some(host) => {
                    let mut under = Under { seat, host };
                    (self.cpus[n].run(&mut under, *until), under.seat.due)
                }
            };
            self.shown_clock = self.cpus[n].shown_clock;
            self.tell(n);
            self.idle[n] = false;
            if due {
                watch.look(&self.glance_at(n));
            }
            match exit {
                Exit::Time => {}
                Exit::Attention if due && !self.board.wants_attention() => {}
                Exit::Attention => self.attend(n, until)?,
                Exit::Halted => self.halt(n, *until),
                Exit::Shutdown if self.triple_fault_resets => return Err(self.reboot(clock)),
                Exit::Shutdown => return Err(Some(End::TripleFault { processor: n })),
                Exit::Unimplemented(missing) => return Err(Some(End::Missing { processor: n, missing })),
            }
        }
    }

    /// Tells the other processors what `n` did to memory that holds code.
    fn tell(&mut self, n: usize) {
        let notes = self.cpus[n].take_notes();
        if notes.is_empty() {
            return;
        }
        for (_, other) in self.cpus.iter_mut().enumerate().filter(|(m, _)| *m != n) {
            other.hear(&notes);
        }
    }

    /// Processor `n` is halted: its clock goes on to its timer or to `until`.
    fn halt(&mut self, n: usize, until: u64) {
        let cpu = &mut self.cpus[n];
        if let Some(host) = self.hosts.get_mut(n) {
            host.inside().halt(Now { counts: &cpu.counts(), signals: Some(self.pmus[n].told()) });
        }
        let clock = cpu.counts().clock;
        let wake = cpu.next_event().unwrap_or(u64::MAX).max(clock + 1);
        self.idle[n] = true;
        if wake < until {
            self.idle[n] = false;
        }
        cpu.skip_to(wake.min(until));
    }

    /// The board wanted processor `n` to leave its run.
    fn attend(&mut self, n: usize, until: &mut u64) -> Result<(), Option<End>> {
        let clock = self.cpus[n].counts().clock;
        match self.board.mail.request.take() {
            Some(Request::PowerOff) => return Err(Some(End::PowerOff)),
            Some(Request::Exit(status)) => return Err(Some(End::Exit(status))),
            Some(Request::Reset) if self.reboot => return Err(self.reboot(clock)),
            Some(Request::Reset) => return Err(Some(End::Reset)),
            None => {}
        }
        let others = self.deliver();
        let event = tick(self.board.next_alarm());
        *until = (*until).min(event).max(clock);
        if others && self.cpus.len() > 1 {
            *until = clock;
        }
        Ok(())
    }

    /// Resets the machine; the run ends if the image has gone.
    fn reboot(&mut self, clock: u64) -> Option<End> {
        if self.reset(time(clock)) { None } else { Some(End::Reset) }
    }

    /// Delivers what waits in the mail. True when an interrupt message went to somebody but its sender.
    fn deliver(&mut self) -> bool {
        for (at, bytes) in std::mem::take(&mut self.board.mail.wrote) {
            for cpu in &mut self.cpus {
                cpu.forget(at, bytes);
            }
        }
        if let Some(level) = self.board.take_intr() {
            if level {
                self.interrupted(0);
            }
            self.cpus[0].set_intr(level);
            self.idle[0] = false;
        }
        let mut others = false;
        for (source, message) in std::mem::take(&mut self.board.mail.messages) {
            others |= self.send(source, &message);
        }
        others
    }

    /// Delivers one message; true when it reached somebody but its sender.
    fn send(&mut self, source: u32, m: &Message) -> bool {
        let mut targets: Vec<usize> =
            (0..self.cpus.len()).filter(|&n| self.cpus[n].lapic.is_target(m, source)).collect();
        if m.mode == Delivery::LowestPriority {
            let lowest = targets.iter().copied().min_by_key(|&n| self.cpus[n].lapic.ppr() >> 4);
            targets = lowest.into_iter().collect();
        }
        for &n in &targets {
            self.idle[n] = false;
            if source as usize >= self.cpus.len() {
                self.interrupted(n);
            }
            let cpu = &mut self.cpus[n];
            match m.mode {
                Delivery::Init => cpu.raise_init(),
                Delivery::StartUp => cpu.raise_sipi(m.vector),
                Delivery::Nmi => cpu.raise_nmi(),
                mode => cpu.lapic.receive(mode, m.vector, m.level),
            }
        }
        targets.iter().any(|&n| n as u32 != source)
    }

    /// A device's interrupt for processor `n` is one of its host first.
    fn interrupted(&mut self, n: usize) {
        if let Some(host) = self.hosts.get_mut(n) {
            let counts = self.cpus[n].counts();
            host.inside().interrupted(Now { counts: &counts, signals: Some(self.pmus[n].told()) });
        }
    }
}
