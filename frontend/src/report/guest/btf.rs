//! BTF: the kernel's description of its own structures, as far as the place of a member goes.
//!
//! Source: Linux `Documentation/bpf/btf.rst`.

use crate::load::bytes;

/// A type's record: name, kind and count, size or type.
const HEAD: usize = 12;
const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
/// Types through which a member's type is sought: typedef, volatile, const, restrict, type tag.
const THROUGH: [u32; 5] = [8, 9, 10, 11, 18];
/// Structures within structures go no deeper.
const DEEPEST: u32 = 12;

/// A parsed BTF blob.
pub struct Btf {
    bytes: Vec<u8>,
    /// Where each type's record is; number 0 is void.
    types: Vec<usize>,
    strings: usize,
}

/// Bytes behind the head of a type of `kind` with `count` parts; `None` for a kind that is not known.
fn tail(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        1 | 14 | 17 => 4,
        3 => 12,
        4 | 5 | 15 | 19 => 12 * count,
        6 | 13 => 8 * count,
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

impl Btf {
    /// Reads the headers of all types.
    pub fn parse(bytes: Vec<u8>) -> Option<Btf> {
        let field = |n: usize| bytes::u32(&bytes, n).map(|v| v as usize);
        if bytes::u16(&bytes, 0)? != MAGIC {
            return None;
        }
        let header = field(4)?;
        let (mut at, end) = (header.checked_add(field(8)?)?, header + field(8)? + field(12)?);
        let strings = header.checked_add(field(16)?)?;
        let mut types = vec![0];
        while at < end {
            let info = bytes::u32(&bytes, at + 4)?;
            types.push(at);
            at += HEAD + tail(info >> 24 & 31, (info & 0xffff) as usize)?;
        }
        Some(Btf { bytes, types, strings })
    }

    fn text(&self, offset: u32) -> Option<&[u8]> {
        let all = self.bytes.get(self.strings.checked_add(offset as usize)?..)?;
        all.split(|c| *c == 0).next()
    }

    fn kind(&self, at: usize) -> Option<u32> {
        bytes::u32(&self.bytes, at + 4).map(|info| info >> 24 & 31)
    }

    /// The offset in bytes of a member of structure `name`: also one of a structure or union without a name within it.
    pub fn member(&self, name: &str, member: &str) -> Option<u64> {
        let is = |at: &&usize| {
            self.kind(**at) == Some(STRUCT)
                && bytes::u32(&self.bytes, **at).and_then(|n| self.text(n)) == Some(name.as_bytes())
        };
        let at = self.types[1..].iter().find(is)?;
        self.member_of(*at, member.as_bytes(), DEEPEST)
    }

    fn member_of(&self, at: usize, member: &[u8], deep: u32) -> Option<u64> {
        let info = bytes::u32(&self.bytes, at + 4)?;
        for n in 0..(info & 0xffff) as usize {
            let entry = at + HEAD + 12 * n;
            let field = |k: usize| bytes::u32(&self.bytes, entry + 4 * k);
            let (name, of, place) = (self.text(field(0)?)?, field(1)?, field(2)?);
            let bits = if info >> 31 != 0 { place & 0xff_ffff } else { place };
            if name == member {
                return Some(u64::from(bits / 8));
            }
            if name.is_empty() && deep > 0 {
                let within = self.structure(of).and_then(|at| self.member_of(at, member, deep - 1));
                if let Some(within) = within {
                    return Some(u64::from(bits / 8) + within);
                }
            }
        }
        None
    }

    /// The structure or union that type `n` is, through qualifiers.
    fn structure(&self, mut n: u32) -> Option<usize> {
        for _ in 0..DEEPEST {
            let at = *self.types.get(n as usize).filter(|at| **at != 0)?;
            let kind = self.kind(at)?;
            if kind == STRUCT || kind == UNION {
                return Some(at);
            }
            n = bytes::u32(&self.bytes, at + 8).filter(|_| THROUGH.contains(&kind))?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// struct task { int pid; union { long a; struct { int b; const struct mm *mm; }; }; }
    fn blob() -> Vec<u8> {
        let strings = b"\0int\0task\0pid\0a\0b\0mm\0";
        let at = |s: &str| strings.windows(s.len()).position(|w| w == s.as_bytes()).unwrap() as u32;
        let words = |w: &[u32]| w.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        let kind = |k: u32, n: u32| k << 24 | n;
        let types = [
            words(&[at("int\0"), kind(1, 0), 4, 0x20]),
            words(&[0, kind(STRUCT, 2), 16, at("b\0"), 1, 0, at("mm\0"), 3, 64]),
            words(&[0, kind(2, 0), 4]),
            words(&[0, kind(10, 0), 2]),
            words(&[0, kind(UNION, 2), 16, at("a\0"), 1, 0, 0, 4, 0]),
            words(&[at("task\0"), kind(STRUCT, 2), 24, at("pid\0"), 1, 0, 0, 5, 64]),
        ]
        .concat();
        let (types_len, strings_len) = (types.len() as u32, strings.len() as u32);
        let mut b = vec![0x9f, 0xeb, 1, 0];
        b.extend(words(&[24, 0, types_len, types_len, strings_len]));
        b.extend(types);
        b.extend(strings);
        b
    }

    #[test]
    fn members_are_found_also_in_what_has_no_name() {
        let btf = Btf::parse(blob()).unwrap();
        assert_eq!(btf.member("task", "pid"), Some(0));
        assert_eq!(btf.member("task", "a"), Some(8));
        assert_eq!(btf.member("task", "b"), Some(8));
        assert_eq!(btf.member("task", "mm"), Some(16));
        assert_eq!((btf.member("task", "nothing"), btf.member("other", "a")), (None, None));
    }

    proptest! {
        #[test]
        fn damage_is_no_panic(at in 0usize..220, byte: u8) {
            let mut b = blob();
            let place = at % b.len();
            b[place] = byte;
            let _ = Btf::parse(b).and_then(|btf| btf.member("task", "mm"));
        }
    }
}
