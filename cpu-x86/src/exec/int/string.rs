//! String instructions: MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS, alone and repeated.
//!
//! A repeated one goes by runs of elements within a page where it can ([`run`]), else element by element; a fault finds
//! the registers as after the last whole element. Source: SDM vol. 1, 7.3.9; vol. 2B, REP.

use super::run::{self, Compared};
use crate::alu::{self, Width, flag};
use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::operand::seg_of;
use crate::state::{Cpu, Seg};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// A repeated instruction stops here and is resumed, so that no guest can keep the processor from its run's end.
const MOST_ELEMENTS: u64 = 1 << 20;

/// Which instruction, whatever the width.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Movs,
    Cmps,
    Stos,
    Lods,
    Scas,
    Ins,
    Outs,
}

/// A decoded string instruction.
struct Operation {
    op: Op,
    w: Width,
    /// Mask of the address size: of rSI, rDI and rCX.
    mask: u64,
    /// Segment of the source.
    source: Seg,
    /// Added to the pointers for an element: the width, or minus it when DF is 1.
    step: u64,
    /// CMPS and SCAS go on while ZF is this.
    while_zf: bool,
}

/// A side of the instruction: its pointer, segment and access.
type Side = (Register, Seg, Access);
const DESTINATION: Side = (Register::RDI, Seg::Es, Access::Write);

impl Operation {
    fn of(cpu: &Cpu, i: &Instruction) -> Operation {
        use Mnemonic::*;
        let w = Width::of_bytes(i.memory_size().size()).unwrap_or(Width::B);
        let op = match i.mnemonic() {
            Movsb | Movsw | Movsd | Movsq => Op::Movs,
            Cmpsb | Cmpsw | Cmpsd | Cmpsq => Op::Cmps,
            Stosb | Stosw | Stosd | Stosq => Op::Stos,
            Lodsb | Lodsw | Lodsd | Lodsq => Op::Lods,
            Scasb | Scasw | Scasd | Scasq => Op::Scas,
            Insb | Insw | Insd => Op::Ins,
            _ => Op::Outs,
        };
        let memory = if matches!(i.op0_kind(), OpKind::Register) { i.op1_kind() } else { i.op0_kind() };
        let mask = match memory {
            OpKind::MemorySegSI | OpKind::MemorySegDI | OpKind::MemoryESDI => 0xffff,
            OpKind::MemorySegESI | OpKind::MemorySegEDI | OpKind::MemoryESEDI => 0xffff_ffff,
            _ => u64::MAX,
        };
        let bytes = u64::from(w.bytes());
        let step = if cpu.system_flags & flag::DF != 0 { bytes.wrapping_neg() } else { bytes };
        Operation { op, w, mask, source: seg_of(i.memory_segment()), step, while_zf: !i.has_repne_prefix() }
    }

    fn source(&self) -> Side {
        (Register::RSI, self.source, Access::Read)
    }
    /// The side that CMPS and SCAS read through rDI.
    fn second(&self) -> Side {
        (Register::RDI, Seg::Es, Access::Read)
    }
    fn backward(&self) -> bool {
        self.step >> 63 != 0
    }

    /// Linear address of the next element of `side`.
    fn at(&self, cpu: &Cpu, (r, seg, access): Side) -> Result<u64, Stop> {
        cpu.linear(seg, cpu.regs[r.number()] & self.mask, self.w.bytes(), access)
    }

    /// Moves the pointer of `side` past `n` elements.
    fn advance(&self, cpu: &mut Cpu, (r, ..): Side, n: u64) {
        let p = &mut cpu.regs[r.number()];
        *p = self.cut(*p, p.wrapping_add(self.step.wrapping_mul(n)));
    }

    /// `new` in place of `old` by the address size: 16 bits keep what is above, 32 clear it.
    fn cut(&self, old: u64, new: u64) -> u64 {
        if self.mask == 0xffff { old & !self.mask | new & self.mask } else { new & self.mask }
    }
}

/// Any string instruction.
pub fn string(cpu: &mut Cpu, i: &Instruction) -> Done {
    let s = Operation::of(cpu, i);
    if i.has_rep_prefix() || i.has_repne_prefix() { s.repeat(cpu) } else { s.one(cpu).map(|_| ()) }
}

impl Operation {
    /// Repeats until rCX is 0 or ZF says so; with TF, at a data breakpoint, or after [`MOST_ELEMENTS`], stops earlier to
    /// be resumed.
    fn repeat(&self, cpu: &mut Cpu) -> Done {
        let mut left = cpu.regs[1] & self.mask;
        if left == 0 {
            self.nothing(cpu);
            return Ok(());
        }
        let single = cpu.system_flags & flag::TF != 0;
        let mut budget = MOST_ELEMENTS;
        loop {
            let (n, ended) = match if single { None } else { self.some(cpu, left.min(budget)) } {
                Some(done) => done,
                None => (1, self.one(cpu)?),
            };
            left = left.wrapping_sub(n);
            budget = budget.saturating_sub(n);
            cpu.regs[1] = self.cut(cpu.regs[1], left);
            cpu.repeated(n);
            if left == 0 || ended {
                return Ok(());
            }
            if single || budget == 0 || cpu.pending_debug != 0 {
                return Err(Stop::Again);
            }
        }
    }

    /// ECX was 0: Intel's processors clear the upper half of RCX, and of the pointers of MOVS and STOS. Source: Linux,
    /// arch/x86/kvm/emulate.c, string_registers_quirk.
    fn nothing(&self, cpu: &mut Cpu) {
        if !cpu.is_64bit() || self.mask != 0xffff_ffff {
            return;
        }
        cpu.regs[1] = 0;
        if matches!(self.op, Op::Movs | Op::Stos) {
            cpu.regs[7] &= self.mask;
        }
        if self.op == Op::Movs {
            cpu.regs[6] &= self.mask;
        }
    }

    /// One element; does ZF end the repetition?
    fn one(&self, cpu: &mut Cpu) -> Result<bool, Stop> {
        let bytes = self.w.bytes();
        match self.op {
            Op::Movs => {
                let (from, to) = (self.at(cpu, self.source())?, self.at(cpu, DESTINATION)?);
                let v = cpu.load(from, bytes)?;
                cpu.store(to, bytes, v)?;
                self.advance(cpu, self.source(), 1);
                self.advance(cpu, DESTINATION, 1);
            }
            Op::Stos => {
                let to = self.at(cpu, DESTINATION)?;
                cpu.store(to, bytes, self.w.zx(cpu.regs[0]))?;
                self.advance(cpu, DESTINATION, 1);
            }
            Op::Lods => {
                let from = self.at(cpu, self.source())?;
                let v = cpu.load(from, bytes)?;
                cpu.set_gpr(self.accumulator(), v);
                self.advance(cpu, self.source(), 1);
            }
            Op::Cmps => {
                let (a, b) = (self.at(cpu, self.source())?, self.at(cpu, self.second())?);
                let (a, b) = (cpu.load(a, bytes)?, cpu.load(b, bytes)?);
                return Ok(self.compared(cpu, &Compared { elements: 1, a, b }));
            }
            Op::Scas => {
                let at = self.at(cpu, self.second())?;
                let (a, b) = (self.w.zx(cpu.regs[0]), cpu.load(at, bytes)?);
                return Ok(self.compared(cpu, &Compared { elements: 1, a, b }));
            }
            Op::Ins | Op::Outs => self.port(cpu)?,
        }
        Ok(false)
    }

    fn accumulator(&self) -> Register {
        [Register::AL, Register::AX, Register::EAX, Register::RAX][self.w as usize]
    }

    /// Moves the pointers of CMPS or SCAS, sets the flags of the last element; does ZF end the repetition?
    fn compared(&self, cpu: &mut Cpu, c: &Compared) -> bool {
        if self.op == Op::Cmps {
            self.advance(cpu, self.source(), c.elements as u64);
        }
        self.advance(cpu, self.second(), c.elements as u64);
        cpu.set_status_flags(alu::sub(self.w, c.a, c.b, 0).1);
        (c.a == c.b) != self.while_zf
    }

    /// One element of INS or OUTS. INS finds its destination writable before it reads the port.
    fn port(&self, cpu: &mut Cpu) -> Done {
        let (port, bytes) = (cpu.regs[2] as u16, self.w.bytes());
        cpu.check_io(port, bytes)?;
        if self.op == Op::Ins {
            let to = self.at(cpu, DESTINATION)?;
            cpu.probe(to, bytes, Access::Write)?;
            let v = cpu.port_in(port, bytes);
            cpu.store(to, bytes, v.into())?;
            self.advance(cpu, DESTINATION, 1);
        } else {
            let from = self.at(cpu, self.source())?;
            let v = cpu.load(from, bytes)?;
            cpu.port_out(port, bytes, v as u32);
            self.advance(cpu, self.source(), 1);
        }
        Ok(())
    }
}

impl Operation {
    /// Up to `n` elements at once: how many were done, and whether ZF ends the repetition; `None` when none was.
    fn some(&self, cpu: &mut Cpu, n: u64) -> Option<(u64, bool)> {
        let each = self.w.bytes() as usize;
        match self.op {
            Op::Movs => {
                let (from, n) = self.room(cpu, self.source(), n)?;
                let (to, n) = self.room(cpu, DESTINATION, n)?;
                let n = self.apart(from, to, n)?;
                run::copy(cpu, self.lowest(from, n), self.lowest(to, n), n as usize * each)?;
                self.advance(cpu, self.source(), n);
                self.advance(cpu, DESTINATION, n);
                Some((n, false))
            }
            Op::Stos => {
                let (to, n) = self.room(cpu, DESTINATION, n)?;
                run::fill(cpu, self.lowest(to, n), n as usize * each, self.w.zx(cpu.regs[0]), each)?;
                self.advance(cpu, DESTINATION, n);
                Some((n, false))
            }
            Op::Cmps if !self.backward() => {
                let (a, n) = self.room(cpu, self.source(), n)?;
                let (b, n) = self.room(cpu, self.second(), n)?;
                let c = run::compare(cpu, a, b, n as usize * each, each, self.while_zf)?;
                Some((c.elements as u64, self.compared(cpu, &c)))
            }
            Op::Scas if !self.backward() => {
                let (at, n) = self.room(cpu, self.second(), n)?;
                let c = run::scan(cpu, at, n as usize * each, self.w.zx(cpu.regs[0]), each, self.while_zf)?;
                Some((c.elements as u64, self.compared(cpu, &c)))
            }
            _ => None,
        }
    }

    /// Linear address of the next element of `side`, and how many of `n` elements from it lie in its page, in its
    /// segment, and before its pointer wraps; `None` when that is none, or alignment is checked.
    fn room(&self, cpu: &Cpu, side: Side, n: u64) -> Option<(u64, u64)> {
        let (r, seg, access) = side;
        let bytes = u64::from(self.w.bytes());
        let (offset, at) = (cpu.regs[r.number()] & self.mask, self.at(cpu, side).ok()?);
        if at & (bytes - 1) != 0 && cpu.cpl == 3 && cpu.system_flags & flag::AC != 0 {
            return None;
        }
        let in_page = at & 4095;
        let n = if in_page + bytes > 4096 {
            0
        } else if self.backward() {
            n.min(in_page / bytes + 1).min((offset / bytes).saturating_add(1))
        } else {
            n.min((4096 - in_page) / bytes).min(((self.mask - offset) / bytes).saturating_add(1))
        };
        let start = self.lowest(offset, n.max(1));
        let whole = cpu.linear(seg, start, (n * bytes) as u32, access).ok()?;
        (n > 0 && whole == self.lowest(at, n)).then_some((at, n))
    }

    /// Address of the lowest of `n` elements, of which `at` is the first to be done.
    fn lowest(&self, at: u64, n: u64) -> u64 {
        if self.backward() { at.wrapping_add(self.step.wrapping_mul(n - 1)) } else { at }
    }

    /// How many of `n` elements can be copied at once, byte by byte upwards: going up all, but none when source and
    /// destination overlap within an element; going down those whose source and destination lie apart.
    fn apart(&self, from: u64, to: u64, n: u64) -> Option<u64> {
        let (ahead, bytes) = (to.wrapping_sub(from), u64::from(self.w.bytes()));
        let n = if self.backward() && ahead != 0 { n.min(ahead.min(ahead.wrapping_neg()) / bytes) } else { n };
        (n > 0 && (ahead == 0 || ahead >= bytes)).then_some(n)
    }
}
