//! What can be learnt of a guest from outside without its help: memory by linear address, the kernel's symbols, who runs.
//!
//! `space` translates without any effect on the guest, `kallsyms` finds the symbol table in memory, `btf` reads the kernel's
//! own description of its structures, `orc` follows its stacks, `linux` puts symbols and structures together to name the
//! running task and its mappings, `modules` those of the kernel, `kernel` learns all that while the guest boots.

pub mod btf;
pub mod kallsyms;
pub mod kernel;
pub mod linux;
pub mod modules;
pub mod orc;
pub mod space;

/// Little-endian integers out of a byte string; `None` beyond its end.
pub mod bytes {
    /// 16 bits at `at`.
    pub fn u16(b: &[u8], at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(b.get(at..at.checked_add(2)?)?.try_into().ok()?))
    }
    /// 32 bits at `at`.
    pub fn u32(b: &[u8], at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(b.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }
    /// 64 bits at `at`.
    pub fn u64(b: &[u8], at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(b.get(at..at.checked_add(8)?)?.try_into().ok()?))
    }
}
