//! The engine's fast path against the general path: random programs run once in blocks and once instruction by
//! instruction, and must leave the same registers, flags, memory and counts, also when they end in a fault.
//!
//! `FAST_PROGRAMS` sets how many programs; the seed is fixed.

#[path = "fast_against_general/encode.rs"]
mod encode;
#[path = "native/random.rs"]
#[expect(dead_code, reason = "the native harness draws floating point and vectors besides")]
mod random;
mod recorder;

use cpu_x86::{Counts, Cpu, Exit, Long64, Table};
use emu_core::{Gpa, Ram};
use iced_x86::{Code, Encoder, EncodingKind, FlowControl, Instruction, Mnemonic, OpCodeOperandKind, OpKind, Register};
use random::{Corners, Random};
use recorder::{Recorder, Told, Watching};
use std::sync::Arc;

const SEED: u64 = 0x0bad_cafe;
const CODE: u64 = 0x30_0000;
/// Middle of the data that instructions reach, at a page's end.
const CENTER: u64 = 0x20_2000;
/// A stack whose pages share TLB entries with the data's: 2 MiB on, mapped to the page of memory after the data.
const STACK: u64 = 0x40_2800;

/// What programs are made of.
#[rustfmt::skip] // a table
const SUBJECT: &[Mnemonic] = {
    use Mnemonic::*;
    &[
        Mov, Add, Or, Adc, Sbb, And, Sub, Xor, Cmp, Test, Inc, Dec, Neg, Not, Adcx, Adox, Lea, Push, Pop, Movzx, Movsx,
        Movsxd, Cbw, Cwde, Cdqe, Cwd, Cdq, Cqo, Bswap, Movbe, Xchg, Xadd, Cmpxchg, Cmpxchg8b, Cmpxchg16b, Shl, Sal, Shr,
        Sar, Rol, Ror, Rcl, Rcr, Shld, Shrd, Sarx, Shlx, Shrx, Rorx, Mul, Imul, Mulx, Div, Idiv, Bt, Bts, Btr, Btc, Bsf,
        Bsr, Tzcnt, Lzcnt, Popcnt, Andn, Bextr, Bzhi, Pdep, Pext, Blsi, Blsmsk, Blsr, Crc32, Lahf, Sahf, Clc, Stc, Cmc,
        Nop, Pause, Endbr64, Movsb, Stosq, Cmpsb, Scasb, Lodsd, Loop, Loope, Loopne, Jrcxz, Jmp, Call, Pushfq, Popfq,
        Comiss, Ucomisd, Ptest, Movd, Movq, Movdqu, Movdqa, Movaps, Movups, Movapd, Movupd, Lddqu, Movss, Movsd, Movlps,
        Movhps, Movlpd, Movhpd, Movhlps, Movlhps, Movntdq, Paddb, Paddw, Paddd, Paddq, Psubb, Psubw, Psubd, Psubq, Pxor,
        Pand, Pandn, Por, Xorps, Andps, Andnpd, Orpd, Unpcklpd, Unpckhpd, Punpcklqdq, Punpckhqdq, Pmovmskb, Cvttsd2si,
        Cvtsi2sd, Cvtsi2ss, Cvtss2sd, Addss, Addsd, Addpd, Addps, Mulss, Mulsd, Mulpd, Subss, Subsd, Subpd, Divss, Divsd,
        Divpd, Sqrtss, Sqrtsd, Sqrtpd, Vptest, Vpaddq, Vmovdqu, Vaddsd, Vpxor, Vmovd, Vmovq, Vzeroupper, Pshufb, Pshufd,
        Pinsrq, Pextrd, Pcmpeqb, Pslldq, Pmuludq, Pcmpistri, Stmxcsr, Sqrtps, Mulps, Divps, Subps, Pminub, Pmaxub,
        Pcmpeqw, Pcmpeqd, Pcmpgtb, Pcmpgtd, Movmskps, Movmskpd, Blendvps, Pblendvb, Aesenc, Aesdeclast, Sha256rnds2,
        Sha256msg1, Sha1rnds4, Haddpd, Cmppd, Minsd, Maxps, Roundsd, Comisd, Ucomiss, Cvtdq2ps, Psrad, Pmaddwd, Palignr,
        Vpor, Vpand, Vpandn, Vxorps, Vandpd, Vpaddb, Vpsubd, Vpcmpeqb, Vpcmpeqd, Vpminub, Vpmaxub, Vpcmpgtb, Vaddpd,
        Vsubps, Vmulpd, Vdivpd, Vsqrtpd, Vsqrtsd, Vmulsd, Vsubss, Vdivss, Vfmadd231pd, Vfnmadd213ss, Vhaddpd, Vpshufb,
        Vfmadd132ps, Vfmadd213pd, Vfmsub231ps, Vfnmadd213pd, Vfnmsub132sd, Vfmsub213ss, Vfmadd231sd, Vfmaddsub213pd,
        Sha256msg2, Sha1msg1, Sha1msg2, Sha1nexte, Aesenclast, Aesdec, Aesimc, Pclmulqdq, Vpclmulqdq, Vaesdec, Vaesdeclast,
        Punpcklbw, Punpckhwd, Punpckldq, Unpckhps, Vpunpckhbw, Vunpcklps, Vpunpcklqdq, Vunpckhpd, Pshuflw, Pshufhw,
        Shufps, Shufpd, Vshufps, Vshufpd, Vpermilps, Vpermilpd, Vpalignr, Psrldq, Vpslldq, Blendps, Vblendpd, Vpblendd,
        Pblendw, Vpblendw, Insertps, Movddup, Vmovshdup, Movsldup, Pmulld, Pminsd, Vpmaxud, Packuswb, Vpackssdw, Packusdw,
        Psadbw, Pavgb, Psubusb, Vpaddusb, Paddsw, Psllw, Pslld, Vpsllq, Psrlw, Psraw, Vpsrad, Psrlq, Pmaddubsw, Vpmaddwd,
        Pmullw, Pmulhuw, Vpmulhw, Vpmuludq, Pminsw, Pmaxsw, Pcmpgtq, Vpermq, Vinsertf128, Vextracti128,
        Vpshufd, Vunpcklpd, Vcmppd, Vucomisd, Vpmovmskb, Vmovmskpd, Vpbroadcastb, Vpbroadcastd, Vbroadcastsd, Vlddqu,
        Vmovdqa, Vmovaps, Vmovups, Vmovntdq, Vmovss, Vmovsd, Vpsrld, Vpblendvb, Vaesenc,
        Vmovdqu8, Vmovdqu16, Vmovdqu32, Vmovdqu64, Vmovdqa32, Vmovdqa64, Vpandd, Vporq, Vpxorq, Vpandnd, Vpternlogd,
        Vpcmpb, Vpcmpub, Vpcmpd, Vpcmpuq, Vptestmb, Vptestnmb, Vptestnmd, Vptestmq, Vpaddw, Vpaddq, Vpbroadcastq, Vpminuq,
        Kmovb, Kmovw, Kmovd, Kmovq, Kortestb, Kortestd, Kortestq, Ktestw, Ktestd, Kandd, Kandnq, Korw, Kord, Kxorq,
        Kxnord, Kaddb, Kunpckbw, Kunpckdq, Knotd, Knotq, Kshiftrd,
    ]
};

fn codes() -> Vec<Code> {
    let unwanted = |c: Code| {
        let name = format!("{c:?}");
        ["add_m", "KNC", "486", "Sreg", "_cr", "_dr", "16_1", "Jmp_m", "Call_m", "ptr", "FS", "GS", "w_imm"]
            .iter()
            .any(|n| name.contains(n))
    };
    let usable = |c: &Code| {
        let o = c.op_code();
        let kinds = [EncodingKind::Legacy, EncodingKind::VEX, EncodingKind::EVEX];
        o.is_instruction()
            && o.mode64()
            && kinds.contains(&o.encoding())
            && !unwanted(*c)
            && (SUBJECT.contains(&c.mnemonic()) || conditional(*c))
    };
    Code::values().filter(usable).collect()
}

/// Jcc, SETcc, CMOVcc: a third of every program.
fn conditional(c: Code) -> bool {
    c.condition_code() != iced_x86::ConditionCode::None
}

/// One instruction of a program, and how many instructions on its branch leads.
struct Line {
    bytes: Vec<u8>,
    ahead: Option<usize>,
}

/// Registers that programs keep: where the data is, a small index, and the stack pointer.
const KEPT: [Register; 3] = [Register::R15, Register::R14, Register::RSP];

/// An operand of a vector instruction, which `encode` does not draw.
fn vector_operand(i: &mut Instruction, n: u32, kind: OpCodeOperandKind, random: &mut Random) -> Option<()> {
    use OpCodeOperandKind as K;
    let first = match kind {
        K::xmm_reg | K::xmm_rm | K::xmm_vvvv | K::xmm_is4 | K::xmm_or_mem => Register::XMM0,
        K::ymm_reg | K::ymm_rm | K::ymm_vvvv | K::ymm_is4 | K::ymm_or_mem => Register::YMM0,
        K::zmm_reg | K::zmm_rm | K::zmm_vvvv | K::zmm_or_mem => Register::ZMM0,
        K::k_reg | K::k_rm | K::k_vvvv | K::k_or_mem => Register::K0,
        K::r32_rm => Register::EAX,
        K::r64_rm => Register::RAX,
        K::r32_reg | K::r32_or_mem => Register::EAX,
        K::r64_reg | K::r64_or_mem => Register::RAX,
        K::mem => Register::None,
        K::imm8 => {
            i.set_op_kind(n, OpKind::Immediate8);
            i.set_immediate8(random.next() as u8);
            return Some(());
        }
        _ => return None,
    };
    let may_be_memory =
        matches!(kind, K::xmm_or_mem | K::ymm_or_mem | K::zmm_or_mem | K::k_or_mem | K::r32_or_mem | K::r64_or_mem);
    if kind == K::mem || may_be_memory && random.one_in(2) {
        i.set_op_kind(n, OpKind::Memory);
        i.set_memory_base(Register::R15);
        i.set_memory_displ_size(1);
    } else {
        i.set_op_kind(n, OpKind::Register);
        // The upper sixteen, too.
        let high = i.code().encoding() == EncodingKind::EVEX && first.is_vector_register() && random.one_in(4);
        i.set_op_register(n, first + random.below(8) as u32 + if high { 16 } else { 0 });
    }
    Some(())
}

fn draw(code: Code, random: &mut Random) -> Option<Instruction> {
    let o = code.op_code();
    let vector = o
        .op_kinds()
        .iter()
        .map(|k| format!("{k:?}"))
        .any(|k| k.contains("mm") && !k.contains("imm") || k.starts_with("k_"));
    if !vector {
        return encode::encoding(code, random);
    }
    let mut i = Instruction::default();
    i.set_code(code);
    for (n, kind) in o.op_kinds().iter().enumerate() {
        vector_operand(&mut i, n as u32, *kind, random)?;
    }
    if o.can_use_op_mask_register() && random.one_in(2) {
        i.set_op_mask(Register::K1 + random.below(7) as u32);
        i.set_zeroing_masking(o.can_use_zeroing_masking() && i.op0_kind() == OpKind::Register && random.one_in(2));
    }
    Some(i)
}

/// Makes the memory operand of `i` one in the data, most of the time.
fn aim(i: &mut Instruction, random: &mut Random) {
    if !(0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory) || i.memory_displ_size() == 8 && moffs(i) {
        return;
    }
    if random.one_in(400) {
        return;
    }
    i.set_memory_index(Register::None);
    i.set_memory_index_scale(1);
    if random.one_in(5) {
        i.set_memory_base(Register::RIP);
        i.set_memory_displ_size(8);
        i.set_memory_displacement64(CENTER - 0x80 + random.below(0x100));
        return;
    }
    i.set_memory_base(if random.one_in(8) { Register::R15D } else { Register::R15 });
    i.set_memory_displ_size(if random.one_in(3) { 0 } else { 1 });
    let size = i.memory_size().size() as u64;
    let aligned = size == 16 || size > 16 && random.one_in(2);
    let displacement = random.next() as i8 as u64 & if aligned { !(size - 1) } else { !0 };
    i.set_memory_displacement64(if i.memory_displ_size() == 0 { 0 } else { displacement });
    if i.memory_base() == Register::R15D {
        i.set_memory_displacement64(i.memory_displacement64() & 0xffff_ffff);
    } else if random.one_in(4) {
        i.set_memory_index(Register::R14);
        i.set_memory_index_scale(1 << random.below(4));
    }
}

fn moffs(i: &Instruction) -> bool {
    i.memory_base() == Register::None && i.memory_index() == Register::None
}

/// Does `i` name a register that programs keep, other than in its address?
fn spoils(i: &Instruction) -> bool {
    (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Register && KEPT.contains(&i.op_register(n).full_register()))
}

/// One or more lines: an instruction, and what must come before it.
fn lines(code: Code, random: &mut Random) -> Option<Vec<Line>> {
    let mut i = draw(code, random)?;
    aim(&mut i, random);
    if spoils(&i) {
        return None;
    }
    let mut out = Vec::new();
    if i.is_string_instruction() {
        // lea rsi, [r15 + n]; lea rdi, [r15 + m]; mov ecx, k
        let (n, m, k) = (random.next() as u8, random.next() as u8, random.below(40) as u8);
        for bytes in [vec![0x49, 0x8d, 0x77, n], vec![0x49, 0x8d, 0x7f, m], vec![0xb9, k, 0, 0, 0]] {
            out.push(Line { bytes, ahead: None });
        }
    }
    let branch = matches!(i.op0_kind(), OpKind::NearBranch64);
    if branch {
        i.set_near_branch64(CODE + 0x40);
    } else if i.flow_control() != FlowControl::Next {
        return None;
    }
    let mut encoder = Encoder::new(64);
    encoder.encode(&i, CODE + 0x20).ok()?;
    let ahead = branch.then(|| 1 + random.below(4) as usize);
    out.push(Line { bytes: encoder.take_buffer(), ahead });
    Some(out)
}

/// A program of about `length` instructions and a HLT.
fn program(all: &[Code], plain: &[Code], length: usize, random: &mut Random) -> Vec<u8> {
    let mut lines_of: Vec<Line> = Vec::new();
    while lines_of.len() < length {
        let from = if random.one_in(3) { plain } else { all };
        let code = from[random.below(from.len() as u64) as usize];
        let rare = matches!(code.mnemonic(), Mnemonic::Div | Mnemonic::Idiv | Mnemonic::Popfq);
        let far_bit = matches!(code.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc);
        if (rare || far_bit) && !random.one_in(8) {
            continue;
        }
        lines_of.extend(lines(code, random).into_iter().flatten());
    }
    let starts: Vec<usize> = lines_of
        .iter()
        .scan(0, |at, l| {
            *at += l.bytes.len();
            Some(*at - l.bytes.len())
        })
        .collect();
    let end: usize = lines_of.iter().map(|l| l.bytes.len()).sum();
    let mut bytes = Vec::new();
    for (n, l) in lines_of.iter().enumerate() {
        bytes.extend(&l.bytes);
        if let Some(ahead) = l.ahead {
            let to = starts.get(n + ahead).copied().unwrap_or(end) as i32 - bytes.len() as i32;
            let size = if l.bytes.len() > 4 { 4 } else { 1 };
            let at = bytes.len() - size;
            bytes[at..].copy_from_slice(&to.to_le_bytes()[..size]);
        }
    }
    bytes.push(0xf4);
    bytes
}

/// What a run leaves.
#[derive(Debug, PartialEq)]
struct After {
    exit: Exit,
    rip: u64,
    regs: [u64; 16],
    flags: u64,
    vec: Vec<[u8; 64]>,
    k: [u64; 8],
    mxcsr: u32,
    counts: Counts,
    data: Vec<u8>,
    code: Vec<u8>,
}

/// The data and the code, mapped identically but for one page; and the stack. All else faults.
fn page_tables(ram: &Ram) {
    let entry = |at: u64, v: u64| assert!(ram.write(Gpa(at), &v.to_le_bytes()));
    entry(0x1000, 0x2003);
    entry(0x2000, 0x3003);
    for n in 0..3 {
        entry(0x3000 + 8 * n, 0x4003 + 0x1000 * n);
    }
    for page in 0x201..0x207 {
        entry(0x4000 + 8 * page, page << 12 | 3);
    }
    for page in 0x300..0x303 {
        entry(0x4000 + 8 * page, page << 12 | 3);
    }
    // Absent, and read-only.
    entry(0x4000 + 8 * 0x205, 0);
    entry(0x4000 + 8 * 0x204, 0x20_4001);
    entry(0x6000 + 8, 0x20_3003);
    entry(0x6000 + 8 * 2, 0x20_6003);
}

struct Start {
    regs: [u64; 16],
    flags: u64,
    vec: [[u64; 8]; 32],
    k: [u64; 8],
    mxcsr: u32,
    data: Vec<u8>,
    code: Vec<u8>,
    at: u64,
}

const WINDOW: u64 = 0x20_1000;
const WINDOW_BYTES: usize = 0x6000;
const CODE_BYTES: usize = 0x3000;
/// No program runs for longer.
const MOST: u64 = 3000;

fn code_of(ram: &Ram) -> Vec<u8> {
    let mut code = vec![0; CODE_BYTES];
    assert!(ram.read(Gpa(CODE), &mut code));
    code
}

fn set_up(cpu: &mut Cpu, ram: &Ram, s: &Start) {
    let to = Long64 { cr3: 0x1000, gdt: Table { base: 0, limit: 0 }, code: 8, data: 16 };
    cpu.power_on();
    cpu.set_long64(to);
    cpu.set_cr(4, 0x4_0620).unwrap();
    cpu.xcr0 = 0xe7;
    cpu.set_cr(0, 0x8001_0033).unwrap();
    assert!(ram.write(Gpa(WINDOW), &s.data));
    let mut code = vec![0; CODE_BYTES];
    code[(s.at - CODE) as usize..][..s.code.len()].copy_from_slice(&s.code);
    if code_of(ram) != code {
        assert!(ram.write(Gpa(CODE), &code));
        cpu.forget(Gpa(CODE), CODE_BYTES as u64);
    }
    cpu.regs[..16].copy_from_slice(&s.regs);
    for (to, from) in cpu.vec.iter_mut().zip(&s.vec) {
        to.0.copy_from_slice(from.map(u64::to_le_bytes).as_flattened());
    }
    cpu.k = s.k;
    cpu.mxcsr = s.mxcsr;
    // What a program that changed itself into RDTSC or RDSEED reads.
    cpu.random = Random(0);
    cpu.msr.tsc_adjust = cpu.counts().clock.wrapping_neg();
    cpu.set_flags(s.flags);
    cpu.rip = s.at;
}

fn outcome(cpu: &Cpu, ram: &Ram, exit: Exit, before: Counts) -> After {
    let mut data = vec![0; WINDOW_BYTES];
    assert!(ram.read(Gpa(WINDOW), &mut data));
    let mut counts = cpu.counts();
    counts.kernel.instructions -= before.kernel.instructions;
    counts.kernel.branches -= before.kernel.branches;
    counts.kernel.conditional -= before.kernel.conditional;
    counts.cycles -= before.cycles;
    counts.clock -= before.clock;
    let mut regs = [0; 16];
    regs.copy_from_slice(&cpu.regs[..16]);
    let (vec, k) = (cpu.vec.iter().map(|v| v.0).collect(), cpu.k);
    After { exit, rip: cpu.rip, regs, flags: cpu.flags(), vec, k, mxcsr: cpu.mxcsr, counts, data, code: code_of(ram) }
}

/// One machine and the way it runs: `step` at a time.
struct Machine {
    ram: Arc<Ram>,
    cpu: Box<Cpu>,
    step: u64,
    doors: Watching,
}

impl Machine {
    fn new(step: u64) -> Machine {
        let ram = Arc::new(Ram::new(4 << 20, &[]).unwrap());
        page_tables(&ram);
        let cpu = Cpu::new(ram.clone(), 0);
        Machine { ram, cpu, step, doors: Watching(None) }
    }

    /// Runs `s` and tells a recorder, whose cache is empty at the start.
    fn run_told(&mut self, s: &Start) -> (After, Told) {
        let recorder = self.doors.0.as_mut().expect("it is watched");
        recorder.told = Told { sets: vec![Vec::new(); 64], ..Told::default() };
        // Nothing is in the filter that the new cache has not.
        self.cpu.set_cr(3, 0x1000).unwrap();
        let after = self.run(s);
        (after, self.doors.0.as_ref().expect("it is watched").told.clone())
    }

    fn run(&mut self, s: &Start) -> After {
        set_up(&mut self.cpu, &self.ram, s);
        let before = self.cpu.counts();
        let end = before.clock + MOST;
        loop {
            let now = self.cpu.counts().clock;
            let exit = self.cpu.run(&mut self.doors, end.min(now + self.step));
            if exit != Exit::Time || self.cpu.counts().clock >= end {
                return outcome(&self.cpu, &self.ram, exit, before);
            }
        }
    }
}

/// Eight bytes: a double, two singles, or anything.
fn number(random: &mut Random) -> u64 {
    let small = (random.next() as i32 >> random.below(31)) as f64 / (1u64 << random.below(20)) as f64;
    match random.below(5) {
        0 => random.corner(),
        4 => random.pick(&[
            0,
            1 << 63,
            1,
            0x8000_0000,
            0x7ff0_0000_0000_0000,
            0x3f80_0000_0000_0000,
            1 << 52,
            0x7f80_0000,
        ]),
        1 => u64::from((small as f32).to_bits()) << 32 | u64::from((small as f32 / 3.0).to_bits()),
        _ => small.to_bits(),
    }
}

fn draw_start(all: &[Code], plain: &[Code], random: &mut Random) -> Start {
    let length = 2 + random.below(30) as usize;
    let code = program(all, plain, length, random);
    let mut regs = [0; 16];
    regs.iter_mut().for_each(|r| *r = random.corner());
    (regs[15], regs[14], regs[4]) = (CENTER - random.below(2) * random.below(0x100), random.below(16), STACK);
    regs[4] -= 8 * random.below(64) + if random.one_in(8) { random.below(8) } else { 0 };
    let at = CODE + 0x2000 - random.below(0x180);
    match random.below(16) {
        0 => regs[15] = 0x20_4ff8,
        // The program changes itself.
        1..4 => regs[15] = at + random.below(0x80),
        _ => {}
    }
    let mut data = vec![0; WINDOW_BYTES];
    let noise = random.next();
    data.iter_mut().enumerate().for_each(|(n, b)| *b = (noise >> (n & 31)) as u8 ^ (n as u8).wrapping_mul(29));
    let vec = std::array::from_fn(|_| std::array::from_fn(|_| number(random)));
    for n in (0..WINDOW_BYTES).step_by(8).filter(|_| random.one_in(4)).collect::<Vec<_>>() {
        data[n..n + 8].copy_from_slice(&number(random).to_le_bytes());
    }
    let k = std::array::from_fn(|_| random.corner());
    let mut mxcsr = if random.one_in(4) { 0x1f80 | (random.next() as u32 & 0xe07f) } else { 0x1fa0 };
    if random.one_in(16) {
        mxcsr &= !(0x80 << random.below(6));
    }
    Start { regs, flags: random.next() & 0xcd5 & !0x100 | 2, vec, k, mxcsr, data, code, at }
}

fn difference(s: &Start, got: &After, want: &After) -> String {
    let mut out = format!("start {:x?} {:#x}\n", s.regs, s.flags);
    for (name, a) in [("got ", got), ("want", want)] {
        out += &format!("{name} {:?} {:#x} {:x?} {:#x} {:?}\n", a.exit, a.rip, a.regs, a.flags, a.counts.kernel);
    }
    let bytes: Vec<_> = (0..WINDOW_BYTES).filter(|b| got.data[*b] != want.data[*b]).take(8).collect();
    let bytes = bytes.iter().map(|b| format!("{:#x}: {:#x} {:#x}, ", WINDOW + *b as u64, got.data[*b], want.data[*b]));
    out + &format!(
        "bytes {} code {}, vectors {}\n",
        bytes.collect::<String>(),
        if got.code == want.code { "equal" } else { "differs" },
        if got.vec == want.vec && got.k == want.k && got.mxcsr == want.mxcsr { "equal" } else { "differ" }
    )
}

fn listing(s: &Start) -> String {
    let mut d = iced_x86::Decoder::with_ip(64, &s.code, s.at, 0);
    let mut out = String::new();
    while d.can_decode() {
        let i = d.decode();
        let from = (i.ip() - s.at) as usize;
        out += &format!("{:#x} {:02x?} {:?}\n", i.ip(), &s.code[from..from + i.len()], i.code());
    }
    out
}

#[test]
fn random_programs_do_the_same_in_blocks_and_one_instruction_at_a_time() {
    let programs = std::env::var("FAST_PROGRAMS").map_or(20_000, |n| n.parse().unwrap());
    let all = codes();
    let plain: Vec<Code> = all.iter().copied().filter(|c| conditional(*c)).collect();
    let (mut fast, mut general) = (Machine::new(1 << 30), Machine::new(1));
    let mut interrupted = Machine::new(5);
    let mut random = Random(SEED);
    let (mut halted, mut faulted, mut endless, mut bad) = (0, 0, 0, Vec::new());
    for n in 0..programs {
        let s = draw_start(&all, &plain, &mut random);
        let want = general.run(&s);
        // Twice: cold code is translated and linked in the first run, the second takes the links. Then with deadlines.
        for round in 0..3 {
            let got = if round == 2 { interrupted.run(&s) } else { fast.run(&s) };
            if got != want {
                bad.push(format!("program {n} round {round}\n{}{}", listing(&s), difference(&s, &got, &want)));
                break;
            }
        }
        match want.exit {
            Exit::Halted => halted += 1,
            Exit::Shutdown => faulted += 1,
            Exit::Time | Exit::Unimplemented(_) => endless += 1,
            other => panic!("program {n}: {other:?}\n{}", listing(&s)),
        }
    }
    bad.sort_by_key(String::len);
    assert!(bad.is_empty(), "{} programs differ; the shortest:\n{}", bad.len(), bad[..bad.len().min(6)].join("\n"));
    println!(
        "{programs} programs of {} codes: {halted} ran to their end, {faulted} faulted, {endless} neither",
        all.len()
    );
    assert!(halted > programs / 3 && faulted > programs / 50);
}

#[test]
fn a_monitor_is_told_the_same_of_blocks_and_of_single_instructions_and_changes_nothing() {
    let programs = std::env::var("FAST_PROGRAMS").map_or(5_000, |n| n.parse().unwrap());
    let all = codes();
    let plain: Vec<Code> = all.iter().copied().filter(|c| conditional(*c)).collect();
    let watched = |step, unfiltered| {
        let doors = Watching(Some(Recorder::new(unfiltered)));
        Machine { doors, ..Machine::new(step) }
    };
    let (mut alone, mut blocks) = (Machine::new(1 << 30), watched(1 << 30, false));
    let (mut steps, mut unfiltered) = (watched(1, true), watched(5, true));
    let mut random = Random(SEED + 1);
    let (mut halted, mut misses, mut taken, mut denormals) = (0, 0, 0, 0);
    for n in 0..programs {
        let s = draw_start(&all, &plain, &mut random);
        let want = alone.run(&s);
        let (after, told) = steps.run_told(&s);
        assert_eq!(after, want, "program {n}, watched, in steps\n{}", listing(&s));
        assert_eq!(told.instructions, want.counts.kernel.instructions, "program {n}\n{}", listing(&s));
        for round in 0..3 {
            let (after, mut again) = if round == 2 { unfiltered.run_told(&s) } else { blocks.run_told(&s) };
            assert!(after == want, "program {n} round {round}\n{}{}", listing(&s), difference(&s, &after, &want));
            if want.exit != Exit::Halted {
                // An instruction that faults may have touched more or less before it did.
                (again.sets, again.misses) = (told.sets.clone(), told.misses);
            }
            assert_eq!(again, told, "program {n} round {round}\n{}", listing(&s));
        }
        halted += u32::from(want.exit == Exit::Halted);
        (misses, taken) = (misses + told.misses, taken + told.taken.len());
        denormals += told.denormals.len();
    }
    assert!(denormals > programs as usize / 20, "{denormals}");
    assert!(halted > programs / 3 && misses > u64::from(programs) && taken > programs as usize / 2, "{misses} {taken}");
}

#[test]
fn operands_that_share_a_tlb_entry_do_not_drive_each_other_out_for_ever() {
    // push [rax]; call [rax + 8]; hlt: operand and stack are 2 MiB apart.
    let code = vec![0xff, 0x30, 0xff, 0x50, 0x08, 0xf4];
    let mut regs = [0; 16];
    (regs[0], regs[4]) = (0x20_2000, 0x40_2800);
    let mut data = vec![0; WINDOW_BYTES];
    data[0x1000..0x1008].copy_from_slice(&0x1234_5678u64.to_le_bytes());
    data[0x1008..0x1010].copy_from_slice(&(CODE + 5).to_le_bytes());
    let after = Machine::new(1 << 30).run(&Start {
        regs,
        flags: 2,
        vec: [[0; 8]; 32],
        k: [0; 8],
        mxcsr: 0x1f80,
        data,
        code,
        at: CODE,
    });
    assert_eq!((after.exit, after.counts.clock, after.regs[4]), (Exit::Halted, 3, 0x40_27f0));
    assert_eq!(after.data[0x57f8..0x5800], 0x1234_5678u64.to_le_bytes());
    assert_eq!(after.data[0x57f0..0x57f8], (CODE + 5).to_le_bytes());
}
