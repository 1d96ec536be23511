//! An address space of the guest, read from outside: no accessed bit is set, no TLB filled, no fault raised.
//!
//! Source: SDM vol. 3A, 5.5 (4-level and 5-level paging). Without paging addresses are physical; 32-bit paging is not followed.

use cpu_x86::Cpu;
use emu_core::{Gpa, Ram};

const PG: u64 = 1 << 31;
const LMA: u64 = 1 << 10;
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
const LA57: u64 = 1 << 12;
/// Where the tables and pages of an entry, and of CR3, begin.
pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// How linear addresses become physical ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    /// They are the same.
    None,
    /// So many levels from here.
    Table(u64, u32),
    /// Not followed.
    Unknown,
}

/// An address space.
#[derive(Clone, Copy)]
pub struct Space<'a> {
    ram: &'a Ram,
    root: Root,
}

impl<'a> Space<'a> {
    /// The one that `cpu` uses now.
    pub fn of(cpu: &Cpu, ram: &'a Ram) -> Space<'a> {
        let paging = cpu.cr(0).unwrap_or(0) & PG != 0;
        let root = match (paging, cpu.efer() & LMA != 0) {
            (false, _) => Root::None,
            (true, true) => {
                let levels = if cpu.cr(4).unwrap_or(0) & LA57 != 0 { 5 } else { 4 };
                Root::Table(cpu.cr(3).unwrap_or(0) & ADDRESS, levels)
            }
            (true, false) => Root::Unknown,
        };
        Space { ram, root }
    }

    /// The physical address of `linear`, and how many bytes follow it in its page.
    pub fn physical(&self, linear: u64) -> Option<(u64, u64)> {
        let Root::Table(mut table, levels) = self.root else {
            return (self.root == Root::None).then_some((linear, 4096 - (linear & 0xfff)));
        };
        for level in (0..levels).rev() {
            let shift = 12 + 9 * level;
            let entry = self.ram.read_u64(Gpa(table + 8 * (linear >> shift & 511)))?;
            if entry & PRESENT == 0 {
                return None;
            }
            if level == 0 || level < 3 && entry & LARGE != 0 {
                let offset = linear & ((1 << shift) - 1);
                return Some((entry & ADDRESS & !((1 << shift) - 1) | offset, (1 << shift) - offset));
            }
            table = entry & ADDRESS;
        }
        None
    }

    /// Reads memory at `linear`; false when a part of it is not there.
    pub fn read(&self, linear: u64, to: &mut [u8]) -> bool {
        let mut done = 0;
        while done < to.len() {
            let Some((at, left)) = self.physical(linear.wrapping_add(done as u64)) else { return false };
            let bytes = (to.len() - done).min(left as usize);
            if !self.ram.read(Gpa(at), &mut to[done..done + bytes]) {
                return false;
            }
            done += bytes;
        }
        true
    }

    /// 64 bits at `linear`.
    pub fn u64(&self, linear: u64) -> Option<u64> {
        let mut b = [0; 8];
        self.read(linear, &mut b).then(|| u64::from_le_bytes(b))
    }

    /// 32 bits at `linear`.
    pub fn u32(&self, linear: u64) -> Option<u32> {
        let mut b = [0; 4];
        self.read(linear, &mut b).then(|| u32::from_le_bytes(b))
    }

    /// The text at `linear` up to a zero byte, at most `most` bytes.
    pub fn text(&self, linear: u64, most: usize) -> Option<String> {
        let mut text = Vec::new();
        for n in 0..most as u64 {
            let mut b = [0];
            if !self.read(linear.wrapping_add(n), &mut b) {
                return None;
            }
            if b[0] == 0 {
                break;
            }
            text.push(b[0]);
        }
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// Return addresses by frame pointers: the frame at `rbp` holds the caller's frame pointer and the return address. It
    /// ends where a frame is not above the last one, not aligned, or not there; at most `most`.
    pub fn frames(&self, mut rbp: u64, most: usize) -> Vec<u64> {
        /// No frame is larger.
        const FURTHEST: u64 = 1 << 20;
        let mut found = Vec::new();
        while found.len() < most && rbp != 0 && rbp.is_multiple_of(8) {
            let (Some(next), Some(back)) = (self.u64(rbp), self.u64(rbp.wrapping_add(8))) else { break };
            if back == 0 {
                break;
            }
            found.push(back);
            if next <= rbp || next - rbp > FURTHEST {
                break;
            }
            rbp = next;
        }
        found
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::Arc;

    pub fn put(ram: &Ram, at: u64, v: u64) {
        assert!(ram.write(Gpa(at), &v.to_le_bytes()));
    }

    /// Linear FFFF800000000000h + 1 MiB leads to 8000h by a 4 KiB page, + 2 MiB to 200000h by a large one.
    pub fn tables() -> (Arc<Ram>, Box<Cpu>) {
        let ram = Arc::new(Ram::new(8 << 20, &[]).unwrap());
        put(&ram, 0x1000 + 8 * 256, 0x2003);
        put(&ram, 0x2000, 0x3003);
        put(&ram, 0x3000, 0x4003);
        put(&ram, 0x3008, 0x20_0083);
        put(&ram, 0x4000 + 8 * 256, 0x8003);
        let mut cpu = Cpu::new(ram.clone(), 0);
        cpu.set_long64(cpu_x86::Long64 { cr3: 0x1000, gdt: cpu_x86::Table::default(), code: 0x10, data: 0x18 });
        (ram, cpu)
    }

    pub const BASE: u64 = 0xffff_8000_0000_0000;

    #[test]
    fn small_and_large_pages_are_followed_and_nothing_is_marked() {
        let (ram, cpu) = tables();
        let space = Space::of(&cpu, &ram);
        assert_eq!(space.physical(BASE + 0x10_0123), Some((0x8123, 0x1000 - 0x123)));
        assert_eq!(space.physical(BASE + 0x20_0010), Some((0x20_0010, (2 << 20) - 0x10)));
        assert_eq!(space.physical(BASE + 0x10_1000), None);
        assert_eq!(space.physical(0), None);
        assert_eq!(ram.read_u64(Gpa(0x4000 + 8 * 256)), Some(0x8003), "the accessed bit stays clear");
    }

    #[test]
    fn a_read_that_leaves_what_is_there_is_refused() {
        let (ram, cpu) = tables();
        let space = Space::of(&cpu, &ram);
        put(&ram, 0x8ff8, 0x1122_3344_5566_7788);
        assert_eq!(space.u64(BASE + 0x10_0ff8), Some(0x1122_3344_5566_7788));
        assert_eq!(space.u64(BASE + 0x10_0ff9), None);
    }

    #[test]
    fn frames_are_followed_upwards_to_the_end() {
        let ram = Ram::new(1 << 20, &[]).unwrap();
        let space = Space { ram: &ram, root: Root::None };
        for (at, next, back) in [(0x1000, 0x1100, 0xaa), (0x1100, 0x1200, 0xbb), (0x1200, 0, 0xcc)] {
            put(&ram, at, next);
            put(&ram, at + 8, back);
        }
        assert_eq!(space.frames(0x1000, 10), [0xaa, 0xbb, 0xcc]);
        assert_eq!(space.frames(0x1000, 2), [0xaa, 0xbb]);
        assert!(space.frames(0x1001, 10).is_empty());
        put(&ram, 0x1100, 0x1000);
        assert_eq!(space.frames(0x1000, 10), [0xaa, 0xbb], "no circle");
    }
}
