//! How long the model of the core takes for a block and for an access: prints nanoseconds. Run it in release mode.

use cpu_x86::monitor::{Code, DataAccess, Translate, Walked};
use cpu_x86::{Monitor, Ring};
use emu_core::Gpa;
use iced_x86::{Decoder, DecoderOptions, Instruction};
use pmu_model::signal::Signal;
use pmu_model::uarch::{Core, Parameters};
use std::time::Instant;

/// Translations: 4 KiB pages, one to one.
struct Flat;

impl Translate for Flat {
    fn walked(&mut self, linear: u64) -> Walked {
        let entry = |level: u32| (1 << 32) + (u64::from(level) << 24) + (linear >> (12 + 9 * level) << 3 & 0xff_ffff);
        Walked { shift: 12, levels: 4, entries: [entry(3), entry(2), entry(1), entry(0), 0], global: false }
    }
}

/// mov rax, [rbx]; add rax, rcx; mov [rbx+8], rax; cmp rax, rcx; je +n
const BYTES: [u8; 14] = [0x48, 0x8b, 0x03, 0x48, 0x01, 0xc8, 0x48, 0x89, 0x43, 0x08, 0x48, 0x39, 0xc8, 0x74];

fn block(at: u64) -> Vec<Instruction> {
    let bytes: Vec<u8> = BYTES.into_iter().chain([0x20]).collect();
    let mut d = Decoder::with_ip(64, &bytes, at & 0xfff, DecoderOptions::NONE);
    std::iter::from_fn(|| d.can_decode().then(|| d.decode())).collect()
}

fn next(x: &mut u64) -> u64 {
    *x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *x >> 33
}

/// Nanoseconds that this process has run: other processes do not count. Source: Linux, Documentation/scheduler/sched-stats.
fn ran() -> Option<u64> {
    std::fs::read_to_string("/proc/self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

/// Times `n` calls of `work`.
fn time(name: &str, n: u64, mut work: impl FnMut(u64)) {
    let (begin, before) = (Instant::now(), ran());
    (0..n).for_each(&mut work);
    let elapsed = match (before, ran()) {
        (Some(before), Some(after)) => after - before,
        _ => begin.elapsed().as_nanos() as u64,
    };
    println!("{name:<58} {:>7.1} ns", elapsed as f64 / n as f64);
}

fn main() {
    let mut core = Core::new(&Parameters::SPR);
    let ats: Vec<u64> = (0..256).map(|n| 0x40_0000 + n * 15).collect();
    let codes: Vec<Vec<Instruction>> = ats.iter().map(|at| block(*at)).collect();
    let describe = |core: &mut Core, n: usize| {
        core.describe(&Code { physical: Gpa(ats[n]), next_page: None, instructions: &codes[n] })
    };
    time("describe a block of 5", 25_600, |n| {
        describe(&mut core, n as usize % 256);
    });
    core.forget();
    let numbers: Vec<u32> = (0..256).map(|n| describe(&mut core, n)).collect();
    let enter = |core: &mut Core, n: usize| core.enter(numbers[n], ats[n], Ring::User, &mut Flat);
    const N: u64 = 4_000_000;
    time("enter: not taken, the same way each time", N, |n| enter(&mut core, n as usize % 256));
    time("enter: a loop of two blocks in one line", N, |n| enter(&mut core, n as usize % 2));
    time("enter: taken, over 64 lines", N, |n| enter(&mut core, (n as usize * 101) % 256));
    let mut x = 1;
    time("enter: random", N, |_| enter(&mut core, next(&mut x) as usize % 256));
    let access = |core: &mut Core, linear: u64, write: bool| {
        core.access(&DataAccess { linear, physical: Gpa(linear), bytes: 8, write, instruction: 0 }, &mut Flat)
    };
    let mut touched = 0;
    time("access: another line of 32 KiB", N, |n| touched ^= access(&mut core, (n * 64) % (32 << 10), false));
    time("access: random in 1 MiB", N, |_| touched ^= access(&mut core, next(&mut x) % (1 << 20), false));
    time("access: random in 64 MiB, written", N, |_| touched ^= access(&mut core, next(&mut x) % (64 << 20), true));
    time("a block and an access in 256 KiB", N, |n| {
        enter(&mut core, (n as usize / 3) % 256);
        touched ^= access(&mut core, next(&mut x) % (256 << 10), false);
    });
    let mut sum = touched;
    time("signals_at", 100_000, |n| {
        enter(&mut core, n as usize % 256);
        sum ^= core.signals_at(false).user[Signal::UopsRetired];
    });
    println!("({sum:x})");
}
