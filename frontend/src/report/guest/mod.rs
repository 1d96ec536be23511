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
