//! A Linux guest seen from outside: which task runs, what it is called, which files its code is mapped from.
//!
//! The kernel's symbols and its BTF give every address and offset; where one is missing or a pointer leads nowhere, the
//! answer is that it is not known. Source: Linux `arch/x86/include/asm/current.h` (per-CPU `current_task`, or `pcpu_hot`
//! in 6.2 to 6.14), `include/linux/maple_tree.h` and `lib/maple_tree.c` (6.1 and later keep mappings in a maple tree),
//! `include/linux/mm.h` (VM_EXEC).

use super::btf::Btf;
use super::kallsyms::Symbol;
use super::modules::Modules;
use super::space::Space;
use cpu_x86::{Cpu, Seg};

/// Addresses with this bit are the kernel's.
const KERNEL: u64 = 1 << 63;
const COMM_BYTES: usize = 16;
const VM_EXEC: u64 = 4;
/// `task_struct.flags`: a thread of the kernel, which runs in whatever address space it finds.
const PF_KTHREAD: u32 = 0x0020_0000;
/// No BTF is larger.
const MOST_BTF: u64 = 64 << 20;
/// Nodes of a maple tree that are looked at, and names of a path.
const MOST_NODES: usize = 4096;
const DEEPEST: usize = 64;

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Task {
    /// Process (Linux calls it tgid).
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// Its `mm_struct`; 0 for a kernel thread.
    pub mm: u64,
}

/// A mapping with code in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub begin: u64,
    /// Bytes.
    pub bytes: u64,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Path in the guest, or `//anon`.
    pub path: String,
}

/// Offsets of members, as BTF gives them.
struct Offsets {
    flags: u64,
    leader: u64,
    active_mm: u64,
    pgd: u64,
    /// Kernels without memory control groups have none.
    owner: Option<u64>,
    pid: u64,
    tgid: u64,
    comm: u64,
    mm: u64,
    mt_root: u64,
    vm_start: u64,
    vm_end: u64,
    vm_pgoff: u64,
    vm_flags: u64,
    vm_file: u64,
    dentry: u64,
    d_parent: u64,
    d_name: u64,
}

/// What is known of the guest's kernel.
pub struct Linux {
    /// Offset of the pointer to the running task in the per-CPU area.
    current: u64,
    /// `init_mm`, the address space of nobody, and the pointer to the one through which the kernel patches its text.
    init_mm: Option<u64>,
    poking_mm: Option<u64>,
    /// The kernel's modules, where it has any.
    pub modules: Option<Modules>,
    at: Offsets,
}

impl Linux {
    /// From the symbols and the BTF in memory; `None` while (or where) they are not there.
    pub fn find(symbols: &[Symbol], space: &Space<'_>) -> Option<Linux> {
        let address = |name: &str| symbols.iter().find(|s| s.name == name).map(|s| s.address);
        let (begin, end) = (address("__start_BTF")?, address("__stop_BTF")?);
        let bytes = end.checked_sub(begin).filter(|n| *n <= MOST_BTF)?;
        let mut blob = vec![0; bytes as usize];
        if !space.read(begin, &mut blob) {
            return None;
        }
        let btf = Btf::parse(blob)?;
        let hot = || Some(address("pcpu_hot")? + btf.member("pcpu_hot", "current_task")?);
        let current = address("current_task").or_else(hot)?;
        let modules = address("modules").and_then(|head| Modules::find(head, &btf));
        let (init_mm, poking_mm) = (address("init_mm"), address("poking_mm"));
        Some(Linux { current, init_mm, poking_mm, modules, at: Offsets::of(&btf)? })
    }

    /// The address of the `task_struct` that runs on `cpu`.
    fn current(&self, cpu: &Cpu, space: &Space<'_>) -> Option<u64> {
        // In the kernel GS is its own; from user mode it waits in KERNEL_GS_BASE. Between, either may be.
        let bases = [cpu.segment(Seg::Gs).base, cpu.msr.kernel_gs_base];
        let per_cpu = bases.into_iter().find(|b| b & KERNEL != 0)?;
        space.u64(per_cpu.wrapping_add(self.current)).filter(|t| t & KERNEL != 0)
    }

    /// The physical address of the page tables of `mm`.
    fn root(&self, mm: u64, space: &Space<'_>) -> Option<u64> {
        space.physical(space.u64(mm.wrapping_add(self.at.pgd))?).map(|(at, _)| at)
    }

    /// Number and name of the process whose page tables are at `root`, which are those in force on `cpu`, or with `left`
    /// those that its last instruction left. The kernel's own have number 0.
    ///
    /// Linux switches the tables before it switches the task, so the one that left them is still the current one; in
    /// `exec` it is the same. A thread of the kernel borrows those that it finds, whose owner is then asked for.
    /// Source: Linux `kernel/sched/core.c` (context_switch), `fs/exec.c` (exec_mmap).
    pub fn owner(&self, cpu: &Cpu, space: &Space<'_>, root: u64, left: bool) -> Option<(u32, String)> {
        let kernels = [(self.init_mm, "kernel"), (self.poking_mm.and_then(|p| space.u64(p)), "kernel-patching")];
        let is = |mm: &Option<u64>| mm.is_some_and(|mm| self.root(mm, space) == Some(root));
        if let Some((_, name)) = kernels.iter().find(|(mm, _)| is(mm)) {
            return Some((0, (*name).to_owned()));
        }
        let task = self.current(cpu, space)?;
        let borrowed = space.u32(task.wrapping_add(self.at.flags))? & PF_KTHREAD != 0;
        let mm = space.u64(task.wrapping_add(self.at.active_mm));
        if (borrowed || !left) && !is(&mm) {
            return None;
        }
        let pointer = |at: u64| space.u64(at).filter(|p| p & KERNEL != 0);
        let process = if borrowed { pointer(mm?.wrapping_add(self.at.owner?))? } else { task };
        let leader = pointer(process.wrapping_add(self.at.leader))?;
        let pid = space.u32(leader.wrapping_add(self.at.tgid))?;
        Some((pid, space.text(leader.wrapping_add(self.at.comm), COMM_BYTES)?))
    }

    /// The task that runs on `cpu`.
    pub fn task(&self, cpu: &Cpu, space: &Space<'_>) -> Option<Task> {
        let task = self.current(cpu, space)?;
        let field = |offset: u64| task.wrapping_add(offset);
        Some(Task {
            pid: space.u32(field(self.at.tgid))?,
            tid: space.u32(field(self.at.pid))?,
            comm: space.text(field(self.at.comm), COMM_BYTES)?,
            mm: space.u64(field(self.at.mm))?,
        })
    }

    /// The mappings of `mm` that hold code, in order of their addresses.
    pub fn mappings(&self, mm: u64, space: &Space<'_>) -> Vec<Mapping> {
        let mut found = Vec::new();
        if let Some(root) = space.u64(mm.wrapping_add(self.at.mt_root)) {
            let mut walk = Walk { linux: self, space, nodes: 0, found: &mut found };
            // The root is marked as a node, unless the tree holds a single entry.
            if root & 3 == 2 { walk.node(root, 0, u64::MAX) } else { walk.entry(root, 0, u64::MAX) }
        }
        found.sort_by_key(|m: &Mapping| m.begin);
        found
    }

    /// The mapping at `vma`, if it is one, covers what the tree says, and holds code.
    fn mapping(&self, vma: u64, first: u64, last: u64, space: &Space<'_>) -> Option<Mapping> {
        let field = |offset: u64| space.u64(vma.wrapping_add(offset));
        let (begin, end) = (field(self.at.vm_start)?, field(self.at.vm_end)?);
        let same = begin == first && end.checked_sub(1) == Some(last);
        if vma & KERNEL == 0 || !same || field(self.at.vm_flags)? & VM_EXEC == 0 {
            return None;
        }
        let path = match field(self.at.vm_file)? {
            0 => "//anon".to_owned(),
            file => self.path(file, space)?,
        };
        Some(Mapping { begin, bytes: end - begin, offset: field(self.at.vm_pgoff)?.wrapping_mul(4096), path })
    }

    /// The path of `file` within its file system.
    fn path(&self, file: u64, space: &Space<'_>) -> Option<String> {
        let mut dentry = space.u64(file.wrapping_add(self.at.dentry))?;
        let mut path = String::new();
        for _ in 0..DEEPEST {
            let parent = space.u64(dentry.wrapping_add(self.at.d_parent))?;
            if parent == dentry {
                break;
            }
            // struct qstr: hash and length, then the pointer to the name.
            let name = space.u64(dentry.wrapping_add(self.at.d_name + 8))?;
            path = format!("/{}{path}", space.text(name, 255)?);
            dentry = parent;
        }
        Some(path)
    }
}

/// A way through a maple tree.
struct Walk<'a> {
    linux: &'a Linux,
    space: &'a Space<'a>,
    nodes: usize,
    found: &'a mut Vec<Mapping>,
}

impl Walk<'_> {
    /// A leaf's entry, which covers `first` to `last`.
    fn entry(&mut self, vma: u64, first: u64, last: u64) {
        self.found.extend(self.linux.mapping(vma, first, last, self.space));
    }

    /// A node, which covers `first` to `last`. Its kind is in bits 6:3 of the pointer: 1 leaf and 2 range (16 slots), 3
    /// range with gaps (10 slots). It holds its parent, a pivot less than slots, and the slots.
    fn node(&mut self, pointer: u64, first: u64, last: u64) {
        let (node, kind) = (pointer & !0xff, pointer >> 3 & 15);
        let slots = match kind {
            1 | 2 => 16,
            3 => 10,
            _ => return,
        };
        self.nodes += 1;
        let mut from = first;
        for n in 0..slots {
            let pivot = if n + 1 < slots { self.space.u64(node.wrapping_add(8 + 8 * n)) } else { Some(last) };
            let Some(pivot) = pivot.filter(|_| self.nodes < MOST_NODES) else { return };
            // The last slot in use has no pivot but 0.
            let to = if pivot == 0 && n > 0 { last } else { pivot };
            let slot = self.space.u64(node.wrapping_add(8 * slots + 8 * n)).unwrap_or(0);
            match kind {
                _ if slot == 0 || to < from => {}
                1 => self.entry(slot, from, to),
                _ => self.node(slot, from, to),
            }
            if to >= last {
                return;
            }
            from = to + 1;
        }
    }
}

impl Offsets {
    fn of(btf: &Btf) -> Option<Offsets> {
        let path_dentry = btf.member("path", "dentry")?;
        Some(Offsets {
            flags: btf.member("task_struct", "flags")?,
            leader: btf.member("task_struct", "group_leader")?,
            active_mm: btf.member("task_struct", "active_mm")?,
            pgd: btf.member("mm_struct", "pgd")?,
            owner: btf.member("mm_struct", "owner"),
            pid: btf.member("task_struct", "pid")?,
            tgid: btf.member("task_struct", "tgid")?,
            comm: btf.member("task_struct", "comm")?,
            mm: btf.member("task_struct", "mm")?,
            mt_root: btf.member("mm_struct", "mm_mt")? + btf.member("maple_tree", "ma_root")?,
            vm_start: btf.member("vm_area_struct", "vm_start")?,
            vm_end: btf.member("vm_area_struct", "vm_end")?,
            vm_pgoff: btf.member("vm_area_struct", "vm_pgoff")?,
            vm_flags: btf.member("vm_area_struct", "vm_flags")?,
            vm_file: btf.member("vm_area_struct", "vm_file")?,
            dentry: btf.member("file", "f_path")? + path_dentry,
            d_parent: btf.member("dentry", "d_parent")?,
            d_name: btf.member("dentry", "d_name")?,
        })
    }
}
