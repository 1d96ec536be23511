//! Translation: from instruction bytes to a block of ops.
//!
//! Decoding comes first, up to a control transfer, the page's end or a limit. A backward pass finds which flags are
//! live: an instruction that may fault needs all flags exact before it. Then each instruction becomes ops: a fast form
//! if there is one, else a call of its meaning in `exec`. CMP, TEST and arithmetic fuse with the Jcc behind them.

use super::fetch::{as_decoded, is_cut};
use super::op::{Block, Draft, Link, Op, UNLINKED, lane};
use super::watch::{Unwatched, Watch, Watched};
use super::{body::alu_op, select};
mod fast;
mod fuse;
mod look;
mod vector;
mod wide;

use look::*;
pub(crate) use look::{is_branch, is_conditional};

use crate::alu::Width;
use crate::exec::simd::Vector;
use crate::exec::{self, Meaning};
use crate::operand::{is_high_byte, seg_of};
use crate::state::{Seg, cell};
use iced_x86::{
    Code, ConditionCode, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register, RflagsBits,
};
use std::marker::PhantomData;

/// How the bytes of a block are decoded, in eight bits. `bits` 16, 32 or 64; `flat`: segments need no checks; `vectors`:
/// which vector instructions run; `watched`: a monitor is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode(pub u8);

impl Mode {
    /// The mode of these properties.
    pub fn new(bits: u32, flat: bool, vectors: Vectors, watched: bool) -> Mode {
        Mode((bits / 32) as u8 | u8::from(flat) << 2 | (vectors as u8) << 3 | u8::from(watched) << 5)
    }
    pub fn bits(self) -> u32 {
        [16, 32, 64][(self.0 & 3) as usize % 3]
    }
    pub fn flat(self) -> bool {
        self.0 & 4 != 0
    }
    pub fn long(self) -> bool {
        self.0 & 3 == 2
    }
    /// Is a monitor told what the block does?
    pub fn watched(self) -> bool {
        self.0 & 32 != 0
    }
    /// Do the vector instructions up to and including those of `least` run without #UD or #NM?
    pub fn runs(self, least: Vectors) -> bool {
        self.0 >> 3 & 3 >= least as u8
    }
}

/// Which vector instructions run without #UD or #NM, each with those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vectors {
    None,
    Sse,
    Avx,
    Avx512,
}

/// Most instructions of a block.
const MOST: usize = 64;
const STATUS: u32 = RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::CF | RflagsBits::PF;

/// The bytes from which a block is made.
pub(crate) struct Source<'a> {
    /// From the block's first byte to the end of its page; where the first instruction crosses, 15 bytes of the next
    /// page follow.
    pub bytes: &'a [u8],
    /// How many of `bytes` are in the first page.
    pub first_page: usize,
    /// Offset of the first byte in its page.
    pub start: u16,
    pub mode: Mode,
}

/// What translation came to.
pub(crate) enum Translated {
    /// A block (its pages are for the caller to fill in).
    Block(Draft),
    /// The first instruction goes on in the next page, whose bytes were not given.
    Crosses,
}

/// Translates the block that starts at the first byte of `source`. `call` is the handler that calls a meaning, `end` the
/// one that calls a meaning and ends the block.
pub(crate) fn translate(source: &Source<'_>, calls: Calls) -> Translated {
    if source.mode.watched() {
        translate_for::<Watched>(source, calls)
    } else {
        translate_for::<Unwatched>(source, calls)
    }
}

fn translate_for<Eye: Watch>(source: &Source<'_>, calls: Calls) -> Translated {
    let mut t = Translator::<Eye>::new(source.mode, calls);
    match t.decode(source) {
        Decoded::Crosses => return Translated::Crosses,
        Decoded::Ok => {}
    }
    t.find_live_flags();
    t.emit_all();
    Translated::Block(t.finish(source))
}

/// Handlers for instructions without a fast form.
#[derive(Clone, Copy, Default)]
pub(crate) struct Calls {
    pub enter: u64,
    pub plain: u64,
    pub end: u64,
    pub vector: u64,
}

enum Decoded {
    Ok,
    Crosses,
}

struct Translator<Eye> {
    mode: Mode,
    calls: Calls,
    code: Vec<Instruction>,
    /// The meaning of each instruction, looked up only where needed.
    live: Vec<bool>,
    terminated: bool,
    slots: Vec<Op>,
    owner: Vec<u8>,
    /// Slots that are ops, not what follows one.
    ops: Vec<u16>,
    now: u8,
    taken: i32,
    fall: i32,
    /// Vector instructions, and the slots that are to name them.
    vectors: Vec<(usize, Vector)>,
    eye: PhantomData<Eye>,
}

/// The flags that do not show after `i` what they were before. Of those that it leaves undefined, only the commonest
/// instructions are known to set them all.
fn overwritten(i: &Instruction) -> u32 {
    use Mnemonic::*;
    let all = matches!(i.mnemonic(), And | Or | Xor | Test | Andn | Shl | Sal | Shr | Sar | Mul | Imul);
    i.rflags_modified() & !if all { 0 } else { i.rflags_undefined() }
}

impl<Eye: Watch> Translator<Eye> {
    fn new(mode: Mode, calls: Calls) -> Translator<Eye> {
        Translator {
            mode,
            calls,
            code: Vec::new(),
            live: Vec::new(),
            terminated: false,
            slots: Vec::new(),
            owner: Vec::new(),
            ops: Vec::new(),
            now: 0,
            taken: 0,
            fall: 0,
            vectors: Vec::new(),
            eye: PhantomData,
        }
    }

    fn decode(&mut self, source: &Source<'_>) -> Decoded {
        let options = DecoderOptions::NONE;
        let mut d = Decoder::with_ip(source.mode.bits(), source.bytes, u64::from(source.start), options);
        while self.code.len() < MOST && d.position() < source.first_page {
            let from = d.position();
            let i = as_decoded(d.decode());
            if is_cut(&i, d.last_error(), source.mode.bits(), &source.bytes[from..]) {
                if self.code.is_empty() {
                    return Decoded::Crosses;
                }
                break;
            }
            if d.position() > source.first_page && !self.code.is_empty() {
                break;
            }
            let last = i.is_invalid() || transfers(&i);
            self.code.push(i);
            if last {
                self.terminated = true;
                break;
            }
            // An instruction that is not a transfer but must end its block.
            if self.must_end(&i) {
                self.terminated = true;
                break;
            }
        }
        Decoded::Ok
    }

    /// Ends its block though it is no transfer? Fast forms never do, so only others are looked up.
    fn must_end(&self, i: &Instruction) -> bool {
        !is_simple(i) && exec::lookup(i).is_none_or(|m| m.ends_block)
    }

    /// Backward, from a block end at which all are live (a deadline may fall there): is any flag that each instruction writes read before it is written again?
    fn find_live_flags(&mut self) {
        let n = self.code.len();
        self.live = vec![true; n];
        let mut live = STATUS;
        for k in (0..n).rev() {
            let i = &self.code[k];
            let written = i.rflags_modified() & STATUS;
            self.live[k] = written & live != 0;
            if !may_keep_flags(i) {
                live &= !overwritten(i);
            }
            live |= i.rflags_read() & STATUS;
            if may_fault(i) {
                live = STATUS;
            }
            if matches!(i.mnemonic(), Mnemonic::Inc | Mnemonic::Dec) && self.live[k] {
                live |= RflagsBits::CF;
            }
        }
    }

    fn put(&mut self, h: u64, a: u8, b: u8, c: u8, d: u8, imm: i32) {
        if h != 0 {
            self.ops.push(self.slots.len() as u16);
        }
        self.slots.push(Op { h, a, b, c, d, imm });
        self.owner.push(self.now);
    }
    fn raw(&mut self, low: u64, high: u64) {
        self.slots.push(Op::raw(low, high));
        self.owner.push(self.now);
    }
    fn memory(&mut self, h: u64, a: u8, d: u8, m: Memory) {
        self.put(h, a, m.base, m.index, d, m.displacement);
    }

    fn emit_all(&mut self) {
        if Eye::ON {
            // The monitor's number of the block is known when it is stored.
            let [low, high] = (self.code[0].ip() as u16).to_le_bytes();
            self.put(self.calls.enter, low, high, 0, 0, 0);
        }
        let n = self.code.len();
        let (mut k, mut before) = (0, ANY);
        while k < n {
            let i = self.code[k];
            self.now = k as u8;
            let last = k == n - 1;
            if k + 2 == n && self.terminated && is_conditional(&self.code[k + 1]) && self.fuse(&i, k).is_some() {
                return;
            }
            if !last && self.pair(&i, k) {
                k += 2;
                continue;
            }
            if last && self.terminated {
                return self.terminate(&i, before);
            }
            let live = self.live[k];
            let fast = if is_simple(&i) {
                self.mode.flat() && self.fast(&i, live, before).is_some()
            } else {
                self.vector(&i).is_some()
            };
            if !fast {
                self.call(&i, false);
            }
            // A meaning may leave the same flags in another form.
            if !fast {
                before = ANY;
            } else if live && i.rflags_modified() & STATUS != 0 {
                before = if may_keep_flags(&i) { ANY } else { flag_writer(&i) };
            }
            k += 1;
        }
        // The block just goes on, perhaps in the next page.
        self.now = (n - 1) as u8;
        let next = self.code[n - 1].next_ip() as i64;
        self.taken = next as i32;
        let cross = !(0..4096).contains(&next) || !self.mode.flat() && next > 4095;
        self.put(
            select::goto::<Eye>(usize::from(cross || self.code[0].next_ip() > 4096)).expect("in the table"),
            0,
            0,
            0,
            0,
            0,
        );
        self.link(next);
    }

    /// A link to code `to` bytes from the start of the page.
    fn link(&mut self, to: i64) {
        let link = Link { block: &raw const UNLINKED, generation: 0, pages: (to >> 12) as i32 };
        let high = u64::from(link.generation) | (u64::from(link.pages as u32)) << 32;
        self.raw(link.block as usize as u64, high);
    }

    /// Two pushes or two pops of registers become one op.
    fn pair(&mut self, i: &Instruction, k: usize) -> bool {
        let j = self.code[k + 1];
        let whole = |i: &Instruction| {
            i.op0_kind() == OpKind::Register && i.op0_register().is_gpr64() && i.op0_register() != Register::RSP
        };
        if !self.mode.long() || i.mnemonic() != j.mnemonic() || !whole(i) || !whole(&j) {
            return false;
        }
        let h = match i.mnemonic() {
            Mnemonic::Push => select::push2::<Eye>(),
            Mnemonic::Pop => select::pop2::<Eye>(),
            _ => None,
        };
        let Some(h) = h else { return false };
        self.put(h, number(i.op0_register()), number(j.op0_register()), 0, 0, 0);
        true
    }

    /// Calls the instruction's meaning in `exec`.
    fn call(&mut self, i: &Instruction, ends: bool) {
        if !ends && let Some(vector) = Vector::of(i) {
            self.put(self.calls.vector, 0, 0, 0, i.len() as u8, i.next_ip() as i32);
            self.vectors.push((self.slots.len(), vector));
            self.put(0, 0, 0, 0, 0, 0);
            return;
        }
        let meaning = exec::lookup(i).unwrap_or(Meaning { run: without_meaning, ends_block: true });
        let h = if ends || meaning.ends_block { self.calls.end } else { self.calls.plain };
        self.put(h, 0, 0, 0, i.len() as u8, i.next_ip() as i32);
        self.raw(meaning.run as usize as u64, 0);
        let words = instruction_words(i);
        for pair in words.chunks(2) {
            self.raw(pair[0], pair.get(1).copied().unwrap_or(0));
        }
    }

    /// The last instruction of a block that it ends.
    fn terminate(&mut self, i: &Instruction, before: usize) {
        if self.mode.flat() && self.terminate_fast(i, before).is_some() {
            return;
        }
        self.call(i, true);
    }

    fn cross(&self, targets: &[i64]) -> usize {
        usize::from(self.code[0].next_ip() > 4096 || targets.iter().any(|t| !(0..4096).contains(t)))
    }

    fn terminate_fast(&mut self, i: &Instruction, before: usize) -> Option<()> {
        use FlowControl::*;
        if i.is_invalid() || !i.is_jcc_short_or_near() && is_conditional(i) || Eye::ON && leads_to_next(i) {
            return None;
        }
        let fall = i.next_ip() as i64;
        self.fall = fall as i32;
        match i.flow_control() {
            ConditionalBranch if is_direct(i, self.mode) => {
                let to = i.near_branch_target() as i64;
                (self.taken, _) = (i32::try_from(to).ok()?, ());
                let h = select::jcc::<Eye>(condition_number(i.condition_code())?, before, self.cross(&[to, fall]))?;
                self.put(h, 0, 0, 0, 0, 0);
                self.link(to);
                self.link(fall);
            }
            UnconditionalBranch if is_direct(i, self.mode) => {
                let to = i.near_branch_target() as i64;
                self.taken = i32::try_from(to).ok()?;
                self.put(select::goto::<Eye>(self.cross(&[to]))?, 0, 0, 0, 0, 0);
                self.link(to);
            }
            Call if is_direct(i, self.mode) && self.mode.long() => {
                let to = i.near_branch_target() as i64;
                self.taken = i32::try_from(to).ok()?;
                self.put(select::call::<Eye>(self.cross(&[to]))?, 0, 0, 0, 0, fall as i32);
                self.link(to);
                self.link(fall);
            }
            Return if self.mode.long() && matches!(i.code(), Code::Retnq | Code::Retnq_imm16) => {
                let drop = if i.op_count() == 1 { i.immediate16() } else { 0 };
                self.put(select::ret::<Eye>()?, 0, 0, 0, 0, i32::from(drop));
            }
            IndirectBranch if i.code() == Code::Jmp_rm64 => match i.op0_kind() {
                OpKind::Register => self.put(select::jmp_r::<Eye>()?, number(i.op0_register()), 0, 0, 0, 0),
                _ => {
                    let m = self.address(i)?.general();
                    self.memory(select::jmp_m::<Eye>()?, 0, 0, m);
                }
            },
            IndirectCall if i.code() == Code::Call_rm64 => {
                match i.op0_kind() {
                    OpKind::Register => self.put(select::call_r::<Eye>()?, number(i.op0_register()), 0, 0, 0, 0),
                    _ => {
                        let m = self.address(i)?.general();
                        self.memory(select::call_m::<Eye>()?, 0, 0, m);
                    }
                }
                self.put(0, 0, 0, 0, 0, fall as i32);
                self.link(fall);
            }
            _ => return None,
        }
        Some(())
    }

    /// The memory operand of `i` as base, index and displacement; ops that prepare it may be emitted.
    fn address(&mut self, i: &Instruction) -> Option<Memory> {
        let mut m = Memory { base: cell::ZERO as u8, index: cell::ZERO as u8, scale: 0, displacement: 0, form: 0 };
        let long = self.mode.long();
        let mut narrow = false;
        if i.is_ip_rel_memory_operand() {
            if i.memory_base() == Register::EIP {
                return None;
            }
            m.base = cell::PAGE as u8;
            m.displacement = i32::try_from(i.ip_rel_memory_address() as i64).ok()?;
        } else {
            let (base, index) = (i.memory_base(), i.memory_index());
            if index != Register::None && !index.is_gpr() {
                return None;
            }
            for r in [base, index] {
                match r.size() {
                    2 => return None,
                    4 => narrow = true,
                    _ => {}
                }
            }
            if base != Register::None {
                m.base = number(base);
            }
            if index != Register::None {
                m.index = number(index);
                m.scale = i.memory_index_scale().trailing_zeros() as u8;
            }
            let wide = i.memory_displacement64() as i64;
            // Outside 64-bit mode addresses wrap at 32 bits, so the sign does not matter.
            m.displacement = if long && !narrow { i32::try_from(wide).ok()? } else { wide as u32 as i32 };
            if base == Register::None && index == Register::None {
                if long && i.memory_displ_size() == 4 || !long && i.memory_displ_size() == 2 {
                    return None;
                }
                if !long {
                    // Zero-extended displacement: T0 holds it.
                    narrow = true;
                }
            }
        }
        let segment = seg_of(i.memory_segment());
        let based = matches!(segment, Seg::Fs | Seg::Gs);
        // A code segment cannot be written, and a reading form is not worth the difference.
        if !long && (based || segment == Seg::Cs) {
            return None;
        }
        m.form = if m.index == cell::ZERO as u8 { 0 } else { 1 + m.scale as usize };
        if narrow || based && m.form != 0 && m.base != cell::ZERO as u8 {
            let w = if narrow { Width::D } else { Width::Q };
            self.put(select::lea::<Eye>(w as usize, m.form)?, cell::T0 as u8, m.base, m.index, 0, m.displacement);
            m = Memory { base: cell::T0 as u8, index: cell::ZERO as u8, scale: 0, displacement: 0, form: 0 };
        }
        if based {
            if m.form == 0 && m.base != cell::ZERO as u8 {
                (m.index, m.scale, m.form) = (m.base, 0, 1);
            }
            m.base = (cell::SEG_BASE + segment as usize) as u8;
        }
        Some(m)
    }
}

/// A memory operand, ready for an op.
#[derive(Clone, Copy)]
struct Memory {
    base: u8,
    index: u8,
    scale: u8,
    displacement: i32,
    /// Addressing form 0 to 4 of `body`.
    form: usize,
}

impl Memory {
    /// In addressing form 5: the scale goes with the index.
    fn general(self) -> Memory {
        Memory { index: self.index | self.scale << 6, ..self }
    }
    /// Form 0 where it will do, else 5.
    fn short(self) -> (usize, Memory) {
        if self.form == 0 { (0, self) } else { (5, self.general()) }
    }
}

/// The instruction as words of raw data.
fn instruction_words(i: &Instruction) -> [u64; 5] {
    super::words_of(i)
}

/// Bytes that are no instruction, or one that the processor model lacks, are #UD; else it is this program that lacks it.
pub(super) fn without_meaning(cpu: &mut crate::Cpu, i: &Instruction) -> crate::Done {
    use iced_x86::EncodingKind::*;
    if i.is_invalid() && i.len() == 15 && cpu.is_too_long() {
        return Err(crate::Stop::gp(0));
    }
    let absent = i.is_invalid() || matches!(i.code().encoding(), EVEX | XOP | D3NOW | MVEX);
    Err(if absent { crate::Stop::UD } else { crate::Stop::Unimplemented })
}

impl<Eye: Watch> Translator<Eye> {
    /// Ops that have a handler in common run through it.
    fn join_pairs(&mut self) {
        let mut k = 0;
        while k + 1 < self.ops.len() {
            let (a, b) = (self.ops[k] as usize, self.ops[k + 1] as usize);
            k += 1;
            if let Some(both) = super::pairs::pair(self.slots[a].h, self.slots[b].h) {
                self.slots[a].h = both;
                k += 1;
            }
        }
    }

    fn finish(mut self, source: &Source<'_>) -> Draft {
        self.join_pairs();
        let n = self.code.len();
        let mut starts: Vec<u16> = self.code.iter().map(|i| (i.ip() - u64::from(source.start)) as u16).collect();
        let end = self.code[n - 1].next_ip() - u64::from(source.start);
        starts.push(end as u16);
        let last = &self.code[n - 1];
        let branch = i64::from(!last.is_invalid() && is_branch(last));
        let conditional = i64::from(!last.is_invalid() && is_conditional(last));
        let cost = (n as i64) << lane::INSTRUCTIONS | branch << lane::BRANCHES | conditional;
        let head = Block {
            packed: cost,
            cost,
            page: 0,
            page2: u32::MAX,
            next: 0,
            next2: 0,
            taken: self.taken,
            fall: self.fall,
            start: source.start,
            bytes: end as u16,
            slots: 0,
            count: n as u8,
            mode: source.mode.0,
        };
        Draft { head, slots: self.slots, owner: self.owner, starts, vectors: self.vectors, code: self.code }
    }
}
