//! Which instruction has which fast form.

use super::*;
use Mnemonic::*;

impl<Eye: Watch> Translator<Eye> {
    /// Emits the fast form of `i`, not the last of its block; `None` when it has none.
    pub(super) fn fast(&mut self, i: &Instruction, live: bool, before: usize) -> Option<()> {
        if has_high_byte(i) {
            return self.high_byte(i, live);
        }
        let fl = usize::from(live);
        match i.mnemonic() {
            Nop | Endbr64 | Endbr32 | Pause | Prefetcht0 | Prefetcht1 | Prefetcht2 | Prefetchnta | Prefetchw => {
                Some(())
            }
            Mov => self.mov(i),
            Movzx | Movsx | Movsxd => self.extend(i),
            Lea => {
                let w = width_of(i, 0)?;
                let m = self.plain_address(i)?;
                self.memory(select::lea::<Eye>(w as usize, m.form)?, number(i.op0_register()), 0, m);
                Some(())
            }
            Add | Or | Adc | Sbb | And | Sub | Xor | Cmp | Test => self.alu(i, fl),
            Shl | Sal | Shr | Sar | Rol | Ror if is_register(i, 0) => self.shift(i, fl),
            Shld | Shrd if is_register(i, 0) && i.op2_kind() == OpKind::Immediate8 && !live => self.double(i),
            Inc | Dec | Neg | Not => self.unary(i, fl),
            Imul => self.imul(i, fl),
            Mul => {
                let w = width_of(i, 0)? as usize;
                if is_register(i, 0) {
                    self.put(select::mul_r::<Eye>(w, fl)?, number(i.op0_register()), 0, 0, 0, 0);
                } else {
                    let m = self.address(i)?.general();
                    self.memory(select::mul_m::<Eye>(w, fl)?, 0, 0, m);
                }
                Some(())
            }
            Cwde => self.no_operand(select::widen::<Eye>(2)),
            Cdqe => self.no_operand(select::widen::<Eye>(3)),
            Cdq => self.no_operand(select::sign::<Eye>(2)),
            Cqo => self.no_operand(select::sign::<Eye>(3)),
            Bswap => {
                self.put(select::bswap::<Eye>(width_of(i, 0)? as usize)?, number(i.op0_register()), 0, 0, 0, 0);
                Some(())
            }
            Push | Pop | Leave => self.stack(i),
            Xchg | Cmpxchg | Xadd => self.exchange(i, fl),
            Bt if is_register(i, 0) => {
                let w = width_of(i, 0)?;
                let (b, d) =
                    if is_register(i, 1) { (number(i.op1_register()), 0xff) } else { (0, i.immediate8() & 63) };
                if live {
                    self.put(select::bit_test::<Eye>(w as usize)?, number(i.op0_register()), b, 0, d, 0);
                }
                Some(())
            }
            Shlx | Shrx | Sarx | Rorx | Andn | Mulx => self.vex(i, fl),
            _ if i.condition_code() != ConditionCode::None => self.conditional(i, before),
            _ => None,
        }
    }

    fn no_operand(&mut self, h: Option<u64>) -> Option<()> {
        self.put(h?, 0, 0, 0, 0, 0);
        Some(())
    }

    /// The address of LEA: without segment, any width.
    fn plain_address(&mut self, i: &Instruction) -> Option<Memory> {
        if i.segment_prefix() == Register::FS || i.segment_prefix() == Register::GS {
            return None;
        }
        self.address(i)
    }

    fn mov(&mut self, i: &Instruction) -> Option<()> {
        let w = width_of(i, 0)?;
        let wu = w as usize;
        if is_register(i, 0) {
            let a = number(i.op0_register());
            if is_register(i, 1) {
                self.put(select::mov_rr::<Eye>(wu)?, a, number(i.op1_register()), 0, 0, 0);
            } else if is_memory(i, 1) {
                let m = self.address(i)?;
                self.memory(select::load::<Eye>(wu, if wu < 2 { 3 } else { 0 }, m.form)?, a, 0, m);
            } else {
                let v = immediate(i, 1, w);
                if let Ok(v) = i32::try_from(v) {
                    self.put(select::mov_ri::<Eye>(wu)?, a, 0, 0, 0, v);
                } else {
                    self.put(select::mov_ri64::<Eye>()?, a, 0, 0, 0, 0);
                    self.raw(v as u64, 0);
                }
            }
            return Some(());
        }
        let m = self.address(i)?;
        if is_register(i, 1) {
            self.memory(select::store::<Eye>(wu, m.form)?, number(i.op1_register()), 0, m);
            return Some(());
        }
        let v = immediate(i, 1, w);
        let (form, m) = m.short();
        if let Ok(v) = i8::try_from(v) {
            self.memory(select::store_i::<Eye>(wu, form)?, 0, v as u8, m);
        } else {
            self.memory(select::store_i32::<Eye>(wu, form)?, 0, 0, m);
            self.put(0, 0, 0, 0, 0, i32::try_from(v).ok()?);
        }
        Some(())
    }

    fn extend(&mut self, i: &Instruction) -> Option<()> {
        let (to, from) = (width_of(i, 0)?, width_of(i, 1)?);
        let x = match (i.mnemonic(), to) {
            (_, Width::B | Width::W) => return None,
            (Movzx, _) => 0,
            (_, Width::D) => 1,
            _ => 2,
        };
        let a = number(i.op0_register());
        if is_register(i, 1) {
            if from == Width::Q {
                return None;
            }
            self.put(select::extend::<Eye>(from as usize, x)?, a, number(i.op1_register()), 0, 0, 0);
        } else {
            let m = self.address(i)?;
            self.memory(select::load::<Eye>(from as usize, x, m.form)?, a, 0, m);
        }
        Some(())
    }

    fn alu(&mut self, i: &Instruction, fl: usize) -> Option<()> {
        let (o, w) = (alu_number(i.mnemonic())?, width_of(i, 0)?);
        let wu = w as usize;
        match (is_register(i, 0), is_register(i, 1), is_memory(i, 1)) {
            (true, true, _) => {
                let (a, b) = (number(i.op0_register()), number(i.op1_register()));
                if matches!(o, alu_op::XOR | alu_op::SUB) && a == b && fl == 0 && wu >= 2 {
                    self.put(select::mov_ri::<Eye>(3)?, a, 0, 0, 0, 0);
                } else {
                    self.put(select::alu_rr::<Eye>(o, wu, fl)?, a, b, 0, 0, 0);
                }
            }
            (true, _, true) => {
                let (form, m) = self.address(i)?.short();
                self.memory(select::alu_rm::<Eye>(o, wu, fl, form)?, number(i.op0_register()), 0, m);
            }
            (true, ..) => {
                let v = i32::try_from(immediate(i, 1, w)).ok()?;
                self.put(select::alu_ri::<Eye>(o, wu, fl)?, number(i.op0_register()), 0, 0, 0, v);
            }
            (false, true, _) => {
                let (form, m) = self.address(i)?.short();
                self.memory(select::alu_mr::<Eye>(o, wu, fl, form)?, number(i.op1_register()), 0, m);
            }
            _ => {
                let m = self.address(i)?;
                let v = immediate(i, 1, w);
                if let Ok(v) = i8::try_from(v) {
                    let (form, m) = m.short();
                    self.memory(select::alu_mi::<Eye>(o, wu, fl, form)?, 0, v as u8, m);
                } else {
                    self.memory(select::alu_mi32::<Eye>(o, wu, fl, 5)?, 0, 0, m.general());
                    self.put(0, 0, 0, 0, 0, i32::try_from(v).ok()?);
                }
            }
        }
        Some(())
    }

    /// Byte operations on AH, CH, DH, BH: through temporaries.
    fn high_byte(&mut self, i: &Instruction, live: bool) -> Option<()> {
        let (t0, t1) = (cell::T0 as u8, cell::T1 as u8);
        let high = |n: u32| is_register(i, n) && is_high_byte(i.op_register(n));
        let low_number = |n: u32| (number(i.op_register(n))) & 3;
        match i.mnemonic() {
            Mov if is_register(i, 0) && is_register(i, 1) => {
                let mut b = number(i.op1_register());
                if high(1) {
                    self.put(select::get_high::<Eye>()?, t1, low_number(1), 0, 0, 0);
                    b = t1;
                }
                let h = if high(0) { select::put_high::<Eye>()? } else { select::mov_rr::<Eye>(0)? };
                let a = if high(0) { low_number(0) } else { number(i.op0_register()) };
                self.put(h, a, b, 0, 0, 0);
                Some(())
            }
            Movzx if high(1) && i.op0_register().size() >= 4 => {
                self.put(select::get_high::<Eye>()?, number(i.op0_register()), low_number(1), 0, 0, 0);
                Some(())
            }
            Add | Or | And | Sub | Xor | Cmp | Test if is_register(i, 0) && !is_memory(i, 1) => {
                let o = alu_number(i.mnemonic())?;
                let mut a = number(i.op0_register());
                if high(0) {
                    self.put(select::get_high::<Eye>()?, t0, low_number(0), 0, 0, 0);
                    a = t0;
                }
                if is_register(i, 1) {
                    let mut b = number(i.op1_register());
                    if high(1) {
                        self.put(select::get_high::<Eye>()?, t1, low_number(1), 0, 0, 0);
                        b = t1;
                    }
                    self.put(select::alu_rr::<Eye>(o, 0, usize::from(live))?, a, b, 0, 0, 0);
                } else {
                    self.put(
                        select::alu_ri::<Eye>(o, 0, usize::from(live))?,
                        a,
                        0,
                        0,
                        0,
                        immediate(i, 1, Width::B) as i32,
                    );
                }
                if high(0) && !matches!(o, alu_op::CMP | alu_op::TEST) {
                    self.put(select::put_high::<Eye>()?, low_number(0), t0, 0, 0, 0);
                }
                Some(())
            }
            _ => None,
        }
    }

    fn shift(&mut self, i: &Instruction, fl: usize) -> Option<()> {
        let w = width_of(i, 0)?;
        let o = match i.mnemonic() {
            Rol => 0,
            Ror => 1,
            Shr => 5,
            Sar => 7,
            _ => 4,
        };
        let a = number(i.op0_register());
        if i.op_count() == 2 && is_register(i, 1) {
            self.put(select::shift_c::<Eye>(o, w as usize, fl)?, a, 0, 0, 0, 0);
            return Some(());
        }
        let n = i.immediate8() & if w == Width::Q { 63 } else { 31 };
        match (n, w) {
            (0, Width::D) => self.put(select::mov_rr::<Eye>(2)?, a, a, 0, 0, 0),
            (0, _) => {}
            _ => self.put(select::shift_i::<Eye>(o, w as usize, fl)?, a, 0, 0, n, 0),
        }
        Some(())
    }

    fn double(&mut self, i: &Instruction) -> Option<()> {
        let w = width_of(i, 0)?;
        let n = i.immediate8() & if w == Width::Q { 63 } else { 31 };
        if n == 0 || w < Width::D {
            return None;
        }
        let o = usize::from(i.mnemonic() == Shrd);
        self.put(select::double::<Eye>(o, w as usize)?, number(i.op0_register()), number(i.op1_register()), 0, n, 0);
        Some(())
    }

    fn unary(&mut self, i: &Instruction, fl: usize) -> Option<()> {
        let w = width_of(i, 0)? as usize;
        if !is_register(i, 0) {
            let o = match i.mnemonic() {
                Inc => 0,
                Dec => 1,
                _ => return None,
            };
            let m = self.address(i)?.general();
            self.memory(select::step_m::<Eye>(o, w, fl, 5)?, 0, 0, m);
            return Some(());
        }
        let h = match i.mnemonic() {
            Inc => select::inc::<Eye>(w, fl)?,
            Dec => select::dec::<Eye>(w, fl)?,
            Neg => select::neg::<Eye>(w, fl)?,
            _ => select::not::<Eye>(w)?,
        };
        self.put(h, number(i.op0_register()), 0, 0, 0, 0);
        Some(())
    }

    fn imul(&mut self, i: &Instruction, fl: usize) -> Option<()> {
        if i.op_count() < 2 {
            return None;
        }
        let w = width_of(i, 0)?;
        let a = number(i.op0_register());
        match (i.op_count(), is_register(i, 1)) {
            (2, true) => self.put(select::imul_rr::<Eye>(w as usize, fl)?, a, number(i.op1_register()), 0, 0, 0),
            (2, false) => {
                let m = self.address(i)?.general();
                self.memory(select::imul_rm::<Eye>(w as usize, fl)?, a, 0, m);
            }
            (_, true) => {
                let v = i32::try_from(immediate(i, 2, w)).ok()?;
                self.put(select::imul_rri::<Eye>(w as usize, fl)?, a, number(i.op1_register()), 0, 0, v);
            }
            _ => return None,
        }
        Some(())
    }

    fn stack(&mut self, i: &Instruction) -> Option<()> {
        if !self.mode.long() {
            return None;
        }
        match i.code() {
            Code::Push_r64 => self.put(select::push::<Eye>()?, number(i.op0_register()), 0, 0, 0, 0),
            Code::Pushq_imm8 | Code::Pushq_imm32 => {
                self.put(select::push_i::<Eye>()?, 0, 0, 0, 0, i.immediate(0) as i32)
            }
            Code::Push_rm64 if is_memory(i, 0) => {
                let m = self.address(i)?.general();
                self.memory(select::push_m::<Eye>()?, 0, 0, m);
            }
            Code::Pop_r64 => self.put(select::pop::<Eye>()?, number(i.op0_register()), 0, 0, 0, 0),
            Code::Leaveq => self.put(select::leave64::<Eye>()?, 0, 0, 0, 0, 0),
            _ => return None,
        }
        Some(())
    }

    fn exchange(&mut self, i: &Instruction, fl: usize) -> Option<()> {
        let w = width_of(i, 0)? as usize;
        if is_register(i, 0) {
            if i.mnemonic() != Xchg || !is_register(i, 1) {
                return None;
            }
            self.put(select::xchg_rr::<Eye>(w)?, number(i.op0_register()), number(i.op1_register()), 0, 0, 0);
            return Some(());
        }
        let h = match i.mnemonic() {
            Xchg => select::xchg_m::<Eye>(w)?,
            Cmpxchg => select::cmpxchg_m::<Eye>(w)?,
            _ => select::xadd_m::<Eye>(w, fl)?,
        };
        let m = self.address(i)?.general();
        self.memory(h, number(i.op1_register()), 0, m);
        Some(())
    }

    /// BMI instructions on registers.
    fn vex(&mut self, i: &Instruction, fl: usize) -> Option<()> {
        if !is_register(i, 1) || i.op_count() > 2 && is_memory(i, 2) {
            return None;
        }
        let w = width_of(i, 0)? as usize;
        let (a, b) = (number(i.op0_register()), number(i.op1_register()));
        let (h, c, d) = match i.mnemonic() {
            Shlx => (select::shift_x::<Eye>(4, w)?, number(i.op2_register()), 0),
            Shrx => (select::shift_x::<Eye>(5, w)?, number(i.op2_register()), 0),
            Sarx => (select::shift_x::<Eye>(7, w)?, number(i.op2_register()), 0),
            Rorx => (select::rorx::<Eye>(w)?, 0, i.immediate8() & if w == 3 { 63 } else { 31 }),
            Andn => (select::andn::<Eye>(w, fl)?, number(i.op2_register()), 0),
            _ => (select::mulx::<Eye>(w)?, number(i.op2_register()), 0),
        };
        self.put(h, a, b, c, d, 0);
        Some(())
    }

    fn conditional(&mut self, i: &Instruction, before: usize) -> Option<()> {
        let cc = condition_number(i.condition_code())?;
        if i.op_count() == 1 {
            if is_register(i, 0) {
                self.put(select::set_cc::<Eye>(cc, before)?, number(i.op0_register()), 0, 0, 0, 0);
            } else {
                let m = self.address(i)?.general();
                self.memory(select::set_m::<Eye>(cc)?, 0, 0, m);
            }
            return Some(());
        }
        let w = width_of(i, 0)? as usize;
        let a = number(i.op0_register());
        if is_register(i, 1) {
            let p = if matches!(before, 2 | 3 | 6 | 7) { before } else { ANY };
            self.put(select::cmov::<Eye>(cc, p, w)?, a, number(i.op1_register()), 0, 0, 0);
        } else {
            let m = self.address(i)?.general();
            self.memory(select::cmov_m::<Eye>(cc, w)?, a, 0, m);
        }
        Some(())
    }
}
