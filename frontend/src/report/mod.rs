//! Figures as text: the summary at the end of a run and the counters on demand; `event`, `meter`, `stat` and `json` are
//! `unhalted stat`, `about` is what every report says of the machine.

mod about;
pub mod event;
pub mod explain;
pub mod guest;
pub mod initrd;
pub mod json;
pub mod meter;
pub mod perf_data;
pub mod processes;
pub mod sampler;
pub mod stat;

pub use about::{About, FileAbout};

use crate::pc::time;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use cpu_x86::{Counts, Cpu, Seg};
use std::time::Duration;

/// `n` with thousands separated by commas.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let first = digits.len() % 3;
    let mut s = digits[..first].to_owned();
    for chunk in digits.as_bytes()[first..].chunks(3) {
        if !s.is_empty() {
            s.push(',');
        }
        s.extend(chunk.iter().map(|b| char::from(*b)));
    }
    s
}

/// All instructions retired by all processors.
pub fn instructions(counts: &[Counts]) -> u64 {
    counts.iter().map(|c| c.kernel.instructions + c.user.instructions).sum()
}

/// The exact counts, a row a processor.
pub fn counters(counts: &[Counts]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["exact counts", "instructions:u", "instructions:k", "branches:u", "branches:k", "cycles"]);
    let mut row = |name: String, all: &[Counts]| {
        let sum = |f: fn(&Counts) -> u64| grouped(all.iter().map(f).sum());
        table.add_row([
            name,
            sum(|c| c.user.instructions),
            sum(|c| c.kernel.instructions),
            sum(|c| c.user.branches),
            sum(|c| c.kernel.branches),
            sum(|c| c.cycles),
        ]);
    };
    for (n, one) in counts.iter().enumerate() {
        row(format!("vCPU {n}"), std::slice::from_ref(one));
    }
    if counts.len() > 1 {
        row("all".to_owned(), counts);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// The summary at the end of a run: counts, guest time, host time, speed.
pub fn summary(counts: &[Counts], host: Duration) -> String {
    let guest = time(counts.iter().map(|c| c.clock).max().unwrap_or(0)).as_ns() as f64 / 1e9;
    let all = instructions(counts);
    let seconds = host.as_secs_f64();
    let mips = if seconds > 0.0 { all as f64 / seconds / 1e6 } else { 0.0 };
    let table = counters(counts);
    format!(
        "{table}\n {} instructions in {seconds:.3} s of host time ({mips:.1} MIPS), {guest:.6} s of guest time",
        grouped(all)
    )
}

/// The general registers, RIP, RFLAGS, CS and SS of a processor.
pub fn registers(cpu: &Cpu) -> String {
    const NAMES: [&str; 16] =
        ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
    let mut text = String::new();
    for (n, name) in NAMES.iter().enumerate() {
        let end = if n % 4 == 3 { '\n' } else { ' ' };
        text.push_str(&format!(" {name:>3}={:016x}{end}", cpu.regs[n]));
    }
    let (cs, ss) = (cpu.segment(Seg::Cs), cpu.segment(Seg::Ss));
    text.push_str(&format!(" rip={:016x}  rflags={:08x}  cpl={}", cpu.rip, cpu.flags(), cpu.cpl));
    text.push_str(&format!("  cs={:04x} base={:x}  ss={:04x} base={:x}", cs.selector, cs.base, ss.selector, ss.base));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpu_x86::Facts;

    #[test]
    fn thousands_are_separated() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn two_processors_have_a_row_each_and_one_for_all() {
        let one = Counts { user: Facts { instructions: 1500, ..Facts::default() }, clock: 2200, ..Counts::default() };
        let text = summary(&[one, one], Duration::from_millis(1));
        assert!(text.contains("vCPU 0") && text.contains("vCPU 1") && text.contains("all"), "{text}");
        assert!(text.contains("3,000 instructions") && text.contains("(3.0 MIPS)"), "{text}");
        assert!(text.contains("0.000001 s of guest time"), "{text}");
    }
}
