//! The string compares of SSE4.2: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM.
//!
//! Source: SDM vol. 2B, 4.1 (the immediate: element format, aggregation, polarity, output).

use super::check::{check_avx, check_sse};
use super::value::V;
use crate::alu::flag;
use crate::exec::Meaning;
use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::state::Cpu;
use iced_x86::{EncodingKind, Instruction, Mnemonic, OpKind};

/// The meaning of `i`, if it is here.
pub fn lookup(i: &Instruction) -> Option<Meaning> {
    use Mnemonic::*;
    match i.mnemonic() {
        Pcmpestri | Vpcmpestri | Pcmpestri64 | Vpcmpestri64 => Meaning::plain(|cpu, i| compare(cpu, i, true, false)),
        Pcmpestrm | Vpcmpestrm | Pcmpestrm64 | Vpcmpestrm64 => Meaning::plain(|cpu, i| compare(cpu, i, true, true)),
        Pcmpistri | Vpcmpistri => Meaning::plain(|cpu, i| compare(cpu, i, false, false)),
        Pcmpistrm | Vpcmpistrm => Meaning::plain(|cpu, i| compare(cpu, i, false, true)),
        _ => None,
    }
}

/// A string operand: its elements, sign- or zero-extended, and how many are valid.
struct Elements {
    x: [i32; 16],
    count: usize,
    valid: usize,
}

impl Elements {
    /// The elements of `v`, of the format in `imm`; `length` is the explicit length, otherwise a zero ends them.
    fn new(v: &V, imm: u8, length: Option<u64>) -> Elements {
        let count = if imm & 1 == 0 { 16 } else { 8 };
        let mut x = [0; 16];
        for (k, x) in x.iter_mut().enumerate().take(count) {
            *x = match imm & 3 {
                0 => i32::from(v.get::<u8>(k)),
                1 => i32::from(v.get::<u16>(k)),
                2 => i32::from(v.get::<i8>(k)),
                _ => i32::from(v.get::<i16>(k)),
            };
        }
        let valid = match length {
            Some(n) => n.min(count as u64) as usize,
            None => x[..count].iter().position(|&x| x == 0).unwrap_or(count),
        };
        Elements { x, count, valid }
    }
}

/// One of the four: `explicit` lengths in rAX and rDX or implicit ones, result a `mask` in XMM0 or an index in ECX.
fn compare(cpu: &mut Cpu, i: &Instruction, explicit: bool, mask: bool) -> Done {
    let vex = i.encoding() == EncodingKind::VEX;
    if vex {
        check_avx(cpu)?
    } else {
        check_sse(cpu)?
    }
    let imm = i.immediate8();
    let first = operand(cpu, i, 0)?;
    let second = operand(cpu, i, 1)?;
    use Mnemonic::*;
    let wide = matches!(i.mnemonic(), Pcmpestri64 | Vpcmpestri64 | Pcmpestrm64 | Vpcmpestrm64);
    let length = |register: u64| match (explicit, wide) {
        (false, _) => None,
        (true, true) => Some(register.cast_signed().unsigned_abs()),
        (true, false) => Some(u64::from((register as i32).unsigned_abs())),
    };
    let a = Elements::new(&first, imm, length(cpu.regs[0]));
    let b = Elements::new(&second, imm, length(cpu.regs[2]));
    let all = if a.count == 16 { 0xffff } else { 0xff };
    let found = aggregate(&a, &b, imm) & all;
    let result = match imm >> 4 & 3 {
        1 => !found & all,
        3 => found ^ ((1 << b.valid) - 1),
        _ => found,
    };
    if mask {
        set_mask(cpu, imm, result, a.count, vex);
    } else {
        let index = match imm & 0x40 {
            _ if result == 0 => a.count as u32,
            0 => result.trailing_zeros(),
            _ => result.ilog2(),
        };
        cpu.regs[1] = u64::from(index);
    }
    let when = |flag: u64, set: bool| if set { flag } else { 0 };
    cpu.set_status_flags(
        when(flag::CF, result != 0)
            | when(flag::ZF, b.valid < b.count)
            | when(flag::SF, a.valid < a.count)
            | when(flag::OF, result & 1 != 0),
    );
    Ok(())
}

/// The value of operand `n`; memory needs no alignment.
fn operand(cpu: &mut Cpu, i: &Instruction, n: u32) -> Result<V, Stop> {
    let mut v = V::ZERO;
    if i.op_kind(n) == OpKind::Register {
        v.0[..16].copy_from_slice(&cpu.vec[i.op_register(n).number() & 31].0[..16]);
    } else {
        let at = cpu.address(i, 16, Access::Read)?;
        cpu.load_bytes(at, &mut v.0[..16])?;
    }
    Ok(v)
}

/// The intermediate result: bit j tells of element j of the second operand.
fn aggregate(a: &Elements, b: &Elements, imm: u8) -> u32 {
    let bit = |j: usize, set: bool| u32::from(set) << j;
    let valid_b = |j: usize| j < b.valid;
    (0..b.count).fold(0, |r, j| {
        r | bit(
            j,
            match imm >> 2 & 3 {
                // Equal any: the element is in the set.
                0 => valid_b(j) && a.x[..a.valid].contains(&b.x[j]),
                // Ranges: it is in one of the pairs; an odd last element counts for nothing.
                1 => valid_b(j) && a.x[..a.valid].chunks_exact(2).any(|p| p[0] <= b.x[j] && b.x[j] <= p[1]),
                // Equal each: both invalid counts as equal, one invalid as different.
                2 => match (j < a.valid, valid_b(j)) {
                    (true, true) => a.x[j] == b.x[j],
                    (x, y) => x == y,
                },
                // Equal ordered: the first operand begins here; what lies beyond the last element is not compared.
                _ => (0..a.valid.min(b.count - j)).all(|k| valid_b(j + k) && a.x[k] == b.x[j + k]),
            },
        )
    })
}

/// XMM0 := `result` as a bit mask, or expanded to elements.
fn set_mask(cpu: &mut Cpu, imm: u8, result: u32, count: usize, vex: bool) {
    let v = match (imm & 0x40 != 0, count) {
        (false, _) => V::low(result),
        (true, 16) => V::from_fn(|k| if k < 16 && result >> k & 1 != 0 { u8::MAX } else { 0 }),
        (true, _) => V::from_fn(|k| if k < 8 && result >> k & 1 != 0 { u16::MAX } else { 0 }),
    };
    let reg = &mut cpu.vec[0].0;
    reg[..16].copy_from_slice(&v.0[..16]);
    if vex {
        reg[16..].fill(0);
    }
}
