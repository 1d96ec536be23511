//! From a decoded instruction to its kernel and the places of its operands.
//!
//! The rule for operands: `dst` is the first. `a` and `b` are the two sources; where the encoding has one source, it
//! is `b`. A legacy encoding's `a` is its destination. `c` is the third source: the old destination of an FMA, the
//! mask of a variable blend, the implicit XMM0. Source: SDM vol. 2A, 2.3 and 3.1.1.4.

use super::run::Run;
use super::value::V;
use super::{aes, control, convert, dot, fma, fp, galois, integer, motion, sha, shuffle};
use crate::fault::Stop;
use crate::memory::Access;
use crate::state::Cpu;
use iced_x86::{EncodingKind, Instruction, MemorySize, Mnemonic, OpKind};
use softfp::Env;

/// What an instruction computes from its operands' values.
#[derive(Clone, Copy)]
pub enum Kernel {
    /// The value of `b`.
    Move,
    /// Of `a` and `b`.
    Two(fn(&V, &V) -> V),
    /// Of `a`, `b` and the immediate.
    Imm(fn(&V, &V, u8) -> V),
    /// Of `a`, `b` and `c`.
    Three(fn(&V, &V, &V) -> V),
    /// The status flags, of `a` and `b`.
    Flags(fn(&V, &V) -> u64),
    /// Of `a` and `b`, over so many elements, in a floating-point environment.
    Fp(fn(&V, &V, usize, &mut Env) -> V),
    /// Likewise, with the immediate.
    FpImm(fn(&V, &V, u8, usize, &mut Env) -> V),
    /// As `FpImm`, in several steps, each of which ends in [`settle`](super::run::settle).
    FpSteps(fn(&V, &V, u8, usize, &mut Env) -> V),
    /// As `Fp`, of `a`, `b` and `c`.
    Fp3(fn(&V, &V, &V, usize, &mut Env) -> V),
    /// The status flags, of the lowest elements of `a` and `b`, in a floating-point environment.
    FpFlags(fn(&V, &V, &mut Env) -> u64),
    /// No operands: something done to the processor.
    Whole(fn(&mut Cpu)),
}

/// Where an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: reads as zero.
    None,
    /// XMM register.
    Xmm(u8),
    /// YMM register.
    Ymm(u8),
    /// MM register.
    Mm(u8),
    /// General register: read whole; written whole, with a result that is zero-extended.
    Gpr(u8),
    /// The memory operand.
    Memory,
}

/// Which state must be enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// None: a general instruction.
    Nothing,
    /// MMX.
    Mmx,
    /// SSE.
    Sse,
    /// Both (conversions between MM and XMM registers).
    SseMmx,
    /// AVX.
    Avx,
}

/// A vector instruction, decoded: all that is needed to run it, but the address of its memory operand.
#[derive(Clone, Copy)]
pub struct Simd {
    /// What it computes.
    pub kernel: Kernel,
    /// Where the result goes.
    pub dst: Place,
    /// First source.
    pub a: Place,
    /// Second source.
    pub b: Place,
    /// Third source.
    pub c: Place,
    /// Which state must be enabled.
    pub needs: Needs,
    /// It makes the x87 state an MMX state.
    pub enters_mmx: bool,
    /// Bytes of the memory operand; 0 without one.
    pub memory_bytes: u8,
    /// The memory operand must be aligned to its own size.
    pub aligned: bool,
    /// Elements that a floating-point kernel goes over.
    pub count: u8,
    /// The immediate operand.
    pub imm: u8,
    /// What runs it.
    pub(super) shape: Run,
}

/// Which of its forms an instruction has, where a mnemonic alone does not choose the kernel.
#[derive(Clone, Copy)]
pub struct Form {
    /// An operand is an MM register: lanes of 8 bytes, not 16.
    pub mmx: bool,
    /// An operand is a YMM register.
    pub ymm: bool,
    /// There is a memory operand.
    pub memory: bool,
    /// The memory operand is the destination.
    pub store: bool,
    /// The last operand is an immediate.
    pub imm: bool,
    /// A general register or integer memory operand is 64 bits wide.
    pub wide: bool,
}

/// How many elements a floating-point kernel goes over.
#[derive(Clone, Copy)]
pub enum Per {
    /// This many.
    Fixed(u8),
    /// One for each so many bytes of the widest vector operand.
    Bytes(u8),
}

/// The kernel of `m` in form `f`, and its number of elements.
pub fn kernel(m: Mnemonic, f: Form) -> Option<(Kernel, Per)> {
    integer::kernel(m, f)
        .or_else(|| motion::kernel(m, f))
        .or_else(|| shuffle::kernel(m, f))
        .or_else(|| aes::kernel(m, f))
        .or_else(|| sha::kernel(m))
        .or_else(|| galois::kernel(m, f))
        .or_else(|| dot::kernel(m))
        .or_else(|| control::kernel(m))
        .map(|k| (k, Per::Fixed(0)))
        .or_else(|| fp::kernel(m))
        .or_else(|| convert::kernel(m, f))
        .or_else(|| fma::kernel(m))
}

/// The description of `i`; `None` when it is no vector instruction, or one with a function of its own.
pub fn describe(i: &Instruction) -> Option<Simd> {
    let vex = match i.encoding() {
        EncodingKind::Legacy => false,
        EncodingKind::VEX => true,
        _ => return None,
    };
    let mut places = [Place::None; 4];
    let mut count = i.op_count().min(4);
    let imm = count > 0 && matches!(i.op_kind(count - 1), OpKind::Immediate8);
    count -= u32::from(imm);
    for (n, place) in places.iter_mut().enumerate().take(count as usize) {
        *place = place_of(i, n as u32)?;
    }
    let memory = places.contains(&Place::Memory);
    let memory_bytes = if memory { i.memory_size().size() } else { 0 };
    let form = Form {
        mmx: places.iter().any(|p| matches!(p, Place::Mm(_))),
        ymm: places.iter().any(|p| matches!(p, Place::Ymm(_))),
        memory,
        store: places[0] == Place::Memory,
        imm,
        wide: wide(i, count),
    };
    let (kernel, per) = kernel(i.mnemonic(), form)?;
    let [dst, a, b, c] = arrange(places, count, vex, kernel);
    let bytes = places.iter().map(|p| p.bytes()).fold(memory_bytes as u8, u8::max);
    let mut simd = Simd {
        kernel,
        dst,
        a,
        b,
        c,
        needs: needs(i.mnemonic(), &places, vex),
        enters_mmx: form.mmx || i.mnemonic() == Mnemonic::Cvtpi2ps,
        memory_bytes: memory_bytes as u8,
        aligned: memory && aligned(i.mnemonic(), vex, memory_bytes),
        count: match per {
            Per::Fixed(n) => n,
            Per::Bytes(each) => bytes / each,
        },
        imm: if imm { i.immediate8() } else { 0 },
        shape: |_, _, _| Err(Stop::Unimplemented),
    };
    simd.shape = simd.choose();
    Some(simd)
}

/// Where operand `n` is; `None` if it is nowhere a described instruction has operands.
fn place_of(i: &Instruction, n: u32) -> Option<Place> {
    match i.op_kind(n) {
        OpKind::Memory if i.memory_index().is_vector_register() => None,
        OpKind::Memory => Some(Place::Memory),
        OpKind::Register => {
            let r = i.op_register(n);
            let number = r.number() as u8;
            match r {
                _ if r.is_xmm() => Some(Place::Xmm(number)),
                _ if r.is_ymm() => Some(Place::Ymm(number)),
                _ if r.is_mm() => Some(Place::Mm(number)),
                _ if r.is_gpr32() || r.is_gpr64() => Some(Place::Gpr(number)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Is a general register among the operands 64 bits wide, or memory in its place?
fn wide(i: &Instruction, count: u32) -> bool {
    (0..count).any(|n| match i.op_kind(n) {
        OpKind::Register => i.op_register(n).is_gpr64(),
        _ => matches!(i.memory_size(), MemorySize::Int64 | MemorySize::UInt64),
    })
}

/// Assigns `count` operands to `[dst, a, b, c]`.
fn arrange(p: [Place; 4], count: u32, vex: bool, kernel: Kernel) -> [Place; 4] {
    let three = matches!(kernel, Kernel::Three(_));
    match count {
        0 => [Place::None; 4],
        1 => [p[0], p[0], p[0], Place::None],
        // A store has no other source than its register; a legacy blend or SHA256RNDS2 has XMM0 besides.
        2 if p[0] == Place::Memory => [p[0], Place::None, p[1], Place::None],
        2 => [p[0], p[0], p[1], if three && !vex { Place::Xmm(0) } else { Place::None }],
        3 => [p[0], p[1], p[2], p[0]],
        _ => [p[0], p[1], p[2], p[3]],
    }
}

/// Which state `m` needs.
fn needs(m: Mnemonic, p: &[Place; 4], vex: bool) -> Needs {
    let has = |f: fn(&Place) -> bool| p.iter().any(f);
    let mm = has(|p| matches!(p, Place::Mm(_)));
    match (vex, mm, has(|p| matches!(p, Place::Xmm(_)))) {
        (true, ..) => Needs::Avx,
        (_, true, true) => Needs::SseMmx,
        (_, true, _) => Needs::Mmx,
        (_, _, true) if m == Mnemonic::Cvtpi2ps => Needs::SseMmx,
        (_, _, true) => Needs::Sse,
        _ if m == Mnemonic::Emms => Needs::Mmx,
        _ => Needs::Nothing,
    }
}

/// Must the memory operand of `m` be aligned? Legacy encodings: all of 16 bytes but the moves made for unaligned data.
/// VEX encodings: only the moves that say so. Source: SDM vol. 2A, tables 2-18, 2-19 and 2-21.
fn aligned(m: Mnemonic, vex: bool, bytes: usize) -> bool {
    use Mnemonic::*;
    if vex {
        let moves = matches!(m, Vmovaps | Vmovapd | Vmovdqa);
        return moves || matches!(m, Vmovntps | Vmovntpd | Vmovntdq | Vmovntdqa);
    }
    bytes == 16 && !matches!(m, Movups | Movupd | Movdqu | Lddqu)
}

impl Place {
    /// Number of the register; 0 for what is none.
    #[inline(always)]
    pub const fn number(self) -> u8 {
        match self {
            Place::Xmm(n) | Place::Ymm(n) | Place::Mm(n) | Place::Gpr(n) => n,
            Place::None | Place::Memory => 0,
        }
    }
    /// Bytes of the vector register; 0 for what is none.
    pub const fn bytes(self) -> u8 {
        match self {
            Place::Mm(_) => 8,
            Place::Xmm(_) => 16,
            Place::Ymm(_) => 32,
            _ => 0,
        }
    }
}

impl Simd {
    /// How the memory operand is accessed; `None` without one.
    pub fn access(&self) -> Option<Access> {
        match self.memory_bytes {
            0 => None,
            _ if self.dst == Place::Memory => Some(Access::Write),
            _ => Some(Access::Read),
        }
    }
}
