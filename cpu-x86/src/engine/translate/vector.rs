//! Which vector instruction has which fast form; all others are called with their operands pre-decoded.

use super::super::float::fp_op;
use super::super::lanes::lane_op;
use super::*;
use Mnemonic::*;
use iced_x86::{EncodingKind, RoundingControl};

/// Number of an XMM register operand.
fn xmm(i: &Instruction, n: u32) -> Option<u8> {
    let r = i.op_register(n);
    (i.op_count() > n && i.op_kind(n) == OpKind::Register && r.is_xmm()).then(|| r.number() as u8)
}

/// Number of a general register operand of 4 or 8 bytes.
pub(super) fn general(i: &Instruction, n: u32) -> Option<u8> {
    let r = i.op_register(n);
    (is_register(i, n) && r.is_gpr() && r.size() >= 4).then(|| number(r))
}

/// Shape and number of a vector register operand: see `K` in `engine::vector`.
pub(super) fn shaped(i: &Instruction, n: u32) -> Option<(usize, u8)> {
    let r = i.op_register(n);
    if !is_register(i, n) || !r.is_vector_register() {
        return None;
    }
    let shape = match r.size() {
        16 if i.encoding() == EncodingKind::Legacy => 3,
        16 => 4,
        32 => 5,
        _ => 6,
    };
    Some((shape, r.number() as u8))
}

/// Numbers of the vector register operands `n` and onwards up to the last register, all of one shape.
fn alike<const N: usize>(i: &Instruction) -> Option<(usize, [u8; N])> {
    let (shape, _) = shaped(i, 0)?;
    let mut numbers = [0; N];
    for (n, number) in numbers.iter_mut().enumerate() {
        let (k, r) = shaped(i, n as u32)?;
        if k != shape {
            return None;
        }
        *number = r;
    }
    Some((shape, numbers))
}

/// Neither mask nor broadcast, rounding or suppressed exceptions.
pub(super) fn is_plain(i: &Instruction) -> bool {
    i.op_mask() == Register::None
        && !i.is_broadcast()
        && i.rounding_control() == RoundingControl::None
        && !i.suppress_all_exceptions()
}

impl<Eye: Watch> Translator<Eye> {
    /// Emits the fast form of vector instruction `i`; `None` when it has none.
    pub(super) fn vector(&mut self, i: &Instruction) -> Option<()> {
        let runs = match i.encoding() {
            EncodingKind::Legacy => self.mode.runs(Vectors::Sse),
            EncodingKind::VEX if is_opmask(i) => self.mode.runs(Vectors::Avx512),
            EncodingKind::VEX => self.mode.runs(Vectors::Avx),
            EncodingKind::EVEX => self.mode.runs(Vectors::Avx512),
            _ => false,
        };
        if !runs || !self.mode.flat() {
            return None;
        }
        if !is_plain(i) {
            return self.masked(i);
        }
        self.direct(i).or_else(|| self.compare(i)).or_else(|| self.various(i)).or_else(|| self.kernel(i))
    }

    fn direct(&mut self, i: &Instruction) -> Option<()> {
        if let Some(o) = lanes_of(i.mnemonic()) {
            return self.lanes(i, o);
        }
        if let Some((o, w)) = packed_of(i.mnemonic()) {
            return self.packed(i, o, w);
        }
        if let Some((o, w)) = scalar_of(i.mnemonic()) {
            return self.scalar(i, o, w);
        }
        if let Some((o, w)) = across_of(i.mnemonic()) {
            let (k, [a, b, c]) = self.registers(i)?;
            self.put(select::fp_across_rr::<Eye>(o, w, k)?, a, b, c, 0, 0);
            return Some(());
        }
        if let Some(what) = fused_of(i.mnemonic()) {
            return self.fused(i, &what);
        }
        match i.mnemonic() {
            Movaps | Movapd | Movdqa | Movntps | Movntpd | Movntdq | Movntdqa => self.whole(i, 1),
            Vmovaps | Vmovapd | Vmovdqa | Vmovdqa32 | Vmovdqa64 => self.whole(i, 1),
            Vmovntps | Vmovntpd | Vmovntdq | Vmovntdqa => self.whole(i, 1),
            Movups | Movupd | Movdqu | Lddqu | Vmovups | Vmovupd | Vmovdqu | Vlddqu => self.whole(i, 0),
            Vmovdqu8 | Vmovdqu16 | Vmovdqu32 | Vmovdqu64 => self.whole(i, 0),
            Movss => self.low(i, 2),
            Movsd if i.code() != Code::Movsd_m32_m32 => self.low(i, 3),
            Vmovss if i.op_count() == 2 => self.low(i, 2),
            Vmovsd if i.op_count() == 2 => self.low(i, 3),
            Movq | Movd | Vmovd | Vmovq => self.narrow(i),
            Movlpd | Movlps | Movhpd | Movhps => self.half(i),
            Unpcklpd | Punpcklqdq => self.unpack(i, 0),
            Unpckhpd | Punpckhqdq => self.unpack(i, 1),
            Comiss | Vcomiss => self.ordered(i, 1, 2),
            Comisd | Vcomisd => self.ordered(i, 1, 3),
            Ucomiss | Vucomiss => self.ordered(i, 0, 2),
            Ucomisd | Vucomisd => self.ordered(i, 0, 3),
            Cvttsd2si | Vcvttsd2si => self.truncate(i, 3),
            Cvttss2si | Vcvttss2si => self.truncate(i, 2),
            Cvtsi2sd => {
                let (a, b) = (xmm(i, 0)?, general(i, 1)?);
                let w = if i.op1_register().size() == 8 { 3 } else { 2 };
                self.put(select::fp_from_int::<Eye>(w)?, a, b, 0, 0, 0);
                Some(())
            }
            _ => None,
        }
    }

    fn whole(&mut self, i: &Instruction, aligned: usize) -> Option<()> {
        match (shaped(i, 0), shaped(i, 1)) {
            (Some((k, a)), Some((_, b))) => self.put(select::v_mov::<Eye>(k)?, a, b, 0, 0, 0),
            (Some((k, a)), None) => {
                let (form, m) = self.address(i)?.short();
                self.memory(select::v_load::<Eye>(aligned, k, form)?, a, 0, m);
            }
            (None, Some((k, b))) => {
                let (form, m) = self.address(i)?.short();
                self.memory(select::v_store::<Eye>(aligned, k, form)?, b, 0, m);
            }
            _ => return None,
        }
        Some(())
    }

    fn low(&mut self, i: &Instruction, w: usize) -> Option<()> {
        match (shaped(i, 0), shaped(i, 1)) {
            (Some((3, a)), Some((3, b))) => self.put(select::v_mov_low::<Eye>(w)?, a, b, 0, 0, 0),
            (Some((k, a)), None) => self.load_low(i, k, a, w)?,
            (None, Some((_, b))) => self.store_low(i, b, w)?,
            _ => return None,
        }
        Some(())
    }

    fn load_low(&mut self, i: &Instruction, k: usize, a: u8, w: usize) -> Option<()> {
        let (form, m) = self.address(i)?.short();
        self.memory(select::v_load_low::<Eye>(w, form, k)?, a, 0, m);
        Some(())
    }

    fn store_low(&mut self, i: &Instruction, b: u8, w: usize) -> Option<()> {
        let (form, m) = self.address(i)?.short();
        self.memory(select::v_store_low::<Eye>(w, form)?, b, 0, m);
        Some(())
    }

    /// MOVD and MOVQ between XMM registers, general registers and memory.
    fn narrow(&mut self, i: &Instruction) -> Option<()> {
        let wide = |n: u32| if i.op_register(n).size() == 8 { 3 } else { 2 };
        let memory = if i.memory_size().size() == 8 { 3 } else { 2 };
        let shape = if i.encoding() == EncodingKind::Legacy { 3 } else { 4 };
        match (xmm(i, 0), xmm(i, 1), general(i, 0), general(i, 1)) {
            (Some(a), _, _, Some(b)) => self.put(select::v_from_reg::<Eye>(wide(1), shape)?, a, b, 0, 0, 0),
            (_, Some(b), Some(a), _) => self.put(select::v_to_reg::<Eye>(wide(0))?, a, b, 0, 0, 0),
            (Some(a), None, ..) if is_memory(i, 1) => self.load_low(i, shape, a, memory)?,
            (None, Some(b), ..) if is_memory(i, 0) => self.store_low(i, b, memory)?,
            _ => return None,
        }
        Some(())
    }

    fn half(&mut self, i: &Instruction) -> Option<()> {
        let h = usize::from(matches!(i.mnemonic(), Movhpd | Movhps));
        if is_memory(i, 1) {
            let (a, m) = (xmm(i, 0)?, self.address(i)?.general());
            self.memory(select::v_load_half::<Eye>(h)?, a, 0, m);
        } else {
            let (b, m) = (xmm(i, 1)?, self.address(i)?.general());
            self.memory(select::v_store_half::<Eye>(h)?, b, 0, m);
        }
        Some(())
    }

    /// Destination and sources of an operation of two operands (the first is written) or three, all in registers.
    fn registers(&self, i: &Instruction) -> Option<(usize, [u8; 3])> {
        if i.op_count() == 2 {
            let (k, [a, b]) = alike::<2>(i)?;
            return Some((k, [a, a, b]));
        }
        alike::<3>(i)
    }

    /// Likewise, the last source in memory of that shape.
    fn with_memory(&mut self, i: &Instruction) -> Option<(usize, [u8; 2], Memory)> {
        if !is_memory(i, i.op_count() - 1) {
            return None;
        }
        let (k, registers) = if i.op_count() == 2 {
            let (k, [a]) = alike::<1>(i)?;
            (k, [a, a])
        } else {
            alike::<2>(i)?
        };
        Some((k, registers, self.address(i)?.general()))
    }

    fn scalar(&mut self, i: &Instruction, o: usize, w: usize) -> Option<()> {
        if i.encoding() != EncodingKind::Legacy {
            if let Some((_, [a, b, c])) = self.registers(i) {
                self.put(select::fp3_rr::<Eye>(o, w)?, a, b, c, 0, 0);
            } else {
                let (_, [a, b], m) = self.with_memory(i)?;
                self.memory(select::fp3_rm::<Eye>(o, w)?, a, b, m);
            }
            return Some(());
        }
        let a = xmm(i, 0)?;
        if let Some(b) = xmm(i, 1) {
            self.put(select::fp_rr::<Eye>(o, w)?, a, b, 0, 0, 0);
        } else {
            let (form, m) = self.address(i)?.short();
            self.memory(select::fp_rm::<Eye>(o, w, form)?, a, 0, m);
        }
        Some(())
    }

    fn packed(&mut self, i: &Instruction, o: usize, w: usize) -> Option<()> {
        if let Some((k, [a, b, c])) = self.registers(i) {
            self.put(select::fp_packed_rr::<Eye>(o, w, k)?, a, b, c, 0, 0);
        } else {
            let (k, [a, b], m) = self.with_memory(i)?;
            self.memory(select::fp_packed_rm::<Eye>(o, w, k)?, a, b, m);
        }
        Some(())
    }

    fn ordered(&mut self, i: &Instruction, signals: usize, w: usize) -> Option<()> {
        let (_, a) = shaped(i, 0)?;
        if let Some((_, b)) = shaped(i, 1) {
            self.put(select::fp_compare_rr::<Eye>(signals, w)?, a, b, 0, 0, 0);
        } else {
            let m = self.address(i)?.general();
            self.memory(select::fp_compare_rm::<Eye>(signals, w)?, a, 0, m);
        }
        Some(())
    }

    fn truncate(&mut self, i: &Instruction, w: usize) -> Option<()> {
        let (a, (_, b)) = (general(i, 0)?, shaped(i, 1)?);
        let to = if i.op0_register().size() == 8 { 3 } else { 2 };
        self.put(select::fp_truncate::<Eye>(w, to)?, a, b, 0, 0, 0);
        Some(())
    }

    fn fused(&mut self, i: &Instruction, what: &Fused) -> Option<()> {
        let ((k, a), (_, b)) = (shaped(i, 0)?, shaped(i, 1)?);
        let k = if what.scalar { 2 } else { k };
        if let Some((_, c)) = shaped(i, 2) {
            let [x, y, z] = match what.first {
                1 => [a, c, b],
                2 => [b, a, c],
                _ => [b, c, a],
            };
            self.put(select::fp_fused_rr::<Eye>(what.width, k)?, a, x, y, z, what.signs.into());
        } else {
            let m = self.address(i)?.general();
            self.memory(select::fp_fused_rm::<Eye>(what.width, k)?, a, b, m);
            self.raw(0, u64::from(what.first) | u64::from(what.signs) << 8);
        }
        Some(())
    }

    fn lanes(&mut self, i: &Instruction, o: usize) -> Option<()> {
        if let Some((k, [a, b, c])) = self.registers(i) {
            self.put(select::v_lanes_rr::<Eye>(o, k)?, a, b, c, 0, 0);
        } else {
            let (k, [a, b], m) = self.with_memory(i)?;
            self.memory(select::v_lanes_rm::<Eye>(o, k)?, a, b, m);
        }
        Some(())
    }

    fn unpack(&mut self, i: &Instruction, h: usize) -> Option<()> {
        let (a, b) = (xmm(i, 0)?, xmm(i, 1)?);
        self.put(select::v_unpack64::<Eye>(h)?, a, b, 0, 0, 0);
        Some(())
    }
}

/// Is `i` an instruction on opmask registers?
fn is_opmask(i: &Instruction) -> bool {
    (0..i.op_count()).any(|n| is_register(i, n) && i.op_register(n).is_k())
}

/// The operation on lanes that `m` is.
fn lanes_of(m: Mnemonic) -> Option<usize> {
    use lane_op::*;
    Some(match m {
        Pand | Andps | Andpd | Vpand | Vandps | Vandpd | Vpandd | Vpandq => AND,
        Pandn | Andnps | Andnpd | Vpandn | Vandnps | Vandnpd | Vpandnd | Vpandnq => ANDN,
        Por | Orps | Orpd | Vpor | Vorps | Vorpd | Vpord | Vporq => OR,
        Pxor | Xorps | Xorpd | Vpxor | Vxorps | Vxorpd | Vpxord | Vpxorq => XOR,
        Paddb | Vpaddb => ADD[0],
        Paddw | Vpaddw => ADD[1],
        Paddd | Vpaddd => ADD[2],
        Paddq | Vpaddq => ADD[3],
        Psubb | Vpsubb => SUB[0],
        Psubw | Vpsubw => SUB[1],
        Psubd | Vpsubd => SUB[2],
        Psubq | Vpsubq => SUB[3],
        Pcmpeqb | Vpcmpeqb => EQUAL[0],
        Pcmpeqw | Vpcmpeqw => EQUAL[1],
        Pcmpeqd | Vpcmpeqd => EQUAL[2],
        Pcmpeqq | Vpcmpeqq => EQUAL[3],
        Pminub | Vpminub => MIN_U8,
        Pmaxub | Vpmaxub => MAX_U8,
        Pcmpgtb | Vpcmpgtb => ABOVE_I8,
        Pcmpgtd | Vpcmpgtd => ABOVE_I32,
        _ => return None,
    })
}

/// A product and sum: which signs are changed, the first digit of the mnemonic, log2 of the elements' bytes.
struct Fused {
    signs: u8,
    first: u8,
    width: usize,
    scalar: bool,
}

/// The product and sum that `m` is.
#[rustfmt::skip] // a table
fn fused_of(m: Mnemonic) -> Option<Fused> {
    use crate::exec::simd::sign::*;
    let rows = [
        (0,                1, [Vfmadd132ps,  Vfmadd132pd,  Vfmadd132ss,  Vfmadd132sd]),
        (0,                2, [Vfmadd213ps,  Vfmadd213pd,  Vfmadd213ss,  Vfmadd213sd]),
        (0,                3, [Vfmadd231ps,  Vfmadd231pd,  Vfmadd231ss,  Vfmadd231sd]),
        (ADDEND,           1, [Vfmsub132ps,  Vfmsub132pd,  Vfmsub132ss,  Vfmsub132sd]),
        (ADDEND,           2, [Vfmsub213ps,  Vfmsub213pd,  Vfmsub213ss,  Vfmsub213sd]),
        (ADDEND,           3, [Vfmsub231ps,  Vfmsub231pd,  Vfmsub231ss,  Vfmsub231sd]),
        (PRODUCT,          1, [Vfnmadd132ps, Vfnmadd132pd, Vfnmadd132ss, Vfnmadd132sd]),
        (PRODUCT,          2, [Vfnmadd213ps, Vfnmadd213pd, Vfnmadd213ss, Vfnmadd213sd]),
        (PRODUCT,          3, [Vfnmadd231ps, Vfnmadd231pd, Vfnmadd231ss, Vfnmadd231sd]),
        (PRODUCT | ADDEND, 1, [Vfnmsub132ps, Vfnmsub132pd, Vfnmsub132ss, Vfnmsub132sd]),
        (PRODUCT | ADDEND, 2, [Vfnmsub213ps, Vfnmsub213pd, Vfnmsub213ss, Vfnmsub213sd]),
        (PRODUCT | ADDEND, 3, [Vfnmsub231ps, Vfnmsub231pd, Vfnmsub231ss, Vfnmsub231sd]),
    ];
    rows.iter().find_map(|(signs, first, of)| {
        let n = of.iter().position(|x| *x == m)?;
        Some(Fused { signs: *signs, first: *first, width: 2 + (n & 1), scalar: n >= 2 })
    })
}

/// The packed floating-point operation that `m` is, and log2 of its elements' bytes.
fn packed_of(m: Mnemonic) -> Option<(usize, usize)> {
    Some(match m {
        Addpd | Vaddpd => (fp_op::ADD, 3),
        Mulpd | Vmulpd => (fp_op::MUL, 3),
        Subpd | Vsubpd => (fp_op::SUB, 3),
        Divpd | Vdivpd => (fp_op::DIV, 3),
        Sqrtpd | Vsqrtpd => (fp_op::SQRT, 3),
        Addps | Vaddps => (fp_op::ADD, 2),
        Mulps | Vmulps => (fp_op::MUL, 2),
        Subps | Vsubps => (fp_op::SUB, 2),
        Divps | Vdivps => (fp_op::DIV, 2),
        Sqrtps | Vsqrtps => (fp_op::SQRT, 2),
        _ => return None,
    })
}

/// Likewise of neighbours.
fn across_of(m: Mnemonic) -> Option<(usize, usize)> {
    Some(match m {
        Haddpd | Vhaddpd => (fp_op::ADD, 3),
        Hsubpd | Vhsubpd => (fp_op::SUB, 3),
        Haddps | Vhaddps => (fp_op::ADD, 2),
        Hsubps | Vhsubps => (fp_op::SUB, 2),
        _ => return None,
    })
}

/// Likewise of scalars.
fn scalar_of(m: Mnemonic) -> Option<(usize, usize)> {
    Some(match m {
        Addsd | Vaddsd => (fp_op::ADD, 3),
        Mulsd | Vmulsd => (fp_op::MUL, 3),
        Subsd | Vsubsd => (fp_op::SUB, 3),
        Divsd | Vdivsd => (fp_op::DIV, 3),
        Sqrtsd | Vsqrtsd => (fp_op::SQRT, 3),
        Addss | Vaddss => (fp_op::ADD, 2),
        Mulss | Vmulss => (fp_op::MUL, 2),
        Subss | Vsubss => (fp_op::SUB, 2),
        Divss | Vdivss => (fp_op::DIV, 2),
        Sqrtss | Vsqrtss => (fp_op::SQRT, 2),
        _ => return None,
    })
}
