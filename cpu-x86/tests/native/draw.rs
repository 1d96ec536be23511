//! States for an encoding: registers and memory such that it does something, now and then at an edge where it faults.

use crate::encode::Encoded;
use crate::layout::{self, CODE, CODE_16, CODE_32, CODE_END, DATA, DATA_16, DATA_BYTES, FLAT, PAGE, STACK, STACK_16};
use crate::random::{Corners, Random};
use crate::state::{Case, State, cell};
use iced_x86::{Instruction, MemorySize, Mnemonic, OpKind, Register};

/// How much of the unusual a state has.
#[derive(Clone, Copy)]
pub struct Wild {
    /// One in so many operands lies at the end of a page, or beyond.
    pub edges: u64,
    /// One in so many states has segments with other limits, AC, TF, or unmasked exceptions.
    pub modes: u64,
    /// Does the instruction lie where code ends, or even beyond?
    pub at_the_end: bool,
}

impl Wild {
    pub const ORDINARY: Wild = Wild { edges: 12, modes: 8, at_the_end: false };
    /// Most operands and stacks are where pages meet or end.
    pub const EDGES: Wild = Wild { edges: 2, modes: 8, at_the_end: false };
    /// So is the instruction.
    pub const END: Wild = Wild { edges: 2, modes: 8, at_the_end: true };
}

/// A selector: mostly one that loads.
pub fn selector(random: &mut Random) -> u16 {
    match random.below(8) {
        0 => random.pick(&[0, 1, 2, 3, 0x23, 0x2b, 0x33, 0x10, 0x18, 0x43, 0x53, 0x7f, 0x87, 0xffff]),
        1 => random.pick(&[0x23, 0x2b, 0x33]),
        2 => random.next() as u16 & 0xff,
        _ => layout::selector(random.below(layout::LDT.len() as u64) as usize) & !(u16::from(random.one_in(12)) * 3),
    }
}

/// A state for `e`.
pub fn case(e: &Encoded, wild: Wild, random: &mut Random) -> Case {
    let mut c = Case {
        bits: e.bits,
        at: e.at,
        bytes: e.bytes.clone(),
        state: State::new(),
        noise: random.one_in(2),
        patches: Vec::new(),
    };
    segments(&mut c, wild, random);
    registers(&mut c, &e.instruction, wild, random);
    vectors(&mut c, &e.instruction, random);
    x87(&mut c, wild, random);
    operands(&mut c, &e.instruction, wild, random);
    special(&mut c, &e.instruction, random);
    if e.bits != 64 {
        c.state.0[8..16].fill(0);
        c.state.0[..8].iter_mut().for_each(|r| *r &= 0xffff_ffff);
    }
    c
}

fn segments(c: &mut Case, wild: Wild, random: &mut Random) {
    let s = &mut c.state.0;
    let (cs, ss, data) = match c.bits {
        64 => (0x33, 0x2b, 0x2b),
        32 => (layout::selector(CODE_32), layout::selector(FLAT), layout::selector(FLAT)),
        _ => (layout::selector(CODE_16), layout::selector(STACK_16), layout::selector(DATA_16)),
    };
    s[cell::SEG..cell::SEG + 6].copy_from_slice(&[data, cs, ss, data, data, data].map(u64::from));
    if c.bits == 64 {
        s[cell::SEG + 4] = 0;
        s[cell::SEG + 5] = 0;
        s[cell::FS_BASE] = if random.one_in(8) { random.corner() << 16 >> 17 } else { 0x1000 * random.below(4) };
        s[cell::GS_BASE] = random.pick(&[0, 0x2000, u64::MAX << 12]);
    } else if random.one_in(wild.modes) {
        for n in [0, 3, 4, 5] {
            s[cell::SEG + n] = u64::from(layout::selector(4 + random.below(6) as usize));
        }
        s[cell::SEG] =
            random.pick(&[s[cell::SEG], 0, u64::from(layout::selector(FLAT)), u64::from(layout::selector(15))]);
        if random.one_in(2) {
            s[cell::SEG + 2] = u64::from(layout::selector(10 + random.below(3) as usize));
        }
    }
    let base = if c.bits == 16 { 0x30_0000 } else { 0 };
    s[cell::RIP] = c.at - base;
}

fn registers(c: &mut Case, i: &Instruction, wild: Wild, random: &mut Random) {
    let stack =
        STACK + if random.one_in(wild.edges) { PAGE as u64 - random.below(20) } else { 0x7c0 + random.below(32) };
    let stack = if random.one_in(wild.edges) { STACK + random.below(24) } else { stack };
    let ss = layout::base(c.state.0[cell::SEG + 2] as u16);
    // Where two pages meet.
    let across = ss == 0 && random.one_in(wild.edges);
    let stack = if across { DATA + PAGE as u64 + random.below(24) } else { stack };
    let s = &mut c.state.0;
    s[..16].iter_mut().for_each(|r| *r = random.corner());
    let wide = random.next() & 0xffff_0000 & if c.bits == 16 { !0 } else { 0 };
    s[4] =
        stack.wrapping_sub(ss) & if c.bits == 64 || random.one_in(2) { !7 | (7 * random.below(2)) } else { !3 } | wide;
    s[cell::FLAGS] = random.next() & 0xcd5 | 0x202;
    if random.one_in(wild.modes) {
        // TF; AC, but with vectors in memory, whose check is the maker's choice (SDM vol. 3A, 6.15).
        let evex = i.op_code().encoding() == iced_x86::EncodingKind::EVEX;
        let vector = evex || (0..i.op_count()).any(|n| i.op_register(n).is_vector_register());
        s[cell::FLAGS] |= random.next() & if vector { 0x100 } else { 0x4_0100 };
    }
}

fn vectors(c: &mut Case, i: &Instruction, random: &mut Random) {
    let s = &mut c.state.0;
    let mut used = [0usize; 8];
    let mut many = 0;
    let regs = (0..i.op_count()).map(|n| i.op_register(n)).chain([i.memory_index(), Register::XMM0]);
    for r in regs.filter(|r| r.is_vector_register()) {
        used[many] = r.number();
        many += 1;
    }
    let sparse = random.next();
    for (n, v) in s[cell::VEC..cell::VECTOR].iter_mut().enumerate() {
        *v = sparse ^ (n as u64).wrapping_mul(0x0101_0101_0101_0101);
    }
    let same = random.one_in(8);
    for r in &used[..many] {
        let kind = random.lane_kind();
        for n in 0..8 {
            s[cell::VEC + 8 * r + n] = random.lanes(kind);
        }
        if same && n_of(*r) > 0 {
            s.copy_within(cell::VEC + 8 * used[0]..cell::VEC + 8 * used[0] + 8, cell::VEC + 8 * r);
        }
    }
    s[cell::K..cell::K + 8].iter_mut().for_each(|k| *k = random.corner());
    s[cell::MXCSR] = 0x1f80 | random.next() & 0x3f | random.below(4) << 13;
    if random.one_in(3) {
        s[cell::MXCSR] |= random.next() & 0x8040;
    }
    if random.one_in(4) {
        s[cell::MXCSR] &= random.next() | !0x1f80;
    }
}

fn n_of(r: usize) -> usize {
    r & 15
}

fn x87(c: &mut Case, wild: Wild, random: &mut Random) {
    let s = &mut c.state.0;
    let masks = if random.one_in(3) { random.below(64) } else { 63 };
    s[cell::CW] = masks | 0x40 | random.below(16) << 8;
    let flags = random.next() & 63 & if random.one_in(wild.modes) { 63 } else { masks };
    let error = if flags & !masks != 0 { 0x8080 } else { 0 };
    s[cell::SW] = random.next() & 0x7f40 & !0x80 | flags | error;
    let top = s[cell::SW] >> 11 & 7;
    s[cell::TAG] = match random.below(6) {
        0 => random.next() & 0xff,
        1 => 0xff,
        _ => 0xff & !(1 << ((top + 7 - 3 * random.below(2)) & 7)),
    };
    for n in 0..8 {
        let (significand, rest) = random.extended();
        s[cell::ST + 2 * n] = significand;
        s[cell::ST + 2 * n + 1] = if random.one_in(8) { 0xffff } else { rest };
    }
}

/// Where the operand shall be: mostly around the middle of the data, whose two pages meet there.
fn aim(bytes: u64, wild: Wild, random: &mut Random) -> u64 {
    let bytes = bytes.clamp(1, 1024);
    let align = match random.below(4) {
        0 => 1,
        1 => bytes.next_power_of_two().min(64),
        _ => 64,
    };
    if random.one_in(wild.edges) {
        let end = random.pick(&[DATA, DATA + DATA_BYTES as u64, DATA + DATA_BYTES as u64 + PAGE as u64]);
        return end.wrapping_add(random.below(bytes + 8)).wrapping_sub(bytes + 4);
    }
    let near = DATA + PAGE as u64 - 0x200 + random.below(0x400);
    if bytes > 64 { DATA + 64 * random.below(16) + if random.one_in(8) { 16 } else { 0 } } else { near & !(align - 1) }
}

/// Linear address of the memory operand of `i`.
pub fn address(c: &Case, i: &Instruction) -> Option<u64> {
    let n = (0..i.op_count()).find(|n| i.op_kind(*n) == OpKind::Memory)?;
    let at = i.virtual_address(n, 0, |r, _, _| {
        let v = if r.is_segment_register() { 0 } else { c.state.0[r.full_register().number()] };
        Some(if r.size() < 8 { v & ((1 << (8 * r.size())) - 1) } else { v })
    })?;
    Some(at.wrapping_add(segment_base(c, i.memory_segment())))
}

fn segment_base(c: &Case, r: Register) -> u64 {
    let n = match r {
        Register::ES => 0,
        Register::CS => 1,
        Register::SS => 2,
        Register::FS => 4,
        Register::GS => 5,
        _ => 3,
    };
    match (c.bits, n) {
        (64, 4) => c.state.0[cell::FS_BASE],
        (64, 5) => c.state.0[cell::GS_BASE],
        (64, _) => 0,
        _ => layout::base(c.state.0[cell::SEG + n] as u16),
    }
}

/// Registers so that the memory operand falls where it shall, and what lies there.
fn operands(c: &mut Case, i: &Instruction, wild: Wild, random: &mut Random) {
    string(c, i, wild, random);
    if !(0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory) {
        return;
    }
    let bytes = i.memory_size().size() as u64;
    let base = segment_base(c, i.memory_segment());
    let (r, index) = (i.memory_base(), i.memory_index());
    let mut at = aim(bytes, wild, random);
    if i.is_ip_rel_memory_operand() {
        at = i.ip_rel_memory_address().wrapping_add(base);
    } else if r == Register::None && !index.is_gpr() {
        at = i.memory_displacement64().wrapping_add(base);
    } else {
        let mut to = at.wrapping_sub(base).wrapping_sub(i.memory_displacement64());
        let of = |r: Register| r.full_register().number();
        if index.is_vector_register() {
            indices(c, i, random);
        } else if index == Register::AL {
            to = to.wrapping_sub(c.state.0[0] & 0xff);
        } else if index != Register::None && r != Register::None {
            to = to.wrapping_sub(c.state.0[of(index)].wrapping_mul(i.memory_index_scale().into()));
        }
        let free = if r == Register::None { index } else { r };
        let junk = random.next();
        c.state.0[of(free)] = match free.size() {
            2 => to & 0xffff | junk << 16,
            4 => to & 0xffff_ffff | junk << 32,
            _ => to,
        };
    }
    fill(c, i, at, random);
}

/// A vector of indices, all near.
fn indices(c: &mut Case, i: &Instruction, random: &mut Random) {
    use iced_x86::OpCodeOperandKind as K;
    let wide = i.op_code().op_kinds().iter().any(|k| matches!(k, K::mem_vsib64x | K::mem_vsib64y | K::mem_vsib64z));
    for n in 0..8 {
        let (low, high) = (random.below(200).wrapping_sub(100), random.below(200).wrapping_sub(100));
        let v = if wide { low } else { low & 0xffff_ffff | high << 32 };
        c.state.0[cell::VEC + 8 * i.memory_index().number() + n] = v;
    }
}

/// Puts values of the operand's type at `at`.
fn fill(c: &mut Case, i: &Instruction, at: u64, random: &mut Random) {
    use MemorySize::{Bcd, Float32, Float64, Float80};
    let mut b = Vec::new();
    match i.memory_size() {
        Float32 => b.extend((random.float(8, 23) as u32).to_le_bytes()),
        Float64 => b.extend(random.float(11, 52).to_le_bytes()),
        Float80 => {
            let (significand, rest) = random.extended();
            b.extend(significand.to_le_bytes());
            b.extend((rest as u16).to_le_bytes());
        }
        Bcd => {
            b.extend((0..9).map(|_| (random.below(10) * 16 + random.below(10)) as u8));
            b.push((random.below(2) << 7) as u8);
        }
        size if size.size() <= 8 => b.extend(random.corner().to_le_bytes()),
        _ => {
            let kind = random.lane_kind();
            b.extend((0..8).flat_map(|_| random.lanes(kind).to_le_bytes()));
        }
    }
    c.patches.push((at, b));
}

fn string(c: &mut Case, i: &Instruction, wild: Wild, random: &mut Random) {
    use OpKind::{
        MemoryESDI, MemoryESEDI, MemoryESRDI, MemorySegDI, MemorySegEDI, MemorySegESI, MemorySegRDI, MemorySegRSI,
        MemorySegSI,
    };
    let kinds = [i.op0_kind(), i.op1_kind(), i.op2_kind()];
    let size = |k: &OpKind| match k {
        MemorySegSI | MemoryESDI | MemorySegDI => Some(2),
        MemorySegESI | MemoryESEDI | MemorySegEDI => Some(4),
        MemorySegRSI | MemoryESRDI | MemorySegRDI => Some(8),
        _ => None,
    };
    let Some(address) = kinds.iter().find_map(size) else { return };
    let cut = |v: u64, junk: u64| match address {
        2 => v & 0xffff | junk << 16,
        4 => v & 0xffff_ffff | junk << 32,
        _ => v,
    };
    let from = aim(64, wild, random);
    let near = from.wrapping_add(random.below(64)).wrapping_sub(32);
    let to = if random.one_in(3) { near } else { aim(64, wild, random) };
    let masked = kinds.iter().any(|k| matches!(k, MemorySegDI | MemorySegEDI | MemorySegRDI));
    let (source, es) = (segment_base(c, i.memory_segment()), segment_base(c, Register::ES));
    c.state.0[6] = cut(from.wrapping_sub(source), random.next());
    c.state.0[7] = cut(to.wrapping_sub(if masked { source } else { es }), random.next());
    if !masked {
        // Without repetition and 32-bit addresses, AMD keeps RCX; see `exec/int/string.rs`, `nothing`.
        let least = u64::from(address == 4 && c.bits == 64);
        c.state.0[1] = cut(least + random.below(40), random.next());
    }
    if random.one_in(2) {
        let same = vec![random.next() as u8 & 1; 128];
        c.patches.extend([(from.wrapping_sub(64), same.clone()), (to.wrapping_sub(64), same)]);
        let v = random.next() & 0x0101_0101_0101_0101;
        c.state.0[0] = if random.one_in(2) { v } else { 0 };
    }
}

/// An offset where code can go on, or now and then cannot.
fn target(c: &Case, random: &mut Random) -> u64 {
    let base = if c.bits == 16 { 0x30_0000 } else { 0 };
    match random.below(12) {
        0 => random.corner(),
        1 => CODE_END - base - random.below(3),
        _ => CODE + 0x800 - base + random.below(0x400),
    }
}

/// Linear address of the stack pointer.
pub fn stack(c: &Case) -> u64 {
    let sp = c.state.0[4];
    let ss = c.state.0[cell::SEG + 2] as u16;
    let big = c.bits == 64 || ss & 4 == 0 || layout::LDT[usize::from(ss >> 3)].flags & layout::local::BIG != 0;
    let sp = if c.bits == 64 {
        sp
    } else if big {
        sp & 0xffff_ffff
    } else {
        sp & 0xffff
    };
    sp.wrapping_add(if c.bits == 64 { 0 } else { layout::base(ss) })
}

/// Pushes `values` of `bytes` each, the first on top.
fn on_stack(c: &mut Case, bytes: usize, values: &[u64]) {
    let at = stack(c);
    c.patches.push((at, values.iter().flat_map(|v| v.to_le_bytes()[..bytes].to_vec()).collect()));
}

/// What single instructions need to go the way that random values seldom take.
fn special(c: &mut Case, i: &Instruction, random: &mut Random) {
    use Mnemonic::*;
    let memory = i.op0_kind() == OpKind::Memory;
    let first = i.op0_register().full_register();
    match i.mnemonic() {
        Bt | Bts | Btr | Btc if memory && i.op1_kind() == OpKind::Register => {
            let (r, bits) = (i.op1_register(), 8 * i.op1_register().size() as u32);
            if ![i.memory_base(), i.memory_index()].map(Register::full_register).contains(&r.full_register()) {
                let index = random.below(4000).wrapping_sub(2000);
                let above = if bits == 64 { 0 } else { random.next() << bits };
                c.state.0[r.full_register().number()] = index & (u64::MAX >> (64 - bits)) | above;
            }
        }
        Cmpxchg | Cmpxchg8b | Cmpxchg16b if random.one_in(2) => equal(c, i),
        Div | Idiv if !random.one_in(4) => {
            c.state.0[2] = if random.one_in(2) { random.below(4) } else { (c.state.0[0] as i64 >> 63) as u64 };
            if i.memory_size().size() == 1 || i.op0_register().size() == 1 {
                c.state.0[0] &= 0x3ff;
            }
        }
        Jmp | Call if i.op0_kind() == OpKind::Register => c.state.0[first.number()] = target(c, random),
        Jmp | Call if memory => far_pointer(c, i, random),
        Lds | Les | Lfs | Lgs | Lss => far_pointer(c, i, random),
        Ret | Retf | Iret | Iretd | Iretq => back(c, i, random),
        Enter | Leave if !random.one_in(8) => {
            let base = if c.bits == 64 { 0 } else { layout::base(c.state.0[cell::SEG + 2] as u16) };
            c.state.0[5] = STACK + 0x7c0 - base + random.below(64);
        }
        Pop | Popf | Popfd | Popfq | Popa | Popad if !random.one_in(3) => {
            let flags = random.next() & 0x25_4dd5;
            let v = if i.op0_register().is_segment_register() { selector(random).into() } else { flags };
            on_stack(c, 8, &[v]);
        }
        Mov | Lar | Lsl | Verr | Verw | Arpl => selectors(c, i, random),
        Bound if !random.one_in(4) => {
            let (at, w) = (c.patches.last().map_or(0, |p| p.0), i.op0_register().size());
            c.patches.push((at + w as u64 - 1, vec![0x80 | random.next() as u8]));
            c.patches.push((at + 2 * w as u64 - 1, vec![random.next() as u8 & 0x7f]));
        }
        Jcxz | Jrcxz | Jecxz | Loop | Loope | Loopne if random.one_in(2) => {
            c.state.0[1] = c.state.0[1] & !0xffff_ffff | random.below(2);
        }
        // With a memory operand AMD does not look for x87 exceptions.
        Cvtpi2ps if !i.op1_register().is_mm() => c.state.0[cell::SW] &= !0x80bf,
        Insb | Insw | Insd | Outsb | Outsw | Outsd => c.state.0[1] |= 1,
        Wrfsbase | Wrgsbase => {
            // Canonical with 48 bits, or not even with 57: the host has 48, Sapphire Rapids 57 (SDM vol. 1, 3.3.7.1).
            let bad = u64::from(random.one_in(3)) << 60;
            c.state.0[first.number() & 15] = random.corner() & 0x7fff_ffff_ffff | bad;
        }
        Pcmpestri | Pcmpestrm | Vpcmpestri | Vpcmpestrm | Pcmpestri64 | Pcmpestrm64 if !random.one_in(4) => {
            c.state.0[0] = random.below(36).wrapping_sub(18);
            c.state.0[2] = random.below(36).wrapping_sub(18);
        }
        _ => images(c, i, random),
    }
}

/// The accumulator equals the operand.
fn equal(c: &mut Case, i: &Instruction) {
    let mut b = [0; 16];
    if let (OpKind::Memory, Some((_, from))) = (i.op0_kind(), c.patches.last()) {
        let n = from.len().min(16);
        b[..n].copy_from_slice(&from[..n]);
    } else if i.op0_kind() == OpKind::Register {
        b[..8].copy_from_slice(&c.state.0[i.op0_register().full_register().number()].to_le_bytes());
    }
    let v = u128::from_le_bytes(b);
    let used = [i.memory_base(), i.memory_index()].map(|r| r.full_register().number());
    if used.contains(&0) || used.contains(&2) && i.mnemonic() != Mnemonic::Cmpxchg {
        return;
    }
    c.state.0[0] = v as u64;
    if i.mnemonic() != Mnemonic::Cmpxchg {
        c.state.0[2] = (v >> if i.mnemonic() == Mnemonic::Cmpxchg16b { 64 } else { 32 }) as u64;
    }
}

/// The memory operand holds an offset in the code, and a selector behind it.
fn far_pointer(c: &mut Case, i: &Instruction, random: &mut Random) {
    let Some(at) = c.patches.last().map(|p| p.0) else { return };
    let offset = match i.memory_size() {
        MemorySize::SegPtr16 => 2,
        MemorySize::SegPtr32 => 4,
        MemorySize::SegPtr64 => 8,
        size => size.size(),
    };
    let mut b = target(c, random).to_le_bytes()[..offset.min(8)].to_vec();
    b.extend(selector(random).to_le_bytes());
    c.patches.push((at, b));
}

/// What a return takes from the stack.
fn back(c: &mut Case, i: &Instruction, random: &mut Random) {
    let bytes = match i.code() {
        code if format!("{code:?}").contains("nw")
            || format!("{code:?}").contains("fw")
            || i.mnemonic() == Mnemonic::Iret =>
        {
            2
        }
        code if format!("{code:?}").contains("fd") || i.mnemonic() == Mnemonic::Iretd => 4,
        _ if i.mnemonic() == Mnemonic::Ret && c.bits != 64 => c.bits as usize / 8,
        code if format!("{code:?}").contains("nd") => 4,
        _ => 8,
    };
    let cs = if random.one_in(2) { c.state.0[cell::SEG + 1] as u16 } else { selector(random) };
    let ss = if random.one_in(2) { c.state.0[cell::SEG + 2] as u16 } else { selector(random) };
    let flags = random.next() & 0x25_4dd5 | 2;
    let flags = if i.mnemonic() == Mnemonic::Ret || i.mnemonic() == Mnemonic::Retf { c.state.0[4] } else { flags };
    let sp = c.state.0[4].wrapping_add(64);
    let to = target(c, random);
    on_stack(c, bytes, &[to, cs.into(), flags, sp, ss.into()]);
}

/// A selector in the source.
fn selectors(c: &mut Case, i: &Instruction, random: &mut Random) {
    let wanted = i.mnemonic() != Mnemonic::Mov || i.op0_register().is_segment_register();
    if !wanted || random.one_in(8) {
        return;
    }
    let source = u32::from(matches!(i.mnemonic(), Mnemonic::Mov | Mnemonic::Lar | Mnemonic::Lsl));
    let v = selector(random);
    match i.op_kind(source) {
        OpKind::Register => {
            let r = i.op_register(source).full_register().number();
            c.state.0[r] = c.state.0[r] & !0xffff | u64::from(v);
        }
        _ => {
            if let Some((at, _)) = c.patches.last().cloned() {
                c.patches.push((at, v.to_le_bytes().to_vec()));
            }
        }
    }
}

/// Images of state that can be loaded.
fn images(c: &mut Case, i: &Instruction, random: &mut Random) {
    use Mnemonic::{
        Fldcw, Fldenv, Frstor, Fxrstor, Fxrstor64, Ldmxcsr, Vldmxcsr, Xrstor, Xrstor64, Xsave, Xsave64, Xsavec,
        Xsavec64, Xsaveopt, Xsaveopt64,
    };
    let Some(at) = c.patches.last().map(|p| p.0) else { return };
    let saves = matches!(i.mnemonic(), Xsave | Xsave64 | Xsavec | Xsavec64 | Xsaveopt | Xsaveopt64);
    if matches!(i.mnemonic(), Xrstor | Xrstor64) || saves {
        // What both sides have: x87, SSE, AVX.
        (c.state.0[0], c.state.0[2]) = (random.next() & 7, 0);
    }
    if random.one_in(8) && !saves {
        if matches!(i.mnemonic(), Fxrstor | Fxrstor64 | Xrstor | Xrstor64 | Ldmxcsr | Vldmxcsr) {
            // All bits of MXCSR but the one that AMD has and Intel has not.
            let from = if i.memory_size().size() == 4 { at } else { at + 24 };
            c.patches.push((from, (random.next() as u32 & !0x2_0000).to_le_bytes().to_vec()));
        }
        return;
    }
    match i.mnemonic() {
        Ldmxcsr | Vldmxcsr => c.patches.push((at, (random.next() as u32 & 0xffff).to_le_bytes().to_vec())),
        Fldcw | Fldenv | Frstor => {
            let cw = random.next() as u16 & 0xf7f | 0x40 | if random.one_in(2) { 0x3f } else { 0 };
            c.patches.push((at, cw.to_le_bytes().to_vec()));
        }
        Fxrstor | Fxrstor64 | Xrstor | Xrstor64 => {
            c.patches.push((at + 24, (random.next() as u32 & 0xffff).to_le_bytes().to_vec()));
            c.patches.push((at + 512, (random.next() & 7).to_le_bytes().to_vec()));
            c.patches.push((at + 520, vec![0; 56]));
        }
        Xsave | Xsave64 | Xsavec | Xsavec64 | Xsaveopt | Xsaveopt64 => {
            // The header is a good one.
            c.patches.push((at + 512, (random.next() & 7).to_le_bytes().to_vec()));
            c.patches.push((at + 520, vec![0; 56]));
        }
        _ => {}
    }
}
