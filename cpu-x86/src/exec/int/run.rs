//! What string instructions do to a whole run of elements at once. A run lies within one page at each of its ends, and
//! the page is plain memory.
//!
//! `None`: not done and nothing changed (a device, a page of code, a fault, a data breakpoint that may be met); the
//! caller goes on element by element, which raises what is to be raised.

use crate::memory::{Access, HostRun};
use crate::state::Cpu;

/// The run of plain memory from linear address `at`.
fn plain(cpu: &mut Cpu, at: u64, access: Access) -> Option<HostRun> {
    if cpu.watching_data() || cpu.alignment_checked() {
        return None;
    }
    cpu.host_run(at, access).ok()?
}

/// Copies `bytes` from linear address `from` to `to`, as if byte by byte upwards.
pub(super) fn copy(cpu: &mut Cpu, from: u64, to: u64, bytes: usize) -> Option<()> {
    let (source, target) = (plain(cpu, from, Access::Read)?, plain(cpu, to, Access::Write)?);
    cpu.observe_run(from, bytes, false);
    cpu.observe_run(to, bytes, true);
    target.copy_from(&source, bytes);
    Some(())
}

/// Fills `bytes` at linear address `to` with the elements `v`, each of `each` bytes.
pub(super) fn fill(cpu: &mut Cpu, to: u64, bytes: usize, v: u64, each: usize) -> Option<()> {
    let target = plain(cpu, to, Access::Write)?;
    cpu.observe_run(to, bytes, true);
    target.fill(v, each, bytes);
    Some(())
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
    let (x, y) = (plain(cpu, a, Access::Read)?, plain(cpu, b, Access::Read)?);
    let c = x.with(|x| y.with(|y| Some(first(x.get(..bytes)?, y.get(..bytes)?, each, equal))))?;
    cpu.observe_run(a, c.elements * each, false);
    cpu.observe_run(b, c.elements * each, false);
    Some(c)
}

/// Compares the elements `v` with `bytes` at linear address `at`; else as [`compare`].
pub(super) fn scan(cpu: &mut Cpu, at: u64, bytes: usize, v: u64, each: usize, equal: bool) -> Option<Compared> {
    let c = plain(cpu, at, Access::Read)?.with(|x| {
        let x = x.get(..bytes)?;
        let found = if each == 1 {
            byte(x, v as u8, equal)
        } else {
            x.chunks_exact(each).position(|e| (element(e) == v) != equal)
        };
        let last = found.unwrap_or(bytes / each - 1);
        Some(Compared { elements: last + 1, a: v, b: element(&x[last * each..(last + 1) * each]) })
    })?;
    cpu.observe_run(at, c.elements * each, false);
    Some(c)
}

/// Where the first byte is that is not `v` (`equal`), or is: blocks without one are passed whole.
fn byte(x: &[u8], v: u8, equal: bool) -> Option<usize> {
    let blocks = x.chunks_exact(64).take_while(|block| !block.iter().fold(false, |any, e| any | ((*e == v) != equal)));
    let skip = 64 * blocks.count();
    x.get(skip..)?.iter().position(|e| (*e == v) != equal).map(|n| n + skip)
}

/// The first pair of elements that ends a comparison, or the last pair. Both runs are of equal, whole, positive length.
fn first(x: &[u8], y: &[u8], each: usize, equal: bool) -> Compared {
    let mut skip = 0;
    if equal {
        let same = x.chunks_exact(64).zip(y.chunks_exact(64)).take_while(|(a, b)| a == b).count();
        skip = same * 64 / each;
    }
    let all = x.chunks_exact(each).zip(y.chunks_exact(each));
    let found = all.skip(skip).position(|(a, b)| (a == b) != equal);
    let last = found.map_or(x.len() / each - 1, |n| n + skip);
    let at = last * each..(last + 1) * each;
    Compared { elements: last + 1, a: element(&x[at.clone()]), b: element(&y[at]) }
}

/// A little-endian element of up to 8 bytes.
fn element(e: &[u8]) -> u64 {
    e.iter().rev().fold(0, |v, byte| v << 8 | u64::from(*byte))
}
