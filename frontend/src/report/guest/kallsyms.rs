//! The kernel's own symbol table, found in guest memory by its shape.
//!
//! It is written by Linux' `scripts/kallsyms.c` into .rodata, each part aligned to 8: the number of symbols; their names,
//! each a length (one byte, or two with bit 7 of the first set) and that many tokens; for every 256th name its place
//! (the markers); 256 tokens as zero-terminated text, and the offset of each. Addresses are 32-bit offsets from a base:
//! before the names up to Linux 6.3, behind the tokens later. Where per-CPU symbols are absolute, those have offsets from 0
//! up, and an offset below 0 means base - 1 - offset.
//!
//! Digits stand for themselves among the tokens, so "0", "1", "2"… in a row give the table away, and all the rest is
//! checked: 256 offsets, every marker, every name's first letters, addresses in order.

use crate::load::bytes;
use emu_core::{Gpa, Ram};

/// A symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its address; for a per-CPU symbol its offset in the per-CPU area.
    pub address: u64,
    /// `nm`'s letter.
    pub kind: u8,
    /// Its name.
    pub name: String,
}

/// Tokens "0" to "9" as they stand in memory.
const DIGITS: &[u8] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\0";
/// Bytes of memory looked at before and behind the digits.
const BEFORE: u64 = 24 << 20;
const BEHIND: u64 = 12 << 20;
const CHUNK: usize = 1 << 20;
/// Kernels have about so many symbols.
const FEWEST: u32 = 256;
const MOST: u32 = 1 << 20;
/// The kernel's half of the last 2 GiB.
const KERNEL: u64 = 0xffff_ffff_8000_0000;

/// The symbols of the kernel in `ram`, in order of their addresses; empty when no table is found.
pub fn find(ram: &Ram) -> Vec<Symbol> {
    for slot in ram.slots().iter().filter(|s| s.writable) {
        let (mut at, end) = (slot.base.0, slot.base.0 + slot.bytes);
        let mut chunk = vec![0; CHUNK + DIGITS.len()];
        while at < end {
            let bytes = chunk.len().min((end - at) as usize);
            if !ram.read(Gpa(at), &mut chunk[..bytes]) {
                break;
            }
            for hit in places(&chunk[..bytes], DIGITS) {
                let digits = at + hit as u64;
                let (from, to) = (digits.saturating_sub(BEFORE).max(slot.base.0) & !7, (digits + BEHIND).min(end));
                let mut window = vec![0; (to - from) as usize];
                let there = ram.read(Gpa(from), &mut window);
                if let Some(symbols) = there.then(|| parse(&window, (digits - from) as usize)).flatten() {
                    return symbols;
                }
            }
            at += CHUNK as u64;
        }
    }
    Vec::new()
}

/// Where `what` stands in `b`.
fn places<'a>(b: &'a [u8], what: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        while let Some(at) = b.get(from..)?.iter().position(|c| *c == what[0]).map(|n| from + n) {
            from = at + 1;
            if b[at..].starts_with(what) {
                return Some(at);
            }
        }
        None
    })
}

/// The tokens, and where the offsets behind them end.
struct Tokens<'a> {
    text: Vec<&'a [u8]>,
    /// Where the table begins, and where the offsets of the tokens end.
    begin: usize,
    end: usize,
}

fn tokens(b: &[u8], digits: usize) -> Option<Tokens<'_>> {
    // From "0" on there are 256 - 48 tokens.
    let mut at = digits;
    for _ in usize::from(b'0')..256 {
        at += b.get(at..at + 1024)?.iter().position(|c| *c == 0)? + 1;
    }
    let index = at.next_multiple_of(8);
    let offset = |n: usize| bytes::u16(b, index + 2 * n).map(usize::from);
    let begin = digits.checked_sub(offset(usize::from(b'0'))?)?;
    let mut text = Vec::with_capacity(256);
    let mut expected = begin;
    for n in 0..256 {
        if begin + offset(n)? != expected {
            return None;
        }
        let length = b.get(expected..)?.iter().position(|c| *c == 0)?;
        text.push(&b[expected..expected + length]);
        expected += length + 1;
    }
    (expected == at && begin.is_multiple_of(8)).then_some(Tokens { text, begin, end: index + 512 })
}

impl Tokens<'_> {
    /// The name at `at`: kind and text, and where the next one is.
    fn name(&self, b: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
        let first = usize::from(*b.get(at)?);
        let (length, start) =
            if first < 0x80 { (first, at + 1) } else { (first & 0x7f | usize::from(*b.get(at + 1)?) << 7, at + 2) };
        let text: Vec<u8> =
            b.get(start..start + length)?.iter().flat_map(|t| self.text[usize::from(*t)]).copied().collect();
        (length > 0).then_some((text, start + length))
    }

    /// Do plausible names begin at `at`?
    fn looks_like_names(&self, b: &[u8], mut at: usize) -> bool {
        (0..24).all(|_| {
            let Some((text, next)) = self.name(b, at) else { return false };
            at = next;
            let word = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'$');
            text.len() > 1 && b"aAbBdDrRtTvVwWnNuUeE".contains(&text[0]) && text[1..].iter().all(word)
        })
    }

    /// All names, if `count` of them begin at `at` and the markers behind them agree.
    fn names(&self, b: &[u8], begin: usize, count: u32) -> Option<Vec<Vec<u8>>> {
        let (mut at, mut names, mut marks) = (begin, Vec::new(), Vec::new());
        for n in 0..count {
            if n % 256 == 0 {
                marks.push((at - begin) as u32);
            }
            let (text, next) = self.name(b, at)?;
            names.push(text);
            at = next;
        }
        let markers = at.next_multiple_of(8);
        let same = marks.iter().enumerate().all(|(n, mark)| bytes::u32(b, markers + 4 * n) == Some(*mark));
        (same && markers < self.begin).then_some(names)
    }
}

/// The symbols, with "0" among the tokens at `digits`; the window begins at a multiple of 8.
fn parse(b: &[u8], digits: usize) -> Option<Vec<Symbol>> {
    let tokens = tokens(b, digits)?;
    let counts = (0..tokens.begin).step_by(8).rev();
    let found = counts.filter(|at| {
        let count = bytes::u32(b, *at).unwrap_or(0);
        (FEWEST..=MOST).contains(&count) && bytes::u32(b, at + 4) == Some(0) && tokens.looks_like_names(b, at + 8)
    });
    for at in found {
        let count = bytes::u32(b, at)?;
        let Some(names) = tokens.names(b, at + 8, count) else { continue };
        let table_bytes = (4 * count as usize).next_multiple_of(8);
        let before = at.checked_sub(8 + table_bytes);
        let places = before.into_iter().chain([tokens.end.next_multiple_of(8)]);
        if let Some(addresses) = places.filter_map(|p| addresses(b, p, count)).next() {
            return Some(symbols(names, &addresses));
        }
    }
    None
}

fn symbols(names: Vec<Vec<u8>>, addresses: &[u64]) -> Vec<Symbol> {
    let one = |(name, address): (Vec<u8>, &u64)| Symbol {
        address: *address,
        kind: name[0],
        name: String::from_utf8_lossy(&name[1..]).into_owned(),
    };
    names.into_iter().zip(addresses).map(one).collect()
}

/// The addresses that `count` offsets at `at` and the base behind them give, if they are in order.
fn addresses(b: &[u8], at: usize, count: u32) -> Option<Vec<u64>> {
    let base = bytes::u64(b, at + (4 * count as usize).next_multiple_of(8)).filter(|base| *base >= KERNEL)?;
    let offsets: Vec<u32> = (0..count as usize).map(|n| bytes::u32(b, at + 4 * n)).collect::<Option<_>>()?;
    let absolute = offsets.iter().any(|o| (*o as i32) < 0);
    let address = |o: u32| match o as i32 {
        _ if !absolute => base.wrapping_add(o.into()),
        n @ 0.. => n as u64,
        n => base.wrapping_sub(1).wrapping_sub(n as i64 as u64),
    };
    let all: Vec<u64> = offsets.into_iter().map(address).collect();
    all.is_sorted().then_some(all)
}

/// The symbols as /proc/kallsyms prints them, which `perf report --kallsyms` reads.
pub fn text(symbols: &[Symbol]) -> String {
    symbols.iter().map(|s| format!("{:016x} {} {}\n", s.address, char::from(s.kind), s.name)).collect()
}

#[cfg(test)]
mod tests;
