//! The local APIC's timer: counts core crystal ticks, or waits for the TSC to reach a deadline.
//!
//! It keeps no running count: the count is computed from the clock, in exact integers. The clock is TSC ticks since
//! power-on before any adjustment. Source: SDM vol. 3A, 11.5.4 (APIC Timer); CPUID leaf 15h for the ratio.

/// TSC ticks of one core crystal tick: 2200 MHz / 25 MHz. The default model's CPUID leaf 15h says the same.
pub const TICKS_PER_CRYSTAL: u64 = 88;

/// Timer mode, LVT bits 18:17.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Counts down once.
    OneShot,
    /// Reloads the initial count.
    Periodic,
    /// Fires when the TSC reaches IA32_TSC_DEADLINE.
    Deadline,
}

impl Mode {
    /// The mode an LVT timer register selects; the reserved encoding counts once.
    pub const fn of(lvt: u32) -> Mode {
        match lvt >> 17 & 3 {
            1 => Mode::Periodic,
            2 => Mode::Deadline,
            _ => Mode::OneShot,
        }
    }
}

/// The timer's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timer {
    /// Initial count register.
    initial: u32,
    /// Divide configuration register, as written.
    divide: u32,
    /// The count stood at `count` at clock `since`; zero: stopped.
    count: u32,
    since: u64,
    /// IA32_TSC_DEADLINE; zero: disarmed.
    deadline: u64,
    /// TSC minus clock.
    tsc_offset: u64,
}

impl Timer {
    /// Initial count register.
    pub fn initial(&self) -> u32 {
        self.initial
    }
    /// Divide configuration register.
    pub fn divide(&self) -> u32 {
        self.divide
    }
    /// IA32_TSC_DEADLINE: zero when disarmed.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Current count at `clock`; zero in deadline mode.
    pub fn current(&self, mode: Mode, clock: u64) -> u32 {
        if mode == Mode::Deadline {
            return 0;
        }
        let gone = clock.saturating_sub(self.since) / self.ticks_per_count();
        u32::try_from(gone).map_or(0, |gone| self.count.saturating_sub(gone))
    }

    /// When it fires next, as a clock; possibly in the past.
    pub fn due(&self, mode: Mode) -> Option<u64> {
        if mode == Mode::Deadline {
            let clock = i128::from(self.deadline) - i128::from(self.tsc_offset as i64);
            return (self.deadline != 0).then(|| u64::try_from(clock.max(0)).unwrap_or(u64::MAX));
        }
        (self.count != 0).then(|| self.since.saturating_add(u64::from(self.count) * self.ticks_per_count()))
    }

    /// Goes on to `clock`; true when it fired (once or more) on the way.
    pub fn advance(&mut self, mode: Mode, clock: u64) -> bool {
        let Some(due) = self.due(mode).filter(|&due| due <= clock) else { return false };
        match mode {
            Mode::Deadline => self.deadline = 0,
            Mode::OneShot => self.count = 0,
            Mode::Periodic => {
                let period = u64::from(self.initial) * self.ticks_per_count();
                let whole = (clock - due).checked_div(period).unwrap_or(0) * period;
                self.since = due + whole;
                self.count = self.initial;
            }
        }
        true
    }

    /// The initial count is written: starts it, or stops it with zero. Ignored in deadline mode.
    pub fn start(&mut self, mode: Mode, count: u32, clock: u64) {
        if mode != Mode::Deadline {
            self.initial = count;
            self.count = count;
            self.since = clock;
        }
    }

    /// The divide configuration is written: what is left of the count goes on at the new rate.
    pub fn set_divide(&mut self, mode: Mode, divide: u32, clock: u64) {
        self.count = self.current(mode, clock);
        self.since = clock;
        self.divide = divide & 0xb;
    }

    /// IA32_TSC_DEADLINE is written; ignored in the other modes.
    pub fn set_deadline(&mut self, mode: Mode, tsc: u64) {
        if mode == Mode::Deadline {
            self.deadline = tsc;
        }
    }

    /// The mode changes: to or from deadline mode disarms it.
    pub fn change_mode(&mut self, from: Mode, to: Mode) {
        if from != to && (from == Mode::Deadline || to == Mode::Deadline) {
            self.count = 0;
            self.deadline = 0;
        }
    }

    /// Tells it how far the TSC is ahead of the clock.
    pub fn set_tsc_offset(&mut self, offset: u64) {
        self.tsc_offset = offset;
    }

    /// As after reset; the TSC's offset is not the APIC's and stays.
    pub fn reset(&mut self) {
        *self = Timer { tsc_offset: self.tsc_offset, ..Timer::default() };
    }

    fn ticks_per_count(&self) -> u64 {
        let code = self.divide & 3 | self.divide >> 1 & 4;
        TICKS_PER_CRYSTAL * if code == 7 { 1 } else { 2 << code }
    }
}
