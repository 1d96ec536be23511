//! The kernel modules of an image: those asked for, those that they need, and the list that busybox' modprobe reads.
//!
//! A kernel package has no `modules.dep` (it is made at installation), so it is made here from what each module says in
//! its `.modinfo` section. Source: kmod's modules.dep(5); Linux, include/linux/module.h (`depends`, `softdep`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::deb::decompressor;
use super::error::ImageError;
use super::tree::{Node, Tree};

/// Modules copied into `tree`.
#[derive(Debug, PartialEq, Eq)]
pub struct Modules {
    /// The kernel's release, as `uname -r` prints it.
    pub release: String,
    /// The modules that were asked for and exist as files, in the order asked.
    pub load: Vec<String>,
}

/// One module file of the kernel package.
struct Module {
    path: String,
    bytes: Vec<u8>,
    needs: Vec<String>,
    softly: Vec<String>,
}

/// Copies the modules `names` and what they need from the unpacked kernel package into `tree`, uncompressed, and writes
/// `modules.dep`. What the kernel has built in, or lacks, is passed over.
///
/// # Errors
/// The package holds no modules, or a module is damaged.
pub fn copy(kernel: &Tree, names: &[&str], tree: &mut Tree) -> Result<Modules, ImageError> {
    let content = |what: &str| ImageError::Content { package: "the kernel package".to_owned(), what: what.to_owned() };
    let release = kernel
        .iter()
        .find_map(|(path, _)| path.strip_prefix("usr/lib/modules/")?.split_once("/kernel/"))
        .map(|(release, _)| release.to_owned())
        .ok_or_else(|| content("kernel modules"))?;
    let top = format!("usr/lib/modules/{release}");
    let table = files(kernel, &format!("{top}/kernel/"));
    let mut chosen = BTreeMap::new();
    let mut wanted: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    while let Some(name) = wanted.pop() {
        if let (false, Some(path)) = (chosen.contains_key(&name), table.get(&name)) {
            let module = open(kernel, path).ok_or_else(|| content(&format!("readable module {name}")))?;
            wanted.extend(module.needs.iter().chain(&module.softly).cloned());
            chosen.insert(name, module);
        }
    }
    for module in chosen.values() {
        tree.put(&module.path, Node::File { mode: 0o644, bytes: module.bytes.clone() });
    }
    tree.text(&format!("{top}/modules.dep"), &dependencies(&chosen, &top));
    let load = names.iter().filter(|n| chosen.contains_key(**n)).map(|n| (*n).to_owned()).collect();
    Ok(Modules { release, load })
}

/// Module name to path, for every module file below `top`.
fn files(kernel: &Tree, top: &str) -> BTreeMap<String, String> {
    let named = |path: &str| {
        let (name, _) = path.rsplit('/').next()?.split_once(".ko")?;
        Some((name.replace('-', "_"), path.to_owned()))
    };
    kernel.iter().filter(|(path, _)| path.starts_with(top)).filter_map(|(path, _)| named(path)).collect()
}

fn open(kernel: &Tree, path: &str) -> Option<Module> {
    let (stem, ending) = path.split_once(".ko")?;
    let mut bytes = Vec::new();
    decompressor(ending, kernel.bytes(path)?).ok()?.read_to_end(&mut bytes).ok()?;
    let (needs, softly) = {
        let elf = goblin::elf::Elf::parse(&bytes).ok()?;
        let section = elf.section_headers.iter().find(|s| elf.shdr_strtab.get_at(s.sh_name) == Some(".modinfo"))?;
        let words: Vec<String> = bytes
            .get(section.file_range()?)?
            .split(|b| *b == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let list = |key: &str| words.iter().filter_map(|w| w.strip_prefix(key)).map(str::to_owned).collect::<Vec<_>>();
        (needed(&list("depends=")), soft(&list("softdep=")))
    };
    Some(Module { path: format!("{stem}.ko"), bytes, needs, softly })
}

fn needed(values: &[String]) -> Vec<String> {
    values.iter().flat_map(|v| v.split(',')).filter(|n| !n.is_empty()).map(|n| n.replace('-', "_")).collect()
}

/// The modules after `pre:`, which are to be loaded first.
fn soft(values: &[String]) -> Vec<String> {
    let before = values.iter().filter_map(|v| v.split_once("pre:")).map(|(_, list)| list);
    before
        .flat_map(|list| list.split("post:").next().unwrap_or_default().split_whitespace())
        .map(|n| n.replace('-', "_"))
        .collect()
}

/// `modules.dep`: a line for each module, its needs from the nearest to the farthest (modprobe loads from the right).
fn dependencies(chosen: &BTreeMap<String, Module>, top: &str) -> String {
    let short =
        |m: &Module| m.path.strip_prefix(top).map_or_else(|| m.path.clone(), |p| p.trim_start_matches('/').to_owned());
    let mut text = String::new();
    for (name, module) in chosen {
        let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
        closure(chosen, name, &mut seen, &mut order);
        text.push_str(&format!("{}:", short(module)));
        for need in order.iter().rev() {
            text.push_str(&format!(" {}", short(&chosen[need])));
        }
        text.push('\n');
    }
    text
}

/// Everything `name` needs, each after what it needs itself.
fn closure(chosen: &BTreeMap<String, Module>, name: &str, seen: &mut BTreeSet<String>, order: &mut Vec<String>) {
    for need in chosen.get(name).into_iter().flat_map(|m| &m.needs) {
        if chosen.contains_key(need) && seen.insert(need.clone()) {
            closure(chosen, need, seen, order);
            order.push(need.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(needs: &[&str]) -> Module {
        let needs = needs.iter().map(|n| (*n).to_owned()).collect();
        Module { path: String::new(), bytes: Vec::new(), needs, softly: Vec::new() }
    }

    #[test]
    fn needs_come_before_those_who_need_them() {
        let chosen: BTreeMap<String, Module> = [
            ("virtio_pci", module(&["virtio", "virtio_ring", "virtio_pci_modern_dev"])),
            ("virtio", module(&[])),
            ("virtio_ring", module(&["virtio"])),
            ("virtio_pci_modern_dev", module(&[])),
        ]
        .into_iter()
        .map(|(name, m)| (name.to_owned(), m))
        .collect();
        let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
        closure(&chosen, "virtio_pci", &mut seen, &mut order);
        assert_eq!(order, ["virtio", "virtio_ring", "virtio_pci_modern_dev"]);
    }

    #[test]
    fn only_the_modules_before_are_soft_needs() {
        assert_eq!(soft(&["pre: crc32c-intel sha256 post: late".to_owned()]), ["crc32c_intel", "sha256"]);
        assert_eq!(needed(&["a-b,c".to_owned(), String::new()]), ["a_b", "c"]);
    }
}
