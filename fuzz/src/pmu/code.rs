//! Machine code of the guest that misuses the PMU: the few instructions it is made of, and its fixed parts.
//!
//! R14 is the number of the step that is running, R15 where it ends: a handler of exceptions notes the vector in the log
//! and goes on there. Nothing else is kept from step to step.

use super::place;

/// Code being written at [`place::CODE`] or elsewhere.
pub struct Code {
    /// The bytes.
    pub bytes: Vec<u8>,
    at: u64,
}

impl Code {
    /// Nothing yet, at `at`.
    pub fn new(at: u64) -> Code {
        Code { bytes: Vec::new(), at }
    }

    /// Where the next byte goes.
    pub fn here(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    fn op_u32(&mut self, op: &[u8], v: u32) {
        self.raw(op);
        self.raw(&v.to_le_bytes());
    }

    /// ECX := `msr`, EDX:EAX := `v`, WRMSR.
    pub fn wrmsr(&mut self, msr: u32, v: u64) {
        self.op_u32(&[0xb9], msr);
        self.op_u32(&[0xb8], v as u32);
        self.op_u32(&[0xba], (v >> 32) as u32);
        self.raw(&[0x0f, 0x30]);
    }

    /// ECX := `ecx`, then RDMSR (32h) or RDPMC (33h), and RAX := EDX:EAX.
    pub fn read(&mut self, opcode: u8, ecx: u32) {
        self.op_u32(&[0xb9], ecx);
        self.raw(&[0x0f, opcode, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0]);
    }

    /// Results + 8 x R14 := RAX.
    pub fn keep_result(&mut self) {
        self.op_u32(&[0x4a, 0x89, 0x04, 0xf5], place::RESULTS as u32);
    }

    /// RDI := `v`.
    pub fn mov_rdi(&mut self, v: u64) {
        self.raw(&[0x48, 0xbf]);
        self.raw(&v.to_le_bytes());
    }

    /// \[RDI\] := `v`.
    pub fn store(&mut self, v: u64) {
        self.raw(&[0x48, 0xb8]);
        self.raw(&v.to_le_bytes());
        self.raw(&[0x48, 0x89, 0x07]);
    }

    /// A loop of `n` (not 0) rounds around `body`: DEC, JNZ.
    pub fn rounds(&mut self, n: u8, body: &[u8]) {
        self.op_u32(&[0xbd], u32::from(n.max(1)));
        let top = self.bytes.len();
        self.raw(body);
        self.raw(&[0xff, 0xcd, 0x0f, 0x85]);
        let back = top as i64 - (self.bytes.len() as i64 + 4);
        self.raw(&(back as i32).to_le_bytes());
    }

    /// Step `n` begins; what it returns is to be given to [`Code::end`].
    pub fn begin(&mut self, n: u32) -> usize {
        self.op_u32(&[0x41, 0xbe], n);
        self.op_u32(&[0x41, 0xbf], 0);
        self.bytes.len() - 4
    }

    /// The step that began at `begun` is done: its log says 1.
    pub fn end(&mut self, begun: usize) {
        self.op_u32(&[0x41, 0xc6, 0x86], place::LOG as u32);
        self.raw(&[1]);
        let end = self.here() as u32;
        self.bytes[begun..begun + 4].copy_from_slice(&end.to_le_bytes());
    }

    /// From ring 0 to `ring` with these flags.
    pub fn leave(&mut self, ring: u8, flags: u32) {
        let ring32 = u32::from(ring & 3);
        self.op_u32(&[0x68], place::selector(ring, true).into());
        self.op_u32(&[0x68], place::STACK as u32 - 0x1000 * ring32);
        self.op_u32(&[0x68], flags);
        self.op_u32(&[0x68], place::selector(ring, false).into());
        let to = self.here() as u32 + 7;
        self.op_u32(&[0x68], to);
        self.raw(&[0x48, 0xcf]);
    }

    /// From any other ring to ring 0.
    pub fn enter(&mut self) {
        self.raw(&[0xcd, place::SYSTEM_CALL]);
    }
}

/// Vectors that push an error code.
const CODED: u64 = 1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17 | 1 << 21 | 1 << 29 | 1 << 30;

/// Stubs for all vectors: push an error code where there is none, push the vector, go to the common part.
pub fn stubs() -> Vec<u8> {
    let mut all = Vec::new();
    for vector in 0u64..256 {
        let mut c = Code::new(place::STUBS + 16 * vector);
        match vector {
            2 | 32.. if vector != u64::from(place::SYSTEM_CALL) => {}
            0..32 if CODED >> vector & 1 == 0 => c.raw(&[0x6a, 0]),
            // POP R11; ADD RSP, 32; JMP R11.
            0x80 => c.raw(&[0x41, 0x5b, 0x48, 0x83, 0xc4, 0x20, 0x41, 0xff, 0xe3]),
            _ => {}
        }
        let common = match vector {
            0x80 => None,
            2 | 32.. => Some(place::INTERRUPT),
            _ => {
                c.op_u32(&[0x68], vector as u32);
                Some(place::EXCEPTION)
            }
        };
        if let Some(to) = common {
            let next = c.here() + 5;
            c.op_u32(&[0xe9], to.wrapping_sub(next) as u32);
        }
        c.bytes.resize(16, 0xf4);
        all.extend(c.bytes);
    }
    all
}

/// Notes the vector in the log and goes on behind the step. On the stack: vector, error code, frame.
pub fn exception() -> Vec<u8> {
    let mut c = Code::new(place::EXCEPTION);
    // POP RAX; OR AL, 80h; MOV [R14 + LOG], AL; ADD RSP, 8; MOV [RSP], R15; IRETQ.
    c.raw(&[0x58, 0x0c, 0x80]);
    c.op_u32(&[0x41, 0x88, 0x86], place::LOG as u32);
    c.raw(&[0x48, 0x83, 0xc4, 0x08, 0x4c, 0x89, 0x3c, 0x24, 0x48, 0xcf]);
    c.bytes
}

/// What the handler of interrupts and NMIs does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handler {
    /// It resets GLOBAL_STATUS.
    pub acknowledges: bool,
    /// It sets the first counters one short of their end.
    pub rearms: bool,
    /// It unmasks LVTPC with this value.
    pub unmasks: Option<u32>,
}

/// The common part of interrupts from outside: what `how` says, then EOI.
pub fn interrupt(how: Handler) -> Vec<u8> {
    let mut c = Code::new(place::INTERRUPT);
    // PUSH RAX, RCX, RDX; count.
    c.raw(&[0x50, 0x51, 0x52]);
    c.op_u32(&[0x48, 0xff, 0x04, 0x25], place::INTERRUPTS as u32);
    if how.acknowledges {
        c.wrmsr(0x390, 0xc001_000f_0000_00ff | 3 << 58);
    }
    if how.rearms {
        c.wrmsr(0xc1, u64::MAX);
        c.wrmsr(0xc2, u64::MAX);
        c.wrmsr(0x309, 0xffff_ffff_ffff);
    }
    if let Some(v) = how.unmasks {
        c.wrmsr(0x834, v.into());
    }
    c.wrmsr(0x80b, 0);
    c.raw(&[0x5a, 0x59, 0x58, 0x48, 0xcf]);
    c.bytes
}
