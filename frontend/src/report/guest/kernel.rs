//! What is learnt of a Linux guest's kernel while it runs: its symbols first, what stands in its own tables behind them.

use super::kallsyms::{self, Symbol};
use super::linux::Linux;
use super::modules::Module;
use super::orc::Orc;
use super::space::Space;
use crate::load::elf;
use emu_core::Ram;

/// While the symbols are not found, they are sought again when there were so many times the looks.
const PATIENCE: u64 = 16;

/// What is known so far.
#[derive(Default)]
pub struct Kernel {
    /// Is the guest a Linux, whose symbols are worth a search?
    expected: bool,
    /// How often there was a look, and from which one on it is worth another search.
    looks: u64,
    retry: u64,
    /// In order of their addresses.
    pub symbols: Vec<Symbol>,
    /// Tasks and mappings.
    pub linux: Option<Linux>,
    /// Stacks, of a kernel built for ORC.
    pub orc: Option<Orc>,
    /// "6.1.0-40-cloud-amd64".
    pub release: Option<String>,
    /// The GNU build id.
    pub build_id: Option<Vec<u8>>,
    /// [`Kernel::place`], which takes a search.
    image: Option<[u64; 3]>,
    /// Modules that code was seen in, and those that were loaded with them.
    modules: Vec<Module>,
}

impl Kernel {
    /// The guest is a Linux kernel: its symbols and tasks are sought in memory.
    pub fn expect(&mut self) {
        self.expected = true;
    }

    /// Is the guest a Linux kernel?
    pub fn is_expected(&self) -> bool {
        self.expected
    }

    /// Looks for what is not known yet, more and more seldom.
    pub fn learn(&mut self, space: &Space<'_>, ram: &Ram) {
        self.looks += 1;
        if !self.expected || self.linux.is_some() || self.looks < self.retry {
            return;
        }
        self.retry = self.looks.saturating_mul(if self.symbols.is_empty() { PATIENCE } else { 2 });
        if self.symbols.is_empty() {
            self.symbols = kallsyms::find(ram);
        }
        self.linux = Linux::find(&self.symbols, space);
        if self.linux.is_some() {
            self.orc = Orc::find(&self.symbols, space);
            self.release = release(&self.symbols, space);
            self.build_id = build_id(&self.symbols, space);
            self.image = self.place();
        }
    }

    /// Learns the modules that are loaded, with their symbols, if `ip` is in none that is known.
    pub fn learn_modules(&mut self, ip: u64, space: &Space<'_>) {
        let within = |m: &Module| ip.wrapping_sub(m.begin) < m.bytes;
        let image = self.image.is_some_and(|[begin, bytes, _]| ip.wrapping_sub(begin) < bytes);
        let Some(table) = self.linux.as_ref().and_then(|l| l.modules.as_ref()) else { return };
        if image || self.modules.iter().any(within) {
            return;
        }
        for module in table.all(space) {
            if !self.modules.contains(&module) {
                self.symbols.extend(table.symbols(&module, space));
                self.modules.push(module);
            }
        }
        self.symbols.sort_by_key(|s| s.address);
    }

    /// The modules that were loaded when code of one was seen.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// First address, bytes and `_text` of the kernel's image.
    pub fn place(&self) -> Option<[u64; 3]> {
        let text = |s: &&Symbol| s.kind.eq_ignore_ascii_case(&b't');
        let named = |name: &str| self.symbols.iter().find(|s| s.name == name).map(|s| s.address);
        let begin = named("_text").or_else(|| self.symbols.iter().find(text).map(|s| s.address))?;
        let end = named("_end").or_else(|| self.symbols.iter().rfind(text).map(|s| s.address + 4096))?;
        Some([begin, end.saturating_sub(begin), begin])
    }
}

/// "6.1.0-40-cloud-amd64" out of the kernel's banner.
fn release(symbols: &[Symbol], space: &Space<'_>) -> Option<String> {
    let banner = symbols.iter().find(|s| s.name == "linux_banner")?;
    space.text(banner.address, 200)?.split(' ').nth(2).map(str::to_owned)
}

/// The GNU build id among the kernel's notes.
fn build_id(symbols: &[Symbol], space: &Space<'_>) -> Option<Vec<u8>> {
    let address = |name: &str| symbols.iter().find(|s| s.name == name).map(|s| s.address);
    let (begin, end) = (address("__start_notes")?, address("__stop_notes")?);
    let mut b = vec![0; end.checked_sub(begin).filter(|n| *n <= 0x1_0000)? as usize];
    if space.read(begin, &mut b) { elf::build_id_of_notes(&b) } else { None }
}
