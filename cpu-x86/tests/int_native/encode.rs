//! Encodings of a `Code` with random operands, and states in which they can run.

use crate::machine::{AT, CENTER, DATA, DATA_BYTES, STACK, STACK_BYTES, State, TARGET};
use iced_x86::{Code, Decoder, DecoderOptions, Encoder, Instruction, Mnemonic, OpCodeOperandKind, OpKind, Register};

/// A small generator of random numbers (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    /// A value with an edge in it somewhere, or any value.
    pub fn corner(&mut self) -> u64 {
        let bit = 1u64 << self.below(64);
        match self.below(8) {
            0 => self.below(3).wrapping_sub(1),
            1 => bit,
            2 => bit - 1,
            3 => bit.wrapping_neg(),
            4 => [0x80, 0x7f, 0x8000, 0x7fff, 0x8000_0000, 0x7fff_ffff, 1 << 63, !(1 << 63)][self.below(8) as usize],
            5 => self.next() >> self.below(64),
            _ => self.next(),
        }
    }
    /// A general register of `bytes` in code of `bits`.
    fn register(&mut self, bytes: usize, bits: u32) -> Register {
        let (first, many) = match bytes {
            _ if bits == 32 => ([Register::AL, Register::AX, Register::EAX][bytes / 2], 8),
            1 => (Register::AL, 20),
            2 => (Register::AX, 16),
            4 => (Register::EAX, 16),
            _ => (Register::RAX, 16),
        };
        Register::values().nth(first as usize + self.below(many) as usize).unwrap()
    }
}

/// Width of the general registers of `kind`, and whether it may be memory instead.
fn register_kind(kind: OpCodeOperandKind) -> Option<(usize, bool)> {
    use OpCodeOperandKind::*;
    Some(match kind {
        r8_or_mem => (1, true),
        r16_or_mem => (2, true),
        r32_or_mem => (4, true),
        r64_or_mem => (8, true),
        r8_reg | r8_opcode => (1, false),
        r16_reg | r16_rm | r16_opcode => (2, false),
        r32_reg | r32_rm | r32_opcode | r32_vvvv => (4, false),
        r64_reg | r64_rm | r64_opcode | r64_vvvv => (8, false),
        _ => return Option::None,
    })
}

/// The register that `kind` stands for.
fn fixed(kind: OpCodeOperandKind) -> Option<Register> {
    use OpCodeOperandKind::*;
    Some(match kind {
        al => Register::AL,
        cl => Register::CL,
        ax => Register::AX,
        eax => Register::EAX,
        rax => Register::RAX,
        _ => return Option::None,
    })
}

fn immediate(kind: OpCodeOperandKind) -> Option<OpKind> {
    use OpCodeOperandKind::*;
    Some(match kind {
        imm8 | imm8_const_1 => OpKind::Immediate8,
        imm8sex16 => OpKind::Immediate8to16,
        imm8sex32 => OpKind::Immediate8to32,
        imm8sex64 => OpKind::Immediate8to64,
        imm16 => OpKind::Immediate16,
        imm32 => OpKind::Immediate32,
        imm32sex64 => OpKind::Immediate32to64,
        imm64 => OpKind::Immediate64,
        _ => return Option::None,
    })
}

/// The mode of the code, and whether its addresses have 32 bits.
#[derive(Clone, Copy)]
struct Form {
    bits: u32,
    narrow: bool,
}

/// A random encoding of `code`, decoded as the engine does it (its page offset as IP); `None` when the draw cannot be
/// encoded or decodes to another code.
pub fn encoding(code: Code, bits: u32, random: &mut Random) -> Option<(Vec<u8>, Instruction)> {
    let mut i = Instruction::default();
    i.set_code(code);
    let form = Form { bits, narrow: bits == 32 || random.one_in(4) };
    for (n, kind) in code.op_code().op_kinds().iter().enumerate() {
        operand(&mut i, n as u32, *kind, form, random)?;
    }
    let string = i.is_string_instruction();
    if string && code.op_code().can_use_rep_prefix() && !random.one_in(4) {
        i.set_has_rep_prefix(true);
        if code.op_code().can_use_repne_prefix() && random.one_in(2) {
            i.set_has_rep_prefix(false);
            i.set_has_repne_prefix(true);
        }
    }
    if code.op_code().can_use_lock_prefix() && i.op0_kind() == OpKind::Memory && random.one_in(3) {
        i.set_has_lock_prefix(true);
    }
    let mut encoder = Encoder::new(bits);
    encoder.encode(&i, AT).ok()?;
    let bytes = encoder.take_buffer();
    let decoded = Decoder::with_ip(bits, &bytes, AT & 0xfff, DecoderOptions::NONE).decode();
    (decoded.code() == code && decoded.len() == bytes.len() && !unwanted(&decoded)).then_some((bytes, decoded))
}

/// A register bit index that is also part of its memory operand's address.
fn unwanted(i: &Instruction) -> bool {
    let bt = matches!(i.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc);
    let index = i.op1_register().full_register();
    let shared = [i.memory_base(), i.memory_index()].map(Register::full_register).contains(&index);
    bt && i.op0_kind() == OpKind::Memory && index != Register::None && (shared || index == Register::RSP)
}

fn operand(i: &mut Instruction, n: u32, kind: OpCodeOperandKind, form: Form, random: &mut Random) -> Option<()> {
    let narrow = form.narrow;
    use OpCodeOperandKind::*;
    if let Some((bytes, or_memory)) = register_kind(kind) {
        if or_memory && random.one_in(2) {
            memory(i, n, form, random);
        } else {
            i.set_op_kind(n, OpKind::Register);
            i.set_op_register(n, random.register(bytes, form.bits));
        }
    } else if let Some(r) = fixed(kind) {
        i.set_op_kind(n, OpKind::Register);
        i.set_op_register(n, r);
    } else if let Some(k) = immediate(kind) {
        set_immediate(i, n, k, kind, random.corner());
    } else {
        match kind {
            mem => memory(i, n, form, random),
            mem_offs => {
                i.set_op_kind(n, OpKind::Memory);
                i.set_memory_displ_size(if narrow { 4 } else { 8 });
                i.set_memory_displacement64(CENTER);
            }
            seg_rSI => i.set_op_kind(n, if narrow { OpKind::MemorySegESI } else { OpKind::MemorySegRSI }),
            es_rDI => i.set_op_kind(n, if narrow { OpKind::MemoryESEDI } else { OpKind::MemoryESRDI }),
            seg_rBX_al => {
                i.set_op_kind(n, OpKind::Memory);
                i.set_memory_base(if narrow { Register::EBX } else { Register::RBX });
                i.set_memory_index(Register::AL);
            }
            br32_1 | br32_4 => {
                i.set_op_kind(n, OpKind::NearBranch32);
                i.set_near_branch32(TARGET as u32);
            }
            br64_1 | br64_4 => {
                i.set_op_kind(n, OpKind::NearBranch64);
                i.set_near_branch64(TARGET);
            }
            _ => return Option::None,
        }
    }
    Some(())
}

/// Makes operand `n` an immediate of kind `k` with the low bits of `v`.
fn set_immediate(i: &mut Instruction, n: u32, k: OpKind, kind: OpCodeOperandKind, v: u64) {
    let second = n == 1 && i.op0_kind() == OpKind::Immediate16;
    i.set_op_kind(n, if second { OpKind::Immediate8_2nd } else { k });
    match k {
        _ if kind == OpCodeOperandKind::imm8_const_1 => i.set_immediate8(1),
        _ if second => i.set_immediate8_2nd(v as u8),
        OpKind::Immediate8 => i.set_immediate8(v as u8),
        OpKind::Immediate16 => i.set_immediate16(v as u16),
        OpKind::Immediate32 => i.set_immediate32(v as u32),
        OpKind::Immediate32to64 => i.set_immediate32to64((v as i32).into()),
        OpKind::Immediate64 => i.set_immediate64(v),
        OpKind::Immediate8to16 => i.set_immediate8to16((v as i8).into()),
        OpKind::Immediate8to32 => i.set_immediate8to32((v as i8).into()),
        _ => i.set_immediate8to64((v as i8).into()),
    }
}

/// One of the addressing forms, with 64-bit or (`narrow`) 32-bit address size.
fn memory(i: &mut Instruction, n: u32, form: Form, random: &mut Random) {
    let narrow = form.narrow;
    i.set_op_kind(n, OpKind::Memory);
    if form.bits == 32 && i.mnemonic() == Mnemonic::Lea && random.one_in(2) {
        return sixteen(i, random);
    }
    let (bytes, wide) = if narrow { (4, 4) } else { (8, 8) };
    i.set_memory_displ_size(wide);
    if random.one_in(8) {
        i.set_memory_displacement64(CENTER + random.below(64));
        if form.bits == 64 && random.one_in(2) {
            i.set_memory_base(if narrow { Register::EIP } else { Register::RIP });
        }
        return;
    }
    i.set_memory_base(random.register(bytes, form.bits));
    if random.one_in(2) {
        i.set_memory_displ_size(1);
    }
    let near = i.memory_displ_size() == 1 || i.memory_base().full_register() == Register::RSP;
    let displacement = if near { i64::from(random.next() as i8) } else { i64::from(random.next() as i32 >> 2) };
    let displacement = displacement as u64;
    i.set_memory_displacement64(if narrow { displacement & 0xffff_ffff } else { displacement });
    let index = random.register(bytes, form.bits);
    if random.one_in(2) && index.full_register() != Register::RSP && index != i.memory_base() {
        if i.memory_base().full_register() == Register::RSP {
            return;
        }
        i.set_memory_index(index);
        i.set_memory_index_scale(1 << random.below(4));
    }
}

/// A 16-bit addressing form: for LEA only, which reads nothing.
fn sixteen(i: &mut Instruction, random: &mut Random) {
    use Register::{BP, BX, DI, None, SI};
    let forms = [(BX, SI), (BX, DI), (BP, SI), (BP, DI), (SI, None), (DI, None), (BP, None), (BX, None), (None, None)];
    let (base, index) = forms[random.below(9) as usize];
    i.set_memory_base(base);
    i.set_memory_index(index);
    i.set_memory_displ_size(2);
    i.set_memory_displacement64(random.next() & 0xffff);
}

/// A state in which `i` touches nothing but the windows.
pub fn state(i: &Instruction, bits: u32, random: &mut Random) -> State {
    let mut s =
        State { regs: [0; 16], flags: 0, data: vec![0; DATA_BYTES], stack: vec![0; STACK_BYTES], jumped: false };
    s.regs.iter_mut().for_each(|r| *r = random.corner());
    s.flags = random.next() & 0xcd5 | 0x202;
    let (pattern, each) = (random.next().to_le_bytes(), 1 + random.below(8) as usize);
    let noise = random.one_in(2);
    for (n, b) in s.data.iter_mut().chain(&mut s.stack).enumerate() {
        *b = if noise { (random.0 >> (n & 31)) as u8 ^ (n as u8).wrapping_mul(29) } else { pattern[n % each] };
    }
    if !noise {
        let at = random.below(DATA_BYTES as u64) as usize;
        s.data[at] ^= 0x40;
    }
    s.regs[4] = STACK + STACK_BYTES as u64 / 2 + random.below(16);
    aim(i, &mut s, random);
    if bits == 32 {
        s.regs[8..].fill(0);
        s.regs.iter_mut().for_each(|r| *r &= 0xffff_ffff);
    }
    let mut changed = s.clone();
    special(i, &mut changed, random);
    if bits == 32 {
        changed.regs.iter_mut().for_each(|r| *r &= 0xffff_ffff);
    }
    let moved =
        |r: Register| r.is_gpr() && s.regs[r.full_register().number()] != changed.regs[r.full_register().number()];
    if moved(i.memory_base()) || moved(i.memory_index()) { s } else { changed }
}

/// Makes the memory operand's address fall near the middle of the data.
fn aim(i: &Instruction, s: &mut State, random: &mut Random) {
    let r = |r: Register| r.full_register().number();
    let (base, index) = (i.memory_base(), i.memory_index());
    if matches!(i.mnemonic(), Mnemonic::Enter | Mnemonic::Leave) {
        s.regs[5] = STACK + STACK_BYTES as u64 / 2 + random.below(32);
    }
    if i.is_string_instruction() {
        let junk = if narrow_string(i) { random.next() << 32 } else { 0 };
        s.regs[6] = (CENTER - 0x300 + random.below(0x600)).wrapping_add(junk);
        let near = s.regs[6].wrapping_add(random.below(64)).wrapping_sub(32);
        s.regs[7] = if random.one_in(3) { near } else { (CENTER - 0x300 + random.below(0x600)).wrapping_add(junk) };
        s.regs[1] = u64::from(narrow_string(i)) + random.below(60) + junk;
        return;
    }
    if !base.is_gpr() || base.full_register() == Register::RSP {
        return;
    }
    let near = random.below(0x200) & if i.memory_size().size() == 16 && !random.one_in(4) { !15 } else { !0 };
    let mut to = (CENTER - 0x100 + near).wrapping_sub(i.memory_displacement64());
    if index.is_gpr64() || index.is_gpr32() {
        to = to.wrapping_sub(s.regs[r(index)].wrapping_mul(i.memory_index_scale().into()));
    }
    s.regs[r(base)] = if base.is_gpr32() { to & 0xffff_ffff | random.next() << 32 } else { to };
}

fn narrow_string(i: &Instruction) -> bool {
    use OpKind::*;
    [i.op0_kind(), i.op1_kind()].iter().any(|k| matches!(k, MemorySegESI | MemoryESEDI | MemorySegEDI))
}

/// Where the memory operand is.
fn address(i: &Instruction, s: &State) -> u64 {
    if i.is_ip_rel_memory_operand() {
        return i.ip_rel_memory_address().wrapping_sub(i.ip()).wrapping_add(AT) & 0xffff_ffff;
    }
    i.virtual_address(if i.op0_kind() == OpKind::Memory { 0 } else { 1 }, 0, |r, _, _| {
        let v = if r.is_segment_register() { 0 } else { s.regs[r.full_register().number()] };
        Some(if r.is_gpr32() { v & 0xffff_ffff } else { v })
    })
    .unwrap()
}

/// The eight or sixteen bytes of the window at `at`.
fn window(s: &mut State, at: u64, bytes: usize) -> &mut [u8] {
    if at >= STACK {
        let from = (at - STACK) as usize;
        return &mut s.stack[from..from + bytes];
    }
    let from = (at - DATA) as usize;
    &mut s.data[from..from + bytes]
}

/// What single instructions need to go the way that random values seldom take, or to stay in the windows.
fn special(i: &Instruction, s: &mut State, random: &mut Random) {
    use Mnemonic::*;
    let memory = i.op0_kind() == OpKind::Memory;
    let first = i.op0_register().full_register();
    match i.mnemonic() {
        Bt | Bts | Btr | Btc if memory && i.op1_kind() == OpKind::Register => {
            let (n, bits) = (i.op1_register().full_register().number(), 8 * i.op1_register().size());
            let index = random.below(4000).wrapping_sub(2000);
            let above = if bits == 64 { 0 } else { random.next() << bits };
            s.regs[n] = if bits == 64 { index } else { index & ((1 << bits) - 1) | above };
        }
        Cmpxchg | Cmpxchg8b | Cmpxchg16b if random.one_in(2) => {
            let mut b = [0; 16];
            if memory {
                let at = address(i, s);
                b.copy_from_slice(window(s, at, 16));
            } else {
                b[..8].copy_from_slice(&s.regs[first.number()].to_le_bytes());
            }
            let v = u128::from_le_bytes(b);
            s.regs[0] = v as u64;
            s.regs[2] = (v >> if i.mnemonic() == Cmpxchg16b { 64 } else { 32 }) as u64;
        }
        Div | Idiv if !random.one_in(4) => {
            s.regs[2] = if random.one_in(2) { random.below(4) } else { (s.regs[0] as i64 >> 63) as u64 };
            if i.memory_size().size() == 1 || i.op0_register().size() == 1 {
                s.regs[0] &= 0x3ff;
            }
        }
        Ret => {
            let at = s.regs[4];
            window(s, at, 8).copy_from_slice(&TARGET.to_le_bytes());
        }
        Jmp | Call if memory => {
            let at = address(i, s);
            window(s, at, 8).copy_from_slice(&TARGET.to_le_bytes());
        }
        Jmp | Call if i.op0_kind() == OpKind::Register => s.regs[first.number()] = TARGET,
        Bound if !random.one_in(4) => {
            let (at, w) = (address(i, s), i.op0_register().size());
            let b = window(s, at, 2 * w);
            b[w - 1] |= 0x80;
            b[2 * w - 1] &= 0x7f;
        }
        Jcxz | Jrcxz | Jecxz | Loop | Loope | Loopne if random.one_in(2) => {
            s.regs[1] = s.regs[1] & !0xffff_ffff | random.below(2);
            if random.one_in(2) {
                s.regs[1] &= 0xffff_ffff;
            }
        }
        _ => {}
    }
}
