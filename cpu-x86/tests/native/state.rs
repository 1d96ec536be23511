//! What a test starts from and what it leaves: registers as named cells, memory, and the exception that ended it.

use crate::layout::{DATA, DATA_BYTES, STACK, STACK_BYTES};

/// Cells of a [`State`].
pub mod cell {
    // RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15 are the first sixteen.
    /// Offset in CS.
    pub const RIP: usize = 16;
    pub const FLAGS: usize = 17;
    /// Selectors in encoding order: ES, CS, SS, DS, FS, GS.
    pub const SEG: usize = 18;
    pub const FS_BASE: usize = 24;
    pub const GS_BASE: usize = 25;
    pub const MXCSR: usize = 26;
    pub const CW: usize = 27;
    pub const SW: usize = 28;
    /// Abridged: one bit a physical register, set when it is not empty.
    pub const TAG: usize = 29;
    /// Significand, and sign and exponent, of physical registers R0 to R7.
    pub const ST: usize = 30;
    pub const K: usize = 46;
    /// Eight cells each for ZMM0 to ZMM31.
    pub const VEC: usize = 54;
    /// What ended the test: vector, error code, CR2 (zero but for #PF).
    pub const VECTOR: usize = 310;
    pub const ERROR: usize = 311;
    pub const CR2: usize = 312;
    pub const COUNT: usize = 313;
}

/// Registers, and after a test what ended it.
#[derive(Clone, PartialEq, Eq)]
pub struct State(pub [u64; cell::COUNT]);

impl State {
    /// Zeros, but for what must not be: exceptions masked, x87 empty.
    pub fn new() -> State {
        let mut s = State([0; cell::COUNT]);
        s.0[cell::FLAGS] = 0x202;
        s.0[cell::MXCSR] = 0x1f80;
        s.0[cell::CW] = 0x37f;
        s
    }
}

/// Name of cell `n`.
pub fn name(n: usize) -> String {
    const REGS: [&str; 16] =
        ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
    const REST: [&str; 14] =
        ["rip", "flags", "es", "cs", "ss", "ds", "fs", "gs", "fs_base", "gs_base", "mxcsr", "fcw", "fsw", "ftag"];
    match n {
        0..16 => REGS[n].into(),
        16..30 => REST[n - 16].into(),
        30..46 => format!("st{}.{}", (n - 30) / 2, n % 2),
        46..54 => format!("k{}", n - 46),
        54..310 => format!("v{}.{}", (n - 54) / 8, (n - 54) % 8),
        _ => ["vector", "error", "cr2"][n - 310].into(),
    }
}

/// The cell of this name.
pub fn cell_named(wanted: &str) -> Option<usize> {
    (0..cell::COUNT).find(|n| name(*n) == wanted)
}

/// The bytes that a test may write.
#[derive(Clone, PartialEq, Eq)]
pub struct Memory {
    pub data: Vec<u8>,
    pub stack: Vec<u8>,
}

impl Memory {
    /// A fixed noise, or zeros.
    pub fn new(noise: bool) -> Memory {
        let byte = |n: usize| if noise { ((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8 } else { 0 };
        Memory { data: (0..DATA_BYTES).map(byte).collect(), stack: (0..STACK_BYTES).map(|n| byte(n + 77)).collect() }
    }
    /// Writes `bytes` at linear address `at`, as far as they are inside.
    pub fn patch(&mut self, at: u64, bytes: &[u8]) {
        for (n, b) in bytes.iter().enumerate() {
            let at = at.wrapping_add(n as u64);
            if let Some(to) = self.data.get_mut(at.wrapping_sub(DATA) as usize) {
                *to = *b;
            } else if let Some(to) = self.stack.get_mut(at.wrapping_sub(STACK) as usize) {
                *to = *b;
            }
        }
    }
    /// Where this differs from `other`: the address, and both bytes.
    pub fn differences(&self, other: &Memory) -> Vec<(u64, u8, u8)> {
        let mut out = Vec::new();
        for (a, b, at) in [(&self.data, &other.data, DATA), (&self.stack, &other.stack, STACK)] {
            if a != b {
                out.extend((0..a.len()).filter(|n| a[*n] != b[*n]).map(|n| (at + n as u64, a[n], b[n])));
            }
        }
        out
    }
}

/// One test.
#[derive(Clone)]
pub struct Case {
    /// 16, 32 or 64: the kind of code segment in `state`.
    pub bits: u32,
    /// The instruction's linear address, and its bytes; HLT is all around it.
    pub at: u64,
    pub bytes: Vec<u8>,
    pub state: State,
    /// Is memory noise rather than zeros, before `patches`?
    pub noise: bool,
    pub patches: Vec<(u64, Vec<u8>)>,
}

/// What a test left.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    pub state: State,
    pub memory: Memory,
}
