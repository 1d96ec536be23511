//! Listings of a processor: registers, MSRs, CPUID.

use cpu_x86::{Counts, Cpu, Seg};
use pmu_model::Unit;

/// Registers by group, a line each or four to a line.
pub fn registers(cpu: &Cpu) -> String {
    let mut text = frontend::report::registers(cpu);
    let names = [("es", Seg::Es), ("cs", Seg::Cs), ("ss", Seg::Ss), ("ds", Seg::Ds), ("fs", Seg::Fs), ("gs", Seg::Gs)];
    text.push('\n');
    for (name, which) in names {
        let s = cpu.segment(which);
        text.push_str(&format!(
            " {name}={:04x} base={:016x} limit={:08x} attr={:05x}\n",
            s.selector, s.base, s.limit, s.attr
        ));
    }
    for (name, table) in [("gdtr", cpu.gdtr), ("idtr", cpu.idtr)] {
        text.push_str(&format!(" {name} base={:016x} limit={:04x}\n", table.base, table.limit));
    }
    for n in [0, 2, 3, 4, 8] {
        text.push_str(&format!(" cr{n}={:016x}", cpu.cr(n).unwrap_or(0)));
    }
    text.push_str(&format!("\n efer={:04x} xcr0={:x}\n", cpu.efer(), cpu.xcr0));
    for n in [0, 1, 2, 3, 6, 7] {
        text.push_str(&format!(" dr{n}={:016x}{}", cpu.dr[n], if n % 4 == 3 { "\n" } else { "" }));
    }
    text.push_str(&format!(" fcw={:04x} fsw={:04x} mxcsr={:08x}\n", cpu.fpu.cw, cpu.fpu.sw, cpu.mxcsr));
    text
}

/// The MSRs of the processor and its PMU: number, name, access, value; those that refuse to be read show no value.
/// Access is found by reading, and by writing back what was read (0 where nothing was).
pub fn msrs(cpu: &mut Cpu) -> String {
    let mut rows: Vec<(u32, String)> = Vec::new();
    for (first, last, name) in cpu_x86::msr::rows() {
        for n in first..=last {
            let read = cpu.read_msr(n).ok();
            let written = cpu.write_msr(n, read.unwrap_or(0)).is_ok();
            rows.extend(row(n, name, read, written));
        }
    }
    let (mut unit, now) = (Unit::default(), Counts::default());
    for n in 0..0x1000 {
        let Some(read) = unit.msr_read(n, &now) else { continue };
        let read = read.ok();
        let written = unit.msr_write(n, read.unwrap_or(0), &now).is_some_and(|w| w.is_ok());
        rows.extend(row(n, cpu_x86::msr::name(n).unwrap_or("unnamed"), read, written));
    }
    rows.sort();
    rows.into_iter().map(|(_, line)| line).collect()
}

/// A line for a register that is there.
fn row(n: u32, name: &str, read: Option<u64>, written: bool) -> Option<(u32, String)> {
    let access = match (read, written) {
        (Some(_), true) => "read write",
        (Some(_), false) => "read",
        (None, true) => "write",
        (None, false) => return None,
    };
    let value = read.map_or(String::new(), |v| format!("{v:016x}"));
    Some((n, format!("{n:8x} {value:16} {access:10} {name}\n")))
}

/// The CPUID leaves of a processor and its PMU, a line a subleaf that says anything.
pub fn cpuid(cpu: &mut Cpu) -> String {
    let unit = Unit::default();
    let mut text = "    leaf sub      eax      ebx      ecx      edx\n".to_owned();
    let last = |cpu: &mut Cpu, first: u32| cpu.cpuid(first, 0)[0];
    let (basic, extended) = (last(cpu, 0), last(cpu, 0x8000_0000));
    for leaf in (0..=basic).chain(0x8000_0000..=extended) {
        // Only these have subleaves.
        let subleaves = if matches!(leaf, 4 | 7 | 0xb | 0xd | 0x1f) { 8 } else { 1 };
        for subleaf in 0..subleaves {
            let [a, b, c, d] = unit.cpuid(leaf, subleaf).unwrap_or_else(|| cpu.cpuid(leaf, subleaf));
            if subleaf == 0 || a | b | d != 0 {
                text.push_str(&format!("{leaf:8x} {subleaf:3x} {a:08x} {b:08x} {c:08x} {d:08x}\n"));
            }
        }
    }
    text
}
