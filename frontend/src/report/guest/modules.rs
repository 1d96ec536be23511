//! Modules of a Linux guest's kernel: where their code is, and what it is called.
//!
//! Source: Linux `include/linux/module.h` (struct module: `core_layout` up to 6.3, then `mem`, whose first is the text;
//! struct mod_kallsyms), System V ABI, ch. 4 (symbol table entries of 24 bytes).

use super::btf::Btf;
use super::kallsyms::Symbol;
use super::space::Space;

/// Modules, and symbols of one, that are looked at.
const MOST_MODULES: usize = 1024;
const MOST_SYMBOLS: u64 = 1 << 16;
const LONGEST_NAME: usize = 512;
const SYMBOL_BYTES: u64 = 24;

/// A module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Where its `struct module` is.
    at: u64,
    /// Its name.
    pub name: String,
    /// First address of its code.
    pub begin: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Where the list begins, and offsets of members, as BTF gives them.
pub struct Modules {
    head: u64,
    list: u64,
    name: u64,
    base: u64,
    size: u64,
    kallsyms: u64,
    symtab: u64,
    count: u64,
    strtab: u64,
    typetab: u64,
}

impl Modules {
    /// `head` is the address of the symbol `modules`.
    pub fn find(head: u64, btf: &Btf) -> Option<Modules> {
        let of_module = |member: &str| btf.member("module", member);
        let place = |member: &str, of: &str, field: &str| Some(of_module(member)? + btf.member(of, field)?);
        let text =
            |field: &str| place("core_layout", "module_layout", field).or_else(|| place("mem", "module_memory", field));
        let symbols = |member: &str| btf.member("mod_kallsyms", member);
        Some(Modules {
            head,
            list: of_module("list")?,
            name: of_module("name")?,
            base: text("base")?,
            size: text("size")?,
            kallsyms: of_module("kallsyms")?,
            symtab: symbols("symtab")?,
            count: symbols("num_symtab")?,
            strtab: symbols("strtab")?,
            typetab: symbols("typetab")?,
        })
    }

    /// Those that are loaded.
    pub fn all(&self, space: &Space<'_>) -> Vec<Module> {
        let mut found = Vec::new();
        let mut link = space.u64(self.head);
        while let Some(at) = link.filter(|l| *l != self.head && found.len() < MOST_MODULES) {
            let module = at.wrapping_sub(self.list);
            let one = || {
                let field = |offset: u64| module.wrapping_add(offset);
                let (begin, bytes) = (space.u64(field(self.base))?, u64::from(space.u32(field(self.size))?));
                Some(Module { at: module, name: space.text(field(self.name), 56)?, begin, bytes })
            };
            let Some(one) = one() else { break };
            found.push(one);
            link = space.u64(at);
        }
        found
    }

    /// Its symbols in text, named as the kernel does in /proc/kallsyms: with the module behind a tab.
    pub fn symbols(&self, module: &Module, space: &Space<'_>) -> Vec<Symbol> {
        let table = || {
            let table = space.u64(module.at.wrapping_add(self.kallsyms))?;
            let field = |offset: u64| space.u64(table.wrapping_add(offset));
            let count = space.u32(table.wrapping_add(self.count))?;
            Some((field(self.symtab)?, field(self.strtab)?, field(self.typetab)?, u64::from(count)))
        };
        let Some((symtab, strtab, typetab, count)) = table() else { return Vec::new() };
        let one = |n: u64| {
            let at = symtab.wrapping_add(SYMBOL_BYTES * n);
            let (name, address) = (space.u32(at)?, space.u64(at.wrapping_add(8))?);
            let mut kind = [0];
            let text = space.read(typetab.wrapping_add(n), &mut kind) && kind[0].eq_ignore_ascii_case(&b't');
            let within = address.wrapping_sub(module.begin) < module.bytes;
            let name = (text && within).then(|| space.text(strtab.wrapping_add(name.into()), LONGEST_NAME))??;
            (!name.is_empty()).then(|| Symbol { address, kind: kind[0], name: format!("{name}\t[{}]", module.name) })
        };
        (0..count.min(MOST_SYMBOLS)).filter_map(one).collect()
    }
}
