//! Random encodings: is what the decoder takes for an instruction one to the host, and as long?
//!
//! The bytes end where memory ends. With all of the instruction before the end, neither side may fetch beyond it; with
//! one byte less, both must. Registers point where nothing is, and TF is set, so that nothing runs on.

use super::suite::Bench;
use crate::codes;
use crate::compare::{self, Masks};
use crate::layout::{self, CODE_16, CODE_32, CODE_END, DATA_16, FLAT, STACK_16};
use crate::machine::End;
use crate::random::Random;
use crate::state::{Case, Outcome, State, cell};
use iced_x86::{Code, Decoder, DecoderOptions, EncodingKind, Instruction, OpKind};
use std::collections::BTreeMap;

/// What came of many encodings.
#[derive(Default)]
pub struct Count {
    pub encodings: u64,
    /// Instructions to both.
    pub valid: u64,
    /// #UD to both.
    pub invalid: u64,
    /// Of features that only one side has, by the decoder's name.
    pub elsewhere: u64,
    /// Not tried: what the list of masks excuses whole.
    pub excused: u64,
    /// How many differ in validity or length, and the first, by code.
    pub differ: BTreeMap<String, (u64, String)>,
}

/// Fifteen bytes that are like an instruction: prefixes, an opcode of some map, and anything.
fn draw(bits: u32, random: &mut Random) -> [u8; 15] {
    const PREFIXES: [u8; 11] = [0x66, 0x66, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x67];
    let mut b = Vec::new();
    while random.one_in(3) {
        b.push(random.pick(&PREFIXES));
    }
    if bits == 64 && random.one_in(2) {
        b.push(0x40 | random.below(16) as u8);
    }
    match random.below(10) {
        0..=2 => {}
        3..=5 => b.push(0x0f),
        6 => b.extend([0x0f, 0x38]),
        7 => b.extend([0x0f, 0x3a]),
        8 => b.extend([0xc5, random.next() as u8]),
        _ => b.extend([0xc4, random.next() as u8 & 0xe3 | 1 << random.below(2), random.next() as u8]),
    }
    let mut out = [0; 15];
    out.iter_mut().for_each(|b| *b = random.next() as u8);
    let n = b.len().min(14);
    out[..n].copy_from_slice(&b[..n]);
    out
}

fn state(bits: u32, at: u64) -> State {
    let mut s = State::new();
    let (cs, ss, data) = match bits {
        64 => (0x33, 0x2b, 0x2b),
        32 => (layout::selector(CODE_32), layout::selector(FLAT), layout::selector(FLAT)),
        _ => (layout::selector(CODE_16), layout::selector(STACK_16), layout::selector(DATA_16)),
    };
    s.0[cell::SEG..cell::SEG + 6].copy_from_slice(&[data, cs, ss, data, data, data].map(u64::from));
    if bits == 64 {
        s.0[cell::SEG + 4] = 0;
        s.0[cell::SEG + 5] = 0;
    }
    for n in 0..16 {
        s.0[n] =
            if bits == 64 { 0x3000_0000_0000 + 0x10_0000_0000 * n as u64 } else { 0x6000_0000 + 0x100_0000 * n as u64 };
    }
    if bits != 64 {
        s.0[8..16].fill(0);
    }
    s.0[cell::FLAGS] = 0x302;
    s.0[cell::RIP] = at - if bits == 16 { 0x30_0000 } else { 0 };
    s
}

/// #UD, and a fetch beyond the end: what is compared.
fn verdict(o: &Outcome) -> (bool, bool) {
    let s = &o.state.0;
    let fetch = s[cell::VECTOR] == 14 && s[cell::CR2] == CODE_END && s[cell::ERROR] & 0x10 != 0;
    (s[cell::VECTOR] == 6, fetch)
}

fn is_elsewhere(i: &Instruction) -> bool {
    let op = i.op_code();
    let other = [EncodingKind::EVEX, EncodingKind::XOP, EncodingKind::D3NOW, EncodingKind::MVEX];
    other.contains(&op.encoding()) || !i.code().cpuid_features().iter().all(|f| codes::offered(*f))
}

/// What is not tried: instructions that the list excuses whole; near branches with 66h in 64-bit code, where AMD cuts
/// the target and Intel ignores it (SDM vol. 2A, JMP); UD0 and UD1, whose ModRM byte AMD does not read; VPEXTRD and
/// VPINSRD with VEX.W outside 64-bit code, where Intel ignores it (SDM vol. 2B, PEXTRQ, note 2) and AMD does not.
fn is_excused(masks: &Masks, i: &Instruction, b: &[u8; 15], bits: u32) -> bool {
    use iced_x86::Mnemonic::{Ud0, Ud1, Vpextrd, Vpinsrd};
    let prefixes = prefixes(b, bits);
    if i.code() == Code::INVALID {
        return is_excused_as_none(b, prefixes, bits);
    }
    let wide = bits != 64 && b[prefixes..].first() == Some(&0xc4) && b[prefixes + 2] & 0x80 != 0;
    match i.mnemonic() {
        Ud0 | Ud1 => true,
        Vpextrd | Vpinsrd if wide => true,
        _ if i.op0_kind() == OpKind::NearBranch64 && b[..prefixes].contains(&0x66) => true,
        _ => compare::excused(masks, i, bits).whole,
    }
}

/// Of what is no instruction, what is not tried: opcodes of mask registers with a fourth register bit, which AMD ignores
/// and Intel's decoders (XED) refuse; LOCK MOV CR0, AMD's name of CR8 in 32-bit code (APM vol. 3); LOCK VERR and its
/// kin, which AMD lets fault first; VPERMQ and VPERMPD without VEX.W, which AMD ignores (Intel's are W1: SDM vol. 2C,
/// VPERMQ); VMCALL with prefixes, which KVM answers as it does VMCALL; EVEX with V' outside 64-bit code, and with b
/// between the registers of shifts by VBMI2 and rotations, all of which this AMD ignores; and what is too long besides,
/// as AMD counts, for which fault goes first is not written: with more than four prefixes (four before EVEX, whose longest
/// form has twelve bytes), or in the maps of XOP, whose length AMD's processors still take.
fn is_excused_as_none(b: &[u8; 15], prefixes: usize, bits: u32) -> bool {
    let rest = &b[prefixes..];
    let locked = b[..prefixes].contains(&0xf0) && matches!(rest, [0x0f, 0x00 | 0x20 | 0x22, ..]);
    let hypercall = matches!(rest, [0x0f, 0x01, 0xc1 | 0xd9, ..]);
    let narrow = matches!(rest, [0xc4, map, wvlp, 0 | 1, ..] if map & 0x1f == 3 && wvlp & 0x87 == 5);
    let lenient = match rest {
        [0x62, p0, _, p2, ..] if bits != 64 && *p0 >= 0xc0 && p2 & 8 == 0 => true,
        [0x62, p0, _, _, op, ..] => match p0 & 7 {
            2 => matches!(op, 0x14 | 0x15 | 0x70..=0x73),
            3 => matches!(op, 0x70..=0x73),
            _ => false,
        },
        _ => false,
    };
    let long_xop = matches!(rest, [0x8f, map, ..] if map & 0x1f >= 8) && {
        let mut alone = [0; 15];
        alone[..rest.len()].copy_from_slice(rest);
        let i = Decoder::with_ip(bits, &alone, 0, DecoderOptions::NONE).decode();
        // What iced lacks may be as long: the map with immediates of 32 bits.
        prefixes + if i.is_invalid() { 14 } else { i.len() } > 15
    };
    let long = prefixes > if rest[0] == 0x62 { 3 } else { 4 };
    has_long_mask_number(b, bits) || long || locked || narrow || hypercall || lenient || long_xop
}

/// How many prefixes there are before the opcode.
fn prefixes(b: &[u8; 15], bits: u32) -> usize {
    let legacy = |b: &u8| matches!(b, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3);
    let prefix = |b: &&u8| legacy(b) || bits == 64 && matches!(b, 0x40..=0x4f);
    b.iter().take_while(prefix).count().min(12)
}

/// Are these bytes, but for a register number beyond 7, an instruction on mask registers?
fn has_long_mask_number(b: &[u8; 15], bits: u32) -> bool {
    use iced_x86::OpCodeOperandKind::{k_or_mem, k_reg, k_rm, k_vvvv};
    let Some(at) = b.iter().position(|b| matches!(b, 0xc4 | 0xc5)) else { return false };
    [0x80, 0xe0, 0x40, 0xc0].into_iter().any(|clear| {
        let mut b = *b;
        if let Some(second) = b.get_mut(at + 1) {
            *second |= clear;
        }
        let vvvv = at + if b[at] == 0xc4 { 2 } else { 1 };
        if let Some(v) = b.get_mut(vvvv) {
            *v |= 0x40;
        }
        let i = Decoder::with_ip(bits, &b, 0, DecoderOptions::NONE).decode();
        i.op_code().op_kinds().iter().any(|k| matches!(k, k_or_mem | k_reg | k_rm | k_vvvv))
    })
}

impl Bench<'_> {
    /// Tries `n` encodings.
    pub fn try_bytes(&mut self, bits: u32, n: u64, random: &mut Random) -> Count {
        let mut count = Count::default();
        for _ in 0..n {
            self.try_one(&draw(bits, random), bits, &mut count);
        }
        count
    }

    fn try_one(&mut self, b: &[u8; 15], bits: u32, count: &mut Count) {
        let i = Decoder::with_ip(bits, b, CODE_END - 16, DecoderOptions::NONE).decode();
        count.encodings += 1;
        if is_excused(&self.masks, &i, b, bits) {
            count.excused += 1;
            return;
        }
        if i.code() != Code::INVALID && is_elsewhere(&i) {
            count.elsewhere += 1;
            return;
        }
        let valid = i.code() != Code::INVALID;
        let length = if valid { i.len() } else { 15 };
        for short in 0..=u64::from(valid && length > 1) {
            let at = CODE_END - length as u64 + short;
            let c = Case {
                bits,
                at,
                bytes: b[..length].to_vec(),
                state: state(bits, at),
                noise: false,
                patches: Vec::new(),
            };
            let theirs = self.native.run(&c);
            let ours = match self.machine.run(&c) {
                End::Outcome(o) => verdict(&o),
                End::Missing | End::Endless => (false, false),
            };
            let theirs = verdict(&theirs);
            if ours != theirs {
                let text = format!(
                    "{b:02x?} {bits} bits, {length} bytes less {short}: (#UD, fetch) {ours:?}, native {theirs:?}"
                );
                count.differ.entry(format!("{:?}", i.code())).or_insert((0, text)).0 += 1;
                return;
            }
            if short == 0 {
                *if ours.0 { &mut count.invalid } else { &mut count.valid } += 1;
            }
        }
    }
}
