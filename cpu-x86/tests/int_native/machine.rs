//! The native side: one mapping at a low address that the guest's RAM also has, and a trampoline that loads all
//! registers, runs one instruction, and stores them.

/// Start and length of the mapping; the guest's RAM covers it at the same addresses.
pub const BASE: u64 = 0x10_0000;
const LENGTH: usize = 0x30_0000;
/// Bytes that instructions read and write: a window around a page boundary.
pub const DATA: u64 = 0x20_1800;
pub const DATA_BYTES: usize = 0x1000;
/// Middle of [`DATA`].
pub const CENTER: u64 = DATA + DATA_BYTES as u64 / 2;
/// Bytes around the stack pointer.
pub const STACK: u64 = 0x28_0000;
pub const STACK_BYTES: usize = 0x400;
const CODE: u64 = 0x30_0000;
/// Where the instruction under test lies, and where it may jump.
pub const AT: u64 = CODE + 0x200;
pub const TARGET: u64 = AT + 0x40;
const EXIT: u64 = CODE + 0x400;
/// The same for 32-bit code, and where 64-bit code goes on after it.
const ENTRY_32: u64 = CODE + 0x800;
const EXIT_32: u64 = CODE + 0xa00;
const RETURN: u64 = CODE + 0xf00;
const CONTEXT: u64 = 0x31_0000;
const FLAGS: u64 = CONTEXT + 128;
const HOST_RSP: u64 = CONTEXT + 136;
const EXITED: u64 = CONTEXT + 144;
/// Far pointer to [`ENTRY_32`]. Linux has its 32-bit user code segment at 23h, 64-bit code at 33h, data at 2Bh
/// (arch/x86/include/asm/segment.h).
const FAR: u64 = CONTEXT + 152;
const ENTRY_FAR: u64 = CODE + 0x100;

/// What an instruction starts from and leaves: general registers, RFLAGS, and the windows.
#[derive(Clone, PartialEq)]
pub struct State {
    pub regs: [u64; 16],
    pub flags: u64,
    pub data: Vec<u8>,
    pub stack: Vec<u8>,
    /// Left through TARGET?
    pub jumped: bool,
}

/// The mapping, with the trampoline in it.
pub struct Machine(());

impl Machine {
    /// Maps and assembles. Only one may exist, as its address is fixed; a second fails.
    pub fn new() -> Machine {
        // MAP_POPULATE: a page fault at the end of ENTER would restart it over frames that it has already copied.
        // SAFETY: MAP_FIXED_NOREPLACE takes only addresses that nothing uses.
        let got = unsafe { syscall(9, [BASE, LENGTH as u64, 7, 0x10_8022, u64::MAX, 0]) };
        assert_eq!(got, BASE, "mmap");
        let mut m = Machine(());
        m.assemble_64();
        m.assemble_32();
        m
    }

    fn assemble_64(&mut self) {
        let mut entry = SAVE.to_vec();
        absolute(&mut entry, 0x89, 4, HOST_RSP);
        let mut far = entry.clone();
        set_rsp(&mut entry, FLAGS);
        entry.push(0x9d);
        for r in 0..16 {
            absolute(&mut entry, 0x8b, r, CONTEXT + 8 * u64::from(r));
        }
        jump(&mut entry, CODE, AT);
        self.write(CODE, &entry);
        far.extend([0xff, 0x2c, 0x25]);
        far.extend((FAR as u32).to_le_bytes());
        self.write(ENTRY_FAR, &far);
        for (n, from) in [(0, EXIT), (1, EXIT + 0x200)] {
            let mut exit = Vec::new();
            for r in 0..16 {
                absolute(&mut exit, 0x89, r, CONTEXT + 8 * u64::from(r));
            }
            set_rsp(&mut exit, FLAGS + 8);
            exit.push(0x9c);
            exit.extend([0xc7, 0x04, 0x25]);
            exit.extend((EXITED as u32).to_le_bytes());
            exit.extend([n, 0, 0, 0]);
            jump(&mut exit, from, RETURN);
            self.write(from, &exit);
        }
        let mut back = Vec::new();
        absolute(&mut back, 0x8b, 4, HOST_RSP);
        back.extend([0x9d, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3]);
        self.write(RETURN, &back);
    }

    fn assemble_32(&mut self) {
        let mut entry = vec![0xb8, 0x2b, 0, 0, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0xbc];
        entry.extend((FLAGS as u32).to_le_bytes());
        entry.push(0x9d);
        for r in 0..8 {
            entry.extend([0x8b, 0x05 | r << 3]);
            entry.extend((CONTEXT as u32 + 8 * u32::from(r)).to_le_bytes());
        }
        jump(&mut entry, ENTRY_32, AT);
        self.write(ENTRY_32, &entry);
        for (n, from) in [(0, EXIT_32), (1, EXIT_32 + 0x200)] {
            let mut exit = Vec::new();
            for r in 0..8 {
                exit.extend([0x89, 0x05 | r << 3]);
                exit.extend((CONTEXT as u32 + 8 * u32::from(r)).to_le_bytes());
            }
            exit.push(0xbc);
            exit.extend((FLAGS as u32 + 4).to_le_bytes());
            exit.extend([0x9c, 0xc7, 0x05]);
            exit.extend((EXITED as u32).to_le_bytes());
            exit.extend([n, 0, 0, 0, 0xea]);
            exit.extend((RETURN as u32).to_le_bytes());
            exit.extend([0x33, 0]);
            self.write(from, &exit);
        }
        let far: Vec<u8> = (ENTRY_32 as u32).to_le_bytes().into_iter().chain([0x23, 0]).collect();
        self.write(FAR, &far);
    }

    /// Has the host a 32-bit code segment for programs at selector 23h?
    pub fn has_32_bit_code(&self) -> bool {
        let rights: u32;
        // SAFETY: LAR reads a descriptor and changes its destination and ZF only; 0 stays when there is none.
        unsafe { std::arch::asm!("lar {r:e}, {s:e}", r = inout(reg) 0 => rights, s = in(reg) 0x23) };
        rights & 0x60_9800 == 0x40_9800
    }

    /// Puts the instruction under test in place, for code of `bits`.
    pub fn place(&mut self, bits: u32, instruction: &[u8]) {
        let exit = if bits == 64 { EXIT } else { EXIT_32 };
        let (mut code, mut taken) = (instruction.to_vec(), Vec::new());
        jump(&mut code, AT, exit);
        self.write(AT, &code);
        jump(&mut taken, TARGET, exit + 0x200);
        self.write(TARGET, &taken);
    }

    /// Runs it.
    pub fn run(&mut self, bits: u32, s: &State) -> State {
        self.write(DATA, &s.data);
        self.write(STACK, &s.stack);
        let context: Vec<u8> = s.regs.iter().chain([&s.flags]).flat_map(|v| v.to_le_bytes()).collect();
        self.write(CONTEXT, &context);
        let entry = if bits == 64 { CODE } else { ENTRY_FAR };
        // SAFETY: `new` assembled a function there that keeps what the C convention wants kept; the instruction under
        // test was chosen to touch nothing but the windows and to end at one of the exits.
        unsafe {
            let entry: extern "C" fn() = std::mem::transmute(entry as usize);
            entry();
        }
        let word = |at| u64::from_le_bytes(self.read(at, 8).try_into().unwrap());
        let mut regs = [0; 16];
        (0..16).for_each(|n| regs[n] = word(CONTEXT + 8 * n as u64));
        let flags = word(FLAGS);
        let (data, stack) = (self.read(DATA, DATA_BYTES), self.read(STACK, STACK_BYTES));
        State { regs, flags, data, stack, jumped: word(EXITED) as u32 == 1 }
    }

    fn write(&mut self, at: u64, from: &[u8]) {
        assert!(at >= BASE && at - BASE + from.len() as u64 <= LENGTH as u64);
        // SAFETY: within the mapping; the compiler knows no object there.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), at as usize as *mut u8, from.len()) };
    }

    fn read(&self, at: u64, bytes: usize) -> Vec<u8> {
        assert!(at >= BASE && at - BASE + bytes as u64 <= LENGTH as u64);
        // SAFETY: within the mapping, all of which is initialised.
        unsafe { std::slice::from_raw_parts(at as usize as *const u8, bytes) }.to_vec()
    }
}

/// Pushes RBX, RBP, R12 to R15 and RFLAGS.
const SAVE: [u8; 11] = [0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x9c];

/// `mov` between register `r` and the eight bytes at absolute `at`; opcode 8B loads, 89 stores.
fn absolute(code: &mut Vec<u8>, opcode: u8, r: u8, at: u64) {
    code.extend([0x48 | (r >> 3) << 2, opcode, 0x04 | (r & 7) << 3, 0x25]);
    code.extend((at as u32).to_le_bytes());
}
fn set_rsp(code: &mut Vec<u8>, to: u64) {
    code.extend([0x48, 0xc7, 0xc4]);
    code.extend((to as u32).to_le_bytes());
}
/// `jmp to` at the end of `code`, which starts at `from`.
fn jump(code: &mut Vec<u8>, from: u64, to: u64) {
    let next = from + code.len() as u64 + 5;
    code.push(0xe9);
    code.extend((to.wrapping_sub(next) as u32).to_le_bytes());
}

/// Linux system call `n`.
///
/// # Safety
/// As the call.
unsafe fn syscall(n: u64, a: [u64; 6]) -> u64 {
    let r;
    // SAFETY: the caller's.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") n => r, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _);
    }
    r
}
