//! What string instructions do to a whole run of elements at once. A run lies within one page at each of its ends, so
//! it is readable and writable whole or not at all.
//!
//! `None`: not done and nothing changed; the caller goes on element by element, which raises what is to be raised.

use crate::state::Cpu;

/// Most bytes of a run: a page.
pub(super) const MOST: usize = 4096;
/// Up to here a run goes through a small buffer, which costs little to clear.
const SHORT: usize = 128;

/// Copies `bytes` from linear address `from` to `to`, as if all were read before the first is written.
pub(super) fn copy(cpu: &mut Cpu, from: u64, to: u64, bytes: usize) -> Option<()> {
    if bytes <= SHORT {
        return through(cpu, from, to, &mut [0; SHORT][..bytes]);
    }
    through(cpu, from, to, [0; MOST].get_mut(..bytes)?)
}

fn through(cpu: &mut Cpu, from: u64, to: u64, buffer: &mut [u8]) -> Option<()> {
    cpu.load_bytes(from, buffer).ok()?;
    cpu.store_bytes(to, buffer).ok()
}

/// Fills `bytes` at linear address `to` with the elements `v`, each of `each` bytes.
pub(super) fn fill(cpu: &mut Cpu, to: u64, bytes: usize, v: u64, each: usize) -> Option<()> {
    if bytes <= SHORT {
        return store_filled(cpu, to, &mut [0; SHORT][..bytes], v, each);
    }
    store_filled(cpu, to, [0; MOST].get_mut(..bytes)?, v, each)
}

fn store_filled(cpu: &mut Cpu, to: u64, buffer: &mut [u8], v: u64, each: usize) -> Option<()> {
    let v = v.to_le_bytes();
    if each == 1 {
        buffer.fill(v[0]);
    } else {
        buffer.chunks_exact_mut(each).for_each(|e| e.copy_from_slice(&v[..each]));
    }
    cpu.store_bytes(to, buffer).ok()
}

/// Where a comparison ended.
pub(super) struct Compared {
    /// How many elements were looked at, the last included.
    pub elements: usize,
    /// The last of the first run.
    pub a: u64,
    /// The last of the second run.
    pub b: u64,
}

/// Compares `bytes` at linear addresses `a` and `b` in elements of `each` bytes, up to and with the first that is not
/// equal (`equal`), or is.
pub(super) fn compare(cpu: &mut Cpu, a: u64, b: u64, bytes: usize, each: usize, equal: bool) -> Option<Compared> {
    if bytes <= SHORT {
        let (mut x, mut y) = ([0; SHORT], [0; SHORT]);
        cpu.load_bytes(a, &mut x[..bytes]).ok()?;
        cpu.load_bytes(b, &mut y[..bytes]).ok()?;
        return Some(first(&x[..bytes], &y[..bytes], each, equal));
    }
    let (mut x, mut y) = ([0; MOST], [0; MOST]);
    cpu.load_bytes(a, x.get_mut(..bytes)?).ok()?;
    cpu.load_bytes(b, y.get_mut(..bytes)?).ok()?;
    Some(first(&x[..bytes], &y[..bytes], each, equal))
}

/// Compares the elements `v` with `bytes` at linear address `at`; else as [`compare`].
pub(super) fn scan(cpu: &mut Cpu, at: u64, bytes: usize, v: u64, each: usize, equal: bool) -> Option<Compared> {
    let mut x = [0; SHORT];
    let bytes = bytes.min(SHORT);
    cpu.load_bytes(at, &mut x[..bytes]).ok()?;
    let x = &x[..bytes];
    let found = if each == 1 && !equal {
        x.iter().position(|e| u64::from(*e) == v)
    } else {
        x.chunks_exact(each).position(|e| (element(e) == v) != equal)
    };
    let last = found.unwrap_or(bytes / each - 1);
    Some(Compared { elements: last + 1, a: v, b: element(&x[last * each..(last + 1) * each]) })
}

/// The first pair of elements that ends a comparison, or the last pair. Both runs are of equal, whole, positive length.
fn first(x: &[u8], y: &[u8], each: usize, equal: bool) -> Compared {
    let mut skip = 0;
    if equal {
        let same = x.chunks_exact(64).zip(y.chunks_exact(64)).take_while(|(a, b)| a == b).count();
        skip = same * 64 / each;
    }
    let all = x.chunks_exact(each).zip(y.chunks_exact(each));
    let found = all.clone().skip(skip).position(|(a, b)| (a == b) != equal);
    let last = found.map_or(x.len() / each - 1, |n| n + skip);
    let at = last * each..(last + 1) * each;
    Compared { elements: last + 1, a: element(&x[at.clone()]), b: element(&y[at]) }
}

/// A little-endian element of up to 8 bytes.
fn element(e: &[u8]) -> u64 {
    e.iter().rev().fold(0, |v, byte| v << 8 | u64::from(*byte))
}
