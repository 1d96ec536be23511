//! Sampling from outside: the machine is shown at exactly every nth event of each processor. (Of an event that the model
//! of the core tells, one instruction may cause more than the model says it can; then the sample is late by so many.)
//!
//! A sample's address is that of the next instruction, which is what an interrupt without skid would find. Call chains
//! follow frame pointers, in user programs that keep them and in kernels that do; a Linux kernel built for ORC keeps none,
//! and its tables are followed instead, out to the user program that entered it.

use super::event::Event;
use super::guest::kallsyms::{self, Symbol};
use super::guest::linux::{Linux, Mapping, Task};
use super::guest::orc::{Orc, Start};
use super::guest::space::Space;
use super::perf_data::{CONTEXT_USER, Records, Sample, Who};
use crate::pc::{Glance, Watch, time};
use cpu_x86::{Cpu, Ring, Sampled};
use pmu_model::Now;
use std::collections::BTreeMap;

/// Callers that are kept of a sample, as perf does by default.
const MOST_CALLERS: usize = 126;
/// While the kernel's symbols are not found, they are sought again when there are so many times the samples.
const PATIENCE: u64 = 16;
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
    /// Is the guest a Linux, whose symbols are worth a search?
    linux_guest: bool,
    /// By processor: the count at which the next sample is due.
    next: Vec<u64>,
    /// What is known of the guest's kernel.
    pub symbols: Vec<Symbol>,
    linux: Option<Linux>,
    orc: Option<Orc>,
    /// When to search again, in samples.
    retry: u64,
    /// The records so far.
    pub records: Records,
    /// Samples so far.
    pub samples: u64,
    stacks: BTreeMap<Stack, u64>,
    /// Threads that perf was told of, with their names.
    told: BTreeMap<u32, String>,
    /// Mappings that perf was told of: by process and address space.
    maps: BTreeMap<(u32, u64), Vec<Mapping>>,
    /// Release and build id of the kernel.
    pub release: Option<String>,
    #[allow(missing_docs, reason = "see release")]
    pub build_id: Option<Vec<u8>>,
}

impl Sampler {
    /// A sampler of every `period`th `event`; `symbols` are those of the image, if it has any.
    pub fn new(event: Event, period: u64, processors: usize, chains: bool) -> Sampler {
        Sampler {
            event,
            period: period.max(1),
            chains,
            linux_guest: false,
            next: vec![period.max(1); processors],
            symbols: Vec::new(),
            linux: None,
            orc: None,
            retry: 1,
            records: Records::default(),
            samples: 0,
            stacks: BTreeMap::new(),
            told: BTreeMap::new(),
            maps: BTreeMap::new(),
            release: None,
            build_id: None,
        }
    }

    /// The guest is a Linux kernel: its symbols and tasks are sought in memory.
    pub fn expect_linux(&mut self) {
        self.linux_guest = true;
    }

    fn value(&self, now: Now<'_>) -> u64 {
        self.event.count(now, Ring::User).wrapping_add(self.event.count(now, Ring::Kernel))
    }

    /// Looks for the kernel's symbols, then for its structures.
    fn learn(&mut self, space: &Space<'_>, at: &Glance<'_>) {
        if !self.linux_guest || self.linux.is_some() || self.samples < self.retry {
            return;
        }
        self.retry = self.retry.saturating_mul(if self.symbols.is_empty() { PATIENCE } else { 2 });
        if self.symbols.is_empty() {
            self.symbols = kallsyms::find(at.ram);
        }
        self.linux = Linux::find(&self.symbols, space);
        if self.linux.is_some() {
            self.orc = Orc::find(&self.symbols, space);
            self.release = release(&self.symbols, space);
            self.build_id = build_id(&self.symbols, space);
        }
    }

    /// Who runs; without the guest's structures the page tables' root stands for the process.
    fn task(&self, cpu: &Cpu, space: &Space<'_>) -> Task {
        let known = self.linux.as_ref().and_then(|l| l.task(cpu, space));
        known.unwrap_or_else(|| {
            let root = if self.linux_guest { 0 } else { cpu.cr(3).unwrap_or(0) };
            let comm = if self.linux_guest { "boot".to_owned() } else { format!("cr3-{root:x}") };
            Task { pid: (root >> 12) as u32, tid: (root >> 12) as u32, comm, mm: 0 }
        })
    }

    fn sample(&mut self, at: &Glance<'_>, periods: u64) {
        let (cpu, processor) = (at.cpu(), at.processor as u32);
        let space = Space::of(cpu, at.ram);
        self.samples += 1;
        self.learn(&space, at);
        let (registers, user) = (Sampled::registers(cpu), cpu.cpl == 3);
        let task = self.task(cpu, &space);
        let time_ns = time(cpu.counts().clock).as_ns();
        let who = Who { pid: task.pid, tid: task.tid };
        self.tell(&task, (time_ns, processor));
        let callers = self.chains.then(|| self.callers(cpu, &registers, &space));
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
        let lower = |a: &u64| !self.linux_guest || a & UPPER == 0;
        if cpu.cpl == 3 || !self.linux_guest {
            return space.frames(rbp, MOST_CALLERS).into_iter().take_while(lower).collect();
        }
        let Some(orc) = &self.orc else {
            // Frame pointers, if this kernel keeps them; while its symbols are not known that is not known either.
            let frames = if self.linux.is_some() { space.frames(rbp, MOST_CALLERS) } else { Vec::new() };
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
        let Some(linux) = &self.linux else { return };
        let known = self.maps.entry((task.pid, task.mm)).or_default();
        let within = |m: &Mapping| ip.wrapping_sub(m.begin) < m.bytes;
        if task.mm == 0 || known.iter().any(within) {
            return;
        }
        for mapping in linux.mappings(task.mm, space) {
            if !known.contains(&mapping) {
                let who = Who { pid: task.pid, tid: task.pid };
                self.records.user(who, [mapping.begin, mapping.bytes, mapping.offset], &mapping.path, when);
                known.push(mapping);
            }
        }
    }

    /// Paths of all files that code of the guest's programs was mapped from.
    pub fn files(&self) -> Vec<String> {
        let all: std::collections::BTreeSet<&String> = self.maps.values().flatten().map(|m| &m.path).collect();
        all.into_iter().filter(|p| !p.starts_with("//")).cloned().collect()
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
            return symbol(&self.symbols, ip).map_or(format!("{ip:#x}"), |s| format!("{}_[k]", s.name));
        }
        let mut maps = self.maps.iter().filter(|((pid, _), _)| *pid == stack.pid).flat_map(|(_, maps)| maps);
        let place = maps.rfind(|m| ip.wrapping_sub(m.begin) < m.bytes);
        place.map_or(format!("{ip:#x}"), |m| format!("{}+{:#x}", m.path, ip - m.begin + m.offset))
    }

    /// Tells perf where the kernel's text is, once all is known: it stands first in time.
    pub fn finish(&mut self) {
        let text = |s: &&Symbol| s.kind.eq_ignore_ascii_case(&b't');
        let named = |name: &str| self.symbols.iter().find(|s| s.name == name).map(|s| s.address);
        let begin = named("_text").or_else(|| self.symbols.iter().find(text).map(|s| s.address));
        let end = named("_end").or_else(|| self.symbols.iter().rfind(text).map(|s| s.address + 4096));
        if let Some((begin, end)) = begin.zip(end) {
            self.records.kernel(begin, end.saturating_sub(begin), begin);
        }
    }
}

/// The text symbol that `ip` is in, as far as the next symbol.
fn symbol(symbols: &[Symbol], ip: u64) -> Option<&Symbol> {
    let after = symbols.partition_point(|s| s.address <= ip);
    symbols[..after].iter().rev().take(64).find(|s| matches!(s.kind, b't' | b'T' | b'w' | b'W'))
}

/// "6.1.0-40-cloud-amd64" out of the kernel's banner.
fn release(symbols: &[Symbol], space: &Space<'_>) -> Option<String> {
    let banner = symbols.iter().find(|s| s.name == "linux_banner")?;
    space.text(banner.address, 200)?.split(' ').nth(2).map(str::to_owned)
}

/// The GNU build id among the kernel's notes.
fn build_id(symbols: &[Symbol], space: &Space<'_>) -> Option<Vec<u8>> {
    use super::guest::bytes;
    const NT_GNU_BUILD_ID: u32 = 3;
    let address = |name: &str| symbols.iter().find(|s| s.name == name).map(|s| s.address);
    let (begin, end) = (address("__start_notes")?, address("__stop_notes")?);
    let mut b = vec![0; end.checked_sub(begin).filter(|n| *n <= 0x1_0000)? as usize];
    if !space.read(begin, &mut b) {
        return None;
    }
    let mut at = 0;
    loop {
        let field = |n: usize| bytes::u32(&b, at + 4 * n);
        let (name, bytes) = (field(0)? as usize, field(1)? as usize);
        let contents = at + 12 + name.next_multiple_of(4);
        if field(2)? == NT_GNU_BUILD_ID && b.get(at + 12..at + 16)? == b"GNU\0" {
            return b.get(contents..contents + bytes).map(<[u8]>::to_vec);
        }
        at = contents + bytes.next_multiple_of(4);
    }
}

impl Watch for Sampler {
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
        let value = self.value(Now { counts: &at.cpu().counts(), signals: Some(at.pmus[at.processor].told()) });
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
