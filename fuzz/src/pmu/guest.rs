//! From an input to a guest: each byte begins a step, and the bytes behind it say with what.

use super::code::{Code, Handler};
use super::law::MSRS;
use super::place;

/// Steps of one guest at most.
pub const MOST_STEPS: usize = 200;

/// What a step is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// WRMSR of a value.
    Write(u32, u64),
    /// RDMSR, whose answer is kept.
    Read(u32),
    /// RDPMC with a selector.
    Rdpmc(u32),
    /// It must not fault.
    Sound,
    /// It may fault or not.
    Any,
}

/// A guest.
pub struct Guest {
    /// Its code.
    pub code: Vec<u8>,
    /// What its handler of interrupts does.
    pub handler: Handler,
    /// Steps in order, with the ring each one runs in.
    pub steps: Vec<(Step, u8)>,
    /// What it may write to PERFEVTSEL.
    pub selects: Vec<u64>,
    /// CR4.PCE.
    pub pce: bool,
    /// It may overwrite itself and its tables: then only the machine's soundness counts.
    pub wild: bool,
    /// The core observes from the start.
    pub always: bool,
}

/// The bytes of an input, zeros behind their end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A value: one bit, all but one, near a power of two, small, sensible, or any.
    fn value(&mut self) -> u64 {
        let kind = self.byte();
        let n = self.byte();
        match kind & 7 {
            0 => 1 << (n & 63),
            1 => !(1 << (n & 63)),
            2 => u64::from(n),
            3 => u64::from(n).wrapping_neg(),
            4 => u64::from(n).wrapping_neg() & 0xffff_ffff_ffff,
            5 => place::ADDRESSES[usize::from(n) % place::ADDRESSES.len()],
            6 => 0x1_000f_0000_00ff & u64::from_le_bytes([n; 8]),
            _ => self.word(),
        }
    }
}

/// Events that a counter is armed with: code and unit mask.
const EVENTS: [u16; 16] = [
    0x00c0, 0x003c, 0x00c4, 0x00c5, 0x81d0, 0x82d0, 0x01cd, 0x02cd, 0x08c0, 0x4f2e, 0x01a4, 0x412e, 0x01c2, 0x012a,
    0x20cc, 0x20c4,
];

/// The step being written.
struct Writer<'a> {
    from: Bytes<'a>,
    code: Code,
    ring: u8,
    /// Flags that other rings are entered with.
    flags: u32,
    wild: bool,
    /// PEBS was enabled by a step of its own.
    samples: bool,
    selects: Vec<u64>,
}

/// The guest that `data` stands for.
pub fn guest(data: &[u8]) -> Guest {
    let mut from = Bytes(data);
    let (options, lvtpc) = (from.byte(), from.byte());
    let wild = options & 1 != 0;
    let flags = if options & 2 != 0 { 0x202 } else { 2 };
    let unmasked = if lvtpc & 1 == 0 { 0x400 } else { u32::from(vector(lvtpc)) };
    let handler = Handler {
        acknowledges: options & 4 != 0,
        rearms: options & 8 != 0,
        unmasks: (options & 16 != 0).then_some(unmasked),
    };
    let mut w =
        Writer { from, code: Code::new(place::CODE), ring: 0, flags, wild, samples: false, selects: Vec::new() };
    let mut steps = Vec::new();
    while !w.from.0.is_empty() && steps.len() < MOST_STEPS {
        let ring = w.ring;
        let begun = w.code.begin(steps.len() as u32);
        let step = w.step();
        w.code.end(begun);
        steps.push((step, ring));
    }
    if w.ring != 0 {
        w.code.enter();
    }
    w.code.raw(&[0xfa, 0xf4, 0xeb, 0xfc]);
    // A debug store that lies anywhere matters to who samples.
    let strays = |(step, _): &(Step, u8)| matches!(*step, Step::Write(0x600, v) if !place::is_harmless_store(v));
    let samples = w.samples || steps.iter().any(|(step, _)| matches!(*step, Step::Write(0x3f1, v) if v != 0));
    let wild = wild || samples && steps.iter().any(strays);
    let (pce, always) = (options & 32 != 0, options & 64 != 0);
    Guest { code: w.code.bytes, handler, steps, selects: w.selects, pce, wild, always }
}

/// A vector for interrupts: none of the exceptions', nor the system call's.
fn vector(n: u8) -> u8 {
    if n < 32 || n == place::SYSTEM_CALL { n ^ 0x60 } else { n }
}

impl Writer<'_> {
    fn step(&mut self) -> Step {
        match self.from.byte() & 15 {
            0 | 1 => self.write(),
            2 => self.read(),
            3 => self.rdpmc(),
            4 => self.run(),
            5 => self.switch(),
            6 => self.debug_store(),
            7 => self.local_apic(),
            8 => self.extended_state(),
            9 => self.access(),
            10 => self.calls(),
            11 => self.fault(),
            12 => self.arm(),
            13 => self.sample(),
            14 => self.branches(),
            _ => self.other(),
        }
    }

    /// A step that ring 0 alone can do and that must work there.
    fn privileged(&self) -> Step {
        if self.ring == 0 { Step::Sound } else { Step::Any }
    }

    fn msr(&mut self) -> u32 {
        let n = self.from.byte();
        MSRS[usize::from(n) % MSRS.len()]
    }

    fn write(&mut self) -> Step {
        let (msr, v) = (self.msr(), self.from.value());
        self.code.wrmsr(msr, v);
        if (0x186..0x18e).contains(&msr) {
            self.selects.push(v);
        }
        Step::Write(msr, v)
    }

    fn read(&mut self) -> Step {
        let msr = self.msr();
        self.code.read(0x32, msr);
        self.code.keep_result();
        Step::Read(msr)
    }

    fn rdpmc(&mut self) -> Step {
        let n = self.from.byte();
        let ecx = match n >> 6 {
            0 => u32::from(n & 15),
            1 => 1 << 30 | u32::from(n & 7),
            2 => 1 << 29 | u32::from(n & 3) >> 1,
            _ => self.from.word() as u32,
        };
        self.code.read(0x33, ecx);
        self.code.keep_result();
        Step::Rdpmc(ecx)
    }

    /// Something to count: loads, stores, branches, repeated strings, PAUSE.
    fn run(&mut self) -> Step {
        let (n, kind) = (self.from.byte(), self.from.byte());
        self.code.mov_rdi(place::DATA);
        let bodies: [&[u8]; 8] = [
            &[0x90],
            &[0x48, 0x8b, 0x07],
            &[0x48, 0x89, 0x07, 0x48, 0x8b, 0x1f],
            &[0xf0, 0x48, 0x0f, 0xc1, 0x07],
            &[0x39, 0xc0, 0x74, 0x00, 0x75, 0x00],
            &[0xb9, 3, 0, 0, 0, 0xf3, 0xaa, 0x48, 0x83, 0xef, 3],
            &[0xf3, 0x90, 0x0f, 0x31],
            &[0xe8, 0, 0, 0, 0, 0x58],
        ];
        self.code.rounds(n, bodies[usize::from(kind & 7)]);
        Step::Sound
    }

    fn switch(&mut self) -> Step {
        let to = self.from.byte() & 3;
        if self.ring != 0 {
            self.code.enter();
        }
        if to != 0 {
            self.code.leave(to, self.flags);
        }
        self.ring = to;
        Step::Sound
    }

    /// A field of the debug store, or where it lies.
    fn debug_store(&mut self) -> Step {
        let n = self.from.byte();
        let v = self.from.value();
        if n & 0x80 != 0 {
            self.code.wrmsr(0x600, v);
            return Step::Write(0x600, v);
        }
        self.code.mov_rdi(place::DEBUG_STORE + 8 * u64::from(n & 31));
        self.code.store(if self.wild { v } else { place::tame(v) });
        Step::Sound
    }

    /// LVTPC: fixed, SMI, NMI or ExtINT; INIT only for the wild.
    fn local_apic(&mut self) -> Step {
        let (n, mode) = (self.from.byte(), self.from.byte());
        let mode = if mode & 7 == 5 && !self.wild { 4 } else { mode & 7 };
        let masked = u32::from(n == 0xff) << 16;
        self.code.wrmsr(0x834, (u32::from(vector(n)) | u32::from(mode) << 8 | masked).into());
        Step::Any
    }

    /// XSS, XSAVES and XRSTORS of the component of LBRs and of all, with what lies there or garbage.
    fn extended_state(&mut self) -> Step {
        let (n, v) = (self.from.byte(), self.from.value());
        self.code.mov_rdi(place::XSAVE + u64::from(n >> 7) * 8);
        match n & 7 {
            0 => self.code.wrmsr(0xda0, v),
            1 => self.code.wrmsr(0xda0, 1 << 15),
            n => {
                if n >= 5 {
                    self.code.mov_rdi(place::XSAVE + 8 * (64 + v % 120));
                    self.code.store(v);
                    self.code.mov_rdi(place::XSAVE);
                }
                // MOV EAX, 8000h or FFFFFFFFh; MOV EDX, EAX.
                self.code.raw(&[0xb8]);
                self.code.raw(&(if n & 1 == 0 { 0x8000u32 } else { u32::MAX }).to_le_bytes());
                self.code.raw(&[0x89, 0xc2]);
                let xsaves: &[u8] = &[0x48, 0x0f, 0xc7, 0x2f];
                let xrstors: &[u8] = &[0x48, 0x0f, 0xc7, 0x1f];
                self.code.raw(if n < 4 { xsaves } else { xrstors });
            }
        }
        Step::Any
    }

    fn access(&mut self) -> Step {
        let (n, v) = (self.from.byte(), self.from.value());
        self.code.mov_rdi(if self.wild { v } else { place::tame(v) });
        match n & 3 {
            0 => self.code.raw(&[0x48, 0x8b, 0x07]),
            1 => self.code.raw(&[0x48, 0x89, 0x07]),
            2 => self.code.raw(&[0x0f, 0xae, 0x3f]),
            _ => self.code.raw(&[0xf0, 0x48, 0xff, 0x07]),
        }
        Step::Any
    }

    /// Calls and returns that match, or not quite.
    fn calls(&mut self) -> Step {
        let n = self.from.byte();
        for bit in 0..8 {
            match n >> bit & 1 {
                // CALL +1 (over RET's byte: JMP +1; RET).
                0 => self.code.raw(&[0xe8, 2, 0, 0, 0, 0xeb, 1, 0xc3]),
                _ => self.code.raw(&[0xe8, 0, 0, 0, 0, 0x58]),
            }
        }
        Step::Sound
    }

    fn fault(&mut self) -> Step {
        let bytes: [&[u8]; 8] = [
            &[0x0f, 0x0b],
            &[0xcc],
            &[0xcd, 0x21],
            &[0xf1],
            &[0x31, 0xc9, 0xf7, 0xf1],
            &[0xcd, 0x03],
            &[0x0f, 0x01, 0xc1],
            &[0xfb, 0x90, 0xfa],
        ];
        let n = self.from.byte();
        self.code.raw(bytes[usize::from(n & 7)]);
        Step::Any
    }

    /// A counter close to its end, enabled with interrupts.
    fn arm(&mut self) -> Step {
        let (n, event, how, left) = (self.from.byte(), self.from.byte(), self.from.byte(), self.from.byte());
        let left = u64::from(left).wrapping_neg() & 0xffff_ffff_ffff;
        if n & 8 == 0 {
            let select = u64::from(EVENTS[usize::from(event & 15)]) | u64::from(how & 0x1f) << 16 | 1 << 22;
            let adaptive = u64::from(how >> 7) << 34;
            self.selects.push(select);
            self.code.wrmsr(0x4c1 + u32::from(n & 7), left);
            self.code.wrmsr(0x186 + u32::from(n & 7), select | adaptive);
        } else {
            self.code.wrmsr(0x309 + u32::from(n & 3), left);
            self.code.wrmsr(0x38d, (u64::from(how) * 0x0101) & 0xbbbb | (u64::from(event & 1) * (0x1111 << 32)));
        }
        self.code.wrmsr(0x38f, 0x1_000f_0000_00ff);
        self.privileged()
    }

    /// PEBS for some counters, with a debug store as it should be but for what the bytes say.
    fn sample(&mut self) -> Step {
        let (n, config, threshold) = (self.from.byte(), self.from.byte(), self.from.byte());
        self.samples = true;
        if self.ring == 0 {
            for (field, v) in [
                (4, place::BUFFER),
                (5, place::BUFFER),
                (6, place::BUFFER + 0x1800),
                (7, place::BUFFER + 64 * u64::from(threshold)),
            ] {
                self.code.mov_rdi(place::DEBUG_STORE + 8 * field);
                self.code.store(v);
            }
        }
        self.code.wrmsr(0x600, place::DEBUG_STORE);
        self.code.wrmsr(0x3f2, u64::from(config & 15) | u64::from(config) << 24);
        self.code.wrmsr(0x3f1, u64::from(n & 0x3f) | u64::from(n >> 6 & 3) << 32);
        self.privileged()
    }

    /// LBRs on, with some filter.
    fn branches(&mut self) -> Step {
        let (n, kinds) = (self.from.byte(), self.from.byte());
        self.code.wrmsr(0x14ce, u64::from(n & 15) | u64::from(kinds & 0x7f) << 16);
        self.privileged()
    }

    /// The clocks, the freezes; bytes as they are, for the wild.
    fn other(&mut self) -> Step {
        let (n, v) = (self.from.byte(), self.from.value());
        if self.wild && n & 0x80 != 0 {
            self.code.raw(&v.to_le_bytes());
            return Step::Any;
        }
        let msr = [0x1d9, 0x10, 0x3b, 0xe7, 0xe8, 0x1d9, 0x390, 0x391][usize::from(n & 7)];
        self.code.wrmsr(msr, v);
        Step::Write(msr, v)
    }
}
