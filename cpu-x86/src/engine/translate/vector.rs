//! Which vector instruction has which fast form; all others are called with their operands pre-decoded.

use super::super::vector::{bit_op, fp_op};
use super::*;
use Mnemonic::*;

/// Number of an XMM register operand.
fn xmm(i: &Instruction, n: u32) -> Option<u8> {
    let r = i.op_register(n);
    (i.op_count() > n && i.op_kind(n) == OpKind::Register && r.is_xmm()).then(|| r.number() as u8)
}

/// Number of a general register operand of 4 or 8 bytes.
fn general(i: &Instruction, n: u32) -> Option<u8> {
    let r = i.op_register(n);
    (is_register(i, n) && r.is_gpr() && r.size() >= 4).then(|| number(r))
}

impl<Eye: Watch> Translator<Eye> {
    /// Emits the fast form of vector instruction `i`; `None` when it has none.
    pub(super) fn vector(&mut self, i: &Instruction) -> Option<()> {
        if i.code().encoding() != iced_x86::EncodingKind::Legacy || !self.mode.flat() || !self.mode.sse() {
            return None;
        }
        match i.mnemonic() {
            Movaps | Movapd | Movdqa => self.whole(i, 1),
            Movups | Movupd | Movdqu | Lddqu => self.whole(i, 0),
            Movss => self.low(i, 2),
            Movsd if i.code() != Code::Movsd_m32_m32 => self.low(i, 3),
            Movq | Movd => self.narrow(i),
            Movlpd | Movlps | Movhpd | Movhps => self.half(i),
            Addsd => self.scalar(i, fp_op::ADD, 3),
            Mulsd => self.scalar(i, fp_op::MUL, 3),
            Subsd => self.scalar(i, fp_op::SUB, 3),
            Divsd => self.scalar(i, fp_op::DIV, 3),
            Sqrtsd => self.scalar(i, fp_op::SQRT, 3),
            Addss => self.scalar(i, fp_op::ADD, 2),
            Mulss => self.scalar(i, fp_op::MUL, 2),
            Subss => self.scalar(i, fp_op::SUB, 2),
            Divss => self.scalar(i, fp_op::DIV, 2),
            Sqrtss => self.scalar(i, fp_op::SQRT, 2),
            Addpd => self.packed(i, fp_op::ADD),
            Mulpd => self.packed(i, fp_op::MUL),
            Subpd => self.packed(i, fp_op::SUB),
            Divpd => self.packed(i, fp_op::DIV),
            Pand | Andps | Andpd => self.bits(i, bit_op::AND),
            Pandn | Andnps | Andnpd => self.bits(i, bit_op::ANDN),
            Por | Orps | Orpd => self.bits(i, bit_op::OR),
            Pxor | Xorps | Xorpd => self.bits(i, bit_op::XOR),
            Paddb => self.sum(i, 0, 0),
            Paddw => self.sum(i, 0, 1),
            Paddd => self.sum(i, 0, 2),
            Paddq => self.sum(i, 0, 3),
            Psubb => self.sum(i, 1, 0),
            Psubw => self.sum(i, 1, 1),
            Psubd => self.sum(i, 1, 2),
            Psubq => self.sum(i, 1, 3),
            Unpcklpd | Punpcklqdq => self.unpack(i, 0),
            Unpckhpd | Punpckhqdq => self.unpack(i, 1),
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
        match (xmm(i, 0), xmm(i, 1)) {
            (Some(a), Some(b)) => self.put(select::v_mov::<Eye>()?, a, b, 0, 0, 0),
            (Some(a), None) => {
                let (form, m) = self.address(i)?.short();
                self.memory(select::v_load::<Eye>(aligned, form)?, a, 0, m);
            }
            (None, Some(b)) => {
                let (form, m) = self.address(i)?.short();
                self.memory(select::v_store::<Eye>(aligned, form)?, b, 0, m);
            }
            _ => return None,
        }
        Some(())
    }

    fn low(&mut self, i: &Instruction, w: usize) -> Option<()> {
        match (xmm(i, 0), xmm(i, 1)) {
            (Some(a), Some(b)) => self.put(select::v_mov_low::<Eye>(w)?, a, b, 0, 0, 0),
            (Some(a), None) => self.load_low(i, a, w)?,
            (None, Some(b)) => self.store_low(i, b, w)?,
            _ => return None,
        }
        Some(())
    }

    fn load_low(&mut self, i: &Instruction, a: u8, w: usize) -> Option<()> {
        let (form, m) = self.address(i)?.short();
        self.memory(select::v_load_low::<Eye>(w, form)?, a, 0, m);
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
        match (xmm(i, 0), xmm(i, 1), general(i, 0), general(i, 1)) {
            (Some(a), _, _, Some(b)) => self.put(select::v_from_reg::<Eye>(wide(1))?, a, b, 0, 0, 0),
            (_, Some(b), Some(a), _) => self.put(select::v_to_reg::<Eye>(wide(0))?, a, b, 0, 0, 0),
            (Some(a), None, ..) if is_memory(i, 1) => self.load_low(i, a, memory)?,
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

    fn scalar(&mut self, i: &Instruction, o: usize, w: usize) -> Option<()> {
        let a = xmm(i, 0)?;
        if let Some(b) = xmm(i, 1) {
            self.put(select::fp_rr::<Eye>(o, w)?, a, b, 0, 0, 0);
        } else {
            let (form, m) = self.address(i)?.short();
            self.memory(select::fp_rm::<Eye>(o, w, form)?, a, 0, m);
        }
        Some(())
    }

    fn packed(&mut self, i: &Instruction, o: usize) -> Option<()> {
        let (a, b) = (xmm(i, 0)?, xmm(i, 1)?);
        self.put(select::fp_packed_rr::<Eye>(o)?, a, b, 0, 0, 0);
        Some(())
    }

    fn bits(&mut self, i: &Instruction, o: usize) -> Option<()> {
        let a = xmm(i, 0)?;
        if let Some(b) = xmm(i, 1) {
            self.put(select::v_bit_rr::<Eye>(o)?, a, b, 0, 0, 0);
        } else {
            let m = self.address(i)?.general();
            self.memory(select::v_bit_rm::<Eye>(o)?, a, 0, m);
        }
        Some(())
    }

    fn sum(&mut self, i: &Instruction, s: usize, w: usize) -> Option<()> {
        let a = xmm(i, 0)?;
        if let Some(b) = xmm(i, 1) {
            self.put(select::v_sum_rr::<Eye>(s, w)?, a, b, 0, 0, 0);
        } else {
            let m = self.address(i)?.general();
            self.memory(select::v_sum_rm::<Eye>(s, w)?, a, 0, m);
        }
        Some(())
    }

    fn unpack(&mut self, i: &Instruction, h: usize) -> Option<()> {
        let (a, b) = (xmm(i, 0)?, xmm(i, 1)?);
        self.put(select::v_unpack64::<Eye>(h)?, a, b, 0, 0, 0);
        Some(())
    }
}
