//! Architectural last branch records: the newest 8, 16 or 32 taken branches, or the chain of calls that led here.
//!
//! [`Lbr::record`] is told of every taken branch and every delivery of an interrupt or exception. A branch is recorded
//! when LBRs are enabled and not frozen, the ring it leads to is selected, and its kind is. In call-stack mode calls
//! push and returns pop. Entry 0 is the newest. The state moves in and out as XSAVE component 15.
//! Source: SDM vol. 3B, ch. 20 (Last Branch Records), as in spec/pmu.md 3.6 and 3.7; sizes from Linux' `fpu/types.h`.

use cpu_x86::{Refused, Ring};

/// Most records.
pub const MOST: usize = 32;
/// Bytes of XSAVE component 15: five registers, then 32 records of three.
pub const IMAGE_BYTES: usize = 8 * (5 + 3 * MOST);
/// What IA32_PERF_CAPABILITIES says of LBRs: format 3Fh, the architectural one.
pub const CAPABILITIES: u64 = 0x3f;
/// GLOBAL_STATUS.LBR_FRZ: no records while it is set (see [`Lbr::freeze`]).
pub const LBR_FRZ: u64 = 1 << 58;
/// CPUID leaf 1Ch: depths 8, 16 and 32, lost in deep C-states; filters by CPL and kind, call stack; mispredictions,
/// cycles, kinds. Unverified: the value of the real part; compare with a dump of its CPUID.
pub const CPUID_1C: [u32; 4] = [0x4000_000b, 7, 7, 0];

/// MSR numbers.
mod msr {
    pub const INFO: u32 = 0x1200;
    pub const CTL: u32 = 0x14ce;
    pub const DEPTH: u32 = 0x14cf;
    pub const FROM: u32 = 0x1500;
    pub const TO: u32 = 0x1600;
    pub const LER_FROM: u32 = 0x1dd;
    pub const LER_TO: u32 = 0x1de;
    pub const LER_INFO: u32 = 0x1e0;
}

/// IA32_LBR_CTL bits.
mod ctl {
    pub const ENABLE: u64 = 1;
    pub const OS: u64 = 1 << 1;
    pub const USR: u64 = 1 << 2;
    pub const CALL_STACK: u64 = 1 << 3;
    pub const JCC: u64 = 1 << 16;
    pub const NEAR_REL_JMP: u64 = 1 << 17;
    pub const NEAR_IND_JMP: u64 = 1 << 18;
    pub const NEAR_REL_CALL: u64 = 1 << 19;
    pub const NEAR_IND_CALL: u64 = 1 << 20;
    pub const NEAR_RET: u64 = 1 << 21;
    pub const OTHER: u64 = 1 << 22;
    pub const LEGAL: u64 = 0x7f_000f;
}

/// INFO bits.
mod info {
    pub const CYCLES: u64 = 0xffff;
    pub const KIND: u32 = 56;
    pub const CYCLES_VALID: u64 = 1 << 60;
    pub const MISPREDICTED: u64 = 1 << 63;
}

/// What kind of transfer a branch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchKind {
    /// Jcc, LOOPcc, JrCXZ.
    Conditional,
    /// JMP through a register or memory, near.
    NearIndirectJump,
    /// JMP to a displacement.
    NearRelativeJump,
    /// CALL through a register or memory, near.
    NearIndirectCall,
    /// CALL to a displacement.
    NearRelativeCall,
    /// RET, near.
    NearReturn,
    /// Far jumps, calls and returns, IRET, SYSCALL, SYSRET, SYSENTER, SYSEXIT.
    Far,
    /// The delivery of an interrupt or exception, INT n included.
    Event,
}

impl BranchKind {
    /// Its bit of IA32_LBR_CTL.
    const fn filter(self) -> u64 {
        match self {
            BranchKind::Conditional => ctl::JCC,
            BranchKind::NearIndirectJump => ctl::NEAR_IND_JMP,
            BranchKind::NearRelativeJump => ctl::NEAR_REL_JMP,
            BranchKind::NearIndirectCall => ctl::NEAR_IND_CALL,
            BranchKind::NearRelativeCall => ctl::NEAR_REL_CALL,
            BranchKind::NearReturn => ctl::NEAR_RET,
            BranchKind::Far | BranchKind::Event => ctl::OTHER,
        }
    }

    /// INFO bits 59:56.
    const fn code(self) -> u64 {
        match self {
            BranchKind::Conditional => 0,
            BranchKind::NearIndirectJump => 1,
            BranchKind::NearRelativeJump => 2,
            BranchKind::NearIndirectCall => 3,
            BranchKind::NearRelativeCall => 4,
            BranchKind::NearReturn => 5,
            BranchKind::Far | BranchKind::Event => 8,
        }
    }

    const fn is_call(self) -> bool {
        matches!(self, BranchKind::NearIndirectCall | BranchKind::NearRelativeCall)
    }
}

/// A branch that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Offset in CS of the branch instruction; of an event, of the instruction that it came before or at.
    pub from: u64,
    /// Where it went.
    pub to: u64,
    /// Offset of the instruction after it: a call that goes there has length zero and leads nowhere.
    pub next: u64,
    /// What it is.
    pub kind: BranchKind,
    /// Was its target or direction mispredicted?
    pub mispredicted: bool,
    /// Unhalted core cycles of the processor when it retired.
    pub cycle: u64,
    /// CPL before it: the ring that its insertion is counted for.
    pub from_ring: Ring,
    /// CPL after it: the ring that the filter looks at.
    pub to_ring: Ring,
}

/// One record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Address of the branch.
    pub from: u64,
    /// Its target.
    pub to: u64,
    /// Cycles 15:0 since the record before, kind 59:56, cycles valid 60, mispredicted 63.
    pub info: u64,
}

/// The last branch records of one logical processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lbr {
    ctl: u64,
    depth: usize,
    /// A ring of `depth` places.
    places: [Entry; MOST],
    /// The place of entry 0.
    newest: usize,
    /// The last branch recorded before the last event.
    last_event: Entry,
    /// GLOBAL_STATUS.LBR_FRZ.
    frozen: bool,
    /// When the last record was made, if one was made since they were enabled.
    recorded_at: Option<u64>,
    /// Records inserted or popped, by the ring the branch was in.
    kernel_inserts: u64,
    user_inserts: u64,
}

impl Default for Lbr {
    fn default() -> Lbr {
        Lbr {
            ctl: 0,
            depth: MOST,
            places: [Entry::default(); MOST],
            newest: 0,
            last_event: Entry::default(),
            frozen: false,
            recorded_at: None,
            kernel_inserts: 0,
            user_inserts: 0,
        }
    }
}

/// A register.
#[derive(Clone, Copy)]
enum Register {
    Ctl,
    Depth,
    From(usize),
    To(usize),
    Info(usize),
    LerFrom,
    LerTo,
    LerInfo,
}

impl Lbr {
    /// The registers go back to power-on; how many records were made goes on.
    pub fn at_power_on(&self) -> Lbr {
        let (kernel_inserts, user_inserts) = (self.kernel_inserts, self.user_inserts);
        Lbr { kernel_inserts, user_inserts, ..Lbr::default() }
    }

    /// Would it record anything? While not, nobody need call [`Lbr::record`].
    pub fn is_recording(&self) -> bool {
        self.ctl & ctl::ENABLE != 0 && self.ctl & (ctl::OS | ctl::USR) != 0 && !self.frozen
    }

    /// Does it record, in some way, branches that lead to `ring`?
    pub fn records_in(&self, ring: Ring) -> bool {
        let selected = if ring == Ring::User { ctl::USR } else { ctl::OS };
        self.is_recording() && self.ctl & selected != 0
    }

    /// A branch was taken. True: the records changed (event MISC_RETIRED.LBR_INSERTS counts that).
    pub fn record(&mut self, b: &Branch) -> bool {
        if !self.records_in(b.to_ring) || self.ctl & b.kind.filter() == 0 {
            return false;
        }
        if b.kind == BranchKind::Event {
            self.last_event = self.entry(0);
        }
        let changed = if self.ctl & ctl::CALL_STACK == 0 {
            self.push(b);
            true
        } else if b.kind == BranchKind::NearReturn {
            self.pop()
        } else if b.kind.is_call() && b.to != b.next {
            self.push(b);
            true
        } else {
            false
        };
        if changed && b.from_ring == Ring::User {
            self.user_inserts += 1;
        } else if changed {
            self.kernel_inserts += 1;
        }
        changed
    }

    fn push(&mut self, b: &Branch) {
        let cycles = self.recorded_at.map(|at| b.cycle.saturating_sub(at).min(info::CYCLES));
        self.recorded_at = Some(b.cycle);
        self.newest = (self.newest + 1) & (self.depth - 1);
        self.places[self.newest] = Entry {
            from: b.from,
            to: b.to,
            info: cycles.map_or(0, |c| c | info::CYCLES_VALID)
                | b.kind.code() << info::KIND
                | if b.mispredicted { info::MISPREDICTED } else { 0 },
        };
    }

    /// A return takes the newest call away.
    fn pop(&mut self) -> bool {
        let was = std::mem::take(&mut self.places[self.newest]);
        self.newest = self.newest.wrapping_sub(1) & (self.depth - 1);
        was != Entry::default()
    }

    /// Entry `n`, 0 being the newest; zero where there is none.
    pub fn entry(&self, n: usize) -> Entry {
        if n < self.depth { self.places[self.place(n)] } else { Entry::default() }
    }

    fn place(&self, n: usize) -> usize {
        self.newest.wrapping_sub(n) & (self.depth - 1)
    }

    /// IA32_LBR_DEPTH: 8, 16 or 32.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Are LBRs enabled (IA32_LBR_CTL.LBREn)?
    pub fn is_enabled(&self) -> bool {
        self.ctl & ctl::ENABLE != 0
    }

    /// How often the records changed by branches executed in `ring`.
    pub fn inserts(&self, ring: Ring) -> u64 {
        if ring == Ring::User { self.user_inserts } else { self.kernel_inserts }
    }

    /// Sets or clears GLOBAL_STATUS.LBR_FRZ as seen here.
    pub fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen;
    }

    /// LBREn goes: at a #DB, and at INIT and warm reset, which keep the records.
    /// Source: SDM vol. 3B, 20.1.4, quoted in the thread "KVM: x86/vmx: Disable Arch LBREn bit in #DB and warm reset".
    pub fn disable(&mut self) {
        self.set_ctl(self.ctl & !ctl::ENABLE);
    }

    fn set_ctl(&mut self, v: u64) {
        if v & ctl::ENABLE == 0 || self.ctl & ctl::ENABLE == 0 {
            self.recorded_at = None;
        }
        self.ctl = v;
    }

    fn clear_entries(&mut self) {
        self.places = [Entry::default(); MOST];
        self.newest = 0;
        self.recorded_at = None;
    }
}

/// Registers.
impl Lbr {
    fn register(&self, number: u32) -> Option<Register> {
        let entry = |first: u32| number.checked_sub(first).map(|n| n as usize).filter(|&n| n < self.depth);
        Some(match number {
            msr::CTL => Register::Ctl,
            msr::DEPTH => Register::Depth,
            msr::LER_FROM => Register::LerFrom,
            msr::LER_TO => Register::LerTo,
            msr::LER_INFO => Register::LerInfo,
            _ => entry(msr::FROM)
                .map(Register::From)
                .or_else(|| entry(msr::TO).map(Register::To))
                .or_else(|| entry(msr::INFO).map(Register::Info))?,
        })
    }

    /// RDMSR; `None`: not a register of the LBR (nor is an entry beyond the depth).
    pub fn msr_read(&self, number: u32) -> Option<u64> {
        Some(match self.register(number)? {
            Register::Ctl => self.ctl,
            Register::Depth => self.depth as u64,
            Register::From(n) => self.entry(n).from,
            Register::To(n) => self.entry(n).to,
            Register::Info(n) => self.entry(n).info,
            Register::LerFrom => self.last_event.from,
            Register::LerTo => self.last_event.to,
            Register::LerInfo => self.last_event.info,
        })
    }

    /// WRMSR; `None`: not a register of the LBR. A refused write changes nothing. INFO is plain storage.
    pub fn msr_write(&mut self, number: u32, v: u64) -> Option<Result<(), Refused>> {
        let register = self.register(number)?;
        let legal = match register {
            Register::Ctl => v & !ctl::LEGAL == 0,
            Register::Depth => depth(v).is_some(),
            Register::From(_) | Register::To(_) | Register::LerFrom | Register::LerTo => canonical(v),
            Register::Info(_) | Register::LerInfo => true,
        };
        if !legal {
            return Some(Err(Refused));
        }
        match register {
            Register::Ctl => self.set_ctl(v),
            Register::Depth => {
                self.depth = depth(v).unwrap_or(self.depth);
                self.clear_entries();
            }
            Register::From(n) => self.places[self.place(n)].from = v,
            Register::To(n) => self.places[self.place(n)].to = v,
            Register::Info(n) => self.places[self.place(n)].info = v,
            Register::LerFrom => self.last_event.from = v,
            Register::LerTo => self.last_event.to = v,
            Register::LerInfo => self.last_event.info = v,
        }
        Some(Ok(()))
    }
}

/// XSAVE component 15.
impl Lbr {
    /// Is it out of its initial configuration (all zero; the depth is no part of that)?
    pub fn in_use(&self) -> bool {
        self.ctl != 0 || self.last_event != Entry::default() || self.places.iter().any(|e| *e != Entry::default())
    }

    /// The component's image: control, depth, last event record, records from the newest on.
    pub fn image(&self) -> [u8; IMAGE_BYTES] {
        let mut image = [0; IMAGE_BYTES];
        let ler = self.last_event;
        let head = [self.ctl, self.depth as u64, ler.from, ler.to, ler.info];
        let entries = (0..MOST).map(|n| self.entry(n)).flat_map(|e| [e.from, e.to, e.info]);
        for (place, v) in image.chunks_exact_mut(8).zip(head.into_iter().chain(entries)) {
            place.copy_from_slice(&v.to_le_bytes());
        }
        image
    }

    /// Loads the component, or its initial configuration. The depth stays.
    ///
    /// # Errors
    /// Reserved bits, addresses that are not canonical, or another depth than the one in force; nothing has changed.
    /// Unverified: what XRSTORS does with another depth; compare on a part that has architectural LBRs.
    pub fn restore(&mut self, image: Option<&[u8; IMAGE_BYTES]>) -> Result<(), Refused> {
        let Some(image) = image else {
            self.clear_entries();
            self.set_ctl(0);
            self.last_event = Entry::default();
            return Ok(());
        };
        let word = |n: usize| u64::from_le_bytes(std::array::from_fn(|b| image[8 * n + b]));
        let entry = |n: usize| Entry { from: word(n), to: word(n + 1), info: word(n + 2) };
        let entries: [Entry; MOST] = std::array::from_fn(|n| entry(5 + 3 * n));
        let legal = word(0) & !ctl::LEGAL == 0 && word(1) == self.depth as u64;
        let mut addresses = entries.iter().take(self.depth).copied().chain([entry(2)]);
        if !legal || !addresses.all(|e| canonical(e.from) && canonical(e.to)) {
            return Err(Refused);
        }
        self.clear_entries();
        for (n, e) in entries.into_iter().enumerate().take(self.depth) {
            self.places[self.place(n)] = e;
        }
        self.set_ctl(word(0));
        self.last_event = entry(2);
        Ok(())
    }
}

/// A depth that is supported.
fn depth(v: u64) -> Option<usize> {
    matches!(v, 8 | 16 | 32).then_some(v as usize)
}

/// Is a linear address canonical with 57 bits? Registers take those whatever the paging mode, on a processor with five
/// levels. Source: Linux, arch/x86/kvm/x86.h (`is_noncanonical_msr_address`).
pub(crate) fn canonical(v: u64) -> bool {
    (v as i64) << 7 >> 7 == v as i64
}

#[cfg(test)]
mod tests;
