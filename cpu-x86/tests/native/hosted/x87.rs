//! x87 against the processor this runs on: every encoding, random register files, all roundings, precisions and masks.
//!
//! The native side runs FRSTOR, the instruction, FNSAVE from a page of generated code; registers, tags, control and
//! status word, memory and RFLAGS must agree. `X87_CASES` sets the cases an encoding,
//! `X87_SEED` the seed, which is otherwise fixed; both are printed.

#![expect(unsafe_code, reason = "the oracle is the processor itself, running generated code")]

use super::asked;
use crate::random::{Corners, Random};
use cpu_x86::{Cpu, Seg, Segment, exec};
use emu_core::{Gpa, Ram};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};
use softfp::F80;
use std::sync::Arc;

const SEED: u64 = 0x8087_0001;
const OPERAND: u64 = 0x1000;
const STATUS_FLAGS: u64 = 0x8d5;

unsafe extern "C" {
    fn mmap(at: *mut u8, bytes: usize, prot: i32, flags: i32, fd: i32, offset: i64) -> *mut u8;
    fn munmap(at: *mut u8, bytes: usize) -> i32;
}

/// An extended real near another.
fn real(random: &mut Random, near: F80) -> F80 {
    let (significand, rest) = random.extended_near((near.sign_exponent & 0x7fff).into());
    F80 { significand, sign_exponent: rest as u16 }
}

/// FNSAVE image in 32-bit protected layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Image {
    cw: u16,
    sw: u16,
    tag: u16,
    r: [F80; 8],
}

impl Image {
    fn top(&self) -> usize {
        usize::from(self.sw >> 11 & 7)
    }
    fn to_bytes(self) -> [u8; 108] {
        let mut b = [0; 108];
        b[0..2].copy_from_slice(&self.cw.to_le_bytes());
        b[4..6].copy_from_slice(&self.sw.to_le_bytes());
        b[8..10].copy_from_slice(&self.tag.to_le_bytes());
        for n in 0..8 {
            b[28 + 10 * n..][..10].copy_from_slice(&self.r[(self.top() + n) & 7].to_bytes());
        }
        b
    }
    fn from_bytes(b: &[u8; 108]) -> Image {
        let word = |at| u16::from_le_bytes([b[at], b[at + 1]]);
        let mut image = Image { cw: word(0), sw: word(4), tag: word(8), r: [F80::default(); 8] };
        for n in 0..8 {
            let from = b[28 + 10 * n..][..10].try_into().unwrap();
            image.r[(image.top() + n) & 7] = F80::from_bytes(from);
        }
        image
    }
    fn random(random: &mut Random) -> Image {
        let masks = if random.below(3) == 0 { random.below(64) } else { 63 } as u16;
        let cw = masks | 0x40 | (random.below(16) << 8) as u16;
        let flags = random.next() as u16 & 63 & masks;
        let sw = (random.next() as u16 & 0x7f40) | flags;
        let empties = if random.below(6) == 0 {
            random.next() & random.next()
        } else {
            1 << (sw >> 11 & 7).wrapping_sub(1 + random.below(2) as u16 * 3).rem_euclid(8)
        };
        let tag = (0..8).fold(0u16, |t, n| t | if empties >> n & 1 != 0 { 3 << (2 * n) } else { 0 });
        let mut r = [F80::default(); 8];
        for n in 0..8 {
            let near = r[if n == 0 { 0 } else { n - 1 }];
            r[n] = real(random, near);
        }
        Image { cw, sw, tag, r }
    }
}

/// A page of native code that runs one instruction.
struct Native(*mut u8);

impl Native {
    fn new(bytes: &[u8]) -> Native {
        // frstor [rdi]; push rcx; popfq; mov rax, rdx; INSTRUCTION; pushfq; pop rax; fnsave [rsi]; ret
        let mut code = vec![0xdd, 0x27, 0x51, 0x9d, 0x48, 0x89, 0xd0];
        code.extend_from_slice(bytes);
        code.extend_from_slice(&[0x9c, 0x58, 0xdd, 0x36, 0xc3]);
        // SAFETY: a fresh private page, written inside its bounds.
        unsafe {
            let page = mmap(std::ptr::null_mut(), 4096, 7, 0x22, -1, 0);
            assert!(!page.is_null() && page as isize != -1);
            page.copy_from(code.as_ptr(), code.len());
            Native(page)
        }
    }
    fn run(&self, image: &Image, memory: &mut [u8; 16], flags: u64) -> (Image, u64) {
        let (from, mut to) = (image.to_bytes(), [0u8; 108]);
        // SAFETY: the code keeps the C convention, touches only these buffers, and FNSAVE leaves a clean x87.
        let flags = unsafe {
            let f: extern "sysv64" fn(*const u8, *mut u8, *mut u8, u64) -> u64 = std::mem::transmute(self.0);
            f(from.as_ptr(), to.as_mut_ptr(), memory.as_mut_ptr(), flags)
        };
        (Image::from_bytes(&to), flags & STATUS_FLAGS)
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // SAFETY: the page is ours.
        unsafe { munmap(self.0, 4096) };
    }
}

fn machine() -> (Box<Cpu>, Arc<Ram>) {
    let ram = Arc::new(Ram::new(16 << 20, &[]).unwrap());
    let mut cpu = Cpu::new(ram.clone(), 0);
    for s in [Seg::Ds, Seg::Cs, Seg::Ss, Seg::Es] {
        cpu.set_segment(s, Segment { limit: 0xffff_ffff, attr: 0x493, ..Segment::default() });
    }
    (cpu, ram)
}

fn ours(cpu: &mut Cpu, ram: &Ram, i: &Instruction, image: &Image, memory: &mut [u8; 16], flags: u64) -> (Image, u64) {
    (cpu.fpu.cw, cpu.fpu.sw, cpu.fpu.tag, cpu.fpu.r) = (image.cw, image.sw, image.tag, image.r);
    assert!(ram.write(Gpa(OPERAND), memory));
    cpu.regs[0] = OPERAND;
    cpu.set_flags(flags | 2);
    let meaning = exec::lookup(i).expect("in the list");
    (meaning.run)(cpu, i).expect("no fault");
    assert!(ram.read(Gpa(OPERAND), memory));
    let f = &cpu.fpu;
    (Image { cw: f.cw, sw: f.sw, tag: f.full_tag(), r: f.r }, cpu.flags() & STATUS_FLAGS)
}

fn decode(bytes: &[u8]) -> Instruction {
    Decoder::with_ip(32, bytes, 0, DecoderOptions::NONE).decode()
}

/// Every x87 encoding of two bytes that this test can run natively.
fn encodings() -> Vec<[u8; 2]> {
    let forms = (0xd8..=0xdfu8).flat_map(|a| (0..8).map(|r| r << 3).chain(0xc0..=0xff).map(move |m| [a, m]));
    forms
        .filter(|b| {
            use Mnemonic::*;
            let i = decode(b);
            let skipped =
                matches!(i.mnemonic(), INVALID | Fldenv | Fnstenv | Fnsave | Frstor | Fninit | Fnstsw | Fldcw)
                    || transcendental(i.mnemonic());
            !skipped && exec::lookup(&i).is_some()
        })
        .collect()
}

fn transcendental(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(m, Fsin | Fcos | Fsincos | Fptan | Fpatan | F2xm1 | Fyl2x | Fyl2xp1)
}

fn operand(random: &mut Random, i: &Instruction) -> [u8; 16] {
    use iced_x86::MemorySize::*;
    let mut b = [0; 16];
    b[..8].copy_from_slice(&random.next().to_le_bytes());
    match i.memory_size() {
        Float32 => b[..4].copy_from_slice(&(random.float(8, 23) as u32).to_le_bytes()),
        Float64 => b[..8].copy_from_slice(&random.float(11, 52).to_le_bytes()),
        Float80 => b[..10].copy_from_slice(&real(random, F80::ONE).to_bytes()),
        Bcd => b[..9].iter_mut().for_each(|v| *v = (random.below(10) * 16 + random.below(10)) as u8),
        _ if random.below(3) == 0 => b[..8].copy_from_slice(&(random.below(5) as i64 - 2).to_le_bytes()),
        _ => {}
    }
    b[9] = if i.memory_size() == Bcd { (random.below(2) << 7) as u8 } else { b[9] };
    b
}

fn cases() -> u64 {
    asked("X87_CASES", 4_000)
}

fn seed() -> u64 {
    asked("X87_SEED", SEED)
}

#[test]
fn every_exact_instruction_is_native() {
    println!("seed {:#x}, {} cases an encoding", seed(), cases());
    let (mut cpu, ram) = machine();
    let mut random = Random(seed());
    let mut wrong = Vec::new();
    for bytes in encodings() {
        let (native, i) = (Native::new(&bytes), decode(&bytes));
        let mut bad = 0u64;
        for _ in 0..cases() {
            let image = Image::random(&mut random);
            let memory = operand(&mut random, &i);
            let flags = random.next() & STATUS_FLAGS;
            let (mut m1, mut m2) = (memory, memory);
            let want = native.run(&image, &mut m1, flags);
            let got = ours(&mut cpu, &ram, &i, &image, &mut m2, flags);
            let (want, got) = (masked(&i, want), masked(&i, got));
            if (want, m1) == (got, m2) {
                continue;
            }
            bad += 1;
            if bad <= 2 {
                report(&i, &bytes, &image, &memory, (&want, &m1), (&got, &m2));
            }
        }
        if bad > 0 {
            wrong.push(format!("{bytes:02x?} {:?}: {bad} of {}", i.code(), cases()));
        }
    }
    assert!(wrong.is_empty(), "{} encodings differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Where the oracle is not an Intel processor: FCOMI and its kin clear C1 (SDM vol. 2), AMD's leave it.
fn masked(i: &Instruction, mut outcome: (Image, u64)) -> (Image, u64) {
    use Mnemonic::*;
    if matches!(i.mnemonic(), Fcomi | Fcomip | Fucomi | Fucomip) {
        outcome.0.sw &= !0x200;
    }
    outcome
}

type Outcome<'a> = (&'a (Image, u64), &'a [u8; 16]);

fn report(i: &Instruction, bytes: &[u8], from: &Image, memory: &[u8; 16], want: Outcome, got: Outcome) {
    println!(
        "\n{:?} {bytes:02x?} cw {:04x} sw {:04x} tag {:04x} top {} memory {memory:02x?}",
        i.code(),
        from.cw,
        from.sw,
        from.tag,
        from.top()
    );
    for n in 0..8 {
        let p = (from.top() + n) & 7;
        let (a, w, g) = (from.r[p], want.0.0.r[p], got.0.0.r[p]);
        let tag = from.tag >> (2 * p) & 3;
        if n < 2 || w != g {
            println!(
                "  R{p} tag {tag} {:04x} {:016x}: native {:04x} {:016x} ours {:04x} {:016x}",
                a.sign_exponent, a.significand, w.sign_exponent, w.significand, g.sign_exponent, g.significand
            );
        }
    }
    for (name, (outcome, m)) in [("native", want), ("ours  ", got)] {
        println!(
            "  {name} cw {:04x} sw {:04x} tag {:04x} flags {:x} memory {m:02x?}",
            outcome.0.cw, outcome.0.sw, outcome.0.tag, outcome.1
        );
    }
}

/// Distance in units of the last place; `None` when the values are no neighbours at all.
fn ulps(a: F80, b: F80) -> Option<u64> {
    let key = |v: F80| {
        let field = (v.sign_exponent & 0x7fff).max(1);
        let magnitude = i128::from(field) << 63 | i128::from(v.significand & (u64::MAX >> 1));
        let magnitude = if v.sign_exponent & 0x7fff == 0 { i128::from(v.significand) } else { magnitude };
        if v.sign_exponent & 0x8000 != 0 { -magnitude } else { magnitude }
    };
    u64::try_from((key(a) - key(b)).abs()).ok()
}

/// Values inside the domain of `m`, or any.
fn argument(random: &mut Random, m: Mnemonic, n: usize) -> F80 {
    let any = real(random, F80::ONE);
    if random.below(8) == 0 {
        return any;
    }
    let sign = (random.below(2) << 15) as u16;
    let significand = 1 << 63 | random.fraction(63);
    let at = |field: u64| F80 { significand, sign_exponent: sign | field as u16 };
    match (m, n) {
        (Mnemonic::F2xm1, _) => at(0x3ffe - random.below(72)),
        (Mnemonic::Fyl2xp1, 0) => at(0x3ffe - random.below(72)),
        (Mnemonic::Fyl2x, 0) => at(0x3fff + random.below(40) - 20).with_sign(false),
        (Mnemonic::Fyl2x, 7) => F80 { significand: u64::MAX - random.below(1 << 40), sign_exponent: 0x3ffe },
        (Mnemonic::Fsin | Mnemonic::Fcos | Mnemonic::Fsincos | Mnemonic::Fptan, _) => {
            at(0x3fff + random.below(100) - 36)
        }
        _ => at(0x3fff + random.below(80) - 40),
    }
}

#[test]
fn transcendental_instructions_are_within_one_unit_of_native() {
    println!("seed {:#x}, {} cases an encoding", seed(), cases());
    let (mut cpu, ram) = machine();
    let mut random = Random(seed());
    let mut wrong = Vec::new();
    for bytes in
        [[0xd9, 0xfe], [0xd9, 0xff], [0xd9, 0xfb], [0xd9, 0xf2], [0xd9, 0xf3], [0xd9, 0xf0], [0xd9, 0xf1], [0xd9, 0xf9]]
    {
        let (native, i) = (Native::new(&bytes), decode(&bytes));
        let (mut bad, mut worst, mut off) = (0u64, 0, 0u64);
        for _ in 0..cases() {
            let mut image = Image::random(&mut random);
            let top = image.top();
            image.r[top] = argument(&mut random, i.mnemonic(), 0);
            image.r[(top + 1) & 7] = argument(&mut random, i.mnemonic(), 1);
            let memory = [0; 16];
            let (mut m1, mut m2) = (memory, memory);
            let want = native.run(&image, &mut m1, 0);
            let got = ours(&mut cpu, &ram, &i, &image, &mut m2, 0);
            let distance =
                (0..8).map(|n| ulps(want.0.r[n], got.0.r[n])).max_by_key(|d| d.unwrap_or(u64::MAX)).flatten();
            // C1 follows the last bit, and so does an underflow at the very edge.
            let same = (want.0.sw ^ got.0.sw) & !0x200 == 0 && (want.0.cw, want.0.tag) == (got.0.cw, got.0.tag);
            worst = worst.max(distance.unwrap_or(u64::MAX));
            off += u64::from(distance != Some(0));
            if same && distance.is_some_and(|d| d <= 1) {
                continue;
            }
            bad += 1;
            if bad <= 12 {
                report(&i, &bytes, &image, &memory, (&want, &m1), (&got, &m2));
            }
        }
        println!("{:?}: {off} of {} differ, worst {worst}", i.code(), cases());
        if bad > 0 {
            wrong.push(format!("{:?}: {bad} of {}", i.code(), cases()));
        }
    }
    assert!(wrong.is_empty(), "{} encodings differ:\n{}", wrong.len(), wrong.join("\n"));
}
