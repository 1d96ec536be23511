//! From a decoded EVEX instruction to its formula, the places of its operands, its mask, and how memory is accessed.
//!
//! `dst` is the first operand, `b` the last source, `a` the one before it; `c` is the old value of `dst`. What the VEX
//! group has a kernel for is that kernel, over each half. Source: SDM vol. 2A, 2.7; 3.1.1.5.

use super::value::W;
use super::{convert, dot, half, half_convert, integer, motion, narrow, permute, real};
use crate::exec::simd::{Address, Form, Kernel, Per, V, kernel};
use iced_x86::{Instruction, MemorySize, Mnemonic, OpKind, Register, RoundingControl};
use softfp::{Env, Rounding};

/// What an EVEX instruction computes.
#[derive(Clone, Copy)]
pub enum Formula {
    /// What its VEX form computes, over each half.
    Shared(Kernel),
    /// Of `c`, `a`, `b` and the immediate, over each half.
    Half(fn(&V, &V, &V, u8) -> V),
    /// Likewise, where the second half's bits of the immediate lie four higher.
    Nibble(Kernel),
    /// As `Shared`, `b` being the same for both halves: the count of a shift.
    Count(Kernel),
    /// Of `c`, `a` and `b`, as a whole.
    Whole(fn(&W, &W, &W, &Evex) -> W),
    /// Of elements of `c`, `a` and `b`, and the immediate, in a floating-point environment; only of enabled elements.
    Real(fn(u64, u64, u64, u8, &mut Env) -> u64),
}

/// A row of a family's table: the formula, bytes of `b`'s elements and of the result's.
#[derive(Clone, Copy)]
pub struct Row {
    /// What it computes.
    pub formula: Formula,
    /// Bytes of an element of `b`; 0: as the memory operand has it.
    pub source: u8,
    /// Bytes of an element of the result, which are what the mask counts; 0: as the memory operand has it.
    pub element: u8,
}

impl Row {
    /// Elements as the memory operand has them.
    pub const fn plain(formula: Formula) -> Row {
        Row { formula, source: 0, element: 0 }
    }
    /// Elements of `element` bytes.
    pub const fn of(formula: Formula, element: u8) -> Row {
        Row { formula, source: element, element }
    }
    /// Elements of `source` bytes become elements of `element` bytes.
    pub const fn converts(formula: Formula, source: u8, element: u8) -> Row {
        Row { formula, source, element }
    }
}

/// Where an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: reads as zero.
    None,
    /// Vector register, and how many bytes of it.
    Vector(u8, u8),
    /// Opmask register.
    Mask(u8),
    /// General register: read whole; written whole, with a result that is zero-extended.
    General(u8),
    /// The memory operand.
    Memory,
}

/// An EVEX instruction with all that is needed to run it.
#[derive(Clone, Copy)]
pub struct Evex {
    /// What it computes.
    pub formula: Formula,
    /// Where the result goes.
    pub dst: Place,
    /// First source.
    pub a: Place,
    /// Second source.
    pub b: Place,
    /// The opmask register that picks elements; 0: all.
    pub mask: u8,
    /// Elements that are not picked become zero; else they stay.
    pub zeroing: bool,
    /// Elements that are not picked come from `a`, not from `dst` (blends).
    pub blends: bool,
    /// Rounding that the instruction itself carries.
    pub rounding: Option<Rounding>,
    /// No exception is raised nor recorded.
    pub silent: bool,
    /// Exceptions are recorded as if all were masked.
    pub masked: bool,
    /// Bytes of an element of `b`.
    pub source: u8,
    /// Bytes of an element of the result.
    pub element: u8,
    /// Elements that the mask counts.
    pub count: u8,
    /// It works on the lowest element alone; the others come from `a`.
    pub scalar: bool,
    /// Elements the kernel goes over in each half.
    pub per_half: u8,
    /// Bytes in memory of the memory operand.
    pub memory_bytes: u8,
    /// The memory operand is one element for all.
    pub broadcast: bool,
    /// The memory operand must be aligned to its own size.
    pub aligned: bool,
    /// Memory elements that the mask does not pick are not accessed, and cannot fault.
    pub suppresses: bool,
    /// The immediate operand.
    pub imm: u8,
    /// The memory operand's address.
    pub address: Address,
}

impl Evex {
    /// Bytes of the vector that the instruction works on.
    pub const fn bytes(&self) -> usize {
        match (self.dst, self.b) {
            (Place::Vector(_, n), _) | (_, Place::Vector(_, n)) => n as usize,
            _ => 64,
        }
    }
    /// How many elements of `bytes` each the vector has.
    pub const fn lanes(&self, bytes: usize) -> usize {
        self.bytes() / bytes
    }
}

/// The VEX mnemonic whose operation `m` is.
fn shared_name(m: Mnemonic) -> Mnemonic {
    use Mnemonic::*;
    match m {
        Vpandd | Vpandq => Vpand,
        Vpandnd | Vpandnq => Vpandn,
        Vpord | Vporq => Vpor,
        Vpxord | Vpxorq => Vpxor,
        Vmovdqa32 | Vmovdqa64 => Vmovdqa,
        Vmovdqu8 | Vmovdqu16 | Vmovdqu32 | Vmovdqu64 => Vmovdqu,
        _ => m,
    }
}

/// What `m` computes in form `f`, and how many elements its kernel goes over.
fn row(m: Mnemonic, f: Form) -> Option<(Row, Per)> {
    let own = integer::row(m, f)
        .or_else(|| motion::row(m, f))
        .or_else(|| permute::row(m, f))
        .or_else(|| narrow::row(m))
        .or_else(|| dot::row(m))
        .or_else(|| convert::row(m, f))
        .or_else(|| real::row(m))
        .or_else(|| half::row(m, f))
        .or_else(|| half_convert::row(m, f));
    if let Some(row) = own {
        return Some((row, Per::Fixed(0)));
    }
    let (kernel, per) = kernel(shared_name(m), f)?;
    let (source, element) = elements(m);
    let formula = if integer::is_shift(m) && !f.imm {
        Formula::Count(kernel)
    } else if matches!(m, Mnemonic::Vshufpd | Mnemonic::Vpermilpd) && f.imm {
        Formula::Nibble(kernel)
    } else {
        Formula::Shared(kernel)
    };
    Some((Row { formula, source, element }, per))
}

/// Bytes of the elements of source and result of a shared operation, where the memory operand does not tell both.
fn elements(m: Mnemonic) -> (u8, u8) {
    use Mnemonic::*;
    match m {
        Vcvtps2pd | Vcvtss2sd | Vcvtdq2pd => (4, 8),
        Vcvtpd2ps | Vcvtsd2ss | Vcvtpd2dq | Vcvttpd2dq => (8, 4),
        Vcvtph2ps => (2, 4),
        Vcvtps2ph => (4, 2),
        Vcvtss2si | Vcvttss2si => (4, 8),
        Vcvtsi2ss => (4, 4),
        Vcvtsi2sd => (8, 8),
        Vpmovsxbw | Vpmovzxbw => (1, 2),
        Vpmovsxbd | Vpmovzxbd => (1, 4),
        Vpmovsxbq | Vpmovzxbq => (1, 8),
        Vpmovsxwd | Vpmovzxwd => (2, 4),
        Vpmovsxwq | Vpmovzxwq => (2, 8),
        Vpmovsxdq | Vpmovzxdq => (4, 8),
        Vpmaddwd | Vpdpbusd | Vpdpbusds | Vpdpwssd | Vpdpwssds => (4, 4),
        Vpmaddubsw => (2, 2),
        Vpacksswb | Vpackuswb => (1, 1),
        Vpackssdw | Vpackusdw => (2, 2),
        Vpmuludq | Vpmuldq => (8, 8),
        Vmovss => (4, 4),
        Vmovsd => (8, 8),
        _ => (0, 0),
    }
}

/// The operand places, and how many operands come before the immediate.
fn places(i: &Instruction) -> Option<([Place; 3], u32, bool)> {
    let mut count = i.op_count();
    let imm = count > 0 && matches!(i.op_kind(count - 1), OpKind::Immediate8);
    count -= u32::from(imm);
    let mut places = [Place::None; 3];
    for (n, place) in places.iter_mut().enumerate().take(count as usize) {
        *place = match i.op_kind(n as u32) {
            OpKind::Memory if i.memory_index().is_vector_register() => return None,
            OpKind::Memory => Place::Memory,
            OpKind::Register => {
                let (r, number) = (i.op_register(n as u32), i.op_register(n as u32).number() as u8);
                match r {
                    _ if r.is_vector_register() => Place::Vector(number, r.size() as u8),
                    _ if r.is_k() => Place::Mask(number),
                    _ if r.is_gpr() => Place::General(number),
                    _ => return None,
                }
            }
            _ => return None,
        };
    }
    Some((places, count, imm))
}

/// Is a general register among the operands 64 bits wide, or memory in its place?
fn wide(i: &Instruction, count: u32) -> bool {
    (0..count).any(|n| match i.op_kind(n) {
        OpKind::Register => i.op_register(n).is_gpr64(),
        _ => matches!(i.memory_size(), MemorySize::Int64 | MemorySize::UInt64),
    })
}

/// The memory operand of `i`'s code without broadcast: its bytes, and those of an element.
fn full_size(i: &Instruction) -> (usize, usize) {
    let mut whole = *i;
    whole.set_is_broadcast(false);
    (whole.memory_size().size(), whole.memory_size().element_size())
}

/// The description of `i`; `None` when it has a function of its own, or none.
pub fn describe(i: &Instruction) -> Option<Evex> {
    let (p, operands, imm) = places(i)?;
    let m = i.mnemonic();
    let memory = p.contains(&Place::Memory);
    let store = p[0] == Place::Memory;
    let form = Form { mmx: false, ymm: true, memory, store, imm, wide: wide(i, operands) };
    let (row, per) = row(m, form)?;
    let (dst, a, b) = match operands {
        2 if store => (p[0], Place::None, p[1]),
        2 => (p[0], p[0], p[1]),
        _ => (p[0], p[1], p[2]),
    };
    let (full, each) = full_size(i);
    let element = if row.element != 0 { row.element } else { (each.clamp(1, 8)) as u8 };
    let source = if row.source != 0 { row.source } else { element };
    let whole = matches!(row.formula, Formula::Whole(_));
    let one = full == each && full != 0 && m != Mnemonic::Vmovddup || is_scalar(m);
    let scalar = one && !whole && !matches!(row.formula, Formula::Count(_));
    let bytes_of = |p: Place| match p {
        Place::Vector(_, n) => usize::from(n),
        _ => full,
    };
    let count = match (scalar, dst) {
        (true, _) | (_, Place::General(_)) => 1,
        (_, Place::Mask(_)) => bytes_of(b) / usize::from(source),
        _ if source != element && !whole && !store => {
            (bytes_of(dst) / usize::from(element)).min(bytes_of(b) / usize::from(source))
        }
        _ => bytes_of(dst) / usize::from(element),
    };
    let broadcast = i.is_broadcast();
    let rounding = rounding(i);
    Some(Evex {
        formula: row.formula,
        dst,
        a,
        b,
        mask: if i.op_mask() == Register::None { 0 } else { i.op_mask().number() as u8 },
        zeroing: i.zeroing_masking(),
        blends: matches!(m, Mnemonic::Vblendmps | Mnemonic::Vblendmpd) || integer::is_blend(m),
        rounding,
        silent: rounding.is_some() || i.suppress_all_exceptions() || is_approximation(m),
        masked: half::is_complex(m),
        source,
        element,
        count: count.min(64) as u8,
        scalar,
        per_half: match per {
            _ if scalar => 1,
            Per::Fixed(n) if n != 0 => n,
            _ => 32 / source.max(element),
        },
        memory_bytes: if memory { i.memory_size().size() as u8 } else { 0 },
        broadcast,
        aligned: memory && aligned(m),
        suppresses: suppresses(m, whole, imm),
        imm: if imm { i.immediate8() } else { 0 },
        address: Address::of(i),
    })
}

/// Does `m` work on one element, though its memory operand alone does not say so?
fn is_scalar(m: Mnemonic) -> bool {
    matches!(m, Mnemonic::Vmovss | Mnemonic::Vmovsd | Mnemonic::Vmovsh) || half::is_complex_scalar(m)
}

/// Is `m` an approximation, which raises nothing?
fn is_approximation(m: Mnemonic) -> bool {
    real::is_approximation(m) || half::is_approximation(m)
}

/// The rounding that `i` carries.
fn rounding(i: &Instruction) -> Option<Rounding> {
    match i.rounding_control() {
        RoundingControl::None => None,
        RoundingControl::RoundToNearest => Some(Rounding::Nearest),
        RoundingControl::RoundDown => Some(Rounding::Down),
        RoundingControl::RoundUp => Some(Rounding::Up),
        RoundingControl::RoundTowardZero => Some(Rounding::Zero),
    }
}

/// Must the memory operand of `m` be aligned?
fn aligned(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(m, Vmovaps | Vmovapd | Vmovdqa32 | Vmovdqa64 | Vmovntps | Vmovntpd | Vmovntdq | Vmovntdqa)
}

/// Does the mask of `m` keep memory elements from being accessed? Not where result elements come from more than one of
/// memory's. Source: SDM vol. 2A, 2.8: the exception types without "NF".
fn suppresses(m: Mnemonic, whole: bool, imm: bool) -> bool {
    let shifts = integer::is_shift(m) && !imm;
    if whole { motion::is_broadcast(m) } else { !shifts && !unsuppressed(m) }
}

/// Is all of the memory operand of `m` read, whatever the mask?
#[rustfmt::skip] // By kind.
fn unsuppressed(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(m, Vpunpcklbw | Vpunpcklwd | Vpunpckldq | Vpunpcklqdq | Vpunpckhbw | Vpunpckhwd | Vpunpckhdq | Vpunpckhqdq)
        || matches!(m, Vunpcklps | Vunpcklpd | Vunpckhps | Vunpckhpd | Vshufps | Vshufpd | Vpermilps | Vpermilpd)
        || matches!(m, Vpacksswb | Vpackssdw | Vpackuswb | Vpackusdw | Vpshufb | Vpshufd | Vpshufhw | Vpshuflw | Vpalignr)
        || matches!(m, Vpmaddwd | Vpmaddubsw | Vdbpsadbw | Vpermq | Vpermpd | Vmovddup | Vmovsldup | Vmovshdup)
        || matches!(m, Vgf2p8affineqb | Vgf2p8affineinvqb | Vpmultishiftqb)
}
