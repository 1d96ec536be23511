//! Gathers, and loads and stores under a mask: memory is touched element by element.
//!
//! An element whose mask bit is clear is not accessed and cannot fault. Source: SDM vol. 2, VGATHERDPS, VPGATHERDD
//! and their neighbours, VMASKMOV, VPMASKMOV, MASKMOVQ, MASKMOVDQU.

use super::check::{check_avx, check_mmx, check_sse, enter_mmx};
use super::value::V;
use crate::exec::Meaning;
use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::operand::seg_of;
use crate::state::{Cpu, Seg};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// The meaning of `i`, if it is here.
pub fn lookup(i: &Instruction) -> Option<Meaning> {
    use Mnemonic::*;
    if !matches!(i.encoding(), iced_x86::EncodingKind::Legacy | iced_x86::EncodingKind::VEX) {
        return None;
    }
    match i.mnemonic() {
        Maskmovq => Meaning::plain(|cpu, i| maskmov(cpu, i, 8)),
        Maskmovdqu | Vmaskmovdqu => Meaning::plain(|cpu, i| maskmov(cpu, i, 16)),
        Vmaskmovps | Vpmaskmovd => Meaning::plain(|cpu, i| vmaskmov(cpu, i, 4)),
        Vmaskmovpd | Vpmaskmovq => Meaning::plain(|cpu, i| vmaskmov(cpu, i, 8)),
        Vpgatherdd | Vgatherdps => Meaning::plain(|cpu, i| gather(cpu, i, 4, 4)),
        Vpgatherdq | Vgatherdpd => Meaning::plain(|cpu, i| gather(cpu, i, 4, 8)),
        Vpgatherqd | Vgatherqps => Meaning::plain(|cpu, i| gather(cpu, i, 8, 4)),
        Vpgatherqq | Vgatherqpd => Meaning::plain(|cpu, i| gather(cpu, i, 8, 8)),
        _ => None,
    }
}

/// The low 32 bytes of vector register `r`, as many as it has.
fn vector(cpu: &Cpu, r: Register) -> V {
    let mut v = V::ZERO;
    let bytes = r.size().min(32);
    v.0[..bytes].copy_from_slice(&cpu.vec[r.number() & 31].0[..bytes]);
    v
}

/// Writes the low 32 bytes of a vector register and clears the rest.
fn set_vector(cpu: &mut Cpu, r: Register, v: &V) {
    let reg = &mut cpu.vec[r.number() & 31].0;
    reg[..32].copy_from_slice(&v.0);
    reg[32..].fill(0);
}

/// Is the top bit of element `k`, `bytes` wide, set?
fn selected(mask: &V, k: usize, bytes: usize) -> bool {
    mask.get::<u8>((k + 1) * bytes - 1) & 0x80 != 0
}

/// Stores the bytes of the first operand whose mask byte in the second has its top bit set, at DS:rDI.
fn maskmov(cpu: &mut Cpu, i: &Instruction, bytes: usize) -> Done {
    let (source, mask) = if bytes == 8 {
        check_mmx(cpu)?;
        let mm = |n| V::low(cpu.fpu.r[i.op_register(n).number() & 7].significand);
        (mm(1), mm(2))
    } else {
        if i.mnemonic() == Mnemonic::Vmaskmovdqu {
            check_avx(cpu)?
        } else {
            check_sse(cpu)?
        }
        (vector(cpu, i.op_register(1)), vector(cpu, i.op_register(2)))
    };
    let (rdi, cut) = match i.op_kind(0) {
        OpKind::MemorySegDI => (cpu.regs[7], 0xffff),
        OpKind::MemorySegEDI => (cpu.regs[7], 0xffff_ffff),
        _ => (cpu.regs[7], u64::MAX),
    };
    let segment = seg_of(i.memory_segment());
    store_selected(cpu, segment, rdi, cut, &source, |k| selected(&mask, k, 1), bytes, 1)?;
    if bytes == 8 {
        enter_mmx(cpu);
    }
    Ok(())
}

/// Stores the selected ones of `count` elements; checks all of them before the first is written.
#[expect(clippy::too_many_arguments, reason = "an address is three of them, the elements four")]
fn store_selected(
    cpu: &mut Cpu,
    segment: Seg,
    offset: u64,
    cut: u64,
    source: &V,
    chosen: impl Fn(usize) -> bool,
    count: usize,
    bytes: usize,
) -> Done {
    let mut places = [None; 32];
    for k in (0..count).filter(|&k| chosen(k)) {
        let at = cpu.linear(segment, offset.wrapping_add((k * bytes) as u64) & cut, bytes as u32, Access::Write)?;
        cpu.probe(at, bytes as u32, Access::Write)?;
        places[k] = Some(at);
    }
    for (k, at) in places.iter().enumerate() {
        if let Some(at) = *at {
            cpu.store_bytes(at, &source.0[k * bytes..(k + 1) * bytes])?;
        }
    }
    Ok(())
}

/// VMASKMOV, VPMASKMOV: loads the selected elements and clears the others, or stores the selected ones.
fn vmaskmov(cpu: &mut Cpu, i: &Instruction, bytes: usize) -> Done {
    check_avx(cpu)?;
    let mask = vector(cpu, i.op_register(1));
    let (segment, offset, cut) = (seg_of(i.memory_segment()), cpu.offset(i), address_mask(cpu, i));
    if i.op_kind(0) == OpKind::Memory {
        let source = vector(cpu, i.op_register(2));
        let count = i.op_register(2).size() / bytes;
        return store_selected(cpu, segment, offset, cut, &source, |k| selected(&mask, k, bytes), count, bytes);
    }
    let mut r = V::ZERO;
    for k in (0..i.op_register(0).size() / bytes).filter(|&k| selected(&mask, k, bytes)) {
        let at = cpu.linear(segment, offset.wrapping_add((k * bytes) as u64) & cut, bytes as u32, Access::Read)?;
        cpu.load_bytes(at, &mut r.0[k * bytes..(k + 1) * bytes])?;
    }
    set_vector(cpu, i.op_register(0), &r);
    Ok(())
}

/// Loads the selected elements from base + index * scale + displacement, the others keep their value; clears the
/// mask. At a fault, the elements before the faulting one are loaded and their mask bits are clear; the mask's elements
/// behind are all ones or zeros, as SDM and Bochs (cpu/avx/gather.cc) have it, though AMD's processors leave them.
fn gather(cpu: &mut Cpu, i: &Instruction, index_bytes: usize, bytes: usize) -> Done {
    check_avx(cpu)?;
    let (dst, index, mask) = (i.op_register(0), i.memory_index(), i.op_register(2));
    let (d, x, m) = (dst.number(), index.number(), mask.number());
    if d == x || d == m || x == m {
        return Err(Stop::UD);
    }
    let count = if bytes < index_bytes { index.size() / index_bytes } else { dst.size() / bytes };
    let (offset, cut, segment) = (cpu.offset(i), address_mask(cpu, i), seg_of(i.memory_segment()));
    let indices = vector(cpu, index);
    let (mut r, mut left) = (vector(cpu, dst), vector(cpu, mask));
    let scale = i.memory_index_scale().trailing_zeros();
    for k in 0..count {
        let fill = if selected(&left, k, bytes) { 0xff } else { 0 };
        left.0[k * bytes..(k + 1) * bytes].fill(fill);
    }
    for k in 0..count {
        if selected(&left, k, bytes) {
            let by = if index_bytes == 4 { i64::from(indices.get::<i32>(k)) } else { indices.get::<i64>(k) };
            let at = offset.wrapping_add(by.cast_unsigned() << scale) & cut;
            let loaded = cpu
                .linear(segment, at, bytes as u32, Access::Read)
                .and_then(|at| cpu.load_bytes(at, &mut r.0[k * bytes..(k + 1) * bytes]));
            if let Err(stop) = loaded {
                // What is above the vectors is cleared at the end only (hardware; Bochs does the same).
                for (n, v) in [(d, &r), (m, &left)] {
                    let bytes = count * bytes;
                    cpu.vec[n & 31].0[..bytes].copy_from_slice(&v.0[..bytes]);
                }
                return Err(stop);
            }
        }
        left.0[k * bytes..(k + 1) * bytes].fill(0);
    }
    r.0[count * bytes..].fill(0);
    set_vector(cpu, dst, &r);
    set_vector(cpu, mask, &V::ZERO);
    Ok(())
}

/// What an offset is cut to: the address size.
fn address_mask(cpu: &Cpu, i: &Instruction) -> u64 {
    let base = i.memory_base();
    let bytes = if base == Register::None { i.memory_displ_size() as usize } else { base.size() };
    match bytes {
        2 => 0xffff,
        4 => 0xffff_ffff,
        _ if cpu.is_64bit() => u64::MAX,
        _ => 0xffff_ffff,
    }
}
