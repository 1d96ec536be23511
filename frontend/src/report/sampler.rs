//! Sampling from outside: the machine is shown at exactly every nth event of each processor. (Of an event that the model
//! of the core tells, one instruction may cause more than the model says it can; then the sample is late by so many.)
//!
//! A sample's address is that of the next instruction, which is what an interrupt without skid would find. Call chains
//! follow frame pointers, in user programs that keep them and in kernels that do; a Linux kernel built for ORC keeps none,
//! and its tables are followed instead, out to the user program that entered it.

use super::event::Event;
use super::guest::kallsyms::Symbol;
use super::guest::kernel::Kernel;
use super::guest::linux::{Mapping, Task};
use super::guest::orc::Start;
use super::guest::space::Space;
use super::perf_data::{CONTEXT_USER, Records, Sample, Who};
use crate::load::elf::{self, Functions};
use crate::pc::{Glance, Watch, time};
use cpu_x86::{Cpu, Ring, Sampled};
use pmu_model::Now;
use std::collections::BTreeMap;

/// Callers that are kept of a sample, as perf does by default.
const MOST_CALLERS: usize = 126;
/// An address in the upper half is a kernel's.
const UPPER: u64 = 1 << 63;

/// A stack that was seen: whose, and the addresses from the sampled one outwards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stack {
    comm: String,
    pid: u32,
    user: bool,
    frames: Vec<u64>,
}

/// Takes the samples.
pub struct Sampler {
    event: Event,
    period: u64,
    chains: bool,
    /// By processor: the count at which the next sample is due.
    next: Vec<u64>,
    /// What is known of the guest's kernel.
    pub kernel: Kernel,
    /// Code of a guest that is one program without processes, for what it runs in user mode.
    code: Vec<Mapping>,
    /// What programs call their code, by path.
    functions: BTreeMap<String, Functions>,
    /// The records so far.
    pub records: Records,
    /// Samples so far.
    pub samples: u64,
    stacks: BTreeMap<Stack, u64>,
    /// Threads that perf was told of, with their names.
    told: BTreeMap<u32, String>,
    /// Mappings that perf was told of: by process and address space.
    maps: BTreeMap<(u32, u64), Vec<Mapping>>,
}

impl Sampler {
    /// A sampler of every `period`th `event`.
    pub fn new(event: Event, period: u64, processors: usize, chains: bool) -> Sampler {
        Sampler {
            event,
            period: period.max(1),
            chains,
            next: vec![period.max(1); processors],
            kernel: Kernel::default(),
            code: Vec::new(),
            functions: BTreeMap::new(),
            records: Records::default(),
            samples: 0,
            stacks: BTreeMap::new(),
            told: BTreeMap::new(),
            maps: BTreeMap::new(),
        }
    }

    /// The guest is the ELF executable `image` at `path`, and no Linux: its own symbols are taken.
    pub fn expect_program(&mut self, path: &str, image: &[u8]) {
        let place = |[begin, bytes, offset]: [u64; 3]| Mapping { begin, bytes, offset, path: path.to_owned() };
        self.code = elf::code(image).into_iter().map(place).collect();
        let functions = Functions::of(image);
        let symbol =
            |(address, _, name): &(u64, u64, String)| Symbol { address: *address, kind: b't', name: name.clone() };
        self.kernel.symbols = functions.all.iter().map(symbol).collect();
        self.functions.insert(path.to_owned(), functions);
        // By this one perf places all the others.
        if let Some(first) = self.kernel.symbols.first().map(|s| s.address) {
            self.kernel.symbols.insert(0, Symbol { address: first, kind: b'T', name: "_text".to_owned() });
        }
    }

    fn value(&self, now: Now<'_>) -> u64 {
        self.event.count(now, Ring::User).wrapping_add(self.event.count(now, Ring::Kernel))
    }

    /// Who runs; without the guest's structures the page tables' root stands for the process.
    fn task(&self, cpu: &Cpu, space: &Space<'_>) -> Task {
        let known = self.kernel.linux.as_ref().and_then(|l| l.task(cpu, space));
        known.unwrap_or_else(|| {
            let linux = self.kernel.is_expected();
            let root = if linux { 0 } else { cpu.cr(3).unwrap_or(0) };
            let comm = if linux { "boot".to_owned() } else { format!("cr3-{root:x}") };
            Task { pid: (root >> 12) as u32, tid: (root >> 12) as u32, comm, mm: 0 }
        })
    }

    fn sample(&mut self, at: &Glance<'_>, periods: u64) {
        let (cpu, processor) = (at.cpu(), at.processor as u32);
        let space = Space::of(cpu, at.ram);
        self.samples += 1;
        self.kernel.learn(&space, at.ram);
        let (registers, user) = (Sampled::registers(cpu), cpu.cpl == 3);
        let task = self.task(cpu, &space);
        let time_ns = time(cpu.counts().clock).as_ns();
        let who = Who { pid: task.pid, tid: task.tid };
        self.tell(&task, (time_ns, processor));
        let callers = self.chains.then(|| self.callers(cpu, &registers, &space));
        if !user {
            self.kernel.learn_modules(registers.ip, &space);
        }
        // Where the kernel was entered from is of interest too.
        let entered = callers.iter().flatten().skip_while(|a| **a != CONTEXT_USER).nth(1);
        if let Some(ip) = entered.copied().or(user.then_some(registers.ip)) {
            self.tell_maps(&task, ip, &space, (time_ns, processor));
        }
        let frames = std::iter::once(registers.ip).chain(callers.iter().flatten().copied()).collect();
        *self.stacks.entry(Stack { comm: task.comm, pid: task.pid, user, frames }).or_default() += periods;
        let period = self.period.saturating_mul(periods);
        self.records.sample(&Sample { ip: registers.ip, user, who, time_ns, processor, period, callers });
    }

    /// Callers, innermost first; behind [`CONTEXT_USER`] those of the user program that entered the kernel.
    fn callers(&self, cpu: &Cpu, registers: &cpu_x86::Registers, space: &Space<'_>) -> Vec<u64> {
        if !cpu.is_64bit() {
            return Vec::new();
        }
        let general = &registers.general;
        let (rdx, rsp, rbp, rdi, r10, r13) = (general[2], general[4], general[5], general[7], general[10], general[13]);
        let linux = self.kernel.is_expected();
        let lower = |a: &u64| !linux || a & UPPER == 0;
        if cpu.cpl == 3 || !linux {
            return space.frames(rbp, MOST_CALLERS).into_iter().take_while(lower).collect();
        }
        let Some(orc) = &self.kernel.orc else {
            // Frame pointers, if this kernel keeps them; while its symbols are not known that is not known either.
            let frames = if self.kernel.linux.is_some() { space.frames(rbp, MOST_CALLERS) } else { Vec::new() };
            return frames.into_iter().take_while(|a| a & UPPER != 0).collect();
        };
        let start = Start { ip: registers.ip, sp: rsp, bp: rbp, others: [rdx, rdi, r10, r13] };
        let mut found = orc.unwind(&start, space, MOST_CALLERS);
        if let Some((ip, bp)) = found.user {
            found.kernel.extend([CONTEXT_USER, ip]);
            found.kernel.extend(space.frames(bp, MOST_CALLERS).into_iter().take_while(lower));
        }
        found.kernel
    }

    /// Tells perf the thread's name when it is new.
    fn tell(&mut self, task: &Task, (time_ns, processor): (u64, u32)) {
        if self.told.get(&task.tid) != Some(&task.comm) {
            self.told.insert(task.tid, task.comm.clone());
            self.records.comm(Who { pid: task.pid, tid: task.tid }, &task.comm, time_ns, processor);
        }
    }

    /// Tells perf the mappings of the process when `ip` is in none that it knows.
    fn tell_maps(&mut self, task: &Task, ip: u64, space: &Space<'_>, when: (u64, u32)) {
        let known = self.maps.entry((task.pid, task.mm)).or_default();
        let within = |m: &Mapping| ip.wrapping_sub(m.begin) < m.bytes;
        if known.iter().any(within) {
            return;
        }
        let mappings = match &self.kernel.linux {
            Some(linux) if task.mm != 0 => linux.mappings(task.mm, space),
            _ => self.code.clone(),
        };
        for mapping in mappings {
            if !known.contains(&mapping) {
                let who = Who { pid: task.pid, tid: task.pid };
                self.records.user(who, [mapping.begin, mapping.bytes, mapping.offset], &mapping.path, when);
                known.push(mapping);
            }
        }
    }

    /// Paths of all files in the guest that code of the guest's programs was mapped from.
    pub fn files(&self) -> Vec<String> {
        let all: std::collections::BTreeSet<&String> = self.maps.values().flatten().map(|m| &m.path).collect();
        all.into_iter().filter(|p| !p.starts_with("//") && self.code.is_empty()).cloned().collect()
    }

    /// The file at `path` in the guest is this one: its symbols are taken.
    pub fn learn_file(&mut self, path: &str, contents: &[u8]) {
        self.functions.insert(path.to_owned(), Functions::of(contents));
    }

    /// The stacks, a line each: name of the program, frames from the outermost in, how many periods.
    pub fn folded(&self) -> String {
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        for (stack, count) in &self.stacks {
            let kernel = stack.frames.iter().position(|ip| *ip == CONTEXT_USER);
            let kernel = kernel.unwrap_or(if stack.user { 0 } else { stack.frames.len() });
            let frames = stack.frames.iter().enumerate().rev().filter(|(_, ip)| **ip != CONTEXT_USER);
            let frames = frames.map(|(n, ip)| self.frame(stack, n >= kernel, *ip));
            let line = std::iter::once(stack.comm.clone()).chain(frames).collect::<Vec<_>>().join(";");
            *lines.entry(line).or_default() += count;
        }
        lines.iter().map(|(line, count)| format!("{line} {count}\n")).collect()
    }

    /// A frame's name: the kernel's symbol, or a place in a file, or the address.
    fn frame(&self, stack: &Stack, user: bool, ip: u64) -> String {
        if !user {
            return symbol(&self.kernel.symbols, ip)
                .map_or(format!("{ip:#x}"), |s| format!("{}_[k]", s.name.split('\t').next().unwrap_or("")));
        }
        let mut maps = self.maps.iter().filter(|((pid, _), _)| *pid == stack.pid).flat_map(|(_, maps)| maps);
        let place = maps.rfind(|m| ip.wrapping_sub(m.begin) < m.bytes);
        let Some(m) = place else { return format!("{ip:#x}") };
        let offset = ip - m.begin + m.offset;
        let name = self.functions.get(&m.path).and_then(|f| f.at(offset));
        name.map_or_else(|| format!("{}+{offset:#x}", m.path), str::to_owned)
    }

    /// Tells perf where the text of the kernel and of its modules is, once all is known: it stands first in time, for perf
    /// reads all of the kernel's symbols with its first sample, and drops those of modules that it does not know then.
    pub fn finish(&mut self) {
        if let Some([begin, bytes, text]) = self.kernel.place() {
            self.records.kernel(begin, bytes, text);
            for module in self.kernel.modules() {
                self.records.module(&module.name, [module.begin, module.bytes]);
            }
        }
    }
}

/// The text symbol that `ip` is in, as far as the next symbol.
fn symbol(symbols: &[Symbol], ip: u64) -> Option<&Symbol> {
    let after = symbols.partition_point(|s| s.address <= ip);
    symbols[..after].iter().rev().take(64).find(|s| matches!(s.kind, b't' | b'T' | b'w' | b'W'))
}

impl Watch for Sampler {
    fn takes_signals(&self) -> bool {
        self.event.is_observed()
    }

    fn deadline(&mut self, processor: usize, now: Now<'_>, ring: Ring) -> u64 {
        if !self.event.counts_in(ring) {
            return u64::MAX;
        }
        self.next[processor].saturating_sub(self.value(now)).div_ceil(self.event.most_per_instruction())
    }

    fn is_due(&mut self, processor: usize, now: Now<'_>) -> bool {
        self.value(now) >= self.next[processor]
    }

    fn look(&mut self, at: &Glance<'_>) {
        let value = self.value(Now { counts: &at.cpu().counts(), signals: Some(&at.signals[at.processor]) });
        let next = &mut self.next[at.processor];
        if value < *next {
            return;
        }
        let periods = (value - *next) / self.period + 1;
        *next = next.saturating_add(self.period.saturating_mul(periods));
        self.sample(at, periods);
    }

    fn mark(&mut self, _: usize, _: u32) {}
}
