//! One counter of the 8254: what it counts from, since which tick, and what follows from the two.
//!
//! Ticks are signed here, because a square wave whose count changes in mid-cycle counts as if it had begun earlier. A
//! count written at one tick is loaded into the counting element at the next.

/// The six modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// 0: interrupt on terminal count.
    TerminalCount,
    /// 1: hardware retriggerable one-shot.
    OneShot,
    /// 2: rate generator.
    Rate,
    /// 3: square wave.
    Square,
    /// 4: software triggered strobe.
    SoftStrobe,
    /// 5: hardware triggered strobe.
    HardStrobe,
}

impl Mode {
    fn of(bits: u8) -> Mode {
        match bits & 7 {
            0 => Mode::TerminalCount,
            1 => Mode::OneShot,
            2 | 6 => Mode::Rate,
            3 | 7 => Mode::Square,
            4 => Mode::SoftStrobe,
            _ => Mode::HardStrobe,
        }
    }
    /// Started by a rising gate, not by the count.
    fn triggered(self) -> bool {
        matches!(self, Mode::OneShot | Mode::HardStrobe)
    }
    fn periodic(self) -> bool {
        matches!(self, Mode::Rate | Mode::Square)
    }
}

/// What the counting element does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// No count written yet, or a trigger awaited; the output rests.
    Idle,
    /// Counting down from the count loaded at this tick.
    Since(i64),
    /// Stopped by the gate after so many pulses.
    Paused(i64),
}

/// A counter.
#[derive(Clone, Debug)]
pub struct Counter {
    mode: Mode,
    /// Control word bits 5:0: access, mode, BCD.
    word: u8,
    gate: bool,
    /// What is being counted from: 1 to 65536, or to 10000 in BCD.
    count: i64,
    /// A count was written since the control word.
    armed: bool,
    run: Run,
    /// The output before the count was loaded.
    before: bool,
    /// A count waiting to be loaded, and the tick of that (never, where only a trigger loads it).
    next: Option<(i64, i64)>,
    /// First byte of a two-byte write.
    low: Option<u8>,
    /// The second byte of a two-byte read comes next.
    read_high: bool,
    latch: Option<u16>,
    status: Option<u8>,
}

impl Default for Counter {
    fn default() -> Counter {
        Counter {
            mode: Mode::TerminalCount,
            word: 0x30,
            gate: true,
            count: 0x10000,
            armed: false,
            run: Run::Idle,
            before: false,
            next: None,
            low: None,
            read_high: false,
            latch: None,
            status: None,
        }
    }
}

impl Counter {
    /// A control word for this counter: a new mode, or the latch command.
    pub fn command(&mut self, value: u8, now: u64) {
        if value & 0x30 == 0 {
            self.read_back(true, false, now);
            return;
        }
        *self = Counter { mode: Mode::of(value >> 1), word: value & 0x3f, gate: self.gate, ..Counter::default() };
    }

    /// Latches the count, the status, or both; what is latched already stays.
    pub fn read_back(&mut self, count: bool, status: bool, now: u64) {
        let now = now as i64;
        if count && self.latch.is_none() {
            self.latch = Some(self.value(now));
        }
        if status && self.status.is_none() {
            let unloaded = match self.run {
                Run::Idle => true,
                Run::Since(start) => now < start || self.next.is_some(),
                Run::Paused(_) => self.next.is_some(),
            };
            self.status = Some(u8::from(self.level(now)) << 7 | u8::from(unloaded) << 6 | self.word);
        }
    }

    /// Reads the next byte: latched status, then the latched or live count.
    pub fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.status.take() {
            return status;
        }
        let value = self.latch.unwrap_or_else(|| self.value(now as i64));
        let high = match self.word >> 4 & 3 {
            1 => false,
            2 => true,
            _ => {
                self.read_high = !self.read_high;
                !self.read_high
            }
        };
        if high || self.word >> 4 & 3 == 1 {
            self.latch = None;
        }
        if high { (value >> 8) as u8 } else { value as u8 }
    }

    /// Writes a byte of the count.
    pub fn write(&mut self, value: u8, now: u64) {
        let value = u16::from(value);
        match (self.word >> 4 & 3, self.low.take()) {
            (1, _) => self.load(value, now as i64),
            (2, _) => self.load(value << 8, now as i64),
            (_, Some(low)) => self.load(value << 8 | u16::from(low), now as i64),
            (_, None) => {
                self.low = Some(value as u8);
                if self.mode == Mode::TerminalCount {
                    // The first byte stops the count and lowers the output.
                    self.run = Run::Idle;
                }
            }
        }
    }

    /// Drives the gate.
    pub fn set_gate(&mut self, high: bool, now: u64) {
        let now = now as i64;
        if high == self.gate {
            return;
        }
        self.settle(now);
        let reloads = self.mode.triggered() || self.mode.periodic();
        match (high, self.run) {
            (true, _) if reloads && self.armed => {
                self.before = self.level(now);
                if let Some((_, count)) = self.next.take() {
                    self.count = count;
                }
                self.run = Run::Since(now + 1);
            }
            (true, Run::Paused(elapsed)) => self.run = Run::Since(now - elapsed),
            (false, Run::Since(start)) if !self.mode.triggered() => self.run = Run::Paused((now - start).max(0)),
            _ => {}
        }
        self.gate = high;
    }

    /// The output pin at `now`.
    pub fn out(&mut self, now: u64) -> bool {
        self.level(now as i64)
    }

    /// The first tick after `after` at which the output changes, if nobody touches the counter.
    pub fn next_change(&mut self, after: u64) -> Option<u64> {
        let after = after as i64;
        self.settle(after);
        let Run::Since(start) = self.run else { return None };
        if after < start && self.before != self.pattern(0) {
            return Some(start as u64);
        }
        let from = after.max(start);
        let elapsed = from - start;
        let phase = elapsed.rem_euclid(self.count);
        let change = match self.mode {
            Mode::Rate if phase == self.count - 1 => from + 1,
            Mode::Rate => from + self.count - 1 - phase,
            Mode::Square if phase < self.half() => from + self.half() - phase,
            Mode::Square => from + self.count - phase,
            Mode::SoftStrobe | Mode::HardStrobe if elapsed == self.count => from + 1,
            _ => start + self.count,
        };
        (change > after).then_some(change as u64)
    }

    /// Ticks for which a square wave is high: the longer half of an odd count.
    fn half(&self) -> i64 {
        (self.count + 1) / 2
    }

    fn bcd(&self) -> bool {
        self.word & 1 != 0
    }

    /// A whole count was written.
    fn load(&mut self, raw: u16, now: i64) {
        self.settle(now);
        let (value, modulus) = if self.bcd() { (from_bcd(raw), 10_000) } else { (i64::from(raw), 0x10000) };
        // Differs: a period of 1 is illegal in modes 2 and 3, and is 2 here.
        let least = if self.mode.periodic() { 2 } else { 1 };
        let count = if value % modulus == 0 { modulus } else { (value % modulus).max(least) };
        let first = !std::mem::replace(&mut self.armed, true);
        match self.run {
            Run::Since(start) if self.mode.periodic() && now >= start => self.next = Some((self.boundary(now), count)),
            Run::Since(_) if self.mode.triggered() => self.next = Some((i64::MAX, count)),
            _ if self.mode.triggered() => self.count = count,
            _ => {
                if first || !self.mode.periodic() {
                    self.before = self.mode != Mode::TerminalCount;
                }
                self.count = count;
                self.run = if self.gate { Run::Since(now + 1) } else { Run::Paused(0) };
            }
        }
    }

    /// The end of the cycle (mode 2) or half cycle (mode 3) that `now` lies in.
    fn boundary(&self, now: i64) -> i64 {
        let Run::Since(start) = self.run else { return i64::MAX };
        let phase = (now - start).rem_euclid(self.count);
        let end = if self.mode == Mode::Square && phase < self.half() { self.half() } else { self.count };
        now + end - phase
    }

    /// Loads a waiting count whose tick has come.
    fn settle(&mut self, now: i64) {
        let (Run::Since(start), Some((at, count))) = (self.run, self.next) else { return };
        if at > now {
            return;
        }
        let ends_high = self.mode == Mode::Square && (at - start).rem_euclid(self.count) == self.half() % self.count;
        self.count = count;
        // A new low half begins as if the new high half had just ended.
        self.run = Run::Since(if ends_high { at - self.half() } else { at });
        self.next = None;
    }

    /// The output `elapsed` pulses after the count was loaded.
    fn pattern(&self, elapsed: i64) -> bool {
        let phase = elapsed.rem_euclid(self.count);
        match self.mode {
            Mode::TerminalCount | Mode::OneShot => elapsed >= self.count,
            Mode::Rate => phase != self.count - 1,
            Mode::Square => phase < self.half(),
            Mode::SoftStrobe | Mode::HardStrobe => elapsed != self.count,
        }
    }

    fn level(&mut self, now: i64) -> bool {
        self.settle(now);
        match self.run {
            Run::Idle => self.mode != Mode::TerminalCount,
            Run::Paused(_) if self.mode.periodic() => true,
            Run::Paused(elapsed) => self.pattern(elapsed),
            Run::Since(start) if now < start => self.before,
            Run::Since(start) => self.pattern(now - start),
        }
    }

    /// The counting element as the guest reads it.
    fn value(&mut self, now: i64) -> u16 {
        self.settle(now);
        let elapsed = match self.run {
            Run::Idle => 0,
            Run::Paused(elapsed) => elapsed,
            Run::Since(start) => (now - start).max(0),
        };
        let phase = elapsed.rem_euclid(self.count);
        let value = match self.mode {
            Mode::Rate => self.count - phase,
            Mode::Square => {
                let into = if phase < self.half() { phase } else { phase - self.half() };
                (self.count & !1) - 2 * into
            }
            _ => self.count - elapsed,
        };
        if self.bcd() { to_bcd(value.rem_euclid(10_000)) } else { value as u16 }
    }
}

fn from_bcd(raw: u16) -> i64 {
    (0..4).rev().fold(0, |value, digit| value * 10 + i64::from(raw >> (4 * digit) & 0xf))
}

fn to_bcd(value: i64) -> u16 {
    (0..4).fold(0, |raw, digit| raw | ((value / 10_i64.pow(digit) % 10) as u16) << (4 * digit))
}
