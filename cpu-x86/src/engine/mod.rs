//! How instructions run fast: blocks of pre-decoded ops, threaded dispatch, and one countdown for every deadline.
//!
//! `translate` makes blocks of ops out of bytes; `body` holds the fast forms and `select` their table; `op` stores
//! blocks; `tlb` is the software TLB. This file joins them: handlers, and the cold paths behind them. `run` drives it.
#![expect(unsafe_code, reason = "threaded dispatch of the interpreter")]

mod body;
mod branch;
mod fetch;
mod float;
mod general;
mod hot;
mod lanes;
mod native;
mod op;
mod pairs;
mod run;
mod select;
mod space;
pub(crate) mod tlb;
mod translate;
mod vector;
mod watch;
mod wide;

pub use run::{Exit, Missing};
pub(crate) use space::{Paging, Spaces};

use crate::exec::Exec;
use crate::fault::Stop;
use crate::monitor::Packed;
use crate::state::{Cpu, Seg, cell};
use body::Body;
use emu_core::Ram;
pub(crate) use hot::Hot;
use hot::{JUMPS, Jump, LOG, Leave, Log, Quiet, RETURNS, Return};
use iced_x86::Instruction;
use op::{Blocks, Handler, Op, UNLINKED};
use space::Refill;
use translate::Calls;
use watch::{Unwatched, Watch};

/// The engine's state apart from [`Hot`].
pub(crate) struct Engine {
    pub blocks: Blocks,
    jumps: Box<[Jump; JUMPS]>,
    /// Recently executed pages: (linear page mixed with the generation, host page).
    fetches: Box<[(u64, u32); FETCHES]>,
    /// The countdown when it was last armed: the difference is what was retired since.
    armed: i64,
    /// The last op that missed the TLB, the countdown then, and the entry: see `missed_again`.
    missed: (usize, i64, usize),
    /// CPL of what was retired since the last settling.
    ring: u8,
    /// Why an instruction did not complete.
    stop: Option<Stop>,
    /// Instructions retired when the last event was delivered.
    pub retired_at_event: u64,
    /// A conditional branch was taken to the instruction behind it, since this was last cleared.
    pub taken_to_next: bool,
    /// The instruction that runs is not in a block.
    pub alone: bool,
    /// A counter of the other ring is near its overflow: a change of ring changes the deadline.
    counting: bool,
    /// Something happened that the run loop must look at before the next block.
    pub look: bool,
    /// What other processors must be told: memory that held code was written; pages that now hold code.
    pub notes: Notes,
}

/// What one processor did that concerns the decoded code and TLBs of the others. Host pages (offset / 4096).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    wrote: Vec<(usize, usize, usize)>,
    code: Vec<usize>,
}

impl Notes {
    /// Is there nothing to tell?
    pub fn is_empty(&self) -> bool {
        self.wrote.is_empty() && self.code.is_empty()
    }
}

const FETCHES: usize = 256;

impl Engine {
    pub fn new(ram: &Ram, number: u32) -> Engine {
        let nowhere = Jump { key: u64::MAX, block: &raw const UNLINKED };
        Engine {
            blocks: Blocks::new(ram, 1 << (number % 32)),
            jumps: Box::new([nowhere; JUMPS]),
            fetches: Box::new([(u64::MAX, 0); FETCHES]),
            armed: 0,
            missed: (0, 0, 0),
            ring: 0,
            stop: None,
            retired_at_event: u64::MAX,
            taken_to_next: false,
            alone: false,
            counting: false,
            look: false,
            notes: Notes::default(),
        }
    }
}

impl Hot {
    pub fn new() -> Hot {
        Hot {
            countdown: 0,
            tlb: std::ptr::null(),
            generation: 0,
            jumps: std::ptr::null(),
            return_top: 0,
            miss_write: false,
            miss_at: 0,
            leave: Leave::None,
            book: |_, _| std::ptr::null(),
            from: [std::ptr::null(); 2],
            left: std::ptr::null(),
            to: 0,
            patch: std::ptr::null(),
            watched: false,
            told: 2,
            log: Log { len: 0, steps: [Packed::default(); LOG] },
            recent: [u64::MAX; 64],
            head: std::ptr::null(),
            quiet: [Quiet::NONE; 64],
            pages: [u64::MAX; 64],
            returns: [Return { key: u64::MAX, link: std::ptr::null() }; RETURNS],
        }
    }
}

/// Declares a function with the calling convention of handlers.
macro_rules! handler {
    ($(#[$m:meta])* fn $name:ident $(<$($p:ident: $bound:ident),*>)? ($cpu:ident, $op:ident) $code:block) => {
        #[cfg(target_arch = "x86_64")]
        $(#[$m])*
        pub(crate) unsafe extern "sysv64" fn $name$(<$($p: $bound),*>)?($cpu: *mut Cpu, $op: *const Op) -> *const Op $code
        #[cfg(not(target_arch = "x86_64"))]
        $(#[$m])*
        pub(crate) unsafe extern "C" fn $name$(<$($p: $bound),*>)?($cpu: *mut Cpu, $op: *const Op) -> *const Op $code
    };
}

/// Goes on with op `$next`: a tail call where the optimiser makes one, else back to the loop in `drive`.
macro_rules! go {
    ($cpu:ident, $next:expr) => {{
        let next = $next;
        #[cfg(not(any(engine_loop, debug_assertions)))]
        // SAFETY: the first slot of an op holds a handler.
        return unsafe { std::mem::transmute::<u64, Handler>((*next).h)($cpu, next) };
        #[cfg(any(engine_loop, debug_assertions))]
        return next;
    }};
}

handler! {
    /// Runs a body, then what follows.
    fn threaded<B: Body, Eye: Watch>(cpu, op) {
        if Eye::ON {
            // SAFETY: as below.
            unsafe { (*cpu).hot.left = op };
        }
        // SAFETY: the builder made the op for this body; `cpu` is the exclusive reference `drive` was given.
        let next = unsafe { B::run::<Eye>(&mut *cpu, op) };
        if next.is_null() {
            // SAFETY: as above.
            return unsafe { missed(cpu, op) };
        }
        go!(cpu, next)
    }
}

handler! {
    /// Runs two bodies, then what follows.
    fn twice<A: Body, B: Body>(cpu, op) {
        // SAFETY: as in `threaded`; `A` is no branch, so what it returns is the op that the builder put behind it.
        let second = unsafe { A::run::<Unwatched>(&mut *cpu, op) };
        if second.is_null() {
            // SAFETY: as above.
            return unsafe { missed(cpu, op) };
        }
        // SAFETY: as above.
        let next = unsafe { B::run::<Unwatched>(&mut *cpu, second) };
        if next.is_null() {
            // SAFETY: as above.
            return unsafe { missed(cpu, second) };
        }
        go!(cpu, next)
    }
}

handler! {
    /// A body took its cold path: it left, or a memory operand missed the TLB, which is filled to try again; where that
    /// cannot be, the page fault is raised or the instruction is done the general way.
    #[cold]
    #[inline(never)]
    fn missed(cpu, op) {
        // SAFETY: `cpu` is the exclusive reference `drive` was given.
        let c = unsafe { &mut *cpu };
        if c.hot.leave == Leave::Book {
            c.hot.leave = Leave::None;
            // SAFETY: the op's form left its own function and operands.
            let next = unsafe { (c.hot.book)(c, op) };
            if !next.is_null() {
                go!(cpu, next)
            }
            c.hot.leave = Leave::General;
        }
        let pair = c.hot.leave == Leave::Pair;
        if pair || c.hot.leave == Leave::None {
            c.hot.leave = Leave::None;
            let filled = if c.missed_again(op) { Refill::Special } else { c.refill(c.hot.miss_at, c.hot.miss_write) };
            match filled {
                Refill::Done => go!(cpu, op),
                // Of two instructions in one op, only the general way tells which one faults.
                Refill::Fault(stop) if !pair => {
                    c.hot.leave = Leave::Stopped;
                    c.engine.stop = Some(stop);
                }
                _ => c.hot.leave = Leave::General,
            }
        }
        c.hot.left = op;
        go!(cpu, exit_op())
    }
}

handler! {
    /// Tells the monitor which block begins.
    fn enter(cpu, op) {
        // SAFETY: as in `threaded`.
        unsafe { watch::enter(&mut *cpu, op) };
        go!(cpu, op.wrapping_add(1))
    }
}

handler! {
    /// Calls the instruction's meaning, then goes on.
    fn call_plain(cpu, op) {
        // SAFETY: as in `threaded`.
        let next = unsafe { call(&mut *cpu, op, false) };
        go!(cpu, next)
    }
}

handler! {
    /// Runs a vector instruction whose operands were decoded when the block was made, then goes on.
    fn call_vector(cpu, op) {
        // SAFETY: as in `threaded`.
        let next = unsafe { vector_at(&mut *cpu, op) };
        go!(cpu, next)
    }
}

handler! {
    /// Calls the instruction's meaning, then leaves.
    fn call_end(cpu, op) {
        // SAFETY: as in `threaded`.
        let next = unsafe { call(&mut *cpu, op, true) };
        go!(cpu, next)
    }
}

handler! {
    /// Ends a run of handlers.
    fn exit(_cpu, op) {
        #[cfg(any(engine_loop, debug_assertions))]
        {
            let _ = op;
            return std::ptr::null();
        }
        #[cfg(not(any(engine_loop, debug_assertions)))]
        op
    }
}

/// The op whose handler returns. One word with the handler's address, in a static that outlives everything.
pub(crate) fn exit_op() -> *const Op {
    struct Exit([u64; 2]);
    static EXIT: std::sync::OnceLock<Exit> = std::sync::OnceLock::new();
    EXIT.get_or_init(|| Exit([exit as *const () as u64, 0])).0.as_ptr().cast()
}

/// Handlers for translation.
fn calls() -> Calls {
    Calls {
        enter: enter as *const () as u64,
        plain: call_plain as *const () as u64,
        end: call_end as *const () as u64,
        vector: call_vector as *const () as u64,
    }
}

/// Runs handlers from `op` until one leaves.
///
/// # Safety
/// `op` is the first op of a live block, and `hot` was prepared by `select`.
unsafe fn drive(cpu: &mut Cpu, op: *const Op) {
    let cpu = std::ptr::from_mut(cpu);
    // SAFETY: the first slot of an op holds a handler.
    unsafe {
        #[cfg(not(any(engine_loop, debug_assertions)))]
        std::mem::transmute::<u64, Handler>((*op).h)(cpu, op);
        #[cfg(any(engine_loop, debug_assertions))]
        {
            let mut op = op;
            while !op.is_null() {
                op = std::mem::transmute::<u64, Handler>((*op).h)(cpu, op);
            }
        }
    }
}

/// Slots of an op that calls a meaning: itself, the function, and the instruction's five words.
const CALL_SLOTS: usize = 5;

/// The instruction as words, for storage in slots.
fn words_of(i: &Instruction) -> [u64; 5] {
    const { assert!(size_of::<Instruction>() == 40 && align_of::<Instruction>() <= 8) };
    // SAFETY: same size; every byte of `Instruction` is initialised (it has no padding: checked by its size in fields).
    unsafe { std::mem::transmute_copy(i) }
}

/// Calls the meaning stored behind `op`.
///
/// # Safety
/// `op` was made by `Translator::call`.
#[inline(never)]
unsafe fn call(cpu: &mut Cpu, op: *const Op, ends: bool) -> *const Op {
    // SAFETY: the function and the instruction were stored there.
    let (head, run, i) = unsafe {
        let run = std::mem::transmute::<usize, Exec>((*op.add(1)).h as usize);
        (&*op, run, &*op.add(2).cast::<Instruction>())
    };
    let next = cpu.regs[cell::PAGE].wrapping_add(head.imm as i64 as u64);
    cpu.set_position(next, u64::from(head.d));
    cpu.hot.left = op;
    let result = run(cpu, i);
    cpu.hot.leave = match result {
        Err(stop) => {
            cpu.engine.stop = Some(stop);
            Leave::Stopped
        }
        Ok(()) if ends => Leave::Ended,
        Ok(()) if cpu.engine.look => Leave::Done,
        Ok(()) => return op.wrapping_add(CALL_SLOTS),
    };
    exit_op()
}

/// Runs the vector instruction that `op` names.
///
/// # Safety
/// `op` was made by the builder, and its block is alive: `imm` of the next slot is the number of its vector.
#[inline(never)]
unsafe fn vector_at(cpu: &mut Cpu, op: *const Op) -> *const Op {
    // SAFETY: vectors live as long as the blocks that name them, and none is made while handlers run.
    let (head, v) = unsafe { (&*op, &*std::ptr::from_ref(&cpu.engine.blocks.vectors[(*op.add(1)).imm as usize])) };
    cpu.set_position(cpu.regs[cell::PAGE].wrapping_add(head.imm as i64 as u64), u64::from(head.d));
    cpu.hot.left = op;
    cpu.hot.leave = match v.run(cpu) {
        Ok(()) if !cpu.engine.look => return op.wrapping_add(2),
        Ok(()) => Leave::Done,
        Err(stop) => {
            cpu.engine.stop = Some(stop);
            Leave::Stopped
        }
    };
    exit_op()
}

impl Cpu {
    /// Did the same execution of `op` miss the same entry of the TLB just before? Its two operands (PUSH [m], CALL [m])
    /// would drive each other out for ever.
    fn missed_again(&mut self, op: *const Op) -> bool {
        let miss = (op as usize, self.hot.countdown, tlb::index(self.hot.miss_at));
        std::mem::replace(&mut self.engine.missed, miss) == miss
    }

    /// Sets `rip` and `next_rip` from the linear address of the next instruction and the length of this one.
    #[inline]
    fn set_position(&mut self, next: u64, len: u64) {
        let (base, mask) = self.code_frame();
        self.next_rip = next.wrapping_sub(base) & mask;
        self.rip = next.wrapping_sub(len).wrapping_sub(base) & mask;
    }

    /// Base of CS, and the mask of instruction pointers.
    #[inline]
    fn code_frame(&self) -> (u64, u64) {
        if self.is_64bit() { (0, u64::MAX) } else { (self.seg[Seg::Cs as usize].base, 0xffff_ffff) }
    }

    /// Linear address of offset `at` in CS.
    #[inline]
    pub(crate) fn code_address(&self, at: u64) -> u64 {
        if self.is_64bit() { at } else { self.seg[Seg::Cs as usize].base.wrapping_add(at) & 0xffff_ffff }
    }
}
