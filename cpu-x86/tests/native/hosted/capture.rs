//! The native side: a test is entered by returning from a signal that never was, and left by the signal that its
//! exception becomes.
//!
//! `rt_sigreturn` loads every register from a frame of ours, CS and SS included, so 16-bit and 32-bit segments of the
//! local descriptor table are entered like 64-bit code. The kernel's frame of the signal that ends the test holds all
//! registers, the vector, the error code and CR2; the handler leaves for the caller of `native_enter`.
//! Source: Linux arch/x86/kernel/signal_64.c; arch/x86/include/uapi/asm/sigcontext.h.

#![expect(unsafe_code, reason = "runs generated machine code")]

use crate::layout::{self, CODE, CODE_BYTES, DATA, DATA_BYTES, LDT, READ_ONLY, STACK, STACK_BYTES};
use crate::state::{Case, Memory, Outcome, State, cell};
use std::ptr;
use std::sync::{Mutex, MutexGuard, OnceLock};

core::arch::global_asm!(
    ".bss; .balign 8",
    ".globl native_host; native_host: .quad 0, 0, 0", // RSP (0: not in a test), FS base, GS base
    ".globl native_seen; native_seen: .quad 0, 0, 0, 0, 0", // ES, DS, FS, GS; FS base; GS base; ucontext; signal
    ".text",
    // (frame, selectors and bases): enters the test; returns when it has ended. Without a frame: INT3.
    ".globl native_enter; native_enter:",
    "push rbx; push rbp; push r12; push r13; push r14; push r15; pushfq",
    "lea r8, [rip + native_host]; mov [r8], rsp",
    "rdfsbase rax; mov [r8 + 8], rax; rdgsbase rax; mov [r8 + 16], rax",
    "test rdi, rdi; jnz 1f; int3; 1:",
    "mov es, word ptr [rsi]; mov ds, word ptr [rsi + 2]",
    "mov fs, word ptr [rsi + 4]; mov gs, word ptr [rsi + 6]",
    "cmp word ptr [rsi + 4], 3; ja 2f; mov rax, [rsi + 8]; wrfsbase rax; 2:",
    "cmp word ptr [rsi + 6], 3; ja 3f; mov rax, [rsi + 16]; wrgsbase rax; 3:",
    "mov rsp, rdi; mov eax, 15; syscall; ud2",
    // (signal, siginfo, ucontext)
    ".globl native_caught; native_caught:",
    "pushfq; and dword ptr [rsp], ~0x40000; popfq",
    "lea r8, [rip + native_host]; cmp qword ptr [r8], 0; jne 2f; cmp edi, 14; jne native_stray; ret; 2:",
    "lea r9, [rip + native_seen]; mov [r9], es; mov [r9 + 2], ds; mov [r9 + 4], fs; mov [r9 + 6], gs",
    "rdfsbase rax; mov [r9 + 8], rax; rdgsbase rax; mov [r9 + 16], rax; mov [r9 + 24], rdx; mov [r9 + 32], rdi",
    "xor eax, eax; mov fs, eax; mov gs, eax; mov rax, [r8 + 8]; wrfsbase rax; mov rax, [r8 + 16]; wrgsbase rax",
    "mov rsp, [r8]; mov qword ptr [r8], 0",
    "popfq; pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx; ret",
);

unsafe extern "C" {
    fn native_enter(frame: *const u8, selectors: *const Selectors);
    fn native_caught(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void);
    static native_seen: Seen;
}

/// What is loaded before `rt_sigreturn`, which leaves these alone.
#[repr(C)]
struct Selectors {
    es: u16,
    ds: u16,
    fs: u16,
    gs: u16,
    fs_base: u64,
    gs_base: u64,
}

#[repr(C)]
struct Seen {
    selectors: Selectors,
    context: *const libc::ucontext_t,
    signal: u64,
}

/// A signal outside a test: a bug of the harness.
#[unsafe(no_mangle)]
extern "C" fn native_stray(signal: libc::c_int, _: *mut libc::siginfo_t, context: *const libc::ucontext_t) -> ! {
    // SAFETY: the kernel passes the context; abort does not return.
    unsafe {
        let g = &(*context).uc_mcontext.gregs;
        eprintln!("signal {signal} outside a test, rip {:#x}", g[libc::REG_RIP as usize]);
        libc::abort();
    }
}

/// Offsets of the components of the XSAVE image, which differ between makers. Source: CPUID leaf 0Dh.
struct Components {
    ymm: usize,
    k: usize,
    zmm: usize,
    zmm16: usize,
}

/// The host processor, with the memory and the segments of the tests.
pub struct Native {
    /// A signal frame as the kernel writes one, at an address of ours, and the XSAVE image it points to.
    frame: Box<[u64; 128]>,
    image: *mut u8,
    image_bytes: usize,
    components: Components,
    avx512: bool,
    /// A second mapping of the code, which may be written.
    code: *mut u8,
    placed: Option<(usize, usize)>,
    background: [Memory; 2],
}

// SAFETY: the pointers are to mappings of the process that only the holder of the lock uses.
unsafe impl Send for Native {}

static NATIVE: Mutex<Option<Native>> = Mutex::new(None);

/// The host processor for the calling thread alone, or `None` where the kernel lacks what is needed.
pub fn native() -> Option<MutexGuard<'static, Option<Native>>> {
    let mut guard = NATIVE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    signal_stack();
    stay();
    if guard.is_none() {
        *guard = Native::new();
    }
    if guard.is_some() {
        start_timer();
    }
    guard.is_some().then_some(guard)
}

/// Keeps the calling thread on the processor that the first one was on: its number shows in a segment limit.
fn stay() {
    static PROCESSOR: OnceLock<usize> = OnceLock::new();
    // SAFETY: sets an affinity of the calling thread; failing it is no harm.
    unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        libc::CPU_SET(*PROCESSOR.get_or_init(|| libc::sched_getcpu().max(0) as usize), &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

const GREGS: usize = 5;
const FPSTATE: usize = GREGS + 23;

impl Native {
    fn new() -> Option<Native> {
        // SAFETY: CPUID changes nothing; HWCAP2 says whether RDFSBASE may be used.
        let (leaf, fsgsbase) = unsafe {
            let offset = |n| core::arch::x86_64::__cpuid_count(0xd, n).ebx as usize;
            (
                Components { ymm: offset(2), k: offset(5), zmm: offset(6), zmm16: offset(7) },
                libc::getauxval(26) & 2 != 0,
            )
        };
        if !fsgsbase || !std::is_x86_feature_detected!("avx") || !segments() {
            return None;
        }
        let code = mappings();
        install();
        let mut native = Native {
            frame: Box::new([0; 128]),
            image: ptr::null_mut(),
            image_bytes: 0,
            components: leaf,
            avx512: std::is_x86_feature_detected!("avx512f"),
            code,
            placed: None,
            background: [Memory::new(false), Memory::new(true)],
        };
        native.take_template();
        Some(native)
    }

    /// Lets a signal happen, and copies its frame.
    fn take_template(&mut self) {
        // SAFETY: without a frame INT3 is met; the frame copied is the kernel's own.
        unsafe {
            native_enter(ptr::null(), ptr::null());
            let context = native_seen.context.cast::<u64>();
            self.frame.as_mut_ptr().copy_from(context, 45);
            let image = (*context.add(FPSTATE)) as *const u8;
            self.image_bytes = image.add(464 + 4).cast::<u32>().read() as usize;
            let bytes = self.image_bytes.next_multiple_of(64) + 4096;
            self.image = anonymous(bytes).cast();
            self.image.copy_from(image, self.image_bytes);
        }
        self.frame[FPSTATE] = self.image as u64;
    }

    /// Puts `bytes` at linear address `at` in the code, and HLT where the last test's were.
    fn place(&mut self, at: u64, bytes: &[u8]) {
        if let Some((from, n)) = self.placed.take() {
            // SAFETY: within the mapping.
            unsafe { self.code.add(from).write_bytes(0xf4, n) };
        }
        let from = (at - CODE) as usize;
        let n = bytes.len().min(CODE_BYTES - from);
        // SAFETY: within the mapping.
        unsafe { self.code.add(from).copy_from(bytes.as_ptr(), n) };
        self.placed = Some((from, n));
    }

    /// Runs `case`; one that the timer ends ends with [`TOO_LONG`].
    pub fn run(&mut self, case: &Case) -> Outcome {
        // The bell may ring by chance, but not time and again.
        (0..5)
            .find_map(|_| Some(self.run_once(case)).filter(|o| o.state.0[cell::VECTOR] != TOO_LONG))
            .unwrap_or_else(|| self.run_once(case))
    }

    fn run_once(&mut self, case: &Case) -> Outcome {
        self.place(case.at, &case.bytes);
        let mut memory = self.background[usize::from(case.noise)].clone();
        case.patches.iter().for_each(|(at, bytes)| memory.patch(*at, bytes));
        // SAFETY: both regions are mapped writable, of these sizes.
        unsafe {
            (DATA as *mut u8).copy_from(memory.data.as_ptr(), DATA_BYTES);
            (STACK as *mut u8).copy_from(memory.stack.as_ptr(), STACK_BYTES);
        }
        self.load(&case.state);
        let c = &case.state.0;
        let seg = |n: usize| c[cell::SEG + n] as u16;
        let (fs_base, gs_base) = (c[cell::FS_BASE], c[cell::GS_BASE]);
        let selectors = Selectors { es: seg(0), ds: seg(3), fs: seg(4), gs: seg(5), fs_base, gs_base };
        // SAFETY: the frame is the kernel's own with registers changed; the code of the test was chosen to make no
        // system call and to write nothing but the regions, and all around it is HLT, which ends it.
        let state = unsafe {
            native_enter(self.frame.as_ptr().cast(), &raw const selectors);
            self.left()
        };
        // SAFETY: as above.
        unsafe {
            memory.data.as_mut_ptr().copy_from(DATA as *const u8, DATA_BYTES);
            memory.stack.as_mut_ptr().copy_from(STACK as *const u8, STACK_BYTES);
        }
        Outcome { state, memory }
    }

    /// Writes the state into the frame.
    fn load(&mut self, s: &State) {
        let c = &s.0;
        for (n, at) in ORDER.iter().enumerate() {
            self.frame[GREGS + at] = c[n];
        }
        self.frame[GREGS + 16] = c[cell::RIP];
        self.frame[GREGS + 17] = c[cell::FLAGS];
        self.frame[GREGS + 18] = c[cell::SEG + 1] & 0xffff | (c[cell::SEG + 2] & 0xffff) << 48;
        let top = (c[cell::SW] >> 11 & 7) as usize;
        // SAFETY: the image has the kernel's size, which covers the components of CPUID.
        unsafe {
            let image = self.image;
            image.cast::<u16>().write(c[cell::CW] as u16);
            image.add(2).cast::<u16>().write(c[cell::SW] as u16);
            image.add(4).write(c[cell::TAG] as u8);
            image.add(24).cast::<u32>().write(c[cell::MXCSR] as u32);
            for n in 0..8 {
                let st = &c[cell::ST + 2 * ((n + top) & 7)..];
                image.add(32 + 16 * n).cast::<u64>().write(st[0]);
                image.add(40 + 16 * n).cast::<u64>().write(st[1] & 0xffff);
            }
            image.add(512).cast::<u64>().write(if self.avx512 { 0xe7 } else { 7 });
            let v = c[cell::VEC..].as_ptr();
            for n in 0..16 {
                image.add(160 + 16 * n).cast::<u64>().copy_from(v.add(8 * n), 2);
                image.add(self.components.ymm + 16 * n).cast::<u64>().copy_from(v.add(8 * n + 2), 2);
            }
            if self.avx512 {
                image.add(self.components.k).cast::<u64>().copy_from(c[cell::K..].as_ptr(), 8);
                for n in 0..16 {
                    image.add(self.components.zmm + 32 * n).cast::<u64>().copy_from(v.add(8 * n + 4), 4);
                }
                image.add(self.components.zmm16).cast::<u64>().copy_from(v.add(128), 128);
            }
        }
    }

    /// Reads the state from the kernel's frame.
    ///
    /// # Safety
    /// A test has just ended.
    unsafe fn left(&self) -> State {
        let mut s = State([0; cell::COUNT]);
        let c = &mut s.0;
        // SAFETY: the frame lies on the signal stack, which nothing has used since.
        unsafe {
            let seen: *const Seen = &raw const native_seen;
            let seen = &*seen;
            let frame = seen.context.cast::<u64>();
            let greg = |n: usize| *frame.add(GREGS + n);
            for (n, at) in ORDER.iter().enumerate() {
                c[n] = greg(*at);
            }
            (c[cell::RIP], c[cell::FLAGS]) = (greg(16), greg(17));
            let x = &seen.selectors;
            let (cs, ss) = (greg(18) & 0xffff, greg(18) >> 48);
            let selectors = [x.es.into(), cs, ss, x.ds.into(), x.fs.into(), x.gs.into()];
            c[cell::SEG..cell::SEG + 6].copy_from_slice(&selectors);
            (c[cell::FS_BASE], c[cell::GS_BASE]) = (x.fs_base, x.gs_base);
            (c[cell::VECTOR], c[cell::ERROR]) = (greg(20), greg(19));
            if seen.signal == libc::SIGALRM as u64 {
                c[cell::VECTOR] = TOO_LONG;
            }
            c[cell::CR2] = if greg(20) == 14 { greg(22) } else { 0 };
            self.left_image((*frame.add(FPSTATE)) as *const u8, c);
        }
        s
    }

    /// # Safety
    /// `image` is the XSAVE image of a signal frame.
    unsafe fn left_image(&self, image: *const u8, c: &mut [u64; cell::COUNT]) {
        // SAFETY: the image has the kernel's size.
        unsafe {
            let used = image.add(512).cast::<u64>().read();
            c[cell::MXCSR] = image.add(24).cast::<u32>().read().into();
            if used & 1 != 0 {
                c[cell::CW] = image.cast::<u16>().read().into();
                c[cell::SW] = image.add(2).cast::<u16>().read().into();
                c[cell::TAG] = (*image.add(4)).into();
                let top = (c[cell::SW] >> 11 & 7) as usize;
                for n in 0..8 {
                    let at = cell::ST + 2 * ((n + top) & 7);
                    c[at] = image.add(32 + 16 * n).cast::<u64>().read();
                    c[at + 1] = image.add(40 + 16 * n).cast::<u16>().read().into();
                }
            } else {
                c[cell::CW] = 0x37f;
            }
            let v = c[cell::VEC..].as_mut_ptr();
            for n in 0..16 {
                if used & 2 != 0 {
                    v.add(8 * n).copy_from(image.add(160 + 16 * n).cast(), 2);
                }
                if used & 4 != 0 {
                    v.add(8 * n + 2).copy_from(image.add(self.components.ymm + 16 * n).cast(), 2);
                }
                if self.avx512 && used & 0x40 != 0 {
                    v.add(8 * n + 4).copy_from(image.add(self.components.zmm + 32 * n).cast(), 4);
                }
            }
            if self.avx512 && used & 0x80 != 0 {
                v.add(128).copy_from(image.add(self.components.zmm16).cast(), 128);
            }
            if self.avx512 && used & 0x20 != 0 {
                c[cell::K..].as_mut_ptr().copy_from(image.add(self.components.k).cast(), 8);
            }
        }
    }

    /// Access rights and limit of the host's global descriptor `selector`, as LAR and LSL show them; `None`: not seen.
    pub fn describe(&self, selector: u16) -> Option<(u32, u32)> {
        let (rights, limit): (u32, u32);
        let seen: u8;
        // SAFETY: LAR and LSL read descriptors and change their destination and ZF only.
        unsafe {
            core::arch::asm!("lar {r:e}, {s:e}", "lsl {l:e}, {s:e}", "setz {z}", s = in(reg) u32::from(selector),
                r = inout(reg) 0 => rights, l = inout(reg) 0 => limit, z = out(reg_byte) seen);
        }
        (seen != 0).then_some((rights, limit))
    }

    /// Can the test see 512-bit registers?
    pub fn avx512(&self) -> bool {
        self.avx512
    }
}

/// Where in the kernel's frame the registers RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15 are.
const ORDER: [usize; 16] = [13, 14, 12, 11, 15, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7];

fn anonymous(bytes: usize) -> *mut libc::c_void {
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping, kept to the end of the process.
    let at = unsafe { libc::mmap(ptr::null_mut(), bytes, prot, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    at
}

/// A stack for the handler, for this thread.
fn signal_stack() {
    const BYTES: usize = 256 << 10;
    let stack = libc::stack_t { ss_sp: anonymous(BYTES), ss_flags: 0, ss_size: BYTES };
    // SAFETY: the stack is a mapping that stays.
    assert_eq!(unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) }, 0);
}

/// In place of a vector: the test did not end.
pub const TOO_LONG: u64 = 0x100;

fn install() {
    use libc::{SIGALRM, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP};
    for signal in [SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGALRM] {
        // SAFETY: the handler keeps the convention described above.
        unsafe {
            let mut action: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = native_caught as *const () as usize;
            // The bell is silent until the next test begins, or its frame would overwrite the one to be read.
            libc::sigaddset(&raw mut action.sa_mask, libc::SIGALRM);
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            assert_eq!(libc::sigaction(signal, &raw const action, ptr::null_mut()), 0);
        }
    }
}

/// Rings a bell for this thread ten times a second, which ends a test that does not end. (Its processor time would not
/// do: a test that only faults and is resumed has none.)
fn start_timer() {
    let every = libc::timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let timer = libc::itimerspec { it_interval: every, it_value: every };
    // SAFETY: the handler is installed, outside tests it returns; the structures are whole.
    unsafe {
        let mut event: libc::sigevent = core::mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGALRM;
        event.sigev_notify_thread_id = libc::gettid();
        let mut id: libc::timer_t = ptr::null_mut();
        assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut id), 0);
        assert_eq!(libc::timer_settime(id, 0, &raw const timer, ptr::null_mut()), 0);
    }
}

/// Installs the local descriptor table. False: the kernel refuses.
fn segments() -> bool {
    LDT.iter().enumerate().all(|(n, l)| {
        let entry = [n as u32, l.base, l.limit, l.flags];
        // SAFETY: modify_ldt(0x11) copies sixteen bytes; nothing else in the process uses the table.
        unsafe { libc::syscall(libc::SYS_modify_ldt, 0x11, entry.as_ptr(), 16) == 0 }
    })
}

/// Maps data, stack and code; the code's second mapping, writable, is returned.
fn mappings() -> *mut u8 {
    use libc::{MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED_NOREPLACE, MAP_POPULATE, MAP_PRIVATE, MAP_SHARED, PROT_EXEC};
    use libc::{PROT_READ, PROT_WRITE};
    let map = |at: u64, bytes: usize, prot, flags, fd| {
        // SAFETY: MAP_FIXED_NOREPLACE takes only addresses that nothing uses.
        let got = unsafe { libc::mmap(at as *mut libc::c_void, bytes, prot, flags | MAP_POPULATE, fd, 0) };
        assert!(got != MAP_FAILED && (at == 0 || got as u64 == at), "mmap {at:#x}");
        got.cast::<u8>()
    };
    let private = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    map(DATA, DATA_BYTES, PROT_READ | PROT_WRITE, private, -1);
    map(STACK, STACK_BYTES, PROT_READ | PROT_WRITE, private, -1);
    let only = map(READ_ONLY, layout::PAGE, PROT_READ | PROT_WRITE, private, -1);
    // SAFETY: a memory file of our own; the page was just mapped.
    let fd = unsafe {
        only.copy_from(Memory::new(true).stack.as_ptr(), layout::PAGE);
        assert_eq!(libc::mprotect(only.cast(), layout::PAGE, PROT_READ), 0);
        let fd = libc::memfd_create(c"code".as_ptr(), 0);
        assert!(fd >= 0 && libc::ftruncate(fd, CODE_BYTES as i64) == 0);
        fd
    };
    let code = map(0, CODE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    // SAFETY: the mapping has this size.
    unsafe { code.write_bytes(0xf4, CODE_BYTES) };
    map(CODE, CODE_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE, fd);
    code
}
