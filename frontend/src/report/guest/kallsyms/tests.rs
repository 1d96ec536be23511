//! Tables made by a small copy of what the kernel's build does, in both orders, in memory full of other things.

use super::*;
use proptest::prelude::*;

const BASE: u64 = 0xffff_ffff_8100_0000;

fn align(b: &mut Vec<u8>) {
    b.resize(b.len().next_multiple_of(8), 0);
}

/// Per-CPU symbols first, then those of the text.
fn sample(count: u64) -> Vec<Symbol> {
    let one = |n: u64| {
        let (address, kind) = if n < 16 { (n * 8, b'A') } else { (BASE + (n - 16) * 40, b"tTdr"[n as usize % 4]) };
        Symbol { address, kind, name: format!("name_{n:x}.part") }
    };
    (0..count).map(one).collect()
}

/// Token n is the byte n, but for 01h, which is "name_", and bytes that no name holds.
fn token(n: usize) -> Vec<u8> {
    match n as u8 {
        1 => b"name_".to_vec(),
        c if c.is_ascii_graphic() => vec![c],
        c => format!("x{c:x}").into_bytes(),
    }
}

fn table(symbols: &[Symbol], late: bool) -> Vec<u8> {
    let mut offsets = Vec::new();
    for s in symbols {
        let offset = if s.kind == b'A' { s.address as i32 } else { (BASE as i64 - 1 - s.address as i64) as i32 };
        offsets.extend(offset.to_le_bytes());
    }
    align(&mut offsets);
    offsets.extend(BASE.to_le_bytes());
    let mut b = if late { Vec::new() } else { offsets.clone() };
    b.extend((symbols.len() as u32).to_le_bytes());
    align(&mut b);
    let (begin, mut marks) = (b.len(), Vec::new());
    for (n, s) in symbols.iter().enumerate() {
        if n % 256 == 0 {
            marks.extend(((b.len() - begin) as u32).to_le_bytes());
        }
        let packed = [&[s.kind, 1], &s.name.as_bytes()[5..]].concat();
        b.push(packed.len() as u8);
        b.extend(packed);
    }
    align(&mut b);
    b.extend(marks);
    align(&mut b);
    let (begin, mut index) = (b.len(), Vec::new());
    for n in 0..256 {
        index.extend(((b.len() - begin) as u16).to_le_bytes());
        b.extend(token(n));
        b.push(0);
    }
    align(&mut b);
    b.extend(index);
    align(&mut b);
    if late {
        b.extend(offsets);
    }
    b
}

#[test]
fn both_orders_are_found_in_memory() {
    for late in [false, true] {
        let (symbols, ram) = (sample(1000), Ram::new(8 << 20, &[]).unwrap());
        // A decoy: digits without a table.
        assert!(ram.write(Gpa(0x2000), DIGITS));
        assert!(ram.write(Gpa(0x10_0000 - 0x800), &table(&symbols, late)), "across chunks");
        assert_eq!(find(&ram), symbols, "late: {late}");
    }
}

#[test]
fn memory_without_a_table_has_no_symbols() {
    assert_eq!(find(&Ram::new(2 << 20, &[]).unwrap()), []);
}

#[test]
fn the_text_is_that_of_proc_kallsyms() {
    let symbols = [Symbol { address: BASE, kind: b'T', name: "_text".to_owned() }];
    assert_eq!(text(&symbols), "ffffffff81000000 T _text\n");
}

proptest! {
    #[test]
    fn a_damaged_table_is_refused_or_read_and_never_panics(at in 0usize..12_000, byte: u8, late: bool) {
        let mut b = table(&sample(600), late);
        let place = at % b.len();
        b[place] = byte;
        if let Some(digits) = places(&b, DIGITS).next() {
            let _ = parse(&b, digits);
        }
    }
}
