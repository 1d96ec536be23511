//! What is known of an instruction before it runs.

use super::ledger::Cause;
use super::taken::BranchKind;
use super::uops::{self, Kind};
use crate::signal::{Signal, Totals};
use iced_x86::{ConditionCode, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

/// Which conditional branches a flag writer fuses with: the first ones fuse with all, the last with the fewest.
/// Source: Intel's optimization manual, "Macro-Fusion"; gem5 and uiCA agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fusible {
    #[default]
    Never,
    /// TEST, AND.
    All,
    /// CMP, ADD, SUB: not with branches on sign, parity or overflow alone.
    Compares,
    /// INC, DEC: nor with those on carry.
    Counts,
    /// No flag writer: the bound of a branch that fuses with all classes.
    Beyond,
}

/// How an instruction accesses memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// One of its accesses, told as a write, loads too.
    pub modifies: bool,
    pub locked: bool,
    /// Its stores are streaming ones.
    pub streams: bool,
    pub repeats: bool,
}

impl Memory {
    /// Does an access of it load, which is told as a write or not?
    #[inline]
    pub fn loads(self, write: bool) -> bool {
        !write || self.modifies
    }
}

/// Executes at least one, two, three, four micro-ops.
pub(super) const EXECUTES: [Signal; 4] = [Signal::Executes1, Signal::Executes2, Signal::Executes3, Signal::Executes4];

/// An instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fact {
    /// Offset from the first byte of the block.
    pub start: u32,
    pub bytes: u32,
    /// How many cache lines behind the block's first its last byte lies.
    pub line: u8,
    /// Slots.
    pub uops: u32,
    /// Those of the instructions before it in its block.
    pub before: u32,
    /// Executed micro-ops.
    pub unfused: u32,
    /// Slots filled by the sequencer.
    pub microcode: u32,
    pub loads: u8,
    pub stores: u8,
    pub memory: Memory,
    pub mnemonic: Mnemonic,
    pub kind: Kind,
    /// Counted one by one: NOPs, LFENCE, PAUSE, software prefetches.
    pub single: Option<Signal>,
    pub branch: Option<BranchKind>,
    pub stall: Option<(Cause, u32)>,
    /// As the first of a fused pair.
    pub fusible: Fusible,
    /// As the second: the least strict class it does not fuse with, [`Fusible::Never`] for what never fuses.
    pub fuses_below: Fusible,
    /// Fused with the one before it.
    pub fused: bool,
    /// How many instructions from this one on the ledger may go through at once, in its block.
    pub usual: u8,
    /// PUSH, POP, CALL, RET: the stack engine's. `Some(false)`: names RSP itself.
    pub stack: Option<bool>,
}

impl Fact {
    /// The facts of `i`, whose first byte is `start` bytes behind the block's, at byte `at` of its first line's page.
    pub fn of(i: &Instruction, start: u32, first: u64, info: &mut InstructionInfoFactory) -> Fact {
        let bytes = i.len() as u32;
        let last = first.wrapping_add(u64::from(start + bytes.max(1) - 1));
        let mut fact = Fact {
            start,
            bytes,
            line: ((last >> 6) - (first >> 6)).min(255) as u8,
            branch: branch(i),
            stall: uops::stall(i),
            fusible: fusible(i),
            fuses_below: fuses_below(i),
            stack: stack(i),
            single: single(i),
            mnemonic: i.mnemonic(),
            ..Fact::default()
        };
        fact.memory.streams = streams(i.mnemonic());
        fact.memory.repeats = i.has_rep_prefix() || i.has_repne_prefix();
        fact.accesses(i, info);
        let u = uops::uops(i, u32::from(fact.loads), u32::from(fact.stores));
        (fact.uops, fact.unfused, fact.microcode, fact.kind) = (u.fused, u.unfused, u.microcode, u.kind);
        fact.unfused = fact.unfused.max(u32::from(fact.branch.is_some()));
        fact.memory.locked = fact.loads > 0 && uops::locks(i);
        fact
    }

    fn accesses(&mut self, i: &Instruction, info: &mut InstructionInfoFactory) {
        if no_access(i.mnemonic()) {
            return;
        }
        for m in info.info(i).used_memory() {
            let (loads, stores) = match m.access() {
                OpAccess::Read | OpAccess::CondRead => (1, 0),
                OpAccess::Write | OpAccess::CondWrite => (0, 1),
                OpAccess::ReadWrite | OpAccess::ReadCondWrite => (1, 1),
                OpAccess::None | OpAccess::NoMemAccess => (0, 0),
            };
            (self.loads, self.stores) = (self.loads + loads, self.stores + stores);
            self.memory.modifies |= loads + stores == 2;
        }
    }

    /// Does it fuse with an instruction of class `first` right before it?
    pub fn fuses_with(&self, first: Fusible) -> bool {
        first != Fusible::Never && first < self.fuses_below
    }

    /// Is it the second of a pair: takes part of the first one's slot.
    pub fn fuse(&mut self) {
        (self.fused, self.uops, self.unfused) = (true, 0, 0);
    }

    /// Adds what it counts when it retires, `times` over. What depends on where accesses and branches went comes apart.
    pub fn count(&self, times: u64, t: &mut Totals) {
        let mut add = |s: Signal, n: u32| t[s] = t[s].wrapping_add(times * u64::from(n));
        add(Signal::UopsRetired, self.uops);
        add(Signal::UopsHeavy, self.uops.saturating_sub(1));
        add(Signal::UopsMs, self.microcode);
        add(Signal::MsSwitches, u32::from(self.microcode > 0));
        add(Signal::UopsExecuted, self.unfused);
        for (n, signal) in (1..).zip(EXECUTES) {
            add(signal, u32::from(self.unfused >= n));
        }
        add(Signal::MacroFused, u32::from(self.fused));
        add(Signal::Loads, u32::from(self.loads > 0));
        add(Signal::Stores, u32::from(self.stores > 0));
        add(Signal::LoadsOrStores, u32::from(self.loads + self.stores > 0));
        add(Signal::LockLoads, u32::from(self.memory.locked));
        add(Signal::MemoryUops, u32::from(self.loads + self.stores));
        match self.kind {
            Kind::Other => {}
            Kind::Floating(signal, n) => add(signal, u32::from(n)),
            Kind::Integer(signal) => add(signal, 1),
            Kind::X87 => add(Signal::UopsX87, self.unfused),
        }
        if let Some(single) = self.single {
            add(single, 1);
        }
        match self.branch {
            Some(BranchKind::Call) => add(Signal::NearCalls, 1),
            Some(BranchKind::IndirectCall) => {
                add(Signal::NearCalls, 1);
                add(Signal::Indirect, 1);
            }
            Some(BranchKind::IndirectJump) => add(Signal::Indirect, 1),
            Some(BranchKind::Return) => add(Signal::NearReturns, 1),
            Some(BranchKind::Other) => add(Signal::FarBranches, 1),
            _ => {}
        }
    }

    /// Does it take an assist for denormals? Additions, comparisons and what else does not multiply, divide or change the
    /// format have not since Sandy Bridge, but on the x87. Sources: Intel's tuning advice on "Floating Point Assists"; P.
    /// Cordes, Stack Overflow 60969892. Differs: a tiny result that is exact takes none, and none adds micro-ops.
    pub fn assists(&self) -> bool {
        let name = format!("{:?}", self.mnemonic).to_lowercase();
        let name = name.strip_prefix('v').unwrap_or(&name);
        name.starts_with('f')
            || ["mul", "div", "sqrt", "dp", "cvt", "scalef"].iter().any(|those| name.starts_with(those))
    }

    /// Must the ledger look at it on its own?
    pub fn is_special(&self) -> bool {
        self.uops > super::ledger::WIDTH || self.stall.is_some() || self.microcode > 0
    }
}

fn branch(i: &Instruction) -> Option<BranchKind> {
    let near = match i.flow_control() {
        FlowControl::Next | FlowControl::Exception | FlowControl::XbeginXabortXend => return None,
        FlowControl::ConditionalBranch => BranchKind::Conditional,
        FlowControl::UnconditionalBranch if i.is_jmp_short_or_near() => BranchKind::Jump,
        FlowControl::IndirectBranch if i.is_jmp_near_indirect() => BranchKind::IndirectJump,
        FlowControl::Call if i.is_call_near() => BranchKind::Call,
        FlowControl::IndirectCall if i.is_call_near_indirect() => BranchKind::IndirectCall,
        FlowControl::Return if i.mnemonic() == Mnemonic::Ret => BranchKind::Return,
        _ => BranchKind::Other,
    };
    Some(near)
}

fn fusible(i: &Instruction) -> Fusible {
    let class = match i.mnemonic() {
        Mnemonic::Test | Mnemonic::And => Fusible::All,
        Mnemonic::Cmp | Mnemonic::Add | Mnemonic::Sub => Fusible::Compares,
        Mnemonic::Inc | Mnemonic::Dec => Fusible::Counts,
        _ => return Fusible::Never,
    };
    let memory = i.op_kind(0) == OpKind::Memory;
    let writes = !matches!(i.mnemonic(), Mnemonic::Test | Mnemonic::Cmp);
    let immediate = i.op_count() == 2 && !matches!(i.op1_kind(), OpKind::Memory | OpKind::Register);
    if memory && (writes || immediate) { Fusible::Never } else { class }
}

fn fuses_below(i: &Instruction) -> Fusible {
    if !(i.is_jcc_short_or_near()) {
        return Fusible::Never;
    }
    match i.condition_code() {
        ConditionCode::o | ConditionCode::no | ConditionCode::s | ConditionCode::ns => Fusible::Compares,
        ConditionCode::p | ConditionCode::np => Fusible::Compares,
        ConditionCode::b | ConditionCode::ae | ConditionCode::be | ConditionCode::a => Fusible::Counts,
        _ => Fusible::Beyond,
    }
}

fn stack(i: &Instruction) -> Option<bool> {
    let register = |r: Register| r.full_register() == Register::RSP;
    let named = (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Register && register(i.op_register(n)))
        || register(i.memory_base());
    if named {
        return Some(false);
    }
    i.is_stack_instruction().then_some(true)
}

fn single(i: &Instruction) -> Option<Signal> {
    Some(match i.mnemonic() {
        Mnemonic::Nop | Mnemonic::Endbr32 | Mnemonic::Endbr64 => Signal::Nops,
        Mnemonic::Lfence => Signal::Lfence,
        Mnemonic::Pause => Signal::Pause,
        m if prefetches(m) => Signal::SoftwarePrefetches,
        _ => return None,
    })
}

fn prefetches(m: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(m, M::Prefetcht0 | M::Prefetcht1 | M::Prefetcht2 | M::Prefetchnta | M::Prefetchw | M::Prefetchwt1)
}

/// Names memory without loading or storing.
fn no_access(m: Mnemonic) -> bool {
    use Mnemonic as M;
    prefetches(m) || matches!(m, M::Clflush | M::Clflushopt | M::Clwb | M::Cldemote | M::Invlpg | M::Nop | M::Lea)
}

fn streams(m: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(m, M::Movnti | M::Movntdq | M::Movntps | M::Movntpd | M::Movntq | M::Maskmovdqu | M::Maskmovq)
        || matches!(m, M::Vmovntdq | M::Vmovntps | M::Vmovntpd | M::Vmaskmovdqu | M::Movdiri | M::Movdir64b)
}
