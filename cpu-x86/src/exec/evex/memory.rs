//! Gathers, scatters, compressions and expansions.
//!
//! Source: SDM vol. 2, VPGATHERDD, VPSCATTERDD, VPCOMPRESSD, VPEXPANDD and their neighbours.

use super::value::{BYTES, W};
use super::{check, ones, set_vector, vector};
use crate::exec::Meaning;
use crate::exec::simd::Address;
use crate::fault::{Done, Stop};
use crate::memory::Access;
use crate::state::Cpu;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// The meaning of `i`, if it is here.
pub fn lookup(i: &Instruction) -> Option<Meaning> {
    use Mnemonic::*;
    match i.mnemonic() {
        Vpgatherdd | Vgatherdps => Meaning::plain(|cpu, i| gather(cpu, i, 4, 4)),
        Vpgatherdq | Vgatherdpd => Meaning::plain(|cpu, i| gather(cpu, i, 4, 8)),
        Vpgatherqd | Vgatherqps => Meaning::plain(|cpu, i| gather(cpu, i, 8, 4)),
        Vpgatherqq | Vgatherqpd => Meaning::plain(|cpu, i| gather(cpu, i, 8, 8)),
        Vpscatterdd | Vscatterdps => Meaning::plain(|cpu, i| scatter(cpu, i, 4, 4)),
        Vpscatterdq | Vscatterdpd => Meaning::plain(|cpu, i| scatter(cpu, i, 4, 8)),
        Vpscatterqd | Vscatterqps => Meaning::plain(|cpu, i| scatter(cpu, i, 8, 4)),
        Vpscatterqq | Vscatterqpd => Meaning::plain(|cpu, i| scatter(cpu, i, 8, 8)),
        Vpcompressb => Meaning::plain(|cpu, i| compress(cpu, i, 1)),
        Vpcompressw => Meaning::plain(|cpu, i| compress(cpu, i, 2)),
        Vpcompressd | Vcompressps => Meaning::plain(|cpu, i| compress(cpu, i, 4)),
        Vpcompressq | Vcompresspd => Meaning::plain(|cpu, i| compress(cpu, i, 8)),
        Vpexpandb => Meaning::plain(|cpu, i| expand(cpu, i, 1)),
        Vpexpandw => Meaning::plain(|cpu, i| expand(cpu, i, 2)),
        Vpexpandd | Vexpandps => Meaning::plain(|cpu, i| expand(cpu, i, 4)),
        Vpexpandq | Vexpandpd => Meaning::plain(|cpu, i| expand(cpu, i, 8)),
        _ => None,
    }
}

/// What `i`'s mask picks of `count` elements.
fn picked(cpu: &Cpu, i: &Instruction, count: usize) -> u64 {
    match i.op_mask() {
        Register::None => ones(count),
        k => cpu.k[k.number() & 7] & ones(count),
    }
}

/// How far element `k` of the index register is from the operand's start.
fn distance(i: &Instruction, indices: &W, k: usize, bytes: usize) -> u64 {
    let by = if bytes == 4 { i64::from(indices.get::<i32>(k)) } else { indices.get::<i64>(k) };
    by.cast_unsigned() << i.memory_index_scale().trailing_zeros()
}

/// Loads the picked elements, the others keep their value; the mask is cleared. At a fault, the elements before the
/// faulting one are loaded, their mask bits are clear, and what lies above the vector length is cleared (as a Zen 4 does;
/// the SDM leaves it open).
fn gather(cpu: &mut Cpu, i: &Instruction, index_bytes: usize, bytes: usize) -> Done {
    check(cpu)?;
    let (dst, index, mask) = (i.op0_register(), i.memory_index(), i.op_mask());
    if dst.number() == index.number() || mask == Register::None {
        return Err(Stop::UD);
    }
    let count = (index.size() / index_bytes).min(dst.size() / bytes);
    let (address, indices) = (Address::of(i), vector(cpu, index.number()));
    let (mut r, mut left) = (vector(cpu, dst.number()), picked(cpu, i, count));
    let all = left;
    while left != 0 {
        let k = left.trailing_zeros() as usize;
        let at = address.behind(cpu, distance(i, &indices, k, index_bytes), bytes as u32, Access::Read);
        match at.and_then(|at| cpu.load(at, bytes as u32)) {
            Ok(v) => r.set_element(k, bytes, v),
            Err(stop) => {
                if left != all {
                    // Cleared above the longer of both vectors (hardware).
                    set_vector(cpu, dst.number(), &r, dst.size().max(index.size()));
                }
                cpu.k[mask.number() & 7] &= !ones(count) | left;
                return Err(stop);
            }
        }
        left &= left - 1;
    }
    set_vector(cpu, dst.number(), &r, count * bytes);
    cpu.k[mask.number() & 7] = 0;
    Ok(())
}

/// Stores the picked elements, from the lowest up, and clears the mask. At a fault, the elements before the faulting
/// one are stored and their mask bits are clear.
fn scatter(cpu: &mut Cpu, i: &Instruction, index_bytes: usize, bytes: usize) -> Done {
    check(cpu)?;
    let (source, index, mask) = (i.op1_register(), i.memory_index(), i.op_mask());
    if mask == Register::None {
        return Err(Stop::UD);
    }
    let count = (index.size() / index_bytes).min(source.size() / bytes);
    let (address, indices, values) = (Address::of(i), vector(cpu, index.number()), vector(cpu, source.number()));
    let mut left = picked(cpu, i, count);
    while left != 0 {
        let k = left.trailing_zeros() as usize;
        let at = address.behind(cpu, distance(i, &indices, k, index_bytes), bytes as u32, Access::Write);
        if let Err(stop) = at.and_then(|at| cpu.store(at, bytes as u32, values.element(k, bytes))) {
            cpu.k[mask.number() & 7] &= !ones(count) | left;
            return Err(stop);
        }
        left &= left - 1;
    }
    cpu.k[mask.number() & 7] = 0;
    Ok(())
}

/// The picked elements of the source, one next to the other; in memory, nothing behind them is touched.
fn compress(cpu: &mut Cpu, i: &Instruction, bytes: usize) -> Done {
    check(cpu)?;
    let (source, size) = (i.op1_register(), i.op1_register().size());
    let picked = picked(cpu, i, size / bytes);
    let (v, filled) = (vector(cpu, source.number()), picked.count_ones() as usize * bytes);
    let memory = i.op0_kind() == OpKind::Memory;
    let mut r = if memory || i.zeroing_masking() { W::ZERO } else { vector(cpu, i.op0_register().number()) };
    let chosen = (0..size / bytes).filter(|k| picked >> k & 1 != 0);
    for (to, from) in chosen.enumerate() {
        r.set_element(to, bytes, v.element(from, bytes));
    }
    if !memory {
        set_vector(cpu, i.op0_register().number(), &r, size);
    } else if filled != 0 {
        let at = Address::of(i).linear(cpu, filled as u32, Access::Write)?;
        cpu.store_bytes(at, &r.bytes()[..filled])?;
    }
    Ok(())
}

/// Elements that lie one next to the other, where the mask picks; of memory, no more than those are read.
fn expand(cpu: &mut Cpu, i: &Instruction, bytes: usize) -> Done {
    check(cpu)?;
    let (dst, size) = (i.op0_register(), i.op0_register().size());
    let picked = picked(cpu, i, size / bytes);
    let filled = picked.count_ones() as usize * bytes;
    let v = if i.op1_kind() != OpKind::Memory {
        vector(cpu, i.op1_register().number())
    } else {
        let mut b = [0; BYTES];
        if filled != 0 {
            let at = Address::of(i).linear(cpu, filled as u32, Access::Read)?;
            cpu.load_bytes(at, &mut b[..filled])?;
        }
        W::of(&b)
    };
    let mut r = if i.zeroing_masking() { W::ZERO } else { vector(cpu, dst.number()) };
    let chosen = (0..size / bytes).filter(|k| picked >> k & 1 != 0);
    for (from, to) in chosen.enumerate() {
        r.set_element(to, bytes, v.element(from, bytes));
    }
    set_vector(cpu, dst.number(), &r, size);
    Ok(())
}
