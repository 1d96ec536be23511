//! Which instruction of AVX and AVX-512 has which fast form; and the kernels of all vector instructions, called with
//! their operands found beforehand.

use super::super::lanes::lane_op;
use super::super::native;
use super::super::wide::{kernel_op, mask_op};
use super::vector::{general, shaped};
use super::*;
use crate::exec::evex::{self, Evex, Formula};
use crate::exec::simd::{Kernel, Needs, Place, Simd, describe};
use Mnemonic::*;
use iced_x86::RoundingControl;

/// Number of an opmask register operand.
fn opmask(i: &Instruction, n: u32) -> Option<u8> {
    let r = i.op_register(n);
    (is_register(i, n) && r.is_k()).then(|| r.number() as u8)
}

/// A kernel that can be called: its signature, its address, its number of elements and the immediate.
struct Call {
    signature: usize,
    function: u64,
    count: u8,
    imm: u8,
}

/// How `kernel` is called over `count` elements, with immediate `imm`.
fn call_of(kernel: Kernel, count: u8, imm: u8) -> Option<Call> {
    use kernel_op::*;
    let (signature, function) = match kernel {
        Kernel::Two(f) => (TWO, f as usize),
        Kernel::Imm(f) => (IMM, f as usize),
        Kernel::Three(f) => (THREE, f as usize),
        Kernel::Fp(f) => (FP, f as usize),
        Kernel::FpImm(f) | Kernel::FpSteps(f) => (FP_IMM, f as usize),
        Kernel::Fp3(f) => (FP3, f as usize),
        Kernel::Flags(f) => (FLAGS, f as usize),
        Kernel::FpFlags(f) => (FP_FLAGS, f as usize),
        Kernel::Move | Kernel::Whole(_) => return None,
    };
    Some(Call { signature, function: function as u64, count, imm })
}

impl<Eye: Watch> Translator<Eye> {
    /// Moves between registers and memory under a write mask.
    pub(super) fn masked(&mut self, i: &Instruction) -> Option<()> {
        let element = match i.mnemonic() {
            Vmovdqu8 => 0,
            Vmovdqu16 => 1,
            Vmovdqu32 | Vmovups => 2,
            Vmovdqu64 | Vmovupd => 3,
            _ => return self.compare(i),
        };
        if Eye::ON || i.op_mask() == Register::None {
            return None;
        }
        let k = i.op_mask().number() as u8 | u8::from(i.zeroing_masking()) << 3;
        if let (Some((shape, a)), true) = (shaped(i, 0), is_memory(i, 1)) {
            let m = self.address(i)?.general();
            self.memory(select::v_load_masked::<Eye>(element, shape)?, a, k, m);
        } else {
            let ((shape, b), true) = (shaped(i, 1)?, is_memory(i, 0)) else { return None };
            let m = self.address(i)?.general();
            self.memory(select::v_store_masked::<Eye>(element, shape)?, b, k, m);
        }
        Some(())
    }

    /// Comparisons into an opmask register.
    pub(super) fn compare(&mut self, i: &Instruction) -> Option<()> {
        let (o, inverted) = comparison(i)?;
        let (to, mask) = (opmask(i, 0)?, i.op_mask());
        let mask = if mask == Register::None { 0 } else { mask.number() as u8 };
        if i.is_broadcast() || i.rounding_control() != RoundingControl::None {
            return None;
        }
        let (k, a) = shaped(i, 1)?;
        let to = to | mask << 3 | u8::from(inverted) << 6;
        if let Some((_, b)) = shaped(i, 2) {
            self.put(select::v_mask_rr::<Eye>(o, k)?, to, a, b, 0, 0);
        } else {
            if Eye::ON && mask != 0 {
                return None;
            }
            let m = self.address(i)?.general();
            self.memory(select::v_mask_rm::<Eye>(o, k)?, to, a, m);
        }
        Some(())
    }

    /// Instructions on opmask registers.
    fn opmasks(&mut self, i: &Instruction) -> Option<()> {
        let width = |of: [Mnemonic; 4]| of.iter().position(|m| *m == i.mnemonic());
        if let Some((o, w)) = mask_operation(i.mnemonic()) {
            let (a, b, c) = (opmask(i, 0)?, opmask(i, 1)?, opmask(i, 2)?);
            self.put(select::k_two::<Eye>(o, w)?, a, b, c, 0, 0);
            return Some(());
        }
        if let Some(w) = width([Kmovb, Kmovw, Kmovd, Kmovq]) {
            return self.kmov(i, w);
        }
        let h = if let Some(w) = width([Knotb, Knotw, Knotd, Knotq]) {
            select::k_not::<Eye>(w)
        } else if let Some(w) = width([Kortestb, Kortestw, Kortestd, Kortestq]) {
            select::k_test::<Eye>(0, w)
        } else {
            select::k_test::<Eye>(1, width([Ktestb, Ktestw, Ktestd, Ktestq])?)
        };
        self.two(h, opmask(i, 0), opmask(i, 1))
    }

    /// Broadcasts, and what else the string functions of a C library are made of.
    pub(super) fn various(&mut self, i: &Instruction) -> Option<()> {
        match i.mnemonic() {
            Vpbroadcastb => self.broadcast(i, 0),
            Vpbroadcastw => self.broadcast(i, 1),
            Vpbroadcastd | Vbroadcastss => self.broadcast(i, 2),
            Vpbroadcastq | Vbroadcastsd => self.broadcast(i, 3),
            Vpternlogd | Vpternlogq => {
                let ((k, a), (_, b), (_, c)) = (shaped(i, 0)?, shaped(i, 1)?, shaped(i, 2)?);
                self.put(select::v_ternary::<Eye>(k)?, a, b, c, i.immediate8(), 0);
                Some(())
            }
            Vpermq | Vpermpd | Vperm2f128 | Vperm2i128 | Vinsertf128 | Vinserti128 | Vextractf128 | Vextracti128 => {
                self.halves(i)
            }
            Pmovmskb | Vpmovmskb => self.signs(i, 0),
            Movmskps | Vmovmskps => self.signs(i, 2),
            Movmskpd | Vmovmskpd => self.signs(i, 3),
            Pcmpistri | Vpcmpistri => self.string(i),
            Tzcnt if is_register(i, 1) && i.op0_register().size() >= 4 => {
                let w = if i.op0_register().size() == 8 { 3 } else { 2 };
                let live = usize::from(self.live[self.now as usize]);
                self.two(select::tzcnt::<Eye>(w, live), general(i, 0), general(i, 1))
            }
            Vzeroupper => {
                let registers = if self.mode.long() { 16 } else { 8 };
                self.put(select::v_zero_upper::<Eye>()?, registers, 0, 0, 0, 0);
                Some(())
            }
            _ => self.opmasks(i),
        }
    }

    /// Permutes of quadwords and halves of YMM registers, as an immediate says.
    fn halves(&mut self, i: &Instruction) -> Option<()> {
        let imm = i.immediate8();
        // A digit for each half: 0 and 1 those of the first source, 2 and 3 of the second, 8 zero.
        let (h, b, c, d) = match (i.mnemonic(), i.op_count()) {
            (Vpermq | Vpermpd, 3) if i.op2_kind() == OpKind::Immediate8 => (select::v_permute64::<Eye>(5), 0, 1, imm),
            (Vperm2f128 | Vperm2i128, 4) => (select::v_halves::<Eye>(5), 1, 2, imm),
            (Vinsertf128 | Vinserti128, 4) if imm & 1 == 0 => (select::v_halves::<Eye>(5), 1, 2, 0x12),
            (Vinsertf128 | Vinserti128, 4) => (select::v_halves::<Eye>(5), 1, 2, 0x20),
            (Vextractf128 | Vextracti128, 3) => (select::v_halves::<Eye>(5), 0, 1, 0x82 | imm & 1),
            _ => return None,
        };
        let ((to, a), (_, b), (_, c)) = (shaped(i, 0)?, shaped(i, b)?, shaped(i, c)?);
        if to != 5 && !matches!(i.mnemonic(), Vextractf128 | Vextracti128) {
            return None;
        }
        self.put(h?, a, b, c, d, 0);
        Some(())
    }

    /// PCMPISTRI of bytes where one of the two simple aggregations is asked for.
    fn string(&mut self, i: &Instruction) -> Option<()> {
        let (imm, (_, a)) = (i.immediate8(), shaped(i, 0)?);
        if imm & 1 != 0 || imm & 4 != 0 {
            return None;
        }
        if let Some((_, b)) = shaped(i, 1) {
            self.put(select::v_string_rr::<Eye>()?, 0, a, b, imm, 0);
        } else {
            let m = self.address(i)?.general();
            self.memory(select::v_string_rm::<Eye>()?, a, imm, m);
        }
        Some(())
    }

    fn two(&mut self, h: Option<u64>, a: Option<u8>, b: Option<u8>) -> Option<()> {
        self.put(h?, a?, b?, 0, 0, 0);
        Some(())
    }

    fn kmov(&mut self, i: &Instruction, w: usize) -> Option<()> {
        match (opmask(i, 0), opmask(i, 1)) {
            (Some(a), Some(b)) => self.two(select::k_mov::<Eye>(w), Some(a), Some(b)),
            (Some(a), None) => self.two(select::k_from_reg::<Eye>(w), Some(a), general(i, 1)),
            (None, b) => self.two(select::k_to_reg::<Eye>(w), general(i, 0), b),
        }
    }

    fn broadcast(&mut self, i: &Instruction, e: usize) -> Option<()> {
        let (k, a) = shaped(i, 0)?;
        if let Some((_, b)) = shaped(i, 1) {
            return self.two(select::v_spread_low::<Eye>(e, k), Some(a), Some(b));
        }
        if is_register(i, 1) {
            let b = number(i.op1_register());
            return self.two(select::v_spread_reg::<Eye>(e, k), Some(a), Some(b));
        }
        let m = self.address(i)?.general();
        self.memory(select::v_spread_mem::<Eye>(e, k)?, a, 0, m);
        Some(())
    }

    fn signs(&mut self, i: &Instruction, e: usize) -> Option<()> {
        let (k, b) = shaped(i, 1)?;
        self.two(select::v_signs::<Eye>(e, k.max(4)), general(i, 0), Some(b))
    }

    /// Calls the kernel of `i` on operands that are registers of one shape, or memory in place of the last.
    pub(super) fn kernel(&mut self, i: &Instruction) -> Option<()> {
        let (kernel, count, imm, operands) = match describe(i) {
            Some(s) => (s.kernel, s.count, s.imm, Operands::of_simd(&s)?),
            None => {
                let e = evex::describe(i)?;
                let Formula::Shared(kernel) = e.formula else { return None };
                (kernel, e.per_half.min(e.count), e.imm, Operands::of_evex(&e)?)
            }
        };
        let bytes = if operands.shape == 5 { 32 } else { 16 };
        let whole = operands.b.is_ok() || operands.b == Err(bytes);
        if whole && let Some(native) = native::of(i.mnemonic(), &kernel, imm, bytes.into()) {
            return self.native(i, &native, &operands);
        }
        let call = call_of(kernel, count, imm)?;
        let Operands { shape, to, a, b, c } = operands;
        match b {
            Ok(b) => self.put(select::kernel_rr::<Eye>(call.signature, shape)?, to, a, b, 0, 0),
            Err(bytes) => {
                let h = match bytes {
                    4 => select::kernel_low::<Eye>(call.signature, shape, 2),
                    8 => select::kernel_low::<Eye>(call.signature, shape, 3),
                    _ => select::kernel_rm::<Eye>(call.signature, shape),
                }?;
                let m = self.address(i)?.general();
                self.memory(h, to, a, m);
            }
        }
        self.raw(call.function, u64::from(u32::from_le_bytes([call.imm, call.count, c, 0])));
        Some(())
    }
}

impl<Eye: Watch> Translator<Eye> {
    /// Calls a native function on operands that are registers of one shape, or memory in place of the last.
    fn native(&mut self, i: &Instruction, call: &native::Plan, operands: &Operands) -> Option<()> {
        let &Operands { shape, to, a, b, c } = operands;
        let table = call.table.is_some();
        if let Ok(b) = b {
            let h = if table { select::native_table_rr::<Eye>(shape) } else { select::native_rr::<Eye>(shape) }?;
            self.put(h, to, a, b, c, 0);
        } else {
            let h = if table { select::native_table_rm::<Eye>(shape) } else { select::native_rm::<Eye>(shape) }?;
            let m = self.address(i)?.general();
            self.memory(h, to, a, m);
        }
        self.raw(call.function as usize as u64, u64::from(c));
        for half in call.table.into_iter().flatten() {
            self.raw(half as u64, (half >> 64) as u64);
        }
        Some(())
    }
}

/// Operands that a kernel can be called on.
struct Operands {
    /// See `K` in `engine::vector`.
    shape: usize,
    to: u8,
    a: u8,
    /// A register, or so many bytes of memory: 4, 8 or all of the shape.
    b: Result<u8, u8>,
    /// FFh: none.
    c: u8,
}

impl Operands {
    fn of_simd(s: &Simd) -> Option<Operands> {
        let shape = match (s.dst, s.needs) {
            (Place::Xmm(_), Needs::Sse) => 3,
            (Place::Xmm(_), Needs::Avx) => 4,
            (Place::Ymm(_), Needs::Avx) => 5,
            _ => return None,
        };
        let bytes = s.dst.bytes();
        let register = |p: Place| (p.bytes() == bytes).then_some(p.number());
        let b = match s.b {
            Place::Memory if s.memory_bytes == bytes && s.aligned == (shape == 3) => Err(bytes),
            Place::Memory if matches!(s.memory_bytes, 4 | 8) => Err(s.memory_bytes),
            b => Ok(register(b)?),
        };
        let c = if s.c == Place::None { 0xff } else { register(s.c)? };
        Some(Operands { shape, to: register(s.dst)?, a: register(s.a)?, b, c })
    }

    /// Those of 16 or 32 bytes whose elements keep their width.
    fn of_evex(e: &Evex) -> Option<Operands> {
        let bytes = e.bytes() as u8;
        if e.scalar || e.source != e.element || e.silent || bytes > 32 || e.aligned {
            return None;
        }
        let register = |p: evex::Place| match p {
            evex::Place::Vector(n, size) if size == bytes => Some(n),
            _ => None,
        };
        let b = match e.b {
            evex::Place::Memory if e.memory_bytes == bytes => Err(bytes),
            b => Ok(register(b)?),
        };
        let to = register(e.dst)?;
        Some(Operands { shape: 3 + usize::from(bytes / 16), to, a: register(e.a)?, b, c: to })
    }
}

/// The operation whose signs the comparison `i` leaves in an opmask register, and whether they are inverted.
fn comparison(i: &Instruction) -> Option<(usize, bool)> {
    use lane_op::*;
    let width = |of: [Mnemonic; 4]| of.iter().position(|m| *m == i.mnemonic());
    if let Some(e) = width([Vpcmpeqb, Vpcmpeqw, Vpcmpeqd, Vpcmpeqq]) {
        return Some((EQUAL[e], false));
    }
    if let Some(e) = width([Vptestmb, Vptestmw, Vptestmd, Vptestmq]) {
        return Some((MEET[e], false));
    }
    if let Some(e) = width([Vptestnmb, Vptestnmw, Vptestnmd, Vptestnmq]) {
        return Some((MEET[e], true));
    }
    let signed = width([Vpcmpb, Vpcmpw, Vpcmpd, Vpcmpq]);
    let e = signed.or_else(|| width([Vpcmpub, Vpcmpuw, Vpcmpud, Vpcmpuq]))?;
    match (i.immediate8() & 7, signed) {
        (0, _) => Some((EQUAL[e], false)),
        (4, _) => Some((EQUAL[e], true)),
        (1, None) => Some((LESS[e], false)),
        (5, None) => Some((LESS[e], true)),
        (2, None) => Some((NOT_ABOVE[e], false)),
        (6, None) => Some((NOT_ABOVE[e], true)),
        _ => None,
    }
}

/// The operation on two opmask registers that `m` is, and log2 of its bytes.
fn mask_operation(m: Mnemonic) -> Option<(usize, usize)> {
    use mask_op::*;
    let rows = [
        (AND, [Kandb, Kandw, Kandd, Kandq]),
        (ANDN, [Kandnb, Kandnw, Kandnd, Kandnq]),
        (OR, [Korb, Korw, Kord, Korq]),
        (XOR, [Kxorb, Kxorw, Kxord, Kxorq]),
        (XNOR, [Kxnorb, Kxnorw, Kxnord, Kxnorq]),
        (ADD, [Kaddb, Kaddw, Kaddd, Kaddq]),
        (UNPACK, [INVALID, Kunpckbw, Kunpckwd, Kunpckdq]),
    ];
    rows.iter().find_map(|(o, of)| of.iter().position(|x| *x == m).map(|w| (*o, w)))
}
