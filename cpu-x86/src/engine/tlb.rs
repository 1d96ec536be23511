//! The software TLB: from a linear page to host memory in one compare, and its contexts.
//!
//! A context holds what one kind of access may touch, so a hit needs no rights check: the supervisor's own pages
//! (shared by all address spaces while they are global), and for each address space its user pages as seen from
//! CPL 3 and as seen by a supervisor that may touch them. Switching address space or privilege switches a pointer.
//!
//! An entry hits when `va - tag <= 4096 - size`: that one unsigned compare covers the tag and the page's end. An empty
//! entry has a tag whose index bits differ from its own, so nothing reaches it.

/// Entries of a context; a power of two.
pub(crate) const ENTRIES: usize = 512;
/// Address spaces kept apart at a time.
pub(crate) const SPACES: usize = 8;
/// Fills remembered for a cheap flush.
const LOG: usize = 96;

/// One translation. `read` and `write` are tags: the linear page, or unreachable.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Entry {
    pub read: u64,
    pub write: u64,
    /// Host address minus linear address.
    pub addend: u64,
    /// Host page (offset in the mapping / 4096) << 2 | global << 1 | piece of a large page.
    pub page: u64,
}

impl Entry {
    /// The host page it leads to: offset in the mapping / 4096.
    #[inline(always)]
    pub const fn host_page(&self) -> u64 {
        self.page >> 2
    }
}

const LARGE: u64 = 1;
const GLOBAL: u64 = 2;

/// The index of linear address `at`.
#[inline(always)]
pub(crate) const fn index(at: u64) -> usize {
    (at >> 12) as usize & (ENTRIES - 1)
}

/// The tag that nothing reaches at `index`.
const fn unreachable_tag(index: usize) -> u64 {
    1 << 63 | (index as u64 ^ 1) << 12
}

const fn empty(index: usize) -> Entry {
    Entry { read: unreachable_tag(index), write: unreachable_tag(index), addend: 0, page: u64::MAX }
}

/// What to remember of a translation.
#[derive(Clone, Copy)]
pub(crate) struct Fill {
    pub at: u64,
    pub host: u64,
    pub page: usize,
    pub writable: bool,
    pub global: bool,
    pub large: bool,
}

/// The translations that one kind of access may use.
pub(crate) struct Context {
    pub entries: Box<[Entry; ENTRIES]>,
    log: [u16; LOG],
    logged: usize,
    /// Which 2 MiB regions (hashed) hold pieces of large pages.
    large: u64,
    non_global: bool,
}

impl Context {
    pub fn new() -> Context {
        let mut c = Context {
            entries: Box::new([empty(0); ENTRIES]),
            log: [0; LOG],
            logged: LOG + 1,
            large: 0,
            non_global: true,
        };
        c.flush();
        c
    }

    /// Forgets everything.
    pub fn flush(&mut self) {
        if self.logged <= LOG {
            for &i in &self.log[..self.logged] {
                self.entries[i as usize] = empty(i as usize);
            }
        } else {
            for (i, e) in self.entries.iter_mut().enumerate() {
                *e = empty(i);
            }
        }
        (self.logged, self.large, self.non_global) = (0, 0, false);
    }

    /// Forgets what is not global.
    pub fn flush_non_global(&mut self) {
        if !self.non_global {
            return;
        }
        for (i, e) in self.entries.iter_mut().enumerate() {
            if e.page & GLOBAL == 0 {
                *e = empty(i);
            }
        }
        self.non_global = false;
    }

    /// Forgets the page that holds linear address `at`, all pieces of it if it is large.
    pub fn flush_page(&mut self, at: u64) {
        let i = index(at);
        self.entries[i] = empty(i);
        if self.large != 0 {
            // A 1 GiB page has pieces in many 2 MiB regions; without its size at hand all large pieces go.
            if self.large & large_bit(at) != 0 {
                for (i, e) in self.entries.iter_mut().enumerate() {
                    if e.page != u64::MAX && e.page & LARGE != 0 {
                        *e = empty(i);
                    }
                }
                self.large = 0;
            }
        }
    }

    /// Remembers a translation.
    pub fn fill(&mut self, f: Fill) {
        let i = index(f.at);
        let tag = f.at & !0xfff;
        let write = if f.writable { tag } else { unreachable_tag(i) };
        let page = (f.page as u64) << 2 | if f.global { GLOBAL } else { 0 } | u64::from(f.large);
        self.entries[i] = Entry { read: tag, write, addend: f.host.wrapping_sub(f.at), page };
        if self.logged < LOG {
            self.log[self.logged] = i as u16;
        }
        self.logged = (self.logged + 1).min(LOG + 1);
        self.non_global |= !f.global;
        if f.large {
            self.large |= large_bit(f.at);
        }
    }

    /// Takes away write access to host page `page`, which now holds decoded code.
    pub fn protect(&mut self, page: usize) {
        for (i, e) in self.entries.iter_mut().enumerate() {
            if e.host_page() == page as u64 {
                e.write = unreachable_tag(i);
            }
        }
    }
}

/// The filter bit of a large page's piece. Regions of one 1 GiB page share a bit: INVLPG of any address of a large page
/// must drop all its pieces.
const fn large_bit(at: u64) -> u64 {
    1 << ((at >> 30).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(c: &Context, at: u64, bytes: u64) -> bool {
        at.wrapping_sub(c.entries[index(at)].read) <= 4096 - bytes
    }

    #[test]
    fn an_empty_context_hits_nothing_not_even_where_its_tags_point() {
        let c = Context::new();
        for page in 0..2 * ENTRIES as u64 {
            for base in [0, 1 << 63, 0xffff_8000_0000_0000] {
                for off in [0, 1, 4095] {
                    assert!(!hits(&c, base + page * 4096 + off, 1));
                }
            }
        }
    }

    #[test]
    fn a_filled_page_hits_to_its_last_byte_and_no_further() {
        let mut c = Context::new();
        let f = Fill { at: 0x7000, host: 0, page: 7, writable: false, global: false, large: false };
        c.fill(f);
        assert!(hits(&c, 0x7000, 8) && hits(&c, 0x7ff8, 8) && !hits(&c, 0x7ff9, 8) && !hits(&c, 0x6fff, 1));
        assert!(0x7000u64.wrapping_sub(c.entries[index(0x7000)].write) > 4095);
        c.flush_page(0x7123);
        assert!(!hits(&c, 0x7000, 1));
    }

    #[test]
    fn dropping_one_piece_of_a_large_page_drops_them_all() {
        let mut c = Context::new();
        for at in [0x20_0000, 0x20_1000, 0x3f_f000] {
            c.fill(Fill { at, host: 0, page: at as usize >> 12, writable: true, global: true, large: true });
        }
        c.flush_page(0x20_1000);
        assert!(!hits(&c, 0x20_0000, 1) && !hits(&c, 0x3f_f000, 1));
    }
}
